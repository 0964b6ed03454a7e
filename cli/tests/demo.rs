//! The demonstration in `demo/`: green, red by one newly rejected program and one budget, green after the fix.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

fn demo() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../demo")
}

/// A folder with the configuration, the baseline and one stage's objects in `build/`.
fn stage(name: &str) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("bpfassay-demo-{}-{name}", std::process::id()));
    fs::create_dir_all(folder.join("build")).expect("a scratch folder");
    for file in ["bpfassay.toml", "baseline.json"] {
        fs::copy(demo().join(file), folder.join(file)).expect("a file of the demonstration");
    }
    for object in ["allow.o", "scan.o"] {
        fs::copy(demo().join("objects").join(name).join(object), folder.join("build").join(object))
            .expect("an object of the demonstration");
    }
    folder
}

/// Exit status and findings (kind and program) of a stage.
fn gate(name: &str) -> (Option<i32>, Vec<(String, String)>) {
    let folder = stage(name);
    let status = Command::new(env!("CARGO_BIN_EXE_bpfassay"))
        .current_dir(&folder)
        .args(["gate", "--output", "json=report.json"])
        .status()
        .expect("the gate runs");
    let text = fs::read_to_string(folder.join("report.json")).expect("the report");
    let report: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    let word = |f: &serde_json::Value, key: &str| f[key].as_str().unwrap_or("").to_string();
    let findings = report["findings"].as_array().expect("findings");
    let errors = findings.iter().filter(|f| f["severity"] == "error");
    let rows = errors.map(|f| (word(f, "kind"), word(f, "program"))).collect();
    fs::remove_dir_all(&folder).expect("cleaning up");
    (status.code(), rows)
}

#[test]
fn green_then_red_then_green() {
    assert_eq!(gate("before"), (Some(0), vec![]));
    let (code, findings) = gate("change");
    assert_eq!(code, Some(1));
    let row = |kind: &str, program: &str| (kind.to_string(), program.to_string());
    assert_eq!(findings, [row("newly-rejected", "allow"), row("budget-exceeded", "scan")]);
    assert_eq!(gate("fix"), (Some(0), vec![]));
}
