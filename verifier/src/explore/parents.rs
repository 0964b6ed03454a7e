//! Liveness before 6.18: a read marks the place it came from in every ancestor, up to the one that wrote it
//! (`mark_reg_read`, `propagate_liveness`, `clean_func_state`).

use bpfassay_isa::Reg;

use super::backtrack::SlotMask;
use super::scc::frame_insn_idx;
use crate::domain::marks::{At, Live, Mark, Marks, Origin};
use crate::domain::stack::StackSlot;
use crate::domain::state::{FuncState, StateId, VerifierState};
use crate::env::Env;
use crate::stop::{Check, Errno};
use crate::verbose;

/// First of the registers that a caller keeps over a call.
const CALLEE_SAVED: u8 = 6;

impl FuncState {
    /// Mark of a place; none where the kernel keeps no marks.
    #[inline]
    pub fn mark(&self, at: At) -> Mark {
        self.marks.as_ref().map_or(Mark::default(), |m| m.get(at))
    }

    /// The place has been written since the state began.
    #[inline]
    pub fn note_written(&mut self, at: At) {
        if let Some(m) = &mut self.marks {
            m.get_mut(at).live.add(Live::WRITTEN);
        }
    }
}

/// The current instruction reads a register of a frame.
#[inline]
pub fn mark_reg_read(env: &mut Env<'_>, frame: u32, r: Reg, flag: Live) -> Check {
    if !env.explore.era.keeps_marks() {
        return Ok(());
    }
    mark_read(env, frame, At::Reg(r.0), flag)
}

/// The current instruction writes a register of a frame.
#[inline]
pub fn mark_reg_written(env: &mut Env<'_>, frame: u32, r: Reg) {
    if env.explore.era.keeps_marks() {
        env.cur.frame_mut(frame).note_written(At::Reg(r.0));
    }
}

/// The current instruction reads the slots in `mask`.
pub fn mark_slots_read(env: &mut Env<'_>, frame: u32, mask: SlotMask) -> Check {
    for spi in mask.slots() {
        mark_read(env, frame, At::Slot(spi), Live::READ64)?;
    }
    Ok(())
}

/// The current instruction writes the slots in `mask` for certain.
pub fn mark_slots_written(env: &mut Env<'_>, frame: u32, mask: SlotMask) {
    let frame = env.cur.frame_mut(frame);
    for spi in mask.slots() {
        frame.note_written(At::Slot(spi));
    }
}

fn mark_read(env: &mut Env<'_>, frame: u32, at: At, flag: Live) -> Check {
    let mark = env.cur.frame(frame).mark(at);
    let steps = mark_ancestors(env, mark, flag)?;
    env.stats.mark_read = env.stats.mark_read.max(steps);
    Ok(())
}

/// Marks the place that `mark` came from, and its origins up to a write; the number of places that were new.
fn mark_ancestors(env: &mut Env<'_>, mut mark: Mark, flag: Live) -> Check<u32> {
    let mut steps = 0;
    while let Some(from) = mark.origin.filter(|_| !mark.live.has(Live::WRITTEN)) {
        let Some(e) = env.explore.states.get_mut(from.state) else { break };
        let frame = u32::from(from.frame);
        let mut known = e.state.frame(frame).mark(from.at);
        if known.live.has(Live::DONE) {
            return Err(read_after_done(env, from));
        }
        if !known.live.note_read(flag) {
            break;
        }
        if let Some(marks) = &mut e.state.frame_mut(frame).marks {
            *marks.get_mut(from.at) = known;
        }
        mark = known;
        steps += 1;
    }
    Ok(steps)
}

fn read_after_done(env: &mut Env<'_>, from: Origin) -> crate::stop::Stop {
    let reg = env.explore.state(from.state).and_then(|st| {
        let frame = st.frame(u32::from(from.frame));
        match from.at {
            At::Reg(r) => frame.regs.get(r as usize).copied(),
            At::Slot(spi) => frame.stack().get(spi as usize).map(|s| s.spilled),
        }
    });
    if let Some(reg) = reg {
        let (ty, off) = (env.type_name(reg.ty), reg.off);
        verbose!(
            env,
            "verifier BUG type {} var_off {} off {}\n",
            ty,
            reg.var_off.value as i64,
            off
        );
    }
    Errno::EFAULT.into()
}

/// The current state is covered by `old`: what follows from there reads, it reads too.
pub fn propagate_liveness(env: &mut Env<'_>, old: StateId) -> Check {
    if !env.explore.era.keeps_marks() {
        return Ok(());
    }
    let curframe = env.cur.curframe();
    for frame in 0..=curframe {
        let first = if frame < curframe { CALLEE_SAVED } else { 0 };
        for r in first..10 {
            propagate_place(env, old, frame, At::Reg(r))?;
        }
        let slots_of = |st: &VerifierState| st.frame(frame).stack().len();
        let slots = env.explore.state(old).map_or(0, slots_of).min(slots_of(&env.cur));
        for spi in 0..slots as u8 {
            propagate_place(env, old, frame, At::Slot(spi))?;
        }
    }
    Ok(())
}

/// `propagate_liveness_reg`: writes of the current state are no obstacle, it did not write what `old` read.
fn propagate_place(env: &mut Env<'_>, old: StateId, frame: u32, at: At) -> Check {
    let flag =
        env.explore.state(old).map_or(Live::default(), |st| st.frame(frame).mark(at).live.reads());
    let mut mark = env.cur.frame(frame).mark(at);
    if flag == Live::default() || !mark.live.note_read(flag) {
        return Ok(());
    }
    if let Some(marks) = &mut env.cur.frame_mut(frame).marks {
        *marks.get_mut(at) = mark;
    }
    let steps = mark_ancestors(env, mark, flag)? + 1;
    env.stats.mark_read = env.stats.mark_read.max(steps);
    Ok(())
}

/// The current state goes on from its copy in the table: marks start anew, and reads go to the copy.
pub fn connect(env: &mut Env<'_>, state: StateId) {
    if !env.explore.era.keeps_marks() {
        return;
    }
    let curframe = env.cur.curframe();
    for f in 0..=curframe {
        let first = if f < curframe { CALLEE_SAVED } else { 0 };
        let frame = env.cur.frame_mut(f);
        let slots = frame.stack().len();
        let Some(marks) = &mut frame.marks else { continue };
        for (r, mark) in marks.regs[..10].iter_mut().enumerate() {
            mark.live = Live::default();
            if r as u8 >= first {
                mark.origin = Some(Origin { state, frame: f as u8, at: At::Reg(r as u8) });
            }
        }
        marks.connect_slots(slots, state, f as u8);
    }
}

/// The state has been cleaned (`REG_LIVE_DONE` of its first register).
pub fn is_done(st: &VerifierState) -> bool {
    st.frame(0).mark(At::Reg(0)).live.has(Live::DONE)
}

/// Forgets what nothing reads any more, and closes the marks.
pub fn clean_verifier_state(env: &mut Env<'_>, id: StateId) {
    let capable = env.bpf_capable;
    let static_regs = env.explore.era.has_static_regs();
    let Some(frames) = env.explore.state(id).map(|st| st.curframe()) else { return };
    for f in 0..=frames {
        let Some(e) = env.explore.states.get_mut(id) else { return };
        let live = env
            .aux
            .get(frame_insn_idx(&e.state, f) as usize)
            .map_or(u16::MAX, |a| a.live_regs_before);
        let frame = e.state.frame_mut(f);
        let Some(mut marks) = frame.marks.take() else { return };
        for (i, r) in frame.regs[..10].iter_mut().enumerate() {
            let mark = &mut marks.regs[i].live;
            let is_live = if static_regs { live >> i & 1 == 1 } else { mark.is_read() };
            mark.add(Live::DONE);
            if !is_live {
                r.mark_not_init(capable);
            }
        }
        clean_slots(frame, &mut marks, capable);
        frame.marks = Some(marks);
    }
}

fn clean_slots(frame: &mut FuncState, marks: &mut Marks, capable: bool) {
    for spi in 0..frame.stack().len() {
        let mark = &mut marks.get_mut(At::Slot(spi as u8)).live;
        let is_read = mark.is_read();
        mark.add(Live::DONE);
        if !is_read {
            let slot = frame.slot_mut(spi);
            slot.spilled.mark_not_init(capable);
            slot.kind = StackSlot::EMPTY.kind;
        }
    }
}
