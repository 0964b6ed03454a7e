//! The 8-byte form: `struct bpf_insn` (RFC 9669, section 3).

/// One undecoded instruction slot.  Any 8 bytes are representable.
///
/// ```text
/// byte 0   1          2..4          4..8
///      code dst | src  off (i16 LE)  imm (i32 LE)
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
pub struct RawInsn {
    pub code: u8,
    /// Destination register field, 0 to 15.
    pub dst: u8,
    /// Source register field, 0 to 15; also the pseudo source of LD_IMM64 and CALL.
    pub src: u8,
    pub off: i16,
    pub imm: i32,
}

impl RawInsn {
    /// From the little-endian encoding.
    pub fn from_le_bytes(b: [u8; 8]) -> RawInsn {
        RawInsn {
            code: b[0],
            dst: b[1] & 0xf,
            src: b[1] >> 4,
            off: i16::from_le_bytes([b[2], b[3]]),
            imm: i32::from_le_bytes([b[4], b[5], b[6], b[7]]),
        }
    }

    /// To the little-endian encoding; register fields are taken modulo 16.
    pub fn to_le_bytes(self) -> [u8; 8] {
        let off = self.off.to_le_bytes();
        let imm = self.imm.to_le_bytes();
        [
            self.code,
            (self.dst & 0xf) | (self.src << 4),
            off[0],
            off[1],
            imm[0],
            imm[1],
            imm[2],
            imm[3],
        ]
    }
}
