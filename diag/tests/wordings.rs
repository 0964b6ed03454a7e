//! Every wording of the verifier that sources of five releases have is known.

use bpfassay_diag::explain::line;

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
