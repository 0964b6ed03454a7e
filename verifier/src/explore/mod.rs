//! Paths: pending branches, explored states, pruning, precision, liveness, loops, limits.
//! Knows that states compare and join, not what is in them.

pub mod history;
pub mod liveness;
pub mod precision;
pub mod widen;
pub mod worklist;

use worklist::Pending;

/// Data of the exploring rooms.
#[derive(Debug, Default)]
pub struct Explorer {
    /// Branches still to explore, newest last (`env->head`).
    pub pending: Vec<Pending>,
    pub liveness: liveness::Liveness,
}

impl Explorer {
    /// An explored state, if it has not been freed.
    pub fn state(
        &self,
        _id: crate::domain::state::StateId,
    ) -> Option<&crate::domain::state::VerifierState> {
        None
    }
}
