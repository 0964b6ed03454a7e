//! Stores to the stack at fixed and variable offsets: spills and slot types
//! (`check_stack_write` in `kernel/bpf/verifier.c`).  Loads are in [`super::stack_read`].
//!
//! Offsets are bytes from the frame pointer of the frame pointed into; bounds and
//! alignment have been checked by the caller.  Ranges handed to calls are in
//! [`super::stack_range`].

use bpfassay_isa::field::{Class, Mode};
use bpfassay_isa::Reg;
use bpfassay_spec::{RegBase, RegType, TypeFlags};

use super::Access;
use crate::diagnostics::{self, words, About, Place, Why};
use crate::domain::reg::{DynptrType, RegState};
use crate::domain::stack::{SlotType, StackSlot, REG_SIZE};
use crate::env::Env;
use crate::explore::history::{insn_stack_access_flags, push_jmp_history};
use crate::explore::liveness::mark_stack_write;
use crate::explore::precision::mark_chain_precision;
use crate::log::state::print_linfo;
use crate::stop::{Check, Errno};
use crate::transfer::links::assign_scalar_id_before_mov;
use crate::verbose;

/// What an access does to the stack.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum StackAccess {
    Read,
    Write,
    /// A helper's, who may do either: kernels before 6.14 do not know which.
    Indirect,
}

impl StackAccess {
    /// Memory handed to a helper or kfunc.
    pub fn of_call(env: &Env<'_>, access: Access) -> StackAccess {
        if env.kernel.features.calls_say_what_they_write {
            access.into()
        } else {
            StackAccess::Indirect
        }
    }

    /// The word for it where initialised bytes were expected.
    pub fn indirect(self) -> &'static str {
        if self == StackAccess::Indirect {
            " indirect"
        } else {
            ""
        }
    }
}

impl From<Access> for StackAccess {
    fn from(access: Access) -> StackAccess {
        match access {
            Access::Read => StackAccess::Read,
            Access::Write => StackAccess::Write,
        }
    }
}

/// Slot that holds the byte at `off` (`__get_spi`); rounds towards zero like the kernel's division.
#[inline]
pub fn get_spi(off: i32) -> i32 {
    (off.wrapping_neg().wrapping_sub(1)) / REG_SIZE
}

/// Slot and index into its `kind` of the byte at `off < 0`.
#[inline]
pub(super) fn locate(off: i32) -> (usize, usize) {
    let slot = (-off - 1) as usize;
    (slot / REG_SIZE as usize, slot % REG_SIZE as usize)
}

impl StackSlot {
    /// A register was spilled here, whole or in part (`is_spilled_reg`).
    #[inline]
    pub fn is_spilled_reg(&self) -> bool {
        self.kind[7] == SlotType::Spill
    }

    /// `is_spilled_scalar_reg`
    #[inline]
    pub fn is_spilled_scalar_reg(&self) -> bool {
        self.is_spilled_reg() && self.spilled.is_scalar()
    }

    /// All eight bytes are a spilled scalar (`is_spilled_scalar_reg64`).
    #[inline]
    pub fn is_spilled_scalar_reg64(&self) -> bool {
        self.kind[0] == SlotType::Spill && self.spilled.is_scalar()
    }

    /// Holds a register or one of the kernel's stack objects (`is_stack_slot_special`).
    #[inline]
    pub fn is_special(&self) -> bool {
        !self.kind[7].is_nothing() && !matches!(self.kind[7], SlotType::Misc | SlotType::Zero)
    }

    /// Turns every byte that was written into unknown data (`scrub_spilled_slot`).
    pub fn scrub(&mut self) {
        for k in &mut self.kind {
            if !k.is_nothing() {
                *k = SlotType::Misc;
            }
        }
    }

    /// Spills the low `size` bytes of `reg` (`save_register_state`).
    /// Other bytes keep "zero" and "never written"; anything else becomes unknown.
    pub fn save_register(&mut self, reg: &RegState, size: usize) {
        self.spilled = *reg;
        for k in &mut self.kind[8 - size..] {
            *k = SlotType::Spill;
        }
        for k in &mut self.kind[..8 - size] {
            if *k != SlotType::Zero && !k.is_nothing() {
                *k = SlotType::Misc;
            }
        }
    }
}

/// Pointers that keep their type through a spill (`is_spillable_regtype`).
pub(super) fn is_spillable(env: &Env<'_>, ty: RegType) -> bool {
    let is_target = ty.base() == RegBase::Insn;
    let is_lost = is_target && !env.kernel.features.jump_targets_spilled;
    !is_lost
        && !matches!(
            ty.base(),
            RegBase::NotInit | RegBase::Scalar | RegBase::TpBuffer | RegBase::ConstDynptr
        )
}

/// Bits needed for the value (`get_reg_width`).
#[inline]
pub(super) fn reg_width(reg: &RegState) -> u32 {
    64 - reg.umax.leading_zeros()
}

/// The constant zero (`register_is_null`).
#[inline]
pub fn register_is_null(reg: &RegState) -> bool {
    reg.is_scalar() && reg.var_off.is_const() && reg.var_off.value == 0
}

/// The scalar 0, imprecise (`__mark_reg_const_zero`).
pub(super) fn mark_reg_const_zero(env: &mut Env<'_>, r: Reg) {
    let capable = env.bpf_capable;
    env.reg_mut(r).mark_const_zero(capable);
}

/// `is_pointer_value`: anything but a scalar, where the loader may not leak addresses.
#[inline]
pub fn is_pointer_value(env: &Env<'_>, reg: &RegState) -> bool {
    !env.allow_ptr_leaks && !reg.is_scalar()
}

/// Immediate of the ST at `insn_idx`, None for other instructions (`is_bpf_st_mem`).
fn st_imm(env: &Env<'_>, insn_idx: u32) -> Option<i32> {
    let raw = env.insns.get(insn_idx as usize)?;
    (raw.class() == Class::St && raw.mode() == Mode::Mem).then_some(raw.imm)
}

/// Makes sure `bytes` of the frame are tracked and raises the subprogram's depth (`grow_stack_state`).
pub fn grow_stack_state(env: &mut Env<'_>, frameno: u32, bytes: i32) {
    let frame = env.cur.frame(frameno);
    let bytes = (bytes + REG_SIZE - 1) & !(REG_SIZE - 1);
    if frame.allocated_stack() >= bytes {
        return;
    }
    let subprogno = frame.subprogno as usize;
    env.cur.frame_mut(frameno).grow_stack(bytes);
    let depth = &mut env.subprogs[subprogno].stack_depth;
    *depth = (*depth).max(bytes as u16);
}

/// An access below the fastcall spill area from outside the pattern ends the contract
/// for the whole subprogram (`check_fastcall_stack_contract`).
pub(super) fn check_fastcall_stack_contract(
    env: &mut Env<'_>,
    subprogno: u32,
    insn_idx: u32,
    off: i32,
) {
    let subprog = &env.subprogs[subprogno as usize];
    if subprog.fastcall_stack_off as i32 <= off || env.aux(insn_idx).fastcall_pattern {
        return;
    }
    let start = subprog.start as usize;
    let next = env.subprogs.get(subprogno as usize + 1);
    let end = next.map_or(env.insns.len(), |s| s.start as usize);
    env.subprogs[subprogno as usize].fastcall_stack_off = i16::MIN;
    for aux in &mut env.aux[start..end] {
        aux.fastcall_spills_num = 0;
        aux.fastcall_pattern = false;
    }
}

/// A dynptr that must be released before its slot may be reused (`dynptr_type_refcounted`).
fn is_refcounted(t: DynptrType) -> bool {
    matches!(t, DynptrType::Ringbuf | DynptrType::File)
}

/// A write into a dynptr destroys it and its slices (`destroy_if_dynptr_stack_slot`).
pub fn destroy_if_dynptr_stack_slot(env: &mut Env<'_>, frameno: u32, spi: usize) -> Check {
    let stack = env.cur.frame(frameno).stack();
    if stack[spi].kind[0] != SlotType::Dynptr || !env.kernel.features.dynptrs_tracked {
        return Ok(());
    }
    let first = if stack[spi].spilled.dynptr_first_slot() { spi } else { spi + 1 };
    let Some(slot) = stack.get(first).filter(|_| first > 0) else {
        verbose!(env, "verifier bug: dynptr at the edge of the stack\n");
        return Err(Errno::EFAULT.into());
    };
    let spilled = slot.spilled;
    let by_id = env.kernel.features.references_by_id;
    if is_refcounted(spilled.dynptr_type()) && (!by_id || sharers(env, spilled.parent_id) <= 1) {
        verbose!(env, "cannot overwrite referenced dynptr\n");
        let at = env.insn_idx;
        diagnostics::report(env, at, &words::DYNPTR_OVERWRITTEN, About::Nothing, &[]);
        return Err(Errno::EINVAL.into());
    }
    if by_id {
        super::refs::release_with_children(env, spilled.id)?;
        env.mark_slot_scratched(first as u32);
        env.mark_slot_scratched(first as u32 - 1);
        return Ok(());
    }
    let dynptr_id = spilled.id;
    env.mark_slot_scratched(first as u32);
    env.mark_slot_scratched(first as u32 - 1);
    let frame = env.cur.frame_mut(frameno);
    for s in [first, first - 1] {
        frame.slot_mut(s).kind = [SlotType::Invalid; 8];
    }
    invalidate_slices(env, dynptr_id);
    let capable = env.bpf_capable;
    let frame = env.cur.frame_mut(frameno);
    for s in [first, first - 1] {
        frame.slot_mut(s).spilled.mark_not_init(capable);
    }
    mark_stack_write(env, frameno, 0b11 << (first - 1));
    Ok(())
}

/// Dynptrs that hold the same reference (`dynptr_ref_cnt`).
fn sharers(env: &Env<'_>, parent_id: u32) -> usize {
    let slots = env.cur.frames().flat_map(|f| f.stack());
    let firsts = slots.filter(|s| s.kind[0] == SlotType::Dynptr && s.spilled.dynptr_first_slot());
    firsts.filter(|s| s.spilled.parent_id == parent_id).count()
}

/// Forgets every memory slice of a dynptr.
fn invalidate_slices(env: &mut Env<'_>, dynptr_id: u32) {
    let mem = RegType::of(RegBase::Mem);
    let or_null = mem.plus(TypeFlags::PTR_MAYBE_NULL);
    let is_slice = |r: &RegState| (r.ty == mem || r.ty == or_null) && r.dynptr_id() == dynptr_id;
    if !env.cur.any_reg(|_, r| is_slice(r)) {
        return;
    }
    let (leaks_ok, capable) = (env.allow_ptr_leaks, env.bpf_capable);
    env.cur.for_each_reg_mut(|_, r| {
        if is_slice(r) {
            super::refs::mark_reg_invalid(r, leaks_ok, capable);
        }
    });
}

/// Store of `size` bytes at `reg + off`; `off` includes the register's fixed offset (`check_stack_write`).
pub(super) fn check_stack_write(
    env: &mut Env<'_>,
    ptr: Reg,
    off: i32,
    size: i32,
    value: Option<Reg>,
    insn_idx: u32,
) -> Check {
    let reg = *env.reg(ptr);
    if reg.var_off.is_const() {
        let off = off.wrapping_add(reg.var_off.value as i32);
        return write_fixed_off(env, reg.frameno, off, size, value, insn_idx);
    }
    write_var_off(env, &reg, off, size, value, insn_idx)
}

/// What a store leaves in its slot.
enum Written {
    /// The register, spilled; `fits` says whether its value has no more bits than the store.
    Scalar(Reg, bool),
    Imm(i32),
    Pointer(Reg),
    Data,
}

fn write_fixed_off(
    env: &mut Env<'_>,
    frameno: u32,
    off: i32,
    size: i32,
    value: Option<Reg>,
    insn_idx: u32,
) -> Check {
    let (spi, _) = locate(off);
    let slot = &env.cur.frame(frameno).stack()[spi];
    if !env.allow_ptr_leaks
        && slot.is_spilled_reg()
        && !slot.is_spilled_scalar_reg()
        && size != REG_SIZE
    {
        verbose!(env, "attempt to corrupt spilled pointer on stack\n");
        let values: diagnostics::Values<'_> = &[("size", &size), ("off", &off)];
        diagnostics::report(env, insn_idx, &words::SPILL_CORRUPTED, About::Nothing, values);
        return Err(Errno::EACCES.into());
    }
    super::stack_barrier::note_spill_barrier(env, frameno, off, size, value, insn_idx);
    destroy_if_dynptr_stack_slot(env, frameno, spi)?;
    if off % REG_SIZE == 0 && size == REG_SIZE {
        mark_stack_write(env, frameno, 1 << spi);
    }
    let subprogno = env.cur.frame(frameno).subprogno;
    check_fastcall_stack_contract(env, subprogno, insn_idx, off);
    env.mark_slot_scratched(spi as u32);

    match classify_store(env, off, size, value, insn_idx) {
        Written::Scalar(r, fits) => {
            let spills_all = env.kernel.features.all_scalars_spilled;
            let by_fp = env.insns.get(insn_idx as usize).is_some_and(|i| i.dst == Reg::R10.0);
            if !spills_all && !by_fp {
                // Only stores by the frame pointer are tracked back.
                mark_chain_precision(env, r)?;
            }
            if fits && spills_all {
                let mut reg = *env.reg(r);
                assign_scalar_id_before_mov(env, &mut reg);
                if reg != *env.reg(r) {
                    *env.reg_mut(r) = reg;
                }
            }
            let reg = *env.reg(r);
            spill(env, frameno, spi, &reg, size, Some(r));
            let slot = env.cur.frame_mut(frameno).slot_mut(spi);
            if !fits {
                slot.spilled.id = 0;
            }
            if !spills_all {
                forget_zeros(slot);
            }
        }
        Written::Imm(imm) => {
            let mut reg = RegState::ZEROED;
            reg.mark_known(imm as i64 as u64);
            reg.ty = RegBase::Scalar.into();
            let spills_all = env.kernel.features.all_scalars_spilled;
            spill(env, frameno, spi, &reg, size, None);
            let slot = env.cur.frame_mut(frameno).slot_mut(spi);
            if !spills_all {
                forget_zeros(slot);
            }
        }
        Written::Pointer(r) => spill_pointer(env, frameno, spi, size, r, insn_idx)?,
        Written::Data => return write_data(env, frameno, off, size, value, insn_idx),
    }
    push_jmp_history(env, insn_stack_access_flags(frameno, spi as u32), 0)
}

/// Bytes of a slot that no spill covers are unknown, zero or not (before 6.9).
fn forget_zeros(slot: &mut StackSlot) {
    for k in slot.kind.iter_mut().filter(|k| **k == SlotType::Zero) {
        *k = SlotType::Misc;
    }
}

/// Nothing is known of the value (`__is_scalar_unbounded`).
fn is_unbounded(reg: &RegState) -> bool {
    let mut unbound = *reg;
    unbound.mark_unbounded();
    reg.var_off.is_unknown() && unbound == *reg
}

fn classify_store(
    env: &Env<'_>,
    off: i32,
    size: i32,
    value: Option<Reg>,
    insn_idx: u32,
) -> Written {
    let starts_slot = off % REG_SIZE == 0;
    match value {
        Some(r) => {
            let reg = env.reg(r);
            let all = env.kernel.features.all_scalars_spilled;
            let worth = all || !is_unbounded(reg) && !register_is_null(reg);
            if starts_slot && reg.is_scalar() && env.bpf_capable && worth {
                Written::Scalar(r, reg_width(reg) <= 8 * size as u32)
            } else if is_spillable(env, reg.ty) {
                Written::Pointer(r)
            } else {
                Written::Data
            }
        }
        None => match st_imm(env, insn_idx) {
            Some(imm)
                if starts_slot
                    && env.bpf_capable
                    && (imm != 0 || env.kernel.features.all_scalars_spilled) =>
            {
                Written::Imm(imm)
            }
            _ => Written::Data,
        },
    }
}

fn spill_pointer(
    env: &mut Env<'_>,
    frameno: u32,
    spi: usize,
    size: i32,
    value: Reg,
    insn_idx: u32,
) -> Check {
    if size != REG_SIZE {
        print_linfo(env, insn_idx, "; ");
        verbose!(env, "invalid size of register spill\n");
        return Err(Errno::EACCES.into());
    }
    let reg = *env.reg(value);
    if frameno != env.cur.curframe() && reg.ty == RegBase::Stack {
        verbose!(env, "cannot spill pointers to stack into stack frame of the caller\n");
        return Err(Errno::EINVAL.into());
    }
    spill(env, frameno, spi, &reg, size, Some(value));
    Ok(())
}

/// Spills a register of the innermost frame, or a number that is in none (`save_register_state`).
fn spill(
    env: &mut Env<'_>,
    frameno: u32,
    spi: usize,
    reg: &RegState,
    size: i32,
    from: Option<Reg>,
) {
    let here = env.cur.curframe();
    let origin = from.map(|r| (here, Place::Reg(r.0)));
    diagnostics::begin(env, frameno, Place::Slot(spi as u16), origin, Why::Spill);
    env.cur.frame_mut(frameno).slot_mut(spi).save_register(reg, size as usize);
    diagnostics::end(env);
}

/// True if the store writes zero: a register known to be 0 or an immediate 0.
fn writes_zero(env: &Env<'_>, value: Option<Reg>, insn_idx: u32) -> bool {
    match value {
        Some(r) => register_is_null(env.reg(r)),
        None => st_imm(env, insn_idx) == Some(0),
    }
}

/// Plain data: the slot's spilled register is gone, the bytes are unknown or zero.
fn write_data(
    env: &mut Env<'_>,
    frameno: u32,
    off: i32,
    size: i32,
    value: Option<Reg>,
    insn_idx: u32,
) -> Check {
    let (spi, _) = locate(off);
    if env.cur.frame(frameno).stack()[spi].is_spilled_reg() {
        diagnostics::scrub(env, frameno, Place::Slot(spi as u16), Why::Write);
    }
    let slot = env.cur.frame_mut(frameno).slot_mut(spi);
    slot.spilled.ty = RegBase::NotInit.into();
    if slot.is_special() {
        slot.scrub();
    }
    let mut kind = SlotType::Misc;
    if writes_zero(env, value, insn_idx) {
        // A zero byte remembers no register, so backtracking stops here: the source must be precise now.
        if let Some(r) = value {
            mark_chain_precision(env, r)?;
        }
        kind = SlotType::Zero;
    }
    let slot = env.cur.frame_mut(frameno).slot_mut(spi);
    for i in 0..size {
        let (_, byte) = locate(off + i);
        slot.kind[byte] = kind;
    }
    Ok(())
}

/// Store at a variable offset: every byte of the range may be written, none must be
/// (`check_stack_write_var_off`).
fn write_var_off(
    env: &mut Env<'_>,
    ptr: &RegState,
    off: i32,
    size: i32,
    value: Option<Reg>,
    insn_idx: u32,
) -> Check {
    let frameno = ptr.frameno;
    let min_off = (ptr.smin as i32).wrapping_add(off);
    let max_off = (ptr.smax as i32).wrapping_add(off).wrapping_add(size);
    let writing_zero = writes_zero(env, value, insn_idx);
    for i in min_off..max_off {
        destroy_if_dynptr_stack_slot(env, frameno, locate(i).0)?;
    }
    let subprogno = env.cur.frame(frameno).subprogno;
    check_fastcall_stack_contract(env, subprogno, insn_idx, min_off);
    // A zero written over zero keeps "zero"; that uses the fact that the source is zero.
    let mut zero_used = false;
    for i in min_off..max_off {
        zero_used |= maybe_write_byte(env, frameno, i, writing_zero, insn_idx)?;
    }
    if let Some(r) = value.filter(|_| zero_used) {
        mark_chain_precision(env, r)?;
    }
    diagnostics::scrub_range(env, frameno, min_off, max_off);
    Ok(())
}

/// The byte at `off` may be written; true if it stays zero because zero is written.
fn maybe_write_byte(
    env: &mut Env<'_>,
    frameno: u32,
    off: i32,
    writing_zero: bool,
    insn_idx: u32,
) -> Check<bool> {
    let (spi, byte) = locate(off);
    env.mark_slot_scratched(spi as u32);
    let slot = &env.cur.frame(frameno).stack()[spi];
    let kind = slot.kind[byte];
    if !env.allow_ptr_leaks && kind != SlotType::Misc && kind != SlotType::Zero {
        verbose!(
            env,
            "spilled ptr in range of var-offset stack write; insn {insn_idx}, ptr off: {off}"
        );
        return Err(Errno::EINVAL.into());
    }
    if writing_zero
        && kind == SlotType::Spill
        && slot.is_spilled_scalar_reg()
        && slot.spilled.var_off.is_const()
        && slot.spilled.var_off.value == 0
    {
        return Ok(true);
    }
    let scrub = env.kernel.features.var_off_write_scrubs_slot;
    let keeps_zero = writing_zero && kind == SlotType::Zero;
    let uninit_ok = !kind.is_nothing() || env.allow_uninit_stack;
    let slot = env.cur.frame_mut(frameno).slot_mut(spi);
    slot.spilled.ty = RegBase::NotInit.into();
    if scrub && slot.is_special() {
        slot.scrub();
    }
    if !uninit_ok {
        verbose!(
            env,
            "uninit stack in range of var-offset write prohibited for !root; insn {insn_idx}, off: {off}"
        );
        return Err(Errno::EINVAL.into());
    }
    slot.kind[byte] = if keeps_zero { SlotType::Zero } else { SlotType::Misc };
    Ok(keeps_zero)
}
