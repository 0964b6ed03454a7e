//! Arcs of the number circle: a range that may go around at the end (`struct cnum32`, `struct cnum64`;
//! `kernel/bpf/cnum.c` of 7.2).  Knows no register.

use bpfassay_isa::bits::{Signed, Unsigned, Whole, Word};

use super::tnum::Tnum;

/// The values from `base` on, `len` further ones, going around at the end (`struct cnum32`, `cnum64`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Arc<U: Unsigned> {
    pub base: U,
    pub len: U,
}

#[allow(clippy::should_implement_trait, reason = "the names are the kernel's operations")]
impl<U: Unsigned> Arc<U> {
    pub const FULL: Arc<U> = Arc { base: U::ZERO, len: U::MAX };
    /// No value; the one arc of full length that does not start at zero or the signed maximum.
    pub const EMPTY: Arc<U> = Arc { base: U::MAX, len: U::MAX };

    /// `cnum*_from_urange`
    #[inline]
    pub fn unsigned(min: U, max: U) -> Arc<U> {
        Arc { base: min, len: max.minus(min) }
    }

    /// `cnum*_from_srange`
    #[inline]
    pub fn signed(min: U::Signed, max: U::Signed) -> Arc<U> {
        let len = max.unsigned().minus(min.unsigned());
        Arc::one(|| Arc { base: if len == U::MAX { U::ZERO } else { min.unsigned() }, len })
    }

    /// What `f` gives, by whichever way.
    #[inline(always)]
    pub(super) fn one(f: impl Fn() -> Arc<U>) -> Arc<U> {
        let [base, len] = U::all_ways(|| {
            let arc = f();
            [arc.base, arc.len]
        });
        Arc { base, len }
    }

    #[inline]
    pub fn is_empty(self) -> bool {
        self == Arc::EMPTY
    }

    #[inline]
    pub fn is_const(self) -> bool {
        self.len == U::ZERO
    }

    #[inline]
    fn end(self) -> U {
        self.base.plus(self.len)
    }

    /// Goes from the largest unsigned value to zero.
    #[inline]
    pub fn wraps_unsigned(self) -> bool {
        self.len > U::MAX.minus(self.base)
    }

    /// Goes from the largest signed value to the least.
    #[inline]
    pub fn wraps_signed(self) -> bool {
        self.contains(U::Signed::MAX.unsigned()) && self.contains(U::Signed::MIN.unsigned())
    }

    /// Wraps at both borders, so that neither view tells anything of it.
    pub(super) fn is_no_view(self) -> bool {
        U::whether(|| self.len != U::MAX && self.wraps_unsigned() && self.wraps_signed())
    }

    pub fn contains(self, v: U) -> bool {
        U::whether(|| {
            if self.is_empty() {
                false
            } else if self.wraps_unsigned() {
                v >= self.base || v <= self.end()
            } else {
                v >= self.base && v <= self.end()
            }
        })
    }

    /// Both unsigned bounds (`cnum*_umin`, `cnum*_umax`).
    pub fn unsigned_bounds(self) -> (U, U) {
        let [min, max] = U::all_ways(|| match self.wraps_unsigned() {
            true => [U::ZERO, U::MAX],
            false => [self.base, self.end()],
        });
        (min, max)
    }

    /// Both signed bounds (`cnum*_smin`, `cnum*_smax`).
    pub fn signed_bounds(self) -> (U::Signed, U::Signed) {
        let [min, max] = U::Signed::all_ways(|| {
            if self.wraps_signed() {
                return [U::Signed::MIN, U::Signed::MAX];
            }
            let (a, b) = (self.base.signed(), self.end().signed());
            [a.at_most(b), a.at_least(b)]
        });
        (min, max)
    }

    /// Values in both; where those are two pieces, the shorter of the operands (`cnum*_intersect`).
    pub fn intersect(self, o: Arc<U>) -> Arc<U> {
        Arc::one(|| self.common(o))
    }

    fn common(self, o: Arc<U>) -> Arc<U> {
        if self.is_empty() || o.is_empty() {
            return Arc::EMPTY;
        }
        let (a, b) = if self.base > o.base { (o, self) } else { (self, o) };
        // Seen from the start of `a`.
        let from = b.base.minus(a.base);
        let turned = Arc { base: from, len: b.len };
        if turned.wraps_unsigned() {
            if from <= a.len {
                return if a.len <= b.len { a } else { b };
            }
            return Arc { base: a.base, len: a.len.at_most(turned.end()) };
        }
        if a.len >= from {
            return Arc { base: b.base, len: a.len.minus(from).at_most(b.len) };
        }
        Arc::EMPTY
    }

    fn normalized(self) -> Arc<U> {
        let kept = self.base == U::Signed::MAX.unsigned();
        if self.len == U::MAX && !kept {
            Arc::FULL
        } else {
            self
        }
    }

    /// Sums of a value of each (`cnum*_add`).
    pub fn add(self, o: Arc<U>) -> Arc<U> {
        Arc::one(|| {
            if self.is_empty() || o.is_empty() {
                Arc::EMPTY
            } else if self.len > U::MAX.minus(o.len) {
                Arc::FULL
            } else {
                Arc { base: self.base.plus(o.base), len: self.len.plus(o.len) }.normalized()
            }
        })
    }

    /// `cnum*_negate`
    pub fn neg(self) -> Arc<U> {
        Arc::one(|| match self.is_empty() {
            true => Arc::EMPTY,
            false => Arc { base: U::ZERO.minus(self.end()), len: self.len }.normalized(),
        })
    }

    /// Every value of `o` is one of `self` (`cnum*_is_subset`).
    pub fn includes(self, o: Arc<U>) -> bool {
        if o.is_empty() {
            return true;
        }
        if self.is_empty() {
            return false;
        }
        let turned = Arc { base: o.base.minus(self.base), len: o.len };
        if turned.wraps_unsigned() && self.len < U::MAX {
            return false;
        }
        turned.end() <= self.len
    }
}

/// `cnum32_from_cnum64`: the low halves.
pub fn low_half<U: Whole>(a: Arc<U>) -> Arc<U::Half> {
    Arc::one(|| {
        if a.is_empty() {
            Arc::EMPTY
        } else if a.len >= U::LOW {
            Arc::FULL
        } else {
            Arc { base: a.base.low(), len: a.len.low() }
        }
    })
}

/// `a` cut at both ends to values whose low half lies in `b` (`cnum64_cnum32_intersect`).
pub fn cut_to_low_half<U: Whole>(a: Arc<U>, b: Arc<U::Half>) -> Arc<U> {
    Arc::one(|| cut(a, b))
}

fn cut<U: Whole>(a: Arc<U>, b: Arc<U::Half>) -> Arc<U> {
    if a.is_empty() || b.is_empty() {
        return Arc::EMPTY;
    }
    // Seen from the start of `a`, so that it begins with a low half of zero.
    let b = Arc { base: b.base.minus(a.base.low()), len: b.len };
    let (mut t, low_len) = (a, a.len.low());
    let end = b.end();
    if b.wraps_unsigned() {
        if low_len > end && low_len < b.base {
            t.len = t.len.minus(U::zext(low_len.minus(end)));
        }
        return t;
    }
    let start = U::zext(b.base);
    if t.len < start {
        return Arc::EMPTY;
    }
    t.base = t.base.plus(start);
    t.len = t.len.minus(start);
    let cut = if low_len < b.base {
        U::zext(low_len).plus(U::LOW.plus(U::lit(1)).minus(U::zext(end)))
    } else if low_len >= end {
        U::zext(low_len.minus(end))
    } else {
        U::ZERO
    };
    if t.len < cut {
        return Arc::EMPTY;
    }
    t.len = t.len.minus(cut);
    t
}

/// `cnum64_from_tnum`
pub fn arc_of_tnum64<U: Whole>(t: Tnum<U>) -> Arc<U> {
    arc_of_bits(t.value, t.mask)
}

/// `cnum32_from_tnum`
pub fn arc_of_tnum32<U: Whole>(t: Tnum<U>) -> Arc<U::Half> {
    arc_of_bits(t.value.low(), t.mask.low())
}

fn arc_of_bits<U: Unsigned>(value: U, mask: U) -> Arc<U> {
    let sign = U::Signed::MIN.unsigned();
    Arc::one(|| match (mask | value) & sign != U::ZERO {
        true => Arc::signed((value | (mask & sign)).signed(), (value | (mask & !sign)).signed()),
        false => Arc::unsigned(value, value | mask),
    })
}
