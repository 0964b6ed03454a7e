//! Registers that may be read before they are written, per instruction (`compute_live_registers`).

use bpfassay_isa::field::{Class, JmpCode, Mode};
use bpfassay_isa::{AluCode, Insn, RawInsn, Size};

use super::slots;
use crate::check::summary::get_call_summary;
use crate::env::Env;
use crate::log::insn::print_insn;
use crate::trace;

/// R0 to R5: what a call may overwrite.
pub const CALLER_SAVED: u16 = 0x3f;
/// What nothing is known about reads.
const EVERYTHING: u16 = 0xffff;

/// Registers read and written by one instruction, and alive around it.
#[derive(Clone, Copy, Default)]
struct LiveRegs {
    uses: u16,
    defs: u16,
    before: u16,
    after: u16,
}

/// Fills `aux[..].live_regs_before` and prints the table at level 2.
pub fn compute_live_registers(env: &mut Env<'_>) {
    let n = env.insns.len();
    let mut live: Vec<LiveRegs> = (0..n as u32).map(|i| uses_and_defs(env, i)).collect();
    let mut changed = true;
    while changed {
        changed = false;
        for &i in &env.cfg.postorder {
            let after = env
                .cfg
                .successors(i)
                .iter()
                .fold(0, |acc, s| acc | live.get(*s as usize).map_or(0, |l| l.before));
            let l = &mut live[i as usize];
            let before = (after & !l.defs) | l.uses;
            changed |= (before, after) != (l.before, l.after);
            (l.before, l.after) = (before, after);
        }
    }
    for (aux, l) in env.aux.iter_mut().zip(&live) {
        aux.live_regs_before = l.before;
    }
    if env.log.level.is_level2() {
        print_live_registers(env);
    }
}

fn uses_and_defs(env: &Env<'_>, idx: u32) -> LiveRegs {
    let insn = env.insns[idx as usize];
    let (dst, src) = (1u16 << insn.dst, 1u16 << insn.src);
    let (uses, defs) = match insn.class() {
        Class::Ld if insn.mode() == Mode::Imm && insn.size() == Size::Dw => (0, dst),
        Class::Ldx if matches!(insn.mode(), Mode::Mem | Mode::MemSx) => (src, dst),
        Class::St if insn.mode() == Mode::Mem => (dst, 0),
        Class::Stx if insn.mode() == Mode::Mem => (dst | src, 0),
        Class::Stx if insn.mode() == Mode::Atomic => atomic(insn, dst, src),
        Class::Alu | Class::Alu64 => alu(insn, dst, src),
        Class::Jmp | Class::Jmp32 => jump(env, idx, dst, src),
        _ => (EVERYTHING, 0),
    };
    LiveRegs { uses, defs, before: 0, after: 0 }
}

fn atomic(insn: RawInsn, dst: u16, src: u16) -> (u16, u16) {
    use bpfassay_isa::AtomicOp;
    // The kernel goes by the operation alone: sizes that do not exist are refused later.
    if insn.atomic_rmw() == Some(AtomicOp::Cmpxchg) {
        return (1 | dst | src, 1);
    }
    match bpfassay_isa::decode(insn, None) {
        Ok(Insn::LoadAcquire { .. }) => (src, dst),
        Ok(Insn::StoreRelease { .. }) => (dst | src, 0),
        _ if insn.imm & bpfassay_isa::opcode::ATOMIC_FETCH != 0 => (dst | src, src),
        _ => (dst | src, 0),
    }
}

fn alu(insn: RawInsn, dst: u16, src: u16) -> (u16, u16) {
    let uses = match (insn.alu_op(), insn.is_src_reg()) {
        (AluCode::End, _) => dst,
        (AluCode::Mov, false) => 0,
        (AluCode::Mov, true) => src,
        (_, false) => dst,
        (_, true) => dst | src,
    };
    (uses, dst)
}

fn jump(env: &Env<'_>, idx: u32, dst: u16, src: u16) -> (u16, u16) {
    let insn = env.insns[idx as usize];
    match insn.jmp_op() {
        JmpCode::Ja if insn.is_gotox() => (dst, 0),
        JmpCode::Ja | JmpCode::Jcond => (0, 0),
        JmpCode::Exit => (1, 0),
        JmpCode::Call => {
            let params = get_call_summary(env, idx).map_or(5, |cs| u32::from(cs.num_params));
            (((1u32 << (params + 1)) - 2) as u16, CALLER_SAVED)
        }
        _ if insn.is_src_reg() => (dst | src, 0),
        _ => (dst, 0),
    }
}

fn print_live_registers(env: &mut Env<'_>) {
    trace!(env, "Live regs before insn:\n");
    let mut i = 0u32;
    while (i as usize) < env.insns.len() {
        match env.aux(i).scc {
            0 => trace!(env, "    "),
            scc => trace!(env, "{:3} ", scc),
        }
        let mut regs = [b'.'; 10];
        for (r, c) in regs.iter_mut().enumerate() {
            if env.aux(i).live_regs_before & (1 << r) != 0 {
                *c = b'0' + r as u8;
            }
        }
        trace!(env, "{:3}: {} ", i, std::str::from_utf8(&regs).unwrap_or(""));
        print_insn(env, i);
        i += slots(env.insns[i as usize]);
    }
}
