//! What a comparison teaches before 6.8: a register against a constant, or two registers that are equal
//! (`reg_set_min_max`, `reg_combine_min_max` of 6.1).  The constant itself learns nothing.

use bpfassay_isa::bits::{Bits, Unsigned, Whole, Word, U32, U64};
use bpfassay_isa::{Cond, Width};
use bpfassay_spec::Features;

use super::compare::{flip, Fact, Pair};
use super::reg::RegState;
use super::tnum::Tnum;

/// The compared registers where the jump is not taken, and where it is.
pub fn refine_both<B: Bits>(
    a: RegState<B>,
    b: RegState<B>,
    same: bool,
    (cond, width): (Cond, Width),
    f: &Features,
) -> (Pair<B>, Pair<B>) {
    let (mut not_taken, mut taken) = (Pair::of(a, b, same), Pair::of(a, b, same));
    let narrow = width == Width::W32;
    if b.is_const(narrow) {
        not_taken.first_mut().learn_against(b.var_off.value, Fact::not(cond), width, f);
        taken.first_mut().learn_against(b.var_off.value, Fact::Holds(cond), width, f);
    } else if a.is_const(narrow) {
        let cond = flip(cond);
        not_taken.second_mut().learn_against(a.var_off.value, Fact::not(cond), width, f);
        taken.second_mut().learn_against(a.var_off.value, Fact::Holds(cond), width, f);
    } else if !narrow && matches!(cond, Cond::Eq | Cond::Ne) {
        let equal = if cond == Cond::Eq { &mut taken } else { &mut not_taken };
        equal.refine(Fact::Holds(Cond::Eq), width, f);
    }
    (not_taken, taken)
}

impl<B: Bits> RegState<B> {
    fn learn_against(&mut self, k: U64<B>, fact: Fact, width: Width, f: &Features) {
        self.narrow_by_constant(k, fact, width);
        self.sync(f);
    }

    /// What `self fact k` says of `self`, before bounds are exchanged; where that contradicts what was known,
    /// bounds cross.
    pub fn narrow_by_constant(&mut self, k: U64<B>, fact: Fact, width: Width) {
        match width {
            Width::W32 => {
                self.narrow32(k.low(), fact);
                self.combine_32_into_64();
            }
            Width::W64 => {
                self.narrow64(k, fact);
                self.combine_64_into_32();
            }
        }
    }

    fn narrow32(&mut self, k: U32<B>, fact: Fact) {
        let one = U32::<B>::lit(1);
        let signed_one = one.signed();
        match fact {
            Fact::Holds(Cond::Eq) => self.mark_known32(k),
            Fact::Holds(Cond::Ne) => {}
            Fact::NoneSet => {
                self.mark_unbounded();
                let low = self.var_off.subreg();
                let mask = Tnum::constant(U64::<B>::zext(!k));
                self.var_off = self.var_off.with_subreg(low.and(mask));
            }
            Fact::Holds(Cond::Set) => {
                if is_one_bit(k) {
                    let low = self.var_off.subreg();
                    let bit = Tnum::constant(U64::<B>::zext(k));
                    self.var_off = self.var_off.with_subreg(low.or(bit));
                }
            }
            Fact::Holds(Cond::Ge) => self.u32_min = self.u32_min.at_least(k),
            Fact::Holds(Cond::Gt) => self.u32_min = self.u32_min.at_least(k.plus(one)),
            Fact::Holds(Cond::Le) => self.u32_max = self.u32_max.at_most(k),
            Fact::Holds(Cond::Lt) => self.u32_max = self.u32_max.at_most(k.minus(one)),
            Fact::Holds(Cond::Sge) => self.s32_min = self.s32_min.at_least(k.signed()),
            Fact::Holds(Cond::Sgt) => {
                self.s32_min = self.s32_min.at_least(k.signed().plus(signed_one));
            }
            Fact::Holds(Cond::Sle) => self.s32_max = self.s32_max.at_most(k.signed()),
            Fact::Holds(Cond::Slt) => {
                self.s32_max = self.s32_max.at_most(k.signed().minus(signed_one));
            }
        }
    }

    fn narrow64(&mut self, k: U64<B>, fact: Fact) {
        let one = U64::<B>::lit(1);
        let signed_one = one.signed();
        match fact {
            Fact::Holds(Cond::Eq) => self.set_known_value(k),
            Fact::Holds(Cond::Ne) => {}
            Fact::NoneSet => {
                self.mark_unbounded();
                self.var_off = self.var_off.and(Tnum::constant(!k));
            }
            Fact::Holds(Cond::Set) => {
                if is_one_bit(k) {
                    self.var_off = self.var_off.or(Tnum::constant(k));
                }
            }
            Fact::Holds(Cond::Ge) => self.umin = self.umin.at_least(k),
            Fact::Holds(Cond::Gt) => self.umin = self.umin.at_least(k.plus(one)),
            Fact::Holds(Cond::Le) => self.umax = self.umax.at_most(k),
            Fact::Holds(Cond::Lt) => self.umax = self.umax.at_most(k.minus(one)),
            Fact::Holds(Cond::Sge) => self.smin = self.smin.at_least(k.signed()),
            Fact::Holds(Cond::Sgt) => self.smin = self.smin.at_least(k.signed().plus(signed_one)),
            Fact::Holds(Cond::Sle) => self.smax = self.smax.at_most(k.signed()),
            Fact::Holds(Cond::Slt) => self.smax = self.smax.at_most(k.signed().minus(signed_one)),
        }
    }
}

fn is_one_bit<W: Word>(v: W) -> bool {
    v != W::ZERO && v & v.minus(W::lit(1)) == W::ZERO
}
