//! Whole level-2 logs of generated scalar programs, as kernel 6.18.44 wrote them.
//!
//! A file holds the program, one slot per line in hexadecimal (bytes in memory order), an empty line,
//! and the log.

use std::path::PathBuf;

use bpfassay_diag::log::diff;
use bpfassay_isa::RawInsn;
use bpfassay_object::model::Program;
use bpfassay_spec::ProgType;
use bpfassay_verifier::log::LogLevel;
use bpfassay_verifier::{verify, Config};

fn program(name: &str, insns: Vec<RawInsn>) -> Program {
    Program { section: "tc".into(), ..Program::bare(name.to_string(), ProgType::SchedCls, insns) }
}

fn our_log(program: &Program, release: &str) -> String {
    let kernel = bpfassay_builds::kernel(release).expect("a known build");
    // Instructions and states of every path, and statistics.
    let config = Config { log_level: LogLevel(6), ..Config::new(&kernel) };
    verify(program, &config).log
}

fn recorded() -> Vec<(String, Program, String)> {
    let dir = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/scalar_logs");
    let mut all = Vec::new();
    for entry in std::fs::read_dir(dir).expect("the folder of recorded logs") {
        let path = entry.expect("a readable folder").path();
        if path.extension().is_none_or(|e| e != "txt") {
            continue;
        }
        let name = path.file_stem().and_then(|s| s.to_str()).expect("a name").to_string();
        let text = std::fs::read_to_string(&path).expect("a readable file");
        let (code, log) = text.split_once("\n\n").expect("program and log");
        let slot = |line: &str| {
            let v = u64::from_str_radix(line, 16).expect("sixteen hexadecimal digits");
            RawInsn::from_le_bytes(v.to_be_bytes())
        };
        let p = program(&name, code.lines().map(slot).collect());
        all.push((name, p, log.to_string()));
    }
    assert!(all.len() >= 20, "only {} recorded logs", all.len());
    all
}

#[test]
fn logs_are_the_running_kernels() {
    for (name, p, log) in recorded() {
        if let Some(d) = diff(&our_log(&p, "6.18.44"), &log) {
            panic!("{name}, line {}:\n  ours   {:?}\n  kernel {:?}", d.line, d.ours, d.kernels);
        }
    }
}

/// The recorded programs are chosen so that the features of the newer build decide most of them.
#[test]
fn the_older_build_answers_differently() {
    let all = recorded();
    let differ =
        all.iter().filter(|(_, p, log)| diff(&our_log(p, "6.18.15"), log).is_some()).count();
    assert!(differ * 2 > all.len(), "{differ} of {}", all.len());
}

/// 6.18.44 says that R6 is 0xffffffff where a run has 0; the log is recorded beside the others.
#[test]
fn a_fill_that_extends_the_sign_is_linked_wrongly_and_that_has_a_name() {
    let (_, p, _) = recorded().into_iter().find(|(n, ..)| n == "sx_fill").expect("the program");
    let quirk = |release: &str| {
        let kernel = bpfassay_builds::kernel(release).expect("a known build");
        verify(&p, &Config::new(&kernel)).quirk
    };
    assert_eq!(quirk("6.18.44"), Some("sign-extending-fill-keeps-link"));
    assert_eq!(quirk("6.18.15"), Some("sign-extending-fill-keeps-link"));
}
