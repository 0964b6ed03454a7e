//! Faults of the past are noticed, each by the oracle named here.
//!
//! `cargo test -p bpfassay-campaign --release --test historic -- --ignored --nocapture` prints how long each took.

mod faults;

use std::time::Instant;

use bpfassay_campaign::oracle::{self, Judged};
use bpfassay_campaign::source::Source;
use bpfassay_verifier::mutation::{activate, Mutation};
use faults::{asked_for, look_for, MOST};

/// Oracles that stay within the checking interpreter: nothing a faulty verifier accepts may run natively.
const ORACLES: [&str; 2] = ["no-trap", "containment"];

/// Who sees the fault, after how many cases.
fn search(fault: Mutation) -> Option<(String, u64)> {
    let target = oracle::target("6.18").expect("a kernel that is served");
    let config = target.config();
    let mut oracles: Vec<_> = ORACLES.iter().filter_map(|n| oracle::named(n, &[])).collect();
    activate(Some(fault));
    let start = Instant::now();
    let mut numbers = (0..).take_while(|_| start.elapsed() < MOST);
    let found = numbers.find_map(|number| {
        let case = Source::Seed { seed: 16, number }.case();
        let judged = Judged::new(&case, &config);
        let finding = oracles.iter_mut().find_map(|o| o.check(&judged))?;
        // What is found without the fault is none of its doing.
        activate(None);
        let sound = Judged::new(&case, &config);
        let is_seen_anyway = oracles.iter_mut().any(|o| o.check(&sound).is_some());
        activate(Some(fault));
        if is_seen_anyway {
            return None;
        }
        Some((finding.oracle, number + 1))
    });
    activate(None);
    found
}

#[test]
fn faults_near_the_surface_are_noticed_at_once() {
    look_for(&[Mutation::Cve2020_8835, Mutation::Cve2021_31440], search);
}

/// Minutes of work: asked for by name, as the only test (`--ignored`), since faults are switched on for the whole
/// process.  `BPFASSAY_FAULTS` names some of them.
#[test]
#[ignore = "takes minutes"]
fn each_historic_fault_is_noticed() {
    look_for(&asked_for(Mutation::ALL.iter().copied()), search);
}
