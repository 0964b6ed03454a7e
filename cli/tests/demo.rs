//! The demonstration in `demo/`, driven by the action's own script: green, red by one newly rejected program
//! and one budget, green after the fix.
#![cfg(unix)]

mod program;

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

/// Exit status and errors (kind and program) of a stage, and what the job's log says.
fn gate(name: &str) -> (Option<i32>, Vec<(String, String)>, String) {
    let folder = stage(name);
    let script = demo().join("../ci/action/gate.sh").canonicalize().expect("the action's script");
    let out = Command::new("bash")
        .arg(script)
        .current_dir(&folder)
        .env("BPFASSAY", program::path())
        .env_remove("GITHUB_OUTPUT")
        .env_remove("GITHUB_STEP_SUMMARY")
        .output()
        .expect("bash runs");
    let text =
        fs::read_to_string(folder.join("bpfassay-report/bpfassay.json")).expect("the report");
    let report: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    let word = |f: &serde_json::Value, key: &str| f[key].as_str().unwrap_or("").to_string();
    let findings = report["findings"].as_array().expect("findings");
    let errors = findings.iter().filter(|f| f["severity"] == "error");
    let rows = errors.map(|f| (word(f, "kind"), word(f, "program"))).collect();
    fs::remove_dir_all(&folder).expect("cleaning up");
    (out.status.code(), rows, String::from_utf8_lossy(&out.stdout).into_owned())
}

#[test]
fn green_then_red_then_green() {
    let (code, findings, _) = gate("before");
    assert_eq!((code, findings), (Some(0), vec![]));

    let (code, findings, log) = gate("change");
    assert_eq!(code, Some(1), "{log}");
    let row = |kind: &str, program: &str| (kind.to_string(), program.to_string());
    assert_eq!(findings, [row("newly-rejected", "allow"), row("budget-exceeded", "scan")]);
    assert!(log.contains("accepted in the baseline of 2026-11-20"), "{log}");
    let annotated = |file: &str| log.lines().any(|l| l.starts_with("::error ") && l.contains(file));
    assert!(annotated("file=change/allow.c,line=20"), "{log}");
    assert!(annotated("file=change/scan.c,line=14"), "{log}");

    let (code, findings, _) = gate("fix");
    assert_eq!((code, findings), (Some(0), vec![]));
}
