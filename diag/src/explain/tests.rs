use std::collections::BTreeMap;

use super::log::{logs_in, Explained};
use super::{all, block, by_name, line, matches, pattern, Category};

#[test]
fn codes_are_named_by_their_category_and_unique() {
    let mut seen = BTreeMap::new();
    for category in Category::ALL {
        for code in category.codes() {
            let word = code.name.strip_prefix(category.prefix()).unwrap_or_default();
            assert!(word.starts_with('-'), "{} is not of {}", code.name, category.prefix());
            assert!(
                code.name.bytes().all(|b| b == b'-' || b.is_ascii_lowercase()),
                "{} is not in kebab case",
                code.name
            );
            assert_eq!(code.category(), category);
            assert!(seen.insert(code.name, ()).is_none(), "{} stands twice", code.name);
        }
    }
}

#[test]
fn every_code_says_why_and_what_to_change() {
    for code in all() {
        for (what, text) in [("why", code.why), ("change", code.change)] {
            assert!(text.len() > 10, "{}: {what}: {text:?}", code.name);
            assert!(text.ends_with(['.', ')', '…']), "{}: {what}: {text:?}", code.name);
        }
        assert!(!code.title.ends_with('.') && !code.title.is_empty(), "{}", code.name);
        assert!(code.title.len() <= 90, "{}: the title is long", code.name);
    }
}

#[test]
fn no_pattern_stands_twice() {
    let mut seen = BTreeMap::new();
    for code in all() {
        for p in code.messages.iter().chain(code.closing) {
            assert!(
                p.chars().any(|c| c.is_ascii_alphabetic()),
                "{}: {p:?} says nothing",
                code.name
            );
            let before = seen.insert(*p, code.name);
            assert!(before.is_none(), "{p:?} stands in {} and {}", code.name, before.unwrap_or(""));
        }
    }
}

/// A pattern's own text is its own row's: no other row takes it by more literal text.
#[test]
fn every_pattern_finds_its_own_row() {
    for code in all() {
        for p in code.messages.iter().chain(code.closing) {
            let sample = p.replace("{}", "7");
            let found = line(&sample).map(|(c, _)| c.name);
            assert_eq!(found, Some(code.name), "{sample:?}");
            let best = pattern::weight(p);
            let ties = all()
                .filter(|c| c.name != code.name)
                .flat_map(|c| c.messages.iter().chain(c.closing))
                .filter(|q| matches(q, &sample) && pattern::weight(q) >= best);
            assert_eq!(ties.count(), 0, "{sample:?} fits two rows equally");
        }
    }
}

#[test]
fn the_cause_stands_before_a_closing_line() {
    let of = |lines: &[&str]| block(lines.iter().copied()).map(|c| c.name);
    let value = "invalid access to map value, value_size=16 off=16 size=1";
    let range = "R0 min value is outside of the allowed memory range";
    assert_eq!(of(&[value, range]), Some("memory-map-value-bounds"));
    assert_eq!(of(&[range]), Some("memory-bounds"));
    let call = "Caller passes invalid args into func#1 ('f')";
    assert_eq!(of(&["arg#1 expects pointer to ctx", call]), Some("call-argument-type"));
    assert_eq!(of(&[value, range, call]), Some("memory-map-value-bounds"));
    assert_eq!(of(&["Validating f() func#1...", call]), Some("call-global-function"));
    assert_eq!(of(&["something new"]), None);
    assert_eq!(of(&[]), None);
}

const LOG: &str = "\
libbpf: prog 'one': BPF program load failed: Permission denied
libbpf: prog 'one': -- BEGIN PROG LOAD LOG --
0: R1=ctx() R10=fp0
; v = bpf_map_lookup_elem(&m, &k); @ a.c:4
0: (85) call bpf_map_lookup_elem#1    ; R0_w=map_value_or_null(id=1,map=m,ks=4,vs=16)
; if (k) @ a.c:5
1: (7b) *(u64 *)(r10 -16) = r0        ; R0=map_value_or_null(id=1,map=m,ks=4,vs=16) fp-16=map_value_or_null
2: (15) if r7 == 0x0 goto pc+3        ; R7=scalar()
3: (b7) r6 = 1                        ; R6=1
4: (95) exit

from 2 to 6: R7=0 R10=fp0
; return *v; @ a.c:6
6: (79) r6 = *(u64 *)(r10 -16)        ; R6_w=map_value_or_null(id=1,map=m,ks=4,vs=16)
7: (bf) r2 = r6                       ; R2_w=map_value_or_null(id=1,map=m,ks=4,vs=16)
8: (71) r0 = *(u8 *)(r2 +0)
R2 invalid mem access 'map_value_or_null'
processed 9 insns (limit 1000000) max_states_per_insn 0 total_states 0 peak_states 0 mark_read 0
-- END PROG LOAD LOG --
libbpf: prog 'one': failed to load: -13
";

#[test]
fn a_log_is_explained_with_where_the_value_came_from() {
    let logs = logs_in(LOG);
    assert_eq!(logs.len(), 1);
    assert_eq!(logs[0].0.as_deref(), Some("one"));
    let e = Explained::of(&logs[0].1);
    assert_eq!(e.code.map(|c| c.name), Some("register-maybe-null"));
    assert_eq!(e.lines, ["R2 invalid mem access 'map_value_or_null'"]);
    assert_eq!(e.register.as_deref(), Some("R2"));
    assert_eq!(e.at.as_ref().map(|s| s.insn), Some(8));
    assert_eq!(e.at.and_then(|s| s.source).as_deref(), Some("return *v; @ a.c:6"));
    let insns: Vec<u32> = e.history.iter().map(|s| s.insn).collect();
    assert_eq!(insns, [0, 1, 6, 7], "spilled at 1, filled at 6; 3 and 4 are another path");
    assert_eq!(e.history[3].value.as_deref(), Some("map_value_or_null(id=1,map=m,ks=4,vs=16)"));
}

#[test]
fn the_offset_that_was_added_is_followed_too() {
    let log = "\
== a.o prog
0: (61) r6 = *(u32 *)(r1 +0)          ; R1=ctx() R6_w=scalar(umax=0xffffffff)
1: (85) call bpf_map_lookup_elem#1    ; R0_w=map_value(map=m,ks=4,vs=16)
2: (25) if r6 > 0x10 goto pc+3        ; R6_w=scalar(umax=16)
3: (0f) r0 += r6                      ; R0_w=map_value(map=m,ks=4,vs=16,umax=16)
4: (71) r1 = *(u8 *)(r0 +0)
invalid access to map value, value_size=16 off=16 size=1
R0 max value is outside of the allowed memory range
== a.o other
0: (95) exit
";
    let logs = logs_in(log);
    let names: Vec<_> = logs.iter().map(|(n, _)| n.as_deref()).collect();
    assert_eq!(names, [Some("a.o prog"), Some("a.o other")]);
    let e = Explained::of(&logs[0].1);
    assert_eq!(e.code.map(|c| c.name), Some("memory-map-value-bounds"));
    let insns = |s: &[super::Step]| s.iter().map(|s| s.insn).collect::<Vec<_>>();
    assert_eq!(insns(&e.history), [1, 3]);
    let (register, steps) = e.added.expect("r6 was added");
    assert_eq!((register.as_str(), insns(&steps)), ("R6", vec![0, 2]));
}

#[test]
fn nothing_is_made_of_text_that_is_no_log() {
    for text in ["", "\n\n", "from 4 to", "from 1 to 2: x\nfrom 1 to 2: x\nR1 !read_ok"] {
        for (_, log) in logs_in(text) {
            let _ = Explained::of(&log);
        }
    }
    let e = Explained::of("0: (95) exit\nprocessed 1 insns (limit 1000000) x\n");
    assert!(e.lines.is_empty() && e.code.is_none());
    assert_eq!(by_name("no-such-code").map(|c| c.name), None);
}
