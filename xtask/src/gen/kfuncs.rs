//! `spec/data/kfuncs.toml` and `sets.toml`: kernel functions by name.

use std::fmt::Write as _;
use std::path::Path;

use super::names::Names;
use super::{conds, header, rows, spans, Result};

const HOOKS: &[(&str, &str)] = &[
    ("common", "Common"),
    ("xdp", "Xdp"),
    ("tc", "Tc"),
    ("struct_ops", "StructOps"),
    ("tracing", "Tracing"),
    ("syscall", "Syscall"),
    ("fmodret", "Fmodret"),
    ("cgroup", "Cgroup"),
    ("sched_act", "SchedAct"),
    ("sk_skb", "SkSkb"),
    ("socket_filter", "SocketFilter"),
    ("lwt", "Lwt"),
    ("netfilter", "Netfilter"),
    ("kprobe", "Kprobe"),
];

pub fn kfuncs(root: &Path, names: &Names) -> Result<String> {
    let path = "spec/data/kfuncs.toml";
    let file = rows::read(root, path)?;
    let mut out = header("Kernel functions that programs may call.", path);
    out.push_str("use crate::callers::Test;\nuse crate::kfunc::{Kfunc, KfuncFlags as K, KfuncHook, KfuncSet};\n");
    out.push_str(
        "use crate::release::{Change, Release};\nuse crate::uapi::{AttachType, ProgType};\n\n",
    );
    let mut members = Vec::new();
    let sets = rows::list(&file, "set");
    let _ = writeln!(out, "pub static SETS: [KfuncSet; {}] = [", sets.len());
    for (at, set) in sets.iter().enumerate() {
        rows::only(set, &["name", "source", "config", "hooks", "members"])?;
        let mut hooks = Vec::new();
        for hook in rows::texts(set, "hooks") {
            let known = HOOKS.iter().find(|(n, _)| *n == hook);
            let (_, variant) = known.ok_or_else(|| format!("{path}: unknown hook {hook}"))?;
            hooks.push(format!("KfuncHook::{variant}"));
        }
        let config =
            rows::opt_text(set, "config").map_or("None".into(), |c| format!("Some({c:?})"));
        let _ = writeln!(
            out,
            "    KfuncSet {{ name: {:?}, source: {:?}, config: {config}, hooks: &[{}] }},",
            rows::text(set, "name")?,
            rows::text(set, "source")?,
            hooks.join(", ")
        );
        for member in rows::texts(set, "members") {
            let row =
                member_row(member, at, names).map_err(|e| format!("{path}: {member}: {e}"))?;
            members.push((member.to_string(), row));
        }
    }
    members.sort();
    let _ = writeln!(out, "];\n\n/// By name.\npub static KFUNCS: [Kfunc; {}] = [", members.len());
    for (_, row) in members {
        let _ = writeln!(out, "    {row},");
    }
    out.push_str("];\n");
    Ok(out)
}

fn member_row(member: &str, set: usize, names: &Names) -> Result<String> {
    let (head, cond) = member.split_once(" if ").unwrap_or((member, ""));
    let (name, flags) = head.split_once(' ').unwrap_or((head, ""));
    let mut words = Vec::new();
    for flag in flags.split('|').map(str::trim).filter(|f| !f.is_empty()) {
        words.push(format!("K::{}.0", flag.strip_prefix("KF_").ok_or("a flag begins with KF_")?));
    }
    if words.is_empty() {
        words.push("0".to_string());
    }
    Ok(format!(
        "Kfunc {{ name: {name:?}, flags: K({}), set: {set}, tests: &[{}] }}",
        words.join(" | "),
        conds::tests(cond, names, conds::About("Kfunc", name))?
    ))
}

pub fn sets(root: &Path, names: &Names) -> Result<String> {
    let path = "spec/data/sets.toml";
    let file = rows::read(root, path)?;
    let mut out = header("Named sets of kernel functions and types.", path);
    out.push_str(
        "use crate::release::{Change, Release, Span};\nuse crate::sets::{Member, NameSet};\n\n",
    );
    out.push_str("/// A set of the kernel's.\n#[derive(Clone, Copy, PartialEq, Eq, Debug)]\npub enum KernelSet {\n");
    let list = rows::list(&file, "set");
    for set in &list {
        let (name, source) = (rows::text(set, "name")?, rows::text(set, "source")?);
        let _ = writeln!(out, "    /// `{name}` ({source}).\n    {},", camel(name));
    }
    let _ = writeln!(
        out,
        "}}\n\n/// In the order of [`KernelSet`].\npub static SETS: [NameSet; {}] = [",
        list.len()
    );
    for set in list {
        rows::only(set, &[&["name", "source", "members"][..], &spans::KEYS].concat())?;
        let span = names.lines.span(set)?;
        let name = rows::text(set, "name")?;
        let _ = writeln!(out, "    NameSet {{ name: {name:?}, span: {span}, members: &[");
        let mut members = rows::texts(set, "members");
        members.sort_unstable();
        for member in members {
            let mut words = member.split_whitespace();
            let name = words.next().ok_or_else(|| format!("{path}: empty member"))?;
            let mut configs = Vec::new();
            let (mut since, mut until) = ("None".to_string(), "None".to_string());
            for word in words {
                let (when, args) = match word.strip_suffix(')').and_then(|w| w.split_once('(')) {
                    Some(("since", args)) => (&mut since, args),
                    Some(("until", args)) => (&mut until, args),
                    _ => {
                        configs.push(word);
                        continue;
                    }
                };
                let args: Vec<&str> = args.split('|').collect();
                *when = format!("Some({})", names.lines.condition(&args)?);
            }
            let _ = writeln!(
                out,
                "        Member {{ name: {name:?}, configs: &{configs:?}, span: Span {{ since: {since}, until: {until} }} }},"
            );
        }
        out.push_str("    ] },\n");
    }
    out.push_str("];\n");
    Ok(out)
}

/// `btf_id_deny` → `BtfIdDeny`.
pub fn camel(name: &str) -> String {
    name.split('_')
        .map(|w| {
            let mut letters = w.chars();
            letters
                .next()
                .map_or(String::new(), |c| c.to_ascii_uppercase().to_string() + letters.as_str())
        })
        .collect()
}
