//! What the rewriting passes add to stack depths, and whom they remove (`optimize_bpf_loop`,
//! `opt_remove_dead_code`, `do_misc_fixups`).  The rewriting itself is not ours.

use crate::env::{AuxUse, Env};
use crate::stop::{Check, Errno};
use crate::subprogs::subprog_end;
use crate::verbose;

/// `MAX_BPF_STACK`.
const MAX_STACK: u16 = 512;
/// Slots for the counter of a may_goto loop, with a time stamp or without.
const TIMED_MAY_GOTO: u16 = 16;
const MAY_GOTO: u16 = 8;
/// R6, R7 and R8, spilled around an inlined bpf_loop.
const INLINED_LOOP: u16 = 24;

/// Brings stack depths and the list of subprograms to what the log's last lines show.
pub fn account_for_rewrites(env: &mut Env<'_>) -> Check {
    for s in 0..env.subprogs.len() as u32 {
        if any_insn(env, s, |env, i| matches!(env.aux(i).used, AuxUse::LoopInline { fit: true, .. })) {
            let sub = &mut env.subprogs[s as usize];
            sub.stack_depth = sub.stack_depth.next_multiple_of(8) + INLINED_LOOP;
        }
    }
    add_may_goto_slots(env)?;
    remove_dead_subprogs(env);
    Ok(())
}

fn any_insn(env: &Env<'_>, subprog: u32, p: impl Fn(&Env<'_>, u32) -> bool) -> bool {
    (env.subprogs[subprog as usize].start..subprog_end(env, subprog)).any(|i| p(env, i))
}

fn add_may_goto_slots(env: &mut Env<'_>) -> Check {
    let extra = if env.kernel.jit.timed_may_goto { TIMED_MAY_GOTO } else { MAY_GOTO };
    // One that jumps to the next instruction is removed as a no-op.
    let counts = |env: &Env<'_>, i: u32| {
        let insn = env.insns[i as usize];
        insn.is_may_goto() && insn.off != 0 && env.aux(i).seen != 0
    };
    for s in 0..env.subprogs.len() as u32 {
        if !any_insn(env, s, counts) {
            continue;
        }
        let sub = &mut env.subprogs[s as usize];
        sub.stack_depth += extra;
        sub.stack_extra = extra;
        let depth = sub.stack_depth;
        if depth > MAX_STACK && !env.kernel.jit.enabled {
            verbose!(env, "stack size {}(extra {}) is too large\n", depth, extra);
            return Err(Errno::EINVAL.into());
        }
    }
    Ok(())
}

/// Subprograms none of whose instructions were reached are gone.
fn remove_dead_subprogs(env: &mut Env<'_>) {
    let alive: Vec<bool> =
        (0..env.subprogs.len() as u32).map(|s| any_insn(env, s, |env, i| env.aux(i).seen != 0)).collect();
    let mut alive = alive.into_iter();
    env.subprogs.retain(|_| alive.next().unwrap_or(true));
    if env.seen_exception && env.exception_callback_subprog.is_none() {
        // A default exception callback is appended.
        env.subprogs.push(crate::env::SubprogInfo { start: env.insns.len() as u32, ..Default::default() });
    }
}
