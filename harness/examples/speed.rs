//! Time per instruction of the interpreter beside the kernel's JIT, on compute loops.
//!
//!     cargo run --release -p bpfassay-harness --example speed
//!
//! Needs root for bpf().

use std::sync::Arc;

use bpfassay_harness::engine::{Input, Instance};
use bpfassay_harness::engines::kernel::Kernel;
use bpfassay_harness::runtime::world::World;
use bpfassay_harness::testrun::Interp;
use bpfassay_isa::asm::{assemble, NoNames};
use bpfassay_object::model::{KernelBtfRef, ProgFlags, Program};
use bpfassay_spec::ProgType;

const LOOPS: &[(&str, &str)] = &[
    ("arithmetic", "r0 += r1\nr0 ^= r2\nr2 *= 31\nr0 <<= 1\nr2 >>= 3\nr3 = r0\nr3 &= 255\nr0 -= r3"),
    ("arithmetic32", "w0 += w1\nw0 ^= w2\nw2 *= 31\nw0 <<= 1\nw2 >>= 3\nw3 = w0\nw3 &= 255\nw0 -= w3"),
    ("stack", "*(u64 *)(r10 -8) = r0\nr3 = *(u64 *)(r10 -8)\n*(u32 *)(r10 -16) = r2\nr4 = *(u32 *)(r10 -16)\nr0 += r3\nr2 ^= r4"),
    ("division", "r3 = r1\nr3 |= 1\nr0 += 12345\nr0 /= r3\nr2 %= r3"),
    ("branches", "r3 = r1\nr3 &= 7\nif r3 > 0x3 goto pc+2\nr0 += 1\ngoto pc+1\nr0 += 2\nif r3 == 0x5 goto pc+1\nr0 ^= 77"),
];

fn program(body: &str) -> Program {
    let text =
        format!("r0 = 1\nr1 = 20000\nr2 = 7\nloop:\n{body}\nr1 -= 1\nif r1 != 0x0 goto loop\nexit");
    Program {
        name: "speed".into(),
        section: String::new(),
        prog_type: ProgType::SchedCls,
        expected_attach_type: None,
        attach_target: None,
        insns: assemble(&text, &NoNames).expect("assembles"),
        license: "GPL".into(),
        maps: Arc::new(vec![]),
        btf: None,
        btfs: vec![KernelBtfRef::Vmlinux],
        func_info: vec![],
        line_info: vec![],
        flags: ProgFlags::default(),
        kern_version: 0,
        subprogs: vec![],
        notes: vec![],
        missing: vec![],
    }
}

/// Time this thread has spent on a CPU, so that a busy machine does not count.
fn cpu_ns() -> f64 {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    stat.split_whitespace().next().and_then(|n| n.parse().ok()).unwrap_or(f64::NAN)
}

fn main() {
    for (name, body) in LOOPS {
        let program = program(body);
        let input = Input { data: vec![0; 64], ctx: vec![], repeat: 50 };
        let mut interp = Interp::load(&program, World::seeded(1)).expect("loads");
        let start = cpu_ns();
        let ours = interp.run(&input);
        let ns = (cpu_ns() - start) / f64::from(input.repeat);
        let per_insn = |ns: f64| ns / ours.insns as f64;
        match Kernel::load(&program) {
            Ok(mut k) => {
                let theirs = k.run(&input);
                assert_eq!(theirs.retval(), ours.retval(), "{name}");
                let ratio = ns / theirs.duration.as_nanos() as f64;
                println!(
                    "{name:<14} interp {:6.2} ns/insn, kernel {:6.2} ns/insn, ratio {ratio:5.1}",
                    per_insn(ns),
                    per_insn(theirs.duration.as_nanos() as f64)
                );
            }
            Err(e) => println!("{name:<14} interp {:6.2} ns/insn ({e:?})", per_insn(ns)),
        }
    }
}
