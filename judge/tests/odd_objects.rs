//! Objects that loaders read differently, and what 6.18.44 says of programs in the corners of loading.
//!
//! Messages and errnos were asked of 6.18.44 through libbpf, but for `ld_abs.o`, which that kernel must not be given:
//! its answers are from a report of one that was.

use bpfassay_judge::{Options, ProgramReport, Target, VerdictWord};
use bpfassay_object::{Loader, ProgramOverride};
use bpfassay_spec::ProgType;
use bpfassay_verifier::log::LogLevel;

const LEGACY: &[u8] = include_bytes!("data/legacy.o");
const ODD: &[u8] = include_bytes!("data/odd.o");
const WRAPPER: &[u8] = include_bytes!("data/wrapper.o");
const WORDS: &[u8] = include_bytes!("data/words.o");
const LD_ABS: &[u8] = include_bytes!("data/ld_abs.o");
const CILIUM: &[u8] = include_bytes!("data/cilium.o");
const AYA: &[u8] = include_bytes!("data/aya.o");
const LIST: &[u8] = include_bytes!("../../corpus/objects/v3/kfunc/list.o");

fn target() -> Target {
    Target::served("6.18").unwrap().expect("6.18 is served")
}

fn reports(bytes: &[u8], options: &Options) -> Vec<ProgramReport> {
    let target = target();
    let linked = target.load_with(bytes, "test.o", options).expect("a readable object");
    linked.entries.iter().map(|e| e.judge(&target, options).report).collect()
}

fn report(bytes: &[u8], program: &str, options: &Options) -> ProgramReport {
    let mut all = reports(bytes, options).into_iter();
    all.find(|r| r.name == program).unwrap_or_else(|| panic!("no program {program}"))
}

fn by(loader: Loader) -> Options {
    Options { loader, ..Options::default() }
}

/// Verdict, errno and message of a program, by any loader's rules.
fn said(bytes: &[u8], program: &str) -> (VerdictWord, Option<i32>, String) {
    let r = report(bytes, program, &Options::default());
    (r.verdict, r.errno, r.message.unwrap_or_default())
}

fn rejected(errno: i32, message: &str) -> (VerdictWord, Option<i32>, String) {
    (VerdictWord::Rejected, Some(errno), message.to_string())
}

/// aya 0.13.1 loads the object on 6.18.44 and every program of it is accepted; without its licence the second is not, and
/// libbpf refuses the object.
#[test]
fn aya_splits_sections_and_passes_over_what_it_does_not_know() {
    let types: Vec<_> = reports(AYA, &by(Loader::Aya))
        .into_iter()
        .map(|r| (r.name, r.prog_type, r.verdict))
        .collect();
    let accepted = |name: &str, ty| (name.to_string(), ty, VerdictWord::Accepted);
    let expected = [
        accepted("counts_bytes", "sched_cls"),
        accepted("prints", "socket_filter"),
        accepted("constant_key", "cgroup_skb"),
    ];
    assert_eq!(types, expected);
    let message = report(AYA, "prints", &Options::default()).message;
    let no_licence = "cannot call GPL-restricted function from non-GPL compatible program";
    assert_eq!(message.as_deref(), Some(no_licence));
    assert!(target().load_with(AYA, "aya.o", &by(Loader::Libbpf)).is_err());
    // aya finds no size for `.ksyms`: asked with objects of the corpus under section names that it takes.
    assert!(target().load_with(LIST, "list.o", &by(Loader::Aya)).is_err());
    assert!(target().load_with(LIST, "list.o", &by(Loader::Cilium)).is_ok());
}

/// A definition that nobody can read costs the programs that refer to it, and no other map or program.
#[test]
fn an_unreadable_map_is_no_refused_map() {
    let target = target();
    let linked = target.load_with(LEGACY, "legacy.o", &Options::default()).expect("readable");
    let stub = linked.maps.iter().find(|m| m.name == "stub").expect("the map");
    assert_eq!(stub.verdict, bpfassay_judge::MapVerdict::Unsupported);
    let rest = linked.maps.iter().filter(|m| m.name != "stub");
    assert!(rest.clone().count() > 0);
    assert!(rest.clone().all(|m| m.verdict == bpfassay_judge::MapVerdict::Accepted));
}

#[test]
fn maps_without_btf_are_read_unless_libbpf_is_named() {
    for loader in [Loader::Any, Loader::Cilium, Loader::Aya] {
        let r = report(LEGACY, "counts", &by(loader));
        assert_eq!(r.verdict, VerdictWord::Accepted, "{loader:?}: {:?}", r.message);
    }
    assert_eq!(
        said(LEGACY, "unchecked"),
        rejected(13, "R0 invalid mem access 'map_value_or_null'")
    );
    let stub = report(LEGACY, "uses_stub", &Options::default());
    assert_eq!(stub.verdict, VerdictWord::Unsupported);
    assert!(stub.message.is_some_and(|m| m.contains("too short")));
    let refused = target().load_with(LEGACY, "test.o", &by(Loader::Libbpf));
    assert_eq!(refused.expect_err("libbpf 1.0 refuses it").kind, "legacy_maps");
}

/// cilium/ebpf (5ba0b3b) hands any pinning value to the application, and a plain section name means all that begin
/// with it; libbpf refuses the one and knows no type for the other.
#[test]
fn pinning_and_prefixes_are_cilium_s() {
    for loader in [Loader::Any, Loader::Cilium] {
        let r = report(CILIUM, "counts", &by(loader));
        assert_eq!((r.verdict, r.prog_type), (VerdictWord::Accepted, "sched_cls"), "{loader:?}");
    }
    for loader in [Loader::Libbpf, Loader::Tc] {
        let refused = target().load_with(CILIUM, "test.o", &by(loader));
        let message = match refused {
            Err(e) => e.message,
            Ok(_) => report(CILIUM, "counts", &by(loader)).message.unwrap_or_default(),
        };
        assert!(message.contains("invalid pinning value 100"), "{loader:?}: {message}");
    }
}

#[test]
fn what_is_odd_costs_its_own_program() {
    let expected = [
        ("is_static", VerdictWord::Accepted, ""),
        ("plain", VerdictWord::Accepted, ""),
        ("unknown_section", VerdictWord::Unsupported, "says no program type"),
        ("odd_variable", VerdictWord::Unsupported, "bad map relo"),
        ("weak_function", VerdictWord::Accepted, ""),
        ("strong_function", VerdictWord::Rejected, "not found in kernel BTF"),
        ("strong_option", VerdictWord::Rejected, "option is not set"),
    ];
    let all = reports(ODD, &Options::default());
    assert_eq!(all.len(), expected.len());
    for (name, verdict, words) in expected {
        let r = report(ODD, name, &Options::default());
        let message = r.message.unwrap_or_default();
        assert_eq!(r.verdict, verdict, "{name}: {message}");
        assert!(message.contains(words), "{name}: {message}");
        let errno = (verdict == VerdictWord::Rejected).then_some(3);
        assert_eq!(r.errno, errno, "{name}");
    }
    let refused = target().load_with(ODD, "test.o", &by(Loader::Libbpf));
    assert_eq!(refused.expect_err("libbpf refuses static programs").kind, "program");
}

#[test]
fn a_type_given_is_heeded_for_sections_nobody_knows() {
    let to = ProgramOverride { prog_type: Some((ProgType::PerfEvent, None)), ..Default::default() };
    // Of all programs, of this one, and of another one.
    for (name, is_set) in [(None, true), (Some("unknown_section"), true), (Some("other"), false)] {
        let program_overrides = vec![(name.map(str::to_string), to.clone())];
        let options = Options { program_overrides, ..Options::default() };
        let r = report(ODD, "unknown_section", &options);
        let expected = match is_set {
            true => (VerdictWord::Accepted, "perf_event"),
            false => (VerdictWord::Unsupported, "unspec"),
        };
        assert_eq!((r.verdict, r.prog_type), expected, "{name:?}");
    }
}

#[test]
fn without_kprobes_there_is_no_syscall_wrapper() {
    assert_eq!(said(WRAPPER, "dead_without_kprobes"), rejected(13, "R9 !read_ok"));
}

#[test]
fn message_and_code_do_not_depend_on_the_log_level() {
    for program in ["endless", "not_read", "negative_id", "far"] {
        let at = |level| {
            let options = Options { log_level: LogLevel(level), ..Options::default() };
            let r = report(WORDS, program, &options);
            (r.verdict, r.errno, r.message_lines, r.code)
        };
        let quiet = at(0);
        assert!(!quiet.2.is_empty(), "{program} has a message");
        for level in 1..8 {
            assert_eq!(at(level), quiet, "{program} at level {level}");
        }
    }
    assert_eq!(said(WORDS, "endless"), rejected(22, "infinite loop detected at insn 1"));
}

#[test]
fn ids_descriptors_and_targets_that_are_none() {
    let expected = [
        ("negative_id", 2, "ldimm64 insn specifies invalid btf_id -1."),
        ("void_id", 22, "pseudo btf_id 0 in ldimm64 isn't KIND_VAR or KIND_FUNC"),
        ("written_descriptor", 22, "invalid module BTF object FD specified."),
        ("far", 22, "jump out of range from insn 1 to -2147483647"),
        ("standard_output", 22, "fd 1 is not pointing to valid bpf_map"),
        ("through_pointer", 22, "unknown opcode 8d"),
    ];
    for (program, errno, message) in expected {
        assert_eq!(said(WORDS, program), rejected(errno, message), "{program}");
    }
    let r = report(WORDS, "through_pointer", &Options::default());
    assert_eq!(r.code, Some("program-indirect-call"));
}

/// The object without its `.BTF.ext`: the section is still there, but nothing calls it by that name.
fn without_ext(object: &[u8]) -> Vec<u8> {
    let mut bytes = object.to_vec();
    let at =
        |b: &[u8], off: usize| u64::from_le_bytes(b[off..off + 8].try_into().unwrap()) as usize;
    let headers = at(&bytes, 40);
    let count = usize::from(u16::from_le_bytes([bytes[60], bytes[61]]));
    let names = usize::from(u16::from_le_bytes([bytes[62], bytes[63]]));
    let table = at(&bytes, headers + 64 * names + 24);
    for header in (0..count).map(|i| headers + 64 * i) {
        let name =
            table + u32::from_le_bytes(bytes[header..header + 4].try_into().unwrap()) as usize;
        if bytes[name..].starts_with(b".BTF.ext\0") {
            bytes[header..header + 4].fill(0);
        }
    }
    bytes
}

#[test]
fn a_load_without_records_has_no_program_btf() {
    let message = "bpf_obj_new/bpf_percpu_obj_new requires prog BTF";
    assert_eq!(said(&without_ext(LIST), "queue"), rejected(22, message));
    assert_eq!(said(LIST, "queue").0, VerdictWord::Accepted);
}

#[test]
fn precision_does_not_follow_ld_abs_out_of_a_subprogram() {
    let bug = "verifier bug: subprog exit from frame 0";
    assert_eq!(said(LD_ABS, "r6_is_precise"), rejected(14, bug));
    let bug = "verifier bug: static subprog unexpected regs 80";
    assert_eq!(said(LD_ABS, "r7_is_precise"), rejected(14, bug));
    let bug = "verifier bug: callback unexpected regs 1";
    assert_eq!(said(LD_ABS, "in_callback"), rejected(14, bug));
    for fine in ["nothing_is_precise", "below_callback"] {
        assert_eq!(said(LD_ABS, fine).0, VerdictWord::Accepted, "{fine}");
    }
}

const TEMPLATES: &[u8] = include_bytes!("data/templates.o");

/// `bpf_fentry_test1` has one argument and `bpf_fentry_test2` two, by the kernel's own sources
/// (`net/bpf/test_run.c`); libbpf refuses a program of a BTF-based type without a target.
#[test]
fn an_attach_target_given_is_what_a_program_is_verified_against() {
    let target = Target::served("6.18.15").unwrap().expect("6.18.15 is served");
    let with = |program: &str, to: &str| {
        let to =
            ProgramOverride { attach_target: Some(to.to_string()), ..ProgramOverride::default() };
        let program_overrides = vec![(Some(program.to_string()), to)];
        let options = Options { program_overrides, ..Options::default() };
        let linked = target.load_with(TEMPLATES, "test.o", &options).expect("a readable object");
        let judged = linked.entries.iter().map(|e| e.judge(&target, &options).report);
        let report = judged.into_iter().find(|r| r.name == program).expect("the program");
        let words = [report.message_lines, report.message.into_iter().collect()].concat();
        (report.verdict, words.join("\n"))
    };
    use VerdictWord::{Accepted, Rejected, Unsupported};
    const NO_SECOND: &str = "func 'bpf_fentry_test1' doesn't have 2-th argument";
    let cases = [
        ("template", "bpf_fentry_test2", Accepted, ""),
        ("template", "bpf_fentry_test1", Rejected, NO_SECOND),
        ("template", "no_such_function", Unsupported, "'no_such_function' is not found"),
        ("bare", "bpf_fentry_test2", Accepted, ""),
        ("bare", "vmlinux:bpf_fentry_test2", Accepted, ""),
        // The section's own gives way.
        ("named", "bpf_fentry_test2", Accepted, ""),
        ("hook", "file_open", Accepted, ""),
        ("hook", "bpf_fentry_test2", Unsupported, "is not found"),
        ("raw", "sched_switch", Accepted, ""),
        ("plain", "bpf_fentry_test2", Unsupported, "takes no attach target"),
    ];
    for (program, to, verdict, words) in cases {
        let (said, message) = with(program, to);
        assert_eq!(said, verdict, "{program} on {to}: {message}");
        assert!(message.contains(words), "{program} on {to}: {message}");
    }
    for (program, verdict) in
        [("template", Unsupported), ("bare", Unsupported), ("named", Rejected)]
    {
        let judged = target.load(TEMPLATES, "test.o").expect("a readable object");
        let entry = judged.iter().find(|e| e.name == program).expect("the program");
        assert_eq!(entry.judge(&target, &Options::default()).report.verdict, verdict, "{program}");
    }
}
