//! From judgements to findings: rejections, what was not judged, budgets, allow lists, baseline.
//!
//! Each function looks at one judgement and says what is wrong with it; merging equal findings of several
//! kernels and variants, exceptions and the verdict come after, in [`crate::gate::settle`].

use crate::gate::baseline::{drift, Baseline};
use crate::gate::calls::Callee;
use crate::gate::config::{Allow, Budget, Config};
use crate::gate::judging::Judged;
use crate::gate::outcome::{
    ConfigPlace, Finding, FindingKind as K, Headroom, JudgedFor, ObjectRead, Severity, Used,
};
use crate::gate::programs::ProgramRule;
use crate::gate::values::Limit;
use bpfassay_diag::number::grouped;
use bpfassay_judge::explain::Words;
use bpfassay_judge::{Source, VerdictWord};

/// What every judgement is held against.
pub struct Rules<'a> {
    pub config: &'a Config,
    /// None if the configuration has none.
    pub baseline: Option<&'a Baseline>,
    pub objects: &'a [ObjectRead],
}

/// A finding about nothing yet.
pub fn finding(kind: K, severity: Severity, message: impl Into<String>) -> Finding {
    Finding {
        kind,
        severity,
        id: None,
        object: None,
        program: None,
        section: None,
        on: Vec::new(),
        message: message.into(),
        since: None,
        help: None,
        explanation: None,
        page: None,
        code: None,
        kernel_words: Vec::new(),
        errno: None,
        insn_idx: None,
        insn: None,
        source: None,
        config: None,
        flips: Vec::new(),
        excepted_by: None,
        fingerprint_inputs: Vec::new(),
        fingerprint: String::new(),
    }
}

impl Rules<'_> {
    /// Everything wrong with one judgement.
    pub fn judgement(&self, j: &Judged, on: &JudgedFor) -> Vec<Finding> {
        let mut found = self.verdict(j, on);
        self.budgets(j, &mut found);
        if j.error.is_none() {
            allow_lists(&self.config.allow, j, &mut found);
        }
        let object = self.objects.get(j.object).map(|o| o.path.clone());
        for f in &mut found {
            f.id = Some(j.id.clone());
            f.object.clone_from(&object);
            f.program = Some(j.report.name.clone());
            f.section = Some(j.report.section.clone());
            f.on = vec![on.clone()];
        }
        found
    }

    /// Findings about an object as a whole.
    pub fn object(&self, object: &ObjectRead) -> Option<Finding> {
        let mut f = match &object.error {
            Some(e) if e.is_internal() => finding(K::Internal, Severity::Error, &e.message),
            Some(e) => {
                let mut f = finding(K::Unreadable, Severity::Error, &e.message);
                f.code = load_code(&e.kind);
                f
            }
            None if object.programs.is_empty() => {
                let mut f = finding(K::NoProgram, Severity::Warning, "the object holds no program");
                f.help = Some("leave it out with `exclude` if that is meant".to_string());
                f
            }
            None => return None,
        };
        f.object = Some(object.path.clone());
        Some(f)
    }

    fn verdict(&self, j: &Judged, on: &JudgedFor) -> Vec<Finding> {
        let r = &j.report;
        let row = self.baseline.map(|b| (b, b.rows.get(&(j.id.clone(), on.clone()))));
        match (r.verdict, row) {
            (VerdictWord::Unsupported, _) => vec![self.not_judged(j)],
            (VerdictWord::Rejected, None) => {
                vec![rejection(K::Rejected, Severity::Error, j, &on.kernel)]
            }
            (VerdictWord::Rejected, Some((_, Some(row)))) if row.verdict == r.verdict => {
                vec![rejection(K::KnownRejected, Severity::Note, j, &on.kernel)]
            }
            (VerdictWord::Rejected, Some((baseline, row))) => {
                let mut f = rejection(K::NewlyRejected, Severity::Error, j, &on.kernel);
                let day = baseline.taken.as_deref().unwrap_or("today");
                f.since = Some(match row {
                    Some(row) => format!("{} in the baseline of {day}", row.verdict.as_str()),
                    None => format!("not in the baseline of {day}"),
                });
                vec![f]
            }
            (VerdictWord::Accepted, None) => Vec::new(),
            (VerdictWord::Accepted, Some((_, None))) => {
                let mut f = finding(K::NewProgram, self.stale(), "not in the baseline");
                f.help = Some(UPDATE.to_string());
                vec![f]
            }
            (VerdictWord::Accepted, Some((baseline, Some(row)))) => {
                let mut found = Vec::new();
                if row.verdict != r.verdict {
                    let day = baseline.taken.as_deref().unwrap_or("today");
                    let was = row.verdict.as_str();
                    let message = format!("accepted now, {was} in the baseline of {day}");
                    let mut f = finding(K::NewlyAccepted, self.stale(), message);
                    f.help = Some(UPDATE.to_string());
                    found.push(f);
                } else {
                    let s = r.stats;
                    let insns = (row.insns_processed, s.insns_processed, "instructions processed");
                    for (old, new, what) in [insns, (row.total_states, s.total_states, "states")] {
                        found.extend(self.drift(old, new, what));
                    }
                }
                found
            }
        }
    }

    /// Severity of a baseline that is out of date.
    fn stale(&self) -> Severity {
        match &self.config.baseline {
            Some(b) if b.strict => Severity::Error,
            _ => Severity::Note,
        }
    }

    fn drift(&self, old: u32, new: u32, what: &str) -> Option<Finding> {
        let b = self.config.baseline.as_ref()?;
        let percent = drift(old, new, b.drift, b.drift_floor)?;
        let (new, old) = (grouped(new), grouped(old));
        let message = format!("{new} {what}, {percent:+.0} % against {old} in the baseline");
        Some(if percent > 0.0 {
            let mut f = finding(K::CostDrift, Severity::Error, message);
            f.help = Some(format!("more than {} % is not allowed", b.drift));
            f
        } else {
            let mut f = finding(K::CostDrop, self.stale(), message);
            f.help = Some(UPDATE.to_string());
            f
        })
    }

    fn not_judged(&self, j: &Judged) -> Finding {
        let r = &j.report;
        let message = r.message.clone().unwrap_or_else(|| "unknown reason".to_string());
        match &j.error {
            Some(e) if e.is_internal() => finding(K::Internal, Severity::Error, message),
            Some(e) => {
                let mut f = finding(K::Unreadable, Severity::Error, message);
                f.code = load_code(&e.kind);
                f
            }
            None if self.rules(j).any(|p| p.allow_unsupported) => {
                let mut f = finding(K::Unsupported, Severity::Note, message);
                f.code = r.code.map(str::to_string);
                f
            }
            None => {
                let mut f = finding(K::Unsupported, Severity::Error, message);
                f.code = r.code.map(str::to_string);
                f.help =
                    Some("a [[program]] rule with `unsupported = \"allow\"` lets it pass".into());
                f
            }
        }
    }

    /// Rules for a program, those that name its object first.
    fn rules<'b>(&'b self, j: &'b Judged) -> impl Iterator<Item = &'b ProgramRule> {
        let path = self.objects.get(j.object).map_or("", |o| o.path.as_str());
        let matches = move |p: &&ProgramRule| p.name == j.report.name && p.is_for(path);
        let rules = &self.config.programs;
        let named = rules.iter().filter(|p| p.object.is_some());
        named.chain(rules.iter().filter(|p| p.object.is_none())).filter(matches)
    }

    /// The budget of a program: its own, and for what that leaves open everybody's.
    fn budget(&self, j: &Judged) -> Budget {
        let own = self.rules(j).fold(Budget::default(), |b, rule| b.or(&rule.budget));
        own.or(&self.config.budget)
    }

    /// The program's headroom, with what its budget allows.
    pub fn headroom(&self, j: &Judged) -> Headroom {
        let budget = self.budget(j);
        let with = |used: Used, limit: Option<Limit>| Used {
            budget: limit.map(|l| l.allows(used.limit)),
            ..used
        };
        let h = j.headroom.clone();
        Headroom {
            insns: with(h.insns, budget.insns_processed),
            stack: with(h.stack, budget.stack_depth),
            ..h
        }
    }

    fn budgets(&self, j: &Judged, found: &mut Vec<Finding>) {
        if j.error.is_some() || j.report.verdict == VerdictWord::Unsupported {
            return;
        }
        let budget = self.budget(j);
        let states = Used { used: j.report.stats.total_states, ..Used::default() };
        let rows = [
            (budget.insns_processed, j.headroom.insns, "instructions processed"),
            (budget.states.map(|s| *s.get_ref()), states, "states"),
            (budget.stack_depth, j.headroom.stack, "bytes of stack"),
        ];
        for (limit, cost, what) in rows {
            let Some(limit) = limit.filter(|l| cost.used > l.allows(cost.limit)) else { continue };
            let most = limit.allows(cost.limit);
            let share = if cost.limit == 0 {
                String::new()
            } else {
                format!(", {:.0} % of the limit", cost.percent())
            };
            let message = format!(
                "{} {what}{share}, over the budget of {}",
                grouped(cost.used),
                grouped(most)
            );
            let mut f = finding(K::BudgetExceeded, Severity::Error, message);
            // The line that costs most is where to look first.
            if what == "instructions processed" {
                if let Some(top) = j.headroom.lines.first() {
                    let n = grouped(top.insns_processed);
                    f.help = Some(format!("{n} of them belong to this line"));
                    f.source = Some(top.source.clone());
                }
            }
            found.push(f);
        }
    }

    /// Programs of the baseline that are gone.
    pub fn removed(&self, judged: &[(&Judged, JudgedFor)]) -> Vec<Finding> {
        let Some(baseline) = self.baseline else { return Vec::new() };
        let here: std::collections::BTreeSet<(&str, &JudgedFor)> =
            judged.iter().map(|(j, on)| (j.id.as_str(), on)).collect();
        let severity = match self.stale() {
            Severity::Error => Severity::Error,
            _ => Severity::Warning,
        };
        let gone = baseline.rows.keys().filter(|(id, on)| !here.contains(&(id.as_str(), on)));
        gone.map(|(id, on)| {
            let mut f =
                finding(K::RemovedProgram, severity, "in the baseline, but not in the objects");
            f.help = Some(UPDATE.to_string());
            let (object, program) = id.rsplit_once(':').unwrap_or(("", id));
            f.object = Some(object.to_string());
            f.program = Some(program.split('#').next().unwrap_or(program).to_string());
            f.id = Some(id.clone());
            f.on = vec![on.clone()];
            f
        })
        .collect()
    }
}

const UPDATE: &str = "--update-baseline takes it over";

/// Code of an [`bpfassay_judge::ObjectError`]'s kind.
fn load_code(kind: &str) -> Option<String> {
    bpfassay_diag::explain::load_error(kind).map(|c| c.name.to_string())
}

/// What the kernel says, as a finding.
fn rejection(kind: K, severity: Severity, j: &Judged, kernel: &str) -> Finding {
    let r = &j.report;
    let message = r.message.clone().unwrap_or_else(|| "refused without a log".to_string());
    let explanation = r.detail.explanation.as_deref().map(|e| Words::of(e, kernel));
    Finding {
        explanation,
        code: r.code.map(str::to_string),
        kernel_words: r.message_lines.clone(),
        errno: r.errno,
        insn_idx: r.insn_idx,
        insn: r.detail.insn_text.clone(),
        source: r.source.clone(),
        flips: j.flips.clone(),
        ..finding(kind, severity, message)
    }
}

fn allow_lists(allow: &Allow, j: &Judged, found: &mut Vec<Finding>) {
    let lacks = |list: &Option<Vec<toml::Spanned<String>>>, name: &str| {
        list.as_ref().is_some_and(|l| !l.iter().any(|n| n.get_ref() == name))
    };
    let mut push = |kind, message: String, insn_idx: Option<u32>, source: Option<Source>| {
        found.push(Finding { insn_idx, source, ..finding(kind, Severity::Error, message) });
    };
    for (callee, (idx, source)) in &j.calls {
        let at = (Some(*idx), source.clone());
        match callee {
            Callee::Helper(name) => {
                let short = name.strip_prefix("bpf_").unwrap_or(name);
                if lacks(&allow.helpers, name) && lacks(&allow.helpers, short) {
                    push(K::HelperNotAllowed, format!("helper {name} is not allowed"), at.0, at.1);
                }
            }
            Callee::Kfunc(name) if lacks(&allow.kfuncs, name) => {
                push(
                    K::KfuncNotAllowed,
                    format!("kernel function {name} is not allowed"),
                    at.0,
                    at.1,
                );
            }
            Callee::Kfunc(_) => {}
        }
    }
    let ty = j.report.prog_type;
    if lacks(&allow.program_types, ty) {
        push(K::ProgramTypeNotAllowed, format!("program type {ty} is not allowed"), None, None);
    }
    if lacks(&allow.licences, &j.license) {
        let licence = if j.license.is_empty() { "(none)" } else { &j.license };
        push(K::LicenceNotAllowed, format!("licence {licence} is not allowed"), None, None);
    }
}

/// A finding about the configuration itself.
pub fn about_config(kind: K, severity: Severity, place: ConfigPlace, message: String) -> Finding {
    Finding { config: Some(place), ..finding(kind, severity, message) }
}
