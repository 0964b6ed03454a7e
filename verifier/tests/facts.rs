//! Single facts of the tables, as verdicts of programs of a few instructions: exit values, packet access, sleeping, legacy
//! loads, which helper takes which map, what a lookup gives, which helpers move the packet, references, limits; what
//! may be attached to, what tracepoints and iterators hand over, which struct_ops members exist.
//!
//! The recorded files say what kernels answered; a row deleted from `spec/data` fails here.

use std::sync::Arc;

use bpfassay_builds::Build;
use bpfassay_isa::RawInsn;
use bpfassay_object::btf::{Btf, BtfKind};
use bpfassay_object::model::{AttachTarget, KernelBtfRef, MapDef, ProgFlags, Program};
use bpfassay_spec::{AttachType, Kernel, MapType, ProgType};
use bpfassay_verifier::log::LogLevel;
use bpfassay_verifier::{verify, Config, Verdict};

fn insns(hex: &str) -> Vec<RawInsn> {
    let byte = |i: usize| u8::from_str_radix(&hex[2 * i..2 * i + 2], 16).expect("hexadecimal");
    let bytes: Vec<u8> = (0..hex.len() / 2).map(byte).collect();
    bytes.chunks_exact(8).map(|c| RawInsn::from_le_bytes(c.try_into().expect("a slot"))).collect()
}

fn map(text: &str) -> MapDef {
    let words: Vec<&str> = text.split(':').collect();
    let number = |i: usize| words[i].parse().expect("a number");
    MapDef {
        key_size: number(1),
        value_size: number(2),
        max_entries: number(3),
        map_flags: number(4),
        ..MapDef::bare("", "", MapType::from_name(words[0]).expect("a map type"))
    }
}

/// A program loaded with one map, or none (`-`).
fn with_map(head: &str, with: &str, _: &Btf) -> Program {
    let words: Vec<&str> = head.split(' ').collect();
    let mut program = program(words[0], words[1], words[2], words[3]);
    if with != "-" {
        program.maps = Arc::new(vec![map(with)]);
    }
    program
}

/// A program attached to a type of the kernel's BTF.
fn with_target(head: &str, target: &str, btf: &Btf) -> Program {
    let words: Vec<&str> = head.split(' ').collect();
    let mut program = program(words[0], words[1], words[2], words[4]);
    let kind = match words[3] {
        "func" => BtfKind::Func,
        "typedef" => BtfKind::Typedef,
        "struct" => BtfKind::Struct,
        other => panic!("kind {other}"),
    };
    let mut member = None;
    if program.prog_type == ProgType::StructOps {
        program.expected_attach_type = None;
        member = words[1].parse().ok();
    }
    program.btfs = vec![KernelBtfRef::Vmlinux];
    let btf_id = btf.find_by_name_kind(target, kind).expect("a type of the kernel");
    program.attach_target =
        Some(AttachTarget { name: target.to_string(), btf_id, btf: 0, member, program: None });
    program
}

fn program(prog_type: &str, attach: &str, flags: &str, code: &str) -> Program {
    let number = |text: &str| text.parse::<u32>().expect("a number");
    let prog_type = ProgType::from_name(prog_type).expect("a program type");
    Program {
        expected_attach_type: AttachType::from_number(number(attach)),
        license: "GPL".to_string(),
        flags: ProgFlags { sleepable: number(flags) & 16 != 0, ..ProgFlags::default() },
        ..Program::bare("fact", prog_type, insns(code))
    }
}

/// The last line before the counters, empty for an accepted program.
fn last_message(log: &str) -> &str {
    let end = log.rfind("processed ").unwrap_or(log.len());
    log[..end].lines().rfind(|l| !l.is_empty()).unwrap_or("")
}

fn kernel(release: &str) -> (Kernel, Arc<Btf>) {
    let build = Build::find(release).expect("a served build");
    let bytes = build.vmlinux().expect("the BTF");
    let btf = Arc::new(Btf::parse(&bytes, None).expect("a kernel's BTF"));
    (build.kernel().expect("a whole build"), btf)
}

/// Compares every row of a recorded file; how many there are.
fn check(release: &str, recorded: &str, make: fn(&str, &str, &Btf) -> Program) -> usize {
    let (kernel, btf) = kernel(release);
    let mut config = Config { log_level: LogLevel(1), ..Config::new(&kernel) };
    config.vmlinux = Some(btf.clone());
    let (mut head, mut count, mut wrong) = ("", 0, Vec::new());
    for line in recorded.lines().filter(|l| !l.starts_with('#')) {
        let Some(row) = line.strip_prefix("  ") else {
            head = line;
            continue;
        };
        let mut words = row.splitn(3, ' ');
        let (with, errno) = (words.next().expect("a name"), words.next().expect("an errno"));
        let message = words.next().unwrap_or("");
        let report = verify(&make(head, with, &btf), &config);
        let ours = match report.verdict {
            Verdict::Accepted => ("0".to_string(), ""),
            Verdict::Rejected(e) => (e.0.to_string(), last_message(&report.log)),
            ref other => (format!("{other:?}"), ""),
        };
        if ours != (errno.to_string(), message) {
            wrong.push(format!("{head} {with}\n  ours   {ours:?}\n  kernel {errno} {message}"));
        }
        count += 1;
    }
    assert!(wrong.is_empty(), "{release}: {} of {count}\n{}", wrong.len(), wrong.join("\n"));
    count
}

#[test]
fn verdicts_are_those_of_6_18_44() {
    assert!(check("6.18.44", include_str!("facts.txt"), with_map) > 800);
}

#[test]
fn verdicts_are_those_of_6_18_15() {
    assert!(check("6.18.15", include_str!("facts.txt"), with_map) > 800);
}

#[test]
fn targets_are_those_of_6_18_15() {
    assert!(check("6.18.15", include_str!("targets.txt"), with_target) > 600);
}
