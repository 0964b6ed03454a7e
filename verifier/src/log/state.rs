//! Registers, stack slots and instructions as the log shows them (`print_verifier_state`).

use crate::env::Env;

/// The state of frame `frameno`: everything, or what was scratched since it was last printed.
pub fn print_verifier_state(_env: &mut Env<'_>, _frameno: u32, _print_all: bool) {}

/// The state after an instruction, appended to its line where nothing was printed in between.
pub fn print_insn_state(_env: &mut Env<'_>, _frameno: u32) {}

/// `N: (code) text` without a line end (`verbose_insn` prints the newline itself).
pub fn print_insn(_env: &mut Env<'_>, _insn_idx: u32) {}

/// The source line of an instruction, unless it was the last one printed (`verbose_linfo`).
pub fn print_linfo(_env: &mut Env<'_>, _insn_idx: u32, _prefix: &str) {}
