//! The control-flow graph: the only user of petgraph (`check_cfg`, `compute_postorder`,
//! `compute_scc`, `compute_live_registers` of `kernel/bpf/verifier.c`; `cfg.c` of 7.x).
//!
//! Orders and numbers that show in the log are found by the kernel's own walks over
//! [`successors`]; petgraph carries the graph for queries and dumps.

pub mod blocks;
pub mod const_regs;
pub mod graph;
pub mod live_regs;
pub mod loops;
pub mod order;
pub mod walk;

use bpfassay_isa::field::{Class, JmpCode};
use bpfassay_isa::RawInsn;

use crate::env::{Env, SubprogInfo};

/// Orders and components of the instruction graph.
#[derive(Debug, Default)]
pub struct Cfg {
    /// Instruction indices in post-order, grouped by subprogram (`insn_postorder`).
    pub postorder: Vec<u32>,
    /// Place of each instruction in `postorder`.
    pub place: Vec<u32>,
    next: Vec<Next>,
    /// No instruction leads to itself or to an earlier one.
    pub is_forward: bool,
    /// Predecessors of instruction `i` are `pred[pred_start[i]..pred_start[i + 1]]`; empty until they are asked for.
    pred: Vec<u32>,
    pred_start: Vec<u32>,
    /// Number of strongly connected components plus one (`scc_cnt`).
    pub scc_cnt: u32,
    /// Slots that indirect jumps lead to, ascending; one list for each jump.
    pub jump_tables: Vec<Vec<u32>>,
    /// Subprograms, each after those it calls (`subprog_topo_order`).
    pub callees_first: Vec<u32>,
}

/// Successors of one instruction.
#[derive(Clone, Copy, Debug)]
enum Next {
    Few([u32; 2], u8),
    /// The rows of an indirect jump's table.
    Table(u32),
}

impl Cfg {
    /// The part of `postorder` that belongs to a subprogram.
    pub fn postorder_of(&self, subprogs: &[SubprogInfo], sub: u32) -> &[u32] {
        let at = |sub: usize| subprogs.get(sub).map(|s| s.postorder_start as usize);
        let start = at(sub as usize).unwrap_or(0);
        let end = at(sub as usize + 1).unwrap_or(self.postorder.len());
        self.postorder.get(start..end).unwrap_or(&[])
    }

    /// Instructions that control may go to, within the subprogram; the fall-through first.
    #[inline]
    pub fn successors(&self, idx: u32) -> &[u32] {
        match self.next.get(idx as usize) {
            Some(Next::Few(to, n)) => &to[..usize::from(*n)],
            Some(Next::Table(number)) => {
                self.jump_tables.get(*number as usize).map_or(&[], Vec::as_slice)
            }
            None => &[],
        }
    }

    /// Instructions that control may come from, within the subprogram, once [`order::link_predecessors`] has run.
    #[inline]
    pub fn predecessors(&self, idx: u32) -> &[u32] {
        let at = |i: u32| self.pred_start.get(i as usize).map_or(0, |p| *p as usize);
        self.pred.get(at(idx)..at(idx + 1)).unwrap_or(&[])
    }
}

/// Up to two successors within the subprogram, fall-through first; or the rows of a jump table.
#[derive(Clone, Copy, Debug)]
pub struct Succ<'t> {
    idx: [u32; 2],
    len: u8,
    table: Option<&'t [u32]>,
}

impl Succ<'_> {
    #[inline]
    pub fn as_slice(&self) -> &[u32] {
        match self.table {
            Some(rows) => rows,
            None => &self.idx[..self.len as usize],
        }
    }

    #[inline]
    fn push(&mut self, idx: u32) {
        self.idx[self.len as usize] = idx;
        self.len += 1;
    }
}

/// Instructions that may follow `idx` without entering a callee (`bpf_insn_successors`); those of an indirect jump are
/// in tables of its own.
#[inline]
pub fn successors(insns: &[RawInsn], idx: u32) -> Succ<'static> {
    let insn = insns[idx as usize];
    let mut succ = Succ { idx: [0; 2], len: 0, table: None };
    let (jumps, falls_through) = match (insn.class(), insn.jmp_op()) {
        (Class::Jmp | Class::Jmp32, op) => match op {
            JmpCode::Exit => (false, false),
            JmpCode::Ja if insn.is_gotox() => (false, false),
            JmpCode::Ja => (true, false),
            JmpCode::Call | JmpCode::UndefinedF => (false, true),
            _ => (true, true),
        },
        _ => (false, true),
    };
    if falls_through {
        succ.push(idx + slots(insn));
    }
    if jumps {
        succ.push(jump_target(insn, idx) as u32);
    }
    succ
}

impl Env<'_> {
    /// As [`successors`], the exit that a tail call or packet load may take for a return, and the rows of jump tables.
    #[inline]
    pub fn successors(&self, idx: u32) -> Succ<'_> {
        let mut succ = successors(&self.insns, idx);
        let Some(aux) = self.aux.get(idx as usize) else { return succ };
        if let Some(exit) = aux.may_return_at {
            succ.push(exit);
        }
        if let Some(number) = aux.jump_table {
            succ.table = self.cfg.jump_tables.get(number as usize).map(Vec::as_slice);
        }
        succ
    }
}

/// Slots an instruction takes, by its code alone.
#[inline]
pub fn slots(insn: RawInsn) -> u32 {
    if insn.is_ld_imm64() {
        2
    } else {
        1
    }
}

/// Target of a jump at `idx`; may lie outside the program.
#[inline]
pub fn jump_target(insn: RawInsn, idx: u32) -> i64 {
    i64::from(idx) + i64::from(jmp_offset(insn)) + 1
}

/// Distance of a jump: `gotol` alone has it in `imm` (`bpf_jmp_offset`).
#[inline]
fn jmp_offset(insn: RawInsn) -> i32 {
    if insn.is_gotol() {
        insn.imm
    } else {
        i32::from(insn.off)
    }
}
