//! The loop over instructions and paths (`do_check`).

use super::account;
use super::dispatch::{check_insn, Step};
use super::entry::mark_verifier_state_scratched;
use super::history::{is_recorded, push_jmp_history};
use super::liveness;
use super::prune::is_state_visited;
use super::states::update_branch_counts;
use super::worklist::pop_stack;
use crate::diagnostics;
use crate::env::Env;
use crate::log::insn::print_insn;
use crate::log::state::{print_insn_state, print_linfo, print_verifier_state};
use crate::stop::{Check, Errno, Stop};
use crate::{trace, verbose};

/// Explores every path from the current state on.
pub fn do_check(env: &mut Env<'_>) -> Check {
    if let Some(recorder) = &mut env.recorder {
        recorder.go_back_to(0);
    }
    let mut print_state = false;
    let mut prev_insn_idx = u32::MAX;
    loop {
        env.cur_hist_ent = None;
        env.prev_insn_idx = prev_insn_idx;
        count_insn(env)?;
        env.cur.last_insn_idx = env.prev_insn_idx;
        env.cur.insn_idx = env.insn_idx;
        diagnostics::note_branch(env, prev_insn_idx);
        let parent = env.cur.parent;
        let path_done = if env.aux(env.insn_idx).prune_point && is_state_visited(env, env.insn_idx)?
        {
            print_safe(env, print_state);
            true
        } else {
            let before = env.insn_idx;
            let begins = env.cur.parent != parent;
            let unrecorded = begins && !env.kernel.features.checkpoints_in_history;
            if is_recorded(env, before) && !unrecorded {
                push_jmp_history(env, 0, 0)?;
            }
            let step = one_insn(env, &mut print_state)?;
            prev_insn_idx = before;
            step == Step::PathDone
        };
        if path_done {
            account::end_path(env);
            mark_verifier_state_scratched(env);
            update_branch_counts(env)?;
            liveness::update_live_stack(env)?;
            if !pop_stack(env) {
                return Ok(());
            }
            prev_insn_idx = env.prev_insn_idx;
            print_state = true;
        }
    }
}

fn count_insn(env: &mut Env<'_>) -> Check {
    if env.insn_idx as usize >= env.insns.len() {
        verbose!(env, "invalid insn idx {} insn_cnt {}\n", env.insn_idx as i32, env.insns.len());
        return Err(Errno::EFAULT.into());
    }
    env.stats.insns_processed += 1;
    let idx = env.insn_idx;
    env.aux_mut(idx).visits += 1;
    if env.explore.account.is_on {
        env.explore.account.count(&mut env.subprogs, &env.cur);
    }
    if env.stats.insns_processed > env.kernel.limits.max_processed_insns {
        verbose!(env, "BPF program is too large. Processed {} insn\n", env.stats.insns_processed);
        return Err(Errno::E2BIG.into());
    }
    Ok(())
}

/// The current state is covered by an explored one.
fn print_safe(env: &mut Env<'_>, print_state: bool) {
    if env.log.level.prints_insns() {
        if print_state {
            let (from, to) = (env.prev_insn_idx as i32, env.insn_idx);
            trace!(env, "\nfrom {} to {}{}: safe\n", from, to, speculation(env));
        } else {
            trace!(env, "{}: safe\n", env.insn_idx);
        }
    }
    env.log.end_message();
}

fn speculation(env: &Env<'_>) -> &'static str {
    if env.cur.speculative {
        " (speculative execution)"
    } else {
        ""
    }
}

/// Prints and checks the current instruction.
fn one_insn(env: &mut Env<'_>, print_state: &mut bool) -> Check<Step> {
    let idx = env.insn_idx;
    if env.log.level.prints_insns() {
        print_before(env, print_state);
    }
    env.log.end_message();
    if let Some(recorder) = &mut env.recorder {
        recorder.enter(idx, &env.cur);
    }
    if let Some(observer) = env.observer {
        if observer.entered(idx, &env.cur, env.aux(idx).live_regs_before).is_break() {
            return Err(Stop::unsupported("the observer has seen enough"));
        }
    }
    if !env.cur.speculative {
        env.aux_mut(idx).seen = env.pass_cnt;
    }
    let ends_here = env.cur.speculative && env.kernel.features.speculation_ends_at_barriers;
    if ends_here && env.aux(idx).nospec {
        return Ok(Step::PathDone);
    }
    liveness::reset_stack_write_marks(env, idx)?;
    let step = match check_insn(env, print_state) {
        Err(stop) if ends_here && may_go_behind_barrier(&stop) => {
            let aux = env.aux_mut(idx);
            aux.nospec = true;
            aux.alu_limit.state = 0;
            Step::PathDone
        }
        step => step?,
    };
    liveness::commit_stack_write_marks(env)?;
    if ends_here && env.aux(idx).nospec_result {
        return Ok(Step::PathDone);
    }
    Ok(step)
}

/// What is wrong on a speculative path alone never happens behind a barrier (`error_recoverable_with_nospec`).
fn may_go_behind_barrier(stop: &Stop) -> bool {
    matches!(stop, Stop::Reject(Errno::EPERM | Errno::EACCES | Errno::EINVAL))
}

/// Where the path comes from, and the whole state it begins with.
fn print_path_start(env: &mut Env<'_>) {
    let (from, to) = (env.prev_insn_idx as i32, env.insn_idx);
    trace!(env, "\nfrom {} to {}{}:", from, to, speculation(env));
    let frame = env.cur.curframe();
    print_verifier_state(env, frame, true);
}

/// The whole state on a line of its own: ahead of each instruction, or at level 1 where a path begins.
fn print_state_ahead(env: &mut Env<'_>, print_state: &mut bool) {
    if env.log.level.is_level2() {
        trace!(env, "{}:", env.insn_idx);
        let frame = env.cur.curframe();
        print_verifier_state(env, frame, true);
    } else if *print_state {
        print_path_start(env);
    }
    *print_state = false;
}

/// The line of the instruction, with what changed before it and its source.
fn print_before(env: &mut Env<'_>, print_state: &mut bool) {
    if !env.kernel.features.states_beside_insns {
        print_state_ahead(env, print_state);
        print_linfo(env, env.insn_idx, "; ");
        trace!(env, "{}: ", env.insn_idx);
        print_insn(env, env.insn_idx);
        return;
    }
    if *print_state && env.log.level.is_level2() {
        print_path_start(env);
        *print_state = false;
    }
    if env.scratched_regs != 0 || env.scratched_slots != 0 {
        let frame = env.cur.curframe();
        print_insn_state(env, frame);
    }
    print_linfo(env, env.insn_idx, "; ");
    env.prev_log_pos = env.log.pos();
    trace!(env, "{}: ", env.insn_idx);
    print_insn(env, env.insn_idx);
    env.prev_insn_print_pos = env.log.pos() - env.prev_log_pos;
    env.prev_log_pos = env.log.pos();
}
