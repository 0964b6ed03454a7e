//! `__arg_ctx` for kernels whose verifier does not know it: the parameter's type is made the one such a kernel
//! recognises as the context (libbpf: `bpf_program_fixup_func_info`).

use std::collections::HashMap;
use std::sync::Arc;

use bpfassay_spec::{ProgInfo, ProgType};

use crate::btf::{linkage, Btf, BtfKind};
use crate::model::Program;

/// Struct the kernel takes for the context of each program type; the rest have none with a name.
fn context_name(t: ProgType) -> Option<&'static str> {
    let ctx = ProgInfo::of(t)?.ctx;
    ctx.strip_prefix("struct ").or_else(|| Some(ctx).filter(|c| c.ends_with("_t")))
}

/// Gives the program a BTF of its own with the types changed, if any function it has asks for that.
pub(crate) fn rewrite(program: &mut Program) {
    let (Some(context), Some(shared)) = (context_name(program.prog_type), &program.btf) else {
        return;
    };
    let tags: Vec<(u32, i32)> = shared
        .own_types()
        .filter(|t| t.kind() == BtfKind::DeclTag && t.name() == "arg:ctx")
        .map(|t| (t.type_id(), t.component_idx()))
        .collect();
    if tags.is_empty() || program.func_info.is_empty() {
        return;
    }
    let mut btf = Btf::clone(shared);
    let mut record_of: HashMap<u32, usize> = HashMap::new();
    for (i, f) in program.func_info.iter().enumerate() {
        record_of.entry(f.type_id).or_insert(i);
    }
    let mut clones: HashMap<u32, u32> = HashMap::new();
    let mut pointer = 0;
    for (func, arg) in tags {
        let Some(record) = record_of.get(&func).copied() else { continue };
        let Some(param) = tagged_param(&btf, func, arg) else { continue };
        if !needs_rewrite(&btf, program.prog_type, param, context) {
            continue;
        }
        let clone = *clones.entry(func).or_insert_with(|| clone_func(&mut btf, func));
        program.func_info[record].type_id = clone;
        if pointer == 0 {
            let context = btf.add_composite(context, BtfKind::Struct, 0, &[]);
            pointer = btf.add_ref("", BtfKind::Ptr, context);
        }
        btf.add_decl_tag("arg:ctx", clone, arg);
        let proto = btf.ty(clone).map_or(0, |t| t.type_id());
        if let Some(word) = btf.words_mut(proto).and_then(|w| w.get_mut(3 + arg as usize * 2 + 1)) {
            *word = pointer;
        }
    }
    program.btf = Some(Arc::new(btf));
}

/// Type of the parameter a tag marks, if it is one of a global function.
fn tagged_param(btf: &Btf, func: u32, arg: i32) -> Option<u32> {
    let f = btf.ty(func).filter(|t| t.kind() == BtfKind::Func && t.linkage() == linkage::GLOBAL)?;
    let arg = usize::try_from(arg).ok()?;
    btf.func_proto(f.id())?.params().nth(arg).map(|p| p.type_id)
}

fn needs_rewrite(btf: &Btf, prog_type: ProgType, param: u32, context: &str) -> bool {
    let Some(ptr) = btf.skip_mods_and_typedefs(param).filter(|t| t.kind() == BtfKind::Ptr) else {
        return false;
    };
    let Some(t) = btf.skip_mods_and_typedefs(ptr.type_id()) else { return false };
    let is_struct = |name: &str| t.kind() == BtfKind::Struct && t.name() == name;
    if t.is_void() {
        return true;
    }
    if is_struct(context) {
        return false;
    }
    match prog_type {
        ProgType::Kprobe | ProgType::PerfEvent => is_struct("pt_regs"),
        ProgType::RawTracepoint | ProgType::RawTracepointWritable => {
            t.kind() == BtfKind::Int && t.size() == 8
        }
        _ => false,
    }
}

/// Copies FUNC and its FUNC_PROTO, names and all; gives the new FUNC.
fn clone_func(btf: &mut Btf, func: u32) -> u32 {
    let Some(f) = btf.ty(func) else { return func };
    let (name, link) = (f.name().to_string(), f.linkage());
    let Some(proto) = f.target() else { return func };
    let ret = proto.type_id();
    let params: Vec<(String, u32)> =
        proto.params().map(|p| (btf.str(p.name_off).to_string(), p.type_id)).collect();
    let params: Vec<(&str, u32)> = params.iter().map(|(n, t)| (n.as_str(), *t)).collect();
    let proto = btf.add_func_proto(ret, &params);
    btf.add_func(&name, link, proto)
}
