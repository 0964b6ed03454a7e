//! `spec/data/maps.toml`: map types and what their creation accepts.

use std::fmt::Write as _;
use std::path::Path;

use toml::Table;

use super::names::Names;
use super::{header, rows, Result};

/// `BPF_F_…` of map creation.
const FLAGS: &[(&str, u32)] = &[
    ("NO_PREALLOC", 1 << 0),
    ("NO_COMMON_LRU", 1 << 1),
    ("NUMA_NODE", 1 << 2),
    ("RDONLY", 1 << 3),
    ("WRONLY", 1 << 4),
    ("STACK_BUILD_ID", 1 << 5),
    ("ZERO_SEED", 1 << 6),
    ("RDONLY_PROG", 1 << 7),
    ("WRONLY_PROG", 1 << 8),
    ("CLONE", 1 << 9),
    ("MMAPABLE", 1 << 10),
    ("PRESERVE_ELEMS", 1 << 11),
    ("INNER_MAP", 1 << 12),
    ("LINK", 1 << 13),
    ("PATH_FD", 1 << 14),
    ("VTYPE_BTF_OBJ_FD", 1 << 15),
    ("TOKEN_FD", 1 << 16),
    ("SEGV_ON_FAULT", 1 << 17),
    ("NO_USER_CONV", 1 << 18),
    ("RB_OVERWRITE", 1 << 19),
];
const ERRNO: &[(&str, i32)] =
    &[("EINVAL", 22), ("E2BIG", 7), ("ERANGE", 34), ("EOPNOTSUPP", 95), ("ENOTSUPP", 524)];

pub fn maps(root: &Path, names: &Names) -> Result<String> {
    let path = "spec/data/maps.toml";
    let file = rows::read(root, path)?;
    let list = rows::list(&file, "map");
    let mut out = header("Map types.", path);
    out.push_str(
        "use crate::map::{Cmp, KeyRule, MapCap, MapFields, MapInfo, InnerRule, MapNumber as N, MapRule, MapTest as T};\n",
    );
    out.push_str("use crate::release::{Change, Release, Span};\n");
    out.push_str("use crate::uapi::MapType;\n\n");
    let _ =
        writeln!(out, "/// Ascending by number.\npub static MAPS: [MapInfo; {}] = [", list.len());
    for row in list {
        map_row(row, names, &mut out)
            .map_err(|e| format!("{path}: {}: {e}", rows::text(row, "name").unwrap_or("?")))?;
    }
    out.push_str("];\n\n/// `BPF_F_…` of map creation.\n");
    let _ = writeln!(out, "pub static FLAGS: [(&str, u32); {}] = {FLAGS:?};", FLAGS.len());
    Ok(out)
}

fn map_row(row: &Table, names: &Names, out: &mut String) -> Result<()> {
    let known = ["name", "ops", "config", "cap", "rules", "key", "fields", "inner"];
    rows::only(row, &known)?;
    let cap = match rows::text(row, "cap")? {
        "none" => "None",
        "bpf" => "Bpf",
        "net_admin" => "NetAdmin",
        other => return Err(format!("unknown capability {other}")),
    };
    let key = one_of("key", rows::text(row, "key")?, KEYS)?;
    let inner = one_of("inner", rows::text(row, "inner")?, INNER)?;
    let mut fields = 0u8;
    for name in rows::texts(row, "fields") {
        let bit = FIELDS.iter().position(|f| *f == name).ok_or(format!("unknown field {name}"))?;
        fields |= 1 << bit;
    }
    let _ = writeln!(
        out,
        "    MapInfo {{ map_type: {}, ops: {:?}, config: &{:?}, cap: MapCap::{cap}, key: KeyRule::{key}, fields: MapFields({fields}), inner: InnerRule::{inner}, rules: &[",
        names.uapi("MapType", rows::text(row, "name")?)?,
        rows::text(row, "ops")?,
        rows::texts(row, "config"),
    );
    for rule in rows::texts(row, "rules") {
        let text = rule_row(rule, names).map_err(|e| format!("{rule}: {e}"))?;
        let _ = writeln!(out, "        {text},");
    }
    out.push_str("    ] },\n");
    Ok(())
}

const KEYS: &[(&str, &str)] = &[
    ("any", "Any"),
    ("int4", "Int4"),
    ("index", "Index"),
    ("struct", "Struct"),
    ("void", "Void"),
    ("cgroup_storage", "CgroupStorage"),
    ("never", "Never"),
];
const INNER: &[(&str, &str)] =
    &[("no", "No"), ("equal", "Equal"), ("entries", "Entries"), ("array", "Array")];
/// In the order of the bits of `MapFields`.
const FIELDS: [&str; 5] = ["lock", "async", "kptr", "uptr", "graph"];

fn one_of(what: &str, name: &str, list: &[(&str, &'static str)]) -> Result<&'static str> {
    let found = list.iter().find(|(n, _)| *n == name);
    found.map(|(_, v)| *v).ok_or_else(|| format!("unknown {what} {name}"))
}

/// The span of `… @since(7.3|6.12.118)` or `@until(…)`, and the rule before it.
fn spanned<'a>(rule: &'a str, names: &Names) -> Result<(&'a str, String)> {
    let Some((rule, when)) = rule.split_once(" @") else {
        return Ok((rule, "Span::ALWAYS".to_string()));
    };
    let (word, list) = when.strip_suffix(')').and_then(|w| w.split_once('(')).ok_or("no span")?;
    let change = names.lines.condition(&list.split('|').collect::<Vec<_>>())?;
    let span = match word {
        "since" => format!("Span {{ since: Some({change}), until: None }}"),
        "until" => format!("Span {{ since: None, until: Some({change}) }}"),
        _ => return Err(format!("unknown span {word}")),
    };
    Ok((rule, span))
}

fn rule_row(rule: &str, names: &Names) -> Result<String> {
    let (rule, span) = spanned(rule, names)?;
    let (name, rest) = rule.split_once(' ').ok_or("no test")?;
    let (_, errno) = ERRNO.iter().find(|(n, _)| *n == name).ok_or("unknown errno")?;
    if let Some(list) = rest.strip_prefix("unless ") {
        let (field, values) = list.split_once(" is ").ok_or("no ` is `")?;
        let values: Vec<&str> = values.split('|').collect();
        let test = format!("T::NotIn({}, &[{}])", number(field)?, values.join(", "));
        return Ok(format!(
            "MapRule {{ errno: {errno}, all: true, span: {span}, tests: &[{test}] }}"
        ));
    }
    let rest = rest.strip_prefix("if ").ok_or("neither if nor unless")?;
    let all = rest.contains(" and ");
    if all && rest.contains(" or ") {
        return Err("`and` beside `or`".to_string());
    }
    let parts = rest.split(if all { " and " } else { " or " });
    let tests: Result<Vec<String>> = parts.map(test).collect();
    Ok(format!(
        "MapRule {{ errno: {errno}, all: {all}, span: {span}, tests: &[{}] }}",
        tests?.join(", ")
    ))
}

fn test(text: &str) -> Result<String> {
    let words: Vec<&str> = text.split_whitespace().collect();
    Ok(match words.as_slice() {
        ["flags", how, list] => {
            let mask = mask(list)?;
            let variant = match *how {
                "outside" => "FlagsOutside",
                "any" => "FlagsAny",
                "both" => "FlagsBoth",
                "lack" => "FlagsLack",
                _ => return Err(format!("unknown test {text}")),
            };
            format!("T::{variant}({mask})")
        }
        ["flags", "set"] => "T::FlagsOutside(0)".to_string(),
        ["no", "btf_key"] => "T::NoBtfKey".to_string(),
        ["no", "btf_value"] => "T::NoBtfValue".to_string(),
        ["no", "btf_vmlinux_value"] => "T::NoBtfVmlinuxValue".to_string(),
        ["no", "arena_jit"] => "T::NoArenaJit".to_string(),
        ["entries", ">=", "4294967295/value"] => "T::EntriesFillU32".to_string(),
        ["arena", "crosses", "4G"] => "T::ArenaCrosses4G".to_string(),
        ["entries", ">", "nr_cpus"] => "T::AboveCpus".to_string(),
        [field, "not", "pow2"] => format!("T::NotPowerOfTwo({})", number(field)?),
        [field, "%", n] => format!("T::NotMultiple({}, {n})", number(field)?),
        [field, op, n] => {
            let op = match *op {
                "==" => "Eq",
                "!=" => "Ne",
                "<" => "Lt",
                ">" => "Gt",
                ">=" => "Ge",
                _ => return Err(format!("unknown comparison {op}")),
            };
            let n: u64 = n.parse().map_err(|e| format!("{n}: {e}"))?;
            format!("T::Cmp({}, Cmp::{op}, {n})", number(field)?)
        }
        _ => return Err(format!("unknown test {text}")),
    })
}

fn mask(list: &str) -> Result<u32> {
    let mut mask = 0;
    for name in list.split('|') {
        let found = FLAGS.iter().find(|(n, _)| *n == name);
        mask |= found.ok_or_else(|| format!("unknown flag {name}"))?.1;
    }
    Ok(mask)
}

fn number(field: &str) -> Result<&'static str> {
    Ok(match field {
        "key" => "N::Key",
        "value" => "N::Value",
        "entries" => "N::Entries",
        "extra" => "N::Extra",
        "key+value" => "N::KeyPlusValue",
        "round8(value)" => "N::ValueRound8",
        _ => return Err(format!("unknown field {field}")),
    })
}
