//! Level-2 logs of the corpus on ten kernels, line by line against what those kernels wrote (Debian's, in virtual
//! machines, asked through libbpf on 28 and 29 November 2026).  The logs themselves are long; their hashes stand for them.

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
    match out.split_once("verification time ") {
        Some((before, after)) if after.ends_with(" usec") => format!("{before}T"),
        _ => out.trim_end().to_string(),
    }
}

/// FNV-1a, 64 bits.
fn hash(text: &str) -> u64 {
    text.bytes()
        .fold(0xcbf2_9ce4_8422_2325, |h, b| (h ^ u64::from(b)).wrapping_mul(0x100_0000_01b3))
}

/// Compares every row; a row that ends in `differs` must differ still, so that the list stays true.
fn compare(release: &str, rows: &str) {
    let target = Target::served(release).unwrap().expect("a served kernel");
    let folder = format!("{}/../corpus/objects", env!("CARGO_MANIFEST_DIR"));
    let options = Options { log_level: LEVEL, ..Options::default() };
    let mut judged: Option<(String, Vec<ProgramReport>)> = None;
    let (mut equal, mut wrong) = (0, Vec::new());
    for row in rows.lines().filter(|l| !l.starts_with('#')) {
        let words: Vec<&str> = row.split('\t').collect();
        let (&[object, program, lines, want], known) = words.split_at(4) else { panic!("{row}") };
        if judged.as_ref().is_none_or(|(o, _)| o != object) {
            let bytes = std::fs::read(format!("{folder}/{object}.o")).expect("an object");
            let report = bpfassay_judge::check([(object, bytes.as_slice())], &target, &options);
            let programs = report.objects.into_iter().flat_map(|o| o.programs).collect();
            judged = Some((object.to_string(), programs));
        }
        let programs = &judged.as_ref().unwrap().1;
        let found = programs.iter().find(|p| p.name == program).expect("the program");
        let text = found.detail.log.split('\n').map(masked).collect::<Vec<_>>().join("\n");
        let text = text.trim_end_matches('\n');
        let is_equal = format!("{:016x}", hash(text)) == want;
        if is_equal != known.is_empty() {
            let ours = text.split('\n').count();
            wrong.push(format!("{object} {program}: {lines} lines, ours {ours}"));
        }
        equal += usize::from(is_equal);
    }
    assert!(wrong.is_empty(), "{release}: {}\n{}", wrong.len(), wrong.join("\n"));
    assert!(equal > 280, "{release}: {equal}");
}

macro_rules! kernels {
    ($($name:ident $release:literal)*) => {$(
        #[test]
        fn $name() {
            compare($release, include_str!(concat!("logs/corpus-", $release, ".txt")));
        }
    )*};
}

kernels! {
    logs_of_5_10 "5.10.262"
    logs_of_6_1 "6.1.192"
    logs_of_6_12 "6.12.118"
    logs_of_6_16 "6.16.12"
    logs_of_6_17 "6.17.13"
    logs_of_6_19 "6.19.14"
    logs_of_7_0 "7.0.13"
    logs_of_7_1 "7.1.13"
    logs_of_7_2 "7.2.13"
    logs_of_7_3 "7.3.4"
}
