//! Bounds of the result of an ALU operation (`scalar_min_max_*` and `scalar32_min_max_*` of
//! `kernel/bpf/verifier.c`).
//!
//! Each operation takes the destination in place and the source; the 32-bit and the
//! 64-bit ranges are computed side by side, the tnum before or after them as the kernel
//! does, because bitwise operations read bounds off the new tnum and addition does not.
//! The caller cuts 32-bit results to size and exchanges bounds afterwards.

use bpfassay_isa::bits::{Bits, Signed, Unsigned, Whole, Word, S32, S64, U32, U64};
use bpfassay_spec::{Features, RegBase, RegType};

use super::reg::RegState;
use crate::mutation::{self, Mutation};

/// Both ranges of one width, with the operations that are the same for either width.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ranges<U: Unsigned> {
    pub smin: U::Signed,
    pub smax: U::Signed,
    pub umin: U,
    pub umax: U,
}

#[allow(
    clippy::should_implement_trait,
    reason = "the names are those of the operations, as in the kernel"
)]
impl<U: Unsigned> Ranges<U> {
    pub fn add(self, o: Ranges<U>, f: &Features) -> Ranges<U> {
        let signed = self.smin.plus_checked(o.smin).zip(self.smax.plus_checked(o.smax));
        let (umin, umax) = (self.umin.plus(o.umin), self.umax.plus(o.umax));
        // A range whose both ends wrap is still a range.
        let wraps = (umin < self.umin, umax < self.umax);
        let torn = if f.wrapped_ranges_kept { !wraps.0 && wraps.1 } else { wraps.0 || wraps.1 };
        let tears = torn && !mutation::has(Mutation::AddIgnoresOverflow);
        Ranges::of(signed, (!tears).then_some((umin, umax)))
    }

    pub fn sub(self, o: Ranges<U>, f: &Features) -> Ranges<U> {
        let signed = self.smin.minus_checked(o.smax).zip(self.smax.minus_checked(o.smin));
        let (umin, umax) = match mutation::has(Mutation::SubPairsEnds) {
            true => (self.umin.minus(o.umin), self.umax.minus(o.umax)),
            false => (self.umin.minus(o.umax), self.umax.minus(o.umin)),
        };
        let keeps_wrapped = f.wrapped_ranges_kept && self.umax < o.umin;
        let tears = self.umin < o.umax && !keeps_wrapped;
        Ranges::of(signed, (!tears).then_some((umin, umax)))
    }

    pub fn mul(self, o: Ranges<U>) -> Ranges<U> {
        let mut unsigned = self.umin.times_checked(o.umin).zip(self.umax.times_checked(o.umax));
        if mutation::has(Mutation::MulIgnoresOverflow) {
            unsigned = Some((self.umin.times(o.umin), self.umax.times(o.umax)));
        }
        Ranges::of(self.signed_product(o), unsigned)
    }

    /// The same of kernels that multiply only what is not negative and has no bit in the upper half.
    pub fn mul_halves(self, o: Ranges<U>) -> Ranges<U> {
        let half = U::lit((1u64 << (U::BITS / 2)) - 1);
        let negative = self.smin < U::Signed::ZERO || o.smin < U::Signed::ZERO;
        if negative || self.umax > half || o.umax > half {
            return Ranges::of(None, None);
        }
        let (umin, umax) = (self.umin.times(o.umin), self.umax.times(o.umax));
        let fits = umax.signed() >= U::Signed::ZERO;
        Ranges::of(fits.then_some((umin.signed(), umax.signed())), Some((umin, umax)))
    }

    /// The least and the greatest corner, if none overflows.
    fn signed_product(self, o: Ranges<U>) -> Option<(U::Signed, U::Signed)> {
        let a = self.smin.times_checked(o.smin)?;
        let b = self.smin.times_checked(o.smax)?;
        let c = self.smax.times_checked(o.smin)?;
        let d = self.smax.times_checked(o.smax)?;
        Some((a.at_most(b).at_most(c).at_most(d), a.at_least(b).at_least(c).at_least(d)))
    }

    /// What could not be computed is unbounded.
    fn of(signed: Option<(U::Signed, U::Signed)>, unsigned: Option<(U, U)>) -> Ranges<U> {
        let (smin, smax) = signed.unwrap_or((U::Signed::MIN, U::Signed::MAX));
        let (umin, umax) = unsigned.unwrap_or((U::ZERO, U::MAX));
        Ranges { smin, smax, umin, umax }
    }
}

/// The bitwise operations whose bounds follow from the result's tnum.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Bitwise {
    And,
    Or,
    Xor,
}

impl<B: Bits> RegState<B> {
    #[inline]
    pub fn ranges64(&self) -> Ranges<U64<B>> {
        Ranges { smin: self.smin, smax: self.smax, umin: self.umin, umax: self.umax }
    }

    #[inline]
    pub fn ranges32(&self) -> Ranges<U32<B>> {
        Ranges { smin: self.s32_min, smax: self.s32_max, umin: self.u32_min, umax: self.u32_max }
    }

    pub fn set_ranges64(&mut self, r: Ranges<U64<B>>) {
        self.set_s64(r.smin, r.smax);
        self.set_u64(r.umin, r.umax);
    }

    pub fn set_ranges32(&mut self, r: Ranges<U32<B>>) {
        self.set_s32(r.smin, r.smax);
        self.set_u32(r.umin, r.umax);
    }

    /// `self + o`: 5 bounds added, the tnum last.
    pub fn alu_add(&mut self, o: &RegState<B>, f: &Features) {
        self.set_ranges32(self.ranges32().add(o.ranges32(), f));
        self.set_ranges64(self.ranges64().add(o.ranges64(), f));
        self.var_off = self.var_off.add(o.var_off);
    }

    /// `self - o`.
    pub fn alu_sub(&mut self, o: &RegState<B>, f: &Features) {
        self.set_ranges32(self.ranges32().sub(o.ranges32(), f));
        self.set_ranges64(self.ranges64().sub(o.ranges64(), f));
        self.var_off = self.var_off.sub(o.var_off);
    }

    /// `-self`: zero minus it; the identity of a linked scalar is lost.
    pub fn alu_neg(&mut self, f: &Features) {
        let old = *self;
        self.mark_known(U64::<B>::ZERO);
        self.set_ranges32(self.ranges32().sub(old.ranges32(), f));
        self.set_ranges64(self.ranges64().sub(old.ranges64(), f));
        self.var_off = old.var_off.neg();
    }

    /// `self * o`: known products are kept whole, ranges only where no corner overflows.
    pub fn alu_mul(&mut self, o: &RegState<B>, f: &Features) {
        self.var_off = if f.tnum_mul_joins {
            self.var_off.mul(o.var_off)
        } else {
            self.var_off.mul_by_masks(o.var_off)
        };
        if f.mul_of_any_sign {
            self.set_ranges32(self.ranges32().mul(o.ranges32()));
            self.set_ranges64(self.ranges64().mul(o.ranges64()));
        } else {
            self.set_ranges32(self.ranges32().mul_halves(o.ranges32()));
            self.set_ranges64(self.ranges64().mul_halves(o.ranges64()));
        }
    }

    /// `self & o`: at least the known ones, at most the smaller operand.
    pub fn alu_and(&mut self, o: &RegState<B>, f: &Features) {
        self.var_off = self.var_off.and(o.var_off);
        self.bitwise(Bitwise::And, o, f);
    }

    /// `self | o`: at least the larger operand, at most the ones that may be.
    pub fn alu_or(&mut self, o: &RegState<B>, f: &Features) {
        self.var_off = self.var_off.or(o.var_off);
        self.bitwise(Bitwise::Or, o, f);
    }

    /// `self ^ o`: what the tnum says.
    pub fn alu_xor(&mut self, o: &RegState<B>, f: &Features) {
        self.var_off = self.var_off.xor(o.var_off);
        self.bitwise(Bitwise::Xor, o, f);
    }

    /// Ranges of a bitwise result; `self.var_off` is the result's already.
    fn bitwise(&mut self, op: Bitwise, o: &RegState<B>, f: &Features) {
        let low = self.var_off.subreg();
        let negative32 = self.s32_min < S32::<B>::ZERO || o.s32_min < S32::<B>::ZERO;
        let negative64 = self.smin < S64::<B>::ZERO || o.smin < S64::<B>::ZERO;
        if self.var_off.subreg_is_const() && o.var_off.subreg_is_const() {
            if !mutation::has(Mutation::Cve2021_3490) {
                self.mark_known32(low.value.low());
            }
        } else {
            let (value, max) = (low.value.low(), low.umax().low());
            self.u32_min = if op == Bitwise::Or { self.u32_min.at_least(o.u32_min) } else { value };
            self.u32_max = if op == Bitwise::And { self.u32_max.at_most(o.u32_max) } else { max };
            if f.signs_by_result {
                self.set_s32_from_u32();
            } else if negative32 {
                self.set_s32(S32::<B>::MIN, S32::<B>::MAX);
            } else {
                self.set_s32(self.u32_min.signed(), self.u32_max.signed());
            }
        }
        if self.var_off.is_const() && o.var_off.is_const() {
            self.mark_known(self.var_off.value);
            return;
        }
        let (value, max) = (self.var_off.value, self.var_off.umax());
        self.umin = if op == Bitwise::Or { self.umin.at_least(o.umin) } else { value };
        self.umax = if op == Bitwise::And { self.umax.at_most(o.umax) } else { max };
        if f.signs_by_result {
            self.set_s64_from_u64();
        } else if negative64 {
            self.set_s64(S64::<B>::MIN, S64::<B>::MAX);
        } else {
            self.set_s64(self.umin.signed(), self.umax.signed());
        }
        if op == Bitwise::Or && mutation::has(Mutation::Cve2020_27194) {
            self.set_s32(self.umin.low().signed(), self.umax.low().signed());
            self.set_u32(self.umin.low(), self.umax.low());
        }
        self.learn_ranges_from_tnum(f);
    }

    /// The unsigned range is a signed one too if it stays on one side of the sign boundary; else unbounded.
    fn set_s32_from_u32(&mut self) {
        let (min, max) = (self.u32_min.signed(), self.u32_max.signed());
        if min <= max {
            self.set_s32(min, max);
        } else {
            self.set_s32(S32::<B>::MIN, S32::<B>::MAX);
        }
    }

    fn set_s64_from_u64(&mut self) {
        let (min, max) = (self.umin.signed(), self.umax.signed());
        if min <= max {
            self.set_s64(min, max);
        } else {
            self.set_s64(S64::<B>::MIN, S64::<B>::MAX);
        }
    }

    /// `self << n` of all 64 bits, `n` a constant below 64.
    pub fn alu_lsh64(&mut self, n: u32, f: &Features) {
        let n = n & (U64::<B>::BITS - 1);
        // `<<= 32; s>>= 32` is how compilers sign-extend: the low half keeps its signed bounds.
        let half = U32::<B>::BITS;
        let keeps = |low: S32<B>| n == half && (f.lsh_by_32_keeps_sign || low >= S32::<B>::ZERO);
        let up = |low: S32<B>| U64::<B>::sext(low) << half;
        self.smax = if keeps(self.s32_max) { up(self.s32_max) } else { S64::<B>::MAX };
        self.smin = if keeps(self.s32_min) { up(self.s32_min) } else { S64::<B>::MIN };
        let loses = self.umax > U64::<B>::lit(1) << (U64::<B>::BITS - 1 - n);
        if loses && !mutation::has(Mutation::LshIgnoresOverflow) {
            self.set_u64(U64::<B>::ZERO, U64::<B>::MAX);
        } else {
            self.set_u64(self.umin << n, self.umax << n);
        }
        self.shift_left_ranges32(n);
        self.var_off = self.var_off.lshift(n as u8);
        self.learn_ranges_from_tnum(f);
    }

    /// `self << n` of the low half, `n` below 32.
    pub fn alu_lsh32(&mut self, n: u32) {
        let low = self.var_off.subreg();
        self.shift_left_ranges32(n);
        self.var_off = low.lshift(n as u8).subreg();
        self.mark_unbounded64();
        self.learn_range32_from_tnum();
    }

    fn shift_left_ranges32(&mut self, n: u32) {
        self.set_s32(S32::<B>::MIN, S32::<B>::MAX);
        if n >= U32::<B>::BITS || self.u32_max > U32::<B>::lit(1) << (U32::<B>::BITS - 1 - n) {
            self.set_u32(U32::<B>::ZERO, U32::<B>::MAX);
        } else {
            self.set_u32(self.u32_min << n, self.u32_max << n);
        }
    }

    /// `self >> n` of all 64 bits, zeros shifted in; the unsigned range says all that is known.
    pub fn alu_rsh64(&mut self, n: u32, f: &Features) {
        let n = n & (U64::<B>::BITS - 1);
        if !mutation::has(Mutation::RshKeepsSign) {
            self.set_s64(S64::<B>::MIN, S64::<B>::MAX);
        }
        self.var_off = self.var_off.rshift(n as u8);
        self.set_u64(self.umin >> n, self.umax >> n);
        self.mark_unbounded32();
        self.learn_ranges_from_tnum(f);
    }

    /// `self >> n` of the low half.
    pub fn alu_rsh32(&mut self, n: u32) {
        let n = n & (U32::<B>::BITS - 1);
        self.set_s32(S32::<B>::MIN, S32::<B>::MAX);
        self.var_off = self.var_off.subreg().rshift(n as u8);
        self.set_u32(self.u32_min >> n, self.u32_max >> n);
        self.mark_unbounded64();
        self.learn_range32_from_tnum();
    }

    /// `self s>> n` of all 64 bits; the unsigned range comes back from the tnum.
    pub fn alu_arsh64(&mut self, n: u32, f: &Features) {
        let n = n & (U64::<B>::BITS - 1);
        self.set_s64(self.smin >> n, self.smax >> n);
        self.var_off = self.var_off.arshift64(n as u8);
        self.set_u64(U64::<B>::ZERO, U64::<B>::MAX);
        self.mark_unbounded32();
        self.learn_ranges_from_tnum(f);
    }

    /// `self s>> n` of the low half.
    pub fn alu_arsh32(&mut self, n: u32) {
        let n = n & (U32::<B>::BITS - 1);
        self.set_s32(self.s32_min >> n, self.s32_max >> n);
        self.var_off = self.var_off.arshift32(n as u8);
        if !mutation::has(Mutation::Arsh32KeepsUnsigned) {
            self.set_u32(U32::<B>::ZERO, U32::<B>::MAX);
        }
        self.mark_unbounded64();
        self.learn_range32_from_tnum();
    }

    /// Byte swap or truncation of the low `bits`; `swaps` says which, for the machine at hand
    /// (`scalar_byte_swap`).  A swap scrambles ranges, so they come back from the tnum alone.
    pub fn alu_byte_swap(&mut self, swaps: bool, bits: u32, f: &Features) {
        self.swap_or_cut(swaps, bits);
        if bits != 64 {
            self.sync(f);
        }
    }

    /// The same before bounds are exchanged.
    pub fn swap_or_cut(&mut self, swaps: bool, bits: u32) {
        if swaps || bits != 64 {
            self.clear_scalar_id();
        }
        if swaps {
            self.var_off = self.var_off.bswap(bits);
            self.mark_unbounded();
        }
        if bits != 64 {
            self.cut_to_size(bits / 8);
        }
    }

    /// A value that is `delta` away from this one; with `cuts`, in the low half, the upper one being zero.
    pub fn move_by(&mut self, delta: S64<B>, cuts: bool, f: &Features) {
        self.alu_add(&RegState::constant_scalar(delta.unsigned()), f);
        if cuts && !mutation::has(Mutation::LinkNotCut) {
            self.zext_32_to_64();
        }
    }

    /// True if every range of `cur` lies in that of `self` (`range_within`).
    #[inline]
    pub fn range_includes(&self, cur: &RegState<B>) -> bool {
        self.umin <= cur.umin
            && self.umax >= cur.umax
            && self.smin <= cur.smin
            && self.smax >= cur.smax
            && self.u32_min <= cur.u32_min
            && self.u32_max >= cur.u32_max
            && self.s32_min <= cur.s32_min
            && self.s32_max >= cur.s32_max
    }

    /// Cuts the link to other scalars (`clear_scalar_id`).
    pub fn clear_scalar_id(&mut self) {
        self.id = 0;
        self.off = 0;
    }

    /// A scalar that is exactly `v` (what the kernel makes of an immediate).
    pub fn constant_scalar(v: U64<B>) -> RegState<B> {
        let mut reg = RegState::ZEROED;
        reg.ty = RegType::of(RegBase::Scalar);
        reg.set_known_value(v);
        reg
    }

    /// True for a scalar whose operand of the given width is one value (`is_reg_const`).
    pub fn is_const(&self, low_half_only: bool) -> bool {
        self.is_scalar()
            && if low_half_only { self.var_off.subreg_is_const() } else { self.var_off.is_const() }
    }
}

impl RegState {
    /// Bits a scalar may need, 0 to 64 (`get_reg_width`).
    pub fn width(&self) -> u32 {
        64 - self.umax.leading_zeros()
    }
}
