//! Tristate numbers: known bits and unknown bits (`kernel/bpf/tnum.c`).
//!
//! Operations are those of the kernel bit for bit, not merely as precise: the
//! result is printed.  Soundness of each is tested by brute force over a small
//! width against `bpfassay_isa::semantics`.

/// Every bit is 0, 1 or unknown: `mask` has the unknown bits, `value` the known
/// ones.  `value & mask == 0` always holds.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
#[repr(C)]
pub struct Tnum {
    pub value: u64,
    pub mask: u64,
}

impl Tnum {
    /// Every bit unknown (`tnum_unknown`).
    pub const UNKNOWN: Tnum = Tnum { value: 0, mask: u64::MAX };

    /// From parts; bits in both are unknown.
    #[inline]
    const fn of(value: u64, mask: u64) -> Tnum {
        Tnum { value: value & !mask, mask }
    }

    /// Exactly `value` (`tnum_const`).
    #[inline]
    pub const fn constant(value: u64) -> Tnum {
        Tnum { value, mask: 0 }
    }

    /// Smallest tnum that holds every value of `min..=max` (unsigned): the common
    /// leading bits are known, the rest is not (`tnum_range`).
    #[inline]
    pub const fn range(min: u64, max: u64) -> Tnum {
        let differing = 64 - (min ^ max).leading_zeros();
        if differing == 64 {
            return Tnum::UNKNOWN;
        }
        Tnum::of(min, (1u64 << differing) - 1)
    }

    /// True if every bit is known (`tnum_is_const`).
    #[inline]
    pub const fn is_const(self) -> bool {
        self.mask == 0
    }

    /// True if no bit is known (`tnum_is_unknown`).
    #[inline]
    pub const fn is_unknown(self) -> bool {
        self.value | !self.mask == 0
    }

    /// True if exactly `v` (`tnum_equals_const`).
    #[inline]
    pub const fn equals_const(self, v: u64) -> bool {
        self.mask == 0 && self.value == v
    }

    /// True if the low 32 bits are known (`tnum_subreg_is_const`).
    #[inline]
    pub const fn subreg_is_const(self) -> bool {
        self.mask as u32 == 0
    }

    /// Largest member, unsigned.
    #[inline]
    pub const fn umax(self) -> u64 {
        self.value | self.mask
    }

    /// True if `v` is a member.
    #[inline]
    pub const fn contains(self, v: u64) -> bool {
        v & !self.mask == self.value
    }

    /// `tnum_lshift`; `shift` below 64.
    #[inline]
    pub const fn lshift(self, shift: u8) -> Tnum {
        let s = (shift & 63) as u32;
        Tnum { value: self.value << s, mask: self.mask << s }
    }

    /// `tnum_rshift`; `shift` below 64.
    #[inline]
    pub const fn rshift(self, shift: u8) -> Tnum {
        let s = (shift & 63) as u32;
        Tnum { value: self.value >> s, mask: self.mask >> s }
    }

    /// Arithmetic right shift of all 64 bits (`tnum_arshift`): an unknown sign spreads as unknown.
    #[inline]
    pub const fn arshift64(self, shift: u8) -> Tnum {
        let s = (shift & 63) as u32;
        Tnum { value: ((self.value as i64) >> s) as u64, mask: ((self.mask as i64) >> s) as u64 }
    }

    /// Arithmetic right shift of the low 32 bits; the upper half of the result is zero.
    #[inline]
    pub const fn arshift32(self, shift: u8) -> Tnum {
        let s = (shift & 31) as u32;
        Tnum {
            value: ((self.value as i32) >> s) as u32 as u64,
            mask: ((self.mask as i32) >> s) as u32 as u64,
        }
    }

    /// Sum (`tnum_add`): a bit is unknown where either operand is, or where the carry
    /// into it differs between the smallest and the largest sum.
    #[inline]
    pub const fn add(self, o: Tnum) -> Tnum {
        let least = self.value.wrapping_add(o.value);
        let most = least.wrapping_add(self.mask.wrapping_add(o.mask));
        Tnum::of(least, (most ^ least) | self.mask | o.mask)
    }

    /// Difference (`tnum_sub`), the same way with borrows.
    #[inline]
    pub const fn sub(self, o: Tnum) -> Tnum {
        let d = self.value.wrapping_sub(o.value);
        let most = d.wrapping_add(self.mask);
        let least = d.wrapping_sub(o.mask);
        Tnum::of(d, (most ^ least) | self.mask | o.mask)
    }

    /// `0 - self` (`tnum_neg`).
    #[inline]
    pub const fn neg(self) -> Tnum {
        Tnum::constant(0).sub(self)
    }

    /// Bitwise and: one where both are known ones, zero where either is a known zero.
    #[inline]
    pub const fn and(self, o: Tnum) -> Tnum {
        let ones = self.value & o.value;
        Tnum { value: ones, mask: self.umax() & o.umax() & !ones }
    }

    /// Bitwise or.
    #[inline]
    pub const fn or(self, o: Tnum) -> Tnum {
        let ones = self.value | o.value;
        Tnum { value: ones, mask: (self.mask | o.mask) & !ones }
    }

    /// Bitwise exclusive or.
    #[inline]
    pub const fn xor(self, o: Tnum) -> Tnum {
        Tnum::of(self.value ^ o.value, self.mask | o.mask)
    }

    /// Product by long multiplication (`tnum_mul`): an unknown bit of `self` joins
    /// the sums with and without `o` shifted to it.
    pub const fn mul(self, o: Tnum) -> Tnum {
        let (mut a, mut b) = (self, o);
        let mut acc = Tnum::constant(0);
        while a.value | a.mask != 0 {
            if a.value & 1 != 0 {
                acc = acc.add(b);
            } else if a.mask & 1 != 0 {
                acc = acc.union(acc.add(b));
            }
            a = a.rshift(1);
            b = b.lshift(1);
        }
        acc
    }

    /// True if some value may be in both: the bits known to both agree (`tnum_overlap`).
    #[inline]
    pub const fn overlaps(self, o: Tnum) -> bool {
        let known = !self.mask & !o.mask;
        self.value & known == o.value & known
    }

    /// Values in both (`tnum_intersect`).  Where they contradict each other the bit becomes 1,
    /// as in the kernel.
    #[inline]
    pub const fn intersect(self, o: Tnum) -> Tnum {
        Tnum::of(self.value | o.value, self.mask & o.mask)
    }

    /// Smallest tnum with the values of both (`tnum_union`).
    #[inline]
    pub const fn union(self, o: Tnum) -> Tnum {
        Tnum::of(self.value & o.value, (self.value ^ o.value) | self.mask | o.mask)
    }

    /// Keeps the lowest `bytes` bytes, the rest is zero (`tnum_cast`); 1 to 8.
    #[inline]
    pub const fn cast(self, bytes: u32) -> Tnum {
        let keep = if bytes >= 8 { u64::MAX } else { (1u64 << (bytes * 8)) - 1 };
        Tnum { value: self.value & keep, mask: self.mask & keep }
    }

    /// True if every member is a multiple of `size`, a power of two or 0 (`tnum_is_aligned`).
    #[inline]
    pub const fn is_aligned(self, size: u64) -> bool {
        size == 0 || self.umax() & (size - 1) == 0
    }

    /// True if every member of `o` is a member of `self` (`tnum_in(self, o)`).
    #[inline]
    pub const fn includes(self, o: Tnum) -> bool {
        o.mask & !self.mask == 0 && o.value & !self.mask == self.value
    }

    /// Low 32 bits, zero-extended (`tnum_subreg`).
    #[inline]
    pub const fn subreg(self) -> Tnum {
        self.cast(4)
    }

    /// Low 32 bits set to zero (`tnum_clear_subreg`).
    #[inline]
    pub const fn clear_subreg(self) -> Tnum {
        Tnum { value: self.value & !0xffff_ffff, mask: self.mask & !0xffff_ffff }
    }

    /// Low 32 bits taken from `sub` (`tnum_with_subreg`).
    #[inline]
    pub const fn with_subreg(self, sub: Tnum) -> Tnum {
        self.clear_subreg().or(sub.subreg())
    }

    /// Low 32 bits set to a constant (`tnum_const_subreg`).
    #[inline]
    pub const fn with_const_subreg(self, value: u32) -> Tnum {
        self.with_subreg(Tnum::constant(value as u64))
    }

    /// Bytes of the low 16, 32 or 64 bits reversed, upper bits zero (`tnum_bswap16` and its siblings).
    #[inline]
    pub const fn bswap(self, bits: u32) -> Tnum {
        match bits {
            16 => Tnum {
                value: (self.value as u16).swap_bytes() as u64,
                mask: (self.mask as u16).swap_bytes() as u64,
            },
            32 => Tnum {
                value: (self.value as u32).swap_bytes() as u64,
                mask: (self.mask as u32).swap_bytes() as u64,
            },
            _ => Tnum { value: self.value.swap_bytes(), mask: self.mask.swap_bytes() },
        }
    }

    /// Smallest member above `z`; the smallest member if `z` is below all, the largest if none is
    /// above (`tnum_step`).
    ///
    /// A member is `value + s` with `s` made of mask bits only, so the question is the smallest such `s`
    /// above `z - value`.  Filling the positions outside the mask with ones lets a carry pass through them;
    /// below the highest bit of the distance that lies outside the mask, everything starts from zero again.
    pub const fn step(self, z: u64) -> u64 {
        let max = self.umax();
        if z >= max {
            return max;
        }
        if z < self.value {
            return self.value;
        }
        let distance = z - self.value;
        let outside = distance & !self.mask;
        let below = match outside.leading_zeros() {
            0 => u64::MAX,
            lz => (1u64 << (64 - lz)) - 1,
        };
        let filled = distance | below | !self.mask;
        self.value | (filled.wrapping_add(1) & self.mask)
    }
}
