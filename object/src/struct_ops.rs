//! `.struct_ops` maps: kernel structs of function pointers filled with programs
//! (libbpf: `init_struct_ops_maps`, `bpf_object__collect_st_ops_relos`, `bpf_map__init_kern_struct_ops`).

use std::sync::Arc;

use bpfassay_spec::{MapType, ProgType};

use crate::btf::{essential_len, Btf, BtfKind};
use crate::elf::{sym, Elf, Section};
use crate::error::{LoadError, LoadErrorKind as K};
use crate::maps::{self, MapKind, MapSource, F_LINK};
use crate::model::MapDef;
use crate::open::{find_func, Func, Layout, SectionUse, INSN_LEN};
use crate::reloc::symbol_of;
use crate::target::{KernelTypes, Place};

/// The object's side of one struct_ops map.
#[derive(Clone, Debug)]
pub(crate) struct StructOps {
    /// The struct in the object's BTF.
    pub type_id: u32,
    /// Member index and function that fills it.
    pub members: Vec<(usize, usize)>,
}

/// Adds a map per variable of each `.struct_ops*` section.
pub(crate) fn collect(
    elf: &Elf<'_>,
    layout: &Layout,
    btf: Option<&Btf>,
    maps: &mut Vec<MapSource>,
) -> Result<(), LoadError> {
    for s in elf.sections.iter().filter(|s| layout.uses[s.index] == SectionUse::StructOps) {
        let fail = |what: String| LoadError::new(K::StructOps, what).in_section(s.index, &s.name);
        let Some(btf) = btf else { return Err(fail("needs BTF".to_string())) };
        let datasec = btf.find_by_name_kind(&s.name, BtfKind::Datasec).and_then(|id| btf.ty(id));
        let datasec = datasec.ok_or_else(|| fail("DATASEC not found".to_string()))?;
        let data = elf.data(s)?;
        for v in datasec.vars() {
            let name = btf.name(v.type_id);
            let t = btf
                .resolve(v.type_id)
                .filter(|t| t.kind() == BtfKind::Struct && !t.name().is_empty());
            let t = t.ok_or_else(|| fail(format!("'{name}' is not a named struct")))?;
            let end = (v.offset as usize).saturating_add(t.size() as usize);
            let bytes = data.get(v.offset as usize..end);
            let bytes =
                bytes.ok_or_else(|| fail(format!("'{name}' is beyond the section's end")))?;
            let mut def = MapDef::bare(&maps::kernel_name(name), name, MapType::StructOps);
            def.key_size = 4;
            def.value_size = t.size();
            def.max_entries = 1;
            def.btf_value_type_id = t.id();
            def.map_flags = if s.name.ends_with(".link") { F_LINK } else { 0 };
            maps.push(MapSource {
                kind: MapKind::StructOps,
                section: s.index,
                offset: v.offset as u64,
                size: t.size(),
                var: None,
                autocreate: !s.name.starts_with('?'),
                def,
                initial: Some(Arc::new(bytes.to_vec())),
                slots: Vec::new(),
                struct_ops: Some(StructOps { type_id: t.id(), members: Vec::new() }),
                refused: None,
            });
        }
    }
    Ok(())
}

/// Programs named by the initialisers.
pub(crate) fn relocate(
    elf: &Elf<'_>,
    s: &Section<'_>,
    btf: Option<&Btf>,
    funcs: &[Func],
    maps: &mut [MapSource],
) -> Result<(), LoadError> {
    let section = elf.section(s.index).unwrap_or(s);
    for (number, rel) in elf.rels(section)?.enumerate() {
        let symbol = symbol_of(elf, s, number, rel)?;
        let fail = |what: &str| {
            LoadError::new(K::StructOps, what)
                .in_section(s.index, &s.name)
                .at_relocation(number)
                .at_symbol(symbol.index, symbol.name())
        };
        let holds = |m: &&mut MapSource| {
            m.struct_ops.is_some()
                && m.section == s.info
                && rel.offset.checked_sub(m.offset).is_some_and(|d| d < m.def.value_size as u64)
        };
        let map = maps.iter_mut().find(holds).ok_or_else(|| fail("in no struct_ops map"))?;
        if symbol.shndx >= sym::SHN_LORESERVE {
            return Err(fail("unsupported non-static function"));
        }
        if symbol.value % INSN_LEN as u64 != 0 {
            return Err(fail("invalid target program offset"));
        }
        let bit = (rel.offset - map.offset) * 8;
        let (Some(btf), Some(ops)) = (btf, map.struct_ops.as_mut()) else {
            return Err(fail("needs BTF"));
        };
        let t = btf.ty(ops.type_id);
        let found =
            t.and_then(|t| t.members().enumerate().find(|(_, m)| m.bit_offset as u64 == bit));
        let (index, member) = found.ok_or_else(|| fail("no member at this place"))?;
        if btf.func_ptr_proto(member.type_id).is_none() {
            return Err(fail("cannot relocate a member that is no function pointer"));
        }
        let func = find_func(funcs, symbol.shndx, symbol.value as usize / INSN_LEN);
        let func = func.ok_or_else(|| fail("no program at the target"))?;
        if funcs[func].prog_type != Some(ProgType::StructOps) {
            return Err(fail("target is not a struct_ops program"));
        }
        ops.members.retain(|(m, _)| *m != index);
        ops.members.push((index, func));
    }
    Ok(())
}

/// Where in the kernel one program goes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Attachment {
    pub struct_name: String,
    pub type_id: u32,
    pub member: u32,
    pub place: Place,
}

/// The kernel's side of one map: its id, size, and the programs it takes.
#[derive(Debug)]
pub(crate) struct KernelSide {
    pub value_type_id: u32,
    pub value_size: u32,
    pub programs: Vec<(usize, Attachment)>,
}

/// Matches one map with the kernel's struct.  `Ok(Err(name))` if a type is not in an incomplete BTF.
pub(crate) fn match_kernel(
    map: &MapSource,
    ops: &StructOps,
    btf: &Btf,
    kernel: &KernelTypes<'_>,
) -> Result<Result<KernelSide, String>, LoadError> {
    let fail = |what: String| {
        LoadError::new(K::StructOps, format!("struct_ops map '{}': {what}", map.def.source_name))
    };
    let Some(local) = btf.ty(ops.type_id) else { return Err(fail("has no type".to_string())) };
    let full = local.name();
    let name = full.get(..essential_len(full.as_bytes())).unwrap_or(full);
    let wrapper_name = format!("bpf_struct_ops_{name}");
    let Some((place, wrapper)) = kernel.find(&wrapper_name, BtfKind::Struct) else {
        if kernel.are_unknown() {
            return Ok(Err(format!("struct {wrapper_name}")));
        }
        return Err(fail(format!("struct {wrapper_name} is not found in kernel BTF")));
    };
    let kernel_btf = wrapper.btf();
    let inner =
        kernel_btf.find_by_name_kind(name, BtfKind::Struct).and_then(|id| kernel_btf.ty(id));
    let inner = inner.ok_or_else(|| fail(format!("struct {name} is not found in kernel BTF")))?;
    if !wrapper.members().any(|m| m.type_id == inner.id()) {
        return Err(fail(format!("struct {name} data is not found in struct {wrapper_name}")));
    }
    let data = map.initial.as_deref().map_or(&[][..], |d| d);
    let mut side = KernelSide {
        value_type_id: wrapper.id(),
        value_size: wrapper.size(),
        programs: Vec::new(),
    };
    for (i, m) in local.members().enumerate() {
        let member = btf.str(m.name_off);
        let size = btf
            .size_of(m.type_id)
            .ok_or_else(|| fail(format!("cannot tell the size of {member}")))?;
        let program = ops.members.iter().find(|(index, _)| *index == i).map(|(_, f)| *f);
        let kernel_member =
            inner.members().enumerate().find(|(_, k)| kernel_btf.str(k.name_off) == member);
        let Some((index, k)) = kernel_member else {
            let start = m.byte_offset() as usize;
            let bytes = data.get(start..start.saturating_add(size as usize)).unwrap_or(&[]);
            if program.is_some() || bytes.iter().any(|b| *b != 0) {
                return Err(fail(format!("cannot find member {member} in kernel BTF")));
            }
            continue;
        };
        if m.bitfield_size != 0 || k.bitfield_size != 0 {
            return Err(fail(format!("bitfield {member} is not supported")));
        }
        let ours = btf.skip_mods_and_typedefs(m.type_id);
        let theirs = kernel_btf.skip_mods_and_typedefs(k.type_id);
        let (Some(ours), Some(theirs)) = (ours, theirs) else {
            return Err(fail(format!("cyclic type of {member}")));
        };
        if ours.kind() != theirs.kind() {
            return Err(fail(format!("unmatched type of member {member}")));
        }
        if ours.kind() == BtfKind::Ptr {
            let Some(f) = program else { continue };
            if kernel_btf.func_ptr_proto(k.type_id).is_none() {
                return Err(fail(format!("kernel member {member} is not a func ptr")));
            }
            side.programs.push((
                f,
                Attachment {
                    struct_name: name.to_string(),
                    type_id: inner.id(),
                    member: index as u32,
                    place: place.clone(),
                },
            ));
        } else if kernel_btf.size_of(theirs.id()) != Some(size) {
            return Err(fail(format!("size of member {member} differs in the kernel")));
        }
    }
    Ok(Ok(side))
}
