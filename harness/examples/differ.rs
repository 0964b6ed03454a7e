//! Random programs and inputs on the interpreter, on this host's JIT with and without blinded
//! constants, and, through digests, on another host's JIT.
//!
//!     differ [FIRST [COUNT]]                 interpreter and JIT here
//!     differ --digests [FIRST [COUNT]]       writes what the JIT here says, eight bytes a program
//!     differ --against FILE [FIRST [COUNT]]  as the first, and compares with what FILE holds; - for standard input
//!     differ --show SEED                     what came of one program on each
//!
//! `QEMU_CPU=cortex-a72` before the arm64 process tries the code without single-instruction atomics.
//! `xtask test-arm64 --differ` joins an arm64 process and one of this host.
#![allow(unsafe_code)]

use std::io::{self, BufRead, BufReader, BufWriter, Read, Write};
use std::process::ExitCode;

use bpfassay_harness::oracle::native::{self, Case, INPUTS};

/// After how many programs the count so far is printed.
const STEP: u64 = 50_000;
/// Differences shown before it ends.
const SHOWN: u64 = 10;

fn main() -> ExitCode {
    let mut args = std::env::args().skip(1).peekable();
    let mode = args.next_if(|a| a.starts_with("--")).unwrap_or_default();
    let file = if mode == "--against" { args.next() } else { None };
    let numbers: Vec<u64> = args.filter_map(|a| a.parse().ok()).collect();
    let first = numbers.first().copied().unwrap_or(0);
    let count = numbers.get(1).copied().unwrap_or(5_000_000 / INPUTS as u64);
    let seeds = first..first.saturating_add(count);
    let done = match (mode.as_str(), file) {
        ("", _) => differ(seeds, None),
        ("--digests", _) => digests(seeds),
        ("--against", Some(file)) => match open(&file) {
            Ok(from) => differ(seeds, Some(from)),
            Err(e) => Err(e),
        },
        ("--show", _) => {
            show(first);
            Ok(0)
        }
        _ => Err(io::Error::other("--digests, --against FILE or --show SEED")),
    };
    match done {
        Ok(0) => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(e) => {
            eprintln!("{e}");
            ExitCode::FAILURE
        }
    }
}

fn open(file: &str) -> io::Result<Box<dyn BufRead>> {
    Ok(match file {
        "-" => Box::new(io::stdin().lock()),
        file => Box::new(BufReader::new(std::fs::File::open(file)?)),
    })
}

/// What compiled code here says of a seed; not compiled is an answer too.
fn digest(seed: u64) -> u64 {
    // SAFETY: generated programs stay within their memory.
    unsafe { Case::new(seed).execute() }.map_or(0, |a| a.digest())
}

fn digests(seeds: std::ops::Range<u64>) -> io::Result<u64> {
    let mut out = BufWriter::new(io::stdout().lock());
    for seed in seeds {
        out.write_all(&digest(seed).to_le_bytes())?;
    }
    out.flush()?;
    Ok(0)
}

fn differ(seeds: std::ops::Range<u64>, mut other: Option<Box<dyn BufRead>>) -> io::Result<u64> {
    let (first, mut programs, mut wrong) = (seeds.start, 0, 0);
    for seed in seeds {
        // SAFETY: generated programs stay within their memory.
        let here = unsafe { native::agree(seed) };
        let mut why = here.as_ref().err().cloned();
        if let Some(other) = &mut other {
            let mut theirs = [0; 8];
            other.read_exact(&mut theirs)?;
            let differs = here.is_ok_and(|a| a.digest() != u64::from_le_bytes(theirs));
            why = why.or_else(|| differs.then(|| "the other's JIT says otherwise".to_string()));
        }
        programs += 1;
        if let Some(why) = why {
            wrong += 1;
            println!("seed {seed}: {why}");
        }
        if wrong == SHOWN {
            break;
        }
        if programs % STEP == 0 {
            report(first, programs, wrong, other.is_some());
        }
    }
    report(first, programs, wrong, other.is_some());
    Ok(wrong)
}

fn report(first: u64, programs: u64, wrong: u64, with_other: bool) {
    let other = if with_other { " and the other's" } else { "" };
    let pairs = programs * INPUTS as u64;
    println!(
        "{programs} programs from seed {first}, {INPUTS} inputs each, {pairs} in all; interpreter, JIT \
         here{other}: {wrong} differ"
    );
}

fn show(seed: u64) {
    let case = Case::new(seed);
    match case.interpret() {
        Ok(a) => print!("interpreter {:#018x}\n{a}", a.digest()),
        Err(why) => println!("interpreter: {why}"),
    }
    // SAFETY: generated programs stay within their memory, or nobody minds what this process becomes.
    match unsafe { case.execute() } {
        Ok(a) => print!("JIT {:#018x}\n{a}", a.digest()),
        Err(why) => println!("JIT: {why}"),
    }
}
