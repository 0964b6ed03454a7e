//! Atomic operations, and accesses of the arena.

use bpfassay_isa::{semantics, AtomicOp, Insn, Reg, Size};

use super::{at, offset, operand, Regs};
use crate::engine::TrapKind;
use crate::runtime::{Runtime, Stop};

/// An instruction that goes to the arena, in native memory.
///
/// Where there is no page a load gives 0, and nothing else has an effect.
pub(super) fn arena_access(rt: &mut Runtime, regs: &mut Regs, insn: Insn) -> Result<(), Stop> {
    let arena = rt.mem.arena.as_mut().ok_or(TrapKind::Unsupported("arena access"))?;
    match insn {
        Insn::Load { size, sign_extend, dst, src, off } => {
            let v = arena.load(offset(regs[at(src)], off), size.bytes());
            regs[at(dst)] = if sign_extend { semantics::sign_extend(size, v) } else { v };
        }
        Insn::Store { size, dst, off, src } => {
            arena.store(offset(regs[at(dst)], off), size.bytes(), operand(regs, src));
        }
        Insn::LoadAcquire { size, dst, src, off } => {
            let addr = offset(regs[at(src)], off);
            if arena.is_open(addr, size.bytes()) {
                regs[at(dst)] = arena.load(addr, size.bytes());
            }
        }
        Insn::StoreRelease { size, dst, src, off } => {
            arena.store(offset(regs[at(dst)], off), size.bytes(), regs[at(src)]);
        }
        Insn::Atomic { op, fetch, size, dst, src, off } => {
            let addr = offset(regs[at(dst)], off);
            if !arena.is_open(addr, size.bytes()) {
                return Ok(());
            }
            let old = arena.load(addr, size.bytes());
            if let Some(new) = semantics::atomic(op, size, old, regs[at(src)], regs[0]) {
                arena.store(addr, size.bytes(), new);
            }
            if fetch {
                let result = if op == AtomicOp::Cmpxchg { Reg::R0 } else { src };
                regs[at(result)] = old;
            }
        }
        _ => return Err(Stop::Trap(TrapKind::Unsupported("arena access"))),
    }
    Ok(())
}

pub(super) fn atomic(
    rt: &mut Runtime,
    regs: &mut Regs,
    op: AtomicOp,
    fetch: bool,
    size: Size,
    addr: u64,
    src: Reg,
) -> Result<(), Stop> {
    if rt.mem.misses_arena(addr, size) {
        return Ok(());
    }
    let old = rt.mem.load(addr, size)?;
    let new = semantics::atomic(op, size, old, regs[at(src)], regs[0]);
    // Written back unchanged where the comparison failed, so that a read-only place still traps.
    rt.mem.store(addr, size, new.unwrap_or(old))?;
    if fetch {
        let result = if op == AtomicOp::Cmpxchg { Reg::R0 } else { src };
        regs[at(result)] = old;
    }
    Ok(())
}
