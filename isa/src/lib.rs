//! The eBPF instruction set: one table, and what follows from it.
//!
//! Knows nothing of maps, helpers by meaning, kernels or ELF.

pub mod insn;
pub mod opcode;
pub mod raw;
pub mod reg;

pub use insn::*;
pub use raw::RawInsn;
pub use reg::Reg;
