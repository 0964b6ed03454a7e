//! First half of loading, the same for every kernel: which programs, maps and externs an object has.
//!
//! Mirrors `bpf_object_open` of `tools/lib/bpf/libbpf.c` in its order: sections, externs, BTF fixups, maps,
//! program types, relocations.  What depends on a kernel is [`crate::link`]'s business.

use std::collections::HashMap;
use std::sync::Arc;

use bpfassay_isa::RawInsn;
use bpfassay_spec::{AttachType, ProgType, SectionDef};

use crate::btf::Btf;
use crate::btf_ext::BtfExt;
use crate::debug::Debug;
use crate::elf::{sht, sym, Elf, Section};
use crate::error::{LoadError, LoadErrorKind as K};
use crate::externs::{self, Extern};
use crate::loader::{Loader, Refusals};
use crate::maps::{self, MapSource};
use crate::program_override::AttachProgram;
use crate::reloc::{self, Reloc};
use crate::struct_ops;
use crate::{data_sections, programs};

/// Bytes of one instruction slot.
pub(crate) const INSN_LEN: usize = 8;
/// libbpf keeps 63 bytes of the licence.
const LICENSE_MAX: usize = 63;
/// Bytes of a name the kernel keeps (`BPF_OBJ_NAME_LEN` less the zero).
pub(crate) const NAME_MAX: usize = 15;

/// A function of the object: an entry program, or a subprogram in `.text`.
#[derive(Clone, Debug)]
pub(crate) struct Func {
    pub name: String,
    /// ELF section index.
    pub section: usize,
    /// Without a leading `?`.
    pub section_name: String,
    /// First slot in its section.
    pub insn_off: usize,
    /// As in the file, relocations not applied.
    pub insns: Vec<RawInsn>,
    pub relocs: Vec<Reloc>,
    /// False for `SEC("?…")`.
    pub autoload: bool,
    pub is_global: bool,
    /// Global in the file, but `__hidden`: static for the verifier.
    pub is_hidden: bool,
    pub prog_type: Option<ProgType>,
    pub attach_type: Option<AttachType>,
    /// Set by the application in place of the section's.
    pub attach_target: Option<String>,
    pub attach_program: Option<AttachProgram>,
    pub def: Option<&'static SectionDef>,
}

/// What a section is used for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum SectionUse {
    None,
    Data,
    Rodata,
    Bss,
    /// `.percpu`
    Percpu,
    StructOps,
    LegacyMaps,
    Relocs,
}

/// Sections of the object by use.
#[derive(Debug)]
pub(crate) struct Layout {
    pub uses: Vec<SectionUse>,
    /// `.text`, 0 if there is none.
    pub text: usize,
    /// `.maps`.
    pub maps: Option<usize>,
    /// `.addr_space.1`.
    pub arena: Option<usize>,
    /// `.jumptables`.
    pub jump_tables: Option<usize>,
    /// The symbol table's section, which stands for `.kconfig`.
    pub symtab: usize,
}

/// An object read and understood, before any kernel is chosen.
///
/// Settings that libbpf takes between open and load (program types, values of global variables) are made here; then
/// [`Opened::link`] makes the programs.
#[derive(Clone, Debug)]
pub struct Opened {
    pub(crate) name: String,
    pub(crate) license: String,
    pub(crate) version: Option<u32>,
    /// Ascending by section and offset.
    pub(crate) funcs: Vec<Func>,
    pub(crate) text: usize,
    pub(crate) btf: Option<Btf>,
    pub(crate) ext: Option<BtfExt>,
    pub(crate) maps: Vec<MapSource>,
    pub(crate) externs: Vec<Extern>,
    pub(crate) kconfig_map: Option<usize>,
    /// Contents of `.jumptables`.
    pub(crate) jump_tables: Vec<u8>,
    pub(crate) notes: Vec<String>,
    pub(crate) loader: Loader,
    /// What costs its own programs only.
    pub(crate) refusals: Vec<LoadError>,
    pub(crate) debug: Option<Arc<Debug>>,
}

/// The name libbpf gives an object: its file name up to the first dot, at most 15 bytes.
pub fn object_name(file_name: &[u8]) -> String {
    let base = file_name.rsplit(|b| *b == b'/').next().unwrap_or(file_name);
    let base = &base[..base.len().min(NAME_MAX)];
    let stem = base.split(|b| *b == b'.').next().unwrap_or(base);
    // Whatever is not a letter, digit, dot or underscore becomes an underscore in map names, byte by byte.
    stem.iter()
        .map(|b| if b.is_ascii_alphanumeric() || *b == b'_' { *b as char } else { '_' })
        .collect()
}

/// Sections libbpf does not look at (`ignore_elf_section`).
fn is_ignored(s: &Section<'_>) -> bool {
    let name: &str = &s.name;
    let debug = |n: &str| n.starts_with(".debug_");
    let rel_ignored =
        name.strip_prefix(".rel").is_some_and(|of| debug(of) || of == ".BTF" || of == ".BTF.ext");
    s.kind == sht::STRTAB
        || s.kind == sht::LLVM_ADDRSIG
        || (s.kind == sht::PROGBITS && s.size == 0 && name == ".text")
        || debug(name)
        || rel_ignored
}

fn is_or_dotted(name: &str, stem: &str) -> bool {
    name.strip_prefix(stem).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

const STRUCT_OPS: [&str; 4] =
    [".struct_ops", ".struct_ops.link", "?.struct_ops", "?.struct_ops.link"];

/// What the first pass over the sections finds.
struct Found<'a> {
    layout: Layout,
    license: String,
    version: Option<u32>,
    btf: Option<&'a [u8]>,
    btf_ext: Option<&'a [u8]>,
    funcs: Vec<Func>,
    /// Bytes of section names that functions may still repeat.
    names_left: usize,
}

fn survey<'a>(elf: &Elf<'a>, loader: Loader) -> Result<Found<'a>, LoadError> {
    let mut f = Found {
        layout: Layout {
            uses: vec![SectionUse::None; elf.sections.len()],
            text: 0,
            maps: None,
            arena: None,
            jump_tables: None,
            symtab: elf.symtab,
        },
        license: loader.default_license().to_string(),
        version: None,
        btf: None,
        btf_ext: None,
        funcs: Vec::new(),
        names_left: elf.size.saturating_add(1 << 16),
    };
    let by_section = programs::function_symbols(elf);
    for s in elf.sections.iter().skip(1).filter(|s| !is_ignored(s)) {
        let data = elf.data(s)?;
        let fail = |what: &str| LoadError::new(K::Metadata, what).in_section(s.index, &s.name);
        match &*s.name {
            "license" => {
                let text = data.split(|b| *b == 0).next().unwrap_or(data);
                f.license =
                    String::from_utf8_lossy(&text[..text.len().min(LICENSE_MAX)]).into_owned();
            }
            "version" => {
                let word: [u8; 4] =
                    data.try_into().map_err(|_| fail("kernel version is not 4 bytes"))?;
                f.version = Some(u32::from_le_bytes(word));
            }
            name if loader.is_legacy_maps(name) => {
                f.layout.uses[s.index] = SectionUse::LegacyMaps;
            }
            "maps" => {
                let what =
                    "legacy map definitions in 'maps' section are not supported by libbpf v1.0+";
                return Err(LoadError::new(K::LegacyMaps, what).in_section(s.index, &s.name));
            }
            ".maps" => f.layout.maps = Some(s.index),
            ".BTF" | ".BTF.ext" if s.kind != sht::PROGBITS => {
                return Err(
                    LoadError::new(K::Btf, "not a data section").in_section(s.index, &s.name)
                );
            }
            ".BTF" => f.btf = Some(data),
            ".BTF.ext" => f.btf_ext = Some(data),
            _ => survey_other(elf, s, data, &by_section, loader, &mut f)?,
        }
    }
    // Stable, so that two functions at one place stay in symbol order.
    f.funcs.sort_by_key(|p| (p.section, p.insn_off));
    Ok(f)
}

fn survey_other<'a>(
    elf: &Elf<'a>,
    s: &Section<'a>,
    data: &'a [u8],
    by_section: &HashMap<usize, Vec<usize>>,
    loader: Loader,
    f: &mut Found<'a>,
) -> Result<(), LoadError> {
    let name: &str = &s.name;
    let mut mark = |u| f.layout.uses[s.index] = u;
    match s.kind {
        sht::PROGBITS if !data.is_empty() => {
            if s.is_exec() {
                if name == ".text" {
                    f.layout.text = s.index;
                }
                let symbols = by_section.get(&s.index).map_or(&[][..], |v| v);
                let (names, funcs) = (&mut f.names_left, &mut f.funcs);
                programs::add(elf, s, data, f.layout.text, symbols, loader, names, funcs)?;
            } else if is_or_dotted(name, ".data") {
                mark(SectionUse::Data);
            } else if is_or_dotted(name, ".rodata") {
                mark(SectionUse::Rodata);
            } else if is_or_dotted(name, ".percpu") {
                mark(SectionUse::Percpu);
            } else if STRUCT_OPS.contains(&name) {
                mark(SectionUse::StructOps);
            } else if name == ".addr_space.1" {
                f.layout.arena = Some(s.index);
            } else if name == ".jumptables" {
                f.layout.jump_tables = Some(s.index);
            }
        }
        sht::REL => {
            // Refused here if malformed, whatever it applies to.
            drop(elf.rels(s)?);
            let wanted = |of: &str| of == ".maps" || STRUCT_OPS.contains(&of);
            let applies = elf.section(s.info).is_some_and(Section::is_exec);
            if applies || name.strip_prefix(".rel").is_some_and(wanted) {
                mark(SectionUse::Relocs);
            }
        }
        sht::NOBITS if is_or_dotted(name, ".bss") => mark(SectionUse::Bss),
        _ => {}
    }
    Ok(())
}

impl Opened {
    /// Reads an object by the rules of any loader.  `name` is its file name (or path), which shows in the names of
    /// data maps.
    pub fn parse(bytes: &[u8], name: impl AsRef<[u8]>) -> Result<Opened, LoadError> {
        Opened::parse_for(bytes, name, Loader::Any)
    }

    /// As [`Opened::parse`], by the rules of one loader.
    pub fn parse_for(
        bytes: &[u8],
        name: impl AsRef<[u8]>,
        loader: Loader,
    ) -> Result<Opened, LoadError> {
        let elf = Elf::parse(bytes)?;
        let mut refusals = Refusals::new(loader);
        let found = survey(&elf, loader)?;
        let layout = found.layout;
        let has_struct_ops = layout.uses.contains(&SectionUse::StructOps);
        let has_externs = elf.symbols.iter().any(|s| s.is_extern() && !s.name().is_empty());
        let needs_btf = layout.maps.is_some() || has_struct_ops || has_externs;
        let mut btf = match found.btf.map(|b| Btf::parse(b, None)) {
            Some(Ok(b)) if !b.is_big_endian() => Some(b),
            Some(Ok(_)) => {
                return Err(LoadError::new(
                    K::BigEndian,
                    "big-endian .BTF in a little-endian object",
                ))
            }
            Some(Err(e)) if needs_btf => return Err(LoadError::new(K::Btf, e.to_string())),
            None if needs_btf => {
                return Err(LoadError::new(K::Btf, "BTF is required, but is missing"))
            }
            _ => None,
        };
        let ext = match (&btf, found.btf_ext) {
            (Some(b), Some(data)) => BtfExt::parse(data, b, &elf),
            _ => None,
        };
        let mut notes = Vec::new();
        if found.btf_ext.is_some() && ext.is_none() {
            if needs_btf {
                return Err(LoadError::new(K::Btf, "BTF is required, but .BTF.ext is corrupted"));
            }
            notes.push(".BTF.ext is unusable and ignored".to_string());
        }
        if let Some(section) = btf.as_ref().and_then(externs::section_of_externs) {
            if loader.refuses_externs() {
                let what = format!("this loader cannot tell the size of section `{section}`");
                return Err(LoadError::new(K::Btf, what));
            }
        }
        let externs = externs::collect(&elf, &mut btf, loader)?;
        if let Some(b) = &mut btf {
            data_sections::fix_up(&elf, b)?;
        }
        let name = object_name(name.as_ref());
        let mut maps = maps::collect(&elf, &layout, btf.as_ref(), &name, &externs, &mut refusals)?;
        let jump_tables = match layout.jump_tables.and_then(|i| elf.section(i)) {
            Some(section) => elf.data(section)?.to_vec(),
            None => Vec::new(),
        };
        let kconfig_map = maps.iter().position(|m| m.kind == maps::MapKind::Kconfig);
        let mut funcs = found.funcs;
        programs::set_types(&mut funcs, layout.text, loader);
        struct_ops::collect(&elf, &layout, btf.as_ref(), &mut maps)?;
        reloc::collect(
            &elf,
            &layout,
            btf.as_ref(),
            &externs,
            &mut funcs,
            &mut maps,
            &mut refusals,
        )?;
        Ok(Opened {
            name,
            license: found.license,
            version: found.version,
            funcs,
            text: layout.text,
            btf,
            ext,
            maps,
            externs,
            kconfig_map,
            jump_tables,
            notes,
            loader,
            refusals: refusals.list,
            debug: Debug::of(&elf).map(Arc::new),
        })
    }

    /// Names and sections of the entry programs, in the order libbpf lists them.
    pub fn programs(&self) -> impl Iterator<Item = (&str, &str)> + '_ {
        self.entries().map(|(_, f)| (f.name.as_str(), f.section_name.as_str()))
    }

    pub(crate) fn entries(&self) -> impl Iterator<Item = (usize, &Func)> + '_ {
        self.funcs.iter().enumerate().filter(|(_, f)| !self.is_subprog(f))
    }

    /// Names of its programs, in the file's order.
    pub fn program_names(&self) -> impl Iterator<Item = &str> + '_ {
        self.entries().map(|(_, f)| f.name.as_str())
    }

    pub(crate) fn is_subprog(&self, f: &Func) -> bool {
        self.text != 0 && f.section == self.text
    }

    /// The object's name as it shows in map names.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The object's BTF after the loader's fixups that no kernel influences.
    pub fn btf(&self) -> Option<&Btf> {
        self.btf.as_ref()
    }

    /// Sets the type of every program called `name` (`bpf_program__set_type`).  False if there is none.
    pub fn set_type(
        &mut self,
        name: &str,
        prog_type: ProgType,
        attach_type: Option<AttachType>,
    ) -> bool {
        let text = self.text;
        let mut any = false;
        for f in
            self.funcs.iter_mut().filter(|f| f.name == name && (text == 0 || f.section != text))
        {
            f.prog_type = Some(prog_type);
            f.attach_type = attach_type;
            any = true;
        }
        any
    }

    /// The function at a slot of a section (libbpf: `find_prog_by_sec_insn`).
    pub(crate) fn func_at(&self, section: usize, slot: usize) -> Option<usize> {
        find_func(&self.funcs, section, slot)
    }
}

/// The last function that starts at or before a slot of a section, if the slot is in it.
pub(crate) fn find_func(funcs: &[Func], section: usize, slot: usize) -> Option<usize> {
    let after = funcs.partition_point(|f| (f.section, f.insn_off) <= (section, slot));
    let i = after.checked_sub(1)?;
    let f = funcs.get(i)?;
    (f.section == section && slot - f.insn_off < f.insns.len()).then_some(i)
}

/// True for symbols that libbpf takes as variables of a data section.
pub(crate) fn is_variable(s: &crate::elf::Symbol<'_>) -> bool {
    s.kind == sym::OBJECT && (s.bind == sym::GLOBAL || s.bind == sym::WEAK)
}
