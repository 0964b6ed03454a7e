//! What kernel functions do with dynamic pointers.

use super::super::dynptr::{kind, set_null, Dynptr};
use super::super::{number, packet, Call, Helper};
use crate::runtime::maps::errno::{E2BIG, EINVAL, ERANGE};
use crate::runtime::Stop;

pub(super) const TABLE: &[(&str, Helper)] = &[
    ("bpf_dynptr_slice", slice),
    ("bpf_dynptr_slice_rdwr", slice_rdwr),
    ("bpf_dynptr_adjust", adjust),
    ("bpf_dynptr_is_null", is_null),
    ("bpf_dynptr_is_rdonly", is_rdonly),
    ("bpf_dynptr_size", size),
    ("bpf_dynptr_clone", clone),
    ("bpf_dynptr_copy", copy),
    ("bpf_dynptr_memset", memset),
    ("bpf_dynptr_from_skb", from_skb),
    ("bpf_dynptr_from_skb_meta", from_skb_meta),
    ("bpf_dynptr_from_xdp", from_xdp),
];

/// Address of the bytes, or of the buffer into which they were copied; 0 where neither can be.
fn slice(c: &mut Call<'_>, a: [u64; 5]) -> Result<u64, Stop> {
    let p = Dynptr::load(c, a[0])?;
    let (off, len) = (a[1] as u32, a[3] as u32);
    if p.data == 0 || p.check(off, len).is_err() {
        return Ok(0);
    }
    if let Some(at) = p.in_place(c, off, len) {
        return Ok(at);
    }
    if a[2] == 0 {
        return Ok(0);
    }
    if let Ok(bytes) = p.read(c, off, len)? {
        c.put(a[2], &bytes)?;
        return Ok(a[2]);
    }
    Ok(0)
}

fn slice_rdwr(c: &mut Call<'_>, a: [u64; 5]) -> Result<u64, Stop> {
    match Dynptr::load(c, a[0])?.is_read_only {
        true => Ok(0),
        false => slice(c, a),
    }
}

fn adjust(c: &mut Call<'_>, a: [u64; 5]) -> Result<u64, Stop> {
    let mut p = Dynptr::load(c, a[0])?;
    let (start, end) = (a[1] as u32, a[2] as u32);
    if p.data == 0 || start > end {
        return number(-EINVAL);
    }
    if start > p.size || end > p.size {
        return number(-ERANGE);
    }
    p.offset = p.offset.wrapping_add(start);
    p.size = end - start;
    p.store(c, a[0])?;
    Ok(0)
}

fn is_null(c: &mut Call<'_>, a: [u64; 5]) -> Result<u64, Stop> {
    Ok(u64::from(Dynptr::load(c, a[0])?.data == 0))
}

fn is_rdonly(c: &mut Call<'_>, a: [u64; 5]) -> Result<u64, Stop> {
    let p = Dynptr::load(c, a[0])?;
    Ok(u64::from(p.data != 0 && p.is_read_only))
}

fn size(c: &mut Call<'_>, a: [u64; 5]) -> Result<u64, Stop> {
    let p = Dynptr::load(c, a[0])?;
    match p.data {
        0 => Ok(u64::from(-EINVAL as u32)),
        _ => Ok(u64::from(p.size)),
    }
}

fn clone(c: &mut Call<'_>, a: [u64; 5]) -> Result<u64, Stop> {
    let p = Dynptr::load(c, a[0])?;
    if p.data == 0 {
        set_null(c, a[1])?;
        return number(-EINVAL);
    }
    p.store(c, a[1])?;
    Ok(0)
}

/// Whatever the pieces are, the result is that of one copy.
fn copy(c: &mut Call<'_>, a: [u64; 5]) -> Result<u64, Stop> {
    let [dst, dst_off, src, src_off, len] = a;
    let (to, from) = (Dynptr::load(c, dst)?, Dynptr::load(c, src)?);
    let (dst_off, src_off, len) = (dst_off as u32, src_off as u32, len as u32);
    let readable = from.data != 0 && from.check(src_off, len).is_ok();
    let writable = to.data != 0 && !to.is_read_only && to.check(dst_off, len).is_ok();
    if !readable && !writable {
        let fits = to.check(dst_off, len).and(from.check(src_off, len));
        if fits.is_err() {
            return number(-E2BIG);
        }
    }
    if from.data == 0 {
        return number(-EINVAL);
    }
    match from.read(c, src_off, len)? {
        Ok(bytes) => {
            let result = to.write(c, dst_off, &bytes, 0)?;
            number(result)
        }
        Err(e) => number(e),
    }
}

fn memset(c: &mut Call<'_>, a: [u64; 5]) -> Result<u64, Stop> {
    let p = Dynptr::load(c, a[0])?;
    let (off, len) = (a[1] as u32, a[2] as u32);
    if p.is_read_only {
        return number(-EINVAL);
    }
    if let Err(e) = p.check(off, len) {
        return number(e);
    }
    let result = p.write(c, off, &vec![a[3] as u8; len as usize], 0)?;
    number(result)
}

/// A dynamic pointer over the packet behind the context.
fn of_packet(c: &mut Call<'_>, a: [u64; 5], kind: u32, size: u32) -> Result<u64, Stop> {
    let [ctx, flags, at, ..] = a;
    if flags != 0 {
        set_null(c, at)?;
        return number(-EINVAL);
    }
    // A program type that may not write the packet gets a read-only one.
    let is_read_only = kind == kind::SKB && !c.rt.may_write_packet;
    Dynptr { data: ctx, size, offset: 0, kind, is_read_only }.store(c, at)?;
    Ok(0)
}

fn from_skb(c: &mut Call<'_>, a: [u64; 5]) -> Result<u64, Stop> {
    let size = packet::packet(c)?.len();
    of_packet(c, a, kind::SKB, size)
}

fn from_skb_meta(c: &mut Call<'_>, a: [u64; 5]) -> Result<u64, Stop> {
    let p = packet::packet(c)?;
    of_packet(c, a, kind::SKB_META, p.data - p.meta)
}

fn from_xdp(c: &mut Call<'_>, a: [u64; 5]) -> Result<u64, Stop> {
    let p = packet::packet(c)?;
    let size = p.len() + u32::try_from(p.frags.len()).unwrap_or(0);
    of_packet(c, a, kind::XDP, size)
}
