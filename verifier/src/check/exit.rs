//! Leaving the program: return codes and what must not be held (`check_return_code`).

use bpfassay_isa::Reg;

use crate::env::Env;
use crate::stop::{Check, Stop};

/// Whether the value in `reg` is allowed as return value; `reg_name` is the word the log uses.
pub fn check_return_code(_env: &mut Env<'_>, _reg: Reg, _reg_name: &str) -> Check {
    Err(Stop::unsupported("exit"))
}
