//! Setting whole registers of the current state (`mark_reg_unknown`, `init_reg_state` and their kin),
//! and what a register becomes once it is known not to be null.

use bpfassay_isa::Reg;
use bpfassay_spec::{Kernel, MapLookup, RegBase, RegType, TypeFlags};

use crate::check::btf_record::FieldKinds;
use crate::domain::reg::{BtfObj, DynptrType, RegState, DEF_NOT_SUBREG};
use crate::domain::state::FuncState;
use crate::env::{Env, MapInfo};
use crate::stop::{Check, Errno};
use crate::verbose;

/// `r` becomes a scalar of any value (`mark_reg_unknown`).
pub fn mark_reg_unknown(env: &mut Env<'_>, r: Reg) {
    let capable = env.bpf_capable;
    env.reg_mut(r).mark_unknown(capable);
}

/// The same in a frame of any state.
pub fn mark_unknown_in(frame: &mut FuncState, r: Reg, bpf_capable: bool) {
    frame.reg_mut(r).mark_unknown(bpf_capable);
}

/// `r` becomes unreadable (`mark_reg_not_init`).
pub fn mark_reg_not_init(env: &mut Env<'_>, r: Reg) {
    let capable = env.bpf_capable;
    env.reg_mut(r).mark_not_init(capable);
}

/// `r` has no variable part, offset or ids; the caller sets the type (`mark_reg_known_zero`).
pub fn mark_reg_known_zero(env: &mut Env<'_>, r: Reg) {
    env.reg_mut(r).mark_known_zero();
}

/// Registers of a frame just entered: nothing readable but the frame pointer (`init_reg_state`).
pub fn init_reg_state(frame: &mut FuncState, bpf_capable: bool) {
    for reg in frame.regs.iter_mut() {
        reg.mark_not_init(bpf_capable);
        reg.subreg_def = DEF_NOT_SUBREG;
    }
    let frameno = frame.frameno;
    let fp = frame.reg_mut(Reg::R10);
    fp.ty = RegType::of(RegBase::Stack);
    fp.mark_known_zero();
    fp.frameno = frameno;
}

/// What a load through BTF puts into `r` (`mark_btf_ld_reg`).
pub fn mark_btf_ld_reg(
    env: &mut Env<'_>,
    r: Reg,
    base: RegBase,
    btf: BtfObj,
    btf_id: u32,
    flags: TypeFlags,
) -> Check {
    match base {
        RegBase::Scalar => mark_reg_unknown(env, r),
        RegBase::BtfId => {
            let id =
                if flags.intersects(TypeFlags::PTR_MAYBE_NULL) { Some(env.new_id()) } else { None };
            let reg = env.reg_mut(r);
            reg.mark_known_zero();
            reg.ty = RegType::with(RegBase::BtfId, flags);
            reg.set_btf(btf, btf_id);
            if let Some(id) = id {
                reg.id = id;
            }
        }
        RegBase::Mem => {
            let reg = env.reg_mut(r);
            reg.mark_known_zero();
            reg.ty = RegType::with(RegBase::Mem, flags);
            reg.set_mem_size(0);
        }
        other => {
            verbose!(
                env,
                "verifier bug: unexpected reg_type {} in mark_btf_ld_reg\n\n",
                other as u32
            );
            return Err(Errno::EFAULT.into());
        }
    }
    Ok(())
}

/// A dynptr: a stack slot, or the argument of a callback (`__mark_dynptr_reg`).
pub fn mark_dynptr_reg(reg: &mut RegState, ty: DynptrType, first_slot: bool, dynptr_id: u32) {
    reg.mark_known_zero();
    reg.ty = RegType::of(RegBase::ConstDynptr);
    reg.id = dynptr_id;
    reg.set_dynptr(ty, first_slot);
}

/// The pointer in `reg` is not null: looked-up map values become what the map holds, other types
/// lose the flag (`mark_ptr_not_null_reg`).
pub fn mark_ptr_not_null_reg(env: &Env<'_>, reg: &mut RegState) {
    mark_not_null(env.kernel, &env.maps, reg);
}

/// The same where the environment is borrowed otherwise.
pub fn mark_not_null(kernel: &Kernel, maps: &[MapInfo], reg: &mut RegState) {
    if reg.base() != RegBase::MapValue {
        reg.ty = reg.ty.minus(TypeFlags::PTR_MAYBE_NULL);
        return;
    }
    let Some(info) = reg.map().and_then(|m| maps.get(m.0 as usize)) else {
        reg.ty = RegType::of(RegBase::MapValue);
        return;
    };
    reg.ty = RegType::of(match kernel.map_use(info.def.map_type).map(|row| row.lookup) {
        _ if info.inner.is_some() => RegBase::ConstMapPtr,
        Some(MapLookup::XdpSock) => RegBase::XdpSock,
        Some(MapLookup::Socket) => RegBase::Socket,
        _ => RegBase::MapValue,
    });
    if let Some(inner) = info.inner {
        reg.set_map(inner);
        // Callbacks stored in an inner map must come from the same lookup.
        let timed = FieldKinds::TIMER | FieldKinds::WORKQUEUE | FieldKinds::TASK_WORK;
        let record = maps.get(inner.0 as usize).and_then(|m| m.record.as_ref());
        if record.is_some_and(|r| r.has(timed)) {
            reg.set_map_uid(reg.id);
        }
    }
}

/// The kernel's own sanity check after refining bounds (`reg_bounds_sanity_check`): says so, and
/// forgets the bounds; an error only under BPF_F_TEST_REG_INVARIANTS.
pub fn reg_bounds_sanity_check(env: &mut Env<'_>, reg: &mut RegState, place: &str) -> Check {
    let Some(what) = reg.bounds_violation().filter(|_| env.kernel.features.bounds_checked) else {
        return Ok(());
    };
    if env.kernel.features.circular_ranges {
        let (all, low) = (reg.arc64(), reg.arc32());
        verbose!(
            env,
            "verifier bug: REG INVARIANTS VIOLATION ({place}): {what} r64={{.base={:#x}, .size={:#x}}} \
             r32={{.base={:#x}, .size={:#x}}} var_off=({:#x}, {:#x})\n",
            all.base,
            all.len,
            low.base,
            low.len,
            reg.var_off.value,
            reg.var_off.mask
        );
        return settle_violation(env, reg);
    }
    verbose!(
        env,
        "verifier bug: REG INVARIANTS VIOLATION ({place}): {what} u64=[{:#x}, {:#x}] s64=[{:#x}, {:#x}] \
         u32=[{:#x}, {:#x}] s32=[{:#x}, {:#x}] var_off=({:#x}, {:#x})\n",
        reg.umin,
        reg.umax,
        reg.smin,
        reg.smax,
        reg.u32_min,
        reg.u32_max,
        reg.s32_min,
        reg.s32_max,
        reg.var_off.value,
        reg.var_off.mask
    );
    settle_violation(env, reg)
}

fn settle_violation(env: &Env<'_>, reg: &mut RegState) -> Check {
    if env.test_reg_invariants {
        return Err(Errno::EFAULT.into());
    }
    reg.mark_unbounded();
    Ok(())
}
