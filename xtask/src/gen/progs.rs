//! `spec/data/progs.toml` and `sections.toml`: program types, and ELF section names.

use std::fmt::Write as _;
use std::path::Path;

use toml::Table;

use super::names::Names;
use super::{conds, header, rows, spans, Result};

const KEYS: &[&str] = &[
    "name",
    "ops",
    "ctx",
    "kern_ctx",
    "config",
    "caps",
    "unprivileged",
    "attach",
    "attach_zero",
    "packet",
    "sleepable",
    "returns",
    "rewrites",
    "skb_loads",
    "perf_like",
    "private_stack",
    "attach_btf",
    "sockmap",
    "writes_conntrack",
    "ctx_also",
    "input",
    "test_run",
    "plain_ctx",
];

pub fn progs(root: &Path, names: &Names) -> Result<String> {
    let path = "spec/data/progs.toml";
    let file = rows::read(root, path)?;
    let list = rows::list(&file, "prog");
    let mut out = header("Program types, and sections.", "spec/data/progs.toml, sections.toml");
    out.push_str("use crate::callers::Test;\n");
    out.push_str("use crate::prog::{CtxAlso, PacketAccess, ProgInfo, ReturnRule, RunInput, Sleepable, SockmapUse, TestRun};\n");
    out.push_str("use crate::release::{Change, Release, Span};\n");
    out.push_str("use crate::section::SectionDef;\nuse crate::uapi::{AttachType, ProgType};\n\n");
    let _ =
        writeln!(out, "/// Ascending by number.\npub static PROGS: [ProgInfo; {}] = [", list.len());
    for row in list {
        let text = prog_row(row, names)
            .map_err(|e| format!("{path}: {}: {e}", rows::text(row, "name").unwrap_or("?")))?;
        let _ = writeln!(out, "    {text},");
    }
    out.push_str("];\n\n");
    sections(root, names, &mut out)?;
    Ok(out)
}

fn prog_row(row: &Table, names: &Names) -> Result<String> {
    rows::only(row, &[KEYS, &spans::KEYS].concat())?;
    let name = rows::text(row, "name")?;
    let tests = |cond: &str, what: &str| {
        conds::tests(cond, names, conds::About("Program", &format!("{name} {what}")))
    };
    let attach: Result<Vec<String>> =
        rows::texts(row, "attach").into_iter().map(|a| names.uapi("AttachType", a)).collect();
    let zero = match rows::opt_text(row, "attach_zero") {
        Some(name) => format!("Some({})", names.uapi("AttachType", name)?),
        None => "None".to_string(),
    };
    let packet = match rows::opt_text(row, "packet") {
        None => "None",
        Some("read") => "Read",
        Some("write") => "Write",
        Some("optval") => "OptVal",
        Some(other) => return Err(format!("unknown packet access {other}")),
    };
    let sleepable = match rows::opt_text(row, "sleepable") {
        Some("yes") => "Sleepable::May".to_string(),
        Some("must") => "Sleepable::Must".to_string(),
        Some(other) => return Err(format!("unknown sleepable {other}")),
        None => {
            let any: Result<Vec<String>> = rows::texts(row, "sleepable")
                .into_iter()
                .map(|cond| Ok(format!("&[{}]", tests(cond, "sleepable")?)))
                .collect();
            format!("Sleepable::MayIf(&[{}])", any?.join(", "))
        }
    };
    let private_stack = match rows::opt_text(row, "private_stack") {
        None => "None".to_string(),
        Some("yes") => "Some(&[])".to_string(),
        Some(cond) => format!("Some(&[{}])", tests(cond, "private_stack")?),
    };
    let sockmap = match rows::opt_text(row, "sockmap") {
        None => "SockmapUse::No".to_string(),
        Some("yes") => "SockmapUse::Yes".to_string(),
        Some("delete") => "SockmapUse::Delete".to_string(),
        Some(cond) => format!("SockmapUse::If(&[{}])", tests(cond, "sockmap")?),
    };
    let mut also = Vec::new();
    for rule in rows::texts(row, "ctx_also") {
        let (head, cond) = rule.split_once(" if ").unwrap_or((rule, ""));
        let ty = match head.split_once(' ').unwrap_or((head, "")) {
            ("struct", name) if !name.is_empty() => format!("CtxAlso::Struct({name:?})"),
            ("u64", "") => "CtxAlso::U64".to_string(),
            ("iter", "") => "CtxAlso::Iter".to_string(),
            ("any", "") => "CtxAlso::Any".to_string(),
            _ => return Err(format!("unknown context type {head}")),
        };
        also.push(format!("(&[{}], {ty})", tests(cond, "ctx_also")?));
    }
    let input = input(rows::opt_text(row, "input"))?;
    let test_run = match rows::opt_text(row, "test_run") {
        None => "None",
        Some("program") => "Some(TestRun::Program)",
        Some("kernel") => "Some(TestRun::Kernel)",
        Some(other) => return Err(format!("unknown test run {other}")),
    };
    let mut returns = Vec::new();
    for rule in rows::texts(row, "returns") {
        let (head, cond) = rule.split_once(" if ").unwrap_or((rule, ""));
        let tests = tests(cond, "returns")?;
        returns.push(format!("(&[{tests}], {})", return_rule(head)?));
    }
    let caps = rows::texts(row, "caps");
    if let Some(other) = caps.iter().find(|c| !["net_admin", "perfmon"].contains(c)) {
        return Err(format!("unknown capability {other}"));
    }
    Ok(format!(
        "ProgInfo {{ prog_type: {}, ops: {:?}, ctx: {:?}, kern_ctx: {:?}, config: &{:?}, net_admin: {}, perfmon: {}, unprivileged: {}, \
         attach: &[{}], attach_zero: {zero}, packet: PacketAccess::{packet}, sleepable: {sleepable}, returns: &[{}], \
         rewrites_ctx: {}, skb_loads: {}, perf_like: {}, private_stack: {private_stack}, attaches_by_btf: {}, sockmap: {sockmap}, \
         writes_conntrack: {}, ctx_also: &[{}], input: {input}, test_run: {test_run}, plain_ctx: {}, span: {} }}",
        names.uapi("ProgType", rows::text(row, "name")?)?,
        rows::text(row, "ops")?,
        rows::text(row, "ctx")?,
        rows::text(row, "kern_ctx")?,
        rows::texts(row, "config"),
        caps.contains(&"net_admin"),
        caps.contains(&"perfmon"),
        rows::flag(row, "unprivileged"),
        attach?.join(", "),
        returns.join(", "),
        rows::flag(row, "rewrites"),
        rows::flag(row, "skb_loads"),
        rows::flag(row, "perf_like"),
        rows::flag(row, "attach_btf"),
        rows::flag(row, "writes_conntrack"),
        also.join(", "),
        rows::flag(row, "plain_ctx"),
        names.lines.span(row)?,
    ))
}

fn input(text: Option<&str>) -> Result<String> {
    let Some(text) = text else { return Ok("RunInput::Bytes".to_string()) };
    Ok(match text {
        "xdp" => "RunInput::Xdp".to_string(),
        "flow" => "RunInput::Flow".to_string(),
        "sk_lookup" => "RunInput::SkLookup".to_string(),
        "netfilter" => "RunInput::Netfilter".to_string(),
        "raw_tp" => "RunInput::RawTp".to_string(),
        "syscall" => "RunInput::Syscall".to_string(),
        _ => {
            let words: Vec<&str> = text.split(' ').collect();
            let known = ["skb", "link", "direct"];
            if words.first() != Some(&"skb") || words.iter().any(|w| !known.contains(w)) {
                return Err(format!("unknown input {text}"));
            }
            let (link, direct) = (words.contains(&"link"), words.contains(&"direct"));
            format!("RunInput::Skb {{ link: {link}, direct: {direct} }}")
        }
    })
}

/// `0..3 enforce 2..3` → `ReturnRule::Range { … }`.
fn return_rule(text: &str) -> Result<String> {
    Ok(match text {
        "any" => "ReturnRule::Any".to_string(),
        "unsupported" => "ReturnRule::NotSupported".to_string(),
        "lsm" => "ReturnRule::Lsm".to_string(),
        "lsm_cgroup" => "ReturnRule::LsmCgroup".to_string(),
        "struct_ops" => "ReturnRule::StructOps".to_string(),
        _ => {
            let (range, enforce) = text.split_once(" enforce ").unwrap_or((text, ""));
            let (min, max) = bounds(range)?;
            let enforce = match enforce {
                "" => "None".to_string(),
                some => format!("Some({:?})", bounds(some)?),
            };
            format!("ReturnRule::Range {{ min: {min}, max: {max}, enforce: {enforce} }}")
        }
    })
}

fn bounds(text: &str) -> Result<(i32, i32)> {
    let (min, max) = text.split_once("..").ok_or_else(|| format!("bad range {text}"))?;
    let number = |s: &str| s.parse::<i32>().map_err(|e| format!("{text}: {e}"));
    Ok((number(min)?, number(max)?))
}

fn sections(root: &Path, names: &Names, out: &mut String) -> Result<()> {
    let path = "spec/data/sections.toml";
    let file = rows::read(root, path)?;
    let tables = [
        ("sections", "SECTIONS", "In libbpf's order: the first match wins."),
        ("aya", "AYA_SECTIONS", "As aya reads them; no two match."),
    ];
    for (key, table, about) in tables {
        let list = rows::texts(&file, key);
        let _ = writeln!(out, "/// {about}\npub static {table}: [SectionDef; {}] = [", list.len());
        section_rows(path, &list, names, out)?;
        out.push_str("];\n");
    }
    Ok(())
}

fn section_rows(path: &str, list: &[&str], names: &Names, out: &mut String) -> Result<()> {
    for line in list {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [pattern, prog, attach, flags @ ..] = words.as_slice() else {
            return Err(format!("{path}: bad row {line}"));
        };
        let known = ["attach_opt", "attach_btf", "sleepable", "xdp_frags", "usdt"];
        if let Some(other) = flags.iter().find(|f| !known.contains(f)) {
            return Err(format!("{path}: unknown flag {other}"));
        }
        let attach = match *attach {
            "-" => "None".to_string(),
            name => format!("Some({})", names.uapi("AttachType", name)?),
        };
        let set: Vec<String> =
            known.iter().map(|k| format!("{k}: {}", flags.contains(k))).collect();
        let _ = writeln!(
            out,
            "    SectionDef {{ pattern: {pattern:?}, prog_type: {}, attach_type: {attach}, {} }},",
            names.uapi("ProgType", prog)?,
            set.join(", ")
        );
    }
    Ok(())
}
