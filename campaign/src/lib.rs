//! Campaigns: a [`source::Source`] makes a [`case::Case`], [`oracle::Oracle`]s look at it, and what they see
//! becomes a [`finding::Finding`].
//!
//! Each part is usable alone.  Knows no terminal; the one thread pool is rayon's.  Kernels are asked through
//! [`kernel::Kernel`]; nothing in here loads a program into the running kernel.

pub mod case;
pub mod choices;
pub mod engine;
pub mod finding;
pub mod gen;
pub mod kernel;
pub mod minimise;
pub mod objects;
pub mod oracle;
pub mod report;
pub mod source;
pub mod store;
