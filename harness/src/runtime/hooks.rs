//! Contexts of hooks that are neither skb nor XDP: flow dissector, socket lookup, netfilter.
//!
//! Mirrors `bpf_prog_test_run_flow_dissector`, `_sk_lookup` and `_nf` (net/bpf/test_run.c).

use super::ctx::{add, given_ctx, put, u32_at, CtxShape, Prepared, Refusal};
use super::maps::errno::{EINVAL, ERANGE};
use super::memory::{Access, PointerField, Region, RegionKind};
use super::packet::{Buffer, Packet};
use super::Runtime;
pub(super) use bpfassay_spec::layouts::bpf_flow_keys as keys;
use bpfassay_spec::layouts::sk_buff;

use crate::engine::Input;

const PAGE: usize = 4096;
const ETH_HLEN: u32 = 14;
const EAFNOSUPPORT: i64 = 97;
const EPROTO: i64 = 71;
const AF_INET: u32 = 2;
const AF_INET6: u32 = 10;

/// Room before a packet: a program may compare the low half of its address with zero.
const ROOM: u32 = 64;

/// A region with the packet behind some room.
fn packet_region(data: &[u8]) -> Region {
    let mut bytes = vec![0; ROOM as usize];
    bytes.extend_from_slice(data);
    Region::new(RegionKind::Packet, Access::ReadWrite, bytes)
}

fn packet(buffer: Buffer, region: super::memory::RegionId, data: u32, end: u32) -> Packet {
    Packet {
        buffer,
        region,
        meta: data,
        data,
        end,
        hard_start: data,
        hard_end: end,
        mac: 0,
        network: data,
        is_direct: true,
        is_encapsulated: false,
        frags: Vec::new(),
    }
}

pub fn prepare_flow(rt: &mut Runtime, input: &Input) -> Result<Prepared, Refusal> {
    let size = input.data.len();
    if !(ETH_HLEN as usize..=PAGE).contains(&size) {
        return Err(Refusal::Errno(EINVAL));
    }
    let given = given_ctx(input, keys::STRUCT_SIZE)?;
    let mut flags = 0;
    if let Some(g) = &given {
        let is_flags = |i: usize| (keys::FLAGS..keys::FLAGS + 4).contains(&i);
        if g.iter().enumerate().any(|(i, b)| *b != 0 && !is_flags(i)) {
            return Err(Refusal::Errno(EINVAL));
        }
        flags = u32_at(g, keys::FLAGS);
    }
    let region = packet_region(&input.data);
    let region = add(rt, region)?;
    let mut bytes = vec![0; keys::STRUCT_SIZE];
    put(&mut bytes, keys::NHOFF, &(ETH_HLEN as u16).to_le_bytes());
    put(&mut bytes, keys::THOFF, &(ETH_HLEN as u16).to_le_bytes());
    put(&mut bytes, keys::N_PROTO, input.data.get(12..14).unwrap_or(&[]));
    put(&mut bytes, keys::FLAGS, &flags.to_le_bytes());
    let flow = add(rt, Region::new(RegionKind::Object, Access::ReadWrite, bytes))?;
    let pointer =
        PointerField { off: sk_buff::FLOW_KEYS as u32, size: 8, value: rt.address(flow, 0) };
    let ctx = Region::new(RegionKind::Ctx, Access::ReadWrite, vec![0; sk_buff::STRUCT_SIZE]);
    let ctx = add(rt, ctx.with_pointers(vec![pointer]))?;
    rt.ctx = Some(ctx);
    let p = packet(Buffer::Flow, region, ROOM, ROOM + size as u32);
    p.show(&mut rt.mem, rt.ctx);
    rt.packet = Some(p);
    Ok(Prepared { ctx: rt.address(ctx, 0), shape: CtxShape::Flow(flow), given })
}

/// The keys as the kernel leaves them: both offsets brought into the packet.
pub fn clamp_keys(keys: &mut [u8], len: usize) {
    let get = |k: &[u8], at: usize| {
        k.get(at..at + 2).and_then(|b| b.try_into().ok()).map_or(0, u16::from_le_bytes)
    };
    let end = u16::try_from(len).unwrap_or(u16::MAX);
    let nhoff = get(keys, keys::NHOFF).clamp(ETH_HLEN as u16, end.max(ETH_HLEN as u16));
    let thoff = get(keys, keys::THOFF).clamp(nhoff, end.max(nhoff));
    put(keys, keys::NHOFF, &nhoff.to_le_bytes());
    put(keys, keys::THOFF, &thoff.to_le_bytes());
}

pub fn prepare_sk_lookup(rt: &mut Runtime, input: &Input) -> Result<Prepared, Refusal> {
    use bpfassay_spec::layouts::bpf_sk_lookup::{
        FAMILY, LOCAL_IP4, LOCAL_IP6, LOCAL_PORT, REMOTE_IP4, REMOTE_IP6, STRUCT_SIZE as SIZE,
    };
    if !input.data.is_empty() {
        return Err(Refusal::Errno(EINVAL));
    }
    let given = given_ctx(input, SIZE)?.ok_or(Refusal::Errno(EINVAL))?;
    let is_zero =
        |from: usize, to: usize| given.get(from..to).is_some_and(|b| b == vec![0; to - from]);
    if !is_zero(0, FAMILY) || !is_zero(LOCAL_PORT + 4, SIZE) {
        return Err(Refusal::Errno(EINVAL));
    }
    if u32_at(&given, LOCAL_PORT) > 0xffff {
        return Err(Refusal::Errno(ERANGE));
    }
    let mut view = given.clone();
    // Both are cut to 16 bits on the way.
    put(&mut view, FAMILY + 2, &[0; 2]);
    put(&mut view, FAMILY + 6, &[0; 2]);
    match u32_at(&view, FAMILY) {
        AF_INET => {
            put(&mut view, REMOTE_IP6, &[0; 16]);
            put(&mut view, LOCAL_IP6, &[0; 16]);
        }
        AF_INET6 => {
            put(&mut view, REMOTE_IP4, &[0; 4]);
            put(&mut view, LOCAL_IP4, &[0; 4]);
        }
        _ => return Err(Refusal::Errno(EAFNOSUPPORT)),
    }
    let ctx = add(rt, Region::new(RegionKind::Ctx, Access::ReadOnly, view))?;
    rt.ctx = Some(ctx);
    Ok(Prepared { ctx: rt.address(ctx, 0), shape: CtxShape::SkLookup, given: Some(given) })
}

/// `NFPROTO_IPV4`, `NFPROTO_IPV6`.
const NF_IPV4: u8 = 2;
const NF_IPV6: u8 = 10;
/// `NF_INET_LOCAL_OUT`: the hook of a run without a context.
const LOCAL_OUT: u8 = 3;

pub fn prepare_netfilter(rt: &mut Runtime, input: &Input) -> Result<Prepared, Refusal> {
    const IPHDR: usize = 20;
    const IPV6HDR: usize = 40;
    const SKB_ROOM: usize = 64;
    const SHARED_INFO: usize = 320;
    /// `struct nf_hook_state`, and its first pointer.
    const STATE: usize = 48;
    const POINTERS: usize = 8;
    let bad = Refusal::Errno(EINVAL);
    let size = input.data.len();
    if !(IPHDR..=PAGE - SKB_ROOM - SHARED_INFO).contains(&size) {
        return Err(bad);
    }
    let given = given_ctx(input, STATE)?;
    let (mut hook, mut family) = (LOCAL_OUT, NF_IPV4);
    if let Some(g) = &given {
        (hook, family) = (g.first().copied().unwrap_or(0), g.get(1).copied().unwrap_or(0));
        let has_pointer = g.iter().skip(POINTERS).any(|b| *b != 0);
        if has_pointer || !matches!(family, NF_IPV4 | NF_IPV6) {
            return Err(bad);
        }
    }
    let ethernet = ETH_HLEN as usize;
    let mut pulled = 0;
    if hook != LOCAL_OUT {
        if size < ethernet + IPHDR {
            return Err(bad);
        }
        match (input.data.get(12..14), family) {
            (Some([0x08, 0x00]), NF_IPV4) => {}
            (Some([0x86, 0xdd]), NF_IPV6) if size >= ethernet + IPV6HDR => {}
            (Some([0x08, 0x00] | [0x86, 0xdd]), _) => return Err(bad),
            _ => return Err(Refusal::Errno(EPROTO)),
        }
        pulled = ETH_HLEN;
    }
    let region = packet_region(&input.data);
    let region = add(rt, region)?;
    let p = packet(Buffer::Bare, region, ROOM + pulled, ROOM + size as u32);
    let protocol: u16 = if family == NF_IPV4 { 0x0800 } else { 0x86dd };
    let len = p.len();
    // Where a context was given, the kernel names loopback as the device the packet leaves by.
    let device = match given {
        Some(_) => opaque(rt)?,
        None => 0,
    };
    let state = kernel_object(
        rt,
        "nf_hook_state",
        &[
            ("hook", &[hook]),
            ("pf", &[family]),
            ("in", &[0; 8]),
            ("out", &device.to_le_bytes()),
            ("sk", &[0; 8]),
        ],
    )?;
    let skb = kernel_object(
        rt,
        "sk_buff",
        &[
            ("len", &len.to_le_bytes()),
            ("data_len", &[0; 4]),
            ("protocol", &protocol.to_be_bytes()),
        ],
    )?;
    let bytes = [state.to_le_bytes(), skb.to_le_bytes()].concat();
    let ctx = add(rt, Region::new(RegionKind::Ctx, Access::ReadOnly, bytes))?;
    rt.ctx = Some(ctx);
    p.show(&mut rt.mem, None);
    rt.packet = Some(p);
    Ok(Prepared { ctx: rt.address(ctx, 0), shape: CtxShape::Netfilter, given })
}

/// An address that may be passed on and compared.
fn opaque(rt: &mut Runtime) -> Result<u64, Refusal> {
    let id = add(rt, Region::new(RegionKind::Object, Access::Opaque, Vec::new()))?;
    Ok(rt.address(id, 0))
}

/// A structure of kernel memory of which these members are known.
fn kernel_object(
    rt: &mut Runtime,
    structure: &str,
    members: &[(&str, &[u8])],
) -> Result<u64, Refusal> {
    let unknown = Refusal::Unsupported("this program type without the kernel's types");
    let size = rt.types.kernel_size(structure).ok_or(unknown)?;
    let mut bytes = vec![0; size as usize];
    let mut known = Vec::new();
    for (member, value) in members {
        let Some(at) = rt.types.kernel_offset(structure, member) else { continue };
        put(&mut bytes, at as usize, value);
        known.push((at, value.len() as u32));
    }
    let region = Region::new(RegionKind::Object, Access::ReadOnly, bytes).with_known(known);
    let id = add(rt, region)?;
    Ok(rt.address(id, 0))
}
