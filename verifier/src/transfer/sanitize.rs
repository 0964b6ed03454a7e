//! Speculative execution of loaders without CAP_PERFMON (`sanitize_ptr_alu`, `sanitize_val_alu`,
//! `sanitize_check_bounds`, `sanitize_speculative_path` of `kernel/bpf/verifier.c`).
//!
//! A processor may run past a branch it mispredicts.  So the direction not taken is explored as well, with the
//! compared registers unknown, and additions to a pointer get a limit that late passes turn into masking.  Where the
//! kernel has `speculation_ends_at_barriers`, what is wrong on such a path alone puts a barrier before the instruction.

use bpfassay_isa::field::AluCode;
use bpfassay_isa::{RawInsn, Reg};
use bpfassay_spec::RegBase;

use super::alu::Alu;
use super::mark::mark_unknown_in;
use crate::check::map_value::{check_map_access, AccessSrc};
use crate::domain::reg::RegState;
use crate::env::Env;
use crate::explore::worklist::push_stack;
use crate::stop::{Check, Errno, Stop};
use crate::verbose;

/// `BPF_ALU_SANITIZE_SRC`, `_DST`, `BPF_ALU_NEG_VALUE`, `_NON_POINTER`, `_IMMEDIATE`.
pub const ALU_SANITIZE_SRC: u8 = 1;
pub const ALU_SANITIZE_DST: u8 = 2;
pub const ALU_NEG_VALUE: u8 = 4;
pub const ALU_NON_POINTER: u8 = 8;
pub const ALU_IMMEDIATE: u8 = 16;

/// How an addition is masked later; state 0 for not at all.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct AluLimit {
    pub state: u8,
    /// Farthest the pointer may move, bytes.
    pub limit: u32,
}

/// Why an addition cannot be masked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Reason {
    Bounds,
    Type,
    Paths,
    Limit,
    Stack,
}

/// `ptr op off` as it is looked at before and after the pointer moves.
pub(super) struct Sanitizer {
    insn: Alu,
    /// `ptr_reg == dst_reg`.
    ptr_is_dst: bool,
    before: AluLimit,
    mask_to_left: bool,
}

fn is_needed(op: AluCode) -> bool {
    matches!(op, AluCode::Add | AluCode::Sub)
}

fn may_skip(env: &Env<'_>, insn: Alu) -> bool {
    env.bypass_spec_v1 || insn.src.is_none() || env.aux(env.insn_idx).nospec
}

/// The direction not taken, or the same path with a masked offset, explored as the processor might run it.
pub(super) fn push_speculative_path(
    env: &mut Env<'_>,
    compared: Option<RawInsn>,
    next_idx: u32,
) -> Check {
    let (idx, capable) = (env.insn_idx, env.bpf_capable);
    let branch = push_stack(env, next_idx, idx, true)?;
    if let Some(raw) = compared {
        mark_unknown_in(branch.cur_mut(), Reg(raw.dst), capable);
        if raw.is_src_reg() {
            mark_unknown_in(branch.cur_mut(), Reg(raw.src), capable);
        }
    }
    Ok(())
}

/// An addition or subtraction of scalars must not share its instruction with a masked pointer.
pub(super) fn sanitize_val_alu(env: &mut Env<'_>, insn: Alu) -> Check {
    if !is_needed(insn.op) || may_skip(env, insn) {
        return Ok(());
    }
    let plain = AluLimit { state: ALU_NON_POINTER, limit: 0 };
    let aux = &mut env.aux_mut(env.insn_idx).alu_limit;
    match update(aux, plain) {
        Ok(()) => Ok(()),
        Err(reason) => Err(refuse(env, insn, reason, false)),
    }
}

/// One instruction has one limit, on whichever path it is reached.
fn update(at: &mut AluLimit, new: AluLimit) -> Result<(), Reason> {
    if at.state != 0 && *at != new {
        return Err(Reason::Paths);
    }
    *at = new;
    Ok(())
}

fn ptr_limit(env: &Env<'_>, ptr: &RegState, mask_to_left: bool) -> Result<u32, Reason> {
    let whole = env.kernel.features.pointer_offset_whole;
    let fixed = if whole { 0 } else { ptr.off as u32 };
    let (max, limit) = if ptr.ty == RegBase::Stack {
        let from_top = (ptr.var_off.value as u32).wrapping_add(fixed);
        (env.kernel.limits.max_stack + u32::from(mask_to_left), from_top.wrapping_neg())
    } else if ptr.ty == RegBase::MapValue {
        let map = ptr.map().ok_or(Reason::Type)?;
        let edge = if mask_to_left { ptr.smin as u32 } else { ptr.umax as u32 };
        (env.map(map).def.value_size, edge.wrapping_add(fixed))
    } else {
        return Err(Reason::Type);
    };
    if limit >= max {
        return Err(Reason::Limit);
    }
    Ok(limit)
}

impl Sanitizer {
    pub fn new(insn: Alu, ptr_is_dst: bool) -> Sanitizer {
        Sanitizer { insn, ptr_is_dst, before: AluLimit::default(), mask_to_left: false }
    }

    /// Before the pointer moves; `dst` is the destination as it stands by then.
    pub fn before(
        &mut self,
        env: &mut Env<'_>,
        ptr: &RegState,
        off: &RegState,
        dst: &RegState,
    ) -> Check {
        if !is_needed(self.insn.op) || may_skip(env, self.insn) {
            return Ok(());
        }
        if !env.cur.speculative {
            if let Err(reason) = self.note_limit(env, ptr, off) {
                return Err(refuse(env, self.insn, reason, !self.ptr_is_dst));
            }
        }
        if off.var_off.is_const() {
            // It becomes an immediate, which needs no mask.
            return Ok(());
        }
        let kept = *env.reg(self.insn.dst);
        *env.reg_mut(self.insn.dst) = if self.ptr_is_dst { *dst } else { *ptr };
        let next = env.insn_idx + 1;
        match push_speculative_path(env, None, next) {
            Ok(()) => {
                *env.reg_mut(self.insn.dst) = kept;
                Ok(())
            }
            Err(Stop::Reject(_)) => Err(refuse(env, self.insn, Reason::Stack, !self.ptr_is_dst)),
            Err(other) => Err(other),
        }
    }

    fn note_limit(
        &mut self,
        env: &mut Env<'_>,
        ptr: &RegState,
        off: &RegState,
    ) -> Result<(), Reason> {
        let (is_imm, negative) = (off.var_off.is_const(), off.smin < 0);
        if !is_imm && negative != (off.smax < 0) {
            return Err(Reason::Bounds);
        }
        self.mask_to_left = (self.insn.op == AluCode::Add) == negative;
        let limit = ptr_limit(env, ptr, self.mask_to_left)?;
        let side = if self.ptr_is_dst { ALU_SANITIZE_SRC } else { ALU_SANITIZE_DST };
        let flag = |on: bool, bit: u8| if on { bit } else { 0 };
        let state = side | flag(negative, ALU_NEG_VALUE) | flag(is_imm, ALU_IMMEDIATE);
        self.before = AluLimit { state, limit };
        if !is_imm {
            // Other paths may need another mask, so they are not pruned for being covered.
            env.explore_alu_limits = true;
        }
        Ok(())
    }

    /// After the pointer moved: within its object, and as far as the instruction may move it on any path.
    pub fn after(&self, env: &mut Env<'_>, dst: &RegState) -> Check {
        if env.bypass_spec_v1 {
            return Ok(());
        }
        check_bounds(env, self.insn, dst)?;
        if !is_needed(self.insn.op) || may_skip(env, self.insn) || env.cur.speculative {
            return Ok(());
        }
        let noted = ptr_limit(env, dst, self.mask_to_left).and_then(|limit| {
            let moved = self.before.limit.wrapping_sub(limit) as i32;
            let new = AluLimit { limit: moved.unsigned_abs(), ..self.before };
            update(&mut env.aux_mut(env.insn_idx).alu_limit, new)
        });
        match noted {
            Ok(()) => Ok(()),
            Err(reason) => Err(refuse(env, self.insn, reason, !self.ptr_is_dst)),
        }
    }
}

fn check_bounds(env: &mut Env<'_>, insn: Alu, dst: &RegState) -> Check {
    let r = insn.dst.0;
    let fixed = if env.kernel.features.pointer_offset_whole { 0 } else { dst.off };
    if dst.ty == RegBase::Stack {
        let off = fixed.wrapping_add(dst.var_off.value as i32);
        if !dst.var_off.is_const() {
            let var = dst.var_off;
            verbose!(
                env,
                "R{r} variable stack access prohibited for !root, var_off={var} off={off}\n"
            );
            return Err(Errno::EACCES.into());
        }
        if off >= 0 || off < -(env.kernel.limits.max_stack as i32) {
            verbose!(
                env,
                "R{r} stack pointer arithmetic goes out of range, prohibited for !root; off={off}\n"
            );
            return Err(Errno::EACCES.into());
        }
    } else if dst.ty == RegBase::MapValue {
        let outside = check_map_access(env, insn.dst, fixed, 1, false, AccessSrc::Helper);
        if let Err(Stop::Reject(_)) = outside {
            verbose!(
                env,
                "R{r} pointer arithmetic of map value goes out of range, prohibited for !root\n"
            );
            return Err(Errno::EACCES.into());
        }
        return outside;
    }
    Ok(())
}

fn refuse(env: &mut Env<'_>, insn: Alu, reason: Reason, off_is_dst: bool) -> Stop {
    const WHY: &str = "pointer arithmetic with it prohibited for !root";
    let op = if insn.op == AluCode::Add { "add" } else { "sub" };
    let (dst, src) = (insn.dst.0, insn.raw.src);
    let off_is_dst = off_is_dst && !env.kernel.features.masked_operand_misnamed;
    match reason {
        Reason::Bounds => {
            let r = if off_is_dst { dst } else { src };
            verbose!(env, "R{r} has unknown scalar with mixed signed bounds, {WHY}\n");
        }
        Reason::Type => {
            let r = if off_is_dst { src } else { dst };
            verbose!(env, "R{r} has pointer with unsupported alu operation, {WHY}\n");
        }
        Reason::Paths => {
            verbose!(env, "R{dst} tried to {op} from different maps, paths or scalars, {WHY}\n");
        }
        Reason::Limit => verbose!(env, "R{dst} tried to {op} beyond pointer bounds, {WHY}\n"),
        Reason::Stack => {
            verbose!(env, "R{dst} could not be pushed for speculative verification, {WHY}\n");
            return Errno::ENOMEM.into();
        }
    }
    Errno::EACCES.into()
}
