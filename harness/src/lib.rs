//! Runs programs on the interpreter, the JITs and the kernel, and compares the runs.

pub mod compare;
pub mod kernel;
