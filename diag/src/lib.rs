//! The verifier's words.
//!
//! Knows how a log is written and read, not how a state is computed.

pub mod explain;
pub mod log;
pub mod number;
pub mod read;
pub mod story;
