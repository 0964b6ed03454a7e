//! Reads the kernel verifier's log.
//!
//! Lines are classified and taken apart; nothing here judges a program.
//! Mirrors the printing side of `kernel/bpf/log.c` and the `verbose()` calls of
//! `kernel/bpf/verifier.c` (6.18).

mod stats;

pub use stats::Stats;
