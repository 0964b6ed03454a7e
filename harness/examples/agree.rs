//! Runs every program of the given objects on the interpreter and on the running kernel.
//!
//!     cargo run -p bpfassay-harness --example agree -- FILE.o…
//!
//! Needs root for bpf(); loads and test-runs, attaches nothing.  Exit status 1
//! when a program's answers differ.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::Arc;

use bpfassay_harness::oracle::agreement::{with_kernel, Agreement};
use bpfassay_harness::oracle::packets::inputs;
use bpfassay_harness::runtime::world::World;
use bpfassay_object::btf::Btf;
use bpfassay_object::{load, Target};

fn world(btf: &Arc<Btf>) -> World {
    let mut world = World::seeded(1);
    world.kernel.vmlinux = Some(btf.clone());
    world
}

fn main() -> ExitCode {
    let vmlinux = std::fs::read("/sys/kernel/btf/vmlinux").expect("kernel BTF");
    let btf = Arc::new(Btf::parse(&vmlinux, None).expect("kernel BTF"));
    let target = Target::of_btf(&btf, 6 << 16 | 18 << 8 | 44);
    let (mut agree, mut differ) = (0, 0);
    let mut not_compared: BTreeMap<String, usize> = BTreeMap::new();
    for path in std::env::args().skip(1) {
        let object = match load(&std::fs::read(&path).expect("readable"), &path, &target) {
            Ok(o) => o,
            Err(e) => {
                println!("UNREAD {path}: {e}");
                continue;
            }
        };
        for entry in &object.programs {
            let Ok(program) = &entry.program else { continue };
            match with_kernel(program, &inputs(program.prog_type), world(&btf)) {
                Agreement::Agree(_) => agree += 1,
                Agreement::NotCompared(why) => {
                    if std::env::var_os("VERBOSE").is_some() {
                        println!("SKIP {path} {}: {why}", entry.name);
                    }
                    let why = why.split_once(": ").map_or(why.clone(), |(_, w)| w.to_string());
                    *not_compared.entry(why).or_default() += 1;
                }
                Agreement::Differ { input, reference, other } => {
                    differ += 1;
                    println!("DIFFER {path} {} input {input}", entry.name);
                    println!("  kernel {reference}\n  interp {other}");
                }
            }
        }
    }
    println!(
        "{agree} agree, {differ} differ, {} not compared",
        not_compared.values().sum::<usize>()
    );
    let mut reasons: Vec<_> = not_compared.into_iter().collect();
    reasons.sort_by_key(|(_, n)| std::cmp::Reverse(*n));
    for (why, n) in reasons.iter().take(60) {
        println!("{n:>6}  {why}");
    }
    if differ > 0 {
        ExitCode::from(1)
    } else {
        ExitCode::SUCCESS
    }
}
