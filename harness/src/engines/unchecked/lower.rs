//! From decoded instructions to the unchecked interpreter's operations: which stand alone,
//! which are fused with those behind them.
//!
//! Knows no runtime but the addresses that wide immediates stand for.

use bpfassay_isa::{AluOp, CallTarget, Insn, Operand, Reg, Size, Width};
use bpfassay_jit::Access;

use super::ops::*;
use crate::engines::code::{Code, Slot};

/// The operations of a program, one per slot and one behind the last, which is [`Kind::End`].
///
/// Every target of a jump is the index of an operation.
pub fn lower(code: &Code) -> Vec<Op> {
    let l = Lowering { code, count: u32::try_from(code.len()).unwrap_or(u32::MAX) };
    let mut ops: Vec<Op> =
        (0..code.len()).map(|i| l.fused(i).unwrap_or_else(|| l.single(i))).collect();
    ops.push(Op::END);
    ops
}

struct Lowering<'c> {
    code: &'c Code,
    count: u32,
}

impl Lowering<'_> {
    fn insn(&self, i: usize) -> Option<Insn> {
        match self.code.slot(i)? {
            Slot::Insn(insn) => Some(*insn),
            Slot::Invalid(_) => None,
        }
    }

    /// Index of a jump's target; None where it lies outside, which the slow path reports.
    fn target(&self, i: usize, off: i32) -> Option<u32> {
        let to = u32::try_from(i as i64 + 1 + off as i64).ok()?;
        (to < self.count).then_some(to)
    }

    fn single(&self, i: usize) -> Op {
        self.insn(i).and_then(|insn| self.alone(i, insn)).unwrap_or(Op::REST)
    }

    fn alone(&self, i: usize, insn: Insn) -> Option<Op> {
        Some(match insn {
            Insn::Alu { op, width, dst, src } => Op::new(alu_kind(op, width, src), dst, src),
            Insn::CondJump { cond, width, dst, src, off } => {
                let target = self.target(i, off as i32)?;
                Op { target, ..Op::new(cond_kind(cond, width, src), dst, src) }
            }
            Insn::Load { size, sign_extend, dst, src, off } => {
                if self.code.access(i) != Access::Plain {
                    return None;
                }
                let op = Op::new(load_kind(size, sign_extend), dst, Operand::Reg(src));
                Op { target: off as i32 as u32, ..op }
            }
            Insn::Store { size, dst, off, src } => {
                if self.code.access(i) != Access::Plain {
                    return None;
                }
                let op = Op::new(store_kind(size, src), dst, src);
                Op { target: off as i32 as u32, ..op }
            }
            Insn::MovSx { width, from, dst, src } => {
                Op::new(sx_kind(width, from)?, dst, Operand::Reg(src))
            }
            Insn::Neg { width: Width::W64, dst } => {
                Op { kind: Kind::Neg64, dst: dst.0, ..Op::REST }
            }
            Insn::Neg { width: Width::W32, dst } => {
                Op { kind: Kind::Neg32, dst: dst.0, ..Op::REST }
            }
            Insn::Swap { kind, bits, dst } => {
                Op { kind: swap_kind(kind, bits)?, dst: dst.0, ..Op::REST }
            }
            Insn::Jump { off, .. } => {
                Op { kind: Kind::Goto, target: self.target(i, off)?, ..Op::REST }
            }
            Insn::Call { target: CallTarget::Subprog(off) } => {
                Op { kind: Kind::Call, target: self.target(i, off)?, ..Op::REST }
            }
            Insn::Exit => Op { kind: Kind::Exit, ..Op::REST },
            _ => return None,
        })
    }

    /// The instruction with those behind it, where they go together.
    fn fused(&self, i: usize) -> Option<Op> {
        let (a, b) = (self.insn(i)?, self.insn(i + 1)?);
        match a {
            Insn::Alu { op: AluOp::Mov, width, dst, src: Operand::Reg(src) } => {
                self.behind_move(i, width, dst, src, b)
            }
            Insn::Alu { op: AluOp::Add, width: Width::W64, dst, src: Operand::Reg(r) } => {
                let (_, _, value, off) = self.access(i + 1, dst, b).filter(|_| r != dst)?;
                let kind = match b {
                    Insn::Load { size, .. } => sum_load_kind(size),
                    Insn::Store { size, .. } => sum_store_kind(size),
                    _ => return None,
                };
                let op = Op::new(kind, dst, Operand::Reg(r));
                Some(Op { imm: value.0 as u64, target: off, ..op })
            }
            Insn::Alu { op, width, dst, src: Operand::Imm(k) } => {
                let counted = (op == AluOp::Add).then(|| self.counted(i, width, dst, k, b));
                if let Some(Some(op)) = counted {
                    return Some(op);
                }
                let (kind, src, imm) = then(op, width, dst, k, b)?;
                Some(Op { kind: kind.0, dst: dst.0, src, imm, ..Op::REST })
            }
            _ => None,
        }
    }

    /// `dst = src`, then `b`.
    fn behind_move(&self, i: usize, width: Width, dst: Reg, src: Reg, b: Insn) -> Option<Op> {
        let from = |kind| Op { src: src.0, dst: dst.0, kind, ..Op::REST };
        if let Insn::Alu { op: AluOp::Mov, width: w, dst: d, src: Operand::Reg(s) } = b {
            let both = width == Width::W64 && w == Width::W64;
            return both.then(|| Op { imm: d.0 as u64 | (s.0 as u64) << 8, ..from(Kind::MovMov) });
        }
        let (op, by, w) = operation(b, dst)?;
        if w != width {
            return None;
        }
        let kind = moved_kind(op, width, by)?;
        let third = self.insn(i + 2);
        match by {
            Operand::Imm(k) => {
                if op == AluOp::Rsh {
                    if let Some(op) = self.rotation(i, width, dst, src, k) {
                        return Some(op);
                    }
                }
                let three = third.and_then(|c| then(op, width, dst, k, c));
                Some(match three {
                    Some((kind, r, imm)) => Op { target: r as u32, imm, ..from(kind.1) },
                    None => Op { imm: bpfassay_isa::semantics::imm(k), ..from(kind) },
                })
            }
            Operand::Reg(r) => {
                let is_sum = op == AluOp::Add && width == Width::W64 && r != dst;
                let access = third.filter(|_| is_sum).and_then(|c| self.access(i + 2, dst, c));
                if let Some((kind, _, value, off)) = access {
                    let imm = r.0 as u64 | (value.0 as u64) << 8;
                    return Some(Op { imm, target: off, ..from(kind) });
                }
                // An operation on the copy with itself is one on what was copied.
                let by = if r == dst { src } else { r };
                Some(Op { target: by.0 as u32, ..from(kind) })
            }
        }
    }

    /// `t = s; t >>= right`, then either `s <<= left; s |= t` or `u = s; u <<= left; u |= t`.
    fn rotation(&self, i: usize, width: Width, t: Reg, s: Reg, right: i32) -> Option<Op> {
        let (alone, of_copy) = rot_kind(width);
        let (u, at) = match self.insn(i + 2)? {
            Insn::Alu { op: AluOp::Mov, width: w, dst, src: Operand::Reg(from) } => {
                (dst, (w == width && from == s).then_some(i + 3)?)
            }
            _ => (s, i + 2),
        };
        if t == s || u == t || (u == s && at != i + 2) {
            return None;
        }
        let (AluOp::Lsh, Operand::Imm(left), w1) = operation(self.insn(at)?, u)? else {
            return None;
        };
        let (AluOp::Or, Operand::Reg(by), w2) = operation(self.insn(at + 1)?, u)? else {
            return None;
        };
        if by != t || w1 != width || w2 != width {
            return None;
        }
        let kind = if u == s { alone } else { of_copy };
        Some(Op { kind, dst: t.0, src: s.0, target: u.0 as u32, imm: halves(right, left) })
    }

    /// A load or store of a register through `base`: its kind behind a sum with a move,
    /// size, register and offset.
    fn access(&self, i: usize, base: Reg, insn: Insn) -> Option<(Kind, Size, Reg, u32)> {
        if self.code.access(i) != Access::Plain {
            return None;
        }
        let (kind, size, value, off) = match insn {
            Insn::Load { size, sign_extend: false, dst, src, off } if src == base => {
                (at_load_kind(size), size, dst, off)
            }
            Insn::Store { size, dst, off, src: Operand::Reg(v) } if dst == base => {
                (at_store_kind(size), size, v, off)
            }
            _ => return None,
        };
        Some((kind, size, value, off as i32 as u32))
    }

    /// `dst += add`, then the comparison `b`.
    fn counted(&self, i: usize, width: Width, dst: Reg, add: i32, b: Insn) -> Option<Op> {
        let Insn::CondJump { cond, width: w, dst: left, src, off } = b else { return None };
        let target = self.target(i + 1, off as i32).filter(|_| w == width)?;
        let (right, imm) = match src {
            Operand::Reg(r) => (r.0 << 4, 0),
            Operand::Imm(k) => (0, k),
        };
        let (kind, imm) = (counted_kind(cond, width, src), halves(add, imm));
        Some(Op { kind, dst: dst.0, src: left.0 | right, target, imm })
    }
}

/// Two immediates in one.
fn halves(low: i32, high: i32) -> u64 {
    low as u32 as u64 | (high as u32 as u64) << 32
}

/// The operation on this register, its second operand and width; None for a move.
fn operation(insn: Insn, reg: Reg) -> Option<(AluOp, Operand, Width)> {
    match insn {
        Insn::Alu { op, width, dst, src } if dst == reg && op != AluOp::Mov => {
            Some((op, src, width))
        }
        _ => None,
    }
}

/// `reg op= k`, then `b` on the same register: kinds alone and behind a move, the second
/// operation's register, immediates.
fn then(op: AluOp, width: Width, reg: Reg, k: i32, b: Insn) -> Option<((Kind, Kind), u8, u64)> {
    let (next, by, w) = operation(b, reg)?;
    match by {
        Operand::Imm(second) => {
            let kinds = pair_kind((op, width), (next, w))?;
            Some((kinds, 0, halves(k, second)))
        }
        Operand::Reg(r) => {
            let kinds = two_kind(op, next, width).filter(|_| r != reg && w == width)?;
            Some((kinds, r.0, bpfassay_isa::semantics::imm(k)))
        }
    }
}
