//! [`Insn`] to raw slots: the inverse of [`crate::decode`].
//!
//! The row of the table gives the code and the selecting field; this file only
//! says which operand goes into which field.

use crate::insn::{CallTarget, Imm64, Insn, Operand};
use crate::opcode::{self, Callee, Extend, Fetch, Form, Packet, Reach, Second, Select, Wide};
use crate::raw::RawInsn;
use crate::reg::Reg;

/// Encodes; the second slot is there for LD_IMM64 only.
///
/// Fields that do not fit their encoding (a short jump beyond 16 bits, a swap
/// of 7 bits) have no row and give None.
pub fn try_encode(insn: &Insn) -> Option<(RawInsn, Option<RawInsn>)> {
    let form = form_of(insn);
    let row = opcode::row_of(form)?;
    let mut raw = RawInsn { code: row.code, ..RawInsn::default() };
    match row.select {
        Select::Any => {}
        Select::Off(v) => raw.off = v,
        Select::Imm(v) => raw.imm = v,
        Select::Src(v) => raw.src = v,
    }
    let mut tail = None;
    match *insn {
        Insn::Alu { dst, src, .. } => {
            raw.dst = dst.0;
            put_operand(&mut raw, src);
        }
        Insn::MovSx { dst, src, .. } => put_regs(&mut raw, dst, src),
        Insn::AddrSpaceCast { dst, src, imm } => {
            put_regs(&mut raw, dst, src);
            raw.imm = imm;
        }
        Insn::Neg { dst, .. }
        | Insn::Swap { dst, .. }
        | Insn::CallReg { target: dst }
        | Insn::JumpReg { target: dst } => raw.dst = dst.0,
        Insn::LoadImm64 { dst, value } => {
            raw.dst = dst.0;
            let (low, high) = halves(value);
            raw.imm = low;
            tail = Some(RawInsn { imm: high, ..RawInsn::default() });
        }
        Insn::Load { dst, src, off, .. }
        | Insn::Atomic { dst, src, off, .. }
        | Insn::LoadAcquire { dst, src, off, .. }
        | Insn::StoreRelease { dst, src, off, .. } => {
            put_regs(&mut raw, dst, src);
            raw.off = off;
        }
        Insn::LoadPacket { index, imm, .. } => {
            raw.src = index.map_or(0, |r| r.0);
            raw.imm = imm;
        }
        Insn::Store { dst, off, src, .. } | Insn::CondJump { dst, off, src, .. } => {
            raw.dst = dst.0;
            raw.off = off;
            put_operand(&mut raw, src);
        }
        Insn::Jump { off, long: true } => raw.imm = off,
        Insn::Jump { off, long: false } => raw.off = i16::try_from(off).ok()?,
        Insn::MayGoto { off } => raw.off = off,
        Insn::Call { target } => put_target(&mut raw, target),
        Insn::Exit => {}
    }
    Some((raw, tail))
}

/// Encodes an instruction that came from [`crate::decode`] or was built with values that fit.
///
/// What [`try_encode`] refuses becomes the all-zero slot, which no kernel
/// accepts, so that a mistake here shows as a rejection and not as a crash.
pub fn encode(insn: &Insn) -> (RawInsn, Option<RawInsn>) {
    try_encode(insn).unwrap_or_default()
}

fn put_regs(raw: &mut RawInsn, dst: Reg, src: Reg) {
    raw.dst = dst.0;
    raw.src = src.0;
}

fn put_operand(raw: &mut RawInsn, src: Operand) {
    match src {
        Operand::Reg(r) => raw.src = r.0,
        Operand::Imm(v) => raw.imm = v,
    }
}

fn put_target(raw: &mut RawInsn, target: CallTarget) {
    match target {
        CallTarget::Helper(v) | CallTarget::Subprog(v) => raw.imm = v,
        CallTarget::Kfunc { btf_id, fd_idx } => {
            raw.imm = btf_id;
            raw.off = fd_idx;
        }
    }
}

fn halves(value: Imm64) -> (i32, i32) {
    match value {
        Imm64::Const(v) => (v as u32 as i32, (v >> 32) as u32 as i32),
        Imm64::MapFd(v) | Imm64::Func(v) | Imm64::MapIdx(v) => (v, 0),
        Imm64::MapValue { fd: v, off } | Imm64::MapIdxValue { idx: v, off } => (v, off as i32),
        Imm64::BtfId { id, btf_fd } => (id, btf_fd),
    }
}

/// The table form of a decoded instruction.
pub fn form_of(insn: &Insn) -> Form {
    let second = |o| match o {
        Operand::Reg(_) => Second::Reg,
        Operand::Imm(_) => Second::Imm,
    };
    match *insn {
        Insn::Alu { op, width, src, .. } => Form::Alu(op, width, second(src)),
        Insn::MovSx { width, from, .. } => Form::MovSx(width, from),
        Insn::AddrSpaceCast { .. } => Form::AddrSpaceCast,
        Insn::Neg { width, .. } => Form::Neg(width),
        Insn::Swap { kind, bits, .. } => Form::Swap(kind, bits),
        Insn::LoadImm64 { value, .. } => Form::LoadImm64(wide_of(value)),
        Insn::Load { size, sign_extend, .. } => {
            Form::Load(size, if sign_extend { Extend::Sext } else { Extend::Zext })
        }
        Insn::LoadPacket { size, index, .. } => {
            Form::LoadPacket(size, if index.is_some() { Packet::Ind } else { Packet::Abs })
        }
        Insn::Store { size, src, .. } => Form::Store(size, second(src)),
        Insn::Atomic { op, fetch, size, .. } => {
            Form::Atomic(op, size, if fetch { Fetch::Fetch } else { Fetch::NoFetch })
        }
        Insn::LoadAcquire { size, .. } => Form::LoadAcquire(size),
        Insn::StoreRelease { size, .. } => Form::StoreRelease(size),
        Insn::Jump { long, .. } => Form::Jump(if long { Reach::Long } else { Reach::Short }),
        Insn::MayGoto { .. } => Form::MayGoto,
        Insn::CondJump { cond, width, src, .. } => Form::CondJump(cond, width, second(src)),
        Insn::Call { target: CallTarget::Helper(_) } => Form::Call(Callee::Helper),
        Insn::Call { target: CallTarget::Subprog(_) } => Form::Call(Callee::Subprog),
        Insn::Call { target: CallTarget::Kfunc { .. } } => Form::Call(Callee::Kfunc),
        Insn::CallReg { .. } => Form::CallReg,
        Insn::JumpReg { .. } => Form::JumpReg,
        Insn::Exit => Form::Exit,
    }
}

fn wide_of(value: Imm64) -> Wide {
    match value {
        Imm64::Const(_) => Wide::Const,
        Imm64::MapFd(_) => Wide::MapFd,
        Imm64::MapValue { .. } => Wide::MapValue,
        Imm64::BtfId { .. } => Wide::BtfId,
        Imm64::Func(_) => Wide::Func,
        Imm64::MapIdx(_) => Wide::MapIdx,
        Imm64::MapIdxValue { .. } => Wide::MapIdxValue,
    }
}
