//! Which 64-bit operations may as well be done at 32 bits, as sets of operations.

use bpfassay_isa::{AluOp, Operand};
use AluOp::*;

use crate::mutation::{has, Mutation};

/// Operations, a bit each.
type Ops = u32;

const fn ops(list: &[AluOp]) -> Ops {
    let mut set = 0;
    let mut i = 0;
    while i < list.len() {
        set |= 1 << list[i] as u32;
        i += 1;
    }
    set
}

/// The lower half of the result needs lower halves only; of shifts, where they are short.
const BY_LOW: Ops = ops(&[Add, Sub, Mul, And, Or, Xor, Mov]);
const BY_LOW_SHORT: Ops = BY_LOW | ops(&[Lsh]);
/// The upper half of the result is zero if that of the first operand is.
const BY_A: Ops = ops(&[And]);
const BY_A_SHORT: Ops = BY_A | ops(&[Rsh]);
/// If that of the second is, which is all there is to look at.
const BY_B: Ops = ops(&[Mov, And]);
/// If both are, and upper halves do not matter otherwise.
const BY_BOTH: Ops = ops(&[And, Or, Xor, Div, Mod]);

/// Whether 32 bits give what is wanted of `a op b`: where `low`, nothing but the lower half; `a_zero` and
/// `b_zero` say which upper halves are known to be zero.
#[inline(always)]
pub fn narrows(op: AluOp, b: Operand, low: bool, a_zero: bool, b_zero: bool) -> bool {
    // Most often so, and soon told.
    if !(low || a_zero || b_zero && BY_B >> (op as u32 & 31) & 1 == 1) {
        return false;
    }
    let (by_low, by_a) = match b {
        Operand::Imm(n) if n & 32 == 0 => (BY_LOW_SHORT, BY_A_SHORT),
        _ => (BY_LOW, BY_A),
    };
    let by_low = if has(Mutation::ShiftNarrows) { by_low | ops(&[Rsh]) } else { by_low };
    let set = if low { by_low } else { 0 }
        | if a_zero { by_a } else { 0 }
        | if b_zero { BY_B } else { 0 }
        | if a_zero & b_zero { BY_BOTH } else { 0 };
    set >> (op as u32 & 31) & 1 == 1
}

/// Whether the upper half of a 64-bit result is zero all the same.
#[inline(always)]
pub fn cuts(op: AluOp, b: Operand) -> bool {
    matches!(b, Operand::Imm(n) if op == Rsh && n & 32 != 0)
}
