//! The kernel's verifier log (`kernel/bpf/log.c`): the text buffer and what is written to it.

pub mod buffer;
pub mod insn;
pub mod names;
mod plain_state;
pub mod state;

pub use buffer::{Log, LogLevel};
