//! `bpfassay selftests`: the kernel's own test programs, from a tree the person has.

mod judging;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use bpfassay_harness::oracle::reasons::Reasons;
use bpfassay_harness::selftests::arrays;
use bpfassay_harness::selftests::tally::{Row, Tally};
use bpfassay_harness::selftests::tree::{Tools, Tree};
use bpfassay_harness::session::EngineKind;
use rayon::prelude::*;
use serde_json::{json, Value};

use crate::compare::beside_host;
use crate::exit::{fail, Outcome, MAX_JOBS};
use crate::out;
use crate::progress::Progress;
use crate::setup::{self, KernelArgs};

/// Compiles the test programs of a kernel tree, judges each, as root and, where its annotations say so, without
/// capabilities, and compares with what they say and, as root, with the running kernel (it loads, and never attaches).
#[derive(clap::Args)]
#[command(after_help = "Examples:
  bpfassay selftests linux/tools/testing/selftests/bpf --no-kernel
  sudo bpfassay selftests linux/tools/testing/selftests/bpf --only dynptr --run
  bpfassay selftests linux/tools/testing/selftests/bpf --no-kernel --run --engine x86 \
    --reasons corpus/reasons/selftests.txt")]
pub struct Args {
    /// `tools/testing/selftests/bpf` of a kernel tree.
    #[arg(value_name = "DIR", required_unless_present = "objects")]
    tests: Option<PathBuf>,
    /// Judge the objects of this folder, which an earlier run compiled, without a tree and a compiler.
    #[arg(long, value_name = "DIR", conflicts_with = "tests")]
    objects: Option<PathBuf>,
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
    /// Compare accepted programs as rewritten too: ours beside the running kernel's.
    #[arg(long, conflicts_with = "no_kernel")]
    xlated: bool,
    /// Run accepted programs that say what they return.
    #[arg(long)]
    run: bool,
    /// Engine they run on: interp, interp-unchecked, x86, arm64, or kernel (as root; it loads and test-runs).
    #[arg(long, value_name = "NAME", default_value = "interp", requires = "run")]
    engine: String,
    /// Runs that may be otherwise than annotated, or than on the interpreter, and why: `ENGINE SOURCE PROGRAM: REASON`
    /// a line, `any` for every engine; and `annotation SOURCE PROGRAM: REASON` for verdicts that are otherwise than
    /// annotated where no kernel is asked. With it, a run without a reason or a reason without a run is a failure.
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
    let target = match args.no_kernel {
        true => setup::target(&args.kernel)?,
        false => beside_host(&args.kernel)?,
    };
    let judges = judging::Judges::new(&target, args);
    let usage = |why: String| fail(Outcome::Usage, why);
    let engine = EngineKind::from_name(&args.engine)
        .ok_or_else(|| usage(format!("no engine {}", args.engine)))?;
    let reasons = args.reasons.as_deref().map(Reasons::read).transpose().map_err(usage)?;
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(args.jobs.min(MAX_JOBS))
        .build()
        .map_err(|e| fail(Outcome::Internal, e))?;
    let bar = Progress::of("compiling and judging tests", None, false);
    let (rows, uncompiled) = pool
        .install(|| match (&args.objects, &args.tests) {
            (Some(folder), _) => of_objects(folder, args, &judges),
            (None, Some(tests)) => of_tree(tests, args, &target, &judges),
            (None, None) => Err("neither a tree nor objects".to_string()),
        })
        .map_err(|e| fail(Outcome::NotJudged, e))?;
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

/// Judges what was compiled before.
fn of_objects(
    folder: &Path,
    args: &Args,
    judges: &judging::Judges<'_>,
) -> Result<(Vec<Row>, Uncompiled), String> {
    let entries = std::fs::read_dir(folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    let mut objects: Vec<PathBuf> = entries.flatten().map(|e| e.path()).collect();
    objects.retain(|p| p.extension().is_some_and(|e| e == "o") && is_wanted(p, args));
    objects.sort();
    let origin = |o: &Path| format!("progs/{}", name_of(&o.with_extension("c")));
    let rows = objects.par_iter().flat_map_iter(|o| judges.object(&origin(o), o)).collect();
    Ok((rows, Uncompiled::new()))
}

/// Compiles and judges a tree's tests, the older ones too.
fn of_tree(
    tests: &Path,
    args: &Args,
    target: &setup::Target,
    judges: &judging::Judges<'_>,
) -> Result<(Vec<Row>, Uncompiled), String> {
    let tools = Tools {
        clang: args.clang.clone(),
        bpftool: args.bpftool.clone(),
        vmlinux_h: args.vmlinux_h.clone(),
        btf: args.kernel.btf.first().cloned().unwrap_or("/sys/kernel/btf/vmlinux".into()),
    };
    let tree = Tree::prepare(tests, &args.out, &tools)?;
    let mut sources = tree.sources()?;
    sources.retain(|s| is_wanted(s, args));
    let work: Vec<(&PathBuf, &String)> =
        args.cpus.iter().flat_map(|c| sources.iter().map(move |s| (s, c))).collect();
    let compiled: Vec<_> = work.into_par_iter().map(|(s, c)| (s, c, tree.compile(s, c))).collect();
    let mut uncompiled = Uncompiled::new();
    let mut rows: Vec<Row> = compiled
        .par_iter()
        .filter_map(|(s, c, made)| Some((s, c, made.as_ref().ok()?)))
        .flat_map_iter(|(s, c, object)| judges.object(&origin(s, c), object))
        .collect();
    for (source, cpu, made) in &compiled {
        if let Err(why) = made {
            uncompiled.push((origin(source, cpu), why.clone()));
        }
    }
    if !args.no_arrays && args.only.is_none() {
        match arrays::read(&tree, target.vmlinux.as_ref()) {
            Ok(tests) => rows.par_extend(tests.par_iter().flat_map_iter(|t| judges.array(t))),
            Err(why) => uncompiled.push(("test_verifier.c".to_string(), why)),
        }
    }
    Ok((rows, uncompiled))
}

fn is_wanted(path: &Path, args: &Args) -> bool {
    args.only.as_ref().is_none_or(|o| name_of(path).contains(o.as_str()))
}

/// Every run that is otherwise has a reason in the list, and every reason its run.
fn explained(args: &Args, tally: &mut Tally, reasons: &Reasons, engine: EngineKind) -> bool {
    tally.explain(reasons, engine.name());
    // Of a part nobody can tell.
    let own = format!("{} ", engine.name());
    let unused = match args.only {
        Some(_) => Vec::new(),
        // Where a kernel is asked, its answer stands before the annotation.
        None if args.no_kernel => ["any ", &own, "annotation "].map(|s| reasons.unused(s)).concat(),
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
