//! For people: the shape of a rustc diagnostic, the failing line first, the general lesson last.

use std::fmt::Write as _;

use bpfassay_ci::report::Paper;
use bpfassay_diag::explain::example::{self, Example};
use bpfassay_diag::explain::Code;
use bpfassay_diag::story::{loaders, Step, Story};

use super::{Told, Trial};
use crate::out;

/// Most steps of a history shown.
const STEPS: usize = 7;
/// Longest source line or value shown.
const WIDE: usize = 88;

pub fn render(told: &[Told<'_>], notes: &[String], unknown: &[String], paper: Paper) -> String {
    let mut out = String::new();
    for (i, t) in told.iter().enumerate() {
        if i > 0 {
            out.push('\n');
        }
        match t {
            Told::Story(story, trial) => self::story(&mut out, story, trial.as_ref(), paper),
            Told::Loader { name, code, text } => loader(&mut out, *name, *code, text, paper),
        }
    }
    if !told.is_empty() && !notes.is_empty() {
        out.push('\n');
    }
    for note in notes {
        let _ = writeln!(out, "note: {note}");
    }
    if told.is_empty() && !unknown.is_empty() {
        let _ = writeln!(out, "note: not recognised, among others:");
        for l in unknown.iter().take(3) {
            let _ = writeln!(out, "      {}", short(l, 120));
        }
    }
    out::folded(&out, paper)
}

/// What a code means.
pub fn code(code: &Code, paper: Paper) -> String {
    let mut out = String::new();
    let _ = writeln!(out, "{}: {} ({})", code.name, code.title, code.category().title());
    block(&mut out, "Why:", code.why, paper);
    block(&mut out, "What to change:", code.change, paper);
    let messages: Vec<&&str> = code.messages.iter().chain(code.closing).collect();
    if !messages.is_empty() {
        let _ = writeln!(out, "\nThe words for it:");
    }
    for m in messages {
        let _ = writeln!(out, "  {}", m.replace("{}", "…"));
    }
    if let Some(e) = example::of(code.name) {
        example_of(&mut out, &e);
    }
    out::folded(&out, paper)
}

fn example_of(out: &mut String, e: &Example) {
    out.push_str("\nFor example:\n");
    for (head, text) in [("line", e.source), ("instruction", e.insn)] {
        if let Some(text) = text {
            let _ = writeln!(out, "  {head:<12} {text}");
        }
    }
    for (i, says) in e.says.iter().enumerate() {
        let _ = writeln!(out, "  {:<12} {says}", if i == 0 { "verifier" } else { "" });
    }
    if let Some(repair) = e.repair {
        let _ = writeln!(out, "  {:<12} {repair}", "accepted");
        let _ = writeln!(out, "  {:<12} (this change was tried on the program)", "");
    }
}

fn block(out: &mut String, title: &str, text: &str, paper: Paper) {
    let _ = writeln!(out, "\n{title}");
    for l in paper.wrapped(text).lines() {
        let _ = writeln!(out, "  {l}");
    }
}

fn loader(out: &mut String, name: Option<&str>, code: Option<&Code>, text: &str, paper: Paper) {
    match code {
        Some(c) => {
            let _ = writeln!(out, "error[{}]: {}", c.name, c.title);
        }
        None => out.push_str("error: refused by the loader\n"),
    }
    if let Some(n) = name {
        let _ = writeln!(out, "  --> program `{n}`");
    }
    let _ = writeln!(
        out,
        "   = these are the loader's words, not the verifier's: {}",
        short(text, 160)
    );
    let fix = code.and_then(|c| loaders(c.name, text));
    lesson(out, code, fix.as_deref(), None, paper);
}

fn story(out: &mut String, s: &Story, trial: Option<&Trial>, paper: Paper) {
    let title = s.code.map_or("a message that is not known here", |c| c.title);
    match s.code {
        Some(c) => {
            let _ = writeln!(out, "error[{}]: {title}", c.name);
        }
        None => {
            let _ = writeln!(out, "error: {title}");
        }
    }
    place(out, s);
    let first = s.message.len().saturating_sub(3);
    for (i, l) in s.message[first..].iter().enumerate() {
        let head = match (i, s.is_loaders) {
            (0, true) => "the loader says:",
            (0, false) => "the kernel says:",
            _ => "                ",
        };
        let _ = writeln!(out, "   = {head} {}", short(l, 160));
    }
    if s.message.is_empty() {
        out.push_str("   = the kernel refused it without a message\n");
    }
    if let Some(n) = &s.needs {
        let _ = writeln!(out, "   = needs: {n}");
    }
    if let Some(k) = &s.knows {
        let _ = writeln!(out, "   = knows: {k}");
    }
    let skip = s.at.as_ref().map(|a| a.insn);
    if let (Some(r), false) = (&s.register, s.lineage.is_empty()) {
        history(out, &format!("how {r} came to be what it is"), &s.lineage, skip);
    }
    if let Some((r, steps)) = s.added.as_ref().filter(|(_, steps)| !steps.is_empty()) {
        history(out, &format!("how {r}, which was added to it, came to be"), steps, skip);
    }
    if let (Some(class), Some(why)) = (s.class, &s.why_class) {
        let _ = writeln!(out, "   = at fault: {} ({why})", class.title());
    }
    lesson(out, s.code, s.fix.as_deref(), trial, paper);
}

fn place(out: &mut String, s: &Story) {
    let program = s.program.as_ref().map_or(String::new(), |n| format!("program `{n}`"));
    let Some(at) = &s.at else {
        if !program.is_empty() {
            let _ = writeln!(out, "  --> {program}");
        }
        return;
    };
    let source = at.source.as_ref();
    let where_ = source.and_then(|x| Some(format!("{}:{}", x.file.as_ref()?, x.line?)));
    let parts: Vec<String> =
        [where_, Some(format!("insn {}", at.insn)), Some(program).filter(|p| !p.is_empty())]
            .into_iter()
            .flatten()
            .collect();
    let _ = writeln!(out, "  --> {}", parts.join(", "));
    out.push_str("   |\n");
    if let Some(x) = source {
        let number = x.line.map_or(String::new(), |n| n.to_string());
        let _ = writeln!(out, "{number:>3}| {}", short(&x.text, WIDE));
    }
    if !at.text.is_empty() {
        let _ = writeln!(out, "   | ^ {}: {}", at.insn, at.text);
    }
    if source.is_some() || !at.text.is_empty() {
        out.push_str("   |\n");
    }
}

fn history(out: &mut String, title: &str, steps: &[Step], at: Option<u32>) {
    let _ = writeln!(out, "   = {title}:");
    let skipped = steps.len().saturating_sub(STEPS);
    for (i, s) in steps.iter().enumerate() {
        if i == 1 && skipped > 0 {
            let _ = writeln!(out, "       … {} between", steps_of(skipped));
        }
        if i >= 1 && i < 1 + skipped {
            continue;
        }
        let value = s.value.as_ref().map_or(String::new(), |v| format!("  → {}", short(v, WIDE)));
        let times = if s.times > 1 { format!(" ({} times)", s.times) } else { String::new() };
        let what = s.what.map_or("", |w| w.as_str());
        let _ = writeln!(out, "       {what:<11} {}: {}{times}{value}", s.insn, s.text);
        let line = s.source.as_ref().filter(|_| Some(s.insn) != at);
        if let Some(x) = line.filter(|_| i == 0 || s.what.is_some_and(|w| w.is_origin())) {
            let number = x.line.map_or(String::new(), |n| format!("line {n}: "));
            let _ = writeln!(out, "                   {number}{}", short(&x.text, WIDE));
        }
    }
}

/// `1 step`, `2 steps`.
fn steps_of(n: usize) -> String {
    if n == 1 {
        "1 step".to_string()
    } else {
        format!("{n} steps")
    }
}

fn lesson(
    out: &mut String,
    code: Option<&Code>,
    fix: Option<&str>,
    trial: Option<&Trial>,
    paper: Paper,
) {
    let Some(code) = code else {
        out.push_str("help: the message is not in this program's table; look for it in kernel/bpf/verifier.c\n");
        return;
    };
    let text = trial.map(|t| t.tried.change.text.as_str()).or(fix);
    said(out, "help", text.unwrap_or(code.change), paper);
    if let Some(t) = trial {
        let outcome = t.outcome();
        let outcome = outcome.trim_start_matches("Tried: ");
        said(out, if t.is_verified() { "verified" } else { "tried" }, outcome, paper);
    }
    said(out, "why", code.why, paper);
    if text.is_some() {
        said(out, "in general", code.change, paper);
    }
}

fn said(out: &mut String, head: &str, text: &str, paper: Paper) {
    let indent = " ".repeat(head.len() + 2);
    for (i, l) in paper.wrapped(text).lines().enumerate() {
        let _ = writeln!(out, "{}{l}", if i == 0 { format!("{head}: ") } else { indent.clone() });
    }
}

fn short(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.to_string(),
    }
}
