//! `spec/data/tracing.toml`: tracepoints, iterators and struct_ops that programs attach to.

use std::fmt::Write as _;
use std::path::Path;

use super::names::Names;
use super::{header, rows, Result};

pub fn tracing(root: &Path, names: &Names) -> Result<String> {
    let path = "spec/data/tracing.toml";
    let file = rows::read(root, path)?;
    rows::only(&file, &["raw_tp", "iter", "struct_ops"])?;
    let mut out = header("What tracing programs attach to.", path);
    out.push_str("use crate::release::{Change, Release};\nuse crate::tracing::{IterArgs, Sleepers, StructOps};\nuse crate::types::{RegBase, RegType, TypeFlags as F};\n\n");
    let mut raw: Vec<&str> = rows::texts(&file, "raw_tp");
    raw.sort_unstable();
    let _ = writeln!(
        out,
        "/// By name.\npub static RAW_TP_ARGS: [(&str, u64, Option<Change>); {}] = [",
        raw.len()
    );
    for row in raw {
        let (row, cond) = row.split_once(" if ").unwrap_or((row, ""));
        let (name, mask) = row.split_once(' ').ok_or_else(|| format!("{path}: bad row {row}"))?;
        let change = match cond.strip_prefix("since(").and_then(|c| c.strip_suffix(')')) {
            Some(list) => {
                let args: Vec<&str> = list.split('|').collect();
                format!("Some({})", names.lines.condition(&args)?)
            }
            None if cond.is_empty() => "None".to_string(),
            None => return Err(format!("{path}: unknown condition {cond}")),
        };
        let _ = writeln!(out, "    ({name:?}, {mask}, {change}),");
    }
    out.push_str("];\n\n");
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
        rows::only(row, &["name", "source", "members", "sleepable", "sleepable_set"])?;
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
        let _ = writeln!(out, "    // {source}\n    StructOps {{ name: {name:?}, members: {members}, sleepable: {sleepable} }},");
    }
    out.push_str("];\n");
    Ok(out)
}
