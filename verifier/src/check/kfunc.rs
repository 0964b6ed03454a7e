//! Finding kfuncs: before exploration and at the call (`add_kfunc_call`, `fetch_kfunc_meta`).

use std::sync::Arc;

use bpfassay_isa::RawInsn;
use bpfassay_object::btf::{Btf, BtfKind, Type};
use bpfassay_spec::kfunc::KfuncFlags;
use bpfassay_spec::prog::is_gpl_compatible;

use super::callinfo::{KfuncMeta, Special};
use super::summary::with_prog_kind;
use crate::domain::reg::{BtfObj, DynptrType};
use crate::env::Env;
use crate::ldimm64::kernel_btf;
use crate::stop::{Check, Errno, Stop};
use crate::verbose;

/// Kfuncs of XDP metadata: for programs bound to a device only (`bpf_dev_bound_kfunc_id`).
const DEV_BOUND: [&str; 3] =
    ["bpf_xdp_metadata_rx_timestamp", "bpf_xdp_metadata_rx_hash", "bpf_xdp_metadata_rx_vlan_tag"];

/// Why a kfunc call cannot be described.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum NoKfunc {
    /// The function exists, this program may not call it.
    NotAllowed(String),
    Stopped(Stop),
}

/// BTF that a call's offset field names; says what is wrong with it (`find_kfunc_desc_btf`).
fn find_desc_btf(env: &mut Env<'_>, off: i16) -> Check<BtfObj> {
    if off < 0 {
        verbose!(env, "negative offset disallowed for kernel module function call\n");
        return Err(Errno::EINVAL.into());
    }
    if off > 0 && env.prog.btfs.len() < 2 {
        verbose!(env, "kfunc offset > 0 without fd_array is invalid\n");
        return Err(Errno::EPROTO.into());
    }
    let obj = kernel_btf(env, off as u32);
    obj.filter(|o| env.btf(*o).is_some())
        .ok_or_else(|| Stop::unsupported("kfunc of a kernel BTF that the profile lacks"))
}

/// Looks a called kfunc up and remembers it; its complaints come before `func#N` lines.
pub fn add_kfunc_call(env: &mut Env<'_>, btf_id: i32, off: i16) -> Check {
    if env.calls.kfuncs.is_empty() {
        check_may_call_kfuncs(env)?;
    }
    if btf_id == 0 && off == 0 {
        return Ok(());
    }
    let obj = match find_desc_btf(env, off) {
        Err(stop @ Stop::Reject(_)) => {
            verbose!(env, "failed to find BTF for kernel function\n");
            return Err(stop);
        }
        other => other?,
    };
    if env.calls.kfuncs.contains(&(btf_id, off)) {
        return Ok(());
    }
    if env.calls.kfuncs.len() as u32 == env.kernel.limits.max_kfunc_descs {
        verbose!(env, "too many different kernel function calls\n");
        return Err(Errno::E2BIG.into());
    }
    let Some(btf) = env.btf(obj).cloned() else { return Err(Errno::EINVAL.into()) };
    let Some(func) = btf.ty(btf_id as u32).filter(|t| t.kind() == BtfKind::Func) else {
        verbose!(env, "kernel btf_id {} is not a function\n", btf_id as u32);
        return Err(Errno::EINVAL.into());
    };
    let Some(proto) = btf.func_proto(func.id()) else {
        verbose!(
            env,
            "kernel function btf_id {} does not have a valid func_proto\n",
            btf_id as u32
        );
        return Err(Errno::EINVAL.into());
    };
    if obj == BtfObj::VMLINUX && env.kernel.lacks_symbol(func.name()) {
        verbose!(env, "cannot find address for kernel function {}\n", func.name());
        return Err(Errno::EINVAL.into());
    }
    if DEV_BOUND.contains(&func.name()) && !env.prog.flags.xdp_dev_bound_only {
        verbose!(env, "metadata kfuncs require device-bound program\n");
        return Err(Errno::EINVAL.into());
    }
    check_model(env, &btf, proto, func.name())?;
    env.calls.kfuncs.push((btf_id, off));
    Ok(())
}

fn check_may_call_kfuncs(env: &mut Env<'_>) -> Check {
    if env.btf(BtfObj::VMLINUX).is_none() {
        return Err(Stop::unsupported("kfunc calls without a kernel BTF"));
    }
    let jit = &env.kernel.jit;
    let (enabled, kfunc_call) = (jit.enabled, jit.kfunc_call);
    if !enabled {
        verbose!(env, "JIT is required for calling kernel function\n");
        return Err(Errno::ENOTSUPP.into());
    }
    if !kfunc_call {
        verbose!(env, "JIT does not support calling kernel function\n");
        return Err(Errno::ENOTSUPP.into());
    }
    if !is_gpl_compatible(&env.prog.license) {
        verbose!(env, "cannot call kernel function from non-GPL compatible program\n");
        return Err(Errno::EINVAL.into());
    }
    Ok(())
}

/// Bytes a value of this type is passed in; None where it cannot be (`__get_type_size`).
fn passed_size(btf: &Btf, id: u32) -> (Option<u32>, BtfKind) {
    let Some(t) = btf.skip_mods_and_typedefs(id) else { return (None, BtfKind::Unkn) };
    let size = match t.kind() {
        BtfKind::Unkn => Some(0),
        BtfKind::Ptr => Some(8),
        BtfKind::Int | BtfKind::Enum | BtfKind::Enum64 | BtfKind::Struct | BtfKind::Union => {
            Some(t.size())
        }
        _ => None,
    };
    (size, t.kind())
}

/// The prototype can be called from a program (`btf_distill_func_proto`).
fn check_model(env: &mut Env<'_>, btf: &Btf, proto: Type<'_>, name: &str) -> Check {
    let count = proto.vlen();
    if count > env.kernel.limits.max_func_args as usize {
        verbose!(env, "The function {name} has {count} arguments. Too many.\n");
        return Err(Errno::EINVAL.into());
    }
    let (size, ret) = passed_size(btf, proto.type_id());
    if size.is_none() || ret.is_composite() {
        verbose!(env, "The function {name} return type {} is unsupported.\n", ret.kernel_name());
        return Err(Errno::EINVAL.into());
    }
    for (i, param) in proto.params().enumerate() {
        if i + 1 == count && param.type_id == 0 {
            verbose!(env, "The function {name} with variable args is unsupported.\n");
            return Err(Errno::EINVAL.into());
        }
        let (size, t) = passed_size(btf, param.type_id);
        if size.is_none_or(|s| s > 16) {
            verbose!(env, "The function {name} arg{i} type {} is unsupported.\n", t.kernel_name());
            return Err(Errno::EINVAL.into());
        }
        if size == Some(0) {
            verbose!(env, "The function {name} has malformed void argument.\n");
            return Err(Errno::EINVAL.into());
        }
    }
    Ok(())
}

/// The kfunc called by `insn`: BTF, flags and prototype.
pub fn fetch_kfunc_meta(env: &Env<'_>, insn: RawInsn) -> Result<KfuncMeta, NoKfunc> {
    let stopped = |e: Errno| NoKfunc::Stopped(e.into());
    if insn.imm == 0 || insn.off < 0 {
        return Err(stopped(Errno::EINVAL));
    }
    let obj = kernel_btf(env, insn.off as u32).ok_or_else(|| stopped(Errno::EINVAL))?;
    let btf =
        env.btf(obj).ok_or_else(|| NoKfunc::Stopped(Stop::unsupported("kfunc without its BTF")))?;
    let func = btf.ty(insn.imm as u32).filter(|t| t.kind() == BtfKind::Func);
    let func = func.ok_or_else(|| stopped(Errno::EINVAL))?;
    let proto = btf.func_proto(func.id()).ok_or_else(|| stopped(Errno::EINVAL))?;
    let row = with_prog_kind(env, |kind| env.kernel.kfunc(kind, func.name()));
    let row = row.ok_or_else(|| NoKfunc::NotAllowed(func.name().to_string()))?;
    let visible_args = proto.vlen() as u8;
    let proto = if row.flags.has(KfuncFlags::IMPLICIT_ARGS) {
        // What is called has more arguments than programs see (`find_kfunc_impl_proto`).
        let full = btf.find_by_name_kind(&format!("{}_impl", func.name()), BtfKind::Func);
        full.and_then(|id| btf.func_proto(id)).ok_or_else(|| stopped(Errno::EFAULT))?
    } else {
        proto
    };
    Ok(KfuncMeta {
        btf: obj,
        func_id: func.id(),
        proto_id: proto.id(),
        visible_args,
        name: row.name,
        flags: row.flags,
        special: if obj == BtfObj::VMLINUX { Special::from_name(row.name) } else { None },
        ref_obj_id: 0,
        release_regno: None,
        r0_rdonly: false,
        ret_btf_id: 0,
        r0_size: 0,
        subprogno: 0,
        arg_constant: None,
        arg_btf: None,
        arg_owning_ref: false,
        arg_prog: false,
        list_head: None,
        rbtree_root: None,
        dynptr_type: DynptrType::Invalid,
        dynptr_id: 0,
        dynptr_ref_obj_id: 0,
        iter_spi: 0,
        iter_frameno: 0,
        map: None,
        map_uid: 0,
        mem_size: 0,
    })
}

/// The kfunc of vmlinux called by `insn`, if the verifier knows it by name.
pub fn special_at(env: &Env<'_>, insn: RawInsn) -> Option<Special> {
    if !insn.is_kfunc_call() || insn.off != 0 {
        return None;
    }
    special_by_id(env, insn.imm)
}

/// The function of vmlinux with this id, if the verifier knows it by name.
pub fn special_by_id(env: &Env<'_>, btf_id: i32) -> Option<Special> {
    let t = env.btf(BtfObj::VMLINUX)?.ty(btf_id as u32)?;
    if t.kind() != BtfKind::Func {
        return None;
    }
    Special::from_name(t.name())
}

/// BTF of a kfunc's call; it was found when the call was described.
pub fn desc_btf(env: &Env<'_>, meta: &KfuncMeta) -> Check<Arc<Btf>> {
    env.btf(meta.btf).cloned().ok_or_else(|| Stop::unsupported("kfunc without its BTF"))
}
