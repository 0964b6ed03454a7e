//! From findings to the verdict: equal findings merged, exceptions applied, everything counted.

use std::collections::HashMap;

use bpfassay_spec::profile::sha256;

use crate::gate::config::{Config, Exception};
use crate::gate::date::Date;
use crate::gate::judging::Judged;
use crate::gate::outcome::{
    ExceptionApplied, Finding, FindingKind as K, GateSummary, GateVerdict, JudgedFor, ObjectRead,
    RunStatus, Severity,
};
use crate::gate::policy::about_config;
use bpfassay_judge::VerdictWord;

/// Merges findings that differ only in kernel and variant; keeps the order of the first of each.
pub fn merge(findings: Vec<Finding>) -> Vec<Finding> {
    let mut index: std::collections::BTreeMap<_, usize> = Default::default();
    let mut merged: Vec<Finding> = Vec::new();
    for f in findings {
        let key =
            (f.kind, f.severity, f.id.clone(), f.object.clone(), f.message.clone(), f.insn_idx);
        match index.get(&key) {
            Some(i) if merged[*i].config == f.config => {
                let into = &mut merged[*i];
                into.on.extend(f.on);
                let new = f.flips.into_iter().filter(|t| !into.flips.contains(t));
                let new: Vec<_> = new.collect();
                into.flips.extend(new);
            }
            _ => {
                index.insert(key, merged.len());
                merged.push(f);
            }
        }
    }
    merged
}

/// Sorts by object, the program's place in it, kind, instruction and message; the configuration's own come last,
/// in its order.
pub fn sort(findings: &mut [Finding], objects: &[ObjectRead]) {
    let mut places: HashMap<(&str, &str), usize> = HashMap::new();
    for o in objects {
        for (nth, program) in o.programs.iter().enumerate() {
            places.entry((&o.path, program)).or_insert(nth);
        }
    }
    findings.sort_by_cached_key(|f| {
        let object = f.object.clone().unwrap_or_default();
        let nth = f.program.as_ref().and_then(|p| places.get(&(object.as_str(), p.as_str())));
        let config = f.config.map(|c| (c.line, c.column));
        // Findings about the object as a whole stand before those about its programs.
        let nth = f.program.as_ref().map(|_| nth.copied().unwrap_or(usize::MAX));
        let about = (f.object.is_none(), object, nth, f.id.clone());
        (about, config, f.kind, f.insn_idx, f.message.clone())
    });
}

/// Marks what each exception covers and adds findings about the exceptions themselves.
pub fn except(
    config: &Config,
    objects: &[ObjectRead],
    today: Date,
    findings: &mut Vec<Finding>,
) -> Vec<ExceptionApplied> {
    let mut applied = Vec::new();
    let mut about = Vec::new();
    for (i, e) in config.exceptions.iter().enumerate() {
        let expired = e.expires < today;
        let mut covers = 0;
        for f in findings.iter_mut().filter(|f| f.excepted_by.is_none()) {
            if !expired && e.covers(f) {
                f.excepted_by = Some(i);
                covers += 1;
            }
        }
        let row = ExceptionApplied {
            object: e.object.as_ref().map(|o| o.text.clone()),
            program: e.program.as_ref().map_or_else(String::new, |p| p.text.clone()),
            about: e.about(),
            reason: e.reason.clone(),
            expires: e.expires.to_string(),
            expired,
            config: e.place,
            covers,
        };
        let (kind, severity, message) = if expired {
            let message = format!("the exception for {} expired on {}", e.names(), e.expires);
            (K::ExceptionExpired, Severity::Error, message)
        } else if covers == 0 && !e.names_something(objects) {
            let message = format!("the exception is for {}, which is not there", e.names());
            (K::UnknownProgram, Severity::Error, message)
        } else if covers == 0 {
            let message = format!("the exception for {} covers nothing", e.names());
            (K::ExceptionUnused, Severity::Warning, message)
        } else {
            applied.push(row);
            continue;
        };
        let mut f = about_config(kind, severity, e.place, message);
        f.help = Some(format!("its reason was: {}", e.reason));
        about.push(f);
        applied.push(row);
    }
    findings.extend(about);
    applied
}

/// Program rules that name nothing.
pub fn unknown_rules(config: &Config, objects: &[ObjectRead]) -> Vec<Finding> {
    let unknown = config.programs.iter().filter(|rule| {
        !objects.iter().any(|o| rule.is_for(&o.path) && o.programs.contains(&rule.name))
    });
    unknown
        .map(|rule| {
            let object =
                rule.object.as_ref().map_or(String::new(), |o| format!(" in `{}`", o.text));
            let message = format!("no program `{}`{object}", rule.name);
            let place = config.place(rule.span.start);
            about_config(K::UnknownProgram, Severity::Error, place, message)
        })
        .collect()
}

impl Exception {
    fn covers(&self, f: &Finding) -> bool {
        let object = f.object.as_deref().unwrap_or("");
        let in_object = self.object.as_ref().is_none_or(|o| o.matches_object(object));
        let in_program = match (&self.program, &f.program) {
            (Some(pattern), Some(name)) => pattern.matches(name),
            (None, None) => true,
            // Without a program it covers the object, and what could not be linked of it.
            (None, Some(_)) => true,
            (Some(_), None) => false,
        };
        let says = |part: &str| {
            f.message.contains(part) || f.kernel_words.iter().any(|w| w.contains(part))
        };
        let is_kind = |k: K| f.kind == k || (k == K::Rejected && is_rejection(f.kind));
        f.config.is_none()
            && (f.kind.may_be_excepted() || f.kind == K::KnownRejected)
            && in_object
            && in_program
            && self.code.as_ref().is_none_or(|c| f.code.as_ref() == Some(c))
            && self.message.as_ref().is_none_or(|m| says(m))
            && self.kind.is_none_or(is_kind)
    }

    /// `program` or `object:program`, as configured.
    fn names(&self) -> String {
        let object = self.object.as_ref().map(|o| o.text.as_str());
        let program = self.program.as_ref().map(|p| p.text.as_str());
        match (object, program) {
            (Some(o), Some(p)) => format!("`{o}:{p}`"),
            (o, p) => format!("`{}`", p.or(o).unwrap_or("")),
        }
    }

    fn about(&self) -> String {
        let kind = self.kind.map(K::as_str);
        let parts =
            [("code", self.code.as_deref()), ("message", self.message.as_deref()), ("kind", kind)];
        let parts =
            parts.into_iter().filter_map(|(what, value)| Some(format!("{what} {}", value?)));
        parts.collect::<Vec<_>>().join(", ")
    }

    fn names_something(&self, objects: &[ObjectRead]) -> bool {
        let mut named = objects
            .iter()
            .filter(|o| self.object.as_ref().is_none_or(|p| p.matches_object(&o.path)));
        match &self.program {
            Some(p) => named.any(|o| o.programs.iter().any(|name| p.matches(name))),
            None => named.next().is_some(),
        }
    }
}

fn is_rejection(kind: K) -> bool {
    matches!(kind, K::Rejected | K::NewlyRejected | K::KnownRejected)
}

/// Gives every finding what makes it the same in the next build.
pub fn fingerprint(findings: &mut [Finding]) {
    for f in findings {
        // A rejection is one finding, whatever the baseline knows of it.
        let kind = if is_rejection(f.kind) { K::Rejected } else { f.kind };
        let place = f.source.as_ref().map_or([String::new(), String::new()], |s| {
            let file = s.file.rsplit(['/', '\\']).next().unwrap_or("");
            [file.to_string(), s.text.trim().to_string()]
        });
        let what = f.code.clone().unwrap_or_else(|| masked(&f.message));
        let [file, line] = place;
        f.fingerprint_inputs = vec![
            kind.as_str().to_string(),
            f.object.clone().unwrap_or_default(),
            f.id.as_deref().and_then(|id| id.rsplit_once(':')).map_or("", |(_, p)| p).to_string(),
            what,
            file,
            line,
        ];
        f.fingerprint = sha256(f.fingerprint_inputs.join("\0").as_bytes());
    }
}

/// Numbers change from build to build without making it another finding.
fn masked(message: &str) -> String {
    let mut out = String::new();
    for c in message.chars() {
        match c {
            '0'..='9' if out.ends_with('#') => {}
            '0'..='9' => out.push('#'),
            c => out.push(c),
        }
    }
    out
}

/// What the gate makes of one judgement.
pub fn status(j: &Judged, on: &JudgedFor, findings: &[&Finding]) -> RunStatus {
    let counts = |f: &&&Finding| f.severity == Severity::Error && f.excepted_by.is_none();
    let mut open = findings.iter().filter(|f| f.on.contains(on)).filter(counts).peekable();
    if open.peek().is_some() {
        let judged = open.any(|f| !f.kind.is_not_judged() && f.kind != K::Internal);
        return if judged { RunStatus::Fail } else { RunStatus::NotJudged };
    }
    let excepted = findings.iter().any(|f| f.on.contains(on) && f.excepted_by.is_some());
    match j.report.verdict {
        VerdictWord::Accepted if !excepted => RunStatus::Pass,
        _ => RunStatus::Excepted,
    }
}

/// Counts and the verdict that follows.
pub fn verdict(
    objects: &[ObjectRead],
    judged: &[Judged],
    findings: &[Finding],
) -> (GateSummary, GateVerdict) {
    let mut s = GateSummary { objects: objects.len(), judged: judged.len(), ..Default::default() };
    s.unreadable = objects.iter().filter(|o| o.error.is_some()).count();
    for j in judged {
        match j.report.verdict {
            VerdictWord::Accepted => s.accepted += 1,
            VerdictWord::Rejected => s.rejected += 1,
            VerdictWord::Unsupported => s.unsupported += 1,
        }
    }
    let (mut fails, mut open) = (false, false);
    for f in findings {
        match (f.excepted_by, f.severity) {
            (Some(_), _) => s.excepted += 1,
            (None, Severity::Error) => {
                s.errors += 1;
                open = true;
                fails |= !f.kind.is_not_judged();
            }
            (None, Severity::Warning) => s.warnings += 1,
            (None, Severity::Note) => s.notes += 1,
        }
    }
    let verdict = if fails {
        GateVerdict::Fail
    } else if open || judged.is_empty() {
        GateVerdict::NotJudged
    } else {
        GateVerdict::Pass
    };
    (s, verdict)
}
