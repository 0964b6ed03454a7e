//! ALU instructions on scalars (`check_alu_op`, `adjust_reg_min_max_vals`,
//! `adjust_scalar_min_max_vals` of `kernel/bpf/verifier.c`).
//!
//! Moves are in [`super::mov`], pointer arithmetic in [`super::ptr_alu`], what an
//! operation does to bounds in [`crate::domain::arith`].

use bpfassay_isa::field::{AluCode, Class};
use bpfassay_isa::{disasm, RawInsn, Reg, Width};
use bpfassay_spec::{Features, MapType, RegBase};

use super::mark::{mark_reg_unknown, reg_bounds_sanity_check};
use super::mov;
use super::ptr_alu::adjust_ptr_min_max_vals;
use super::sanitize::sanitize_val_alu;
use crate::check::reg_arg::{check_reg_arg, RegArg};
use crate::diagnostics;
use crate::domain::division::Keeps;
use crate::domain::reg::{RegState, ADD_CONST, ADD_CONST32, ADD_CONST64};
use crate::env::Env;
use crate::explore::precision::mark_chain_precision;
use crate::explore::worklist::push_stack;
use crate::stop::{Check, Errno};
use crate::verbose;

/// The instruction at hand, as far as arithmetic needs it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Alu {
    pub raw: RawInsn,
    pub op: AluCode,
    pub width: Width,
    pub dst: Reg,
    /// Register operand; None for an immediate.
    pub src: Option<Reg>,
}

impl Alu {
    fn of(raw: RawInsn) -> Alu {
        Alu {
            raw,
            op: raw.alu_op(),
            width: raw.width(),
            dst: Reg(raw.dst),
            src: raw.is_src_reg().then_some(Reg(raw.src)),
        }
    }

    /// The log's operator (`bpf_alu_string`).
    pub fn operator(&self) -> &'static str {
        disasm::alu_string(self.raw).unwrap_or("")
    }
}

/// The ALU, move, swap or negate instruction at `env.insn_idx`.
pub fn check_alu_op(env: &mut Env<'_>) -> Check {
    let raw = env.insns.get(env.insn_idx as usize).copied().unwrap_or_default();
    let insn = Alu::of(raw);
    diagnostics::begin_reg(env, insn.dst);
    match insn.op {
        AluCode::Neg | AluCode::End => check_unary(env, insn)?,
        AluCode::Mov => mov::check_mov(env, raw)?,
        AluCode::UndefinedE | AluCode::UndefinedF => {
            verbose!(env, "invalid BPF_ALU opcode {:x}\n", raw.op_bits() << 4);
            return Err(Errno::EINVAL.into());
        }
        _ => check_binary(env, insn)?,
    }
    if env.reg(insn.dst).bounds_violation().is_some() {
        let mut dst = *env.reg(insn.dst);
        reg_bounds_sanity_check(env, &mut dst, "alu")?;
        *env.reg_mut(insn.dst) = dst;
    }
    diagnostics::end(env);
    Ok(())
}

/// True if storing or combining the register would leak an address (`is_pointer_value`).
pub fn is_pointer_value(env: &Env<'_>, r: Reg) -> bool {
    !env.allow_ptr_leaks && !env.reg(r).is_scalar()
}

fn check_unary(env: &mut Env<'_>, insn: Alu) -> Check {
    let raw = insn.raw;
    if insn.op == AluCode::Neg {
        if raw.is_src_reg() || raw.src != 0 || raw.off != 0 || raw.imm != 0 {
            verbose!(env, "BPF_NEG uses reserved fields\n");
            return Err(Errno::EINVAL.into());
        }
    } else if raw.src != 0
        || raw.off != 0
        || !matches!(raw.imm, 16 | 32 | 64)
        || (raw.class() == Class::Alu64 && raw.is_src_reg())
    {
        verbose!(env, "BPF_END uses reserved fields\n");
        return Err(Errno::EINVAL.into());
    }
    check_reg_arg(env, insn.dst, RegArg::Src)?;
    if is_pointer_value(env, insn.dst) {
        verbose!(env, "R{} pointer arithmetic prohibited\n", insn.dst.0);
        return Err(Errno::EACCES.into());
    }
    let features = &env.kernel.features;
    let is_neg = insn.op == AluCode::Neg;
    let tracked = if is_neg { features.neg_tracked } else { features.scalar_byte_swap };
    if tracked && env.reg(insn.dst).is_scalar() {
        check_reg_arg(env, insn.dst, RegArg::DstNoMark)?;
        let mut dst = *env.reg(insn.dst);
        let operand = dst;
        adjust_scalar_min_max_vals(env, insn, &mut dst, &operand)?;
        *env.reg_mut(insn.dst) = dst;
        Ok(())
    } else {
        check_reg_arg(env, insn.dst, RegArg::Dst)
    }
}

fn check_binary(env: &mut Env<'_>, insn: Alu) -> Check {
    let raw = insn.raw;
    let divides = matches!(insn.op, AluCode::Mod | AluCode::Div);
    let signed = raw.off == 1 && divides && env.kernel.features.isa_v4;
    let bad_off = raw.off != 0 && !signed;
    if bad_off || if raw.is_src_reg() { raw.imm != 0 } else { raw.src != 0 } {
        verbose!(env, "BPF_ALU uses reserved fields\n");
        return Err(Errno::EINVAL.into());
    }
    if let Some(src) = insn.src {
        check_reg_arg(env, src, RegArg::Src)?;
    }
    check_reg_arg(env, insn.dst, RegArg::Src)?;
    if insn.src.is_none() {
        if divides && raw.imm == 0 {
            verbose!(env, "div by zero\n");
            return Err(Errno::EINVAL.into());
        }
        let shifts = matches!(insn.op, AluCode::Lsh | AluCode::Rsh | AluCode::Arsh);
        if shifts && !(0..bits(insn.width) as i32).contains(&raw.imm) {
            verbose!(env, "invalid shift {}\n", raw.imm);
            return Err(Errno::EINVAL.into());
        }
    }
    check_reg_arg(env, insn.dst, RegArg::DstNoMark)?;
    adjust_reg_min_max_vals(env, insn)
}

fn bits(width: Width) -> u64 {
    match width {
        Width::W32 => 32,
        Width::W64 => 64,
    }
}

/// Sends the operation to pointer or scalar arithmetic by what the operands are.
fn adjust_reg_min_max_vals(env: &mut Env<'_>, insn: Alu) -> Check {
    let dst_is_ptr = !env.reg(insn.dst).is_scalar();
    // Of two scalars neither is a pointer into an arena, but kernels may remember that.
    let may_be_arena = dst_is_ptr || insn.src.is_some() || env.kernel.features.arena_use_remembered;
    if may_be_arena && arena_arithmetic(env, insn)? {
        return Ok(());
    }
    let Some(src) = insn.src else {
        let k = RegState::constant_scalar(raw_imm(insn.raw));
        if dst_is_ptr {
            let dst_reg = *env.reg(insn.dst);
            return adjust_ptr_min_max_vals(env, insn, dst_reg, k, false);
        }
        return adjust_two_scalars(env, insn, &k);
    };
    match (dst_is_ptr, !env.reg(src).is_scalar()) {
        (true, true) => {
            if insn.op == AluCode::Sub && env.allow_ptr_leaks {
                mark_reg_unknown(env, insn.dst);
                return Ok(());
            }
            verbose!(env, "R{} pointer {} pointer prohibited\n", insn.dst.0, insn.operator());
            Err(Errno::EACCES.into())
        }
        (false, true) => {
            mark_chain_precision(env, insn.dst)?;
            let (src_reg, dst_reg) = (*env.reg(src), *env.reg(insn.dst));
            adjust_ptr_min_max_vals(env, insn, src_reg, dst_reg, true)
        }
        (true, false) => {
            mark_chain_precision(env, src)?;
            let (dst_reg, src_reg) = (*env.reg(insn.dst), *env.reg(src));
            adjust_ptr_min_max_vals(env, insn, dst_reg, src_reg, false)
        }
        (false, false) => {
            if env.reg(insn.dst).precise {
                mark_chain_precision(env, src)?;
            }
            let src_reg = *env.reg(src);
            adjust_two_scalars(env, insn, &src_reg)
        }
    }
}

/// Any arithmetic on an arena pointer gives an arena pointer, whose offset is not followed; a scalar that
/// takes one as second operand becomes one, where the kernel has `arena_second_operand`.
fn arena_arithmetic(env: &mut Env<'_>, insn: Alu) -> Check<bool> {
    let is_arena = |r: Reg| env.reg(r).ty == RegBase::Arena;
    let dst_is = is_arena(insn.dst);
    let follows = env.kernel.features.arena_second_operand;
    let Some(src) = insn.src.filter(|r| follows && is_arena(*r)).or(dst_is.then_some(insn.dst))
    else {
        return scalar_beside_arena(env, insn).map(|()| false);
    };
    if insn.width == Width::W64 {
        let remembered = env.kernel.features.arena_use_remembered;
        let at = env.insn_idx;
        if remembered && env.aux(at).prevent_zext {
            return arena_mix(env);
        }
        // Only the lower half counts, and the upper one is the kernel's.
        env.aux_mut(at).needs_zext |= dst_is || remembered;
    }
    if follows {
        let mut reg = *env.reg(if dst_is { insn.dst } else { src });
        reg.subreg_def = env.insn_idx as i32 + 1;
        *env.reg_mut(insn.dst) = reg;
    }
    Ok(true)
}

/// Wide arithmetic on arena pointers is made narrow, so the same instruction must not see scalars.
fn scalar_beside_arena(env: &mut Env<'_>, insn: Alu) -> Check {
    let has_arena = || env.maps.iter().any(|m| m.def.map_type == MapType::Arena);
    if insn.width == Width::W64 && env.kernel.features.arena_use_remembered && has_arena() {
        if env.aux(env.insn_idx).needs_zext {
            return arena_mix(env);
        }
        let at = env.insn_idx;
        env.aux_mut(at).prevent_zext = true;
    }
    Ok(())
}

fn arena_mix<T>(env: &mut Env<'_>) -> Check<T> {
    verbose!(env, "same insn cannot be used with and without arena pointer\n");
    Err(Errno::EINVAL.into())
}

fn raw_imm(raw: RawInsn) -> u64 {
    bpfassay_isa::semantics::imm(raw.imm)
}

fn adjust_two_scalars(env: &mut Env<'_>, insn: Alu, src: &RegState) -> Check {
    let mut dst = *env.reg(insn.dst);
    let umax_before = dst.umax;
    adjust_scalar_min_max_vals(env, insn, &mut dst, src)?;
    let delta = link_delta(env, insn, &dst, src, umax_before);
    match delta {
        Some(delta) if dst.id & ADD_CONST == 0 => {
            dst.id |= if insn.width == Width::W32 { ADD_CONST32 } else { ADD_CONST64 };
            dst.off = delta;
        }
        // Older kernels leave the stale delta behind when the link goes for any other reason than a second addition.
        None if !env.kernel.features.add_const_keeps_self_link => dst.id = 0,
        _ => dst.clear_scalar_id(),
    }
    *env.reg_mut(insn.dst) = dst;
    Ok(())
}

/// The constant by which `dst` now differs from the scalars it is linked to, so that a later
/// branch on one of them still says something about it: `r1 = r2; r1 += 1; if r2 < 1000`.
///
/// None where the link must go.
fn link_delta(
    env: &Env<'_>,
    insn: Alu,
    dst: &RegState,
    src: &RegState,
    umax_before: u64,
) -> Option<i32> {
    if !env.kernel.features.delta_links {
        return None;
    }
    let narrow = insn.width == Width::W32;
    let self_op = insn.src == Some(insn.dst);
    if !env.kernel.features.add_const_keeps_self_link {
        return old_link_delta(env, insn, dst, if self_op { dst } else { src });
    }
    if !env.bpf_capable || dst.id == 0 || !src.is_const(narrow) || self_op {
        return None;
    }
    let v = if narrow {
        src.var_off.subreg().value as u32 as i32 as i64
    } else {
        src.var_off.value as i64
    };
    let v = i32::try_from(v).ok()?;
    // The upper half is cut by a 32-bit addition: the linked value must not have had one.
    if narrow && umax_before > u32::MAX as u64 {
        return None;
    }
    match insn.op {
        AluCode::Add => Some(v),
        AluCode::Sub => v.checked_neg(),
        _ => None,
    }
}

/// The same before `add_const_keeps_self_link`.  A constant too large counts as a second addition would: its
/// delta is cleared with the id.  `src` is the destination's new value where both are one register.
fn old_link_delta(env: &Env<'_>, insn: Alu, dst: &RegState, src: &RegState) -> Option<i32> {
    let adds = insn.op == AluCode::Add && insn.width == Width::W64;
    if !env.bpf_capable || !adds || dst.id == 0 || !src.is_const(false) {
        return None;
    }
    i32::try_from(src.var_off.value).ok()
}

/// True if the operation's result can be bounded at all (`is_safe_to_compute_dst_reg_range`):
/// shifts need a known count within the width, division and modulo a known divisor where they are followed at all.
fn is_computable(insn: Alu, src: &RegState, f: &Features) -> bool {
    let known = match insn.width {
        Width::W32 => {
            src.var_off.subreg_is_const()
                && src.s32_min == src.s32_max
                && src.u32_min == src.u32_max
        }
        Width::W64 => src.var_off.is_const() && src.smin == src.smax && src.umin == src.umax,
    };
    match insn.op {
        AluCode::Add | AluCode::Sub | AluCode::Neg | AluCode::And | AluCode::End => true,
        AluCode::Xor | AluCode::Or | AluCode::Mul => true,
        AluCode::Lsh | AluCode::Rsh | AluCode::Arsh => known && src.umax < bits(insn.width),
        AluCode::Div | AluCode::Mod => known && f.division_bounded,
        _ => false,
    }
}

/// The same before 6.10: bounds of the second operand that contradict each other say nothing, and only ADD, SUB and
/// AND take one that is not known.
fn is_followed_plainly(insn: Alu, src: &RegState) -> bool {
    let (known, fits) = match insn.width {
        Width::W32 => (
            src.var_off.subreg_is_const(),
            src.s32_min <= src.s32_max && src.u32_min <= src.u32_max,
        ),
        Width::W64 => (src.var_off.is_const(), src.smin <= src.smax && src.umin <= src.umax),
    };
    let one = match insn.width {
        Width::W32 => src.s32_min == src.s32_max && src.u32_min == src.u32_max,
        Width::W64 => src.smin == src.smax && src.umin == src.umax,
    };
    let takes_unknown = matches!(insn.op, AluCode::Add | AluCode::Sub | AluCode::And);
    fits && if known { one } else { takes_unknown }
}

/// Before 6.10: the result is unknown, but of the operation's width.
fn is_lost_plainly(insn: Alu, src: &RegState) -> bool {
    match insn.op {
        AluCode::Lsh | AluCode::Rsh | AluCode::Arsh => src.umax >= bits(insn.width),
        AluCode::Div | AluCode::Mod => true,
        _ => false,
    }
}

/// `dst = dst op src`, both scalars.
fn adjust_scalar_min_max_vals(
    env: &mut Env<'_>,
    insn: Alu,
    dst: &mut RegState,
    src: &RegState,
) -> Check {
    let plainly = !env.kernel.features.unknown_operands_bounded;
    let followed = match plainly {
        true => is_followed_plainly(insn, src),
        false => is_computable(insn, src, &env.kernel.features),
    };
    if !followed {
        dst.mark_unknown(env.bpf_capable);
        return Ok(());
    }
    sanitize_val_alu(env, insn)?;
    let (narrow, f) = (insn.width == Width::W32, &env.kernel.features);
    if plainly && is_lost_plainly(insn, src) {
        dst.mark_unknown(env.bpf_capable);
        if narrow {
            dst.cut_upper_half(f);
        }
        dst.exchange(f);
        return Ok(());
    }
    // The count is below the width, so either half's minimum is all of it.
    let count = src.u32_min;
    if matches!(insn.op, AluCode::And | AluCode::Or) {
        maybe_fork_scalars(env, insn, dst, src)?;
    }
    match insn.op {
        AluCode::End => {
            let swaps = insn.raw.class() == Class::Alu64 || insn.raw.is_src_reg();
            dst.swap_bytes(swaps, insn.raw.imm as u32, f);
        }
        op if f.circular_ranges => dst.alu_arcs(op, insn.raw.off == 1, insn.width, src),
        AluCode::Add => dst.alu_add(src, f),
        AluCode::Sub => dst.alu_sub(src, f),
        AluCode::Neg => dst.alu_neg(f),
        AluCode::Mul => dst.alu_mul(src, f),
        AluCode::And => dst.alu_and(src, f),
        AluCode::Or => dst.alu_or(src, f),
        AluCode::Xor => dst.alu_xor(src, f),
        AluCode::Lsh if narrow => dst.alu_lsh32(count),
        AluCode::Lsh => dst.alu_lsh64(count, f),
        AluCode::Rsh if narrow => dst.alu_rsh32(count),
        AluCode::Rsh => dst.alu_rsh64(count, f),
        AluCode::Arsh if narrow => dst.alu_arsh32(count),
        AluCode::Arsh => dst.alu_arsh64(count, f),
        AluCode::Div | AluCode::Mod => {
            dst.alu_divide(insn.op, insn.raw.off == 1, insn.width, src, Keeps::Bounds);
        }
        _ => {}
    }
    if narrow && insn.op != AluCode::End {
        dst.cut_upper_half(f);
    }
    dst.exchange(f);
    Ok(())
}

/// A scalar that is 0 or -1 (the result of `s>>= 63`, a compiler's branchless comparison) splits the path
/// before AND or OR with a constant: both results are then constants instead of one wide range.
fn maybe_fork_scalars(env: &mut Env<'_>, insn: Alu, dst: &mut RegState, src: &RegState) -> Check {
    if !env.kernel.features.fork_scalars || !src.var_off.is_const() {
        return Ok(());
    }
    let whole = (dst.smin, dst.smax) == (-1, 0);
    if !(whole || (dst.s32_min, dst.s32_max) == (-1, 0)) {
        return Ok(());
    }
    let idx = env.insn_idx;
    let branch = push_stack(env, idx, idx, false)?;
    let zero = branch.cur_mut().reg_mut(insn.dst);
    if whole {
        zero.mark_known(0);
        dst.mark_known(u64::MAX);
    } else {
        zero.mark_known32(0);
        dst.mark_known32(u32::MAX);
    }
    Ok(())
}
