//! Renderings of a gate's result.  Plain functions from [`GateReport`] to text; no files, no terminal.

use std::str::FromStr;

use crate::gate::outcome::GateReport;

/// A format that `gate --output` knows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Format {
    /// The contract `bpfassay.gate/1`.
    Json,
}

impl Format {
    pub const ALL: [Format; 1] = [Format::Json];

    /// The word on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Format::Json => "json",
        }
    }
}

impl FromStr for Format {
    type Err = String;

    fn from_str(word: &str) -> Result<Format, String> {
        Format::ALL.into_iter().find(|f| f.as_str() == word).ok_or_else(|| {
            let known: Vec<_> = Format::ALL.into_iter().map(Format::as_str).collect();
            format!("no format is called `{word}`; known are {}", known.join(", "))
        })
    }
}

/// The report in a format.
pub fn render(report: &GateReport, format: Format) -> Result<String, String> {
    match format {
        Format::Json => {
            let mut text = serde_json::to_string_pretty(report).map_err(|e| e.to_string())?;
            text.push('\n');
            Ok(text)
        }
    }
}
