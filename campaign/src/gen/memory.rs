//! Statements that reach memory at an offset nobody knows: map values, input, stack.

use bpfassay_isa::{AluOp, AtomicOp, Cond, Imm64, Insn, Operand, Reg, Size, Width};

use super::code::{Label, Writer, BASE, FP};
use super::{INPUT, VALUE};

const LOOKUP: i32 = 1;
const KEY: i16 = -72;
/// Those that are easy to get wrong, more often.
const ATOMICS: [AtomicOp; 8] = {
    use AtomicOp::*;
    [Add, Or, And, Xor, Xchg, Cmpxchg, Cmpxchg, Cmpxchg]
};

impl Writer<'_> {
    /// A looked-up value, compared with NULL and used.
    pub fn value(&mut self) {
        let map = self.choices.below(2) as i32;
        let key = if self.choices.percent(60) {
            Operand::Imm(self.choices.below(6) as i32)
        } else {
            Operand::Reg(self.number_reg())
        };
        self.store(Size::W, FP, KEY, key);
        self.mov(Reg::R2, FP);
        self.alu(AluOp::Add, Width::W64, Reg::R2, Operand::Imm(KEY.into()));
        self.push(Insn::LoadImm64 { dst: Reg::R1, value: Imm64::MapFd(map) });
        self.helper(LOOKUP);
        self.unmark(Reg::R0);
        let end = self.label();
        let careless = self.choices.percent(3);
        if careless {
            self.alu(AluOp::Add, Width::W64, Reg::R0, Operand::Imm(8));
        }
        if self.choices.percent(98) {
            self.jump_if(Cond::Eq, Width::W64, Reg::R0, Operand::Imm(0), end);
        }
        let before = self.live;
        let n = 1 + self.choices.below(2);
        if !careless && self.choices.percent(15) {
            let size = self.choices.pick(&[Size::W, Size::W, Size::Dw]);
            let places = VALUE / size.bytes();
            let off = (self.choices.below(places) * size.bytes()) as i16;
            self.atomic_at(Reg::R0, size, off);
        }
        for _ in 0..n {
            let limit = if careless { VALUE as i32 - 8 } else { VALUE as i32 };
            self.access(Reg::R0, 0, limit, end, true);
        }
        self.live &= before;
        self.place(end);
        self.set(Reg::R0, 0);
        self.mark(Reg::R0);
    }

    /// The input at a place that is known.
    pub fn input_at(&mut self) {
        let size = self.size();
        let places = INPUT as u32 / size.bytes();
        let off = (self.choices.below(places) * size.bytes()) as i16;
        let src = self.number_reg();
        self.store(size, BASE, off, Operand::Reg(src));
    }

    /// A byte of the stack, wherever.
    pub fn stack_at(&mut self) {
        let (before, end) = (self.live, self.label());
        self.access(FP, -16, 16, end, true);
        self.live &= before;
        self.place(end);
    }

    /// Reads or writes `limit` bytes that begin `start` bytes from `base`; mostly within.
    fn access(&mut self, base: Reg, start: i32, limit: i32, end: Label, may_write: bool) {
        let mut size = self.size();
        let bytes = size.bytes() as i32;
        if self.choices.percent(35) {
            let places = (limit / bytes) as u32;
            let off = start + self.choices.below(places) as i32 * bytes;
            return self.touch(base, size, off, may_write, true);
        }
        // The stack is reached by whole words only where the offset is known to be a multiple.
        if base == FP {
            size = Size::B;
        }
        let bytes = size.bytes() as i32;
        let index = self.other_than(base);
        let room = limit - bytes;
        let most = self.bounded(index, room, end);
        let pointer = self.choices.pick(&[Reg::R3, Reg::R4, Reg::R5]);
        if pointer == index {
            return;
        }
        self.unmark(pointer);
        self.mov(pointer, base);
        self.alu(AluOp::Add, Width::W64, pointer, Operand::Reg(index));
        let slack = (room - most).max(0);
        let careless = i32::from(self.choices.percent(6));
        let off = start + self.choices.below(slack as u32 + 1) as i32 + careless;
        self.touch(pointer, size, off, may_write, false);
    }

    /// Makes the verifier believe that `index` is at most this, by one of the ways programs do.
    fn bounded(&mut self, index: Reg, room: i32, end: Label) -> i32 {
        let most = self.choices.below(room as u32 + 1) as i32;
        let width = self.width();
        match self.choices.below(7) {
            0 => {
                let mask = (1i32 << (31 - (most + 1).leading_zeros())) - 1;
                self.alu(AluOp::And, width, index, Operand::Imm(mask));
                mask
            }
            1 => {
                self.jump_if(Cond::Gt, Width::W64, index, Operand::Imm(most), end);
                most
            }
            2 => {
                // Both ends, signed.
                self.jump_if(Cond::Sgt, Width::W64, index, Operand::Imm(most), end);
                self.jump_if(Cond::Slt, Width::W64, index, Operand::Imm(0), end);
                most
            }
            3 => {
                // The low half, then what is above it goes.
                self.jump_if(Cond::Gt, Width::W32, index, Operand::Imm(most), end);
                self.alu(AluOp::Mov, Width::W32, index, Operand::Reg(index));
                most
            }
            4 => {
                self.alu(AluOp::Mod, Width::W64, index, Operand::Imm(most + 1));
                self.jump_if(Cond::Gt, Width::W64, index, Operand::Imm(most), end);
                most
            }
            5 => {
                self.limited_by_register(index, most, end);
                most
            }
            _ => {
                let bits = self.choices.below(5) + 1;
                let narrow = (most + 1).ilog2().min(bits);
                self.alu(AluOp::Rsh, Width::W64, index, Operand::Imm(64 - narrow.max(1) as i32));
                (1 << narrow.max(1)) - 1
            }
        }
    }

    /// A limit in a register; now and then another one on the path that is looked at later.
    fn limited_by_register(&mut self, index: Reg, most: i32, end: Label) {
        let limit = self.other_than(index);
        if self.choices.percent(15) {
            let (chance, skip) = (self.number_reg(), self.label());
            let v = self.imm();
            if chance != limit {
                self.set(limit, i32::MAX);
                self.jump_if(Cond::Sgt, Width::W64, chance, Operand::Imm(v), skip);
            }
            self.set(limit, most);
            self.place(skip);
        } else {
            self.set(limit, most);
        }
        self.jump_if(Cond::Gt, Width::W64, index, Operand::Reg(limit), end);
    }

    fn touch(&mut self, pointer: Reg, size: Size, off: i32, may_write: bool, is_aligned: bool) {
        let off = off as i16;
        match self.choices.below(6) {
            0 | 1 if may_write => {
                let src = self.other_than(pointer);
                self.store(size, pointer, off, Operand::Reg(src));
            }
            2 if may_write => {
                let v = self.imm();
                self.store(size, pointer, off, Operand::Imm(v));
            }
            3 if is_aligned
                && may_write
                && pointer != BASE
                && pointer != FP
                && matches!(size, Size::W | Size::Dw) =>
            {
                self.atomic_at(pointer, size, off);
            }
            _ => {
                let dst = self.choices.pick(&[Reg::R6, Reg::R7, Reg::R1]);
                if dst != pointer {
                    let sign_extend = self.choices.percent(15) && pointer != BASE;
                    self.load(size, sign_extend, dst, pointer, off);
                    self.mark(dst);
                }
            }
        }
    }

    fn atomic_at(&mut self, pointer: Reg, size: Size, off: i16) {
        if pointer != Reg::R0 || self.choices.percent(35) {
            let src = self.other_than(pointer);
            let op = self.choices.pick(&[AtomicOp::Add, AtomicOp::Or, AtomicOp::Xor]);
            let fetch = self.choices.percent(30);
            self.push(Insn::Atomic { op, fetch, size, dst: pointer, src, off });
            return;
        }
        // With a number in R0, which comparing takes and fetching may give.
        let dst = self.choices.pick(&[Reg::R3, Reg::R4, Reg::R5]);
        self.mov(dst, pointer);
        self.unmark(dst);
        let r0 = self.other_than(pointer);
        self.mov(Reg::R0, r0);
        self.mark(Reg::R0);
        let src = if self.choices.percent(30) { Reg::R0 } else { self.other_than(dst) };
        let op = self.choices.pick(&ATOMICS);
        let fetch = matches!(op, AtomicOp::Xchg | AtomicOp::Cmpxchg) || self.choices.percent(70);
        let kept = self.choices.pick(&[Reg::R6, Reg::R7]);
        if op == AtomicOp::Cmpxchg && kept != src && self.choices.percent(75) {
            // What is there, with something above it that 32 bits do not compare.
            self.load(size, false, Reg::R0, dst, off);
            let value = Imm64::Const(u64::from(self.choices.below(256)) << 32);
            self.push(Insn::LoadImm64 { dst: kept, value });
            self.alu(AluOp::Or, Width::W64, Reg::R0, Operand::Reg(kept));
        }
        self.push(Insn::Atomic { op, fetch, size, dst, src, off });
        self.mov(kept, Reg::R0);
        self.mark(kept);
        if self.choices.percent(60) {
            self.store(Size::Dw, dst, 0, Operand::Reg(kept));
        }
        self.mov(pointer, dst);
        self.unmark(pointer);
    }
}
