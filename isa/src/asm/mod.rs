//! Text to instructions.
//!
//! [`assemble`] reads the kernel's own disassembly, with labels;
//! [`conformance`] reads the mnemonics of the public conformance suite.  Both
//! build [`crate::Insn`] values and leave the bytes to [`crate::encode`].
//! Knows no helper by name; [`Resolve`] supplies them.
//!
//! ```
//! use bpfassay_isa::asm::{assemble, NoNames};
//! let prog = assemble("r0 = 1\nif r1 == 0x0 goto out\nr0 = 2\nout:\nexit", &NoNames).unwrap();
//! assert_eq!(prog.len(), 4);
//! assert_eq!(prog[1].off, 1);
//! ```

pub mod conformance;
mod cursor;
mod kernel;

use std::collections::HashMap;
use std::fmt;

use crate::encode::try_encode;
use crate::insn::{CallTarget, Imm64, Insn};
use crate::raw::RawInsn;

pub use kernel::assemble;

/// Names the text may use for calls.
pub trait Resolve {
    /// Number of a helper, such as 1 for `bpf_map_lookup_elem`.
    fn helper(&self, _name: &str) -> Option<i32> {
        None
    }

    /// BTF id and fd-array index of a kernel function.
    fn kfunc(&self, _name: &str) -> Option<(i32, i16)> {
        None
    }
}

/// Resolves nothing: calls by number only.
pub struct NoNames;

impl Resolve for NoNames {}

/// A mistake in the text.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AsmError {
    /// Counted from 1.
    pub line: usize,
    /// Counted from 1, in characters.
    pub column: usize,
    pub kind: AsmErrorKind,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum AsmErrorKind {
    Expected(&'static str),
    NoSuchRegister,
    NumberOutOfRange,
    UnknownLabel(String),
    DuplicateLabel(String),
    UnknownName(String),
    /// The text reads well, but no encoding has these operands.
    NoEncoding,
    /// The text is another opcode than the one in the parentheses before it.
    OpcodeMismatch {
        written: u8,
        actual: u8,
    },
    TargetOutOfRange(String),
    TrailingText,
}

impl fmt::Display for AsmError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: ", self.line, self.column)?;
        match &self.kind {
            AsmErrorKind::Expected(what) => write!(f, "expected {what}"),
            AsmErrorKind::NoSuchRegister => f.write_str("no such register"),
            AsmErrorKind::NumberOutOfRange => f.write_str("number does not fit its field"),
            AsmErrorKind::UnknownLabel(l) => write!(f, "unknown label '{l}'"),
            AsmErrorKind::DuplicateLabel(l) => write!(f, "label '{l}' is defined twice"),
            AsmErrorKind::UnknownName(n) => write!(f, "unknown function '{n}'"),
            AsmErrorKind::NoEncoding => f.write_str("no instruction has these operands"),
            AsmErrorKind::OpcodeMismatch { written, actual } => {
                write!(f, "text encodes as opcode {actual:02x}, not {written:02x}")
            }
            AsmErrorKind::TargetOutOfRange(l) => write!(f, "'{l}' is too far away"),
            AsmErrorKind::TrailingText => f.write_str("text after the instruction"),
        }
    }
}

impl std::error::Error for AsmError {}

/// Where an instruction points: a distance in slots, or a label still to be found.
#[derive(Clone, Copy)]
enum Target<'a> {
    Distance(i32),
    Label(&'a str),
}

impl Target<'_> {
    /// The distance, or 0 until the label is known.
    fn or_zero(self) -> i32 {
        match self {
            Target::Distance(d) => d,
            Target::Label(_) => 0,
        }
    }
}

/// Position of a piece of text, for messages.
#[derive(Clone, Copy)]
struct At {
    line: usize,
    column: usize,
}

impl At {
    fn error(self, kind: AsmErrorKind) -> AsmError {
        AsmError { line: self.line, column: self.column, kind }
    }
}

/// Instructions and labels of one text, until the labels can be resolved.
#[derive(Default)]
struct Builder<'a> {
    slots: Vec<RawInsn>,
    labels: HashMap<&'a str, usize>,
    open: Vec<Open<'a>>,
}

/// An instruction whose label is not resolved yet.
struct Open<'a> {
    slot: usize,
    insn: Insn,
    label: &'a str,
    at: At,
}

impl<'a> Builder<'a> {
    fn define(&mut self, label: &'a str, at: At) -> Result<(), AsmError> {
        match self.labels.insert(label, self.slots.len()) {
            None => Ok(()),
            Some(_) => Err(at.error(AsmErrorKind::DuplicateLabel(label.to_string()))),
        }
    }

    /// Appends a slot that need not be an instruction.
    fn push_slot(&mut self, slot: RawInsn) {
        self.slots.push(slot);
    }

    /// Appends `insn`; a label in `target` is filled in by [`Builder::finish`].
    fn push(
        &mut self,
        insn: Insn,
        target: Option<Target<'a>>,
        at: At,
    ) -> Result<RawInsn, AsmError> {
        let (raw, tail) = try_encode(&insn).ok_or(at.error(AsmErrorKind::NoEncoding))?;
        if let Some(Target::Label(label)) = target {
            self.open.push(Open { slot: self.slots.len(), insn, label, at });
        }
        self.slots.push(raw);
        self.slots.extend(tail);
        Ok(raw)
    }

    fn finish(mut self) -> Result<Vec<RawInsn>, AsmError> {
        for Open { slot, insn, label, at } in std::mem::take(&mut self.open) {
            let Some(&to) = self.labels.get(label) else {
                return Err(at.error(AsmErrorKind::UnknownLabel(label.to_string())));
            };
            let distance = to as i64 - slot as i64 - 1;
            let raw = i32::try_from(distance)
                .ok()
                .and_then(|d| with_distance(insn, d))
                .and_then(|i| try_encode(&i))
                .ok_or_else(|| at.error(AsmErrorKind::TargetOutOfRange(label.to_string())))?;
            if let Some(s) = self.slots.get_mut(slot) {
                *s = raw.0;
            }
        }
        Ok(self.slots)
    }
}

/// `insn` pointing `distance` slots beyond its successor; None where that does not fit its field.
fn with_distance(insn: Insn, distance: i32) -> Option<Insn> {
    let short = || i16::try_from(distance).ok();
    Some(match insn {
        Insn::Jump { long, .. } => Insn::Jump { off: distance, long },
        Insn::MayGoto { .. } => Insn::MayGoto { off: short()? },
        Insn::CondJump { cond, width, dst, src, .. } => {
            Insn::CondJump { cond, width, dst, src, off: short()? }
        }
        Insn::Call { .. } => Insn::Call { target: CallTarget::Subprog(distance) },
        Insn::LoadImm64 { dst, .. } => Insn::LoadImm64 { dst, value: Imm64::Func(distance) },
        other => other,
    })
}
