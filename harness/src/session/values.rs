//! Map keys and values as JSON, shaped by their BTF types.
//!
//! Reading takes what a person writes: numbers, names of enumerators, text for
//! arrays of characters, lists, objects by member name, and for any type its bytes in
//! hexadecimal.  What is not named keeps the bytes it has.  Writing gives the
//! same forms back.  Types are the object's, so they are as untrusted as the rest of it.

use bpfassay_object::btf::{int_encoding, Btf, BtfKind, Type};
use serde_json::{Map, Value};

/// Types nest no deeper in any C program worth the name.
const MAX_DEPTH: u32 = 32;
/// Values shown of one element, and members looked through for a name: types may
/// share parts, so that few bytes of BTF describe very many values.
const MAX_VALUES: u32 = 1 << 22;

/// Two digits a byte.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// Bytes in hexadecimal; white space and colons between them count for nothing.
pub fn from_hex(text: &str) -> Result<Vec<u8>, String> {
    let digits: Vec<u8> = text
        .chars()
        .filter(|c| !c.is_whitespace() && *c != ':')
        .map(|c| c.to_digit(16).and_then(|d| u8::try_from(d).ok()))
        .collect::<Option<_>>()
        .ok_or("not a hexadecimal digit")?;
    let (pairs, rest) = digits.as_chunks::<2>();
    if !rest.is_empty() {
        return Err("half a byte at the end".to_string());
    }
    Ok(pairs.iter().map(|[hi, lo]| hi << 4 | lo).collect())
}

/// Bytes as a value of this type; hexadecimal where the type is not known or does not fit.
pub fn show(bytes: &[u8], ty: Option<Type<'_>>) -> Value {
    let mut left = MAX_VALUES;
    ty.and_then(|t| decode(bytes, t, 0, &mut left)).unwrap_or_else(|| Value::from(hex(bytes)))
}

fn resolved<'b>(t: Type<'b>) -> Option<Type<'b>> {
    t.btf().skip_mods_and_typedefs(t.id())
}

fn of(btf: &Btf, id: u32) -> Option<Type<'_>> {
    btf.skip_mods_and_typedefs(id)
}

fn unsigned(bytes: &[u8]) -> Option<u64> {
    let n = bytes.get(..bytes.len().min(8))?;
    (bytes.len() <= 8).then(|| n.iter().rev().fold(0, |v, b| v << 8 | *b as u64))
}

/// The low `bits` of a number, sign-extended if asked.
fn number(v: u64, bits: u32, is_signed: bool) -> Value {
    let shift = 64u32.saturating_sub(bits.max(1));
    if is_signed {
        Value::from(((v << shift) as i64) >> shift)
    } else {
        Value::from((v << shift) >> shift)
    }
}

fn is_char(t: Type<'_>) -> bool {
    let is_byte = resolved(t).is_some_and(|t| t.kind() == BtfKind::Int && t.size() == 1);
    let is_char =
        resolved(t).and_then(Type::int).is_some_and(|i| i.encoding & int_encoding::CHAR != 0);
    is_byte && (is_char || resolved(t).is_some_and(|t| t.name() == "char"))
}

fn decode(bytes: &[u8], ty: Type<'_>, depth: u32, left: &mut u32) -> Option<Value> {
    if depth > MAX_DEPTH {
        return None;
    }
    *left = left.checked_sub(1)?;
    let t = resolved(ty)?;
    let btf = t.btf();
    Some(match t.kind() {
        BtfKind::Int => {
            let int = t.int()?;
            let v = unsigned(bytes)?;
            match int.encoding & int_encoding::BOOL != 0 && v <= 1 {
                true => Value::from(v == 1),
                false => number(v, int.bits as u32, int.encoding & int_encoding::SIGNED != 0),
            }
        }
        BtfKind::Enum | BtfKind::Enum64 => {
            let v = unsigned(bytes)?;
            let bits = 8 * bytes.len() as u32;
            let plain = number(v, bits, t.kflag());
            let named = t.enumerators().find(|e| number(e.value as u64, bits, t.kflag()) == plain);
            named.map_or(plain, |e| Value::from(btf.str(e.name_off)))
        }
        BtfKind::Ptr => Value::from(format!("{:#x}", unsigned(bytes)?)),
        BtfKind::Float => match bytes.len() {
            4 => Value::from(f32::from_le_bytes(bytes.try_into().ok()?)),
            8 => Value::from(f64::from_le_bytes(bytes.try_into().ok()?)),
            _ => return None,
        },
        BtfKind::Array => {
            let elem = btf.ty(t.array()?.elem)?;
            if is_char(elem) {
                if let Some(text) = text(bytes) {
                    return Some(Value::from(text));
                }
            }
            let size = btf.size_of(elem.id()).filter(|s| *s > 0)? as usize;
            let items = bytes.chunks_exact(size).map(|b| decode(b, elem, depth + 1, left));
            Value::Array(items.collect::<Option<_>>()?)
        }
        BtfKind::Struct | BtfKind::Union => {
            let mut out = Map::new();
            for i in 0..t.vlen() {
                let m = t.member(i)?;
                let (name, v) = (btf.str(m.name_off), member(bytes, t, i, depth, left)?);
                match v {
                    Value::Object(inner) if name.is_empty() => out.extend(inner),
                    v => {
                        out.insert(name.to_string(), v);
                    }
                }
            }
            Value::Object(out)
        }
        BtfKind::Datasec => {
            let mut out = Map::new();
            for v in t.vars() {
                let var = btf.ty(v.type_id)?;
                let (start, size) = (v.offset as usize, v.size as usize);
                let part = bytes.get(start..start.checked_add(size)?)?;
                out.insert(var.name().to_string(), decode(part, var.target()?, depth + 1, left)?);
            }
            Value::Object(out)
        }
        _ => return None,
    })
}

fn member(bytes: &[u8], t: Type<'_>, index: usize, depth: u32, left: &mut u32) -> Option<Value> {
    let m = t.member(index)?;
    if m.bitfield_size != 0 {
        let (start, end) = bit_bytes(&m)?;
        let v = unsigned(bytes.get(start..end)?)? >> (m.bit_offset % 8);
        let signed = of(t.btf(), m.type_id).and_then(Type::int);
        let is_signed = signed.is_some_and(|i| i.encoding & int_encoding::SIGNED != 0);
        return Some(number(v, m.bitfield_size as u32, is_signed));
    }
    let (start, size) = (m.byte_offset() as usize, t.btf().size_of(m.type_id)? as usize);
    decode(bytes.get(start..start.checked_add(size)?)?, t.btf().ty(m.type_id)?, depth + 1, left)
}

/// Bytes a bit field touches; None where they are more than eight.
fn bit_bytes(m: &bpfassay_object::btf::Member) -> Option<(usize, usize)> {
    let start = m.byte_offset();
    let end = (m.bit_offset.checked_add(m.bitfield_size as u32)?).div_ceil(8);
    (end - start <= 8).then_some((start as usize, end as usize))
}

/// Printable text up to a zero, nothing but zeroes behind it.
fn text(bytes: &[u8]) -> Option<&str> {
    let end = bytes.iter().position(|b| *b == 0).unwrap_or(bytes.len());
    let (text, rest) = bytes.split_at_checked(end)?;
    let text = std::str::from_utf8(text).ok().filter(|t| !t.chars().any(char::is_control))?;
    rest.iter().all(|b| *b == 0).then_some(text)
}

/// Writes a value over bytes that hold what is not named.
pub fn write(to: &mut [u8], v: &Value, ty: Option<Type<'_>>) -> Result<(), String> {
    encode(to, v, ty, 0)
}

fn encode(to: &mut [u8], v: &Value, ty: Option<Type<'_>>, depth: u32) -> Result<(), String> {
    if depth > MAX_DEPTH {
        return Err("types nest too deeply".to_string());
    }
    let t = ty.and_then(resolved);
    match v {
        Value::Bool(b) => put_number(to, *b as i128),
        Value::Number(n) => {
            let n = n.as_i64().map(i128::from).or_else(|| n.as_u64().map(i128::from));
            put_number(to, n.ok_or("only whole numbers can be written")?)
        }
        Value::String(s) => encode_text(to, s, t),
        Value::Array(items) => encode_list(to, items, t, depth),
        Value::Object(members) => members.iter().try_for_each(|(name, v)| {
            encode_member(to, name, v, t, depth).map_err(|e| format!("{name}: {e}"))
        }),
        Value::Null => Err("null is no value".to_string()),
    }
}

fn put_number(to: &mut [u8], n: i128) -> Result<(), String> {
    let bits = 8 * to.len().min(8) as u32;
    let is_fitting = to.len() <= 8 && n >= -(1i128 << bits.saturating_sub(1)) && n < 1i128 << bits;
    if !is_fitting || to.is_empty() {
        return Err(format!("{n} does not fit {} bytes", to.len()));
    }
    let bytes = n.to_le_bytes();
    to.iter_mut().zip(bytes).for_each(|(t, b)| *t = b);
    Ok(())
}

fn encode_text(to: &mut [u8], s: &str, t: Option<Type<'_>>) -> Result<(), String> {
    if let Some(number) = s.strip_prefix("0x") {
        let n = u64::from_str_radix(number, 16).map_err(|_| format!("{s} is no number"))?;
        return put_number(to, n as i128);
    }
    if let Some(t) = t {
        let bits = 8 * to.len().min(8) as u32;
        let named = t.enumerators().find(|e| t.btf().str(e.name_off) == s);
        if let Some(e) = named {
            let mask = if bits == 64 { u64::MAX } else { (1 << bits) - 1 };
            return put_number(to, (e.value as u64 & mask) as i128);
        }
        let elem = t.array().and_then(|a| t.btf().ty(a.elem));
        if elem.is_some_and(is_char) {
            let bytes = s.as_bytes();
            if bytes.len() > to.len() {
                return Err(format!("{} bytes of text do not fit {}", bytes.len(), to.len()));
            }
            to.fill(0);
            to.iter_mut().zip(bytes).for_each(|(t, b)| *t = *b);
            return Ok(());
        }
    }
    let bytes = from_hex(s).map_err(|e| format!("\"{s}\": {e}"))?;
    if bytes.len() != to.len() {
        return Err(format!("\"{s}\" has {} bytes, not {}", bytes.len(), to.len()));
    }
    to.copy_from_slice(&bytes);
    Ok(())
}

fn encode_list(
    to: &mut [u8],
    items: &[Value],
    t: Option<Type<'_>>,
    depth: u32,
) -> Result<(), String> {
    let elem = t.and_then(|t| t.btf().ty(t.array()?.elem));
    let size = match (t, elem) {
        (Some(_), None) => return Err("a list where the type is no array".to_string()),
        (Some(t), Some(e)) => t.btf().size_of(e.id()).unwrap_or(0) as usize,
        _ => 1,
    };
    let room = to.len().checked_div(size).unwrap_or(0);
    if items.len() > room {
        return Err(format!("{} elements do not fit {room}", items.len()));
    }
    let parts = to.chunks_exact_mut(size.max(1));
    for (i, (part, v)) in parts.zip(items).enumerate() {
        encode(part, v, elem, depth + 1).map_err(|e| format!("[{i}]: {e}"))?;
    }
    Ok(())
}

fn encode_member(
    to: &mut [u8],
    name: &str,
    v: &Value,
    t: Option<Type<'_>>,
    depth: u32,
) -> Result<(), String> {
    let t = t.ok_or("members without a type")?;
    let btf = t.btf();
    if t.kind() == BtfKind::Datasec {
        let var = t.vars().find(|s| btf.name(s.type_id) == name).ok_or("no such variable")?;
        let (start, size) = (var.offset as usize, var.size as usize);
        let part = start.checked_add(size).and_then(|end| to.get_mut(start..end));
        let ty = btf.ty(var.type_id).and_then(Type::target);
        return encode(part.ok_or("beyond the section")?, v, ty, depth + 1);
    }
    let mut left = MAX_VALUES;
    for i in 0..t.vlen() {
        let Some(m) = t.member(i) else { continue };
        let inner = btf.str(m.name_off);
        let is_within = inner.is_empty() && has(btf, m.type_id, name, depth, &mut left);
        if inner != name && !is_within {
            continue;
        }
        if m.bitfield_size != 0 {
            return put_bits(to, &m, v);
        }
        let (start, size) =
            (m.byte_offset() as usize, btf.size_of(m.type_id).unwrap_or(0) as usize);
        let part = start.checked_add(size).and_then(|end| to.get_mut(start..end));
        let part = part.ok_or("beyond the value")?;
        let ty = btf.ty(m.type_id);
        return match inner.is_empty() {
            true => encode_member(part, name, v, ty.and_then(resolved), depth + 1),
            false => encode(part, v, ty, depth + 1),
        };
    }
    Err(format!("{} has no such member", if t.name().is_empty() { "the type" } else { t.name() }))
}

/// Whether an unnamed member holds this one.
fn has(btf: &Btf, id: u32, name: &str, depth: u32, left: &mut u32) -> bool {
    let Some(t) = of(btf, id).filter(|_| depth < MAX_DEPTH) else { return false };
    (0..t.vlen()).filter_map(|i| t.member(i)).any(|m| {
        *left = left.saturating_sub(1);
        match btf.str(m.name_off) {
            _ if *left == 0 => false,
            "" => has(btf, m.type_id, name, depth + 1, left),
            n => n == name,
        }
    })
}

fn put_bits(to: &mut [u8], m: &bpfassay_object::btf::Member, v: &Value) -> Result<(), String> {
    let n = v.as_i64().map(|n| n as u64).or_else(|| v.as_u64()).or(v.as_bool().map(u64::from));
    let n = n.ok_or("a bit field takes a number")?;
    let bits = m.bitfield_size as u32;
    let mask = if bits >= 64 { u64::MAX } else { (1 << bits) - 1 };
    let is_negative = v.as_i64().is_some_and(|n| n < 0);
    if (n & !mask != 0 && !is_negative)
        || (is_negative && (n as i64) < -(1i64 << (bits - 1).min(62)))
    {
        return Err(format!("{v} does not fit {bits} bits"));
    }
    let (start, end) = bit_bytes(m).ok_or("a bit field over nine bytes")?;
    let part = to.get_mut(start..end).ok_or("beyond the value")?;
    let shift = m.bit_offset % 8;
    let old = unsigned(part).unwrap_or(0);
    let new = (old & !(mask << shift)) | (n & mask) << shift;
    part.iter_mut().zip(new.to_le_bytes()).for_each(|(t, b)| *t = b);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// `struct s { u32 a; char name[8]; short list[2]; u32 tail; }`.
    fn types() -> (Btf, u32) {
        let mut b = Btf::empty();
        let u32_ = b.add_int("u32", 4, 0);
        let chr = b.add_int("char", 1, int_encoding::SIGNED);
        let s16 = b.add_int("short", 2, int_encoding::SIGNED);
        let name = b.add_array(chr, u32_, 8);
        let list = b.add_array(s16, u32_, 2);
        let id = b.add_composite(
            "s",
            BtfKind::Struct,
            20,
            &[("a", u32_, 0), ("name", name, 32), ("list", list, 96), ("tail", u32_, 128)],
        );
        (b, id)
    }

    #[test]
    fn what_is_written_reads_back() {
        let (btf, id) = types();
        let ty = btf.ty(id);
        let mut bytes = vec![0xff; 20];
        let v = json!({"a": 7, "name": "eth0", "list": [-1, 2], "tail": "0x10"});
        write(&mut bytes, &v, ty).unwrap();
        assert_eq!(hex(&bytes), "070000006574683000000000ffff020010000000");
        assert_eq!(show(&bytes, ty), json!({"a": 7, "name": "eth0", "list": [-1, 2], "tail": 16}));
        // What is not named stays.
        write(&mut bytes, &json!({"tail": 1}), ty).unwrap();
        assert_eq!(show(&bytes, ty), json!({"a": 7, "name": "eth0", "list": [-1, 2], "tail": 1}));
    }

    #[test]
    fn wrong_values_are_refused_with_the_place() {
        let (btf, id) = types();
        let ty = btf.ty(id);
        let mut bytes = vec![0; 20];
        let mut refusal = |v: Value| write(&mut bytes, &v, ty).unwrap_err();
        assert_eq!(refusal(json!({"a": 4294967296u64})), "a: 4294967296 does not fit 4 bytes");
        assert_eq!(refusal(json!({"b": 1})), "b: s has no such member");
        assert_eq!(refusal(json!({"list": [1, 2, 3]})), "list: 3 elements do not fit 2");
        assert_eq!(refusal(json!({"list": [1, 70000]})), "list: [1]: 70000 does not fit 2 bytes");
        assert_eq!(refusal(json!("00")), "\"00\" has 1 bytes, not 20");
    }

    #[test]
    fn without_a_type_there_are_numbers_and_bytes() {
        let mut bytes = [0; 4];
        write(&mut bytes, &json!(-2), None).unwrap();
        assert_eq!(bytes, [0xfe, 0xff, 0xff, 0xff]);
        write(&mut bytes, &json!("01 02:0304"), None).unwrap();
        assert_eq!((bytes, show(&bytes, None)), ([1, 2, 3, 4], json!("01020304")));
    }
}
