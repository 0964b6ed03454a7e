//! Kfunc calls (`check_kfunc_call`).
//!
//! Order as in the kernel: may it be called, arguments, callbacks, regions, release, graph
//! ownership, exceptions, result.

use bpfassay_isa::{RawInsn, Reg};
use bpfassay_spec::kfunc::KfuncFlags;
use bpfassay_spec::{AttachType, ProgType, TypeFlags};

use super::btf_record::FieldKinds;
use super::callback::{in_rbtree_lock_required_cb, push_callback_call, CalleeState};
use super::callinfo::{KfuncMeta, Special};
use super::dynptr::unmark_stack_slots_dynptr;
use super::exit::check_return_code;
use super::func_call::CALLER_SAVED;
use super::graph::convert_owning_non_owning;
use super::iter::process_iter_next_call;
use super::kfunc::{desc_btf, fetch_kfunc_meta, NoKfunc};
use super::kfunc_args::check_kfunc_args;
use super::kfunc_result::set_result;
use super::refs::{clear_all_pkt_pointers, release_reference};
use super::reg_arg::mark_insn_zext;
use super::trust::{in_rcu_cs, non_sleepable_region};
use crate::diagnostics::{self, Context};
use crate::domain::marks::Live;
use crate::domain::reg::{RegState, DEF_NOT_SUBREG};
use crate::domain::stack::SlotType;
use crate::env::Env;
use crate::explore::parents::mark_reg_read;
use crate::explore::worklist::push_stack;
use crate::stop::{Check, Errno, Stop};
use crate::verbose;

/// `MAX_ERRNO`: errors are -1 to -4095.
const MAX_ERRNO: i32 = 4095;

/// The kfunc call at `env.insn_idx`.
pub fn check_kfunc_call(env: &mut Env<'_>, insn: RawInsn) -> Check {
    let insn_idx = env.insn_idx;
    if insn.imm == 0 {
        // The kernel complains after exploration (`crate::late`), and takes the call for nothing until then.
        return Ok(());
    }
    let mut meta = match fetch_kfunc_meta(env, insn) {
        Ok(meta) => meta,
        Err(NoKfunc::NotAllowed(name)) => {
            verbose!(env, "calling kernel function {name} is not allowed\n");
            let why = "this program cannot call the kfunc";
            let instead = "Use a kfunc allowed for this program type and attach point, or change the program context.";
            diagnostics::report_policy(env, insn_idx, &format!("kfunc {name}"), (why, instead));
            return Err(Errno::EACCES.into());
        }
        Err(NoKfunc::Stopped(stop)) => return Err(stop),
    };
    env.aux_mut(insn_idx).is_iter_next = meta.has(KfuncFlags::ITER_NEXT);
    if meta.is(Special::ResSpinLock) || meta.is(Special::ResSpinLockIrqsave) {
        fork_failed_lock(env)?;
    } else if meta.is(Special::Trap) {
        verbose!(env, "unexpected __bpf_trap() due to uninitialized variable?\n");
        return Err(Errno::EFAULT.into());
    }
    if meta.has(KfuncFlags::DESTRUCTIVE) && !env.config.caps.sys_admin {
        verbose!(env, "destructive kfunc calls require CAP_SYS_BOOT capability\n");
        let why = "destructive kfuncs require CAP_SYS_BOOT";
        let instead = "Load the program with CAP_SYS_BOOT, or avoid destructive kfuncs.";
        let operation = format!("destructive kfunc {}", meta.name);
        diagnostics::report_policy(env, insn_idx, &operation, (why, instead));
        return Err(Errno::EACCES.into());
    }
    if meta.has(KfuncFlags::PERFMON) && !env.allow_ptr_leaks {
        verbose!(env, "{} is allowed only to CAP_PERFMON and CAP_SYS_ADMIN\n", meta.name);
        let why = "the kfunc requires CAP_PERFMON";
        let instead = "Load the program with CAP_PERFMON, or avoid the kfunc.";
        diagnostics::report_policy(env, insn_idx, &format!("kfunc {}", meta.name), (why, instead));
        return Err(Errno::EPERM.into());
    }
    let early = env.kernel.features.trust_tracked;
    if early && meta.has(KfuncFlags::SLEEPABLE) && !env.cur.in_sleepable {
        verbose!(env, "program must be sleepable to call sleepable kfunc {}\n", meta.name);
        let instead = "Mark the program sleepable if the program type allows it, or use a non-sleepable kfunc.";
        let operation = format!("sleepable kfunc {}", meta.name);
        diagnostics::report_forbidden(env, insn_idx, &operation, instead);
        return Err(Errno::EACCES.into());
    }
    check_kfunc_args(env, &mut meta, insn_idx)?;
    check_drop(env, &meta)?;
    push_callbacks(env, &mut meta, insn_idx)?;
    if env.kernel.features.rcu_sections_nest {
        check_sections(env, &meta)?;
    } else {
        check_rcu(env, &meta)?;
        check_preempt(env, &meta)?;
    }
    if env.cur.active_irq_id != 0 && meta.has(KfuncFlags::SLEEPABLE) {
        verbose!(env, "kernel func {} is sleepable within IRQ-disabled region\n", meta.name);
        return Err(Errno::EACCES.into());
    }
    let early = env.kernel.features.rcu_protection_required;
    if early && meta.has(KfuncFlags::RCU_PROTECTED) && !in_rcu_cs(env) {
        verbose!(env, "kernel func {} requires RCU critical section protection\n", meta.name);
        let instead = "Call this kfunc between bpf_rcu_read_lock() and bpf_rcu_read_unlock(), keeping all exit paths balanced.";
        diagnostics::report_outside(env, insn_idx, meta.name, Context::Rcu, instead);
        return Err(Errno::EACCES.into());
    }
    release(env, &meta, insn_idx)?;
    if meta.is(Special::Throw) {
        check_throw(env, &meta)?;
    }
    let (capable, frame) = (env.bpf_capable, env.cur.curframe());
    diagnostics::scrub_caller_saved(env, frame);
    diagnostics::begin_reg(env, Reg::R0);
    for r in CALLER_SAVED {
        env.reg_mut(r).mark_not_init(capable);
    }
    set_result(env, &mut meta, insn_idx)?;
    if meta.is(Special::XdpPullData) {
        clear_all_pkt_pointers(env);
    }
    read_args(env, &meta)?;
    diagnostics::end(env);
    if meta.has(KfuncFlags::ITER_NEXT) {
        process_iter_next_call(env, insn_idx, &meta)?;
    }
    Ok(())
}

/// Tracing programs may run in an NMI, where not every field can be freed.
fn check_drop(env: &mut Env<'_>, meta: &KfuncMeta) -> Check {
    if !env.kernel.features.nmi_drops_refused
        || !(meta.is(Special::ObjDrop) || meta.is(Special::PercpuObjDrop))
    {
        return Ok(());
    }
    let may_be_nmi = match env.prog_type() {
        ProgType::Tracing => {
            let iterates = env.prog.expected_attach_type == Some(AttachType::TraceIter);
            !iterates && !env.prog_sleepable
        }
        t => env.kernel.prog(t).is_some_and(|row| row.perf_like),
    };
    let record = meta.arg_btf.and_then(|t| env.struct_meta(t.btf, t.btf_id));
    if may_be_nmi && record.is_some_and(|r| r.has(FieldKinds::NMI_UNSAFE)) {
        verbose!(
            env,
            "{} cannot be used in tracing programs on types with NMI unsafe fields\n",
            meta.name
        );
        return Err(Errno::EINVAL.into());
    }
    Ok(())
}

/// A resilient lock may fail: that path is queued with an error in R0 and nothing held.
fn fork_failed_lock(env: &mut Env<'_>) -> Check {
    let (here, capable, features) = (env.insn_idx, env.bpf_capable, &env.kernel.features);
    let branch = match push_stack(env, here + 1, here, false) {
        Ok(branch) => branch,
        Err(stop) => {
            verbose!(env, "failed to push state for failed lock acquisition\n");
            return Err(stop);
        }
    };
    let frame = branch.cur_mut();
    for r in CALLER_SAVED {
        frame.reg_mut(r).mark_not_init(capable);
    }
    let r0 = frame.reg_mut(Reg::R0);
    r0.mark_unknown(capable);
    r0.narrow_to_int(-MAX_ERRNO, -1, features);
    r0.subreg_def = here as i32 + 1;
    Ok(())
}

fn push_callbacks(env: &mut Env<'_>, meta: &mut KfuncMeta, insn_idx: u32) -> Check {
    let kind = match meta.special {
        Some(Special::RbtreeAdd) => CalleeState::RbtreeAdd,
        Some(Special::WqSetCallback) => CalleeState::Workqueue,
        Some(s) if s.is_task_work() => CalleeState::TaskWork,
        Some(Special::SessionCookie) => {
            meta.r0_size = 8;
            meta.r0_rdonly = false;
            return Ok(());
        }
        _ => return Ok(()),
    };
    let pushed = push_callback_call(env, insn_idx, meta.subprogno, kind);
    if matches!(pushed, Err(Stop::Reject(_))) {
        verbose!(env, "kfunc {}#{} failed callback verification\n", meta.name, meta.func_id as i32);
    }
    pushed
}

/// Enters and leaves RCU sections; leaving one takes the trust from what it protected.
fn check_rcu(env: &mut Env<'_>, meta: &KfuncMeta) -> Check {
    let (lock, unlock) = (meta.is(Special::RcuReadLock), meta.is(Special::RcuReadUnlock));
    let name = meta.name;
    if env.cur.active_rcu_locks == 0 {
        if lock {
            env.cur.active_rcu_locks = 1;
        } else if unlock {
            verbose!(env, "unmatched rcu read unlock (kernel function {name})\n");
            return Err(Errno::EINVAL.into());
        }
        return Ok(());
    }
    if (lock || unlock) && in_rbtree_lock_required_cb(env) {
        verbose!(env, "Calling bpf_rcu_read_{{lock,unlock}} in unnecessary rbtree callback\n");
        return Err(Errno::EACCES.into());
    }
    if lock {
        verbose!(env, "nested rcu read lock (kernel function {name})\n");
        return Err(Errno::EINVAL.into());
    }
    if unlock {
        untrust_rcu_pointers(env);
        env.cur.active_rcu_locks = 0;
    } else if meta.has(KfuncFlags::SLEEPABLE) {
        verbose!(env, "kernel func {name} is sleepable within rcu_read_lock region\n");
        return Err(Errno::EACCES.into());
    }
    Ok(())
}

/// The same where sections nest; then whether the kfunc may sleep here.
fn check_sections(env: &mut Env<'_>, meta: &KfuncMeta) -> Check {
    let name = meta.name;
    let (lock, unlock) = (meta.is(Special::RcuReadLock), meta.is(Special::RcuReadUnlock));
    let atomic = env.kernel.features.atomic_sections_are_rcu;
    let at = env.insn_idx;
    if lock {
        env.cur.active_rcu_locks += 1;
        let depth = env.cur.active_rcu_locks;
        diagnostics::note_context(env, at, Context::Rcu, true, depth);
    } else if unlock {
        if env.cur.active_rcu_locks == 0 {
            verbose!(env, "unmatched rcu read unlock (kernel function {name})\n");
            let instead = "Remove the extra bpf_rcu_read_unlock() call, or ensure this path first enters an RCU read lock region.";
            diagnostics::report_underflow(env, at, name, Context::Rcu, instead);
            return Err(Errno::EINVAL.into());
        }
        env.cur.active_rcu_locks -= 1;
        let depth = env.cur.active_rcu_locks;
        diagnostics::note_context(env, at, Context::Rcu, false, depth);
        let left = if atomic { !in_rcu_cs(env) } else { env.cur.active_rcu_locks == 0 };
        if left {
            untrust_rcu_pointers(env);
        }
    } else {
        let leaves = count_preempt(env, meta)? && meta.is(Special::PreemptEnable);
        if leaves && atomic && !in_rcu_cs(env) {
            untrust_rcu_pointers(env);
        }
    }
    if let Some(region) = non_sleepable_region(env).filter(|_| meta.has(KfuncFlags::SLEEPABLE)) {
        verbose!(env, "kernel func {name} is sleepable within {region}\n");
        let instead =
            "Move the kfunc call outside the critical section, or use a non-sleepable kfunc.";
        diagnostics::report_forbidden(env, at, &format!("sleepable kfunc {name}"), instead);
        return Err(Errno::EACCES.into());
    }
    if (lock || unlock) && in_rbtree_lock_required_cb(env) {
        verbose!(env, "Calling bpf_rcu_read_{{lock,unlock}} in unnecessary rbtree callback\n");
        return Err(Errno::EACCES.into());
    }
    Ok(())
}

/// Registers, spilled registers and iterators.
pub fn untrust_rcu_pointers(env: &mut Env<'_>) {
    let mut gone = TypeFlags::MEM_RCU | TypeFlags::PTR_MAYBE_NULL;
    if env.kernel.features.atomic_sections_are_rcu {
        gone |= TypeFlags::NON_OWN_REF;
    }
    let untrust = |r: &mut RegState| {
        if r.ty.has(TypeFlags::MEM_RCU) {
            r.ty = r.ty.minus(gone).plus(TypeFlags::PTR_UNTRUSTED);
        }
    };
    let changing = diagnostics::places_in(
        env,
        |k| matches!(k, SlotType::Spill | SlotType::Iter),
        |r| r.ty.has(TypeFlags::MEM_RCU),
    );
    for i in 0..=env.cur.curframe() {
        let frame = env.cur.frame_mut(i);
        frame.regs.iter_mut().for_each(untrust);
        let protected = |kind: SlotType| matches!(kind, SlotType::Spill | SlotType::Iter);
        let any = frame
            .stack()
            .iter()
            .any(|s| protected(s.kind[7]) && s.spilled.ty.has(TypeFlags::MEM_RCU));
        if any {
            let slots = frame.stack_mut().iter_mut().filter(|s| protected(s.kind[7]));
            slots.for_each(|s| untrust(&mut s.spilled));
        }
    }
    diagnostics::changed(env, changing);
}

/// Enters and leaves preempt-disabled sections, which nest; false where the kfunc does neither.
fn count_preempt(env: &mut Env<'_>, meta: &KfuncMeta) -> Check<bool> {
    let at = env.insn_idx;
    if meta.is(Special::PreemptDisable) {
        env.cur.active_preempt_locks += 1;
        let depth = env.cur.active_preempt_locks;
        diagnostics::note_context(env, at, Context::Preempt, true, depth);
    } else if meta.is(Special::PreemptEnable) {
        if env.cur.active_preempt_locks == 0 {
            let name = meta.name;
            verbose!(env, "unmatched attempt to enable preemption (kernel function {name})\n");
            let instead = "Remove the extra bpf_preempt_enable() call, or ensure this path first disables preemption.";
            diagnostics::report_underflow(env, at, name, Context::Preempt, instead);
            return Err(Errno::EINVAL.into());
        }
        env.cur.active_preempt_locks -= 1;
        let depth = env.cur.active_preempt_locks;
        diagnostics::note_context(env, at, Context::Preempt, false, depth);
    } else {
        return Ok(false);
    }
    Ok(true)
}

/// The same where other sections are kept apart; then whether the kfunc may sleep here.
fn check_preempt(env: &mut Env<'_>, meta: &KfuncMeta) -> Check {
    let counted = count_preempt(env, meta)?;
    if !counted && env.cur.active_preempt_locks != 0 && meta.has(KfuncFlags::SLEEPABLE) {
        let name = meta.name;
        verbose!(env, "kernel func {name} is sleepable within non-preemptible region\n");
        return Err(Errno::EACCES.into());
    }
    Ok(())
}

/// Released arguments, and objects that a list or tree takes over.
fn release(env: &mut Env<'_>, meta: &KfuncMeta, insn_idx: u32) -> Check {
    let (name, id) = (meta.name, meta.func_id as i32);
    if let Some(regno) = meta.release_regno.filter(|_| meta.is(Special::DynptrFileDiscard)) {
        let reg = *env.reg(regno);
        return unmark_stack_slots_dynptr(env, &reg);
    }
    if let Some(regno) = meta.release_regno {
        let ref_id = env.reg(regno).ref_obj_id;
        if let Err(e) = release_reference(env, ref_id) {
            if env.kernel.features.references_by_id {
                return Err(e.into());
            }
            verbose!(env, "kfunc {name}#{id} reference has not been acquired before\n");
            return Err(e.into());
        }
    }
    if !matches!(
        meta.special,
        Some(
            Special::ListPushFront | Special::ListPushBack | Special::ListAdd | Special::RbtreeAdd
        )
    ) {
        return Ok(());
    }
    let node = *env.reg(Reg::R2);
    let meta_id =
        meta.arg_btf.filter(|t| env.struct_meta(t.btf, t.btf_id).is_some()).map_or(0, |t| t.btf_id);
    let aux = env.aux_mut(insn_idx);
    aux.insert_off = node.const_off() as i64 as u64;
    aux.kptr_struct_meta = meta_id;
    if let Err(stop) = convert_owning_non_owning(env, node.ref_obj_id) {
        verbose!(env, "kfunc {name}#{id} conversion of owning ref to non-owning failed\n");
        return Err(stop);
    }
    if let Err(e) = release_reference(env, node.ref_obj_id) {
        verbose!(env, "kfunc {name}#{id} reference has not been acquired before\n");
        return Err(e.into());
    }
    Ok(())
}

/// Without a callback of the program's own the cookie becomes its return value.
fn check_throw(env: &mut Env<'_>, meta: &KfuncMeta) -> Check {
    if !env.kernel.jit.exceptions {
        verbose!(env, "JIT does not support calling kfunc {}#{}\n", meta.name, meta.func_id as i32);
        return Err(Errno::ENOTSUPP.into());
    }
    env.seen_exception = true;
    if env.exception_callback_subprog.is_none() {
        check_return_code(env, Reg::R1, "R1")?;
    }
    Ok(())
}

/// Arguments are read; 32-bit definitions passed as 64-bit ones must be zero-extended (`mark_btf_func_reg_size`).
fn read_args(env: &mut Env<'_>, meta: &KfuncMeta) -> Check {
    let btf = desc_btf(env, meta)?;
    let Some(proto) = btf.ty(meta.proto_id) else { return Ok(()) };
    for (i, p) in proto.params().enumerate().take(5) {
        let wide =
            btf.skip_mods_and_typedefs(p.type_id).and_then(|t| btf.size_of(t.id())) == Some(8);
        let regno = Reg(i as u8 + 1);
        if wide && env.reg(regno).subreg_def != DEF_NOT_SUBREG {
            let mut reg = *env.reg(regno);
            mark_insn_zext(env, &mut reg);
            *env.reg_mut(regno) = reg;
        }
        let frame = env.cur.curframe();
        mark_reg_read(env, frame, regno, if wide { Live::READ64 } else { Live::READ32 })?;
    }
    Ok(())
}
