//! The format strings of `bpf_trace_printk` and `bpf_snprintf` (`bpf_bprintf_prepare`).

use super::Call;
use crate::engine::TrapKind;
use crate::runtime::Stop;

/// Arguments from an array of 64-bit values; None where its size is not a multiple of 8.
pub(super) fn arguments(c: &Call<'_>, addr: u64, len: u32) -> Result<Option<Vec<u64>>, Stop> {
    if !len.is_multiple_of(8) || len > 12 * 8 || (len > 0 && addr == 0) {
        return Ok(None);
    }
    let bytes = c.bytes(addr, len)?;
    let word = |w: &[u8]| w.try_into().map_or(0, u64::from_le_bytes);
    Ok(Some(bytes.chunks(8).map(word).collect()))
}

/// One conversion of the format.
#[derive(Default)]
struct Spec {
    zero: bool,
    plus: bool,
    minus: bool,
    space: bool,
    width: usize,
}

/// The text without a final zero; None where the kernel says EINVAL.
pub(super) fn format(c: &Call<'_>, fmt: &[u8], args: &[u64]) -> Result<Option<Vec<u8>>, Stop> {
    // The format ends at its zero, which `bpf_snprintf` has already cut off.
    let end = fmt.iter().position(|b| *b == 0).unwrap_or(fmt.len());
    let fmt = fmt.get(..end).unwrap_or(fmt);
    let is_text = |b: &u8| b.is_ascii_graphic() || matches!(b, b' ' | 9..=13);
    if !fmt.iter().all(is_text) {
        return Ok(None);
    }
    let mut out = Vec::new();
    let mut args = args.iter();
    let mut rest = fmt;
    while let Some((b, tail)) = rest.split_first() {
        rest = tail;
        if *b != b'%' {
            out.push(*b);
            continue;
        }
        if rest.first() == Some(&b'%') {
            out.push(b'%');
            rest = rest.get(1..).unwrap_or(&[]);
            continue;
        }
        let Some(arg) = args.next() else { return Ok(None) };
        match conversion(c, rest, *arg, &mut out)? {
            Some(n) => rest = rest.get(n..).unwrap_or(&[]),
            None => return Ok(None),
        }
    }
    Ok(Some(out))
}

fn flags(fmt: &[u8]) -> (Spec, usize) {
    let mut spec = Spec::default();
    let mut n = 0;
    while let Some(b) = fmt.get(n) {
        match b {
            b'0' => spec.zero = true,
            b'+' => spec.plus = true,
            b'-' => spec.minus = true,
            b' ' => spec.space = true,
            _ => break,
        }
        n += 1;
    }
    while let Some(d) = fmt.get(n).filter(|b| b.is_ascii_digit()) {
        spec.width = (spec.width * 10 + (d - b'0') as usize).min(4096);
        n += 1;
    }
    (spec, n)
}

/// Formats one argument; gives the characters read of the format.
fn conversion(
    c: &Call<'_>,
    fmt: &[u8],
    arg: u64,
    out: &mut Vec<u8>,
) -> Result<Option<usize>, Stop> {
    let (spec, mut n) = flags(fmt);
    let at = |i: usize| fmt.get(i).copied().unwrap_or(0);
    let ends = |b: u8| b == 0 || b.is_ascii_whitespace() || b.is_ascii_punctuation();
    match at(n) {
        b'c' => {
            pad(out, &spec, b"", &[arg as u8]);
            return Ok(Some(n + 1));
        }
        b's' if ends(at(n + 1)) => {
            pad(out, &spec, b"", &c.c_string(arg));
            return Ok(Some(n + 1));
        }
        b'p' => return pointer(c, fmt, n + 1, &spec, arg, out),
        _ => {}
    }
    let mut longs = 0;
    while at(n) == b'l' && longs < 2 {
        longs += 1;
        n += 1;
    }
    let (signed, unsigned) = match longs {
        0 => (arg as i32 as i64, arg as u32 as u64),
        _ => (arg as i64, arg),
    };
    let (sign, digits) = match at(n) {
        b'd' | b'i' => (sign(&spec, signed < 0), signed.unsigned_abs().to_string()),
        b'u' => (&b""[..], unsigned.to_string()),
        b'x' => (&b""[..], format!("{unsigned:x}")),
        b'X' => (&b""[..], format!("{unsigned:X}")),
        _ => return Ok(None),
    };
    pad(out, &spec, sign, digits.as_bytes());
    Ok(Some(n + 1))
}

fn sign(spec: &Spec, negative: bool) -> &'static [u8] {
    match (negative, spec.plus, spec.space) {
        (true, ..) => b"-",
        (_, true, _) => b"+",
        (_, _, true) => b" ",
        _ => b"",
    }
}

/// `%pks`, `%px`, `%pI4` and the like.
///
/// Plain `%p`, `%pK` and symbols show the kernel's own addresses, which do not exist here.
fn pointer(
    c: &Call<'_>,
    fmt: &[u8],
    n: usize,
    spec: &Spec,
    arg: u64,
    out: &mut Vec<u8>,
) -> Result<Option<usize>, Stop> {
    let at = |i: usize| fmt.get(i).copied().unwrap_or(0);
    let colons = if at(n) == b'I' { ":" } else { "" };
    let (text, read) = match (at(n), at(n + 1)) {
        (b'k' | b'u', b's') => (c.c_string(arg), 2),
        (b'x', _) => (format!("{arg:016x}").into_bytes(), 1),
        (b'i' | b'I', b'4') => {
            let part = |v: &u8| match at(n) {
                b'i' => format!("{v:03}"),
                _ => v.to_string(),
            };
            let text: Vec<String> = address(c, arg, 4).iter().map(part).collect();
            (text.join(".").into_bytes(), 2)
        }
        (b'i' | b'I', b'6') => {
            let part = |w: &[u8]| w.iter().map(|b| format!("{b:02x}")).collect::<String>();
            let text: Vec<String> = address(c, arg, 16).chunks(2).map(part).collect();
            (text.join(colons).into_bytes(), 2)
        }
        (b'K' | b's' | b'S' | b'B' | 0, _) => return Err(unknown_address()),
        (b, _) if b.is_ascii_whitespace() || b.is_ascii_punctuation() => {
            return Err(unknown_address())
        }
        _ => return Ok(None),
    };
    pad(out, spec, b"", &text);
    Ok(Some(n + read))
}

fn unknown_address() -> Stop {
    TrapKind::Unsupported("printing an address or a symbol").into()
}

/// Bytes of a network address; zeroes where they cannot be read.
fn address(c: &Call<'_>, at: u64, len: u32) -> Vec<u8> {
    c.mem().slice(at, len).map_or(vec![0; len as usize], <[u8]>::to_vec)
}

fn pad(out: &mut Vec<u8>, spec: &Spec, sign: &[u8], body: &[u8]) {
    let fill = spec.width.saturating_sub(sign.len() + body.len());
    if spec.minus {
        out.extend_from_slice(sign);
        out.extend_from_slice(body);
        out.resize(out.len() + fill, b' ');
    } else if spec.zero {
        out.extend_from_slice(sign);
        out.resize(out.len() + fill, b'0');
        out.extend_from_slice(body);
    } else {
        out.resize(out.len() + fill, b' ');
        out.extend_from_slice(sign);
        out.extend_from_slice(body);
    }
}
