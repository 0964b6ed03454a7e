//! `spec/data/messages.toml`: what the verifier says where its words differ by release.

use std::fmt::Write as _;
use std::path::Path;

use toml::{Table, Value};

use super::names::Names;
use super::{header, rows, spans, Result};

pub fn messages(root: &Path, names: &Names) -> Result<String> {
    let path = "spec/data/messages.toml";
    let file = rows::read(root, path)?;
    let list = rows::list(&file, "message");
    let mut out = header("Messages whose words differ by release.", path);
    out.push_str(
        "use crate::message::{Message, Text};\nuse crate::release::{Change, Release, Span};\n\n\
         /// Texts of a release, with `{name}` for what is filled in.\n\
         #[derive(Clone, Copy, PartialEq, Eq, Debug)]\npub struct Words {\n",
    );
    let (mut resolved, mut all) = (String::new(), String::new());
    for (at, row) in list.iter().enumerate() {
        rows::only(row, &["id", "about", "mirrors", "code", "category", "texts"])?;
        let id = rows::text(row, "id")?;
        let (about, mirrors) = (rows::text(row, "about")?, rows::text(row, "mirrors")?);
        let _ = writeln!(
            out,
            "    /// {about}\n    ///\n    /// {mirrors}.\n    pub {id}: &'static str,"
        );
        let _ = writeln!(resolved, "            {id}: MESSAGES[{at}].text(at),");
        let (code, category) = (rows::text(row, "code")?, rows::text(row, "category")?);
        if !code.starts_with(&format!("{category}-")) {
            return Err(format!("{path}: {id}: {code} is not of the category {category}"));
        }
        let texts: Result<Vec<String>> =
            texts(row).into_iter().map(|t| text(t, code, names)).collect();
        let texts = texts.map_err(|e| format!("{path}: {id}: {e}"))?.join(", ");
        let _ = writeln!(all, "    Message {{ category: {category:?}, texts: &[{texts}] }},");
    }
    let _ = writeln!(
        out,
        "}}\n\nimpl Words {{\n    pub fn resolve(at: Release) -> Words {{\n        Words {{\n{resolved}        }}\n    }}\n}}\n\n\
         /// In the order of [`Words`].\npub static MESSAGES: [Message; {}] = [\n{all}];",
        list.len()
    );
    Ok(out)
}

fn texts(row: &Table) -> Vec<&Table> {
    let list = row.get("texts").and_then(Value::as_array);
    list.into_iter().flatten().filter_map(Value::as_table).collect()
}

/// `{ text = "…", since = "7.1" }` → `Text { … }`.
fn text(row: &Table, code: &str, names: &Names) -> Result<String> {
    rows::only(row, &[&["text", "code"][..], &spans::KEYS].concat())?;
    let (text, code) = (rows::text(row, "text")?, rows::opt_text(row, "code").unwrap_or(code));
    Ok(format!("Text {{ text: {text:?}, code: {code:?}, span: {} }}", names.lines.span(row)?))
}
