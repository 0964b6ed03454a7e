//! What a kfunc leaves in R0 (the result part of `check_kfunc_call`, `check_special_kfunc`).

use bpfassay_isa::Reg;
use bpfassay_object::btf::{Btf, BtfKind, Type};
use bpfassay_spec::kfunc::KfuncFlags;
use bpfassay_spec::{RegBase, RegType, TypeFlags};

use super::btf_record::{FieldKinds, KptrTarget};
use super::callback::graph_node;
use super::callinfo::{KfuncMeta, Special};
use super::dynptr::dynptr_flag;
use super::graph::ref_set_non_owning;
use super::iter::iter_slot;
use super::kfunc::desc_btf;
use super::kfunc_arg::{is_scalar, is_scalar_struct};
use super::locks::reg_btf_record;
use super::packet::may_access_direct_pkt_data;
use super::refs::acquire_reference;
use super::Access;
use crate::domain::reg::{BtfObj, RegState, DEF_NOT_SUBREG};
use crate::env::Env;
use crate::explore::parents::mark_reg_written;
use crate::stop::{Check, Errno, Stop};
use crate::transfer::mark::{mark_reg_known_zero, mark_reg_unknown};
use crate::{verbose, verifier_bug};

fn invalid<T>() -> Check<T> {
    Err(Errno::EINVAL.into())
}

/// Type, ids and reference of the result; R0 to R5 have been forgotten before.
pub fn set_result(env: &mut Env<'_>, meta: &mut KfuncMeta, insn_idx: u32) -> Check {
    let btf = desc_btf(env, meta)?;
    let proto = btf.ty(meta.proto_id).ok_or(Stop::Reject(Errno::EINVAL))?;
    let Some(t) = btf.skip_mods_and_typedefs(proto.type_id()) else { return invalid() };
    if meta.has(KfuncFlags::ACQUIRE) && !may_acquire(meta, &btf, t) {
        verbose!(env, "acquire kernel function does not return PTR_TO_BTF_ID\n");
        return invalid();
    }
    if is_scalar(t) {
        mark_reg_unknown(env, Reg::R0);
        if meta.is(Special::ResSpinLock) || meta.is(Special::ResSpinLockIrqsave) {
            let capable = env.bpf_capable;
            env.reg_mut(Reg::R0).mark_const_zero(capable);
        }
        set_result_size(env, t.size());
    } else if t.kind() == BtfKind::Ptr {
        set_pointer(env, meta, &btf, t, insn_idx)?;
    } else if t.is_void() && (meta.is(Special::ObjDrop) || meta.is(Special::PercpuObjDrop)) {
        remember_struct_meta(env, meta.arg_btf, insn_idx);
    }
    Ok(())
}

/// The result is defined in 32 bits unless it has 8 bytes.
fn set_result_size(env: &mut Env<'_>, size: u32) {
    let def = if size == 8 { DEF_NOT_SUBREG } else { env.insn_idx as i32 + 1 };
    env.reg_mut(Reg::R0).subreg_def = def;
    let frame = env.cur.curframe();
    mark_reg_written(env, frame, Reg::R0);
}

fn may_acquire(meta: &KfuncMeta, btf: &Btf, t: Type<'_>) -> bool {
    let is_struct_ptr = t.kind() == BtfKind::Ptr
        && btf.skip_mods_and_typedefs(t.type_id()).is_some_and(|p| p.kind().is_composite());
    is_struct_ptr
        || matches!(
            meta.special,
            Some(Special::ObjNew | Special::PercpuObjNew | Special::RefcountAcquire)
        )
}

fn remember_struct_meta(env: &mut Env<'_>, target: Option<KptrTarget>, insn_idx: u32) {
    let id = target.filter(|t| env.struct_meta(t.btf, t.btf_id).is_some()).map_or(0, |t| t.btf_id);
    env.aux_mut(insn_idx).kptr_struct_meta = id;
}

/// `struct bpf_list_node` or `struct bpf_rb_node` of vmlinux.
fn is_graph_node(env: &Env<'_>, pointee: Type<'_>) -> bool {
    let name = pointee.name();
    if name != "bpf_list_node" && name != "bpf_rb_node" {
        return false;
    }
    let own = env.btf(BtfObj::VMLINUX).and_then(|b| b.find_by_name_kind(name, BtfKind::Struct));
    own == Some(pointee.id())
}

/// A refcount that is owned already cannot drop to zero meanwhile.
fn returns_null(meta: &KfuncMeta) -> bool {
    !(meta.is(Special::RefcountAcquire) && meta.arg_owning_ref) && meta.has(KfuncFlags::RET_NULL)
}

fn set_pointer(
    env: &mut Env<'_>,
    meta: &mut KfuncMeta,
    btf: &Btf,
    t: Type<'_>,
    insn_idx: u32,
) -> Check {
    let Some(pointee) = btf.skip_mods_and_typedefs(t.type_id()) else { return invalid() };
    if !set_special(env, meta, btf, pointee, insn_idx)? {
        if pointee.is_void() {
            mark_reg_unknown(env, Reg::R0);
        } else if pointee.kind() == BtfKind::Struct {
            set_struct(env, meta, pointee.id())?;
        } else {
            set_memory(env, meta, btf, pointee)?;
        }
    }
    if returns_null(meta) {
        let id = env.new_id();
        let r0 = env.reg_mut(Reg::R0);
        r0.ty = r0.ty.plus(TypeFlags::PTR_MAYBE_NULL);
        r0.id = id;
    }
    set_result_size(env, 8);
    if meta.has(KfuncFlags::ACQUIRE) {
        let id = acquire_reference(env, insn_idx);
        let by_id = env.kernel.features.references_by_id;
        let r0 = env.reg_mut(Reg::R0);
        if returns_null(meta) || by_id {
            r0.id = id;
        }
        r0.ref_obj_id = id;
    } else if is_graph_node(env, pointee) {
        let mut r0 = *env.reg(Reg::R0);
        // The kernel does not look at the answer.
        if let Err(stop @ Stop::Unsupported(_)) = ref_set_non_owning(env, &mut r0) {
            return Err(stop);
        }
        *env.reg_mut(Reg::R0) = r0;
    }
    let r0 = *env.reg(Reg::R0);
    if r0.id == 0 && may_point_to_lock(env, &r0) {
        let id = env.new_id();
        env.reg_mut(Reg::R0).id = id;
    }
    Ok(())
}

fn may_point_to_lock(env: &Env<'_>, reg: &RegState) -> bool {
    let locks = FieldKinds::SPIN_LOCK | FieldKinds::RES_SPIN_LOCK;
    reg_btf_record(env, reg).is_some_and(|r| r.has(locks))
}

fn set_struct(env: &mut Env<'_>, meta: &KfuncMeta, id: u32) -> Check {
    let mut flags = TypeFlags::NONE;
    if meta.is(Special::GetKmemCache) {
        flags |= TypeFlags::PTR_UNTRUSTED;
    } else if meta.has(KfuncFlags::RCU_PROTECTED) {
        flags |= TypeFlags::MEM_RCU;
    }
    if meta.has(KfuncFlags::ITER_NEXT) {
        let rcu = iter_slot(env, meta)?.ty.has(TypeFlags::MEM_RCU);
        flags |= if rcu { TypeFlags::MEM_RCU } else { TypeFlags::PTR_TRUSTED };
    }
    if flags == TypeFlags::NONE && env.kernel.features.kfunc_results_trusted {
        flags = TypeFlags::PTR_TRUSTED;
    }
    mark_reg_known_zero(env, Reg::R0);
    let r0 = env.reg_mut(Reg::R0);
    r0.ty = RegType::with(RegBase::BtfId, flags);
    r0.set_btf(meta.btf, id);
    Ok(())
}

/// A pointer to something without members: memory of a known size.
fn set_memory(env: &mut Env<'_>, meta: &mut KfuncMeta, btf: &Btf, pointee: Type<'_>) -> Check {
    if meta.r0_size == 0 {
        if let Some(size) = btf.size_of(pointee.id()) {
            meta.r0_size = size as u64;
            meta.r0_rdonly = true;
        }
    }
    if meta.r0_size == 0 {
        let (kind, name) = (pointee.kind().kernel_name(), pointee.name());
        verbose!(
            env,
            "kernel function {} returns pointer type {kind} {name} is not supported\n",
            meta.name
        );
        return invalid();
    }
    let mut flags = TypeFlags::NONE;
    if meta.r0_rdonly {
        flags |= TypeFlags::MEM_RDONLY;
    }
    if meta.has(KfuncFlags::RCU_PROTECTED) {
        flags |= TypeFlags::MEM_RCU;
    }
    mark_reg_known_zero(env, Reg::R0);
    let by_id = env.kernel.features.references_by_id;
    let r0 = env.reg_mut(Reg::R0);
    r0.ty = RegType::with(RegBase::Mem, flags);
    r0.set_mem_size(meta.r0_size as u32);
    if meta.ref_obj_id != 0 && by_id {
        r0.parent_id = meta.ref_obj_id;
    } else if meta.ref_obj_id != 0 {
        r0.ref_obj_id = meta.ref_obj_id;
    }
    Ok(())
}

/// Kfuncs whose result the prototype does not tell; false if it does (`check_special_kfunc`).
fn set_special(
    env: &mut Env<'_>,
    meta: &KfuncMeta,
    btf: &Btf,
    pointee: Type<'_>,
    insn_idx: u32,
) -> Check<bool> {
    if meta.btf != BtfObj::VMLINUX {
        return Ok(false);
    }
    match meta.special {
        Some(Special::ObjNew | Special::PercpuObjNew) => set_new_object(env, meta, insn_idx)?,
        Some(Special::RefcountAcquire) => {
            let Some(target) = meta.arg_btf else { return Err(Errno::EFAULT.into()) };
            set_btf(env, TypeFlags::MEM_ALLOC, target.btf, target.btf_id);
            remember_struct_meta(env, meta.arg_btf, insn_idx);
        }
        _ if is_graph_node(env, pointee) => {
            let is_list = pointee.name() == "bpf_list_node";
            let field = if is_list { meta.list_head } else { meta.rbtree_root };
            let Some(root) = field.and_then(|f| f.root()) else { return Err(Errno::EFAULT.into()) };
            let def = env.reg(Reg::R0).subreg_def;
            let mut node = graph_node(env, &root);
            node.subreg_def = def;
            *env.reg_mut(Reg::R0) = node;
        }
        Some(Special::CastToKernCtx) => {
            set_btf(env, TypeFlags::PTR_TRUSTED, meta.btf, meta.ret_btf_id)
        }
        Some(Special::RdonlyCast) => set_rdonly_cast(env, meta, btf)?,
        Some(Special::DynptrSlice | Special::DynptrSliceRdwr) => set_slice(env, meta)?,
        _ => return Ok(false),
    }
    Ok(true)
}

fn set_btf(env: &mut Env<'_>, flags: TypeFlags, btf: BtfObj, id: u32) {
    mark_reg_known_zero(env, Reg::R0);
    let r0 = env.reg_mut(Reg::R0);
    r0.ty = RegType::with(RegBase::BtfId, flags);
    r0.set_btf(btf, id);
}

fn set_new_object(env: &mut Env<'_>, meta: &KfuncMeta, insn_idx: u32) -> Check {
    let is_percpu = meta.is(Special::PercpuObjNew);
    let value = meta.arg_constant.unwrap_or(0);
    let Ok(id) = u32::try_from(value) else {
        verbose!(env, "local type ID argument must be in range [0, U32_MAX]\n");
        return invalid();
    };
    let Some(btf) = env.prog_btf().cloned() else {
        verbose!(env, "bpf_obj_new/bpf_percpu_obj_new requires prog BTF\n");
        return invalid();
    };
    let Some(ty) = btf.ty(id).filter(|t| t.kind() == BtfKind::Struct) else {
        verbose!(env, "bpf_obj_new/bpf_percpu_obj_new type ID argument must be of a struct\n");
        return invalid();
    };
    let most = env.kernel.limits.max_global_percpu_alloc;
    if is_percpu && ty.size() > most {
        verbose!(
            env,
            "bpf_percpu_obj_new type size ({}) is greater than {most}\n",
            ty.size() as i32
        );
        return invalid();
    }
    let has_fields = env.struct_meta(BtfObj::PROG, id).is_some();
    if is_percpu && !is_scalar_struct(env, &btf, ty, 0) {
        verbose!(env, "bpf_percpu_obj_new type ID argument must be of a struct of scalars\n");
        return invalid();
    }
    if is_percpu && has_fields {
        verbose!(env, "bpf_percpu_obj_new type ID argument must not contain special fields\n");
        return invalid();
    }
    let percpu = if is_percpu { TypeFlags::MEM_PERCPU } else { TypeFlags::NONE };
    set_btf(env, TypeFlags::MEM_ALLOC | percpu, BtfObj::PROG, id);
    let aux = env.aux_mut(insn_idx);
    aux.obj_new_size = ty.size() as u64;
    aux.kptr_struct_meta = if has_fields { id } else { 0 };
    Ok(())
}

fn set_rdonly_cast(env: &mut Env<'_>, meta: &KfuncMeta, btf: &Btf) -> Check {
    let value = meta.arg_constant.unwrap_or(0);
    // The kernel looks the low 32 bits up.
    let Some(ty) = btf.ty(value as u32) else {
        verbose!(env, "Unknown type ID {} passed to kfunc bpf_rdonly_cast\n", value as i64);
        return invalid();
    };
    if ty.kind().is_composite() {
        set_btf(env, TypeFlags::PTR_UNTRUSTED, meta.btf, value as u32);
        return Ok(());
    }
    if !ty.is_void() || !env.kernel.features.untrusted_memory {
        verbose!(env, words.rdonly_cast_type);
        return invalid();
    }
    mark_reg_known_zero(env, Reg::R0);
    let r0 = env.reg_mut(Reg::R0);
    r0.ty = RegType::with(RegBase::Mem, TypeFlags::MEM_RDONLY | TypeFlags::PTR_UNTRUSTED);
    r0.set_mem_size(0);
    Ok(())
}

/// Memory of a dynptr, valid as long as the dynptr is.
fn set_slice(env: &mut Env<'_>, meta: &KfuncMeta) -> Check {
    mark_reg_known_zero(env, Reg::R0);
    let Some(size) = meta.arg_constant else {
        verifier_bug!(env, "bpf_dynptr_slice(_rdwr) no constant size");
        return Err(Errno::EFAULT.into());
    };
    let mut flags = dynptr_flag(meta.dynptr_type);
    if meta.is(Special::DynptrSlice) {
        flags |= TypeFlags::MEM_RDONLY;
    } else if !may_access_direct_pkt_data(env, None, Access::Write) {
        verbose!(env, "the prog does not allow writes to packet data\n");
        return invalid();
    }
    if meta.dynptr_id == 0 {
        verifier_bug!(env, "no dynptr id");
        return Err(Errno::EFAULT.into());
    }
    let by_id = env.kernel.features.references_by_id;
    let r0 = env.reg_mut(Reg::R0);
    r0.set_mem_size(size as u32);
    r0.ty = RegType::with(RegBase::Mem, flags);
    if by_id {
        r0.parent_id = meta.dynptr_id;
    } else {
        r0.set_dynptr_id(meta.dynptr_id);
    }
    Ok(())
}
