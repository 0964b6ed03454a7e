//! The tables against what real kernels answered (`truth/`, recorded by `truth/record.py`).

use std::collections::BTreeMap;

use bpfassay_spec::{AccessType, AttachType, CtxAccess, Kernel, ProgKind, ProgType, ProtoLookup};

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
fn check_helpers(kernel: &Kernel, text: &str) -> usize {
    let mut compared = 0;
    for line in lines(text) {
        let mut words = line.split(' ');
        let kind = kind(&mut words);
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
fn helper_availability_is_the_running_kernels() {
    let kernel = Kernel::by_name("6.18.44").unwrap();
    let n = check_helpers(&kernel, include_str!("../truth/6.18.44/helpers.txt"));
    assert!(n > 15_000, "{n}");
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

fn check_ctx_kind(kernel: &Kernel, head: &str, allowed: &Allowed<'_>) -> usize {
    let mut words = head.split(' ').skip(1);
    let kind = kind(&mut words);
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

fn check_ctx(kernel: &Kernel, text: &str) -> usize {
    let mut compared = 0;
    let mut head = None;
    let mut allowed = Allowed::new();
    for line in lines(text).chain(["kind end"]) {
        if line.starts_with("kind ") {
            if let Some(head) = head.replace(line) {
                compared += check_ctx_kind(kernel, head, &allowed);
            }
            allowed.clear();
        } else {
            runs(line, &mut allowed);
        }
    }
    compared
}

#[test]
fn context_accesses_are_the_running_kernels() {
    let kernel = Kernel::by_name("6.18.44").unwrap();
    let n = check_ctx(&kernel, include_str!("../truth/6.18.44/ctx.txt"));
    assert!(n > 150_000, "{n}");
}
