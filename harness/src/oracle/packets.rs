//! A handful of packets that make programs take different paths.

use bpfassay_spec::{ProgInfo, ProgType, RunInput};

use crate::engine::Input;

/// Inputs for a program type; those without packets get a context of small numbers.
pub fn inputs(prog_type: ProgType) -> Vec<Input> {
    let input = ProgInfo::of(prog_type).map(|row| row.input);
    match input {
        Some(RunInput::Skb { .. } | RunInput::Xdp | RunInput::Flow) => {
            frames().into_iter().map(|data| Input { data, ..Input::default() }).collect()
        }
        _ => {
            let ctx = |seed: u64| (0..12u64).flat_map(|i| (seed * i).to_le_bytes()).collect();
            (0..5).map(|seed| Input { ctx: ctx(seed), ..Input::default() }).collect()
        }
    }
}

fn frames() -> Vec<Vec<u8>> {
    let tcp = tcp(12345, 80, 0x02, b"");
    let http = tcp_with(40000, 8080, 0x18, b"GET / HTTP/1.0\r\n\r\n");
    let udp = udp(5353, 53, b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x03www\x07example\x03com\x00\x00\x01\x00\x01");
    let icmp = [&[8u8, 0, 0xf7, 0xfd, 0, 1, 0, 1][..], &[0x61; 24]].concat();
    vec![
        ether(0x0800, &ipv4(6, &tcp)),
        ether(0x0800, &ipv4(6, &http)),
        ether(0x0800, &ipv4(17, &udp)),
        ether(0x0800, &ipv4(1, &icmp)),
        ether(0x86dd, &ipv6(6, &tcp)),
        ether(0x86dd, &ipv6(17, &udp)),
        // Hop-by-hop options before UDP.
        ether(0x86dd, &ipv6(0, &[&[17u8, 0, 1, 4, 0, 0, 0, 0][..], &udp].concat())),
        ether(0x8100, &[&[0x20u8, 0x64, 0x08, 0x00][..], &ipv4(6, &tcp)].concat()),
        ether(0x88a8, &[&[0, 5, 0x81, 0, 0, 6, 0x86, 0xdd][..], &ipv6(6, &tcp)].concat()),
        ether(0x0806, &arp()),
        ether(0x0800, &ipv4(4, &ipv4(17, &udp))),
        ether(0x0800, &ipv4(47, &[&[0u8, 0, 8, 0][..], &ipv4(6, &tcp)].concat())),
        ether(0x0800, &ipv4(6, &tcp)[..18]),
        ether(0x88b5, &[]),
        ether(0x0800, &[0xff; 1000]),
    ]
}

fn ether(protocol: u16, body: &[u8]) -> Vec<u8> {
    let head = [2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2];
    [&head[..], &protocol.to_be_bytes(), body].concat()
}

fn ipv4(protocol: u8, body: &[u8]) -> Vec<u8> {
    let len = u16::try_from(20 + body.len()).unwrap_or(u16::MAX);
    let mut h = vec![0x45, 0];
    h.extend(len.to_be_bytes());
    h.extend([0x12, 0x34, 0x40, 0, 64, protocol, 0, 0, 10, 0, 0, 1, 192, 168, 1, 2]);
    let sum: u32 = h.chunks(2).map(|w| u32::from(w[0]) << 8 | u32::from(w[1])).sum();
    let sum = !((sum & 0xffff) + (sum >> 16)) as u16;
    h.splice(10..12, sum.to_be_bytes());
    h.extend(body);
    h
}

fn ipv6(next: u8, body: &[u8]) -> Vec<u8> {
    let len = u16::try_from(body.len()).unwrap_or(u16::MAX);
    let mut h = vec![0x60, 0, 0, 0];
    h.extend(len.to_be_bytes());
    h.extend([next, 64]);
    for last in [1, 2] {
        h.extend([0x20, 1, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, last]);
    }
    h.extend(body);
    h
}

fn tcp(from: u16, to: u16, flags: u8, data: &[u8]) -> Vec<u8> {
    // Maximum segment size, SACK permitted, window scale.
    let options = [2, 4, 5, 0xb4, 4, 2, 1, 3, 3, 7, 1, 1];
    segment(from, to, flags, &options, data)
}

fn tcp_with(from: u16, to: u16, flags: u8, data: &[u8]) -> Vec<u8> {
    segment(from, to, flags, &[], data)
}

fn segment(from: u16, to: u16, flags: u8, options: &[u8], data: &[u8]) -> Vec<u8> {
    let mut s = [from.to_be_bytes(), to.to_be_bytes()].concat();
    s.extend([0, 0, 0, 1, 0, 0, 0, 0]);
    s.extend([((5 + options.len() / 4) << 4) as u8, flags, 0x72, 0x10, 0, 0, 0, 0]);
    s.extend(options);
    s.extend(data);
    s
}

fn udp(from: u16, to: u16, data: &[u8]) -> Vec<u8> {
    let len = u16::try_from(8 + data.len()).unwrap_or(u16::MAX);
    let mut s = [from.to_be_bytes(), to.to_be_bytes(), len.to_be_bytes(), [0, 0]].concat();
    s.extend(data);
    s
}

fn arp() -> Vec<u8> {
    let mut a = vec![0, 1, 8, 0, 6, 4, 0, 1, 2, 0, 0, 0, 0, 2, 10, 0, 0, 1];
    a.extend([0, 0, 0, 0, 0, 0, 192, 168, 1, 2]);
    a
}
