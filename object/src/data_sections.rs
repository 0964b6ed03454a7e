//! What the compiler leaves open in DATASECs and the loader fills in (libbpf: `btf_fixup_datasec`):
//! sizes, offsets, hidden variables, order.  Also changing the value of a global variable.

use std::collections::HashMap;

use crate::btf::{linkage, Btf, BtfKind};
use crate::elf::{sht, Elf, Symbol};
use crate::error::{LoadError, LoadErrorKind as K};
use crate::open::{is_variable, Opened};

/// Bound on what a person may write into a zero-filled section.
const MAX_INITIAL: usize = 64 << 20;

/// Fills in every DATASEC of the object's own sections.
pub(crate) fn fix_up(elf: &Elf<'_>, btf: &mut Btf) -> Result<(), LoadError> {
    let mut symbols: HashMap<&str, &Symbol<'_>> = HashMap::new();
    for s in elf.symbols.iter().filter(|s| is_variable(s)) {
        symbols.entry(s.name()).or_insert(s);
    }
    let datasecs: Vec<u32> =
        btf.own_types().filter(|t| t.kind() == BtfKind::Datasec).map(|t| t.id()).collect();
    for id in datasecs {
        fix_datasec(elf, btf, id, &symbols)?;
    }
    Ok(())
}

fn fix_datasec(
    elf: &Elf<'_>,
    btf: &mut Btf,
    id: u32,
    symbols: &HashMap<&str, &Symbol<'_>>,
) -> Result<(), LoadError> {
    let Some(t) = btf.ty(id) else { return Ok(()) };
    let name = t.name().to_string();
    // Those of externs were filled in before, and may lack symbols.
    if name != ".kconfig" && name != ".ksyms" {
        let fail = |what: String| LoadError::new(K::Btf, what);
        let old_size = t.size();
        let mut rows: Vec<(usize, u32)> = Vec::new();
        let mut hidden: Vec<u32> = Vec::new();
        let size = match old_size {
            0 => {
                let section = elf.section_by_name(&name);
                let size = section.map_or(0, |s| {
                    if s.kind == sht::NOBITS || s.data.is_some() {
                        s.size
                    } else {
                        0
                    }
                });
                match u32::try_from(size) {
                    Ok(n) if n > 0 => n,
                    _ => {
                        return Err(fail(format!(
                            "DATASEC '{name}': no section of that name and a usable size"
                        )))
                    }
                }
            }
            n => n,
        };
        for (i, v) in t.vars().enumerate() {
            let var = btf.ty(v.type_id).filter(|v| v.kind() == BtfKind::Var);
            let Some(var) = var else {
                return Err(fail(format!(
                    "DATASEC '{name}': type [{}] is not a variable",
                    v.type_id
                )));
            };
            if var.linkage() == linkage::STATIC || var.linkage() == linkage::EXTERN {
                continue;
            }
            let Some(symbol) = symbols.get(var.name()) else {
                return Err(fail(format!(
                    "DATASEC '{name}': no symbol for variable '{}'",
                    var.name()
                )));
            };
            if old_size == 0 {
                rows.push((i, symbol.value as u32));
            }
            if symbol.is_hidden() {
                hidden.push(v.type_id);
            }
        }
        if let Some(words) = btf.words_mut(id) {
            words[2] = size;
            for (i, off) in rows {
                if let Some(w) = words.get_mut(3 + i * 3 + 1) {
                    *w = off;
                }
            }
        }
        for var in hidden {
            btf.set_linkage(var, linkage::STATIC);
        }
    }
    sort_vars(btf, id);
    Ok(())
}

/// Ascending by offset; equal offsets keep their order.
fn sort_vars(btf: &mut Btf, id: u32) {
    let Some(words) = btf.words_mut(id) else { return };
    let mut rows: Vec<[u32; 3]> = words[3..].chunks_exact(3).map(|c| [c[0], c[1], c[2]]).collect();
    rows.sort_by_key(|r| r[1]);
    for (slot, row) in words[3..].chunks_exact_mut(3).zip(rows) {
        slot.copy_from_slice(&row);
    }
}

/// A global variable whose value may be set before loading.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Global {
    /// `.rodata`, `.data.name`, `.bss` …
    pub section: String,
    pub name: String,
    /// Type of the variable in the object's BTF.
    pub type_id: u32,
    /// Bytes.
    pub size: usize,
    map: usize,
    offset: usize,
}

impl Opened {
    /// Every settable global variable, section by section, ascending by offset.  Sections beyond 64 MiB are cut there.
    pub fn globals(&self) -> Vec<Global> {
        let Some(btf) = &self.btf else { return Vec::new() };
        let mut found = Vec::new();
        for (map, m) in self.maps.iter().enumerate().filter(|(_, m)| m.kind.is_settable()) {
            let datasec = btf.ty(m.def.btf_value_type_id).filter(|t| t.kind() == BtfKind::Datasec);
            for v in datasec.into_iter().flat_map(|t| t.vars()) {
                let (offset, size) = (v.offset as usize, v.size as usize);
                let Some(var) = btf.ty(v.type_id).filter(|t| t.kind() == BtfKind::Var) else {
                    continue;
                };
                if offset + size > (m.def.value_size as usize).min(MAX_INITIAL) {
                    continue;
                }
                found.push(Global {
                    section: m.def.source_name.clone(),
                    name: var.name().to_string(),
                    type_id: var.type_id(),
                    size,
                    map,
                    offset,
                });
            }
        }
        found
    }

    /// The bytes of a variable as they stand.
    pub fn global_bytes(&self, global: &Global) -> Vec<u8> {
        let initial = self.maps.get(global.map).and_then(|m| m.initial.as_ref());
        let known = initial.and_then(|d| d.get(global.offset..)).unwrap_or(&[]);
        let mut bytes = known[..known.len().min(global.size)].to_vec();
        bytes.resize(global.size, 0);
        bytes
    }

    /// Writes a global variable before loading (`.data*`, `.rodata*`, `.bss*`), as an application with a skeleton would.
    ///
    /// `value` may be shorter than the variable, not longer.
    pub fn set_global(&mut self, name: &str, value: &[u8]) -> Result<(), LoadError> {
        let fail = |what: &str| LoadError::new(K::Map, format!("global variable '{name}': {what}"));
        if self.btf.is_none() {
            return Err(fail("the object has no BTF"));
        }
        let global = self.globals().into_iter().find(|g| g.name == name);
        self.write_global(&global.ok_or_else(|| fail("not found"))?, value)
    }

    /// Writes a variable that [`Opened::globals`] of this object named; as [`Opened::set_global`] otherwise.
    pub fn write_global(&mut self, global: &Global, value: &[u8]) -> Result<(), LoadError> {
        let fail = |what: &str| {
            LoadError::new(K::Map, format!("global variable '{}': {what}", global.name))
        };
        if value.len() > global.size {
            return Err(fail(&format!("is {} bytes, {} given", global.size, value.len())));
        }
        let map = self.maps.get_mut(global.map).ok_or_else(|| fail("not of this object"))?;
        let end = global.offset + value.len();
        if end > (map.def.value_size as usize).min(MAX_INITIAL) {
            return Err(fail("lies outside its section"));
        }
        let mut data = map.initial.as_ref().map_or_else(Vec::new, |d| d.to_vec());
        if data.len() < end {
            data.resize(end, 0);
        }
        data[global.offset..end].copy_from_slice(value);
        map.initial = Some(std::sync::Arc::new(data));
        Ok(())
    }
}
