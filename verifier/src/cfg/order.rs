//! Post-order and strongly connected components (`compute_postorder`, `compute_scc`).
//!
//! Both number things in the order the kernel's own stacks produce, because component
//! numbers are printed and the post-order decides how liveness converges.

use super::Next;
use crate::diagnostics::{self, words, About};
use crate::env::Env;
use crate::explore::entry::subprog_name;
use crate::stop::{Check, Errno};
use crate::subprogs::find_subprog;
use crate::{trace, verbose};

const DISCOVERED: u8 = 1;
const EXPLORED: u8 = 2;

/// Fills [`super::Cfg::postorder`] and each subprogram's `postorder_start`.
pub fn compute_postorder(env: &mut Env<'_>) {
    let n = env.insns.len();
    tabulate_successors(env);
    let mut state = vec![0u8; n];
    let (mut postorder, mut place) = (Vec::with_capacity(n), vec![0; n]);
    let mut stack: Vec<u32> = Vec::with_capacity(n);
    for sub in &mut env.subprogs {
        sub.postorder_start = postorder.len() as u32;
        stack.push(sub.start);
        while let Some(&top) = stack.last() {
            let st = &mut state[top as usize];
            if *st & EXPLORED != 0 {
                place[top as usize] = postorder.len() as u32;
                postorder.push(top);
                stack.pop();
                continue;
            }
            *st |= DISCOVERED | EXPLORED;
            for &s in env.cfg.successors(top) {
                if state[s as usize] == 0 {
                    state[s as usize] = DISCOVERED;
                    stack.push(s);
                }
            }
        }
    }
    (env.cfg.place, env.cfg.postorder) = (place, postorder);
    (env.cfg.pred, env.cfg.pred_start) = (Vec::new(), Vec::new());
}

/// The successors of every slot, asked for many times.
fn tabulate_successors(env: &mut Env<'_>) {
    let mut next = Vec::with_capacity(env.insns.len());
    let mut is_forward = true;
    for i in 0..env.insns.len() as u32 {
        let succ = env.successors(i);
        is_forward &= succ.as_slice().iter().all(|s| *s > i);
        next.push(match (succ.table, env.aux(i).jump_table) {
            (Some(_), Some(number)) => Next::Table(number),
            _ => Next::Few(succ.idx, succ.len),
        });
    }
    (env.cfg.next, env.cfg.is_forward) = (next, is_forward);
}

/// Finds the predecessors among the instructions in the post-order, unless that has been done.
pub fn link_predecessors(env: &mut Env<'_>) {
    let n = env.insns.len();
    let cfg = &mut env.cfg;
    if !cfg.pred_start.is_empty() {
        return;
    }
    let mut pred_start = vec![0; n + 1];
    for &i in &cfg.postorder {
        for &s in cfg.successors(i) {
            pred_start[s as usize + 1] += 1;
        }
    }
    for i in 0..n {
        pred_start[i + 1] += pred_start[i];
    }
    let mut next = pred_start.clone();
    let mut pred = vec![0; pred_start[n] as usize];
    for &i in &cfg.postorder {
        for &s in cfg.successors(i) {
            pred[next[s as usize] as usize] = i;
            next[s as usize] += 1;
        }
    }
    (cfg.pred, cfg.pred_start) = (pred, pred_start);
}

/// Fills [`super::Cfg::callees_first`] (`sort_subprogs_topo`).
pub fn sort_subprogs(env: &mut Env<'_>) -> Check {
    #[derive(Clone, Copy, PartialEq)]
    enum Seen {
        No,
        OnStack,
        Done,
    }
    let n = env.subprogs.len();
    let mut seen = vec![Seen::No; n];
    let mut order = Vec::with_capacity(n);
    let mut stack = Vec::new();
    for first in 0..n as u32 {
        if seen[first as usize] == Seen::No {
            seen[first as usize] = Seen::OnStack;
            stack.push(first);
        }
        while let Some(&cur) = stack.last() {
            let mut next = None;
            for &idx in env.cfg.postorder_of(&env.subprogs, cur) {
                let insn = env.insns[idx as usize];
                if !insn.is_pseudo_call() && !insn.is_pseudo_func() {
                    continue;
                }
                let Some(callee) = find_subprog(env, i64::from(idx) + i64::from(insn.imm) + 1)
                else {
                    return Err(Errno::EFAULT.into());
                };
                match seen[callee as usize] {
                    Seen::Done => continue,
                    Seen::OnStack if insn.is_pseudo_func() => continue,
                    _ => next = Some((idx, callee)),
                }
                break;
            }
            match next {
                None => {
                    seen[cur as usize] = Seen::Done;
                    order.push(cur);
                    stack.pop();
                }
                Some((idx, callee)) if seen[callee as usize] == Seen::OnStack => {
                    let (from, to) = (subprog_name(env, cur), subprog_name(env, callee));
                    verbose!(env, "recursive call from {from}() to {to}()\n");
                    diagnostics::report(env, idx, &words::RECURSION, About::Nothing, &[]);
                    return Err(Errno::EINVAL.into());
                }
                Some((_, callee)) => {
                    seen[callee as usize] = Seen::OnStack;
                    stack.push(callee);
                }
            }
        }
    }
    if env.log.level.is_level2() {
        for (i, sub) in order.iter().enumerate() {
            let name = subprog_name(env, *sub);
            trace!(env, "topo_order[{i}] = {name}\n");
        }
    }
    env.cfg.callees_first = order;
    Ok(())
}

/// Not on the component stack (any more).
const OFF_STACK: u32 = u32::MAX;

/// State of one run of the iterative Tarjan walk.
struct SccWalk {
    pre: Vec<u32>,
    low: Vec<u32>,
    stack: Vec<u32>,
    dfs: Vec<u32>,
    next_pre: u32,
    next_scc: u32,
}

/// Numbers the components of the graph into `aux[..].scc`; an instruction alone in its
/// component and without an edge to itself keeps 0.
pub fn compute_scc(env: &mut Env<'_>) {
    let n = env.insns.len();
    // Without an edge back every instruction is a component of its own.
    let implicit = env.kernel.features.callback_is_component;
    if env.cfg.is_forward && !(implicit && env.aux.iter().any(|a| a.calls_callback)) {
        env.cfg.scc_cnt = 1;
        return;
    }
    let mut walk = SccWalk {
        pre: vec![0; n],
        low: vec![0; n],
        stack: Vec::with_capacity(n),
        dfs: Vec::with_capacity(n),
        next_pre: 1,
        next_scc: 1,
    };
    for i in 0..n as u32 {
        if walk.pre[i as usize] == 0 {
            walk.dfs.push(i);
            while !walk.dfs.is_empty() {
                walk.step(env);
            }
        }
    }
    env.cfg.scc_cnt = walk.next_scc;
}

impl SccWalk {
    /// Looks at the top of the DFS stack: descends, or leaves it for good.
    fn step(&mut self, env: &mut Env<'_>) {
        let Some(&w) = self.dfs.last() else { return };
        let wi = w as usize;
        if self.pre[wi] == 0 {
            self.pre[wi] = self.next_pre;
            self.low[wi] = self.next_pre;
            self.next_pre += 1;
            self.stack.push(w);
        }
        let mut self_edge = false;
        for &s in env.cfg.successors(w) {
            // The walk also starts at second slots of LD_IMM64 in the last place.
            let Some(&pre) = self.pre.get(s as usize) else { continue };
            if pre == 0 {
                self.dfs.push(s);
                return;
            }
            self.low[wi] = self.low[wi].min(self.low[s as usize]);
            self_edge |= s == w;
        }
        self.dfs.pop();
        if self.low[wi] == self.pre[wi] {
            self.close_component(env, w, self_edge);
        }
    }

    /// `root` is the lowest vertex of its component: takes the component off the stack.
    fn close_component(&mut self, env: &mut Env<'_>, root: u32, self_edge: bool) {
        let implicit = env.kernel.features.callback_is_component
            && env.aux.get(root as usize).is_some_and(|a| a.calls_callback);
        let assign = self_edge || implicit || self.stack.last() != Some(&root);
        while let Some(t) = self.stack.pop() {
            self.low[t as usize] = OFF_STACK;
            if assign {
                env.aux[t as usize].scc = self.next_scc;
            }
            if t == root {
                break;
            }
        }
        if assign {
            self.next_scc += 1;
        }
    }
}
