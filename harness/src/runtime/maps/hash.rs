//! Hash maps: plain, per-CPU, and those that evict the least recently used element.
//!
//! An update of an existing key puts the value into another element, so that a
//! pointer from an earlier lookup goes on seeing the old one, as in the kernel;
//! per-CPU values are overwritten in place.  The kernel evicts by lists per CPU
//! and in batches; here the element that was looked up or written longest ago
//! goes, and only when the map is full.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::hash::{BuildHasherDefault, Hasher};

use super::array::write_value;
use super::*;

/// Keys are short and lookups are what programs spend their time on: a multiplication for eight bytes.
#[derive(Default)]
struct KeyHasher(u64);

impl KeyHasher {
    fn add(&mut self, v: u64) {
        self.0 = (self.0.rotate_left(23) ^ v).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
}

impl Hasher for KeyHasher {
    #[inline]
    fn write(&mut self, bytes: &[u8]) {
        let words = bytes.chunks_exact(8);
        let rest = words.remainder();
        for word in words.filter_map(|w| w.try_into().ok()) {
            self.add(u64::from_le_bytes(word));
        }
        if !rest.is_empty() {
            let mut last = [0; 8];
            last.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
            self.add(u64::from_le_bytes(last));
        }
    }

    /// The length before a key; keys of one map have one length.
    #[inline]
    fn write_usize(&mut self, _: usize) {}

    #[inline]
    fn finish(&self) -> u64 {
        // The table takes its index from the low bits, which a product mixes least.
        self.0 ^ self.0 >> 32
    }
}

/// A key's element.
#[derive(Clone, Copy)]
struct Element {
    slot: u32,
    /// Time of the last use, for eviction.
    used: u64,
}

pub struct Hash {
    values: RegionId,
    elements: HashMap<Box<[u8]>, Element, BuildHasherDefault<KeyHasher>>,
    /// Slots given back, reused from the back where preallocated and from the front where not.
    free: VecDeque<u32>,
    /// Slots never used begin here.
    fresh: u32,
    slots: u32,
    /// Uses in order, of maps that evict.
    by_use: BTreeMap<u64, Box<[u8]>>,
    clock: u64,
}

impl Hash {
    pub fn new(mem: &mut Memory, index: u32, shape: &Shape) -> Result<Hash, i64> {
        if shape.max_entries == 0 || shape.key_size == 0 || shape.value_size == 0 {
            return Err(errno::EINVAL);
        }
        if shape.is_lru() && shape.flags & F_NO_PREALLOC != 0 {
            return Err(errno::ENOTSUPP);
        }
        // One more than fits, so that a full map can replace a value.
        let slots = shape.max_entries.checked_add(1).ok_or(errno::ENOMEM)?;
        let cpus = if shape.is_percpu() { shape.cpus } else { 1 };
        let values = shape.values(mem, index, slots as u64 * cpus as u64).ok_or(errno::ENOMEM)?;
        Ok(Hash {
            values,
            elements: HashMap::default(),
            free: VecDeque::new(),
            fresh: 0,
            slots,
            by_use: BTreeMap::new(),
            clock: 0,
        })
    }

    /// Offset of a value in the region.
    fn at(&self, shape: &Shape, slot: u32, cpu: u32) -> u32 {
        let cpu = if shape.is_percpu() { cpu % shape.cpus } else { 0 };
        let nth = cpu.wrapping_mul(self.slots).wrapping_add(slot);
        nth.wrapping_mul(shape.stride())
    }

    pub fn lookup(&mut self, shape: &Shape, mem: &Memory, key: &[u8], cpu: u32) -> Option<u64> {
        let slot = self.elements.get(key)?.slot;
        self.touch(shape, key);
        Some(mem.addr(self.values, self.at(shape, slot, cpu)))
    }

    pub fn contains(&self, key: &[u8]) -> bool {
        self.elements.contains_key(key)
    }

    pub fn value_of(&self, shape: &Shape, mem: &Memory, key: &[u8], cpu: u32) -> Option<u64> {
        let e = self.elements.get(key)?;
        Some(mem.addr(self.values, self.at(shape, e.slot, cpu)))
    }

    /// Makes the element the most recently used one.
    fn touch(&mut self, shape: &Shape, key: &[u8]) {
        if !shape.is_lru() {
            return;
        }
        self.clock += 1;
        let now = self.clock;
        let Some(e) = self.elements.get_mut(key) else { return };
        let before = std::mem::replace(&mut e.used, now);
        self.by_use.remove(&before);
        self.by_use.insert(now, key.into());
    }

    pub fn update(
        &mut self,
        shape: &Shape,
        mem: &mut Memory,
        key: &[u8],
        value: &[u8],
        flags: u64,
        cpu: u32,
    ) -> i64 {
        let is_in_place = shape.is_percpu();
        let allowed = if is_in_place || shape.is_lru() { flags } else { flags & !LOCK };
        if allowed > EXIST || (flags & LOCK != 0 && !shape.has_lock()) {
            return -errno::EINVAL;
        }
        let old = self.elements.get(key).map(|e| e.slot);
        match (old, flags & !LOCK) {
            (Some(_), NOEXIST) => return -errno::EEXIST,
            (None, EXIST) => return -errno::ENOENT,
            _ => {}
        }
        if let Some(slot) = old.filter(|_| is_in_place || flags & LOCK != 0) {
            write_value(shape, mem, self.values, self.at(shape, slot, cpu), value);
            self.touch(shape, key);
            return 0;
        }
        if old.is_none() && self.elements.len() >= shape.max_entries as usize {
            if !shape.is_lru() {
                return -errno::E2BIG;
            }
            self.evict();
        }
        let Some(slot) = self.take_slot(shape) else { return -errno::E2BIG };
        self.fill(shape, mem, slot, value, cpu);
        self.elements.insert(key.into(), Element { slot, used: 0 });
        self.free.extend(old);
        self.touch(shape, key);
        0
    }

    /// Writes a new element; a per-CPU one is zero on the other CPUs.
    fn fill(&mut self, shape: &Shape, mem: &mut Memory, slot: u32, value: &[u8], cpu: u32) {
        if shape.is_percpu() {
            let zero = vec![0; shape.value_size as usize];
            for other in 0..shape.cpus {
                write_value(shape, mem, self.values, self.at(shape, slot, other), &zero);
            }
        }
        write_value(shape, mem, self.values, self.at(shape, slot, cpu), value);
    }

    fn take_slot(&mut self, shape: &Shape) -> Option<u32> {
        if self.fresh < self.slots {
            self.fresh += 1;
            return Some(self.fresh - 1);
        }
        if shape.flags & F_NO_PREALLOC == 0 {
            self.free.pop_back()
        } else {
            self.free.pop_front()
        }
    }

    fn evict(&mut self) {
        if let Some((_, key)) = self.by_use.pop_first() {
            if let Some(e) = self.elements.remove(&key) {
                self.free.push_back(e.slot);
            }
        }
    }

    pub fn delete(&mut self, key: &[u8]) -> i64 {
        let Some(e) = self.elements.remove(key) else { return -errno::ENOENT };
        self.by_use.remove(&e.used);
        self.free.push_back(e.slot);
        0
    }

    pub fn entries(&self, shape: &Shape, mem: &Memory, cpu: u32) -> Vec<(Vec<u8>, u64)> {
        let addr = |e: &Element| mem.addr(self.values, self.at(shape, e.slot, cpu));
        let mut all: Vec<_> = self.elements.iter().map(|(k, e)| (k.to_vec(), addr(e))).collect();
        all.sort();
        all
    }
}
