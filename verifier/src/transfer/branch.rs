//! Conditional jumps (`check_cond_jmp_op`, `is_branch_taken`, `reg_set_min_max` of `kernel/bpf/verifier.c`).
//!
//! The path goes on with the fall-through; the jump is pushed for later.  What a
//! comparison decides and teaches is in [`crate::domain::compare`] for scalars and
//! [`super::null_check`] for pointers.

use bpfassay_isa::field::JmpCode;
use bpfassay_isa::{semantics, Cond, RawInsn, Reg, Width};
use bpfassay_spec::{RegBase, TypeFlags};

use super::alu::is_pointer_value;
use super::links::{collect_linked_regs, copy_to_equal, sync_linked_regs, LinkedRegs};
use super::mark::{mark_not_null, reg_bounds_sanity_check};
use super::null_check::{
    is_pkt_pointer_any, is_pkt_ptr_branch_taken, mark_ptr_or_null_regs, try_match_pkt_pointers,
    Records,
};
use super::sanitize::push_speculative_path;
use crate::check::reg_arg::{check_reg_arg, RegArg};
use crate::domain::circular_compare::{compared_with_itself, simulate, BothBranches};
use crate::domain::compare::{flip, is_scalar_branch_taken, Fact, Pair};
use crate::domain::plain_compare;
use crate::domain::reg::{RegState, ADD_CONST};
use crate::domain::state::{INSN_F_DST_REG_STACK, INSN_F_SRC_REG_STACK};
use crate::env::Env;
use crate::explore::history::push_jmp_history;
use crate::explore::precision::mark_chain_precision;
use crate::explore::widen::{find_prev_entry, widen_imprecise_scalars, Looping};
use crate::explore::worklist::push_stack;
use crate::log::state::print_insn_state;
use crate::stop::{Check, Errno, Stop};
use crate::verbose;

/// The jump at hand.
#[derive(Clone, Copy)]
struct Jump {
    cond: Cond,
    width: Width,
    dst: Reg,
    src: Option<Reg>,
    imm: i32,
    off: i32,
}

/// The conditional jump (or may_goto) at `env.insn_idx`; leaves the next index in `env.insn_idx`.
pub fn check_cond_jmp_op(env: &mut Env<'_>) -> Check {
    let raw = env.insns.get(env.insn_idx as usize).copied().unwrap_or_default();
    if raw.jmp_op() == JmpCode::Jcond {
        return check_may_goto(env, raw);
    }
    let Some(cond) = condition(raw.jmp_op()) else {
        verbose!(env, "invalid BPF_JMP/JMP32 opcode {:x}\n", raw.op_bits() << 4);
        return Err(Errno::EINVAL.into());
    };
    let jump = Jump {
        cond,
        width: raw.width(),
        dst: Reg(raw.dst),
        src: raw.is_src_reg().then_some(Reg(raw.src)),
        imm: raw.imm,
        off: raw.off as i32,
    };
    check_operands(env, raw, jump)?;
    let operand = match jump.src {
        Some(src) => *env.reg(src),
        None => RegState::constant_scalar(semantics::imm(raw.imm)),
    };
    push_stack_operands(env, jump, &operand)?;
    let mut linked = LinkedRegs::default();
    let collects_first = env.kernel.features.null_needs_bounds;
    if collects_first {
        // Registers that fall off the end of the set lose their link before anything is decided.
        collect(env, jump, &mut linked);
    }
    let operand = jump.src.map_or(operand, |src| *env.reg(src));
    let forecast = forecast(env, jump, &operand);
    if let Some(taken) = decide(env, jump, forecast.taken)? {
        if env.kernel.features.decided_jumps_shown {
            print_state(env);
        }
        return follow(env, if taken { jump.off } else { 0 });
    }
    if !collects_first {
        collect(env, jump, &mut linked);
    }
    if linked.len() > 1 {
        push_jmp_history(env, 0, linked.pack())?;
    }
    explore_both(env, jump, &linked, forecast.both)?;
    print_state(env);
    follow(env, 0)
}

pub fn condition(op: JmpCode) -> Option<Cond> {
    Some(match op {
        JmpCode::Eq => Cond::Eq,
        JmpCode::Gt => Cond::Gt,
        JmpCode::Ge => Cond::Ge,
        JmpCode::Set => Cond::Set,
        JmpCode::Ne => Cond::Ne,
        JmpCode::Sgt => Cond::Sgt,
        JmpCode::Sge => Cond::Sge,
        JmpCode::Lt => Cond::Lt,
        JmpCode::Le => Cond::Le,
        JmpCode::Slt => Cond::Slt,
        JmpCode::Sle => Cond::Sle,
        _ => return None,
    })
}

/// Goes on `off` slots after the next one.
fn follow(env: &mut Env<'_>, off: i32) -> Check {
    env.insn_idx = target(env.insn_idx, off);
    Ok(())
}

/// The control-flow checks have seen to it that targets are inside the program.
fn target(insn_idx: u32, off: i32) -> u32 {
    (insn_idx as i64 + 1 + off as i64) as u32
}

fn print_state(env: &mut Env<'_>) {
    if env.log.level.prints_insns() {
        let frame = env.cur.curframe();
        print_insn_state(env, frame);
    }
    env.log.end_message();
}

/// Takes the jump; the fall-through, which leaves the loop's budget used up by one, is explored later.
fn check_may_goto(env: &mut Env<'_>, raw: RawInsn) -> Check {
    let goes_nowhere = raw.off == 0 && !env.kernel.features.may_goto_nowhere;
    if !raw.is_may_goto() || raw.dst != 0 || raw.imm != 0 || goes_nowhere {
        verbose!(env, words.may_goto_fields, off = raw.off, imm = raw.imm);
        return Err(Errno::EINVAL.into());
    }
    let idx = env.insn_idx;
    let prev = find_prev_entry(env, idx, Looping::Pushed)?;
    let queued = push_stack(env, idx + 1, idx, false)?;
    queued.may_goto_depth += 1;
    if let Some(prev) = prev {
        widen_imprecise_scalars(env, prev, Looping::Pushed)?;
    }
    follow(env, raw.off as i32)
}

fn check_operands(env: &mut Env<'_>, raw: RawInsn, jump: Jump) -> Check {
    check_reg_arg(env, jump.dst, RegArg::Src)?;
    if if jump.src.is_some() { raw.imm != 0 } else { raw.src != 0 } {
        verbose!(env, "BPF_JMP/JMP32 uses reserved fields\n");
        return Err(Errno::EINVAL.into());
    }
    let Some(src) = jump.src else { return Ok(()) };
    check_reg_arg(env, src, RegArg::Src)?;
    let both_packet = is_pkt_pointer_any(env.reg(jump.dst)) && is_pkt_pointer_any(env.reg(src));
    if !both_packet && is_pointer_value(env, src) {
        verbose!(env, "R{} pointer comparison prohibited\n", src.0);
        return Err(Errno::EACCES.into());
    }
    Ok(())
}

/// Backtracking must not take a compared stack pointer for a scalar.
fn push_stack_operands(env: &mut Env<'_>, jump: Jump, operand: &RegState) -> Check {
    let mut flags = 0;
    if operand.ty == RegBase::Stack {
        flags |= INSN_F_SRC_REG_STACK;
    }
    if env.reg(jump.dst).ty == RegBase::Stack {
        flags |= INSN_F_DST_REG_STACK;
    }
    if flags != 0 {
        push_jmp_history(env, flags, 0)?;
    }
    Ok(())
}

/// The source's links, then the destination's, in one set.
fn collect(env: &mut Env<'_>, jump: Jump, linked: &mut LinkedRegs) {
    if !env.kernel.features.links_collected {
        return;
    }
    for r in jump.src.into_iter().chain([jump.dst]) {
        let reg = env.reg(r);
        if reg.is_scalar() && reg.id != 0 {
            let id = reg.id;
            collect_linked_regs(env, id, linked);
        }
    }
}

/// The direction, if it is known; then what decided it must be precise.
fn decide(env: &mut Env<'_>, jump: Jump, taken: Option<bool>) -> Check<Option<bool>> {
    if taken.is_none() {
        return Ok(None);
    }
    if env.reg(jump.dst).is_scalar() {
        mark_chain_precision(env, jump.dst)?;
    }
    if let Some(src) = jump.src {
        if env.reg(src).is_scalar() {
            mark_chain_precision(env, src)?;
        }
    }
    if !env.bypass_spec_v1 {
        push_other_direction(env, jump, taken == Some(true))?;
    }
    Ok(taken)
}

/// The processor may mispredict a jump whose direction is known.
fn push_other_direction(env: &mut Env<'_>, jump: Jump, taken: bool) -> Check {
    let idx = env.insn_idx;
    let raw = env.insns[idx as usize];
    let other = target(idx, if taken { 0 } else { jump.off });
    let told = env.kernel.features.pushing_fails_e2big;
    push_speculative_path(env, Some(raw), other).map_err(|stop| match stop {
        Stop::Reject(_) if !told => Errno::EFAULT.into(),
        other => other,
    })
}

/// The direction of a jump, if it is known, and what is known of scalars on both branches where it was found out
/// by trying.
struct Forecast {
    taken: Option<bool>,
    both: Option<BothBranches>,
}

fn forecast(env: &Env<'_>, jump: Jump, b: &RegState) -> Forecast {
    let (a, cond, width) = (env.reg(jump.dst), jump.cond, jump.width);
    let known = |taken| Forecast { taken, both: None };
    if width == Width::W64 && is_pkt_pointer_any(a) && is_pkt_pointer_any(b) {
        return known(is_pkt_ptr_branch_taken(a, b, cond));
    }
    if !a.is_scalar() || !b.is_scalar() {
        return known(is_null_compared(env, a, b, cond, width));
    }
    let narrow = width == Width::W32;
    let constant;
    let b = match env.kernel.features.ranges_decide_branches {
        true => b,
        false if !b.is_const(narrow) => return known(None),
        false => {
            // Its value alone counts, whatever its bounds say.
            let value = if narrow { b.var_off.subreg().value } else { b.var_off.value };
            constant = RegState::constant_scalar(value);
            &constant
        }
    };
    let is_equality = matches!(cond, Cond::Eq | Cond::Ne);
    if is_equality && !env.kernel.features.equality_by_range && !a.is_const(narrow) {
        return known(None);
    }
    if jump.src == Some(jump.dst) && env.kernel.features.same_register_decides {
        return known(compared_with_itself(a, cond, width));
    }
    if !env.kernel.features.branches_simulated {
        return known(is_scalar_branch_taken(a, b, cond, width));
    }
    let by_bounds = is_scalar_branch_taken(a, b, cond, width);
    let without_mask = cond == Cond::Set && !a.is_const(narrow) && !b.is_const(narrow);
    if by_bounds.is_some() || without_mask {
        return known(by_bounds);
    }
    let both = simulate(*a, *b, cond, width, &env.kernel.features);
    Forecast { taken: both.decided, both: Some(both) }
}

/// A pointer known not to be null is not equal to zero; nothing else is known of addresses.
fn is_null_compared(
    env: &Env<'_>,
    a: &RegState,
    b: &RegState,
    cond: Cond,
    width: Width,
) -> Option<bool> {
    let narrow = width == Width::W32;
    if narrow && env.kernel.features.null_needs_bounds {
        return None;
    }
    let (ptr, k, cond) = if b.is_const(narrow) { (a, b, cond) } else { (b, a, flip(cond)) };
    let sees_both = env.kernel.features.ranges_decide_branches || std::ptr::eq(k, b);
    if !sees_both || !k.is_const(narrow) || !is_not_null(env, ptr) {
        return None;
    }
    let zero = if narrow { k.var_off.subreg().value == 0 } else { k.var_off.value == 0 };
    match cond {
        Cond::Eq if zero => Some(false),
        Cond::Ne if zero => Some(true),
        _ => None,
    }
}

/// `reg_not_null`
fn is_not_null(env: &Env<'_>, reg: &RegState) -> bool {
    if reg.ty.may_be_null() {
        return false;
    }
    let more = env.kernel.features.null_needs_bounds;
    let limit = env.kernel.limits.max_var_off as i64;
    if more && (reg.smin <= -limit || reg.smax >= limit) {
        return false;
    }
    let plain = reg.flags().is_empty();
    match reg.base() {
        RegBase::ConstMapPtr | RegBase::BtfId | RegBase::Mem
            if !env.kernel.features.map_pointers_not_null =>
        {
            false
        }
        _ if !plain && !env.kernel.features.map_pointers_not_null => false,
        RegBase::XdpSock | RegBase::Buf => more,
        RegBase::Socket
        | RegBase::TcpSock
        | RegBase::MapValue
        | RegBase::MapKey
        | RegBase::SockCommon
        | RegBase::ConstMapPtr => true,
        RegBase::BtfId => crate::check::trust::is_trusted_reg(reg),
        RegBase::Mem => !reg.ty.has(TypeFlags::PTR_UNTRUSTED),
        _ => false,
    }
}

/// Pushes the jump and gives both branches what the comparison says about each.
fn explore_both(
    env: &mut Env<'_>,
    jump: Jump,
    linked: &LinkedRegs,
    tried: Option<BothBranches>,
) -> Check {
    let idx = env.insn_idx;
    let told = env.kernel.features.pushing_fails_e2big;
    if let Err(stop) = push_stack(env, target(idx, jump.off), idx, false) {
        return Err(match stop {
            // Older kernels hand every failure of this push on as EFAULT.
            Stop::Reject(_) if !told => Errno::EFAULT.into(),
            other => other,
        });
    }
    match tried {
        Some(both) => settle_both(env, jump, both.not_taken, both.taken)?,
        None if env.kernel.features.branches_simulated => {}
        None => refine_both(env, jump)?,
    }
    sync_links(env, jump, linked);
    lift_null_by_equality(env, jump);
    learn_about_pointers(env, jump)
}

fn other_branch<'e>(env: &'e mut Env<'_>) -> Option<&'e mut crate::domain::state::VerifierState> {
    env.explore.pending.last_mut().map(|p| &mut p.state)
}

/// Narrows the compared scalars on both branches (`reg_set_min_max`); each register is checked for
/// contradictions, the jump's first.
fn refine_both(env: &mut Env<'_>, jump: Jump) -> Check {
    let f = &env.kernel.features;
    let a = *env.reg(jump.dst);
    let b = match jump.src {
        Some(src) => *env.reg(src),
        None => RegState::constant_scalar(semantics::imm(jump.imm)),
    };
    if !a.is_scalar() || !b.is_scalar() {
        return Ok(());
    }
    let same = jump.src == Some(jump.dst);
    if same && f.same_register_decides {
        return Ok(());
    }
    if !f.bounds_exchanged {
        let (not_taken, taken) = plain_compare::refine_both(a, b, same, (jump.cond, jump.width), f);
        return settle_both(env, jump, not_taken, taken);
    }
    let (mut not_taken, mut taken) = (Pair::of(a, b, same), Pair::of(a, b, same));
    not_taken.refine(Fact::not(jump.cond), jump.width, f);
    taken.refine(Fact::Holds(jump.cond), jump.width, f);
    settle_both(env, jump, not_taken, taken)
}

/// Checks the registers of both branches and gives each its own.
fn settle_both(env: &mut Env<'_>, jump: Jump, mut not_taken: Pair, mut taken: Pair) -> Check {
    reg_bounds_sanity_check(env, taken.first_mut(), "true_reg1")?;
    reg_bounds_sanity_check(env, taken.second_mut(), "true_reg2")?;
    reg_bounds_sanity_check(env, not_taken.first_mut(), "false_reg1")?;
    reg_bounds_sanity_check(env, not_taken.second_mut(), "false_reg2")?;
    *env.reg_mut(jump.dst) = *not_taken.first();
    if let Some(src) = jump.src {
        *env.reg_mut(src) = *not_taken.second();
    }
    if let Some(other) = other_branch(env) {
        *other.cur_mut().reg_mut(jump.dst) = *taken.first();
        if let Some(src) = jump.src {
            *other.cur_mut().reg_mut(src) = *taken.second();
        }
    }
    Ok(())
}

/// A register filled with its sign extended counts as equal to what was spilled (`coerce_reg_to_size_sx` keeps the
/// id), so that a comparison of one teaches falsehoods about the other.
const QUIRK_SX_FILL: &str = "sign-extending-fill-keeps-link";

/// Hands what was learnt on to linked scalars, the source's first.
fn sync_links(env: &mut Env<'_>, jump: Jump, linked: &LinkedRegs) {
    let f = &env.kernel.features;
    for r in jump.src.into_iter().chain([jump.dst]) {
        let reg = env.reg(r);
        if !reg.is_scalar() || reg.id == 0 {
            continue;
        }
        if !f.links_collected {
            let both_scalar = jump.src.is_none_or(|s| env.reg(s).is_scalar());
            if both_scalar || r == jump.dst {
                copy_to_equal(&mut env.cur, r);
                if let Some(other) = other_branch(env) {
                    copy_to_equal(other, r);
                }
            }
            continue;
        }
        if env.wrong_links.contains(&(reg.id & !ADD_CONST)) {
            env.quirk = env.quirk.or(Some(QUIRK_SX_FILL));
        }
        let shown = f.synced_links_shown;
        let here = sync_linked_regs(&mut env.cur, r, linked, f);
        let there = match other_branch(env) {
            Some(other) => sync_linked_regs(other, r, linked, f),
            None => (0, 0),
        };
        if shown {
            env.scratched_regs |= here.0 | there.0;
            env.scratched_slots |= here.1 | there.1;
        }
    }
}

/// A pointer equal to one that cannot be null is not null either.  Not with BTF pointers, which
/// may be null without saying so.
fn lift_null_by_equality(env: &mut Env<'_>, jump: Jump) {
    let Some(src) = jump.src.filter(|_| env.kernel.features.registers_tell_null) else { return };
    let (a, b) = (*env.reg(jump.dst), *env.reg(src));
    let applies = jump.width == Width::W64
        && !a.is_scalar()
        && !b.is_scalar()
        && a.base() != RegBase::BtfId
        && b.base() != RegBase::BtfId;
    let (a_null, b_null) = (a.ty.may_be_null(), b.ty.may_be_null());
    let strict = env.kernel.features.null_needs_bounds;
    let knows = |other: &RegState| !strict || is_not_null(env, other);
    let r = if b_null && !a_null && knows(&a) {
        src
    } else if a_null && !b_null && knows(&b) {
        jump.dst
    } else {
        return;
    };
    if !applies {
        return;
    }
    let state = match jump.cond {
        Cond::Eq => match env.explore.pending.last_mut() {
            Some(p) => &mut p.state,
            None => return,
        },
        Cond::Ne => &mut env.cur,
        _ => return,
    };
    mark_not_null(env.kernel, &env.maps, state.cur_mut().reg_mut(r));
}

fn learn_about_pointers(env: &mut Env<'_>, jump: Jump) -> Check {
    let zero = match jump.src {
        None => jump.imm == 0,
        Some(src) => {
            env.kernel.features.null_in_register
                && crate::check::stack::register_is_null(env.reg(src))
        }
    };
    let compares_to_zero =
        zero && jump.width == Width::W64 && matches!(jump.cond, Cond::Eq | Cond::Ne);
    if compares_to_zero && env.reg(jump.dst).ty.may_be_null() {
        if let Some(src) = jump.src {
            // That it is zero holds on this path only.
            mark_chain_precision(env, src)?;
        }
        let records =
            Records { kernel: env.kernel, maps: &env.maps, struct_metas: &env.struct_metas };
        mark_ptr_or_null_regs(&mut env.cur, &records, jump.dst, jump.cond == Cond::Ne);
        if let Some(p) = env.explore.pending.last_mut() {
            mark_ptr_or_null_regs(&mut p.state, &records, jump.dst, jump.cond == Cond::Eq);
        }
        return Ok(());
    }
    if let (Some(src), Width::W64) = (jump.src, jump.width) {
        let max = env.kernel.limits.max_packet_off;
        let whole = env.kernel.features.pointer_offset_whole;
        if let Some(p) = env.explore.pending.last_mut() {
            if try_match_pkt_pointers(
                &mut env.cur,
                &mut p.state,
                jump.cond,
                jump.dst,
                src,
                max,
                whole,
            ) {
                return Ok(());
            }
        }
    }
    if is_pointer_value(env, jump.dst) {
        verbose!(env, "R{} pointer comparison prohibited\n", jump.dst.0);
        return Err(Errno::EACCES.into());
    }
    Ok(())
}
