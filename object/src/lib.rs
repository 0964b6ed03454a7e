//! From bytes to [`model::Program`]: ELF, BTF, CO-RE, maps, relocation.
//!
//! Knows no verifier state and nothing of the running host: whatever depends on
//! a kernel (its BTF, its release) is an argument.

pub mod btf;
pub mod model;
