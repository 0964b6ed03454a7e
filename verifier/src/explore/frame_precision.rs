//! Precision before 6.4: one register or slot at a time, within one frame; calls end the walk, and everything
//! before them is taken for precise (`__mark_chain_precision`, `backtrack_insn` of 6.1).

use bpfassay_isa::field::{AluCode, Class, JmpCode, Mode};
use bpfassay_isa::opcode::PSEUDO_KFUNC_CALL;
use bpfassay_isa::{AtomicOp, Insn, RawInsn};

use super::backtrack::bug;
use super::precision::force_ancestors_precise;
use crate::check::summary;
use crate::domain::marks::At;
use crate::domain::state::StateId;
use crate::env::Env;
use crate::log::insn::print_insn;
use crate::log::state::print_explored_state;
use crate::stop::{Check, Stop};
use crate::trace;

const FP: u8 = 10;
const SCRATCHED: u16 = 0x3f;
/// The kernel goes on for minutes where marks are wanted again and again over a long history; we stop here, after a
/// few seconds.
const MOST_WALKED: u64 = 200_000_000;

/// What is wanted: registers and slots of one frame.
#[derive(Clone, Copy)]
struct Wanted {
    regs: u16,
    slots: u64,
}

impl Wanted {
    fn nothing(self) -> bool {
        self.regs == 0 && self.slots == 0
    }
}

enum Step {
    On,
    /// ENOTSUPP.
    Lost,
}

/// Marks a scalar of a frame of the current state precise along the path that made it.
pub fn mark(env: &mut Env<'_>, frame: u32, at: At) -> Check {
    if !env.bpf_capable {
        return Ok(());
    }
    let mut wanted = Wanted { regs: 0, slots: 0 };
    match at {
        At::Reg(r) if env.cur.frame(frame).regs[r as usize].is_scalar() => wanted.regs = 1 << r,
        At::Reg(_) => return Err(bug(env, "backtracking misuse")),
        At::Slot(spi) => {
            let slot = env.cur.frame(frame).stack().get(spi as usize);
            if !slot.is_some_and(|s| s.is_spilled_scalar_reg()) {
                return Ok(());
            }
            wanted.slots = 1 << spi;
        }
    }
    let mut at: Option<StateId> = None;
    let (mut last, mut first) = (i64::from(env.insn_idx), env.cur.first_insn_idx);
    let mut skip_first = true;
    loop {
        if env.log.level.is_level2() {
            trace!(env, "last_idx {} first_idx {}\n", last, first as i32);
        }
        env.log.end_message();
        if last < 0 {
            return at_entry(env, at, &mut wanted);
        }
        match walk(env, at, last as u32, &mut wanted, &mut skip_first)? {
            Step::Lost => {
                let st = at.map_or(Some(&env.cur), |id| env.explore.state(id));
                let parent = st.and_then(|st| st.parent);
                force_ancestors_precise(env, parent);
                return Ok(());
            }
            Step::On if wanted.nothing() => return Ok(()),
            Step::On => {}
        }
        let st = at.map_or(Some(&env.cur), |id| env.explore.state(id));
        let Some(parent) = st.and_then(|st| st.parent) else { return Ok(()) };
        at = Some(parent);
        let Some(new_marks) = mark_parent(env, parent, frame, &mut wanted) else { return Ok(()) };
        if wanted.nothing() || !new_marks {
            return Ok(());
        }
        let Some(st) = env.explore.state(parent) else { return Ok(()) };
        last = i64::from(st.last_insn_idx as i32);
        first = st.first_insn_idx;
    }
}

/// Precise scalars of the explored state become precise in the current one's past.
pub fn propagate(env: &mut Env<'_>, old: StateId) -> Check {
    let frames = env.explore.state(old).map_or(0, |st| st.curframe());
    for f in (0..=frames).rev() {
        for r in 0..10u8 {
            let wanted = env.explore.state(old).is_some_and(|st| {
                let reg = &st.frame(f).regs[r as usize];
                reg.precise && reg.is_scalar() && st.frame(f).mark(At::Reg(r)).live.is_read()
            });
            if wanted {
                if env.log.level.is_level2() {
                    trace!(env, "frame {}: propagating r{}\n", f, r);
                }
                mark(env, f, At::Reg(r))?;
            }
        }
        let slots = env.explore.state(old).map_or(0, |st| st.frame(f).stack().len());
        for spi in 0..slots as u8 {
            let wanted = env.explore.state(old).is_some_and(|st| {
                let slot = &st.frame(f).stack()[spi as usize];
                slot.is_spilled_scalar_reg()
                    && slot.spilled.precise
                    && st.frame(f).mark(At::Slot(spi)).live.is_read()
            });
            if wanted {
                if env.log.level.is_level2() {
                    trace!(env, "frame {}: propagating fp{}\n", f, -(i32::from(spi) + 1) * 8);
                }
                mark(env, f, At::Slot(spi))?;
            }
        }
    }
    Ok(())
}

fn at_entry(env: &mut Env<'_>, at: Option<StateId>, wanted: &mut Wanted) -> Check {
    const ARGS: u16 = 0x3e;
    let st = at.map_or(Some(&env.cur), |id| env.explore.state(id));
    let outer = st.map(|st| (st.curframe(), st.frame(0).subprogno, st.frame(0).callsite));
    let is_entry = matches!(outer, Some((0, s, -1)) if s > 0);
    if !is_entry || wanted.slots != 0 || wanted.regs & !ARGS != 0 {
        let text = format!(
            "backtracing func entry subprog {} reg_mask {:x} stack_mask {:x}",
            outer.map_or(0, |o| o.1),
            wanted.regs,
            wanted.slots
        );
        return Err(bug(env, &text));
    }
    if let Some(e) = at.and_then(|id| env.explore.states.get_mut(id)) {
        for r in (1..=5).filter(|r| wanted.regs >> r & 1 == 1) {
            if e.state.frame(0).regs[r].is_scalar() {
                e.state.frame_mut(0).regs[r].precise = true;
            }
        }
    }
    Ok(())
}

/// Back over the instructions of one state.
fn walk(
    env: &mut Env<'_>,
    at: Option<StateId>,
    last: u32,
    wanted: &mut Wanted,
    skip_first: &mut bool,
) -> Check<Step> {
    let st = at.map_or(Some(&env.cur), |id| env.explore.state(id));
    let Some(st) = st else { return Ok(Step::On) };
    let (first, mut left) = (st.first_insn_idx, st.history.len());
    let mut idx = last;
    loop {
        env.explore.walked += 1;
        if env.explore.walked > MOST_WALKED {
            return Err(Stop::unsupported(
                "precision tracking as this kernel does it: it takes too long",
            ));
        }
        if !std::mem::take(skip_first) {
            if let Step::Lost = backtrack(env, idx, wanted)? {
                return Ok(Step::Lost);
            }
        }
        if wanted.nothing() {
            return Ok(Step::On);
        }
        let st = at.map_or(Some(&env.cur), |id| env.explore.state(id));
        let Some(st) = st else { return Ok(Step::On) };
        let entry = left.checked_sub(1).and_then(|i| st.history.get(i)).filter(|h| h.idx == idx);
        if idx == first && (left == 0 || left == 1 && entry.is_some()) {
            return Ok(Step::On);
        }
        idx = match entry {
            Some(h) => {
                left -= 1;
                h.prev_idx
            }
            None => idx.wrapping_sub(1),
        };
        if idx as usize >= env.insns.len() {
            return Err(bug(env, &format!("backtracking idx {}", idx as i32)));
        }
    }
}

/// Marks what is wanted in an explored state; None where everything was forced instead.
fn mark_parent(env: &mut Env<'_>, id: StateId, frame: u32, wanted: &mut Wanted) -> Option<bool> {
    let e = env.explore.states.get_mut(id)?;
    if frame > e.state.curframe() {
        return None;
    }
    let mut new_marks = false;
    for r in (0..11).filter(|r| wanted.regs >> r & 1 == 1).collect::<Vec<_>>() {
        let reg = &mut e.state.frame_mut(frame).regs[r];
        if !reg.is_scalar() {
            wanted.regs &= !(1 << r);
            continue;
        }
        new_marks |= !reg.precise;
        reg.precise = true;
    }
    for spi in (0..64).filter(|s| wanted.slots >> s & 1 == 1).collect::<Vec<_>>() {
        let Some(slot) = e.state.frame(frame).stack().get(spi) else {
            let parent = e.state.parent;
            force_ancestors_precise(env, parent);
            return None;
        };
        if !slot.is_spilled_scalar_reg() {
            wanted.slots &= !(1 << spi);
            continue;
        }
        new_marks |= !slot.spilled.precise;
        e.state.frame_mut(frame).slot_mut(spi).spilled.precise = true;
    }
    if env.log.level.is_level2() {
        let words = if new_marks { "didn't have" } else { "already had" };
        let beside = env.kernel.features.states_beside_insns;
        if !beside {
            print_explored_state(env, id, frame, true);
        }
        trace!(env, "parent {} regs={:x} stack={:x} marks", words, wanted.regs, wanted.slots);
        if beside {
            trace!(env, ":");
            print_explored_state(env, id, frame, true);
        } else {
            trace!(env, "\n");
        }
    }
    Some(new_marks)
}

/// `backtrack_insn`.
fn backtrack(env: &mut Env<'_>, idx: u32, wanted: &mut Wanted) -> Check<Step> {
    let insn = env.insns[idx as usize];
    if insn.code == 0 {
        return Ok(Step::On);
    }
    if env.log.level.is_level2() {
        trace!(env, "regs={:x} stack={:x} before ", wanted.regs, wanted.slots);
        trace!(env, "{}: ", idx);
        print_insn(env, idx);
    }
    let (dst, src) = (1u16 << insn.dst, 1u16 << insn.src);
    let fetched = fetched_reg(env, idx);
    match insn.class() {
        Class::Alu | Class::Alu64 if wanted.regs & dst == 0 => {}
        Class::Alu | Class::Alu64 => match insn.alu_op() {
            AluCode::End | AluCode::Neg => {}
            AluCode::Mov => {
                wanted.regs &= !dst;
                wanted.regs |= if insn.is_src_reg() { src } else { 0 };
            }
            _ if insn.is_src_reg() => wanted.regs |= src,
            _ => {}
        },
        Class::Ldx => return load(env, insn, insn.dst, insn.src, wanted),
        Class::Stx if fetched.is_some() => {
            return load(env, insn, fetched.unwrap_or(0), insn.dst, wanted);
        }
        Class::Stx | Class::St => {
            if wanted.regs & dst != 0 {
                return Ok(Step::Lost);
            }
            if insn.dst != FP {
                return Ok(Step::On);
            }
            let slot = slot_bit(env, insn)?;
            if wanted.slots & slot != 0 {
                wanted.slots &= !slot;
                wanted.regs |= if insn.class() == Class::Stx { src } else { 0 };
            }
        }
        Class::Jmp | Class::Jmp32 => return jump(env, idx, insn, wanted),
        Class::Ld if wanted.regs & dst != 0 => {
            wanted.regs &= !dst;
            if matches!(insn.mode(), Mode::Ind | Mode::Abs) {
                return Ok(Step::Lost);
            }
        }
        Class::Ld => {}
    }
    Ok(Step::On)
}

fn load(env: &mut Env<'_>, insn: RawInsn, to: u8, base: u8, wanted: &mut Wanted) -> Check<Step> {
    if wanted.regs >> to & 1 == 1 {
        wanted.regs &= !(1 << to);
        if base == FP {
            wanted.slots |= slot_bit(env, insn)?;
        }
    }
    Ok(Step::On)
}

fn jump(env: &mut Env<'_>, idx: u32, insn: RawInsn, wanted: &mut Wanted) -> Check<Step> {
    match insn.jmp_op() {
        JmpCode::Call => {
            let unknown_kfunc = insn.src == PSEUDO_KFUNC_CALL && insn.imm == 0;
            if insn.is_pseudo_call() || unknown_kfunc || calls_back(env, idx) {
                return Ok(Step::Lost);
            }
            wanted.regs &= !1;
            if wanted.regs & SCRATCHED != 0 {
                return Err(bug(env, &format!("regs {:x}", wanted.regs)));
            }
        }
        JmpCode::Exit => return Ok(Step::Lost),
        _ if insn.is_src_reg() => {
            let both = 1u16 << insn.dst | 1u16 << insn.src;
            if wanted.regs & both != 0 {
                wanted.regs |= both;
            }
        }
        _ => {}
    }
    Ok(Step::On)
}

/// The helper called there calls a subprogram back, now or later (`is_callback_calling_function`).
fn calls_back(env: &Env<'_>, idx: u32) -> bool {
    summary::is_sync_callback_calling_insn(env, idx)
        || summary::is_async_callback_calling_insn(env, idx)
}

/// The register that an atomic operation leaves the old value in.
fn fetched_reg(env: &Env<'_>, idx: u32) -> Option<u8> {
    match env.insn(idx)? {
        Insn::Atomic { op: AtomicOp::Cmpxchg, .. } => Some(0),
        Insn::Atomic { fetch: true, src, .. } => Some(src.0),
        _ => None,
    }
}

/// The slot that an access by the frame pointer touches.
fn slot_bit(env: &mut Env<'_>, insn: RawInsn) -> Check<u64> {
    let spi = (-i32::from(insn.off) - 1) / 8;
    match 1u64.checked_shl(spi as u32) {
        Some(bit) if spi >= 0 => Ok(bit),
        _ => Err(bug(env, &format!("spi {spi}"))),
    }
}
