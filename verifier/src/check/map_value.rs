//! Map keys and values: map permissions, special fields, kptrs in place, and contents of
//! frozen read-only maps (`check_map_access`, `check_map_kptr_access`, `bpf_map_direct_read`).

use bpfassay_isa::field::{Class, Mode};
use bpfassay_isa::{Reg, Size};
use bpfassay_object::model::MapDef;
use bpfassay_spec::{MapType, RegBase, RegType, TypeFlags};

use super::btf_record::{BtfField, FieldKinds};
use super::btf_walk::BtfLoad;
use super::indirect_jump::TARGET_SIZE;
use super::kptr_access::{kptr_load_flags, map_kptr_match_type};
use super::region::check_mem_region_access;
use super::stack::{is_pointer_value, register_is_null};
use super::Access;
use crate::domain::reg::{MapId, RegState};
use crate::env::Env;
use crate::explore::precision::mark_chain_precision;
use crate::stop::{Check, Errno, Stop};
use crate::transfer::mark::mark_reg_unknown;
use crate::verbose;

/// Who performs the access (`enum bpf_access_src`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum AccessSrc {
    Direct,
    Helper,
}

/// The map a register belongs to.
pub fn map_of(reg: &RegState) -> Check<MapId> {
    reg.map().ok_or_else(|| Stop::unsupported("map register without a map"))
}

/// Read or write forbidden by map flags (`check_map_access_type`).
pub(super) fn check_map_access_type(
    env: &mut Env<'_>,
    r: Reg,
    off: i32,
    size: i32,
    access: Access,
) -> Check {
    let id = map_of(env.reg(r))?;
    let def = env.map(id).def.clone();
    let (forbidding, word) = match access {
        Access::Write => (MapDef::F_RDONLY_PROG, "write into"),
        Access::Read => (MapDef::F_WRONLY_PROG, "read from"),
    };
    // Of the two flags, read-only wins.
    let flags = def.map_flags & (MapDef::F_RDONLY_PROG | MapDef::F_WRONLY_PROG);
    let effective = if flags & MapDef::F_RDONLY_PROG != 0 { MapDef::F_RDONLY_PROG } else { flags };
    if effective & forbidding == 0 {
        return Ok(());
    }
    let off = if env.kernel.features.pointer_offset_whole {
        env.reg(r).smin.wrapping_add(off.into())
    } else {
        off.into()
    };
    verbose!(
        env,
        "{word} map forbidden, value_size={} off={off} size={size}\n",
        def.value_size as i32
    );
    Err(Errno::EACCES.into())
}

/// Bytes that a pointer to a value reaches: of an instruction array all its addresses (`map_mem_size`).
fn mem_size(def: &MapDef) -> u32 {
    match def.map_type {
        MapType::InsnArray => def.max_entries.wrapping_mul(TARGET_SIZE),
        _ => def.value_size,
    }
}

/// Bounds of the value, and no special field touched in a way it does not allow (`check_map_access`).
pub(crate) fn check_map_access(
    env: &mut Env<'_>,
    r: Reg,
    off: i32,
    size: i32,
    zero_size_allowed: bool,
    src: AccessSrc,
) -> Check {
    let map = map_of(env.reg(r))?;
    let value_size = mem_size(&env.map(map).def);
    check_mem_region_access(env, r, off, size, value_size, zero_size_allowed)?;
    let Some(record) = env.map(map).record.clone() else { return Ok(()) };
    let reg = *env.reg(r);
    let from = reg.smin.wrapping_add(off as i64);
    let to = reg.umax.wrapping_add(off as i64 as u64).wrapping_add(size as i64 as u64);
    for field in &record.fields {
        let start = field.offset;
        if from < (start + field.size) as i64 && (start as u64) < to {
            check_field_access(env, &reg, field, off, size, src)?;
        }
    }
    Ok(())
}

fn check_field_access(
    env: &mut Env<'_>,
    reg: &RegState,
    field: &BtfField,
    off: i32,
    size: i32,
    src: AccessSrc,
) -> Check {
    let name = field.kind.name();
    let start = field.offset;
    let at = (off as i64 as u64).wrapping_add(reg.var_off.value);
    if !field.kind.intersects(FieldKinds::KPTR | FieldKinds::UPTR) {
        verbose!(env, "{name} cannot be accessed directly by load/store\n");
    } else if src != AccessSrc::Direct {
        verbose!(env, "{name} cannot be accessed indirectly by helper\n");
    } else if !reg.var_off.is_const() {
        verbose!(env, "{name} access cannot have variable offset\n");
    } else if start as u64 != at {
        verbose!(env, "{name} access misaligned expected={start} off={at}\n");
    } else if size != 8 {
        verbose!(env, "{name} access size must be BPF_DW\n");
    } else {
        return Ok(());
    }
    Err(Errno::EACCES.into())
}

/// Load from or store to a map value; `off` includes the register's fixed offset.
pub(super) fn access_map_value(
    env: &mut Env<'_>,
    insn_idx: u32,
    r: Reg,
    off: i32,
    size: Size,
    access: Access,
    value: Option<Reg>,
    is_ldsx: bool,
) -> Check {
    if let (Access::Write, Some(v)) = (access, value) {
        if is_pointer_value(env, env.reg(v)) {
            verbose!(env, "R{} leaks addr into map\n", v.0);
            return Err(Errno::EACCES.into());
        }
    }
    let bytes = size.bytes() as i32;
    check_map_access_type(env, r, off, bytes, access)?;
    check_map_access(env, r, off, bytes, false, AccessSrc::Direct)?;
    let reg = *env.reg(r);
    let map = map_of(&reg)?;
    let at = off.wrapping_add(reg.var_off.value as i32);
    if reg.var_off.is_const() {
        let record = env.map(map).record.as_ref();
        let kptr = record.and_then(|rec| rec.find(at as u32, FieldKinds::KPTR | FieldKinds::UPTR));
        if let Some(field) = kptr.copied() {
            return check_map_kptr_access(env, insn_idx, value, &field);
        }
    }
    let (Access::Read, Some(dst)) = (access, value) else { return Ok(()) };
    if env.map(map).def.map_type == MapType::InsnArray {
        return load_target(env, &reg, off, size, dst);
    }
    if reg.var_off.is_const() && is_known_contents(&env.map(map).def) {
        let val = direct_read(env, map, at, size, is_ldsx)?;
        let reg = env.reg_mut(dst);
        reg.ty = RegBase::Scalar.into();
        reg.mark_known(val);
    } else {
        mark_reg_unknown(env, dst);
    }
    Ok(())
}

/// The kernel explores the rows that the register names, and the program jumps to those behind the load's own offset.
const QUIRK_OTHER_ROW: &str = "jump-table-load-offset";

/// Load of an instruction's address from an instruction array.
fn load_target(env: &mut Env<'_>, reg: &RegState, off: i32, size: Size, dst: Reg) -> Check {
    if size != Size::Dw {
        verbose!(env, "Invalid read of {} bytes from insn_array\n", size.bytes());
        return Err(Errno::EACCES.into());
    }
    let mut to = *reg;
    // `off` includes what stands in the register.
    let further = off.wrapping_sub(reg.off);
    if env.kernel.features.jump_offset_counted {
        if env.kernel.features.pointer_offset_whole {
            to.moved_by(i64::from(further), false, &env.kernel.features);
            to.exchange(&env.kernel.features);
        } else {
            to.off = off;
        }
    } else if further != 0 {
        env.quirk = Some(QUIRK_OTHER_ROW);
    }
    to.ty = RegBase::Insn.into();
    *env.reg_mut(dst) = to;
    Ok(())
}

/// Nobody can write the map any more, and its type has values at fixed addresses (an arena, which has them too,
/// cannot be made read-only).
pub fn is_known_contents(def: &MapDef) -> bool {
    def.map_flags & MapDef::F_RDONLY_PROG != 0 && def.frozen && def.map_type == MapType::Array
}

/// Value of a load from a frozen map (`bpf_map_direct_read`).
pub fn direct_read(env: &Env<'_>, map: MapId, off: i32, size: Size, is_ldsx: bool) -> Check<u64> {
    let def = &env.map(map).def;
    if def.max_entries != 1 {
        return Err(Errno::ENOTSUPP.into());
    }
    if off as u32 >= def.value_size {
        return Err(Errno::EINVAL.into());
    }
    let mut raw = [0u8; 8];
    if let Some(init) = &def.initial {
        for (i, b) in raw.iter_mut().enumerate().take(size.bytes() as usize) {
            *b = init.get(off as usize + i).copied().unwrap_or(0);
        }
    }
    let v = u64::from_le_bytes(raw);
    Ok(match (size, is_ldsx) {
        (Size::B, true) => v as i8 as i64 as u64,
        (Size::H, true) => v as i16 as i64 as u64,
        (Size::W, true) => v as i32 as i64 as u64,
        _ => v,
    })
}

/// Load or store of a whole kptr or uptr field (`check_map_kptr_access`).
fn check_map_kptr_access(
    env: &mut Env<'_>,
    insn_idx: u32,
    value: Option<Reg>,
    field: &BtfField,
) -> Check {
    let raw = env.insns[insn_idx as usize];
    let is_uptr = field.kind == FieldKinds::UPTR;
    if raw.mode() != Mode::Mem {
        verbose!(env, "kptr in map can only be accessed using BPF_MEM instruction mode\n");
        return Err(Errno::EACCES.into());
    }
    let class = raw.class();
    let referenced = field.kind.intersects(FieldKinds::KPTR_REF | FieldKinds::KPTR_PERCPU);
    if class != Class::Ldx && referenced {
        verbose!(env, "store to referenced kptr disallowed\n");
        return Err(Errno::EACCES.into());
    }
    if class != Class::Ldx && is_uptr {
        verbose!(env, "store to uptr disallowed\n");
        return Err(Errno::EACCES.into());
    }
    let Some(target) = field.kptr() else {
        return Err(Stop::unsupported("kptr field without a target"));
    };
    match (class, value) {
        (Class::Ldx, Some(dst)) if is_uptr => {
            let size = env.btf(target.btf).and_then(|b| b.ty(target.btf_id)).map(|t| t.size());
            let id = env.new_id();
            let reg = env.reg_mut(dst);
            reg.mark_known_zero();
            reg.ty = RegType::with(RegBase::Mem, TypeFlags::PTR_MAYBE_NULL);
            reg.set_mem_size(size.unwrap_or(0));
            reg.id = id;
        }
        (Class::Ldx, Some(dst)) => {
            let flags = kptr_load_flags(env, field);
            let load = BtfLoad::Ptr { btf: target.btf, btf_id: target.btf_id, flags };
            load.mark(env, dst)?;
        }
        (Class::Stx, Some(src)) => {
            let reg = *env.reg(src);
            if register_is_null(&reg) {
                // Another scalar must not be taken for this one.
                if env.kernel.features.null_kptr_store_precise {
                    mark_chain_precision(env, src)?;
                }
            } else if map_kptr_match_type(env, field, &reg, src).is_err() {
                return Err(Errno::EACCES.into());
            }
        }
        (Class::St, _) if raw.imm != 0 => {
            verbose!(env, "BPF_ST imm must be 0 when storing to kptr at off={}\n", field.offset);
            return Err(Errno::EACCES.into());
        }
        (Class::St, _) => {}
        _ => {
            verbose!(env, "kptr in map can only be accessed using BPF_LDX/BPF_STX/BPF_ST\n");
            return Err(Errno::EACCES.into());
        }
    }
    Ok(())
}
