//! GitLab's code quality report: an array of findings with a fingerprint, a severity and a place.

use serde::Serialize;

use super::{on, rule, subject, Places};
use crate::gate::outcome::{Finding, FindingKind as K, GateReport, Severity};

#[derive(Serialize)]
pub(super) struct Issue {
    #[serde(rename = "type")]
    kind: &'static str,
    description: String,
    check_name: String,
    fingerprint: String,
    severity: &'static str,
    categories: [&'static str; 1],
    location: Location,
}

#[derive(Serialize)]
struct Location {
    path: String,
    lines: Lines,
}

#[derive(Serialize)]
struct Lines {
    begin: u32,
}

/// Findings that an exception covers are left out: the report has no word for them.
pub(super) fn render(report: &GateReport, places: &Places) -> Vec<Issue> {
    let open = report.findings.iter().filter(|f| f.excepted_by.is_none());
    open.map(|f| issue(f, report, places)).collect()
}

fn issue(f: &Finding, report: &GateReport, places: &Places) -> Issue {
    let place = places.of(f, report);
    let mut description = f.message.clone();
    if let Some(s) = subject(f) {
        description = format!("{description} ({s})");
    }
    if let Some(on) = on(f, report) {
        description = format!("{description}, on {on}");
    }
    let severity = match (f.severity, f.kind) {
        (Severity::Error, K::Rejected | K::NewlyRejected) => "critical",
        (Severity::Error, _) => "major",
        (Severity::Warning, _) => "minor",
        (Severity::Note, _) => "info",
    };
    let category = match f.kind {
        K::BudgetExceeded | K::CostDrift | K::CostDrop => "Performance",
        K::HelperNotAllowed | K::KfuncNotAllowed | K::LicenceNotAllowed => "Security",
        _ => "Bug Risk",
    };
    Issue {
        kind: "issue",
        description,
        check_name: rule(f).to_string(),
        fingerprint: f.fingerprint.clone(),
        severity,
        categories: [category],
        location: Location { path: place.path, lines: Lines { begin: place.line.unwrap_or(1) } },
    }
}
