//! Whole level-2 logs of helper calls with fitting and unfitting arguments, as kernel 6.18.44 wrote them.
//!
//! The recorded file holds programs one after another: a head line (`=== type attach sleepable licence`), one slot
//! per line in hexadecimal (bytes in memory order), an empty line, and the log.  It was made by the `helper_args`
//! example of the harness, whose maps are repeated here.

use std::sync::Arc;

use bpfassay_diag::log::diff;
use bpfassay_isa::RawInsn;
use bpfassay_object::model::{MapDef, ProgFlags, Program};
use bpfassay_spec::{AttachType, MapType, ProgType};
use bpfassay_verifier::log::LogLevel;
use bpfassay_verifier::{verify, Config};

/// Type, key size, value size, entries; instructions name them by index.
const MAPS: &[(MapType, u32, u32, u32)] = &[
    (MapType::Array, 4, 64, 4),
    (MapType::Hash, 4, 8, 4),
    (MapType::Ringbuf, 0, 0, 4096),
    (MapType::PerfEventArray, 4, 4, 2),
    (MapType::ProgArray, 4, 4, 4),
    (MapType::StackTrace, 4, 1016, 4),
    (MapType::Queue, 0, 8, 4),
    (MapType::Sockmap, 4, 4, 4),
    (MapType::Sockhash, 4, 4, 4),
    (MapType::PercpuArray, 4, 8, 4),
    (MapType::BloomFilter, 0, 8, 4),
    (MapType::Devmap, 4, 4, 4),
    (MapType::UserRingbuf, 0, 0, 4096),
    (MapType::Cpumap, 4, 4, 4),
    (MapType::CgroupArray, 4, 4, 4),
    (MapType::PercpuHash, 4, 8, 4),
];

fn map(i: usize) -> MapDef {
    let (map_type, key_size, value_size, max_entries) = MAPS[i];
    MapDef {
        key_size,
        value_size,
        max_entries,
        ..MapDef::bare(&format!("m{i}"), &format!("m{i}"), map_type)
    }
}

fn program(head: &str, code: &str) -> Program {
    let words: Vec<&str> = head.split_whitespace().collect();
    let number = |i: usize| words[i].parse::<u32>().expect("a number");
    let slot = |line: &str| {
        let v = u64::from_str_radix(line, 16).expect("sixteen hexadecimal digits");
        RawInsn::from_le_bytes(v.to_be_bytes())
    };
    Program {
        section: "x".into(),
        expected_attach_type: AttachType::from_number(number(1)).filter(|_| number(1) != 0),
        license: words[3].to_string(),
        maps: Arc::new((0..MAPS.len()).map(map).collect()),
        flags: ProgFlags { sleepable: number(2) != 0, ..ProgFlags::default() },
        ..Program::bare(
            "helper",
            ProgType::from_number(number(0)).expect("a program type"),
            code.lines().map(slot).collect(),
        )
    }
}

#[test]
fn logs_are_the_running_kernels() {
    let kernel = bpfassay_builds::kernel("6.18.44").expect("a known build");
    let config = Config { log_level: LogLevel(6), ..Config::new(&kernel) };
    let recorded = include_str!("helper_logs.txt");
    let mut count = 0;
    for case in recorded.split("=== ").skip(1) {
        let (head, rest) = case.split_once('\n').expect("a head line");
        let (code, log) = rest.split_once("\n\n").expect("program and log");
        let ours = verify(&program(head, code), &config).log;
        if let Some(d) = diff(&ours, log) {
            panic!("{head}, line {}:\n  ours   {:?}\n  kernel {:?}", d.line, d.ours, d.kernels);
        }
        count += 1;
    }
    assert!(count >= 40, "only {count} recorded logs");
}
