//! 16-byte immediate loads (`check_ld_imm`).

use crate::env::Env;
use crate::stop::{Check, Stop};

/// The LD_IMM64 at `env.insn_idx`.
pub fn check_ld_imm(_env: &mut Env<'_>) -> Check {
    Err(Stop::unsupported("LD_IMM64"))
}
