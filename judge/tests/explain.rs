//! Rejections of the project's own programs, told from the verifier's states: which change helps is known by trying.

use std::path::Path;

use bpfassay_judge::explain::{explain, Explanation, Outcome};
use bpfassay_judge::{Options, Target};
use bpfassay_spec::Caps;

fn told(object: &str, program: &str) -> Explanation {
    told_by("6.18", object, program)
}

fn told_by(kernel: &str, object: &str, program: &str) -> Explanation {
    let path =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../corpus/objects/v3/reject").join(object);
    let bytes = std::fs::read(&path).expect("the object is there");
    let target = Target::served(kernel).expect("a whole build").expect("it is served");
    let entries = target.load(&bytes, object).expect("it can be read");
    let entry = entries.iter().find(|e| e.name == program).expect("the program is there");
    let program = entry.ok().expect("it can be linked");
    explain(program, &target, &Options::default()).expect("it is rejected")
}

#[test]
fn changes_that_repair_are_verified() {
    let cases = [
        ("map_null.o", "unchecked_bad", "if (!v) return 0;"),
        ("map_off_by_one.o", "index_bad", "if (i >= 16) return 0;"),
        ("map_negative.o", "negative_bad", "if (i >= 8) return 0;"),
        ("packet_end.o", "off_by_one_bad", "> data_end) return 0;"),
        ("packet_stale.o", "stale_bad", "load `data` and `data_end` from the context again"),
        ("helper_size.o", "maybe_zero_bad", "if (n == 0) return 0;"),
        ("helper_size.o", "too_long_bad", "at most 16 bytes"),
        ("ringbuf_leak.o", "leaked_bad", "bpf_ringbuf_discard(e, 0);"),
        ("socket_leak.o", "unreleased_bad", "bpf_sk_release(sk);"),
        ("no_return_value.o", "one_path_bad", "return 0;"),
    ];
    for (object, program, words) in cases {
        let e = told(object, program);
        let tried = e.tried.unwrap_or_else(|| panic!("{object} {program}: nothing helps"));
        assert_eq!(tried.outcome, Outcome::Accepted, "{object} {program}");
        assert!(tried.change.text.contains(words), "{object} {program}: {}", tried.change.text);
    }
}

/// An access at a fixed place outside is not repaired by a check, and no check is blamed for it.
#[test]
fn nothing_is_offered_where_no_check_helps() {
    let e = told("map_off_by_one.o", "at_end_bad");
    assert_eq!(e.tried, None);
    let said = format!("{:?} {:?}", e.story.knows, e.story.fix);
    assert!(said.contains("fixed place") && !said.contains("proves"), "{said}");
}

#[test]
fn an_endless_loop_is_named_with_what_it_costs() {
    let e = told("loop_too_long.o", "half_a_million_bad");
    let knows = e.story.knows.unwrap_or_default();
    assert!(knows.contains("the loop at ") && knows.contains("R2"), "{knows}");
}

/// The path is the one that failed, from its first instruction to the last.
#[test]
fn the_path_ends_at_the_rejection() {
    let e = told("map_off_by_one.o", "index_bad");
    let path = e.path();
    assert_eq!(path.first().map(|p| p.insn), Some(0));
    assert_eq!(path.last().map(|p| p.insn), Some(11));
    assert!(path[0].begins.contains("R1=ctx()"), "{:?}", path[0]);
    let check = path.iter().find(|p| p.insn == 9).expect("the comparison is on it");
    assert!(check.changes.contains("umax32=16"), "{:?}", check.changes);
}

/// As [`told`], of the object that keeps its DWARF.
fn told_with_dwarf(kernel: &str, caps: &str, program: &str) -> Explanation {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../corpus/debug/names.o");
    let bytes = std::fs::read(&path).expect("the object is there");
    let mut target = Target::served(kernel).expect("a whole build").expect("it is served");
    target.caps = Caps::parse(caps).expect("capabilities");
    let entries = target.load(&bytes, "names.o").expect("it can be read");
    let entry = entries.iter().find(|e| e.name == program).expect("the program is there");
    let program = entry.ok().expect("it can be linked");
    explain(program, &target, &Options::default()).expect("it is rejected")
}

#[test]
fn numbers_are_told_in_the_programs_terms() {
    let e = told_with_dwarf("6.18", "all", "element_bad");
    let (needs, knows) = (e.story.needs.unwrap_or_default(), e.story.knows.unwrap_or_default());
    assert!(needs.contains("slots[selector]`: 4·selector + 4 + 4 ≤ 36"), "{needs}");
    assert!(knows.contains("proves only 0 ≤ selector ≤ 19"), "{knows}");
    assert!(knows.contains("the array `slots` has 5 elements"), "{knows}");
    let change = e.tried.expect("a check helps").change.text;
    // What follows the array would be inside the map value too.
    assert!(change.contains("if (selector >= 5)"), "{change}");
}

#[test]
fn bytes_of_the_stack_have_names() {
    // Whoever has CAP_PERFMON may pass them as they are.
    let e = told_with_dwarf("6.18", "bpf+net", "member_bad");
    let knows = e.story.knows.unwrap_or_default();
    assert!(knows.contains("(fp-24, `local.pid`)"), "{knows}");
}

#[test]
fn a_pointer_has_the_name_of_its_variable() {
    let e = told_with_dwarf("6.18", "all", "unchecked_bad");
    assert_eq!(e.story.needs.as_deref(), Some("`found` (R0) ≠ NULL"));
    assert!(e.tried.expect("a check helps").change.text.contains("if (!found)"));
}

/// What a program type may do with a field is asked of the tables, not known by heart.
#[test]
fn fields_of_the_context_are_named_with_what_is_allowed() {
    let cases = [
        ("wide_bad", "its own width, 4 bytes"),
        ("wide_bad", "`__sk_buff.mark`"),
        ("outside_bad", "outside of `struct __sk_buff`, which has 192 bytes"),
        ("write_len_bad", "may read `__sk_buff.len`, not write it"),
        ("write_xdp_bad", "may read `xdp_md.ingress_ifindex`, not write it"),
        ("tc_field_bad", "sched_cls"),
    ];
    for (program, words) in cases {
        let fix = told("context_access.o", program).story.fix.unwrap_or_default();
        assert!(fix.contains(words), "{program}: {fix}");
    }
}

/// Some messages name no register: the arguments tell which it is.
#[test]
fn a_value_no_message_names_has_its_history() {
    let cases = [
        ("5.10", "helper_size.o", "maybe_zero_bad"),
        ("6.1", "helper_size.o", "unknown_bad"),
        ("6.1", "tail_call_index.o", "wrong_map_bad"),
        ("7.3", "tail_call_index.o", "wrong_map_bad"),
    ];
    for (kernel, object, program) in cases {
        let e = told_by(kernel, object, program);
        assert!(!e.story.lineage.is_empty(), "{kernel} {object} {program}");
    }
}
