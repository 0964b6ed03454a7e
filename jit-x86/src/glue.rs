//! Code between C and BPF that all programs of a run context share: entering, leaving, calling out.

use bpfassay_jit::abi::{self, Convention};
use bpfassay_jit::{Glue, Label};

use crate::enc::{self, cc, Gp, Group1, Imm, Mem, Rm, W};
use crate::X86;

/// What System V and Windows want kept, in the order of pushing; an even number, to keep alignment with [`abi::SAVED_SP`].
const KEPT: [Gp; 6] = [enc::RBP, enc::RBX, enc::R12, enc::R13, enc::R14, enc::R15];
/// What a program keeps for none but callers that ask for it.
const CALLEE: [Gp; 5] = [enc::RBP, enc::RBX, enc::R13, enc::R14, enc::R15];

impl X86 {
    fn is_windows(&self) -> bool {
        self.features.convention == Convention::Windows
    }

    /// `push` or `pop` of the stack pointer noted last.
    fn saved_sp(&mut self, op: enc::Op, ext: u8) {
        let at = Rm::M(Mem::at(enc::R11, abi::SAVED_SP));
        self.asm.op(None, op, W::D, ext, at, Imm::None);
    }

    fn enter_program(&mut self) {
        for r in KEPT {
            self.asm.push(r);
        }
        if self.is_windows() {
            self.asm.push(enc::RDI);
            self.asm.push(enc::RSI);
            self.asm.mov64(enc::RDI, enc::RCX);
            self.asm.mov64(enc::RSI, enc::RDX);
        }
        self.context(enc::R11);
        self.saved_sp(enc::GROUP5, 6);
        self.asm.store(Mem::at(enc::R11, abi::SAVED_SP), enc::RSP);
        self.asm.load(enc::R12, Mem::at(enc::R11, abi::ARENA));
        self.asm.mov64(enc::RAX, enc::RSI);
        for (i, r) in [enc::RSI, enc::RDX, enc::RCX, enc::R8, enc::RDI].into_iter().enumerate() {
            self.asm.load(r, Mem::at(enc::RDI, (i as i32 + 1) % 5 * 8));
        }
        self.asm.indirect(2, Rm::R(enc::RAX));
    }

    fn leave_program(&mut self) {
        const POP: enc::Op = enc::op(0x8f);
        self.context(enc::R11);
        self.saved_sp(POP, 0);
        if self.is_windows() {
            self.asm.pop(enc::RSI);
            self.asm.pop(enc::RDI);
        }
        for r in KEPT.into_iter().rev() {
            self.asm.pop(r);
        }
        self.asm.ret();
    }

    fn enter_keeping(&mut self) {
        for r in CALLEE {
            self.asm.push(r);
        }
        self.context(enc::R11);
        self.asm.indirect(2, Rm::M(Mem::at(enc::R11, abi::TAIL_TARGET)));
        for r in CALLEE.into_iter().rev() {
            self.asm.pop(r);
        }
        self.asm.ret();
    }

    /// Calls the dispatch function; the site's number is in R9, the return address of the site on the stack.
    fn call_dispatch(&mut self, unwind: Label) {
        self.context(enc::R11);
        self.asm.load(enc::RAX, Mem::at(enc::RSP, 0));
        self.asm.store(Mem::at(enc::R11, abi::CALLER), enc::RAX);
        self.asm.push(enc::RBP);
        self.asm.mov64(enc::RBP, enc::RSP);
        if self.is_windows() {
            self.asm.alu_imm(Group1::Sub, W::Q, Rm::R(enc::RSP), 48);
            self.asm.alu_imm(Group1::And, W::Q, Rm::R(enc::RSP), -16);
            self.asm.store(Mem::at(enc::RSP, 32), enc::R8);
            self.asm.store(Mem::at(enc::RSP, 40), enc::R9);
            self.asm.mov64(enc::R9, enc::RCX);
            self.asm.mov64(enc::R8, enc::RDX);
            self.asm.mov64(enc::RDX, enc::RSI);
            self.asm.mov64(enc::RCX, enc::RDI);
        } else {
            self.asm.alu_imm(Group1::And, W::Q, Rm::R(enc::RSP), -16);
        }
        self.asm.indirect(2, Rm::M(Mem::at(enc::R11, abi::DISPATCH)));
        self.context(enc::R11);
        self.asm.bytes(&[0xc9]); // leave
        self.asm.alu_imm(Group1::Cmp, W::Q, Rm::M(Mem::at(enc::R11, abi::STOP)), 0);
        self.local_jump(cc::NE, unwind);
        self.asm.ret();
    }

    /// All of it; None where it does not fit, which it does.
    pub(crate) fn glue(mut self) -> Option<Glue> {
        let [entry, leave, unwind, keeping, call_out] = [(); 5].map(|()| self.asm.buf.new_label());
        self.asm.buf.bind(entry);
        self.enter_program();
        self.asm.buf.bind(leave);
        self.leave_program();
        self.asm.buf.bind(unwind);
        self.context(enc::R11);
        self.asm.load(enc::RSP, Mem::at(enc::R11, abi::SAVED_SP));
        self.local_jmp(leave);
        self.asm.buf.bind(keeping);
        self.enter_keeping();
        self.asm.buf.bind(call_out);
        self.call_dispatch(unwind);
        let placed = std::mem::take(&mut self.asm.buf).finish::<X86>().ok()?;
        Some(Glue {
            entry: placed.label(entry)?,
            unwind: placed.label(unwind)?,
            keeping_entry: placed.label(keeping)?,
            leave: placed.label(leave)?,
            call_out: placed.label(call_out)?,
            code: placed.code,
            ..Glue::default()
        })
    }
}
