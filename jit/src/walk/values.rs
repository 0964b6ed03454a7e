//! Values: what is known of their upper halves, constants that must not show, and arithmetic as narrow as will do.

use bpfassay_isa::opcode::{Form, Second};
use bpfassay_isa::{AluOp, Cond, Operand, Reg, SwapKind, Width};

use super::Walk;
use crate::facts::{both, Facts, Set, LOW};
use crate::mutation::{has, Mutation};
use crate::narrow;
use crate::survey::Slot;
use crate::target::{Target, AX};

impl<T: Target> Walk<'_, T> {
    #[inline(always)]
    pub fn set_upper(&mut self, r: Reg, zero: bool) {
        if r == Reg::R1 {
            self.r1_map = None;
        }
        let bits = both(r.0);
        self.upper_zero = if zero { self.upper_zero | bits } else { self.upper_zero & !bits };
    }

    #[inline(always)]
    pub fn is_upper_zero(&self, o: Operand) -> bool {
        match o {
            Operand::Reg(r) => self.upper_zero & both(r.0) != 0,
            Operand::Imm(v) => v >= 0,
        }
    }

    pub fn is_blinding(&self) -> bool {
        self.blind.is_some()
    }

    /// The next blinding number; None where nothing is blinded.
    pub(super) fn blinding(&mut self) -> Option<i32> {
        let s = self.blind.as_mut()?;
        *s ^= *s << 13;
        *s ^= *s >> 7;
        *s ^= *s << 17;
        Some((*s >> 16) as i32)
    }

    /// An immediate that must not appear in the code as it is.
    #[inline(always)]
    pub(super) fn blinded(&mut self, width: Width, o: Operand) -> Operand {
        match o {
            Operand::Imm(v) if self.blind.is_some() => self.blind(width, v),
            as_it_is => as_it_is,
        }
    }

    #[cold]
    #[inline(never)]
    pub(super) fn blind(&mut self, width: Width, v: i32) -> Operand {
        let n = self.blinding().unwrap_or(0);
        self.t.alu(AluOp::Mov, width, AX, AX, Operand::Imm(v ^ n));
        self.t.alu(AluOp::Xor, width, AX, AX, Operand::Imm(n));
        Operand::Reg(AX)
    }

    /// Index and constant of a packet's byte; the constant in the index where it is blinded.
    pub(super) fn packet_offset(&mut self, index: Option<Reg>, imm: i32) -> (Option<Reg>, i32) {
        if !self.is_blinding() {
            return (index, imm);
        }
        self.blind(Width::W32, imm);
        if let Some(r) = index {
            self.t.alu(AluOp::Add, Width::W32, AX, AX, Operand::Reg(r));
        }
        (Some(AX), 0)
    }

    pub(super) fn swap(&mut self, kind: SwapKind, bits: u8, dst: Reg) {
        match (kind, bits) {
            (SwapKind::ToLe, 64) => {}
            (SwapKind::ToLe, 32) if self.is_upper_zero(Operand::Reg(dst)) => {}
            (SwapKind::ToLe, 32) => {
                self.t.alu(AluOp::Mov, Width::W32, dst, dst, Operand::Reg(dst));
                self.set_upper(dst, true);
            }
            _ => {
                self.t.swap(kind, bits, dst);
                self.set_upper(dst, bits != 64);
            }
        }
    }

    /// `dst = a op b`, as narrow as what is read of it allows.
    #[inline(always)]
    pub fn alu(&mut self, after: Set, op: AluOp, width: Width, dst: Reg, a: Reg, b: Operand) {
        let wanted = after & both(dst.0);
        if wanted == 0 {
            return;
        }
        let (a0, b0) = (self.is_upper_zero(Operand::Reg(a)), self.is_upper_zero(b));
        let narrows = width == Width::W64 && narrow::narrows(op, b, wanted <= LOW, a0, b0);
        let w = if narrows { Width::W32 } else { width };
        if op == AluOp::Mov && b == Operand::Reg(dst) {
            // Nothing, or the upper half cleared.
            let nothing = w == Width::W64 || width == Width::W64 || b0 || wanted <= LOW;
            if nothing {
                return;
            }
        }
        self.set_upper(dst, w == Width::W32 || narrow::cuts(op, b));
        match b {
            Operand::Imm(v) if self.is_blinding() => self.alu_blind(op, w, dst, a, v),
            // Twice, so that the width is a constant in each.
            _ if w == Width::W32 => self.t.alu(op, Width::W32, dst, a, b),
            _ => self.t.alu(op, Width::W64, dst, a, b),
        }
    }

    #[cold]
    #[inline(never)]
    pub(super) fn alu_blind(&mut self, op: AluOp, w: Width, dst: Reg, a: Reg, v: i32) {
        let b = self.blind(w, v);
        self.t.alu(op, w, dst, a, b);
    }

    /// Says whether a constant is added to the operand of this multiplication nearby, perhaps a round before.
    #[inline(never)]
    pub fn multiplies(&mut self, slot: usize, a: Reg) {
        /// Slots before and behind.
        const NEAR: usize = 24;
        let is_sum = |known: &Slot| {
            use AluOp::{Add, Sub};
            let form = Facts::of(known.row()).form;
            matches!(form, Form::Alu(Add | Sub, Width::W64, Second::Imm))
        };
        let near = slot.saturating_sub(NEAR)..(slot + NEAR).min(self.slots.len());
        let near = self.raw.iter().zip(self.slots).skip(near.start).take(near.len());
        let sums = near.filter(|(_, known)| is_sum(known)).any(|(raw, _)| raw.dst == a.0);
        if !sums && !self.is_blinding() {
            self.t.multiply_by_steps();
        }
    }

    /// As [`Walk::alu`], for forms that are not worth their own copy of it.
    #[inline(never)]
    pub fn operate(&mut self, after: Set, op: AluOp, width: Width, dst: Reg, a: Reg, b: Operand) {
        self.alu(after, op, width, dst, a, b);
    }

    /// Compares 32 bits where 64 would give the same.
    #[inline(always)]
    pub fn compare_width(&self, cond: Cond, width: Width, a: Reg, b: Operand) -> (Cond, Width) {
        use Cond::*;
        if width == Width::W32 || !self.is_upper_zero(Operand::Reg(a)) || !self.is_upper_zero(b) {
            return (cond, width);
        }
        let unsigned = match cond {
            signed if has(Mutation::NarrowKeepsSign) => signed,
            Sgt => Gt,
            Sge => Ge,
            Slt => Lt,
            Sle => Le,
            same => same,
        };
        (unsigned, Width::W32)
    }
}
