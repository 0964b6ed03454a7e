//! The table of messages against everything that is known to be said: the verifier's source, what
//! real kernels said of our corpus, and what 6.18.44 said of the kernel's own tests.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use bpfassay_diag::explain::{all, line, matches};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("diag lies in the workspace")
        .to_path_buf()
}

fn files(dir: &Path, extension: &str, found: &mut Vec<PathBuf>) {
    let mut entries: Vec<_> =
        fs::read_dir(dir).expect("folder").flatten().map(|e| e.path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            files(&path, extension, found);
        } else if path.extension().is_some_and(|e| e == extension) {
            found.push(path);
        }
    }
}

/// Lines that the verifier prints and that never end a rejection: states, statistics, what it tries,
/// what the log level asks for.
const NOT_FINAL: &[&str] = &[
    "Live regs before insn:",
    "Func#7 ('7') is safe for any args that match its prototype",
    "Func#7 ('7') is global and assumed valid.",
    "Func#7 is global and valid. Skipping.",
    "Validating 7() func#7...",
    "caller:",
    "callee:",
    "returning from callee:",
    "to caller at 7:",
    "func '7' arg7 has btf_id 7 type 7 '7'",
    "marking pointer arg7 as scalar as it may encode error",
    "frame7 bpf_loop iteration limit reached",
    "7 live stack update done in 7 iterations",
    "from 7 to 77: safe",
    "from 7 to 77:",
    "7: safe",
    "mark_precise: frame7: last_idx 7 first_idx 7 subseq_idx 7",
    "mark_precise: frame7: falling back to forcing all scalars precise",
    "force_precise: frame7: forcing r7 to be precise",
    "force_precise: frame7: forcing fp7 to be precise",
    "mark_precise: frame7: parent state regs=7 stack=7:",
    "SCC enter 7",
    "SCC exit 7",
    "SCC backedge 7",
    "propagate_backedges: too many iterations",
    "verification time 0 usec",
    "stack depth 7",
    "stack depth max 7",
    "subprog 7 (7) 7 insns_self 7 insns_total 7 stack 7",
    "processed 7 insns (limit 7) max_states_per_insn 7 total_states 7 peak_states 7 mark_read 7",
    "func#7 @7",
    // What stands before the line that counts.
    "global function calls are not allowed while holding a lock,",
    "global functions that may sleep are not allowed in non-sleepable context,",
    "i.e., in a RCU/IRQ/preempt-disabled section, or in",
];

/// Formats whose form is only told by whole lines, as the kernel prints them: first parts of lines
/// that several calls put together, and formats that are filled in with words of the message.
const WHOLE: &[(&str, &[&str])] = &[
    (
        "R7 points to 7 map which cannot be used as const string",
        &[
            "R1 points to insn_array map which cannot be used as const string",
            "R1 points to percpu_array map which cannot be used as const string",
        ],
    ),
    (
        "the sum of R7 7 77 is too big",
        &[
            "the sum of R1 umin_value 8 is too big",
            "the sum of R1 umax_value 8 and off 16 is too big",
        ],
    ),
    ("R7 type=7 expected=", &["R1 type=scalar expected=fp, pkt"]),
    ("R7 type=7", &["R1 type=scalar expected=fp"]),
    (
        "7 the register 7 has",
        &["At program exit the register R0 has smin=2 smax=2 should have been in [0, 1]"],
    ),
    (
        "7 is 7",
        &["arg#0 is ptr_ expected sock_common or socket", "R1 is ptr_ expected sock or socket"],
    ),
    (
        "7 is 7 expected 7 77",
        &["R1 is ptr_ expected STRUCT sock or sock", "R1 is fp expected STRUCT a"],
    ),
    (
        "7 is a packet pointer, but func#7 may change packet data",
        &["R1 is a packet pointer, but func#1 may change packet data"],
    ),
    (
        "kernel function 7 7 pointer type 7 7 is not supported",
        &[
            "kernel function bpf_f args#0 pointer type INT x is not supported",
            "kernel function bpf_f R1 pointer type INT x is not supported",
        ],
    ),
    (
        "7 pointer type 7 7 must point to 7scalar, or struct with scalar",
        &[
            "arg#0 pointer type STRUCT a must point to scalar, or struct with scalar",
            "R1 pointer type STRUCT a must point to void, scalar, or struct with scalar",
        ],
    ),
    (
        "7 expected for bpf_obj_drop7()",
        &["arg#0 expected for bpf_obj_drop_impl()", "R1 expected for bpf_obj_drop()"],
    ),
    (
        "7 expected for bpf_percpu_obj_drop7()",
        &["arg#0 expected for bpf_percpu_obj_drop_impl()", "R1 expected for bpf_percpu_obj_drop()"],
    ),
    (
        "77 7 memory, len pair leads to invalid memory access",
        &[
            "arg#0 arg#1 memory, len pair leads to invalid memory access",
            "R1 and R2 memory, len pair leads to invalid memory access",
        ],
    ),
    (
        "invalid kptr access, R7 type=77",
        &["invalid kptr access, R2 type=ptr_a expected=ptr_b or ptr_c"],
    ),
    (
        "7 '7' has no valid 7_lock",
        &["map 'm' has no valid bpf_spin_lock", "local 'kptr' has no valid bpf_res_spin_lock"],
    ),
    (
        "7 map forbidden, value_size=7 off=7 size=7",
        &[
            "read from map forbidden, value_size=4 off=0 size=4",
            "write into map forbidden, value_size=4 off=0 size=4",
        ],
    ),
    (
        "7 has to be at a constant offset",
        &[
            "dynptr has to be at a constant offset",
            "iter has to be at a constant offset",
            "irq_flag has to be at a constant offset",
        ],
    ),
    (
        "cannot pass in 7 at an offset=7",
        &[
            "cannot pass in dynptr at an offset=-4",
            "cannot pass in iter at an offset=-4",
            "cannot pass in irq_flag at an offset=-4",
        ],
    ),
];

/// Further parts of such lines, and parts of lines that are no messages.
const PARTS: &[&str] = &[
    "77",
    "\n",
    " smin=7",
    " smax=7",
    " unknown scalar value",
    " should have been in [7, 7]\n",
    "expected=77",
    " or 77\n",
    "expected 7 or socket\n",
    "expected=7\n",
    "     ",
    "7 ",
    "7: 7 ",
    "7 frame 7 insn 7 ",
    "+7 7 ",
    "-7 7",
    "7: ",
    "7r7",
    "7fp7",
    "cur state:",
    "old state:",
    "mark_precise: frame7: regs=7 stack=7 before 7: ",
    "stack depth 7\n",
    "+",
    "",
];

/// Formats whose words come from elsewhere, with those words as the source has them.
fn words_from_elsewhere(source: &str) -> Vec<String> {
    let mut found = Vec::new();
    // What a file's own `refuse` puts behind the words.
    let yet = if source.contains("{what} yet") || source.contains("{} yet") { " yet" } else { "" };
    for (start, end) in [("Miss(", ""), ("return refuse(env, ", yet)] {
        for (at, _) in source.match_indices(start) {
            let literal = &source[at + start.len()..];
            let literal = literal.trim_start();
            let format = literal.trim_start_matches("format!(").trim_start();
            // Handed in as it stands, braces are braces.
            let plain = format == literal;
            let text = if plain {
                literal.strip_prefix('"').and_then(|l| l.split('"').next()).map(str::to_string)
            } else {
                string(format)
            };
            if let Some(text) = text {
                found.push(format!("{}{end}", text.trim_end()));
            }
        }
    }
    found
}

/// A string literal at the start of `source`, unescaped, `{…}` replaced by `7`.
fn string(source: &str) -> Option<String> {
    let mut text = String::new();
    let mut chars = source.strip_prefix('"')?.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '"' => return Some(text),
            '\\' => match chars.next()? {
                'n' => text.push('\n'),
                '\n' => while chars.next_if(|c| c.is_whitespace()).is_some() {},
                c => text.push(c),
            },
            '{' if chars.next_if_eq(&'{').is_some() => text.push('{'),
            '}' if chars.next_if_eq(&'}').is_some() => text.push('}'),
            '{' => {
                while chars.next()? != '}' {}
                text.push('7');
            }
            c => text.push(c),
        }
    }
    None
}

/// The first string literal of every `verbose!` call: what the verifier says, with its line.
fn said(source: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for word in ["verbose!(", "verifier_bug!("] {
        for (at, _) in source.match_indices(word) {
            let rest = &source[at + word.len()..];
            // Words by release are rows of spec, told below.
            if rest.split_once(',').is_some_and(|(_, what)| what.trim_start().starts_with("words."))
            {
                continue;
            }
            let literal = rest.find('"').map(|q| &rest[q..]).and_then(string).expect("a format");
            let line = source[..at].lines().count();
            let bug = if word.starts_with("verifier") { "verifier bug: " } else { "" };
            found.push((line, format!("{bug}{literal}")));
        }
    }
    found
}

/// What begins with a placeholder names an argument: `arg#0` up to 7.1, its register from 7.2 on.
fn with_argument(words: &str) -> Vec<String> {
    match words.strip_prefix("7 ") {
        Some(rest) => vec![format!("arg#7 {rest}"), format!("R7 {rest}")],
        None => vec![words.to_string()],
    }
}

#[test]
fn every_message_of_the_verifier_has_one_row() {
    let mut sources = Vec::new();
    files(&root().join("verifier/src"), "rs", &mut sources);
    let mut count = 0;
    let mut missing = Vec::new();
    for path in sources {
        let source = fs::read_to_string(&path).expect("source is text");
        if path.ends_with("log/buffer.rs") {
            continue;
        }
        let mut texts = said(&source);
        texts.extend(words_from_elsewhere(&source).into_iter().map(|t| (0, t)));
        for (at, text) in texts {
            if PARTS.contains(&text.as_str())
                || text == "7 yet\n"
                || text.trim_end() == "7"
                || text.trim_end() == "7 7"
            {
                continue;
            }
            let whole = WHOLE.iter().find(|(form, _)| *form == text.trim_end());
            let lines: Vec<&str> = match whole {
                Some((_, samples)) => samples.to_vec(),
                None => text.lines().map(str::trim_end).filter(|l| !l.is_empty()).collect(),
            };
            for words in lines.into_iter().filter(|l| !NOT_FINAL.contains(l)) {
                count += 1;
                for form in with_argument(words) {
                    if line(&form).is_none() {
                        missing.push(format!("{}:{at}: {form:?}", path.display()));
                    }
                }
            }
        }
    }
    assert!(missing.is_empty(), "messages without a row:\n{}", missing.join("\n"));
    assert!(count > 400, "only {count} messages found: does the scan still see the source?");
}

/// Whatever words a release has for a message, its code is one.
#[test]
fn words_by_release_keep_their_code() {
    let mut count = 0;
    for message in &bpfassay_spec::message::MESSAGES {
        for bpfassay_spec::message::Text { text, code, .. } in message.texts {
            let filled = string(&format!("\"{}\"", text.trim_end())).expect("a text");
            let row = line(&filled).unwrap_or_else(|| panic!("no row for {filled:?}"));
            assert_eq!(row.0.name, *code, "{filled}");
            assert_eq!(row.0.category().prefix(), message.category, "{filled}");
            count += 1;
        }
    }
    assert!(count > 5);
}

/// Message lines of every recorded answer.
fn recorded() -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut truths = Vec::new();
    files(&root().join("corpus/truth"), "json", &mut truths);
    for path in truths {
        let text = fs::read_to_string(&path).expect("truth is text");
        // The records are ours and regular: one message a line.
        for l in text.lines() {
            let Some(value) = l.trim().strip_prefix("\"message\": \"") else { continue };
            let value = value.trim_end_matches(',').trim_end_matches('"');
            found.insert(value.replace("\\\"", "\"").replace("\\\\", "\\"));
        }
    }
    assert!(found.len() > 50, "the corpus has {} messages", found.len());
    let selftests = include_str!("said-of-selftests.txt");
    let ends = |l: &&str| !l.starts_with('#') && !NOT_FINAL.contains(l);
    found.extend(selftests.lines().filter(ends).map(str::to_string));
    found
}

#[test]
fn every_recorded_message_has_one_row() {
    let missing: Vec<String> = recorded().into_iter().filter(|m| line(m).is_none()).collect();
    assert!(missing.is_empty(), "recorded messages without a row:\n{}", missing.join("\n"));
}

/// A pattern that no kernel was seen to say is listed as such, so that a misspelt one shows.
#[test]
fn patterns_nobody_has_seen_are_listed() {
    let recorded = recorded();
    let mut unseen = String::new();
    for code in all() {
        for p in code.messages.iter().chain(code.closing) {
            if !recorded.iter().any(|m| matches(p, m)) {
                unseen.push_str(p);
                unseen.push('\n');
            }
        }
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/unseen-patterns.txt");
    let listed = fs::read_to_string(&path).unwrap_or_default();
    if std::env::var_os("BPFASSAY_UPDATE").is_some() {
        fs::write(&path, &unseen).expect("the list can be written");
    } else {
        assert_eq!(listed, unseen, "set BPFASSAY_UPDATE=1 to rewrite {}", path.display());
    }
}
