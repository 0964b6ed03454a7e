//! Repository chores.  `cargo run -p bpfassay-xtask -- gen` rewrites the generated tables of `spec/`.
//!
//! Uses no crate of ours, so that it builds when they do not.

mod gen;

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
        _ => Err("usage: xtask gen [--check]".to_string()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("{message}");
            ExitCode::FAILURE
        }
    }
}
