//! Random bare programs on the interpreter and on this host's JIT, with and without blinded constants.
//!
//!     cargo run --release --example differ -- [FIRST [COUNT]]
#![allow(unsafe_code)]

use bpfassay_harness::oracle::native;

fn main() {
    let args: Vec<u64> = std::env::args().skip(1).filter_map(|a| a.parse().ok()).collect();
    let first = args.first().copied().unwrap_or(0);
    let count = args.get(1).copied().unwrap_or(5_000_000);
    let mut wrong = 0;
    for seed in first..first.saturating_add(count) {
        // SAFETY: generated programs stay within their memory.
        if let Err(why) = unsafe { native::agree(seed) } {
            wrong += 1;
            println!("seed {seed}: {why}");
            if wrong == 10 {
                break;
            }
        }
    }
    println!("{count} programs from seed {first}: {wrong} differ");
}
