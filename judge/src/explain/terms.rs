//! What registers, bytes of the stack, of map values and of the context are called: by DWARF where
//! the object has it, else by BTF.

use bpfassay_diag::story::{Field, Names};
use bpfassay_object::btf::{Btf, BtfKind, Type};
use bpfassay_object::model::Program;

use crate::target::Target;

/// Types in types are followed this far.
const DEEPEST: usize = 8;

/// One program's names.
pub struct Terms<'a> {
    pub program: &'a Program,
    pub target: &'a Target,
}

impl Names for Terms<'_> {
    fn variable(&self, insn: u32, register: u8) -> Option<String> {
        let by_dwarf = || {
            let debug = self.program.debug.as_deref()?;
            debug.in_register(self.program, insn, register).map(|v| v.name.clone())
        };
        by_dwarf().or_else(|| self.parameter(insn, register))
    }

    fn field(&self, map: &str, offset: i64) -> Option<Field> {
        let btf = self.program.btf.as_deref()?;
        let def = self.program.maps.iter().find(|m| m.name == map)?;
        let offset = u64::try_from(offset).ok()?;
        member(btf, def.btf_value_type_id, offset)
    }

    fn on_stack(&self, insn: u32, offset: i64) -> Option<Field> {
        let debug = self.program.debug.as_deref()?;
        let (v, from) = debug.on_stack(self.program, insn, offset)?;
        let whole = |is_padding| Field {
            name: v.name.clone(),
            offset: from,
            size: v.size.unwrap_or(0),
            count: v.count,
            is_padding,
        };
        let composite = || {
            let btf = self.program.btf.as_deref()?;
            Some((btf, btf.find_by_name_kind(v.composite.as_deref()?, BtfKind::Struct)?))
        };
        let Some((btf, id)) = composite() else { return Some(whole(false)) };
        let Some(field) = member(btf, id, u64::try_from(offset - from).ok()?) else {
            return Some(whole(true));
        };
        let name = format!("{}.{}", v.name, field.name);
        Some(Field { name, offset: from + field.offset, ..field })
    }

    fn in_context(&self, offset: i64) -> Option<Field> {
        let offset = u64::try_from(offset).ok()?;
        let own = self.program.btf.as_deref();
        let all = [own, self.target.vmlinux.as_deref()];
        let kind = self.target.kernel.prog(self.program.prog_type)?;
        let name = kind.ctx.strip_prefix("struct ")?;
        all.into_iter().flatten().find_map(|btf| {
            let id = btf.find_by_name_kind(name, BtfKind::Struct)?;
            let field = member(btf, id, offset)?;
            Some(Field { name: format!("{name}.{}", field.name), ..field })
        })
    }
}

impl Terms<'_> {
    /// Name and size of the context's type, where it is a struct.
    pub fn context(&self) -> Option<(&'static str, i64)> {
        let kind = self.target.kernel.prog(self.program.prog_type)?;
        let name = kind.ctx.strip_prefix("struct ")?;
        let own = self.program.btf.as_deref();
        let size = [own, self.target.vmlinux.as_deref()]
            .into_iter()
            .flatten()
            .find_map(|btf| btf.size_of(btf.find_by_name_kind(name, BtfKind::Struct)?))?;
        Some((name, i64::from(size)))
    }

    /// The parameter that a register holds where its function begins.
    fn parameter(&self, insn: u32, register: u8) -> Option<String> {
        let btf = self.program.btf.as_deref()?;
        let at = self.program.func_info.iter().find(|f| f.insn_off == insn)?;
        let index = usize::from(register).checked_sub(1)?;
        let param = btf.func_proto(at.type_id)?.params().nth(index)?;
        Some(btf.str(param.name_off).to_string()).filter(|n| !n.is_empty())
    }
}

/// The innermost member of a type that has the byte at an offset; an array as a whole.
fn member(btf: &Btf, id: u32, offset: u64) -> Option<Field> {
    let mut path = String::new();
    let (mut id, mut base) = (id, 0u64);
    for _ in 0..DEEPEST {
        let t = btf.resolve(id)?;
        let within = offset.checked_sub(base)?;
        let (name_off, of, at) = match t.kind() {
            BtfKind::Struct | BtfKind::Union => {
                let m = t.members().find(|m| {
                    let size = btf.size_of(m.type_id).unwrap_or(0);
                    let from = u64::from(m.byte_offset());
                    m.bitfield_size == 0 && (from..from + u64::from(size)).contains(&within)
                })?;
                (m.name_off, m.type_id, u64::from(m.byte_offset()))
            }
            BtfKind::Datasec => {
                let v = t.vars().find(|v| {
                    let from = u64::from(v.offset);
                    (from..from + u64::from(v.size)).contains(&within)
                })?;
                (btf.ty(v.type_id)?.name_off(), v.type_id, u64::from(v.offset))
            }
            _ => return ended(btf, t, path, base),
        };
        let name = btf.str(name_off);
        if !name.is_empty() {
            path += if path.is_empty() { "" } else { "." };
            path += name;
        }
        (id, base) = (of, base + at);
    }
    None
}

/// A type that has no members.
fn ended(btf: &Btf, t: Type<'_>, path: String, base: u64) -> Option<Field> {
    let count = t.array().map(|a| u64::from(a.nelems));
    let offset = i64::try_from(base).ok()?;
    let size = u64::from(btf.size_of(t.id())?);
    (!path.is_empty()).then_some(Field { name: path, offset, size, count, is_padding: false })
}
