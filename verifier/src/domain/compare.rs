//! What a comparison decides, and what is learnt from it (`is_scalar_branch_taken`,
//! `regs_refine_cond_op` of `kernel/bpf/verifier.c`).  Scalars only; knows no branch.

use bpfassay_isa::bits::{Bits, Unsigned, Whole, Word, S64, U64};
use bpfassay_isa::{Cond, Width};
use bpfassay_spec::Features;

use super::reg::RegState;
use super::tnum::Tnum;
use crate::mutation::{self, Mutation};

/// The bounds a comparison of one width looks at, 32-bit ones widened by their own signedness.
struct View<B: Bits> {
    t: Tnum<U64<B>>,
    umin: U64<B>,
    umax: U64<B>,
    smin: S64<B>,
    smax: S64<B>,
}

impl<B: Bits> View<B> {
    fn of(r: &RegState<B>, width: Width) -> View<B> {
        match width {
            Width::W64 => {
                View { t: r.var_off, umin: r.umin, umax: r.umax, smin: r.smin, smax: r.smax }
            }
            Width::W32 => View {
                t: r.var_off.subreg(),
                umin: U64::<B>::zext(r.u32_min),
                umax: U64::<B>::zext(r.u32_max),
                smin: U64::<B>::sext(r.s32_min),
                smax: U64::<B>::sext(r.s32_max),
            },
        }
    }
}

/// `Some(true)` if `a cond b` holds for all values, `Some(false)` if for none.
pub fn is_scalar_branch_taken<B: Bits>(
    a: &RegState<B>,
    b: &RegState<B>,
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
        Cond::Sgt if mutation::has(Mutation::SignedDecidedUnsigned) => {
            decide(x.umin > y.umax, x.umax <= y.umin)
        }
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

fn is_equal<B: Bits>(
    a: &RegState<B>,
    b: &RegState<B>,
    x: &View<B>,
    y: &View<B>,
    width: Width,
) -> Option<bool> {
    if x.t.is_const() && y.t.is_const() {
        return Some(x.t.value == y.t.value);
    }
    let apart = !x.t.overlaps(y.t)
        || (x.umin > y.umax || x.umax < y.umin)
        || (x.smin > y.smax || x.smax < y.smin)
        || (width == Width::W64 && are_low_halves_apart(a, b));
    apart.then_some(false)
}

fn are_low_halves_apart<B: Bits>(a: &RegState<B>, b: &RegState<B>) -> bool {
    a.u32_min > b.u32_max || a.u32_max < b.u32_min || a.s32_min > b.s32_max || a.s32_max < b.s32_min
}

/// Decides only against a constant, on either side.
fn is_bit_set<B: Bits>(
    a: &RegState<B>,
    b: &RegState<B>,
    x: &View<B>,
    y: &View<B>,
    width: Width,
) -> Option<bool> {
    let narrow = width == Width::W32;
    let (t, k) = if b.is_const(narrow) {
        (x.t, y.t.value)
    } else if a.is_const(narrow) {
        (y.t, x.t.value)
    } else {
        return None;
    };
    if mutation::has(Mutation::JsetInverted) {
        return decide(t.umax() & k == U64::<B>::ZERO, t.value & k != U64::<B>::ZERO);
    }
    decide(t.value & k != U64::<B>::ZERO, t.umax() & k == U64::<B>::ZERO)
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
pub struct Pair<B: Bits = bpfassay_isa::bits::Machine> {
    regs: [RegState<B>; 2],
    /// Where the second operand is kept: 1, or 0 for the same register.
    second: usize,
}

impl<B: Bits> Pair<B> {
    pub fn of(a: RegState<B>, b: RegState<B>, same: bool) -> Pair<B> {
        Pair { regs: [a, b], second: if same { 0 } else { 1 } }
    }

    pub fn first(&self) -> &RegState<B> {
        &self.regs[0]
    }

    pub fn second(&self) -> &RegState<B> {
        &self.regs[self.second]
    }

    pub fn first_mut(&mut self) -> &mut RegState<B> {
        &mut self.regs[0]
    }

    pub fn second_mut(&mut self) -> &mut RegState<B> {
        &mut self.regs[self.second]
    }

    /// Narrows both registers by what is known to hold, then exchanges their bounds.
    pub fn refine(&mut self, fact: Fact, width: Width, f: &Features) {
        self.learn(fact, width);
        for i in [0, self.second] {
            self.regs[i].sync(f);
        }
    }

    /// The narrowing alone.
    pub fn learn(&mut self, fact: Fact, width: Width) {
        let (a, b) = (0, self.second);
        match fact {
            Fact::Holds(c @ (Cond::Ge | Cond::Gt | Cond::Sge | Cond::Sgt)) => {
                self.apply(Fact::Holds(flip(c)), width, b, a)
            }
            fact => self.apply(fact, width, a, b),
        }
    }

    fn apply(&mut self, fact: Fact, width: Width, a: usize, b: usize) {
        match fact {
            Fact::Holds(Cond::Eq) => self.make_equal(width, a, b),
            Fact::Holds(Cond::Ne) => self.trim_edge(width, a, b),
            Fact::Holds(Cond::Set) => self.set_bit(width, a, b),
            Fact::NoneSet => self.clear_bits(width, a, b),
            Fact::Holds(Cond::Le | Cond::Lt) => {
                let strict = mutation::has(Mutation::LeIsStrict);
                self.order_unsigned(width, a, b, strict || fact == Fact::Holds(Cond::Lt))
            }
            Fact::Holds(_) => self.order_signed(width, a, b, fact == Fact::Holds(Cond::Slt)),
        }
    }

    fn make_equal(&mut self, width: Width, a: usize, b: usize) {
        let other = self.regs[b];
        let r = &mut self.regs[a];
        let (u, s, t) = match width {
            Width::W32 => {
                r.set_u32(r.u32_min.at_least(other.u32_min), r.u32_max.at_most(other.u32_max));
                r.set_s32(r.s32_min.at_least(other.s32_min), r.s32_max.at_most(other.s32_max));
                let (u, s) = ((r.u32_min, r.u32_max), (r.s32_min, r.s32_max));
                self.regs[b].set_u32(u.0, u.1);
                self.regs[b].set_s32(s.0, s.1);
                let t = self.regs[a].var_off.subreg().intersect(self.regs[b].var_off.subreg());
                for i in [a, b] {
                    self.regs[i].var_off = match mutation::has(Mutation::Jeq32LearnsAll) {
                        true => t,
                        false => self.regs[i].var_off.with_subreg(t),
                    };
                }
                return;
            }
            Width::W64 => {
                r.set_u64(r.umin.at_least(other.umin), r.umax.at_most(other.umax));
                r.set_s64(r.smin.at_least(other.smin), r.smax.at_most(other.smax));
                r.var_off = r.var_off.intersect(other.var_off);
                ((r.umin, r.umax), (r.smin, r.smax), r.var_off)
            }
        };
        self.regs[b].set_u64(u.0, u.1);
        self.regs[b].set_s64(s.0, s.1);
        self.regs[b].var_off = t;
    }

    /// The operand that is not the constant, and the constant; None if neither is one.
    fn split_const(&self, width: Width, a: usize, b: usize) -> Option<(usize, U64<B>)> {
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
        match width {
            Width::W32 => {
                trim(&mut r.u32_min, &mut r.u32_max, v.low());
                trim(&mut r.s32_min, &mut r.s32_max, v.low().signed());
            }
            Width::W64 => {
                trim(&mut r.umin, &mut r.umax, v);
                trim(&mut r.smin, &mut r.smax, v.signed());
            }
        }
    }

    /// Some bit of the mask is set: says which only for a mask of one bit.
    fn set_bit(&mut self, width: Width, a: usize, b: usize) {
        let Some((r, v)) = self.split_const(width, a, b) else { return };
        let zero = U64::<B>::ZERO;
        if v == zero || v & v.minus(U64::<B>::lit(1)) != zero {
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
        match width {
            Width::W32 => {
                let limit = below(self.regs[b].u32_max, strict);
                self.regs[a].u32_max = self.regs[a].u32_max.at_most(limit);
                let limit = above(self.regs[a].u32_min, strict);
                self.regs[b].u32_min = self.regs[b].u32_min.at_least(limit);
            }
            Width::W64 => {
                let limit = below(self.regs[b].umax, strict);
                self.regs[a].umax = self.regs[a].umax.at_most(limit);
                let limit = above(self.regs[a].umin, strict);
                self.regs[b].umin = self.regs[b].umin.at_least(limit);
            }
        }
    }

    fn order_signed(&mut self, width: Width, a: usize, b: usize, strict: bool) {
        match width {
            Width::W32 => {
                let limit = below(self.regs[b].s32_max, strict);
                self.regs[a].s32_max = self.regs[a].s32_max.at_most(limit);
                let limit = above(self.regs[a].s32_min, strict);
                self.regs[b].s32_min = self.regs[b].s32_min.at_least(limit);
            }
            Width::W64 => {
                let limit = below(self.regs[b].smax, strict);
                self.regs[a].smax = self.regs[a].smax.at_most(limit);
                let limit = above(self.regs[a].smin, strict);
                self.regs[b].smin = self.regs[b].smin.at_least(limit);
            }
        }
    }
}

/// The greatest value that may lie below `max`, or at it; wraps.
#[inline]
fn below<W: Word>(max: W, strict: bool) -> W {
    if strict {
        max.minus(W::lit(1))
    } else {
        max
    }
}

/// The least value that may lie above `min`, or at it; wraps.
#[inline]
fn above<W: Word>(min: W, strict: bool) -> W {
    if strict {
        min.plus(W::lit(1))
    } else {
        min
    }
}

/// Takes `v` off the ends of a range.
#[inline]
fn trim<W: Word>(min: &mut W, max: &mut W, v: W) {
    if *min == v || mutation::has(Mutation::NeTrimsAlways) {
        *min = min.plus(W::lit(1));
    }
    if *max == v {
        *max = max.minus(W::lit(1));
    }
}
