//! Each record by itself (`btf_check_meta` and the `check_meta` of each kind).

use super::{refuse, KernelRefusal, KSYM_NAME_LEN, MAX_NAME_OFFSET, MAX_TYPE};
use crate::btf::kind::{int_encoding, linkage, BtfKind, Type};
use crate::btf::Btf;

/// Bits of the info word that mean something.
const INFO_MASK: u32 = 0x9f00_ffff;
const INT_MASK: u32 = 0x0fff_ffff;

type Verdict = Result<(), KernelRefusal>;

fn valid_offset(btf: &Btf, off: u32) -> bool {
    off <= MAX_NAME_OFFSET && btf.has_str(off)
}

/// A C identifier, dots allowed.
pub(super) fn is_identifier(btf: &Btf, off: u32) -> bool {
    let ok =
        |first: bool, b: u8| b == b'_' || b == b'.' || is_letter(b) || !first && b.is_ascii_digit();
    let name = btf.str_bytes(off);
    let tail_ok = name.iter().skip(1).all(|b| ok(false, *b));
    name.first().is_some_and(|b| ok(true, *b)) && tail_ok && name.len() <= KSYM_NAME_LEN
}

fn is_section_name(btf: &Btf, off: u32) -> bool {
    let name = btf.str_bytes(off);
    let is_print = |b: &u8| (0x20..0x7f).contains(b) || *b >= 0xa0;
    !name.is_empty() && name.len() <= KSYM_NAME_LEN && name.iter().all(is_print)
}

pub(super) fn check(t: Type<'_>) -> Verdict {
    if t.info() & !INFO_MASK != 0 {
        return refuse(t, format!("Invalid btf_info:{:x}", t.info()));
    }
    if !valid_offset(t.btf(), t.name_off()) {
        return refuse(t, format!("Invalid name_offset:{}", t.name_off()));
    }
    match t.kind() {
        BtfKind::Int => int(t),
        BtfKind::Array => array(t),
        BtfKind::Struct | BtfKind::Union => composite(t),
        BtfKind::Enum | BtfKind::Enum64 => enumeration(t),
        BtfKind::Fwd => fwd(t),
        BtfKind::Func => func(t),
        BtfKind::FuncProto => match (t.name_off(), t.kflag()) {
            (0, false) => Ok(()),
            (0, true) => refuse(t, "Invalid btf_info kind_flag"),
            _ => refuse(t, "Invalid name"),
        },
        BtfKind::Var => var(t),
        BtfKind::Datasec => datasec(t),
        BtfKind::Float => {
            plain(t)?;
            match t.size() {
                2 | 4 | 8 | 12 | 16 => Ok(()),
                _ => refuse(t, "Invalid type_size"),
            }
        }
        BtfKind::DeclTag => {
            if t.name().is_empty() && t.btf().str_bytes(t.name_off()).is_empty() {
                return refuse(t, "Invalid value");
            }
            if t.vlen() != 0 {
                return refuse(t, "vlen != 0");
            }
            if t.component_idx() < -1 {
                return refuse(t, "Invalid component_idx");
            }
            Ok(())
        }
        _ => reference(t),
    }
}

fn plain(t: Type<'_>) -> Verdict {
    if t.vlen() != 0 {
        return refuse(t, "vlen != 0");
    }
    if t.kflag() {
        return refuse(t, "Invalid btf_info kind_flag");
    }
    Ok(())
}

fn is_named(t: Type<'_>) -> bool {
    t.name_off() != 0 && is_identifier(t.btf(), t.name_off())
}

fn is_named_or_not(t: Type<'_>) -> bool {
    t.name_off() == 0 || is_identifier(t.btf(), t.name_off())
}

fn int(t: Type<'_>) -> Verdict {
    plain(t)?;
    let word = t.words.get(3).copied().unwrap_or(0);
    let Some(data) = t.int().filter(|_| word & !INT_MASK == 0) else {
        return refuse(t, format!("Invalid int_data:{word:x}"));
    };
    let bits = data.bits as u32 + data.offset as u32;
    if bits > 128 {
        return refuse(t, "nr_bits exceeds 128");
    }
    if bits.div_ceil(8) > t.size() {
        return refuse(t, "nr_bits exceeds type_size");
    }
    match data.encoding {
        0 | int_encoding::SIGNED | int_encoding::CHAR | int_encoding::BOOL => Ok(()),
        _ => refuse(t, "Unsupported encoding"),
    }
}

fn reference(t: Type<'_>) -> Verdict {
    if t.vlen() != 0 {
        return refuse(t, "vlen != 0");
    }
    if t.kflag() && t.kind() != BtfKind::TypeTag {
        return refuse(t, "Invalid btf_info kind_flag");
    }
    if t.type_id() > MAX_TYPE {
        return refuse(t, "Invalid type_id");
    }
    let named_well = match t.kind() {
        BtfKind::Typedef => is_named(t),
        BtfKind::TypeTag => !t.btf().str_bytes(t.name_off()).is_empty(),
        _ => t.name_off() == 0,
    };
    if named_well {
        Ok(())
    } else {
        refuse(t, "Invalid name")
    }
}

fn fwd(t: Type<'_>) -> Verdict {
    if t.vlen() != 0 {
        return refuse(t, "vlen != 0");
    }
    if t.size() != 0 {
        return refuse(t, "type != 0");
    }
    if !is_named(t) {
        return refuse(t, "Invalid name");
    }
    Ok(())
}

fn array(t: Type<'_>) -> Verdict {
    if t.name_off() != 0 {
        return refuse(t, "Invalid name");
    }
    plain(t)?;
    if t.size() != 0 {
        return refuse(t, "size != 0");
    }
    let Some(a) = t.array() else { return refuse(t, "Invalid elem") };
    if a.elem == 0 || a.elem > MAX_TYPE {
        return refuse(t, "Invalid elem");
    }
    if a.index == 0 || a.index > MAX_TYPE {
        return refuse(t, "Invalid index");
    }
    Ok(())
}

fn composite(t: Type<'_>) -> Verdict {
    if !is_named_or_not(t) {
        return refuse(t, "Invalid name");
    }
    let mut last = 0;
    for m in t.members() {
        if !valid_offset(t.btf(), m.name_off) {
            return refuse(t, format!("Invalid member name_offset:{}", m.name_off));
        }
        if m.name_off != 0 && !is_identifier(t.btf(), m.name_off) {
            return refuse(t, "Invalid name");
        }
        if m.type_id == 0 || m.type_id > MAX_TYPE {
            return refuse(t, "Invalid type_id");
        }
        if (t.kind() == BtfKind::Union && m.bit_offset != 0) || last > m.bit_offset {
            return refuse(t, "Invalid member bits_offset");
        }
        if m.bit_offset.div_ceil(8) > t.size() {
            return refuse(t, "Member bits_offset exceeds its struct size");
        }
        last = m.bit_offset;
    }
    Ok(())
}

fn enumeration(t: Type<'_>) -> Verdict {
    if t.size() > 8 || !t.size().is_power_of_two() {
        return refuse(t, "Unexpected size");
    }
    if !is_named_or_not(t) {
        return refuse(t, "Invalid name");
    }
    for e in t.enumerators() {
        if !valid_offset(t.btf(), e.name_off) {
            return refuse(t, format!("Invalid name_offset:{}", e.name_off));
        }
        if e.name_off == 0 || !is_identifier(t.btf(), e.name_off) {
            return refuse(t, "Invalid name");
        }
    }
    Ok(())
}

fn func(t: Type<'_>) -> Verdict {
    if !is_named(t) {
        return refuse(t, "Invalid name");
    }
    if t.linkage() > linkage::GLOBAL {
        return refuse(t, "Invalid func linkage");
    }
    if t.kflag() {
        return refuse(t, "Invalid btf_info kind_flag");
    }
    Ok(())
}

fn var(t: Type<'_>) -> Verdict {
    plain(t)?;
    if !is_named(t) {
        return refuse(t, "Invalid name");
    }
    if t.type_id() == 0 || t.type_id() > MAX_TYPE {
        return refuse(t, "Invalid type_id");
    }
    if t.linkage() > linkage::GLOBAL {
        return refuse(t, "Linkage not supported");
    }
    Ok(())
}

fn datasec(t: Type<'_>) -> Verdict {
    if t.size() == 0 {
        return refuse(t, "size == 0");
    }
    if t.kflag() {
        return refuse(t, "Invalid btf_info kind_flag");
    }
    if t.name_off() == 0 || !is_section_name(t.btf(), t.name_off()) {
        return refuse(t, "Invalid name");
    }
    let size = t.size() as u64;
    let (mut end, mut sum) = (0u64, 0u64);
    for v in t.vars() {
        if v.type_id == 0 || v.type_id > MAX_TYPE {
            return refuse(t, "Invalid type_id");
        }
        if (v.offset as u64) < end || v.offset as u64 >= size {
            return refuse(t, "Invalid offset");
        }
        if v.size == 0 || v.size as u64 > size {
            return refuse(t, "Invalid size");
        }
        // The kernel adds in 32 bits.
        end = v.offset.wrapping_add(v.size) as u64;
        if end > size {
            return refuse(t, "Invalid offset+size");
        }
        sum += v.size as u64;
    }
    if size < sum {
        return refuse(t, "Invalid btf_info size");
    }
    Ok(())
}

/// `isalpha` of the kernel, whose table is Latin-1.
fn is_letter(b: u8) -> bool {
    b.is_ascii_alphabetic() || b >= 0xc0 && b != 0xd7 && b != 0xf7
}
