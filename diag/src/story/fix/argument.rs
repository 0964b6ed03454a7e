//! What a source line passes to a function.

/// The text of argument `n` (from 1) of a call in a source line, without casts and `&`; None where the
/// line does not show it whole.
pub fn passed(text: &str, function: &str, n: usize) -> Option<String> {
    const LONGEST: usize = 40;
    let short = function.trim_start_matches("bpf_");
    let from = text.match_indices(short).find_map(|(at, _)| {
        let rest = text[at + short.len()..].trim_start();
        rest.starts_with('(').then(|| text.len() - rest.len() + 1)
    })?;
    let argument = arguments(&text[from..]).nth(n.checked_sub(1)?)?.trim();
    let mut name = argument;
    while let Some((_, rest)) = name.strip_prefix('(').and_then(|r| r.split_once(')')) {
        name = rest.trim_start();
    }
    let name = name.trim_start_matches('&').trim();
    let plain = |c: char| c.is_ascii_alphanumeric() || "_.->[]".contains(c);
    let starts = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    let is_name = starts && name.len() <= LONGEST && name.chars().all(plain);
    (is_name && !name.starts_with("sizeof") && name != "NULL").then(|| name.to_string())
}

/// The arguments behind an opening parenthesis, as far as the text has each whole.
fn arguments(text: &str) -> impl Iterator<Item = &str> {
    let mut depth = 0;
    let mut from = 0;
    let mut ends = Vec::new();
    for (i, c) in text.char_indices() {
        match c {
            '(' | '[' | '{' => depth += 1,
            ')' if depth == 0 => {
                ends.push((from, i));
                break;
            }
            ')' | ']' | '}' => depth -= 1,
            ',' if depth == 0 => {
                ends.push((from, i));
                from = i + 1;
            }
            _ => {}
        }
    }
    ends.into_iter().map(|(a, b)| &text[a..b])
}

#[cfg(test)]
mod tests {
    use super::passed;

    #[test]
    fn arguments_are_found_by_place() {
        let is = |text, function, n, want: Option<&str>| {
            assert_eq!(passed(text, function, n).as_deref(), want, "{text} {n}");
        };
        let push = "return bpf_map_push_elem(&kernel_launch_events_queue, &e, 0);";
        is(push, "bpf_map_push_elem", 2, Some("e"));
        is(push, "bpf_map_push_elem", 3, None);
        is(push, "bpf_map_push_elem", 4, None);
        is(
            "bpf_probe_read((void *)dst->buf, n, (void *)p);",
            "bpf_probe_read",
            1,
            Some("dst->buf"),
        );
        is("bpf_probe_read(dst, n,", "bpf_probe_read", 3, None);
        is("x = f(a, g(b, c), d);", "f", 3, Some("d"));
        is("x = 1;", "f", 1, None);
        is("probe_read(&mnt, sizeof(mnt),", "bpf_probe_read", 2, None);
    }
}
