//! Ranges as arcs of the number circle, one for each width (`kernel/bpf/cnum.c`, `include/linux/cnum.h` of 7.2).
//!
//! Kernels with `circular_ranges` keep no separate signed and unsigned bounds: both are read off one arc, which may
//! wrap at either border.  [`RegState`]'s eight bounds are then those views; an arc that wraps at both, of which
//! no view tells anything, is kept beside them (`RegState::arc64`, `arc32`).
//! Mirrors `scalar_min_max_*`, `regs_refine_cond_op` and `reg_bounds_sync` of those kernels.

use bpfassay_isa::field::AluCode;
use bpfassay_isa::{Cond, Width};
use bpfassay_spec::Features;

use super::arc::{arc_of_tnum32, arc_of_tnum64, cut_to_low_half, low_half, Arc};
use super::compare::{flip, Fact, Pair};
use super::division::Keeps;
use super::reg::RegState;
use super::tnum::Tnum;

impl RegState {
    /// What kernels with arcs know of all 64 bits.
    pub fn arc64(&self) -> Arc<u64> {
        if let Some(arc) = self.hidden_arc64() {
            arc
        } else if self.umin > self.umax {
            Arc::EMPTY
        } else if (self.umin, self.umax) != (0, u64::MAX) {
            Arc::unsigned(self.umin, self.umax)
        } else {
            Arc::signed(self.smin, self.smax)
        }
    }

    /// The same of the low half.
    pub fn arc32(&self) -> Arc<u32> {
        if let Some(arc) = self.hidden_arc32() {
            arc
        } else if self.u32_min > self.u32_max {
            Arc::EMPTY
        } else if (self.u32_min, self.u32_max) != (0, u32::MAX) {
            Arc::unsigned(self.u32_min, self.u32_max)
        } else {
            Arc::signed(self.s32_min, self.s32_max)
        }
    }

    pub fn set_arc64(&mut self, arc: Arc<u64>) {
        let hides = arc.len != u64::MAX && arc.wraps_unsigned() && arc.wraps_signed();
        if arc.is_empty() {
            (self.umin, self.umax) = (1, 0);
            (self.smin, self.smax) = arc.signed_bounds();
        } else {
            (self.umin, self.umax) = arc.unsigned_bounds();
            (self.smin, self.smax) = arc.signed_bounds();
        }
        self.hide_arc64(hides.then_some(arc));
    }

    pub fn set_arc32(&mut self, arc: Arc<u32>) {
        let hides = arc.len != u32::MAX && arc.wraps_unsigned() && arc.wraps_signed();
        if arc.is_empty() {
            (self.u32_min, self.u32_max) = (1, 0);
            (self.s32_min, self.s32_max) = arc.signed_bounds();
        } else {
            (self.u32_min, self.u32_max) = arc.unsigned_bounds();
            (self.s32_min, self.s32_max) = arc.signed_bounds();
        }
        self.hide_arc32(hides.then_some(arc));
    }

    /// Exchanges what tnum and ranges know, as this kernel does (`reg_bounds_sync`).
    pub fn exchange(&mut self, f: &Features) {
        if f.circular_ranges {
            self.exchange_arcs();
        } else {
            self.sync(f);
        }
    }

    fn exchange_arcs(&mut self) {
        if self.arc64().is_empty() || self.arc32().is_empty() {
            return;
        }
        self.learn_arcs_from_tnum();
        for _ in 0..2 {
            self.set_arc32(self.arc32().intersect(low_half(self.arc64())));
            self.set_arc64(cut_to_low_half(self.arc64(), self.arc32()));
        }
        self.learn_tnum_from_arcs();
        self.learn_arcs_from_tnum();
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
    fn learn_tnum_from_arcs(&mut self) {
        let (umin, umax) = self.arc64().unsigned_bounds();
        let all = self.var_off.intersect(Tnum::range(umin, umax));
        let (low_min, low_max) = self.arc32().unsigned_bounds();
        let low = all.subreg().intersect(Tnum::range(u64::from(low_min), u64::from(low_max)));
        self.var_off = all.clear_subreg().or(low);
    }

    /// No value left in either range (`range_bounds_violation` of kernels with arcs).
    fn is_impossible(&self) -> bool {
        self.arc64().is_empty() || self.arc32().is_empty()
    }

    /// Forgets the upper half, which has become zero (`zext_32_to_64`).
    pub fn cut_upper_half(&mut self, f: &Features) {
        if f.circular_ranges {
            self.var_off = self.var_off.subreg();
            self.set_arc64(Arc::unsigned(u64::from(self.u32_min), u64::from(self.u32_max)));
        } else {
            self.zext_32_to_64();
        }
    }

    /// Keeps the low `bytes` bytes, zero-extended (`coerce_reg_to_size`).
    pub fn truncate(&mut self, bytes: u32, f: &Features) {
        if !f.circular_ranges {
            return self.coerce_to_size(bytes, f);
        }
        self.var_off = self.var_off.cast(bytes);
        let keep = (1u64 << (bytes * 8)) - 1;
        self.set_arc64(if self.umin & !keep == self.umax & !keep {
            Arc::unsigned(self.umin & keep, self.umax & keep)
        } else {
            Arc::unsigned(0, keep)
        });
        if bytes < 4 {
            self.mark_unbounded32();
        }
        self.exchange_arcs();
    }

    /// Byte swap or truncation (`scalar_byte_swap`).
    pub fn swap_bytes(&mut self, swaps: bool, bits: u32, f: &Features) {
        if !f.circular_ranges {
            return self.alu_byte_swap(swaps, bits, f);
        }
        if swaps || bits != 64 {
            self.clear_scalar_id();
        }
        if swaps {
            self.var_off = self.var_off.bswap(bits);
            self.mark_unbounded();
        }
        if bits != 64 {
            self.truncate(bits / 8, f);
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
    pub fn narrow_to_int(&mut self, min: i32, max: i32, f: &Features) {
        if !f.circular_ranges {
            return self.narrow_to_s32_range(min, max, f);
        }
        self.set_arc32(Arc::signed(self.s32_min.max(min), self.s32_max.min(max)));
        self.set_arc64(Arc::signed(self.smin.max(min.into()), self.smax.min(max.into())));
        self.exchange_arcs();
    }

    /// Both signed ranges, set (`reg_set_srange64`, `reg_set_srange32`) and exchanged with the rest.
    pub fn set_int_range(&mut self, min: i64, max: i64, f: &Features) {
        self.set_arc64(Arc::signed(min, max));
        self.set_arc32(Arc::signed(min as i32, max as i32));
        self.exchange(f);
    }

    /// True if every value of `cur` is one of `self` (`range_within`).
    pub fn arcs_include(&self, cur: &RegState) -> bool {
        self.arc64().includes(cur.arc64()) && self.arc32().includes(cur.arc32())
    }

    /// A value `delta` away from this one; with `cuts`, in the low half, the upper one being zero.
    pub fn moved_by(&mut self, delta: i64, cuts: bool, f: &Features) {
        if !f.circular_ranges {
            return self.move_by(delta, cuts, f);
        }
        self.add_arcs(&RegState::constant_scalar(delta as u64));
        if cuts {
            self.cut_upper_half(f);
        }
    }

    /// `self + o` where both are ranges: pointer offsets and linked scalars.
    pub fn add_arcs(&mut self, o: &RegState) {
        self.set_arc32(self.arc32().add(o.arc32()));
        self.set_arc64(self.arc64().add(o.arc64()));
        self.var_off = self.var_off.add(o.var_off);
    }

    fn sub_arcs(&mut self, o: &RegState) {
        self.set_arc32(self.arc32().add(o.arc32().neg()));
        self.set_arc64(self.arc64().add(o.arc64().neg()));
        self.var_off = self.var_off.sub(o.var_off);
    }

    /// `self op o` with both scalars; `signed` tells the two divisions apart.  The caller has seen to it that
    /// the result can be bounded, cuts 32-bit results and exchanges bounds.
    pub fn alu_arcs(&mut self, op: AluCode, signed: bool, width: Width, o: &RegState) {
        let narrow = width == Width::W32;
        let count = o.u32_min;
        match op {
            AluCode::Add => self.add_arcs(o),
            AluCode::Sub => self.sub_arcs(o),
            AluCode::Neg => {
                let old = *self;
                self.mark_known(0);
                self.sub_arcs(&old);
                self.var_off = old.var_off.neg();
            }
            AluCode::Mul => {
                self.var_off = self.var_off.mul(o.var_off);
                let (low, all) =
                    (self.ranges32().mul(o.ranges32()), self.ranges64().mul(o.ranges64()));
                self.set_arc32(
                    Arc::unsigned(low.umin, low.umax).intersect(Arc::signed(low.smin, low.smax)),
                );
                self.set_arc64(
                    Arc::unsigned(all.umin, all.umax).intersect(Arc::signed(all.smin, all.smax)),
                );
            }
            AluCode::And | AluCode::Or | AluCode::Xor => self.bitwise_arcs(op, o),
            AluCode::Div | AluCode::Mod => self.alu_divide(op, signed, width, o, Keeps::Arcs),
            AluCode::Lsh if narrow => {
                let low = self.var_off.subreg();
                self.shift_left_arc32(count);
                self.var_off = low.lshift(count as u8).subreg();
                self.mark_unbounded64();
                self.learn_arc32_from_tnum();
            }
            AluCode::Lsh => self.shift_left_arc64(count),
            AluCode::Rsh if narrow => {
                self.var_off = self.var_off.subreg().rshift(count as u8);
                self.set_arc32(Arc::unsigned(self.u32_min >> count, self.u32_max >> count));
                self.mark_unbounded64();
                self.learn_arc32_from_tnum();
            }
            AluCode::Rsh => {
                self.var_off = self.var_off.rshift(count as u8);
                self.set_arc64(Arc::unsigned(self.umin >> count, self.umax >> count));
                self.mark_unbounded32();
                self.learn_arcs_from_tnum();
            }
            AluCode::Arsh if narrow => {
                self.set_arc32(Arc::signed(self.s32_min >> count, self.s32_max >> count));
                self.var_off = self.var_off.arshift32(count as u8);
                self.mark_unbounded64();
                self.learn_arc32_from_tnum();
            }
            AluCode::Arsh => {
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

    fn bitwise_arcs(&mut self, op: AluCode, o: &RegState) {
        self.var_off = match op {
            AluCode::And => self.var_off.and(o.var_off),
            AluCode::Or => self.var_off.or(o.var_off),
            _ => self.var_off.xor(o.var_off),
        };
        let low = self.var_off.subreg();
        if self.var_off.subreg_is_const() && o.var_off.subreg_is_const() {
            self.mark_known32(low.value as u32);
        } else {
            let (value, max) = (low.value as u32, low.umax() as u32);
            self.set_arc32(match op {
                AluCode::And => Arc::unsigned(value, self.u32_max.min(o.u32_max)),
                AluCode::Or => Arc::unsigned(self.u32_min.max(o.u32_min), max),
                _ => Arc::unsigned(value, max),
            });
        }
        if self.var_off.is_const() && o.var_off.is_const() {
            self.mark_known(self.var_off.value);
            return;
        }
        let (value, max) = (self.var_off.value, self.var_off.umax());
        self.set_arc64(match op {
            AluCode::And => Arc::unsigned(value, self.umax.min(o.umax)),
            AluCode::Or => Arc::unsigned(self.umin.max(o.umin), max),
            _ => Arc::unsigned(value, max),
        });
        if op != AluCode::Xor {
            self.learn_arcs_from_tnum();
        }
    }

    fn shift_left_arc32(&mut self, n: u32) {
        if n > 31 || self.u32_max > 1u32 << (31 - n) {
            self.set_arc32(Arc::FULL);
        } else {
            self.set_arc32(Arc::unsigned(self.u32_min << n, self.u32_max << n));
        }
    }

    fn shift_left_arc64(&mut self, n: u32) {
        let signed = if n == 32 {
            Arc::signed(i64::from(self.s32_min) << 32, i64::from(self.s32_max) << 32)
        } else {
            Arc::FULL
        };
        let unsigned = if self.umax > 1u64 << (63 - n) {
            Arc::FULL
        } else {
            Arc::unsigned(self.umin << n, self.umax << n)
        };
        self.set_arc64(unsigned.intersect(signed));
        self.shift_left_arc32(n);
        self.var_off = self.var_off.lshift(n as u8);
        self.learn_arcs_from_tnum();
    }
}

/// `a` compared with `b` on both outcomes: what the registers are where the jump is not taken, and where it is.
/// `taken` is known where one outcome leaves a register without a value (`simulate_both_branches_taken`).
pub struct BothBranches {
    pub not_taken: Pair,
    pub taken: Pair,
    pub decided: Option<bool>,
}

/// Narrows both outcomes; a branch that cannot be is found out.
pub fn simulate(a: RegState, b: RegState, cond: Cond, width: Width, f: &Features) -> BothBranches {
    let refine = |pair: &mut Pair, fact: Fact| match f.circular_ranges {
        true => pair.refine_arcs(fact, width),
        false => pair.refine(fact, width, f),
    };
    let is_impossible = |r: &RegState| match f.circular_ranges {
        true => r.is_impossible(),
        false => r.has_crossed_bounds(),
    };
    let pair = Pair::of(a, b, false);
    let mut both = BothBranches { not_taken: pair, taken: pair, decided: None };
    refine(&mut both.not_taken, Fact::not(cond));
    if is_impossible(both.not_taken.first()) || is_impossible(both.not_taken.second()) {
        both.decided = Some(true);
        return both;
    }
    refine(&mut both.taken, Fact::Holds(cond));
    if is_impossible(both.taken.first()) || is_impossible(both.taken.second()) {
        both.decided = Some(false);
    }
    both
}

/// A register compared with itself; None for JSET that is not known.
pub fn compared_with_itself(r: &RegState, cond: Cond, width: Width) -> Option<bool> {
    match cond {
        Cond::Ge | Cond::Le | Cond::Sge | Cond::Sle | Cond::Eq => Some(true),
        Cond::Gt | Cond::Lt | Cond::Sgt | Cond::Slt | Cond::Ne => Some(false),
        Cond::Set => {
            let (t, smin, smax) = match width {
                Width::W64 => (r.var_off, r.smin, r.smax),
                Width::W32 => (r.var_off.subreg(), r.s32_min.into(), r.s32_max.into()),
            };
            if t.is_const() {
                Some(t.value != 0)
            } else if smin <= 0 && smax >= 0 {
                None
            } else {
                Some(true)
            }
        }
    }
}

impl Pair {
    /// Narrows both registers by what is known to hold, then exchanges their bounds.
    fn refine_arcs(&mut self, fact: Fact, width: Width) {
        match fact {
            Fact::Holds(c @ (Cond::Ge | Cond::Gt | Cond::Sge | Cond::Sgt)) => {
                self.learn_arcs(Fact::Holds(flip(c)), width, true)
            }
            fact => self.learn_arcs(fact, width, false),
        }
        self.first_mut().exchange_arcs();
        self.second_mut().exchange_arcs();
    }

    fn learn_arcs(&mut self, fact: Fact, width: Width, swapped: bool) {
        let (mut a, mut b) = match swapped {
            false => (*self.first(), *self.second()),
            true => (*self.second(), *self.first()),
        };
        match fact {
            Fact::Holds(Cond::Eq) => make_equal(&mut a, &mut b, width),
            Fact::Holds(Cond::Ne) => differ(&mut a, &mut b, width),
            Fact::Holds(Cond::Set) | Fact::NoneSet => {
                // Tnums only.
                let mut pair = Pair::of(a, b, false);
                pair.learn(fact, width);
                (a, b) = (*pair.first(), *pair.second());
            }
            Fact::Holds(c) => order(&mut a, &mut b, width, c),
        }
        match swapped {
            false => (*self.first_mut(), *self.second_mut()) = (a, b),
            true => (*self.second_mut(), *self.first_mut()) = (a, b),
        }
    }
}

fn make_equal(a: &mut RegState, b: &mut RegState, width: Width) {
    match width {
        Width::W32 => {
            let arc = a.arc32().intersect(b.arc32());
            let t = a.var_off.subreg().intersect(b.var_off.subreg());
            for r in [a, b] {
                r.set_arc32(arc);
                r.var_off = r.var_off.with_subreg(t);
            }
        }
        Width::W64 => {
            let arc = a.arc64().intersect(b.arc64());
            let t = a.var_off.intersect(b.var_off);
            for r in [a, b] {
                r.set_arc64(arc);
                r.var_off = t;
            }
        }
    }
}

/// All values but one are an arc too.
fn differ(a: &mut RegState, b: &mut RegState, width: Width) {
    let narrow = width == Width::W32;
    let (r, k) = if b.is_const(narrow) {
        (a, *b)
    } else if a.is_const(narrow) {
        (b, *a)
    } else {
        return;
    };
    match width {
        Width::W32 => {
            let v = k.var_off.subreg().value as u32;
            r.set_arc32(r.arc32().intersect(Arc { base: v.wrapping_add(1), len: u32::MAX - 1 }));
        }
        Width::W64 => {
            let v = k.var_off.value;
            r.set_arc64(r.arc64().intersect(Arc { base: v.wrapping_add(1), len: u64::MAX - 1 }));
        }
    }
}

/// `a < b` or `a <= b`, signed or not: each bounds the other.
fn order(a: &mut RegState, b: &mut RegState, width: Width, cond: Cond) {
    let strict = matches!(cond, Cond::Lt | Cond::Slt);
    let (one, one32) = (u64::from(strict), u32::from(strict));
    match (width, matches!(cond, Cond::Lt | Cond::Le)) {
        (Width::W32, true) => {
            a.set_arc32(a.arc32().intersect(Arc::unsigned(0, b.u32_max.wrapping_sub(one32))));
            b.set_arc32(b.arc32().intersect(Arc::unsigned(min32(a).wrapping_add(one32), u32::MAX)));
        }
        (Width::W64, true) => {
            a.set_arc64(a.arc64().intersect(Arc::unsigned(0, b.umax.wrapping_sub(one))));
            b.set_arc64(b.arc64().intersect(Arc::unsigned(min64(a).wrapping_add(one), u64::MAX)));
        }
        (Width::W32, false) => {
            let max = b.s32_max.wrapping_sub(one32 as i32);
            a.set_arc32(a.arc32().intersect(Arc::signed(i32::MIN, max)));
            let min = a.arc32().signed_bounds().0.wrapping_add(one32 as i32);
            b.set_arc32(b.arc32().intersect(Arc::signed(min, i32::MAX)));
        }
        (Width::W64, false) => {
            let max = b.smax.wrapping_sub(one as i64);
            a.set_arc64(a.arc64().intersect(Arc::signed(i64::MIN, max)));
            let min = a.arc64().signed_bounds().0.wrapping_add(one as i64);
            b.set_arc64(b.arc64().intersect(Arc::signed(min, i64::MAX)));
        }
    }
}

/// Unsigned minimum as the kernel reads it, of an empty range too.
fn min64(r: &RegState) -> u64 {
    r.arc64().unsigned_bounds().0
}

fn min32(r: &RegState) -> u32 {
    r.arc32().unsigned_bounds().0
}
