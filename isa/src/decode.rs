//! Raw slots to [`Insn`].
//!
//! Refuses what has no meaning, with the first reason found; who must complain
//! in the kernel's order looks at the raw fields instead (see [`crate::field`]).

use std::fmt;

use crate::insn::{CallTarget, Imm64, Insn, Operand};
use crate::opcode::{self, Callee, Extend, Fetch, Field, Form, Packet, Reach, Second, Wide};
use crate::raw::RawInsn;
use crate::reg::Reg;

/// Why a slot has no meaning.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum DecodeError {
    /// No encoding has this code.
    UnknownOpcode { code: u8 },
    /// The code exists, but not with this value of the field that tells its encodings apart.
    UnknownVariant { code: u8, field: Field, value: i32 },
    /// A field that must be 0 is not.
    ReservedField { code: u8, which: Field },
    /// LD_IMM64 in the last slot.
    TruncatedLdImm64,
    /// The second slot of LD_IMM64 holds more than an immediate, or an immediate where none may be.
    BadLdImm64Tail,
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            DecodeError::UnknownOpcode { code } => write!(f, "unknown opcode {code:02x}"),
            DecodeError::UnknownVariant { code, field, value } => {
                write!(
                    f,
                    "opcode {code:02x} has no variant with {} = {value:#x}",
                    field_name(field)
                )
            }
            DecodeError::ReservedField { code, which } => {
                write!(f, "opcode {code:02x} uses reserved field {}", field_name(which))
            }
            DecodeError::TruncatedLdImm64 => f.write_str("second slot of ld_imm64 is missing"),
            DecodeError::BadLdImm64Tail => f.write_str("invalid second slot of ld_imm64"),
        }
    }
}

impl std::error::Error for DecodeError {}

fn field_name(field: Field) -> &'static str {
    match field {
        Field::Dst => "dst",
        Field::Src => "src",
        Field::Off => "off",
        Field::Imm => "imm",
    }
}

/// The form of `raw`, once its fields are found to be in order.
#[inline]
fn form_of(raw: &RawInsn) -> Result<Form, DecodeError> {
    match opcode::plain(raw) {
        Some(form) => Ok(form),
        None => special(*raw),
    }
}

/// As [`form_of`] for what is not the first encoding of its code, or wrong.
#[cold]
fn special(raw: RawInsn) -> Result<Form, DecodeError> {
    let Some(row) = opcode::row(raw) else {
        return Err(no_row(raw));
    };
    match row.reserved(raw) {
        Some(which) => Err(DecodeError::ReservedField { code: raw.code, which }),
        None => Ok(row.form),
    }
}

/// The number in [`opcode::table`] of the encoding of `raw`, whose fields are found to be in order;
/// `next` is the slot after it, looked at for LD_IMM64 only.
///
/// For who goes by tables of his own and needs no [`Insn`].
pub fn number(raw: &RawInsn, next: Option<&RawInsn>) -> Result<u8, DecodeError> {
    decode(*raw, next.copied())?;
    opcode::number(*raw).ok_or(DecodeError::UnknownOpcode { code: raw.code })
}

/// Decodes `raw`; `next` is the slot after it, looked at for LD_IMM64 only.
#[inline]
pub fn decode(raw: RawInsn, next: Option<RawInsn>) -> Result<Insn, DecodeError> {
    decode_as(form_of(&raw)?, raw, next)
}

/// Decodes what is known to have this form.
#[inline]
pub fn decode_as(form: Form, raw: RawInsn, next: Option<RawInsn>) -> Result<Insn, DecodeError> {
    let (dst, src) = (Reg(raw.dst), Reg(raw.src));
    let (off, imm) = (raw.off, raw.imm);
    let second = |s| match s {
        Second::Imm => Operand::Imm(imm),
        Second::Reg => Operand::Reg(src),
    };
    Ok(match form {
        Form::Alu(op, width, s) => Insn::Alu { op, width, dst, src: second(s) },
        Form::MovSx(width, from) => Insn::MovSx { width, from, dst, src },
        Form::AddrSpaceCast => Insn::AddrSpaceCast { dst, src, imm },
        Form::Neg(width) => Insn::Neg { width, dst },
        Form::Swap(kind, bits) => Insn::Swap { kind, bits, dst },
        Form::LoadImm64(wide) => Insn::LoadImm64 { dst, value: imm64(wide, &raw, next.as_ref())? },
        Form::Load(size, extend) => {
            Insn::Load { size, sign_extend: extend == Extend::Sext, dst, src, off }
        }
        Form::LoadPacket(size, mode) => {
            Insn::LoadPacket { size, index: (mode == Packet::Ind).then_some(src), imm }
        }
        Form::Store(size, s) => Insn::Store { size, dst, off, src: second(s) },
        Form::Atomic(op, size, fetch) => {
            Insn::Atomic { op, fetch: fetch == Fetch::Fetch, size, dst, src, off }
        }
        Form::LoadAcquire(size) => Insn::LoadAcquire { size, dst, src, off },
        Form::StoreRelease(size) => Insn::StoreRelease { size, dst, src, off },
        Form::Jump(Reach::Short) => Insn::Jump { off: off as i32, long: false },
        Form::Jump(Reach::Long) => Insn::Jump { off: imm, long: true },
        Form::MayGoto => Insn::MayGoto { off },
        Form::CondJump(cond, width, s) => Insn::CondJump { cond, width, dst, src: second(s), off },
        Form::Call(Callee::Helper) => Insn::Call { target: CallTarget::Helper(imm) },
        Form::Call(Callee::Subprog) => Insn::Call { target: CallTarget::Subprog(imm) },
        Form::Call(Callee::Kfunc) => {
            Insn::Call { target: CallTarget::Kfunc { btf_id: imm, fd_idx: off } }
        }
        Form::CallReg => Insn::CallReg { target: dst },
        Form::JumpReg => Insn::JumpReg { target: dst },
        Form::Exit => Insn::Exit,
    })
}

/// Says why no row fits: the code, or the field that selects among its rows.
fn no_row(raw: RawInsn) -> DecodeError {
    let code = raw.code;
    let (field, value) = match opcode::rows(code).first().map(|r| r.select) {
        Some(opcode::Select::Off(_)) => (Field::Off, raw.off as i32),
        Some(opcode::Select::Imm(_)) => (Field::Imm, raw.imm),
        Some(opcode::Select::Src(_)) => (Field::Src, raw.src as i32),
        Some(opcode::Select::Any) | None => return DecodeError::UnknownOpcode { code },
    };
    DecodeError::UnknownVariant { code, field, value }
}

fn imm64(wide: Wide, raw: &RawInsn, next: Option<&RawInsn>) -> Result<Imm64, DecodeError> {
    let tail = *next.ok_or(DecodeError::TruncatedLdImm64)?;
    let blank = RawInsn { imm: tail.imm, ..RawInsn::default() };
    if tail != blank {
        return Err(DecodeError::BadLdImm64Tail);
    }
    let only_first = |v| {
        if tail.imm == 0 {
            Ok(v)
        } else {
            Err(DecodeError::BadLdImm64Tail)
        }
    };
    match wide {
        Wide::Const => Ok(Imm64::Const(raw.imm64(tail))),
        Wide::MapFd => only_first(Imm64::MapFd(raw.imm)),
        Wide::MapValue => Ok(Imm64::MapValue { fd: raw.imm, off: tail.imm as u32 }),
        Wide::BtfId => Ok(Imm64::BtfId { id: raw.imm, btf_fd: tail.imm }),
        Wide::Func => only_first(Imm64::Func(raw.imm)),
        Wide::MapIdx => only_first(Imm64::MapIdx(raw.imm)),
        Wide::MapIdxValue => Ok(Imm64::MapIdxValue { idx: raw.imm, off: tail.imm as u32 }),
    }
}
