//! Dynptrs: two stack slots that describe memory checked at run time (`process_dynptr_func`,
//! `mark_stack_slots_dynptr` and their kin).  Destruction by a plain write is in [`super::stack`].

use bpfassay_isa::Reg;
use bpfassay_spec::{ArgBase, ArgType, RegBase, TypeFlags};

use super::kfunc_arg::{arg_name, nth_arg};
use super::plain_dynptr;
use super::refs::{
    acquire_child_reference, acquire_reference, release_reference, release_with_children,
};
use super::stack::destroy_if_dynptr_stack_slot;
use super::stack_obj::{check_obj_write, clear_slot, get_spi, mark_obj_read, spi_of, NoSlot};
use crate::diagnostics::{self, words, About};
use crate::domain::reg::{DynptrType, RegState};
use crate::domain::stack::SlotType;
use crate::env::Env;
use crate::explore::liveness::mark_stack_write;
use crate::log::names::dynptr_type_name;
use crate::stop::{Check, Errno};
use crate::transfer::mark::mark_dynptr_reg;
use crate::verbose;

/// Slots of a dynptr (`BPF_DYNPTR_NR_SLOTS`).
pub(super) const SLOTS: u32 = 2;

/// What a dynptr that is made comes from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Origin {
    /// Nothing, or the referenced object of this id (kernels with `references_by_id`).
    New(u32),
    /// Another dynptr, with the reference that it holds or the object that it is part of.
    Clone(u32),
}

/// Which dynptr an argument asks for (`arg_to_dynptr_type`).
pub(super) fn arg_dynptr_type(arg: ArgType) -> DynptrType {
    const FLAGS: [(TypeFlags, DynptrType); 6] = [
        (TypeFlags::DYNPTR_TYPE_LOCAL, DynptrType::Local),
        (TypeFlags::DYNPTR_TYPE_RINGBUF, DynptrType::Ringbuf),
        (TypeFlags::DYNPTR_TYPE_SKB, DynptrType::Skb),
        (TypeFlags::DYNPTR_TYPE_XDP, DynptrType::Xdp),
        (TypeFlags::DYNPTR_TYPE_SKB_META, DynptrType::SkbMeta),
        (TypeFlags::DYNPTR_TYPE_FILE, DynptrType::File),
    ];
    let asked = arg.flags() & TypeFlags::DYNPTR_TYPE_MASK;
    FLAGS.iter().find(|(f, _)| *f == asked).map_or(DynptrType::Invalid, |(_, t)| *t)
}

/// The dynptr must be released before it goes (`dynptr_type_refcounted`).
pub(super) fn is_refcounted(ty: DynptrType) -> bool {
    matches!(ty, DynptrType::Ringbuf | DynptrType::File)
}

/// A dynptr argument, created or used by the call at `insn_idx` (None: of a global function).
pub fn process_dynptr_func(
    env: &mut Env<'_>,
    regno: Reg,
    insn_idx: Option<u32>,
    arg: ArgType,
    origin: Origin,
) -> Check {
    if !env.kernel.features.dynptrs_tracked {
        return plain_dynptr::process(env, regno, insn_idx.unwrap_or(env.insn_idx), arg);
    }
    let reg = *env.reg(regno);
    let named = arg_name(env, regno.index() - 1);
    let nth = nth_arg(env, regno.index() - 1);
    if reg.ty != RegBase::Stack && reg.ty != RegBase::ConstDynptr {
        verbose!(env, "{named} expected pointer to stack or const struct bpf_dynptr\n");
        let ty = diagnostics::plain_type(env, reg.ty);
        let what = (
            "a dynptr argument must be a pointer to a dynptr stack slot or a verifier-provided const struct bpf_dynptr, but R{reg} is {type}",
            "Pass the address of a stack dynptr object, or use a const dynptr pointer returned by the verifier-supported path.",
        );
        diagnostics::report_arg(env, regno, what, &[("reg", &regno.0), ("type", &ty)]);
        return Err(Errno::EINVAL.into());
    }
    let (uninit, rdonly) = (arg.has(TypeFlags::MEM_UNINIT), arg.has(TypeFlags::MEM_RDONLY));
    if uninit && rdonly {
        verbose!(env, "verifier bug: misconfigured dynptr helper type flags\n");
        return Err(Errno::EFAULT.into());
    }
    if uninit {
        if !is_valid_uninit(env, &reg) {
            verbose!(env, "Dynptr has to be an uninitialized dynptr\n");
            let at = insn_idx.unwrap_or(env.insn_idx);
            diagnostics::report(env, at, &words::DYNPTR_TAKEN, About::Nothing, &[]);
            return Err(Errno::EINVAL.into());
        }
        let insn_idx = insn_idx.unwrap_or(env.insn_idx);
        check_obj_write(env, insn_idx, regno, SLOTS)?;
        return mark_stack_slots_dynptr(env, &reg, arg, insn_idx, origin);
    }
    let by_id = env.kernel.features.references_by_id;
    if by_id && reg.ty == RegBase::ConstDynptr && arg.has(TypeFlags::OBJ_RELEASE) {
        verbose!(env, "CONST_PTR_TO_DYNPTR cannot be released\n");
        let at = insn_idx.unwrap_or(env.insn_idx);
        diagnostics::report(env, at, &words::CONST_DYNPTR_RELEASED, About::Nothing, &[]);
        return Err(Errno::EINVAL.into());
    }
    if reg.ty == RegBase::ConstDynptr && !rdonly && !by_id {
        verbose!(env, "cannot pass pointer to const bpf_dynptr, the helper mutates it\n");
        return Err(Errno::EINVAL.into());
    }
    if !is_valid_init(env, &reg) {
        verbose!(env, "Expected an initialized dynptr as {nth}\n");
        let at = insn_idx.unwrap_or(env.insn_idx);
        diagnostics::report(env, at, &words::DYNPTR_UNINIT, About::Nothing, &[]);
        return Err(Errno::EINVAL.into());
    }
    if !is_type_expected(env, &reg, arg.minus(TypeFlags::MEM_RDONLY | TypeFlags::OBJ_RELEASE)) {
        let name = dynptr_type_name(arg_dynptr_type(arg));
        verbose!(env, "Expected a dynptr of type {name} as {nth}\n");
        let have = dynptr_type_name(first_half(env, &reg)?.dynptr_type());
        let what = (
            "the dynptr is initialized with backing object type {have}, but this operation expects dynptr type {name}",
            "Use a dynptr constructor that matches this operation, or call an operation that accepts the dynptr's current type.",
        );
        diagnostics::report_arg(env, regno, what, &[("have", &have), ("name", &name)]);
        return Err(Errno::EINVAL.into());
    }
    mark_dynptr_read(env, &reg)
}

/// Any slots will do, tracked already or not: an unreferenced dynptr may be overwritten.
fn is_valid_uninit(env: &mut Env<'_>, reg: &RegState) -> bool {
    reg.ty != RegBase::ConstDynptr && get_spi(env, reg, "dynptr", SLOTS) != Err(NoSlot::Misplaced)
}

fn is_valid_init(env: &mut Env<'_>, reg: &RegState) -> bool {
    if reg.ty == RegBase::ConstDynptr {
        return true;
    }
    let Ok(spi) = get_spi(env, reg, "dynptr", SLOTS) else { return false };
    let stack = env.frame_of(reg).stack();
    let whole = |s: u32| stack[s as usize].kind == [SlotType::Dynptr; 8];
    stack[spi as usize].spilled.dynptr_first_slot() && whole(spi) && whole(spi - 1)
}

fn is_type_expected(env: &mut Env<'_>, reg: &RegState, arg: ArgType) -> bool {
    if arg == ArgBase::Dynptr {
        return true;
    }
    let wanted = arg_dynptr_type(arg);
    if reg.ty == RegBase::ConstDynptr {
        return reg.dynptr_type() == wanted;
    }
    get_spi(env, reg, "dynptr", SLOTS)
        .is_ok_and(|spi| env.frame_of(reg).stack()[spi as usize].spilled.dynptr_type() == wanted)
}

fn mark_dynptr_read(env: &mut Env<'_>, reg: &RegState) -> Check {
    if reg.ty == RegBase::ConstDynptr {
        return Ok(());
    }
    let spi = get_spi(env, reg, "dynptr", SLOTS)?;
    let scratched = env.scratched_slots;
    mark_obj_read(env, reg.frameno, spi, SLOTS)?;
    if env.explore.era.keeps_marks() {
        // Reading a dynptr did not make it show in the log.
        env.scratched_slots = scratched;
    }
    Ok(())
}

/// Makes a dynptr of the two slots; what was there goes, which may be halves of two dynptrs.
fn mark_stack_slots_dynptr(
    env: &mut Env<'_>,
    reg: &RegState,
    arg: ArgType,
    insn_idx: u32,
    origin: Origin,
) -> Check {
    let frameno = reg.frameno;
    let spi = get_spi(env, reg, "dynptr", SLOTS)?;
    destroy_if_dynptr_stack_slot(env, frameno, spi as usize)?;
    destroy_if_dynptr_stack_slot(env, frameno, spi as usize - 1)?;
    let ty = arg_dynptr_type(arg);
    if ty == DynptrType::Invalid {
        return Err(Errno::EINVAL.into());
    }
    if env.kernel.features.references_by_id {
        let parent_id = match (is_refcounted(ty), origin) {
            (_, Origin::Clone(parent_id)) => parent_id,
            (true, Origin::New(parent_id)) => acquire_child_reference(env, insn_idx, parent_id),
            (false, Origin::New(parent_id)) => parent_id,
        };
        let id = env.new_id();
        let frame = env.cur.frame_mut(frameno);
        for (s, first) in [(spi, true), (spi - 1, false)] {
            let slot = frame.slot_mut(s as usize);
            slot.kind = [SlotType::Dynptr; 8];
            mark_dynptr_reg(&mut slot.spilled, ty, first, id);
            slot.spilled.parent_id = parent_id;
        }
        mark_stack_write(env, frameno, 0b11 << (spi - 1));
        return Ok(());
    }
    let clone_ref_obj_id = match origin {
        Origin::Clone(id) => id,
        Origin::New(_) => 0,
    };
    let id = env.new_id();
    let ref_obj_id = match (is_refcounted(ty), clone_ref_obj_id) {
        (false, _) => 0,
        (true, 0) => acquire_reference(env, insn_idx),
        (true, original) => original,
    };
    let frame = env.cur.frame_mut(frameno);
    for (s, first) in [(spi, true), (spi - 1, false)] {
        let slot = frame.slot_mut(s as usize);
        slot.kind = [SlotType::Dynptr; 8];
        mark_dynptr_reg(&mut slot.spilled, ty, first, id);
        slot.spilled.ref_obj_id = ref_obj_id;
    }
    mark_stack_write(env, frameno, 0b11 << (spi - 1));
    Ok(())
}

/// Slot of a dynptr's first half.
pub fn dynptr_get_spi(env: &mut Env<'_>, reg: &RegState) -> Check<u32> {
    Ok(get_spi(env, reg, "dynptr", SLOTS)?)
}

/// Releases the dynptr.  One that holds a reference takes its clones in this frame and every slice with it.
pub fn unmark_stack_slots_dynptr(env: &mut Env<'_>, reg: &RegState) -> Check {
    if !env.kernel.features.dynptrs_tracked {
        return plain_dynptr::unmake(env, reg);
    }
    let spi = dynptr_get_spi(env, reg)?;
    let frameno = reg.frameno;
    let slot = env.cur.frame(frameno).stack()[spi as usize].spilled;
    if env.kernel.features.references_by_id {
        let held = is_refcounted(slot.dynptr_type());
        return Ok(release_with_children(env, if held { slot.parent_id } else { slot.id })?);
    }
    if !is_refcounted(slot.dynptr_type()) {
        invalidate_dynptr(env, frameno, spi);
        return Ok(());
    }
    // The reference is held as long as the dynptr exists.
    let _ = release_reference(env, slot.ref_obj_id);
    for i in 1..env.cur.frame(frameno).stack().len() {
        let s = env.cur.frame(frameno).stack()[i];
        if s.spilled.ref_obj_id != slot.ref_obj_id {
            continue;
        }
        if s.kind[0] != SlotType::Dynptr {
            verbose!(env, "verifier bug: misconfigured ref_obj_id\n");
            return Err(Errno::EFAULT.into());
        }
        if s.spilled.dynptr_first_slot() {
            invalidate_dynptr(env, frameno, i as u32);
        }
    }
    Ok(())
}

fn invalidate_dynptr(env: &mut Env<'_>, frameno: u32, spi: u32) {
    clear_slot(env, frameno, spi);
    clear_slot(env, frameno, spi - 1);
}

/// Identity of the dynptr, which its slices carry.
pub fn dynptr_id(env: &mut Env<'_>, reg: &RegState) -> Check<u32> {
    Ok(first_half(env, reg)?.id)
}

/// Reference that the dynptr holds, or object that it is part of.
pub fn dynptr_ref_obj_id(env: &mut Env<'_>, reg: &RegState) -> Check<u32> {
    let half = first_half(env, reg)?;
    Ok(if env.kernel.features.references_by_id { half.parent_id } else { half.ref_obj_id })
}

/// The register itself for a const dynptr, else its first slot.
fn first_half(env: &mut Env<'_>, reg: &RegState) -> Check<RegState> {
    if reg.ty == RegBase::ConstDynptr {
        return Ok(*reg);
    }
    let spi = dynptr_get_spi(env, reg)?;
    Ok(env.frame_of(reg).stack()[spi as usize].spilled)
}

/// What the dynptr points to.  Looks at the fixed offset only, as the kernel does.
pub fn dynptr_get_type(env: &mut Env<'_>, reg: &RegState) -> DynptrType {
    if reg.ty == RegBase::ConstDynptr {
        return reg.dynptr_type();
    }
    let spi = spi_of(reg.const_off());
    if spi < 0 {
        verbose!(env, "verifier internal error: invalid spi when querying dynptr type\n");
        return DynptrType::Invalid;
    }
    let slot = env.frame_of(reg).stack().get(spi as usize);
    slot.map_or(DynptrType::Invalid, |s| s.spilled.dynptr_type())
}

/// A dynptr that a callback receives (`mark_dynptr_cb_reg`).
pub fn mark_dynptr_cb_reg(env: &mut Env<'_>, reg: &mut RegState, ty: DynptrType) {
    let id = if env.kernel.features.dynptrs_tracked { env.new_id() } else { 0 };
    mark_dynptr_reg(reg, ty, true, id);
}

/// `get_dynptr_type_flag`
pub fn dynptr_flag(ty: DynptrType) -> TypeFlags {
    match ty {
        DynptrType::Local => TypeFlags::DYNPTR_TYPE_LOCAL,
        DynptrType::Ringbuf => TypeFlags::DYNPTR_TYPE_RINGBUF,
        DynptrType::Skb => TypeFlags::DYNPTR_TYPE_SKB,
        DynptrType::Xdp => TypeFlags::DYNPTR_TYPE_XDP,
        DynptrType::SkbMeta => TypeFlags::DYNPTR_TYPE_SKB_META,
        DynptrType::File => TypeFlags::DYNPTR_TYPE_FILE,
        DynptrType::Invalid => TypeFlags::NONE,
    }
}
