//! Arguments of subprograms as BTF tells them (`btf_prepare_func_args` in `kernel/bpf/btf.c`,
//! `btf_check_subprog_call` in `kernel/bpf/verifier.c`).
//!
//! For a static function a mismatch only means that its BTF is not relied on; what was said on the
//! way stays in the log.

use std::sync::Arc;

use bpfassay_isa::Reg;
use bpfassay_object::btf::{essential_len, Btf, BtfKind, Type};
use bpfassay_spec::{ArgBase, ArgType, RegBase, TypeFlags};

use super::arg_types::{check_func_arg_reg_off, check_reg_type, ArgBtf};
use super::callinfo::CallMeta;
use super::dynptr::{process_dynptr_func, Origin};
use super::kfunc_arg::arg_name;
use super::mem_arg::check_mem_reg;
use super::plain_func_args;
use super::prog_ctx::{is_prog_ctx_type, validate_prog_ctx_type};
use super::stack::register_is_null;
use crate::domain::reg::BtfObj;
use crate::env::{Env, SubprogArg};
use crate::explore::precision::mark_chain_precision;
use crate::stop::{Check, Errno, Stop};
use crate::{verbose, verifier_bug};

fn invalid<T>() -> Check<T> {
    Err(Errno::EINVAL.into())
}

/// Argument tags (`__arg_ctx`, `__arg_trusted` … in libbpf), a set of bits.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
struct Tags(u8);

impl Tags {
    const CTX: Tags = Tags(1);
    const NONNULL: Tags = Tags(2);
    const TRUSTED: Tags = Tags(4);
    const UNTRUSTED: Tags = Tags(8);
    const NULLABLE: Tags = Tags(16);
    const ARENA: Tags = Tags(32);

    fn has(self, t: Tags) -> bool {
        self.0 & t.0 != 0
    }

    fn has_more_than(self, t: Tags) -> bool {
        self.0 & !t.0 != 0
    }

    fn from_name(tag: &str) -> Option<Tags> {
        Some(match tag {
            "ctx" => Tags::CTX,
            "trusted" => Tags::TRUSTED,
            "untrusted" => Tags::UNTRUSTED,
            "nonnull" => Tags::NONNULL,
            "nullable" => Tags::NULLABLE,
            "arena" => Tags::ARENA,
            _ => return None,
        })
    }
}

/// Fills `subprogs[subprog].args` from BTF, once.
pub fn btf_prepare_func_args(env: &mut Env<'_>, subprog: u32) -> Check {
    let at = subprog as usize;
    if env.subprogs[at].args_cached {
        return Ok(());
    }
    let (Some(info), Some(btf)) = (env.prog.func_info.get(at).copied(), env.prog.btf.clone())
    else {
        verifier_bug!(env, "func_info undefined");
        return Err(Errno::EFAULT.into());
    };
    let is_global = env.subprogs[at].is_global;
    let func = btf.ty(info.type_id).filter(|t| t.kind() == BtfKind::Func);
    let Some(func) = func else {
        verbose!(env, "BTF of func#{subprog} doesn't point to KIND_FUNC\n");
        return Err(Errno::EFAULT.into());
    };
    if env.subprogs[at].unreliable {
        verifier_bug!(env, "unreliable BTF for function {}()", func.name());
        return Err(Errno::EFAULT.into());
    }
    let Some(proto) = btf.func_proto(func.id()) else {
        verbose!(env, "Invalid type of function {}()\n", func.name());
        return Err(Errno::EFAULT.into());
    };
    let most = env.kernel.limits.max_func_reg_args;
    if proto.vlen() > most as usize {
        if is_global {
            let (name, n) = (func.name(), proto.vlen());
            verbose!(env, "Global function {name}() with {n} > {most} args. Buggy compiler.\n");
        }
        return invalid();
    }
    let void_too = env.kernel.features.void_global_functions;
    let returned = btf.skip_mods_and_typedefs(proto.type_id());
    let returns_int = returned.is_some_and(is_int_or_enum);
    let fits = returns_int || (void_too && returns_void_or_arena(&btf, subprog, returned));
    if !fits {
        if is_global && void_too {
            let name = func.name();
            verbose!(
                env,
                "Global function {name}() return value not void or scalar. Only those are supported.\n"
            );
        } else if is_global {
            let name = func.name();
            verbose!(
                env,
                "Global function {name}() doesn't return scalar. Only those are supported.\n"
            );
        }
        return invalid();
    }
    let args = Args { btf: &btf, func, is_global };
    let mut found = Vec::with_capacity(proto.vlen());
    for (i, param) in proto.params().enumerate() {
        found.push(args.argument(env, i, param.type_id)?);
    }
    let sub = &mut env.subprogs[at];
    sub.args = found;
    sub.args_cached = true;
    Ok(())
}

/// The pointer's type carries the tag `arena`.
fn is_arena_ptr(btf: &Btf, ptr: Type<'_>) -> bool {
    if ptr.kind() != BtfKind::Ptr {
        return false;
    }
    let mut t = btf.ty(ptr.type_id());
    while let Some(at) = t.filter(|t| t.kind().is_modifier()) {
        if at.kind() == BtfKind::TypeTag && !at.kflag() && at.name() == "arena" {
            return true;
        }
        t = btf.ty(at.type_id());
    }
    false
}

/// Nothing, or from a function that is no entry a pointer into the arena (`btf_validate_return_type`).
fn returns_void_or_arena(btf: &Btf, subprog: u32, returned: Option<Type<'_>>) -> bool {
    returned.is_some_and(|t| t.is_void() || (subprog != 0 && is_arena_ptr(btf, t)))
}

fn is_int_or_enum(t: Type<'_>) -> bool {
    t.kind() == BtfKind::Int || t.kind().is_any_enum()
}

/// The function whose arguments are worked out.
struct Args<'b> {
    btf: &'b Arc<Btf>,
    func: Type<'b>,
    is_global: bool,
}

impl Args<'_> {
    fn argument(&self, env: &mut Env<'_>, i: usize, type_id: u32) -> Check<SubprogArg> {
        let mut tags = self.tags(env, i)?;
        let Some(t) = self.btf.skip_mods_and_typedefs(type_id) else { return invalid() };
        if env.kernel.features.void_global_functions && is_arena_ptr(self.btf, t) {
            tags.0 |= Tags::ARENA.0;
        }
        let takes = env.kernel.features.global_pointer_args;
        let is_ptr = t.kind() == BtfKind::Ptr;
        let ctx_only = is_ptr
            && !takes
            && !tags.has(Tags::CTX)
            && !plain_func_args::is_ctx(env, self.btf, t, i)?;
        if is_ptr && !(self.is_global && ctx_only) {
            if let Some(arg) = self.pointer(env, i, t, tags)? {
                return Ok(arg);
            }
        }
        if tags != Tags::default() {
            verbose!(env, "arg#{i} has pointer tag, but is not a pointer type\n");
            return invalid();
        }
        if is_int_or_enum(t) {
            return Ok(plain(ArgBase::Anything.into()));
        }
        if self.is_global {
            let (kind, name) = (t.kind().kernel_name(), self.func.name());
            verbose!(env, "Arg#{i} type {kind} in {name}() is not supported yet.\n");
        }
        invalid()
    }

    fn tags(&self, env: &mut Env<'_>, i: usize) -> Check<Tags> {
        let mut tags = Tags::default();
        for text in self.btf.decl_tags(self.func.id(), i as i32) {
            let tags_known = env.kernel.features.argument_tags;
            if !tags_known && self.is_global && text == "arg:ctx" && has_context_struct(env) {
                // libbpf gives the argument the context's type where the kernel knows no tags.
                return Ok(Tags::CTX);
            }
            let Some(tag) = text.strip_prefix("arg:").filter(|_| tags_known) else { continue };
            if !self.is_global {
                verbose!(env, "arg#{i} type tag is not supported in static functions\n");
                return Err(Errno::EOPNOTSUPP.into());
            }
            let known = |t: &Tags| *t != Tags::UNTRUSTED || env.kernel.features.untrusted_arguments;
            let Some(tag) = Tags::from_name(tag).filter(known) else {
                verbose!(env, "arg#{i} has unsupported set of tags\n");
                return Err(Errno::EOPNOTSUPP.into());
            };
            tags.0 |= tag.0;
        }
        Ok(tags)
    }

    /// None for a pointer of a static function that says nothing.
    fn pointer(
        &self,
        env: &mut Env<'_>,
        i: usize,
        ptr: Type<'_>,
        tags: Tags,
    ) -> Check<Option<SubprogArg>> {
        if tags.has(Tags::CTX) || is_prog_ctx_type(env, self.btf, ptr)? {
            if tags.has_more_than(Tags::CTX) {
                return bad_combination(env, i);
            }
            if tags.has(Tags::CTX) && env.kernel.features.argument_tags {
                validate_prog_ctx_type(env, self.btf, ptr, i)?;
            }
            return Ok(Some(plain(ArgBase::Ctx.into())));
        }
        if env.kernel.features.args_from_btf_once && is_dynptr_ptr(self.btf, ptr) {
            if tags != Tags::default() {
                return bad_combination(env, i);
            }
            return Ok(Some(plain(ArgType::with(ArgBase::Dynptr, TypeFlags::MEM_RDONLY))));
        }
        if tags.has(Tags::TRUSTED) {
            return self.trusted(env, i, ptr, tags).map(Some);
        }
        if tags.has(Tags::UNTRUSTED) {
            return self.untrusted(env, i, ptr, tags).map(Some);
        }
        if tags.has(Tags::ARENA) {
            if tags.has_more_than(Tags::ARENA) {
                verbose!(env, "arg#{i} arena cannot be combined with any other tags\n");
                return invalid();
            }
            return Ok(Some(plain(ArgBase::Arena.into())));
        }
        if self.is_global {
            return self.memory(env, i, ptr, tags).map(Some);
        }
        Ok(None)
    }

    fn trusted(&self, env: &mut Env<'_>, i: usize, ptr: Type<'_>, tags: Tags) -> Check<SubprogArg> {
        if tags.has(Tags::NONNULL) {
            return bad_combination(env, i);
        }
        let id = kernel_type_id(env, self.btf, ptr, i)?;
        let nullable =
            if tags.has(Tags::NULLABLE) { TypeFlags::PTR_MAYBE_NULL } else { TypeFlags::NONE };
        Ok(SubprogArg {
            ty: ArgType::with(ArgBase::BtfId, TypeFlags::PTR_TRUSTED | nullable),
            mem_size_or_btf_id: id,
        })
    }

    fn untrusted(
        &self,
        env: &mut Env<'_>,
        i: usize,
        ptr: Type<'_>,
        tags: Tags,
    ) -> Check<SubprogArg> {
        if tags.has_more_than(Tags::UNTRUSTED) {
            verbose!(env, "arg#{i} untrusted cannot be combined with any other tags\n");
            return invalid();
        }
        let pointee = self.btf.skip_mods_and_typedefs(ptr.type_id());
        if pointee.is_some_and(|t| t.is_void() || is_int_or_enum(t)) {
            let flags = TypeFlags::MEM_RDONLY | TypeFlags::PTR_UNTRUSTED;
            return Ok(plain(ArgType::with(ArgBase::Mem, flags)));
        }
        let id = kernel_type_id(env, self.btf, ptr, i)?;
        let vmlinux = env.btf(BtfObj::VMLINUX).cloned();
        let target = vmlinux.as_ref().and_then(|b| b.ty(id));
        if let Some(target) = target.filter(|t| !t.kind().is_composite()) {
            // The kernel looks the pointer's name up in the wrong BTF; a pointer has none.
            let kind = target.kind().kernel_name();
            verbose!(
                env,
                "arg#{i} has type {kind} '', but only struct or primitive types are allowed\n"
            );
            return invalid();
        }
        Ok(SubprogArg {
            ty: ArgType::with(ArgBase::BtfId, TypeFlags::PTR_UNTRUSTED),
            mem_size_or_btf_id: id,
        })
    }

    /// Memory of the pointee's size.
    fn memory(&self, env: &mut Env<'_>, i: usize, ptr: Type<'_>, tags: Tags) -> Check<SubprogArg> {
        if tags.has(Tags::NULLABLE) {
            return bad_combination(env, i);
        }
        let Some(t) = self.btf.skip_mods_and_typedefs(ptr.type_id()) else { return invalid() };
        let Some(size) = self.btf.size_of(t.id()) else {
            let (kind, name, err) = (t.kind().kernel_name(), t.name(), -Errno::EINVAL.0);
            verbose!(
                env,
                "arg#{i} reference type('{kind} {name}') size cannot be determined: {err}\n"
            );
            return invalid();
        };
        let nullable =
            if tags.has(Tags::NONNULL) { TypeFlags::NONE } else { TypeFlags::PTR_MAYBE_NULL };
        Ok(SubprogArg { ty: ArgType::with(ArgBase::Mem, nullable), mem_size_or_btf_id: size })
    }
}

/// Programs of this type have a context struct of their own, which libbpf knows.
pub(super) fn has_context_struct(env: &Env<'_>) -> bool {
    let row = env.kernel.prog(env.prog.prog_type);
    row.is_some_and(|r| r.ctx.starts_with("struct ") || r.ctx == "bpf_user_pt_regs_t")
}

fn plain(ty: ArgType) -> SubprogArg {
    SubprogArg { ty, mem_size_or_btf_id: 0 }
}

fn bad_combination<T>(env: &mut Env<'_>, i: usize) -> Check<T> {
    verbose!(env, "arg#{i} has invalid combination of tags\n");
    invalid()
}

/// `struct bpf_dynptr *`, declared or defined (`btf_is_dynptr_ptr`).
fn is_dynptr_ptr(btf: &Btf, ptr: Type<'_>) -> bool {
    let Some(t) = btf.skip_mods_and_typedefs(ptr.type_id()) else { return false };
    let is_struct = t.kind().is_composite() || (t.kind() == BtfKind::Fwd && !t.kflag());
    is_struct && t.name() == "bpf_dynptr"
}

/// The kernel's type of the pointee's name, `___flavour` left out (`btf_get_ptr_to_btf_id`).
fn kernel_type_id(env: &mut Env<'_>, btf: &Btf, ptr: Type<'_>, i: usize) -> Check<u32> {
    let Some(t) = btf.skip_mods_and_typedefs(ptr.type_id()) else { return invalid() };
    let (kind, name) = (t.kind().kernel_name(), t.name());
    if name.is_empty() {
        let err = -Errno::EINVAL.0;
        verbose!(env, "arg#{i} reference type('{kind} {name}') candidate matching error: {err}\n");
        return invalid();
    }
    let Some(vmlinux) = env.btf(BtfObj::VMLINUX).cloned() else {
        return Err(Stop::unsupported("trusted argument without a kernel BTF"));
    };
    let essential = &name.as_bytes()[..essential_len(name.as_bytes())];
    let mut found = vmlinux.find_own_by_essential_name(essential).filter(|c| c.kind() == t.kind());
    match (found.next(), found.next()) {
        (Some(one), None) => Ok(one.id()),
        (Some(_), Some(_)) => {
            verbose!(env, "arg#{i} reference type('{kind} {name}') is ambiguous\n");
            Err(Errno(3).into())
        }
        (None, _) => {
            let in_module = env
                .btfs
                .iter()
                .skip(2)
                .flatten()
                .any(|b| b.find_own_by_essential_name(essential).any(|c| c.kind() == t.kind()));
            if in_module {
                verbose!(
                    env,
                    "arg#{i} reference type('{kind} {name}') points to kernel module type (unsupported)\n"
                );
                return Err(Errno::EOPNOTSUPP.into());
            }
            verbose!(env, "arg#{i} reference type('{kind} {name}') has no matches\n");
            Err(Errno::ENOENT.into())
        }
    }
}

/// What the current frame passes is what BTF promises; a mismatch makes the function's BTF
/// unreliable from then on.
pub fn btf_check_subprog_call(env: &mut Env<'_>, subprog: u32) -> Check {
    if env.prog.func_info.is_empty() || env.subprogs[subprog as usize].unreliable {
        return invalid();
    }
    let outcome = if env.kernel.features.args_from_btf_once {
        check_func_arg_match(env, subprog)
    } else {
        plain_func_args::check_call(env, subprog)
    };
    if matches!(outcome, Err(Stop::Reject(_))) {
        env.subprogs[subprog as usize].unreliable = true;
    }
    outcome
}

fn check_func_arg_match(env: &mut Env<'_>, subprog: u32) -> Check {
    btf_prepare_func_args(env, subprog)?;
    let args = env.subprogs[subprog as usize].args.clone();
    for (i, arg) in args.iter().enumerate() {
        check_arg(env, subprog, i, arg)?;
    }
    Ok(())
}

fn check_arg(env: &mut Env<'_>, subprog: u32, i: usize, arg: &SubprogArg) -> Check {
    let regno = Reg(i as u8 + 1);
    let reg = *env.reg(regno);
    let dont_care = ArgType::of(ArgBase::DontCare);
    if arg.ty == ArgBase::Anything {
        if reg.ty != RegBase::Scalar {
            verbose!(env, "R{} is not a scalar\n", regno.0);
            return invalid();
        }
    } else if arg.ty.has(TypeFlags::PTR_UNTRUSTED) {
        // Reads only, and probed: anything may come.
    } else if arg.ty == ArgBase::Ctx {
        check_func_arg_reg_off(env, &reg, regno, arg.ty)?;
        if reg.ty != RegBase::Ctx {
            let arg = arg_name(env, i);
            verbose!(env, "{arg} expects pointer to ctx\n");
            return invalid();
        }
    } else if arg.ty.base() == ArgBase::Mem {
        check_func_arg_reg_off(env, &reg, regno, dont_care)?;
        match check_mem_reg(env, regno, arg.mem_size_or_btf_id) {
            Err(Stop::Reject(_)) => return invalid(),
            other => other?,
        }
        let stricter = env.kernel.features.func_memory_args_not_null;
        let is_packet =
            matches!(reg.base(), RegBase::Packet | RegBase::PacketMeta | RegBase::PacketEnd);
        if stricter && is_packet && env.subprogs[subprog as usize].changes_pkt_data {
            let arg = arg_name(env, i);
            verbose!(env, "{arg} is a packet pointer, but func#{subprog} may change packet data\n");
            return invalid();
        }
        let is_null = stricter && register_is_null(&reg);
        if !arg.ty.may_be_null() && (reg.ty.may_be_null() || is_null) {
            let arg = arg_name(env, i);
            verbose!(env, "{arg} is expected to be non-NULL\n");
            return invalid();
        }
    } else if arg.ty.base() == ArgBase::Arena {
        if reg.ty != RegBase::Arena && reg.ty != RegBase::Scalar {
            verbose!(env, "R{} is not a pointer to arena or scalar.\n", regno.0);
            return invalid();
        }
    } else if arg.ty.base() == ArgBase::Dynptr {
        check_func_arg_reg_off(env, &reg, regno, ArgBase::Dynptr.into())?;
        process_dynptr_func(env, regno, None, arg.ty, Origin::New(0))?;
    } else if arg.ty.base() == ArgBase::BtfId {
        if register_is_null(&reg) && arg.ty.may_be_null() {
            return match env.kernel.features.null_memory_precise {
                true => mark_chain_precision(env, regno),
                false => Ok(()),
            };
        }
        check_reg_type(
            env,
            regno,
            arg.ty,
            ArgBtf::Id(arg.mem_size_or_btf_id),
            &CallMeta::default(),
        )?;
        check_func_arg_reg_off(env, &reg, regno, arg.ty)?;
    } else {
        verifier_bug!(env, "unrecognized arg#{i} type {}", arg.ty.word());
        return Err(Errno::EFAULT.into());
    }
    Ok(())
}
