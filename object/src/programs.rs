//! Functions of the object: from symbols to instruction runs, and what section names say of them
//! (libbpf: `bpf_object__add_programs`, `bpf_object_init_progs`).

use std::collections::HashMap;

use bpfassay_isa::RawInsn;

use crate::elf::{sym, Elf, Section};
use crate::error::{LoadError, LoadErrorKind as K};
use crate::loader::Loader;
use crate::open::{Func, INSN_LEN};

/// Function symbols by section, in symbol order.
pub(crate) fn function_symbols(elf: &Elf<'_>) -> HashMap<usize, Vec<usize>> {
    let mut map: HashMap<usize, Vec<usize>> = HashMap::new();
    for s in elf.symbols.iter().filter(|s| s.kind == sym::FUNC) {
        map.entry(s.shndx).or_default().push(s.index);
    }
    map
}

/// Adds the functions of one executable section.  `names` is how long section names may still be together, each
/// counted for every function that repeats it.
pub(crate) fn add(
    elf: &Elf<'_>,
    section: &Section<'_>,
    data: &[u8],
    text: usize,
    symbols: &[usize],
    loader: Loader,
    names: &mut usize,
    funcs: &mut Vec<Func>,
) -> Result<(), LoadError> {
    // Functions may overlap in a damaged file; together they may not take more than a few times the section.
    let mut budget = data.len().saturating_mul(4);
    for s in symbols.iter().filter_map(|i| elf.symbols.get(*i)) {
        let fail = |what: &str| {
            LoadError::new(K::Program, what)
                .in_section(section.index, &section.name)
                .at_symbol(s.index, s.name())
        };
        let name = s.name.as_deref().ok_or_else(|| fail("function without a name"))?;
        let range = usize::try_from(s.value).ok().zip(usize::try_from(s.size).ok());
        let (off, len) = range.ok_or_else(|| fail("function crosses the section's end"))?;
        let code = off.checked_add(len).and_then(|end| data.get(off..end));
        let code = code.ok_or_else(|| fail("function crosses the section's end"))?;
        if section.index != text && s.bind == sym::LOCAL && !loader.takes_static_programs() {
            return Err(fail("program is static and not supported"));
        }
        if len == 0 || len % INSN_LEN != 0 || off % INSN_LEN != 0 {
            return Err(fail(&format!("corrupted program, offset {off}, size {len}")));
        }
        budget = budget.checked_sub(len).ok_or_else(|| fail("functions overlap too much"))?;
        *names = names.checked_sub(section.name.len()).ok_or_else(|| {
            let what = "the section names of its functions are longer together than the object";
            LoadError::new(K::TooLarge, what)
        })?;
        let (section_name, autoload) = match section.name.strip_prefix('?') {
            Some(rest) => (rest, false),
            None => (&*section.name, true),
        };
        let is_global = s.bind != sym::LOCAL;
        funcs.push(Func {
            name: name.to_string(),
            section: section.index,
            section_name: section_name.to_string(),
            insn_off: off / INSN_LEN,
            insns: code
                .chunks_exact(INSN_LEN)
                .filter_map(|c| Some(RawInsn::from_le_bytes(c.try_into().ok()?)))
                .collect(),
            relocs: Vec::new(),
            autoload,
            is_global,
            is_hidden: is_global && s.is_hidden(),
            prog_type: None,
            attach_type: None,
            attach_target: None,
            attach_program: None,
            def: None,
        });
    }
    Ok(())
}

/// Gives entry programs the type their section name means.
pub(crate) fn set_types(funcs: &mut [Func], text: usize, loader: Loader) {
    for f in funcs.iter_mut().filter(|f| text == 0 || f.section != text) {
        f.def = loader.section_def(&f.section_name);
        if let Some(def) = f.def {
            f.prog_type = Some(def.prog_type);
            f.attach_type = def.attach_type;
        }
    }
}
