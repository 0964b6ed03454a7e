//! Atomic instructions (`check_atomic`).

use crate::env::Env;
use crate::stop::{Check, Stop};

/// The atomic, load-acquire or store-release at `env.insn_idx`.
pub fn check_atomic(_env: &mut Env<'_>) -> Check {
    Err(Stop::unsupported("atomics"))
}
