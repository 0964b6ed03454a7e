//! Accesses to the context, whose fields are the kernel's own structs' (`convert_ctx_accesses` and the
//! `convert_ctx_access` of program types, `net/core/filter.c` and `kernel/trace/bpf_trace.c`).

use bpfassay_isa::field::{Class, Mode};
use bpfassay_isa::{AluOp, Cond, Operand, RawInsn, Reg, Size, Width};
use bpfassay_object::btf::{Btf, BtfKind};
use bpfassay_spec::{ProgInfo, RegBase};

use super::emit::{alu32, alu64, alu64_reg, branch, jump, load, store, AX};
use super::layout::{field, offset, size};
use super::patch::Slot;
use super::Unknown;
use crate::env::{AuxUse, Env};

/// How a field of the context is reached.
enum Way {
    /// From pointer to pointer to the last, which is of the width it has.
    Path(&'static [&'static str]),
    /// The same, and the last pointer may be NULL: then the value is.
    PathOrNull(&'static [&'static str]),
    /// The same, and then in the upper half of 32 bits.
    Shifted(&'static [&'static str]),
    /// In the packet's control block, at a member of this struct.
    Block(&'static str),
    /// In the control block, from a member of this struct on, at the width of the access.
    BlockArray(&'static str),
    /// An array that begins there, 4 bytes at a time.
    Words(&'static [&'static str]),
    /// A member of what the packet's end points to.
    Shared(&'static str),
    PacketType,
    VlanPresent,
    NapiId,
    Queue,
    Stamp,
    StampKind,
    /// The linear part's end, which nobody stored.
    DataEnd,
}

use Way::*;

/// Fields of `__sk_buff`.
const SK_BUFF: &[(&str, Way)] = &[
    ("len", Path(&["sk_buff.len"])),
    ("pkt_type", PacketType),
    ("mark", Path(&["sk_buff.mark"])),
    ("queue_mapping", Queue),
    ("protocol", Path(&["sk_buff.protocol"])),
    ("vlan_present", VlanPresent),
    ("vlan_tci", Path(&["sk_buff.vlan_tci"])),
    ("vlan_proto", Path(&["sk_buff.vlan_proto"])),
    ("priority", Path(&["sk_buff.priority"])),
    ("ingress_ifindex", Path(&["sk_buff.skb_iif"])),
    ("ifindex", PathOrNull(&["sk_buff.dev", "net_device.ifindex"])),
    ("tc_index", Path(&["sk_buff.tc_index"])),
    ("cb", BlockArray("qdisc_skb_cb.data")),
    ("hash", Path(&["sk_buff.hash"])),
    ("tc_classid", Block("qdisc_skb_cb.tc_classid")),
    ("data", Path(&["sk_buff.data"])),
    ("data_end", Block("bpf_skb_data_end.data_end")),
    ("napi_id", NapiId),
    ("family", Path(&["sk_buff.sk", "sock_common.skc_family"])),
    ("remote_ip4", Path(&["sk_buff.sk", "sock_common.skc_daddr"])),
    ("local_ip4", Path(&["sk_buff.sk", "sock_common.skc_rcv_saddr"])),
    ("remote_ip6", Words(&["sk_buff.sk", "sock_common.skc_v6_daddr"])),
    ("local_ip6", Words(&["sk_buff.sk", "sock_common.skc_v6_rcv_saddr"])),
    ("remote_port", Shifted(&["sk_buff.sk", "sock_common.skc_dport"])),
    ("local_port", Path(&["sk_buff.sk", "sock_common.skc_num"])),
    ("data_meta", Block("bpf_skb_data_end.data_meta")),
    ("wire_len", Block("qdisc_skb_cb.pkt_len")),
    ("gso_segs", Shared("skb_shared_info.gso_segs")),
    ("gso_size", Shared("skb_shared_info.gso_size")),
    ("hwtstamp", Shared("skb_shared_info.hwtstamps")),
    ("tstamp", Stamp),
    ("tstamp_type", StampKind),
    ("sk", Path(&["sk_buff.sk"])),
];

/// Those that traffic control reads otherwise.
const TC: &[(&str, Way)] = &[("ifindex", Path(&["sk_buff.dev", "net_device.ifindex"]))];

const SK_SKB: &[(&str, Way)] = &[("data_end", DataEnd), ("cb", BlockArray("sk_skb_cb.data"))];

const SOCK: &[(&str, Way)] = &[
    ("bound_dev_if", Path(&["sock_common.skc_bound_dev_if"])),
    ("mark", Path(&["sock.sk_mark"])),
    ("priority", Path(&["sock.sk_priority"])),
    ("family", Path(&["sock_common.skc_family"])),
    ("type", Path(&["sock.sk_type"])),
    ("protocol", Path(&["sock.sk_protocol"])),
    ("src_ip4", Path(&["sock_common.skc_rcv_saddr"])),
    ("dst_ip4", Path(&["sock_common.skc_daddr"])),
    ("src_ip6", Words(&["sock_common.skc_v6_rcv_saddr"])),
    ("dst_ip6", Words(&["sock_common.skc_v6_daddr"])),
    ("src_port", Path(&["sock_common.skc_num"])),
    ("dst_port", Path(&["sock_common.skc_dport"])),
    ("state", Path(&["sock_common.skc_state"])),
];

const XDP: &[(&str, Way)] = &[
    ("data", Path(&["xdp_buff.data"])),
    ("data_end", Path(&["xdp_buff.data_end"])),
    ("data_meta", Path(&["xdp_buff.data_meta"])),
    ("ingress_ifindex", Path(&["xdp_buff.rxq", "xdp_rxq_info.dev", "net_device.ifindex"])),
    ("rx_queue_index", Path(&["xdp_buff.rxq", "xdp_rxq_info.queue_index"])),
    ("egress_ifindex", Path(&["xdp_buff.txq", "xdp_txq_info.dev", "net_device.ifindex"])),
];

const SK_MSG: &[(&str, Way)] = &[
    ("data", Path(&["sk_msg.data"])),
    ("data_end", Path(&["sk_msg.data_end"])),
    ("family", Path(&["sk_msg.sk", "sock_common.skc_family"])),
    ("remote_ip4", Path(&["sk_msg.sk", "sock_common.skc_daddr"])),
    ("local_ip4", Path(&["sk_msg.sk", "sock_common.skc_rcv_saddr"])),
    ("remote_ip6", Words(&["sk_msg.sk", "sock_common.skc_v6_daddr"])),
    ("local_ip6", Words(&["sk_msg.sk", "sock_common.skc_v6_rcv_saddr"])),
    ("remote_port", Shifted(&["sk_msg.sk", "sock_common.skc_dport"])),
    ("local_port", Path(&["sk_msg.sk", "sock_common.skc_num"])),
    ("size", Path(&["sk_msg.sg.size"])),
    ("sk", Path(&["sk_msg.sk"])),
];

const PERF_EVENT: &[(&str, Way)] = &[
    ("sample_period", Path(&["bpf_perf_event_data_kern.data", "perf_sample_data.period"])),
    ("addr", Path(&["bpf_perf_event_data_kern.data", "perf_sample_data.addr"])),
];

/// The tables that hold for a program type's operations (`ops` of its row), special ones first.
fn tables(ops: &str) -> Option<&'static [&'static [(&'static str, Way)]]> {
    Some(match ops {
        "tc_cls_act" => &[TC, SK_BUFF],
        "sk_filter" | "cg_skb" | "lwt_in" | "lwt_out" | "lwt_xmit" | "lwt_seg6local" => &[SK_BUFF],
        "sk_skb" => &[SK_SKB, SK_BUFF],
        "cg_sock" => &[SOCK],
        "xdp" => &[XDP],
        "sk_msg" => &[SK_MSG],
        "perf_event" => &[PERF_EVENT],
        _ => return None,
    })
}

/// An access to the context: the instruction with the offset and width it is converted at.
struct At<'a> {
    btf: &'a Btf,
    insn: RawInsn,
    dst: Reg,
    src: Reg,
    write: bool,
    /// The program reads what kind of time stamp there is, so the stamp itself is left alone.
    stamp_as_is: bool,
}

/// What the access at `insn` becomes; `field_size` is that of the field where the verifier noted one, else 0.
pub(super) fn convert(
    btf: &Btf,
    ops: &str,
    ctx: &str,
    insn: RawInsn,
    field_size: u32,
    stamp_as_is: bool,
) -> Result<Vec<Slot>, Unknown> {
    let bytes = insn.size().bytes();
    let write = insn.class() != Class::Ldx;
    let narrower = bytes < field_size;
    let off = i32::from(insn.off);
    let mut si = insn;
    if narrower {
        let wide = if field_size == 8 { Size::Dw } else { size(field_size.max(2))? };
        si = load(wide, Reg(insn.dst), Reg(insn.src), off & !(field_size as i32 - 1)).insn;
    }
    let at = At { btf, insn: si, dst: Reg(si.dst), src: Reg(si.src), write, stamp_as_is };
    let (mut out, target) = at.convert(ops, ctx)?;
    let dst = Reg(insn.dst);
    if narrower && bytes < target {
        let shift = (off as u32 % field_size / bytes * bytes % field_size) * 8;
        if shift > 0 {
            out.push(if field_size <= 4 {
                alu32(AluOp::Rsh, dst, shift as i32)
            } else {
                alu64(AluOp::Rsh, dst, shift as i32)
            });
        }
        out.push(alu32(AluOp::And, dst, ((1u64 << (bytes * 8)) - 1) as u32 as i32));
    }
    if insn.mode() == Mode::MemSx {
        let mut extend = alu64_reg(AluOp::Mov, dst, dst);
        extend.insn.off = (bytes * 8) as i16;
        out.push(extend);
    }
    Ok(out)
}

impl At<'_> {
    /// The instructions, and the width of what they read.
    fn convert(&self, ops: &str, ctx: &str) -> Result<(Vec<Slot>, u32), Unknown> {
        let off = i32::from(self.insn.off);
        let unknown = || Unknown::Context(format!("{ctx} at {off}"));
        let known = tables(ops).ok_or_else(unknown)?;
        let (name, within) = self.member(ctx, off).ok_or_else(unknown)?;
        if ops == "perf_event" && name == "regs" {
            let (regs, _) = field(self.btf, "bpf_perf_event_data_kern.regs")?;
            let to = load(Size::Dw, self.dst, self.src, regs);
            return Ok((vec![to, load(self.insn.size(), self.dst, self.dst, off)], 8));
        }
        let way = known.iter().flat_map(|t| t.iter()).find(|(n, _)| *n == name);
        let (_, way) = way.ok_or_else(unknown)?;
        self.by(way, within, unknown)
    }

    fn by(
        &self,
        way: &Way,
        within: i32,
        unknown: impl Fn() -> Unknown,
    ) -> Result<(Vec<Slot>, u32), Unknown> {
        let block = || offset(self.btf, "sk_buff.cb");
        match way {
            Path(path) => self.path(path, None),
            PathOrNull(path) => {
                let (mut out, width) = self.path(path, None)?;
                out.insert(out.len() - 1, branch(Width::W64, Cond::Eq, self.dst, 0, 1));
                Ok((out, width))
            }
            Shifted(path) => {
                let (mut out, width) = self.path(path, None)?;
                out.push(alu32(AluOp::Lsh, self.dst, 16));
                Ok((out, width))
            }
            Words(path) => self.path(path, Some(within)).map(|(out, _)| (out, 4)),
            Block(path) => {
                let (off, bytes) = field(self.btf, path)?;
                Ok((vec![self.access(size(bytes)?, self.src, block()? + off)], bytes))
            }
            BlockArray(path) => {
                let off = block()? + offset(self.btf, path)? + within;
                Ok((vec![self.access(self.insn.size(), self.src, off)], self.insn.size().bytes()))
            }
            Shared(path) => {
                let (end, end_size) = field(self.btf, "sk_buff.end")?;
                let head = offset(self.btf, "sk_buff.head")?;
                let (off, bytes) = field(self.btf, path)?;
                let out = vec![
                    load(size(end_size)?, AX, self.src, end),
                    load(Size::Dw, self.dst, self.src, head),
                    alu64_reg(AluOp::Add, self.dst, AX),
                    load(size(bytes)?, self.dst, self.dst, off),
                ];
                Ok((out, bytes))
            }
            PacketType => {
                let off = offset(self.btf, "sk_buff.__pkt_type_offset")?;
                let out =
                    vec![load(Size::B, self.dst, self.src, off), alu32(AluOp::And, self.dst, 7)];
                Ok((out, 1))
            }
            VlanPresent => {
                let (off, _) = field(self.btf, "sk_buff.vlan_all")?;
                let out = vec![
                    load(Size::W, self.dst, self.src, off),
                    branch(Width::W64, Cond::Eq, self.dst, 0, 1),
                    alu32(AluOp::Mov, self.dst, 1),
                ];
                Ok((out, 4))
            }
            NapiId => Err(unknown()),
            Queue if self.write && self.insn.class() == Class::St => Err(unknown()),
            Queue if self.write => {
                let (mut out, width) = self.path(&["sk_buff.queue_mapping"], None)?;
                out.insert(0, branch(Width::W64, Cond::Ge, self.src, 0xffff, 1));
                Ok((out, width))
            }
            Stamp if self.stamp_as_is => self.path(&["sk_buff.tstamp"], None),
            Stamp => self.stamp().map(|out| (out, 8)),
            StampKind => {
                let off = offset(self.btf, "sk_buff.__mono_tc_offset")?;
                let out =
                    vec![load(Size::B, self.dst, self.src, off), alu32(AluOp::And, self.dst, 3)];
                Ok((out, 1))
            }
            DataEnd => self.data_end().map(|out| (out, 0)),
            Queue => self.path(&["sk_buff.queue_mapping"], None),
        }
    }

    /// What received packets carry is no delivery time: it reads as 0, and is no longer one once written.
    fn stamp(&self) -> Result<Vec<Slot>, Unknown> {
        let kind = offset(self.btf, "sk_buff.__mono_tc_offset")?;
        let stamp = offset(self.btf, "sk_buff.tstamp")?;
        let has = |bit, over| branch(Width::W32, Cond::Set, AX, bit, over);
        let skb = if self.write { self.dst } else { self.src };
        let mut out = vec![load(Size::B, AX, skb, kind), has(4, 1)];
        if self.write {
            out.extend([
                jump(2),
                alu32(AluOp::And, AX, !3),
                store(Size::B, skb, kind, Operand::Reg(AX)),
                self.access(Size::Dw, skb, stamp),
            ]);
        } else {
            out.extend([
                jump(4),
                has(3, 1),
                jump(2),
                alu64(AluOp::Mov, self.dst, 0),
                jump(1),
                load(Size::Dw, self.dst, skb, stamp),
            ]);
        }
        Ok(out)
    }

    fn data_end(&self) -> Result<Vec<Slot>, Unknown> {
        let at = |member: &str| offset(self.btf, member);
        let spare = at("sk_buff.cb")? + at("sk_skb_cb.temp_reg")?;
        let same = self.src == self.dst;
        let reg = if !same {
            self.dst
        } else if self.src == Reg(9) {
            Reg(8)
        } else {
            Reg(9)
        };
        let mut out = Vec::new();
        if same {
            out.push(store(Size::Dw, self.src, spare, Operand::Reg(reg)));
        }
        out.extend([
            load(Size::Dw, reg, self.src, at("sk_buff.data")?),
            load(Size::W, AX, self.src, at("sk_buff.len")?),
            alu64_reg(AluOp::Add, reg, AX),
            load(Size::W, AX, self.src, at("sk_buff.data_len")?),
            alu64_reg(AluOp::Sub, reg, AX),
        ]);
        if same {
            out.extend([
                alu64_reg(AluOp::Mov, AX, self.src),
                alu64_reg(AluOp::Mov, self.dst, reg),
                load(Size::Dw, reg, AX, spare),
            ]);
        }
        Ok(out)
    }

    fn path(&self, path: &[&str], within: Option<i32>) -> Result<(Vec<Slot>, u32), Unknown> {
        let (mut out, mut from, mut width) = (Vec::new(), self.src, 0);
        for (i, step) in path.iter().enumerate() {
            let (mut off, mut bytes) = field(self.btf, step)?;
            let last = i + 1 == path.len();
            if let (true, Some(within)) = (last, within) {
                (off, bytes) = (off + within, 4);
            }
            width = bytes;
            out.push(if last && self.write {
                self.access(size(bytes)?, from, off)
            } else {
                load(size(bytes)?, self.dst, from, off)
            });
            from = self.dst;
        }
        Ok((out, width))
    }

    /// A load from `base`, or the store at hand (`BPF_EMIT_STORE`).
    fn access(&self, size: Size, base: Reg, off: i32) -> Slot {
        match self.insn.class() {
            Class::Ldx => load(size, self.dst, base, off),
            Class::St => store(size, self.dst, off, Operand::Imm(self.insn.imm)),
            _ => store(size, self.dst, off, Operand::Reg(self.src)),
        }
    }

    /// Name of the context's member at `off`, and the offset in it.
    fn member(&self, ctx: &str, off: i32) -> Option<(String, i32)> {
        let id = self.btf.find_by_name_kind(ctx.strip_prefix("struct ")?, BtfKind::Struct)?;
        let ty = self.btf.ty(id)?;
        let m = ty.members().rfind(|m| m.byte_offset() as i32 <= off)?;
        let mut name = self.btf.str(m.name_off).to_string();
        if name.is_empty() {
            // A pointer aligned to 8 bytes by a union.
            let inner = self.btf.skip_mods_and_typedefs(m.type_id)?.member(0)?;
            name = self.btf.str(inner.name_off).to_string();
        }
        Some((name, off - m.byte_offset() as i32))
    }
}

/// Whether some instruction that was checked reads the kind of the packet's time stamp.
pub(super) fn reads_stamp_kind(env: &Env<'_>, btf: &Btf, row: &ProgInfo) -> bool {
    let Ok(kind) = offset(btf, "__sk_buff.tstamp_type") else { return false };
    row.ops == "tc_cls_act"
        && env.insns.iter().zip(&env.aux).any(|(insn, aux)| {
            let of_ctx = matches!(aux.used, AuxUse::Ptr(ty) if ty.base() == RegBase::Ctx);
            of_ctx && insn.class() == Class::Ldx && i32::from(insn.off) == kind
        })
}
