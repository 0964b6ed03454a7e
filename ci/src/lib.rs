//! Judging objects and what a gate makes of it.  Knows no engine and no terminal.

pub mod contract;
pub mod gate;
pub mod judge;
pub mod report;
pub mod symbols;
pub mod target;
