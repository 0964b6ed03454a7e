//! Kernel symbols that no BTF names (`/proc/kallsyms` but functions and variables with types), of all builds at once.
//!
//! Most builds have most symbols in common, so they stand once, sorted, each with the builds that have it:
//! length of what it shares with the one before (1 byte), builds as bits (LEB128), the rest of the name, a zero byte.

use std::sync::OnceLock;

use crate::delta::{put, Numbers};
use crate::served::SYMBOLS;
use crate::unpack;

/// True if the `nth` build has this symbol.
pub(crate) fn has(name: &str, nth: usize) -> bool {
    static LIST: OnceLock<Vec<u8>> = OnceLock::new();
    let list = LIST.get_or_init(|| unpack(SYMBOLS).unwrap_or_default());
    find(list, name.as_bytes()).is_some_and(|builds| builds >> nth & 1 != 0)
}

/// The builds that have a symbol, as bits; None if no build has.
fn find(list: &[u8], name: &[u8]) -> Option<u64> {
    let mut now: Vec<u8> = Vec::new();
    let mut rest = list;
    while let Some((shared, more)) = rest.split_first() {
        let mut numbers = Numbers { bytes: more };
        let builds = numbers.next().ok()?;
        let more = numbers.bytes;
        let end = more.iter().position(|b| *b == 0)?;
        now.truncate(usize::from(*shared));
        now.extend_from_slice(&more[..end]);
        match now.as_slice().cmp(name) {
            std::cmp::Ordering::Equal => return Some(builds),
            std::cmp::Ordering::Greater => return None,
            std::cmp::Ordering::Less => rest = &more[end + 1..],
        }
    }
    None
}

/// The list of these symbols, ascending, each with its builds as bits.
pub fn list<'a>(symbols: impl IntoIterator<Item = (&'a str, u64)>) -> Vec<u8> {
    let mut out = Vec::new();
    let mut last: &[u8] = b"";
    for (name, builds) in symbols {
        let name = name.as_bytes();
        let shared = name.iter().zip(last).take_while(|(a, b)| a == b).count().min(255);
        out.push(shared as u8);
        put(&mut out, builds);
        out.extend_from_slice(&name[shared..]);
        out.push(0);
        last = name;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::{find, list};

    #[test]
    fn a_symbol_is_found_with_its_builds() {
        let l = list([("a", 1), ("ab", 2), ("abc.cold", 3), ("b", 1 << 40)]);
        for (name, builds) in [("a", 1), ("ab", 2), ("abc.cold", 3), ("b", 1 << 40)] {
            assert_eq!(find(&l, name.as_bytes()), Some(builds), "{name}");
        }
        for name in ["", "abc", "abd", "c", "aa"] {
            assert_eq!(find(&l, name.as_bytes()), None, "{name}");
        }
    }
}
