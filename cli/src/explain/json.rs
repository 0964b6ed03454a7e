//! The contract `bpfassay.explain/1`.

use std::borrow::Cow;

use serde::Serialize;

use bpfassay_diag::explain::Code;
use bpfassay_diag::story::{class_of, loaders, Source, Step, Story};

use super::{Told, Trial};

pub const SCHEMA: &str = "bpfassay.explain/1";

#[derive(Serialize)]
struct Report<'a> {
    schema: &'static str,
    programs: Vec<Program<'a>>,
    notes: &'a [String],
    unrecognised: &'a [String],
}

#[derive(Serialize)]
struct Program<'a> {
    name: Option<&'a str>,
    code: Option<&'static str>,
    class: Option<&'static str>,
    category: Option<&'static str>,
    message: Option<String>,
    insn_idx: Option<u32>,
    cause_insn_idx: Option<u32>,
    source: Option<Place<'a>>,
    cause_source: Option<Place<'a>>,
    needs: Option<&'a str>,
    knows: Option<&'a str>,
    lineage: Vec<Event<'a>>,
    why_class: Option<&'a str>,
    fix: Option<Fix<'a>>,
}

#[derive(Serialize)]
struct Place<'a> {
    file: Option<&'a str>,
    line: Option<u32>,
    text: &'a str,
}

#[derive(Serialize)]
struct Event<'a> {
    insn_idx: u32,
    frame: u8,
    event: &'static str,
    text: &'a str,
    source: Option<Place<'a>>,
}

#[derive(Serialize)]
struct Fix<'a> {
    text: Cow<'a, str>,
    /// Tried, and accepted with it.
    verified: bool,
    /// What came of trying it; not there if it was not tried.
    #[serde(skip_serializing_if = "Option::is_none")]
    tried: Option<String>,
}

pub fn render(told: &[Told<'_>], notes: &[String], unknown: &[String]) -> String {
    let programs = told
        .iter()
        .map(|t| match t {
            Told::Story(story, trial) => program(story, trial.as_ref()),
            Told::Loader { name, code, text } => loader(*name, *code, text),
        })
        .collect();
    let report = Report { schema: SCHEMA, programs, notes, unrecognised: unknown };
    let mut out = serde_json::to_string_pretty(&report).unwrap_or_default();
    out.push('\n');
    out
}

/// What a code means, as a report with one program that has only the code.
pub fn code(code: &'static Code) -> String {
    let program =
        Program { message: None, class: None, why_class: None, ..loader(None, Some(code), "") };
    let report = Report { schema: SCHEMA, programs: vec![program], notes: &[], unrecognised: &[] };
    let mut out = serde_json::to_string_pretty(&report).unwrap_or_default();
    out.push('\n');
    out
}

fn program<'a>(s: &'a Story, trial: Option<&'a Trial>) -> Program<'a> {
    let added = s.added.iter().flat_map(|(_, steps)| steps);
    Program {
        name: s.program.as_deref(),
        code: s.code.map(|c| c.name),
        class: s.class.map(|c| c.as_str()),
        category: s.code.map(|c| c.category().title()),
        message: (!s.message.is_empty()).then(|| s.message.join("\n")),
        insn_idx: s.insn(),
        cause_insn_idx: s.cause.as_ref().map(|c| c.insn),
        source: s.at.as_ref().and_then(place),
        cause_source: s.cause.as_ref().and_then(place),
        needs: s.needs.as_deref(),
        knows: s.knows.as_deref(),
        lineage: s.lineage.iter().chain(added).map(event).collect(),
        why_class: s.why_class.as_deref(),
        fix: trial.map(tried).or_else(|| fix(s.fix.as_deref(), s.code)),
    }
}

fn loader<'a>(name: Option<&'a str>, code: Option<&'static Code>, text: &'a str) -> Program<'a> {
    Program {
        name,
        code: code.map(|c| c.name),
        class: code.map(|c| class_of(c).map_or("environment", |class| class.as_str())),
        category: code.map(|c| c.category().title()),
        message: Some(text.to_string()),
        insn_idx: None,
        cause_insn_idx: None,
        source: None,
        cause_source: None,
        needs: None,
        knows: None,
        lineage: Vec::new(),
        why_class: code.map(|_| "these are the loader's words; the verifier was not asked"),
        fix: code.map(|c| Fix {
            text: loaders(c.name, text).map_or(c.change.into(), Cow::Owned),
            verified: false,
            tried: None,
        }),
    }
}

fn fix<'a>(own: Option<&'a str>, code: Option<&'static Code>) -> Option<Fix<'a>> {
    let text = own.or(code.map(|c| c.change))?;
    Some(Fix { text: text.into(), verified: false, tried: None })
}

fn tried(t: &Trial) -> Fix<'_> {
    let text = t.tried.change.text.as_str().into();
    Fix { text, verified: t.is_verified(), tried: Some(t.outcome()) }
}

fn place(step: &Step) -> Option<Place<'_>> {
    step.source.as_ref().map(of)
}

fn of(source: &Source) -> Place<'_> {
    Place { file: source.file.as_deref(), line: source.line, text: &source.text }
}

fn event(step: &Step) -> Event<'_> {
    Event {
        insn_idx: step.insn,
        frame: step.frame,
        event: step.what.map_or("", |w| w.as_str()),
        text: &step.text,
        source: place(step),
    }
}
