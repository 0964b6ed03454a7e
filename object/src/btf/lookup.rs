//! Finding types by name, and tags by what they mark.
//!
//! Built on first use: most programs' BTF is never searched, vmlinux's always is.

use super::kind::{BtfKind, Type};
use super::Btf;

/// Types by the hash of their essential name; chains ascend by id.
#[derive(Clone, Debug)]
pub(super) struct NameIndex {
    /// Own type index + 1 of the first type of each bucket, 0 for none.
    heads: Vec<u32>,
    /// Own type index + 1 of the next type in the chain, 0 at the end.
    next: Vec<u32>,
}

/// Longest name that is found, in bytes; a kernel's are shorter than 512 (`KSYM_NAME_LEN`).
const NAME_MAX: usize = 4096;

/// Length of a name without its `___flavour` suffix (libbpf: `bpf_core_essential_name_len`).
pub fn essential_len(name: &[u8]) -> usize {
    let is_sep = |w: &[u8]| w[0] != b'_' && w[1..4] == *b"___" && w[4] != b'_';
    match name.windows(5).rposition(is_sep) {
        Some(i) => i + 1,
        None => name.len(),
    }
}

fn hash(name: &[u8]) -> u64 {
    // FNV-like over 8-byte pieces, finished with a multiply-shift: names are short and trusted only for speed.
    let mut h = 0xcbf2_9ce4_8422_2325u64 ^ name.len() as u64;
    for c in name.chunks(8) {
        let mut b = [0u8; 8];
        b[..c.len()].copy_from_slice(c);
        h = (h.rotate_left(5) ^ u64::from_le_bytes(b)).wrapping_mul(0x517c_c1b7_2722_0a95);
    }
    h ^ h >> 32
}

impl NameIndex {
    fn build(btf: &Btf) -> NameIndex {
        let n = btf.offs.len();
        let size = (n + n / 2).next_power_of_two().max(16);
        let mut index = NameIndex { heads: vec![0; size], next: vec![0; n] };
        // From the last to the first, so that each insertion at the head leaves the lowest id first.
        for i in (0..n).rev() {
            let name_off = btf.words.get(btf.offs[i] as usize).copied().unwrap_or(0);
            if name_off == 0 {
                continue;
            }
            // Longer names than any kernel takes are found by nobody: many types may share one.
            let name = btf.str_bytes_within(name_off, NAME_MAX);
            if name.is_empty() {
                continue;
            }
            let bucket = index.bucket(&name[..essential_len(name)]);
            index.next[i] = index.heads[bucket];
            index.heads[bucket] = i as u32 + 1;
        }
        index
    }

    fn bucket(&self, essential: &[u8]) -> usize {
        hash(essential) as usize & (self.heads.len() - 1)
    }

    /// Own type indices whose essential name may be `essential`, ascending.
    fn chain<'a>(&'a self, essential: &[u8]) -> impl Iterator<Item = usize> + 'a {
        let mut at = self.heads[self.bucket(essential)];
        std::iter::from_fn(move || {
            let i = (at as usize).checked_sub(1)?;
            at = self.next[i];
            Some(i)
        })
    }
}

impl Btf {
    fn name_index(&self) -> &NameIndex {
        self.index.get_or_init(|| NameIndex::build(self))
    }

    fn own_matching<'a>(
        &'a self,
        essential: &'a [u8],
        pick: impl Fn(&[u8]) -> bool + 'a,
    ) -> impl Iterator<Item = Type<'a>> + 'a {
        self.name_index().chain(essential).filter_map(move |i| {
            let t = self.ty(self.start_id + i as u32)?;
            pick(self.str_bytes(t.name_off())).then_some(t)
        })
    }

    /// Every type of this name, ascending by id, base first.
    pub fn find_by_name<'a>(&'a self, name: &'a str) -> Box<dyn Iterator<Item = Type<'a>> + 'a> {
        let bytes = name.as_bytes();
        let essential = &bytes[..essential_len(bytes)];
        let own = self.own_matching(essential, move |n| n == bytes);
        match &self.base {
            Some(b) => Box::new(b.find_by_name(name).map(|t| Type { btf: self, ..t }).chain(own)),
            None => Box::new(own),
        }
    }

    /// Id of the first type of this name and kind, base first
    /// (`btf__find_by_name_kind`, `btf_find_by_name_kind`).
    pub fn find_by_name_kind(&self, name: &str, kind: BtfKind) -> Option<u32> {
        self.find_by_name(name).find(|t| t.kind() == kind).map(Type::id)
    }

    /// As [`Btf::find_by_name_kind`], but not in the base (`btf__find_by_name_kind_own`).
    pub fn find_own_by_name_kind(&self, name: &str, kind: BtfKind) -> Option<u32> {
        let bytes = name.as_bytes();
        let found = self
            .own_matching(&bytes[..essential_len(bytes)], |n| n == bytes)
            .find(|t| t.kind() == kind)
            .map(Type::id);
        found
    }

    /// Own types (not the base's) whose name without `___flavour` is `essential`, ascending.
    pub fn find_own_by_essential_name<'a>(
        &'a self,
        essential: &'a [u8],
    ) -> impl Iterator<Item = Type<'a>> + 'a {
        self.own_matching(essential, move |n| n[..essential_len(n)] == *essential)
    }

    /// DECL_TAGs on `id`, ascending: all components.
    pub fn decl_tags_of(&self, id: u32) -> impl Iterator<Item = Type<'_>> + '_ {
        let tags = self.tags.get_or_init(|| {
            let mut v: Vec<(u32, u32)> = self
                .own_types()
                .filter(|t| t.kind() == BtfKind::DeclTag)
                .map(|t| (t.type_id(), t.id))
                .collect();
            v.sort_unstable();
            v
        });
        let from = tags.partition_point(|(target, _)| *target < id);
        let own = tags[from..]
            .iter()
            .take_while(move |(target, _)| *target == id)
            .filter_map(|(_, tag)| self.ty(*tag));
        let base: Box<dyn Iterator<Item = Type<'_>> + '_> = match &self.base {
            Some(b) if id < self.start_id => {
                Box::new(b.decl_tags_of(id).map(|t| Type { btf: self, ..t }))
            }
            _ => Box::new(std::iter::empty()),
        };
        base.chain(own)
    }

    /// Texts of the DECL_TAGs on one component of `id`: -1 for the type itself, else member or parameter index.
    pub fn decl_tags(&self, id: u32, component: i32) -> impl Iterator<Item = &str> + '_ {
        self.decl_tags_of(id).filter(move |t| t.component_idx() == component).map(Type::name)
    }
}
