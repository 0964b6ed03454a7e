//! Moves (`BPF_MOV` in `check_alu_op` of `kernel/bpf/verifier.c`): copies, truncations, sign
//! extensions, constants and address space casts.

use bpfassay_isa::field::Class;
use bpfassay_isa::{opcode, semantics, RawInsn, Reg};
use bpfassay_spec::{MapType, RegBase, RegType};

use super::alu::is_pointer_value;
use super::links::assign_scalar_id_before_mov;
use super::mark::mark_reg_unknown;
use crate::check::reg_arg::{check_reg_arg, RegArg};
use crate::domain::reg::DEF_NOT_SUBREG;
use crate::env::Env;
use crate::stop::{Check, Errno};
use crate::verbose;

pub(super) fn check_mov(env: &mut Env<'_>, raw: RawInsn) -> Check {
    let (dst, src) = (Reg(raw.dst), Reg(raw.src));
    let wide = raw.class() == Class::Alu64;
    check_fields(env, raw)?;
    if raw.is_src_reg() {
        check_reg_arg(env, src, RegArg::Src)?;
    }
    check_reg_arg(env, dst, RegArg::DstNoMark)?;
    match (raw.is_src_reg(), wide) {
        (false, _) => {
            mark_reg_unknown(env, dst);
            let v = semantics::imm(raw.imm);
            env.reg_mut(dst).mark_known(if wide { v } else { v as u32 as u64 });
            Ok(())
        }
        // Only the cast may have an immediate.
        (true, true) if raw.imm != 0 => {
            addr_space_cast(env, raw, dst);
            Ok(())
        }
        (true, true) if raw.off == 0 => {
            copy(env, dst, src);
            Ok(())
        }
        (true, true) => sign_extend(env, raw, dst, src),
        (true, false) => move32(env, raw, dst, src),
    }
}

fn check_fields(env: &mut Env<'_>, raw: RawInsn) -> Check {
    let reserved = if !raw.is_src_reg() {
        raw.src != 0 || raw.off != 0
    } else if raw.class() == Class::Alu {
        !matches!(raw.off, 0 | 8 | 16) || raw.imm != 0
    } else if raw.off == opcode::OFF_ADDR_SPACE_CAST {
        return check_cast_fields(env, raw);
    } else {
        !matches!(raw.off, 0 | 8 | 16 | 32) || raw.imm != 0
    };
    let extends = raw.is_src_reg() && raw.off != 0;
    if reserved || extends && !env.kernel.features.isa_v4 {
        verbose!(env, "BPF_MOV uses reserved fields\n");
        return Err(Errno::EINVAL.into());
    }
    Ok(())
}

fn check_cast_fields(env: &mut Env<'_>, raw: RawInsn) -> Check {
    if raw.imm != 1 && raw.imm != 1 << 16 {
        verbose!(env, "addr_space_cast insn can only convert between address space 1 and 0\n");
        return Err(Errno::EINVAL.into());
    }
    if !env.maps.iter().any(|m| m.def.map_type == MapType::Arena) {
        verbose!(
            env,
            "addr_space_cast insn can only be used in a program that has an associated arena\n"
        );
        return Err(Errno::EINVAL.into());
    }
    Ok(())
}

/// `imm` 1 turns an arena offset into an arena pointer, 1 << 16 the reverse.
fn addr_space_cast(env: &mut Env<'_>, raw: RawInsn, dst: Reg) {
    mark_reg_unknown(env, dst);
    if raw.imm == 1 {
        let def = env.insn_idx as i32 + 1;
        let reg = env.reg_mut(dst);
        reg.ty = RegType::of(RegBase::Arena);
        reg.subreg_def = def;
    }
}

/// `r1 = r2`: scalars become linked.
fn copy(env: &mut Env<'_>, dst: Reg, src: Reg) {
    let mut value = *env.reg(src);
    assign_scalar_id_before_mov(env, &mut value);
    *env.reg_mut(src) = value;
    value.subreg_def = DEF_NOT_SUBREG;
    *env.reg_mut(dst) = value;
}

/// `r1 = (s8)r2` and its siblings; the link holds where nothing is cut.
fn sign_extend(env: &mut Env<'_>, raw: RawInsn, dst: Reg, src: Reg) -> Check {
    if is_pointer_value(env, src) {
        verbose!(env, "R{} sign-extension part of pointer\n", src.0);
        return Err(Errno::EACCES.into());
    }
    if !env.reg(src).is_scalar() {
        mark_reg_unknown(env, dst);
        return Ok(());
    }
    let mut value = copy_if_fits(env, src, raw.off as u32 - 1);
    value.sign_extend(raw.off as u32 / 8, &env.kernel.features);
    value.subreg_def = DEF_NOT_SUBREG;
    *env.reg_mut(dst) = value;
    Ok(())
}

/// `w1 = w2` and `w1 = (s8)w2`, `(s16)`.
fn move32(env: &mut Env<'_>, raw: RawInsn, dst: Reg, src: Reg) -> Check {
    if is_pointer_value(env, src) {
        verbose!(env, "R{} partial copy of pointer\n", src.0);
        return Err(Errno::EACCES.into());
    }
    if env.reg(src).is_scalar() {
        let def = env.insn_idx as i32 + 1;
        let mut value;
        if raw.off == 0 {
            value = copy_if_fits(env, src, 32);
        } else {
            value = copy_if_fits(env, src, raw.off as u32 - 1);
            value.sign_extend_low_half(raw.off as u32 / 8, &env.kernel.features);
        }
        value.subreg_def = def;
        *env.reg_mut(dst) = value;
    } else {
        mark_reg_unknown(env, dst);
    }
    let features = &env.kernel.features;
    let reg = env.reg_mut(dst);
    reg.cut_upper_half(features);
    reg.exchange(features);
    Ok(())
}

/// A copy of `src`, linked to it if its value fits `bits` bits, else cut loose.
fn copy_if_fits(env: &mut Env<'_>, src: Reg, bits: u32) -> crate::domain::reg::RegState {
    let mut value = *env.reg(src);
    if !env.kernel.features.narrow_moves_link {
        value.id = 0;
    } else if value.width() <= bits {
        assign_scalar_id_before_mov(env, &mut value);
        *env.reg_mut(src) = value;
    } else if env.kernel.features.add_const_keeps_self_link {
        value.clear_scalar_id();
    } else {
        value.id = 0;
    }
    value
}
