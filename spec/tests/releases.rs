//! Facts over the kernel's history, against what kernels of twelve release lines answered.

use bpfassay_spec::{FeatureProbe, Features, Release};

fn lines(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter(|l| !l.starts_with('#') && !l.is_empty())
}

#[test]
fn features_are_in_the_releases_that_have_them() {
    let mut rows = lines(include_str!("../truth/features.txt"));
    let releases: Vec<&str> = rows.next().unwrap().split(' ').skip(1).collect();
    let mut compared = 0;
    for row in rows {
        let (name, verdicts) = row.split_once(' ').unwrap();
        let probe = FeatureProbe::all().iter().find(|p| p.feature == name).unwrap();
        assert_eq!(verdicts.len(), releases.len());
        for (release, verdict) in releases.iter().zip(verdicts.chars()) {
            let at = Release::parse(release).unwrap();
            if at < probe.from {
                continue;
            }
            let features = match bpfassay_builds::kernel(release) {
                Some(kernel) => kernel.features,
                None => Features::resolve(at),
            };
            let has = features.list().iter().find(|(n, _)| *n == name).unwrap().1;
            assert_eq!(has, verdict == '+', "{name} in {release}");
            compared += 1;
        }
    }
    assert_eq!(compared, FeatureProbe::all().len() * releases.len() - 2);
}

/// What the lists of builds said before features had a history.
#[test]
fn the_two_known_builds_keep_their_features() {
    let new = bpfassay_builds::kernel("6.18.44").unwrap().features;
    let old = bpfassay_builds::kernel("6.18.15").unwrap().features;
    for ((name, in_new), (_, in_old)) in new.list().into_iter().zip(old.list()) {
        let only_old = matches!(name, "kprobe_ctx_write" | "probe_write_user");
        assert_eq!((in_new, in_old), (!only_old, only_old), "{name}");
    }
}
