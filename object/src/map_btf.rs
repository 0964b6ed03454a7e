//! Whether the kernel creates a map with the key and value types its definition names
//! (`kernel/bpf/syscall.c`: `map_check_btf`, and the `map_check_btf` of each map type).
//!
//! Where it does not, libbpf creates the map without types, and the verifier sees no special fields in its values.
//! Not looked at: special fields themselves (a timer in a map type that has none), which belong to whoever knows them.

use bpfassay_spec::MapType;

use crate::btf::{Btf, BtfKind, Type};
use crate::model::MapDef;

/// What a map type wants of its key's type.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Key {
    /// Any, but there must be one.
    Any,
    /// Integer of 4 bytes; data sections have none.
    ArrayIndex,
    /// Integer of 4 bytes.
    Int32,
    Struct,
    /// No key.
    Void,
    /// Integer of 8 bytes, or inode and attach type.
    CgroupStorage,
    /// No types at all.
    Never,
}

fn key_rule(t: MapType) -> Key {
    use MapType as M;
    match t {
        M::Array | M::PercpuArray => Key::ArrayIndex,
        M::SkStorage | M::InodeStorage | M::TaskStorage | M::CgrpStorage => Key::Int32,
        M::LpmTrie => Key::Struct,
        M::BloomFilter => Key::Void,
        M::CgroupStorage | M::PercpuCgroupStorage => Key::CgroupStorage,
        M::HashOfMaps
        | M::ArrayOfMaps
        | M::StackTrace
        | M::Devmap
        | M::DevmapHash
        | M::PerfEventArray
        | M::CgroupArray => Key::Never,
        _ => Key::Any,
    }
}

fn is_int(t: Type<'_>, bytes: u32) -> bool {
    t.int().is_some_and(|i| i.offset == 0 && i.bits as u32 == bytes * 8)
}

/// `struct bpf_cgroup_storage_key`, or anything laid out like it.
fn is_cgroup_key(t: Type<'_>) -> bool {
    let members: Vec<_> = t.members().collect();
    let fits = |i: usize, bits: u32, bytes: u32| {
        members.get(i).is_some_and(|m| {
            let int = t.btf().skip_mods_and_typedefs(m.type_id);
            m.bit_offset == bits && m.bitfield_size == 0 && int.is_some_and(|t| is_int(t, bytes))
        })
    };
    t.kind() == BtfKind::Struct && members.len() == 2 && fits(0, 0, 8) && fits(1, 64, 4)
}

/// Type without qualifiers and typedefs whose size is the one wanted.
fn sized(btf: &Btf, id: u32, size: u32) -> Option<Type<'_>> {
    let t = btf.skip_mods_and_typedefs(id)?;
    (btf.size_of(t.id()) == Some(size)).then_some(t)
}

/// True if the kernel takes the definition's types.
pub(crate) fn is_taken(btf: &Btf, def: &MapDef) -> bool {
    let rule = key_rule(def.map_type);
    let Some(value) = sized(btf, def.btf_value_type_id, def.value_size) else { return false };
    if def.btf_key_type_id == 0 {
        return match rule {
            Key::Void => true,
            Key::ArrayIndex => {
                def.map_type == MapType::Array
                    && def.max_entries == 1
                    && value.kind() == BtfKind::Datasec
            }
            _ => false,
        };
    }
    let Some(key) = sized(btf, def.btf_key_type_id, def.key_size) else { return false };
    match rule {
        Key::Any => true,
        Key::ArrayIndex | Key::Int32 => is_int(key, 4),
        Key::Struct => key.kind() == BtfKind::Struct,
        Key::CgroupStorage => is_int(key, 8) || is_cgroup_key(key),
        Key::Void | Key::Never => false,
    }
}
