//! Compiled code on this processor: against the interpreter on random programs, and what happens on faults.
#![allow(unsafe_code)]
// Most of it is about faults, which are caught on Linux only.
#![cfg_attr(not(target_os = "linux"), allow(unused_imports))]

use bpfassay_harness::engine::{Input, Instance, TrapKind};
use bpfassay_harness::engines::native::RawNative;
use bpfassay_harness::gen::loaded;
use bpfassay_harness::native::machine::{Facts, Machine};
use bpfassay_harness::native::IS_AVAILABLE;
use bpfassay_harness::oracle::native::{self, Case};
use bpfassay_harness::raw::RawInterp;
use bpfassay_harness::runtime::helpers::HelperSet;
use bpfassay_harness::runtime::memory::Memory;
use bpfassay_harness::runtime::world::World;
use bpfassay_harness::runtime::Runtime;
use bpfassay_isa::asm::{assemble, NoNames};
use bpfassay_isa::RawInsn;
use bpfassay_jit::Access;

fn asm(text: &str) -> Vec<RawInsn> {
    assemble(text, &NoNames).expect("assembles")
}

#[test]
fn interpreter_and_native_code_agree_on_random_programs() {
    if !IS_AVAILABLE {
        return;
    }
    let mut written = [0; loaded::PROGRAMS as usize];
    for seed in 0..2000 {
        // SAFETY: generated programs stay within their memory.
        match unsafe { native::agree(seed) } {
            Ok(answer) => {
                for (map, n) in written.iter_mut().enumerate() {
                    *n += u32::from(answer.has_written(map));
                }
            }
            Err(why) => panic!("seed {seed}: {why}"),
        }
    }
    // Half of the programs have maps, and use them.
    let [array, hash, percpu, _, _, data] = written;
    for n in [array, hash, percpu, data] {
        assert!(n > 100, "{written:?}");
    }
}

/// Runs bare instructions that reach no memory; r0.
fn r0(text: &str) -> u64 {
    // SAFETY: the programs here touch registers only.
    let mut engine = unsafe { RawNative::new(&asm(text), None) }.expect("compiles");
    let out = engine.run(&Input { repeat: 3, ..Input::default() });
    assert_eq!(out.trap, None, "{text}");
    out.r0
}

#[test]
fn jumps_to_the_end_of_a_loop_count_as_the_end_itself() {
    if !IS_AVAILABLE {
        return;
    }
    // A switch in a loop: three ways back to what counts, one of them the way through; the end
    // comes before the body, and behind it.
    let before = "r0 = 0\nr1 = 0\nr3 = 0\ngoto +5\n\
                  r0 += 7\nr1 += 1\nr3 ^= r1\nif r1 != 100 goto +1\ngoto +12\n\
                  r2 = r1\nr2 &= 3\nif r2 == 1 goto +3\nif r2 == 2 goto +4\nif r2 == 3 goto +5\ngoto -11\n\
                  r0 += 1000\ngoto -13\nr0 <<= 1\ngoto -15\nr0 -= 1\ngoto -17\n\
                  r0 ^= r3\nexit";
    let behind = "r0 = 0\nr1 = 0\nr3 = 0\n\
                  r2 = r1\nr2 &= 3\nif r2 == 1 goto +3\nif r2 == 2 goto +4\nif r2 == 3 goto +5\ngoto +6\n\
                  r0 += 1000\ngoto +4\nr0 <<= 1\ngoto +2\nr0 -= 1\ngoto +0\n\
                  r0 += 7\nr1 += 1\nr3 ^= r1\nif r1 != 100 goto -16\n\
                  r0 ^= r3\nexit";
    let (mut sum, mut xor) = (0u64, 0u64);
    for i in 0..100u64 {
        match i & 3 {
            1 => sum += 1000,
            2 => sum <<= 1,
            3 => sum = sum.wrapping_sub(1),
            _ => {}
        }
        sum = sum.wrapping_add(7);
        xor ^= i + 1;
    }
    assert_eq!(r0(before), sum ^ xor);
    assert_eq!(r0(behind), sum ^ xor);
}

/// A test is left out where the flags still tell: not where something has written between.
#[test]
fn flags_outlive_moves_of_other_registers_only() {
    if !IS_AVAILABLE {
        return;
    }
    for (between, taken) in [
        ("r3 = r2", true),
        ("r3 = 5", true),
        ("r3 = 0", true),
        ("r3 = -1", true),
        ("w3 = -1", true),
        ("r1 = -1", false),
        ("r1 = r2", false),
        ("r1 = 5", false),
        ("r3 = (s8)r2", true),
        ("r1 = (s8)r2", false),
        ("r3 = r2\nr3 += r4", true),
        ("r3 *= 3", true),
        ("r3 ^= 1", true),
    ] {
        for first in ["r1 -= 1", "r1 &= 2", "r1 ^= 1"] {
            let text = format!(
                "r1 = 1\nr2 = 9\nr4 = 4\nr3 = 3\nr0 = 0\n{first}\n{between}\n\
                 if r1 == 0 goto +1\ngoto +1\nr0 = 1\nr0 += r3\nr0 -= r3\nr1 += r1\nexit"
            );
            assert_eq!(r0(&text), u64::from(taken), "{text}");
        }
        let text = format!(
            "r1 = 1\nr2 = 9\nr4 = 4\nr3 = 3\nr0 = 0\nif r1 > 5 goto +{n}\n{between}\n\
             if r1 > 5 goto +1\nr0 = 1\nr0 += r3\nr0 -= r3\nr1 += r1\nexit",
            n = between.lines().count() + 1
        );
        assert_eq!(r0(&text), u64::from(taken || between == "r1 = 5"), "{text}");
    }
}

#[test]
fn answers_that_differ_have_other_digests() {
    let of = |seed| Case::new(seed).interpret().expect("runs");
    let mut seen: Vec<u64> = (0..500).map(|seed| of(seed).digest()).collect();
    assert_eq!(of(77).digest(), seen[77]);
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen.len(), 500);
}

#[cfg(target_os = "linux")]
#[test]
fn an_access_nobody_expected_ends_the_run_and_names_its_instruction() {
    if !IS_AVAILABLE {
        return;
    }
    let insns = asm("r6 = 16\nr0 = 1\n*(u64 *)(r6 +8) = r0\nexit");
    // SAFETY: the store faults, as nothing is mapped in the null page.
    let mut native = unsafe { RawNative::new(&insns, None) }.expect("compiles");
    let trap = native.run(&Input::default()).trap.expect("a trap");
    assert_eq!(trap.insn_idx, 2);
    let TrapKind::Memory(fault) = trap.kind else { panic!("{trap}") };
    assert_eq!(fault.addr, 24);
    // The machine can be entered again.
    let again = native.run(&Input::default()).trap.expect("a trap");
    assert_eq!(again.insn_idx, 2);
}

#[cfg(target_os = "linux")]
#[test]
fn a_load_that_may_fault_reads_as_zero() {
    if !IS_AVAILABLE {
        return;
    }
    let insns = asm(
        "r6 = 16\nr7 = 5\nr7 = *(u32 *)(r6 +8)\nr0 = 7\nr1 = *(u64 *)(r6 +0)\nr0 += r7\nr0 += r1\nexit",
    );
    let mut access = vec![Access::Plain; insns.len()];
    (access[2], access[4]) = (Access::Probe, Access::Probe);
    let facts = Facts { access, ..Facts::default() };
    // SAFETY: no helper is called.
    let mem = unsafe { Memory::native() };
    let mut rt = Runtime::in_memory(mem, World::seeded(0), HelperSet::Conformance);
    let mut machine = Machine::new(&insns, &facts, &rt, None).expect("compiles");
    // SAFETY: the loads fault, which is what is tried.
    let r0 = unsafe { machine.run(&mut rt, [0, 0]) }.expect("no trap");
    assert_eq!(r0, 7);
}

/// What this host's code and the interpreter give for bare instructions.
fn both(text: &str) -> (u64, u64) {
    let insns = asm(text);
    let checked = RawInterp::new(&insns).run(&Input::default());
    assert_eq!(checked.trap, None, "{text}");
    // SAFETY: the checking interpreter has run the same instructions to the end.
    let mut native = unsafe { RawNative::new(&insns, None) }.expect("compiles");
    let out = native.run(&Input::default());
    assert_eq!(out.trap, None, "{text}");
    (checked.r0, out.r0)
}

#[test]
fn a_jump_to_a_functions_first_instruction_enters_it_once() {
    if !IS_AVAILABLE {
        return;
    }
    // Were the prologue run again, the caller's r6 and frame would be lost.
    let text = "r6 = 100\nr1 = 5\ncall pc+2\nr0 += r6\nexit\n\
                r1 += -1\nr6 = r1\n*(u64 *)(r10 -8) = r1\nif r1 != 0 goto pc-4\nr0 = 7\nexit";
    assert_eq!(both(text), (107, 107));
}

#[test]
fn every_function_has_a_may_goto_budget_of_its_own() {
    if !IS_AVAILABLE {
        return;
    }
    // Both loops go until the budget ends; the caller's is not what the callee left over.
    let text = "r6 = 0\ncall pc+5\nr6 += 1\nmay_goto pc+1\ngoto pc-3\nr0 += r6\nexit\n\
                r0 = 0\nr0 += 1\nmay_goto pc+1\ngoto pc-3\nexit";
    let each = 8 * 1024 * 1024 + 1;
    assert_eq!(both(text), (2 * each, 2 * each));
}
