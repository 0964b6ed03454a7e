//! Engines side by side on compute programs: one command, one run, one table.
//!
//!     cargo run --release                       # root, for the kernel's column
//!     cargo run --release -- --drawn 7          # programs drawn from a seed
//!     UBPF_DIR=path/to/ubpf cargo run --release # with uBPF's column
//!
//! Every figure is nanoseconds per run, the least of many short rounds in which the engines take turns,
//! each loading the program anew at another address: where code comes to lie decides up to a third of a
//! tight loop's time, and another machine on the same core as much, so a single long round says little.
//! Behind the ratio of the least times, in brackets, stands that of the medians.
//! Return values are compared on the way: an engine that answers differently from the kernel is named,
//! and is no peer on that row.

use std::fmt::Debug;
use std::path::{Path, PathBuf};
use std::{env, fs, process};

use bpfassay_harness::engine::{Input, Instance};
use bpfassay_harness::engines::kernel::Kernel;
use bpfassay_harness::engines::native::Native;
use bpfassay_harness::native::{machine::Facts, ENGINE};
use bpfassay_harness::runtime::world::World;
use bpfassay_harness::testrun::Interp;
use bpfassay_harness::trust::{Distrust, Trusted};
use bpfassay_judge::Target;
use bpfassay_object::model::Program;

mod cold;
mod compile;
mod draw;
#[allow(dead_code, unused_imports, reason = "each program uses its part")]
mod peers;

const ROUNDS: usize = 24;
/// Runs in a round of a compiling engine.
const RUNS: u32 = 400;
/// A peer's time counts as equal within this.
const EQUAL: f64 = 1.005;
/// Bytes of the packet (`BENCH_LEN` of programs/bench.h).
const LEN: usize = 1500;
/// Programs drawn where no number is given: two of each kind.
const DRAWN: usize = 28;
/// Columns of a program's name.
const WIDTH: usize = 18;

/// Times a round is measured, at most, until nobody else had the processor meanwhile.
const TRIES: usize = 5;

/// What `run` gives, and whether the thread had the processor to itself: the kernel leaves out what others took, a
/// clock does not.
fn undisturbed<T>(run: impl FnOnce() -> T) -> (T, bool) {
    let preempted = || {
        // SAFETY: numbers alone, for which zero is a value.
        let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
        // SAFETY: it fills the structure.
        unsafe { libc::getrusage(libc::RUSAGE_THREAD, &mut usage) };
        usage.ru_nivcsw
    };
    let before = preempted();
    let result = run();
    (result, preempted() == before)
}

/// One engine on one program.
struct Cell<'a> {
    engine: &'static str,
    run: Box<dyn FnMut(u32) -> Result<(u32, f64), String> + 'a>,
    repeat: u32,
    best: Result<f64, String>,
    /// Of every round.
    times: Vec<f64>,
    retval: Option<u32>,
}

impl<'a> Cell<'a> {
    fn new(
        engine: &'static str,
        repeat: u32,
        run: impl FnMut(u32) -> Result<(u32, f64), String> + 'a,
    ) -> Cell<'a> {
        Cell {
            engine,
            run: Box::new(run),
            repeat,
            best: Ok(f64::INFINITY),
            times: Vec::new(),
            retval: None,
        }
    }

    /// Of a typical place in memory.
    fn median(&self) -> f64 {
        let mut sorted = self.times.clone();
        sorted.sort_by(f64::total_cmp);
        sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
    }

    fn round(&mut self) {
        let Ok(best) = self.best else { return };
        let mut result = undisturbed(|| (self.run)(self.repeat));
        for _ in 1..TRIES {
            if result.1 {
                break;
            }
            result = undisturbed(|| (self.run)(self.repeat));
        }
        match result.0 {
            Ok((retval, ns)) => {
                self.best = Ok(best.min(ns));
                self.times.push(ns);
                self.retval = Some(retval);
            }
            Err(why) => self.best = Err(why),
        }
    }
}

fn measure(engine: &mut dyn Instance, data: &[u8], repeat: u32) -> Result<(u32, f64), String> {
    // Fresh memory and an untrained predictor are no engine's doing.
    let warm = Input { data: data.to_vec(), ctx: Vec::new(), repeat: repeat.div_ceil(4) };
    engine.run(&warm);
    let out = engine.run(&Input { repeat, ..warm });
    match (&out.trap, &out.refusal) {
        (Some(trap), _) => Err(trap.to_string()),
        (_, Some(refusal)) => Err(format!("{refusal:?}")),
        _ => Ok((out.retval(), out.duration.as_nanos() as f64)),
    }
}

/// A cell whose engine `load` makes anew for every round, at an address of its own: those before stay.
fn cell<'a, I: Instance + 'a, E: Debug>(
    engine: &'static str,
    repeat: u32,
    data: &'a [u8],
    load: impl Fn() -> Result<I, E> + 'a,
) -> Cell<'a> {
    let mut kept = Vec::new();
    Cell::new(engine, repeat, move |n| {
        kept.push(load().map_err(|e| format!("{e:?}"))?);
        kept.last_mut().map_or(Err(String::new()), |engine| measure(engine, data, n))
    })
}

fn cells<'a>(
    program: &'a Program,
    trusted: &'a Result<Trusted<'_>, Distrust>,
    bare: Option<&'a [u8]>,
    data: &'a [u8],
) -> Vec<Cell<'a>> {
    let native = || {
        // SAFETY: the programs are this folder's own, and kernels accept them.
        unsafe { Native::load(program, &Facts::default(), World::seeded(1), None) }
    };
    let unchecked = move || match trusted {
        Ok(t) => Interp::unchecked(t, World::seeded(1)).map_err(|e| format!("{e:?}")),
        Err(why) => Err(why.to_string()),
    };
    let mut cells = vec![
        cell("kernel", RUNS, data, || Kernel::load(program)),
        cell(ENGINE, RUNS, data, native),
        cell("interp", 4, data, || Interp::load(program, World::seeded(1))),
        cell("interp-unchecked", 10, data, unchecked),
    ];
    if let Some(code) = bare {
        let low = |(v, t): (u64, f64)| (v as u32, t);
        cells.push(Cell::new("ubpf", RUNS, move |n| peers::ubpf(code, data, n).map(low)));
        cells.push(Cell::new("rbpf", RUNS, move |n| peers::rbpf(code, data, n).map(low)));
    }
    cells
}

/// Frames the parser knows in part, numbers for everyone else; the same on every run.
fn packet() -> Vec<u8> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut data: Vec<u8> = (0..LEN)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 32) as u8
        })
        .collect();
    for (i, frame) in data.chunks_exact_mut(100).enumerate() {
        let vlan = i % 4 == 3;
        let at = if vlan { 18 } else { 14 };
        if vlan {
            frame[12..14].copy_from_slice(&[0x81, 0]);
        }
        if i % 3 == 2 {
            frame[at - 2..at].copy_from_slice(&[0x86, 0xdd]);
            frame[at] = 0x60;
            frame[at + 6] = if i % 2 == 0 { 6 } else { 17 };
        } else {
            frame[at - 2..at].copy_from_slice(&[8, 0]);
            frame[at] = 0x45;
            frame[at + 6..at + 8].copy_from_slice(&[0, 0]);
            frame[at + 9] = if i % 2 == 0 { 6 } else { 17 };
        }
    }
    data
}

/// Rows, geometric mean, largest.
fn summary(rows: &[(&'static str, f64)], engine: &str) -> (usize, f64, f64) {
    let of: Vec<f64> = rows.iter().filter(|(e, _)| *e == engine).map(|(_, r)| *r).collect();
    let mean = (of.iter().map(|r| r.ln()).sum::<f64>() / of.len() as f64).exp();
    (of.len(), mean, of.iter().copied().fold(0.0, f64::max))
}

/// Objects of a folder, in the order of their names.
fn objects(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("a folder").flatten().map(|e| e.path());
    let mut objects: Vec<PathBuf> =
        entries.filter(|p| p.extension().is_some_and(|e| e == "o")).collect();
    objects.sort();
    objects
}

/// Objects drawn from a seed, compiled into a folder of their own that stays.
fn drawn(seed: u64, count: usize) -> Vec<PathBuf> {
    let folder = env::temp_dir().join(format!("bpfassay-bench-{seed}"));
    fs::create_dir_all(&folder).expect("a temporary folder");
    println!("{count} programs of seed {seed} in {}", folder.display());
    let compiled = draw::programs(seed, count).into_iter().filter_map(|program| {
        let object = draw::compile(&program, &folder);
        object.inspect_err(|why| println!("{}: {why}", program.name)).ok()
    });
    compiled.collect()
}

fn main() {
    let args: Vec<String> = env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let number = |n: &str| n.parse().unwrap_or_else(|_| panic!("{n}: no number"));
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("objects");
    let paths = match args[..] {
        ["--compile"] => return compile::table(),
        ["--cold"] => return cold::table(),
        ["--cold-once", what] => return cold::once(what),
        ["--drawn", seed] => drawn(number(seed), DRAWN),
        ["--drawn", seed, count] => drawn(number(seed), number(count) as usize),
        [] => objects(&folder),
        [name] => vec![folder.join(name).with_extension("o")],
        _ => panic!("one program, --drawn SEED [COUNT], --compile or --cold"),
    };
    if !measured(paths) {
        process::exit(1);
    }
}

/// Measures programs and prints the table; false where an engine's answer was another than the kernel's.
fn measured(objects: Vec<PathBuf>) -> bool {
    let target = Target::served("6.18").expect("a whole build").expect("6.18 is known");
    let data = packet();
    let mut ratios: Vec<(&'static str, f64)> = Vec::new();
    let mut medians: Vec<(&'static str, f64)> = Vec::new();
    let mut wrong = false;
    let (mut peer_rows, mut ahead) = (0, 0);
    for path in objects {
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let bytes = fs::read(&path).expect("object");
        let entries = target.load(&bytes, &name).expect("object loads");
        let Some(program) = entries.iter().find_map(|e| e.program.as_ref().ok()) else {
            println!("{name}: no program");
            continue;
        };
        let config = target.config();
        let trusted = Trusted::verify(program, &config);
        let bare = fs::read(path.with_extension("bin")).ok();
        let mut cells = cells(program, &trusted, bare.as_deref(), &data);
        for _ in 0..ROUNDS {
            cells.iter_mut().for_each(Cell::round);
        }
        let kernel = cells.iter().find(|c| c.engine == "kernel");
        let base = kernel.and_then(|c| c.best.clone().ok());
        let typical = kernel.map_or(f64::NAN, Cell::median);
        let truth = kernel.and_then(|c| c.retval);
        print!("{name:<WIDTH$}");
        for c in &cells {
            match (&c.best, base) {
                (Ok(ns), Some(base)) => {
                    let median = c.median() / typical;
                    print!("  {} {ns:>9.0} ns {:>6.3} ({median:.2})", c.engine, ns / base);
                    ratios.push((c.engine, ns / base));
                    medians.push((c.engine, median));
                }
                (Ok(ns), None) => print!("  {} {ns:>9.0} ns", c.engine),
                (Err(why), _) => print!("  {} -- ({why})", c.engine),
            }
            if truth.is_some() && c.retval.is_some() && c.retval != truth {
                wrong = true;
                print!(" WRONG: {:#x}, kernel {:#x}", c.retval.unwrap_or(0), truth.unwrap_or(0));
            }
        }
        println!();
        let peer = |c: &&Cell<'_>| matches!(c.engine, "ubpf" | "rbpf") && c.retval == truth;
        let times = cells.iter().filter(peer).filter_map(|c| c.best.clone().ok());
        let best = times.fold(f64::INFINITY, f64::min);
        let own = cells.iter().find(|c| c.engine == ENGINE).and_then(|c| c.best.clone().ok());
        if let (Some(own), true) = (own, best.is_finite()) {
            peer_rows += 1;
            ahead += usize::from(own <= best * EQUAL);
        }
    }
    let mut engines: Vec<&'static str> = Vec::new();
    ratios.iter().for_each(|(e, _)| {
        if !engines.contains(e) {
            engines.push(e)
        }
    });
    for engine in engines {
        let (n, mean, worst) = summary(&ratios, engine);
        let (_, typical, worst_typical) = summary(&medians, engine);
        println!("{engine:<18} geometric mean {mean:.3} ({typical:.2}) of the kernel's time over {n} programs, worst {worst:.3} ({worst_typical:.2})");
    }
    println!("{ENGINE} equal to or ahead of the best peer on {ahead} of {peer_rows} rows");
    !wrong
}
