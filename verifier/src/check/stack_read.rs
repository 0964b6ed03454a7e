//! Stack loads: fills of spilled registers, and data (`check_stack_read` in `kernel/bpf/verifier.c`).

use bpfassay_isa::Reg;

use super::stack::{
    check_fastcall_stack_contract, is_pointer_value, locate, mark_reg_const_zero, reg_width,
    register_is_null, StackAccess,
};
use super::stack_range::check_stack_range_initialized;
use crate::diagnostics::{self, words, About, Place, Why};
use crate::domain::reg::RegState;
use crate::domain::stack::{SlotType, StackSlot, REG_SIZE};
use crate::env::Env;
use crate::explore::history::{insn_stack_access_flags, push_jmp_history};
use crate::explore::liveness::mark_stack_read;
use crate::explore::precision::mark_stack_slots_precise;
use crate::log::state::print_linfo;
use crate::stop::{Check, Errno};
use crate::transfer::links::assign_scalar_id_before_mov;
use crate::transfer::mark::mark_reg_unknown;
use crate::verbose;

/// Load of `size` bytes at `ptr + off` into `dst`; None where the value goes nowhere (`check_stack_read`).
pub(super) fn check_stack_read(
    env: &mut Env<'_>,
    ptr: Reg,
    off: i32,
    size: i32,
    dst: Option<Reg>,
) -> Check {
    let reg = *env.reg(ptr);
    if reg.var_off.is_const() {
        let off = off.wrapping_add(reg.var_off.value as i32);
        return read_fixed_off(env, reg.frameno, off, size, dst);
    }
    let Some(dst) = dst else {
        verbose!(
            env,
            "variable offset stack pointer cannot be passed into helper function; var_off={} off={off} size={size}\n",
            reg.var_off
        );
        let at = env.insn_idx;
        let values: diagnostics::Values<'_> =
            &[("var_off", &reg.var_off), ("off", &off), ("size", &size)];
        diagnostics::report(env, at, &words::VARIABLE_STACK, About::Nothing, values);
        return Err(Errno::EACCES.into());
    };
    // Whatever lies there, a load at an unknown offset gives no register back.
    check_stack_range_initialized(env, ptr, off, size, false, StackAccess::Read, None)?;
    let min_off = (reg.smin as i32).wrapping_add(off);
    let max_off = (reg.smax as i32).wrapping_add(off);
    mark_reg_stack_read(env, reg.frameno, min_off, max_off + size, dst)?;
    let subprogno = env.cur.frame(reg.frameno).subprogno;
    let insn_idx = env.insn_idx;
    check_fastcall_stack_contract(env, subprogno, insn_idx, min_off);
    Ok(())
}

/// `dst` gets zero if every byte of the range is zero, else something unknown (`mark_reg_stack_read`).
fn mark_reg_stack_read(
    env: &mut Env<'_>,
    frameno: u32,
    min_off: i32,
    max_off: i32,
    dst: Reg,
) -> Check {
    let mut all_zero = true;
    // Slots whose spilled zero is relied upon.
    let mut zero_spills = 0u64;
    for i in min_off..max_off {
        let (spi, byte) = locate(i);
        show_read(env, spi);
        let slot = &env.cur.frame(frameno).stack()[spi];
        match slot.kind[byte] {
            SlotType::Zero => {}
            SlotType::Spill
                if env.kernel.features.zero_spills_read && register_is_null(&slot.spilled) =>
            {
                zero_spills |= 1 << spi
            }
            _ => {
                all_zero = false;
                break;
            }
        }
    }
    if !all_zero {
        mark_reg_unknown(env, dst);
        return Ok(());
    }
    mark_reg_const_zero(env, dst);
    if !env.kernel.features.all_scalars_spilled {
        // Going back from here stops at the load: what made the zeros was precise when it was stored.
        env.reg_mut(dst).precise = true;
    }
    if zero_spills == 0 {
        return Ok(());
    }
    mark_stack_slots_precise(env, frameno, zero_spills)
}

fn show_read(env: &mut Env<'_>, spi: usize) {
    if env.kernel.features.stack_reads_shown {
        env.mark_slot_scratched(spi as u32);
    }
}

fn read_fixed_off(env: &mut Env<'_>, frameno: u32, off: i32, size: i32, dst: Option<Reg>) -> Check {
    let (spi, _) = locate(off);
    let insn_idx = env.insn_idx;
    show_read(env, spi);
    // The contract is that of the frame running, not of the one read from.
    let subprogno = env.frame().subprogno;
    check_fastcall_stack_contract(env, subprogno, insn_idx, off);
    mark_stack_read(env, frameno, insn_idx, 1 << spi)?;
    if let Some(dst) = dst {
        let (here, origin) = (env.cur.curframe(), Some((frameno, Place::Slot(spi as u16))));
        diagnostics::begin(env, here, Place::Reg(dst.0), origin, Why::Write);
    }
    let slot = env.cur.frame(frameno).stack()[spi];
    let is_fill = if !slot.is_spilled_reg() {
        check_data_bytes(env, &slot, off, size)?;
        if let Some(dst) = dst {
            mark_reg_stack_read(env, frameno, off, off + size, dst)?;
        }
        false
    } else {
        let spill_size = spill_size(&slot);
        if size != REG_SIZE || spill_size != REG_SIZE {
            if !slot.spilled.is_scalar() {
                print_linfo(env, insn_idx, "; ");
                verbose!(env, "invalid size of register fill\n");
                return Err(Errno::EACCES.into());
            }
            let Some(dst) = dst else { return Ok(()) };
            fill_part(env, frameno, off, size, spill_size, dst)?
        } else if let Some(dst) = dst {
            *env.reg_mut(dst) = linked_spill(env, frameno, spi);
            true
        } else if is_pointer_value(env, &slot.spilled) {
            verbose!(env, "leaking pointer from stack off {off}\n");
            return Err(Errno::EACCES.into());
        } else {
            true
        }
    };
    if is_fill {
        return push_jmp_history(env, insn_stack_access_flags(frameno, spi as u32), 0);
    }
    Ok(())
}

/// Bytes of the slot that belong to its spill, counted from byte 7 down.
fn spill_size(slot: &StackSlot) -> i32 {
    let rest = slot.kind[..7].iter().rev();
    1 + rest.take_while(|k| **k == SlotType::Spill).count() as i32
}

/// Load of a part of a spilled scalar, or over a part of a slot that holds one.
/// True if the register still is (part of) the spilled one.
fn fill_part(
    env: &mut Env<'_>,
    frameno: u32,
    off: i32,
    size: i32,
    spill_size: i32,
    dst: Reg,
) -> Check<bool> {
    let (spi, _) = locate(off);
    let slot = env.cur.frame(frameno).stack()[spi];
    let links = env.kernel.features.fill_links;
    let spills_all = env.kernel.features.all_scalars_spilled;
    // Little endian: the low bytes of the value start the slot.
    if (size == spill_size || spills_all && size < spill_size) && off % REG_SIZE == 0 {
        let width = reg_width(&slot.spilled);
        let whole = size == 4 && spill_size == 4 && width <= 32;
        let spilled = if whole { linked_spill(env, frameno, spi) } else { slot.spilled };
        let reg = env.reg_mut(dst);
        let subreg_def = reg.subreg_def;
        *reg = spilled;
        reg.subreg_def = subreg_def;
        if width > 8 * size as u32 {
            reg.id = 0;
            if links {
                reg.clear_scalar_id();
            }
        }
        return Ok(true);
    }
    let (mut spills, mut zeros) = (0, 0);
    for i in 0..size {
        match slot.kind[locate(off + i).1] {
            SlotType::Spill => spills += 1,
            SlotType::Zero if spills_all => zeros += 1,
            SlotType::Misc => {}
            SlotType::Invalid if env.allow_uninit_stack => {}
            kind => return invalid_read(env, kind, off, i, size),
        }
    }
    let is_zero_spill = slot.spilled.var_off.is_const() && slot.spilled.var_off.value == 0;
    if spills_all && spills == size && is_zero_spill {
        mark_reg_const_zero(env, dst);
        return Ok(true);
    }
    if spills_all && zeros == size {
        mark_reg_const_zero(env, dst);
    } else if env.kernel.features.zero_spills_read {
        mark_reg_stack_read(env, frameno, off, off + size, dst)?;
    } else {
        mark_reg_unknown(env, dst);
    }
    Ok(false)
}

/// The register spilled in a slot, which it is about to share its value with.
fn linked_spill(env: &mut Env<'_>, frameno: u32, spi: usize) -> RegState {
    let mut spilled = env.cur.frame(frameno).stack()[spi].spilled;
    if env.kernel.features.fill_links && env.bpf_capable {
        let before = spilled;
        assign_scalar_id_before_mov(env, &mut spilled);
        if spilled != before {
            env.cur.frame_mut(frameno).slot_mut(spi).spilled = spilled;
        }
    }
    spilled
}

/// Every byte must hold data.
fn check_data_bytes(env: &mut Env<'_>, slot: &StackSlot, off: i32, size: i32) -> Check {
    for i in 0..size {
        match slot.kind[locate(off + i).1] {
            SlotType::Misc | SlotType::Zero => {}
            SlotType::Invalid if env.allow_uninit_stack => {}
            kind => return invalid_read(env, kind, off, i, size),
        }
    }
    Ok(())
}

fn invalid_read<T>(env: &mut Env<'_>, kind: SlotType, off: i32, i: i32, size: i32) -> Check<T> {
    if kind == SlotType::Poison {
        verbose!(
            env,
            "reading from stack off {off}+{i} size {size}, slot poisoned by dead code elimination\n"
        );
    } else {
        verbose!(env, "invalid read from stack off {off}+{i} size {size}\n");
        let at = env.insn_idx;
        let values: diagnostics::Values<'_> = &[("size", &size), ("off", &off), ("byte", &i)];
        diagnostics::report(env, at, &words::UNINIT_STACK, About::Nothing, values);
    }
    Err(Errno::EACCES.into())
}
