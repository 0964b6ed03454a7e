//! Registers that may be read before they are written, per instruction (`compute_live_registers`).

use bpfassay_isa::field::{Class, JmpCode, Mode};
use bpfassay_isa::{decode, AluCode, Insn, RawInsn, Size};

use super::const_regs::atomic_load_reg;
use super::slots;
use crate::check::summary::get_call_summary;
use crate::env::Env;
use crate::log::insn::print_insn_only;
use crate::log::state::state_column;
use crate::trace;

/// R0 to R5: what a call may overwrite.
pub const CALLER_SAVED: u16 = 0x3f;
/// What nothing is known about reads.
const EVERYTHING: u32 = u32::MAX;

/// Registers read and written by one instruction, and alive around it: lower halves from bit 0, upper halves
/// from bit 16.
#[derive(Clone, Copy, Default)]
struct LiveRegs {
    uses: u32,
    defs: u32,
    before: u32,
    after: u32,
}

/// Both halves of these registers.
fn whole(regs: u16) -> u32 {
    u32::from(regs) << 16 | u32::from(regs)
}

/// Both halves, or the lower ones alone.
fn width(regs: u16, is_64: bool) -> u32 {
    if is_64 {
        whole(regs)
    } else {
        regs.into()
    }
}

/// Fills `aux[..].live_regs_before` and prints the table at level 2.
pub fn compute_live_registers(env: &mut Env<'_>) {
    let n = env.insns.len();
    let mut live: Vec<LiveRegs> = (0..n as u32).map(|i| uses_and_defs(env, i)).collect();
    let flow_back = |live: &mut [LiveRegs], i: u32| {
        let next = env.cfg.successors(i).iter();
        let after = next.fold(0, |acc, s| acc | live.get(*s as usize).map_or(0, |l| l.before));
        let l = &mut live[i as usize];
        let before = (after & !l.defs) | l.uses;
        let changed = (before, after) != (l.before, l.after);
        (l.before, l.after) = (before, after);
        changed
    };
    loop {
        let mut changed = false;
        for &i in &env.cfg.postorder {
            changed |= flow_back(&mut live, i);
        }
        if !changed {
            break;
        }
    }
    let marks = env.kernel.features.zext_by_data_flow;
    for (i, l) in live.iter().enumerate() {
        let extended =
            marks && def32(env, env.insns[i]).is_some_and(|r| l.after >> (16 + r) & 1 != 0);
        let aux = &mut env.aux[i];
        // An upper half is read only where the lower one is.
        aux.live_regs_before = l.before as u16;
        aux.zext_dst |= extended;
    }
    if env.log.level.is_level2() {
        print_live_registers(env);
    }
}

fn uses_and_defs(env: &Env<'_>, idx: u32) -> LiveRegs {
    let insn = env.insns[idx as usize];
    let (dst, src) = (1u16 << insn.dst, 1u16 << insn.src);
    let (uses, defs) = match insn.class() {
        Class::Ld if insn.mode() == Mode::Imm && insn.size() == Size::Dw => (0, whole(dst)),
        Class::Ldx if matches!(insn.mode(), Mode::Mem | Mode::MemSx) => (whole(src), whole(dst)),
        Class::St if insn.mode() == Mode::Mem => (whole(dst), 0),
        Class::Stx if insn.mode() == Mode::Mem => {
            (whole(dst) | width(src, insn.size() == Size::Dw), 0)
        }
        Class::Stx if insn.mode() == Mode::Atomic => atomic(insn, dst, src),
        Class::Alu | Class::Alu64 => alu(insn, dst, src),
        Class::Jmp | Class::Jmp32 => jump(env, idx, dst, src),
        _ => (EVERYTHING, 0),
    };
    LiveRegs { uses, defs, before: 0, after: 0 }
}

/// The register of which the instruction defines 32 bits only (`bpf_insn_def32`).
fn def32(env: &Env<'_>, insn: RawInsn) -> Option<u8> {
    let reg = match insn.class() {
        Class::Jmp | Class::Jmp32 | Class::St => return None,
        Class::Stx => atomic_load_reg(insn)?.0,
        _ => insn.dst,
    };
    let is_32 = match insn.class() {
        Class::Alu if insn.alu_op() == AluCode::End => insn.imm != 64,
        Class::Alu => true,
        Class::Alu64 if insn.alu_op() == AluCode::End => insn.imm != 64,
        Class::Alu64 => is_cast_of_32(env, insn),
        Class::Ldx => insn.mode() == Mode::Mem && insn.size() != Size::Dw,
        Class::Stx => insn.size() != Size::Dw,
        Class::Ld => matches!(insn.mode(), Mode::Abs | Mode::Ind),
        _ => false,
    };
    is_32.then_some(reg)
}

/// A cast between address spaces that becomes a move of 32 bits (`is_addr_space_cast32`).
fn is_cast_of_32(env: &Env<'_>, insn: RawInsn) -> bool {
    match decode(insn, None) {
        Ok(Insn::AddrSpaceCast { imm: 1, .. }) => true,
        Ok(Insn::AddrSpaceCast { imm: 0x10000, .. }) => env.arena_is_unconverted(),
        _ => false,
    }
}

fn atomic(insn: RawInsn, dst: u16, src: u16) -> (u32, u32) {
    use bpfassay_isa::AtomicOp;
    let is_64 = insn.size() == Size::Dw;
    // The kernel goes by the operation alone: sizes that do not exist are refused later.
    if insn.atomic_rmw() == Some(AtomicOp::Cmpxchg) {
        return (width(1, is_64) | whole(dst) | width(src, is_64), whole(1));
    }
    let both = whole(dst) | width(src, is_64);
    match decode(insn, None) {
        Ok(Insn::LoadAcquire { .. }) => (whole(src), whole(dst)),
        Ok(Insn::StoreRelease { .. }) => (both, 0),
        _ if insn.imm & bpfassay_isa::opcode::ATOMIC_FETCH != 0 => (both, whole(src)),
        _ => (both, 0),
    }
}

fn alu(insn: RawInsn, dst: u16, src: u16) -> (u32, u32) {
    let is_64 = insn.class() == Class::Alu64;
    let uses = match (insn.alu_op(), insn.is_src_reg()) {
        (AluCode::End, _) => whole(dst),
        (AluCode::Mov, false) => 0,
        (AluCode::Mov, true) => width(src, is_64),
        (_, false) => width(dst, is_64),
        (_, true) => width(dst | src, is_64),
    };
    (uses, whole(dst))
}

fn jump(env: &Env<'_>, idx: u32, dst: u16, src: u16) -> (u32, u32) {
    let insn = env.insns[idx as usize];
    let is_64 = insn.class() == Class::Jmp;
    match insn.jmp_op() {
        JmpCode::Ja if insn.is_gotox() => (whole(dst), 0),
        JmpCode::Ja | JmpCode::Jcond => (0, 0),
        JmpCode::Exit => (whole(1), 0),
        JmpCode::Call => {
            let params = get_call_summary(env, idx).map_or(5, |cs| u32::from(cs.num_params));
            (whole(((1u32 << (params + 1)) - 2) as u16), whole(CALLER_SAVED))
        }
        _ if insn.is_src_reg() => (width(dst | src, is_64), 0),
        _ => (width(dst, is_64), 0),
    }
}

fn print_live_registers(env: &mut Env<'_>) {
    let marks = env.kernel.features.zext_by_data_flow;
    let components = env.kernel.features.loops_by_component;
    trace!(env, "Live regs before insn:\n");
    let mut i = 0u32;
    while (i as usize) < env.insns.len() {
        match env.aux(i).scc {
            _ if !components => {}
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
        let start = env.log.pos();
        print_insn_only(env, i);
        if marks && env.aux(i).zext_dst {
            let width = state_column((env.log.pos() - start) as u32) as usize;
            trace!(env, "{:width$}; zext", "");
        }
        trace!(env, "\n");
        i += slots(env.insns[i as usize]);
    }
}
