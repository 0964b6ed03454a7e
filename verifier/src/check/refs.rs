//! References, locks and IRQ flags held by a path, and what ends with them
//! (`acquire_reference`, `release_reference`, `check_resource_leak` in `kernel/bpf/verifier.c`).

use bpfassay_isa::Reg;
use bpfassay_spec::{ProgType, RegBase, TypeFlags};

use crate::diagnostics::{self, words, About, Context, Place, Why};
use crate::domain::reg::RegState;
use crate::domain::stack::{SlotType, StackSlot};
use crate::domain::state::{RefKind, RefState, VerifierState};
use crate::env::Env;
use crate::stop::{Check, Errno};
use crate::verbose;

fn push(env: &mut Env<'_>, insn_idx: u32, kind: RefKind, id: u32, ptr: u64) {
    let callback = if env.frame().in_callback_fn { env.cur.curframe() } else { 0 };
    env.cur.refs.push(RefState { kind, id, insn_idx, parent_id: 0, ptr, callback });
}

/// A new reference of pointer kind; returns its id.
pub fn acquire_reference(env: &mut Env<'_>, insn_idx: u32) -> u32 {
    let id = env.new_id();
    push(env, insn_idx, RefKind::Ptr, id, 0);
    diagnostics::note_reference(env, insn_idx, id, true);
    id
}

/// As [`acquire_reference`]; it must be released before `parent_id` is.
pub fn acquire_child_reference(env: &mut Env<'_>, insn_idx: u32, parent_id: u32) -> u32 {
    let id = acquire_reference(env, insn_idx);
    if let Some(held) = env.cur.refs.last_mut() {
        held.parent_id = parent_id;
    }
    id
}

/// Takes a lock: `ptr` identifies the map or BTF, `id` the object in it.
pub fn acquire_lock_state(env: &mut Env<'_>, insn_idx: u32, kind: RefKind, id: u32, ptr: u64) {
    push(env, insn_idx, kind, id, ptr);
    env.cur.active_locks += 1;
    env.cur.active_lock_id = id;
    env.cur.active_lock_ptr = ptr;
    let depth = env.cur.active_locks;
    diagnostics::note_context(env, insn_idx, Context::Lock, true, depth);
}

/// Saves an IRQ flag; returns its id.
pub fn acquire_irq_state(env: &mut Env<'_>, insn_idx: u32) -> u32 {
    let id = env.new_id();
    push(env, insn_idx, RefKind::Irq, id, 0);
    env.cur.active_irq_id = id;
    let depth = diagnostics::context_depth(env, Context::Irq);
    diagnostics::note_context(env, insn_idx, Context::Irq, true, depth);
    id
}

/// True if a reference of any kind has this id (`find_reference_state`).
pub fn find_reference_state(state: &VerifierState, id: u32) -> bool {
    state.refs.iter().any(|r| r.id == id)
}

fn is_lock(kind: RefKind) -> bool {
    matches!(kind, RefKind::Lock | RefKind::ResLock | RefKind::ResLockIrq)
}

/// The held lock of one of `kinds` on this object.
pub fn find_lock_state<'s>(
    state: &'s VerifierState,
    kinds: &[RefKind],
    id: u32,
    ptr: u64,
) -> Option<&'s RefState> {
    state.refs.iter().find(|r| kinds.contains(&r.kind) && r.id == id && r.ptr == ptr)
}

/// Gives a lock back; the lock taken before it becomes the active one.
pub fn release_lock_state(
    env: &mut Env<'_>,
    kind: RefKind,
    id: u32,
    ptr: u64,
) -> Result<(), Errno> {
    let (mut prev_id, mut prev_ptr) = (0, 0);
    for i in 0..env.cur.refs.len() {
        let r = env.cur.refs[i];
        if r.kind == kind && r.id == id && r.ptr == ptr {
            env.cur.refs.remove(i);
            env.cur.active_locks -= 1;
            env.cur.active_lock_id = prev_id;
            env.cur.active_lock_ptr = prev_ptr;
            let (at, depth) = (env.insn_idx, env.cur.active_locks);
            diagnostics::note_context(env, at, Context::Lock, false, depth);
            return Ok(());
        }
        if is_lock(r.kind) {
            (prev_id, prev_ptr) = (r.id, r.ptr);
        }
    }
    Err(Errno::EINVAL)
}

/// Restores an IRQ flag; only the newest may be (EACCES otherwise).
pub fn release_irq_state(env: &mut Env<'_>, id: u32) -> Result<(), Errno> {
    if id != env.cur.active_irq_id {
        return Err(Errno::EACCES);
    }
    let mut prev_id = 0;
    for i in 0..env.cur.refs.len() {
        let r = env.cur.refs[i];
        if r.kind != RefKind::Irq {
            continue;
        }
        if r.id == id {
            env.cur.refs.remove(i);
            env.cur.active_irq_id = prev_id;
            let (at, depth) = (env.insn_idx, diagnostics::context_depth(env, Context::Irq));
            diagnostics::note_context(env, at, Context::Irq, false, depth);
            return Ok(());
        }
        prev_id = r.id;
    }
    Err(Errno::EINVAL)
}

/// Forgets a pointer reference without touching registers; EINVAL if it is not held.
pub fn release_reference_nomark(env: &mut Env<'_>, id: u32) -> Result<(), Errno> {
    let held = env.cur.refs.iter().position(|r| r.kind == RefKind::Ptr && r.id == id);
    let at = held.ok_or(Errno::EINVAL)?;
    if env.kernel.features.references_of_state {
        env.cur.refs.remove(at);
        let here = env.insn_idx;
        diagnostics::note_reference(env, here, id, false);
        return Ok(());
    }
    // A callback gives back what it acquired, nothing else; the last reference takes the place.
    let in_callback = env.frame().in_callback_fn;
    if in_callback && env.cur.refs[at].callback != env.cur.curframe() {
        return Err(Errno::EINVAL);
    }
    env.cur.refs.swap_remove(at);
    Ok(())
}

/// What is left of a register whose object is gone (`mark_reg_invalid`).
pub fn mark_reg_invalid(reg: &mut RegState, allow_ptr_leaks: bool, bpf_capable: bool) {
    if allow_ptr_leaks {
        reg.mark_unknown(bpf_capable);
    } else {
        reg.mark_not_init(bpf_capable);
    }
}

/// Applies [`mark_reg_invalid`] to every register and spilled register that `p` picks.
pub fn invalidate_regs(env: &mut Env<'_>, p: impl Fn(&RegState) -> bool) {
    if !env.cur.any_reg(|_, r| p(r)) {
        return;
    }
    let (leaks, capable) = (env.allow_ptr_leaks, env.bpf_capable);
    env.cur.for_each_reg_mut(|_, r| {
        if p(r) {
            mark_reg_invalid(r, leaks, capable);
        }
    });
}

/// Releases a reference: every copy of its pointer becomes unusable.  Without effect on registers
/// if the reference is not held (EINVAL).
pub fn release_reference(env: &mut Env<'_>, id: u32) -> Result<(), Errno> {
    if env.kernel.features.references_by_id {
        return release_with_children(env, id);
    }
    release_reference_nomark(env, id)?;
    invalidate_regs(env, |r| r.ref_obj_id == id);
    Ok(())
}

/// Releases an object, reference or not, and what is derived from it: copies, slices, dynptrs and theirs.
/// EINVAL, and said so, if a reference is part of it.
pub fn release_with_children(env: &mut Env<'_>, id: u32) -> Result<(), Errno> {
    // A dynptr that is not referenced has an identity, too.
    let _ = release_reference_nomark(env, id);
    let mut going = vec![id];
    let mut gone = Vec::new();
    while let Some(id) = going.pop().filter(|id| *id != 0) {
        gone.push(id);
        let part = env.cur.refs.iter().find(|r| r.kind == RefKind::Ptr && r.parent_id == id);
        if let Some((id, insn_idx)) = part.map(|r| (r.id, r.insn_idx)) {
            verbose!(env, "Leaking reference id={id} alloc_insn={insn_idx}. Release it first.\n");
            return Err(Errno::EINVAL);
        }
        for child in invalidate_object(env, id) {
            if !gone.contains(&child) && !going.contains(&child) {
                going.push(child);
            }
        }
    }
    Ok(())
}

/// Makes every copy of an object, and every part of it, unusable; returns the identities of the parts.
fn invalidate_object(env: &mut Env<'_>, id: u32) -> Vec<u32> {
    let (leaks, capable) = (env.allow_ptr_leaks, env.bpf_capable);
    let hit = |r: &RegState| r.id == id || r.parent_id == id;
    note_released(env, hit);
    let mut parts = Vec::new();
    for i in 0..=env.cur.curframe() {
        let frame = env.cur.frame(i);
        let in_stack = |s: &StackSlot| {
            matches!(s.kind[7], SlotType::Spill | SlotType::Dynptr) && hit(&s.spilled)
        };
        if !frame.regs.iter().any(hit) && !frame.stack().iter().any(in_stack) {
            continue;
        }
        let frame = env.cur.frame_mut(i);
        for r in frame.regs.iter_mut().filter(|r| hit(r)) {
            if r.parent_id == id {
                parts.push(r.id);
            }
            mark_reg_invalid(r, leaks, capable);
        }
        for spi in 0..frame.stack().len() {
            let slot = frame.stack()[spi];
            if !in_stack(&slot) {
                continue;
            }
            if slot.spilled.parent_id == id {
                parts.push(slot.spilled.id);
            }
            let slot = frame.slot_mut(spi);
            if slot.kind[7] == SlotType::Dynptr {
                slot.kind = [SlotType::Invalid; 8];
                slot.spilled.mark_not_init(capable);
            } else {
                mark_reg_invalid(&mut slot.spilled, leaks, capable);
            }
        }
    }
    parts
}

/// Reports tell what a release takes; of a dynptr, both halves.
fn note_released(env: &mut Env<'_>, hit: impl Fn(&RegState) -> bool) {
    if env.diagnostics.is_none() {
        return;
    }
    for frameno in 0..=env.cur.curframe() {
        let regs = env.cur.frame(frameno).regs.iter().enumerate();
        let regs: Vec<u8> = regs.filter(|(_, r)| hit(r)).map(|(i, _)| i as u8).collect();
        for r in regs {
            diagnostics::scrub(env, frameno, Place::Reg(r), Why::Release);
        }
        let mut spi = 0;
        while spi < env.cur.frame(frameno).stack().len() {
            let slot = &env.cur.frame(frameno).stack()[spi];
            let dynptr = slot.kind[7] == SlotType::Dynptr;
            if (dynptr || slot.kind[7] == SlotType::Spill) && hit(&slot.spilled) {
                diagnostics::scrub(env, frameno, Place::Slot(spi as u16), Why::Release);
                if dynptr {
                    spi += 1;
                    diagnostics::scrub(env, frameno, Place::Slot(spi as u16), Why::Release);
                }
            }
            spi += 1;
        }
    }
}

/// Non-owning references end with the lock that protects them.
pub fn invalidate_non_owning_refs(env: &mut Env<'_>) {
    const NON_OWNING: TypeFlags = TypeFlags(TypeFlags::MEM_ALLOC.0 | TypeFlags::NON_OWN_REF.0);
    let hit = |r: &RegState| r.flags() & NON_OWNING == NON_OWNING;
    diagnostics::scrub_all(env, Why::NonOwning, hit);
    invalidate_regs(env, hit);
}

/// True for pointers to packet data, packet metadata or packet end.
fn is_pkt_pointer_any(r: &RegState) -> bool {
    matches!(r.base(), RegBase::Packet | RegBase::PacketMeta) || r.ty == RegBase::PacketEnd
}

/// True for a dynptr slice that points into a packet (`reg_is_dynptr_slice_pkt`).
pub fn is_dynptr_slice_pkt(r: &RegState) -> bool {
    const PKT: TypeFlags = TypeFlags(
        TypeFlags::DYNPTR_TYPE_SKB.0
            | TypeFlags::DYNPTR_TYPE_XDP.0
            | TypeFlags::DYNPTR_TYPE_SKB_META.0,
    );
    r.base() == RegBase::Mem && r.ty.has(PKT)
}

/// Packet data may have moved: packet pointers and slices become unusable.
pub fn clear_all_pkt_pointers(env: &mut Env<'_>) {
    let hit = |r: &RegState| is_pkt_pointer_any(r) || is_dynptr_slice_pkt(r);
    diagnostics::scrub_all(env, Why::PacketChange, hit);
    invalidate_regs(env, hit);
}

fn check_reference_leak(env: &mut Env<'_>, exception_exit: bool) -> Check {
    let by_frame = !env.kernel.features.references_of_state;
    let (curframe, in_callback) = (env.cur.curframe(), env.frame().in_callback_fn);
    if !exception_exit && curframe != 0 && !(by_frame && in_callback) {
        return Ok(());
    }
    // A struct_ops program may hand a reference back as its result; check_return_code looks at its type.
    let returned = (env.prog_type() == ProgType::StructOps && !exception_exit)
        .then(|| env.reg(Reg::R0).ref_obj_id);
    let mut lingering = false;
    for i in 0..env.cur.refs.len() {
        let r = env.cur.refs[i];
        if r.kind != RefKind::Ptr || returned == Some(r.id) {
            continue;
        }
        if by_frame && !exception_exit && in_callback && r.callback != curframe {
            continue;
        }
        verbose!(env, "Unreleased reference id={} alloc_insn={}\n", r.id, r.insn_idx);
        let values: diagnostics::Values<'_> = &[("id", &r.id), ("insn", &r.insn_idx)];
        let at = env.insn_idx;
        diagnostics::report(env, at, &words::LEAK, About::Reference(r.id), values);
        lingering = true;
    }
    if lingering {
        return Err(Errno::EINVAL.into());
    }
    Ok(())
}

/// Where a path ends or leaves for another program.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Leaving {
    Exit,
    Throw,
    TailCall,
    LdAbs,
}

impl Leaving {
    fn word(self) -> &'static str {
        match self {
            Leaving::Exit => "BPF_EXIT instruction in main prog",
            Leaving::Throw => "bpf_throw",
            Leaving::TailCall => "tail_call",
            Leaving::LdAbs => "BPF_LD_[ABS|IND]",
        }
    }
}

/// What may not be held there.  `exception_exit` looks at references although there are outer frames;
/// `check_lock` at locks and regions too.
pub fn check_resource_leak(
    env: &mut Env<'_>,
    exception_exit: bool,
    check_lock: bool,
    leaving: Leaving,
) -> Check {
    // Exits looked at regions first before it became one rule.
    let regions_first = !env.kernel.features.references_of_state
        && matches!(leaving, Leaving::Exit | Leaving::Throw);
    // A load from the packet looked at references first.
    let references_first = !env.kernel.features.references_of_state && leaving == Leaving::LdAbs;
    if check_lock && !references_first {
        check_lock_leak(env, leaving)?;
    }
    if check_lock && regions_first {
        check_region_leak(env, leaving)?;
    }
    if let Err(stop) = check_reference_leak(env, exception_exit) {
        let prefix = leaving.word();
        match leaving {
            Leaving::Exit | Leaving::Throw => verbose!(env, words.leak_at_exit, prefix = prefix),
            Leaving::TailCall => verbose!(env, "tail_call would lead to reference leak\n"),
            Leaving::LdAbs if references_first => {
                verbose!(env, "BPF_LD_[ABS|IND] cannot be mixed with socket references\n");
            }
            Leaving::LdAbs => verbose!(env, words.leak_at_exit, prefix = prefix),
        }
        return Err(stop);
    }
    if check_lock && references_first {
        check_lock_leak(env, leaving)?;
    }
    if check_lock && !regions_first {
        check_region_leak(env, leaving)?;
    }
    Ok(())
}

fn check_lock_leak(env: &mut Env<'_>, leaving: Leaving) -> Check {
    if env.cur.active_locks == 0 {
        return Ok(());
    }
    if leaving == Leaving::Exit {
        verbose!(env, words.lock_at_exit, prefix = leaving.word());
        report_region(env, leaving, Context::Lock);
        return Err(Errno::EINVAL.into());
    }
    region_leak(env, leaving, "bpf_spin_lock-ed", Context::Lock)
}

fn check_region_leak(env: &mut Env<'_>, leaving: Leaving) -> Check {
    let is_exit = leaving == Leaving::Exit;
    if env.cur.active_irq_id != 0 {
        return region_leak(env, leaving, "bpf_local_irq_save-ed", Context::Irq);
    }
    if env.cur.active_rcu_locks != 0 {
        if is_exit {
            verbose!(env, words.rcu_at_exit, prefix = leaving.word());
            report_region(env, leaving, Context::Rcu);
            return Err(Errno::EINVAL.into());
        }
        return region_leak(env, leaving, "bpf_rcu_read_lock-ed", Context::Rcu);
    }
    let count = env.cur.active_preempt_locks;
    if count != 0 {
        if is_exit {
            let verb = if count == 1 { " is" } else { "(s) are" };
            let prefix = leaving.word();
            verbose!(env, words.preempt_at_exit, prefix = prefix, count = count, verb = verb);
            report_region(env, leaving, Context::Preempt);
            return Err(Errno::EINVAL.into());
        }
        return region_leak(env, leaving, "bpf_preempt_disable-ed", Context::Preempt);
    }
    Ok(())
}

fn region_leak(env: &mut Env<'_>, leaving: Leaving, region: &str, context: Context) -> Check {
    verbose!(env, "{} cannot be used inside {region} region\n", leaving.word());
    report_region(env, leaving, context);
    Err(Errno::EINVAL.into())
}

fn report_region(env: &mut Env<'_>, leaving: Leaving, context: Context) {
    let suggestion = match context {
        Context::Lock => "Release the BPF spin lock before this operation on every path.",
        Context::Irq => "Restore the saved IRQ state before this operation on every path.",
        Context::Rcu => "Call bpf_rcu_read_unlock() before this operation on every path.",
        Context::Preempt => "Call bpf_preempt_enable() before this operation on every path.",
        Context::None => "",
    };
    let at = env.insn_idx;
    diagnostics::report_inside(env, at, leaving.word(), context, suggestion);
}
