//! `spec/data/retvals.toml`: what return values are called.

use std::fmt::Write as _;
use std::path::Path;

use super::names::Names;
use super::{header, rows, Result};

pub fn retvals(root: &Path, names: &Names) -> Result<String> {
    let table = rows::read(root, "spec/data/retvals.toml")?;
    let list = rows::list(&table, "retvals");
    let mut out = header("Names of return values.", "spec/data/retvals.toml");
    out.push_str("use crate::uapi::ProgType;\n\n");
    let _ = writeln!(
        out,
        "/// Program types, and the value and name of each.\n#[allow(clippy::type_complexity)]\npub(crate) static RETVALS: [(&[ProgType], &[(i32, &str)]); {}] = [",
        list.len()
    );
    for row in list {
        rows::only(row, &["progs", "values"])?;
        let progs: Result<Vec<String>> =
            rows::texts(row, "progs").into_iter().map(|p| names.uapi("ProgType", p)).collect();
        let one = |text: &str| {
            let parts =
                text.split_once(' ').and_then(|(n, name)| Some((n.parse::<i32>().ok()?, name)));
            let (n, name) =
                parts.ok_or_else(|| format!("retvals.toml: no value and name: {text}"))?;
            Ok(format!("({n}, {name:?})"))
        };
        let values: Result<Vec<String>> = rows::texts(row, "values").into_iter().map(one).collect();
        let _ = writeln!(out, "    (&[{}], &[{}]),", progs?.join(", "), values?.join(", "));
    }
    out.push_str("];\n");
    Ok(out)
}
