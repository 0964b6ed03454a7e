//! Prototypes of functions as bpftool heads them (`btf_dumper_type_only`): types from left to right, a space behind
//! each, arrays and pointers behind what they are of.

use bpfassay_object::btf::{Btf, BtfKind, Type};

/// Types nested deeper than this are not written.
const DEEPEST: u32 = 32;

/// `int f(struct xdp_md * ctx)`; None where a type cannot be written.
pub fn of(btf: &Btf, func: u32) -> Option<String> {
    let mut out = String::new();
    write(btf, func, &mut out, 0)?;
    Some(out)
}

fn write(btf: &Btf, id: u32, out: &mut String, depth: u32) -> Option<()> {
    if depth > DEEPEST {
        return None;
    }
    if id == 0 {
        out.push_str("void ");
        return Some(());
    }
    let t = btf.ty(id)?;
    let inner = |word: &str, out: &mut String| {
        out.push_str(word);
        write(btf, t.type_id(), out, depth + 1)
    };
    match t.kind() {
        BtfKind::Int | BtfKind::Typedef | BtfKind::Float => push(out, "", t),
        BtfKind::Struct => push(out, "struct ", t),
        BtfKind::Union => push(out, "union ", t),
        BtfKind::Enum | BtfKind::Enum64 => push(out, "enum ", t),
        BtfKind::Fwd => push(out, if t.kflag() { "union " } else { "struct " }, t),
        BtfKind::Volatile => inner("volatile ", out)?,
        BtfKind::Const => inner("const ", out)?,
        BtfKind::Restrict => inner("restrict ", out)?,
        BtfKind::Ptr => {
            inner("", out)?;
            out.push_str("* ");
        }
        BtfKind::Array => {
            let array = t.array()?;
            write(btf, array.elem, out, depth + 1)?;
            out.push_str(&format!("[{}]", array.nelems));
        }
        BtfKind::FuncProto => function(btf, t, "", out, depth)?,
        BtfKind::Func => function(btf, t.target()?, t.name(), out, depth)?,
        _ => return None,
    }
    Some(())
}

fn push(out: &mut String, word: &str, t: Type<'_>) {
    out.push_str(word);
    out.push_str(t.name());
    out.push(' ');
}

fn function(btf: &Btf, proto: Type<'_>, name: &str, out: &mut String, depth: u32) -> Option<()> {
    write(btf, proto.type_id(), out, depth + 1)?;
    out.push_str(name);
    out.push('(');
    for (i, param) in proto.params().enumerate() {
        if i > 0 {
            out.push_str(", ");
        }
        if param.type_id == 0 {
            out.push_str("...");
            continue;
        }
        write(btf, param.type_id, out, depth + 1)?;
        match btf.str(param.name_off) {
            "" => {
                if out.ends_with(' ') {
                    out.pop();
                }
            }
            name => out.push_str(name),
        }
    }
    out.push(')');
    Some(())
}
