//! Hash maps: plain, per-CPU, and those that evict the least recently used element.
//!
//! An update of an existing key puts the value into another element, so that a
//! pointer from an earlier lookup goes on seeing the old one, as in the kernel;
//! per-CPU values are overwritten in place.  The kernel evicts by lists per CPU
//! and in batches; here the element that was looked up or written longest ago
//! goes, and only when the map is full.

use std::collections::VecDeque;

use bpfassay_jit::HashPlan;

use super::array::write_value;
use super::table::Table;
use super::uses::Uses;
use super::*;

pub struct Hash {
    values: RegionId,
    /// Address of the first value.
    base: u64,
    /// Address of each key's value, on the first CPU.
    elements: Table,
    /// Slots given back, reused from the back where preallocated and from the front where not.
    free: VecDeque<u32>,
    /// Slots never used begin here.
    fresh: u32,
    slots: u32,
    /// Of maps that evict.
    uses: Uses,
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
            base: mem.addr(values, 0),
            elements: Table::new(shape.key_size as usize),
            free: VecDeque::new(),
            fresh: 0,
            slots,
            uses: Uses::new(),
        })
    }

    /// Offset of a value in the region.
    fn at(&self, shape: &Shape, slot: u32, cpu: u32) -> u32 {
        let cpu = if shape.is_percpu() { cpu % shape.cpus } else { 0 };
        let nth = cpu.wrapping_mul(self.slots).wrapping_add(slot);
        nth.wrapping_mul(shape.stride())
    }

    /// Address of a CPU's values, beside that of the first's.
    fn cpu_offset(&self, shape: &Shape, cpu: u32) -> u64 {
        self.at(shape, 0, cpu).into()
    }

    /// Slot whose value on the first CPU has this address.
    fn slot(&self, shape: &Shape, addr: u64) -> u32 {
        (addr.wrapping_sub(self.base) as u32).checked_div(shape.stride()).unwrap_or(0)
    }

    #[inline]
    pub fn lookup(&mut self, shape: &Shape, key: &[u8], cpu: u32) -> Option<u64> {
        let addr = self.elements.get(key)?;
        if shape.is_lru() {
            self.uses.touch(self.slot(shape, addr));
        }
        Some(addr + self.cpu_offset(shape, cpu))
    }

    /// How code looks keys up; None where a lookup is noted.
    pub fn plan(&self, shape: &Shape, cpu: u32) -> Option<HashPlan> {
        (!shape.is_lru()).then(|| HashPlan {
            table: self.elements.address(),
            key_size: shape.key_size,
            offset: self.at(shape, 0, cpu),
        })
    }

    pub fn contains(&self, key: &[u8]) -> bool {
        self.elements.get(key).is_some()
    }

    pub fn value_of(&self, shape: &Shape, key: &[u8], cpu: u32) -> Option<u64> {
        Some(self.elements.get(key)? + self.cpu_offset(shape, cpu))
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
        let old = self.elements.get(key).map(|addr| self.slot(shape, addr));
        match (old, flags & !LOCK) {
            (Some(_), NOEXIST) => return -errno::EEXIST,
            (None, EXIST) => return -errno::ENOENT,
            _ => {}
        }
        if let Some(slot) = old.filter(|_| is_in_place || flags & LOCK != 0) {
            write_value(shape, mem, self.values, self.at(shape, slot, cpu), value);
            if shape.is_lru() {
                self.uses.touch(slot);
            }
            return 0;
        }
        if old.is_none() && self.elements.len() >= shape.max_entries as usize {
            if !shape.is_lru() {
                return -errno::E2BIG;
            }
            self.evict(shape);
        }
        let Some(slot) = self.take_slot(shape) else { return -errno::E2BIG };
        self.fill(shape, mem, slot, value, cpu);
        self.elements.insert(key, self.base + u64::from(self.at(shape, slot, 0)));
        if let Some(old) = old {
            self.uses.forget(old);
            self.free.push_back(old);
        }
        if shape.is_lru() {
            self.uses.name(slot, key);
            self.uses.touch(slot);
        }
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

    fn evict(&mut self, shape: &Shape) {
        if let Some(key) = self.uses.oldest().map(<[u8]>::to_vec) {
            self.remove(shape, &key);
        }
    }

    /// Takes an element out; false where there is none.
    fn remove(&mut self, shape: &Shape, key: &[u8]) -> bool {
        let Some(addr) = self.elements.remove(key) else { return false };
        let slot = self.slot(shape, addr);
        self.uses.forget(slot);
        self.free.push_back(slot);
        true
    }

    pub fn delete(&mut self, shape: &Shape, key: &[u8]) -> i64 {
        if self.remove(shape, key) {
            0
        } else {
            -errno::ENOENT
        }
    }

    pub fn entries(&self, shape: &Shape, cpu: u32) -> Vec<(Vec<u8>, u64)> {
        let offset = self.cpu_offset(shape, cpu);
        let mut all = self.elements.entries();
        all.iter_mut().for_each(|(_, addr)| *addr += offset);
        all.sort();
        all
    }
}
