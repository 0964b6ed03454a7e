//! Bounds of a register: setting them, and deducing one kind from another
//! (`reg_bounds_sync` and what it calls, `__mark_reg_*` of `kernel/bpf/verifier.c`).
//!
//! Five views of one value are kept: tnum, u64, s64, u32 and s32 ranges.  None is
//! exact, each may improve the others, and the order and number of the deductions
//! decide how far they get, which shows in logs and verdicts.  So they run exactly
//! as often as in the kernel, not to a fixpoint.  Bounds may cross; what that means is
//! for the caller to say ([`RegState::bounds_violation`]).

use bpfassay_isa::bits::{Bits, Signed, Unsigned, Whole, Word, S32, S64, U32, U64};
use bpfassay_spec::{Features, RegBase, RegType};

use super::arith::Ranges;
use super::reg::RegState;
use super::tnum::Tnum;
use crate::mutation::{self, Mutation};

/// True if the 64-bit values have the same upper half.
#[inline]
fn same_upper<U: Whole>(a: U, b: U) -> bool {
    a.high() == b.high()
}

/// True if the upper halves are consecutive (wrapping) while the lower ones go from negative to
/// non-negative: the low 32 bits then form one signed range.
#[inline]
fn crosses_zero_in_low_half<U: Whole>(a: U, b: U) -> bool {
    a.high().plus(U::Half::lit(1)) == b.high() && is_negative(a.low()) && !is_negative(b.low())
}

#[inline]
fn is_negative<U: Unsigned>(v: U) -> bool {
    v.signed() < U::Signed::ZERO
}

/// `v` with the low 32 bits replaced.
#[inline]
fn with_low<U: Whole>(v: U, low: U::Half) -> U {
    (v & !U::LOW) | U::zext(low)
}

/// Setting.
impl<B: Bits> RegState<B> {
    /// Value and all bounds known, identity untouched (`___mark_reg_known`).
    pub fn set_known_value(&mut self, v: U64<B>) {
        self.drop_hidden_arcs();
        self.var_off = Tnum::constant(v);
        self.set_s64(v.signed(), v.signed());
        self.set_u64(v, v);
        self.set_s32(v.low().signed(), v.low().signed());
        self.set_u32(v.low(), v.low());
    }

    /// The variable part is exactly `v`; offset, union and ids are cleared, the type stays (`__mark_reg_known`).
    pub fn mark_known(&mut self, v: U64<B>) {
        let ty = self.ty;
        self.clear_identity();
        self.ty = ty;
        self.id = 0;
        self.ref_obj_id = 0;
        self.parent_id = 0;
        self.set_known_value(v);
    }

    /// Low half known, upper half as it was (`__mark_reg32_known`).
    pub fn mark_known32(&mut self, v: U32<B>) {
        self.hide_arc32(None);
        self.var_off = self.var_off.with_const_subreg(v);
        self.set_s32(v.signed(), v.signed());
        self.set_u32(v, v);
    }

    /// For pointers: no variable part, no fixed offset, no ids; the type stays (`__mark_reg_known_zero`).
    pub fn mark_known_zero(&mut self) {
        self.mark_known(U64::<B>::ZERO);
    }

    /// The scalar zero (`__mark_reg_const_zero`); precise where the loader lacks CAP_BPF.
    pub fn mark_const_zero(&mut self, bpf_capable: bool) {
        self.mark_known(U64::<B>::ZERO);
        self.ty = RegType::of(RegBase::Scalar);
        self.precise = !bpf_capable;
    }

    /// A scalar of any value, imprecise (`__mark_reg_unknown_imprecise`).
    pub fn mark_unknown_imprecise(&mut self) {
        self.clear_identity();
        self.ty = RegType::of(RegBase::Scalar);
        self.id = 0;
        self.ref_obj_id = 0;
        self.parent_id = 0;
        self.var_off = Tnum::UNKNOWN;
        self.frameno = 0;
        self.precise = false;
        self.mark_unbounded();
    }

    /// A scalar of any value (`__mark_reg_unknown`).
    pub fn mark_unknown(&mut self, bpf_capable: bool) {
        self.mark_unknown_imprecise();
        self.precise = !bpf_capable;
    }

    /// Not readable (`__mark_reg_not_init`).
    pub fn mark_not_init(&mut self, bpf_capable: bool) {
        self.mark_unknown(bpf_capable);
        self.ty = RegType::of(RegBase::NotInit);
    }

    /// True if [`RegState::mark_not_init`] would change nothing.
    pub fn is_forgotten(&self, bpf_capable: bool) -> bool {
        if self.ty != RegBase::NotInit {
            return false;
        }
        let mut unread = *self;
        unread.mark_not_init(bpf_capable);
        unread == *self
    }

    /// All ranges full; the tnum stays (`__mark_reg_unbounded`).
    pub fn mark_unbounded(&mut self) {
        self.mark_unbounded64();
        self.mark_unbounded32();
    }

    /// `__mark_reg64_unbounded`.
    pub fn mark_unbounded64(&mut self) {
        self.hide_arc64(None);
        self.set_s64(S64::<B>::MIN, S64::<B>::MAX);
        self.set_u64(U64::<B>::ZERO, U64::<B>::MAX);
    }

    /// `__mark_reg32_unbounded`.
    pub fn mark_unbounded32(&mut self) {
        self.hide_arc32(None);
        self.set_s32(S32::<B>::MIN, S32::<B>::MAX);
        self.set_u32(U32::<B>::ZERO, U32::<B>::MAX);
    }

    #[inline]
    pub(crate) fn set_s32(&mut self, min: S32<B>, max: S32<B>) {
        self.s32_min = min;
        self.s32_max = max;
    }

    #[inline]
    pub(crate) fn set_u32(&mut self, min: U32<B>, max: U32<B>) {
        self.u32_min = min;
        self.u32_max = max;
    }

    #[inline]
    pub(crate) fn set_s64(&mut self, min: S64<B>, max: S64<B>) {
        self.smin = min;
        self.smax = max;
    }

    #[inline]
    pub(crate) fn set_u64(&mut self, min: U64<B>, max: U64<B>) {
        self.umin = min;
        self.umax = max;
    }

    fn narrow_s32(&mut self, min: S32<B>, max: S32<B>) {
        self.s32_min = self.s32_min.at_least(min);
        self.s32_max = self.s32_max.at_most(max);
    }

    fn narrow_u32(&mut self, min: U32<B>, max: U32<B>) {
        self.u32_min = self.u32_min.at_least(min);
        self.u32_max = self.u32_max.at_most(max);
    }

    fn narrow_s64(&mut self, min: S64<B>, max: S64<B>) {
        self.smin = self.smin.at_least(min);
        self.smax = self.smax.at_most(max);
    }

    fn narrow_u64(&mut self, min: U64<B>, max: U64<B>) {
        self.umin = self.umin.at_least(min);
        self.umax = self.umax.at_most(max);
    }

    /// Intersects the signed bounds of both widths with an `int` range (`__mark_reg_s32_range`, without the
    /// sanity check, which is the caller's).
    pub fn narrow_to_s32_range(&mut self, min: S32<B>, max: S32<B>, f: &Features) {
        self.narrow_s32(min, max);
        self.narrow_s64(U64::<B>::sext(min), U64::<B>::sext(max));
        self.sync(f);
    }
}

/// Deducing.
impl<B: Bits> RegState<B> {
    /// Exchanges what the five views know (`reg_bounds_sync`).
    pub fn sync(&mut self, f: &Features) {
        // Where every view says the same one value, or none says anything, there is nothing to exchange.
        if self.is_exactly(self.var_off.value) || self.is_anything() {
            return;
        }
        if f.whole_deduced_first && self.has_crossed_bounds() {
            return;
        }
        self.learn_ranges_from_tnum(f);
        let (before, known) = (self.all_ranges(), self.var_off);
        if f.whole_deduced_first {
            for _ in 0..2 {
                self.deduce_64();
                self.deduce_32(f);
                self.deduce_mixed();
            }
        } else if f.bounds_exchanged {
            // A round that changes nothing would change nothing the next time.
            let mut last = before;
            for _ in 0..3 {
                self.deduce_32(f);
                self.deduce_64();
                self.deduce_mixed();
                let now = self.all_ranges();
                if now == last {
                    break;
                }
                last = now;
            }
        } else {
            self.deduce_32_by_sign();
            self.deduce_64_by_sign();
        }
        if f.low_half_after_whole {
            self.learn_tnum_from_ranges();
        } else {
            self.learn_tnum_from_ranges_apart();
        }
        if self.var_off != known || self.all_ranges() != before {
            self.learn_ranges_from_tnum(f);
        }
    }

    /// Both ranges of both widths.
    #[inline]
    fn all_ranges(&self) -> (Ranges<U64<B>>, Ranges<U32<B>>) {
        (self.ranges64(), self.ranges32())
    }

    /// `__update_reg_bounds`: an unknown sign bit makes the signed minimum negative, the signed maximum not.
    pub fn learn_ranges_from_tnum(&mut self, f: &Features) {
        self.learn_range32_from_tnum();
        self.learn_range64_from_tnum();
        if f.tnum_single_value {
            self.learn_single_value();
        }
    }

    pub fn learn_range32_from_tnum(&mut self) {
        let (value, mask) = (self.var_off.value.low(), self.var_off.mask.low());
        let sign = S32::<B>::MIN.unsigned();
        self.narrow_s32((value | (mask & sign)).signed(), (value | (mask & !sign)).signed());
        self.narrow_u32(value, value | mask);
    }

    pub fn learn_range64_from_tnum(&mut self) {
        let Tnum { value, mask } = self.var_off;
        let sign = S64::<B>::MIN.unsigned();
        self.narrow_s64((value | (mask & sign)).signed(), (value | (mask & !sign)).signed());
        self.narrow_u64(value, value | mask);
    }

    /// If the unsigned range holds only one member of the tnum, the register is that member.
    ///
    /// Members above `umin` are found by stepping: none up to `umax` if `umin` itself is one; the largest
    /// member, reached in one step; or exactly one in between.
    pub fn learn_single_value(&mut self) {
        let t = self.var_off;
        let next = t.step(self.umin);
        if t.contains(self.umin) {
            if next > self.umax {
                self.set_known_value(self.umin);
            }
        } else if next == t.umax() || (next <= self.umax && t.step(next) > self.umax) {
            self.set_known_value(next);
        }
    }

    /// Signed and unsigned bounds say the same where the sign is known (`__reg32_deduce_bounds` before 6.8).
    pub fn deduce_32_by_sign(&mut self) {
        let zero = S32::<B>::ZERO;
        let (s, u) = ((self.s32_min, self.s32_max), (self.u32_min, self.u32_max));
        let low = s.0.unsigned().at_least(u.0);
        let high = s.1.unsigned().at_most(u.1);
        if s.0 >= zero || s.1 < zero {
            self.set_u32(low, high);
            self.set_s32(low.signed(), high.signed());
        } else if u.1.signed() >= zero {
            self.set_u32(u.0, high);
            self.set_s32(u.0.signed(), high.signed());
        } else if u.0.signed() < zero {
            self.set_u32(low, u.1);
            self.set_s32(low.signed(), u.1.signed());
        }
    }

    /// The same of 64 bits (`__reg64_deduce_bounds`).
    pub fn deduce_64_by_sign(&mut self) {
        let zero = S64::<B>::ZERO;
        let (s, u) = ((self.smin, self.smax), (self.umin, self.umax));
        let low = s.0.unsigned().at_least(u.0);
        let high = s.1.unsigned().at_most(u.1);
        if s.0 >= zero || s.1 < zero {
            self.set_u64(low, high);
            self.set_s64(low.signed(), high.signed());
        } else if u.1.signed() >= zero {
            self.set_u64(u.0, high);
            self.set_s64(u.0.signed(), high.signed());
        } else if u.0.signed() < zero {
            self.set_u64(low, u.1);
            self.set_s64(low.signed(), u.1.signed());
        }
    }

    /// 32-bit ranges from 64-bit ones and from each other (`__reg32_deduce_bounds`).
    fn deduce_32(&mut self, f: &Features) {
        self.deduce_32_from_equal_upper_halves();
        self.deduce_32_around_zero();
        self.deduce_32_from_each_other(f);
    }

    /// If the upper half is one and the same over the whole 64-bit range, the lower half is a range too.
    pub fn deduce_32_from_equal_upper_halves(&mut self) {
        if same_upper(self.umin, self.umax) || mutation::has(Mutation::Cve2020_8835) {
            let (min, max) = (self.umin.low(), self.umax.low());
            self.narrow_u32(min, max);
            if min.signed() <= max.signed() {
                self.narrow_s32(min.signed(), max.signed());
            }
        }
        let (smin, smax) = (self.smin.unsigned(), self.smax.unsigned());
        if same_upper(smin, smax) {
            let (min, max) = (smin.low(), smax.low());
            if min <= max {
                self.narrow_u32(min, max);
            }
            if min.signed() <= max.signed() {
                self.narrow_s32(min.signed(), max.signed());
            }
        }
    }

    /// If the upper half goes up by one while the low half passes zero, the low half is a signed range.
    pub fn deduce_32_around_zero(&mut self) {
        if mutation::has(Mutation::Cve2021_31440) && self.umin.high() == U32::<B>::ZERO {
            self.u32_min = self.u32_min.at_least(self.umin.low());
        }
        if crosses_zero_in_low_half(self.umin, self.umax) {
            self.narrow_s32(self.umin.low().signed(), self.umax.low().signed());
        }
        let (min, max) = (self.smin.unsigned(), self.smax.unsigned());
        if crosses_zero_in_low_half(min, max) {
            self.narrow_s32(min.low().signed(), max.low().signed());
        }
    }

    /// A range on one side of the sign boundary is the same in both views.
    pub fn deduce_32_from_each_other(&mut self, f: &Features) {
        if self.u32_min.signed() <= self.u32_max.signed() {
            self.narrow_s32(self.u32_min.signed(), self.u32_max.signed());
        }
        if self.s32_min.unsigned() <= self.s32_max.unsigned() {
            self.narrow_u32(self.s32_min.unsigned(), self.s32_max.unsigned());
        } else if f.deduce_u32_across_sign {
            self.deduce_32_across_sign();
        }
    }

    /// 64-bit signed and unsigned ranges from each other (`__reg64_deduce_bounds`).
    pub fn deduce_64(&mut self) {
        if self.umin.signed() <= self.umax.signed() {
            self.narrow_s64(self.umin.signed(), self.umax.signed());
        }
        let (smin, smax) = (self.smin.unsigned(), self.smax.unsigned());
        if smin <= smax {
            self.narrow_u64(smin, smax);
            return;
        }
        // The signed range is a low and a high piece of the unsigned line; the unsigned range may meet only one.
        if self.umax < smin {
            self.smin = self.umin.signed();
            self.umax = self.umax.at_most(smax);
        } else if smax < self.umin {
            self.smax = self.umax.signed();
            self.umin = self.umin.at_least(smin);
        }
    }

    /// The same for the low half.
    fn deduce_32_across_sign(&mut self) {
        let (smin, smax) = (self.s32_min.unsigned(), self.s32_max.unsigned());
        if self.u32_max < smin {
            self.s32_min = self.u32_min.signed();
            self.u32_max = self.u32_max.at_most(smax);
        } else if smax < self.u32_min {
            self.s32_max = self.u32_max.signed();
            self.u32_min = self.u32_min.at_least(smin);
        }
    }

    /// 64-bit ranges from 32-bit ones (`__reg_deduce_mixed_bounds`): the low half of either end cannot lie
    /// outside the 32-bit range.
    fn deduce_mixed(&mut self) {
        self.tighten_64_with_low();
        self.deduce_64_from_int();
    }

    pub fn tighten_64_with_low(&mut self) {
        let (low_min, low_max) = (self.u32_min, self.u32_max);
        self.narrow_u64(with_low(self.umin, low_min), with_low(self.umax, low_max));
        let smin = with_low(self.smin.unsigned(), low_min).signed();
        let smax = with_low(self.smax.unsigned(), low_max).signed();
        self.narrow_s64(smin, smax);
    }

    /// A sign-extended 32-bit value whose low half is not negative: the upper half is zero.
    pub fn deduce_64_from_int(&mut self) {
        let fits_int = self.smin >= U64::<B>::sext(S32::<B>::MIN)
            && self.smax <= U64::<B>::sext(S32::<B>::MAX);
        if self.s32_min >= S32::<B>::ZERO && fits_int {
            let (min, max) = (U64::<B>::sext(self.s32_min), U64::<B>::sext(self.s32_max));
            self.set_s64(min, max);
            let (min, max) = (min.unsigned(), max.unsigned());
            self.set_u64(min, max);
            self.var_off = self.var_off.intersect(Tnum::range(min, max));
        }
    }

    /// Known leading bits from the unsigned ranges (`__reg_bound_offset`).
    pub fn learn_tnum_from_ranges(&mut self) {
        let all = self.var_off.intersect(Tnum::range(self.umin, self.umax));
        let low = all
            .subreg()
            .intersect(Tnum::range(U64::<B>::zext(self.u32_min), U64::<B>::zext(self.u32_max)));
        self.var_off = all.clear_subreg().or(low);
    }

    /// The same where the low half does not see what the whole has just learnt.
    pub fn learn_tnum_from_ranges_apart(&mut self) {
        let all = self.var_off.intersect(Tnum::range(self.umin, self.umax));
        let low = self
            .var_off
            .subreg()
            .intersect(Tnum::range(U64::<B>::zext(self.u32_min), U64::<B>::zext(self.u32_max)));
        self.var_off = all.clear_subreg().or(low);
    }

    /// True if some range has its minimum above its maximum (`range_bounds_violation`).
    #[inline]
    pub fn has_crossed_bounds(&self) -> bool {
        self.umin > self.umax
            || self.smin > self.smax
            || self.u32_min > self.u32_max
            || self.s32_min > self.s32_max
    }

    /// True if no view excludes any value.
    #[inline]
    fn is_anything(&self) -> bool {
        self.var_off == Tnum::UNKNOWN
            && self.umin == U64::<B>::ZERO
            && self.umax == U64::<B>::MAX
            && self.smin == S64::<B>::MIN
            && self.smax == S64::<B>::MAX
            && self.u32_min == U32::<B>::ZERO
            && self.u32_max == U32::<B>::MAX
            && self.s32_min == S32::<B>::MIN
            && self.s32_max == S32::<B>::MAX
    }

    /// True if all views hold `v` and nothing else.
    #[inline]
    fn is_exactly(&self, v: U64<B>) -> bool {
        self.var_off.is_const()
            && self.var_off.value == v
            && self.umin == v
            && self.umax == v
            && self.smin == v.signed()
            && self.smax == v.signed()
            && self.u32_min == v.low()
            && self.u32_max == v.low()
            && self.s32_min == v.low().signed()
            && self.s32_max == v.low().signed()
    }

    /// What the kernel's sanity check complains about, in its words (`reg_bounds_sanity_check`).
    #[inline]
    pub fn bounds_violation(&self) -> Option<&'static str> {
        if self.has_crossed_bounds() {
            return Some("range bounds violation");
        }
        if !self.var_off.subreg_is_const() {
            return None;
        }
        let v = self.var_off.value;
        let is_exactly_v = || {
            self.umin == v && self.umax == v && self.smin == v.signed() && self.smax == v.signed()
        };
        if self.var_off.is_const() && !is_exactly_v() {
            return Some("const tnum out of sync with range bounds");
        }
        let low = v.low();
        let low_is_exact = self.u32_min == low
            && self.u32_max == low
            && self.s32_min == low.signed()
            && self.s32_max == low.signed();
        (!low_is_exact).then_some("const subreg tnum out of sync with range bounds")
    }
}
