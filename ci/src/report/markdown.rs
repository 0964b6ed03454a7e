//! A page for a job's summary or a review comment: the verdict, what was found, what is near its limit.

use std::fmt::Write as _;

use super::{help, on, rule, verdict_line, Places};
use crate::gate::outcome::{Finding, GateReport, GateVerdict, Severity};

/// Rows shown of each table; services cut long pages without a word.
const MOST: usize = 100;
/// Programs shown by headroom.
const NEAREST: usize = 10;

pub(super) fn render(report: &GateReport, places: &Places) -> String {
    let sign = match report.verdict {
        GateVerdict::Pass => "✅",
        GateVerdict::Fail => "❌",
        GateVerdict::NotJudged => "⚠️",
    };
    let mut out = format!("## {sign} bpfassay gate\n\n{}\n", text(&verdict_line(report)));
    let (covered, open): (Vec<&Finding>, Vec<&Finding>) =
        report.findings.iter().partition(|f| f.excepted_by.is_some());
    findings(&mut out, &open, report, places);
    exceptions(&mut out, &covered, report);
    headroom(&mut out, report, places);
    out
}

fn findings(out: &mut String, open: &[&Finding], report: &GateReport, places: &Places) {
    if open.is_empty() {
        return;
    }
    out.push_str("\n| | Program | Where | What | Rule |\n|---|---|---|---|---|\n");
    for f in open.iter().take(MOST) {
        let sign = match f.severity {
            Severity::Error => "❌",
            Severity::Warning => "⚠️",
            Severity::Note => "ℹ️",
        };
        let place = places.of(f, report);
        let at = place.line.map_or(String::new(), |l| format!(":{l}"));
        let mut what = text(&f.message);
        if let Some(on) = on(f, report) {
            let _ = write!(what, "<br>on {}", text(&on));
        }
        if let Some(since) = &f.since {
            let _ = write!(what, "<br>{}", text(since));
        }
        for turn in &f.flips {
            let _ = write!(what, "<br>{}", text(&turn.to_string()));
        }
        for l in f.explanation.iter().flat_map(|e| e.lines()) {
            let _ = write!(what, "<br>{}", text(&l));
        }
        if let Some(page) = &f.page {
            let _ = write!(what, "<br>[every step]({})", super::sarif::encoded(page));
        }
        if let Some(h) = help(f) {
            let _ = write!(what, "<br>*{}*", text(&h));
        }
        let program = f.id.as_deref().or(f.object.as_deref()).unwrap_or("");
        let _ = writeln!(
            out,
            "| {sign} | {} | {} | {what} | {} |",
            code(program),
            code(&format!("{}{at}", place.path)),
            code(rule(f))
        );
    }
    if open.len() > MOST {
        let _ = writeln!(out, "\n… and {} more.", open.len() - MOST);
    }
}

fn exceptions(out: &mut String, covered: &[&Finding], report: &GateReport) {
    if covered.is_empty() {
        return;
    }
    let _ = writeln!(out, "\n<details><summary>{} excepted</summary>\n", covered.len());
    out.push_str("| Program | What | Reason | Until |\n|---|---|---|---|\n");
    for f in covered.iter().take(MOST) {
        let Some(e) = f.excepted_by.and_then(|i| report.exceptions.get(i)) else { continue };
        let program = f.id.as_deref().or(f.object.as_deref()).unwrap_or("");
        let _ = writeln!(
            out,
            "| {} | {} | {} | {} |",
            code(program),
            text(&f.message),
            text(&e.reason),
            text(&e.expires)
        );
    }
    out.push_str("\n</details>\n");
}

fn headroom(out: &mut String, report: &GateReport, places: &Places) {
    let runs = super::nearest(report, NEAREST);
    if runs.is_empty() {
        return;
    }
    out.push_str("\n<details><summary>Nearest to the limits</summary>\n\n");
    out.push_str("| Program | Kernel | Instructions | Stack | Most expensive line |\n");
    out.push_str("|---|---|--:|--:|---|\n");
    for r in runs {
        let line = r.headroom.lines.first().map_or(String::new(), |l| {
            let at = places.line_of(&l.source, &r.object, report);
            format!("{} {}", code(&at), code(l.source.text.trim()))
        });
        let kernel = super::on_one(&crate::gate::outcome::JudgedFor {
            kernel: r.kernel.clone(),
            variant: r.variant.clone(),
        });
        let (insns, stack) = (r.headroom.insns, r.headroom.stack);
        let _ = writeln!(
            out,
            "| {} | {} | {} ({:.1} %) | {} ({:.0} %) | {line} |",
            code(&r.id),
            text(&kernel),
            insns.used,
            insns.percent(),
            stack.used,
            stack.percent()
        );
    }
    out.push_str("\n</details>\n");
}

/// Text that Markdown and HTML leave alone, in one table cell; code in backticks stays code.
fn text(s: &str) -> String {
    let parts: Vec<&str> = s.split('`').collect();
    // An odd number of backticks makes no pairs.
    if parts.len().is_multiple_of(2) {
        return plain(s);
    }
    let parts = parts.iter().enumerate();
    parts.map(|(i, p)| if i % 2 == 0 { plain(p) } else { code(p) }).collect()
}

fn plain(s: &str) -> String {
    let mut out = String::with_capacity(s.len());
    for c in s.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '\n' | '\r' => out.push(' '),
            '\\' | '|' | '*' | '_' | '[' | ']' | '~' | '#' | '@' | '`' => {
                out.push('\\');
                out.push(c);
            }
            c => out.push(c),
        }
    }
    out
}

/// A code span in a table cell: the fence is longer than any run of backticks inside.
fn code(s: &str) -> String {
    if s.is_empty() {
        return String::new();
    }
    let s = s.replace(['\n', '\r'], " ").replace('|', "\\|");
    let longest = s.split(|c| c != '`').map(str::len).max().unwrap_or(0);
    let fence = "`".repeat(longest + 1);
    let pad = if s.starts_with('`') || s.ends_with('`') { " " } else { "" };
    format!("{fence}{pad}{s}{pad}{fence}")
}
