//! Special fields of a map's value, found when the map is created (`map_check_btf`).

use std::sync::Arc;

use bpfassay_object::btf::{Btf, BtfKind, Type};
use bpfassay_object::map_btf;
use bpfassay_object::model::MapDef;
use bpfassay_spec::map::{KeyRule, MapFields};
use bpfassay_spec::{MapInfo as MapRow, MapType};

use super::btf_fields::{check_targets, parse_fields, struct_metas, Kernel, Metas, Outcome};
use super::btf_record::{BtfRecord, FieldKinds};
use crate::config::Config;
use crate::domain::reg::BtfObj;
use crate::env::Env;
use crate::stop::Errno;

/// Fields of map values.
fn map_mask() -> FieldKinds {
    FieldKinds::SPIN_LOCK
        | FieldKinds::RES_SPIN_LOCK
        | FieldKinds::TIMER
        | FieldKinds::KPTR
        | FieldKinds::GRAPH_ROOT
        | FieldKinds::REFCOUNT
        | FieldKinds::WORKQUEUE
        | FieldKinds::UPTR
        | FieldKinds::TASK_WORK
}

/// Special fields of a map's value (`map_check_btf`); None if it has none.
/// An error means that the map cannot be created with its BTF; loaders then create it without.
pub fn map_record(env: &Env<'_>, def: &MapDef) -> Outcome<Option<Arc<BtfRecord>>> {
    let Some(btf) = env.btf(BtfObj::PROG).filter(|_| def.btf_value_type_id != 0) else {
        return Ok(None);
    };
    let kernel = Kernel {
        btfs: &env.btfs,
        config: &env.kernel.config,
        has_uptrs: env.kernel.features.uptr_fields,
        together: env.kernel.features.fields_together,
    };
    value_record(btf, &kernel, &env.struct_metas, def)
}

/// As [`map_record`], of a map whose object's BTF is `btf`, before there is a program.
pub fn map_record_of(
    config: &Config<'_>,
    btf: &Arc<Btf>,
    def: &MapDef,
) -> Result<Option<Arc<BtfRecord>>, Errno> {
    if def.btf_value_type_id == 0 {
        return Ok(None);
    }
    let own = [None, config.vmlinux.clone()].into_iter();
    let btfs: Vec<_> = own.chain(config.modules.iter().map(|(_, b)| Some(b.clone()))).collect();
    let has_uptrs = config.kernel.features.uptr_fields;
    let together = config.kernel.features.fields_together;
    let kernel = Kernel { btfs: &btfs, config: &config.kernel.config, has_uptrs, together };
    let metas = struct_metas(btf, &kernel)?;
    value_record(btf, &kernel, &metas, def)
}

fn value_record(
    btf: &Btf,
    kernel: &Kernel<'_>,
    metas: &Metas,
    def: &MapDef,
) -> Outcome<Option<Arc<BtfRecord>>> {
    let key = sized(btf, def.btf_key_type_id);
    if def.btf_key_type_id != 0 {
        if key.is_none_or(|(_, size)| size != def.key_size) {
            return Err(Errno::EINVAL);
        }
    } else if !allows_no_key(def.map_type) {
        return Err(Errno::EINVAL);
    }
    let Some((value, size)) = sized(btf, def.btf_value_type_id) else { return Err(Errno::EINVAL) };
    if size != def.value_size {
        return Err(Errno::EINVAL);
    }
    // A value that is wrong inside only has no usable fields; the map exists all the same.
    let record = if kernel.together {
        parse_fields(btf, value, map_mask(), size, kernel).unwrap_or(None)
    } else {
        fields_apart(btf, value, size, kernel)
    };
    // A tag that the kernel does not know is wrong, too.
    let record = record.filter(|r| kernel.has_uptrs || !r.has(FieldKinds::UPTR));
    if let Some(r) = &record {
        if def.map_flags & (MapDef::F_RDONLY_PROG | MapDef::F_WRONLY_PROG) != 0 {
            return Err(Errno::EACCES);
        }
        if r.fields.iter().any(|f| !map_may_hold(def.map_type, f.kind)) {
            return Err(Errno::EOPNOTSUPP);
        }
        check_targets(btf, r, metas)?;
    }
    check_map_types(def, key.map(|(t, _)| t), value)?;
    Ok(record.map(Arc::new))
}

/// The same where locks and timers are looked for apart from kptrs, of which one that is wrong spoils all, and the tag
/// `kptr` says that nobody holds a reference (6.1; its tag `kptr_ref` is gone).
fn fields_apart(btf: &Btf, value: Type<'_>, size: u32, kernel: &Kernel<'_>) -> Option<BtfRecord> {
    let others = FieldKinds::SPIN_LOCK | FieldKinds::TIMER;
    let pointers = FieldKinds::KPTR | FieldKinds::UPTR;
    let mut record = parse_fields(btf, value, others | pointers, size, kernel).unwrap_or(None);
    let known = |r: &BtfRecord| {
        let mut kptrs = r.fields.iter().filter(|f| f.kind.intersects(pointers));
        kptrs.all(|f| f.kind == FieldKinds::KPTR_REF)
    };
    if !record.as_ref().is_some_and(known) {
        record = parse_fields(btf, value, others, size, kernel).unwrap_or(None);
    }
    let mut record = record?;
    for f in record.fields.iter_mut().filter(|f| f.kind == FieldKinds::KPTR_REF) {
        f.kind = FieldKinds::KPTR_UNREF;
    }
    Some(record)
}

/// Type behind modifiers and its size (`btf_type_id_size`).
fn sized(btf: &Btf, id: u32) -> Option<(Type<'_>, u32)> {
    let t = btf.skip_mods_and_typedefs(id)?;
    Some((t, btf.size_of(t.id())?))
}

/// Map types with a check of their own, which may do without a key type.
fn allows_no_key(t: MapType) -> bool {
    MapRow::of(t).is_some_and(|row| row.key != KeyRule::Any)
}

/// Which map types may hold a field.
fn map_may_hold(t: MapType, kind: FieldKinds) -> bool {
    let class = if kind.intersects(FieldKinds::SPIN_LOCK | FieldKinds::RES_SPIN_LOCK) {
        MapFields::LOCK
    } else if kind.intersects(FieldKinds::KPTR | FieldKinds::REFCOUNT) {
        MapFields::KPTR
    } else if kind == FieldKinds::UPTR {
        MapFields::UPTR
    } else if kind.intersects(FieldKinds::GRAPH_ROOT) {
        MapFields::GRAPH
    } else {
        MapFields::ASYNC
    };
    MapRow::of(t).is_some_and(|row| row.fields.has(class))
}

fn is_int_of(t: Option<Type<'_>>, bytes: u32) -> bool {
    t.and_then(|t| t.int()).is_some_and(|i| i.offset == 0 && i.bits as u32 == 8 * bytes)
}

/// What a map type asks of key and value (`map_check_btf` of its operations).
fn check_map_types(def: &MapDef, key: Option<Type<'_>>, value: Type<'_>) -> Outcome {
    let keyless = def.btf_key_type_id == 0;
    let ok = match MapRow::of(def.map_type).map_or(KeyRule::Any, |row| row.key) {
        KeyRule::Index if keyless => {
            def.map_type == MapType::Array
                && def.max_entries == 1
                && value.kind() == BtfKind::Datasec
        }
        KeyRule::Index | KeyRule::Int4 => is_int_of(key, 4),
        KeyRule::Struct => key.is_some_and(|k| k.kind() == BtfKind::Struct),
        KeyRule::CgroupStorage => map_btf::is_cgroup_storage_key(key),
        KeyRule::Void => keyless,
        KeyRule::Never => return Err(Errno::ENOTSUPP),
        KeyRule::Any => true,
    };
    if ok {
        Ok(())
    } else {
        Err(Errno::EINVAL)
    }
}
