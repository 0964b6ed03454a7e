//! Tallies, and the contract `bpfassay.fuzz/1`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// What was done, in numbers that can be added up.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Tally {
    pub programs: u64,
    pub accepted: u64,
    pub unsupported: u64,
    pub executions: u64,
    pub with_map: u64,
    /// Programs by length and by instructions processed; above 128 a value stands for a sixteenth of it.
    pub insns: BTreeMap<u32, u64>,
    pub processed: BTreeMap<u32, u64>,
    /// By oracle, then by what was counted; `checked` and `findings` always.
    pub oracles: BTreeMap<String, BTreeMap<String, u64>>,
    /// Messages of rejected programs, numbers left out.
    pub rejections: BTreeMap<String, u64>,
    pub milliseconds: u64,
}

impl Tally {
    pub fn add(&mut self, o: &Tally) {
        self.programs += o.programs;
        self.accepted += o.accepted;
        self.unsupported += o.unsupported;
        self.executions += o.executions;
        self.with_map += o.with_map;
        self.milliseconds += o.milliseconds;
        add(&mut self.insns, &o.insns);
        add(&mut self.processed, &o.processed);
        add(&mut self.rejections, &o.rejections);
        for (name, counts) in &o.oracles {
            add(self.oracles.entry(name.clone()).or_default(), counts);
        }
    }

    pub fn count(&mut self, oracle: &str, what: &str, n: u64) {
        let counts = self.oracles.entry(oracle.to_string()).or_default();
        *counts.entry(what.to_string()).or_default() += n;
    }
}

fn add<K: Ord + Clone>(to: &mut BTreeMap<K, u64>, from: &BTreeMap<K, u64>) {
    for (k, n) in from {
        *to.entry(k.clone()).or_default() += n;
    }
}

/// The bucket of a value.
pub fn bucket(v: u32) -> u32 {
    match v.checked_ilog2() {
        Some(bits) if bits >= 7 => v >> (bits - 4) << (bits - 4),
        _ => v,
    }
}

fn median(buckets: &BTreeMap<u32, u64>) -> u32 {
    let half = buckets.values().sum::<u64>().div_ceil(2);
    let mut seen = 0;
    for (v, n) in buckets {
        seen += n;
        if seen >= half {
            return *v;
        }
    }
    0
}

/// A cluster of findings.
#[derive(Clone, Debug, Serialize)]
pub struct Cluster {
    pub id: String,
    pub oracle: String,
    pub kind: String,
    pub place: String,
    pub detail: String,
    /// File of the minimised case, if there is a folder for it.
    pub case: String,
    pub count: u64,
}

/// The contract.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    pub schema: &'static str,
    pub seed: u64,
    /// Of this run.
    pub programs: u64,
    pub accepted: u64,
    pub executions: u64,
    pub seconds: f64,
    /// With the runs before it that were resumed, or of all shards that were merged.
    pub programs_total: u64,
    pub accepted_total: u64,
    pub executions_total: u64,
    pub seconds_total: f64,
    pub insns_median: u32,
    pub processed_median: u32,
    pub oracles: BTreeMap<String, BTreeMap<String, u64>>,
    pub rejections: BTreeMap<String, u64>,
    pub findings: Vec<Cluster>,
    /// What ended before it was asked for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

impl Report {
    pub fn of(seed: u64, own: &Tally, all: &Tally, findings: Vec<Cluster>) -> Report {
        Report {
            schema: "bpfassay.fuzz/1",
            seed,
            programs: own.programs,
            accepted: own.accepted,
            executions: own.executions,
            seconds: own.milliseconds as f64 / 1000.0,
            programs_total: all.programs,
            accepted_total: all.accepted,
            executions_total: all.executions,
            seconds_total: all.milliseconds as f64 / 1000.0,
            insns_median: median(&all.insns),
            processed_median: median(&all.processed),
            oracles: all.oracles.clone(),
            rejections: all.rejections.clone(),
            findings,
            notes: Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_keep_small_values_and_sixteenths() {
        assert_eq!(
            [0, 5, 127, 128, 135, 136, 1_000_000].map(bucket),
            [0, 5, 127, 128, 128, 136, 983_040]
        );
        assert_eq!(median(&[(3, 1), (5, 1), (9, 1)].into()), 5);
    }
}
