//! Proves that each abstract operation of the verifier holds every result of the concrete one.
//!
//! Without the feature `smt` there is nothing in here: the solver is a library of the system's.

#[cfg(feature = "smt")]
pub mod act;
#[cfg(feature = "smt")]
pub mod cover;
#[cfg(feature = "smt")]
pub mod operations;
#[cfg(feature = "smt")]
pub mod report;
#[cfg(feature = "smt")]
pub mod sym;
#[cfg(feature = "smt")]
mod weak;
#[cfg(feature = "smt")]
pub mod witness;
