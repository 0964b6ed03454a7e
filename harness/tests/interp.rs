//! Traps and limits of the interpreter, and no panic on any program.

use bpfassay_harness::engine::{Input, Instance, TrapKind};
use bpfassay_harness::raw::RawInterp;
use bpfassay_harness::runtime::memory::FaultKind;
use bpfassay_isa::asm::{assemble, NoNames};
use bpfassay_isa::RawInsn;
use proptest::prelude::*;

fn trap(text: &str, memory: &[u8]) -> (TrapKind, usize) {
    let insns = assemble(text, &NoNames).unwrap();
    let input = Input { data: memory.to_vec(), ..Input::default() };
    let trap = RawInterp::new(&insns).run(&input).trap.expect("a trap");
    (trap.kind, trap.insn_idx)
}

fn fault(text: &str, memory: &[u8]) -> FaultKind {
    match trap(text, memory).0 {
        TrapKind::Memory(f) => f.why,
        other => panic!("{other:?}"),
    }
}

#[test]
fn memory_traps_name_what_was_touched() {
    assert_eq!(fault("r0 = *(u8 *)(r1 +0)\nexit", b""), FaultKind::Null);
    assert_eq!(fault("r2 = 5000\nr0 = *(u8 *)(r2 +0)\nexit", b""), FaultKind::NoRegion);
    let FaultKind::OutOfBounds { off: 1, size: 4, .. } =
        fault("r0 = *(u32 *)(r1 +1)\nexit", b"abcd")
    else {
        panic!()
    };
    let FaultKind::OutOfBounds { off: -1, .. } = fault("*(u8 *)(r1 -1) = 0\nexit", b"abcd") else {
        panic!()
    };
    let FaultKind::OutOfBounds { off: 512, size: 512, .. } =
        fault("*(u8 *)(r10 +0) = 0\nexit", b"")
    else {
        panic!()
    };
    assert!(matches!(
        fault("r2 = 0xffff800000000008\n*(u8 *)(r2 +0) = 0\nexit", b""),
        FaultKind::Opaque { .. } | FaultKind::NoRegion
    ));
}

#[test]
fn control_traps() {
    assert_eq!(trap("r0 = 0", b""), (TrapKind::OutOfProgram, 1));
    assert_eq!(trap("goto pc-2\nexit", b"").0, TrapKind::OutOfProgram);
    assert_eq!(trap("loop:\ngoto loop", b""), (TrapKind::OutOfFuel, 0));
    // Eight frames exist; the entry function has the first.
    let chain = |calls: i32| {
        let text = format!("r6 = {calls}\ncall f\nexit\nf:\nif r1 == 0x0 goto out\nr1 -= 1\ncall f\nout:\nr0 = 0\nexit");
        format!("r1 = {}\n{text}", calls - 1)
    };
    let run = |n| RawInterp::new(&assemble(&chain(n), &NoNames).unwrap()).run(&Input::default());
    assert_eq!(run(7).trap, None);
    assert_eq!(run(8).trap.map(|t| t.kind), Some(TrapKind::TooManyFrames));
}

#[test]
fn callee_saved_registers_and_stacks_are_each_functions_own() {
    let text = "r6 = 1\nr7 = 2\n*(u64 *)(r10 -8) = 3\ncall f\nr0 = r6\nr0 += r7\nr1 = *(u64 *)(r10 -8)\nr0 += r1\nexit\nf:\nr6 = 50\nr7 = 60\n*(u64 *)(r10 -8) = 70\nexit";
    let out = RawInterp::new(&assemble(text, &NoNames).unwrap()).run(&Input::default());
    assert_eq!((out.r0, out.trap), (6, None));
}

/// Programs near enough to valid ones to get somewhere.
fn insn() -> impl Strategy<Value = RawInsn> {
    let rows = bpfassay_isa::opcode::table().len();
    (0..rows, 0..12u8, 0..12u8, -6..6i16, prop_oneof![-40..40i32, any::<i32>()]).prop_map(
        |(i, dst, src, off, imm)| {
            use bpfassay_isa::opcode::{table, Field, Select};
            let row = &table()[i];
            let has = |f| row.form.has_operand(f);
            let mut raw = RawInsn {
                code: row.code,
                dst: if has(Field::Dst) { dst } else { 0 },
                src: if has(Field::Src) { src } else { 0 },
                off: if has(Field::Off) { off } else { 0 },
                imm: if has(Field::Imm) { imm } else { 0 },
            };
            match row.select {
                Select::Any => {}
                Select::Off(v) => raw.off = v,
                Select::Imm(v) => raw.imm = v,
                Select::Src(v) => raw.src = v,
            }
            raw
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(
        std::env::var("PROPTEST_CASES").ok().and_then(|v| v.parse().ok()).unwrap_or(20_000)
    ))]

    #[test]
    fn any_program_ends_in_a_value_or_a_trap(
        insns in proptest::collection::vec(insn(), 1..40),
        memory in proptest::collection::vec(any::<u8>(), 0..64),
    ) {
        let mut engine = RawInterp::new(&insns);
        engine.fuel = 2_000;
        let out = engine.run(&Input { data: memory, ..Input::default() });
        prop_assert!(out.insns <= 2_000);
        if let Some(trap) = out.trap {
            prop_assert!(trap.insn_idx <= insns.len() || matches!(trap.kind, TrapKind::OutOfProgram));
        }
    }
}
