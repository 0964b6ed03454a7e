//! Dynptrs before 6.3: two slots of a kind of their own, which plain writes overwrite, reads do not mark and states
//! compare by kind (`mark_stack_slots_dynptr`, `is_dynptr_reg_valid_init` and their kin in 6.1).

use bpfassay_isa::Reg;
use bpfassay_spec::{ArgType, RegBase, TypeFlags};

use super::dynptr::{arg_dynptr_type, is_refcounted, SLOTS};
use super::refs::{acquire_reference, release_reference};
use super::stack_obj::{check_obj_write, spi_of};
use crate::domain::reg::{DynptrType, RegState};
use crate::domain::stack::SlotType;
use crate::env::Env;
use crate::log::names::dynptr_type_name;
use crate::stop::{Check, Errno};
use crate::transfer::mark::mark_dynptr_reg;
use crate::verbose;

/// A dynptr argument of a helper; its fixed offset alone says where it is.
pub(super) fn process(env: &mut Env<'_>, regno: Reg, insn_idx: u32, arg: ArgType) -> Check {
    let reg = *env.reg(regno);
    if reg.ty == RegBase::ConstDynptr {
        return Ok(());
    }
    let nth = format!("arg #{}", regno.0);
    let arg = arg.minus(TypeFlags::MEM_RDONLY);
    if arg.has(TypeFlags::MEM_UNINIT) {
        if slots_of(env, &reg).is_some_and(|spi| any_slot_is(env, &reg, spi)) {
            verbose!(env, "Dynptr has to be an uninitialized dynptr\n");
            return Err(Errno::EINVAL.into());
        }
        check_obj_write(env, insn_idx, regno, SLOTS)?;
        return make(env, &reg, arg, insn_idx);
    }
    let Some(spi) = initialized(env, &reg) else {
        verbose!(env, "Expected an initialized dynptr as {nth}\n");
        return Err(Errno::EINVAL.into());
    };
    let wanted = arg_dynptr_type(arg);
    let have = env.frame_of(&reg).stack()[spi].spilled.dynptr_type();
    if wanted != DynptrType::Invalid && have != wanted {
        verbose!(env, "Expected a dynptr of type {} as {nth}\n", dynptr_type_name(wanted));
        return Err(Errno::EINVAL.into());
    }
    Ok(())
}

/// Slot of the first half, if both are tracked.
fn slots_of(env: &Env<'_>, reg: &RegState) -> Option<usize> {
    let spi = usize::try_from(spi_of(reg.off)).ok()?;
    (spi >= 1 && spi < env.frame_of(reg).stack().len()).then_some(spi)
}

fn any_slot_is(env: &Env<'_>, reg: &RegState, spi: usize) -> bool {
    env.frame_of(reg).stack()[spi - 1..=spi].iter().any(|s| s.kind.contains(&SlotType::Dynptr))
}

/// Slot of an initialized dynptr's first half.
pub(super) fn initialized(env: &Env<'_>, reg: &RegState) -> Option<usize> {
    let spi = slots_of(env, reg)?;
    let slots = &env.frame_of(reg).stack()[spi - 1..=spi];
    let whole = slots.iter().all(|s| s.kind == [SlotType::Dynptr; 8]);
    (slots[1].spilled.dynptr_first_slot() && whole).then_some(spi)
}

fn make(env: &mut Env<'_>, reg: &RegState, arg: ArgType, insn_idx: u32) -> Check {
    let Some(spi) = slots_of(env, reg) else { return Err(Errno::EINVAL.into()) };
    let ty = arg_dynptr_type(arg);
    if ty == DynptrType::Invalid {
        return Err(Errno::EINVAL.into());
    }
    let id = if is_refcounted(ty) { acquire_reference(env, insn_idx) } else { 0 };
    for (s, first) in [(spi, true), (spi - 1, false)] {
        let slot = env.cur.frame_mut(reg.frameno).slot_mut(s);
        slot.kind = [SlotType::Dynptr; 8];
        mark_dynptr_reg(&mut slot.spilled, ty, first, 0);
        slot.spilled.ref_obj_id = id;
    }
    Ok(())
}

/// The dynptr is gone, and its reference with it.
pub(super) fn unmake(env: &mut Env<'_>, reg: &RegState) -> Check {
    let Some(spi) = slots_of(env, reg) else { return Err(Errno::EINVAL.into()) };
    let first = env.frame_of(reg).stack()[spi].spilled;
    if is_refcounted(first.dynptr_type()) {
        let _ = release_reference(env, first.ref_obj_id);
    }
    for s in [spi, spi - 1] {
        let slot = env.cur.frame_mut(reg.frameno).slot_mut(s);
        slot.kind = [SlotType::Invalid; 8];
        mark_dynptr_reg(&mut slot.spilled, DynptrType::Invalid, false, 0);
        slot.spilled.ref_obj_id = 0;
    }
    Ok(())
}

/// Reference that the dynptr at a pointer to the stack holds.
pub(super) fn reference(env: &Env<'_>, reg: &RegState) -> u32 {
    slots_of(env, reg).map_or(0, |spi| env.frame_of(reg).stack()[spi].spilled.ref_obj_id)
}
