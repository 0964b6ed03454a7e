//! From BPF instructions to machine code: the lowering both processors share.
//!
//! [`compile`] decodes once, works out which registers live where, and walks the instructions
//! calling a [`Target`], which knows registers and bytes.  Labels, the choice of
//! short and long jumps, functions, frame facts, the instruction-to-code map, and
//! what is worth fusing are decided here.  Nothing here runs or maps anything, and
//! nothing asks what machine this is.  The reference interpreter does not share this code:
//! it is what the code is tested against.

pub mod abi;
pub mod buf;
mod facts;
mod fuse;
mod latch;
pub mod mutation;
mod narrow;
mod rows;
pub mod source;
mod survey;
pub mod target;
mod walk;

pub use buf::{CodeBuf, Fixup, Label};
pub use source::{Access, CallPlan, Compiled, FaultRow, Func, Glue, JitError, Options, Resolve};
pub use source::{OneAddress, Site, SiteKind, Source};
pub use target::{Addr, ArrayPlan, FuncFacts, HashPlan, Space, Target};
pub use walk::compile;
