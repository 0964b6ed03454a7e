//! Facts over the kernel's history, against what kernels of twelve release lines answered.

use bpfassay_spec::{
    AccessType, Config, CtxAccess, FeatureProbe, Features, Kernel, ProgKind, ProgType, Release,
};

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

/// What parts 6.18.44 from 6.18.15, as first measured.
#[test]
fn the_two_known_builds_keep_their_features() {
    let new = bpfassay_builds::kernel("6.18.44").unwrap().features.list();
    let old = bpfassay_builds::kernel("6.18.15").unwrap().features.list();
    let parted = |newer: bool| {
        let pairs = new.iter().zip(&old);
        let names = pairs.filter(|(n, o)| n.1 != o.1 && n.1 == newer).map(|(n, _)| n.0);
        names.collect::<Vec<_>>()
    };
    assert_eq!(parted(false), ["kprobe_ctx_write", "probe_write_user", "barrier_by_first_bytes"]);
    let taken_back = [
        "scalar_byte_swap",
        "add_const_keeps_self_link",
        "fork_scalars",
        "linked_regs_live_only",
        "deduce_u32_across_sign",
        "tnum_single_value",
        "var_off_write_scrubs_slot",
        "lsh_by_32_keeps_sign",
        "lsm_retval_starts_unknown",
        "scalar_ids_one_way",
        "packet_end_marks_compared",
        "throw_checks_regions",
        "ld_abs_may_leave_subprog",
        "arena_second_operand",
        "buf_null_checked",
        "inner_array_may_be_shorter",
        "untrusted_is_read_only",
        "tail_callee_wants_storage",
        "kfunc_args_trusted",
        "sock_ops_zeroes_same_register",
    ];
    assert_eq!(parted(true), taken_back);
}

fn kernel(release: &str) -> Kernel {
    Kernel::of_release(release, "x86_64", Config::default()).unwrap()
}

/// Helpers of later kernels do not change what an older one calls "invalid func".
#[test]
fn the_highest_helper_is_the_releases() {
    let mut compared = 0;
    for row in lines(include_str!("../truth/last_helper.txt")) {
        let (release, last) = row.split_once(' ').unwrap();
        let ids = kernel(release).helper_ids();
        assert_eq!(ids.end - 1, last.parse::<i32>().unwrap(), "{release}");
        compared += 1;
    }
    assert_eq!(compared, 12);
}

/// Measured: sleepable LSM programs of cgroups loaded from 6.18.15 to 7.0.13, and neither before nor after.
#[test]
fn sleepable_programs_are_the_releases() {
    use bpfassay_spec::{
        AttachType::{LsmCgroup, LsmMac},
        ProgKind,
        ProgType::*,
    };
    let may = |release: &str, prog, attach| {
        let kernel = kernel(release);
        kernel.may_be_sleepable(&ProgKind::new(prog, attach))
    };
    for (release, lsm_cgroup, raw_tp) in [
        ("6.12.118", false, false),
        ("6.18.15", true, false),
        ("6.19.14", true, false),
        ("7.0.13", true, false),
        ("7.1.13", false, true),
        ("7.2.13", false, true),
        ("7.3.4", false, true),
    ] {
        assert_eq!(may(release, Lsm, Some(LsmCgroup)), lsm_cgroup, "{release}");
        assert_eq!(may(release, RawTracepoint, None), raw_tp, "{release}");
        assert_eq!(may(release, Tracepoint, None), raw_tp, "{release}");
        assert!(may(release, Lsm, Some(LsmMac)) && may(release, Kprobe, None), "{release}");
        assert!(!may(release, Xdp, None) && !may(release, SocketFilter, None), "{release}");
    }
}

/// Measured on 6.12.118, 6.18.15, 6.18.44, 7.0.13, 7.1.13, 7.2.13 and 7.3.4.
#[test]
fn words_are_the_releases() {
    for (release, is_old, names_leak) in [
        ("6.12.118", true, false),
        ("6.18.15", true, true),
        ("6.18.44", true, true),
        ("7.0.13", true, true),
        ("7.1.13", false, true),
        ("7.3.4", false, true),
    ] {
        let words = kernel(release).words;
        assert_eq!(words.helper_sleeps.starts_with("helper call"), is_old, "{release}");
        assert_eq!(words.prog_not_sleepable.starts_with("Only fentry"), is_old, "{release}");
        assert_eq!(words.packet_outside.contains("offset is outside"), is_old, "{release}");
        assert_eq!(!words.leak_at_exit.is_empty(), names_leak, "{release}");
    }
}

/// Fields that came after 5.10 are no fields before.
#[test]
fn contexts_have_the_fields_of_their_release() {
    let mut compared = 0;
    for row in lines(include_str!("../truth/late_ctx_fields.txt")) {
        let [release, prog_type, size, first, end, accepted] =
            row.split(' ').collect::<Vec<_>>().try_into().expect("six columns");
        let kernel = bpfassay_builds::kernel(release).expect("a served kernel");
        let kind = ProgKind::new(ProgType::from_name(prog_type).expect("a program type"), None);
        let size: u32 = size.parse().unwrap();
        let (first, end): (i32, i32) = (first.parse().unwrap(), end.parse().unwrap());
        let accepted: Vec<&str> = accepted.split(',').collect();
        for off in (first..end).step_by(size as usize) {
            let mut access = CtxAccess::new(false);
            let is_allowed = kernel.ctx_access(&kind, off, size, AccessType::Read, &mut access);
            let want = accepted.contains(&off.to_string().as_str());
            let is_taken = is_allowed && !access.unconverted;
            assert_eq!(is_taken, want, "{release} {prog_type}: {size} bytes at {off}");
            compared += 1;
        }
    }
    assert_eq!(compared, 2 * 285);
}

/// 6.12.118 and 7.3.4 refuse to read through `info` of signal_deliver (`invalid mem access 'scalar'`); 6.18.44 and 6.1.192
/// load the same program (asked on 29 November 2026).
#[test]
fn an_argument_that_may_be_an_error_is_dated_by_line() {
    for (release, may) in
        [("6.1.192", false), ("6.12.118", true), ("6.18.44", false), ("7.3.4", true)]
    {
        let arg = kernel(release).raw_tp_arg("signal_deliver", 1);
        assert_eq!(arg.is_some_and(|a| a.may_be_error), may, "{release}");
    }
}
