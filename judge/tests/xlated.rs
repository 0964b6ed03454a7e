//! Rewritten programs of the corpus against what kernels showed of them (`BPF_OBJ_GET_INFO_BY_FD`, root, 29 November
//! 2026): 6.18.44 on x86-64, the others in VMs.
//!
//! A line of `xlated/*.txt` has object, program, slots, and the FNV-1a hash of all slots: bytes in memory order
//! with the numbers of the boot zeroed (of maps, distances of calls, addresses), each followed by the symbol called.

use std::path::Path;

use bpfassay_isa::opcode::{PSEUDO_MAP_FD, PSEUDO_MAP_VALUE};
use bpfassay_judge::Target;
use bpfassay_verifier::rewrite::{verify_and_rewrite, Slot};

fn fnv(hash: u64, bytes: &[u8]) -> u64 {
    bytes.iter().fold(hash, |h, b| (h ^ u64::from(*b)).wrapping_mul(0x0100_0000_01b3))
}

fn hash(slots: &[Slot]) -> u64 {
    let mut h = 0xcbf2_9ce4_8422_2325;
    for slot in slots {
        let mut insn = slot.insn;
        if insn.is_ld_imm64() && matches!(insn.src, PSEUDO_MAP_FD | PSEUDO_MAP_VALUE) {
            insn.imm = 0;
        }
        h = fnv(h, &insn.to_le_bytes());
        if insn.is_call() {
            h = fnv(h, slot.symbol.as_deref().unwrap_or("").as_bytes());
        }
    }
    h
}

/// Compares every program of the file; what is not known of that kernel is `unknown` programs.
fn compare(kernel: &str, answers: &str, unknown: usize) {
    let target = Target::served(kernel).expect("a whole build").expect("a served build");
    let config = target.config();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../corpus/objects/v3");
    let (mut count, mut unsupported, mut wrong) = (0, 0, Vec::new());
    for line in answers.lines().filter(|l| !l.starts_with('#')) {
        let words: Vec<&str> = line.split(' ').collect();
        let [object, program, slots, expected] = words[..] else { panic!("{line}") };
        let bytes = std::fs::read(folder.join(format!("{object}.o"))).expect("an object");
        let entries = target.load(&bytes, object).expect("a readable object");
        let entry = entries.iter().find(|e| e.name == program).expect("the program");
        let (_, rewritten) = verify_and_rewrite(entry.ok().expect("it loads"), &config);
        let ours = rewritten.map(|s| format!("{} {:016x}", s.len(), hash(&s)));
        if ours.is_err() {
            unsupported += 1;
        }
        if ours.is_ok() && ours != Ok(format!("{slots} {expected}")) || unsupported > unknown {
            wrong.push(format!("{object} {program}: {ours:?}, kernel {slots} {expected}"));
        }
        count += 1;
    }
    assert!(
        wrong.is_empty() && unsupported == unknown && count > 180,
        "{kernel}: {} of {count}\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

#[test]
fn programs_are_rewritten_as_6_18_44_does() {
    compare("6.18.44", include_str!("xlated/6.18.44.txt"), 0);
}

#[test]
fn programs_are_rewritten_as_6_1_192_does() {
    compare("6.1", include_str!("xlated/6.1.192.txt"), 4);
}

#[test]
fn programs_are_rewritten_as_6_12_118_does() {
    compare("6.12", include_str!("xlated/6.12.118.txt"), 0);
}

#[test]
fn programs_are_rewritten_as_7_3_4_does() {
    compare("7.3", include_str!("xlated/7.3.4.txt"), 0);
}

#[test]
fn programs_are_rewritten_as_arm64_does() {
    compare("6.1-arm64", include_str!("xlated/6.1.192-arm64.txt"), 4);
    compare("6.12-arm64", include_str!("xlated/6.12.118-arm64.txt"), 0);
    compare("6.18.15-arm64", include_str!("xlated/6.18.15-arm64.txt"), 0);
    compare("7.3-arm64", include_str!("xlated/7.3.4-arm64.txt"), 0);
}

/// Spills around a call that the JIT writes inline go on arm64 too, as the kernel's own test of it expects
/// (`canary_arm64_riscv64` of verifier_bpf_fastcall.c): the call stays, and nothing is left of spill and fill.
#[test]
fn spills_around_inlined_calls_go_on_arm64() {
    use bpfassay_isa::RawInsn;
    use bpfassay_object::model::Program;
    use bpfassay_spec::ProgType;

    let raw = |code, dst, src, off, imm| RawInsn { code, dst, src, off, imm };
    let insns = vec![
        raw(0xb7, 1, 0, 0, 1),
        raw(0x7b, 10, 1, -16, 0),
        raw(0x85, 0, 0, 0, 8),
        raw(0x79, 1, 10, -16, 0),
        raw(0x95, 0, 0, 0, 0),
    ];
    let program = Program::bare("p", ProgType::RawTracepoint, insns.clone());
    let target = Target::served("6.18.15-arm64").expect("a whole build").expect("a served build");
    let (_, rewritten) = verify_and_rewrite(&program, &target.config());
    let rewritten = rewritten.expect("rewritten");
    let left: Vec<RawInsn> = rewritten.iter().map(|s| s.insn).collect();
    assert_eq!(left, [insns[0], insns[2], insns[4]]);
}
