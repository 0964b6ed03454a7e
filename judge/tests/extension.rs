//! Programs that replace a function of another program, or trace one, held against what kernels answered (Debian's,
//! in virtual machines, 29 November 2026): errno, instructions processed and message.
//!
//! A line of `answers/extension.txt` has release, function of `data/target.c`, program of `data/extension.c`, errno,
//! instructions processed and the last line of the message.

mod answer;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use answer::answer;
use bpfassay_judge::{check, Options, ProgramReport, Target, VerdictWord};
use bpfassay_object::{AttachProgram, Opened, ProgramOverride};

fn bytes(name: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name);
    std::fs::read(path).expect("an object")
}

/// The answers for every program, each attached to this function: `PROGRAM` or `PROGRAM:FUNCTION`.
fn judged(release: &str, function: &str) -> Vec<ProgramReport> {
    let target = Target::served(release).expect("a whole build").expect("a served build");
    let (program, function) = match function.split_once(':') {
        Some((program, function)) => (program, Some(function.to_string())),
        None => (function, None),
    };
    let object = Arc::new(Opened::parse(&bytes("target.o"), "target.o").expect("readable"));
    let attach_program = Some(AttachProgram { object, program: program.to_string(), function });
    let to = ProgramOverride { attach_program, ..ProgramOverride::default() };
    let options = Options { program_overrides: vec![(None, to)], ..Options::default() };
    let report = check([("extension.o", bytes("extension.o").as_slice())], &target, &options);
    report.objects.into_iter().flat_map(|o| o.programs).collect()
}

#[test]
fn answers_are_those_of_the_kernels() {
    let mut known: BTreeMap<(&str, &str), Vec<ProgramReport>> = BTreeMap::new();
    let (mut differ, mut count) = (Vec::new(), 0);
    for row in include_str!("answers/extension.txt").lines().filter(|l| !l.starts_with('#')) {
        let mut parts = row.splitn(4, '\t');
        let [release, function, program, want] = [(); 4].map(|()| parts.next().expect("parts"));
        let programs =
            known.entry((release, function)).or_insert_with(|| judged(release, function));
        let found = programs.iter().find(|p| p.name == program).expect("the program");
        let got = answer(found);
        if got != want {
            differ.push(format!("{release} {function} {program}: kernel {want:?}, ours {got:?}"));
        }
        count += 1;
    }
    assert!(differ.is_empty() && count > 150, "{count} rows\n{}", differ.join("\n"));
}

/// Nobody gets a descriptor of a program that does not load.
#[test]
fn what_attaches_to_a_rejected_program_is_not_judged() {
    let target = Target::served("6.18.15").expect("a whole build").expect("a served build");
    let object = Arc::new(Opened::parse(&bytes("extension.o"), "extension.o").expect("readable"));
    let program = "beyond".to_string();
    let attach_program = Some(AttachProgram { object, program, function: None });
    let to = ProgramOverride { attach_program, ..ProgramOverride::default() };
    let options =
        Options { program_overrides: vec![(Some("same".to_string()), to)], ..Options::default() };
    let report = check([("extension.o", bytes("extension.o").as_slice())], &target, &options);
    let same = report.objects[0].programs.iter().find(|p| p.name == "same").expect("the program");
    assert_eq!(same.verdict, VerdictWord::Unsupported);
}
