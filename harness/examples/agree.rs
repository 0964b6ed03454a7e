//! Runs every accepted program of the bundled corpus on every engine of this host, and compares.
//!
//!     cargo run -p bpfassay-harness --example agree -- [--kernel] [--no-filter] [--reasons FILE] [FILE.o…]
//!
//! Each program gets the inputs of `oracle::packets`, one after the other on the same maps; every
//! engine's return values, packets, contexts and maps are held against the interpreter's.
//! `--kernel` adds the running kernel (as root; loads and test-runs, attaches nothing).  Other
//! objects than the corpus can be named.  A difference is looked up in a list of reasons
//! (`harness/examples/agree.reasons`); exit status 1 where one has none, or where the list names
//! what did not happen.

use std::collections::BTreeMap;
use std::process::ExitCode;

use bpfassay_harness::contain::Limits;
use bpfassay_harness::kernel::stay_on_cpu;
use bpfassay_harness::oracle::agreement::{with_kernel, Agreement};
use bpfassay_harness::oracle::bundled::{corpus, Bundled};
use bpfassay_harness::oracle::packets::inputs;
use bpfassay_harness::oracle::reasons::Reasons;
use bpfassay_harness::session::{self, Answer, EngineKind, Failed, Job, Run, Subject};
use bpfassay_harness::trust;
use bpfassay_object::model::Program;
use bpfassay_object::Object;

struct Args {
    engines: Vec<EngineKind>,
    reasons: Reasons,
    limits: Limits,
    files: Vec<String>,
}

fn args() -> Result<Args, String> {
    let mut engines = EngineKind::of_this_host();
    engines.retain(|k| !matches!(k, EngineKind::Interp | EngineKind::Kernel));
    let mut out =
        Args { engines, reasons: Reasons::default(), limits: Limits::default(), files: Vec::new() };
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--kernel" => out.engines.push(EngineKind::Kernel),
            // Programs that run in a child do so where there is no filter of system calls (qemu-user).
            "--no-filter" => out.limits.may_lack_filter = true,
            "--reasons" => {
                let file = args.next().ok_or("--reasons needs a file")?;
                out.reasons = Reasons::read(&file)?;
            }
            _ => out.files.push(arg),
        }
    }
    Ok(out)
}

/// All objects of the corpus, as `v3/name.o` with their paths.
fn bundled() -> Vec<(String, String)> {
    let root = corpus().join("objects");
    let mut out = Vec::new();
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "o") {
                let label = path.strip_prefix(&root).unwrap_or(&path);
                out.push((label.display().to_string(), path.display().to_string()));
            }
        }
    }
    out.sort();
    out
}

#[derive(Default)]
struct Tally {
    programs: usize,
    inputs: usize,
    rejected: usize,
    /// By engine: programs that agree, differ for a listed reason, and what was not compared.
    agree: BTreeMap<&'static str, usize>,
    listed: BTreeMap<&'static str, usize>,
    open: BTreeMap<&'static str, BTreeMap<String, usize>>,
    unexplained: usize,
}

enum Compared {
    Agree,
    Not(String),
    Differ(String),
}

fn compare(interp: &Answer, other: &Answer) -> Compared {
    // A child that crashed, or stopped for its time, makes no further runs.
    let cut = other.runs.last().and_then(|r| r.trap.as_ref()).is_some_and(|t| t.insn_idx.is_none());
    if interp.runs.len() != other.runs.len() && !cut {
        return Compared::Differ(format!("{} of {} runs", other.runs.len(), interp.runs.len()));
    }
    let mut not = None;
    for (i, (a, b)) in interp.runs.iter().zip(&other.runs).enumerate() {
        // What the kernel says of a program tells more than what we lack.
        let open = [b, a].into_iter().filter_map(|r| r.trap.as_ref()).find(|t| !t.is_comparable);
        match (open, a.agrees(b)) {
            (None, Some(true)) => {}
            (None, _) => {
                let what = format!("input {i}: interp {}, {}", show(a, b), show(b, a));
                return Compared::Differ(what);
            }
            (Some(t), _) => {
                let why = t.detail.split_once(": ").map_or(&*t.detail, |(_, why)| why);
                not = Some(why.to_string());
            }
        }
    }
    match (not, &interp.maps, &other.maps) {
        (Some(why), ..) => Compared::Not(why),
        (None, Some(a), Some(b)) if a != b => Compared::Differ("other maps".to_string()),
        _ => Compared::Agree,
    }
}

fn show(run: &Run, other: &Run) -> String {
    let hex = |b: &Option<Vec<u8>>| {
        let b = b.as_deref().unwrap_or_default();
        b.iter().map(|v| format!("{v:02x}")).collect::<String>()
    };
    let mut out = run.answer();
    if run.data_out.as_deref().unwrap_or_default() != other.data_out.as_deref().unwrap_or_default()
    {
        out += &format!(" data {}", hex(&run.data_out));
    }
    if run.ctx_out.as_deref().unwrap_or_default() != other.ctx_out.as_deref().unwrap_or_default() {
        out += &format!(" ctx {}", hex(&run.ctx_out));
    }
    out
}

fn answer(
    job: &Job<'_>,
    kind: EngineKind,
    trusted: &[trust::Trusted<'_>],
) -> Result<Answer, String> {
    session::run(job, kind, Ok(trusted)).map_err(|e| match e {
        Failed::Rejected(errno) => format!("rejected with errno {errno}"),
        Failed::Unavailable(why) | Failed::Wrong(why) => why,
    })
}

fn program(
    args: &Args,
    on: &Bundled,
    label: &str,
    object: &Object,
    program: &Program,
    t: &mut Tally,
) {
    let others: Vec<&Program> =
        object.programs.iter().filter_map(|e| e.program.as_ref().ok()).collect();
    let trusted = match trust::verify_all(program, &others, &object.map_slots, &on.config()) {
        Ok(trusted) => trusted,
        Err(why) => {
            t.rejected += 1;
            if !matches!(why, trust::Distrust::Rejected { .. }) {
                println!("UNTRUSTED {label} {}: {why}", program.name);
            }
            return;
        }
    };
    let inputs = inputs(program.prog_type);
    t.programs += 1;
    t.inputs += inputs.len();
    let job = Job {
        subject: Subject::Program { program, others, slots: &object.map_slots },
        inputs,
        preload: Vec::new(),
        world: on.world(),
        keeps_output: true,
        dump_maps: true,
        trace: false,
        limits: args.limits,
    };
    let interp = answer(&job, EngineKind::Interp, &trusted);
    for kind in &args.engines {
        let name = kind.name();
        let mut compared = match (&interp, answer(&job, *kind, &trusted)) {
            (Ok(a), Ok(b)) => compare(a, &b),
            (Err(why), _) => Compared::Not(why.clone()),
            (_, Err(why)) => Compared::Not(why),
        };
        let is_kernel = *kind == EngineKind::Kernel;
        if is_kernel
            && matches!(compared, Compared::Agree)
            && object.map_slots.iter().all(Vec::is_empty)
        {
            match with_kernel(program, &job.inputs, on.world()) {
                Agreement::Agree(_) => {}
                Agreement::NotCompared(why) => compared = Compared::Differ(why),
                Agreement::Differ { reference, other, .. } => {
                    compared = Compared::Differ(format!("interp {other}, kernel {reference}"));
                }
            }
        }
        match compared {
            Compared::Agree => *t.agree.entry(name).or_default() += 1,
            Compared::Not(why) => {
                if std::env::var_os("VERBOSE").is_some() {
                    println!("NOT COMPARED {name} {label} {}: {why}", program.name);
                }
                *t.open.entry(name).or_default().entry(why).or_default() += 1;
            }
            Compared::Differ(what) => {
                // The three builds of an object differ for one reason.
                let object = label.split_once('/').filter(|(set, _)| set.starts_with('v'));
                let object = object.map_or(label, |(_, object)| object);
                match args.reasons.of(&format!("{name} {object} {}", program.name)) {
                    Some(why) => {
                        *t.listed.entry(name).or_default() += 1;
                        println!("LISTED {name} {label} {}: {why}", program.name);
                    }
                    None => {
                        t.unexplained += 1;
                        println!("DIFFER {name} {label} {}: {what}", program.name);
                    }
                }
            }
        }
    }
}

fn main() -> ExitCode {
    let args = args();
    let is_live =
        args.as_ref().is_ok_and(|a| a.engines.contains(&EngineKind::Kernel) || !a.files.is_empty());
    let (args, on) = match (args, Bundled::read(is_live)) {
        (Ok(a), Ok(b)) => (a, b),
        (Err(e), _) | (_, Err(e)) => {
            eprintln!("{e}");
            return ExitCode::from(2);
        }
    };
    // Values of one CPU, and what a program says of it, are then those of one CPU throughout.
    let _ = stay_on_cpu();
    let mut t = Tally::default();
    let files = match args.files.is_empty() {
        true => bundled(),
        false => args.files.iter().map(|f| (f.clone(), f.clone())).collect(),
    };
    for (label, path) in files {
        let object =
            std::fs::read(&path).map_err(|e| e.to_string()).and_then(|b| on.load(&b, &label));
        match object {
            Ok(object) => {
                for entry in &object.programs {
                    if let Ok(p) = &entry.program {
                        program(&args, &on, &label, &object, p, &mut t);
                    }
                }
            }
            Err(why) => println!("UNREAD {label}: {why}"),
        }
    }
    println!("{} accepted programs, {} inputs; {} not accepted", t.programs, t.inputs, t.rejected);
    for kind in &args.engines {
        let name = kind.name();
        let (agree, listed) = (t.agree.get(name), t.listed.get(name));
        let open = t.open.get(name).map_or(0, |o| o.values().sum());
        let differ = t.programs - agree.unwrap_or(&0) - listed.unwrap_or(&0) - open;
        println!(
            "{name}: {} as the interpreter, {} otherwise for a listed reason, {open} not compared, {differ} differ",
            agree.unwrap_or(&0), listed.unwrap_or(&0)
        );
        let mut why: Vec<_> = t.open.get(name).into_iter().flatten().collect();
        why.sort_by_key(|(_, n)| std::cmp::Reverse(**n));
        why.iter().for_each(|(why, n)| println!("{n:>6}  {why}"));
    }
    let own = |k: &EngineKind| args.reasons.unused(&format!("{} ", k.name()));
    let unused: Vec<&str> = args.engines.iter().flat_map(own).collect();
    unused.iter().for_each(|name| println!("UNUSED {name}"));
    ExitCode::from(u8::from(t.unexplained > 0 || !unused.is_empty()))
}
