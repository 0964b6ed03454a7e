//! Programs of the corpus for loaders without all capabilities, against what kernels answered.

use std::collections::BTreeMap;
use std::path::Path;

use bpfassay_judge::{check, Options, Target, VerdictWord};
use bpfassay_spec::Caps;

/// Errno, instructions processed, last line of the message.
type Answer = (i32, u32, String);

fn recorded(text: &str) -> BTreeMap<&str, Vec<(&str, Answer)>> {
    let mut objects: BTreeMap<&str, Vec<(&str, Answer)>> = BTreeMap::new();
    for line in text.lines().filter(|l| !l.starts_with('#')) {
        let mut words = line.splitn(5, ' ');
        let mut word = || words.next().expect("five words");
        let (object, program) = (word(), word());
        let errno = word().parse().expect("an errno");
        let processed = word().parse().expect("a number");
        let message = word();
        let message = if message == "-" { "" } else { message };
        let row = (program, (errno, processed, message.to_string()));
        objects.entry(object).or_default().push(row);
    }
    objects
}

fn compare(release: &str, caps: &str, text: &str) -> usize {
    let mut target = Target::served(release).expect("a whole build").expect("a served build");
    target.caps = Caps::parse(caps).expect("capabilities");
    target.kernel.unprivileged_bpf = true;
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../corpus/objects/v3");
    let (mut count, mut wrong) = (0, Vec::new());
    for (object, programs) in recorded(text) {
        let bytes = std::fs::read(folder.join(format!("{object}.o"))).expect("an object");
        let report = check([(object, bytes.as_slice())], &target, &Options::default());
        for (name, kernel) in programs {
            let found = report.objects[0].programs.iter().find(|p| p.name == name);
            let p = found.expect("the program");
            let errno = match p.verdict {
                VerdictWord::Accepted => 0,
                VerdictWord::Rejected => p.errno.expect("a rejection has an errno"),
                VerdictWord::Unsupported => -1,
            };
            let message = p.message.clone().unwrap_or_default();
            let ours = (errno, p.stats.insns_processed, message);
            if ours != kernel {
                wrong.push(format!("{object} {name}\n  ours   {ours:?}\n  kernel {kernel:?}"));
            }
            count += 1;
        }
    }
    assert!(wrong.is_empty(), "{release} {caps}: {} of {count}\n{}", wrong.len(), wrong.join("\n"));
    count
}

#[test]
fn without_perfmon_6_18_15() {
    assert!(compare("6.18.15", "bpf+net", include_str!("privilege/6.18.15-bpf+net.txt")) > 250);
}

#[test]
fn without_any_6_18_15() {
    assert!(compare("6.18.15", "none", include_str!("privilege/6.18.15-none.txt")) > 100);
}
