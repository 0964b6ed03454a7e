//! Compares our level-2 logs with the running kernel's on generated scalar programs.
//!
//! `scalars [FIRST_SEED [COUNT [LEN [BRANCHES [REGS [POINTERS [STACK]]]]]]]`; with SHOW set, whole logs of programs that
//! differ; with RECORD set, program and kernel log of each into that folder.
//! With REPLAY set, compares with the logs of that folder for the build named by KERNEL instead.

use std::path::Path;

use bpfassay_diag::log::diff;
use bpfassay_harness::compare::{compare, Agreement, CompareOptions};
use bpfassay_harness::gen::scalar::{program, Shape};
use bpfassay_harness::kernel::Session;
use bpfassay_isa::RawInsn;
use bpfassay_object::model::Program;
use bpfassay_verifier::log::LogLevel;
use bpfassay_verifier::{verify, Config};

/// One slot per line in hexadecimal, an empty line, the kernel's log.
fn record(dir: &Path, seed: u64, p: &Program, log: &str) -> std::io::Result<()> {
    let mut out = String::new();
    for insn in &p.insns {
        let bytes = u64::from_be_bytes(insn.to_le_bytes());
        out.push_str(&format!("{bytes:016x}\n"));
    }
    std::fs::write(dir.join(format!("{seed}.txt")), format!("{out}\n{log}"))
}

/// Programs and logs of another kernel, as `record` writes them.
fn replay(dir: &Path, config: &Config<'_>) -> std::io::Result<()> {
    let (mut same, mut different) = (0, 0);
    for entry in std::fs::read_dir(dir)? {
        let path = entry?.path();
        let text = std::fs::read_to_string(&path)?;
        let Some((code, log)) = text.split_once("\n\n") else { continue };
        let slots = code.lines().filter_map(|l| u64::from_str_radix(l, 16).ok());
        let mut p = program(0, Shape { len: 0, branches: 0, regs: 2, pointers: 0, stack: 0 });
        p.insns = slots.map(|v| RawInsn::from_le_bytes(v.to_be_bytes())).collect();
        match diff(&verify(&p, config).log, log) {
            None => same += 1,
            Some(d) => {
                different += 1;
                println!("{}: line {}", path.display(), d.line);
                println!("  ours   {}", d.ours.as_deref().unwrap_or("<end>"));
                println!("  kernel {}", d.kernels.as_deref().unwrap_or("<end>"));
            }
        }
        if different >= 12 {
            break;
        }
    }
    println!("same {same} different {different}");
    Ok(())
}

fn main() {
    let args: Vec<u32> = std::env::args().skip(1).filter_map(|a| a.parse().ok()).collect();
    let arg = |i: usize, default: u32| args.get(i).copied().unwrap_or(default);
    let (first, count) = (arg(0, 0) as u64, arg(1, 1000) as u64);
    let shape = Shape {
        len: arg(2, 12),
        branches: arg(3, 25),
        regs: arg(4, 4),
        pointers: arg(5, 3),
        stack: arg(6, 0),
    };
    let verbose = std::env::var_os("SHOW").is_some();
    let release = std::env::var("KERNEL").unwrap_or_else(|_| "6.18".into());
    let kernel = bpfassay_builds::kernel(&release).expect("a known build");
    let config = Config { log_level: LogLevel(6), ..Config::new(&kernel) };
    if let Some(dir) = std::env::var_os("REPLAY") {
        return replay(dir.as_ref(), &config).expect("a readable folder");
    }
    let mut session = Session::new();
    let options = CompareOptions { log_level: 6, max_log: 1 << 24, time: false, memory: false };
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
    println!(
        "same {same} different {different} unsupported {unsupported}; kernel accepts {accepted}"
    );
}
