//! Prototypes of kernel functions as C, for a header of types whose bpftool does not write them.
//!
//! Newer versions of bpftool end `vmlinux.h` with a declaration of each function that BTF tags `bpf_kfunc`, and test
//! programs count on them.

use bpfassay_object::btf::{Btf, BtfKind, Type};

/// Types nested deeper than this are not written.
const DEEPEST: u32 = 16;

/// The end of the header; empty where BTF tags no function.
pub fn prototypes(btf: &Btf) -> String {
    let mut out = String::new();
    let functions = (1..btf.type_count()).filter_map(|id| btf.ty(id));
    for f in functions.filter(|t| t.kind() == BtfKind::Func) {
        if !btf.decl_tags(f.id(), -1).any(|tag| tag == "bpf_kfunc") {
            continue;
        }
        if let Some(text) = f.target().and_then(|proto| declared(btf, proto, f.name(), 0)) {
            out.push_str(&format!("extern {text} __weak __ksym;\n"));
        }
    }
    match out.is_empty() {
        true => out,
        false => format!("{HEAD}{out}#endif\n"),
    }
}

const HEAD: &str = "\n#ifndef BPF_NO_KFUNC_PROTOTYPES
#ifndef __ksym
#define __ksym __attribute__((section(\".ksyms\")))
#endif
#ifndef __weak
#define __weak __attribute__((weak))
#endif
";

/// A declaration of `name` with this type; None where a type is not to be had by name.
fn declared(btf: &Btf, t: Type<'_>, name: &str, depth: u32) -> Option<String> {
    if depth > DEEPEST {
        return None;
    }
    let of = |id: u32, name: &str| match btf.ty(id).filter(|_| id != 0) {
        None => Some(format!("void {name}")),
        Some(t) => declared(btf, t, name, depth + 1),
    };
    let named = |word: &str| {
        (!t.name().is_empty()).then(|| format!("{word}{} {name}", t.name()).trim_end().to_string())
    };
    match t.kind() {
        BtfKind::Int | BtfKind::Float | BtfKind::Typedef => named(""),
        BtfKind::Struct | BtfKind::Fwd => named("struct "),
        BtfKind::Union => named("union "),
        BtfKind::Enum | BtfKind::Enum64 => named("enum "),
        BtfKind::Const if btf.kind(t.type_id()) != Some(BtfKind::Ptr) => {
            of(t.type_id(), name).map(|text| format!("const {text}"))
        }
        BtfKind::Const | BtfKind::Volatile | BtfKind::Restrict | BtfKind::TypeTag => {
            of(t.type_id(), name)
        }
        BtfKind::Ptr => match btf.kind(t.type_id()) {
            Some(BtfKind::FuncProto) => of(t.type_id(), &format!("(*{name})")),
            _ => of(t.type_id(), &format!("*{name}")),
        },
        BtfKind::FuncProto => {
            let mut params = Vec::new();
            for p in t.params() {
                params.push(match p.type_id {
                    0 => "...".to_string(),
                    id => of(id, btf.str(p.name_off))?,
                });
            }
            let params = if params.is_empty() { "void".to_string() } else { params.join(", ") };
            of(t.type_id(), &format!("{name}({params})"))
        }
        _ => None,
    }
}
