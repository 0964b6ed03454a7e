//! The house rules as tests: layering, file sizes, `unsafe`, petgraph, opcode numbers, documents.

use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("xtask lies in the workspace")
        .to_path_buf()
}

const CRATES: [&str; 15] = [
    "isa",
    "spec",
    "object",
    "diag",
    "verifier",
    "builds",
    "judge",
    "jit",
    "jit-x86",
    "jit-arm64",
    "harness",
    "corpus",
    "ci",
    "cli",
    "xtask",
];

/// Which of our crates each may use (not counting dev-dependencies).
const EDGES: [(&str, &[&str]); 15] = [
    ("isa", &[]),
    ("spec", &[]),
    ("object", &["isa", "spec"]),
    ("diag", &["isa", "spec"]),
    ("verifier", &["isa", "spec", "object", "diag"]),
    ("builds", &["spec"]),
    ("judge", &["isa", "spec", "object", "diag", "verifier", "builds"]),
    ("jit", &["isa"]),
    ("jit-x86", &["isa", "jit"]),
    ("jit-arm64", &["isa", "jit"]),
    ("corpus", &["isa", "object"]),
    (
        "harness",
        &[
            "isa",
            "spec",
            "object",
            "diag",
            "verifier",
            "jit",
            "jit-x86",
            "jit-arm64",
            "corpus",
            "judge",
        ],
    ),
    ("ci", &["isa", "spec", "object", "diag", "verifier", "judge"]),
    (
        "cli",
        &[
            "isa", "spec", "object", "diag", "verifier", "harness", "corpus", "builds", "judge",
            "ci",
        ],
    ),
    ("xtask", &["spec"]),
];

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
    for c in CRATES {
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

#[test]
fn dependencies_point_down() {
    for (name, allowed) in EDGES {
        let manifest =
            fs::read_to_string(root().join(name).join("Cargo.toml")).expect("manifest is there");
        let mut section = "";
        for line in manifest.lines().map(str::trim) {
            if line.starts_with('[') {
                section = line;
                continue;
            }
            let Some(dep) = line.strip_prefix("bpfassay-") else { continue };
            if !section.contains("dependencies") || section.contains("dev-dependencies") {
                continue;
            }
            let dep = dep.split(['.', ' ', '=']).next().unwrap_or(dep);
            assert!(allowed.contains(&dep), "{name} may not use {dep}");
        }
    }
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
    for c in CRATES {
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
    for doc in ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md"] {
        let text = fs::read_to_string(root().join(doc)).expect("document is there");
        for word in text.split('`').skip(1).step_by(2) {
            let is_path = word.contains('/')
                && !word.contains([' ', '*', '<', '…', '$', '{', ':', '|'])
                && CRATES.iter().any(|c| word.starts_with(&format!("{c}/")));
            if is_path {
                assert!(root().join(word).exists(), "{doc} names `{word}`, which is not there");
            }
        }
    }
}
