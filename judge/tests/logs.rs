//! Logs of level 2 on 7.2.13 and 7.3.4, line by line against what those kernels wrote of programs of the corpus
//! (Debian's, in virtual machines, loaded through libbpf on 29 November 2026): stack use, halves of registers,
//! and the reports of rejections.

use bpfassay_diag::log::diff;
use bpfassay_judge::{Options, Target};
use bpfassay_verifier::log::LogLevel;

/// Compares every log under its heading, `==== OBJECT PROGRAM`.
fn compare(release: &str, logs: &str) {
    let target = Target::served(release).unwrap().expect("a served kernel");
    let options = Options { log_level: LogLevel(6), ..Options::default() };
    let folder = format!("{}/../corpus/objects", env!("CARGO_MANIFEST_DIR"));
    let mut wrong = Vec::new();
    let mut count = 0;
    for part in logs.split("==== ").skip(1) {
        let (heading, kernels) = part.split_once('\n').unwrap();
        let (object, program) = heading.split_once(' ').unwrap();
        let bytes = std::fs::read(format!("{folder}/{object}.o")).expect("an object of the corpus");
        let report = bpfassay_judge::check([(object, bytes.as_slice())], &target, &options);
        let programs = report.objects.iter().flat_map(|o| &o.programs);
        let found = programs.into_iter().find(|p| p.name == program).expect("the program");
        let ours = found.detail.log.as_str();
        if let Some(difference) = diff(ours, kernels) {
            wrong.push(format!("{heading}: {difference:?}"));
        }
        count += 1;
    }
    assert!(count > 5, "no logs of {release}");
    assert!(wrong.is_empty(), "{release}:\n{}", wrong.join("\n"));
}

#[test]
fn logs_are_those_of_7_2() {
    compare("7.2.13", include_str!("logs/7.2.13.txt"));
}

#[test]
fn logs_are_those_of_7_3() {
    compare("7.3.4", include_str!("logs/7.3.4.txt"));
}
