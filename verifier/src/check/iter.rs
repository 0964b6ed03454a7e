//! Open-coded iterators (`process_iter_arg`, `process_iter_next_call`).

use bpfassay_isa::Reg;

use super::callinfo::KfuncMeta;
use crate::domain::reg::RegState;
use crate::env::Env;
use crate::stop::{Check, Stop};

/// The iterator argument of a new, next or destroy kfunc, or one marked `__iter`.
pub fn process_iter_arg(_env: &mut Env<'_>, _regno: Reg, _insn_idx: u32, _meta: &mut KfuncMeta) -> Check {
    Err(Stop::unsupported("iterators"))
}

/// Forks the path of a next kfunc: drained here, active in the branch.
pub fn process_iter_next_call(_env: &mut Env<'_>, _insn_idx: u32, _meta: &KfuncMeta) -> Check {
    Err(Stop::unsupported("iterators"))
}

/// The slot of the iterator argument (`get_iter_from_state`).
pub fn iter_slot(env: &Env<'_>, meta: &KfuncMeta) -> Check<RegState> {
    let slot = env.cur.frame(meta.iter_frameno).stack().get(meta.iter_spi as usize);
    slot.map(|s| s.spilled).ok_or_else(|| Stop::unsupported("iterator outside the stack"))
}
