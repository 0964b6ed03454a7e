//! What can be wrong with a BTF blob, with the place.

use std::fmt;

/// A refusal of [`super::Btf::parse`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BtfError {
    pub kind: BtfErrorKind,
    /// The type record at fault, where one is.
    pub type_id: Option<u32>,
    /// Byte offset from the start of the blob, where one is known.
    pub offset: Option<u64>,
}

/// The reasons; texts by [`fmt::Display`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum BtfErrorKind {
    /// Shorter than a header.
    NoHeader,
    BadMagic(u16),
    /// Header length field is beyond the data, or not the standard one in a foreign-endian blob.
    BadHeaderLen(u32),
    /// The string section does not end inside the data.
    BadTotalSize,
    /// Types overlap strings, or are not aligned to 4 bytes.
    BadLayout,
    /// Empty, too long, not terminated, or not starting with the empty string.
    BadStrings,
    /// A type record runs past the type section.
    Truncated,
    /// Bytes after the last whole record.
    TrailingBytes,
    TooManyTypes,
    UnknownKind(u32),
    /// A name offset outside the strings (what it names, the offset).
    BadString(&'static str, u32),
    /// A reference to a type that is not there.
    BadTypeRef(u32),
    /// FUNC whose type is not a FUNC_PROTO.
    NotFuncProto(u32),
}

impl BtfError {
    pub(super) fn at(kind: BtfErrorKind, offset: u64) -> BtfError {
        BtfError { kind, type_id: None, offset: Some(offset) }
    }

    pub(super) fn of(kind: BtfErrorKind, type_id: u32) -> BtfError {
        BtfError { kind, type_id: Some(type_id), offset: None }
    }
}

impl fmt::Display for BtfErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BtfErrorKind::NoHeader => f.write_str("no BTF header"),
            BtfErrorKind::BadMagic(m) => write!(f, "bad BTF magic {m:#06x}"),
            BtfErrorKind::BadHeaderLen(n) => write!(f, "unusable header length {n}"),
            BtfErrorKind::BadTotalSize => f.write_str("sections run past the end of the data"),
            BtfErrorKind::BadLayout => f.write_str("type section is misplaced or misaligned"),
            BtfErrorKind::BadStrings => {
                f.write_str("malformed string section (a split BTF without its base?)")
            }
            BtfErrorKind::Truncated => f.write_str("type record runs past the type section"),
            BtfErrorKind::TrailingBytes => f.write_str("bytes left over after the last type"),
            BtfErrorKind::TooManyTypes => f.write_str("too many types"),
            BtfErrorKind::UnknownKind(k) => write!(f, "unknown kind {k}"),
            BtfErrorKind::BadString(what, off) => write!(f, "invalid {what} (string offset {off})"),
            BtfErrorKind::BadTypeRef(id) => {
                write!(f, "reference to type [{id}], which does not exist")
            }
            BtfErrorKind::NotFuncProto(id) => {
                write!(f, "type [{id}] of a function is not a FUNC_PROTO")
            }
        }
    }
}

impl fmt::Display for BtfError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BTF: ")?;
        if let Some(id) = self.type_id {
            write!(f, "type [{id}]: ")?;
        }
        write!(f, "{}", self.kind)?;
        match self.offset {
            Some(off) => write!(f, " (at byte {off})"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for BtfError {}
