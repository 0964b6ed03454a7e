//! Conditions of rules: `attach(a|b) & !cap(bpf) & since(7.1|6.18.50)`.

use super::names::Names;
use super::Result;

/// What a condition decides, for those who look for the cause of a verdict: a variant of `RowKind`, and which.
#[derive(Clone, Copy)]
pub struct About<'a>(pub &'static str, pub &'a str);

/// Rust list items of a condition; empty for an empty condition.
pub fn tests(text: &str, names: &Names, about: About<'_>) -> Result<String> {
    let mut out = Vec::new();
    for cond in text.split(" & ").filter(|c| !c.is_empty()) {
        out.push(test(cond, names, about)?);
    }
    Ok(out.join(", "))
}

/// `!attach(a|b)` → `(false, Test::Attach(&[…]))`.
fn test(cond: &str, names: &Names, about: About<'_>) -> Result<String> {
    let (want, cond) = match cond.strip_prefix('!') {
        Some(rest) => (false, rest),
        None => (true, cond),
    };
    let (word, args) = match cond.split_once('(') {
        Some((word, rest)) => {
            (word, rest.strip_suffix(')').ok_or("missing )")?.split('|').collect::<Vec<_>>())
        }
        None => (cond, Vec::new()),
    };
    let test = match (word, args.as_slice()) {
        ("config", [name]) => format!("Config({name:?})"),
        ("cap", ["bpf"]) => "Cap(Cap::Bpf)".to_string(),
        ("cap", ["perfmon"]) => "Cap(Cap::Perfmon)".to_string(),
        ("cap", ["sys_admin"]) => "Cap(Cap::SysAdmin)".to_string(),
        ("type", [name]) => format!("Type({})", names.uapi("ProgType", name)?),
        ("attach", list) if !list.is_empty() => {
            let list: Result<Vec<String>> =
                list.iter().map(|a| names.uapi("AttachType", a)).collect();
            format!("Attach(&[{}])", list?.join(", "))
        }
        ("hook", list) if !list.is_empty() => format!("Hook(&{list:?})"),
        ("since", list) if !list.is_empty() => {
            let (change, About(kind, name)) = (names.lines.condition(list)?, about);
            format!("Since({change}, crate::view::RowKind::{kind}, {name:?})")
        }
        ("hooked", [name]) => {
            format!("Hooked(crate::sets::KernelSet::{})", super::kfuncs::camel(name))
        }
        ("feature", [name]) => format!("Feature({name:?}, |f| f.{name})"),
        ("arch", [name]) => format!("Arch({name:?})"),
        ("sleepable", []) => "Sleepable".to_string(),
        ("recur", []) => "Recur".to_string(),
        ("trampoline", []) => "Trampoline".to_string(),
        _ => return Err(format!("unknown condition {cond}")),
    };
    Ok(format!("({want}, Test::{test})"))
}
