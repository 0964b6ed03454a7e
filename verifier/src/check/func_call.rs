//! BPF-to-BPF calls and returns (`check_func_call`, `setup_func_entry`, `prepare_func_exit`).

use bpfassay_isa::Reg;
use bpfassay_spec::{Features, RegBase};

use super::callback::{callee_setup, CalleeSetup, CalleeState};
use super::exit::{retval_range_within, verbose_invalid_scalar};
use super::func_args::btf_check_subprog_call;
use super::refs::clear_all_pkt_pointers;
use super::trust::non_sleepable_region;
use crate::diagnostics::{self, Context, Place, Why};
use crate::domain::marks::{At, Live};
use crate::domain::reg::{RegState, DEF_NOT_SUBREG};
use crate::domain::state::{FuncState, VerifierState};
use crate::env::Env;
use crate::explore::entry::{init_func_state, subprog_name};
use crate::explore::liveness::{reset_live_stack_callchain, update_live_stack};
use crate::explore::parents::mark_reg_read;
use crate::explore::precision::mark_chain_precision;
use crate::explore::widen::{find_prev_entry, widen_imprecise_scalars, Looping};
use crate::log::state::print_verifier_state;
use crate::stop::{Check, Errno, Stop};
use crate::subprogs::find_subprog;
use crate::transfer::mark::mark_reg_unknown;
use crate::{trace, verbose, verifier_bug};

/// Registers that a call leaves undefined: R0 to R5 (`caller_saved`).
pub const CALLER_SAVED: [Reg; 6] = [Reg::R0, Reg::R1, Reg::R2, Reg::R3, Reg::R4, Reg::R5];

/// One more frame fits (`MAX_CALL_FRAMES`).
pub fn check_call_depth(env: &mut Env<'_>) -> Check {
    let curframe = env.cur.curframe();
    if curframe + 1 >= env.kernel.limits.max_call_frames {
        verbose!(env, "the call stack of {} frames is too deep\n", curframe + 2);
        return Err(Errno::E2BIG.into());
    }
    Ok(())
}

/// The frame of a subprogram called from the current one.
pub fn callee_frame(
    env: &mut Env<'_>,
    subprog: u32,
    callsite: i32,
    setup: &CalleeSetup,
) -> FuncState {
    let frameno = env.cur.curframe() + 1;
    let mut callee = init_func_state(env, callsite, frameno, subprog);
    setup.apply(&mut callee, env.frame());
    callee
}

/// R0 to R5 of a frame after a call in it: not readable until written.
pub fn clear_caller_saved_regs(env: &mut Env<'_>, frameno: u32) {
    let (capable, def) = (env.bpf_capable, env.insn_idx as i32 + 1);
    diagnostics::scrub_caller_saved(env, frameno);
    let frame = env.cur.frame_mut(frameno);
    for r in CALLER_SAVED {
        let reg = frame.reg_mut(r);
        reg.mark_not_init(capable);
        reg.subreg_def = def;
        frame.note_written(At::Reg(r.0));
    }
    env.scratched_regs |= 0x3f;
}

/// A callee gets a copy of its caller's references, where these are kept by frame.
pub fn remember_refs(state: &mut VerifierState, features: &Features) {
    if !features.references_of_state && !state.refs.is_empty() {
        state.cur_mut().refs_at_call = state.refs.clone();
    }
}

/// Back in the caller: a callee's references are its own now, a callback's are not.
fn restore_refs(env: &mut Env<'_>, from_callback: bool) {
    if env.kernel.features.references_of_state {
        return;
    }
    if !env.frame().refs_at_call.is_empty() {
        let refs = std::mem::take(&mut env.frame_mut().refs_at_call);
        if from_callback {
            env.cur.refs = refs;
        }
    }
}

/// The BPF-to-BPF call at `env.insn_idx`, to `target`.
pub fn check_func_call(env: &mut Env<'_>, target: i64) -> Check {
    let Some(subprog) = find_subprog(env, target) else {
        verifier_bug!(env, "target of func call at insn {target} is not a program (subprog < 0)");
        return Err(Errno::EFAULT.into());
    };
    if !env.kernel.features.callbacks_repeat {
        check_call_depth(env)?;
    }
    let args = match btf_check_subprog_call(env, subprog) {
        Err(Stop::Reject(Errno::EFAULT)) => return Err(Errno::EFAULT.into()),
        Err(stop @ Stop::Unsupported(_)) => return Err(stop),
        other => other,
    };
    if env.subprogs[subprog as usize].is_global {
        return check_global_call(env, subprog, args);
    }
    if env.kernel.features.callbacks_repeat {
        check_call_depth(env)?;
    }
    let setup = callee_setup(env, CalleeState::Call, env.insn_idx)?;
    enter(env, subprog, &setup);
    Ok(())
}

/// Goes on in a subprogram's frame.
pub fn enter(env: &mut Env<'_>, subprog: u32, setup: &CalleeSetup) {
    let callsite = env.insn_idx as i32;
    let callee = callee_frame(env, subprog, callsite, setup);
    let caller = env.cur.curframe();
    remember_refs(&mut env.cur, &env.kernel.features);
    env.cur.push_frame(callee);
    diagnostics::scrub(env, caller, Place::Reg(0), Why::CallerSaved);
    clear_caller_saved_regs(env, caller);
    // The caller's loop adds one.
    env.insn_idx = env.subprogs[subprog as usize].start.wrapping_sub(1);
    reset_live_stack_callchain(env);
    if env.log.level.prints_insns() {
        trace!(env, "caller:\n");
        print_verifier_state(env, caller, true);
        trace!(env, "callee:\n");
        print_verifier_state(env, caller + 1, true);
    }
    env.log.end_message();
}

/// The call at `idx` is of a global function that may end the program (`bpf_throw`).
pub fn global_may_throw(env: &Env<'_>, idx: u32) -> bool {
    let insn = env.insns[idx as usize];
    let target = i64::from(idx) + i64::from(insn.imm) + 1;
    let callee = find_subprog(env, target).filter(|_| insn.is_pseudo_call());
    callee.is_some_and(|s| {
        let s = &env.subprogs[s as usize];
        s.is_global && s.might_throw
    })
}

/// Global functions are verified on their own: the caller only checks what BTF promises about them.
pub fn check_global_call(env: &mut Env<'_>, subprog: u32, args: Check) -> Check {
    let info = &env.subprogs[subprog as usize];
    let (might_sleep, changes_pkt_data) = (info.might_sleep, info.changes_pkt_data);
    if env.cur.active_locks != 0 {
        verbose!(
            env,
            "global function calls are not allowed while holding a lock,\nuse static function instead\n"
        );
        let (at, operation) =
            (env.insn_idx, format!("global function {}()", subprog_name(env, subprog)));
        let suggestion = "Release the lock before calling the global function, or use a static function instead.";
        diagnostics::report_inside(env, at, &operation, Context::Lock, suggestion);
        return Err(Errno::EINVAL.into());
    }
    if env.kernel.features.sleepers_named {
        if let Some(region) = non_sleepable_region(env).filter(|_| might_sleep) {
            let name = subprog_name(env, subprog);
            verbose!(env, "sleepable global function {name}() called in {region}\n");
            let (at, operation) = (env.insn_idx, format!("sleepable global function {name}()"));
            let suggestion =
                "Move the call outside the critical section, or use a non-sleepable function.";
            diagnostics::report_forbidden(env, at, &operation, suggestion);
            return Err(Errno::EINVAL.into());
        }
    }
    if !env.kernel.features.sleeping_globals_known && env.cur.active_preempt_locks != 0 {
        verbose!(
            env,
            "global function calls are not allowed with preemption disabled,\nuse static function instead\n"
        );
        return Err(Errno::EINVAL.into());
    }
    let in_region = env.cur.active_rcu_locks != 0
        || env.cur.active_preempt_locks != 0
        || env.cur.active_irq_id != 0;
    if might_sleep
        && env.kernel.features.sleeping_globals_known
        && (in_region || !env.cur.in_sleepable)
    {
        verbose!(
            env,
            "global functions that may sleep are not allowed in non-sleepable context,\n\
             i.e., in a RCU/IRQ/preempt-disabled section, or in\n\
             a non-sleepable BPF program context\n"
        );
        return Err(Errno::EINVAL.into());
    }
    let name = subprog_name(env, subprog);
    if let Err(stop) = args {
        verbose!(env, words.global_args_invalid, subprog = subprog, name = name);
        return Err(stop);
    }
    if env.kernel.features.args_from_btf_once {
        verbose!(env, "Func#{subprog} ('{name}') is global and assumed valid.\n");
    } else if env.log.level.prints_insns() {
        verbose!(env, "Func#{subprog} is global and valid. Skipping.\n");
    }
    if changes_pkt_data && env.kernel.features.packet_changes_known {
        clear_all_pkt_pointers(env);
    }
    let context = if env.kernel.features.contexts_apart {
        non_sleepable_region(env).is_none()
    } else {
        env.prog_sleepable
    };
    env.subprogs[subprog as usize].called[usize::from(context)] = true;
    let frame = env.cur.curframe();
    let is_void = env.kernel.features.void_global_functions && returns_void(env, subprog);
    if is_void {
        diagnostics::scrub(env, frame, Place::Reg(0), Why::CallerSaved);
    } else {
        diagnostics::begin_reg(env, Reg::R0);
    }
    clear_caller_saved_regs(env, frame);
    if is_void {
        return Ok(());
    }
    mark_reg_unknown(env, Reg::R0);
    env.reg_mut(Reg::R0).subreg_def = DEF_NOT_SUBREG;
    diagnostics::end(env);
    Ok(())
}

/// By the BTF of the program (`subprog_returns_void`).
pub fn returns_void(env: &Env<'_>, subprog: u32) -> bool {
    let (Some(info), Some(btf)) = (env.prog.func_info.get(subprog as usize), env.prog.btf.as_ref())
    else {
        return false;
    };
    let proto = btf.func_proto(info.type_id);
    proto.and_then(|p| btf.skip_mods_and_typedefs(p.type_id())).is_some_and(|t| t.is_void())
}

/// Returns from the innermost frame; leaves the next index in `env.insn_idx`: after the call, or the
/// call itself for a callback, which may run again.
pub fn prepare_func_exit(env: &mut Env<'_>) -> Check {
    update_live_stack(env)?;
    let r0 = *env.reg(Reg::R0);
    if r0.ty == RegBase::Stack {
        verbose!(env, "cannot return stack pointer to the caller\n");
        return Err(Errno::EINVAL.into());
    }
    let callee = env.frame();
    let (callsite, in_callback) = (callee.callsite as u32, callee.in_callback_fn);
    let frameno = env.cur.curframe();
    if in_callback {
        check_callback_return(env, &r0, callsite)?;
        env.insn_idx = if env.kernel.features.callbacks_repeat { callsite } else { callsite + 1 };
    } else {
        let mark = env.frame().mark(At::Reg(0));
        let origin = Some((frameno, Place::Reg(0)));
        diagnostics::begin(env, frameno - 1, Place::Reg(0), origin, Why::Write);
        let caller = env.cur.frame_mut(frameno - 1);
        *caller.reg_mut(Reg::R0) = r0;
        if let Some(marks) = &mut caller.marks {
            marks.regs[0] = mark;
        }
        if !env.kernel.features.references_of_state {
            let refs = env.cur.refs.clone();
            env.cur.frame_mut(frameno - 1).refs_at_call = refs;
        }
        diagnostics::end(env);
        env.insn_idx = callsite + 1;
    }
    if env.log.level.prints_insns() {
        trace!(env, "returning from callee:\n");
        print_verifier_state(env, frameno, true);
        let to = env.insn_idx;
        trace!(env, "to caller at {to}:\n");
        print_verifier_state(env, frameno - 1, true);
    }
    env.log.end_message();
    env.explore.account.leave(&mut env.subprogs, &env.cur, frameno);
    env.cur.pop_frame();
    restore_refs(env, in_callback);
    if in_callback && env.kernel.features.callbacks_repeat {
        if let Some(prev) = find_prev_entry(env, callsite, Looping::Current)? {
            widen_imprecise_scalars(env, prev, Looping::Current)?;
        }
    }
    Ok(())
}

fn check_callback_return(env: &mut Env<'_>, r0: &RegState, callsite: u32) -> Check {
    if r0.ty != RegBase::Scalar {
        verbose!(env, "R0 not a scalar value\n");
        return Err(Errno::EACCES.into());
    }
    let curframe = env.cur.curframe();
    mark_reg_read(env, curframe, Reg::R0, Live::READ64)?;
    mark_chain_precision(env, Reg::R0)?;
    let range = env.frame().callback_ret_range;
    if !retval_range_within(env, range, r0, false) {
        verbose_invalid_scalar(env, r0, range, "At callback return", "R0");
        return Err(Errno::EINVAL.into());
    }
    if env.kernel.features.callbacks_repeat && !env.aux(callsite).calls_callback {
        let at = env.insn_idx;
        verifier_bug!(env, "in callback at {at}, callsite {callsite} !calls_callback");
        return Err(Errno::EFAULT.into());
    }
    Ok(())
}
