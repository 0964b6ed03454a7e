//! What a comparison decides, and what is learnt from it (`is_scalar_branch_taken`,
//! `regs_refine_cond_op` of `kernel/bpf/verifier.c`).  Scalars only; knows no branch.

use bpfassay_isa::{Cond, Width};
use bpfassay_spec::Features;

use super::reg::RegState;
use super::tnum::Tnum;

/// The bounds a comparison of one width looks at, 32-bit ones widened by their own signedness.
struct View {
    t: Tnum,
    umin: u64,
    umax: u64,
    smin: i64,
    smax: i64,
}

impl View {
    fn of(r: &RegState, width: Width) -> View {
        match width {
            Width::W64 => {
                View { t: r.var_off, umin: r.umin, umax: r.umax, smin: r.smin, smax: r.smax }
            }
            Width::W32 => View {
                t: r.var_off.subreg(),
                umin: r.u32_min as u64,
                umax: r.u32_max as u64,
                smin: r.s32_min as i64,
                smax: r.s32_max as i64,
            },
        }
    }
}

/// `Some(true)` if `a cond b` holds for all values, `Some(false)` if for none.
pub fn is_scalar_branch_taken(
    a: &RegState,
    b: &RegState,
    cond: Cond,
    width: Width,
) -> Option<bool> {
    let (x, y) = (View::of(a, width), View::of(b, width));
    match cond {
        Cond::Eq => is_equal(a, b, &x, &y, width),
        Cond::Ne => is_equal(a, b, &x, &y, width).map(|e| !e),
        Cond::Set => is_bit_set(a, b, &x, &y, width),
        Cond::Gt => decide(x.umin > y.umax, x.umax <= y.umin),
        Cond::Ge => decide(x.umin >= y.umax, x.umax < y.umin),
        Cond::Lt => decide(x.umax < y.umin, x.umin >= y.umax),
        Cond::Le => decide(x.umax <= y.umin, x.umin > y.umax),
        Cond::Sgt => decide(x.smin > y.smax, x.smax <= y.smin),
        Cond::Sge => decide(x.smin >= y.smax, x.smax < y.smin),
        Cond::Slt => decide(x.smax < y.smin, x.smin >= y.smax),
        Cond::Sle => decide(x.smax <= y.smin, x.smin > y.smax),
    }
}

fn decide(always: bool, never: bool) -> Option<bool> {
    if always {
        Some(true)
    } else if never {
        Some(false)
    } else {
        None
    }
}

fn is_equal(a: &RegState, b: &RegState, x: &View, y: &View, width: Width) -> Option<bool> {
    if x.t.is_const() && y.t.is_const() {
        return Some(x.t.value == y.t.value);
    }
    let apart = !x.t.overlaps(y.t)
        || (x.umin > y.umax || x.umax < y.umin)
        || (x.smin > y.smax || x.smax < y.smin)
        || (width == Width::W64 && are_low_halves_apart(a, b));
    apart.then_some(false)
}

fn are_low_halves_apart(a: &RegState, b: &RegState) -> bool {
    a.u32_min > b.u32_max || a.u32_max < b.u32_min || a.s32_min > b.s32_max || a.s32_max < b.s32_min
}

/// Decides only against a constant, on either side.
fn is_bit_set(a: &RegState, b: &RegState, x: &View, y: &View, width: Width) -> Option<bool> {
    let narrow = width == Width::W32;
    let (t, k) = if b.is_const(narrow) {
        (x.t, y.t.value)
    } else if a.is_const(narrow) {
        (y.t, x.t.value)
    } else {
        return None;
    };
    decide(t.value & k != 0, t.umax() & k == 0)
}

/// A comparison known to hold; the negation of JSET has no condition of its own.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fact {
    Holds(Cond),
    /// No bit of the mask is set.
    NoneSet,
}

impl Fact {
    /// What holds where the jump is not taken (`rev_opcode`).
    pub fn not(cond: Cond) -> Fact {
        Fact::Holds(match cond {
            Cond::Eq => Cond::Ne,
            Cond::Ne => Cond::Eq,
            Cond::Set => return Fact::NoneSet,
            Cond::Ge => Cond::Lt,
            Cond::Gt => Cond::Le,
            Cond::Le => Cond::Gt,
            Cond::Lt => Cond::Ge,
            Cond::Sge => Cond::Slt,
            Cond::Sgt => Cond::Sle,
            Cond::Sle => Cond::Sgt,
            Cond::Slt => Cond::Sge,
        })
    }
}

/// `b cond' a` that says the same as `a cond b` (`flip_opcode`).
pub fn flip(cond: Cond) -> Cond {
    match cond {
        Cond::Eq | Cond::Ne | Cond::Set => cond,
        Cond::Ge => Cond::Le,
        Cond::Gt => Cond::Lt,
        Cond::Le => Cond::Ge,
        Cond::Lt => Cond::Gt,
        Cond::Sge => Cond::Sle,
        Cond::Sgt => Cond::Slt,
        Cond::Sle => Cond::Sge,
        Cond::Slt => Cond::Sgt,
    }
}

/// Two compared registers, which may be one and the same: both operands then change together,
/// step by step, as they do in the kernel where two pointers reach one record.
#[derive(Clone, Copy, Debug)]
pub struct Pair {
    regs: [RegState; 2],
    /// Where the second operand is kept: 1, or 0 for the same register.
    second: usize,
}

impl Pair {
    pub fn of(a: RegState, b: RegState, same: bool) -> Pair {
        Pair { regs: [a, b], second: if same { 0 } else { 1 } }
    }

    pub fn first(&self) -> &RegState {
        &self.regs[0]
    }

    pub fn second(&self) -> &RegState {
        &self.regs[self.second]
    }

    pub fn first_mut(&mut self) -> &mut RegState {
        &mut self.regs[0]
    }

    pub fn second_mut(&mut self) -> &mut RegState {
        &mut self.regs[self.second]
    }

    /// Narrows both registers by what is known to hold, then exchanges their bounds.
    pub fn refine(&mut self, fact: Fact, width: Width, f: Features) {
        let (a, b) = (0, self.second);
        match fact {
            Fact::Holds(c @ (Cond::Ge | Cond::Gt | Cond::Sge | Cond::Sgt)) => {
                self.apply(Fact::Holds(flip(c)), width, b, a)
            }
            fact => self.apply(fact, width, a, b),
        }
        self.regs[0].sync(f);
        self.regs[self.second].sync(f);
    }

    fn apply(&mut self, fact: Fact, width: Width, a: usize, b: usize) {
        match fact {
            Fact::Holds(Cond::Eq) => self.make_equal(width, a, b),
            Fact::Holds(Cond::Ne) => self.trim_edge(width, a, b),
            Fact::Holds(Cond::Set) => self.set_bit(width, a, b),
            Fact::NoneSet => self.clear_bits(width, a, b),
            Fact::Holds(Cond::Le | Cond::Lt) => {
                self.order_unsigned(width, a, b, fact == Fact::Holds(Cond::Lt))
            }
            Fact::Holds(_) => self.order_signed(width, a, b, fact == Fact::Holds(Cond::Slt)),
        }
    }

    fn make_equal(&mut self, width: Width, a: usize, b: usize) {
        let other = self.regs[b];
        let r = &mut self.regs[a];
        let (u, s, t) = match width {
            Width::W32 => {
                r.set_u32(r.u32_min.max(other.u32_min), r.u32_max.min(other.u32_max));
                r.set_s32(r.s32_min.max(other.s32_min), r.s32_max.min(other.s32_max));
                let (u, s) = ((r.u32_min, r.u32_max), (r.s32_min, r.s32_max));
                self.regs[b].set_u32(u.0, u.1);
                self.regs[b].set_s32(s.0, s.1);
                let t = self.regs[a].var_off.subreg().intersect(self.regs[b].var_off.subreg());
                for i in [a, b] {
                    self.regs[i].var_off = self.regs[i].var_off.with_subreg(t);
                }
                return;
            }
            Width::W64 => {
                r.set_u64(r.umin.max(other.umin), r.umax.min(other.umax));
                r.set_s64(r.smin.max(other.smin), r.smax.min(other.smax));
                r.var_off = r.var_off.intersect(other.var_off);
                ((r.umin, r.umax), (r.smin, r.smax), r.var_off)
            }
        };
        self.regs[b].set_u64(u.0, u.1);
        self.regs[b].set_s64(s.0, s.1);
        self.regs[b].var_off = t;
    }

    /// The operand that is not the constant, and the constant; None if neither is one.
    fn split_const(&self, width: Width, a: usize, b: usize) -> Option<(usize, u64)> {
        let narrow = width == Width::W32;
        let (r, k) = if self.regs[b].is_const(narrow) { (a, b) } else { (b, a) };
        if !self.regs[k].is_const(narrow) {
            return None;
        }
        let t = self.regs[k].var_off;
        Some((r, if narrow { t.subreg().value } else { t.value }))
    }

    /// Not equal to a constant: helps only where the constant is an end of a range.
    fn trim_edge(&mut self, width: Width, a: usize, b: usize) {
        let Some((r, v)) = self.split_const(width, a, b) else { return };
        let r = &mut self.regs[r];
        macro_rules! trim {
            ($min:ident, $max:ident, $t:ty) => {
                if r.$min == v as $t {
                    r.$min = r.$min.wrapping_add(1);
                }
                if r.$max == v as $t {
                    r.$max = r.$max.wrapping_sub(1);
                }
            };
        }
        match width {
            Width::W32 => {
                trim!(u32_min, u32_max, u32);
                trim!(s32_min, s32_max, i32);
            }
            Width::W64 => {
                trim!(umin, umax, u64);
                trim!(smin, smax, i64);
            }
        }
    }

    /// Some bit of the mask is set: says which only for a mask of one bit.
    fn set_bit(&mut self, width: Width, a: usize, b: usize) {
        let Some((r, v)) = self.split_const(width, a, b) else { return };
        if !v.is_power_of_two() {
            return;
        }
        let t = self.regs[r].var_off;
        self.regs[r].var_off = match width {
            Width::W32 => t.with_subreg(t.subreg().or(Tnum::constant(v))),
            Width::W64 => t.or(Tnum::constant(v)),
        };
    }

    /// No bit of the mask is set.  Ranges are forgotten first, lest they contradict the tnum on a dead branch.
    fn clear_bits(&mut self, width: Width, a: usize, b: usize) {
        let Some((r, v)) = self.split_const(width, a, b) else { return };
        self.regs[r].mark_unbounded();
        let t = self.regs[r].var_off;
        self.regs[r].var_off = match width {
            Width::W32 => t.with_subreg(t.subreg().and(Tnum::constant(!v))),
            Width::W64 => t.and(Tnum::constant(!v)),
        };
    }

    /// `a <= b`, or `a < b` if strict: each bounds the other.
    fn order_unsigned(&mut self, width: Width, a: usize, b: usize, strict: bool) {
        let step = strict as u32;
        match width {
            Width::W32 => {
                let limit = self.regs[b].u32_max.wrapping_sub(step);
                self.regs[a].u32_max = self.regs[a].u32_max.min(limit);
                let limit = self.regs[a].u32_min.wrapping_add(step);
                self.regs[b].u32_min = self.regs[b].u32_min.max(limit);
            }
            Width::W64 => {
                let limit = self.regs[b].umax.wrapping_sub(step as u64);
                self.regs[a].umax = self.regs[a].umax.min(limit);
                let limit = self.regs[a].umin.wrapping_add(step as u64);
                self.regs[b].umin = self.regs[b].umin.max(limit);
            }
        }
    }

    fn order_signed(&mut self, width: Width, a: usize, b: usize, strict: bool) {
        let step = strict as i32;
        match width {
            Width::W32 => {
                let limit = self.regs[b].s32_max.wrapping_sub(step);
                self.regs[a].s32_max = self.regs[a].s32_max.min(limit);
                let limit = self.regs[a].s32_min.wrapping_add(step);
                self.regs[b].s32_min = self.regs[b].s32_min.max(limit);
            }
            Width::W64 => {
                let limit = self.regs[b].smax.wrapping_sub(step as i64);
                self.regs[a].smax = self.regs[a].smax.min(limit);
                let limit = self.regs[a].smin.wrapping_add(step as i64);
                self.regs[b].smin = self.regs[b].smin.max(limit);
            }
        }
    }
}
