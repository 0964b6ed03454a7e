//! Asking all questions, and the answers as `bpfassay.prove/1`.

use std::time::{Duration, Instant};

use rayon::prelude::*;
use serde::Serialize;

use crate::operations::{all_operations, Operation};
use crate::sym::{give_up_at, prove, Full, Model, Narrow, Outcome};

/// How an operation stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Standing {
    /// For all words of 64 bits.
    Proved,
    /// For all words of fewer bits, or for all cases of a finite list.
    Exhaustive,
    /// Not so, or no answer.
    Failed,
}

/// One line.
#[derive(Clone, Debug, Serialize)]
pub struct Line {
    pub name: String,
    /// Bits of the registers it was decided for.
    pub width: u32,
    pub result: Standing,
    pub seconds: f64,
    /// Paths through the operation that were asked about.
    #[serde(skip)]
    pub paths: u32,
    /// Why the width is less than 64 bits, or what failed.
    #[serde(skip)]
    pub reason: Option<String>,
}

/// The contract.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    pub schema: &'static str,
    pub operations: Vec<Line>,
}

impl Report {
    pub fn all_hold(&self) -> bool {
        self.operations.iter().all(|o| o.result != Standing::Failed)
    }
}

/// An operation at full width, and the same over narrow registers.
pub struct Row {
    pub full: Operation,
    narrow: Operation,
}

/// Every row whose name holds `filter`.
pub fn rows(filter: &str) -> Vec<Row> {
    let pairs = all_operations::<Full>().into_iter().zip(all_operations::<Narrow>());
    pairs
        .map(|(full, narrow)| Row { full, narrow })
        .filter(|r| r.full.name.contains(filter))
        .collect()
}

/// Asks about the operations whose names hold `filter`, each for so long at full width; `each` is told every line
/// as it comes.
pub fn run(filter: &str, limit: Duration, each: &(dyn Fn(&Line) + Sync)) -> Report {
    let line = |row: &Row| {
        let line = row.ask(limit);
        each(&line);
        line
    };
    let mut operations: Vec<Line> = rows(filter).par_iter().with_max_len(1).map(line).collect();
    let mut finite = crate::cover::lines(filter);
    finite.extend(crate::links::lines(filter));
    finite.iter().for_each(each);
    operations.extend(finite);
    Report { schema: "bpfassay.prove/1", operations }
}

impl Row {
    fn ask(&self, limit: Duration) -> Line {
        let start = Instant::now();
        let line = |width, result, paths, reason: Option<String>| Line {
            name: self.full.name.clone(),
            width,
            result,
            seconds: start.elapsed().as_secs_f64(),
            paths,
            reason,
        };
        let mut reason = self.full.hard.map(str::to_string);
        if reason.is_none() {
            let (answer, paths) = ask(&self.full, false, limit);
            match answer {
                Outcome::Proved => return line(64, Standing::Proved, paths, None),
                Outcome::Refuted(model) => {
                    return line(64, Standing::Failed, paths, Some(words(&model)))
                }
                Outcome::Unknown => {
                    reason = Some(format!("no answer in {} s at 64 bits", limit.as_secs()))
                }
            }
        }
        if self.narrow.questions.is_empty() {
            return line(64, Standing::Failed, 0, reason);
        }
        // What is decided for narrow words is decided for each of them.
        let (answer, paths) = ask(&self.narrow, false, limit * 20);
        let width = self.narrow.width;
        match answer {
            Outcome::Proved => line(width, Standing::Exhaustive, paths, reason),
            Outcome::Refuted(model) => line(width, Standing::Failed, paths, Some(words(&model))),
            Outcome::Unknown => line(width, Standing::Failed, paths, Some("no answer".to_string())),
        }
    }
}

fn words(model: &Model) -> String {
    let values = model.iter().map(|(n, v)| format!("{n}={v:#x}"));
    values.collect::<Vec<_>>().join(" ")
}

/// Asks all questions of an operation, or of a weakened one; how many paths were seen, too.
pub fn ask(op: &Operation, weak: bool, limit: Duration) -> (Outcome, u32) {
    give_up_at(Instant::now() + limit);
    let mut all = 0;
    for question in &op.questions {
        let (outcome, paths) = prove(&|| question(weak));
        all += paths;
        if outcome != Outcome::Proved {
            return (outcome, all);
        }
    }
    (Outcome::Proved, all)
}
