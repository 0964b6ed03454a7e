//! Classic BPF (`struct sock_filter`): what tcpdump compiles to and seccomp runs.
//!
//! A second, older instruction set with codes of its own, which no other file
//! writes.  [`parse`] reads `tcpdump -dd` and `-ddd` text, [`check`] applies the
//! kernel's rules, [`translate`] makes eBPF of it as the kernel does.  Mirrors
//! net/core/filter.c; knows no packet.

mod check;
mod parse;
mod translate;

pub use check::{check, CheckError};
pub use parse::{parse, ParseError};
pub use translate::{translate, TranslateError};

use crate::insn::{AluOp, Cond, Size};

/// `BPF_MAXINSNS`.
pub const MAX_INSNS: usize = 4096;
/// `BPF_MEMWORDS`.
pub const MEM_WORDS: u32 = 16;
/// `SKF_AD_OFF`: packet offsets from here on name ancillary values.
pub const ANCILLARY: u32 = -0x1000i32 as u32;

/// One undecoded instruction.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
pub struct RawClassic {
    pub code: u16,
    pub jt: u8,
    pub jf: u8,
    pub k: u32,
}

/// Second operand: the constant `k` or the index register X.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Src {
    K(u32),
    X,
}

/// Which register is loaded or stored.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Target {
    A,
    X,
}

/// A decoded instruction.  Jumps count from the next one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Classic {
    /// A = packet[k], big-endian.
    LoadAbs {
        size: Size,
        k: u32,
    },
    /// A = packet[X + k].
    LoadInd {
        size: Size,
        k: u32,
    },
    LoadImm {
        to: Target,
        k: u32,
    },
    LoadMem {
        to: Target,
        k: u32,
    },
    LoadLen {
        to: Target,
    },
    /// X = 4 * (packet[k] & 15).
    LoadMsh {
        k: u32,
    },
    Store {
        from: Target,
        k: u32,
    },
    Alu {
        op: AluOp,
        src: Src,
    },
    Neg,
    Jump {
        k: u32,
    },
    CondJump {
        cond: Cond,
        src: Src,
        jt: u8,
        jf: u8,
    },
    ReturnK {
        k: u32,
    },
    ReturnA,
    /// X = A.
    Tax,
    /// A = X.
    Txa,
}

/// Decodes; None for what the kernel's table does not have (`chk_code_allowed`).
pub fn decode(i: RawClassic) -> Option<Classic> {
    let k = i.k;
    let (class, op, size, mode) = (i.code & 0x07, i.code & 0xf0, i.code & 0x18, i.code & 0xe0);
    if i.code > 0xff {
        return None;
    }
    let to = if class == 0x01 { Target::X } else { Target::A };
    let width = match size {
        0x00 => Size::W,
        0x08 => Size::H,
        0x10 => Size::B,
        _ => Size::Dw,
    };
    let src = if i.code & 0x08 != 0 { Src::X } else { Src::K(k) };
    Some(match (class, mode, size) {
        (0x00, 0x20, 0x00 | 0x08 | 0x10) => Classic::LoadAbs { size: width, k },
        (0x00, 0x40, 0x00 | 0x08 | 0x10) => Classic::LoadInd { size: width, k },
        (0x00 | 0x01, 0x00, 0x00) => Classic::LoadImm { to, k },
        (0x00 | 0x01, 0x60, 0x00) => Classic::LoadMem { to, k },
        (0x00 | 0x01, 0x80, 0x00) => Classic::LoadLen { to },
        (0x01, 0xa0, 0x10) => Classic::LoadMsh { k },
        (0x02, 0x00, 0x00) => Classic::Store { from: Target::A, k },
        (0x03, 0x00, 0x00) => Classic::Store { from: Target::X, k },
        (0x04, ..) if op == 0x80 && src == Src::K(k) => Classic::Neg,
        (0x04, ..) => Classic::Alu { op: alu_op(op)?, src },
        (0x05, ..) if op == 0x00 && src == Src::K(k) => Classic::Jump { k },
        (0x05, ..) => Classic::CondJump { cond: jump_cond(op)?, src, jt: i.jt, jf: i.jf },
        (0x06, 0x00, 0x00) if op == 0 => Classic::ReturnK { k },
        (0x06, 0x00, 0x10) if op & 0xe0 == 0 => Classic::ReturnA,
        (0x07, ..) if i.code == 0x07 => Classic::Tax,
        (0x07, ..) if i.code == 0x87 => Classic::Txa,
        _ => return None,
    })
}

fn alu_op(op: u16) -> Option<AluOp> {
    Some(match op {
        0x00 => AluOp::Add,
        0x10 => AluOp::Sub,
        0x20 => AluOp::Mul,
        0x30 => AluOp::Div,
        0x40 => AluOp::Or,
        0x50 => AluOp::And,
        0x60 => AluOp::Lsh,
        0x70 => AluOp::Rsh,
        0x90 => AluOp::Mod,
        0xa0 => AluOp::Xor,
        _ => return None,
    })
}

fn jump_cond(op: u16) -> Option<Cond> {
    Some(match op {
        0x10 => Cond::Eq,
        0x20 => Cond::Gt,
        0x30 => Cond::Ge,
        0x40 => Cond::Set,
        _ => return None,
    })
}
