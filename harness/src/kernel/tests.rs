//! Against the running kernel; where bpf() is not allowed each test says so and ends.

use std::sync::Arc;

use bpfassay_isa::RawInsn;
use bpfassay_object::model::{MapDef, Program};
use bpfassay_spec::{MapType, ProgType};

use super::{KernelError, LoadOptions, Session, TestRun, Verdict};

fn insn(code: u8, dst: u8, src: u8, off: i16, imm: i32) -> RawInsn {
    RawInsn { code, dst, src, off, imm }
}

fn program(insns: Vec<RawInsn>, maps: Vec<MapDef>) -> Program {
    Program {
        section: "tc".into(),
        maps: Arc::new(maps),
        ..Program::bare("hand_made", ProgType::SchedCls, insns)
    }
}

fn frozen_rodata(value: Vec<u8>) -> MapDef {
    MapDef {
        key_size: 4,
        value_size: 8,
        max_entries: 1,
        map_flags: MapDef::F_RDONLY_PROG,
        initial: Some(Arc::new(value)),
        frozen: true,
        ..MapDef::bare("t.rodata", ".rodata", MapType::Array)
    }
}

fn not_here(e: &KernelError) -> bool {
    let skip = matches!(e, KernelError::NotPermitted | KernelError::Unavailable);
    if skip {
        eprintln!("skipped: {e}");
    }
    skip
}

#[test]
fn accepted_program_has_statistics_and_runs() {
    // r0 = 7; exit
    let p = program(vec![insn(0xb7, 0, 0, 0, 7), insn(0x95, 0, 0, 0, 0)], vec![]);
    let (outcome, loaded) = match Session::new().load(&p, &LoadOptions::default()) {
        Err(e) if not_here(&e) => return,
        r => r.expect("load"),
    };
    assert_eq!((outcome.verdict, outcome.errno), (Verdict::Accepted, None));
    let stats = outcome.stats.expect("statistics");
    assert_eq!((stats.insns_processed, stats.stack_depth), (2, Some(0)));
    assert!(outcome.log.contains("0: (b7) r0 = 7"), "{}", outcome.log);
    let packet = [0u8; 64];
    let run = loaded
        .expect("loaded")
        .test_run(&TestRun { data: &packet, ..TestRun::default() })
        .expect("run");
    assert_eq!((run.retval, run.data_out.len()), (7, 64));
}

#[test]
fn rejection_carries_errno_and_message() {
    // exit without a return value
    let p = program(vec![insn(0x95, 0, 0, 0, 0)], vec![]);
    let outcome = match Session::new().judge(&p, &LoadOptions::default()) {
        Err(e) if not_here(&e) => return,
        r => r.expect("judge"),
    };
    assert_eq!((outcome.verdict, outcome.errno), (Verdict::Rejected, Some(libc::EACCES)));
    assert!(outcome.log.contains("R0 !read_ok"), "{}", outcome.log);
}

#[test]
fn contents_of_a_frozen_map_are_known_to_the_verifier() {
    // r1 = &rodata; r0 = *(u64 *)(r1 + 0); exit: the state after the load shows the constant.
    let p = program(
        vec![
            insn(0x18, 1, 2, 0, 0),
            insn(0, 0, 0, 0, 0),
            insn(0x79, 0, 1, 0, 0),
            insn(0x95, 0, 0, 0, 0),
        ],
        vec![frozen_rodata(vec![0x2a, 1])],
    );
    let outcome = match Session::new().judge(&p, &LoadOptions::default()) {
        Err(e) if not_here(&e) => return,
        r => r.expect("judge"),
    };
    assert_eq!(outcome.verdict, Verdict::Accepted, "{}", outcome.log);
    assert!(outcome.log.contains("R0=298"), "{}", outcome.log);
}

#[test]
fn a_log_larger_than_the_buffer_does_not_hide_the_verdict() {
    // Two thousand moves print more than the 4 KiB allowed.
    let mut insns = vec![insn(0xb7, 0, 0, 0, 1); 2000];
    insns.push(insn(0x95, 0, 0, 0, 0));
    let p = program(insns, vec![]);
    let options = LoadOptions { max_log: 4096, ..LoadOptions::default() };
    let outcome = match Session::new().judge(&p, &options) {
        Err(e) if not_here(&e) => return,
        r => r.expect("judge"),
    };
    assert_eq!(outcome.verdict, Verdict::Accepted);
    assert_eq!(outcome.log_level & super::LOG_LEVEL2, 0);
    assert_eq!(outcome.stats.map(|s| s.insns_processed), Some(2001));
}

#[test]
fn a_map_index_out_of_range_is_the_callers_fault() {
    let p =
        program(vec![insn(0x18, 1, 1, 0, 3), insn(0, 0, 0, 0, 0), insn(0x95, 0, 0, 0, 0)], vec![]);
    match Session::new().judge(&p, &LoadOptions::default()) {
        Err(KernelError::Program(why)) => assert!(why.contains('3'), "{why}"),
        other => panic!("{other:?}"),
    }
}
