//! From bytes to [`model::Program`]: ELF, BTF, CO-RE, maps, relocation.
//!
//! Knows no verifier state and nothing of the running host: whatever depends on
//! a kernel (its BTF, its release) is an argument.
//!
//! [`load`] does it in one go; [`Opened::parse`], settings, then [`Opened::link`] is the same in steps, as libbpf's
//! open and load are.  A refusal is a [`LoadError`]: of the whole file, or of one program beside others that load.

mod append;
mod arg_ctx;
mod attach;
pub mod btf;
mod btf_ext;
mod core;
mod data_sections;
pub mod debug;
mod elf;
mod error;
mod extern_values;
mod externs;
mod jump_tables;
mod legacy_maps;
mod link;
mod loader;
pub mod map_btf;
mod map_override;
mod maps;
pub mod model;
mod open;
mod program_override;
mod programs;
mod reloc;
mod struct_ops;
mod target;

pub use data_sections::Global;
pub use error::{LoadError, LoadErrorKind, Place};
pub use link::{load, Entry, Object};
pub use loader::Loader;
pub use map_override::MapOverride;
pub use maps::Slot;
pub use open::{object_name, Opened};
pub use program_override::{AttachProgram, ProgramOverride};
pub use target::{Fact, LoaderFeatures, Target};
