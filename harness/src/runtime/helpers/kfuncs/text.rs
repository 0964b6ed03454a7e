//! Strings in kernel memory, which may end where the memory does.

use super::super::{number, Call, Helper};
use crate::runtime::maps::errno::{E2BIG, EFAULT, ENOENT, ERANGE};
use crate::runtime::Stop;

pub(super) const TABLE: &[(&str, Helper)] = &[
    ("bpf_strcmp", strcmp),
    ("bpf_strcasecmp", strcasecmp),
    ("bpf_strchr", strchr),
    ("bpf_strchrnul", strchrnul),
    ("bpf_strnchr", strnchr),
    ("bpf_strrchr", strrchr),
    ("bpf_strlen", strlen),
    ("bpf_strnlen", strnlen),
    ("bpf_strspn", strspn),
    ("bpf_strcspn", strcspn),
    ("bpf_strstr", strstr),
    ("bpf_strnstr", strnstr),
];

/// `XATTR_SIZE_MAX`: no string is longer.
const MAX: usize = 65_536;

/// A string's bytes as far as they can be read.
struct Text<'m>(&'m [u8]);

impl Text<'_> {
    fn at(&self, i: usize) -> Result<u8, i64> {
        self.0.get(i).copied().ok_or(-EFAULT)
    }
}

/// The string at this address; an address of user space is out of range.
fn text<'m>(c: &'m Call<'_>, addr: u64) -> Result<Text<'m>, i64> {
    let all = c.mem().readable(addr);
    if all.is_empty() && !is_kernel(addr) {
        return Err(-ERANGE);
    }
    Ok(Text(all))
}

/// `copy_from_kernel_nofault_allowed`: canonical and above user space.
fn is_kernel(addr: u64) -> bool {
    addr >= 0xffff_8000_0000_0000
}

fn give(result: Result<usize, i64>) -> Result<u64, Stop> {
    number(result.map_or_else(|e| e, |n| n as i64))
}

fn compare(c: &Call<'_>, a: u64, b: u64, fold: bool) -> Result<i64, i64> {
    // Both addresses are looked at before either is read.
    let (a, b) = (text(c, a)?, text(c, b)?);
    let lower = |v: u8| match (fold, v) {
        // `tolower` of the kernel folds Latin-1 too.
        (true, 0xc0..=0xd6 | 0xd8..=0xde) => v + 32,
        (true, _) => v.to_ascii_lowercase(),
        _ => v,
    };
    for i in 0..MAX {
        let (x, y) = (lower(a.at(i)?), lower(b.at(i)?));
        if x != y {
            // Characters are signed.
            return Ok(if (x as i8) < (y as i8) { -1 } else { 1 });
        }
        if x == 0 {
            return Ok(0);
        }
    }
    Err(-E2BIG)
}

fn strcmp(c: &mut Call<'_>, a: [u64; 5]) -> Result<u64, Stop> {
    number(compare(c, a[0], a[1], false).unwrap_or_else(|e| e))
}

fn strcasecmp(c: &mut Call<'_>, a: [u64; 5]) -> Result<u64, Stop> {
    number(compare(c, a[0], a[1], true).unwrap_or_else(|e| e))
}

fn find(c: &Call<'_>, s: u64, count: u64, wanted: u8) -> Result<usize, i64> {
    let s = text(c, s)?;
    let count = usize::try_from(count).unwrap_or(MAX).min(MAX);
    for i in 0..count {
        match s.at(i)? {
            b if b == wanted => return Ok(i),
            0 => return Err(-ENOENT),
            _ => {}
        }
    }
    Err(if count == MAX { -E2BIG } else { -ENOENT })
}

fn strchr(c: &mut Call<'_>, a: [u64; 5]) -> Result<u64, Stop> {
    give(find(c, a[0], MAX as u64, a[1] as u8))
}

fn strnchr(c: &mut Call<'_>, a: [u64; 5]) -> Result<u64, Stop> {
    give(find(c, a[0], a[1], a[2] as u8))
}

/// Index of the first byte that `ends` accepts.
fn scan(c: &Call<'_>, s: u64, mut ends: impl FnMut(u8) -> Result<bool, i64>) -> Result<usize, i64> {
    let s = text(c, s)?;
    for i in 0..MAX {
        if ends(s.at(i)?)? {
            return Ok(i);
        }
    }
    Err(-E2BIG)
}

fn strchrnul(c: &mut Call<'_>, a: [u64; 5]) -> Result<u64, Stop> {
    give(scan(c, a[0], |b| Ok(b == 0 || b == a[1] as u8)))
}

fn strrchr(c: &mut Call<'_>, a: [u64; 5]) -> Result<u64, Stop> {
    let wanted = a[1] as u32 as i32;
    let (mut last, mut i) = (Err(-ENOENT), 0);
    let end = scan(c, a[0], |b| {
        if i32::from(b as i8) == wanted {
            last = Ok(i);
        }
        i += 1;
        Ok(b == 0)
    });
    give(end.and(last))
}

fn length(c: &Call<'_>, s: u64, count: u64) -> Result<usize, i64> {
    let s = text(c, s)?;
    let count = usize::try_from(count).unwrap_or(MAX).min(MAX);
    for i in 0..count {
        if s.at(i)? == 0 {
            return Ok(i);
        }
    }
    if count == MAX {
        return Err(-E2BIG);
    }
    Ok(count)
}

fn strlen(c: &mut Call<'_>, a: [u64; 5]) -> Result<u64, Stop> {
    give(length(c, a[0], MAX as u64))
}

fn strnlen(c: &mut Call<'_>, a: [u64; 5]) -> Result<u64, Stop> {
    give(length(c, a[0], a[1]))
}

/// Length of the prefix of bytes that are (or are not) in the set.
fn span(c: &Call<'_>, s: u64, set: u64, inside: bool) -> Result<usize, i64> {
    text(c, s)?;
    let set = text(c, set)?;
    let is_in = |b: u8| {
        for j in 0..MAX {
            match set.at(j)? {
                m if m == b => return Ok(true),
                0 => return Ok(false),
                _ => {}
            }
        }
        Err(-E2BIG)
    };
    scan(c, s, |b| Ok(b == 0 || is_in(b)? != inside))
}

fn strspn(c: &mut Call<'_>, a: [u64; 5]) -> Result<u64, Stop> {
    give(span(c, a[0], a[1], true))
}

fn strcspn(c: &mut Call<'_>, a: [u64; 5]) -> Result<u64, Stop> {
    give(span(c, a[0], a[1], false))
}

/// Where `part` begins within the first `len` bytes of `s`.
fn part(c: &Call<'_>, s: u64, part: u64, len: u64) -> Result<usize, i64> {
    let (s, part) = (text(c, s)?, text(c, part)?);
    let len = usize::try_from(len).unwrap_or(usize::MAX);
    for i in 0..MAX {
        let mut j = 0;
        while i + j <= len && j < MAX {
            let wanted = part.at(j)?;
            if wanted == 0 {
                return Ok(i);
            }
            // One byte more of the part is read, for one that ends where the length does.
            if i + j == len {
                break;
            }
            let b = s.at(i + j)?;
            if b == 0 {
                return Err(-ENOENT);
            }
            if b != wanted {
                break;
            }
            j += 1;
        }
        if j == MAX {
            return Err(-E2BIG);
        }
        if i + j == len {
            return Err(-ENOENT);
        }
    }
    Err(-E2BIG)
}

fn strstr(c: &mut Call<'_>, a: [u64; 5]) -> Result<u64, Stop> {
    give(part(c, a[0], a[1], MAX as u64))
}

fn strnstr(c: &mut Call<'_>, a: [u64; 5]) -> Result<u64, Stop> {
    give(part(c, a[0], a[1], a[2]))
}
