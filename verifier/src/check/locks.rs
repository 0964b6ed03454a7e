//! Spin locks and resilient spin locks (`process_spin_lock`).

use bpfassay_isa::Reg;
use bpfassay_spec::RegBase;

use super::btf_record::{BtfRecord, FieldKinds};
use super::kfunc_call::untrust_rcu_pointers;
use super::refs;
use super::trust::in_rcu_cs;
use crate::diagnostics::{self, words, About, Wording};
use crate::domain::reg::{BtfObj, MapId, RegState};
use crate::domain::state::{RefKind, RefState};
use crate::env::Env;
use crate::stop::{Check, Errno};
use crate::verbose;

/// Which lock function is called.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LockOp {
    pub is_lock: bool,
    /// `bpf_res_spin_lock` rather than `bpf_spin_lock`.
    pub is_res: bool,
    /// The `_irqsave` and `_irqrestore` forms.
    pub is_irq: bool,
}

impl LockOp {
    pub const LOCK: LockOp = LockOp { is_lock: true, is_res: false, is_irq: false };
    pub const UNLOCK: LockOp = LockOp { is_lock: false, is_res: false, is_irq: false };

    fn ref_kind(self) -> RefKind {
        match (self.is_res, self.is_irq) {
            (true, true) => RefKind::ResLockIrq,
            (true, false) => RefKind::ResLock,
            (false, _) => RefKind::Lock,
        }
    }

    fn word(self) -> &'static str {
        if self.is_res {
            "bpf_res_spin"
        } else {
            "bpf_spin"
        }
    }
}

/// Identity of what holds a lock, for [`crate::domain::state::RefState::ptr`]: never 0.
pub fn map_lock_ptr(map: MapId) -> u64 {
    map.0 as u64 + 1
}

/// As [`map_lock_ptr`], for allocated objects.
pub fn btf_lock_ptr(btf: BtfObj) -> u64 {
    1 << 32 | btf.0 as u64
}

/// Special fields behind a pointer to a map value or an allocated object (`reg_btf_record`).
pub fn reg_btf_record<'e>(env: &'e Env<'_>, reg: &RegState) -> Option<&'e BtfRecord> {
    if reg.ty == RegBase::MapValue {
        return env.map(reg.map()?).record.as_deref();
    }
    if super::trust::is_alloc_obj(reg.ty) {
        return env.struct_meta(reg.btf()?, reg.btf_id()).map(|r| &**r);
    }
    None
}

/// True if the map was created with BTF (`map->btf`).
pub fn map_has_btf(env: &Env<'_>, map: MapId) -> bool {
    let def = &env.map(map).def;
    def.btf_key_type_id != 0 || def.btf_value_type_id != 0 || def.btf_vmlinux_value_type_id != 0
}

/// The lock or unlock of the object that `regno` points to.
pub fn process_spin_lock(env: &mut Env<'_>, regno: Reg, op: LockOp) -> Check {
    let reg = *env.reg(regno);
    let word = op.word();
    if !reg.var_off.is_const() {
        verbose!(
            env,
            "R{} doesn't have constant offset. {word}_lock has to be at the constant offset\n",
            regno.0
        );
        return Err(Errno::EINVAL.into());
    }
    let map = if reg.ty == RegBase::MapValue { reg.map() } else { None };
    if let Some(map) = map {
        if !map_has_btf(env, map) {
            let name = env.map(map).def.name.clone();
            verbose!(env, "map '{name}' has to have BTF in order to use {word}_lock\n");
            return Err(Errno::EINVAL.into());
        }
    }
    check_lock_field(env, &reg, map, op)?;
    let ptr = match map {
        Some(map) => map_lock_ptr(map),
        None => btf_lock_ptr(reg.btf().unwrap_or(BtfObj::PROG)),
    };
    if op.is_lock {
        lock(env, reg.id, ptr, op)
    } else {
        unlock(env, reg.id, ptr, op)
    }
}

fn check_lock_field(env: &mut Env<'_>, reg: &RegState, map: Option<MapId>, op: LockOp) -> Check {
    let word = op.word();
    let kind = if op.is_res { FieldKinds::RES_SPIN_LOCK } else { FieldKinds::SPIN_LOCK };
    let Some(lock_off) = reg_btf_record(env, reg).and_then(|r| r.offset_of(kind)) else {
        let (what, name) = match map {
            Some(map) => ("map", env.map(map).def.name.clone()),
            None => ("local", "kptr".to_string()),
        };
        verbose!(env, "{what} '{name}' has no valid {word}_lock\n");
        return Err(Errno::EINVAL.into());
    };
    let off = reg.var_off.value.wrapping_add(reg.off as i64 as u64);
    if lock_off as u64 != off {
        verbose!(
            env,
            "off {} doesn't point to 'struct {word}_lock' that is at {lock_off}\n",
            off as i64
        );
        return Err(Errno::EINVAL.into());
    }
    Ok(())
}

fn lock(env: &mut Env<'_>, id: u32, ptr: u64, op: LockOp) -> Check {
    if env.cur.active_locks != 0 {
        // The kernel asks for a plain lock of no object here, which never matches: the rule that
        // forbids calls under a lock has refused a second bpf_spin_lock before.
        let held = refs::find_lock_state(&env.cur, &[RefKind::Lock], 0, 0).copied();
        if !op.is_res && held.is_some() {
            verbose!(env, "Locking two bpf_spin_locks are not allowed\n");
            report(env, &words::NESTED_LOCK, held);
            return Err(Errno::EINVAL.into());
        }
        let res = [RefKind::ResLock, RefKind::ResLockIrq];
        let held = refs::find_lock_state(&env.cur, &res, id, ptr).copied();
        if op.is_res && held.is_some() {
            verbose!(env, "Acquiring the same lock again, AA deadlock detected\n");
            report(env, &words::RECURSIVE_LOCK, held);
            return Err(Errno::EINVAL.into());
        }
    }
    refs::acquire_lock_state(env, env.insn_idx, op.ref_kind(), id, ptr);
    Ok(())
}

fn active_lock(env: &Env<'_>) -> Option<RefState> {
    let kinds = [RefKind::Lock, RefKind::ResLock, RefKind::ResLockIrq];
    let (id, ptr) = (env.cur.active_lock_id, env.cur.active_lock_ptr);
    refs::find_lock_state(&env.cur, &kinds, id, ptr).copied()
}

fn report(env: &mut Env<'_>, wording: &Wording, lock: Option<RefState>) {
    let at = env.insn_idx;
    diagnostics::report_with_lock(env, at, wording, About::Nothing, &[], lock);
}

/// What only a section without RCU's name protected is protected no more.
pub fn leave_rcu(env: &mut Env<'_>) {
    if env.kernel.features.atomic_sections_are_rcu && !in_rcu_cs(env) {
        untrust_rcu_pointers(env);
    }
}

fn unlock(env: &mut Env<'_>, id: u32, ptr: u64, op: LockOp) -> Check {
    let word = op.word();
    if env.cur.active_locks == 0 {
        verbose!(env, "{word}_unlock without taking a lock\n");
        report(env, &words::UNLOCK_ALONE, None);
        return Err(Errno::EINVAL.into());
    }
    if refs::find_lock_state(&env.cur, &[op.ref_kind()], id, ptr).is_none() {
        verbose!(env, "{word}_unlock of different lock\n");
        let active = active_lock(env);
        report(env, &words::UNLOCK_OTHER, active);
        return Err(Errno::EINVAL.into());
    }
    if id != env.cur.active_lock_id || ptr != env.cur.active_lock_ptr {
        verbose!(env, "{word}_unlock cannot be out of order\n");
        let active = active_lock(env);
        report(env, &words::UNLOCK_ORDER, active);
        return Err(Errno::EINVAL.into());
    }
    if let Err(e) = refs::release_lock_state(env, op.ref_kind(), id, ptr) {
        verbose!(env, "{word}_unlock of different lock\n");
        return Err(e.into());
    }
    refs::invalidate_non_owning_refs(env);
    leave_rcu(env);
    Ok(())
}
