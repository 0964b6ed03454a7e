//! A little less than an operation's result, to see that a proof would notice.

use bpfassay_isa::bits::{Bits, Unsigned, Whole, Word};
use bpfassay_verifier::domain::arc::Arc;
use bpfassay_verifier::domain::reg::RegState;
use bpfassay_verifier::domain::tnum::Tnum;

/// Loses the greatest unsigned value, and that of the low half; where it is the only one, takes the next for it.
pub fn weaken_reg<B: Bits>(r: &mut RegState<B>, weak: bool) {
    if !weak {
        return;
    }
    if r.umin < r.umax {
        r.umax = r.umax.minus(B::U64::lit(1));
    } else {
        r.umin = r.umin.plus(B::U64::lit(1));
    }
    if r.u32_min < r.u32_max {
        r.u32_max = r.u32_max.minus(B::U32::lit(1));
    } else {
        r.u32_min = r.u32_min.plus(B::U32::lit(1));
    }
}

/// Loses the last value; where it is the only one, takes the next for it.
pub fn weaken_arc<U: Unsigned>(arc: Arc<U>, weak: bool) -> Arc<U> {
    let one = U::lit(1);
    match weak {
        false => arc,
        true if arc.len == U::ZERO => Arc { base: arc.base.plus(one), ..arc },
        true => Arc { len: arc.len.minus(one), ..arc },
    }
}

/// Takes the lowest unknown bit for a zero.
pub fn weaken_tnum<W: Whole>(t: Tnum<W>, weak: bool) -> Tnum<W> {
    match weak {
        true => Tnum { mask: t.mask & t.mask.minus(W::lit(1)), ..t },
        false => t,
    }
}
