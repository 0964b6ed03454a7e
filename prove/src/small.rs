//! A machine of 8-bit registers with 4-bit halves, in plain numbers: small enough to try everything.

use std::cmp::Ordering;
use std::ops::{BitAnd, BitOr, BitXor, Not, Shl, Shr};

use bpfassay_isa::bits::{Bits, Signed, Unsigned, Whole, Word};

/// A word of `N` bits, at most 8; bits above are zero.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Small<const N: u32, const SIGNED: bool>(u8);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Eight;

impl Bits for Eight {
    type U64 = Small<8, false>;
    type U32 = Small<4, false>;
}

impl<const N: u32, const SIGNED: bool> Small<N, SIGNED> {
    const KEEP: u8 = u8::MAX >> (8 - N);

    const fn cut(v: i32) -> Self {
        Small(v as u8 & Self::KEEP)
    }

    /// The number it stands for.
    pub const fn number(self) -> i32 {
        let spare = 8 - N;
        match SIGNED {
            true => ((self.0 << spare) as i8 >> spare) as i32,
            false => self.0 as i32,
        }
    }

    /// None where the number does not fit.
    fn fitting(v: i32) -> Option<Self> {
        let word = Self::cut(v);
        (word.number() == v).then_some(word)
    }

    fn count(self) -> u32 {
        self.0 as u32 % N
    }
}

impl<const N: u32, const SIGNED: bool> PartialOrd for Small<N, SIGNED> {
    fn partial_cmp(&self, o: &Self) -> Option<Ordering> {
        self.number().partial_cmp(&o.number())
    }
}

macro_rules! binary {
    ($($trait:ident $method:ident $op:tt;)*) => {$(
        impl<const N: u32, const SIGNED: bool> $trait for Small<N, SIGNED> {
            type Output = Self;
            fn $method(self, o: Self) -> Self {
                Small(self.0 $op o.0)
            }
        }
    )*};
}

binary! {
    BitAnd bitand &;
    BitOr bitor |;
    BitXor bitxor ^;
}

impl<const N: u32, const SIGNED: bool> Not for Small<N, SIGNED> {
    type Output = Self;
    fn not(self) -> Self {
        Small(!self.0 & Self::KEEP)
    }
}

impl<const N: u32, const SIGNED: bool> Shl<u32> for Small<N, SIGNED> {
    type Output = Self;
    fn shl(self, n: u32) -> Self {
        Self::cut(i32::from(self.0) << n)
    }
}

impl<const N: u32, const SIGNED: bool> Shr<u32> for Small<N, SIGNED> {
    type Output = Self;
    fn shr(self, n: u32) -> Self {
        Self::cut(self.number() >> n)
    }
}

impl<const N: u32, const SIGNED: bool> Word for Small<N, SIGNED> {
    const BITS: u32 = N;
    const ZERO: Self = Small(0);
    const MIN: Self = Small(if SIGNED { 1 << (N - 1) } else { 0 });
    const MAX: Self = Small(if SIGNED { Self::KEEP >> 1 } else { Self::KEEP });

    fn lit(v: u64) -> Self {
        Small(v as u8 & Self::KEEP)
    }
    fn plus(self, o: Self) -> Self {
        Self::cut(self.number() + o.number())
    }
    fn minus(self, o: Self) -> Self {
        Self::cut(self.number() - o.number())
    }
    fn times(self, o: Self) -> Self {
        Self::cut(self.number() * o.number())
    }
    fn plus_checked(self, o: Self) -> Option<Self> {
        Self::fitting(self.number() + o.number())
    }
    fn minus_checked(self, o: Self) -> Option<Self> {
        Self::fitting(self.number() - o.number())
    }
    fn times_checked(self, o: Self) -> Option<Self> {
        Self::fitting(self.number() * o.number())
    }
    fn over(self, o: Self) -> Option<Self> {
        self.number().checked_div(o.number()).map(Self::cut)
    }
    fn modulo(self, o: Self) -> Option<Self> {
        self.number().checked_rem(o.number()).map(Self::cut)
    }
    fn at_least(self, o: Self) -> Self {
        if self < o {
            o
        } else {
            self
        }
    }
    fn at_most(self, o: Self) -> Self {
        if o < self {
            o
        } else {
            self
        }
    }
    fn shifted_left(self, by: Self) -> Self {
        self << by.count()
    }
    fn shifted_right(self, by: Self) -> Self {
        self >> by.count()
    }
}

impl<const N: u32> Unsigned for Small<N, false> {
    type Signed = Small<N, true>;

    fn signed(self) -> Small<N, true> {
        Small(self.0)
    }
    fn filled_down(self) -> Self {
        match self.0.leading_zeros() {
            8 => self,
            zeros => Small(u8::MAX >> zeros),
        }
    }
    fn bytes_reversed(self) -> Self {
        self
    }
}

impl<const N: u32> Signed for Small<N, true> {
    type Unsigned = Small<N, false>;

    fn unsigned(self) -> Small<N, false> {
        Small(self.0)
    }
}

impl Whole for Small<8, false> {
    type Half = Small<4, false>;
    const LOW: Self = Small(0xf);

    fn low(self) -> Small<4, false> {
        Small(self.0 & 0xf)
    }
    fn high(self) -> Small<4, false> {
        Small(self.0 >> 4)
    }
    fn zext(half: Small<4, false>) -> Self {
        Small(half.0)
    }
    fn sext(half: Small<4, true>) -> Small<8, true> {
        Small::cut(half.number())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Against words of the same width that are the processor's.
    #[test]
    fn words_of_eight_bits_are_the_processors() {
        for a in 0..=u8::MAX {
            for b in 0..=u8::MAX {
                let (x, y) = (Small::<8, false>(a), Small::<8, false>(b));
                let (s, t) = (x.signed(), y.signed());
                assert_eq!(x.plus(y).0, a.wrapping_add(b));
                assert_eq!(s.times(t).0, (a as i8).wrapping_mul(b as i8) as u8);
                assert_eq!(s.minus_checked(t).map(|v| v.0 as i8), (a as i8).checked_sub(b as i8));
                assert_eq!(x.over(y).map(|v| v.0), a.checked_div(b));
                let quotient = (b != 0).then(|| (a as i8).wrapping_div(b as i8) as u8);
                assert_eq!(s.over(t).map(|v| v.0), quotient);
                assert_eq!(s < t, (a as i8) < b as i8);
                assert_eq!((s >> u32::from(b % 8)).0, (a as i8 >> (b % 8)) as u8);
            }
        }
        assert_eq!(Small::<8, false>::sext(Small::<4, true>(0x9)).0, 0xf9);
    }
}
