//! The opcode table: one row per encoding.  Decoder, encoder, assembler and disassembler derive from it.
//!
//! No other file of the project writes an opcode number; the questions one may
//! ask a raw instruction without knowing a number are in [`crate::field`].
//! Knows nothing of what a kernel build supports: rows carry the conformance
//! group of RFC 9669 and the lowest `clang -mcpu` that emits them.
//! Mirrors `BPF_INSN_MAP` and `bpf_opcode_in_insntable` (kernel/bpf/core.c).

mod rows;

use crate::insn::{AluOp, AtomicOp, Cond, Size, SwapKind, SxFrom, Width};
use crate::raw::RawInsn;
use crate::reg::Reg;

/// First slot of a 16-byte immediate load: `BPF_LD | BPF_IMM | BPF_DW`.
pub const LD_IMM64: u8 = 0x18;
/// `BPF_JMP | BPF_CALL`.
pub const CALL: u8 = 0x85;
/// `BPF_JMP | BPF_EXIT`.
pub const EXIT: u8 = 0x95;
/// `BPF_JMP | BPF_JA`.
pub const JA: u8 = 0x05;
/// `BPF_JMP | BPF_JA | BPF_X` (`gotox`).
pub const JA_REG: u8 = 0x0d;
/// `BPF_JMP32 | BPF_JA` (`gotol`).
pub const JA32: u8 = 0x06;
/// `BPF_JMP | BPF_JCOND` (`may_goto` when the source field is 0).
pub const JCOND: u8 = 0xe5;
/// `BPF_JMP | BPF_CALL | BPF_X` (`callx`): in no kernel's table.
pub const CALLX: u8 = 0x8d;
/// `BPF_ST | BPF_NOSPEC`: what the kernel itself writes against speculation.
pub const NOSPEC: u8 = 0xc2;
/// `BPF_ALU64 | BPF_MOV | BPF_X`: the only code that may cast address spaces.
pub const MOV64_REG: u8 = 0xbf;

// code = op:4 | source:1 | class:3 for ALU and JMP; mode:3 | size:2 | class:3 for LD and ST.
pub(crate) const CLASS_MASK: u8 = 0x07;
pub(crate) const SOURCE_BIT: u8 = 0x08;
pub(crate) const OP_SHIFT: u8 = 4;
pub(crate) const MODE_SHIFT: u8 = 5;
pub(crate) const SIZE_SHIFT: u8 = 3;
pub(crate) const SIZE_MASK: u8 = 0x18;

/// The `imm` of a read-modify-write atomic that also fetches has this bit (`BPF_FETCH`).
pub const ATOMIC_FETCH: i32 = 0x01;
/// `BPF_ADDR_SPACE_CAST`: the `off` of the cast.
pub const OFF_ADDR_SPACE_CAST: i16 = 1;
/// `BPF_ADDR_PERCPU`: the `off` the kernel itself writes to resolve per-CPU addresses.
pub const OFF_ADDR_PERCPU: i16 = -1;

/// Source field of CALL.
pub const PSEUDO_CALL: u8 = 1;
pub const PSEUDO_KFUNC_CALL: u8 = 2;
/// Source field of LD_IMM64.
pub const PSEUDO_MAP_FD: u8 = 1;
pub const PSEUDO_MAP_VALUE: u8 = 2;
pub const PSEUDO_BTF_ID: u8 = 3;
pub const PSEUDO_FUNC: u8 = 4;
pub const PSEUDO_MAP_IDX: u8 = 5;
pub const PSEUDO_MAP_IDX_VALUE: u8 = 6;

/// Conformance group (RFC 9669, section 2.4), and two groups the RFC does not have.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Group {
    Base32,
    Base64,
    Atomic32,
    Atomic64,
    Divmul32,
    Divmul64,
    Packet,
    /// Linux additions outside the RFC.
    Linux,
    /// Call by register, which RFC 9669 leaves out and no kernel accepts.
    Callx,
}

/// Lowest `clang -mcpu` that emits the encoding.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub enum Cpu {
    V1,
    V2,
    V3,
    V4,
}

/// The further field, besides the code, that picks the row.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Select {
    Any,
    Off(i16),
    Imm(i32),
    Src(u8),
}

/// Second operand of the form.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Second {
    Imm,
    Reg,
}

/// Extension of a narrow load.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Extend {
    Zext,
    Sext,
}

/// Whether an atomic hands back the old value.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fetch {
    NoFetch,
    Fetch,
}

/// Addressing of a legacy packet load.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Packet {
    Abs,
    Ind,
}

/// Which field of an unconditional jump holds the distance.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reach {
    Short,
    Long,
}

/// Pseudo source of LD_IMM64.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Wide {
    Const,
    MapFd,
    MapValue,
    BtfId,
    Func,
    MapIdx,
    MapIdxValue,
}

/// Pseudo source of CALL.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Callee {
    Helper,
    Subprog,
    Kfunc,
}

/// Operand family: which fields are operands, and what the row means.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Form {
    Alu(AluOp, Width, Second),
    MovSx(Width, SxFrom),
    AddrSpaceCast,
    Neg(Width),
    Swap(SwapKind, u8),
    LoadImm64(Wide),
    Load(Size, Extend),
    LoadPacket(Size, Packet),
    Store(Size, Second),
    Atomic(AtomicOp, Size, Fetch),
    LoadAcquire(Size),
    StoreRelease(Size),
    Jump(Reach),
    MayGoto,
    CondJump(Cond, Width, Second),
    Call(Callee),
    CallReg,
    /// To an address in a register.
    JumpReg,
    Exit,
}

/// One encoding.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Row {
    pub code: u8,
    pub select: Select,
    pub form: Form,
    /// The token that stands for the row in the kernel's text (`+=`, `s>`, `u32`, `be16`, `(s8)`);
    /// for LD_IMM64, which the kernel prints as a number, the opening of the lossless form.
    pub token: &'static str,
    pub group: Group,
    pub cpu: Cpu,
}

/// The four operand fields; those that are neither operand nor selector must be 0.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Field {
    Dst,
    Src,
    Off,
    Imm,
}

impl Form {
    /// True when `field` is an operand of the form.
    #[inline]
    pub const fn has_operand(self, field: Field) -> bool {
        use Field::*;
        let (dst, src, off, imm) =
            (1u8 << Dst as u8, 1 << Src as u8, 1 << Off as u8, 1 << Imm as u8);
        let second = match self {
            Form::Alu(_, _, s) | Form::Store(_, s) | Form::CondJump(_, _, s) => match s {
                Second::Imm => imm,
                Second::Reg => src,
            },
            _ => 0,
        };
        let operands = match self {
            Form::Alu(..) => dst | second,
            Form::MovSx(..) => dst | src,
            Form::AddrSpaceCast => dst | src | imm,
            Form::Neg(_) | Form::Swap(..) | Form::CallReg | Form::JumpReg => dst,
            Form::LoadImm64(_) => dst | imm,
            Form::Load(..) | Form::LoadAcquire(_) | Form::StoreRelease(_) | Form::Atomic(..) => {
                dst | src | off
            }
            Form::LoadPacket(_, Packet::Abs) | Form::Jump(Reach::Long) => imm,
            Form::LoadPacket(_, Packet::Ind) => src | imm,
            Form::Store(..) | Form::CondJump(..) => dst | off | second,
            Form::Jump(Reach::Short) | Form::MayGoto => off,
            Form::Call(Callee::Kfunc) => imm | off,
            Form::Call(_) => imm,
            Form::Exit => 0,
        };
        operands >> field as u8 & 1 == 1
    }
}

/// How a form has to do with other slots.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Names {
    Nothing,
    /// `off` is the distance of a slot jumped to.
    ByOff,
    /// `imm` is a distance, the next slot belongs to this one, or a table has the slots.
    Otherwise,
}

impl Form {
    pub const fn names(self) -> Names {
        match self {
            Form::Jump(Reach::Short) | Form::MayGoto | Form::CondJump(..) => Names::ByOff,
            Form::Jump(Reach::Long) | Form::LoadImm64(_) => Names::Otherwise,
            Form::Call(Callee::Subprog) | Form::JumpReg => Names::Otherwise,
            _ => Names::Nothing,
        }
    }
}

impl Row {
    /// True when the selector field of `raw` is the row's.
    #[inline]
    pub fn selects(&self, raw: RawInsn) -> bool {
        match self.select {
            Select::Any => true,
            Select::Off(v) => raw.off == v,
            Select::Imm(v) => raw.imm == v,
            Select::Src(v) => raw.src == v,
        }
    }

    /// The first field, in the order dst, src, off, imm, that should be 0 and is not.
    #[inline]
    pub fn reserved(&self, raw: RawInsn) -> Option<Field> {
        let f = self.form;
        if raw.dst != 0 && !f.has_operand(Field::Dst) {
            return Some(Field::Dst);
        }
        if raw.src != 0 && !matches!(self.select, Select::Src(_)) && !f.has_operand(Field::Src) {
            return Some(Field::Src);
        }
        if raw.off != 0 && !matches!(self.select, Select::Off(_)) && !f.has_operand(Field::Off) {
            return Some(Field::Off);
        }
        if raw.imm != 0 && !matches!(self.select, Select::Imm(_)) && !f.has_operand(Field::Imm) {
            return Some(Field::Imm);
        }
        None
    }
}

/// All rows with this code, in the order of their selectors; empty for an unknown code.
#[inline]
pub fn rows(code: u8) -> &'static [Row] {
    let (start, end) = INDEX[code as usize];
    &TABLE[start as usize..end as usize]
}

/// The row of an instruction, if its code and selector have one.
#[inline]
pub fn row(raw: RawInsn) -> Option<&'static Row> {
    rows(raw.code).iter().find(|r| r.selects(raw))
}

pub use crate::form_index::row_of;

/// The whole table, ascending by code.
pub const fn table() -> &'static [Row] {
    &TABLE
}

/// True when the kernel's instruction table has the code (`bpf_opcode_in_insntable`),
/// whatever its other fields hold.
#[inline]
pub fn is_known(code: u8) -> bool {
    code != CALLX && !rows(code).is_empty()
}

const fn index() -> [(u16, u16); 256] {
    let mut out = [(0u16, 0u16); 256];
    let mut i = 0;
    while i < TABLE.len() {
        let code = TABLE[i].code as usize;
        if out[code].1 == 0 {
            out[code].0 = i as u16;
        }
        out[code].1 = i as u16 + 1;
        i += 1;
    }
    out
}

static INDEX: [(u16, u16); 256] = index();

/// A code's first row, and what the fields of an instruction it fits look like.
#[derive(Clone, Copy)]
struct First {
    form: Form,
    /// Bits that are zero.
    imm: i32,
    off: i32,
    /// What the register fields are below: 0 where the code has no row, or its first row wants a selector
    /// other than 0.
    dst: u8,
    src: u8,
    row: u8,
    names: Names,
}

/// Registers a program may name: r0 to r10.
const REGISTERS: u8 = Reg::R10.0 + 1;

const fn firsts() -> [First; 256] {
    /// Whether the field must be 0.
    const fn zero(row: Row, field: Field) -> bool {
        let selects = matches!(
            (row.select, field),
            (Select::Off(_), Field::Off)
                | (Select::Imm(_), Field::Imm)
                | (Select::Src(_), Field::Src)
        );
        selects || !row.form.has_operand(field)
    }
    const fn below(row: Row, field: Field) -> u8 {
        if zero(row, field) {
            1
        } else {
            REGISTERS
        }
    }
    let none =
        First { form: Form::Exit, imm: 0, off: 0, dst: 0, src: 0, row: 0, names: Names::Nothing };
    let mut out = [none; 256];
    let index = index();
    let mut code = 0;
    while code < 256 {
        let (start, end) = index[code];
        if start < end {
            let row = TABLE[start as usize];
            if matches!(row.select, Select::Any | Select::Off(0) | Select::Imm(0) | Select::Src(0))
            {
                out[code] = First {
                    form: row.form,
                    imm: -(zero(row, Field::Imm) as i32),
                    off: -(zero(row, Field::Off) as i32),
                    dst: below(row, Field::Dst),
                    src: below(row, Field::Src),
                    row: start as u8,
                    names: row.form.names(),
                };
            }
        }
        code += 1;
    }
    out
}

static FIRST: [First; 256] = firsts();

/// Row numbers fit a byte.
const _: () = assert!(TABLE.len() <= 256);

#[inline(always)]
fn first(raw: &RawInsn) -> Option<&'static First> {
    let f = &FIRST[raw.code as usize];
    let fits =
        (raw.imm & f.imm) | (raw.off as i32 & f.off) == 0 && raw.dst < f.dst && raw.src < f.src;
    fits.then_some(f)
}

/// The form of an instruction whose fields are as the most frequent encoding of its code has them; None means
/// that [`row`] and [`Row::reserved`] must tell.
#[inline]
pub(crate) fn plain(raw: &RawInsn) -> Option<Form> {
    first(raw).map(|f| f.form)
}

/// The row's number in [`table`] of an instruction as the most frequent encoding of its code, with
/// registers up to r10, and its [`Form::names`]; None means that
/// [`crate::decode::number`] must tell.  The second slot of LD_IMM64 is not looked at.
#[inline(always)]
pub fn plain_number(raw: &RawInsn) -> Option<(u8, Names)> {
    first(raw).map(|f| (f.row, f.names))
}

/// Number in [`table`] of an instruction's row.
pub(crate) fn number(raw: RawInsn) -> Option<u8> {
    let at = rows(raw.code).iter().position(|r| r.selects(raw))?;
    Some(INDEX[raw.code as usize].0 as u8 + at as u8)
}

use rows::TABLE;
