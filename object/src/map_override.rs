//! What an application sets of a map between opening and loading (libbpf: `bpf_map__set_max_entries` and its like).

use bpfassay_spec::MapType;

use crate::error::{LoadError, LoadErrorKind as K};
use crate::maps::{ringbuf_size, MapKind};
use crate::model::MapDef;
use crate::open::Opened;

/// Attributes to set; None leaves the object's own.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct MapOverride {
    pub key_size: Option<u32>,
    pub value_size: Option<u32>,
    pub max_entries: Option<u32>,
    /// `BPF_F_…`.
    pub map_flags: Option<u32>,
    pub map_extra: Option<u64>,
    pub numa_node: Option<u32>,
    /// Create it, or not, whatever the object says.
    pub autocreate: Option<bool>,
    /// Name of the map that is the template of a map of maps.
    pub inner: Option<String>,
}

impl MapOverride {
    /// Names that [`MapOverride::set`] knows.
    pub const NAMES: [&'static str; 8] = [
        "max_entries",
        "key_size",
        "value_size",
        "map_flags",
        "map_extra",
        "numa_node",
        "autocreate",
        "inner",
    ];

    /// Sets one attribute from text: numbers decimal or with `0x`, `autocreate` true or false, `inner` a map's name.
    ///
    /// # Errors
    /// An attribute that is not in [`MapOverride::NAMES`], or a value that does not fit it.
    pub fn set(&mut self, name: &str, value: &str) -> Result<(), String> {
        let number = || {
            let parsed = match value.strip_prefix("0x") {
                Some(hex) => u64::from_str_radix(hex, 16),
                None => value.parse(),
            };
            parsed.map_err(|_| format!("`{name}` is a number, not `{value}`"))
        };
        let short = || {
            number().and_then(|n| {
                u32::try_from(n).map_err(|_| format!("`{name}` is at most 4294967295, not {n}"))
            })
        };
        match name {
            "key_size" => self.key_size = Some(short()?),
            "value_size" => self.value_size = Some(short()?),
            "max_entries" => self.max_entries = Some(short()?),
            "map_flags" => self.map_flags = Some(short()?),
            "map_extra" => self.map_extra = Some(number()?),
            "numa_node" => self.numa_node = Some(short()?),
            "autocreate" => {
                let word = value
                    .parse()
                    .map_err(|_| format!("`autocreate` is true or false, not `{value}`"));
                self.autocreate = Some(word?);
            }
            "inner" => self.inner = Some(value.to_string()),
            _ => {
                let known = MapOverride::NAMES.join(", ");
                return Err(format!("no attribute `{name}`; there are {known}"));
            }
        }
        Ok(())
    }
}

impl Opened {
    /// Sets attributes of every map called `name` (the C variable, or the section of global data), as an application
    /// would before loading.  False if there is none.
    ///
    /// # Errors
    /// An inner map that the object lacks or that is a map of maps itself, or an inner map for a map that takes none.
    pub fn override_map(&mut self, name: &str, to: &MapOverride) -> Result<bool, LoadError> {
        let fail = |what: String| LoadError::new(K::Map, format!("map '{name}': {what}"));
        let inner = match &to.inner {
            Some(inner) => {
                let found = self
                    .maps
                    .iter()
                    .find(|m| m.kind == MapKind::User && m.def.source_name == *inner);
                let found =
                    found.ok_or_else(|| fail(format!("no map '{inner}' to be its inner map")))?;
                Some(MapDef { source_name: format!("{name}.inner"), ..found.def.clone() })
            }
            None => None,
        };
        let mut any = false;
        for map in self.maps.iter_mut().filter(|m| m.def.source_name == name) {
            any = true;
            let def = &mut map.def;
            let of_maps = matches!(def.map_type, MapType::ArrayOfMaps | MapType::HashOfMaps);
            if let Some(inner) = &inner {
                if !of_maps {
                    return Err(fail(format!("a map of type {} has no inner map", def.map_type)));
                }
                def.inner = Some(Box::new(inner.clone()));
                def.value_size = 4;
            }
            def.key_size = to.key_size.unwrap_or(def.key_size);
            def.value_size = to.value_size.unwrap_or(def.value_size);
            def.max_entries = to.max_entries.unwrap_or(def.max_entries);
            def.map_flags = to.map_flags.unwrap_or(def.map_flags);
            def.map_extra = to.map_extra.unwrap_or(def.map_extra);
            def.numa_node = to.numa_node.unwrap_or(def.numa_node);
            if matches!(def.map_type, MapType::Ringbuf | MapType::UserRingbuf) {
                def.max_entries = ringbuf_size(def.max_entries);
            }
            map.autocreate = to.autocreate.unwrap_or(map.autocreate);
        }
        Ok(any)
    }
}
