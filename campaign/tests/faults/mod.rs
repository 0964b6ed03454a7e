//! Faults that can be switched on, looked for one after the other.

use std::fmt::Debug;
use std::time::{Duration, Instant};

/// Time spent on a fault before it counts as missed.
pub const MOST: Duration = Duration::from_secs(600);

/// Looks for each; `search` says what sees a fault and after how many cases, or None.
pub fn look_for<F: Copy + Debug>(faults: &[F], search: impl Fn(F) -> Option<(String, u64)>) {
    let mut missed = Vec::new();
    for &fault in faults {
        let start = Instant::now();
        match search(fault) {
            Some((seen, cases)) => {
                let seconds = start.elapsed().as_secs_f64();
                println!("{fault:?}\t{seen}\t{cases} cases\t{seconds:.2} s");
            }
            None => missed.push(fault),
        }
    }
    assert!(missed.is_empty(), "nobody notices {missed:?}");
}

/// Those that `BPFASSAY_FAULTS` names, separated by commas; all without it.
pub fn asked_for<F: Debug>(all: impl IntoIterator<Item = F>) -> Vec<F> {
    let asked = std::env::var("BPFASSAY_FAULTS").unwrap_or_default();
    let is_asked = |m: &F| asked.is_empty() || asked.split(',').any(|a| a == format!("{m:?}"));
    let faults: Vec<F> = all.into_iter().filter(is_asked).collect();
    assert!(!faults.is_empty(), "no fault is called {asked}");
    faults
}
