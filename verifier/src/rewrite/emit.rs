//! Instructions that rewriting puts in (`include/linux/filter.h`).

use bpfassay_isa::opcode::{NOSPEC, OFF_ADDR_PERCPU};
use bpfassay_isa::{
    encode, AluOp, AtomicOp, CallTarget, Cond, Imm64, Insn, Operand, RawInsn, Reg, Size, Width,
};

use super::patch::Slot;

/// The register no program can name (`BPF_REG_AX`).
pub(super) const AX: Reg = Reg(11);

fn raw(insn: Insn) -> Slot {
    Slot::from(encode(&insn).0)
}

pub(super) fn load(size: Size, dst: Reg, src: Reg, off: i32) -> Slot {
    raw(Insn::Load { size, sign_extend: false, dst, src, off: off as i16 })
}

pub(super) fn store(size: Size, dst: Reg, off: i32, src: Operand) -> Slot {
    raw(Insn::Store { size, dst, off: off as i16, src })
}

pub(super) fn alu(width: Width, op: AluOp, dst: Reg, src: Operand) -> Slot {
    raw(Insn::Alu { op, width, dst, src })
}

pub(super) fn alu64(op: AluOp, dst: Reg, imm: i32) -> Slot {
    alu(Width::W64, op, dst, Operand::Imm(imm))
}

pub(super) fn alu32(op: AluOp, dst: Reg, imm: i32) -> Slot {
    alu(Width::W32, op, dst, Operand::Imm(imm))
}

pub(super) fn alu64_reg(op: AluOp, dst: Reg, src: Reg) -> Slot {
    alu(Width::W64, op, dst, Operand::Reg(src))
}

pub(super) fn alu32_reg(op: AluOp, dst: Reg, src: Reg) -> Slot {
    alu(Width::W32, op, dst, Operand::Reg(src))
}

pub(super) fn neg(width: Width, dst: Reg) -> Slot {
    raw(Insn::Neg { width, dst })
}

/// Goes `off` slots beyond the next one.
pub(super) fn branch(width: Width, cond: Cond, dst: Reg, imm: i32, off: i16) -> Slot {
    raw(Insn::CondJump { cond, width, dst, src: Operand::Imm(imm), off })
}

pub(super) fn branch_reg(width: Width, cond: Cond, dst: Reg, src: Reg, off: i16) -> Slot {
    raw(Insn::CondJump { cond, width, dst, src: Operand::Reg(src), off })
}

pub(super) fn jump(off: i32) -> Slot {
    raw(Insn::Jump { off, long: false })
}

pub(super) fn exit() -> Slot {
    raw(Insn::Exit)
}

pub(super) fn nospec() -> Slot {
    Slot::from(RawInsn { code: NOSPEC, ..RawInsn::default() })
}

/// `src = xchg(dst, src)`, 8 bytes.
pub(super) fn xchg(dst: Reg, src: Reg) -> Slot {
    raw(Insn::Atomic { op: AtomicOp::Xchg, fetch: true, size: Size::Dw, dst, src, off: 0 })
}

/// `BPF_MOV64_PERCPU_REG`.
pub(super) fn percpu(dst: Reg, src: Reg) -> Slot {
    let mut slot = alu64_reg(AluOp::Mov, dst, src);
    slot.insn.off = OFF_ADDR_PERCPU;
    slot
}

/// LD_IMM64 of an address of the kernel's; None for NULL.
pub(super) fn address(dst: Reg, symbol: Option<&str>) -> [Slot; 2] {
    let (low, high) = encode(&Insn::LoadImm64 { dst, value: Imm64::Const(0) });
    let low = Slot { symbol: symbol.map(Into::into), ..Slot::from(low) };
    [low, Slot::from(high.unwrap_or_default())]
}

/// A call of a function of the program, `off` slots beyond the next one.
pub(super) fn call_subprog(off: i32) -> Slot {
    raw(Insn::Call { target: CallTarget::Subprog(off) })
}

/// A call of a kernel function by its symbol.
pub(super) fn call(symbol: &str) -> Slot {
    Slot { symbol: Some(symbol.into()), ..raw(Insn::Call { target: CallTarget::Helper(0) }) }
}
