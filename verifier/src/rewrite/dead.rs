//! What no path reached (`opt_hard_wire_dead_code_branches`, `opt_remove_dead_code`, `opt_remove_nops`,
//! `sanitize_dead_code`), and spills that a call makes unnecessary (`remove_fastcall_spills_fills`).

use bpfassay_isa::field::{Class, JmpCode};
use bpfassay_isa::RawInsn;

use super::emit::jump;
use super::patch::Patched;
use super::Unknown;

/// Spills and fills around calls that keep registers do nothing.
pub(super) fn drop_fastcall_spills(p: &mut Patched) {
    for i in 0..p.aux.len() {
        for j in 1..=usize::from(p.aux[i].fastcall_spills_num) {
            (p.slots[i - j], p.slots[i + j]) = (jump(0), jump(0));
        }
    }
}

/// What dead code becomes where it may not go: it jumps to itself.
pub(super) fn trap_dead_code(p: &mut Patched) {
    for (slot, _) in p.slots.iter_mut().zip(&p.aux).filter(|(_, a)| a.seen == 0) {
        *slot = jump(-1);
    }
}

fn is_conditional(insn: RawInsn) -> bool {
    match insn.class() {
        Class::Jmp32 => insn.jmp_op() != JmpCode::Ja,
        Class::Jmp => !matches!(insn.jmp_op(), JmpCode::Ja | JmpCode::Exit | JmpCode::Call),
        _ => false,
    }
}

/// Branches with a dead direction become jumps, dead code and jumps to the next instruction go.
pub(super) fn remove_dead_code(p: &mut Patched) -> Result<(), Unknown> {
    for i in 0..p.slots.len() {
        let insn = p.insn(i);
        if !is_conditional(insn) {
            continue;
        }
        let dead = |at: i64| p.aux.get(at as usize).is_some_and(|a| a.seen == 0);
        let next = i as i64 + 1;
        if dead(next) {
            p.slots[i] = jump(insn.off.into());
        } else if dead(next + i64::from(insn.off)) {
            p.slots[i] = jump(0);
        }
    }
    let mut i = 0;
    while i < p.slots.len() {
        let run = p.aux[i..].iter().take_while(|a| a.seen == 0).count();
        if run > 0 {
            p.remove(i, run).ok_or(Unknown::JumpTooFar)?;
        }
        i += 1;
    }
    remove_nops(p)
}

fn remove_nops(p: &mut Patched) -> Result<(), Unknown> {
    let nop = jump(0).insn;
    let mut i = 0;
    while i < p.slots.len() {
        let insn = p.insn(i);
        let idle_may_goto = insn.is_may_goto() && insn.off == 0;
        if insn != nop && !idle_may_goto {
            i += 1;
            continue;
        }
        p.remove(i, 1).ok_or(Unknown::JumpTooFar)?;
        if idle_may_goto && i > 0 {
            // The one before may do nothing now.
            i -= 1;
        }
    }
    Ok(())
}
