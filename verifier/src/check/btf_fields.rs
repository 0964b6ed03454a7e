//! Finding special fields in BTF, and those of allocatable structs when the program's BTF is
//! loaded (`btf_parse_fields`, `btf_parse_struct_metas`).  Map values are in [`super::map_fields`].
//!
//! The kernel does this before it sees the program and logs nothing, so an error here
//! says only that the map or the BTF would not exist as described.

use std::collections::BTreeMap;
use std::sync::Arc;

use bpfassay_object::btf::{Btf, BtfKind, Type};
use bpfassay_spec::Config as BuildConfig;

use super::btf_record::{BtfField, BtfRecord, FieldKinds, FieldTarget, GraphRoot, KptrTarget};
use crate::domain::reg::BtfObj;
use crate::env::Env;
use crate::stop::Errno;

/// `BTF_FIELDS_MAX`
const MAX_FIELDS: usize = 11;
/// `MAX_RESOLVE_DEPTH`
const MAX_RESOLVE_DEPTH: u32 = 32;
/// Bytes a uptr may point to (`PAGE_SIZE`).
const PAGE_SIZE: u32 = 4096;

/// A struct that stands for a field by its name.
struct NamedField {
    kind: FieldKinds,
    name: &'static str,
    /// At most one per struct.
    unique: bool,
    size: u32,
    align: u32,
}

const fn named(
    kind: FieldKinds,
    name: &'static str,
    unique: bool,
    size: u32,
    align: u32,
) -> NamedField {
    NamedField { kind, name, unique, size, align }
}

/// In the kernel's order (`btf_get_field_type`), sizes and alignments of `include/uapi/linux/bpf.h`.
const NAMED: [NamedField; 10] = [
    named(FieldKinds::SPIN_LOCK, "bpf_spin_lock", true, 4, 4),
    named(FieldKinds::RES_SPIN_LOCK, "bpf_res_spin_lock", true, 4, 4),
    named(FieldKinds::TIMER, "bpf_timer", true, 16, 8),
    named(FieldKinds::WORKQUEUE, "bpf_wq", true, 16, 8),
    named(FieldKinds::TASK_WORK, "bpf_task_work", true, 8, 8),
    named(FieldKinds::LIST_HEAD, "bpf_list_head", false, 16, 8),
    named(FieldKinds::LIST_NODE, "bpf_list_node", false, 24, 8),
    named(FieldKinds::RB_ROOT, "bpf_rb_root", false, 16, 8),
    named(FieldKinds::RB_NODE, "bpf_rb_node", false, 32, 8),
    named(FieldKinds::REFCOUNT, "bpf_refcount", false, 4, 4),
];

/// Bytes of a kptr or uptr, and its alignment.
const KPTR_SIZE: u32 = 8;

/// Kernel types that may be kept as referenced kptrs: those with a registered destructor
/// (`register_btf_id_dtor_kfuncs`), and the configuration symbol each depends on.
const WITH_DESTRUCTOR: [(&str, Option<&str>); 8] = [
    ("task_struct", None),
    ("cgroup", Some("CGROUPS")),
    ("bpf_cpumask", None),
    ("bpf_crypto_ctx", Some("CRYPTO")),
    ("sk_buff", Some("NET_SCH_BPF")),
    ("bpf_ksock", Some("INET")),
    ("prog_test_ref_kfunc", Some("NET")),
    ("prog_test_member", Some("NET")),
];

/// A field as found, before its target is looked up (`struct btf_field_info`).
#[derive(Clone, Copy)]
struct Found<'b> {
    kind: FieldKinds,
    size: u32,
    off: u32,
    /// kptr: the pointee; root: the value type.
    type_id: u32,
    node_name: &'b str,
}

/// Searches one type and what it contains.
struct Finder<'b> {
    btf: &'b Btf,
    mask: FieldKinds,
    found: Vec<Found<'b>>,
}

pub(super) type Outcome<T = ()> = Result<T, Errno>;

/// Structs with special members, by id.
pub(super) type Metas = BTreeMap<u32, Arc<BtfRecord>>;

impl<'b> Finder<'b> {
    fn search(&mut self, t: Type<'b>) -> Outcome {
        match t.kind() {
            BtfKind::Struct => self.in_struct(t, 0, 0),
            BtfKind::Datasec => self.in_datasec(t),
            _ => Err(Errno::EINVAL),
        }
    }

    fn in_struct(&mut self, t: Type<'b>, base: u32, level: u32) -> Outcome {
        let mut seen = FieldKinds::default();
        for (i, m) in t.members().enumerate() {
            if m.bit_offset % 8 != 0 {
                return Err(Errno::EINVAL);
            }
            let off = m.bit_offset / 8;
            let place = Place { owner: t, component: i as i32, off, expected: 0 };
            self.one(place, m.type_id, base, &mut seen, level)?;
        }
        Ok(())
    }

    fn in_datasec(&mut self, t: Type<'b>) -> Outcome {
        let mut seen = FieldKinds::default();
        for v in t.vars() {
            let Some(var) = self.btf.ty(v.type_id) else { return Err(Errno::EINVAL) };
            let place = Place { owner: var, component: -1, off: v.offset, expected: v.size };
            self.one(place, var.type_id(), 0, &mut seen, 0)?;
        }
        Ok(())
    }

    /// A member or variable: a field, an array of them, or a struct to look into (`btf_find_field_one`).
    /// Alignment is judged inside the struct, `base` is added to what is found.
    fn one(
        &mut self,
        place: Place<'b>,
        type_id: u32,
        base: u32,
        seen: &mut FieldKinds,
        level: u32,
    ) -> Outcome {
        let Some((t, nelems)) = self.element(type_id)? else { return Ok(()) };
        let wrong_size =
            |size: u32| place.expected != 0 && place.expected != size.wrapping_mul(nelems);
        let Some((kind, size, align)) = self.kind_of(t, seen)? else {
            if t.kind() != BtfKind::Struct || wrong_size(t.size()) {
                return Ok(());
            }
            return self.nested(t, base + place.off, nelems, level + 1);
        };
        if wrong_size(size) || !place.off.is_multiple_of(align) {
            return Ok(());
        }
        let Some(found) = self.identify(&place, t, kind, size)? else { return Ok(()) };
        if self.found.len() >= MAX_FIELDS {
            return Err(Errno::E2BIG);
        }
        let first = self.found.len();
        self.found.push(Found { off: base + place.off, ..found });
        self.repeat(first, nelems, size)
    }

    /// Element type and number of elements of a (nested) array; None for an empty one.
    fn element(&self, type_id: u32) -> Outcome<Option<(Type<'b>, u32)>> {
        let mut t = self.btf.ty(type_id).ok_or(Errno::EINVAL)?;
        let mut nelems = 1u32;
        for _ in 0..MAX_RESOLVE_DEPTH {
            let Some(a) = t.array() else {
                return Ok((nelems != 0).then_some((t, nelems)));
            };
            nelems = nelems.wrapping_mul(a.nelems);
            t = self.btf.ty(a.elem).ok_or(Errno::EINVAL)?;
        }
        Err(Errno::E2BIG)
    }

    /// Kind, size and alignment a type's name (or its being a pointer) suggests (`btf_get_field_type`).
    fn kind_of(
        &self,
        t: Type<'b>,
        seen: &mut FieldKinds,
    ) -> Outcome<Option<(FieldKinds, u32, u32)>> {
        let name = t.name();
        let named = |f: &&NamedField| f.kind.intersects(self.mask) && f.name == name;
        if let Some(f) = NAMED.iter().find(named) {
            if f.unique {
                if seen.intersects(f.kind) {
                    return Err(Errno::E2BIG);
                }
                *seen = *seen | f.kind;
            }
            return Ok(Some((f.kind, f.size, f.align)));
        }
        let pointers = FieldKinds::KPTR | FieldKinds::UPTR;
        let maybe = self.mask.intersects(pointers) && t.kind() != BtfKind::Struct;
        Ok(maybe.then_some((FieldKinds::KPTR_REF, KPTR_SIZE, KPTR_SIZE)))
    }

    fn identify(
        &self,
        place: &Place<'b>,
        t: Type<'b>,
        kind: FieldKinds,
        size: u32,
    ) -> Outcome<Option<Found<'b>>> {
        let plain = Found { kind, size, off: 0, type_id: 0, node_name: "" };
        if kind == FieldKinds::KPTR_REF {
            return find_kptr(self.btf, t, self.mask);
        }
        if t.kind() != BtfKind::Struct || t.size() != size {
            return Ok(None);
        }
        if !kind.intersects(FieldKinds::GRAPH_ROOT) {
            return Ok(Some(plain));
        }
        let (type_id, node_name) = contains_tag(self.btf, place)?;
        Ok(Some(Found { type_id, node_name, ..plain }))
    }

    /// Fields of a nested struct, once per element (`btf_find_nested_struct`).
    fn nested(&mut self, t: Type<'b>, base: u32, nelems: u32, level: u32) -> Outcome {
        if level >= MAX_RESOLVE_DEPTH {
            return Err(Errno::E2BIG);
        }
        let first = self.found.len();
        self.in_struct(t, base, level)?;
        if self.found.len() == first {
            return Ok(());
        }
        self.repeat(first, nelems, t.size())
    }

    /// Copies what was found since `first` for the other elements of an array (`btf_repeat_fields`).
    fn repeat(&mut self, first: usize, nelems: u32, elem_size: u32) -> Outcome {
        if nelems <= 1 {
            return Ok(());
        }
        let repeatable = FieldKinds::KPTR | FieldKinds::UPTR | FieldKinds::GRAPH_ROOT;
        if self.found[first..].iter().any(|f| !f.kind.intersects(repeatable)) {
            return Err(Errno::EINVAL);
        }
        let count = self.found.len() - first;
        if first as u64 + count as u64 * nelems as u64 > MAX_FIELDS as u64 {
            return Err(Errno::E2BIG);
        }
        for i in 1..nelems {
            for j in first..first + count {
                let f = self.found[j];
                self.found.push(Found { off: f.off + i * elem_size, ..f });
            }
        }
        Ok(())
    }
}

/// Where a candidate stands: the type that carries its tags, and its offset in its struct.
struct Place<'b> {
    owner: Type<'b>,
    /// Member index, -1 for a variable.
    component: i32,
    off: u32,
    /// Bytes the section has for it, 0 where nobody says.
    expected: u32,
}

/// A tagged pointer to a struct (`btf_find_kptr`).
fn find_kptr<'b>(btf: &'b Btf, t: Type<'b>, mask: FieldKinds) -> Outcome<Option<Found<'b>>> {
    let is_tag = |t: Type<'_>| t.kind() == BtfKind::TypeTag;
    let t = if t.kind() == BtfKind::Volatile { t.target() } else { Some(t) };
    let Some(tag) = t.filter(|t| t.kind() == BtfKind::Ptr).and_then(|t| t.target()) else {
        return Ok(None);
    };
    if !is_tag(tag) || tag.kflag() {
        return Ok(None);
    }
    if tag.target().is_some_and(is_tag) {
        return Err(Errno::EINVAL);
    }
    let kind = match tag.name() {
        "kptr_untrusted" => FieldKinds::KPTR_UNREF,
        "kptr" => FieldKinds::KPTR_REF,
        "percpu_kptr" => FieldKinds::KPTR_PERCPU,
        "uptr" => FieldKinds::UPTR,
        _ => return Err(Errno::EINVAL),
    };
    if !kind.intersects(mask) {
        return Ok(None);
    }
    match btf.skip_mods_and_typedefs(tag.type_id()) {
        Some(s) if s.kind() == BtfKind::Struct => {
            Ok(Some(Found { kind, size: KPTR_SIZE, off: 0, type_id: s.id(), node_name: "" }))
        }
        _ => Err(Errno::EINVAL),
    }
}

/// Value type and node member of a `contains:TYPE:MEMBER` tag (`btf_find_graph_root`).
fn contains_tag<'b>(btf: &'b Btf, place: &Place<'b>) -> Outcome<(u32, &'b str)> {
    let mut tags = btf
        .decl_tags_of(place.owner.id())
        .filter(|t| t.component_idx() == place.component)
        .filter_map(|t| t.name().strip_prefix("contains:"));
    let (Some(value), None) = (tags.next(), tags.next()) else { return Err(Errno::EINVAL) };
    let (strukt, node) = value.split_once(':').ok_or(Errno::EINVAL)?;
    let id = btf.find_by_name_kind(strukt, BtfKind::Struct).ok_or(Errno::ENOENT)?;
    if node.is_empty() {
        return Err(Errno::EINVAL);
    }
    Ok((id, node))
}

/// The kernel's BTFs, where kptr targets are looked for.
pub(super) struct Kernel<'e> {
    pub(super) btfs: &'e [Option<Arc<Btf>>],
    pub(super) config: &'e BuildConfig,
    /// Feature `uptr_fields`.
    pub(super) has_uptrs: bool,
    /// Feature `fields_together`.
    pub(super) together: bool,
}

impl Kernel<'_> {
    /// First kernel BTF with a type of this name (`bpf_find_btf_id`).
    fn find(&self, name: &str) -> Option<KptrTarget> {
        self.btfs.iter().enumerate().skip(1).find_map(|(i, btf)| {
            let btf = btf.as_ref()?;
            let id = if i == 1 {
                btf.find_by_name_kind(name, BtfKind::Struct)
            } else {
                btf.find_own_by_name_kind(name, BtfKind::Struct)
            };
            Some(KptrTarget { btf: BtfObj(i as u32), btf_id: id? })
        })
    }

    fn has_destructor(&self, name: &str) -> bool {
        WITH_DESTRUCTOR.iter().any(|(n, sym)| *n == name && sym.is_none_or(|s| self.config.has(s)))
    }
}

/// All special fields of a struct or data section (`btf_parse_fields`); None if it has none.
pub(super) fn parse_fields(
    btf: &Btf,
    t: Type<'_>,
    mask: FieldKinds,
    value_size: u32,
    kernel: &Kernel<'_>,
) -> Outcome<Option<BtfRecord>> {
    let Some(t) = btf.ty(t.id()) else { return Err(Errno::EINVAL) };
    let mut finder = Finder { btf, mask, found: Vec::new() };
    finder.search(t)?;
    if finder.found.is_empty() {
        return Ok(None);
    }
    let mut fields = Vec::new();
    let mut next_off = 0;
    for f in &finder.found {
        if f.off + f.size > value_size {
            return Err(Errno::EFAULT);
        }
        if f.off < next_off {
            return Err(Errno::EEXIST);
        }
        next_off = f.off + f.size;
        let target = target_of(btf, f, kernel)?;
        fields.push(BtfField { offset: f.off, size: f.size, kind: f.kind, target });
    }
    let mut record = BtfRecord { fields };
    check_combination(&record)?;
    record.fields.sort_by_key(|f| f.offset);
    Ok(Some(record))
}

fn target_of(btf: &Btf, f: &Found<'_>, kernel: &Kernel<'_>) -> Outcome<FieldTarget> {
    if f.kind.intersects(FieldKinds::KPTR | FieldKinds::UPTR) {
        let name = btf.name(f.type_id);
        let Some(target) = kernel.find(name) else {
            // Only the program knows the type: an object it allocates.
            return Ok(FieldTarget::Kptr(KptrTarget { btf: BtfObj::PROG, btf_id: f.type_id }));
        };
        if f.kind == FieldKinds::KPTR_REF && !kernel.has_destructor(name) {
            return Err(Errno::ENOENT);
        }
        return Ok(FieldTarget::Kptr(target));
    }
    if f.kind.intersects(FieldKinds::GRAPH_ROOT) {
        let node_type =
            if f.kind == FieldKinds::LIST_HEAD { "bpf_list_node" } else { "bpf_rb_node" };
        return graph_root(btf, f, node_type).map(FieldTarget::Root);
    }
    Ok(FieldTarget::None)
}

/// Offset of the node inside the value type (`btf_parse_graph_root`).
fn graph_root(btf: &Btf, f: &Found<'_>, node_type: &str) -> Outcome<GraphRoot> {
    /// Alignment of both node types.
    const NODE_ALIGN: u32 = 8;
    let value = btf.ty(f.type_id).ok_or(Errno::EINVAL)?;
    let mut named = value.members().filter(|m| btf.str(m.name_off) == f.node_name);
    let m = named.next().ok_or(Errno::ENOENT)?;
    let node = btf.ty(m.type_id).ok_or(Errno::EINVAL)?;
    if node.kind() != BtfKind::Struct || node.name() != node_type {
        return Err(Errno::EINVAL);
    }
    if m.bit_offset % (8 * NODE_ALIGN) != 0 || named.next().is_some() {
        return Err(Errno::EINVAL);
    }
    Ok(GraphRoot { btf: BtfObj::PROG, value_btf_id: f.type_id, node_offset: m.bit_offset / 8 })
}

fn check_combination(r: &BtfRecord) -> Outcome {
    let locks = (r.has(FieldKinds::SPIN_LOCK), r.has(FieldKinds::RES_SPIN_LOCK));
    let two_locks = locks == (true, true);
    let root_without_lock = r.has(FieldKinds::GRAPH_ROOT) && locks == (false, false);
    // Owned by two collections at once only with a reference count.
    let two_owners =
        r.has(FieldKinds::LIST_NODE) && r.has(FieldKinds::RB_NODE) && !r.has(FieldKinds::REFCOUNT);
    if two_locks || root_without_lock || two_owners {
        return Err(Errno::EINVAL);
    }
    Ok(())
}

/// Targets that a map or struct may not have (`btf_check_and_fixup_fields`).
pub(super) fn check_targets(btf: &Btf, record: &BtfRecord, metas: &Metas) -> Outcome {
    let is_node = record.has(FieldKinds::GRAPH_NODE);
    for f in &record.fields {
        if let (FieldKinds::UPTR, Some(t)) = (f.kind, f.kptr()) {
            if t.btf != BtfObj::PROG {
                return Err(Errno::EINVAL);
            }
            match btf.ty(t.btf_id).map_or(0, |t| t.size()) {
                0 => return Err(Errno::EINVAL),
                n if n > PAGE_SIZE => return Err(Errno::E2BIG),
                _ => {}
            }
        }
        if let Some(root) = f.root() {
            let value = metas.get(&root.value_btf_id).ok_or(Errno::EFAULT)?;
            // What is owned itself may not own owners: no cycles.
            if is_node && value.has(FieldKinds::GRAPH_ROOT) {
                return Err(Errno::ELOOP);
            }
        }
    }
    Ok(())
}

/// Fields of structs that programs allocate.
fn struct_mask() -> FieldKinds {
    FieldKinds::SPIN_LOCK
        | FieldKinds::RES_SPIN_LOCK
        | FieldKinds::LIST_HEAD
        | FieldKinds::LIST_NODE
        | FieldKinds::RB_ROOT
        | FieldKinds::RB_NODE
        | FieldKinds::REFCOUNT
        | FieldKinds::KPTR
}

/// Structs of the program's BTF with special members, by id (`btf_parse_struct_metas`).
/// An error means that the kernel refuses the BTF.
pub(super) fn struct_metas(btf: &Btf, kernel: &Kernel<'_>) -> Outcome<Metas> {
    const TRIGGERS: [&str; 6] = [
        "bpf_spin_lock",
        "bpf_list_head",
        "bpf_list_node",
        "bpf_rb_root",
        "bpf_rb_node",
        "bpf_refcount",
    ];
    let mut metas = BTreeMap::new();
    let mut triggers: Vec<u32> =
        TRIGGERS.iter().filter_map(|n| btf.find_by_name_kind(n, BtfKind::Struct)).collect();
    let kptrs =
        btf.all_types().filter(|t| matches!(find_kptr(btf, *t, FieldKinds::KPTR), Ok(Some(_))));
    triggers.extend(kptrs.map(|t| t.id()));
    triggers.sort_unstable();
    if triggers.is_empty() {
        return Ok(metas);
    }
    for t in btf.all_types().filter(|t| t.kind() == BtfKind::Struct) {
        if t.members().any(|m| triggers.binary_search(&m.type_id).is_ok()) {
            let record = parse_fields(btf, t, struct_mask(), t.size(), kernel)?;
            metas.insert(t.id(), Arc::new(record.ok_or(Errno::EFAULT)?));
        }
    }
    for record in metas.values() {
        check_targets(btf, record, &metas)?;
    }
    Ok(metas)
}

/// Fills [`Env::struct_metas`].  The error is that with which the kernel refuses the BTF.
pub fn load_struct_metas(env: &mut Env<'_>) -> Outcome {
    let Some(btf) = env.btf(BtfObj::PROG) else { return Ok(()) };
    let kernel = Kernel {
        btfs: &env.btfs,
        config: &env.kernel.config,
        has_uptrs: env.kernel.features.uptr_fields,
        together: env.kernel.features.fields_together,
    };
    env.struct_metas = struct_metas(btf, &kernel)?;
    Ok(())
}
