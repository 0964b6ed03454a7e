//! The corpus on 5.10.262 and 6.1.192, against what those kernels answered (Debian's, in virtual machines, asked
//! through libbpf on 29 November 2026): verdict, errno, message and instructions processed.

use bpfassay_judge::{ProgramReport, Target, VerdictWord};

/// Addresses differ from load to load.
fn masked(message: &str) -> String {
    let mut out = String::new();
    let mut rest = message;
    while let Some(at) = rest.find("0x") {
        let digits = rest[at + 2..].bytes().take_while(u8::is_ascii_hexdigit).count();
        out.push_str(&rest[..at]);
        out.push_str(if digits >= 6 { "0xADDR" } else { &rest[at..at + 2 + digits] });
        rest = &rest[at + 2 + digits..];
    }
    out + rest
}

fn answer(p: &ProgramReport, processed: &str) -> String {
    let (errno, message) = match p.verdict {
        VerdictWord::Accepted => (0, String::new()),
        VerdictWord::Rejected => (p.errno.unwrap_or(0), masked(p.message.as_deref().unwrap_or(""))),
        VerdictWord::Unsupported => (-1, p.message.clone().unwrap_or_default()),
    };
    let count = if processed == "-" { "-".into() } else { p.stats.insns_processed.to_string() };
    format!("{errno}\t{count}\t{message}")
}

/// Compares every row; `known` are programs that differ, each with its reason beside it.
fn compare(release: &str, answers: &str, known: &[(&str, &str)]) {
    let target = Target::served(release).unwrap().expect("a served kernel");
    let folder = format!("{}/../corpus/objects", env!("CARGO_MANIFEST_DIR"));
    let mut judged: Option<(String, Vec<ProgramReport>)> = None;
    let mut differ = Vec::new();
    for row in answers.lines().filter(|l| !l.starts_with('#')) {
        let (object, rest) = row.split_once('\t').unwrap();
        let (program, want) = rest.split_once('\t').unwrap();
        if judged.as_ref().is_none_or(|(o, _)| o != object) {
            let bytes =
                std::fs::read(format!("{folder}/{object}.o")).expect("an object of the corpus");
            let report = bpfassay_judge::check(
                [(object, bytes.as_slice())],
                &target,
                &bpfassay_judge::Options::default(),
            );
            let programs = report.objects.into_iter().flat_map(|o| o.programs).collect();
            judged = Some((object.to_string(), programs));
        }
        let programs = &judged.as_ref().unwrap().1;
        let found = programs.iter().find(|p| p.name == program).expect("the program");
        let got = answer(found, want.split('\t').nth(1).unwrap());
        let is_known = known.contains(&(object, program));
        if (got != want) != is_known {
            differ.push(format!("{object} {program}: kernel {want:?}, ours {got:?}"));
        }
    }
    assert!(differ.is_empty(), "{release}:\n{}", differ.join("\n"));
}

#[test]
fn answers_are_those_of_6_1() {
    compare("6.1.192", include_str!("answers/6.1.192.txt"), &[]);
}

#[test]
fn answers_are_those_of_5_10() {
    // libbpf leaves the callback out for this kernel.
    let known = [("v3/kfunc/throw", "caught")];
    compare("5.10.262", include_str!("answers/5.10.262.txt"), &known);
}
