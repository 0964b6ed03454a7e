//! Where members of the kernel's structs lie, by its BTF.

use bpfassay_isa::Size;
use bpfassay_object::btf::{Btf, BtfKind, Type};

use super::Unknown;

/// Offset and size of `outer.a.b`, bytes; members of unnamed structs and unions count as their parent's.
pub(super) fn field(btf: &Btf, path: &str) -> Result<(i32, u32), Unknown> {
    let missing = || Unknown::Layout(path.to_string());
    let mut names = path.split('.');
    let name = names.next().unwrap_or_default();
    let id = btf.find_by_name_kind(name, BtfKind::Struct).ok_or_else(missing)?;
    let (mut ty, mut off) = (btf.ty(id).ok_or_else(missing)?, 0);
    for name in names {
        while ty.kind() == BtfKind::Array {
            // The first element's member.
            let element = ty.array().map(|a| a.elem).ok_or_else(missing)?;
            ty = btf.skip_mods_and_typedefs(element).ok_or_else(missing)?;
        }
        let (at, inner) = member(ty, name).ok_or_else(missing)?;
        off += at;
        ty = inner;
    }
    let size = match ty.kind() {
        BtfKind::Ptr => 8,
        BtfKind::Array => 0,
        _ => ty.size(),
    };
    Ok((off as i32, size))
}

pub(super) fn offset(btf: &Btf, path: &str) -> Result<i32, Unknown> {
    field(btf, path).map(|(off, _)| off)
}

fn member<'a>(ty: Type<'a>, name: &str) -> Option<(u32, Type<'a>)> {
    let btf = ty.btf();
    for m in ty.members() {
        let inner = btf.skip_mods_and_typedefs(m.type_id)?;
        if btf.str(m.name_off) == name {
            return Some((m.byte_offset(), inner));
        }
        if btf.str(m.name_off).is_empty() {
            if let Some((off, found)) = member(inner, name) {
                return Some((m.byte_offset() + off, found));
            }
        }
    }
    None
}

pub(super) fn size(bytes: u32) -> Result<Size, Unknown> {
    Ok(match bytes {
        1 => Size::B,
        2 => Size::H,
        4 => Size::W,
        8 => Size::Dw,
        _ => return Err(Unknown::Layout(format!("a field of {bytes} bytes"))),
    })
}
