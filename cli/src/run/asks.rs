//! What BPF_PROG_RUN asks of an input, by program type, for who was refused with a bare number.
//!
//! The rules themselves are those of `net/bpf/test_run.c` (6.18.44) and live in the harness.

use bpfassay_object::model::Program;
use bpfassay_spec::{AttachType, ProgInfo, ProgType, RunInput};

struct Row {
    fits: fn(RunInput) -> bool,
    asks: &'static str,
}

const ROWS: &[Row] = &[
    Row {
        fits: |input| matches!(input, RunInput::Skb { .. }),
        asks: "a frame of 14 to 3712 bytes from its Ethernet header on, with the whole IP header where it is \
               IP (--hex, --data-in or --pcap); of a context (--ctx-in) only mark, priority, ifindex, cb, \
               tstamp, wire_len, gso_segs, gso_size and hwtstamp may be set",
    },
    Row {
        fits: |input| input == RunInput::Xdp,
        asks: "a frame of 14 bytes or more from its Ethernet header on (--hex, --data-in or --pcap); in a context \
               (--ctx-in) data is the length of the metadata in front, data_end the length of it all",
    },
    Row {
        fits: |input| input == RunInput::Flow,
        asks: "a frame of 14 to 4096 bytes from its Ethernet header on (--hex or --data-in); of a context \
               (--ctx-in, struct bpf_flow_keys) only flags may be set",
    },
    Row {
        fits: |input| input == RunInput::SkLookup,
        asks: "a context (--ctx-in, struct bpf_sk_lookup) with family, addresses and ports, and no packet",
    },
    Row {
        fits: |input| input == RunInput::Netfilter,
        asks: "an IP packet of 20 to 3712 bytes (--hex or --data-in), with its Ethernet header where the hook of \
               the context (--ctx-in, struct nf_hook_state) is not local out; no pointer in the context",
    },
    Row {
        fits: |input| input == RunInput::RawTp,
        asks: "up to 12 arguments of 8 bytes as context (--ctx-in) and no packet",
    },
    Row { fits: |input| input == RunInput::Syscall, asks: "a context of at most 65535 bytes (--ctx-in) and no packet" },
];

/// One sentence; None for types that take any context.
pub fn of(program: &Program) -> Option<String> {
    let prog_type = program.prog_type;
    if let (ProgType::Xdp, Some(at @ (AttachType::XdpDevmap | AttachType::XdpCpumap))) =
        (prog_type, program.expected_attach_type)
    {
        return Some(format!("BPF_PROG_RUN takes no program of attach type {at}"));
    }
    let input = ProgInfo::of(prog_type)?.input;
    let row = ROWS.iter().find(|r| (r.fits)(input))?;
    Some(format!("a {prog_type} program takes {}", row.asks))
}
