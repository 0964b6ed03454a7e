//! BTF: the type graph of programs and kernels (`include/uapi/linux/btf.h`, `Documentation/bpf/btf.rst`).
//!
//! A [`Btf`] is a parsed blob: compact (the words of the blob, an offset per type, the strings), immutable for its
//! users, cheap to share behind an [`Arc`].  Split BTF (kernel modules) stands on a base; its ids and string offsets
//! go on where the base's end, so one id space serves both.
//!
//! ```
//! # use bpfassay_object::btf::{Btf, BtfKind};
//! # fn f(btf: &Btf) -> Option<()> {
//! let id = btf.find_by_name_kind("sk_buff", BtfKind::Struct)?;
//! for m in btf.ty(id)?.members() {
//!     println!("{} at bit {} is {}", btf.str(m.name_off), m.bit_offset, btf.c_name(m.type_id));
//! }
//! # Some(()) }
//! ```
//!
//! Structure is checked as libbpf does (see [`Btf::parse`]); what the kernel says about a program's BTF is
//! [`Btf::kernel_check`].  Knows nothing of programs, ELF or the running kernel.

mod edit;
mod error;
mod kernel_check;
mod kind;
mod lookup;
mod parse;
mod resolve;
mod show;
#[cfg(test)]
mod tests;

use std::sync::{Arc, OnceLock};

pub use error::{BtfError, BtfErrorKind};
pub use kernel_check::KernelRefusal;
pub use kind::{
    int_encoding, linkage, ArrayData, BtfKind, Enumerator, IntData, Member, Param, Type, VarSecinfo,
};
pub use lookup::essential_len;

/// The record of type 0.
static VOID: [u32; 3] = [0; 3];

/// A parsed BTF blob.
#[derive(Clone)]
pub struct Btf {
    base: Option<Arc<Btf>>,
    /// First id of own types: 1 without a base.
    start_id: u32,
    /// First string offset of own strings: 0 without a base.
    start_str: u32,
    /// Own type section, host order.
    words: Vec<u32>,
    /// Per own type, index of its first word.
    offs: Vec<u32>,
    /// Own strings, each ended by a zero byte.
    strs: Vec<u8>,
    big_endian: bool,
    names: lookup::Names,
    /// (marked type, DECL_TAG), ascending.
    tags: OnceLock<Vec<(u32, u32)>>,
    ptr_size: OnceLock<u32>,
}

impl Btf {
    /// A BTF without types, to add to.
    pub fn empty() -> Btf {
        Btf {
            base: None,
            start_id: 1,
            start_str: 0,
            words: Vec::new(),
            offs: Vec::new(),
            strs: vec![0],
            big_endian: false,
            names: lookup::Names::default(),
            tags: OnceLock::new(),
            ptr_size: OnceLock::new(),
        }
    }

    /// One more than the highest id, the base's types and void included (`btf_nr_types`).
    #[inline]
    pub fn type_count(&self) -> u32 {
        self.start_id + self.offs.len() as u32
    }

    /// First id that is not the base's; 1 without a base.
    #[inline]
    pub fn start_id(&self) -> u32 {
        self.start_id
    }

    pub fn base(&self) -> Option<&Arc<Btf>> {
        self.base.as_ref()
    }

    /// True if the blob was big-endian.
    pub fn is_big_endian(&self) -> bool {
        self.big_endian
    }

    /// The type of an id; id 0 is void.  `None` beyond the last type.
    #[inline]
    pub fn ty(&self, id: u32) -> Option<Type<'_>> {
        if id >= self.start_id {
            let i = (id - self.start_id) as usize;
            let start = *self.offs.get(i)? as usize;
            let end = self.offs.get(i + 1).map_or(self.words.len(), |e| *e as usize);
            return Some(Type { btf: self, id, words: self.words.get(start..end)? });
        }
        if id == 0 {
            return Some(Type { btf: self, id: 0, words: &VOID });
        }
        let t = self.base.as_ref()?.ty(id)?;
        Some(Type { btf: self, ..t })
    }

    /// Kind of a type, void for id 0; `None` beyond the last type.
    #[inline]
    pub fn kind(&self, id: u32) -> Option<BtfKind> {
        self.ty(id).map(Type::kind)
    }

    /// Name of a type, "" if it has none or does not exist.
    pub fn name(&self, id: u32) -> &str {
        self.ty(id).map_or("", Type::name)
    }

    /// Own types (not the base's), ascending by id.
    pub fn own_types(&self) -> impl Iterator<Item = Type<'_>> + '_ {
        (self.start_id..self.type_count()).filter_map(|id| self.ty(id))
    }

    /// All types, base first, without void.
    pub fn all_types(&self) -> impl Iterator<Item = Type<'_>> + '_ {
        (1..self.type_count()).filter_map(|id| self.ty(id))
    }

    /// The string at an offset, up to its zero byte; empty beyond the strings.
    pub fn str_bytes(&self, off: u32) -> &[u8] {
        if off < self.start_str {
            return self.base.as_ref().map_or(&[], |b| b.str_bytes(off));
        }
        let rest = self.strs.get((off - self.start_str) as usize..).unwrap_or(&[]);
        let len = rest.iter().position(|b| *b == 0).unwrap_or(rest.len());
        &rest[..len]
    }

    /// As [`Btf::str_bytes`]; empty for a string of more than `most` bytes, which is not read to its end.
    pub(super) fn str_bytes_within(&self, off: u32, most: usize) -> &[u8] {
        if off < self.start_str {
            return self.base.as_ref().map_or(&[], |b| b.str_bytes_within(off, most));
        }
        let rest = self.strs.get((off - self.start_str) as usize..).unwrap_or(&[]);
        let window = &rest[..rest.len().min(most + 1)];
        memchr::memchr(0, window).map_or(&[], |len| &window[..len])
    }

    /// The string at an offset; its valid front if it is not UTF-8.
    pub fn str(&self, off: u32) -> &str {
        let bytes = self.str_bytes(off);
        match std::str::from_utf8(bytes) {
            Ok(s) => s,
            Err(e) => std::str::from_utf8(&bytes[..e.valid_up_to()]).unwrap_or(""),
        }
    }

    /// True if a string starts at or runs over this offset.
    pub fn has_str(&self, off: u32) -> bool {
        off < self.str_end()
    }

    /// One past the last string offset, the base's strings included.
    #[inline]
    pub fn str_end(&self) -> u32 {
        self.start_str.saturating_add(self.strs.len() as u32)
    }
}

impl std::fmt::Debug for Btf {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "Btf {{ types {}..{}, {} string bytes }}",
            self.start_id,
            self.type_count(),
            self.strs.len()
        )
    }
}

impl Default for Btf {
    fn default() -> Btf {
        Btf::empty()
    }
}
