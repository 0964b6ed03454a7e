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

impl Opened {
    /// Writes a global variable before loading (`.data*`, `.rodata*`, `.bss*`), as an application with a skeleton would.
    ///
    /// `value` may be shorter than the variable, not longer.
    pub fn set_global(&mut self, name: &str, value: &[u8]) -> Result<(), LoadError> {
        let fail = |what: &str| LoadError::new(K::Map, format!("global variable '{name}': {what}"));
        let btf = self.btf.as_ref().ok_or_else(|| fail("the object has no BTF"))?;
        let mut found = None;
        for (i, map) in self.maps.iter().enumerate().filter(|(_, m)| m.kind.is_settable()) {
            let datasec =
                btf.ty(map.def.btf_value_type_id).filter(|t| t.kind() == BtfKind::Datasec);
            let var = datasec.and_then(|t| t.vars().find(|v| btf.name(v.type_id) == name));
            if let Some(v) = var {
                found = Some((i, v));
                break;
            }
        }
        let (map, var) = found.ok_or_else(|| fail("not found"))?;
        if value.len() > var.size as usize {
            return Err(fail(&format!("is {} bytes, {} given", var.size, value.len())));
        }
        let end = var.offset as usize + value.len();
        if end > self.maps[map].def.value_size as usize || end > MAX_INITIAL {
            return Err(fail("lies outside its section"));
        }
        let mut data = self.maps[map].initial.as_ref().map_or_else(Vec::new, |d| d.to_vec());
        if data.len() < end {
            data.resize(end, 0);
        }
        data[var.offset as usize..end].copy_from_slice(value);
        self.maps[map].initial = Some(std::sync::Arc::new(data));
        Ok(())
    }
}
