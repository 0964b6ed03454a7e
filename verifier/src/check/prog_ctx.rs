//! Context types of program types (`btf_is_prog_ctx_type`, `btf_validate_prog_ctx_type` in `kernel/bpf/btf.c`).
//!
//! The kernel's own table is read from its BTF: `struct bpf_ctx_convert` has a pair of members per program type.

use bpfassay_object::btf::{Btf, BtfKind, Type};
use bpfassay_spec::{CtxAlso, ProgType};

use super::summary::with_prog_kind;
use crate::domain::reg::BtfObj;
use crate::env::Env;
use crate::stop::{Check, Errno, Stop};
use crate::verbose;

/// Type id in vmlinux of the context as programs see it (`prog`) or as the kernel does (`kern`), typedefs kept.
fn ctx_type(vmlinux: &Btf, prog_type: ProgType, side: &str) -> Option<u32> {
    let convert = vmlinux.ty(vmlinux.find_by_name_kind("bpf_ctx_convert", BtfKind::Struct)?)?;
    let wanted = format!("BPF_PROG_TYPE_{}_{side}", prog_type.name().to_ascii_uppercase());
    let member = convert.members().find(|m| vmlinux.str(m.name_off) == wanted)?;
    Some(member.type_id)
}

/// As programs of a type see it (`find_canonical_prog_ctx_type`); the program's own is looked up once.
fn canonical_ctx_type(env: &Env<'_>, vmlinux: &Btf, prog_type: ProgType) -> Option<u32> {
    let look_up = || ctx_type(vmlinux, prog_type, "prog");
    match prog_type == env.prog_type() {
        true => *env.calls.ctx_type.get_or_init(look_up),
        false => look_up(),
    }
}

/// Struct behind the context of that program type, 0 without one.
pub fn kernel_ctx_type_of(env: &Env<'_>, prog_type: ProgType) -> Check<u32> {
    Ok(ctx_type(&*vmlinux(env)?, prog_type, "kern").unwrap_or(0))
}

/// Struct behind the context, for `bpf_cast_to_kern_ctx` (`get_kern_ctx_btf_id`).
pub fn kernel_ctx_type(env: &mut Env<'_>) -> Check<u32> {
    let kernel = vmlinux(env)?;
    let id = ctx_type(&kernel, env.prog_type(), "kern").unwrap_or(0);
    if !kernel.kind(id).is_some_and(BtfKind::is_composite) {
        verbose!(env, "kern ctx type id {id} is not a struct\n");
        return Err(Errno::EINVAL.into());
    }
    Ok(id)
}

fn vmlinux(env: &Env<'_>) -> Check<std::sync::Arc<Btf>> {
    env.btf(BtfObj::VMLINUX)
        .cloned()
        .ok_or_else(|| Stop::unsupported("context types without a kernel BTF"))
}

/// Past qualifiers to a `bpf_user_pt_regs_t` typedef.
fn is_user_pt_regs(btf: &Btf, pointee: u32) -> bool {
    btf.skip_mods(pointee)
        .is_some_and(|t| t.kind() == BtfKind::Typedef && t.name() == "bpf_user_pt_regs_t")
}

/// Kernel structs that stand for the context's public view (`btf_is_projection_of`).
pub fn is_projection_of(public: &str, name: &str) -> bool {
    matches!((public, name), ("__sk_buff", "sk_buff") | ("xdp_md", "xdp_buff"))
}

/// The pointer is to the program type's context, judged by name alone.
pub fn is_prog_ctx_type(env: &mut Env<'_>, btf: &Btf, ptr: Type<'_>) -> Check<bool> {
    is_ctx_type_of(env, env.prog_type(), btf, ptr)
}

/// As [`is_prog_ctx_type`], of another program type.
pub fn is_ctx_type_of(
    env: &mut Env<'_>,
    prog_type: ProgType,
    btf: &Btf,
    ptr: Type<'_>,
) -> Check<bool> {
    if prog_type == ProgType::Kprobe && is_user_pt_regs(btf, ptr.type_id()) {
        return Ok(true);
    }
    let Some(t) = btf.skip_mods_and_typedefs(ptr.type_id()) else { return Ok(false) };
    if !t.kind().is_composite() {
        return Ok(false);
    }
    let name = t.name();
    let kernel = vmlinux(env)?;
    let Some(ctx) = canonical_ctx_type(env, &kernel, prog_type) else {
        verbose!(env, "btf_vmlinux is malformed\n");
        return Ok(false);
    };
    let mut ctx = kernel.ty(ctx);
    while let Some(t) = ctx {
        if t.name().is_empty() {
            return Ok(false);
        }
        let stands_for =
            env.kernel.features.kernel_structs_as_context && is_projection_of(t.name(), name);
        if stands_for || t.name() == name {
            return Ok(true);
        }
        if !t.kind().is_modifier() && t.kind() != BtfKind::Typedef {
            return Ok(false);
        }
        ctx = kernel.skip_mods_and_typedefs(t.type_id());
    }
    Ok(false)
}

/// A pointer tagged as context has a type that this program type allows.
pub fn validate_prog_ctx_type(env: &mut Env<'_>, btf: &Btf, ptr: Type<'_>, arg: usize) -> Check {
    let prog_type = env.prog_type();
    let has_typedef = matches!(prog_type, ProgType::Kprobe | ProgType::PerfEvent);
    if has_typedef && is_user_pt_regs(btf, ptr.type_id()) {
        return Ok(());
    }
    let Some(t) = btf.skip_mods_and_typedefs(ptr.type_id()) else {
        return Err(Errno::EINVAL.into());
    };
    if t.is_void() {
        return Ok(());
    }
    let name = t.name();
    if name.is_empty() {
        verbose!(env, "arg#{arg} type doesn't have a name\n");
        return Err(Errno::EINVAL.into());
    }
    if is_special_ctx(env, t) {
        return Ok(());
    }
    let kernel = vmlinux(env)?;
    let Some(ctx) = canonical_ctx_type(env, &kernel, prog_type)
        .and_then(|id| kernel.skip_mods_and_typedefs(id))
    else {
        verbose!(env, "btf_vmlinux is malformed\n");
        return Err(Errno::EINVAL.into());
    };
    if ctx.kind() != BtfKind::Struct {
        verbose!(env, "arg#{arg} should be void pointer\n");
        return Err(Errno::EINVAL.into());
    }
    if t.kind() != BtfKind::Struct || ctx.name() != name {
        verbose!(env, "arg#{arg} should be `struct {} *`\n", ctx.name());
        return Err(Errno::EINVAL.into());
    }
    Ok(())
}

/// Types that single program types take beside their own.
fn is_special_ctx(env: &Env<'_>, t: Type<'_>) -> bool {
    let is_struct = t.kind() == BtfKind::Struct;
    let fits = |also: CtxAlso| match also {
        CtxAlso::Struct(name) => is_struct && t.name() == name,
        CtxAlso::U64 => t.kind() == BtfKind::Int && t.size() == 8,
        CtxAlso::Iter => is_struct && t.name().starts_with("bpf_iter__"),
        CtxAlso::Any => true,
    };
    with_prog_kind(env, |kind| env.kernel.ctx_also(kind).any(fits))
}
