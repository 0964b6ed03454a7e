//! Reads the kernel verifier's log.
//!
//! Lines are classified and taken apart; nothing here judges a program.
//! Mirrors the printing side of `kernel/bpf/log.c` and the `verbose()` calls of
//! `kernel/bpf/verifier.c` (6.18).  Any text may be handed in; what is not
//! recognised is a message.

mod diff;
mod line;
mod mask;
mod message;
mod state;
mod stats;

pub use diff::{diff, Difference, Place};
pub use line::{Kind, Line, Lines};
pub use mask::mask_line;
pub use message::{message, message_lines};
pub use state::{Entry, Field, State};
pub use stats::Stats;
