//! `spec/data/{features,limits}.toml`: what differs between kernels, and limits.

use std::fmt::Write as _;
use std::path::Path;

use toml::Table;

use super::names::Names;
use super::{header, rows, spans, Result};

pub fn kernels(root: &Path, names: &Names) -> Result<String> {
    let features = rows::read(root, "spec/data/features.toml")?;
    let limits = rows::read(root, "spec/data/limits.toml")?;
    let mut out = header("Features and limits of kernels.", "spec/data/{features,limits}.toml");
    let _ = writeln!(
        out,
        "use crate::kernel::{{Feature, FeatureProbe}};\nuse crate::release::{{Change, Release, Span}};\nuse crate::uapi::ProgType;\n"
    );
    feature_struct(&rows::list(&features, "feature"), names, &mut out)?;
    probes(&rows::list(&features, "feature"), names, &mut out)?;
    limit_struct(&rows::list(&limits, "limit"), names, &mut out)?;
    Ok(out)
}

fn feature_struct(list: &[&Table], names: &Names, out: &mut String) -> Result<()> {
    let _ = writeln!(out, "/// Behaviour that differs between kernels, by name.\n#[derive(Clone, Copy, PartialEq, Eq, Debug)]\npub struct Features {{");
    for row in list {
        let mut known =
            vec!["name", "about", "mirrors", "commit", "probe", "probe_type", "probe_from"];
        known.extend(spans::KEYS);
        rows::only(row, &known)?;
        let name = rows::text(row, "name")?;
        let _ = writeln!(
            out,
            "    /// {}\n    ///\n    /// {}.",
            rows::text(row, "about")?,
            rows::text(row, "mirrors")?
        );
        let _ = writeln!(out, "    pub {name}: bool,");
    }
    out.push_str("}\n\nimpl Features {\n    /// What upstream and its stable lines say of a release; a build may lack more, which its profile says.\n    pub fn resolve(at: Release) -> Features {\n        Features {\n");
    for (i, row) in list.iter().enumerate() {
        let _ = writeln!(
            out,
            "            {}: FEATURES[{i}].span.holds(at),",
            rows::text(row, "name")?
        );
    }
    out.push_str("        }\n    }\n\n    /// Every feature by name.\n    pub fn list(&self) -> Vec<(&'static str, bool)> {\n        vec![\n");
    for row in list {
        let name = rows::text(row, "name")?;
        let _ = writeln!(out, "            ({name:?}, self.{name}),");
    }
    out.push_str("        ]\n    }\n\n    /// The feature of that name, to be changed.\n    pub fn by_name_mut(&mut self, name: &str) -> Option<&mut bool> {\n        match name {\n");
    for row in list {
        let name = rows::text(row, "name")?;
        let _ = writeln!(out, "            {name:?} => Some(&mut self.{name}),");
    }
    out.push_str("            _ => None,\n        }\n    }\n}\n\n");
    let _ = writeln!(
        out,
        "/// What is known of each, in their order.\npub static FEATURES: [Feature; {}] = [",
        list.len()
    );
    for row in list {
        let span = names.lines.span(row).map_err(|e| format!("features.toml: {e}"))?;
        let _ = writeln!(
            out,
            "    Feature {{ name: {:?}, about: {:?}, source: {:?}, commit: {:?}, span: {span} }},",
            rows::text(row, "name")?,
            rows::text(row, "about")?,
            rows::text(row, "mirrors")?,
            rows::opt_text(row, "commit"),
        );
    }
    out.push_str("];\n\n");
    Ok(())
}

/// Programs that tell by their verdict whether a kernel has a feature.
fn probes(list: &[&Table], names: &Names, out: &mut String) -> Result<()> {
    out.push_str("pub static PROBES: &[FeatureProbe] = &[\n");
    for row in list.iter().filter(|r| r.contains_key("probe")) {
        let _ = writeln!(
            out,
            "    FeatureProbe {{ feature: {:?}, prog_type: {}, text: {:?}, from: {} }},",
            rows::text(row, "name")?,
            names.uapi("ProgType", rows::text(row, "probe_type")?)?,
            rows::text(row, "probe")?,
            names.lines.release(rows::opt_text(row, "probe_from").unwrap_or("5.10"))?
        );
    }
    out.push_str("];\n\n");
    Ok(())
}

/// A limit whose value changed has a row for each value, with the releases it holds in.
fn limit_struct(list: &[&Table], names: &Names, out: &mut String) -> Result<()> {
    let mut by_name: Vec<(&str, Vec<&Table>)> = Vec::new();
    for row in list {
        rows::only(row, &[&["name", "about", "symbol", "value"][..], &spans::KEYS].concat())?;
        let name = rows::text(row, "name")?;
        match by_name.iter_mut().find(|(n, _)| *n == name) {
            Some((_, rows)) => rows.push(row),
            None => by_name.push((name, vec![row])),
        }
    }
    out.push_str("/// Numbers that bound a program or its verification.\n#[derive(Clone, Copy, PartialEq, Eq, Debug)]\npub struct Limits {\n");
    let (mut most, mut resolved, mut spans) = (String::new(), String::new(), String::new());
    let (mut listed, mut named, mut told) = (String::new(), String::new(), String::new());
    let mut at = 0;
    for (name, rows) in &by_name {
        let first = rows.first().ok_or("a limit without a row")?;
        let (about, symbol) = (rows::text(first, "about")?, rows::text(first, "symbol")?);
        let _ = writeln!(out, "    /// {about} (`{symbol}`)\n    pub {name}: u32,");
        let _ = writeln!(told, "            {name:?} => {:?},", format!("{about} ({symbol})"));
        let mut values = Vec::new();
        for row in rows {
            let value = rows::number(row, "value")?;
            values.push(value);
            let _ = writeln!(spans, "    ({value}, {}),", names.lines.span(row)?);
        }
        let max = values.iter().max().ok_or("a limit without a value")?;
        let _ = writeln!(most, "        {name}: {max},");
        let _ = writeln!(listed, "            ({name:?}, self.{name}),");
        let _ = writeln!(named, "            {name:?} => Some(&mut self.{name}),");
        let _ = writeln!(resolved, "            {name}: pick({at}, {}, at),", rows.len());
        at += rows.len();
    }
    let _ = writeln!(
        out,
        "}}\n\nimpl Limits {{\n    /// The largest value of each in any release: what arrays are sized by.\n    pub const MOST: Limits = Limits {{\n{most}    }};\n\n    /// Of a release.\n    pub fn resolve(at: Release) -> Limits {{\n        Limits {{\n{resolved}        }}\n    }}\n\n    /// Every limit by name.\n    pub fn list(&self) -> Vec<(&'static str, u32)> {{\n        vec![\n{listed}        ]\n    }}\n\n    /// The limit of that name, to be changed.\n    pub fn by_name_mut(&mut self, name: &str) -> Option<&mut u32> {{\n        match name {{\n{named}            _ => None,\n        }}\n    }}\n\n    /// What the limit of that name bounds, and its symbol in the kernel.\n    pub fn about(name: &str) -> &'static str {{\n        match name {{\n{told}            _ => \"\",\n        }}\n    }}\n}}\n"
    );
    let _ = writeln!(
        out,
        "/// The first of `n` rows from `first` on that holds.\nfn pick(first: usize, n: usize, at: Release) -> u32 {{\n    LIMITS[first..first + n].iter().find(|(_, span)| span.holds(at)).map_or(0, |(value, _)| *value)\n}}\n\nstatic LIMITS: [(u32, Span); {at}] = [\n{spans}];\n"
    );
    Ok(())
}
