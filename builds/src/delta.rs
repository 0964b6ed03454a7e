//! A kernel's BTF told by what differs from another kernel's: strings and types that both have are stored once.
//!
//! Two builds number their types and place their strings differently, so bytes do not match where types do.  A delta
//! aligns the types of both, and then says for each type of the new blob: it is the aligned one of the base (name and
//! members by the same strings, references to aligned types), or here it is.  The blob that comes back is the kernel's
//! own, byte for byte; its SHA-256 says so.
//!
//! Layout of a delta, all numbers LEB128: strings as runs of the base's and new ones, types as runs that are the
//! base's, that changed and that are new, then the new records field by field, then the bytes of new strings.
//! The BTF layout is `include/uapi/linux/btf.h`'s.

use crate::raw::{self, Blob, Role};

/// Why a delta cannot be applied.
pub type Broken = &'static str;

/// What a run of types is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Run {
    /// The base's types, from the one aligned with the first on.
    Same,
    /// Aligned with the base's, so that references to them hold, but with records of their own.
    Changed,
    New,
}

impl Run {
    pub(crate) const ALL: [Run; 3] = [Run::Same, Run::Changed, Run::New];
}

/// Appends a number, seven bits a byte, low ones first.
pub(crate) fn put(out: &mut Vec<u8>, mut n: u64) {
    while n >= 0x80 {
        out.push(n as u8 | 0x80);
        n >>= 7;
    }
    out.push(n as u8);
}

/// A signed difference as an unsigned number: 0, -1, 1, -2, …
pub(crate) fn zigzag(n: i64) -> u64 {
    (n << 1 ^ n >> 63) as u64
}

/// What [`zigzag`] was given.
fn unzigzag(n: u64) -> i64 {
    (n >> 1) as i64 ^ -((n & 1) as i64)
}

/// A reader of numbers.
pub(crate) struct Numbers<'a> {
    pub(crate) bytes: &'a [u8],
}

impl<'a> Numbers<'a> {
    pub(crate) fn next(&mut self) -> Result<u64, Broken> {
        let mut n = 0u64;
        for shift in (0..64).step_by(7) {
            let (byte, rest) = self.bytes.split_first().ok_or("the delta ends early")?;
            self.bytes = rest;
            n |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(n);
            }
        }
        Err("a number is too long")
    }

    fn u32(&mut self) -> Result<u32, Broken> {
        u32::try_from(self.next()?).map_err(|_| "a number is too large")
    }

    fn signed(&mut self) -> Result<i64, Broken> {
        self.next().map(unzigzag)
    }

    /// The bytes of a part, which stand behind their number.
    fn part(&mut self) -> Result<Numbers<'a>, Broken> {
        let len = self.next()? as usize;
        let (part, rest) = self.bytes.split_at_checked(len).ok_or("the delta ends early")?;
        self.bytes = rest;
        Ok(Numbers { bytes: part })
    }
}

/// The kernel's blob from a base and a delta that [`crate::pack::delta`] made.
pub fn apply(base: &[u8], delta: &[u8]) -> Result<Vec<u8>, Broken> {
    let base = raw::parse(base)?;
    let mut parts = Numbers { bytes: delta };
    let (mut ops, mut runs, mut fields, mut text) =
        (parts.part()?, parts.part()?, parts.part()?, parts.part()?);
    let strings = Strings::read(&base, &mut ops, &mut text)?;
    let runs = read_runs(&mut runs, base.types.len())?;
    let mut own_of = vec![0u32; base.types.len() + 1];
    let mut id = 1u32;
    for run in &runs {
        for i in 0..run.count {
            if run.kind != Run::New {
                own_of[(run.base + i) as usize] = id + i;
            }
        }
        id += run.count;
    }
    let mut words = Vec::with_capacity(base.words.len() + base.words.len() / 8);
    let mut id = 1u32;
    for run in &runs {
        for i in 0..run.count {
            match run.kind {
                Run::Same => copy(&base, run.base + i, &own_of, &strings, &mut words),
                _ => literal(id + i, &mut fields, &strings, &mut words)?,
            }
        }
        id += run.count;
    }
    Ok(raw::assemble(&words, &strings.bytes))
}

/// The new blob's strings.
struct Strings {
    bytes: Vec<u8>,
    /// Offset of each.
    offsets: Vec<u32>,
    /// Offsets in the new blob of the base's strings, by their offset there.
    moved: Vec<u32>,
}

impl Strings {
    fn read(
        base: &Blob<'_>,
        ops: &mut Numbers<'_>,
        text: &mut Numbers<'_>,
    ) -> Result<Strings, Broken> {
        let starts = base.string_offsets();
        let mut out =
            Strings { bytes: Vec::new(), offsets: Vec::new(), moved: vec![0; base.strings.len()] };
        let mut at = 0i64;
        while !ops.bytes.is_empty() {
            at += ops.signed()?;
            for _ in 0..ops.next()? {
                let start = *usize::try_from(at)
                    .ok()
                    .and_then(|i| starts.get(i))
                    .ok_or("no such string")?;
                out.moved[start as usize] = out.bytes.len() as u32;
                out.push(base.string(start));
                at += 1;
            }
            for _ in 0..ops.next()? {
                let end = text.bytes.iter().position(|b| *b == 0).ok_or("a string does not end")?;
                out.push(&text.bytes[..end]);
                text.bytes = &text.bytes[end + 1..];
            }
        }
        Ok(out)
    }

    fn push(&mut self, s: &[u8]) {
        self.offsets.push(self.bytes.len() as u32);
        self.bytes.extend_from_slice(s);
        self.bytes.push(0);
    }
}

struct TypeRun {
    kind: Run,
    count: u32,
    /// First aligned type of the base.
    base: u32,
}

fn read_runs(numbers: &mut Numbers<'_>, base_types: usize) -> Result<Vec<TypeRun>, Broken> {
    let mut runs = Vec::new();
    let (mut next, mut total) = (1i64, 0u64);
    while !numbers.bytes.is_empty() {
        let head = numbers.next()?;
        let kind = *Run::ALL.get((head % 3) as usize).ok_or("no such run")?;
        let count = u32::try_from(head / 3).map_err(|_| "a run is too long")?;
        total += u64::from(count);
        if total > u64::from(raw::MAX_TYPES) {
            return Err("too many types");
        }
        let mut base = 0;
        if kind != Run::New {
            next += numbers.signed()?;
            base = u32::try_from(next).map_err(|_| "no such type")?;
            next += i64::from(count);
            if base == 0 || next - 1 > base_types as i64 {
                return Err("no such type");
            }
        }
        runs.push(TypeRun { kind, count, base });
    }
    Ok(runs)
}

/// A type of the base, its strings and references moved.
fn copy(base: &Blob<'_>, id: u32, own_of: &[u32], strings: &Strings, out: &mut Vec<u32>) {
    let record = base.record(id);
    for (word, role) in record.iter().zip(raw::roles(record)) {
        out.push(match role {
            Role::Name => strings.moved.get(*word as usize).copied().unwrap_or(0),
            Role::Type => own_of.get(*word as usize).copied().unwrap_or(0),
            Role::Value => *word,
        });
    }
}

/// A record of the delta's own.
fn literal(
    id: u32,
    fields: &mut Numbers<'_>,
    strings: &Strings,
    out: &mut Vec<u32>,
) -> Result<(), Broken> {
    let info = fields.u32()?;
    let mut head = [0, info, 0];
    let len = raw::record_len(info);
    for (i, role) in raw::roles_of(info, len).enumerate() {
        let word = match role {
            _ if i == 1 => info,
            Role::Name => {
                let index = fields.next()? as usize;
                *strings.offsets.get(index).ok_or("no such string")?
            }
            Role::Type => match fields.next()? {
                0 => 0,
                n => {
                    let back = unzigzag(n - 1);
                    u32::try_from(i64::from(id) - back).map_err(|_| "no such type")?
                }
            },
            Role::Value => fields.u32()?,
        };
        match head.get_mut(i) {
            Some(place) => *place = word,
            None => out.push(word),
        }
        if i == 2 {
            out.extend(head);
        }
    }
    Ok(())
}
