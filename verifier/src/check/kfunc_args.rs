//! The arguments of a kfunc call, R1 to R5 (`check_kfunc_args`).

use bpfassay_isa::Reg;
use bpfassay_object::btf::{BtfKind, Type};
use bpfassay_spec::kfunc::KfuncFlags;
use bpfassay_spec::{ArgBase, ArgType, AttachType, MapType, ProgType, RegBase, RegType, TypeFlags};

use super::arg_types::check_func_arg_reg_off;
use super::btf_record::FieldKinds;
use super::callinfo::{KfuncMeta, Special};
use super::const_arg::check_reg_const_str;
use super::dynptr::Origin;
use super::kfunc_arg::{arg_name, is_scalar, is_scalar_struct, ptr_arg, reg2btf, KfParam, PtrArg};
use super::kfunc_btf_arg::{check_btf_id, Wanted};
use super::kfunc_objects::{
    check_alloc, check_holder, check_owned, check_rb_node, check_refcounted, check_res_lock,
    check_timed_field,
};
use super::kfunc_sizes::check_mem_size;
use super::mem_arg::check_mem_reg;
use super::region::check_ptr_off_reg;
use super::stack::register_is_null;
use super::trust::is_non_owning_ref;
use super::trust::{has_unsafe_modifiers, is_rcu_reg, is_trusted_reg};
use super::{dynptr, graph, irq, iter, kfunc, prog_ctx};
use crate::diagnostics;
use crate::domain::reg::{DynptrType, RegState};
use crate::env::Env;
use crate::explore::precision::mark_chain_precision;
use crate::stop::{Check, Errno, Stop};
use crate::{verbose, verifier_bug};

/// What is released must be trusted too (`is_kfunc_trusted_args`).
const TRUSTED_ARGS: KfuncFlags = KfuncFlags(KfuncFlags::TRUSTED_ARGS.0 | KfuncFlags::RELEASE.0);

pub(super) const ALLOC: RegType = RegType::with(RegBase::BtfId, TypeFlags::MEM_ALLOC);

pub(super) fn invalid<T>() -> Check<T> {
    Err(Errno::EINVAL.into())
}

/// Every argument of the call at `insn_idx`.
pub fn check_kfunc_args(env: &mut Env<'_>, meta: &mut KfuncMeta, insn_idx: u32) -> Check {
    if !env.kernel.features.trust_tracked {
        return super::plain_kfunc_args::check(env, meta);
    }
    let btf = kfunc::desc_btf(env, meta)?;
    let proto = btf.ty(meta.proto_id).ok_or(Stop::Reject(Errno::EINVAL))?;
    let params: Vec<KfParam<'_>> = proto.params().map(|p| KfParam::new(&btf, p)).collect();
    let most = env.kernel.limits.max_func_reg_args;
    if params.len() > most as usize && env.kernel.features.args_named_by_register {
        return Err(Stop::unsupported("kfunc arguments on the stack"));
    }
    if params.len() > most as usize {
        verbose!(env, "Function {} has {} > {most} args\n", meta.name, params.len());
        return invalid();
    }
    let mut i = 0;
    while i < params.len() {
        i += check_arg(env, meta, &params, i, insn_idx)?;
    }
    let named_early = env.kernel.features.release_arg_checked_first;
    if meta.has(KfuncFlags::RELEASE) && meta.release_regno.is_none() && !named_early {
        verbose!(env, "release kernel function {} expects refcounted PTR_TO_BTF_ID\n", meta.name);
        return invalid();
    }
    Ok(())
}

/// Checks argument `i`; returns how many arguments that covered.
fn check_arg(
    env: &mut Env<'_>,
    meta: &mut KfuncMeta,
    params: &[KfParam<'_>],
    i: usize,
    insn_idx: u32,
) -> Check<usize> {
    let arg = arg_name(env, i);
    let (param, regno) = (&params[i], Reg(i as u8 + 1));
    if param.has("__ign") {
        return Ok(1);
    }
    if i >= usize::from(meta.visible_args) {
        // Filled in by the kernel.
        return Ok(1);
    }
    if param.has("__prog") {
        if meta.arg_prog {
            verifier_bug!(env, "Only 1 prog->aux argument supported per-kfunc");
            return Err(Errno::EFAULT.into());
        }
        meta.arg_prog = true;
        env.aux_mut(insn_idx).arg_prog = regno.0;
        return Ok(1);
    }
    let Some(t) = param.ty() else { return invalid() };
    if is_scalar(t) {
        check_scalar(env, meta, param, regno)?;
        return Ok(1);
    }
    if t.kind() != BtfKind::Ptr {
        verbose!(env, "Unrecognized {arg} type {}\n", t.kind().kernel_name());
        return invalid();
    }
    let reg = *env.reg(regno);
    let may_be_null = register_is_null(&reg) || reg.ty.may_be_null();
    let trusted = env.kernel.features.kfunc_args_trusted;
    if (trusted || meta.has(TRUSTED_ARGS) || meta.has(KfuncFlags::RCU))
        && may_be_null
        && !param.may_be_null()
    {
        let by_register = env.kernel.features.args_named_by_register;
        let arg = if by_register { arg.to_string() } else { format!("arg{i}") };
        verbose!(env, "Possibly NULL pointer passed to trusted {arg}\n");
        let ty = diagnostics::type_text(param.btf, param.type_id);
        let what = (
            "the pointer may be NULL, but this kfunc requires a non-NULL value of type {type}",
            "Add a NULL check and call the kfunc only on the non-NULL path.",
        );
        diagnostics::report_arg(env, regno, what, &[("type", &ty)]);
        return Err(Errno::EACCES.into());
    }
    let is_release = meta.has(KfuncFlags::RELEASE);
    let first = env.kernel.features.release_arg_checked_first;
    if first && is_release && i == 0 && reg.ref_obj_id == 0 && !register_is_null(&reg) {
        let pointee = param.btf.skip_mods_and_typedefs(t.type_id());
        if pointee.is_some_and(|p| p.name() != "bpf_dynptr") {
            verbose!(
                env,
                "release kfunc {} expects referenced PTR_TO_BTF_ID passed to {arg}\n",
                meta.name
            );
            let ty = pointee.map_or(String::new(), |p| diagnostics::type_text(param.btf, p.id()));
            let what = (
                "release kfuncs require a resource-owning value of type {type} returned by a matching acquire kfunc",
                "Pass the resource-owning pointer returned by the matching acquire kfunc, and avoid calling the release kfunc after ownership has already been transferred or released.",
            );
            diagnostics::report_arg(env, regno, what, &[("type", &ty)]);
            return invalid();
        }
    }
    if reg.ref_obj_id != 0 {
        if is_release && meta.ref_obj_id != 0 {
            let (new, have) = (reg.ref_obj_id, meta.ref_obj_id);
            verifier_bug!(env, "more than one arg with ref_obj_id R{} {new} {have}", regno.0);
            return Err(Errno::EFAULT.into());
        }
        meta.ref_obj_id = reg.ref_obj_id;
        if is_release {
            meta.release_regno = Some(regno);
        }
    }
    let Some(pointee) = param.btf.skip_mods_and_typedefs(t.type_id()) else { return invalid() };
    let kind = ptr_arg(env, meta, params, i, t, pointee)?;
    if kind == PtrArg::Null && env.kernel.features.kfunc_args_by_prototype {
        mark_chain_precision(env, regno)?;
    }
    if kind == PtrArg::Null {
        return Ok(1);
    }
    let by_prototype = env.kernel.features.kfunc_args_by_prototype && kind == PtrArg::BtfId;
    if by_prototype && !is_btf_reg(&reg) {
        if !is_scalar_struct(env, param.btf, pointee, 0) {
            return refuse_for_struct(env, i, &reg, pointee);
        }
        check_func_arg_reg_off(env, &reg, regno, ArgType::of(ArgBase::DontCare))?;
        check_pointer(env, meta, params, i, PtrArg::Mem, pointee, insn_idx)?;
        return Ok(1);
    }
    if by_prototype {
        check_func_arg_reg_off(env, &reg, regno, ArgType::of(ArgBase::DontCare))?;
    }
    check_trust(env, meta, kind, regno, &reg, pointee)?;
    if kind == PtrArg::RefcountedKptr && env.kernel.features.refcounted_unmoved {
        check_ptr_off_reg(env, &reg, regno)?;
    }
    let release = is_release && reg.ref_obj_id != 0;
    let flags = if release { TypeFlags::OBJ_RELEASE } else { TypeFlags::NONE };
    let base = if kind == PtrArg::Ctx { ArgBase::Ctx } else { ArgBase::DontCare };
    check_func_arg_reg_off(env, &reg, regno, ArgType::with(base, flags))?;
    check_pointer(env, meta, params, i, kind, pointee, insn_idx)?;
    // A size argument was looked at with its memory.
    Ok(if kind == PtrArg::MemSize { 2 } else { 1 })
}

/// Constants and buffer sizes.
fn check_scalar(env: &mut Env<'_>, meta: &mut KfuncMeta, param: &KfParam<'_>, regno: Reg) -> Check {
    let reg = *env.reg(regno);
    if reg.ty != RegBase::Scalar {
        verbose!(env, "R{} is not a scalar\n", regno.0);
        let what = (
            "the kfunc expects an integer scalar, but R{reg} is {have}",
            "Pass an integer scalar value for this argument, not a pointer or resource object.",
        );
        refuse_arg(env, regno, what, "");
        return invalid();
    }
    if param.has("__k") {
        if meta.arg_constant.is_some() {
            verifier_bug!(env, "only one constant argument permitted");
            return Err(Errno::EFAULT.into());
        }
        if !reg.var_off.is_const() {
            verbose!(env, "R{} must be a known constant\n", regno.0);
            let what = (
                "the kfunc requires this scalar argument to be a verifier-known constant, but R{reg} is variable on this path",
                "Pass a compile-time constant or a value the verifier can prove is constant at this call.",
            );
            refuse_arg(env, regno, what, "");
            return invalid();
        }
        mark_chain_precision(env, regno)?;
        meta.arg_constant = Some(reg.var_off.value);
        return Ok(());
    }
    check_buffer_size(env, meta, param, regno)
}

/// A number that the kfunc's result is as large as.
pub(super) fn check_buffer_size(
    env: &mut Env<'_>,
    meta: &mut KfuncMeta,
    param: &KfParam<'_>,
    regno: Reg,
) -> Check {
    let reg = *env.reg(regno);
    let is_rdonly = param.name == "rdonly_buf_size";
    if !is_rdonly && param.name != "rdwr_buf_size" {
        return Ok(());
    }
    meta.r0_rdonly |= is_rdonly;
    if meta.r0_size != 0 {
        verbose!(env, "2 or more rdonly/rdwr_buf_size parameters for kfunc");
        return invalid();
    }
    if !reg.var_off.is_const() {
        verbose!(env, "R{} is not a const\n", regno.0);
        let what = (
            "the kfunc uses this argument as a return-buffer size, but R{reg} is invalid or variable on this path",
            "Pass a verifier-known constant size for this kfunc buffer argument.",
        );
        refuse_arg(env, regno, what, "");
        return invalid();
    }
    meta.r0_size = reg.var_off.value;
    mark_chain_precision(env, regno)
}

/// Kernel objects must be referenced, trusted or under RCU where the kfunc says so.
fn check_trust(
    env: &mut Env<'_>,
    meta: &mut KfuncMeta,
    kind: PtrArg,
    regno: Reg,
    reg: &RegState,
    pointee: Type<'_>,
) -> Check {
    if kind == PtrArg::Map {
        check_map(env, meta, regno, reg)?;
    }
    if !matches!(kind, PtrArg::Map | PtrArg::AllocBtfId | PtrArg::BtfId) {
        return Ok(());
    }
    let features = &env.kernel.features;
    let is_rcu = meta.has(KfuncFlags::RCU);
    let asked = features.kfunc_args_trusted || meta.has(TRUSTED_ARGS) || is_rcu;
    let by_prototype = features.kfunc_args_by_prototype;
    if by_prototype && kind != PtrArg::BtfId && (kind != PtrArg::Map || !is_btf_reg(reg)) {
        return Ok(());
    }
    if !asked || is_trusted_reg(reg) && !(by_prototype && has_unsafe_modifiers(reg.ty)) {
        return Ok(());
    }
    if !is_rcu {
        verbose!(env, "R{} must be referenced or trusted\n", regno.0);
        let what = (
            "the kfunc requires a trusted or resource-owning pointer to {want}, but R{reg} is {have}",
            "Pass a pointer acquired from a verifier-tracked source, or call this kfunc only inside the required protection if it accepts RCU pointers.",
        );
        refuse_arg(env, regno, what, &diagnostics::named_type(pointee));
        return invalid();
    }
    if !is_rcu_reg(reg) {
        verbose!(env, "R{} must be a rcu pointer\n", regno.0);
        let what = (
            "the kfunc requires an RCU-protected pointer to {want}, but R{reg} is {have}",
            "Use this kfunc with a pointer that is valid in an RCU read lock region.",
        );
        refuse_arg(env, regno, what, &diagnostics::named_type(pointee));
        return invalid();
    }
    Ok(())
}

/// A `__map` argument; must be the map of the work queue or task work before it.
fn check_map(env: &mut Env<'_>, meta: &mut KfuncMeta, regno: Reg, reg: &RegState) -> Check {
    if reg.raw()[0] == 0 {
        verbose!(env, "pointer in R{} isn't map pointer\n", regno.0);
        return invalid();
    }
    // Other pointers keep something else in the same place and are refused by type below.
    let is_map = matches!(reg.base(), RegBase::ConstMapPtr | RegBase::MapValue | RegBase::MapKey);
    let map = if is_map { reg.map() } else { None };
    let record = map.and_then(|m| env.map(m).record.clone());
    let has = |k: FieldKinds| record.as_ref().is_some_and(|r| r.has(k));
    let is_timed = has(FieldKinds::WORKQUEUE) || has(FieldKinds::TASK_WORK);
    if meta.map.is_some() && is_timed && (meta.map != map || meta.map_uid != reg.map_uid()) {
        let (have, uid) = (meta.map_uid as i32, reg.map_uid() as i32);
        if has(FieldKinds::TASK_WORK) {
            verbose!(
                env,
                "bpf_task_work pointer in R2 map_uid={have} doesn't match map pointer in R3 map_uid={uid}\n"
            );
        } else {
            verbose!(env, "workqueue pointer in R1 map_uid={have} doesn't match map pointer in R2 map_uid={uid}\n");
        }
        return invalid();
    }
    meta.map = map;
    meta.map_uid = reg.map_uid();
    Ok(())
}

/// What is behind the pointer.
fn check_pointer(
    env: &mut Env<'_>,
    meta: &mut KfuncMeta,
    params: &[KfParam<'_>],
    i: usize,
    kind: PtrArg,
    pointee: Type<'_>,
    insn_idx: u32,
) -> Check {
    let arg = arg_name(env, i);
    let (param, regno) = (&params[i], Reg(i as u8 + 1));
    let reg = *env.reg(regno);
    match kind {
        PtrArg::Null => Ok(()),
        PtrArg::Ctx => check_ctx(env, meta, i, &reg),
        PtrArg::AllocBtfId => check_alloc(env, meta, i, &reg),
        PtrArg::Dynptr => check_dynptr(env, meta, param, regno, insn_idx),
        PtrArg::Iter => {
            if meta.is(Special::IterCssTaskNew) && !may_iterate_css_tasks(env) {
                verbose!(
                    env,
                    "css_task_iter is only allowed in bpf_lsm, bpf_iter and sleepable progs\n"
                );
                return invalid();
            }
            iter::process_iter_arg(env, regno, insn_idx, meta)
        }
        PtrArg::ListHead | PtrArg::RbRoot => {
            check_holder(env, i, &reg)?;
            let kind =
                if kind == PtrArg::ListHead { FieldKinds::LIST_HEAD } else { FieldKinds::RB_ROOT };
            graph::process_root(env, &reg, regno, meta, kind)
        }
        PtrArg::ListNode => {
            // What `bpf_list_front` gives the list owns.
            let is_shared = is_non_owning_ref(reg.ty) && reg.ref_obj_id == 0;
            if !(param.has("__nonown_allowed") && is_shared) {
                check_owned(env, i, &reg)?;
            }
            graph::process_node(env, &reg, regno, meta, FieldKinds::LIST_NODE)
        }
        PtrArg::RbNode => check_rb_node(env, meta, i, regno, &reg),
        PtrArg::Map => check_btf_id(env, meta, i, &reg, Wanted::Map),
        PtrArg::BtfId => check_btf_id(env, meta, i, &reg, Wanted::Pointee(pointee)),
        PtrArg::Mem => {
            let Some(size) = param.btf.size_of(pointee.id()) else {
                let (kind, name, err) =
                    (pointee.kind().kernel_name(), pointee.name(), -Errno::EINVAL.0);
                verbose!(
                    env,
                    "{arg} reference type('{kind} {name}') size cannot be determined: {err}\n"
                );
                return invalid();
            };
            check_mem_reg(env, regno, size)
        }
        PtrArg::MemSize => check_mem_size(env, meta, params, i),
        PtrArg::Callback => {
            if reg.ty != RegBase::Func {
                let by_register = env.kernel.features.args_named_by_register;
                let arg = if by_register { arg.to_string() } else { format!("arg{i}") };
                verbose!(env, "{arg} expected pointer to func\n");
                return invalid();
            }
            meta.subprogno = reg.subprogno();
            Ok(())
        }
        PtrArg::RefcountedKptr => check_refcounted(env, meta, i, &reg),
        PtrArg::ConstStr => {
            if reg.ty != RegBase::MapValue {
                verbose!(env, "{arg} doesn't point to a const string\n");
                let what = (
                    "the kfunc expects a pointer to a constant string stored in verifier-known memory, but R{reg} is {have}",
                    "Pass a constant string pointer that the verifier recognizes, such as a string stored in a read-only map value.",
                );
                refuse_arg(env, regno, what, "");
                return invalid();
            }
            check_reg_const_str(env, &reg, regno)
        }
        PtrArg::Timer => check_timed_field(env, meta, i, regno, FieldKinds::TIMER),
        PtrArg::Workqueue => check_timed_field(env, meta, i, regno, FieldKinds::WORKQUEUE),
        PtrArg::TaskWork => check_timed_field(env, meta, i, regno, FieldKinds::TASK_WORK),
        PtrArg::IrqFlag => {
            if reg.ty != RegBase::Stack {
                verbose!(env, "{arg} doesn't point to an irq flag on stack\n");
                let what = (
                    "the kfunc expects a stack pointer to an IRQ flag slot, but R{reg} is {have}",
                    "Pass the same stack slot used by bpf_local_irq_save() or bpf_res_spin_lock_irqsave().",
                );
                refuse_arg(env, regno, what, "");
                return invalid();
            }
            irq::process_irq_flag(env, regno, meta)
        }
        PtrArg::ResSpinLock => check_res_lock(env, meta, i, regno, &reg),
        PtrArg::Arena => {
            if !env.maps.iter().any(|m| m.def.map_type == MapType::Arena) {
                let what = "arena pointer requires a program with an associated arena";
                verbose!(env, "{arg} {what}\n");
                return invalid();
            }
            if reg.ty != RegBase::Arena && reg.ty != RegBase::Scalar {
                verbose!(env, "{arg} is not a pointer to arena or scalar\n");
                return invalid();
            }
            Ok(())
        }
    }
}

fn check_ctx(env: &mut Env<'_>, meta: &mut KfuncMeta, i: usize, reg: &RegState) -> Check {
    let arg = arg_name(env, i);
    if reg.ty != RegBase::Ctx {
        verbose!(env, "{arg} expected pointer to ctx, but got {}\n", env.type_name(reg.ty));
        let what = (
            "the kfunc expects a context pointer, but R{reg} is {have}",
            "Pass the original program context pointer or preserve it before modifying registers.",
        );
        refuse_arg(env, Reg(i as u8 + 1), what, "");
        return invalid();
    }
    if meta.is(Special::CastToKernCtx) {
        meta.ret_btf_id = prog_ctx::kernel_ctx_type(env)?;
    }
    Ok(())
}

fn is_btf_reg(reg: &RegState) -> bool {
    reg.base() == RegBase::BtfId || reg2btf(reg.base()).is_some()
}

/// Reports an argument of the wrong kind; `want` is a type.
pub(super) fn refuse_arg(
    env: &mut Env<'_>,
    regno: Reg,
    what: (&'static str, &'static str),
    want: &str,
) {
    let have = diagnostics::plain_type(env, env.reg(regno).ty);
    diagnostics::report_arg(
        env,
        regno,
        what,
        &[("reg", &regno.0), ("have", &have), ("want", &want)],
    );
}

/// Memory is no kernel object.
fn refuse_for_struct<T>(env: &mut Env<'_>, i: usize, reg: &RegState, want: Type<'_>) -> Check<T> {
    let arg = arg_name(env, i);
    let or = match want.name() {
        "sock" => " or sock",
        "sock_common" => " or sock_common",
        "tcp_sock" => " or tcp_sock",
        "bpf_map" => " or map_ptr",
        _ => "",
    };
    let (have, kind, name) = (env.type_name(reg.ty), want.kind().kernel_name(), want.name());
    verbose!(env, "{arg} is {have} expected {kind} {name}{or}\n");
    let what = (
        "the kfunc expects a pointer to {want}, but this argument is {have} and cannot be used as that kernel object pointer",
        "Pass a verifier-tracked pointer to the expected kernel object type, not a pointer to stack storage or another memory buffer.",
    );
    refuse_arg(env, Reg(i as u8 + 1), what, &diagnostics::named_type(want));
    invalid()
}

/// Created, cloned or used; what it points to is remembered for slices.
fn check_dynptr(
    env: &mut Env<'_>,
    meta: &mut KfuncMeta,
    param: &KfParam<'_>,
    regno: Reg,
    insn_idx: u32,
) -> Check {
    let reg = *env.reg(regno);
    let mut flags = TypeFlags::NONE;
    let mut origin = Origin::New(meta.ref_obj_id);
    if reg.ty == RegBase::ConstDynptr {
        flags |= TypeFlags::MEM_RDONLY;
    }
    let is_uninit = param.has("__uninit");
    if is_uninit {
        flags |= TypeFlags::MEM_UNINIT;
    }
    match meta.special {
        Some(Special::DynptrFromSkb) => flags |= TypeFlags::DYNPTR_TYPE_SKB,
        Some(Special::DynptrFromXdp) => flags |= TypeFlags::DYNPTR_TYPE_XDP,
        Some(Special::DynptrFromSkbMeta) => flags |= TypeFlags::DYNPTR_TYPE_SKB_META,
        Some(Special::DynptrFromFile) => flags |= TypeFlags::DYNPTR_TYPE_FILE,
        Some(Special::DynptrFileDiscard) => {
            flags |= TypeFlags::DYNPTR_TYPE_FILE | TypeFlags::OBJ_RELEASE;
            meta.release_regno = Some(regno);
        }
        Some(Special::DynptrClone) if is_uninit => {
            if meta.dynptr_type == DynptrType::Invalid {
                verifier_bug!(env, "no dynptr type for parent of clone");
                return Err(Errno::EFAULT.into());
            }
            flags |= dynptr::dynptr_flag(meta.dynptr_type);
            origin = Origin::Clone(meta.dynptr_ref_obj_id);
            if meta.dynptr_type == DynptrType::Ringbuf && meta.dynptr_ref_obj_id == 0 {
                verifier_bug!(env, "missing ref obj id for parent of clone");
                return Err(Errno::EFAULT.into());
            }
        }
        _ => {}
    }
    let ty = ArgType::with(ArgBase::Dynptr, flags);
    dynptr::process_dynptr_func(env, regno, Some(insn_idx), ty, origin)?;
    if !is_uninit {
        meta.dynptr_id = dynptr::dynptr_id(env, &reg)?;
        meta.dynptr_type = dynptr::dynptr_get_type(env, &reg);
        meta.dynptr_ref_obj_id = dynptr::dynptr_ref_obj_id(env, &reg)?;
    }
    Ok(())
}

/// Programs that cannot hold the css_set lock (`check_css_task_iter_allowlist`).
fn may_iterate_css_tasks(env: &Env<'_>) -> bool {
    match env.prog_type() {
        ProgType::Lsm => true,
        ProgType::Tracing if env.prog.expected_attach_type == Some(AttachType::TraceIter) => true,
        _ => env.cur.in_sleepable,
    }
}
