//! Saved IRQ flags on the stack (`process_irq_flag`).

use bpfassay_isa::Reg;

use super::callinfo::KfuncMeta;
use crate::env::Env;
use crate::stop::{Check, Stop};

/// The flag argument of a save or restore kfunc.
pub fn process_irq_flag(_env: &mut Env<'_>, _regno: Reg, _meta: &KfuncMeta) -> Check {
    Err(Stop::unsupported("IRQ flags"))
}
