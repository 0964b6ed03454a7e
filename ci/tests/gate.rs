//! What a gate run finds: over `data/shapes.o`, whose programs are refused exactly when a variable holds
//! what a variant writes, and over the bundled objects.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use bpfassay_ci::gate::config::Config;
use bpfassay_ci::gate::date::Date;
use bpfassay_ci::gate::outcome::{
    Finding, FindingKind as K, GateReport, GateVerdict, RunStatus, Severity,
};
use bpfassay_ci::gate::{run, Request};
use bpfassay_judge::VerdictWord;

fn manifest() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn gate_in(folder: &Path, text: &str, update_baseline: bool) -> GateReport {
    let config = Config::parse(text).unwrap_or_else(|e| panic!("{e}"));
    let request = Request {
        config: &config,
        config_name: "bpfassay.toml".to_string(),
        folder,
        today: Date::parse("2026-11-20").expect("a day"),
        update_baseline,
        tool: "test".to_string(),
    };
    run(&request).unwrap_or_else(|e| panic!("{e}"))
}

fn shapes(text: &str) -> GateReport {
    gate_in(&manifest().join("tests/data"), &format!("objects = [\"shapes.o\"]\n{text}"), false)
}

/// A folder of this test's own with `shapes.o` in it.
fn scratch(name: &str) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("bpfassay-gate-{}-{name}", std::process::id()));
    fs::create_dir_all(&folder).expect("a scratch folder");
    fs::copy(manifest().join("tests/data/shapes.o"), folder.join("shapes.o")).expect("the object");
    folder
}

fn of(report: &GateReport, kind: K) -> Vec<&Finding> {
    report.findings.iter().filter(|f| f.kind == kind).collect()
}

/// Every program that does not depend on `.data`.
const EVERY_SHAPE: &str = r#"
[variant.all.rodata]
strict = true
small = -3
byte = 255
p16 = 443
number = -2147483648
big = -1
mode = "FAST"
wide = "FAR"
name = "eth0"
ports = [7]
limits = { high = 9, inner = { from = 8080, on = true }, parts = [0, 2] }
table = [{}, { inner = { from = 5 } }]
named = 6
hidden = 6
"#;

#[test]
fn every_shape_of_global_data_reaches_the_verifier() {
    let report = shapes(EVERY_SHAPE);
    assert_eq!(report.variants, ["all"]);
    let refused: BTreeSet<&str> =
        of(&report, K::Rejected).iter().filter_map(|f| f.program.as_deref()).collect();
    let in_variant: Vec<_> =
        report.programs.iter().filter(|p| p.variant.as_deref() == Some("all")).collect();
    assert_eq!(in_variant.len(), 18);
    for p in in_variant {
        // `ports = [7]` zeroes the rest, so the program that wants two other elements is not refused.
        let expected = !["p_data", "p_element"].contains(&p.program.name.as_str());
        assert_eq!(refused.contains(p.program.name.as_str()), expected, "{}", p.program.name);
    }
    let as_built = report.programs.iter().filter(|p| p.variant.is_none());
    assert!(as_built.clone().all(|p| p.status == RunStatus::Pass) && as_built.count() == 18);
    assert_eq!((report.verdict, report.exit_code), (GateVerdict::Fail, 1));
    let f = of(&report, K::Rejected)[0];
    assert_eq!(f.on.len(), 1);
    assert!(f.kernel_words.iter().any(|w| w.contains("invalid mem access 'scalar'")), "{f:?}");
}

#[test]
fn an_element_keeps_its_neighbours_and_variants_may_stand_alone() {
    let report = shapes("as-built = false\n[variant.v]\nrodata.ports.2 = 9\ndata.counter = 3\n");
    let refused: Vec<_> =
        of(&report, K::Rejected).iter().filter_map(|f| f.program.clone()).collect();
    assert_eq!(refused, ["p_element"]);
    assert_eq!(report.summary.judged, 18);
}

#[test]
fn the_same_finding_on_two_kernels_is_one() {
    let text = "kernels = [\"6.18\", \"6.18.15\"]\n[variant.v]\nrodata.strict = true\n";
    let report = shapes(text);
    let found = of(&report, K::Rejected);
    assert_eq!(found.len(), 1);
    let on: Vec<_> =
        found[0].on.iter().map(|o| (o.kernel.as_str(), o.variant.as_deref())).collect();
    assert_eq!(on, [("6.18", Some("v")), ("6.18.15", Some("v"))]);
    assert_eq!(report.programs.len(), 18 * 4);
}

/// Debian's 6.18.15 takes `key_read_bad`, 6.18.44 does not, 6.12.118 does not (asked of all three, 29 November 2026);
/// the order of the configuration is not that of age.
#[test]
fn a_rejection_names_the_kernel_beside_it_that_accepts() {
    let text = "kernels = [\"6.18.44\", \"6.18.15\", \"6.12\", \"6.16\"]\n\
                objects = [\"../../../corpus/objects/v3/reject/buffer_null.o\"]\n";
    let report = gate_in(&manifest().join("tests/data"), text, false);
    let rejected = of(&report, K::Rejected);
    let found = rejected.iter().find(|f| f.program.as_deref() == Some("key_read_bad")).unwrap();
    assert_eq!(found.on.iter().map(|o| o.kernel.as_str()).collect::<Vec<_>>(), ["6.18.44", "6.12"]);
    let flips: BTreeSet<_> = found
        .flips
        .iter()
        .map(|t| (t.flip.against.as_str(), t.kernel.as_str(), t.verdict.as_str(), &*t.flip.by))
        .collect();
    let expected = [
        ("6.12.118", "6.16.12", "accepted", "buf_null_checked"),
        ("6.18.15", "6.18.44", "rejected", "buf_null_checked"),
    ];
    assert_eq!(flips, BTreeSet::from(expected));
    let both = rejected.iter().find(|f| f.on.len() == 4);
    assert!(both.is_none_or(|f| f.flips.is_empty()), "{both:?}");
}

#[test]
fn budgets_by_default_and_by_program() {
    let text = r#"
[budget]
insns-processed = 28
states = 1
[[program]]
name = "p_wide"
budget.insns-processed = 5
"#;
    let report = shapes(text);
    let found: Vec<_> = of(&report, K::BudgetExceeded)
        .iter()
        .map(|f| (f.program.clone().unwrap_or_default(), f.message.clone()))
        .collect();
    // Costs as 6.18.44 counts them: 29 instructions for p_data, 6 for p_wide, at most one state each.
    let want = [
        ("p_wide", "6 instructions processed, 0 % of the limit, over the budget of 5"),
        ("p_data", "29 instructions processed, 0 % of the limit, over the budget of 28"),
    ];
    assert_eq!(found, want.map(|(p, m)| (p.to_string(), m.to_string())));
    assert_eq!(report.exit_code, 1);
    let budgets: BTreeSet<_> = report.programs.iter().map(|p| p.headroom.insns.budget).collect();
    assert_eq!(budgets, BTreeSet::from([Some(5), Some(28)]));
    let share = shapes("[budget]\ninsns-processed = \"0.0028%\"\n");
    assert_eq!(of(&share, K::BudgetExceeded).len(), 1, "28 of a million");
}

#[test]
fn allow_lists() {
    let folder = manifest().join("../corpus/objects/v3");
    let text = "objects = [\"xdp/*.o\", \"tc/*.o\"]\n[allow]\nprogram-types = [\"xdp\"]\n\
                helpers = [\"bpf_map_lookup_elem\", \"redirect_map\"]\nlicences = [\"GPL\"]\n";
    let report = gate_in(&folder, text, false);
    let types: BTreeSet<_> =
        of(&report, K::ProgramTypeNotAllowed).iter().map(|f| f.message.clone()).collect();
    let want = ["sched_act", "sched_cls"].map(|t| format!("program type {t} is not allowed"));
    assert_eq!(types.into_iter().collect::<Vec<_>>(), want, "all but xdp");
    let helpers: BTreeSet<_> =
        of(&report, K::HelperNotAllowed).iter().map(|f| f.message.clone()).collect();
    assert!(helpers.contains("helper bpf_xdp_adjust_head is not allowed"), "{helpers:?}");
    for allowed in ["bpf_map_lookup_elem", "bpf_redirect_map"] {
        assert!(!helpers.iter().any(|h| h.contains(&format!("{allowed} "))), "{helpers:?}");
    }
    assert!(of(&report, K::HelperNotAllowed).iter().all(|f| f.source.is_some()));
    let other = gate_in(&folder, "objects = [\"xdp/*.o\"]\n[allow]\nlicences = [\"MIT\"]\n", false);
    assert_eq!(
        of(&other, K::LicenceNotAllowed).len(),
        other.objects.iter().map(|o| o.programs.len()).sum::<usize>()
    );
    assert!(of(&other, K::LicenceNotAllowed)[0].message.contains("licence GPL is not allowed"));
}

#[test]
fn exceptions_cover_expire_and_miss() {
    let text = r#"
[variant.v]
rodata.strict = true
rodata.byte = 255
[[exception]]
program = "p_bool"
message = "invalid mem access"
reason = "known"
expires = 2026-11-20
[[exception]]
object = "shapes.o"
program = "p_byte"
kind = "rejected"
reason = "was known"
expires = 2026-11-19
[[exception]]
program = "p_int"
code = "verifier-no-message"
reason = "never"
expires = 2027-01-01
[[exception]]
program = "gone"
kind = "rejected"
reason = "never"
expires = 2027-01-01
[[program]]
name = "nobody"
unsupported = "allow"
"#;
    let report = shapes(text);
    let rejected = of(&report, K::Rejected);
    assert_eq!(rejected.iter().map(|f| f.excepted_by).collect::<Vec<_>>(), [Some(0), None]);
    assert_eq!(report.exceptions[0].covers, 1);
    let about = |kind| {
        let found = of(&report, kind);
        found.iter().map(|f| (f.message.clone(), f.config.map(|c| c.line))).collect::<Vec<_>>()
    };
    let row = |m: &str, line| (m.to_string(), Some(line));
    assert_eq!(
        about(K::ExceptionExpired),
        [row("the exception for `shapes.o:p_byte` expired on 2026-11-19", 11)]
    );
    assert_eq!(about(K::ExceptionUnused), [row("the exception for `p_int` covers nothing", 17)]);
    let unknown = about(K::UnknownProgram);
    assert_eq!(unknown[0], row("the exception is for `gone`, which is not there", 22));
    assert_eq!(unknown[1], row("no program `nobody`", 28));
    assert_eq!(report.exit_code, 1);
    let status = |name: &str| {
        let mut runs = report.programs.iter().filter(|p| p.variant.is_some());
        runs.find(|p| p.program.name == name).map(|p| p.status)
    };
    assert_eq!(status("p_bool"), Some(RunStatus::Excepted));
    assert_eq!(status("p_byte"), Some(RunStatus::Fail));
    assert_eq!(status("p_int"), Some(RunStatus::Pass));
}

#[test]
fn what_cannot_be_read_fails_unless_named() {
    let folder = scratch("unreadable");
    fs::write(folder.join("junk.o"), b"no object").expect("a file");
    let objects = "objects = [\"*.o\"]\n";
    let report = gate_in(&folder, objects, false);
    assert_eq!((report.verdict, report.exit_code), (GateVerdict::NotJudged, 2));
    let found = of(&report, K::Unreadable);
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].object.as_deref(), Some("junk.o"));
    let excepted = format!(
        "{objects}[[exception]]\nobject = \"junk.o\"\nkind = \"unreadable\"\nreason = \"r\"\nexpires = 2027-01-01\n"
    );
    let report = gate_in(&folder, &excepted, false);
    assert_eq!((report.verdict, report.summary.excepted), (GateVerdict::Pass, 1));
    let excluded = gate_in(&folder, &format!("{objects}exclude = [\"junk.o\"]\n"), false);
    assert_eq!(excluded.verdict, GateVerdict::Pass);
    fs::remove_dir_all(&folder).expect("cleaning up");
}

#[test]
fn a_baseline_tells_news_from_known() {
    let folder = scratch("baseline");
    let objects = "objects = [\"*.o\"]\n";
    let base = |variant: &str, more: &str| {
        format!("{objects}as-built = false\n[variant.v]\n{variant}\n[baseline]\nfile = \"b.json\"\n{more}")
    };
    let strict = base("rodata.strict = true", "");
    let taken = gate_in(&folder, &strict, true);
    assert_eq!(taken.verdict, GateVerdict::Pass, "what is taken over is known");
    assert_eq!(taken.baseline.as_ref().map(|b| (b.new, b.updated)), Some((18, true)));
    let text = fs::read_to_string(folder.join("b.json")).expect("the baseline");

    let again = gate_in(&folder, &strict, false);
    assert_eq!(again.verdict, GateVerdict::Pass);
    assert_eq!(of(&again, K::KnownRejected).len(), 1);
    assert_eq!(again.baseline.as_ref().map(|b| (b.compared, b.new)), Some((18, 0)));

    // Another program is refused, the first one no more.
    let other = base("rodata.byte = 255", "");
    let news = gate_in(&folder, &other, false);
    let newly = of(&news, K::NewlyRejected);
    assert_eq!(
        newly.iter().map(|f| f.id.as_deref()).collect::<Vec<_>>(),
        [Some("shapes.o:p_byte")]
    );
    assert_eq!(newly[0].since.as_deref(), Some("accepted in the baseline of 2026-11-20"));
    assert_eq!(of(&news, K::NewlyAccepted).len(), 1);
    assert_eq!((news.verdict, news.exit_code), (GateVerdict::Fail, 1));
    let status = news.baseline.as_ref().expect("a status");
    assert_eq!((status.newly_rejected, status.newly_accepted), (1, 1));

    // Strict: a baseline that is out of date fails, also where nothing is refused.
    let fine = gate_in(&folder, &base("rodata.number = 1", ""), false);
    assert_eq!(fine.verdict, GateVerdict::Pass);
    let fine = gate_in(&folder, &base("rodata.number = 1", "strict = true\n"), false);
    assert_eq!(fine.verdict, GateVerdict::Fail);

    // Cost: as if p_data had taken 10 instructions and p_int 1000.
    let p_data = "p_data\",\"kernel\":\"6.18\",\"variant\":\"v\",\"verdict\":\"accepted\",\"insns_processed\":";
    let doctored = text
        .replace(&format!("{p_data}29"), &format!("{p_data}10"))
        .replace("p_int\",\"kernel\":\"6.18\",\"variant\":\"v\",\"verdict\":\"accepted\",\"insns_processed\":5", "p_int\",\"kernel\":\"6.18\",\"variant\":\"v\",\"verdict\":\"accepted\",\"insns_processed\":1000")
        .replace("p_member\"", "p_former\"");
    assert_ne!(doctored, text);
    fs::write(folder.join("b.json"), doctored).expect("the baseline");
    let drifted = gate_in(&folder, &base("rodata.strict = true", "drift-floor = 10\n"), false);
    let messages = |kind| of(&drifted, kind).iter().map(|f| f.message.clone()).collect::<Vec<_>>();
    assert_eq!(
        messages(K::CostDrift),
        ["29 instructions processed, +190 % against 10 in the baseline"]
    );
    assert_eq!(
        messages(K::CostDrop),
        ["5 instructions processed, -100 % against 1,000 in the baseline"]
    );
    assert_eq!(of(&drifted, K::RemovedProgram)[0].program.as_deref(), Some("p_former"));
    assert_eq!(of(&drifted, K::RemovedProgram)[0].severity, Severity::Warning);
    assert_eq!(of(&drifted, K::NewProgram)[0].program.as_deref(), Some("p_member"));
    // Below the floor of 100 it is noise.
    let calm = gate_in(&folder, &base("rodata.strict = true", ""), false);
    assert!(of(&calm, K::CostDrift).is_empty());

    // Writing it anew gives the first text again.
    gate_in(&folder, &strict, true);
    assert_eq!(fs::read_to_string(folder.join("b.json")).expect("the baseline"), text);
    fs::remove_dir_all(&folder).expect("cleaning up");
}

#[test]
fn headroom_names_lines_that_add_up() {
    let folder = manifest().join("../corpus/objects/v3");
    let report = gate_in(&folder, "objects = [\"loop/*.o\"]\n", false);
    assert!(report.programs.len() > 5);
    for p in &report.programs {
        let h = &p.headroom;
        assert_eq!(h.insns.used, p.program.stats.insns_processed);
        let told: u32 = h.lines.iter().map(|l| l.insns_processed).sum();
        assert!(told <= h.insns.used, "{}", p.id);
        if h.lines.len() < 10 {
            assert_eq!(told, h.insns.used, "every instruction has a line: {}", p.id);
        }
        assert!(h.lines.windows(2).all(|w| w[0].insns_processed >= w[1].insns_processed));
        assert!(h.branches.iter().all(|b| b.visits > 1 && !b.insn.is_empty()));
        assert!(h.stack.used <= 512 && h.stack.used % 16 == 0, "{}", h.stack.used);
    }
    assert!(report.programs.iter().any(|p| !p.headroom.branches.is_empty()));
}

#[test]
fn reports_are_the_same_from_run_to_run() {
    let folder = manifest().join("../corpus/objects/v3");
    let text = "objects = [\"**/*.o\"]\nkernels = [\"6.18\", \"6.18.15\"]\n[allow]\nhelpers = []\n";
    let json = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads");
        let mut report = pool.install(|| gate_in(&folder, text, false));
        for p in &mut report.programs {
            p.program.stats.verification_us = 0;
        }
        serde_json::to_string(&report).expect("JSON")
    };
    assert!(json(1) == json(4));
}

#[test]
fn fingerprints_outlive_line_numbers_kernels_and_baselines() {
    let a = shapes("[variant.v]\nrodata.strict = true\n");
    let b = shapes("kernels = [\"6.18.15\"]\n[variant.other]\nrodata.strict = true\n");
    let print = |r: &GateReport| of(r, K::Rejected)[0].fingerprint.clone();
    assert_eq!(print(&a), print(&b));
    let c = shapes("[variant.v]\nrodata.byte = 255\n");
    assert_ne!(print(&a), print(&c));
    let inputs = &of(&a, K::Rejected)[0].fingerprint_inputs;
    assert_eq!(inputs[..3], ["rejected", "shapes.o", "p_bool"]);
}

/// The same object under types that the kernel takes it as, and one that it does not: `p_int` returns 0.
#[test]
fn a_program_has_the_type_that_its_rule_says() {
    let of_type = |rule: &str| {
        let report = shapes(&format!("{EVERY_SHAPE}{rule}"));
        let types = report.programs.iter().filter(|p| p.program.name == "p_int");
        let types: BTreeSet<&str> = types.map(|p| p.program.prog_type).collect();
        types.into_iter().collect::<Vec<_>>().join(" ")
    };
    let section = of_type("");
    assert_ne!(section, "cgroup_skb");
    assert_eq!(
        of_type("[program.p_int]\ntype = \"cgroup_skb/cgroup_inet_ingress\"\n"),
        "cgroup_skb"
    );
    assert_eq!(of_type("[[program]]\nname = \"p_int\"\ntype = \"cgroup_skb\"\n"), "cgroup_skb");
    let other = "[[program]]\nname = \"p_int\"\nobject = \"no.o\"\ntype = \"cgroup_skb\"\n";
    assert_eq!(of_type(other), section);
    // A rule that names the object outranks one that does not, wherever it stands.
    let both = "[[program]]\nname = \"p_int\"\nobject = \"shapes.o\"\ntype = \"cgroup_skb\"\n\
                [[program]]\nname = \"p_int\"\ntype = \"socket_filter\"\n";
    assert_eq!(of_type(both), "cgroup_skb");
    let target = shapes("[program.p_int]\nattach-target = \"vfs_read\"\n");
    let finding = of(&target, K::Unreadable);
    assert!(finding.iter().any(|f| f.message.contains("takes no attach target")), "{finding:?}");
}

/// A rule names another program, whose function its own replaces, and what is set in that one's object.
#[test]
fn a_rule_attaches_to_another_program() {
    let folder = manifest().join("../judge/tests/data");
    let verdict_of = |rule: &str| {
        let text =
            format!("objects = [\"extension.o\"]\nkernels = [\"6.18.15\"]\n[program.same]\n{rule}");
        let report = gate_in(&folder, &text, false);
        let same = report.programs.iter().find(|p| p.program.name == "same");
        same.expect("the program").program.verdict
    };
    let first = "attach-target = \"target.o:dispatcher:first\"\n";
    assert_eq!(verdict_of(first), VerdictWord::Accepted);
    let never = "attach-target = \"target.o:dispatcher:never\"\n";
    assert_eq!(verdict_of(never), VerdictWord::Rejected);
    let called = format!("{never}attach-set = [\"count=1\"]\n");
    assert_eq!(verdict_of(&called), VerdictWord::Accepted);
}
