//! ALU instructions (`check_alu_op`, `adjust_reg_min_max_vals`).

use crate::env::Env;
use crate::stop::{Check, Stop};

/// The ALU, move, swap or negate instruction at `env.insn_idx`.
pub fn check_alu_op(_env: &mut Env<'_>) -> Check {
    Err(Stop::unsupported("ALU instructions"))
}
