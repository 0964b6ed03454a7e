//! The path of the current state, kept for backtracking (`push_jmp_history`).

use crate::env::Env;
use crate::stop::Check;

/// Adds or merges the current instruction's entry.
pub fn push_jmp_history(_env: &mut Env<'_>, _insn_flags: u16, _linked_regs: u64) -> Check {
    Ok(())
}

/// `INSN_F_STACK_ACCESS` with frame and slot.
pub fn insn_stack_access_flags(frameno: u32, spi: u32) -> u16 {
    crate::domain::state::INSN_F_STACK_ACCESS | (spi as u16) << 3 | frameno as u16
}
