//! Kernel pointers kept in map values: what a load gives and what a store accepts
//! (`btf_ld_kptr_type`, `map_kptr_match_type`).

use bpfassay_isa::Reg;
use bpfassay_object::btf::BtfKind;
use bpfassay_spec::{KernelSet, RegBase, RegType, TypeFlags};

use super::btf_record::{BtfField, FieldKinds, KptrTarget};
use super::btf_walk::btf_struct_ids_match;
use super::region::check_ptr_off_reg_fixed_ok;
use super::trust::in_rcu_cs;
use crate::domain::reg::{BtfObj, RegState};
use crate::env::Env;
use crate::stop::{Check, Errno, Stop};
use crate::verbose;

/// `rcu_protected_object`
pub fn is_rcu_protected(env: &Env<'_>, target: KptrTarget) -> bool {
    if target.btf == BtfObj::PROG {
        return true;
    }
    if target.btf != BtfObj::VMLINUX {
        return false;
    }
    let Some(btf) = env.btf(target.btf) else { return false };
    let name = btf.name(target.btf_id);
    let listed = env.kernel.in_set(KernelSet::RcuProtectedTypes, name);
    listed && btf.find_by_name_kind(name, BtfKind::Struct) == Some(target.btf_id)
}

/// Loads are safe under RCU (`rcu_safe_kptr`).
fn is_rcu_safe(env: &Env<'_>, field: &BtfField, target: KptrTarget) -> bool {
    field.kind == FieldKinds::KPTR_PERCPU
        || field.kind == FieldKinds::KPTR_REF && is_rcu_protected(env, target)
}

/// Flags of the pointer a load of the field gives (`btf_ld_kptr_type`).
pub fn kptr_load_flags(env: &Env<'_>, field: &BtfField) -> TypeFlags {
    let mut flags = TypeFlags::PTR_MAYBE_NULL;
    let Some(target) = field.kptr() else { return flags };
    if !is_rcu_safe(env, field, target) || !in_rcu_cs(env) {
        return flags | TypeFlags::PTR_UNTRUSTED;
    }
    flags |= TypeFlags::MEM_RCU;
    if field.kind == FieldKinds::KPTR_PERCPU {
        flags |= TypeFlags::MEM_PERCPU;
    } else if target.btf == BtfObj::PROG {
        flags |= TypeFlags::MEM_ALLOC;
    }
    let pointee = env.struct_meta(target.btf, target.btf_id);
    if pointee.is_some_and(|rec| rec.has(FieldKinds::GRAPH_NODE)) {
        flags |= TypeFlags::NON_OWN_REF;
    }
    flags
}

/// The pointer in `r` may be stored into the field (`map_kptr_match_type`).
pub fn map_kptr_match_type(env: &mut Env<'_>, field: &BtfField, reg: &RegState, r: Reg) -> Check {
    let Some(target) = field.kptr() else {
        return Err(Stop::unsupported("kptr field without a target"));
    };
    let unref = field.kind == FieldKinds::KPTR_UNREF;
    let mut perm = TypeFlags::PTR_MAYBE_NULL;
    if reg.btf() == Some(BtfObj::PROG) {
        perm |= TypeFlags::MEM_ALLOC;
        if field.kind == FieldKinds::KPTR_PERCPU {
            perm |= TypeFlags::MEM_PERCPU;
        }
    } else {
        perm |= TypeFlags::PTR_TRUSTED | TypeFlags::MEM_RCU;
        if unref {
            perm |= TypeFlags::PTR_UNTRUSTED;
        }
    }
    let (RegBase::BtfId, Some(btf)) = (reg.base(), reg.btf()) else {
        return bad_type(env, reg, r, "", target, unref);
    };
    if reg.flags().intersects(!perm) {
        return bad_type(env, reg, r, "", target, unref);
    }
    let is_percpu = field.kind == FieldKinds::KPTR_PERCPU;
    if env.kernel.features.percpu_objects_apart && is_percpu != reg.ty.has(TypeFlags::MEM_PERCPU) {
        return bad_type(env, reg, r, "", target, unref);
    }
    let name = env.btf(btf).map_or(String::new(), |b| b.name(reg.btf_id()).to_string());
    if check_ptr_off_reg_fixed_ok(env, reg, r, true).is_err() {
        return Err(Errno::EACCES.into());
    }
    let from = KptrTarget { btf, btf_id: reg.btf_id() };
    // A referenced kptr must be the very type: its destructor takes no inner struct.
    if !btf_struct_ids_match(env, from, reg.const_off(), target, !unref) {
        return bad_type(env, reg, r, &name, target, unref);
    }
    Ok(())
}

fn bad_type(
    env: &mut Env<'_>,
    reg: &RegState,
    r: Reg,
    name: &str,
    target: KptrTarget,
    unref: bool,
) -> Check {
    let want = env.btf(target.btf).map_or(String::new(), |b| b.name(target.btf_id).to_string());
    let ptr = RegType::of(RegBase::BtfId);
    verbose!(env, "invalid kptr access, R{} type={}{name} ", r.0, env.type_name(reg.ty));
    verbose!(env, "expected={}{want}", env.type_name(ptr));
    if unref {
        verbose!(env, " or {}{want}\n", env.type_name(ptr.plus(TypeFlags::PTR_UNTRUSTED)));
    } else {
        verbose!(env, "\n");
    }
    Err(Errno::EINVAL.into())
}
