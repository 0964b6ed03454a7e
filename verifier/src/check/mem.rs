//! Loads and stores by the type of the pointer (`check_mem_access`, `check_load_mem`,
//! `check_store_reg`).
//!
//! The ladder here only strings the rooms together in the kernel's order; what a
//! pointer type allows is in the room of that type.

use bpfassay_isa::field::Mode;
use bpfassay_isa::{Insn, Reg, Size};
use bpfassay_spec::{RegBase, RegType, TypeFlags};

use super::align::check_ptr_alignment;
use super::btf_access::{check_ptr_to_btf_access, check_ptr_to_map_access};
use super::ctx::access_ctx;
use super::map_value::{access_map_value, map_of};

use super::packet::{check_packet_access, may_access_direct_pkt_data};
use super::region::{check_buffer_access, check_mem_region_access, check_tp_buffer_access};
use super::sock::{check_flow_keys_access, check_sock_access};
use super::stack::{check_stack_write, is_pointer_value};
use super::stack_bounds::check_stack_access_within_bounds;
use super::stack_read::check_stack_read;
use super::Access;
use crate::diagnostics::{self, Deref};
use crate::domain::reg::{RegState, ADD_CONST};
use crate::env::{AuxUse, Env};
use crate::stop::{Check, Errno};
use crate::transfer::mark::{mark_reg_unknown, reg_bounds_sanity_check};
use crate::verbose;

pub use super::mem_arg::{
    check_helper_mem_access, check_kfunc_mem_size_reg, check_mem_reg, check_mem_size_reg,
};
pub use super::packet::check_ld_abs;
pub use super::reg_arg::{check_reg_arg, RegArg};

/// One load or store of `size` bytes at `reg + off`.
///
/// `value` is the register read into or stored from; None for a store of an immediate or a
/// load that goes nowhere (`value_regno` -1).  `strict_alignment_once` forces alignment.
pub fn check_mem_access(
    env: &mut Env<'_>,
    insn_idx: u32,
    r: Reg,
    off: i32,
    size: Size,
    access: Access,
    value: Option<Reg>,
    strict_alignment_once: bool,
    is_ldsx: bool,
) -> Check {
    let reg = *env.reg(r);
    check_ptr_alignment(env, &reg, off, size.bytes() as i32, strict_alignment_once)?;
    let a = MemAccess { insn_idx, r, off: off.wrapping_add(reg.off), size, access, value, is_ldsx };
    dispatch(env, &reg, &a)?;
    coerce_loaded(env, &a)
}

/// An access with the register's fixed offset added.
struct MemAccess {
    insn_idx: u32,
    r: Reg,
    off: i32,
    size: Size,
    access: Access,
    value: Option<Reg>,
    is_ldsx: bool,
}

impl MemAccess {
    fn bytes(&self) -> i32 {
        self.size.bytes() as i32
    }

    /// Register a load goes to.
    fn load_dst(&self) -> Option<Reg> {
        if self.access == Access::Read {
            self.value
        } else {
            None
        }
    }
}

fn dispatch(env: &mut Env<'_>, reg: &RegState, a: &MemAccess) -> Check {
    let (r, off, bytes) = (a.r, a.off, a.bytes());
    match reg.base() {
        RegBase::Mem => access_mem(env, reg, a),
        RegBase::BtfId if !reg.ty.may_be_null() => {
            check_ptr_to_btf_access(env, r, off, bytes, a.access, a.value)
        }
        RegBase::Buf => access_buf(env, reg, a),
        RegBase::Packet | RegBase::PacketMeta => access_packet(env, a),
        // The rest is known by the exact type only: any flag makes it something else.
        _ if !reg.flags().is_empty() => invalid_mem_access(env, reg, r),
        RegBase::MapKey => access_map_key(env, reg, a),
        RegBase::MapValue => {
            access_map_value(env, a.insn_idx, r, off, a.size, a.access, a.value, a.is_ldsx)
        }
        RegBase::Ctx => access_ctx(env, a.insn_idx, r, off, a.size, a.access, a.value, a.is_ldsx),
        RegBase::Stack => {
            check_stack_access_within_bounds(env, r, off, bytes, a.access.into())?;
            match a.access {
                Access::Read => check_stack_read(env, r, off, bytes, a.value),
                Access::Write => check_stack_write(env, r, off, bytes, a.value, a.insn_idx),
            }
        }
        RegBase::FlowKeys => {
            check_leak(env, a, "flow keys")?;
            check_flow_keys_access(env, r, off, bytes)?;
            mark_loaded(env, a)
        }
        RegBase::SockCommon | RegBase::Socket | RegBase::TcpSock | RegBase::XdpSock => {
            if a.access == Access::Write {
                return cannot_write(env, reg, r);
            }
            check_sock_access(env, a.insn_idx, r, off, a.size)?;
            mark_loaded(env, a)
        }
        RegBase::TpBuffer => {
            check_tp_buffer_access(env, r, off, bytes)?;
            mark_loaded(env, a)
        }
        RegBase::ConstMapPtr => check_ptr_to_map_access(env, r, off, bytes, a.access, a.value),
        RegBase::Arena => mark_loaded(env, a),
        _ => invalid_mem_access(env, reg, r),
    }
}

fn invalid_mem_access(env: &mut Env<'_>, reg: &RegState, r: Reg) -> Check {
    verbose!(env, "R{} invalid mem access '{}'\n", r.0, env.type_name(reg.ty));
    let kind = if reg.ty == RegBase::Scalar {
        Deref::Scalar
    } else if reg.ty.may_be_null() {
        Deref::Nullable
    } else {
        Deref::Invalid
    };
    let at = env.insn_idx;
    diagnostics::report_deref(env, at, r, reg, kind);
    Err(Errno::EACCES.into())
}

pub(super) fn cannot_write(env: &mut Env<'_>, reg: &RegState, r: Reg) -> Check {
    verbose!(env, "R{} cannot write into {}\n", r.0, env.type_name(reg.ty));
    Err(Errno::EACCES.into())
}

/// A pointer stored where others can read it.
fn check_leak(env: &mut Env<'_>, a: &MemAccess, place: &str) -> Check {
    if let (Access::Write, Some(v)) = (a.access, a.value) {
        if is_pointer_value(env, env.reg(v)) {
            verbose!(env, "R{} leaks addr into {place}\n", v.0);
            return Err(Errno::EACCES.into());
        }
    }
    Ok(())
}

/// A load of data: the register holds an unknown scalar.
fn mark_loaded(env: &mut Env<'_>, a: &MemAccess) -> Check {
    if let Some(dst) = a.load_dst() {
        mark_reg_unknown(env, dst);
    }
    Ok(())
}

fn access_map_key(env: &mut Env<'_>, reg: &RegState, a: &MemAccess) -> Check {
    if a.access == Access::Write {
        verbose!(env, "write to change key R{} not allowed\n", a.r.0);
        return Err(Errno::EACCES.into());
    }
    let key_size = env.map(map_of(reg)?).def.key_size;
    check_mem_region_access(env, a.r, a.off, a.bytes(), key_size, false)?;
    mark_loaded(env, a)
}

fn access_mem(env: &mut Env<'_>, reg: &RegState, a: &MemAccess) -> Check {
    let rdonly = reg.ty.has(TypeFlags::MEM_RDONLY);
    if reg.ty.may_be_null() {
        return invalid_mem_access(env, reg, a.r);
    }
    if a.access == Access::Write && rdonly {
        return cannot_write(env, reg, a.r);
    }
    check_leak(env, a, "mem")?;
    // Untrusted read-only memory is read with fault handling: its size does not matter.
    if !(rdonly && reg.ty.has(TypeFlags::PTR_UNTRUSTED)) {
        check_mem_region_access(env, a.r, a.off, a.bytes(), reg.mem_size(), false)?;
    }
    mark_loaded(env, a)
}

fn access_packet(env: &mut Env<'_>, a: &MemAccess) -> Check {
    if a.access == Access::Write && !may_access_direct_pkt_data(env, None, a.access) {
        verbose!(env, "cannot write into packet\n");
        return Err(Errno::EACCES.into());
    }
    check_leak(env, a, "packet")?;
    check_packet_access(env, a.r, a.off, a.bytes(), false)?;
    mark_loaded(env, a)
}

fn access_buf(env: &mut Env<'_>, reg: &RegState, a: &MemAccess) -> Check {
    if reg.ty.may_be_null() && env.kernel.features.buf_null_checked {
        return invalid_mem_access(env, reg, a.r);
    }
    if reg.ty.has(TypeFlags::MEM_RDONLY) && a.access == Access::Write {
        return cannot_write(env, reg, a.r);
    }
    check_buffer_access(env, a.r, a.off, a.bytes())?;
    mark_loaded(env, a)
}

/// A narrow load extends: zero or sign.
fn coerce_loaded(env: &mut Env<'_>, a: &MemAccess) -> Check {
    let Some(dst) = a.load_dst() else { return Ok(()) };
    if a.size == Size::Dw || !env.reg(dst).is_scalar() {
        return Ok(());
    }
    let features = &env.kernel.features;
    let links = features.fill_links;
    let reg = env.reg_mut(dst);
    if a.is_ldsx {
        let linked = reg.id & !ADD_CONST;
        let changes = reg.umax >> (8 * a.size.bytes() - 1) != 0;
        reg.sign_extend(a.size.bytes(), features);
        if changes && links {
            reg.clear_scalar_id();
        } else if changes && linked != 0 {
            env.wrong_links.push(linked);
        }
    } else {
        reg.truncate(a.size.bytes(), features);
    }
    Ok(())
}

/// The LDX at `env.insn_idx`, plain or sign-extending.
pub fn check_load_mem(env: &mut Env<'_>) -> Check {
    match env.insn(env.insn_idx) {
        Some(Insn::Load { size, sign_extend, dst, src, off }) => {
            check_load(env, size, dst, src, off, false, sign_extend, true, "ldx")
        }
        _ => {
            verbose!(env, "BPF_LDX uses reserved fields\n");
            Err(Errno::EINVAL.into())
        }
    }
}

/// A load into a register (`check_load_mem`).
pub(super) fn check_load(
    env: &mut Env<'_>,
    size: Size,
    dst: Reg,
    src: Reg,
    off: i16,
    strict_alignment_once: bool,
    is_ldsx: bool,
    allow_trust_mismatch: bool,
    word: &str,
) -> Check {
    check_reg_arg(env, src, RegArg::Src)?;
    check_reg_arg(env, dst, RegArg::DstNoMark)?;
    let src_type = env.reg(src).ty;
    let idx = env.insn_idx;
    diagnostics::begin_reg(env, dst);
    check_mem_access(
        env,
        idx,
        src,
        off as i32,
        size,
        Access::Read,
        Some(dst),
        strict_alignment_once,
        is_ldsx,
    )?;
    save_aux_ptr_type(env, src_type, allow_trust_mismatch)?;
    sanity_check(env, dst, word)?;
    diagnostics::end(env);
    Ok(())
}

/// The kernel's own check of a register's bounds (`reg_bounds_sanity_check`).
pub(super) fn sanity_check(env: &mut Env<'_>, r: Reg, place: &str) -> Check {
    if env.reg(r).bounds_violation().is_none() {
        return Ok(());
    }
    let mut reg = *env.reg(r);
    let outcome = reg_bounds_sanity_check(env, &mut reg, place);
    *env.reg_mut(r) = reg;
    outcome
}

/// The ST or STX at `env.insn_idx`.
pub fn check_store(env: &mut Env<'_>) -> Check {
    let raw = env.insns[env.insn_idx as usize];
    let is_stx = raw.class() == bpfassay_isa::field::Class::Stx;
    if raw.mode() != Mode::Mem || is_stx && raw.imm != 0 || !is_stx && raw.src != 0 {
        let word = if is_stx { "BPF_STX" } else { "BPF_ST" };
        verbose!(env, "{word} uses reserved fields\n");
        return Err(Errno::EINVAL.into());
    }
    let (dst, size) = (Reg(raw.dst), raw.size());
    if is_stx {
        return check_store_reg(env, size, dst, Reg(raw.src), raw.off, false);
    }
    check_reg_arg(env, dst, RegArg::Src)?;
    let dst_type = env.reg(dst).ty;
    if dst_type == RegBase::Ctx && !env.kernel.features.numbers_into_context {
        let name = env.type_name(dst_type);
        verbose!(env, "BPF_ST stores into R{} {name} is not allowed\n", dst.0);
        return Err(Errno::EACCES.into());
    }
    let idx = env.insn_idx;
    check_mem_access(env, idx, dst, raw.off as i32, size, Access::Write, None, false, false)?;
    save_aux_ptr_type(env, dst_type, false)
}

/// A store from a register (`check_store_reg`).
pub(super) fn check_store_reg(
    env: &mut Env<'_>,
    size: Size,
    dst: Reg,
    src: Reg,
    off: i16,
    strict_alignment_once: bool,
) -> Check {
    check_reg_arg(env, src, RegArg::Src)?;
    check_reg_arg(env, dst, RegArg::Src)?;
    let dst_type = env.reg(dst).ty;
    let idx = env.insn_idx;
    check_mem_access(
        env,
        idx,
        dst,
        off as i32,
        size,
        Access::Write,
        Some(src),
        strict_alignment_once,
        false,
    )?;
    save_aux_ptr_type(env, dst_type, false)
}

/// Types whose loads and stores are compiled alike (`reg_type_mismatch_ok`).
fn is_mismatch_ok(env: &Env<'_>, ty: RegType) -> bool {
    let faults = ty.base() == RegBase::Mem
        && ty.has(TypeFlags::PTR_UNTRUSTED)
        && env.kernel.features.plain_pointers_may_fault;
    !faults
        && !matches!(
            ty.base(),
            RegBase::Ctx
                | RegBase::Socket
                | RegBase::SockCommon
                | RegBase::TcpSock
                | RegBase::XdpSock
                | RegBase::BtfId
                | RegBase::Arena
        )
}

/// One instruction must not be used with pointers that are compiled differently (`save_aux_ptr_type`).
/// Loads may mix trusted and untrusted pointers to memory and kernel types: the weaker wins.
pub(super) fn save_aux_ptr_type(
    env: &mut Env<'_>,
    ty: RegType,
    allow_trust_mismatch: bool,
) -> Check {
    let idx = env.insn_idx;
    let prev = match env.aux(idx).used {
        AuxUse::Ptr(prev) if prev != RegBase::NotInit => prev,
        _ => {
            env.aux_mut(idx).used = AuxUse::Ptr(ty);
            return Ok(());
        }
    };
    if ty == prev || is_mismatch_ok(env, ty) && is_mismatch_ok(env, prev) {
        return Ok(());
    }
    let is_mem = |t: RegType| t.base() == RegBase::Mem;
    let is_mem_or_btf = |t: RegType| is_mem(t) || t.base() == RegBase::BtfId;
    if !(allow_trust_mismatch && is_mem_or_btf(ty) && is_mem_or_btf(prev)) {
        verbose!(env, "same insn cannot be used with different pointers\n");
        return Err(Errno::EINVAL.into());
    }
    let base = if is_mem(ty) || is_mem(prev) { RegBase::Mem } else { RegBase::BtfId };
    let kept = TypeFlags::PTR_UNTRUSTED | TypeFlags::MEM_RDONLY;
    let flags = (ty.flags() | prev.flags()) & kept;
    env.aux_mut(idx).used = AuxUse::Ptr(RegType::with(base, flags));
    Ok(())
}
