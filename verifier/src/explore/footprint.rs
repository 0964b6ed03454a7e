//! What of an explored state a comparison looks at, found once.
//!
//! Outside of loops an explored state asks little: nothing of what is unread or was never written, of imprecise
//! scalars only that there is a scalar.  Both are kept as bits, one for each register and slot, so that a comparison
//! fetches no more than what is left.

use bpfassay_spec::RegBase;

use super::compare::{Comparer, Exact};
use super::glance::Place;
use super::precision::bits;
use super::scc::frame_insn_idx;
use crate::domain::marks::At;
use crate::domain::stack::{SlotType, StackSlot};
use crate::domain::state::{FuncState, StateId, VerifierState};
use crate::env::{Env, InsnAux};
use crate::mutation::{self, Mutation};

/// Registers and slots of one kind, bit by number.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Places {
    pub regs: u16,
    pub slots: u64,
}

/// One frame of an explored state.
#[derive(Clone, Copy, Debug)]
pub struct FramePrint {
    pub callsite: i32,
    pub callback_depth: u32,
    /// Where there must be a scalar, whichever; of slots, one that fills it.
    pub any_scalar: Places,
    /// What must be looked at.
    pub others: Places,
}

impl FramePrint {
    /// Scalars became precise; where nothing reads them they stay unasked for.
    pub fn look_at(&mut self, precise: Places) {
        let regs = self.any_scalar.regs & precise.regs;
        self.any_scalar.regs &= !regs;
        self.others.regs |= regs;
        // Scalars that fill part of a slot are looked at anyway.
        let slots = self.any_scalar.slots & precise.slots;
        self.any_scalar.slots &= !slots;
        self.others.slots |= slots;
    }
}

/// All frames, outermost first.
#[derive(Clone, Debug)]
pub struct Footprint {
    pub first: FramePrint,
    pub inner: Vec<FramePrint>,
}

impl Footprint {
    /// None of a stack deeper than the bits reach.
    pub fn of(st: &VerifierState, aux: &[InsnAux], allow_uninit_stack: bool) -> Option<Footprint> {
        let print = |f: u32| {
            let idx = frame_insn_idx(st, f) as usize;
            let live = aux.get(idx).map_or(u16::MAX, |a| a.live_regs_before);
            frame_print(st.frame(f), live, allow_uninit_stack)
        };
        let inner = (1..=st.curframe()).map(print).collect::<Option<Vec<_>>>()?;
        Some(Footprint { first: print(0)?, inner })
    }

    pub fn frame_mut(&mut self, frame: u32) -> Option<&mut FramePrint> {
        match frame {
            0 => Some(&mut self.first),
            _ => self.inner.get_mut(frame as usize - 1),
        }
    }

    pub fn frames(&self) -> impl Iterator<Item = &FramePrint> {
        std::iter::once(&self.first).chain(&self.inner)
    }
}

fn frame_print(frame: &FuncState, live: u16, allow_uninit_stack: bool) -> Option<FramePrint> {
    if frame.stack().len() > 64 {
        return None;
    }
    let (mut any_scalar, mut others) = (Places::default(), Places::default());
    for (i, r) in frame.regs.iter().enumerate().filter(|(i, _)| live >> i & 1 == 1) {
        if r.is_scalar() && !r.precise {
            any_scalar.regs |= 1 << i;
        } else if r.ty != RegBase::NotInit {
            others.regs |= 1 << i;
        }
    }
    for (i, s) in frame.stack().iter().enumerate() {
        if s.kinds() == StackSlot::SPILLED && s.spilled.is_scalar() && !s.spilled.precise {
            any_scalar.slots |= 1 << i;
        } else if !holds_nothing(s, allow_uninit_stack) {
            others.slots |= 1 << i;
        }
    }
    let (callsite, callback_depth) = (frame.callsite, frame.callback_depth);
    Some(FramePrint { callsite, callback_depth, any_scalar, others })
}

/// Anything covers the slot: nothing was written to it, or nothing known where that is as good.
fn holds_nothing(s: &StackSlot, allow_uninit_stack: bool) -> bool {
    let is_nothing = |k: &SlotType| k.is_nothing() || allow_uninit_stack && *k == SlotType::Misc;
    s.kinds() == StackSlot::EMPTY.kinds() || s.kind.iter().all(is_nothing)
}

/// Where the current state has scalars, found when first asked for.
#[derive(Debug, Default)]
pub struct Current(Vec<Places>);

impl Current {
    /// The state has changed.
    #[inline]
    pub fn clear(&mut self) {
        self.0.clear();
    }

    pub fn fill(&mut self, cur: &VerifierState) {
        if self.0.is_empty() {
            self.0.extend(cur.frames().map(scalars));
        }
    }

    pub fn frames(&self) -> &[Places] {
        &self.0
    }
}

fn scalars(frame: &FuncState) -> Places {
    let regs = frame.regs.iter().enumerate();
    let regs = regs.fold(0, |found, (i, r)| found | u16::from(r.is_scalar()) << i);
    let fills = |s: &StackSlot| s.kinds() == StackSlot::SPILLED && s.spilled.is_scalar();
    let slots = frame.stack().iter().take(64).enumerate();
    let slots = slots.fold(0, |found, (i, s)| found | u64::from(fills(s)) << i);
    Places { regs, slots }
}

/// Imprecise scalars of explored states cover every scalar, and nothing is marked in them but precision.
pub(super) fn may_use_footprint(env: &Env<'_>, exact: Exact) -> bool {
    exact == Exact::Not
        && env.kernel.features.states_rename_ids
        && env.kernel.features.references_of_state
        && !env.explore.era.keeps_marks()
        && !env.all_precise
        && !env.explore_alu_limits
        && !mutation::has(Mutation::RegsafeIgnoresPrecision)
}

/// Makes sure that both footprints are there; false if the explored state has none.
pub(super) fn prepare_footprint(env: &mut Env<'_>, old: StateId) -> bool {
    if !env.explore.states.note_compared(old) {
        return false;
    }
    env.explore.current.fill(&env.cur);
    let Some(e) = env.explore.states.get(old) else { return false };
    if e.footprint.is_some() {
        return true;
    }
    let Some(print) = Footprint::of(&e.state, &env.aux, env.allow_uninit_stack) else {
        return false;
    };
    env.explore.states.set_footprint(old, print);
    true
}

impl Comparer<'_> {
    /// As [`Comparer::states`] by what both footprints say, with no more of the explored state than they leave.
    pub(super) fn states_by_print(
        &mut self,
        old: &VerifierState,
        cur: &VerifierState,
        print: &Footprint,
        scalars: &[Places],
    ) -> bool {
        if !self.outlines(old, cur) {
            return false;
        }
        print.frames().zip(scalars).zip(cur.frames()).enumerate().all(|(i, ((p, s), c))| {
            p.callsite == c.callsite
                && p.callback_depth <= c.callback_depth
                && self.frame_by_print(i as u32, p, s, old, c)
        })
    }

    fn frame_by_print(
        &mut self,
        frame: u32,
        print: &FramePrint,
        scalars: &Places,
        old: &VerifierState,
        cur: &FuncState,
    ) -> bool {
        let missing = print.any_scalar.regs & !scalars.regs;
        if missing != 0 {
            let at = At::Reg(missing.trailing_zeros() as u8);
            self.at = Some(Place { frame, at });
            return false;
        }
        let slots = print.others.slots | print.any_scalar.slots & !scalars.slots;
        if print.others.regs == 0 && slots == 0 {
            return true;
        }
        let old = old.frame(frame);
        for i in bits(print.others.regs.into()) {
            if !self.regs(&old.regs[i], &cur.regs[i]) {
                self.at = Some(Place { frame, at: At::Reg(i as u8) });
                return false;
            }
        }
        let (old, cur) = (old.stack(), cur.stack());
        for spi in bits(slots) {
            if !self.stack_slot(&old[spi], cur.get(spi)) {
                self.at = Some(Place { frame, at: At::Slot(spi as u8) });
                return false;
            }
        }
        true
    }
}
