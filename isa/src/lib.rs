//! The eBPF instruction set: one table, and what follows from it.
//!
//! Knows nothing of maps, helpers by meaning, kernels or ELF.

pub mod asm;
pub mod bits;
pub mod classic;
pub mod decode;
pub mod disasm;
pub mod encode;
pub mod faults;
pub mod field;
mod form_index;
pub mod insn;
pub mod opcode;
pub mod raw;
pub mod reg;
pub mod semantics;

pub use decode::{decode, DecodeError};
pub use encode::encode;
pub use field::{AluCode, Class, JmpCode, Mode};
pub use insn::*;
pub use raw::RawInsn;
pub use reg::Reg;
