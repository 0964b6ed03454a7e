//! What is wrong with a configuration, and where.

use std::fmt;
use std::ops::Range;

use crate::gate::outcome::ConfigPlace;

/// A configuration that cannot be carried out.  Never a verdict about a program.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ConfigError {
    /// Bytes of the configuration's text that are wrong; None for the file as a whole.
    pub span: Option<Range<usize>>,
    /// Where the span starts.
    pub place: Option<ConfigPlace>,
    pub message: String,
    pub help: Option<String>,
}

impl ConfigError {
    pub fn new(message: impl Into<String>) -> ConfigError {
        ConfigError { span: None, place: None, message: message.into(), help: None }
    }

    /// At a place of `text`.
    pub fn at(text: &str, span: Range<usize>, message: impl Into<String>) -> ConfigError {
        let place = Some(place_of(text, span.start));
        ConfigError { span: Some(span), place, ..ConfigError::new(message) }
    }

    pub fn help(mut self, help: impl Into<String>) -> ConfigError {
        self.help = Some(help.into());
        self
    }
}

impl fmt::Display for ConfigError {
    /// `line:column: message`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(p) = self.place {
            write!(f, "{}:{}: ", p.line, p.column)?;
        }
        f.write_str(&self.message)?;
        match &self.help {
            Some(help) => write!(f, "\nhelp: {help}"),
            None => Ok(()),
        }
    }
}

/// Line and column of a byte of `text`; the end of the text for a byte beyond it.
pub(crate) fn place_of(text: &str, byte: usize) -> ConfigPlace {
    let mut end = byte.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let before = &text[..end];
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or("").chars().count() + 1;
    ConfigPlace { line: line as u32, column: column as u32 }
}
