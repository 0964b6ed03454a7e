//! Proves that each abstract operation of the verifier holds every result of the concrete one.
//!
//! Without the feature `smt` only precision is measured: the solver is a library of the system's.

pub mod act;
#[cfg(feature = "smt")]
pub mod arcs;
#[cfg(feature = "smt")]
pub mod cover;
#[cfg(feature = "smt")]
pub mod links;
#[cfg(feature = "smt")]
pub mod older;
#[cfg(feature = "smt")]
pub mod operations;
pub mod precision;
#[cfg(feature = "smt")]
pub mod report;
mod small;
#[cfg(feature = "smt")]
pub mod sym;
#[cfg(feature = "smt")]
mod weak;
#[cfg(feature = "smt")]
pub mod witness;
