//! Objects that live in whole stack slots: dynptrs, iterators, IRQ flags (`stack_slot_obj_get_spi`,
//! `mark_stack_slot_obj_read`).  Knows where they are, not what they are.

use bpfassay_isa::{Reg, Size};

use super::mem::check_mem_access;
use super::Access;
use crate::domain::reg::RegState;
use crate::domain::stack::{SlotType, REG_SIZE};
use crate::env::Env;
use crate::explore::liveness::{mark_stack_read, mark_stack_write};
use crate::stop::{Check, Errno, Stop};
use crate::verbose;

/// Why a pointer names no slots of an object.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NoSlot {
    /// Said so in the log (EINVAL).
    Misplaced,
    /// Below what is tracked of the stack so far (ERANGE); a write would grow it.
    NotAllocated,
}

impl From<NoSlot> for Stop {
    fn from(e: NoSlot) -> Stop {
        match e {
            NoSlot::Misplaced => Errno::EINVAL.into(),
            NoSlot::NotAllocated => Errno::ERANGE.into(),
        }
    }
}

/// First slot of an object of `count` slots; the others have lower indices, at higher addresses.
pub fn get_spi(env: &mut Env<'_>, reg: &RegState, what: &str, count: u32) -> Result<u32, NoSlot> {
    if !reg.var_off.is_const() {
        verbose!(env, "{what} has to be at a constant offset\n");
        return Err(NoSlot::Misplaced);
    }
    let off = reg.off.wrapping_add(reg.var_off.value as i32);
    let spi = spi_of(off);
    let above = off >= 0 && env.kernel.features.pointer_offset_whole;
    if above || off % REG_SIZE != 0 || spi + 1 < count as i32 {
        verbose!(env, "cannot pass in {what} at an offset={off}\n");
        return Err(NoSlot::Misplaced);
    }
    if spi as usize >= env.frame_of(reg).stack().len() {
        return Err(NoSlot::NotAllocated);
    }
    Ok(spi as u32)
}

/// Slot of the byte at `off` from the frame pointer (`__get_spi`); not positive from the frame pointer up.
pub fn spi_of(off: i32) -> i32 {
    off.wrapping_neg().wrapping_sub(1) / REG_SIZE
}

/// `count` slots from `spi` down are read by the current instruction.
pub fn mark_obj_read(env: &mut Env<'_>, frameno: u32, spi: u32, count: u32) -> Check {
    for s in (0..count).filter_map(|i| spi.checked_sub(i)) {
        mark_stack_read(env, frameno, env.insn_idx, 1 << s)?;
        env.mark_slot_scratched(s);
    }
    Ok(())
}

/// Checks the write that makes room for an object, eight bytes at a time; grows the stack.
pub fn check_obj_write(env: &mut Env<'_>, insn_idx: u32, r: Reg, count: u32) -> Check {
    for i in 0..count as i32 {
        check_mem_access(
            env,
            insn_idx,
            r,
            i * REG_SIZE,
            Size::Dw,
            Access::Write,
            None,
            false,
            false,
        )?;
    }
    Ok(())
}

/// Fills a slot: every byte of `kind`, the register as given; written for certain.
pub fn set_slot(env: &mut Env<'_>, frameno: u32, spi: u32, kind: SlotType, reg: RegState) {
    mark_stack_write(env, frameno, 1 << spi);
    let slot = env.cur.frame_mut(frameno).slot_mut(spi as usize);
    slot.kind = [kind; 8];
    slot.spilled = reg;
}

/// Empties a slot.
pub fn clear_slot(env: &mut Env<'_>, frameno: u32, spi: u32) {
    let mut reg = env.cur.frame(frameno).stack()[spi as usize].spilled;
    reg.mark_not_init(env.bpf_capable);
    set_slot(env, frameno, spi, SlotType::Invalid, reg);
}
