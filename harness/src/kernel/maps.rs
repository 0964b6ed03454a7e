//! Creates the maps a program refers to, as libbpf does (`bpf_object__create_map`).

use std::collections::btree_map::{BTreeMap, Entry};
use std::os::fd::{AsRawFd, OwnedFd};

use bpfassay_object::model::{MapDef, Program};
use bpfassay_spec::MapType;

use super::{attr, sys, KernelError};

/// `BPF_PSEUDO_MAP_FD` and `BPF_PSEUDO_MAP_VALUE`: sources of LD_IMM64 that name a map.
pub const PSEUDO_MAP_FD: u8 = 1;
pub const PSEUDO_MAP_VALUE: u8 = 2;

/// A created map; everything goes on drop.
#[derive(Debug)]
pub struct CreatedMap {
    pub fd: OwnedFd,
    _arena: Option<sys::ArenaMapping>,
}

/// Maps by index into [`Program::maps`].
pub type CreatedMaps = BTreeMap<usize, CreatedMap>;

/// Creates the maps the instructions name, those left out that `out` has.
pub fn create_used(
    program: &Program,
    btf_fd: Option<&OwnedFd>,
    out: &mut CreatedMaps,
) -> Result<(), KernelError> {
    let mut slots = program.insns.iter();
    while let Some(insn) = slots.next() {
        if !insn.is_ld_imm64() {
            continue;
        }
        slots.next();
        if insn.src != PSEUDO_MAP_FD && insn.src != PSEUDO_MAP_VALUE {
            continue;
        }
        let index = usize::try_from(insn.imm).unwrap_or(usize::MAX);
        create_one(program, index, btf_fd, out)?;
    }
    Ok(())
}

/// Creates one map, if `out` lacks it.
pub fn create_one(
    program: &Program,
    index: usize,
    btf_fd: Option<&OwnedFd>,
    out: &mut CreatedMaps,
) -> Result<(), KernelError> {
    let def = program.maps.get(index).ok_or_else(|| no_map(index))?;
    if let Entry::Vacant(slot) = out.entry(index) {
        slot.insert(create(def, btf_fd)?);
    }
    Ok(())
}

pub fn no_map(index: usize) -> KernelError {
    KernelError::Program(format!("no map with index {index}"))
}

fn refused(def: &MapDef, errno: i32) -> KernelError {
    match errno {
        libc::EPERM => KernelError::NotPermitted,
        libc::ENOSYS => KernelError::Unavailable,
        _ => KernelError::Map { name: def.name.clone(), errno },
    }
}

fn create(def: &MapDef, btf_fd: Option<&OwnedFd>) -> Result<CreatedMap, KernelError> {
    let inner = match &def.inner {
        Some(inner) => Some(create(inner, btf_fd)?),
        None => None,
    };
    let mut a = attr::MapCreate {
        map_type: def.map_type.number(),
        key_size: def.key_size,
        value_size: def.value_size,
        max_entries: max_entries(def),
        map_flags: def.map_flags,
        inner_map_fd: inner.as_ref().map_or(0, |m| m.fd.as_raw_fd() as u32),
        map_name: attr_name(&def.name),
        numa_node: def.numa_node,
        map_extra: def.map_extra,
        btf_vmlinux_value_type_id: def.btf_vmlinux_value_type_id,
        ..Default::default()
    };
    if let (Some(fd), false) = (btf_fd, def.map_type.uses().no_btf) {
        a.btf_fd = fd.as_raw_fd() as u32;
        a.btf_key_type_id = def.btf_key_type_id;
        a.btf_value_type_id =
            if def.map_type == MapType::StructOps { 0 } else { def.btf_value_type_id };
    }
    let mut created = sys::map_create(&mut a);
    if created.is_err() && (a.btf_key_type_id != 0 || a.btf_value_type_id != 0) {
        (a.btf_fd, a.btf_key_type_id, a.btf_value_type_id) = (0, 0, 0);
        created = sys::map_create(&mut a);
    }
    let fd = created.map_err(|e| refused(def, e))?;
    let arena = match def.map_type {
        MapType::Arena => {
            let len = def.max_entries as usize * sys::page_size() as usize;
            let mut mapping = sys::ArenaMapping::new(fd.as_raw_fd(), len, def.map_extra)
                .map_err(|e| refused(def, e))?;
            if def.initial.as_ref().is_some_and(|bytes| !mapping.fill(bytes)) {
                return Err(refused(def, libc::E2BIG));
            }
            Some(mapping)
        }
        _ => None,
    };
    fill(def, &fd).map_err(|e| refused(def, e))?;
    Ok(CreatedMap { fd, _arena: arena })
}

/// Initial contents of global data, and the freeze that makes them known to the verifier.
fn fill(def: &MapDef, fd: &OwnedFd) -> Result<(), i32> {
    let map_fd = fd.as_raw_fd() as u32;
    if let (Some(initial), MapType::Array) = (&def.initial, def.map_type) {
        // The kernel reads `value_size` bytes.
        let mut value = initial.as_ref().clone();
        value.resize(def.value_size as usize, 0);
        sys::map_update(map_fd, &0u32.to_ne_bytes(), &value, 0)?;
    }
    if def.frozen {
        sys::map_freeze(map_fd)?;
    }
    Ok(())
}

/// Sizes libbpf sets on its own: one perf buffer per CPU, ring buffers of whole power-of-two pages.
fn max_entries(def: &MapDef) -> u32 {
    match def.map_type {
        MapType::PerfEventArray if def.max_entries == 0 => sys::possible_cpus(),
        MapType::Ringbuf | MapType::UserRingbuf if def.max_entries != 0 => {
            let page = sys::page_size();
            let pages = def.max_entries.div_ceil(page).checked_next_power_of_two();
            pages.and_then(|p| p.checked_mul(page)).unwrap_or(def.max_entries)
        }
        _ => def.max_entries,
    }
}

/// The first 15 bytes, zero-terminated.
pub fn attr_name(name: &str) -> [u8; attr::OBJ_NAME_LEN] {
    let mut out = [0; attr::OBJ_NAME_LEN];
    for (to, from) in out.iter_mut().take(attr::OBJ_NAME_LEN - 1).zip(name.bytes()) {
        *to = from;
    }
    out
}
