//! Where on a line the verifier's words begin, told by their own form.

/// Byte offset at which an unmistakable line of a log begins: an instruction, statistics, a state
/// with its index, a path, a line of backtracking, a message that begins with a register.
pub fn start(line: &str) -> Option<usize> {
    let bytes = line.as_bytes();
    // These hold an instruction themselves, so they come first.
    for word in ["mark_precise: frame", "regs=", "last_idx ", "parent didn't have regs="] {
        if let Some(at) = line.find(word) {
            if clear(bytes, at) && (word != "regs=" || line[at..].contains(" before ")) {
                return Some(at);
            }
        }
    }
    let forms = [from_to(line), instruction(bytes, 0), statistics(line), indexed_state(bytes)];
    forms.into_iter().flatten().min()
}

/// `N: (xx) ` from `from` on: the offset of N, or of the state's or live registers' own index.
pub fn instruction(bytes: &[u8], from: usize) -> Option<usize> {
    let mut at = from;
    while let Some(i) = find(bytes, b": (", at) {
        let hex = |k: usize| bytes.get(i + k).is_some_and(u8::is_ascii_hexdigit);
        if hex(3) && hex(4) && bytes.get(i + 5) == Some(&b')') && bytes.get(i + 6) == Some(&b' ') {
            if let Some(first) = digits_before(bytes, i) {
                return Some(first);
            }
        }
        at = i + 3;
    }
    None
}

/// `processed N insns`.
pub fn statistics(line: &str) -> Option<usize> {
    let at = line.find("processed ")?;
    let rest = line[at + "processed ".len()..].trim_start_matches(|c: char| c.is_ascii_digit());
    (rest.starts_with(" insn") && rest.len() < line.len() - at - "processed ".len()).then_some(at)
}

/// `from A to B:`.
fn from_to(line: &str) -> Option<usize> {
    let at = line.find("from ")?;
    let rest = &line[at + 5..];
    let rest = number(rest)?.strip_prefix(" to ")?;
    let rest = number(rest)?;
    (rest.starts_with(':') || rest.starts_with(" (spec")).then_some(at)
}

/// `N: R1=…`, `N: frame1: …`.
fn indexed_state(bytes: &[u8]) -> Option<usize> {
    let mut at = 0;
    while let Some(i) = find(bytes, b": ", at) {
        if register_state(&bytes[i + 2..]) || frame_state(&bytes[i + 2..]) {
            if let Some(first) = digits_before(bytes, i) {
                return Some(first);
            }
        }
        at = i + 2;
    }
    None
}

/// `R1=`, `R1_w=`, `fp-8=`.
pub fn register_state(bytes: &[u8]) -> bool {
    let rest = match bytes {
        [b'R', rest @ ..] => rest,
        [b'f', b'p', b'-', rest @ ..] => rest,
        _ => return false,
    };
    let digits = rest.iter().take_while(|b| b.is_ascii_digit()).count();
    let rest = &rest[digits..];
    let rest = match rest {
        [b'_', b'r' | b'w' | b'R' | b'W' | b'P' | b'D', rest @ ..] => match rest {
            [b'r' | b'w' | b'D' | b'P', rest @ ..] => rest,
            _ => rest,
        },
        _ => rest,
    };
    (1..=3).contains(&digits) && rest.first() == Some(&b'=')
}

fn frame_state(bytes: &[u8]) -> bool {
    let Some(rest) = bytes.strip_prefix(b"frame") else { return false };
    matches!(rest, [d, b':', ..] if d.is_ascii_digit())
}

fn number(text: &str) -> Option<&str> {
    let rest = text.trim_start_matches(|c: char| c.is_ascii_digit());
    (rest.len() < text.len()).then_some(rest)
}

/// First digit of the number that ends before `end`, if it stands clear of what is before.
fn digits_before(bytes: &[u8], end: usize) -> Option<usize> {
    let digits = bytes[..end].iter().rev().take_while(|b| b.is_ascii_digit()).count();
    let first = end - digits;
    (digits > 0 && digits < 8 && clear(bytes, first)).then_some(first)
}

/// True if no word runs into `at`.
fn clear(bytes: &[u8], at: usize) -> bool {
    at == 0 || !(bytes[at - 1].is_ascii_alphanumeric() || matches!(bytes[at - 1], b'_' | b'.'))
}

fn find(bytes: &[u8], what: &[u8], from: usize) -> Option<usize> {
    let first = what[0];
    let mut at = from;
    while let Some(i) = bytes.get(at..)?.iter().position(|b| *b == first) {
        if bytes[at + i..].starts_with(what) {
            return Some(at + i);
        }
        at += i + 1;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::start;

    #[test]
    fn forms() {
        assert_eq!(start("0: (95) exit"), Some(0));
        assert_eq!(start("2024-01-02T10:11:12Z 12: (b7) r1 = 0  ; R1=0"), Some(21));
        assert_eq!(start("17: 0: (b7) r1 = 0"), Some(4));
        assert_eq!(
            start("x mark_precise: frame0: regs=r2 stack= before 4: (07) r2 += -4"),
            Some(2)
        );
        assert_eq!(start("> 0: R1=ctx() R10=fp0"), Some(2));
        assert_eq!(start("> 7: frame1: R6=1"), Some(2));
        assert_eq!(start("a from 3 to 5: R0=1"), Some(2));
        assert_eq!(start("msg=\"processed 3 insns, stack depth 0\""), Some(5));
        assert_eq!(start("processed many insns"), None);
        assert_eq!(start("at 10:11: (no) x"), None);
        assert_eq!(start("abc: R1"), None);
    }
}
