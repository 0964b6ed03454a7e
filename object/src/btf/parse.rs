//! Bytes to [`Btf`], with the bounds libbpf checks (`tools/lib/bpf/btf.c`: `btf_parse_hdr`, `btf_parse_str_sec`,
//! `btf_parse_type_sec`, `btf_sanity_check`).
//!
//! What only the kernel complains about (names, sizes, resolvability) is not checked here: such BTF is loaded, and the
//! kernel's verdict on it is a verdict.

use std::sync::{Arc, OnceLock};

use super::error::{BtfError, BtfErrorKind as E};
use super::kind::{BtfKind, BASE_WORDS};
use super::Btf;

const MAGIC: u16 = 0xeb9f;
/// `sizeof(struct btf_header)`.
pub(super) const HEADER_LEN: u32 = 24;
/// `BTF_MAX_NR_TYPES`, libbpf's.
const MAX_NR_TYPES: usize = 0x7fff_ffff;
/// `BTF_MAX_STR_OFFSET`, libbpf's.
const MAX_STR_OFFSET: u64 = 0x7fff_ffff;

struct Reader<'a> {
    bytes: &'a [u8],
    big: bool,
}

impl Reader<'_> {
    fn u32(&self, off: usize) -> Option<u32> {
        let b: [u8; 4] = self.bytes.get(off..off.checked_add(4)?)?.try_into().ok()?;
        Some(if self.big { u32::from_be_bytes(b) } else { u32::from_le_bytes(b) })
    }
}

struct Header {
    big: bool,
    /// Byte ranges in the blob.
    types: (usize, usize),
    strings: (usize, usize),
}

fn parse_header(bytes: &[u8]) -> Result<Header, BtfError> {
    let no_header = || BtfError::at(E::NoHeader, 0);
    if bytes.len() < HEADER_LEN as usize {
        return Err(no_header());
    }
    let magic = u16::from_le_bytes([bytes[0], bytes[1]]);
    let big = match magic {
        MAGIC => false,
        m if m == MAGIC.swap_bytes() => true,
        m => return Err(BtfError::at(E::BadMagic(m), 0)),
    };
    let r = Reader { bytes, big };
    let field = |off| r.u32(off).ok_or_else(no_header);
    let (hdr_len, type_off, type_len) = (field(4)?, field(8)?, field(12)?);
    let (str_off, str_len) = (field(16)?, field(20)?);
    // libbpf compares with the host's order; a header of foreign order and odd length is refused there.
    // Taking big-endian as foreign keeps the answer the same on every host.
    if hdr_len as usize > bytes.len() || (big && hdr_len != HEADER_LEN) {
        return Err(BtfError::at(E::BadHeaderLen(hdr_len), 4));
    }
    let left = bytes.len() as u64 - hdr_len as u64;
    if left < str_off as u64 + str_len as u64 {
        return Err(BtfError::at(E::BadTotalSize, 16));
    }
    if type_off as u64 + type_len as u64 > str_off as u64 || type_off % 4 != 0 {
        return Err(BtfError::at(E::BadLayout, 8));
    }
    let range = |off: u32, len: u32| {
        let start = hdr_len as usize + off as usize;
        (start, start + len as usize)
    };
    Ok(Header { big, types: range(type_off, type_len), strings: range(str_off, str_len) })
}

impl Btf {
    /// Parses a blob (`.BTF` section, `/sys/kernel/btf/*`, `*.btf`), on top of `base` if it is split BTF.
    ///
    /// Both byte orders are read; the result is the same.  Cyclic types are legal and parse.
    pub fn parse(bytes: &[u8], base: Option<Arc<Btf>>) -> Result<Btf, BtfError> {
        let header = parse_header(bytes)?;
        let strings = &bytes[header.strings.0..header.strings.1];
        check_strings(strings, base.is_some(), header.strings.0)?;
        let (start_id, start_str) = match &base {
            Some(b) => (b.type_count(), b.str_end()),
            None => (1, 0),
        };
        let mut btf = Btf {
            base,
            start_id,
            start_str,
            words: Vec::new(),
            offs: Vec::new(),
            strs: strings.to_vec(),
            big_endian: header.big,
            names: super::lookup::Names::default(),
            tags: OnceLock::new(),
            ptr_size: OnceLock::new(),
        };
        btf.parse_types(bytes, &header)?;
        btf.check_all()?;
        Ok(btf)
    }

    fn parse_types(&mut self, bytes: &[u8], header: &Header) -> Result<(), BtfError> {
        let (start, end) = header.types;
        let section = &bytes[start..end];
        self.words = if header.big {
            section.chunks_exact(4).map(|c| u32::from_be_bytes([c[0], c[1], c[2], c[3]])).collect()
        } else {
            section.chunks_exact(4).map(|c| u32::from_le_bytes([c[0], c[1], c[2], c[3]])).collect()
        };
        // A record is 12 bytes at least; most of vmlinux takes about 24.
        self.offs.reserve(self.words.len() / 6);
        let mut at = 0usize;
        while at + BASE_WORDS <= self.words.len() {
            let offset = (start + at * 4) as u64;
            let info = self.words[at + 1];
            let number = (info >> 24) & 0x1f;
            let kind = match BtfKind::from_number(number) {
                Some(k) if k != BtfKind::Unkn => k,
                _ => {
                    let id = self.type_count();
                    return Err(BtfError {
                        kind: E::UnknownKind(number),
                        type_id: Some(id),
                        offset: Some(offset),
                    });
                }
            };
            let (fixed, per) = kind.extra_words();
            let next = at + BASE_WORDS + fixed + per * (info & 0xffff) as usize;
            if next > self.words.len() {
                let id = self.type_count();
                return Err(BtfError {
                    kind: E::Truncated,
                    type_id: Some(id),
                    offset: Some(offset),
                });
            }
            if self.offs.len() >= MAX_NR_TYPES {
                return Err(BtfError::at(E::TooManyTypes, offset));
            }
            self.offs.push(at as u32);
            at = next;
        }
        if at != self.words.len() || !section.len().is_multiple_of(4) {
            return Err(BtfError::at(E::TrailingBytes, (start + at * 4) as u64));
        }
        Ok(())
    }

    fn check_all(&self) -> Result<(), BtfError> {
        let (types, strings) = (self.type_count(), self.str_end());
        let str_ok = |id: u32, what: &'static str, off: u32| match off < strings {
            true => Ok(()),
            false => Err(BtfError::of(E::BadString(what, off), id)),
        };
        let ref_ok = |id: u32, to: u32| match to < types {
            true => Ok(()),
            false => Err(BtfError::of(E::BadTypeRef(to), id)),
        };
        for t in self.own_types() {
            let (id, kind) = (t.id, t.kind());
            str_ok(id, "type name", t.name_off())?;
            if kind.refers() && kind != BtfKind::FuncProto {
                ref_ok(id, t.type_id())?;
            }
            let rest = t.words.get(BASE_WORDS..).unwrap_or(&[]);
            match kind {
                BtfKind::Array => {
                    ref_ok(id, rest[0])?;
                    ref_ok(id, rest[1])?;
                }
                BtfKind::Struct | BtfKind::Union => {
                    for m in rest.chunks_exact(3) {
                        str_ok(id, "field name", m[0])?;
                        ref_ok(id, m[1])?;
                    }
                }
                BtfKind::Enum => {
                    rest.chunks_exact(2).try_for_each(|m| str_ok(id, "enum name", m[0]))?
                }
                BtfKind::Enum64 => {
                    rest.chunks_exact(3).try_for_each(|m| str_ok(id, "enum name", m[0]))?
                }
                BtfKind::Func if self.kind(t.type_id()) != Some(BtfKind::FuncProto) => {
                    return Err(BtfError::of(E::NotFuncProto(t.type_id()), id));
                }
                BtfKind::FuncProto => {
                    // libbpf leaves the return type unchecked and would read past its table later.
                    ref_ok(id, t.type_id())?;
                    for m in rest.chunks_exact(2) {
                        str_ok(id, "param name", m[0])?;
                        ref_ok(id, m[1])?;
                    }
                }
                BtfKind::Datasec => rest.chunks_exact(3).try_for_each(|m| ref_ok(id, m[0]))?,
                _ => {}
            }
        }
        Ok(())
    }

    /// The blob in little-endian form, own types and strings only.
    pub fn to_bytes(&self) -> Vec<u8> {
        let type_len = (self.words.len() * 4) as u32;
        let mut out = Vec::with_capacity(HEADER_LEN as usize + type_len as usize + self.strs.len());
        out.extend_from_slice(&MAGIC.to_le_bytes());
        // Version 1, no flags.
        out.extend_from_slice(&[1, 0]);
        for w in [HEADER_LEN, 0, type_len, type_len, self.strs.len() as u32] {
            out.extend_from_slice(&w.to_le_bytes());
        }
        for w in &self.words {
            out.extend_from_slice(&w.to_le_bytes());
        }
        out.extend_from_slice(&self.strs);
        out
    }
}

fn check_strings(strings: &[u8], split: bool, at: usize) -> Result<(), BtfError> {
    let bad = || BtfError::at(E::BadStrings, at as u64);
    if split && strings.is_empty() {
        return Ok(());
    }
    match strings {
        [] => Err(bad()),
        s if s.len() as u64 - 1 > MAX_STR_OFFSET => Err(bad()),
        [.., last] if *last != 0 => Err(bad()),
        [first, ..] if !split && *first != 0 => Err(bad()),
        _ => Ok(()),
    }
}
