//! Where an explored state last differed, and the same short enough to stand beside its number.
//!
//! The next state that comes by most likely differs at the same place by the same: mostly that is seen without
//! fetching anything of the explored state.  What a glance does not show, the comparison does.

use bpfassay_spec::{RegBase, RegType};

use crate::domain::marks::At;
use crate::domain::reg::RegState;
use crate::domain::stack::StackSlot;
use crate::domain::state::VerifierState;
use crate::env::Env;
use crate::mutation::{self, Mutation};

/// A register or slot of one frame.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    pub(super) frame: u32,
    pub(super) at: At,
}

/// Where an explored state last differed from the current one, and what it has there.
///
/// The next state that comes by most likely differs there as well, which is seen without fetching the
/// explored state.  Precision that the state gains later makes it differ more, not less, so the copy
/// can only say too little; it is dropped when the state is cleaned.
#[derive(Clone, Copy, Debug)]
pub struct Difference {
    pub(super) place: Place,
    /// Found by `states_maybe_looping`, not by `states_equal`.
    pub(super) is_turn: bool,
    /// The slot, or a register as the spilled one.
    pub(super) old: StackSlot,
    /// Later states read the place, as far as that was known.
    pub(super) read: bool,
}

impl Difference {
    pub(super) fn at(st: &VerifierState, place: Place, is_turn: bool) -> Option<Difference> {
        let frame = st.frame(place.frame);
        let old = match place.at {
            At::Reg(r) => StackSlot { spilled: *frame.regs.get(r as usize)?, ..StackSlot::EMPTY },
            At::Slot(spi) => *frame.stack().get(spi as usize)?,
        };
        let read = frame.marks.is_none() || frame.mark(place.at).live.is_read();
        Some(Difference { place, is_turn, old, read })
    }
}

/// How the old register must relate to the current one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Rule {
    /// The types are the same.
    Type,
    /// The unsigned range lies in the old one, too.
    Within,
    /// A turn of a loop: the unsigned range is the old one.
    Same,
}

/// A register of an explored state, or one that fills a slot, as far as it must agree.
#[derive(Clone, Copy, Debug)]
pub struct Glance {
    rule: Rule,
    frame: u8,
    at: At,
    ty: RegType,
    umin: u64,
    umax: u64,
}

impl Glance {
    /// `None` where a glance shows nothing: an unreadable register, a slot that is not one register.
    pub fn of(frame: u32, at: At, old: &StackSlot, compares_ranges: bool) -> Option<Glance> {
        let is_reg = matches!(at, At::Reg(_)) || old.kinds() == StackSlot::SPILLED;
        let reg = &old.spilled;
        if !is_reg || reg.ty == RegBase::NotInit {
            return None;
        }
        // Of the types below a state covers smaller ranges, of precise scalars alike.
        let ranged = match reg.base() {
            RegBase::Scalar => reg.ty == RegBase::Scalar && reg.precise,
            base => matches!(base, RegBase::MapValue | RegBase::Packet | RegBase::PacketMeta),
        };
        let rule = if ranged && compares_ranges { Rule::Within } else { Rule::Type };
        Some(Glance::with(rule, frame, at, reg))
    }

    /// A register that differed from one turn of a loop to the next.
    pub fn of_turn(frame: u32, at: At, old: &RegState) -> Glance {
        Glance::with(Rule::Same, frame, at, old)
    }

    fn with(rule: Rule, frame: u32, at: At, old: &RegState) -> Glance {
        Glance { rule, frame: frame as u8, at, ty: old.ty, umin: old.umin, umax: old.umax }
    }

    fn current<'s>(&self, cur: &'s VerifierState) -> Option<&'s RegState> {
        if u32::from(self.frame) > cur.curframe() {
            return None;
        }
        let frame = cur.frame(self.frame.into());
        match self.at {
            At::Reg(r) => frame.regs.get(r as usize),
            At::Slot(spi) => {
                let slot = frame.stack().get(spi as usize)?;
                (slot.kinds() == StackSlot::SPILLED).then_some(&slot.spilled)
            }
        }
    }

    /// The finished state surely does not cover `cur`.
    #[inline]
    pub fn finished_differs(&self, cur: &VerifierState) -> bool {
        if self.rule == Rule::Same {
            return false;
        }
        let Some(reg) = self.current(cur) else { return false };
        reg.ty != self.ty
            || self.rule == Rule::Within && (reg.umin < self.umin || reg.umax > self.umax)
    }

    /// The unfinished state surely is another turn of the loop than `cur`.
    #[inline]
    pub fn unfinished_differs(&self, cur: &VerifierState) -> bool {
        if self.rule != Rule::Same || u32::from(self.frame) != cur.curframe() {
            return false;
        }
        let Some(reg) = self.current(cur) else { return false };
        reg.ty != self.ty || reg.umin != self.umin || reg.umax != self.umax
    }
}

/// What a difference shows without the explored state.
pub(super) fn glance(env: &Env<'_>, d: &Difference) -> Option<Glance> {
    let f = &env.kernel.features;
    let mutated = mutation::has(Mutation::RegsafeIgnoresMinimum)
        || mutation::has(Mutation::RegsafeIgnoresPrecision);
    let compares_ranges = f.states_rename_ids && !f.circular_ranges && !mutated;
    Glance::of(d.place.frame, d.place.at, &d.old, compares_ranges).filter(|_| d.read)
}
