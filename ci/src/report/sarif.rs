//! SARIF 2.1.0: one run, a rule for each code or kind of finding that occurs, a result per finding.
//!
//! Fingerprints are those of the gate, so a result stays the same one when lines move.  Findings that
//! an exception covers are there, suppressed, with the exception's reason.

use serde_json::{json, Map, Value};

use super::{help, on_one, row, rule, subject, Place, Places};
use crate::gate::outcome::{Finding, FindingKind, GateReport, Severity};

const SCHEMA: &str = "https://json.schemastore.org/sarif-2.1.0.json";

pub(super) fn render(report: &GateReport, places: &Places) -> Value {
    let mut names: Vec<&str> = report.findings.iter().map(rule).collect();
    names.sort_unstable();
    names.dedup();
    let rules: Vec<Value> = names
        .iter()
        .map(|name| rule_of(name, report.findings.iter().find(|f| rule(f) == *name)))
        .collect();
    let results: Vec<Value> =
        report.findings.iter().map(|f| result(f, &names, report, places)).collect();
    let (name, version) = report.tool.split_once(' ').unwrap_or((&report.tool, "0"));
    json!({
        "$schema": SCHEMA,
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": {
                "name": name,
                "version": version,
                "semanticVersion": version,
                "rules": rules,
            }},
            "automationDetails": { "id": format!("bpfassay/{}/", places.config(report)) },
            "columnKind": "unicodeCodePoints",
            "invocations": [{
                "executionSuccessful": report.exit_code != 3,
                "exitCode": report.exit_code,
            }],
            "results": results,
            "properties": {
                "verdict": report.verdict.as_str(),
                "kernels": report.kernels.iter().map(|k| &k.release).collect::<Vec<_>>(),
            },
        }],
    })
}

fn rule_of(name: &str, example: Option<&Finding>) -> Value {
    let row = example.and_then(row);
    let kind = FindingKind::ALL.into_iter().find(|k| k.as_str() == name);
    let (title, full, change, category) = match (row, kind) {
        (Some(c), _) => (sentence(c.title), c.why.to_string(), c.change, c.category().title()),
        (None, Some(k)) => (k.title().to_string(), k.title().to_string(), "", "Gate"),
        (None, None) => (sentence(name), sentence(name), "", "Gate"),
    };
    let help = if change.is_empty() { full.clone() } else { format!("{full} {change}") };
    let markdown = match change {
        "" => full.clone(),
        change => format!("{full}\n\n**What to change:** {change}"),
    };
    json!({
        "id": name,
        "name": pascal(name),
        "shortDescription": { "text": title },
        "fullDescription": { "text": full },
        "help": { "text": help, "markdown": markdown },
        "properties": { "category": category, "tags": ["ebpf", "verifier"] },
    })
}

fn result(f: &Finding, rules: &[&str], report: &GateReport, places: &Places) -> Value {
    let place = places.of(f, report);
    let level = match f.severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
        Severity::Note => "note",
    };
    let mut result = Map::new();
    let mut put = |name: &str, value: Value| result.insert(name.to_string(), value);
    put("ruleId", json!(rule(f)));
    put("ruleIndex", json!(rules.iter().position(|r| *r == rule(f)).unwrap_or(0)));
    put("kind", json!(if f.severity == Severity::Note { "informational" } else { "fail" }));
    // Only what failed has a level of its own.
    put("level", json!(if f.severity == Severity::Note { "none" } else { level }));
    put("message", json!({ "text": message(f) }));
    put("locations", json!([location(f, &place)]));
    put(
        "partialFingerprints",
        json!({ "bpfassayFinding/v1": f.fingerprint, "primaryLocationLineHash": f.fingerprint }),
    );
    if let Some(e) = f.excepted_by.and_then(|i| report.exceptions.get(i)) {
        let why = format!("{} (until {})", e.reason, e.expires);
        put(
            "suppressions",
            json!([{ "kind": "external", "status": "accepted", "justification": why }]),
        );
    }
    let state = match f.kind {
        FindingKind::NewlyRejected => Some("new"),
        FindingKind::KnownRejected => Some("unchanged"),
        _ => None,
    };
    if let Some(state) = state {
        put("baselineState", json!(state));
    }
    let on: Vec<String> = f.on.iter().map(on_one).collect();
    put(
        "properties",
        json!({
            "kind": f.kind.as_str(),
            "severity": level,
            "on": on,
            "kernelWords": f.kernel_words,
            "errno": f.errno,
            "insnIdx": f.insn_idx,
            "flips": f.flips,
            "explanation": f.explanation,
            "page": f.page,
        }),
    );
    Value::Object(result)
}

fn message(f: &Finding) -> String {
    let mut text = sentence(&f.message);
    if let Some(s) = subject(f) {
        text = format!("{text} In {s}.");
    }
    for turn in &f.flips {
        text = format!("{text} {}", sentence(&turn.to_string()));
    }
    if let Some(h) = help(f) {
        text = format!("{text} {}", sentence(&h));
    }
    text
}

fn location(f: &Finding, place: &Place) -> Value {
    let mut physical = json!({ "artifactLocation": artifact(&place.path) });
    if let Some(line) = place.line {
        let mut region = json!({ "startLine": line });
        if let Some(column) = place.column {
            region["startColumn"] = json!(column);
        }
        if let Some(text) = &place.text {
            region["snippet"] = json!({ "text": text });
        }
        physical["region"] = region;
    }
    let mut location = json!({ "physicalLocation": physical });
    if let (Some(id), Some(program)) = (&f.id, &f.program) {
        location["logicalLocations"] =
            json!([{ "name": program, "fullyQualifiedName": id, "kind": "function" }]);
    }
    location
}

fn artifact(path: &str) -> Value {
    let uri = encoded(path);
    match path.starts_with('/') {
        true => json!({ "uri": format!("file://{uri}") }),
        false => json!({ "uri": uri, "uriBaseId": "%SRCROOT%" }),
    }
}

/// A path as a URI reference: what may stand unescaped in one stays.
pub(super) fn encoded(path: &str) -> String {
    let mut out = String::with_capacity(path.len());
    for b in path.bytes() {
        match b {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'-' | b'.' | b'_' | b'~' => {
                out.push(b as char)
            }
            b => out.push_str(&format!("%{b:02X}")),
        }
    }
    out
}

/// With a capital and a full stop.
fn sentence(s: &str) -> String {
    let mut chars = s.trim().chars();
    let Some(first) = chars.next() else { return String::new() };
    // `R1 …` and other words of the kernel keep their case.
    let mut text: String = first.to_uppercase().chain(chars).collect();
    if !text.ends_with(['.', '!', '?', '…']) {
        text.push('.');
    }
    text
}

/// `map-off` as `MapOff`, the form rule names have.
fn pascal(s: &str) -> String {
    s.split('-')
        .map(|w| {
            let mut c = w.chars();
            c.next().map_or(String::new(), |f| f.to_uppercase().chain(c).collect())
        })
        .collect()
}
