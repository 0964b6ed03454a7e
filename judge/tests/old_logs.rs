//! Level-2 logs of the corpus on 5.10.262 and 6.1.192, line by line against what those kernels wrote (Debian's, in
//! virtual machines, asked through libbpf on 29 November 2026).  The logs themselves are long; their hashes stand for them.

use bpfassay_judge::{Options, ProgramReport, Target};
use bpfassay_verifier::log::LogLevel;

/// Instructions, states and statistics.
const LEVEL: LogLevel = LogLevel(6);

/// What differs from load to load.
fn masked(line: &str) -> String {
    if line.starts_with("stack depth") {
        return String::new();
    }
    let mut out = String::new();
    let mut rest = line;
    while let Some(at) = rest.find("0x") {
        let digits = rest[at + 2..].bytes().take_while(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        let digits = digits.take(16).count();
        out.push_str(&rest[..at]);
        out.push_str(if digits >= 9 { "0xADDR" } else { &rest[at..at + 2 + digits] });
        rest = &rest[at + 2 + digits..];
    }
    out.push_str(rest);
    match out.strip_prefix("verification time ").and_then(|t| t.strip_suffix(" usec")) {
        Some(_) => "T".to_string(),
        None => out.trim_end().to_string(),
    }
}

/// FNV-1a, 64 bits.
fn hash(text: &str) -> u64 {
    text.bytes()
        .fold(0xcbf2_9ce4_8422_2325, |h, b| (h ^ u64::from(b)).wrapping_mul(0x100_0000_01b3))
}

/// Compares every row; `known` are programs whose logs differ, each with its reason beside it.
fn compare(release: &str, answers: &str, known: &[(&str, &str)]) {
    let target = Target::served(release).unwrap().expect("a served kernel");
    let folder = format!("{}/../corpus/objects", env!("CARGO_MANIFEST_DIR"));
    let options = Options { log_level: LEVEL, ..Options::default() };
    let mut judged: Option<(String, Vec<ProgramReport>)> = None;
    let (mut count, mut differ) = (0, Vec::new());
    for row in answers.lines().filter(|l| !l.starts_with('#')) {
        let words: Vec<&str> = row.split('\t').collect();
        let [object, program, lines, want] = words[..] else { panic!("{row}") };
        if judged.as_ref().is_none_or(|(o, _)| o != object) {
            let bytes = std::fs::read(format!("{folder}/{object}.o")).expect("an object");
            let report = bpfassay_judge::check([(object, bytes.as_slice())], &target, &options);
            let programs = report.objects.into_iter().flat_map(|o| o.programs).collect();
            judged = Some((object.to_string(), programs));
        }
        let programs = &judged.as_ref().unwrap().1;
        let found = programs.iter().find(|p| p.name == program).expect("the program");
        let log = found.log.as_deref().unwrap_or("");
        let text = log.split('\n').map(masked).collect::<Vec<_>>().join("\n");
        let (ours, got) = (log.split('\n').count(), format!("{:016x}", hash(&text)));
        let is_known = known.contains(&(object, program));
        if (got != want) != is_known {
            differ.push(format!("{object} {program}: {lines} lines, ours {ours}"));
        }
        count += 1;
    }
    assert!(differ.is_empty(), "{release}: {} of {count}\n{}", differ.len(), differ.join("\n"));
    assert!(count > 290, "{count}");
}

#[test]
fn logs_are_those_of_6_1() {
    compare("6.1.192", include_str!("answers/6.1.192-logs.txt"), &[]);
}

#[test]
fn logs_are_those_of_5_10() {
    // libbpf leaves the exception callback out for a kernel that knows no declaration tags.
    let known = [("v3/kfunc/throw", "caught")];
    compare("5.10.262", include_str!("answers/5.10.262-logs.txt"), &known);
}
