//! The explored states: buckets, parents, branch counts, eviction
//! (`explored_states`, `free_list`, `update_branch_counts`).

use super::footprint::{Footprint, Places};
use super::glance::{Difference, Glance};
use super::precision::bits;
use super::{loop_entries, scc};
use crate::domain::state::{StateId, VerifierState};
use crate::env::Env;
use crate::stop::Check;

/// An explored state (`struct bpf_verifier_state_list`).
#[derive(Debug)]
pub struct Explored {
    pub state: VerifierState,
    /// Every scalar in it and in its ancestors is precise, for good.
    pub all_precise: bool,
    /// Evicted from its bucket, kept while states descend from it.
    pub in_free_list: bool,
    /// It has been compared as a whole: a footprint pays from the second time on.
    pub compared: bool,
    /// What of it a comparison looks at, as long as it is not changed.
    pub footprint: Option<Footprint>,
}

/// An explored state in its bucket: how useful it was, and what mostly spares a look at it.
#[derive(Clone, Copy, Debug)]
pub struct InBucket {
    pub id: StateId,
    pub insn_idx: u32,
    pub miss_cnt: u32,
    pub hit_cnt: u32,
    /// What is dead in it has been forgotten.
    pub cleaned: bool,
    /// Where it last differed, at a glance.
    pub glance: Option<Glance>,
}

/// Explored states, newest last, and where each last differed from another.
#[derive(Debug, Default)]
struct Bucket {
    states: Vec<InBucket>,
    /// As long as the last state that differed; many never do.
    differences: Vec<Option<Difference>>,
    /// States that have not been cleaned.
    uncleaned: u32,
}

/// An explored state and its place in its bucket.
#[derive(Clone, Copy, Debug)]
pub struct Candidate {
    pub bucket: usize,
    pub at: usize,
    pub id: StateId,
}

/// Every explored state of the function being checked.  Ids are never used twice.
#[derive(Debug, Default)]
pub struct StateTable {
    slots: Vec<Option<Box<Explored>>>,
    /// Paths from each state that are not done yet: asked far more often than the states themselves.
    branches: Vec<u32>,
    /// Place in `buckets` + 1 by `(instruction ^ call site) % length`, 0 for those that have no state.
    places: Vec<u32>,
    /// Most instructions have none.
    buckets: Vec<Bucket>,
    /// `explored_states_size`, `free_list_size`, `num_backedges`; they run on through global functions.
    pub explored_size: u32,
    pub free_list_size: u32,
    pub num_backedges: u32,
}

impl Drop for StateTable {
    fn drop(&mut self) {
        self.slots.drain(..).flatten().for_each(|e| e.state.give_back());
    }
}

/// States that most programs have room for without asking again.
const FEW: usize = 16;

impl StateTable {
    /// Forgets all states, not the counters (`free_states`); `len` is the number of instruction slots.
    pub fn reset(&mut self, len: usize) {
        self.slots.clear();
        self.branches.clear();
        self.buckets.clear();
        self.slots.reserve(FEW);
        self.branches.reserve(FEW);
        self.buckets.reserve(FEW);
        self.places.clear();
        self.places.resize(len, 0);
    }

    #[inline]
    pub fn get(&self, id: StateId) -> Option<&Explored> {
        self.slots.get(id.0 as usize)?.as_deref()
    }

    /// A state to change: what was known of its comparisons is void.
    #[inline]
    pub fn get_mut(&mut self, id: StateId) -> Option<&mut Explored> {
        let e = self.slots.get_mut(id.0 as usize)?.as_deref_mut()?;
        e.footprint = None;
        Some(e)
    }

    /// Scalars of a frame become precise: they are looked at from now on.
    pub fn make_precise(&mut self, id: StateId, frame: u32, places: Places) {
        let Some(e) = self.slots.get_mut(id.0 as usize).and_then(Option::as_deref_mut) else {
            return;
        };
        let state = e.state.frame_mut(frame);
        for i in bits(places.regs.into()) {
            state.regs[i].precise = true;
        }
        for i in bits(places.slots) {
            state.slot_mut(i).spilled.precise = true;
        }
        if let Some(print) = e.footprint.as_mut().and_then(|p| p.frame_mut(frame)) {
            print.look_at(places);
        }
    }

    /// A state is compared as a whole; true if it was before.
    pub fn note_compared(&mut self, id: StateId) -> bool {
        let found = self.slots.get_mut(id.0 as usize).and_then(Option::as_deref_mut);
        found.is_some_and(|e| std::mem::replace(&mut e.compared, true))
    }

    /// Keeps what a comparison looks at.
    pub fn set_footprint(&mut self, id: StateId, footprint: Footprint) {
        if let Some(e) = self.slots.get_mut(id.0 as usize).and_then(Option::as_deref_mut) {
            e.footprint = Some(footprint);
        }
    }

    /// Bucket of an instruction reached in `cur` (`explored_state`).
    #[inline]
    pub fn bucket_of(&self, insn_idx: u32, cur: &VerifierState) -> usize {
        let key = insn_idx ^ cur.cur().callsite as u32;
        (key % (self.places.len() as u32).max(1)) as usize
    }

    #[inline]
    fn get_bucket(&self, bucket: usize) -> Option<&Bucket> {
        let place = *self.places.get(bucket)?;
        self.buckets.get((place as usize).wrapping_sub(1))
    }

    #[inline]
    fn bucket_mut(&mut self, bucket: usize) -> Option<&mut Bucket> {
        let place = *self.places.get(bucket)?;
        self.buckets.get_mut((place as usize).wrapping_sub(1))
    }

    #[inline]
    pub fn bucket(&self, bucket: usize) -> &[InBucket] {
        self.get_bucket(bucket).map_or(&[], |b| b.states.as_slice())
    }

    /// True if every state of a bucket has been cleaned.
    #[inline]
    pub fn all_cleaned(&self, bucket: usize) -> bool {
        self.get_bucket(bucket).is_none_or(|b| b.uncleaned == 0)
    }

    #[inline]
    pub fn known_mut(&mut self, c: Candidate) -> Option<&mut InBucket> {
        self.bucket_mut(c.bucket)?.states.get_mut(c.at)
    }

    /// Where a state last differed from another.
    #[inline]
    pub fn difference(&self, c: Candidate) -> Option<&Difference> {
        self.get_bucket(c.bucket)?.differences.get(c.at)?.as_ref()
    }

    pub fn note_difference(&mut self, c: Candidate, found: Option<Difference>, at: Option<Glance>) {
        let Some(b) = self.bucket_mut(c.bucket) else { return };
        let Some(known) = b.states.get_mut(c.at) else { return };
        known.glance = at;
        if found.is_some() && b.differences.len() <= c.at {
            b.differences.resize(c.at + 1, None);
        }
        if let Some(d) = b.differences.get_mut(c.at) {
            *d = found;
        }
    }

    /// A state has been cleaned: what it held somewhere it may hold no more.
    pub fn note_cleaned(&mut self, c: Candidate) {
        self.note_difference(c, None, None);
        let Some(b) = self.bucket_mut(c.bucket) else { return };
        if let Some(e) = b.states.get_mut(c.at) {
            e.cleaned = true;
            b.uncleaned -= 1;
        }
    }

    /// Paths from an explored state that are not done yet.
    #[inline]
    pub fn branches(&self, id: StateId) -> u32 {
        self.branches.get(id.0 as usize).copied().unwrap_or(0)
    }

    /// Takes a state out of its bucket, without freeing it.
    pub fn unlink(&mut self, c: Candidate) {
        let Some(b) = self.bucket_mut(c.bucket) else { return };
        if c.at < b.differences.len() {
            b.differences.remove(c.at);
        }
        let gone = b.states.remove(c.at);
        b.uncleaned -= u32::from(!gone.cleaned);
        if let Some(e) = self.get_mut(gone.id) {
            e.in_free_list = true;
        }
        self.free_list_size += 1;
        self.explored_size -= 1;
    }

    /// Adds a state as the newest of its bucket.
    pub fn insert(&mut self, bucket: usize, state: VerifierState) -> StateId {
        let id = StateId(self.slots.len() as u32);
        let insn_idx = state.insn_idx;
        self.branches.push(state.branches);
        self.slots.push(Some(Box::new(Explored {
            state,
            all_precise: false,
            in_free_list: false,
            compared: false,
            footprint: None,
        })));
        if let Some(place) = self.places.get_mut(bucket).filter(|place| **place == 0) {
            self.buckets.push(Bucket::default());
            *place = self.buckets.len() as u32;
        }
        if let Some(b) = self.bucket_mut(bucket) {
            b.states.push(InBucket {
                id,
                insn_idx,
                miss_cnt: 0,
                hit_cnt: 0,
                cleaned: false,
                glance: None,
            });
            b.uncleaned += 1;
        }
        id
    }

    /// One more path descends from `id`.
    #[inline]
    pub fn add_branch(&mut self, id: StateId) {
        if let Some(n) = self.branches.get_mut(id.0 as usize) {
            *n += 1;
        }
    }

    /// A path from `id` is done; the paths left.
    #[inline]
    fn end_branch(&mut self, id: StateId) -> u32 {
        let Some(n) = self.branches.get_mut(id.0 as usize) else { return 0 };
        *n = n.wrapping_sub(1);
        *n
    }

    pub fn free(&mut self, id: StateId) -> Option<Box<Explored>> {
        let slot = self.slots.get_mut(id.0 as usize)?;
        self.free_list_size -= 1;
        slot.take()
    }
}

/// `update_peak_states`.
pub fn update_peak_states(env: &mut Env<'_>) {
    let t = &env.explore.states;
    let now = t.explored_size + t.free_list_size + t.num_backedges;
    // Where marks are kept, states that were freed do not count.
    let before = if env.explore.era.keeps_marks() { 0 } else { env.stats.peak_states };
    env.stats.peak_states = before.max(now);
}

/// Frees an evicted state that nothing refers to any more (`maybe_free_verifier_state`).
pub fn maybe_free(env: &mut Env<'_>, id: StateId) {
    if env.explore.era.keeps_marks() {
        return;
    }
    let Some(e) = env.explore.states.get(id) else { return };
    let done = env.explore.states.branches(id) == 0;
    if e.in_free_list && done && !scc::incomplete_read_marks(env, &e.state) {
        if let Some(gone) = env.explore.states.free(id) {
            gone.state.give_back();
        }
    }
}

/// The current path has ended: its ancestors have one open path less (`update_branch_counts`).
pub fn update_branch_counts(env: &mut Env<'_>) -> Check {
    env.cur.branches = env.cur.branches.wrapping_sub(1);
    if env.cur.branches != 0 {
        return Ok(());
    }
    scc::maybe_exit_scc(env, None)?;
    loop_entries::leave(env, None);
    let mut next = env.cur.parent;
    while let Some(id) = next {
        if env.explore.states.end_branch(id) != 0 {
            break;
        }
        next = env.explore.state(id).and_then(|st| st.parent);
        scc::maybe_exit_scc(env, Some(id))?;
        loop_entries::leave(env, Some(id));
        maybe_free(env, id);
    }
    Ok(())
}
