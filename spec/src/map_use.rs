//! What programs, the verifier and loaders may do with a map of each type.
//!
//! Mirrors `check_map_func_compatibility`, `check_map_prog_compatibility` and each type's `bpf_map_ops`.
//! Who may create a map is [`crate::map`]'s.  Rows come from `data/map_uses.toml`.

use crate::kernel::Kernel;
use crate::release::Span;
use crate::uapi::MapType;

/// What a lookup returns.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MapLookup {
    Value,
    /// A socket, with a reference.
    Socket,
    XdpSock,
}

/// What a map allocates when it is made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MapMemory {
    /// A pointer an entry.
    Pointers,
    Array,
    PercpuArray,
    /// Buckets, and every element unless BPF_F_NO_PREALLOC.
    Hash,
    PercpuHash,
    /// Buckets alone.
    Buckets,
    /// Half the buckets of a hash, and every trace.
    Traces,
    /// Values and one more.
    Queue,
    /// As many bytes as entries.
    Bytes,
    /// Next to nothing.
    Nothing,
}

/// A map type.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MapUse {
    pub map_type: MapType,
    /// Kernel struct that loads through a map pointer see (`map_btf_id`); None: there are no such loads.
    pub kernel_struct: Option<&'static str>,
    pub lookup: MapLookup,
    pub memory: MapMemory,
    /// The only helpers that take it; None for any that takes maps.
    pub(crate) helpers: Option<&'static [u16]>,
    /// Sleepable programs may use it.
    pub sleepable: bool,
    /// `bpf_for_each_map_elem` takes it (`map_for_each_callback`).
    pub walk: bool,
    /// A lookup with a constant key in range cannot fail (`can_elide_value_nullness`).
    pub never_null: bool,
    /// Holds sockets, which only some programs may put in or take out.
    pub sockets: bool,
    /// Once created it is read-only to programs (`dev_map_init_map`).
    pub made_rdonly: bool,
    /// Elements have no key.
    pub keyless: bool,
    /// Memory without elements: neither key nor value has a size.
    pub no_elements: bool,
    /// Has a value for each CPU; system calls hand them over all at once.
    pub percpu: bool,
    /// A system call can walk its keys and read each value.
    pub listed: bool,
    /// libbpf creates it without types.
    pub no_btf: bool,
    /// The kernel creates it with `max_entries` 0.
    pub sizeless: bool,
    pub(crate) span: Span,
}

impl MapType {
    /// What loaders and engines know whatever the kernel; all false for `unspec`.
    pub fn uses(self) -> &'static MapUse {
        static NONE: MapUse = MapUse {
            map_type: MapType::Unspec,
            kernel_struct: None,
            lookup: MapLookup::Value,
            memory: MapMemory::Nothing,
            helpers: None,
            sleepable: false,
            walk: false,
            never_null: false,
            sockets: false,
            made_rdonly: false,
            keyless: false,
            no_elements: false,
            percpu: false,
            listed: false,
            no_btf: false,
            sizeless: true,
            span: Span::ALWAYS,
        };
        let at = (self.number() as usize).wrapping_sub(1);
        crate::generated::map_uses::MAP_USES.get(at).unwrap_or(&NONE)
    }
}

impl Kernel {
    /// The row of a map type that this kernel's release has.
    pub fn map_use(&self, map_type: MapType) -> Option<&'static MapUse> {
        self.tables.maps.get(map_type.number() as usize).copied().flatten()
    }

    /// Whether a helper takes maps of this type, by the map's view and by the helper's
    /// (`check_map_func_compatibility`).
    pub fn helper_takes_map(&self, helper: i32, map_type: MapType) -> bool {
        let row = usize::try_from(helper).ok().and_then(|i| self.tables.helpers.get(i));
        row.is_some_and(|r| r.maps >> map_type.number() & 1 != 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generated::map_uses::MAP_USES;

    #[test]
    fn every_map_type_has_a_row() {
        let numbers: Vec<u32> = MAP_USES.iter().map(|row| row.map_type.number()).collect();
        assert!(numbers.is_sorted_by(|a, b| a < b), "{numbers:?}");
        assert_eq!(MAP_USES.len() + 1, MapType::ALL.len());
    }
}
