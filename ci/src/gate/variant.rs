//! Values of global variables: from what the configuration writes to the bytes of the variable's BTF type.

use std::ops::Range;

use bpfassay_object::btf::{int_encoding, Btf, BtfKind, Type};
use bpfassay_object::{Global, Opened};
use toml::Spanned;

use crate::gate::config::{Config, Variant};
use crate::gate::error::ConfigError;
use crate::gate::values::Tree;

/// A value that a variable cannot take, with its place in the configuration.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BadValue {
    pub span: Range<usize>,
    pub message: String,
}

/// A variant that sets what a command line says: `[SECTION.]NAME=VALUE` each, values as in a configuration, where
/// text needs no quotes and `.rodata` no name.
///
/// # Errors
/// One that is none of these, with what is wrong.
pub fn of_assignments(all: &[String]) -> Result<Variant, String> {
    let mut lines = Vec::new();
    for one in all {
        let (name, value) = one.split_once('=').ok_or(format!("`{one}` is not NAME=VALUE"))?;
        let has_section =
            ["rodata.", "data.", "bss."].iter().any(|s| name.trim_start().starts_with(s));
        let section = if has_section { "" } else { "rodata." };
        let line = |value: &str| format!("{section}{} = {value}\n", name.trim());
        let is_value = config_of(&line(value)).is_ok();
        lines.push(if is_value {
            line(value)
        } else {
            line(&toml::Value::from(value).to_string())
        });
    }
    let config = config_of(&lines.concat()).map_err(|e| e.message)?;
    config.variants.into_iter().next().ok_or_else(|| "nothing is set".to_string())
}

fn config_of(lines: &str) -> Result<Config, ConfigError> {
    Config::parse(&format!("objects = [\"-\"]\n[variant.command-line]\n{lines}"))
}

/// The object with every variable of the variant set.
///
/// # Errors
/// A value that does not fit its variable, or a variable that the object has not.
pub fn in_shape(opened: &Opened, variant: &Variant) -> Result<Opened, String> {
    let mut used = vec![false; variant.values.len()];
    let set = apply(opened, variant, &mut used).map_err(|e| e.message)?;
    match variant.values.iter().zip(used).find(|(_, used)| !used) {
        Some(((section, name, _), _)) => {
            Err(format!("no variable `{}` in .{section}", name.get_ref()))
        }
        None => Ok(set.unwrap_or_else(|| opened.clone())),
    }
}

/// The object with the variant's values written, or None if it has none of its variables.
///
/// `used` gets true for every variable found, in the variant's order.
pub fn apply(
    opened: &Opened,
    variant: &Variant,
    used: &mut [bool],
) -> Result<Option<Opened>, BadValue> {
    let Some(btf) = opened.btf() else { return Ok(None) };
    let globals = opened.globals();
    let mut patched: Option<Opened> = None;
    for (i, (stem, name, value)) in variant.values.iter().enumerate() {
        let found = globals.iter().find(|g| g.name == *name.get_ref() && is_in(g, stem));
        let Some(global) = found else { continue };
        if let Some(u) = used.get_mut(i) {
            *u = true;
        }
        let target = patched.get_or_insert_with(|| opened.clone());
        let mut bytes = target.global_bytes(global);
        let bad = |span, message| BadValue { span, message };
        let label = format!("{stem}.{}", global.name);
        write(btf, global.type_id, &mut bytes, value, &label)?;
        target.write_global(global, &bytes).map_err(|e| bad(value.span(), e.to_string()))?;
    }
    Ok(patched)
}

/// `.rodata` and `.rodata.*` are both `rodata`.
fn is_in(global: &Global, stem: &str) -> bool {
    let section = global.section.strip_prefix('.').and_then(|s| s.strip_prefix(stem));
    section.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

/// Writes `value` as type `id` into `bytes`.  `label` is what messages call the place.
fn write(
    btf: &Btf,
    id: u32,
    bytes: &mut [u8],
    value: &Spanned<Tree>,
    label: &str,
) -> Result<(), BadValue> {
    let bad = |message: String| BadValue { span: value.span(), message };
    let Some(ty) = btf.skip_mods_and_typedefs(id) else {
        return Err(bad(format!("`{label}` has a type that its BTF lacks")));
    };
    match (ty.kind(), value.get_ref()) {
        (BtfKind::Int, v) => {
            let int = ty.int().filter(|i| i.offset == 0 && usize::from(i.bits) == bytes.len() * 8);
            let Some(int) = int else {
                return Err(bad(format!("`{label}` is an integer of unusual layout")));
            };
            if int.encoding & int_encoding::BOOL != 0 {
                let Tree::Bool(b) = v else { return Err(bad(expected(label, "a bool", v))) };
                return put(bytes, i128::from(*b), bytes.len(), false).map_err(bad);
            }
            let Tree::Int(n) = v else { return Err(bad(expected(label, "an integer", v))) };
            let signed = int.encoding & int_encoding::SIGNED != 0;
            put_int(bytes, *n, signed)
                .map_err(|range| bad(format!("`{label}` ({}) takes {range}, not {n}", ty.name())))
        }
        (BtfKind::Enum | BtfKind::Enum64, v) => enum_value(ty, v, label)
            .and_then(|n| put_int(bytes, n, ty.kflag()).map_err(|r| format!("`{label}` takes {r}")))
            .map_err(bad),
        (BtfKind::Float, v) => {
            Err(bad(expected(label, "a floating-point number", v) + ", which cannot be set"))
        }
        (BtfKind::Array, _) => array(btf, ty, bytes, value, label),
        (BtfKind::Struct | BtfKind::Union, _) => composite(btf, ty, bytes, value, label),
        (BtfKind::Ptr, Tree::Int(0)) => {
            bytes.fill(0);
            Ok(())
        }
        (BtfKind::Ptr, _) => Err(bad(format!("`{label}` is a pointer and can only be 0"))),
        _ => Err(bad(format!("`{label}` is of a type that cannot be set ({:?})", ty.kind()))),
    }
}

fn expected(label: &str, what: &str, got: &Tree) -> String {
    format!("`{label}` is {what}, not {}", got.kind())
}

/// Little-endian two's complement, or the range that it would have to be in.
fn put_int(bytes: &mut [u8], n: i64, signed: bool) -> Result<(), String> {
    let len = bytes.len();
    put(bytes, i128::from(n), len, signed)
}

fn put(bytes: &mut [u8], n: i128, len: usize, signed: bool) -> Result<(), String> {
    if len == 0 || len > 8 {
        // 128-bit integers: TOML has 64 bits.
        if len != 16 {
            return Err("values of 1 to 16 bytes".to_string());
        }
        bytes.copy_from_slice(&n.to_le_bytes());
        return Ok(());
    }
    let bits = len as u32 * 8;
    let (min, max) = match signed {
        true => (-(1i128 << (bits - 1)), (1i128 << (bits - 1)) - 1),
        false => (0, (1i128 << bits) - 1),
    };
    // A u64 above i64::MAX cannot be written in TOML; -1 and its like stand for its bits.
    let wraps = !signed && bits == 64 && n < 0;
    if (n < min || n > max) && !wraps {
        return Err(format!("{min} to {max}"));
    }
    bytes.copy_from_slice(&n.to_le_bytes()[..len]);
    Ok(())
}

fn enum_value(ty: Type<'_>, value: &Tree, label: &str) -> Result<i64, String> {
    let name_of = |off| ty.btf().str(off);
    let names = || -> String {
        let names: Vec<_> = ty.enumerators().take(12).map(|e| name_of(e.name_off)).collect();
        let more = if ty.vlen() > 12 { ", …" } else { "" };
        format!("{}{more}", names.join(", "))
    };
    match value {
        Tree::Str(s) => {
            let found = ty.enumerators().find(|e| name_of(e.name_off) == s);
            found.map(|e| e.value).ok_or_else(|| {
                format!("`{label}` (enum {}) has no value `{s}`; it has {}", ty.name(), names())
            })
        }
        // Flags are combined, so a number need not be one of the names.
        Tree::Int(n) => Ok(*n),
        other => Err(expected(label, &format!("an enum ({})", names()), other)),
    }
}

fn array(
    btf: &Btf,
    ty: Type<'_>,
    bytes: &mut [u8],
    value: &Spanned<Tree>,
    label: &str,
) -> Result<(), BadValue> {
    let bad = |message: String| BadValue { span: value.span(), message };
    let (Some(array), Some(size)) = (ty.array(), ty.array().and_then(|a| btf.size_of(a.elem)))
    else {
        return Err(bad(format!("`{label}` is an array of unknown size")));
    };
    let size = size as usize;
    match value.get_ref() {
        Tree::Str(s) if size == 1 => {
            // As C does, with the terminating zero.
            if s.len() >= bytes.len() {
                let most = bytes.len().saturating_sub(1);
                return Err(bad(format!("`{label}` holds {most} bytes of text, not {}", s.len())));
            }
            bytes.fill(0);
            bytes[..s.len()].copy_from_slice(s.as_bytes());
            Ok(())
        }
        Tree::List(rows) => {
            if size == 0 || rows.len() > bytes.len() / size || rows.len() > array.nelems as usize {
                let message =
                    format!("`{label}` has {} elements, not {}", array.nelems, rows.len());
                return Err(bad(message));
            }
            // As in a C initialiser, the rest is zero.
            bytes.fill(0);
            for (i, (row, slot)) in rows.iter().zip(bytes.chunks_exact_mut(size)).enumerate() {
                write(btf, array.elem, slot, row, &format!("{label}[{i}]"))?;
            }
            Ok(())
        }
        Tree::Table(rows) => {
            for (key, row) in rows {
                let index = key.get_ref().parse::<usize>().ok();
                let slot = index
                    .filter(|i| size > 0 && *i < array.nelems as usize)
                    .and_then(|i| bytes.get_mut(i.checked_mul(size)?..)?.get_mut(..size));
                let Some(slot) = slot else {
                    let message = format!(
                        "`{label}` has elements 0 to {}, not `{}`",
                        array.nelems.saturating_sub(1),
                        key.get_ref()
                    );
                    return Err(BadValue { span: key.span(), message });
                };
                write(btf, array.elem, slot, row, &format!("{label}.{}", key.get_ref()))?;
            }
            Ok(())
        }
        other => Err(bad(expected(label, &format!("an array of {}", array.nelems), other))),
    }
}

fn composite(
    btf: &Btf,
    ty: Type<'_>,
    bytes: &mut [u8],
    value: &Spanned<Tree>,
    label: &str,
) -> Result<(), BadValue> {
    let bad = |message: String| BadValue { span: value.span(), message };
    let Tree::Table(rows) = value.get_ref() else {
        let what = format!("{} {}", ty.kind().kernel_name().to_lowercase(), ty.name());
        return Err(bad(expected(label, what.trim_end(), value.get_ref())));
    };
    for (key, row) in rows {
        let inner = format!("{label}.{}", key.get_ref());
        let at = |message: String| BadValue { span: key.span(), message };
        let Some((id, offset, bits)) = member(btf, ty, key.get_ref(), 0) else {
            let names: Vec<_> = ty
                .members()
                .map(|m| btf.str(m.name_off))
                .filter(|n| !n.is_empty())
                .take(12)
                .collect();
            let message =
                format!("`{label}` has no member `{}`; it has {}", key.get_ref(), names.join(", "));
            return Err(at(message));
        };
        if bits != 0 || offset % 8 != 0 {
            return Err(at(format!("`{inner}` is a bitfield, which cannot be set")));
        }
        let (from, size) = (offset as usize / 8, btf.size_of(id).unwrap_or(0) as usize);
        let Some(slot) = bytes.get_mut(from..).and_then(|b| b.get_mut(..size)) else {
            return Err(at(format!("`{inner}` lies outside its variable")));
        };
        write(btf, id, slot, row, &inner)?;
    }
    Ok(())
}

/// Members nested without a name this deep are looked into.
const MAX_DEPTH: u32 = 16;

/// Type, bit offset and bitfield width of a member, also one of an unnamed struct or union inside.
fn member(btf: &Btf, ty: Type<'_>, name: &str, depth: u32) -> Option<(u32, u32, u8)> {
    for m in ty.members() {
        let own = btf.str(m.name_off);
        if own == name && !own.is_empty() {
            return Some((m.type_id, m.bit_offset, m.bitfield_size));
        }
        if own.is_empty() && depth < MAX_DEPTH {
            let inner = btf.skip_mods_and_typedefs(m.type_id);
            let found = inner
                .filter(|t| t.kind().is_composite())
                .and_then(|t| member(btf, t, name, depth + 1));
            if let Some((id, offset, bits)) = found {
                return Some((id, m.bit_offset.checked_add(offset)?, bits));
            }
        }
    }
    None
}
