//! `spec/data/{features,limits}.toml` and `spec/data/kernels/`: builds and what differs between them.

use std::fmt::Write as _;
use std::path::Path;

use toml::{Table, Value};

use super::names::Names;
use super::{header, rows, spans, Result};

const JIT_FLAGS: &[(&str, &str)] = &[
    ("enabled", "Programs are compiled (`jit_requested`)."),
    ("subprog_tailcalls", "`bpf_jit_supports_subprog_tailcalls`."),
    ("percpu_insn", "`bpf_jit_supports_percpu_insn`."),
    ("kfunc_call", "`bpf_jit_supports_kfunc_call`."),
    ("far_kfunc_call", "`bpf_jit_supports_far_kfunc_call`."),
    ("arena", "`bpf_jit_supports_arena`."),
    ("exceptions", "`bpf_jit_supports_exceptions`."),
    ("private_stack", "`bpf_jit_supports_private_stack`."),
    ("ptr_xchg", "`bpf_jit_supports_ptr_xchg`."),
    ("timed_may_goto", "`bpf_jit_supports_timed_may_goto`."),
    ("bypass_spec_v1", "`bpf_jit_bypass_spec_v1`."),
    ("bypass_spec_v4", "`bpf_jit_bypass_spec_v4`."),
    ("needs_zext", "`bpf_jit_needs_zext`."),
    ("arena_fetch_logic", "`bpf_jit_supports_insn`: fetching AND, OR, XOR in an arena."),
    ("arena_ldsx", "`bpf_jit_supports_insn`: sign-extending loads from an arena."),
];

pub fn kernels(root: &Path, names: &Names) -> Result<String> {
    let features = rows::read(root, "spec/data/features.toml")?;
    let limits = rows::read(root, "spec/data/limits.toml")?;
    let mut builds = Vec::new();
    for path in rows::files(root, "spec/data/kernels")? {
        builds.push(rows::read(root, &path)?);
    }
    let mut out =
        header("Kernel builds, features and limits.", "spec/data/{features,limits}.toml, kernels/");
    let _ = writeln!(
        out,
        "use crate::kernel::{{Build, FeatureProbe, Refusal}};\nuse crate::release::{{Change, Release, Span}};\nuse crate::uapi::{{AttachType, ProgType}};\n"
    );
    feature_struct(&rows::list(&features, "feature"), &builds, names, &mut out)?;
    probes(&rows::list(&features, "feature"), names, &mut out)?;
    limit_struct(&rows::list(&limits, "limit"), &mut out)?;
    jit_struct(&mut out);
    let _ = writeln!(out, "pub static BUILDS: [Build; {}] = [", builds.len());
    for build in &builds {
        build_row(build, &rows::list(&features, "feature"), names, &mut out)?;
    }
    out.push_str("];\n");
    Ok(out)
}

fn feature_struct(
    list: &[&Table],
    builds: &[Table],
    names: &Names,
    out: &mut String,
) -> Result<()> {
    let releases: Vec<&str> = builds.iter().filter_map(|b| rows::opt_text(b, "release")).collect();
    let _ = writeln!(out, "/// Behaviour that differs between kernels, by name.\n#[derive(Clone, Copy, PartialEq, Eq, Debug)]\npub struct Features {{");
    for row in list {
        let mut known =
            vec!["name", "about", "mirrors", "not_in", "probe", "probe_type", "probe_from"];
        known.extend(spans::KEYS);
        rows::only(row, &known)?;
        let name = rows::text(row, "name")?;
        if let Some(other) = rows::texts(row, "not_in").iter().find(|r| !releases.contains(r)) {
            return Err(format!("features.toml: {name}: no build {other}"));
        }
        let _ = writeln!(
            out,
            "    /// {}\n    ///\n    /// {}.",
            rows::text(row, "about")?,
            rows::text(row, "mirrors")?
        );
        let _ = writeln!(out, "    pub {name}: bool,");
    }
    out.push_str("}\n\nimpl Features {\n    /// What upstream and its stable lines say of a release; a build may lack more.\n    pub fn resolve(at: Release) -> Features {\n        Features {\n");
    for (i, row) in list.iter().enumerate() {
        let _ = writeln!(out, "            {}: SPANS[{i}].holds(at),", rows::text(row, "name")?);
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
        "/// Of the features, in their order.\nstatic SPANS: [Span; {}] = [",
        list.len()
    );
    for row in list {
        let span = names.lines.span(row).map_err(|e| format!("features.toml: {e}"))?;
        let _ = writeln!(out, "    {span},");
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

fn limit_struct(list: &[&Table], out: &mut String) -> Result<()> {
    out.push_str("/// Numbers that bound a program or its verification.\n#[derive(Clone, Copy, PartialEq, Eq, Debug)]\npub struct Limits {\n");
    for row in list {
        rows::only(row, &["name", "about", "symbol", "value"])?;
        let _ = writeln!(
            out,
            "    /// {} (`{}`)\n    pub {}: u32,",
            rows::text(row, "about")?,
            rows::text(row, "symbol")?,
            rows::text(row, "name")?
        );
    }
    out.push_str("}\n\npub const LIMITS: Limits = Limits {\n");
    for row in list {
        let _ = writeln!(out, "    {}: {},", rows::text(row, "name")?, rows::number(row, "value")?);
    }
    out.push_str("};\n\n");
    Ok(())
}

fn jit_struct(out: &mut String) {
    out.push_str("/// What the JIT of a build can do; verdicts depend on it.\n#[derive(Clone, PartialEq, Eq, Debug, serde::Serialize, serde::Deserialize)]\npub struct Jit {\n");
    for (name, doc) in JIT_FLAGS {
        let _ = writeln!(out, "    /// {doc}\n    pub {name}: bool,");
    }
    out.push_str("    /// Helpers that it writes inline, by name (`bpf_jit_inlines_helper_call`).\n    pub inlines: Vec<String>,\n}\n\n");
}

fn build_row(build: &Table, features: &[&Table], names: &Names, out: &mut String) -> Result<()> {
    rows::only(
        build,
        &["name", "release", "uname", "arch", "nr_cpus", "refused", "config", "jit"],
    )?;
    let release = rows::text(build, "release")?;
    let _ = writeln!(
        out,
        "    Build {{\n        name: {:?}, release: {release:?}, at: {}, uname: {:?}, arch: {:?}, nr_cpus: {},",
        rows::text(build, "name")?,
        names.lines.release(release)?,
        rows::text(build, "uname")?,
        rows::text(build, "arch")?,
        rows::number(build, "nr_cpus")?
    );
    let config = build
        .get("config")
        .and_then(Value::as_table)
        .ok_or_else(|| format!("{release}: no config"))?;
    let set = |want: &[&str]| -> Vec<String> {
        config
            .iter()
            .filter(|(_, v)| v.as_str().is_some_and(|v| want.contains(&v)))
            .map(|(k, _)| format!("{k:?}"))
            .collect()
    };
    let _ = writeln!(out, "        config: &[{}],", set(&["y"]).join(", "));
    let _ = writeln!(out, "        config_modules: &[{}],", set(&["m"]).join(", "));
    let _ = writeln!(out, "        config_absent: &[{}],", set(&["n"]).join(", "));
    let lacks: Result<Vec<&str>> = features
        .iter()
        .filter(|row| rows::texts(row, "not_in").contains(&release))
        .map(|row| rows::text(row, "name"))
        .collect();
    let _ = writeln!(out, "        lacks: &{:?},", lacks?);
    let jit =
        build.get("jit").and_then(Value::as_table).ok_or_else(|| format!("{release}: no jit"))?;
    let mut known: Vec<&str> = JIT_FLAGS.iter().map(|(n, _)| *n).collect();
    known.push("inlines");
    rows::only(jit, &known)?;
    let mut flags = Vec::new();
    for (name, _) in JIT_FLAGS {
        let value = jit
            .get(*name)
            .and_then(Value::as_bool)
            .ok_or_else(|| format!("{release}: jit.{name} missing"))?;
        flags.push(format!("{name}: {value}"));
    }
    let _ = writeln!(out, "        jit: Jit {{ {}, inlines: Vec::new() }},", flags.join(", "));
    let _ = writeln!(out, "        jit_inlines: &{:?},", rows::texts(jit, "inlines"));
    let refused: Result<Vec<String>> =
        rows::texts(build, "refused").into_iter().map(|r| refusal(r, names)).collect();
    let _ = writeln!(out, "        refused: &[{}],\n    }},", refused?.join(", "));
    Ok(())
}

/// `tracing trace_fentry 1` → a `Refusal`; `*` for every attach type.
fn refusal(row: &str, names: &Names) -> Result<String> {
    let words: Vec<&str> = row.split_whitespace().collect();
    let [prog, attach, errno] = words.as_slice() else {
        return Err(format!("bad refusal {row}"));
    };
    let attach = match *attach {
        "*" => "None".to_string(),
        name => format!("Some({})", names.uapi("AttachType", name)?),
    };
    let errno: i32 = errno.parse().map_err(|e| format!("{row}: {e}"))?;
    let prog = names.uapi("ProgType", prog)?;
    Ok(format!("Refusal {{ prog_type: {prog}, attach_type: {attach}, errno: {errno} }}"))
}
