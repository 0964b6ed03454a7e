//! An accepted program never faults under the checking interpreter, and runs only what the verifier has seen.

use bpfassay_harness::engine::TrapKind;

use super::{form, Judged, Oracle};
use crate::finding::Finding;

#[derive(Default)]
pub struct NoTrap;

impl Oracle for NoTrap {
    fn name(&self) -> &'static str {
        "no-trap"
    }

    fn check(&mut self, judged: &Judged<'_>) -> Option<Finding> {
        if !judged.is_accepted() || judged.report.quirk.is_some() {
            return None;
        }
        let runs = judged.runs()?;
        let finding = |input: usize, kind: String, at: usize, what: String| Finding {
            oracle: self.name().to_string(),
            kind,
            place: form(judged.case, at),
            detail: format!("input {input}, insn {at}: {what}"),
        };
        if let Some(at) = runs.unseen(&judged.report.insn_visits) {
            let what = "runs, and no path of the verifier came here".to_string();
            return Some(finding(0, "unexplored".to_string(), at, what));
        }
        for (i, out) in runs.outcomes.iter().enumerate() {
            let Some(trap) = &out.trap else { continue };
            if trap.is_comparable() || matches!(trap.kind, TrapKind::OutOfFuel) {
                return Some(finding(i, trap.code().to_string(), trap.insn_idx, trap.to_string()));
            }
        }
        None
    }
}
