//! Fields of instructions that must be zero, checked for all instructions before any other pass
//! (`check_insn_fields` of 7.2; older kernels look when they come to an instruction).

use bpfassay_isa::field::{AluCode, Class, JmpCode, Mode};
use bpfassay_isa::opcode::{OFF_ADDR_SPACE_CAST, PSEUDO_CALL, PSEUDO_KFUNC_CALL};
use bpfassay_isa::{RawInsn, Size};

use crate::env::Env;
use crate::stop::{Check, Errno, Stop};
use crate::verbose;

pub const GOTOX_RESERVED: &str = "BPF_JA|BPF_X uses reserved fields";

/// Registers of the instruction set; the one after holds arguments on the stack.
const REGS: u8 = 11;

/// The instruction names registers that exist.
pub fn check_registers(env: &mut Env<'_>, insn: RawInsn) -> Check {
    let memory = matches!(insn.class(), Class::Ldx | Class::St | Class::Stx);
    for reg in [insn.dst, insn.src] {
        if reg == REGS && memory {
            return Err(Stop::unsupported("arguments on the stack"));
        }
        if reg >= REGS {
            verbose!(env, "R{reg} is invalid\n");
            return Err(Errno::EINVAL.into());
        }
    }
    Ok(())
}

/// Reserved fields of any instruction but LD_IMM64, whose code is known.
pub fn check_fields(env: &mut Env<'_>, insn: RawInsn) -> Check {
    let what = match insn.class() {
        Class::Alu | Class::Alu64 => alu(insn),
        Class::Ldx => bad(
            !matches!(insn.mode(), Mode::Mem | Mode::MemSx) || insn.imm != 0,
            "BPF_LDX uses reserved fields",
        ),
        Class::Stx => bad(
            insn.mode() != Mode::Atomic && (insn.mode() != Mode::Mem || insn.imm != 0),
            "BPF_STX uses reserved fields",
        ),
        Class::St => bad(insn.mode() != Mode::Mem || insn.src != 0, "BPF_ST uses reserved fields"),
        Class::Jmp | Class::Jmp32 => jmp(insn),
        Class::Ld => match insn.mode() {
            mode @ (Mode::Abs | Mode::Ind) => bad(
                insn.dst != 0
                    || insn.off != 0
                    || insn.size() == Size::Dw
                    || (mode == Mode::Abs && insn.src != 0),
                "BPF_LD_[ABS|IND] uses reserved fields",
            ),
            Mode::Imm => None,
            _ => Some("invalid BPF_LD mode"),
        },
    };
    let Some(what) = what else { return Ok(()) };
    if insn.class() == Class::Jmp && insn.jmp_op() == JmpCode::Jcond {
        verbose!(env, "{what} {}\n", insn.imm);
    } else {
        verbose!(env, "{what}\n");
    }
    Err(Errno::EINVAL.into())
}

fn bad(is_bad: bool, what: &'static str) -> Option<&'static str> {
    is_bad.then_some(what)
}

fn alu(insn: RawInsn) -> Option<&'static str> {
    let wide = insn.class() == Class::Alu64;
    let by_reg = insn.is_src_reg();
    match insn.alu_op() {
        AluCode::Neg => bad(
            by_reg || insn.src != 0 || insn.off != 0 || insn.imm != 0,
            "BPF_NEG uses reserved fields",
        ),
        AluCode::End => bad(
            insn.src != 0 || insn.off != 0 || !matches!(insn.imm, 16 | 32 | 64) || (wide && by_reg),
            "BPF_END uses reserved fields",
        ),
        AluCode::Mov if by_reg && wide && insn.off == OFF_ADDR_SPACE_CAST => bad(
            insn.imm != 1 && insn.imm != 1 << 16,
            "addr_space_cast insn can only convert between address space 1 and 0",
        ),
        AluCode::Mov => {
            let off_fits = match (by_reg, wide) {
                (true, false) => matches!(insn.off, 0 | 8 | 16),
                (true, true) => matches!(insn.off, 0 | 8 | 16 | 32),
                (false, _) => insn.off == 0,
            };
            let rest = if by_reg { insn.imm != 0 } else { insn.src != 0 };
            bad(!off_fits || rest, "BPF_MOV uses reserved fields")
        }
        op => {
            let divides = matches!(op, AluCode::Div | AluCode::Mod);
            let off_fits = insn.off == 0 || (insn.off == 1 && divides);
            let rest = if by_reg { insn.imm != 0 } else { insn.src != 0 };
            bad(!off_fits || rest, "BPF_ALU uses reserved fields")
        }
    }
}

fn jmp(insn: RawInsn) -> Option<&'static str> {
    let narrow = insn.class() == Class::Jmp32;
    let by_reg = insn.is_src_reg();
    match insn.jmp_op() {
        JmpCode::Call => bad(
            by_reg
                || (insn.src != PSEUDO_KFUNC_CALL && insn.off != 0)
                || !matches!(insn.src, 0 | PSEUDO_CALL | PSEUDO_KFUNC_CALL)
                || insn.dst != 0
                || narrow,
            "BPF_CALL uses reserved fields",
        ),
        JmpCode::Ja if insn.is_gotox() => {
            bad(insn.src != 0 || insn.imm != 0 || insn.off != 0, GOTOX_RESERVED)
        }
        JmpCode::Ja => bad(
            insn.src != 0
                || insn.dst != 0
                || (!narrow && insn.imm != 0)
                || (narrow && insn.off != 0),
            "BPF_JA uses reserved fields",
        ),
        JmpCode::Exit => bad(
            by_reg || insn.imm != 0 || insn.src != 0 || insn.dst != 0 || narrow,
            "BPF_EXIT uses reserved fields",
        ),
        JmpCode::Jcond => {
            bad(!insn.is_may_goto() || insn.dst != 0 || insn.imm != 0, "invalid may_goto imm")
        }
        _ => {
            let rest = if by_reg { insn.imm != 0 } else { insn.src != 0 };
            bad(rest, "BPF_JMP/JMP32 uses reserved fields")
        }
    }
}
