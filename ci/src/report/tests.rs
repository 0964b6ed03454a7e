//! Every format against a report with text that each of them would stumble over.
//!
//! Their published schemas and real readers are asked by `ci/validate.sh`.

use serde_json::Value;

use super::{render, Format, Paper, Places};
use crate::gate::outcome::*;
use bpfassay_judge::{refused, Source, VerdictWord};

/// What a message might hold: markup of every format, a control character, line ends.
const NASTY: &str = "a<b> & \"c\" ]]> | `d` 50 % ::error::\u{1} x,\r\ny: ü";

fn finding(kind: FindingKind, severity: Severity, message: &str) -> Finding {
    Finding {
        kind,
        severity,
        id: Some("build/a.o:prog".into()),
        object: Some("build/a.o".into()),
        program: Some("prog".into()),
        section: Some("tc".into()),
        on: vec![JudgedFor { kernel: "6.18".into(), variant: None }],
        message: message.into(),
        since: None,
        flips: Vec::new(),
        explanation: None,
        page: None,
        help: None,
        code: None,
        kernel_words: vec!["first".into(), message.into()],
        errno: Some(13),
        insn_idx: Some(3),
        insn: Some("(79) r1 = *(u64 *)(r0 +0)".into()),
        source: Some(Source {
            file: "./src/a b.c".into(),
            line: 7,
            text: "\tif (a < b) // |`".into(),
            column: 3,
        }),
        config: None,
        excepted_by: None,
        fingerprint_inputs: Vec::new(),
        fingerprint: format!("{:064x}", message.len()),
    }
}

fn report() -> GateReport {
    let used = Used { used: 310_000, limit: 1_000_000, budget: None };
    let source = Source { file: "src/a b.c".into(), line: 9, text: "for (;;)".into(), column: 1 };
    let mut rejected = finding(FindingKind::NewlyRejected, Severity::Error, NASTY);
    rejected.code = Some("register-maybe-null".into());
    let mut covered = finding(FindingKind::BudgetExceeded, Severity::Error, "too much");
    covered.excepted_by = Some(0);
    covered.on = vec![JudgedFor { kernel: "6.18".into(), variant: Some("quiet".into()) }];
    let mut about_config =
        finding(FindingKind::ExceptionUnused, Severity::Warning, "covers nothing");
    about_config.config = Some(ConfigPlace { line: 4, column: 2 });
    (about_config.id, about_config.object, about_config.program) = (None, None, None);
    (about_config.source, about_config.section) = (None, None);
    let mut program = refused("prog", "tc", NASTY);
    program.verdict = VerdictWord::Rejected;
    let run = |status, kernel: &str, variant: Option<&str>| ProgramRun {
        id: "build/a.o:prog".into(),
        kernel: kernel.into(),
        variant: variant.map(str::to_string),
        object: "build/a.o".into(),
        status,
        headroom: Headroom {
            insns: used,
            stack: Used { used: 64, limit: 512, budget: None },
            lines: vec![LineCost { source: source.clone(), insns_processed: 200_000 }],
            branches: Vec::new(),
        },
        program: program.clone(),
    };
    GateReport {
        schema: SCHEMA,
        tool: "bpfassay 0.1.0".into(),
        config: "bpf/bpfassay.toml".into(),
        today: "2026-11-20".into(),
        verdict: GateVerdict::Fail,
        exit_code: 1,
        summary: GateSummary {
            objects: 1,
            judged: 3,
            errors: 1,
            rejected: 3,
            ..Default::default()
        },
        kernels: ["6.18", "6.18.15"]
            .map(|label| KernelJudged {
                label: label.into(),
                release: label.into(),
                profile: "p".into(),
                btf: None,
            })
            .to_vec(),
        variants: vec!["quiet".into()],
        maps: Vec::new(),
        findings: vec![rejected, covered, about_config],
        exceptions: vec![ExceptionApplied {
            object: None,
            program: "prog".into(),
            about: "kind budget-exceeded".into(),
            reason: "known | soon".into(),
            expires: "2027-01-01".into(),
            expired: false,
            config: ConfigPlace { line: 9, column: 1 },
            covers: 1,
        }],
        baseline: None,
        objects: vec![ObjectRead {
            path: "build/a.o".into(),
            error: None,
            programs: vec!["prog".into()],
        }],
        programs: vec![
            run(RunStatus::Fail, "6.18", None),
            run(RunStatus::Excepted, "6.18", Some("quiet")),
            run(RunStatus::Pass, "6.18.15", None),
        ],
    }
}

fn in_format(format: Format) -> String {
    render(&report(), format, &Places::default(), Paper::default())
        .expect("a report can be rendered")
}

#[test]
fn every_format_has_a_name_and_the_same_text_twice() {
    for format in Format::ALL {
        assert_eq!(format.as_str().parse::<Format>().ok(), Some(format));
        assert_eq!(in_format(format), in_format(format));
    }
    assert!("yaml".parse::<Format>().is_err_and(|e| e.contains("sarif")));
}

#[test]
fn sarif_points_at_the_source_and_suppresses_what_is_excepted() {
    let log: Value = serde_json::from_str(&in_format(Format::Sarif)).expect("JSON");
    let run = &log["runs"][0];
    let results = run["results"].as_array().expect("results");
    assert_eq!(results.len(), 3);
    let physical = &results[0]["locations"][0]["physicalLocation"];
    assert_eq!(physical["artifactLocation"]["uri"], "src/a%20b.c");
    assert_eq!(physical["region"]["startLine"], 7);
    assert_eq!(physical["region"]["startColumn"], 3);
    assert_eq!(results[1]["suppressions"][0]["justification"], "known | soon (until 2027-01-01)");
    let config = &results[2]["locations"][0]["physicalLocation"];
    assert_eq!(config["artifactLocation"]["uri"], "bpf/bpfassay.toml");
    assert_eq!(config["region"]["startLine"], 4);
    for r in results {
        let rule =
            &run["tool"]["driver"]["rules"][r["ruleIndex"].as_u64().expect("index") as usize];
        assert_eq!(rule["id"], r["ruleId"]);
        assert!(!rule["help"]["text"].as_str().unwrap_or("").is_empty());
    }
    assert_eq!(
        results[0]["partialFingerprints"]["bpfassayFinding/v1"].as_str().map(str::len),
        Some(64)
    );
}

#[test]
fn junit_counts_what_it_holds_and_escapes_it() {
    let xml = in_format(Format::Junit);
    assert!(xml.contains("tests=\"1\" failures=\"1\" errors=\"0\" skipped=\"0\""), "{xml}");
    assert!(xml.contains("<skipped message=\"known | soon (until 2027-01-01)\"/>"));
    assert!(xml
        .contains("a&lt;b&gt; &amp; &quot;c&quot; ]]&gt; | `d` 50 % ::error::? x,&#13;&#10;y: ü"));
    assert_eq!(xml.matches("<testcase ").count(), 3);
    assert!(!xml.contains('\u{1}'));
}

#[test]
fn github_commands_are_one_line_each() {
    let text = in_format(Format::Github);
    let commands: Vec<&str> = text.lines().filter(|l| l.starts_with("::")).collect();
    assert_eq!(commands.len(), 2, "what is excepted is no annotation");
    let head = "::error file=src/a b.c,line=7,col=3,title=register-maybe-null%3A prog::a<b> &";
    assert!(commands[0].starts_with(head), "{}", commands[0]);
    assert!(commands[0].contains("50 %25 ::error::\u{1} x,%0D%0Ay: ü%0A"));
    assert!(commands[1].starts_with("::warning file=bpf/bpfassay.toml,line=4,col=2,"));
}

#[test]
fn gitlab_has_a_place_and_a_fingerprint_each() {
    let issues: Value = serde_json::from_str(&in_format(Format::Gitlab)).expect("JSON");
    assert_eq!(issues.as_array().map(Vec::len), Some(2));
    assert_eq!(issues[0]["location"]["path"], "src/a b.c");
    assert_eq!(issues[0]["location"]["lines"]["begin"], 7);
    assert_eq!(issues[0]["severity"], "critical");
    assert_ne!(issues[0]["fingerprint"], issues[1]["fingerprint"]);
}

#[test]
fn markdown_tables_keep_their_columns() {
    let page = in_format(Format::Markdown);
    let mut columns = 0;
    for line in page.lines().filter(|l| l.starts_with('|')) {
        let cells = line.replace("\\|", "").matches('|').count();
        if line.starts_with("|--") || line.starts_with("| |") || line.starts_with("| Program") {
            columns = cells;
        }
        assert_eq!(cells, columns, "{line}");
    }
    assert!(page.contains("a&lt;b&gt;") && !page.contains("a<b>"));
    assert!(page.contains("310000 (31.0 %)"));
}

#[test]
fn veristat_rows_have_every_column_and_no_comma_more() {
    let csv = in_format(Format::Veristat);
    let mut rows = csv.lines().map(|l| l.split(',').collect::<Vec<_>>());
    let header = rows.next().expect("header");
    assert_eq!(&header[..3], ["file_name", "prog_name", "verdict"]);
    let rows: Vec<_> = rows.collect();
    assert!(rows.iter().all(|r| r.len() == header.len() && r.iter().all(|c| !c.is_empty())));
    let names: Vec<&str> = rows.iter().map(|r| r[0]).collect();
    assert_eq!(names, ["a.o", "a.o@6.18+quiet", "a.o@6.18.15"]);
    assert_eq!(rows[0][2], "failure");
}

#[test]
fn text_ends_with_the_verdict() {
    let text = in_format(Format::Text);
    assert!(text.contains("error[register-maybe-null]"), "{text}");
    assert!(text.contains("src/a b.c:7"), "{text}");
    assert!(text.contains("Where build/a.o:prog spends them:"), "{text}");
    let last = text.lines().last().unwrap_or("");
    assert!(last.starts_with("FAIL: 1 error; 3 judgements of 1 object"), "{last}");
}
