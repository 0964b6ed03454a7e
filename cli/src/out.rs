//! Everything this program writes, in one place: to people, to other programs, to files.
//!
//! Names come from objects that anybody may have made.  What goes to people is therefore shown, not sent: a control
//! character appears as `\u{1b}`.  A closed pipe ends the output, not the verdict; a full disk is an error.

use std::borrow::Cow;
use std::fmt::Display;
use std::io::{self, Write};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Mutex;

use anstream::AutoStream;
use bpfassay_ci::files;
pub use bpfassay_ci::report::Paper;
use clap::ColorChoice;

use crate::exit::{fail, Outcome};

/// Sets whether text is coloured, over what the terminal and the environment (`NO_COLOR`, `TERM=dumb`) say.
pub fn set_colour(choice: ColorChoice) {
    match choice {
        ColorChoice::Auto => anstream::ColorChoice::Auto,
        ColorChoice::Always => anstream::ColorChoice::Always,
        ColorChoice::Never => anstream::ColorChoice::Never,
    }
    .write_global();
}

fn is_coloured(stream: &impl anstream::stream::RawStream) -> bool {
    AutoStream::choice(stream) != anstream::ColorChoice::Never
}

/// Standard output as paper: its colours, and its width where it is a terminal.
pub fn paper() -> Paper {
    let size = terminal_size::terminal_size_of(io::stdout());
    Paper { colour: is_coloured(&io::stdout()), width: size.map(|(w, _)| usize::from(w.0)) }
}

/// Lines that a terminal is too narrow for, broken at words and indented as they were.
pub fn folded(text: &str, paper: Paper) -> String {
    let Some(width) = paper.width else { return text.to_string() };
    let mut out = String::new();
    for line in text.lines() {
        let indent = line.len() - line.trim_start().len();
        let hang = " ".repeat((indent + 4).min(width / 3));
        let options =
            textwrap::Options::new(width.max(24)).subsequent_indent(&hang).break_words(false);
        out.push_str(&textwrap::fill(line, options));
        out.push('\n');
    }
    out
}

/// Standard output as it is, for another program that reads while we write.
pub fn stream() -> impl Write {
    io::stdout().lock()
}

/// A character that would steer a terminal, or the order in which text is read.
fn is_steering(c: char) -> bool {
    let orders =
        matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    c.is_control() && c != '\n' && c != '\t' || orders
}

/// The text with what would steer a terminal written out.
pub fn shown(text: &str) -> Cow<'_, str> {
    if !text.contains(is_steering) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match is_steering(c) {
            true => out.extend(c.escape_unicode()),
            false => out.push(c),
        }
    }
    Cow::Owned(out)
}

/// Writes for people what `make` puts on paper, and ends with `outcome`.
///
/// It is made without colours first: what has control characters even then has them from names, and is shown so.
pub fn people(make: impl Fn(Paper) -> String, outcome: Outcome) -> Outcome {
    let paper = paper();
    let plain = make(Paper { colour: false, ..paper });
    let text = match shown(&plain) {
        Cow::Borrowed(_) if paper.colour => make(paper),
        text => text.into_owned(),
    };
    machine(text.as_bytes(), outcome)
}

/// Writes text for people that has no colours.
pub fn text(text: &str, outcome: Outcome) -> Outcome {
    machine(shown(text).as_bytes(), outcome)
}

/// Writes bytes for another program to standard output, and ends with `outcome`.
pub fn machine(bytes: &[u8], outcome: Outcome) -> Outcome {
    ANSWERED.store(true, Ordering::Relaxed);
    let mut out = io::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Err(e) if e.kind() != io::ErrorKind::BrokenPipe => {
            fail(Outcome::NotJudged, format!("standard output: {e}"))
        }
        _ => outcome,
    }
}

/// Help, a version, or a mistake of the command line.
pub fn clap(error: &clap::Error) -> Outcome {
    let text = |paper: Paper| match paper.colour {
        true => error.render().ansi().to_string(),
        false => error.render().to_string(),
    };
    // Help and version are answers, not mistakes.
    if !error.use_stderr() {
        return people(text, Outcome::Ok);
    }
    aside(text);
    Outcome::Usage
}

/// A line on standard error, which nobody may be reading.
pub fn note(line: impl Display) {
    let line = line.to_string();
    let _ = io::stderr().lock().write_all(format!("{}\n", shown(&line)).as_bytes());
}

/// Text on standard error that may be coloured, made as in [`people`].
pub fn aside(make: impl Fn(Paper) -> String) {
    let size = terminal_size::terminal_size_of(io::stderr());
    let width = size.map(|(w, _)| usize::from(w.0));
    let plain = make(Paper { colour: false, width });
    let text = match shown(&plain) {
        Cow::Borrowed(_) if is_coloured(&io::stderr()) => make(Paper { colour: true, width }),
        text => text.into_owned(),
    };
    let _ = io::stderr().lock().write_all(text.as_bytes());
}

/// Writes a file whole or not at all.
///
/// # Errors
/// The message was written; *not judged*.
pub fn file(path: &Path, bytes: impl AsRef<[u8]>) -> Result<(), Outcome> {
    files::replace(path, bytes.as_ref())
        .map_err(|e| fail(Outcome::NotJudged, format!("{}: {e}", path.display())))
}

/// As [`file`], or to standard output for `-`.
///
/// # Errors
/// As [`file`].
pub fn file_or_stdout(path: &Path, bytes: impl AsRef<[u8]>) -> Result<(), Outcome> {
    match path.as_os_str() == "-" {
        true => match machine(bytes.as_ref(), Outcome::Ok) {
            Outcome::Ok => Ok(()),
            failed => Err(failed),
        },
        false => file(path, bytes),
    }
}

/// Something was written to standard output.
static ANSWERED: AtomicBool = AtomicBool::new(false);
/// The schema of the JSON that was asked for, and the last error.
static ASKED: Mutex<(Option<&'static str>, Option<String>)> = Mutex::new((None, None));

/// From here on a run that fails still answers in JSON: its schema, and an `error`.
pub fn expect_json(schema: &'static str) {
    if let Ok(mut asked) = ASKED.lock() {
        asked.0 = Some(schema);
    }
}

/// Remembers why the run failed.
pub fn remember(error: &str) {
    if let Ok(mut asked) = ASKED.lock() {
        asked.1 = Some(error.to_string());
    }
}

/// The JSON of a run that was to answer in JSON and has not.
pub fn finish(outcome: Outcome) -> Outcome {
    if ANSWERED.load(Ordering::Relaxed) {
        return outcome;
    }
    let Ok(mut asked) = ASKED.lock() else { return outcome };
    let (schema, error) = std::mem::take(&mut *asked);
    drop(asked);
    match schema {
        None => outcome,
        Some(schema) => {
            let message = error.unwrap_or_else(|| "no answer".to_string());
            let error = serde_json::json!({"kind": outcome.as_str(), "message": message});
            let doc = serde_json::json!({"schema": schema, "error": error});
            machine(format!("{doc:#}\n").as_bytes(), outcome)
        }
    }
}
