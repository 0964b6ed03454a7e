//! `spec/data/ctx/`: context layouts and the access rules of every program type.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use toml::Table;

use super::names::Names;
use super::{conds, header, rows, Result};

const FOLDER: &str = "spec/data/ctx";

/// Fields of one struct: name, offset, size.
pub(super) struct Layout {
    size: i64,
    fields: Vec<(String, i64, i64)>,
}

impl Layout {
    fn field(&self, name: &str) -> Result<(i64, i64)> {
        let found = self.fields.iter().find(|f| f.0 == name);
        found.map(|f| (f.1, f.2)).ok_or_else(|| format!("unknown field {name}"))
    }
}

pub(super) struct Scope<'a> {
    pub(super) names: &'a Names,
    pub(super) layouts: BTreeMap<String, Layout>,
    tables: BTreeMap<String, usize>,
}

/// Offsets and sizes of the structs that programs see, for engines that lay them out.
pub fn layouts(root: &Path) -> Result<String> {
    let mut out = header("Offsets in bytes of the structs that programs see.", "spec/data/ctx/");
    out.push_str("#![allow(missing_docs)]\n");
    for path in rows::files(root, FOLDER)? {
        for row in rows::list(&rows::read(root, &path)?, "struct") {
            let name = rows::text(row, "name")?;
            let layout = read_layout(row).map_err(|e| format!("{path}: {e}"))?;
            let module = name.trim_start_matches('_');
            let _ = writeln!(out, "\n/// `struct {name}`.\npub mod {module} {{\n    pub const STRUCT_SIZE: usize = {};", layout.size);
            for (field, off, _) in &layout.fields {
                let _ =
                    writeln!(out, "    pub const {}: usize = {off};", field.to_ascii_uppercase());
            }
            out.push_str("}\n");
        }
    }
    Ok(out)
}

pub(super) fn ctx(root: &Path, names: &Names) -> Result<String> {
    let mut files = Vec::new();
    for path in rows::files(root, FOLDER)? {
        files.push((rows::read(root, &path)?, path));
    }
    let mut scope = Scope { names, layouts: BTreeMap::new(), tables: BTreeMap::new() };
    let (mut tables, mut converts) = (Vec::new(), Vec::new());
    for (file, path) in &files {
        rows::only(file, &["struct", "access", "convert"])?;
        for row in rows::list(file, "struct") {
            let layout = read_layout(row).map_err(|e| format!("{path}: {e}"))?;
            scope.layouts.insert(rows::text(row, "name")?.to_string(), layout);
        }
        for row in rows::list(file, "access") {
            scope.tables.insert(rows::text(row, "name")?.to_string(), tables.len());
            tables.push((row, path));
        }
        for row in rows::list(file, "convert") {
            converts.push((row, path));
        }
    }
    let mut out = header("Context layouts and access rules.", "spec/data/ctx/");
    out.push_str(
        "use crate::callers::{Cap, Test};\nuse crate::release::{Change, Release};\nuse crate::ctx::{Act, CtxRule, CtxTable, Fit, Op};\nuse crate::ctx_convert::{Convert, ConvertRow, Step, Wide};\n",
    );
    out.push_str("use crate::types::{RegBase, RegType, TypeFlags as F};\nuse crate::uapi::{AttachType, ProgType};\n\n");
    let _ = writeln!(out, "pub static TABLES: [CtxTable; {}] = [", tables.len());
    let mut entries: Vec<(String, usize)> = Vec::new();
    let mut struct_ops: Vec<(String, usize)> = Vec::new();
    for (at, (row, path)) in tables.iter().enumerate() {
        write_table(row, &scope, &mut out).map_err(|e| format!("{path}: {e}"))?;
        for prog in rows::texts(row, "progs") {
            entries.push((names.uapi("ProgType", prog)?, at));
        }
        for ops in rows::texts(row, "struct_ops") {
            struct_ops.push((format!("{ops:?}"), at));
        }
    }
    out.push_str("];\n\n");
    entries.sort();
    struct_ops.sort();
    for (name, ty, list) in [("ENTRY", "ProgType", entries), ("STRUCT_OPS", "&str", struct_ops)] {
        let _ = writeln!(out, "pub static {name}: &[({ty}, u16)] = &[");
        for (key, at) in list {
            let _ = writeln!(out, "    ({key}, {at}),");
        }
        out.push_str("];\n");
    }
    super::converts::write(&converts, &scope, &mut out)?;
    Ok(out)
}

fn read_layout(row: &Table) -> Result<Layout> {
    rows::only(row, &["name", "size", "fields"])?;
    let mut fields = Vec::new();
    for line in rows::texts(row, "fields") {
        let mut words = line.split_whitespace();
        let (Some(name), Some(off), Some(size), None) =
            (words.next(), words.next(), words.next(), words.next())
        else {
            return Err(format!("bad field row {line}"));
        };
        let number = |s: &str| s.parse::<i64>().map_err(|e| format!("{line}: {e}"));
        fields.push((name.to_string(), number(off)?, number(size)?));
    }
    let size = rows::number(row, "size")?;
    let mut end = 0;
    for (name, off, len) in &fields {
        if off + len > size || *off >= end + 8 {
            return Err(format!("{name} lies outside, or a hole before it"));
        }
        end = end.max(off + len);
    }
    if size - end >= 8 {
        return Err(format!("{} bytes unnamed at the end", size - end));
    }
    Ok(Layout { size, fields })
}

fn write_table(row: &Table, scope: &Scope<'_>, out: &mut String) -> Result<()> {
    rows::only(
        row,
        &[
            "name",
            "source",
            "struct",
            "progs",
            "struct_ops",
            "min",
            "max",
            "aligned",
            "whole",
            "rules",
        ],
    )?;
    let name = rows::text(row, "name")?;
    let strukt = rows::text(row, "struct")?;
    let layout = scope.layouts.get(strukt);
    if layout.is_none() && !strukt.is_empty() {
        return Err(format!("{name}: unknown struct {strukt}"));
    }
    let max = match (rows::number(row, "max"), layout) {
        (Ok(max), _) => max,
        (_, Some(layout)) => layout.size,
        _ => return Err(format!("{name}: neither struct nor max")),
    };
    let _ = writeln!(
        out,
        "    CtxTable {{ name: {name:?}, source: {:?}, min: {}, max: {max}, aligned: {}, whole: {}, rules: &[",
        rows::text(row, "source")?,
        rows::number(row, "min").unwrap_or(0),
        row.get("aligned").and_then(toml::Value::as_bool).unwrap_or(true),
        rows::flag(row, "whole"),
    );
    for rule in rows::texts(row, "rules") {
        let text = rule_row(rule, (name, strukt), layout, scope)
            .map_err(|e| format!("{name}: {rule}: {e}"))?;
        let _ = writeln!(out, "        {text},");
    }
    out.push_str("    ] },\n");
    Ok(())
}

/// `of`: the table's name, and its struct's.
fn rule_row(
    rule: &str,
    of: (&str, &str),
    layout: Option<&Layout>,
    scope: &Scope<'_>,
) -> Result<String> {
    let (head, action) = rule.split_once(" => ").ok_or("no =>")?;
    let (head, tests) = head.split_once(" if ").unwrap_or((head, ""));
    let mut words = head.split_whitespace();
    let place = words.next().ok_or("no range")?;
    let (first, last, end) = range(place, layout)?;
    let about = match place.trim_start_matches('=') {
        "*" => of.0.to_string(),
        offsets if offsets.starts_with(|c: char| c.is_ascii_digit() || c == '-') => {
            of.0.to_string()
        }
        fields => format!("{}.{fields}", of.1),
    };
    let (mut op, mut sizes, mut fit, mut ldsx) = ("Any", 0, "Any", false);
    for word in words {
        match word {
            "r" => op = "Read",
            "w" => op = "Write",
            "wide" => fit = "Wide",
            "within" => fit = "Within",
            "ldsx" => ldsx = true,
            _ => {
                let size: u32 = word
                    .strip_prefix("size=")
                    .and_then(|s| s.parse().ok())
                    .ok_or_else(|| format!("unknown word {word}"))?;
                sizes |= size;
            }
        }
    }
    if sizes == 0 {
        sizes = 15;
    }
    Ok(format!(
        "CtxRule {{ first: {first}, last: {last}, end: {end}, op: Op::{op}, sizes: {sizes}, fit: Fit::{fit}, ldsx: {ldsx}, tests: &[{}], act: {} }}",
        conds::tests(tests, scope.names, conds::About("Context", &about))?,
        act(action, scope)?
    ))
}

/// First and last offset at which a range matches, and where the range ends.
pub(super) fn range(text: &str, layout: Option<&Layout>) -> Result<(String, String, String)> {
    if text == "*" {
        return Ok(("i32::MIN".into(), "i32::MAX".into(), "i32::MAX".into()));
    }
    if let Some((from, to)) = text.split_once("..") {
        if let (Ok(from), Ok(to)) = (from.parse::<i32>(), to.parse::<i32>()) {
            return Ok((number(from), number(to), number(to.saturating_add(1))));
        }
    }
    let layout = layout.ok_or("a field without a struct")?;
    let (first, last, end) = if let Some(name) = text.strip_prefix('=') {
        let (off, size) = layout.field(name)?;
        (off, off, off + size)
    } else {
        let (from, to) = text.split_once("..").unwrap_or((text, text));
        let (start, _) = layout.field(from)?;
        let (off, size) = layout.field(to)?;
        (start, off + size - 1, off + size)
    };
    Ok((first.to_string(), last.to_string(), end.to_string()))
}

/// An i32 literal that compiles for every value.
fn number(n: i32) -> String {
    if n == i32::MIN {
        "i32::MIN".to_string()
    } else {
        n.to_string()
    }
}

fn act(action: &str, scope: &Scope<'_>) -> Result<String> {
    let (verb, rest) = action.split_once(' ').unwrap_or((action, ""));
    Ok(match verb {
        "deny" => "Act::Deny".to_string(),
        "narrow" => {
            format!("Act::Narrow({})", rest.parse::<u8>().map_err(|e| format!("{rest}: {e}"))?)
        }
        "unconverted" => {
            format!("Act::Unconverted({})", rest.parse::<u8>().map_err(|e| format!("{rest}: {e}"))?)
        }
        "goto" => {
            let at = scope.tables.get(rest).ok_or_else(|| format!("unknown table {rest}"))?;
            format!("Act::Goto({at})")
        }
        "set" => format!("Act::Set({})", scope.names.type_word(rest, "Reg")?),
        "btf" => match rest.split_once('=') {
            Some((from, to)) => format!("Act::Btf(Some(({from:?}, {to:?})))"),
            None => "Act::Btf(None)".to_string(),
        },
        "allow" => {
            let (mut reg, mut field) = (Vec::new(), 0u8);
            let (mut btf, mut quirk) = ("None".to_string(), "None".to_string());
            for word in rest.split_whitespace() {
                if let Some(n) = word.strip_prefix("field=") {
                    field = n.parse().map_err(|e| format!("{n}: {e}"))?;
                } else if let Some(name) = word.strip_prefix("btf=") {
                    btf = format!("Some({name:?})");
                } else if let Some(name) = word.strip_prefix("quirk=") {
                    quirk = format!("Some({name:?})");
                } else {
                    reg.push(word);
                }
            }
            let reg = match reg.as_slice() {
                [] => "None".to_string(),
                words => format!("Some({})", scope.names.type_word(&words.join(" "), "Reg")?),
            };
            format!("Act::Allow {{ reg: {reg}, field: {field}, btf: {btf}, quirk: {quirk} }}")
        }
        _ => return Err(format!("unknown action {action}")),
    })
}
