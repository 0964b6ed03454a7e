//! Adding and changing types: what a loader does to a program's BTF before the kernel sees it, and what
//! small BTFs of our own making are built with.
//!
//! Nothing is checked here; [`super::Btf::parse`] of [`super::Btf::to_bytes`] does.

use std::sync::OnceLock;

use super::kind::{BtfKind, BASE_WORDS};
use super::Btf;

/// Composes the info word.
const fn info(kind: BtfKind, vlen: u32, kflag: bool) -> u32 {
    (kflag as u32) << 31 | (kind as u32) << 24 | (vlen & 0xffff)
}

impl Btf {
    fn touched(&mut self) {
        self.names = super::lookup::Names::default();
        self.tags = OnceLock::new();
        self.ptr_size = OnceLock::new();
    }

    /// Offset of a string, added at the end unless it is there already.  A name with a zero byte is cut there.
    pub fn add_str(&mut self, s: &str) -> u32 {
        let bytes = s.as_bytes();
        let bytes = &bytes[..bytes.iter().position(|b| *b == 0).unwrap_or(bytes.len())];
        if bytes.is_empty() {
            return 0;
        }
        let own = &self.strs;
        let mut at = 0;
        while at < own.len() {
            let end = own[at..].iter().position(|b| *b == 0).map_or(own.len(), |n| at + n);
            if &own[at..end] == bytes {
                return self.start_str + at as u32;
            }
            at = end + 1;
        }
        let off = self.str_end();
        self.strs.extend_from_slice(bytes);
        self.strs.push(0);
        off
    }

    /// Appends a record: `third` is the size or type word, `rest` what the kind adds.
    pub fn add_type(
        &mut self,
        name: &str,
        kind: BtfKind,
        vlen: u32,
        kflag: bool,
        third: u32,
        rest: &[u32],
    ) -> u32 {
        self.touched();
        let name_off = self.add_str(name);
        let id = self.type_count();
        self.offs.push(self.words.len() as u32);
        self.words.extend_from_slice(&[name_off, info(kind, vlen, kflag), third]);
        self.words.extend_from_slice(rest);
        id
    }

    /// INT of `size` bytes and [`super::int_encoding`] bits.
    pub fn add_int(&mut self, name: &str, size: u32, encoding: u8) -> u32 {
        self.add_type(
            name,
            BtfKind::Int,
            0,
            false,
            size,
            &[(encoding as u32) << 24 | size.wrapping_mul(8) & 0xff],
        )
    }

    /// VAR.
    pub fn add_var(&mut self, name: &str, linkage: u32, type_id: u32) -> u32 {
        self.add_type(name, BtfKind::Var, 0, false, type_id, &[linkage])
    }

    /// FUNC of a FUNC_PROTO.
    pub fn add_func(&mut self, name: &str, linkage: u32, proto: u32) -> u32 {
        self.add_type(name, BtfKind::Func, linkage, false, proto, &[])
    }

    /// A kind that is nothing but a reference: PTR, CONST, VOLATILE, RESTRICT, TYPEDEF, TYPE_TAG.
    pub fn add_ref(&mut self, name: &str, kind: BtfKind, type_id: u32) -> u32 {
        self.add_type(name, kind, 0, false, type_id, &[])
    }

    /// ARRAY.
    pub fn add_array(&mut self, elem: u32, index: u32, nelems: u32) -> u32 {
        self.add_type("", BtfKind::Array, 0, false, 0, &[elem, index, nelems])
    }

    /// STRUCT or UNION; members as (name, type, bit offset), no bitfields.
    pub fn add_composite(
        &mut self,
        name: &str,
        kind: BtfKind,
        size: u32,
        members: &[(&str, u32, u32)],
    ) -> u32 {
        let mut rest = Vec::with_capacity(members.len() * 3);
        for (name, ty, off) in members {
            let name_off = self.add_str(name);
            rest.extend_from_slice(&[name_off, *ty, *off]);
        }
        self.add_type(name, kind, members.len() as u32, false, size, &rest)
    }

    /// FUNC_PROTO; parameters as (name, type).
    pub fn add_func_proto(&mut self, ret: u32, params: &[(&str, u32)]) -> u32 {
        let mut rest = Vec::with_capacity(params.len() * 2);
        for (name, ty) in params {
            let name_off = self.add_str(name);
            rest.extend_from_slice(&[name_off, *ty]);
        }
        self.add_type("", BtfKind::FuncProto, params.len() as u32, false, ret, &rest)
    }

    /// DECL_TAG on a component of `type_id`, -1 for the type itself.
    pub fn add_decl_tag(&mut self, text: &str, type_id: u32, component: i32) -> u32 {
        self.add_type(text, BtfKind::DeclTag, 0, false, type_id, &[component as u32])
    }

    /// The words of an own type, for a loader's fixups; the length cannot change.
    pub(crate) fn words_mut(&mut self, id: u32) -> Option<&mut [u32]> {
        let i = id.checked_sub(self.start_id)? as usize;
        let start = *self.offs.get(i)? as usize;
        let end = self.offs.get(i + 1).map_or(self.words.len(), |e| *e as usize);
        self.touched();
        self.words.get_mut(start..end)
    }

    /// Changes the third word (size or type).
    pub(crate) fn set_third(&mut self, id: u32, value: u32) {
        if let Some(w) = self.words_mut(id) {
            w[2] = value;
        }
    }

    /// Changes the linkage of a FUNC or VAR.
    pub(crate) fn set_linkage(&mut self, id: u32, linkage: u32) {
        let kind = self.kind(id);
        let Some(w) = self.words_mut(id) else { return };
        match kind {
            Some(BtfKind::Func) => w[1] = w[1] & !0xffff | linkage & 0xffff,
            Some(BtfKind::Var) => {
                if let Some(l) = w.get_mut(BASE_WORDS) {
                    *l = linkage;
                }
            }
            _ => {}
        }
    }
}
