//! The ELF container: sections, symbols, relocations of a 64-bit relocatable BPF object.
//!
//! Mirrors what libbpf takes from libelf (`bpf_object__elf_init`, `bpf_object__elf_collect`), read straight from the
//! bytes: every offset and count is checked against the file, nothing is allocated by a size the file merely claims.
//! Knows nothing of programs or maps.

use std::borrow::Cow;

use crate::error::{LoadError, LoadErrorKind as K};

/// `sh_type` values the loader tells apart.
pub mod sht {
    pub const PROGBITS: u32 = 1;
    pub const SYMTAB: u32 = 2;
    pub const STRTAB: u32 = 3;
    pub const NOBITS: u32 = 8;
    pub const REL: u32 = 9;
    pub const LLVM_ADDRSIG: u32 = 0x6fff_4c03;
}

/// `sh_flags` bits.
pub mod shf {
    pub const EXECINSTR: u64 = 4;
    pub const COMPRESSED: u64 = 1 << 11;
}

/// Symbol bindings, types and visibilities; reserved section indices.
pub mod sym {
    pub const LOCAL: u8 = 0;
    pub const GLOBAL: u8 = 1;
    pub const WEAK: u8 = 2;
    pub const NOTYPE: u8 = 0;
    pub const OBJECT: u8 = 1;
    pub const FUNC: u8 = 2;
    pub const SECTION: u8 = 3;
    pub const INTERNAL: u8 = 1;
    pub const HIDDEN: u8 = 2;
    pub const SHN_LORESERVE: usize = 0xff00;
}

const EHDR_LEN: usize = 64;
const SHDR_LEN: usize = 64;
const SYM_LEN: usize = 24;
const REL_LEN: usize = 16;
const ET_REL: u16 = 1;
const EM_BPF: u16 = 247;

/// One section header, with its bytes where the file has them.
#[derive(Clone, Debug)]
pub struct Section<'a> {
    pub index: usize,
    /// Lossy where not UTF-8.
    pub name: Cow<'a, str>,
    pub kind: u32,
    pub flags: u64,
    pub size: u64,
    pub link: usize,
    pub info: usize,
    pub entsize: u64,
    /// `None` if the header points outside the file; empty for NOBITS.
    pub data: Option<&'a [u8]>,
}

impl Section<'_> {
    pub fn is_exec(&self) -> bool {
        self.flags & shf::EXECINSTR != 0
    }
}

/// One symbol.
#[derive(Clone, Debug)]
pub struct Symbol<'a> {
    pub index: usize,
    /// Lossy where not UTF-8; `None` if the name lies outside the string table.
    pub name: Option<Cow<'a, str>>,
    pub value: u64,
    pub size: u64,
    pub bind: u8,
    pub kind: u8,
    pub visibility: u8,
    /// Section index as stored, reserved values included.
    pub shndx: usize,
    /// Name offset is 0.
    pub unnamed: bool,
}

impl Symbol<'_> {
    /// Undefined, global or weak, without type (libbpf: `sym_is_extern`).
    pub fn is_extern(&self) -> bool {
        self.shndx == 0
            && (self.bind == sym::GLOBAL || self.bind == sym::WEAK)
            && self.kind == sym::NOTYPE
    }

    /// `__hidden` or `internal`.
    pub fn is_hidden(&self) -> bool {
        self.visibility == sym::HIDDEN || self.visibility == sym::INTERNAL
    }

    pub fn name(&self) -> &str {
        self.name.as_deref().unwrap_or("<?>")
    }
}

/// One REL record.
#[derive(Clone, Copy, Debug)]
pub struct Rel {
    /// Byte offset in the section it applies to.
    pub offset: u64,
    pub symbol: usize,
}

/// A parsed object.
#[derive(Debug)]
pub struct Elf<'a> {
    pub sections: Vec<Section<'a>>,
    pub symbols: Vec<Symbol<'a>>,
    /// Index of the symbol table's section.
    pub symtab: usize,
    /// Bytes of the file.
    pub size: usize,
}

fn bytes<const N: usize>(data: &[u8], off: usize) -> Option<[u8; N]> {
    data.get(off..off.checked_add(N)?)?.try_into().ok()
}
fn u16_at(data: &[u8], off: usize) -> Option<u16> {
    bytes(data, off).map(u16::from_le_bytes)
}
fn u32_at(data: &[u8], off: usize) -> Option<u32> {
    bytes(data, off).map(u32::from_le_bytes)
}
fn u64_at(data: &[u8], off: usize) -> Option<u64> {
    bytes(data, off).map(u64::from_le_bytes)
}

fn span(data: &[u8], off: u64, len: u64) -> Option<&[u8]> {
    let start = usize::try_from(off).ok()?;
    let end = usize::try_from(off.checked_add(len)?).ok()?;
    data.get(start..end)
}

/// A table of names.  Sections and symbols may share one, but all that are read may not be longer together than
/// compilers ever make them: a file of a few MiB would otherwise stand for gigabytes.
struct Names<'a> {
    table: &'a [u8],
    /// Bytes that may still be read.
    left: usize,
}

impl<'a> Names<'a> {
    /// Bytes of names beyond the size of the file.
    const SLACK: usize = 1 << 20;

    fn new(table: &'a [u8], file: usize) -> Names<'a> {
        Names { table, left: file.saturating_add(Names::SLACK) }
    }

    /// The name at an offset; None outside the table, or without an end.
    fn at(&mut self, off: usize) -> Result<Option<Cow<'a, str>>, LoadError> {
        let Some(rest) = self.table.get(off..) else { return Ok(None) };
        let window = &rest[..rest.len().min(self.left)];
        let Some(len) = window.iter().position(|b| *b == 0) else {
            if window.len() == rest.len() {
                self.left -= rest.len();
                return Ok(None);
            }
            let what = "the names of sections and symbols are longer together than the file";
            return Err(LoadError::new(K::TooLarge, what));
        };
        self.left -= len;
        Ok(Some(String::from_utf8_lossy(&window[..len])))
    }
}

fn bad(what: &str) -> LoadError {
    LoadError::new(K::Elf, what)
}

fn check_header(data: &[u8]) -> Result<(), LoadError> {
    if data.get(..4) != Some(b"\x7fELF".as_slice()) {
        return Err(bad("not an ELF file"));
    }
    match data.get(4) {
        Some(2) => {}
        _ => return Err(LoadError::new(K::NotBpf, "not a 64-bit ELF object")),
    }
    let big = match data.get(5) {
        Some(1) => false,
        Some(2) => true,
        _ => return Err(bad("unknown byte order")),
    };
    if data.len() < EHDR_LEN {
        return Err(bad("truncated ELF header"));
    }
    let (e_type, machine) = (u16_at(data, 16).unwrap_or(0), u16_at(data, 18).unwrap_or(0));
    let (e_type, machine) =
        if big { (e_type.swap_bytes(), machine.swap_bytes()) } else { (e_type, machine) };
    // Compilers of long ago wrote no machine at all.
    if e_type != ET_REL || (machine != 0 && machine != EM_BPF) {
        let what = format!("not a relocatable BPF object (type {e_type}, machine {machine})");
        return Err(LoadError::new(K::NotBpf, what));
    }
    if big {
        return Err(LoadError::new(
            K::BigEndian,
            "big-endian object: the kernel loads its own byte order only",
        ));
    }
    Ok(())
}

impl<'a> Elf<'a> {
    pub fn parse(data: &'a [u8]) -> Result<Elf<'a>, LoadError> {
        check_header(data)?;
        let truncated = || bad("truncated ELF header");
        let shoff = u64_at(data, 40).ok_or_else(truncated)?;
        let shentsize = u16_at(data, 58).ok_or_else(truncated)? as usize;
        let mut shnum = u16_at(data, 60).ok_or_else(truncated)? as u64;
        let mut shstrndx = u16_at(data, 62).ok_or_else(truncated)? as usize;
        if shoff == 0 || shentsize != SHDR_LEN {
            return Err(bad("no section headers"));
        }
        // Counts that do not fit the header are in section 0.
        let first = span(data, shoff, SHDR_LEN as u64)
            .ok_or_else(|| bad("section headers outside the file"))?;
        if shnum == 0 {
            shnum = u64_at(first, 32).unwrap_or(0);
        }
        if shstrndx == 0xffff {
            shstrndx = u32_at(first, 40).unwrap_or(0) as usize;
        }
        let table_len = shnum
            .checked_mul(SHDR_LEN as u64)
            .ok_or_else(|| bad("section headers outside the file"))?;
        let table =
            span(data, shoff, table_len).ok_or_else(|| bad("section headers outside the file"))?;
        let headers: Vec<&[u8]> = table.chunks_exact(SHDR_LEN).collect();
        let names = headers
            .get(shstrndx)
            .and_then(|h| span(data, u64_at(h, 24)?, u64_at(h, 32)?))
            .ok_or_else(|| bad("section names missing or outside the file"))?;
        let mut names = Names::new(names, data.len());
        let mut sections = Vec::with_capacity(headers.len());
        for (index, h) in headers.iter().enumerate() {
            sections.push(parse_section(data, &mut names, index, h)?);
        }
        let (symtab, symbols) = parse_symbols(&sections, data.len())?;
        Ok(Elf { sections, symbols, symtab, size: data.len() })
    }

    pub fn section(&self, index: usize) -> Option<&Section<'a>> {
        self.sections.get(index)
    }

    /// First section of this name.
    pub fn section_by_name(&self, name: &str) -> Option<&Section<'a>> {
        self.sections.iter().skip(1).find(|s| s.name == name)
    }

    /// Name of a section for messages.
    pub fn section_name(&self, index: usize) -> &str {
        self.sections.get(index).map_or("<?>", |s| &s.name)
    }

    /// Bytes of a section that has to be readable.
    pub fn data(&self, s: &Section<'a>) -> Result<&'a [u8], LoadError> {
        if s.flags & shf::COMPRESSED != 0 {
            return Err(
                LoadError::new(K::Compressed, "compressed section").in_section(s.index, &s.name)
            );
        }
        s.data.ok_or_else(|| bad("section lies outside the file").in_section(s.index, &s.name))
    }

    /// REL records of a section, checked to be of the right size.
    pub fn rels(&self, s: &Section<'a>) -> Result<impl Iterator<Item = Rel> + 'a, LoadError> {
        let data = self.data(s)?;
        if s.entsize != REL_LEN as u64 || s.info >= self.sections.len() {
            return Err(bad("malformed relocation section").in_section(s.index, &s.name));
        }
        Ok(data.chunks_exact(REL_LEN).map(|r| {
            let info = u64_at(r, 8).unwrap_or(0);
            // The low half is the relocation type, which decides nothing: instruction and symbol do.
            Rel { offset: u64_at(r, 0).unwrap_or(0), symbol: (info >> 32) as usize }
        }))
    }
}

fn parse_section<'a>(
    data: &'a [u8],
    names: &mut Names<'a>,
    index: usize,
    h: &'a [u8],
) -> Result<Section<'a>, LoadError> {
    let truncated = || bad("truncated section header");
    let word = |off| u32_at(h, off).ok_or_else(truncated);
    let long = |off| u64_at(h, off).ok_or_else(truncated);
    let name = names.at(word(0)? as usize)?;
    // Only the name of section 0 may be anything.
    let name = match name {
        Some(n) => n,
        None if index == 0 => Cow::Borrowed(""),
        None => return Err(bad(&format!("section {index}: name outside the name table"))),
    };
    let (kind, offset, size) = (word(4)?, long(24)?, long(32)?);
    let body = if kind == sht::NOBITS { Some(&data[..0]) } else { span(data, offset, size) };
    Ok(Section {
        index,
        name,
        kind,
        flags: long(8)?,
        size,
        link: word(40)? as usize,
        info: word(44)? as usize,
        entsize: long(56)?,
        data: body,
    })
}

fn parse_symbols<'a>(
    sections: &[Section<'a>],
    file: usize,
) -> Result<(usize, Vec<Symbol<'a>>), LoadError> {
    let mut tables = sections.iter().skip(1).filter(|s| s.kind == sht::SYMTAB);
    let Some(table) = tables.next() else {
        return Err(LoadError::new(K::Symbols, "no symbol table, stripped object?"));
    };
    let at = |e: LoadError| e.in_section(table.index, &table.name);
    if let Some(second) = tables.next() {
        let e = LoadError::new(K::Symbols, "more than one symbol table");
        return Err(e.in_section(second.index, &second.name));
    }
    let data = table
        .data
        .ok_or_else(|| at(LoadError::new(K::Symbols, "symbol table outside the file")))?;
    if table.entsize != SYM_LEN as u64 {
        return Err(at(LoadError::new(K::Symbols, "symbols of unexpected size")));
    }
    let strings = sections
        .get(table.link)
        .filter(|s| table.link != 0 && s.kind == sht::STRTAB)
        .and_then(|s| s.data)
        .ok_or_else(|| at(LoadError::new(K::Symbols, "symbol names missing or invalid")))?;
    let mut names = Names::new(strings, file);
    let symbol = |(index, s): (usize, &'a [u8])| {
        let name_off = u32_at(s, 0).unwrap_or(0) as usize;
        Ok(Symbol {
            index,
            name: names.at(name_off)?,
            value: u64_at(s, 8).unwrap_or(0),
            size: u64_at(s, 16).unwrap_or(0),
            bind: s[4] >> 4,
            kind: s[4] & 0xf,
            visibility: s[5] & 3,
            shndx: u16_at(s, 6).unwrap_or(0) as usize,
            unnamed: name_off == 0,
        })
    };
    let symbols: Result<Vec<_>, LoadError> =
        data.chunks_exact(SYM_LEN).enumerate().map(symbol).collect();
    Ok((table.index, symbols.map_err(at)?))
}
