//! Arguments whose value the verifier must know: constant strings and map keys
//! (`check_reg_const_str`, `get_constant_map_key`, `check_bpf_snprintf_call`).

use bpfassay_isa::Reg;
use bpfassay_object::model::MapDef;
use bpfassay_spec::{MapType, RegBase};

use super::bprintf;
use super::map_value::{check_map_access, AccessSrc};
use crate::domain::reg::RegState;
use crate::domain::stack::{SlotType, REG_SIZE};
use crate::env::Env;
use crate::explore::precision::mark_stack_slot_precise;
use crate::stop::{Check, Errno};
use crate::verbose;

/// Contents cannot change any more: read-only to programs and frozen (`bpf_map_is_rdonly`).
fn is_rdonly(map: &MapDef) -> bool {
    map.map_flags & MapDef::F_RDONLY_PROG != 0 && map.frozen
}

/// Errno of the map's `map_direct_value_addr` at this offset; None if it has none.
fn direct_value_addr(map: &MapDef, off: u32) -> Option<Result<(), Errno>> {
    match map.map_type {
        MapType::Array if map.max_entries != 1 => Some(Err(Errno::ENOTSUPP)),
        MapType::Array if off >= map.value_size => Some(Err(Errno::EINVAL)),
        MapType::Array | MapType::Arena => Some(Ok(())),
        _ => None,
    }
}

/// Value bytes from `off` on, zero where the initial contents are short.
fn contents(map: &MapDef, off: u32) -> Vec<u8> {
    let init: &[u8] = map.initial.as_ref().map_or(&[], |i| i.as_slice());
    let mut bytes = init.get(off as usize..).unwrap_or(&[]).to_vec();
    bytes.resize(map.value_size.saturating_sub(off) as usize, 0);
    bytes
}

/// Type of a map with direct values that are no strings.
fn never_strings(env: &Env<'_>, map: &MapDef) -> Option<&'static str> {
    let features = &env.kernel.features;
    let never = match map.map_type {
        MapType::InsnArray => features.indirect_jumps,
        MapType::PercpuArray => features.percpu_data,
        _ => false,
    };
    never.then(|| map.map_type.name())
}

/// A zero-terminated string in a frozen map.
pub fn check_reg_const_str(env: &mut Env<'_>, reg: &RegState, regno: Reg) -> Check {
    if reg.ty != RegBase::MapValue {
        return Err(Errno::EINVAL.into());
    }
    let Some(map) = reg.map() else { return Err(Errno::EFAULT.into()) };
    let def = env.map(map).def.clone();
    if let Some(kind) = never_strings(env, &def) {
        verbose!(env, "R{} points to {kind} map which cannot be used as const string\n", regno.0);
        return Err(Errno::EACCES.into());
    }
    if !is_rdonly(&def) {
        verbose!(env, "R{} does not point to a readonly map'\n", regno.0);
        return Err(Errno::EACCES.into());
    }
    if !reg.var_off.is_const() {
        verbose!(env, "R{} is not a constant address'\n", regno.0);
        return Err(Errno::EACCES.into());
    }
    if direct_value_addr(&def, 0).is_none() {
        verbose!(env, "no direct value access support for this map type\n");
        return Err(Errno::EACCES.into());
    }
    let fixed = if env.kernel.features.pointer_offset_whole { reg.const_off() } else { reg.off };
    let size = (def.value_size as i32).wrapping_sub(fixed);
    check_map_access(env, regno, reg.off, size, false, AccessSrc::Helper)?;
    let off = reg.off.wrapping_add(reg.var_off.value as i32) as u32;
    if let Some(Err(e)) = direct_value_addr(&def, off) {
        verbose!(env, "direct value access on string failed\n");
        return Err(e.into());
    }
    if !contents(&def, off).contains(&0) {
        verbose!(env, "string is not zero-terminated\n");
        return Err(Errno::EINVAL.into());
    }
    Ok(())
}

/// The key that `key` points to, if it is a known constant on the stack; the slot becomes precise.
pub fn get_constant_map_key(
    env: &mut Env<'_>,
    key: &RegState,
    key_size: u32,
) -> Check<Option<i64>> {
    if !env.bpf_capable || key.ty != RegBase::Stack || !key.var_off.is_const() {
        return Ok(None);
    }
    let stack_off = key.off.wrapping_add(key.var_off.value as i32);
    let slot_off = (-stack_off - 1).max(0);
    let (spi, byte) = (slot_off / REG_SIZE, (slot_off % REG_SIZE) as usize);
    let Some(slot) = env.frame_of(key).stack().get(spi as usize).copied() else { return Ok(None) };
    let run = |t: SlotType| slot.kind[..=byte].iter().rev().take_while(|k| **k == t).count() as u32;
    if run(SlotType::Zero) >= key_size {
        return Ok(Some(0));
    }
    if !slot.is_spilled_scalar_reg()
        || run(SlotType::Spill) != key_size
        || !slot.spilled.var_off.is_const()
    {
        return Ok(None);
    }
    mark_stack_slot_precise(env, key.frameno, spi as u32)?;
    Ok(Some(slot.spilled.var_off.value as i64))
}

/// Format and argument count of `bpf_snprintf`; the format is a constant string.
pub fn check_bpf_snprintf_call(env: &mut Env<'_>) -> Check {
    let (fmt, len) = (*env.reg(Reg::R3), env.reg(Reg::R5).var_off.value);
    if len % 8 != 0 {
        return Err(Errno::EINVAL.into());
    }
    let Some(map) = fmt.map() else { return Err(Errno::EFAULT.into()) };
    let def = env.map(map).def.clone();
    let off = fmt.off.wrapping_add(fmt.var_off.value as i32) as u32;
    if !matches!(direct_value_addr(&def, off), Some(Ok(()))) {
        verbose!(env, "failed to retrieve map value address\n");
        return Err(Errno::EFAULT.into());
    }
    if bprintf::check_format(&contents(&def, off), (len / 8) as u32).is_err() {
        verbose!(env, "Invalid format string\n");
        return Err(Errno::EINVAL.into());
    }
    Ok(())
}
