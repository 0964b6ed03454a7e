//! `check` and `gate` over maps: what cannot be made is no pass, what the application sets is said.

mod program;

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

fn bpfassay(args: &[&str]) -> Output {
    Command::new(program::path()).args(args).output().expect("the program runs")
}

fn object(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../corpus/maps/objects").join(name);
    path.display().to_string()
}

fn check(name: &str, more: &[&str]) -> (Option<i32>, Value) {
    let out = bpfassay(&[&["check", "--format", "json", &object(name)], more].concat());
    (out.status.code(), serde_json::from_slice(&out.stdout).expect("a report"))
}

#[test]
fn a_map_that_cannot_be_made_refuses_the_object() {
    let (status, report) = check("slot_prog_types.o", &[]);
    assert_eq!(status, Some(1));
    let object = &report["objects"][0];
    assert_eq!(object["maps"][0]["verdict"], "rejected");
    assert_eq!(object["maps"][0]["errno"], 22);
    for program in object["programs"].as_array().unwrap() {
        assert_eq!(program["verdict"], "rejected");
        assert_eq!(program["code"], "map-slot");
        assert_eq!(program["errno"], 22);
    }
    // No program at all, and still no pass.
    assert_eq!(check("impossible.o", &[]).0, Some(1));
    assert_eq!(check("slot_prog_same.o", &[]).0, Some(0));
}

#[test]
fn what_the_application_sets_is_a_warning_until_it_is_given() {
    let (status, report) = check("unset.o", &[]);
    assert_eq!(status, Some(2));
    let maps = report["objects"][0]["maps"].as_array().unwrap().clone();
    let unset: Vec<&str> = maps
        .iter()
        .filter(|m| m["verdict"] == "unset")
        .map(|m| m["name"].as_str().unwrap())
        .collect();
    assert_eq!(unset, ["unsized", "no_inner", "no_depth", "no_pages"]);
    assert!(maps.iter().filter(|m| m["verdict"] == "unset").all(|m| m["errno"] == 22));
    assert_eq!(report["objects"][0]["programs"][0]["verdict"], "accepted");

    let given = [
        "--map-override=unsized.max_entries=100",
        "--map-override=no_inner.inner=plain",
        "--map-override=no_depth.value_size=1016",
        "--map-override=no_pages.max_entries=0x1000",
    ];
    assert_eq!(check("unset.o", &given).0, Some(0));
    let wrong = [
        &given[1..],
        &["--map-override=unsized.map_flags=1024", "--map-override=unsized.max_entries=1"],
    ];
    assert_eq!(check("unset.o", &wrong.concat()).0, Some(1));
    for (bad, status) in [
        ("--map-override=nobody.max_entries=1", 2),
        ("--map-override=unsized.colour=1", 64),
        ("--map-override=unsized.max_entries=many", 64),
        ("--map-override=unsized", 64),
    ] {
        assert_eq!(
            bpfassay(&["check", &object("unset.o"), bad]).status.code(),
            Some(status),
            "{bad}"
        );
    }
}

#[test]
fn the_gate_takes_maps_from_its_configuration() {
    let folder = std::env::temp_dir().join(format!("bpfassay-maps-{}", std::process::id()));
    fs::create_dir_all(&folder).expect("a temporary folder");
    let config = folder.join("bpfassay.toml");
    let gate = |text: &str| {
        fs::write(&config, text).expect("a configuration");
        let path = config.display().to_string();
        let out = bpfassay(&["gate", "--config", &path, "--output", "json=-"]);
        (out.status.code(), String::from_utf8_lossy(&out.stdout).into_owned())
    };
    for name in ["unset.o", "slot_prog_types.o"] {
        fs::copy(object(name), folder.join(name)).expect("the object");
    }
    let (status, text) = gate("objects = [\"unset.o\"]\n");
    assert_eq!(status, Some(0));
    let report: Value = serde_json::from_str(&text).expect("a report");
    let kinds: Vec<&str> = report["findings"]
        .as_array()
        .unwrap()
        .iter()
        .map(|f| f["kind"].as_str().unwrap())
        .collect();
    assert_eq!(kinds, ["map-unset"; 4]);
    let rest = "[map.unsized]\nmax-entries = 9\n[map.no_inner]\ninner = \"plain\"\n[map.no_depth]\nvalue-size = 8\n";
    let (status, text) =
        gate(&format!("objects = [\"unset.o\"]\n{rest}[map.no_pages]\nmax-entries = 4096\n"));
    assert_eq!((status, text.contains("map-unset")), (Some(0), false));
    let (status, text) =
        gate(&format!("objects = [\"unset.o\"]\n{rest}[map.no_pages]\nmap-flags = 1\n"));
    assert_eq!((status, text.contains("map-rejected")), (Some(1), true));
    assert_eq!(gate("objects = [\"unset.o\"]\n[map.nobody]\nmax-entries = 9\n").0, Some(2));
    assert_eq!(gate("objects = [\"slot_prog_types.o\"]\n").0, Some(1));
    let _ = fs::remove_dir_all(&folder);
}
