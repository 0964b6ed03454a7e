//! Changes tried: put into the program, and the program verified again.

use bpfassay_object::model::Program;
use bpfassay_verifier::{verify_recorded, Config, Report, Trail, Verdict};

use super::edit::{before, insert, Insertion};
use super::{candidates, path, scene::Scene};
use crate::target::Target;

/// Most changes tried for one rejection.
const MOST: usize = 12;
/// Programs that cost more than this are not verified again and again.
const DEAR: u32 = 120_000;

/// A change that may help.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Change {
    /// What to write, in the program's own terms.
    pub text: String,
    pub insertions: Vec<Insertion>,
}

/// What a change does to the verdict.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// The program with it is accepted.
    Accepted,
    /// This rejection is gone, and another one comes: its message and its place (`prog.c:12`, `insn 7`).
    GetsPast { message: String, place: String },
}

/// A change and what it does.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Tried {
    pub change: Change,
    pub outcome: Outcome,
    /// Instructions processed with it.
    pub processed: u32,
}

/// The first change that makes the program pass; else the first that gets past this rejection.
pub fn find(scene: &Scene<'_>, target: &Target, was: &Report) -> Option<Tried> {
    if was.stats.insns_processed > DEAR {
        return None;
    }
    let mut best: Option<Tried> = None;
    for change in candidates::of(scene).into_iter().take(MOST) {
        let Some(tried) = attempt(scene.program, target, was, change) else { continue };
        match tried.outcome {
            Outcome::Accepted => return Some(tried),
            Outcome::GetsPast { .. } => best = best.or(Some(tried)),
        }
    }
    best
}

/// Verifies the program with a change; None if it still stops here, or cannot be judged.
pub fn attempt(program: &Program, target: &Target, was: &Report, change: Change) -> Option<Tried> {
    let changed = insert(program, &change.insertions)?;
    let config = Config { log_limit: 1 << 16, ..target.config() };
    let report = verify_recorded(&changed, &config);
    let outcome = match &report.verdict {
        Verdict::Accepted => Outcome::Accepted,
        Verdict::Unsupported(_) => return None,
        Verdict::Rejected(_) => past(program, was, &report, &change.insertions)?,
    };
    Some(Tried { change, outcome, processed: report.stats.insns_processed })
}

/// The next rejection, if it is another one and not made by the change.
fn past(program: &Program, was: &Report, is: &Report, put: &[Insertion]) -> Option<Outcome> {
    let end = |t: &Trail| t.steps.last().map(|s| s.insn_idx);
    let (old, new) = (end(&was.trail)?, end(&is.trail)?);
    let new = before(put, new);
    let own = put.iter().any(|p| p.at == new && new != old);
    // Further along the same path: a rejection before the old one says nothing.
    let reached = is.trail.steps.iter().any(|s| before(put, s.insn_idx) == old);
    if old == new || own || !reached {
        return None;
    }
    let place = match path::source(program, new) {
        Some(s) => format!("{}:{}", s.file.unwrap_or_default(), s.line.unwrap_or(0)),
        None => format!("insn {new}"),
    };
    Some(Outcome::GetsPast { message: is.message()?.to_string(), place })
}
