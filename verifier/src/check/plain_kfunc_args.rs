//! The arguments of a kfunc call before 6.2: by the type of the register, with dynptrs of programs as the only objects
//! (`btf_check_func_arg_match` of 6.1).

use bpfassay_isa::Reg;
use bpfassay_object::btf::{BtfKind, Type};
use bpfassay_spec::kfunc::KfuncFlags;
use bpfassay_spec::{ArgBase, ArgType, RegBase, TypeFlags};

use super::arg_types::{check_func_arg_reg_off, kernel_struct_id};
use super::btf_record::KptrTarget;
use super::btf_walk::btf_struct_ids_match;
use super::callinfo::KfuncMeta;
use super::kfunc_arg::{is_mem_size, is_scalar, is_scalar_struct, reg2btf, KfParam};
use super::kfunc_args::check_buffer_size;
use super::mem_arg::{check_kfunc_mem_size_reg, check_mem_reg};
use super::{kfunc, plain_dynptr, prog_ctx};
use crate::domain::reg::{BtfObj, DynptrType, RegState};
use crate::env::Env;
use crate::stop::{Check, Errno, Stop};
use crate::{verbose, verifier_bug};

fn invalid<T>() -> Check<T> {
    Err(Errno::EINVAL.into())
}

/// Every argument of the call.
pub(super) fn check(env: &mut Env<'_>, meta: &mut KfuncMeta) -> Check {
    let btf = kfunc::desc_btf(env, meta)?;
    let proto = btf.ty(meta.proto_id).ok_or(Stop::Reject(Errno::EINVAL))?;
    let params: Vec<KfParam<'_>> = proto.params().map(|p| KfParam::new(&btf, p)).collect();
    let most = env.kernel.limits.max_func_reg_args;
    if params.len() > most as usize {
        verbose!(env, "Function {} has {} > {most} args\n", meta.name, params.len());
        return invalid();
    }
    let mut i = 0;
    while i < params.len() {
        i += argument(env, meta, &params, i)?;
    }
    if meta.has(KfuncFlags::RELEASE) && meta.ref_obj_id == 0 {
        verbose!(env, "release kernel function {} expects refcounted PTR_TO_BTF_ID\n", meta.name);
        return invalid();
    }
    if meta.has(KfuncFlags::SLEEPABLE) && !env.prog_sleepable {
        verbose!(env, "kernel function {} is sleepable but the program is not\n", meta.name);
        return invalid();
    }
    Ok(())
}

/// Checks argument `i`; returns how many arguments that covered.
fn argument(
    env: &mut Env<'_>,
    meta: &mut KfuncMeta,
    params: &[KfParam<'_>],
    i: usize,
) -> Check<usize> {
    let (param, regno) = (&params[i], Reg(i as u8 + 1));
    let Some(t) = param.ty() else { return invalid() };
    if is_scalar(t) {
        check_buffer_size(env, meta, param, regno)?;
        if env.reg(regno).ty != RegBase::Scalar {
            verbose!(env, "R{} is not a scalar\n", regno.0);
            return invalid();
        }
        return Ok(1);
    }
    if t.kind() != BtfKind::Ptr {
        verbose!(env, "Unrecognized arg#{i} type {}\n", t.kind().kernel_name());
        return invalid();
    }
    let reg = *env.reg(regno);
    check_reference(env, meta, regno, &reg)?;
    if prog_ctx::is_prog_ctx_type(env, param.btf, t)? {
        if reg.ty != RegBase::Ctx {
            let kind = t.kind().kernel_name();
            verbose!(env, "arg#{i} expected pointer to ctx, but got {kind}\n");
            return invalid();
        }
        return Ok(1);
    }
    let Some(pointee) = param.btf.skip_mods_and_typedefs(t.type_id()) else { return invalid() };
    let plain = reg.flags().is_empty();
    if plain && (reg.ty == RegBase::BtfId || reg2btf(reg.base()).is_some()) {
        object(env, meta, i, &reg, pointee)?;
        return Ok(1);
    }
    memory(env, params, i, &reg, pointee)
}

/// What is trusted must be referenced, and one argument at most is.
fn check_reference(env: &mut Env<'_>, meta: &mut KfuncMeta, regno: Reg, reg: &RegState) -> Check {
    let trusted = meta.has(KfuncFlags::TRUSTED_ARGS);
    let is_object = reg.ty == RegBase::BtfId || reg2btf(reg.base()).is_some();
    if trusted && is_object && reg.ref_obj_id == 0 {
        verbose!(env, "R{} must be referenced\n", regno.0);
        return invalid();
    }
    let released = meta.has(KfuncFlags::RELEASE) && reg.ref_obj_id != 0;
    let whole = released || trusted && (is_object || reg.ty == RegBase::Ctx);
    let flags = if whole { TypeFlags::OBJ_RELEASE } else { TypeFlags::NONE };
    check_func_arg_reg_off(env, reg, regno, ArgType::with(ArgBase::DontCare, flags))?;
    if reg.ref_obj_id == 0 {
        return Ok(());
    }
    if meta.ref_obj_id != 0 {
        let (new, have) = (reg.ref_obj_id, meta.ref_obj_id);
        verifier_bug!(env, "more than one arg with ref_obj_id R{} {new} {have}", regno.0);
        return Err(Errno::EFAULT.into());
    }
    meta.ref_obj_id = reg.ref_obj_id;
    if meta.has(KfuncFlags::RELEASE) {
        meta.release_regno = Some(regno);
    }
    Ok(())
}

/// A pointer to a kernel struct.
fn object(env: &mut Env<'_>, meta: &KfuncMeta, i: usize, reg: &RegState, want: Type<'_>) -> Check {
    let (kind, name) = (want.kind().kernel_name(), want.name());
    if !want.kind().is_composite() {
        let func = meta.name;
        verbose!(
            env,
            "kernel function {func} args#{i} pointer type {kind} {name} is not supported\n"
        );
        return invalid();
    }
    let (obj, id) = match reg2btf(reg.base()) {
        Some(name) => (BtfObj::VMLINUX, kernel_struct_id(env, name)?),
        None => (reg.btf().unwrap_or(BtfObj::VMLINUX), reg.btf_id()),
    };
    let Some(btf) = env.btf(obj).cloned() else {
        return Err(Stop::unsupported("pointer without its BTF"));
    };
    let Some(have) = btf.skip_mods_and_typedefs(id) else { return invalid() };
    let released = meta.has(KfuncFlags::RELEASE) && reg.ref_obj_id != 0;
    let strict = released || meta.has(KfuncFlags::TRUSTED_ARGS);
    let from = KptrTarget { btf: obj, btf_id: have.id() };
    let need = KptrTarget { btf: meta.btf, btf_id: want.id() };
    if btf_struct_ids_match(env, from, reg.const_off(), need, strict) {
        return Ok(());
    }
    verbose!(
        env,
        "kernel function {} args#{i} expected pointer to {kind} {name} but R{} has a pointer to {} {}\n",
        meta.name,
        i + 1,
        have.kind().kernel_name(),
        have.name()
    );
    invalid()
}

/// Memory of a size that its type or the next argument tells, or a dynptr.
fn memory(
    env: &mut Env<'_>,
    params: &[KfParam<'_>],
    i: usize,
    reg: &RegState,
    pointee: Type<'_>,
) -> Check<usize> {
    let (regno, next) = (Reg(i as u8 + 1), Reg(i as u8 + 2));
    let sized = params.get(i + 1).is_some_and(|p| is_mem_size(env, p, next, "__sz"));
    let (kind, name) = (pointee.kind().kernel_name(), pointee.name());
    let is_dynptr = pointee.kind() == BtfKind::Struct && name == "bpf_dynptr_kern";
    let plain = is_scalar(pointee) || is_scalar_struct(env, params[i].btf, pointee, 0);
    let fits = plain || is_dynptr || sized && pointee.is_void();
    if !fits {
        let void = if sized { "void, " } else { "" };
        verbose!(
            env,
            "arg#{i} pointer type {kind} {name} must point to {void}scalar, or struct with scalar\n"
        );
        return invalid();
    }
    if is_dynptr {
        dynptr(env, i, reg)?;
        return Ok(1);
    }
    if sized {
        return match check_kfunc_mem_size_reg(env, next) {
            Ok(()) => Ok(2),
            Err(Stop::Reject(_)) => {
                verbose!(
                    env,
                    "arg#{i} arg#{} memory, len pair leads to invalid memory access\n",
                    i + 1
                );
                invalid()
            }
            Err(stop) => Err(stop),
        };
    }
    let Some(size) = params[i].btf.size_of(pointee.id()) else {
        let err = -Errno::EINVAL.0;
        verbose!(env, "arg#{i} reference type('{kind} {name}') size cannot be determined: {err}\n");
        return invalid();
    };
    match check_mem_reg(env, regno, size) {
        Ok(()) => Ok(1),
        Err(Stop::Reject(_)) => invalid(),
        Err(stop) => Err(stop),
    }
}

fn dynptr(env: &mut Env<'_>, i: usize, reg: &RegState) -> Check {
    let what = format!("arg#{i} pointer type STRUCT bpf_dynptr_kern");
    if reg.ty != RegBase::Stack {
        verbose!(env, "{what} not to stack\n");
        return invalid();
    }
    let Some(spi) = plain_dynptr::initialized(env, reg) else {
        verbose!(env, "{what} must be valid and initialized\n");
        return invalid();
    };
    if env.frame_of(reg).stack()[spi].spilled.dynptr_type() != DynptrType::Local {
        verbose!(env, "{what} points to unsupported dynamic pointer type\n");
        return invalid();
    }
    Ok(())
}
