//! The opcode table: one row per encoding.  Decoder, encoder, assembler and disassembler derive from it.
//!
//! No other file of the project writes an opcode number; the questions one may
//! ask a raw instruction without knowing a number are in [`crate::field`].
//! Knows nothing of what a kernel build supports: rows carry the conformance
//! group of RFC 9669 and the lowest `clang -mcpu` that emits them.
//! Mirrors `BPF_INSN_MAP` and `bpf_opcode_in_insntable` (kernel/bpf/core.c).

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

/// The row of a form; every form of the table has exactly one.
pub fn row_of(form: Form) -> Option<&'static Row> {
    TABLE.iter().find(|r| r.form == form)
}

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

/// The rows themselves; a module of its own only to keep the short names out of the rest.
mod rows {
    use super::Extend::{Sext, Zext};
    use super::*;
    use AluOp::*;
    use Cond::{Eq, Ge, Gt, Le, Lt, Ne, Set, Sge, Sgt, Sle, Slt};
    use Cpu::{V1, V2, V3, V4};
    use Fetch::{Fetch as Fetched, NoFetch};
    use Form::*;
    use Group::{Atomic32, Atomic64, Base32, Base64, Callx, Divmul32, Divmul64, Linux};
    use Reach::{Long, Short};
    use Second::{Imm as I, Reg as R};
    use Select::{Any, Imm, Off, Src};
    use Size::{Dw, B, H, W};
    use SwapKind::{Bswap, ToBe, ToLe};
    use Width::{W32, W64};

    const fn enc(
        code: u8,
        select: Select,
        form: Form,
        token: &'static str,
        group: Group,
        cpu: Cpu,
    ) -> Row {
        Row { code, select, form, token, group, cpu }
    }

    // code, selector, form, token, group, cpu
    #[rustfmt::skip]
    pub(super) static TABLE: [Row; 182] = [
        enc(0x04, Any,        Alu(Add, W32, I),                    "+=",                  Base32,        V3),
        enc(0x05, Any,        Jump(Short),                         "goto",                Base32,        V1),
        enc(0x06, Any,        Jump(Long),                          "gotol",               Base32,        V4),
        enc(0x07, Any,        Alu(Add, W64, I),                    "+=",                  Base64,        V1),
        enc(0x0c, Any,        Alu(Add, W32, R),                    "+=",                  Base32,        V3),
        enc(0x0d, Any,        JumpReg,                             "gotox",               Linux,         V4),
        enc(0x0f, Any,        Alu(Add, W64, R),                    "+=",                  Base64,        V1),
        enc(0x14, Any,        Alu(Sub, W32, I),                    "-=",                  Base32,        V3),
        enc(0x15, Any,        CondJump(Eq, W64, I),                "==",                  Base64,        V1),
        enc(0x16, Any,        CondJump(Eq, W32, I),                "==",                  Base32,        V3),
        enc(0x17, Any,        Alu(Sub, W64, I),                    "-=",                  Base64,        V1),
        enc(0x18, Src(0),     LoadImm64(Wide::Const),              "",                    Base64,        V1),
        enc(0x18, Src(1),     LoadImm64(Wide::MapFd),              "map[fd:",             Base64,        V1),
        enc(0x18, Src(2),     LoadImm64(Wide::MapValue),           "map[fd:",             Base64,        V1),
        enc(0x18, Src(3),     LoadImm64(Wide::BtfId),              "btf[id:",             Base64,        V1),
        enc(0x18, Src(4),     LoadImm64(Wide::Func),               "subprog[",            Base64,        V1),
        enc(0x18, Src(5),     LoadImm64(Wide::MapIdx),             "map[idx:",            Base64,        V1),
        enc(0x18, Src(6),     LoadImm64(Wide::MapIdxValue),        "map[idx:",            Base64,        V1),
        enc(0x1c, Any,        Alu(Sub, W32, R),                    "-=",                  Base32,        V3),
        enc(0x1d, Any,        CondJump(Eq, W64, R),                "==",                  Base64,        V1),
        enc(0x1e, Any,        CondJump(Eq, W32, R),                "==",                  Base32,        V3),
        enc(0x1f, Any,        Alu(Sub, W64, R),                    "-=",                  Base64,        V1),
        enc(0x20, Any,        LoadPacket(W, Packet::Abs),          "u32",                 Group::Packet, V1),
        enc(0x24, Any,        Alu(Mul, W32, I),                    "*=",                  Divmul32,      V3),
        enc(0x25, Any,        CondJump(Gt, W64, I),                ">",                   Base64,        V1),
        enc(0x26, Any,        CondJump(Gt, W32, I),                ">",                   Base32,        V3),
        enc(0x27, Any,        Alu(Mul, W64, I),                    "*=",                  Divmul64,      V1),
        enc(0x28, Any,        LoadPacket(H, Packet::Abs),          "u16",                 Group::Packet, V1),
        enc(0x2c, Any,        Alu(Mul, W32, R),                    "*=",                  Divmul32,      V3),
        enc(0x2d, Any,        CondJump(Gt, W64, R),                ">",                   Base64,        V1),
        enc(0x2e, Any,        CondJump(Gt, W32, R),                ">",                   Base32,        V3),
        enc(0x2f, Any,        Alu(Mul, W64, R),                    "*=",                  Divmul64,      V1),
        enc(0x30, Any,        LoadPacket(B, Packet::Abs),          "u8",                  Group::Packet, V1),
        enc(0x34, Off(0),     Alu(Div, W32, I),                    "/=",                  Divmul32,      V3),
        enc(0x34, Off(1),     Alu(SDiv, W32, I),                   "s/=",                 Divmul32,      V4),
        enc(0x35, Any,        CondJump(Ge, W64, I),                ">=",                  Base64,        V1),
        enc(0x36, Any,        CondJump(Ge, W32, I),                ">=",                  Base32,        V3),
        enc(0x37, Off(0),     Alu(Div, W64, I),                    "/=",                  Divmul64,      V1),
        enc(0x37, Off(1),     Alu(SDiv, W64, I),                   "s/=",                 Divmul64,      V4),
        enc(0x3c, Off(0),     Alu(Div, W32, R),                    "/=",                  Divmul32,      V3),
        enc(0x3c, Off(1),     Alu(SDiv, W32, R),                   "s/=",                 Divmul32,      V4),
        enc(0x3d, Any,        CondJump(Ge, W64, R),                ">=",                  Base64,        V1),
        enc(0x3e, Any,        CondJump(Ge, W32, R),                ">=",                  Base32,        V3),
        enc(0x3f, Off(0),     Alu(Div, W64, R),                    "/=",                  Divmul64,      V1),
        enc(0x3f, Off(1),     Alu(SDiv, W64, R),                   "s/=",                 Divmul64,      V4),
        enc(0x40, Any,        LoadPacket(W, Packet::Ind),          "u32",                 Group::Packet, V1),
        enc(0x44, Any,        Alu(Or, W32, I),                     "|=",                  Base32,        V3),
        enc(0x45, Any,        CondJump(Set, W64, I),               "&",                   Base64,        V1),
        enc(0x46, Any,        CondJump(Set, W32, I),               "&",                   Base32,        V3),
        enc(0x47, Any,        Alu(Or, W64, I),                     "|=",                  Base64,        V1),
        enc(0x48, Any,        LoadPacket(H, Packet::Ind),          "u16",                 Group::Packet, V1),
        enc(0x4c, Any,        Alu(Or, W32, R),                     "|=",                  Base32,        V3),
        enc(0x4d, Any,        CondJump(Set, W64, R),               "&",                   Base64,        V1),
        enc(0x4e, Any,        CondJump(Set, W32, R),               "&",                   Base32,        V3),
        enc(0x4f, Any,        Alu(Or, W64, R),                     "|=",                  Base64,        V1),
        enc(0x50, Any,        LoadPacket(B, Packet::Ind),          "u8",                  Group::Packet, V1),
        enc(0x54, Any,        Alu(And, W32, I),                    "&=",                  Base32,        V3),
        enc(0x55, Any,        CondJump(Ne, W64, I),                "!=",                  Base64,        V1),
        enc(0x56, Any,        CondJump(Ne, W32, I),                "!=",                  Base32,        V3),
        enc(0x57, Any,        Alu(And, W64, I),                    "&=",                  Base64,        V1),
        enc(0x5c, Any,        Alu(And, W32, R),                    "&=",                  Base32,        V3),
        enc(0x5d, Any,        CondJump(Ne, W64, R),                "!=",                  Base64,        V1),
        enc(0x5e, Any,        CondJump(Ne, W32, R),                "!=",                  Base32,        V3),
        enc(0x5f, Any,        Alu(And, W64, R),                    "&=",                  Base64,        V1),
        enc(0x61, Any,        Load(W, Zext),                       "u32",                 Base32,        V1),
        enc(0x62, Any,        Store(W, I),                         "u32",                 Base32,        V4),
        enc(0x63, Any,        Store(W, R),                         "u32",                 Base32,        V1),
        enc(0x64, Any,        Alu(Lsh, W32, I),                    "<<=",                 Base32,        V3),
        enc(0x65, Any,        CondJump(Sgt, W64, I),               "s>",                  Base64,        V1),
        enc(0x66, Any,        CondJump(Sgt, W32, I),               "s>",                  Base32,        V3),
        enc(0x67, Any,        Alu(Lsh, W64, I),                    "<<=",                 Base64,        V1),
        enc(0x69, Any,        Load(H, Zext),                       "u16",                 Base32,        V1),
        enc(0x6a, Any,        Store(H, I),                         "u16",                 Base32,        V4),
        enc(0x6b, Any,        Store(H, R),                         "u16",                 Base32,        V1),
        enc(0x6c, Any,        Alu(Lsh, W32, R),                    "<<=",                 Base32,        V3),
        enc(0x6d, Any,        CondJump(Sgt, W64, R),               "s>",                  Base64,        V1),
        enc(0x6e, Any,        CondJump(Sgt, W32, R),               "s>",                  Base32,        V3),
        enc(0x6f, Any,        Alu(Lsh, W64, R),                    "<<=",                 Base64,        V1),
        enc(0x71, Any,        Load(B, Zext),                       "u8",                  Base32,        V1),
        enc(0x72, Any,        Store(B, I),                         "u8",                  Base32,        V4),
        enc(0x73, Any,        Store(B, R),                         "u8",                  Base32,        V1),
        enc(0x74, Any,        Alu(Rsh, W32, I),                    ">>=",                 Base32,        V3),
        enc(0x75, Any,        CondJump(Sge, W64, I),               "s>=",                 Base64,        V1),
        enc(0x76, Any,        CondJump(Sge, W32, I),               "s>=",                 Base32,        V3),
        enc(0x77, Any,        Alu(Rsh, W64, I),                    ">>=",                 Base64,        V1),
        enc(0x79, Any,        Load(Dw, Zext),                      "u64",                 Base64,        V1),
        enc(0x7a, Any,        Store(Dw, I),                        "u64",                 Base64,        V4),
        enc(0x7b, Any,        Store(Dw, R),                        "u64",                 Base64,        V1),
        enc(0x7c, Any,        Alu(Rsh, W32, R),                    ">>=",                 Base32,        V3),
        enc(0x7d, Any,        CondJump(Sge, W64, R),               "s>=",                 Base64,        V1),
        enc(0x7e, Any,        CondJump(Sge, W32, R),               "s>=",                 Base32,        V3),
        enc(0x7f, Any,        Alu(Rsh, W64, R),                    ">>=",                 Base64,        V1),
        enc(0x81, Any,        Load(W, Sext),                       "s32",                 Base64,        V4),
        enc(0x84, Any,        Neg(W32),                            "-",                   Base32,        V3),
        enc(0x85, Src(0),     Call(Callee::Helper),                "call",                Base32,        V1),
        enc(0x85, Src(1),     Call(Callee::Subprog),               "call",                Base32,        V1),
        enc(0x85, Src(2),     Call(Callee::Kfunc),                 "call",                Base32,        V1),
        enc(0x87, Any,        Neg(W64),                            "-",                   Base64,        V1),
        enc(0x89, Any,        Load(H, Sext),                       "s16",                 Base64,        V4),
        enc(0x8d, Any,        CallReg,                             "callx",               Callx,         V1),
        enc(0x91, Any,        Load(B, Sext),                       "s8",                  Base64,        V4),
        enc(0x94, Off(0),     Alu(Mod, W32, I),                    "%=",                  Divmul32,      V3),
        enc(0x94, Off(1),     Alu(SMod, W32, I),                   "s%=",                 Divmul32,      V4),
        enc(0x95, Any,        Exit,                                "exit",                Base32,        V1),
        enc(0x97, Off(0),     Alu(Mod, W64, I),                    "%=",                  Divmul64,      V1),
        enc(0x97, Off(1),     Alu(SMod, W64, I),                   "s%=",                 Divmul64,      V4),
        enc(0x9c, Off(0),     Alu(Mod, W32, R),                    "%=",                  Divmul32,      V3),
        enc(0x9c, Off(1),     Alu(SMod, W32, R),                   "s%=",                 Divmul32,      V4),
        enc(0x9f, Off(0),     Alu(Mod, W64, R),                    "%=",                  Divmul64,      V1),
        enc(0x9f, Off(1),     Alu(SMod, W64, R),                   "s%=",                 Divmul64,      V4),
        enc(0xa4, Any,        Alu(Xor, W32, I),                    "^=",                  Base32,        V3),
        enc(0xa5, Any,        CondJump(Lt, W64, I),                "<",                   Base64,        V2),
        enc(0xa6, Any,        CondJump(Lt, W32, I),                "<",                   Base32,        V3),
        enc(0xa7, Any,        Alu(Xor, W64, I),                    "^=",                  Base64,        V1),
        enc(0xac, Any,        Alu(Xor, W32, R),                    "^=",                  Base32,        V3),
        enc(0xad, Any,        CondJump(Lt, W64, R),                "<",                   Base64,        V2),
        enc(0xae, Any,        CondJump(Lt, W32, R),                "<",                   Base32,        V3),
        enc(0xaf, Any,        Alu(Xor, W64, R),                    "^=",                  Base64,        V1),
        enc(0xb4, Any,        Alu(Mov, W32, I),                    "=",                   Base32,        V3),
        enc(0xb5, Any,        CondJump(Le, W64, I),                "<=",                  Base64,        V2),
        enc(0xb6, Any,        CondJump(Le, W32, I),                "<=",                  Base32,        V3),
        enc(0xb7, Any,        Alu(Mov, W64, I),                    "=",                   Base64,        V1),
        enc(0xbc, Off(0),     Alu(Mov, W32, R),                    "=",                   Base32,        V3),
        enc(0xbc, Off(8),     MovSx(W32, SxFrom::B),               "(s8)",                Base32,        V4),
        enc(0xbc, Off(16),    MovSx(W32, SxFrom::H),               "(s16)",               Base32,        V4),
        enc(0xbd, Any,        CondJump(Le, W64, R),                "<=",                  Base64,        V2),
        enc(0xbe, Any,        CondJump(Le, W32, R),                "<=",                  Base32,        V3),
        enc(0xbf, Off(0),     Alu(Mov, W64, R),                    "=",                   Base64,        V1),
        enc(0xbf, Off(1),     AddrSpaceCast,                       "addr_space_cast",     Linux,         V1),
        enc(0xbf, Off(8),     MovSx(W64, SxFrom::B),               "(s8)",                Base64,        V4),
        enc(0xbf, Off(16),    MovSx(W64, SxFrom::H),               "(s16)",               Base64,        V4),
        enc(0xbf, Off(32),    MovSx(W64, SxFrom::W),               "(s32)",               Base64,        V4),
        enc(0xc3, Imm(0x00),  Atomic(AtomicOp::Add, W, NoFetch),   "+=",                  Atomic32,      V1),
        enc(0xc3, Imm(0x01),  Atomic(AtomicOp::Add, W, Fetched),   "atomic_fetch_add",    Atomic32,      V3),
        enc(0xc3, Imm(0x40),  Atomic(AtomicOp::Or, W, NoFetch),    "|=",                  Atomic32,      V3),
        enc(0xc3, Imm(0x41),  Atomic(AtomicOp::Or, W, Fetched),    "atomic_fetch_or",     Atomic32,      V3),
        enc(0xc3, Imm(0x50),  Atomic(AtomicOp::And, W, NoFetch),   "&=",                  Atomic32,      V3),
        enc(0xc3, Imm(0x51),  Atomic(AtomicOp::And, W, Fetched),   "atomic_fetch_and",    Atomic32,      V3),
        enc(0xc3, Imm(0xa0),  Atomic(AtomicOp::Xor, W, NoFetch),   "^=",                  Atomic32,      V3),
        enc(0xc3, Imm(0xa1),  Atomic(AtomicOp::Xor, W, Fetched),   "atomic_fetch_xor",    Atomic32,      V3),
        enc(0xc3, Imm(0xe1),  Atomic(AtomicOp::Xchg, W, Fetched),  "atomic_xchg",         Atomic32,      V3),
        enc(0xc3, Imm(0xf1),  Atomic(AtomicOp::Cmpxchg, W, Fetched), "atomic_cmpxchg",      Atomic32,      V3),
        enc(0xc3, Imm(0x100), LoadAcquire(W),                      "load_acquire",        Linux,         V4),
        enc(0xc3, Imm(0x110), StoreRelease(W),                     "store_release",       Linux,         V4),
        enc(0xc4, Any,        Alu(Arsh, W32, I),                   "s>>=",                Base32,        V3),
        enc(0xc5, Any,        CondJump(Slt, W64, I),               "s<",                  Base64,        V2),
        enc(0xc6, Any,        CondJump(Slt, W32, I),               "s<",                  Base32,        V3),
        enc(0xc7, Any,        Alu(Arsh, W64, I),                   "s>>=",                Base64,        V1),
        enc(0xcb, Imm(0x100), LoadAcquire(H),                      "load_acquire",        Linux,         V4),
        enc(0xcb, Imm(0x110), StoreRelease(H),                     "store_release",       Linux,         V4),
        enc(0xcc, Any,        Alu(Arsh, W32, R),                   "s>>=",                Base32,        V3),
        enc(0xcd, Any,        CondJump(Slt, W64, R),               "s<",                  Base64,        V2),
        enc(0xce, Any,        CondJump(Slt, W32, R),               "s<",                  Base32,        V3),
        enc(0xcf, Any,        Alu(Arsh, W64, R),                   "s>>=",                Base64,        V1),
        enc(0xd3, Imm(0x100), LoadAcquire(B),                      "load_acquire",        Linux,         V4),
        enc(0xd3, Imm(0x110), StoreRelease(B),                     "store_release",       Linux,         V4),
        enc(0xd4, Imm(16),    Swap(ToLe, 16),                      "le16",                Base32,        V1),
        enc(0xd4, Imm(32),    Swap(ToLe, 32),                      "le32",                Base32,        V1),
        enc(0xd4, Imm(64),    Swap(ToLe, 64),                      "le64",                Base64,        V1),
        enc(0xd5, Any,        CondJump(Sle, W64, I),               "s<=",                 Base64,        V2),
        enc(0xd6, Any,        CondJump(Sle, W32, I),               "s<=",                 Base32,        V3),
        enc(0xd7, Imm(16),    Swap(Bswap, 16),                     "bswap16",             Base32,        V4),
        enc(0xd7, Imm(32),    Swap(Bswap, 32),                     "bswap32",             Base32,        V4),
        enc(0xd7, Imm(64),    Swap(Bswap, 64),                     "bswap64",             Base64,        V4),
        enc(0xdb, Imm(0x00),  Atomic(AtomicOp::Add, Dw, NoFetch),  "+=",                  Atomic64,      V1),
        enc(0xdb, Imm(0x01),  Atomic(AtomicOp::Add, Dw, Fetched),  "atomic64_fetch_add",  Atomic64,      V3),
        enc(0xdb, Imm(0x40),  Atomic(AtomicOp::Or, Dw, NoFetch),   "|=",                  Atomic64,      V3),
        enc(0xdb, Imm(0x41),  Atomic(AtomicOp::Or, Dw, Fetched),   "atomic64_fetch_or",   Atomic64,      V3),
        enc(0xdb, Imm(0x50),  Atomic(AtomicOp::And, Dw, NoFetch),  "&=",                  Atomic64,      V3),
        enc(0xdb, Imm(0x51),  Atomic(AtomicOp::And, Dw, Fetched),  "atomic64_fetch_and",  Atomic64,      V3),
        enc(0xdb, Imm(0xa0),  Atomic(AtomicOp::Xor, Dw, NoFetch),  "^=",                  Atomic64,      V3),
        enc(0xdb, Imm(0xa1),  Atomic(AtomicOp::Xor, Dw, Fetched),  "atomic64_fetch_xor",  Atomic64,      V3),
        enc(0xdb, Imm(0xe1),  Atomic(AtomicOp::Xchg, Dw, Fetched), "atomic64_xchg",       Atomic64,      V3),
        enc(0xdb, Imm(0xf1),  Atomic(AtomicOp::Cmpxchg, Dw, Fetched), "atomic64_cmpxchg",    Atomic64,      V3),
        enc(0xdb, Imm(0x100), LoadAcquire(Dw),                     "load_acquire",        Linux,         V4),
        enc(0xdb, Imm(0x110), StoreRelease(Dw),                    "store_release",       Linux,         V4),
        enc(0xdc, Imm(16),    Swap(ToBe, 16),                      "be16",                Base32,        V1),
        enc(0xdc, Imm(32),    Swap(ToBe, 32),                      "be32",                Base32,        V1),
        enc(0xdc, Imm(64),    Swap(ToBe, 64),                      "be64",                Base64,        V1),
        enc(0xdd, Any,        CondJump(Sle, W64, R),               "s<=",                 Base64,        V2),
        enc(0xde, Any,        CondJump(Sle, W32, R),               "s<=",                 Base32,        V3),
        enc(0xe5, Src(0),     MayGoto,                             "may_goto",            Linux,         V4),
    ];
}
