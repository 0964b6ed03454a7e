//! Loads and stores.

use bpfassay_isa::{Operand, Reg, Size};
use bpfassay_jit::abi;
use bpfassay_jit::mutation::{has, Mutation};
use bpfassay_jit::target::{Addr, Space};

use crate::enc::{self, cc, Gp, Group1, Imm, Mem, Rm, W};
use crate::{gp, size, Flags, X86};

/// Machine operand of an address.
#[inline(always)]
pub(crate) fn mem(addr: Addr) -> Mem {
    let index = addr.index.map(|(r, scale)| (gp(r), scale));
    match addr.space {
        Space::Plain => Mem { base: Some(gp(addr.base)), index, disp: addr.off },
        Space::Arena => {
            Mem { base: Some(enc::R12), index: Some((gp(addr.base), 0)), disp: addr.off }
        }
    }
}

impl X86 {
    #[inline(always)]
    pub(crate) fn load_from(&mut self, s: Size, sign_extend: bool, dst: Gp, m: Mem) {
        let sign_extend = sign_extend && !has(Mutation::LoadSxIsZx);
        let (op, w) = match (s, sign_extend) {
            (Size::B, false) => (enc::MOVZX_B, W::D),
            (Size::H, false) => (enc::MOVZX_H, W::D),
            (Size::W, false) => (enc::MOV_R_RM, W::D),
            (Size::B, true) => (enc::MOVSX_B, W::Q),
            (Size::H, true) => (enc::MOVSX_H, W::Q),
            (Size::W, true) => (enc::MOVSXD, W::Q),
            (Size::Dw, _) => (enc::MOV_R_RM, W::Q),
        };
        self.asm.rm(op, w, dst, Rm::M(m));
    }

    #[inline(always)]
    pub(crate) fn store_to(&mut self, s: Size, m: Mem, src: Operand) {
        match src {
            Operand::Reg(r) => self.asm.rm(enc::MOV_RM_R, size(s), gp(r), Rm::M(m)),
            Operand::Imm(v) => {
                let imm = match s {
                    Size::B => Imm::I8(v as i8),
                    Size::H => Imm::I16(v as i16),
                    Size::W | Size::Dw => Imm::I32(v),
                };
                self.asm.op(None, enc::MOV_RM_IMM, size(s), 0, Rm::M(m), imm);
            }
        }
    }

    pub(crate) fn cast(&mut self, dst: Reg, src: Reg, to_user: bool) {
        self.flags = Flags::LOST;
        let d = gp(dst);
        self.asm.mov(W::D, d, gp(src));
        if !to_user {
            return;
        }
        // Null stays null.
        let null = self.asm.buf.new_label();
        self.asm.rr(enc::TEST_RM_R, W::D, d, d);
        self.local_jump(cc::E, null);
        self.asm.mov_imm(enc::R11, self.context);
        let user = Mem::at(enc::R11, abi::ARENA_USER);
        self.asm.alu_r_rm(Group1::Or, W::Q, d, Rm::M(user));
        self.asm.buf.bind(null);
    }
}
