//! Names of a kernel's symbols, from the table that the kernel itself carries (`kernel/kallsyms.c`,
//! `scripts/kallsyms.c`): packages hold no `System.map` worth the name.
//!
//! Names are compressed with 256 tokens.  Nothing says where the tables lie, so they are found by what they are: the
//! token table holds the digits as tokens of their own, one behind the other, and is followed by its index; the names
//! stand before it, behind their count and before the markers that say where every 256th is.

use std::collections::BTreeSet;

/// A kernel has at least and at most so many symbols.
const MIN_NAMES: usize = 10_000;
const MAX_NAMES: usize = 4_000_000;

/// Names of all symbols; None where no table is found.
pub fn names(kernel: &[u8]) -> Option<BTreeSet<String>> {
    let tokens = Tokens::find(kernel)?;
    let (start, count) = find_names(kernel, &tokens)?;
    let mut out = BTreeSet::new();
    let mut at = start;
    for _ in 0..count {
        let (codes, next) = entry(kernel, at)?;
        let mut name = String::new();
        codes.iter().for_each(|c| name.push_str(tokens.text(*c)));
        // The first character is the symbol's type.
        let mut chars = name.chars();
        chars.next();
        out.insert(chars.as_str().to_string());
        at = next;
    }
    Some(out)
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

struct Tokens {
    /// Offset of the table.
    start: usize,
    texts: Vec<String>,
}

impl Tokens {
    fn find(kernel: &[u8]) -> Option<Tokens> {
        let digits: Vec<u8> = (b'0'..=b'9').flat_map(|d| [d, 0]).collect();
        let mut from = 0;
        while let Some(found) = kernel.get(from..)?.windows(digits.len()).position(|w| w == digits)
        {
            if let Some(tokens) = Tokens::around(kernel, from + found) {
                return Some(tokens);
            }
            from += found + 1;
        }
        None
    }

    /// The table whose token `0` (number 48) lies here, if its index follows.
    fn around(kernel: &[u8], zero: usize) -> Option<Tokens> {
        let mut start = zero;
        for _ in 0..b'0' {
            // The byte before the start ends the token before.
            let before = kernel.get(..start - 1)?;
            let end = before.iter().rev().take(64).position(|b| *b == 0)?;
            start = start - 1 - end;
        }
        let (mut texts, mut index) = (Vec::new(), Vec::new());
        let mut at = start;
        for _ in 0..256 {
            let len = kernel.get(at..)?.iter().take(64).position(|b| *b == 0)?;
            index.push(u16::try_from(at - start).ok()?);
            texts.push(std::str::from_utf8(kernel.get(at..at + len)?).ok()?.to_string());
            at += len + 1;
        }
        let index: Vec<u8> = index.iter().flat_map(|i| i.to_le_bytes()).collect();
        let follows = (at..at + 16).any(|at| kernel.get(at..at + 512) == Some(&index));
        follows.then_some(Tokens { start, texts })
    }

    fn text(&self, code: u8) -> &str {
        &self.texts[usize::from(code)]
    }
}

/// Codes of the name at an offset, and where the next one is.  A length of 128 or more takes two bytes.
fn entry(kernel: &[u8], at: usize) -> Option<(&[u8], usize)> {
    let first = usize::from(*kernel.get(at)?);
    let (len, start) = match first & 0x80 {
        0 => (first, at + 1),
        _ => (first & 0x7f | usize::from(*kernel.get(at + 1)?) << 7, at + 2),
    };
    Some((kernel.get(start..start + len)?, start + len))
}

/// The names: where the first one starts, and how many there are.
///
/// Their count stands 4 or 8 bytes before them, and behind them stand the markers: offsets of every 256th name.
fn find_names(kernel: &[u8], tokens: &Tokens) -> Option<(usize, usize)> {
    (8..tokens.start).step_by(4).find_map(|start| {
        let counts = [8, 4].map(|back| word(kernel, start - back).map_or(0, |n| n as usize));
        let count = counts.into_iter().find(|n| (MIN_NAMES..MAX_NAMES).contains(n))?;
        let is_type = |code: u8| tokens.text(code).starts_with(|c: char| c.is_ascii_alphabetic());
        let (mut at, mut second) = (start, 0);
        for i in 0..count {
            let (codes, next) = entry(kernel, at)?;
            if !is_type(*codes.first()?) {
                return None;
            }
            at = next;
            if i == 255 {
                second = at - start;
            }
        }
        let is_marked = |at: usize| {
            word(kernel, at) == Some(0)
                && word(kernel, at + 4).is_some_and(|m| m as usize == second)
        };
        let behind = at.next_multiple_of(4);
        (is_marked(behind) || is_marked(behind + 4)).then_some((start, count))
    })
}
