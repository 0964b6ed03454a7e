//! Precision: which scalars' exact values something safe depended on
//! (`mark_chain_precision`, `propagate_precision`; `kernel/bpf/backtrack.c` of 7.x).
//!
//! Marks are never set in the current state, only in explored ones: only those are compared with.

use bpfassay_isa::Reg;

use super::backtrack::{backtrack_insn, bug, Backtrack, RegMask, SlotMask, Traced, ARGS};
use super::era::Precision;
use super::footprint::Places;
use super::frame_precision;
use crate::domain::marks::At;
use crate::domain::stack::{SlotType, StackSlot};
use crate::domain::state::{FuncState, HistoryEntry, StateId, VerifierState};
use crate::env::Env;
use crate::log::state::print_explored_state;
use crate::stop::Check;
use crate::trace;

/// Where backtracking starts: the current state, or a state kept outside the table.
type Start<'s> = Option<&'s VerifierState>;

/// Marks the scalar in `reg` precise along the path that made it.
pub fn mark_chain_precision(env: &mut Env<'_>, reg: Reg) -> Check {
    // Where every scalar counts as precise, nobody asks for marks.
    if !env.bpf_capable || env.all_precise {
        return Ok(());
    }
    if env.explore.era.precision == Precision::Frame {
        return frame_precision::mark(env, env.cur.curframe(), At::Reg(reg.0));
    }
    let mut bt = Backtrack { frame: env.cur.curframe() as usize, ..Backtrack::default() };
    if !env.reg(reg).is_scalar() {
        return Err(bug(env, "backtracking misuse"));
    }
    bt.set(reg.0);
    mark_chain(env, None, bt).map(|_| ())
}

/// Marks the scalar spilled in slot `spi` of frame `frameno` precise along the path that made it.
pub fn mark_stack_slot_precise(env: &mut Env<'_>, frameno: u32, spi: u32) -> Check {
    mark_stack_slots_precise(env, frameno, 1u64.checked_shl(spi).unwrap_or(0))
}

/// The same of several slots at once, bit by slot.
pub fn mark_stack_slots_precise(env: &mut Env<'_>, frameno: u32, mask: u64) -> Check {
    if !env.bpf_capable {
        return Ok(());
    }
    let mut bt = Backtrack { frame: env.cur.curframe() as usize, ..Backtrack::default() };
    if let Some(slots) = bt.slots.get_mut(frameno as usize) {
        *slots |= mask;
    }
    mark_chain(env, None, bt).map(|_| ())
}

/// Precise scalars of the explored state `old` become precise in the past of `st` (None: the
/// current state); true if that changed anything.
pub fn propagate_precision(env: &mut Env<'_>, old: StateId, st: Start<'_>) -> Check<bool> {
    if env.explore.era.precision == Precision::Frame {
        return frame_precision::propagate(env, old).map(|()| true);
    }
    let Some(state) = env.explore.state(old) else { return Ok(false) };
    let mut bt = Backtrack::default();
    for f in 0..=state.curframe() {
        let frame = state.frame(f);
        for (i, r) in frame.regs[..10].iter().enumerate() {
            let wanted = r.precise && r.is_scalar() && is_read(frame, At::Reg(i as u8));
            bt.regs[f as usize] |= u16::from(wanted) << i;
        }
        for (i, s) in frame.stack().iter().enumerate().take(64) {
            let wanted = s.spilled.precise && is_spilled_scalar(s);
            let wanted = wanted && is_read(frame, At::Slot(i as u8));
            bt.slots[f as usize] |= u64::from(wanted) << i;
        }
    }
    bt.frame = state.curframe() as usize;
    if bt.is_empty() {
        return Ok(false);
    }
    print_propagated(env, &bt);
    if !env.bpf_capable {
        return Ok(false);
    }
    bt.frame = st.unwrap_or(&env.cur).curframe() as usize;
    mark_chain(env, st, bt)
}

/// Later states read the place, where the kernel keeps marks.
fn is_read(frame: &FuncState, at: At) -> bool {
    frame.marks.is_none() || frame.mark(at).live.is_read()
}

fn print_propagated(env: &mut Env<'_>, bt: &Backtrack) {
    for f in (0..=bt.frame).rev() {
        if bt.regs[f] == 0 && bt.slots[f] == 0 {
            continue;
        }
        if env.log.level.is_level2() {
            let mut intro = format!("frame {f}: propagating ");
            for i in (0..10).filter(|i| bt.regs[f] >> i & 1 == 1) {
                trace!(env, "{}r{}", intro, i);
                intro = ",".to_owned();
            }
            for i in (0..64).filter(|i| bt.slots[f] >> i & 1 == 1) {
                trace!(env, "{}fp{}", intro, -(i + 1) * 8);
                intro = ",".to_owned();
            }
            trace!(env, "\n");
        } else if env.log.level.prints_insns() {
            // The kernel ends the line at every level.
            trace!(env, "\n");
        }
        env.log.end_message();
    }
}

fn is_spilled_scalar(s: &StackSlot) -> bool {
    s.kind[7] == SlotType::Spill && s.spilled.is_scalar()
}

/// A state on the way back: the start, or an explored one.
struct Walk<'s> {
    start: Start<'s>,
    at: Option<StateId>,
}

impl Walk<'_> {
    fn state<'e>(&'e self, env: &'e Env<'_>) -> Option<&'e VerifierState> {
        match self.at {
            Some(id) => env.explore.state(id),
            None => Some(self.start.unwrap_or(&env.cur)),
        }
    }
}

/// `__mark_chain_precision`: true if any mark was new.
fn mark_chain(env: &mut Env<'_>, start: Start<'_>, mut bt: Backtrack) -> Check<bool> {
    if bt.is_empty() {
        return Ok(false);
    }
    let mut changed = false;
    let mut walk = Walk { start, at: None };
    let mut subseq = -1i64;
    let first = start.unwrap_or(&env.cur);
    let (mut last_idx, mut first_idx) = (i64::from(first.insn_idx), first.first_insn_idx);
    let mut skip_first = true;
    loop {
        if env.log.level.is_level2() {
            trace!(
                env,
                "mark_precise: frame{}: last_idx {} first_idx {} subseq_idx {} \n",
                bt.frame,
                last_idx,
                first_idx as i32,
                subseq
            );
        }
        env.log.end_message();
        if last_idx < 0 {
            return at_function_entry(env, &walk, &mut bt, changed);
        }
        match walk_state(env, &walk, &mut bt, last_idx as u32, &mut subseq, &mut skip_first)? {
            Way::Done => return Ok(changed),
            Way::Lost => {
                mark_all_scalars_precise_from(env, start);
                return Ok(changed);
            }
            Way::Up => {}
        }
        let Some(parent) = walk.state(env).and_then(|s| s.parent) else { break };
        walk.at = Some(parent);
        changed |= mark_parent(env, parent, &mut bt)?;
        if bt.is_empty() {
            return Ok(changed);
        }
        subseq = i64::from(first_idx);
        let Some(st) = env.explore.state(parent) else { break };
        last_idx = i64::from(st.last_insn_idx as i32);
        first_idx = st.first_insn_idx;
    }
    // Something was missed, such as a stack access through another register.
    mark_all_scalars_precise_from(env, start);
    Ok(changed)
}

enum Way {
    /// Everything wanted was found.
    Done,
    Lost,
    /// The first instruction of the state was passed: on to its parent.
    Up,
}

/// Where the walk through the instructions of one state is.
struct Cursor {
    insn_idx: u32,
    /// History entries not passed yet.
    left: usize,
    /// The instruction executed after this one, -1 for none.
    subseq: i64,
}

impl Cursor {
    /// The entry of this very instruction; most have none.
    #[inline]
    fn entry<'h>(&self, history: &'h [HistoryEntry]) -> Option<&'h HistoryEntry> {
        let top = history.get(self.left.checked_sub(1)?)?;
        (top.idx == self.insn_idx).then_some(top)
    }

    /// To the instruction executed before this one; false if this was the first of the state.
    #[inline]
    fn step_back(&mut self, hist: Option<&HistoryEntry>, first_idx: u32) -> bool {
        self.subseq = i64::from(self.insn_idx);
        // One entry at the first instruction is the jump into this state.
        let at_first = self.left == 0 || (self.left == 1 && hist.is_some());
        if self.insn_idx == first_idx && at_first {
            return false;
        }
        self.insn_idx = match hist {
            Some(h) => {
                self.left -= 1;
                h.prev_idx
            }
            None => self.insn_idx.wrapping_sub(1),
        };
        true
    }

    /// Passes what has nothing to do with what is wanted; false if the state is passed by that.
    fn skip_unconcerned(&mut self, st: &VerifierState, bt: &Backtrack, concerned: &[u16]) -> bool {
        loop {
            self.skip_run(st, bt, concerned);
            let Some(regs) = concerned.get(self.insn_idx as usize) else { return true };
            let hist = self.entry(&st.history);
            if !bt.is_unconcerned(*regs, hist) {
                return true;
            }
            if !self.step_back(hist, st.first_insn_idx) {
                return false;
            }
        }
    }

    /// The same down to the next entry or the first instruction: nothing but instructions in a row.
    #[inline]
    fn skip_run(&mut self, st: &VerifierState, bt: &Backtrack, concerned: &[u16]) {
        let top = self.left.checked_sub(1).and_then(|top| st.history.get(top));
        let stop = top.map_or(st.first_insn_idx, |h| h.idx);
        let (from, to) = (stop as usize + 1, self.insn_idx as usize + 1);
        let Some(run) = concerned.get(from..to) else { return };
        let by_regs = bt.concerning();
        let found = run.iter().rposition(|regs| by_regs & regs != 0);
        let at = found.map_or(stop, |i| stop + 1 + i as u32);
        if at != self.insn_idx {
            self.subseq = i64::from(at) + 1;
            self.insn_idx = at;
        }
    }
}

/// Back over the instructions of one state, from `last_idx` to its first.
fn walk_state(
    env: &mut Env<'_>,
    walk: &Walk<'_>,
    bt: &mut Backtrack,
    last_idx: u32,
    subseq: &mut i64,
    skip_first: &mut bool,
) -> Check<Way> {
    // At level 2 every instruction passed is printed.
    let silent = !env.log.level.is_level2();
    let Some(st) = walk.state(env) else { return Ok(Way::Up) };
    let first_idx = st.first_insn_idx;
    let mut cursor = Cursor { insn_idx: last_idx, left: st.history.len(), subseq: *subseq };
    loop {
        let Some(st) = walk.state(env) else { return Ok(Way::Up) };
        if silent && !*skip_first && !cursor.skip_unconcerned(st, bt, &env.explore.concerned) {
            break;
        }
        if cursor.insn_idx as usize >= env.insns.len() {
            return Err(bug(env, &format!("backtracking idx {}", cursor.insn_idx as i32)));
        }
        let hist = cursor.entry(&st.history).copied();
        if !std::mem::take(skip_first)
            && backtrack_insn(env, bt, cursor.insn_idx, cursor.subseq, hist.as_ref())?
                == Traced::Lost
        {
            return Ok(Way::Lost);
        }
        if bt.is_empty() {
            return Ok(Way::Done);
        }
        if !cursor.step_back(hist.as_ref(), first_idx) {
            break;
        }
    }
    *subseq = cursor.subseq;
    Ok(Way::Up)
}

/// The path began here: only arguments of a global function may still be wanted.
fn at_function_entry(
    env: &mut Env<'_>,
    walk: &Walk<'_>,
    bt: &mut Backtrack,
    changed: bool,
) -> Check<bool> {
    let Some(st) = walk.state(env) else { return Ok(changed) };
    let outer = st.frame(0);
    let subprogno = outer.subprogno;
    let is_global_entry = st.curframe() == 0 && subprogno > 0 && outer.callsite == -1;
    if !is_global_entry || bt.slot_mask() != 0 || bt.reg_mask() & !ARGS != 0 {
        let text = format!(
            "backtracking func entry subprog {} reg_mask {:x} stack_mask {:x}",
            subprogno,
            bt.reg_mask(),
            bt.slot_mask()
        );
        return Err(bug(env, &text));
    }
    let mut changed = changed;
    if let Some(e) = walk.at.and_then(|id| env.explore.states.get_mut(id)) {
        for i in (1..=5).filter(|i| bt.reg_mask() >> i & 1 == 1) {
            if e.state.frame(0).regs[i].is_scalar() {
                e.state.frame_mut(0).regs[i].precise = true;
                changed = true;
            }
        }
    }
    Ok(changed)
}

/// Places of the set bits, ascending.
pub(super) fn bits(mut mask: u64) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        let lowest = (mask != 0).then(|| mask.trailing_zeros() as usize);
        mask &= mask.wrapping_sub(1);
        lowest
    })
}

/// Marks what is wanted in an explored state; what is precise already or no scalar is wanted no more.
fn mark_parent(env: &mut Env<'_>, id: StateId, bt: &mut Backtrack) -> Check<bool> {
    let mut changed = false;
    for f in (0..=bt.frame).rev() {
        let Some(st) = env.explore.state(id) else { return Ok(changed) };
        if f > st.curframe() as usize {
            continue;
        }
        let fr = f as u32;
        let frame = st.frame(fr);
        for i in bits(u64::from(bt.regs[f])) {
            let r = &frame.regs[i];
            if !r.is_scalar() || r.precise {
                bt.regs[f] &= !(1 << i);
            }
        }
        for i in bits(bt.slots[f]) {
            let total = frame.stack().len();
            let Some(s) = frame.stack().get(i) else {
                let text = format!(
                    "stack slot {i}, total slots {total} (i >= func->allocated_stack / BPF_REG_SIZE)"
                );
                return Err(bug(env, &text));
            };
            if !is_spilled_scalar(s) || s.spilled.precise {
                bt.slots[f] &= !(1 << i);
            }
        }
        let wanted = Places { regs: bt.regs[f], slots: bt.slots[f] };
        if wanted != Places::default() {
            env.explore.states.make_precise(id, fr, wanted);
            changed = true;
        }
        if env.log.level.is_level2() {
            let (regs, slots) = (RegMask(bt.regs[f]), SlotMask(bt.slots[f]));
            trace!(env, "mark_precise: frame{}: parent state regs={} stack={}: ", f, regs, slots);
            print_explored_state(env, id, fr, true);
        }
    }
    Ok(changed)
}

/// Makes every scalar of every ancestor of `start` precise (`mark_all_scalars_precise`).
pub fn mark_all_scalars_precise_from(env: &mut Env<'_>, start: Start<'_>) {
    let st = start.unwrap_or(&env.cur);
    let (frame, next) = (st.curframe(), st.parent);
    let level2 = env.log.level.is_level2();
    if level2 {
        trace!(env, "mark_precise: frame{}: falling back to forcing all scalars precise\n", frame);
    }
    env.log.end_message();
    force_ancestors_precise(env, next);
}

/// Makes every scalar of a state and of its ancestors precise.
pub fn force_ancestors_precise(env: &mut Env<'_>, mut next: Option<StateId>) {
    let level2 = env.log.level.is_level2() && env.explore.era.precision == Precision::Chain;
    while let Some(e) = next.and_then(|id| env.explore.states.get_mut(id)) {
        // Once so, always so: what was forced before need not be looked through again.
        if e.all_precise {
            break;
        }
        e.all_precise = true;
        next = e.state.parent;
        for f in 0..=e.state.curframe() {
            let imprecise: Vec<usize> = (0..10)
                .filter(|i| {
                    let r = &e.state.frame(f).regs[*i];
                    r.is_scalar() && !r.precise
                })
                .collect();
            for i in imprecise {
                e.state.frame_mut(f).regs[i].precise = true;
                if level2 {
                    trace!(env, "force_precise: frame{}: forcing r{} to be precise\n", f, i);
                }
            }
            let wanted = |s: &StackSlot| is_spilled_scalar(s) && !s.spilled.precise;
            let slots: Vec<usize> = (0..e.state.frame(f).stack().len())
                .filter(|i| wanted(&e.state.frame(f).stack()[*i]))
                .collect();
            for i in slots {
                e.state.frame_mut(f).slot_mut(i).spilled.precise = true;
                if level2 {
                    trace!(
                        env,
                        "force_precise: frame{}: forcing fp{} to be precise\n",
                        f,
                        -(i as i32 + 1) * 8
                    );
                }
            }
        }
    }
    env.log.end_message();
}

/// Forgets precision in a state; children find out again what they need.
pub fn mark_all_scalars_imprecise(st: &mut VerifierState) {
    for i in 0..=st.curframe() {
        let frame = st.frame(i);
        if frame.regs[..10].iter().any(|r| r.precise && r.is_scalar()) {
            for r in &mut st.frame_mut(i).regs[..10] {
                r.precise &= !r.is_scalar();
            }
        }
        let precise_slot = |s: &StackSlot| s.spilled.precise && is_spilled_scalar(s);
        if st.frame(i).stack().iter().any(precise_slot) {
            for s in st.frame_mut(i).stack_mut().iter_mut().filter(|s| precise_slot(s)) {
                s.spilled.precise = false;
            }
        }
    }
}
