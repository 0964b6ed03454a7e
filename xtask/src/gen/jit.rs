//! `spec/data/jit.toml`: what the kernel's JIT can do, by processor and release.

use std::fmt::Write as _;
use std::path::Path;

use toml::Table;

use super::names::Names;
use super::{header, rows, spans, Result};

/// Processors with columns of their own: key of the rows, `uname -m`.
const ARCHES: [(&str, &str); 2] = [("x86_64", "x86_64"), ("arm64", "aarch64")];

pub fn jit(root: &Path, names: &Names) -> Result<String> {
    let table = rows::read(root, "spec/data/jit.toml")?;
    let abilities = rows::list(&table, "ability");
    let mut out = header("What the kernel's JIT can do.", "spec/data/jit.toml");
    out.push_str("use crate::jit::When;\nuse crate::release::{Change, Release, Span};\n\n");
    out.push_str("/// What the JIT of a build can do; verdicts depend on it.\n#[derive(Clone, PartialEq, Eq, Default, Debug, serde::Serialize, serde::Deserialize)]\npub struct Jit {\n    /// Programs are compiled (`jit_requested`).\n    pub enabled: bool,\n");
    for row in &abilities {
        rows::only(row, &["name", "about", "x86_64", "arm64"])?;
        let (about, name) = (rows::text(row, "about")?, rows::text(row, "name")?);
        let _ = writeln!(out, "    /// {about}\n    pub {name}: bool,");
    }
    out.push_str("    /// Helpers that it writes inline, by name (`bpf_jit_inlines_helper_call`).\n    pub inlines: Vec<String>,\n}\n\nimpl Jit {\n    /// Every ability, in the order of [`ABILITIES`].\n    pub(crate) fn flags_mut(&mut self) -> Vec<&mut bool> {\n        vec![\n");
    for row in &abilities {
        let _ = writeln!(out, "            &mut self.{},", rows::text(row, "name")?);
    }
    out.push_str("        ]\n    }\n}\n\n");
    let abilities_named: Result<Vec<&str>> =
        abilities.iter().map(|r| rows::text(r, "name")).collect();
    let abilities_named = abilities_named?;
    let _ = writeln!(
        out,
        "/// Names of the abilities, in the order of [`ABILITIES`].\npub(crate) static NAMES: [&str; {}] = {abilities_named:?};\n",
        abilities_named.len()
    );
    list(
        &mut out,
        "Since when each processor's JIT has each ability.",
        "ABILITIES",
        &abilities,
        names,
    )?;
    let inlines = rows::list(&table, "inline");
    list(
        &mut out,
        "Since when each processor's JIT writes each of `INLINED` inline.",
        "INLINES",
        &inlines,
        names,
    )?;
    let helpers: Result<Vec<&str>> = inlines.iter().map(|r| rows::text(r, "helper")).collect();
    let helpers = helpers?;
    let _ = writeln!(
        out,
        "/// Names of helpers.\npub(crate) static INLINED: [&str; {}] = {helpers:?};",
        helpers.len()
    );
    Ok(out)
}

fn list(out: &mut String, about: &str, name: &str, list: &[&Table], names: &Names) -> Result<()> {
    let _ = writeln!(out, "/// {about}\npub(crate) static {name}: [&[When]; {}] = [", list.len());
    for row in list {
        let mut cells = Vec::new();
        for (key, uname) in ARCHES {
            let Some(cell) = row.get(key) else { continue };
            let cell =
                cell.as_table().ok_or_else(|| format!("jit.toml: {key} is no table: {row}"))?;
            let mut known = vec!["config"];
            known.extend(spans::KEYS);
            rows::only(cell, &known)?;
            let span = names.lines.span(cell).map_err(|e| format!("jit.toml: {e}"))?;
            let config = rows::opt_text(cell, "config");
            cells.push(format!("When {{ arch: {uname:?}, span: {span}, config: {config:?} }}"));
        }
        let _ = writeln!(out, "    &[{}],", cells.join(", "));
    }
    out.push_str("];\n\n");
    Ok(())
}
