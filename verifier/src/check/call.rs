//! Calls: helpers, kfuncs, subprograms (`check_helper_call`, `check_kfunc_call`, `check_func_call`).

use crate::env::Env;
use crate::stop::{Check, Stop};

/// The call at `env.insn_idx`; a static call leaves the callee's entry minus one in `env.insn_idx`.
pub fn check_call(_env: &mut Env<'_>) -> Check {
    Err(Stop::unsupported("calls"))
}

/// Returns from the innermost frame (`prepare_func_exit`); leaves the next index in `env.insn_idx`.
pub fn prepare_func_exit(_env: &mut Env<'_>) -> Check {
    Err(Stop::unsupported("return from a subprogram"))
}
