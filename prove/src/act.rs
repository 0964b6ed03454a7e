//! What the verifier does to one register for one instruction or one step of its own, and what the processor does.

use bpfassay_isa::bits::{Bits, Unsigned, Whole, Word, U64};
use bpfassay_isa::field::AluCode;
use bpfassay_isa::{semantics, AluOp, SwapKind, SxFrom, Width};
use bpfassay_spec::Features;
use bpfassay_verifier::domain::division::Keeps;
use bpfassay_verifier::domain::reg::RegState;

/// An abstract operation that leaves one register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// A step of bounds deduction: the value stays.
    Step(Step),
    Alu(AluOp, Width),
    /// By a constant.
    Shift(AluOp, Width, u32),
    Neg,
    Swap(SwapKind, u8),
    /// The low bytes, zero-extended.
    Cut(u32),
    Sx(Width, SxFrom),
    /// The low half, zero-extended.
    Zext,
    /// A linked register follows: by the second operand, in the low half only if told so.
    Follow {
        cuts: bool,
    },
    /// All of it becomes the second operand.
    Known,
    /// The low half becomes the second operand's.
    KnownLow,
}

/// Steps of `reg_bounds_sync` and their kin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    Range32FromTnum,
    Range64FromTnum,
    SingleValue,
    EqualUpperHalves,
    AroundZero,
    EachOther32,
    Deduce64,
    LowHalf,
    Int,
    TnumFromRanges,
    Unbounded,
    // Before 6.8.
    BySign32,
    BySign64,
    TnumFromRangesApart,
    // Of arcs.
    Reread,
    ArcsFromTnum,
    Arc32FromArc64,
    Arc64FromArc32,
    TnumFromArcs,
}

impl Step {
    pub const ALL: [(Step, &'static str); 11] = [
        (Step::Range32FromTnum, "__update_reg32_bounds"),
        (Step::Range64FromTnum, "__update_reg64_bounds"),
        (Step::SingleValue, "__update_reg_bounds: one value left"),
        (Step::EqualUpperHalves, "__reg32_deduce_bounds: equal upper halves"),
        (Step::AroundZero, "__reg32_deduce_bounds: around zero"),
        (Step::EachOther32, "__reg32_deduce_bounds: each other"),
        (Step::Deduce64, "__reg64_deduce_bounds"),
        (Step::LowHalf, "__reg_deduce_mixed_bounds: low half"),
        (Step::Int, "__reg_deduce_mixed_bounds: int"),
        (Step::TnumFromRanges, "__reg_bound_offset"),
        (Step::Unbounded, "__mark_reg_unbounded"),
    ];

    pub const PLAIN: [(Step, &'static str); 3] = [
        (Step::BySign32, "__reg32_deduce_bounds"),
        (Step::BySign64, "__reg64_deduce_bounds"),
        (Step::TnumFromRangesApart, "__reg_bound_offset"),
    ];

    pub const OF_ARCS: [(Step, &'static str); 5] = [
        (Step::Reread, "cnum_umin, cnum_smin and their kin"),
        (Step::ArcsFromTnum, "__update_reg_bounds"),
        (Step::Arc32FromArc64, "deduce_bounds_32_from_64"),
        (Step::Arc64FromArc32, "deduce_bounds_64_from_32"),
        (Step::TnumFromArcs, "__reg_bound_offset"),
    ];

    pub fn apply<B: Bits>(self, r: &mut RegState<B>, f: &Features) {
        match self {
            Step::Range32FromTnum => r.learn_range32_from_tnum(),
            Step::Range64FromTnum => r.learn_range64_from_tnum(),
            Step::SingleValue => r.learn_single_value(),
            Step::EqualUpperHalves => r.deduce_32_from_equal_upper_halves(),
            Step::AroundZero => r.deduce_32_around_zero(),
            Step::EachOther32 => r.deduce_32_from_each_other(f),
            Step::Deduce64 => r.deduce_64(),
            Step::LowHalf => r.tighten_64_with_low(),
            Step::Int => r.deduce_64_from_int(),
            Step::TnumFromRanges => r.learn_tnum_from_ranges(),
            Step::Unbounded => r.mark_unbounded(),
            Step::BySign32 => r.deduce_32_by_sign(),
            Step::BySign64 => r.deduce_64_by_sign(),
            Step::TnumFromRangesApart => r.learn_tnum_from_ranges_apart(),
            Step::Reread => {
                r.set_arc64(r.arc64());
                r.set_arc32(r.arc32());
            }
            Step::ArcsFromTnum => r.learn_arcs_from_tnum(),
            Step::Arc32FromArc64 => r.learn_arc32_from_arc64(),
            Step::Arc64FromArc32 => r.learn_arc64_from_arc32(),
            Step::TnumFromArcs => r.learn_tnum_from_arcs(),
        }
    }
}

impl Act {
    /// The shipped operation on `a`, with `b` as its other operand.
    pub fn apply<B: Bits>(self, a: &mut RegState<B>, b: &RegState<B>, f: &Features) {
        match self {
            Act::Step(step) => return step.apply(a, f),
            _ if f.circular_ranges => return self.apply_to_arcs(a, b, f),
            Act::Alu(op, width) if act_divides(op) && f.division_bounded => {
                let (op, signed) = code(op);
                a.alu_divide(op, signed, width, b, Keeps::Bounds);
            }
            Act::Alu(op, _) => alu(op, a, b, f),
            Act::Shift(op, width, n) => shift(op, width, a, n, f),
            Act::Neg => a.alu_neg(f),
            Act::Swap(kind, bits) => a.swap_or_cut(kind == SwapKind::Bswap, bits.into()),
            Act::Cut(bytes) if f.bounds_exchanged => a.cut_to_size(bytes),
            Act::Cut(bytes) => a.cut_plainly(bytes),
            Act::Sx(Width::W64, from) => a.coerce_to_size_sx(bytes_of(from)),
            Act::Sx(Width::W32, from) => a.coerce_subreg_to_size_sx(bytes_of(from)),
            Act::Zext => a.zext_32_to_64(),
            Act::Follow { cuts } => a.move_by(b.var_off.value.signed(), cuts, f),
            Act::Known => a.mark_known(b.var_off.value),
            Act::KnownLow => a.mark_known32(b.var_off.value.low()),
        }
        if self.is_half() {
            a.zext_32_to_64();
        }
    }

    /// The upper half of the result is zero.
    fn is_half(self) -> bool {
        matches!(
            self,
            Act::Alu(_, Width::W32) | Act::Shift(_, Width::W32, _) | Act::Sx(Width::W32, _)
        )
    }

    /// The same of kernels whose ranges are arcs.
    fn apply_to_arcs<B: Bits>(self, a: &mut RegState<B>, b: &RegState<B>, f: &Features) {
        match self {
            Act::Step(step) => return step.apply(a, f),
            Act::Alu(op, width) => match code(op) {
                (op @ (AluCode::Div | AluCode::Mod), signed) => {
                    a.alu_divide(op, signed, width, b, Keeps::Arcs);
                }
                (op, _) => a.combine_arcs(op, b),
            },
            Act::Shift(op, width, n) => a.shift_arcs(code(op).0, width, n),
            Act::Neg => a.neg_arcs(),
            Act::Swap(kind, bits) => a.swap_or_cut_arcs(kind == SwapKind::Bswap, bits.into()),
            Act::Cut(bytes) => a.cut_arcs(bytes),
            Act::Sx(Width::W64, from) => a.sign_extend(bytes_of(from), f),
            Act::Sx(Width::W32, from) => a.sign_extend_low_half(bytes_of(from), f),
            Act::Zext => a.cut_upper_half(f),
            Act::Follow { cuts } => a.moved_by(b.var_off.value.signed(), cuts, f),
            Act::Known => a.mark_known(b.var_off.value),
            Act::KnownLow => a.mark_known32(b.var_off.value.low()),
        }
        if self.is_half() {
            a.cut_upper_half(f);
        }
    }

    /// What a processor makes of the values.
    pub fn exact<B: Bits>(self, x: U64<B>, y: U64<B>) -> U64<B> {
        match self {
            Act::Step(_) => x,
            Act::Alu(op, width) => semantics::alu_of::<B>(op, width, x, y),
            Act::Shift(op, width, n) => {
                semantics::alu_of::<B>(op, width, x, U64::<B>::lit(n.into()))
            }
            Act::Neg => semantics::neg_of::<B>(Width::W64, x),
            Act::Swap(kind, bits) => semantics::swap_of::<B>(kind, bits, x),
            Act::Cut(bytes) => x & (U64::<B>::MAX >> (U64::<B>::BITS - bytes * 8)),
            Act::Sx(width, from) => semantics::movsx_of::<B>(width, from, x),
            Act::Zext => x & U64::<B>::LOW,
            Act::Follow { cuts } => {
                let width = if cuts { Width::W32 } else { Width::W64 };
                semantics::alu_of::<B>(AluOp::Add, width, x, y)
            }
            Act::Known => y,
            Act::KnownLow => (x & !U64::<B>::LOW) | (y & U64::<B>::LOW),
        }
    }

    /// The second operand is a constant.
    pub fn takes_constant(self) -> bool {
        match self {
            Act::Alu(op, _) => act_divides(op),
            _ => matches!(self, Act::Follow { .. } | Act::Known | Act::KnownLow),
        }
    }
}

fn act_divides(op: AluOp) -> bool {
    matches!(op, AluOp::Div | AluOp::SDiv | AluOp::Mod | AluOp::SMod)
}

/// The operation's number, and whether it is a signed division.
fn code(op: AluOp) -> (AluCode, bool) {
    match op {
        AluOp::Add => (AluCode::Add, false),
        AluOp::Sub => (AluCode::Sub, false),
        AluOp::Mul => (AluCode::Mul, false),
        AluOp::Div => (AluCode::Div, false),
        AluOp::SDiv => (AluCode::Div, true),
        AluOp::Mod => (AluCode::Mod, false),
        AluOp::SMod => (AluCode::Mod, true),
        AluOp::Or => (AluCode::Or, false),
        AluOp::And => (AluCode::And, false),
        AluOp::Xor => (AluCode::Xor, false),
        AluOp::Lsh => (AluCode::Lsh, false),
        AluOp::Rsh => (AluCode::Rsh, false),
        AluOp::Arsh => (AluCode::Arsh, false),
        AluOp::Mov => (AluCode::Mov, false),
    }
}

pub fn bytes_of(from: SxFrom) -> u32 {
    match from {
        SxFrom::B => 1,
        SxFrom::H => 2,
        SxFrom::W => 4,
    }
}

fn alu<B: Bits>(op: AluOp, a: &mut RegState<B>, b: &RegState<B>, f: &Features) {
    match op {
        AluOp::Add => a.alu_add(b, f),
        AluOp::Sub => a.alu_sub(b, f),
        AluOp::Mul => a.alu_mul(b, f),
        AluOp::And => a.alu_and(b, f),
        AluOp::Or => a.alu_or(b, f),
        AluOp::Xor => a.alu_xor(b, f),
        // Shifts have a count; of the others the verifier knows nothing.
        _ => a.mark_unknown(true),
    }
}

fn shift<B: Bits>(op: AluOp, width: Width, a: &mut RegState<B>, n: u32, f: &Features) {
    match (op, width) {
        (AluOp::Lsh, Width::W64) => a.alu_lsh64(n, f),
        (AluOp::Lsh, Width::W32) => a.alu_lsh32(n),
        (AluOp::Rsh, Width::W64) => a.alu_rsh64(n, f),
        (AluOp::Rsh, Width::W32) => a.alu_rsh32(n),
        (AluOp::Arsh, Width::W64) => a.alu_arsh64(n, f),
        (AluOp::Arsh, Width::W32) => a.alu_arsh32(n),
        _ => a.mark_unknown(true),
    }
}
