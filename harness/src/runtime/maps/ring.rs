//! Ring buffer: positions as the kernel keeps them, records as the program wrote them.
//!
//! Nobody consumes during a run, so the consumer stands still.  A record is a
//! region of its own until it is submitted or discarded.

use super::*;

/// `BPF_RINGBUF_HDR_SZ`.
const HEADER: u64 = 8;
/// `RINGBUF_MAX_RECORD_SZ`.
const MAX_RECORD: u64 = u32::MAX as u64 / 4;
const PAGE: u32 = 4096;

pub struct Ring {
    index: u32,
    size: u64,
    producer: u64,
    open: Vec<RegionId>,
    records: Vec<Vec<u8>>,
}

impl Ring {
    pub fn new(index: u32, shape: &Shape) -> Result<Ring, i64> {
        let n = shape.max_entries;
        let is_sane = n.is_power_of_two() && n.is_multiple_of(PAGE);
        if !is_sane || shape.key_size != 0 || shape.value_size != 0 {
            return Err(errno::EINVAL);
        }
        Ok(Ring { index, size: n as u64, producer: 0, open: Vec::new(), records: Vec::new() })
    }

    /// Records submitted, in the order of their submission.
    pub fn records(&self) -> &[Vec<u8>] {
        &self.records
    }

    pub fn size(&self) -> u64 {
        self.size
    }

    pub fn producer(&self) -> u64 {
        self.producer
    }

    /// Room for a record, at this address; None where it does not fit.
    pub fn reserve(&mut self, mem: &mut Memory, size: u64) -> Option<u64> {
        if size > MAX_RECORD {
            return None;
        }
        let len = (size + HEADER).next_multiple_of(8);
        if len > self.size || self.producer + len > self.size - 1 {
            return None;
        }
        let bytes = vec![0; usize::try_from(size).ok()?];
        let kind = RegionKind::Record(self.index);
        let id = mem.add(Region::new(kind, Access::ReadWrite, bytes))?;
        self.producer += len;
        self.open.push(id);
        Some(mem.addr(id, 0))
    }

    /// Ends a reserved record; false where none begins at this address.
    pub fn close(&mut self, mem: &mut Memory, addr: u64, submit: bool) -> bool {
        let Some((id, 0)) = mem.locate(addr) else { return false };
        let Some(i) = self.open.iter().position(|o| *o == id) else { return false };
        self.open.swap_remove(i);
        if submit {
            self.records.extend(mem.region(id).map(|r| r.bytes().to_vec()));
        }
        mem.release(id);
        true
    }

    /// Copies a record in; 0 or a negative error number.
    pub fn output(&mut self, mem: &mut Memory, data: &[u8]) -> i64 {
        match self.reserve(mem, data.len() as u64) {
            Some(addr) => {
                if let Ok(to) = mem.slice_mut(addr, data.len() as u32) {
                    to.copy_from_slice(data);
                }
                self.close(mem, addr, true);
                0
            }
            None => -errno::EAGAIN,
        }
    }
}
