//! From bytes to text: encodings, and the tail of what is too long.

/// Most bytes of an input that are read; of a longer one its end, where the verdict stands.
pub const MOST_BYTES: usize = 64 << 20;

/// Text of the bytes; `true` if only the tail was taken.
///
/// UTF-16 is told by its byte order mark, or by zero bytes at every other place; everything else is
/// UTF-8 in which wrong bytes become U+FFFD.
pub fn text_of(bytes: Vec<u8>) -> (String, bool) {
    let wide = wide(&bytes);
    let cut = bytes.len() > MOST_BYTES;
    let bytes = if cut { tail(bytes, wide.is_some()) } else { bytes };
    let text = match wide {
        Some(endian) => from_utf16(&bytes, endian),
        None => match String::from_utf8(bytes) {
            Ok(text) => text,
            Err(e) => lossy(e.into_bytes()),
        },
    };
    (text, cut)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Endian {
    Little,
    Big,
}

fn wide(bytes: &[u8]) -> Option<Endian> {
    match bytes {
        [0xff, 0xfe, ..] => return Some(Endian::Little),
        [0xfe, 0xff, ..] => return Some(Endian::Big),
        _ => {}
    }
    let sample = &bytes[..bytes.len().min(512) & !1];
    if sample.len() < 8 {
        return None;
    }
    let zeros = |odd: usize| sample.iter().skip(odd).step_by(2).filter(|b| **b == 0).count();
    let most = sample.len() / 2 * 9 / 10;
    match (zeros(0), zeros(1)) {
        (0, odd) if odd >= most => Some(Endian::Little),
        (even, 0) if even >= most => Some(Endian::Big),
        _ => None,
    }
}

/// The last [`MOST_BYTES`], from the first whole line in them.
fn tail(mut bytes: Vec<u8>, wide: bool) -> Vec<u8> {
    let mut from = bytes.len() - MOST_BYTES;
    if wide {
        from &= !1;
    } else if let Some(n) = bytes[from..].iter().take(1 << 16).position(|b| *b == b'\n') {
        from += n + 1;
    } else {
        while bytes.get(from).is_some_and(|b| b & 0xc0 == 0x80) {
            from += 1;
        }
    }
    bytes.drain(..from);
    bytes.shrink_to_fit();
    bytes
}

/// In place of wrong bytes a space: the length stays, and no second copy is made.
fn lossy(mut bytes: Vec<u8>) -> String {
    let mut at = 0;
    while let Err(e) = std::str::from_utf8(&bytes[at..]) {
        let bad = at + e.valid_up_to();
        let len = e.error_len().unwrap_or(bytes.len() - bad);
        bytes[bad..bad + len].fill(b' ');
        at = bad + len;
    }
    String::from_utf8(bytes).unwrap_or_default()
}

fn from_utf16(bytes: &[u8], endian: Endian) -> String {
    let units = bytes.chunks_exact(2).map(|p| match endian {
        Endian::Little => u16::from_le_bytes([p[0], p[1]]),
        Endian::Big => u16::from_be_bytes([p[0], p[1]]),
    });
    char::decode_utf16(units).map(|c| c.unwrap_or(' ')).filter(|c| *c != '\u{feff}').collect()
}

#[cfg(test)]
mod tests {
    use super::{text_of, MOST_BYTES};

    #[test]
    fn encodings() {
        let wide = |le: bool, mark: bool| {
            let units = mark.then_some(0xfeff).into_iter().chain("R0 !read_ok\n".encode_utf16());
            units.flat_map(|u: u16| if le { u.to_le_bytes() } else { u.to_be_bytes() }).collect()
        };
        for (le, mark) in [(true, true), (true, false), (false, true), (false, false)] {
            assert_eq!(text_of(wide(le, mark)).0, "R0 !read_ok\n");
        }
        assert_eq!(text_of(b"a\xff\xfeb".to_vec()).0, "a  b");
        assert_eq!(text_of(Vec::new()).0, "");
    }

    #[test]
    fn the_tail_of_a_long_input() {
        let mut bytes = b"x\n".repeat(MOST_BYTES / 2 + 10);
        bytes.extend_from_slice(b"end\n");
        let (text, cut) = text_of(bytes);
        assert!(cut && text.len() <= MOST_BYTES && text.ends_with("x\nend\n"));
    }
}
