//! The sections DWARF is in, with a base address of its own for every section of code.

use crate::elf::{sht, Elf};

/// Code of different sections lies this far apart.
const APART: u32 = 32;

#[derive(Debug, Default)]
pub struct Sections {
    debug: Vec<Raw>,
    /// Names of sections with code, and their index.
    code: Vec<(String, usize)>,
    /// Value and section of every symbol.
    symbols: Vec<(u64, usize)>,
}

#[derive(Debug)]
struct Raw {
    name: String,
    bytes: Vec<u8>,
    /// Where a symbol is to be added, how many bytes wide, and which.
    relocations: Vec<(usize, usize, usize)>,
}

impl Sections {
    pub fn of(elf: &Elf<'_>) -> Option<Sections> {
        let is_debug = |n: &str| n.starts_with(".debug_");
        let mut out = Sections::default();
        for s in elf.sections.iter().filter(|s| is_debug(&s.name)) {
            // Compressed sections have no bytes to read here.
            let Ok(bytes) = elf.data(s) else { continue };
            let applied = elf.sections.iter().filter(|r| r.kind == sht::REL && r.info == s.index);
            let mut relocations = Vec::new();
            for rel in applied.filter_map(|r| elf.data(r).ok()) {
                relocations.extend(rel.chunks_exact(16).filter_map(relocation));
            }
            out.debug.push(Raw { name: s.name.to_string(), bytes: bytes.to_vec(), relocations });
        }
        if !out.debug.iter().any(|r| r.name == ".debug_info" && !r.bytes.is_empty()) {
            return None;
        }
        let code = elf.sections.iter().filter(|s| s.is_exec());
        out.code = code.map(|s| (s.name.to_string(), s.index)).collect();
        out.symbols = elf.symbols.iter().map(|s| (s.value, s.shndx)).collect();
        Some(out)
    }

    /// Address of the first byte of a section of code.
    pub fn base_of(&self, section: &str) -> Option<u64> {
        let (_, index) = self.code.iter().find(|(n, _)| n == section)?;
        Some((*index as u64) << APART)
    }

    /// A section's bytes with its relocations applied; empty if there is none.
    pub fn relocated(&self, name: &str) -> Vec<u8> {
        let Some(raw) = self.debug.iter().find(|r| r.name == name) else { return Vec::new() };
        let mut bytes = raw.bytes.clone();
        for &(at, width, symbol) in &raw.relocations {
            let Some((value, section)) = self.symbols.get(symbol) else { continue };
            let Some(field) = bytes.get_mut(at..at.saturating_add(width)) else { continue };
            let is_code = self.code.iter().any(|(_, index)| index == section);
            let base = if is_code { (*section as u64) << APART } else { 0 };
            let mut whole = [0; 8];
            whole[..width].copy_from_slice(field);
            let sum = u64::from_le_bytes(whole).wrapping_add(*value).wrapping_add(base);
            field.copy_from_slice(&sum.to_le_bytes()[..width]);
        }
        bytes
    }
}

/// Offset, width and symbol of a REL record that stands for an address or an offset.
fn relocation(record: &[u8]) -> Option<(usize, usize, usize)> {
    const ABS64: u64 = 2;
    const ABS32: u64 = 3;
    let word = |at: usize| record.get(at..at + 8)?.try_into().ok().map(u64::from_le_bytes);
    let (offset, info) = (word(0)?, word(8)?);
    let width = match info & 0xffff_ffff {
        ABS64 => 8,
        ABS32 => 4,
        _ => return None,
    };
    Some((usize::try_from(offset).ok()?, width, (info >> 32) as usize))
}
