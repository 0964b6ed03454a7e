//! Arguments of kfuncs that are objects of the program's own or hold such: allocated and counted
//! objects, list heads, tree roots and nodes, timers, locks (`check_kfunc_args`).

use bpfassay_isa::Reg;
use bpfassay_spec::{RegBase, TypeFlags};

use super::btf_record::{FieldKinds, KptrTarget};
use super::callback::in_rbtree_lock_required_cb;
use super::callinfo::{KfuncMeta, Special};
use super::graph;
use super::kfunc_arg::arg_name;
use super::kfunc_args::{invalid, refuse_arg, ALLOC};
use super::locks::{process_spin_lock, reg_btf_record, LockOp};
use super::map_field::check_map_field_pointer;
use super::trust::{is_alloc_obj, is_non_owning_ref};
use crate::domain::reg::{BtfObj, RegState};
use crate::env::Env;
use crate::stop::{Check, Errno};
use crate::{verbose, verifier_bug};

pub(super) fn check_alloc(
    env: &mut Env<'_>,
    meta: &mut KfuncMeta,
    i: usize,
    reg: &RegState,
) -> Check {
    let arg = arg_name(env, i);
    if reg.ty == ALLOC {
        if !meta.is(Special::ObjDrop) {
            verbose!(env, "{arg} expected for bpf_obj_drop{}()\n", impl_suffix(env));
            return invalid();
        }
    } else if reg.ty == ALLOC.plus(TypeFlags::MEM_PERCPU) {
        if !meta.is(Special::PercpuObjDrop) {
            verbose!(env, "{arg} expected for bpf_percpu_obj_drop{}()\n", impl_suffix(env));
            return invalid();
        }
    } else {
        verbose!(env, "{arg} expected pointer to allocated object\n");
        let what = (
            "the kfunc expects an allocated object pointer, but R{reg} is {have}",
            "Pass a pointer returned by the matching BPF object allocation path.",
        );
        refuse_arg(env, Reg(i as u8 + 1), what, "");
        return invalid();
    }
    must_be_referenced(env, reg)?;
    if meta.btf == BtfObj::VMLINUX {
        meta.arg_btf = reg.btf().map(|btf| KptrTarget { btf, btf_id: reg.btf_id() });
    }
    Ok(())
}

/// Behind the names of functions that were called with a hidden argument.
fn impl_suffix(env: &Env<'_>) -> &'static str {
    match env.kernel.features.names_as_called {
        true => "",
        false => "_impl",
    }
}

fn must_be_referenced(env: &mut Env<'_>, reg: &RegState) -> Check {
    if reg.ref_obj_id == 0 {
        verbose!(env, "allocated object must be referenced\n");
        return invalid();
    }
    Ok(())
}

/// A list head or tree root stands in a map value or in an object the program owns.
pub(super) fn check_holder(env: &mut Env<'_>, i: usize, reg: &RegState) -> Check {
    let arg = arg_name(env, i);
    if reg.ty != RegBase::MapValue && reg.ty != ALLOC {
        verbose!(env, "{arg} expected pointer to map value or allocated object\n");
        return invalid();
    }
    if reg.ty == ALLOC {
        return must_be_referenced(env, reg);
    }
    Ok(())
}

pub(super) fn check_owned(env: &mut Env<'_>, i: usize, reg: &RegState) -> Check {
    let arg = arg_name(env, i);
    if reg.ty != ALLOC {
        verbose!(env, "{arg} expected pointer to allocated object\n");
        return invalid();
    }
    must_be_referenced(env, reg)
}

pub(super) fn check_rb_node(
    env: &mut Env<'_>,
    meta: &mut KfuncMeta,
    i: usize,
    regno: Reg,
    reg: &RegState,
) -> Check {
    if meta.is(Special::RbtreeAdd) {
        check_owned(env, i, reg)?;
    } else {
        let owned_ok = env.kernel.features.tree_takes_owned_nodes;
        let is_shared = is_non_owning_ref(reg.ty);
        let fits = if owned_ok {
            is_shared || reg.ref_obj_id != 0
        } else {
            is_shared && reg.ref_obj_id == 0
        };
        if !fits {
            verbose!(env, words.tree_node_owned, name = meta.name);
            return invalid();
        }
        if in_rbtree_lock_required_cb(env) {
            let name = if owned_ok { meta.name } else { "rbtree_remove" };
            verbose!(env, "{} not allowed in rbtree cb\n", name);
            return invalid();
        }
    }
    graph::process_node(env, reg, regno, meta, FieldKinds::RB_NODE)
}

pub(super) fn check_refcounted(
    env: &mut Env<'_>,
    meta: &mut KfuncMeta,
    i: usize,
    reg: &RegState,
) -> Check {
    let arg = arg_name(env, i);
    let gone = reg.ty.has(TypeFlags::PTR_UNTRUSTED);
    if !is_alloc_obj(reg.ty) || gone && env.kernel.features.references_by_id {
        verbose!(env, "{arg} is neither owning or non-owning ref\n");
        let what = (
            "the kfunc expects a pointer to a BPF-managed refcounted object, but R{reg} is {have}",
            "Pass an owning or non-owning pointer to a BPF-managed object containing a bpf_refcount field.",
        );
        refuse_arg(env, Reg(i as u8 + 1), what, "");
        return invalid();
    }
    let features = &env.kernel.features;
    if !is_non_owning_ref(reg.ty) && (reg.ref_obj_id != 0 || !features.references_by_id) {
        meta.arg_owning_ref = true;
    }
    let Some(has) = reg_btf_record(env, reg).map(|r| r.has(FieldKinds::REFCOUNT)) else {
        verifier_bug!(env, "Couldn't find btf_record");
        return Err(Errno::EFAULT.into());
    };
    if !has {
        verbose!(env, "{arg} doesn't point to a type with bpf_refcount field\n");
        return invalid();
    }
    meta.arg_btf = reg.btf().map(|btf| KptrTarget { btf, btf_id: reg.btf_id() });
    Ok(())
}

pub(super) fn check_timed_field(
    env: &mut Env<'_>,
    meta: &mut KfuncMeta,
    i: usize,
    regno: Reg,
    kind: FieldKinds,
) -> Check {
    let arg = arg_name(env, i);
    if env.reg(regno).ty != RegBase::MapValue {
        verbose!(env, "{arg} doesn't point to a map value\n");
        return invalid();
    }
    let map = check_map_field_pointer(env, regno, kind)?;
    if meta.map.is_some() {
        let what = match kind {
            FieldKinds::WORKQUEUE => "bpf_wq",
            FieldKinds::TIMER => "bpf_timer",
            _ => "bpf_task_work",
        };
        verifier_bug!(env, "Two map pointers in a {what} helper");
        return Err(Errno::EFAULT.into());
    }
    meta.map_uid = env.reg(regno).map_uid();
    meta.map = map;
    Ok(())
}

pub(super) fn check_res_lock(
    env: &mut Env<'_>,
    meta: &KfuncMeta,
    i: usize,
    regno: Reg,
    reg: &RegState,
) -> Check {
    let arg = arg_name(env, i);
    if env.kernel.features.tree_callbacks_nest && in_rbtree_lock_required_cb(env) {
        verbose!(env, "can't res_spin_{{lock,unlock}} in rbtree cb\n");
        return Err(Errno::EACCES.into());
    }
    if reg.ty != RegBase::MapValue && reg.ty != ALLOC {
        verbose!(env, "{arg} doesn't point to map value or allocated object\n");
        return invalid();
    }
    let (is_lock, is_irq) = match meta.special {
        Some(Special::ResSpinLock) => (true, false),
        Some(Special::ResSpinLockIrqsave) => (true, true),
        Some(Special::ResSpinUnlock) => (false, false),
        Some(Special::ResSpinUnlockIrqrestore) => (false, true),
        _ => return Err(Errno::EFAULT.into()),
    };
    process_spin_lock(env, regno, LockOp { is_lock, is_res: true, is_irq })
}
