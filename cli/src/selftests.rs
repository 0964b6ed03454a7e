//! `bpfassay selftests`: the kernel's own test programs, from a tree the person has.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bpfassay_harness::kernel::Session;
use bpfassay_harness::selftests::annotations::Annotations;
use bpfassay_harness::selftests::arrays::{self, ArrayTest};
use bpfassay_harness::selftests::judge::{judge, Expectation, Options};
use bpfassay_harness::selftests::tally::{Outcome as Found, Row, Tally};
use bpfassay_harness::selftests::tree::{Tools, Tree};
use bpfassay_object::btf::Btf;
use bpfassay_object::model::Program;
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
  sudo bpfassay selftests linux/tools/testing/selftests/bpf --only dynptr --run")]
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
    /// Run accepted programs that say what they return, on the interpreter.
    #[arg(long)]
    run: bool,
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
    let tally = Tally::of(&rows);
    let outcome = match (tally.programs, tally.is_wrong()) {
        (0, _) => Outcome::NotJudged,
        (_, true) => Outcome::Rejected,
        (_, false) => Outcome::Ok,
    };
    Ok(report(args, &target, &tally, &uncompiled, outcome))
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
    let entries = match target.load(&bytes, &name_of(object)) {
        Ok(entries) => entries,
        Err(e) => return vec![refused(e.message)],
    };
    let mut session = (!args.no_kernel).then(Session::new);
    let btf = entries.iter().filter_map(|e| e.ok()?.btf.clone()).next();
    let arch = target.kernel.arch.as_str();
    let mut row = |e: &setup::Entry| {
        let expectation = expectation(btf.as_ref(), &e.name, arch);
        let outcome = match (&expectation.skip, &e.program) {
            (Some(why), _) => Found::Skipped(why.clone()),
            (None, Err(err)) => {
                Found::Refused { why: err.message.clone(), expected: expectation.success }
            }
            (None, Ok(program)) => one(program, &expectation, session.as_mut(), target, args),
        };
        let prog_type = e.ok().map_or("unspec", |p| p.prog_type.name());
        Row { origin: origin.clone(), program: e.name.clone(), prog_type, outcome }
    };
    entries.iter().map(&mut row).collect()
}

fn expectation(btf: Option<&Arc<Btf>>, name: &str, arch: &str) -> Expectation {
    let annotations = btf.map(|b| Annotations::of(b, name)).unwrap_or_default();
    Expectation::of_annotations(&annotations, arch)
}

fn judge_array(test: &ArrayTest, target: &setup::Target, args: &Args) -> Row {
    let expectation = Expectation::of_array(test);
    let mut session = (!args.no_kernel).then(Session::new);
    let outcome = match &test.program {
        Ok(p) => one(p, &expectation, session.as_mut(), target, args),
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
) -> Found {
    let config = target.config();
    let mut program = program.clone();
    program.flags = program.flags.with_bits(expectation.flags);
    let options = Options { run: args.run, max_log: usize::from(args.max_log) << 20 };
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
