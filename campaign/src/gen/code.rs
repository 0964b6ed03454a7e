//! Writing instructions: registers that hold something, labels, functions.

use bpfassay_isa::encode::encode;
use bpfassay_isa::{AluOp, CallTarget, Cond, Insn, Operand, RawInsn, Reg, Size, Width};
use bpfassay_spec::ProgType;

use crate::choices::Choices;

/// Holds the input's address in the first function.
pub(super) const BASE: Reg = Reg::R9;
/// Counts loops.
pub(super) const COUNT: Reg = Reg::R8;
pub(super) const FP: Reg = Reg::R10;
/// Registers for numbers.
const POOL: [Reg; 8] = [Reg::R0, Reg::R1, Reg::R2, Reg::R3, Reg::R4, Reg::R5, Reg::R6, Reg::R7];
/// Bytes of stack for numbers, below the frame pointer.
pub(super) const STACK: i16 = 64;

/// A place to jump to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Label(usize);

enum Item {
    Insn(Insn),
    /// Its distance is the label's.
    To(Insn, Label),
}

pub(super) struct Writer<'c> {
    pub choices: &'c mut Choices,
    pub prog_type: ProgType,
    pub has_maps: bool,
    items: Vec<Item>,
    /// Item that each label stands before.
    labels: Vec<usize>,
    /// Registers of the pool that may be read.
    pub live: u16,
    /// Functions still to be written, and their labels.
    pub callees: Vec<Label>,
    pub is_main: bool,
    pub in_loop: bool,
}

impl<'c> Writer<'c> {
    pub fn new(choices: &'c mut Choices, prog_type: ProgType, has_maps: bool) -> Writer<'c> {
        Writer {
            choices,
            prog_type,
            has_maps,
            items: Vec::with_capacity(128),
            labels: Vec::new(),
            live: 0,
            callees: Vec::new(),
            is_main: true,
            in_loop: false,
        }
    }

    pub fn len(&self) -> usize {
        self.items.len()
    }

    pub fn push(&mut self, insn: Insn) {
        self.items.push(Item::Insn(insn));
    }

    pub fn alu(&mut self, op: AluOp, width: Width, dst: Reg, src: Operand) {
        self.push(Insn::Alu { op, width, dst, src });
    }

    pub fn mov(&mut self, dst: Reg, src: Reg) {
        self.alu(AluOp::Mov, Width::W64, dst, Operand::Reg(src));
    }

    pub fn set(&mut self, dst: Reg, v: i32) {
        self.alu(AluOp::Mov, Width::W64, dst, Operand::Imm(v));
    }

    pub fn load(&mut self, size: Size, sign_extend: bool, dst: Reg, src: Reg, off: i16) {
        self.push(Insn::Load { size, sign_extend: sign_extend && size != Size::Dw, dst, src, off });
    }

    pub fn store(&mut self, size: Size, dst: Reg, off: i16, src: Operand) {
        self.push(Insn::Store { size, dst, off, src });
    }

    pub fn helper(&mut self, id: i32) {
        self.push(Insn::Call { target: CallTarget::Helper(id) });
        self.after_call();
    }

    /// Something jumps to it or calls it.
    pub fn is_called(&self, l: Label) -> bool {
        self.items.iter().any(|i| matches!(i, Item::To(_, to) if to.0 == l.0))
    }

    /// r1 to r5 are gone.
    pub fn after_call(&mut self) {
        self.live = (self.live | 1) & !0b11_1110;
    }

    /// A label that is placed later.
    pub fn label(&mut self) -> Label {
        self.labels.push(usize::MAX);
        Label(self.labels.len() - 1)
    }

    pub fn place(&mut self, l: Label) {
        self.labels[l.0] = self.items.len();
    }

    pub fn jump_if(&mut self, cond: Cond, width: Width, dst: Reg, src: Operand, to: Label) {
        self.items.push(Item::To(Insn::CondJump { cond, width, dst, src, off: 0 }, to));
    }

    pub fn jump(&mut self, to: Label) {
        self.items.push(Item::To(Insn::Jump { off: 0, long: false }, to));
    }

    pub fn call(&mut self, callee: Label) {
        self.items.push(Item::To(Insn::Call { target: CallTarget::Subprog(0) }, callee));
        self.after_call();
    }

    pub fn mark(&mut self, r: Reg) {
        self.live |= 1 << r.0;
    }

    pub fn unmark(&mut self, r: Reg) {
        self.live &= !(1 << r.0);
    }

    pub fn is_live(&self, r: Reg) -> bool {
        self.live & 1 << r.0 != 0
    }

    /// A register to write to.
    pub fn any(&mut self) -> Reg {
        self.choices.pick(&POOL)
    }

    /// A register that holds a number; seldom one that holds nothing.
    pub fn number_reg(&mut self) -> Reg {
        let live: Vec<Reg> = POOL.into_iter().filter(|r| self.is_live(*r)).collect();
        if live.is_empty() {
            let r = self.choices.pick(&[Reg::R6, Reg::R7]);
            self.set(r, 1);
            self.mark(r);
            return r;
        }
        self.choices.pick(&live)
    }

    /// A number's register other than this one.
    pub fn other_than(&mut self, not: Reg) -> Reg {
        let r = self.number_reg();
        if r != not {
            return r;
        }
        let r = if not == Reg::R6 { Reg::R7 } else { Reg::R6 };
        if !self.is_live(r) {
            self.set(r, 1);
            self.mark(r);
        }
        r
    }

    pub fn width(&mut self) -> Width {
        self.choices.pick(&[Width::W64, Width::W64, Width::W32])
    }

    pub fn size(&mut self) -> Size {
        self.choices.pick(&[Size::Dw, Size::W, Size::H, Size::B])
    }

    /// The slots; distances are filled in.
    pub fn finish(self) -> Vec<RawInsn> {
        let mut start = Vec::with_capacity(self.items.len() + 1);
        let mut slot = 0i32;
        for item in &self.items {
            start.push(slot);
            let (Item::Insn(insn) | Item::To(insn, _)) = item;
            slot += insn.slots() as i32;
        }
        start.push(slot);
        let mut slots = Vec::with_capacity(slot as usize);
        for (i, item) in self.items.into_iter().enumerate() {
            let mut insn = match item {
                Item::Insn(insn) => insn,
                Item::To(insn, label) => {
                    let to = self.labels[label.0].min(start.len() - 1);
                    with_distance(insn, start[to] - start[i] - 1)
                }
            };
            if let Insn::CondJump { off, .. } = &mut insn {
                *off = (*off).max(i16::MIN + 1);
            }
            let (first, second) = encode(&insn);
            slots.push(first);
            slots.extend(second);
        }
        slots
    }
}

fn with_distance(insn: Insn, distance: i32) -> Insn {
    match insn {
        Insn::CondJump { cond, width, dst, src, .. } => {
            Insn::CondJump { cond, width, dst, src, off: distance as i16 }
        }
        Insn::Call { .. } => Insn::Call { target: CallTarget::Subprog(distance) },
        _ => Insn::Jump { off: distance, long: false },
    }
}
