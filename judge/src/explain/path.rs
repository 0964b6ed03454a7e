//! The verifier's own path in the log's grammar, with every change of every register, which the story reads.
//!
//! A kernel's log prints what an instruction itself wrote; here stands also what it changed elsewhere: a packet range
//! that a comparison proved for every copy of a pointer, a null check that holds for all of them.

use std::fmt::Write as _;

use bpfassay_diag::log::State;
use bpfassay_diag::read;
use bpfassay_diag::story::Source;
use bpfassay_object::model::Program;
use bpfassay_verifier::{Report, Trail, TrailStep};

use super::names::Namer;

/// The log of the failing path, as a loader would have printed it.
pub fn program(program: &Program, report: &Report, namer: &Namer<'_>) -> read::Program {
    read::Program {
        name: Some(program.name.clone()),
        text: text(program, &report.trail, namer),
        message: report.message_lines.clone(),
        has_statistics: true,
        instructions: report.trail.steps.len(),
        ..read::Program::default()
    }
}

fn text(program: &Program, trail: &Trail, namer: &Namer<'_>) -> String {
    let mut out = String::new();
    let Some(first) = trail.steps.first() else { return out };
    let _ = writeln!(out, "{}:{}", first.insn_idx, first.state);
    let mut place = None;
    let mut frame = first.frame;
    for (i, step) in trail.steps.iter().enumerate() {
        let source = crate::source_of(program, step.insn_idx);
        let here = source.as_ref().map(|s| (s.file.clone(), s.line));
        if let Some(s) = source.filter(|_| here != place) {
            let file = s.file.rsplit('/').next().unwrap_or(&s.file);
            let _ = writeln!(out, "; {} @ {file}:{}", s.text.trim(), s.line);
        }
        place = here;
        let insn = namer.insn(step.insn_idx);
        let after = trail.steps.get(i + 1).filter(|next| next.frame == step.frame);
        let state = after.map_or(String::new(), |next| changes(step, next, &insn));
        let state = match state.is_empty() && step.frame != frame {
            true => " R10=fp0".to_string(),
            false => state,
        };
        frame = step.frame;
        if state.is_empty() {
            let _ = writeln!(out, "{}: {insn}", step.insn_idx);
        } else if frame == 0 {
            let _ = writeln!(out, "{}: {insn} ;{state}", step.insn_idx);
        } else {
            let _ = writeln!(out, "{}: {insn} ; frame{frame}:{state}", step.insn_idx);
        }
    }
    out
}

/// Registers and slots that differ after the instruction, and those it names.
pub fn changes(before: &TrailStep, after: &TrailStep, insn: &str) -> String {
    let (old, new) = (State::parse(&before.state), State::parse(&after.state));
    let mut out = String::new();
    for e in &new.entries {
        let is_same = old.get(e.name).is_some_and(|o| o.value == e.value);
        if !is_same || names(insn, e.name) {
            let _ = write!(out, " {}={}", e.name, e.value);
        }
    }
    out
}

/// Everything that differs; what is gone has no value (`R1=`).
pub fn all_changes(before: &TrailStep, after: &TrailStep) -> String {
    let mut out = changes(before, after, "");
    let (old, new) = (State::parse(&before.state), State::parse(&after.state));
    for e in old.entries.iter().filter(|e| new.get(e.name).is_none()) {
        let _ = write!(out, " {}=", e.name);
    }
    out
}

/// A state without its frame.
pub fn plain(step: &TrailStep) -> &str {
    let state = step.state.trim();
    state.strip_prefix("frame").and_then(|s| s.split_once(':')).map_or(state, |(_, rest)| rest)
}

/// True if the instruction's text names the register (`R6` as `r6` or `w6`).
fn names(insn: &str, register: &str) -> bool {
    let Some(n) = register.strip_prefix('R') else { return false };
    insn.split(|c: char| !c.is_ascii_alphanumeric())
        .any(|w| w.strip_prefix(['r', 'w']).is_some_and(|r| r == n))
}

/// The place of an instruction in the source, with the file's whole name.
pub fn source(program: &Program, insn: u32) -> Option<Source> {
    let s = crate::source_of(program, insn)?;
    Some(Source { text: s.text.trim().to_string(), file: Some(s.file), line: Some(s.line) })
}
