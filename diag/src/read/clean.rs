//! What terminals, browsers and mail programs do to a line, undone.

use std::borrow::Cow;

/// Undoes what was done to the text as a whole: HTML, quoted-printable.
pub fn undo(text: String) -> String {
    // A text is judged by its beginning and its end; logs are of one kind throughout.
    let sample = sample(&text);
    let mut text = text;
    if sample.contains("=3D") && sample.contains("=\n") {
        text = quoted_printable(&text);
    }
    let entities = ["&gt;", "&lt;", "&#39;", "&quot;", "&#x27;"];
    if sample.contains("<br") || entities.iter().any(|e| sample.contains(e)) {
        text = html(&text);
    }
    text
}

fn sample(text: &str) -> String {
    const PART: usize = 1 << 20;
    if text.len() <= 2 * PART {
        return text.replace("\r\n", "\n");
    }
    let edge = |mut i: usize| {
        while !text.is_char_boundary(i) {
            i += 1;
        }
        i
    };
    format!("{}\n{}", &text[..edge(PART)], &text[edge(text.len() - PART)..])
}

fn quoted_printable(text: &str) -> String {
    let mut out = Vec::with_capacity(text.len());
    let bytes = text.as_bytes();
    let hex = |b: Option<&u8>| b.and_then(|b| (*b as char).to_digit(16)).map(|d| d as u8);
    let mut i = 0;
    while i < bytes.len() {
        if bytes[i] != b'=' {
            out.push(bytes[i]);
            i += 1;
        } else if let (Some(h), Some(l)) = (hex(bytes.get(i + 1)), hex(bytes.get(i + 2))) {
            out.push(h << 4 | l);
            i += 3;
        } else if bytes[i + 1..].starts_with(b"\n") {
            i += 2;
        } else if bytes[i + 1..].starts_with(b"\r\n") {
            i += 3;
        } else {
            out.push(b'=');
            i += 1;
        }
    }
    String::from_utf8(out).unwrap_or_else(|e| String::from_utf8_lossy(e.as_bytes()).into_owned())
}

fn html(text: &str) -> String {
    const NAMES: &[(&str, &str)] = &[
        ("&lt;", "<"),
        ("&gt;", ">"),
        ("&quot;", "\""),
        ("&#39;", "'"),
        ("&#x27;", "'"),
        ("&#34;", "\""),
        ("&nbsp;", " "),
        ("&amp;", "&"),
        ("<br>", "\n"),
        ("<br/>", "\n"),
        ("<br />", "\n"),
    ];
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(['&', '<']) {
        let (before, from) = rest.split_at(at);
        out.push_str(before);
        if let Some((name, plain)) = NAMES.iter().find(|(n, _)| from.starts_with(n)) {
            out.push_str(plain);
            rest = &from[name.len()..];
        } else if let Some(len) = tag(from) {
            rest = &from[len..];
        } else {
            out.push_str(&from[..1]);
            rest = &from[1..];
        }
    }
    out.push_str(rest);
    out
}

/// Length of an HTML tag at the start: `<span class="x">`, `</code>`.
fn tag(text: &str) -> Option<usize> {
    const TAGS: &[&str] = &["span", "code", "pre", "div", "p", "b", "i", "a", "td", "tr", "font"];
    let inner = text[1..].strip_prefix('/').unwrap_or(&text[1..]);
    let name = inner.split(|c: char| !c.is_ascii_alphanumeric()).next()?;
    let end = text.bytes().take(200).position(|b| b == b'>')?;
    TAGS.contains(&name).then_some(end + 1)
}

/// One line without colours, overstruck characters, controls and blanks at its end.
///
/// What comes back may be sent to a terminal.
pub fn line(text: &str) -> Cow<'_, str> {
    let text = text.trim_end();
    // After a carriage return a terminal writes over the line: progress bars stand before it.
    let text = text.rsplit('\r').next().unwrap_or(text);
    let plain = |b: u8| (0x20..0x7f).contains(&b) || b == b'\t';
    if text.bytes().all(plain) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\u{1b}' => escape(&mut chars),
            '\u{9b}' => control_sequence(&mut chars),
            '\u{8}' => {
                out.pop();
            }
            '\t' => out.push(c),
            '\u{a0}' | '\u{2007}' | '\u{202f}' => out.push(' '),
            '\u{feff}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' => {}
            '\u{2018}' | '\u{2019}' => out.push('\''),
            '\u{201c}' | '\u{201d}' => out.push('"'),
            c if c.is_control() => {}
            c => out.push(c),
        }
    }
    Cow::Owned(out.trim_end().to_string())
}

type Chars<'a> = std::iter::Peekable<std::str::Chars<'a>>;

/// What follows an escape character: a control sequence, a string, or one character.
fn escape(chars: &mut Chars<'_>) {
    match chars.next() {
        Some('[') => control_sequence(chars),
        // Strings (window titles, links) end with BEL or ESC \.
        Some(']' | 'P' | '_' | '^' | 'X') => {
            while let Some(c) = chars.next() {
                if c == '\u{7}' || (c == '\u{1b}' && chars.next_if_eq(&'\\').is_some()) {
                    break;
                }
            }
        }
        Some('(' | ')' | '#') => {
            chars.next();
        }
        _ => {}
    }
}

fn control_sequence(chars: &mut Chars<'_>) {
    while let Some(c) = chars.next_if(|c| ('\u{20}'..='\u{7e}').contains(c)) {
        if ('\u{40}'..='\u{7e}').contains(&c) {
            break;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{line, undo};

    #[test]
    fn colours_and_controls() {
        assert_eq!(line("\u{1b}[31m0: (95) exit\u{1b}[0m"), "0: (95) exit");
        assert_eq!(line("\u{1b}]8;;http://a\u{7}R0\u{1b}]8;;\u{1b}\\ !read_ok"), "R0 !read_ok");
        assert_eq!(line("x\u{8}R\u{7}0\u{0} !read_ok  \r"), "R0 !read_ok");
        assert_eq!(line("10 %\r0: (95) exit"), "0: (95) exit");
        assert_eq!(line("\u{1b}[1;31"), "");
    }

    #[test]
    fn browsers_and_mail() {
        assert_eq!(undo("if (a &lt; b) &amp;&amp; c<br>x".into()), "if (a < b) && c\nx");
        assert_eq!(undo("1: R1=3Dctx()=\n R10=3Dfp0\n".into()), "1: R1=ctx() R10=fp0\n");
        assert_eq!(undo("a < b && c".into()), "a < b && c");
    }
}
