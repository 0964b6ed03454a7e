//! Profiles: what they say becomes the kernel, and what is wrong in them is named.

use std::collections::BTreeMap;

use bpfassay_spec::profile::{base64_encode, version_code, BtfBlob, RefusedType, SCHEMA};
use bpfassay_spec::{AttachType, Kfunc, Profile, ProfileError, ProgKind, ProgType, ProtoLookup};

fn profile() -> Profile {
    let kernel = bpfassay_builds::kernel("6.18.44").unwrap();
    let mut config: BTreeMap<String, String> = BTreeMap::new();
    config.extend(kernel.config.builtin().map(|n| (n.to_string(), "y".to_string())));
    config.extend(kernel.config.modules().map(|n| (n.to_string(), "m".to_string())));
    config.insert("HZ".into(), "250".into());
    let kfuncs = Kfunc::all()
        .iter()
        .map(|k| (k.name.to_string(), k.flags.names().iter().map(|f| f.to_string()).collect()));
    Profile {
        schema: SCHEMA.into(),
        name: "test".into(),
        complete: true,
        release: "6.18.300-custom".into(),
        origin: String::new(),
        assumed: Vec::new(),
        base: "6.18.44".into(),
        arch: "x86_64".into(),
        nr_cpus: 64,
        possible_cpus: 4,
        features: kernel.features.list().iter().map(|(n, v)| (n.to_string(), *v)).collect(),
        jit: Some(kernel.jit.clone()),
        config,
        vmlinux_btf: Some(BtfBlob::inline("vmlinux", b"bytes")),
        module_btf: Vec::new(),
        kfuncs: kfuncs.collect(),
        absent_helpers: Default::default(),
        refused: Vec::new(),
        symbols: None,
    }
}

fn error(profile: &Profile) -> ProfileError {
    Profile::parse(&profile.to_json()).map(|_| "no error").unwrap_err()
}

#[test]
fn a_profile_survives_its_own_text() {
    let before = profile();
    let text = before.to_json();
    let after = Profile::parse(&text).unwrap();
    assert_eq!(after, before);
    assert_eq!(after.to_json(), text);
    assert_eq!(after.vmlinux_btf.unwrap().bytes().unwrap(), b"bytes");
}

#[test]
fn a_profile_of_a_build_is_that_build() {
    let mut built = profile().kernel().unwrap();
    let known = bpfassay_builds::kernel("6.18.44").unwrap();
    built.release = known.release.clone();
    assert_eq!((built.nr_cpus, built.nr_cpu_ids), (64, 4));
    (built.nr_cpus, built.nr_cpu_ids) = (known.nr_cpus, known.nr_cpu_ids);
    // The profile of this test lists every kfunc, so none is absent; it lists no refusals and no symbols.
    built.refused = known.refused.clone();
    built.config = known.config.clone();
    built.absent_kfuncs = known.absent_kfuncs.clone();
    built.absent_symbols = known.absent_symbols.clone();
    assert!(built == known, "a feature, a limit or the JIT differs");
}

#[test]
fn what_a_profile_lacks_is_absent() {
    let mut p = profile();
    p.absent_helpers.insert("bpf_loop".into());
    p.kfuncs.remove("bpf_rcu_read_lock");
    p.config.remove("CGROUPS");
    p.features.insert("fork_scalars".into(), false);
    p.refused.push(RefusedType { prog_type: "lsm".into(), attach_type: None, errno: 1 });
    let kernel = Profile::parse(&p.to_json()).unwrap().kernel().unwrap();
    let xdp = ProgKind::new(ProgType::Xdp, None);
    assert_eq!(kernel.helper_proto(&xdp, 181), ProtoLookup::NotAllowed { lacks_config: None });
    assert!(matches!(kernel.helper_proto(&xdp, 1), ProtoLookup::Proto(_)));
    assert!(kernel.kfunc(&xdp, "bpf_rcu_read_lock").is_none());
    assert!(kernel.kfunc(&xdp, "bpf_rcu_read_unlock").is_some());
    assert!(kernel.kfunc(&xdp, "bpf_iter_css_new").is_none());
    assert!(!kernel.features.fork_scalars && kernel.features.scalar_byte_swap);
    assert_eq!(kernel.refusal(ProgType::Lsm, Some(AttachType::LsmMac)), Some(1));
    assert_eq!(kernel.refusal(ProgType::Xdp, None), None);
}

/// A profile written before a feature was known takes the base build's.
#[test]
fn a_feature_that_is_not_listed_is_the_base_builds() {
    for (base, value) in [("6.18.44", true), ("6.18.15", false)] {
        let mut p = profile();
        p.base = base.into();
        p.features.remove("fork_scalars");
        let kernel = Profile::parse(&p.to_json()).unwrap().kernel().unwrap();
        assert_eq!(kernel.features.fork_scalars, value, "{base}");
        assert!(kernel.features.scalar_byte_swap, "{base}");
    }
}

#[test]
fn numbers_and_options_are_read() {
    let mut p = profile();
    // A release of the distribution's own numbering is the upstream release that `base` names.
    assert_eq!(p.version_code(), Some(6 << 16 | 18 << 8 | 44));
    p.base.clear();
    assert_eq!(p.version_code(), Some(6 << 16 | 18 << 8 | 255));
    assert_eq!(version_code("6.18.44-custom"), Some(0x06122c));
    assert_eq!(version_code("5.10.262"), Some(0x050aff));
    assert_eq!(version_code("7.3-rc1"), Some(0x070300));
    assert_eq!(version_code("next"), None);
    assert_eq!(p.config_value("CONFIG_HZ"), Some("250"));
    assert_eq!(p.config_value("HZ_1000"), None);
}

#[test]
fn every_mistake_is_named() {
    let broken = |change: &dyn Fn(&mut Profile)| {
        let mut p = profile();
        change(&mut p);
        error(&p).to_string()
    };
    assert_eq!(
        broken(&|p| p.schema = "x".into()),
        "schema is `x`, this version reads `bpfassay.profile/1`"
    );
    assert!(broken(&|p| p.base = "5.4".into())
        .starts_with("no tables for release `5.4`; they go from 5.10"));
    assert_eq!(
        broken(&|p| {
            p.features.insert("magic".into(), true);
        }),
        "features: no feature `magic`"
    );
    assert_eq!(
        broken(&|p| {
            p.kfuncs.insert("f".into(), vec!["KF_ODD".into()]);
        }),
        "kfuncs.f: no flag `KF_ODD`"
    );
    assert_eq!(
        broken(&|p| p.vmlinux_btf = None),
        "complete is true, but the profile lacks vmlinux_btf"
    );
    let blob = |p: &mut Profile, f: &dyn Fn(&mut BtfBlob)| {
        if let Some(b) = &mut p.vmlinux_btf {
            f(b);
        }
    };
    assert_eq!(
        broken(&|p| blob(p, &|b| b.sha256 = "F".repeat(64))),
        "BTF of vmlinux: sha256 is not 64 lower-case hexadecimal digits"
    );
    assert_eq!(
        broken(&|p| blob(p, &|b| b.base64 = Some("AB%=".into()))),
        "BTF of vmlinux: no base64 at character 2"
    );
    assert_eq!(
        broken(&|p| blob(p, &|b| b.file = Some("x".into()))),
        "BTF of vmlinux: give either `file` or `base64`"
    );
    assert_eq!(
        broken(&|p| {
            p.absent_helpers.insert("bpf_magic".into());
        }),
        "absent_helpers: no helper `bpf_magic`"
    );
    let text = profile().to_json().replace("\"nr_cpus\": 64", "\"nr_cpus\": -1");
    assert!(matches!(Profile::parse(&text), Err(ProfileError::Json { line: 8, .. })));
    assert!(matches!(Profile::parse("{"), Err(ProfileError::Json { .. })));
}

#[test]
fn base64_of_every_length_comes_back() {
    for n in 0..20u8 {
        let bytes: Vec<u8> = (0..n).map(|b| b.wrapping_mul(37)).collect();
        assert_eq!(BtfBlob::inline("b", &bytes).bytes().unwrap(), bytes);
    }
    assert_eq!(base64_encode(b"Man"), "TWFu");
    assert_eq!(base64_encode(b"Ma"), "TWE=");
    assert_eq!(base64_encode(b"M"), "TQ==");
}
