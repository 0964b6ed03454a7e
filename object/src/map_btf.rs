//! Whether the kernel creates a map with the key and value types its definition names
//! (`kernel/bpf/syscall.c`: `map_check_btf`, and the `map_check_btf` of each map type).
//!
//! Where it does not, libbpf creates the map without types, and the verifier sees no special fields in its values.
//! Not looked at: special fields themselves (a timer in a map type that has none), which belong to whoever knows them.

use bpfassay_spec::map::KeyRule;
use bpfassay_spec::{MapInfo, MapType};

use crate::btf::{Btf, BtfKind, Type};
use crate::model::MapDef;

fn is_int(t: Type<'_>, bytes: u32) -> bool {
    t.int().is_some_and(|i| i.offset == 0 && i.bits as u32 == bytes * 8)
}

/// A key type that cgroup storage takes: an integer of 8 bytes, or [`is_cgroup_key`].
pub fn is_cgroup_storage_key(key: Option<Type<'_>>) -> bool {
    key.is_some_and(|k| is_int(k, 8) || is_cgroup_key(k))
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
    let rule = MapInfo::of(def.map_type).map_or(KeyRule::Any, |row| row.key);
    let Some(value) = sized(btf, def.btf_value_type_id, def.value_size) else { return false };
    if def.btf_key_type_id == 0 {
        return match rule {
            KeyRule::Void => true,
            KeyRule::Index => {
                def.map_type == MapType::Array
                    && def.max_entries == 1
                    && value.kind() == BtfKind::Datasec
            }
            _ => false,
        };
    }
    let Some(key) = sized(btf, def.btf_key_type_id, def.key_size) else { return false };
    match rule {
        KeyRule::Any => true,
        KeyRule::Index | KeyRule::Int4 => is_int(key, 4),
        KeyRule::Struct => key.kind() == BtfKind::Struct,
        KeyRule::CgroupStorage => is_cgroup_storage_key(Some(key)),
        KeyRule::Void | KeyRule::Never => false,
    }
}
