//! Truncation and extension of the abstract value (`zext_32_to_64`, `coerce_reg_to_size`,
//! `coerce_reg_to_size_sx`, `coerce_subreg_to_size_sx`).

use bpfassay_isa::bits::{Bits, Signed, Unsigned, Whole, Word, S32, S64, U32, U64};
use bpfassay_spec::Features;

use super::reg::RegState;
use super::tnum::Tnum;
use crate::mutation::{self, Mutation};

/// Low `bytes` bytes of `v`, sign-extended; 1 to the width.
#[inline]
fn sign_extend<U: Unsigned>(v: U, bytes: u32) -> U::Signed {
    let spare = U::BITS - bytes * 8;
    (v << spare).signed() >> spare
}

/// Least and greatest value of a signed integer of `bytes` bytes, in a word of any width.
#[inline]
fn signed_limits<S: Signed>(bytes: u32) -> (S, S) {
    let max = S::lit((1u64 << (bytes * 8 - 1)) - 1);
    (!max, max)
}

impl<B: Bits> RegState<B> {
    /// 64-bit ranges of a value whose upper half has become zero (`__reg_assign_32_into_64`).
    pub(crate) fn assign_32_into_64(&mut self) {
        self.set_u64(U64::<B>::zext(self.u32_min), U64::<B>::zext(self.u32_max));
        if self.s32_min >= S32::<B>::ZERO && self.s32_max >= S32::<B>::ZERO {
            self.set_s64(U64::<B>::sext(self.s32_min), U64::<B>::sext(self.s32_max));
        } else {
            self.set_s64(S64::<B>::ZERO, U64::<B>::LOW.signed());
        }
    }

    /// After a comparison of the low halves: the whole follows from them if nothing is above
    /// (`__reg_combine_32_into_64`, before 6.8; the caller exchanges bounds).
    pub fn combine_32_into_64(&mut self) {
        let above = self.var_off.rshift(U32::<B>::BITS as u8);
        if above.is_const() && above.value == U64::<B>::ZERO {
            self.zext_32_to_64();
        } else {
            self.mark_unbounded64();
        }
    }

    /// After a comparison of all 64 bits: the low half follows where the bounds fit into it
    /// (`__reg_combine_64_into_32`; the caller exchanges bounds).
    pub fn combine_64_into_32(&mut self) {
        self.mark_unbounded32();
        let top = U64::<B>::LOW;
        if self.umin <= top && self.umax <= top {
            self.set_u32(self.umin.low(), self.umax.low());
        }
        let (least, most) = (U64::<B>::sext(S32::<B>::MIN), U64::<B>::sext(S32::<B>::MAX));
        let fits = |v: S64<B>| v >= least && v <= most;
        if fits(self.smin) && fits(self.smax) {
            self.set_s32(self.smin.unsigned().low().signed(), self.smax.unsigned().low().signed());
        }
    }

    /// What a 32-bit operation does to the upper half (`zext_32_to_64`).
    pub fn zext_32_to_64(&mut self) {
        if mutation::has(Mutation::NoZext) {
            return;
        }
        self.var_off = self.var_off.subreg();
        self.assign_32_into_64();
    }

    /// Keeps the low `bytes` bytes, zero-extended (`coerce_reg_to_size`); 1, 2 or 4.
    pub fn coerce_to_size(&mut self, bytes: u32, f: &Features) {
        if f.bounds_exchanged {
            self.cut_to_size(bytes);
            return self.sync(f);
        }
        self.cut_plainly(bytes);
        if bytes < 4 {
            self.sync(f);
        }
    }

    /// As before 6.8: the low half follows from what is left.  The caller exchanges bounds.
    pub fn cut_plainly(&mut self, bytes: u32) {
        self.cut_ranges_to_size(bytes);
        if bytes < 4 {
            self.combine_64_into_32();
        }
    }

    /// The same before bounds are exchanged.
    pub fn cut_to_size(&mut self, bytes: u32) {
        self.cut_ranges_to_size(bytes);
        if bytes < 4 {
            self.mark_unbounded32();
        }
    }

    fn cut_ranges_to_size(&mut self, bytes: u32) {
        self.var_off = self.var_off.cast(bytes);
        let keep = U64::<B>::lit((1u64 << (bytes * 8).min(63)) - 1);
        if self.umin & !keep == self.umax & !keep {
            self.set_u64(self.umin & keep, self.umax & keep);
        } else {
            self.set_u64(U64::<B>::ZERO, keep);
        }
        self.set_s64(self.umin.signed(), self.umax.signed());
    }

    /// Sign-extends the low `bytes` bytes to 64 bits (`coerce_reg_to_size_sx`); 1, 2 or 4.
    pub fn coerce_to_size_sx(&mut self, bytes: u32) {
        if self.var_off.is_const() {
            self.set_known_value(sign_extend(self.var_off.value, bytes).unsigned());
            return;
        }
        let bits = bytes * 8;
        let upper_differ = self.smin >> bits != self.smax >> bits;
        if upper_differ && !mutation::has(Mutation::SxIgnoresUpper) {
            return self.set_any_sx64(bytes);
        }
        let a = sign_extend(self.smin.unsigned(), bytes);
        let b = sign_extend(self.smax.unsigned(), bytes);
        if (a >= S64::<B>::ZERO) != (b >= S64::<B>::ZERO) {
            return self.set_any_sx64(bytes);
        }
        let (min, max) = (a.at_most(b), a.at_least(b));
        self.set_s64(min, max);
        let (min, max) = (min.unsigned(), max.unsigned());
        self.set_u64(min, max);
        self.set_s32(min.low().signed(), max.low().signed());
        self.set_u32(min.low(), max.low());
        self.var_off = Tnum::range(min, max);
    }

    /// `set_sext64_default_val`.
    fn set_any_sx64(&mut self, bytes: u32) {
        let (min, max) = signed_limits(bytes);
        self.set_s64(min, max);
        let (min, max) = signed_limits(bytes);
        self.set_s32(min, max);
        self.set_u64(U64::<B>::ZERO, U64::<B>::MAX);
        self.set_u32(U32::<B>::ZERO, U32::<B>::MAX);
        self.var_off = Tnum::UNKNOWN;
    }

    /// Sign-extends the low 1 or 2 bytes within the low half (`coerce_subreg_to_size_sx`); the caller
    /// zero-extends afterwards.
    pub fn coerce_subreg_to_size_sx(&mut self, bytes: u32) {
        if self.var_off.is_const() {
            let v = sign_extend(self.var_off.value, bytes).unsigned();
            self.var_off = Tnum::constant(v);
            self.set_s32(v.low().signed(), v.low().signed());
            self.set_u32(v.low(), v.low());
            return;
        }
        let bits = bytes * 8;
        if self.s32_min >> bits != self.s32_max >> bits {
            return self.set_any_sx32(bytes);
        }
        let a = sign_extend(self.s32_min.unsigned(), bytes);
        let b = sign_extend(self.s32_max.unsigned(), bytes);
        if (a >= S32::<B>::ZERO) != (b >= S32::<B>::ZERO) {
            return self.set_any_sx32(bytes);
        }
        let (min, max) = (a.at_most(b), a.at_least(b));
        self.set_s32(min, max);
        self.set_u32(min.unsigned(), max.unsigned());
        let (min, max) = (U64::<B>::sext(min).unsigned(), U64::<B>::sext(max).unsigned());
        self.var_off = Tnum::range(min, max).subreg();
    }

    /// `set_sext32_default_val`.
    fn set_any_sx32(&mut self, bytes: u32) {
        let (min, max) = signed_limits(bytes);
        self.set_s32(min, max);
        self.set_u32(U32::<B>::ZERO, U32::<B>::MAX);
        self.var_off = Tnum::UNKNOWN.subreg();
    }
}
