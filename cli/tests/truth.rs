//! Our answers beside what 6.18.44 said of the bundled objects: no kernel needed.
//!
//! Every verdict, errno and message must be equal; logs and counters may differ only where
//! `truth-exceptions.txt` says so and why.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use bpfassay_corpus::truth::{list, Answer, ObjectTruth, ProgramTruth};
use bpfassay_diag::log::diff;
use bpfassay_judge::{judge, Options, ProgramReport, Target, VerdictWord};
use bpfassay_verifier::log::LogLevel;

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../corpus")
}

/// `object program` → reason, for programs whose log or counters may differ.
fn exceptions() -> BTreeMap<String, String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/truth-exceptions.txt");
    let text = fs::read_to_string(path).expect("the list of exceptions");
    let rows = text.lines().filter(|l| !l.is_empty() && !l.starts_with('#'));
    rows.map(|l| {
        let (key, reason) = l.split_once(": ").expect("`object program: reason`");
        (key.to_string(), reason.to_string())
    })
    .collect()
}

#[derive(Default)]
struct Tally {
    asked: usize,
    unsupported: usize,
    counters_equal: usize,
    logs_equal: usize,
    wrong: String,
    unlisted: String,
}

impl Tally {
    fn program(
        &mut self,
        object: &str,
        truth: &ProgramTruth,
        report: &ProgramReport,
        listed: bool,
    ) {
        self.asked += 1;
        let name = format!("{object} {}", truth.name);
        let (verdict, errno) = match truth.answer {
            Answer::Rejected { errno } => (VerdictWord::Rejected, Some(errno)),
            _ => (VerdictWord::Accepted, None),
        };
        if report.verdict == VerdictWord::Unsupported {
            self.unsupported += 1;
            if !listed {
                let why = report.message.as_deref().unwrap_or("");
                let _ = writeln!(self.unlisted, "{name}: unsupported: {why}");
            }
            return;
        }
        if (report.verdict, report.errno) != (verdict, errno) {
            let _ = writeln!(
                self.wrong,
                "{name}: {:?} {:?}, the kernel {verdict:?} {errno:?}",
                report.verdict, report.errno
            );
            return;
        }
        if verdict == VerdictWord::Rejected && report.message != truth.message {
            let _ = writeln!(
                self.wrong,
                "{name}: {:?}, the kernel {:?}",
                report.message, truth.message
            );
        }
        let s = report.stats;
        let counters = truth.stats.is_none_or(|k| {
            (k.insns_processed, k.max_states_per_insn, k.total_states, k.peak_states)
                == (s.insns_processed, s.max_states_per_insn, s.total_states, s.peak_states)
        });
        self.counters_equal += counters as usize;
        let visits: u64 = report.detail.insn_visits.iter().map(|v| u64::from(*v)).sum();
        if visits != u64::from(s.insns_processed) {
            let _ = writeln!(self.wrong, "{name}: {visits} visits of {s:?}");
        }
        let difference = diff(&report.detail.log, &truth.log);
        self.logs_equal += difference.is_none() as usize;
        if !listed {
            if !counters {
                let _ =
                    writeln!(self.unlisted, "{name}: counters {s:?}, the kernel {:?}", truth.stats);
            }
            if let Some(d) = difference {
                let _ = writeln!(
                    self.unlisted,
                    "{name}: line {}\n  ours   {:?}\n  kernel {:?}",
                    d.line, d.ours, d.kernels
                );
            }
        }
    }
}

#[test]
fn bundled_objects_are_judged_as_6_18_44_judges_them() {
    let releases: Vec<PathBuf> = fs::read_dir(corpus().join("truth"))
        .expect("recorded truth")
        .flatten()
        .map(|e| e.path())
        .filter(|p| p.file_name().is_some_and(|n| n.to_string_lossy().starts_with("6.18.44")))
        .collect();
    let target = Target::served("6.18").expect("profile").expect("6.18 is known");
    let exceptions = exceptions();
    let mut tally = Tally::default();
    for release in releases {
        for object in list(&release).expect("recorded objects") {
            let truth = ObjectTruth::read(&release, &object).expect("a record");
            let bytes = fs::read(corpus().join("objects").join(&object)).expect("its object");
            assert_eq!(
                truth.hash,
                ObjectTruth::hash_of(&bytes),
                "{object} was rebuilt: record it again"
            );
            let entries = target.load(&bytes, &object).unwrap_or_default();
            for (i, p) in truth.programs.iter().enumerate() {
                if matches!(p.answer, Answer::NotAsked { .. }) {
                    continue;
                }
                let nth = truth.programs[..i].iter().filter(|q| q.name == p.name).count();
                let ours = entries.iter().filter(|e| e.name == p.name).nth(nth);
                let program = ours.and_then(|e| e.ok());
                let program =
                    program.unwrap_or_else(|| panic!("{object}: {} is not loaded", p.name));
                let options = Options { log_level: LogLevel(p.log_level), ..Options::default() };
                let report = judge(program, &target, &options);
                let listed = exceptions.contains_key(&format!("{object} {}", p.name));
                tally.program(&object, p, &report, listed);
            }
        }
    }
    println!(
        "{} programs, {} unsupported, counters equal {}, logs equal {}",
        tally.asked, tally.unsupported, tally.counters_equal, tally.logs_equal
    );
    assert!(tally.asked > 300, "only {} programs were recorded", tally.asked);
    assert!(tally.wrong.is_empty(), "wrong answers:\n{}", tally.wrong);
    assert!(tally.unlisted.is_empty(), "differences not listed:\n{}", tally.unlisted);
    assert!(
        tally.logs_equal * 100 >= tally.asked * 95,
        "{} of {} logs",
        tally.logs_equal,
        tally.asked
    );
    assert!(tally.counters_equal * 100 >= tally.asked * 98);
}
