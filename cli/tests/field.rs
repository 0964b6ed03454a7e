//! What the field found in the command line: limits, files that are written, processes that stay.

mod program;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn bpfassay(folder: &Path, args: &[&str]) -> Output {
    Command::new(program::path()).current_dir(folder).args(args).output().expect("the program runs")
}

fn object(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../corpus/objects/v3").join(name)
}

/// A folder of this test's own, gone with it.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let path =
            std::env::temp_dir().join(format!("bpfassay-field-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).expect("a temporary folder");
        Folder(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn the_gate_finds_objects_below_the_folder_it_stands_in() {
    let folder = Folder::new("glob");
    fs::create_dir_all(folder.0.join("a/b")).unwrap();
    fs::copy(object("reject/map_off_by_one.o"), folder.0.join("a/b/x.o")).unwrap();
    fs::write(folder.0.join("bpfassay.toml"), "objects = [\"**/*.o\"]\n").unwrap();
    let out = bpfassay(&folder.0, &["gate"]);
    assert_eq!(out.status.code(), Some(1), "{}", String::from_utf8_lossy(&out.stderr));
}

#[test]
fn a_glob_nested_too_deeply_is_a_mistake_with_its_place() {
    let folder = Folder::new("braces");
    let glob = format!("{}{}", "{a,".repeat(300), "}".repeat(300));
    fs::write(folder.0.join("bpfassay.toml"), format!("objects = [\"{glob}\"]\n")).unwrap();
    let out = bpfassay(&folder.0, &["gate"]);
    assert_eq!(out.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&out.stderr).contains("bpfassay.toml:1:12"));
}

#[test]
fn logs_of_equal_names_are_all_kept() {
    let folder = Folder::new("logs");
    for part in ["a", "b"] {
        fs::create_dir_all(folder.0.join(part)).unwrap();
        fs::copy(object("reject/map_off_by_one.o"), folder.0.join(part).join("x.o")).unwrap();
    }
    let args =
        ["check", "--log-dir", "logs", "--prog", "index_ok", "--jobs", "5000", "a/x.o", "b/x.o"];
    assert_eq!(bpfassay(&folder.0, &args).status.code(), Some(0));
    let mut names: Vec<_> = fs::read_dir(folder.0.join("logs"))
        .unwrap()
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(names, ["x.o.index_ok.2.log", "x.o.index_ok.log"]);
}

/// A bare loop in the child outlives nobody.
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
#[test]
fn a_killed_run_leaves_no_child() {
    use std::time::{Duration, Instant};

    let folder = Folder::new("orphan");
    // goto -1
    let code = folder.0.join("loop.bin");
    fs::write(&code, [0x05, 0, 0xff, 0xff, 0, 0, 0, 0, 0x95, 0, 0, 0, 0, 0, 0, 0]).unwrap();
    let mut run = Command::new(program::path())
        .args([
            "run",
            "--raw",
            &code.display().to_string(),
            "--engine",
            "x86",
            "--time-limit",
            "60",
        ])
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
        .expect("the program runs");
    let children = format!("/proc/{0}/task/{0}/children", run.id());
    let until = Instant::now() + Duration::from_secs(20);
    let child = loop {
        let text = fs::read_to_string(&children).unwrap_or_default();
        if let Some(pid) = text.split_whitespace().next() {
            break pid.to_string();
        }
        assert!(Instant::now() < until, "no child appeared");
        std::thread::sleep(Duration::from_millis(20));
    };
    // It asks for its end within its first steps.
    std::thread::sleep(Duration::from_millis(300));
    run.kill().unwrap();
    run.wait().unwrap();
    let is_there = || {
        let stat = fs::read_to_string(format!("/proc/{child}/stat")).unwrap_or_default();
        !stat.is_empty() && !stat.contains(") Z ")
    };
    let until = Instant::now() + Duration::from_secs(5);
    while is_there() {
        assert!(Instant::now() < until, "the child spins on");
        std::thread::sleep(Duration::from_millis(20));
    }
}
