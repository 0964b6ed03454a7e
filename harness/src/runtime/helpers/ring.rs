//! Ring buffer (kernel/bpf/ringbuf.c).

use super::{number, Call, Helper};
use crate::runtime::maps::errno::EINVAL;
use crate::runtime::memory::RegionKind;
use crate::runtime::Stop;

pub(super) const TABLE: &[(&str, Helper)] = &[
    ("bpf_ringbuf_output", output),
    ("bpf_ringbuf_reserve", reserve),
    ("bpf_ringbuf_submit", submit),
    ("bpf_ringbuf_discard", discard),
    ("bpf_ringbuf_query", query),
];

/// `BPF_RB_NO_WAKEUP | BPF_RB_FORCE_WAKEUP`.
const WAKEUP_FLAGS: u64 = 3;

fn output(c: &mut Call<'_>, a: [u64; 5]) -> Result<u64, Stop> {
    let m = c.map(a[0])?;
    if a[3] & !WAKEUP_FLAGS != 0 {
        return number(-EINVAL);
    }
    let data = c.bytes(a[1], c.len(a[2]))?;
    let rt = &mut *c.rt;
    match rt.maps.get_mut(m).and_then(|m| m.ring()) {
        Some(ring) => number(ring.output(&mut rt.mem, &data)),
        None => Err(c.bad("not a ring buffer")),
    }
}

fn reserve(c: &mut Call<'_>, a: [u64; 5]) -> Result<u64, Stop> {
    let m = c.map(a[0])?;
    if a[2] != 0 {
        return Ok(0);
    }
    let rt = &mut *c.rt;
    match rt.maps.get_mut(m).and_then(|m| m.ring()) {
        Some(ring) => Ok(ring.reserve(&mut rt.mem, a[1]).unwrap_or(0)),
        None => Err(c.bad("not a ring buffer")),
    }
}

fn submit(c: &mut Call<'_>, a: [u64; 5]) -> Result<u64, Stop> {
    close(c, a[0], true)
}

fn discard(c: &mut Call<'_>, a: [u64; 5]) -> Result<u64, Stop> {
    close(c, a[0], false)
}

/// Ends the record at this address; the record's region knows its map.
pub(super) fn close(c: &mut Call<'_>, record: u64, is_submit: bool) -> Result<u64, Stop> {
    let rt = &mut *c.rt;
    let map = match rt.mem.kind_at(record) {
        Some((RegionKind::Record(m), _)) => m as usize,
        _ => return Err(c.bad("not a ring buffer record")),
    };
    let ring = rt.maps.get_mut(map).and_then(|m| m.ring());
    match ring.map(|r| r.close(&mut rt.mem, record, is_submit)) {
        Some(true) => Ok(0),
        _ => Err(c.bad("not the start of a ring buffer record")),
    }
}

fn query(c: &mut Call<'_>, a: [u64; 5]) -> Result<u64, Stop> {
    let m = c.map(a[0])?;
    let Some(ring) = c.rt.maps.get_mut(m).and_then(|m| m.ring()) else {
        return Err(c.bad("not a ring buffer"));
    };
    // Nobody consumes: what is available is everything produced, and the consumer stands at 0.
    Ok(match a[1] {
        0 | 3 => ring.producer(),
        1 => ring.size(),
        _ => 0,
    })
}
