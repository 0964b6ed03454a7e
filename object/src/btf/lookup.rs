//! Finding types by name, and tags by what they mark.
//!
//! An index of every name is built when it pays: most programs' BTF is never searched, and a kernel's 150,000 types
//! are often asked for one name only.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, OnceLock};

use memchr::memmem;

use super::kind::{BtfKind, Type};
use super::Btf;

/// How the names of one BTF are searched: the first few by reading through it, then by an index.
#[derive(Default)]
pub(super) struct Names {
    index: OnceLock<NameIndex>,
    scans: AtomicU32,
    /// What scans found: one program asks for the same few names as the next.
    found: Mutex<Vec<(Vec<u8>, Vec<u32>)>>,
}

impl Names {
    fn recall(&self, name: &[u8]) -> Option<Vec<u32>> {
        let found = self.found.lock().ok()?;
        found.iter().find(|(known, _)| known == name).map(|(_, ids)| ids.clone())
    }

    fn remember(&self, name: &[u8], ids: &[u32]) {
        if let Ok(mut found) = self.found.lock() {
            found.push((name.to_vec(), ids.to_vec()));
        }
    }
}

impl Clone for Names {
    fn clone(&self) -> Names {
        Names {
            index: self.index.clone(),
            scans: AtomicU32::new(self.scans.load(Ordering::Relaxed)),
            found: Mutex::default(),
        }
    }
}

/// Scans before the index is built: each costs about a tenth of it.
const SCANS: u32 = 4;

/// Places of one name in the strings that a scan looks for: a well-formed BTF has one.
const PLACES: usize = 16;

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
    if memmem::find(name, b"___").is_none() {
        return name.len();
    }
    let is_sep = |w: &[u8]| w[0] != b'_' && w[1..4] == *b"___" && w[4] != b'_';
    match name.windows(5).rposition(is_sep) {
        Some(i) => i + 1,
        None => name.len(),
    }
}

fn hash(name: &[u8]) -> u64 {
    // FNV-like over 8-byte pieces, finished with a multiply-shift: names are short and trusted only for speed.
    let mut h = 0xcbf2_9ce4_8422_2325u64 ^ name.len() as u64;
    let mut mix = |piece: u64| h = (h.rotate_left(5) ^ piece).wrapping_mul(0x517c_c1b7_2722_0a95);
    let pieces = name.chunks_exact(8);
    let rest = pieces.remainder().iter().fold(0, |r, b| r << 8 | u64::from(*b));
    pieces.for_each(|c| mix(u64::from_le_bytes(c.try_into().expect("eight bytes"))));
    mix(rest);
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
        self.names.index.get_or_init(|| NameIndex::build(self))
    }

    /// Own types of exactly this name, ascending by id.
    fn own_named<'a>(&'a self, name: &'a [u8]) -> Box<dyn Iterator<Item = Type<'a>> + 'a> {
        match self.scan(name) {
            Some(found) => Box::new(found.into_iter().filter_map(|id| self.ty(id))),
            None => Box::new(self.own_matching(&name[..essential_len(name)], move |n| n == name)),
        }
    }

    /// As [`Btf::own_named`] without an index; `None` where the index is there or its turn has come.
    fn scan(&self, name: &[u8]) -> Option<Vec<u32>> {
        let own_strings_only = self.base.is_none();
        if !own_strings_only || name.is_empty() || name.len() > NAME_MAX || name.contains(&0) {
            return None;
        }
        if self.names.index.get().is_some() {
            return None;
        }
        let known = self.names.recall(name);
        if known.is_some() || self.names.scans.fetch_add(1, Ordering::Relaxed) >= SCANS {
            return known;
        }
        let ended = [name, b"\0"].concat();
        let places: Vec<u32> =
            memmem::find_iter(&self.strs, &ended).map(|at| at as u32).take(PLACES + 1).collect();
        if places.len() > PLACES {
            return None;
        }
        let named = |at: &u32| self.words.get(*at as usize).is_some_and(|off| places.contains(off));
        let found = self.offs.iter().enumerate().filter(|(_, at)| !places.is_empty() && named(at));
        let found: Vec<u32> = found.map(|(i, _)| self.start_id + i as u32).collect();
        self.names.remember(name, &found);
        Some(found)
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
        let own = self.own_named(name.as_bytes());
        match &self.base {
            Some(b) => Box::new(b.find_by_name(name).map(|t| Type { btf: self, ..t }).chain(own)),
            None => own,
        }
    }

    /// Id of the first type of this name and kind, base first
    /// (`btf__find_by_name_kind`, `btf_find_by_name_kind`).
    pub fn find_by_name_kind(&self, name: &str, kind: BtfKind) -> Option<u32> {
        self.find_by_name(name).find(|t| t.kind() == kind).map(Type::id)
    }

    /// As [`Btf::find_by_name_kind`], but not in the base (`btf__find_by_name_kind_own`).
    pub fn find_own_by_name_kind(&self, name: &str, kind: BtfKind) -> Option<u32> {
        let found = self.own_named(name.as_bytes()).find(|t| t.kind() == kind).map(Type::id);
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
