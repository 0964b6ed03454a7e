//! Visits of loops: which state entered a strongly connected component, and the paths that came
//! back into it before it was done (`struct bpf_scc_visit`).

use super::precision;
use super::states::update_peak_states;
use crate::domain::state::{StateId, VerifierState, MAX_CALL_FRAMES};
use crate::env::{Env, InsnAux};
use crate::stop::{Check, Errno};
use crate::{trace, verbose};

/// Call sites that lead to a component, and the component.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Callchain {
    callsites: [u32; MAX_CALL_FRAMES - 1],
    scc: u32,
}

impl std::fmt::Display for Callchain {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("(")?;
        for c in self.callsites.iter().take_while(|c| **c != 0) {
            write!(f, "{c},")?;
        }
        write!(f, "{})", self.scc)
    }
}

/// One entry into a component along one call chain.
#[derive(Debug)]
pub struct Visit {
    chain: Callchain,
    /// First state of the current path inside the component.
    entry: Option<StateId>,
    /// States that repeated an unfinished one, oldest first.
    pub backedges: Vec<VerifierState>,
}

/// Visits by component number.
#[derive(Debug, Default)]
pub struct SccVisits {
    visits: Vec<Vec<Visit>>,
}

impl SccVisits {
    /// Forgets all visits (`free_states`); `count` is `scc_cnt`.
    pub fn reset(&mut self, count: u32) {
        self.visits.clear();
        if count > 1 {
            self.visits.resize_with(count as usize, Vec::new);
        }
    }

    fn find(&self, chain: &Callchain) -> Option<usize> {
        self.visits.get(chain.scc as usize)?.iter().position(|v| v.chain == *chain)
    }

    fn get_mut(&mut self, chain: &Callchain) -> Option<&mut Visit> {
        self.visits.get_mut(chain.scc as usize)?.iter_mut().find(|v| v.chain == *chain)
    }

    /// No instruction is in a loop.
    #[inline]
    fn is_trivial(&self) -> bool {
        self.visits.is_empty()
    }
}

/// Instruction a frame of `st` stands at (`frame_insn_idx`).
#[inline]
pub fn frame_insn_idx(st: &VerifierState, frame: u32) -> u32 {
    if frame == st.curframe() {
        st.insn_idx
    } else {
        st.frame(frame + 1).callsite as u32
    }
}

/// The outermost frame that stands in a component decides.
fn callchain(aux: &[InsnAux], st: &VerifierState) -> Option<Callchain> {
    let mut chain = Callchain::default();
    for i in 0..=st.curframe() {
        let idx = frame_insn_idx(st, i);
        let scc = aux.get(idx as usize).map_or(0, |a| a.scc);
        if scc != 0 {
            chain.scc = scc;
            return Some(chain);
        }
        if i < st.curframe() {
            chain.callsites[i as usize] = idx;
        }
    }
    None
}

/// Precision marks below `st` may still come: it stands in a loop not all of whose paths are done.
pub fn incomplete_read_marks(env: &Env<'_>, st: &VerifierState) -> bool {
    let visits = &env.explore.scc;
    if visits.is_trivial() {
        return false;
    }
    let Some(chain) = callchain(&env.aux, st) else { return false };
    visits.find(&chain).is_some_and(|i| !visits.visits[chain.scc as usize][i].backedges.is_empty())
}

/// The new state `id` is in a component: remembers it as entry if there is none (`maybe_enter_scc`).
pub fn maybe_enter_scc(env: &mut Env<'_>, id: StateId) {
    if env.explore.scc.is_trivial() {
        return;
    }
    let Some(chain) = env.explore.state(id).and_then(|st| callchain(&env.aux, st)) else { return };
    let visits = &mut env.explore.scc;
    let visit = match visits.find(&chain) {
        Some(i) => &mut visits.visits[chain.scc as usize][i],
        None => {
            let list = &mut visits.visits[chain.scc as usize];
            list.push(Visit { chain, entry: None, backedges: Vec::new() });
            let last = list.len() - 1;
            &mut list[last]
        }
    };
    if visit.entry.is_none() {
        visit.entry = Some(id);
        if env.log.level.is_level2() {
            trace!(env, "SCC enter {}\n", chain);
        }
    }
}

/// All paths of a state are done; if it entered a component, marks flow over the backedges
/// (`maybe_exit_scc`).  `id` is None for the current state, which is never an entry.
pub fn maybe_exit_scc(env: &mut Env<'_>, id: Option<StateId>) -> Check {
    if env.explore.scc.is_trivial() {
        return Ok(());
    }
    let st = match id {
        Some(id) => env.explore.state(id),
        None => Some(&env.cur),
    };
    let Some(st) = st else { return Ok(()) };
    let speculative = st.speculative;
    let Some(chain) = callchain(&env.aux, st) else { return Ok(()) };
    let Some(visit) = env.explore.scc.get_mut(&chain) else {
        if speculative {
            return Ok(());
        }
        verbose!(env, "verifier bug: scc exit: no visit info for call chain {}\n", chain);
        return Err(Errno::EFAULT.into());
    };
    if id.is_none() || visit.entry != id {
        return Ok(());
    }
    visit.entry = None;
    let backedges = visit.backedges.len() as u32;
    if env.log.level.is_level2() {
        trace!(env, "SCC exit {}\n", chain);
    }
    env.explore.states.num_backedges -= backedges;
    update_peak_states(env);
    propagate_backedges(env, &chain)
}

/// `add_scc_backedge`: `state` repeats the unfinished explored state `equal`.
pub fn add_scc_backedge(env: &mut Env<'_>, equal: StateId, state: VerifierState) -> Check {
    let chain = env.explore.state(equal).and_then(|st| callchain(&env.aux, st));
    let Some(chain) = chain else {
        verbose!(
            env,
            "verifier bug: add backedge: no SCC in verification path, insn_idx {}\n",
            state.insn_idx
        );
        return Err(Errno::EFAULT.into());
    };
    let Some(visit) = env.explore.scc.get_mut(&chain) else {
        verbose!(env, "verifier bug: add backedge: no visit info for call chain {}\n", chain);
        return Err(Errno::EFAULT.into());
    };
    visit.backedges.push(state);
    if env.log.level.is_level2() {
        trace!(env, "SCC backedge {}\n", chain);
    }
    env.explore.states.num_backedges += 1;
    update_peak_states(env);
    Ok(())
}

/// Hands the precision marks of the states that backedges repeat to the backedges' own pasts,
/// until nothing changes.
fn propagate_backedges(env: &mut Env<'_>, chain: &Callchain) -> Check {
    let Some(visit) = env.explore.scc.get_mut(chain) else { return Ok(()) };
    let backedges = std::mem::take(&mut visit.backedges);
    let mut rounds = 0;
    loop {
        if rounds > env.kernel.limits.max_backedge_iters {
            if env.log.level.is_level2() {
                trace!(env, "propagate_backedges: too many iterations\n");
            }
            for st in backedges.iter().rev() {
                precision::mark_all_scalars_precise_from(env, Some(st));
            }
            break;
        }
        rounds += 1;
        let mut changed = false;
        for st in backedges.iter().rev() {
            if let Some(equal) = st.equal_state {
                changed |= precision::propagate_precision(env, equal, Some(st))?;
            }
        }
        if !changed {
            break;
        }
    }
    Ok(())
}
