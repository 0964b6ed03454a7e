//! What 6.19 and later kernels brought: jumps through tables, global data by CPU, programs at entry and return,
//! lists that are asked and changed in the middle.  Held against what those kernels answered (Debian's, in virtual
//! machines, asked through libbpf on 29 November 2026): verdict, errno, message and instructions processed.

mod answer;

use std::collections::BTreeMap;

use answer::answer;
use bpfassay_judge::{Options, ProgramReport, Target, VerdictWord};

const OBJECTS: [(&str, &[u8]); 6] = [
    ("jump_tables", include_bytes!("data/jump_tables.o")),
    ("insn_map", include_bytes!("data/insn_map.o")),
    ("percpu", include_bytes!("data/percpu.o")),
    ("fsession", include_bytes!("data/fsession.o")),
    ("lists", include_bytes!("data/lists.o")),
    ("kfunc_null", include_bytes!("data/kfunc_null.o")),
];

fn judged(release: &str, object: &str) -> Vec<ProgramReport> {
    let target = Target::served(release).unwrap().expect("a served kernel");
    let (_, bytes) = OBJECTS.iter().find(|(name, _)| *name == object).expect("an object");
    let report = bpfassay_judge::check([(object, *bytes)], &target, &Options::default());
    report.objects.into_iter().flat_map(|o| o.programs).collect()
}

#[test]
fn answers_are_those_of_the_kernels() {
    let mut known: BTreeMap<(&str, &str), Vec<ProgramReport>> = BTreeMap::new();
    let mut differ = Vec::new();
    for row in include_str!("answers/newer.txt").lines().filter(|l| !l.starts_with('#')) {
        let mut parts = row.splitn(4, '\t');
        let [release, object, program, want] = [(); 4].map(|()| parts.next().expect("four parts"));
        let programs = known.entry((release, object)).or_insert_with(|| judged(release, object));
        let found = programs.iter().find(|p| p.name == program).expect("the program");
        let got = answer(found);
        if got != want {
            differ.push(format!("{release} {object} {program}: kernel {want:?}, ours {got:?}"));
        }
    }
    assert!(differ.is_empty(), "{}", differ.join("\n"));
}

/// libbpf cannot make the table there: EINVAL for the map.
#[test]
fn no_table_is_taken_before_6_19() {
    for program in judged("6.18.44", "jump_tables") {
        assert_eq!(program.verdict, VerdictWord::Rejected, "{}", program.name);
    }
}
