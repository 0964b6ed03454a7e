//! What a comparison teaches where ranges are arcs, and both outcomes tried, of which one that leaves no value is
//! dead (`regs_refine_cond_op` of 7.2, `simulate_both_branches_taken` of 7.1).

use bpfassay_isa::bits::{Bits, Machine, Unsigned, Whole, Word, S64, U64};
use bpfassay_isa::{Cond, Width};
use bpfassay_spec::Features;

use super::arc::Arc;
use super::compare::{flip, Fact, Pair};
use super::reg::RegState;

/// `a` compared with `b` on both outcomes: what the registers are where the jump is not taken, and where it is.
/// `taken` is known where one outcome leaves a register without a value (`simulate_both_branches_taken`).
pub struct BothBranches<B: Bits = Machine> {
    pub not_taken: Pair<B>,
    pub taken: Pair<B>,
    pub decided: Option<bool>,
}

/// Narrows both outcomes; a branch that cannot be is found out.
pub fn simulate<B: Bits>(
    a: RegState<B>,
    b: RegState<B>,
    cond: Cond,
    width: Width,
    f: &Features,
) -> BothBranches<B> {
    let refine = |pair: &mut Pair<B>, fact: Fact| match f.circular_ranges {
        true => pair.refine_arcs(fact, width),
        false => pair.refine(fact, width, f),
    };
    let is_impossible = |r: &RegState<B>| match f.circular_ranges {
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
pub fn compared_with_itself<B: Bits>(r: &RegState<B>, cond: Cond, width: Width) -> Option<bool> {
    match cond {
        Cond::Ge | Cond::Le | Cond::Sge | Cond::Sle | Cond::Eq => Some(true),
        Cond::Gt | Cond::Lt | Cond::Sgt | Cond::Slt | Cond::Ne => Some(false),
        Cond::Set => {
            let (t, smin, smax) = match width {
                Width::W64 => (r.var_off, r.smin, r.smax),
                Width::W32 => {
                    let wide = U64::<B>::sext;
                    (r.var_off.subreg(), wide(r.s32_min), wide(r.s32_max))
                }
            };
            let zero = S64::<B>::ZERO;
            if t.is_const() {
                Some(t.value != U64::<B>::ZERO)
            } else if smin <= zero && smax >= zero {
                None
            } else {
                Some(true)
            }
        }
    }
}

impl<B: Bits> Pair<B> {
    /// Narrows both registers by what is known to hold, then exchanges their bounds.
    fn refine_arcs(&mut self, fact: Fact, width: Width) {
        self.narrow_arcs(fact, width);
        self.first_mut().exchange_arcs();
        self.second_mut().exchange_arcs();
    }

    /// The narrowing alone (`regs_refine_cond_op`).
    pub fn narrow_arcs(&mut self, fact: Fact, width: Width) {
        match fact {
            Fact::Holds(c @ (Cond::Ge | Cond::Gt | Cond::Sge | Cond::Sgt)) => {
                self.learn_arcs(Fact::Holds(flip(c)), width, true)
            }
            fact => self.learn_arcs(fact, width, false),
        }
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

fn make_equal<B: Bits>(a: &mut RegState<B>, b: &mut RegState<B>, width: Width) {
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
fn differ<B: Bits>(a: &mut RegState<B>, b: &mut RegState<B>, width: Width) {
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
            r.set_arc32(r.arc32().intersect(all_but(k.var_off.subreg().value.low())));
        }
        Width::W64 => r.set_arc64(r.arc64().intersect(all_but(k.var_off.value))),
    }
}

fn all_but<U: Unsigned>(v: U) -> Arc<U> {
    Arc { base: v.plus(U::lit(1)), len: U::MAX.minus(U::lit(1)) }
}

/// `a < b` or `a <= b`, signed or not: each bounds the other.
fn order<B: Bits>(a: &mut RegState<B>, b: &mut RegState<B>, width: Width, cond: Cond) {
    let strict = matches!(cond, Cond::Lt | Cond::Slt);
    let is_unsigned = matches!(cond, Cond::Lt | Cond::Le);
    match width {
        Width::W32 => {
            let most = (b.u32_max, b.s32_max);
            a.set_arc32(a.arc32().intersect(arc_below(most, is_unsigned, strict)));
            b.set_arc32(b.arc32().intersect(arc_above(a.arc32(), is_unsigned, strict)));
        }
        Width::W64 => {
            let most = (b.umax, b.smax);
            a.set_arc64(a.arc64().intersect(arc_below(most, is_unsigned, strict)));
            b.set_arc64(b.arc64().intersect(arc_above(a.arc64(), is_unsigned, strict)));
        }
    }
}

/// What may be below one of these two bounds.
fn arc_below<U: Unsigned>(most: (U, U::Signed), is_unsigned: bool, strict: bool) -> Arc<U> {
    match is_unsigned {
        true => Arc::unsigned(U::ZERO, most.0.minus(U::lit(strict.into()))),
        false => Arc::signed(U::Signed::MIN, most.1.minus(U::Signed::lit(strict.into()))),
    }
}

/// What may be above the values of an arc; of an empty one too, as the kernel reads its bounds.
fn arc_above<U: Unsigned>(arc: Arc<U>, is_unsigned: bool, strict: bool) -> Arc<U> {
    match is_unsigned {
        true => {
            let least = arc.unsigned_bounds().0;
            Arc::unsigned(least.plus(U::lit(strict.into())), U::MAX)
        }
        false => {
            let least = arc.signed_bounds().0;
            Arc::signed(least.plus(U::Signed::lit(strict.into())), U::Signed::MAX)
        }
    }
}
