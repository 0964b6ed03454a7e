//! A kernel's log taken apart for a reader: what it says in the end, where, and how the register
//! at fault came to hold what it holds.
//!
//! Takes any text around the log: libbpf's frame, a loader's indentation, several programs.

use super::{block, Code};
use crate::log::{message_lines, Kind, Line, Lines, State};

/// What one program's log says.
#[derive(Clone, Debug, Default)]
pub struct Explained {
    /// The program's name where the text around the log tells it.
    pub program: Option<String>,
    /// The kernel's last words, in order; empty if it accepted, or refused without a word.
    pub lines: Vec<String>,
    pub code: Option<&'static Code>,
    /// The instruction the verifier was at.
    pub at: Option<Step>,
    /// Which register the message names (`R3`).
    pub register: Option<String>,
    /// Where that register's value came from, oldest first; ends before `at`.
    pub history: Vec<Step>,
    /// A register that was added to it last, and where that one's value came from.
    pub added: Option<(String, Vec<Step>)>,
}

/// One instruction of the failing path.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Step {
    pub insn: u32,
    /// `(79) r1 = *(u64 *)(r6 +0)`.
    pub text: String,
    /// What is known of the register after it (`map_value(...)`), where the log says.
    pub value: Option<String>,
    /// `return x; @ prog.c:12`.
    pub source: Option<String>,
}

/// Last words about a function verified on its own and found good.
const SAFE: &str = " is safe for any args that match its prototype";
/// Longest lineage shown.
const MAX_STEPS: usize = 12;
/// Most lines looked at backwards for it.
const MAX_BACK: usize = 100_000;

impl Explained {
    /// Reads one program's log.
    pub fn of(log: &str) -> Explained {
        let lines: Vec<Line<'_>> = Lines::new(log).collect();
        // A rejection's words stand last; what the verifier says on the way is followed by more of it.
        let goes_on = |l: &Line<'_>| {
            matches!(l.kind, Kind::Insn | Kind::FromTo | Kind::Safe | Kind::MarkPrecise)
        };
        let is_last = !lines[last_message(&lines)..].iter().any(goes_on);
        let mut words: Vec<&str> = if is_last { message_lines(log) } else { Vec::new() };
        if words.last().is_some_and(|w| w.ends_with(SAFE)) {
            words.clear();
        }
        let code = block(words.iter().copied());
        let end = last_message(&lines);
        let at = lines[..end].iter().rposition(|l| l.kind == Kind::Insn);
        // The line that names a register is nearest to the cause when it stands last.
        let register = words.iter().rev().find_map(|w| register_in(w));
        let place = |r: &str| Place::Register(r.replace('R', "r"));
        let (history, added) = match (&register, at) {
            (Some(r), Some(at)) => lineage(&lines, at, place(r)),
            _ => (Vec::new(), None),
        };
        let added = added.map(|(i, r)| {
            let (steps, _) = lineage(&lines, i, Place::Register(r.clone()));
            (r.replace('r', "R"), steps)
        });
        Explained {
            program: None,
            lines: words.into_iter().map(str::to_string).collect(),
            code,
            at: at.map(|i| step(&lines, i, None)),
            register,
            history,
            added,
        }
    }
}

/// The logs in a text, with the programs' names: what stands between libbpf's markers, or all of it.
pub fn logs_in(text: &str) -> Vec<(Option<String>, String)> {
    const BEGIN: &str = "-- BEGIN PROG LOAD LOG --";
    const END: &str = "-- END PROG LOAD LOG --";
    if let Some(split) = by_heading(text) {
        return split;
    }
    let clean = |l: &str| l.trim_end_matches('\r').trim_start_matches('\t').to_string();
    if !text.contains(BEGIN) {
        return vec![(None, text.lines().map(clean).collect::<Vec<_>>().join("\n"))];
    }
    let mut logs: Vec<(Option<String>, String)> = Vec::new();
    let mut inside = false;
    for line in text.lines() {
        if line.contains(BEGIN) {
            inside = true;
            logs.push((program_in(line), String::new()));
        } else if line.contains(END) {
            inside = false;
        } else if let (true, Some((_, log))) = (inside, logs.last_mut()) {
            log.push_str(&clean(line));
            log.push('\n');
        }
    }
    logs
}

/// Logs below headings `== NAME`, as `bpfassay check --log-level` and `record` write them.
fn by_heading(text: &str) -> Option<Vec<(Option<String>, String)>> {
    let name = |l: &str| {
        let rest = l.strip_prefix("==")?;
        rest.trim_start_matches('=').strip_prefix(' ').map(str::to_string)
    };
    text.lines().next().and_then(name)?;
    let mut logs: Vec<(Option<String>, String)> = Vec::new();
    for line in text.lines() {
        match (name(line), logs.last_mut()) {
            (Some(program), _) => logs.push((Some(program), String::new())),
            (None, Some((_, log))) => {
                log.push_str(line);
                log.push('\n');
            }
            (None, None) => {}
        }
    }
    Some(logs)
}

/// `NAME` of `libbpf: prog 'NAME': -- BEGIN …`.
fn program_in(line: &str) -> Option<String> {
    let (_, rest) = line.split_once("prog '")?;
    rest.split_once('\'').map(|(name, _)| name.to_string())
}

/// One past the last message line.
fn last_message(lines: &[Line<'_>]) -> usize {
    lines.iter().rposition(Line::is_message).map_or(lines.len(), |i| i + 1)
}

/// The register a message is about: `R6 …`, or `… stack R6 …`.
fn register_in(message: &str) -> Option<String> {
    let words = message.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let is_register = |w: &&str| {
        w.strip_prefix('R').is_some_and(|n| n.parse::<u8>().is_ok_and(|n| n <= 10) && n.len() <= 2)
    };
    words.into_iter().find(is_register).map(str::to_string)
}

fn step(lines: &[Line<'_>], i: usize, register: Option<&str>) -> Step {
    let line = lines[i];
    let source = lines[..i].iter().rev().take(64).find(|l| l.kind == Kind::Source);
    // After a jump back in the log a source line may belong to another instruction; the nearest
    // one above is the kernel's own convention.
    Step {
        insn: line.insn.unwrap_or(0),
        text: line.insn_text.unwrap_or("").to_string(),
        value: register.and_then(|r| value_of(line, r)),
        source: source.map(|l| l.text.trim_start_matches("; ").to_string()),
    }
}

/// What a line's state says of a register (`R6_w=…` of older kernels too).
fn value_of(line: Line<'_>, register: &str) -> Option<String> {
    let state = State::parse(line.state?);
    let named = |name: &str| {
        name.strip_prefix(register).is_some_and(|r| r.is_empty() || r.starts_with('_'))
    };
    state.entries.iter().find(|e| named(e.name)).map(|e| e.value.to_string())
}

/// What the value is followed through: a register, or a stack slot it was saved in.
#[derive(Clone, PartialEq, Eq)]
enum Place {
    Register(String),
    Slot(String),
}

/// The instructions that made the register what it is, backwards along the failing path; and the
/// last register that was added on the way, with the line.
fn lineage(
    lines: &[Line<'_>],
    at: usize,
    mut place: Place,
) -> (Vec<Step>, Option<(usize, String)>) {
    let mut steps = Vec::new();
    let mut added = None;
    let mut i = at;
    let mut budget = MAX_BACK;
    while i > 0 && budget > 0 && steps.len() < MAX_STEPS {
        i -= 1;
        budget -= 1;
        let line = lines[i];
        if line.kind == Kind::FromTo {
            // The path came from there: what stands between belongs to other paths.
            match from_of(line.text).and_then(|from| parent(lines, i, from)) {
                Some(p) => i = p + 1,
                None => break,
            }
            continue;
        }
        if line.text.starts_with("Validating ") {
            // A function verified on its own starts here, from its prototype.
            break;
        }
        if line.kind != Kind::Insn {
            continue;
        }
        let Some(text) = line.insn_text else { continue };
        match effect(text, &place) {
            Effect::None => {}
            Effect::Compared => steps.push(made(lines, i, &place)),
            Effect::Changed => {
                steps.push(made(lines, i, &place));
                let operand = text.rsplit(' ').next().and_then(self::register);
                if let (None, Some(r), true) = (&added, operand, text.contains("+= ")) {
                    added = Some((i, r));
                }
            }
            Effect::From(next) => {
                steps.push(made(lines, i, &place));
                place = next;
            }
            Effect::Origin => {
                steps.push(made(lines, i, &place));
                break;
            }
        }
    }
    steps.reverse();
    (steps, added)
}

fn made(lines: &[Line<'_>], i: usize, place: &Place) -> Step {
    match place {
        Place::Register(r) => step(lines, i, Some(&r.replace('r', "R"))),
        Place::Slot(_) => step(lines, i, None),
    }
}

/// A of `from A to B: …`.
fn from_of(text: &str) -> Option<u32> {
    text.strip_prefix("from ")?.split_once(' ')?.0.parse().ok()
}

/// The nearest line above that is instruction `insn`.
fn parent(lines: &[Line<'_>], before: usize, insn: u32) -> Option<usize> {
    let above = lines.get(..before)?;
    above.iter().rposition(|l| l.kind == Kind::Insn && l.insn == Some(insn))
}

enum Effect {
    None,
    /// A branch looked at it.
    Compared,
    /// It was computed from itself.
    Changed,
    /// It was copied from another place.
    From(Place),
    /// It was made here.
    Origin,
}

/// What an instruction's text does to a place.
fn effect(text: &str, place: &Place) -> Effect {
    let Some((_, words)) = text.split_once(") ") else { return Effect::None };
    match place {
        Place::Slot(slot) => match words.split_once(" = ") {
            Some((to, from)) if to == slot => match register(from) {
                Some(r) => Effect::From(Place::Register(r)),
                None => Effect::Origin,
            },
            _ => Effect::None,
        },
        Place::Register(reg) => on_register(words, reg),
    }
}

fn on_register(words: &str, reg: &str) -> Effect {
    if let Some(condition) = words.strip_prefix("if ") {
        let mut names = condition.split(' ');
        let (left, right) = (names.next(), names.nth(1));
        let is = |w: Option<&str>| w.and_then(register).as_deref() == Some(reg);
        return if is(left) || is(right) { Effect::Compared } else { Effect::None };
    }
    if let Some(callee) = words.strip_prefix("call ") {
        // Into a function of the program R1 to R5 go as they are.
        if callee.starts_with("pc") && reg != "r0" {
            return Effect::None;
        }
        let clobbered = matches!(reg, "r0" | "r1" | "r2" | "r3" | "r4" | "r5");
        return if clobbered { Effect::Origin } else { Effect::None };
    }
    let Some((to, rest)) = words.split_once(' ') else { return Effect::None };
    if register(to).as_deref() != Some(reg) {
        return Effect::None;
    }
    let Some(from) = rest.strip_prefix("= ") else { return Effect::Changed };
    if let Some(r) = register(from) {
        return if r == reg { Effect::Changed } else { Effect::From(Place::Register(r)) };
    }
    // A fill from the stack goes back to the spill.
    if from.starts_with('*') && from.contains("(r10 ") {
        return Effect::From(Place::Slot(from.to_string()));
    }
    // `r1 = -r1`, `r1 = be16 r1`.
    let itself = from.ends_with(reg) && !from.contains('(');
    if itself {
        Effect::Changed
    } else {
        Effect::Origin
    }
}

/// `r6` of `r6` and `w6`.
fn register(word: &str) -> Option<String> {
    let n = word.strip_prefix('r').or_else(|| word.strip_prefix('w'))?;
    n.parse::<u8>().ok().filter(|n| *n <= 10).map(|n| format!("r{n}"))
}
