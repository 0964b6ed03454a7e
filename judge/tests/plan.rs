//! Plans: what a loader handed to 6.18.44, judged for that kernel and for others.
//!
//! `data/plan-*.json` are two programs of the corpus as a loader with libbpf 1.8 loaded them on 6.18.44, probes included;
//! every call was accepted.  What 5.10.262, 6.1.192 and 6.12.118 say of these programs stands in `flips.rs`.

use bpfassay_judge::plan::Plan;
use bpfassay_judge::{Options, ProgramReport, Target, VerdictWord};

const STRNCMP: &str = include_str!("data/plan-strncmp.json");
const BITS: &str = include_str!("data/plan-bits.json");

fn judged(plan: &str, kernel: &str) -> Vec<ProgramReport> {
    let target = Target::served(kernel).unwrap().expect("a served kernel");
    let linked = Plan::parse(plan).expect("a plan").link(&target);
    linked.entries.iter().map(|e| e.judge(&target, &Options::default()).report).collect()
}

fn of<'r>(reports: &'r [ProgramReport], name: &str) -> &'r ProgramReport {
    reports.iter().find(|r| r.name == name).expect("the program")
}

#[test]
fn every_program_gets_what_the_loader_got() {
    for text in [STRNCMP, BITS] {
        let plan = Plan::parse(text).expect("a plan");
        let reports = judged(text, "6.18");
        assert_eq!(reports.len(), plan.programs.len());
        for (recorded, ours) in plan.programs.iter().zip(&reports) {
            assert_eq!(recorded.errno, 0);
            assert_eq!(ours.verdict, VerdictWord::Accepted, "{}: {:?}", ours.name, ours.message);
        }
    }
}

#[test]
fn another_kernel_judges_the_same_calls() {
    let on = |kernel| of(&judged(STRNCMP, kernel), "is_systemd").message.clone();
    assert_eq!(on("5.10").as_deref(), Some("invalid func unknown#182"));
    assert_eq!(on("6.1"), None);
    let bits = judged(BITS, "6.1");
    let report = of(&bits, "positions");
    // The function is not there, so a loader refuses the program: ESRCH.
    assert_eq!((report.verdict, report.errno), (VerdictWord::Rejected, Some(3)));
    assert_eq!(of(&judged(BITS, "6.12"), "positions").verdict, VerdictWord::Accepted);
}

/// A plan that does not fit together costs its programs, and panics nobody.
#[test]
fn a_plan_that_does_not_fit_is_told() {
    assert!(Plan::parse("{}").is_err());
    assert!(Plan::parse(&BITS.replace("bpfassay.plan/1", "bpfassay.plan/2")).is_err());
    let target = Target::served("6.18").unwrap().expect("served");
    let broken: [fn(&mut Plan); 6] = [
        |p| p.maps.clear(),
        |p| p.btfs.clear(),
        |p| p.programs.iter_mut().for_each(|p| p.insns.truncate(8)),
        |p| p.programs.iter_mut().for_each(|p| p.insns = "?".to_string()),
        |p| p.programs.iter_mut().for_each(|p| p.prog_type = 999),
        |p| p.programs.iter_mut().for_each(|p| p.kfunc_refs.iter_mut().for_each(|r| r.0 = 1 << 30)),
    ];
    for change in broken {
        let mut plan = Plan::parse(BITS).expect("a plan");
        change(&mut plan);
        let linked = plan.link(&target);
        let entry = linked.entries.iter().find(|e| e.name == "positions").expect("the program");
        let judged = entry.judge(&target, &Options::default());
        assert_ne!(judged.report.verdict, VerdictWord::Accepted);
        assert!(judged.error.is_none_or(|e| !e.is_internal()));
    }
    let mut inner_of_itself = Plan::parse(BITS).expect("a plan");
    inner_of_itself.maps[0].inner = Some(0);
    assert_eq!(inner_of_itself.link(&target).maps.len(), 1);
}
