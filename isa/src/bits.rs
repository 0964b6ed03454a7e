//! Words that a definition can be written over once: the machine's own, or a solver's bit vectors.
//!
//! [`crate::semantics`] and the verifier's domain are generic over [`Bits`].  In the product the parameter is
//! [`Machine`], whose words are `u64`, `i64`, `u32` and `i32`, so every method is the primitive's own and costs
//! nothing.  In proofs it is a set of bit vectors; comparisons answer `bool` there too, by taking one side and
//! coming back for the other.  Refuses to know registers, instructions and solvers.

use std::fmt::Debug;
use std::ops::{BitAnd, BitOr, BitXor, Not, Shl, Shr};

/// A word of a fixed width in one reading, signed or unsigned.
///
/// Arithmetic wraps.  `<<` and `>>` take a count below [`Word::BITS`]; `>>` copies the sign of signed words.
pub trait Word:
    Copy
    + Debug
    + Eq
    + PartialOrd
    + BitAnd<Output = Self>
    + BitOr<Output = Self>
    + BitXor<Output = Self>
    + Not<Output = Self>
    + Shl<u32, Output = Self>
    + Shr<u32, Output = Self>
    + 'static
{
    const BITS: u32;
    const ZERO: Self;
    const MIN: Self;
    const MAX: Self;

    /// The low bits of `v`.
    fn lit(v: u64) -> Self;
    fn plus(self, o: Self) -> Self;
    fn minus(self, o: Self) -> Self;
    fn times(self, o: Self) -> Self;
    /// `None` where the sum does not fit.
    fn plus_checked(self, o: Self) -> Option<Self>;
    fn minus_checked(self, o: Self) -> Option<Self>;
    fn times_checked(self, o: Self) -> Option<Self>;
    /// `None` for division by zero; the least value divided by -1 is itself.
    fn over(self, o: Self) -> Option<Self>;
    /// Remainder of the same division.
    fn modulo(self, o: Self) -> Option<Self>;
    /// `self`, but not below `o`.
    fn at_least(self, o: Self) -> Self;
    /// `self`, but not above `o`.
    fn at_most(self, o: Self) -> Self;
    /// Left shift by a count taken modulo the width.
    fn shifted_left(self, by: Self) -> Self;
    /// Right shift by a count taken modulo the width.
    fn shifted_right(self, by: Self) -> Self;

    /// What `f` gives, which compares words on its way.  Of a solver's words, all ways in one.
    #[inline(always)]
    fn all_ways<const N: usize>(f: impl Fn() -> [Self; N]) -> [Self; N] {
        f()
    }
    /// The same of an answer.
    #[inline(always)]
    fn whether(f: impl Fn() -> bool) -> bool {
        f()
    }
}

/// What only unsigned words are asked.
pub trait Unsigned: Word {
    /// The same bits, read as signed.
    type Signed: Signed<Unsigned = Self>;

    fn signed(self) -> Self::Signed;
    /// Ones from the highest set bit down; zero for zero.
    fn filled_down(self) -> Self;
    /// Bytes in reverse order.
    fn bytes_reversed(self) -> Self;
}

/// What only signed words are asked.
pub trait Signed: Word {
    /// The same bits, read as unsigned.
    type Unsigned: Unsigned<Signed = Self>;

    fn unsigned(self) -> Self::Unsigned;
}

/// A whole register's word, which has two halves.
pub trait Whole: Unsigned {
    type Half: Unsigned;

    /// Ones in the low half.
    const LOW: Self;

    fn low(self) -> Self::Half;
    fn high(self) -> Self::Half;
    /// A half, zero-extended.
    fn zext(half: Self::Half) -> Self;
    /// A half, sign-extended.
    fn sext(half: <Self::Half as Unsigned>::Signed) -> Self::Signed;
}

/// Shorthand: the four words of a [`Bits`].
pub type U64<B> = <B as Bits>::U64;
pub type S64<B> = <<B as Bits>::U64 as Unsigned>::Signed;
pub type U32<B> = <B as Bits>::U32;
pub type S32<B> = <<B as Bits>::U32 as Unsigned>::Signed;

/// A machine: a register's word and its half.  The names are those of the machine that runs programs.
pub trait Bits: Copy + Debug + PartialEq + Eq + 'static {
    type U64: Whole<Half = Self::U32>;
    type U32: Unsigned;
}

/// The machine that runs programs: 64-bit registers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Machine;

impl Bits for Machine {
    type U64 = u64;
    type U32 = u32;
}

macro_rules! word {
    ($t:ty) => {
        impl Word for $t {
            const BITS: u32 = <$t>::BITS;
            const ZERO: $t = 0;
            const MIN: $t = <$t>::MIN;
            const MAX: $t = <$t>::MAX;

            #[inline(always)]
            fn lit(v: u64) -> $t {
                v as $t
            }
            #[inline(always)]
            fn plus(self, o: $t) -> $t {
                self.wrapping_add(o)
            }
            #[inline(always)]
            fn minus(self, o: $t) -> $t {
                self.wrapping_sub(o)
            }
            #[inline(always)]
            fn times(self, o: $t) -> $t {
                self.wrapping_mul(o)
            }
            #[inline(always)]
            fn plus_checked(self, o: $t) -> Option<$t> {
                self.checked_add(o)
            }
            #[inline(always)]
            fn minus_checked(self, o: $t) -> Option<$t> {
                self.checked_sub(o)
            }
            #[inline(always)]
            fn times_checked(self, o: $t) -> Option<$t> {
                self.checked_mul(o)
            }
            #[inline(always)]
            fn over(self, o: $t) -> Option<$t> {
                (o != 0).then(|| self.wrapping_div(o))
            }
            #[inline(always)]
            fn modulo(self, o: $t) -> Option<$t> {
                (o != 0).then(|| self.wrapping_rem(o))
            }
            #[inline(always)]
            fn at_least(self, o: $t) -> $t {
                Ord::max(self, o)
            }
            #[inline(always)]
            fn at_most(self, o: $t) -> $t {
                Ord::min(self, o)
            }
            #[inline(always)]
            fn shifted_left(self, by: $t) -> $t {
                self.wrapping_shl(by as u32)
            }
            #[inline(always)]
            fn shifted_right(self, by: $t) -> $t {
                self.wrapping_shr(by as u32)
            }
        }
    };
}

macro_rules! pair {
    ($u:ty, $s:ty) => {
        word!($u);
        word!($s);

        impl Unsigned for $u {
            type Signed = $s;

            #[inline(always)]
            fn signed(self) -> $s {
                self as $s
            }
            #[inline(always)]
            fn filled_down(self) -> $u {
                match self.leading_zeros() {
                    <$u>::BITS => 0,
                    zeros => <$u>::MAX >> zeros,
                }
            }
            #[inline(always)]
            fn bytes_reversed(self) -> $u {
                self.swap_bytes()
            }
        }

        impl Signed for $s {
            type Unsigned = $u;

            #[inline(always)]
            fn unsigned(self) -> $u {
                self as $u
            }
        }
    };
}

pair!(u64, i64);
pair!(u32, i32);

impl Whole for u64 {
    type Half = u32;
    const LOW: u64 = u32::MAX as u64;

    #[inline(always)]
    fn low(self) -> u32 {
        self as u32
    }
    #[inline(always)]
    fn high(self) -> u32 {
        (self >> 32) as u32
    }
    #[inline(always)]
    fn zext(half: u32) -> u64 {
        half as u64
    }
    #[inline(always)]
    fn sext(half: i32) -> i64 {
        half as i64
    }
}
