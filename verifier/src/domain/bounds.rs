//! Bounds of a register: setting them, and deducing one kind from another
//! (`reg_bounds_sync` and what it calls, `__mark_reg_*` of `kernel/bpf/verifier.c`).
//!
//! Five views of one value are kept: tnum, u64, s64, u32 and s32 ranges.  None is
//! exact, each may improve the others, and the order and number of the deductions
//! decide how far they get, which shows in logs and verdicts.  So they run exactly
//! as often as in the kernel, not to a fixpoint.  Bounds may cross; what that means is
//! for the caller to say ([`RegState::bounds_violation`]).

use bpfassay_spec::{Features, RegBase, RegType};

use super::reg::RegState;
use super::tnum::Tnum;

/// True if the 64-bit values have the same upper half.
fn same_upper(a: u64, b: u64) -> bool {
    a >> 32 == b >> 32
}

/// True if the upper halves are consecutive (wrapping) while the lower ones go from negative to
/// non-negative: the low 32 bits then form one signed range.
fn crosses_zero_in_low_half(a: u64, b: u64) -> bool {
    ((a >> 32) as u32).wrapping_add(1) == (b >> 32) as u32 && (a as i32) < 0 && b as i32 >= 0
}

/// `v` with the low 32 bits replaced.
fn with_low(v: u64, low: u32) -> u64 {
    (v & !0xffff_ffff) | low as u64
}

/// Setting.
impl RegState {
    /// Value and all bounds known, identity untouched (`___mark_reg_known`).
    pub fn set_known_value(&mut self, v: u64) {
        self.var_off = Tnum::constant(v);
        self.smin = v as i64;
        self.smax = v as i64;
        self.umin = v;
        self.umax = v;
        self.set_s32(v as i32, v as i32);
        self.set_u32(v as u32, v as u32);
    }

    /// The variable part is exactly `v`; offset, union and ids are cleared, the type stays (`__mark_reg_known`).
    pub fn mark_known(&mut self, v: u64) {
        let ty = self.ty;
        self.clear_identity();
        self.ty = ty;
        self.id = 0;
        self.ref_obj_id = 0;
        self.set_known_value(v);
    }

    /// Low half known, upper half as it was (`__mark_reg32_known`).
    pub fn mark_known32(&mut self, v: u32) {
        self.var_off = self.var_off.with_const_subreg(v);
        self.set_s32(v as i32, v as i32);
        self.set_u32(v, v);
    }

    /// For pointers: no variable part, no fixed offset, no ids; the type stays (`__mark_reg_known_zero`).
    pub fn mark_known_zero(&mut self) {
        self.mark_known(0);
    }

    /// The scalar zero (`__mark_reg_const_zero`); precise where the loader lacks CAP_BPF.
    pub fn mark_const_zero(&mut self, bpf_capable: bool) {
        self.mark_known(0);
        self.ty = RegType::of(RegBase::Scalar);
        self.precise = !bpf_capable;
    }

    /// A scalar of any value, imprecise (`__mark_reg_unknown_imprecise`).
    pub fn mark_unknown_imprecise(&mut self) {
        self.clear_identity();
        self.ty = RegType::of(RegBase::Scalar);
        self.id = 0;
        self.ref_obj_id = 0;
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
        self.smin = i64::MIN;
        self.smax = i64::MAX;
        self.umin = 0;
        self.umax = u64::MAX;
    }

    /// `__mark_reg32_unbounded`.
    pub fn mark_unbounded32(&mut self) {
        self.set_s32(i32::MIN, i32::MAX);
        self.set_u32(0, u32::MAX);
    }

    #[inline]
    pub(crate) fn set_s32(&mut self, min: i32, max: i32) {
        self.s32_min = min;
        self.s32_max = max;
    }

    #[inline]
    pub(crate) fn set_u32(&mut self, min: u32, max: u32) {
        self.u32_min = min;
        self.u32_max = max;
    }

    #[inline]
    pub(crate) fn set_s64(&mut self, min: i64, max: i64) {
        self.smin = min;
        self.smax = max;
    }

    #[inline]
    pub(crate) fn set_u64(&mut self, min: u64, max: u64) {
        self.umin = min;
        self.umax = max;
    }

    fn narrow_s32(&mut self, min: i32, max: i32) {
        self.s32_min = self.s32_min.max(min);
        self.s32_max = self.s32_max.min(max);
    }

    fn narrow_u32(&mut self, min: u32, max: u32) {
        self.u32_min = self.u32_min.max(min);
        self.u32_max = self.u32_max.min(max);
    }

    fn narrow_s64(&mut self, min: i64, max: i64) {
        self.smin = self.smin.max(min);
        self.smax = self.smax.min(max);
    }

    fn narrow_u64(&mut self, min: u64, max: u64) {
        self.umin = self.umin.max(min);
        self.umax = self.umax.min(max);
    }

    /// Intersects the signed bounds of both widths with an `int` range (`__mark_reg_s32_range`, without the
    /// sanity check, which is the caller's).
    pub fn narrow_to_s32_range(&mut self, min: i32, max: i32, f: Features) {
        self.narrow_s32(min, max);
        self.narrow_s64(min as i64, max as i64);
        self.sync(f);
    }
}

/// Deducing.
impl RegState {
    /// Exchanges what the five views know (`reg_bounds_sync`).
    pub fn sync(&mut self, f: Features) {
        // Where every view says the same one value, there is nothing to exchange.
        if self.is_exactly(self.var_off.value) {
            return;
        }
        self.learn_ranges_from_tnum(f);
        for _ in 0..3 {
            self.deduce_32(f);
            self.deduce_64();
            self.deduce_mixed();
        }
        self.learn_tnum_from_ranges();
        self.learn_ranges_from_tnum(f);
    }

    /// `__update_reg_bounds`: an unknown sign bit makes the signed minimum negative, the signed maximum not.
    pub(crate) fn learn_ranges_from_tnum(&mut self, f: Features) {
        self.learn_range32_from_tnum();
        self.learn_range64_from_tnum();
        if f.tnum_single_value {
            self.learn_single_value();
        }
    }

    pub(crate) fn learn_range32_from_tnum(&mut self) {
        let (value, mask) = (self.var_off.value as u32, self.var_off.mask as u32);
        let sign = i32::MIN as u32;
        self.narrow_s32((value | (mask & sign)) as i32, (value | (mask & !sign)) as i32);
        self.narrow_u32(value, value | mask);
    }

    fn learn_range64_from_tnum(&mut self) {
        let Tnum { value, mask } = self.var_off;
        let sign = i64::MIN as u64;
        self.narrow_s64((value | (mask & sign)) as i64, (value | (mask & !sign)) as i64);
        self.narrow_u64(value, value | mask);
    }

    /// If the unsigned range holds only one member of the tnum, the register is that member.
    ///
    /// Members above `umin` are found by stepping: none up to `umax` if `umin` itself is one; the largest
    /// member, reached in one step; or exactly one in between.
    fn learn_single_value(&mut self) {
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

    /// 32-bit ranges from 64-bit ones and from each other (`__reg32_deduce_bounds`).
    fn deduce_32(&mut self, f: Features) {
        self.deduce_32_from_equal_upper_halves();
        if crosses_zero_in_low_half(self.umin, self.umax) {
            self.narrow_s32(self.umin as i32, self.umax as i32);
        }
        if crosses_zero_in_low_half(self.smin as u64, self.smax as u64) {
            self.narrow_s32(self.smin as i32, self.smax as i32);
        }
        // A range on one side of the sign boundary is the same in both views.
        if self.u32_min as i32 <= self.u32_max as i32 {
            self.narrow_s32(self.u32_min as i32, self.u32_max as i32);
        }
        if self.s32_min as u32 <= self.s32_max as u32 {
            self.narrow_u32(self.s32_min as u32, self.s32_max as u32);
        } else if f.deduce_u32_across_sign {
            self.deduce_32_across_sign();
        }
    }

    /// If the upper half is one and the same over the whole 64-bit range, the lower half is a range too.
    fn deduce_32_from_equal_upper_halves(&mut self) {
        if same_upper(self.umin, self.umax) {
            let (min, max) = (self.umin, self.umax);
            self.narrow_u32(min as u32, max as u32);
            if min as i32 <= max as i32 {
                self.narrow_s32(min as i32, max as i32);
            }
        }
        if same_upper(self.smin as u64, self.smax as u64) {
            let (min, max) = (self.smin, self.smax);
            if min as u32 <= max as u32 {
                self.narrow_u32(min as u32, max as u32);
            }
            if min as i32 <= max as i32 {
                self.narrow_s32(min as i32, max as i32);
            }
        }
    }

    /// 64-bit signed and unsigned ranges from each other (`__reg64_deduce_bounds`).
    fn deduce_64(&mut self) {
        if self.umin as i64 <= self.umax as i64 {
            self.narrow_s64(self.umin as i64, self.umax as i64);
        }
        if self.smin as u64 <= self.smax as u64 {
            self.narrow_u64(self.smin as u64, self.smax as u64);
            return;
        }
        // The signed range is a low and a high piece of the unsigned line; the unsigned range may meet only one.
        if self.umax < self.smin as u64 {
            self.smin = self.umin as i64;
            self.umax = self.umax.min(self.smax as u64);
        } else if (self.smax as u64) < self.umin {
            self.smax = self.umax as i64;
            self.umin = self.umin.max(self.smin as u64);
        }
    }

    /// The same for the low half.
    fn deduce_32_across_sign(&mut self) {
        if self.u32_max < self.s32_min as u32 {
            self.s32_min = self.u32_min as i32;
            self.u32_max = self.u32_max.min(self.s32_max as u32);
        } else if (self.s32_max as u32) < self.u32_min {
            self.s32_max = self.u32_max as i32;
            self.u32_min = self.u32_min.max(self.s32_min as u32);
        }
    }

    /// 64-bit ranges from 32-bit ones (`__reg_deduce_mixed_bounds`): the low half of either end cannot lie
    /// outside the 32-bit range.
    fn deduce_mixed(&mut self) {
        self.tighten_64_with_low(self.u32_min, self.u32_max);
        // A sign-extended 32-bit value whose low half is not negative: the upper half is zero.
        let fits_int = self.smin >= i32::MIN as i64 && self.smax <= i32::MAX as i64;
        if self.s32_min >= 0 && fits_int {
            let (min, max) = (self.s32_min as i64, self.s32_max as i64);
            self.set_s64(min, max);
            self.set_u64(min as u64, max as u64);
            self.var_off = self.var_off.intersect(Tnum::range(min as u64, max as u64));
        }
    }

    fn tighten_64_with_low(&mut self, low_min: u32, low_max: u32) {
        self.narrow_u64(with_low(self.umin, low_min), with_low(self.umax, low_max));
        let smin = with_low(self.smin as u64, low_min) as i64;
        let smax = with_low(self.smax as u64, low_max) as i64;
        self.narrow_s64(smin, smax);
    }

    /// Known leading bits from the unsigned ranges (`__reg_bound_offset`).
    pub(crate) fn learn_tnum_from_ranges(&mut self) {
        let all = self.var_off.intersect(Tnum::range(self.umin, self.umax));
        let low = all.subreg().intersect(Tnum::range(self.u32_min as u64, self.u32_max as u64));
        self.var_off = all.clear_subreg().or(low);
    }

    /// True if some range has its minimum above its maximum (`range_bounds_violation`).
    pub fn has_crossed_bounds(&self) -> bool {
        self.umin > self.umax
            || self.smin > self.smax
            || self.u32_min > self.u32_max
            || self.s32_min > self.s32_max
    }

    /// True if all views hold `v` and nothing else.
    #[inline]
    fn is_exactly(&self, v: u64) -> bool {
        self.var_off.is_const()
            && self.var_off.value == v
            && self.umin == v
            && self.umax == v
            && self.smin == v as i64
            && self.smax == v as i64
            && self.u32_min == v as u32
            && self.u32_max == v as u32
            && self.s32_min == v as i32
            && self.s32_max == v as i32
    }

    /// What the kernel's sanity check complains about, in its words (`reg_bounds_sanity_check`).
    pub fn bounds_violation(&self) -> Option<&'static str> {
        if self.has_crossed_bounds() {
            return Some("range bounds violation");
        }
        let v = self.var_off.value;
        let is_exactly_v =
            self.umin == v && self.umax == v && self.smin == v as i64 && self.smax == v as i64;
        if self.var_off.is_const() && !is_exactly_v {
            return Some("const tnum out of sync with range bounds");
        }
        let low = v as u32;
        let low_is_exact = self.u32_min == low
            && self.u32_max == low
            && self.s32_min == low as i32
            && self.s32_max == low as i32;
        if self.var_off.subreg_is_const() && !low_is_exact {
            return Some("const subreg tnum out of sync with range bounds");
        }
        None
    }
}
