//! An explanation in few words, for reports that have a line or two for it.

use bpfassay_diag::story::{Step, What};
use serde::Serialize;

use super::repair::{Outcome, Tried};
use super::Explanation;

/// What a report says of a rejection beside the kernel's message.
#[derive(Serialize, Clone, PartialEq, Eq, Debug)]
pub struct Words {
    /// `source`, `lowering`, `imprecision`, `limit`, `environment`; null where nothing decides it.
    pub class: Option<&'static str>,
    pub why_class: Option<String>,
    /// What the access needed, as an inequality.
    pub needs: Option<String>,
    /// What was known.
    pub knows: Option<String>,
    /// Where the value at fault came from, oldest first.
    pub lineage: Vec<String>,
    /// The instruction where the program went wrong.
    pub cause_insn_idx: Option<u32>,
    pub fix: Option<FixWords>,
}

/// A change.
#[derive(Serialize, Clone, PartialEq, Eq, Debug)]
pub struct FixWords {
    pub text: String,
    /// It was put into the program, and the program is accepted with it.
    pub verified: bool,
    /// What came of trying it; null if it was not tried.
    pub tried: Option<String>,
}

impl Words {
    /// For the kernel of a release.
    pub fn of(e: &Explanation, kernel: &str) -> Words {
        let s = &e.story;
        let tried = e.tried.as_ref().map(|t| FixWords {
            text: t.change.text.clone(),
            verified: t.outcome == Outcome::Accepted,
            tried: Some(t.said(kernel)),
        });
        let untried = || Some(FixWords { text: s.fix.clone()?, verified: false, tried: None });
        Words {
            class: s.class.map(|c| c.as_str()),
            why_class: s.why_class.clone(),
            needs: s.needs.clone(),
            knows: s.knows.clone(),
            lineage: s.lineage.iter().map(line).collect(),
            cause_insn_idx: s.cause.as_ref().map(|c| c.insn),
            fix: tried.or_else(untried),
        }
    }

    /// The advice, and what came of trying it.
    pub fn advice(&self) -> Option<String> {
        let fix = self.fix.as_ref()?;
        Some(match &fix.tried {
            Some(tried) => format!("{} {tried}", fix.text),
            None => fix.text.clone(),
        })
    }

    /// Lines of the story: needs, knows, and where the value came from.
    pub fn lines(&self) -> Vec<String> {
        let mut out = Vec::new();
        out.extend(self.needs.as_ref().map(|n| format!("needs: {n}")));
        out.extend(self.knows.as_ref().map(|k| format!("knows: {k}")));
        if self.lineage.len() > 1 {
            const MOST: usize = 6;
            let from = self.lineage.len().saturating_sub(MOST);
            out.push(format!("where the value came from:\n{}", self.lineage[from..].join("\n")));
        }
        out
    }
}

impl Outcome {
    /// What came of a trial, in a sentence.
    pub fn said(&self, kernel: &str) -> String {
        match self {
            Outcome::Accepted => {
                format!("Tried: with this change the program is accepted ({kernel}).")
            }
            Outcome::GetsPast { message, place } => format!(
                "Tried: with this change the verifier gets past this place, and stops at {place} next: {message}"
            ),
        }
    }
}

impl Tried {
    /// What came of it, and what it cost where that matters.
    pub fn said(&self, kernel: &str) -> String {
        let said = self.outcome.said(kernel);
        match self.outcome {
            Outcome::Accepted if self.processed > 64 => {
                format!("{said} Instructions processed: {}.", self.processed)
            }
            _ => said,
        }
    }
}

/// `prog.c:12, insn 6: called bpf_map_lookup_elem#1: R0=map_value_or_null(…)`.
fn line(step: &Step) -> String {
    let place = step.source.as_ref().and_then(|s| {
        let file = s.file.as_deref()?;
        Some(format!("{file}:{}, ", s.line?))
    });
    let what = step.what.map_or("", What::as_str);
    let value = match (&step.place, &step.value) {
        (Some(p), Some(v)) => format!("; {p}={v}"),
        _ => String::new(),
    };
    format!("{}insn {}: {what}: {}{value}", place.unwrap_or_default(), step.insn, step.text)
}
