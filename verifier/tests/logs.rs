//! Whole programs against level-2 logs recorded from 6.18.44.
//!
//! A file holds type, flags and verdict, the program in the kernel's disassembly syntax, and the log.

use std::fs;
use std::path::Path;

use bpfassay_isa::asm::{assemble, NoNames};
use bpfassay_object::model::{ProgFlags, Program};
use bpfassay_spec::ProgType;
use bpfassay_verifier::log::LogLevel;
use bpfassay_verifier::{verify, Config, Verdict};

fn program(head: &str, text: &str) -> Program {
    Program {
        section: "tc".into(),
        flags: ProgFlags {
            test_state_freq: head.contains("test_state_freq"),
            ..ProgFlags::default()
        },
        ..Program::bare(
            "recorded",
            ProgType::SchedCls,
            assemble(text, &NoNames).expect("program text"),
        )
    }
}

#[test]
fn logs_are_the_kernels() {
    let kernel = bpfassay_builds::kernel("6.18").expect("known kernel");
    let config = Config { log_level: LogLevel::LEVEL2, ..Config::new(&kernel) };
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/truth");
    let mut files: Vec<_> =
        fs::read_dir(dir).expect("truth").map(|e| e.expect("entry").path()).collect();
    files.sort();
    assert!(files.len() >= 10);
    for file in files {
        let case = fs::read_to_string(&file).expect("case");
        let (head, rest) = case.split_once('\n').expect("header");
        let (text, log) = rest.split_once("\n---\n").expect("log");
        let report = verify(&program(head, text), &config);
        assert_eq!(
            report.verdict == Verdict::Accepted,
            head.ends_with("accepted"),
            "{}",
            file.display()
        );
        for (i, (ours, kernels)) in report.log.lines().zip(log.lines()).enumerate() {
            assert_eq!(ours, kernels, "{} line {}", file.display(), i + 1);
        }
        assert_eq!(report.log.lines().count(), log.lines().count(), "{}", file.display());
    }
}
