//! Every wording of the verifier that sources of five releases have is known, and every reason that loaders give.

use bpfassay_diag::explain::line;
use bpfassay_diag::read::read;

#[test]
fn every_wording_of_five_releases_has_a_code() {
    let list = include_str!("wordings.txt");
    let rows = || list.lines().filter(|l| !l.starts_with('#'));
    let missing: Vec<&str> =
        rows().filter(|l| line(l.split('\t').nth(1).expect("two columns")).is_none()).collect();
    assert!(missing.is_empty(), "{}", missing.join("\n"));
    let of = |release: &str| {
        rows()
            .filter(|l| l.split('\t').next().is_some_and(|v| v.split(',').any(|v| v == release)))
            .count()
    };
    for (release, least) in
        [("5.10", 250), ("6.1", 350), ("6.12", 450), ("6.18", 450), ("7.3", 600)]
    {
        assert!(of(release) >= least, "{release}: only {} wordings", of(release));
    }
}

#[test]
fn every_reason_a_loader_gives_has_its_code() {
    let list = include_str!("loader-wordings.txt");
    let rows = list.lines().filter(|l| !l.starts_with('#'));
    let mut count = 0;
    let mut wrong = Vec::new();
    for (want, text) in rows.map(|l| l.split_once('\t').expect("two columns")) {
        let reading = read(format!("{text}\n").into_bytes());
        let own = reading.refusals.iter().find_map(|r| r.code);
        let of_program = || reading.programs.iter().find_map(|p| p.refused.as_ref()?.code);
        let got = own.or_else(of_program);
        if got != Some(want) {
            wrong.push(format!("{want}, not {got:?}: {text}"));
        }
        count += 1;
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(count > 400, "only {count} are listed");
}
