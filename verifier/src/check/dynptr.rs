//! Dynptrs: two stack slots that describe memory checked at run time (`process_dynptr_func`).

use bpfassay_isa::Reg;
use bpfassay_spec::ArgType;

use crate::domain::reg::{DynptrType, RegState};
use crate::env::Env;
use crate::stop::{Check, Stop};
use crate::transfer::mark::mark_dynptr_reg;

/// A dynptr argument, created or used by the call at `insn_idx` (None: of a global function).
pub fn process_dynptr_func(
    _env: &mut Env<'_>,
    _regno: Reg,
    _insn_idx: Option<u32>,
    _arg: ArgType,
    _clone_ref_obj_id: u32,
) -> Check {
    Err(Stop::unsupported("dynptr arguments"))
}

/// Slot of a dynptr's first half.
pub fn dynptr_get_spi(_env: &mut Env<'_>, _reg: &RegState) -> Check<u32> {
    Err(Stop::unsupported("dynptr arguments"))
}

/// Releases the dynptr and its reference.
pub fn unmark_stack_slots_dynptr(_env: &mut Env<'_>, _reg: &RegState) -> Check {
    Err(Stop::unsupported("dynptr arguments"))
}

/// Identity of the dynptr, which its slices carry.
pub fn dynptr_id(_env: &mut Env<'_>, _reg: &RegState) -> Check<u32> {
    Err(Stop::unsupported("dynptr arguments"))
}

/// Reference that the dynptr holds.
pub fn dynptr_ref_obj_id(_env: &mut Env<'_>, _reg: &RegState) -> Check<u32> {
    Err(Stop::unsupported("dynptr arguments"))
}

/// What the dynptr points to.
pub fn dynptr_get_type(_env: &mut Env<'_>, _reg: &RegState) -> DynptrType {
    DynptrType::Invalid
}

/// A dynptr that a callback receives (`mark_dynptr_cb_reg`).
pub fn mark_dynptr_cb_reg(env: &mut Env<'_>, reg: &mut RegState, ty: DynptrType) {
    let id = env.new_id();
    mark_dynptr_reg(reg, ty, true, id);
}
