//! Map definitions: BTF-defined ones in `.maps`, and the arrays libbpf makes of data sections
//! (libbpf: `bpf_object__init_user_btf_maps`, `parse_btf_map_def`, `bpf_object__init_internal_map`).

use std::sync::Arc;

use bpfassay_spec::MapType;

use crate::btf::{linkage, Btf, BtfKind, Member, Type, VarSecinfo};
use crate::elf::Elf;
use crate::error::{LoadError, LoadErrorKind as K};
use crate::externs::Extern;
use crate::legacy_maps;
use crate::loader::{Loader, Refusals};
use crate::model::MapDef;
use crate::open::{Layout, SectionUse, NAME_MAX};
use crate::struct_ops::StructOps;

/// `BPF_F_MMAPABLE`, `BPF_F_LINK`.
const F_MMAPABLE: u32 = 1 << 10;
pub(crate) const F_LINK: u32 = 1 << 13;

/// Where a map comes from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum MapKind {
    /// `.maps`.
    User,
    Data,
    Bss,
    Rodata,
    Percpu,
    Kconfig,
    StructOps,
}

impl MapKind {
    /// Holds variables whose values may be set before loading.
    pub fn is_settable(self) -> bool {
        matches!(self, MapKind::Data | MapKind::Bss | MapKind::Rodata)
    }

    /// Made by the loader from a section.
    pub fn is_internal(self) -> bool {
        self.is_settable() || matches!(self, MapKind::Kconfig | MapKind::Percpu)
    }
}

/// What a slot of a map of maps or programs starts with.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Slot {
    /// Index of the map.
    Map(usize),
    /// Name of the entry program.
    Program(String),
}

/// A map as the object defines it.
#[derive(Clone, Debug)]
pub(crate) struct MapSource {
    pub kind: MapKind,
    pub section: usize,
    /// Of the variable in its section.
    pub offset: u64,
    /// Bytes of the variable in its section.
    pub size: u32,
    /// Number of the variable in its DATASEC.
    pub var: Option<u32>,
    /// False for `SEC("?.struct_ops")`.
    pub autocreate: bool,
    pub def: MapDef,
    pub initial: Option<Arc<Vec<u8>>>,
    /// By slot number.
    pub slots: Vec<(u32, Slot)>,
    pub struct_ops: Option<StructOps>,
    /// Number of the refusal that whoever uses the map meets.
    pub refused: Option<usize>,
}

/// The first 15 bytes, as the kernel keeps them.
pub(crate) fn kernel_name(name: &str) -> String {
    let mut end = name.len().min(NAME_MAX);
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    name[..end].to_string()
}

/// `obj.rodata`: as much of the object's name as fits beside the section's (libbpf: `internal_map_name`).
fn section_map_name(object: &str, section: &str, is_percpu: bool) -> String {
    let suffix = section.len().clamp(7, NAME_MAX);
    let dotted = section.get(1..).is_some_and(|rest| rest.contains('.'));
    let prefix = if dotted || is_percpu { 0 } else { object.len().min(NAME_MAX - suffix) };
    let name: Vec<u8> = object.bytes().take(prefix).chain(section.bytes().take(suffix)).collect();
    let clean = |b: u8| if b.is_ascii_alphanumeric() || b == b'.' { b as char } else { '_' };
    name.into_iter().map(clean).collect()
}

/// Every map but the struct_ops ones, in libbpf's order.
pub(crate) fn collect(
    elf: &Elf<'_>,
    layout: &Layout,
    btf: Option<&Btf>,
    object: &str,
    externs: &[Extern],
    refusals: &mut Refusals,
) -> Result<Vec<MapSource>, LoadError> {
    let mut maps = Vec::new();
    for s in elf.sections.iter().filter(|s| layout.uses[s.index] == SectionUse::LegacyMaps) {
        legacy_maps::collect(elf, s, refusals, &mut maps)?;
    }
    if let (Some(section), Some(btf)) = (layout.maps, btf) {
        user_maps(elf, section, btf, refusals, &mut maps)?;
    }
    arena_data(elf, layout, &mut maps)?;
    for s in elf.sections.iter().skip(1) {
        let kind = match layout.uses[s.index] {
            SectionUse::Data => MapKind::Data,
            SectionUse::Rodata => MapKind::Rodata,
            SectionUse::Bss => MapKind::Bss,
            SectionUse::Percpu => MapKind::Percpu,
            _ => continue,
        };
        if s.size == 0 {
            continue;
        }
        let size = u32::try_from(s.size).map_err(|_| {
            LoadError::new(K::TooLarge, "data section of 4 GiB or more")
                .in_section(s.index, &s.name)
        })?;
        let data = s.data.unwrap_or(&[]).to_vec();
        maps.push(section_map(kind, object, &s.name, s.index, size, data, btf));
    }
    if let Some(size) = crate::externs::kconfig_size(externs) {
        maps.push(section_map(
            MapKind::Kconfig,
            object,
            ".kconfig",
            layout.symtab,
            size,
            Vec::new(),
            btf,
        ));
    }
    Ok(maps)
}

fn section_map(
    kind: MapKind,
    object: &str,
    section: &str,
    index: usize,
    size: u32,
    data: Vec<u8>,
    btf: Option<&Btf>,
) -> MapSource {
    let is_percpu = kind == MapKind::Percpu;
    let map_type = if is_percpu { MapType::PercpuArray } else { MapType::Array };
    let name = section_map_name(object, section, is_percpu);
    let mut def = MapDef::bare(&name, section, map_type);
    def.key_size = 4;
    def.value_size = size;
    def.max_entries = 1;
    def.frozen = matches!(kind, MapKind::Rodata | MapKind::Kconfig);
    def.map_flags = if def.frozen { MapDef::F_RDONLY_PROG } else { 0 };
    // The first type of that name, whatever its kind.
    let value = btf.and_then(|b| b.find_by_name(section).next());
    def.btf_value_type_id = value.map_or(0, Type::id);
    let exposed = value.is_some_and(|t| {
        let var = |id| t.btf().ty(id).filter(|v| v.kind() == BtfKind::Var);
        t.vars().any(|v| var(v.type_id).is_some_and(|v| v.linkage() != linkage::STATIC))
    });
    // Arrays of values by CPU cannot be mapped into memory.
    if exposed && !is_percpu {
        def.map_flags |= F_MMAPABLE;
    }
    MapSource {
        kind,
        section: index,
        offset: 0,
        size,
        var: None,
        autocreate: true,
        def,
        initial: Some(Arc::new(data)),
        slots: Vec::new(),
        struct_ops: None,
        refused: None,
    }
}

/// Initial contents of `__arena` globals go to the one arena map.
fn arena_data(elf: &Elf<'_>, layout: &Layout, maps: &mut [MapSource]) -> Result<(), LoadError> {
    const PAGE: u64 = 4096;
    let mut arenas = maps.iter_mut().filter(|m| m.def.map_type == MapType::Arena);
    let first = arenas.next();
    if let Some(second) = arenas.next() {
        let what = format!("map '{}': only one ARENA map is supported", second.def.source_name);
        return Err(LoadError::new(K::Map, what));
    }
    let Some(section) = layout.arena.and_then(|i| elf.section(i)) else { return Ok(()) };
    let fail = |k, what: &str| LoadError::new(k, what).in_section(section.index, &section.name);
    let map =
        first.ok_or_else(|| fail(K::Map, "global __arena variables need an ARENA map in .maps"))?;
    if section.size.div_ceil(PAGE) > map.def.max_entries as u64 {
        return Err(fail(K::Map, "the ARENA map is too small for the global __arena variables"));
    }
    map.initial = Some(Arc::new(elf.data(section)?.to_vec()));
    Ok(())
}

fn user_maps(
    elf: &Elf<'_>,
    section: usize,
    btf: &Btf,
    refusals: &mut Refusals,
    maps: &mut Vec<MapSource>,
) -> Result<(), LoadError> {
    let name = elf.section_name(section).to_string();
    let fail = |what: String| LoadError::new(K::Map, what).in_section(section, &name);
    let datasec = btf.own_types().find(|t| t.kind() == BtfKind::Datasec && t.name() == ".maps");
    let datasec = datasec.ok_or_else(|| fail("DATASEC '.maps' not found in BTF".to_string()))?;
    let data_len = elf.section(section).map_or(0, |s| s.size);
    for (i, v) in datasec.vars().enumerate() {
        let map_name = btf.name(v.type_id);
        let (def, refused) = match user_map(btf, i, &v, data_len, refusals.loader) {
            Ok(def) => (def, None),
            Err(what) => {
                let def = MapDef {
                    refused: Some(what.clone()),
                    ..MapDef::bare(&kernel_name(map_name), map_name, MapType::Unspec)
                };
                (def, Some(refusals.put(fail(what))?))
            }
        };
        maps.push(MapSource {
            kind: MapKind::User,
            section,
            offset: v.offset as u64,
            size: v.size,
            var: Some(i as u32),
            autocreate: true,
            def,
            initial: None,
            slots: Vec::new(),
            struct_ops: None,
            refused,
        });
    }
    Ok(())
}

/// The definition of the map that the `i`th variable of `.maps` is.
fn user_map(
    btf: &Btf,
    i: usize,
    v: &VarSecinfo,
    data_len: u64,
    loader: Loader,
) -> Result<MapDef, String> {
    let var = btf.ty(v.type_id).ok_or_else(|| format!("map #{i}: no such type"))?;
    let map_name = var.name();
    let bad = |what: &str| format!("map '{map_name}': {what}");
    if map_name.is_empty() {
        return Err(format!("map #{i}: empty name"));
    }
    if v.offset as u64 + v.size as u64 > data_len {
        return Err(bad("BTF data is corrupted"));
    }
    if var.kind() != BtfKind::Var {
        return Err(bad("is not a variable"));
    }
    if var.linkage() != linkage::GLOBAL {
        return Err(bad("unsupported linkage, only global maps are"));
    }
    let def_type =
        btf.skip_mods_and_typedefs(var.type_id()).filter(|t| t.kind() == BtfKind::Struct);
    let def_type = def_type.ok_or_else(|| bad("definition is not a struct"))?;
    if def_type.size() > v.size {
        return Err(bad("definition is larger than its variable"));
    }
    DefParser { btf, name: map_name.to_string(), is_inner: false, loader }.parse(def_type)
}

struct DefParser<'a> {
    btf: &'a Btf,
    name: String,
    is_inner: bool,
    loader: Loader,
}

impl DefParser<'_> {
    fn parse(&mut self, def: Type<'_>) -> Result<MapDef, String> {
        let mut out = MapDef::bare(&kernel_name(&self.name), &self.name, MapType::Unspec);
        let mut map_type = 0;
        let last = def.vlen().saturating_sub(1);
        for (i, m) in def.members().enumerate() {
            match self.btf.str(m.name_off) {
                "type" => {
                    map_type = self.int(&m)?;
                    out.map_type = MapType::from_number(map_type).unwrap_or(MapType::Unspec);
                }
                "max_entries" => out.max_entries = self.int(&m)?,
                "map_flags" => out.map_flags = self.int(&m)?,
                "numa_node" => out.numa_node = self.int(&m)?,
                "key_size" => self.size("key", &mut out.key_size, self.int(&m)?)?,
                "value_size" => self.size("value", &mut out.value_size, self.int(&m)?)?,
                "key" => {
                    let (id, size) = self.pointee("key", &m)?;
                    self.size("key", &mut out.key_size, size)?;
                    out.btf_key_type_id = id;
                }
                "value" => {
                    let (id, size) = self.pointee("value", &m)?;
                    self.size("value", &mut out.value_size, size)?;
                    out.btf_value_type_id = id;
                }
                "values" if self.loader.takes_no_inner_maps() => {}
                "values" => self.values(&m, i == last, &mut out)?,
                "pinning" => {
                    if self.is_inner {
                        return Err(self.say("inner map can't be pinned"));
                    }
                    // Pinning itself has no bearing on what the verifier sees.
                    let v = self.int(&m)?;
                    if v > 1 && !self.loader.takes_any_pinning() {
                        return Err(self.say(&format!("invalid pinning value {v}")));
                    }
                }
                "map_extra" => out.map_extra = self.long(&m)?,
                _ if self.loader.skips_unknown_map_fields() => {}
                other => return Err(self.say(&format!("unknown field '{other}'"))),
            }
        }
        match (map_type, out.map_type) {
            (0, _) => Err(self.say("map type isn't specified")),
            (n, MapType::Unspec) => Err(self.say(&format!("unknown map type {n}"))),
            _ => {
                if matches!(out.map_type, MapType::Ringbuf | MapType::UserRingbuf) {
                    out.max_entries = ringbuf_size(out.max_entries);
                }
                Ok(out)
            }
        }
    }

    fn say(&self, what: &str) -> String {
        format!("map '{}': {what}", self.name)
    }

    /// `__uint(name, value)`: pointer to an array whose length is the value.
    fn int(&self, m: &Member) -> Result<u32, String> {
        let ptr = self.btf.skip_mods_and_typedefs(m.type_id).filter(|t| t.kind() == BtfKind::Ptr);
        let array = ptr.and_then(Type::target).and_then(Type::array);
        array.map(|a| a.nelems).ok_or_else(|| {
            self.say(&format!("attribute '{}' is malformed", self.btf.str(m.name_off)))
        })
    }

    /// `__ulong(name, value)`: an enum with one value; or as [`DefParser::int`].
    fn long(&self, m: &Member) -> Result<u64, String> {
        let t = self.btf.skip_mods_and_typedefs(m.type_id);
        match t {
            Some(t) if t.kind().is_any_enum() => {
                let mut values = t.enumerators();
                match (values.next(), values.next()) {
                    // libbpf widens a 32-bit value as the signed number it is stored as.
                    (Some(e), None) if t.kind() == BtfKind::Enum => {
                        Ok(e.value as i32 as i64 as u64)
                    }
                    (Some(e), None) => Ok(e.value as u64),
                    _ => Err(self.say("invalid __ulong")),
                }
            }
            _ => self.int(m).map(u64::from),
        }
    }

    /// `__type(key, T)`: pointer to the type; its id and size.
    fn pointee(&self, what: &str, m: &Member) -> Result<(u32, u32), String> {
        let ptr = self.btf.ty(m.type_id).filter(|t| t.kind() == BtfKind::Ptr);
        let id = ptr.ok_or_else(|| self.say(&format!("{what} spec is not PTR")))?.type_id();
        let size = self.btf.size_of(id);
        Ok((
            id,
            size.ok_or_else(|| self.say(&format!("can't determine {what} size for type [{id}]")))?,
        ))
    }

    fn size(&self, what: &str, field: &mut u32, size: u32) -> Result<(), String> {
        if *field != 0 && *field != size {
            return Err(self.say(&format!("conflicting {what} size {field} != {size}")));
        }
        *field = size;
        Ok(())
    }

    /// `__array(values, T)`: inner map template, or program prototype.
    fn values(&self, m: &Member, is_last: bool, out: &mut MapDef) -> Result<(), String> {
        if self.is_inner {
            return Err(self.say("multi-level inner maps not supported"));
        }
        if !is_last {
            return Err(self.say("'values' member should be last"));
        }
        let of_maps = matches!(out.map_type, MapType::ArrayOfMaps | MapType::HashOfMaps);
        if !of_maps && out.map_type != MapType::ProgArray {
            return Err(self.say("should be map-in-map or prog-array"));
        }
        if out.value_size != 0 && out.value_size != 4 {
            return Err(self.say(&format!("conflicting value size {} != 4", out.value_size)));
        }
        out.value_size = 4;
        let array = self.btf.ty(m.type_id).and_then(Type::array).filter(|a| a.nelems == 0);
        let elem = array.ok_or_else(|| self.say("'values' is not a zero-sized array"))?.elem;
        let target = self.btf.pointee(elem).ok_or_else(|| self.say("'values' are not pointers"))?;
        match (of_maps, target.kind()) {
            (false, BtfKind::FuncProto) => Ok(()),
            (true, BtfKind::Struct) => {
                let mut inner = DefParser {
                    btf: self.btf,
                    name: format!("{}.inner", self.name),
                    is_inner: true,
                    loader: self.loader,
                };
                out.inner = Some(Box::new(inner.parse(target)?));
                Ok(())
            }
            (_, kind) => {
                Err(self.say(&format!("'values' are of unexpected kind {}", kind.kernel_name())))
            }
        }
    }
}

/// The next power-of-two number of pages (libbpf: `adjust_ringbuf_sz`).
pub(crate) fn ringbuf_size(size: u32) -> u32 {
    const PAGE: u32 = 4096;
    if size == 0 || (size.is_multiple_of(PAGE) && (size / PAGE).is_power_of_two()) {
        return size;
    }
    (0..20).map(|shift| PAGE << shift).find(|n| *n > size).unwrap_or(size)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn section_map_names() {
        // From the comment in libbpf's internal_map_name and from what bpftool shows.
        assert_eq!(section_map_name("my_object_name", ".rodata", false), "my_objec.rodata");
        assert_eq!(section_map_name("my_object_name", ".bss", false), "my_objec.bss");
        assert_eq!(section_map_name("my_object_name", ".kconfig", false), "my_obje.kconfig");
        assert_eq!(
            section_map_name("my_object_name", ".rodata.abracadabra", false),
            ".rodata.abracad"
        );
        assert_eq!(section_map_name("x", ".data", false), "x.data");
    }

    #[test]
    fn ring_buffers_are_whole_powers_of_two() {
        for (from, to) in
            [(0, 0), (1, 4096), (4096, 4096), (4097, 8192), (12288, 16384), (u32::MAX, u32::MAX)]
        {
            assert_eq!(ringbuf_size(from), to);
        }
    }
}
