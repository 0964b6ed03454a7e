//! `spec/data/lines.toml`, and the `since`, `until`, `backports` and `reverts` of every row.

use std::fmt::Write as _;
use std::path::Path;

use toml::Table;

use super::{header, rows, Result};

/// Keys of a row that say when it holds.
pub const KEYS: [&str; 4] = ["since", "until", "backports", "reverts"];

/// Release lines in upstream order.
pub struct Lines(Vec<String>);

impl Lines {
    pub fn read(root: &Path) -> Result<Lines> {
        let table = rows::read(root, "spec/data/lines.toml")?;
        let lines: Vec<String> =
            rows::texts(&table, "lines").into_iter().map(String::from).collect();
        match u8::try_from(lines.len()) {
            Ok(1..) => Ok(Lines(lines)),
            _ => Err("lines.toml: between 1 and 255 lines".to_string()),
        }
    }

    pub fn table(&self) -> String {
        let mut out = header("Release lines in upstream order.", "spec/data/lines.toml");
        let _ = writeln!(out, "pub static LINES: [&str; {}] = {:?};", self.0.len(), self.0);
        out
    }

    /// `6.18.44` → `Release::new(28, 44)`.
    pub fn release(&self, text: &str) -> Result<String> {
        let mut parts = text.splitn(3, '.');
        let line = match (parts.next(), parts.next()) {
            (Some(major), Some(minor)) => format!("{major}.{minor}"),
            _ => return Err(format!("no release: {text}")),
        };
        let at = self.0.iter().position(|l| *l == line).ok_or_else(|| format!("no line {line}"))?;
        let patch: u16 = parts.next().unwrap_or("0").parse().map_err(|e| format!("{text}: {e}"))?;
        Ok(format!("Release::new({at}, {patch})"))
    }

    fn change(&self, upstream: Option<&str>, backports: &[&str]) -> Result<String> {
        if upstream.is_none() && backports.is_empty() {
            return Ok("None".to_string());
        }
        let upstream = match upstream {
            Some(text) => format!("Some({})", self.release(text)?),
            None => "None".to_string(),
        };
        let backports: Result<Vec<String>> = backports.iter().map(|b| self.release(b)).collect();
        Ok(format!(
            "Some(Change {{ upstream: {upstream}, backports: &[{}] }})",
            backports?.join(", ")
        ))
    }

    /// A row's `Span`.
    pub fn span(&self, row: &Table) -> Result<String> {
        if !KEYS.iter().any(|k| row.contains_key(*k)) {
            return Ok("Span::ALWAYS".to_string());
        }
        let since = self.change(rows::opt_text(row, "since"), &rows::texts(row, "backports"))?;
        let until = self.change(rows::opt_text(row, "until"), &rows::texts(row, "reverts"))?;
        Ok(format!("Span {{ since: {since}, until: {until} }}"))
    }

    /// Arguments of a `since(7.2|6.12.117)` condition: upstream's release, then backports; `-` for none upstream.
    pub fn condition(&self, args: &[&str]) -> Result<String> {
        let (first, backports) = args.split_first().ok_or("since() without a release")?;
        let change = self.change(Some(*first).filter(|f| *f != "-"), backports)?;
        let inner = change.strip_prefix("Some(").and_then(|c| c.strip_suffix(')'));
        inner.map(String::from).ok_or_else(|| "since() of nothing".to_string())
    }
}
