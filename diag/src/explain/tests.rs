use std::collections::BTreeMap;

use super::{all, block, line, matches, pattern, Category};

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
