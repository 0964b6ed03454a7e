//! `bpfassay fuzz` is killed and goes on, and shards together are the whole.

mod program;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;

/// Batches of 512 programs, so that a kill hits some in flight.
const PROGRAMS: &str = "16384";
const KILLS: u64 = 20;

fn fuzz(args: &[&str]) -> Command {
    let mut command = Command::new(program::path());
    command.args(["fuzz", "--seed", "7", "--programs", PROGRAMS, "--oracles", "no-trap"]);
    command.args(["--format", "json", "--jobs", "2"]).args(args);
    command
}

fn folder(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = std::fs::remove_dir_all(&path);
    path
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a folder's name")
}

/// What does not depend on when and where it was done.
fn lasting(mut command: Command) -> Value {
    let out = command.output().expect("the program runs");
    let mut report: Value = serde_json::from_slice(&out.stdout).expect("JSON");
    for finding in report["findings"].as_array_mut().into_iter().flatten() {
        finding["case"] = Value::Null;
    }
    let keys = ["seed", "programs_total", "accepted_total", "executions_total", "insns_median"];
    let more = ["processed_median", "oracles", "rejections", "findings"];
    let of = |key: &&str| (key.to_string(), report[*key].clone());
    Value::Object(keys.iter().chain(&more).map(of).collect())
}

#[cfg(unix)]
#[test]
fn a_campaign_that_is_killed_twenty_times_ends_as_one_that_was_not() {
    let whole = lasting(fuzz(&[]));
    let store = folder("killed");
    for kill in 0..KILLS {
        let mut child = fuzz(&["--resume", text(&store)])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("the program runs");
        std::thread::sleep(Duration::from_millis(60 + kill * 23 % 170));
        // SIGKILL: nothing is left to write.
        let _ = child.kill();
        let _ = child.wait();
    }
    assert_eq!(lasting(fuzz(&["--resume", text(&store)])), whole);
}

#[test]
fn four_shards_together_are_the_whole() {
    let whole = lasting(fuzz(&[]));
    let shards: Vec<PathBuf> = (1..=4).map(|i| folder(&format!("shard-{i}"))).collect();
    for (i, shard) in shards.iter().enumerate() {
        let of = format!("{}/4", i + 1);
        let out = fuzz(&["--shard", &of, "--resume", text(shard)]).output();
        assert!(out.is_ok_and(|o| matches!(o.status.code(), Some(0 | 1))), "shard {of}");
    }
    let all: Vec<&str> = shards.iter().map(|s| text(s)).collect();
    let mut merge = Command::new(program::path());
    merge.args(["fuzz", "--format", "json", "--merge"]).args(all);
    assert_eq!(lasting(merge), whole);
}
