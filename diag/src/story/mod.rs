//! A rejection told: which line, how the value came to be, what was needed and known, what to change.
//!
//! Works on the log's words alone.  The path is walked backwards from the rejecting instruction
//! (`trace`, `lineage`); what is not in the log is not told.

mod calls;
mod cause;
mod class;
mod fix;
mod imprecise;
mod insn;
mod lineage;
mod names;
mod needs;
mod operand;
#[cfg(test)]
mod tests;
mod trace;
mod value;

pub use class::{class_of, Class};
pub use fix::{assigned, assigned_at, bytes, called, loaders};
pub use lineage::What;
pub use names::{Field, Names, Unknown};
pub use operand::number_after;
pub use trace::{path, PathLine};
pub use value::Value;

use crate::explain::{block, by_name, line, Category, Code};
use crate::read::{code_of_errno, Program, Report};
use lineage::{Event, Place};
use trace::Trace;

/// How a log ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    Rejected,
    /// The statistics follow without a message.
    Accepted,
    /// The log ends before the verdict.
    Cut,
}

/// What one program's log says.
#[derive(Clone, Debug)]
pub struct Story {
    pub program: Option<String>,
    pub outcome: Outcome,
    /// The verifier's last words, in order; empty if it said none.
    pub message: Vec<String>,
    pub code: Option<&'static Code>,
    /// The rejecting instruction.
    pub at: Option<Step>,
    /// The register at fault (`R2`).
    pub register: Option<String>,
    /// Where its value came from, oldest first; ends before `at`.
    pub lineage: Vec<Step>,
    /// The number that was added to it last, and where that came from.
    pub added: Option<(String, Vec<Step>)>,
    /// The instruction where the program went wrong.
    pub cause: Option<Step>,
    pub class: Option<Class>,
    /// The evidence for the class.
    pub why_class: Option<String>,
    pub needs: Option<String>,
    pub knows: Option<String>,
    /// The variable whose value leads outside, what it is multiplied by, and what is added besides.
    pub number: Option<String>,
    pub scale: Option<u64>,
    pub constant: Option<i64>,
    /// The variable in the register at fault, where debug information names it.
    pub variable: Option<String>,
    /// A size is passed beside the pointer at fault.
    pub has_size: bool,
    /// The least offset that the pointer at fault may have.
    pub least: Option<i64>,
    /// What a kernel function keeps in the stack bytes at fault: `dynptr`, `iterator`.
    pub slot: Option<String>,
    /// The message is the loader's, not the verifier's.
    pub is_loaders: bool,
    /// What to change, in terms of this program.
    pub fix: Option<String>,
    /// 7.3's own report.
    pub report: Option<Report>,
}

/// One instruction of the failing path.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Step {
    pub insn: u32,
    pub frame: u8,
    pub what: Option<What>,
    /// `(79) r1 = *(u64 *)(r6 +0)`.
    pub text: String,
    /// Where the value stands (`R6`, `fp-8`), and what is known of it after the instruction.
    pub place: Option<String>,
    pub value: Option<String>,
    /// How often it happened on the path.
    pub times: u32,
    pub source: Option<Source>,
}

/// A source line as the log prints it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Source {
    pub text: String,
    pub file: Option<String>,
    pub line: Option<u32>,
}

impl Source {
    /// Reads `x = 1; @ prog.c:12`.
    pub fn parse(text: &str) -> Source {
        let plain = Source { text: text.trim().to_string(), file: None, line: None };
        let parts = text.strip_prefix("@ ").map(|place| ("", place));
        let Some((code, place)) = parts.or_else(|| text.rsplit_once(" @ ")) else { return plain };
        let Some((file, line)) = place.rsplit_once(':') else { return plain };
        match line.trim().parse() {
            Ok(n) => Source {
                text: code.trim().to_string(),
                file: Some(file.to_string()),
                line: Some(n).filter(|n| *n > 0),
            },
            Err(_) => plain,
        }
    }
}

impl Story {
    /// Tells one program's log.
    pub fn of(program: &Program) -> Story {
        Story::named(program, &Unknown)
    }

    /// Tells one program's log in the terms of the program it is about.
    pub fn named(program: &Program, names: &dyn Names) -> Story {
        let trace = Trace::new(&program.text);
        let mut story = Story::empty(program);
        story.code = code_of(program);
        story.loaders_words(program);
        if let (true, Some(refused)) = (story.is_loaders, &program.refused) {
            story.code = refused.code.and_then(by_name);
        }
        story.outcome = match () {
            () if !story.message.is_empty() || story.report.is_some() => Outcome::Rejected,
            () if program.is_cut() => Outcome::Cut,
            () if program.is_accepted() => Outcome::Accepted,
            () => Outcome::Rejected,
        };
        if story.outcome == Outcome::Rejected {
            story.tell(&trace, names);
            story.fix = fix::of(&story);
        }
        story
    }

    fn empty(program: &Program) -> Story {
        Story {
            program: program.name.clone(),
            outcome: Outcome::Rejected,
            message: program.message.clone(),
            code: None,
            at: None,
            register: None,
            lineage: Vec::new(),
            added: None,
            cause: None,
            class: None,
            why_class: None,
            needs: None,
            knows: None,
            number: None,
            scale: None,
            constant: None,
            variable: None,
            has_size: true,
            least: None,
            slot: None,
            is_loaders: false,
            fix: None,
            report: program.report.clone(),
        }
    }

    pub fn is_rejection(&self) -> bool {
        self.outcome == Outcome::Rejected
    }

    /// Number of the rejecting instruction.
    pub fn insn(&self) -> Option<u32> {
        self.at.as_ref().map(|s| s.insn)
    }

    /// Visits every step, for whoever knows more of the program than its log says.
    pub fn each_step(&mut self, mut see: impl FnMut(&mut Step)) {
        let added = self.added.iter_mut().flat_map(|(_, steps)| steps);
        let steps = self.lineage.iter_mut().chain(added);
        self.at.iter_mut().chain(self.cause.iter_mut()).chain(steps).for_each(&mut see);
        self.fix = fix::of(self);
    }

    /// Where the loader says why, and nothing said is the verifier's, its words are the message.
    fn loaders_words(&mut self, program: &Program) {
        let Some(refusal) = program.refused.as_ref().filter(|r| r.code.is_some()) else { return };
        // What is taken for the verifier's may stand in the loader's own line.
        let is_own = matches!(&program.message[..], [one] if refusal.text.contains(one.as_str()));
        if is_own
            || block(program.message.iter().map(String::as_str))
                .is_none_or(|c| c.category() == Category::Load)
        {
            self.message = vec![refusal.text.clone()];
            self.is_loaders =
                line(&refusal.text).is_none_or(|(c, _)| c.category() == Category::Load);
        }
    }

    fn tell(&mut self, trace: &Trace<'_>, names: &dyn Names) {
        let end = trace.len().checked_sub(1);
        let named = cause::named_insn(&self.message);
        // What is still held at an exit is in no register.
        let is_leak = self.code.is_some_and(|c| c.name == "lifetime-leak");
        let at = match named {
            // Messages about the program's shape name their instruction.
            Some(insn) if end.is_none_or(|e| trace.insn(e) != Some(insn)) => {
                let near = end.filter(|e| trace.insn(*e).is_some_and(|n| n.abs_diff(insn) <= 2));
                let source = near.and_then(|e| step(trace, e, None).source);
                self.at = Some(Step { source, ..Step::at(insn) });
                None
            }
            _ => end,
        };
        let Some(at) = at else {
            let acquired = self.message.iter().find_map(|l| number_after(l, "alloc_insn="));
            let acquired = acquired.filter(|_| is_leak).and_then(|n| u32::try_from(n).ok());
            self.cause = self.at.clone().or(acquired.map(Step::at));
            class::decide(self, trace, &[], &[], None);
            return;
        };
        self.at = Some(step(trace, at, None));
        let no_value = self.code.is_some_and(|c| c.category() == Category::Context);
        let register = operand::guilty(trace, at, &self.message).filter(|_| !is_leak && !no_value);
        let frame = trace.frame(at);
        let scalar = cause::takes_for_scalar(&self.message);
        let events = register
            .map_or(Vec::new(), |r| lineage::follow(trace, at, Place::Reg(frame, r), scalar));
        let added = cause::added(trace, at, register, &events);
        let added_events =
            added.map_or(Vec::new(), |(i, place)| lineage::follow(trace, i, place, false));
        let scene = needs::Scene {
            trace,
            at,
            register,
            events: &events,
            added: &added_events,
            added_at: added.map(|(i, _)| i),
            names,
        };
        self.register = register.map(|r| format!("R{r}"));
        self.lineage = events.iter().map(|e| step(trace, e.at, Some(e))).collect();
        self.added = added.map(|(_, place)| {
            (place.name(), added_events.iter().map(|e| step(trace, e.at, Some(e))).collect())
        });
        let found = cause::find(self.code, &self.message, trace, at, &events, &added_events);
        self.cause = Some(match found {
            cause::Cause::At(i) => step(trace, i, None),
            cause::Cause::Insn(n) => cause::step_of(trace, n).unwrap_or_else(|| Step::at(n)),
        });
        needs::measure(self, &scene);
        class::decide(self, trace, &events, &added_events, Some(at));
    }
}

fn code_of(program: &Program) -> Option<&'static Code> {
    let by_message = block(program.message.iter().map(String::as_str));
    let by_report = || program.report.as_ref().and_then(cause::code_of_report);
    let by_loader = || {
        let refusal = program.refused.as_ref()?;
        by_name(refusal.code.unwrap_or_else(|| code_of_errno(&refusal.text)))
    };
    let said = program.refused.as_ref().is_some_and(|r| r.code.is_some());
    by_message
        .or_else(by_report)
        .or_else(|| (program.message.is_empty() || said).then(by_loader).flatten())
}

impl Step {
    /// An instruction known by its number only.
    pub fn at(insn: u32) -> Step {
        Step {
            insn,
            frame: 0,
            what: None,
            text: String::new(),
            place: None,
            value: None,
            times: 1,
            source: None,
        }
    }
}

fn step(trace: &Trace<'_>, at: usize, event: Option<&Event>) -> Step {
    let line = trace.line(at);
    let place = event.map(|e| e.place.name());
    Step {
        insn: line.insn.unwrap_or(0),
        frame: trace.frame(at),
        what: event.map(|e| e.what),
        text: line.insn_text.unwrap_or("").to_string(),
        value: place.as_ref().and_then(|p| trace.value_at(at, p)),
        place,
        times: event.map_or(1, |e| e.times),
        source: trace.source(at).map(Source::parse).filter(|s| !s.text.is_empty()),
    }
}
