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
    for seed in 0..3000 {
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
