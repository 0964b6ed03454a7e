//! Stack slot liveness (`kernel/bpf/liveness.c`).

use super::scc::frame_insn_idx;
use crate::domain::state::StateId;
use crate::env::Env;
use crate::stop::Check;

/// Read and write marks per call chain and instruction.
#[derive(Debug, Default)]
pub struct Liveness {}

/// `bpf_stack_liveness_init`.
pub fn init(_env: &mut Env<'_>) {}

/// Instruction `insn_idx` of frame `frameno` may read the slots in `mask` (`bpf_mark_stack_read`).
pub fn mark_stack_read(_env: &mut Env<'_>, _frameno: u32, _insn_idx: u32, _mask: u64) -> Check {
    Ok(())
}

/// The current instruction writes the slots in `mask` for certain (`bpf_mark_stack_write`).
pub fn mark_stack_write(_env: &mut Env<'_>, _frameno: u32, _mask: u64) {}

/// `bpf_reset_stack_write_marks`.
pub fn reset_stack_write_marks(_env: &mut Env<'_>, _insn_idx: u32) -> Check {
    Ok(())
}

/// `bpf_commit_stack_write_marks`.
pub fn commit_stack_write_marks(_env: &mut Env<'_>) -> Check {
    Ok(())
}

/// A path has ended: marks flow back (`bpf_update_live_stack`).
pub fn update_live_stack(_env: &mut Env<'_>) -> Check {
    Ok(())
}

/// Forgets the registers and slots of a finished state that nothing reads any more (`clean_verifier_state`).
pub fn clean_verifier_state(env: &mut Env<'_>, id: StateId) {
    let capable = env.bpf_capable;
    let Some(e) = env.explore.states.get_mut(id) else { return };
    let st = &mut e.state;
    st.cleaned = true;
    for f in 0..=st.curframe() {
        let ip = frame_insn_idx(st, f);
        let live = env.aux.get(ip as usize).map_or(u16::MAX, |a| a.live_regs_before);
        for (i, r) in st.frame_mut(f).regs[..10].iter_mut().enumerate() {
            if live & (1 << i) == 0 {
                r.mark_not_init(capable);
            }
        }
    }
}
