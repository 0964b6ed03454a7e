//! One mistake, of many kinds, put into a program that is otherwise careful.

use bpfassay_isa::encode::encode;
use bpfassay_isa::{
    AluOp, AtomicOp, CallTarget, Cond, Imm64, Insn, Operand, RawInsn, Reg, Size, SwapKind, SxFrom,
    Width,
};

use bpfassay_spec::ProgType;

use super::code::{Writer, BASE, COUNT, FP};
use super::{INPUT, VALUE};

/// Kinds that are instructions.
const KINDS: u32 = 42;
/// Kinds that spoil an encoded program.
const SPOILS: u32 = 10;

const R3: Reg = Reg::R3;
const R4: Reg = Reg::R4;

/// Helpers that no kernel has, and one for programs of another type.  None that allocates: rejected programs run
/// in this process.
const CALLS: [i32; 4] = [9999, 0, -1, 51];

impl Writer<'_> {
    /// Something that the verifier minds, most likely.
    pub fn mistake(&mut self) {
        let kind = self.choices.below(KINDS);
        let number = self.number_reg();
        let imm = Operand::Imm;
        match kind {
            0 => self.mov(Reg::R0, Reg::R5),
            1 => self.set(FP, 1),
            2 => self.pointer_op(BASE, AluOp::Mul, Width::W64, imm(2)),
            3 => self.pointer_op(BASE, AluOp::Xor, Width::W64, Operand::Reg(number)),
            4 => self.pointer_op(FP, AluOp::Add, Width::W32, imm(1)),
            5 => self.alu(AluOp::Sub, Width::W64, number, Operand::Reg(BASE)),
            6 => self.pointer_op(FP, AluOp::Add, Width::W64, Operand::Reg(BASE)),
            7 => self.pointer_op(FP, AluOp::Sub, Width::W64, Operand::Reg(number)),
            8 => self.pointer_op(FP, AluOp::Add, Width::W64, imm(0x2000_0000)),
            9 => {
                self.mov(R3, FP);
                self.alu(AluOp::Add, Width::W64, R3, Operand::Reg(number));
                self.store(Size::B, R3, -80, imm(0));
            }
            10 => {
                self.mov(R3, BASE);
                self.push(Insn::Neg { width: Width::W64, dst: R3 });
            }
            11 => {
                self.mov(R3, BASE);
                self.push(Insn::Swap { kind: SwapKind::ToBe, bits: 32, dst: R3 });
            }
            12 => self.push(Insn::MovSx { width: Width::W64, from: SxFrom::B, dst: R3, src: BASE }),
            13 => self.alu(AluOp::Div, Width::W64, number, imm(0)),
            14 => self.alu(AluOp::Mod, Width::W32, number, imm(0)),
            15 => self.load(Size::Dw, false, R3, number, 0),
            16 => self.store(Size::W, number, 4, imm(0)),
            // The context of a system call program is as long as its accesses reach.
            17 if self.prog_type == ProgType::Syscall => self.load(Size::B, false, R3, BASE, -1),
            17 => self.load(Size::B, false, R3, BASE, INPUT as i16),
            18 => self.store(Size::Dw, BASE, -8, imm(0)),
            19 => self.load(Size::Dw, false, R3, FP, -520),
            20 => self.store(Size::Dw, FP, 8, imm(0)),
            21 => self.load(Size::Dw, false, R3, FP, -12),
            22 => self.load(Size::W, false, R3, FP, -2),
            23 => self.atomic(AtomicOp::Add, BASE, number),
            24 => self.atomic(AtomicOp::Cmpxchg, FP, Reg::R5),
            25 => self.store(Size::W, FP, -8, Operand::Reg(BASE)),
            26 => {
                self.store(Size::Dw, FP, -8, Operand::Reg(BASE));
                self.store(Size::B, FP, -8, imm(1));
                self.load(Size::Dw, false, R3, FP, -8);
                self.load(Size::B, false, R3, R3, 0);
            }
            27 => {
                let id = self.choices.pick(&CALLS);
                self.push(Insn::Call { target: CallTarget::Helper(id) });
            }
            28 => {
                self.set(Reg::R1, 5);
                self.push(Insn::Call { target: CallTarget::Helper(1) });
            }
            29 => self.lookup(BASE, 0),
            30 => self.lookup(FP, -240),
            31 => self.lookup(FP, 0),
            32 => self.map_pointer(|w| w.alu(AluOp::Add, Width::W64, R4, imm(8))),
            33 => self.map_pointer(|w| w.store(Size::Dw, R4, 0, imm(0))),
            34 => self.map_pointer(|w| w.load(Size::B, false, R3, R4, 30_000)),
            35 => {
                let top = self.label();
                self.place(top);
                self.jump(top);
            }
            36 => {
                // Falls into what follows, which nothing else reaches.
                let end = self.label();
                self.jump(end);
                self.set(R3, 0);
                self.place(end);
            }
            37 => self.push(Insn::LoadPacket { size: Size::B, index: None, imm: 14 }),
            38 => self.push(Insn::CallReg { target: number }),
            39 => {
                // Around a loop that never ends, whatever the number is.
                let top = self.label();
                self.place(top);
                self.alu(AluOp::Or, Width::W64, number, imm(1));
                self.jump_if(Cond::Ne, Width::W64, number, imm(0), top);
            }
            40 => self.value_beyond(number),
            _ => self.push(Insn::Exit),
        }
        // Where it was none after all, addresses and what nobody wrote must not become results.
        for r in [Reg::R1, Reg::R2, R3, R4] {
            self.unmark(r);
        }
    }

    fn pointer_op(&mut self, pointer: Reg, op: AluOp, width: Width, src: Operand) {
        self.mov(R3, pointer);
        self.alu(op, width, R3, src);
        self.load(Size::B, false, R3, R3, 0);
    }

    fn atomic(&mut self, op: AtomicOp, dst: Reg, src: Reg) {
        let fetch = op == AtomicOp::Cmpxchg;
        self.push(Insn::Atomic { op, fetch, size: Size::Dw, dst, src, off: -8 });
    }

    /// A lookup whose key stands there.
    fn lookup(&mut self, key: Reg, off: i32) {
        self.mov(Reg::R2, key);
        self.alu(AluOp::Add, Width::W64, Reg::R2, Operand::Imm(off));
        if !self.has_maps {
            self.set(Reg::R1, 0);
        } else {
            self.push(Insn::LoadImm64 { dst: Reg::R1, value: Imm64::MapFd(0) });
        }
        self.helper(1);
        self.unmark(Reg::R0);
    }

    fn map_pointer(&mut self, then: impl FnOnce(&mut Self)) {
        let map = if self.has_maps { 0 } else { 77 };
        self.push(Insn::LoadImm64 { dst: R4, value: Imm64::MapFd(map) });
        then(self);
    }

    /// A value's byte at an offset that is not bounded, or behind its end.
    fn value_beyond(&mut self, index: Reg) {
        self.store(Size::W, FP, -8, Operand::Imm(0));
        self.lookup(FP, -8);
        let end = self.label();
        self.jump_if(Cond::Eq, Width::W64, Reg::R0, Operand::Imm(0), end);
        if self.choices.percent(50) {
            self.load(Size::B, false, R3, Reg::R0, VALUE as i16);
        } else if index != Reg::R0 {
            self.alu(AluOp::Add, Width::W64, Reg::R0, Operand::Reg(index));
            self.load(Size::B, false, R3, Reg::R0, 0);
        }
        self.place(end);
        self.set(Reg::R0, 0);
        self.mark(Reg::R0);
    }

    /// Which of the encodings is to be spoilt, and how; None mostly.
    pub fn spoil(&mut self, percent: u32) -> Option<(u32, u32)> {
        let how = self.choices.percent(percent).then(|| self.choices.below(SPOILS))?;
        Some((how, self.choices.below(200)))
    }
}

/// Spoils one slot, or the end.
pub fn spoilt(mut slots: Vec<RawInsn>, (how, choice): (u32, u32)) -> Vec<RawInsn> {
    let at = choice as usize % slots.len().max(1);
    let Some(slot) = slots.get_mut(at) else { return slots };
    match how {
        0 => slot.code = 0x8f,
        1 => slot.code = 0xff,
        2 => slot.dst = 11,
        3 => slot.src = 12,
        // The kernel does not look at an exit's; our decoder does.
        4 if *slot != encode(&Insn::Exit).0 => slot.off = 0x55,
        4 => slot.imm = 1,
        // A loop of so many rounds takes as long as thousands of programs: most keep theirs.
        5 if slot.dst == COUNT.0 && choice % 16 != 0 => slot.src = 12,
        5 => slot.imm = 0x1234_5678,
        6 => *slot = encode(&Insn::Jump { off: 1000, long: false }).0,
        7 => *slot = encode(&Insn::LoadImm64 { dst: R3, value: Imm64::Const(1) }).0,
        8 => {
            slots.pop();
        }
        _ => {
            let target = CallTarget::Subprog(-(at as i32) - 1);
            *slot = encode(&Insn::Call { target }).0;
        }
    }
    slots
}
