//! Branches still to explore (`push_stack`, `push_async_cb`, `pop_stack`).

use super::entry::init_func_state;
use super::trail;
use crate::domain::state::VerifierState;
use crate::env::Env;
use crate::stop::{Check, Errno, Stop};
use crate::verbose;

/// A branch to explore later (`struct bpf_verifier_stack_elem`).
#[derive(Debug)]
pub struct Pending {
    pub state: VerifierState,
    pub insn_idx: u32,
    pub prev_insn_idx: u32,
    /// Log position to go back to when this branch is taken up (level 1).
    pub log_pos: u64,
    /// Steps of the recorded path up to here.
    pub path_len: u64,
    /// Events that reports tell, up to here.
    pub events: u64,
}

/// Copies the current state to explore from `insn_idx` later; the copy is returned for refinement.
/// Borrow both branches with `env.cur` and `env.explore.pending.last_mut()`.
///
/// With too many branches pending the error is ENOMEM; conditional jumps answer EFAULT instead.
pub fn push_stack<'e>(
    env: &'e mut Env<'_>,
    insn_idx: u32,
    prev_insn_idx: u32,
    speculative: bool,
) -> Check<&'e mut VerifierState> {
    let mut state = fork(env);
    state.speculative |= speculative;
    let (log_pos, path_len, events) = (env.log.pos(), trail::length(env), events(env));
    env.explore.pending.push(Pending { state, insn_idx, prev_insn_idx, log_pos, path_len, events });
    if env.explore.pending.len() > env.kernel.limits.max_jmp_seq as usize {
        verbose!(env, "The sequence of {} jumps is too complex.\n", env.explore.pending.len());
        let told = env.kernel.features.pushing_fails_e2big;
        return Err(if told { Errno::E2BIG } else { Errno::ENOMEM }.into());
    }
    if let Some(parent) = env.cur.parent {
        env.explore.states.add_branch(parent);
    }
    last_pending(env)
}

/// History entries that a branch most likely adds to those it starts with.
const ROOM: usize = 8;

/// A copy of the current state that has room for the history to come.
fn fork(env: &mut Env<'_>) -> VerifierState {
    let history = std::mem::take(&mut env.cur.history);
    let mut state = env.cur.clone();
    state.history.reserve_exact(history.len() + ROOM);
    state.history.extend_from_slice(&history);
    env.cur.history = history;
    state
}

/// A fresh frame for an asynchronous callback, explored as if it were called from nowhere.
pub fn push_async_cb<'e>(
    env: &'e mut Env<'_>,
    insn_idx: u32,
    prev_insn_idx: u32,
    subprog: u32,
    is_sleepable: bool,
) -> Check<&'e mut VerifierState> {
    let (log_pos, path_len, events) = (env.log.pos(), trail::length(env), events(env));
    let too_many = env.explore.pending.len() >= env.kernel.limits.max_jmp_seq as usize;
    if too_many {
        verbose!(
            env,
            "The sequence of {} jumps is too complex for async cb.\n",
            env.explore.pending.len() + 1
        );
        let told = env.kernel.features.pushing_fails_e2big;
        return Err(if told { Errno::E2BIG } else { Errno::EFAULT }.into());
    }
    let mut state = VerifierState::new(init_func_state(env, -1, 0, subprog));
    state.branches = 1;
    state.in_sleepable = is_sleepable;
    env.explore.pending.push(Pending { state, insn_idx, prev_insn_idx, log_pos, path_len, events });
    last_pending(env)
}

fn events(env: &Env<'_>) -> u64 {
    env.diagnostics.as_ref().map_or(0, |d| d.position())
}

fn last_pending<'e>(env: &'e mut Env<'_>) -> Check<&'e mut VerifierState> {
    match env.explore.pending.last_mut() {
        Some(p) => Ok(&mut p.state),
        None => Err(Stop::unsupported("no pending branch after a push")),
    }
}

/// Takes up the newest pending branch; false when none is left (`pop_stack`).
pub fn pop_stack(env: &mut Env<'_>) -> bool {
    let popped = env.explore.pending.pop();
    if let Some(recorder) = &mut env.recorder {
        recorder.go_back_to(popped.as_ref().map_or(0, |p| p.path_len));
    }
    let Some(p) = popped else { return false };
    std::mem::replace(&mut env.cur, p.state).give_back();
    env.log.leave_path(p.log_pos);
    if let Some(d) = &mut env.diagnostics {
        d.go_back_to(p.events);
    }
    env.insn_idx = p.insn_idx;
    env.prev_insn_idx = p.prev_insn_idx;
    true
}
