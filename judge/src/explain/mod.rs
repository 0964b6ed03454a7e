//! A rejection told from the verifier's own states, and what would change it.

mod bounds;
mod candidates;
mod edit;
mod names;
mod path;
mod release;
mod repair;
mod scene;

use bpfassay_diag::story::{Step, Story};
use bpfassay_object::model::Program;
use bpfassay_verifier::{verify_recorded, Config, Report, Trail, Verdict};

use crate::program::{with_options, Options};
use crate::target::Target;

pub use names::Namer;
pub use path::changes;
pub use repair::{Change, Outcome, Tried};

use scene::Scene;

/// Why a program was rejected.
#[derive(Clone, Debug)]
pub struct Explanation {
    pub story: Story,
    /// The path that ends at the rejection; empty where no path was at fault.
    pub trail: Trail,
    /// A change that was tried on the program, and what it does.
    pub tried: Option<Tried>,
    /// Times each instruction slot was processed.
    pub visits: Vec<u32>,
}

/// Tells why `program` is rejected; None if it is not.
///
/// Verifies the program once more, with its path kept.
pub fn explain(program: &Program, target: &Target, options: &Options) -> Option<Explanation> {
    let program = &with_options(program, options);
    if !program.missing.is_empty() {
        return None;
    }
    let report = recorded(program, target);
    matches!(report.verdict, Verdict::Rejected(_)).then(|| tell(program, target, report))
}

fn recorded(program: &Program, target: &Target) -> Report {
    verify_recorded(program, &Config { log_limit: 1 << 20, ..target.config() })
}

fn tell(program: &Program, target: &Target, report: Report) -> Explanation {
    let namer = Namer::new(program, target);
    let mut story = Story::of(&path::program(program, &report, &namer));
    if let (None, Some(insn)) =
        (&story.at, report.insn_idx.filter(|_| !report.trail.steps.is_empty()))
    {
        story.at = Some(Step::at(insn));
    }
    story.each_step(|step| {
        if step.text.is_empty() {
            step.text = namer.insn(step.insn);
        }
        step.source = path::source(program, step.insn).or(step.source.take());
    });
    let tried = Scene::of(program, &story, &report.trail, &namer)
        .and_then(|scene| repair::find(&scene, target, &report));
    Explanation { story, tried, trail: report.trail, visits: report.insn_visits }
}
