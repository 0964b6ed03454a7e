//! ELF relocations of code and of map definitions, recorded for later
//! (libbpf: `bpf_object__collect_relos`, `bpf_program__record_reloc`, `bpf_object__collect_map_relos`).
//!
//! libbpf goes by instruction and symbol, not by relocation type: `R_BPF_64_64`, `R_BPF_64_32` and the rest are told
//! apart by where they stand.  Relocations of sections without code or maps (`R_BPF_64_ABS64`, `ABS32`, `NODYLD32` in
//! debug info, BTF and data) change nothing the kernel sees and are left alone, as there.

use std::collections::HashMap;

use bpfassay_isa::opcode;
use bpfassay_spec::MapType;

use crate::btf::{Btf, BtfKind};
use crate::elf::{sym, Elf, Rel, Section, Symbol};
use crate::error::{LoadError, LoadErrorKind as K};
use crate::externs::Extern;
use crate::loader::Refusals;
use crate::maps::{MapKind, MapSource, Slot};
use crate::open::{find_func, Func, Layout, SectionUse, INSN_LEN};
use crate::struct_ops;

/// Bound on the slots one definition may name.
const MAX_SLOTS: u64 = 1 << 20;
/// `BPF_PSEUDO_CALL`.
pub(crate) const PSEUDO_CALL: u8 = 1;

/// What a relocated instruction refers to.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Target {
    /// Map, by index.
    Map(usize),
    /// Subprogram call; symbol's byte offset in `.text`.
    Call(u64),
    /// Data section's map and the symbol's offset in it.
    Data(usize, u64),
    /// Extern loaded by LD_IMM64.
    ExternLoad(usize),
    /// Kernel function called.
    ExternCall(usize),
    /// Subprogram's address; symbol's byte offset in `.text`.
    SubprogAddr(u64),
    /// Jump table: the symbol's offset in `.jumptables` and its size.
    JumpTable(u64, u64),
    /// What cannot be referred to: number of the refusal.
    Refused(usize),
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Reloc {
    /// Slot within the function.
    pub insn: usize,
    pub target: Target,
    /// Number in its ELF section.
    pub number: usize,
}

impl Reloc {
    /// The map referred to, if one is.
    pub fn map(&self) -> Option<usize> {
        match self.target {
            Target::Map(i) | Target::Data(i, _) => Some(i),
            _ => None,
        }
    }
}

/// What one relocation is decided by.
struct Context<'a, 'b> {
    elf: &'a Elf<'b>,
    layout: &'a Layout,
    extern_of: HashMap<usize, usize>,
    /// User maps by (section, offset).
    map_at: HashMap<(usize, u64), usize>,
    /// Data maps by section.
    data_map: HashMap<usize, usize>,
    arena_map: Option<usize>,
}

pub(crate) fn collect(
    elf: &Elf<'_>,
    layout: &Layout,
    btf: Option<&Btf>,
    externs: &[Extern],
    funcs: &mut [Func],
    maps: &mut [MapSource],
    refusals: &mut Refusals,
) -> Result<(), LoadError> {
    let mut ctx = Context {
        elf,
        layout,
        extern_of: externs.iter().enumerate().map(|(i, e)| (e.symbol, i)).collect(),
        map_at: HashMap::new(),
        data_map: HashMap::new(),
        arena_map: maps.iter().position(|m| m.def.map_type == MapType::Arena),
    };
    for (i, m) in maps.iter().enumerate() {
        match m.kind {
            MapKind::User => drop(ctx.map_at.entry((m.section, m.offset)).or_insert(i)),
            k if k.is_internal() => drop(ctx.data_map.entry(m.section).or_insert(i)),
            _ => {}
        }
    }
    for s in elf.sections.iter().filter(|s| layout.uses[s.index] == SectionUse::Relocs) {
        if layout.uses.get(s.info) == Some(&SectionUse::StructOps) {
            struct_ops::relocate(elf, s, btf, funcs, maps)?;
        } else if layout.maps == Some(s.info) {
            map_relocs(&ctx, s, btf, funcs, maps, refusals)?;
        } else {
            code_relocs(&ctx, s, funcs, refusals)?;
        }
    }
    for f in funcs {
        f.relocs.sort_by_key(|r| (r.insn, r.target));
    }
    Ok(())
}

/// A relocation with its symbol, or the error that there is none.
pub(crate) fn symbol_of<'a, 'b>(
    elf: &'a Elf<'b>,
    s: &Section<'_>,
    number: usize,
    rel: Rel,
) -> Result<&'a Symbol<'b>, LoadError> {
    elf.symbols.get(rel.symbol).ok_or_else(|| {
        LoadError::new(K::Relocation, format!("symbol {} does not exist", rel.symbol))
            .in_section(s.index, &s.name)
            .at_relocation(number)
    })
}

fn code_relocs(
    ctx: &Context<'_, '_>,
    s: &Section<'_>,
    funcs: &mut [Func],
    refusals: &mut Refusals,
) -> Result<(), LoadError> {
    let elf = ctx.elf;
    let section_len = elf.section(s.info).map_or(0, |t| t.size);
    let section = elf.section(s.index).unwrap_or(s);
    for (number, rel) in elf.rels(section)?.enumerate() {
        let misplaced = rel.offset % INSN_LEN as u64 != 0 || rel.offset >= section_len;
        let slot = rel.offset as usize / INSN_LEN;
        let func = find_func(funcs, s.info, slot);
        let target = match code_target(ctx, s, number, rel, misplaced, func.map(|i| &funcs[i])) {
            Ok(target) => target,
            Err(e) => Some(Target::Refused(refusals.put(e)?)),
        };
        let (Some(i), Some(target)) = (func, target) else { continue };
        let f = &mut funcs[i];
        f.relocs.push(Reloc { insn: slot - f.insn_off, target, number });
    }
    Ok(())
}

/// What one relocation of code refers to; None for code that no symbol covers.
fn code_target(
    ctx: &Context<'_, '_>,
    s: &Section<'_>,
    number: usize,
    rel: Rel,
    misplaced: bool,
    func: Option<&Func>,
) -> Result<Option<Target>, LoadError> {
    let elf = ctx.elf;
    let symbol = symbol_of(elf, s, number, rel)?;
    // A static function is named by its section.
    let name = match symbol.kind {
        sym::SECTION if symbol.unnamed => elf.section_name(symbol.shndx),
        _ => symbol.name(),
    };
    let fail = |what: String| {
        LoadError::new(K::Relocation, what)
            .in_section(s.index, &s.name)
            .at_relocation(number)
            .at_symbol(symbol.index, name)
    };
    if symbol.shndx >= elf.sections.len() {
        return Err(fail(format!("symbol in section {}, which does not exist", symbol.shndx)));
    }
    if misplaced {
        return Err(fail(format!("invalid offset {:#x}", rel.offset)));
    }
    // Code that no symbol covers was a weak function, overridden when objects were linked.
    let Some(f) = func else { return Ok(None) };
    let insn = rel.offset as usize / INSN_LEN - f.insn_off;
    let at = |e: LoadError| e.in_program(&f.name).at_insn(insn);
    let target = classify(ctx, f, insn, symbol).map_err(|what| at(fail(what)))?;
    if !matches!(target, Target::Call(_) | Target::ExternCall(_)) && insn + 1 >= f.insns.len() {
        return Err(at(fail("LD_IMM64 lacks its second half".to_string())));
    }
    Ok(Some(target))
}

fn classify(
    ctx: &Context<'_, '_>,
    f: &Func,
    insn: usize,
    symbol: &Symbol<'_>,
) -> Result<Target, String> {
    let raw = f.insns.get(insn).copied().unwrap_or_default();
    let is_call = raw.code == opcode::CALL;
    if !is_call && !raw.is_ld_imm64() {
        return Err(format!("instruction {:#04x} takes no relocation", raw.code));
    }
    if symbol.is_extern() {
        let i = ctx.extern_of.get(&symbol.index).copied();
        let i = i.ok_or_else(|| "extern is not known".to_string())?;
        return Ok(if is_call { Target::ExternCall(i) } else { Target::ExternLoad(i) });
    }
    let text = ctx.layout.text;
    if is_call {
        if raw.src != PSEUDO_CALL {
            return Err("incorrect bpf_call opcode".to_string());
        }
        if symbol.shndx == 0 || symbol.shndx != text {
            return Err(format!("bad call into section '{}'", ctx.elf.section_name(symbol.shndx)));
        }
        if !symbol.value.is_multiple_of(INSN_LEN as u64) {
            return Err(format!("bad call at offset {}", symbol.value));
        }
        return Ok(Target::Call(symbol.value));
    }
    if symbol.shndx == 0 || symbol.shndx >= sym::SHN_LORESERVE {
        return Err(format!(
            "special section {:#x}; forgot to initialize global var?",
            symbol.shndx
        ));
    }
    let is_subprog = symbol.shndx == text
        && match symbol.bind {
            sym::LOCAL => symbol.kind == sym::SECTION,
            sym::GLOBAL | sym::WEAK => symbol.kind == sym::FUNC,
            _ => false,
        };
    if is_subprog {
        if !symbol.value.is_multiple_of(INSN_LEN as u64) || raw.imm % INSN_LEN as i32 != 0 {
            return Err(format!("bad subprog address at offset {}+{}", symbol.value, raw.imm));
        }
        return Ok(Target::SubprogAddr(symbol.value));
    }
    if ctx.layout.arena == Some(symbol.shndx) {
        let map = ctx.arena_map.ok_or_else(|| "arena data without an ARENA map".to_string())?;
        return Ok(Target::Data(map, symbol.value));
    }
    if ctx.layout.jump_tables == Some(symbol.shndx) {
        return Ok(Target::JumpTable(symbol.value, symbol.size));
    }
    let section = ctx.elf.section_name(symbol.shndx);
    match ctx.layout.uses.get(symbol.shndx) {
        Some(SectionUse::Data | SectionUse::Rodata | SectionUse::Bss | SectionUse::Percpu) => {
            let map = ctx.data_map.get(&symbol.shndx).copied();
            map.map(|m| Target::Data(m, symbol.value))
                .ok_or_else(|| format!("no map for section '{section}'"))
        }
        Some(SectionUse::LegacyMaps) => {
            // A map that is static goes by its section and the offset in the instruction.
            let addend = if symbol.kind == sym::SECTION { raw.imm as u32 as u64 } else { 0 };
            let map = ctx.map_at.get(&(symbol.shndx, symbol.value + addend)).copied();
            map.map(Target::Map).ok_or_else(|| format!("no map at this offset of '{section}'"))
        }
        _ if ctx.layout.maps == Some(symbol.shndx) => {
            let map = ctx.map_at.get(&(symbol.shndx, symbol.value)).copied();
            map.map(Target::Map)
                .ok_or_else(|| format!("no map at offset {} of '{section}'", symbol.value))
        }
        _ if symbol.shndx == ctx.layout.symtab => {
            Err(format!("bad data relo against section '{section}'"))
        }
        _ => Err(format!("bad map relo in section '{section}'")),
    }
}

/// Initial slots of maps of maps and program arrays.
fn map_relocs(
    ctx: &Context<'_, '_>,
    s: &Section<'_>,
    btf: Option<&Btf>,
    funcs: &[Func],
    maps: &mut [MapSource],
    refusals: &mut Refusals,
) -> Result<(), LoadError> {
    let elf = ctx.elf;
    let section = elf.section(s.index).unwrap_or(s);
    let mut by_offset: Vec<(u64, usize)> = maps
        .iter()
        .enumerate()
        .filter(|(_, m)| m.kind == MapKind::User)
        .map(|(i, m)| (m.offset, i))
        .collect();
    by_offset.sort_unstable();
    let mut by_name: HashMap<String, usize> = HashMap::new();
    for (i, m) in maps.iter().enumerate() {
        by_name.entry(m.def.source_name.clone()).or_insert(i);
    }
    for (number, rel) in elf.rels(section)?.enumerate() {
        let before = by_offset.partition_point(|(off, _)| *off <= rel.offset);
        let holder = before.checked_sub(1).map(|i| by_offset[i].1);
        let holder = holder
            .filter(|i| rel.offset.saturating_add(8) <= maps[*i].offset + maps[*i].size as u64);
        match map_slot(ctx, s, (number, rel), btf, funcs, (maps, holder), &by_name) {
            Ok((holder, slot)) => maps[holder].slots.push(slot),
            Err(e) => {
                let refused = refusals.put(e)?;
                if let Some(map) = holder.and_then(|i| maps.get_mut(i)) {
                    map.refused.get_or_insert(refused);
                }
            }
        }
    }
    Ok(())
}

/// The slot that one relocation of `.maps` fills, of the map that holds it.
fn map_slot(
    ctx: &Context<'_, '_>,
    s: &Section<'_>,
    (number, rel): (usize, Rel),
    btf: Option<&Btf>,
    funcs: &[Func],
    (maps, holder): (&[MapSource], Option<usize>),
    by_name: &HashMap<String, usize>,
) -> Result<(usize, (u32, Slot)), LoadError> {
    let elf = ctx.elf;
    let symbol = symbol_of(elf, s, number, rel)?;
    let name = symbol.name();
    let fail = |what: &str| {
        LoadError::new(K::Map, what)
            .in_section(s.index, &s.name)
            .at_relocation(number)
            .at_symbol(symbol.index, name)
    };
    let holder = holder.ok_or_else(|| fail("in no map definition"))?;
    let def = &maps[holder].def;
    let slot = match def.map_type {
        MapType::ArrayOfMaps | MapType::HashOfMaps => {
            if Some(symbol.shndx) != ctx.layout.maps {
                return Err(fail("isn't a BTF-defined map"));
            }
            if def.map_type == MapType::HashOfMaps && def.key_size != 4 {
                return Err(fail("hash-of-maps with initial slots needs 4-byte keys"));
            }
            Slot::Map(*by_name.get(name).ok_or_else(|| fail("isn't a valid map reference"))?)
        }
        MapType::ProgArray => {
            let text = ctx.layout.text;
            let entry = funcs.iter().find(|f| f.name == name && (text == 0 || f.section != text));
            let entry = entry.ok_or_else(|| fail("isn't a valid program reference"))?;
            if entry.section != symbol.shndx || (entry.insn_off * INSN_LEN) as u64 != symbol.value {
                return Err(fail("isn't an entry-point program"));
            }
            Slot::Program(entry.name.clone())
        }
        _ => return Err(fail("map takes no initial values")),
    };
    let values = values_offset(btf, ctx, &maps[holder])
        .ok_or_else(|| fail("definition has no 'values' member"))?;
    let within = (rel.offset - maps[holder].offset).checked_sub(values).filter(|n| n % 8 == 0);
    let index =
        within.map(|n| n / 8).filter(|n| *n < MAX_SLOTS).ok_or_else(|| fail("not in 'values'"))?;
    Ok((holder, (index as u32, slot)))
}

/// Byte offset of the trailing `values` member.
fn values_offset(btf: Option<&Btf>, ctx: &Context<'_, '_>, map: &MapSource) -> Option<u64> {
    let btf = btf?;
    let datasec = btf.find_by_name_kind(ctx.elf.section_name(map.section), BtfKind::Datasec)?;
    let var = btf.ty(datasec)?.vars().nth(map.var? as usize)?;
    let def = btf.skip_mods_and_typedefs(btf.ty(var.type_id)?.type_id())?;
    let last = def.members().last()?;
    (btf.str(last.name_off) == "values").then_some(last.byte_offset() as u64)
}
