//! What BPF_PROG_RUN asks of an input, by program type, for who was refused with a bare number.
//!
//! The rules themselves are those of `net/bpf/test_run.c` (6.18.44) and live in the harness.

use bpfassay_object::model::Program;
use bpfassay_spec::AttachType;
use bpfassay_spec::ProgType::{self, *};

struct Row {
    types: &'static [ProgType],
    asks: &'static str,
}

const ROWS: &[Row] = &[
    Row {
        types: &[
            SchedCls,
            SchedAct,
            SocketFilter,
            CgroupSkb,
            LwtIn,
            LwtOut,
            LwtXmit,
            LwtSeg6local,
        ],
        asks: "a frame of 14 to 3712 bytes from its Ethernet header on, with the whole IP header where it is \
               IP (--hex, --data-in or --pcap); of a context (--ctx-in) only mark, priority, ifindex, cb, \
               tstamp, wire_len, gso_segs, gso_size and hwtstamp may be set",
    },
    Row {
        types: &[Xdp],
        asks: "a frame of 14 bytes or more from its Ethernet header on (--hex, --data-in or --pcap); in a context \
               (--ctx-in) data is the length of the metadata in front, data_end the length of it all",
    },
    Row {
        types: &[FlowDissector],
        asks: "a frame of 14 to 4096 bytes from its Ethernet header on (--hex or --data-in); of a context \
               (--ctx-in, struct bpf_flow_keys) only flags may be set",
    },
    Row {
        types: &[SkLookup],
        asks: "a context (--ctx-in, struct bpf_sk_lookup) with family, addresses and ports, and no packet",
    },
    Row {
        types: &[Netfilter],
        asks: "an IP packet of 20 to 3712 bytes (--hex or --data-in), with its Ethernet header where the hook of \
               the context (--ctx-in, struct nf_hook_state) is not local out; no pointer in the context",
    },
    Row {
        types: &[RawTracepoint, RawTracepointWritable],
        asks: "up to 12 arguments of 8 bytes as context (--ctx-in) and no packet",
    },
    Row { types: &[Syscall], asks: "a context of at most 65535 bytes (--ctx-in) and no packet" },
];

/// One sentence; None for types that take any context.
pub fn of(program: &Program) -> Option<String> {
    let prog_type = program.prog_type;
    if let (Xdp, Some(at @ (AttachType::XdpDevmap | AttachType::XdpCpumap))) =
        (prog_type, program.expected_attach_type)
    {
        return Some(format!("BPF_PROG_RUN takes no program of attach type {at}"));
    }
    let row = ROWS.iter().find(|r| r.types.contains(&prog_type))?;
    Some(format!("a {prog_type} program takes {}", row.asks))
}
