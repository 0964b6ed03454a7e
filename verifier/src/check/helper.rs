//! Helper calls (`check_helper_call`).
//!
//! Order as in the kernel: prototype, licence, program, context, arguments, map bookkeeping,
//! memory the helper fills, release, what is special to one helper, result, map compatibility.

use bpfassay_isa::{Reg, Size};
use bpfassay_spec::prog::is_gpl_compatible;
use bpfassay_spec::{func, ArgBase, HelperProto, MapType, ProtoLookup, RegBase, TypeFlags};

use super::args::check_func_arg;
use super::callinfo::CallMeta;
use super::dynptr;
use super::func_call::{clear_caller_saved_regs, prepare_func_exit};
use super::helper_result::set_result;
use super::map_compat::check_map_func_compatibility;
use super::mem::check_mem_access;
use super::refs::{self, check_resource_leak, clear_all_pkt_pointers, Leaving};
use super::stack::register_is_null;
use super::summary::helper_may_sleep;
use super::trust::in_rcu_cs;
use super::{helper_rules, Access};
use crate::diagnostics;
use crate::domain::reg::{DynptrType, RegState, DEF_NOT_SUBREG};
use crate::env::{AuxUse, Env};
use crate::explore::precision::mark_chain_precision;
use crate::explore::worklist::push_stack;
use crate::stop::{Check, Errno};
use crate::transfer::mark::mark_reg_unknown;
use crate::{verbose, verifier_bug};

/// What the helper's own rules found out.
#[derive(Default)]
pub struct Special {
    /// Packet pointers are void afterwards.
    pub changes_data: bool,
    /// The result is a pointer into a per-CPU object the program allocated.
    pub percpu_alloc: bool,
}

/// The helper call at `env.insn_idx`.
pub fn check_helper_call(env: &mut Env<'_>, func_id: i32) -> Check {
    let insn_idx = env.insn_idx;
    let proto = helper_proto(env, func_id)?;
    check_may_call(env, proto, func_id)?;
    let mut meta = CallMeta { pkt_access: proto.pkt_access, func_id, ..CallMeta::default() };
    check_context(env, proto, insn_idx)?;
    for arg in 0..proto.args.len() {
        check_func_arg(env, arg, &mut meta, proto)?;
    }
    record_func_map(env, &meta, insn_idx)?;
    record_func_key(env, &meta, insn_idx)?;
    if let Some(regno) = meta.regno {
        for i in 0..meta.access_size {
            check_mem_access(env, insn_idx, regno, i, Size::B, Access::Write, None, false, false)?;
        }
    }
    release_argument(env, proto, &meta)?;
    let mut special =
        Special { changes_data: changes_pkt_data(env, func_id), ..Special::default() };
    let frame = env.cur.curframe();
    helper_rules::check(env, proto, &mut meta, &mut special)?;

    diagnostics::begin_reg(env, Reg::R0);
    clear_caller_saved_regs(env, frame);
    if env.cur.curframe() != frame {
        return leave_for_callback(env, frame, &meta);
    }
    set_result(env, proto, &meta, special.percpu_alloc)?;
    diagnostics::end(env);
    check_map_func_compatibility(env, meta.map, func_id)?;
    if func_id == func::GET_FUNC_IP {
        helper_rules::check_get_func_ip(env)?;
    }
    if func_id == func::TAIL_CALL {
        if env.cur.curframe() == 0 && env.kernel.features.tail_call_may_leave_subprog {
            // The program ends, or goes on with its packet untouched.
            return Ok(());
        }
        if env.kernel.features.tail_call_not_in_callback && env.frame().in_callback_fn {
            verbose!(env, "cannot tail call within callback\n");
            return Err(Errno::EINVAL.into());
        }
        if env.kernel.features.tail_call_may_leave_subprog {
            return tail_call_in_subprog(env, special.changes_data);
        }
    }
    if special.changes_data {
        clear_all_pkt_pointers(env);
    }
    Ok(())
}

/// The path goes on in the callback: the caller's frame has the call's result already.
fn leave_for_callback(env: &mut Env<'_>, frame: u32, meta: &CallMeta) -> Check {
    let capable = env.bpf_capable;
    let r0 = env.cur.frame_mut(frame).reg_mut(Reg::R0);
    r0.mark_unknown(capable);
    r0.subreg_def = DEF_NOT_SUBREG;
    check_map_func_compatibility(env, meta.map, meta.func_id)
}

/// A taken tail call in a subprogram comes back to its caller with anything in R0 and the packet
/// changed; the path that did not take it is queued.
fn tail_call_in_subprog(env: &mut Env<'_>, changes_data: bool) -> Check {
    env.mark_reg_scratched(Reg::R0);
    let here = env.insn_idx;
    push_stack(env, here + 1, here, false)?;
    clear_all_pkt_pointers(env);
    mark_reg_unknown(env, Reg::R0);
    prepare_func_exit(env)?;
    env.insn_idx = env.insn_idx.wrapping_sub(1);
    if changes_data {
        clear_all_pkt_pointers(env);
    }
    Ok(())
}

/// Prototype for this program type (`get_helper_proto`), remembered per number.
fn helper_proto(env: &mut Env<'_>, func_id: i32) -> Check<&'static HelperProto> {
    match super::summary::lookup_helper(env, func_id) {
        ProtoLookup::Proto(p) => Ok(p),
        ProtoLookup::UnknownHelper => {
            verbose!(env, "invalid func {}#{func_id}\n", env.kernel.helper_name(func_id));
            Err(Errno::EINVAL.into())
        }
        ProtoLookup::NotAllowed { .. } => {
            let name = env.kernel.helper_name(func_id);
            verbose!(env, words.helper_not_allowed, name = name, id = func_id);
            refuse(
                env,
                func_id,
                "this program type does not allow the helper",
                "Use a helper allowed for this program type, or move the logic to a compatible program type.",
            );
            Err(Errno::EINVAL.into())
        }
    }
}

/// Reports that the program may not call the helper.
fn refuse(env: &mut Env<'_>, func_id: i32, reason: &'static str, suggestion: &'static str) {
    let operation = format!("helper {}#{func_id}", env.kernel.helper_name(func_id));
    let at = env.insn_idx;
    diagnostics::report_policy(env, at, &operation, (reason, suggestion));
}

/// Packet pointers are void after the helper.
fn changes_pkt_data(env: &Env<'_>, func_id: i32) -> bool {
    let known = func_id != func::TAIL_CALL || env.kernel.features.packet_changes_known;
    known && env.kernel.helper_traits(func_id).changes_pkt_data
}

fn check_may_call(env: &mut Env<'_>, proto: &HelperProto, func_id: i32) -> Check {
    if proto.gpl_only && !is_gpl_compatible(&env.prog.license) {
        verbose!(env, "cannot call GPL-restricted function from non-GPL compatible program\n");
        refuse(
            env,
            func_id,
            "this helper is restricted to GPL-compatible programs",
            "Use a GPL-compatible license, or replace the helper with one that is available to non-GPL programs.",
        );
        return Err(Errno::EINVAL.into());
    }
    if let Some(rule) = proto.allowed {
        let allowed =
            super::summary::with_prog_kind(env, |k| env.kernel.helper_allowed(rule, k, false));
        if !allowed {
            verbose!(env, "helper call is not allowed in probe\n");
            refuse(
                env,
                func_id,
                "the helper-specific policy callback rejected this program",
                "Use the helper only from an allowed attach point or program configuration.",
            );
            return Err(Errno::EINVAL.into());
        }
    }
    if env.kernel.features.sleepers_named {
        if let Some(region) =
            super::trust::non_sleepable_region(env).filter(|_| helper_may_sleep(env, proto))
        {
            let func = env.kernel.helper_name(func_id);
            verbose!(env, "sleepable helper {func}#{func_id} in {region}\n");
            let (at, operation) = (env.insn_idx, format!("sleepable helper {func}#{func_id}"));
            let suggestion =
                "Move the helper call outside the critical section, or use a non-sleepable helper.";
            diagnostics::report_forbidden(env, at, &operation, suggestion);
            return Err(Errno::EINVAL.into());
        }
    } else if proto.might_sleep && !env.cur.in_sleepable {
        let func = env.kernel.helper_name(func_id);
        verbose!(env, words.helper_sleeps, func = func, id = func_id);
        return Err(Errno::EINVAL.into());
    }
    if changes_pkt_data(env, func_id) && proto.args[0] != ArgBase::Ctx {
        verifier_bug!(env, "func {}#{func_id}: r1 != ctx", env.kernel.helper_name(func_id));
        return Err(Errno::EFAULT.into());
    }
    Ok(())
}

/// RCU, preempt-disabled and IRQ-disabled regions forbid sleeping and make storage allocation atomic.
fn check_context(env: &mut Env<'_>, proto: &HelperProto, insn_idx: u32) -> Check {
    let regions = [
        (env.cur.active_rcu_locks != 0, "rcu_read_lock"),
        (env.cur.active_preempt_locks != 0, "non-preemptible"),
        (env.cur.active_irq_id != 0, "IRQ-disabled"),
    ];
    let id = proto.id as i32;
    for (_, region) in regions.iter().filter(|(active, _)| *active) {
        if proto.might_sleep {
            verbose!(
                env,
                "sleepable helper {}#{id} in {region} region\n",
                env.kernel.helper_name(id)
            );
            return Err(Errno::EINVAL.into());
        }
    }
    let atomic = regions.iter().any(|(active, _)| *active) || !env.cur.in_sleepable;
    if atomic && env.kernel.helper_traits(id).gets_storage {
        env.aux_mut(insn_idx).storage_get_func_atomic = true;
    }
    Ok(())
}

/// Remembers the call's map; calls with different maps cannot be inlined (`record_func_map`).
fn record_func_map(env: &mut Env<'_>, meta: &CallMeta, insn_idx: u32) -> Check {
    let traits = env.kernel.helper_traits(meta.func_id);
    if !traits.records_map {
        return Ok(());
    }
    let Some(map) = meta.map else {
        verifier_bug!(env, "expected map for helper call");
        return Err(Errno::EFAULT.into());
    };
    let read_only = env.map(map).def.map_flags & bpfassay_object::model::MapDef::F_RDONLY_PROG != 0;
    if read_only && traits.writes_map {
        verbose!(env, "write into map forbidden\n");
        return Err(Errno::EACCES.into());
    }
    let aux = env.aux_mut(insn_idx);
    aux.used = match aux.used {
        AuxUse::MapPtr { map: have, poison } if have == map => AuxUse::MapPtr { map, poison },
        AuxUse::MapPtr { .. } => AuxUse::MapPtr { map, poison: true },
        _ => AuxUse::MapPtr { map, poison: false },
    };
    Ok(())
}

const KEY_POISON: u64 = 1 << 63;
const KEY_SEEN: u64 = 1 << 62;

/// Remembers the constant index of a tail call (`record_func_key`).
fn record_func_key(env: &mut Env<'_>, meta: &CallMeta, insn_idx: u32) -> Check {
    if meta.func_id != func::TAIL_CALL {
        return Ok(());
    }
    let map = meta.map.map(|m| env.map(m).def.clone());
    let Some(map) = map.filter(|m| m.map_type == MapType::ProgArray) else {
        verbose!(env, words.tail_call_map);
        return Err(Errno::EINVAL.into());
    };
    let key = *env.reg(Reg::R3);
    let value = key.var_off.value;
    if !(key.is_scalar() && key.var_off.is_const() && value < map.max_entries as u64) {
        store_key(env, insn_idx, KEY_POISON);
        return Ok(());
    }
    mark_chain_precision(env, Reg::R3)?;
    let state = env.aux(insn_idx).map_key_state;
    if state & KEY_SEEN == 0 {
        store_key(env, insn_idx, value);
    } else if state & KEY_POISON == 0 && state & !(KEY_SEEN | KEY_POISON) != value {
        store_key(env, insn_idx, KEY_POISON);
    }
    Ok(())
}

fn store_key(env: &mut Env<'_>, insn_idx: u32, value: u64) {
    let aux = env.aux_mut(insn_idx);
    aux.map_key_state = value | KEY_SEEN | (aux.map_key_state & KEY_POISON);
}

/// Gives back the reference of the argument the helper consumes.
fn release_argument(env: &mut Env<'_>, proto: &HelperProto, meta: &CallMeta) -> Check {
    let Some(regno) = meta.release_regno else { return Ok(()) };
    let arg = proto.args.get(regno.index().saturating_sub(1)).copied();
    let reg = *env.reg(regno);
    let released = if arg.is_some_and(|a| a.base() == ArgBase::Dynptr) {
        if reg.ty == RegBase::ConstDynptr {
            verifier_bug!(env, "CONST_PTR_TO_DYNPTR cannot be released");
            return Err(Errno::EFAULT.into());
        }
        dynptr::unmark_stack_slots_dynptr(env, &reg)
    } else if meta.func_id == func::KPTR_XCHG && meta.ref_obj_id != 0 {
        release_to_kptr(env, meta.ref_obj_id).map_err(Into::into)
    } else if meta.ref_obj_id != 0 {
        refs::release_reference(env, meta.ref_obj_id).map_err(Into::into)
    } else if register_is_null(&reg) {
        Ok(())
    } else {
        Err(Errno::EINVAL.into())
    };
    if let (Err(crate::Stop::Reject(_)), false) = (&released, env.kernel.features.references_by_id)
    {
        let id = meta.func_id;
        verbose!(
            env,
            "func {}#{id} reference has not been acquired before\n",
            env.kernel.helper_name(id)
        );
    }
    released
}

/// The map or object owns it now.  Inside an RCU section a per-CPU object stays readable.
fn release_to_kptr(env: &mut Env<'_>, id: u32) -> Result<(), Errno> {
    let in_rcu = in_rcu_cs(env);
    if env.kernel.features.references_by_id {
        let percpu =
            |r: &RegState| r.ty.has(TypeFlags::MEM_ALLOC) && r.ty.has(TypeFlags::MEM_PERCPU);
        if !in_rcu || !percpu(env.reg(Reg::R2)) {
            return refs::release_reference(env, id);
        }
        refs::release_reference_nomark(env, id)?;
        env.cur.for_each_reg_mut(|_, reg| {
            if reg.id == id && percpu(reg) {
                (reg.id, reg.ref_obj_id) = (0, 0);
                reg.ty = reg.ty.minus(TypeFlags::MEM_ALLOC).plus(TypeFlags::MEM_RCU);
            }
        });
        return Ok(());
    }
    refs::release_reference_nomark(env, id)?;
    let (leaks, capable) = (env.allow_ptr_leaks, env.bpf_capable);
    env.cur.for_each_reg_mut(|_, reg| {
        if reg.ref_obj_id != id {
            return;
        }
        if in_rcu && reg.ty.has(TypeFlags::MEM_ALLOC) && reg.ty.has(TypeFlags::MEM_PERCPU) {
            reg.ref_obj_id = 0;
            reg.ty = reg.ty.minus(TypeFlags::MEM_ALLOC).plus(TypeFlags::MEM_RCU);
        } else {
            refs::mark_reg_invalid(reg, leaks, capable);
        }
    });
    Ok(())
}

/// A program may leave for another one only with nothing held.
pub(super) fn check_tail_call_leaks(env: &mut Env<'_>) -> Check {
    check_resource_leak(env, false, true, Leaving::TailCall)
}

/// Dynptr kinds whose writes void packet pointers.
pub(super) fn dynptr_write_moves_packet(ty: DynptrType) -> bool {
    matches!(ty, DynptrType::Skb | DynptrType::SkbMeta)
}
