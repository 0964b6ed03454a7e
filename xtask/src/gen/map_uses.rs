//! `spec/data/map_uses.toml`: what may be done with a map of each type.

use std::fmt::Write as _;
use std::path::Path;

use toml::Table;

use super::names::Names;
use super::{header, rows, spans, Result};

const FLAGS: [&str; 11] = [
    "sleepable",
    "walk",
    "never_null",
    "sockets",
    "made_rdonly",
    "keyless",
    "no_elements",
    "percpu",
    "listed",
    "no_btf",
    "sizeless",
];

pub fn map_uses(root: &Path, names: &Names) -> Result<String> {
    let path = "spec/data/map_uses.toml";
    let file = rows::read(root, path)?;
    rows::only(&file, &["map", "helpers"])?;
    let list = rows::list(&file, "map");
    let mut out = header("What may be done with maps.", path);
    out.push_str(
        "use crate::map_use::{MapLookup, MapMemory, MapUse};\nuse crate::release::{Change, Release, Span};\n",
    );
    out.push_str("use crate::uapi::MapType;\n\n");
    let _ = writeln!(out, "pub static MAP_USES: [MapUse; {}] = [", list.len());
    for row in list {
        let text = map_row(row, names)
            .map_err(|e| format!("{path}: {}: {e}", rows::text(row, "name").unwrap_or("?")))?;
        let _ = writeln!(out, "    {text},");
    }
    out.push_str("];\n\n/// Helpers that take no other maps than these.\n");
    out.push_str("pub static HELPER_MAPS: &[(&[u16], &[MapType])] = &[\n");
    for row in rows::list(&file, "helpers") {
        rows::only(row, &["names", "maps"])?;
        let maps: Result<Vec<String>> =
            rows::texts(row, "maps").into_iter().map(|m| names.uapi("MapType", m)).collect();
        let ids = helper_ids(&rows::texts(row, "names"), names)?;
        let _ = writeln!(out, "    (&[{ids}], &[{}]),", maps?.join(", "));
    }
    out.push_str("];\n");
    Ok(out)
}

fn helper_ids(list: &[&str], names: &Names) -> Result<String> {
    let ids: Result<Vec<String>> = list
        .iter()
        .map(|n| names.helpers.get(*n).map(i64::to_string).ok_or_else(|| format!("no helper {n}")))
        .collect();
    Ok(ids?.join(", "))
}

fn map_row(row: &Table, names: &Names) -> Result<String> {
    let known =
        [&["name", "struct", "lookup", "memory", "helpers"][..], &FLAGS, &spans::KEYS].concat();
    rows::only(row, &known)?;
    let lookup = match rows::opt_text(row, "lookup") {
        None => "Value",
        Some("socket") => "Socket",
        Some("xdp_sock") => "XdpSock",
        Some(other) => return Err(format!("unknown lookup {other}")),
    };
    let memory = match rows::opt_text(row, "memory").unwrap_or("pointers") {
        "pointers" => "Pointers",
        "array" => "Array",
        "percpu_array" => "PercpuArray",
        "hash" => "Hash",
        "percpu_hash" => "PercpuHash",
        "buckets" => "Buckets",
        "traces" => "Traces",
        "queue" => "Queue",
        "bytes" => "Bytes",
        "nothing" => "Nothing",
        other => return Err(format!("unknown memory {other}")),
    };
    let helpers = match row.get("helpers") {
        None => "None".to_string(),
        Some(_) => format!("Some(&[{}])", helper_ids(&rows::texts(row, "helpers"), names)?),
    };
    let flags = FLAGS.map(|f| format!("{f}: {}", rows::flag(row, f)));
    let kernel_struct = rows::opt_text(row, "struct");
    Ok(format!(
        "MapUse {{ map_type: {}, kernel_struct: {kernel_struct:?}, lookup: MapLookup::{lookup}, memory: MapMemory::{memory}, helpers: {helpers}, {}, span: {} }}",
        names.uapi("MapType", rows::text(row, "name")?)?,
        flags.join(", "),
        names.lines.span(row)?
    ))
}
