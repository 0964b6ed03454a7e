//! Bounds of the result of an ALU operation (`scalar_min_max_*` and `scalar32_min_max_*` of
//! `kernel/bpf/verifier.c`).
//!
//! Each operation takes the destination in place and the source; the 32-bit and the
//! 64-bit ranges are computed side by side, the tnum before or after them as the kernel
//! does, because bitwise operations read bounds off the new tnum and addition does not.
//! The caller cuts 32-bit results to size and exchanges bounds afterwards.

use bpfassay_spec::{Features, RegBase, RegType};

use super::reg::RegState;

/// Addition, subtraction and multiplication of one width's ranges.
macro_rules! range_arithmetic {
    ($s:ty, $u:ty, $smin:ident, $smax:ident, $umin:ident, $umax:ident, $add:ident, $sub:ident, $mul:ident, $doc:literal) => {
        #[doc = $doc]
        impl RegState {
            fn $add(&mut self, o: &RegState) {
                let signed = self.$smin.checked_add(o.$smin).zip(self.$smax.checked_add(o.$smax));
                (self.$smin, self.$smax) = signed.unwrap_or((<$s>::MIN, <$s>::MAX));
                let (min, min_wraps) = self.$umin.overflowing_add(o.$umin);
                let (max, max_wraps) = self.$umax.overflowing_add(o.$umax);
                // A range whose both ends wrap is still a range.
                (self.$umin, self.$umax) =
                    if max_wraps && !min_wraps { (0, <$u>::MAX) } else { (min, max) };
            }

            fn $sub(&mut self, o: &RegState) {
                let signed = self.$smin.checked_sub(o.$smax).zip(self.$smax.checked_sub(o.$smin));
                (self.$smin, self.$smax) = signed.unwrap_or((<$s>::MIN, <$s>::MAX));
                let (min, min_wraps) = self.$umin.overflowing_sub(o.$umax);
                let (max, max_wraps) = self.$umax.overflowing_sub(o.$umin);
                (self.$umin, self.$umax) =
                    if min_wraps && !max_wraps { (0, <$u>::MAX) } else { (min, max) };
            }

            fn $mul(&mut self, o: &RegState) {
                let unsigned = self.$umin.checked_mul(o.$umin).zip(self.$umax.checked_mul(o.$umax));
                (self.$umin, self.$umax) = unsigned.unwrap_or((0, <$u>::MAX));
                let corners = [
                    self.$smin.checked_mul(o.$smin),
                    self.$smin.checked_mul(o.$smax),
                    self.$smax.checked_mul(o.$smin),
                    self.$smax.checked_mul(o.$smax),
                ];
                (self.$smin, self.$smax) = (<$s>::MIN, <$s>::MAX);
                if let [Some(a), Some(b), Some(c), Some(d)] = corners {
                    (self.$smin, self.$smax) = (a.min(b).min(c).min(d), a.max(b).max(c).max(d));
                }
            }
        }
    };
}

range_arithmetic!(
    i64,
    u64,
    smin,
    smax,
    umin,
    umax,
    add_ranges64,
    sub_ranges64,
    mul_ranges64,
    "Ranges of all 64 bits."
);
range_arithmetic!(
    i32,
    u32,
    s32_min,
    s32_max,
    u32_min,
    u32_max,
    add_ranges32,
    sub_ranges32,
    mul_ranges32,
    "Ranges of the low 32 bits."
);

/// The bitwise operations whose bounds follow from the result's tnum.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Bitwise {
    And,
    Or,
    Xor,
}

impl RegState {
    /// `self + o`: 5 bounds added, the tnum last.
    pub fn alu_add(&mut self, o: &RegState) {
        self.add_ranges32(o);
        self.add_ranges64(o);
        self.var_off = self.var_off.add(o.var_off);
    }

    /// `self - o`.
    pub fn alu_sub(&mut self, o: &RegState) {
        self.sub_ranges32(o);
        self.sub_ranges64(o);
        self.var_off = self.var_off.sub(o.var_off);
    }

    /// `-self`: zero minus it; the identity of a linked scalar is lost.
    pub fn alu_neg(&mut self) {
        let old = *self;
        self.mark_known(0);
        self.sub_ranges32(&old);
        self.sub_ranges64(&old);
        self.var_off = old.var_off.neg();
    }

    /// `self * o`: known products are kept whole, ranges only where no corner overflows.
    pub fn alu_mul(&mut self, o: &RegState) {
        self.var_off = self.var_off.mul(o.var_off);
        self.mul_ranges32(o);
        self.mul_ranges64(o);
    }

    /// `self & o`: at least the known ones, at most the smaller operand.
    pub fn alu_and(&mut self, o: &RegState, f: Features) {
        self.var_off = self.var_off.and(o.var_off);
        self.bitwise(Bitwise::And, o, f);
    }

    /// `self | o`: at least the larger operand, at most the ones that may be.
    pub fn alu_or(&mut self, o: &RegState, f: Features) {
        self.var_off = self.var_off.or(o.var_off);
        self.bitwise(Bitwise::Or, o, f);
    }

    /// `self ^ o`: what the tnum says.
    pub fn alu_xor(&mut self, o: &RegState, f: Features) {
        self.var_off = self.var_off.xor(o.var_off);
        self.bitwise(Bitwise::Xor, o, f);
    }

    /// Ranges of a bitwise result; `self.var_off` is the result's already.
    fn bitwise(&mut self, op: Bitwise, o: &RegState, f: Features) {
        let low = self.var_off.subreg();
        if self.var_off.subreg_is_const() && o.var_off.subreg_is_const() {
            self.mark_known32(low.value as u32);
        } else {
            let (value, max) = (low.value as u32, low.umax() as u32);
            self.u32_min = if op == Bitwise::Or { self.u32_min.max(o.u32_min) } else { value };
            self.u32_max = if op == Bitwise::And { self.u32_max.min(o.u32_max) } else { max };
            self.set_s32_from_u32();
        }
        if self.var_off.is_const() && o.var_off.is_const() {
            self.mark_known(self.var_off.value);
            return;
        }
        let (value, max) = (self.var_off.value, self.var_off.umax());
        self.umin = if op == Bitwise::Or { self.umin.max(o.umin) } else { value };
        self.umax = if op == Bitwise::And { self.umax.min(o.umax) } else { max };
        self.set_s64_from_u64();
        self.learn_ranges_from_tnum(f);
    }

    /// The unsigned range is a signed one too if it stays on one side of the sign boundary; else unbounded.
    fn set_s32_from_u32(&mut self) {
        let (min, max) = (self.u32_min as i32, self.u32_max as i32);
        if min <= max {
            self.set_s32(min, max);
        } else {
            self.set_s32(i32::MIN, i32::MAX);
        }
    }

    fn set_s64_from_u64(&mut self) {
        let (min, max) = (self.umin as i64, self.umax as i64);
        if min <= max {
            self.set_s64(min, max);
        } else {
            self.set_s64(i64::MIN, i64::MAX);
        }
    }

    /// `self << n` of all 64 bits, `n` a constant below 64.
    pub fn alu_lsh64(&mut self, n: u32, f: Features) {
        // `<<= 32; s>>= 32` is how compilers sign-extend: the low half keeps its signed bounds.
        let keeps = |low: i32| n == 32 && (low >= 0 || f.lsh_by_32_keeps_sign);
        let up = |low: i32| (low as i64) << 32;
        self.smax = if keeps(self.s32_max) { up(self.s32_max) } else { i64::MAX };
        self.smin = if keeps(self.s32_min) { up(self.s32_min) } else { i64::MIN };
        if self.umax > 1u64 << (63 - (n & 63)) {
            self.set_u64(0, u64::MAX);
        } else {
            self.set_u64(self.umin << (n & 63), self.umax << (n & 63));
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
        self.set_s32(i32::MIN, i32::MAX);
        if n > 31 || self.u32_max > 1u32 << (31 - n) {
            self.set_u32(0, u32::MAX);
        } else {
            self.set_u32(self.u32_min << n, self.u32_max << n);
        }
    }

    /// `self >> n` of all 64 bits, zeros shifted in; the unsigned range says all that is known.
    pub fn alu_rsh64(&mut self, n: u32, f: Features) {
        let n = n & 63;
        self.set_s64(i64::MIN, i64::MAX);
        self.var_off = self.var_off.rshift(n as u8);
        self.set_u64(self.umin >> n, self.umax >> n);
        self.mark_unbounded32();
        self.learn_ranges_from_tnum(f);
    }

    /// `self >> n` of the low half.
    pub fn alu_rsh32(&mut self, n: u32) {
        let n = n & 31;
        self.set_s32(i32::MIN, i32::MAX);
        self.var_off = self.var_off.subreg().rshift(n as u8);
        self.set_u32(self.u32_min >> n, self.u32_max >> n);
        self.mark_unbounded64();
        self.learn_range32_from_tnum();
    }

    /// `self s>> n` of all 64 bits; the unsigned range comes back from the tnum.
    pub fn alu_arsh64(&mut self, n: u32, f: Features) {
        let n = n & 63;
        self.set_s64(self.smin >> n, self.smax >> n);
        self.var_off = self.var_off.arshift64(n as u8);
        self.set_u64(0, u64::MAX);
        self.mark_unbounded32();
        self.learn_ranges_from_tnum(f);
    }

    /// `self s>> n` of the low half.
    pub fn alu_arsh32(&mut self, n: u32) {
        let n = n & 31;
        self.set_s32(self.s32_min >> n, self.s32_max >> n);
        self.var_off = self.var_off.arshift32(n as u8);
        self.set_u32(0, u32::MAX);
        self.mark_unbounded64();
        self.learn_range32_from_tnum();
    }

    /// Byte swap or truncation of the low `bits`; `swaps` says which, for the machine at hand
    /// (`scalar_byte_swap`).  A swap scrambles ranges, so they come back from the tnum alone.
    pub fn alu_byte_swap(&mut self, swaps: bool, bits: u32, f: Features) {
        if swaps || bits != 64 {
            self.clear_scalar_id();
        }
        if swaps {
            self.var_off = self.var_off.bswap(bits);
            self.mark_unbounded();
        }
        if bits != 64 {
            self.coerce_to_size(bits / 8, f);
        }
    }

    /// Cuts the link to other scalars (`clear_scalar_id`).
    pub fn clear_scalar_id(&mut self) {
        self.id = 0;
        self.off = 0;
    }

    /// A scalar that is exactly `v` (what the kernel makes of an immediate).
    pub fn constant_scalar(v: u64) -> RegState {
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

    /// Bits a scalar may need, 0 to 64 (`get_reg_width`).
    pub fn width(&self) -> u32 {
        64 - self.umax.leading_zeros()
    }
}
