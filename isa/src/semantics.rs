//! What ALU, swap and compare instructions compute: the one definition.
//!
//! Interpreter, constant folding, and the tests of the verifier's domain call
//! these functions.  All are total: no operand overflows, divides by zero or
//! shifts out of range.  Mirrors `___bpf_prog_run` (kernel/bpf/core.c) and the
//! patches of `do_misc_fixups` that define division by zero at run time.

use crate::bits::{Bits, Machine, Signed, Unsigned, Whole, Word};
use crate::insn::{AluOp, AtomicOp, Cond, Size, SwapKind, SxFrom, Width};

/// `a op b`; with W32 both operands are cut to 32 bits and the result is zero-extended.
///
/// Division by zero gives 0, modulo by zero leaves `a` (zero-extended for W32),
/// the most negative value divided by -1 is itself and leaves no remainder, and
/// shift counts are taken modulo the width.
#[inline]
pub fn alu(op: AluOp, width: Width, a: u64, b: u64) -> u64 {
    alu_of::<Machine>(op, width, a, b)
}

/// [`alu`] over any words.
#[inline]
pub fn alu_of<B: Bits>(op: AluOp, width: Width, a: B::U64, b: B::U64) -> B::U64 {
    match width {
        Width::W64 => alu_word(op, a, b),
        Width::W32 => B::U64::zext(alu_word(op, a.low(), b.low())),
    }
}

/// [`alu`] on words of the operation's own width.
#[inline]
pub fn alu_word<W: Unsigned>(op: AluOp, a: W, b: W) -> W {
    match op {
        AluOp::Add => a.plus(b),
        AluOp::Sub => a.minus(b),
        AluOp::Mul => a.times(b),
        AluOp::Div => a.over(b).unwrap_or(W::ZERO),
        AluOp::SDiv => a.signed().over(b.signed()).map_or(W::ZERO, Signed::unsigned),
        AluOp::Or => a | b,
        AluOp::And => a & b,
        AluOp::Lsh => a.shifted_left(b),
        AluOp::Rsh => a.shifted_right(b),
        AluOp::Mod => a.modulo(b).unwrap_or(a),
        AluOp::SMod => a.signed().modulo(b.signed()).map_or(a, Signed::unsigned),
        AluOp::Xor => a ^ b,
        AluOp::Mov => b,
        AluOp::Arsh => a.signed().shifted_right(b.signed()).unsigned(),
    }
}

/// An immediate as the second operand: sign-extended to 64 bits (W32 ignores the upper half).
#[inline]
pub fn imm(v: i32) -> u64 {
    v as i64 as u64
}

/// `-a`, zero-extended for W32.
#[inline]
pub fn neg(width: Width, a: u64) -> u64 {
    neg_of::<Machine>(width, a)
}

/// [`neg`] over any words.
#[inline]
pub fn neg_of<B: Bits>(width: Width, a: B::U64) -> B::U64 {
    match width {
        Width::W64 => B::U64::ZERO.minus(a),
        Width::W32 => B::U64::zext(B::U32::ZERO.minus(a.low())),
    }
}

/// Sign-extends the low `from` bits to `width`; the rest is zero.
#[inline]
pub fn movsx(width: Width, from: SxFrom, a: u64) -> u64 {
    movsx_of::<Machine>(width, from, a)
}

/// [`movsx`] over any words of 64 bits.
#[inline]
pub fn movsx_of<B: Bits>(width: Width, from: SxFrom, a: B::U64) -> B::U64 {
    let spare = match from {
        SxFrom::B => 56,
        SxFrom::H => 48,
        SxFrom::W => 32,
    };
    let wide = ((a << spare).signed() >> spare).unsigned();
    match width {
        Width::W64 => wide,
        Width::W32 => wide & B::U64::LOW,
    }
}

/// Byte swap on a little-endian machine, which is what every kernel of ours is.
///
/// The result is cut to `bits`, also where nothing is swapped; `bits` other
/// than 16, 32 and 64 cannot be decoded and leave `a`.
#[inline]
pub fn swap(kind: SwapKind, bits: u8, a: u64) -> u64 {
    swap_of::<Machine>(kind, bits, a)
}

/// [`swap`] over any words of 64 bits.
#[inline]
pub fn swap_of<B: Bits>(kind: SwapKind, bits: u8, a: B::U64) -> B::U64 {
    match (kind, bits) {
        (SwapKind::ToLe, 16) => a & B::U64::lit(0xffff),
        (SwapKind::ToLe, 32) => a & B::U64::LOW,
        (SwapKind::ToBe | SwapKind::Bswap, 16) => a.bytes_reversed() >> 48,
        (SwapKind::ToBe | SwapKind::Bswap, 32) => a.bytes_reversed() >> 32,
        (SwapKind::ToBe | SwapKind::Bswap, 64) => a.bytes_reversed(),
        _ => a,
    }
}

/// Whether the jump is taken; with W32 only the low halves are compared.
#[inline]
pub fn cond(c: Cond, width: Width, a: u64, b: u64) -> bool {
    cond_of::<Machine>(c, width, a, b)
}

/// [`cond`] over any words.
#[inline]
pub fn cond_of<B: Bits>(c: Cond, width: Width, a: B::U64, b: B::U64) -> bool {
    match width {
        Width::W64 => compare(c, a, b),
        Width::W32 => compare(c, a.low(), b.low()),
    }
}

#[inline]
fn compare<W: Unsigned>(c: Cond, a: W, b: W) -> bool {
    match c {
        Cond::Eq => a == b,
        Cond::Gt => a > b,
        Cond::Ge => a >= b,
        Cond::Set => a & b != W::ZERO,
        Cond::Ne => a != b,
        Cond::Sgt => a.signed() > b.signed(),
        Cond::Sge => a.signed() >= b.signed(),
        Cond::Lt => a < b,
        Cond::Le => a <= b,
        Cond::Slt => a.signed() < b.signed(),
        Cond::Sle => a.signed() <= b.signed(),
    }
}

/// Cuts to the access size, zero-extending: a load, or what a store writes.
#[inline]
pub fn truncate(size: Size, a: u64) -> u64 {
    match size {
        Size::B => a as u8 as u64,
        Size::H => a as u16 as u64,
        Size::W => a as u32 as u64,
        Size::Dw => a,
    }
}

/// Sign-extends a loaded value of this size to 64 bits.
#[inline]
pub fn sign_extend(size: Size, a: u64) -> u64 {
    match size {
        Size::B => a as i8 as i64 as u64,
        Size::H => a as i16 as i64 as u64,
        Size::W => a as i32 as i64 as u64,
        Size::Dw => a,
    }
}

/// What an atomic writes, given the old value, the source register and r0.
///
/// None when memory stays as it is (a failed compare-and-exchange).  All three
/// values are compared and combined at the access size.
#[inline]
pub fn atomic(op: AtomicOp, size: Size, old: u64, src: u64, r0: u64) -> Option<u64> {
    let (old, src, r0) = (truncate(size, old), truncate(size, src), truncate(size, r0));
    let new = match op {
        AtomicOp::Add => old.wrapping_add(src),
        AtomicOp::Or => old | src,
        AtomicOp::And => old & src,
        AtomicOp::Xor => old ^ src,
        AtomicOp::Xchg => src,
        AtomicOp::Cmpxchg if old == r0 => src,
        AtomicOp::Cmpxchg => return None,
    };
    Some(truncate(size, new))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn corners_are_the_kernels() {
        use AluOp::*;
        let min64 = i64::MIN as u64;
        let min32 = 0x8000_0000u64;
        let high = 0xffff_ffff_0000_0000u64;
        for (op, width, a, b, want) in [
            (Div, Width::W64, 7, 0, 0),
            (Mod, Width::W64, high | 7, 0, high | 7),
            (Mod, Width::W32, high | 7, high, 7),
            (SDiv, Width::W64, min64, u64::MAX, min64),
            (SMod, Width::W64, min64, u64::MAX, 0),
            (SDiv, Width::W32, high | min32, u64::MAX, min32),
            (SMod, Width::W32, (-13i64) as u64, 4, 0xffff_ffff),
            (SDiv, Width::W64, (-13i64) as u64, 4, (-3i64) as u64),
            (Lsh, Width::W64, 1, 64, 1),
            (Lsh, Width::W32, 1, 33, 2),
            (Arsh, Width::W32, min32, 31, 0xffff_ffff),
            (Arsh, Width::W64, min32, 31, 1),
            (Mov, Width::W32, 0, imm(-1), 0xffff_ffff),
        ] {
            assert_eq!(alu(op, width, a, b), want, "{op:?} {width:?} {a:#x} {b:#x}");
        }
    }

    #[test]
    fn swaps_cut_to_their_width() {
        let a = 0x8877_6655_4433_2211;
        assert_eq!(swap(SwapKind::ToLe, 16, a), 0x2211);
        assert_eq!(swap(SwapKind::ToBe, 16, a), 0x1122);
        assert_eq!(swap(SwapKind::Bswap, 32, a), 0x1122_3344);
        assert_eq!(swap(SwapKind::ToLe, 64, a), a);
        assert_eq!(swap(SwapKind::ToBe, 64, a), 0x1122_3344_5566_7788);
    }

    #[test]
    fn narrow_compare_and_exchange_compares_narrow_values() {
        let op = AtomicOp::Cmpxchg;
        assert_eq!(atomic(op, Size::W, 5, 0x1_0000_0009, 0x7_0000_0005), Some(9));
        assert_eq!(atomic(op, Size::Dw, 5, 9, 0x7_0000_0005), None);
    }
}
