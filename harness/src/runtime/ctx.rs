//! Contexts: what r1 points to for each program type, and what comes back.
//!
//! Mirrors `bpf_prog_test_run_skb`, `_xdp`, `_raw_tp` and `bpf_prog_test_run_syscall`
//! (net/bpf/test_run.c, kernel/bpf/syscall.c): layout, default values, and the
//! errors for input the kernel would not take.  Program types the kernel cannot
//! test-run get the context they are handed, byte for byte.

use bpfassay_spec::layouts::{self, sk_buff as skb};
use bpfassay_spec::{Limits, ProgInfo, ProgType, RunInput};

use super::hooks;
use super::maps::errno::{E2BIG, EINVAL, ENOMEM};
use super::memory::{Access, PointerField, Region, RegionId, RegionKind};
use super::packet::{Buffer, Packet};
use super::Runtime;
use crate::engine::Input;

/// Why a run cannot begin.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Refusal {
    /// The kernel's error number, positive.
    Errno(i64),
    /// The kernel takes it, this runtime does not model it.
    Unsupported(&'static str),
}

const ENODEV: i64 = 19;
const PAGE: u32 = 4096;
/// `SKB_DATA_ALIGN(sizeof(struct skb_shared_info))`.
const SHARED_INFO: u32 = 320;
/// `NET_SKB_PAD + NET_IP_ALIGN` on x86-64.
const SKB_HEADROOM: u32 = 64;
/// Room before an skb's data here: helpers may push headers, and the kernel would make room.
const SKB_ROOM: u32 = 16_384;
/// Longest skb after growing (`SKB_MAX_ALLOC`).
const SKB_LIMIT: u32 = 16_064;
/// `XDP_PACKET_HEADROOM`.
const XDP_HEADROOM: u32 = 256;
const XDP_FRAME: u32 = 40;
/// `MAX_SKB_FRAGS` pages.
const XDP_FRAGS_MAX: usize = 17 * PAGE as usize;
/// Longest frame a capture holds (`MAXIMUM_SNAPLEN` of libpcap).
const SNAPLEN: u32 = 262_144;
const ETH_HLEN: u32 = 14;
const ETH_P_IP: u16 = 0x0800;
const ETH_P_IPV6: u16 = 0x86dd;
/// Below this a protocol field is a length (`ETH_P_802_3_MIN`), and what then stands for it.
const ETH_P_802_3_MIN: u16 = 0x0600;
const ETH_P_802_3: u16 = 0x0001;
const ETH_P_802_2: u16 = 0x0004;
/// The loopback device, which test runs pretend to receive from.
const LOOPBACK: u32 = 1;

/// End of the five words of `cb`.
const CB_END: usize = skb::CB + 20;
/// Ranges of `__sk_buff` a test run takes from the person; the rest must be zero.
const SKB_INPUT: [(usize, usize); 6] = [
    (skb::MARK, skb::MARK + 4),
    (skb::PRIORITY, skb::IFINDEX + 4),
    (skb::CB, CB_END),
    (skb::TSTAMP, skb::GSO_SEGS + 4),
    (skb::GSO_SIZE, skb::GSO_SIZE + 4),
    (skb::HWTSTAMP, skb::HWTSTAMP + 8),
];
/// Ranges a test run hands back.
const SKB_OUTPUT: [(usize, usize); 5] = [
    (skb::MARK, skb::MARK + 4),
    (skb::PRIORITY, skb::IFINDEX + 4),
    (skb::CB, CB_END),
    (skb::TSTAMP, skb::GSO_SEGS + 4),
    (skb::HWTSTAMP, skb::HWTSTAMP + 8),
];

/// What a run begins with.
#[derive(Debug)]
pub struct Prepared {
    /// r1.
    pub ctx: u64,
    pub(super) shape: CtxShape,
    /// Context as given, padded; None where none was.
    pub(super) given: Option<Vec<u8>>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum CtxShape {
    Skb {
        is_l2: bool,
    },
    Xdp,
    /// With the region of the flow keys.
    Flow(RegionId),
    SkLookup,
    Netfilter,
    /// As given.
    Plain {
        hands_back: bool,
    },
}

/// Builds context and packet in `rt`.
pub fn prepare(rt: &mut Runtime, prog_type: ProgType, input: &Input) -> Result<Prepared, Refusal> {
    if let Some(refusal) = rt.refusal.clone() {
        return Err(refusal);
    }
    match input_of(prog_type) {
        RunInput::Skb { link, direct } => prepare_skb(rt, input, link, direct),
        RunInput::Xdp => prepare_xdp(rt, input),
        RunInput::Flow => hooks::prepare_flow(rt, input),
        RunInput::SkLookup => hooks::prepare_sk_lookup(rt, input),
        RunInput::Netfilter => hooks::prepare_netfilter(rt, input),
        RunInput::RawTp | RunInput::Syscall => prepare_plain(rt, prog_type, input),
        RunInput::Bytes => match prog_type {
            ProgType::SkSkb | ProgType::StructOps | ProgType::Ext => {
                Err(Refusal::Unsupported("running this program type"))
            }
            _ => prepare_plain(rt, prog_type, input),
        },
    }
}

fn input_of(prog_type: ProgType) -> RunInput {
    ProgInfo::of(prog_type).map_or(RunInput::Bytes, |row| row.input)
}

/// True where a context of this type holds pointers, or may, that are taken from the input as they
/// are: native code would follow them.
pub fn holds_pointers(t: ProgType) -> bool {
    // Of these the runtime makes the pointers.
    let is_made = !matches!(input_of(t), RunInput::RawTp | RunInput::Syscall | RunInput::Bytes);
    !is_made && !ProgInfo::of(t).is_some_and(|row| row.plain_ctx)
}

/// Packet and context afterwards, as the system call hands them back.
pub fn finish(rt: &mut Runtime, p: &Prepared) -> (Option<Vec<u8>>, Option<Vec<u8>>) {
    let shown = |r: &Region| r.bytes().get(..r.window().1 as usize).unwrap_or_default().to_vec();
    let view = rt.ctx.and_then(|id| rt.mem.region(id)).map(shown);
    match p.shape {
        CtxShape::Skb { is_l2 } => {
            let Some(mut packet) = rt.packet.clone() else { return (None, None) };
            if !is_l2 {
                // The kernel pushes an empty link header before it copies out.
                packet.data = packet.data.saturating_sub(ETH_HLEN);
                let header = packet.bytes_mut(&mut rt.mem).get_mut(..ETH_HLEN as usize);
                header.unwrap_or_default().fill(0);
            }
            let data = packet.bytes(&rt.mem).to_vec();
            let ctx = p.given.clone().zip(view).map(|(mut given, view)| {
                for (start, end) in SKB_OUTPUT {
                    copy(&mut given, &view, start, end);
                }
                given
            });
            (Some(data), ctx)
        }
        CtxShape::Xdp => {
            let Some(packet) = rt.packet.clone() else { return (None, None) };
            let data = packet.range(&rt.mem, packet.meta, 0, packet.end - packet.meta);
            let ctx = p.given.clone().map(|mut given| {
                put(&mut given, 0, &(packet.data - packet.meta).to_le_bytes());
                put(&mut given, 4, &(packet.end - packet.meta).to_le_bytes());
                given
            });
            (data.map(|d| [d, &packet.frags].concat()), ctx)
        }
        CtxShape::Flow(keys) => {
            let len = rt.packet.as_ref().map_or(0, |p| p.len() as usize);
            let mut keys = rt.mem.region(keys).map_or(Vec::new(), |r| r.bytes().to_vec());
            hooks::clamp_keys(&mut keys, len);
            (Some(keys), p.given.clone())
        }
        CtxShape::SkLookup => (None, p.given.clone()),
        CtxShape::Netfilter => (None, None),
        CtxShape::Plain { hands_back } => (None, view.filter(|_| hands_back)),
    }
}

fn prepare_skb(
    rt: &mut Runtime,
    input: &Input,
    is_l2: bool,
    is_direct: bool,
) -> Result<Prepared, Refusal> {
    let size = u32::try_from(input.data.len()).map_err(|_| Refusal::Errno(EINVAL))?;
    let longest = match rt.world.takes_any_frame {
        true => SNAPLEN,
        false => PAGE - SKB_HEADROOM - SHARED_INFO,
    };
    if !(ETH_HLEN..=longest).contains(&size) {
        return Err(Refusal::Errno(EINVAL));
    }
    let given = given_ctx(input, skb::STRUCT_SIZE)?;
    if !rt.world.takes_any_frame {
        check_ip_header(&input.data)?;
    }
    let region = packet(rt, SKB_ROOM + SKB_LIMIT.max(size), SKB_ROOM, &input.data)?;
    let network = SKB_ROOM + ETH_HLEN;
    let data = if is_l2 { SKB_ROOM } else { network };
    let packet = Packet {
        buffer: Buffer::Skb,
        region,
        meta: data,
        data,
        end: SKB_ROOM + size,
        hard_start: 0,
        hard_end: SKB_ROOM + SKB_LIMIT,
        mac: SKB_ROOM,
        network,
        is_direct,
        is_encapsulated: false,
        frags: Vec::new(),
    };
    let mut view = vec![0; skb::STRUCT_SIZE];
    fill_skb(&mut view, &input.data, packet.len());
    let sock = add_sock(rt, &view)?;
    if let Some(g) = &given {
        take_skb_input(&mut view, g, packet.len())?;
    }
    let sk = PointerField { off: skb::SK as u32, size: 8, value: rt.mem.addr(sock, 0) };
    let ctx = Region::new(RegionKind::Ctx, Access::ReadWrite, view);
    let ctx = add(rt, ctx.with_pointers(vec![sk]))?;
    rt.ctx = Some(ctx);
    packet.show(&mut rt.mem, rt.ctx);
    rt.packet = Some(packet);
    Ok(Prepared { ctx: rt.mem.addr(ctx, 0), shape: CtxShape::Skb { is_l2 }, given })
}

/// A frame of IP must hold the whole header; 6.18.44 refuses it otherwise, 6.18.15 does not yet.
fn check_ip_header(frame: &[u8]) -> Result<(), Refusal> {
    let need = match frame.get(12..14) {
        Some([0x08, 0x00]) => 20,
        Some([0x86, 0xdd]) => 40,
        _ => 0,
    };
    if frame.len() < ETH_HLEN as usize + need {
        return Err(Refusal::Errno(EINVAL));
    }
    Ok(())
}

/// The fields a received frame determines.
fn fill_skb(view: &mut [u8], frame: &[u8], len: u32) {
    let be16 = |at: usize| match frame.get(at..at + 2) {
        Some([hi, lo]) => u16::from_be_bytes([*hi, *lo]),
        _ => 0,
    };
    let protocol = match be16(12) {
        p if p >= ETH_P_802_3_MIN => p,
        // An IPX frame without an 802.2 header begins with all ones.
        _ if be16(14) == 0xffff => ETH_P_802_3,
        _ => ETH_P_802_2,
    };
    put(view, skb::LEN, &len.to_le_bytes());
    put(view, skb::PKT_TYPE, &packet_type(frame).to_le_bytes());
    put(view, skb::PROTOCOL, &(protocol.swap_bytes() as u32).to_le_bytes());
    put(view, skb::IFINDEX, &LOOPBACK.to_le_bytes());
    let network = frame.get(ETH_HLEN as usize..).unwrap_or(&[]);
    let mut address = |to: usize, at: usize, n: usize| {
        if let Some(a) = network.get(at..at + n) {
            put(view, to, a);
        }
    };
    // The socket's own address is the packet's source, its peer's the destination.
    match protocol {
        ETH_P_IP if network.len() >= 20 => {
            address(skb::LOCAL_IP4, 12, 4);
            address(skb::REMOTE_IP4, 16, 4);
        }
        ETH_P_IPV6 if network.len() >= 40 => {
            address(skb::LOCAL_IP6, 8, 16);
            address(skb::REMOTE_IP6, 24, 16);
        }
        _ => {}
    }
    let family: u32 = match protocol {
        ETH_P_IP => 2,
        ETH_P_IPV6 => 10,
        _ => 0,
    };
    put(view, skb::FAMILY, &family.to_le_bytes());
}

/// `eth_skb_pkt_type` on loopback, whose own and whose broadcast address are all zeroes.
fn packet_type(frame: &[u8]) -> u32 {
    match frame.get(..6) {
        Some([0, 0, 0, 0, 0, 0]) => 0,
        Some([first, ..]) if first & 1 != 0 => 2,
        _ => 3,
    }
}

/// The socket a test run gives its skb, as `struct bpf_sock`.
fn add_sock(rt: &mut Runtime, view: &[u8]) -> Result<RegionId, Refusal> {
    const TCP_CLOSE: u32 = 7;
    let mut sock = vec![0; 80];
    let fields = [
        (4, skb::FAMILY, 4),
        (24, skb::LOCAL_IP4, 4),
        (28, skb::LOCAL_IP6, 16),
        (52, skb::REMOTE_IP4, 4),
        (56, skb::REMOTE_IP6, 16),
    ];
    for (to, from, n) in fields {
        put(&mut sock, to, view.get(from..from + n).unwrap_or(&[]));
    }
    put(&mut sock, 72, &TCP_CLOSE.to_le_bytes());
    put(&mut sock, 76, &(-1i32).to_le_bytes());
    // Beyond what programs see of it lies the kernel's own socket.
    let known = vec![(0, sock.len() as u32)];
    add(rt, Region::new(RegionKind::Object, Access::ReadOnly, sock).with_known(known))
}

/// `convert___skb_to_skb`.
fn take_skb_input(view: &mut [u8], given: &[u8], len: u32) -> Result<(), Refusal> {
    let is_input = |i: usize| SKB_INPUT.iter().any(|(s, e)| (*s..*e).contains(&i));
    if given.iter().enumerate().any(|(i, b)| *b != 0 && !is_input(i)) {
        return Err(Refusal::Errno(EINVAL));
    }
    if u32_at(given, skb::IFINDEX) > LOOPBACK {
        return Err(Refusal::Errno(ENODEV));
    }
    const GSO_MAX_SEGS: u32 = 65_535;
    const GSO_LEGACY_MAX_SIZE: u32 = 65_536;
    let wire_len = u32_at(given, skb::WIRE_LEN);
    let is_wire_len = wire_len == 0 || (len..=GSO_LEGACY_MAX_SIZE).contains(&wire_len);
    if !is_wire_len || u32_at(given, skb::GSO_SEGS) > GSO_MAX_SEGS {
        return Err(Refusal::Errno(EINVAL));
    }
    for (start, end) in SKB_INPUT {
        copy(view, given, start, end);
    }
    put(view, skb::IFINDEX, &LOOPBACK.to_le_bytes());
    // Without a context the field stays 0.
    if wire_len == 0 {
        put(view, skb::WIRE_LEN, &len.to_le_bytes());
    }
    Ok(())
}

fn prepare_xdp(rt: &mut Runtime, input: &Input) -> Result<Prepared, Refusal> {
    const XDP_SIZE: usize = 24;
    let size = u32::try_from(input.data.len()).map_err(|_| Refusal::Errno(EINVAL))?;
    let given = given_ctx(input, XDP_SIZE)?;
    let (mut meta_len, mut linear) = (0, size);
    if let Some(g) = &given {
        let (data, data_end) = (u32_at(g, 0), u32_at(g, 4));
        let is_bad = u32_at(g, 8) != 0
            || data_end > size
            || data > data_end
            || data % 4 != 0
            || data > 255
            || data > XDP_HEADROOM - XDP_FRAME;
        if is_bad || u32_at(g, 20) != 0 {
            return Err(Refusal::Errno(EINVAL));
        }
        xdp_device(u32_at(g, 12), u32_at(g, 16))?;
        (meta_len, linear) = (data, data_end);
    }
    let headroom = XDP_HEADROOM - meta_len;
    let max = PAGE - headroom - SHARED_INFO;
    if size.saturating_sub(meta_len) < ETH_HLEN {
        return Err(Refusal::Errno(EINVAL));
    }
    linear = linear.min(max);
    // What the linear part cannot hold stands in fragments, which the program does not see directly.
    let (head, frags) = input.data.split_at_checked(linear as usize).unwrap_or((&input.data, &[]));
    if frags.len() > XDP_FRAGS_MAX {
        return Err(Refusal::Errno(ENOMEM));
    }
    let region = packet(rt, PAGE - SHARED_INFO, headroom, head)?;
    let mut view = vec![0; XDP_SIZE];
    put(&mut view, 12, &LOOPBACK.to_le_bytes());
    let ctx = add(rt, Region::new(RegionKind::Ctx, Access::ReadWrite, view))?;
    rt.ctx = Some(ctx);
    let packet = Packet {
        buffer: Buffer::Xdp,
        region,
        meta: headroom,
        data: headroom + meta_len,
        end: headroom + linear,
        hard_start: 0,
        hard_end: PAGE - SHARED_INFO,
        mac: headroom + meta_len,
        network: headroom + meta_len + ETH_HLEN,
        is_direct: true,
        is_encapsulated: false,
        frags: frags.to_vec(),
    };
    packet.show(&mut rt.mem, rt.ctx);
    rt.packet = Some(packet);
    Ok(Prepared { ctx: rt.mem.addr(ctx, 0), shape: CtxShape::Xdp, given })
}

/// `xdp_convert_md_to_buff` in a world whose only device is loopback, with one receive queue.
fn xdp_device(ifindex: u32, queue: u32) -> Result<(), Refusal> {
    match (ifindex, queue) {
        (0 | LOOPBACK, 0) => Ok(()),
        (0 | LOOPBACK, _) => Err(Refusal::Errno(EINVAL)),
        _ => Err(Refusal::Errno(ENODEV)),
    }
}

fn prepare_plain(rt: &mut Runtime, t: ProgType, input: &Input) -> Result<Prepared, Refusal> {
    /// `U16_MAX`: the largest context of a syscall program.
    const SYSCALL_MAX: usize = 65_535;
    /// As far as the verifier lets any type reach: an offset of 16 bits and eight bytes.
    const NATIVE_ROOM: usize = 65_536 + 8;
    // Size of the structure where the kernel defines one.
    let size = match t {
        ProgType::Kprobe => layouts::pt_regs::STRUCT_SIZE,
        ProgType::PerfEvent => layouts::bpf_perf_event_data::STRUCT_SIZE,
        // Registers.
        ProgType::Tracing | ProgType::Lsm => 8 * Limits::MOST.max_func_args as usize,
        _ if input_of(t) == RunInput::RawTp => 8 * Limits::MOST.max_func_args as usize,
        // `PERF_MAX_TRACE_SIZE`.
        ProgType::Tracepoint => 8192,
        _ => input.ctx.len(),
    };
    let is_call = matches!(input_of(t), RunInput::RawTp | RunInput::Syscall);
    if is_call && !input.data.is_empty() {
        return Err(Refusal::Errno(EINVAL));
    }
    let most = if t == ProgType::Syscall { SYSCALL_MAX } else { size };
    // `prog->aux->max_ctx_offset`
    let is_short = input.ctx.len() < rt.min_ctx as usize;
    if is_call && (is_short || input.ctx.len() > most) {
        return Err(Refusal::Errno(EINVAL));
    }
    if input.ctx.len() > size {
        return Err(Refusal::Errno(E2BIG));
    }
    let mut room = size;
    if rt.mem.is_native() {
        if holds_pointers(t) && !rt.takes_any_context {
            return Err(Refusal::Unsupported("a context with pointers, outside a child process,"));
        }
        // Nobody looks whether the program stays within what was given.
        room = size.max(NATIVE_ROOM);
    }
    let window = u32::try_from(size).unwrap_or(u32::MAX);
    let region = Region::zeroed(RegionKind::Ctx, Access::ReadWrite, room);
    let mut region = region.ok_or_else(|| no_room(rt, RegionKind::Ctx))?.with_window(0, window);
    put(region.bytes_mut(), 0, &input.ctx);
    let ctx = add(rt, region)?;
    rt.ctx = Some(ctx);
    let shape = CtxShape::Plain { hands_back: t == ProgType::Syscall };
    Ok(Prepared { ctx: rt.mem.addr(ctx, 0), shape, given: None })
}

/// `bpf_ctx_init`: the given context cut or padded to `max`; what is cut off must be zero.
pub(super) fn given_ctx(input: &Input, max: usize) -> Result<Option<Vec<u8>>, Refusal> {
    if input.ctx.is_empty() {
        return Ok(None);
    }
    if input.ctx.iter().skip(max).any(|b| *b != 0) {
        return Err(Refusal::Errno(E2BIG));
    }
    let mut ctx = input.ctx.clone();
    ctx.resize(max, 0);
    Ok(Some(ctx))
}

/// A packet's room of `len` bytes, with these at `at`.
fn packet(rt: &mut Runtime, len: u32, at: u32, bytes: &[u8]) -> Result<RegionId, Refusal> {
    let Some(mut region) = rt.mem.packet(len as usize) else {
        return Err(no_room(rt, RegionKind::Packet));
    };
    put(region.bytes_mut(), at as usize, bytes);
    add(rt, region)
}

fn no_room(rt: &Runtime, kind: RegionKind) -> Refusal {
    Refusal::Unsupported(match kind {
        RegionKind::Packet if rt.mem.is_native() => "packet memory below 4 GiB on this host",
        _ => "this much memory",
    })
}

pub(super) fn add(rt: &mut Runtime, region: Region) -> Result<RegionId, Refusal> {
    let kind = region.kind;
    rt.add_input(region).ok_or_else(|| no_room(rt, kind))
}

pub(super) fn put(to: &mut [u8], at: usize, bytes: &[u8]) {
    if let Some(t) = to.get_mut(at..at + bytes.len()) {
        t.copy_from_slice(bytes);
    }
}

fn copy(to: &mut [u8], from: &[u8], start: usize, end: usize) {
    if let (Some(t), Some(f)) = (to.get_mut(start..end), from.get(start..end)) {
        t.copy_from_slice(f);
    }
}

pub(super) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..at + 4).and_then(|b| b.try_into().ok()).map_or(0, u32::from_le_bytes)
}
