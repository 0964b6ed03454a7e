//! Whether what a program leaves behind may hold an address: engines place memory differently, so such results say
//! nothing about agreement.
//!
//! Decided by the verifier's states alone, never by what a value looks like.

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering};

use bpfassay_isa::{decode, AluOp, Cond, Insn, Operand, RawInsn, Reg, Size, Width};
use bpfassay_spec::RegBase;
use bpfassay_verifier::domain::reg::RegState;
use bpfassay_verifier::domain::stack::{SlotType, StackSlot};
use bpfassay_verifier::domain::state::VerifierState;
use bpfassay_verifier::{verify_observed, Config, Observer};

use crate::case::Case;

/// Some path returns an address, stores one outside of the stack, or computes a number from one.
pub fn may_leave_address(case: &Case, config: &Config<'_>) -> bool {
    let watch = Watch { insns: &case.program.insns, is_left: AtomicBool::new(false) };
    verify_observed(&case.program, config, &watch);
    watch.is_left.into_inner()
}

struct Watch<'p> {
    insns: &'p [RawInsn],
    is_left: AtomicBool,
}

impl Observer for Watch<'_> {
    fn entered(&self, idx: u32, state: &VerifierState, _live: u16) -> ControlFlow<()> {
        if leaves(self.insns, idx as usize, state) {
            self.is_left.store(true, Ordering::Relaxed);
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    }
}

fn is_address(reg: &RegState) -> bool {
    !matches!(reg.base(), RegBase::NotInit | RegBase::Scalar)
}

/// The instruction at `idx` takes an address to where it is no pointer any more, or does one thing or the other by
/// what the address is.
fn leaves(insns: &[RawInsn], idx: usize, state: &VerifierState) -> bool {
    let Some(raw) = insns.get(idx) else { return false };
    let Ok(insn) = decode::decode(*raw, insns.get(idx + 1).copied()) else { return false };
    let is = |r: Reg| is_address(state.cur().reg(r));
    let is_operand = |o: Operand| matches!(o, Operand::Reg(r) if is(r));
    let is_stack = |r: Reg| state.cur().reg(r).base() == RegBase::Stack;
    match insn {
        Insn::Exit => state.curframe() == 0 && is(Reg::R0),
        Insn::Store { dst, src, size, .. } => match is_stack(dst) {
            true => size != Size::Dw && (is_operand(src) || has_spilt_address(state)),
            false => is_operand(src),
        },
        Insn::Atomic { dst, src, .. } => is(src) || is_stack(dst) && has_spilt_address(state),
        Insn::Alu { op: AluOp::Mov, width, src, .. } => width == Width::W32 && is_operand(src),
        Insn::Alu { width: Width::W32, dst, src, .. } => is(dst) || is_operand(src),
        Insn::Alu { dst, src, .. } => is(dst) && is_operand(src),
        Insn::MovSx { src, .. } => is(src),
        Insn::Neg { dst, .. } | Insn::Swap { dst, .. } => is(dst),
        Insn::Load { size, src, .. } => {
            size != Size::Dw && is_stack(src) && has_spilt_address(state)
        }
        Insn::CondJump { cond, width, dst, src, .. } => match (is(dst), is_operand(src)) {
            (false, false) => false,
            (true, true) => !of_one_object(state, dst, src),
            _ => width == Width::W32 || !is_test_for_null(cond, src),
        },
        _ => false,
    }
}

fn is_test_for_null(cond: Cond, src: Operand) -> bool {
    matches!((cond, src), (Cond::Eq | Cond::Ne, Operand::Imm(0)))
}

/// Addresses whose order is the same wherever the object lies.
fn of_one_object(state: &VerifierState, a: Reg, b: Operand) -> bool {
    let Operand::Reg(b) = b else { return false };
    let (a, b) = (state.cur().reg(a).base(), state.cur().reg(b).base());
    let is_packet = |b| matches!(b, RegBase::Packet | RegBase::PacketEnd);
    a == b || is_packet(a) && is_packet(b)
}

/// Of any frame: part of it may become a number.
fn has_spilt_address(state: &VerifierState) -> bool {
    let holds = |s: &StackSlot| s.kind.contains(&SlotType::Spill) && is_address(&s.spilled);
    state.frames().any(|f| f.stack().iter().any(holds))
}

#[cfg(test)]
mod tests {
    use super::*;
    use bpfassay_isa::asm::{assemble, NoNames};
    use bpfassay_object::model::Program;
    use bpfassay_spec::ProgType;

    fn is_left(text: &str) -> bool {
        let insns = assemble(text, &NoNames).expect("a program");
        let program = Program::bare("p", ProgType::SchedCls, insns);
        let case = Case { name: String::new(), program, inputs: Vec::new(), choices: Vec::new() };
        let target = crate::oracle::target("6.18").expect("a kernel that is served");
        may_leave_address(&case, &target.config())
    }

    #[test]
    fn results_made_from_addresses_are_known() {
        for text in [
            "r5 = r10\nr0 = r5\nexit",
            "w0 = w10\nexit",
            "r0 = 0\nif r10 > 0x5 goto out\nr0 = 1\nout:\nexit",
            "*(u64 *)(r10 -8) = r10\nr0 = *(u32 *)(r10 -8)\nexit",
        ] {
            assert!(is_left(text), "{text}");
        }
    }

    #[test]
    fn results_made_from_numbers_are_compared() {
        for text in [
            "r0 = 7\nexit",
            "r0 = 7\n*(u64 *)(r10 -8) = r0\nr0 = *(u32 *)(r10 -8)\nexit",
            "*(u64 *)(r10 -8) = r10\nr1 = *(u64 *)(r10 -8)\nr0 = 1\nexit",
            "r2 = *(u32 *)(r1 +76)\nr3 = *(u32 *)(r1 +80)\nr0 = 0\nif r2 > r3 goto out\nr0 = 1\nout:\nexit",
        ] {
            assert!(!is_left(text), "{text}");
        }
    }
}
