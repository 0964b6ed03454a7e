//! Packets from a capture, pcap or pcapng, each with the link type of the interface it was taken on.
//!
//! `pcap-parser` reads the file; what a packet means is the program's business.

use std::borrow::Cow;
use std::fmt;

use pcap_parser::nom::Err as Parse;
use pcap_parser::pcapng::Block;
use pcap_parser::{
    parse_pcap_frame, parse_pcap_frame_be, parse_pcap_frame_modified, parse_pcap_header, Linktype,
    PcapBlockOwned, PcapError as Cause, PcapNGSlice,
};

/// Why a file is no capture.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum PcapError {
    /// No magic number of either format.
    NotPcap,
    /// The packet with this number, counted from 0, or the block after it, is cut off.
    Truncated { packet: usize },
    /// Something else about the packet with this number, or the block after it.
    Broken { packet: usize },
    /// A packet of an interface that the file does not describe.
    Interface { packet: usize, interface: u32 },
}

impl fmt::Display for PcapError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PcapError::NotPcap => f.write_str("not a pcap or pcapng file"),
            PcapError::Truncated { packet } => write!(f, "packet {packet} is cut off"),
            PcapError::Broken { packet } => write!(f, "the file is broken at packet {packet}"),
            PcapError::Interface { packet, interface } => {
                write!(f, "packet {packet} is of interface {interface}, which is not described")
            }
        }
    }
}

impl std::error::Error for PcapError {}

/// A packet as captured.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Packet<'a> {
    /// What its first header is.
    pub link: Linktype,
    pub data: &'a [u8],
}

/// The captured packets, in order.
///
/// # Errors
/// A file that is no capture, or is broken or cut off; nothing is left out.
pub fn packets(file: &[u8]) -> Result<Vec<Packet<'_>>, PcapError> {
    match file.get(..4) {
        Some([0x0a, 0x0d, 0x0d, 0x0a]) => pcapng(file),
        Some(_) => pcap(file),
        None => Err(PcapError::NotPcap),
    }
}

fn wrong<T>(e: Parse<T>, packet: usize) -> PcapError {
    match e {
        Parse::Incomplete(_) => PcapError::Truncated { packet },
        Parse::Error(_) | Parse::Failure(_) => PcapError::Broken { packet },
    }
}

fn pcap(file: &[u8]) -> Result<Vec<Packet<'_>>, PcapError> {
    let (mut rest, header) = parse_pcap_header(file).map_err(|_| PcapError::NotPcap)?;
    let parse = match (header.is_bigendian(), header.is_modified_format()) {
        (true, _) => parse_pcap_frame_be,
        (false, true) => parse_pcap_frame_modified,
        (false, false) => parse_pcap_frame,
    };
    // The upper half says how long checksums at the ends of frames are.
    let link = Linktype(header.network.0 & 0xffff);
    let mut found = Vec::new();
    while !rest.is_empty() {
        let (tail, frame) = parse(rest).map_err(|e| wrong(e, found.len()))?;
        let data = frame.data;
        found.push(Packet { link, data });
        rest = tail;
    }
    Ok(found)
}

fn pcapng(file: &[u8]) -> Result<Vec<Packet<'_>>, PcapError> {
    let blocks = PcapNGSlice::from_slice(file).map_err(|_: Parse<Cause<_>>| PcapError::NotPcap)?;
    let (mut links, mut found): (Vec<(Linktype, u32)>, Vec<Packet<'_>>) = Default::default();
    for block in blocks {
        let packet = found.len();
        let PcapBlockOwned::NG(block) = block.map_err(|e| wrong(e, packet))? else { continue };
        let (interface, data, len) = match block {
            // Interfaces are counted anew in every section.
            Block::SectionHeader(_) => {
                links.clear();
                continue;
            }
            Block::InterfaceDescription(i) => {
                links.push((i.linktype, i.snaplen));
                continue;
            }
            Block::EnhancedPacket(p) => (p.if_id, p.data, p.caplen),
            Block::SimplePacket(p) => (0, p.data, p.origlen),
            _ => continue,
        };
        let known = links.get(interface as usize).copied();
        let (link, snaplen) = known.ok_or(PcapError::Interface { packet, interface })?;
        // Data is padded to four bytes; a simple packet is cut where its interface cuts.
        let len = if snaplen == 0 { len } else { len.min(snaplen) };
        found.push(Packet { link, data: data.get(..len as usize).unwrap_or(data) });
    }
    Ok(found)
}

/// The link type of Ethernet frames.
pub const ETHERNET: Linktype = Linktype::ETHERNET;
/// Length of an Ethernet header.
const ETH_HLEN: usize = 14;

impl<'a> Packet<'a> {
    /// The packet as an Ethernet frame, as test runs take it.  Cooked captures (`tcpdump -i any`) and such without a
    /// link header get one without addresses.
    ///
    /// # Errors
    /// The link type of what has no such form.
    pub fn ethernet(&self) -> Result<Cow<'a, [u8]>, Linktype> {
        let data = self.data;
        let be16 = |at: usize| data.get(at..at + 2).map(|b| [b[0], b[1]]);
        let (protocol, skip) = match self.link {
            Linktype::ETHERNET => return Ok(Cow::Borrowed(data)),
            Linktype::LINUX_SLL => (be16(14), 16),
            Linktype::LINUX_SLL2 => (be16(0), 20),
            // 12 and 14 are raw IP in captures of some systems.
            Linktype::RAW | Linktype::IPV4 | Linktype::IPV6 | Linktype(12 | 14) => (ip(data, 0), 0),
            Linktype::NULL | Linktype::LOOP => (ip(data, 4), 4),
            other => return Err(other),
        };
        let protocol = protocol.unwrap_or_default();
        let mut frame = vec![0; ETH_HLEN - 2];
        frame.extend(protocol);
        frame.extend(data.get(skip..).unwrap_or_default());
        Ok(Cow::Owned(frame))
    }
}

/// The protocol that an IP header's version says.
fn ip(data: &[u8], at: usize) -> Option<[u8; 2]> {
    match data.get(at)? >> 4 {
        4 => Some([0x08, 0x00]),
        6 => Some([0x86, 0xdd]),
        _ => None,
    }
}

/// A link type for people: `LINUX_SLL (113)`.
pub fn link_name(link: Linktype) -> String {
    let name = link.to_string();
    match name.starts_with("Linktype") {
        true => format!("{}", link.0),
        false => format!("{name} ({})", link.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data<'a>(found: &[Packet<'a>]) -> Vec<&'a [u8]> {
        found.iter().map(|p| p.data).collect()
    }

    #[test]
    fn reads_both_byte_orders_and_names_the_cut_packet() {
        for (magic, len, link) in [
            ([0xd4, 0xc3, 0xb2, 0xa1], [3, 0, 0, 0], [113, 0, 0, 0]),
            ([0xa1, 0xb2, 0xc3, 0xd4], [0, 0, 0, 3], [0, 0, 0, 113]),
            ([0x4d, 0x3c, 0xb2, 0xa1], [3, 0, 0, 0], [113, 0, 0, 0]),
            ([0xa1, 0xb2, 0x3c, 0x4d], [0, 0, 0, 3], [0, 0, 0, 113]),
        ] {
            let mut file = magic.to_vec();
            file.extend([0; 16]);
            file.extend(link);
            for _ in 0..2 {
                file.extend([0; 8]);
                file.extend(len);
                file.extend(len);
                file.extend(b"abc");
            }
            let found = packets(&file).expect("a capture");
            assert_eq!(data(&found), [&b"abc"[..], &b"abc"[..]]);
            assert_eq!(found[0].link, Linktype::LINUX_SLL);
            file.pop();
            assert_eq!(packets(&file), Err(PcapError::Truncated { packet: 1 }));
        }
        assert_eq!(packets(b"\x7fELF"), Err(PcapError::NotPcap));
        assert_eq!(packets(b""), Err(PcapError::NotPcap));
    }

    fn block(out: &mut Vec<u8>, kind: u32, body: &[u8], is_big: bool) {
        let word = |n: u32| if is_big { n.to_be_bytes() } else { n.to_le_bytes() };
        let padded = body.len().next_multiple_of(4);
        let len = word(12 + padded as u32);
        out.extend(word(kind));
        out.extend(len);
        out.extend(body);
        out.extend(vec![0; padded - body.len()]);
        out.extend(len);
    }

    /// A section with two interfaces and a packet of each, and a simple packet, in either byte order.
    fn section(is_big: bool) -> Vec<u8> {
        let word = |n: u32| if is_big { n.to_be_bytes() } else { n.to_le_bytes() };
        let half = |n: u16| if is_big { n.to_be_bytes() } else { n.to_le_bytes() };
        let mut out = Vec::new();
        let version = [word(0x1a2b_3c4d), [half(1), half(0)].concat().try_into().unwrap()].concat();
        block(&mut out, 0x0a0d_0d0a, &[version, vec![0xff; 8]].concat(), is_big);
        for link in [1, 101] {
            block(&mut out, 1, &[&half(link)[..], &half(0), &word(0)].concat(), is_big);
        }
        for (interface, bytes) in [(0, &b"abcde"[..]), (1, &b"\x45bc"[..])] {
            let n = word(bytes.len() as u32);
            let head = [word(interface), word(0), word(0), n, n].concat();
            block(&mut out, 6, &[&head, bytes].concat(), is_big);
        }
        block(&mut out, 3, &[&word(2)[..], b"xy"].concat(), is_big);
        out
    }

    #[test]
    fn reads_pcapng_with_the_link_type_of_each_interface() {
        // Sections may be in different byte orders.
        let file = [section(false), section(true)].concat();
        let found = packets(&file).expect("a capture");
        let once = [&b"abcde"[..], b"\x45bc", b"xy"];
        assert_eq!(data(&found), [once, once].concat());
        let links: Vec<i32> = found.iter().map(|p| p.link.0).collect();
        assert_eq!(links, [1, 101, 1, 1, 101, 1]);
        assert!(packets(&file[..file.len() - 1]).is_err());
    }

    #[test]
    fn other_link_types_become_frames_or_are_named() {
        let of = |link: i32, data: &'static [u8]| Packet { link: Linktype(link), data };
        let mut cooked = vec![0; 14];
        cooked.extend([0x08, 0x06, 1, 2]);
        let arp = Packet { link: Linktype::LINUX_SLL, data: &cooked };
        let frame = arp.ethernet().expect("a frame");
        assert_eq!((frame.len(), &frame[12..]), (16, &[8, 6, 1, 2][..]));
        assert_eq!(of(101, &[0x45, 1]).ethernet().expect("a frame")[12..], [8, 0, 0x45, 1]);
        assert_eq!(of(229, &[0x60]).ethernet().expect("a frame")[12..], [0x86, 0xdd, 0x60]);
        assert_eq!(of(0, &[2, 0, 0, 0, 0x45]).ethernet().expect("a frame")[12..], [8, 0, 0x45]);
        assert_eq!(of(1, b"whole").ethernet().expect("a frame"), &b"whole"[..]);
        assert_eq!(of(127, b"radio").ethernet(), Err(Linktype(127)));
        assert_eq!(
            (&*link_name(Linktype(113)), &*link_name(Linktype(127))),
            ("LINUX_SLL (113)", "127")
        );
    }
}
