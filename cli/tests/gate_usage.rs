//! What `gate` says before it judges anything, and with which exit status.

mod program;

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};

fn scratch(name: &str) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("bpfassay-usage-{}-{name}", std::process::id()));
    fs::create_dir_all(&folder).expect("a scratch folder");
    folder
}

fn gate(folder: &PathBuf, args: &[&str], epoch: Option<&str>) -> (Option<i32>, String) {
    let mut command = Command::new(program::path());
    command.current_dir(folder).arg("gate").args(args).env_remove("SOURCE_DATE_EPOCH");
    if let Some(epoch) = epoch {
        command.env("SOURCE_DATE_EPOCH", epoch);
    }
    let Output { status, stderr, .. } = command.output().expect("the gate runs");
    (status.code(), String::from_utf8_lossy(&stderr).into_owned())
}

#[test]
fn a_wrong_configuration_is_shown_with_its_line() {
    let folder = scratch("config");
    let (code, said) = gate(&folder, &[], None);
    assert_eq!(code, Some(2), "a missing configuration is no pass: {said}");
    assert!(said.contains("bpfassay.toml: "), "{said}");
    fs::write(folder.join("bpfassay.toml"), "objects = [\"a.o\"]\nprivileges = \"user\"\n")
        .expect("a file");
    let (code, said) = gate(&folder, &[], None);
    assert_eq!(code, Some(2));
    for part in [
        "error: privileges `user` are not known",
        "--> bpfassay.toml:2:14",
        "2 | privileges = \"user\"",
        "help: known are root, none, bpf, net and perfmon, joined by +",
    ] {
        assert!(said.contains(part), "no {part:?} in {said}");
    }
    fs::remove_dir_all(&folder).expect("cleaning up");
}

#[test]
fn a_wrong_command_line_is_usage() {
    let folder = scratch("usage");
    for args in [
        &["--output", "json"][..],
        &["--output", "nonsense=x"],
        &["--output", "json="],
        &["--today", "2026-02-30"],
        &["--jobs", "many"],
    ] {
        assert_eq!(gate(&folder, args, None).0, Some(64), "{args:?}");
    }
    fs::remove_dir_all(&folder).expect("cleaning up");
}

#[test]
fn exceptions_expire_by_the_day_given() {
    let folder = scratch("today");
    let object = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../demo/objects/change/allow.o");
    fs::copy(object, folder.join("allow.o")).expect("an object");
    let config =
        "objects = [\"allow.o\"]\n[[exception]]\nprogram = \"allow\"\nkind = \"rejected\"\n\
                  reason = \"known\"\nexpires = 2026-12-31\n";
    fs::write(folder.join("bpfassay.toml"), config).expect("a file");
    assert_eq!(gate(&folder, &["--today", "2026-12-31"], None).0, Some(0));
    assert_eq!(gate(&folder, &["--today", "2027-01-01"], None).0, Some(1));
    // 1798675200 is 2026-12-31, 1798761600 the day after.
    assert_eq!(gate(&folder, &[], Some("1798675200")).0, Some(0));
    assert_eq!(gate(&folder, &[], Some("1798761600")).0, Some(1));
    assert_eq!(gate(&folder, &[], Some("soon")).0, Some(64));
    fs::remove_dir_all(&folder).expect("cleaning up");
}
