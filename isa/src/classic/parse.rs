//! The two texts tcpdump prints: C array elements (`-dd`) and decimal lines (`-ddd`).

use std::fmt;

use super::{RawClassic, MAX_INSNS};

/// Where the text is no filter; lines count from 1.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ParseError {
    /// Not four numbers, or one that does not fit its field.
    BadLine {
        line: usize,
    },
    /// The count before the instructions is another.
    WrongCount {
        said: usize,
        found: usize,
    },
    Empty,
    TooLong,
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ParseError::BadLine { line } => {
                write!(f, "line {line}: expected code, jt, jf and k")
            }
            ParseError::WrongCount { said, found } => {
                write!(f, "{said} instructions announced, {found} found")
            }
            ParseError::Empty => f.write_str("no instructions"),
            ParseError::TooLong => write!(f, "more than {MAX_INSNS} instructions"),
        }
    }
}

impl std::error::Error for ParseError {}

/// Reads a filter; blank lines, braces, commas, `;` and `//` comments are skipped.
pub fn parse(text: &str) -> Result<Vec<RawClassic>, ParseError> {
    let mut insns = Vec::new();
    let mut said = None;
    for (i, line) in text.lines().enumerate() {
        let bad = ParseError::BadLine { line: i + 1 };
        let code = line.split("//").next().unwrap_or("");
        let words: Vec<&str> = code
            .split(|c: char| c.is_whitespace() || matches!(c, ',' | '{' | '}' | ';'))
            .filter(|w| !w.is_empty())
            .collect();
        match words.as_slice() {
            [] => {}
            [count] if insns.is_empty() && said.is_none() => {
                said = Some(usize::try_from(number(count).ok_or(bad)?).map_err(|_| bad)?);
            }
            [code, jt, jf, k] => {
                let n = |w: &str| number(w).ok_or(bad);
                insns.push(RawClassic {
                    code: u16::try_from(n(code)?).map_err(|_| bad)?,
                    jt: u8::try_from(n(jt)?).map_err(|_| bad)?,
                    jf: u8::try_from(n(jf)?).map_err(|_| bad)?,
                    k: n(k)?,
                });
            }
            _ => return Err(bad),
        }
        if insns.len() > MAX_INSNS {
            return Err(ParseError::TooLong);
        }
    }
    match said {
        _ if insns.is_empty() => Err(ParseError::Empty),
        Some(said) if said != insns.len() => {
            Err(ParseError::WrongCount { said, found: insns.len() })
        }
        _ => Ok(insns),
    }
}

fn number(text: &str) -> Option<u32> {
    match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(hex) => u32::from_str_radix(hex, 16).ok(),
        None => text.parse().ok(),
    }
}
