//! Nodes of lists and trees and who owns them (`ref_set_non_owning`).

use bpfassay_isa::Reg;
use bpfassay_spec::{RegBase, TypeFlags};

use super::arg_types::btf_type_name;
use super::btf_record::{FieldKinds, KptrTarget};
use super::btf_walk::btf_struct_ids_match;
use super::callinfo::{KfuncMeta, Special};
use super::locks::{btf_lock_ptr, map_lock_ptr, reg_btf_record};
use super::refs::{find_lock_state, find_reference_state};
use crate::domain::reg::{BtfObj, RegState};
use crate::domain::state::RefKind;
use crate::env::Env;
use crate::stop::{Check, Errno, Stop};
use crate::{verbose, verifier_bug};

/// The pointer no longer owns its object: the graph does, for as long as the lock is held.
pub fn ref_set_non_owning(env: &mut Env<'_>, reg: &mut RegState) -> Check {
    if env.cur.active_locks == 0 {
        verifier_bug!(env, "ref_set_non_owning w/o active lock");
        return Err(Errno::EFAULT.into());
    }
    if reg.ty.has(TypeFlags::NON_OWN_REF) {
        verifier_bug!(env, "NON_OWN_REF already set");
        return Err(Errno::EFAULT.into());
    }
    reg.ty = reg.ty.plus(TypeFlags::NON_OWN_REF);
    if reg_btf_record(env, reg).is_some_and(|r| r.has(FieldKinds::REFCOUNT)) {
        reg.ty = reg.ty.plus(TypeFlags::MEM_RCU);
    }
    Ok(())
}

/// Lists and trees of allocated objects: what roots and nodes are called.
struct Names {
    root: FieldKinds,
    node: FieldKinds,
}

impl Names {
    fn of(kind: FieldKinds) -> Names {
        if kind.intersects(FieldKinds::LIST_HEAD | FieldKinds::LIST_NODE) {
            Names { root: FieldKinds::LIST_HEAD, node: FieldKinds::LIST_NODE }
        } else {
            Names { root: FieldKinds::RB_ROOT, node: FieldKinds::RB_NODE }
        }
    }
}

fn check_constant_offset(
    env: &mut Env<'_>,
    reg: &RegState,
    regno: Reg,
    kind: FieldKinds,
) -> Check<u32> {
    if !reg.var_off.is_const() {
        let what = kind.name();
        verbose!(
            env,
            "R{} doesn't have constant offset. {what} has to be at the constant offset\n",
            regno.0
        );
        return Err(Errno::EINVAL.into());
    }
    Ok((reg.off as u32).wrapping_add(reg.var_off.value as u32))
}

fn check_vmlinux(env: &mut Env<'_>, meta: &KfuncMeta) -> Check {
    if meta.btf != BtfObj::VMLINUX {
        verifier_bug!(env, "unexpected btf mismatch in kfunc call");
        return Err(Errno::EFAULT.into());
    }
    Ok(())
}

/// The list head or tree root argument; its lock must be held (`__process_kf_arg_ptr_to_graph_root`).
pub fn process_root(
    env: &mut Env<'_>,
    reg: &RegState,
    regno: Reg,
    meta: &mut KfuncMeta,
    kind: FieldKinds,
) -> Check {
    check_vmlinux(env, meta)?;
    let is_list = kind == FieldKinds::LIST_HEAD;
    let known =
        meta.special.is_some_and(|s| if is_list { s.is_list_api() } else { s.is_rbtree_api() });
    let name = kind.name();
    if !known {
        verbose!(env, "verifier internal error: {name} head arg for unknown kfunc\n");
        return Err(Errno::EFAULT.into());
    }
    let off = check_constant_offset(env, reg, regno, kind)?;
    let record = reg_btf_record(env, reg);
    let lock_off = record.and_then(|r| r.offset_of(FieldKinds::SPIN_LOCK)).map_or(-1, |o| o as i32);
    let Some(field) = record.and_then(|r| r.find(off, kind)).copied() else {
        verbose!(env, "{name} not found at offset={off}\n");
        return Err(Errno::EINVAL.into());
    };
    if check_allocation_locked(env, reg).is_err() {
        verbose!(env, "bpf_spin_lock at off={lock_off} must be held for {name}\n");
        return Err(Errno::EINVAL.into());
    }
    let slot = if is_list { &mut meta.list_head } else { &mut meta.rbtree_root };
    if slot.is_some() {
        verifier_bug!(env, "repeating {name} arg");
        return Err(Errno::EFAULT.into());
    }
    *slot = Some(field);
    Ok(())
}

/// The object's own lock is held (`check_reg_allocation_locked`).
fn check_allocation_locked(env: &mut Env<'_>, reg: &RegState) -> Check {
    let ptr = match reg.base() {
        RegBase::MapValue => reg.map().map_or(0, map_lock_ptr),
        _ => reg.btf().map_or(0, btf_lock_ptr),
    };
    if env.cur.active_locks == 0 {
        return Err(Errno::EINVAL.into());
    }
    let kinds = [RefKind::Lock, RefKind::ResLock, RefKind::ResLockIrq];
    if find_lock_state(&env.cur, &kinds, reg.id, ptr).is_none() {
        verbose!(env, "held lock and object are not in the same allocation\n");
        return Err(Errno::EINVAL.into());
    }
    Ok(())
}

/// The node argument belongs into the root given before (`__process_kf_arg_ptr_to_graph_node`).
pub fn process_node(
    env: &mut Env<'_>,
    reg: &RegState,
    regno: Reg,
    meta: &mut KfuncMeta,
    kind: FieldKinds,
) -> Check {
    check_vmlinux(env, meta)?;
    let is_list = kind == FieldKinds::LIST_NODE;
    let known = match meta.special {
        Some(
            Special::ListPushFront
            | Special::ListPushBack
            | Special::ListAdd
            | Special::ListDel
            | Special::ListIsFirst
            | Special::ListIsLast,
        ) => is_list,
        Some(
            Special::RbtreeAdd | Special::RbtreeRemove | Special::RbtreeLeft | Special::RbtreeRight,
        ) => !is_list,
        _ => false,
    };
    let Names { root: root_kind, node: node_kind } = Names::of(kind);
    let (root_name, node_name) = (root_kind.name(), node_kind.name());
    if !known {
        verbose!(env, "verifier internal error: {node_name} node arg for unknown kfunc\n");
        return Err(Errno::EFAULT.into());
    }
    let off = check_constant_offset(env, reg, regno, kind)?;
    if reg_btf_record(env, reg).and_then(|r| r.find(off, kind)).is_none() {
        verbose!(env, "{node_name} not found at offset={off}\n");
        return Err(Errno::EINVAL.into());
    }
    let field = if is_list { meta.list_head } else { meta.rbtree_root };
    let Some(root) = field.and_then(|f| f.root()) else {
        return Err(Stop::unsupported("graph node without its root"));
    };
    let have = KptrTarget { btf: reg.btf().unwrap_or(BtfObj::PROG), btf_id: reg.btf_id() };
    let need = KptrTarget { btf: root.btf, btf_id: root.value_btf_id };
    let wanted = btf_type_name(env, need.btf, need.btf_id);
    let at = root.node_offset as i32;
    if !btf_struct_ids_match(env, have, 0, need, true) {
        let is = btf_type_name(env, have.btf, have.btf_id);
        verbose!(
            env,
            "operation on {root_name} expects arg#1 {node_name} at offset={at} in struct {wanted}, \
             but arg is at offset={} in struct {is}\n",
            off as i32
        );
        return Err(Errno::EINVAL.into());
    }
    meta.arg_btf = Some(have);
    if off != root.node_offset {
        verbose!(
            env,
            "arg#1 offset={}, but expected {node_name} at offset={at} in struct {wanted}\n",
            off as i32
        );
        return Err(Errno::EINVAL.into());
    }
    Ok(())
}

/// The pushed object belongs to the graph now: its pointers stay readable under the lock
/// (`ref_convert_owning_non_owning`).
pub fn convert_owning_non_owning(env: &mut Env<'_>, ref_obj_id: u32) -> Check {
    if ref_obj_id == 0 {
        verifier_bug!(env, "ref_obj_id is zero for owning -> non-owning conversion");
        return Err(Errno::EFAULT.into());
    }
    if !find_reference_state(&env.cur, ref_obj_id) {
        verifier_bug!(env, "ref state missing for ref_obj_id");
        return Err(Errno::EFAULT.into());
    }
    // All copies are of one type, so one answer serves them all.
    let mut refcounted = false;
    env.cur.any_reg(|_, r| {
        let hit = r.ref_obj_id == ref_obj_id;
        if hit {
            refcounted = reg_btf_record(env, r).is_some_and(|rec| rec.has(FieldKinds::REFCOUNT));
        }
        hit
    });
    let locked = env.cur.active_locks != 0;
    let by_id = env.kernel.features.references_by_id;
    let mut flags = TypeFlags::NON_OWN_REF;
    if refcounted {
        flags |= TypeFlags::MEM_RCU;
    }
    env.cur.for_each_reg_mut(|_, r| {
        if r.ref_obj_id == ref_obj_id {
            r.ref_obj_id = 0;
            if by_id {
                r.id = 0;
            }
            if locked && !r.ty.has(TypeFlags::NON_OWN_REF) {
                r.ty = r.ty.plus(flags);
            }
        }
    });
    Ok(())
}
