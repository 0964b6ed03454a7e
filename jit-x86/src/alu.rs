//! Arithmetic: `dst = a op b` in as few bytes as there are.

use bpfassay_isa::{AluOp, Operand, Reg, SwapKind, SxFrom, Width};
use bpfassay_jit::mutation::{has, Mutation};

use crate::enc::{self, Gp, Group1, Imm, Mem, Rm, Shift, W};
use crate::{commutes, gp, width, Flags, X86};

/// By operation; of no use where [`group_of`] has none.
static GROUPS: [Group1; 16] = {
    let mut out = [Group1::Xor; 16];
    out[AluOp::Add as usize] = Group1::Add;
    out[AluOp::Sub as usize] = Group1::Sub;
    out[AluOp::And as usize] = Group1::And;
    out[AluOp::Or as usize] = Group1::Or;
    out
};

#[inline(always)]
fn group(op: AluOp) -> Group1 {
    GROUPS[op as usize & 15]
}

pub(crate) fn group_of(op: AluOp) -> Option<Group1> {
    use AluOp::*;
    matches!(op, Add | Sub | And | Or | Xor).then(|| group(op))
}

#[inline(always)]
fn shift(op: AluOp) -> Shift {
    match op {
        AluOp::Lsh => Shift::Shl,
        AluOp::Rsh => Shift::Shr,
        _ => Shift::Sar,
    }
}

impl X86 {
    #[inline(always)]
    pub(crate) fn alu_op(&mut self, op: AluOp, w: Width, dst: Reg, a: Reg, b: Operand) {
        use AluOp::*;
        let known = self.flags;
        self.flags = Flags::LOST;
        let w = match op {
            Add | Sub if has(Mutation::Add32KeepsUpper) => Width::W64,
            _ => w,
        };
        match (op, b) {
            (Mov, Operand::Reg(b)) => {
                self.asm.mov(width(w), gp(dst), gp(b));
                self.flags = known.beside(dst);
            }
            (Mov, Operand::Imm(v)) => {
                let v = match w {
                    Width::W32 => v as u32 as u64,
                    Width::W64 => v as i64 as u64,
                };
                self.asm.mov_imm(gp(dst), v);
                self.flags = if enc::sets_flags(v) { Flags::LOST } else { known.beside(dst) };
            }
            (Add | Sub | And | Or | Xor, Operand::Reg(b)) => self.two(op, w, dst, a, b),
            (Add | Sub | And | Or | Xor, Operand::Imm(v)) => self.two_imm(op, w, dst, a, v),
            (Mul, Operand::Reg(b)) => self.multiply_reg(w, dst, a, b),
            (Mul, Operand::Imm(v)) => self.multiply(w, dst, a, v),
            (Lsh | Rsh | Arsh, Operand::Imm(v)) => self.shift_imm(op, w, dst, a, v),
            (Lsh | Rsh | Arsh, Operand::Reg(b)) => self.shift_reg(op, w, dst, a, b),
            (Div | Mod | SDiv | SMod, _) => self.divide(op, w, dst, a, b),
        }
    }

    /// A copy for an operation of this width: nothing where it is one register.
    #[inline(always)]
    pub(crate) fn copy(&mut self, w: Width, d: Gp, x: Gp) {
        if d != x {
            self.asm.mov(width(w), d, x);
        }
    }

    /// Brings `a` into `dst` for a two-operand instruction; gives registers of destination, `a` and `b`.
    #[inline(always)]
    fn arrange(&mut self, w: Width, dst: Reg, a: Reg, b: Reg, commutes: bool) -> (Gp, Gp, Gp) {
        let (d, x, y) = (gp(dst), gp(a), gp(b));
        if d == x {
            return (d, x, y);
        }
        if d == y {
            if commutes {
                return (d, y, x);
            }
            self.asm.mov64(enc::R11, y);
            self.asm.mov(width(w), d, x);
            return (d, d, enc::R11);
        }
        self.copy(w, d, x);
        (d, d, y)
    }

    #[inline(always)]
    fn two(&mut self, op: AluOp, w: Width, dst: Reg, a: Reg, b: Reg) {
        let (d, x, y) = (gp(dst), gp(a), gp(b));
        if op == AluOp::Add && d != x && d != y {
            return self.asm.lea(width(w), d, sum(x, y, 0, 0));
        }
        self.flags = Flags::result(dst, w, !matches!(op, AluOp::Add | AluOp::Sub));
        if op == AluOp::Sub && d == y && d != x {
            // x - y = -y + x
            self.asm.group3(3, width(w), Rm::R(d));
            self.asm.alu_rm_r(Group1::Add, width(w), Rm::R(d), x);
        } else if (op == AluOp::Sub || op == AluOp::Xor) && x == y {
            self.asm.mov_imm(d, 0);
        } else {
            let (d, _, y) = self.arrange(w, dst, a, b, commutes(op));
            self.asm.alu_rm_r(group(op), width(w), Rm::R(d), y);
        }
    }

    #[inline(always)]
    fn two_imm(&mut self, op: AluOp, w: Width, dst: Reg, a: Reg, v: i32) {
        let (d, x) = (gp(dst), gp(a));
        let rm = Rm::R(d);
        let adds = matches!(op, AluOp::Add | AluOp::Sub);
        // A difference as a sum, where the number has a negative.
        let negate = op == AluOp::Sub && (v != i32::MIN || has(Mutation::SubOfLeastIsAdd));
        let (g, v) = if negate { (Group1::Add, v.wrapping_neg()) } else { (group(op), v) };
        if g == Group1::Add && v == 0 && d == x && w == Width::W64 {
            return;
        }
        if g == Group1::Add && d != x {
            return self.asm.lea(width(w), d, Mem::at(x, v));
        }
        if op == AluOp::And && (v == 0xff || v == 0xffff) {
            let extend = if v == 0xff { enc::MOVZX_B } else { enc::MOVZX_H };
            return self.asm.rm(extend, W::D, d, Rm::R(x));
        }
        self.copy(w, d, x);
        if op == AluOp::Xor && v == -1 {
            return self.asm.group3(2, width(w), rm);
        }
        self.flags = Flags::result(dst, w, !adds);
        if g == Group1::Add && (v == 1 || v == -1) {
            return self.asm.inc_dec(u8::from(v == -1), width(w), rm);
        }
        // 128 is one byte longer than -128.
        let (g, v) = if g == Group1::Add && v == 128 { (Group1::Sub, -128) } else { (g, v) };
        self.asm.alu_imm(g, width(w), rm, v);
    }

    fn multiply_reg(&mut self, w: Width, dst: Reg, a: Reg, b: Reg) {
        let (d, _, b) = self.arrange(w, dst, a, b, true);
        self.asm.rr(enc::IMUL_R_RM, width(w), d, b);
    }

    /// By a constant: shifts and address arithmetic where they are faster than a multiplication.
    fn multiply(&mut self, w: Width, dst: Reg, a: Reg, v: i32) {
        let (d, x) = (gp(dst), gp(a));
        // At 64 bits the constant is sign-extended, so the top bit is no power of two.
        let power = v as u32;
        let steps = std::mem::take(&mut self.steps) && v > 0;
        match v {
            0 => self.asm.mov_imm(d, 0),
            1 => self.asm.mov(width(w), d, x),
            -1 => {
                self.copy(w, d, x);
                self.asm.group3(3, width(w), Rm::R(d));
            }
            2 if d != x => self.asm.lea(width(w), d, sum(x, x, 0, 0)),
            3 | 5 | 9 => {
                let scale = (power - 1).trailing_zeros() as u8;
                self.asm.lea(width(w), d, sum(x, x, scale, 0));
            }
            _ if power.is_power_of_two() && (v > 0 || w == Width::W32) => {
                self.copy(w, d, x);
                let n = power.trailing_zeros() as u8;
                self.asm.shift_imm(Shift::Shl, width(w), Rm::R(d), n);
            }
            // One less or one more than a power of two: two steps where a product takes three cycles.
            _ if steps && (power - 1).is_power_of_two() => {
                self.shifted_and(Group1::Add, w, d, x, (power - 1).trailing_zeros() as u8);
            }
            _ if steps && (power + 1).is_power_of_two() => {
                self.shifted_and(Group1::Sub, w, d, x, (power + 1).trailing_zeros() as u8);
            }
            _ => self.asm.imul_imm(width(w), d, Rm::R(x), v),
        }
    }

    /// `d = (x << n) + x`, or less `x`.
    fn shifted_and(&mut self, g: Group1, w: Width, d: Gp, x: Gp, n: u8) {
        let to = if d == x { enc::R11 } else { d };
        self.asm.mov(width(w), to, x);
        self.asm.shift_imm(Shift::Shl, width(w), Rm::R(to), n);
        if d == x && g == Group1::Add {
            return self.asm.alu_rm_r(g, width(w), Rm::R(d), to);
        }
        self.asm.alu_rm_r(g, width(w), Rm::R(to), x);
        self.copy(w, d, to);
    }

    #[inline(always)]
    fn shift_imm(&mut self, op: AluOp, w: Width, dst: Reg, a: Reg, v: i32) {
        let (d, x) = (gp(dst), gp(a));
        let n = v as u32 & if w == Width::W64 { 63 } else { 31 };
        if n == 0 {
            return self.asm.mov(width(w), d, x);
        }
        if op == AluOp::Lsh && n == 1 && d != x {
            return self.asm.lea(width(w), d, sum(x, x, 0, 0));
        }
        self.copy(w, d, x);
        self.flags = Flags::result(dst, w, false);
        self.asm.shift_imm(shift(op), width(w), Rm::R(d), n as u8);
    }

    fn shift_reg(&mut self, op: AluOp, w: Width, dst: Reg, a: Reg, b: Reg) {
        let (d, x, n) = (gp(dst), gp(a), gp(b));
        let (s, w) = (shift(op), width(w));
        if self.features.bmi2 {
            return self.asm.shift_x(s, w, d, x, n);
        }
        if n == enc::RCX && d != enc::RCX {
            self.asm.mov64(d, x);
            return self.asm.shift_cl(s, w, d);
        }
        // The count must be in CL, whatever else is there.
        self.asm.mov64(enc::R11, x);
        if n == enc::RCX {
            self.asm.shift_cl(s, w, enc::R11);
        } else {
            self.asm.mov64(enc::R9, enc::RCX);
            self.asm.mov64(enc::RCX, n);
            self.asm.shift_cl(s, w, enc::R11);
            self.asm.mov64(enc::RCX, enc::R9);
        }
        self.asm.mov64(d, enc::R11);
    }

    pub(crate) fn negate(&mut self, w: Width, dst: Reg, a: Reg) {
        self.copy(w, gp(dst), gp(a));
        self.asm.group3(3, width(w), Rm::R(gp(dst)));
        self.flags = Flags::result(dst, w, false);
    }

    pub(crate) fn swap_bytes(&mut self, kind: SwapKind, bits: u8, dst: Reg) {
        self.flags = Flags::LOST;
        let d = gp(dst);
        match (kind, bits) {
            (SwapKind::ToLe, 16) => self.asm.rm(enc::MOVZX_H, W::D, d, Rm::R(d)),
            (SwapKind::ToLe, 32) => self.asm.mov(W::D, d, d),
            (SwapKind::ToLe, _) => {}
            (_, 16) => {
                self.asm.op(None, enc::op(0xc1), W::H, 0, Rm::R(d), Imm::I8(8));
                if !has(Mutation::Swap16KeepsUpper) {
                    self.asm.rm(enc::MOVZX_H, W::D, d, Rm::R(d));
                }
            }
            (_, 32) => self.asm.bswap(W::D, d),
            _ => self.asm.bswap(W::Q, d),
        }
    }

    pub(crate) fn sign_extend(&mut self, w: Width, from: SxFrom, dst: Reg, src: Reg) {
        let op = match from {
            SxFrom::B => enc::MOVSX_B,
            SxFrom::H => enc::MOVSX_H,
            SxFrom::W => enc::MOVSXD,
        };
        self.asm.rm(op, width(w), gp(dst), Rm::R(gp(src)));
    }
}

/// `a + (b << scale) + off`, with the shorter of the two possible bases.
pub(crate) fn sum(a: Gp, b: Gp, scale: u8, disp: i32) -> Mem {
    let (a, b) = if scale == 0 && disp == 0 && a.0 & 7 == 5 { (b, a) } else { (a, b) };
    Mem { base: Some(a), index: Some((b, scale)), disp }
}
