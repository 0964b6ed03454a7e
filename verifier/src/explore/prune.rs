//! Comparing the current state with those explored before, and remembering it (`is_state_visited`).

use bpfassay_isa::Reg;

use super::compare::{
    iter_active_depths_differ, states_equal, states_maybe_looping, surely_differ, Exact,
};
use super::era::Loops;
use super::glance::Glance;
use super::history::{is_recorded, push_jmp_history};
use super::loop_entries::{open_loop_entry, update_loop_entry};
use super::states::{maybe_free, update_peak_states, Candidate};
use super::{liveness, parents, precision, scc, stack_use};
use crate::domain::reg::IterState;
use crate::domain::state::{StateId, VerifierState};
use crate::env::Env;
use crate::log::state::{print_explored_state, print_linfo, print_verifier_state};
use crate::stop::{Check, Errno};
use crate::transfer::links;
use crate::{trace, verbose};

/// What comparing with one explored state says.
enum Outcome {
    /// Covered; `looping` if marks below the explored state may still come, then for the state given.
    Hit { looping: Option<StateId> },
    /// Not covered; `unfinished` if the explored state has open paths and no special rule applied.
    Miss { in_progress: bool },
}

/// True if an explored state covers the current one; otherwise it may have been remembered.
pub fn is_state_visited(env: &mut Env<'_>, insn_idx: u32) -> Check<bool> {
    let force = env.test_state_freq
        || env.aux(insn_idx).force_checkpoint
        || env.kernel.features.long_history_checkpoints
            && env.cur.history.len() > env.kernel.limits.max_history_per_state as usize;
    let jumps = env.jmps_processed - env.prev_jmps_processed;
    let insns = env.stats.insns_processed - env.prev_insn_processed;
    // At least two jumps and eight instructions since the last one.
    env.explore.current.clear();
    let mut add_new = force || (jumps >= 2 && insns >= 8);
    let bucket = env.explore.states.bucket_of(insn_idx, &env.cur);
    if env.kernel.features.static_stack_liveness {
        stack_use::clean_current_state(env);
    } else {
        clean_live_states(env, insn_idx, bucket);
    }

    let mut count = 0;
    let mut marks_incomplete = false;
    let mut at = env.explore.states.bucket(bucket).len();
    while at > 0 {
        at -= 1;
        let known = &env.explore.states.bucket(bucket)[at];
        count += 1;
        if known.insn_idx != insn_idx {
            continue;
        }
        let old = Candidate { bucket, at, id: known.id };
        let glance = known.glance;
        match compare_with(env, insn_idx, old, glance, &mut marks_incomplete)? {
            Outcome::Hit { looping } => {
                take_hit(env, insn_idx, old, looping)?;
                return Ok(true);
            }
            Outcome::Miss { in_progress } => {
                // Iterations of a loop differ and help little: keep few of them.
                if in_progress && !force && jumps < 20 && insns < 100 {
                    add_new = false;
                }
                count_miss(env, insn_idx, old, add_new);
            }
        }
    }
    env.stats.max_states_per_insn = env.stats.max_states_per_insn.max(count);
    if add_new && (env.bpf_capable || count <= env.kernel.limits.max_states_per_insn) {
        add_state(env, insn_idx, bucket);
    }
    Ok(false)
}

/// `marks_incomplete` is what the last finished state of this instruction said of itself: the kernel
/// leaves it in `loop`, and takes it for its own where a synchronous callback repeats (6.18).
fn compare_with(
    env: &mut Env<'_>,
    insn_idx: u32,
    id: Candidate,
    glance: Option<Glance>,
    marks_incomplete: &mut bool,
) -> Check<Outcome> {
    let in_progress = env.explore.states.branches(id.id) > 0;
    if in_progress {
        return compare_unfinished(env, insn_idx, id, glance, *marks_incomplete);
    }
    let miss = Outcome::Miss { in_progress };
    if env.aux(insn_idx).calls_callback && env.explore.era.loops == Loops::Components {
        let old = env.explore.state(id.id);
        *marks_incomplete = old.is_some_and(|old| scc::incomplete_read_marks(env, old));
    }
    if glance.is_some_and(|g| g.finished_differs(&env.cur)) || surely_differ(env, id, true) {
        return Ok(miss);
    }
    let looping = unfinished_loop(env, id.id);
    let exact = if looping.is_some() { Exact::RangeWithin } else { Exact::Not };
    Ok(if states_equal(env, id, exact) { Outcome::Hit { looping } } else { miss })
}

/// The state through which a finished state is part of a loop that is not finished.
fn unfinished_loop(env: &mut Env<'_>, id: StateId) -> Option<StateId> {
    match env.explore.era.loops {
        Loops::Components => {
            let old = env.explore.state(id)?;
            scc::incomplete_read_marks(env, old).then_some(id)
        }
        Loops::Entries => open_loop_entry(env, id),
    }
}

/// The explored state lies on the current path, or paths below it are pending: finding it again
/// means a loop, which is fine only where something else guarantees its end.
fn compare_unfinished(
    env: &mut Env<'_>,
    insn_idx: u32,
    id: Candidate,
    glance: Option<Glance>,
    marks_incomplete: bool,
) -> Check<Outcome> {
    let miss = Ok(Outcome::Miss { in_progress: true });
    let aux = env.aux(insn_idx);
    let (is_iter_next, calls_callback) = (aux.is_iter_next, aux.calls_callback);
    let is_may_goto = env.insns[insn_idx as usize].is_may_goto();
    let is_plain = !is_iter_next && !calls_callback && !is_may_goto;
    let turned = || glance.is_some_and(|g| g.unfinished_differs(&env.cur));
    if is_plain && (turned() || surely_differ(env, id, false)) {
        return miss;
    }
    let Some(old) = env.explore.state(id.id) else { return miss };
    let frame = old.cur();
    if frame.in_async_callback_fn && frame.async_entry_cnt != env.frame().async_entry_cnt {
        return miss;
    }
    let may_goto_depth = old.may_goto_depth;
    if is_iter_next {
        let looping = states_equal(env, id, Exact::RangeWithin) && iter_is_active(env);
        return if looping { Ok(Outcome::Hit { looping: Some(id.id) }) } else { miss };
    }
    if is_may_goto
        && may_goto_depth != env.cur.may_goto_depth
        && states_equal(env, id, Exact::RangeWithin)
    {
        return Ok(Outcome::Hit { looping: Some(id.id) });
    }
    if calls_callback {
        let hit = states_equal(env, id, Exact::RangeWithin);
        let looping = marks_incomplete || env.kernel.features.callback_is_component;
        return if hit { Ok(Outcome::Hit { looping: looping.then_some(id.id) }) } else { miss };
    }
    if is_infinite_loop(env, id) {
        print_linfo(env, insn_idx, "; ");
        verbose!(env, "infinite loop detected at insn {}\n", insn_idx);
        if env.kernel.features.loops_exact {
            trace!(env, "cur state:");
            let frame = env.cur.curframe();
            print_verifier_state(env, frame, true);
            trace!(env, "old state:");
            print_explored_state(env, id.id, frame, true);
        }
        return Err(Errno::EINVAL.into());
    }
    miss
}

/// The iterator that R1 points to is active.
fn iter_is_active(env: &Env<'_>) -> bool {
    let reg = env.reg(Reg::R1);
    let off = i64::from(reg.off).wrapping_add(reg.var_off.value as i64);
    let slot =
        usize::try_from((-off - 1) / 8).ok().and_then(|spi| env.frame_of(reg).stack().get(spi));
    slot.is_some_and(|s| s.spilled.iter_state() == IterState::Active)
}

fn is_infinite_loop(env: &mut Env<'_>, id: Candidate) -> bool {
    let exact = if env.kernel.features.loops_exact { Exact::Exact } else { Exact::Not };
    if !states_maybe_looping(env, id) || !states_equal(env, id, exact) {
        return false;
    }
    env.explore.state(id.id).is_some_and(|old| {
        !iter_active_depths_differ(old, &env.cur)
            && old.may_goto_depth == env.cur.may_goto_depth
            && old.callback_unroll_depth == env.cur.callback_unroll_depth
    })
}

/// The rest of this path is known to be safe: marks that it needed flow into the current path.
fn take_hit(env: &mut Env<'_>, insn_idx: u32, old: Candidate, looping: Option<StateId>) -> Check {
    let loops = env.explore.era.loops;
    if let Some(header) = looping.filter(|_| loops == Loops::Entries) {
        update_loop_entry(env, None, header);
    }
    if let Some(e) = env.explore.states.known_mut(old) {
        e.hit_cnt += 1;
    }
    parents::propagate_liveness(env, old.id)?;
    if is_recorded(env, env.insn_idx) {
        push_jmp_history(env, 0, 0)?;
    }
    precision::propagate_precision(env, old.id, None)?;
    if looping.is_some() && loops == Loops::Components {
        let mut state = env.cur.clone();
        state.equal_state = Some(old.id);
        state.insn_idx = insn_idx;
        scc::add_scc_backedge(env, old.id, state)?;
    }
    Ok(())
}

/// Counts a comparison in vain; states that never help are evicted.
fn count_miss(env: &mut Env<'_>, insn_idx: u32, old: Candidate, add_new: bool) {
    let forced = env.aux(insn_idx).force_checkpoint;
    let unfinished = env.explore.states.branches(old.id) > 0;
    let Some(e) = env.explore.states.known_mut(old) else { return };
    if add_new {
        e.miss_cnt += 1;
    }
    let n = if forced && unfinished { 64 } else { 3 };
    if e.miss_cnt > e.hit_cnt * n + n {
        env.explore.states.unlink(old);
        drop_unlinked(env, old.id);
    }
}

/// Frees an evicted state that nothing can refer to; where marks are kept, only a cleaned one.
fn drop_unlinked(env: &mut Env<'_>, id: StateId) {
    if !env.explore.era.keeps_marks() {
        return maybe_free(env, id);
    }
    let is_free = |st: &VerifierState| parents::is_done(st) && !st.used_as_loop_entry;
    if env.explore.state(id).is_some_and(is_free) {
        env.explore.states.free(id);
        update_peak_states(env);
    }
}

/// Remembers the current state; it becomes the parent of what follows.
fn add_state(env: &mut Env<'_>, insn_idx: u32, bucket: usize) {
    env.stats.total_states += 1;
    env.explore.states.explored_size += 1;
    update_peak_states(env);
    env.prev_jmps_processed = env.jmps_processed;
    env.prev_insn_processed = env.stats.insns_processed;
    if env.bpf_capable {
        precision::mark_all_scalars_imprecise(&mut env.cur);
    }
    if env.kernel.features.single_ids_cleared {
        links::clear_single_ids(&mut env.cur);
    }
    // The copy has the room it needs, the original keeps its own for what comes.
    let mut new = env.cur.clone();
    env.cur.history.clear();
    new.insn_idx = insn_idx;
    let dfs_depth = new.dfs_depth;
    let id = env.explore.states.insert(bucket, new);
    scc::maybe_enter_scc(env, id);
    env.cur.parent = Some(id);
    env.cur.first_insn_idx = insn_idx;
    env.cur.dfs_depth = dfs_depth + 1;
    env.cur_hist_ent = None;
    parents::connect(env, id);
}

/// The same calls led to both.
pub fn same_callsites(a: &VerifierState, b: &VerifierState) -> bool {
    a.frame_count() == b.frame_count()
        && a.frames().rev().zip(b.frames().rev()).all(|(x, y)| x.callsite == y.callsite)
}

/// Forgets what is dead in the finished states of a bucket (`clean_live_states`).
fn clean_live_states(env: &mut Env<'_>, insn_idx: u32, bucket: usize) {
    if env.explore.states.all_cleaned(bucket) {
        return;
    }
    for at in (0..env.explore.states.bucket(bucket).len()).rev() {
        let known = &env.explore.states.bucket(bucket)[at];
        if known.cleaned || known.insn_idx != insn_idx {
            continue;
        }
        let old = Candidate { bucket, at, id: known.id };
        if env.explore.states.branches(old.id) > 0 {
            continue;
        }
        let Some(st) = env.explore.state(old.id) else { continue };
        if same_callsites(st, &env.cur) && unfinished_loop(env, old.id).is_none() {
            liveness::clean_verifier_state(env, old.id);
            env.explore.states.note_cleaned(old);
        }
    }
}
