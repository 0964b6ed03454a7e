//! The program under test, as something this machine can start.

use std::sync::OnceLock;

/// What cargo runs arm64 programs with, where that is not this machine's processor.
const RUNNER: &str = "CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER";

/// The program, or, in tests that run under an emulator, a script that starts it under the same one.
pub fn path() -> &'static str {
    static PATH: OnceLock<String> = OnceLock::new();
    PATH.get_or_init(|| {
        let program = env!("CARGO_BIN_EXE_bpfassay");
        match std::env::var(RUNNER) {
            Ok(runner) if cfg!(target_arch = "aarch64") => script(&runner, program),
            _ => program.to_string(),
        }
    })
}

#[cfg(unix)]
fn script(runner: &str, program: &str) -> String {
    use std::os::unix::fs::PermissionsExt;
    let path = format!("{}/bpfassay-{}", env!("CARGO_TARGET_TMPDIR"), std::process::id());
    let text = format!("#!/bin/sh\nexec {runner} '{program}' \"$@\"\n");
    std::fs::write(&path, text).expect("a writable folder");
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).expect("permissions");
    path
}

#[cfg(not(unix))]
fn script(_: &str, program: &str) -> String {
    program.to_string()
}
