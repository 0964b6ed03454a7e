//! What the lowering asks of each encoding, in one table by row of the opcode table.
//!
//! The walks go over raw slots and row numbers: an instruction is looked up, never built.

use bpfassay_isa::opcode::{self, Fetch, Form, Names, Packet, Reach, Second};
use bpfassay_isa::{AluOp, RawInsn, Size, SwapKind, Width};

/// Registers: lower halves in the low 16 bits, upper halves in the high ones.
pub type Set = u32;

pub const LOW: Set = 0xffff;
/// Of every register.
const NONE: Set = 0;
const WHOLE: Set = 0xffff_ffff;

/// Both halves of each register; a load is cheaper than a shift by a variable, and a table for every byte
/// cheaper than asking which it is.
static BOTH: [Set; 256] = {
    let mut out = [0; 256];
    let mut r = 0;
    while r < 16 {
        out[r] = 0x1_0001 << r;
        r += 1;
    }
    out
};

#[inline(always)]
pub fn both(r: u8) -> Set {
    BOTH[r as usize]
}

/// Jumps by `off`, perhaps.
pub const BRANCHES: u16 = 1;
/// Never goes on behind itself.
pub const ALWAYS: u16 = 2;
/// Names another slot in some other way: calls of functions, long jumps, wide immediates.
pub const REFERS: u16 = 4;
/// What is read takes more than the sets here (see [`crate::survey`]).
pub const SPECIAL: u16 = 8;
/// Leaves the function for some time.
pub const CALLS: u16 = 16;
/// Counts how often it goes on.
pub const COUNTS: u16 = 32;

/// Kinds of instructions that may become one with those that follow ([`crate::fuse`]).
mod pair {
    /// A register is copied, and the copy worked on.
    pub const COPY: u8 = 1;
    /// A sum that is an address.
    pub const SUM: u8 = 2;
    /// A shift to the left that scales or extends.
    pub const SHIFT: u8 = 4;
    /// A value loaded to be compared, swapped, or changed where it is.
    pub const LOAD: u8 = 8;
    /// A value loaded as an operand of this many bits.
    pub const LOAD_32: u8 = 16;
    pub const LOAD_64: u8 = 32;
}

/// Halves are sets of all registers, for those an instruction names to be picked from.
#[derive(Clone, Copy)]
#[repr(align(32))]
pub struct Facts {
    pub form: Form,
    pub flags: u16,
    /// What it may begin with what it leaves in `dst`, and what it may go on with if that is its own
    /// `dst`, or `src`.
    opens: u8,
    closes_dst: u8,
    closes_src: u8,
    /// Either.
    pub closes: u8,
    /// Halves read of `dst` and of `src`, and written of `dst`.
    read_dst: Set,
    read_src: Set,
    writes: Set,
    /// Which of those read count where nothing but the lower half of the result is wanted, and where nothing is.
    if_low: Set,
    if_dead: Set,
}

/// By [`opcode::table`]'s row numbers.
pub(crate) const TABLE: [Facts; 256] = all();
static FACTS: [Facts; 256] = TABLE;

impl Facts {
    /// Row of second slots, which read and write nothing: behind those of the table.
    pub const NOTHING: u8 = {
        assert!(opcode::table().len() < 256);
        255
    };

    #[inline(always)]
    pub fn of(row: u8) -> &'static Facts {
        &FACTS[row as usize]
    }

    #[inline(always)]
    pub fn reads(&self, raw: &RawInsn) -> Set {
        self.read_dst & both(raw.dst) | self.read_src & both(raw.src)
    }

    /// Both halves of the register written.
    #[inline(always)]
    pub fn writes(&self, raw: &RawInsn) -> Set {
        self.writes & both(raw.dst)
    }

    /// What is read at or after the instruction, given what is read after it; not for [`SPECIAL`] ones.
    #[inline(always)]
    pub fn before(&self, raw: &RawInsn, after: Set) -> Set {
        let wanted = after & self.writes(raw);
        let mut reads = self.reads(raw);
        if wanted <= LOW {
            reads &= if wanted == 0 { self.if_dead } else { self.if_low };
        }
        (after ^ wanted) | reads
    }

    /// Not 0 if it and what follows, of which `then` is [`Facts::closes`], are of kinds that may become one.
    #[inline(always)]
    pub fn may_fuse(&self, then: u8) -> u8 {
        self.opens & then
    }

    /// Whether `then` works on what `first` leaves in its `dst`, where [`Facts::may_fuse`].
    #[inline]
    pub fn fuses(&self, first: &RawInsn, then: &Facts, next: &RawInsn) -> bool {
        (self.opens & then.closes_dst != 0 && next.dst == first.dst)
            || (self.opens & then.closes_src != 0 && next.src == first.dst)
    }
}

const fn halves(w: Width) -> Set {
    match w {
        Width::W32 => LOW,
        Width::W64 => WHOLE,
    }
}

const fn stored(size: Size) -> Set {
    match size {
        Size::Dw => WHOLE,
        _ => LOW,
    }
}

const fn second(s: Second, set: Set) -> Set {
    match s {
        Second::Imm => NONE,
        Second::Reg => set,
    }
}

/// Halves read of `dst` and `src`, and written of `dst`.
const fn halves_of(form: Form) -> (Set, Set, Set) {
    match form {
        Form::Alu(AluOp::Mov, w, s) => (NONE, second(s, halves(w)), WHOLE),
        Form::Alu(_, w, s) => (halves(w), second(s, halves(w)), WHOLE),
        Form::MovSx(..) => (NONE, LOW, WHOLE),
        Form::Neg(w) => (halves(w), NONE, WHOLE),
        Form::Swap(_, 64) => (WHOLE, NONE, WHOLE),
        Form::Swap(..) => (LOW, NONE, WHOLE),
        Form::AddrSpaceCast | Form::Load(..) | Form::LoadAcquire(_) => (NONE, WHOLE, WHOLE),
        Form::LoadImm64(_) => (NONE, NONE, WHOLE),
        Form::Store(size, s) => (WHOLE, second(s, stored(size)), NONE),
        Form::StoreRelease(size) | Form::Atomic(_, size, _) => (WHOLE, stored(size), NONE),
        Form::CondJump(_, w, s) => (halves(w), second(s, halves(w)), NONE),
        Form::LoadPacket(_, Packet::Ind) => (NONE, LOW, NONE),
        Form::CallReg | Form::JumpReg => (WHOLE, NONE, NONE),
        Form::LoadPacket(_, Packet::Abs) | Form::Call(_) => (NONE, NONE, NONE),
        Form::Jump(_) | Form::MayGoto | Form::Exit => (NONE, NONE, NONE),
    }
}

const fn flags(form: Form) -> u16 {
    let names = match form.names() {
        Names::Nothing => 0,
        Names::ByOff => BRANCHES,
        Names::Otherwise => REFERS,
    };
    names
        | match form {
            Form::Atomic(_, _, Fetch::Fetch) | Form::Exit | Form::JumpReg => SPECIAL,
            Form::LoadPacket(..) | Form::Call(_) | Form::CallReg => SPECIAL | CALLS,
            Form::Jump(Reach::Short) => ALWAYS,
            Form::MayGoto => COUNTS,
            _ => 0,
        }
}

/// What counts of the halves read where only the lower one of the result is wanted, and where none is.
const fn wanted(form: Form) -> (Set, Set) {
    use AluOp::*;
    match form {
        Form::Alu(Add | Sub | Mul | And | Or | Xor | Mov, ..) | Form::Neg(_) => (LOW, NONE),
        Form::Alu(Lsh, _, Second::Imm) => (LOW, NONE),
        Form::Alu(..) | Form::MovSx(..) => (WHOLE, NONE),
        _ => (WHOLE, WHOLE),
    }
}

/// What a form may begin, and what it may go on with by `dst` and by `src`.
const fn pairs(form: Form) -> (u8, u8, u8) {
    use pair::*;
    use AluOp::{Add, Arsh, Div, Lsh, Mod, Mov, Rsh, SDiv, SMod};
    match form {
        Form::Alu(Mov, _, Second::Reg) => (COPY, LOAD, 0),
        Form::Alu(Mov, _, Second::Imm) => (0, LOAD, 0),
        Form::Alu(Div | Mod | SDiv | SMod, w, s) => (0, LOAD, operand(w, s)),
        Form::Alu(Add, Width::W64, Second::Reg) => (SUM, COPY | SHIFT | LOAD, LOAD_64),
        Form::Alu(Add, Width::W64, Second::Imm) => (SUM, COPY | LOAD, 0),
        Form::Alu(Lsh, Width::W64, Second::Imm) => (SHIFT, COPY | LOAD, 0),
        Form::Alu(Rsh | Arsh, Width::W64, Second::Imm) => (0, COPY | SHIFT | LOAD, 0),
        Form::Alu(_, w, s) => (0, COPY | LOAD, operand(w, s)),
        Form::Load(Size::Dw, _) => (LOAD | LOAD_32 | LOAD_64, 0, SUM),
        Form::Load(Size::W, _) => (LOAD | LOAD_32, 0, SUM),
        Form::Load(..) => (LOAD, 0, SUM),
        Form::Store(..) => (0, SUM, 0),
        Form::Swap(SwapKind::ToBe | SwapKind::Bswap, _) | Form::CondJump(..) => (0, LOAD, 0),
        _ => (0, 0, 0),
    }
}

/// An operation on a loaded value.
const fn operand(w: Width, s: Second) -> u8 {
    match (s, w) {
        (Second::Imm, _) => 0,
        (Second::Reg, Width::W32) => pair::LOAD_32,
        (Second::Reg, Width::W64) => pair::LOAD_64,
    }
}

const fn facts(form: Form) -> Facts {
    let (read_dst, read_src, writes) = halves_of(form);
    let (if_low, if_dead) = wanted(form);
    let (opens, closes_dst, closes_src) = pairs(form);
    Facts {
        form,
        flags: flags(form),
        opens,
        closes_dst,
        closes_src,
        closes: closes_dst | closes_src,
        read_dst,
        read_src,
        writes,
        if_low,
        if_dead,
    }
}

const fn all() -> [Facts; 256] {
    let table = opcode::table();
    // A jump that goes nowhere, for what is no row.
    let mut out = [Facts { flags: 0, ..facts(Form::Jump(Reach::Short)) }; 256];
    let mut row = 0;
    while row < table.len() {
        out[row] = facts(table[row].form);
        row += 1;
    }
    out
}
