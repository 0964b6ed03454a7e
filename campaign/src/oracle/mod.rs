//! Oracles: each looks at a judged case and says what is wrong.

mod addresses;
mod agreement;
mod containment;
mod no_trap;
mod runs;
mod two_sided;
mod verdict;

use std::cell::OnceCell;
use std::collections::BTreeMap;

use bpfassay_judge::Target;
use bpfassay_verifier::{verify, verify_shown, Config, Report, Verdict};

use crate::case::Case;
use crate::finding::Finding;

pub use addresses::may_leave_address;
pub use agreement::{Agreement, ENGINES};
pub use containment::Containment;
use containment::Crossing;
pub use no_trap::NoTrap;
pub use runs::{Runs, Step, Steps};
pub use two_sided::TwoSided;
pub use verdict::{against, equal_lines, masked_message};

/// A case and what our verifier says of it.
pub struct Judged<'c> {
    pub case: &'c Case,
    pub config: &'c Config<'c>,
    pub report: Report,
    runs: OnceCell<Option<Runs>>,
    early: Option<Runs>,
    /// Of the early runs: steps that some state held while the verdict was reached.
    held: Vec<bool>,
}

impl<'c> Judged<'c> {
    pub fn new(case: &'c Case, config: &'c Config<'c>) -> Judged<'c> {
        let report = verify(&case.program, config);
        let runs = OnceCell::new();
        Judged { case, config, report, runs, early: None, held: Vec::new() }
    }

    /// Runs the program first, so that the states which lead to the verdict are held against its steps at once.
    pub fn after_runs(case: &'c Case, config: &'c Config<'c>) -> Judged<'c> {
        let Some(early) = Runs::early(case) else { return Judged::new(case, config) };
        let crossing = Crossing::new(&early.steps, Vec::new());
        let report = verify_shown(&case.program, config, &crossing);
        let held = crossing.into_held();
        let runs = OnceCell::new();
        if report.verdict == Verdict::Accepted && early.are_final(case, &report) {
            let _ = runs.set(Some(early));
            return Judged { case, config, report, runs, early: None, held };
        }
        Judged { case, config, report, runs, early: Some(early), held: Vec::new() }
    }

    /// The runs of an accepted program.
    pub fn runs(&self) -> Option<&Runs> {
        if !self.is_accepted() {
            return None;
        }
        self.runs.get_or_init(|| Runs::of(self.case, &self.report)).as_ref()
    }

    /// Runs that were made for all oracles.
    pub fn executions(&self) -> u64 {
        self.runs.get().and_then(Option::as_ref).map_or(0, |r| r.outcomes.len() as u64)
    }

    pub fn is_accepted(&self) -> bool {
        self.report.verdict == Verdict::Accepted
    }
}

/// Looks at one case after the other.
pub trait Oracle: Send {
    fn name(&self) -> &'static str;

    /// What is wrong with it, if anything.
    fn check(&mut self, judged: &Judged<'_>) -> Option<Finding>;

    /// Runs of programs made so far, without those that all oracles share.
    fn executions(&self) -> u64 {
        0
    }

    /// What it counts beside findings, by name.
    fn counts(&self) -> BTreeMap<String, u64> {
        BTreeMap::new()
    }
}

/// Every oracle that needs no kernel, in the order they are asked.
pub const NAMES: [&str; 4] = ["no-trap", "containment", "agreement", "two-sided"];

/// Those that ask kernels: verdict, errno, message and counters; and the log, instruction by instruction.
pub const KERNEL_NAMES: [&str; 2] = ["verdict", "state"];

/// The oracle of a name.
pub fn named(name: &str, engines: &[String]) -> Option<Box<dyn Oracle>> {
    Some(match name {
        "no-trap" => Box::new(NoTrap),
        "containment" => Box::new(Containment::default()),
        "agreement" => Box::new(Agreement::new(engines)),
        "two-sided" => Box::new(TwoSided::default()),
        _ => return None,
    })
}

/// The kernel that cases are judged for.
pub fn target(kernel: &str) -> Result<Target, String> {
    Target::served(kernel)?.ok_or_else(|| format!("kernel {kernel} is not served"))
}

/// The form of the instruction at `idx`, without registers and numbers.
pub(crate) fn form(case: &Case, idx: usize) -> String {
    let Some(insn) = case.program.insns.get(idx) else { return "outside".to_string() };
    let text = bpfassay_judge::insn_text(&case.program.insns, idx as u32).unwrap_or_default();
    let plain: String = text
        .split_whitespace()
        .skip(1)
        .map(|w| {
            let is_number =
                w.trim_start_matches(['+', '-']).starts_with(|c: char| c.is_ascii_digit());
            match w {
                _ if is_number => "n".to_string(),
                _ => w.chars().filter(|c| !c.is_ascii_digit()).collect(),
            }
        })
        .collect::<Vec<_>>()
        .join(" ");
    format!("{:02x} {plain}", insn.code)
}
