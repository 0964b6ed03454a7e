//! Compile speed: nanoseconds an instruction, for 4,096 in a straight line and 4,096 branchy ones.
//!
//!     cargo run --release -p bpfassay-jit-x86 --example speed

use std::time::Instant;

use bpfassay_isa::asm::{assemble, NoNames};
use bpfassay_isa::{CallTarget, Imm64};
use bpfassay_jit::{CallPlan, Options, Resolve, Source};
use bpfassay_jit_x86::{compile, Features};

struct Nothing;

impl Resolve for Nothing {
    fn wide(&mut self, _: u32, _: Imm64) -> Result<u64, &'static str> {
        Ok(0)
    }
    fn call(&mut self, _: u32, _: CallTarget, _: Option<Imm64>) -> CallPlan {
        CallPlan::Host
    }
}

const INSNS: usize = 4096;

fn straight() -> String {
    const BODY: [&str; 8] = [
        "r0 += r2",
        "r2 ^= 77",
        "w3 = w0",
        "r3 <<= 5",
        "r0 -= r3",
        "*(u64 *)(r10 -8) = r0",
        "r4 = *(u32 *)(r10 -8)",
        "r2 += r4",
    ];
    let lines: Vec<&str> = BODY.iter().copied().cycle().take(INSNS - 4).collect();
    format!("r0 = 1\nr2 = 2\nr3 = 3\n{}\nexit", lines.join("\n"))
}

fn branchy() -> String {
    let lines: Vec<String> = (0..(INSNS - 2) / 2)
        .map(|i| format!("if r0 > {:#x} goto pc+1\nr0 += {}", i * 3, i % 7))
        .collect();
    format!("r0 = 1\n{}\nexit", lines.join("\n"))
}

fn main() {
    let options = Options { context: 0x7fff_0000_0000, blind: None };
    let features = Features { bmi2: true, movbe: true, ..Features::BASE };
    for (name, text) in [("straight", straight()), ("branchy", branchy())] {
        let insns = assemble(&text, &NoNames).expect("assembles");
        let mut best = f64::INFINITY;
        let mut bytes = 0;
        for _ in 0..300 {
            let start = Instant::now();
            let out = compile(&Source::raw(&insns), &options, features, &mut Nothing);
            best = best.min(start.elapsed().as_nanos() as f64);
            bytes = out.expect("compiles").code.len();
        }
        println!("{name} {:.1} ns/insn, {bytes} bytes", best / insns.len() as f64);
    }
}
