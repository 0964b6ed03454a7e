//! Constants: MOVZ, MOVN, MOVK, and the shortest sequence that builds a value.

use bpfassay_isa::Width;

use super::logic::{self, BitMask, Op};
use super::{sf, R, ZR};

/// `movz rd, #imm, lsl #(16 * hw)`: clears the rest.
pub fn movz(w: Width, rd: R, imm: u16, hw: u32) -> u32 {
    sf(w) | 0x5280_0000 | (hw << 21) | (u32::from(imm) << 5) | rd.rd()
}

/// `movn rd, #imm, lsl #(16 * hw)`: the complement of what `movz` gives.
pub fn movn(w: Width, rd: R, imm: u16, hw: u32) -> u32 {
    sf(w) | 0x1280_0000 | (hw << 21) | (u32::from(imm) << 5) | rd.rd()
}

/// `movk rd, #imm, lsl #(16 * hw)`: keeps the rest.
pub fn movk(w: Width, rd: R, imm: u16, hw: u32) -> u32 {
    sf(w) | 0x7280_0000 | (hw << 21) | (u32::from(imm) << 5) | rd.rd()
}

/// One to four instructions that set a register.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Seq {
    words: [u32; 4],
    len: usize,
}

impl Seq {
    #[inline]
    fn one(word: u32) -> Seq {
        Seq { words: [word, 0, 0, 0], len: 1 }
    }

    #[inline]
    fn push(&mut self, word: u32) {
        if let Some(slot) = self.words.get_mut(self.len) {
            *slot = word;
            self.len += 1;
        }
    }

    #[inline]
    pub fn words(&self) -> &[u32] {
        self.words.get(..self.len).unwrap_or(&[])
    }
}

fn half(v: u64, hw: u32) -> u16 {
    (v >> (16 * hw)) as u16
}

/// The shortest sequence known for the 64-bit value `v`; a 32-bit form serves where the upper half is zero.
///
/// Tries, in order: one MOVZ, one MOVN (64 and 32 bits), one bitmask ORR; then
/// MOVZ or MOVN with as many MOVK as halfwords differ from 0 or from all ones;
/// and, where that takes three or more, a bitmask with one halfword replaced.
#[inline(always)]
pub fn load(rd: R, v: u64) -> Seq {
    match u16::try_from(v) {
        Ok(half) => Seq::one(movz(Width::W32, rd, half, 0)),
        Err(_) => load_long(rd, v),
    }
}

/// As [`load`], of what takes more than sixteen bits.
#[inline(never)]
fn load_long(rd: R, v: u64) -> Seq {
    use Width::{W32, W64};
    let zeros = (0..4).filter(|&hw| half(v, hw) == 0).count();
    let ones = (0..4).filter(|&hw| half(v, hw) == 0xffff).count();
    if zeros == 3 {
        let hw = v.trailing_zeros() / 16;
        return Seq::one(movz(W64, rd, half(v, hw), hw));
    }
    if ones >= 3 {
        let hw = if v == u64::MAX { 0 } else { (!v).trailing_zeros() / 16 };
        return Seq::one(movn(W64, rd, half(!v, hw), hw));
    }
    if v <= u64::from(u32::MAX) {
        let not = !(v as u32);
        if not <= 0xffff {
            return Seq::one(movn(W32, rd, not as u16, 0));
        }
        if not & 0xffff == 0 {
            return Seq::one(movn(W32, rd, (not >> 16) as u16, 1));
        }
        if let Some(mask) = BitMask::new(W32, v) {
            return Seq::one(logic::imm(Op::Orr, W32, rd, ZR, mask));
        }
        let mut s = Seq::one(movz(W32, rd, half(v, 0), 0));
        s.push(movk(W32, rd, half(v, 1), 1));
        return s;
    }
    if let Some(mask) = BitMask::new(W64, v) {
        return Seq::one(logic::imm(Op::Orr, W64, rd, ZR, mask));
    }
    let moves = 4 - zeros.max(ones);
    if moves >= 3 {
        if let Some(s) = patched_mask(rd, v) {
            return s;
        }
    }
    halfwords(rd, v, ones > zeros)
}

fn halfwords(rd: R, v: u64, inverted: bool) -> Seq {
    let skip = if inverted { 0xffff } else { 0 };
    let mut s = Seq { words: [0; 4], len: 0 };
    for hw in 0..4 {
        let h = half(v, hw);
        if h == skip {
            continue;
        }
        s.push(match (s.len, inverted) {
            (0, false) => movz(Width::W64, rd, h, hw),
            (0, true) => movn(Width::W64, rd, !h, hw),
            _ => movk(Width::W64, rd, h, hw),
        });
    }
    s
}

/// A bitmask that differs from `v` in one halfword, which MOVK then puts right.
fn patched_mask(rd: R, v: u64) -> Option<Seq> {
    for hw in 0..4 {
        let hole = !(0xffffu64 << (16 * hw));
        for fill in [0, 0xffff, u64::from(half(v, (hw + 2) % 4)), u64::from(half(v, (hw + 1) % 4))]
        {
            let candidate = (v & hole) | (fill << (16 * hw));
            if let Some(mask) = BitMask::new(Width::W64, candidate) {
                let mut s = Seq::one(logic::imm(Op::Orr, Width::W64, rd, ZR, mask));
                s.push(movk(Width::W64, rd, half(v, hw), hw));
                return Some(s);
            }
        }
    }
    None
}
