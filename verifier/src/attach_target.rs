//! What a program attached by BTF is attached to (`bpf_check_attach_target`,
//! `check_struct_ops_btf_id`, `bpf_iter_prog_supported`, `bpf_lsm_verify_prog`).
//!
//! On kernels with an error injection list, which their linker makes, programs cannot be judged whose verdict hangs
//! on it.

use std::sync::Arc;

use bpfassay_object::btf::{Btf, BtfKind, Type};
use bpfassay_object::model::{AttachTarget, KernelBtfRef};
use bpfassay_spec::prog::is_gpl_compatible;
use bpfassay_spec::{AttachType, KernelSet, ProgType, RegBase, RegType, TypeFlags};

use crate::check::refs::acquire_reference;
use crate::domain::reg::BtfObj;
use crate::env::Env;
use crate::stop::{Check, Errno, Stop};
use crate::verbose;

/// An argument whose type is known beyond BTF (`struct bpf_ctx_arg_aux`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CtxArg {
    /// Byte offset in the context.
    pub off: i32,
    pub ty: RegType,
    pub btf: BtfObj,
    /// Struct pointed to, 0 for buffers.
    pub btf_id: u32,
    /// The program owns a reference (`__ref`).
    pub refcounted: bool,
    /// That reference, once acquired.
    pub ref_obj_id: u32,
}

/// The target as later checks need it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AttachInfo {
    pub btf: BtfObj,
    /// Function, `btf_trace_` typedef or struct.
    pub btf_id: u32,
    /// Name that messages show.
    pub name: String,
    /// FUNC_PROTO of the arguments.
    pub proto: Option<u32>,
    /// The first argument is `void *__data`, which programs do not see.
    pub is_trace: bool,
    pub args: Vec<CtxArg>,
    /// Type of the program whose function it is; None for what is the kernel's.
    pub of_program: Option<ProgType>,
}

/// Fills [`Env::attach`] for tracing, LSM, iterator and struct_ops programs.
pub fn check_attach_target(env: &mut Env<'_>) -> Check {
    let prog_type = env.prog.prog_type;
    if env.prog.attach_target.is_none() && !is_multi(env) && prog_type != ProgType::StructOps {
        verbose!(env, "Tracing programs must provide btf_id\n");
        return Err(Errno::EINVAL.into());
    }
    if prog_type == ProgType::Ext {
        // No program was named whose function it replaces.
        verbose!(env, "Cannot replace kernel functions\n");
        return Err(Errno::EINVAL.into());
    }
    let (target, obj, btf) = target_btf(env)?;
    if prog_type == ProgType::StructOps {
        let info = struct_ops_target(env, &target, obj, &btf)?;
        env.attach = Some(Arc::new(info));
        return Ok(());
    }
    let Some(t) = btf.ty(target.btf_id).filter(|t| t.id() != 0) else {
        return Err(Stop::unsupported(format!(
            "attach target {} is not in the kernel's BTF",
            target.name
        )));
    };
    let attach_type = env.prog.expected_attach_type;
    if attach_type.is_some_and(|a| a.number() >= env.kernel.limits.attach_types) {
        return Err(Errno::EINVAL.into());
    }
    let info = match attach_type {
        Some(AttachType::TraceRawTp) => raw_tp_target(env, obj, &btf, t)?,
        Some(AttachType::TraceIter) => iter_target(env, obj, &btf, t)?,
        Some(AttachType::TraceFsession) if !env.kernel.features.fsession_programs => {
            return Err(Errno::EINVAL.into());
        }
        Some(
            AttachType::TraceFentry
            | AttachType::TraceFexit
            | AttachType::TraceFsession
            | AttachType::TraceFentryMulti
            | AttachType::TraceFexitMulti
            | AttachType::TraceFsessionMulti
            | AttachType::ModifyReturn
            | AttachType::LsmMac
            | AttachType::LsmCgroup,
        ) => func_target(env, obj, &btf, t)?,
        _ => return Err(Errno::EINVAL.into()),
    };
    env.attach = Some(Arc::new(info));
    Ok(())
}

/// The program attaches to functions that are named only then; it is verified against one that stands for all.
fn is_multi(env: &Env<'_>) -> bool {
    matches!(
        env.prog.expected_attach_type,
        Some(
            AttachType::TraceFentryMulti
                | AttachType::TraceFexitMulti
                | AttachType::TraceFsessionMulti
        )
    )
}

/// References that a struct_ops program owns from the start: its `__ref` arguments.
pub fn acquire_argument_references(env: &mut Env<'_>) {
    let Some(mut info) = env.attach.take() else { return };
    for a in Arc::make_mut(&mut info).args.iter_mut().filter(|a| a.refcounted) {
        a.ref_obj_id = acquire_reference(env, 0);
    }
    env.attach = Some(info);
}

/// The target and the BTF it is in.
fn target_btf(env: &Env<'_>) -> Check<(AttachTarget, BtfObj, Arc<Btf>)> {
    if is_multi(env) {
        let vmlinux = env.btf(BtfObj::VMLINUX).cloned();
        let id = |b: &Arc<Btf>| b.find_by_name_kind("bpf_multi_func", BtfKind::Func);
        return match vmlinux.and_then(|b| Some((id(&b)?, b))) {
            Some((btf_id, btf)) => {
                let name = "bpf_multi_func".to_string();
                let target = AttachTarget { name, btf_id, btf: 0, member: None, program: None };
                Ok((target, BtfObj::VMLINUX, btf))
            }
            // `bpf_prog_load_check_attach`: an attach type that this kernel has not got.
            None => Err(Errno::EINVAL.into()),
        };
    }
    let Some(target) = env.prog.attach_target.clone() else {
        return Err(Stop::unsupported("program without an attach target"));
    };
    let obj = match env.prog.btfs.get(target.btf as usize) {
        None | Some(KernelBtfRef::Vmlinux) => Some(BtfObj::VMLINUX),
        Some(KernelBtfRef::Module(name)) => {
            let i = env.config.modules.iter().position(|(n, _)| n == name);
            i.map(|i| BtfObj(i as u32 + 2))
        }
    };
    match obj.and_then(|o| Some((o, env.btf(o)?.clone()))) {
        Some((o, btf)) => Ok((target, o, btf)),
        None => Err(Stop::unsupported("attach target in a BTF the profile does not have")),
    }
}

/// FUNC_PROTO behind a FUNC.
pub(crate) fn proto_of(t: Type<'_>) -> Check<u32> {
    match t.target() {
        Some(p) if p.kind() == BtfKind::FuncProto => Ok(p.id()),
        _ => Err(Errno::EINVAL.into()),
    }
}

fn raw_tp_target(env: &mut Env<'_>, obj: BtfObj, btf: &Btf, t: Type<'_>) -> Check<AttachInfo> {
    let id = t.id();
    if t.kind() != BtfKind::Typedef {
        verbose!(env, "attach_btf_id {id} is not a typedef\n");
        return Err(Errno::EINVAL.into());
    }
    let Some(name) = t.name().strip_prefix("btf_trace_") else {
        verbose!(env, "attach_btf_id {id} points to wrong type name {}\n", t.name());
        return Err(Errno::EINVAL.into());
    };
    if env.prog_sleepable && !env.kernel.in_set(KernelSet::FaultableTracepoints, name) {
        verbose!(env, "Sleepable program cannot attach to non-faultable tracepoint {name}\n");
        return Err(Errno::EINVAL.into());
    }
    // The typedef's prototype has no argument names; the function behind the tracepoint does.
    let template = btf.find_by_name_kind(&format!("__bpf_trace_{name}"), BtfKind::Func);
    let func = template.and_then(|id| btf.ty(id));
    // Events of one class share the class's function, and BTF does not say which class an event is of:
    // then only the names of the arguments are lost.
    let proto = match (func, t.target()) {
        (Some(f), _) => proto_of(f)?,
        (None, Some(ptr)) if ptr.kind() == BtfKind::Ptr => proto_of(ptr)?,
        _ => return Err(Errno::EINVAL.into()),
    };
    Ok(AttachInfo {
        btf: obj,
        btf_id: id,
        name: name.to_string(),
        proto: Some(proto),
        is_trace: true,
        args: Vec::new(),
        of_program: None,
    })
}

fn iter_target(env: &mut Env<'_>, obj: BtfObj, btf: &Btf, t: Type<'_>) -> Check<AttachInfo> {
    let proto = func_proto(env, t)?;
    let name = t.name();
    let iter = name.strip_prefix("bpf_iter_").ok_or(Errno::EINVAL)?;
    let Some(rows) = env.kernel.iterator_args(iter) else { return Err(Errno::EINVAL.into()) };
    let ctx = btf.find_by_name_kind(&format!("bpf_iter__{iter}"), BtfKind::Struct);
    let Some(ctx) = ctx.and_then(|id| btf.ty(id)) else {
        return Err(Stop::unsupported("iterator context missing in the kernel's BTF"));
    };
    let mut args = Vec::new();
    for (member, ty) in rows {
        let Some((off, pointee)) = member_pointer(btf, ctx, member) else {
            return Err(Stop::unsupported("iterator context of another layout"));
        };
        let btf_id = if ty.base() == RegBase::BtfId { pointee } else { 0 };
        args.push(CtxArg { off, ty: *ty, btf: obj, btf_id, refcounted: false, ref_obj_id: 0 });
    }
    Ok(AttachInfo {
        btf: obj,
        btf_id: t.id(),
        name: name.to_string(),
        proto: Some(proto),
        is_trace: false,
        args,
        of_program: None,
    })
}

/// Offset of a pointer member, `__bpf_md_ptr` unions looked through, and what it points to.
fn member_pointer(btf: &Btf, ctx: Type<'_>, name: &str) -> Option<(i32, u32)> {
    for m in ctx.members() {
        let t = btf.skip_mods_and_typedefs(m.type_id)?;
        let ptr = if btf.str(m.name_off) == name {
            Some(t)
        } else if t.kind() == BtfKind::Union {
            let inner = t.members().find(|i| btf.str(i.name_off) == name);
            inner.and_then(|i| btf.skip_mods_and_typedefs(i.type_id))
        } else {
            None
        };
        if let Some(ptr) = ptr.filter(|p| p.kind() == BtfKind::Ptr) {
            let pointee = btf.skip_mods_and_typedefs(ptr.type_id())?;
            return Some((m.byte_offset() as i32, pointee.id()));
        }
    }
    None
}

fn func_proto(env: &mut Env<'_>, t: Type<'_>) -> Check<u32> {
    if t.kind() != BtfKind::Func {
        verbose!(env, "attach_btf_id {} is not a function\n", t.id());
        return Err(Errno::EINVAL.into());
    }
    proto_of(t)
}

/// fentry, fexit, fmod_ret and LSM hooks.
fn func_target(env: &mut Env<'_>, obj: BtfObj, btf: &Btf, t: Type<'_>) -> Check<AttachInfo> {
    let proto = func_proto(env, t)?;
    let name = t.name().to_string();
    check_distill(env, btf, proto, &name)?;
    if obj == BtfObj::VMLINUX && env.kernel.lacks_symbol(&name) {
        verbose!(env, "The address of function {name} cannot be found\n");
        return Err(Errno::ENOENT.into());
    }
    let attach = env.prog.expected_attach_type;
    if env.prog_sleepable && is_multi(env) {
        // The functions attached to later decide.
    } else if env.prog_sleepable {
        check_sleepable(env, &name)?;
    } else if attach == Some(AttachType::ModifyReturn) {
        check_modifiable(env, &name)?;
    }
    if env.prog.prog_type == ProgType::Lsm {
        check_lsm(env, t.id(), &name)?;
    } else if env.kernel.in_set(KernelSet::BtfIdDeny, &name) {
        verbose!(env, words.attach_denied, name = name);
        return Err(Errno::EINVAL.into());
    } else if env.kernel.in_set(KernelSet::NoreturnDeny, &name)
        && matches!(
            attach,
            Some(AttachType::TraceFexit | AttachType::TraceFsession | AttachType::ModifyReturn)
        )
    {
        verbose!(env, words.attach_noreturn, name = name);
        return Err(Errno::EINVAL.into());
    }
    Ok(AttachInfo {
        btf: obj,
        btf_id: t.id(),
        name,
        proto: Some(proto),
        is_trace: false,
        args: Vec::new(),
        of_program: None,
    })
}

/// Arguments a trampoline can pass on (`btf_distill_func_proto`).
pub(crate) fn check_distill(env: &mut Env<'_>, btf: &Btf, proto: u32, name: &str) -> Check {
    let max_args = env.kernel.limits.max_func_args as usize;
    let Some(p) = btf.ty(proto) else { return Err(Errno::EINVAL.into()) };
    if p.vlen() > max_args {
        verbose!(env, "The function {name} has {} arguments. Too many.\n", p.vlen());
        return Err(Errno::EINVAL.into());
    }
    let kind = |id: u32| btf.skip_mods_and_typedefs(id).map(|t| (t.kind(), t.size()));
    let takes_structs = env.kernel.features.struct_args;
    let size = |k: BtfKind, s: u32| match k {
        BtfKind::Ptr => Some(8),
        BtfKind::Int | BtfKind::Enum | BtfKind::Enum64 => Some(s),
        k if k.is_composite() && takes_structs => Some(s),
        _ => None,
    };
    let ret = kind(p.type_id());
    let ret_ok = match ret {
        _ if p.type_id() == 0 => true,
        Some((k, _)) if k.is_composite() => false,
        Some((BtfKind::Unkn, _)) => true,
        Some((k, s)) => size(k, s).is_some(),
        None => false,
    };
    if !ret_ok {
        let word = ret.map_or("UNKNOWN", |(k, _)| k.kernel_name());
        verbose!(env, "The function {name} return type {word} is unsupported.\n");
        return Err(Errno::EINVAL.into());
    }
    let last = p.vlen().saturating_sub(1);
    for (i, param) in p.params().enumerate() {
        if i == last && param.type_id == 0 {
            verbose!(env, "The function {name} with variable args is unsupported.\n");
            return Err(Errno::EINVAL.into());
        }
        let k = kind(param.type_id);
        match k.and_then(|(k, s)| size(k, s)) {
            Some(s) if s <= 16 => {
                if s == 0 {
                    verbose!(env, "The function {name} has malformed void argument.\n");
                    return Err(Errno::EINVAL.into());
                }
            }
            _ => {
                let word = k.map_or("UNKNOWN", |(k, _)| k.kernel_name());
                verbose!(env, "The function {name} arg{i} type {word} is unsupported.\n");
                return Err(Errno::EINVAL.into());
            }
        }
    }
    Ok(())
}

/// Entry of a system call, where no list says what may fail (`has_arch_syscall_prefix`).
fn is_bare_syscall(env: &Env<'_>, name: &str) -> bool {
    let prefix = match env.kernel.arch.as_str() {
        "x86_64" => "__x64_",
        "aarch64" => "__arm64_",
        _ => return false,
    };
    env.kernel.features.syscall_prefix_sleeps
        && !env.kernel.config.is_enabled("FUNCTION_ERROR_INJECTION")
        && name.starts_with(prefix)
}

fn check_sleepable(env: &mut Env<'_>, name: &str) -> Check {
    let ok = match env.prog.prog_type {
        ProgType::Lsm => env.kernel.in_set(KernelSet::SleepableLsmHooks, name),
        _ if is_bare_syscall(env, name) => true,
        _ if !env.kernel.features.fmod_ret_sets && env.kernel.fmod_ret(name).is_some() => {
            env.kernel.error_injection(name).unwrap_or(false)
        }
        _ => env.kernel.may_trace_sleepable(name).ok_or_else(|| {
            Stop::unsupported("sleepable: the error injection list is not in BTF")
        })?,
    };
    if ok {
        return Ok(());
    }
    verbose!(env, "{name} is not sleepable\n");
    Err(Errno::EINVAL.into())
}

/// fmod_ret programs may change what the function returns (`check_attach_modify_return`).
fn check_modifiable(env: &mut Env<'_>, name: &str) -> Check {
    let free = name.starts_with("security_") || is_bare_syscall(env, name);
    let listed = env.kernel.features.fmod_ret_sets && env.kernel.fmod_ret(name).is_some();
    if listed || free {
        return Ok(());
    }
    match env.kernel.error_injection(name) {
        Some(true) => Ok(()),
        Some(false) => {
            verbose!(env, "{name}() is not modifiable\n");
            Err(Errno::EINVAL.into())
        }
        None => Err(Stop::unsupported("fmod_ret: the error injection list is not in BTF")),
    }
}

/// Hooks are the members of one union of the kernel (`bpf_lsm_hooks`).
fn is_lsm_hook(env: &Env<'_>, name: &str) -> bool {
    let (Some(btf), Some(hook)) = (env.btf(BtfObj::VMLINUX), name.strip_prefix("bpf_lsm_")) else {
        return false;
    };
    let list = btf.find_by_name_kind("security_list_options", BtfKind::Union);
    let list = list.and_then(|id| btf.ty(id));
    list.is_some_and(|t| t.members().any(|m| btf.str(m.name_off) == hook))
}

/// `bpf_lsm_verify_prog`
fn check_lsm(env: &mut Env<'_>, id: u32, name: &str) -> Check {
    if !is_gpl_compatible(&env.prog.license) {
        verbose!(env, "LSM programs must have a GPL compatible license\n");
    } else if env.kernel.features.lsm_hooks_disabled
        && env.kernel.in_set(KernelSet::BpfLsmDisabledHooks, name)
    {
        verbose!(env, "attach_btf_id {id} points to disabled hook {name}\n");
    } else if !is_lsm_hook(env, name) {
        verbose!(env, "attach_btf_id {id} points to wrong type name {name}\n");
    } else {
        return Ok(());
    }
    Err(Errno::EINVAL.into())
}

/// A member of a struct_ops struct (`check_struct_ops_btf_id`).
fn struct_ops_target(
    env: &mut Env<'_>,
    target: &AttachTarget,
    obj: BtfObj,
    btf: &Btf,
) -> Check<AttachInfo> {
    if !is_gpl_compatible(&env.prog.license) {
        verbose!(env, "struct ops programs must have a GPL compatible license\n");
        return Err(Errno::EINVAL.into());
    }
    if target.btf_id == 0 {
        return Err(Errno::ENOTSUPP.into());
    }
    let st = btf.ty(target.btf_id).filter(|t| t.kind() == BtfKind::Struct);
    let wrapper = st.map(|t| format!("bpf_struct_ops_{}", t.name()));
    let registered = wrapper.is_some_and(|n| btf.find_by_name_kind(&n, BtfKind::Struct).is_some());
    let Some(st) = st.filter(|_| registered) else {
        verbose!(env, "attach_btf_id {} is not a supported struct\n", target.btf_id);
        return Err(Errno::ENOTSUPP.into());
    };
    let idx = target.member.unwrap_or(0);
    let name = st.name();
    let Some(m) = st.members().nth(idx as usize) else {
        verbose!(env, "attach to invalid member idx {idx} of struct {name}\n");
        return Err(Errno::EINVAL.into());
    };
    let mname = btf.str(m.name_off);
    let Some(proto) = btf.func_ptr_proto(m.type_id) else {
        verbose!(env, "attach to invalid member {mname}(@idx {idx}) of struct {name}\n");
        return Err(Errno::EINVAL.into());
    };
    if let Err(e) = check_member(env, name, mname) {
        verbose!(env, "attach to unsupported member {mname} of struct {name}\n");
        return Err(e.into());
    }
    let args = stub_args(obj, btf, name, mname, proto);
    Ok(AttachInfo {
        btf: obj,
        btf_id: st.id(),
        name: mname.to_string(),
        proto: Some(proto.id()),
        is_trace: false,
        args,
        of_program: None,
    })
}

/// Members without a stub cannot be implemented, and some kinds let only some members sleep.
fn check_member(env: &Env<'_>, ops: &str, member: &str) -> Result<(), Errno> {
    if !env.kernel.has_struct_ops_stub(ops, member) {
        return Err(Errno::ENOTSUPP);
    }
    if env.prog_sleepable && !env.kernel.may_struct_ops_sleep(ops, member) {
        return Err(Errno::EINVAL);
    }
    Ok(())
}

/// Arguments that the kernel's stub of the member marks by suffix (`prepare_arg_info`).
fn stub_args(obj: BtfObj, btf: &Btf, st: &str, member: &str, proto: Type<'_>) -> Vec<CtxArg> {
    let stub = btf.find_by_name_kind(&format!("{st}__{member}"), BtfKind::Func);
    let Some(stub) = stub.and_then(|id| btf.func_proto(id)) else { return Vec::new() };
    let mut out = Vec::new();
    let mut off = 0u32;
    for (arg, stub_arg) in proto.params().zip(stub.params()) {
        let name = btf.str(stub_arg.name_off);
        let nullable = name.len() > 10 && name.ends_with("__nullable");
        let refcounted = name.len() > 5 && name.ends_with("__ref");
        let pointee = btf.pointee(arg.type_id).filter(|t| t.kind().is_composite());
        if let (Some(p), true) = (pointee, nullable || refcounted) {
            let mut flags = TypeFlags::PTR_TRUSTED;
            if nullable {
                flags |= TypeFlags::PTR_MAYBE_NULL;
            }
            out.push(CtxArg {
                off: off as i32,
                ty: RegType::with(RegBase::BtfId, flags),
                btf: obj,
                btf_id: p.id(),
                refcounted: refcounted && !nullable,
                ref_obj_id: 0,
            });
        }
        off += btf.size_of(arg.type_id).unwrap_or(8).next_multiple_of(8);
    }
    out
}
