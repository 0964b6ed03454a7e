//! Straight-line and branching programs over scalars: registers and, where asked for, three stack slots;
//! no other memory, no calls, forward jumps.
//!
//! Every program is safe to load on a kernel that runs other things, because nothing is executed
//! and nothing outside the program is named.  What is unknown comes from subtracting
//! the context pointer from itself; stack pointers appear only to demand precision.

use bpfassay_isa::encode::encode;
use bpfassay_isa::{
    AluOp, Cond, Imm64, Insn, Operand, RawInsn, Reg, Size, SwapKind, SxFrom, Width,
};
use bpfassay_object::model::Program;
use bpfassay_spec::ProgType;

use super::rng::Rng;

/// What to generate.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// Instructions between prologue and epilogue.
    pub len: u32,
    /// Conditional jumps in 100 instructions.
    pub branches: u32,
    /// Registers in use, 2 to 9; fewer make more of them related.
    pub regs: u32,
    /// Pointer arithmetic that needs a scalar to be precise, in 100 instructions.
    pub pointers: u32,
    /// Stores to and loads from the stack, in 100 instructions.
    pub stack: u32,
}

/// Registers that hold scalars.
const SCALARS: [Reg; 9] =
    [Reg::R0, Reg::R6, Reg::R7, Reg::R8, Reg::R9, Reg::R2, Reg::R3, Reg::R4, Reg::R5];

const IMMS: [i32; 24] = [
    0,
    1,
    -1,
    2,
    3,
    7,
    8,
    15,
    16,
    31,
    32,
    63,
    64,
    100,
    255,
    256,
    -2,
    -3,
    -8,
    0x7fff,
    0xffff,
    0x10000,
    i32::MAX,
    i32::MIN,
];

struct Gen {
    rng: Rng,
    shape: Shape,
    out: Vec<Insn>,
}

/// The program of a seed.
pub fn program(seed: u64, shape: Shape) -> Program {
    let mut g = Gen { rng: Rng::new(seed), shape, out: Vec::new() };
    g.prologue();
    for _ in 0..shape.len {
        g.step();
    }
    g.epilogue();
    g.finish(seed)
}

impl Gen {
    fn reg(&mut self) -> Reg {
        let n = self.shape.regs.clamp(2, SCALARS.len() as u32);
        SCALARS[self.rng.below(n) as usize]
    }

    fn imm(&mut self) -> i32 {
        match self.rng.below(10) {
            0 => self.rng.next_u64() as i32,
            1 => 1i32.wrapping_shl(self.rng.below(32)),
            2 => (1i32.wrapping_shl(self.rng.below(32))).wrapping_sub(1),
            3 => (self.rng.next_u64() as i32) >> self.rng.below(32),
            _ => self.rng.pick(&IMMS),
        }
    }

    fn width(&mut self) -> Width {
        if self.rng.percent(60) {
            Width::W64
        } else {
            Width::W32
        }
    }

    fn mov(&mut self, dst: Reg, src: Operand, width: Width) {
        self.out.push(Insn::Alu { op: AluOp::Mov, width, dst, src });
    }

    /// Every scalar register gets a start: unknown, 32 bits unknown, sign-extended, or a constant.
    fn prologue(&mut self) {
        for dst in SCALARS {
            match self.rng.below(8) {
                0 => {
                    let v = self.imm();
                    self.mov(dst, Operand::Imm(v), Width::W64);
                }
                1 => self.mov(dst, Operand::Reg(Reg::R1), Width::W32),
                2 => {
                    let value = Imm64::Const(self.wide_const());
                    self.out.push(Insn::LoadImm64 { dst, value });
                }
                _ => {
                    self.mov(dst, Operand::Reg(Reg::R1), Width::W64);
                    let src = Operand::Reg(Reg::R1);
                    self.out.push(Insn::Alu { op: AluOp::Sub, width: Width::W64, dst, src });
                }
            }
        }
    }

    fn wide_const(&mut self) -> u64 {
        let v = self.rng.next_u64();
        match self.rng.below(4) {
            0 => v,
            1 => v >> self.rng.below(64),
            2 => 1u64 << self.rng.below(64),
            _ => u64::MAX >> self.rng.below(64),
        }
    }

    fn step(&mut self) {
        let roll = self.rng.below(100);
        if roll < self.shape.branches {
            self.branch();
        } else if roll < self.shape.branches + self.shape.pointers {
            self.pointer();
        } else if roll < self.shape.branches + self.shape.pointers + self.shape.stack {
            self.stack();
        } else {
            self.arithmetic();
        }
    }

    /// Spills, fills, and narrower ones at any aligned place of the slots.
    fn stack(&mut self) {
        let whole = self.rng.percent(60);
        let size =
            if whole { Size::Dw } else { self.rng.pick(&[Size::W, Size::W, Size::H, Size::B]) };
        let bytes = size.bytes() as i16;
        let off = -24 + (self.rng.below(24 / bytes as u32) as i16) * bytes;
        let insn = match self.rng.below(10) {
            0..=3 => Insn::Store { size, dst: Reg::R10, off, src: Operand::Reg(self.reg()) },
            4 => Insn::Store { size, dst: Reg::R10, off, src: Operand::Imm(self.imm()) },
            _ => {
                let sign_extend = size != Size::Dw && self.rng.percent(25);
                Insn::Load { size, sign_extend, dst: self.reg(), src: Reg::R10, off }
            }
        };
        self.out.push(insn);
    }

    fn operand(&mut self) -> Operand {
        if self.rng.percent(55) {
            Operand::Imm(self.imm())
        } else {
            Operand::Reg(self.reg())
        }
    }

    fn arithmetic(&mut self) {
        let (dst, width) = (self.reg(), self.width());
        let insn = match self.rng.below(24) {
            0 => Insn::Neg { width, dst },
            1 => Insn::Swap {
                kind: self.rng.pick(&[SwapKind::ToLe, SwapKind::ToBe, SwapKind::Bswap]),
                bits: self.rng.pick(&[16, 32, 64]),
                dst,
            },
            2 | 3 => Insn::MovSx {
                width,
                from: match width {
                    Width::W64 => self.rng.pick(&[SxFrom::B, SxFrom::H, SxFrom::W]),
                    Width::W32 => self.rng.pick(&[SxFrom::B, SxFrom::H]),
                },
                dst,
                src: self.reg(),
            },
            4..=7 => Insn::Alu { op: AluOp::Mov, width, dst, src: Operand::Reg(self.reg()) },
            8 => Insn::Alu { op: AluOp::Mov, width, dst, src: Operand::Imm(self.imm()) },
            9 => self.unknown(dst),
            10 | 11 => {
                let op = self.rng.pick(&[AluOp::Div, AluOp::SDiv, AluOp::Mod, AluOp::SMod]);
                let src = match self.operand() {
                    Operand::Imm(0) => Operand::Imm(5),
                    other => other,
                };
                Insn::Alu { op, width, dst, src }
            }
            12..=14 => {
                let op = self.rng.pick(&[AluOp::Lsh, AluOp::Rsh, AluOp::Arsh]);
                let bits = if width == Width::W64 { 64 } else { 32 };
                let src = if self.rng.percent(85) {
                    Operand::Imm(self.rng.pick(&[1, 3, 8, 16, 31, 32, 33, 63, 0]) % bits)
                } else {
                    Operand::Reg(self.reg())
                };
                Insn::Alu { op, width, dst, src }
            }
            15..=17 => {
                let op = self.rng.pick(&[AluOp::Add, AluOp::Sub]);
                Insn::Alu { op, width, dst, src: Operand::Imm(self.imm()) }
            }
            _ => {
                let op = self.rng.pick(&[
                    AluOp::Add,
                    AluOp::Sub,
                    AluOp::Mul,
                    AluOp::And,
                    AluOp::And,
                    AluOp::Or,
                    AluOp::Xor,
                ]);
                Insn::Alu { op, width, dst, src: self.operand() }
            }
        };
        self.out.push(insn);
    }

    /// `dst` becomes unknown again; the first half of a pair whose second half may be jumped over, as a
    /// 32-bit copy of a pointer is unknown at once.
    fn unknown(&mut self, dst: Reg) -> Insn {
        Insn::Alu { op: AluOp::Mov, width: Width::W32, dst, src: Operand::Reg(Reg::R1) }
    }

    fn branch(&mut self) {
        let cond = self.rng.pick(&Cond::ALL);
        let off = self.rng.pick(&[0, 1, 1, 2, 3, 5]);
        let insn =
            Insn::CondJump { cond, width: self.width(), dst: self.reg(), src: self.operand(), off };
        self.out.push(insn);
    }

    /// A copy of the frame pointer moved by a scalar: refused or not, it makes the scalar precise.
    fn pointer(&mut self) {
        let src = Operand::Reg(self.reg());
        let op = self.rng.pick(&[AluOp::Add, AluOp::Add, AluOp::Sub]);
        self.mov(Reg::R1, Operand::Reg(Reg::R1), Width::W64);
        self.out.push(Insn::Alu { op, width: Width::W64, dst: Reg::R1, src });
    }

    /// Uses some registers, so that they are alive above; then returns 0.
    fn epilogue(&mut self) {
        for r in SCALARS {
            if self.rng.percent(60) {
                let src = Operand::Reg(r);
                self.out.push(Insn::Alu { op: AluOp::Xor, width: Width::W64, dst: Reg::R0, src });
            }
        }
        self.mov(Reg::R0, Operand::Imm(0), Width::W64);
        self.out.push(Insn::Exit);
    }

    /// Encodes; jump distances, drawn in instructions, become slots and stay inside the program.
    fn finish(self, seed: u64) -> Program {
        let mut start = Vec::with_capacity(self.out.len());
        let mut slot = 0usize;
        for insn in &self.out {
            start.push(slot);
            slot += insn.slots();
        }
        let last = self.out.len() - 2;
        let mut insns: Vec<RawInsn> = Vec::with_capacity(slot);
        for (i, insn) in self.out.iter().enumerate() {
            let mut insn = *insn;
            if let Insn::CondJump { off, .. } = &mut insn {
                let target = (i + 1 + *off as usize).min(last);
                *off = (start[target] - start[i] - 1) as i16;
            }
            let (first, second) = encode(&insn);
            insns.push(first);
            insns.extend(second);
        }
        Program {
            section: "tc".into(),
            ..Program::bare(format!("scalar_{seed}"), ProgType::SchedCls, insns)
        }
    }
}
