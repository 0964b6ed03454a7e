//! Dynamic pointers over program memory and ring buffer records (kernel/bpf/helpers.c, ringbuf.c).
//!
//! The 16 bytes on the program's stack are the kernel's `bpf_dynptr_kern`:
//!
//! ```text
//! 0..8   address          8..12  size:24 | - | type:3 (bit 28) | read-only (bit 31)
//! 12..16 offset into the memory
//! ```

use super::{number, ring, Call, Helper};
use crate::runtime::maps::errno::{E2BIG, EINVAL};
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

const SIZE_MASK: u32 = 0xff_ffff;
const TYPE_SHIFT: u32 = 28;
const READ_ONLY: u32 = 1 << 31;
const LOCAL: u32 = 1;
const RINGBUF: u32 = 2;

struct Dynptr {
    data: u64,
    size: u32,
    offset: u32,
    is_read_only: bool,
}

impl Dynptr {
    fn load(c: &Call<'_>, at: u64) -> Result<Dynptr, Stop> {
        let b = c.bytes(at, 16)?;
        let word = |i: usize| {
            b.get(i..i + 4).and_then(|w| w.try_into().ok()).map_or(0, u32::from_le_bytes)
        };
        Ok(Dynptr {
            data: u64::from(word(4)) << 32 | u64::from(word(0)),
            size: word(8) & SIZE_MASK,
            offset: word(12),
            is_read_only: word(8) & READ_ONLY != 0,
        })
    }

    /// Address of `len` bytes at `off`; `E2BIG` beyond the end.
    fn at(&self, off: u64, len: u64) -> Result<u64, i64> {
        let (off, size) = (u64::from(off as u32), u64::from(self.size));
        if off > size || u64::from(len as u32) > size - off {
            return Err(-E2BIG);
        }
        Ok(self.data.wrapping_add(u64::from(self.offset)).wrapping_add(off))
    }
}

fn set(c: &mut Call<'_>, at: u64, data: u64, kind: u32, size: u32) -> Result<(), Stop> {
    let mut b = data.to_le_bytes().to_vec();
    b.extend((size | kind << TYPE_SHIFT).to_le_bytes());
    b.extend([0; 4]);
    c.put(at, &b)
}

fn set_null(c: &mut Call<'_>, at: u64) -> Result<(), Stop> {
    c.put(at, &[0; 16])
}

fn from_mem(c: &mut Call<'_>, a: [u64; 5]) -> Result<u64, Stop> {
    let size = a[1] as u32;
    let error = match (size > SIZE_MASK, a[2] != 0) {
        (true, _) => -E2BIG,
        (_, true) => -EINVAL,
        _ => {
            set(c, a[3], a[0], LOCAL, size)?;
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
    match p.at(a[3], a[1]) {
        Ok(from) => {
            let bytes = c.bytes(from, a[1] as u32)?;
            c.put(a[0], &bytes)?;
            Ok(0)
        }
        Err(e) => number(e),
    }
}

fn write(c: &mut Call<'_>, a: [u64; 5]) -> Result<u64, Stop> {
    let p = Dynptr::load(c, a[0])?;
    if p.data == 0 || p.is_read_only {
        return number(-EINVAL);
    }
    match p.at(a[1], a[3]) {
        Ok(_) if a[4] != 0 => number(-EINVAL),
        Ok(to) => {
            let bytes = c.bytes(a[2], a[3] as u32)?;
            c.put(to, &bytes)?;
            Ok(0)
        }
        Err(e) => number(e),
    }
}

/// The address itself; 0 where the range does not fit or may not be written.
fn data(c: &mut Call<'_>, a: [u64; 5]) -> Result<u64, Stop> {
    let p = Dynptr::load(c, a[0])?;
    if p.data == 0 || p.is_read_only {
        return Ok(0);
    }
    Ok(p.at(a[1], a[2]).unwrap_or(0))
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
                    set(c, a[3], record, RINGBUF, size)?;
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
