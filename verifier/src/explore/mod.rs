//! Paths: pending branches, explored states, pruning, precision, liveness, loops, limits.
//! Knows that states compare and join, not what is in them.

pub mod history;
pub mod liveness;
pub mod precision;
pub mod worklist;

use worklist::Pending;

/// Data of the exploring rooms.
#[derive(Debug, Default)]
pub struct Explorer {
    /// Branches still to explore, newest last (`env->head`).
    pub pending: Vec<Pending>,
    pub liveness: liveness::Liveness,
}
