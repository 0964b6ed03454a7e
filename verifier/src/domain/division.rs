//! Bounds of quotient and remainder by a constant (`scalar_min_max_udiv`, `scalar_min_max_smod` and their siblings of
//! `kernel/bpf/verifier.c`), where the kernel has them.

use bpfassay_isa::field::AluCode;
use bpfassay_isa::Width;

use super::arc::Arc;
use super::reg::RegState;
use super::tnum::Tnum;

/// What a kernel keeps of a range: the bounds that were computed alone, or an arc.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Keeps {
    Bounds,
    Arcs,
}

/// Both ends inclusive.
#[derive(Clone, Copy, Debug)]
enum Range<U, S> {
    Unsigned(U, U),
    Signed(S, S),
}

impl RegState {
    /// `self / o` or `self % o` by a constant; by zero the quotient is zero and the remainder the dividend.  A remainder
    /// that is the dividend for all values leaves everything as it was, else the tnum and the other width are lost.
    pub fn alu_divide(
        &mut self,
        op: AluCode,
        signed: bool,
        width: Width,
        o: &RegState,
        keeps: Keeps,
    ) {
        let narrow = width == Width::W32;
        let is_div = op == AluCode::Div;
        if (narrow && o.u32_min == 0) || (!narrow && o.umin == 0) {
            if is_div {
                self.set_known_value(0);
            }
            return;
        }
        let changed = match narrow {
            true => self.divide32(is_div, signed, o.u32_min, keeps),
            false => self.divide64(is_div, signed, o.umin, keeps),
        };
        if changed {
            match narrow {
                true => self.mark_unbounded64(),
                false => self.mark_unbounded32(),
            }
            self.var_off = Tnum::UNKNOWN;
        }
    }

    fn divide32(&mut self, is_div: bool, signed: bool, by: u32, keeps: Keeps) -> bool {
        let (min, max) = (i64::from(self.s32_min), i64::from(self.s32_max));
        let (least, most) = (i64::from(i32::MIN), i64::from(i32::MAX));
        let range = match (is_div, signed) {
            (true, false) => Range::Unsigned(self.u32_min / by, self.u32_max / by),
            (false, false) if self.u32_max < by => return false,
            (false, false) => Range::Unsigned(0, self.u32_max.min(by - 1)),
            (true, true) => {
                let (a, b) = quotients(min, max, i64::from(by as i32), least, most);
                Range::Signed(a as i32, b as i32)
            }
            (false, true) => match remainders(min, max, i64::from(by as i32)) {
                Some((a, b)) => Range::Signed(a as i32, b as i32),
                None => return false,
            },
        };
        match (keeps, range) {
            (Keeps::Arcs, Range::Unsigned(a, b)) => self.set_arc32(Arc::unsigned(a, b)),
            (Keeps::Arcs, Range::Signed(a, b)) => self.set_arc32(Arc::signed(a, b)),
            (Keeps::Bounds, Range::Unsigned(a, b)) => {
                self.set_u32(a, b);
                self.set_s32(i32::MIN, i32::MAX);
            }
            (Keeps::Bounds, Range::Signed(a, b)) => {
                self.set_s32(a, b);
                self.set_u32(0, u32::MAX);
            }
        }
        true
    }

    fn divide64(&mut self, is_div: bool, signed: bool, by: u64, keeps: Keeps) -> bool {
        let range = match (is_div, signed) {
            (true, false) => Range::Unsigned(self.umin / by, self.umax / by),
            (false, false) if self.umax < by => return false,
            (false, false) => Range::Unsigned(0, self.umax.min(by - 1)),
            (true, true) => {
                let (a, b) = quotients(self.smin, self.smax, by as i64, i64::MIN, i64::MAX);
                Range::Signed(a, b)
            }
            (false, true) => match remainders(self.smin, self.smax, by as i64) {
                Some((a, b)) => Range::Signed(a, b),
                None => return false,
            },
        };
        match (keeps, range) {
            (Keeps::Arcs, Range::Unsigned(a, b)) => self.set_arc64(Arc::unsigned(a, b)),
            (Keeps::Arcs, Range::Signed(a, b)) => self.set_arc64(Arc::signed(a, b)),
            (Keeps::Bounds, Range::Unsigned(a, b)) => {
                self.set_u64(a, b);
                self.set_s64(i64::MIN, i64::MAX);
            }
            (Keeps::Bounds, Range::Signed(a, b)) => {
                self.set_s64(a, b);
                self.set_u64(0, u64::MAX);
            }
        }
        true
    }
}

/// Least and greatest quotient of `min..=max` by a constant; the least value of the width divided by -1 overflows.
fn quotients(min: i64, max: i64, by: i64, least: i64, most: i64) -> (i64, i64) {
    if min == least && by == -1 {
        return if max == least { (least, least) } else { (least, most) };
    }
    let (a, b) = (min / by, max / by);
    (a.min(b), a.max(b))
}

/// Least and greatest remainder; None where the dividend is one already.
fn remainders(min: i64, max: i64, by: i64) -> Option<(i64, i64)> {
    let most = by.unsigned_abs().wrapping_sub(1) as i64;
    if min >= -most && max <= most {
        None
    } else if min >= 0 {
        Some((0, max.min(most)))
    } else if max <= 0 {
        Some((min.max(-most), 0))
    } else {
        Some((-most, most))
    }
}
