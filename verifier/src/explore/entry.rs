//! The functions that are explored on their own: the main program, and global functions with
//! arguments known from BTF only (`do_check_main`, `do_check_subprogs`, `do_check_common`).

use bpfassay_isa::Reg;
use bpfassay_spec::{ArgBase, ArgType, ProgType, RegBase, RegType, TypeFlags};

use super::account;
use super::main_loop::do_check;
use crate::check::btf_info::btf_prepare_func_args;
use crate::check::func_call::returns_void;
use crate::check::plain_func_args;
use crate::domain::reg::{BtfObj, DynptrType, RegState, DEF_NOT_SUBREG};
use crate::domain::state::{FuncState, VerifierState};
use crate::env::{Env, SubprogArg};
use crate::stop::{Check, Errno, Stop};
use crate::{trace, verbose};

/// A frame as a function starts in it (`init_func_state`); everything counts as scratched.
pub fn init_func_state(
    env: &mut Env<'_>,
    callsite: i32,
    frameno: u32,
    subprogno: u32,
) -> FuncState {
    let mut f = FuncState::new(callsite, frameno, subprogno);
    f.marks = env.explore.era.keeps_marks().then(Box::default);
    f.report_id = env.diagnostics.as_mut().map_or(0, |d| d.next_frame());
    for r in &mut f.regs {
        r.mark_not_init(env.bpf_capable);
        r.subreg_def = DEF_NOT_SUBREG;
    }
    let fp = f.reg_mut(Reg::R10);
    fp.ty = RegType::of(RegBase::Stack);
    fp.mark_known_zero();
    fp.frameno = frameno;
    mark_verifier_state_scratched(env);
    f
}

/// `mark_verifier_state_scratched`: the next state print shows everything.
pub fn mark_verifier_state_scratched(env: &mut Env<'_>) {
    env.scratched_regs = u32::MAX;
    env.scratched_slots = u64::MAX;
}

/// The main program.
pub fn do_check_main(env: &mut Env<'_>) -> Check {
    env.insn_idx = 0;
    do_check_common(env, 0, env.prog_sleepable)
}

/// Global functions that something reached calls, in repeated ascending passes.
pub fn do_check_subprogs(env: &mut Env<'_>) -> Check {
    if env.prog.func_info.is_empty() {
        return Ok(());
    }
    if let Some(cb) = env.exception_callback_subprog {
        env.subprogs[cb as usize].called[usize::from(env.prog_sleepable)] = true;
    }
    let on_demand = env.kernel.features.globals_on_demand;
    loop {
        let mut verified_any = false;
        for i in 1..env.subprogs.len() {
            let s = &env.subprogs[i];
            if !s.is_global {
                continue;
            }
            for sleepable in [false, true] {
                let s = &env.subprogs[i];
                let called = if on_demand { s.called } else { main_context(env.prog_sleepable) };
                if !called[usize::from(sleepable)] || s.verified[usize::from(sleepable)] {
                    continue;
                }
                env.insn_idx = s.start;
                do_check_common(env, i as u32, sleepable)?;
                if env.log.level.prints_insns() {
                    let named = global_note(env, i as u32);
                    trace!(env, "Func#{i}{named} is safe for any args that match its prototype\n");
                }
                env.subprogs[i].verified[usize::from(sleepable)] = true;
                verified_any = true;
            }
        }
        if !verified_any {
            return Ok(());
        }
    }
}

/// Name of a subprogram in the program's BTF (`subprog_name`); empty without func_info.
pub fn subprog_name(env: &Env<'_>, subprog: u32) -> String {
    let (Some(info), Some(btf)) = (env.prog.func_info.get(subprog as usize), env.prog.btf.as_ref())
    else {
        return String::new();
    };
    btf.name(info.type_id).to_owned()
}

/// How a global function is named beside its number, where it is.
pub fn global_note(env: &Env<'_>, subprog: u32) -> String {
    match env.kernel.features.args_from_btf_once {
        true => format!(" ('{}')", subprog_name(env, subprog)),
        false => String::new(),
    }
}

/// The one context of a program whose functions are not verified apart.
fn main_context(sleepable: bool) -> [bool; 2] {
    [!sleepable, sleepable]
}

fn do_check_common(env: &mut Env<'_>, subprog: u32, sleepable: bool) -> Check {
    env.prev_linfo = None;
    env.pass_cnt += 1;
    env.explore.pending.clear();
    env.explore.states.reset(env.insns.len());
    env.explore.scc.reset(env.cfg.scc_cnt);
    let frame = init_func_state(env, -1, 0, subprog);
    env.cur = VerifierState::new(frame);
    env.cur.branches = 1;
    env.cur.in_sleepable = sleepable;
    env.cur.first_insn_idx = env.subprogs[subprog as usize].start;
    env.cur.last_insn_idx = u32::MAX;
    if subprog != 0 || env.is_extension() {
        prepare_global_function(env, subprog)?;
    } else {
        prepare_main(env)?;
    }
    if subprog == 0 && env.prog.prog_type == ProgType::StructOps {
        crate::attach_target::acquire_argument_references(env);
    }
    let (earlier, before) = (env.subprogs[subprog as usize].insns_total, env.stats.insns_processed);
    let done = do_check(env);
    account::end_path(env);
    // Asynchronous callbacks have frames of their own, and count for whom they are verified with from 7.3 on.
    if !env.kernel.features.statistics_of_globals {
        env.subprogs[subprog as usize].insns_total = earlier + env.stats.insns_processed - before;
    }
    done?;
    env.log.leave_path(0);
    if let Some(d) = &mut env.diagnostics {
        d.go_back_to(0);
    }
    Ok(())
}

/// R1 of the main program is its context, whatever BTF says.
fn prepare_main(env: &mut Env<'_>) -> Check {
    if !env.kernel.features.args_from_btf_once {
        plain_func_args::check_main(env)?;
    } else if !env.prog.func_info.is_empty() {
        let args = match btf_prepare_func_args(env, 0) {
            Ok(()) => env.subprogs[0].args.as_slice(),
            Err(Stop::Reject(_)) => &[],
            Err(unsupported) => return Err(unsupported),
        };
        let is_ctx = matches!(args, [a] if a.ty == ArgType::of(ArgBase::Ctx));
        env.subprogs[0].unreliable |= !is_ctx;
    }
    let r1 = env.reg_mut(Reg::R1);
    r1.ty = RegType::of(RegBase::Ctx);
    r1.mark_known_zero();
    Ok(())
}

fn prepare_global_function(env: &mut Env<'_>, subprog: u32) -> Check {
    let name = subprog_name(env, subprog);
    verbose!(env, "Validating {}() func#{}...\n", name, subprog);
    btf_prepare_func_args(env, subprog)?;
    let args = env.subprogs[subprog as usize].args.clone();
    if !env.kernel.features.args_from_btf_once {
        // Pointers to memory get an id when BTF is read, and another one when the registers are set.
        for _ in args.iter().filter(|a| a.ty.base() == ArgBase::Mem) {
            env.new_id();
        }
    }
    if env.subprogs[subprog as usize].is_exception_cb {
        env.frame_mut().in_exception_callback_fn = true;
        if env.kernel.features.void_global_functions && returns_void(env, subprog) {
            verbose!(env, "exception cb cannot return void\n");
            return Err(Errno::EINVAL.into());
        }
        if !matches!(args.as_slice(), [a] if a.ty == ArgType::of(ArgBase::Anything)) {
            verbose!(env, "exception cb only supports single integer argument\n");
            return Err(Errno::EINVAL.into());
        }
    }
    for (i, arg) in args.iter().enumerate() {
        let reg = argument(env, i, arg)?;
        *env.reg_mut(Reg(i as u8 + 1)) = reg;
    }
    Ok(())
}

/// The register of argument `i` of a global function.
fn argument(env: &mut Env<'_>, i: usize, arg: &SubprogArg) -> Check<RegState> {
    let mut reg = *env.reg(Reg(i as u8 + 1));
    let kept = |flags: TypeFlags| arg.ty.flags() & flags;
    match arg.ty.base() {
        ArgBase::Ctx if arg.ty == ArgType::of(ArgBase::Ctx) => {
            reg.ty = RegType::of(RegBase::Ctx);
            reg.mark_known_zero();
        }
        ArgBase::Anything if arg.ty == ArgType::of(ArgBase::Anything) => {
            reg.mark_unknown(env.bpf_capable);
            reg.subreg_def = DEF_NOT_SUBREG;
        }
        ArgBase::Dynptr if arg.ty == ArgType::with(ArgBase::Dynptr, TypeFlags::MEM_RDONLY) => {
            reg.mark_known_zero();
            reg.ty = RegType::of(RegBase::ConstDynptr);
            reg.id = env.new_id();
            reg.set_dynptr(DynptrType::Local, true);
        }
        ArgBase::Mem => {
            let flags =
                kept(TypeFlags::PTR_MAYBE_NULL | TypeFlags::PTR_UNTRUSTED | TypeFlags::MEM_RDONLY);
            reg.ty = RegType::with(RegBase::Mem, flags);
            reg.mark_known_zero();
            reg.set_mem_size(arg.mem_size_or_btf_id);
            if reg.ty.may_be_null() {
                reg.id = env.new_id();
            }
        }
        ArgBase::BtfId => {
            let flags =
                kept(TypeFlags::PTR_MAYBE_NULL | TypeFlags::PTR_UNTRUSTED | TypeFlags::PTR_TRUSTED);
            reg.ty = RegType::with(RegBase::BtfId, flags);
            reg.mark_known_zero();
            reg.set_btf(BtfObj::VMLINUX, arg.mem_size_or_btf_id);
            reg.id = env.new_id();
        }
        ArgBase::Arena => {
            reg.mark_unknown(env.bpf_capable);
            reg.subreg_def = DEF_NOT_SUBREG;
        }
        _ => {
            verbose!(env, "verifier bug: unhandled arg#{} type {}\n", i, arg.ty.word());
            return Err(Errno::EFAULT.into());
        }
    }
    Ok(reg)
}
