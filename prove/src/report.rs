//! Asking all questions, and the answers as `bpfassay.prove/1`.

use std::time::Instant;

use rayon::prelude::*;
use serde::Serialize;

use crate::operations::{all_operations, Operation};
use crate::sym::{prove, Model, Outcome};

/// How an operation stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Standing {
    /// For all words of 64 bits.
    Proved,
    /// For all words of fewer bits.
    Exhaustive,
    /// Not so, or the solver gave up.
    Failed,
}

/// One line.
#[derive(Clone, Debug, Serialize)]
pub struct Line {
    pub name: String,
    pub width: u32,
    pub result: Standing,
    pub seconds: f64,
    /// Paths through the operation that were asked about.
    pub paths: u32,
    /// Why the width is less than 64 bits, or what failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    #[serde(skip)]
    pub model: Option<Model>,
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

/// Asks about the operations whose names hold `filter`; `each` is told every line as it comes.
pub fn run(filter: &str, each: &(dyn Fn(&Line) + Sync)) -> Report {
    let chosen: Vec<Operation> =
        all_operations().into_iter().filter(|o| o.name.contains(filter)).collect();
    let line = |op: &Operation| {
        let line = ask(op, false);
        each(&line);
        line
    };
    let operations = chosen.par_iter().with_max_len(1).map(line).collect();
    Report { schema: "bpfassay.prove/1", operations }
}

/// Asks about one operation, or about a weakened one.
pub fn ask(op: &Operation, weak: bool) -> Line {
    let start = Instant::now();
    let mut line = Line {
        name: op.name.clone(),
        width: op.width,
        result: if op.reason.is_none() { Standing::Proved } else { Standing::Exhaustive },
        seconds: 0.0,
        paths: 0,
        reason: op.reason.map(str::to_string),
        model: None,
    };
    for question in &op.questions {
        let (outcome, paths) = prove(&|| question(weak));
        line.paths += paths;
        match outcome {
            Outcome::Proved => continue,
            Outcome::Unknown => line.reason = Some("the solver gave up".to_string()),
            Outcome::Refuted(model) => {
                let values = model.iter().map(|(n, v)| format!("{n}={v:#x}"));
                line.reason = Some(values.collect::<Vec<_>>().join(" "));
                line.model = Some(model);
            }
        }
        line.result = Standing::Failed;
        break;
    }
    line.seconds = start.elapsed().as_secs_f64();
    line
}
