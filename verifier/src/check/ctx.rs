//! Context access (`check_ctx_access`): tables of `spec` for layouts that are data, BTF for
//! arguments of traced functions.

use bpfassay_isa::{Reg, Size};
use bpfassay_object::btf::BtfKind;
use bpfassay_spec::ctx::{self as spec, AccessType};
use bpfassay_spec::{ProgKind, ProgType, RegBase, RegType};

use super::btf_ctx::btf_ctx_access;
use super::btf_walk::btf_of;
use super::region::{check_mem_region_access, check_ptr_off_reg, check_ptr_off_reg_fixed_ok};
use super::stack::is_pointer_value;
use super::Access;
use crate::domain::reg::{BtfObj, RegState, DEF_NOT_SUBREG};
use crate::env::Env;
use crate::log::state::print_linfo;
use crate::stop::{Check, Errno, Stop};
use crate::transfer::mark::{mark_reg_known_zero, mark_reg_unknown};
use crate::verbose;

/// What an allowed access gives (`struct bpf_insn_access_aux`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CtxAccess {
    pub ty: RegType,
    /// Size of the whole field where a narrower load is converted later, else 0.
    pub field_size: u32,
    pub btf: Option<(BtfObj, u32)>,
    pub ref_obj_id: u32,
    pub is_retval: bool,
}

impl CtxAccess {
    pub const SCALAR: CtxAccess = CtxAccess {
        ty: RegType::of(RegBase::Scalar),
        field_size: 0,
        btf: None,
        ref_obj_id: 0,
        is_retval: false,
    };
}

/// None if the program type's rules refuse the access (`is_valid_access`).
fn is_valid_access(
    env: &mut Env<'_>,
    off: i32,
    size: i32,
    access: Access,
    is_ldsx: bool,
) -> Check<Option<CtxAccess>> {
    let how = match access {
        Access::Read => AccessType::Read,
        Access::Write => AccessType::Write,
    };
    let mut row = spec::CtxAccess::new(is_ldsx);
    let allowed = {
        let hook = struct_ops_hook(env);
        let mut kind = ProgKind::new(env.prog.prog_type, env.prog.expected_attach_type);
        kind.sleepable = env.prog_sleepable;
        kind.hook = hook.as_deref();
        kind.caps = env.caps();
        env.kernel.ctx_access(&kind, off, size as u32, how, &mut row)
    };
    if !allowed {
        return Ok(None);
    }
    env.quirk = env.quirk.or(row.quirk);
    env.ctx_unconverted |= row.unconverted;
    if row.needs_btf {
        return btf_ctx_access(env, off, size, row.btf_promote);
    }
    let mut info =
        CtxAccess { ty: row.reg_type, field_size: row.ctx_field_size, ..CtxAccess::SCALAR };
    if let Some(name) = row.btf_struct {
        let btf = btf_of(env, BtfObj::VMLINUX)?;
        let Some(id) = btf.find_by_name_kind(name, BtfKind::Struct) else {
            return Err(Stop::unsupported("context of a type the kernel's BTF does not have"));
        };
        info.btf = Some((BtfObj::VMLINUX, id));
    }
    Ok(Some(info))
}

/// `struct.member` that a struct_ops program implements.
fn struct_ops_hook(env: &Env<'_>) -> Option<String> {
    let target = env.prog.attach_target.as_ref();
    let target = target.filter(|_| env.prog.prog_type == ProgType::StructOps)?;
    let btf = env.btf(BtfObj::VMLINUX)?;
    let t = btf.ty(target.btf_id)?;
    let member = t.members().nth(target.member? as usize)?;
    Some(format!("{}.{}", t.name(), btf.str(member.name_off)))
}

/// `check_ctx_access`
fn check_ctx_access(
    env: &mut Env<'_>,
    insn_idx: u32,
    off: i32,
    size: i32,
    access: Access,
    is_ldsx: bool,
) -> Check<CtxAccess> {
    let Some(info) = is_valid_access(env, off, size, access, is_ldsx)? else {
        verbose!(env, "invalid bpf_context access off={off} size={size}\n");
        return Err(Errno::EACCES.into());
    };
    if info.ty.base() == RegBase::BtfId {
        if info.ref_obj_id != 0 && !env.cur.refs.iter().any(|r| r.id == info.ref_obj_id) {
            verbose!(
                env,
                "invalid bpf_context access off={off}. Reference may already be released\n"
            );
            return Err(Errno::EACCES.into());
        }
    } else {
        env.aux_mut(insn_idx).ctx_field_size = info.field_size;
    }
    env.max_ctx_offset = env.max_ctx_offset.max(off.saturating_add(size).unsigned_abs());
    Ok(info)
}

/// Load from or store to the context; `off` includes the register's fixed offset.
pub(super) fn access_ctx(
    env: &mut Env<'_>,
    insn_idx: u32,
    r: Reg,
    off: i32,
    size: Size,
    access: Access,
    value: Option<Reg>,
    is_ldsx: bool,
) -> Check {
    if let (Access::Write, Some(v)) = (access, value) {
        if is_pointer_value(env, env.reg(v)) {
            verbose!(env, "R{} leaks addr into ctx\n", v.0);
            return Err(Errno::EACCES.into());
        }
    }
    let reg = *env.reg(r);
    let off = ctx_offset(env, &reg, r, off, size.bytes() as i32)?;
    let info = match check_ctx_access(env, insn_idx, off, size.bytes() as i32, access, is_ldsx) {
        Ok(info) => info,
        Err(e) => {
            if matches!(e, Stop::Reject(_)) {
                print_linfo(env, insn_idx, "; ");
            }
            return Err(e);
        }
    };
    let (Access::Read, Some(dst)) = (access, value) else { return Ok(()) };
    if info.ty == RegBase::Scalar {
        return mark_scalar(env, dst, &info);
    }
    mark_reg_known_zero(env, dst);
    let id = if info.ty.may_be_null() { env.new_id() } else { 0 };
    let by_id = env.kernel.features.references_by_id;
    let reg = env.reg_mut(dst);
    if id != 0 {
        reg.id = id;
    }
    // The load may be narrower than the pointer it stands for.
    reg.subreg_def = DEF_NOT_SUBREG;
    if let (RegBase::BtfId, Some((btf, btf_id))) = (info.ty.base(), info.btf) {
        reg.set_btf(btf, btf_id);
        reg.ref_obj_id = info.ref_obj_id;
        if by_id && info.ref_obj_id != 0 {
            reg.id = info.ref_obj_id;
        }
    }
    reg.ty = info.ty;
    Ok(())
}

/// Offset into the context; only system call programs' may be variable, and only where nothing is rewritten may the
/// pointer have been moved (kernels with `pointer_offset_whole`).
fn ctx_offset(env: &mut Env<'_>, reg: &RegState, r: Reg, off: i32, size: i32) -> Check<i32> {
    if !env.kernel.features.pointer_offset_whole {
        check_ptr_off_reg(env, reg, r)?;
        return Ok(off);
    }
    if env.prog_type() == ProgType::Syscall {
        check_mem_region_access(env, r, off, size, u16::MAX.into(), false)?;
    } else {
        let rewrites = env.kernel.prog(env.prog.prog_type).is_some_and(|row| row.rewrites_ctx);
        check_ptr_off_reg_fixed_ok(env, reg, r, !rewrites)?;
    }
    Ok(off.wrapping_add(reg.umax as i32))
}

fn mark_scalar(env: &mut Env<'_>, dst: Reg, info: &CtxAccess) -> Check {
    let reads_range = info.is_retval && env.kernel.features.lsm_retval_read_in_range;
    let retval = if reads_range { super::btf_ctx::lsm_retval_range(env)? } else { None };
    if retval.is_none() || env.kernel.features.lsm_retval_starts_unknown {
        mark_reg_unknown(env, dst);
    }
    if let Some((min, max)) = retval {
        let features = &env.kernel.features;
        env.reg_mut(dst).narrow_to_int(min, max, features);
        super::mem::sanity_check(env, dst, "s32_range")?;
    }
    env.reg_mut(dst).ty = RegBase::Scalar.into();
    Ok(())
}
