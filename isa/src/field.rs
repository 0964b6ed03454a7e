//! What one may ask a raw instruction without knowing an opcode number.
//!
//! A verifier complains about raw instructions in its own order, so these
//! questions are answered for any 8 bytes, well-formed or not.  Mirrors the
//! macros of include/uapi/linux/bpf_common.h and the predicates of
//! kernel/bpf/verifier.c; knows nothing of what a complaint says.

use crate::decode::decode;
use crate::insn::{AtomicOp, Insn, Size, Width};
use crate::opcode::*;
use crate::raw::RawInsn;

/// The low three bits of the code (`BPF_CLASS`).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Class {
    Ld,
    Ldx,
    St,
    Stx,
    Alu,
    Jmp,
    Jmp32,
    Alu64,
}

/// The high three bits of a load or store code (`BPF_MODE`).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Mode {
    Imm,
    Abs,
    Ind,
    Mem,
    MemSx,
    /// 0xa0: used inside the kernel only (`BPF_PROBE_MEM32`).
    Internal5,
    /// Of ST: `BPF_NOSPEC`, inside the kernel only.
    Atomic,
    /// 0xe0: used inside the kernel only (`BPF_PROBE_ATOMIC`).
    Internal7,
}

/// The high four bits of an ALU code (`BPF_OP`).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum AluCode {
    Add,
    Sub,
    Mul,
    Div,
    Or,
    And,
    Lsh,
    Rsh,
    Neg,
    Mod,
    Xor,
    Mov,
    Arsh,
    End,
    UndefinedE,
    UndefinedF,
}

/// The high four bits of a JMP or JMP32 code (`BPF_OP`).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum JmpCode {
    Ja,
    Eq,
    Gt,
    Ge,
    Set,
    Ne,
    Sgt,
    Sge,
    Call,
    Exit,
    Lt,
    Le,
    Slt,
    Sle,
    /// `BPF_JCOND`.
    Jcond,
    UndefinedF,
}

/// The four-bit operation of an ALU code.
#[inline]
pub fn alu_code(op_bits: u8) -> AluCode {
    use AluCode::*;
    const ALL: [AluCode; 16] = [
        Add, Sub, Mul, Div, Or, And, Lsh, Rsh, Neg, Mod, Xor, Mov, Arsh, End, UndefinedE,
        UndefinedF,
    ];
    ALL[(op_bits & 0xf) as usize]
}

#[inline]
fn jmp_code(op_bits: u8) -> JmpCode {
    use JmpCode::*;
    const ALL: [JmpCode; 16] =
        [Ja, Eq, Gt, Ge, Set, Ne, Sgt, Sge, Call, Exit, Lt, Le, Slt, Sle, Jcond, UndefinedF];
    ALL[(op_bits & 0xf) as usize]
}

impl RawInsn {
    #[inline]
    pub fn class(self) -> Class {
        use Class::*;
        const ALL: [Class; 8] = [Ld, Ldx, St, Stx, Alu, Jmp, Jmp32, Alu64];
        ALL[(self.code & CLASS_MASK) as usize]
    }

    /// Load and store addressing mode; meaningless for other classes.
    #[inline]
    pub fn mode(self) -> Mode {
        use Mode::*;
        const ALL: [Mode; 8] = [Imm, Abs, Ind, Mem, MemSx, Internal5, Atomic, Internal7];
        ALL[(self.code >> MODE_SHIFT) as usize]
    }

    /// Load and store size; meaningless for other classes.
    #[inline]
    pub fn size(self) -> Size {
        const ALL: [Size; 4] = [Size::W, Size::H, Size::B, Size::Dw];
        ALL[((self.code & SIZE_MASK) >> SIZE_SHIFT) as usize]
    }

    /// The four operation bits of ALU and JMP codes, 0 to 15.
    #[inline]
    pub fn op_bits(self) -> u8 {
        self.code >> OP_SHIFT
    }

    #[inline]
    pub fn alu_op(self) -> AluCode {
        alu_code(self.op_bits())
    }

    #[inline]
    pub fn jmp_op(self) -> JmpCode {
        jmp_code(self.op_bits())
    }

    /// `BPF_SRC(code) == BPF_X`: the second operand is a register (of END: to big endian).
    #[inline]
    pub fn is_src_reg(self) -> bool {
        self.code & SOURCE_BIT != 0
    }

    /// ALU or ALU64.
    #[inline]
    pub fn is_alu_class(self) -> bool {
        matches!(self.class(), Class::Alu | Class::Alu64)
    }

    /// JMP or JMP32.
    #[inline]
    pub fn is_jump_class(self) -> bool {
        matches!(self.class(), Class::Jmp | Class::Jmp32)
    }

    /// Operand width of ALU and JMP classes; W64 for the rest.
    #[inline]
    pub fn width(self) -> Width {
        match self.class() {
            Class::Alu | Class::Jmp32 => Width::W32,
            _ => Width::W64,
        }
    }

    /// True for every code of [`rows`] that the kernel knows (`bpf_opcode_in_insntable`).
    #[inline]
    pub fn is_known_opcode(self) -> bool {
        is_known(self.code)
    }

    /// `BPF_JMP | BPF_CALL`, any source.
    #[inline]
    pub fn is_call(self) -> bool {
        self.code == CALL
    }

    /// BPF-to-BPF call (`bpf_pseudo_call`).
    #[inline]
    pub fn is_pseudo_call(self) -> bool {
        self.code == CALL && self.src == PSEUDO_CALL
    }

    /// Call of a kernel function (`bpf_pseudo_kfunc_call`).
    #[inline]
    pub fn is_kfunc_call(self) -> bool {
        self.code == CALL && self.src == PSEUDO_KFUNC_CALL
    }

    /// Call of a helper by number (`bpf_helper_call`).
    #[inline]
    pub fn is_helper_call(self) -> bool {
        self.code == CALL && self.src == 0
    }

    #[inline]
    pub fn is_exit(self) -> bool {
        self.code == EXIT
    }

    /// `goto`, 16-bit form.
    #[inline]
    pub fn is_ja(self) -> bool {
        self.code == JA
    }

    /// `goto` over `off` instructions (`BPF_JMP_A`).
    #[inline]
    pub fn ja(off: i16) -> RawInsn {
        RawInsn { code: JA, dst: 0, src: 0, off, imm: 0 }
    }

    /// `gotol`, 32-bit form.
    #[inline]
    pub fn is_gotol(self) -> bool {
        self.code == JA32
    }

    /// `gotox`, to an address in a register (`insn_is_gotox`).
    #[inline]
    pub fn is_gotox(self) -> bool {
        self.code == JA_REG
    }

    /// `may_goto` (`is_may_goto_insn`).
    #[inline]
    pub fn is_may_goto(self) -> bool {
        self.code == JCOND && self.src == 0
    }

    /// LD_IMM64 of a subprogram address (`bpf_pseudo_func`).
    #[inline]
    pub fn is_pseudo_func(self) -> bool {
        self.code == LD_IMM64 && self.src == PSEUDO_FUNC
    }

    /// True for the first slot of a 16-byte LD_IMM64 (`bpf_is_ldimm64`).
    #[inline]
    pub fn is_ld_imm64(self) -> bool {
        self.code == LD_IMM64
    }

    /// `r = addr_space_cast(r, …)`; `imm` unchecked.
    #[inline]
    pub fn is_addr_space_cast(self) -> bool {
        self.code == MOV64_REG && self.off == OFF_ADDR_SPACE_CAST
    }

    /// STX in atomic mode, whatever its `imm`.
    #[inline]
    pub fn is_atomic(self) -> bool {
        self.class() == Class::Stx && self.mode() == Mode::Atomic
    }

    /// The read-modify-write operation that the `imm` of an atomic names, at any access size.
    pub fn atomic_rmw(self) -> Option<AtomicOp> {
        let wide = RawInsn { code: (self.code & !SIZE_MASK) | SIZE_MASK, ..self };
        match decode(wide, None) {
            Ok(Insn::Atomic { op, .. }) if self.is_atomic() => Some(op),
            _ => None,
        }
    }

    /// An atomic whose `imm` names a read-modify-write operation, at any access size.
    pub fn is_atomic_rmw(self) -> bool {
        self.atomic_rmw().is_some()
    }

    /// LD_ABS or LD_IND.
    #[inline]
    pub fn is_load_packet(self) -> bool {
        self.class() == Class::Ld && matches!(self.mode(), Mode::Abs | Mode::Ind)
    }

    /// Distance to the target relative to the next slot, of `goto`, `gotol`, conditional jumps and
    /// BPF-to-BPF calls (`jmp_offset`); None for everything else.
    #[inline]
    pub fn jump_distance(self) -> Option<i32> {
        match (self.class(), self.jmp_op()) {
            (Class::Jmp32, JmpCode::Ja) => Some(self.imm),
            (Class::Jmp, JmpCode::Call) => self.is_pseudo_call().then_some(self.imm),
            (Class::Jmp32, JmpCode::Call) | (_, JmpCode::Exit) => None,
            (Class::Jmp, JmpCode::Ja) if self.is_src_reg() => None,
            (Class::Jmp | Class::Jmp32, _) => Some(self.off as i32),
            _ => None,
        }
    }

    /// The 64-bit constant of LD_IMM64 and its second slot.
    #[inline]
    pub fn imm64(self, second: RawInsn) -> u64 {
        (second.imm as u32 as u64) << 32 | self.imm as u32 as u64
    }
}
