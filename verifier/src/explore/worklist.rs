//! Branches still to explore (`push_stack`, `pop_stack`).

use crate::domain::state::VerifierState;
use crate::env::Env;
use crate::stop::{Check, Stop};

/// A branch to explore later (`struct bpf_verifier_stack_elem`).
#[derive(Debug)]
pub struct Pending {
    pub state: VerifierState,
    pub insn_idx: u32,
    pub prev_insn_idx: u32,
    /// Log position to go back to when this branch is taken up (level 1).
    pub log_pos: u64,
}

/// Copies the current state to explore from `insn_idx` later; the copy is returned for refinement.
/// Borrow both branches with `env.cur` and `env.explore.pending.last_mut()`.
pub fn push_stack<'e>(
    _env: &'e mut Env<'_>,
    _insn_idx: u32,
    _prev_insn_idx: u32,
    _speculative: bool,
) -> Check<&'e mut VerifierState> {
    Err(Stop::unsupported("branches"))
}
