//! Frames that nobody uses any more, to copy others into: a frame is too large for the quick lists of most
//! allocators, and one is needed at every write after a branch.  They outlive the analysis they were made for.

use std::cell::RefCell;
use std::rc::Rc;

use super::slots::Slots;
use super::state::FuncState;

/// More than a path that ends gives back at once.
const MOST: usize = 256;

thread_local! {
    static SPARE: RefCell<Vec<Rc<FuncState>>> = const { RefCell::new(Vec::new()) };
}

/// Takes over a frame; one that is still shared is left to the others.
pub(super) fn keep(mut frame: Rc<FuncState>) {
    let Some(unshared) = Rc::get_mut(&mut frame) else { return };
    unshared.stack = Slots::default();
    // Where the thread ends there is nothing to keep it for.
    let _ = SPARE.try_with(|spare| {
        let mut spare = spare.borrow_mut();
        if spare.len() < MOST {
            spare.push(frame);
        }
    });
}

/// The frame, writable; a shared one is replaced by a copy of its own.
#[inline]
pub(super) fn unshare(frame: &mut Rc<FuncState>) -> &mut FuncState {
    if Rc::strong_count(frame) != 1 {
        *frame = copy(frame);
    }
    // Nobody holds weak references to frames, so this never copies.
    Rc::make_mut(frame)
}

#[cold]
#[inline(never)]
fn copy(frame: &FuncState) -> Rc<FuncState> {
    if let Some(mut spare) = SPARE.try_with(|s| s.borrow_mut().pop()).ok().flatten() {
        if let Some(own) = Rc::get_mut(&mut spare) {
            own.copy_from(frame);
            return spare;
        }
    }
    Rc::new(frame.clone())
}

#[cfg(test)]
mod tests {
    use bpfassay_isa::Reg;

    use super::super::state::VerifierState;
    use super::*;

    #[test]
    fn a_used_frame_keeps_nothing_of_its_former_life() {
        let mut used = VerifierState::new(FuncState::new(7, 3, 2));
        used.cur_mut().grow_stack(64);
        used.cur_mut().reg_mut(Reg::R1).id = 9;
        used.give_back();
        let first = VerifierState::new(FuncState::new(-1, 0, 0));
        let mut second = first.clone();
        second.cur_mut().reg_mut(Reg::R2).id = 5;
        let (first, second) = (first.cur(), second.cur());
        assert_eq!((second.callsite, second.frameno, second.subprogno), (-1, 0, 0));
        assert_eq!((second.allocated_stack(), second.reg(Reg::R1).id), (0, 0));
        assert_eq!((first.reg(Reg::R2).id, second.reg(Reg::R2).id), (0, 5));
    }
}
