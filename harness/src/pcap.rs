//! Packets from a capture file (pcap, not pcapng), as a stream of borrowed slices.
//!
//! Knows the file's framing only; what a packet means is the program's business.

use std::fmt;

/// Why a file is no capture.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PcapError {
    /// No magic number of a pcap file; pcapng has its own error.
    NotPcap,
    PcapNg,
    /// The packet with this number, counted from 0, is cut off.
    Truncated {
        packet: usize,
    },
}

impl fmt::Display for PcapError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PcapError::NotPcap => f.write_str("not a pcap file"),
            PcapError::PcapNg => f.write_str("a pcapng file; convert it to pcap"),
            PcapError::Truncated { packet } => write!(f, "packet {packet} is cut off"),
        }
    }
}

impl std::error::Error for PcapError {}

const FILE_HEADER: usize = 24;
const PACKET_HEADER: usize = 16;

/// The captured bytes of every packet, in order.
pub fn packets(file: &[u8]) -> Result<Vec<&[u8]>, PcapError> {
    let is_big = match file.get(..4) {
        // Microsecond and nanosecond time stamps.
        Some([0xd4 | 0x4d, 0xc3 | 0x3c, 0xb2, 0xa1]) => false,
        Some([0xa1, 0xb2, 0xc3 | 0x3c, 0xd4 | 0x4d]) => true,
        Some([0x0a, 0x0d, 0x0d, 0x0a]) => return Err(PcapError::PcapNg),
        _ => return Err(PcapError::NotPcap),
    };
    let mut rest = file.get(FILE_HEADER..).ok_or(PcapError::NotPcap)?;
    let mut found = Vec::new();
    while !rest.is_empty() {
        let cut = PcapError::Truncated { packet: found.len() };
        let (header, body) = rest.split_at_checked(PACKET_HEADER).ok_or(cut)?;
        let len: [u8; 4] = header.get(8..12).and_then(|b| b.try_into().ok()).ok_or(cut)?;
        let len = if is_big { u32::from_be_bytes(len) } else { u32::from_le_bytes(len) };
        let (packet, tail) = body.split_at_checked(len as usize).ok_or(cut)?;
        found.push(packet);
        rest = tail;
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_both_byte_orders_and_names_the_cut_packet() {
        for (magic, len) in
            [([0xd4, 0xc3, 0xb2, 0xa1], [3, 0, 0, 0]), ([0xa1, 0xb2, 0xc3, 0xd4], [0, 0, 0, 3])]
        {
            let mut file = magic.to_vec();
            file.extend([0; 20]);
            for _ in 0..2 {
                file.extend([0; 8]);
                file.extend(len);
                file.extend(len);
                file.extend(b"abc");
            }
            assert_eq!(packets(&file), Ok(vec![&b"abc"[..], &b"abc"[..]]));
            file.pop();
            assert_eq!(packets(&file), Err(PcapError::Truncated { packet: 1 }));
        }
        assert_eq!(packets(b"\x7fELF"), Err(PcapError::NotPcap));
    }
}
