//! Arguments of traced functions, hooks, iterators and struct_ops members as context
//! (`btf_ctx_access` in `kernel/bpf/btf.c`).

use std::sync::Arc;

use bpfassay_object::btf::{Btf, BtfKind, Param, Type};
use bpfassay_spec::{AttachType, KernelSet, ProgType, RegBase, RegType, TypeFlags};

use super::btf_walk::{btf_of, shown, tag_flag};
use super::ctx::CtxAccess;
use crate::attach_target::AttachInfo;
use crate::domain::reg::BtfObj;
use crate::env::Env;
use crate::stop::{Check, Stop};
use crate::verbose;

fn attach(env: &Env<'_>) -> Check<Arc<AttachInfo>> {
    env.attach.clone().ok_or_else(|| Stop::unsupported("program without an attach target"))
}

/// Range of the return value that an LSM program reads, None for a hook without one
/// (`get_func_retval_range`).
pub fn lsm_retval_range(env: &Env<'_>) -> Check<Option<(i32, i32)>> {
    let is_lsm = env.prog.prog_type == ProgType::Lsm
        && env.prog.expected_attach_type == Some(AttachType::LsmMac);
    Ok(hook_retval_range(env)?.filter(|_| is_lsm))
}

/// Range of what the function returns that the program is attached to, as an LSM hook; None for a void one.
pub fn hook_retval_range(env: &Env<'_>) -> Check<Option<(i32, i32)>> {
    let info = attach(env)?;
    let btf = btf_of(env, info.btf)?;
    let ret = info.proto.and_then(|p| btf.ty(p)).map_or(0, |p| p.type_id());
    Ok((ret != 0).then(|| env.kernel.lsm_return_range(&info.name)))
}

/// Program whose pointer arguments are trusted (`prog_args_trusted`).
fn are_args_trusted(env: &Env<'_>, info: &AttachInfo) -> bool {
    match env.prog.prog_type {
        ProgType::Tracing => matches!(
            env.prog.expected_attach_type,
            Some(AttachType::TraceRawTp | AttachType::TraceIter)
        ),
        ProgType::Lsm => !env.kernel.in_set(KernelSet::UntrustedLsmHooks, &info.name),
        ProgType::StructOps => true,
        _ => false,
    }
}

/// Argument at a byte offset; one past the last is the return value (`btf_ctx_arg_idx`).
fn arg_index(btf: &Btf, proto: Option<Type<'_>>, off: i32) -> u32 {
    let Some(proto) = proto else { return (off / 8) as u32 };
    let size = |id: u32| match btf.skip_mods_and_typedefs(id) {
        Some(t) if t.kind() == BtfKind::Ptr => 8,
        Some(t) => t.size().next_multiple_of(8),
        None => 0,
    };
    let mut end = 0u32;
    let mut idx = 0;
    for id in proto.params().map(|p| p.type_id).chain([proto.type_id()]) {
        end = end.wrapping_add(size(id));
        if (off as u32) < end {
            return idx;
        }
        idx += 1;
    }
    idx
}

/// What an access gives, None if it is refused (after saying why).
/// `promote` turns a trusted pointer to the first struct into one to the second.
pub(super) fn btf_ctx_access(
    env: &mut Env<'_>,
    off: i32,
    size: i32,
    promote: Option<(&str, &str)>,
) -> Check<Option<CtxAccess>> {
    let info = attach(env)?;
    let btf = btf_of(env, info.btf)?;
    let mut found = match argument(env, &info, &btf, off)? {
        Arg::Refused => return Ok(None),
        Arg::Scalar { is_retval } => {
            return Ok(Some(CtxAccess { is_retval, ..CtxAccess::SCALAR }));
        }
        Arg::Pointer(p) => match pointer(env, &info, &btf, off, size, &p)? {
            Some(found) => found,
            None => return Ok(None),
        },
    };
    if let (Some((from, to)), Some((obj, id))) = (promote, found.btf) {
        let tracked = env.kernel.features.trust_tracked;
        let flags = if tracked { TypeFlags::PTR_TRUSTED } else { TypeFlags::NONE };
        let trusted = RegType::with(RegBase::BtfId, flags);
        if found.ty == trusted && obj == info.btf && btf.name(id) == from {
            let to = btf.find_by_name_kind(to, BtfKind::Struct);
            found.btf = to.map(|to| (obj, to)).or(found.btf);
        }
    }
    Ok(Some(found))
}

/// An argument that is a pointer.
struct PointerArg<'b> {
    idx: u32,
    /// None for the return value.
    param: Option<Param>,
    ptr: Type<'b>,
    is_retval: bool,
}

enum Arg<'b> {
    Refused,
    Scalar { is_retval: bool },
    Pointer(PointerArg<'b>),
}

/// Finds the argument or return value and tells scalars from pointers.
fn argument<'b>(
    env: &mut Env<'_>,
    info: &AttachInfo,
    btf: &'b Arc<Btf>,
    off: i32,
) -> Check<Arg<'b>> {
    let name = &info.name;
    if off % 8 != 0 {
        verbose!(env, "func '{name}' offset {off} is not multiple of 8\n");
        return Ok(Arg::Refused);
    }
    let proto = info.proto.and_then(|p| btf.ty(p));
    let idx = match env.kernel.features.struct_args {
        true => arg_index(btf, proto, off),
        false => (off / 8) as u32,
    };
    let skipped = info.is_trace as u32;
    let nargs = proto
        .map_or(env.kernel.limits.max_func_reg_args, |p| p.vlen() as u32)
        .wrapping_sub(skipped);
    let no_such = |env: &mut Env<'_>| {
        verbose!(env, "func '{name}' doesn't have {}-th argument\n", idx.wrapping_add(1) as i32);
        Ok(Arg::Refused)
    };
    if idx > nargs {
        return no_such(env);
    }
    let mut is_retval = false;
    let mut param = None;
    let type_id = if idx == nargs {
        match switched_by(env) {
            Some(AttachType::LsmMac) => is_retval = true,
            Some(AttachType::LsmCgroup | AttachType::TraceFexit | AttachType::TraceFsession) => {}
            Some(AttachType::ModifyReturn) => {
                let ret = proto.and_then(|p| btf.skip_mods_and_typedefs(p.type_id()));
                let Some(ret) = ret else { return Ok(Arg::Refused) };
                if !is_small_int(ret) {
                    verbose!(
                        env,
                        "ret type {} not allowed for fmod_ret\n",
                        ret.kind().kernel_name()
                    );
                    return Ok(Arg::Refused);
                }
            }
            _ => return no_such(env),
        }
        proto.map(|p| p.type_id())
    } else {
        param = proto.and_then(|p| p.params().nth((idx + skipped) as usize));
        proto.map(|_| param.map_or(0, |p| p.type_id))
    };
    let Some(type_id) = type_id else { return Ok(Arg::Scalar { is_retval }) };
    let Some(t) = btf.skip_mods_and_typedefs(type_id) else { return Ok(Arg::Refused) };
    let features = &env.kernel.features;
    let is_whole = match t.kind() {
        BtfKind::Struct => features.struct_args,
        BtfKind::Union => features.union_args,
        kind => kind.is_any_enum() || is_small_int(t),
    };
    if is_whole {
        return Ok(Arg::Scalar { is_retval });
    }
    if t.kind() != BtfKind::Ptr {
        verbose!(
            env,
            "func '{name}' arg{idx} '{}' has type {}. Only pointer access is allowed\n",
            shown(t.name()),
            t.kind().kernel_name()
        );
        return Ok(Arg::Refused);
    }
    Ok(Arg::Pointer(PointerArg { idx, param, ptr: t, is_retval }))
}

/// The attach type that the kernel looks at; struct_ops programs have the number of their member in its place.
fn switched_by(env: &Env<'_>) -> Option<AttachType> {
    let member = env.prog.attach_target.as_ref().and_then(|t| t.member);
    match member.filter(|_| env.prog.prog_type == ProgType::StructOps) {
        Some(member) => AttachType::from_number(member),
        None => env.prog.expected_attach_type,
    }
}

fn is_small_int(t: Type<'_>) -> bool {
    t.kind() == BtfKind::Int && t.size() <= 8
}

/// A whole pointer argument.
fn pointer(
    env: &mut Env<'_>,
    info: &AttachInfo,
    btf: &Arc<Btf>,
    off: i32,
    size: i32,
    p: &PointerArg<'_>,
) -> Check<Option<CtxAccess>> {
    let features = env.kernel.features;
    if size != 8 && features.pointer_args_read_whole {
        verbose!(env, "func '{}' size {size} must be 8\n", info.name);
        return Ok(None);
    }
    let known = info.args.iter().find(|a| a.off == off);
    if let Some(a) = known.filter(|a| a.ty.base() == RegBase::Buf && a.ty.may_be_null()) {
        return Ok(Some(CtxAccess { ty: a.ty, ..CtxAccess::SCALAR }));
    }
    let plain = btf.skip_mods_and_typedefs(p.ptr.type_id());
    let is_scalar = match features.int_pointer_args {
        true => plain.is_none_or(|t| match features.pointers_without_struct_are_scalars {
            true => !t.kind().is_composite(),
            false => {
                t.kind() == BtfKind::Int
                    || t.kind() == BtfKind::Unkn
                        && (features.const_void_args || p.ptr.type_id() == 0)
            }
        }),
        false => p.ptr.type_id() == 0 || is_string(btf, p.ptr),
    };
    if is_scalar {
        return Ok(Some(CtxAccess { is_retval: p.is_retval, ..CtxAccess::SCALAR }));
    }
    if let Some(a) = known {
        if a.btf_id == 0 {
            verbose!(env, "invalid btf_id for context argument offset {}\n", off as u32);
            return Ok(None);
        }
        let btf = Some((a.btf, a.btf_id));
        let tracked = env.kernel.features.trust_tracked;
        return Ok(Some(CtxAccess {
            ty: if tracked {
                a.ty
            } else {
                a.ty.minus(TypeFlags::PTR_TRUSTED | TypeFlags::MEM_RCU)
            },
            btf,
            ref_obj_id: a.ref_obj_id,
            ..CtxAccess::SCALAR
        }));
    }
    struct_pointer(env, info, btf, p)
}

/// The kernel's struct behind a context that another program is given (`btf_translate_to_vmlinux`).
fn kernel_ctx(
    env: &mut Env<'_>,
    of: ProgType,
    btf: &Arc<Btf>,
    p: &PointerArg<'_>,
) -> Check<Option<(BtfObj, u32)>> {
    if !super::prog_ctx::is_ctx_type_of(env, of, btf, p.ptr)? {
        return Ok(None);
    }
    let id = super::prog_ctx::kernel_ctx_type_of(env, of)?;
    Ok((id != 0).then_some((BtfObj::VMLINUX, id)))
}

/// `char *`, and no name for it (`is_string_ptr`).
fn is_string(btf: &Btf, ptr: Type<'_>) -> bool {
    let constant = btf.ty(ptr.type_id()).filter(|t| t.kind() == BtfKind::Const);
    let pointee = btf.ty(constant.map_or(ptr.type_id(), |t| t.type_id()));
    pointee.is_some_and(|t| t.kind() == BtfKind::Int && t.size() == 1)
}

/// A pointer that only BTF describes.
fn struct_pointer(
    env: &mut Env<'_>,
    info: &AttachInfo,
    btf: &Arc<Btf>,
    p: &PointerArg<'_>,
) -> Check<Option<CtxAccess>> {
    if let Some(of) = info.of_program {
        return Ok(kernel_ctx(env, of, btf, p)?.map(|btf| CtxAccess {
            ty: RegType::of(RegBase::BtfId),
            btf: Some(btf),
            ..CtxAccess::SCALAR
        }));
    }
    let (name, idx) = (&info.name, p.idx);
    let mut flags = TypeFlags::NONE;
    if env.kernel.features.trust_tracked && are_args_trusted(env, info) {
        flags |= TypeFlags::PTR_TRUSTED;
    }
    let pname = p.param.map_or("", |p| btf.str(p.name_off));
    if pname.len() > "__nullable".len() && pname.ends_with("__nullable") {
        flags |= TypeFlags::PTR_MAYBE_NULL;
    }
    let mut may_be_error = false;
    if env.prog.expected_attach_type == Some(AttachType::TraceRawTp) {
        let row = env.kernel.raw_tp_arg(name, idx);
        // Nobody checked the tracepoints of modules.
        let unknown = row.is_none() && info.btf != BtfObj::VMLINUX;
        may_be_error = env.kernel.features.raw_tp_args_known && row.is_some_and(|r| r.may_be_error);
        let known = env.kernel.features.raw_tp_args_known;
        if known && (unknown || row.is_some_and(|r| r.may_be_null)) {
            flags |= TypeFlags::PTR_MAYBE_NULL;
        }
    }
    let Some(pointee) = p.ptr.target() else { return Ok(None) };
    flags |= tag_flag(pointee) & (TypeFlags::MEM_USER | TypeFlags::MEM_PERCPU);
    let t = btf.skip_mods_and_typedefs(pointee.id());
    let kind = t.map_or("UNKNOWN", |t| t.kind().kernel_name());
    let Some(t) = t.filter(|t| t.kind().is_composite()) else {
        verbose!(env, "func '{name}' arg{idx} type {kind} is not a struct\n");
        return Ok(None);
    };
    verbose!(
        env,
        "func '{name}' arg{idx} has btf_id {} type {kind} '{}'\n",
        t.id(),
        shown(t.name())
    );
    let mut found = CtxAccess {
        ty: RegType::with(RegBase::BtfId, flags),
        btf: Some((info.btf, t.id())),
        is_retval: p.is_retval,
        ..CtxAccess::SCALAR
    };
    if may_be_error {
        verbose!(env, "marking pointer arg{idx} as scalar as it may encode error");
        found.ty = RegBase::Scalar.into();
    }
    Ok(Some(found))
}
