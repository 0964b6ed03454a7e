//! Stack memory handed to a helper, a kfunc or read at a variable offset
//! (`check_stack_range_initialized`).

use bpfassay_isa::Reg;
use bpfassay_spec::RegBase;

use super::callinfo::CallMeta;
use super::stack::{locate, StackAccess};
use super::stack_bounds::check_stack_access_within_bounds;
use crate::domain::reg::RegState;
use crate::domain::stack::SlotType;
use crate::env::Env;
use crate::explore::liveness::mark_stack_read;
use crate::stop::{Check, Errno};
use crate::verbose;

/// Every byte of the range is readable; a write makes it unknown.  In raw mode only
/// the bounds are checked and the range is left in `meta` for the caller to write.
pub(super) fn check_stack_range_initialized(
    env: &mut Env<'_>,
    ptr: Reg,
    off: i32,
    access_size: i32,
    zero_size_allowed: bool,
    access: StackAccess,
    meta: Option<&mut CallMeta>,
) -> Check {
    // A global function's own reads have been followed, its declared argument may be larger.
    let may_be_poisoned = access_size < 0 || access != StackAccess::Read;
    let statically = env.kernel.features.static_stack_liveness;
    let access_size = if statically { access_size.abs() } else { access_size };
    if access_size == 0 && !zero_size_allowed {
        verbose!(env, "invalid zero-sized read\n");
        return Err(Errno::EACCES.into());
    }
    check_stack_access_within_bounds(env, ptr, off, access_size, access)?;
    let reg = *env.reg(ptr);
    let fixed = reg.var_off.is_const();
    let (min_off, max_off) = if fixed {
        let at = (reg.var_off.value as i32).wrapping_add(off);
        (at, at)
    } else {
        if !env.bypass_spec_v1 {
            verbose!(
                env,
                "R{}{} variable offset stack access prohibited for !root, var_off={}\n",
                ptr.0,
                access.indirect(),
                reg.var_off
            );
            return Err(Errno::EACCES.into());
        }
        ((reg.smin as i32).wrapping_add(off), (reg.smax as i32).wrapping_add(off))
    };
    let end = max_off + access_size;
    // At a variable offset nobody knows which bytes the callee fills: they must be initialised already.
    match meta {
        Some(meta) if meta.raw_mode && fixed => {
            check_no_dynptr(env, &reg, min_off, end)?;
            meta.access_size = access_size;
            meta.regno = Some(ptr);
            Ok(())
        }
        _ => {
            for i in min_off..end {
                if !touch_byte(env, &reg, i, access)? {
                    let (spi, byte) = locate(i);
                    let slot = env.cur.frame(reg.frameno).stack().get(spi);
                    if slot.is_some_and(|s| s.kind[byte] == SlotType::Poison) {
                        if may_be_poisoned {
                            continue;
                        }
                        verbose!(
                            env,
                            "reading from stack R{} off {min_off}+{} size {access_size}, slot poisoned by dead code elimination\n",
                            ptr.0,
                            i - min_off
                        );
                        return Err(Errno::EACCES.into());
                    }
                    return invalid_read(
                        env,
                        ptr,
                        &reg,
                        min_off,
                        (i - min_off, access_size),
                        access,
                    );
                }
            }
            Ok(())
        }
    }
}

/// A raw buffer may reach beyond the tracked stack, but not into a dynptr.
fn check_no_dynptr(env: &mut Env<'_>, reg: &RegState, from: i32, to: i32) -> Check {
    // Where raw writes are checked, the write itself looks after it.
    if !env.kernel.features.dynptrs_tracked || env.kernel.features.raw_writes_checked {
        return Ok(());
    }
    for i in from..to {
        let (spi, byte) = locate(i);
        let slot = env.cur.frame(reg.frameno).stack().get(spi);
        if slot.is_some_and(|s| s.kind[byte] == SlotType::Dynptr) {
            verbose!(env, "potential write to dynptr at off={i} disallowed\n");
            return Err(Errno::EACCES.into());
        }
    }
    Ok(())
}

/// One byte of the range; false if it may not be read.
fn touch_byte(env: &mut Env<'_>, reg: &RegState, off: i32, access: StackAccess) -> Check<bool> {
    let frameno = reg.frameno;
    let (spi, byte) = locate(off);
    let Some(slot) = env.cur.frame(frameno).stack().get(spi) else {
        if !env.kernel.features.reads_grow_stack {
            return Ok(false);
        }
        verbose!(env, "allocated_stack too small\n");
        return Err(Errno::EFAULT.into());
    };
    let capable = env.bpf_capable;
    let clobber = access != StackAccess::Read;
    match slot.kind[byte] {
        SlotType::Misc => {}
        k if k == SlotType::Zero || k == SlotType::Invalid && env.allow_uninit_stack => {
            if clobber {
                env.cur.frame_mut(frameno).slot_mut(spi).kind[byte] = SlotType::Misc;
            }
        }
        _ if slot.is_spilled_reg()
            && slot.spilled.base() == RegBase::BtfId
            && !slot.spilled.ty.may_be_null()
            && !env.kernel.features.helpers_overwrite_kernel_pointers => {}
        _ if slot.is_spilled_reg() && (slot.spilled.is_scalar() || env.allow_ptr_leaks) => {
            if clobber {
                let slot = env.cur.frame_mut(frameno).slot_mut(spi);
                slot.spilled.mark_unknown(capable);
                slot.scrub();
            }
        }
        _ => return Ok(false),
    }
    let insn_idx = env.insn_idx;
    mark_stack_read(env, frameno, insn_idx, 1 << spi)?;
    Ok(true)
}

fn invalid_read(
    env: &mut Env<'_>,
    ptr: Reg,
    reg: &RegState,
    min_off: i32,
    (i, size): (i32, i32),
    access: StackAccess,
) -> Check {
    let (reg_no, off) = (ptr.0, reg.var_off);
    match (reg.var_off.is_const(), access == StackAccess::Indirect) {
        (true, true) => verbose!(
            env,
            "invalid indirect read from stack R{reg_no} off {min_off}+{i} size {size}\n"
        ),
        (true, false) => {
            verbose!(env, "invalid read from stack R{reg_no} off {min_off}+{i} size {size}\n");
        }
        (false, true) => verbose!(
            env,
            "invalid indirect read from stack R{reg_no} var_off {}+{i} size {size}\n",
            off
        ),
        (false, false) => {
            verbose!(env, "invalid read from stack R{reg_no} var_off {}+{i} size {size}\n", off);
        }
    }
    Err(Errno::EACCES.into())
}
