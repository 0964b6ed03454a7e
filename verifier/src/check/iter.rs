//! Open-coded iterators (`process_iter_arg`, `process_iter_next_call`).
//!
//! An iterator is a struct of whole stack slots.  Its constructor and destructor pair as a
//! reference does; each call of its next function forks the path: drained here, with
//! R0 = 0, active in a branch that is explored later and widened, so that loops converge.

use bpfassay_isa::Reg;
use bpfassay_object::btf::BtfKind;
use bpfassay_spec::kfunc::KfuncFlags;
use bpfassay_spec::{RegBase, RegType, TypeFlags};

use super::callinfo::KfuncMeta;
use super::kfunc_arg::{arg_name, nth_arg};
use super::refs::{acquire_reference, release_reference};
use super::stack_obj::{check_obj_write, clear_slot, get_spi, mark_obj_read, set_slot, NoSlot};
use super::trust::in_rcu_cs;
use crate::diagnostics::{self, words, About, Context};
use crate::domain::reg::{IterState, RegState};
use crate::domain::stack::{SlotType, REG_SIZE};
use crate::env::Env;
use crate::explore::prune::same_callsites;
use crate::explore::widen::{find_prev_entry, widen_imprecise_scalars, Looping};
use crate::explore::worklist::push_stack;
use crate::stop::{Check, Errno, Stop};
use crate::transfer::mark::mark_not_null;
use crate::verbose;

/// Struct names of iterators start so (`ITER_PREFIX`).
const PREFIX: &str = "bpf_iter_";

/// The iterator type an argument points to.
struct IterType {
    btf_id: u32,
    slots: u32,
    /// Struct name without the prefix (`iter_type_str`).
    name: String,
}

/// The iterator argument of a new, next or destroy kfunc, or one marked `__iter`.
pub fn process_iter_arg(
    env: &mut Env<'_>,
    regno: Reg,
    insn_idx: u32,
    meta: &mut KfuncMeta,
) -> Check {
    let reg = *env.reg(regno);
    let arg = arg_name(env, regno.index() - 1);
    let nth = nth_arg(env, regno.index() - 1);
    if reg.ty != RegBase::Stack {
        verbose!(env, "{arg} expected pointer to an iterator on stack\n");
        let ty = diagnostics::plain_type(env, reg.ty);
        let what = (
            "iterator state must live in verifier-tracked stack memory, but R{reg} is {type}",
            "Pass the address of a stack iterator object for iterator new, next, and destroy calls.",
        );
        diagnostics::report_arg(env, regno, what, &[("reg", &regno.0), ("type", &ty)]);
        return Err(Errno::EINVAL.into());
    }
    let Some(iter) = iter_arg_type(env, meta, regno.index() - 1) else {
        verbose!(env, "expected valid iter pointer as {nth}\n");
        let what = (
            "the kfunc expects a recognized iterator state pointer, but this argument does not match a valid iterator type",
            "Pass the exact iterator state type expected by this kfunc.",
        );
        diagnostics::report_arg(env, regno, what, &[]);
        return Err(Errno::EINVAL.into());
    };
    if meta.has(KfuncFlags::ITER_NEW) {
        if !is_valid_uninit(env, &reg, iter.slots) {
            verbose!(env, "expected uninitialized iter_{} as {nth}\n", iter.name);
            diagnostics::report(env, insn_idx, &words::ITER_TAKEN, About::Nothing, &[]);
            return Err(Errno::EINVAL.into());
        }
        check_obj_write(env, insn_idx, regno, iter.slots)?;
        return mark_stack_slots_iter(env, meta, &reg, insn_idx, &iter);
    }
    match check_valid_init(env, &reg, meta, &iter) {
        Err(Errno::EPROTO) => {
            verbose!(env, "expected an RCU CS when using {}\n", meta.name);
            let instead = "Wrap iterator use in bpf_rcu_read_lock() and bpf_rcu_read_unlock(), keeping all exit paths balanced.";
            diagnostics::report_outside(env, insn_idx, meta.name, Context::Rcu, instead);
            return Err(Errno::EPROTO.into());
        }
        Err(e) => {
            verbose!(env, "expected an initialized iter_{} as {nth}\n", iter.name);
            diagnostics::report(env, insn_idx, &words::ITER_UNINIT, About::Nothing, &[]);
            return Err(e.into());
        }
        Ok(()) => {}
    }
    let spi = get_spi(env, &reg, "iter", iter.slots)?;
    mark_obj_read(env, reg.frameno, spi, iter.slots)?;
    meta.iter_spi = spi;
    meta.iter_frameno = reg.frameno;
    meta.ref_obj_id = env.frame_of(&reg).stack()[spi as usize].spilled.ref_obj_id;
    if meta.has(KfuncFlags::ITER_DESTROY) {
        unmark_stack_slots_iter(env, &reg, spi, iter.slots);
    }
    Ok(())
}

/// The struct behind parameter `n`, if it is an iterator's (`btf_check_iter_arg`).
fn iter_arg_type(env: &Env<'_>, meta: &KfuncMeta, n: usize) -> Option<IterType> {
    let btf = env.btf(meta.btf)?;
    let param = btf.ty(meta.proto_id)?.params().nth(n)?;
    let ptr = btf.skip_mods_and_typedefs(param.type_id)?;
    if ptr.kind() != BtfKind::Ptr {
        return None;
    }
    let t = btf.skip_mods_and_typedefs(ptr.type_id())?;
    if t.kind() != BtfKind::Struct {
        return None;
    }
    let name = t.name().strip_prefix(PREFIX)?.to_string();
    Some(IterType { btf_id: t.id(), slots: t.size() / REG_SIZE as u32, name })
}

fn is_valid_uninit(env: &mut Env<'_>, reg: &RegState, slots: u32) -> bool {
    match get_spi(env, reg, "iter", slots) {
        Err(e) => e == NoSlot::NotAllocated,
        Ok(spi) => {
            let stack = env.frame_of(reg).stack();
            (0..slots).all(|i| !stack[(spi - i) as usize].kind.contains(&SlotType::Iter))
        }
    }
}

/// EPROTO where the iterator outlived its RCU section, else EINVAL.
fn check_valid_init(
    env: &mut Env<'_>,
    reg: &RegState,
    meta: &KfuncMeta,
    iter: &IterType,
) -> Result<(), Errno> {
    let spi = get_spi(env, reg, "iter", iter.slots).map_err(|_| Errno::EINVAL)?;
    let stack = env.frame_of(reg).stack();
    for i in 0..iter.slots {
        let slot = &stack[(spi - i) as usize];
        let st = &slot.spilled;
        if st.ty.has(TypeFlags::PTR_UNTRUSTED) {
            return Err(Errno::EPROTO);
        }
        let is_main = i == 0;
        let same_type = st.btf() == Some(meta.btf) && st.btf_id() == iter.btf_id;
        if is_main != (st.ref_obj_id != 0) || !same_type || slot.kind != [SlotType::Iter; 8] {
            return Err(Errno::EINVAL);
        }
    }
    Ok(())
}

fn mark_stack_slots_iter(
    env: &mut Env<'_>,
    meta: &KfuncMeta,
    reg: &RegState,
    insn_idx: u32,
    iter: &IterType,
) -> Check {
    let spi = get_spi(env, reg, "iter", iter.slots)?;
    let id = acquire_reference(env, insn_idx);
    // There is no register type of its own for iterators.
    let mut ty = RegType::of(RegBase::Stack);
    if meta.has(KfuncFlags::RCU_PROTECTED) {
        ty = ty.plus(if in_rcu_cs(env) { TypeFlags::MEM_RCU } else { TypeFlags::PTR_UNTRUSTED });
    }
    for i in 0..iter.slots {
        let mut st = env.frame_of(reg).stack()[(spi - i) as usize].spilled;
        st.mark_known_zero();
        st.ty = ty;
        st.ref_obj_id = if i == 0 { id } else { 0 };
        if env.kernel.features.references_by_id {
            st.id = st.ref_obj_id;
        }
        st.set_btf(meta.btf, iter.btf_id);
        st.set_iter(IterState::Active, 0);
        set_slot(env, reg.frameno, spi - i, SlotType::Iter, st);
        env.mark_slot_scratched(spi - i);
    }
    Ok(())
}

fn unmark_stack_slots_iter(env: &mut Env<'_>, reg: &RegState, spi: u32, slots: u32) {
    for i in 0..slots {
        if i == 0 {
            let id = env.frame_of(reg).stack()[spi as usize].spilled.ref_obj_id;
            // Held as long as the iterator is initialised.
            let _ = release_reference(env, id);
        }
        clear_slot(env, reg.frameno, spi - i);
        env.mark_slot_scratched(spi - i);
    }
}

/// Forks the path of a next kfunc: drained here, active in the branch.
pub fn process_iter_next_call(env: &mut Env<'_>, insn_idx: u32, meta: &KfuncMeta) -> Check {
    let iter = iter_slot(env, meta)?;
    match iter.iter_state() {
        IterState::Invalid => {
            verbose!(env, "verifier bug: unexpected iterator state 0 (<invalid>)\n");
            return Err(Errno::EFAULT.into());
        }
        IterState::Active => push_active_branch(env, insn_idx, meta, &iter)?,
        IterState::Drained => {}
    }
    set_iter_state(env, meta, IterState::Drained, iter.iter_depth());
    let capable = env.bpf_capable;
    env.reg_mut(Reg::R0).mark_const_zero(capable);
    Ok(())
}

fn push_active_branch(
    env: &mut Env<'_>,
    insn_idx: u32,
    meta: &KfuncMeta,
    iter: &RegState,
) -> Check {
    // The call is a forced checkpoint, so the parent stands at it.
    let parent = env.cur.parent.and_then(|p| env.explore.state(p));
    if !parent.is_some_and(|p| p.insn_idx == insn_idx && same_callsites(p, &env.cur)) {
        verbose!(env, "verifier bug: bad parent state for iter next call\n");
        return Err(Errno::EFAULT.into());
    }
    let prev = find_prev_entry(env, insn_idx, Looping::Pushed)?;
    let queued = push_stack(env, insn_idx + 1, insn_idx, false)?;
    let slot = queued.frame_mut(meta.iter_frameno).slot_mut(meta.iter_spi as usize);
    slot.spilled.set_iter(IterState::Active, iter.iter_depth() + 1);
    if let Some(prev) = prev {
        widen_imprecise_scalars(env, prev, Looping::Pushed)?;
    }
    if let Some(p) = env.explore.pending.last_mut() {
        mark_not_null(env.kernel, &env.maps, p.state.cur_mut().reg_mut(Reg::R0));
    }
    Ok(())
}

fn set_iter_state(env: &mut Env<'_>, meta: &KfuncMeta, state: IterState, depth: u32) {
    let slot = env.cur.frame_mut(meta.iter_frameno).slot_mut(meta.iter_spi as usize);
    slot.spilled.set_iter(state, depth);
}

/// The slot of the iterator argument (`get_iter_from_state`).
pub fn iter_slot(env: &Env<'_>, meta: &KfuncMeta) -> Check<RegState> {
    let slot = env.cur.frame(meta.iter_frameno).stack().get(meta.iter_spi as usize);
    slot.map(|s| s.spilled).ok_or_else(|| Stop::unsupported("iterator outside the stack"))
}
