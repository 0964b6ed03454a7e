//! Map definitions of before BTF: plain structs in a `maps` section, as aya's classic maps, iproute2 and old
//! versions of cilium/ebpf have them.
//!
//! All begin with the same five words: type, key size, value size, number of elements, flags.  What follows
//! (id, pinning, inner map) differs and has no bearing on what the verifier sees.

use std::sync::Arc;

use bpfassay_spec::MapType;

use crate::elf::{sym, Elf, Section};
use crate::error::{LoadError, LoadErrorKind as K};
use crate::loader::Refusals;
use crate::maps::{kernel_name, MapKind, MapSource};
use crate::model::MapDef;

/// Bytes of the words that every definition has; flags may be left out.
const WITHOUT_FLAGS: u64 = 16;
/// Most maps of one object.
const MAX_MAPS: usize = 1 << 16;

/// The maps of one section, a symbol each, ascending by offset.
pub(crate) fn collect(
    elf: &Elf<'_>,
    section: &Section<'_>,
    refusals: &mut Refusals,
    maps: &mut Vec<MapSource>,
) -> Result<(), LoadError> {
    let here = |s: &&crate::elf::Symbol<'_>| {
        s.shndx == section.index && matches!(s.kind, sym::OBJECT | sym::NOTYPE) && !s.unnamed
    };
    let mut symbols: Vec<_> = elf.symbols.iter().filter(here).collect();
    symbols.sort_by_key(|s| s.value);
    symbols.dedup_by_key(|s| s.value);
    if symbols.len() > MAX_MAPS {
        return Err(
            LoadError::new(K::TooLarge, "too many maps").in_section(section.index, &section.name)
        );
    }
    let data = section.data.unwrap_or(&[]);
    for (i, s) in symbols.iter().enumerate() {
        let end = symbols.get(i + 1).map_or(data.len() as u64, |next| next.value);
        let mut map = MapSource {
            kind: MapKind::User,
            section: section.index,
            offset: s.value,
            size: u32::try_from(end.saturating_sub(s.value)).unwrap_or(u32::MAX),
            var: None,
            autocreate: true,
            def: MapDef::bare(&kernel_name(s.name()), s.name(), MapType::Unspec),
            initial: None,
            slots: Vec::new(),
            struct_ops: None,
            refused: None,
        };
        let bytes = usize::try_from(s.value).ok().zip(usize::try_from(end).ok());
        let bytes = bytes.and_then(|(from, to)| data.get(from..to)).unwrap_or(&[]);
        if let Err(what) = define(&mut map.def, bytes) {
            let what = format!("map '{}': {what}", s.name());
            map.def.refused = Some(what.clone());
            let e = LoadError::new(K::Map, what).in_section(section.index, &section.name);
            map.refused = Some(refusals.put(e)?);
        }
        maps.push(map);
    }
    Ok(())
}

fn define(def: &mut MapDef, bytes: &[u8]) -> Result<(), String> {
    if (bytes.len() as u64) < WITHOUT_FLAGS {
        return Err(format!("definition of {} bytes is too short", bytes.len()));
    }
    let mut words =
        bytes.chunks_exact(4).filter_map(|c| Some(u32::from_le_bytes(c.try_into().ok()?)));
    let mut next = || words.next().unwrap_or(0);
    let map_type = next();
    def.map_type = MapType::from_number(map_type)
        .filter(|t| *t != MapType::Unspec)
        .ok_or_else(|| format!("unknown map type {map_type}"))?;
    (def.key_size, def.value_size, def.max_entries) = (next(), next(), next());
    def.map_flags = next();
    def.initial = None::<Arc<Vec<u8>>>;
    Ok(())
}
