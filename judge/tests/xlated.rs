//! Rewritten programs of the corpus against what the running 6.18.44 showed of them
//! (`BPF_OBJ_GET_INFO_BY_FD`, x86-64, root, 29 November 2026).
//!
//! A line of `xlated/6.18.44.txt` has object, program, slots, and the FNV-1a hash of all slots: bytes in memory order
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

#[test]
fn programs_are_rewritten_as_6_18_44_does() {
    let target = Target::served("6.18.44").expect("a whole build").expect("a served build");
    let config = target.config();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../corpus/objects/v3");
    let (mut count, mut wrong) = (0, Vec::new());
    for line in include_str!("xlated/6.18.44.txt").lines().filter(|l| !l.starts_with('#')) {
        let words: Vec<&str> = line.split(' ').collect();
        let [object, program, slots, expected] = words[..] else { panic!("{line}") };
        let bytes = std::fs::read(folder.join(format!("{object}.o"))).expect("an object");
        let entries = target.load(&bytes, object).expect("a readable object");
        let entry = entries.iter().find(|e| e.name == program).expect("the program");
        let (_, rewritten) = verify_and_rewrite(entry.ok().expect("it loads"), &config);
        let ours = rewritten.map(|s| format!("{} {:016x}", s.len(), hash(&s)));
        if ours != Ok(format!("{slots} {expected}")) {
            wrong.push(format!("{object} {program}: {ours:?}, kernel {slots} {expected}"));
        }
        count += 1;
    }
    assert!(wrong.is_empty() && count > 180, "{} of {count}\n{}", wrong.len(), wrong.join("\n"));
}
