//! Why a verdict turns from one kernel to the next: the cause is named.
//!
//! The verdicts on both sides were asked of those kernels through libbpf (Debian's packages in virtual machines,
//! 29 November 2026; 6.18.44 running).  The causes are facts of public record: the release that brought a helper or a
//! kernel function, and the stable releases that took a repair (spec/data/features.toml names each one's source).

use std::collections::BTreeMap;

use bpfassay_judge::{Fleet, FleetProgram, Options, Target, VerdictWord};

/// Object of the corpus, program, older kernel, newer kernel, true if the newer one accepts, cause, its kind.
type Row =
    (&'static str, &'static str, &'static str, &'static str, bool, &'static str, &'static str);

const FLIPS: [Row; 26] = [
    ("later/dynptr", "slice", "5.10", "6.1", true, "bpf_dynptr_read", "fact"),
    ("map/other_cpu", "compare_cpus", "5.10", "6.1", true, "bpf_map_lookup_percpu_elem", "fact"),
    ("string/snprintf", "format", "5.10", "6.1", true, "bpf_snprintf", "fact"),
    ("string/strncmp", "is_systemd", "5.10", "6.1", true, "bpf_strncmp", "fact"),
    ("later/timer", "arm", "5.10", "6.1", true, "function_pointers", "behaviour"),
    ("xdp/multi_buffer", "tail_word", "5.10", "6.1", true, "prog_flags", "fact"),
    ("map/bloom", "two_steps", "5.10", "6.1", true, "bloom_filter", "fact"),
    ("kfunc/packet", "skb_slices", "6.1", "6.12", true, "bpf_dynptr_from_skb", "type"),
    ("kfunc/callback_in_iter", "rolls", "6.1", "6.12", true, "bpf_iter_bits_new", "type"),
    ("later/open_coded_iterator", "iterate", "6.1", "6.12", true, "bpf_iter_num_new", "type"),
    ("kfunc/stash", "stash", "6.1", "6.12", true, "bpf_obj_new_impl", "type"),
    ("kfunc/bits", "positions", "6.1", "6.12", true, "bpf_preempt_disable", "type"),
    ("reject/untrusted_write", "read_ok", "6.1", "6.12", true, "bpf_rdonly_cast", "type"),
    ("kfunc/throw", "caught", "6.1", "6.12", true, "exception_callbacks", "behaviour"),
    ("reject/buffer_null", "key_read_bad", "6.12", "6.16", true, "buf_null_checked", "behaviour"),
    (
        "reject/inner_array",
        "unchecked_bad",
        "6.12",
        "6.16",
        true,
        "constant_keys_compared",
        "behaviour",
    ),
    (
        "reject/untrusted_write",
        "cast_argument_bad",
        "6.12",
        "6.16",
        true,
        "untrusted_is_read_only",
        "behaviour",
    ),
    ("kfunc/packet", "xdp_slices", "6.16", "6.17", true, "bpf_dynptr_memset", "type"),
    (
        "reject/untrusted_write",
        "cast_from_nothing_bad",
        "6.16",
        "6.17",
        true,
        "untrusted_memory",
        "behaviour",
    ),
    ("kfunc/text", "compare", "6.17", "6.18.15", true, "bpf_strcasecmp", "type"),
    (
        "reject/buffer_null",
        "key_read_bad",
        "6.18.15",
        "6.18.44",
        false,
        "buf_null_checked",
        "behaviour",
    ),
    (
        "reject/inner_array",
        "unchecked_bad",
        "6.18.15",
        "6.18.44",
        false,
        "inner_array_may_be_shorter",
        "behaviour",
    ),
    (
        "reject/untrusted_write",
        "cast_argument_bad",
        "6.18.15",
        "6.18.44",
        false,
        "untrusted_is_read_only",
        "behaviour",
    ),
    (
        "reject/inner_array",
        "unchecked_bad",
        "7.0",
        "7.1",
        false,
        "inner_array_may_be_shorter",
        "behaviour",
    ),
    ("reject/call_depth", "nine_frames_bad", "7.1", "7.2", true, "max_call_frames", "fact"),
    (
        "reject/untrusted_write",
        "atomic_bad",
        "7.1",
        "7.2",
        false,
        "untrusted_is_read_only",
        "behaviour",
    ),
];

fn fleet<const N: usize>(kernels: [&str; N]) -> Fleet {
    Fleet::new(kernels.map(|k| Target::served(k).unwrap().expect("a served kernel")).to_vec())
}

#[test]
fn the_cause_of_a_flip_is_named() {
    let mut fleets: BTreeMap<[&str; 2], Fleet> = BTreeMap::new();
    for (object, program, old, new, accepts, by, kind) in FLIPS {
        let fleet = fleets.entry([old, new]).or_insert_with(|| fleet([old, new]));
        let path = format!("{}/../corpus/objects/v3/{object}.o", env!("CARGO_MANIFEST_DIR"));
        let bytes = std::fs::read(&path).expect("an object of the corpus");
        let rows = fleet.judge(&bytes, object, &Options::default()).expect("it can be read");
        let row: &FleetProgram = rows.iter().find(|r| r.name == program).expect("the program");
        let verdicts = match accepts {
            true => [VerdictWord::Rejected, VerdictWord::Accepted],
            false => [VerdictWord::Accepted, VerdictWord::Rejected],
        };
        assert_eq!([row.cells[0].verdict, row.cells[1].verdict], verdicts, "{object} {program}");
        let flip = row.cells[1].flip.as_ref().expect("a flip");
        assert_eq!((flip.by.as_str(), flip.kind), (by, kind), "{object} {program}: {}", flip.text);
        assert_eq!(flip.against, row.cells[0].kernel);
    }
}

/// Program of `data/rules.c`, older kernel, newer one, true if the newer one accepts, the row that decides, and parts of
/// what is said of it: the arguments, list or column, the commit, what to write instead.
type RuleRow = (&'static str, &'static str, &'static str, bool, &'static str, [&'static str; 2]);

/// Verdicts asked of Debian's 6.1.192, 6.12.118, 6.16.12, 7.1.13, 7.2.13 and 7.3.4 (29 November 2026).
const RULES: [RuleRow; 10] = [
    (
        "follows_siginfo",
        "6.12",
        "6.16",
        true,
        "signal_deliver",
        ["argument 2 of the tracepoint signal_deliver may be an error", "6.12.114"],
    ),
    (
        "follows_siginfo",
        "7.1",
        "7.2",
        false,
        "signal_deliver",
        ["bpf: Mark signal tracepoint siginfo arguments as scalar", "instead: read through"],
    ),
    (
        "follows_pid",
        "7.1",
        "7.2",
        false,
        "sched_process_wait",
        ["bpf: Mark sched_process_wait argument as nullable", "compare the argument with NULL"],
    ),
    (
        "forgets_socket",
        "7.2",
        "7.3",
        false,
        "xdp sockmap",
        ["programs of type xdp: whether they may update maps of sockets", "rules.c:30"],
    ),
    (
        "asks_for_its_task",
        "6.1",
        "6.12",
        true,
        "bpf_get_current_pid_tgid",
        ["which programs may call the helper bpf_get_current_pid_tgid (since 6.10)", "instead: "],
    ),
    (
        "sleeps_in_chmod",
        "6.1",
        "6.12",
        true,
        "bpf_lsm_path_chmod",
        ["in the verifier's list sleepable_lsm_hooks", "is not sleepable"],
    ),
    (
        "decodes",
        "6.12",
        "6.16",
        true,
        "bpf_lsm_xfrm_decode_session",
        ["in the verifier's list bpf_lsm_disabled_hooks", "6.1.178, 6.12.97"],
    ),
    (
        "decodes",
        "6.16",
        "7.1",
        false,
        "bpf_lsm_xfrm_decode_session",
        ["in the verifier's list bpf_lsm_disabled_hooks", "since 7.1"],
    ),
    (
        "reads_value",
        "6.12",
        "6.16",
        true,
        "const_void_args",
        ["bpf: Allow access to const void pointer arguments in tracing programs", "rules.c:"],
    ),
    (
        "follows_pid",
        "6.1",
        "6.12",
        false,
        "raw_tp_args_known",
        ["bpf: Augment raw_tp arguments with PTR_MAYBE_NULL", "6.12.6"],
    ),
];

#[test]
fn a_row_that_decides_is_named() {
    let object = include_bytes!("data/rules.o");
    for (program, old, new, accepts, by, parts) in RULES {
        let rows = fleet([old, new]).judge(object, "rules.o", &Options::default()).unwrap();
        let row = rows.iter().find(|r| r.name == program).expect("the program");
        assert_eq!(row.cells[1].verdict == VerdictWord::Accepted, accepts, "{program} on {new}");
        let flip = row.cells[1].flip.as_ref().expect("a flip");
        assert_eq!(flip.by, by, "{program}: {}", flip.text);
        for part in parts {
            assert!(flip.text.contains(part), "{program}: {part} is not in {}", flip.text);
        }
    }
}

/// Registers of another processor are other bytes of the context: both verdicts of each program were asked of Debian's
/// 6.12.118 for x86-64 and for arm64 (29 November 2026).
#[test]
fn the_processor_decides_too() {
    let fleet = fleet(["6.12", "6.12-arm64"]);
    assert_eq!(fleet.targets()[1].label(), "6.12.118-arm64");
    let rows = [
        ("perf_event/narrow_reads", "narrow", VerdictWord::Accepted, VerdictWord::Rejected),
        ("reject/context_access", "beyond_regs_bad", VerdictWord::Rejected, VerdictWord::Accepted),
        ("string/strncmp", "is_systemd", VerdictWord::Accepted, VerdictWord::Accepted),
    ];
    for (object, program, on_x86, on_arm) in rows {
        let path = format!("{}/../corpus/objects/v3/{object}.o", env!("CARGO_MANIFEST_DIR"));
        let judged = fleet.judge(&std::fs::read(path).unwrap(), object, &Options::default());
        let judged = judged.expect("it can be read");
        let row = judged.iter().find(|r| r.name == program).expect("the program");
        assert_eq!(row.cells[0].verdict, on_x86, "{object} {program}");
        assert_eq!(row.cells[1].verdict, on_arm, "{object} {program} on arm64");
    }
}

/// Which operation of a scheduler may insert a task is looked at while it is verified since 7.1, and before when it runs.
/// Asked of Debian's 6.18.15, 6.19.14, 7.0.13, 7.2.13 and 7.3.4 (29 November 2026).
#[test]
fn a_scheduler_is_judged_by_its_operation() {
    let kernels = ["6.18.15", "6.19", "7.0", "7.2", "7.3"];
    let rows = [
        ("inserts", ["accepted"; 5]),
        ("inserts_while_running", ["accepted", "accepted", "accepted", "rejected", "rejected"]),
        ("kicks", ["accepted"; 5]),
        ("creates", ["accepted"; 5]),
        ("enables_and_sleeps", ["rejected"; 5]),
    ];
    let fleet = fleet(kernels);
    let object = include_bytes!("data/scheduler.o");
    let judged = fleet.judge(object, "scheduler.o", &Options::default()).expect("it can be read");
    for (program, verdicts) in rows {
        let row = judged.iter().find(|r| r.name == program).expect("the program");
        let ours: Vec<_> = row.cells.iter().map(|c| c.verdict.as_str()).collect();
        assert_eq!(ours, verdicts, "{program}: {:?}", row.cells);
    }
}

/// Asked of Debian's 7.3.4 (29 November 2026).
#[test]
fn a_kfunc_takes_a_pointer_into_the_arena() {
    let fleet = fleet(["7.3"]);
    let object = include_bytes!("data/arena_arg.o");
    let judged = fleet.judge(object, "arena_arg.o", &Options::default()).expect("it can be read");
    let message = |name: &str| {
        let row = judged.iter().find(|r| r.name == name).expect("the program");
        row.cells[0].message.clone()
    };
    assert_eq!((message("takes_a_number"), message("takes_null")), (None, None));
    let stack = "R3 is not a pointer to arena or scalar";
    assert_eq!(message("takes_the_stack").as_deref(), Some(stack));
    let none = "R3 arena pointer requires a program with an associated arena";
    assert_eq!(message("has_no_arena").as_deref(), Some(none));
}

#[test]
fn kernels_that_agree_have_no_flip() {
    let fleet = fleet(["6.12", "6.18.44"]);
    let path = format!("{}/../corpus/objects/v3/xdp/multi_buffer.o", env!("CARGO_MANIFEST_DIR"));
    let rows = fleet.judge(&std::fs::read(path).unwrap(), "x", &Options::default()).unwrap();
    assert!(!rows.is_empty() && rows.iter().flat_map(|r| &r.cells).all(|c| c.flip.is_none()));
}

/// What cannot be judged is no verdict, so it turns none.
#[test]
fn what_is_unsupported_turns_nothing() {
    let fleet = fleet(["6.12", "6.18.44"]);
    let bytes = include_bytes!("data/odd.o");
    let rows = fleet.judge(bytes, "odd.o", &Options::default()).unwrap();
    let row = rows.iter().find(|r| r.name == "unknown_section").unwrap();
    assert!(row.cells.iter().all(|c| c.verdict == VerdictWord::Unsupported && c.flip.is_none()));
}
