//! The packet behind an skb or xdp context, and the context's view of it.
//!
//! The region holds head room, packet and tail room; its window is what the
//! program may touch.  Whoever moves the packet's ends calls
//! [`Packet::show`], which renews the window and the context's pointers.
//! Mirrors the layout `bpf_prog_test_run_skb` and `_xdp` prepare (net/bpf/test_run.c).

use bpfassay_spec::layouts::{sk_buff, xdp_md};

use super::memory::{Memory, PointerField, Region, RegionId};

/// Which structure stands before the packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Buffer {
    Skb,
    Xdp,
    /// A flow dissector's context, which has no skb behind it in a test run.
    Flow,
    /// None that the program sees.
    Bare,
}

/// Offsets of the context fields that are pointers.
struct Layout {
    data: u32,
    data_end: u32,
    data_meta: Option<u32>,
}

const SKB: Layout = Layout {
    data: sk_buff::DATA as u32,
    data_end: sk_buff::DATA_END as u32,
    data_meta: Some(sk_buff::DATA_META as u32),
};
const XDP: Layout = Layout {
    data: xdp_md::DATA as u32,
    data_end: xdp_md::DATA_END as u32,
    data_meta: Some(xdp_md::DATA_META as u32),
};
const FLOW: Layout = Layout { data_meta: None, ..SKB };

const SKB_LEN: usize = sk_buff::LEN;
/// `SKF_NET_OFF`, `SKF_LL_OFF`: bases of negative packet loads.
const NET_OFF: i32 = -0x100000;
const LL_OFF: i32 = -0x200000;

/// Positions are offsets in the region.
#[derive(Clone, Debug)]
pub struct Packet {
    pub buffer: Buffer,
    pub region: RegionId,
    /// First byte of the metadata; `data` where there is none.
    pub meta: u32,
    pub data: u32,
    pub end: u32,
    /// Bytes before this belong to the kernel.
    pub hard_start: u32,
    /// Bytes from here on belong to the kernel.
    pub hard_end: u32,
    /// Link and network header (skb only).
    pub mac: u32,
    pub network: u32,
    /// False where the program type reads the packet through helpers only.
    pub is_direct: bool,
    /// An outer header was added by `bpf_skb_adjust_room`.
    pub is_encapsulated: bool,
    /// What follows `end` in pages of its own (xdp only).
    pub frags: Vec<u8>,
}

impl Packet {
    pub fn len(&self) -> u32 {
        self.end.saturating_sub(self.data)
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The packet's bytes.
    pub fn bytes<'m>(&self, mem: &'m Memory) -> &'m [u8] {
        mem.region(self.region).map_or(&[], |r| slice(r, self.data, self.end))
    }

    pub fn bytes_mut<'m>(&self, mem: &'m mut Memory) -> &'m mut [u8] {
        let range = self.data as usize..self.end as usize;
        let bytes = mem.region_mut(self.region).and_then(|r| r.bytes_mut().get_mut(range));
        bytes.unwrap_or_default()
    }

    /// Bytes `start..start + len` counted from this position of the region; None beyond the packet.
    pub fn range<'m>(&self, mem: &'m Memory, base: u32, off: u32, len: u32) -> Option<&'m [u8]> {
        let start = base.checked_add(off)?;
        let end = start.checked_add(len).filter(|e| *e <= self.end)?;
        mem.region(self.region).map(|r| slice(r, start, end))
    }

    /// A big-endian integer for LD_ABS and LD_IND; None beyond the packet.
    pub fn load_be(&self, mem: &Memory, off: i32, len: u32) -> Option<u64> {
        let (base, off) = match off {
            o if o >= 0 => (self.data, o),
            o if o >= NET_OFF => (self.network, o - NET_OFF),
            o if o >= LL_OFF => (self.mac, o - LL_OFF),
            _ => return None,
        };
        let bytes = self.range(mem, base, u32::try_from(off).ok()?, len)?;
        Some(bytes.iter().fold(0, |v, b| v << 8 | *b as u64))
    }

    /// Renews the region's window and the context's pointers and length.
    pub fn show(&self, mem: &mut Memory, ctx: Option<RegionId>) {
        if let Some(r) = mem.region_mut(self.region) {
            r.set_window(self.meta, self.end);
        }
        let [data, end, meta] = [self.data, self.end, self.meta].map(|o| mem.addr(self.region, o));
        let Some(ctx) = ctx.and_then(|id| mem.region_mut(id)) else { return };
        let field = |off, value| PointerField { off, size: 4, value };
        let layout = match self.buffer {
            Buffer::Skb => SKB,
            Buffer::Xdp => XDP,
            Buffer::Flow => FLOW,
            Buffer::Bare => return,
        };
        if self.is_direct {
            ctx.set_pointer(field(layout.data, data));
            ctx.set_pointer(field(layout.data_end, end));
            if let Some(off) = layout.data_meta {
                ctx.set_pointer(field(off, meta));
            }
        }
        if self.buffer == Buffer::Skb {
            if let Some(len) = ctx.bytes_mut().get_mut(SKB_LEN..SKB_LEN + 4) {
                len.copy_from_slice(&self.len().to_le_bytes());
            }
        }
    }
}

fn slice(r: &Region, start: u32, end: u32) -> &[u8] {
    r.bytes().get(start as usize..end as usize).unwrap_or(&[])
}
