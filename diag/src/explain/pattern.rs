//! Patterns of message lines: literal text with `{}` for any text, the empty one included.

/// True if the whole of `text` is of the form of `pattern`.
pub fn matches(pattern: &str, text: &str) -> bool {
    let Some((head, last)) = pattern.rsplit_once("{}") else { return pattern == text };
    let mut pieces = head.split("{}");
    let first = pieces.next().unwrap_or("");
    let Some(mut rest) = text.strip_prefix(first) else { return false };
    if !rest.ends_with(last) {
        return false;
    }
    // Leftmost occurrences of the inner pieces leave the most text for the last one.
    for piece in pieces {
        match rest.find(piece) {
            Some(at) => rest = &rest[at + piece.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

/// How much a pattern says: its literal bytes.
pub fn weight(pattern: &str) -> usize {
    pattern.split("{}").map(str::len).sum()
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn forms() {
        assert!(matches("R{} !read_ok", "R1 !read_ok"));
        assert!(!matches("R{} !read_ok", "R1 !read_ok now"));
        assert!(!matches("R{} !read_ok", "xR1 !read_ok"));
        assert!(matches("div by zero", "div by zero"));
        assert!(!matches("div by zero", "div by zero "));
        assert!(matches("{}a{}a", "aa"));
        assert!(!matches("a{}a", "a"), "pieces may not overlap");
        assert!(matches("{}", ""));
        assert!(matches("x{}ü{}", "xüü"));
    }
}
