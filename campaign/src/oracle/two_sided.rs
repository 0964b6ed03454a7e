//! A rejected program is unsafe, as far as a witness can tell; otherwise the rule that rejects it is named.
//!
//! The checking interpreter looks at every access, so that it may run what nobody accepted.  This oracle finds
//! nothing by itself: it counts witnesses, and rules without one.

use std::collections::BTreeMap;

use bpfassay_harness::engine::Instance;
use bpfassay_harness::runtime::world::World;
use bpfassay_harness::testrun::Interp;
use bpfassay_verifier::Verdict;

use super::{masked_message, Judged, Oracle};
use crate::case::Case;
use crate::finding::Finding;

/// Instructions of one run; loops without end are many among rejected programs.
const WITNESS_FUEL: u64 = 1 << 11;

#[derive(Default)]
pub struct TwoSided {
    runs: u64,
    counts: BTreeMap<String, u64>,
}

impl TwoSided {
    fn has_witness(&mut self, case: &Case) -> Option<bool> {
        let mut interp = Interp::load(&case.program, World::seeded(1)).ok()?;
        interp.fuel = WITNESS_FUEL;
        let mut is_unsafe = false;
        for input in &case.inputs {
            self.runs += 1;
            is_unsafe |= interp.run(input).trap.is_some();
        }
        Some(is_unsafe)
    }
}

impl Oracle for TwoSided {
    fn name(&self) -> &'static str {
        "two-sided"
    }

    fn executions(&self) -> u64 {
        self.runs
    }

    fn counts(&self) -> BTreeMap<String, u64> {
        self.counts.clone()
    }

    fn check(&mut self, judged: &Judged<'_>) -> Option<Finding> {
        if !matches!(judged.report.verdict, Verdict::Rejected(_)) {
            return None;
        }
        let is_unsafe = match &judged.early {
            Some(early) => {
                self.runs += early.outcomes.len() as u64;
                early.outcomes.iter().any(|o| o.trap.is_some())
            }
            None => self.has_witness(judged.case)?,
        };
        let name = match is_unsafe {
            true => "unsafe".to_string(),
            false => {
                format!("no witness: {}", masked_message(judged.report.message().unwrap_or("")))
            }
        };
        *self.counts.entry(name).or_default() += 1;
        None
    }
}
