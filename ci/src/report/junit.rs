//! JUnit XML: a suite per object, kernel and variant, a test case per program, and one suite for what
//! is wrong with the configuration or an object as a whole.
//!
//! Made to satisfy both the schema of Ant's reports and what Jenkins and GitLab read.

use std::fmt::Write as _;

use super::{help, on_one, rule, Places};
use crate::gate::outcome::{Finding, GateReport, JudgedFor, ProgramRun, RunStatus, Severity};

pub(super) fn render(report: &GateReport, places: &Places) -> String {
    let mut suites = Vec::new();
    let mut at = 0;
    while let Some(first) = report.programs.get(at) {
        let same = |r: &&ProgramRun| {
            (&r.kernel, &r.variant, &r.object) == (&first.kernel, &first.variant, &first.object)
        };
        let runs: Vec<&ProgramRun> = report.programs[at..].iter().take_while(same).collect();
        at += runs.len();
        let on = JudgedFor { kernel: first.kernel.clone(), variant: first.variant.clone() };
        let mut suite = Suite::new(format!("{} on {}", first.object, on_one(&on)), &first.object);
        for run in runs {
            suite.program(run, &on, report, places);
        }
        suites.push(suite);
    }
    let mut rest = Suite::new("gate".to_string(), "bpfassay");
    let whole = |f: &&Finding| f.program.is_none() && f.severity == Severity::Error;
    for f in report.findings.iter().filter(whole) {
        let name = match &f.object {
            Some(o) => format!("{}: {o}", f.kind.as_str()),
            None => f.message.clone(),
        };
        rest.finding(&name, f, report, places);
    }
    if rest.tests > 0 || suites.is_empty() {
        suites.push(rest);
    }
    let mut out = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites>\n");
    for (id, suite) in suites.iter().enumerate() {
        suite.write(&mut out, id, report);
    }
    out.push_str("</testsuites>\n");
    out
}

struct Suite {
    name: String,
    package: String,
    tests: usize,
    failures: usize,
    errors: usize,
    skipped: usize,
    microseconds: u64,
    cases: String,
}

impl Suite {
    fn new(name: String, package: &str) -> Suite {
        let (package, cases) = (package.to_string(), String::new());
        let (tests, failures, errors, skipped, microseconds) = (0, 0, 0, 0, 0);
        Suite { name, package, tests, failures, errors, skipped, microseconds, cases }
    }

    fn program(&mut self, run: &ProgramRun, on: &JudgedFor, report: &GateReport, places: &Places) {
        let own = |f: &&Finding| f.id.as_deref() == Some(run.id.as_str()) && f.on.contains(on);
        let findings: Vec<&Finding> = report.findings.iter().filter(own).collect();
        let open = |f: &&&Finding| f.excepted_by.is_none() && f.severity == Severity::Error;
        let us = run.program.stats.verification_us;
        self.open(&run.program.name, us);
        let said: Vec<&Finding> = findings.iter().copied().filter(|f| open(&f)).collect();
        match run.status {
            RunStatus::Pass => self.end(None),
            RunStatus::Excepted => {
                let reason = findings
                    .iter()
                    .filter_map(|f| f.excepted_by.and_then(|i| report.exceptions.get(i)))
                    .map(|e| format!("{} (until {})", e.reason, e.expires))
                    .next()
                    .unwrap_or_else(|| "known to the baseline".to_string());
                self.skipped += 1;
                self.end(Some(format!("      <skipped message=\"{}\"/>\n", attribute(&reason))));
            }
            RunStatus::Fail => {
                self.failures += 1;
                self.fail("failure", &said, report, places);
            }
            RunStatus::NotJudged => {
                self.errors += 1;
                self.fail("error", &said, report, places);
            }
        }
    }

    fn finding(&mut self, name: &str, f: &Finding, report: &GateReport, places: &Places) {
        self.open(name, 0);
        if f.excepted_by.is_some() {
            self.skipped += 1;
            self.end(Some("      <skipped/>\n".to_string()));
        } else if f.kind.is_not_judged() {
            self.errors += 1;
            self.fail("error", &[f], report, places);
        } else {
            self.failures += 1;
            self.fail("failure", &[f], report, places);
        }
    }

    fn open(&mut self, name: &str, us: u64) {
        self.tests += 1;
        self.microseconds += us;
        let (name, class) = (attribute(name), attribute(&self.package));
        let _ = write!(
            self.cases,
            "    <testcase name=\"{name}\" classname=\"{class}\" time=\"{}\"",
            seconds(us)
        );
    }

    fn end(&mut self, inside: Option<String>) {
        match inside {
            None => self.cases.push_str("/>\n"),
            Some(text) => {
                let _ = write!(self.cases, ">\n{text}    </testcase>\n");
            }
        }
    }

    fn fail(&mut self, word: &str, said: &[&Finding], report: &GateReport, places: &Places) {
        let first = said.first();
        let message = first.map_or("not judged", |f| f.message.as_str());
        let kind = first.map_or("unsupported", |f| rule(f));
        let mut text = String::new();
        for f in said {
            let place = places.of(f, report);
            let at = place.line.map_or(String::new(), |l| format!(":{l}"));
            let _ = writeln!(text, "{}{at}: {}", place.path, f.message);
            for l in place.text.iter().map(|t| t.trim()) {
                let _ = writeln!(text, "    {l}");
            }
            if f.kernel_words.len() > 1 {
                let _ = writeln!(text, "the kernel says:");
                for l in &f.kernel_words {
                    let _ = writeln!(text, "    {l}");
                }
            }
            for turn in &f.flips {
                let _ = writeln!(text, "{turn}");
            }
            for l in help(f).into_iter() {
                let _ = writeln!(text, "help: {l}");
            }
        }
        self.end(Some(format!(
            "      <{word} message=\"{}\" type=\"{}\">{}</{word}>\n",
            attribute(message),
            attribute(kind),
            escaped(&text)
        )));
    }

    fn write(&self, out: &mut String, id: usize, report: &GateReport) {
        let _ = writeln!(
            out,
            "  <testsuite id=\"{id}\" name=\"{}\" package=\"{}\" timestamp=\"{}T00:00:00\" \
             hostname=\"localhost\" tests=\"{}\" failures=\"{}\" errors=\"{}\" skipped=\"{}\" \
             time=\"{}\">",
            attribute(&self.name),
            attribute(&self.package),
            attribute(&report.today),
            self.tests,
            self.failures,
            self.errors,
            self.skipped,
            seconds(self.microseconds)
        );
        out.push_str("    <properties/>\n");
        out.push_str(&self.cases);
        out.push_str("    <system-out/>\n    <system-err/>\n  </testsuite>\n");
    }
}

fn seconds(us: u64) -> String {
    // One reader takes no more than three decimals.
    format!("{}.{:03}", us / 1_000_000, us / 1_000 % 1_000)
}

/// Text of an element; what XML 1.0 cannot hold at all becomes a question mark.
fn escaped(s: &str) -> String {
    let mut out = String::with_capacity(s.len());
    for c in s.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '\t' | '\n' => out.push(c),
            '\r' => out.push_str("&#13;"),
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => out.push('?'),
            c => out.push(c),
        }
    }
    out
}

fn attribute(s: &str) -> String {
    escaped(s).replace('"', "&quot;").replace('\n', "&#10;").replace('\t', " ")
}
