//! From a matched access to the number that goes into the instruction
//! (`bpf_core_calc_relo`, `bpf_core_calc_field_relo`, `bpf_core_calc_type_relo`, `bpf_core_calc_enumval_relo`).

use super::spec::Spec;
use super::{Kind, Refusal};
use crate::btf::{int_encoding, BtfKind, Type};

/// What one relocation writes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Value {
    /// What the compiler put there.
    pub old: u64,
    pub new: u64,
    /// The instruction becomes invalid.
    pub poison: bool,
    /// `old` must be what the instruction holds.
    pub validate: bool,
    /// Memory access whose width cannot be changed.
    pub bad_width: bool,
    /// Bytes accessed, 0 where that does not apply.
    pub old_size: u32,
    pub new_size: u32,
}

impl Value {
    /// Written whatever stands there.
    pub fn exactly(new: u64) -> Value {
        Value {
            old: new,
            new,
            poison: false,
            validate: false,
            bad_width: false,
            old_size: 0,
            new_size: 0,
        }
    }

    pub fn poisoned() -> Value {
        Value { poison: true, ..Value::exactly(0) }
    }
}

/// One side's number; `None` asks for poison.
#[derive(Default)]
struct Side {
    value: u64,
    size: u32,
    type_id: u32,
    validate: bool,
}

/// Compares both sides; `target` is `None` where no candidate matches.
pub(super) fn calc(local: &Spec<'_>, target: Option<&Spec<'_>>) -> Result<Value, Refusal> {
    let side = |spec: Option<&Spec<'_>>| match local.kind {
        k if k.is_field() => field(k, spec),
        k if k.is_enumval() => Ok(enumval(k, spec)),
        k => type_fact(k, spec).map(Some),
    };
    let Some(old) = side(Some(local))? else { return Ok(Value::poisoned()) };
    let Some(new) = side(target)? else { return Ok(Value::poisoned()) };
    let mut value = Value {
        old: old.value,
        new: new.value,
        poison: false,
        validate: old.validate,
        bad_width: false,
        old_size: old.size,
        new_size: new.size,
    };
    if old.size != new.size {
        let a = local.btf.ty(old.type_id);
        let b = target.and_then(|t| t.btf.ty(new.type_id));
        // Narrowing is safe for pointers and unsigned integers, which the load zero-extends.
        let is_ptr = |t: Option<Type<'_>>| t.is_some_and(|t| t.kind() == BtfKind::Ptr);
        let is_unsigned = |t: Option<Type<'_>>| {
            t.and_then(Type::int).is_some_and(|i| i.encoding != int_encoding::SIGNED)
        };
        let safe = (is_ptr(a) && is_ptr(b)) || (is_unsigned(a) && is_unsigned(b));
        value.bad_width = !safe;
    }
    Ok(value)
}

fn enumval(kind: Kind, spec: Option<&Spec<'_>>) -> Option<Side> {
    let plain = |value| Some(Side { value, validate: true, ..Side::default() });
    if kind == Kind::EnumvalExists {
        return plain(spec.is_some() as u64);
    }
    let spec = spec?;
    let step = spec.steps.first()?;
    let t = spec.btf.ty(step.type_id)?;
    let value = t.enumerators().nth(step.index as usize)?.value;
    // libbpf reads the 32-bit field as a signed number, whatever the enum says.
    plain(if t.kind() == BtfKind::Enum { value as i32 as i64 as u64 } else { value as u64 })
}

fn type_fact(kind: Kind, spec: Option<&Spec<'_>>) -> Result<Side, Refusal> {
    let mut side = Side { validate: true, ..Side::default() };
    let Some(spec) = spec else { return Ok(side) };
    match kind {
        Kind::TypeIdTarget => {
            side.value = spec.root as u64;
            side.validate = false;
        }
        Kind::TypeSize => {
            side.value = spec.btf.size_of(spec.root).ok_or("type has no size")? as u64
        }
        _ => side.value = 1,
    }
    Ok(side)
}

/// Size of the innermost element of an array, or of the type itself.
fn element_size(t: Type<'_>) -> Option<u32> {
    let btf = t.btf();
    let mut t = btf.skip_mods_and_typedefs(t.id())?;
    for _ in 0..=btf.type_count() {
        match t.array() {
            Some(a) => t = btf.skip_mods_and_typedefs(a.elem)?,
            None => return btf.size_of(t.id()),
        }
    }
    None
}

fn field(kind: Kind, spec: Option<&Spec<'_>>) -> Result<Option<Side>, Refusal> {
    let mut side = Side { validate: true, ..Side::default() };
    if kind == Kind::FieldExists {
        side.value = spec.is_some() as u64;
        return Ok(Some(side));
    }
    let Some(spec) = spec else { return Ok(None) };
    let step = spec.steps.last().ok_or("empty access")?;
    let t = spec.btf.ty(step.type_id).ok_or("type vanished")?;
    if step.name.is_none() {
        match kind {
            Kind::FieldByteOffset => {
                side.value = (spec.bit_offset / 8) as u64;
                side.size = element_size(t).ok_or("element has no size")?;
                side.type_id = step.type_id;
            }
            Kind::FieldByteSize => {
                side.value = spec.btf.size_of(step.type_id).ok_or("element has no size")? as u64;
            }
            _ => return Err("relocation can't be applied to array access".to_string()),
        }
        return Ok(Some(side));
    }
    let m = t.member(step.index as usize).ok_or("member vanished")?;
    let mt = spec.btf.skip_mods_and_typedefs(m.type_id).ok_or("cyclic type")?;
    let extent = Extent::of(spec.bit_offset, m.bitfield_size, mt)?;
    // Where a bitfield is read is for the loader to choose; the compiler may have chosen otherwise.
    side.validate = !extent.bitfield;
    match kind {
        Kind::FieldByteOffset => {
            side.value = extent.byte_off as u64;
            if !extent.bitfield {
                side.size = element_size(mt).ok_or("field has no size")?;
                side.type_id = mt.id();
            }
        }
        Kind::FieldByteSize => side.value = extent.byte_size as u64,
        Kind::FieldSigned => {
            let int = mt.int().is_some_and(|i| i.encoding & int_encoding::SIGNED != 0);
            side.value = (int || (mt.kind().is_any_enum() && mt.kflag())) as u64;
            side.validate = true;
        }
        Kind::FieldLshift => {
            let end = (spec.bit_offset + extent.bits).wrapping_sub(extent.byte_off.wrapping_mul(8));
            side.value = 64u32.wrapping_sub(end) as u64;
        }
        _ => {
            side.value = 64u32.wrapping_sub(extent.bits) as u64;
            side.validate = true;
        }
    }
    Ok(Some(side))
}

/// The bytes a field is read from, and its bits.
struct Extent {
    bitfield: bool,
    byte_off: u32,
    byte_size: u32,
    bits: u32,
}

impl Extent {
    fn of(bit_off: u32, bitfield_size: u8, t: Type<'_>) -> Result<Extent, Refusal> {
        let bits = bitfield_size as u32;
        if bits == 0 {
            let byte_size = t.btf().size_of(t.id()).ok_or("field has no size")?;
            let bits = byte_size.wrapping_mul(8);
            return Ok(Extent { bitfield: false, byte_off: bit_off / 8, byte_size, bits });
        }
        let mut byte_size =
            Some(t.size()).filter(|n| *n > 0).ok_or("bitfield of a type without size")?;
        let mut byte_off = bit_off / 8 / byte_size * byte_size;
        // The smallest power-of-two unit that holds the whole field.
        while bit_off as u64 + bits as u64 - byte_off as u64 * 8 > byte_size as u64 * 8 {
            if byte_size >= 8 {
                return Err("bitfield can't be read with one 64-bit load".to_string());
            }
            byte_size *= 2;
            byte_off = bit_off / 8 / byte_size * byte_size;
        }
        Ok(Extent { bitfield: true, byte_off, byte_size, bits })
    }
}
