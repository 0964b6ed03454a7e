//! The gate: a configuration, the objects it names, and what a build should make of them.
//!
//! [`outcome`] is the result as plain data; whoever renders it needs nothing else.

pub mod outcome;
