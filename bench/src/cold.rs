//! One compilation in a process that has done nothing before: page faults, first touches and all.

use std::env;
use std::io::{Read, Write};
use std::process::{Command, Stdio};
use std::time::Instant;

use bpfassay_harness::engines::native::RawNative;
use bpfassay_harness::native::ENGINE;
use bpfassay_isa::RawInsn;

use crate::compile;

/// Processes for each figure.
const PROCESSES: usize = 60;
/// What is measured: instructions to bytes of either processor, and to code ready to run of this one's.
const WHAT: [&str; 3] = ["x86", "arm64", "run"];

/// Prints nanoseconds an instruction, the least and the median of many processes that take turns.
pub fn table() {
    for (name, insns) in [("straight", compile::straight()), ("branchy", compile::branchy())] {
        let bytes = compile::bytes(&insns);
        let mut times = WHAT.map(|_| Vec::new());
        for _ in 0..PROCESSES {
            for (times, what) in times.iter_mut().zip(WHAT) {
                times.push(child(what, &bytes));
            }
        }
        print!("{name:<10} {} instructions", insns.len());
        for (times, what) in times.iter_mut().zip(WHAT) {
            times.sort_by(f64::total_cmp);
            let of = |i: usize| times[i] / insns.len() as f64;
            let what =
                if what == "run" { format!("{ENGINE}, ready to run") } else { what.to_string() };
            print!("  {what} {:.1} ({:.1}) ns/insn", of(0), of(times.len() / 2));
        }
        println!();
    }
}

fn child(what: &str, bytes: &[u8]) -> f64 {
    let own = env::current_exe().expect("this program");
    let mut command = Command::new(own);
    command.args(["--cold-once", what]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().expect("starts");
    child.stdin.take().expect("a pipe").write_all(bytes).expect("reads");
    let out = child.wait_with_output().expect("ends");
    String::from_utf8_lossy(&out.stdout).trim().parse().expect("a number")
}

/// The child's part: instructions come on standard input, nanoseconds go to standard output.
pub fn once(what: &str) {
    let mut bytes = Vec::new();
    std::io::stdin().read_to_end(&mut bytes).expect("reads");
    let words = bytes.chunks_exact(8).filter_map(|c| c.try_into().ok());
    let insns: Vec<RawInsn> = words.map(RawInsn::from_le_bytes).collect();
    let ns = match what {
        "x86" => compile::x86(&insns).expect("compiles"),
        "arm64" => compile::arm64(&insns).expect("compiles"),
        _ => {
            let start = Instant::now();
            // SAFETY: it is not run.
            let ready = unsafe { RawNative::new(&insns, None) };
            let ns = start.elapsed().as_nanos() as f64;
            ready.expect("compiles");
            ns
        }
    };
    println!("{ns}");
}
