//! `[[convert]]` of `spec/data/ctx/`: what accesses to contexts become.

use std::fmt::Write as _;

use toml::Table;

use super::ctx::{range, Scope};
use super::{conds, rows, Result};

const KEYS: [&str; 7] = ["name", "source", "struct", "ops", "spare", "rest", "rows"];

pub fn write(tables: &[(&Table, &String)], scope: &Scope<'_>, out: &mut String) -> Result<()> {
    let _ = writeln!(out, "\npub static CONVERTS: [Convert; {}] = [", tables.len());
    for (row, path) in tables {
        let rest = rows::opt_text(row, "rest").map(|name| {
            let at = tables.iter().position(|(t, _)| rows::opt_text(t, "name") == Some(name));
            at.ok_or_else(|| format!("{path}: unknown table {name}"))
        });
        table(row, rest.transpose()?, scope, out).map_err(|e| format!("{path}: {e}"))?;
    }
    out.push_str("];\n");
    Ok(())
}

fn table(row: &Table, rest: Option<usize>, scope: &Scope<'_>, out: &mut String) -> Result<()> {
    rows::only(row, &KEYS)?;
    let name = rows::text(row, "name")?;
    let strukt = rows::text(row, "struct")?;
    let layout = scope.layouts.get(strukt).ok_or_else(|| format!("unknown struct {strukt}"))?;
    let _ = writeln!(
        out,
        "    Convert {{ name: {name:?}, source: {:?}, ops: &{:?}, spare: {:?}, rest: {rest:?}, rows: &[",
        rows::text(row, "source")?,
        rows::texts(row, "ops"),
        rows::opt_text(row, "spare"),
    );
    for text in rows::texts(row, "rows") {
        let at = |e: String| format!("{name}: {text}: {e}");
        let (head, steps) = text.split_once(" => ").ok_or_else(|| at("no =>".into()))?;
        let (head, tests) = head.split_once(" if ").unwrap_or((head, ""));
        let (first, last, _) = range(head, Some(layout)).map_err(at)?;
        let about = format!("{strukt}.{head}");
        let steps: Result<Vec<String>> = steps.split_whitespace().map(step).collect();
        let _ = writeln!(
            out,
            "        ConvertRow {{ first: {first}, last: {last}, tests: &[{}], steps: &[{}] }},",
            conds::tests(tests, scope.names, conds::About("Context", &about)).map_err(at)?,
            steps.map_err(at)?.join(", "),
        );
    }
    out.push_str("    ] },\n");
    Ok(())
}

fn step(text: &str) -> Result<String> {
    let number = |n: &str| n.parse::<i32>().map_err(|e| format!("{text}: {e}"));
    Ok(match text {
        "null?" => "Step::EndIfNull".to_string(),
        "no_queue?" => "Step::NoQueue".to_string(),
        "shared" => "Step::Shared".to_string(),
        "queue_mapping" => "Step::QueueMapping".to_string(),
        "tstamp" => "Step::Tstamp".to_string(),
        "data_end" => "Step::DataEnd".to_string(),
        _ => {
            if let Some(n) = text.strip_prefix('&') {
                format!("Step::And({})", number(n)?)
            } else if let Some(n) = text.strip_prefix("<<") {
                format!("Step::Shl({})", number(n)?)
            } else if let Some(n) = text.strip_prefix('=') {
                format!("Step::Set({})", number(n)?)
            } else if let Some(n) = text.strip_prefix("nothing:") {
                format!("Step::Nothing({})", number(n)?)
            } else if let Some(member) = text.strip_prefix("only>") {
                format!("Step::Only({member:?})")
            } else {
                load(text)?
            }
        }
    })
}

/// `[cb>]STRUCT.member[+][:N|:x]`
fn load(text: &str) -> Result<String> {
    let (place, wide) = text.split_once(':').unwrap_or((text, ""));
    let wide = match wide {
        "" => "Own".to_string(),
        "x" => "Access".to_string(),
        n => format!("Bytes({})", n.parse::<u32>().map_err(|e| format!("{text}: {e}"))?),
    };
    let (place, within) = match place.strip_suffix('+') {
        Some(place) => (place, true),
        None => (place, false),
    };
    let (member, cb) = match place.strip_prefix("cb>") {
        Some(member) => (member, true),
        None => (place, false),
    };
    if !member.is_empty() && !member.contains('.') {
        return Err(format!("unknown step {text}"));
    }
    Ok(format!(
        "Step::Load {{ member: {member:?}, cb: {cb}, within: {within}, wide: Wide::{wide} }}"
    ))
}
