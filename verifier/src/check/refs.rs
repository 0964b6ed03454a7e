//! References and locks held by a path (`acquire_reference`, `release_reference`, `check_resource_leak`).

use crate::env::Env;
use crate::stop::{Check, Stop};

/// What may not be held when a path ends: references, locks, IRQ flags, RCU and preempt sections.
/// `exception_exit` looks at references in all frames; `check_lock` at locks too.
pub fn check_resource_leak(env: &mut Env<'_>, _exception_exit: bool, _check_lock: bool, _prefix: &str) -> Check {
    let cur = &env.cur;
    let holds = !cur.refs.is_empty() || cur.active_locks > 0 || cur.active_rcu_lock || cur.active_preempt_locks > 0;
    if holds {
        return Err(Stop::unsupported("leak checks"));
    }
    Ok(())
}
