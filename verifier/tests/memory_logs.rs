//! Verdicts and whole level-2 logs of generated programs that touch stack, map values, packets,
//! contexts and memory arguments, as kernel 6.18.44 gave them.
//!
//! A file holds cases that end in `====`: header lines (`type NAME ATTACH FLAGS`, `map TYPE KEY VALUE
//! ENTRIES FLAGS FROZEN CONTENTS`, `patch INSN MAP fd|value`, `errno N`), `code` in hexadecimal, the log.
//! Chosen from some 20,000 random programs so that every message appears at most twice.

use std::path::PathBuf;
use std::sync::Arc;

use bpfassay_diag::log::diff;
use bpfassay_isa::RawInsn;
use bpfassay_object::model::{MapDef, ProgFlags, Program};
use bpfassay_spec::{AttachType, MapType, ProgType};
use bpfassay_verifier::log::LogLevel;
use bpfassay_verifier::{verify, Config, Errno, Verdict};

struct Case {
    name: String,
    prog: Program,
    errno: i32,
    log: String,
}

fn bytes(hex: &str) -> Vec<u8> {
    let digits = |i: usize| u8::from_str_radix(&hex[2 * i..2 * i + 2], 16).expect("hexadecimal");
    (0..hex.len() / 2).map(digits).collect()
}

fn number(word: &str) -> u32 {
    word.parse().expect("a number")
}

fn map(words: &[&str]) -> MapDef {
    let contents = words[6];
    MapDef {
        key_size: number(words[1]),
        value_size: number(words[2]),
        max_entries: number(words[3]),
        map_flags: number(words[4]),
        initial: (contents != "-").then(|| Arc::new(bytes(contents))),
        frozen: words[5] == "1",
        ..MapDef::bare("", "", MapType::from_name(words[0]).expect("a map type"))
    }
}

fn program(prog_type: &str, attach: u32, flags: u32) -> Program {
    Program {
        expected_attach_type: AttachType::from_number(attach),
        flags: ProgFlags {
            strict_alignment: flags & 1 != 0,
            any_alignment: flags & 2 != 0,
            sleepable: flags & 16 != 0,
            ..ProgFlags::default()
        },
        ..Program::bare("", ProgType::from_name(prog_type).expect("a program type"), Vec::new())
    }
}

fn case(name: String, text: &str) -> Case {
    let (mut prog, mut maps, mut patches) = (program("xdp", 0, 0), Vec::new(), Vec::new());
    let mut errno = 0;
    let mut rest = text;
    loop {
        let (line, after) = rest.split_once('\n').expect("header lines before the log");
        rest = after;
        let words: Vec<&str> = line.split(' ').collect();
        match words[0] {
            "type" => prog = program(words[1], number(words[2]), number(words[3])),
            "map" => maps.push(map(&words[1..])),
            "patch" => {
                patches.push((number(words[1]) as usize, number(words[2]), words[3] == "value"))
            }
            "errno" => errno = number(words[1]) as i32,
            "code" => {
                let slots = bytes(words[1]);
                let slots = slots.chunks_exact(8).map(|c| c.try_into().expect("eight bytes"));
                prog.insns = slots.map(RawInsn::from_le_bytes).collect();
                break;
            }
            other => panic!("{name}: header {other}"),
        }
    }
    for (insn, index, is_value) in patches {
        prog.insns[insn].imm = index as i32;
        prog.insns[insn].src = if is_value { 2 } else { 1 };
    }
    prog.maps = Arc::new(maps);
    Case { name, prog, errno, log: rest.to_string() }
}

fn cases(file: &str) -> Vec<Case> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/memory_logs").join(file);
    let text = std::fs::read_to_string(path).expect("a readable file");
    let all: Vec<Case> = text
        .split("====\n")
        .filter(|t| !t.is_empty())
        .enumerate()
        .map(|(i, t)| case(format!("{file} case {i}"), t))
        .collect();
    assert!(all.len() >= 25, "only {} cases in {file}", all.len());
    all
}

fn check(file: &str) {
    let kernel = bpfassay_builds::kernel("6.18.44").expect("a known build");
    let config = Config { log_level: LogLevel::LEVEL2, ..Config::new(&kernel) };
    for c in cases(file) {
        let report = verify(&c.prog, &config);
        let want = match c.errno {
            0 => Verdict::Accepted,
            n => Verdict::Rejected(Errno(n)),
        };
        assert_eq!(report.verdict, want, "{}\n{}", c.name, report.log);
        if let Some(d) = diff(&report.log, &c.log) {
            let (name, line) = (c.name, d.line);
            panic!("{name}, line {line}:\n  ours   {:?}\n  kernel {:?}", d.ours, d.kernels);
        }
    }
}

#[test]
fn stack() {
    check("stack.txt");
}

#[test]
fn map_values() {
    check("map_value.txt");
}

#[test]
fn packets() {
    check("packet.txt");
}

#[test]
fn contexts() {
    check("context.txt");
}

#[test]
fn memory_arguments() {
    check("argument.txt");
}
