//! Stack slot liveness found while paths are explored (`kernel/bpf/liveness.c` of 6.18; [`super::stack_use`]
//! stands in for it where the kernel finds it beforehand).
//!
//! Marks are kept per call chain and instruction: slots an instruction may read (only grows)
//! and slots it writes on every visit (only shrinks).  When a path ends they flow backwards
//! through the function, and from its entry to the call.  What is dead in a finished state is
//! forgotten before the state is compared.

use std::collections::HashMap;

use super::backtrack::SlotMask;
use super::parents;
use super::scc::frame_insn_idx;
use crate::cfg::order;
use crate::domain::reg::RegState;
use crate::domain::stack::StackSlot;
use crate::domain::state::{StateId, VerifierState, MAX_CALL_FRAMES};
use crate::env::Env;
use crate::stop::Check;
use crate::trace;

/// Calls that lead to a function, outermost first, then the function's own start.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Callchain {
    callsites: [u32; MAX_CALL_FRAMES],
    curframe: u8,
}

impl std::fmt::Display for Callchain {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut sep = "(";
        for c in &self.callsites[..=self.curframe as usize] {
            write!(f, "{sep}{c}")?;
            sep = ",";
        }
        f.write_str(")")
    }
}

/// Marks of one instruction about the slots of one frame (`struct per_frame_masks`).
#[derive(Clone, Copy, Debug, Default)]
struct Masks {
    may_read: u64,
    must_write: u64,
    /// Written by this instruction or by all that follow in the function.
    must_write_acc: u64,
    live_before: u64,
}

/// One function reached by one call chain (`struct func_instance`).
#[derive(Debug)]
struct Instance {
    chain: Callchain,
    /// First slots of the functions that own the frames.
    starts: [u32; MAX_CALL_FRAMES],
    insn_cnt: u32,
    updated: bool,
    must_write_dropped: bool,
    frames: [Vec<Masks>; MAX_CALL_FRAMES],
    /// Instructions whose marks changed since the equations last held, per frame: bit by instruction.
    dirty: [Vec<u64>; MAX_CALL_FRAMES],
    must_write_set: Vec<bool>,
}

impl Instance {
    fn start(&self) -> u32 {
        self.starts[self.chain.curframe as usize]
    }

    fn masks(&self, frame: usize, insn_idx: u32) -> Option<&Masks> {
        self.frames[frame].get(insn_idx.wrapping_sub(self.start()) as usize)
    }

    fn masks_mut(&mut self, frame: usize, insn_idx: u32) -> Option<&mut Masks> {
        let at = insn_idx.wrapping_sub(self.start()) as usize;
        if self.frames[frame].is_empty() {
            self.frames[frame] = vec![Masks::default(); self.insn_cnt as usize];
            self.dirty[frame] = vec![0; self.insn_cnt as usize / 64 + 1];
        }
        self.frames[frame].get_mut(at)
    }

    /// The equations of an instruction must be looked at again.
    fn touch(&mut self, frame: usize, insn_idx: u32) {
        let at = insn_idx.wrapping_sub(self.start()) as usize;
        if let Some(word) = self.dirty[frame].get_mut(at / 64) {
            *word |= 1 << (at % 64);
        }
    }

    fn mark_read(&mut self, frame: usize, insn_idx: u32, mask: u64) {
        let Some(m) = self.masks_mut(frame, insn_idx) else { return };
        let new = m.may_read | mask;
        if new == m.may_read {
            return;
        }
        let news = new & !m.live_before != 0;
        m.may_read = new;
        self.updated |= news;
        self.touch(frame, insn_idx);
    }

    /// Slots of `frame` alive before an instruction.
    fn live_before(&self, frame: usize, insn_idx: u32) -> u64 {
        self.masks(frame, insn_idx).map_or(0, |m| m.live_before)
    }
}

/// Read and write marks per call chain and instruction.
#[derive(Debug, Default)]
pub struct Liveness {
    instances: Vec<Instance>,
    by_chain: HashMap<Callchain, usize>,
    /// Instance of the current state, unless a call or return has just changed it.
    current: Option<usize>,
    /// The kernel finds what is read while paths are explored, without marks in states.
    is_used: bool,
    /// Slots the current instruction writes for certain, per frame.
    write_masks: [u64; MAX_CALL_FRAMES],
    write_insn_idx: u32,
    /// The kernel's must-write set was larger than the true one at least once.
    pub stale_writes: bool,
    /// Keeps must-write sets exact instead of as the kernel does.
    pub exact_writes: bool,
}

/// `bpf_stack_liveness_init`.
pub fn init(env: &mut Env<'_>) {
    let exact_writes = env.explore.liveness.exact_writes;
    let is_used = !env.explore.era.keeps_marks() && !env.kernel.features.static_stack_liveness;
    env.explore.liveness = Liveness { exact_writes, is_used, ..Liveness::default() };
}

fn callchain_of(
    env: &Env<'_>,
    st: &VerifierState,
    frameno: u32,
) -> (Callchain, [u32; MAX_CALL_FRAMES]) {
    let mut callsites = [0; MAX_CALL_FRAMES];
    let mut starts = [0; MAX_CALL_FRAMES];
    for i in 0..=frameno {
        let at = i as usize;
        starts[at] = env.subprogs[st.frame(i).subprogno as usize].start;
        if i < st.curframe() {
            callsites[at] = st.frame(i + 1).callsite as u32;
        }
    }
    callsites[frameno as usize] = starts[frameno as usize];
    (Callchain { callsites, curframe: frameno as u8 }, starts)
}

/// Index of the instance of a call chain, made when first asked for.
fn lookup(env: &mut Env<'_>, chain: Callchain, starts: [u32; MAX_CALL_FRAMES]) -> usize {
    if let Some(i) = env.explore.liveness.find(&chain) {
        return i;
    }
    let start = starts[chain.curframe as usize];
    let subprog = crate::subprogs::find_containing_subprog(env, start);
    let insn_cnt = crate::subprogs::subprog_end(env, subprog) - start;
    let live = &mut env.explore.liveness;
    live.by_chain.insert(chain, live.instances.len());
    live.instances.push(Instance {
        chain,
        starts,
        insn_cnt,
        updated: false,
        must_write_dropped: false,
        frames: Default::default(),
        dirty: Default::default(),
        must_write_set: vec![false; insn_cnt as usize],
    });
    live.instances.len() - 1
}

fn lookup_current(env: &mut Env<'_>, frameno: u32) -> usize {
    let (chain, starts) = callchain_of(env, &env.cur, frameno);
    lookup(env, chain, starts)
}

#[inline]
fn ensure_current(env: &mut Env<'_>) -> usize {
    match env.explore.liveness.current {
        Some(i) => i,
        None => {
            let i = lookup_current(env, env.cur.curframe());
            env.explore.liveness.current = Some(i);
            i
        }
    }
}

/// The frames have changed: the current instance must be looked up again.
pub fn reset_live_stack_callchain(env: &mut Env<'_>) {
    env.explore.liveness.current = None;
}

/// Instruction `insn_idx` of frame `frameno` may read the slots in `mask` (`bpf_mark_stack_read`).
pub fn mark_stack_read(env: &mut Env<'_>, frameno: u32, insn_idx: u32, mask: u64) -> Check {
    if env.explore.era.keeps_marks() {
        return parents::mark_slots_read(env, frameno, SlotMask(mask));
    }
    if env.kernel.features.static_stack_liveness {
        return Ok(());
    }
    let at = ensure_current(env);
    env.explore.liveness.instances[at].mark_read(frameno as usize, insn_idx, mask);
    Ok(())
}

/// The current instruction writes the slots in `mask` for certain (`bpf_mark_stack_write`).
#[inline]
pub fn mark_stack_write(env: &mut Env<'_>, frameno: u32, mask: u64) {
    if env.explore.era.keeps_marks() {
        return parents::mark_slots_written(env, frameno, SlotMask(mask));
    }
    env.explore.liveness.write_masks[frameno as usize] |= mask;
}

/// `bpf_reset_stack_write_marks`.
#[inline]
pub fn reset_stack_write_marks(env: &mut Env<'_>, insn_idx: u32) -> Check {
    if env.explore.liveness.is_used {
        let at = ensure_current(env);
        env.explore.liveness.reset_writes(at, insn_idx);
    }
    Ok(())
}

/// `bpf_commit_stack_write_marks`; without effect right after a call or return.
#[inline]
pub fn commit_stack_write_marks(env: &mut Env<'_>) -> Check {
    if let Some(at) = env.explore.liveness.current {
        env.explore.liveness.commit_writes(at);
    }
    Ok(())
}

impl Liveness {
    /// Most programs have few call chains: looking at each is quicker than a hash.
    fn find(&self, chain: &Callchain) -> Option<usize> {
        const FEW: usize = 8;
        if self.instances.len() <= FEW {
            return self.instances.iter().position(|i| i.chain == *chain);
        }
        self.by_chain.get(chain).copied()
    }

    #[inline]
    fn reset_writes(&mut self, at: usize, insn_idx: u32) {
        self.write_insn_idx = insn_idx;
        let frames = self.instances[at].chain.curframe as usize;
        self.write_masks[..=frames].fill(0);
    }

    #[inline(always)]
    fn commit_writes(&mut self, at: usize) {
        let idx = std::mem::take(&mut self.write_insn_idx);
        let inst = &mut self.instances[at];
        let rel = idx.wrapping_sub(inst.start()) as usize;
        let Some(seen) = inst.must_write_set.get(rel).copied() else { return };
        for frame in 0..=inst.chain.curframe as usize {
            let mask = self.write_masks[frame];
            // Nothing was ever written here, or what is always written was written again.
            let known = inst.frames[frame].get(rel).map_or(0, |m| m.must_write);
            if mask != known || mask != 0 && !(seen && mask <= 0xffff_ffff) {
                self.commit_change(at, idx);
                break;
            }
        }
        self.instances[at].must_write_set[rel] = true;
    }

    #[inline(never)]
    fn commit_change(&mut self, at: usize, idx: u32) {
        let inst = &mut self.instances[at];
        let rel = idx.wrapping_sub(inst.start()) as usize;
        let Some(seen) = inst.must_write_set.get(rel).copied() else { return };
        for frame in 0..=inst.chain.curframe as usize {
            let mask = self.write_masks[frame];
            let known = inst.frames[frame].get(rel).map_or(0, |m| m.must_write);
            if mask == known && (mask == 0 || (seen && mask <= 0xffff_ffff)) {
                continue;
            }
            let Some(m) = inst.masks_mut(frame, idx) else { continue };
            let before = m.must_write;
            // The kernel holds the old set in 32 bits: slots from 32 up are compared as unset.
            let old = if self.exact_writes { before } else { before & 0xffff_ffff };
            let new = if seen { mask & old } else { mask };
            if old != new {
                m.must_write = new;
                inst.updated = true;
                inst.touch(frame, idx);
            }
            if old & !new != 0 {
                inst.must_write_dropped = true;
            }
            let exact = if seen { mask & before } else { mask };
            let kept = inst.masks(frame, idx).map_or(0, |m| m.must_write);
            self.stale_writes |= kept & !exact != 0;
        }
    }
}

/// A path or a call has ended: marks flow back through every function of the current call
/// chain, innermost first (`bpf_update_live_stack`).
pub fn update_live_stack(env: &mut Env<'_>) -> Check {
    if env.explore.era.keeps_marks() || env.kernel.features.static_stack_liveness {
        return Ok(());
    }
    reset_live_stack_callchain(env);
    for frame in (0..=env.cur.curframe()).rev() {
        let at = lookup_current(env, frame);
        if env.explore.liveness.instances[at].updated {
            update_instance(env, at);
            let inst = &mut env.explore.liveness.instances[at];
            inst.updated = false;
            inst.must_write_dropped = false;
        }
    }
    Ok(())
}

/// Repeats the data flow equations over one function until nothing changes.
fn update_instance(env: &mut Env<'_>, at: usize) {
    order::link_predecessors(env);
    let inst = &mut env.explore.liveness.instances[at];
    if inst.must_write_dropped {
        for m in inst.frames.iter_mut().flatten() {
            m.must_write_acc = 0;
        }
        for word in inst.dirty.iter_mut().flatten() {
            *word = u64::MAX;
        }
    }
    let curframe = inst.chain.curframe as usize;
    let mut work: Vec<Work> = (0..=curframe).filter_map(|f| Work::take(env, at, f)).collect();
    let mut rounds = 0;
    let mut changed = true;
    while changed {
        rounds += 1;
        changed = false;
        for w in &mut work {
            changed |= w.round(env, at);
        }
    }
    for w in work {
        w.put_back(env, at);
    }
    if env.log.level.is_level2() {
        let chain = env.explore.liveness.instances[at].chain;
        trace!(env, "{} live stack update done in {} iterations\n", chain, rounds);
    }
    env.log.end_message();
    if curframe > 0 {
        propagate_to_outer(env, at);
    }
}

/// The equations of one frame's slots over one function.
///
/// An instruction is looked at only if its marks or a successor changed: looking at the others,
/// as the kernel does, changes nothing.  The order is the kernel's post-order all the same.
struct Work {
    frame: usize,
    start: u32,
    masks: Vec<Masks>,
    /// Bit by place in the post-order: to look at in this round or the next.
    todo: Vec<u64>,
    first_place: u32,
}

impl Work {
    fn take(env: &mut Env<'_>, at: usize, frame: usize) -> Option<Work> {
        let inst = &mut env.explore.liveness.instances[at];
        if inst.frames[frame].is_empty() {
            return None;
        }
        let start = inst.start();
        let masks = std::mem::take(&mut inst.frames[frame]);
        let dirty = &mut inst.dirty[frame];
        let subprog = env.subprogs.partition_point(|s| s.start <= start).saturating_sub(1);
        let first_place = env.subprogs.get(subprog).map_or(0, |s| s.postorder_start);
        let mut todo = vec![0u64; dirty.len()];
        for (i, word) in dirty.iter_mut().enumerate() {
            let mut bits = std::mem::take(word);
            while bits != 0 {
                let rel = i as u32 * 64 + bits.trailing_zeros();
                bits &= bits - 1;
                // Second slots of LD_IMM64 have no place.
                let idx = start + rel;
                let known = env.cfg.place.get(idx as usize).copied();
                if let Some(p) = known.filter(|p| env.cfg.postorder.get(*p as usize) == Some(&idx))
                {
                    set_bit(&mut todo, p.wrapping_sub(first_place));
                }
            }
        }
        Some(Work { frame, start, masks, todo, first_place })
    }

    fn put_back(self, env: &mut Env<'_>, at: usize) {
        env.explore.liveness.instances[at].frames[self.frame] = self.masks;
    }

    /// One pass in post-order; true if anything changed.
    fn round(&mut self, env: &mut Env<'_>, at: usize) -> bool {
        let mut changed = false;
        for word in 0..self.todo.len() {
            // Later bits may be added to a word while it is worked on; earlier ones wait for the next round.
            let mut done = 0u64;
            loop {
                let left = self.todo[word] & !done;
                if left == 0 {
                    break;
                }
                let bit = left.trailing_zeros();
                done |= u64::MAX >> (63 - bit);
                self.todo[word] &= !(1 << bit);
                let place = self.first_place + word as u32 * 64 + bit;
                let Some(&idx) = env.cfg.postorder.get(place as usize) else { continue };
                if self.update(env, at, idx) {
                    changed = true;
                    for p in env.cfg.predecessors(idx) {
                        let place = env
                            .cfg
                            .place
                            .get(*p as usize)
                            .map_or(0, |p| p.wrapping_sub(self.first_place));
                        set_bit(&mut self.todo, place);
                    }
                }
            }
        }
        changed
    }

    fn of(&self, idx: u32) -> Masks {
        self.masks.get(idx.wrapping_sub(self.start) as usize).copied().unwrap_or_default()
    }

    /// One instruction's share of the equations; true if its marks changed.
    fn update(&mut self, env: &mut Env<'_>, at: usize, idx: u32) -> bool {
        let Some((first, others)) = env.cfg.successors(idx).split_first() else { return false };
        let first = self.of(*first);
        let (mut after, mut written) = (first.live_before, first.must_write_acc);
        for other in others {
            let other = self.of(*other);
            after |= other.live_before;
            written &= other.must_write_acc;
        }
        let old = self.of(idx);
        written |= old.must_write;
        let before = (after & !old.must_write) | old.may_read;
        if before == old.live_before && written == old.must_write_acc {
            return false;
        }
        if let Some(m) = self.masks.get_mut(idx.wrapping_sub(self.start) as usize) {
            m.live_before = before;
            m.must_write_acc = written;
        }
        let shown = old.may_read != 0
            || old.must_write != 0
            || idx == self.start
            || env.aux(idx).prune_point;
        if shown && env.log.level.is_level2() {
            let chain = env.explore.liveness.instances[at].chain;
            log_change(env, &chain, "live", (self.frame, idx), old.live_before, before);
            log_change(env, &chain, "written", (self.frame, idx), old.must_write_acc, written);
        }
        true
    }
}

fn set_bit(bits: &mut [u64], at: u32) {
    if let Some(word) = bits.get_mut(at as usize / 64) {
        *word |= 1 << (at % 64);
    }
}

fn log_change(
    env: &mut Env<'_>,
    chain: &Callchain,
    what: &str,
    place: (usize, u32),
    old: u64,
    new: u64,
) {
    if old == new {
        return;
    }
    trace!(env, "{} frame {} insn {} ", chain, place.0, place.1);
    if new & !old != 0 {
        trace!(env, "+{} {} ", what, SlotMask(new & !old));
    }
    if old & !new != 0 {
        trace!(env, "-{} {}", what, SlotMask(old & !new));
    }
    trace!(env, "\n");
}

/// What the entry of a function reads and writes in outer frames, its call does.
fn propagate_to_outer(env: &mut Env<'_>, at: usize) {
    let inst = &env.explore.liveness.instances[at];
    let (mut chain, mut starts, entry) = (inst.chain, inst.starts, inst.start());
    let cur = chain.curframe as usize;
    let callsite = chain.callsites[cur - 1];
    let marks: Vec<Option<Masks>> = (0..cur).map(|f| inst.masks(f, entry).copied()).collect();
    chain.callsites[cur] = 0;
    starts[cur] = 0;
    chain.curframe -= 1;
    chain.callsites[cur - 1] = starts[cur - 1];
    let outer = lookup(env, chain, starts);
    let live = &mut env.explore.liveness;
    live.reset_writes(outer, callsite);
    for (frame, m) in marks.iter().enumerate() {
        if let Some(m) = m {
            live.write_masks[frame] |= m.must_write_acc;
            live.instances[outer].mark_read(frame, callsite, m.live_before);
        }
    }
    live.commit_writes(outer);
}

/// Instances to ask about one state (`struct live_stack_query`).
struct Query {
    instances: [usize; MAX_CALL_FRAMES],
    curframe: usize,
    insn_idx: u32,
}

impl Query {
    fn new(env: &mut Env<'_>, id: StateId) -> Option<Query> {
        let st = env.explore.state(id)?;
        let (curframe, insn_idx) = (st.curframe(), st.insn_idx);
        let mut instances = [0; MAX_CALL_FRAMES];
        for f in 0..=curframe {
            let st = env.explore.state(id)?;
            let (chain, starts) = callchain_of(env, st, f);
            instances[f as usize] = lookup(env, chain, starts);
        }
        Some(Query { instances, curframe: curframe as usize, insn_idx })
    }

    /// Slots of a frame read later in this function, or by a caller after the call
    /// (before it if the call runs a callback, which may run again); `bpf_stack_slot_alive`.
    fn alive(&self, env: &Env<'_>, frameno: usize) -> u64 {
        let instances = &env.explore.liveness.instances;
        let innermost = &instances[self.instances[self.curframe]];
        let here = innermost.live_before(frameno, self.insn_idx);
        (frameno..self.curframe).fold(here, |alive, i| {
            let callsite = innermost.chain.callsites[i];
            let calls_back = env.aux.get(callsite as usize).is_some_and(|a| a.calls_callback);
            let asked = if calls_back { callsite } else { callsite + 1 };
            alive | instances[self.instances[i]].live_before(frameno, asked)
        })
    }
}

/// Forgets the registers and slots of a finished state that nothing reads any more (`clean_verifier_state`).
pub fn clean_verifier_state(env: &mut Env<'_>, id: StateId) {
    if env.explore.era.keeps_marks() {
        return parents::clean_verifier_state(env, id);
    }
    let Some(query) = Query::new(env, id) else { return };
    let capable = env.bpf_capable;
    for f in 0..=query.curframe as u32 {
        let Some(st) = env.explore.state(id) else { return };
        let live =
            env.aux.get(frame_insn_idx(st, f) as usize).map_or(u16::MAX, |a| a.live_regs_before);
        let alive = query.alive(env, f as usize);
        let frame = st.frame(f);
        let slots = frame.stack().iter().enumerate().take(64);
        // What an unused slot once held is never looked at.
        let dead = slots
            .filter(|(spi, s)| alive >> spi & 1 == 0 && s.kinds() != StackSlot::EMPTY.kinds())
            .fold(0u64, |dead, (spi, _)| dead | 1 << spi);
        let forgotten = |r: &RegState| r.is_forgotten(capable);
        let regs = frame.regs[..10].iter().enumerate();
        if dead == 0 && regs.filter(|(i, _)| live >> i & 1 == 0).all(|(_, r)| forgotten(r)) {
            continue;
        }
        let Some(e) = env.explore.states.get_mut(id) else { return };
        let frame = e.state.frame_mut(f);
        for (_, r) in frame.regs[..10].iter_mut().enumerate().filter(|(i, _)| live >> i & 1 == 0) {
            r.mark_not_init(capable);
        }
        if dead != 0 {
            let slots = frame.stack_mut().iter_mut().enumerate();
            for (_, s) in slots.filter(|(spi, _)| *spi < 64 && dead >> spi & 1 == 1) {
                s.spilled.mark_not_init(capable);
                s.kind = StackSlot::EMPTY.kind;
            }
        }
    }
}
