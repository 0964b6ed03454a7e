//! Packet access and change (net/core/filter.c).

use super::{number, Call, Helper};
use crate::engine::TrapKind;
use crate::runtime::checksum;
use crate::runtime::maps::errno::{EFAULT, EINVAL, ENOMEM};
use crate::runtime::packet::{Buffer, Packet};
use crate::runtime::Stop;

pub(super) const TABLE: &[(&str, Helper)] = &[
    ("bpf_skb_load_bytes", skb_load),
    ("bpf_skb_load_bytes_relative", skb_load_relative),
    ("bpf_skb_store_bytes", skb_store),
    ("bpf_skb_pull_data", skb_pull),
    ("bpf_skb_change_tail", skb_change_tail),
    ("bpf_csum_diff", csum_diff),
    ("bpf_l3_csum_replace", l3_csum_replace),
    ("bpf_l4_csum_replace", l4_csum_replace),
    ("bpf_redirect", redirect),
    ("bpf_xdp_adjust_head", xdp_adjust_head),
    ("bpf_xdp_adjust_meta", xdp_adjust_meta),
    ("bpf_xdp_adjust_tail", xdp_adjust_tail),
    ("bpf_xdp_load_bytes", xdp_load),
    ("bpf_xdp_store_bytes", xdp_store),
    ("bpf_xdp_get_buff_len", xdp_len),
];

/// `BPF_F_RECOMPUTE_CSUM | BPF_F_INVALIDATE_HASH`.
pub(super) const STORE_FLAGS: u64 = 3;
/// `BPF_F_HDR_FIELD_MASK`.
const FIELD_MASK: u64 = 0xf;
/// `BPF_F_PSEUDO_HDR`, `BPF_F_MARK_MANGLED_0`, `BPF_F_MARK_ENFORCE`, `BPF_F_IPV6`.
const PSEUDO_HDR: u64 = 1 << 4;
const MANGLED_0: u64 = 1 << 5;
const MARK_ENFORCE: u64 = 1 << 6;
const IPV6: u64 = 1 << 7;
/// `CSUM_MANGLED_0`.
const CSUM_MANGLED_0: u16 = 0xffff;
/// `SKB_MAX_ALLOC`: `BPF_SKB_MAX_LEN`.
const SKB_MAX_LEN: u32 = 16_064;
const ETH_HLEN: u32 = 14;
/// `sizeof(struct xdp_frame)`.
const XDP_FRAME: u32 = 40;
/// Metadata is a multiple of 4 bytes and its length fits a byte (`xdp_metalen_invalid`).
const META_MAX: u32 = 255;
const EACCES: i64 = 13;

pub(super) fn packet(c: &Call<'_>) -> Result<Packet, Stop> {
    let none = TrapKind::Unsupported("packet helper without a packet");
    c.rt.packet.clone().ok_or(Stop::Trap(none))
}

/// The packet, where it is in one piece.
fn linear(c: &Call<'_>) -> Result<Packet, Stop> {
    let p = packet(c)?;
    if p.frags.is_empty() {
        return Ok(p);
    }
    Err(TrapKind::Unsupported("this helper on a packet in several fragments").into())
}

/// Takes over moved ends and shows them to the program.
pub(super) fn renew(c: &mut Call<'_>, p: Packet) {
    p.show(&mut c.rt.mem, c.rt.ctx);
    c.rt.packet = Some(p);
}

/// Copies packet bytes to the program; zeroes and EFAULT beyond the packet.
fn load(c: &mut Call<'_>, p: &Packet, base: u32, off: u32, to: u64, len: u32) -> Result<u64, Stop> {
    // A flow dissector's load goes through the skb, which a test run does not have.
    let bytes = p.range(&c.rt.mem, base, off, len).filter(|_| p.buffer != Buffer::Flow);
    match bytes.map(<[u8]>::to_vec) {
        Some(bytes) => {
            c.put(to, &bytes)?;
            Ok(0)
        }
        None => {
            c.put(to, &vec![0; len as usize])?;
            number(-EFAULT)
        }
    }
}

fn skb_load(c: &mut Call<'_>, a: [u64; 5]) -> Result<u64, Stop> {
    let p = packet(c)?;
    load(c, &p, p.data, a[1] as u32, a[2], a[3] as u32)
}

fn skb_load_relative(c: &mut Call<'_>, a: [u64; 5]) -> Result<u64, Stop> {
    let p = packet(c)?;
    let (off, len) = (a[1] as u32, a[3] as u32);
    let base = match a[4] as u32 {
        0 if off <= 0xffff => p.mac,
        1 if off <= 0xffff => p.network,
        _ => p.end.saturating_add(1),
    };
    load(c, &p, base, off, a[2], len)
}

fn skb_store(c: &mut Call<'_>, a: [u64; 5]) -> Result<u64, Stop> {
    if a[4] & !STORE_FLAGS != 0 {
        return number(-EINVAL);
    }
    let p = packet(c)?;
    let bytes = c.bytes(a[2], a[3] as u32)?;
    Ok(store(c, &p, a[1] as u32, &bytes))
}

/// Writes into the packet; EFAULT beyond it.
fn store(c: &mut Call<'_>, p: &Packet, off: u32, bytes: &[u8]) -> u64 {
    let start = off as usize;
    let to = p.bytes_mut(&mut c.rt.mem).get_mut(start..start.saturating_add(bytes.len()));
    match to {
        Some(to) => {
            to.copy_from_slice(bytes);
            0
        }
        None => -EFAULT as u64,
    }
}

fn skb_pull(c: &mut Call<'_>, a: [u64; 5]) -> Result<u64, Stop> {
    let p = packet(c)?;
    number(if a[1] as u32 > p.len() { -ENOMEM } else { 0 })
}

fn skb_change_tail(c: &mut Call<'_>, a: [u64; 5]) -> Result<u64, Stop> {
    let mut p = packet(c)?;
    let new = a[1] as u32;
    let min = p.network.saturating_sub(p.data);
    if a[2] != 0 || new < min || new > SKB_MAX_LEN {
        return number(-EINVAL);
    }
    let (old_end, end) = (p.end, p.data + new);
    if end > p.hard_end {
        return number(-ENOMEM);
    }
    p.end = end;
    zero(c, &p, old_end, end);
    renew(c, p);
    Ok(0)
}

/// Zeroes the bytes gained by moving the end.
fn zero(c: &mut Call<'_>, p: &Packet, from: u32, to: u32) {
    let bytes = c.rt.mem.region_mut(p.region).map(|r| r.bytes_mut());
    if let Some(b) = bytes.and_then(|b| b.get_mut(from as usize..to as usize)) {
        b.fill(0);
    }
}

fn csum_diff(c: &mut Call<'_>, a: [u64; 5]) -> Result<u64, Stop> {
    let from = c.bytes(a[0], a[1] as u32)?;
    let to = c.bytes(a[2], a[3] as u32)?;
    let seed = a[4] as u32;
    let sum = match (from.is_empty(), to.is_empty()) {
        (false, false) => checksum::sub(checksum::partial(&to, seed), checksum::partial(&from, 0)),
        (true, false) => checksum::partial(&to, seed),
        (false, true) => !checksum::partial(&from, !seed),
        (true, true) => seed,
    };
    Ok(checksum::fold16(sum) as u64)
}

/// The checksum field at an offset of the packet; the error is the helper's.
fn field(c: &Call<'_>, off: u64) -> Result<Result<(Packet, u32, u16), i64>, Stop> {
    let p = packet(c)?;
    let off = off as u32;
    if off > 0xffff || off & 1 != 0 {
        return Ok(Err(-EFAULT));
    }
    let value = p.range(&c.rt.mem, p.data, off, 2).and_then(|b| b.first_chunk::<2>().copied());
    Ok(match value {
        Some(b) => Ok((p, off, u16::from_le_bytes(b))),
        None => Err(-EFAULT),
    })
}

/// The new value of a checksum after `from` became `to`; None for a size that is neither.
fn replaced(old: u16, size: u64, from: u64, to: u64) -> Option<u16> {
    match size {
        0 if from == 0 => Some(checksum::replace_by_diff(old, to as u32)),
        2 => Some(checksum::replace2(old, from as u16, to as u16)),
        4 => Some(checksum::replace4(old, from as u32, to as u32)),
        _ => None,
    }
}

fn l3_csum_replace(c: &mut Call<'_>, a: [u64; 5]) -> Result<u64, Stop> {
    if a[4] & !FIELD_MASK != 0 {
        return number(-EINVAL);
    }
    let (p, off, old) = match field(c, a[1])? {
        Ok(f) => f,
        Err(e) => return number(e),
    };
    match replaced(old, a[4] & FIELD_MASK, a[2], a[3]) {
        Some(new) => Ok(store(c, &p, off, &new.to_le_bytes())),
        None => number(-EINVAL),
    }
}

fn l4_csum_replace(c: &mut Call<'_>, a: [u64; 5]) -> Result<u64, Stop> {
    let flags = a[4];
    if flags & !(FIELD_MASK | PSEUDO_HDR | MANGLED_0 | MARK_ENFORCE | IPV6) != 0 {
        return number(-EINVAL);
    }
    let (p, off, old) = match field(c, a[1])? {
        Ok(f) => f,
        Err(e) => return number(e),
    };
    if flags & MANGLED_0 != 0 && flags & MARK_ENFORCE == 0 && old == 0 {
        return Ok(0);
    }
    let size = flags & FIELD_MASK;
    // Two bytes go through the four-byte form here (`inet_proto_csum_replace2`).
    let new = match size {
        2 => Some(checksum::replace4(old, a[2] as u16 as u32, a[3] as u16 as u32)),
        _ => replaced(old, size, a[2], a[3]),
    };
    match new {
        Some(0) if flags & MANGLED_0 != 0 => Ok(store(c, &p, off, &CSUM_MANGLED_0.to_le_bytes())),
        Some(new) => Ok(store(c, &p, off, &new.to_le_bytes())),
        None => number(-EINVAL),
    }
}

/// `BPF_F_INGRESS`.
const F_INGRESS: u64 = 1;

/// Remembers nothing: a test run goes no further than the return value.
fn redirect(c: &mut Call<'_>, a: [u64; 5]) -> Result<u64, Stop> {
    const TC_ACT_SHOT: u64 = 2;
    const TC_ACT_REDIRECT: u64 = 7;
    const XDP_ABORTED: u64 = 0;
    const XDP_REDIRECT: u64 = 4;
    let flags = a[1];
    Ok(match packet(c)?.buffer {
        Buffer::Skb if flags & !F_INGRESS != 0 => TC_ACT_SHOT,
        Buffer::Skb => TC_ACT_REDIRECT,
        Buffer::Xdp if flags != 0 => XDP_ABORTED,
        Buffer::Xdp => XDP_REDIRECT,
        Buffer::Flow | Buffer::Bare => return Err(c.bad("no packet that can be redirected")),
    })
}

/// `base` moved by a signed 32-bit distance, as a position that may lie anywhere.
fn moved(base: u32, by: u64) -> i64 {
    base as i64 + (by as u32 as i32) as i64
}

fn xdp_adjust_head(c: &mut Call<'_>, a: [u64; 5]) -> Result<u64, Stop> {
    let mut p = packet(c)?;
    let meta_len = p.data - p.meta;
    let data = moved(p.data, a[1]);
    let lowest = (p.hard_start + XDP_FRAME + meta_len) as i64;
    if data < lowest || data > p.end as i64 - ETH_HLEN as i64 {
        return number(-EINVAL);
    }
    let meta = data as u32 - meta_len;
    if let Some(r) = c.rt.mem.region_mut(p.region) {
        let from = p.meta as usize..p.data as usize;
        r.bytes_mut().copy_within(from, meta as usize);
    }
    (p.meta, p.data) = (meta, data as u32);
    renew(c, p);
    Ok(0)
}

fn xdp_adjust_meta(c: &mut Call<'_>, a: [u64; 5]) -> Result<u64, Stop> {
    let mut p = packet(c)?;
    let meta = moved(p.meta, a[1]);
    if meta < (p.hard_start + XDP_FRAME) as i64 || meta > p.data as i64 {
        return number(-EINVAL);
    }
    let len = p.data - meta as u32;
    if !len.is_multiple_of(4) || len > META_MAX {
        return number(-EACCES);
    }
    p.meta = meta as u32;
    renew(c, p);
    Ok(0)
}

fn xdp_adjust_tail(c: &mut Call<'_>, a: [u64; 5]) -> Result<u64, Stop> {
    let mut p = linear(c)?;
    let end = moved(p.end, a[1]);
    if end > p.hard_end as i64 || end < (p.data + ETH_HLEN) as i64 {
        return number(-EINVAL);
    }
    let old = p.end;
    p.end = end as u32;
    zero(c, &p, old, end as u32);
    renew(c, p);
    Ok(0)
}

/// Offset and length of an XDP copy; EFAULT or EINVAL where they do not fit (`bpf_xdp_pointer`).
fn xdp_range(p: &Packet, off: u64, len: u64) -> Result<(u32, u32), i64> {
    let (off, len) = (off as u32, len as u32);
    if off > 0xffff || len > 0xffff {
        return Err(-EFAULT);
    }
    if off + len > p.len() + p.frags.len() as u32 {
        return Err(-EINVAL);
    }
    Ok((off, len))
}

/// Bytes of an XDP packet, across its fragments.
pub(super) fn xdp_read(c: &Call<'_>, off: u32, len: u32) -> Result<Result<Vec<u8>, i64>, Stop> {
    let p = packet(c)?;
    let (off, len) = match xdp_range(&p, u64::from(off), u64::from(len)) {
        Ok((off, len)) => (off as usize, len as usize),
        Err(e) => return Ok(Err(e)),
    };
    let all = p.bytes(&c.rt.mem).iter().chain(&p.frags);
    Ok(Ok(all.skip(off).take(len).copied().collect()))
}

/// Writes an XDP packet, across its fragments.
pub(super) fn xdp_write(c: &mut Call<'_>, off: u32, bytes: &[u8]) -> Result<i64, Stop> {
    let mut p = packet(c)?;
    let off = match xdp_range(&p, u64::from(off), bytes.len() as u64) {
        Ok((off, _)) => off as usize,
        Err(e) => return Ok(e),
    };
    let mut frags = std::mem::take(&mut p.frags);
    let all = p.bytes_mut(&mut c.rt.mem).iter_mut().chain(&mut frags);
    for (to, from) in all.skip(off).zip(bytes) {
        *to = *from;
    }
    if let Some(p) = c.rt.packet.as_mut() {
        p.frags = frags;
    }
    Ok(0)
}

fn xdp_load(c: &mut Call<'_>, a: [u64; 5]) -> Result<u64, Stop> {
    match xdp_read(c, a[1] as u32, a[3] as u32)? {
        Ok(bytes) => {
            c.put(a[2], &bytes)?;
            Ok(0)
        }
        Err(e) => number(e),
    }
}

fn xdp_store(c: &mut Call<'_>, a: [u64; 5]) -> Result<u64, Stop> {
    let bytes = c.bytes(a[2], a[3] as u32)?;
    let result = xdp_write(c, a[1] as u32, &bytes)?;
    number(result)
}

fn xdp_len(c: &mut Call<'_>, _: [u64; 5]) -> Result<u64, Stop> {
    let p = packet(c)?;
    Ok(p.len() as u64 + p.frags.len() as u64)
}
