//! The text report: a compact table, and a rustc-style diagnostic per rejection.

use std::fmt::Write as _;

use annotate_snippets::{AnnotationKind, Element, Level, Renderer, Snippet};
use bpfassay_ci::report::wrapped;
use bpfassay_diag::explain::{by_name, load_error};
use bpfassay_judge::{
    CheckReport, MapReport, MapVerdict, ObjectReport, ProgramReport, Source, VerdictWord,
};

/// How much is said.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Style {
    pub colour: bool,
    /// -1: only what is not accepted; 0: table and diagnostics; 1 and up: message blocks, notes and timing too.
    pub verbosity: i8,
}

/// The whole report as text.
pub fn text(report: &CheckReport, style: Style) -> String {
    let mut out = String::new();
    let renderer = if style.colour { Renderer::styled() } else { Renderer::plain() };
    for object in &report.objects {
        if let Some(e) = &object.error {
            let title = format!("{}: {}", object.path, e.message);
            let title = Level::ERROR.primary_title(&title).id(e.kind.as_str());
            let help = load_error(&e.kind).map(|c| wrapped(c.change));
            let mut group = title.elements(Vec::<Element<'_>>::new());
            if let Some(help) = &help {
                group = group.element(Level::HELP.message(help.as_str()));
            }
            let _ = writeln!(out, "{}\n", renderer.render(&[group]));
        }
        for map in &object.maps {
            map_diagnostic(&mut out, &renderer, object, map, style);
        }
        for program in object.programs.iter().filter(|p| !refused_for_map(p)) {
            diagnostic(&mut out, &renderer, object, program, style);
        }
    }
    if style.verbosity >= 0 {
        table(&mut out, report, style);
    }
    summary(&mut out, report);
    out
}

/// Rejected for a map alone, which has a diagnostic of its own.
fn refused_for_map(program: &ProgramReport) -> bool {
    program.message_lines.is_empty() && program.code.is_some_and(|c| c.starts_with("map-"))
}

fn map_diagnostic(
    out: &mut String,
    renderer: &Renderer,
    object: &ObjectReport,
    map: &MapReport,
    style: Style,
) {
    let Some(message) = &map.message else { return };
    let (level, title) = match map.verdict {
        MapVerdict::Rejected => {
            (Level::ERROR, format!("map `{}` cannot be made: {message}", map.name))
        }
        MapVerdict::Unset => {
            (Level::WARNING, format!("map `{}` is not complete: {message}", map.name))
        }
        MapVerdict::Unsupported => {
            (Level::WARNING, format!("cannot judge map `{}`: {message}", map.name))
        }
        MapVerdict::Accepted if style.verbosity < 0 => return,
        MapVerdict::Accepted => (Level::WARNING, format!("map `{}`: {message}", map.name)),
    };
    let mut title = level.primary_title(title.as_str());
    if let Some(code) = map.code {
        title = title.id(code);
    }
    let errno = map.errno.map_or(String::new(), |e| format!(", errno {e}"));
    let mut notes = vec![format!(
        "{} map in {}{errno}: key_size {}, value_size {}, max_entries {}, map_flags {:#x}",
        map.map_type, object.path, map.key_size, map.value_size, map.max_entries, map.flags
    )];
    if map.verdict == MapVerdict::Rejected {
        notes.push("loaders make every map first, so no program of this object loads".to_string());
    }
    let help = map.code.and_then(by_name).map(|c| wrapped(c.change));
    let mut group = title.elements(Vec::<Element<'_>>::new());
    for note in &notes {
        group = group.element(Level::NOTE.message(note.as_str()));
    }
    if let Some(help) = &help {
        group = group.element(Level::HELP.message(help.as_str()));
    }
    let _ = writeln!(out, "{}\n", renderer.render(&[group]));
}

fn diagnostic(
    out: &mut String,
    renderer: &Renderer,
    object: &ObjectReport,
    program: &ProgramReport,
    style: Style,
) {
    let level = match program.verdict {
        VerdictWord::Accepted => return,
        VerdictWord::Rejected => Level::ERROR,
        VerdictWord::Unsupported => Level::WARNING,
    };
    let title = match program.verdict {
        VerdictWord::Unsupported => {
            format!("cannot judge: {}", program.message.as_deref().unwrap_or("unknown reason"))
        }
        _ => program.message.clone().unwrap_or_else(|| "refused without a log".to_string()),
    };
    let place = place(program);
    let label = program.detail.insn_text.as_ref().map_or_else(
        || "here".to_string(),
        |t| format!("insn {}: {t}", program.insn_idx.unwrap_or(0)),
    );
    let mut title = level.clone().primary_title(title.as_str());
    if let Some(code) = program.code {
        title = title.id(code);
    }
    let mut group = match &place {
        Some(p) => {
            let snippet = Snippet::source(p.text.as_str())
                .line_start(p.line as usize)
                .path(p.file.as_str())
                .annotation(AnnotationKind::Primary.span(p.from..p.text.len()).label(&label));
            title.element(snippet)
        }
        None => title.elements(Vec::<Element<'_>>::new()),
    };
    let mut notes = vec![about(object, program)];
    if program.verdict == VerdictWord::Rejected && program.message_lines.len() > 1 {
        notes.push(format!("the kernel says:\n{}", program.message_lines.join("\n")));
    }
    if let Some(q) = program.quirk {
        notes.push(format!("decided by a known kernel quirk: {q}"));
    }
    if let Some(build) = &program.served_by {
        notes.push(format!("Linux {build} has what is missing: `--kernel {build}` judges it"));
    }
    if style.verbosity > 0 {
        notes.extend(program.detail.notes.iter().cloned());
    }
    for note in &notes {
        group = group.element(Level::NOTE.message(note.as_str()));
    }
    let help = program.code.and_then(by_name).map(|c| wrapped(c.change));
    if let Some(help) = &help {
        group = group.element(Level::HELP.message(help.as_str()));
    }
    let _ = writeln!(out, "{}\n", renderer.render(&[group]));
}

fn about(object: &ObjectReport, program: &ProgramReport) -> String {
    let errno = program.errno.map_or(String::new(), |e| format!(", errno {e}"));
    format!(
        "program `{}` (section {}, {}) in {}{errno}",
        program.name, program.section, program.prog_type, object.path
    )
}

/// Where the diagnostic points.
struct Place {
    file: String,
    line: u32,
    text: String,
    from: usize,
}

fn place(program: &ProgramReport) -> Option<Place> {
    if let Some(Source { file, line, text, column }) = &program.source {
        let text = text.replace('\t', " ");
        let mut from = (*column as usize).saturating_sub(1).min(text.len());
        while !text.is_char_boundary(from) {
            from -= 1;
        }
        let start = text.len() - text.trim_start().len();
        return Some(Place { file: file.clone(), line: *line, from: from.max(start), text });
    }
    let text = program.detail.insn_text.clone()?;
    Some(Place {
        file: format!("{} (instruction {})", program.section, program.insn_idx.unwrap_or(0)),
        line: 1,
        from: 0,
        text,
    })
}

fn table(out: &mut String, report: &CheckReport, style: Style) {
    let timed = style.verbosity > 0;
    let mut rows = vec![Row::head(timed)];
    for object in &report.objects {
        rows.extend(object.programs.iter().map(|p| Row::of(object, p, timed)));
    }
    if rows.len() == 1 {
        return;
    }
    let widths: Vec<usize> = (0..rows[0].0.len())
        .map(|c| rows.iter().map(|r| r.0[c].chars().count()).max().unwrap_or(0))
        .collect();
    for row in &rows {
        let mut line = String::new();
        for (i, (cell, width)) in row.0.iter().zip(&widths).enumerate() {
            // Names to the left, figures to the right.
            if i < 4 {
                let _ = write!(line, "{cell:<width$}  ");
            } else {
                let _ = write!(line, "{cell:>width$}  ");
            }
        }
        let _ = writeln!(out, "{}", line.trim_end());
    }
    out.push('\n');
}

struct Row(Vec<String>);

impl Row {
    fn head(timed: bool) -> Row {
        let mut cells =
            vec!["VERDICT", "OBJECT", "PROGRAM", "TYPE", "INSNS", "PROCESSED", "STATES", "STACK"];
        if timed {
            cells.push("US");
        }
        Row(cells.into_iter().map(String::from).collect())
    }

    fn of(object: &ObjectReport, p: &ProgramReport, timed: bool) -> Row {
        let file = object.path.rsplit('/').next().unwrap_or(&object.path);
        let mut cells = vec![
            p.verdict.as_str().to_string(),
            file.to_string(),
            p.name.clone(),
            p.prog_type.to_string(),
            p.insn_cnt.to_string(),
            p.stats.insns_processed.to_string(),
            p.stats.total_states.to_string(),
            p.stats.stack_depth.to_string(),
        ];
        if timed {
            cells.push(p.stats.verification_us.to_string());
        }
        Row(cells)
    }
}

fn summary(out: &mut String, report: &CheckReport) {
    let s = report.summary;
    let _ = writeln!(
        out,
        "{} accepted, {} rejected, {} unsupported, {} unreadable; judged for Linux {}{}",
        s.accepted,
        s.rejected,
        s.unsupported,
        s.errors,
        report.kernel,
        match report.profile == report.kernel {
            true => String::new(),
            false => format!(" (profile {})", report.profile),
        }
    );
    for line in &report.assumed {
        let _ = writeln!(out, "assumed: {line}");
    }
    if s.maps_rejected + s.maps_unset > 0 {
        let _ = writeln!(
            out,
            "maps: {} cannot be made, {} need a size or an inner map from the application",
            s.maps_rejected, s.maps_unset
        );
    }
}
