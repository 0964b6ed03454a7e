//! The file a run is compared with: what each program's verdict was and cost.
//!
//! JSON, one judgement a line, sorted, so that a diff reads as news.  Kernels are named as the
//! configuration names them: a newer 6.18 is compared with the older one.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

use crate::gate::date::Date;
use crate::gate::judging::Judged;
use crate::gate::outcome::JudgedFor;
use bpfassay_judge::VerdictWord;

/// Value of `schema`.
const SCHEMA: &str = "bpfassay.baseline/1";

/// `object:program`, kernel, variant.
pub type Key = (String, JudgedFor);

/// What is remembered of one judgement.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Row {
    pub verdict: VerdictWord,
    pub insns_processed: u32,
    pub total_states: u32,
    pub stack_depth: u32,
    /// Of a rejection.
    pub message: Option<String>,
}

/// A baseline file's content.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Baseline {
    /// Day it was taken.
    pub taken: Option<String>,
    pub rows: BTreeMap<Key, Row>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawFile {
    schema: String,
    tool: String,
    taken: String,
    programs: Vec<RawRow>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRow {
    id: String,
    kernel: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    variant: Option<String>,
    verdict: String,
    insns_processed: u32,
    total_states: u32,
    stack_depth: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    message: Option<String>,
}

impl Baseline {
    /// Reads a file's text; the error says what is wrong with it.
    pub fn parse(text: &str) -> Result<Baseline, String> {
        let raw: RawFile = serde_json::from_str(text).map_err(|e| e.to_string())?;
        if raw.schema != SCHEMA {
            return Err(format!("schema `{}` is not {SCHEMA}", raw.schema));
        }
        if Date::parse(&raw.taken).is_none() {
            return Err(format!("`taken` is no day: `{}` (written by {})", raw.taken, raw.tool));
        }
        let mut rows = BTreeMap::new();
        for r in raw.programs {
            let verdict = match r.verdict.as_str() {
                "accepted" => VerdictWord::Accepted,
                "rejected" => VerdictWord::Rejected,
                "unsupported" => VerdictWord::Unsupported,
                other => return Err(format!("{}: no verdict is called `{other}`", r.id)),
            };
            let row = Row {
                verdict,
                insns_processed: r.insns_processed,
                total_states: r.total_states,
                stack_depth: r.stack_depth,
                message: r.message,
            };
            let on = JudgedFor { kernel: r.kernel, variant: r.variant };
            if rows.insert((r.id.clone(), on), row).is_some() {
                return Err(format!("{} stands there twice", r.id));
            }
        }
        Ok(Baseline { taken: Some(raw.taken), rows })
    }

    /// What a run found, as of `today`.
    pub fn of(judged: &[Judged], on: impl Fn(&Judged) -> JudgedFor, today: Date) -> Baseline {
        let row = |j: &Judged| {
            let r = &j.report;
            Row {
                verdict: r.verdict,
                insns_processed: r.stats.insns_processed,
                total_states: r.stats.total_states,
                stack_depth: j.headroom.stack.used,
                message: r.message.clone().filter(|_| r.verdict == VerdictWord::Rejected),
            }
        };
        let rows = judged.iter().map(|j| ((j.id.clone(), on(j)), row(j))).collect();
        Baseline { taken: Some(today.to_string()), rows }
    }

    /// The file's text.
    pub fn to_text(&self, tool: &str) -> String {
        let quoted = |s: &str| serde_json::Value::from(s).to_string();
        let mut out = String::from("{\n");
        let taken = self.taken.as_deref().unwrap_or("1970-01-01");
        let _ = writeln!(out, "  \"schema\": {},", quoted(SCHEMA));
        let _ = writeln!(out, "  \"tool\": {},", quoted(tool));
        let _ = writeln!(out, "  \"taken\": {},", quoted(taken));
        out.push_str("  \"programs\": [");
        for (i, ((id, on), r)) in self.rows.iter().enumerate() {
            let raw = RawRow {
                id: id.clone(),
                kernel: on.kernel.clone(),
                variant: on.variant.clone(),
                verdict: r.verdict.as_str().to_string(),
                insns_processed: r.insns_processed,
                total_states: r.total_states,
                stack_depth: r.stack_depth,
                message: r.message.clone(),
            };
            // A row of strings and numbers always has a text.
            let row = serde_json::to_string(&raw).unwrap_or_default();
            let _ = write!(out, "{}\n    {row}", if i == 0 { "" } else { "," });
        }
        out.push_str("\n  ]\n}\n");
        out
    }
}

/// Growth of a cost: None within the threshold (`drift` percent and `floor` units).
pub fn drift(old: u32, new: u32, drift: f64, floor: u32) -> Option<f64> {
    let change = f64::from(new) - f64::from(old);
    let percent = change * 100.0 / f64::from(old.max(1));
    (change.abs() >= f64::from(floor.max(1)) && percent.abs() > drift).then_some(percent)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_baseline_reads_back_as_written() {
        let row = |verdict, message: Option<&str>| Row {
            verdict,
            insns_processed: 7,
            total_states: 1,
            stack_depth: 16,
            message: message.map(String::from),
        };
        let on = |variant: Option<&str>| JudgedFor {
            kernel: "6.18".into(),
            variant: variant.map(String::from),
        };
        let rows = [
            (("b.o:x".to_string(), on(None)), row(VerdictWord::Accepted, None)),
            (("a.o:\"odd\"".to_string(), on(None)), row(VerdictWord::Rejected, Some("R0 \"bad\""))),
            (("b.o:x".to_string(), on(Some("v6"))), row(VerdictWord::Unsupported, None)),
        ];
        let written =
            Baseline { taken: Some("2026-11-20".into()), rows: rows.into_iter().collect() };
        let text = written.to_text("bpfassay 1");
        assert_eq!(Baseline::parse(&text), Ok(written));
        let lines: Vec<&str> = text.lines().filter(|l| l.contains("\"id\"")).collect();
        assert_eq!(lines.len(), 3, "one judgement a line");
        assert!(lines[0].contains("a.o") && lines[1].contains("b.o") && lines[2].contains("v6"));
    }

    #[test]
    fn broken_baselines_are_refused() {
        let file = |schema: &str, taken: &str, rows: &str| {
            format!(r#"{{"schema":"{schema}","tool":"t","taken":"{taken}","programs":[{rows}]}}"#)
        };
        let row = r#"{"id":"a","kernel":"6.18","verdict":"accepted","insns_processed":1,"total_states":0,"stack_depth":0}"#;
        for (text, want) in [
            (file(SCHEMA, "2026-11-20", &format!("{row},{row}")), "a stands there twice"),
            (file("x/2", "2026-11-20", ""), "schema `x/2` is not bpfassay.baseline/1"),
            (file(SCHEMA, "yesterday", ""), "`taken` is no day: `yesterday` (written by t)"),
            (
                file(SCHEMA, "2026-11-20", &row.replace("accepted", "fine")),
                "a: no verdict is called `fine`",
            ),
        ] {
            assert_eq!(Baseline::parse(&text), Err(want.to_string()));
        }
        assert!(Baseline::parse("{").is_err());
        assert!(Baseline::parse(&file(SCHEMA, "2026-11-20", row)).is_ok());
    }

    #[test]
    fn drift_needs_share_and_size() {
        assert_eq!(drift(1000, 1100, 10.0, 100), None, "exactly the threshold");
        assert_eq!(drift(1000, 1101, 10.0, 100), Some(10.1));
        assert_eq!(drift(10, 20, 10.0, 100), None, "below the floor");
        assert_eq!(drift(1000, 500, 10.0, 100), Some(-50.0));
        assert!(drift(0, 100, 10.0, 100).is_some());
        assert_eq!(drift(5, 5, 0.0, 0), None);
    }
}
