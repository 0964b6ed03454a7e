//! Reads the `.data` files of the public conformance suite (github.com/Alan-Jowett/bpf_conformance).
//!
//! A file has sections that begin with `-- name`: `asm` or `raw` (the program),
//! `mem` (bytes in hex), `result` (r0) or `error`; others are skipped.  `#`
//! begins a comment.  [`run`] asks the interpreter; nothing here opens a file.

use std::fmt;

use bpfassay_isa::asm::{conformance as syntax, AsmError};
use bpfassay_isa::RawInsn;

use crate::engine::{Input, Instance, Outcome};
use crate::raw::RawInterp;

/// One case.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Case {
    pub insns: Vec<RawInsn>,
    pub memory: Vec<u8>,
    pub expect: Expect,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Expect {
    Result(u64),
    /// The engine must refuse or stop, with words of its own.
    Error(String),
}

/// Why a file is no case.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum CaseError {
    /// Lines are those of the file.
    Asm(AsmError),
    BadNumber {
        line: usize,
    },
    UnknownSection {
        line: usize,
    },
    NoProgram,
    NoExpectation,
}

impl fmt::Display for CaseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CaseError::Asm(e) => write!(f, "{e}"),
            CaseError::BadNumber { line } => write!(f, "{line}: not a number"),
            CaseError::UnknownSection { line } => write!(f, "{line}: unknown section"),
            CaseError::NoProgram => f.write_str("no instructions"),
            CaseError::NoExpectation => f.write_str("neither result nor error"),
        }
    }
}

impl std::error::Error for CaseError {}

/// Reads a file's text and runs it; the error says what went wrong, for people.
pub fn run(text: &str) -> Result<(), String> {
    run_on(text, |insns, input| Ok(RawInterp::new(insns).run(input)))
}

/// As [`run`], on an engine of the caller's; one that refuses the program says why.
pub fn run_on(
    text: &str,
    engine: impl FnOnce(&[RawInsn], &Input) -> Result<Outcome, String>,
) -> Result<(), String> {
    let case = Case::parse(text).map_err(|e| format!("not read: {e}"))?;
    let input = Input { data: case.memory, ..Input::default() };
    let out = match (engine(&case.insns, &input), &case.expect) {
        (Ok(out), _) => out,
        (Err(_), Expect::Error(_)) => return Ok(()),
        (Err(why), Expect::Result(_)) => return Err(why),
    };
    match (case.expect, out.trap) {
        (Expect::Result(want), None) if want == out.r0 => Ok(()),
        (Expect::Result(want), None) => Err(format!("r0 is {:#x}, not {want:#x}", out.r0)),
        (Expect::Result(_), Some(trap)) => Err(trap.to_string()),
        (Expect::Error(_), Some(_)) => Ok(()),
        (Expect::Error(_), None) => Err(format!("r0 is {:#x}, not an error", out.r0)),
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Section {
    Other,
    Asm,
    Raw,
    Mem,
    Result,
    Error,
}

/// What the sections hold; the assembly keeps its line numbers by blank lines.
#[derive(Default)]
struct Parts {
    asm: String,
    raw: Vec<RawInsn>,
    memory: Vec<u8>,
    result: Option<u64>,
    error: Option<String>,
}

impl Case {
    pub fn parse(text: &str) -> Result<Case, CaseError> {
        let parts = split(text)?;
        let expect = match (parts.result, parts.error) {
            (_, Some(e)) => Expect::Error(e),
            (Some(v), None) => Expect::Result(v),
            (None, None) => return Err(CaseError::NoExpectation),
        };
        let insns = if parts.raw.is_empty() {
            syntax::assemble(&parts.asm).map_err(CaseError::Asm)?
        } else {
            parts.raw
        };
        if insns.is_empty() {
            return Err(CaseError::NoProgram);
        }
        Ok(Case { insns, memory: parts.memory, expect })
    }
}

fn split(text: &str) -> Result<Parts, CaseError> {
    let mut parts = Parts::default();
    let mut section = Section::Other;
    for (i, line) in text.lines().enumerate() {
        let line = line.split('#').next().unwrap_or("").trim();
        let number = i + 1;
        let mut asm_line = "";
        if line.starts_with("--") {
            section = section_of(line).ok_or(CaseError::UnknownSection { line: number })?;
        } else if !line.is_empty() {
            match section {
                Section::Asm => asm_line = line,
                Section::Other => {}
                Section::Error => parts.error = Some(line.to_string()),
                Section::Result => {
                    let v = u64_of(line).ok_or(CaseError::BadNumber { line: number })?;
                    parts.result = Some(v);
                }
                Section::Mem => {
                    for byte in line.split_whitespace() {
                        let v = u8::from_str_radix(byte.trim_start_matches("0x"), 16);
                        parts.memory.push(v.map_err(|_| CaseError::BadNumber { line: number })?);
                    }
                }
                Section::Raw => {
                    for word in line.split_whitespace() {
                        let v = u64_of(word).ok_or(CaseError::BadNumber { line: number })?;
                        parts.raw.push(RawInsn::from_le_bytes(v.to_le_bytes()));
                    }
                }
            }
        }
        parts.asm.push_str(asm_line);
        parts.asm.push('\n');
    }
    Ok(parts)
}

fn section_of(line: &str) -> Option<Section> {
    let name = line.trim_start_matches('-').trim();
    Some(match name {
        "asm" => Section::Asm,
        "raw" => Section::Raw,
        "mem" => Section::Mem,
        "result" => Section::Result,
        "error" => Section::Error,
        "c" | "no register offset" => Section::Other,
        _ => return None,
    })
}

fn u64_of(text: &str) -> Option<u64> {
    match text.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16).ok(),
        None => text.parse().ok(),
    }
}
