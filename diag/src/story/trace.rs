//! The path that ends at the rejection, with what was known along it.

use super::Source;
use crate::log::{Kind, Line, Lines, State};
use crate::read::Program;

/// One line of the log that matters, by its place in the text.
#[derive(Clone, Copy, Debug)]
struct Row {
    start: u32,
    end: u32,
    insn: u32,
    kind: Kind,
    frame: u8,
}

/// A log, its lines indexed.
pub struct Trace<'a> {
    text: &'a str,
    rows: Vec<Row>,
    /// Rows of the path, in order of execution; the last is the rejecting instruction.
    path: Vec<u32>,
    /// The state that older kernels print where they reject, below the instruction.
    at_end: Option<u32>,
}

/// Most rows of a path.
const LONGEST: usize = 200_000;
/// Most lines indexed, from the end.
const MOST_ROWS: usize = 6_000_000;
const NO_INSN: u32 = u32::MAX;

impl<'a> Trace<'a> {
    pub fn new(text: &'a str) -> Trace<'a> {
        let mut trace = Trace { text, rows: rows(text), path: Vec::new(), at_end: None };
        trace.path = trace.find_path();
        let behind = trace.path.last().map_or(0, |last| *last as usize + 1);
        let state = trace.rows.get(behind).filter(|r| r.kind == Kind::State);
        trace.at_end = state.map(|_| behind as u32);
        trace
    }

    /// Positions of the path: 0 is the oldest, `len() - 1` the rejecting instruction.
    pub fn len(&self) -> usize {
        self.path.len()
    }

    pub fn line(&self, at: usize) -> Line<'a> {
        self.row_line(self.path[at] as usize)
    }

    pub fn frame(&self, at: usize) -> u8 {
        self.rows[self.path[at] as usize].frame
    }

    pub fn is_insn(&self, at: usize) -> bool {
        self.rows[self.path[at] as usize].kind == Kind::Insn
    }

    /// True if a function is verified on its own from here.
    pub fn is_validation(&self, at: usize) -> bool {
        self.rows[self.path[at] as usize].kind == Kind::Message
            && self.line(at).text.starts_with("Validating ")
    }

    pub fn insn(&self, at: usize) -> Option<u32> {
        Some(self.rows[self.path[at] as usize].insn).filter(|i| *i != NO_INSN)
    }

    /// The source line printed above.
    pub fn source(&self, at: usize) -> Option<&'a str> {
        const FAR: usize = 400;
        let row = self.path[at] as usize;
        let above = self.rows[row.saturating_sub(FAR)..row].iter().rev();
        // A jump back in the log ends what a source line stands for.
        let found = above
            .take_while(|r| !matches!(r.kind, Kind::FromTo | Kind::Message))
            .find(|r| r.kind == Kind::Source)?;
        let text =
            self.text[found.start as usize..found.end as usize].trim_start_matches(';').trim();
        (!text.is_empty()).then_some(text)
    }

    /// What is known of a register or slot (`R1`, `fp-8`) of a frame before position `at`.
    pub fn value_before(&self, at: usize, frame: u8, name: &str) -> Option<String> {
        const FAR: usize = 5000;
        let behind = self.at_end.filter(|_| at + 1 == self.len()).map(|row| row as usize);
        if let Some(row) = behind.filter(|r| self.rows[*r].frame == frame) {
            let state = self.row_line(row).state.unwrap_or("");
            if let Some(value) = value_in(state, name) {
                return Some(value);
            }
        }
        for i in (at.saturating_sub(FAR)..at).rev() {
            if self.frame(i) != frame {
                continue;
            }
            if let Some(value) = self.value_at(i, name) {
                return Some(value);
            }
            if self.is_insn(i) && self.writes(i, name) {
                return None;
            }
        }
        None
    }

    /// What the state printed at a position says of it.
    pub fn value_at(&self, at: usize, name: &str) -> Option<String> {
        value_in(self.line(at).state?, name)
    }

    fn writes(&self, at: usize, name: &str) -> bool {
        use super::insn::{register, Op};
        let Some(reg) = register(name) else { return false };
        match self.line(at).insn_text.and_then(Op::parse) {
            Some(Op::Call(_)) => reg <= 5,
            Some(op) => op.written() == Some(reg),
            None => false,
        }
    }

    fn row_line(&self, row: usize) -> Line<'a> {
        let r = self.rows[row];
        classify(&self.text[r.start as usize..r.end as usize])
    }

    /// Walks back from the last instruction; `from A to B` leads to the nearest A above.
    fn find_path(&self) -> Vec<u32> {
        let mut path = Vec::new();
        let Some(last) = self.rows.iter().rposition(|r| r.kind == Kind::Insn) else { return path };
        let mut i = last + 1;
        let mut budget = 4 * LONGEST;
        while i > 0 && path.len() < LONGEST && budget > 0 {
            i -= 1;
            budget -= 1;
            let row = self.rows[i];
            match row.kind {
                Kind::FromTo => {
                    path.push(i as u32);
                    let from = from_of(&self.text[row.start as usize..row.end as usize]);
                    let parent = from.and_then(|from| {
                        let above = self.rows[..i].iter();
                        above.rev().position(|r| r.kind == Kind::Insn && r.insn == from)
                    });
                    match parent {
                        Some(up) => i -= up,
                        None => break,
                    }
                }
                Kind::Insn | Kind::State => path.push(i as u32),
                Kind::Message => {
                    path.push(i as u32);
                    if self.text[row.start as usize..].starts_with("Validating ") {
                        break;
                    }
                }
                _ => {}
            }
        }
        path.reverse();
        path
    }
}

/// One instruction of a path, with what it changed.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct PathLine {
    pub insn: u32,
    pub frame: u8,
    /// `(79) r1 = *(u64 *)(r6 +0)`.
    pub text: String,
    pub source: Option<Source>,
    /// Registers and slots behind it, as far as it changed them: `R1=scalar() fp-8=mmmmmmmm`.
    pub changes: String,
    /// The state it begins with, where one is printed before it.
    pub begins: String,
}

/// The path that ends at a log's rejection.
pub fn path(program: &Program) -> Vec<PathLine> {
    let trace = Trace::new(&program.text);
    let mut begins = String::new();
    let mut sources = Sources::default();
    let mut out = Vec::new();
    for at in 0..trace.len() {
        let line = trace.line(at);
        let state = line.state.map_or("", without_frame);
        if !trace.is_insn(at) {
            begins = state.to_string();
            continue;
        }
        out.push(PathLine {
            insn: line.insn.unwrap_or(0),
            frame: trace.frame(at),
            text: line.insn_text.unwrap_or("").to_string(),
            source: sources.of(&trace, at),
            changes: state.to_string(),
            begins: std::mem::take(&mut begins),
        });
    }
    out
}

/// The source line above each position, without looking far up for every one.
#[derive(Default)]
struct Sources {
    row: usize,
    last: Option<Source>,
}

impl Sources {
    fn of(&mut self, trace: &Trace<'_>, at: usize) -> Option<Source> {
        let row = trace.path[at] as usize;
        if row < self.row {
            self.row = 0;
        }
        for r in &trace.rows[self.row..row] {
            match r.kind {
                Kind::Source => {
                    let text = &trace.text[r.start as usize..r.end as usize];
                    let text = text.trim_start_matches(';').trim();
                    self.last = (!text.is_empty()).then(|| Source::parse(text));
                }
                Kind::FromTo | Kind::Message => self.last = None,
                _ => {}
            }
        }
        self.row = row;
        self.last.clone()
    }
}

/// What a state says of a register or slot.
fn value_in(state: &str, name: &str) -> Option<String> {
    if !state.contains(name) {
        return None;
    }
    let state = State::parse(state);
    let named = |n: &str| n.strip_prefix(name).is_some_and(|r| r.is_empty() || r.starts_with('_'));
    state.entries.iter().find(|e| named(e.name)).map(|e| e.value.to_string())
}

/// `frame1: R0=1` without the frame.
fn without_frame(state: &str) -> &str {
    match state.strip_prefix("frame").and_then(|s| s.split_once(": ")) {
        Some((_, rest)) => rest,
        None => state,
    }
}

/// A bare state may stand without the blank in front of it.
fn classify(text: &str) -> Line<'_> {
    Line::classify(text)
}

/// How lines of backtracking begin up to 6.2.
const BACK: &[&str] = &["regs=", "last_idx ", "parent didn't have ", "parent already had "];

fn rows(text: &str) -> Vec<Row> {
    let mut rows = Vec::new();
    let mut frame = 0u8;
    let base = text.as_ptr() as usize;
    // What is printed on the way back, for precision, are states of long ago.
    let mut is_back = false;
    for line in Lines::new(text) {
        match line.kind {
            Kind::MarkPrecise => is_back = true,
            Kind::Message if BACK.iter().any(|b| line.text.starts_with(b)) => is_back = true,
            Kind::State if is_back && line.insn.is_none() => continue,
            Kind::Insn | Kind::Source | Kind::FromTo => is_back = false,
            _ => {}
        }
        let keep = match line.kind {
            Kind::Insn | Kind::State | Kind::Source | Kind::FromTo | Kind::Safe => true,
            Kind::Message => line.text.starts_with("Validating "),
            _ => false,
        };
        if !keep {
            continue;
        }
        if let Some(state) = line.state.filter(|s| !s.is_empty()) {
            frame = frame_of(state);
        }
        if line.kind == Kind::Message {
            frame = 0;
        }
        let start = line.text.as_ptr() as usize - base;
        rows.push(Row {
            start: start as u32,
            end: (start + line.text.len()) as u32,
            insn: line.insn.unwrap_or(NO_INSN),
            kind: line.kind,
            frame,
        });
    }
    if rows.len() > MOST_ROWS {
        rows.drain(..rows.len() - MOST_ROWS);
    }
    rows
}

fn frame_of(state: &str) -> u8 {
    let Some(rest) = state.strip_prefix("frame") else { return 0 };
    rest.split(':').next().and_then(|n| n.parse().ok()).unwrap_or(0)
}

/// A of `from A to B: …`.
fn from_of(text: &str) -> Option<u32> {
    text.strip_prefix("from ")?.split_once(' ')?.0.parse().ok()
}
