//! Loops before 6.17: every state knows the topmost state of the loop it is part of
//! (`get_loop_entry`, `update_loop_entry`).

use crate::domain::state::{StateId, VerifierState};
use crate::env::Env;

/// The topmost entry known for a state; shortens the way there (`get_loop_entry`).  None: the current state.
pub fn loop_entry(env: &mut Env<'_>, of: Option<StateId>) -> Option<StateId> {
    let entry_of = |env: &Env<'_>, id| env.explore.state(id).and_then(|st| st.loop_entry);
    let mut topmost = state(env, of)?.loop_entry;
    while let Some(next) = topmost.and_then(|id| entry_of(env, id)).filter(|n| Some(*n) != topmost)
    {
        topmost = Some(next);
    }
    let mut at = of;
    while let Some(st) = state_mut(env, at) {
        if st.loop_entry == topmost {
            break;
        }
        let old = std::mem::replace(&mut st.loop_entry, topmost);
        if old.is_none() {
            break;
        }
        at = old;
    }
    topmost
}

fn state<'e>(env: &'e Env<'_>, id: Option<StateId>) -> Option<&'e VerifierState> {
    match id {
        Some(id) => env.explore.state(id),
        None => Some(&env.cur),
    }
}

fn state_mut<'e>(env: &'e mut Env<'_>, id: Option<StateId>) -> Option<&'e mut VerifierState> {
    match id {
        Some(id) => env.explore.states.get_mut(id).map(|e| &mut e.state),
        None => Some(&mut env.cur),
    }
}

/// The topmost entry of a finished state, if it has paths that are not done.
pub fn open_loop_entry(env: &mut Env<'_>, of: StateId) -> Option<StateId> {
    loop_entry(env, Some(of)).filter(|e| env.explore.states.branches(*e) > 0)
}

/// `cur` is part of the loop of `header`, unless that is behind it (`update_loop_entry`).
pub fn update_loop_entry(env: &mut Env<'_>, cur: Option<StateId>, header: StateId) {
    let cur_top = loop_entry(env, cur).or(cur);
    let header_top = loop_entry(env, Some(header)).unwrap_or(header);
    let depth = |id| state(env, id).map_or(0, |st| st.dfs_depth);
    let is_open = env.explore.states.branches(header_top) > 0;
    if !is_open || depth(Some(header_top)) > depth(cur_top) {
        return;
    }
    if let Some(st) = state_mut(env, cur) {
        st.loop_entry = Some(header);
    }
    if let Some(st) = state_mut(env, Some(header)) {
        st.used_as_loop_entry = true;
    }
}

/// All paths of a state are done: its parent is part of the same loop, if of any.
pub fn leave(env: &mut Env<'_>, done: Option<StateId>) {
    let Some(st) = state(env, done) else { return };
    if let (Some(parent), Some(entry)) = (st.parent, st.loop_entry) {
        update_loop_entry(env, Some(parent), entry);
    }
}
