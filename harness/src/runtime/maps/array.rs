//! Array and per-CPU array.

use bpfassay_jit::ArrayPlan;

use super::*;

pub struct Array {
    values: RegionId,
}

impl Array {
    pub fn new(mem: &mut Memory, index: u32, shape: &Shape) -> Result<Array, i64> {
        if shape.max_entries == 0 || shape.key_size != 4 || shape.value_size == 0 {
            return Err(errno::EINVAL);
        }
        let cpus = if shape.is_percpu() { shape.cpus } else { 1 };
        let count = shape.max_entries as u64 * cpus as u64;
        let values = shape.values(mem, index, count).ok_or(errno::ENOMEM)?;
        Ok(Array { values })
    }

    pub fn values(&self) -> RegionId {
        self.values
    }

    /// Offset of a value in the region.
    fn at(&self, shape: &Shape, i: usize, cpu: u32) -> u32 {
        let cpu = if shape.is_percpu() { cpu % shape.cpus } else { 0 };
        let nth = cpu.wrapping_mul(shape.max_entries).wrapping_add(i as u32);
        nth.wrapping_mul(shape.stride())
    }

    pub fn lookup(&self, shape: &Shape, mem: &Memory, key: &[u8], cpu: u32) -> Option<u64> {
        let i = index(key).filter(|i| *i < shape.max_entries as usize)?;
        Some(mem.addr(self.values, self.at(shape, i, cpu)))
    }

    /// Where code finds the elements.
    pub fn plan(&self, shape: &Shape, mem: &Memory, cpu: u32) -> Option<ArrayPlan> {
        let entries = shape.max_entries;
        // Beyond 2 GiB of numbers immediates end.
        (entries <= i32::MAX as u32).then(|| ArrayPlan {
            base: mem.addr(self.values, self.at(shape, 0, cpu)),
            stride: shape.stride(),
            entries,
        })
    }

    pub fn update(
        &self,
        shape: &Shape,
        mem: &mut Memory,
        key: &[u8],
        value: &[u8],
        flags: u64,
        cpu: u32,
    ) -> i64 {
        if flags & !LOCK > EXIST {
            return -errno::EINVAL;
        }
        let Some(i) = index(key).filter(|i| *i < shape.max_entries as usize) else {
            return -errno::E2BIG;
        };
        if flags & NOEXIST != 0 {
            return -errno::EEXIST;
        }
        if flags & LOCK != 0 && !shape.has_lock() {
            return -errno::EINVAL;
        }
        write_value(shape, mem, self.values, self.at(shape, i, cpu), value);
        0
    }

    pub fn entries(&self, shape: &Shape, mem: &Memory, cpu: u32) -> Vec<(Vec<u8>, u64)> {
        let key = |i: u32| i.to_le_bytes().to_vec();
        let addr = |i: u32| mem.addr(self.values, self.at(shape, i as usize, cpu));
        (0..shape.max_entries).map(|i| (key(i), addr(i))).collect()
    }
}

/// Writes a value where the program may not, as the map itself does.
pub(super) fn write_value(
    shape: &Shape,
    mem: &mut Memory,
    region: RegionId,
    at: u32,
    value: &[u8],
) {
    let start = at as usize;
    let end = start + shape.value_size as usize;
    let to = mem.region_mut(region).and_then(|r| r.bytes_mut().get_mut(start..end));
    if let Some(to) = to {
        shape.copy(to, value);
    }
}
