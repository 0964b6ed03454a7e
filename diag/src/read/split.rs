//! From lines to programs.

use super::loader::{self, Refusal, Said};
use super::report::{Reader, Report, HEADER};
use super::{anchor, embedded, frame};
use crate::explain;
use crate::log::{Kind, Line};

/// What one program's log says, in the kernel's own lines.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Program {
    /// Where the text around the log tells it.
    pub name: Option<String>,
    /// Instructions, states, sources and paths as the kernel prints them; then the message.
    pub text: String,
    /// The verifier's last words.
    pub message: Vec<String>,
    /// The loader says that it was refused.
    pub refused: Option<Refusal>,
    /// 7.3's own report.
    pub report: Option<Report>,
    /// The statistics stand at its end.
    pub has_statistics: bool,
    /// Instructions in it.
    pub instructions: usize,
}

impl Program {
    /// True if the log ends before the verdict.
    pub fn is_cut(&self) -> bool {
        self.message.is_empty() && !self.has_statistics && self.instructions > 0
    }

    /// True if the statistics follow without a message, and no loader complains.
    pub fn is_accepted(&self) -> bool {
        self.message.is_empty() && self.has_statistics && self.refused.is_none()
    }
}

/// Lines kept that may be the message.
const TAIL: usize = 64;
/// Lines shown of what nobody knows.
const SHOWN: usize = 12;
const LONGEST: usize = 400;
/// Messages in a row that were taken for one block.
const BLOCK: usize = 12;

/// Lines that the verifier prints on its way, after which it goes on.
const ON_THE_WAY: &[&str] = &[
    "caller:",
    "callee:",
    "returning from callee:",
    "to caller at ",
    "Validating ",
    "marking pointer arg",
    "propagating ",
    "parent ",
    "regs=",
    "last_idx ",
    "BPF program is too large. Processed",
];

#[derive(Default)]
pub struct Splitter {
    done: Vec<Program>,
    program: Program,
    /// What may be the message, oldest first.
    tail: Vec<String>,
    report: Option<Reader>,
    next_name: Option<String>,
    refusals: Vec<(usize, Refusal)>,
    unknown: Vec<String>,
    ended: bool,
    /// The end of a loader's line, which may go on below.
    open: Option<String>,
}

/// What a text holds.
#[derive(Default, Debug)]
pub struct Split {
    pub programs: Vec<Program>,
    /// Refusals of the loader that belong to no program with a log.
    pub refusals: Vec<Refusal>,
    pub unknown: Vec<String>,
}

impl Splitter {
    /// Takes one clean line without what stood in front of it.
    pub fn feed(&mut self, line: &str) {
        let text = line.trim_start();
        if self.report.as_mut().is_some_and(|r| !is_mark(text) && r.take(line)) {
            return;
        }
        self.end_report();
        if text.is_empty() {
            return;
        }
        if self.kernels(text) {
            return;
        }
        let bare = frame::strip_marks(text);
        if bare.len() < text.len() && self.kernels(bare) {
            return;
        }
        if let Some(at) = anchor::start(text) {
            if at > 0 && self.kernels(&text[at..]) {
                self.outside(&text[..at]);
                return;
            }
        }
        self.words(text, bare);
    }

    /// A line of the verifier's by its form; false if it is none.
    fn kernels(&mut self, text: &str) -> bool {
        if text.starts_with(HEADER) {
            self.report = Some(Reader::new(text));
            return true;
        }
        let state = anchor::register_state(text.as_bytes()) || is_frame(text);
        let line = Line::classify(text);
        let kind = if state { Kind::State } else { line.kind };
        match kind {
            Kind::Message => return false,
            Kind::Blank | Kind::Scc | Kind::StackLiveness | Kind::LiveHeading | Kind::LiveRegs => {}
            Kind::Propagating | Kind::MarkPrecise => {}
            Kind::VerificationTime | Kind::StackDepth | Kind::SubprogStats => {}
            Kind::Processed => return self.statistics(text),
            Kind::Func => {
                if self.program.instructions > 0 {
                    self.end();
                }
            }
            Kind::Insn => self.instruction(text),
            // The two states of an endless loop stand behind its message.
            Kind::State if text.starts_with("cur state:") || text.starts_with("old state:") => {}
            Kind::State => {
                let first = line.insn == Some(0) && text.contains("R10=fp");
                if first && self.program.instructions > 0 {
                    self.end();
                }
                self.start();
                self.tail.clear();
                if state {
                    self.program.text.push(' ');
                }
                self.push(text);
            }
            Kind::Source | Kind::FromTo | Kind::Safe => {
                if kind != Kind::Source {
                    self.tail.clear();
                }
                self.start();
                self.push(text);
            }
        }
        true
    }

    fn instruction(&mut self, text: &str) {
        self.start();
        self.tail.clear();
        self.push(embedded::without_count(text));
        self.program.instructions += 1;
    }

    fn statistics(&mut self, text: &str) -> bool {
        if anchor::statistics(text) != Some(0) {
            return false;
        }
        if self.ended && self.tail.is_empty() && self.program.instructions == 0 {
            return true;
        }
        self.program.has_statistics = true;
        self.settle();
        // Behind `"` and the like another program may stand on the same line.
        self.push(text.trim_end_matches(['"', '}', '\'']));
        self.end();
        true
    }

    /// Words in no form: the verifier's, the loader's, or nobody's.
    fn words(&mut self, text: &str, bare: &str) {
        match loader::said(bare) {
            Said::Begin(name) => {
                self.end();
                self.next_name = name.or(self.next_name.take());
                self.ended = false;
                return;
            }
            Said::End => return self.end(),
            Said::Refusal(refusal) => return self.refusal(refusal, bare),
            Said::Nothing => {}
        }
        if let Some(open) = self.open.take() {
            let whole = format!("{open} {}", message_text(bare));
            if explain::weight_of(&whole).is_some_and(|w| w > 12) {
                self.start();
                self.tail.push(whole);
                return;
            }
        }
        if ON_THE_WAY.iter().any(|w| bare.starts_with(w)) || bare.ends_with(SAFE) {
            self.start();
            self.push(bare);
            if !bare.starts_with("BPF program is") {
                return;
            }
        }
        self.ended &= explain::weight_of(message_text(bare)).is_none();
        if self.ended {
            self.outside(text);
            return;
        }
        if self.tail.len() == TAIL {
            self.tail.remove(0);
        }
        self.tail.push(clip(bare, 4 * LONGEST));
    }

    fn refusal(&mut self, refusal: Refusal, line: &str) {
        // A loader may quote the verifier behind its own words.
        let quoted = embedded::words_at(message_text(line), 1).map(|at| line[at..].to_string());
        if let Some(name) = &refusal.name {
            self.next_name = Some(name.clone());
        }
        let open = self.program.instructions > 0 || !self.tail.is_empty();
        let at = self.done.len() + usize::from(open && !self.ended);
        self.refusals.push((at, refusal));
        self.open = line.rsplit_once(": ").map(|(_, end)| end.trim().to_string());
        if let Some(words) = quoted {
            self.start();
            self.tail.push(words);
        }
    }

    fn start(&mut self) {
        self.ended = false;
    }

    fn outside(&mut self, text: &str) {
        if let Said::Refusal(r) = loader::said(frame::strip_marks(text)) {
            let name = r.name.clone();
            self.refusals.push((self.done.len(), r));
            self.next_name = name.or(self.next_name.take());
        } else if self.unknown.len() < SHOWN {
            self.unknown.push(clip(text, LONGEST));
        }
    }

    fn push(&mut self, text: &str) {
        self.program.text.push_str(text);
        self.program.text.push('\n');
    }

    fn end_report(&mut self) {
        if let Some(reader) = self.report.take() {
            self.program.report = Some(reader.finish());
        }
    }

    /// Decides what of the tail is the message.
    fn settle(&mut self) {
        let tail = std::mem::take(&mut self.tail);
        let mut message = known_in(&tail);
        if message.is_empty() {
            message.extend(self.words_behind_instruction());
        }
        if message.is_empty() && self.program.has_statistics {
            message = tail.iter().rev().take(BLOCK).rev().map(|l| clip(l, LONGEST)).collect();
        } else if message.is_empty() {
            let room = SHOWN.saturating_sub(self.unknown.len());
            self.unknown.extend(tail.iter().rev().take(room).rev().map(|l| clip(l, LONGEST)));
        }
        for line in &message {
            self.program.text.push_str(line);
            self.program.text.push('\n');
        }
        self.program.message = message;
    }

    /// A message on the last instruction's own line, taken off it.
    fn words_behind_instruction(&mut self) -> Option<String> {
        let text = &self.program.text;
        let from = text.trim_end().rfind('\n').map_or(0, |i| i + 1);
        let mut lines = embedded::instruction_and_words(text[from..].trim_end()).into_iter();
        let (first, words) = (lines.next()?, lines.next()?);
        self.program.text.truncate(from);
        self.push(&first);
        Some(words)
    }

    fn end(&mut self) {
        self.end_report();
        if !self.program.has_statistics {
            self.settle();
        }
        self.ended = true;
        let empty = self.program.instructions == 0
            && self.program.message.is_empty()
            && self.program.report.is_none()
            && !self.program.has_statistics;
        let mut program = std::mem::take(&mut self.program);
        if empty {
            return;
        }
        program.name = self.next_name.take();
        self.done.push(program);
    }

    pub fn finish(mut self) -> Split {
        let waiting = self.next_name.clone();
        self.end();
        let mut split = Split { unknown: self.unknown, ..Split::default() };
        // Names and refusals that stand behind a log.
        if let (Some(last), Some(name)) = (self.done.last_mut(), waiting) {
            last.name.get_or_insert(name);
        }
        for (at, refusal) in self.refusals {
            match owner(&self.done, at, &refusal) {
                Some(i) => {
                    let program = &mut self.done[i];
                    if program.name.is_none() {
                        program.name.clone_from(&refusal.name);
                    }
                    if program.refused.as_ref().is_none_or(|r| r.code.is_none()) {
                        program.refused = Some(refusal);
                    }
                }
                None => split.refusals.push(refusal),
            }
        }
        split.programs = attempts_joined(self.done);
        split
    }
}

const SAFE: &str = " is safe for any args that match its prototype";

/// The program that a refusal which stands before log `at` is about.
fn owner(done: &[Program], at: usize, refusal: &Refusal) -> Option<usize> {
    if let Some(name) = &refusal.name {
        let same = |p: &Program| p.name.as_ref() == Some(name);
        if let Some(i) = done.iter().position(same) {
            return Some(i);
        }
        if done.iter().any(|p| p.name.is_some()) {
            return None;
        }
    }
    if done.is_empty() {
        return None;
    }
    Some(at.min(done.len() - 1))
}

/// Loaders try again with a log, or with a larger buffer: the last attempt that says most counts.
fn attempts_joined(programs: Vec<Program>) -> Vec<Program> {
    let mut joined: Vec<Program> = Vec::new();
    for p in programs {
        let same = joined.last().is_some_and(|l| {
            (l.name.is_some() && l.name == p.name)
                || ((l.name == p.name || p.name.is_none() && p.instructions == 0)
                    && l.message == p.message
                    && !p.message.is_empty()
                    && (l.instructions == 0 || p.instructions == 0 || l.text == p.text))
        });
        match joined.last_mut() {
            Some(last) if same => {
                let more = (!p.message.is_empty(), p.instructions)
                    >= (!last.message.is_empty(), last.instructions);
                let refused = last.refused.take().or(p.refused.clone());
                if more {
                    *last = p;
                }
                last.refused = refused;
            }
            _ => joined.push(p),
        }
    }
    joined
}

/// The last run of known messages.
fn known_in(tail: &[String]) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    let mut i = tail.len();
    let mut gap = 0;
    while i > 0 && found.len() < BLOCK && gap < 3 {
        i -= 1;
        match known(tail, i) {
            Some(words) => {
                found.push(words);
                gap = 0;
            }
            // Text between two messages belongs to neither; a few lines do not part them.
            None if found.is_empty() => {}
            None => gap += 1,
        }
    }
    found.reverse();
    found
}

fn known(tail: &[String], i: usize) -> Option<String> {
    let text = message_text(&tail[i]);
    if explain::weight_of(text).is_some() {
        return Some(text.to_string());
    }
    // Mail programs break lines.
    if let Some(next) = tail.get(i + 1).filter(|n| n.len() < 120 && text.len() > 30) {
        let whole = format!("{text} {}", message_text(next));
        if explain::weight_of(&whole).is_some_and(|w| w > 12) {
            return Some(whole);
        }
    }
    let short = text.len() < 600;
    short.then(|| embedded::words_at(text, 1).map(|at| text[at..].to_string())).flatten()
}

/// The message without what loaders and strings put behind it.
fn message_text(text: &str) -> &str {
    let text = embedded::without_count(text.trim());
    if explain::weight_of(text).is_some() {
        return text;
    }
    let bare = text.trim_end_matches(['"', '}', ']', ',', '`', ')']).trim_end();
    if explain::weight_of(bare).is_some() {
        return bare;
    }
    let bare = bare.trim_end_matches(['\'', '.', ';', '\\']);
    if explain::weight_of(bare).is_some() {
        return bare;
    }
    text
}

fn is_mark(text: &str) -> bool {
    matches!(loader::said(text), Said::Begin(_) | Said::End)
}

fn is_frame(text: &str) -> bool {
    let Some(rest) = text.strip_prefix("frame") else { return false };
    rest.split_once(": ").is_some_and(|(n, s)| {
        n.len() == 1
            && n.bytes().all(|b| b.is_ascii_digit())
            && anchor::register_state(s.as_bytes())
    })
}

fn clip(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.to_string(),
    }
}
