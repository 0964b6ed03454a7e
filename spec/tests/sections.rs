//! Section names as libbpf reads them, and the checks a load makes before the verifier runs.

use bpfassay_spec::{AttachType, ProgInfo, ProgKind, ProgType, SectionDef, SECTION_DEFS};

fn find(section: &str) -> Option<(ProgType, Option<AttachType>)> {
    SectionDef::find(section).map(|d| (d.prog_type, d.attach_type))
}

#[test]
fn sections_match_as_in_libbpf() {
    assert_eq!(SECTION_DEFS.len(), 116);
    assert_eq!(find("xdp"), Some((ProgType::Xdp, Some(AttachType::Xdp))));
    assert_eq!(find("xdp/devmap"), Some((ProgType::Xdp, Some(AttachType::XdpDevmap))));
    assert_eq!(find("xdp/eth0"), None);
    assert_eq!(find("kprobe"), Some((ProgType::Kprobe, None)));
    assert_eq!(find("kprobe/do_exit"), Some((ProgType::Kprobe, None)));
    assert_eq!(find("kprobes"), None);
    assert_eq!(
        find("kprobe.multi/tcp_*"),
        Some((ProgType::Kprobe, Some(AttachType::TraceKprobeMulti)))
    );
    assert_eq!(find("tc/ingress"), Some((ProgType::SchedCls, Some(AttachType::TcxIngress))));
    assert!(SectionDef::find("fentry.s/vfs_read")
        .is_some_and(|d| d.is_sleepable() && d.attaches_by_btf()));
    assert!(SectionDef::find("xdp.frags").is_some_and(|d| d.has_xdp_frags()));
    assert_eq!(SectionDef::target("fentry/vfs_read"), Some("vfs_read"));
    assert_eq!(SectionDef::target("fentry"), None);
}

/// cilium/ebpf's rule.
#[test]
fn a_plain_name_means_all_that_begin_with_it() {
    let find = |s| SectionDef::find_by_prefix(s).map(|d| (d.prog_type, d.attach_type));
    assert_eq!(find("tc_ingress").map(|f| f.0), Some(ProgType::SchedCls));
    assert_eq!(find("classifier_x").map(|f| f.0), Some(ProgType::SchedCls));
    assert_eq!(find("xdp/eth0").map(|f| f.0), Some(ProgType::Xdp));
    assert_eq!(find("kprobes"), None);
    assert_eq!(find("nothing"), None);
}

#[test]
fn every_section_has_a_loadable_attach_type() {
    for def in &SECTION_DEFS {
        let info = ProgInfo::of(def.prog_type).unwrap();
        assert!(info.effective_attach(def.attach_type).is_some(), "{}", def.pattern);
        let kind = ProgKind::new(def.prog_type, def.attach_type);
        let sleeps = |release| bpfassay_builds::kernel(release).unwrap().may_be_sleepable(&kind);
        assert!(!def.is_sleepable() || sleeps("6.18") || sleeps("7.3"), "{}", def.pattern);
    }
}

#[test]
fn attach_type_zero_is_taken_for_a_default() {
    let sock = ProgInfo::of(ProgType::CgroupSock).unwrap();
    assert_eq!(sock.effective_attach(None), Some(AttachType::CgroupInetSockCreate));
    assert_eq!(sock.effective_attach(Some(AttachType::Xdp)), None);
    assert!(ProgInfo::of(ProgType::Unspec).is_none());
    // Of sk_reuseport, before and since 5.14, there are two.
    assert_eq!(ProgInfo::all().len(), 33);
    let reuseport = |release: &str| {
        let kernel = bpfassay_builds::kernel(release).unwrap();
        kernel.prog(ProgType::SkReuseport).unwrap().effective_attach(Some(AttachType::Xdp))
    };
    assert_eq!(reuseport("5.10.262"), Some(AttachType::Xdp));
    assert_eq!(reuseport("6.1.192"), None);
}
