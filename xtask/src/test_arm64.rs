//! `xtask test-arm64`: the workspace's tests as a real arm64 process, under qemu-user on other hosts.
//!
//! Finds what it needs and says what it does not find: an arm64 C compiler for
//! linking, `qemu-aarch64`, and the standard library for arm64, either installed
//! (rustup) or built from `rust-src`.  `--install` gets what Debian or rustup have.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const TARGET: &str = "aarch64-unknown-linux-gnu";
const LINKER: &str = "aarch64-linux-gnu-gcc";
const PACKAGES: [&str; 3] = ["gcc-aarch64-linux-gnu", "libc6-dev-arm64-cross", "qemu-user"];
/// Where Debian's cross libraries lie.
const CROSS_ROOT: &str = "/usr/aarch64-linux-gnu";
/// A folder that holds the `library` of this Rust's source, for hosts where it is not in its usual place.
const SOURCE_VAR: &str = "BPFASSAY_RUST_SRC";

/// `cargo` as the one that runs us.
fn cargo() -> Command {
    Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

fn output(mut command: Command) -> Option<String> {
    let out = command.output().ok().filter(|o| o.status.success())?;
    String::from_utf8(out.stdout).ok().map(|s| s.trim().to_string())
}

fn rustc() -> OsString {
    std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into())
}

fn find_program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|d| d.join(name)).find(|p| p.is_file())
}

/// Where the standard library for arm64 comes from.
enum Std {
    Installed,
    /// Built from this `library` folder; `None`: from where cargo looks itself.
    Source(Option<PathBuf>),
}

fn find_std() -> Option<Std> {
    let mut ask = Command::new(rustc());
    ask.args(["--print", "sysroot"]);
    let root = PathBuf::from(output(ask)?);
    if root.join("lib/rustlib").join(TARGET).join("lib").is_dir() {
        return Some(Std::Installed);
    }
    let library = |p: &Path| p.join("std/Cargo.toml").is_file();
    if let Some(p) = std::env::var_os(SOURCE_VAR).map(PathBuf::from) {
        return [p.join("library"), p]
            .into_iter()
            .find(|p| library(p))
            .map(|p| Std::Source(Some(p)));
    }
    if library(&root.join("lib/rustlib/src/rust/library")) {
        return Some(Std::Source(None));
    }
    let mut ask = Command::new(rustc());
    ask.args(["--version"]);
    let version = output(ask)?.split_whitespace().nth(1)?.to_string();
    let debian = PathBuf::from(format!("/usr/src/rustc-{version}/library"));
    library(&debian).then_some(Std::Source(Some(debian)))
}

fn run(mut command: Command) -> Result<(), String> {
    let shown = format!("{command:?}");
    match command.status() {
        Ok(s) if s.success() => Ok(()),
        Ok(s) => Err(format!("{shown}: {s}")),
        Err(e) => Err(format!("{shown}: {e}")),
    }
}

/// Gets what is missing from where this host usually gets such things.
fn install() -> Result<(), String> {
    if find_program(LINKER).is_none() || find_program("qemu-aarch64").is_none() {
        let mut apt = Command::new("apt-get");
        apt.args(["install", "-y", "--no-install-recommends"]).args(PACKAGES);
        run(apt)?;
    }
    if find_std().is_none() && find_program("rustup").is_some() {
        let mut rustup = Command::new("rustup");
        rustup.args(["target", "add", TARGET]);
        run(rustup)?;
    }
    if find_std().is_none() && find_program("apt-get").is_some() {
        let mut apt = Command::new("apt-get");
        apt.args(["install", "-y", "--no-install-recommends", "rust-src"]);
        run(apt)?;
    }
    Ok(())
}

/// The environment and arguments of a cargo that builds for arm64, or what is missing.
fn configured(subcommand: &str) -> Result<Command, String> {
    let mut missing = Vec::new();
    let qemu = find_program("qemu-aarch64").or_else(|| find_program("qemu-aarch64-static"));
    if find_program(LINKER).is_none() || qemu.is_none() {
        missing.push(format!("apt-get install {}", PACKAGES.join(" ")));
    }
    let std = find_std();
    if std.is_none() {
        missing.push(format!(
            "rustup target add {TARGET}, or apt-get install rust-src, or {SOURCE_VAR}=DIR with the \
             `library` folder of this rustc's source"
        ));
    }
    let (Some(qemu), Some(std)) = (qemu, std) else {
        return Err(format!("missing (or run with --install):\n  {}", missing.join("\n  ")));
    };
    if !missing.is_empty() {
        return Err(format!("missing (or run with --install):\n  {}", missing.join("\n  ")));
    }
    let mut cargo = cargo();
    cargo.arg(subcommand).args(["--target", TARGET]);
    cargo.env("CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER", LINKER);
    let runner = format!("{} -L {CROSS_ROOT}", qemu.display());
    cargo.env("CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER", runner);
    if let Std::Source(from) = std {
        // The flag is of the unreleased kind; a released cargo takes it when told to.
        cargo.arg("-Zbuild-std").env("RUSTC_BOOTSTRAP", "1");
        if let Some(library) = from {
            cargo.env("__CARGO_TESTS_ONLY_SRC_ROOT", library);
        }
    }
    Ok(cargo)
}

fn take_flag(args: &mut Vec<&String>, flag: &str) -> bool {
    let before = args.len();
    args.retain(|a| *a != flag);
    before != args.len()
}

/// Random programs in two processes: the arm64 one writes what its code says, the one of this host
/// compares that with its interpreter and its own code, program by program.
fn differ(range: &[&String]) -> Result<(), String> {
    const EXAMPLE: [&str; 5] = ["--release", "-p", "bpfassay-harness", "--example", "differ"];
    let started = |mut c: Command| c.spawn().map_err(|e| format!("{c:?}: {e}"));
    let mut build = native_or_configured("build")?;
    build.args(EXAMPLE);
    run(build)?;
    let mut arm = native_or_configured("run")?;
    arm.arg("--quiet").args(EXAMPLE).args(["--", "--digests"]).args(range);
    let mut build = cargo();
    build.arg("build").args(EXAMPLE);
    run(build)?;
    let mut arm = started({
        arm.stdout(Stdio::piped());
        arm
    })?;
    let digests = arm.stdout.take().ok_or("no output")?;
    let mut here = cargo();
    here.args(["run", "--quiet"]).args(EXAMPLE).args(["--", "--against", "-"]).args(range);
    here.stdin(digests);
    let compared = run(here);
    // Where the comparison gave up, nobody reads any more and the other ends by itself.
    let end = arm.wait().map_err(|e| e.to_string())?;
    compared?;
    if end.success() {
        Ok(())
    } else {
        Err(format!("the arm64 process: {end}"))
    }
}

/// Runs `cargo test --workspace` (or what `args` say instead) for arm64.
///
/// Arguments: `--install` gets what is missing first; `--build` builds the
/// `bpfassay` program for `bpfassay run --engine arm64`; `--conformance DIR` runs
/// the public conformance suite on the JIT; `--differ [FIRST [COUNT]]` compares random programs on
/// the interpreter, this host's JIT and the arm64 JIT; all others go to `cargo test`.
pub fn main(args: &[String]) -> Result<(), String> {
    let mut rest: Vec<&String> = args.iter().collect();
    let wants_install = take_flag(&mut rest, "--install");
    let wants_build = take_flag(&mut rest, "--build");
    if wants_install {
        install()?;
    }
    if wants_build {
        let mut cargo = native_or_configured("build")?;
        cargo.args(["-p", "bpfassay-cli"]).args(rest);
        return run(cargo);
    }
    if let Some(at) = rest.iter().position(|a| *a == "--conformance") {
        let dir = rest.get(at + 1).ok_or("--conformance needs a folder")?;
        let mut cargo = native_or_configured("run")?;
        cargo.args(["-p", "bpfassay-harness", "--example", "conformance", "--", dir.as_str()]);
        return run(cargo);
    }
    if take_flag(&mut rest, "--differ") {
        return differ(&rest);
    }
    let mut cargo = native_or_configured("test")?;
    if rest.iter().all(|a| !a.starts_with("-p")) {
        cargo.arg("--workspace");
    }
    cargo.args(rest);
    run(cargo)
}

/// On an arm64 host there is nothing to emulate.
fn native_or_configured(subcommand: &str) -> Result<Command, String> {
    if cfg!(all(target_arch = "aarch64", target_os = "linux")) {
        let mut cargo = cargo();
        cargo.arg(subcommand);
        return Ok(cargo);
    }
    configured(subcommand)
}
