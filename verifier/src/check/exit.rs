//! Leaving the program: the value it returns (`check_return_code`).

use bpfassay_isa::Reg;
use bpfassay_spec::{AttachType, ProgType, RegBase, ReturnRule};

use super::btf_ctx::lsm_retval_range;
use super::func_call::returns_void;
use super::mem::{check_reg_arg, RegArg};
use super::region::check_ptr_off_reg;
use super::summary::with_prog_kind;
use crate::domain::reg::{BtfObj, RegState};
use crate::domain::state::RetvalRange;
use crate::domain::tnum::Tnum;
use crate::env::Env;
use crate::explore::precision::mark_chain_precision;
use crate::stop::{Check, Errno, Stop};
use crate::verbose;

const AT_EXIT: &str = "At program exit";

/// What a program type allows its programs to return.
enum Allowed {
    Anything,
    Range(RetvalRange),
    /// The same of the lower half.
    Range32(RetvalRange),
    /// Refused without a word.
    Never(Errno),
}

/// Whether the value in `reg` is allowed as return value; `reg_name` is the word the log uses.
pub fn check_return_code(env: &mut Env<'_>, reg: Reg, reg_name: &str) -> Check {
    let outer = env.cur.frame(0);
    let outer_subprog = outer.subprogno;
    // What is thrown becomes the program's own result, wherever it is thrown (where global functions may throw).
    let thrown = env.kernel.features.globals_may_throw && reg != Reg::R0;
    let is_subprog = outer_subprog != 0 && !thrown;
    let (in_exception_cb, in_async_cb, cb_range) =
        (outer.in_exception_callback_fn, outer.in_async_callback_fn, outer.callback_ret_range);
    if (!is_subprog || in_exception_cb) && returns_nothing(env, reg)? {
        return Ok(());
    }
    let global = is_subprog && !in_exception_cb && !in_async_cb;
    if global && env.kernel.features.void_global_functions && returns_void(env, outer_subprog) {
        return Ok(());
    }
    check_reg_arg(env, reg, RegArg::Src)?;
    if global && env.kernel.features.void_global_functions && env.reg(reg).ty == RegBase::Arena {
        return Ok(());
    }
    if !env.allow_ptr_leaks && !env.reg(reg).is_scalar() {
        verbose!(env, "R{} leaks addr as return value\n", reg.0);
        return Err(Errno::EACCES.into());
    }
    if in_async_cb {
        let by_range = env.kernel.features.returns_by_range;
        let ctx = if by_range { "At async callback return" } else { "At async callback" };
        return enforce(env, reg, reg_name, ctx, cb_range, false);
    }
    if is_subprog && !in_exception_cb {
        if !env.reg(reg).is_scalar() {
            let ty = env.type_name(env.reg(reg).ty);
            verbose!(
                env,
                "At subprogram exit the register R{} is not a scalar value ({})\n",
                reg.0,
                ty
            );
            return Err(Errno::EINVAL.into());
        }
        return Ok(());
    }
    match allowed_returns(env)? {
        Allowed::Anything => Ok(()),
        Allowed::Never(e) => Err(e.into()),
        Allowed::Range(r) => enforce(env, reg, reg_name, AT_EXIT, r, false),
        Allowed::Range32(r) => enforce(env, reg, reg_name, AT_EXIT, r, true),
    }
}

/// LSM and struct_ops targets that return void need no R0.  A struct_ops program may also return
/// a pointer it owns, of the type its member returns, as it came.
fn returns_nothing(env: &mut Env<'_>, reg: Reg) -> Check<bool> {
    let prog_type = env.prog.prog_type;
    let is_lsm_cgroup = env.prog.expected_attach_type == Some(AttachType::LsmCgroup);
    match prog_type {
        ProgType::Lsm if !is_lsm_cgroup => Ok(returned_type(env)?.1 == 0),
        ProgType::StructOps => {
            let (btf, ret) = returned_type(env)?;
            if ret == 0 {
                return Ok(true);
            }
            let r = *env.reg(reg);
            let pointee = env.btf(btf).and_then(|b| Some(b.pointee(ret)?.id()));
            let is_owned = r.base() == RegBase::BtfId
                && r.ref_obj_id != 0
                && r.btf() == Some(btf)
                && Some(r.btf_id()) == pointee;
            if is_owned && !env.cur.frame(0).in_exception_callback_fn {
                check_ptr_off_reg(env, &r, reg)?;
                return Ok(true);
            }
            Ok(false)
        }
        _ => Ok(false),
    }
}

/// Return type of what the program is attached to, 0 for void.
fn returned_type(env: &Env<'_>) -> Check<(BtfObj, u32)> {
    let Some(info) = env.attach.as_ref() else {
        return Err(Stop::unsupported("program without an attach target"));
    };
    let proto = env.btf(info.btf).and_then(|b| b.ty(info.proto?));
    Ok((info.btf, proto.map_or(0, |p| p.type_id())))
}

/// A struct_ops member that returns a pointer, which only null stands for.
fn returns_pointer(env: &Env<'_>) -> Check<bool> {
    let (btf, ret) = returned_type(env)?;
    let pointee = env.btf(btf).and_then(|b| b.pointee(ret));
    Ok(pointee.is_some() && !env.cur.frame(0).in_exception_callback_fn)
}

/// Ranges by program and attach type.
fn allowed_returns(env: &Env<'_>) -> Check<Allowed> {
    let range = |min, max| Allowed::Range(RetvalRange { min, max });
    Ok(match with_prog_kind(env, |kind| env.kernel.return_rule(kind)) {
        ReturnRule::Any => Allowed::Anything,
        ReturnRule::Range { min, max, .. } => range(min, max),
        ReturnRule::NotSupported => Allowed::Never(Errno::ENOTSUPP),
        // The bounds are those of an `int`.
        ReturnRule::Lsm => match lsm_retval_range(env)? {
            Some((min, max)) => Allowed::Range32(RetvalRange { min, max }),
            None => Allowed::Anything,
        },
        ReturnRule::LsmCgroup if returned_type(env)?.1 == 0 => range(1, 1),
        ReturnRule::LsmCgroup => range(0, 1),
        ReturnRule::StructOps if returns_pointer(env)? => range(0, 0),
        ReturnRule::StructOps => Allowed::Anything,
    })
}

/// The value must be a scalar whose bounds lie in the range, and is needed precisely for that.
fn enforce(
    env: &mut Env<'_>,
    reg: Reg,
    reg_name: &str,
    exit_ctx: &str,
    range: RetvalRange,
    return_32bit: bool,
) -> Check {
    let by_range = env.kernel.features.returns_by_range;
    if !env.reg(reg).is_scalar() {
        let ty = env.type_name(env.reg(reg).ty);
        let ctx = if by_range || exit_ctx == AT_EXIT { exit_ctx } else { "In async callback" };
        verbose!(env, "{} the register R{} is not a known value ({})\n", ctx, reg.0, ty);
        return Err(Errno::EINVAL.into());
    }
    if by_range {
        mark_chain_precision(env, reg)?;
    }
    let r = *env.reg(reg);
    if !retval_range_within(env, range, &r, return_32bit) {
        verbose_invalid_scalar(env, &r, range, exit_ctx, reg_name);
        if exit_ctx == AT_EXIT && is_void_lsm_cgroup(env)? {
            verbose!(
                env,
                "Note, BPF_LSM_CGROUP that attach to void LSM hooks can't modify return value!\n"
            );
        }
        return Err(Errno::EINVAL.into());
    }
    Ok(())
}

fn is_void_lsm_cgroup(env: &Env<'_>) -> Check<bool> {
    let cgroup = env.prog.expected_attach_type == Some(AttachType::LsmCgroup);
    Ok(cgroup && env.prog.prog_type == ProgType::Lsm && returned_type(env)?.1 == 0)
}

/// Every value of `reg` lies in the range (`retval_range_within`), by its bounds or, before there was one, by the
/// bits that both may have.
pub fn retval_range_within(
    env: &Env<'_>,
    range: RetvalRange,
    reg: &RegState,
    return_32bit: bool,
) -> bool {
    if !env.kernel.features.returns_by_range {
        tnum_of(range).includes(reg.var_off)
    } else if return_32bit {
        range.min <= reg.s32_min && reg.s32_max <= range.max
    } else {
        i64::from(range.min) <= reg.smin && reg.smax <= i64::from(range.max)
    }
}

fn tnum_of(range: RetvalRange) -> Tnum {
    Tnum::range(range.min as u64, range.max as u64)
}

/// Says which bounds a scalar has and which it should have (`verbose_invalid_scalar`).
pub fn verbose_invalid_scalar(
    env: &mut Env<'_>,
    reg: &RegState,
    range: RetvalRange,
    ctx: &str,
    reg_name: &str,
) {
    verbose!(env, "{} the register {} has", ctx, reg_name);
    if !env.kernel.features.returns_by_range {
        let allowed = tnum_of(range);
        if reg.var_off.is_unknown() {
            verbose!(env, " unknown scalar value should have been in {}\n", env.tnum_text(allowed));
        } else {
            verbose!(
                env,
                " value {} should have been in {}\n",
                env.tnum_text(reg.var_off),
                env.tnum_text(allowed)
            );
        }
        return;
    }
    if reg.smin > i64::MIN {
        verbose!(env, " smin={}", reg.smin);
    }
    if reg.smax < i64::MAX {
        verbose!(env, " smax={}", reg.smax);
    }
    if reg.smin == i64::MIN && reg.smax == i64::MAX {
        verbose!(env, " unknown scalar value");
    }
    verbose!(env, " should have been in [{}, {}]\n", range.min, range.max);
}
