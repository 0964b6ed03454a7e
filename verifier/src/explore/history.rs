//! The path of the current state, kept for backtracking (`push_jmp_history`).

use super::era::Precision;
use crate::domain::state::{HistoryEntry, INSN_F_STACK_ACCESS};
use crate::env::Env;
use crate::stop::Check;

/// The path's record has an entry for each time that it comes to this instruction.
pub fn is_recorded(env: &Env<'_>, idx: u32) -> bool {
    let aux = env.aux(idx);
    aux.jmp_point || aux.prune_point && !env.kernel.features.jumps_in_history
}

/// Adds the current instruction's entry, or merges into it.
pub fn push_jmp_history(env: &mut Env<'_>, insn_flags: u16, linked_regs: u64) -> Check {
    if insn_flags != 0 && env.explore.era.precision == Precision::Frame {
        // Nothing but jumps is recorded there.
        return Ok(());
    }
    if let Some(e) = env.cur_hist_ent.and_then(|i| env.cur.history.get_mut(i as usize)) {
        e.flags |= insn_flags;
        e.linked_regs = linked_regs;
        return Ok(());
    }
    env.cur_hist_ent = Some(env.cur.history.len() as u32);
    env.cur.history.push(HistoryEntry {
        idx: env.insn_idx,
        prev_idx: env.prev_insn_idx,
        flags: insn_flags,
        linked_regs,
    });
    Ok(())
}

/// `INSN_F_STACK_ACCESS` with frame and slot.
pub fn insn_stack_access_flags(frameno: u32, spi: u32) -> u16 {
    INSN_F_STACK_ACCESS | (spi as u16) << 4 | frameno as u16
}
