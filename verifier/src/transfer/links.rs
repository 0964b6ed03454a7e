//! Linked registers: those that share a scalar id (`collect_linked_regs`, `sync_linked_regs`).

use bpfassay_isa::Reg;

use crate::domain::reg::RegState;
use crate::env::Env;

/// `assign_scalar_id_before_mov`: gives the source of a move or spill an id, unless it is a constant.
pub fn assign_scalar_id_before_mov(_env: &mut Env<'_>, _reg: &mut RegState) {}

/// Marks every register with the id of `ptr` null or not null on a branch (`mark_ptr_or_null_regs`).
pub fn mark_ptr_or_null_regs(_env: &mut Env<'_>, _reg: Reg, _is_null: bool) {}
