//! Memory handed to helpers, kfuncs and global functions (`check_helper_mem_access`,
//! `check_mem_size_reg`, `check_mem_reg`).

use bpfassay_isa::{Reg, Size};
use bpfassay_spec::{ProgType, RegBase, RegType, TypeFlags};

use super::btf_access::check_ptr_to_btf_access;
use super::callinfo::CallMeta;
use super::map_value::{check_map_access, check_map_access_type, map_of, AccessSrc};
use super::mem::{cannot_write, check_mem_access};
use super::packet::check_packet_access;
use super::region::{check_buffer_access, check_mem_region_access};
use super::stack::{register_is_null, StackAccess};
use super::stack_range::check_stack_range_initialized;
use super::Access;
use crate::domain::reg::RegState;
use crate::env::Env;
use crate::explore::precision::mark_chain_precision;
use crate::stop::{Check, Errno};
use crate::transfer::mark::mark_ptr_not_null_reg;
use crate::verbose;

/// Memory of `access_size` bytes at `r` handed to a helper or kfunc.
pub fn check_helper_mem_access(
    env: &mut Env<'_>,
    r: Reg,
    access_size: i32,
    access: Access,
    zero_size_allowed: bool,
    meta: Option<&mut CallMeta>,
) -> Check {
    let reg = *env.reg(r);
    let off = reg.off;
    let forbidden = access == Access::Write && reg.ty.has(TypeFlags::MEM_RDONLY);
    match reg.base() {
        RegBase::Packet | RegBase::PacketMeta => {
            check_packet_access(env, r, off, access_size, zero_size_allowed)
        }
        RegBase::MapKey => {
            if access == Access::Write {
                return cannot_write(env, &reg, r);
            }
            let key_size = env.map(map_of(&reg)?).def.key_size;
            check_mem_region_access(env, r, off, access_size, key_size, false)
        }
        RegBase::MapValue => {
            check_map_access_type(env, r, off, access_size, access)?;
            check_map_access(env, r, off, access_size, zero_size_allowed, AccessSrc::Helper)
        }
        RegBase::Mem | RegBase::Buf if forbidden => cannot_write(env, &reg, r),
        RegBase::Mem => {
            check_mem_region_access(env, r, off, access_size, reg.mem_size(), zero_size_allowed)
        }
        RegBase::Buf => check_buffer_access(env, r, off, access_size),
        RegBase::Stack => {
            let access = StackAccess::of_call(env, access);
            check_stack_range_initialized(env, r, off, access_size, zero_size_allowed, access, meta)
        }
        RegBase::BtfId if env.kernel.features.kernel_types_as_memory => {
            let access =
                if env.kernel.features.pointer_offset_whole { access } else { Access::Read };
            check_ptr_to_btf_access(env, r, off, access_size, access, None)
        }
        RegBase::Ctx
            if env.kernel.features.pointer_offset_whole && env.prog_type() == ProgType::Syscall =>
        {
            check_mem_region_access(env, r, off, access_size, u16::MAX.into(), zero_size_allowed)
        }
        RegBase::Ctx if env.kernel.features.pointer_offset_whole => expected_stack(env, r, &reg),
        RegBase::Ctx
            if !env.kernel.prog(env.prog.prog_type).is_some_and(|row| row.rewrites_ctx) =>
        {
            ctx_argument(env, r, access_size, access, zero_size_allowed)
        }
        _ if zero_size_allowed && access_size == 0 && register_is_null(&reg) => Ok(()),
        _ => expected_stack(env, r, &reg),
    }
}

fn expected_stack(env: &mut Env<'_>, r: Reg, reg: &RegState) -> Check {
    verbose!(env, "R{} type={} ", r.0, env.type_name(reg.ty));
    verbose!(env, "expected={}\n", env.type_name(RegType::of(RegBase::Stack)));
    Err(Errno::EACCES.into())
}

/// A context that is handed over as it is: its last byte must be accessible.
fn ctx_argument(
    env: &mut Env<'_>,
    r: Reg,
    access_size: i32,
    access: Access,
    zero_size_allowed: bool,
) -> Check {
    if access_size == 0 {
        return if zero_size_allowed { Ok(()) } else { Err(Errno::EACCES.into()) };
    }
    let idx = env.insn_idx;
    check_mem_access(env, idx, r, access_size - 1, Size::B, access, None, false, false)
}

/// A size argument in `r` and the memory argument in the register before it.
pub fn check_mem_size_reg(
    env: &mut Env<'_>,
    r: Reg,
    access: Access,
    zero_size_allowed: bool,
    meta: &mut CallMeta,
) -> Check {
    check_sized_mem(env, r, access, false, zero_size_allowed, meta)
}

/// As [`check_mem_size_reg`]; memory of which `both` is asked must be writable too.
fn check_sized_mem(
    env: &mut Env<'_>,
    r: Reg,
    access: Access,
    both: bool,
    zero_size_allowed: bool,
    meta: &mut CallMeta,
) -> Check {
    let reg = *env.reg(r);
    meta.msize_max_value = reg.umax;
    // A call that may fill less than all needs memory that is initialised already.
    let meta = if reg.var_off.is_const() { Some(meta) } else { None };
    if reg.smin < 0 {
        verbose!(env, "R{} min value is negative, either use unsigned or 'var &= const'\n", r.0);
        return Err(Errno::EACCES.into());
    }
    let named = env.kernel.features.zero_reads_named;
    let mem = Reg(r.0 - 1);
    let mut meta = meta;
    if reg.umin == 0 && !named {
        check_helper_mem_access(env, mem, 0, access, zero_size_allowed, meta.as_deref_mut())?;
    }
    if reg.umin == 0 && !zero_size_allowed && named {
        verbose!(
            env,
            "R{} invalid zero-sized read: u64=[{},{}]\n",
            r.0,
            reg.umin as i64,
            reg.umax as i64
        );
        return Err(Errno::EACCES.into());
    }
    if reg.umax >= u64::from(env.kernel.limits.max_var_size) {
        verbose!(
            env,
            "R{} unbounded memory access, use 'var &= const' or 'if (var < const)'\n",
            r.0
        );
        return Err(Errno::EACCES.into());
    }
    check_helper_mem_access(
        env,
        mem,
        reg.umax as i32,
        access,
        zero_size_allowed,
        meta.as_deref_mut(),
    )?;
    if both {
        let size = reg.umax as i32;
        check_helper_mem_access(env, mem, size, Access::Write, zero_size_allowed, meta)?;
    }
    mark_chain_precision(env, r)
}

/// Runs `check` with a register that may be null taken as not null; the register is put back after.
fn as_not_null(env: &mut Env<'_>, r: Reg, check: impl FnOnce(&mut Env<'_>) -> Check) -> Check {
    let saved: RegState = *env.reg(r);
    if !saved.ty.may_be_null() {
        return check(env);
    }
    let mut reg = saved;
    mark_ptr_not_null_reg(env, &mut reg);
    *env.reg_mut(r) = reg;
    let outcome = check(env);
    *env.reg_mut(r) = saved;
    outcome
}

/// A pointer argument of fixed size, readable and writable, or null (`check_mem_reg`).
pub fn check_mem_reg(env: &mut Env<'_>, r: Reg, mem_size: u32) -> Check {
    if register_is_null(env.reg(r)) {
        if env.kernel.features.null_memory_precise {
            return mark_chain_precision(env, r);
        }
        return Ok(());
    }
    if env.kernel.features.memory_sizes_signed && i32::try_from(mem_size).is_err() {
        verbose!(env, "R{} memory size {mem_size} is too large\n", r.0);
        return Err(Errno::EACCES.into());
    }
    as_not_null(env, r, |env| {
        let signed =
            env.kernel.features.static_stack_liveness && env.reg(r).base() == RegBase::Stack;
        let size = if signed { -(mem_size as i32) } else { mem_size as i32 };
        check_helper_mem_access(env, r, size, Access::Read, true, None)?;
        check_helper_mem_access(env, r, size, Access::Write, true, None)
    })
}

/// A size argument of a kfunc in `r`, its memory before it (`check_kfunc_mem_size_reg`).
pub fn check_kfunc_mem_size_reg(env: &mut Env<'_>, r: Reg) -> Check {
    let mut meta = CallMeta::default();
    let at_once = env.kernel.features.kfunc_args_by_prototype;
    as_not_null(env, Reg(r.0 - 1), |env| {
        if at_once {
            return check_sized_mem(env, r, Access::Read, true, true, &mut meta);
        }
        check_mem_size_reg(env, r, Access::Read, true, &mut meta)?;
        check_mem_size_reg(env, r, Access::Write, true, &mut meta)
    })
}
