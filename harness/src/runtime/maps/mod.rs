//! Maps: what lookup, update, delete, push and pop do, with the kernel's error numbers.
//!
//! Values live in regions of [`Memory`], keys beside them.  One CPU runs the
//! program; per-CPU maps keep a value for each CPU of the [`super::world::World`].
//! Knows no helper and no file format.  Mirrors the `map_ops` of
//! kernel/bpf/{arraymap,hashtab,lpm_trie,queue_stack_maps,ringbuf}.c.

mod array;
mod hash;
mod lpm;
mod queue;
mod ring;
mod table;
mod uses;

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::sync::Arc;

use bpfassay_jit::{ArrayPlan, HashPlan};
use bpfassay_object::model::MapDef;
use bpfassay_spec::MapType;

use super::arena::Arena;
use super::memory::{Access, Memory, Region, RegionId, RegionKind};
use super::types::{Field, FieldKind, Types};
use crate::engines::code::Code;
pub use ring::Ring;

/// Error numbers a map operation may give.
pub mod errno {
    pub const ENOENT: i64 = 2;
    pub const E2BIG: i64 = 7;
    pub const EAGAIN: i64 = 11;
    pub const ENOMEM: i64 = 12;
    pub const EFAULT: i64 = 14;
    pub const EBUSY: i64 = 16;
    pub const EEXIST: i64 = 17;
    pub const EINVAL: i64 = 22;
    pub const ENOSPC: i64 = 28;
    pub const ERANGE: i64 = 34;
    pub const EOPNOTSUPP: i64 = 95;
    pub const ENOTSUPP: i64 = 524;
}

/// Flags of an update.
pub const ANY: u64 = 0;
pub const NOEXIST: u64 = 1;
pub const EXIST: u64 = 2;
/// `BPF_F_LOCK`.
pub const LOCK: u64 = 4;

/// `BPF_F_NO_PREALLOC`.
const F_NO_PREALLOC: u32 = 1;

/// What a map is, as far as its operations depend on it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Shape {
    pub name: String,
    pub map_type: MapType,
    pub key_size: u32,
    pub value_size: u32,
    pub max_entries: u32,
    pub flags: u32,
    /// `map_extra`: an arena's address, a bloom filter's hashes.
    pub extra: u64,
    /// Fields a value copy leaves alone (locks, timers, kernel pointers), ascending.
    pub special: Vec<Field>,
    pub cpus: u32,
}

impl Shape {
    pub fn of(def: &MapDef, cpus: u32) -> Shape {
        Shape {
            name: def.name.clone(),
            map_type: def.map_type,
            key_size: def.key_size,
            value_size: def.value_size,
            max_entries: def.max_entries,
            flags: def.map_flags,
            extra: def.map_extra,
            special: Vec::new(),
            cpus: cpus.max(1),
        }
    }

    /// Distance between values: a multiple of 8.
    fn stride(&self) -> u32 {
        self.value_size.next_multiple_of(8)
    }

    fn is_percpu(&self) -> bool {
        self.map_type.uses().percpu
    }

    fn is_lru(&self) -> bool {
        matches!(self.map_type, MapType::LruHash | MapType::LruPercpuHash)
    }

    /// Values have a lock that `BPF_F_LOCK` takes.
    fn has_lock(&self) -> bool {
        self.special.iter().any(|f| f.kind == FieldKind::SpinLock)
    }

    fn access(&self) -> Access {
        if self.flags & MapDef::F_RDONLY_PROG != 0 {
            Access::ReadOnly
        } else {
            Access::ReadWrite
        }
    }

    /// Copies a value but for its special fields.
    pub fn copy_value(&self, to: &mut [u8], from: &[u8]) {
        self.copy(to, from);
    }

    fn copy(&self, to: &mut [u8], from: &[u8]) {
        let mut at = 0usize;
        let len = to.len().min(from.len());
        for f in &self.special {
            copy_range(to, from, at, (f.off as usize).min(len));
            at = (f.off as usize).saturating_add(f.size as usize);
        }
        copy_range(to, from, at, len);
    }

    /// A region for `count` values, zeroed; None when it would be too large.
    fn values(&self, mem: &mut Memory, index: u32, count: u64) -> Option<RegionId> {
        let bytes = count.checked_mul(self.stride() as u64)?;
        let bytes = usize::try_from(bytes).ok().filter(|b| *b <= i32::MAX as usize)?;
        let region = Region::zeroed(RegionKind::MapValue(index), self.access(), bytes)?;
        mem.add(region.with_elements(self.value_size, self.stride()))
    }
}

fn copy_range(to: &mut [u8], from: &[u8], start: usize, end: usize) {
    if let (Some(t), Some(f)) = (to.get_mut(start..end), from.get(start..end)) {
        t.copy_from_slice(f);
    }
}

/// What fills one map.
enum Kind {
    Array(array::Array),
    Hash(hash::Hash),
    Lpm(lpm::Lpm),
    Queue(queue::Queue),
    Ring(Ring),
    Progs(Vec<Option<Arc<Code>>>),
    /// Array of maps: index of the inner map in the runtime.
    Maps(Vec<Option<u32>>),
    /// Hash of maps: key to index.
    MapsByKey(BTreeMap<Vec<u8>, u32>),
    /// Bloom filter, here without false positives.
    Bloom(HashSet<Vec<u8>>),
    /// Perf event array: no event is attached.
    Events,
    /// The pages are the memory's.
    Arena,
    /// Values attached to objects, by the object's address.
    Storage(BTreeMap<u64, RegionId>),
    /// Devices, CPUs or sockets that packets are redirected to.
    Targets(hash::Hash),
    /// Samples from user space.
    UserRing(VecDeque<Vec<u8>>),
    /// Known, not modelled: operations stop the run.
    Unmodelled,
}

/// A map.
pub struct Map {
    shape: Shape,
    handle: RegionId,
    kind: Kind,
}

/// A lookup's answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Found {
    Nothing,
    /// Address of the value.
    Value(u64),
    /// Index of the inner map.
    Map(u32),
}

/// How compiled code finds an element by itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Plan {
    Array(ArrayPlan),
    Hash(HashPlan),
}

/// The map type cannot do this here.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Unmodelled;

impl Map {
    /// Creates the map with this index in the runtime; the error is a number of [`errno`].
    pub fn new(mem: &mut Memory, index: u32, shape: Shape) -> Result<Map, i64> {
        use MapType::*;
        let handle = Region::new(RegionKind::Map(index), Access::Opaque, Vec::new());
        let handle = mem.add(handle).ok_or(errno::ENOMEM)?;
        let entries = shape.max_entries as usize;
        let kind = match shape.map_type {
            Array | PercpuArray => Kind::Array(array::Array::new(mem, index, &shape)?),
            Hash | PercpuHash | LruHash | LruPercpuHash => {
                Kind::Hash(hash::Hash::new(mem, index, &shape)?)
            }
            LpmTrie => Kind::Lpm(lpm::Lpm::new(mem, index, &shape)?),
            Queue | Stack => Kind::Queue(queue::Queue::new(&shape)?),
            Ringbuf => Kind::Ring(Ring::new(index, &shape)?),
            ProgArray if entries <= 1 << 20 => Kind::Progs(vec![None; entries]),
            ArrayOfMaps if entries <= 1 << 20 => Kind::Maps(vec![None; entries]),
            HashOfMaps => Kind::MapsByKey(BTreeMap::new()),
            BloomFilter => Kind::Bloom(HashSet::new()),
            PerfEventArray => Kind::Events,
            Arena => new_arena(mem, &shape)?,
            SkStorage | TaskStorage | InodeStorage | CgrpStorage | CgroupStorage
            | PercpuCgroupStorage => Kind::Storage(BTreeMap::new()),
            Devmap | DevmapHash | Cpumap | Xskmap | Sockmap | Sockhash => {
                Kind::Targets(hash::Hash::new(mem, index, &shape)?)
            }
            UserRingbuf => Kind::UserRing(VecDeque::new()),
            _ => Kind::Unmodelled,
        };
        Ok(Map { shape, handle, kind })
    }

    pub fn shape(&self) -> &Shape {
        &self.shape
    }

    /// Lets a program read the fields of the kernel's structure that follow from the definition.
    pub fn show(&mut self, mem: &mut Memory, types: &Types) {
        let structure = if self.is_arena() { "bpf_arena" } else { "bpf_map" };
        let size = types.kernel_size(structure).unwrap_or(0);
        let name = self.shape.name.as_bytes();
        let (shape, arena) = (&self.shape, mem.arena.as_ref());
        let start = arena.map_or(0, Arena::start);
        let end = start + u64::from(shape.max_entries) * 4096;
        let word = |v: u32| v.to_le_bytes().to_vec();
        let mut fields = vec![
            // Of a map that nobody has asked for its hash.
            ("bpf_map", "sha", vec![0; 32]),
            ("bpf_map", "map_type", word(shape.map_type.number())),
            ("bpf_map", "key_size", word(shape.key_size)),
            ("bpf_map", "value_size", word(shape.value_size)),
            ("bpf_map", "max_entries", word(shape.max_entries)),
            ("bpf_map", "map_flags", word(shape.flags)),
            ("bpf_map", "map_extra", shape.extra.to_le_bytes().to_vec()),
            ("bpf_map", "name", [name, &[0; 16]].concat().into_iter().take(16).collect()),
        ];
        if self.is_arena() {
            fields.push(("bpf_arena", "user_vm_start", start.to_le_bytes().to_vec()));
            fields.push(("bpf_arena", "user_vm_end", end.to_le_bytes().to_vec()));
        }
        // An address of the kernel that may be compared but not followed.
        let ops = mem.add(Region::new(RegionKind::Object, Access::Opaque, Vec::new()));
        if let Some(ops) = ops {
            fields.push(("bpf_map", "ops", mem.addr(ops, 0).to_le_bytes().to_vec()));
        }
        let mut bytes = vec![0; size as usize];
        let mut known = Vec::new();
        for (structure, member, value) in fields {
            let Some(at) = types.kernel_offset(structure, member) else { continue };
            if let Some(to) = bytes.get_mut(at as usize..at as usize + value.len()) {
                to.copy_from_slice(&value);
                known.push((at, value.len() as u32));
            }
        }
        if let Some(r) = mem.region_mut(self.handle).filter(|_| !known.is_empty()) {
            *r = Region::new(r.kind, Access::ReadOnly, bytes).with_known(known);
            mem.show(self.handle);
        }
    }

    /// The region whose address stands for the map.
    pub fn handle(&self) -> RegionId {
        self.handle
    }

    /// The region of an array map's values, whose addresses instructions may hold.
    pub fn direct_value(&self) -> Option<RegionId> {
        match &self.kind {
            Kind::Array(a) if !self.shape.is_percpu() => Some(a.values()),
            _ => None,
        }
    }

    /// How compiled code finds an element by itself, on this CPU; None where more happens than that.
    pub fn plan(&self, mem: &Memory, cpu: u32) -> Option<Plan> {
        match &self.kind {
            Kind::Array(a) => a.plan(&self.shape, mem, cpu).map(Plan::Array),
            Kind::Hash(h) => h.plan(&self.shape, cpu).map(Plan::Hash),
            _ => None,
        }
    }

    #[inline]
    pub fn lookup(&mut self, mem: &Memory, key: &[u8], cpu: u32) -> Result<Found, Unmodelled> {
        Ok(match &mut self.kind {
            Kind::Array(a) => found(a.lookup(&self.shape, mem, key, cpu)),
            Kind::Hash(h) => found(h.lookup(&self.shape, key, cpu)),
            Kind::Lpm(l) => found(l.lookup(&self.shape, mem, key)),
            Kind::Maps(m) => match index(key).and_then(|i| m.get(i)) {
                Some(Some(inner)) => Found::Map(*inner),
                _ => Found::Nothing,
            },
            Kind::MapsByKey(m) => m.get(key).map_or(Found::Nothing, |i| Found::Map(*i)),
            Kind::Targets(h) => found(h.lookup(&self.shape, key, cpu)),
            Kind::Queue(_)
            | Kind::Storage(_)
            | Kind::UserRing(_)
            | Kind::Ring(_)
            | Kind::Bloom(_)
            | Kind::Events
            | Kind::Arena
            | Kind::Progs(_)
            | Kind::Unmodelled => return Err(Unmodelled),
        })
    }

    /// 0 or a negative error number.
    pub fn update(
        &mut self,
        mem: &mut Memory,
        key: &[u8],
        value: &[u8],
        flags: u64,
        cpu: u32,
    ) -> Result<i64, Unmodelled> {
        Ok(match &mut self.kind {
            Kind::Array(a) => a.update(&self.shape, mem, key, value, flags, cpu),
            Kind::Hash(h) | Kind::Targets(h) => h.update(&self.shape, mem, key, value, flags, cpu),
            Kind::Lpm(l) => l.update(&self.shape, mem, key, value, flags),
            _ => return Err(Unmodelled),
        })
    }

    pub fn delete(&mut self, key: &[u8]) -> Result<i64, Unmodelled> {
        Ok(match &mut self.kind {
            Kind::Array(_) => -errno::EINVAL,
            Kind::Hash(h) | Kind::Targets(h) => h.delete(&self.shape, key),
            Kind::Lpm(l) => l.delete(&self.shape, key),
            _ => return Err(Unmodelled),
        })
    }

    pub fn push(&mut self, value: &[u8], flags: u64) -> Result<i64, Unmodelled> {
        match &mut self.kind {
            Kind::Queue(q) => Ok(q.push(value, flags)),
            Kind::Bloom(b) if flags == ANY => {
                b.insert(value.to_vec());
                Ok(0)
            }
            Kind::Bloom(_) => Ok(-errno::EINVAL),
            _ => Err(Unmodelled),
        }
    }

    /// Takes the next element, or only shows it; `out` is zeroed where there is none.
    pub fn pop(&mut self, out: &mut [u8], keep: bool) -> Result<i64, Unmodelled> {
        match &mut self.kind {
            Kind::Queue(q) => Ok(q.pop(out, keep)),
            // Peeking asks whether the value is in the set.
            Kind::Bloom(b) if keep => Ok(if b.contains(&*out) { 0 } else { -errno::ENOENT }),
            _ => Err(Unmodelled),
        }
    }

    pub fn ring(&mut self) -> Option<&mut Ring> {
        match &mut self.kind {
            Kind::Ring(r) => Some(r),
            _ => None,
        }
    }

    /// The value attached to an object, made where it is wanted and missing.
    pub fn attached(
        &mut self,
        mem: &mut Memory,
        owner: u64,
        create: bool,
    ) -> Result<Option<u64>, Unmodelled> {
        let Kind::Storage(values) = &mut self.kind else { return Err(Unmodelled) };
        if !create || values.contains_key(&owner) {
            return Ok(values.get(&owner).map(|id| mem.addr(*id, 0)));
        }
        let index = match mem.region(self.handle).map(|r| r.kind) {
            Some(RegionKind::Map(i)) => i,
            _ => return Err(Unmodelled),
        };
        let Some(id) = self.shape.values(mem, index, 1) else { return Ok(None) };
        values.insert(owner, id);
        Ok(Some(mem.addr(id, 0)))
    }

    /// Gives back the value attached to an object.
    pub fn detach(&mut self, mem: &mut Memory, owner: u64) {
        if let Kind::Storage(values) = &mut self.kind {
            if let Some(id) = values.remove(&owner) {
                mem.release(id);
            }
        }
    }

    /// Gives back what lives for one input only.
    pub fn forget_run(&mut self, mem: &mut Memory) {
        use MapType::{CgroupStorage, PercpuCgroupStorage};
        if matches!(self.shape.map_type, CgroupStorage | PercpuCgroupStorage) {
            self.detach(mem, 0);
        }
    }

    /// True where packets can be redirected to this key.
    pub fn has_target(&self, key: &[u8]) -> bool {
        matches!(&self.kind, Kind::Targets(h) if h.contains(key))
    }

    /// The next sample of a user ring buffer.
    pub fn next_sample(&mut self) -> Option<Vec<u8>> {
        match &mut self.kind {
            Kind::UserRing(samples) => samples.pop_front(),
            _ => None,
        }
    }

    /// Puts a sample where user space would; false where the map takes none.
    pub fn add_sample(&mut self, sample: Vec<u8>) -> bool {
        match &mut self.kind {
            Kind::UserRing(samples) => {
                samples.push_back(sample);
                true
            }
            _ => false,
        }
    }

    pub fn is_arena(&self) -> bool {
        matches!(self.kind, Kind::Arena)
    }

    /// Address of the value of a key, without using it; None where there is none.
    pub fn value_of(&self, mem: &Memory, key: &[u8], cpu: u32) -> Option<u64> {
        match &self.kind {
            Kind::Array(a) => a.lookup(&self.shape, mem, key, cpu),
            Kind::Hash(h) => h.value_of(&self.shape, key, cpu),
            _ => None,
        }
    }

    pub fn is_event_array(&self) -> bool {
        matches!(self.kind, Kind::Events)
    }

    /// The program at this index; None where there is none, or the map holds no programs.
    pub fn program(&self, i: u32) -> Option<&Arc<Code>> {
        match &self.kind {
            Kind::Progs(p) => p.get(i as usize)?.as_ref(),
            _ => None,
        }
    }

    pub fn is_prog_array(&self) -> bool {
        matches!(self.kind, Kind::Progs(_))
    }

    /// Puts a program into a prog array; false where it does not fit.
    pub fn set_program(&mut self, i: u32, code: Arc<Code>) -> bool {
        match &mut self.kind {
            Kind::Progs(p) => p.get_mut(i as usize).map(|s| *s = Some(code)).is_some(),
            _ => false,
        }
    }

    /// Puts an inner map into an array of maps; false where it does not fit.
    pub fn set_inner(&mut self, i: u32, map: u32) -> bool {
        match &mut self.kind {
            Kind::Maps(m) => m.get_mut(i as usize).map(|s| *s = Some(map)).is_some(),
            Kind::MapsByKey(m) => {
                // The object gives slots by number; they are keys where the map hashes.
                let mut key = i.to_le_bytes().to_vec();
                key.resize(self.shape.key_size as usize, 0);
                m.insert(key, map);
                true
            }
            _ => false,
        }
    }

    /// Key and address of every element, arrays by index, others in the order of their keys.
    pub fn entries(&self, mem: &Memory, cpu: u32) -> Vec<(Vec<u8>, u64)> {
        match &self.kind {
            Kind::Array(a) => a.entries(&self.shape, mem, cpu),
            Kind::Hash(h) => h.entries(&self.shape, cpu),
            Kind::Lpm(l) => l.entries(&self.shape, mem),
            _ => Vec::new(),
        }
    }

    /// Elements of a queue or stack, the next one first; records of a ring buffer.
    pub fn items(&self) -> Vec<Vec<u8>> {
        match &self.kind {
            Kind::Queue(q) => q.items(),
            Kind::Ring(r) => r.records().to_vec(),
            _ => Vec::new(),
        }
    }
}

/// The arena of the program: the verifier allows one.
fn new_arena(mem: &mut Memory, shape: &Shape) -> Result<Kind, i64> {
    /// `BPF_F_MMAPABLE`, `BPF_F_SEGV_ON_FAULT`, `BPF_F_NO_USER_CONV`.
    const MMAPABLE: u32 = 1 << 10;
    const ALLOWED: u32 = MMAPABLE | 1 << 17 | 1 << 18;
    const PAGE: u64 = 4096;
    let has_sizes = shape.key_size != 0 || shape.value_size != 0 || shape.max_entries == 0;
    let bad_flags = shape.flags & MMAPABLE == 0 || shape.flags & !ALLOWED != 0;
    if has_sizes || bad_flags || !shape.extra.is_multiple_of(PAGE) {
        return Err(errno::EINVAL);
    }
    let range = u64::from(shape.max_entries) * PAGE;
    if range > 1 << 32 {
        return Err(errno::E2BIG);
    }
    let last = shape.extra.checked_add(range - 1);
    if last.is_none_or(|l| l >> 32 != shape.extra >> 32) {
        return Err(errno::ERANGE);
    }
    let is_native = mem.is_native();
    mem.arena = Some(Arena::new(shape.extra, u64::from(shape.max_entries), is_native));
    Ok(Kind::Arena)
}

fn found(addr: Option<u64>) -> Found {
    addr.map_or(Found::Nothing, Found::Value)
}

/// A four-byte key as an index.
fn index(key: &[u8]) -> Option<usize> {
    let bytes: [u8; 4] = key.get(..4)?.try_into().ok()?;
    usize::try_from(u32::from_le_bytes(bytes)).ok()
}
