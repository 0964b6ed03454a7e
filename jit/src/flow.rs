//! Which registers, and which halves of them, are read later: one walk backward.
//!
//! A set holds a bit for the lower half of each register and, 16 places higher, one for
//! the upper half.  Operations whose lower half does not depend on the upper half of what goes in
//! pass only what is asked of them.  With loops the walk is repeated until nothing changes; a
//! program so tangled that this takes long gets the answer in which jumps backward read everything.

use bpfassay_isa::{AluOp, Insn, Operand, Reg, Size, Width};

use crate::scan::{target, Scan, FUNC, TAIL};
use crate::target::FuncFacts;

/// Registers: lower halves in the low 16 bits, upper halves in the high ones.
pub type Set = u32;

pub const LOW: Set = 0xffff;
const ALL: Set = 0x07ff_07ff;

#[inline]
pub fn low(r: Reg) -> Set {
    1 << (r.0 & 15)
}

#[inline]
pub fn both(r: Reg) -> Set {
    0x1_0001 << (r.0 & 15)
}

#[inline]
fn operand(o: Operand, width: Width) -> Set {
    match (o, width) {
        (Operand::Imm(_), _) => 0,
        (Operand::Reg(r), Width::W32) => low(r),
        (Operand::Reg(r), Width::W64) => both(r),
    }
}

/// Whether the lower half of the result needs lower halves only.
#[inline]
pub fn low_by_low(op: AluOp, b: Operand) -> bool {
    use AluOp::*;
    match op {
        Add | Sub | Mul | And | Or | Xor | Mov => true,
        Lsh => matches!(b, Operand::Imm(n) if n & 63 < 32),
        _ => false,
    }
}

const ARGS: Set = 0x003e_003e;
const CALLER_SAVED: Set = 0x003f_003f;

/// What is read at or after an instruction, given what is read after it.
#[inline(always)]
fn before(insn: &Insn, out: Set) -> Set {
    match *insn {
        Insn::Alu { op, width, dst, src } => {
            let wanted = out & both(dst);
            if wanted == 0 {
                return out;
            }
            let rest = out & !both(dst);
            let narrow = wanted & !LOW == 0 && low_by_low(op, src);
            let width = if narrow { Width::W32 } else { width };
            let read = operand(src, width);
            if op == AluOp::Mov {
                rest | read
            } else {
                rest | read | operand(Operand::Reg(dst), width)
            }
        }
        Insn::MovSx { dst, src, .. } => {
            if out & both(dst) == 0 {
                return out;
            }
            (out & !both(dst)) | low(src)
        }
        Insn::Neg { width, dst } => match (width, out & both(dst)) {
            (_, 0) => out,
            (Width::W64, w) if w & !LOW != 0 => out | both(dst),
            _ => (out & !both(dst)) | low(dst),
        },
        Insn::Swap { bits, dst, .. } => {
            let read = if bits == 64 { both(dst) } else { low(dst) };
            (out & !both(dst)) | read
        }
        Insn::AddrSpaceCast { dst, src, .. } => (out & !both(dst)) | both(src),
        Insn::LoadImm64 { dst, .. } => out & !both(dst),
        Insn::Load { dst, src, .. } | Insn::LoadAcquire { dst, src, .. } => {
            (out & !both(dst)) | both(src)
        }
        Insn::LoadPacket { index, .. } => {
            (out & !CALLER_SAVED) | both(Reg::R6) | index.map_or(0, low)
        }
        Insn::Store { size, dst, src, .. } => out | both(dst) | stored(size, src),
        Insn::StoreRelease { size, dst, src, .. } => {
            out | both(dst) | stored(size, Operand::Reg(src))
        }
        Insn::Atomic { op, fetch, size, dst, src, .. } => {
            let mut set = out;
            if op == bpfassay_isa::AtomicOp::Cmpxchg {
                set = (set & !both(Reg::R0)) | stored(size, Operand::Reg(Reg::R0));
            } else if fetch {
                set &= !both(src);
            }
            set | both(dst) | stored(size, Operand::Reg(src))
        }
        Insn::Call { .. } => (out & !CALLER_SAVED) | ARGS,
        Insn::CallReg { target } => (out & !CALLER_SAVED) | ARGS | both(target),
        Insn::Exit => both(Reg::R0),
        Insn::Jump { .. } | Insn::MayGoto { .. } => out,
        Insn::CondJump { width, dst, src, .. } => {
            out | operand(Operand::Reg(dst), width) | operand(src, width)
        }
    }
}

#[inline]
fn stored(size: Size, src: Operand) -> Set {
    operand(src, if size == Size::Dw { Width::W64 } else { Width::W32 })
}

/// Per slot: what is read after it.
pub struct Flow {
    pub after: Vec<Set>,
    /// In ascending order of slots.
    pub funcs: Vec<FuncFacts>,
}

pub fn flow(scan: &Scan) -> Flow {
    let len = scan.insns.len();
    // What is read at or after each slot; nothing is read that no walk has seen read.
    let mut at = vec![0 as Set; len + 1];
    let mut after = vec![0 as Set; len];
    let mut funcs = Vec::new();
    round::<true>(scan, &mut at, &mut after, &mut funcs);
    funcs.reverse();
    let mut settled = !scan.has_loop;
    for _ in 1..MOST_ROUNDS {
        if settled {
            break;
        }
        settled = !round::<false>(scan, &mut at, &mut after, &mut funcs);
    }
    if !settled {
        at.fill(ALL);
        round::<false>(scan, &mut at, &mut after, &mut funcs);
    }
    Flow { after, funcs }
}

/// Walks repeated at most.
const MOST_ROUNDS: u32 = 6;

/// One walk; true if it changed anything.  The first notes the functions too, last one first.
fn round<const FIRST: bool>(
    scan: &Scan,
    at: &mut [Set],
    after: &mut [Set],
    funcs: &mut Vec<FuncFacts>,
) -> bool {
    let len = scan.insns.len();
    let mut f = FuncFacts::default();
    let mut changed = false;
    // What the slot after reads: that of the end is nothing.
    let mut next = 0;
    for slot in (0..len).rev() {
        let (Some(insn), Some(flags)) = (scan.insns.get(slot), scan.flags.get(slot)) else {
            continue;
        };
        if flags & TAIL != 0 {
            // The second slot stands for what follows the instruction.
            if let Some(a) = at.get_mut(slot) {
                *a = next;
            }
            continue;
        }
        let jump = match *insn {
            Insn::Jump { off, .. } => Some((off, 0)),
            Insn::CondJump { off, .. } | Insn::MayGoto { off } => Some((off as i32, next)),
            _ => None,
        };
        let out = match jump {
            None => next,
            Some((off, falls)) => {
                let there = target(slot, off, len).and_then(|t| at.get(t).copied());
                falls | there.unwrap_or(ALL)
            }
        };
        let read = before(insn, out);
        if let (Some(a), Some(o)) = (at.get_mut(slot), after.get_mut(slot)) {
            changed |= *a != read || *o != out;
            *a = read;
            *o = out;
        }
        next = read;
        if FIRST {
            let (written, fp, calls) = touches(insn);
            f.writes |= written & CALLEE_SAVED;
            f.uses_fp |= fp;
            f.calls |= calls;
            if flags & FUNC != 0 {
                f.slot = slot as u32;
                f.is_entry = slot == 0 && !scan.calls_first;
                funcs.push(std::mem::take(&mut f));
            }
        }
    }
    changed
}

const CALLEE_SAVED: u16 = 0x3c0;

/// The register an instruction writes, and whether it reads r10 or calls.
#[inline(always)]
fn touches(insn: &Insn) -> (u16, bool, bool) {
    const FP: Reg = Reg::R10;
    let bit = |r: Reg| 1u16 << (r.0 & 15);
    match *insn {
        Insn::Alu { dst, src, .. } => (bit(dst), src == Operand::Reg(FP) || dst == FP, false),
        Insn::MovSx { dst, src, .. } | Insn::AddrSpaceCast { dst, src, .. } => {
            (bit(dst), src == FP, false)
        }
        Insn::Neg { dst, .. } | Insn::Swap { dst, .. } | Insn::LoadImm64 { dst, .. } => {
            (bit(dst), dst == FP, false)
        }
        Insn::Load { dst, src, .. } | Insn::LoadAcquire { dst, src, .. } => {
            (bit(dst), src == FP || dst == FP, false)
        }
        Insn::Store { dst, src, .. } => (0, dst == FP || src == Operand::Reg(FP), false),
        Insn::StoreRelease { dst, src, .. } => (0, dst == FP || src == FP, false),
        Insn::Atomic { fetch, dst, src, .. } => {
            (if fetch { bit(src) } else { 0 }, dst == FP || src == FP, false)
        }
        Insn::CondJump { dst, src, .. } => (0, dst == FP || src == Operand::Reg(FP), false),
        Insn::LoadPacket { .. } | Insn::Call { .. } => (0, false, true),
        Insn::CallReg { target } => (0, target == FP, true),
        Insn::Jump { .. } | Insn::MayGoto { .. } | Insn::Exit => (0, false, false),
    }
}
