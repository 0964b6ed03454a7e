//! Linked registers: scalars that share an id, hence a value or a constant distance
//! (`assign_scalar_id_before_mov`, `collect_linked_regs`, `sync_linked_regs`).

use bpfassay_isa::Reg;
use bpfassay_spec::{Features, Limits};

use crate::domain::reg::{RegState, ADD_CONST, ADD_CONST32};
use crate::domain::stack::SlotType;
use crate::domain::state::VerifierState;
use crate::env::{Env, InsnAux};

/// Registers and slots one branch may record (`LINKED_REGS_MAX`).
const MAX_LINKED: usize = Limits::MOST.max_linked_regs as usize;

/// Gives the source of a move or spill an id, unless it is a constant; a link with a delta is cut,
/// because a second one could not be expressed.
pub fn assign_scalar_id_before_mov(env: &mut Env<'_>, reg: &mut RegState) {
    if !reg.is_scalar() {
        return;
    }
    if reg.id & ADD_CONST != 0 {
        reg.clear_scalar_id();
    }
    if reg.id == 0 && !(reg.var_off.is_const() && env.kernel.features.constants_unlinked) {
        reg.id = env.new_id();
    }
}

/// Takes the id from scalars that share it with no other (`bpf_clear_singular_ids`).
pub fn clear_single_ids(st: &mut VerifierState) {
    let mut seen: Vec<(u32, bool)> = Vec::new();
    st.any_reg(|_, r| {
        if r.is_scalar() && r.id != 0 {
            let id = r.id & !ADD_CONST;
            match seen.iter_mut().find(|(known, _)| *known == id) {
                Some((_, shared)) => *shared = true,
                None => seen.push((id, false)),
            }
        }
        false
    });
    if seen.iter().all(|(_, shared)| *shared) {
        return;
    }
    st.for_each_reg_mut(|_, r| {
        let alone = |(id, shared): &(u32, bool)| *id == r.id & !ADD_CONST && !shared;
        if r.is_scalar() && r.id != 0 && seen.iter().any(alone) {
            r.clear_scalar_id();
        }
    });
}

/// Every scalar with the id of register `known` of the innermost frame becomes what that is (`find_equal_scalars`).
pub fn copy_to_equal(st: &mut VerifierState, known: Reg) {
    let source = *st.cur().reg(known);
    let take = |reg: &mut RegState| {
        if reg.is_scalar() && reg.id == source.id {
            let subreg_def = reg.subreg_def;
            *reg = source;
            reg.subreg_def = subreg_def;
        }
    };
    for f in 0..=st.curframe() {
        let is_linked = |r: &RegState| r.is_scalar() && r.id == source.id;
        for n in 0..Reg::R10.0 {
            if is_linked(st.frame(f).reg(Reg(n))) {
                take(st.frame_mut(f).reg_mut(Reg(n)));
            }
        }
        for spi in 0..st.frame(f).stack().len() {
            let slot = &st.frame(f).stack()[spi];
            if slot.kind[0] == SlotType::Spill && is_linked(&slot.spilled) {
                take(&mut st.frame_mut(f).slot_mut(spi).spilled);
            }
        }
    }
}

/// Where a linked scalar is kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LinkedPlace {
    Reg(Reg),
    /// Slot index.
    Slot(u32),
}

/// One linked scalar.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Linked {
    pub frame: u32,
    pub place: LinkedPlace,
}

/// The linked scalars of one branch, at most six (`struct linked_regs`).
#[derive(Clone, Copy, Default, Debug)]
pub struct LinkedRegs {
    entries: [Option<Linked>; MAX_LINKED],
    len: usize,
}

impl LinkedRegs {
    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub fn iter(&self) -> impl Iterator<Item = Linked> + '_ {
        self.entries.iter().flatten().copied()
    }

    fn push(&mut self, e: Linked, most: usize) -> bool {
        let room = self.len < most.min(MAX_LINKED);
        if room {
            self.entries[self.len] = Some(e);
            self.len += 1;
        }
        room
    }

    /// The history entry's word: a record of frame, index (6 bits) and is-register (1) for each, the last one
    /// lowest, above 4 bits of count (`linked_regs_pack`).
    pub fn pack(&self) -> u64 {
        let mut word = 0u64;
        let frame_bits = linked_frame_bits(self.len as u64);
        for e in self.iter() {
            let (index, is_reg) = match e.place {
                LinkedPlace::Reg(r) => (r.0 as u64, 1),
                LinkedPlace::Slot(spi) => (spi as u64, 0),
            };
            let record = e.frame as u64 | (index | is_reg << 6) << frame_bits;
            word = word << (frame_bits + 7) | record;
        }
        word << 4 | self.len as u64
    }
}

/// Bits of a record's frame: six records leave room for eight frames only, which is all that kernels with six have.
pub fn linked_frame_bits(count: u64) -> u32 {
    if count > 5 {
        3
    } else {
        4
    }
}

/// What collecting needs from the environment beside the state.
struct Collector<'a> {
    aux: &'a [InsnAux],
    insn_idx: u32,
    features: &'a Features,
}

/// Adds every scalar with the id of `id`, inner frames first, registers before slots.  Where there are
/// more than fit, the others lose their id.
pub fn collect_linked_regs(env: &mut Env<'_>, id: u32, set: &mut LinkedRegs) {
    let id = id & !ADD_CONST;
    let most = env.kernel.limits.max_linked_regs as usize;
    let c = Collector { aux: &env.aux, insn_idx: env.insn_idx, features: &env.kernel.features };
    for frame in (0..=env.cur.curframe()).rev() {
        let live = c.live_regs(&env.cur, frame);
        for n in (0..Reg::R10.0).filter(|n| live & 1 << n != 0) {
            let reg = env.cur.frame(frame).reg(Reg(n));
            let entry = Linked { frame, place: LinkedPlace::Reg(Reg(n)) };
            if is_linked(reg, id) && !set.push(entry, most) {
                let reg = env.cur.frame_mut(frame).reg_mut(Reg(n));
                c.cut(reg);
            }
        }
        for spi in 0..env.cur.frame(frame).stack().len() {
            let slot = &env.cur.frame(frame).stack()[spi];
            let entry = Linked { frame, place: LinkedPlace::Slot(spi as u32) };
            if slot.kind[7] == SlotType::Spill
                && is_linked(&slot.spilled, id)
                && !set.push(entry, most)
            {
                let slot = env.cur.frame_mut(frame).slot_mut(spi);
                c.cut(&mut slot.spilled);
            }
        }
    }
}

impl Collector<'_> {
    /// Registers worth following in a frame, bit per register.
    fn live_regs(&self, st: &VerifierState, frame: u32) -> u16 {
        if !self.features.linked_regs_live_only {
            return u16::MAX;
        }
        let idx = if frame == st.curframe() {
            self.insn_idx
        } else {
            st.frame(frame + 1).callsite as u32
        };
        self.aux.get(idx as usize).map_or(u16::MAX, |a| a.live_regs_before)
    }

    fn cut(&self, reg: &mut RegState) {
        if self.features.add_const_keeps_self_link {
            reg.clear_scalar_id();
        } else {
            reg.id = 0;
        }
    }
}

fn is_linked(reg: &RegState, id: u32) -> bool {
    reg.is_scalar() && reg.id & !ADD_CONST == id
}

fn linked<'s>(st: &'s VerifierState, e: &Linked) -> Option<&'s RegState> {
    let frame = st.frame(e.frame);
    match e.place {
        LinkedPlace::Reg(r) => Some(frame.reg(r)),
        LinkedPlace::Slot(spi) => frame.stack().get(spi as usize).map(|s| &s.spilled),
    }
}

fn set_linked(st: &mut VerifierState, e: &Linked, v: RegState) {
    let frame = st.frame_mut(e.frame);
    match e.place {
        LinkedPlace::Reg(r) => *frame.reg_mut(r) = v,
        LinkedPlace::Slot(spi) => frame.slot_mut(spi as usize).spilled = v,
    }
}

/// Gives every scalar of the set what is known of register `known` of the innermost frame, moved by the
/// difference of their deltas.
///
/// Returns the registers and the slots that learnt something, a bit each.
pub fn sync_linked_regs(
    st: &mut VerifierState,
    known: Reg,
    set: &LinkedRegs,
    f: &Features,
) -> (u32, u64) {
    let mut changed = (0, 0);
    let source = *st.cur().reg(known);
    let this = Linked { frame: st.curframe(), place: LinkedPlace::Reg(known) };
    for e in set.iter().filter(|e| *e != this) {
        let Some(old) = linked(st, &e).copied() else { continue };
        if !old.is_scalar() || old.id & !ADD_CONST != source.id & !ADD_CONST {
            continue;
        }
        // A 32-bit and a 64-bit distance say nothing about each other.
        if (old.id ^ source.id) & ADD_CONST == ADD_CONST {
            continue;
        }
        set_linked(st, &e, follow(&old, &source, f));
        match e.place {
            LinkedPlace::Reg(r) => changed.0 |= 1 << r.0,
            LinkedPlace::Slot(spi) => changed.1 |= 1 << spi,
        }
    }
    changed
}

/// `old`, now that the scalar it is linked to is known to be `source`.
fn follow(old: &RegState, source: &RegState, f: &Features) -> RegState {
    let mut new = *source;
    new.subreg_def = old.subreg_def;
    let same = old.id & ADD_CONST == 0 && source.id & ADD_CONST == 0;
    if same || old.off == source.off {
        return new;
    }
    let delta = if f.add_const_keeps_self_link {
        old.off as i64 - source.off as i64
    } else {
        old.off.wrapping_sub(source.off) as i64
    };
    new.off = old.off;
    new.id = old.id;
    let cuts = f.add_const_keeps_self_link && (old.id | source.id) & ADD_CONST32 != 0;
    new.moved_by(delta, cuts, f);
    if f.add_const_keeps_self_link {
        new.exchange(f);
    }
    new
}
