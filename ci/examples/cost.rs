//! Verification time per program: `cost VMLINUX_BTF REPEAT OBJECT…`; one line per program with the least
//! of REPEAT runs in microseconds, the instructions processed and the verdict, then the sums.
//!
//! Programs slower than 20 ms are run REPEAT / 4 times, but once at least.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bpfassay_judge::{Entry, Target};
use bpfassay_object::btf::Btf;
use bpfassay_verifier::{verify, Verdict};

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [btf, repeat, objects @ ..] = args.as_slice() else {
        eprintln!("usage: cost VMLINUX_BTF REPEAT OBJECT...");
        std::process::exit(64);
    };
    let repeat: u32 = repeat.parse().expect("REPEAT is a number");
    let mut target = Target::served("6.18").expect("a whole build").expect("known kernel");
    let bytes = std::fs::read(btf).expect("VMLINUX_BTF can be read");
    target.vmlinux = Some(Arc::new(Btf::parse(&bytes, None).expect("VMLINUX_BTF is BTF")));
    target.modules.clear();
    let (mut total, mut insns, mut programs) = (Duration::ZERO, 0u64, 0u32);
    for object in objects {
        let bytes = std::fs::read(object).expect("object can be read");
        let Ok(entries) = target.load(&bytes, object) else { continue };
        for program in entries.iter().filter_map(Entry::ok) {
            let config = target.config();
            let once = || {
                let start = Instant::now();
                let report = verify(program, &config);
                (start.elapsed(), report)
            };
            let (mut least, report) = once();
            let more = if least > Duration::from_millis(20) { repeat / 4 } else { repeat };
            for _ in 1..more {
                least = least.min(once().0);
            }
            let verdict = match report.verdict {
                Verdict::Accepted => "accepted",
                Verdict::Rejected(_) => "rejected",
                Verdict::Unsupported(_) => "unsupported",
            };
            let processed = report.stats.insns_processed;
            println!("{object}\t{}\t{}\t{processed}\t{verdict}", program.name, least.as_micros());
            total += least;
            insns += u64::from(processed);
            programs += 1;
        }
    }
    println!("programs {programs}, instructions {insns}, time {} us", total.as_micros());
}
