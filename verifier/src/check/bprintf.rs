//! Format strings of the printing helpers (`bpf_bprintf_prepare` without its output, `kernel/bpf/helpers.c`).

/// A format the helpers refuse (EINVAL).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BadFormat;

/// C locale `isspace`, on the byte after a specifier.
fn is_space(b: u8) -> bool {
    matches!(b, b' ' | 9..=13 | 0xa0)
}

/// A specifier must be followed by the end, white space or punctuation.
fn ends_word(b: u8) -> bool {
    b == 0 || is_space(b) || b.is_ascii_punctuation()
}

/// Whether `fmt`, up to its zero byte, is well formed for `num_args` arguments.  Fewer specifiers
/// than arguments are fine.
pub fn check_format(fmt: &[u8], num_args: u32) -> Result<(), BadFormat> {
    let end = fmt.iter().position(|b| *b == 0).ok_or(BadFormat)?;
    let at = |i: usize| if i < end { fmt[i] } else { 0 };
    let mut specs = 0;
    let mut i = 0;
    while i < end {
        let b = fmt[i];
        if !(b.is_ascii_graphic() || b == b' ' || matches!(b, 9..=13)) {
            return Err(BadFormat);
        }
        if b != b'%' {
            i += 1;
            continue;
        }
        if at(i + 1) == b'%' {
            i += 2;
            continue;
        }
        if specs >= num_args {
            return Err(BadFormat);
        }
        i = check_spec(&at, i + 1)? + 1;
        specs += 1;
    }
    Ok(())
}

/// One specifier from its first byte after `%`; returns its last byte's position.
fn check_spec(at: &impl Fn(usize) -> u8, start: usize) -> Result<usize, BadFormat> {
    let mut i = start;
    while matches!(at(i), b'0' | b'+' | b'-' | b' ') {
        i += 1;
    }
    while at(i).is_ascii_digit() {
        i += 1;
    }
    match at(i) {
        b'p' => check_pointer(at, i),
        b's' if ends_word(at(i + 1)) => Ok(i),
        b's' => Err(BadFormat),
        b'c' => Ok(i),
        _ => {
            let longs = (0..2).take_while(|k| at(i + k) == b'l').count();
            i += longs;
            if matches!(at(i), b'i' | b'd' | b'u' | b'x' | b'X') {
                Ok(i)
            } else {
                Err(BadFormat)
            }
        }
    }
}

fn check_pointer(at: &impl Fn(usize) -> u8, i: usize) -> Result<usize, BadFormat> {
    let (next, after) = (at(i + 1), at(i + 2));
    if ends_word(next) {
        return Ok(i);
    }
    if matches!(next, b'k' | b'u') && after == b's' {
        return if ends_word(at(i + 3)) { Ok(i + 2) } else { Err(BadFormat) };
    }
    if matches!(next, b'K' | b'x' | b's' | b'S' | b'B') {
        return Ok(i + 1);
    }
    if matches!(next, b'i' | b'I') && matches!(after, b'4' | b'6') {
        return Ok(i + 2);
    }
    Err(BadFormat)
}

#[cfg(test)]
mod tests {
    use super::check_format;

    /// Outcomes that `test_snprintf_negative` of the kernel's selftests lists, and the output formats of
    /// its positive part.
    #[test]
    fn formats_the_kernel_judges() {
        let ok = |f: &str, n| check_format(format!("{f}\0").as_bytes(), n).is_ok();
        assert!(ok("valid %d", 1));
        for bad in [
            "%d%d",
            "%pi5",
            "%a",
            "%",
            "%12345678",
            "%--------",
            "%lc",
            "%llc",
            "\u{80}",
            "\u{1}",
            "%p%",
            "%s%",
        ] {
            assert!(!ok(bad, 1), "{bad}");
        }
        assert!(check_format(b"0123456789", 1).is_err());
        assert!(ok("%d %u %x %li %llu %lX", 6));
        assert!(ok("%pi4 %pI4 %pi6 %pI6 %pB %ps %pS %px %p %pK", 10));
        assert!(ok("%s % 9c %+2c %-3c %04c %0c %+05s", 7));
    }
}
