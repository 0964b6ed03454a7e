//! `spec/data/tracing.toml`: tracepoints, iterators and struct_ops that programs attach to.

use std::fmt::Write as _;
use std::path::Path;

use toml::Table;

use super::names::Names;
use super::{header, rows, spans, Result};

pub fn tracing(root: &Path, names: &Names) -> Result<String> {
    let path = "spec/data/tracing.toml";
    let file = rows::read(root, path)?;
    rows::only(&file, &["raw_tp", "iter", "struct_ops"])?;
    let mut out = header("What tracing programs attach to.", path);
    out.push_str("use crate::release::{Change, Release, Span};\nuse crate::tracing::{IterArgs, RawTpArgs, Sleepers, StructOps};\nuse crate::types::{RegBase, RegType, TypeFlags as F};\n\n");
    raw_tp(&rows::list(&file, "raw_tp"), names, &mut out).map_err(|e| format!("{path}: {e}"))?;
    let mut iters = rows::list(&file, "iter");
    iters.sort_by_key(|row| rows::opt_text(row, "name"));
    let _ = writeln!(
        out,
        "/// By name.\npub static ITERATORS: [(&str, IterArgs); {}] = [",
        iters.len()
    );
    for row in iters {
        rows::only(row, &["name", "args"])?;
        let mut args = String::new();
        for arg in rows::texts(row, "args") {
            let (member, word) =
                arg.split_once(" = ").ok_or_else(|| format!("{path}: bad {arg}"))?;
            let _ = write!(args, "({member:?}, {}), ", names.type_word(word, "Reg")?);
        }
        let _ = writeln!(out, "    ({:?}, &[{args}]),", rows::text(row, "name")?);
    }
    out.push_str("];\n\n");
    let kinds = rows::list(&file, "struct_ops");
    let _ = writeln!(out, "pub static STRUCT_OPS: [StructOps; {}] = [", kinds.len());
    for row in kinds {
        rows::only(row, &["name", "source", "members", "without", "sleepable", "sleepable_set"])?;
        let list = |key: &str| match row.get(key) {
            Some(_) => format!("Some(&{:?})", rows::texts(row, key)),
            None => "None".to_string(),
        };
        let (name, source) = (rows::text(row, "name")?, rows::text(row, "source")?);
        let members = list("members");
        let sleepable = match rows::opt_text(row, "sleepable_set") {
            Some(set) => {
                format!("Sleepers::Set(crate::sets::KernelSet::{})", super::kfuncs::camel(set))
            }
            None if row.contains_key("sleepable") => {
                format!("Sleepers::Named(&{:?})", rows::texts(row, "sleepable"))
            }
            None => "Sleepers::All".to_string(),
        };
        let _ = writeln!(out, "    // {source}\n    StructOps {{ name: {name:?}, members: {members}, without: &{:?}, sleepable: {sleepable} }},", rows::texts(row, "without"));
    }
    out.push_str("];\n");
    Ok(out)
}

fn raw_tp(groups: &[&Table], names: &Names, out: &mut String) -> Result<()> {
    let mut all = Vec::new();
    for group in groups {
        rows::only(group, &[&["args", "commit"][..], &spans::KEYS].concat())?;
        let (span, commit) = (names.lines.span(group)?, rows::opt_text(group, "commit"));
        for row in rows::texts(group, "args") {
            let (name, mask) = row.split_once(' ').ok_or_else(|| format!("bad row {row}"))?;
            let rest = format!("mask: {mask}, span: {span}, commit: {commit:?}");
            all.push((name, format!("    RawTpArgs {{ name: {name:?}, {rest} }},")));
        }
    }
    all.sort_by_key(|(name, _)| *name);
    let _ = writeln!(
        out,
        "/// By name; one may have several rows.\npub static RAW_TP_ARGS: [RawTpArgs; {}] = [",
        all.len()
    );
    for (_, row) in all {
        let _ = writeln!(out, "{row}");
    }
    out.push_str("];\n\n");
    Ok(())
}
