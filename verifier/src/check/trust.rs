//! How far a kernel pointer may be trusted (`is_trusted_reg`, `in_rcu_cs`).

use bpfassay_spec::{RegBase, RegType, TypeFlags};

use crate::domain::reg::RegState;
use crate::env::Env;

/// Flags that make a pointer trusted (`BPF_REG_TRUSTED_MODIFIERS`).
pub const TRUSTED: TypeFlags =
    TypeFlags(TypeFlags::MEM_ALLOC.0 | TypeFlags::PTR_TRUSTED.0 | TypeFlags::NON_OWN_REF.0);

/// Any flag but the trusting ones (`bpf_type_has_unsafe_modifiers`).
pub fn has_unsafe_modifiers(ty: RegType) -> bool {
    ty.flags().intersects(!TRUSTED)
}

/// Types that always stand for a live kernel object (`reg2btf_ids`).
fn is_always_trusted(base: RegBase) -> bool {
    matches!(base, RegBase::Socket | RegBase::SockCommon | RegBase::TcpSock | RegBase::ConstMapPtr)
}

/// `is_trusted_reg`
pub fn is_trusted_reg(reg: &RegState) -> bool {
    if reg.ref_obj_id != 0 {
        return true;
    }
    if has_unsafe_modifiers(reg.ty) {
        return false;
    }
    is_always_trusted(reg.base()) || reg.ty.has(TRUSTED)
}

/// `is_rcu_reg`
#[inline]
pub fn is_rcu_reg(reg: &RegState) -> bool {
    reg.ty.has(TypeFlags::MEM_RCU)
}

/// Inside an RCU read-side section: explicit, under a lock, or because the program cannot sleep (`in_rcu_cs`).
#[inline]
pub fn in_rcu_cs(env: &Env<'_>) -> bool {
    let atomic = env.cur.active_preempt_locks != 0 || env.cur.active_irq_id != 0;
    env.cur.active_rcu_locks != 0
        || env.cur.active_locks != 0
        || !env.cur.in_sleepable
        || (atomic && env.kernel.features.atomic_sections_are_rcu)
}

/// What keeps the program from sleeping here (`non_sleepable_context_description`).
pub fn non_sleepable_region(env: &Env<'_>) -> Option<&'static str> {
    let cur = &env.cur;
    if cur.active_rcu_locks != 0 {
        Some("rcu_read_lock region")
    } else if cur.active_preempt_locks != 0 {
        Some("non-preemptible region")
    } else if cur.active_irq_id != 0 {
        Some("IRQ-disabled region")
    } else if cur.active_locks != 0 {
        Some("lock region")
    } else {
        (!cur.in_sleepable).then_some("non-sleepable prog")
    }
}

/// A pointer to an object the program allocated, or that kernel code allocated for it (`type_is_ptr_alloc_obj`).
#[inline]
pub fn is_alloc_obj(ty: RegType) -> bool {
    ty.base() == RegBase::BtfId && ty.has(TypeFlags::MEM_ALLOC)
}

/// `type_is_non_owning_ref`
#[inline]
pub fn is_non_owning_ref(ty: RegType) -> bool {
    is_alloc_obj(ty) && ty.has(TypeFlags::NON_OWN_REF)
}
