//! Functions, jumps and calls, and a program's ways to the code it shares with others ([`crate::glue`]).

use bpfassay_isa::{Cond, Operand, Reg, Size, Width};
use bpfassay_jit::abi::{self, Convention};
use bpfassay_jit::buf::Patch;
use bpfassay_jit::mutation::{has, Mutation};
use bpfassay_jit::target::FuncFacts;
use bpfassay_jit::Label;

use crate::enc::{self, cc, Gp, Group1, Mem, Rm, W};
use crate::{gp, width, Flags, X86};

/// Fixups: 0 to 15 are conditional jumps, these the others; from [`LEA`] the register is added.
const JMP: u8 = 16;
const CALL: u8 = 17;
const LEA: u8 = 32;

/// Reach of a jump with one byte of distance.
const SHORT: i32 = 127;
/// Bytes below the stack pointer that nobody touches (System V).
const RED_ZONE: u32 = 128;

impl Patch for X86 {
    #[inline]
    fn patch(kind: u8, at: &mut [u8], distance: i32) {
        let rest = distance - at.len() as i32;
        if let [code, to] = at {
            // By far the most frequent.
            *code = if kind == JMP { 0xeb } else { 0x70 | kind };
            *to = rest as u8;
            return;
        }
        let head: &[u8] = match kind {
            0..=15 => &[0x0f, 0x80 | kind],
            JMP => &[0xe9],
            CALL => &[0xe8],
            reg => {
                let reg = reg - LEA;
                &[0x48 | (reg >> 3) << 2, 0x8d, (reg & 7) << 3 | 5]
            }
        };
        let rest = rest.to_le_bytes();
        for (to, from) in at.iter_mut().zip(head.iter().chain(rest.iter())) {
            *to = *from;
        }
    }

    fn pad(at: &mut [u8]) {
        // Recommended forms of one to nine bytes (Intel manual, volume 2, NOP).
        const NOPS: [&[u8]; 9] = [
            &[0x90],
            &[0x66, 0x90],
            &[0x0f, 0x1f, 0x00],
            &[0x0f, 0x1f, 0x40, 0x00],
            &[0x0f, 0x1f, 0x44, 0x00, 0x00],
            &[0x66, 0x0f, 0x1f, 0x44, 0x00, 0x00],
            &[0x0f, 0x1f, 0x80, 0x00, 0x00, 0x00, 0x00],
            &[0x0f, 0x1f, 0x84, 0x00, 0x00, 0x00, 0x00, 0x00],
            &[0x66, 0x0f, 0x1f, 0x84, 0x00, 0x00, 0x00, 0x00, 0x00],
        ];
        for piece in at.chunks_mut(NOPS.len()) {
            if let Some(nop) = NOPS.get(piece.len() - 1) {
                piece.copy_from_slice(nop);
            }
        }
    }
}

/// Condition code of an unsigned or signed comparison; `Set` is that of `test`.
#[inline(always)]
pub(crate) fn code(cond: Cond) -> u8 {
    match cond {
        Cond::Eq => cc::E,
        Cond::Ne | Cond::Set => cc::NE,
        Cond::Gt => cc::A,
        Cond::Ge => cc::AE,
        Cond::Lt => cc::B,
        Cond::Le => cc::BE,
        Cond::Sgt => cc::G,
        Cond::Sge => cc::GE,
        Cond::Slt => cc::L,
        Cond::Sle => cc::LE,
    }
}

/// Callee-saved registers of r6 to r9 that the function writes.
fn saved(f: &FuncFacts) -> impl DoubleEndedIterator<Item = Gp> + '_ {
    (6..10).filter(|r| f.writes >> r & 1 == 1).map(|r| gp(Reg(r)))
}

impl X86 {
    #[inline(always)]
    pub(crate) fn local_jump(&mut self, cc: u8, to: Label) {
        self.asm.buf.fixup(cc, to, 2, 6, SHORT);
    }

    pub(crate) fn local_jmp(&mut self, to: Label) {
        self.asm.buf.fixup(JMP, to, 2, 5, SHORT);
    }

    pub(crate) fn call_label(&mut self, to: Label) {
        self.asm.buf.fixup(CALL, to, 5, 5, i32::MAX);
    }

    pub(crate) fn lea_label(&mut self, dst: Reg, of: Label) {
        self.asm.buf.fixup(LEA + gp(dst).0, of, 7, 7, i32::MAX);
    }

    pub(crate) fn context(&mut self, to: Gp) {
        self.asm.mov_imm(to, self.context);
    }

    /// What comes after the last instruction: ways out to the host and to other programs.
    pub(crate) fn write_site_stubs(&mut self) {
        let sites = std::mem::take(&mut self.sites);
        let used: Vec<(usize, Label)> =
            sites.iter().enumerate().filter_map(|(i, l)| Some((i, (*l)?))).collect();
        let common = self.asm.buf.new_label();
        for (nth, (site, label)) in used.iter().enumerate() {
            self.asm.buf.bind(*label);
            self.asm.mov_imm(enc::R9, *site as u64);
            // The last one falls through.
            if nth + 1 < used.len() {
                self.local_jmp(common);
            }
        }
        self.asm.buf.bind(common);
        if !used.is_empty() {
            self.context(enc::R11);
            self.asm.indirect(4, Rm::M(Mem::at(enc::R11, abi::CALL_OUT)));
        }
        // Tail calls end here: the frame is gone, the target is in RAX.
        if let Some(tail) = self.tail_jump.take() {
            self.asm.buf.bind(tail);
            self.context(enc::R11);
            self.asm.load(enc::RDI, Mem::at(enc::R11, abi::TAIL_CTX));
            self.asm.indirect(4, Rm::R(enc::RAX));
        }
    }

    pub(crate) fn site(&mut self, site: u32) -> Label {
        let i = site as usize;
        if self.sites.len() <= i {
            self.sites.resize(i + 1, None);
        }
        if let Some(Some(l)) = self.sites.get(i) {
            return *l;
        }
        let label = self.asm.buf.new_label();
        if let Some(s) = self.sites.get_mut(i) {
            *s = Some(label);
        }
        label
    }

    /// True where the stack pointer need not be moved for the BPF stack.
    fn in_red_zone(&self, f: &FuncFacts) -> bool {
        !f.calls && f.stack <= RED_ZONE && self.features.convention == Convention::SysV
    }

    pub(crate) fn enter(&mut self, f: &FuncFacts) {
        self.flags = Flags::LOST;
        if f.uses_fp {
            if !f.is_entry {
                self.asm.push(enc::RBP);
            }
            match f.private_stack {
                Some(top) => self.asm.mov_imm(enc::RBP, top),
                None => {
                    self.asm.mov64(enc::RBP, enc::RSP);
                    let pushes = !f.is_entry && f.writes != 0;
                    if !self.in_red_zone(f) || pushes {
                        let n = f.stack.min(i32::MAX as u32) as i32;
                        self.asm.alu_imm(Group1::Add, W::Q, Rm::R(enc::RSP), -n);
                    }
                }
            }
        }
        if !f.is_entry {
            for r in saved(f) {
                self.asm.push(r);
            }
        }
    }

    /// Takes the frame down, leaving the return address on top of the stack.
    pub(crate) fn leave(&mut self, f: &FuncFacts) {
        if !f.is_entry {
            for r in saved(f).rev() {
                self.asm.pop(r);
            }
        }
        if !f.uses_fp {
            return;
        }
        if f.private_stack.is_some() {
            if !f.is_entry {
                self.asm.pop(enc::RBP);
            }
        } else if f.is_entry {
            if !self.in_red_zone(f) {
                self.asm.mov64(enc::RSP, enc::RBP);
            }
        } else if self.in_red_zone(f) && f.writes == 0 {
            self.asm.pop(enc::RBP);
        } else {
            self.asm.bytes(&[0xc9]);
        }
    }

    pub(crate) fn count_down(&mut self, counter: i32, to: Label) {
        self.context(enc::R11);
        self.asm.alu_imm(Group1::Sub, W::Q, Rm::M(Mem::at(enc::R11, counter)), 1);
        self.local_jump(cc::S, to);
        self.flags = Flags::LOST;
    }

    pub(crate) fn call_by_register(&mut self, target: Reg, site: u32) {
        self.context(enc::R11);
        self.asm.store(Mem::at(enc::R11, abi::CALL_REG), gp(target));
        let to = self.site(site);
        self.call_label(to);
    }

    pub(crate) fn tail(&mut self, f: &FuncFacts, site: u32) {
        let stub = self.site(site);
        self.call_label(stub);
        let over = self.asm.buf.new_label();
        self.asm.rr(enc::TEST_RM_R, W::Q, enc::RAX, enc::RAX);
        self.local_jump(cc::E, over);
        self.leave(f);
        let tail = *self.tail_jump.get_or_insert_with(|| self.asm.buf.new_label());
        self.local_jmp(tail);
        self.asm.buf.bind(over);
        self.flags = Flags::LOST;
    }

    pub(crate) fn packet(
        &mut self,
        f: &FuncFacts,
        size: Size,
        index: Option<Reg>,
        imm: i32,
        site: u32,
    ) {
        match index {
            Some(r) if imm == 0 => self.asm.mov(W::D, enc::RSI, gp(r)),
            Some(r) => self.asm.lea(W::D, enc::RSI, Mem::at(gp(r), imm)),
            None => self.asm.mov_imm(enc::RSI, imm as u32 as u64),
        }
        self.asm.mov_imm(enc::RDI, size.bytes() as u64);
        let stub = self.site(site);
        self.call_label(stub);
        let over = self.asm.buf.new_label();
        self.asm.rr(enc::TEST_RM_R, W::Q, enc::RAX, enc::RAX);
        self.local_jump(cc::NS, over);
        self.asm.mov_imm(enc::RAX, 0);
        self.leave(f);
        self.asm.ret();
        self.asm.buf.bind(over);
        self.flags = Flags::LOST;
    }

    #[inline(always)]
    pub(crate) fn branch(&mut self, cond: Cond, w: Width, a: Reg, b: Operand, to: Label) {
        let known = self.flags;
        let x = gp(a);
        match (cond, b) {
            (Cond::Set, Operand::Reg(b)) => {
                let w = if has(Mutation::Jset32TestsAll) { Width::W64 } else { w };
                self.asm.rr(enc::TEST_RM_R, width(w), gp(b), x);
                self.flags = Flags::LOST;
            }
            (Cond::Set, Operand::Imm(v)) => {
                self.asm.test_imm(width(w), Rm::R(x), v);
                self.flags = Flags::LOST;
            }
            (_, Operand::Imm(0)) => {
                let zero_only =
                    matches!(cond, Cond::Eq | Cond::Ne) || has(Mutation::FlagsOfSumTellSign);
                let usable = known == Flags::result(a, w, true)
                    || (zero_only && known == Flags::result(a, w, false));
                if !usable {
                    self.asm.rr(enc::TEST_RM_R, width(w), x, x);
                    self.flags = Flags::result(a, w, true);
                }
            }
            _ if known == Flags::compared(a, b, w) => {}
            (_, Operand::Reg(y)) => {
                self.asm.alu_rm_r(Group1::Cmp, width(w), Rm::R(x), gp(y));
                self.flags = Flags::compared(a, b, w);
            }
            (_, Operand::Imm(v)) => {
                // 128 is one byte longer than 127.
                let (cond, v) = match (cond, v) {
                    (Cond::Ge, 128) => (Cond::Gt, 127),
                    (Cond::Lt, 128) => (Cond::Le, 127),
                    (Cond::Sge, 128) => (Cond::Sgt, 127),
                    (Cond::Slt, 128) => (Cond::Sle, 127),
                    same => same,
                };
                let b = Operand::Imm(v);
                if known != Flags::compared(a, b, w) {
                    self.asm.alu_imm(Group1::Cmp, width(w), Rm::R(x), v);
                    self.flags = Flags::compared(a, b, w);
                }
                return self.local_jump(code(cond), to);
            }
        }
        self.local_jump(code(cond), to);
    }
}
