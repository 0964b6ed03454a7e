//! `spec/data/helpers/`: prototypes, and the rules that say who may call them.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use toml::Table;

use super::names::Names;
use super::{conds, header, rows, Result};

const FOLDER: &str = "spec/data/helpers";
const PROTO_KEYS: &[&str] = &[
    "symbol",
    "id",
    "name",
    "func",
    "gpl_only",
    "pkt_access",
    "might_sleep",
    "allow_fastcall",
    "ret",
    "args",
    "allowed",
    "ret_btf",
    "arg1_btf",
    "arg2_btf",
    "arg3_btf",
    "arg4_btf",
    "arg5_btf",
    "arg1_size",
    "arg2_size",
    "arg3_size",
    "arg4_size",
    "arg5_size",
];

/// Prototype rows of all files in table order: symbol, Rust row.
fn proto_rows(root: &Path, names: &Names) -> Result<Vec<((i64, String), String)>> {
    let mut out = Vec::new();
    for path in rows::files(root, FOLDER)? {
        let table = rows::read(root, &path)?;
        for row in rows::list(&table, "proto") {
            let text = proto_row(&table, row, names).map_err(|e| format!("{path}: {e}"))?;
            out.push(((rows::number(row, "id")?, rows::text(row, "symbol")?.to_string()), text));
        }
    }
    out.sort();
    Ok(out)
}

fn proto_row(file: &Table, row: &Table, names: &Names) -> Result<String> {
    rows::only(row, PROTO_KEYS)?;
    let name = rows::text(row, "name")?;
    let id = rows::number(row, "id")?;
    let short = name.strip_prefix("bpf_").unwrap_or(name);
    if names.helpers.get(short) != Some(&id) {
        return Err(format!("{name} is not number {id}"));
    }
    let quoted = |s: Option<&str>| {
        s.filter(|s| *s != "*").map_or("None".to_string(), |s| format!("Some({s:?})"))
    };
    let mut args = Vec::new();
    for arg in rows::texts(row, "args") {
        args.push(names.type_word(arg, "Arg")?);
    }
    args.resize(5, "ArgType::of(ArgBase::DontCare)".to_string());
    let btf: Vec<String> =
        (1..6).map(|i| quoted(rows::opt_text(row, &format!("arg{i}_btf")))).collect();
    let size: Vec<String> = (1..6)
        .map(|i| rows::number(row, &format!("arg{i}_size")).unwrap_or(0).to_string())
        .collect();
    let flag = |key: &str| rows::flag(row, key);
    Ok(format!(
        "HelperProto {{ id: {id}, name: {name:?}, symbol: {:?}, func: {:?}, source: {:?}, config: {}, gpl_only: {}, pkt_access: {}, \
         might_sleep: {}, allow_fastcall: {}, ret: {}, args: [{}], arg_btf: [{}], arg_size: [{}], ret_btf: {}, allowed: {} }}",
        rows::text(row, "symbol")?,
        rows::opt_text(row, "func").unwrap_or(name),
        rows::text(file, "source")?,
        quoted(rows::opt_text(file, "config")),
        flag("gpl_only"),
        flag("pkt_access"),
        flag("might_sleep"),
        flag("allow_fastcall"),
        names.type_word(rows::text(row, "ret")?, "Ret")?,
        args.join(", "),
        btf.join(", "),
        size.join(", "),
        quoted(rows::opt_text(row, "ret_btf")),
        quoted(rows::opt_text(row, "allowed")),
    ))
}

pub fn protos(root: &Path, names: &Names) -> Result<String> {
    let mut out = header("Helper prototypes by number, then symbol.", "spec/data/helpers/");
    out.push_str("use crate::helper::HelperProto;\nuse crate::release::{Change, Release, Span};\nuse crate::types::{ArgBase, ArgType, RetBase, RetType, TypeFlags as F};\n\n");
    let rows = proto_rows(root, names)?;
    let _ = writeln!(out, "pub static PROTOS: [HelperProto; {}] = [", rows.len());
    for (_, row) in rows {
        let _ = writeln!(out, "    {row},");
    }
    out.push_str("];\n\n");
    let mut by_id: Vec<(i64, &String)> = names.helpers.iter().map(|(n, i)| (*i, n)).collect();
    by_id.sort();
    if by_id.iter().enumerate().any(|(at, (id, _))| at as i64 != *id) {
        return Err("helper numbers have a gap".to_string());
    }
    let table = rows::read(root, "spec/data/helpers/names.toml")?;
    let since = table.get("since").and_then(|t| t.as_table()).cloned().unwrap_or_default();
    if let Some(other) = since.keys().find(|k| !names.helpers.contains_key(*k)) {
        return Err(format!("names.toml: since: unknown helper {other}"));
    }
    let _ = writeln!(
        out,
        "/// Kernel names by number, and the releases that have them.\npub static NAMES: [(&str, Span); {}] = [",
        by_id.len()
    );
    for (_, name) in &by_id {
        let mut row = Table::new();
        row.extend(since.get(name.as_str()).map(|v| ("since".to_string(), v.clone())));
        let _ = writeln!(out, "    (\"bpf_{name}\", {}),", names.lines.span(&row)?);
    }
    out.push_str("];\n\n");
    traits(root, names, &mut out)?;
    Ok(out)
}

/// `traits.toml`: a record of flags, and which helper has which.
fn traits(root: &Path, names: &Names, out: &mut String) -> Result<()> {
    let path = "spec/data/helpers/traits.toml";
    let file = rows::read(root, path)?;
    let list = rows::list(&file, "trait");
    out.push_str("/// What the verifier knows of a helper beyond its prototype.\n#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]\npub struct HelperTraits {\n");
    let (mut setters, mut members) = (String::new(), String::new());
    for (at, row) in list.iter().enumerate() {
        rows::only(row, &["name", "about", "mirrors", "helpers"])?;
        let name = rows::text(row, "name")?;
        let (about, mirrors) = (rows::text(row, "about")?, rows::text(row, "mirrors")?);
        let _ =
            writeln!(out, "    /// {about}\n    ///\n    /// {mirrors}.\n    pub {name}: bool,");
        let _ = writeln!(setters, "            {at} => self.{name} = true,");
        for member in rows::texts(row, "helpers") {
            let (helper, cond) = member.split_once(" if ").unwrap_or((member, ""));
            let id =
                names.helpers.get(helper).ok_or_else(|| format!("{path}: no helper {helper}"))?;
            let when = |word: &str| match cond.strip_prefix(word).and_then(|c| c.strip_suffix(')'))
            {
                Some(args) => {
                    let args: Vec<&str> = args.split('|').collect();
                    Ok::<_, String>(format!("Some({})", names.lines.condition(&args)?))
                }
                None => Ok("None".to_string()),
            };
            let (since, until) = (when("since(")?, when("until(")?);
            if !cond.is_empty() && since == until {
                return Err(format!("{path}: {member}: only since() or until() may follow"));
            }
            let span = format!("Span {{ since: {since}, until: {until} }}");
            let _ = writeln!(members, "    ({at}, {id}, {span}),");
        }
    }
    let _ = writeln!(
        out,
        "}}\n\nimpl HelperTraits {{\n    /// Sets the trait with this place in [`TRAITS`].\n    pub(crate) fn set(&mut self, at: u8) {{\n        match at {{\n{setters}            _ => {{}}\n        }}\n    }}\n}}\n"
    );
    let _ = writeln!(
        out,
        "/// Trait, helper, releases.\npub static TRAITS: &[(u8, u16, Span)] = &[\n{members}];\n"
    );
    Ok(())
}

/// Numbers by name, for rules that name a helper.
pub fn numbers(names: &Names) -> String {
    let mut out = header("Helpers by name (`enum bpf_func_id`).", "spec/data/helpers/names.toml");
    let mut by_id: Vec<(i64, &String)> = names.helpers.iter().map(|(n, i)| (*i, n)).collect();
    by_id.sort();
    for (id, name) in by_id {
        let _ = writeln!(out, "pub const {}: i32 = {id};", name.to_ascii_uppercase());
    }
    out
}

/// What a rule may refer to.
struct Scope<'a> {
    names: &'a Names,
    protos: BTreeMap<String, Vec<(i64, usize)>>,
    tables: BTreeMap<String, usize>,
}

pub fn callers(root: &Path, names: &Names) -> Result<String> {
    let path = "spec/data/helpers/callers.toml";
    let file = rows::read(root, path)?;
    let mut protos: BTreeMap<String, Vec<(i64, usize)>> = BTreeMap::new();
    for (at, ((id, symbol), _)) in proto_rows(root, names)?.into_iter().enumerate() {
        protos.entry(symbol).or_default().push((id, at));
    }
    let lists = rows::list(&file, "table");
    let mut tables = BTreeMap::new();
    for (at, table) in lists.iter().enumerate() {
        if tables.insert(rows::text(table, "name")?.to_string(), at).is_some() {
            return Err(format!("{path}: two tables of one name"));
        }
    }
    let scope = Scope { names, protos, tables };
    let mut out = header("Who may call which helper.", path);
    out.push_str("use crate::callers::{Answer, Cap, Rule, RuleTable, Test};\nuse crate::release::{Change, Release};\nuse crate::uapi::{AttachType, ProgType};\n\n");
    let _ = writeln!(out, "pub static TABLES: [RuleTable; {}] = [", lists.len());
    for table in &lists {
        let name = rows::text(table, "name")?;
        let _ = writeln!(
            out,
            "    RuleTable {{ name: {name:?}, source: {:?}, rules: &[",
            rows::text(table, "source")?
        );
        for rule in rows::texts(table, "rules") {
            let row =
                rule_row(rule, name, &scope).map_err(|e| format!("{path}: {name}: {rule}: {e}"))?;
            let _ = writeln!(out, "        {row},");
        }
        out.push_str("    ] },\n");
    }
    out.push_str("];\n\n");
    for (key, konst, owner) in [("entry", "ENTRY", "ProgType"), ("struct_ops", "STRUCT_OPS", "str")]
    {
        let ty = if owner == "str" { "&str" } else { owner };
        let _ = writeln!(out, "pub static {konst}: &[({ty}, u16)] = &[");
        for (name, table) in
            file.get(key).and_then(|v| v.as_table()).ok_or_else(|| format!("{path}: no {key}"))?
        {
            let table = table
                .as_str()
                .and_then(|t| scope.tables.get(t))
                .ok_or_else(|| format!("{path}: {name}: unknown table"))?;
            let left =
                if owner == "str" { format!("{name:?}") } else { names.uapi(owner, name)? };
            let _ = writeln!(out, "    ({left}, {table}),");
        }
        out.push_str("];\n");
    }
    Ok(out)
}

fn rule_row(rule: &str, table_name: &str, scope: &Scope<'_>) -> Result<String> {
    let (head, conditions) = rule.split_once(" if ").unwrap_or((rule, ""));
    let (helper, answer) = head.split_once(" = ").ok_or("no ` = `")?;
    let id = match helper {
        "*" => -1,
        name => *scope.names.helpers.get(name).ok_or("unknown helper")?,
    };
    let table =
        |name: &str| scope.tables.get(name).copied().ok_or_else(|| format!("unknown table {name}"));
    let answer = match answer.chars().next() {
        _ if answer == "none" => "Answer::Deny".to_string(),
        Some('@') => format!("Answer::Go({})", table(&answer[1..])?),
        Some('?') => format!("Answer::Try({})", table(&answer[1..])?),
        _ => {
            let rows = scope.protos.get(answer).ok_or("unknown prototype")?;
            let (_, at) =
                rows.iter().find(|(i, _)| *i == id).ok_or("the prototype is another helper's")?;
            format!("Answer::Proto({at})")
        }
    };
    let about = match helper {
        "*" => table_name.to_string(),
        name => format!("bpf_{name}"),
    };
    let tests = conds::tests(conditions, scope.names, conds::About("Caller", &about))?;
    Ok(format!("Rule {{ helper: {id}, tests: &[{}], answer: {answer} }}", tests))
}
