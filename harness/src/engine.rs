//! What every engine takes and gives: input, outcome, trap.
//!
//! Knows no engine.  An engine says which of its failures cannot be compared
//! ([`Trap::is_comparable`]), so that oracles compare what is defined.

use std::fmt;
use std::time::Duration;

use crate::runtime::ctx::Refusal;
use crate::runtime::memory::{Fault, FaultKind};

/// One run's input, as BPF_PROG_TEST_RUN takes it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Input {
    /// Packet, or the memory of a raw program.
    pub data: Vec<u8>,
    /// Context; empty for the default one.
    pub ctx: Vec<u8>,
    /// Runs to make; 0 is 1.
    pub repeat: u32,
}

/// What came of it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Outcome {
    /// r0 of the last run; meaningless after a trap.
    pub r0: u64,
    /// Packet or memory afterwards, where the program has one.
    pub data_out: Option<Vec<u8>>,
    /// Context afterwards, where the kernel would hand it back.
    pub ctx_out: Option<Vec<u8>>,
    /// Average per run.
    pub duration: Duration,
    /// Instructions of the last run.
    pub insns: u64,
    pub trap: Option<Trap>,
    /// Set when the input was not taken and nothing ran.
    pub refusal: Option<Refusal>,
    /// True when the answer may hang on time, chance, CPU or task.
    pub depends_on_world: bool,
}

impl Outcome {
    /// What the system call returns: the low half of r0.
    pub fn retval(&self) -> u32 {
        self.r0 as u32
    }
}

/// Why a run stopped before its exit.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Trap {
    pub kind: TrapKind,
    /// Slot of the instruction, in the program that was running.
    pub insn_idx: usize,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum TrapKind {
    Memory(Fault),
    /// Not an instruction, with the decoder's words.
    InvalidInsn(String),
    /// Execution left the program.
    OutOfProgram,
    /// A ninth frame, or a chain that needs one.
    TooManyFrames,
    /// No helper of this number, or none that this engine models.
    UnsupportedHelper(String),
    /// A call or load this engine does not model.
    Unsupported(&'static str),
    /// A helper was handed something it cannot take (a map of the wrong kind, a pointer to nothing).
    BadArgument {
        helper: &'static str,
        what: &'static str,
    },
    /// The instruction budget is used up.
    OutOfFuel,
}

impl Trap {
    /// The stable word for the JSON report.
    pub fn code(&self) -> &'static str {
        match self.kind {
            TrapKind::Memory(_) => "memory",
            TrapKind::InvalidInsn(_) => "invalid_insn",
            TrapKind::OutOfProgram => "out_of_program",
            TrapKind::TooManyFrames => "too_many_frames",
            TrapKind::UnsupportedHelper(_) => "unsupported_helper",
            TrapKind::Unsupported(_) => "unsupported",
            TrapKind::BadArgument { .. } => "bad_argument",
            TrapKind::OutOfFuel => "out_of_fuel",
        }
    }

    /// False where another engine may rightly do something else: limits, and what is not modelled.
    pub fn is_comparable(&self) -> bool {
        match &self.kind {
            TrapKind::OutOfFuel | TrapKind::UnsupportedHelper(_) | TrapKind::Unsupported(_) => {
                false
            }
            TrapKind::Memory(fault) => !matches!(fault.why, FaultKind::Unknown { .. }),
            _ => true,
        }
    }
}

impl fmt::Display for Trap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "insn {}: ", self.insn_idx)?;
        match &self.kind {
            TrapKind::Memory(fault) => write!(f, "{fault}"),
            TrapKind::InvalidInsn(why) => f.write_str(why),
            TrapKind::OutOfProgram => f.write_str("execution left the program"),
            TrapKind::TooManyFrames => f.write_str("more than 8 call frames"),
            TrapKind::UnsupportedHelper(name) => write!(f, "helper {name} is not modelled"),
            TrapKind::Unsupported(what) => write!(f, "{what} is not modelled"),
            TrapKind::BadArgument { helper, what } => write!(f, "{helper}: {what}"),
            TrapKind::OutOfFuel => f.write_str("instruction budget used up"),
        }
    }
}

/// A way to run a program.
pub trait Instance {
    /// `interp`, `interp-unchecked`, `kernel`, `jit-x86`, `jit-arm64`.
    fn engine(&self) -> &'static str;

    /// Runs with maps as the last run left them.
    fn run(&mut self, input: &Input) -> Outcome;
}
