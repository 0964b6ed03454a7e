//! Several instructions as one operation of the processor.
//!
//! Everything here looks at instructions that follow each other without a jump target between them,
//! and leaves out a register's value only where nobody reads it later.  What the backend declines
//! is written instruction by instruction.

use bpfassay_isa::{AluOp, Cond, Insn, Operand, Reg, Size, SwapKind, SxFrom, Width};

use crate::buf::Label;
use crate::flow::both;
use crate::scan::target;
use crate::source::Access;
use crate::target::{Addr, Space, Target};
use crate::walk::Walk;

/// A register copied, or one that is changed: `dst = a op imm`.
struct Shifted {
    op: AluOp,
    width: Width,
    dst: Reg,
    n: u32,
}

fn bits(w: Width) -> u32 {
    match w {
        Width::W32 => 32,
        Width::W64 => 64,
    }
}

fn shifted(insn: Insn) -> Option<Shifted> {
    match insn {
        Insn::Alu { op: op @ (AluOp::Lsh | AluOp::Rsh), width, dst, src: Operand::Imm(n) } => {
            Some(Shifted { op, width, dst, n: n as u32 & (bits(width) - 1) })
        }
        _ => None,
    }
}

impl<T: Target> Walk<'_, T> {
    /// The instruction `n` slots on, if control comes there only through those between.
    #[inline]
    fn ahead(&self, slot: usize, n: usize) -> Option<Insn> {
        let at = slot + n;
        (n == 0 || self.falls_in(at)).then(|| self.scan.insns.get(at).copied()).flatten()
    }

    #[inline]
    fn is_dead_after(&self, slot: usize, r: Reg) -> bool {
        self.read_later(slot) & both(r) == 0
    }

    fn set_live(&mut self, slot: usize) {
        let after = self.read_later(slot);
        self.t.buf().live = (after | after >> 16) as u16;
    }

    /// Slots written as one, or None.
    #[inline]
    pub(crate) fn fuse(&mut self, slot: usize, insn: Insn) -> Option<usize> {
        match insn {
            Insn::Alu { op: AluOp::Mov, width, dst, src: Operand::Reg(a) } if a != dst => self
                .rotation(slot, width, dst, a)
                .or_else(|| self.address(slot))
                .or_else(|| self.extension(slot, 1, width, dst, a))
                .or_else(|| self.copy_and_operate(slot, width, dst, a)),
            Insn::Alu { op: AluOp::Add, width: Width::W64, dst, .. } => {
                // Sums are frequent, and seldom addresses.
                match self.scan.insns.get(slot + 1) {
                    Some(Insn::Load { src, .. }) if *src == dst => self.address(slot),
                    Some(Insn::Store { dst: base, .. }) if *base == dst => self.address(slot),
                    _ => None,
                }
            }
            Insn::Alu { op: AluOp::Lsh, width: Width::W64, dst, src: Operand::Imm(n) } => match n {
                32 => self.extension(slot, 0, Width::W64, dst, dst),
                1..=3 => self.address(slot),
                _ => None,
            },
            Insn::Load { size, sign_extend, dst, src, off } if self.is_plain(slot) => {
                let addr = self.addr(slot, src, off);
                self.change_in_place(slot, size, dst, addr)
                    .or_else(|| self.loaded(slot, size, sign_extend, dst, addr))
            }
            _ => None,
        }
    }

    fn is_plain(&self, slot: usize) -> bool {
        self.access(slot) == Access::Plain
    }

    /// `t = a; t >>= n - c; d = a; d <<= c; d |= t`, in either order, `d` and `a` one or two registers.
    fn rotation(&mut self, slot: usize, copied: Width, t: Reg, a: Reg) -> Option<usize> {
        let first = shifted(self.ahead(slot, 1)?).filter(|s| s.dst == t)?;
        let width = first.width;
        if copied == Width::W32 && width == Width::W64 {
            return None;
        }
        let (d, next) = match self.ahead(slot, 2)? {
            Insn::Alu { op: AluOp::Mov, width: w, dst, src: Operand::Reg(s) }
                if s == a && dst != t && dst != a && (w == Width::W64 || width == Width::W32) =>
            {
                (dst, 3)
            }
            _ => (a, 2),
        };
        let second = shifted(self.ahead(slot, next)?).filter(|s| s.dst == d)?;
        let whole = first.n + second.n == bits(width) && first.n != 0;
        if second.width != width || second.op == first.op || !whole {
            return None;
        }
        let last = slot + next + 1;
        let Insn::Alu { op: AluOp::Or, width: w, dst, src: Operand::Reg(s) } =
            self.ahead(slot, next + 1)?
        else {
            return None;
        };
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
        self.set_live(last);
        if !self.t.try_rotate(width, dst, a, left as u8) {
            return None;
        }
        self.wrote(dst, width == Width::W32);
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
        match self.ahead(slot, skip + 1)? {
            Insn::Alu { op: AluOp::Rsh, width: Width::W64, dst: d, src: Operand::Imm(32) }
                if d == dst =>
            {
                self.set_live(last);
                self.alu(last, AluOp::Mov, Width::W32, dst, dst, Operand::Reg(a));
            }
            Insn::Alu { op: AluOp::Arsh, width: Width::W64, dst: d, src: Operand::Imm(32) }
                if d == dst =>
            {
                self.set_live(last);
                self.t.movsx(Width::W64, SxFrom::W, dst, a);
                self.wrote(dst, false);
            }
            _ => return None,
        }
        Some(skip + 2)
    }

    /// `d = a; d op= b` as three operands.
    fn copy_and_operate(&mut self, slot: usize, copied: Width, d: Reg, a: Reg) -> Option<usize> {
        use AluOp::*;
        let Insn::Alu { op, width, dst, src } = self.ahead(slot, 1)? else { return None };
        if dst != d || matches!(op, Mov | Div | Mod | SDiv | SMod) {
            return None;
        }
        let cut = copied == Width::W32 && width == Width::W64;
        if cut && !self.is_upper_zero(Operand::Reg(a)) {
            return None;
        }
        let b = if src == Operand::Reg(d) { Operand::Reg(a) } else { src };
        self.set_live(slot + 1);
        self.alu(slot + 1, op, width, d, a, b);
        Some(2)
    }

    /// A sum that is only there to be an address, and the access.
    fn address(&mut self, slot: usize) -> Option<usize> {
        let (t, addr, n) = self.sum(slot)?;
        let last = slot + n;
        match self.ahead(slot, n)? {
            Insn::Load { size, sign_extend, dst, src, off } if src == t && self.is_plain(last) => {
                if dst != t && !self.is_dead_after(last, t) {
                    return self.scaled(slot);
                }
                let addr = Addr { off: addr.off.checked_add(off as i32)?, ..addr };
                // A register the address needs may be gone if the load is joined with what follows.
                if let Some(used) = self.loaded_then(last, size, sign_extend, dst, addr, t) {
                    return Some(n + used);
                }
                self.set_live(last);
                if !self.t.try_load(size, sign_extend, dst, addr) {
                    return None;
                }
                self.wrote(dst, size != Size::Dw && !sign_extend);
                Some(n + 1)
            }
            Insn::Store { size, dst, off, src }
                if dst == t && src != Operand::Reg(t) && self.is_plain(last) =>
            {
                if !self.is_dead_after(last, t) {
                    return self.scaled(slot);
                }
                let addr = Addr { off: addr.off.checked_add(off as i32)?, ..addr };
                self.set_live(last);
                self.t.try_store(size, addr, src).then_some(n + 1)
            }
            _ => self.scaled(slot),
        }
    }

    /// A scaled sum without an access.
    fn scaled(&mut self, slot: usize) -> Option<usize> {
        let (t, addr, n) = self.sum(slot)?;
        let index = addr.index.filter(|(_, scale)| *scale > 0)?;
        self.set_live(slot + n - 1);
        if !self.t.try_lea(Width::W64, t, addr.base, Some(index), addr.off) {
            return None;
        }
        self.wrote(t, false);
        Some(n)
    }

    /// The sum that begins here: the register it ends up in, its parts, its slots.
    fn sum(&self, slot: usize) -> Option<(Reg, Addr, usize)> {
        let plain = |base, index, off| Addr { base, index, off, space: Space::Plain };
        let (t, a, n) = match self.ahead(slot, 0)? {
            Insn::Alu { op: AluOp::Mov, width: Width::W64, dst, src: Operand::Reg(a) } => {
                (dst, a, 1)
            }
            Insn::Alu { dst, .. } => (dst, dst, 0),
            _ => return None,
        };
        let (scale, n) = match self.ahead(slot, n)? {
            Insn::Alu { op: AluOp::Lsh, width: Width::W64, dst, src: Operand::Imm(k @ 1..=3) }
                if dst == t =>
            {
                (k as u8, n + 1)
            }
            _ => (0, n),
        };
        let Insn::Alu { op: AluOp::Add, width: Width::W64, dst, src } = self.ahead(slot, n)? else {
            return None;
        };
        if dst != t {
            return None;
        }
        match (src, scale) {
            (Operand::Reg(b), _) if b == t => None,
            (Operand::Reg(b), 0) => Some((t, plain(a, Some((b, 0)), 0), n + 1)),
            (Operand::Reg(b), _) => Some((t, plain(b, Some((a, scale)), 0), n + 1)),
            (Operand::Imm(v), 0) => Some((t, plain(a, None, v), n + 1)),
            (Operand::Imm(_), _) => None,
        }
    }

    /// `x = load; x op= y; store x` to one place.
    fn change_in_place(&mut self, slot: usize, size: Size, x: Reg, addr: Addr) -> Option<usize> {
        if addr.base == x {
            return None;
        }
        let Insn::Alu { op, width, dst, src } = self.ahead(slot, 1)? else { return None };
        // 32-bit arithmetic would clear what the place holds above.
        if size == Size::Dw && width == Width::W32 {
            return None;
        }
        let Insn::Store { size: s, dst: base, off, src: Operand::Reg(stored) } =
            self.ahead(slot, 2)?
        else {
            return None;
        };
        let same = s == size && base == addr.base && off as i32 == addr.off && stored == x;
        let last = slot + 2;
        if dst != x || src == Operand::Reg(x) || !same || !self.is_dead_after(last, x) {
            return None;
        }
        if !self.is_plain(last) {
            return None;
        }
        self.set_live(last);
        self.t.try_alu_store(op, size, addr, src).then_some(3)
    }

    fn loaded(
        &mut self,
        slot: usize,
        size: Size,
        sign_extend: bool,
        x: Reg,
        addr: Addr,
    ) -> Option<usize> {
        self.loaded_then(slot, size, sign_extend, x, addr, x)
    }

    /// A load and the one instruction its value is for; `t` may have been left out already.
    fn loaded_then(
        &mut self,
        slot: usize,
        size: Size,
        sign_extend: bool,
        x: Reg,
        addr: Addr,
        t: Reg,
    ) -> Option<usize> {
        let last = slot + 1;
        match self.ahead(slot, 1)? {
            Insn::Swap { kind: SwapKind::ToBe | SwapKind::Bswap, bits, dst }
                if dst == x && bits as u32 == size.bytes() * 8 && !sign_extend =>
            {
                self.set_live(last);
                if !self.t.try_load_swapped(size, x, addr) {
                    return None;
                }
                self.wrote(x, size != Size::Dw);
            }
            Insn::CondJump { cond, width, dst, src, off }
                if dst == x && src != Operand::Reg(x) && !sign_extend =>
            {
                let by_t = t != x && src == Operand::Reg(t);
                if by_t || !self.is_dead_after(last, x) || !compares(cond, width, size, src) {
                    return None;
                }
                let to = target(last, off as i32, self.scan.insns.len())?;
                self.set_live(last);
                if !self.t.try_cond_jump_load(cond, size, addr, src, Label(to as u32)) {
                    return None;
                }
            }
            Insn::Alu { op, width, dst, src: Operand::Reg(s) }
                if s == x && dst != x && dst != t && !sign_extend =>
            {
                let fits = size == Size::Dw || (size, width) == (Size::W, Width::W32);
                if !fits || !self.is_dead_after(last, x) || op == AluOp::Mov {
                    return None;
                }
                self.set_live(last);
                if !self.t.try_alu_load(op, width, dst, addr) {
                    return None;
                }
                self.wrote(dst, width == Width::W32);
            }
            _ => return None,
        }
        Some(2)
    }

    /// Notes what a register holds now.
    fn wrote(&mut self, r: Reg, upper_zero: bool) {
        self.set_upper(r, upper_zero);
    }
}

/// Whether comparing the zero-extended value at 64 bits gives what the instruction asks.
fn compares(cond: Cond, width: Width, size: Size, src: Operand) -> bool {
    use Cond::*;
    let signed = matches!(cond, Sgt | Sge | Slt | Sle);
    match (width, size) {
        (Width::W64, _) => true,
        (Width::W32, Size::Dw) => false,
        (Width::W32, _) if matches!(src, Operand::Reg(_)) => false,
        (Width::W32, Size::W) => !signed,
        (Width::W32, _) => true,
    }
}
