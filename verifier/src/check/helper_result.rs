//! What a helper leaves in R0 (the result part of `check_helper_call`, `do_refine_retval_range`).

use bpfassay_isa::Reg;
use bpfassay_object::model::MapDef;
use bpfassay_spec::{
    func, AttachType, HelperProto, MapLookup, ProgType, RegBase, RegType, RetBase, RetType,
    TypeFlags,
};

use super::arg_types::kernel_struct_id;
use super::btf_ctx::hook_retval_range;
use super::btf_record::FieldKinds;
use super::callinfo::CallMeta;
use super::refs::{acquire_reference, find_reference_state};
use crate::domain::reg::{BtfObj, MapId, DEF_NOT_SUBREG};
use crate::env::Env;
use crate::explore::worklist::push_stack;
use crate::stop::{Check, Errno, Stop};
use crate::transfer::mark::{
    mark_not_null, mark_reg_known_zero, mark_reg_unknown, reg_bounds_sanity_check,
};
use crate::{verbose, verifier_bug};

/// `MAX_ERRNO`: errors are -1 to -4095.
pub const MAX_ERRNO: i32 = 4095;

/// Maps whose lookup cannot fail for a key within bounds (`can_elide_value_nullness`).
///
/// An inner array made with `BPF_F_INNER_MAP` may be shorter than the template that the key is compared with.
pub fn can_elide_value_nullness(env: &Env<'_>, map: &MapDef) -> bool {
    let may_be_shorter = map.map_flags & MapDef::F_INNER_MAP != 0;
    let compares = env.kernel.features.constant_keys_compared;
    let is_array = compares && env.kernel.map_use(map.map_type).is_some_and(|row| row.never_null);
    is_array && !(may_be_shorter && env.kernel.features.inner_array_may_be_shorter)
}

/// Type, bounds, ids and reference of the result.
pub fn set_result(
    env: &mut Env<'_>,
    proto: &HelperProto,
    meta: &CallMeta,
    percpu_alloc: bool,
) -> Check {
    env.reg_mut(Reg::R0).subreg_def = DEF_NOT_SUBREG;
    let flags = proto.ret.flags();
    match proto.ret.base() {
        RetBase::Integer => mark_reg_unknown(env, Reg::R0),
        RetBase::Void => env.reg_mut(Reg::R0).ty = RegType::of(RegBase::NotInit),
        RetBase::MapValue => set_map_value(env, flags, meta)?,
        RetBase::Socket => set_pointer(env, RegType::with(RegBase::Socket, flags)),
        RetBase::SockCommon => set_pointer(env, RegType::with(RegBase::SockCommon, flags)),
        RetBase::TcpSock => set_pointer(env, RegType::with(RegBase::TcpSock, flags)),
        RetBase::Mem => {
            set_pointer(env, RegType::with(RegBase::Mem, flags));
            env.reg_mut(Reg::R0).set_mem_size(meta.mem_size);
        }
        RetBase::MemOrBtfId => set_mem_or_btf(env, flags, meta, percpu_alloc)?,
        RetBase::BtfId => set_btf_pointer(env, proto, flags, meta)?,
    }
    let r0 = env.reg(Reg::R0);
    if r0.ty.may_be_null() && r0.id == 0 {
        let id = env.new_id();
        env.reg_mut(Reg::R0).id = id;
    }
    if !env.kernel.features.trust_tracked {
        let r0 = env.reg_mut(Reg::R0);
        r0.ty = r0.ty.minus(TypeFlags::PTR_TRUSTED | TypeFlags::MEM_RCU);
    }
    set_reference(env, meta)?;
    refine_range(env, proto.ret, meta)
}

fn set_pointer(env: &mut Env<'_>, ty: RegType) {
    mark_reg_known_zero(env, Reg::R0);
    env.reg_mut(Reg::R0).ty = ty;
}

/// Looking up such a map gives a reference.
fn holds_sockets(env: &Env<'_>, map: Option<MapId>) -> bool {
    let row = map.and_then(|m| env.kernel.map_use(env.map(m).def.map_type));
    row.is_some_and(|row| row.lookup == MapLookup::Socket)
}

fn set_map_value(env: &mut Env<'_>, flags: TypeFlags, meta: &CallMeta) -> Check {
    mark_reg_known_zero(env, Reg::R0);
    let Some(map) = meta.map else {
        verifier_bug!(env, "unexpected null map_ptr");
        return Err(Errno::EFAULT.into());
    };
    let def = &env.map(map).def;
    let in_bounds = meta.map_key_const.is_some_and(|k| k >= 0 && k < def.max_entries as i64);
    let found =
        meta.func_id == func::MAP_LOOKUP_ELEM && can_elide_value_nullness(env, def) && in_bounds;
    let flags = if found { flags & !TypeFlags::PTR_MAYBE_NULL } else { flags };
    let locks = FieldKinds::SPIN_LOCK | FieldKinds::RES_SPIN_LOCK;
    let has_lock = env.map(map).record.as_ref().is_some_and(|r| r.has(locks));
    let r0 = env.reg_mut(Reg::R0);
    r0.set_map(map);
    r0.set_map_uid(meta.map_uid);
    r0.ty = RegType::with(RegBase::MapValue, flags);
    let features = &env.kernel.features;
    let may_be_null = flags.intersects(TypeFlags::PTR_MAYBE_NULL);
    let at_once = features.lookups_typed_at_once;
    if at_once && may_be_null || has_lock && !may_be_null {
        let id = env.new_id();
        env.reg_mut(Reg::R0).id = id;
    }
    if at_once {
        refine_lookup(env);
    }
    Ok(())
}

/// What a lookup gives by the map's type, whether NULL or not (`refine_map_lookup_value`).
fn refine_lookup(env: &mut Env<'_>) {
    let mut r0 = *env.reg(Reg::R0);
    let null = r0.flags() & TypeFlags::PTR_MAYBE_NULL;
    mark_not_null(env.kernel, &env.maps, &mut r0);
    r0.ty = r0.ty.plus(null);
    *env.reg_mut(Reg::R0) = r0;
}

/// A per-CPU variable of the kernel: a struct pointer, or memory of the type's size.
fn set_mem_or_btf(
    env: &mut Env<'_>,
    flags: TypeFlags,
    meta: &CallMeta,
    percpu_alloc: bool,
) -> Check {
    mark_reg_known_zero(env, Reg::R0);
    let Some(ret_btf) = meta.ret_btf else { return Err(Errno::EFAULT.into()) };
    let Some(btf) = env.btf(ret_btf).cloned() else {
        return Err(Stop::unsupported("result type without its BTF"));
    };
    let ty = btf.skip_mods_and_typedefs(meta.ret_btf_id).ok_or(Stop::Reject(Errno::EFAULT))?;
    if ty.kind().is_composite() {
        let r0_type = if percpu_alloc {
            RegType::with(RegBase::BtfId, TypeFlags::MEM_ALLOC | TypeFlags::MEM_RCU)
        } else {
            RegType::with(RegBase::BtfId, flags & !TypeFlags::MEM_RDONLY)
        };
        let r0 = env.reg_mut(Reg::R0);
        r0.ty = r0_type;
        r0.set_btf(ret_btf, meta.ret_btf_id);
        return Ok(());
    }
    let Some(size) = btf.size_of(ty.id()) else {
        verbose!(env, "unable to resolve the size of type '{}': {}\n", ty.name(), -Errno::EINVAL.0);
        return Err(Errno::EINVAL.into());
    };
    let r0 = env.reg_mut(Reg::R0);
    r0.ty = RegType::with(RegBase::Mem, flags);
    r0.set_mem_size(size);
    Ok(())
}

fn set_btf_pointer(
    env: &mut Env<'_>,
    proto: &HelperProto,
    flags: TypeFlags,
    meta: &CallMeta,
) -> Check {
    set_pointer(env, RegType::with(RegBase::BtfId, flags));
    let (btf, id) = if meta.func_id == func::KPTR_XCHG {
        let field = meta.kptr_field.ok_or(Stop::Reject(Errno::EFAULT))?;
        let target = field.kptr().ok_or(Stop::Reject(Errno::EFAULT))?;
        if target.btf == BtfObj::PROG {
            let r0 = env.reg_mut(Reg::R0);
            r0.ty = r0.ty.plus(TypeFlags::MEM_ALLOC);
            if field.kind == FieldKinds::KPTR_PERCPU {
                r0.ty = r0.ty.plus(TypeFlags::MEM_PERCPU);
            }
        }
        (target.btf, target.btf_id)
    } else {
        let Some(name) = proto.ret_btf else {
            let name = env.kernel.helper_name(meta.func_id);
            verifier_bug!(env, "func {name} has non-overwritten BPF_PTR_POISON return type");
            return Err(Errno::EFAULT.into());
        };
        (BtfObj::VMLINUX, kernel_struct_id(env, name)?)
    };
    if id == 0 {
        let (ret, func) = (proto.ret.base() as u32, meta.func_id);
        verbose!(
            env,
            "invalid return type {ret} of func {}#{func}\n",
            env.kernel.helper_name(func)
        );
        return Err(Errno::EINVAL.into());
    }
    env.reg_mut(Reg::R0).set_btf(btf, id);
    Ok(())
}

/// Casts keep their argument's reference, acquiring helpers start one.
fn set_reference(env: &mut Env<'_>, meta: &CallMeta) -> Check {
    let id = meta.func_id;
    let traits = env.kernel.helper_traits(id);
    let acquires = traits.acquires || id == func::MAP_LOOKUP_ELEM && holds_sockets(env, meta.map);
    // `helper_multiple_ref_obj_use`
    if [traits.casts, acquires, traits.shows_dynptr].iter().filter(|t| **t).count() > 1 {
        verifier_bug!(
            env,
            "func {}#{id} sets ref_obj_id more than once",
            env.kernel.helper_name(id)
        );
        return Err(Errno::EFAULT.into());
    }
    if env.kernel.features.references_by_id {
        return set_reference_by_id(env, meta, traits.casts, acquires, traits.shows_dynptr);
    }
    if traits.shows_dynptr {
        env.reg_mut(Reg::R0).set_dynptr_id(meta.dynptr_id);
    }
    if traits.casts || traits.shows_dynptr {
        env.reg_mut(Reg::R0).ref_obj_id = meta.ref_obj_id;
    } else if acquires {
        let ref_id = acquire_reference(env, env.insn_idx);
        let r0 = env.reg_mut(Reg::R0);
        r0.id = ref_id;
        r0.ref_obj_id = ref_id;
    }
    Ok(())
}

/// The same where a reference is the id of its pointers.  A cast keeps the id, so the case that it gives NULL is a
/// path of its own.
fn set_reference_by_id(
    env: &mut Env<'_>,
    meta: &CallMeta,
    casts: bool,
    acquires: bool,
    shows_dynptr: bool,
) -> Check {
    if casts && find_reference_state(&env.cur, meta.ref_obj_id) {
        let here = env.insn_idx;
        let r0 = push_stack(env, here + 1, here, false)?.cur_mut().reg_mut(Reg::R0);
        r0.mark_known_zero();
        r0.ty = RegType::of(RegBase::Scalar);
        let r0 = env.reg_mut(Reg::R0);
        r0.ty = r0.ty.minus(TypeFlags::PTR_MAYBE_NULL);
        r0.id = meta.ref_obj_id;
        r0.ref_obj_id = meta.ref_obj_id;
    } else if acquires {
        let id = acquire_reference(env, env.insn_idx);
        let r0 = env.reg_mut(Reg::R0);
        r0.id = id;
        r0.ref_obj_id = id;
    }
    if shows_dynptr {
        env.reg_mut(Reg::R0).parent_id = meta.dynptr_id;
    }
    Ok(())
}

/// Bounds known from the helper's contract (`do_refine_retval_range`).
fn refine_range(env: &mut Env<'_>, ret: RetType, meta: &CallMeta) -> Check {
    if ret != RetBase::Integer {
        return Ok(());
    }
    let features = &env.kernel.features;
    let cpus = env.kernel.nr_cpu_ids.saturating_sub(1);
    let sized = meta.func_id != func::GET_TASK_STACK || features.task_stack_sized;
    let up_to_size = sized && env.kernel.helper_traits(meta.func_id).returns_up_to_size;
    let r0 = env.reg_mut(Reg::R0);
    if up_to_size {
        r0.smax = meta.msize_max_value as i64;
        r0.s32_max = meta.msize_max_value as i32;
        r0.smin = -MAX_ERRNO as i64;
        r0.s32_min = -MAX_ERRNO;
        r0.exchange(features);
    } else if meta.func_id == func::GET_SMP_PROCESSOR_ID && features.processor_id_bounded {
        (r0.umin, r0.umax) = (0, cpus as u64);
        (r0.smin, r0.smax) = (0, cpus as i64);
        (r0.u32_min, r0.u32_max) = (0, cpus);
        (r0.s32_min, r0.s32_max) = (0, cpus as i32);
        r0.exchange(features);
    }
    if meta.func_id == func::GET_RETVAL && env.kernel.features.get_retval_bounded {
        bound_retval(env)?;
    }
    let mut r0 = *env.reg(Reg::R0);
    reg_bounds_sanity_check(env, &mut r0, "retval")?;
    *env.reg_mut(Reg::R0) = r0;
    Ok(())
}

/// What the programs before this one may have returned.
fn bound_retval(env: &mut Env<'_>) -> Check {
    let attach = env.prog.expected_attach_type;
    let range = match env.prog_type() {
        ProgType::CgroupSockopt if attach == Some(AttachType::CgroupGetsockopt) => None,
        ProgType::Lsm if attach == Some(AttachType::LsmCgroup) => hook_retval_range(env)?,
        _ => Some((-MAX_ERRNO, 0)),
    };
    if let Some((min, max)) = range {
        let features = &env.kernel.features;
        let r0 = env.reg_mut(Reg::R0);
        (r0.smin, r0.smax) = (min.into(), max.into());
        (r0.s32_min, r0.s32_max) = (min, max);
        r0.exchange(features);
    }
    Ok(())
}
