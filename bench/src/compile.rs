//! Compile speed: 4,096 instructions in a straight line, and 4,096 with a branch every other one.

use std::time::Instant;

use bpfassay_isa::asm::{assemble, NoNames};
use bpfassay_isa::RawInsn;
use bpfassay_jit::abi::Convention;
use bpfassay_jit::{Compiled, JitError, OneAddress, Options, Source};
use bpfassay_jit_x86::Features;

use crate::peers;

const INSNS: usize = 4096;
/// Times every engine has its turn, so that none has a busy moment of the machine to itself, and
/// compilations in a turn.
const TURNS: usize = 20;
const ROUNDS: usize = 50;

/// Nanoseconds one compilation took.
type Compile = fn(&[RawInsn]) -> Result<f64, String>;

pub fn bytes(insns: &[RawInsn]) -> Vec<u8> {
    insns.iter().flat_map(|i| i.to_le_bytes()).collect()
}

const OPTIONS: Options = Options { context: 0x7fff_0000_0000, blind: None };

/// Nanoseconds from instructions to bytes, not yet mapped: either processor's code, on any host.
fn timed(
    compile: impl FnOnce(&Source<'_>, &mut OneAddress) -> Result<Compiled, JitError>,
    insns: &[RawInsn],
) -> Result<f64, String> {
    let start = Instant::now();
    let compiled = compile(&Source::raw(insns), &mut OneAddress(0));
    let spent = start.elapsed().as_nanos() as f64;
    compiled.map(|_| spent).map_err(|e| e.to_string())
}

pub fn x86(insns: &[RawInsn]) -> Result<f64, String> {
    let features = Features { bmi2: true, movbe: true, convention: Convention::SysV };
    timed(|source, resolve| bpfassay_jit_x86::compile(source, &OPTIONS, features, resolve), insns)
}

pub fn arm64(insns: &[RawInsn]) -> Result<f64, String> {
    timed(|source, resolve| bpfassay_jit_arm64::compile(source, &OPTIONS, true, resolve), insns)
}

const ENGINES: &[(&str, Compile)] = &[
    ("x86", x86),
    ("arm64", arm64),
    ("ubpf", |i| peers::ubpf_compile(&bytes(i))),
    ("rbpf", |i| peers::rbpf_compile(&bytes(i))),
];

fn insns(text: &str) -> Vec<RawInsn> {
    assemble(text, &NoNames).expect("assembles")
}

pub fn straight() -> Vec<RawInsn> {
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
    insns(&format!("r0 = 1\nr2 = 2\nr3 = 3\n{}\nexit", lines.join("\n")))
}

pub fn branchy() -> Vec<RawInsn> {
    let lines: Vec<String> = (0..(INSNS - 2) / 2)
        .map(|i| format!("if r0 > {:#x} goto pc+1\nr0 += {}", i * 3, i % 7))
        .collect();
    insns(&format!("r0 = 1\n{}\nexit", lines.join("\n")))
}

/// Nanoseconds of the fastest of some rounds.
fn turn(compile: Compile, insns: &[RawInsn]) -> Result<f64, String> {
    (0..ROUNDS).try_fold(f64::INFINITY, |best, _| Ok(best.min(compile(insns)?)))
}

/// Prints nanoseconds per instruction, the least of all rounds.
pub fn table() {
    for (name, insns) in [("straight", straight()), ("branchy", branchy())] {
        let mut best: Vec<_> = ENGINES.iter().map(|_| Ok(f64::INFINITY)).collect();
        for _ in 0..TURNS {
            for (best, (_, compile)) in best.iter_mut().zip(ENGINES) {
                if let Ok(least) = *best {
                    *best = turn(*compile, &insns).map(|ns| ns.min(least));
                }
            }
        }
        print!("{name:<10} {} instructions", insns.len());
        for (best, (engine, _)) in best.into_iter().zip(ENGINES) {
            match best {
                Ok(ns) => print!("  {engine} {:.1} ns/insn", ns / insns.len() as f64),
                Err(why) => print!("  {engine} -- ({why})"),
            }
        }
        println!();
    }
}
