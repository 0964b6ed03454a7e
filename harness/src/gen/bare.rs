//! Random bare programs that end, stay inside their memory, and never let an address become a result:
//! every engine must agree on r0 and memory.
//!
//! r9 keeps the memory's address, r8 counts loops; r10 and copies of r9 are used for addressing and
//! then overwritten.  After a call r1 to r5 are written anew, as the instruction
//! set leaves them undefined.

use bpfassay_isa::encode::encode;
use bpfassay_isa::{
    AluOp, AtomicOp, CallTarget, Cond, Imm64, Insn, Operand, RawInsn, Reg, Size, SwapKind, SxFrom,
    Width,
};

use super::loaded::Around;
use super::rng::Rng;

/// Bytes of memory the program may touch.
pub const MEMORY: usize = 128;
/// Registers that hold numbers.
pub(super) const NUMBERS: [Reg; 8] =
    [Reg::R0, Reg::R1, Reg::R2, Reg::R3, Reg::R4, Reg::R5, Reg::R6, Reg::R7];
pub(super) const BASE: Reg = Reg::R9;
const COUNT: Reg = Reg::R8;
pub(super) const FP: Reg = Reg::R10;
/// Bytes of stack in use.
pub(super) const STACK: i16 = 64;

const EDGES: [i32; 22] = [
    0,
    1,
    -1,
    2,
    3,
    5,
    7,
    9,
    10,
    31,
    32,
    63,
    64,
    127,
    128,
    -128,
    255,
    0xffff,
    i32::MAX,
    i32::MIN,
    1000,
    -3,
];

/// What a function is entered with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Role {
    /// Memory or a context in r1.
    Entry,
    /// Called by the program: numbers, and in a loaded program the context in r1.
    Callee,
    /// Called by `bpf_loop`: a number and the caller's stack.
    LoopBody,
    /// Called by `bpf_for_each_map_elem`: map, key, value, the caller's stack.
    EachBody,
}

/// A program being written; distances of jumps are in instructions until the end.
pub(super) struct Gen {
    pub(super) rng: Rng,
    pub(super) out: Vec<Insn>,
    /// First instructions of functions; calls hold indices until the end.
    pub(super) functions: Vec<usize>,
    /// What is around the program, unless it is bare.
    pub(super) around: Option<Around>,
    /// Registers that may be read and written now.
    pub(super) pool: &'static [Reg],
}

/// The program of a seed, of about `len` instructions.
pub fn program(seed: u64, len: u32) -> Vec<RawInsn> {
    let mut g = Gen::new(seed, None);
    let functions = g.rng.below(3);
    g.function(len, functions, Role::Entry);
    for i in 0..functions {
        // A function calls only those behind it.
        g.function(len / 3, functions - 1 - i, Role::Callee);
    }
    g.finish()
}

impl Gen {
    pub(super) fn new(seed: u64, around: Option<Around>) -> Gen {
        let rng = Rng::new(seed);
        Gen { rng, out: Vec::new(), functions: Vec::new(), around, pool: &NUMBERS }
    }

    pub(super) fn reg(&mut self) -> Reg {
        self.rng.pick(self.pool)
    }

    pub(super) fn imm(&mut self) -> i32 {
        match self.rng.below(6) {
            0 => self.rng.next_u64() as i32,
            1 => 1i32.wrapping_shl(self.rng.below(32)).wrapping_sub(self.rng.below(2) as i32),
            _ => self.rng.pick(&EDGES),
        }
    }

    fn width(&mut self) -> Width {
        self.rng.pick(&[Width::W64, Width::W64, Width::W32])
    }

    pub(super) fn size(&mut self) -> Size {
        self.rng.pick(&[Size::B, Size::H, Size::W, Size::Dw])
    }

    pub(super) fn mov(&mut self, dst: Reg, src: Operand) {
        self.out.push(Insn::Alu { op: AluOp::Mov, width: Width::W64, dst, src });
    }

    pub(super) fn alu(&mut self, op: AluOp, dst: Reg, src: Operand) {
        self.out.push(Insn::Alu { op, width: Width::W64, dst, src });
    }

    pub(super) fn number(&mut self, dst: Reg) {
        if self.rng.percent(50) {
            let v = self.rng.next_u64() >> self.rng.below(64);
            self.out.push(Insn::LoadImm64 { dst, value: Imm64::Const(v) });
        } else {
            let v = self.imm();
            self.mov(dst, Operand::Imm(v));
        }
    }

    pub(super) fn function(&mut self, len: u32, callees: u32, role: Role) {
        self.functions.push(self.out.len());
        let kept = self.take_arguments(role);
        for dst in NUMBERS {
            if kept.contains(&dst.0) {
                continue;
            }
            self.number(dst);
        }
        for off in (-STACK..0).step_by(8) {
            let src = Operand::Reg(self.reg());
            self.out.push(Insn::Store { size: Size::Dw, dst: FP, off, src });
        }
        let mut left = len;
        while left > 0 {
            let block = self.rng.below(left.min(40)) + 1;
            let loops = self.rng.percent(30);
            let start = self.out.len() + 1;
            if loops {
                let n = self.rng.below(4) as i32 + 1;
                self.mov(COUNT, Operand::Imm(n));
            }
            let from = self.out.len();
            for _ in 0..block {
                self.step(callees, role);
            }
            self.confine(from);
            if loops {
                self.alu(AluOp::Add, COUNT, Operand::Imm(-1));
                let off = start as i64 - self.out.len() as i64 - 1;
                let (cond, width) = (Cond::Ne, self.width());
                let src = Operand::Imm(0);
                self.out.push(Insn::CondJump { cond, width, dst: COUNT, src, off: off as i16 });
            }
            left -= block;
        }
        for r in NUMBERS.into_iter().skip(1) {
            self.alu(AluOp::Mul, Reg::R0, Operand::Imm(0x0101_0101));
            self.alu(AluOp::Xor, Reg::R0, Operand::Reg(r));
        }
        if matches!(role, Role::LoopBody | Role::EachBody) {
            // Go on, or not.
            let mask = self.rng.below(2) as i32;
            self.alu(AluOp::And, Reg::R0, Operand::Imm(mask));
        }
        self.out.push(Insn::Exit);
    }

    /// Puts the address it was handed away; gives the numbers of the argument registers that hold numbers.
    fn take_arguments(&mut self, role: Role) -> std::ops::Range<u8> {
        let (from, kept) = match (role, self.around.is_some()) {
            (Role::Entry, _) => (Reg::R1, 0..0),
            (Role::Callee, false) => return 1..6,
            (Role::Callee, true) => (Reg::R1, 2..6),
            (Role::LoopBody, _) => (Reg::R2, 1..2),
            (Role::EachBody, _) => (Reg::R3, 0..0),
        };
        self.mov(BASE, Operand::Reg(from));
        kept
    }

    /// Keeps the jumps written since `from` before the end.
    fn confine(&mut self, from: usize) {
        let end = self.out.len();
        for (i, insn) in self.out.iter_mut().enumerate().skip(from) {
            let limit = end - i - 1;
            match insn {
                Insn::CondJump { off, .. } | Insn::MayGoto { off } => {
                    *off = (*off as usize).min(limit) as i16;
                }
                Insn::Jump { off, .. } => *off = (*off as usize).min(limit) as i32,
                _ => {}
            }
        }
    }

    /// Steps that are one unit end with nothing to jump into: callers see them whole or not.
    fn step(&mut self, callees: u32, role: Role) {
        match self.rng.below(100) {
            30..=54 if self.around.is_some() => self.outside(role),
            0..=54 => self.arithmetic(),
            55..=66 => self.branch(),
            67..=76 => self.stack(),
            77..=92 if self.around.is_some() => self.outside(role),
            77..=92 if role == Role::Entry => self.memory(),
            93..=95 if callees > 0 => self.call(callees),
            96 => self.helper(),
            97 => self.idiom(),
            _ => self.idiom(),
        }
    }

    fn operand(&mut self) -> Operand {
        if self.rng.percent(50) {
            Operand::Imm(self.imm())
        } else {
            Operand::Reg(self.reg())
        }
    }

    fn arithmetic(&mut self) {
        use AluOp::*;
        let (dst, width) = (self.reg(), self.width());
        let insn = match self.rng.below(20) {
            0 => Insn::Neg { width, dst },
            1 => Insn::Swap {
                kind: self.rng.pick(&[SwapKind::ToLe, SwapKind::ToBe, SwapKind::Bswap]),
                bits: self.rng.pick(&[16, 32, 64]),
                dst,
            },
            2 => {
                let from = match width {
                    Width::W64 => self.rng.pick(&[SxFrom::B, SxFrom::H, SxFrom::W]),
                    Width::W32 => self.rng.pick(&[SxFrom::B, SxFrom::H]),
                };
                Insn::MovSx { width, from, dst, src: self.reg() }
            }
            3..=7 => Insn::Alu { op: Mov, width, dst, src: self.operand() },
            _ => {
                let op = self.rng.pick(&[
                    Add, Sub, Mul, Div, SDiv, Or, And, Lsh, Rsh, Mod, SMod, Xor, Arsh, Add, And,
                    Lsh, Rsh,
                ]);
                Insn::Alu { op, width, dst, src: self.operand() }
            }
        };
        self.out.push(insn);
    }

    fn branch(&mut self) {
        use Cond::*;
        let distance = self.rng.below(12);
        let far = if self.rng.percent(10) { distance * 4 } else { distance } as i16;
        let insn = match self.rng.below(12) {
            0 => Insn::Jump { off: far as i32, long: self.rng.percent(30) },
            1 => Insn::MayGoto { off: far },
            _ => Insn::CondJump {
                cond: self.rng.pick(&[Eq, Gt, Ge, Set, Ne, Sgt, Sge, Lt, Le, Slt, Sle]),
                width: self.width(),
                dst: self.reg(),
                src: self.operand(),
                off: far,
            },
        };
        self.out.push(insn);
    }

    pub(super) fn place(&mut self, size: Size, limit: i16) -> i16 {
        let bytes = size.bytes() as i16;
        self.rng.below((limit / bytes) as u32) as i16 * bytes
    }

    fn stack(&mut self) {
        let size = self.size();
        let off = self.place(size, STACK) - STACK;
        let insn = self.access(size, FP, off);
        self.out.push(insn);
    }

    pub(super) fn access(&mut self, size: Size, base: Reg, off: i16) -> Insn {
        match self.rng.below(12) {
            0..=3 => Insn::Store { size, dst: base, off, src: self.operand() },
            4 | 5 if matches!(size, Size::W | Size::Dw) => {
                use AtomicOp::*;
                let op = self.rng.pick(&[Add, Or, And, Xor, Xchg, Cmpxchg]);
                let fetch = matches!(op, Xchg | Cmpxchg) || self.rng.percent(60);
                Insn::Atomic { op, fetch, size, dst: base, src: self.reg(), off }
            }
            6 => Insn::LoadAcquire { size, dst: self.reg(), src: base, off },
            7 => Insn::StoreRelease { size, dst: base, src: self.reg(), off },
            _ => {
                let sign_extend = size != Size::Dw && self.rng.percent(30);
                Insn::Load { size, sign_extend, dst: self.reg(), src: base, off }
            }
        }
    }

    pub(super) fn memory(&mut self) {
        let size = self.size();
        let off = self.place(size, MEMORY as i16);
        if self.rng.percent(60) {
            let insn = self.access(size, BASE, off);
            return self.out.push(insn);
        }
        // Through a computed address, as compilers write it.
        let (mut at, index) = (self.reg(), self.reg());
        if at == index {
            at = if index == Reg::R7 { Reg::R6 } else { Reg::R7 };
        }
        let scale = self.rng.below(4);
        let units = 7 >> scale.saturating_sub(size.bytes().trailing_zeros());
        let mask = units.max(1) << size.bytes().trailing_zeros().saturating_sub(scale);
        let start = self.out.len();
        self.alu(AluOp::And, index, Operand::Imm(mask & 7));
        if self.rng.percent(50) {
            if scale > 0 {
                self.alu(AluOp::Lsh, index, Operand::Imm(scale as i32));
            }
            self.mov(at, Operand::Reg(BASE));
            self.alu(AluOp::Add, at, Operand::Reg(index));
        } else {
            self.mov(at, Operand::Reg(index));
            if scale > 0 {
                self.alu(AluOp::Lsh, at, Operand::Imm(scale as i32));
            }
            self.alu(AluOp::Add, at, Operand::Reg(BASE));
        }
        let off = self.rng.below(8) as i16 * size.bytes() as i16;
        let load = self.rng.percent(60);
        if load {
            let dst = if self.rng.percent(50) { at } else { self.reg() };
            let sign_extend = size != Size::Dw && self.rng.percent(30);
            self.out.push(Insn::Load { size, sign_extend, dst, src: at, off });
            if dst == at {
                return self.unbroken(start);
            }
        } else {
            let src = Operand::Reg(index);
            self.out.push(Insn::Store { size, dst: at, off, src });
        }
        // The address must not be seen.
        self.number(at);
        self.unbroken(start);
    }

    /// Makes earlier jumps that would land behind `start` land at the end instead.
    pub(super) fn unbroken(&mut self, start: usize) {
        let end = self.out.len();
        for (i, insn) in self.out.iter_mut().enumerate().take(start) {
            let beyond = |off: usize| i + 1 + off > start && i + 1 + off < end;
            match insn {
                Insn::CondJump { off, .. } | Insn::MayGoto { off }
                    if *off >= 0 && beyond(*off as usize) =>
                {
                    *off = (start - i - 1) as i16;
                }
                Insn::Jump { off, .. } if *off >= 0 && beyond(*off as usize) => {
                    *off = (start - i - 1) as i32;
                }
                _ => {}
            }
        }
    }

    pub(super) fn refresh(&mut self) {
        for r in [Reg::R1, Reg::R2, Reg::R3, Reg::R4, Reg::R5] {
            if self.rng.percent(50) {
                self.mov(r, Operand::Reg(Reg::R0));
            } else {
                self.number(r);
            }
        }
    }

    fn call(&mut self, callees: u32) {
        let start = self.out.len();
        let callee = self.functions.len() as i32 + self.rng.below(callees) as i32;
        if self.around.is_some() {
            self.mov(Reg::R1, Operand::Reg(BASE));
        }
        // An index until `finish`.
        self.out.push(Insn::Call { target: CallTarget::Subprog(callee) });
        self.refresh();
        self.unbroken(start);
    }

    /// The suite's helper, which returns an argument that is not 0.
    fn helper(&mut self) {
        let start = self.out.len();
        self.alu(AluOp::Or, Reg::R1, Operand::Imm(1));
        if self.rng.percent(30) {
            self.mov(Reg::R4, Operand::Imm(5));
            self.out.push(Insn::CallReg { target: Reg::R4 });
        } else {
            self.out.push(Insn::Call { target: CallTarget::Helper(5) });
        }
        self.refresh();
        self.unbroken(start);
    }

    /// Sequences compilers write and backends may join.
    fn idiom(&mut self) {
        let (dst, src, width) = (self.reg(), self.reg(), self.width());
        let bits = if width == Width::W64 { 64 } else { 32 };
        let alu = |op, dst, src| Insn::Alu { op, width, dst, src };
        let n = self.rng.below(bits - 1) as i32 + 1;
        match self.rng.below(6) {
            // Rotation.
            0 => {
                self.out.push(alu(AluOp::Mov, dst, Operand::Reg(src)));
                self.out.push(alu(AluOp::Rsh, dst, Operand::Imm(bits as i32 - n)));
                self.out.push(alu(AluOp::Lsh, src, Operand::Imm(n)));
                self.out.push(alu(AluOp::Or, dst, Operand::Reg(src)));
                if self.rng.percent(60) {
                    self.number(src);
                }
            }
            // Extension by shifts.
            1 => {
                let op = self.rng.pick(&[AluOp::Rsh, AluOp::Arsh]);
                self.alu(AluOp::Lsh, dst, Operand::Imm(32));
                self.alu(op, dst, Operand::Imm(32));
            }
            // Read, change, write.
            2 => {
                let size = self.size();
                let off = self.place(size, STACK) - STACK;
                let op = self.rng.pick(&[AluOp::Add, AluOp::Or, AluOp::Xor, AluOp::And]);
                let src = self.operand();
                self.out.push(Insn::Load { size, sign_extend: false, dst, src: FP, off });
                self.out.push(alu(op, dst, src));
                self.out.push(Insn::Store { size, dst: FP, off, src: Operand::Reg(dst) });
                if self.rng.percent(60) {
                    self.number(dst);
                }
            }
            // Load and operate, load and compare.
            3 => {
                let size = self.size();
                let off = self.place(size, STACK) - STACK;
                self.out.push(Insn::Load { size, sign_extend: false, dst, src: FP, off });
                let op = self.rng.pick(&[AluOp::Add, AluOp::Xor, AluOp::Mul, AluOp::Sub]);
                self.out.push(alu(op, src, Operand::Reg(dst)));
                self.number(dst);
            }
            4 => {
                let size = self.size();
                let off = self.place(size, STACK) - STACK;
                self.out.push(Insn::Load { size, sign_extend: false, dst, src: FP, off });
                self.branch();
                self.number(dst);
            }
            // Copy and operate.
            _ => {
                self.out.push(alu(AluOp::Mov, dst, Operand::Reg(src)));
                self.arithmetic();
                if let Some(Insn::Alu { op, width, src, .. }) = self.out.pop() {
                    self.out.push(Insn::Alu { op, width, dst, src });
                }
            }
        }
    }

    /// Encodes; distances become slots.
    pub(super) fn finish(self) -> Vec<RawInsn> {
        let mut start = Vec::with_capacity(self.out.len() + 1);
        let mut slot = 0i64;
        for insn in &self.out {
            start.push(slot);
            slot += insn.slots() as i64;
        }
        start.push(slot);
        let mut slots = Vec::with_capacity(slot as usize);
        for (i, insn) in self.out.iter().enumerate() {
            let mut insn = *insn;
            let distance = |to: i64| start[to as usize] - start[i] - 1;
            match &mut insn {
                Insn::CondJump { off, .. } | Insn::MayGoto { off } => {
                    *off = distance(i as i64 + 1 + *off as i64) as i16;
                }
                Insn::Jump { off, .. } => *off = distance(i as i64 + 1 + *off as i64) as i32,
                Insn::Call { target: CallTarget::Subprog(callee) } => {
                    *callee = distance(self.functions[*callee as usize] as i64) as i32;
                }
                Insn::LoadImm64 { value: Imm64::Func(f), .. } => {
                    *f = distance(self.functions[*f as usize] as i64) as i32;
                }
                _ => {}
            }
            let (first, second) = encode(&insn);
            slots.push(first);
            slots.extend(second);
        }
        slots
    }
}
