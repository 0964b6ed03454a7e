//! The words of a BTF blob: records, and which word of a record is a name, a type or a plain value.
//!
//! Knows the layout (`include/uapi/linux/btf.h`) and no meaning; `bpfassay_object::btf` knows the meaning.

use crate::delta::Broken;

/// `BTF_MAGIC`, version 1, no flags.
const HEAD: u32 = 0x0001_eb9f;
/// Bytes of `struct btf_header`.
const HEADER_LEN: usize = 24;
/// Most types of a blob that is taken; kernels have some 130,000.
pub const MAX_TYPES: u32 = 4_000_000;

/// A blob in its parts.
pub struct Blob<'a> {
    pub words: Vec<u32>,
    /// Index of each type's first word, type 1 first.
    pub types: Vec<u32>,
    pub strings: &'a [u8],
}

/// What a word of a record is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    /// Offset of a string.
    Name,
    /// Id of a type.
    Type,
    Value,
}

/// Splits a little-endian blob whose strings follow its types directly, as kernels write them.
pub fn parse(bytes: &[u8]) -> Result<Blob<'_>, Broken> {
    let word = |at: usize| -> Option<u32> {
        Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
    };
    let header: Option<Vec<u32>> = (0..6).map(|i| word(4 * i)).collect();
    let header = header.ok_or("no BTF header")?;
    let (types_len, strings_len) = (header[3] as usize, header[5] as usize);
    if header[0] != HEAD
        || header[1] as usize != HEADER_LEN
        || header[2] != 0
        || header[4] as usize != types_len
        || bytes.len() != HEADER_LEN + types_len + strings_len
        || types_len % 4 != 0
    {
        return Err("not laid out as a kernel writes BTF");
    }
    let (types, strings) = bytes[HEADER_LEN..].split_at(types_len);
    let words: Vec<u32> =
        types.chunks_exact(4).map(|c| u32::from_le_bytes([c[0], c[1], c[2], c[3]])).collect();
    let mut starts = Vec::new();
    let mut at = 0;
    while at < words.len() {
        starts.push(at as u32);
        let info = *words.get(at + 1).ok_or("a type is cut off")?;
        at += record_len(info);
    }
    if at != words.len() || strings.last().is_some_and(|b| *b != 0) {
        return Err("a type or string is cut off");
    }
    Ok(Blob { words, types: starts, strings })
}

/// The blob of these words and strings.
pub fn assemble(words: &[u32], strings: &[u8]) -> Vec<u8> {
    let types_len = 4 * words.len();
    let header =
        [HEAD, HEADER_LEN as u32, 0, types_len as u32, types_len as u32, strings.len() as u32];
    let mut out = Vec::with_capacity(HEADER_LEN + types_len + strings.len());
    for word in header.iter().chain(words) {
        out.extend_from_slice(&word.to_le_bytes());
    }
    out.extend_from_slice(strings);
    out
}

impl Blob<'_> {
    /// Words of a type; ids begin at 1.
    pub fn record(&self, id: u32) -> &[u32] {
        let i = id as usize;
        let start = self.types[i - 1] as usize;
        let end = self.types.get(i).map_or(self.words.len(), |e| *e as usize);
        &self.words[start..end]
    }

    /// Offsets of all strings, ascending.
    pub fn string_offsets(&self) -> Vec<u32> {
        let mut out = vec![0];
        let ends = self.strings.iter().enumerate().filter(|(_, b)| **b == 0);
        out.extend(ends.map(|(i, _)| i as u32 + 1));
        out.pop();
        out
    }

    /// The string at an offset, without its zero byte.
    pub fn string(&self, offset: u32) -> &[u8] {
        let rest = self.strings.get(offset as usize..).unwrap_or(&[]);
        let end = rest.iter().position(|b| *b == 0).unwrap_or(rest.len());
        &rest[..end]
    }
}

fn kind(info: u32) -> u32 {
    info >> 24 & 0x1f
}

/// Words of a record with this `info`.
pub fn record_len(info: u32) -> usize {
    let vlen = (info & 0xffff) as usize;
    3 + match kind(info) {
        1 | 14 | 17 => 1,            // INT, VAR, DECL_TAG
        3 => 3,                      // ARRAY
        4 | 5 | 15 | 19 => 3 * vlen, // STRUCT, UNION, DATASEC, ENUM64
        6 | 13 => 2 * vlen,          // ENUM, FUNC_PROTO
        _ => 0,
    }
}

/// Roles of a record's words.
pub fn roles(record: &[u32]) -> impl Iterator<Item = Role> {
    roles_of(record.get(1).copied().unwrap_or(0), record.len())
}

/// Roles of the words of a record with this `info`.
pub fn roles_of(info: u32, len: usize) -> impl Iterator<Item = Role> {
    let kind = kind(info);
    (0..len).map(move |i| match (i, kind) {
        (0, _) => Role::Name,
        (1, _) => Role::Value,
        // PTR, TYPEDEF, VOLATILE, CONST, RESTRICT, FUNC, FUNC_PROTO, VAR, DECL_TAG, TYPE_TAG
        (2, 2 | 8..=14 | 17 | 18) => Role::Type,
        (2, _) => Role::Value,
        (3 | 4, 3) => Role::Type,
        (_, 4 | 5) => [Role::Name, Role::Type, Role::Value][i % 3],
        (_, 15) => [Role::Type, Role::Value, Role::Value][i % 3],
        (_, 19) => [Role::Name, Role::Value, Role::Value][i % 3],
        (_, 6) => [Role::Value, Role::Name][i % 2],
        (_, 13) => [Role::Type, Role::Name][i % 2],
        _ => Role::Value,
    })
}
