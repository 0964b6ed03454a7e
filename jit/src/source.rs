//! What goes in and what comes out.

use std::fmt;

use bpfassay_isa::{CallTarget, DecodeError, Imm64, RawInsn};

pub use crate::target::{ArrayPlan, HashPlan};

/// How an instruction reaches memory; what the verifier knows and the bytes do not say.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Access {
    #[default]
    Plain,
    /// A load that may fault and then reads as zero (`PROBE_MEM`).
    Probe,
    /// Through a 32-bit arena pointer (`PROBE_MEM32`); faults read as zero and write nothing.
    Arena,
}

/// A program.
#[derive(Clone, Copy, Debug)]
pub struct Source<'a> {
    pub insns: &'a [RawInsn],
    /// One per slot, or empty where all is plain.
    pub access: &'a [Access],
    /// First slot and bytes of stack of functions whose depth is known; others get 512.
    pub stacks: &'a [(u32, u32)],
    /// First slot and top address of functions with a private stack.
    pub private_stacks: &'a [(u32, u64)],
    /// First slots of functions that no instruction names (exception callbacks).
    pub functions: &'a [u32],
}

impl<'a> Source<'a> {
    /// Nothing known but the instructions.
    pub fn raw(insns: &'a [RawInsn]) -> Source<'a> {
        Source { insns, access: &[], stacks: &[], private_stacks: &[], functions: &[] }
    }
}

/// What to do at a call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CallPlan {
    /// Through the dispatch function.
    Host,
    TailCall,
    /// Look the element up in place; asked for only with a map known to be in r1.
    Array(ArrayPlan),
    /// Look the key up in place, likewise; backends may call the host instead.
    Hash(HashPlan),
}

/// Answers of who knows maps, helpers and addresses.
pub trait Resolve {
    /// Value of a wide immediate that is no constant and no function.
    fn wide(&mut self, slot: u32, value: Imm64) -> Result<u64, &'static str>;
    /// What to do at this call; `map` is the wide immediate in r1, where that is plain to see.
    fn call(&mut self, slot: u32, target: CallTarget, map: Option<Imm64>) -> CallPlan;
}

/// One address for everything, and every call to the host: for code that is looked at, not run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OneAddress(pub u64);

impl Resolve for OneAddress {
    fn wide(&mut self, _: u32, _: Imm64) -> Result<u64, &'static str> {
        Ok(self.0)
    }

    fn call(&mut self, _: u32, _: CallTarget, _: Option<Imm64>) -> CallPlan {
        CallPlan::Host
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Options {
    /// Address of the run context ([`crate::abi`]).
    pub context: u64,
    /// Seed of the numbers that blind constants.
    pub blind: Option<u64>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SiteKind {
    Call(CallTarget),
    /// The helper's number is in [`crate::abi::CALL_REG`].
    CallReg,
    TailCall,
    PacketLoad,
}

/// What a number handed to the dispatch function means.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Site {
    pub kind: SiteKind,
    /// Called from the program's first function.
    pub in_entry: bool,
}

/// Code from `at` to before `resume` that may fault: then `reg` (a machine register; 0xff for none)
/// becomes 0 and `resume` is next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FaultRow {
    pub at: u32,
    pub resume: u32,
    pub reg: u8,
}

/// A function of the program.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Func {
    pub slot: u32,
    /// First byte of its prologue.
    pub start: u32,
}

/// Machine code of a program, fit for any address that is a multiple of 64; [`Glue`] enters it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Compiled {
    pub code: Vec<u8>,
    /// Offset of the program's first function, for callers that keep r6 to r9 themselves.
    pub main: u32,
    /// Bytes of `code` that belong to instructions: `body..body_end`.
    pub body: u32,
    pub body_end: u32,
    /// Offset of each slot's code, and of the end; ascending.
    pub offsets: Vec<u32>,
    pub funcs: Vec<Func>,
    pub sites: Vec<Site>,
    pub faults: Vec<FaultRow>,
}

/// Code between C and BPF that all programs of a run context share, fit for any address.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Glue {
    pub code: Vec<u8>,
    /// Offset of the C function that enters.
    pub entry: u32,
    /// Offset of the code that leaves the latest entry at once.
    pub unwind: u32,
    /// Offset of the code that enters [`crate::abi::TAIL_TARGET`] for callers that do not keep r6 to r9.
    pub keeping_entry: u32,
    /// Offsets of what [`crate::abi::LEAVE`], [`crate::abi::CALL_OUT`],
    /// [`crate::abi::TAIL_FROM_ENTRY`] and [`crate::abi::TAIL`] are to hold the addresses of; 0 for
    /// those the backend does not use.
    pub leave: u32,
    pub call_out: u32,
    pub tail_from_entry: u32,
    pub tail: u32,
}

impl Compiled {
    /// The slot whose code holds this offset.
    pub fn slot_at(&self, off: u32) -> Option<u32> {
        if off < self.body || off >= self.body_end {
            return None;
        }
        let after = self.offsets.partition_point(|o| *o <= off);
        u32::try_from(after.checked_sub(1)?).ok()
    }
}

/// Why there is no code.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum JitError {
    Decode {
        slot: u32,
        why: DecodeError,
    },
    /// Register 11 or higher.
    Register {
        slot: u32,
    },
    /// A jump or call to no instruction.
    Target {
        slot: u32,
    },
    Wide {
        slot: u32,
        why: &'static str,
    },
    /// A jump through a table, which no code is made for.
    JumpReg {
        slot: u32,
    },
    /// Code beyond 2 GiB.
    TooLarge,
}

impl fmt::Display for JitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            JitError::Decode { slot, why } => write!(f, "insn {slot}: {why}"),
            JitError::Register { slot } => write!(f, "insn {slot}: invalid register"),
            JitError::Target { slot } => write!(f, "insn {slot}: jump out of the program"),
            JitError::Wide { slot, why } => write!(f, "insn {slot}: {why}"),
            JitError::JumpReg { slot } => write!(f, "insn {slot}: indirect jumps are not compiled"),
            JitError::TooLarge => f.write_str("code too large"),
        }
    }
}

impl std::error::Error for JitError {}
