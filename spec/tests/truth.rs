//! The tables against what real kernels answered (`truth/`, recorded by `truth/record.py`).

use std::collections::{BTreeMap, BTreeSet};

use bpfassay_spec::{
    AccessType, AttachType, Caps, CtxAccess, Kernel, Kfunc, KfuncFlags, MapSpec, MapType, ProgInfo,
    ProgKind, ProgType, ProtoLookup, ReturnRule,
};

/// `prog attach hook sleepable` of a recorded line.
fn kind<'a>(words: &mut impl Iterator<Item = &'a str>) -> ProgKind<'a> {
    let mut next = || words.next().unwrap();
    let prog = ProgType::from_name(next()).unwrap();
    let attach = next();
    let hook = next();
    let sleepable = next() == "sleepable";
    ProgKind {
        sleepable,
        hook: (hook != "-").then_some(hook),
        ..ProgKind::new(prog, (attach != "-").then(|| AttachType::from_name(attach).unwrap()))
    }
}

fn lines(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter(|l| !l.starts_with('#'))
}

/// Helper letters: `!` unknown, `-` not allowed, `p` not in this probe, `s` might sleep,
/// `g` GPL only, `+` allowed, `a` allowed where every program must be GPL.
fn check_helpers<'a>(kernel: &Kernel, rows: impl Iterator<Item = &'a str>, caps: Caps) -> usize {
    let mut compared = 0;
    for line in rows {
        let mut words = line.split(' ');
        let kind = ProgKind { caps, ..kind(&mut words) };
        for (at, letter) in words.next().unwrap().chars().enumerate() {
            let id = at as i32 + 1;
            let got = kernel.helper_proto(&kind, id);
            let ok = match (letter, got) {
                ('!', ProtoLookup::UnknownHelper) | ('-', ProtoLookup::NotAllowed { .. }) => true,
                ('p', ProtoLookup::Proto(p)) => p.allowed.is_some(),
                ('s', ProtoLookup::Proto(p)) => p.might_sleep && !kind.sleepable,
                ('a', ProtoLookup::Proto(p)) => kind.sleepable || !p.might_sleep,
                ('g', ProtoLookup::Proto(p)) => p.gpl_only,
                ('+', ProtoLookup::Proto(p)) => !p.gpl_only && (kind.sleepable || !p.might_sleep),
                _ => false,
            };
            assert!(ok, "{kind:?}: helper {id}: kernel says {letter}, table {got:?}");
            compared += 1;
        }
    }
    compared
}

#[test]
fn helper_availability_is_the_kernels() {
    for (release, text) in [
        ("6.18.44", include_str!("../truth/6.18.44/helpers.txt")),
        ("6.18.15", include_str!("../truth/6.18.15/helpers.txt")),
        ("6.1.192", include_str!("../truth/6.1.192/helpers.txt")),
        ("5.10.262", include_str!("../truth/5.10.262/helpers.txt")),
    ] {
        let n = check_helpers(&bpfassay_builds::kernel(release).unwrap(), lines(text), Caps::ALL);
        assert!(n > 14_000, "{n}");
    }
}

/// The same of kernels that are not served: the tables of their release, in 6.18.15's configuration.
#[test]
fn helper_availability_is_that_of_other_releases() {
    for (release, text) in [
        ("6.12.118", include_str!("../truth/6.12.118/helpers.txt")),
        ("6.16.12", include_str!("../truth/6.16.12/helpers.txt")),
        ("7.3.4", include_str!("../truth/7.3.4/helpers.txt")),
    ] {
        let config = bpfassay_builds::kernel("6.18.15").unwrap().config;
        let kernel = Kernel::of_release(release, "x86_64", config).unwrap();
        let n = check_helpers(&kernel, lines(text), Caps::ALL);
        assert!(n > 15_000, "{release}: {n}");
    }
}

/// Capabilities decide which helpers there are, and which program types may be loaded.
#[test]
fn capabilities_open_what_the_kernel_opens() {
    let kernel = bpfassay_builds::kernel("6.18.44").unwrap();
    let text = include_str!("../truth/6.18.44/caps.txt");
    let everyone: BTreeSet<&str> = lines(include_str!("../truth/6.18.44/helpers.txt"))
        .map(|l| l.split(' ').next().unwrap())
        .collect();
    let mut compared = 0;
    for section in text.split("caps ").filter(|s| s.starts_with("bpf")) {
        let mut rows = section.lines();
        let names: Vec<&str> = rows.next().unwrap().split(',').collect();
        let caps = Caps {
            perfmon: names.contains(&"perfmon"),
            net_admin: names.contains(&"net_admin"),
            sys_admin: false,
            bpf: true,
        };
        let rows: Vec<&str> = rows.collect();
        compared += check_helpers(&kernel, rows.iter().copied(), caps);
        let loaded: BTreeSet<&str> = rows.iter().map(|l| l.split(' ').next().unwrap()).collect();
        for name in &everyone {
            let info = ProgInfo::of(ProgType::from_name(name).unwrap()).unwrap();
            let may = (caps.perfmon || !info.perfmon) && (caps.net_admin || !info.net_admin);
            assert_eq!(loaded.contains(name), may, "{name} with {caps:?}");
        }
    }
    assert!(compared > 30_000, "{compared}");
}

/// Offsets, operation, size and outcome of the allowed accesses of one kind.
type Allowed<'a> = BTreeMap<(&'a str, i32), &'a str>;

fn runs<'a>(line: &'a str, into: &mut Allowed<'a>) {
    let mut words = line.trim_start().splitn(3, ' ');
    let (op, place, outcome) =
        (words.next().unwrap(), words.next().unwrap(), words.next().unwrap());
    let (first, last, step) = match place.split_once("..") {
        None => (place, place, "1"),
        Some((first, rest)) => {
            let (last, step) = rest.split_once('/').unwrap();
            (first, last, step)
        }
    };
    let number = |s: &str| s.parse::<i32>().unwrap();
    for off in (number(first)..=number(last)).step_by(number(step) as usize) {
        into.insert((op, off), outcome);
    }
}

/// The kernel's word for what a load leaves in R0.
fn register_word(info: &CtxAccess) -> String {
    use bpfassay_spec::{RegBase::*, TypeFlags};
    let base = match info.reg_type.base() {
        Scalar => "scalar",
        Packet => "pkt",
        PacketMeta => "pkt_meta",
        PacketEnd => "pkt_end",
        FlowKeys => "flow_keys",
        Socket => "sock",
        SockCommon => "sock_common",
        TpBuffer => "tp_buffer",
        BtfId => "ptr_",
        _ => "?",
    };
    let trusted = if info.reg_type.has(TypeFlags::PTR_TRUSTED) { "trusted_" } else { "" };
    let null = if info.reg_type.may_be_null() { "_or_null" } else { "" };
    format!("{trusted}{base}{}{null}", info.btf_struct.unwrap_or(""))
}

fn check_ctx_kind(kernel: &Kernel, head: &str, allowed: &Allowed<'_>, caps: Caps) -> usize {
    let mut words = head.split(' ').skip(1);
    let kind = ProgKind { caps, ..kind(&mut words) };
    let (low, high) = words.next().unwrap().split_once("..").unwrap();
    let mut compared = 0;
    for off in low.parse::<i32>().unwrap()..high.parse().unwrap() {
        for op in ["r1", "r2", "r4", "r8", "s1", "s2", "s4", "w1", "w2", "w4", "w8"] {
            let size = op[1..].parse().unwrap();
            let access = if op.starts_with('w') { AccessType::Write } else { AccessType::Read };
            let mut info = CtxAccess::new(op.starts_with('s'));
            let ok = kernel.ctx_access(&kind, off, size, access, &mut info);
            let truth = allowed.get(&(op, off)).copied();
            if info.needs_btf && ok {
                continue;
            }
            let got = match (ok, access) {
                (false, _) => None,
                (true, AccessType::Write) => Some("ok".to_string()),
                (true, AccessType::Read) => Some(register_word(&info)),
            };
            assert_eq!(got.as_deref(), truth, "{kind:?} {op} at {off}");
            compared += 1;
        }
    }
    compared
}

fn check_ctx(kernel: &Kernel, text: &str, caps: Caps) -> usize {
    let mut compared = 0;
    let mut head = None;
    let mut allowed = Allowed::new();
    for line in lines(text).chain(["kind end"]) {
        if line.starts_with("kind ") {
            if let Some(head) = head.replace(line) {
                compared += check_ctx_kind(kernel, head, &allowed, caps);
            }
            allowed.clear();
        } else {
            runs(line, &mut allowed);
        }
    }
    compared
}

#[test]
fn context_accesses_are_the_kernels() {
    for (release, text) in [
        ("6.18.44", include_str!("../truth/6.18.44/ctx.txt")),
        ("6.18.15", include_str!("../truth/6.18.15/ctx.txt")),
    ] {
        let n = check_ctx(&bpfassay_builds::kernel(release).unwrap(), text, Caps::ALL);
        assert!(n > 150_000, "{n}");
    }
}

/// An ordinary user: only socket filters and cgroup_skb load, with fewer helpers and fields.
#[test]
fn an_ordinary_user_gets_what_the_kernel_gives() {
    let kernel = bpfassay_builds::kernel("6.18.15").unwrap();
    let helpers = include_str!("../truth/6.18.15/unprivileged_helpers.txt");
    let n = check_helpers(&kernel, lines(helpers), Caps::NONE);
    assert_eq!(n, 660);
    let ctx = include_str!("../truth/6.18.15/unprivileged_ctx.txt");
    let n = check_ctx(&kernel, ctx, Caps::NONE);
    assert!(n > 7_000, "{n}");
}

/// Attach types that each program type loads with; EINVAL without a message where it does not.
#[test]
fn attach_types_are_the_kernels() {
    for (release, text) in [
        ("6.18.44", include_str!("../truth/6.18.44/attach.txt")),
        ("6.18.15", include_str!("../truth/6.18.15/attach.txt")),
    ] {
        let kernel = bpfassay_builds::kernel(release).unwrap();
        let mut compared = 0;
        for line in lines(text) {
            let mut words = line.splitn(3, ' ');
            let prog = ProgType::from_name(words.next().unwrap()).unwrap();
            let names = words.next().unwrap();
            // A silent EINVAL comes from these checks; anything else passed them.
            let refused = words.next().unwrap() == "EINVAL";
            let Some(info) = ProgInfo::of(prog) else { continue };
            let unknown = kernel.prog_type_lacks(prog).is_some();
            for attach in AttachType::ALL {
                if names != "*" && !names.split(',').any(|n| n == attach.name()) {
                    continue;
                }
                let ok = info.effective_attach(Some(*attach)).is_some() && !unknown;
                // This build refuses some types before it looks at the attach type.
                if !line.ends_with(" EPERM") {
                    assert_eq!(ok, !refused, "{release} {prog} {attach}");
                }
                compared += 1;
            }
        }
        assert!(compared > 1_800, "{compared}");
    }
}

#[test]
fn return_values_are_the_kernels() {
    for (release, text) in [
        ("6.18.44", include_str!("../truth/6.18.44/returns.txt")),
        ("6.18.15", include_str!("../truth/6.18.15/returns.txt")),
    ] {
        let kernel = bpfassay_builds::kernel(release).unwrap();
        let mut compared = 0;
        for line in lines(text) {
            let mut words = line.split(' ');
            let kind = kind(&mut words);
            let allowed: Vec<&str> = words.collect();
            let (min, max) = match kernel.return_rule(&kind) {
                ReturnRule::Any => (i64::MIN, i64::MAX),
                ReturnRule::Range { min, max, .. } => (i64::from(min), i64::from(max)),
                ReturnRule::Lsm => {
                    let (min, max) = kernel.lsm_return_range(kind.hook.unwrap());
                    (i64::from(min), i64::from(max))
                }
                ReturnRule::LsmCgroup if kind.hook == Some("bpf_lsm_inet_csk_clone") => (1, 1),
                ReturnRule::LsmCgroup => (0, 1),
                ReturnRule::StructOps => (i64::MIN, i64::MAX),
                ReturnRule::NotSupported => (1, 0),
            };
            for value in [-4096, -4095, -1, 0, 1, 2, 3, 4] {
                let truth = allowed.contains(&value.to_string().as_str());
                assert_eq!((min..=max).contains(&value), truth, "{release} {kind:?} {value}");
                compared += 1;
            }
            // The unknown value is bpf_get_prandom_u32's; not every program may ask for one.
            if let ProtoLookup::Proto(_) = kernel.helper_proto(&kind, 7) {
                assert_eq!(min == i64::MIN, allowed.contains(&"unknown"), "{release} {kind:?}");
            }
        }
        assert!(compared > 500, "{compared}");
    }
}

#[test]
fn kfuncs_are_open_to_the_kernels_program_types() {
    for (release, text) in [
        ("6.18.44", include_str!("../truth/6.18.44/kfuncs.txt")),
        ("6.18.15", include_str!("../truth/6.18.15/kfuncs.txt")),
    ] {
        let kernel = bpfassay_builds::kernel(release).unwrap();
        let mut rows = lines(text);
        let names: Vec<&str> = rows.next().unwrap().split(' ').skip(1).collect();
        let mut compared = 0;
        for line in rows {
            let mut words = line.split(' ');
            let kind = kind(&mut words);
            for (name, letter) in names.iter().zip(words.next().unwrap().chars()) {
                let row = kernel.kfunc(&kind, name);
                let ok = match letter {
                    '-' => row.is_none(),
                    's' => row.is_some_and(|k| k.flags.has(KfuncFlags::SLEEPABLE)),
                    'd' => Kfunc::rows(name)
                        .iter()
                        .any(|k| k.set().is_some_and(|s| s.name == "xdp_metadata_kfunc_ids")),
                    _ => row.is_some_and(|k| kind.sleepable || !k.flags.has(KfuncFlags::SLEEPABLE)),
                };
                assert!(ok, "{release} {kind:?} {name}: kernel says {letter}, table {row:?}");
                compared += 1;
            }
        }
        assert!(compared > 15_000, "{compared}");
    }
}

fn map_answer(kernel: &Kernel, spec: &MapSpec) -> &'static str {
    match kernel.map_create(spec, &Caps::ALL).map_err(|r| r.errno) {
        Ok(()) => "ok",
        Err(22) => "EINVAL",
        Err(7) => "E2BIG",
        Err(34) => "ERANGE",
        Err(95) => "EOPNOTSUPP",
        Err(524) => "ENOTSUPP",
        Err(_) => "?",
    }
}

/// A map of the recording, with one attribute varied.
fn check_maps(kernel: &Kernel, text: &str) -> usize {
    let mut rows = lines(text);
    let list =
        |row: &str| -> Vec<u64> { row.split(' ').skip(1).map(|n| n.parse().unwrap()).collect() };
    let sizes = list(rows.next().unwrap());
    let keys = list(rows.next().unwrap());
    let entries = [0, 1, 2, 3, 4, 1024, 4095, 4096, 4097, 8192, 12288, 65536];
    let extras = [1, 5, 15, 16, 4096, 1 << 32];
    let mut good = None;
    let mut compared = 0;
    let mut check = |spec: MapSpec, truth: &str| {
        let got = map_answer(kernel, &spec);
        assert_eq!(got, truth, "{spec:?}");
        compared += 1;
    };
    for row in rows {
        let words: Vec<&str> = row.trim_start().split(' ').collect();
        if words[0] == "map" {
            let n: Vec<u32> = words[2..6].iter().map(|n| n.parse().unwrap()).collect();
            let map_type = MapType::from_name(words[1]).unwrap();
            let storage = matches!(
                map_type,
                MapType::SkStorage
                    | MapType::InodeStorage
                    | MapType::TaskStorage
                    | MapType::CgrpStorage
            );
            let spec = MapSpec {
                map_type,
                key_size: n[0],
                value_size: n[1],
                max_entries: n[2],
                flags: n[3],
                has_btf_key: storage,
                has_btf_value: storage,
                ..MapSpec::bare(map_type)
            };
            good = Some(spec);
            check(spec, words[6]);
            continue;
        }
        let good = good.unwrap();
        if words[0] == "flags" {
            for flags in &words[2..] {
                check(MapSpec { flags: u32::from_str_radix(flags, 16).unwrap(), ..good }, words[1]);
            }
            continue;
        }
        if words[0] == "without_btf" {
            check(MapSpec { has_btf_key: false, has_btf_value: false, ..good }, words[1]);
            continue;
        }
        for run in &words[1..] {
            let (range, truth) = run.split_once('=').unwrap();
            let (first, last) = range.split_once("..").unwrap_or((range, range));
            let (first, last) = (first.parse::<u64>().unwrap(), last.parse::<u64>().unwrap());
            let asked: &[u64] = match words[0] {
                "key" => &keys,
                "value" => &sizes,
                "entries" => &entries,
                "extra" => &extras,
                other => panic!("unknown row {other}"),
            };
            for value in asked.iter().filter(|v| (first..=last).contains(v)) {
                let number = *value as u32;
                let spec = match words[0] {
                    "key" => MapSpec { key_size: number, ..good },
                    // The recording had no BTF for values above 16 MiB.
                    "value" if *value > 1 << 24 => MapSpec {
                        value_size: number,
                        has_btf_key: false,
                        has_btf_value: false,
                        ..good
                    },
                    "value" => MapSpec { value_size: number, ..good },
                    "entries" => MapSpec { max_entries: number, ..good },
                    _ => MapSpec { extra: *value, ..good },
                };
                check(spec, truth);
            }
        }
    }
    compared
}

#[test]
fn maps_are_created_as_the_kernel_does() {
    for (release, text) in [
        ("6.18.44", include_str!("../truth/6.18.44/maps.txt")),
        ("6.18.15", include_str!("../truth/6.18.15/maps.txt")),
    ] {
        let n = check_maps(&bpfassay_builds::kernel(release).unwrap(), text);
        assert!(n > 10_000, "{n}");
    }
}

/// Definitions with several attributes off the usual, each with the kernel's answer.
fn check_mixed(kernel: &Kernel, text: &str) -> usize {
    let mut compared = 0;
    for row in lines(text) {
        let words: Vec<&str> = row.split(' ').collect();
        let [kind, key, value, entries, flags, extra, node, btf, truth] = words[..] else {
            panic!("{row}");
        };
        let map_type = MapType::from_name(kind).unwrap();
        let number = |text: &str| text.parse::<u32>().unwrap();
        let storage =
            kind.ends_with("k_storage") || kind == "inode_storage" || kind == "cgrp_storage";
        // The recording had no BTF for values above 16 MiB.
        let typed = storage && btf == "btf" && number(value) <= 1 << 24;
        let spec = MapSpec {
            key_size: number(key),
            value_size: number(value),
            max_entries: number(entries),
            flags: u32::from_str_radix(flags, 16).unwrap(),
            extra: extra.parse().unwrap(),
            has_btf_key: typed,
            has_btf_value: typed,
            // The machines that were asked have one node.
            node_is_online: node == "0",
            ..MapSpec::bare(map_type)
        };
        assert_eq!(map_answer(kernel, &spec), truth, "{} {row}", kernel.release);
        compared += 1;
    }
    compared
}

#[test]
fn maps_with_several_attributes_off_are_created_as_the_kernel_does() {
    for (release, text) in [
        ("6.18.44", include_str!("../truth/6.18.44/mixed.txt")),
        ("6.18.15", include_str!("../truth/6.18.15/mixed.txt")),
    ] {
        let n = check_mixed(&bpfassay_builds::kernel(release).unwrap(), text);
        assert!(n > 5_500, "{n}");
    }
}

/// Other lines than those served: their map rules alone.
#[test]
fn map_rules_have_their_history() {
    let served = bpfassay_builds::kernel("6.18.15").unwrap();
    for (release, text) in [
        ("6.1.192", include_str!("../truth/6.1.192/mixed.txt")),
        ("6.12.118", include_str!("../truth/6.12.118/mixed.txt")),
        ("7.3.4", include_str!("../truth/7.3.4/mixed.txt")),
    ] {
        let config = served.config.clone();
        let mut kernel = Kernel::of_release(release, "x86_64", config).unwrap();
        kernel.nr_cpus = served.nr_cpus;
        let n = check_mixed(&kernel, text);
        assert!(n > 900, "{n}");
    }
}
