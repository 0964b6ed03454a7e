//! Conditional jumps (`check_cond_jmp_op`).

use crate::env::Env;
use crate::stop::{Check, Stop};

/// The conditional jump (or may_goto) at `env.insn_idx`; leaves the next index in `env.insn_idx`.
pub fn check_cond_jmp_op(_env: &mut Env<'_>) -> Check {
    Err(Stop::unsupported("conditional jumps"))
}
