//! What the rewriting passes add to stack depths, and whom they remove (`optimize_bpf_loop`,
//! `opt_remove_dead_code`, `do_misc_fixups`).  The rewriting itself is not ours.

use bpfassay_isa::field::{Class, Mode};
use bpfassay_spec::{func, RegBase};

use crate::env::{AuxUse, Env};
use crate::stop::{Check, Errno};
use crate::subprogs::subprog_end;
use crate::verbose;

/// Slots for the counter of a may_goto loop, with a time stamp or without.
const TIMED_MAY_GOTO: u16 = 16;
const MAY_GOTO: u16 = 8;
/// R6, R7 and R8, spilled around an inlined bpf_loop.
const INLINED_LOOP: u16 = 24;

/// Brings stack depths and the list of subprograms to what the log's last lines show.
pub fn account_for_rewrites(env: &mut Env<'_>) -> Check {
    for s in 0..env.subprogs.len() as u32 {
        if any_insn(env, s, |env, i| {
            matches!(env.aux(i).used, AuxUse::LoopInline { fit: true, .. })
        }) {
            let sub = &mut env.subprogs[s as usize];
            sub.stack_depth = sub.stack_depth.next_multiple_of(8) + INLINED_LOOP;
        }
    }
    // Instructions are rewritten in order, so that this one keeps those behind it from being.
    let lost = (0..env.insns.len() as u32).find(|i| {
        let insn = env.insns[*i as usize];
        insn.is_kfunc_call() && insn.imm == 0 && env.aux(*i).seen != 0
    });
    if env.ctx_unconverted {
        verbose!(env, "bpf verifier is misconfigured\n");
        return Err(Errno::EINVAL.into());
    }
    check_arena_loads(env)?;
    check_tail_call_maps(env, lost.unwrap_or(u32::MAX))?;
    add_may_goto_slots(env, lost.unwrap_or(u32::MAX))?;
    remove_dead_subprogs(env);
    if let Some(i) = lost {
        env.insn_idx = i;
        verbose!(env, "invalid kernel function call not eliminated in verifier pass\n");
        return Err(Errno::EINVAL.into());
    }
    Ok(())
}

/// Loads that extend the sign from an arena, which not every JIT can do (`convert_ctx_accesses`).
fn check_arena_loads(env: &mut Env<'_>) -> Check {
    if env.kernel.jit.arena_ldsx {
        return Ok(());
    }
    let is_arena = |used: AuxUse| matches!(used, AuxUse::Ptr(ty) if ty.base() == RegBase::Arena);
    let refused = (0..env.insns.len()).find(|i| {
        let insn = env.insns[*i];
        let extends = insn.class() == Class::Ldx && insn.mode() == Mode::MemSx;
        extends && env.aux[*i].seen != 0 && is_arena(env.aux[*i].used)
    });
    if refused.is_some() {
        verbose!(env, "sign extending loads from arena are not supported yet\n");
        return Err(Errno::EOPNOTSUPP.into());
    }
    Ok(())
}

/// Where speculation matters, the index of a tail call is masked by the size of its array, which must be one.
fn check_tail_call_maps(env: &mut Env<'_>, end: u32) -> Check {
    let end = env.insns.len().min(end as usize);
    let mixed = (0..end).find(|i| {
        let (insn, aux) = (env.insns[*i], &env.aux[*i]);
        let tail_call = insn.is_call() && insn.src == 0 && insn.imm == func::TAIL_CALL;
        tail_call && aux.seen != 0 && matches!(aux.used, AuxUse::MapPtr { poison: true, .. })
    });
    if mixed.is_some() && !env.bypass_spec_v1 {
        verbose!(env, "tail_call abusing map_ptr\n");
        return Err(Errno::EINVAL.into());
    }
    Ok(())
}

fn any_insn(env: &Env<'_>, subprog: u32, p: impl Fn(&Env<'_>, u32) -> bool) -> bool {
    (env.subprogs[subprog as usize].start..subprog_end(env, subprog)).any(|i| p(env, i))
}

fn add_may_goto_slots(env: &mut Env<'_>, end: u32) -> Check {
    let extra = if env.kernel.jit.timed_may_goto { TIMED_MAY_GOTO } else { MAY_GOTO };
    if !env.insns.iter().any(|i| i.is_may_goto()) {
        return Ok(());
    }
    let kept = Survivors::after_dead_code(env).without_nops(env);
    for s in 0..env.subprogs.len() as u32 {
        let has = any_insn(env, s, |env, i| env.insns[i as usize].is_may_goto() && kept.has(i));
        if !has || subprog_end(env, s) > end {
            continue;
        }
        let sub = &mut env.subprogs[s as usize];
        sub.stack_depth += extra;
        sub.stack_extra = extra;
        let depth = sub.stack_depth;
        if u32::from(depth) > env.kernel.limits.max_stack && !env.kernel.jit.enabled {
            verbose!(env, "stack size {}(extra {}) is too large\n", depth, extra);
            return Err(Errno::EINVAL.into());
        }
    }
    Ok(())
}

/// Subprograms none of whose instructions were reached are gone.
fn remove_dead_subprogs(env: &mut Env<'_>) {
    let alive: Vec<bool> = (0..env.subprogs.len() as u32)
        .map(|s| any_insn(env, s, |env, i| env.aux(i).seen != 0))
        .collect();
    let mut alive = alive.into_iter();
    env.subprogs.retain(|_| alive.next().unwrap_or(true));
    if env.seen_exception && env.exception_callback_subprog.is_none() {
        // A default exception callback is appended.
        env.subprogs
            .push(crate::env::SubprogInfo { start: env.insns.len() as u32, ..Default::default() });
    }
}

/// Instructions that are left while others are removed: a list with the removed ones pointing on.
struct Survivors {
    /// Of a kept instruction itself; of a removed one the next to look at.
    at_or_after: Vec<u32>,
    prev: Vec<u32>,
    next: Vec<u32>,
}

impl Survivors {
    /// Without what was never reached.
    fn after_dead_code(env: &Env<'_>) -> Survivors {
        let n = env.insns.len() as u32;
        let mut s = Survivors {
            at_or_after: (0..=n).collect(),
            prev: (0..=n).map(|i| i.wrapping_sub(1)).collect(),
            next: (1..=n + 1).collect(),
        };
        for i in (0..n).filter(|i| env.aux(*i).seen == 0) {
            s.remove(i);
        }
        s
    }

    fn has(&self, i: u32) -> bool {
        self.at_or_after[i as usize] == i
    }

    fn remove(&mut self, i: u32) {
        let (p, n) = (self.prev[i as usize], self.next[i as usize]);
        self.at_or_after[i as usize] = n;
        self.prev[n as usize] = p;
        if let Some(next) = self.next.get_mut(p as usize) {
            *next = n;
        }
    }

    fn resolve(&mut self, mut i: u32) -> u32 {
        while !self.has(i) {
            let on = self.at_or_after[i as usize];
            self.at_or_after[i as usize] = self.at_or_after[on as usize];
            i = on;
        }
        i
    }

    /// `opt_remove_nops`: jumps to the next instruction go, and a may_goto takes another look at the one before it.
    fn without_nops(mut self, env: &Env<'_>) -> Survivors {
        let end = env.insns.len() as u32;
        let mut i = self.resolve(0);
        while i < end {
            let next = self.next[i as usize];
            let is_nop = match self.jump_target(env, i) {
                Some(target) => self.resolve(target.min(end)) == next,
                None => false,
            };
            if !is_nop {
                i = next;
                continue;
            }
            self.remove(i);
            let before = self.prev[next as usize];
            i = if env.insns[i as usize].is_may_goto() && before < end { before } else { next };
        }
        self
    }

    /// Where an instruction that does nothing but jump goes; conditional jumps one of whose ways is dead
    /// have become such (`opt_hard_wire_dead_code_branches`).
    fn jump_target(&self, env: &Env<'_>, i: u32) -> Option<u32> {
        let insn = env.insns[i as usize];
        let target = u32::try_from(crate::cfg::jump_target(insn, i)).ok()?;
        if insn.is_ja() || insn.is_may_goto() {
            return Some(target);
        }
        let no_branch = insn.is_gotol() || insn.is_gotox() || insn.is_call() || insn.is_exit();
        if !insn.is_jump_class() || no_branch {
            return None;
        }
        let dead = |at: u32| env.aux.get(at as usize).is_some_and(|a| a.seen == 0);
        if dead(i + 1) {
            Some(target)
        } else if dead(target) {
            Some(i + 1)
        } else {
            None
        }
    }
}
