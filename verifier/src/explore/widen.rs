//! Convergence of iterator, may_goto and callback loops (`find_prev_entry`, `widen_imprecise_scalars`).

use super::compare::{regs_exact, same_values};
use super::idmap::IdMap;
use super::prune::same_callsites;
use super::states::InBucket;
use crate::domain::reg::RegState;
use crate::domain::stack::SlotType;
use crate::domain::state::{StateId, VerifierState};
use crate::env::Env;
use crate::stop::Check;

/// The state that goes round the loop once more.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Looping {
    /// The branch pushed last, from the checkpoint the current state has just passed.
    Pushed,
    /// The current state itself, back at the call that runs the callback.
    Current,
}

/// The newest explored state of this path at `insn_idx` that `which` loops back from.
pub fn find_prev_entry(env: &Env<'_>, insn_idx: u32, which: Looping) -> Check<Option<StateId>> {
    let cur = match which {
        Looping::Current => Some(&env.cur),
        Looping::Pushed => env.cur.parent.and_then(|p| env.explore.state(p)),
    };
    let Some(cur) = cur else { return Ok(None) };
    let bucket = env.explore.states.bucket_of(insn_idx, &env.cur);
    let on_path = |known: &&InBucket| {
        known.insn_idx == insn_idx
            && env.explore.states.branches(known.id) > 0
            && env
                .explore
                .state(known.id)
                .is_some_and(|st| same_callsites(st, cur) && st.dfs_depth < cur.dfs_depth)
    };
    Ok(env.explore.states.bucket(bucket).iter().rev().find(on_path).map(|known| known.id))
}

/// Forgets the imprecise scalars that differ between `prev` and the looping state.
pub fn widen_imprecise_scalars(env: &mut Env<'_>, prev: StateId, which: Looping) -> Check {
    let capable = env.bpf_capable;
    let by_id = !env.kernel.features.widening_ignores_ids;
    let explore = &mut env.explore;
    let cur = match which {
        Looping::Current => Some(&mut env.cur),
        Looping::Pushed => explore.pending.last_mut().map(|p| &mut p.state),
    };
    if let (Some(old), Some(cur)) = (explore.states.get(prev), cur) {
        explore.idmap.reset(env.id_gen);
        let ids = by_id.then_some(&mut explore.idmap);
        widen(&old.state, cur, ids, capable);
    }
    Ok(())
}

fn widen(old: &VerifierState, cur: &mut VerifierState, mut ids: Option<&mut IdMap>, capable: bool) {
    let is_spilled = |k: &[SlotType; 8]| k[7] == SlotType::Spill;
    for f in (0..=old.curframe().min(cur.curframe())).rev() {
        for (i, o) in old.frame(f).regs.iter().enumerate() {
            if differs(o, &cur.frame(f).regs[i], ids.as_deref_mut()) {
                cur.frame_mut(f).regs[i].mark_unknown(capable);
            }
        }
        for (i, o) in old.frame(f).stack().iter().enumerate() {
            let Some(c) = cur.frame(f).stack().get(i) else { break };
            let both = is_spilled(&o.kind) && is_spilled(&c.kind);
            if both && differs(&o.spilled, &c.spilled, ids.as_deref_mut()) {
                cur.frame_mut(f).slot_mut(i).spilled.mark_unknown(capable);
            }
        }
    }
}

/// Scalars that nobody needs precisely, and that are not the same (`maybe_widen_reg`).
fn differs(old: &RegState, cur: &RegState, ids: Option<&mut IdMap>) -> bool {
    let both = old.is_scalar() && cur.is_scalar() && !old.precise && !cur.precise;
    both && !ids.map_or_else(|| same_values(old, cur), |ids| regs_exact(old, cur, ids))
}
