//! Precision backtracking (`mark_chain_precision`, `kernel/bpf/backtrack.c` of 7.x).

use bpfassay_isa::Reg;

use crate::env::Env;
use crate::stop::Check;

/// Marks the scalar in `reg` precise along the path that made it.
pub fn mark_chain_precision(_env: &mut Env<'_>, _reg: Reg) -> Check {
    Ok(())
}
