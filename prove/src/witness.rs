//! A program that shows a weakened operation to be wrong: what the weakened operation claims of a register, and what
//! the register holds when the program runs.
//!
//! The operands' states are the verifier's own, taken where it comes to the instruction; the claim is what the
//! shipped operation makes of them, less what `--break` takes away; the run is the checking interpreter's.

use std::ops::ControlFlow;
use std::sync::Mutex;

use bpfassay_harness::engine::Input;
use bpfassay_harness::engines::interp::Tracer;
use bpfassay_harness::runtime::world::World;
use bpfassay_harness::testrun::Interp;
use bpfassay_isa::encode::encode;
use bpfassay_isa::{AluOp, Cond, Insn, Operand, RawInsn, Reg, Size, Width};
use bpfassay_judge::{insn_text, Target};
use bpfassay_object::model::Program;
use bpfassay_spec::{Features, ProgType};
use bpfassay_verifier::domain::circular_compare::compared_with_itself;
use bpfassay_verifier::domain::compare::{is_scalar_branch_taken, Fact, Pair};
use bpfassay_verifier::domain::reg::RegState;
use bpfassay_verifier::domain::state::VerifierState;
use bpfassay_verifier::{verify_observed, Observer};

use crate::act::{Act, Step};
use crate::arcs::weaken_side;
use crate::operations::Concrete;
use crate::weak::{weaken_reg, weaken_tnum};

const A: Reg = Reg::R6;
const B: Reg = Reg::R7;

/// Numbers at which ranges end.
const CORNERS: [u64; 14] = [
    0,
    1,
    2,
    7,
    8,
    0x7f,
    0xff,
    0x7fff_ffff,
    0x8000_0000,
    0xffff_ffff,
    0x7fff_ffff_ffff_ffff,
    0x8000_0000_0000_0000,
    u64::MAX - 1,
    u64::MAX,
];

/// A program, an input, and what goes wrong.
#[derive(Clone, Debug)]
pub struct Counterexample {
    /// A line for each instruction, as `bpfassay asm` reads it.
    pub assembler: String,
    /// The context: what r6 and r7 are read from.
    pub ctx: [u64; 2],
    /// What the weakened operation says.
    pub claim: String,
    /// What the run has there.
    pub seen: String,
}

/// A program in which the operation is used, and where to look.
struct Probe {
    insns: Vec<RawInsn>,
    /// The operands' states are those before this instruction.
    operands: usize,
    /// The values are those before this one; the result is in `result`.
    after: usize,
    result: Reg,
}

/// Looks for values with which a program leaves what the weakened operation claims.
///
/// # Errors
/// A kernel that is not served, or a program that the verifier or the interpreter does not take.
pub fn counterexample(concrete: Concrete, release: &str) -> Result<Option<Counterexample>, String> {
    let target = Target::served(release)?.ok_or_else(|| format!("{release} is not served"))?;
    for constant in CONSTANTS {
        let found = shown_by(&probe(concrete, constant), concrete, &target)?;
        if found.is_some() {
            return Ok(found);
        }
    }
    Ok(None)
}

fn shown_by(
    probe: &Probe,
    concrete: Concrete,
    target: &Target,
) -> Result<Option<Counterexample>, String> {
    let program = program(&probe.insns);
    let seen = Seen { at: probe.operands as u32, states: Mutex::default() };
    let config = target.config();
    verify_observed(&program, &config, &seen);
    let states = seen.states.into_inner().map_err(|e| e.to_string())?;
    let (a, b) = *states.first().ok_or("the verifier does not come to the instruction")?;
    let features = config.kernel.features;
    let mut interp = Interp::load(&program, World::seeded(1)).map_err(|e| format!("{e:?}"))?;
    for x in CORNERS {
        for y in CORNERS {
            let Some(v) = run(&mut interp, [x, y], probe) else { continue };
            if let Some(claim) = contradicted(concrete, &a, &b, v, &features) {
                let seen = format!("{} = {v:#x} before insn {}", probe.result, probe.after);
                let assembler = text(&probe.insns);
                return Ok(Some(Counterexample { assembler, ctx: [x, y], claim, seen }));
            }
        }
    }
    Ok(None)
}

/// What the weakened operation claims, if the value is outside.
fn contradicted(
    concrete: Concrete,
    a: &RegState,
    b: &RegState,
    v: u64,
    f: &Features,
) -> Option<String> {
    let mut claim = *a;
    let weaken_bits = match concrete {
        Concrete::Decided { cond, width } => {
            let decision = is_scalar_branch_taken(a, b, cond, width).or(Some(true));
            let claim = "the jump is always taken: the next instruction is not looked at";
            return (decision == Some(true)).then(|| claim.to_string());
        }
        Concrete::DecidedAlone { cond, width } => {
            let side = weaken_side(compared_with_itself(a, cond, width), true);
            let words = if side == Some(true) { "always" } else { "never" };
            return Some(format!("the jump is {words} taken: this instruction is not looked at"));
        }
        Concrete::Covers => {
            let claim = || format!("the first state covers the second: r6 is in {}", range(a));
            return (!a.contains(v)).then(claim);
        }
        Concrete::Jump { cond, width, taken, bits } => {
            let mut pair = Pair::of(*a, *b, false);
            let fact = if taken { Fact::Holds(cond) } else { Fact::not(cond) };
            match f.circular_ranges {
                true => pair.narrow_arcs(fact, width),
                false => pair.learn(fact, width),
            }
            claim = *pair.first();
            bits
        }
        Concrete::JumpByConstant { cond, width, taken } => {
            let fact = if taken { Fact::Holds(cond) } else { Fact::not(cond) };
            claim.narrow_by_constant(b.var_off.value, fact, width);
            false
        }
        Concrete::Act { act, bits } => {
            if act == Act::KnownLow {
                claim.mark_unbounded();
            }
            act.apply(&mut claim, b, f);
            bits
        }
    };
    if weaken_bits {
        claim.var_off = weaken_tnum(claim.var_off, true);
    } else {
        weaken_reg(&mut claim, true);
    }
    (!claim.contains(v)).then(|| format!("the register is in {}", range(&claim)))
}

fn range(r: &RegState) -> String {
    format!(
        "umin={:#x} umax={:#x} smin={:#x} smax={:#x} var_off=({:#x}; {:#x})",
        r.umin, r.umax, r.smin, r.smax, r.var_off.value, r.var_off.mask
    )
}

/// The operands' states, path by path.
struct Seen {
    at: u32,
    states: Mutex<Vec<(RegState, RegState)>>,
}

impl Observer for Seen {
    fn entered(&self, insn_idx: u32, state: &VerifierState, _live: u16) -> ControlFlow<()> {
        if let (true, Ok(mut states)) = (insn_idx == self.at, self.states.lock()) {
            states.push((*state.cur().reg(A), *state.cur().reg(B)));
        }
        ControlFlow::Continue(())
    }
}

struct Look {
    after: usize,
    result: Reg,
    value: Option<u64>,
}

impl Tracer for Look {
    const ENABLED: bool = true;
    fn step(&mut self, _frame: usize, idx: usize, _insn: &Insn, regs: &[u64]) {
        if idx == self.after && self.value.is_none() {
            self.value = regs.get(self.result.0 as usize).copied();
        }
    }
}

/// The result's value, if the run comes there.
fn run(interp: &mut Interp, ctx: [u64; 2], probe: &Probe) -> Option<u64> {
    let mut look = Look { after: probe.after, result: probe.result, value: None };
    let ctx = ctx.iter().flat_map(|v| v.to_le_bytes()).collect();
    interp.run_traced(&Input { ctx, ..Input::default() }, &mut look);
    look.value
}

fn program(insns: &[RawInsn]) -> Program {
    let mut program = Program::bare("counterexample", ProgType::Syscall, insns.to_vec());
    program.flags.sleepable = true;
    program
}

fn text(insns: &[RawInsn]) -> String {
    let mut out = String::new();
    let mut i = 0;
    while i < insns.len() {
        out.push_str(&insn_text(insns, i as u32).unwrap_or_default());
        out.push('\n');
        i += if insns[i].is_ld_imm64() { 2 } else { 1 };
    }
    out
}

fn alu(op: AluOp, width: Width, dst: Reg, src: Operand) -> Insn {
    Insn::Alu { op, width, dst, src }
}

fn load(dst: Reg, off: i16) -> Insn {
    Insn::Load { size: Size::Dw, sign_extend: false, dst, src: Reg::R1, off }
}

fn jump_over(cond: Cond, width: Width, dst: Reg, src: Operand, off: i16) -> Insn {
    Insn::CondJump { cond, width, dst, src, off }
}

fn encoded(insns: &[Insn]) -> Vec<RawInsn> {
    insns.iter().map(encode).flat_map(|(first, second)| [Some(first), second]).flatten().collect()
}

/// Both operands are read, then `body` runs, then r6 or r7 is returned.
fn reading(body: &[Insn], result: Reg) -> Vec<RawInsn> {
    let mut all = vec![load(A, 0), load(B, 8)];
    all.extend(body);
    all.push(alu(AluOp::Mov, Width::W64, Reg::R0, Operand::Reg(result)));
    all.push(Insn::Exit);
    encoded(&all)
}

/// One instruction that stands third; its operands are r6 and r7 before it, its result r6 behind it.
fn single(insn: Insn) -> Probe {
    Probe { insns: reading(&[insn], A), operands: 2, after: 3, result: A }
}

/// What is compared with or divided by, where that is a constant: near it there are corners on either side, signed or not.
const CONSTANTS: [i32; 5] = [8, 7, -1, -3, 0];

fn probe(concrete: Concrete, constant: i32) -> Probe {
    match concrete {
        Concrete::Act { act, .. } => probe_act(act, constant),
        Concrete::Jump { cond, width, taken, .. } => {
            let mut insns = encoded(&[load(A, 0), load(B, 8)]);
            let zero = alu(AluOp::Mov, Width::W64, Reg::R0, Operand::Imm(0));
            let result = alu(AluOp::Mov, Width::W64, Reg::R0, Operand::Reg(A));
            let (first, second) = if taken { (zero, result) } else { (result, zero) };
            let jump = jump_over(cond, width, A, Operand::Reg(B), 2);
            insns.extend(encoded(&[jump, first, Insn::Exit, second, Insn::Exit]));
            Probe { insns, operands: 2, after: if taken { 5 } else { 3 }, result: A }
        }
        Concrete::JumpByConstant { cond, width, taken } => {
            let mov = alu(AluOp::Mov, Width::W64, B, Operand::Imm(constant));
            let inner = probe(Concrete::Jump { cond, width, taken, bits: false }, constant);
            let mut insns = inner.insns;
            insns.splice(2..2, encoded(&[mov]));
            Probe { insns, operands: inner.operands + 1, after: inner.after + 1, ..inner }
        }
        Concrete::DecidedAlone { cond, width } => {
            // Where the weakened answer says that no path comes.
            let taken = matches!(cond, Cond::Ge | Cond::Le | Cond::Sge | Cond::Sle | Cond::Eq);
            let inner = probe(Concrete::Jump { cond, width, taken, bits: false }, constant);
            let mut insns = inner.insns;
            insns.splice(2..3, encoded(&[jump_over(cond, width, A, Operand::Reg(A), 2)]));
            Probe { insns, ..inner }
        }
        Concrete::Decided { cond, width } => Probe {
            after: 3,
            ..probe(Concrete::Jump { cond, width, taken: false, bits: false }, constant)
        },
        Concrete::Covers => {
            // Up to 7 one way, from 8 on the other; both ways come to the last move.
            let body = [
                jump_over(Cond::Gt, Width::W64, A, Operand::Imm(7), 1),
                alu(AluOp::Mov, Width::W64, Reg::R2, Operand::Imm(0)),
            ];
            Probe { insns: reading(&body, A), operands: 4, after: 4, result: A }
        }
    }
}

fn probe_act(act: Act, constant: i32) -> Probe {
    let mov = |width, src| alu(AluOp::Mov, width, A, src);
    match act {
        // Bounds are exchanged where something was learnt: behind a jump.
        Act::Step(Step::SingleValue) => single(mov(Width::W64, Operand::Reg(A))),
        Act::Step(_) => single(jump_over(Cond::Ne, Width::W64, A, Operand::Imm(0), 0)),
        Act::Alu(op, width) if act.takes_constant() => {
            let body = [
                alu(AluOp::Mov, Width::W64, B, Operand::Imm(constant)),
                alu(op, width, A, Operand::Reg(B)),
            ];
            Probe { insns: reading(&body, A), operands: 3, after: 4, result: A }
        }
        Act::Alu(op, width) => single(alu(op, width, A, Operand::Reg(B))),
        Act::Shift(op, width, n) => single(alu(op, width, A, Operand::Imm(n as i32))),
        Act::Neg => single(Insn::Neg { width: Width::W64, dst: A }),
        Act::Swap(kind, bits) => single(Insn::Swap { kind, bits, dst: A }),
        Act::Cut(4) | Act::Zext => single(mov(Width::W32, Operand::Reg(A))),
        Act::Cut(bytes) => {
            let mask = Operand::Imm((1 << (bytes * 8)) - 1);
            single(alu(AluOp::And, Width::W64, A, mask))
        }
        Act::Sx(width, from) => single(Insn::MovSx { width, from, dst: A, src: A }),
        Act::Follow { .. } => {
            let body = [
                alu(AluOp::Mov, Width::W64, Reg::R8, Operand::Reg(A)),
                alu(AluOp::Add, Width::W64, Reg::R8, Operand::Imm(1)),
                alu(AluOp::Mov, Width::W64, B, Operand::Imm(1)),
                jump_over(Cond::Le, Width::W64, A, Operand::Imm(7), 2),
                alu(AluOp::Mov, Width::W64, Reg::R0, Operand::Imm(0)),
                Insn::Exit,
                // Both are alive where they are looked at.
                alu(AluOp::Add, Width::W64, A, Operand::Reg(B)),
            ];
            Probe { insns: reading(&body, Reg::R8), operands: 8, after: 8, result: Reg::R8 }
        }
        Act::Known => {
            let body =
                [alu(AluOp::Mov, Width::W64, B, Operand::Imm(5)), mov(Width::W64, Operand::Reg(B))];
            Probe { insns: reading(&body, A), operands: 3, after: 4, result: A }
        }
        Act::KnownLow => {
            let body = [
                Insn::LoadImm64 { dst: B, value: bpfassay_isa::Imm64::Const(0xffff_ffff) },
                alu(AluOp::Or, Width::W64, A, Operand::Reg(B)),
            ];
            Probe { insns: reading(&body, A), operands: 4, after: 5, result: A }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::rows;

    #[test]
    fn each_weakened_operation_has_a_counterexample() {
        for row in rows("") {
            let found = counterexample(row.full.concrete, row.full.release);
            assert!(matches!(found, Ok(Some(_))), "{}: {found:?}", row.full.name);
        }
    }
}
