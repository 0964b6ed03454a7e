//! Every engine gives the same result, data and maps.

use std::borrow::Cow;
use std::collections::BTreeMap;

use bpfassay_harness::engine::{Instance, Outcome};
use bpfassay_harness::engines::native::Native;
use bpfassay_harness::kernel::Element;
use bpfassay_harness::runtime::world::World;
use bpfassay_harness::testrun::{elements, Interp};
use bpfassay_harness::trust::Trusted;

use super::{may_leave_address, Judged, Oracle};
use crate::finding::Finding;

/// Names of engines that run in this process.
pub const ENGINES: [&str; 3] = ["interp", "interp-unchecked", "jit"];

pub struct Agreement {
    engines: Vec<String>,
    runs: u64,
    not_compared: u64,
}

/// What one engine says.
struct Answer<'a> {
    outcomes: Cow<'a, [Outcome]>,
    maps: Cow<'a, [Vec<Element>]>,
}

impl Answer<'_> {
    fn of(outcomes: Vec<Outcome>, maps: Vec<Vec<Element>>) -> Answer<'static> {
        Answer { outcomes: outcomes.into(), maps: maps.into() }
    }
}

impl Agreement {
    pub fn new(engines: &[String]) -> Agreement {
        Agreement { engines: engines.to_vec(), runs: 0, not_compared: 0 }
    }

    fn ask<'j>(
        &mut self,
        engine: &str,
        program: &Trusted<'_>,
        judged: &'j Judged<'_>,
    ) -> Option<Answer<'j>> {
        if engine == "interp" {
            let runs = judged.runs()?;
            return Some(Answer {
                outcomes: runs.outcomes.as_slice().into(),
                maps: runs.maps.as_slice().into(),
            });
        }
        let (world, inputs) = (World::seeded(1), &judged.case.inputs);
        let maps = 0..program.program().maps.len();
        self.runs += inputs.len() as u64;
        if engine == "interp-unchecked" {
            let mut interp = Interp::unchecked(program, world).ok()?;
            let outcomes = inputs.iter().map(|i| interp.run(i)).collect();
            return Some(Answer::of(outcomes, maps.map(|m| interp.elements(m)).collect()));
        }
        let mut native = Native::trusted(program, world, None).ok()?;
        let outcomes = inputs.iter().map(|i| native.run(i)).collect();
        Some(Answer::of(outcomes, maps.map(|m| elements(&native.rt, m)).collect()))
    }
}

/// What tells them apart: a kind, and words for people.
fn difference(a: &Answer<'_>, b: &Answer<'_>) -> Option<(&'static str, String)> {
    for (i, (x, y)) in a.outcomes.iter().zip(b.outcomes.iter()).enumerate() {
        let is_limit = |o: &Outcome| o.trap.as_ref().is_some_and(|t| !t.is_comparable());
        if is_limit(x) || is_limit(y) {
            return None;
        }
        if x.trap.is_some() != y.trap.is_some() {
            return Some(("trap", format!("input {i}: {:?} and {:?}", x.trap, y.trap)));
        }
        if x.r0 != y.r0 {
            return Some(("result", format!("input {i}: {:#x} and {:#x}", x.r0, y.r0)));
        }
        if x.data_out != y.data_out {
            return Some(("data", format!("input {i}")));
        }
        if x.ctx_out != y.ctx_out {
            return Some(("context", format!("input {i}")));
        }
    }
    let map = a.maps.iter().zip(b.maps.iter()).position(|(a, b)| a != b)?;
    Some(("map", format!("map {map}")))
}

impl Oracle for Agreement {
    fn name(&self) -> &'static str {
        "agreement"
    }

    fn executions(&self) -> u64 {
        self.runs
    }

    fn counts(&self) -> BTreeMap<String, u64> {
        [("differ by an address".to_string(), self.not_compared)].into()
    }

    fn check(&mut self, judged: &Judged<'_>) -> Option<Finding> {
        if !judged.is_accepted() {
            return None;
        }
        let trusted = Trusted::of_report(&judged.case.program, &judged.report).ok()?;
        let engines = self.engines.clone();
        let (first, others) = engines.split_first()?;
        let want = self.ask(first, &trusted, judged)?;
        for engine in others {
            let got = self.ask(engine, &trusted, judged)?;
            if let Some((kind, detail)) = difference(&want, &got) {
                if may_leave_address(judged.case, judged.config) {
                    self.not_compared += 1;
                    return None;
                }
                return Some(Finding {
                    oracle: self.name().to_string(),
                    kind: kind.to_string(),
                    place: format!("{first} and {engine}"),
                    detail,
                });
            }
        }
        None
    }
}
