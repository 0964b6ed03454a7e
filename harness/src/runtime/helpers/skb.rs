//! Helpers that move an skb's headers, and those whose answer is "nothing there" in a world
//! without tunnels, sockets and redirect targets (net/core/filter.c, net/core/skbuff.c).

use super::packet::{packet, renew};
use super::{number, Call, Helper};
use bpfassay_spec::layouts::sk_buff;
use bpfassay_spec::MapType;

use crate::runtime::maps::errno::{EFAULT, EINVAL, ENOTSUPP};
use crate::runtime::packet::Packet;
use crate::runtime::Stop;

pub(super) const TABLE: &[(&str, Helper)] = &[
    ("bpf_skb_change_head", change_head),
    ("bpf_skb_adjust_room", adjust_room),
    ("bpf_skb_vlan_push", vlan_push),
    ("bpf_skb_vlan_pop", vlan_pop),
    ("bpf_skb_get_tunnel_key", tunnel_key),
    ("bpf_redirect_map", redirect_map),
    ("bpf_sk_lookup_tcp", no_socket),
    ("bpf_sk_lookup_udp", no_socket),
    ("bpf_skc_lookup_tcp", no_socket),
];

/// `BPF_SKB_MAX_LEN`.
const MAX_LEN: u32 = 16_064;
const MAC_LEN: u32 = 14;
const VLAN_LEN: u32 = 4;
const ENOMEM: i64 = 12;
const EALREADY: i64 = 114;
/// `struct __sk_buff`.
const PROTOCOL: u32 = sk_buff::PROTOCOL as u32;
const VLAN_PRESENT: u32 = sk_buff::VLAN_PRESENT as u32;
const VLAN_TCI: u32 = sk_buff::VLAN_TCI as u32;
const VLAN_PROTO: u32 = sk_buff::VLAN_PROTO as u32;
/// Protocols as they stand in the packet, read as little-endian numbers.
const IP: u32 = 0x0008;
const IPV6: u32 = 0xdd86;
const Q: u32 = 0x0081;
const AD: u32 = 0xa888;

pub(super) fn view(c: &Call<'_>, off: u32) -> u32 {
    let at = off as usize;
    let ctx = c.rt.ctx.and_then(|id| c.rt.mem.region(id));
    let bytes = ctx.and_then(|r| r.bytes().get(at..at + 4)?.try_into().ok());
    bytes.map_or(0, u32::from_le_bytes)
}

pub(super) fn set_view(c: &mut Call<'_>, off: u32, value: u32) {
    let at = off as usize;
    let ctx = c.rt.ctx.and_then(|id| c.rt.mem.region_mut(id));
    if let Some(b) = ctx.and_then(|r| r.bytes_mut().get_mut(at..at + 4)) {
        b.copy_from_slice(&value.to_le_bytes());
    }
}

/// Makes `len` zero bytes after the first `off` bytes of the packet.
fn grow(c: &mut Call<'_>, p: &mut Packet, off: u32, len: u32) -> Result<(), i64> {
    let data = p.data.checked_sub(len).filter(|d| *d >= p.hard_start).ok_or(-ENOMEM)?;
    if let Some(r) = c.rt.mem.region_mut(p.region) {
        let old = p.data as usize;
        r.bytes_mut().copy_within(old..old + off as usize, data as usize);
        let gap = (data + off) as usize;
        if let Some(b) = r.bytes_mut().get_mut(gap..gap + len as usize) {
            b.fill(0);
        }
    }
    p.data = data;
    p.meta = data;
    p.mac = p.mac.saturating_sub(len);
    Ok(())
}

/// Takes `len` bytes away after the first `off` bytes of the packet.
fn shrink(c: &mut Call<'_>, p: &mut Packet, off: u32, len: u32) {
    if let Some(r) = c.rt.mem.region_mut(p.region) {
        let old = p.data as usize;
        r.bytes_mut().copy_within(old..old + off as usize, old + len as usize);
    }
    p.data += len;
    p.meta = p.data;
    p.mac += len;
}

fn change_head(c: &mut Call<'_>, a: [u64; 5]) -> Result<u64, Stop> {
    let mut p = packet(c)?;
    let room = a[1] as u32;
    let new = p.len().checked_add(room).filter(|n| *n <= MAX_LEN && room <= i32::MAX as u32);
    if a[2] != 0 || new.is_none() {
        return number(-EINVAL);
    }
    if let Err(e) = grow(c, &mut p, 0, room) {
        return number(e);
    }
    p.mac = p.data;
    renew(c, p);
    Ok(0)
}

/// Flags of `bpf_skb_adjust_room`.
mod room {
    pub const L3_IPV4: u64 = 1 << 1;
    pub const L3_IPV6: u64 = 1 << 2;
    pub const L3: u64 = L3_IPV4 | L3_IPV6;
    pub const L4_GRE: u64 = 1 << 3;
    pub const L4_UDP: u64 = 1 << 4;
    pub const L2_ETH: u64 = 1 << 6;
    pub const DECAP_IPV4: u64 = 1 << 7;
    pub const DECAP_IPV6: u64 = 1 << 8;
    pub const DECAP: u64 = DECAP_IPV4 | DECAP_IPV6;
    pub const L2_SHIFT: u32 = 56;
    pub const ALL: u64 = 0x1ff | 0xff << L2_SHIFT;
    /// What may be set while shrinking: fixed GSO, no checksum reset, decapsulation.
    pub const SHRINK: u64 = 1 | 1 << 5 | DECAP;
}

fn adjust_room(c: &mut Call<'_>, a: [u64; 5]) -> Result<u64, Stop> {
    let mut p = packet(c)?;
    let diff = a[1] as u32 as i32;
    match adjust(c, &mut p, diff, a[2] as u32, a[3]) {
        Ok(()) => {
            renew(c, p);
            Ok(0)
        }
        Err(e) => number(e),
    }
}

fn adjust(c: &mut Call<'_>, p: &mut Packet, diff: i32, mode: u32, flags: u64) -> Result<(), i64> {
    let len = diff.unsigned_abs();
    if flags & !room::ALL != 0 {
        return Err(-EINVAL);
    }
    if len > 0xfff {
        return Err(-EFAULT);
    }
    let base = match view(c, PROTOCOL) {
        IP => 20,
        IPV6 => 40,
        _ => return Err(-ENOTSUPP),
    };
    let mac_len = p.network.saturating_sub(p.mac);
    let off = match mode {
        0 => mac_len + base,
        1 => mac_len,
        _ => return Err(-ENOTSUPP),
    };
    let least = match flags & room::DECAP {
        0 => base,
        _ if diff >= 0 => return Err(-EINVAL),
        room::DECAP_IPV4 => 20,
        room::DECAP_IPV6 => 40,
        _ => return Err(-EINVAL),
    };
    let current = p.end.saturating_sub(p.network);
    if diff < 0 {
        if len >= current || current - len < least {
            return Err(-ENOTSUPP);
        }
        if flags & !room::SHRINK != 0 {
            return Err(-EINVAL);
        }
        shrink(c, p, off, len);
        p.network += len;
    } else {
        if p.len() + len > MAX_LEN {
            return Err(-ENOTSUPP);
        }
        check_encap(p, len, flags)?;
        grow(c, p, off, len)?;
        p.network -= len;
        p.is_encapsulated |= flags & room::L3 != 0;
    }
    let outer = flags & (room::L3 | room::DECAP);
    if outer & (room::L3_IPV6 | room::DECAP_IPV6) != 0 {
        set_view(c, PROTOCOL, IPV6);
    } else if outer != 0 {
        set_view(c, PROTOCOL, IP);
    }
    Ok(())
}

fn check_encap(p: &Packet, len: u32, flags: u64) -> Result<(), i64> {
    if flags & room::L3 == 0 {
        return Ok(());
    }
    let inner_mac = (flags >> room::L2_SHIFT) as u32;
    let both = |m: u64| flags & m == m;
    if both(room::L3)
        || both(room::L4_GRE | room::L4_UDP)
        || (flags & room::L2_ETH != 0 && inner_mac < MAC_LEN)
    {
        return Err(-EINVAL);
    }
    if p.is_encapsulated {
        return Err(-EALREADY);
    }
    if inner_mac > len {
        return Err(-EINVAL);
    }
    Ok(())
}

/// The tag goes beside the packet; one that was there goes into it.
fn vlan_push(c: &mut Call<'_>, a: [u64; 5]) -> Result<u64, Stop> {
    let mut p = packet(c)?;
    let proto = match a[1] as u16 as u32 {
        AD => AD,
        _ => Q,
    };
    if view(c, VLAN_PRESENT) != 0 {
        let (old_proto, old_tci) = (view(c, VLAN_PROTO), view(c, VLAN_TCI) as u16);
        if let Err(e) = grow(c, &mut p, MAC_LEN - 2, VLAN_LEN) {
            return number(e);
        }
        let tag = [(old_proto as u16).to_le_bytes(), old_tci.to_be_bytes()].concat();
        if let Some(b) = p.bytes_mut(&mut c.rt.mem).get_mut(12..16) {
            b.copy_from_slice(&tag);
        }
        set_view(c, PROTOCOL, old_proto);
        renew(c, p);
    }
    set_tag(c, 1, proto, a[2] as u16 as u32);
    Ok(0)
}

fn set_tag(c: &mut Call<'_>, present: u32, proto: u32, tci: u32) {
    set_view(c, VLAN_PRESENT, present);
    set_view(c, VLAN_PROTO, proto);
    set_view(c, VLAN_TCI, tci);
}

/// Takes the tag beside the packet, or else the one in it; the next one in it moves beside.
fn vlan_pop(c: &mut Call<'_>, _: [u64; 5]) -> Result<u64, Stop> {
    if view(c, VLAN_PRESENT) != 0 {
        set_tag(c, 0, 0, 0);
    } else {
        if !matches!(view(c, PROTOCOL), Q | AD) {
            return Ok(0);
        }
        if let Err(e) = take_tag(c)? {
            return number(e);
        }
    }
    if !matches!(view(c, PROTOCOL), Q | AD) {
        return Ok(0);
    }
    let proto = view(c, PROTOCOL);
    match take_tag(c)? {
        Ok(tci) => {
            set_tag(c, 1, proto, tci);
            Ok(0)
        }
        Err(e) => number(e),
    }
}

/// Removes the first tag from the packet and gives its control information.
fn take_tag(c: &mut Call<'_>) -> Result<Result<u32, i64>, Stop> {
    let mut p = packet(c)?;
    let bytes = p.bytes(&c.rt.mem);
    let Some([hi, lo, proto @ ..]) = bytes.get(14..18) else { return Ok(Err(-ENOMEM)) };
    let tci = u32::from(u16::from_be_bytes([*hi, *lo]));
    let inner = match proto {
        // A length, not a protocol.
        [0..=5, _] => 0x0400,
        [a, b] => u32::from(u16::from_le_bytes([*a, *b])),
        _ => 0,
    };
    shrink(c, &mut p, MAC_LEN - 2, VLAN_LEN);
    set_view(c, PROTOCOL, inner);
    renew(c, p);
    Ok(Ok(tci))
}

/// No packet here came through a tunnel.
fn tunnel_key(c: &mut Call<'_>, a: [u64; 5]) -> Result<u64, Stop> {
    c.put(a[1], &vec![0; a[2] as u32 as usize])?;
    number(-EINVAL)
}

/// Where the map has no such target, the low bits of the flags are the answer.
fn redirect_map(c: &mut Call<'_>, a: [u64; 5]) -> Result<u64, Stop> {
    const ACTIONS: u64 = 3;
    const BROADCAST: u64 = 1 << 3;
    const EXCLUDE_INGRESS: u64 = 1 << 4;
    const XDP_REDIRECT: u64 = 4;
    let m = c.map(a[0])?;
    let mask = match c.rt.maps.get(m).map(|m| m.shape().map_type) {
        Some(MapType::Devmap | MapType::DevmapHash) => BROADCAST | EXCLUDE_INGRESS,
        Some(MapType::Cpumap | MapType::Xskmap) => 0,
        _ => return Err(c.bad("not a map of redirect targets")),
    };
    let key = (a[1] as u32).to_le_bytes();
    let has_target = c.rt.maps.get(m).is_some_and(|m| m.has_target(&key));
    Ok(match a[2] {
        flags if flags & !(ACTIONS | mask) != 0 => 0,
        flags if flags & BROADCAST & mask != 0 => XDP_REDIRECT,
        _ if has_target => XDP_REDIRECT,
        flags => flags & ACTIONS,
    })
}

fn no_socket(_: &mut Call<'_>, _: [u64; 5]) -> Result<u64, Stop> {
    Ok(0)
}
