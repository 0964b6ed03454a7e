//! What `run` prints: `bpfassay.run/1`, text, or a histogram over a capture.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use bpfassay_harness::session::{agree, Answer, Run, TrapReport};
use bpfassay_harness::trust::Distrust;
use bpfassay_judge as judge;
use bpfassay_spec::{errno, retval};
use serde_json::{json, Map, Value};

use super::{asks, Args, Format, Said};
use crate::exit::Outcome;
use crate::out;

pub const SCHEMA: &str = "bpfassay.run/1";

impl Said<'_> {
    fn agrees(&self) -> bool {
        agree(&self.answers) && !self.is_split
    }

    fn runs(&self) -> impl Iterator<Item = &Run> {
        self.answers.iter().flat_map(|a| &a.runs)
    }

    /// `XDP_PASS`, where the value has a name.
    fn name(&self, value: u32) -> Option<&'static str> {
        retval::name(self.program?.prog_type, value)
    }

    /// A value as people read it: `2 XDP_PASS`.
    fn named(&self, value: u32) -> String {
        self.name(value).map_or_else(|| value.to_string(), |name| format!("{value} {name}"))
    }

    fn answer(&self, run: &Run) -> String {
        match run.trap {
            Some(_) => run.answer(),
            None => self.named(run.retval()),
        }
    }

    /// Runs that do not return what was expected.
    fn unmet(&self) -> impl Iterator<Item = &Run> {
        let expected = self.expected;
        let is_other = move |r: &&Run| {
            expected.is_some_and(|e| r.trap.is_none() && r.retval() != e)
                || expected.is_some() && r.trap.is_some()
        };
        self.runs().filter(is_other)
    }

    /// Engines whose answers count: those that could run it all, if any could.
    fn counted(&self) -> Vec<&Answer> {
        let could = |a: &&Answer| a.runs.iter().all(|r| r.trap.as_ref().is_none_or(is_an_answer));
        let all: Vec<&Answer> = self.answers.iter().filter(could).collect();
        match all.is_empty() {
            true => self.answers.iter().collect(),
            false => all,
        }
    }

    fn outcome(&self) -> Outcome {
        let counted = self.counted();
        let traps = || counted.iter().flat_map(|a| &a.runs).filter_map(|r| r.trap.as_ref());
        let gaps = traps().any(|t| t.kind == "input" || !t.is_comparable);
        let unmet = self.expected.is_some()
            && self.unmet().any(|r| r.trap.as_ref().is_none_or(is_an_answer));
        let ran = match (self.agrees() && !unmet, gaps, traps().next().is_some()) {
            (false, ..) => Outcome::Rejected,
            (_, true, _) => Outcome::NotJudged,
            (_, _, true) => Outcome::Rejected,
            _ => Outcome::Ok,
        };
        let judged = match self.distrust {
            None | Some(Distrust::NotAsked) => Outcome::Ok,
            Some(Distrust::Rejected { .. }) => Outcome::Rejected,
            Some(Distrust::Unsupported(_) | Distrust::Quirk(_)) => Outcome::NotJudged,
        };
        ran.and(judged)
    }

    /// What the verifier said, as an object.
    fn verdict(&self) -> Value {
        match self.distrust {
            None => json!({"verdict": "accepted"}),
            Some(Distrust::NotAsked) => json!({"verdict": "not-asked"}),
            Some(Distrust::Unsupported(what)) => {
                json!({"verdict": "unsupported", "message": what})
            }
            Some(Distrust::Quirk(name)) => json!({"verdict": "accepted", "quirk": name}),
            Some(Distrust::Rejected { errno, message }) => json!({
                "verdict": "rejected",
                "errno": errno,
                "errno_name": errno::name(*errno),
                "message": message,
            }),
        }
    }

    /// What every document has.
    fn document(&self) -> Map<String, Value> {
        let mut doc = Map::new();
        doc.insert("schema".to_string(), json!(SCHEMA));
        doc.insert("agree".to_string(), json!(self.agrees()));
        doc.insert("verdict".to_string(), self.verdict());
        if let Some(value) = self.expected {
            let is_met = self.unmet().next().is_none();
            let name = self.name(value);
            let expected = json!({"retval": value, "retval_name": name, "met": is_met});
            doc.insert("expected".to_string(), expected);
        }
        doc
    }

    /// Says why something did not run in this process.
    fn note_children(&self) {
        if let Some(why) = self.answers.iter().find_map(|a| a.contained.as_deref()) {
            out::note(format!("bpfassay: {why}; it runs in a child process"));
        }
    }

    fn closing(&self, said: &mut String) {
        if !self.agrees() {
            said.push_str("the engines disagree\n");
        }
        if let (Some(value), Some(run)) = (self.expected, self.unmet().next()) {
            let got = self.answer(run);
            let _ = writeln!(said, "expected {}, got {got} ({})", self.named(value), run.engine);
        }
    }
}

/// False for what only says that an engine cannot.
fn is_an_answer(trap: &TrapReport) -> bool {
    trap.is_comparable
}

/// One run per engine.
pub fn print(s: &Said<'_>, args: &Args) -> Result<Outcome, Outcome> {
    let maps = s.answers.iter().find_map(|a| a.maps.clone());
    s.note_children();
    let outcome = match &args.data_out {
        Some(path) => {
            let bytes = s.runs().next().and_then(|r| r.data_out.as_deref()).unwrap_or_default();
            s.outcome().and(out::file(path, bytes).err().unwrap_or(Outcome::Ok))
        }
        None => s.outcome(),
    };
    Ok(match args.format {
        Format::Json => {
            let mut doc = s.document();
            let runs = s.runs().map(|run| {
                let mut run_json = run.json();
                let name = s.name(run.retval()).filter(|_| run.trap.is_none());
                run_json["retval_name"] = json!(name);
                run_json
            });
            doc.insert("runs".to_string(), runs.collect());
            if let Some(maps) = maps {
                doc.insert("maps".to_string(), maps);
            }
            out::machine(format!("{}\n", Value::Object(doc)).as_bytes(), outcome)
        }
        Format::Answer => {
            out::machine(format!("{}\n", json!(s.answers.first())).as_bytes(), outcome)
        }
        Format::Text => {
            let mut said = String::new();
            for run in s.runs() {
                run_text(&mut said, run, s, args);
            }
            let is_refused =
                |r: &Run| r.trap.as_ref().is_some_and(|t| t.kind == "input" && t.is_comparable);
            let asks = s.program.filter(|_| s.runs().any(is_refused)).and_then(asks::of);
            if let Some(asks) = asks {
                let _ = writeln!(said, "help: {asks}");
            }
            if let Some(maps) = maps {
                let _ = writeln!(said, "{maps:#}");
            }
            s.closing(&mut said);
            out::text(&said, outcome)
        }
    })
}

fn run_text(out: &mut String, run: &Run, s: &Said<'_>, args: &Args) {
    if let Some(trap) = &run.trap {
        let _ = writeln!(out, "{}: {}", run.engine, run.answer());
        let at = trap.insn_idx.and_then(|i| u32::try_from(i).ok());
        if let (Some(program), Some(at)) = (s.program, at) {
            if let Some(text) = judge::insn_text(&program.insns, at) {
                let _ = writeln!(out, "    {at}: {text}");
            }
            if let Some(s) = judge::source_of(program, at) {
                let text = s.text.trim();
                let _ = writeln!(out, "    {}:{}:{}: {text}", s.file, s.line, s.column);
            }
        }
        return;
    }
    let _ = writeln!(out, "{}: {} (r0 = {:#x})", run.engine, s.answer(run), run.r0);
    if args.repeat > 1 {
        let compiled = match (run.compile_ns, run.code_bytes) {
            (Some(ns), Some(bytes)) => format!(", compiled in {ns} ns to {bytes} bytes"),
            _ => String::new(),
        };
        let _ = writeln!(out, "    {} ns a run, {} runs{compiled}", run.duration_ns, run.repeat);
    }
}

/// How often each value came back over a capture.
pub fn histogram(s: &Said<'_>, packets: usize, args: &Args) -> Result<Outcome, Outcome> {
    let count = |a: &Answer, shown: &dyn Fn(&Run) -> String| {
        let mut counts: BTreeMap<String, usize> = BTreeMap::new();
        for run in &a.runs {
            *counts.entry(shown(run)).or_default() += 1;
        }
        counts
    };
    let engine = |a: &Answer| a.runs.first().map_or("", |r| r.engine.as_str()).to_string();
    s.note_children();
    let outcome = s.outcome();
    Ok(match args.format {
        Format::Json => {
            let counts: Vec<_> =
                s.answers.iter().map(|a| (engine(a), count(a, &Run::answer))).collect();
            let values = s.runs().filter(|r| r.trap.is_none()).map(Run::retval);
            let names: BTreeMap<String, &str> =
                values.filter_map(|v| Some((v.to_string(), s.name(v)?))).collect();
            let engines: Vec<Value> =
                counts.iter().map(|(e, c)| json!({"engine": e, "retvals": c})).collect();
            let mut doc = s.document();
            doc.insert("packets".to_string(), json!(packets));
            doc.insert("retvals".to_string(), json!(counts.first().map(|(_, c)| c)));
            doc.insert("names".to_string(), json!(names));
            doc.insert("engines".to_string(), json!(engines));
            out::machine(format!("{}\n", Value::Object(doc)).as_bytes(), outcome)
        }
        Format::Answer => {
            out::machine(format!("{}\n", json!(s.answers.first())).as_bytes(), outcome)
        }
        Format::Text => {
            let mut said = format!("{packets} packets\n");
            for a in &s.answers {
                if s.answers.len() > 1 {
                    let _ = writeln!(said, "{}:", engine(a));
                }
                for (value, n) in count(a, &|run| s.answer(run)) {
                    let _ = writeln!(said, "{n:>8}  {value}");
                }
            }
            s.closing(&mut said);
            out::text(&said, outcome)
        }
    })
}
