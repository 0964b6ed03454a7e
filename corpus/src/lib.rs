//! Programs of our own and what kernels said about them: the reader and writer of the recorded truth.
//!
//! Knows no verifier and no engine.

pub mod truth;
