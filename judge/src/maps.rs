//! Whether the kernel makes an object's maps, as libbpf asks for them (`bpf_object__create_maps`, `BPF_MAP_CREATE`).
//!
//! The rules are rows of `spec`; what is in a value's BTF is the verifier's `map_record_of`.  A size that the definition
//! leaves 0 is set by most applications before they load, so it is no refusal but a warning with the errno.  Memory is
//! no rule: what a map takes is said where it is much.

use std::sync::Arc;

use bpfassay_object::model::MapDef;
use bpfassay_object::Object;
use bpfassay_spec::map::KeyRule;
use bpfassay_spec::map_use::MapMemory;
use bpfassay_spec::{errno, MapInfo, MapSpec, MapTopic, MapType};
use bpfassay_verifier::check::btf_record::{BtfRecord, FieldKinds};
use bpfassay_verifier::map_record_of;
use serde::Serialize;

use crate::slots;
use crate::target::Target;

/// `EINVAL`, `EBADF`, `ENOTSUPP`.
pub(crate) const EINVAL: i32 = 22;
pub(crate) const EBADF: i32 = 9;
const ENOTSUPP: i32 = 524;
/// `BPF_F_NUMA_NODE`, `BPF_F_MMAPABLE`, `BPF_F_NO_PREALLOC`.
const NUMA_NODE: u32 = 1 << 2;
const MMAPABLE: u32 = 1 << 10;
const NO_PREALLOC: u32 = 1 << 0;
/// Memory of a map that is worth a word.
const MUCH_MEMORY: u64 = 1 << 30;

/// What becomes of a map.
#[derive(Serialize, Clone, Copy, PartialEq, Eq, Debug)]
#[serde(rename_all = "lowercase")]
pub enum MapVerdict {
    Accepted,
    /// The kernel refuses it, or what libbpf does with it; the object does not load.
    Rejected,
    /// The kernel refuses it as it stands, because the definition leaves a size 0 or an inner map out; programs are
    /// judged as if the application had set it.
    Unset,
    /// What it depends on is not known.
    Unsupported,
}

impl MapVerdict {
    pub fn as_str(self) -> &'static str {
        match self {
            MapVerdict::Accepted => "accepted",
            MapVerdict::Rejected => "rejected",
            MapVerdict::Unset => "unset",
            MapVerdict::Unsupported => "unsupported",
        }
    }
}

/// One map of an object, as its definition says.
#[derive(Serialize, Clone, PartialEq, Eq, Debug)]
pub struct MapReport {
    /// The C variable, or the section of global data.
    pub name: String,
    #[serde(rename = "type")]
    pub map_type: &'static str,
    pub key_size: u32,
    pub value_size: u32,
    pub max_entries: u32,
    /// `BPF_F_…`.
    pub flags: u32,
    pub verdict: MapVerdict,
    /// Positive kernel error number, for `rejected` and `unset`.
    pub errno: Option<i32>,
    /// The errno's name and what is wrong; for `accepted`, what a person should know.
    pub message: Option<String>,
    /// Stable code of the message.
    pub code: Option<&'static str>,
}

/// Why a map is not made.
#[derive(Clone, Debug)]
pub(crate) struct Fault {
    pub errno: i32,
    pub words: String,
    pub code: &'static str,
}

impl Fault {
    pub fn new(errno: i32, code: &'static str, words: impl Into<String>) -> Fault {
        Fault { errno, words: words.into(), code }
    }

    fn message(&self) -> String {
        format!("{}: {}", errno::name(self.errno), self.words)
    }
}

/// A map that is made: with or without types, and the special fields of its values.
#[derive(Clone, Debug)]
pub(crate) struct Made {
    pub def: MapDef,
    pub record: Option<Arc<BtfRecord>>,
}

/// Judges every map that libbpf would create, in its order.
pub fn judge_maps(object: &Object, target: &Target) -> Vec<MapReport> {
    let maker = Maker { object, target };
    let made: Vec<Result<Made, Fault>> =
        object.maps.iter().map(|def| maker.make(&assumed(def).0)).collect();
    let indices = object.maps.iter().enumerate().filter(|(_, def)| def.autocreate);
    indices.map(|(i, def)| maker.report(i, def, &made)).collect()
}

struct Maker<'a> {
    object: &'a Object,
    target: &'a Target,
}

impl Maker<'_> {
    fn report(&self, index: usize, def: &MapDef, made: &[Result<Made, Fault>]) -> MapReport {
        let raw = def.as_defined();
        let report = |verdict, errno, message, code| MapReport {
            name: def.source_name.clone(),
            map_type: def.map_type.name(),
            key_size: raw.key_size,
            value_size: raw.value_size,
            max_entries: raw.max_entries,
            flags: raw.map_flags,
            verdict,
            errno,
            message,
            code,
        };
        if let Some(why) = &def.refused {
            return report(MapVerdict::Unsupported, None, Some(why.clone()), Some("load-map"));
        }
        let refused = |f: &Fault| {
            report(MapVerdict::Rejected, Some(f.errno), Some(f.message()), Some(f.code))
        };
        if raw.map_type == MapType::StructOps && raw.btf_vmlinux_value_type_id == 0 {
            let what = "the kernel's struct for its value is not known".to_string();
            return report(MapVerdict::Unsupported, None, Some(what), Some("map-not-judged"));
        }
        let as_assumed = match made.get(index) {
            Some(Ok(m)) => m,
            Some(Err(f)) => return refused(f),
            None => return report(MapVerdict::Unsupported, None, None, None),
        };
        let filled = slots::fill(self.object, self.target, index, as_assumed, made);
        if let Err(slots::Stop::Refused(f)) = &filled {
            return refused(f);
        }
        let left_out = match self.make(&raw) {
            Err(f) => Some(f),
            Ok(_) if raw.map_type.is_of_maps() && raw.inner.is_none() => {
                Some(Fault::new(EINVAL, "map-inner", "it has no inner map"))
            }
            Ok(_) => None,
        };
        let left_out = left_out.or_else(|| self.inner_left_out(&raw));
        if let Some(f) = left_out {
            let assumed = assumed(def).1;
            let with = match assumed.is_empty() {
                true => String::new(),
                false => format!("; judged with {}", assumed.join(" and ")),
            };
            let message =
                format!("{}, unless the application sets it before loading{with}", f.message());
            return report(MapVerdict::Unset, Some(f.errno), Some(message), Some("map-unset"));
        }
        if let Err(slots::Stop::Unset(f)) = filled {
            return report(MapVerdict::Unset, Some(f.errno), Some(f.message()), Some("map-unset"));
        }
        let memory = memory(&as_assumed.def, self.target.possible_cpus);
        if memory >= MUCH_MEMORY {
            let gib = memory as f64 / f64::from(1u32 << 30);
            let words = format!(
                "takes about {gib:.1} GiB of kernel memory: ENOMEM where the machine lacks it"
            );
            return report(MapVerdict::Accepted, None, Some(words), Some("map-memory"));
        }
        match filled {
            Ok(Some(note)) => report(MapVerdict::Accepted, None, Some(note), Some("map-slot")),
            _ => report(MapVerdict::Accepted, None, None, None),
        }
    }

    /// A size that the inner map's definition leaves out.
    fn inner_left_out(&self, raw: &MapDef) -> Option<Fault> {
        let inner = raw.inner.as_ref()?.as_defined();
        let f = self.make(&inner).err()?;
        Some(Fault::new(f.errno, "map-inner", format!("its inner map: {}", f.words)))
    }

    /// What the kernel makes of a definition, libbpf's second try without types included, and what libbpf does
    /// with the map then.
    fn make(&self, def: &MapDef) -> Result<Made, Fault> {
        let mut made = self.create(def)?;
        if let Some(inner) = &def.inner {
            self.inner(def, &assumed(inner).0)?;
        }
        check_name(def)?;
        if def.map_type == MapType::Arena && made.def.max_entries == 0 {
            made.def.max_entries = 1;
        }
        let is_data = def.initial.is_some() && def.map_type == MapType::Array;
        if let (true, true, Some(r)) = (is_data, def.map_flags & MMAPABLE != 0, &made.record) {
            let words = format!(
                "it holds a {}, and the loader maps its variables into memory",
                field_name(r)
            );
            return Err(Fault::new(ENOTSUPP, "map-data", words));
        }
        Ok(made)
    }

    fn create(&self, def: &MapDef) -> Result<Made, Fault> {
        let record = match (&self.object.btf, def.btf_value_type_id) {
            (Some(btf), 1..) if self.target.caps.bpf && def.map_type != MapType::StructOps => {
                map_record_of(&self.target.config(), btf, def).map(Some)
            }
            _ => Ok(None),
        };
        let typed = record.as_ref().is_ok_and(Option::is_some);
        let mut made = Made { def: def.clone(), record: record.ok().flatten().flatten() };
        if !typed && def.map_type != MapType::StructOps {
            (made.def.btf_key_type_id, made.def.btf_value_type_id) = (0, 0);
        }
        match self.refusal(&made.def) {
            None => Ok(made),
            // libbpf asks again without types, and gives the second answer.
            Some(first) if typed => {
                let untyped = MapDef { btf_key_type_id: 0, btf_value_type_id: 0, ..made.def };
                match self.refusal(&untyped) {
                    None => Ok(Made { def: untyped, record: None }),
                    Some(second) if second.errno == first.errno => Err(first),
                    Some(second) => {
                        let said = errno::name(first.errno);
                        let words =
                            format!("{} ({said}; libbpf then tries without types)", first.words);
                        Err(Fault { errno: second.errno, words, ..first })
                    }
                }
            }
            Some(first) => Err(first),
        }
    }

    fn refusal(&self, def: &MapDef) -> Option<Fault> {
        let spec = spec_of(def);
        let refused = self.target.kernel.map_create(&spec, &self.target.caps).err()?;
        Some(Fault::new(refused.errno, code_of(refused.topic()), refused.words(&spec)))
    }

    /// The template of a map of maps (`bpf_map_meta_alloc`).
    fn inner(&self, outer: &MapDef, inner: &MapDef) -> Result<(), Fault> {
        let of = |f: Fault| Fault { words: format!("its inner map: {}", f.words), ..f };
        if inner.map_type.is_of_maps() {
            let words = format!("its inner map is a map of maps itself ({})", inner.map_type);
            return Err(Fault::new(EINVAL, "map-inner", words));
        }
        let made = self.create(inner).map_err(of)?;
        check_name(&MapDef { name: outer.name.clone(), ..made.def.clone() }).map_err(of)?;
        if !slots::may_be_inner(inner.map_type) {
            let words = format!("a map of type {} cannot be an inner map", inner.map_type);
            return Err(Fault::new(ENOTSUPP, "map-inner", words));
        }
        Ok(())
    }
}

/// Letters, digits, `_` and `.` (`bpf_obj_name_cpy`); the kernel sees as much of a name as fits.
fn check_name(def: &MapDef) -> Result<(), Fault> {
    let odd = def.name.chars().find(|c| !c.is_ascii_alphanumeric() && !"_.".contains(*c));
    match odd {
        Some(c) => {
            let words = format!("its name has `{c}`; letters, digits, `_` and `.` make a name");
            Err(Fault::new(EINVAL, "map-name", words))
        }
        None => Ok(()),
    }
}

fn spec_of(def: &MapDef) -> MapSpec {
    MapSpec {
        key_size: def.key_size,
        value_size: def.value_size,
        max_entries: def.max_entries,
        flags: def.map_flags,
        extra: def.map_extra,
        has_btf_key: def.btf_key_type_id != 0,
        has_btf_value: def.btf_value_type_id != 0,
        has_btf_vmlinux_value: def.btf_vmlinux_value_type_id != 0,
        // Every machine has node 0; no profile says of others.
        node_is_online: def.map_flags & NUMA_NODE == 0 || def.numa_node == 0,
        ..MapSpec::bare(def.map_type)
    }
}

/// The definition with every size that it leaves out, and what was put in.
fn assumed(def: &MapDef) -> (MapDef, Vec<String>) {
    let mut out = def.clone();
    let mut words = Vec::new();
    if def.unset.max_entries {
        words.push(format!("max_entries {}", def.max_entries));
    }
    if def.unset.value_size {
        words.push(format!("value_size {}", def.value_size));
    }
    let uses = def.map_type.uses();
    if def.value_size == 0 && !uses.no_elements {
        out.value_size = 4;
        words.push(format!("value_size {}", out.value_size));
    }
    if def.key_size == 0 && !uses.no_elements && !uses.keyless {
        // Prefix length and address, or a cgroup's number.
        let long = [KeyRule::Struct, KeyRule::CgroupStorage];
        let is_long = MapInfo::of(def.map_type).is_some_and(|i| long.contains(&i.key));
        out.key_size = if is_long { 8 } else { 4 };
        words.push(format!("key_size {}", out.key_size));
    }
    (out, words)
}

fn code_of(topic: MapTopic) -> &'static str {
    match topic {
        MapTopic::Type => "map-type",
        MapTopic::KeySize => "map-key-size",
        MapTopic::ValueSize => "map-value-size",
        MapTopic::MaxEntries => "map-max-entries",
        MapTopic::Flags => "map-flags",
        MapTopic::Extra => "map-extra",
        MapTopic::NumaNode => "map-numa-node",
        MapTopic::Types => "map-types",
        MapTopic::Capability => "map-capability",
    }
}

fn field_name(record: &BtfRecord) -> &'static str {
    record.fields.first().map_or("special field", |f| FieldKinds::name(f.kind))
}

/// Bytes a map takes when it is made, roughly: elements and what stands around them.
fn memory(def: &MapDef, cpus: u32) -> u64 {
    use MapMemory as M;
    /// `struct htab_elem` before its key.
    const HASH_ELEM: u64 = 48;
    let n = u64::from(def.max_entries);
    let value = u64::from(def.value_size).next_multiple_of(8);
    let key = u64::from(def.key_size).next_multiple_of(8);
    let cpus = u64::from(cpus.max(1));
    let buckets = n.next_power_of_two() * 16;
    match def.map_type.uses().memory {
        M::Array => n * value,
        M::PercpuArray => n * (8 + value * cpus),
        M::Hash if def.map_flags & NO_PREALLOC == 0 => buckets + n * (HASH_ELEM + key + value),
        M::PercpuHash if def.map_flags & NO_PREALLOC == 0 => {
            buckets + n * (HASH_ELEM + key + 8 + value * cpus)
        }
        M::Hash | M::PercpuHash | M::Buckets => buckets,
        M::Traces => buckets / 2 + n * (value + 24),
        M::Queue => (n + 1) * u64::from(def.value_size),
        M::Bytes => n,
        M::Nothing => 0,
        M::Pointers => n * 8,
    }
}
