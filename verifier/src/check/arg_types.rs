//! Which register types an argument takes (`check_reg_type`, `check_func_arg_reg_off`).
//!
//! Looks at types and fixed offsets only; what is behind a pointer is the business of [`super::args`].

use bpfassay_isa::Reg;
use bpfassay_object::btf::BtfKind;
use bpfassay_spec::{func, ArgBase, ArgType, ProgType, RegBase, RegType, TypeFlags};

use super::btf_record::KptrTarget;
use super::btf_walk::btf_struct_ids_match;
use super::callinfo::CallMeta;
use super::kptr_access::map_kptr_match_type;
use super::region::check_ptr_off_reg_fixed_ok;
use crate::diagnostics;
use crate::domain::reg::{BtfObj, RegState};
use crate::env::Env;
use crate::stop::{Check, Errno, Stop};
use crate::{verbose, verifier_bug};

const fn flagged(base: RegBase, flags: TypeFlags) -> RegType {
    RegType::with(base, flags)
}

const BTF_TRUSTED: RegType = flagged(RegBase::BtfId, TypeFlags::PTR_TRUSTED);
const BTF_RCU: RegType = flagged(RegBase::BtfId, TypeFlags::MEM_RCU);
const BTF_ALLOC: RegType = flagged(RegBase::BtfId, TypeFlags::MEM_ALLOC);
const BTF_PERCPU: RegType = flagged(RegBase::BtfId, TypeFlags::MEM_PERCPU);
const RINGBUF_MEM: RegType = flagged(RegBase::Mem, TypeFlags::MEM_RINGBUF);

const SCALAR: RegType = RegType::of(RegBase::Scalar);
const CTX: RegType = RegType::of(RegBase::Ctx);
const CONST_MAP_PTR: RegType = RegType::of(RegBase::ConstMapPtr);
const MAP_VALUE: RegType = RegType::of(RegBase::MapValue);
const MAP_KEY: RegType = RegType::of(RegBase::MapKey);
const STACK: RegType = RegType::of(RegBase::Stack);
const PACKET: RegType = RegType::of(RegBase::Packet);
const PACKET_META: RegType = RegType::of(RegBase::PacketMeta);
const PLAIN_MEM: RegType = RegType::of(RegBase::Mem);
const BUF: RegType = RegType::of(RegBase::Buf);
const SOCKET: RegType = RegType::of(RegBase::Socket);
const SOCK_COMMON: RegType = RegType::of(RegBase::SockCommon);
const TCP_SOCK: RegType = RegType::of(RegBase::TcpSock);
const XDP_SOCK: RegType = RegType::of(RegBase::XdpSock);
const BTF: RegType = RegType::of(RegBase::BtfId);
const FUNC: RegType = RegType::of(RegBase::Func);
const DYNPTR: RegType = RegType::of(RegBase::ConstDynptr);

const SOCK: &[RegType] = &[SOCK_COMMON, SOCKET, TCP_SOCK, XDP_SOCK];
const BTF_SOCK_COMMON: &[RegType] = &[SOCK_COMMON, SOCKET, TCP_SOCK, XDP_SOCK, BTF, BTF_TRUSTED];
const MEM: &[RegType] =
    &[STACK, PACKET, PACKET_META, MAP_KEY, MAP_VALUE, PLAIN_MEM, RINGBUF_MEM, BUF, BTF_TRUSTED];
/// The same with the context.
const MEM_OR_CTX: &[RegType] = &[
    STACK,
    PACKET,
    PACKET_META,
    MAP_KEY,
    MAP_VALUE,
    PLAIN_MEM,
    RINGBUF_MEM,
    BUF,
    BTF_TRUSTED,
    CTX,
];
/// Memory before 6.2, and what stood for keys and values of maps then.
const OLD_MEM: &[RegType] =
    &[STACK, PACKET, PACKET_META, MAP_KEY, MAP_VALUE, PLAIN_MEM, RINGBUF_MEM, BUF];
const KEY_OR_VALUE: &[RegType] = &[STACK, PACKET, PACKET_META, MAP_KEY, MAP_VALUE];
/// The same before types were composed.
const WHOLE_MEM: &[RegType] = &[
    STACK,
    PACKET,
    PACKET_META,
    MAP_VALUE,
    PLAIN_MEM,
    flagged(RegBase::Buf, TypeFlags::MEM_RDONLY),
    BUF,
];
const WHOLE_KEY_OR_VALUE: &[RegType] = &[STACK, PACKET, PACKET_META, MAP_VALUE];
const PERCPU_BTF: &[RegType] =
    &[BTF_PERCPU, BTF_PERCPU.plus(TypeFlags::MEM_RCU), BTF_PERCPU.plus(TypeFlags::PTR_TRUSTED)];
const MAP_VALUE_OR_ALLOC: &[RegType] = &[MAP_VALUE, BTF_ALLOC];
const NODE: RegType = BTF_ALLOC.plus(TypeFlags::NON_OWN_REF);
/// The same with objects that a list or tree owns.
const EXCHANGED: &[RegType] = &[MAP_VALUE, BTF_ALLOC, NODE, NODE.plus(TypeFlags::MEM_RCU)];

/// Types an argument takes, in the order the log lists them (`compatible_reg_types`).
fn compatible(arg: ArgBase) -> Option<&'static [RegType]> {
    Some(match arg {
        ArgBase::MapKey | ArgBase::MapValue | ArgBase::Mem => MEM,
        ArgBase::ConstSize
        | ArgBase::ConstSizeOrZero
        | ArgBase::ConstAllocSizeOrZero
        | ArgBase::Scalar => &[SCALAR],
        ArgBase::ConstMapPtr => &[CONST_MAP_PTR],
        ArgBase::Ctx => &[CTX],
        ArgBase::SockCommon => SOCK,
        ArgBase::BtfIdSockCommon => BTF_SOCK_COMMON,
        ArgBase::Socket => &[SOCKET],
        ArgBase::BtfId => &[BTF, BTF_TRUSTED, BTF_RCU],
        ArgBase::SpinLock | ArgBase::KptrXchgDest => MAP_VALUE_OR_ALLOC,
        ArgBase::RingbufMem => &[RINGBUF_MEM],
        ArgBase::PercpuBtfId => PERCPU_BTF,
        ArgBase::Func => &[FUNC],
        ArgBase::Stack => &[STACK],
        ArgBase::ConstStr | ArgBase::Timer => &[MAP_VALUE],
        ArgBase::Dynptr => &[STACK, DYNPTR],
        ArgBase::DontCare | ArgBase::Arena | ArgBase::Anything => return None,
    })
}

/// The same on this kernel: trust, nodes of ring buffers and the context came later.
fn compatible_here(env: &Env<'_>, arg: ArgType) -> Option<&'static [RegType]> {
    let f = &env.kernel.features;
    let types = compatible(arg.base())?;
    if f.trust_tracked {
        let with_ctx = types == MEM && f.context_is_memory;
        return Some(if with_ctx { MEM_OR_CTX } else { types });
    }
    let whole = !f.type_names_composed;
    Some(match arg.base() {
        ArgBase::MapKey | ArgBase::MapValue if whole => WHOLE_KEY_OR_VALUE,
        ArgBase::MapKey | ArgBase::MapValue => KEY_OR_VALUE,
        ArgBase::Mem if whole && arg.has(TypeFlags::MEM_FIXED_SIZE) => WHOLE_KEY_OR_VALUE,
        ArgBase::Mem if whole => WHOLE_MEM,
        ArgBase::Mem => OLD_MEM,
        ArgBase::RingbufMem if whole => &[PLAIN_MEM],
        ArgBase::BtfIdSockCommon => &[SOCK_COMMON, SOCKET, TCP_SOCK, XDP_SOCK, BTF],
        ArgBase::BtfId => &[BTF],
        ArgBase::SpinLock | ArgBase::KptrXchgDest => &[MAP_VALUE],
        ArgBase::PercpuBtfId => &[BTF_PERCPU],
        _ => types,
    })
}

/// The kernel struct an argument asks for.
#[derive(Clone, Copy, Debug)]
pub enum ArgBtf {
    /// None given: the argument kind implies it.
    Implied,
    /// By name, in vmlinux (helper prototypes).
    Name(&'static str),
    /// By id, in vmlinux (global functions).
    Id(u32),
}

/// The register's type is one the argument takes (`check_reg_type`).
pub fn check_reg_type(
    env: &mut Env<'_>,
    regno: Reg,
    arg: ArgType,
    btf: ArgBtf,
    meta: &CallMeta,
) -> Check {
    let Some(types) = compatible_here(env, arg) else {
        verifier_bug!(env, "unsupported arg type {}", arg.word());
        return Err(Errno::EFAULT.into());
    };
    let shared = arg.base() == ArgBase::KptrXchgDest && env.kernel.features.nodes_exchange;
    let types = if shared { EXCHANGED } else { types };
    let reg = *env.reg(regno);
    let folded = if env.kernel.features.type_names_composed {
        fold_flags(reg.ty, arg, regno, meta)
    } else {
        reg.ty.minus(TypeFlags::MEM_RINGBUF)
    };
    if !types.contains(&folded) {
        verbose!(env, "R{} type={} expected=", regno.0, env.type_name(reg.ty));
        for (i, t) in types.iter().enumerate() {
            verbose!(env, "{}{}", if i == 0 { "" } else { ", " }, env.type_name(*t));
        }
        verbose!(env, "\n");
        report_type(env, regno, &reg, types);
        return Err(Errno::EACCES.into());
    }
    if reg.base() != RegBase::BtfId {
        return Ok(());
    }
    if !env.kernel.features.trust_tracked && reg.ty != RegBase::BtfId {
        return Ok(());
    }
    if std::ptr::eq(types, MEM) || std::ptr::eq(types, MEM_OR_CTX) {
        if !arg.has(TypeFlags::MEM_RDONLY) {
            let name = env.kernel.helper_name(meta.func_id);
            verbose!(
                env,
                "{name}() may write into memory pointed by R{} type={}\n",
                regno.0,
                env.type_name(reg.ty)
            );
            return Err(Errno::EACCES.into());
        }
        return Ok(());
    }
    check_btf_pointer(env, regno, &reg, arg, btf, meta)
}

/// An argument that takes less constrained memory takes the more constrained too: flags it does not
/// care about are left out of the comparison.
fn report_type(env: &mut Env<'_>, regno: Reg, reg: &RegState, types: &[RegType]) {
    if env.diagnostics.is_none() {
        return;
    }
    let accepted: Vec<String> = types.iter().map(|t| env.type_name(*t).to_string()).collect();
    let (have, accepted) = (env.type_name(reg.ty), accepted.join(", "));
    let what = (
        "it has type {have}, but this argument accepts {accepted}",
        "Pass a value with one of the accepted pointer or scalar types for this call.",
    );
    diagnostics::report_arg(env, regno, what, &[("have", &have), ("accepted", &accepted)]);
}

fn fold_flags(ty: RegType, arg: ArgType, regno: Reg, meta: &CallMeta) -> RegType {
    let mut ty = ty;
    if arg.has(TypeFlags::MEM_RDONLY) {
        ty = ty.minus(TypeFlags::MEM_RDONLY);
    }
    if arg.may_be_null() {
        ty = ty.minus(TypeFlags::PTR_MAYBE_NULL);
    }
    if arg.base() == ArgBase::Mem {
        ty = ty.minus(TypeFlags::DYNPTR_TYPE_MASK);
    }
    if meta.func_id == func::KPTR_XCHG && ty.has(TypeFlags::MEM_ALLOC) && regno == Reg::R2 {
        ty = ty.minus(TypeFlags::MEM_ALLOC | TypeFlags::MEM_PERCPU);
    }
    ty
}

/// Whether the struct pointed to is the one asked for.
fn check_btf_pointer(
    env: &mut Env<'_>,
    regno: Reg,
    reg: &RegState,
    arg: ArgType,
    btf: ArgBtf,
    meta: &CallMeta,
) -> Check {
    let flags = reg.flags();
    let nullable = TypeFlags::PTR_MAYBE_NULL;
    let kernel_object = [TypeFlags::NONE, TypeFlags::PTR_TRUSTED, TypeFlags::MEM_RCU]
        .iter()
        .any(|f| flags == *f || flags == *f | nullable);
    if kernel_object {
        return check_kernel_object(env, regno, reg, arg, btf, meta);
    }
    let alloc = TypeFlags::MEM_ALLOC;
    let node = NODE.flags();
    let is_node = flags == node || flags == node | TypeFlags::MEM_RCU;
    if flags == alloc
        || flags == alloc | TypeFlags::MEM_PERCPU
        || is_node && env.kernel.features.nodes_exchange
    {
        if !env.kernel.helper_traits(meta.func_id).takes_allocated {
            verifier_bug!(env, "unimplemented handling of MEM_ALLOC");
            return Err(Errno::EFAULT.into());
        }
        if meta.func_id == func::KPTR_XCHG && regno == Reg::R2 {
            return match_kptr(env, regno, reg, meta);
        }
        return Ok(());
    }
    if PERCPU_BTF.contains(&reg.ty) {
        return Ok(());
    }
    verifier_bug!(env, "invalid PTR_TO_BTF_ID register for type match");
    Err(Errno::EFAULT.into())
}

fn check_kernel_object(
    env: &mut Env<'_>,
    regno: Reg,
    reg: &RegState,
    arg: ArgType,
    btf: ArgBtf,
    meta: &CallMeta,
) -> Check {
    let release = arg.has(TypeFlags::OBJ_RELEASE);
    // A socket is released through its first member, whatever kind of socket it is.
    let strict = release && meta.func_id != func::SK_RELEASE;
    if reg.ty.may_be_null() && (!arg.may_be_null() || release) {
        let arg = if env.kernel.features.args_named_by_register { "R" } else { "arg" };
        verbose!(env, "Possibly NULL pointer passed to helper {arg}{}\n", regno.0);
        let what = (
            "the pointer may be NULL, but this call requires a non-NULL pointer",
            "Add a NULL check and make the call only on the non-NULL path.",
        );
        diagnostics::report_arg(env, regno, what, &[]);
        return Err(Errno::EACCES.into());
    }
    if meta.func_id == func::KPTR_XCHG {
        return match_kptr(env, regno, reg, meta);
    }
    let want = expected_btf_id(env, arg, btf)?;
    let (reg_btf, reg_id) = (reg.btf().unwrap_or(BtfObj::VMLINUX), reg.btf_id());
    let have = KptrTarget { btf: reg_btf, btf_id: reg_id };
    let need = KptrTarget { btf: BtfObj::VMLINUX, btf_id: want };
    if !btf_struct_ids_match(env, have, reg.const_off(), need, strict) {
        let is = btf_type_name(env, reg_btf, reg_id);
        let wanted = btf_type_name(env, BtfObj::VMLINUX, want);
        verbose!(env, "R{} is of type {is} but {wanted} is expected\n", regno.0);
        return Err(Errno::EACCES.into());
    }
    Ok(())
}

fn match_kptr(env: &mut Env<'_>, regno: Reg, reg: &RegState, meta: &CallMeta) -> Check {
    let Some(field) = meta.kptr_field else {
        return Err(Stop::unsupported("kptr_xchg without a kptr field"));
    };
    // The kernel turns the answer's EINVAL into EACCES here.
    match map_kptr_match_type(env, &field, reg, regno) {
        Err(Stop::Reject(_)) => Err(Errno::EACCES.into()),
        other => other,
    }
}

fn expected_btf_id(env: &mut Env<'_>, arg: ArgType, btf: ArgBtf) -> Check<u32> {
    let name = match btf {
        ArgBtf::Id(id) => return Ok(id),
        ArgBtf::Name(name) => name,
        ArgBtf::Implied if arg.base() == ArgBase::BtfIdSockCommon => "sock_common",
        ArgBtf::Implied => {
            verifier_bug!(env, "missing arg compatible BTF ID");
            return Err(Errno::EFAULT.into());
        }
    };
    kernel_struct_id(env, name)
}

/// Id of a struct of the kernel by name; unsupported without a kernel BTF that has it.
pub fn kernel_struct_id(env: &Env<'_>, name: &str) -> Check<u32> {
    let found = env.btf(BtfObj::VMLINUX).and_then(|b| b.find_by_name_kind(name, BtfKind::Struct));
    found.ok_or_else(|| Stop::unsupported(format!("kernel BTF without struct {name}")))
}

/// Name of a type for a message; empty if there is none.
pub fn btf_type_name(env: &Env<'_>, btf: BtfObj, id: u32) -> String {
    env.btf(btf).map_or_else(String::new, |b| b.name(id).to_string())
}

/// Offsets that an argument of this type may carry (`check_func_arg_reg_off`).
pub fn check_func_arg_reg_off(
    env: &mut Env<'_>,
    reg: &RegState,
    regno: Reg,
    arg: ArgType,
) -> Check {
    if !env.kernel.features.release_wants_start {
        return check_old_reg_off(env, reg, regno, arg);
    }
    if arg.has(TypeFlags::OBJ_RELEASE) {
        // A dynptr on the stack holds the reference; where on the stack it is does not matter.
        if arg.base() == ArgBase::Dynptr && reg.ty == RegBase::Stack {
            return Ok(());
        }
        let whole = env.kernel.features.pointer_offset_whole;
        let moved = !reg.var_off.is_const() || reg.var_off.value != 0;
        if reg.off != 0 || (whole && moved) {
            verbose!(
                env,
                "R{} must have zero offset when passed to release func or trusted arg to kfunc\n",
                regno.0
            );
            return Err(Errno::EINVAL.into());
        }
        return check_ptr_off_reg_fixed_ok(env, reg, regno, false);
    }
    // As the context itself it may not be moved: who is tail called, or replaces the function, would get it so.
    let is_memory = reg.ty == RegBase::Ctx
        && arg.base() != ArgBase::Ctx
        && env.kernel.features.syscall_ctx_as_memory
        && env.prog_type() == ProgType::Syscall;
    if takes_any_offset(reg.ty) || is_memory {
        return Ok(());
    }
    check_ptr_off_reg_fixed_ok(env, reg, regno, takes_fixed_offset(reg.ty))
}

/// The same where only pointers to kernel structs must be released at their start, and memory of a ring buffer
/// where it was reserved; before 5.18 nothing but the context is looked at here.
fn check_old_reg_off(env: &mut Env<'_>, reg: &RegState, regno: Reg, arg: ArgType) -> Check {
    if !env.kernel.features.type_names_composed {
        let looked_at = reg.ty == RegBase::Ctx;
        return if looked_at { check_ptr_off_reg_fixed_ok(env, reg, regno, false) } else { Ok(()) };
    }
    if reg.ty == RegBase::Stack && arg.base() == ArgBase::Dynptr && reg.off % 8 != 0 {
        verbose!(env, "cannot pass in dynptr at an offset\n");
        return Err(Errno::EINVAL.into());
    }
    if takes_any_offset(reg.ty) && arg.base() != ArgBase::RingbufMem {
        return Ok(());
    }
    let fixed = reg.ty == RegBase::BtfId;
    if fixed && arg.has(TypeFlags::OBJ_RELEASE) && reg.off != 0 {
        verbose!(env, "R{} must have zero offset when passed to release func\n", regno.0);
        return Err(Errno::EINVAL.into());
    }
    check_ptr_off_reg_fixed_ok(env, reg, regno, fixed)
}

fn takes_any_offset(ty: RegType) -> bool {
    let flags = ty.flags();
    match ty.base() {
        RegBase::Stack
        | RegBase::Packet
        | RegBase::PacketMeta
        | RegBase::MapKey
        | RegBase::MapValue
        | RegBase::Arena
        | RegBase::Scalar => flags.is_empty(),
        RegBase::Mem => {
            flags.is_empty() || flags == TypeFlags::MEM_RDONLY || flags == TypeFlags::MEM_RINGBUF
        }
        RegBase::Buf => flags.is_empty() || flags == TypeFlags::MEM_RDONLY,
        _ => false,
    }
}

fn takes_fixed_offset(ty: RegType) -> bool {
    let alloc_ref = TypeFlags::MEM_ALLOC | TypeFlags::NON_OWN_REF;
    let flags = ty.flags();
    ty.base() == RegBase::BtfId
        && (flags.is_empty()
            || flags == TypeFlags::MEM_ALLOC
            || flags == TypeFlags::PTR_TRUSTED
            || flags == TypeFlags::MEM_RCU
            || flags == alloc_ref
            || flags == alloc_ref | TypeFlags::MEM_RCU)
}
