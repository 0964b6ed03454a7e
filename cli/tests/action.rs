//! The GitHub action's script as a job runs it, with the environment GitHub would set.
#![cfg(unix)]

mod program;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// A checkout with a configuration and built objects.
struct Job(PathBuf);

/// What a step leaves behind.
struct Step {
    status: i32,
    log: String,
    outputs: String,
    summary: String,
}

impl Job {
    fn new(name: &str, config: &str, objects: &[&str]) -> Job {
        let folder =
            std::env::temp_dir().join(format!("bpfassay-action-{}-{name}", std::process::id()));
        fs::create_dir_all(folder.join("build")).expect("a scratch folder");
        fs::write(folder.join("bpfassay.toml"), config).expect("the configuration");
        for object in objects {
            let from = root().join("corpus/objects/v3").join(object);
            let name = from.file_name().expect("a name").to_os_string();
            fs::copy(&from, folder.join("build").join(name)).expect("an object of the corpus");
        }
        Job(folder)
    }

    fn run(&self) -> Step {
        let out = Command::new("bash")
            .arg(root().join("ci/action/gate.sh").canonicalize().expect("the script is there"))
            .current_dir(&self.0)
            .env("BPFASSAY", program::path())
            .env("GITHUB_OUTPUT", self.0.join("outputs"))
            .env("GITHUB_STEP_SUMMARY", self.0.join("summary"))
            .output()
            .expect("bash runs");
        let read = |name: &str| fs::read_to_string(self.0.join(name)).unwrap_or_default();
        Step {
            status: out.status.code().unwrap_or(-1),
            log: String::from_utf8_lossy(&out.stdout).into_owned(),
            outputs: read("outputs"),
            summary: read("summary"),
        }
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

const ALL: &str = "objects = [\"build/*.o\"]\n";

#[test]
fn a_green_gate_says_so_in_the_summary() {
    let step = Job::new("green", ALL, &["loop/branchy.o"]).run();
    assert_eq!(step.status, 0, "{}", step.log);
    assert!(step.outputs.contains("verdict=pass\n"), "{}", step.outputs);
    assert!(step.outputs.contains("exit-code=0\n"));
    assert!(step.summary.starts_with("## ✅ bpfassay gate"), "{}", step.summary);
    assert!(!step.log.contains("::error"), "{}", step.log);
}

#[test]
fn a_rejection_and_a_budget_turn_it_red_with_annotations_and_files() {
    let config = format!("{ALL}[budget]\ninsns-processed = \"1 %\"\n");
    let job = Job::new("red", &config, &["loop/branchy.o", "reject/map_null.o"]);
    let step = job.run();
    assert_eq!(step.status, 1, "{}", step.log);
    assert!(step.outputs.contains("verdict=fail\n"), "{}", step.outputs);
    let annotations: Vec<&str> = step.log.lines().filter(|l| l.starts_with("::error ")).collect();
    assert!(annotations.iter().any(|a| a.contains("title=budget-exceeded%3A branchy::")));
    assert!(annotations.iter().any(|a| a.contains("title=register-maybe-null%3A")));
    assert!(step.summary.starts_with("## ❌ bpfassay gate"), "{}", step.summary);
    for line in step.outputs.lines() {
        if let Some((name @ ("sarif" | "junit" | "gitlab" | "json" | "markdown"), file)) =
            line.split_once('=')
        {
            let size = fs::metadata(job.0.join(file)).map_or(0, |m| m.len());
            assert!(size > 100, "{name}: {file} has {size} bytes");
        }
    }
}

/// The report quotes sources; a line of one must not be taken for a command.
#[test]
fn the_text_is_shown_where_commands_are_stopped() {
    let step = Job::new("stopped", ALL, &["reject/map_null.o"]).run();
    let lines: Vec<&str> = step.log.lines().collect();
    let token = lines[0].strip_prefix("::stop-commands::").expect("commands are stopped first");
    assert_eq!(token.len(), 32);
    let end = lines.iter().position(|l| *l == format!("::{token}::")).expect("and go on again");
    let report = lines.iter().position(|l| l.starts_with("error[")).expect("the text");
    assert!(report < end);
    assert!(lines.iter().position(|l| l.starts_with("::error ")).is_some_and(|at| at > end));
}

#[test]
fn a_broken_configuration_is_never_a_pass() {
    let job = Job::new("broken", ALL, &["loop/branchy.o"]);
    assert_eq!(job.run().status, 0);
    fs::write(job.0.join("bpfassay.toml"), "objects = 3\n").expect("the configuration");
    let step = job.run();
    assert_eq!(step.status, 2, "{}", step.log);
    assert!(step.outputs.ends_with("verdict=error\nexit-code=2\n"), "{}", step.outputs);
    assert!(step.log.contains("::error title=bpfassay gate::"), "{}", step.log);
    assert!(!job.0.join("bpfassay-report/bpfassay.sarif").exists(), "an old report is left");
}
