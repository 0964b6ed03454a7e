//! Externs: `.kconfig` options and `.ksyms` kernel functions and variables
//! (libbpf: `bpf_object__collect_externs`, `bpf_object__resolve_externs`).

use std::collections::HashMap;

use crate::btf::{essential_len, int_encoding, linkage, Btf, BtfKind};
use crate::elf::{sym, Elf};
use crate::error::{LoadError, LoadErrorKind as K};
use crate::loader::Loader;

/// What a `.kconfig` variable may hold.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum KconfigType {
    Char { signed: bool },
    Bool,
    Int { signed: bool },
    Tristate,
    CharArray,
}

/// Where an extern is looked up.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum ExternKind {
    Kconfig {
        ty: KconfigType,
        size: u32,
        align: u32,
        /// Byte offset in the `.kconfig` map.
        offset: u32,
    },
    Ksym {
        /// Type in the object's BTF without qualifiers and typedefs; 0 for `const void`, which is looked up among the
        /// kernel's symbols instead of its BTF.
        type_id: u32,
        is_func: bool,
    },
    /// The object's BTF does not say what it is; why.
    Unusable(String),
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Extern {
    pub name: String,
    /// ELF symbol index.
    pub symbol: usize,
    pub weak: bool,
    pub kind: ExternKind,
}

impl Extern {
    /// Without `___flavour`.
    pub fn essential_name(&self) -> &str {
        self.name.get(..essential_len(self.name.as_bytes())).unwrap_or(&self.name)
    }
}

fn fail(symbol: usize, name: &str, what: impl Into<String>) -> LoadError {
    LoadError::new(K::Extern, what).at_symbol(symbol, name)
}

/// What the object's BTF says of names and sections.
struct Index<'a> {
    /// First VAR or FUNC of each name.
    named: HashMap<&'a str, u32>,
    /// DATASEC each VAR or FUNC stands in.
    section_of: HashMap<u32, u32>,
}

impl<'a> Index<'a> {
    fn new(btf: &'a Btf) -> Index<'a> {
        let (mut named, mut section_of) = (HashMap::new(), HashMap::new());
        for t in btf.own_types() {
            match t.kind() {
                BtfKind::Var | BtfKind::Func => {
                    named.entry(t.name()).or_insert(t.id());
                }
                BtfKind::Datasec => {
                    for v in t.vars() {
                        section_of.entry(v.type_id).or_insert(t.id());
                    }
                }
                _ => {}
            }
        }
        Index { named, section_of }
    }
}

/// Finds the externs and rewrites their BTF into what the kernel takes.  Sorted as libbpf sorts them: `.kconfig`
/// first, by alignment, size and name; then `.ksyms` by name.
pub(crate) fn collect(
    elf: &Elf<'_>,
    btf: &mut Option<Btf>,
    loader: Loader,
) -> Result<Vec<Extern>, LoadError> {
    let Some(btf) = btf else { return Ok(Vec::new()) };
    let dummy = add_dummy_ksym(btf);
    let mut externs = Vec::new();
    let index = Index::new(btf);
    for s in elf.symbols.iter().filter(|s| s.is_extern() && !s.name().is_empty()) {
        if s.name.is_none() {
            continue;
        }
        let weak = s.bind == sym::WEAK;
        externs.push(match describe(btf, &index, s.index, s.name(), weak) {
            Ok(known) => known,
            Err(e) if loader.refuses_whole_objects() => return Err(e),
            Err(e) => {
                let kind = ExternKind::Unusable(e.what);
                Extern { name: s.name().to_string(), symbol: s.index, weak, kind }
            }
        });
    }
    externs.sort_by(|a, b| sort_key(a).cmp(&sort_key(b)));
    place_kconfig(&mut externs);
    if !externs.is_empty() {
        rewrite_ksyms(btf, &externs, dummy)?;
        rewrite_kconfig(btf, &externs)?;
    }
    Ok(externs)
}

/// A section of externs that has no size yet, by its name in the object's BTF.
pub(crate) fn section_of_externs(btf: &Btf) -> Option<&str> {
    let is_one = |t: &crate::btf::Type<'_>| {
        t.kind() == BtfKind::Datasec && t.size() == 0 && [".ksyms", ".kconfig"].contains(&t.name())
    };
    btf.own_types().find(is_one).map(|t| btf.name(t.id()))
}

fn sort_key(e: &Extern) -> (u8, std::cmp::Reverse<u32>, u32, &str) {
    match &e.kind {
        ExternKind::Kconfig { size, align, .. } => (0, std::cmp::Reverse(*align), *size, &e.name),
        ExternKind::Ksym { .. } => (1, std::cmp::Reverse(0), 0, &e.name),
        ExternKind::Unusable(_) => (2, std::cmp::Reverse(0), 0, &e.name),
    }
}

/// Size of the `.kconfig` map, if any extern needs one.
pub(crate) fn kconfig_size(externs: &[Extern]) -> Option<u32> {
    externs.iter().rev().find_map(|e| match e.kind {
        ExternKind::Kconfig { size, offset, .. } => Some(offset.saturating_add(size)),
        _ => None,
    })
}

fn describe(
    btf: &Btf,
    index: &Index<'_>,
    symbol: usize,
    name: &str,
    weak: bool,
) -> Result<Extern, LoadError> {
    let err = |what: &str| fail(symbol, name, what);
    let t = index
        .named
        .get(name)
        .and_then(|id| btf.ty(*id))
        .ok_or_else(|| err("extern without BTF"))?;
    if t.linkage() != linkage::EXTERN {
        return Err(err("its BTF does not say extern"));
    }
    let section = index.section_of.get(&t.id()).ok_or_else(|| err("extern in no BTF section"))?;
    let is_func = t.kind() == BtfKind::Func;
    let kind = match btf.name(*section) {
        ".kconfig" if is_func => return Err(err("extern function in .kconfig")),
        ".kconfig" => {
            let size = btf
                .size_of(t.type_id())
                .filter(|n| *n > 0)
                .ok_or_else(|| err("cannot tell its size"))?;
            let align = btf
                .align_of(t.type_id())
                .filter(|n| *n > 0)
                .ok_or_else(|| err("cannot tell its alignment"))?;
            let ty = kconfig_type(btf, t.type_id())
                .ok_or_else(|| err("type unsupported in .kconfig"))?;
            ExternKind::Kconfig { ty, size, align, offset: 0 }
        }
        ".ksyms" => {
            let ty = btf.skip_mods_and_typedefs(t.type_id()).ok_or_else(|| err("cyclic type"))?;
            ExternKind::Ksym { type_id: ty.id(), is_func }
        }
        other => return Err(err(&format!("unrecognized extern section '{other}'"))),
    };
    Ok(Extern { name: name.to_string(), symbol, weak, kind })
}

fn kconfig_type(btf: &Btf, id: u32) -> Option<KconfigType> {
    let t = btf.skip_mods_and_typedefs(id)?;
    match t.kind() {
        BtfKind::Int => {
            let encoding = t.int()?.encoding;
            let signed = encoding & int_encoding::SIGNED != 0;
            match t.size() {
                1 if encoding & int_encoding::BOOL != 0 => Some(KconfigType::Bool),
                _ if encoding & int_encoding::BOOL != 0 => None,
                1 => Some(KconfigType::Char { signed }),
                2 | 4 | 8 => Some(KconfigType::Int { signed }),
                _ => None,
            }
        }
        BtfKind::Enum if t.size() == 4 && t.name() == "libbpf_tristate" => {
            Some(KconfigType::Tristate)
        }
        BtfKind::Enum64 if t.name() == "libbpf_tristate" => Some(KconfigType::Tristate),
        BtfKind::Array => {
            let a = t.array().filter(|a| a.nelems > 0)?;
            let elem = btf.skip_mods_and_typedefs(a.elem).filter(|e| e.kind() == BtfKind::Int)?;
            matches!(kconfig_type(btf, elem.id())?, KconfigType::Char { .. })
                .then_some(KconfigType::CharArray)
        }
        _ => None,
    }
}

fn place_kconfig(externs: &mut [Extern]) {
    let mut end = 0u32;
    for e in externs {
        if let ExternKind::Kconfig { size, align, offset, .. } = &mut e.kind {
            *offset = end.div_ceil(*align).saturating_mul(*align);
            end = offset.saturating_add(*size);
        }
    }
}

/// First INT of 32 bits.
fn int32(btf: &Btf) -> u32 {
    let is = |i: crate::btf::IntData| i.bits == 32;
    btf.own_types().find(|t| t.int().is_some_and(is)).map_or(0, |t| t.id())
}

/// A variable to stand in for kernel functions in `.ksyms`, added if there are any.
fn add_dummy_ksym(btf: &mut Btf) -> u32 {
    let has_func = btf
        .find_by_name_kind(".ksyms", BtfKind::Datasec)
        .and_then(|id| btf.ty(id))
        .is_some_and(|sec| sec.vars().any(|v| btf.kind(v.type_id) == Some(BtfKind::Func)));
    if !has_func {
        return 0;
    }
    let int = int32(btf);
    btf.add_var("dummy_ksym", linkage::GLOBAL, int)
}

/// One DATASEC row to be: its place in the record, and its three words.
type Row = (usize, [u32; 3]);

fn write_datasec(btf: &mut Btf, id: u32, rows: &[Row], size: u32) {
    let Some(words) = btf.words_mut(id) else { return };
    words[2] = size;
    for (i, row) in rows {
        if let Some(slot) = words.get_mut(3 + i * 3..6 + i * 3) {
            slot.copy_from_slice(row);
        }
    }
}

/// `.ksyms`: every variable becomes an allocated int of 4 bytes, every function the dummy variable.
fn rewrite_ksyms(btf: &mut Btf, externs: &[Extern], dummy: u32) -> Result<(), LoadError> {
    if !externs.iter().any(|e| matches!(e.kind, ExternKind::Ksym { .. })) {
        return Ok(());
    }
    let known: HashMap<&str, usize> = externs.iter().map(|e| (e.name.as_str(), e.symbol)).collect();
    let Some(sec) = btf.find_by_name_kind(".ksyms", BtfKind::Datasec) else { return Ok(()) };
    let vars: Vec<u32> =
        btf.ty(sec).map(|t| t.vars().map(|v| v.type_id).collect()).unwrap_or_default();
    let int = int32(btf);
    let dummy_name = btf.ty(dummy).map_or(0, |t| t.name_off());
    let mut rows: Vec<Row> = Vec::new();
    for (i, id) in vars.iter().enumerate() {
        let (name, kind) = (btf.name(*id).to_string(), btf.kind(*id));
        if !known.contains_key(name.as_str()) {
            return Err(LoadError::new(K::Extern, format!("no symbol for '{name}' of .ksyms")));
        }
        let mut row_type = *id;
        if kind == Some(BtfKind::Func) {
            let proto = btf.ty(*id).map_or(0, |t| t.type_id());
            if let Some(words) = btf.words_mut(proto) {
                for p in words[3..].chunks_exact_mut(2).filter(|p| p[1] != 0 && p[0] == 0) {
                    p[0] = dummy_name;
                }
            }
            row_type = dummy;
            btf.set_linkage(*id, linkage::GLOBAL);
        } else {
            btf.set_linkage(*id, linkage::GLOBAL);
            btf.set_third(*id, int);
        }
        rows.push((i, [row_type, i as u32 * 4, 4]));
    }
    write_datasec(btf, sec, &rows, vars.len() as u32 * 4);
    Ok(())
}

/// `.kconfig`: variables get the offsets they have in the map.
fn rewrite_kconfig(btf: &mut Btf, externs: &[Extern]) -> Result<(), LoadError> {
    let Some(total) = kconfig_size(externs) else { return Ok(()) };
    let Some(sec) = btf.find_by_name_kind(".kconfig", BtfKind::Datasec) else { return Ok(()) };
    let place: HashMap<&str, u32> = externs
        .iter()
        .filter_map(|e| match e.kind {
            ExternKind::Kconfig { offset, .. } => Some((e.name.as_str(), offset)),
            _ => None,
        })
        .collect();
    let vars: Vec<_> = btf.ty(sec).map(|t| t.vars().collect()).unwrap_or_default();
    let mut rows: Vec<Row> = Vec::new();
    for (i, v) in vars.iter().enumerate() {
        let name = btf.name(v.type_id);
        let offset = place.get(name).copied();
        let offset = offset.ok_or_else(|| {
            LoadError::new(K::Extern, format!("no symbol for '{name}' of .kconfig"))
        })?;
        rows.push((i, [v.type_id, offset, v.size]));
    }
    for v in &vars {
        btf.set_linkage(v.type_id, linkage::GLOBAL);
    }
    write_datasec(btf, sec, &rows, total);
    Ok(())
}
