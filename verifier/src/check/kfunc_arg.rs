//! What a kfunc's argument is, by its BTF type, its name's suffix and the register
//! (`get_kfunc_ptr_arg_type` and the `is_kfunc_arg_*` predicates).

use bpfassay_isa::Reg;
use bpfassay_object::btf::{Btf, BtfKind, Param, Type};
use bpfassay_spec::kfunc::KfuncFlags;
use bpfassay_spec::RegBase;

use super::callinfo::{KfuncMeta, Special};
use super::prog_ctx::is_prog_ctx_type;
use super::stack::register_is_null;
use crate::domain::reg::BtfObj;
use crate::env::Env;
use crate::stop::{Check, Errno};
use crate::verbose;

/// Kinds of pointer argument (`enum kfunc_ptr_arg_type`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PtrArg {
    Ctx,
    AllocBtfId,
    RefcountedKptr,
    Dynptr,
    Iter,
    ListHead,
    ListNode,
    BtfId,
    Mem,
    /// Its size is the next argument.
    MemSize,
    Callback,
    RbRoot,
    RbNode,
    Null,
    ConstStr,
    Map,
    Workqueue,
    Timer,
    TaskWork,
    IrqFlag,
    ResSpinLock,
    /// Into the program's arena (7.3).
    Arena,
}

/// A parameter with its name; suffixes say what BTF cannot.
#[derive(Clone, Copy)]
pub struct KfParam<'b> {
    pub btf: &'b Btf,
    pub name: &'b str,
    pub type_id: u32,
}

impl<'b> KfParam<'b> {
    pub fn new(btf: &'b Btf, p: Param) -> KfParam<'b> {
        KfParam { btf, name: btf.str(p.name_off), type_id: p.type_id }
    }

    /// NULL will do (`is_kfunc_arg_nullable`).
    pub fn may_be_null(&self) -> bool {
        self.has("__nullable") || self.has("__opt") || self.has("__arena")
    }

    /// It points into the program's arena (`is_kfunc_arg_arena`).
    fn is_arena(&self) -> bool {
        self.has("__arena") || self.has("__arena__nullable")
    }

    /// The name ends in `suffix` and is longer (`btf_param_match_suffix`).
    pub fn has(&self, suffix: &str) -> bool {
        self.name.len() > suffix.len() && self.name.ends_with(suffix)
    }

    /// Type without qualifiers and typedefs.
    pub fn ty(&self) -> Option<Type<'b>> {
        self.btf.skip_mods_and_typedefs(self.type_id)
    }
}

/// Argument `i` of a kfunc as messages name it.
#[derive(Clone, Copy)]
pub struct ArgName {
    i: usize,
    by_register: bool,
}

/// By number, or by register where the kernel does so.
pub fn arg_name(env: &Env<'_>, i: usize) -> ArgName {
    ArgName { i, by_register: env.kernel.features.args_named_by_register }
}

/// The same where older kernels say `arg #0`.
pub fn nth_arg(env: &Env<'_>, i: usize) -> String {
    match env.kernel.features.args_named_by_register {
        true => format!("R{}", i + 1),
        false => format!("arg #{i}"),
    }
}

/// The same where older kernels say `args#0`.
pub fn args_name(env: &Env<'_>, i: usize) -> String {
    match env.kernel.features.args_named_by_register {
        true => format!("R{}", i + 1),
        false => format!("args#{i}"),
    }
}

impl std::fmt::Display for ArgName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.by_register {
            true => write!(f, "R{}", self.i + 1),
            false => write!(f, "arg#{}", self.i),
        }
    }
}

/// INT or ENUM; not ENUM64 (`btf_type_is_scalar`).
pub fn is_scalar(t: Type<'_>) -> bool {
    matches!(t.kind(), BtfKind::Int | BtfKind::Enum)
}

/// Types that always stand for one kernel struct (`reg2btf_ids`).
pub fn reg2btf(base: RegBase) -> Option<&'static str> {
    Some(match base {
        RegBase::Socket => "sock",
        RegBase::SockCommon => "sock_common",
        RegBase::TcpSock => "tcp_sock",
        RegBase::ConstMapPtr => "bpf_map",
        _ => return None,
    })
}

/// A scalar argument in `reg` that gives the size of the memory before it: `__sz`, or `__szk` where it must be constant.
pub fn is_mem_size(env: &Env<'_>, param: &KfParam<'_>, reg: Reg, suffix: &str) -> bool {
    param.ty().is_some_and(is_scalar) && env.reg(reg).ty == RegBase::Scalar && param.has(suffix)
}

/// Pointers to these kernel structs are handled by type.
fn by_struct(env: &Env<'_>, param: &KfParam<'_>) -> Option<PtrArg> {
    let t = param.ty().filter(|t| t.kind() == BtfKind::Ptr)?;
    let pointee = param.btf.skip_mods_and_typedefs(t.type_id())?;
    let kind = match pointee.name() {
        "bpf_dynptr" => PtrArg::Dynptr,
        "bpf_list_head" => PtrArg::ListHead,
        "bpf_list_node" => PtrArg::ListNode,
        "bpf_rb_root" => PtrArg::RbRoot,
        "bpf_rb_node" => PtrArg::RbNode,
        "bpf_wq" => PtrArg::Workqueue,
        "bpf_timer" if env.kernel.features.kfunc_timer_args => PtrArg::Timer,
        "bpf_task_work" => PtrArg::TaskWork,
        "bpf_res_spin_lock" => PtrArg::ResSpinLock,
        _ => return None,
    };
    // The struct itself, not one of the same name in a module.
    let own = env.btf(BtfObj::VMLINUX)?.find_by_name_kind(pointee.name(), BtfKind::Struct)?;
    (own == pointee.id()).then_some(kind)
}

fn is_iter_arg(meta: &KfuncMeta, i: usize, param: &KfParam<'_>) -> bool {
    let iter =
        KfuncFlags(KfuncFlags::ITER_NEW.0 | KfuncFlags::ITER_NEXT.0 | KfuncFlags::ITER_DESTROY.0);
    if meta.has(iter) {
        return i == 0;
    }
    param.has("__iter")
}

/// Kind of pointer argument `i` of `params`; `pointee` without qualifiers.
pub fn ptr_arg(
    env: &mut Env<'_>,
    meta: &KfuncMeta,
    params: &[KfParam<'_>],
    i: usize,
    ptr: Type<'_>,
    pointee: Type<'_>,
) -> Check<PtrArg> {
    let arg = arg_name(env, i);
    let (param, regno) = (&params[i], Reg(i as u8 + 1));
    let features = &env.kernel.features;
    let takes_ctx = meta.is(Special::SessionIsReturn) || meta.is(Special::SessionCookie);
    if meta.is(Special::CastToKernCtx) || takes_ctx || is_prog_ctx_type(env, param.btf, ptr)? {
        return Ok(PtrArg::Ctx);
    }
    let next = Reg(regno.0 + 1);
    let has_size = params.get(i + 1).is_some_and(|n| {
        if features.kfunc_args_by_prototype {
            return n.ty().is_some_and(is_scalar) && (n.has("__sz") || n.has("__szk"));
        }
        is_mem_size(env, n, next, "__sz") || is_mem_size(env, n, next, "__szk")
    });
    let with_size = has_size;
    if param.may_be_null() && register_is_null(env.reg(regno)) && !with_size {
        return Ok(PtrArg::Null);
    }
    if let Some(kind) = by_name_or_struct(env, meta, param, i) {
        return Ok(kind);
    }
    if features.kfunc_args_by_prototype {
        return by_prototype(env, params, i, pointee, has_size);
    }
    let base = env.reg(regno).base();
    if base == RegBase::BtfId || reg2btf(base).is_some() {
        if !pointee.kind().is_composite() {
            let (kind, name) = (pointee.kind().kernel_name(), pointee.name());
            let args = args_name(env, i);
            verbose!(
                env,
                "kernel function {} {args} pointer type {kind} {name} is not supported\n",
                meta.name
            );
            return Err(Errno::EINVAL.into());
        }
        return Ok(PtrArg::BtfId);
    }
    if param.btf.func_ptr_proto(param.type_id).is_some() {
        return Ok(PtrArg::Callback);
    }
    let plain = is_scalar(pointee) || is_scalar_struct(env, param.btf, pointee, 0);
    let fits = plain || (has_size && pointee.is_void());
    if !fits {
        let (kind, name) = (pointee.kind().kernel_name(), pointee.name());
        let void = if has_size { "void, " } else { "" };
        verbose!(
            env,
            "{arg} pointer type {kind} {name} must point to {void}scalar, or struct with scalar\n"
        );
        return Err(Errno::EINVAL.into());
    }
    Ok(if has_size { PtrArg::MemSize } else { PtrArg::Mem })
}

/// The rest of `get_kfunc_arg_type` of 7.3.
fn by_prototype(
    env: &mut Env<'_>,
    params: &[KfParam<'_>],
    i: usize,
    pointee: Type<'_>,
    has_size: bool,
) -> Check<PtrArg> {
    let param = &params[i];
    if param.btf.func_ptr_proto(param.type_id).is_some() {
        return Ok(PtrArg::Callback);
    }
    if pointee.kind().is_composite() && !has_size {
        return Ok(PtrArg::BtfId);
    }
    let arg = arg_name(env, i);
    let plain = is_scalar(pointee) || (has_size && pointee.is_void());
    if !plain && !is_scalar_struct(env, param.btf, pointee, 0) {
        let (kind, name) = (pointee.kind().kernel_name(), pointee.name());
        let void = if has_size { "void, " } else { "" };
        verbose!(
            env,
            "{arg} pointer type {kind} {name} must point to {void}scalar, or struct with scalar\n"
        );
        return Err(Errno::EINVAL.into());
    }
    Ok(if has_size { PtrArg::MemSize } else { PtrArg::Mem })
}

/// Kinds told by suffix or by the struct pointed to, in the kernel's order.
fn by_name_or_struct(
    env: &Env<'_>,
    meta: &KfuncMeta,
    param: &KfParam<'_>,
    i: usize,
) -> Option<PtrArg> {
    if param.has("__alloc") {
        return Some(PtrArg::AllocBtfId);
    }
    if param.has("__refcounted_kptr") {
        return Some(PtrArg::RefcountedKptr);
    }
    let kind = by_struct(env, param);
    if kind == Some(PtrArg::Dynptr) {
        return kind;
    }
    if is_iter_arg(meta, i, param) {
        return Some(PtrArg::Iter);
    }
    let graph = [PtrArg::ListHead, PtrArg::ListNode, PtrArg::RbRoot, PtrArg::RbNode];
    if kind.is_some_and(|k| graph.contains(&k)) {
        return kind;
    }
    if param.has("__str") {
        return Some(PtrArg::ConstStr);
    }
    if param.has("__map") || param.has("__const_map") {
        return Some(PtrArg::Map);
    }
    if matches!(kind, Some(PtrArg::Workqueue | PtrArg::Timer | PtrArg::TaskWork)) {
        return kind;
    }
    if param.has("__irq_flag") {
        return Some(PtrArg::IrqFlag);
    }
    kind.or_else(|| param.is_arena().then_some(PtrArg::Arena))
}

/// A struct of nothing but scalars, nested at most four deep (`__btf_type_is_scalar_struct`).
pub fn is_scalar_struct(env: &mut Env<'_>, btf: &Btf, t: Type<'_>, depth: u32) -> bool {
    if !t.kind().is_composite() {
        return false;
    }
    for m in t.members() {
        let Some(member) = btf.skip_mods_and_typedefs(m.type_id) else { return false };
        if member.kind().is_composite() {
            if depth >= 3 {
                verbose!(env, "max struct nesting depth exceeded\n");
                return false;
            }
            if !is_scalar_struct(env, btf, member, depth + 1) {
                return false;
            }
            continue;
        }
        let scalar = match member.array() {
            Some(a) => a.nelems != 0 && btf.skip_mods_and_typedefs(a.elem).is_some_and(is_scalar),
            None => is_scalar(member),
        };
        if !scalar {
            return false;
        }
    }
    true
}
