//! Engine `arm64` on another processor: an arm64 build of this program, under qemu-user.
//!
//! It is given the same command line, verifies and compiles for the processor it
//! finds, and what it prints and returns is the answer.  Finds both programs and says
//! what is missing; knows nothing of engines.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use bpfassay_harness::session::Answer;

use crate::exit::{fail, Outcome};

/// Names the arm64 build of bpfassay.
const PROGRAM_VAR: &str = "BPFASSAY_ARM64";
/// Where Debian's cross libraries lie; `QEMU_LD_PREFIX` names another place.
const LIBRARIES: &str = "/usr/aarch64-linux-gnu";

fn in_path(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    env::split_paths(&path).map(|d| d.join(name)).find(|p| p.is_file())
}

/// The build named by the environment, beside this program, or made by `xtask test-arm64 --build`.
fn program() -> Option<PathBuf> {
    if let Some(p) = env::var_os(PROGRAM_VAR) {
        return Some(PathBuf::from(p));
    }
    let here = env::current_exe().ok()?;
    let folder = here.parent()?;
    let beside = folder.join("bpfassay-aarch64");
    let target = folder.parent().unwrap_or(Path::new("")).join("aarch64-unknown-linux-gnu");
    let built = ["release", "quick", "debug"].map(|p| target.join(p).join("bpfassay"));
    [beside].into_iter().chain(built).find(|p| p.is_file())
}

fn command() -> Result<Command, String> {
    let qemu = in_path("qemu-aarch64").or_else(|| in_path("qemu-aarch64-static"));
    let qemu = qemu.ok_or("engine arm64 needs qemu-aarch64 here: apt-get install qemu-user")?;
    let program = program().ok_or_else(|| {
        format!(
            "engine arm64 needs an arm64 build of bpfassay here: cargo run -p bpfassay-xtask -- \
             test-arm64 --build, or {PROGRAM_VAR}=FILE"
        )
    })?;
    let mut command = Command::new(qemu);
    if env::var_os("QEMU_LD_PREFIX").is_none() && Path::new(LIBRARIES).is_dir() {
        command.args(["-L", LIBRARIES]);
    }
    command.arg(program);
    Ok(command)
}

/// Everything asked for, on that build; its exit status is ours.
pub fn run_again() -> Outcome {
    let mut command = match command() {
        Ok(c) => c,
        Err(why) => return fail(Outcome::NotJudged, why),
    };
    match command.args(env::args_os().skip(1)).status() {
        Ok(status) => match status.code() {
            Some(0) => Outcome::Ok,
            Some(1) => Outcome::Rejected,
            Some(2) => Outcome::NotJudged,
            Some(64) => Outcome::Usage,
            Some(_) => Outcome::Internal,
            None => fail(Outcome::Internal, format!("the arm64 process ended with {status}")),
        },
        Err(e) => fail(Outcome::NotJudged, format!("qemu-aarch64: {e}")),
    }
}

/// This command line with another engine, answered in the form one process reads of another.
fn rewritten() -> Vec<OsString> {
    let mut out = Vec::new();
    let mut args = env::args_os().skip(1);
    while let Some(arg) = args.next() {
        let text = arg.to_string_lossy();
        let (name, has_value) = match text.split_once('=') {
            Some((name, _)) => (name, true),
            None => (text.as_ref(), false),
        };
        // What is written to a file is the first engine's.
        if matches!(name, "--engine" | "--format" | "--data-out") {
            if !has_value {
                args.next();
            }
            continue;
        }
        out.push(arg);
    }
    out.extend(["--engine", "arm64", "--format", "answer"].map(OsString::from));
    out
}

/// What that build answers to this command line.
pub fn answer() -> Result<Answer, String> {
    let mut command = command()?;
    let out = command
        .args(rewritten())
        .stdin(Stdio::null())
        .stderr(Stdio::piped())
        .output()
        .map_err(|e| format!("qemu-aarch64: {e}"))?;
    serde_json::from_slice(&out.stdout).map_err(|_| {
        let said = String::from_utf8_lossy(&out.stderr).into_owned();
        format!("the arm64 process gave no answer ({}): {}", out.status, said.trim())
    })
}
