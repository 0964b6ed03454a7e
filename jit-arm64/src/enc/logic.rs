//! Bitwise operations and the bitmask immediate.

use bpfassay_isa::Width;

use super::arith::shifted;
use super::{bits_of, sf, Shift, R, ZR};

/// A bitwise operation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Op {
    And = 0,
    Orr = 1,
    Eor = 2,
    /// AND that sets the flags.
    Ands = 3,
}

/// A bitmask immediate: a run of ones, rotated, repeated in elements of 2 to 64 bits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BitMask(u32);

impl BitMask {
    /// `None` for 0, all ones, and whatever is no such pattern.
    ///
    /// The element is the smallest power of two the value repeats with; inside
    /// it the ones must form one run, possibly wrapping around.
    #[inline]
    pub fn new(w: Width, v: u64) -> Option<BitMask> {
        let width = bits_of(w);
        let full = if width == 64 { u64::MAX } else { u64::from(u32::MAX) };
        let v = v & full;
        if v == 0 || v == full {
            return None;
        }
        let mut size = width;
        while size > 2 {
            let half = size / 2;
            let mask = (1u64 << half) - 1;
            if v & mask != (v >> half) & mask {
                break;
            }
            size = half;
        }
        let mask = if size == 64 { u64::MAX } else { (1u64 << size) - 1 };
        let elem = v & mask;
        // Rotate the run of ones down to bit 0: it starts after the zeros below it, or, where it
        // wraps, after the topmost zero.
        let start = if elem & 1 == 0 {
            elem.trailing_zeros()
        } else {
            let zeros = !elem & mask;
            64 - zeros.leading_zeros()
        } % size;
        let down =
            if start == 0 { elem } else { ((elem >> start) | (elem << (size - start))) & mask };
        if down & down.wrapping_add(1) & mask != 0 {
            return None;
        }
        let ones = down.count_ones();
        let immr = (size - start) % size;
        // The element size is told by the leading ones of imms, and by N for 64.
        let imms = (!(size * 2 - 1) & 0x3f) | (ones - 1);
        let n = u32::from(size == 64);
        Some(BitMask((n << 22) | (immr << 16) | (imms << 10)))
    }
}

/// `op rd, rn, #mask`; for all but `ands`, `rd` 31 is the stack pointer.
pub fn imm(op: Op, w: Width, rd: R, rn: R, mask: BitMask) -> u32 {
    sf(w) | 0x1200_0000 | ((op as u32) << 29) | mask.0 | rn.rn() | rd.rd()
}

/// `op rd, rn, rm, shift #amount`.
pub fn reg(op: Op, w: Width, rd: R, rn: R, rm: R, shift: Shift, amount: u32) -> u32 {
    sf(w) | 0x0a00_0000 | ((op as u32) << 29) | shifted(shift, amount) | rm.rm() | rn.rn() | rd.rd()
}

/// `op rd, rn, ~rm`: `bic`, `orn`, `eon`, `bics`.
pub fn reg_not(op: Op, w: Width, rd: R, rn: R, rm: R) -> u32 {
    sf(w) | 0x0a20_0000 | ((op as u32) << 29) | rm.rm() | rn.rn() | rd.rd()
}

/// `mov rd, rm`; 31 is the zero register.  The 32-bit form clears the upper half.
pub fn mov(w: Width, rd: R, rm: R) -> u32 {
    reg(Op::Orr, w, rd, ZR, rm, Shift::Lsl, 0)
}

/// `tst rn, rm`.
pub fn tst(w: Width, rn: R, rm: R) -> u32 {
    reg(Op::Ands, w, ZR, rn, rm, Shift::Lsl, 0)
}

/// `tst rn, #mask`.
pub fn tst_imm(w: Width, rn: R, mask: BitMask) -> u32 {
    imm(Op::Ands, w, ZR, rn, mask)
}

/// `mvn rd, rm`.
pub fn mvn(w: Width, rd: R, rm: R) -> u32 {
    reg_not(Op::Orr, w, rd, ZR, rm)
}
