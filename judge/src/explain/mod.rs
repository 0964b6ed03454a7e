//! A rejection told from the verifier's own states, and what would change it.

mod bounds;
mod candidates;
mod complexity;
mod context;
mod edit;
mod names;
mod path;
mod release;
mod repair;
mod scene;
mod terms;
mod words;

use bpfassay_diag::story::{PathLine, Source, Step, Story};
use bpfassay_object::model::Program;
use bpfassay_verifier::{verify_recorded, Config, Report, Trail, TrailStep, Verdict};

use crate::program::{with_options, Options};
use crate::target::Target;

pub use names::Namer;
pub use path::changes;
pub use repair::{Change, Outcome, Tried};
pub use words::{FixWords, Words};

use scene::Scene;
use terms::Terms;

/// Why a program was rejected.
#[derive(Clone, Debug)]
pub struct Explanation {
    pub story: Story,
    /// The path that ends at the rejection; empty where no path was at fault.
    pub trail: Trail,
    /// A change that was tried on the program, and what it does.
    pub tried: Option<Tried>,
    /// Every instruction of the program.
    pub listing: Vec<Listed>,
    /// Times each instruction slot was processed.
    pub visits: Vec<u32>,
}

/// One instruction of the program.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Listed {
    pub insn_idx: u32,
    /// In the kernel's words.
    pub text: String,
    pub source: Option<Source>,
}

impl Explanation {
    /// The failing path, each step with what it changed.
    pub fn path(&self) -> Vec<PathLine> {
        let steps = &self.trail.steps;
        let listed = |insn| self.listing.binary_search_by_key(&insn, |l| l.insn_idx).ok();
        let line = |(i, step): (usize, &TrailStep)| {
            let listed = listed(step.insn_idx).map(|at| &self.listing[at]);
            let text = listed.map_or(String::new(), |l| l.text.clone());
            let after = steps.get(i + 1).filter(|next| next.frame == step.frame);
            let is_new = i == 0 || steps[i - 1].frame < step.frame;
            PathLine {
                insn: step.insn_idx,
                frame: step.frame as u8,
                changes: after.map_or(String::new(), |a| path::all_changes(step, a)),
                source: listed.and_then(|l| l.source.clone()),
                text,
                begins: if is_new { path::plain(step).to_string() } else { String::new() },
            }
        };
        steps.iter().enumerate().map(line).collect()
    }
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
    let terms = Terms { program, target };
    let mut story = Story::named(&path::program(program, &report, &namer), &terms);
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
    let code = story.code.map_or("", |c| c.name);
    if let ("memory-context", Some(at)) = (code, report.trail.steps.last()) {
        let text = namer.insn(at.insn_idx);
        context::tell(&mut story, &terms, text.split_once(") ").map_or("", |(_, w)| w));
    }
    let (tried, costs) = match Scene::of(program, &story, &report.trail, &namer, &terms) {
        Some(scene) if matches!(code, "program-too-complex" | "program-infinite-loop") => {
            let costs = complexity::costs(&scene, &report);
            (complexity::remedy(&scene, target, &report), costs)
        }
        Some(scene) => (repair::find(&scene, target, &report), None),
        None => (None, None),
    };
    story.knows = costs.or(story.knows.take());
    let listing = listing(program, &namer);
    Explanation { story, tried, trail: report.trail, listing, visits: report.insn_visits }
}

fn listing(program: &Program, namer: &Namer<'_>) -> Vec<Listed> {
    let mut out = Vec::new();
    let mut at = 0;
    while let Some(insn) = program.insns.get(at as usize) {
        out.push(Listed { insn_idx: at, text: namer.insn(at), source: path::source(program, at) });
        at += if insn.is_ld_imm64() { 2 } else { 1 };
    }
    out
}
