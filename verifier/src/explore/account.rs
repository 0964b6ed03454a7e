//! Instructions processed by subprogram, which 7.3 prints (`account_processed_insn` and its kin).

use bpfassay_spec::Limits;

use crate::domain::state::VerifierState;
use crate::env::{Env, SubprogInfo};

/// What the current path has processed in each of its frames and is not yet part of a total.
#[derive(Debug, Default)]
pub struct Account {
    /// Statistics are asked for, and show it.
    pub is_on: bool,
    frames: [u32; Limits::MOST.max_call_frames as usize + 1],
}

impl Account {
    /// Nothing counted yet.
    pub fn new(is_on: bool) -> Account {
        Account { is_on, ..Account::default() }
    }

    /// Counts one instruction of the innermost frame.
    pub fn count(&mut self, subprogs: &mut [SubprogInfo], state: &VerifierState) {
        let frame = state.cur();
        if let Some(n) = self.frames.get_mut(frame.frameno as usize) {
            *n += 1;
        }
        subprogs[frame.subprogno as usize].insns_self += 1;
    }

    /// The innermost frame is left: its caller has processed what it has.
    pub fn leave(&mut self, subprogs: &mut [SubprogInfo], state: &VerifierState, frame: u32) {
        let at = frame as usize;
        let Some(insns) = self.frames.get_mut(at).map(std::mem::take) else { return };
        subprogs[state.frame(frame).subprogno as usize].insns_total += insns;
        if let Some(caller) = at.checked_sub(1) {
            self.frames[caller] += insns;
        }
    }
}

/// The current path has ended: all of its frames are left (`account_current_path`).
pub fn end_path(env: &mut Env<'_>) {
    for frame in (0..=env.cur.curframe()).rev() {
        env.explore.account.leave(&mut env.subprogs, &env.cur, frame);
    }
}
