//! Bounds of quotient and remainder by a constant (`scalar_min_max_udiv`, `scalar_min_max_smod` and their siblings of
//! `kernel/bpf/verifier.c`), where the kernel has them.

use bpfassay_isa::bits::{Bits, Signed, Unsigned, Word, U32, U64};
use bpfassay_isa::field::AluCode;
use bpfassay_isa::Width;

use super::arc::Arc;
use super::arith::Ranges;
use super::reg::RegState;
use super::tnum::Tnum;

/// What a kernel keeps of a range: the bounds that were computed alone, or an arc.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Keeps {
    Bounds,
    Arcs,
}

/// Both ends inclusive.
#[derive(Clone, Copy, Debug)]
enum Range<U: Unsigned> {
    Unsigned(U, U),
    Signed(U::Signed, U::Signed),
}

impl<U: Unsigned> Range<U> {
    fn arc(self) -> Arc<U> {
        match self {
            Range::Unsigned(a, b) => Arc::unsigned(a, b),
            Range::Signed(a, b) => Arc::signed(a, b),
        }
    }

    /// The other view says nothing.
    fn bounds(self) -> Ranges<U> {
        let (smin, smax) = (U::Signed::MIN, U::Signed::MAX);
        match self {
            Range::Unsigned(umin, umax) => Ranges { smin, smax, umin, umax },
            Range::Signed(smin, smax) => Ranges { smin, smax, umin: U::ZERO, umax: U::MAX },
        }
    }
}

impl<B: Bits> RegState<B> {
    /// `self / o` or `self % o` by a constant; by zero the quotient is zero and the remainder the dividend.  A remainder
    /// that is the dividend for all values leaves everything as it was, else the tnum and the other width are lost.
    pub fn alu_divide(
        &mut self,
        op: AluCode,
        signed: bool,
        width: Width,
        o: &RegState<B>,
        keeps: Keeps,
    ) {
        let is_div = op == AluCode::Div;
        let by_zero = match width {
            Width::W32 => o.u32_min == U32::<B>::ZERO,
            Width::W64 => o.umin == U64::<B>::ZERO,
        };
        if by_zero {
            if is_div {
                self.set_known_value(U64::<B>::ZERO);
            }
            return;
        }
        match width {
            Width::W32 => {
                let Some(range) = divided(self.ranges32(), o.u32_min, is_div, signed) else {
                    return;
                };
                match keeps {
                    Keeps::Arcs => self.set_arc32(range.arc()),
                    Keeps::Bounds => self.set_ranges32(range.bounds()),
                }
                self.mark_unbounded64();
            }
            Width::W64 => {
                let Some(range) = divided(self.ranges64(), o.umin, is_div, signed) else { return };
                match keeps {
                    Keeps::Arcs => self.set_arc64(range.arc()),
                    Keeps::Bounds => self.set_ranges64(range.bounds()),
                }
                self.mark_unbounded32();
            }
        }
        self.var_off = Tnum::UNKNOWN;
    }
}

/// Quotients or remainders by a constant that is not zero; None where the dividend stays as it is.
fn divided<U: Unsigned>(r: Ranges<U>, by: U, is_div: bool, signed: bool) -> Option<Range<U>> {
    let over = |v: U| v.over(by).unwrap_or(U::ZERO);
    match (is_div, signed) {
        (true, false) => Some(Range::Unsigned(over(r.umin), over(r.umax))),
        (false, false) if r.umax < by => None,
        (false, false) => Some(Range::Unsigned(U::ZERO, r.umax.at_most(by.minus(U::lit(1))))),
        (true, true) => {
            let (a, b) = quotients(r.smin, r.smax, by.signed());
            Some(Range::Signed(a, b))
        }
        (false, true) => remainders(r.smin, r.smax, by.signed()).map(|(a, b)| Range::Signed(a, b)),
    }
}

/// Least and greatest quotient of `min..=max` by a constant; the least value of the width divided by -1 overflows.
fn quotients<S: Signed>(min: S, max: S, by: S) -> (S, S) {
    if min == S::MIN && by == !S::ZERO {
        return if max == S::MIN { (S::MIN, S::MIN) } else { (S::MIN, S::MAX) };
    }
    let (a, b) = (min.over(by).unwrap_or(S::ZERO), max.over(by).unwrap_or(S::ZERO));
    (a.at_most(b), a.at_least(b))
}

/// Least and greatest remainder; None where the dividend is one already.
fn remainders<S: Signed>(min: S, max: S, by: S) -> Option<(S, S)> {
    let zero = S::ZERO;
    let size = if by < zero { zero.minus(by) } else { by };
    let most = size.minus(S::lit(1));
    let least = zero.minus(most);
    if min >= least && max <= most {
        None
    } else if min >= zero {
        Some((zero, max.at_most(most)))
    } else if max <= zero {
        Some((min.at_least(least), zero))
    } else {
        Some((least, most))
    }
}
