//! Bounded memory: map keys and values, memory of known size, buffers, and pointers that
//! must be used as they came (`check_mem_region_access`, `check_buffer_access`, `check_ptr_off_reg`).

use bpfassay_isa::Reg;
use bpfassay_spec::{RegBase, TypeFlags};

use crate::diagnostics::{self, Deref};
use crate::domain::reg::RegState;
use crate::env::Env;
use crate::log::state::print_verifier_state;
use crate::stop::{Check, Errno};
use crate::verbose;

/// `[off, off + size)` lies in `[0, mem_size)` (`__check_mem_access`).
pub(super) fn check_fixed(
    env: &mut Env<'_>,
    r: Reg,
    off: i32,
    size: i32,
    mem_size: u32,
    zero_size_allowed: bool,
) -> Check {
    let size_ok = size > 0 || size == 0 && zero_size_allowed;
    if off >= 0 && size_ok && off as u64 + size as u64 <= mem_size as u64 {
        return Ok(());
    }
    let reg = *env.reg(r);
    // Only exact types have a text of their own; a type with flags is "memory".
    let base = if reg.flags().is_empty() { reg.base() } else { RegBase::Mem };
    match base {
        RegBase::MapKey => verbose!(
            env,
            "invalid access to map key, key_size={} off={off} size={size}\n",
            mem_size as i32
        ),
        RegBase::MapValue => verbose!(
            env,
            "invalid access to map value, value_size={} off={off} size={size}\n",
            mem_size as i32
        ),
        RegBase::Packet | RegBase::PacketMeta | RegBase::PacketEnd => verbose!(
            env,
            "invalid access to packet, off={off} size={size}, R{}(id={},off={off},r={})\n",
            r.0,
            reg.id as i32,
            mem_size as i32
        ),
        RegBase::Ctx if env.kernel.features.pointer_offset_whole => verbose!(
            env,
            "invalid access to context, ctx_size={} off={off} size={size}\n",
            mem_size as i32
        ),
        _ => verbose!(env, "invalid access to memory, mem_size={mem_size} off={off} size={size}\n"),
    }
    Err(Errno::EACCES.into())
}

/// "May be negative", with the advice the kernel gives everywhere.
pub(super) fn reject_negative_min(env: &mut Env<'_>, r: Reg) -> Check {
    verbose!(
        env,
        "R{} min value is negative, either use unsigned index or do a if (index >=0) check.\n",
        r.0
    );
    Err(Errno::EACCES.into())
}

/// Access at a possibly variable offset: both ends must lie inside (`check_mem_region_access`).
/// `off` includes the register's fixed offset.
pub(super) fn check_mem_region_access(
    env: &mut Env<'_>,
    r: Reg,
    off: i32,
    size: i32,
    mem_size: u32,
    zero_size_allowed: bool,
) -> Check {
    if !env.kernel.features.states_beside_insns && env.log.level.prints_insns() {
        let frame = env.cur.curframe();
        print_verifier_state(env, frame, true);
    }
    let reg = *env.reg(r);
    let lowest = reg.smin.wrapping_add(off as i64);
    let access = (off, size, mem_size);
    let start = || diagnostics::sum(reg.smin, off);
    if reg.smin < 0 && (reg.smin == i64::MIN || lowest != lowest as i32 as i64 || lowest < 0) {
        let outcome = reject_negative_min(env, r);
        let proof =
            format!("the minimal bound for a memory access is a negative value: {}", start());
        diagnostics::report_bounds(env, r, &reg, &proof, access);
        return outcome;
    }
    if let Err(e) = check_fixed(env, r, lowest as i32, size, mem_size, zero_size_allowed) {
        verbose!(env, "R{} min value is outside of the allowed memory range\n", r.0);
        let proof = format!(
            "the minimal bound for a memory access is {} and is outside of the object of size {mem_size}",
            start()
        );
        diagnostics::report_bounds(env, r, &reg, &proof, access);
        return Err(e);
    }
    if reg.umax >= u64::from(env.kernel.limits.max_var_off) {
        verbose!(
            env,
            "R{} unbounded memory access, make sure to bounds check any such access\n",
            r.0
        );
        let proof = format!(
            "the maximal bound for a memory access is {} and exceeds maximum allowed offset of {}",
            reg.umax, env.kernel.limits.max_var_off
        );
        diagnostics::report_bounds(env, r, &reg, &proof, access);
        return Err(Errno::EACCES.into());
    }
    let highest = reg.umax.wrapping_add(off as i64 as u64) as i32;
    if let Err(e) = check_fixed(env, r, highest, size, mem_size, zero_size_allowed) {
        verbose!(env, "R{} max value is outside of the allowed memory range\n", r.0);
        let from = reg.umax as i64 + i64::from(off);
        let proof = format!(
            "the maximal bound for a memory access is {}: start {from} + access_size {size}, beyond object_size {mem_size}",
            from + i64::from(size)
        );
        diagnostics::report_bounds(env, r, &reg, &proof, access);
        return Err(e);
    }
    Ok(())
}

/// The pointer has not been moved (`__check_ptr_off_reg`); a fixed positive offset may be allowed.
pub fn check_ptr_off_reg_fixed_ok(
    env: &mut Env<'_>,
    reg: &RegState,
    r: Reg,
    fixed_off_ok: bool,
) -> Check {
    let name = env.type_name(reg.ty);
    if env.kernel.features.pointer_offset_whole {
        let off = reg.var_off.value as i64;
        if !reg.var_off.is_const() {
            verbose!(
                env,
                "variable {name} access var_off={} disallowed\n",
                env.tnum_text(reg.var_off)
            );
        } else if reg.smin < 0 {
            verbose!(env, "negative offset {name} ptr R{} off={off} disallowed\n", r.0);
        } else if !fixed_off_ok && off != 0 {
            verbose!(env, "dereference of modified {name} ptr R{} off={off} disallowed\n", r.0);
            let at = env.insn_idx;
            diagnostics::report_deref(env, at, r, reg, Deref::Modified(off));
        } else {
            return Ok(());
        }
        return Err(Errno::EACCES.into());
    }
    if reg.off < 0 && env.kernel.features.negative_offset_named {
        verbose!(env, "negative offset {name} ptr R{} off={} disallowed\n", r.0, reg.off);
    } else if !fixed_off_ok && reg.off != 0 {
        verbose!(env, "dereference of modified {name} ptr R{} off={} disallowed\n", r.0, reg.off);
    } else if !reg.var_off.is_const() || reg.var_off.value != 0 {
        verbose!(env, "variable {name} access var_off={} disallowed\n", env.tnum_text(reg.var_off));
    } else {
        return Ok(());
    }
    Err(Errno::EACCES.into())
}

/// The pointer is as it was handed out (`check_ptr_off_reg`).
pub fn check_ptr_off_reg(env: &mut Env<'_>, reg: &RegState, r: Reg) -> Check {
    check_ptr_off_reg_fixed_ok(env, reg, r, false)
}

/// Buffers whose size is known only when the program is attached (`__check_buffer_access`).
fn check_unsized(env: &mut Env<'_>, word: &str, r: Reg, off: i32, size: i32) -> Check {
    let reg = *env.reg(r);
    if env.kernel.features.pointer_offset_whole {
        let at = reg.var_off.value as i64;
        if !reg.var_off.is_const() {
            verbose!(
                env,
                "R{} invalid variable buffer offset: off={off}, var_off={}\n",
                r.0,
                reg.var_off
            );
        } else if at.wrapping_add(off.into()) < 0 {
            verbose!(
                env,
                "R{} invalid negative {word} buffer offset: off={off}, var_off={at}\n",
                r.0
            );
        } else {
            return Ok(());
        }
        return Err(Errno::EACCES.into());
    }
    if off < 0 {
        verbose!(env, "R{} invalid {word} buffer access: off={off}, size={size}\n", r.0);
        return Err(Errno::EACCES.into());
    }
    if !reg.var_off.is_const() || reg.var_off.value != 0 {
        verbose!(
            env,
            "R{} invalid variable buffer offset: off={off}, var_off={}\n",
            r.0,
            reg.var_off
        );
        return Err(Errno::EACCES.into());
    }
    Ok(())
}

/// Context of a writable raw tracepoint (`check_tp_buffer_access`).
pub(super) fn check_tp_buffer_access(env: &mut Env<'_>, r: Reg, off: i32, size: i32) -> Check {
    check_unsized(env, "tracepoint", r, off, size)
}

/// PTR_TO_BUF (`check_buffer_access`).
pub(super) fn check_buffer_access(env: &mut Env<'_>, r: Reg, off: i32, size: i32) -> Check {
    let word = if env.reg(r).ty.has(TypeFlags::MEM_RDONLY) { "rdonly" } else { "rdwr" };
    check_unsized(env, word, r, off, size)
}
