//! Convergence of iterator and may_goto loops (`find_prev_entry`, `widen_imprecise_scalars`).

use crate::domain::state::StateId;
use crate::env::Env;
use crate::stop::{Check, Stop};

/// The newest explored state of this path at `insn_idx` that the current state loops back from.
pub fn find_prev_entry(_env: &Env<'_>, _insn_idx: u32) -> Check<Option<StateId>> {
    Err(Stop::unsupported("iterator and may_goto loops"))
}

/// Forgets the imprecise scalars that differ between `prev` and the branch pushed last.
pub fn widen_imprecise_scalars(_env: &mut Env<'_>, _prev: StateId) -> Check {
    Err(Stop::unsupported("iterator and may_goto loops"))
}
