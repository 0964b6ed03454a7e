//! Runs the `.data` files of a folder on this host's JIT, in this process.
//!
//!     cargo run --example conformance -- DIR [blind]
#![allow(unsafe_code)]

use bpfassay_harness::conformance;
use bpfassay_harness::engine::Instance;
use bpfassay_harness::engines::native::RawNative;

fn main() {
    let dir = std::env::args().nth(1).expect("folder");
    let blind = std::env::args().nth(2).map(|_| 0x1234_5678_9abc_def1);
    let mut files: Vec<_> = std::fs::read_dir(dir)
        .expect("folder")
        .map(|f| f.unwrap().path())
        .filter(|p| p.extension().is_some_and(|e| e == "data"))
        .collect();
    files.sort();
    let mut wrong = 0;
    for path in &files {
        let text = std::fs::read_to_string(path).expect("text");
        let result = conformance::run_on(&text, |insns, input| {
            // SAFETY: the suite's programs stay within their memory; a crash would be a result.
            let mut native = unsafe { RawNative::new(insns, blind) }.map_err(|e| e.to_string())?;
            Ok(native.run(input))
        });
        if let Err(why) = result {
            wrong += 1;
            println!("{}: {why}", path.display());
        }
    }
    println!("{} of {} as expected", files.len() - wrong, files.len());
}
