//! The arguments of a helper call, R1 to R5 (`check_func_arg`).

use bpfassay_isa::Reg;
use bpfassay_spec::{func, ArgBase, ArgType, HelperProto, MapType, RegBase, TypeFlags};

use super::align::check_ptr_alignment;
use super::arg_types::{check_func_arg_reg_off, check_reg_type, ArgBtf};
use super::callinfo::CallMeta;
use super::const_arg::{check_reg_const_str, get_constant_map_key};
use super::dynptr::{dynptr_get_spi, process_dynptr_func, Origin};
use super::helper_result::can_elide_value_nullness;
use super::kptr::process_kptr_func;
use super::locks::process_spin_lock;
use super::map_field::process_timer_func;
use super::mem_arg::{check_helper_mem_access, check_mem_size_reg};
use super::packet::may_access_direct_pkt_data;
use super::plain_dynptr;
use super::reg_arg::{check_reg_arg, RegArg};
use super::stack::{is_pointer_value, register_is_null};
use super::Access;
use crate::domain::reg::RegState;
use crate::env::Env;
use crate::explore::precision::mark_chain_precision;
use crate::stop::{Check, Errno, Stop};
use crate::{verbose, verifier_bug};

/// Argument `arg` (0 to 4) of a call of `proto`.
pub fn check_func_arg(
    env: &mut Env<'_>,
    arg: usize,
    meta: &mut CallMeta,
    proto: &HelperProto,
) -> Check {
    let regno = Reg(arg as u8 + 1);
    let mut ty = proto.args[arg];
    let traits = env.kernel.helper_traits(proto.id as i32);
    if arg == 0 && traits.counts_scalar {
        ty = ArgBase::Scalar.into();
    } else if traits.size_not_zero && ty == ArgBase::ConstSizeOrZero {
        ty = ArgBase::ConstSize.into();
    } else if traits.fills_fixed && ty.has(TypeFlags::MEM_FIXED_SIZE) {
        ty = ty.plus(TypeFlags::MEM_UNINIT);
    }
    if ty == ArgBase::DontCare {
        return Ok(());
    }
    check_reg_arg(env, regno, RegArg::Src)?;
    let reg = *env.reg(regno);
    if ty == ArgBase::Anything {
        if is_pointer_value(env, &reg) {
            verbose!(env, "R{} leaks addr into helper function\n", regno.0);
            return Err(Errno::EACCES.into());
        }
        return Ok(());
    }
    if matches!(reg.base(), RegBase::Packet | RegBase::PacketMeta)
        && !may_access_direct_pkt_data(env, Some(meta), Access::Read)
    {
        verbose!(env, "helper access to the packet is not allowed\n");
        return Err(Errno::EACCES.into());
    }
    if ty.base() == ArgBase::MapValue {
        ty = resolve_map_arg_type(env, meta, ty)?;
    }
    let owner = ty.base() == ArgBase::BtfId && !ty.has(TypeFlags::OBJ_RELEASE);
    if owner && !env.kernel.features.owners_may_be_null {
        ty = ty.minus(TypeFlags::PTR_MAYBE_NULL);
    }
    let is_null = register_is_null(&reg) && ty.may_be_null();
    if is_null && env.kernel.features.null_arguments_precise {
        mark_chain_precision(env, regno)?;
    }
    if !is_null {
        let btf = arg_btf(proto, arg, ty);
        check_reg_type(env, regno, ty, btf, meta)?;
        check_func_arg_reg_off(env, &reg, regno, ty)?;
    }
    if ty.has(TypeFlags::OBJ_RELEASE) {
        check_release_arg(env, regno, &reg, ty, meta)?;
    }
    if reg.ref_obj_id != 0 && ty.base() != ArgBase::KptrXchgDest {
        if meta.ref_obj_id != 0 {
            let (have, new) = (meta.ref_obj_id, reg.ref_obj_id);
            verbose!(env, "more than one arg with ref_obj_id R{} {new} {have}", regno.0);
            return Err(Errno::EACCES.into());
        }
        meta.ref_obj_id = reg.ref_obj_id;
    }
    check_arg_value(env, arg, regno, ty, meta, proto)
}

fn arg_btf(proto: &HelperProto, arg: usize, ty: ArgType) -> ArgBtf {
    match proto.arg_btf[arg] {
        Some(name) if ty.base() == ArgBase::BtfId => ArgBtf::Name(name),
        _ => ArgBtf::Implied,
    }
}

/// Sockmaps take sockets as values, a bloom filter's peek reads its value (`resolve_map_arg_type`).
fn resolve_map_arg_type(env: &mut Env<'_>, meta: &CallMeta, ty: ArgType) -> Check<ArgType> {
    let Some(map) = meta.map else {
        verifier_bug!(env, "invalid map_ptr to access map->type");
        return Err(Errno::EFAULT.into());
    };
    match env.map(map).def.map_type {
        t if env.kernel.map_use(t).is_some_and(|row| row.sockets) => {
            if ty != ArgBase::MapValue {
                verbose!(env, "invalid arg_type for sockmap/sockhash\n");
                return Err(Errno::EINVAL.into());
            }
            Ok(ArgBase::BtfIdSockCommon.into())
        }
        MapType::BloomFilter if meta.func_id == func::MAP_PEEK_ELEM => Ok(ArgBase::MapValue.into()),
        _ => Ok(ty),
    }
}

fn check_release_arg(
    env: &mut Env<'_>,
    regno: Reg,
    reg: &RegState,
    ty: ArgType,
    meta: &mut CallMeta,
) -> Check {
    if ty.base() == ArgBase::Dynptr {
        if reg.ty != RegBase::Stack && env.kernel.features.dynptrs_tracked {
            let unowned = if env.kernel.features.args_named_by_register {
                "CONST_PTR_TO_DYNPTR cannot be released"
            } else {
                "cannot release unowned const bpf_dynptr"
            };
            verbose!(env, "{unowned}\n");
            return Err(Errno::EINVAL.into());
        }
        if !env.kernel.features.references_by_id && !is_acquired_dynptr(env, reg) {
            verbose!(env, "arg {} is an unacquired reference\n", regno.0);
            return Err(Errno::EINVAL.into());
        }
    } else if reg.ref_obj_id == 0 && !register_is_null(reg) {
        let name = env.kernel.helper_name(meta.func_id);
        verbose!(env, words.release_unreferenced, name = name, r = regno.0);
        return Err(Errno::EINVAL.into());
    }
    if meta.release_regno.is_some() {
        verifier_bug!(env, "more than one release argument");
        return Err(Errno::EFAULT.into());
    }
    meta.release_regno = Some(regno);
    Ok(())
}

/// A bad offset is answered like a missing reference, after its own message.
fn is_acquired_dynptr(env: &mut Env<'_>, reg: &RegState) -> bool {
    if !env.kernel.features.dynptrs_tracked {
        return reg.ty == RegBase::Stack && plain_dynptr::reference(env, reg) != 0;
    }
    let Ok(spi) = dynptr_get_spi(env, reg) else { return false };
    env.frame_of(reg).stack().get(spi as usize).is_some_and(|s| s.spilled.ref_obj_id != 0)
}

fn access_of(ty: ArgType) -> Access {
    if ty.has(TypeFlags::MEM_WRITE) {
        Access::Write
    } else {
        Access::Read
    }
}

/// What is behind the pointer, or the value itself.
fn check_arg_value(
    env: &mut Env<'_>,
    arg: usize,
    regno: Reg,
    ty: ArgType,
    meta: &mut CallMeta,
    proto: &HelperProto,
) -> Check {
    let reg = *env.reg(regno);
    let special = matches!(ty.base(), ArgBase::SpinLock | ArgBase::Timer | ArgBase::KptrXchgDest);
    if special && !env.kernel.features.field_errnos_kept {
        let outcome = match ty.base() {
            ArgBase::SpinLock => check_lock(env, regno, meta),
            ArgBase::Timer => process_timer_func(env, regno, meta),
            _ => process_kptr_func(env, regno, meta),
        };
        return match outcome {
            Err(Stop::Reject(_)) => Err(Errno::EACCES.into()),
            other => other,
        };
    }
    match ty.base() {
        ArgBase::ConstMapPtr => set_map(env, &reg, meta),
        ArgBase::MapKey => check_map_key(env, regno, meta),
        ArgBase::MapValue => check_map_value(env, regno, ty, meta),
        ArgBase::PercpuBtfId => {
            if reg.btf_id() == 0 {
                verbose!(env, "Helper has invalid btf_id in R{}\n", regno.0);
                return Err(Errno::EACCES.into());
            }
            meta.ret_btf = reg.btf();
            meta.ret_btf_id = reg.btf_id();
            Ok(())
        }
        ArgBase::SpinLock => check_lock(env, regno, meta),
        ArgBase::Timer => process_timer_func(env, regno, meta),
        ArgBase::Func => {
            meta.subprogno = reg.subprogno();
            Ok(())
        }
        ArgBase::Mem => {
            meta.raw_mode = ty.has(TypeFlags::MEM_UNINIT);
            if !ty.has(TypeFlags::MEM_FIXED_SIZE) {
                // Checked with the size argument that follows.
                return Ok(());
            }
            let size = proto.arg_size[arg];
            check_helper_mem_access(env, regno, size as i32, access_of(ty), false, Some(meta))?;
            if ty.has(TypeFlags::MEM_ALIGNED) {
                return check_ptr_alignment(env, &reg, 0, size as i32, true);
            }
            Ok(())
        }
        ArgBase::ConstSize | ArgBase::ConstSizeOrZero => {
            let access = access_of(proto.args[arg.saturating_sub(1)]);
            check_mem_size_reg(env, regno, access, ty.base() == ArgBase::ConstSizeOrZero, meta)
        }
        ArgBase::Dynptr => {
            let origin = Origin::New(meta.ref_obj_id);
            process_dynptr_func(env, regno, Some(env.insn_idx), ty, origin)
        }
        ArgBase::ConstAllocSizeOrZero => {
            if !reg.var_off.is_const() {
                verbose!(env, "R{} is not a known constant'\n", regno.0);
                return Err(Errno::EACCES.into());
            }
            meta.mem_size = reg.var_off.value as u32;
            if env.kernel.features.alloc_sizes_precise {
                mark_chain_precision(env, regno)?;
            }
            Ok(())
        }
        ArgBase::ConstStr => check_reg_const_str(env, &reg, regno),
        ArgBase::KptrXchgDest => process_kptr_func(env, regno, meta),
        _ => Ok(()),
    }
}

/// Two map arguments (a timer and its map) must name the same map, inner maps included.
fn set_map(env: &mut Env<'_>, reg: &RegState, meta: &mut CallMeta) -> Check {
    if meta.map.is_some() && (meta.map != reg.map() || meta.map_uid != reg.map_uid()) {
        verbose!(
            env,
            "timer pointer in R1 map_uid={} doesn't match map pointer in R2 map_uid={}\n",
            meta.map_uid as i32,
            reg.map_uid() as i32
        );
        return Err(Errno::EINVAL.into());
    }
    meta.map = reg.map();
    meta.map_uid = reg.map_uid();
    Ok(())
}

fn check_map_key(env: &mut Env<'_>, regno: Reg, meta: &mut CallMeta) -> Check {
    let Some(map) = meta.map else {
        verifier_bug!(env, "invalid map_ptr to access map->key");
        return Err(Errno::EFAULT.into());
    };
    let def = env.map(map).def.clone();
    let key_size = def.key_size;
    check_helper_mem_access(env, regno, key_size as i32, Access::Read, false, None)?;
    if can_elide_value_nullness(env, &def) {
        let reg = *env.reg(regno);
        meta.map_key_const = get_constant_map_key(env, &reg, key_size)?;
    }
    Ok(())
}

fn check_map_value(env: &mut Env<'_>, regno: Reg, ty: ArgType, meta: &mut CallMeta) -> Check {
    if ty.may_be_null() && register_is_null(env.reg(regno)) {
        return Ok(());
    }
    let Some(map) = meta.map else {
        verifier_bug!(env, "invalid map_ptr to access map->value");
        return Err(Errno::EFAULT.into());
    };
    meta.raw_mode = ty.has(TypeFlags::MEM_UNINIT);
    let size = env.map(map).def.value_size;
    check_helper_mem_access(env, regno, size as i32, access_of(ty), false, Some(meta))
}

fn check_lock(env: &mut Env<'_>, regno: Reg, meta: &CallMeta) -> Check {
    if super::callback::in_rbtree_lock_required_cb(env) {
        verbose!(env, "can't spin_{{lock,unlock}} in rbtree cb\n");
        return Err(Errno::EACCES.into());
    }
    match meta.func_id {
        func::SPIN_LOCK => process_spin_lock(env, regno, super::locks::LockOp::LOCK),
        func::SPIN_UNLOCK => process_spin_lock(env, regno, super::locks::LockOp::UNLOCK),
        _ => {
            verifier_bug!(env, "spin lock arg on unexpected helper");
            Err(Errno::EFAULT.into())
        }
    }
}
