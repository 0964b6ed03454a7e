//! Statements on numbers, and those that hold statements.

use bpfassay_isa::{AluOp, Cond, Imm64, Insn, Operand, Reg, Size, SwapKind, SxFrom, Width};
use bpfassay_spec::ProgType;

use super::code::{Writer, BASE, COUNT, FP, STACK};
use super::{number, INPUT};

const OPS: [AluOp; 12] = [
    AluOp::Add,
    AluOp::Sub,
    AluOp::And,
    AluOp::Or,
    AluOp::Xor,
    AluOp::Mul,
    AluOp::Lsh,
    AluOp::Rsh,
    AluOp::Arsh,
    AluOp::Mov,
    AluOp::Div,
    AluOp::Mod,
];
pub(super) const CONDS: [Cond; 11] = [
    Cond::Gt,
    Cond::Lt,
    Cond::Sgt,
    Cond::Slt,
    Cond::Ge,
    Cond::Le,
    Cond::Sge,
    Cond::Sle,
    Cond::Ne,
    Cond::Eq,
    Cond::Set,
];
const RANDOM: i32 = 7;
/// Programs in a hundred with a mistake put in, and with an encoding spoilt.
const FLAWED: u32 = 18;
pub(super) const SPOILT: u32 = 4;

impl Writer<'_> {
    /// The whole program.
    pub fn program(&mut self) {
        let functions = self.choices.below(6).saturating_sub(3);
        for _ in 0..functions {
            let label = self.label();
            self.callees.push(label);
        }
        let callees = self.callees.clone();
        let exit = self.label();
        self.prologue(exit);
        let units = 7 + self.choices.below(14);
        if self.choices.percent(FLAWED) {
            let before = self.choices.below(units);
            self.units(before, 0);
            self.mistake();
            self.units(units - before, 0);
        } else {
            self.units(units, 0);
        }
        self.epilogue();
        if self.prog_type != ProgType::Syscall {
            self.place(exit);
            self.set(Reg::R0, 0);
            self.push(Insn::Exit);
        }
        self.is_main = false;
        for (i, label) in callees.iter().enumerate() {
            if !self.is_called(*label) {
                continue;
            }
            self.place(*label);
            self.callees = callees[i + 1..].to_vec();
            self.live = 0b110;
            self.clear_stack();
            let units = 1 + self.choices.below(5);
            self.units(units, 1);
            self.epilogue();
        }
    }

    /// The input's address, its length checked where the kernel has not.
    fn prologue(&mut self, exit: super::code::Label) {
        match self.prog_type {
            ProgType::Syscall => self.mov(BASE, Reg::R1),
            _ => {
                self.load(Size::W, false, BASE, Reg::R1, 76);
                self.load(Size::W, false, Reg::R2, Reg::R1, 80);
                self.mov(Reg::R3, BASE);
                self.alu(AluOp::Add, Width::W64, Reg::R3, Operand::Imm(INPUT as i32));
                self.jump_if(Cond::Gt, Width::W64, Reg::R3, Operand::Reg(Reg::R2), exit);
            }
        }
        self.clear_stack();
        for _ in 0..2 {
            self.input();
        }
    }

    /// What is read there later is the same on every engine.
    fn clear_stack(&mut self) {
        let from = if self.choices.percent(70) { 16 } else { STACK };
        for off in (8..=from).step_by(8) {
            self.store(Size::Dw, FP, -off, Operand::Imm(0));
        }
    }

    fn epilogue(&mut self) {
        let r = self.number_reg();
        if r != Reg::R0 {
            self.mov(Reg::R0, r);
        }
        self.push(Insn::Exit);
    }

    pub fn units(&mut self, n: u32, depth: u32) {
        for _ in 0..n {
            if self.len() > 400 {
                return;
            }
            self.unit(depth);
        }
    }

    fn unit(&mut self, depth: u32) {
        match self.choices.below(20) {
            0..=4 => self.arithmetic(),
            6 => self.copy(),
            7 => self.single(),
            8 | 9 if self.is_main => self.input(),
            10 => {
                self.spill();
                self.fill();
            }
            11..=13 if depth < 3 => self.branch(depth),
            5 | 14 if depth < 2 && !self.in_loop => self.repeat(depth),
            15 | 16 if self.has_maps => self.value(),
            17 if self.is_main => self.input_at(),
            17 => self.constant(),
            18 if !self.callees.is_empty() => self.subprog(),
            18 => self.stack_at(),
            19 => self.rest(),
            _ => self.arithmetic(),
        }
    }

    pub fn imm(&mut self) -> i32 {
        // The least has no negative, and these end where 32 bits do.
        if self.choices.percent(6) {
            return self.choices.pick(&[i32::MIN, i32::MAX, i32::MIN + 1, -1]);
        }
        number(self.choices) as i32
    }

    fn arithmetic(&mut self) {
        let (op, width) = (self.choices.pick(&OPS), self.width());
        let op = match op {
            AluOp::Div if self.choices.percent(20) => AluOp::SDiv,
            AluOp::Mod if self.choices.percent(20) => AluOp::SMod,
            op => op,
        };
        let dst = self.number_reg();
        let src = match op {
            AluOp::Lsh | AluOp::Rsh | AluOp::Arsh if self.choices.percent(99) => {
                let bits = if width == Width::W64 { 64 } else { 32 };
                Operand::Imm(self.choices.below(bits) as i32)
            }
            AluOp::Div | AluOp::Mod | AluOp::SDiv | AluOp::SMod if self.choices.percent(65) => {
                Operand::Imm(self.imm() | 1)
            }
            AluOp::Div | AluOp::Mod | AluOp::SDiv | AluOp::SMod => Operand::Reg(self.number_reg()),
            _ if self.choices.percent(45) => Operand::Reg(self.number_reg()),
            _ => Operand::Imm(self.imm()),
        };
        self.alu(op, width, dst, src);
    }

    fn constant(&mut self) {
        let dst = self.any();
        let v = number(self.choices);
        if self.choices.percent(50) {
            self.push(Insn::LoadImm64 { dst, value: Imm64::Const(v) });
        } else {
            self.set(dst, v as i32);
        }
        self.mark(dst);
    }

    /// Two registers that the verifier knows to be equal.
    fn copy(&mut self) {
        let (dst, src, width) = (self.any(), self.number_reg(), self.width());
        self.alu(AluOp::Mov, width, dst, Operand::Reg(src));
        self.mark(dst);
        if self.choices.percent(40) {
            let (v, width) = (self.choices.below(64) as i32, self.width());
            self.alu(AluOp::Add, width, dst, Operand::Imm(v));
        }
    }

    fn single(&mut self) {
        let (dst, width) = (self.number_reg(), self.width());
        match self.choices.below(4) {
            0 => self.push(Insn::Neg { width, dst }),
            1 => {
                let bits = self.choices.pick(&[16, 32, 64]);
                let kind = self.choices.pick(&[SwapKind::ToBe, SwapKind::ToLe, SwapKind::Bswap]);
                self.push(Insn::Swap { kind, bits, dst });
            }
            _ => {
                let src = self.number_reg();
                let from = self.choices.pick(&[SxFrom::B, SxFrom::H, SxFrom::W]);
                let width = if from == SxFrom::W { Width::W64 } else { width };
                self.push(Insn::MovSx { width, from, dst, src });
            }
        }
    }

    /// A number that nobody knows.
    pub fn input(&mut self) {
        let (dst, size) = (self.any(), self.size());
        let places = INPUT as u32 / size.bytes();
        let off = (self.choices.below(places) * size.bytes()) as i16;
        let sign_extend = self.choices.percent(20);
        let sign_extend = sign_extend && self.prog_type != ProgType::Syscall;
        self.load(size, sign_extend, dst, BASE, off);
        self.mark(dst);
    }

    fn spill(&mut self) {
        let size = self.choices.pick(&[Size::Dw, Size::Dw, Size::W, Size::H, Size::B]);
        let off = self.slot(size);
        let src = if self.choices.percent(80) {
            Operand::Reg(self.number_reg())
        } else {
            Operand::Imm(self.imm())
        };
        self.store(size, FP, off, src);
    }

    fn fill(&mut self) {
        let (dst, size) =
            (self.any(), self.choices.pick(&[Size::Dw, Size::Dw, Size::W, Size::H, Size::B]));
        let off = self.slot(size);
        let sign_extend = self.choices.percent(20);
        self.load(size, sign_extend, dst, FP, off);
        self.mark(dst);
    }

    /// Of the two slots that are always written.
    fn slot(&mut self, size: Size) -> i16 {
        let places = 16 / size.bytes();
        (self.choices.below(places) * size.bytes()) as i16 - 16
    }

    fn operand(&mut self) -> Operand {
        if self.choices.percent(35) {
            Operand::Reg(self.number_reg())
        } else {
            Operand::Imm(self.imm())
        }
    }

    fn branch(&mut self, depth: u32) {
        let (cond, width) = (self.choices.pick(&CONDS), self.width());
        let (dst, src) = (self.number_reg(), self.operand());
        let (other, end) = (self.label(), self.label());
        self.jump_if(cond, width, dst, src, other);
        let before = self.live;
        let n = 1 + self.choices.below(3);
        self.units(n, depth + 1);
        let after = self.live;
        if self.choices.percent(40) {
            self.jump(end);
            self.place(other);
            self.live = before;
            let n = 1 + self.choices.below(2);
            self.units(n, depth + 1);
            self.live &= after;
        } else {
            self.place(other);
            self.live = before & after;
        }
        self.place(end);
    }

    fn repeat(&mut self, depth: u32) {
        let turns = 2 + self.choices.below(5) as i32;
        let up = self.choices.percent(50);
        self.set(COUNT, if up { 0 } else { turns });
        let top = self.label();
        self.place(top);
        let before = self.live;
        self.in_loop = true;
        let n = 1 + self.choices.below(3);
        self.units(n, depth + 1);
        self.in_loop = false;
        // What the body uses must be there in every turn.
        for r in (0..8).filter(|r| before & !self.live & 1 << r != 0).collect::<Vec<u16>>() {
            self.set(Reg(r as u8), 0);
            self.live |= 1 << r;
        }
        let step = if up { 1 } else { -1 };
        self.alu(AluOp::Add, Width::W64, COUNT, Operand::Imm(step));
        let (cond, limit) = if up { (Cond::Slt, turns) } else { (Cond::Ne, 0) };
        self.jump_if(cond, Width::W64, COUNT, Operand::Imm(limit), top);
        self.live &= before;
    }

    fn subprog(&mut self) {
        let callee = self.choices.pick(&self.callees.clone());
        for r in [Reg::R1, Reg::R2] {
            let src = self.number_reg();
            if src != r {
                self.mov(r, src);
            }
            self.mark(r);
        }
        self.call(callee);
    }

    fn rest(&mut self) {
        match self.choices.below(3) {
            0 => self.helper(RANDOM),
            1 => {
                // The result of a comparison, as compilers make it.
                let r = self.number_reg();
                self.alu(AluOp::Arsh, Width::W64, r, Operand::Imm(63));
                let op = self.choices.pick(&[AluOp::And, AluOp::Or]);
                let v = self.imm();
                self.alu(op, Width::W64, r, Operand::Imm(v));
            }
            _ => {
                let r = self.number_reg();
                let shift = self.choices.pick(&[AluOp::Rsh, AluOp::Arsh]);
                self.alu(AluOp::Lsh, Width::W64, r, Operand::Imm(32));
                self.alu(shift, Width::W64, r, Operand::Imm(32));
            }
        }
    }
}
