//! Truncation and extension of the abstract value (`zext_32_to_64`, `coerce_reg_to_size`,
//! `coerce_reg_to_size_sx`, `coerce_subreg_to_size_sx`).

use bpfassay_spec::Features;

use super::reg::RegState;
use super::tnum::Tnum;

/// Low `bytes` bytes of `v`, sign-extended; 1, 2 or 4.
fn sign_extend(v: u64, bytes: u32) -> i64 {
    match bytes {
        1 => v as i8 as i64,
        2 => v as i16 as i64,
        _ => v as i32 as i64,
    }
}

/// Least and greatest value of a signed integer of `bytes` bytes.
fn signed_limits(bytes: u32) -> (i64, i64) {
    match bytes {
        1 => (i8::MIN as i64, i8::MAX as i64),
        2 => (i16::MIN as i64, i16::MAX as i64),
        _ => (i32::MIN as i64, i32::MAX as i64),
    }
}

impl RegState {
    /// 64-bit ranges of a value whose upper half has become zero (`__reg_assign_32_into_64`).
    pub(crate) fn assign_32_into_64(&mut self) {
        self.set_u64(self.u32_min as u64, self.u32_max as u64);
        if self.s32_min >= 0 && self.s32_max >= 0 {
            self.set_s64(self.s32_min as i64, self.s32_max as i64);
        } else {
            self.set_s64(0, u32::MAX as i64);
        }
    }

    /// What a 32-bit operation does to the upper half (`zext_32_to_64`).
    pub fn zext_32_to_64(&mut self) {
        self.var_off = self.var_off.subreg();
        self.assign_32_into_64();
    }

    /// Keeps the low `bytes` bytes, zero-extended (`coerce_reg_to_size`); 1, 2 or 4.
    pub fn coerce_to_size(&mut self, bytes: u32, f: Features) {
        self.var_off = self.var_off.cast(bytes);
        let keep = (1u64 << (bytes * 8).min(63)) - 1;
        if self.umin & !keep == self.umax & !keep {
            self.set_u64(self.umin & keep, self.umax & keep);
        } else {
            self.set_u64(0, keep);
        }
        self.set_s64(self.umin as i64, self.umax as i64);
        if bytes < 4 {
            self.mark_unbounded32();
        }
        self.sync(f);
    }

    /// Sign-extends the low `bytes` bytes to 64 bits (`coerce_reg_to_size_sx`); 1, 2 or 4.
    pub fn coerce_to_size_sx(&mut self, bytes: u32) {
        if self.var_off.is_const() {
            self.set_known_value(sign_extend(self.var_off.value, bytes) as u64);
            return;
        }
        let bits = bytes * 8;
        if self.smin >> bits != self.smax >> bits {
            return self.set_any_sx64(bytes);
        }
        let a = sign_extend(self.smin as u64, bytes);
        let b = sign_extend(self.smax as u64, bytes);
        if (a >= 0) != (b >= 0) {
            return self.set_any_sx64(bytes);
        }
        let (min, max) = (a.min(b), a.max(b));
        self.set_s64(min, max);
        self.set_u64(min as u64, max as u64);
        self.set_s32(min as i32, max as i32);
        self.set_u32(min as u32, max as u32);
        self.var_off = Tnum::range(min as u64, max as u64);
    }

    /// `set_sext64_default_val`.
    fn set_any_sx64(&mut self, bytes: u32) {
        let (min, max) = signed_limits(bytes);
        self.set_s64(min, max);
        self.set_s32(min as i32, max as i32);
        self.set_u64(0, u64::MAX);
        self.set_u32(0, u32::MAX);
        self.var_off = Tnum::UNKNOWN;
    }

    /// Sign-extends the low 1 or 2 bytes within the low half (`coerce_subreg_to_size_sx`); the caller
    /// zero-extends afterwards.
    pub fn coerce_subreg_to_size_sx(&mut self, bytes: u32) {
        if self.var_off.is_const() {
            let v = sign_extend(self.var_off.value, bytes);
            self.var_off = Tnum::constant(v as u64);
            self.set_s32(v as i32, v as i32);
            self.set_u32(v as u32, v as u32);
            return;
        }
        let bits = bytes * 8;
        if self.s32_min >> bits != self.s32_max >> bits {
            return self.set_any_sx32(bytes);
        }
        let a = sign_extend(self.s32_min as u64, bytes) as i32;
        let b = sign_extend(self.s32_max as u64, bytes) as i32;
        if (a >= 0) != (b >= 0) {
            return self.set_any_sx32(bytes);
        }
        let (min, max) = (a.min(b), a.max(b));
        self.set_s32(min, max);
        self.set_u32(min as u32, max as u32);
        self.var_off = Tnum::range(min as i64 as u64, max as i64 as u64).subreg();
    }

    /// `set_sext32_default_val`.
    fn set_any_sx32(&mut self, bytes: u32) {
        let (min, max) = signed_limits(bytes);
        self.set_s32(min as i32, max as i32);
        self.set_u32(0, u32::MAX);
        self.var_off = Tnum::UNKNOWN.subreg();
    }
}
