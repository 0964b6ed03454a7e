//! Paths: pending branches, explored states, pruning, precision, liveness, loops, limits.
//! Knows that states compare and join, not what is in them.

pub mod account;
pub mod backtrack;
pub mod compare;
pub mod covers;
pub mod dispatch;
pub mod entry;
pub mod era;
mod footprint;
pub mod frame_precision;
mod glance;
pub mod history;
mod idmap;
pub mod liveness;
pub mod loop_entries;
pub mod main_loop;
pub mod parents;
pub mod precision;
pub mod prune;
pub mod scc;
pub mod stack_use;
pub mod states;
pub mod trail;
pub mod widen;
pub mod worklist;

use crate::domain::state::{StateId, VerifierState};
use worklist::Pending;

/// Data of the exploring rooms.
#[derive(Debug, Default)]
pub struct Explorer {
    pub era: era::Era,
    pub account: account::Account,
    /// Branches still to explore, newest last (`env->head`).
    pub pending: Vec<Pending>,
    pub states: states::StateTable,
    pub scc: scc::SccVisits,
    pub idmap: idmap::IdMap,
    pub liveness: liveness::Liveness,
    pub stack_use: stack_use::StackUse,
    /// Instructions that precision was tracked back over within frames.
    pub walked: u64,
    /// [`backtrack::concerned_regs`] of every instruction.
    pub concerned: Vec<u16>,
    /// Of the current state, while it is compared with others.
    pub(crate) current: footprint::Current,
}

impl Explorer {
    /// An explored state, if it has not been freed.
    #[inline]
    pub fn state(&self, id: StateId) -> Option<&VerifierState> {
        self.states.get(id).map(|e| &e.state)
    }
}
