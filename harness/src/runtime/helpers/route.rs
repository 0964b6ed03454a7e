//! Routing, redirection, checksums and the like on skbs and XDP buffers, in a world whose only
//! device is loopback and which forwards nothing (net/core/filter.c).

use super::packet::packet;
use super::skb::{set_view, view};
use super::{number, Call, Helper};
use bpfassay_spec::layouts::sk_buff;

use crate::runtime::checksum;
use crate::runtime::maps::errno::{E2BIG, EAGAIN, EINVAL, ENOTSUPP, EOPNOTSUPP};
use crate::runtime::packet::Buffer;
use crate::runtime::Stop;

pub(super) const TABLE: &[(&str, Helper)] = &[
    ("bpf_fib_lookup", fib_lookup),
    ("bpf_check_mtu", check_mtu),
    ("bpf_redirect_peer", redirect_peer),
    ("bpf_redirect_neigh", redirect_neigh),
    ("bpf_clone_redirect", clone_redirect),
    ("bpf_csum_update", csum_update),
    ("bpf_csum_level", csum_level),
    ("bpf_get_hash_recalc", hash_recalc),
    ("bpf_set_hash", set_hash),
    ("bpf_set_hash_invalid", set_hash_invalid),
    ("bpf_get_cgroup_classid", none),
    ("bpf_skb_cgroup_classid", none),
    ("bpf_get_route_realm", none),
    ("bpf_skb_change_type", change_type),
    ("bpf_skb_set_tstamp", set_tstamp),
    ("bpf_skb_ecn_set_ce", ecn_set_ce),
    ("bpf_skb_under_cgroup", under_cgroup),
];

const ENODEV: i64 = 19;
const EBADMSG: i64 = 74;
const EACCES: i64 = 13;
const EAFNOSUPPORT: i64 = 97;
const LOOPBACK: u32 = 1;
const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;
/// `struct __sk_buff`.
const PKT_TYPE: u32 = sk_buff::PKT_TYPE as u32;
const PROTOCOL: u32 = sk_buff::PROTOCOL as u32;
const HASH: u32 = sk_buff::HASH as u32;
const TSTAMP: u32 = sk_buff::TSTAMP as u32;
const GSO_SIZE: u32 = sk_buff::GSO_SIZE as u32;
const TSTAMP_TYPE: u32 = sk_buff::TSTAMP_TYPE as u32;
/// Protocols as they stand in the packet, read as little-endian numbers.
const IP: u32 = 0x0008;
const IPV6: u32 = 0xdd86;

fn none(_: &mut Call<'_>, _: [u64; 5]) -> Result<u64, Stop> {
    Ok(0)
}

/// Loopback does not forward, and there is no other device.
fn fib_lookup(c: &mut Call<'_>, a: [u64; 5]) -> Result<u64, Stop> {
    /// `sizeof(struct bpf_fib_lookup)`.
    const SIZE: i32 = 64;
    /// `BPF_FIB_LOOKUP_MASK`.
    const FLAGS: u32 = 0x3f;
    const IFINDEX: u64 = 8;
    /// `BPF_FIB_LKUP_RET_FWD_DISABLED`.
    const FWD_DISABLED: u64 = 5;
    let flags = a[3] as u32;
    if (a[2] as u32 as i32) < SIZE || flags & !FLAGS != 0 {
        return number(-EINVAL);
    }
    let family = c.bytes(a[1], 1)?.first().copied().unwrap_or(0);
    if !matches!(family, AF_INET | AF_INET6) {
        return number(-EAFNOSUPPORT);
    }
    c.rt.world.consulted = true;
    let ifindex = c.bytes(a[1] + IFINDEX, 4)?;
    match ifindex.first_chunk::<4>().map(|b| u32::from_le_bytes(*b)) {
        Some(LOOPBACK) => Ok(FWD_DISABLED),
        _ => number(-ENODEV),
    }
}

fn check_mtu(c: &mut Call<'_>, a: [u64; 5]) -> Result<u64, Stop> {
    /// Of loopback.
    const MTU: i64 = 65_536;
    const HEADER: i64 = 14;
    /// `BPF_MTU_CHK_SEGS`.
    const SEGS: u64 = 1;
    /// `BPF_MTU_CHK_RET_FRAG_NEEDED`.
    const FRAG_NEEDED: u64 = 1;
    let p = packet(c)?;
    let [_, ifindex, at, diff, flags] = a;
    let allowed = if p.buffer == Buffer::Xdp { 0 } else { SEGS };
    if flags & !allowed != 0 {
        return number(-EINVAL);
    }
    let given = c.bytes(at, 4)?;
    let given = given.first_chunk::<4>().map_or(0, |b| u32::from_le_bytes(*b));
    let diff = diff as u32 as i32;
    if flags & SEGS != 0 && (diff != 0 || given != 0) {
        return number(-EINVAL);
    }
    if !matches!(ifindex as u32, 0 | LOOPBACK) {
        return number(-ENODEV);
    }
    let len = match given {
        0 => i64::from(p.len()),
        n => i64::from(n) + HEADER,
    };
    let is_gso = p.buffer == Buffer::Skb && view(c, GSO_SIZE) != 0;
    let fits = len + i64::from(diff) <= MTU + HEADER || is_gso;
    c.put(at, &(MTU as u32).to_le_bytes())?;
    Ok(if fits { 0 } else { FRAG_NEEDED })
}

const TC_ACT_SHOT: u64 = 2;
const TC_ACT_REDIRECT: u64 = 7;

fn redirect_peer(_: &mut Call<'_>, a: [u64; 5]) -> Result<u64, Stop> {
    Ok(if a[1] != 0 { TC_ACT_SHOT } else { TC_ACT_REDIRECT })
}

fn redirect_neigh(_: &mut Call<'_>, a: [u64; 5]) -> Result<u64, Stop> {
    /// `sizeof(struct bpf_redir_neigh)`.
    const SIZE: i32 = 20;
    let len = a[2] as u32 as i32;
    let bad = (len != 0 && len < SIZE) || a[3] != 0;
    Ok(if bad { TC_ACT_SHOT } else { TC_ACT_REDIRECT })
}

/// The copy would leave this model on loopback; on any other device it cannot leave.
fn clone_redirect(c: &mut Call<'_>, a: [u64; 5]) -> Result<u64, Stop> {
    const INGRESS: u64 = 1;
    if a[2] & !INGRESS != 0 {
        return number(-EINVAL);
    }
    if view(c, GSO_SIZE) != 0 {
        return number(-EBADMSG);
    }
    match a[1] as u32 {
        LOOPBACK => {
            Err(crate::engine::TrapKind::Unsupported("sending a copy of the packet").into())
        }
        _ => number(-EINVAL),
    }
}

/// No device has summed the packet.
fn csum_update(_: &mut Call<'_>, _: [u64; 5]) -> Result<u64, Stop> {
    number(-ENOTSUPP)
}

fn csum_level(c: &mut Call<'_>, a: [u64; 5]) -> Result<u64, Stop> {
    /// `BPF_CSUM_LEVEL_QUERY`, `_INC`, `_DEC` and `_RESET`.
    const QUERY: u64 = 0;
    const INC: u64 = 1;
    const MAX: i64 = 3;
    let level = c.rt.csum_level;
    match a[1] {
        QUERY => return number(level.unwrap_or(-EACCES)),
        // A checksum that nobody has verified counts as verified once.
        INC => c.rt.csum_level = Some(level.map_or(0, |l| (l + 1).min(MAX))),
        2 => c.rt.csum_level = level.and_then(|l| l.checked_sub(1)).filter(|l| *l >= 0),
        3 => c.rt.csum_level = None,
        _ => return number(-EINVAL),
    }
    Ok(0)
}

/// A hash of the packet by the world's chance, kept until it is invalidated.
fn hash_recalc(c: &mut Call<'_>, _: [u64; 5]) -> Result<u64, Stop> {
    let known = view(c, HASH);
    if known != 0 {
        return Ok(u64::from(known));
    }
    c.rt.world.consulted = true;
    let hash = c.rt.world.random_u32() | 1;
    set_view(c, HASH, hash);
    Ok(u64::from(hash))
}

fn set_hash(c: &mut Call<'_>, a: [u64; 5]) -> Result<u64, Stop> {
    set_view(c, HASH, a[1] as u32);
    Ok(0)
}

fn set_hash_invalid(c: &mut Call<'_>, _: [u64; 5]) -> Result<u64, Stop> {
    set_view(c, HASH, 0);
    Ok(0)
}

/// Between packets for this host, for others, and broadcasts.
fn change_type(c: &mut Call<'_>, a: [u64; 5]) -> Result<u64, Stop> {
    /// `PACKET_OTHERHOST`.
    const LAST: u32 = 3;
    let to = a[1] as u32;
    if to > LAST || view(c, PKT_TYPE) > LAST {
        return number(-EINVAL);
    }
    set_view(c, PKT_TYPE, to);
    Ok(0)
}

fn set_tstamp(c: &mut Call<'_>, a: [u64; 5]) -> Result<u64, Stop> {
    if !matches!(view(c, PROTOCOL), IP | IPV6) {
        return number(-EOPNOTSUPP);
    }
    let kind = a[2] as u32;
    if kind > 2 || (kind > 0 && a[1] == 0) {
        return number(-EINVAL);
    }
    set_view(c, TSTAMP, a[1] as u32);
    set_view(c, TSTAMP + 4, (a[1] >> 32) as u32);
    set_view(c, TSTAMP_TYPE, kind);
    Ok(0)
}

/// Marks congestion where the packet says it can; 1 where it is marked then.
fn ecn_set_ce(c: &mut Call<'_>, _: [u64; 5]) -> Result<u64, Stop> {
    let p = packet(c)?;
    let (is_v4, least) = match view(c, PROTOCOL) {
        IP => (true, 20),
        IPV6 => (false, 40),
        _ => return Ok(0),
    };
    if p.len() < least {
        return Ok(0);
    }
    let at = p.network.saturating_sub(p.data) as usize;
    let Some(header) = p.bytes_mut(&mut c.rt.mem).get_mut(at..at + 12) else { return Ok(0) };
    if is_v4 {
        let old = [header[0], header[1]];
        match old[1] & 3 {
            0 => return Ok(0),
            3 => return Ok(1),
            _ => header[1] |= 3,
        }
        let sum = u16::from_le_bytes([header[10], header[11]]);
        let word = |b: [u8; 2]| u16::from_le_bytes(b);
        let sum = checksum::replace2(sum, word(old), word([header[0], header[1]]));
        header[10..12].copy_from_slice(&sum.to_le_bytes());
        return Ok(1);
    }
    match header[1] >> 4 & 3 {
        0 => Ok(0),
        3 => Ok(1),
        _ => {
            header[1] |= 0x30;
            Ok(1)
        }
    }
}

/// No cgroup stands in any slot.
fn under_cgroup(c: &mut Call<'_>, a: [u64; 5]) -> Result<u64, Stop> {
    let m = c.map(a[1])?;
    let entries = c.rt.maps.get(m).map_or(0, |m| m.shape().max_entries);
    number(if a[2] as u32 >= entries { -E2BIG } else { -EAGAIN })
}
