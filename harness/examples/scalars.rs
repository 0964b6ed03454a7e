//! Compares our level-2 logs with the running kernel's on generated scalar programs.
//!
//! `scalars [FIRST_SEED [COUNT [LEN [BRANCHES [REGS [POINTERS]]]]]]`; with SHOW set, whole logs of programs that
//! differ; with RECORD set, program and kernel log of each into that folder.

use std::path::Path;

use bpfassay_harness::compare::{compare, Agreement, CompareOptions};
use bpfassay_harness::gen::scalar::{program, Shape};
use bpfassay_harness::kernel::Session;
use bpfassay_object::model::Program;
use bpfassay_spec::Kernel;
use bpfassay_verifier::log::LogLevel;
use bpfassay_verifier::{Capabilities, Config};

/// One slot per line in hexadecimal, an empty line, the kernel's log.
fn record(dir: &Path, seed: u64, p: &Program, log: &str) -> std::io::Result<()> {
    let mut out = String::new();
    for insn in &p.insns {
        let bytes = u64::from_be_bytes(insn.to_le_bytes());
        out.push_str(&format!("{bytes:016x}\n"));
    }
    std::fs::write(dir.join(format!("{seed}.txt")), format!("{out}\n{log}"))
}

fn main() {
    let args: Vec<u32> = std::env::args().skip(1).filter_map(|a| a.parse().ok()).collect();
    let arg = |i: usize, default: u32| args.get(i).copied().unwrap_or(default);
    let (first, count) = (arg(0, 0) as u64, arg(1, 1000) as u64);
    let shape = Shape { len: arg(2, 12), branches: arg(3, 25), regs: arg(4, 4), pointers: arg(5, 3) };
    let verbose = std::env::var_os("SHOW").is_some();
    let kernel = Kernel::by_name("6.18").expect("a known build");
    let config = Config {
        kernel: &kernel,
        vmlinux: None,
        modules: Vec::new(),
        log_level: LogLevel::LEVEL2,
        log_limit: 0,
        caps: Capabilities::ALL,
    };
    let mut session = Session::new();
    let options = CompareOptions { max_log: 1 << 24, time: false };
    let (mut same, mut different, mut unsupported, mut accepted) = (0, 0, 0, 0);
    for seed in first..first + count {
        let p = program(seed, shape);
        let c = match compare(&p, &config, &mut session, options) {
            Ok(c) => c,
            Err(e) => {
                println!("{seed}: {e}");
                return;
            }
        };
        accepted += (c.kernel_errno.is_none()) as u32;
        if c.agreement == Agreement::Unsupported {
            unsupported += 1;
            println!("{seed}: unsupported {:?}", c.unsupported);
            continue;
        }
        if let Some(dir) = std::env::var_os("RECORD") {
            record(dir.as_ref(), seed, &p, &c.kernel_log).expect("a writable folder");
        }
        if c.agreement == Agreement::Agree && c.log_difference.is_none() && c.stats_equal() {
            same += 1;
            continue;
        }
        different += 1;
        println!("{seed}: {}", c.agreement.name());
        if let Some(d) = &c.log_difference {
            println!("  line {} insn {:?}", d.line, d.place.insn);
            println!("  ours   {}", d.ours.as_deref().unwrap_or("<end>"));
            println!("  kernel {}", d.kernels.as_deref().unwrap_or("<end>"));
        }
        if verbose {
            println!("--- kernel\n{}--- ours\n{}", c.kernel_log, c.our_log);
        }
        if different >= 12 {
            break;
        }
    }
    println!("same {same} different {different} unsupported {unsupported}; kernel accepts {accepted}");
}
