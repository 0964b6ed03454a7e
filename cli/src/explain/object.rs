//! `--object`: the story from the verifier's own states.

use std::path::{Path, PathBuf};

use bpfassay_ci::files::MAX_OBJECT;
use bpfassay_diag::story::{Outcome as End, Story};
use bpfassay_judge::explain::{explain, Explanation};
use bpfassay_judge::{open, Entry, Judged, Options, Target, VerdictWord};

use crate::exit::{fail, Outcome};
use crate::inputs;
use crate::setup::{self, KernelArgs};

/// What of an object is to be told.
#[derive(clap::Args)]
pub struct ObjectArgs {
    /// The object that the log is about: its rejections are told from the verifier's own states, and
    /// changes are tried on it.  Without a log, bpfassay's verdict is explained.
    #[arg(long, value_name = "OBJ")]
    pub object: Option<PathBuf>,
    /// Only the program of this name.
    #[arg(long, value_name = "NAME", requires = "object")]
    pub program: Option<String>,
    #[command(flatten)]
    pub kernel: KernelArgs,
}

/// One program of the object, judged.
pub struct Own {
    pub name: String,
    pub judged: Judged,
    pub explanation: Option<Explanation>,
}

impl Own {
    /// What became of it, as the end of a sentence.
    fn verdict(&self) -> String {
        let r = &self.judged.report;
        match (r.verdict, &r.message) {
            (VerdictWord::Rejected, Some(m)) => format!("rejects it: {m}"),
            (VerdictWord::Rejected, None) => "rejects it without a message".to_string(),
            (VerdictWord::Accepted, _) => "accepts it".to_string(),
            (VerdictWord::Unsupported, m) => {
                format!("cannot judge it: {}", m.as_deref().unwrap_or("unknown reason"))
            }
        }
    }
}

/// Judges the object's programs and tells their rejections.
pub fn judge(path: &Path, args: &ObjectArgs) -> Result<(Target, Vec<Own>), Outcome> {
    let target = setup::target(&args.kernel)?;
    let bytes = inputs::read(path, MAX_OBJECT)?;
    let name = path.to_string_lossy();
    let options = Options::default();
    let opened = open(&bytes, &name, &options)
        .map_err(|e| fail(Outcome::NotJudged, format!("{name}: {}", e.message)))?;
    let linked = target.link_with_maps(&opened);
    let wanted = |e: &&Entry| args.program.as_ref().is_none_or(|p| *p == e.name);
    let own: Vec<Own> = linked
        .entries
        .iter()
        .filter(wanted)
        .map(|e| {
            let judged = e.judge(&target, &options);
            let is_rejected = judged.report.verdict == VerdictWord::Rejected;
            let program = e.program.as_ref().ok().filter(|_| is_rejected);
            let explanation = program.and_then(|p| explain(p, &target, &options));
            Own { name: e.name.clone(), judged, explanation }
        })
        .collect();
    match own.is_empty() {
        true => Err(fail(Outcome::NotJudged, format!("{name} holds no such program"))),
        false => Ok((target, own)),
    }
}

/// What the log and this verifier disagree on, a line each.
pub fn disagreements(logged: &[Story], own: &[Own], kernel: &str) -> Vec<String> {
    let mut notes = Vec::new();
    for story in logged {
        let Some(o) = partner(story, own) else { continue };
        let said = story.message.last();
        let same = match story.outcome {
            End::Accepted => o.judged.report.verdict == VerdictWord::Accepted,
            End::Rejected => {
                o.judged.report.verdict == VerdictWord::Rejected
                    && (said.is_none() || said == o.judged.report.message.as_ref())
            }
            End::Cut => true,
        };
        if same {
            continue;
        }
        let log = match (story.outcome, said) {
            (End::Accepted, _) => "accepts it".to_string(),
            (_, Some(m)) => format!("rejects it: {m}"),
            (_, None) => "rejects it without a message".to_string(),
        };
        notes.push(format!(
            "the log and bpfassay differ on `{}`: the log's kernel {log}; for Linux {kernel} bpfassay {}",
            o.name,
            o.verdict()
        ));
    }
    notes
}

/// The program of the object that a log is about: by its name, or the only one there is.
pub fn partner<'a>(story: &Story, own: &'a [Own]) -> Option<&'a Own> {
    match &story.program {
        Some(name) => own.iter().find(|o| o.name == *name),
        None => own.iter().find(|_| own.len() == 1).or_else(|| {
            let mut same = own.iter().filter(|o| {
                story.message.last().is_some()
                    && story.message.last() == o.judged.report.message.as_ref()
            });
            same.next().filter(|_| same.next().is_none())
        }),
    }
}

/// What is to be said of programs that were not rejected.
pub fn notes(own: &[Own], kernel: &str) -> Vec<String> {
    let others = own.iter().filter(|o| o.judged.report.verdict != VerdictWord::Rejected);
    others.map(|o| format!("for Linux {kernel} bpfassay {}: `{}`", o.verdict(), o.name)).collect()
}
