//! Several instructions as one operation of the processor.
//!
//! Everything here looks at instructions that follow each other without a jump target between them,
//! and leaves out a register's value only where nobody reads it later.  What the backend declines
//! is written instruction by instruction.  Which pairs are worth a look is in the table of [`crate::facts`];
//! a form added here needs its first two instructions there.

use bpfassay_isa::opcode::{Extend, Form, Second};
use bpfassay_isa::{AluOp, Cond, Operand, Reg, Size, SwapKind, SxFrom, Width};

use crate::facts::both;
use crate::source::Access;
use crate::target::{Addr, Space, Target};
use crate::walk::{One, Walk};

/// A shift by a constant.
struct Shifted {
    op: AluOp,
    width: Width,
    dst: Reg,
    n: u32,
}

/// A value in memory on its way to a register.
#[derive(Clone, Copy)]
struct Loaded {
    size: Size,
    sign_extend: bool,
    to: Reg,
    addr: Addr,
}

/// A register that is a sum, and the slots that make it one.
struct Sum {
    t: Reg,
    addr: Addr,
    slots: usize,
}

fn bits(w: Width) -> u32 {
    match w {
        Width::W32 => 32,
        Width::W64 => 64,
    }
}

fn shifted(one: One<'_>) -> Option<Shifted> {
    match one.form() {
        Form::Alu(op @ (AluOp::Lsh | AluOp::Rsh), width, Second::Imm) => {
            let n = one.raw.imm as u32 & (bits(width) - 1);
            Some(Shifted { op, width, dst: one.dst(), n })
        }
        _ => None,
    }
}

impl<T: Target> Walk<'_, T> {
    #[inline]
    fn is_dead_after(&self, slot: usize, r: Reg) -> bool {
        self.read_later(slot) & both(r.0) == 0
    }

    /// Notes what is read after the slot that is written last.
    fn ends_at(&mut self, slot: usize) {
        self.set_live(self.read_later(slot));
    }

    /// Slots written as one, or None.
    #[inline(always)]
    pub(crate) fn fuse(&mut self, slot: usize) -> Option<usize> {
        let (first, then) = (self.ahead(slot, 0)?, self.ahead(slot, 1)?);
        if !first.facts.fuses(first.raw, then.facts, then.raw) || self.is_blinding() {
            return None;
        }
        self.fuse_with(slot, first, then)
    }

    #[inline(never)]
    fn fuse_with(&mut self, slot: usize, first: One<'_>, then: One<'_>) -> Option<usize> {
        let (dst, src) = (first.dst(), first.src());
        match first.form() {
            Form::Alu(AluOp::Mov, width, _) if src != dst => {
                self.copied(slot, width, dst, src, then)
            }
            Form::Alu(AluOp::Add, ..) => self.address(slot),
            Form::Alu(AluOp::Lsh, ..) => match first.raw.imm {
                32 => self.extension(slot, 0, Width::W64, dst, dst),
                1..=3 => self.address(slot),
                _ => None,
            },
            Form::Load(size, extend) if self.is_plain(slot) => {
                let addr = self.addr(slot, src, first.raw.off);
                let sign_extend = extend == Extend::Sext;
                let loaded = Loaded { size, sign_extend, to: dst, addr };
                match self.change_in_place(slot, loaded, then) {
                    Some(used) => Some(used),
                    None => self.loaded_then(slot, loaded, dst, then),
                }
            }
            _ => None,
        }
    }

    fn is_plain(&self, slot: usize) -> bool {
        self.access(slot) == Access::Plain
    }

    /// A copy `d = a`, and an operation on it.
    fn copied(
        &mut self,
        slot: usize,
        width: Width,
        d: Reg,
        a: Reg,
        then: One<'_>,
    ) -> Option<usize> {
        // The copy cut to 32 bits, and all 64 worked on.
        let cut = width == Width::W32 && matches!(then.form(), Form::Alu(_, Width::W64, _));
        if cut && !self.is_upper_zero(Operand::Reg(a)) {
            return None;
        }
        let used = match then.form() {
            Form::Alu(AluOp::Lsh | AluOp::Rsh, _, Second::Imm) => self
                .rotation(slot, width, d, a)
                .or_else(|| self.address(slot))
                .or_else(|| self.extension(slot, 1, width, d, a)),
            Form::Alu(AluOp::Add, Width::W64, _) => self.address(slot),
            _ => None,
        };
        used.or_else(|| self.copy_and_operate(slot, d, a, then))
    }

    /// `t = a; t >>= n - c; d = a; d <<= c; d |= t`, in either order, `d` and `a` one or two registers.
    fn rotation(&mut self, slot: usize, copied: Width, t: Reg, a: Reg) -> Option<usize> {
        let first = shifted(self.ahead(slot, 1)?).filter(|s| s.dst == t)?;
        let width = first.width;
        if copied == Width::W32 && width == Width::W64 {
            return None;
        }
        let second = self.ahead(slot, 2)?;
        let (d, next) = match second.form() {
            Form::Alu(AluOp::Mov, w, Second::Reg)
                if second.src() == a
                    && second.dst() != t
                    && second.dst() != a
                    && (w == Width::W64 || width == Width::W32) =>
            {
                (second.dst(), 3)
            }
            _ => (a, 2),
        };
        let second = shifted(self.ahead(slot, next)?).filter(|s| s.dst == d)?;
        let whole = first.n + second.n == bits(width) && first.n != 0;
        if second.width != width || second.op == first.op || !whole {
            return None;
        }
        let last = slot + next + 1;
        let both = self.ahead(slot, next + 1)?;
        let Form::Alu(AluOp::Or, w, Second::Reg) = both.form() else { return None };
        let (dst, s) = (both.dst(), both.src());
        let other = if (dst, s) == (d, t) {
            t
        } else if (dst, s) == (t, d) {
            d
        } else {
            return None;
        };
        if w != width || !self.is_dead_after(last, other) {
            return None;
        }
        let left = if first.op == AluOp::Lsh { first.n } else { second.n };
        self.ends_at(last);
        if !self.t.try_rotate(width, dst, a, left as u8) {
            return None;
        }
        self.set_upper(dst, width == Width::W32);
        Some(next + 2)
    }

    /// Shifts up and down by 32: an extension.
    fn extension(
        &mut self,
        slot: usize,
        skip: usize,
        copied: Width,
        dst: Reg,
        a: Reg,
    ) -> Option<usize> {
        if copied == Width::W32 {
            return None;
        }
        let up = shifted(self.ahead(slot, skip)?)?;
        if (up.op, up.width, up.dst, up.n) != (AluOp::Lsh, Width::W64, dst, 32) {
            return None;
        }
        let last = slot + skip + 1;
        let down = self.ahead(slot, skip + 1)?;
        if down.dst() != dst || down.raw.imm != 32 {
            return None;
        }
        match down.form() {
            Form::Alu(AluOp::Rsh, Width::W64, Second::Imm) => {
                let after = self.read_later(last);
                self.set_live(after);
                self.operate(after, AluOp::Mov, Width::W32, dst, dst, Operand::Reg(a));
            }
            Form::Alu(AluOp::Arsh, Width::W64, Second::Imm) => {
                self.ends_at(last);
                self.t.movsx(Width::W64, SxFrom::W, dst, a);
                self.set_upper(dst, false);
            }
            _ => return None,
        }
        Some(skip + 2)
    }

    /// `d = a; d op= b` as three operands.
    fn copy_and_operate(&mut self, slot: usize, d: Reg, a: Reg, then: One<'_>) -> Option<usize> {
        use AluOp::*;
        let Form::Alu(op, width, s) = then.form() else { return None };
        if then.dst() != d || matches!(op, Mov | Div | Mod | SDiv | SMod) {
            return None;
        }
        let src = then.second(s);
        let b = if src == Operand::Reg(d) { Operand::Reg(a) } else { src };
        if (op, s) == (Mul, Second::Imm) {
            self.multiplies(slot, a);
        }
        let after = self.read_later(slot + 1);
        self.set_live(after);
        self.operate(after, op, width, d, a, b);
        Some(2)
    }

    /// A sum that is only there to be an address, and the access.
    fn address(&mut self, slot: usize) -> Option<usize> {
        let Sum { t, addr, slots } = self.sum(slot)?;
        let last = slot + slots;
        let access = self.ahead(slot, slots)?;
        let (dst, src) = (access.dst(), access.src());
        let offset = addr.off.checked_add(access.raw.off as i32);
        match access.form() {
            Form::Load(size, extend) if src == t && self.is_plain(last) => {
                if dst != t && !self.is_dead_after(last, t) {
                    return self.scaled(slot, t, addr, slots);
                }
                let addr = Addr { off: offset?, ..addr };
                let sign_extend = extend == Extend::Sext;
                // A register the address needs may be gone if the load is joined with what follows.
                if let Some(then) = self.ahead(last, 1) {
                    let loaded = Loaded { size, sign_extend, to: dst, addr };
                    if let Some(used) = self.loaded_then(last, loaded, t, then) {
                        return Some(slots + used);
                    }
                }
                self.ends_at(last);
                if !self.t.try_load(size, sign_extend, dst, addr) {
                    return None;
                }
                self.set_upper(dst, size != Size::Dw && !sign_extend);
                Some(slots + 1)
            }
            Form::Store(size, s) if dst == t && self.is_plain(last) => {
                let value = access.second(s);
                if value == Operand::Reg(t) || !self.is_dead_after(last, t) {
                    return self.scaled(slot, t, addr, slots);
                }
                let addr = Addr { off: offset?, ..addr };
                self.ends_at(last);
                self.t.try_store(size, addr, value).then_some(slots + 1)
            }
            _ => self.scaled(slot, t, addr, slots),
        }
    }

    /// A scaled sum without an access.
    fn scaled(&mut self, slot: usize, t: Reg, addr: Addr, slots: usize) -> Option<usize> {
        let index = addr.index.filter(|(_, scale)| *scale > 0)?;
        self.ends_at(slot + slots - 1);
        if !self.t.try_lea(Width::W64, t, addr.base, Some(index), addr.off) {
            return None;
        }
        self.set_upper(t, false);
        Some(slots)
    }

    /// The sum that begins here.
    fn sum(&self, slot: usize) -> Option<Sum> {
        let first = self.ahead(slot, 0)?;
        let t = first.dst();
        let (a, n) = match first.form() {
            Form::Alu(AluOp::Mov, Width::W64, Second::Reg) => (first.src(), 1),
            Form::Alu(..) => (t, 0),
            _ => return None,
        };
        let mut one = self.ahead(slot, n)?;
        let mut slots = n + 1;
        let scale = match (one.form(), one.raw.imm) {
            (Form::Alu(AluOp::Lsh, Width::W64, Second::Imm), k @ 1..=3) if one.dst() == t => {
                one = self.ahead(slot, slots)?;
                slots += 1;
                k as u8
            }
            _ => 0,
        };
        let Form::Alu(AluOp::Add, Width::W64, s) = one.form() else { return None };
        let b = one.src();
        if one.dst() != t {
            return None;
        }
        let (base, index, off) = match (s, scale) {
            (Second::Reg, _) if b == t => return None,
            (Second::Reg, 0) => (a, Some((b, 0)), 0),
            (Second::Reg, _) => (b, Some((a, scale)), 0),
            (Second::Imm, 0) => (a, None, one.raw.imm),
            (Second::Imm, _) => return None,
        };
        Some(Sum { t, addr: Addr { base, index, off, space: Space::Plain }, slots })
    }

    /// `x = load; x op= y; store x` to one place.
    fn change_in_place(&mut self, slot: usize, loaded: Loaded, then: One<'_>) -> Option<usize> {
        let Loaded { size, to: x, addr, .. } = loaded;
        let Form::Alu(op, width, s) = then.form() else { return None };
        // 32-bit arithmetic would clear what the place holds above.
        if addr.base == x || then.dst() != x || (size == Size::Dw && width == Width::W32) {
            return None;
        }
        let store = self.ahead(slot, 2)?;
        let Form::Store(stored, Second::Reg) = store.form() else { return None };
        let same = store.dst() == addr.base && store.raw.off as i32 == addr.off;
        if !same || stored != size || store.src() != x {
            return None;
        }
        let last = slot + 2;
        let src = then.second(s);
        if src == Operand::Reg(x) || !self.is_dead_after(last, x) || !self.is_plain(last) {
            return None;
        }
        self.ends_at(last);
        self.t.try_alu_store(op, size, addr, src).then_some(3)
    }

    /// A load and the one instruction its value is for; `t` may have been left out already.
    fn loaded_then(&mut self, slot: usize, loaded: Loaded, t: Reg, then: One<'_>) -> Option<usize> {
        let Loaded { size, sign_extend, to: x, addr } = loaded;
        let last = slot + 1;
        let (dst, src) = (then.dst(), then.src());
        if sign_extend {
            return None;
        }
        match then.form() {
            Form::Swap(SwapKind::ToBe | SwapKind::Bswap, bits)
                if dst == x && bits as u32 == size.bytes() * 8 =>
            {
                self.ends_at(last);
                if !self.t.try_load_swapped(size, x, addr) {
                    return None;
                }
                self.set_upper(x, size != Size::Dw);
            }
            Form::CondJump(cond, width, s) if dst == x => {
                let with = then.second(s);
                let by_t = with == Operand::Reg(x) || with == Operand::Reg(t);
                if by_t || !self.is_dead_after(last, x) || !compares(cond, width, size, s) {
                    return None;
                }
                let to = self.jump_label(last, then.raw.off as i32);
                self.ends_at(last);
                if !self.t.try_cond_jump_load(cond, size, addr, with, to) {
                    return None;
                }
            }
            Form::Alu(op, width, Second::Reg) if src == x && dst != x && dst != t => {
                let fits = size == Size::Dw || (size, width) == (Size::W, Width::W32);
                if !fits || !self.is_dead_after(last, x) || op == AluOp::Mov {
                    return None;
                }
                self.ends_at(last);
                if !self.t.try_alu_load(op, width, dst, addr) {
                    return None;
                }
                self.set_upper(dst, width == Width::W32);
            }
            _ => return None,
        }
        Some(2)
    }
}

/// Whether comparing the zero-extended value at 64 bits gives what the instruction asks.
fn compares(cond: Cond, width: Width, size: Size, with: Second) -> bool {
    use Cond::*;
    let signed = matches!(cond, Sgt | Sge | Slt | Sle);
    match (width, size) {
        (Width::W64, _) => true,
        (Width::W32, Size::Dw) => false,
        (Width::W32, _) if with == Second::Reg => false,
        (Width::W32, Size::W) => !signed,
        (Width::W32, _) => true,
    }
}
