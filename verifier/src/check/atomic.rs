//! Atomic instructions (`check_atomic`): read-modify-write, load-acquire, store-release.

use bpfassay_isa::insn::AtomicOp;
use bpfassay_isa::{Insn, Reg, Size};
use bpfassay_spec::RegBase;

use super::mem::{
    check_load, check_mem_access, check_reg_arg, check_store_reg, save_aux_ptr_type, RegArg,
};
use super::stack::is_pointer_value;
use super::Access;
use crate::diagnostics;
use crate::env::Env;
use crate::stop::{Check, Errno};
use crate::verbose;

/// Pointer types without atomics (`atomic_ptr_type_ok`).  An arena depends on the JIT.
fn is_ptr_type_ok(env: &Env<'_>, r: Reg, insn: Insn) -> bool {
    let ty = env.reg(r).ty;
    if matches!(ty.base(), RegBase::Packet | RegBase::PacketMeta) {
        return false;
    }
    if !ty.flags().is_empty() {
        return true;
    }
    match ty.base() {
        RegBase::Ctx
        | RegBase::FlowKeys
        | RegBase::Socket
        | RegBase::SockCommon
        | RegBase::TcpSock
        | RegBase::XdpSock => false,
        RegBase::Arena => match insn {
            Insn::Atomic {
                op: AtomicOp::And | AtomicOp::Or | AtomicOp::Xor, fetch: true, ..
            } => env.kernel.jit.arena_fetch_logic,
            _ => true,
        },
        _ => true,
    }
}

/// The atomic, load-acquire or store-release at `env.insn_idx`.
pub fn check_atomic(env: &mut Env<'_>) -> Check {
    let raw = env.insns[env.insn_idx as usize];
    match env.insn(env.insn_idx) {
        Some(insn @ Insn::Atomic { .. }) => check_rmw(env, insn),
        Some(insn @ Insn::LoadAcquire { size, dst, src, off }) => {
            check_load(env, size, dst, src, off, true, false, false, "atomic_load")?;
            if is_ptr_type_ok(env, src, insn) {
                return Ok(());
            }
            not_allowed(env, "loads from", src)
        }
        Some(insn @ Insn::StoreRelease { size, dst, src, off }) => {
            check_store_reg(env, size, dst, src, off, true)?;
            if is_ptr_type_ok(env, dst, insn) {
                return Ok(());
            }
            not_allowed(env, "stores into", dst)
        }
        // Undecodable: the operation is unknown, or the size is not one of a read-modify-write.
        _ if raw.is_atomic_rmw() => {
            verbose!(env, "invalid atomic operand size\n");
            Err(Errno::EINVAL.into())
        }
        _ => {
            verbose!(env, "BPF_ATOMIC uses invalid atomic opcode {:02x}\n", raw.imm);
            Err(Errno::EINVAL.into())
        }
    }
}

fn not_allowed(env: &mut Env<'_>, word: &str, r: Reg) -> Check {
    let name = env.type_name(env.reg(r).ty);
    if !env.kernel.features.atomic_operations {
        verbose!(env, "BPF_XADD {word} R{} {name} is not allowed\n", r.0);
        return Err(Errno::EACCES.into());
    }
    verbose!(env, "BPF_ATOMIC {word} R{} {name} is not allowed\n", r.0);
    Err(Errno::EACCES.into())
}

fn check_no_leak(env: &mut Env<'_>, r: Reg) -> Check {
    if is_pointer_value(env, env.reg(r)) {
        verbose!(env, "R{} leaks addr into mem\n", r.0);
        return Err(Errno::EACCES.into());
    }
    Ok(())
}

fn check_rmw(env: &mut Env<'_>, insn: Insn) -> Check {
    let Insn::Atomic { op, fetch, size, dst, src, off } = insn else { return Ok(()) };
    if !matches!(size, Size::W | Size::Dw) {
        verbose!(env, "invalid atomic operand size\n");
        return Err(Errno::EINVAL.into());
    }
    check_reg_arg(env, src, RegArg::Src)?;
    check_reg_arg(env, dst, RegArg::Src)?;
    if op == AtomicOp::Cmpxchg {
        check_reg_arg(env, Reg::R0, RegArg::Src)?;
        check_no_leak(env, Reg::R0)?;
    }
    check_no_leak(env, src)?;
    if !is_ptr_type_ok(env, dst, insn) {
        return not_allowed(env, "stores into", dst);
    }
    let load = match (op, fetch) {
        (AtomicOp::Cmpxchg, _) => Some(Reg::R0),
        (AtomicOp::Xchg, _) | (_, true) => Some(src),
        _ => None,
    };
    if let Some(r) = load {
        check_reg_arg(env, r, RegArg::Dst)?;
    }
    let idx = env.insn_idx;
    let off = off as i32;
    check_mem_access(env, idx, dst, off, size, Access::Read, None, true, false)?;
    if let Some(r) = load {
        // Once more, to fill the register from the spilled value.
        diagnostics::begin_reg(env, r);
        check_mem_access(env, idx, dst, off, size, Access::Read, load, true, false)?;
        diagnostics::end(env);
    }
    let ty = env.reg(dst).ty;
    if ty == RegBase::Arena || env.kernel.features.atomic_pointers_apart {
        save_aux_ptr_type(env, ty, false)?;
    }
    check_mem_access(env, idx, dst, off, size, Access::Write, None, true, false)
}
