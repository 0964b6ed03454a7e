//! State comparison without a program: single slots, or registers that share a map of ids, as proofs ask about them.

use bpfassay_spec::Features;

use super::compare::Comparer;
use super::idmap::IdMap;
use crate::domain::reg::{RegState, ADD_CONST};
use crate::domain::stack::StackSlot;

/// Whether a slot of an explored state covers the current one's, both by themselves; registers are spilled whole.
///
/// As in [`super::compare::states_equal`] outside of loops: no id has been seen yet.
pub fn slot_covers(old: &StackSlot, cur: &StackSlot, features: &Features) -> bool {
    Comparer::alone(&mut IdMap::default(), features).stack_slot(old, Some(cur))
}

/// Whether registers of an explored state cover the current one's, one after the other, with one map of ids.
///
/// As in [`super::compare::states_equal`] outside of loops.
pub fn registers_cover(old: &[RegState], cur: &[RegState], features: &Features) -> bool {
    let mut ids = IdMap::default();
    // Fresh ids are none of the registers'.
    ids.reset(old.iter().chain(cur).map(|r| r.id & !ADD_CONST).max().unwrap_or(0));
    let mut comparer = Comparer::alone(&mut ids, features);
    old.iter().zip(cur).all(|(o, c)| comparer.regs(o, c))
}
