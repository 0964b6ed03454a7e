//! Faults of JITs are noticed by the oracle of agreement.
//!
//! `cargo test -p bpfassay-campaign --release --test jit_faults -- --ignored --nocapture` prints how long each took.
//! Cases run in children, for what a faulty compiler makes may do anything.
#![cfg(all(unix, target_arch = "x86_64"))]

mod faults;

use std::time::{Duration, Instant};

use bpfassay_campaign::oracle::{Agreement, Judged, Oracle};
use bpfassay_campaign::source::Source;
use bpfassay_campaign::{finding::Finding, oracle};
use bpfassay_harness::contain::within;
use bpfassay_jit::mutation::{activate, Mutation};
use bpfassay_judge::Target;
use faults::MOST;

/// Cases of one child, and the time one may take: code may jump anywhere, in a circle too.
const CHUNK: u64 = 64;
const PATIENCE: Duration = Duration::from_secs(20);

fn look(target: &Target, number: u64) -> Option<Finding> {
    let config = target.config();
    let case = Source::Seed { seed: 16, number }.case();
    Agreement::new(&["interp", "jit"].map(String::from)).check(&Judged::new(&case, &config))
}

/// The first case of these that is seen, with what is seen; a child that breaks down is seen too.
fn first_seen(target: &Target, numbers: std::ops::Range<u64>) -> Option<(u64, String)> {
    let said = within(PATIENCE, || {
        let seen = numbers.clone().find_map(|n| Some((n, look(target, n)?.kind)));
        seen.map_or(Vec::new(), |(n, kind)| format!("{n} {kind}").into_bytes())
    });
    match said {
        Ok(text) => {
            let text = String::from_utf8_lossy(&text).into_owned();
            let (n, kind) = text.split_once(' ')?;
            Some((n.parse().ok()?, kind.to_string()))
        }
        Err(how) if numbers.end - numbers.start == 1 => Some((numbers.start, how.to_string())),
        Err(_) => {
            let half = numbers.start + (numbers.end - numbers.start) / 2;
            first_seen(target, numbers.start..half)
                .or_else(|| first_seen(target, half..numbers.end))
        }
    }
}

/// What sees the fault, and after how many cases.
fn search(target: &Target, fault: Mutation) -> Option<(String, u64)> {
    let start = Instant::now();
    let mut from = 0;
    while start.elapsed() < MOST {
        activate(Some(fault));
        let seen = first_seen(target, from..from + CHUNK);
        activate(None);
        match seen {
            None => from += CHUNK,
            // What is found without the fault is none of its doing.
            Some((number, _)) if look(target, number).is_some() => from = number + 1,
            Some((number, kind)) => return Some((kind, number + 1)),
        }
    }
    None
}

fn look_for(faults: &[Mutation]) {
    let target = oracle::target("6.18").expect("a kernel that is served");
    faults::look_for(faults, |fault| {
        search(&target, fault).map(|(kind, cases)| (format!("agreement: {kind}"), cases))
    });
}

/// One test: faults are switched on for the whole process.  `BPFASSAY_FAULTS` names those that are looked for.
#[test]
fn faults_near_the_surface_are_noticed_at_once() {
    if std::env::var_os("BPFASSAY_FAULTS").is_none() {
        look_for(&[Mutation::Add32KeepsUpper, Mutation::LoadSxIsZx]);
    }
}

/// Minutes of work: asked for by name, as the only test (`--ignored`).
#[test]
#[ignore = "takes minutes"]
fn each_fault_of_a_jit_is_noticed() {
    look_for(&faults::asked_for(Mutation::ALL.iter().copied()));
}
