//! Generated programs on engines of other projects, beside our checking interpreter.
//!
//!     cargo run --release --bin agree -- [--seconds N] [--seed N] [--from N] [ENGINE…]
//!
//! Engines: rbpf, rbpf-jit, and where UBPF_DIR named a checkout at build time ubpf, ubpf-jit.  The programs are those of
//! `bpfassay fuzz` of the given seed that our verifier accepts for 6.18.44, as system call programs without maps
//! and helpers: all they reach is 64 bytes behind r1 and their stack.  Every program runs in a child of its own
//! process, since another's compiler may do anything.  What differs is minimised; a program that has every opcode
//! of a minimised one counts as seen again and is not looked at further.  Exit status 1 where something differs.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use bpfassay_campaign::case::Case;
use bpfassay_campaign::minimise::minimise;
use bpfassay_campaign::oracle::{self, may_leave_address, Judged};
use bpfassay_campaign::source::Source;
use bpfassay_harness::contain::within;
use bpfassay_isa::RawInsn;
use bpfassay_judge::Target;
use bpfassay_spec::ProgType;

#[allow(dead_code, unused_imports, reason = "each program uses its part")]
mod peers;

use peers::Engine;

/// Programs of one child.
const CHUNK: u64 = 256;
/// For one child.
const PATIENCE: Duration = Duration::from_secs(20);

/// What became of one program.
enum Answer {
    NotAsked,
    Agrees,
    /// Not taken, with the engine's words.
    Refused(String),
    Differs(String),
}

/// Something an engine does otherwise.
struct Finding {
    opcodes: BTreeSet<(u8, i16)>,
    count: u64,
}

#[derive(Default)]
struct Tally {
    asked: u64,
    runs: u64,
    refused: BTreeMap<String, u64>,
    findings: Vec<Finding>,
}

/// It is a system call program that needs nothing but its context.
fn is_plain(case: &Case) -> bool {
    let calls_helper = |i: &RawInsn| i.code == 0x85 && i.src != 1;
    case.program.prog_type == ProgType::Syscall
        && !case.has_map()
        && !case.program.insns.iter().any(calls_helper)
}

/// Its opcodes; with an offset a move extends a sign, and a division is signed.
fn opcodes(case: &Case) -> BTreeSet<(u8, i16)> {
    let is_alu = |i: &RawInsn| matches!(i.code & 7, 4 | 7);
    case.program.insns.iter().map(|i| (i.code, if is_alu(i) { i.off } else { 0 })).collect()
}

/// Asks the engine about a case in this process.
fn ask(target: &Target, case: &Case, engine: Engine) -> Answer {
    if !is_plain(case) {
        return Answer::NotAsked;
    }
    let config = target.config();
    let judged = Judged::new(case, &config);
    let Some(runs) = judged.runs() else { return Answer::NotAsked };
    if may_leave_address(case, &config) || runs.outcomes.iter().any(|o| o.trap.is_some()) {
        return Answer::NotAsked;
    }
    let code: Vec<u8> = case.program.insns.iter().flat_map(|i| i.to_le_bytes()).collect();
    for (i, (input, want)) in case.inputs.iter().zip(&runs.outcomes).enumerate() {
        let mut memory = input.ctx.clone();
        match engine.run(&code, &mut memory) {
            Err(why) if i == 0 && why.is_load => return Answer::Refused(why.words),
            Err(why) => return Answer::Differs(format!("input {i}: {}", why.words)),
            Ok(r0) if r0 != want.r0 => {
                return Answer::Differs(format!("input {i}: {r0:#x}, expected {:#x}", want.r0))
            }
            Ok(_) if want.ctx_out.as_ref().is_some_and(|w| *w != memory) => {
                return Answer::Differs(format!("input {i}: other memory"))
            }
            Ok(_) => {}
        }
    }
    Answer::Agrees
}

/// The same in a child.
fn ask_apart(target: &Target, case: &Case, engine: Engine) -> Answer {
    let said = within(Duration::from_secs(5), || {
        match ask(target, case, engine) {
            Answer::NotAsked => String::new(),
            Answer::Agrees => "=".to_string(),
            Answer::Refused(why) => format!("-{why}"),
            Answer::Differs(how) => format!("+{how}"),
        }
        .into_bytes()
    });
    let text = match said {
        Ok(text) => String::from_utf8_lossy(&text).into_owned(),
        Err(how) => return Answer::Differs(how.to_string()),
    };
    match text.split_at_checked(1) {
        Some(("=", _)) => Answer::Agrees,
        Some(("-", why)) => Answer::Refused(why.to_string()),
        Some((_, how)) => Answer::Differs(how.to_string()),
        None => Answer::NotAsked,
    }
}

/// A chunk in one child: what it says of each program, or that it broke down.
fn chunk(target: &Target, seed: u64, numbers: Range<u64>, engine: Engine) -> Option<Vec<u8>> {
    let one = |number| match ask(target, &Source::Seed { seed, number }.case(), engine) {
        Answer::NotAsked => b' ',
        Answer::Agrees => b'=',
        Answer::Refused(_) => b'-',
        Answer::Differs(_) => b'+',
    };
    within(PATIENCE, || numbers.map(one).collect()).ok()
}

impl Tally {
    fn note(&mut self, target: &Target, case: &Case, engine: Engine) {
        self.asked += 1;
        match ask_apart(target, case, engine) {
            Answer::NotAsked => self.asked -= 1,
            Answer::Agrees => self.runs += case.inputs.len() as u64,
            Answer::Refused(why) => {
                let words: String = why.chars().filter(|c| !c.is_ascii_digit()).collect();
                *self.refused.entry(words).or_default() += 1;
            }
            Answer::Differs(how) => self.found(target, case, engine, &how),
        }
    }

    fn found(&mut self, target: &Target, case: &Case, engine: Engine, how: &str) {
        let all = opcodes(case);
        if let Some(known) = self.findings.iter_mut().find(|f| f.opcodes.is_subset(&all)) {
            known.count += 1;
            return;
        }
        let mut last = how.to_string();
        let small = minimise(case, &mut |c| match ask_apart(target, c, engine) {
            Answer::Differs(how) => {
                last = how;
                true
            }
            _ => false,
        });
        let hex = |b: &[u8]| b.iter().map(|v| format!("{v:02x}")).collect::<String>();
        println!("{}: {last}\n  from {}", engine.name(), case.name);
        small.inputs.iter().for_each(|i| println!("  memory {}", hex(&i.ctx)));
        small.text().lines().for_each(|l| println!("    {l}"));
        self.findings.push(Finding { opcodes: opcodes(&small), count: 1 });
    }

    fn print(&self, engine: Engine) {
        println!(
            "{}: {} programs, {} runs that agree, {} findings",
            engine.name(),
            self.asked,
            self.runs,
            self.findings.len()
        );
        for finding in &self.findings {
            let form = |(code, off): &(u8, i16)| match off {
                0 => format!("{code:02x}"),
                _ => format!("{code:02x}/{off}"),
            };
            let forms: Vec<String> = finding.opcodes.iter().map(form).collect();
            println!("  {} programs with {}", finding.count, forms.join(" "));
        }
        for (why, n) in &self.refused {
            println!("  {n} not taken: {why}");
        }
    }
}

fn campaign(target: &Target, seed: u64, from: u64, time: Duration, engine: Engine) -> Tally {
    let start = Instant::now();
    let mut tally = Tally::default();
    let mut first = from;
    while start.elapsed() < time {
        let numbers = first..first + CHUNK;
        first += CHUNK;
        let said = chunk(target, seed, numbers.clone(), engine);
        for (i, number) in numbers.enumerate() {
            match said.as_ref().and_then(|s| s.get(i)) {
                Some(b' ') => {}
                Some(b'=') => {
                    tally.asked += 1;
                    tally.runs += 3;
                }
                _ => tally.note(target, &Source::Seed { seed, number }.case(), engine),
            }
        }
    }
    tally
}

fn main() -> ExitCode {
    let (mut seconds, mut seed, mut from, mut engines) = (60, 1, 0, Vec::new());
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        let mut number = || args.next().and_then(|n| n.parse().ok()).unwrap_or(0);
        match arg.as_str() {
            "--seconds" => seconds = number(),
            "--seed" => seed = number(),
            "--from" => from = number(),
            name => match Engine::ALL.into_iter().find(|e| e.name() == name) {
                Some(engine) => engines.push(engine),
                None => {
                    eprintln!("no engine {name}");
                    return ExitCode::from(64);
                }
            },
        }
    }
    if engines.is_empty() {
        engines = Engine::ALL.to_vec();
    }
    // Panics of others are answers.
    std::panic::set_hook(Box::new(|_| {}));
    let target = oracle::target("6.18.44").expect("a kernel that is served");
    let mut differs = false;
    for engine in engines {
        let tally = campaign(&target, seed, from, Duration::from_secs(seconds), engine);
        tally.print(engine);
        differs |= !tally.findings.is_empty();
    }
    ExitCode::from(u8::from(differs))
}
