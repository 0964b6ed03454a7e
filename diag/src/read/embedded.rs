//! Logs inside one line: strings with escaped line ends, and lines joined by blanks.

use super::anchor;

/// Other spellings of a line end.
const ENDS: &[&str] = &["#012", "%0A", "\\x0a", "\\x0A", "\\012", "^J", "␊", "↵", "⏎", "\u{2028}"];
/// How often a text may have been escaped.
const DEPTH: usize = 4;

/// The lines that one line stands for, if it stands for several.
pub fn expand(line: &str) -> Option<Vec<String>> {
    if let Some(end) = ENDS.iter().find(|e| line.contains(**e) && worth(line, e)) {
        let percent = *end == "%0A";
        let lines = line.split(end).map(|l| if percent { unpercent(l) } else { l.to_string() });
        return Some(lines.collect());
    }
    let line = without_count(line);
    if line.contains("\\n") {
        let mut text = line.to_string();
        for _ in 0..DEPTH {
            if !text.contains("\\n") {
                break;
            }
            let next = unescape(&text);
            let done = lines_of_log(&next) > 0;
            text = next;
            if done {
                return Some(text.lines().map(str::to_string).collect());
            }
        }
    }
    joined(line)
}

fn worth(line: &str, end: &str) -> bool {
    line.split(end).skip(1).any(begins)
}

fn lines_of_log(text: &str) -> usize {
    text.lines().skip(1).filter(|l| begins(l)).count()
}

fn begins(line: &str) -> bool {
    let line = line.trim_start();
    anchor::start(line) == Some(0)
        || (line.len() > 6
            && crate::explain::line(line.trim_end_matches(['"', '\'', '}'])).is_some())
}

/// One level of escapes undone; an unescaped quote that ends or begins a string ends the line.
pub fn unescape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    let mut before = '\n';
    while let Some(c) = chars.next() {
        match c {
            '\\' => escaped(&mut chars, &mut out),
            '"' => {
                let opens = matches!(before, ' ' | ':' | '=' | '[' | '{' | '(' | ',' | '\n');
                let next = chars.peek().copied();
                let closes = matches!(next, None | Some(',' | '}' | ']' | ')' | ' '));
                out.push(if opens || closes { '\n' } else { '"' });
            }
            c => out.push(c),
        }
        before = c;
    }
    out
}

/// One level of escapes undone, nothing else.
pub fn plain(text: &str) -> std::borrow::Cow<'_, str> {
    if !text.contains('\\') {
        return text.into();
    }
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\\' => escaped(&mut chars, &mut out),
            c => out.push(c),
        }
    }
    out.into()
}

type Chars<'a> = std::iter::Peekable<std::str::Chars<'a>>;

fn escaped(chars: &mut Chars<'_>, out: &mut String) {
    match chars.next() {
        Some('n') => out.push('\n'),
        Some('r') | None => {}
        Some('t') => out.push('\t'),
        Some('u') => {
            let digits: String = chars.clone().take(4).collect();
            match u32::from_str_radix(&digits, 16).ok().and_then(char::from_u32) {
                Some(c) if digits.len() == 4 => {
                    out.push(c);
                    chars.nth(3);
                }
                _ => out.push_str("\\u"),
            }
        }
        Some('x') => {
            let digits: String = chars.clone().take(2).collect();
            match u8::from_str_radix(&digits, 16) {
                Ok(b) if digits.len() == 2 => {
                    out.push(b as char);
                    chars.nth(1);
                }
                _ => out.push_str("\\x"),
            }
        }
        Some('e') => out.push('\u{1b}'),
        Some(c @ ('"' | '\'' | '\\' | '/' | '`')) => out.push(c),
        Some(c) => {
            out.push('\\');
            out.push(c);
        }
    }
}

fn unpercent(text: &str) -> String {
    text.replace("%0D", "").replace("%3A", ":").replace("%2C", ",").replace("%25", "%")
}

/// Lines joined by blanks: cut before every form that begins a line.
fn joined(line: &str) -> Option<Vec<String>> {
    let bytes = line.as_bytes();
    let mut cuts = Vec::new();
    let mut at = 0;
    while let Some(i) = anchor::instruction(bytes, at) {
        // Backtracking quotes instructions.
        if !line[..i].ends_with(" before ") {
            cuts.push(i);
        }
        at = i + 4;
        while at < bytes.len() && bytes[at - 1] != b'(' {
            at += 1;
        }
    }
    let instructions = cuts.len();
    if let (true, Some(i)) = (instructions >= 1, anchor::statistics(line)) {
        cuts.push(i);
    } else if instructions < 2
        && !(instructions == 1 && cuts[0] > 0 && anchor::start(line) == Some(0))
    {
        return None;
    }
    for word in ["verification time ", "stack depth ", " from ", "mark_precise: "] {
        for (i, _) in line.match_indices(word) {
            if word != " from " || anchor::start(&line[i + 1..]) == Some(0) {
                cuts.push(i);
            }
        }
    }
    for (i, _) in line.match_indices(" ; ") {
        let next = &bytes[i + 3..];
        let state = anchor::register_state(next) || next.starts_with(b"frame");
        let blank = i > 0 && bytes[i - 1] == b' ';
        if !state && !blank {
            cuts.push(i + 1);
        }
    }
    cuts.sort_unstable();
    cuts.dedup();
    let mut lines = Vec::new();
    let mut from = 0;
    for cut in cuts.into_iter().chain([line.len()]) {
        let piece = line[from..cut].trim().trim_end_matches([',', '|', ';']).trim_end();
        if !piece.is_empty() {
            lines.extend(instruction_and_words(piece));
        }
        from = cut;
    }
    Some(lines)
}

/// An instruction with the message behind it, as two lines where there is one.
pub fn instruction_and_words(piece: &str) -> Vec<String> {
    const LONGEST: usize = 600;
    if piece.len() > LONGEST || anchor::instruction(piece.as_bytes(), 0) != Some(0) {
        return vec![piece.to_string()];
    }
    let at = words_at(piece, 4);
    match at {
        Some(at) => {
            let first = piece[..at].trim_end().trim_end_matches(':').to_string();
            vec![first, piece[at..].to_string()]
        }
        None => vec![piece.to_string()],
    }
}

/// Without what cilium/ebpf puts behind the last line: ` (12 line(s) omitted)`.
pub fn without_count(text: &str) -> &str {
    let end = text.rfind(" line(s) omitted)").and_then(|e| text[..e].rfind(" ("));
    end.map_or(text, |at| text[..at].trim_end())
}

/// Where a known message begins that goes on to the end of the text.
pub fn words_at(text: &str, from: usize) -> Option<usize> {
    const LEAST: usize = 8;
    let mut best: Option<(usize, usize)> = None;
    let mut before = b' ';
    for (i, b) in text.bytes().enumerate() {
        let word = !b.is_ascii_whitespace() && matches!(before, b' ' | b':' | b'\t' | b'"' | b'\'');
        before = b;
        if i < from || !word || !text.is_char_boundary(i) {
            continue;
        }
        if let Some(weight) = crate::explain::weight_of(&text[i..]) {
            if weight >= LEAST && best.is_none_or(|(w, _)| weight > w) {
                best = Some((weight, i));
            }
        }
    }
    best.map(|(_, at)| at)
}

#[cfg(test)]
mod tests {
    use super::expand;

    #[test]
    fn strings() {
        let json = r#"{"error":"x: 0: (b7) r1 = 0\n; printk(\"a\\n\"); @ a.c:1\n1: (95) exit\nR0 !read_ok"}"#;
        let lines = expand(json).expect("several");
        assert!(lines.contains(&"1: (95) exit".to_string()), "{lines:?}");
        assert!(lines.contains(&"; printk(\"a\\n\"); @ a.c:1".to_string()), "{lines:?}");
        assert!(lines.contains(&"R0 !read_ok".to_string()), "{lines:?}");
        assert_eq!(expand(r#"; printk("a\n"); @ a.c:1"#), None);
        let rsyslog = expand("x: 0: (95) exit#012R0 !read_ok").expect("several");
        assert_eq!(rsyslog, ["x: 0: (95) exit", "R0 !read_ok"]);
    }

    #[test]
    fn joined_by_blanks() {
        let lines = expand("0: (b7) r1 = 0 ; R1=0 ; x = 1; @ a.c:2 1: (95) exit R0 !read_ok processed 2 insns (limit 1000000)");
        let want = [
            "0: (b7) r1 = 0 ; R1=0",
            "; x = 1; @ a.c:2",
            "1: (95) exit",
            "R0 !read_ok",
            "processed 2 insns (limit 1000000)",
        ];
        assert_eq!(lines.expect("several"), want);
        assert_eq!(expand("5: (95) exit"), None);
    }
}
