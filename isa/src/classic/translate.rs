//! Classic BPF to eBPF (`bpf_convert_filter`).
//!
//! The kernel's shape, with the packet read by LD_ABS and LD_IND and the skb by
//! fields of `__sk_buff`, which is what a program from outside may use: A is
//! r0, X is r7, the context r6, the scratch register r2, memory words the stack.

use std::fmt;

use super::{Classic, Src, Target, ANCILLARY};
use crate::encode::try_encode;
use crate::insn::*;
use crate::raw::RawInsn;
use crate::reg::Reg;

/// Why a filter has no eBPF form here; `insn` is the classic instruction's number.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TranslateError {
    /// The kernel calls a function of its own for it (payload offset, netlink attributes) or reads
    /// what `__sk_buff` does not show (hardware type).
    Ancillary {
        insn: usize,
        offset: u32,
    },
    JumpTooFar {
        insn: usize,
    },
}

impl fmt::Display for TranslateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TranslateError::Ancillary { insn, offset } => {
                write!(f, "insn {insn}: ancillary value {offset} has no form outside the kernel")
            }
            TranslateError::JumpTooFar { insn } => {
                write!(f, "insn {insn}: jump does not fit 16 bits")
            }
        }
    }
}

impl std::error::Error for TranslateError {}

const A: Reg = Reg::R0;
const X: Reg = Reg::R7;
const CTX: Reg = Reg::R6;
const TMP: Reg = Reg::R2;

/// Helper numbers of the two ancillary values that are calls.
const GET_PRANDOM_U32: i32 = 7;
const GET_SMP_PROCESSOR_ID: i32 = 8;
/// `__sk_buff.len`.
const LEN: i16 = 0;

/// What one classic instruction becomes; jumps still name classic targets.
enum Piece {
    Plain(Insn),
    /// A jump to this classic instruction.
    To(Insn, usize),
}

use Piece::{Plain, To};

/// Translates a filter that [`super::check`] has passed.
pub fn translate(filter: &[Classic]) -> Result<Vec<RawInsn>, TranslateError> {
    let mut pieces = vec![
        Plain(alu(AluOp::Xor, Width::W32, A, Operand::Reg(A))),
        Plain(alu(AluOp::Xor, Width::W32, X, Operand::Reg(X))),
        Plain(alu(AluOp::Mov, Width::W64, CTX, Operand::Reg(Reg::R1))),
    ];
    let mut start = Vec::with_capacity(filter.len());
    let mut owner = vec![0; pieces.len()];
    for (i, insn) in filter.iter().enumerate() {
        start.push(pieces.len());
        one(*insn, i, &mut pieces)?;
        owner.resize(pieces.len(), i);
    }
    let mut out = Vec::with_capacity(pieces.len());
    for (at, piece) in pieces.into_iter().enumerate() {
        let insn = owner.get(at).copied().unwrap_or(0);
        let resolved = match piece {
            Plain(i) => Some(i),
            To(i, target) => start
                .get(target)
                .and_then(|to| i16::try_from(*to as i64 - at as i64 - 1).ok())
                .map(|off| jump_to(i, off)),
        };
        let raw = resolved.and_then(|i| try_encode(&i));
        out.push(raw.ok_or(TranslateError::JumpTooFar { insn })?.0);
    }
    Ok(out)
}

fn alu(op: AluOp, width: Width, dst: Reg, src: Operand) -> Insn {
    Insn::Alu { op, width, dst, src }
}

fn mov(dst: Reg, src: Reg) -> Piece {
    Plain(alu(AluOp::Mov, Width::W64, dst, Operand::Reg(src)))
}

fn constant(dst: Reg, k: u32) -> Piece {
    Plain(alu(AluOp::Mov, Width::W32, dst, Operand::Imm(k as i32)))
}

fn jump_to(insn: Insn, off: i16) -> Insn {
    match insn {
        Insn::CondJump { cond, width, dst, src, .. } => {
            Insn::CondJump { cond, width, dst, src, off }
        }
        _ => Insn::Jump { off: off.into(), long: false },
    }
}

fn ctx_field(dst: Reg, off: i16) -> Piece {
    Plain(Insn::Load { size: Size::W, sign_extend: false, dst, src: CTX, off })
}

fn register(t: Target) -> Reg {
    match t {
        Target::A => A,
        Target::X => X,
    }
}

fn word(k: u32) -> i16 {
    -(((k & 15) * 4 + 4) as i16)
}

fn one(insn: Classic, i: usize, out: &mut Vec<Piece>) -> Result<(), TranslateError> {
    match insn {
        Classic::LoadAbs { k, .. } if k >= ANCILLARY => ancillary(k - ANCILLARY, i, out)?,
        Classic::LoadAbs { size, k } => {
            out.push(Plain(Insn::LoadPacket { size, index: None, imm: k as i32 }));
        }
        Classic::LoadInd { size, k } => {
            out.push(Plain(Insn::LoadPacket { size, index: Some(X), imm: k as i32 }));
        }
        Classic::LoadMsh { k } => {
            out.push(mov(X, A));
            out.push(Plain(Insn::LoadPacket { size: Size::B, index: None, imm: k as i32 }));
            out.push(Plain(alu(AluOp::And, Width::W32, A, Operand::Imm(0xf))));
            out.push(Plain(alu(AluOp::Lsh, Width::W32, A, Operand::Imm(2))));
            out.extend([mov(TMP, X), mov(X, A), mov(A, TMP)]);
        }
        Classic::LoadImm { to, k } => out.push(constant(register(to), k)),
        Classic::LoadLen { to } => out.push(ctx_field(register(to), LEN)),
        Classic::LoadMem { to, k } => out.push(Plain(Insn::Load {
            size: Size::W,
            sign_extend: false,
            dst: register(to),
            src: Reg::R10,
            off: word(k),
        })),
        Classic::Store { from, k } => out.push(Plain(Insn::Store {
            size: Size::W,
            dst: Reg::R10,
            off: word(k),
            src: Operand::Reg(register(from)),
        })),
        Classic::Alu { op, src } => arithmetic(op, src, out),
        Classic::Neg => out.push(Plain(Insn::Neg { width: Width::W32, dst: A })),
        Classic::Jump { k } => {
            out.push(To(Insn::Jump { off: 0, long: false }, i + 1 + k as usize));
        }
        Classic::CondJump { cond, src, jt, jf } => branch(cond, src, jt, jf, i, out),
        Classic::ReturnK { k } => out.extend([constant(A, k), Plain(Insn::Exit)]),
        Classic::ReturnA => out.push(Plain(Insn::Exit)),
        Classic::Tax => out.push(mov(X, A)),
        Classic::Txa => out.push(mov(A, X)),
    }
    Ok(())
}

fn arithmetic(op: AluOp, src: Src, out: &mut Vec<Piece>) {
    let src = match src {
        Src::K(k) => Operand::Imm(k as i32),
        Src::X => Operand::Reg(X),
    };
    if matches!((op, src), (AluOp::Div | AluOp::Mod, Operand::Reg(_))) {
        // A classic division by zero ends the filter with 0.
        out.push(Plain(alu(AluOp::Mov, Width::W32, X, src)));
        let (cond, width, zero) = (Cond::Ne, Width::W64, Operand::Imm(0));
        out.push(Plain(Insn::CondJump { cond, width, dst: X, src: zero, off: 2 }));
        out.push(Plain(alu(AluOp::Xor, Width::W32, A, Operand::Reg(A))));
        out.push(Plain(Insn::Exit));
    }
    out.push(Plain(alu(op, Width::W32, A, src)));
}

/// One jump where a side is the next instruction, else a jump and a goto.
fn branch(cond: Cond, src: Src, jt: u8, jf: u8, i: usize, out: &mut Vec<Piece>) {
    let src = match src {
        Src::X => Operand::Reg(X),
        Src::K(k) if (k as i32) < 0 => {
            // An immediate would be sign-extended.
            out.push(constant(TMP, k));
            Operand::Reg(TMP)
        }
        Src::K(k) => Operand::Imm(k as i32),
    };
    let jump = |cond| Insn::CondJump { cond, width: Width::W64, dst: A, src, off: 0 };
    let (yes, no) = (i + 1 + jt as usize, i + 1 + jf as usize);
    let inverse = match cond {
        Cond::Eq => Some(Cond::Ne),
        Cond::Gt => Some(Cond::Le),
        Cond::Ge => Some(Cond::Lt),
        _ => None,
    };
    match (jt, jf, inverse) {
        (_, 0, _) => out.push(To(jump(cond), yes)),
        (0, _, Some(inverse)) => out.push(To(jump(inverse), no)),
        _ => {
            out.push(To(jump(cond), yes));
            out.push(To(Insn::Jump { off: 0, long: false }, no));
        }
    }
}

fn ancillary(offset: u32, insn: usize, out: &mut Vec<Piece>) -> Result<(), TranslateError> {
    let swap = Plain(Insn::Swap { kind: SwapKind::ToBe, bits: 16, dst: A });
    let call = |id| Plain(Insn::Call { target: CallTarget::Helper(id) });
    match offset {
        // Protocol and tag protocol stand in network order.
        0 => out.extend([ctx_field(A, 16), swap]),
        60 => out.extend([ctx_field(A, 28), swap]),
        4 => out.push(ctx_field(A, 4)),
        8 => out.push(ctx_field(A, 40)),
        20 => out.push(ctx_field(A, 8)),
        24 => out.push(ctx_field(A, 12)),
        32 => out.push(ctx_field(A, 68)),
        44 => out.push(ctx_field(A, 24)),
        48 => out.push(ctx_field(A, 20)),
        36 => out.push(call(GET_SMP_PROCESSOR_ID)),
        56 => out.push(call(GET_PRANDOM_U32)),
        40 => out.push(Plain(alu(AluOp::Xor, Width::W32, A, Operand::Reg(X)))),
        _ => return Err(TranslateError::Ancillary { insn, offset }),
    }
    Ok(())
}
