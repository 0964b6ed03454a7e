//! Whether an operand register may be read or written (`check_reg_arg`), and which
//! definitions need an explicit zero extension (`is_reg64`, `mark_insn_zext`).
//! Knows nothing of what is in the register beyond its type.

use bpfassay_isa::field::{AluCode, Class, JmpCode, Mode};
use bpfassay_isa::opcode;
use bpfassay_isa::{RawInsn, Reg, Size};
use bpfassay_spec::RegBase;

use crate::diagnostics;
use crate::domain::marks::Live;
use crate::domain::reg::{RegState, DEF_NOT_SUBREG};
use crate::env::Env;
use crate::explore::parents::{mark_reg_read, mark_reg_written};
use crate::stop::{Check, Errno};
use crate::verbose;

/// How an operand is used (`enum reg_arg_type`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RegArg {
    /// Read (`SRC_OP`).
    Src,
    /// Written; the register becomes an unknown scalar (`DST_OP`).
    Dst,
    /// Written; the caller sets the register (`DST_OP_NO_MARK`).
    DstNoMark,
}

/// Checks an operand of the instruction at `env.insn_idx` in the innermost frame (`check_reg_arg`).
#[inline]
pub fn check_reg_arg(env: &mut Env<'_>, r: Reg, arg: RegArg) -> Check {
    if arg == RegArg::Src && is_plainly_read(env, r) {
        env.mark_reg_scratched(r);
        return Ok(());
    }
    check_reg_arg_in(env, env.cur.curframe(), r, arg)
}

/// Most reads: the register holds something, and nothing is to be noted.
#[inline(always)]
fn is_plainly_read(env: &Env<'_>, r: Reg) -> bool {
    let reg = env.frame().regs.get(r.index());
    reg.is_some_and(|reg| reg.ty != RegBase::NotInit && !is_noted(env, r, reg))
}

/// How wide it is read matters: to a narrow definition, or to marks.
#[inline(always)]
fn is_noted(env: &Env<'_>, r: Reg, reg: &RegState) -> bool {
    r != Reg::R10 && (reg.subreg_def != DEF_NOT_SUBREG || env.explore.era.keeps_marks())
}

/// The same in another frame (`__check_reg_arg`).
pub fn check_reg_arg_in(env: &mut Env<'_>, frame: u32, r: Reg, arg: RegArg) -> Check {
    if !r.is_valid() {
        verbose!(env, "R{} is invalid\n", r.0);
        return Err(Errno::EINVAL.into());
    }
    env.mark_reg_scratched(r);
    if arg == RegArg::Src {
        return check_readable(env, frame, r);
    }
    if r == Reg::R10 {
        verbose!(env, "frame pointer is read only\n");
        return Err(Errno::EACCES.into());
    }
    let is_64 = is_reg64(raw_insn(env), None, arg);
    let def = if is_64 { DEF_NOT_SUBREG } else { env.insn_idx as i32 + 1 };
    let bpf_capable = env.bpf_capable;
    let reg = env.cur.frame_mut(frame).reg_mut(r);
    reg.subreg_def = def;
    if arg == RegArg::Dst {
        reg.mark_unknown(bpf_capable);
    }
    mark_reg_written(env, frame, r);
    Ok(())
}

#[inline]
fn raw_insn(env: &Env<'_>) -> RawInsn {
    env.insns.get(env.insn_idx as usize).copied().unwrap_or_default()
}

#[inline]
fn check_readable(env: &mut Env<'_>, frame: u32, r: Reg) -> Check {
    let reg = env.cur.frame(frame).reg(r);
    if reg.ty == RegBase::NotInit {
        return unreadable(env, r);
    }
    if !is_noted(env, r, reg) {
        return Ok(());
    }
    let is_64 = is_reg64(raw_insn(env), Some(reg), RegArg::Src);
    if is_64 && reg.subreg_def != DEF_NOT_SUBREG {
        let mut copy = *reg;
        mark_insn_zext(env, &mut copy);
        env.cur.frame_mut(frame).reg_mut(r).subreg_def = copy.subreg_def;
    }
    mark_reg_read(env, frame, r, if is_64 { Live::READ64 } else { Live::READ32 })
}

#[cold]
fn unreadable(env: &mut Env<'_>, r: Reg) -> Check {
    verbose!(env, "R{} !read_ok\n", r.0);
    diagnostics::report_unreadable(env, r);
    Err(Errno::EACCES.into())
}

/// The 32-bit definition of this register is read as 64 bits: it must zero-extend (`mark_insn_zext`).
pub fn mark_insn_zext(env: &mut Env<'_>, reg: &mut RegState) {
    if reg.subreg_def == DEF_NOT_SUBREG {
        return;
    }
    if let Some(aux) = env.aux.get_mut((reg.subreg_def - 1) as usize) {
        aux.zext_dst = true;
    }
    reg.subreg_def = DEF_NOT_SUBREG;
}

/// Whether the instruction reads or defines all 64 bits of a register (`is_reg64`).
///
/// `reg` is the register's content where the caller has it; only stores look at it, and only when reading.
pub fn is_reg64(insn: RawInsn, reg: Option<&RegState>, arg: RegArg) -> bool {
    let reading = arg == RegArg::Src;
    match insn.class() {
        Class::Jmp if insn.jmp_op() == JmpCode::Call => {
            // Defined registers of calls: the marks do not matter after a BPF-to-BPF call, and a helper's
            // result is taken as 32 bits unless said otherwise.
            insn.src != opcode::PSEUDO_CALL && reading
        }
        Class::Jmp => true,
        Class::Alu64 => insn.alu_op() != AluCode::End || !matches!(insn.imm, 16 | 32),
        Class::Alu => insn.alu_op() == AluCode::End && insn.imm == 64,
        Class::Jmp32 => false,
        Class::Ldx => reading || insn.size() == Size::Dw || insn.mode() == Mode::MemSx,
        Class::Stx => {
            let is_pointer = reading && reg.is_some_and(|reg| !reg.is_scalar());
            is_pointer || insn.size() == Size::Dw
        }
        // LD_IMM64 defines 64 bits, packet loads 32.
        Class::Ld => insn.mode() == Mode::Imm || reading,
        Class::St => true,
    }
}

/// The register an instruction defines, if any (`insn_def_regno`).
pub fn insn_def_reg(insn: RawInsn) -> Option<Reg> {
    match insn.class() {
        Class::Jmp | Class::Jmp32 | Class::St => None,
        Class::Stx if matches!(insn.mode(), Mode::Atomic | Mode::Internal7) => atomic_def_reg(insn),
        Class::Stx => None,
        _ => Some(Reg(insn.dst)),
    }
}

fn atomic_def_reg(insn: RawInsn) -> Option<Reg> {
    use bpfassay_isa::Insn;
    match bpfassay_isa::decode::decode(insn, None) {
        Ok(Insn::Atomic { op: bpfassay_isa::AtomicOp::Cmpxchg, .. }) => Some(Reg::R0),
        Ok(Insn::LoadAcquire { dst, .. }) => Some(dst),
        Ok(Insn::Atomic { fetch: true, src, .. }) => Some(src),
        _ => None,
    }
}

/// True if the instruction defines a register as 32 bits (`insn_has_def32`).
pub fn insn_has_def32(insn: RawInsn) -> bool {
    insn_def_reg(insn).is_some_and(|_| !is_reg64(insn, None, RegArg::DstNoMark))
}
