//! The slots of a frame: shared by the states copied from one another until one of them writes.
//!
//! Most are too large for the quick lists of an allocator, and one is needed at every write after a branch.  So
//! what nobody uses any more is kept, by length, for the next copy of that length.

use std::cell::RefCell;
use std::ops::Deref;
use std::rc::Rc;

use super::stack::StackSlot;

/// Kept of one length; more than the branches of a path that ends give back at once.
const MOST_OF_LENGTH: usize = 64;
/// Longest that is kept, in slots: a whole stack.
const LONGEST: usize = 64;

thread_local! {
    static SPARE: RefCell<Vec<Vec<Rc<[StackSlot]>>>> = const { RefCell::new(Vec::new()) };
}

/// Slots, none of them allocated for an empty list.
#[derive(Clone, Debug, Default)]
pub struct Slots(Option<Rc<[StackSlot]>>);

impl Deref for Slots {
    type Target = [StackSlot];

    #[inline]
    fn deref(&self) -> &[StackSlot] {
        self.0.as_deref().unwrap_or(&[])
    }
}

impl Slots {
    /// All slots, writable; unshares them.
    #[inline]
    pub fn make_mut(&mut self) -> &mut [StackSlot] {
        let Some(slots) = &mut self.0 else { return &mut [] };
        if Rc::strong_count(slots) != 1 {
            *slots = copy(slots, slots.len());
        }
        Rc::make_mut(slots)
    }

    /// The same slots and empty ones behind them, `len` in all.
    pub fn grow(&mut self, len: usize) {
        let longer = copy(self, len);
        *self = Slots(Some(longer));
    }
}

impl Drop for Slots {
    fn drop(&mut self) {
        if let Some(slots) = self.0.take().filter(|s| Rc::strong_count(s) == 1) {
            keep(slots);
        }
    }
}

/// An unshared copy, with empty slots up to `len`.
fn copy(slots: &[StackSlot], len: usize) -> Rc<[StackSlot]> {
    let spare = SPARE.try_with(|s| s.borrow_mut().get_mut(len).and_then(Vec::pop)).ok().flatten();
    if let Some(mut spare) = spare {
        if let Some(own) = Rc::get_mut(&mut spare) {
            own[..slots.len()].copy_from_slice(slots);
            own[slots.len()..].fill(StackSlot::EMPTY);
            return spare;
        }
    }
    if slots.len() == len {
        return Rc::from(slots);
    }
    let more = std::iter::repeat_n(StackSlot::EMPTY, len - slots.len());
    slots.iter().copied().chain(more).collect()
}

fn keep(slots: Rc<[StackSlot]>) {
    let len = slots.len();
    if len > LONGEST {
        return;
    }
    // Where the thread ends there is nothing to keep it for.
    let _ = SPARE.try_with(|spare| {
        let mut spare = spare.borrow_mut();
        if spare.is_empty() {
            spare.resize_with(LONGEST + 1, Vec::new);
        }
        if spare[len].len() < MOST_OF_LENGTH {
            spare[len].push(slots);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::stack::SlotType;

    #[test]
    fn a_write_is_seen_by_its_own_copy_only() {
        let mut first = Slots::default();
        first.grow(2);
        first.make_mut()[1].kind[0] = SlotType::Misc;
        let mut second = first.clone();
        second.make_mut()[1].kind[0] = SlotType::Zero;
        assert_eq!((first[1].kind[0], second[1].kind[0]), (SlotType::Misc, SlotType::Zero));
    }

    #[test]
    fn a_used_buffer_comes_back_empty() {
        let mut used = Slots::default();
        used.grow(3);
        used.make_mut()[2].kind = [SlotType::Spill; 8];
        drop(used);
        let mut fresh = Slots::default();
        fresh.grow(3);
        assert!(fresh.iter().all(|s| *s == StackSlot::EMPTY));
    }
}
