//! For people: each finding with its source line, then what is near its limit, then the verdict.

use std::fmt::Write as _;

use annotate_snippets::{AnnotationKind, Element, Level, Snippet};

use super::{help, on, rule, subject, verdict_line, Paper, Places};
use crate::gate::outcome::{Finding, GateReport, Severity};

/// Programs shown by headroom.
const NEAREST: usize = 5;
/// Lines shown of the most expensive one.
const LINES: usize = 3;

pub(super) fn render(report: &GateReport, places: &Places, paper: Paper) -> String {
    let mut out = String::new();
    for f in report.findings.iter().filter(|f| f.excepted_by.is_none()) {
        finding(&mut out, paper, f, report, places);
    }
    excepted(&mut out, report);
    headroom(&mut out, report, places);
    baseline(&mut out, report);
    let _ = writeln!(out, "{}", verdict_line(report));
    out
}

fn finding(out: &mut String, paper: Paper, f: &Finding, report: &GateReport, places: &Places) {
    let level = match f.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
        Severity::Note => Level::NOTE,
    };
    let place = places.of(f, report);
    let source = place.text.as_ref().map(|t| t.replace('\t', " "));
    let label = match (&f.insn, f.insn_idx) {
        (Some(insn), Some(idx)) => format!("insn {idx}: {insn}"),
        _ => "here".to_string(),
    };
    let title = level.primary_title(f.message.as_str()).id(rule(f));
    let mut group = match (&source, place.line) {
        (Some(text), Some(line)) => {
            let from = start(text, place.column);
            let mark = AnnotationKind::Primary.span(from..text.len()).label(&label);
            let snippet = Snippet::source(text.as_str())
                .line_start(line as usize)
                .path(place.path.as_str())
                .annotation(mark);
            title.element(snippet)
        }
        _ => title.elements(Vec::<Element<'_>>::new()),
    };
    let mut notes = Vec::new();
    notes.extend(subject(f));
    if source.is_none() && f.object.is_none() {
        let at = place.line.map_or(String::new(), |l| format!(":{l}"));
        notes.push(format!("in {}{at}", place.path));
    }
    notes.extend(on(f, report).map(|on| format!("on {on}")));
    notes.extend(f.flips.iter().map(|turn| paper.wrapped(&turn.to_string())));
    if f.kernel_words.len() > 1 {
        notes.push(format!("the kernel says:\n{}", f.kernel_words.join("\n")));
    }
    if let Some(e) = &f.explanation {
        notes.extend(e.lines());
    }
    notes.extend(f.page.as_ref().map(|p| format!("page: {p}")));
    let notes: Vec<String> = notes.iter().map(|n| paper.fitted(n)).collect();
    for n in &notes {
        group = group.element(Level::NOTE.message(n.as_str()));
    }
    let help = help(f).map(|h| paper.wrapped(&h));
    if let Some(h) = &help {
        group = group.element(Level::HELP.message(h.as_str()));
    }
    let _ = writeln!(out, "{}\n", paper.renderer().render(&[group]));
}

/// Byte at which the mark begins: the column, if it lies in the text, else the first word.
fn start(text: &str, column: Option<u32>) -> usize {
    let first = text.len() - text.trim_start().len();
    let at = column.map_or(0, |c| c as usize - 1);
    let at = text.char_indices().nth(at).map_or(first, |(i, _)| i);
    at.max(first)
}

fn excepted(out: &mut String, report: &GateReport) {
    let covered = report.findings.iter().filter_map(|f| Some((f, f.excepted_by?)));
    for (f, i) in covered {
        let Some(e) = report.exceptions.get(i) else { continue };
        let what = f.id.as_deref().or(f.object.as_deref()).unwrap_or("");
        let _ = writeln!(out, "excepted until {}: {what}: {} ({})", e.expires, f.message, e.reason);
    }
    if report.findings.iter().any(|f| f.excepted_by.is_some()) {
        out.push('\n');
    }
}

fn headroom(out: &mut String, report: &GateReport, places: &Places) {
    let runs = super::nearest(report, NEAREST);
    let Some(most) = runs.iter().max_by_key(|r| r.headroom.insns.used) else { return };
    let width = runs.iter().map(|r| r.id.chars().count()).max().unwrap_or(0);
    out.push_str("Nearest to the limits, in instructions processed and stack:\n");
    for r in &runs {
        let (insns, stack) = (r.headroom.insns, r.headroom.stack);
        let _ = writeln!(
            out,
            "  {:width$}  {:>5.1} %  {:>7}   stack {:>3.0} %  {:>3}{}",
            r.id,
            insns.percent(),
            insns.used,
            stack.percent(),
            stack.used,
            of_budget(insns.percent_of_budget(), stack.percent_of_budget())
        );
    }
    // Where it goes is worth a word only where much goes.
    if most.headroom.insns.percent() >= 1.0 {
        let _ = writeln!(out, "Where {} spends them:", most.id);
        for l in most.headroom.lines.iter().take(LINES) {
            let share =
                f64::from(l.insns_processed) * 100.0 / f64::from(most.headroom.insns.used.max(1));
            let at = places.line_of(&l.source, &most.object, report);
            let _ = writeln!(out, "  {share:>5.1} %  {at}  {}", l.source.text.trim());
        }
    }
    out.push('\n');
}

/// The larger share of a budget, if the program has one.
fn of_budget(insns: Option<f64>, stack: Option<f64>) -> String {
    let most = [insns, stack].into_iter().flatten().reduce(f64::max);
    most.map_or(String::new(), |share| format!("   {share:.0} % of the budget"))
}

fn baseline(out: &mut String, report: &GateReport) {
    let Some(b) = &report.baseline else { return };
    let what = if b.updated { "written" } else { "compared with" };
    let taken = b.taken.as_ref().map_or(String::new(), |t| format!(" of {t}"));
    let _ = writeln!(
        out,
        "Baseline {}{taken} {what}: {} newly rejected, {} newly accepted, {} drifted, {} new, {} removed",
        b.path, b.newly_rejected, b.newly_accepted, b.cost_drift, b.new, b.removed
    );
}
