//! Division: by constants without dividing, by registers with the corners the instruction set defines.

use bpfassay_isa::{AluOp, Operand, Reg, Width};
use bpfassay_jit::mutation::{has, Mutation};
use bpfassay_jit::Target;

use crate::enc::{self, cc, Gp, Group1, Mem, Rm, Shift};
use crate::{gp, width, X86};

impl X86 {
    pub(crate) fn divide(&mut self, op: AluOp, w: Width, dst: Reg, a: Reg, b: Operand) {
        match b {
            Operand::Imm(v) => self.divide_imm(op, w, dst, a, v),
            Operand::Reg(b) => self.divide_reg(op, w, dst, a, b),
        }
    }

    fn divide_imm(&mut self, op: AluOp, w: Width, dst: Reg, a: Reg, v: i32) {
        let (d, x) = (gp(dst), gp(a));
        let unsigned = match w {
            Width::W32 => v as u32 as u64,
            Width::W64 => v as i64 as u64,
        };
        match (op, v) {
            (AluOp::Div | AluOp::SDiv, 0) => self.asm.mov_imm(d, 0),
            (AluOp::Mod | AluOp::SMod, 0) => self.asm.mov(width(w), d, x),
            (AluOp::SDiv, 1) => self.asm.mov(width(w), d, x),
            (AluOp::SDiv, -1) => self.negate(w, dst, a),
            (AluOp::SMod, 1 | -1) => self.asm.mov_imm(d, 0),
            (AluOp::Div, _) if unsigned.is_power_of_two() => {
                let n = unsigned.trailing_zeros() as i32;
                self.alu_op(AluOp::Rsh, w, dst, a, Operand::Imm(n));
            }
            (AluOp::Mod, _) if unsigned.is_power_of_two() => {
                // Below 2^31 as an immediate; 2^31 itself only at 32 bits.
                let mask = (unsigned - 1) as u32 as i32;
                self.alu_op(AluOp::And, Width::W32, dst, a, Operand::Imm(mask));
            }
            (AluOp::Div | AluOp::Mod, _) if w == Width::W32 => {
                self.magic32(op == AluOp::Mod, d, x, unsigned as u32);
            }
            (AluOp::Div | AluOp::Mod, _) => {
                self.magic64(op == AluOp::Mod, dst, x, unsigned, v);
            }
            _ => {
                self.asm.mov_imm(enc::R11, unsigned);
                self.hardware(op, w, dst, x, enc::R11);
            }
        }
    }

    /// 32 bits: a product of 64 bits, or of 64 by 64 where the multiplier needs 33.
    fn magic32(&mut self, rest: bool, d: Gp, x: Gp, by: u32) {
        let (factor, shift) = magic32(by);
        self.asm.mov(enc::W::D, enc::R9, x);
        self.asm.mov_imm(enc::R11, factor & 0xffff_ffff);
        self.asm.rr(enc::IMUL_R_RM, enc::W::Q, enc::R11, enc::R9);
        if factor >> 32 == 0 || has(Mutation::MagicForgetsBit) {
            self.asm.shift_imm(Shift::Shr, enc::W::Q, Rm::R(enc::R11), 32 + shift);
        } else {
            // q = (((n - t) / 2) + t) >> (shift - 1) with t = n * (factor - 2^32) >> 32
            self.asm.shift_imm(Shift::Shr, enc::W::Q, Rm::R(enc::R11), 32);
            let keep = rest;
            if keep {
                self.asm.push(enc::R9);
            }
            self.asm.alu_rm_r(Group1::Sub, enc::W::D, Rm::R(enc::R9), enc::R11);
            self.asm.shift_imm(Shift::Shr, enc::W::D, Rm::R(enc::R9), 1);
            self.asm.alu_rm_r(Group1::Add, enc::W::D, Rm::R(enc::R11), enc::R9);
            if shift > 1 {
                self.asm.shift_imm(Shift::Shr, enc::W::D, Rm::R(enc::R11), shift - 1);
            }
            if keep {
                self.asm.pop(enc::R9);
            }
        }
        if rest {
            self.asm.imul_imm(enc::W::D, enc::R11, Rm::R(enc::R11), by as i32);
            self.asm.alu_rm_r(Group1::Sub, enc::W::D, Rm::R(enc::R9), enc::R11);
            self.asm.mov64(d, enc::R9);
        } else {
            self.asm.mov64(d, enc::R11);
        }
    }

    /// 64 bits: the upper half of a product of 128.
    fn magic64(&mut self, rest: bool, dst: Reg, x: Gp, by: u64, imm: i32) {
        let (factor, add, shift) = magic64(by);
        let d = gp(dst);
        let keep_rax = d != enc::RAX && !self.is_dead(Reg::R0);
        let keep_rdx = d != enc::RDX && !self.is_dead(Reg::R3);
        if keep_rax {
            self.asm.push(enc::RAX);
        }
        if keep_rdx {
            self.asm.push(enc::RDX);
        }
        self.asm.mov64(enc::R9, x);
        self.asm.movabs(enc::RAX, factor);
        self.asm.group3(4, enc::W::Q, Rm::R(enc::R9));
        // The quotient's upper part is in RDX.
        self.asm.mov64(enc::R11, enc::RDX);
        if add {
            self.asm.mov64(enc::RAX, enc::R9);
            self.asm.alu_rm_r(Group1::Sub, enc::W::Q, Rm::R(enc::RAX), enc::R11);
            self.asm.shift_imm(Shift::Shr, enc::W::Q, Rm::R(enc::RAX), 1);
            self.asm.alu_rm_r(Group1::Add, enc::W::Q, Rm::R(enc::R11), enc::RAX);
            if shift > 1 {
                self.asm.shift_imm(Shift::Shr, enc::W::Q, Rm::R(enc::R11), shift - 1);
            }
        } else if shift > 0 {
            self.asm.shift_imm(Shift::Shr, enc::W::Q, Rm::R(enc::R11), shift);
        }
        if rest {
            self.asm.imul_imm(enc::W::Q, enc::R11, Rm::R(enc::R11), imm);
            self.asm.alu_rm_r(Group1::Sub, enc::W::Q, Rm::R(enc::R9), enc::R11);
        }
        if keep_rdx {
            self.asm.pop(enc::RDX);
        }
        if keep_rax {
            self.asm.pop(enc::RAX);
        }
        self.asm.mov64(d, if rest { enc::R9 } else { enc::R11 });
    }

    fn divide_reg(&mut self, op: AluOp, w: Width, dst: Reg, a: Reg, b: Reg) {
        let (d, x) = (gp(dst), gp(a));
        let mut by = gp(b);
        if by == enc::RAX || by == enc::RDX || by == d {
            self.asm.mov64(enc::R11, by);
            by = enc::R11;
        }
        let (special, done) = (self.buf().new_label(), self.buf().new_label());
        let signed = matches!(op, AluOp::SDiv | AluOp::SMod);
        if signed {
            // 0 and -1 are 1 and 0 after adding 1.
            self.asm.lea(width(w), enc::R9, Mem::at(by, 1));
            self.asm.alu_imm(Group1::Cmp, width(w), Rm::R(enc::R9), 1);
            self.local_jump(cc::BE, special);
        } else {
            self.asm.rr(enc::TEST_RM_R, width(w), by, by);
            self.local_jump(cc::E, special);
        }
        self.hardware(op, w, dst, x, by);
        self.local_jmp(done);
        self.buf().bind(special);
        match op {
            AluOp::Div => self.asm.mov_imm(d, 0),
            AluOp::Mod if has(Mutation::Mod32KeepsUpper) => self.asm.mov64(d, x),
            AluOp::Mod => self.asm.mov(width(w), d, x),
            AluOp::SDiv => {
                // By 0 and -1 the quotient is the product.
                self.asm.mov64(d, x);
                self.asm.rr(enc::IMUL_R_RM, width(w), d, by);
            }
            _ => {
                // The rest is all or nothing: and with the complement.
                self.asm.mov64(enc::R9, by);
                self.asm.group3(2, width(w), Rm::R(enc::R9));
                self.asm.mov64(d, x);
                self.asm.alu_rm_r(Group1::And, width(w), Rm::R(d), enc::R9);
            }
        }
        self.buf().bind(done);
    }

    /// The machine's division; `by` is neither RAX nor RDX nor `dst`.
    fn hardware(&mut self, op: AluOp, w: Width, dst: Reg, x: Gp, by: Gp) {
        let d = gp(dst);
        let keep_rax = d != enc::RAX && !(self.is_dead(Reg::R0));
        let keep_rdx = d != enc::RDX && !(self.is_dead(Reg::R3));
        if keep_rdx {
            self.asm.push(enc::RDX);
        }
        if keep_rax {
            self.asm.mov64(enc::R9, enc::RAX);
        }
        self.asm.mov64(enc::RAX, x);
        match op {
            AluOp::Div | AluOp::Mod => {
                self.asm.mov_imm(enc::RDX, 0);
                self.asm.group3(6, width(w), Rm::R(by));
            }
            _ => {
                // Sign of RAX into RDX.
                let wide: &[u8] = if w == Width::W64 { &[0x48, 0x99] } else { &[0x99] };
                self.asm.bytes(wide);
                self.asm.group3(7, width(w), Rm::R(by));
            }
        }
        let quotient = matches!(op, AluOp::Div | AluOp::SDiv);
        self.asm.mov64(d, if quotient { enc::RAX } else { enc::RDX });
        if keep_rax {
            self.asm.mov64(enc::RAX, enc::R9);
        }
        if keep_rdx {
            self.asm.pop(enc::RDX);
        }
    }
}

/// Multiplier (33 bits at most) and shift behind the 32 of the product's upper half,
/// for a divisor that is no power of two (Granlund and Montgomery 1994).
fn magic32(by: u32) -> (u64, u8) {
    let log = 32 - (by - 1).leading_zeros();
    let one: u128 = 1;
    for shift in 0..log {
        // Smallest shift whose rounding error the dividend cannot reach.
        let power = one << (32 + shift);
        let factor = power.div_ceil(by as u128);
        if factor < one << 32 && factor * by as u128 - power <= one << shift {
            return (factor as u64, shift as u8);
        }
    }
    ((one << (32 + log)).div_ceil(by as u128) as u64, log as u8)
}

/// Low 64 bits of the multiplier, whether it has a 65th, and the shift.
fn magic64(by: u64) -> (u64, bool, u8) {
    let log = 64 - (by - 1).leading_zeros();
    for shift in 0..log.min(63) {
        let power = 1u128 << (64 + shift);
        let factor = power.div_ceil(by as u128);
        if factor < 1 << 64 && factor * by as u128 - power <= 1 << shift {
            return (factor as u64, false, shift as u8);
        }
    }
    // 2^64 * (2^log - by) / by + 1: the multiplier without its top bit.
    let low = (1u128 << log).wrapping_sub(by as u128);
    let factor = (low << 64) / by as u128 + 1;
    (factor as u64, true, log as u8)
}

#[cfg(test)]
mod tests {
    #[test]
    fn multipliers_divide() {
        let values = [0, 1, 2, 3, 9, 10, 99, 0x7fff_ffff, 0x8000_0000, 0xffff_fffe, u32::MAX];
        for by in (3..2000).chain([u32::MAX, 0x8000_0001, 641, 1_000_000_007, 0x7fff_ffff]) {
            if by.is_power_of_two() {
                continue;
            }
            let (f, s) = super::magic32(by);
            for n in values.into_iter().chain(
                (1..50).flat_map(|k| [by.wrapping_mul(k), by.wrapping_mul(k).wrapping_sub(1)]),
            ) {
                assert_eq!((n as u128 * f as u128) >> (32 + s), (n / by) as u128, "{n}/{by}");
            }
            for by in [by as u64, (by as u64) << 31 | 1, u64::MAX - by as u64] {
                let (f, add, s) = super::magic64(by);
                let f = f as u128 | (add as u128) << 64;
                for n in [
                    0,
                    1,
                    by - 1,
                    by,
                    u64::MAX,
                    u64::MAX - 1,
                    u64::MAX / by * by,
                    (u64::MAX / by * by).wrapping_sub(1),
                    1 << 63,
                ] {
                    // The product may have 129 bits: split it.
                    let low = (n as u128 * (f & (u64::MAX as u128))) >> 64;
                    let q = (low + if add { n as u128 } else { 0 }) >> s;
                    assert_eq!(q, (n / by) as u128, "{n}/{by}");
                }
            }
        }
    }
}
