//! The engines: ways to run a program.

pub mod code;
pub mod interp;
pub mod kernel;
pub mod native;
mod ops;
pub mod unchecked;
