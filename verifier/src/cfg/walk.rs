//! The depth-first walk over all instructions that finds unreachable ones and decides where
//! states are compared and jumps are recorded (`check_cfg`, `visit_insn`, `push_insn`).

use bpfassay_isa::field::{Class, JmpCode, Mode};
use bpfassay_spec::func;

use super::{jump_target, slots};
use crate::check::indirect_jump::find_jump_table;
use crate::check::summary;
use crate::diagnostics::{self, words, About, Values};
use crate::env::Env;
use crate::log::state::print_linfo;
use crate::stop::{Check, Errno};
use crate::subprogs::{find_containing_subprog, subprog_end};
use crate::verbose;

const DISCOVERED: u8 = 0x10;
const EXPLORED: u8 = 0x20;

/// Edge labels, as added to `DISCOVERED`.
#[derive(Clone, Copy, PartialEq, Eq)]
enum EdgeKind {
    FallThrough = 1,
    Branch = 2,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Visit {
    /// Nothing left to do at this instruction.
    Done,
    /// A successor was pushed.
    Keep,
}

struct Walk {
    state: Vec<u8>,
    stack: Vec<u32>,
}

/// `check_cfg`.
pub fn check_cfg(env: &mut Env<'_>) -> Check {
    let mut walk =
        Walk { state: vec![0; env.insns.len()], stack: Vec::with_capacity(env.insns.len()) };
    walk.run(env, 0)?;
    if let Some(start) = exception_callback_start(env) {
        if walk.state[start as usize] != EXPLORED {
            walk.run(env, start)?;
        }
    }
    check_reached(env, &walk.state)?;
    Ok(())
}

fn exception_callback_start(env: &Env<'_>) -> Option<u32> {
    let sub = env.subprogs.get(env.exception_callback_subprog? as usize)?;
    (sub.start != 0).then_some(sub.start)
}

/// One ascending scan finds what the walk did not reach and what it should not have.
fn check_reached(env: &mut Env<'_>, state: &[u8]) -> Check {
    let mut i = 0;
    while i < env.insns.len() {
        if state[i] != EXPLORED {
            verbose!(env, "unreachable insn {}\n", i);
            let values: Values<'_> = &[("insn", &i)];
            diagnostics::report(env, i as u32, &words::UNREACHABLE, About::Nothing, values);
            return Err(Errno::EINVAL.into());
        }
        if env.insns[i].is_ld_imm64() {
            let halves = env.kernel.features.wide_loads_are_whole;
            if halves && state.get(i + 1).is_some_and(|s| *s != 0) {
                verbose!(env, "jump into the middle of ldimm64 insn {}\n", i);
                let values: Values<'_> = &[("insn", &i)];
                diagnostics::report(env, i as u32, &words::MIDDLE_OF_LOAD, About::Nothing, values);
                return Err(Errno::EINVAL.into());
            }
            i += 1;
        }
        i += 1;
    }
    Ok(())
}

impl Walk {
    fn run(&mut self, env: &mut Env<'_>, from: u32) -> Check {
        self.state[from as usize] = DISCOVERED;
        self.stack.push(from);
        while let Some(&t) = self.stack.last() {
            if self.goes_on(env, t) {
                continue;
            }
            if self.visit(env, t)? == Visit::Done {
                self.state[t as usize] = EXPLORED;
                self.stack.pop();
            }
        }
        Ok(())
    }

    /// The shortest way through [`Walk::visit`]: an instruction that only leads to the next one, which is new.
    #[inline]
    fn goes_on(&mut self, env: &Env<'_>, t: u32) -> bool {
        let insn = env.insns[t as usize];
        let is_plain = !matches!(insn.class(), Class::Jmp | Class::Jmp32 | Class::Ld);
        if !is_plain || self.state[t as usize] != DISCOVERED {
            return false;
        }
        let Some(next) = self.state.get_mut(t as usize + 1).filter(|s| **s == 0) else {
            return false;
        };
        *next = DISCOVERED;
        self.state[t as usize] = DISCOVERED | EdgeKind::FallThrough as u8;
        self.stack.push(t + 1);
        true
    }

    /// Labels the edge `t` → `w` and pushes `w` if it is new.
    ///
    /// Whether the edge may close a loop hangs on the release: once only jumps did (`loop_ok`).
    fn push(&mut self, env: &mut Env<'_>, t: u32, w: i64, e: EdgeKind) -> Check<Visit> {
        let labelled = DISCOVERED | e as u8;
        if self.state[t as usize] >= labelled {
            return Ok(Visit::Done);
        }
        if w < 0 || w >= env.insns.len() as i64 {
            print_linfo(env, t, &format!("{t}: "));
            verbose!(env, "jump out of range from insn {} to {}\n", t, w as i32);
            let (to, last) = (w as i32, env.insns.len() as i32 - 1);
            let values: Values<'_> = &[("from", &t), ("to", &to), ("last", &last)];
            diagnostics::report(env, t, &words::JUMP_LEAVES_PROGRAM, About::Nothing, values);
            return Err(Errno::EINVAL.into());
        }
        let w = w as u32;
        if e == EdgeKind::Branch {
            mark_prune_point(env, w);
            mark_jmp_point(env, w);
        }
        match self.state[w as usize] {
            0 => {
                self.state[t as usize] = labelled;
                self.state[w as usize] = DISCOVERED;
                self.stack.push(w);
                return Ok(Visit::Keep);
            }
            EXPLORED => self.state[t as usize] = labelled,
            _ if env.bpf_capable && may_close_loop(env, t) => {}
            _ => {
                print_linfo(env, t, &format!("{t}: "));
                print_linfo(env, w, &format!("{w}: "));
                verbose!(env, "back-edge from insn {} to {}\n", t, w);
                let values: Values<'_> = &[("from", &t), ("to", &w)];
                diagnostics::report(env, t, &words::BACK_EDGE, About::Nothing, values);
                return Err(Errno::EINVAL.into());
            }
        }
        Ok(Visit::Done)
    }

    /// A call or the address of a subprogram: the next instruction, then the callee.
    fn visit_func_call(&mut self, env: &mut Env<'_>, t: u32, visit_callee: bool) -> Check<Visit> {
        let insn = env.insns[t as usize];
        let next = t + slots(insn);
        if self.push(env, t, i64::from(next), EdgeKind::FallThrough)? == Visit::Keep {
            return Ok(Visit::Keep);
        }
        mark_prune_point(env, next);
        // Returning from a subprogram is a jump in the history.
        mark_jmp_point(env, next);
        if !visit_callee {
            return Ok(Visit::Done);
        }
        let callee = i64::from(t) + i64::from(insn.imm) + 1;
        mark_prune_point(env, t);
        merge_callee_effects(env, t, callee as u32);
        self.push(env, t, callee, EdgeKind::Branch)
    }

    /// An indirect jump: every row of its tables that is new is pushed at once (`visit_gotox_insn`).
    fn visit_gotox(&mut self, env: &mut Env<'_>, t: u32) -> Check<Visit> {
        let table = find_jump_table(env, t)?;
        mark_prune_point(env, t);
        let rows = env.cfg.jump_tables[table as usize].clone();
        let mut visit = Visit::Done;
        for w in rows {
            mark_jmp_point(env, w);
            if self.state[w as usize] != 0 {
                continue;
            }
            if self.stack.len() >= env.insns.len() {
                return Err(Errno::E2BIG.into());
            }
            self.stack.push(w);
            self.state[w as usize] = DISCOVERED;
            visit = Visit::Keep;
        }
        Ok(visit)
    }

    fn visit(&mut self, env: &mut Env<'_>, t: u32) -> Check<Visit> {
        let insn = env.insns[t as usize];
        if insn.is_pseudo_func() && env.kernel.features.function_pointers {
            return self.visit_func_call(env, t, true);
        }
        if insn.class() == Class::Ld && matches!(insn.mode(), Mode::Abs | Mode::Ind) {
            mark_abnormal_return(env, t);
        }
        if !matches!(insn.class(), Class::Jmp | Class::Jmp32) {
            return self.push(env, t, i64::from(t + slots(insn)), EdgeKind::FallThrough);
        }
        match insn.jmp_op() {
            JmpCode::Exit => Ok(Visit::Done),
            JmpCode::Call => {
                mark_call(env, t);
                self.visit_func_call(env, t, insn.src == bpfassay_isa::opcode::PSEUDO_CALL)
            }
            JmpCode::Ja if insn.is_gotox() && env.kernel.features.indirect_jumps => {
                self.visit_gotox(env, t)
            }
            JmpCode::Ja => {
                if insn.is_src_reg() {
                    return Err(Errno::EINVAL.into());
                }
                let off = if insn.class() == Class::Jmp { i32::from(insn.off) } else { insn.imm };
                let target = i64::from(t) + i64::from(off) + 1;
                if self.push(env, t, target, EdgeKind::FallThrough)? == Visit::Keep {
                    return Ok(Visit::Keep);
                }
                mark_prune_point(env, target as u32);
                mark_jmp_point(env, target as u32);
                Ok(Visit::Done)
            }
            _ => {
                mark_prune_point(env, t);
                if insn.is_may_goto() {
                    env.aux_mut(t).force_checkpoint = true;
                }
                if self.push(env, t, i64::from(t) + 1, EdgeKind::FallThrough)? == Visit::Keep {
                    return Ok(Visit::Keep);
                }
                self.push(env, t, i64::from(t) + i64::from(insn.off) + 1, EdgeKind::Branch)
            }
        }
    }
}

/// An edge from `t` may go back to what is being walked.
fn may_close_loop(env: &Env<'_>, t: u32) -> bool {
    let insn = env.insns[t as usize];
    let jumps = matches!(insn.class(), Class::Jmp | Class::Jmp32) && insn.jmp_op() != JmpCode::Call;
    let by_address = insn.is_pseudo_func() && env.kernel.features.function_pointers;
    jumps || by_address || env.kernel.features.any_edge_loops
}

/// What a call demands of the exploration: checkpoints before callbacks and iterators, and
/// the effects its subprogram inherits.
fn mark_call(env: &mut Env<'_>, t: u32) {
    let insn = env.insns[t as usize];
    if insn.is_helper_call() && insn.imm == func::TAIL_CALL {
        mark_abnormal_return(env, t);
    }
    // The state before an async callback is pushed must be comparable, else it is pushed forever.
    if summary::is_async_callback_calling_insn(env, t) {
        mark_prune_point(env, t);
    }
    // A synchronous callback is explored until a state before the call repeats.
    if env.kernel.features.callbacks_repeat && summary::is_sync_callback_calling_insn(env, t) {
        let aux = env.aux_mut(t);
        aux.calls_callback = true;
        aux.force_checkpoint = true;
        aux.prune_point = true;
        aux.jmp_point = true;
    }
    if !insn.is_helper_call() && insn.src != bpfassay_isa::opcode::PSEUDO_KFUNC_CALL {
        return;
    }
    let effects = summary::call_effects(env, t);
    if effects.is_iter_next {
        let aux = env.aux_mut(t);
        aux.prune_point = true;
        aux.force_checkpoint = true;
    }
    let sub = find_containing_subprog(env, t) as usize;
    env.subprogs[sub].might_sleep |= effects.might_sleep;
    env.subprogs[sub].changes_pkt_data |= effects.changes_pkt_data;
    env.subprogs[sub].might_throw |= effects.might_throw;
}

/// The callee has been walked by now, or is being walked (recursion is refused later).
fn merge_callee_effects(env: &mut Env<'_>, caller: u32, callee: u32) {
    let caller = find_containing_subprog(env, caller) as usize;
    let callee = find_containing_subprog(env, callee) as usize;
    env.subprogs[caller].changes_pkt_data |= env.subprogs[callee].changes_pkt_data;
    env.subprogs[caller].might_sleep |= env.subprogs[callee].might_sleep;
    env.subprogs[caller].might_throw |= env.subprogs[callee].might_throw;
}

/// The instruction may leave the subprogram as its last exit does (`visit_abnormal_return_insn`).
fn mark_abnormal_return(env: &mut Env<'_>, t: u32) {
    if !env.kernel.features.abnormal_returns_in_graph {
        return;
    }
    let sub = find_containing_subprog(env, t);
    let (start, end) = (env.subprogs[sub as usize].start, subprog_end(env, sub));
    let exit = (start..end).rev().find(|i| env.insns[*i as usize].is_exit());
    env.aux_mut(t).may_return_at = exit;
}

fn mark_prune_point(env: &mut Env<'_>, idx: u32) {
    env.aux_mut(idx).prune_point = true;
}

fn mark_jmp_point(env: &mut Env<'_>, idx: u32) {
    env.aux_mut(idx).jmp_point = true;
}

/// Target of the jump at `idx`, for those who print it.
pub fn target_of(env: &Env<'_>, idx: u32) -> i64 {
    jump_target(env.insns[idx as usize], idx)
}
