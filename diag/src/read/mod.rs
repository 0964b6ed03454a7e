//! A verifier log found in whatever was printed around it.
//!
//! The verifier's words are told by their form and meaning, not by their place: any prefix of the
//! lines is taken off, colours, encodings and escapes are undone, several programs are told apart.
//! Nothing here knows what a message means beyond that the table of messages knows it.

mod anchor;
mod clean;
mod decode;
mod embedded;
mod frame;
mod loader;
pub(crate) mod report;
mod split;

use std::borrow::Cow;

pub use decode::MOST_BYTES;
pub use loader::{code_of_errno, Refusal};
pub use report::{Event, Report};
pub use split::Program;

use frame::Frame;
use split::Splitter;

/// What a text says.
#[derive(Default, Debug)]
pub struct Reading {
    /// Logs, in order; accepted programs too.
    pub programs: Vec<Program>,
    /// What loaders say themselves of programs that never reached the verifier.
    pub refusals: Vec<Refusal>,
    /// How the text was read, where that may matter.
    pub notes: Vec<String>,
    /// Lines that mean nothing here, a few of them, shortened.
    pub unknown: Vec<String>,
}

/// Reads what a loader printed.  Of more than [`MOST_BYTES`] the tail is read.
pub fn read(bytes: Vec<u8>) -> Reading {
    let size = bytes.len() as u64;
    read_tail(bytes, size)
}

/// Reads the last bytes of a text that has `size` bytes.
pub fn read_tail(bytes: Vec<u8>, size: u64) -> Reading {
    let (text, cut) = decode::text_of(bytes);
    let cut = cut || size > MOST_BYTES as u64;
    let mut text = clean::undo(text);
    if !text.contains('\n') && text.contains('\r') {
        text = text.replace('\r', "\n");
    }
    let ends = text.lines().take(20_000).chain(text.lines().rev().take(20_000));
    let learnt: Vec<Cow<'_, str>> =
        ends.map(|l| clean::line(l)).filter(|l| l.len() < 4096).collect();
    let frame = Frame::learn(learnt.iter().map(|l| l.as_ref()));
    drop(learnt);
    let mut splitter = Splitter::default();
    for line in text.lines() {
        one(&mut splitter, &frame, &clean::line(line), 0);
    }
    drop(text);
    let split = splitter.finish();
    let mut notes = Vec::new();
    if cut {
        notes.push(format!("the input has {size} bytes; its last {MOST_BYTES} were read"));
    }
    Reading { programs: split.programs, refusals: split.refusals, notes, unknown: split.unknown }
}

/// One physical line, which may hold several.
fn one(splitter: &mut Splitter, frame: &Frame, line: &str, depth: usize) {
    const DEEPEST: usize = 3;
    const LONG: usize = 160;
    let (rest, prefix) = frame.strip(line);
    if let Some(quote @ ('"' | '\'' | '`')) = prefix.chars().next_back() {
        let inner = embedded::plain(quoted(rest, quote));
        for l in inner.lines() {
            let l = clean::line(l);
            if l.contains('\\') && depth < DEEPEST {
                one(splitter, &Frame::default(), &l, depth + 1);
            } else {
                splitter.feed(&l);
            }
        }
        return;
    }
    let twice = || rest.split(": (").nth(2).is_some();
    let several = rest.len() > LONG || rest.contains('\\') || has_foreign_end(rest) || twice();
    let source = rest.trim_start().starts_with(';') && !rest.contains(": (");
    if several && !source && depth < DEEPEST {
        if let Some(lines) = embedded::expand(rest) {
            let lines: Vec<Cow<'_, str>> = lines.iter().map(|l| clean::line(l)).collect();
            // Strings may be in a frame of their own.
            let inner = Frame::learn(lines.iter().map(|l| l.as_ref()));
            for l in &lines {
                one(splitter, &inner, l, depth + 1);
            }
            return;
        }
    }
    splitter.feed(rest);
}

fn has_foreign_end(line: &str) -> bool {
    line.contains("#012") || line.contains("%0A") || line.contains("^J") || !line.is_ascii()
}

/// A string's content up to its closing quote.
fn quoted(rest: &str, quote: char) -> &str {
    let mut escaped = false;
    for (i, c) in rest.char_indices() {
        if escaped {
            escaped = false;
        } else if c == '\\' {
            escaped = true;
        } else if c == quote && closes(&rest[i + 1..]) {
            return &rest[..i];
        }
    }
    rest
}

/// True if what follows a quote is not more of the string.
fn closes(after: &str) -> bool {
    after.is_empty() || after.starts_with([',', '}', ']', ')', ' '])
}
