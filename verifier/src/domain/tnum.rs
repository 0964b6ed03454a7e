//! Tristate numbers: known bits and unknown bits (`kernel/bpf/tnum.c`).
//!
//! Operations are those of the kernel bit for bit, not merely as precise: the
//! result is printed.  Soundness of each is tested by brute force over a small
//! width against `bpfassay_isa::semantics`, and proved at full width by `prove`.

use bpfassay_isa::bits::{Signed, Unsigned, Whole, Word};

use crate::mutation::{self, Mutation};

/// Every bit is 0, 1 or unknown: `mask` has the unknown bits, `value` the known
/// ones.  `value & mask == 0` always holds.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
#[repr(C)]
pub struct Tnum<U = u64> {
    pub value: U,
    pub mask: U,
}

#[allow(clippy::should_implement_trait, reason = "the names are the kernel's, tnum_add and so on")]
impl<U: Whole> Tnum<U> {
    /// Every bit unknown (`tnum_unknown`).
    pub const UNKNOWN: Tnum<U> = Tnum { value: U::ZERO, mask: U::MAX };

    /// From parts; bits in both are unknown.
    #[inline]
    fn of(value: U, mask: U) -> Tnum<U> {
        Tnum { value: value & !mask, mask }
    }

    /// Exactly `value` (`tnum_const`).
    #[inline]
    pub fn constant(value: U) -> Tnum<U> {
        Tnum { value, mask: U::ZERO }
    }

    /// Smallest tnum that holds every value of `min..=max` (unsigned): the common
    /// leading bits are known, the rest is not (`tnum_range`).
    #[inline]
    pub fn range(min: U, max: U) -> Tnum<U> {
        Tnum::of(min, (min ^ max).filled_down())
    }

    /// True if every bit is known (`tnum_is_const`).
    #[inline]
    pub fn is_const(self) -> bool {
        self.mask == U::ZERO
    }

    /// True if no bit is known (`tnum_is_unknown`).
    #[inline]
    pub fn is_unknown(self) -> bool {
        self.value | !self.mask == U::ZERO
    }

    /// True if exactly `v` (`tnum_equals_const`).
    #[inline]
    pub fn equals_const(self, v: U) -> bool {
        self.mask == U::ZERO && self.value == v
    }

    /// True if the low 32 bits are known (`tnum_subreg_is_const`).
    #[inline]
    pub fn subreg_is_const(self) -> bool {
        self.mask.low() == U::Half::ZERO
    }

    /// Largest member, unsigned.
    #[inline]
    pub fn umax(self) -> U {
        self.value | self.mask
    }

    /// True if `v` is a member.
    #[inline]
    pub fn contains(self, v: U) -> bool {
        v & !self.mask == self.value
    }

    /// `tnum_lshift`; `shift` below 64.
    #[inline]
    pub fn lshift(self, shift: u8) -> Tnum<U> {
        let s = shift as u32 & (U::BITS - 1);
        Tnum { value: self.value << s, mask: self.mask << s }
    }

    /// `tnum_rshift`; `shift` below 64.
    #[inline]
    pub fn rshift(self, shift: u8) -> Tnum<U> {
        let s = shift as u32 & (U::BITS - 1);
        Tnum { value: self.value >> s, mask: self.mask >> s }
    }

    /// Arithmetic right shift of all 64 bits (`tnum_arshift`): an unknown sign spreads as unknown.
    #[inline]
    pub fn arshift64(self, shift: u8) -> Tnum<U> {
        let s = shift as u32 & (U::BITS - 1);
        Tnum {
            value: (self.value.signed() >> s).unsigned(),
            mask: (self.mask.signed() >> s).unsigned(),
        }
    }

    /// Arithmetic right shift of the low 32 bits; the upper half of the result is zero.
    #[inline]
    pub fn arshift32(self, shift: u8) -> Tnum<U> {
        let s = shift as u32 & (U::Half::BITS - 1);
        Tnum {
            value: U::zext((self.value.low().signed() >> s).unsigned()),
            mask: U::zext((self.mask.low().signed() >> s).unsigned()),
        }
    }

    /// Sum (`tnum_add`): a bit is unknown where either operand is, or where the carry
    /// into it differs between the smallest and the largest sum.
    #[inline]
    pub fn add(self, o: Tnum<U>) -> Tnum<U> {
        let least = self.value.plus(o.value);
        let most = least.plus(self.mask.plus(o.mask));
        let carries = if mutation::has(Mutation::AddDropsCarries) { U::ZERO } else { most ^ least };
        Tnum::of(least, carries | self.mask | o.mask)
    }

    /// Difference (`tnum_sub`), the same way with borrows.
    #[inline]
    pub fn sub(self, o: Tnum<U>) -> Tnum<U> {
        let d = self.value.minus(o.value);
        let most = d.plus(self.mask);
        let least = d.minus(o.mask);
        Tnum::of(d, (most ^ least) | self.mask | o.mask)
    }

    /// `0 - self` (`tnum_neg`).
    #[inline]
    pub fn neg(self) -> Tnum<U> {
        Tnum::constant(U::ZERO).sub(self)
    }

    /// Bitwise and: one where both are known ones, zero where either is a known zero.
    #[inline]
    pub fn and(self, o: Tnum<U>) -> Tnum<U> {
        let ones = self.value & o.value;
        Tnum { value: ones, mask: self.umax() & o.umax() & !ones }
    }

    /// Bitwise or.
    #[inline]
    pub fn or(self, o: Tnum<U>) -> Tnum<U> {
        let ones = self.value | o.value;
        Tnum { value: ones, mask: (self.mask | o.mask) & !ones }
    }

    /// Bitwise exclusive or.
    #[inline]
    pub fn xor(self, o: Tnum<U>) -> Tnum<U> {
        Tnum::of(self.value ^ o.value, self.mask | o.mask)
    }

    /// Product by long multiplication (`tnum_mul`): an unknown bit of `self` joins
    /// the sums with and without `o` shifted to it.
    pub fn mul(self, o: Tnum<U>) -> Tnum<U> {
        let (mut a, mut b) = (self, o);
        let mut acc = Tnum::constant(U::ZERO);
        while a.umax() != U::ZERO {
            acc = acc.plus_one_row(a, b);
            a = a.rshift(1);
            b = b.lshift(1);
        }
        acc
    }

    /// The same of kernels whose unknown bits make all of the other factor's unknown (before 6.18).
    pub fn mul_by_masks(self, o: Tnum<U>) -> Tnum<U> {
        let (mut a, mut b) = (self, o);
        let mut unknown = Tnum::constant(U::ZERO);
        while a.umax() != U::ZERO {
            unknown = unknown.plus_unknown_row(a, b);
            a = a.rshift(1);
            b = b.lshift(1);
        }
        Tnum::constant(self.value.times(o.value)).add(unknown)
    }

    /// What one row adds to the product of the known bits.
    #[inline]
    pub fn plus_unknown_row(self, a: Tnum<U>, b: Tnum<U>) -> Tnum<U> {
        let one = U::lit(1);
        if a.value & one != U::ZERO {
            self.add(Tnum::of(U::ZERO, b.mask))
        } else if a.mask & one != U::ZERO {
            self.add(Tnum::of(U::ZERO, b.umax()))
        } else {
            self
        }
    }

    /// One row of the long multiplication: `self` plus `b` where the lowest bit of `a` is set.
    #[inline]
    pub fn plus_one_row(self, a: Tnum<U>, b: Tnum<U>) -> Tnum<U> {
        let one = U::lit(1);
        if a.value & one != U::ZERO {
            self.add(b)
        } else if a.mask & one != U::ZERO && !mutation::has(Mutation::MulDropsUnknownBits) {
            self.union(self.add(b))
        } else {
            self
        }
    }

    /// True if some value may be in both: the bits known to both agree (`tnum_overlap`).
    #[inline]
    pub fn overlaps(self, o: Tnum<U>) -> bool {
        let known = !self.mask & !o.mask;
        self.value & known == o.value & known
    }

    /// Values in both (`tnum_intersect`).  Where they contradict each other the bit becomes 1,
    /// as in the kernel.
    #[inline]
    pub fn intersect(self, o: Tnum<U>) -> Tnum<U> {
        Tnum::of(self.value | o.value, self.mask & o.mask)
    }

    /// Smallest tnum with the values of both (`tnum_union`).
    #[inline]
    pub fn union(self, o: Tnum<U>) -> Tnum<U> {
        Tnum::of(self.value & o.value, (self.value ^ o.value) | self.mask | o.mask)
    }

    /// Keeps the lowest `bytes` bytes, the rest is zero (`tnum_cast`); 1 to 8.
    #[inline]
    pub fn cast(self, bytes: u32) -> Tnum<U> {
        let keep = if bytes >= 8 { U::MAX } else { U::lit((1u64 << (bytes * 8)) - 1) };
        Tnum { value: self.value & keep, mask: self.mask & keep }
    }

    /// True if every member is a multiple of `size`, a power of two or 0 (`tnum_is_aligned`).
    #[inline]
    pub fn is_aligned(self, size: u64) -> bool {
        size == 0 || self.umax() & U::lit(size - 1) == U::ZERO
    }

    /// True if every member of `o` is a member of `self` (`tnum_in(self, o)`).
    #[inline]
    pub fn includes(self, o: Tnum<U>) -> bool {
        o.mask & !self.mask == U::ZERO && o.value & !self.mask == self.value
    }

    /// Low 32 bits, zero-extended (`tnum_subreg`).
    #[inline]
    pub fn subreg(self) -> Tnum<U> {
        Tnum { value: self.value & U::LOW, mask: self.mask & U::LOW }
    }

    /// Low 32 bits set to zero (`tnum_clear_subreg`).
    #[inline]
    pub fn clear_subreg(self) -> Tnum<U> {
        Tnum { value: self.value & !U::LOW, mask: self.mask & !U::LOW }
    }

    /// Low 32 bits taken from `sub` (`tnum_with_subreg`).
    #[inline]
    pub fn with_subreg(self, sub: Tnum<U>) -> Tnum<U> {
        self.clear_subreg().or(sub.subreg())
    }

    /// Low 32 bits set to a constant (`tnum_const_subreg`).
    #[inline]
    pub fn with_const_subreg(self, value: U::Half) -> Tnum<U> {
        self.with_subreg(Tnum::constant(U::zext(value)))
    }

    /// Bytes of the low 16, 32 or 64 bits reversed, upper bits zero (`tnum_bswap16` and its siblings).
    #[inline]
    pub fn bswap(self, bits: u32) -> Tnum<U> {
        let spare = U::BITS - bits;
        Tnum {
            value: self.value.bytes_reversed() >> spare,
            mask: self.mask.bytes_reversed() >> spare,
        }
    }

    /// Smallest member above `z`; the smallest member if `z` is below all, the largest if none is
    /// above (`tnum_step`).
    ///
    /// A member is `value + s` with `s` made of mask bits only, so the question is the smallest such `s`
    /// above `z - value`.  Filling the positions outside the mask with ones lets a carry pass through them;
    /// below the highest bit of the distance that lies outside the mask, everything starts from zero again.
    pub fn step(self, z: U) -> U {
        let max = self.umax();
        if z >= max {
            return max;
        }
        if z < self.value {
            return self.value;
        }
        let distance = z.minus(self.value);
        let below = (distance & !self.mask).filled_down();
        let filled = distance | below | !self.mask;
        self.value | (filled.plus(U::lit(1)) & self.mask)
    }
}
