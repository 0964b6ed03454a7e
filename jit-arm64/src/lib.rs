//! The arm64 backend: encodings in [`enc`].
//!
//! Emits on any host.  Knows nothing of ELF, the verifier or executable memory.

pub mod enc;
