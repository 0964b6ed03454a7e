//! The explored states: buckets, parents, branch counts, eviction
//! (`explored_states`, `free_list`, `update_branch_counts`).

use super::scc;
use crate::domain::state::{StateId, VerifierState};
use crate::env::Env;
use crate::stop::Check;

/// An explored state and how useful it was (`struct bpf_verifier_state_list`).
#[derive(Debug)]
pub struct Explored {
    pub state: VerifierState,
    pub miss_cnt: u32,
    pub hit_cnt: u32,
    /// Evicted from its bucket, kept while states descend from it.
    pub in_free_list: bool,
}

/// Every explored state of the function being checked.  Ids are never used twice.
#[derive(Debug, Default)]
pub struct StateTable {
    slots: Vec<Option<Box<Explored>>>,
    /// States by `(instruction ^ call site) % length`, newest last.
    buckets: Vec<Vec<StateId>>,
    /// `explored_states_size`, `free_list_size`, `num_backedges`; they run on through global functions.
    pub explored_size: u32,
    pub free_list_size: u32,
    pub num_backedges: u32,
}

impl StateTable {
    /// Forgets all states, not the counters (`free_states`); `len` is the number of instruction slots.
    pub fn reset(&mut self, len: usize) {
        self.slots.clear();
        self.buckets.iter_mut().for_each(Vec::clear);
        self.buckets.resize_with(len, Vec::new);
    }

    #[inline]
    pub fn get(&self, id: StateId) -> Option<&Explored> {
        self.slots.get(id.0 as usize)?.as_deref()
    }

    #[inline]
    pub fn get_mut(&mut self, id: StateId) -> Option<&mut Explored> {
        self.slots.get_mut(id.0 as usize)?.as_deref_mut()
    }

    /// Bucket of an instruction reached in `cur` (`explored_state`).
    #[inline]
    pub fn bucket_of(&self, insn_idx: u32, cur: &VerifierState) -> usize {
        let key = insn_idx ^ cur.cur().callsite as u32;
        key as usize % self.buckets.len().max(1)
    }

    #[inline]
    pub fn bucket(&self, bucket: usize) -> &[StateId] {
        self.buckets.get(bucket).map_or(&[], Vec::as_slice)
    }

    /// Takes a state out of its bucket, without freeing it.
    pub fn unlink(&mut self, bucket: usize, at: usize) {
        if let Some(id) = self.buckets.get_mut(bucket).map(|b| b.remove(at)) {
            if let Some(e) = self.get_mut(id) {
                e.in_free_list = true;
            }
            self.free_list_size += 1;
            self.explored_size -= 1;
        }
    }

    /// Adds a state as the newest of its bucket.
    pub fn insert(&mut self, bucket: usize, state: VerifierState) -> StateId {
        let id = StateId(self.slots.len() as u32);
        self.slots.push(Some(Box::new(Explored {
            state,
            miss_cnt: 0,
            hit_cnt: 0,
            in_free_list: false,
        })));
        if let Some(b) = self.buckets.get_mut(bucket) {
            b.push(id);
        }
        id
    }

    /// One more path descends from `id`.
    #[inline]
    pub fn add_branch(&mut self, id: StateId) {
        if let Some(e) = self.get_mut(id) {
            e.state.branches += 1;
        }
    }

    fn free(&mut self, id: StateId) {
        if let Some(slot) = self.slots.get_mut(id.0 as usize) {
            *slot = None;
            self.free_list_size -= 1;
        }
    }
}

/// `update_peak_states`.
pub fn update_peak_states(env: &mut Env<'_>) {
    let t = &env.explore.states;
    let now = t.explored_size + t.free_list_size + t.num_backedges;
    env.stats.peak_states = env.stats.peak_states.max(now);
}

/// Frees an evicted state that nothing refers to any more (`maybe_free_verifier_state`).
pub fn maybe_free(env: &mut Env<'_>, id: StateId) {
    let Some(e) = env.explore.states.get(id) else { return };
    if e.in_free_list && e.state.branches == 0 && !scc::incomplete_read_marks(env, &e.state) {
        env.explore.states.free(id);
    }
}

/// The current path has ended: its ancestors have one open path less (`update_branch_counts`).
pub fn update_branch_counts(env: &mut Env<'_>) -> Check {
    env.cur.branches = env.cur.branches.wrapping_sub(1);
    if env.cur.branches != 0 {
        return Ok(());
    }
    scc::maybe_exit_scc(env, None)?;
    let mut next = env.cur.parent;
    while let Some(id) = next {
        let Some(e) = env.explore.states.get_mut(id) else { break };
        e.state.branches = e.state.branches.wrapping_sub(1);
        if e.state.branches != 0 {
            break;
        }
        next = e.state.parent;
        scc::maybe_exit_scc(env, Some(id))?;
        maybe_free(env, id);
    }
    Ok(())
}
