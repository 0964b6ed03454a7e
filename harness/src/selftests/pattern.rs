//! Expected messages: literal text with extended regular expressions in `{{…}}`, matched in order.
//!
//! Mirrors `compile_regex` and `validate_msgs` of `test_loader.c`.  A match ends where the next search begins; lines
//! of listings follow each other without another between them, unless a `...` stands there.  The
//! engine takes the first alternative that matches where POSIX takes the longest, which no pattern of 6.18 can tell.

use std::ops::Range;

use regex_lite::Regex;

/// One expected (or forbidden) message.
#[derive(Clone, Debug)]
pub struct Pattern {
    /// As annotated.
    pub text: String,
    /// It must not be in the log (between its neighbours).
    pub negative: bool,
    /// It must be on the line behind the one where the pattern before it is.
    pub follows: bool,
    regex: Option<Regex>,
}

impl Pattern {
    pub fn new(text: &str, negative: bool) -> Result<Pattern, String> {
        let regex = if text.contains("{{") { Some(compile(text)?) } else { None };
        Ok(Pattern { text: text.to_string(), negative, follows: false, regex })
    }

    /// Text to be found as it stands; None for an empty one.
    pub fn literal(text: &str) -> Option<Pattern> {
        let text = text.to_string();
        (!text.is_empty()).then(|| Pattern { text, negative: false, follows: false, regex: None })
    }

    /// First match in `log`.
    pub fn find(&self, log: &str) -> Option<Range<usize>> {
        match &self.regex {
            Some(r) => r.find(log).map(|m| m.range()),
            None => log.find(&self.text).map(|at| at..at + self.text.len()),
        }
    }
}

/// Lines are matched one by one (`REG_NEWLINE`): `^` and `$` at each, `.` and negated classes stop at its end.
fn compile(pattern: &str) -> Result<Regex, String> {
    let mut out = String::from("(?m)");
    let mut rest = pattern;
    while let Some(start) = rest.find("{{") {
        out.push_str(&regex_lite::escape(&rest[..start]));
        let inside = &rest[start + 2..];
        let end = inside.find("}}").ok_or_else(|| format!("'{{{{' without '}}}}': {pattern}"))?;
        out.push_str(&inside[..end].replace("[^", "[^\\n"));
        rest = &inside[end + 2..];
    }
    out.push_str(&regex_lite::escape(rest));
    Regex::new(&out).map_err(|e| format!("{e}: {pattern}"))
}

/// For each pattern, whether the log does as it says.
///
/// Positive patterns are looked for one behind the other, each from the end of the last one found.  A negative one
/// must not match between the positive ones around it.  One that follows must stand on the next line.
pub fn validate(log: &str, patterns: &[Pattern]) -> Vec<bool> {
    let mut at = 0;
    let mut found: Vec<Option<Range<usize>>> = Vec::with_capacity(patterns.len());
    for p in patterns {
        let hit = if p.negative { None } else { p.find(log.get(at..).unwrap_or_default()) };
        let hit = hit.map(|r| r.start + at..r.end + at);
        if let Some(r) = &hit {
            at = r.end;
        }
        found.push(hit);
    }
    let line = |at: usize| log.bytes().take(at).filter(|b| *b == b'\n').count();
    // Where the last positive pattern was found, and whether there was one.
    let (mut start, mut last) = (0, None);
    let mut out = Vec::with_capacity(patterns.len());
    for (i, p) in patterns.iter().enumerate() {
        if !p.negative {
            let hit = found[i].as_ref();
            let here = hit.map(|r| line(r.start));
            out.push(here.is_some() && (!p.follows || last.is_none_or(|l| here == Some(l + 1))));
            start = hit.map_or(start, |r| r.end);
            last = here.or(last);
            continue;
        }
        let next = patterns.iter().skip(i).position(|p| !p.negative).map(|n| n + i);
        let end = next.and_then(|n| found[n].as_ref()).map_or(log.len(), |r| r.start);
        out.push(p.find(log.get(start..end).unwrap_or_default()).is_none());
    }
    out
}

#[cfg(test)]
mod tests {
    use super::{validate, Pattern};

    fn positive(text: &str) -> Pattern {
        Pattern::new(text, false).expect("a pattern")
    }

    fn negative(text: &str) -> Pattern {
        Pattern::new(text, true).expect("a pattern")
    }

    #[test]
    fn text_outside_braces_is_literal() {
        let p = positive("R1=map_value(off={{[0-9]+}},ks=4) $");
        assert!(p.find("x R1=map_value(off=12,ks=4) $ y").is_some());
        assert!(p.find("R1=map_value(off=,ks=4) $").is_none());
        assert!(p.find("R1xmap_value(off=1,ks=4) $").is_none());
    }

    #[test]
    fn a_match_stays_on_its_line() {
        assert!(positive("a{{.*}}b").find("a\nb").is_none());
        assert!(positive("a{{[^x]*}}b").find("a\nb").is_none());
        assert!(positive("{{^}}b{{$}}").find("a\nb\nc").is_some());
    }

    #[test]
    fn open_braces_are_an_error() {
        assert!(Pattern::new("a {{b", false).is_err());
    }

    #[test]
    fn order_counts() {
        let p = [positive("one"), positive("two")];
        assert_eq!(validate("one two", &p), [true, true]);
        assert_eq!(validate("two one", &p), [true, false]);
        assert_eq!(validate("one", &[positive("one"), positive("one")]), [true, false]);
    }

    #[test]
    fn forbidden_between_neighbours_only() {
        let p = [positive("a"), negative("x"), positive("b")];
        assert_eq!(validate("x a . b x", &p), [true, true, true]);
        assert_eq!(validate("a x b", &p), [true, false, true]);
        assert_eq!(validate("a b x", &[positive("b"), negative("x")]), [true, false]);
    }

    #[test]
    fn lines_that_follow() {
        let follows = |text: &str| Pattern { follows: true, ..positive(text) };
        let p = [follows("a"), follows("b")];
        assert_eq!(validate("x\na\nb", &p), [true, true]);
        assert_eq!(validate("a\nx\nb", &p), [true, false]);
        assert_eq!(validate("a b", &p), [true, false]);
        assert_eq!(validate("a\nx\nb", &[follows("a"), positive("b")]), [true, true]);
    }
}
