//! What stands in front of every line: time stamps, names of containers, quotes, indentation.
//!
//! Nothing is known of who printed it. Where unmistakable lines of a log begin in the middle of
//! their lines, the text before them is generalised to a shape, and the shape is taken off the
//! others.

use super::anchor;

/// Shapes kept.
const MOST_SHAPES: usize = 6;
/// Shapes looked at.
const MOST_LEARNT: usize = 256;
/// Lines looked at to learn them, at each end of the text.
const SAMPLE: usize = 20_000;
/// Longest prefix.
const LONGEST: usize = 400;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Part {
    /// One digit or more.
    Digits,
    /// One blank or more.
    Blanks,
    /// This byte.
    Byte(u8),
}

/// One kind of prefix.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Shape {
    parts: Vec<Part>,
    count: usize,
}

/// The prefixes of a text.
#[derive(Default, Debug)]
pub struct Frame {
    shapes: Vec<Shape>,
}

impl Frame {
    /// Learns from lines that are clean already.
    pub fn learn<'a>(lines: impl Iterator<Item = &'a str>) -> Frame {
        let mut shapes: Vec<Shape> = Vec::new();
        let mut bare = 0usize;
        for line in lines.take(2 * SAMPLE) {
            let Some(at) = anchor::start(line) else { continue };
            let prefix = &line[..at];
            if prefix.trim_start().is_empty() {
                bare += 1;
                continue;
            }
            // A line that holds several is taken apart first.
            let several = ["\\n", "#012", "%0A", "^J"].iter().any(|e| prefix.contains(e));
            if prefix.len() > LONGEST || several {
                continue;
            }
            let parts = generalise(prefix);
            if let Some(s) = shapes.iter_mut().find(|s| s.parts == parts) {
                s.count += 1;
            } else if shapes.len() < MOST_LEARNT {
                shapes.push(Shape { parts, count: 1 });
            }
        }
        // A prefix is one if lines have it in common: a single line may have anything before it.
        let least = if bare == 0 { 1 } else { 2 };
        shapes.retain(|s| s.count >= least);
        shapes.sort_by(|a, b| b.count.cmp(&a.count).then(b.parts.len().cmp(&a.parts.len())));
        shapes.truncate(MOST_SHAPES);
        Frame { shapes }
    }

    /// The line without its prefix, and that prefix.
    pub fn strip<'a>(&self, line: &'a str) -> (&'a str, &'a str) {
        for shape in &self.shapes {
            if let Some(len) = shape.len_in(line) {
                return (&line[len..], &line[..len]);
            }
        }
        (line, "")
    }
}

impl Shape {
    /// Bytes of `line` that are of this shape; an end of the shape that is blank may be missing at
    /// the end of the line.
    fn len_in(&self, line: &str) -> Option<usize> {
        let bytes = line.as_bytes();
        let mut at = 0;
        for part in &self.parts {
            let run = |f: fn(&u8) -> bool| bytes[at..].iter().take_while(|b| f(b)).count();
            let len = match part {
                Part::Digits => run(u8::is_ascii_digit),
                Part::Blanks if at == bytes.len() => continue,
                Part::Blanks => run(|b| *b == b' ' || *b == b'\t'),
                Part::Byte(b) => usize::from(bytes.get(at) == Some(b)),
            };
            if len == 0 {
                return None;
            }
            at += len;
        }
        line.is_char_boundary(at).then_some(at)
    }
}

fn generalise(prefix: &str) -> Vec<Part> {
    let mut parts: Vec<Part> = Vec::new();
    for b in prefix.bytes() {
        let part = match b {
            b'0'..=b'9' => Part::Digits,
            b' ' | b'\t' => Part::Blanks,
            b => Part::Byte(b),
        };
        if parts.last() != Some(&part) || matches!(part, Part::Byte(_)) {
            parts.push(part);
        }
    }
    parts
}

/// Marks that people and programs put before any line: quotes, bullets, borders, numbers of lines.
pub fn strip_marks(line: &str) -> &str {
    const MARKS: &[&str] = &[
        "libbpf: ",
        "> ",
        "| ",
        "│ ",
        "┃ ",
        "* ",
        "- ",
        "+ ",
        "E ",
        "# ",
        "// ",
        "/// ",
        "│",
        "│",
        "stderr: ",
        "stdout: ",
        "[stderr] ",
        "ERROR: ",
        "error: ",
        "Error: ",
        "WARN: ",
        "INFO: ",
    ];
    let mut rest = line.trim_start();
    loop {
        let next = MARKS.iter().find_map(|m| rest.strip_prefix(m)).or_else(|| quote(rest));
        match next {
            Some(next) => rest = next.trim_start(),
            None => return rest,
        }
    }
}

/// `>`, `>>` and `>text` of mail.
fn quote(line: &str) -> Option<&str> {
    let rest = line.strip_prefix('>')?;
    (!rest.starts_with('=')).then_some(rest)
}

#[cfg(test)]
mod tests {
    use super::{strip_marks, Frame};

    #[test]
    fn a_prefix_is_learnt_and_taken_off() {
        let lines = [
            "Jan 02 10:11:12 host app[17]: 0: (b7) r1 = 0",
            "Jan 02 10:11:12 host app[17]: 1: (95) exit",
            "Jan 02 10:11:13 host app[170]: R0 !read_ok",
            "Jan 02 10:11:13 host app[170]: processed 2 insns (limit 1000000)",
            "Jan 02 10:11:13 host app[170]:",
            "other",
        ];
        let frame = Frame::learn(lines.into_iter());
        assert_eq!(frame.strip(lines[0]).0, "0: (b7) r1 = 0");
        assert_eq!(frame.strip(lines[2]).0, "R0 !read_ok");
        assert_eq!(frame.strip(lines[4]).0, "");
        assert_eq!(frame.strip(lines[5]).0, "other");
    }

    #[test]
    fn one_line_alone_teaches_nothing() {
        let lines = ["Error: Verifier output: 0: R1=ctx()", "0: (b7) r0 = 0", "1: (95) exit"];
        assert!(Frame::learn(lines.into_iter()).shapes.is_empty());
    }

    #[test]
    fn marks() {
        assert_eq!(strip_marks("> > > R0 !read_ok"), "R0 !read_ok");
        assert_eq!(strip_marks("  | libbpf: prog 'x': y"), "prog 'x': y");
    }
}
