//! Reading TOML rows with errors that name the file and the row.

use std::fs;
use std::path::Path;

use toml::{Table, Value};

use super::Result;

pub fn read(root: &Path, path: &str) -> Result<Table> {
    let text = fs::read_to_string(root.join(path)).map_err(|e| format!("{path}: {e}"))?;
    text.parse::<Table>().map_err(|e| format!("{path}: {e}"))
}

/// The TOML files of a folder, by name.
pub fn files(root: &Path, folder: &str) -> Result<Vec<String>> {
    let mut out = Vec::new();
    for entry in fs::read_dir(root.join(folder)).map_err(|e| format!("{folder}: {e}"))? {
        let name =
            entry.map_err(|e| format!("{folder}: {e}"))?.file_name().to_string_lossy().into_owned();
        if name.ends_with(".toml") {
            out.push(format!("{folder}/{name}"));
        }
    }
    out.sort();
    Ok(out)
}

/// The array of tables called `key`, empty when absent.
pub fn list<'a>(table: &'a Table, key: &str) -> Vec<&'a Table> {
    match table.get(key) {
        Some(Value::Array(items)) => items.iter().filter_map(Value::as_table).collect(),
        _ => Vec::new(),
    }
}

pub fn text<'a>(row: &'a Table, key: &str) -> Result<&'a str> {
    opt_text(row, key).ok_or_else(|| format!("row without {key}: {row}"))
}

pub fn opt_text<'a>(row: &'a Table, key: &str) -> Option<&'a str> {
    row.get(key).and_then(Value::as_str)
}

pub fn number(row: &Table, key: &str) -> Result<i64> {
    row.get(key).and_then(Value::as_integer).ok_or_else(|| format!("row without {key}: {row}"))
}

pub fn flag(row: &Table, key: &str) -> bool {
    row.get(key).and_then(Value::as_bool).unwrap_or(false)
}

pub fn texts<'a>(row: &'a Table, key: &str) -> Vec<&'a str> {
    match row.get(key) {
        Some(Value::Array(items)) => items.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    }
}

/// Fails on a key that nobody reads: a misspelt one would otherwise be a lost fact.
pub fn only(row: &Table, known: &[&str]) -> Result<()> {
    match row.keys().find(|k| !known.contains(&k.as_str())) {
        Some(key) => Err(format!("unknown key {key} in row: {row}")),
        None => Ok(()),
    }
}
