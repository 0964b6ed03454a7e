//! Ranges as arcs of the number circle, one for each width (`kernel/bpf/cnum.c`, `include/linux/cnum.h` of 7.2).
//!
//! Kernels with `circular_ranges` keep no separate signed and unsigned bounds: both are read off one arc, which may
//! wrap at either border.  [`RegState`]'s eight bounds are then those views; an arc that wraps at both, of which
//! no view tells anything, is kept beside them (`RegState::arc64`, `arc32`).
//! Mirrors `scalar_min_max_*` and `reg_bounds_sync` of those kernels.

use bpfassay_isa::bits::{Bits, Signed, Unsigned, Whole, Word, S32, S64, U32, U64};
use bpfassay_isa::field::AluCode;
use bpfassay_isa::Width;
use bpfassay_spec::Features;

use super::arc::{arc_of_tnum32, arc_of_tnum64, cut_to_low_half, low_half, Arc};
use super::arith::Ranges;
use super::division::Keeps;
use super::reg::RegState;
use super::tnum::Tnum;

impl<B: Bits> RegState<B> {
    /// What kernels with arcs know of all 64 bits.
    #[inline]
    pub fn arc64(&self) -> Arc<U64<B>> {
        self.hidden_arc64().unwrap_or_else(|| self.ranges64().arc())
    }

    /// The same of the low half.
    #[inline]
    pub fn arc32(&self) -> Arc<U32<B>> {
        self.hidden_arc32().unwrap_or_else(|| self.ranges32().arc())
    }

    pub fn set_arc64(&mut self, arc: Arc<U64<B>>) {
        self.set_ranges64(Ranges::of_arc(arc));
        self.hide_arc64(arc.is_no_view().then_some(arc));
    }

    pub fn set_arc32(&mut self, arc: Arc<U32<B>>) {
        self.set_ranges32(Ranges::of_arc(arc));
        self.hide_arc32(arc.is_no_view().then_some(arc));
    }

    /// Exchanges what tnum and ranges know, as this kernel does (`reg_bounds_sync`).
    pub fn exchange(&mut self, f: &Features) {
        if f.circular_ranges {
            self.exchange_arcs();
        } else {
            self.sync(f);
        }
    }

    pub(super) fn exchange_arcs(&mut self) {
        if self.arc64().is_empty() || self.arc32().is_empty() {
            return;
        }
        self.learn_arcs_from_tnum();
        for _ in 0..2 {
            self.learn_arc32_from_arc64();
            self.learn_arc64_from_arc32();
        }
        self.learn_tnum_from_arcs();
        self.learn_arcs_from_tnum();
    }

    /// The low half of the whole's arc (first of `deduce_bounds_32_from_64`).
    pub fn learn_arc32_from_arc64(&mut self) {
        self.set_arc32(self.arc32().intersect(low_half(self.arc64())));
    }

    /// The whole's arc, cut to values whose low half may be (`deduce_bounds_64_from_32`).
    pub fn learn_arc64_from_arc32(&mut self) {
        self.set_arc64(cut_to_low_half(self.arc64(), self.arc32()));
    }

    /// `__update_reg_bounds`
    pub fn learn_arcs_from_tnum(&mut self) {
        self.set_arc32(self.arc32().intersect(arc_of_tnum32(self.var_off)));
        let arc = self.arc64().intersect(arc_of_tnum64(self.var_off));
        self.set_arc64(arc);
        // Of no values at all the kernel reads the widest unsigned bounds.
        let (umin, umax) = arc.unsigned_bounds();
        let t = self.var_off;
        let next = t.step(umin);
        let known = if t.contains(umin) {
            (next > umax).then_some(umin)
        } else {
            (next == t.umax() || (next <= umax && t.step(next) > umax)).then_some(next)
        };
        if let Some(v) = known {
            self.set_known_value(v);
        }
    }

    /// `__reg_bound_offset`
    pub fn learn_tnum_from_arcs(&mut self) {
        let (umin, umax) = self.arc64().unsigned_bounds();
        let all = self.var_off.intersect(Tnum::range(umin, umax));
        let (low_min, low_max) = self.arc32().unsigned_bounds();
        let low =
            all.subreg().intersect(Tnum::range(U64::<B>::zext(low_min), U64::<B>::zext(low_max)));
        self.var_off = all.clear_subreg().or(low);
    }

    /// No value left in either range (`range_bounds_violation` of kernels with arcs).
    pub(super) fn is_impossible(&self) -> bool {
        self.arc64().is_empty() || self.arc32().is_empty()
    }

    /// Forgets the upper half, which has become zero (`zext_32_to_64`).
    pub fn cut_upper_half(&mut self, f: &Features) {
        if f.circular_ranges {
            self.var_off = self.var_off.subreg();
            self.set_arc64(Arc::unsigned(
                U64::<B>::zext(self.u32_min),
                U64::<B>::zext(self.u32_max),
            ));
        } else {
            self.zext_32_to_64();
        }
    }

    /// Keeps the low `bytes` bytes, zero-extended (`coerce_reg_to_size`).
    pub fn truncate(&mut self, bytes: u32, f: &Features) {
        if !f.circular_ranges {
            return self.coerce_to_size(bytes, f);
        }
        self.cut_arcs(bytes);
        self.exchange_arcs();
    }

    /// The same before bounds are exchanged.
    pub fn cut_arcs(&mut self, bytes: u32) {
        self.var_off = self.var_off.cast(bytes);
        let keep = U64::<B>::lit((1u64 << (bytes * 8)) - 1);
        let (umin, umax) = (self.umin, self.umax);
        self.set_arc64(Arc::one(|| match umin & !keep == umax & !keep {
            true => Arc::unsigned(umin & keep, umax & keep),
            false => Arc::unsigned(U64::<B>::ZERO, keep),
        }));
        if bytes < 4 {
            self.mark_unbounded32();
        }
    }

    /// Byte swap or truncation (`scalar_byte_swap`).
    pub fn swap_bytes(&mut self, swaps: bool, bits: u32, f: &Features) {
        if !f.circular_ranges {
            return self.alu_byte_swap(swaps, bits, f);
        }
        self.swap_or_cut_arcs(swaps, bits);
        if bits != 64 {
            self.exchange_arcs();
        }
    }

    /// The same before bounds are exchanged.
    pub fn swap_or_cut_arcs(&mut self, swaps: bool, bits: u32) {
        if swaps || bits != 64 {
            self.clear_scalar_id();
        }
        if swaps {
            self.var_off = self.var_off.bswap(bits);
            self.mark_unbounded();
        }
        if bits != 64 {
            self.cut_arcs(bits / 8);
        }
    }

    /// Sign-extends the low `bytes` bytes (`coerce_reg_to_size_sx`).
    pub fn sign_extend(&mut self, bytes: u32, f: &Features) {
        self.coerce_to_size_sx(bytes);
        if f.circular_ranges {
            self.reread_arcs();
        }
    }

    /// Sign-extends within the low half (`coerce_subreg_to_size_sx`).
    pub fn sign_extend_low_half(&mut self, bytes: u32, f: &Features) {
        self.coerce_subreg_to_size_sx(bytes);
        if f.circular_ranges {
            self.drop_hidden_arcs();
            let low = Arc::signed(self.s32_min, self.s32_max);
            self.set_arc32(low);
        }
    }

    /// Arcs from signed bounds that were just set.
    fn reread_arcs(&mut self) {
        self.drop_hidden_arcs();
        self.set_arc64(Arc::signed(self.smin, self.smax));
        self.set_arc32(Arc::signed(self.s32_min, self.s32_max));
    }

    /// Intersects the signed bounds of both widths with an `int` range (`__mark_reg_s32_range`).
    pub fn narrow_to_int(&mut self, min: S32<B>, max: S32<B>, f: &Features) {
        if !f.circular_ranges {
            return self.narrow_to_s32_range(min, max, f);
        }
        self.set_arc32(Arc::signed(self.s32_min.at_least(min), self.s32_max.at_most(max)));
        let (min, max) = (U64::<B>::sext(min), U64::<B>::sext(max));
        self.set_arc64(Arc::signed(self.smin.at_least(min), self.smax.at_most(max)));
        self.exchange_arcs();
    }

    /// Both signed ranges, set (`reg_set_srange64`, `reg_set_srange32`) and exchanged with the rest.
    pub fn set_int_range(&mut self, min: S64<B>, max: S64<B>, f: &Features) {
        self.set_arc64(Arc::signed(min, max));
        let low = |v: S64<B>| v.unsigned().low().signed();
        self.set_arc32(Arc::signed(low(min), low(max)));
        self.exchange(f);
    }

    /// True if every value of `cur` is one of `self` (`range_within`).
    pub fn arcs_include(&self, cur: &RegState<B>) -> bool {
        self.arc64().includes(cur.arc64()) && self.arc32().includes(cur.arc32())
    }

    /// A value `delta` away from this one; with `cuts`, in the low half, the upper one being zero.
    pub fn moved_by(&mut self, delta: S64<B>, cuts: bool, f: &Features) {
        if !f.circular_ranges {
            return self.move_by(delta, cuts, f);
        }
        self.add_arcs(&RegState::constant_scalar(delta.unsigned()));
        if cuts {
            self.cut_upper_half(f);
        }
    }

    /// `self + o` where both are ranges: pointer offsets and linked scalars.
    pub fn add_arcs(&mut self, o: &RegState<B>) {
        self.set_arc32(self.arc32().add(o.arc32()));
        self.set_arc64(self.arc64().add(o.arc64()));
        self.var_off = self.var_off.add(o.var_off);
    }

    fn sub_arcs(&mut self, o: &RegState<B>) {
        self.set_arc32(self.arc32().add(o.arc32().neg()));
        self.set_arc64(self.arc64().add(o.arc64().neg()));
        self.var_off = self.var_off.sub(o.var_off);
    }

    /// `-self` (`BPF_NEG`): zero minus it.
    pub fn neg_arcs(&mut self) {
        let old = *self;
        self.mark_known(U64::<B>::ZERO);
        self.sub_arcs(&old);
        self.var_off = old.var_off.neg();
    }

    /// `self op o` of two ranges, shifts and divisions aside.
    pub fn combine_arcs(&mut self, op: AluCode, o: &RegState<B>) {
        match op {
            AluCode::Add => self.add_arcs(o),
            AluCode::Sub => self.sub_arcs(o),
            AluCode::Mul => {
                self.var_off = self.var_off.mul(o.var_off);
                let (low, all) =
                    (self.ranges32().mul(o.ranges32()), self.ranges64().mul(o.ranges64()));
                self.set_arc32(low.common_arc());
                self.set_arc64(all.common_arc());
            }
            AluCode::And | AluCode::Or | AluCode::Xor => self.bitwise_arcs(op, o),
            _ => {}
        }
    }

    /// A shift by a constant below the width.
    pub fn shift_arcs(&mut self, op: AluCode, width: Width, count: u32) {
        match (op, width) {
            (AluCode::Lsh, Width::W32) => {
                let low = self.var_off.subreg();
                self.shift_left_arc32(count);
                self.var_off = low.lshift(count as u8).subreg();
                self.mark_unbounded64();
                self.learn_arc32_from_tnum();
            }
            (AluCode::Lsh, Width::W64) => self.shift_left_arc64(count),
            (AluCode::Rsh, Width::W32) => {
                self.var_off = self.var_off.subreg().rshift(count as u8);
                self.set_arc32(Arc::unsigned(self.u32_min >> count, self.u32_max >> count));
                self.mark_unbounded64();
                self.learn_arc32_from_tnum();
            }
            (AluCode::Rsh, Width::W64) => {
                self.var_off = self.var_off.rshift(count as u8);
                self.set_arc64(Arc::unsigned(self.umin >> count, self.umax >> count));
                self.mark_unbounded32();
                self.learn_arcs_from_tnum();
            }
            (AluCode::Arsh, Width::W32) => {
                self.set_arc32(Arc::signed(self.s32_min >> count, self.s32_max >> count));
                self.var_off = self.var_off.arshift32(count as u8);
                self.mark_unbounded64();
                self.learn_arc32_from_tnum();
            }
            (AluCode::Arsh, Width::W64) => {
                self.set_arc64(Arc::signed(self.smin >> count, self.smax >> count));
                self.var_off = self.var_off.arshift64(count as u8);
                self.mark_unbounded32();
                self.learn_arcs_from_tnum();
            }
            _ => {}
        }
    }

    /// `__update_reg32_bounds`
    pub fn learn_arc32_from_tnum(&mut self) {
        self.set_arc32(self.arc32().intersect(arc_of_tnum32(self.var_off)));
    }

    fn bitwise_arcs(&mut self, op: AluCode, o: &RegState<B>) {
        self.var_off = match op {
            AluCode::And => self.var_off.and(o.var_off),
            AluCode::Or => self.var_off.or(o.var_off),
            _ => self.var_off.xor(o.var_off),
        };
        let low = self.var_off.subreg();
        if self.var_off.subreg_is_const() && o.var_off.subreg_is_const() {
            self.mark_known32(low.value.low());
        } else {
            let (value, max) = (low.value.low(), low.umax().low());
            self.set_arc32(match op {
                AluCode::And => Arc::unsigned(value, self.u32_max.at_most(o.u32_max)),
                AluCode::Or => Arc::unsigned(self.u32_min.at_least(o.u32_min), max),
                _ => Arc::unsigned(value, max),
            });
        }
        if self.var_off.is_const() && o.var_off.is_const() {
            self.mark_known(self.var_off.value);
            return;
        }
        let (value, max) = (self.var_off.value, self.var_off.umax());
        self.set_arc64(match op {
            AluCode::And => Arc::unsigned(value, self.umax.at_most(o.umax)),
            AluCode::Or => Arc::unsigned(self.umin.at_least(o.umin), max),
            _ => Arc::unsigned(value, max),
        });
        if op != AluCode::Xor {
            self.learn_arcs_from_tnum();
        }
    }

    fn shift_left_arc32(&mut self, n: u32) {
        self.set_arc32(shifted_left(self.u32_min, self.u32_max, n));
    }

    fn shift_left_arc64(&mut self, n: u32) {
        let half = U32::<B>::BITS;
        let signed = if n == half {
            let up = |low: S32<B>| U64::<B>::sext(low) << half;
            Arc::signed(up(self.s32_min), up(self.s32_max))
        } else {
            Arc::FULL
        };
        self.set_arc64(shifted_left(self.umin, self.umax, n).intersect(signed));
        self.shift_left_arc32(n);
        self.var_off = self.var_off.lshift(n as u8);
        self.learn_arcs_from_tnum();
    }
}

impl RegState {
    /// `self op o` with both scalars; `signed` tells the two divisions apart.  The caller has seen to it that
    /// the result can be bounded, cuts 32-bit results and exchanges bounds.
    pub fn alu_arcs(&mut self, op: AluCode, signed: bool, width: Width, o: &RegState) {
        match op {
            AluCode::Neg => self.neg_arcs(),
            AluCode::Div | AluCode::Mod => self.alu_divide(op, signed, width, o, Keeps::Arcs),
            AluCode::Lsh | AluCode::Rsh | AluCode::Arsh => self.shift_arcs(op, width, o.u32_min),
            op => self.combine_arcs(op, o),
        }
    }
}

impl<U: Unsigned> Ranges<U> {
    /// The arc that these are the views of.
    fn arc(self) -> Arc<U> {
        Arc::one(|| {
            if self.umin > self.umax {
                Arc::EMPTY
            } else if self.umin != U::ZERO || self.umax != U::MAX {
                Arc::unsigned(self.umin, self.umax)
            } else {
                Arc::signed(self.smin, self.smax)
            }
        })
    }

    /// Both views of an arc; of none the unsigned one is crossed.
    fn of_arc(arc: Arc<U>) -> Ranges<U> {
        let (smin, smax) = arc.signed_bounds();
        let (umin, umax) = match arc.is_empty() {
            true => (U::lit(1), U::ZERO),
            false => arc.unsigned_bounds(),
        };
        Ranges { smin, smax, umin, umax }
    }

    /// What is in the signed range and in the unsigned one.
    fn common_arc(self) -> Arc<U> {
        Arc::unsigned(self.umin, self.umax).intersect(Arc::signed(self.smin, self.smax))
    }
}

/// `scalar_min_max_lsh` of an unsigned range; any count.
fn shifted_left<U: Unsigned>(min: U, max: U, n: u32) -> Arc<U> {
    if n >= U::BITS {
        return Arc::FULL;
    }
    Arc::one(|| match max > U::lit(1) << (U::BITS - 1 - n) {
        true => Arc::FULL,
        false => Arc::unsigned(min << n, max << n),
    })
}
