//! Each concrete register lies inside some state that the verifier had at that instruction, at every step.
//!
//! The program runs first, and a sample of its steps is kept; each state that the verdict takes crosses off the steps
//! whose live registers it holds.  Where some are left, the verifier goes over the program once more with every scalar
//! taken for precise ([`bpfassay_verifier::verify_observed`]), since a path may be covered by one that did not care.
//! What is left then no state holds.  A slot of the stack is looked at when it is read.

use std::cell::{Cell, RefCell};
use std::ops::ControlFlow;

use bpfassay_isa::Reg;
use bpfassay_spec::RegBase;
use bpfassay_verifier::domain::reg::RegState;
use bpfassay_verifier::domain::state::{FuncState, VerifierState};
use bpfassay_verifier::{verify_observed, Observer, Verdict};

use super::{form, Judged, Oracle, Steps};
use crate::finding::Finding;

#[derive(Default)]
pub struct Containment {
    too_many: u64,
    by_quirk: u64,
    again: u64,
}

/// Crosses off what a state holds.
pub(super) struct Crossing<'s> {
    steps: &'s Steps,
    is_held: RefCell<Vec<bool>>,
    /// Steps of each instruction that no state has held so far.
    left: Vec<Cell<u8>>,
    /// Instructions that have such steps.
    open: Cell<usize>,
    /// The verdict does not matter: it ends when no step is left.
    ends_early: bool,
}

impl<'s> Crossing<'s> {
    /// `held` are those crossed off before, if any.
    pub(super) fn new(steps: &'s Steps, mut held: Vec<bool>) -> Crossing<'s> {
        held.resize(steps.count(), false);
        let left = |i| steps.before(i).filter(|(n, _)| !held[*n]).count() as u8;
        let left: Vec<_> = (0..steps.insns()).map(|i| Cell::new(left(i))).collect();
        let open = Cell::new(left.iter().filter(|l| l.get() > 0).count());
        Crossing { steps, is_held: RefCell::new(held), left, open, ends_early: false }
    }

    /// Of a program whose verdict is known.
    fn of_judged(steps: &'s Steps, held: Vec<bool>) -> Crossing<'s> {
        Crossing { ends_early: true, ..Crossing::new(steps, held) }
    }

    pub(super) fn into_held(self) -> Vec<bool> {
        self.is_held.into_inner()
    }
}

impl Observer for Crossing<'_> {
    fn entered(&self, idx: u32, state: &VerifierState, live: u16) -> ControlFlow<()> {
        let Some(left) = self.left.get(idx as usize).filter(|l| l.get() > 0) else {
            return ControlFlow::Continue(());
        };
        let mut is_held = self.is_held.borrow_mut();
        for (n, step) in self.steps.before(idx as usize) {
            if !is_held[n] && step.frame == state.curframe() {
                let outside = first_outside(state.cur(), state.curframe(), &step.regs, live);
                is_held[n] = outside.is_none();
                left.set(left.get() - u8::from(is_held[n]));
            }
        }
        if left.get() == 0 {
            self.open.set(self.open.get() - 1);
        }
        match self.ends_early && self.open.get() == 0 {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        }
    }
}

/// The first live register whose value its abstract value does not hold.
fn first_outside(frame: &FuncState, number: u32, regs: &[u64; 11], live: u16) -> Option<u8> {
    let of = |n: u8| holds(frame.reg(Reg(n)), number, regs[n as usize], regs[10]);
    (0..10u8).find(|n| live & 1 << n != 0 && !of(*n))
}

/// Scalars and the frame's own stack pointers are followed; other addresses are the runtime's own, of which only
/// NULL is known.
fn holds(reg: &RegState, frame: u32, value: u64, fp: u64) -> bool {
    match reg.base() {
        RegBase::NotInit => true,
        RegBase::Scalar => reg.contains(value),
        RegBase::Stack if reg.frameno == frame => {
            let offset = value.wrapping_sub(fp).wrapping_sub(reg.off as i64 as u64);
            reg.var_off.contains(offset)
                && (reg.smin..=reg.smax).contains(&(offset as i64))
                && (reg.umin..=reg.umax).contains(&offset)
        }
        RegBase::MapValue if !reg.ty.may_be_null() => value != 0,
        _ => true,
    }
}

impl Oracle for Containment {
    fn name(&self) -> &'static str {
        "containment"
    }

    fn counts(&self) -> std::collections::BTreeMap<String, u64> {
        [
            ("too many states to look on".to_string(), self.too_many),
            ("explored again".to_string(), self.again),
            ("a kernel's quirk on a path".to_string(), self.by_quirk),
        ]
        .into()
    }

    fn check(&mut self, judged: &Judged<'_>) -> Option<Finding> {
        if !judged.is_accepted() || judged.report.quirk.is_some() {
            return None;
        }
        let steps = &judged.runs()?.steps;
        if !judged.held.is_empty() && judged.held.iter().all(|h| *h) {
            return None;
        }
        self.again += 1;
        let crossing = Crossing::of_judged(steps, judged.held.clone());
        let report = verify_observed(&judged.case.program, judged.config, &crossing);
        if crossing.open.get() == 0 {
            return None;
        }
        if report.verdict != Verdict::Accepted {
            self.too_many += 1;
            return None;
        }
        if report.quirk.is_some() {
            // On a path that the plain verdict needed no look at, the kernel would have been wrong.
            self.by_quirk += 1;
            return None;
        }
        let is_held = crossing.into_held();
        let lost = |idx| steps.before(idx).find(|(n, _)| !is_held[*n]).map(|(_, s)| (idx, s));
        let (idx, step) = (0..steps.insns()).find_map(lost)?;
        // What went wrong was done by the instruction before; in straight code that is the one above.
        let before = idx.saturating_sub(1);
        let regs: Vec<String> =
            step.regs[..10].iter().enumerate().map(|(n, v)| format!("r{n}={v:#x}")).collect();
        Some(Finding {
            oracle: self.name().to_string(),
            kind: "outside".to_string(),
            place: form(judged.case, before),
            detail: format!("insn {idx}, frame {}: no state holds {}", step.frame, regs.join(" ")),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::case::Case;
    use bpfassay_harness::engine::Input;
    use bpfassay_isa::asm::{assemble, NoNames};
    use bpfassay_object::model::Program;
    use bpfassay_spec::ProgType;

    /// The second path to the fill is covered by the first, whose scalars nothing needs; taken for precise it is
    /// another state, and there the kernel links a value with its sign extended.
    const FILLS_ON_A_COVERED_PATH: &str = "
        r9 = *(u32 *)(r1 +76)
        r2 = *(u32 *)(r1 +80)
        r3 = r9
        r3 += 64
        if r3 > r2 goto out
        *(u64 *)(r10 -8) = 0
        r0 = *(u64 *)(r9 +0)
        r6 = *(u64 *)(r9 +0)
        w6 |= 0
        r7 = *(u64 *)(r10 -8)
        if w7 < w0 goto spill
        r6 = *(s32 *)(r9 +0)
        spill:
        *(u64 *)(r10 -16) = r6
        r7 = *(s32 *)(r10 -16)
        if r7 > 0x0 goto out2
        out2:
        r0 = r6
        out:
        r0 = 0
        exit";

    #[test]
    fn a_kernels_quirk_on_a_covered_path_is_counted_and_no_finding() {
        let insns = assemble(FILLS_ON_A_COVERED_PATH, &NoNames).expect("a program");
        let program = Program::bare("p", ProgType::SchedCls, insns);
        let mut data = vec![0; 64];
        data[..4].copy_from_slice(&0xffff_fffbu32.to_le_bytes());
        data[12..14].copy_from_slice(&[0x88, 0xb5]);
        let inputs = vec![Input { data, ..Input::default() }];
        let case = Case { name: String::new(), program, inputs, choices: Vec::new() };
        let target = crate::oracle::target("6.18").expect("a kernel that is served");
        let config = target.config();
        let judged = Judged::new(&case, &config);
        assert_eq!((judged.is_accepted(), judged.report.quirk), (true, None));
        let mut oracle = Containment::default();
        assert_eq!(oracle.check(&judged), None);
        assert_eq!(oracle.by_quirk, 1);
    }
}
