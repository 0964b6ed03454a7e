//! Direct packet access and the legacy packet loads (`check_packet_access`, `may_access_direct_pkt_data`,
//! `check_ld_abs`).

use bpfassay_isa::field::Mode;
use bpfassay_isa::{Reg, Size};
use bpfassay_spec::{PacketAccess, RegBase};

use super::callinfo::CallMeta;
use super::func_call::prepare_func_exit;
use super::mem::{check_reg_arg, RegArg};
use super::refs::{check_resource_leak, Leaving};
use super::region::{check_fixed, check_mem_region_access, check_ptr_off_reg, reject_negative_min};
use super::Access;
use crate::diagnostics;
use crate::env::Env;
use crate::explore::worklist::push_stack;
use crate::stop::{Check, Errno};
use crate::transfer::mark::mark_reg_unknown;
use crate::verbose;

/// `may_access_direct_pkt_data`; `meta` is given for a helper's argument.
/// An allowed access by an instruction marks the program as writing directly.
pub fn may_access_direct_pkt_data(
    env: &mut Env<'_>,
    meta: Option<&CallMeta>,
    access: Access,
) -> bool {
    match env.kernel.prog(env.prog.prog_type).map_or(PacketAccess::None, |row| row.packet) {
        PacketAccess::None => false,
        PacketAccess::Read if access == Access::Write => false,
        PacketAccess::OptVal => {
            env.seen_direct_write |= access == Access::Write;
            true
        }
        PacketAccess::Read | PacketAccess::Write => match meta {
            Some(meta) => meta.pkt_access,
            None => {
                env.seen_direct_write = true;
                true
            }
        },
    }
}

/// Access inside the range proved by a comparison with the packet's end (`check_packet_access`).
/// `off` includes the register's fixed offset.
pub(super) fn check_packet_access(
    env: &mut Env<'_>,
    r: Reg,
    off: i32,
    size: i32,
    zero_size_allowed: bool,
) -> Check {
    let reg = env.reg(r);
    if env.kernel.features.packet_is_region {
        let range = reg.range();
        if range < 0 {
            verbose!(env, "R{} offset is outside of the packet\n", r.0);
            return Err(Errno::EINVAL.into());
        }
        return check_mem_region_access(env, r, off, size, range as u32, zero_size_allowed);
    }
    if reg.smin < 0 {
        return reject_negative_min(env, r);
    }
    let range = reg.range();
    let outcome = if range < 0 {
        Err(Errno::EINVAL.into())
    } else {
        check_fixed(env, r, off, size, range as u32, zero_size_allowed)
    };
    if outcome.is_err() {
        verbose!(env, words.packet_outside, reg = r.0);
    }
    outcome
}

/// LD_ABS or LD_IND: the context in r6, the packet's bytes into r0, r1 to r5 lost (`check_ld_abs`).
pub fn check_ld_abs(env: &mut Env<'_>) -> Check {
    if !env.kernel.prog(env.prog.prog_type).is_some_and(|row| row.skb_loads) {
        verbose!(env, "BPF_LD_[ABS|IND] instructions not allowed for this program type\n");
        return Err(Errno::EINVAL.into());
    }
    if env.kernel.features.ld_abs_exit_is_tracked
        && env.cur.frames().skip(1).any(|f| f.in_callback_fn)
    {
        verbose!(env, "cannot use BPF_LD_[ABS|IND] within callback\n");
        return Err(Errno::EINVAL.into());
    }
    let raw = env.insns[env.insn_idx as usize];
    let is_ind = raw.mode() == Mode::Ind;
    if raw.dst != 0 || raw.off != 0 || raw.size() == Size::Dw || !is_ind && raw.src != 0 {
        verbose!(env, "BPF_LD_[ABS|IND] uses reserved fields\n");
        return Err(Errno::EINVAL.into());
    }
    let ctx = Reg::R6;
    check_reg_arg(env, ctx, RegArg::Src)?;
    // The load may end the program, so nothing may be held.
    check_resource_leak(env, false, true, Leaving::LdAbs)?;
    if env.reg(ctx).ty != RegBase::Ctx {
        verbose!(env, "at the time of BPF_LD_ABS|IND R6 != pointer to skb\n");
        return Err(Errno::EINVAL.into());
    }
    if is_ind {
        check_reg_arg(env, Reg(raw.src), RegArg::Src)?;
    }
    let reg = *env.reg(ctx);
    check_ptr_off_reg(env, &reg, ctx)?;
    let (capable, frame) = (env.bpf_capable, env.cur.curframe());
    diagnostics::scrub_caller_saved(env, frame);
    diagnostics::begin_reg(env, Reg::R0);
    for r in 0..=5 {
        env.reg_mut(Reg(r)).mark_not_init(capable);
        check_reg_arg(env, Reg(r), RegArg::DstNoMark)?;
    }
    mark_reg_unknown(env, Reg::R0);
    env.reg_mut(Reg::R0).subreg_def = env.insn_idx as i32 + 1;
    diagnostics::end(env);
    if env.cur.curframe() > 0 && env.kernel.features.ld_abs_may_leave_subprog {
        return leave_subprog_early(env);
    }
    Ok(())
}

/// Beyond the packet's end the load leaves the subprogram with R0 = 0: that path goes on, the other waits.
fn leave_subprog_early(env: &mut Env<'_>) -> Check {
    env.mark_reg_scratched(Reg::R0);
    let idx = env.insn_idx;
    push_stack(env, idx + 1, idx, false)?;
    env.reg_mut(Reg::R0).mark_known_zero();
    prepare_func_exit(env)?;
    env.insn_idx = env.insn_idx.wrapping_sub(1);
    Ok(())
}
