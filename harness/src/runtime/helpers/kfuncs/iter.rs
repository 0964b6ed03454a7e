//! Iterators over numbers and bits.
//!
//! ```text
//! bpf_iter_num   0 current  4 end             bpf_iter_bits   0 bits or their address  8 count  12 current
//! ```

use bpfassay_isa::Size;

use super::super::{number, Call, Helper};
use crate::runtime::maps::errno::{E2BIG, EFAULT, EINVAL};
use crate::runtime::objects::ObjectKind;
use crate::runtime::Stop;

pub(super) const TABLE: &[(&str, Helper)] = &[
    ("bpf_iter_num_new", num_new),
    ("bpf_iter_num_next", num_next),
    ("bpf_iter_num_destroy", num_destroy),
    ("bpf_iter_bits_new", bits_new),
    ("bpf_iter_bits_next", bits_next),
    ("bpf_iter_bits_destroy", bits_destroy),
];

/// `BPF_MAX_LOOPS`.
const MAX_LOOPS: i64 = bpfassay_spec::Limits::MOST.max_loops as i64;
/// `BITS_ITER_NR_WORDS_MAX`.
const MAX_WORDS: u32 = 511;

fn get(c: &Call<'_>, at: u64) -> Result<i32, Stop> {
    Ok(c.mem().load(at, Size::W)? as u32 as i32)
}

fn set(c: &mut Call<'_>, at: u64, v: i32) -> Result<(), Stop> {
    Ok(c.rt.mem.store(at, Size::W, u64::from(v as u32))?)
}

fn num_new(c: &mut Call<'_>, a: [u64; 5]) -> Result<u64, Stop> {
    let (start, end) = (a[1] as u32 as i32, a[2] as u32 as i32);
    let error = match i64::from(end) - i64::from(start) {
        ..0 => -EINVAL,
        n if n > MAX_LOOPS => -E2BIG,
        _ => 0,
    };
    let (cur, end) = if error == 0 { (start.wrapping_sub(1), end) } else { (0, 0) };
    set(c, a[0], cur)?;
    set(c, a[0] + 4, end)?;
    number(error)
}

fn num_next(c: &mut Call<'_>, a: [u64; 5]) -> Result<u64, Stop> {
    let next = get(c, a[0])?.wrapping_add(1);
    if next >= get(c, a[0] + 4)? {
        return num_destroy(c, a);
    }
    set(c, a[0], next)?;
    Ok(a[0])
}

fn num_destroy(c: &mut Call<'_>, a: [u64; 5]) -> Result<u64, Stop> {
    set(c, a[0], 0)?;
    set(c, a[0] + 4, 0)?;
    Ok(0)
}

fn bits_new(c: &mut Call<'_>, a: [u64; 5]) -> Result<u64, Stop> {
    let words = a[2] as u32;
    c.rt.mem.store(a[0], Size::Dw, 0)?;
    set(c, a[0] + 8, 0)?;
    set(c, a[0] + 12, -1)?;
    if a[1] == 0 || words == 0 {
        return number(-EINVAL);
    }
    if words > MAX_WORDS {
        return number(-E2BIG);
    }
    let Some(bytes) = c.probe(a[1], words * 8) else { return number(-EFAULT) };
    if words == 1 {
        c.put(a[0], &bytes)?;
    } else {
        let copy = c.rt.allocate(ObjectKind::PerCpu { stride: words * 8 }, words * 8)?;
        c.put(copy, &bytes)?;
        c.rt.mem.store(a[0], Size::Dw, copy)?;
    }
    set(c, a[0] + 8, (words * 64) as i32)?;
    Ok(0)
}

fn bits_next(c: &mut Call<'_>, a: [u64; 5]) -> Result<u64, Stop> {
    let (count, current) = (get(c, a[0] + 8)?, get(c, a[0] + 12)?);
    if count == 0 || current >= count {
        return Ok(0);
    }
    let at = if count == 64 { a[0] } else { c.mem().load(a[0], Size::Dw)? };
    let bytes = c.bytes(at, count as u32 / 8)?;
    let is_set = |i: &i32| bytes.get(*i as usize / 8).is_some_and(|b| b >> (i % 8) & 1 != 0);
    let next = (current.wrapping_add(1)..count).find(is_set);
    set(c, a[0] + 12, next.unwrap_or(count))?;
    Ok(next.map_or(0, |_| a[0] + 12))
}

fn bits_destroy(c: &mut Call<'_>, a: [u64; 5]) -> Result<u64, Stop> {
    if get(c, a[0] + 8)? > 64 {
        let copy = c.mem().load(a[0], Size::Dw)?;
        c.rt.drop_object(copy)?;
    }
    Ok(0)
}
