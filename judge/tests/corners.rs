//! Corners in which 7.0 to 7.3 part from 6.18 and from each other, held against what those kernels answered (Debian's,
//! in virtual machines, 29 November 2026; `compare --prog-flags test_state_freq`).
//!
//! A line of `answers/corners.txt` has release, program of `data/corners.c`, errno, instructions processed and the
//! last line of the message.

mod answer;

use std::collections::BTreeMap;

use answer::answer;
use bpfassay_judge::{check, Options, ProgramReport, Target};
use bpfassay_object::model::ProgFlags;

const OBJECT: &[u8] = include_bytes!("data/corners.o");

fn judged(release: &str) -> Vec<ProgramReport> {
    let target = Target::served(release).expect("a whole build").expect("a served build");
    let flags = ProgFlags { test_state_freq: true, ..ProgFlags::default() };
    let options = Options { flags, ..Options::default() };
    let report = check([("corners.o", OBJECT)], &target, &options);
    report.objects.into_iter().flat_map(|o| o.programs).collect()
}

#[test]
fn answers_are_those_of_the_kernels() {
    let mut known: BTreeMap<&str, Vec<ProgramReport>> = BTreeMap::new();
    let (mut differ, mut count) = (Vec::new(), 0);
    for row in include_str!("answers/corners.txt").lines().filter(|l| !l.starts_with('#')) {
        let mut parts = row.splitn(3, '\t');
        let [release, program, want] = [(); 3].map(|()| parts.next().expect("three parts"));
        let programs = known.entry(release).or_insert_with(|| judged(release));
        let found = programs.iter().find(|p| p.name == program).expect("the program");
        let got = answer(found);
        if got != want {
            differ.push(format!("{release} {program}: kernel {want:?}, ours {got:?}"));
        }
        count += 1;
    }
    assert!(differ.is_empty() && count == 40, "{count} rows\n{}", differ.join("\n"));
}
