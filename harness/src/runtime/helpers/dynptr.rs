//! Dynamic pointers over program memory, ring buffer records and packets (kernel/bpf/helpers.c, ringbuf.c).
//!
//! The 16 bytes on the program's stack are the kernel's `bpf_dynptr_kern`:
//!
//! ```text
//! 0..8   address          8..12  size:24 | - | type:3 (bit 28) | read-only (bit 31)
//! 12..16 offset into the memory
//! ```
//!
//! A packet's address is that of its context: where its bytes stand is looked
//! up at every use, because the packet may have moved.

use super::{number, packet, ring, Call, Helper};
use crate::runtime::maps::errno::{E2BIG, EFAULT, EINVAL};
use crate::runtime::Stop;

pub(super) const TABLE: &[(&str, Helper)] = &[
    ("bpf_dynptr_from_mem", from_mem),
    ("bpf_dynptr_read", read),
    ("bpf_dynptr_write", write),
    ("bpf_dynptr_data", data),
    ("bpf_ringbuf_reserve_dynptr", reserve),
    ("bpf_ringbuf_submit_dynptr", submit),
    ("bpf_ringbuf_discard_dynptr", discard),
];

/// `DYNPTR_MAX_SIZE`.
pub(super) const SIZE_MASK: u32 = 0xff_ffff;
const TYPE_SHIFT: u32 = 28;
const READ_ONLY: u32 = 1 << 31;

/// `enum bpf_dynptr_type`, as it stands in the bits.
pub(super) mod kind {
    pub const LOCAL: u32 = 1;
    pub const RINGBUF: u32 = 2;
    pub const SKB: u32 = 3;
    pub const XDP: u32 = 4;
    pub const SKB_META: u32 = 5;
}

pub(super) struct Dynptr {
    pub data: u64,
    pub size: u32,
    pub offset: u32,
    pub kind: u32,
    pub is_read_only: bool,
}

impl Dynptr {
    pub fn load(c: &Call<'_>, at: u64) -> Result<Dynptr, Stop> {
        let b = c.bytes(at, 16)?;
        let word = |i: usize| {
            b.get(i..i + 4).and_then(|w| w.try_into().ok()).map_or(0, u32::from_le_bytes)
        };
        Ok(Dynptr {
            data: u64::from(word(4)) << 32 | u64::from(word(0)),
            size: word(8) & SIZE_MASK,
            offset: word(12),
            kind: (word(8) & !READ_ONLY) >> TYPE_SHIFT,
            is_read_only: word(8) & READ_ONLY != 0,
        })
    }

    pub fn store(&self, c: &mut Call<'_>, at: u64) -> Result<(), Stop> {
        let flags = self.kind << TYPE_SHIFT | if self.is_read_only { READ_ONLY } else { 0 };
        let mut b = self.data.to_le_bytes().to_vec();
        b.extend((self.size | flags).to_le_bytes());
        b.extend(self.offset.to_le_bytes());
        c.put(at, &b)
    }

    /// `bpf_dynptr_check_off_len`: E2BIG beyond the end.
    pub fn check(&self, off: u32, len: u32) -> Result<(), i64> {
        if off > self.size || len > self.size - off {
            return Err(-E2BIG);
        }
        Ok(())
    }

    /// Address of `len` bytes at `off` where they stand in one piece.
    pub fn in_place(&self, c: &Call<'_>, off: u32, len: u32) -> Option<u64> {
        let at = self.offset.checked_add(off)?;
        match self.kind {
            kind::LOCAL | kind::RINGBUF => Some(self.data.wrapping_add(u64::from(at))),
            kind::SKB | kind::XDP => {
                let p = c.rt.packet.as_ref()?;
                p.range(c.mem(), p.data, at, len)?;
                Some(c.rt.address(p.region, p.data + at))
            }
            kind::SKB_META => {
                let p = c.rt.packet.as_ref()?;
                Some(c.rt.address(p.region, p.meta.checked_add(at)?))
            }
            _ => None,
        }
    }

    /// `__bpf_dynptr_read`.
    pub fn read(&self, c: &Call<'_>, off: u32, len: u32) -> Result<Result<Vec<u8>, i64>, Stop> {
        if let Err(e) = self.check(off, len) {
            return Ok(Err(e));
        }
        if self.kind == kind::XDP {
            return packet::xdp_read(c, self.offset.wrapping_add(off), len);
        }
        match self.in_place(c, off, len) {
            Some(at) => c.bytes(at, len).map(Ok),
            None => Ok(Err(-EFAULT)),
        }
    }

    /// `__bpf_dynptr_write`; the flags are those of a packet's.
    pub fn write(&self, c: &mut Call<'_>, off: u32, bytes: &[u8], flags: u64) -> Result<i64, Stop> {
        if self.data == 0 || self.is_read_only {
            return Ok(-EINVAL);
        }
        if let Err(e) = self.check(off, bytes.len() as u32) {
            return Ok(e);
        }
        let bad = match self.kind {
            kind::SKB => flags & !packet::STORE_FLAGS != 0,
            _ => flags != 0,
        };
        if bad {
            return Ok(-EINVAL);
        }
        if self.kind == kind::XDP {
            return packet::xdp_write(c, self.offset.wrapping_add(off), bytes);
        }
        match self.in_place(c, off, bytes.len() as u32) {
            Some(at) => {
                c.put(at, bytes)?;
                Ok(0)
            }
            None => Ok(-EFAULT),
        }
    }
}

pub(super) fn set(c: &mut Call<'_>, at: u64, data: u64, kind: u32, size: u32) -> Result<(), Stop> {
    Dynptr { data, size, offset: 0, kind, is_read_only: false }.store(c, at)
}

/// The bytes of a read-only pointer over memory, for a callback.
pub(super) fn over(data: u64, len: usize) -> Vec<u8> {
    let size = u32::try_from(len).unwrap_or(u32::MAX) & SIZE_MASK;
    let mut b = data.to_le_bytes().to_vec();
    b.extend((size | kind::LOCAL << TYPE_SHIFT | READ_ONLY).to_le_bytes());
    b.extend([0; 4]);
    b
}

pub(super) fn set_null(c: &mut Call<'_>, at: u64) -> Result<(), Stop> {
    c.put(at, &[0; 16])
}

fn from_mem(c: &mut Call<'_>, a: [u64; 5]) -> Result<u64, Stop> {
    let size = a[1] as u32;
    let error = match (size > SIZE_MASK, a[2] != 0) {
        (true, _) => -E2BIG,
        (_, true) => -EINVAL,
        _ => {
            set(c, a[3], a[0], kind::LOCAL, size)?;
            return Ok(0);
        }
    };
    set_null(c, a[3])?;
    number(error)
}

fn read(c: &mut Call<'_>, a: [u64; 5]) -> Result<u64, Stop> {
    let p = Dynptr::load(c, a[2])?;
    if p.data == 0 || a[4] != 0 {
        return number(-EINVAL);
    }
    match p.read(c, a[3] as u32, a[1] as u32)? {
        Ok(bytes) => {
            c.put(a[0], &bytes)?;
            Ok(0)
        }
        Err(e) => number(e),
    }
}

fn write(c: &mut Call<'_>, a: [u64; 5]) -> Result<u64, Stop> {
    let p = Dynptr::load(c, a[0])?;
    let bytes = c.bytes(a[2], a[3] as u32)?;
    let result = p.write(c, a[1] as u32, &bytes, a[4])?;
    number(result)
}

/// The address itself; 0 where the range does not fit or may not be written, and for packets.
fn data(c: &mut Call<'_>, a: [u64; 5]) -> Result<u64, Stop> {
    let p = Dynptr::load(c, a[0])?;
    let (off, len) = (a[1] as u32, a[2] as u32);
    let is_plain = matches!(p.kind, kind::LOCAL | kind::RINGBUF);
    if p.data == 0 || p.is_read_only || !is_plain || p.check(off, len).is_err() {
        return Ok(0);
    }
    Ok(p.in_place(c, off, len).unwrap_or(0))
}

fn reserve(c: &mut Call<'_>, a: [u64; 5]) -> Result<u64, Stop> {
    let m = c.map(a[0])?;
    let size = a[1] as u32;
    let error = match (a[2] != 0, size > SIZE_MASK) {
        (true, _) => -EINVAL,
        (_, true) => -E2BIG,
        _ => {
            let rt = &mut *c.rt;
            let Some(ring) = rt.maps.get_mut(m).and_then(|m| m.ring()) else {
                return Err(c.bad("not a ring buffer"));
            };
            match ring.reserve(&mut rt.mem, u64::from(size)) {
                Some(record) => {
                    set(c, a[3], record, kind::RINGBUF, size)?;
                    return Ok(0);
                }
                None => -EINVAL,
            }
        }
    };
    set_null(c, a[3])?;
    number(error)
}

fn submit(c: &mut Call<'_>, a: [u64; 5]) -> Result<u64, Stop> {
    close(c, a[0], true)
}

fn discard(c: &mut Call<'_>, a: [u64; 5]) -> Result<u64, Stop> {
    close(c, a[0], false)
}

fn close(c: &mut Call<'_>, at: u64, is_submit: bool) -> Result<u64, Stop> {
    let p = Dynptr::load(c, at)?;
    if p.data == 0 {
        return Ok(0);
    }
    ring::close(c, p.data, is_submit)?;
    set_null(c, at)?;
    Ok(0)
}
