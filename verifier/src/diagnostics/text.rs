//! Lines of a report: wrapped text, names filled in (`diag_print_wrapped_prefixed`).

use super::Values;

/// Columns of a line.
const WIDTH: usize = 100;

/// `Verification failed: Category: Problem`
pub fn header(category: &str, problem: &str) -> String {
    let (first, rest) = problem.split_at(problem.len().min(1));
    format!("\nVerification failed: {category}: {}{rest}\n", first.to_ascii_uppercase())
}

/// `text` with each `{name}` replaced by its value.
pub fn filled(text: &str, values: Values<'_>) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('{') {
        let (name, behind) = after.split_once('}').unwrap_or((after, ""));
        out.push_str(before);
        match values.iter().find(|(n, _)| *n == name) {
            Some((_, value)) => out.push_str(&value.to_string()),
            None => out.push_str(name),
        }
        rest = behind;
    }
    out + rest
}

/// Lines of at most 100 bytes, broken at blanks, the first with one prefix and the others with another.
pub fn wrapped(first: &str, next: &str, text: &str) -> String {
    let mut out = String::new();
    let (mut prefix, mut text) = (first, text.as_bytes());
    while !text.is_empty() {
        let width = WIDTH.saturating_sub(prefix.len()).max(1);
        let whole = text.iter().position(|b| *b == b'\n').unwrap_or(text.len());
        let mut len = whole.min(width);
        let goes_on = text.get(len).is_some_and(|b| !matches!(b, b'\n' | b' '));
        let blank = text[..len].iter().rposition(|b| *b == b' ');
        if let Some(blank) = blank.filter(|b| goes_on && *b > 0) {
            len = blank;
        }
        out.push_str(prefix);
        out.push_str(&String::from_utf8_lossy(&text[..len]));
        out.push('\n');
        text = &text[len..];
        text = &text[text.iter().take_while(|b| **b == b' ').count()..];
        text = text.strip_prefix(b"\n").unwrap_or(text);
        prefix = next;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_break_at_the_last_blank_that_fits() {
        let long = "x".repeat(60);
        let text = format!("{long} {long} y");
        assert_eq!(wrapped("  ", "    ", &text), format!("  {long}\n    {long} y\n"));
        let unbroken = "z".repeat(120);
        assert_eq!(
            wrapped("", "", &unbroken),
            format!("{}\n{}\n", &unbroken[..100], &unbroken[100..])
        );
    }

    #[test]
    fn names_are_filled_in() {
        assert_eq!(filled("R{reg} is {type}", &[("reg", &3), ("type", &"fp")]), "R3 is fp");
    }
}
