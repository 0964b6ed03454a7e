//! `bpf_loop` written out (`optimize_bpf_loop`), and the callback of exceptions that nobody wrote (`add_hidden_subprog`).

use bpfassay_isa::{AluOp, Cond, Operand, Reg, Size, Width};

use super::emit::{
    alu32, alu64, alu64_reg, branch, branch_reg, call_subprog, exit, jump, load, store,
};
use super::patch::Patched;
use super::Unknown;
use crate::env::AuxUse;

/// `BPF_MAX_LOOPS`
const MAX_LOOPS: i32 = 8 << 20;
const E2BIG: i32 = 7;
/// Where the call of the callback stands in the loop.
const CALL_AT: usize = 12;

pub(super) fn inline_loops(p: &mut Patched) -> Result<(), Unknown> {
    let mut cur = 0;
    let mut extra = 0;
    let mut i = 0;
    while i < p.slots.len() {
        let depth = p.subprogs[cur].1;
        if let AuxUse::LoopInline { fit: true, callback_subprog } = p.aux[i].used {
            let rounding = depth.next_multiple_of(8) - depth;
            extra = 24 + rounding;
            inline_loop(p, i, -i32::from(depth + extra), callback_subprog as usize)?;
            i += 18;
        }
        i += 1;
        if p.subprogs.get(cur + 1).is_some_and(|s| s.0 as usize == i) {
            p.subprogs[cur].1 += extra;
            (cur, extra) = (cur + 1, 0);
        }
    }
    p.subprogs[cur].1 += extra;
    Ok(())
}

fn inline_loop(p: &mut Patched, at: usize, base: i32, callback: usize) -> Result<(), Unknown> {
    let (r0, r1, r2, r3, fp) = (Reg::R0, Reg::R1, Reg::R2, Reg::R3, Reg::R10);
    let (max, count, ctx) = (Reg::R6, Reg(7), Reg(8));
    let spill = |r: Reg, n| store(Size::Dw, fp, base + 8 * n, Operand::Reg(r));
    let fill = |r: Reg, n| load(Size::Dw, r, fp, base + 8 * n);
    let out = vec![
        branch(Width::W64, Cond::Le, r1, MAX_LOOPS, 2),
        alu32(AluOp::Mov, r0, -E2BIG),
        jump(16),
        spill(max, 0),
        spill(count, 1),
        spill(ctx, 2),
        alu64_reg(AluOp::Mov, max, r1),
        alu32(AluOp::Mov, count, 0),
        alu64_reg(AluOp::Mov, ctx, r3),
        branch_reg(Width::W64, Cond::Ge, count, max, 5),
        alu64_reg(AluOp::Mov, r1, count),
        alu64_reg(AluOp::Mov, r2, ctx),
        call_subprog(0),
        alu64(AluOp::Add, count, 1),
        branch(Width::W64, Cond::Eq, r0, 0, -6),
        alu64_reg(AluOp::Mov, r0, count),
        fill(max, 0),
        fill(count, 1),
        fill(ctx, 2),
    ];
    // The fact is used up: it must not be met again at the last of these.
    p.aux[at].used = AuxUse::None;
    p.patch(at, out).ok_or(Unknown::JumpTooFar)?;
    let start = p.subprogs.get(callback).ok_or(Unknown::Other("a callback"))?.0;
    let call = at + CALL_AT;
    p.slots[call].insn.imm = start as i32 - call as i32 - 1;
    Ok(())
}

/// What runs where an exception is thrown and nobody catches it: the value thrown is returned.
pub(super) fn append_exception_callback(p: &mut Patched) -> Result<(), Unknown> {
    let last = p.slots.len() - 1;
    let own = p.slots[last].clone();
    let start = p.slots.len() as u32;
    p.patch(last, vec![own, alu64_reg(AluOp::Mov, Reg::R0, Reg::R1), exit()])
        .ok_or(Unknown::JumpTooFar)?;
    p.subprogs.push((start, 0));
    p.functions.push(None);
    Ok(())
}
