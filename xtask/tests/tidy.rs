//! The house rules as tests: layering, file sizes, `unsafe`, petgraph, opcode numbers, documents.

use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("xtask lies in the workspace")
        .to_path_buf()
}

/// Our crates, and which of ours each uses (not counting dev-dependencies): exactly these.
const EDGES: [(&str, &[&str]); 17] = [
    ("isa", &[]),
    ("spec", &[]),
    ("object", &["isa", "spec"]),
    ("diag", &["isa", "spec"]),
    ("verifier", &["diag", "isa", "object", "spec"]),
    ("builds", &["spec"]),
    ("judge", &["builds", "diag", "isa", "object", "spec", "verifier"]),
    ("jit", &["isa"]),
    ("jit-x86", &["isa", "jit"]),
    ("jit-arm64", &["isa", "jit"]),
    ("corpus", &["isa", "object"]),
    (
        "harness",
        &[
            "corpus",
            "diag",
            "isa",
            "jit",
            "jit-arm64",
            "jit-x86",
            "judge",
            "object",
            "spec",
            "verifier",
        ],
    ),
    ("ci", &["diag", "isa", "judge", "object", "spec", "verifier"]),
    ("campaign", &["diag", "harness", "isa", "judge", "object", "spec", "verifier"]),
    ("prove", &["harness", "isa", "judge", "object", "spec", "verifier"]),
    (
        "cli",
        &[
            "campaign", "ci", "corpus", "diag", "harness", "isa", "judge", "object", "prove",
            "spec", "verifier",
        ],
    ),
    ("xtask", &[]),
];

fn crates() -> impl Iterator<Item = &'static str> {
    EDGES.iter().map(|(name, _)| *name)
}

fn sources(dir: &Path, found: &mut Vec<PathBuf>) {
    let mut entries: Vec<_> =
        fs::read_dir(dir).into_iter().flatten().flatten().map(|e| e.path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            if path.file_name().is_some_and(|n| n != "target" && n != "corpus-target") {
                sources(&path, found);
            }
        } else if path.extension().is_some_and(|e| e == "rs") {
            found.push(path);
        }
    }
}

fn rust_files() -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    for c in crates() {
        sources(&root().join(c), &mut found);
    }
    sources(&root().join("fuzz"), &mut found);
    assert!(found.len() > 50, "the walk found only {} files", found.len());
    found
        .into_iter()
        .map(|p| {
            let text = fs::read_to_string(&p).expect("source is text");
            (p.strip_prefix(root()).expect("below the root").to_path_buf(), text)
        })
        .collect()
}

/// Our crates that a manifest names as dependencies, dev-dependencies left out; ascending.
fn used(manifest: &str) -> Vec<&str> {
    let mut section = "";
    let mut out = Vec::new();
    for line in manifest.lines().map(str::trim) {
        if line.starts_with('[') {
            section = line;
        } else if let Some(dep) = line.strip_prefix("bpfassay-") {
            if section.contains("dependencies") && !section.contains("dev-dependencies") {
                out.push(dep.split(['.', ' ', '=']).next().unwrap_or(dep));
            }
        }
    }
    out.sort_unstable();
    out
}

#[test]
fn dependencies_are_those_of_the_list() {
    let planted = "[dependencies]\nbpfassay-b.workspace = true\nbpfassay-a = { path = \"../a\" }\n\
                   [dev-dependencies]\nbpfassay-c.workspace = true\n";
    assert_eq!(used(planted), ["a", "b"]);
    for (name, edges) in EDGES {
        let manifest =
            fs::read_to_string(root().join(name).join("Cargo.toml")).expect("manifest is there");
        assert_eq!(used(&manifest), edges, "what {name} uses, and what the list says");
    }
    let workspace = fs::read_to_string(root().join("Cargo.toml")).expect("manifest is there");
    let members = workspace.split("members = [").nth(1).and_then(|m| m.split(']').next());
    let members = members.expect("members").split('"').skip(1).step_by(2).count();
    assert_eq!(members, EDGES.len(), "every member stands in the list");
}

/// Packages whose oldest supported Rust is newer than ours: `cargo` itself says what each asks for.
#[test]
fn no_dependency_asks_for_a_newer_rust_than_we_do() {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_string());
    let args = ["metadata", "--format-version", "1", "--locked", "--offline", "--filter-platform"];
    let out = std::process::Command::new(cargo).args(args).arg(host()).current_dir(root()).output();
    let text = String::from_utf8(out.expect("cargo runs").stdout).expect("metadata is text");
    let versions: Vec<(u32, u32)> =
        text.split("\"rust_version\":\"").skip(1).filter_map(minor).collect();
    assert!(versions.len() > 30, "cargo metadata names {} versions", versions.len());
    let workspace = fs::read_to_string(root().join("Cargo.toml")).expect("manifest is there");
    let ours = workspace.split("rust-version = \"").nth(1).and_then(minor).expect("ours");
    let newer: Vec<_> = versions.into_iter().filter(|v| *v > ours).collect();
    assert!(newer.is_empty(), "some dependency asks for Rust {newer:?}, we promise {ours:?}");
}

/// The platform that the tests are built for, as `rustc` names it: what others need may not be here.
fn host() -> String {
    let out = std::process::Command::new("rustc").arg("-vV").output().expect("rustc runs");
    let text = String::from_utf8(out.stdout).expect("text");
    let host = text.lines().find_map(|l| l.strip_prefix("host: ")).expect("a host");
    host.to_string()
}

/// `1.88.0"…` → (1, 88).
fn minor(text: &str) -> Option<(u32, u32)> {
    let mut numbers = text.split(['.', '"']).map_while(|n| n.parse().ok());
    Some((numbers.next()?, numbers.next()?))
}

/// Lines that match or write an opcode by its number.
fn opcode_numbers(code: &str) -> Vec<&str> {
    let names_one = |line: &str| {
        let line = line.split("//").next().unwrap_or(line);
        let words =
            ["code: 0x", "code == 0x", "code != 0x", ".code, 0x", "opcode: 0x", "RawInsn::new(0x"];
        words.iter().any(|w| line.contains(w))
    };
    code.lines().filter(|l| names_one(l)).collect()
}

#[test]
fn opcode_numbers_stand_in_isa() {
    assert_eq!(opcode_numbers("let i = RawInsn { code: 0x95, ..i };").len(), 1);
    assert_eq!(opcode_numbers("matches!(i.code, 0x27 | 0x2f)").len(), 1);
    assert!(opcode_numbers("i.code == opcode::EXIT // 0x95").is_empty());
    let mut wrong = Vec::new();
    for (path, text) in rust_files() {
        let p = path.to_string_lossy().replace('\\', "/");
        if p.contains("/src/") && !p.starts_with("isa/") && !p.starts_with("xtask/") {
            let code = text.split("#[cfg(test)]").next().unwrap_or(&text);
            wrong.extend(opcode_numbers(code).iter().map(|l| format!("{p}: {}", l.trim())));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn files_stay_short() {
    let long: Vec<_> = rust_files()
        .into_iter()
        .filter(|(_, text)| !text.contains("@generated") && text.lines().count() > 800)
        .map(|(p, text)| format!("{} has {} lines", p.display(), text.lines().count()))
        .collect();
    assert!(long.is_empty(), "files over 800 lines: {long:#?}");
}

#[test]
fn petgraph_is_named_in_the_cfg_only() {
    for (path, text) in rust_files() {
        let p = path.to_string_lossy().replace('\\', "/");
        if p.starts_with("verifier/src/cfg") || p.starts_with("xtask/") {
            continue;
        }
        assert!(!text.contains("petgraph::"), "{p} names petgraph");
    }
}

#[test]
fn unsafe_stays_where_memory_is_mapped() {
    for c in crates() {
        let manifest = fs::read_to_string(root().join(c).join("Cargo.toml")).expect("manifest");
        let inherits = manifest.contains("[lints]\nworkspace = true");
        assert!(inherits || c == "harness", "{c} does not inherit the workspace's lints");
    }
}

#[test]
fn the_lower_crates_read_no_file_clock_or_environment() {
    const FORBIDDEN: [&str; 6] =
        ["std::fs", "std::env::", "SystemTime", "Instant::now", "std::net", "std::process"];
    for (path, text) in rust_files() {
        let p = path.to_string_lossy().replace('\\', "/");
        let lower = [
            "builds/src",
            "judge/src",
            "verifier/src",
            "object/src",
            "diag/src",
            "isa/src",
            "spec/src",
        ];
        if !lower.iter().any(|l| p.starts_with(l)) || p.contains("tests") {
            continue;
        }
        // Unit tests may look around; what stands before them may not.
        let code = text.split("#[cfg(test)]").next().unwrap_or(&text);
        for word in FORBIDDEN {
            assert!(!code.contains(word), "{p} uses {word}");
        }
    }
}

#[test]
fn documents_name_paths_that_exist() {
    let beside = ["docs", "ci", "demo", "corpus"];
    for doc in ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md"] {
        let text = fs::read_to_string(root().join(doc)).expect("document is there");
        for word in text.split('`').skip(1).step_by(2) {
            let is_path = word.contains('/')
                && !word.contains([' ', '*', '<', '…', '$', '{', ':', '|'])
                && crates().chain(beside).any(|c| word.starts_with(&format!("{c}/")));
            if is_path {
                assert!(root().join(word).exists(), "{doc} names `{word}`, which is not there");
            }
        }
    }
}

/// Lists of program types, map types or helpers that stand outside `spec` all the same, and why.
const LISTS_ALLOWED: [(&str, &str); 3] = [
    ("harness/src/runtime/ctx.rs", "the program types that our runtime cannot run"),
    ("harness/src/runtime/maps/mod.rs", "which of our implementations a map type gets"),
    ("harness/src/gen/loaded.rs", "the maps that generated programs use"),
];

/// The longest run of names of one kind with nothing but `|`, `,`, paths and white space between them.
fn longest_list(code: &str, owner: &str) -> usize {
    let (mut longest, mut run) = (0, 0);
    let mut rest = code;
    while let Some(at) = rest.find(owner) {
        let gap = &rest[..at];
        let is_list = gap.chars().all(|c| c.is_whitespace() || "|,&[(".contains(c));
        run = if is_list { run + 1 } else { 1 };
        longest = longest.max(run);
        let tail = &rest[at + owner.len()..];
        let end = tail.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(tail.len());
        rest = &tail[end..];
    }
    longest
}

/// Facts about kernels are rows: a room asks `spec` what a program type, map type or helper is.
fn listed_facts(path: &str, code: &str) -> Option<String> {
    for owner in ["ProgType::", "MapType::", "func::"] {
        if longest_list(code, owner) > 2 {
            return Some(format!("{path} lists {owner} names, which is a table of spec"));
        }
    }
    // Under another name a list would not be seen.
    let hidden =
        ["ProgType::*", "MapType::*", "ProgType as ", "MapType as ", "MapType::{", "ProgType::{"];
    let found = hidden
        .iter()
        .find(|h| code.lines().any(|l| l.trim_start().starts_with("use ") && l.contains(*h)));
    found.map(|h| format!("{path} has `use … {h}`: name the type where it is used"))
}

#[test]
fn lists_of_kernel_facts_stand_in_spec() {
    assert!(listed_facts("x", "matches!(t, ProgType::Xdp | ProgType::SkSkb\n | ProgType::SkMsg)")
        .is_some());
    assert!(listed_facts("x", "&[func::LOOP, func::TAIL_CALL, func::SNPRINTF]").is_some());
    assert!(listed_facts("x", "    use bpfassay_spec::MapType::*;").is_some());
    assert!(
        listed_facts("x", "ProgType::Xdp => 1, ProgType::SkSkb | ProgType::SkMsg => 2").is_none()
    );
    let mut wrong = Vec::new();
    for (path, text) in rust_files() {
        let p = path.to_string_lossy().replace('\\', "/");
        let is_product = p.contains("/src/") && !p.starts_with("spec/") && !p.contains("test");
        if is_product && !LISTS_ALLOWED.iter().any(|(a, _)| *a == p) {
            wrong.extend(listed_facts(&p, text.split("#[cfg(test)]").next().unwrap_or(&text)));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Public functions of a file, test modules left out, and how each is called: `.name(` or `name(`.
fn public_functions(text: &str) -> Vec<(String, String)> {
    let code = text.split("#[cfg(test)]").next().unwrap_or(text);
    let mut out = Vec::new();
    let mut owner = "";
    for (at, line) in code.lines().enumerate() {
        if let Some(head) = line.strip_prefix("impl ") {
            owner = head.split([' ', '<']).next().unwrap_or("");
        } else if !line.starts_with([' ', '}']) {
            owner = "";
        }
        let l = line.trim_start();
        let Some(l) = l.strip_prefix("pub const fn ").or_else(|| l.strip_prefix("pub fn ")) else {
            continue;
        };
        let Some(name) = l.split(['(', '<']).next() else { continue };
        let signature: String = code.lines().skip(at).take(3).collect();
        let call = match (owner, signature.contains("self")) {
            ("", _) => format!("{name}("),
            (_, true) => format!(".{name}("),
            (owner, false) => format!("{owner}::{name}"),
        };
        out.push((name.to_string(), call));
    }
    out
}

/// Functions of `spec` that only tests call, and why they stay.
const UNCALLED_ALLOWED: [(&str, &str); 2] = [
    ("builtin", "a test makes a profile of a build's own configuration"),
    ("config_value", "the reading side of a public file format"),
];

/// A table that only its own tests read is not the table that is used.
#[test]
fn every_public_function_of_spec_has_a_caller() {
    let files = rust_files();
    let mut code = String::new();
    for (path, text) in &files {
        let p = path.to_string_lossy().replace('\\', "/");
        if ["/src/", "/examples/", "fuzz/"].iter().any(|d| p.contains(d)) && !p.contains("test") {
            code.push_str(text.split("#[cfg(test)]").next().unwrap_or(text));
        }
    }
    let calls = |call: &str| {
        code.match_indices(call).any(|(at, _)| {
            let before = code[..at].chars().next_back();
            let is_word = before.is_some_and(|c| c.is_alphanumeric() || c == '_');
            (call.starts_with('.') || !is_word) && !code[..at].ends_with("fn ")
        })
    };
    let mut wrong = Vec::new();
    for (path, text) in &files {
        let p = path.to_string_lossy().replace('\\', "/");
        if !p.starts_with("spec/src/") || p.contains("generated") || p.contains("test") {
            continue;
        }
        for (name, call) in public_functions(text) {
            let is_self = call.contains("::") && code.contains(&format!("Self::{name}("));
            if !calls(&call) && !is_self && !UNCALLED_ALLOWED.iter().any(|(a, _)| *a == name) {
                wrong.push(format!("{p}: {name}"));
            }
        }
    }
    assert!(wrong.is_empty(), "only tests call: {wrong:#?}");
}
