//! Atomics: locked instructions, and a loop where the old value is wanted and no instruction gives it.
//!
//! What a function does to its own stack no other processor sees: there nothing is locked.

use bpfassay_isa::{AluOp, AtomicOp, Operand, Reg, Size};
use bpfassay_jit::mutation::{has, Mutation};
use bpfassay_jit::target::{Addr, Space};

use crate::enc::{self, cc, Group1, Imm, Mem, Rm, W};
use crate::memory::mem;
use crate::{gp, size, Flags, X86};

const LOCK: Option<u8> = Some(0xf0);

fn group(op: AtomicOp) -> Option<(Group1, AluOp)> {
    match op {
        AtomicOp::Add => Some((Group1::Add, AluOp::Add)),
        AtomicOp::Or => Some((Group1::Or, AluOp::Or)),
        AtomicOp::And => Some((Group1::And, AluOp::And)),
        AtomicOp::Xor => Some((Group1::Xor, AluOp::Xor)),
        AtomicOp::Xchg | AtomicOp::Cmpxchg => None,
    }
}

impl X86 {
    pub(crate) fn atomic_op(&mut self, op: AtomicOp, fetch: bool, s: Size, addr: Addr, src: Reg) {
        self.flags = Flags::LOST;
        let (m, w, r) = (mem(addr), size(s), gp(src));
        if addr.base == Reg::R10 && addr.space == Space::Plain {
            return self.unlocked(op, fetch, w, m, src);
        }
        match (op, group(op)) {
            (_, Some((g, _))) if !fetch || self.is_dead(src) => {
                let op = enc::op(g as u8 * 8 + 1);
                self.asm.op(LOCK, op, w, r.0, Rm::M(m), Imm::None);
            }
            (AtomicOp::Add, _) => self.asm.op(LOCK, enc::XADD, w, r.0, Rm::M(m), Imm::None),
            (_, Some((g, _))) => self.fetch_loop(g, w, m, src),
            // Exchanging locks by itself.
            (AtomicOp::Xchg, None) => self.asm.rm(enc::XCHG, w, r, Rm::M(m)),
            (_, None) => {
                self.asm.op(LOCK, enc::CMPXCHG, w, r.0, Rm::M(m), Imm::None);
                if w == W::D && !has(Mutation::Cmpxchg32KeepsUpper) {
                    // Where the exchange happened, the upper half is what it was.
                    self.asm.mov(W::D, enc::RAX, enc::RAX);
                }
            }
        }
    }

    /// As [`X86::atomic_op`], step by step.
    fn unlocked(&mut self, op: AtomicOp, fetch: bool, w: W, m: Mem, src: Reg) {
        let r = gp(src);
        let fetches = (fetch || op == AtomicOp::Xchg) && !self.is_dead(src);
        if op == AtomicOp::Cmpxchg {
            self.asm.rm(enc::CMPXCHG, w, r, Rm::M(m));
            if w == W::D {
                self.asm.mov(W::D, enc::RAX, enc::RAX);
            }
            return;
        }
        if fetches {
            self.asm.rm(enc::MOV_R_RM, w, enc::R11, Rm::M(m));
        }
        match group(op) {
            Some((g, _)) => self.asm.alu_rm_r(g, w, Rm::M(m), r),
            None => self.asm.rm(enc::MOV_RM_R, w, r, Rm::M(m)),
        }
        if fetches {
            self.asm.mov64(r, enc::R11);
        }
    }

    /// `src = *m; *m = src op old`, by compare-and-exchange.
    fn fetch_loop(&mut self, g: Group1, w: W, m: Mem, src: Reg) {
        // RAX is the instruction's; its value stays in R11.
        self.asm.mov64(enc::R11, enc::RAX);
        let moved = |r: enc::Gp| if r == enc::RAX { enc::R11 } else { r };
        let m = Mem {
            base: m.base.map(moved),
            index: m.index.map(|(r, scale)| (moved(r), scale)),
            disp: m.disp,
        };
        let operand = match has(Mutation::FetchLosesR0) {
            true => gp(src),
            false => moved(gp(src)),
        };
        let again = self.asm.buf.new_label();
        self.asm.rm(enc::MOV_R_RM, w, enc::RAX, Rm::M(m));
        self.asm.buf.bind(again);
        self.asm.mov64(enc::R9, enc::RAX);
        self.asm.alu_rm_r(g, w, Rm::R(enc::R9), operand);
        self.asm.op(LOCK, enc::CMPXCHG, w, enc::R9.0, Rm::M(m), Imm::None);
        self.local_jump(cc::NE, again);
        if gp(src) != enc::RAX {
            self.asm.mov64(gp(src), enc::RAX);
            self.asm.mov64(enc::RAX, enc::R11);
        }
    }

    #[inline(always)]
    pub(crate) fn store_operand(&mut self, s: Size, addr: Addr, src: Operand) {
        self.store_to(s, mem(addr), src);
    }
}
