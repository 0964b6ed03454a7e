//! Repository chores.  `cargo run -p bpfassay-xtask -- gen` rewrites the generated tables of `spec/`;
//! `-- test-arm64` runs the tests as an arm64 process.
//!
//! Uses no crate of ours, so that it builds when they do not.

mod gen;
mod test_arm64;

use std::process::ExitCode;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let outcome = match args.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["gen"] => gen::write_all(),
        ["gen", "--check"] => gen::stale().and_then(|files| match files.as_slice() {
            [] => Ok(()),
            some => {
                Err(format!("stale: {}; run `cargo run -p bpfassay-xtask -- gen`", some.join(", ")))
            }
        }),
        ["test-arm64", ..] => test_arm64::main(args.get(1..).unwrap_or_default()),
        _ => {
            Err("usage: xtask gen [--check] | test-arm64 [--install] [--build | --conformance DIR | --differ [FIRST [COUNT]] | ARGS of cargo test]"
                .to_string())
        }
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("{message}");
            ExitCode::FAILURE
        }
    }
}
