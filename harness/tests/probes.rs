//! Feature probes on our verifier, and what the running kernel answers to them and other questions.

use bpfassay_harness::kernel::KernelError;
use bpfassay_harness::probe;
use bpfassay_isa::asm::{assemble, NoNames};
use bpfassay_object::model::Program;
use bpfassay_spec::FeatureProbe;
use bpfassay_verifier::{verify, Config, Verdict};

fn probe_program(probe: &FeatureProbe) -> Program {
    Program::bare(
        "probe",
        probe.prog_type,
        assemble(probe.text, &NoNames).unwrap_or_else(|e| panic!("{}: {e}", probe.feature)),
    )
}

/// The probes were measured on both builds: our verifier must follow the feature rows.
#[test]
fn our_verdict_on_a_probe_is_the_feature() {
    assert!(FeatureProbe::all().len() >= 10);
    for release in ["6.18.15", "6.18.44"] {
        let kernel = bpfassay_builds::kernel(release).expect("a known build");
        let features = kernel.features.list();
        for probe in FeatureProbe::all() {
            let wanted = features.iter().find(|(n, _)| *n == probe.feature).expect("a feature").1;
            let config = Config::new(&kernel);
            let report = verify(&probe_program(probe), &config);
            assert_eq!(
                report.verdict == Verdict::Accepted,
                wanted,
                "{release} {}: {:?}",
                probe.feature,
                report.verdict
            );
        }
    }
}

/// Skipped, and said so, where the kernel does not let us ask.
#[test]
fn the_running_kernel_answers_as_its_tables_say() {
    let release = match bpfassay_harness::kernel::release() {
        Ok(release) => release,
        Err(e) => {
            eprintln!("skipped: {e}");
            return;
        }
    };
    let Some(kernel) = bpfassay_builds::kernel(release.split(['-', '+']).next().unwrap_or(""))
    else {
        eprintln!("skipped: no tables for {release}");
        return;
    };
    let answers = match probe::ask(&kernel) {
        Ok(answers) => answers,
        Err(KernelError::Unavailable | KernelError::NotPermitted) => {
            eprintln!("skipped: bpf() is not available to this user");
            return;
        }
        Err(e) => panic!("{e}"),
    };
    assert_eq!(answers.notes, Vec::<String>::new());
    assert!(answers.absent_helpers.is_empty(), "{:?}", answers.absent_helpers);
    assert_eq!(answers.features.len(), FeatureProbe::all().len());
    let rows = kernel.refused.iter();
    let refused: Vec<_> =
        rows.map(|r| (r.prog_type.name(), r.attach_type.map(|a| a.name()), r.errno)).collect();
    let asked = answers.refused.iter();
    let asked: Vec<_> =
        asked.map(|r| (r.prog_type.as_str(), r.attach_type.as_deref(), r.errno)).collect();
    assert_eq!(asked, refused);
}
