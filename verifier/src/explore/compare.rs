//! Whether an explored state covers the current one (`states_equal`, `regsafe`, `stacksafe`, `refsafe`).

use bpfassay_spec::{Features, RegBase};

use super::footprint::{may_use_footprint, prepare_footprint};
use super::glance::{glance, Difference, Glance, Place};
use super::idmap::IdMap;
use super::scc::frame_insn_idx;
use super::states::Candidate;
use crate::domain::marks::At;
use crate::domain::reg::{RegState, ADD_CONST};
use crate::domain::stack::{SlotType, StackSlot};
use crate::domain::state::{FuncState, RefKind, RefState, VerifierState};
use crate::env::{Env, InsnAux};
use crate::mutation::{self, Mutation};

/// How closely states must agree (`enum exact_level`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Exact {
    /// Imprecise scalars of the old state cover everything.
    Not,
    /// Field by field.
    Exact,
    /// Every scalar counts as precise.
    RangeWithin,
}

/// What a comparison reads beside the two states.
pub(super) struct Comparer<'c> {
    aux: &'c [InsnAux],
    ids: &'c mut IdMap,
    allow_uninit_stack: bool,
    explore_alu_limits: bool,
    /// Feature `scalar_ids_one_way`.
    one_way_ids: bool,
    /// Feature `packet_end_marks_compared`.
    packet_end_marks: bool,
    /// Feature `circular_ranges`.
    circular: bool,
    /// Feature `static_stack_liveness`.
    statically: bool,
    /// Feature `slot_halves_compared`.
    halves: bool,
    /// Feature `pointer_offset_whole`.
    whole_offsets: bool,
    /// Feature `references_by_id`.
    by_id: bool,
    /// Feature `iterator_types_compared`.
    iter_types: bool,
    exact: Exact,
    /// References are kept by frame.
    refs_by_frame: bool,
    /// Feature `states_rename_ids`.
    renames: bool,
    /// Feature `scalar_ids_compared`.
    scalar_ids: bool,
    /// Registers are alive by data flow.
    static_regs: bool,
    /// Somebody looks on.
    all_precise: bool,
    /// The first place found to differ.
    pub(super) at: Option<Place>,
}

/// Whether the explored state `old` covers the current one (`states_equal`).
pub fn states_equal(env: &mut Env<'_>, old: Candidate, exact: Exact) -> bool {
    let mut ids = std::mem::take(&mut env.explore.idmap);
    let equal = !differs_again(env, old, exact, &mut ids) && compare(env, old, exact, &mut ids);
    env.explore.idmap = ids;
    equal
}

/// The state differs where it differed before.
fn differs_again(env: &Env<'_>, old: Candidate, exact: Exact, ids: &mut IdMap) -> bool {
    let known = env.explore.states.difference(old).filter(|d| !d.is_turn);
    known.is_some_and(|d| !Comparer::new(env, ids, exact).place(d, &env.cur))
}

/// The whole comparison; where the states differ is noted.
fn compare(env: &mut Env<'_>, old: Candidate, exact: Exact, ids: &mut IdMap) -> bool {
    let by_print = may_use_footprint(env, exact) && prepare_footprint(env, old.id);
    let mut comparer = Comparer::new(env, ids, exact);
    let explored = env.explore.states.get(old.id);
    let state = explored.map(|e| &e.state);
    let print = explored.and_then(|e| e.footprint.as_ref()).filter(|_| by_print);
    let equal = state.is_some_and(|st| match print {
        Some(print) => comparer.states_by_print(st, &env.cur, print, env.explore.current.frames()),
        None => comparer.states(st, &env.cur),
    });
    let found = match (comparer.at, state) {
        (Some(place), Some(st)) if !equal => Difference::at(st, place, false),
        _ => None,
    };
    if let Some(d) = found.filter(|_| !equal) {
        let glance = glance(env, &d);
        env.explore.states.note_difference(old, Some(d), glance);
    }
    equal
}

/// True if a look at the place where `old` differed before shows that it does again: a finished state
/// from what it must cover, an unfinished one from the same turn of a loop.
pub fn surely_differ(env: &mut Env<'_>, old: Candidate, is_finished: bool) -> bool {
    let Some(d) = env.explore.states.difference(old) else { return false };
    if d.is_turn {
        let place = d.place;
        let frames = env.kernel.features.turns_compare_frames;
        let same_frame = place.frame == env.cur.curframe();
        let At::Reg(r) = place.at else { return false };
        return !is_finished
            && same_frame
            && !same_turn(&d.old.spilled, &env.frame().regs[r as usize], frames);
    }
    if !is_finished {
        return false;
    }
    let mut ids = std::mem::take(&mut env.explore.idmap);
    let mut comparer = Comparer::new(env, &mut ids, Exact::Not);
    let differ = env.explore.states.difference(old).is_some_and(|d| !comparer.place(d, &env.cur));
    env.explore.idmap = ids;
    differ
}

/// `states_maybe_looping`: the innermost registers agree in every field but definition, and the frame where that is
/// not compared.
pub fn states_maybe_looping(env: &mut Env<'_>, old: Candidate) -> bool {
    let Some(st) = env.explore.state(old.id) else { return false };
    let frame = st.curframe();
    if frame != env.cur.curframe() {
        return false;
    }
    let frames = env.kernel.features.turns_compare_frames;
    let mut pairs = st.cur().regs.iter().zip(&env.frame().regs);
    let Some(r) = pairs.position(|(o, c)| !same_turn(o, c, frames)) else { return true };
    let at = At::Reg(r as u8);
    let glance = Glance::of_turn(frame, at, &st.cur().regs[r]);
    let found = Difference::at(st, Place { frame, at }, true);
    env.explore.states.note_difference(old, found, Some(glance));
    false
}

fn same_turn(o: &RegState, c: &RegState, frames: bool) -> bool {
    same_up_to_id(o, c)
        && (!frames || o.frameno == c.frameno)
        && o.id == c.id
        && o.ref_obj_id == c.ref_obj_id
        && o.parent_id == c.parent_id
}

/// An active iterator of the old state has been advanced since (`iter_active_depths_differ`).
pub fn iter_active_depths_differ(old: &VerifierState, cur: &VerifierState) -> bool {
    use crate::domain::reg::IterState;
    (0..=old.curframe()).any(|f| {
        let slots = old.frame(f).stack().iter().enumerate();
        slots
            .filter(|(_, s)| {
                s.kind[0] == SlotType::Iter && s.spilled.iter_state() == IterState::Active
            })
            .any(|(i, s)| {
                cur.frame(f)
                    .stack()
                    .get(i)
                    .is_some_and(|c| c.spilled.iter_depth() != s.spilled.iter_depth())
            })
    })
}

/// Equal in the fields before `var_off`.
#[inline]
fn same_identity(a: &RegState, b: &RegState) -> bool {
    a.ty == b.ty && a.off == b.off && a.raw() == b.raw()
}

/// Equal in the fields before `id`, stale ones included.
#[inline]
fn same_up_to_id(a: &RegState, b: &RegState) -> bool {
    same_identity(a, b)
        && a.var_off == b.var_off
        && a.smin == b.smin
        && a.smax == b.smax
        && a.umin == b.umin
        && a.umax == b.umax
        && a.s32_min == b.s32_min
        && a.s32_max == b.s32_max
        && a.u32_min == b.u32_min
        && a.u32_max == b.u32_max
        && a.hides_the_same(b)
}

/// The same in every field that tells values apart, up to a renaming of ids (`regs_exact`).
pub fn regs_exact(old: &RegState, cur: &RegState, ids: &mut IdMap) -> bool {
    same_up_to_id(old, cur)
        && ids.check(old.id, cur.id)
        && ids.check(old.ref_obj_id, cur.ref_obj_id)
        && ids.check(old.parent_id, cur.parent_id)
}

/// The same in every field before the id (`scalars_exact_for_widen`).
pub fn same_values(old: &RegState, cur: &RegState) -> bool {
    same_up_to_id(old, cur)
}

/// Every value of `cur` is one of `old` (`range_within`, `tnum_in`).
#[inline]
fn values_within(old: &RegState, cur: &RegState, circular: bool) -> bool {
    if mutation::has(Mutation::RegsafeIgnoresMinimum) {
        return old.umax >= cur.umax && old.smax >= cur.smax;
    }
    let within = if circular { old.arcs_include(cur) } else { old.range_includes(cur) };
    within && old.var_off.includes(cur.var_off)
}

/// References that a frame holds, where they are kept by frame.
fn refs_of(st: &VerifierState, frame: u32) -> &[RefState] {
    if frame < st.curframe() {
        &st.frame(frame).refs_at_call
    } else {
        &st.refs
    }
}

impl<'c> Comparer<'c> {
    /// Of no program.
    pub(super) fn alone(ids: &'c mut IdMap, features: &Features) -> Comparer<'c> {
        Comparer {
            aux: &[],
            ids,
            allow_uninit_stack: false,
            explore_alu_limits: false,
            one_way_ids: features.scalar_ids_one_way,
            packet_end_marks: features.packet_end_marks_compared,
            circular: features.circular_ranges,
            statically: features.static_stack_liveness,
            halves: features.slot_halves_compared,
            whole_offsets: features.pointer_offset_whole,
            by_id: features.references_by_id,
            iter_types: features.iterator_types_compared,
            exact: Exact::Not,
            refs_by_frame: !features.references_of_state,
            renames: features.states_rename_ids,
            scalar_ids: features.scalar_ids_compared,
            static_regs: true,
            all_precise: false,
            at: None,
        }
    }

    fn new(env: &'c Env<'_>, ids: &'c mut IdMap, exact: Exact) -> Comparer<'c> {
        ids.reset(env.id_gen);
        Comparer {
            aux: &env.aux,
            allow_uninit_stack: env.allow_uninit_stack,
            explore_alu_limits: env.explore_alu_limits,
            exact,
            static_regs: env.explore.era.has_static_regs(),
            all_precise: env.all_precise,
            ..Comparer::alone(ids, &env.kernel.features)
        }
    }

    /// What is not in a frame.
    pub(super) fn outlines(&mut self, old: &VerifierState, cur: &VerifierState) -> bool {
        old.curframe() == cur.curframe()
            && (!old.speculative || cur.speculative)
            && old.in_sleepable == cur.in_sleepable
            && self.refs(old, cur)
    }

    fn states(&mut self, old: &VerifierState, cur: &VerifierState) -> bool {
        if !self.outlines(old, cur) {
            return false;
        }
        (0..=old.curframe()).all(|i| {
            let (o, c) = (old.frame(i), cur.frame(i));
            o.callsite == c.callsite
                && self.frames(i, o, c, frame_insn_idx(old, i))
                && (!self.refs_by_frame || self.references(refs_of(old, i), refs_of(cur, i)))
        })
    }

    /// One place on its own.
    fn place(&mut self, d: &Difference, cur: &VerifierState) -> bool {
        if d.place.frame > cur.curframe() || (!d.read && self.exact == Exact::Not) {
            return true;
        }
        let frame = cur.frame(d.place.frame);
        match d.place.at {
            At::Reg(r) => self.regs(&d.old.spilled, &frame.regs[r as usize]),
            At::Slot(spi) => self.stack_slot(&d.old, frame.stack().get(spi as usize)),
        }
    }

    fn refs(&mut self, old: &VerifierState, cur: &VerifierState) -> bool {
        if (!self.refs_by_frame && old.refs.len() != cur.refs.len())
            || old.active_locks != cur.active_locks
            || old.active_preempt_locks != cur.active_preempt_locks
            || old.active_rcu_locks != cur.active_rcu_locks
            || !self.ids.check(old.active_irq_id, cur.active_irq_id)
            || !self.lock_ids(old.active_lock_id, cur.active_lock_id)
            || old.active_lock_ptr != cur.active_lock_ptr
        {
            return false;
        }
        self.refs_by_frame || self.references(&old.refs, &cur.refs)
    }

    fn lock_ids(&mut self, old: u32, cur: u32) -> bool {
        if self.renames {
            self.ids.check(old, cur)
        } else {
            old == cur
        }
    }

    fn references(&mut self, old: &[RefState], cur: &[RefState]) -> bool {
        if old.len() != cur.len() {
            return false;
        }
        if !self.renames {
            return old.iter().zip(cur).all(|(o, c)| o.id == c.id && o.insn_idx == c.insn_idx);
        }
        old.iter().zip(cur).all(|(o, c)| {
            let by_id = matches!(o.kind, RefKind::Ptr | RefKind::Irq);
            self.ids.check(o.id, c.id)
                && o.kind == c.kind
                && (by_id || o.ptr == c.ptr)
                && self.ids.check(o.parent_id, c.parent_id)
        })
    }

    fn frames(&mut self, frame: u32, old: &FuncState, cur: &FuncState, insn_idx: u32) -> bool {
        if old.callback_depth > cur.callback_depth {
            return false;
        }
        if !self.renames {
            self.ids.reset(0);
        }
        let live = self.live_regs(old, insn_idx);
        for (i, (o, c)) in old.regs.iter().zip(&cur.regs).enumerate() {
            if live & (1 << i) != 0 && !self.regs(o, c) {
                self.at = Some(Place { frame, at: At::Reg(i as u8) });
                return false;
            }
        }
        self.stacks(frame, old, cur)
    }

    /// Registers that later states read, as far as the kernel knows: bit by register.
    fn live_regs(&self, old: &FuncState, insn_idx: u32) -> u16 {
        match &old.marks {
            Some(marks) if !self.static_regs => {
                if self.exact != Exact::Not {
                    return u16::MAX;
                }
                let read = marks.regs.iter().enumerate().filter(|(_, m)| m.live.is_read());
                read.fold(0, |live, (i, _)| live | 1 << i)
            }
            _ => self.aux.get(insn_idx as usize).map_or(u16::MAX, |a| a.live_regs_before),
        }
    }

    fn regs_exact(&mut self, old: &RegState, cur: &RegState) -> bool {
        regs_exact(old, cur, self.ids)
    }

    /// `regsafe`.
    pub(super) fn regs(&mut self, old: &RegState, cur: &RegState) -> bool {
        if !self.renames {
            return self.regs_by_memory(old, cur);
        }
        if self.exact == Exact::Exact {
            return self.regs_exact(old, cur);
        }
        let forgotten = self.statically || self.exact == Exact::Not || cur.ty == RegBase::NotInit;
        if old.ty == RegBase::NotInit && forgotten {
            return true;
        }
        if old.ty != cur.ty {
            return false;
        }
        match old.base() {
            RegBase::Scalar => self.scalars(old, cur),
            RegBase::MapKey
            | RegBase::MapValue
            | RegBase::Mem
            | RegBase::Buf
            | RegBase::TpBuffer => {
                same_identity(old, cur)
                    && values_within(old, cur, self.circular)
                    && self.ids.check(old.id, cur.id)
                    && self.ids.check(old.ref_obj_id, cur.ref_obj_id)
                    && self.ids.check(old.parent_id, cur.parent_id)
            }
            RegBase::PacketMeta | RegBase::Packet => {
                self.packet_ranges(old.range(), cur.range())
                    && old.off == cur.off
                    && self.ids.check(old.id, cur.id)
                    && self.same_distance(old, cur)
                    && values_within(old, cur, self.circular)
            }
            RegBase::Stack => self.regs_exact(old, cur) && old.frameno == cur.frameno,
            RegBase::Arena => true,
            RegBase::Insn => same_identity(old, cur) && values_within(old, cur, self.circular),
            _ => self.regs_exact(old, cur),
        }
    }

    /// The same before 6.3: registers are equal byte for byte, ids included, but for ranges of scalars, map values
    /// and packets, and the ids of map values that may be NULL.
    fn regs_by_memory(&mut self, old: &RegState, cur: &RegState) -> bool {
        let equal = same_up_to_id(old, cur) && old.id == cur.id && old.ref_obj_id == cur.ref_obj_id;
        if old.ty == RegBase::Stack {
            return equal && old.frameno == cur.frameno;
        }
        if equal || old.ty == RegBase::NotInit {
            return true;
        }
        match old.base() {
            RegBase::Scalar => {
                cur.ty == RegBase::Scalar
                    && !self.explore_alu_limits
                    && (!old.precise && !self.all_precise || values_within(old, cur, self.circular))
            }
            RegBase::MapKey | RegBase::MapValue if old.ty.may_be_null() => {
                same_identity(old, cur) && self.ids.check_one_way(old.id, cur.id)
            }
            RegBase::MapKey | RegBase::MapValue => {
                same_identity(old, cur) && values_within(old, cur, self.circular)
            }
            RegBase::PacketMeta | RegBase::Packet => {
                old.ty == cur.ty
                    && self.packet_ranges(old.range(), cur.range())
                    && old.off == cur.off
                    && (old.id == 0 || self.ids.check_one_way(old.id, cur.id))
                    && values_within(old, cur, self.circular)
            }
            _ => false,
        }
    }

    /// At least as much of the packet must be readable; negative ranges are comparisons with its end.
    fn packet_ranges(&self, old: i32, cur: i32) -> bool {
        if self.packet_end_marks && (old < 0 || cur < 0) {
            old == cur
        } else {
            old <= cur
        }
    }

    /// Packet pointers that share an id keep their distance.
    fn same_distance(&self, old: &RegState, cur: &RegState) -> bool {
        !self.whole_offsets || old.id == 0 || old.arc64().base == cur.arc64().base
    }

    fn scalars(&mut self, old: &RegState, cur: &RegState) -> bool {
        if self.explore_alu_limits {
            let ids =
                if self.one_way_ids { IdMap::check_scalar_one_way } else { IdMap::check_scalar };
            return same_up_to_id(old, cur) && ids(self.ids, old.id, cur.id);
        }
        let imprecise = !old.precise || mutation::has(Mutation::RegsafeIgnoresPrecision);
        if imprecise && self.exact == Exact::Not && !self.all_precise {
            return true;
        }
        if !self.scalar_ids {
            return values_within(old, cur, self.circular);
        }
        let linked = old.id & ADD_CONST;
        // Where the old register was on its own, links of the current one only say more about it.
        let free = self.one_way_ids && old.id == 0;
        if !free && linked != cur.id & ADD_CONST || (linked != 0 && old.off != cur.off) {
            return false;
        }
        if self.one_way_ids {
            return self.ids.check_scalar_one_way(old.id, cur.id)
                && values_within(old, cur, self.circular);
        }
        values_within(old, cur, self.circular) && self.ids.check_scalar(old.id, cur.id)
    }

    /// `stacksafe`; slots that only the current state has do not matter.
    fn stacks(&mut self, frame: u32, old: &FuncState, cur: &FuncState) -> bool {
        let cur_slots = cur.stack();
        for (spi, o) in old.stack().iter().enumerate() {
            let has_marks = self.exact == Exact::Not && old.marks.is_some();
            if has_marks && !old.mark(At::Slot(spi as u8)).live.is_read() {
                continue;
            }
            if !self.stack_slot(o, cur_slots.get(spi)) {
                self.at = Some(Place { frame, at: At::Slot(spi as u8) });
                return false;
            }
        }
        true
    }

    #[inline]
    pub(super) fn stack_slot(&mut self, old: &StackSlot, cur: Option<&StackSlot>) -> bool {
        let kinds = old.kinds();
        if self.exact == Exact::Not && kinds == StackSlot::EMPTY.kinds() {
            return true;
        }
        match cur {
            Some(c) if kinds == c.kinds() && kinds == StackSlot::SPILLED => {
                self.regs(&old.spilled, &c.spilled)
            }
            // Equal kinds and nothing beyond them.
            Some(c) if kinds == c.kinds() && kinds == StackSlot::EMPTY.kinds() => true,
            _ => self.slots(old, cur),
        }
    }

    /// The value a slot has as a scalar from byte `from` on, if it has one (`scalar_reg_for_stack`).
    fn scalar_in_slot(&self, s: &StackSlot, from: usize) -> Option<RegState> {
        if s.kind[from] == SlotType::Spill && s.spilled.is_scalar() {
            return Some(s.spilled);
        }
        let misc =
            |k: &SlotType| *k == SlotType::Misc || (k.is_nothing() && self.allow_uninit_stack);
        s.kind[from..].iter().all(misc).then(|| {
            let mut unbound = RegState::ZEROED;
            unbound.mark_unknown_imprecise();
            unbound
        })
    }

    fn slots(&mut self, old: &StackSlot, cur: Option<&StackSlot>) -> bool {
        let exactly =
            if self.statically { self.exact == Exact::Exact } else { self.exact != Exact::Not };
        let mut next = 0;
        while next < 8 {
            let i = next;
            next += 1;
            let kind = old.kind[i];
            let same = |c: SlotType| c == kind || (c.is_nothing() && kind.is_nothing());
            if exactly && cur.is_none_or(|c| !same(c.kind[i])) {
                return false;
            }
            if kind.is_nothing() || (self.allow_uninit_stack && kind == SlotType::Misc) {
                continue;
            }
            let Some(cur) = cur else { return false };
            let from = if self.halves { i } else { 0 };
            if from % 4 == 0 && self.renames {
                let scalars = (self.scalar_in_slot(old, from), self.scalar_in_slot(cur, from));
                if let (Some(o), Some(c)) = scalars {
                    if !self.regs(&o, &c) {
                        return false;
                    }
                    next = 8;
                    continue;
                }
            }
            if kind == SlotType::Misc && cur.kind[i] == SlotType::Zero {
                continue;
            }
            if kind != cur.kind[i] {
                return false;
            }
            let holds = self.renames || kind == SlotType::Spill;
            if i == 7 && holds && !self.slot_objects(kind, &old.spilled, &cur.spilled) {
                return false;
            }
        }
        true
    }

    /// What slots of one kind hold beyond the kind.
    fn slot_objects(&mut self, kind: SlotType, old: &RegState, cur: &RegState) -> bool {
        match kind {
            SlotType::Spill => self.regs(old, cur),
            SlotType::Dynptr => {
                old.dynptr_type() == cur.dynptr_type()
                    && old.dynptr_first_slot() == cur.dynptr_first_slot()
                    && self.ids.check(old.ref_obj_id, cur.ref_obj_id)
                    && (!self.by_id || self.ids.check(old.id, cur.id))
                    && self.ids.check(old.parent_id, cur.parent_id)
            }
            // The depth only tells iterations apart, see `iter_active_depths_differ`.
            SlotType::Iter => {
                (!self.iter_types || old.ty == cur.ty)
                    && old.btf() == cur.btf()
                    && old.btf_id() == cur.btf_id()
                    && old.iter_state() == cur.iter_state()
                    && self.ids.check(old.ref_obj_id, cur.ref_obj_id)
            }
            SlotType::IrqFlag => {
                self.ids.check(old.ref_obj_id, cur.ref_obj_id)
                    && old.irq_kfunc_class() == cur.irq_kfunc_class()
            }
            SlotType::Misc | SlotType::Zero | SlotType::Invalid | SlotType::Poison => true,
        }
    }
}
