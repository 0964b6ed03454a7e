//! Halves of stack slots that may still be read, by data flow alone before any path is explored
//! (`bpf_compute_subprog_arg_access` in `kernel/bpf/liveness.c` of 7.1).
//!
//! Every function is followed once per call that hands it a pointer into a caller's frame; [`flow`] finds
//! where pointers into frames go, [`access`] what is read and written through them.

mod access;
mod flow;
mod print;
mod track;

use std::collections::HashMap;

use super::scc::frame_insn_idx;
use crate::domain::stack::{SlotType, StackSlot};
use crate::domain::state::{FuncState, VerifierState, MAX_CALL_FRAMES};
use crate::env::Env;
use crate::stop::{Check, Errno};
use crate::subprogs::{find_subprog, subprog_end};
use crate::verbose;
use flow::{Args, Slots};
use track::Track;

/// Halves of slots, the one next to the frame pointer first.
type Halves = u128;

/// Functions followed at most, counted by call.
const MAX_CALLS: u32 = 10_000;

/// Marks of one instruction about one frame (`struct per_frame_masks`).
#[derive(Clone, Copy, Debug, Default)]
struct Masks {
    may_read: Halves,
    must_write: Halves,
    live_before: Halves,
}

/// One function at one depth, reached by one call (`struct func_instance`).
#[derive(Clone, Debug)]
struct Instance {
    depth: usize,
    subprog: u32,
    start: u32,
    len: usize,
    frames: [Vec<Masks>; MAX_CALL_FRAMES],
}

impl Instance {
    fn masks(&self, frame: usize, insn_idx: u32) -> Option<&Masks> {
        self.frames[frame].get(insn_idx.wrapping_sub(self.start) as usize)
    }

    fn masks_mut(&mut self, frame: usize, insn_idx: u32) -> Option<&mut Masks> {
        let frame = &mut self.frames[frame];
        if frame.is_empty() {
            *frame = vec![Masks::default(); self.len];
        }
        frame.get_mut(insn_idx.wrapping_sub(self.start) as usize)
    }

    fn mark_read(&mut self, frame: usize, insn_idx: u32, mask: Halves) {
        if let Some(m) = self.masks_mut(frame, insn_idx) {
            m.may_read |= mask;
        }
    }

    fn mark_write(&mut self, frame: usize, insn_idx: u32, mask: Halves) {
        if let Some(m) = self.masks_mut(frame, insn_idx) {
            m.must_write |= mask;
        }
    }

    fn mark_all_read(&mut self, insn_idx: u32) {
        (0..=self.depth).for_each(|f| self.mark_read(f, insn_idx, Halves::MAX));
    }

    fn live_before(&self, frame: usize, insn_idx: u32) -> Halves {
        self.masks(frame, insn_idx).map_or(0, |m| m.live_before)
    }

    /// Adds another pass over the same function: read in any, written only if in all (`merge_instances`).
    fn merge(&mut self, pass: Instance) {
        for (mine, theirs) in self.frames.iter_mut().zip(pass.frames) {
            if theirs.is_empty() {
                mine.iter_mut().for_each(|m| m.must_write = 0);
            } else if mine.is_empty() {
                *mine = theirs;
                mine.iter_mut().for_each(|m| m.must_write = 0);
            } else {
                for (m, t) in mine.iter_mut().zip(&theirs) {
                    m.may_read |= t.may_read;
                    m.must_write &= t.must_write;
                }
            }
        }
    }

    /// Repeats the data flow equations until nothing changes (`update_instance`).
    fn update(&mut self, env: &Env<'_>) {
        let order = env.cfg.postorder_of(&env.subprogs, self.subprog);
        let mut changed = true;
        while changed {
            changed = false;
            for frame in self.frames[..=self.depth].iter_mut().filter(|f| !f.is_empty()) {
                let at = |idx: u32| idx.wrapping_sub(self.start) as usize;
                for &idx in order {
                    let succ = env.successors(idx);
                    if succ.as_slice().is_empty() {
                        continue;
                    }
                    let after = |s: &u32| frame.get(at(*s)).map_or(0, |m| m.live_before);
                    let after = succ.as_slice().iter().map(after).fold(0, |a, b| a | b);
                    let m = &mut frame[at(idx)];
                    let before = (after & !m.must_write) | m.may_read;
                    changed |= before != m.live_before;
                    m.live_before = before;
                }
            }
        }
    }
}

/// What is known of every function.
#[derive(Debug, Default)]
pub struct StackUse {
    instances: Vec<Instance>,
    by_call: HashMap<(u32, usize), usize>,
}

impl StackUse {
    fn find(&self, callsite: u32, depth: usize) -> Option<usize> {
        self.by_call.get(&(callsite, depth)).copied()
    }

    /// Of a frame of a state: at its depth, or the nearest outer one it was followed at (`lookup_instance`).
    fn of_frame(&self, env: &Env<'_>, st: &VerifierState, frame: u32) -> Option<&Instance> {
        let func = st.frame(frame);
        let start = env.subprogs[func.subprogno as usize].start;
        let callsite = if frame > 0 { func.callsite as u32 } else { start };
        let found = (0..=frame as usize)
            .rev()
            .find_map(|d| self.find(if d > 0 { callsite } else { start }, d));
        self.instances.get(found?)
    }
}

/// One run over the program.
struct Analysis {
    found: StackUse,
    calls: u32,
    /// Arguments in force at each instruction of a function, as last followed.
    known: Vec<Vec<Args>>,
    /// What slots held where a call was made.
    slots_at: HashMap<u32, Slots>,
    /// Calls that lead to the function being followed.
    callsites: [u32; MAX_CALL_FRAMES],
}

/// Fills `env.explore.stack_use` (`bpf_compute_subprog_arg_access`).
pub fn compute(env: &mut Env<'_>) -> Check {
    let mut a = Analysis {
        found: StackUse::default(),
        calls: 0,
        known: vec![Vec::new(); env.subprogs.len()],
        slots_at: HashMap::new(),
        callsites: [0; MAX_CALL_FRAMES],
    };
    let order = env.cfg.callees_first.clone();
    for sub in order.into_iter().rev() {
        let known = !a.known[sub as usize].is_empty();
        if known && !env.subprogs[sub as usize].is_global {
            continue;
        }
        a.follow(env, sub, 0, 0, &[Track::None; flow::REGS])?;
    }
    if env.log.level.is_level2() {
        a.print(env);
    }
    env.explore.stack_use = a.found;
    Ok(())
}

impl Analysis {
    /// Follows one function and those it hands pointers into frames (`analyze_subprog`).
    /// Returns the number of its instance.
    fn follow(
        &mut self,
        env: &mut Env<'_>,
        subprog: u32,
        callsite: u32,
        depth: usize,
        entry: &Args,
    ) -> Check<usize> {
        self.calls += 1;
        if self.calls > MAX_CALLS {
            verbose!(env, "liveness analysis exceeded complexity limit ({} calls)\n", self.calls);
            return Err(Errno::E2BIG.into());
        }
        let start = env.subprogs[subprog as usize].start;
        let callsite = if depth > 0 { callsite } else { start };
        let len = (subprog_end(env, subprog) - start) as usize;
        let frames = Default::default();
        let mut pass = Instance { depth, subprog, start, len, frames };
        self.flow(env, &mut pass, entry);
        for idx in env.cfg.postorder_of(&env.subprogs, subprog).to_vec() {
            self.follow_call(env, &mut pass, idx)?;
        }
        let at = match self.found.find(callsite, depth) {
            Some(at) => {
                self.found.instances[at].merge(pass);
                at
            }
            None => {
                self.found.instances.push(pass);
                let at = self.found.instances.len() - 1;
                self.found.by_call.insert((callsite, depth), at);
                at
            }
        };
        self.found.instances[at].update(env);
        Ok(at)
    }

    fn follow_call(&mut self, env: &mut Env<'_>, pass: &mut Instance, idx: u32) -> Check {
        let insn = env.insns[idx as usize];
        let at_call = self.known[pass.subprog as usize][(idx - pass.start) as usize];
        let mut args = [Track::None; flow::REGS];
        let callee = if insn.is_pseudo_call() {
            args[1..6].copy_from_slice(&at_call[1..6]);
            find_subprog(env, i64::from(idx) + i64::from(insn.imm) + 1)
        } else if let Some(cb) = access::handed_to_callback(env, idx) {
            let handed = at_call[cb.from.index()];
            let Some(callee) = cb.subprog else {
                // One call runs different callbacks.
                if handed != Track::None {
                    pass.mark_all_read(idx);
                }
                return Ok(());
            };
            args[cb.to.index()] = handed;
            Some(callee)
        } else {
            return Ok(());
        };
        let Some(callee) = callee.filter(|_| args[1..6].iter().any(|t| t.is_fp())) else {
            return Ok(());
        };
        if pass.depth == MAX_CALL_FRAMES - 1 {
            return Err(Errno::EINVAL.into());
        }
        self.callsites[pass.depth] = idx;
        let at = self.follow(env, callee, idx, pass.depth + 1, &args)?;
        let inner = &self.found.instances[at];
        for f in (0..inner.depth).filter(|f| !inner.frames[*f].is_empty()) {
            pass.mark_read(f, idx, inner.live_before(f, inner.start));
        }
        Ok(())
    }
}

/// Instances to ask about one state (`struct live_stack_query`).
struct Query<'u> {
    instances: [Option<&'u Instance>; MAX_CALL_FRAMES],
    callsites: [u32; MAX_CALL_FRAMES],
    curframe: usize,
    insn_idx: u32,
}

impl Query<'_> {
    /// Halves of a frame's slots that may still be read (`bpf_stack_slot_alive`).
    fn alive(&self, env: &Env<'_>, frame: usize) -> Halves {
        let Some(inner) = self.instances[self.curframe] else { return Halves::MAX };
        let mut alive = match (frame + inner.depth).checked_sub(self.curframe) {
            Some(rel) if rel <= inner.depth => inner.live_before(rel, self.insn_idx),
            _ => 0,
        };
        for i in frame..self.curframe {
            let Some(instance) = self.instances[i] else { return Halves::MAX };
            let rel = (frame + instance.depth).checked_sub(i);
            let Some(rel) = rel.filter(|r| *r <= instance.depth) else { return Halves::MAX };
            let callsite = self.callsites[i];
            // A callback may run again.
            let again = env.aux.get(callsite as usize).is_some_and(|a| a.calls_callback);
            alive |= instance.live_before(rel, if again { callsite } else { callsite + 1 });
        }
        alive
    }
}

/// Forgets what the current state holds and nothing reads any more (`clean_verifier_state`).
pub fn clean_current_state(env: &mut Env<'_>) {
    let mut cur = std::mem::replace(&mut env.cur, VerifierState::new(FuncState::new(-1, 0, 0)));
    let mut query = Query {
        instances: [None; MAX_CALL_FRAMES],
        callsites: [0; MAX_CALL_FRAMES],
        curframe: cur.curframe() as usize,
        insn_idx: cur.insn_idx,
    };
    let found = &env.explore.stack_use;
    for f in 0..=cur.curframe() {
        query.instances[f as usize] = found.of_frame(env, &cur, f);
        if f < cur.curframe() {
            query.callsites[f as usize] = cur.frame(f + 1).callsite as u32;
        }
    }
    let capable = env.bpf_capable;
    for f in 0..=cur.curframe() {
        let at = frame_insn_idx(&cur, f);
        let live = env.aux.get(at as usize).map_or(u16::MAX, |a| a.live_regs_before);
        let alive = query.alive(env, f as usize);
        clean_frame(cur.frame_mut(f), live, alive, capable);
    }
    env.cur = cur;
}

fn clean_frame(frame: &mut FuncState, live: u16, alive: Halves, capable: bool) {
    for (_, r) in frame.regs[..10].iter_mut().enumerate().filter(|(i, _)| live >> i & 1 == 0) {
        r.mark_not_init(capable);
    }
    for (i, slot) in frame.stack_mut().iter_mut().enumerate() {
        let half = |h: usize| alive.checked_shr(2 * i as u32 + h as u32).unwrap_or(0) & 1 != 0;
        let (low, high) = (half(0), half(1));
        if !(low && high) {
            clean_slot(slot, low, high, capable);
        }
    }
}

fn clean_slot(slot: &mut StackSlot, low_live: bool, high_live: bool, capable: bool) {
    let kind = slot.kind[7];
    if matches!(kind, SlotType::Dynptr | SlotType::Iter | SlotType::IrqFlag) {
        return;
    }
    if !high_live {
        if low_live && kind == SlotType::Spill {
            // Pointers stay whole, and zero stays a zero that need not be precise.
            if !slot.spilled.is_scalar() || crate::check::stack::register_is_null(&slot.spilled) {
                return;
            }
            for k in slot.kind[..4].iter_mut().filter(|k| **k == SlotType::Spill) {
                *k = SlotType::Misc;
            }
        }
        slot.spilled.mark_not_init(capable);
    }
    let dead = if low_live { 4 } else { 0 }..if high_live { 4 } else { 8 };
    slot.kind[dead].fill(SlotType::Poison);
}
