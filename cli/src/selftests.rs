//! `bpfassay selftests`: the kernel's own test programs, from a tree the person has.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bpfassay_harness::contain::Limits;
use bpfassay_harness::kernel::Session;
use bpfassay_harness::oracle::reasons::Reasons;
use bpfassay_harness::selftests::annotations::Annotations;
use bpfassay_harness::selftests::arrays::{self, ArrayTest};
use bpfassay_harness::selftests::judge::{judge, Expectation, Options};
use bpfassay_harness::selftests::run::Runner;
use bpfassay_harness::selftests::tally::{Outcome as Found, Row, Tally};
use bpfassay_harness::selftests::tree::{Tools, Tree};
use bpfassay_harness::session::EngineKind;
use bpfassay_harness::testrun::MapSlots;
use bpfassay_object::btf::Btf;
use bpfassay_object::model::Program;
use bpfassay_object::Entry;
use rayon::prelude::*;
use serde_json::{json, Value};

use crate::compare::beside_host;
use crate::exit::{fail, Outcome, MAX_JOBS};
use crate::out;
use crate::progress::Progress;
use crate::setup::{self, KernelArgs};

/// Compiles the test programs of a kernel tree, judges each, and compares with what its annotations say and, as
/// root, with the running kernel (it loads, and never attaches).
#[derive(clap::Args)]
#[command(after_help = "Examples:
  bpfassay selftests linux/tools/testing/selftests/bpf --no-kernel
  sudo bpfassay selftests linux/tools/testing/selftests/bpf --only dynptr --run
  bpfassay selftests linux/tools/testing/selftests/bpf --no-kernel --run --engine x86 \
    --reasons corpus/reasons/selftests.txt")]
pub struct Args {
    /// `tools/testing/selftests/bpf` of a kernel tree.
    #[arg(value_name = "DIR")]
    tests: PathBuf,
    /// Folder for headers and objects; objects newer than their sources are kept.
    #[arg(long, value_name = "DIR", default_value = "selftests-out")]
    out: PathBuf,
    #[command(flatten)]
    kernel: KernelArgs,
    /// Instruction sets to compile for.
    #[arg(long = "cpu", value_name = "CPU", default_values = ["v3"])]
    cpus: Vec<String>,
    #[arg(long, value_name = "NAME", default_value = "clang")]
    clang: String,
    #[arg(long, value_name = "NAME", default_value = "bpftool")]
    bpftool: String,
    /// Header of the kernel's types; without it bpftool prints the running kernel's.
    #[arg(long, value_name = "FILE")]
    vmlinux_h: Option<PathBuf>,
    /// Only sources whose name holds this.
    #[arg(long, value_name = "TEXT")]
    only: Option<String>,
    /// Leave the older tests (`verifier/*.c`) out.
    #[arg(long)]
    no_arrays: bool,
    /// Compare with the annotations only.
    #[arg(long)]
    no_kernel: bool,
    /// Run accepted programs that say what they return.
    #[arg(long)]
    run: bool,
    /// Engine they run on: interp, interp-unchecked, x86, arm64, or kernel (as root; it loads and test-runs).
    #[arg(long, value_name = "NAME", default_value = "interp", requires = "run")]
    engine: String,
    /// Runs that may be otherwise than annotated, or than on the interpreter, and why: `ENGINE SOURCE PROGRAM: REASON`
    /// a line, `any` for every engine. With it, a run without a reason or a reason without a run is a failure.
    #[arg(long, value_name = "FILE", requires = "run")]
    reasons: Option<String>,
    /// Run natively though the system cannot filter system calls (qemu-user).
    #[arg(long)]
    no_filter: bool,
    /// Largest log compared, MiB.
    #[arg(long, value_name = "MIB", default_value_t = 16, value_parser = setup::max_log())]
    max_log: u16,
    /// Exceptions of each kind to list.
    #[arg(long, value_name = "N", default_value_t = 20)]
    list: usize,
    #[arg(long)]
    json: bool,
    #[arg(long, short, value_name = "N", default_value_t = 0)]
    jobs: usize,
}

const SCHEMA: &str = "bpfassay.selftests/1";

pub fn run(args: Args) -> Outcome {
    measure(&args).unwrap_or_else(|o| o)
}

/// Sources that did not compile, and why.
type Uncompiled = Vec<(String, String)>;

fn measure(args: &Args) -> Result<Outcome, Outcome> {
    if args.json {
        out::expect_json(SCHEMA);
    }
    let target = beside_host(&args.kernel)?;
    let usage = |why: String| fail(Outcome::Usage, why);
    let engine = EngineKind::from_name(&args.engine)
        .ok_or_else(|| usage(format!("no engine {}", args.engine)))?;
    let reasons = args.reasons.as_deref().map(Reasons::read).transpose().map_err(usage)?;
    let tools = Tools {
        clang: args.clang.clone(),
        bpftool: args.bpftool.clone(),
        vmlinux_h: args.vmlinux_h.clone(),
        btf: args.kernel.btf.first().cloned().unwrap_or("/sys/kernel/btf/vmlinux".into()),
    };
    let tree =
        Tree::prepare(&args.tests, &args.out, &tools).map_err(|e| fail(Outcome::NotJudged, e))?;
    let mut sources = tree.sources().map_err(|e| fail(Outcome::NotJudged, e))?;
    sources.retain(|s| args.only.as_ref().is_none_or(|o| name_of(s).contains(o.as_str())));
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(args.jobs.min(MAX_JOBS))
        .build()
        .map_err(|e| fail(Outcome::Internal, e))?;
    let bar = Progress::of("compiling and judging tests", None, false);
    let (rows, uncompiled) = pool.install(|| {
        let work: Vec<(&PathBuf, &String)> =
            args.cpus.iter().flat_map(|c| sources.iter().map(move |s| (s, c))).collect();
        let compiled: Vec<_> =
            work.into_par_iter().map(|(s, c)| (s, c, tree.compile(s, c))).collect();
        let mut uncompiled = Uncompiled::new();
        let mut rows: Vec<Row> = compiled
            .par_iter()
            .filter_map(|(s, c, made)| Some((s, c, made.as_ref().ok()?)))
            .flat_map_iter(|(s, c, object)| judge_object(s, c, object, &target, args))
            .collect();
        for (source, cpu, made) in &compiled {
            if let Err(why) = made {
                uncompiled.push((origin(source, cpu), why.clone()));
            }
        }
        if !args.no_arrays && args.only.is_none() {
            match arrays::read(&tree, target.vmlinux.as_ref()) {
                Ok(tests) => {
                    rows.par_extend(tests.par_iter().map(|t| judge_array(t, &target, args)));
                }
                Err(why) => uncompiled.push(("test_verifier.c".to_string(), why)),
            }
        }
        (rows, uncompiled)
    });
    drop(bar);
    let mut tally = Tally::of(&rows);
    let has_reasons = reasons.is_none_or(|r| explained(args, &mut tally, &r, engine));
    let outcome = match (tally.programs, tally.is_wrong() || !has_reasons) {
        (0, _) => Outcome::NotJudged,
        (_, true) => Outcome::Rejected,
        (_, false) => Outcome::Ok,
    };
    Ok(report(args, &target, &tally, &uncompiled, outcome))
}

/// Every run that is otherwise has a reason in the list, and every reason its run.
fn explained(args: &Args, tally: &mut Tally, reasons: &Reasons, engine: EngineKind) -> bool {
    tally.explain_runs(reasons, engine.name());
    // Of a part nobody can tell.
    let own = format!("{} ", engine.name());
    let unused = match args.only {
        Some(_) => Vec::new(),
        None => [reasons.unused("any "), reasons.unused(&own)].concat(),
    };
    for name in &unused {
        out::note(format!("bpfassay: the list of reasons names {name}, which did not happen"));
    }
    unused.is_empty() && !tally.has_unlisted_run()
}

fn name_of(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

fn origin(source: &Path, cpu: &str) -> String {
    format!("progs/{} {cpu}", name_of(source))
}

fn judge_object(
    source: &Path,
    cpu: &str,
    object: &Path,
    target: &setup::Target,
    args: &Args,
) -> Vec<Row> {
    let origin = origin(source, cpu);
    let refused = |why: String| Row {
        origin: origin.clone(),
        program: String::new(),
        prog_type: "unspec",
        outcome: Found::Refused { why, expected: None },
    };
    let bytes = match fs::read(object) {
        Ok(bytes) => bytes,
        Err(e) => return vec![refused(e.to_string())],
    };
    // The kernel sees names cut from the object's: `x.bpf.o`, as the tree's own build calls it.
    let loaded = match target.load_object(&bytes, &name_of(object)) {
        Ok(loaded) => loaded,
        Err(e) => return vec![refused(e.message)],
    };
    let (entries, slots) = (&loaded.programs, &loaded.map_slots);
    let others: Vec<&Program> = entries.iter().filter_map(|e| e.program.as_ref().ok()).collect();
    let source = name_of(source);
    let mut session = (!args.no_kernel).then(Session::new);
    let btf = others.iter().filter_map(|p| p.btf.clone()).next();
    let arch = target.kernel.arch.as_str();
    let mut row = |e: &Entry| {
        let expectation = expectation(btf.as_ref(), &e.name, arch);
        let outcome = match (&expectation.skip, &e.program) {
            (Some(why), _) => Found::Skipped(why.clone()),
            (None, Err(err)) => {
                Found::Refused { why: err.to_string(), expected: expectation.success }
            }
            (None, Ok(program)) => one(
                program,
                &expectation,
                session.as_mut(),
                target,
                args,
                runner(args, &source, &others, slots),
            ),
        };
        let prog_type = e.program.as_ref().map_or("unspec", |p| p.prog_type.name());
        Row { origin: origin.clone(), program: e.name.clone(), prog_type, outcome }
    };
    entries.iter().map(&mut row).collect()
}

/// Who runs the programs of a source, if they are to be run.
fn runner<'a>(
    args: &Args,
    source: &'a str,
    others: &[&'a Program],
    slots: &'a [MapSlots],
) -> Option<Runner<'a>> {
    let engine = EngineKind::from_name(&args.engine)?;
    let limits = Limits { may_lack_filter: args.no_filter, ..Limits::default() };
    args.run.then(|| Runner { engine, limits, source, others: others.to_vec(), slots })
}

fn expectation(btf: Option<&Arc<Btf>>, name: &str, arch: &str) -> Expectation {
    let annotations = btf.map(|b| Annotations::of(b, name)).unwrap_or_default();
    Expectation::of_annotations(&annotations, arch)
}

fn judge_array(test: &ArrayTest, target: &setup::Target, args: &Args) -> Row {
    let expectation = Expectation::of_array(test);
    let mut session = (!args.no_kernel).then(Session::new);
    let outcome = match &test.program {
        Ok(p) => {
            let runner = runner(args, "verifier", &[], &[]);
            one(p, &expectation, session.as_mut(), target, args, runner)
        }
        Err(why) => Found::Refused { why: why.clone(), expected: None },
    };
    let prog_type = test.program.as_ref().map_or("unspec", |p| p.prog_type.name());
    let program = format!("#{} {}", test.index, test.description);
    Row { origin: "verifier".to_string(), program, prog_type, outcome }
}

fn one(
    program: &Program,
    expectation: &Expectation,
    session: Option<&mut Session>,
    target: &setup::Target,
    args: &Args,
    run: Option<Runner<'_>>,
) -> Found {
    let config = target.config();
    let mut program = program.clone();
    program.flags = program.flags.with_bits(expectation.flags);
    let options = Options { run, max_log: usize::from(args.max_log) << 20 };
    Found::Judged(Box::new(judge(&program, expectation, &config, session, &options)))
}

fn report(
    args: &Args,
    target: &setup::Target,
    tally: &Tally,
    uncompiled: &Uncompiled,
    outcome: Outcome,
) -> Outcome {
    if args.json {
        let doc = as_json(target, tally, uncompiled);
        return out::machine(format!("{doc:#}\n").as_bytes(), outcome);
    }
    let mut said = String::new();
    for (what, why) in uncompiled.iter().take(args.list) {
        let _ = writeln!(said, "not compiled: {what}: {why}");
    }
    said.push_str(&tally.text(args.list));
    let _ = writeln!(said, "{:26} {}", "sources not compiled", uncompiled.len());
    let _ = writeln!(said, "judged for {} ({})", target.kernel.release, target.profile);
    out::text(&said, outcome)
}

fn as_json(target: &setup::Target, tally: &Tally, uncompiled: &Uncompiled) -> Value {
    let exceptions: Vec<Value> = tally
        .exceptions
        .iter()
        .map(|e| {
            json!({"kind": e.kind.name(), "origin": e.origin, "program": e.program, "reason": e.reason})
        })
        .collect();
    let shares: serde_json::Map<String, Value> = tally
        .shares()
        .into_iter()
        .map(|(name, s)| (name.to_string(), json!({"of": s.of, "hits": s.hits})))
        .collect();
    let uncompiled: Vec<Value> =
        uncompiled.iter().map(|(o, why)| json!({"source": o, "reason": why})).collect();
    json!({
        "schema": SCHEMA,
        "kernel": {"release": target.kernel.release, "profile": target.profile},
        "programs": tally.programs,
        "unsupported": tally.unsupported,
        "not_looked_at": tally.ignored,
        "shares": shares,
        "not_compiled": uncompiled,
        "skipped": tally.skipped,
        "refused_by_the_loader": tally.refused,
        "kernel_not_asked": tally.not_asked,
        "not_modelled": tally.not_modelled,
        "exceptions": exceptions,
    })
}
