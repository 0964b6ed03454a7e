//! An accepted program never faults under the checking interpreter, and runs only what the verifier has seen.

use bpfassay_harness::engine::TrapKind;
use bpfassay_harness::engines::interp::Tracer;
use bpfassay_harness::runtime::world::World;
use bpfassay_harness::testrun::Interp;
use bpfassay_isa::Insn;

use super::{form, Judged, Oracle};
use crate::finding::Finding;

/// Instructions of one run; generated programs are short.
pub(crate) const FUEL: u64 = 1 << 16;

#[derive(Default)]
pub struct NoTrap {
    runs: u64,
}

/// Notes the first instruction that no path of the verifier came to.
struct Unseen<'v> {
    visits: &'v [u32],
    first: Option<usize>,
}

impl Tracer for Unseen<'_> {
    const ENABLED: bool = true;
    fn step(&mut self, _frame: usize, idx: usize, _insn: &Insn, _regs: &[u64]) {
        if self.first.is_none() && self.visits.get(idx) == Some(&0) {
            self.first = Some(idx);
        }
    }
}

impl Oracle for NoTrap {
    fn name(&self) -> &'static str {
        "no-trap"
    }

    fn executions(&self) -> u64 {
        self.runs
    }

    fn check(&mut self, judged: &Judged<'_>) -> Option<Finding> {
        if !judged.is_accepted() || judged.report.quirk.is_some() {
            return None;
        }
        let mut interp = Interp::load(&judged.case.program, World::seeded(1)).ok()?;
        interp.fuel = FUEL;
        for (i, input) in judged.case.inputs.iter().enumerate() {
            let mut unseen = Unseen { visits: &judged.report.insn_visits, first: None };
            let out = interp.run_traced(input, &mut unseen);
            self.runs += 1;
            let finding = |kind: String, at: usize, what: String| Finding {
                oracle: self.name().to_string(),
                kind,
                place: form(judged.case, at),
                detail: format!("input {i}, insn {at}: {what}"),
            };
            if let Some(at) = unseen.first {
                let what = "runs, and no path of the verifier came here".to_string();
                return Some(finding("unexplored".to_string(), at, what));
            }
            let Some(trap) = out.trap else { continue };
            if trap.is_comparable() || matches!(trap.kind, TrapKind::OutOfFuel) {
                return Some(finding(trap.code().to_string(), trap.insn_idx, trap.to_string()));
            }
        }
        None
    }
}
