//! Runs a folder of the public conformance suite's `.data` files on the interpreter.
//!
//!     cargo run --release -p bpfassay-harness --example conformance -- path/to/bpf_conformance/tests
//!
//! Prints what fails and the totals; exit status 0 when every case passes, 1
//! when one fails, 2 when there is none or one cannot be read.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use bpfassay_harness::conformance::{Case, Expect};
use bpfassay_harness::engine::{Input, Instance};
use bpfassay_harness::raw::RawInterp;

fn main() -> ExitCode {
    let (mut passed, mut failed, mut unread) = (0, 0, 0);
    let folders: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    for file in folders.iter().flat_map(|f| data_files(f)) {
        let text = std::fs::read(&file).map(|b| String::from_utf8_lossy(&b).into_owned());
        let case = text
            .map_err(|e| e.to_string())
            .and_then(|t| Case::parse(&t).map_err(|e| e.to_string()));
        match case.map(|c| run(&c)) {
            Ok(Ok(())) => passed += 1,
            Ok(Err(why)) => {
                println!("FAIL {}: {why}", file.display());
                failed += 1;
            }
            Err(why) => {
                println!("UNREAD {}: {why}", file.display());
                unread += 1;
            }
        }
    }
    println!("{passed} passed, {failed} failed, {unread} not read");
    match (failed, unread, passed) {
        (0, 0, 1..) => ExitCode::SUCCESS,
        (1.., ..) => ExitCode::from(1),
        _ => ExitCode::from(2),
    }
}

fn data_files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut files: Vec<PathBuf> =
        entries.map(|e| e.path()).filter(|p| p.extension().is_some_and(|e| e == "data")).collect();
    files.sort();
    files
}

fn run(case: &Case) -> Result<(), String> {
    let input = Input { data: case.memory.clone(), ..Input::default() };
    let out = RawInterp::new(&case.insns).run(&input);
    match (&case.expect, out.trap) {
        (Expect::Result(want), None) if *want == out.r0 => Ok(()),
        (Expect::Result(want), None) => Err(format!("r0 is {:#x}, not {want:#x}", out.r0)),
        (Expect::Result(_), Some(trap)) => Err(trap.to_string()),
        (Expect::Error(_), Some(_)) => Ok(()),
        (Expect::Error(_), None) => Err(format!("r0 is {:#x}, not an error", out.r0)),
    }
}
