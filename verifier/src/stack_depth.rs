//! The deepest stack along any chain of calls (`check_max_stack_depth`).

use crate::check::summary::{is_bpf_throw_kfunc, with_prog_kind};
use crate::env::Env;
use crate::stop::{Check, Errno};
use crate::subprogs::{find_subprog, subprog_end};
use crate::verbose;

/// Checks the main program and every asynchronous callback as roots, last first: what a callback
/// calls has no private stack.
pub fn check_max_stack_depth(env: &mut Env<'_>) -> Check {
    let any_tail_call = env.subprogs.iter().any(|s| s.has_tail_call);
    let private =
        !any_tail_call && with_prog_kind(env, |kind| env.kernel.may_have_private_stack(kind));
    for i in (0..env.subprogs.len()).rev() {
        if i == 0 || env.subprogs[i].is_async_cb {
            Walk::new(i, private && i == 0).run(env)?;
        }
    }
    Ok(())
}

/// Frames grow in steps of 16 bytes under a JIT, of 32 in the interpreter.
fn round_up_stack_depth(env: &Env<'_>, depth: u32) -> u32 {
    if env.kernel.jit.enabled && env.kernel.features.jit_frames_of_16 {
        depth.next_multiple_of(16)
    } else {
        depth.max(1).next_multiple_of(32)
    }
}

/// One walk over the call tree below a root.
struct Walk {
    private: bool,
    /// Subprogram being walked, and the next instruction in it.
    at: usize,
    insn: u32,
    depth: u32,
    /// Callers and where they go on.
    callers: Vec<(usize, u32)>,
    tail_call_reachable: bool,
}

impl Walk {
    fn new(root: usize, private: bool) -> Walk {
        Walk {
            private,
            at: root,
            insn: 0,
            depth: 0,
            callers: Vec::new(),
            tail_call_reachable: false,
        }
    }

    fn run(mut self, env: &mut Env<'_>) -> Check {
        self.enter(env, self.at)?;
        loop {
            if self.scan(env)? {
                continue;
            }
            self.note_tail_calls(env)?;
            let Some((caller, next)) = self.callers.pop() else { return Ok(()) };
            if env.subprogs[self.at].priv_stack != Some(true) {
                self.depth -=
                    round_up_stack_depth(env, u32::from(env.subprogs[self.at].stack_depth));
            }
            (self.at, self.insn) = (caller, next);
            if env.kernel.features.globals_start_depth {
                self.tail_call_reachable = env.subprogs[caller].tail_call_reachable;
            }
        }
    }

    /// Adds the frame of a subprogram.
    fn enter(&mut self, env: &mut Env<'_>, subprog: usize) -> Check {
        self.at = subprog;
        self.insn = env.subprogs[subprog].start;
        if !self.private {
            env.subprogs[subprog].priv_stack = Some(false);
        }
        if env.kernel.features.ld_abs_exit_is_tracked
            && env.subprogs[subprog].has_ld_abs
            && (env.subprogs[subprog].is_cb
                || self.callers.iter().any(|(s, _)| env.subprogs[*s].is_cb))
        {
            verbose!(env, "cannot use BPF_LD_[ABS|IND] within callback\n");
            return Err(Errno::EINVAL.into());
        }
        if subprog != 0
            && env.subprogs[subprog].has_tail_call
            && self.depth >= env.kernel.limits.max_tail_call_stack
        {
            verbose!(
                env,
                "tail_calls are not allowed when call stack of previous frames is {} bytes. Too large\n",
                self.depth
            );
            return Err(Errno::EACCES.into());
        }
        let own = round_up_stack_depth(env, u32::from(env.subprogs[subprog].stack_depth));
        let sub = &mut env.subprogs[subprog];
        if self.private && sub.priv_stack.is_none() && own >= env.kernel.limits.priv_stack_min {
            sub.priv_stack = Some(true);
        }
        if sub.priv_stack == Some(true) {
            if own > env.kernel.limits.max_stack {
                verbose!(env, "stack size of subprog {} is {}. Too large\n", subprog, own);
                return Err(Errno::EACCES.into());
            }
            return Ok(());
        }
        self.depth += own;
        env.max_stack = env.max_stack.max(self.depth);
        if self.depth > env.kernel.limits.max_stack {
            let frames = self.callers.len() + 1;
            verbose!(env, "combined stack size of {} calls is {}. Too large\n", frames, self.depth);
            return Err(Errno::EACCES.into());
        }
        Ok(())
    }

    /// Goes on in the current subprogram; true if a callee was entered.
    fn scan(&mut self, env: &mut Env<'_>) -> Check<bool> {
        let end = subprog_end(env, self.at as u32);
        for i in self.insn..end {
            let insn = env.insns[i as usize];
            if insn.is_kfunc_call() && insn.off == 0 {
                self.check_throw(env, i)?;
                continue;
            }
            if !insn.is_pseudo_call() && !insn.is_pseudo_func() {
                continue;
            }
            let target = i64::from(i) + i64::from(insn.imm) + 1;
            let Some(callee) = find_subprog(env, target).map(|s| s as usize) else {
                verbose!(env, "verifier bug: callee not found at insn {} (sidx < 0)\n", target);
                return Err(Errno::EFAULT.into());
            };
            if env.subprogs[callee].is_async_cb && !self.enters_async(env, i, callee)? {
                continue;
            }
            self.callers.push((self.at, i + 1));
            if env.kernel.features.globals_start_depth {
                self.tail_call_reachable = env.subprogs[callee].has_tail_call;
            } else if env.subprogs[callee].has_tail_call {
                self.tail_call_reachable = true;
            }
            let frames = self.frames(env, callee);
            if frames >= env.kernel.limits.max_call_frames as usize {
                if !self.private {
                    env.subprogs[callee].priv_stack = Some(false);
                }
                verbose!(env, "the call stack of {} frames is too deep !\n", frames);
                return Err(Errno::E2BIG.into());
            }
            self.enter(env, callee)?;
            return Ok(true);
        }
        self.insn = end;
        Ok(false)
    }

    /// Frames before the callee's, counted from the last global function where contexts start there.
    fn frames(&self, env: &Env<'_>, callee: usize) -> usize {
        if !env.kernel.features.globals_start_depth {
            return self.callers.len();
        }
        let chain = std::iter::once(callee).chain(self.callers.iter().rev().map(|(s, _)| *s));
        let globals = chain.map(|s| s == 0 || env.subprogs[s].is_global).collect::<Vec<_>>();
        globals.iter().position(|global| *global).unwrap_or(self.callers.len())
    }

    /// Taking the address of an asynchronous callback adds nothing to this stack, calling it does.
    fn enters_async(&self, env: &mut Env<'_>, i: u32, callee: usize) -> Check<bool> {
        if env.subprogs[callee].has_tail_call {
            verbose!(env, "verifier bug: subprog has tail_call and async cb\n");
            return Err(Errno::EFAULT.into());
        }
        if !env.insns[i as usize].is_pseudo_call() {
            return Ok(false);
        }
        if env.subprogs[callee].is_exception_cb {
            verbose!(env, "insn {} cannot call exception cb directly", i);
            return Err(Errno::EINVAL.into());
        }
        Ok(true)
    }

    /// bpf_throw must not unwind out of a callback.
    fn check_throw(&self, env: &mut Env<'_>, i: u32) -> Check {
        if !is_bpf_throw_kfunc(env, i) {
            return Ok(());
        }
        let in_callback = env.subprogs[self.at].is_cb
            || self.callers.iter().any(|(caller, _)| env.subprogs[*caller].is_cb);
        if in_callback {
            let at = self.at;
            verbose!(
                env,
                "bpf_throw kfunc (insn {}) cannot be called from callback subprog {}\n",
                i,
                at
            );
            return Err(Errno::EINVAL.into());
        }
        Ok(())
    }

    /// Callers of what tail-calls must hand the tail call count through.
    fn note_tail_calls(&self, env: &mut Env<'_>) -> Check {
        if !self.tail_call_reachable {
            return Ok(());
        }
        let forbidden = env.kernel.features.tail_call_not_in_callback;
        let chain = || std::iter::once(self.at).chain(self.callers.iter().rev().map(|(c, _)| *c));
        if forbidden && chain().any(|s| env.subprogs[s].is_cb) {
            verbose!(env, "cannot tail call within callback\n");
            return Err(Errno::EINVAL.into());
        }
        if env.kernel.features.globals_start_depth {
            env.subprogs[self.at].tail_call_reachable = true;
        }
        for (caller, _) in &self.callers {
            if env.subprogs[*caller].is_exception_cb {
                verbose!(env, "cannot tail call within exception cb\n");
                return Err(Errno::EINVAL.into());
            }
            env.subprogs[*caller].tail_call_reachable = true;
        }
        Ok(())
    }
}
