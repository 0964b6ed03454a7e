//! Longest-prefix-match trie.
//!
//! Kept as a table by masked prefix: the answers are the trie's, not its shape.

use std::collections::BTreeMap;

use super::array::write_value;
use super::*;

/// A prefix: its length in bits, and its data with the other bits cleared.
type Prefix = (u32, Vec<u8>);

struct Node {
    slot: u32,
    /// Data as it was given, which is what a dump shows.
    data: Vec<u8>,
}

pub struct Lpm {
    values: RegionId,
    nodes: BTreeMap<Prefix, Node>,
    free: Vec<u32>,
    fresh: u32,
    max_prefix: u32,
}

impl Lpm {
    pub fn new(mem: &mut Memory, index: u32, shape: &Shape) -> Result<Lpm, i64> {
        let is_sane = shape.max_entries != 0
            && shape.flags & F_NO_PREALLOC != 0
            && (5..=260).contains(&shape.key_size)
            && shape.value_size != 0;
        if !is_sane {
            return Err(errno::EINVAL);
        }
        let slots = shape.max_entries as u64 + 1;
        let values = shape.values(mem, index, slots).ok_or(errno::ENOMEM)?;
        let max_prefix = (shape.key_size - 4) * 8;
        Ok(Lpm { values, nodes: BTreeMap::new(), free: Vec::new(), fresh: 0, max_prefix })
    }

    /// Offset of a value in the region.
    fn at(shape: &Shape, slot: u32) -> u32 {
        slot.wrapping_mul(shape.stride())
    }

    /// Prefix length and data of a key; None where the length is beyond the data.
    fn split<'k>(&self, key: &'k [u8]) -> Option<(u32, &'k [u8])> {
        let (len, data) = key.split_first_chunk::<4>()?;
        let len = u32::from_le_bytes(*len);
        (len <= self.max_prefix).then_some((len, data))
    }

    pub fn lookup(&self, shape: &Shape, mem: &Memory, key: &[u8]) -> Option<u64> {
        let (len, data) = self.split(key)?;
        let longest = (0..=len).rev().find_map(|l| self.nodes.get(&(l, masked(data, l))))?;
        Some(mem.addr(self.values, Lpm::at(shape, longest.slot)))
    }

    pub fn update(
        &mut self,
        shape: &Shape,
        mem: &mut Memory,
        key: &[u8],
        value: &[u8],
        flags: u64,
    ) -> i64 {
        let Some((len, data)) = self.split(key).filter(|_| flags <= EXIST) else {
            return -errno::EINVAL;
        };
        let prefix = (len, masked(data, len));
        let data = data.to_vec();
        let old = self.nodes.get(&prefix).map(|n| n.slot);
        match old {
            Some(_) if flags == NOEXIST => return -errno::EEXIST,
            None if flags == EXIST => return -errno::ENOENT,
            None if self.nodes.len() >= shape.max_entries as usize => return -errno::ENOSPC,
            _ => {}
        }
        let slot = match self.free.pop() {
            Some(slot) => slot,
            None => {
                self.fresh += 1;
                self.fresh - 1
            }
        };
        write_value(shape, mem, self.values, Lpm::at(shape, slot), value);
        self.nodes.insert(prefix, Node { slot, data });
        self.free.extend(old);
        0
    }

    pub fn delete(&mut self, _shape: &Shape, key: &[u8]) -> i64 {
        let Some((len, data)) = self.split(key) else { return -errno::EINVAL };
        match self.nodes.remove(&(len, masked(data, len))) {
            Some(node) => {
                self.free.push(node.slot);
                0
            }
            None => -errno::ENOENT,
        }
    }

    pub fn entries(&self, shape: &Shape, mem: &Memory) -> Vec<(Vec<u8>, u64)> {
        let of = |(p, n): (&Prefix, &Node)| {
            let mut key = p.0.to_le_bytes().to_vec();
            key.extend(&n.data);
            (key, mem.addr(self.values, Lpm::at(shape, n.slot)))
        };
        self.nodes.iter().map(of).collect()
    }
}

/// `data` with all but the first `bits` bits cleared; the first bit is the highest of the first byte.
fn masked(data: &[u8], bits: u32) -> Vec<u8> {
    let keep = |i: usize| match (bits as usize).saturating_sub(i * 8) {
        0 => 0u8,
        n if n >= 8 => 0xff,
        n => !(0xffu8 >> n),
    };
    data.iter().enumerate().map(|(i, b)| b & keep(i)).collect()
}
