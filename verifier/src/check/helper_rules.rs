//! What single helpers ask for beyond their prototypes (the switch in `check_helper_call`).

use bpfassay_isa::Reg;
use bpfassay_object::btf::BtfKind;
use bpfassay_spec::{func, ArgBase, AttachType, HelperProto, ProgType, RegBase, TypeFlags};

use super::btf_ctx::hook_retval_range;
use super::callback::{push_callback_call, CalleeState};
use super::callinfo::CallMeta;
use super::const_arg::check_bpf_snprintf_call;
use super::dynptr;
use super::exit::{retval_range_within, verbose_invalid_scalar};
use super::helper::{check_tail_call_leaks, dynptr_write_moves_packet, Special};
use super::helper_result::MAX_ERRNO;
use super::plain_dynptr;
use super::stack::register_is_null;
use crate::domain::reg::{BtfObj, DynptrType, RegState};
use crate::domain::state::RetvalRange;
use crate::env::{AuxUse, Env};
use crate::explore::precision::mark_chain_precision;
use crate::stop::{Check, Errno, Stop};
use crate::{trace, verbose, verifier_bug};

/// Rules of the helper in `meta.func_id`, after its arguments.
pub fn check(
    env: &mut Env<'_>,
    proto: &HelperProto,
    meta: &mut CallMeta,
    special: &mut Special,
) -> Check {
    let here = env.insn_idx;
    match meta.func_id {
        func::TAIL_CALL => check_tail_call_leaks(env),
        func::GET_LOCAL_STORAGE => {
            if !register_is_null(env.reg(Reg::R2)) {
                verbose!(env, "get_local_storage() doesn't support non-zero flags\n");
                return Err(Errno::EINVAL.into());
            }
            if env.kernel.features.null_arguments_precise {
                mark_chain_precision(env, Reg::R2)?;
            }
            Ok(())
        }
        func::FOR_EACH_MAP_ELEM => {
            push_callback_call(env, here, meta.subprogno, CalleeState::ForEachMapElem)
        }
        func::TIMER_SET_CALLBACK => {
            push_callback_call(env, here, meta.subprogno, CalleeState::Timer)
        }
        func::FIND_VMA => push_callback_call(env, here, meta.subprogno, CalleeState::FindVma),
        func::USER_RINGBUF_DRAIN => {
            push_callback_call(env, here, meta.subprogno, CalleeState::UserRingbuf)
        }
        func::SNPRINTF => check_bpf_snprintf_call(env),
        func::LOOP => check_loop(env, meta.subprogno),
        func::DYNPTR_FROM_MEM => {
            let ty = env.reg(Reg::R1).ty;
            if ty != RegBase::MapValue {
                verbose!(
                    env,
                    "Unsupported reg type {} for bpf_dynptr_from_mem data\n",
                    env.type_name(ty)
                );
                return Err(Errno::EACCES.into());
            }
            Ok(())
        }
        func::SET_RETVAL => check_set_retval(env),
        func::DYNPTR_DATA => check_dynptr_data(env, proto, meta),
        func::DYNPTR_WRITE if env.kernel.features.dynptrs_tracked => {
            let reg = dynptr_arg(env, proto)?;
            let ty = dynptr::dynptr_get_type(env, &reg);
            if ty == DynptrType::Invalid {
                return Err(Errno::EFAULT.into());
            }
            special.changes_data |= dynptr_write_moves_packet(ty);
            Ok(())
        }
        func::PER_CPU_PTR | func::THIS_CPU_PTR => check_per_cpu_ptr(env, here, special),
        _ => Ok(()),
    }
}

/// `bpf_loop` runs its callback again until the bound in R1 is reached on this path.
fn check_loop(env: &mut Env<'_>, subprog: u32) -> Check {
    update_loop_inline_state(env, subprog)?;
    if !env.kernel.features.callbacks_repeat {
        return push_callback_call(env, env.insn_idx, subprog, CalleeState::Loop);
    }
    mark_chain_precision(env, Reg::R1)?;
    if (env.frame().callback_depth as u64) < env.reg(Reg::R1).umax {
        let here = env.insn_idx;
        return push_callback_call(env, here, subprog, CalleeState::Loop);
    }
    env.frame_mut().callback_depth = 0;
    if env.log.level.is_level2() {
        let frame = env.cur.curframe();
        trace!(env, "frame{frame} bpf_loop iteration limit reached\n");
    }
    Ok(())
}

/// Zero flags and one callback on every path allow inlining; the flags then must be precise.
fn update_loop_inline_state(env: &mut Env<'_>, subprog: u32) -> Check {
    let here = env.insn_idx;
    let fit = match env.aux(here).used {
        AuxUse::LoopInline { fit: false, .. } => return Ok(()),
        AuxUse::LoopInline { callback_subprog, .. } => {
            loop_flag_is_zero(env)? && callback_subprog == subprog
        }
        _ => loop_flag_is_zero(env)?,
    };
    let callback_subprog = match env.aux(here).used {
        AuxUse::LoopInline { callback_subprog, .. } => callback_subprog,
        _ => subprog,
    };
    env.aux_mut(here).used = AuxUse::LoopInline { fit, callback_subprog };
    Ok(())
}

fn loop_flag_is_zero(env: &mut Env<'_>) -> Check<bool> {
    let is_null = register_is_null(env.reg(Reg::R4));
    if is_null {
        // The kernel drops a failure here; it comes back at the next demand.
        if let Err(stop @ Stop::Unsupported(_)) = mark_chain_precision(env, Reg::R4) {
            return Err(stop);
        }
    }
    Ok(is_null)
}

/// LSM cgroup programs on hooks without a result cannot set one; elsewhere it must be one that may be returned.
fn check_set_retval(env: &mut Env<'_>) -> Check {
    let bounded = env.kernel.features.set_retval_bounded;
    if bounded && !env.reg(Reg::R1).is_scalar() {
        verbose!(env, "R1 is not a scalar\n");
        return Err(Errno::EINVAL.into());
    }
    let gets_option = env.prog_type() == ProgType::CgroupSockopt
        && env.prog.expected_attach_type == Some(AttachType::CgroupGetsockopt);
    if gets_option {
        return Ok(());
    }
    check_hook_has_result(env)?;
    if !bounded {
        return Ok(());
    }
    let is_lsm = env.prog_type() == ProgType::Lsm;
    let of_hook = if is_lsm { hook_retval_range(env)? } else { None };
    let (min, max) = of_hook.unwrap_or((-MAX_ERRNO, 0));
    mark_chain_precision(env, Reg::R1)?;
    let (reg, range) = (*env.reg(Reg::R1), RetvalRange { min, max });
    if !retval_range_within(env, range, &reg, true) {
        verbose_invalid_scalar(env, &reg, range, "At bpf_set_retval", "R1");
        return Err(Errno::EINVAL.into());
    }
    Ok(())
}

fn check_hook_has_result(env: &mut Env<'_>) -> Check {
    let is_lsm_cgroup = env.prog_type() == ProgType::Lsm
        && env.prog.expected_attach_type == Some(AttachType::LsmCgroup);
    if !is_lsm_cgroup {
        return Ok(());
    }
    let target = env.prog.attach_target.as_ref();
    let proto =
        target.and_then(|t| env.btf(BtfObj::VMLINUX)?.func_proto(t.btf_id).map(|p| p.type_id()));
    match proto {
        None => Err(Stop::unsupported("LSM hook without a kernel BTF")),
        Some(0) => {
            verbose!(
                env,
                "BPF_LSM_CGROUP that attach to void LSM hooks can't modify return value!\n"
            );
            Err(Errno::EINVAL.into())
        }
        Some(_) => Ok(()),
    }
}

/// The only dynptr argument (`get_dynptr_arg_reg`).
fn dynptr_arg(env: &mut Env<'_>, proto: &HelperProto) -> Check<RegState> {
    let at: Vec<usize> = (0..5).filter(|i| proto.args[*i].base() == ArgBase::Dynptr).collect();
    match at[..] {
        [i] => Ok(*env.reg(Reg(i as u8 + 1))),
        [] => {
            verbose!(env, "verifier internal error: no dynptr arg found\n");
            Err(Errno::EFAULT.into())
        }
        _ => {
            verbose!(env, "verifier internal error: multiple dynptr args\n");
            Err(Errno::EFAULT.into())
        }
    }
}

/// The slice lives as long as the dynptr and its reference.
fn check_dynptr_data(env: &mut Env<'_>, proto: &HelperProto, meta: &mut CallMeta) -> Check {
    let reg = dynptr_arg(env, proto)?;
    if meta.dynptr_id != 0 || meta.ref_obj_id != 0 {
        let which = if meta.dynptr_id != 0 { "dynptr_id" } else { "ref_obj_id" };
        verifier_bug!(env, "meta.{which} already set");
        return Err(Errno::EFAULT.into());
    }
    if !env.kernel.features.dynptrs_tracked {
        let on_stack = reg.ty == RegBase::Stack;
        meta.ref_obj_id = if on_stack { plain_dynptr::reference(env, &reg) } else { 0 };
        return Ok(());
    }
    meta.dynptr_id = dynptr::dynptr_id(env, &reg)?;
    meta.ref_obj_id = dynptr::dynptr_ref_obj_id(env, &reg)?;
    Ok(())
}

/// A per-CPU object that the program allocated comes out as an allocated object.
fn check_per_cpu_ptr(env: &mut Env<'_>, insn_idx: u32, special: &mut Special) -> Check {
    let reg = *env.reg(Reg::R1);
    if !reg.ty.has(TypeFlags::MEM_RCU) {
        return Ok(());
    }
    let kind = reg.btf().and_then(|b| env.btf(b)).and_then(|b| b.kind(reg.btf_id()));
    if !kind.is_some_and(BtfKind::is_composite) {
        verbose!(env, "Helper has invalid btf/btf_id in R1\n");
        return Err(Errno::EFAULT.into());
    }
    special.percpu_alloc = true;
    env.aux_mut(insn_idx).call_with_percpu_alloc_ptr = true;
    Ok(())
}

/// `bpf_get_func_ip` needs a trampoline, or a kprobe (`check_get_func_ip`).
pub fn check_get_func_ip(env: &mut Env<'_>) -> Check {
    let (id, name) = (func::GET_FUNC_IP, env.kernel.helper_name(func::GET_FUNC_IP));
    match env.prog_type() {
        ProgType::Tracing => {
            let has_trampoline = matches!(
                env.prog.expected_attach_type,
                Some(
                    AttachType::TraceFentry
                        | AttachType::TraceFexit
                        | AttachType::TraceFsession
                        | AttachType::ModifyReturn
                )
            );
            if has_trampoline {
                return Ok(());
            }
            verbose!(env, words.func_ip_nowhere, name = name, id = id);
        }
        ProgType::Kprobe => return Ok(()),
        other => {
            verbose!(env, "func {name}#{id} not supported for program type {}\n", other.number());
        }
    }
    Err(Errno::ENOTSUPP.into())
}
