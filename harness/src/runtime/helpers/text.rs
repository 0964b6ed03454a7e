//! Strings and numbers in text (kernel/bpf/helpers.c, lib/kstrtox.c).

use super::{number, Call, Helper};
use crate::runtime::maps::errno::{EINVAL, ERANGE};
use crate::runtime::Stop;

pub(super) const TABLE: &[(&str, Helper)] =
    &[("bpf_strtol", strtol), ("bpf_strtoul", strtoul), ("bpf_strncmp", strncmp)];

/// `BPF_STRTOX_BASE_MASK`.
const BASE_MASK: u64 = 0x1f;
/// The kernel looks at this many characters after blanks and sign.
const MAX_TEXT: usize = 63;

/// Value, sign and characters read (`__bpf_strtoull`); the error is a negative number.
fn parse(text: &[u8], flags: u64) -> Result<(u64, bool, usize), i64> {
    let base = (flags & BASE_MASK) as u32;
    if text.is_empty() || !matches!(base, 0 | 8 | 10 | 16) || flags & !BASE_MASK != 0 {
        return Err(-EINVAL);
    }
    let is_space = |b: &u8| matches!(b, b' ' | 9..=13 | 0xa0);
    let blanks = text.iter().take_while(|b| is_space(b)).count();
    let rest = text.get(blanks..).unwrap_or(&[]);
    let negative = rest.first() == Some(&b'-');
    let start = blanks + negative as usize;
    let rest = text.get(start..).unwrap_or(&[]);
    if rest.is_empty() {
        return Err(-EINVAL);
    }
    let rest = rest.get(..rest.len().min(MAX_TEXT)).unwrap_or(rest);
    let is_hex = |r: &[u8]| matches!(r, [b'0', x, d, ..] if x.eq_ignore_ascii_case(&b'x') && d.is_ascii_hexdigit());
    let base = match base {
        0 if is_hex(rest) => 16,
        0 if rest.first() == Some(&b'0') => 8,
        0 => 10,
        b => b,
    };
    let has_prefix = base == 16 && matches!(rest, [b'0', x, ..] if x.eq_ignore_ascii_case(&b'x'));
    let prefix = if has_prefix { 2 } else { 0 };
    let mut value = 0u64;
    let mut digits = 0;
    let mut overflow = false;
    for b in rest.get(prefix..).unwrap_or(&[]) {
        let Some(d) = (*b as char).to_digit(base) else { break };
        let next = value.checked_mul(base as u64).and_then(|v| v.checked_add(d as u64));
        overflow |= next.is_none();
        value = next.unwrap_or(u64::MAX);
        digits += 1;
    }
    if overflow {
        return Err(-ERANGE);
    }
    if digits == 0 {
        return Err(-EINVAL);
    }
    Ok((value, negative, start + prefix + digits))
}

fn strtol(c: &mut Call<'_>, a: [u64; 5]) -> Result<u64, Stop> {
    let text = c.bytes(a[0], c.len(a[1]))?;
    let signed = parse(&text, a[2]).and_then(|(v, negative, n)| {
        let v = if negative { v.wrapping_neg() as i64 } else { v as i64 };
        let fits = if negative { v <= 0 } else { v >= 0 };
        if fits {
            Ok((v as u64, n))
        } else {
            Err(-ERANGE)
        }
    });
    give(c, a[3], signed)
}

fn strtoul(c: &mut Call<'_>, a: [u64; 5]) -> Result<u64, Stop> {
    let text = c.bytes(a[0], c.len(a[1]))?;
    let unsigned = parse(&text, a[2]).and_then(
        |(v, negative, n)| {
            if negative {
                Err(-EINVAL)
            } else {
                Ok((v, n))
            }
        },
    );
    give(c, a[3], unsigned)
}

/// Stores the value, 0 after an error, and returns the characters read.
fn give(c: &mut Call<'_>, to: u64, parsed: Result<(u64, usize), i64>) -> Result<u64, Stop> {
    let value = parsed.map_or(0, |(v, _)| v);
    c.put(to, &value.to_le_bytes())?;
    match parsed {
        Ok((_, n)) => Ok(n as u64),
        Err(e) => number(e),
    }
}

/// `strncmp(s1, s2, n)`: -1, 0 or 1.
fn strncmp(c: &mut Call<'_>, a: [u64; 5]) -> Result<u64, Stop> {
    let n = c.len(a[1]) as usize;
    let first = c.bytes(a[0], c.len(a[1]))?;
    let mut second = c.c_string(a[2]);
    second.push(0);
    for i in 0..n {
        let x = first.get(i).copied().unwrap_or(0);
        let y = second.get(i).copied().unwrap_or(0);
        if x != y {
            return number(if x < y { -1 } else { 1 });
        }
        if x == 0 {
            break;
        }
    }
    Ok(0)
}
