//! Pointer arithmetic (`adjust_ptr_min_max_vals`, `check_reg_sane_offset` of `kernel/bpf/verifier.c`).
//!
//! A constant goes into the pointer's fixed offset; anything else into the variable part,
//! whose bounds are added with overflow checks.  Packet pointers then get a new id and lose
//! their range, because what was proved holds for the old base only.
//!
//! What speculative execution may do with the pointer is in [`super::sanitize`].

use bpfassay_isa::field::AluCode;
use bpfassay_isa::{Reg, Width};
use bpfassay_spec::{RegBase, RegType, TypeFlags};

use super::alu::Alu;
use super::sanitize::Sanitizer;
use crate::diagnostics::{self, words, About, Wording};
use crate::domain::marks::At;
use crate::domain::reg::RegState;
use crate::env::Env;
use crate::mutation::{self, Mutation};
use crate::stop::{Check, Errno};
use crate::verbose;

/// `dst = ptr op scalar`; `scalar_is_dst` when the pointer is the second operand.
pub(super) fn adjust_ptr_min_max_vals(
    env: &mut Env<'_>,
    insn: Alu,
    ptr: RegState,
    off: RegState,
    scalar_is_dst: bool,
) -> Check {
    let mut dst = *env.reg(insn.dst);
    let known = off.var_off.is_const();
    if (known && (off.smin != off.smax || off.umin != off.umax))
        || off.smin > off.smax
        || off.umin > off.umax
    {
        // Bounds that contradict each other come from a path that cannot happen.
        dst.mark_unknown(env.bpf_capable);
        *env.reg_mut(insn.dst) = dst;
        return Ok(());
    }
    if insn.width == Width::W32 {
        if insn.op == AluCode::Sub && env.allow_ptr_leaks {
            dst.mark_unknown(env.bpf_capable);
            *env.reg_mut(insn.dst) = dst;
            return Ok(());
        }
        verbose!(env, "R{} 32-bit pointer arithmetic prohibited\n", insn.dst.0);
        refuse(env, insn, &ptr, scalar_is_dst, &words::NARROW_ARITHMETIC);
        return Err(Errno::EACCES.into());
    }
    let whole = env.kernel.features.pointer_offset_whole;
    if whole && scalar_is_dst {
        dst = ptr;
    }
    if !check_pointer_type(env, insn, &ptr, &off, scalar_is_dst)? {
        *env.reg_mut(insn.dst) = dst;
        return Ok(());
    }
    let copied = scalar_is_dst && env.kernel.features.pointer_copied_whole;
    if copied {
        dst = ptr;
    }
    dst.ty = ptr.ty;
    dst.id = ptr.id;
    // Where the scalar is the destination, it has the pointer's type by now; only offset and bounds matter.
    if whole {
        if let Err(stop) = check_reg_sane_offset(env, &off, 0, ptr.ty) {
            refuse(env, insn, &ptr, scalar_is_dst, &words::SCALAR_TOO_FAR);
            return Err(stop);
        }
        if let Err(stop) = check_sane_pointer(env, &ptr, ptr.ty) {
            refuse(env, insn, &ptr, scalar_is_dst, &words::POINTER_TOO_FAR);
            return Err(stop);
        }
    } else {
        check_reg_sane_offset(env, &off, off.off, ptr.ty)?;
        check_reg_sane_offset(env, &ptr, ptr.off, ptr.ty)?;
    }
    if !env.kernel.features.speculation_keeps_halves {
        dst.mark_unbounded32();
    }
    let mut sanitizer = Sanitizer::new(insn, !scalar_is_dst);
    sanitizer.before(env, &ptr, &off, &dst)?;
    dst.mark_unbounded32();
    match insn.op {
        AluCode::Add if whole => move_whole(env, &mut dst, &ptr, &off, false),
        AluCode::Add => add(env, &mut dst, &ptr, &off),
        AluCode::Sub => {
            if scalar_is_dst {
                verbose!(env, "R{} tried to subtract pointer from scalar\n", insn.dst.0);
                refuse(env, insn, &ptr, scalar_is_dst, &words::POINTER_SUBTRACTED);
                return Err(Errno::EACCES.into());
            }
            if ptr.ty == RegBase::Stack {
                verbose!(env, "R{} subtraction from stack pointer prohibited\n", insn.dst.0);
                refuse(env, insn, &ptr, scalar_is_dst, &words::STACK_SUBTRACTION);
                return Err(Errno::EACCES.into());
            }
            if whole {
                move_whole(env, &mut dst, &ptr, &off, true);
            } else {
                sub(env, &mut dst, &ptr, &off);
            }
        }
        AluCode::And | AluCode::Or | AluCode::Xor => {
            verbose!(
                env,
                "R{} bitwise operator {} on pointer prohibited\n",
                insn.dst.0,
                insn.operator()
            );
            refuse(env, insn, &ptr, scalar_is_dst, &words::POINTER_BITS);
            return Err(Errno::EACCES.into());
        }
        _ => {
            verbose!(
                env,
                "R{} pointer arithmetic with {} operator prohibited\n",
                insn.dst.0,
                insn.operator()
            );
            refuse(env, insn, &ptr, scalar_is_dst, &words::POINTER_OPERATOR);
            return Err(Errno::EACCES.into());
        }
    }
    let f = &env.kernel.features;
    if whole {
        if let Err(stop) = check_sane_pointer(env, &dst, ptr.ty) {
            refuse(env, insn, &ptr, scalar_is_dst, &words::RESULT_TOO_FAR);
            return Err(stop);
        }
    } else {
        check_reg_sane_offset(env, &dst, dst.off, ptr.ty)?;
    }
    let settled = is_pkt_pointer(dst.ty) && (off.var_off.is_const() || dst.range() > 0);
    if settled && f.packet_offset_kept {
        dst.learn_arc32_from_tnum();
    } else {
        dst.exchange(f);
    }
    *env.reg_mut(insn.dst) = dst;
    if let Some(src) = insn.src.filter(|_| copied) {
        copy_mark(env, src, insn.dst);
    }
    sanitizer.after(env, &dst)
}

/// Accesses by a pointer to flow keys do not see the variable part of its offset.
const QUIRK_FLOW_KEYS: &str = "flow-keys-at-any-offset";

/// A register takes over where another one came from, and whether that was written.
fn copy_mark(env: &mut Env<'_>, from: Reg, to: Reg) {
    let mark = env.frame().mark(At::Reg(from.0));
    if let Some(marks) = &mut env.frame_mut().marks {
        marks.regs[to.index()] = mark;
    }
}

/// Reports what is wrong with the operation.
fn refuse(env: &mut Env<'_>, insn: Alu, ptr: &RegState, scalar_is_dst: bool, wording: &Wording) {
    if env.diagnostics.is_none() {
        return;
    }
    let reg = if scalar_is_dst { insn.src.unwrap_or(insn.dst) } else { insn.dst };
    let (ty, exact) = (diagnostics::plain_type(env, ptr.ty), env.type_name(ptr.ty));
    let (at, limit) = (env.insn_idx, env.kernel.limits.max_var_off);
    let values: diagnostics::Values<'_> = &[
        ("reg", &reg.0),
        ("dst", &insn.dst.0),
        ("type", &ty),
        ("exact", &exact),
        ("limit", &limit),
        ("operator", &insn.operator()),
    ];
    diagnostics::report(env, at, wording, About::Reg(reg), values);
}

/// A pointer's offset is one arc and one tnum, constant or not: the scalar's are added.
fn move_whole(env: &mut Env<'_>, dst: &mut RegState, ptr: &RegState, off: &RegState, back: bool) {
    let known = off.var_off.is_const();
    dst.set_raw(ptr.raw());
    if back {
        dst.set_arc64(ptr.arc64().add(off.arc64().neg()));
        dst.var_off = ptr.var_off.sub(off.var_off);
    } else {
        dst.set_arc64(ptr.arc64().add(off.arc64()));
        dst.var_off = ptr.var_off.add(off.var_off);
    }
    if is_pkt_pointer(ptr.ty) {
        if !known {
            dst.id = env.new_id();
        }
        let forward = !back || off.smin < 0;
        if (!known && forward) || dst.range() < 0 {
            dst.set_raw([0; 2]);
        }
    }
}

/// A pointer before or after it is moved (`check_reg_sane_offset_ptr`).
fn check_sane_pointer(env: &mut Env<'_>, reg: &RegState, ty: RegType) -> Check {
    let name = env.type_name(ty);
    let limit = env.kernel.limits.max_var_off as i64;
    let beyond = |v: i64| v >= limit || v <= -limit;
    let value = reg.var_off.value as i64;
    if reg.var_off.is_const() && beyond(value) {
        verbose!(env, "{name} pointer offset {value} is not allowed\n");
    } else if beyond(reg.smin) {
        verbose!(env, "{name} pointer offset {} is not allowed\n", reg.smin);
    } else {
        return Ok(());
    }
    Err(Errno::EINVAL.into())
}

/// Whether this type of pointer may be moved; false where the operation has no effect.
fn check_pointer_type(
    env: &mut Env<'_>,
    insn: Alu,
    ptr: &RegState,
    off: &RegState,
    scalar_is_dst: bool,
) -> Check<bool> {
    if ptr.ty.may_be_null() && !mutation::has(Mutation::Cve2022_23222) {
        verbose!(
            env,
            "R{} pointer arithmetic on {} prohibited, null-check it first\n",
            insn.dst.0,
            env.type_name(ptr.ty)
        );
        refuse(env, insn, ptr, scalar_is_dst, &words::NULLABLE_ARITHMETIC);
        return Err(Errno::EACCES.into());
    }
    let untrusted_mem = ptr.base() == RegBase::Mem && ptr.ty.has(TypeFlags::PTR_UNTRUSTED);
    if untrusted_mem {
        return Ok(false);
    }
    let known = off.var_off.is_const();
    let adds_nothing = known && off.smin == 0 && insn.op == AluCode::Add;
    let allowed = match ptr.base() {
        RegBase::Ctx
        | RegBase::MapValue
        | RegBase::MapKey
        | RegBase::Stack
        | RegBase::PacketMeta
        | RegBase::Packet
        | RegBase::TpBuffer
        | RegBase::BtfId
        | RegBase::Mem
        | RegBase::Buf
        | RegBase::Func
        | RegBase::ConstDynptr => true,
        RegBase::FlowKeys => known || !env.kernel.features.flow_keys_unmoved,
        RegBase::ConstMapPtr => adds_nothing,
        _ => false,
    };
    if allowed && ptr.ty == RegBase::FlowKeys && !known {
        env.quirk = env.quirk.or(Some(QUIRK_FLOW_KEYS));
    }
    if !allowed {
        verbose!(
            env,
            "R{} pointer arithmetic on {} prohibited\n",
            insn.dst.0,
            env.type_name(ptr.ty)
        );
        refuse(env, insn, ptr, scalar_is_dst, &words::FIXED_POINTER);
        return Err(Errno::EACCES.into());
    }
    Ok(true)
}

fn is_pkt_pointer(ty: RegType) -> bool {
    matches!(ty.base(), RegBase::Packet | RegBase::PacketMeta)
}

/// The fixed offset after adding a known `delta`, if it fits.
fn fixed_offset(ptr: &RegState, off: &RegState, delta: impl Fn(i64, i64) -> i64) -> Option<i32> {
    if !off.var_off.is_const() {
        return None;
    }
    i32::try_from(delta(ptr.off as i64, off.smin)).ok()
}

fn keep_variable_part(dst: &mut RegState, ptr: &RegState) {
    dst.set_s64(ptr.smin, ptr.smax);
    dst.set_u64(ptr.umin, ptr.umax);
    dst.var_off = ptr.var_off;
    dst.set_raw(ptr.raw());
}

fn add(env: &mut Env<'_>, dst: &mut RegState, ptr: &RegState, off: &RegState) {
    if let Some(sum) = fixed_offset(ptr, off, i64::wrapping_add) {
        keep_variable_part(dst, ptr);
        dst.off = sum;
        return;
    }
    let signed = ptr.smin.checked_add(off.smin).zip(ptr.smax.checked_add(off.smax));
    let unsigned = ptr.umin.checked_add(off.umin).zip(ptr.umax.checked_add(off.umax));
    (dst.smin, dst.smax) = signed.unwrap_or((i64::MIN, i64::MAX));
    (dst.umin, dst.umax) = unsigned.unwrap_or((0, u64::MAX));
    dst.var_off = ptr.var_off.add(off.var_off);
    dst.off = ptr.off;
    dst.set_raw(ptr.raw());
    if is_pkt_pointer(ptr.ty) {
        dst.id = env.new_id();
        dst.set_raw([0; 2]);
    }
}

fn sub(env: &mut Env<'_>, dst: &mut RegState, ptr: &RegState, off: &RegState) {
    if let Some(difference) = fixed_offset(ptr, off, i64::wrapping_sub) {
        keep_variable_part(dst, ptr);
        dst.id = ptr.id;
        dst.off = difference;
        return;
    }
    let signed = ptr.smin.checked_sub(off.smax).zip(ptr.smax.checked_sub(off.smin));
    (dst.smin, dst.smax) = signed.unwrap_or((i64::MIN, i64::MAX));
    if ptr.umin < off.umax {
        dst.set_u64(0, u64::MAX);
    } else {
        dst.set_u64(ptr.umin - off.umax, ptr.umax.wrapping_sub(off.umin));
    }
    dst.var_off = ptr.var_off.sub(off.var_off);
    dst.off = ptr.off;
    dst.set_raw(ptr.raw());
    if is_pkt_pointer(ptr.ty) {
        dst.id = env.new_id();
        // Going back by a non-negative amount keeps the proved range.
        if off.smin < 0 {
            dst.set_raw([0; 2]);
        }
    }
}

/// Offset, pointer and result must each stay clear of overflow; four complaints.  `fixed` is the constant part, 0 where
/// offsets are whole (`check_reg_sane_offset_scalar`).
fn check_reg_sane_offset(env: &mut Env<'_>, reg: &RegState, fixed: i32, ty: RegType) -> Check {
    let name = env.type_name(ty);
    let limit = env.kernel.limits.max_var_off as i64;
    let beyond = |v: i64| v >= limit || v <= -limit;
    let value = reg.var_off.value as i64;
    if reg.var_off.is_const() && beyond(value) {
        verbose!(env, "math between {name} pointer and {value} is not allowed\n");
    } else if beyond(fixed.into()) {
        verbose!(env, "{name} pointer offset {fixed} is not allowed\n");
    } else if reg.smin == i64::MIN {
        verbose!(
            env,
            "math between {name} pointer and register with unbounded min value is not allowed\n"
        );
    } else if beyond(reg.smin) {
        verbose!(env, "value {} makes {name} pointer be out of bounds\n", reg.smin);
    } else {
        return Ok(());
    }
    Err(Errno::EINVAL.into())
}
