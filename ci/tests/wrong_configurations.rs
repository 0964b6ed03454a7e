//! Every value a configuration can hold wrong, one file each: its first lines (`#! …`) are the message, with the
//! place counted in the file itself.  `DATA` stands for the folder of the objects.

use std::fs;
use std::path::{Path, PathBuf};

use bpfassay_ci::gate::config::Config;
use bpfassay_ci::gate::date::Date;
use bpfassay_ci::gate::{run, Request};

fn tests() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests")
}

/// The message of a configuration, or what it says instead.
fn message(text: &str) -> String {
    let folder = tests().join("data");
    let said = Config::parse(text).and_then(|config| {
        let request = Request {
            config: &config,
            config_name: "bpfassay.toml".to_string(),
            folder: &folder,
            today: Date::parse("2026-11-20").expect("a day"),
            update_baseline: false,
            tool: "test".to_string(),
        };
        run(&request)
    });
    match said {
        Ok(report) => format!("no error, verdict {}", report.verdict.as_str()),
        Err(e) => e.to_string().replace(&folder.display().to_string(), "DATA"),
    }
}

#[test]
fn every_mistake_has_its_message_and_place() {
    let mut files: Vec<PathBuf> = fs::read_dir(tests().join("config"))
        .expect("fixtures")
        .flatten()
        .map(|e| e.path())
        .collect();
    files.sort();
    let mut wrong = String::new();
    for file in &files {
        let text = fs::read_to_string(file).expect("a fixture");
        let expected: Vec<&str> = text.lines().map_while(|l| l.strip_prefix("#! ")).collect();
        let said = message(&text);
        if said != expected.join("\n") {
            let name = file.file_name().unwrap_or_default().to_string_lossy();
            wrong += &format!("{name}\n  expected {}\n  said     {said}\n", expected.join("\n"));
        }
    }
    assert!(files.len() > 90, "only {} fixtures", files.len());
    assert!(wrong.is_empty(), "{wrong}");
}
