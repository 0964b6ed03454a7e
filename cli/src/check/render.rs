//! The text report: a compact table, and a rustc-style diagnostic per rejection.

use std::borrow::Cow;
use std::fmt::Write as _;

use annotate_snippets::{AnnotationKind, Element, Level, Snippet};
use bpfassay_ci::report::Paper;
use bpfassay_diag::explain::{by_name, load_error};
use bpfassay_judge::explain::Words;
use bpfassay_judge::{
    CheckReport, MapReport, MapVerdict, ObjectReport, ProgramReport, Source, VerdictWord,
};
use bpfassay_spec::errno;
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// How much is said, and on what.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Style {
    pub paper: Paper,
    /// -1: only what is not accepted; 0: table and diagnostics; 1 and up: message blocks, notes and timing too.
    pub verbosity: i8,
    /// False where programs were filtered out: then nothing is said of objects and maps.
    pub is_all: bool,
}

/// The whole report as text; of the programs, those `shown`, in that order.
pub fn text(
    report: &CheckReport,
    shown: &[(&ObjectReport, &ProgramReport)],
    style: Style,
) -> String {
    let mut out = String::new();
    let kernel = format!("Linux {}", report.kernel);
    for object in report.objects.iter().filter(|_| style.is_all) {
        if let Some(e) = &object.error {
            let title = format!("{}: {}", object.path, e.message);
            let title = Level::ERROR.primary_title(&title).id(e.kind.as_str());
            let help = load_error(&e.kind).map(|c| style.paper.wrapped(c.change));
            let mut group = title.elements(Vec::<Element<'_>>::new());
            if let Some(help) = &help {
                group = group.element(Level::HELP.message(help.as_str()));
            }
            let _ = writeln!(out, "{}\n", style.paper.renderer().render(&[group]));
        }
        for map in &object.maps {
            map_diagnostic(&mut out, object, map, style);
        }
    }
    for (object, program) in shown.iter().filter(|(_, p)| !refused_for_map(p)) {
        diagnostic(&mut out, object, program, &kernel, style);
    }
    if style.verbosity >= 0 {
        table(&mut out, shown, style);
    }
    summary(&mut out, report, shown.len());
    out
}

/// Rejected for a map alone, which has a diagnostic of its own.
fn refused_for_map(program: &ProgramReport) -> bool {
    program.message_lines.is_empty() && program.code.is_some_and(|c| c.starts_with("map-"))
}

fn map_diagnostic(out: &mut String, object: &ObjectReport, map: &MapReport, style: Style) {
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
    let errno = map.errno.map_or(String::new(), |e| format!(", {}", errno::name(e)));
    let mut notes = vec![format!(
        "{} map in {}{errno}: key_size {}, value_size {}, max_entries {}, map_flags {:#x}",
        map.map_type, object.path, map.key_size, map.value_size, map.max_entries, map.flags
    )];
    if map.verdict == MapVerdict::Rejected {
        notes.push("loaders make every map first, so no program of this object loads".to_string());
    }
    let notes: Vec<String> = notes.iter().map(|n| style.paper.fitted(n)).collect();
    let help = map.code.and_then(by_name).map(|c| style.paper.wrapped(c.change));
    let mut group = title.elements(Vec::<Element<'_>>::new());
    for note in &notes {
        group = group.element(Level::NOTE.message(note.as_str()));
    }
    if let Some(help) = &help {
        group = group.element(Level::HELP.message(help.as_str()));
    }
    let _ = writeln!(out, "{}\n", style.paper.renderer().render(&[group]));
}

fn diagnostic(
    out: &mut String,
    object: &ObjectReport,
    program: &ProgramReport,
    kernel: &str,
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
    notes.extend(program.detail.needs.clone());
    if let Some(build) = &program.served_by {
        notes.push(format!("Linux {build} has what is missing: `--kernel {build}` judges it"));
    }
    if style.verbosity > 0 {
        notes.extend(program.detail.notes.iter().cloned());
    }
    let words = program.detail.explanation.as_deref().map(|e| Words::of(e, kernel));
    notes.extend(words.iter().flat_map(Words::lines));
    let notes: Vec<String> = notes.iter().map(|n| style.paper.fitted(n)).collect();
    for note in &notes {
        group = group.element(Level::NOTE.message(note.as_str()));
    }
    let general = || program.code.and_then(by_name).map(|c| c.change.to_string());
    let help = words.and_then(|w| w.advice()).or_else(general).map(|h| style.paper.wrapped(&h));
    if let Some(help) = &help {
        group = group.element(Level::HELP.message(help.as_str()));
    }
    let _ = writeln!(out, "{}\n", style.paper.renderer().render(&[group]));
}

fn about(object: &ObjectReport, program: &ProgramReport) -> String {
    let errno = program.errno.map_or(String::new(), |e| format!(", {}", errno::name(e)));
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

fn table(out: &mut String, shown: &[(&ObjectReport, &ProgramReport)], style: Style) {
    /// Columns of text, to the left; figures stand to the right.
    const TEXTS: usize = 4;
    let timed = style.verbosity > 0;
    let mut rows = vec![Row::head(timed)];
    rows.extend(shown.iter().map(|(object, p)| Row::of(object, p, timed)));
    if rows.len() == 1 {
        return;
    }
    let mut widths: Vec<usize> = (0..rows[0].0.len())
        .map(|c| rows.iter().map(|r| r.0[c].width()).max().unwrap_or(0))
        .collect();
    if let Some(most) = style.paper.width {
        fit(&mut widths, most);
    }
    for row in &rows {
        let mut line = String::new();
        for (i, (cell, width)) in row.0.iter().zip(&widths).enumerate() {
            let cell = cut(cell, *width);
            let room = " ".repeat(width.saturating_sub(cell.width()));
            match i < TEXTS {
                true => line.extend([&*cell, &room, "  "]),
                false => line.extend([&*room, &cell, "  "]),
            }
        }
        let _ = writeln!(out, "{}", line.trim_end());
    }
    out.push('\n');
}

/// Takes room from the names of objects and programs, from the wider first, until a row fits.
fn fit(widths: &mut [usize], most: usize) {
    /// Narrowest column of names.
    const NARROW: usize = 8;
    const NAMES: [usize; 2] = [1, 2];
    let whole = |widths: &[usize]| widths.iter().map(|w| w + 2).sum::<usize>().saturating_sub(2);
    while whole(widths) > most {
        let Some(widest) = NAMES.into_iter().max_by_key(|c| widths[*c]) else { return };
        if widths[widest] <= NARROW {
            return;
        }
        widths[widest] -= 1;
    }
}

/// The cell with its middle left out where it is wider than its column.
fn cut(cell: &str, width: usize) -> Cow<'_, str> {
    if cell.width() <= width {
        return Cow::Borrowed(cell);
    }
    let left = width.saturating_sub(1) / 2;
    let right = width.saturating_sub(1) - left;
    let take = |chars: &mut dyn Iterator<Item = char>, most: usize| {
        let mut used = 0;
        let fits = |c: &char| {
            used += c.width().unwrap_or(0);
            used <= most
        };
        chars.take_while(fits).collect::<String>()
    };
    let head = take(&mut cell.chars(), left);
    let tail: String = take(&mut cell.chars().rev(), right).chars().rev().collect();
    Cow::Owned(format!("{head}…{tail}"))
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

fn summary(out: &mut String, report: &CheckReport, shown: usize) {
    let s = report.summary;
    let all = s.accepted + s.rejected + s.unsupported;
    if shown < all {
        let _ = writeln!(out, "{shown} of {all} programs shown");
    }
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
