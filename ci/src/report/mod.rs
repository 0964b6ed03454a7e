//! Renderings of a gate's result, one format a file: functions from [`GateReport`] to text.
//!
//! Nothing here decides anything, knows a terminal or reads the environment; [`Places`] alone looks
//! at the file system, to find where the sources of an object lie.

mod github;
mod gitlab;
mod junit;
mod markdown;
pub mod page;
mod paper;
mod place;
mod sarif;
#[cfg(test)]
mod tests;
mod text;
mod veristat;

use std::str::FromStr;

use bpfassay_diag::explain::{by_name, load_error, Code};

use crate::gate::outcome::{Finding, GateReport, JudgedFor, ProgramRun};

pub use paper::Paper;
pub use place::{Place, Places};

/// A format that `gate --output` knows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Format {
    /// For people, at a terminal or in a job's log.
    Text,
    /// The contract `bpfassay.gate/1`.
    Json,
    /// SARIF 2.1.0, as code scanning services read it.
    Sarif,
    /// JUnit XML, a test case per program.
    Junit,
    /// Workflow commands that annotate a pull request on GitHub.
    Github,
    /// GitLab's code quality JSON.
    Gitlab,
    /// A page for a job's summary or a comment.
    Markdown,
    /// CSV as `veristat -C` reads it.
    Veristat,
}

impl Format {
    pub const ALL: [Format; 8] = [
        Format::Text,
        Format::Json,
        Format::Sarif,
        Format::Junit,
        Format::Github,
        Format::Gitlab,
        Format::Markdown,
        Format::Veristat,
    ];

    /// The word on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Format::Text => "text",
            Format::Json => "json",
            Format::Sarif => "sarif",
            Format::Junit => "junit",
            Format::Github => "github",
            Format::Gitlab => "gitlab",
            Format::Markdown => "markdown",
            Format::Veristat => "veristat",
        }
    }
}

impl FromStr for Format {
    type Err = String;

    fn from_str(word: &str) -> Result<Format, String> {
        Format::ALL.into_iter().find(|f| f.as_str() == word).ok_or_else(|| {
            let known: Vec<_> = Format::ALL.into_iter().map(Format::as_str).collect();
            format!("no format is called `{word}`; known are {}", known.join(", "))
        })
    }
}

/// The report in a format; the paper is for text only.
pub fn render(
    report: &GateReport,
    format: Format,
    places: &Places,
    paper: Paper,
) -> Result<String, String> {
    Ok(match format {
        Format::Text => text::render(report, places, paper),
        Format::Json => pretty(report)?,
        Format::Sarif => pretty(&sarif::render(report, places))?,
        Format::Junit => junit::render(report, places),
        Format::Github => github::render(report, places),
        Format::Gitlab => pretty(&gitlab::render(report, places))?,
        Format::Markdown => markdown::render(report, places),
        Format::Veristat => veristat::render(report),
    })
}

fn pretty(value: &impl serde::Serialize) -> Result<String, String> {
    let mut text = serde_json::to_string_pretty(value).map_err(|e| e.to_string())?;
    text.push('\n');
    Ok(text)
}

/// The rule a finding breaks: the code of the kernel's message, or the finding's kind.
fn rule(f: &Finding) -> &str {
    f.code.as_deref().unwrap_or_else(|| f.kind.as_str())
}

/// The row of the table of messages for a finding.
fn row(f: &Finding) -> Option<&'static Code> {
    let code = f.code.as_deref()?;
    by_name(code).or_else(|| load_error(code))
}

/// What can be done: the gate's own words, those for this program, or the table's.
fn help(f: &Finding) -> Option<String> {
    let own = f.explanation.as_ref().and_then(|e| e.advice());
    f.help.clone().or(own).or_else(|| row(f).map(|c| c.change.to_string()))
}

/// `6.18`, `6.18 (variant quiet)`.
fn on_one(on: &JudgedFor) -> String {
    match &on.variant {
        Some(v) => format!("{} (variant {v})", on.kernel),
        None => on.kernel.clone(),
    }
}

/// Where a finding holds, unless it holds wherever the gate looked.
fn on(f: &Finding, report: &GateReport) -> Option<String> {
    let everywhere = report.kernels.len() * (report.variants.len() + 1);
    if f.on.is_empty() || f.on.len() >= everywhere || everywhere == 1 {
        return None;
    }
    Some(f.on.iter().map(on_one).collect::<Vec<_>>().join(", "))
}

/// `program `x` (section tc) in x.o, accepted in the baseline of 2026-11-20`, or the object.
fn subject(f: &Finding) -> Option<String> {
    let what = match (&f.program, &f.section, &f.object) {
        (Some(p), Some(s), Some(o)) => format!("program `{p}` (section {s}) in {o}"),
        (Some(p), None, Some(o)) => format!("program `{p}` in {o}"),
        (Some(p), _, None) => format!("program `{p}`"),
        (None, _, Some(o)) => o.clone(),
        (None, _, None) => return None,
    };
    Some(match &f.since {
        Some(since) => format!("{what}, {since}"),
        None => what,
    })
}

/// One line for the whole: `FAIL: 2 errors, 1 warning; 30 programs in 12 objects: …`.
fn verdict_line(report: &GateReport) -> String {
    let s = &report.summary;
    let word = report.verdict.as_str().replace('-', " ").to_uppercase();
    let mut found = Vec::new();
    for (n, one) in [(s.errors, "error"), (s.warnings, "warning"), (s.notes, "note")] {
        if n > 0 {
            found.push(count(n, one));
        }
    }
    if s.excepted > 0 {
        found.push(format!("{} excepted", s.excepted));
    }
    let found = if found.is_empty() { String::new() } else { format!(": {}", found.join(", ")) };
    let unreadable = match s.unreadable {
        0 => String::new(),
        n => format!(", {} unreadable", count(n, "object")),
    };
    let kernels: Vec<&str> = report.kernels.iter().map(|k| k.release.as_str()).collect();
    format!(
        "{word}{found}; {} of {}: {} accepted, {} rejected, {} not judged{unreadable}; Linux {}",
        count(s.judged, "judgement"),
        count(s.objects, "object"),
        s.accepted,
        s.rejected,
        s.unsupported,
        kernels.join(", ")
    )
}

fn count(n: usize, one: &str) -> String {
    format!("{n} {one}{}", if n == 1 { "" } else { "s" })
}

/// The programs that use most of the limits, each on the kernel and in the variant where it uses most.
fn nearest(report: &GateReport, most: usize) -> Vec<&ProgramRun> {
    // Much stack is common and harmless until it is nearly all.
    let share = |r: &ProgramRun| match r.headroom.stack.percent() {
        stack if stack >= 75.0 => stack.max(r.headroom.insns.percent()),
        _ => r.headroom.insns.percent(),
    };
    let mut runs: Vec<&ProgramRun> =
        report.programs.iter().filter(|r| r.headroom.insns.used > 0).collect();
    // Stable: equals stay in the report's order.
    runs.sort_by(|a, b| share(b).total_cmp(&share(a)));
    let mut seen = std::collections::BTreeSet::new();
    runs.retain(|r| seen.len() < most && seen.insert(&r.id));
    runs
}
