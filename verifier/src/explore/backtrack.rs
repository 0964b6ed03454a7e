//! One step of precision backtracking: which registers and slots must be precise before an
//! instruction for others to be precise after it (`backtrack_insn`).

use bpfassay_isa::field::{Class, JmpCode, Mode};
use bpfassay_isa::opcode::PSEUDO_KFUNC_CALL;
use bpfassay_isa::{AluCode, Insn, RawInsn};
use bpfassay_spec::func;

use crate::domain::state::{
    HistoryEntry, INSN_F_DST_REG_STACK, INSN_F_SRC_REG_STACK, INSN_F_STACK_ACCESS, MAX_CALL_FRAMES,
};
use crate::env::Env;
use crate::log::insn::print_insn;
use crate::mutation::{self, Mutation};
use crate::stop::{Check, Errno};
use crate::subprogs::find_subprog;
use crate::transfer::links::linked_frame_bits;
use crate::{trace, verbose};

/// R1 to R5 (`BPF_REGMASK_ARGS`).
pub const ARGS: u16 = 0x3e;

/// Registers and slots wanted precise, per frame (`struct backtrack_state`).
#[derive(Clone, Copy, Debug, Default)]
pub struct Backtrack {
    pub frame: usize,
    pub regs: [u16; MAX_CALL_FRAMES],
    pub slots: [u64; MAX_CALL_FRAMES],
}

/// How a step ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Traced {
    Yes,
    /// ENOTSUPP: cannot be followed, everything must be precise.
    Lost,
}

impl Backtrack {
    #[inline]
    pub fn is_empty(&self) -> bool {
        let upto = ..=self.frame.min(MAX_CALL_FRAMES - 1);
        self.regs[upto].iter().all(|m| *m == 0) && self.slots[upto].iter().all(|m| *m == 0)
    }

    #[inline]
    pub fn reg_mask(&self) -> u16 {
        self.regs[self.frame]
    }

    #[inline]
    pub fn slot_mask(&self) -> u64 {
        self.slots[self.frame]
    }

    #[inline]
    fn has(&self, reg: u8) -> bool {
        self.regs[self.frame] & (1 << reg) != 0
    }

    #[inline]
    pub fn set(&mut self, reg: u8) {
        self.regs[self.frame] |= 1 << reg;
    }

    #[inline]
    fn clear(&mut self, reg: u8) {
        self.regs[self.frame] &= !(1 << reg);
    }

    fn enter_subprog(&mut self, env: &mut Env<'_>) -> Check {
        if self.frame == MAX_CALL_FRAMES - 1 {
            return Err(bug(env, &format!("subprog enter from frame {}", self.frame)));
        }
        self.frame += 1;
        Ok(())
    }

    fn leave_subprog(&mut self, env: &mut Env<'_>) -> Check {
        if self.frame == 0 {
            return Err(bug(env, "subprog exit from frame 0"));
        }
        self.frame -= 1;
        Ok(())
    }

    /// If one of the registers linked at this instruction is wanted, all are (`bt_sync_linked_regs`).
    fn sync_linked(&mut self, hist: Option<&HistoryEntry>) {
        const COUNT_BITS: u32 = 4;
        let Some(linked) = hist.map(|h| h.linked_regs).filter(|l| *l != 0) else { return };
        let count = linked & ((1 << COUNT_BITS) - 1);
        let frame_bits = linked_frame_bits(count);
        let entries = (0..count as u32).map(|i| {
            let e = linked >> (COUNT_BITS + i * (frame_bits + 7));
            let (frame, e) = ((e & ((1 << frame_bits) - 1)) as usize, e >> frame_bits);
            let (index, is_reg) = ((e & 63) as u32, e >> 6 & 1 == 1);
            (
                frame,
                if is_reg { 1u16 << (index & 15) } else { 0 },
                if is_reg { 0 } else { 1u64 << index },
            )
        });
        let wanted = |(f, r, s): (usize, u16, u64)| self.regs[f] & r != 0 || self.slots[f] & s != 0;
        if entries.clone().any(wanted) {
            for (f, r, s) in entries {
                self.regs[f] |= r;
                self.slots[f] |= s;
            }
        }
    }
}

/// `verifier_bug`: the message, and the errno that its callers all return.
pub fn bug(env: &mut Env<'_>, what: &str) -> crate::stop::Stop {
    verbose!(env, "verifier bug: {}\n", what);
    Errno::EFAULT.into()
}

/// Set bits of a register mask as `r1,r3`.
pub struct RegMask(pub u16);
/// Set bits of a slot mask as `-8,-24`.
pub struct SlotMask(pub u64);

impl SlotMask {
    /// Slots in the mask, ascending.
    pub fn slots(self) -> impl Iterator<Item = u8> {
        let mut rest = self.0;
        std::iter::from_fn(move || {
            let lowest = (rest != 0).then(|| rest.trailing_zeros() as u8);
            rest &= rest.wrapping_sub(1);
            lowest
        })
    }
}

fn list(
    f: &mut std::fmt::Formatter<'_>,
    mask: u64,
    show: impl Fn(u32) -> String,
) -> std::fmt::Result {
    let mut sep = "";
    for i in (0..64).filter(|i| mask >> i & 1 == 1) {
        write!(f, "{sep}{}", show(i))?;
        sep = ",";
    }
    Ok(())
}

impl std::fmt::Display for RegMask {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        list(f, u64::from(self.0), |i| format!("r{i}"))
    }
}

impl std::fmt::Display for SlotMask {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        list(f, self.0, |i| format!("{}", -(i as i32 + 1) * 8))
    }
}

/// Going back over this instruction always takes a look.
const ALWAYS: u16 = 1 << 15;

/// Registers by which [`backtrack_insn`] does anything at an instruction that has neither linked
/// registers nor a wanted slot; [`ALWAYS`] where more decides.
pub fn concerned_regs(insn: RawInsn) -> u16 {
    let (dst, src) = (1 << (insn.dst & 15), 1 << (insn.src & 15));
    match insn.class() {
        _ if insn.code == 0 => 0,
        Class::Alu | Class::Alu64 | Class::Ldx | Class::Stx | Class::St => dst,
        Class::Jmp | Class::Jmp32 => match insn.jmp_op() {
            JmpCode::Call | JmpCode::Exit => ALWAYS,
            _ if insn.is_src_reg() => dst | src,
            _ => 0,
        },
        Class::Ld if matches!(insn.mode(), Mode::Ind | Mode::Abs) => ALWAYS,
        Class::Ld => dst,
    }
}

impl Backtrack {
    /// True if [`backtrack_insn`] would change nothing, given [`concerned_regs`] of the instruction.
    #[inline]
    pub fn is_unconcerned(&self, concerned: u16, hist: Option<&HistoryEntry>) -> bool {
        let by_history = |h: &HistoryEntry| {
            h.linked_regs != 0
                || stack_access(Some(h)).is_some_and(|(frame, slot)| self.slots[frame] & slot != 0)
        };
        self.concerning() & concerned == 0 && !hist.is_some_and(by_history)
    }

    /// Instructions with one of these bits are looked at.
    #[inline]
    pub fn concerning(&self) -> u16 {
        self.reg_mask() | ALWAYS
    }
}

/// Goes back over the instruction at `idx`; `subseq` is the one executed after it, -1 for none.
pub fn backtrack_insn(
    env: &mut Env<'_>,
    bt: &mut Backtrack,
    idx: u32,
    subseq: i64,
    hist: Option<&HistoryEntry>,
) -> Check<Traced> {
    let insn = env.insns[idx as usize];
    if insn.code == 0 {
        return Ok(Traced::Yes);
    }
    if env.log.level.is_level2() {
        let (regs, slots) = (RegMask(bt.reg_mask()), SlotMask(bt.slot_mask()));
        trace!(
            env,
            "mark_precise: frame{}: regs={} stack={} before {}: ",
            bt.frame,
            regs,
            slots,
            idx
        );
        print_insn(env, idx);
    }
    bt.sync_linked(hist);
    match insn.class() {
        Class::Alu | Class::Alu64 => {
            if !alu(bt, insn) {
                return Ok(Traced::Yes);
            }
        }
        Class::Ldx => {
            if !load(bt, insn, hist) {
                return Ok(Traced::Yes);
            }
        }
        Class::Stx if matches!(env.insn(idx), Some(Insn::LoadAcquire { .. })) => {
            if !load(bt, insn, hist) {
                return Ok(Traced::Yes);
            }
        }
        Class::Stx | Class::St => {
            if bt.has(insn.dst) {
                // The address came from pointer subtraction.
                return Ok(Traced::Lost);
            }
            if !store(bt, insn, hist) {
                return Ok(Traced::Yes);
            }
        }
        Class::Jmp | Class::Jmp32 => match jump(env, bt, idx, subseq, hist)? {
            Jumped::Sync => {}
            Jumped::Done => return Ok(Traced::Yes),
            Jumped::Lost => return Ok(Traced::Lost),
        },
        Class::Ld => {
            let is_packet = matches!(insn.mode(), Mode::Ind | Mode::Abs);
            if is_packet && env.kernel.features.ld_abs_exit_is_tracked {
                if bt.has(insn.dst) {
                    return Ok(Traced::Lost);
                }
                // What follows is the caller: the load failed and left the subprogram.
                if subseq != i64::from(idx) + 1 {
                    bt.enter_subprog(env)?;
                }
                return Ok(Traced::Yes);
            }
            if !bt.has(insn.dst) {
                return Ok(Traced::Yes);
            }
            bt.clear(insn.dst);
            if matches!(insn.mode(), Mode::Ind | Mode::Abs) {
                return Ok(Traced::Lost);
            }
        }
    }
    bt.sync_linked(hist);
    Ok(Traced::Yes)
}

/// False where the kernel returns without looking at linked registers again.
fn alu(bt: &mut Backtrack, insn: RawInsn) -> bool {
    const FP: u8 = 10;
    if !bt.has(insn.dst) {
        return false;
    }
    let source = insn.is_src_reg() && insn.src != FP;
    match insn.alu_op() {
        AluCode::End | AluCode::Neg => return false,
        AluCode::Mov => {
            bt.clear(insn.dst);
            if source {
                bt.set(insn.src);
            }
        }
        _ if source => bt.set(insn.src),
        _ => {}
    }
    true
}

#[inline]
fn stack_access(hist: Option<&HistoryEntry>) -> Option<(usize, u64)> {
    let flags = hist.map(|h| h.flags).filter(|f| f & INSN_F_STACK_ACCESS != 0)?;
    Some(((flags & 15) as usize, 1u64 << (flags >> 4 & 63)))
}

fn load(bt: &mut Backtrack, insn: RawInsn, hist: Option<&HistoryEntry>) -> bool {
    if !bt.has(insn.dst) {
        return false;
    }
    bt.clear(insn.dst);
    // Only the stack keeps precision; other memory gives what its type says.
    let Some((frame, slot)) = stack_access(hist) else { return false };
    bt.slots[frame] |= slot;
    true
}

fn store(bt: &mut Backtrack, insn: RawInsn, hist: Option<&HistoryEntry>) -> bool {
    let Some((frame, slot)) = stack_access(hist) else { return false };
    if bt.slots[frame] & slot == 0 {
        return false;
    }
    bt.slots[frame] &= !slot;
    if insn.class() == Class::Stx {
        bt.set(insn.src);
    }
    true
}

enum Jumped {
    /// Look at linked registers once more.
    Sync,
    Done,
    Lost,
}

fn jump(
    env: &mut Env<'_>,
    bt: &mut Backtrack,
    idx: u32,
    subseq: i64,
    hist: Option<&HistoryEntry>,
) -> Check<Jumped> {
    let insn = env.insns[idx as usize];
    if insn.is_pseudo_call() {
        return subprog_call(env, bt, idx).map(|()| Jumped::Done);
    }
    if env.aux(idx).calls_callback && i64::from(idx) != subseq - 1 {
        // Out of a callback: what it got in R1 to R5 did not come from the caller's R1 to R5.
        refuse_leftovers(
            env,
            bt,
            !ARGS,
            "callback unexpected regs",
            "callback leftover stack slots",
        )?;
        bt.regs[bt.frame] &= !ARGS;
        bt.leave_subprog(env)?;
        return Ok(Jumped::Done);
    }
    match insn.jmp_op() {
        JmpCode::Call => {
            if insn.src == PSEUDO_KFUNC_CALL && insn.imm == 0 {
                return Ok(Jumped::Lost);
            }
            bt.clear(0);
            if bt.reg_mask() & ARGS != 0 {
                return Err(bug(
                    env,
                    &format!("backtracking call unexpected regs {:x}", bt.reg_mask()),
                ));
            }
            if insn.src == 0 && insn.imm == func::TAIL_CALL && subseq - i64::from(idx) != 1 {
                bt.enter_subprog(env)?;
            }
            Ok(Jumped::Sync)
        }
        JmpCode::Exit => subprog_exit(env, bt, subseq).map(|()| Jumped::Done),
        _ if insn.is_src_reg() => {
            if !bt.has(insn.dst) && !bt.has(insn.src) {
                return Ok(Jumped::Done);
            }
            let flags = hist.map_or(0, |h| h.flags);
            let half = mutation::has(Mutation::Cve2023_2163);
            if flags & INSN_F_SRC_REG_STACK == 0 && !half {
                bt.set(insn.src);
            }
            if flags & INSN_F_DST_REG_STACK == 0 {
                bt.set(insn.dst);
            }
            Ok(Jumped::Sync)
        }
        _ => Ok(Jumped::Sync),
    }
}

fn refuse_leftovers(
    env: &mut Env<'_>,
    bt: &Backtrack,
    regs: u16,
    reg_text: &str,
    slot_text: &str,
) -> Check {
    if bt.reg_mask() & regs != 0 {
        return Err(bug(env, &format!("{reg_text} {:x}", bt.reg_mask())));
    }
    if bt.slot_mask() != 0 {
        return Err(bug(env, &format!("{slot_text} {:x}", bt.slot_mask())));
    }
    Ok(())
}

/// Back over a call: out of a static callee, or past a global one.
fn subprog_call(env: &mut Env<'_>, bt: &mut Backtrack, idx: u32) -> Check {
    let target = i64::from(idx) + i64::from(env.insns[idx as usize].imm) + 1;
    let Some(subprog) = find_subprog(env, target) else { return Err(Errno::EFAULT.into()) };
    if env.subprogs[subprog as usize].is_global {
        if bt.reg_mask() & ARGS != 0 {
            return Err(bug(env, &format!("global subprog unexpected regs {:x}", bt.reg_mask())));
        }
        bt.clear(0);
        return Ok(());
    }
    refuse_leftovers(
        env,
        bt,
        !ARGS,
        "static subprog unexpected regs",
        "static subprog leftover stack slots",
    )?;
    let args = bt.reg_mask() & ARGS;
    bt.regs[bt.frame] &= !ARGS;
    bt.leave_subprog(env)?;
    bt.regs[bt.frame] |= args;
    Ok(())
}

/// Back over the exit of a callee, into it.
fn subprog_exit(env: &mut Env<'_>, bt: &mut Backtrack, subseq: i64) -> Check {
    let after = usize::try_from(subseq).ok();
    let drops = env.kernel.features.callback_exit_drops_args;
    if drops && after.is_some_and(|s| env.aux.get(s).is_some_and(|a| a.calls_callback)) {
        bt.regs[bt.frame] &= !ARGS;
    }
    // R0 comes out of a called function, not out of a callback.
    let call = after.and_then(|s| s.checked_sub(1)).and_then(|s| env.insns.get(s));
    let is_call = call.is_some_and(|c| c.is_pseudo_call());
    if (drops || is_call) && bt.reg_mask() & ARGS != 0 {
        return Err(bug(env, &format!("backtracking exit unexpected regs {:x}", bt.reg_mask())));
    }
    let r0_wanted = is_call && bt.has(0);
    bt.clear(0);
    bt.enter_subprog(env)?;
    if r0_wanted {
        bt.set(0);
    }
    Ok(())
}
