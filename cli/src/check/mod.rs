//! `bpfassay check`: judge every program of the given objects.

use std::collections::HashSet;
use std::fs;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use bpfassay_ci::files::MAX_PROFILE;
use bpfassay_ci::gate::config::Variant;
use bpfassay_ci::gate::of_check::of_check;
use bpfassay_ci::gate::programs::attach_program;
use bpfassay_ci::report::{self, Places};
use bpfassay_judge::plan::Plan;
use bpfassay_judge::{
    judge_linked, open, CheckReport, Entry, Judged, Linked, ObjectError, ObjectReport, Options,
    ProgramReport, Summary, Target,
};
use bpfassay_object::model::ProgFlags;
use bpfassay_object::{Loader, MapOverride, ProgramOverride};
use bpfassay_verifier::log::LogLevel;
use clap::{ArgAction, ValueEnum};
use rayon::prelude::*;

use crate::classic;
use crate::exit::{fail, Outcome};
use crate::fleet;
use crate::inputs::{self, Input};
use crate::out;
use crate::progress::Progress;
use crate::setup::{self, Assignments, KernelArgs};

mod render;
mod select;

#[derive(clap::Args)]
#[command(after_help = "Examples:
  bpfassay check prog.o
  bpfassay check --kernel 6.1,6.12,7.3 prog.o
  bpfassay check --profile fleet.json --format json build/
  bpfassay check --type parse=xdp --attach-target trace=do_unlinkat prog.o
  bpfassay check --filter 'verdict!=accepted' --sort=-processed build/
  bpfassay check --format sarif build/ > bpf.sarif")]
pub struct Args {
    /// Objects, folders of objects, or `-` for standard input.
    #[arg(required_unless_present_any = ["cbpf", "plan"], value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// What a loader handed to a kernel, as `record --exec` noted it; may be given more than once.
    #[arg(long, value_name = "FILE")]
    plan: Vec<PathBuf>,
    /// Classic filter, as `tcpdump -dd` or `-ddd` prints it: the classic rules, then its eBPF form.
    #[arg(long, value_name = "FILE")]
    cbpf: Option<PathBuf>,
    #[command(flatten)]
    kernel: KernelArgs,
    /// Judge only programs of this name; may be given more than once.
    #[arg(long, value_name = "NAME")]
    prog: Vec<String>,
    /// Flags to load every program with, separated by commas.
    #[arg(long, value_name = "FLAGS", value_delimiter = ',')]
    prog_flags: Vec<Flag>,
    /// Load as this program type, e.g. `xdp` or `cgroup_sock_addr/cgroup_inet4_bind`: every program, or the one
    /// named before the `=`; may be given more than once.
    #[arg(long = "type", value_name = "[PROG=]TYPE[/ATTACH_TYPE]", value_parser = parse_type)]
    prog_type: Vec<Set>,
    /// Verify against this function or hook in place of the section's (`fentry/XXX`, `fentry`), as every program's or
    /// one's; `module:function` names a module's, `OBJ:PROG` or `OBJ:PROG:FUNCTION` one of another program, which
    /// `freplace` needs.  May be given more than once.
    #[arg(long, value_name = "[PROG=]FUNCTION", value_parser = parse_target)]
    attach_target: Vec<Set>,
    /// Set a global variable of the object that `--attach-target` names, as its own loader does, e.g.
    /// `conf.num_progs_enabled=1` of a dispatcher.
    #[arg(long, value_name = "[SECTION.]NAME=VALUE", requires = "attach_target")]
    attach_set: Vec<String>,
    /// Set an attribute of a map as the application would before loading; may be given more than once.  Attributes are
    /// max_entries, key_size, value_size, map_flags, map_extra, numa_node, autocreate, and inner (a map of the object).
    #[arg(long, value_name = "MAP.ATTRIBUTE=VALUE", value_parser = parse_override)]
    map_override: Vec<Override>,
    #[command(flatten)]
    set: Assignments,
    /// Whose rules decide what is loaded: any (what no loader takes costs its own program), libbpf, cilium, aya or tc.
    #[arg(long, value_name = "LOADER", default_value = "any", value_parser = parse_loader)]
    loader: Loader,
    /// Verifier log to print: 1 the failing path, 2 every path, 4 statistics; may be added up.  In JSON it is `log`.
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..8))]
    log_level: u32,
    /// Write each program's log to a file in this folder instead.
    #[arg(long, value_name = "DIR")]
    log_dir: Option<PathBuf>,
    /// Programs judged at once; 0 means one per processor.
    #[arg(long, short, value_name = "N", default_value_t = 0)]
    jobs: usize,
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
    /// Show only programs for which this holds, e.g. `verdict=rejected`, `program!=test_*`, `processed>10000`; may be
    /// given more than once.  Text only: other formats and the exit status cover everything.
    #[arg(long, value_name = "COLUMN=VALUE", value_parser = select::Filter::parse)]
    filter: Vec<select::Filter>,
    /// Order the table by this column, with a `-` before it from the greatest down: verdict, object, program, type,
    /// insns, processed, states, stack or time.
    #[arg(long, value_name = "[-]COLUMN", value_parser = select::Sort::parse, allow_hyphen_values = true)]
    sort: Option<select::Sort>,
    /// Print no table, only what was not accepted.
    #[arg(long, short, conflicts_with = "verbose")]
    quiet: bool,
    /// Print notes and times as well.
    #[arg(long, short, action = ArgAction::Count)]
    verbose: u8,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Text,
    Json,
    /// SARIF 2.1.0, for code scanning and editors.
    Sarif,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
pub(crate) enum Flag {
    StrictAlignment,
    AnyAlignment,
    TestStateFreq,
    TestRegInvariants,
    Sleepable,
    XdpHasFrags,
}

impl Flag {
    /// Bits of `prog_flags`.
    pub(crate) fn bits(flags: &[Flag]) -> u32 {
        let bit = |flag: &Flag| match flag {
            Flag::StrictAlignment => 1,
            Flag::AnyAlignment => 1 << 1,
            Flag::TestStateFreq => 1 << 3,
            Flag::Sleepable => 1 << 4,
            Flag::XdpHasFrags => 1 << 5,
            Flag::TestRegInvariants => 1 << 7,
        };
        flags.iter().map(bit).fold(0, |all, bit| all | bit)
    }
}

/// Something set of the program named, or of all.
pub(crate) type Set = (Option<String>, ProgramOverride);

/// `[PROG=]REST`; a program's name holds no `=`.
fn of_program(s: &str) -> (Option<String>, &str) {
    match s.split_once('=') {
        Some((name, rest)) => (Some(name.to_string()), rest),
        None => (None, s),
    }
}

pub(crate) fn parse_type(s: &str) -> Result<Set, String> {
    let (name, ty) = of_program(s);
    let prog_type = Some(ProgramOverride::parse_type(ty)?);
    Ok((name, ProgramOverride { prog_type, ..ProgramOverride::default() }))
}

pub(crate) fn parse_target(s: &str) -> Result<Set, String> {
    let (name, target) = of_program(s);
    match target {
        "" => Err("lacks a function".to_string()),
        target => {
            let attach_program = attach_program(target, Path::new(""))?;
            let attach_target = attach_program.is_none().then(|| target.to_string());
            Ok((name, ProgramOverride { prog_type: None, attach_target, attach_program }))
        }
    }
}

/// What is set of programs: of all first, then of those named.  `in_targets` are values in the objects that
/// programs attach to.
pub(crate) fn program_overrides(
    types: &[Set],
    targets: &[Set],
    in_targets: &[String],
) -> Result<Vec<Set>, Outcome> {
    let mut all: Vec<Set> = types.iter().chain(targets).cloned().collect();
    all.sort_by_key(|(name, _)| name.is_some());
    if let Some(shape) = setup::of_assignments("--attach-set", in_targets)? {
        for of in all.iter_mut().filter_map(|(_, to)| to.attach_program.as_mut()) {
            let set = setup::in_shape((*of.object).clone(), &shape);
            let set = set.map_err(|why| fail(Outcome::Usage, format!("--attach-set: {why}")))?;
            of.object = Arc::new(set);
        }
    }
    Ok(all)
}

/// A map's name, an attribute, and its value as text.
pub(crate) type Override = (String, String, String);

pub(crate) fn parse_override(s: &str) -> Result<Override, String> {
    let (left, value) = s.split_once('=').ok_or("lacks `=`: MAP.ATTRIBUTE=VALUE")?;
    let (map, name) = left.rsplit_once('.').ok_or("lacks `.`: MAP.ATTRIBUTE=VALUE")?;
    MapOverride::default().set(name, value)?;
    Ok((map.to_string(), name.to_string(), value.to_string()))
}

/// Overrides by map, in the order given.
pub(crate) fn overrides(given: &[Override]) -> Vec<(String, MapOverride)> {
    let mut out: Vec<(String, MapOverride)> = Vec::new();
    for (map, name, value) in given {
        let at = out.iter().position(|(m, _)| m == map).unwrap_or_else(|| {
            out.push((map.clone(), MapOverride::default()));
            out.len() - 1
        });
        // The parser has seen that it fits.
        let _ = out[at].1.set(name, value);
    }
    out
}

pub(crate) fn parse_loader(s: &str) -> Result<Loader, String> {
    let known = || Loader::ALL.map(|(name, _)| name).join(", ");
    Loader::from_name(s).ok_or_else(|| format!("no loader `{s}`; known are {}", known()))
}

pub fn run(args: Args) -> Outcome {
    match check(&args) {
        Ok(outcome) | Err(outcome) => outcome,
    }
}

/// Several kernels: the table of `bpfassay fleet`, which knows fewer options.
fn on_several(args: &Args) -> Result<Outcome, Outcome> {
    let a = args;
    let only_for_one = [
        (a.kernel.profile.is_some() || !a.kernel.btf.is_empty(), "--profile and --btf"),
        (a.kernel.possible_cpus.is_some(), "--possible-cpus"),
        (a.cbpf.is_some(), "--cbpf"),
        (!a.plan.is_empty(), "--plan"),
        (!a.prog_flags.is_empty(), "--prog-flags"),
        (a.set.variant()?.is_some(), "--set"),
        (a.log_level != 0 || a.log_dir.is_some(), "--log-level and --log-dir"),
        (!a.filter.is_empty() || a.sort.is_some(), "--filter and --sort"),
        (a.verbose > 0, "--verbose"),
        (a.format == Format::Sarif, "--format sarif"),
    ];
    if let Some((_, option)) = only_for_one.iter().find(|(given, _)| *given) {
        return Err(fail(Outcome::Usage, format!("{option}: for one kernel only")));
    }
    Ok(fleet::run(fleet::Args {
        paths: a.paths.clone(),
        kernels: a.kernel.kernel.clone(),
        arch: a.kernel.arch,
        profile: Vec::new(),
        minimum: false,
        prog: a.prog.clone(),
        prog_type: a.prog_type.clone(),
        attach_target: a.attach_target.clone(),
        attach_set: a.attach_set.clone(),
        map_override: a.map_override.clone(),
        loader: a.loader,
        jobs: a.jobs,
        format: if a.format == Format::Json { fleet::Format::Json } else { fleet::Format::Text },
        quiet: a.quiet,
    }))
}

fn check(args: &Args) -> Result<Outcome, Outcome> {
    if args.kernel.kernel.len() > 1 {
        return on_several(args);
    }
    if args.format == Format::Json {
        out::expect_json(bpfassay_judge::SCHEMA);
    }
    let target = setup::target(&args.kernel)?;
    let inputs = inputs::collect(&args.paths);
    if inputs.is_empty() && args.cbpf.is_none() && args.plan.is_empty() {
        return Err(fail(Outcome::NotJudged, "no BPF object found"));
    }
    let job = Job { args, target: &target, options: options(args)?, shape: args.set.variant()? };
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(args.jobs.min(crate::exit::MAX_JOBS))
        .build()
        .map_err(|e| fail(Outcome::Internal, e))?;
    let bar = Progress::of("objects", Some(inputs.len() as u64), args.quiet);
    let (mut objects, mut panicked) = pool.install(|| judge_all(&inputs, &job, &bar));
    drop(bar);
    if let Some(file) = &args.cbpf {
        let judged = judge_linked(&of_type(classic::program(file)?, args), &target, &job.options);
        panicked |= judged.error.is_some();
        objects.push(ObjectReport::of(&file.display().to_string(), Vec::new(), vec![judged]));
    }
    for file in &args.plan {
        let (object, failed) = pool.install(|| planned(file, &job))?;
        panicked |= failed;
        objects.push(object);
    }
    for program in objects.iter_mut().flat_map(|o| &mut o.programs) {
        program.log = (args.log_level != 0).then(|| program.detail.log.clone());
    }

    let report = CheckReport::new(&target, objects);
    let outcome = match report.summary.exit_code() {
        0 => Outcome::Ok,
        1 => Outcome::Rejected,
        _ => Outcome::NotJudged,
    };
    // The report is written whatever becomes of the logs.
    let logged = args.log_dir.as_ref().map_or(Ok(()), |dir| write_logs(dir, &report));
    let outcome = print_report(&report, args, outcome);
    let outcome = outcome.and(logged.err().unwrap_or(Outcome::Ok));
    if panicked {
        return Ok(Outcome::Internal);
    }
    if let Some(what) = unmatched(args, &report) {
        return Ok(fail(Outcome::NotJudged, what));
    }
    if report.summary == Summary::default() {
        fail(Outcome::NotJudged, "no program found");
    }
    Ok(outcome)
}

/// The programs of a plan, and whether an internal error was caught.
fn planned(file: &Path, job: &Job<'_>) -> Result<(ObjectReport, bool), Outcome> {
    let wrong = |e: String| fail(Outcome::NotJudged, format!("{}: {e}", file.display()));
    let text = inputs::read(file, MAX_PROFILE)?;
    let text = String::from_utf8(text).map_err(|e| wrong(e.to_string()))?;
    let linked = Plan::parse(&text).map_err(wrong)?.link(job.target);
    let wanted = |e: &&Entry| job.args.prog.is_empty() || job.args.prog.contains(&e.name);
    let judged: Vec<Judged> = linked
        .entries
        .par_iter()
        .filter(wanted)
        .map(|e| e.judge(job.target, &job.options))
        .collect();
    let failed = judged.iter().any(|j| j.error.as_ref().is_some_and(ObjectError::is_internal));
    Ok((ObjectReport::of(&file.display().to_string(), linked.maps, judged), failed))
}

/// Everything that judging an object needs.
struct Job<'a> {
    args: &'a Args,
    target: &'a Target,
    options: Options,
    shape: Option<Variant>,
}

/// A filter has no section: its type is what `--type` says of all programs.
fn of_type(
    mut program: bpfassay_object::model::Program,
    args: &Args,
) -> bpfassay_object::model::Program {
    let all = args.prog_type.iter().filter(|(name, _)| name.is_none());
    if let Some((prog_type, attach)) = all.filter_map(|(_, to)| to.prog_type).next_back() {
        (program.prog_type, program.expected_attach_type) = (prog_type, attach);
    }
    program
}

fn options(args: &Args) -> Result<Options, Outcome> {
    Ok(Options {
        flags: ProgFlags::default().with_bits(Flag::bits(&args.prog_flags)),
        program_overrides: program_overrides(
            &args.prog_type,
            &args.attach_target,
            &args.attach_set,
        )?,
        loader: args.loader,
        map_overrides: overrides(&args.map_override),
        log_level: match (&args.log_dir, args.log_level) {
            (Some(_), 0) => LogLevel::LEVEL2,
            (_, n) => LogLevel(n),
        },
        explain: args.format != Format::Json,
        clock: Some(clock),
    })
}

/// A name on the command line that no program or map has; a map that is not to be created is not in the report.
fn unmatched(args: &Args, report: &CheckReport) -> Option<String> {
    let programs = || report.objects.iter().flat_map(|o| &o.programs);
    let sets = args.prog_type.iter().chain(&args.attach_target);
    let sets = sets.filter(|_| args.prog.is_empty()).filter_map(|(name, _)| name.as_deref());
    let mut named = args.prog.iter().map(String::as_str).chain(sets);
    if let Some(name) = named.find(|n| !programs().any(|p| p.name == *n)) {
        return Some(format!("no program named `{name}`"));
    }
    let has = |name: &str| report.objects.iter().flat_map(|o| &o.maps).any(|m| m.name == name);
    let created = args.map_override.iter().filter(|(_, attribute, _)| attribute != "autocreate");
    let name = created.map(|(map, _, _)| map.as_str()).find(|n| !has(n))?;
    Some(format!("no map named `{name}`"))
}

fn judge_all(inputs: &[Input], job: &Job<'_>, bar: &Progress) -> (Vec<ObjectReport>, bool) {
    let judged: Vec<(ObjectReport, bool)> = inputs
        .par_iter()
        .map(|input| {
            let guarded = catch_unwind(AssertUnwindSafe(|| judge_object(input, job)));
            bar.step();
            match guarded {
                Ok(done) => done,
                Err(cause) => (broken(input, ObjectError::internal(&*cause)), true),
            }
        })
        .collect();
    let panicked = judged.iter().any(|(_, p)| *p);
    (judged.into_iter().map(|(o, _)| o).collect(), panicked)
}

fn judge_object(input: &Input, job: &Job<'_>) -> (ObjectReport, bool) {
    let Linked { entries, maps } = match linked(input, job) {
        Ok(linked) => linked,
        Err(error) => return (broken(input, error), false),
    };
    let wanted = |name: &str| job.args.prog.is_empty() || job.args.prog.iter().any(|p| p == name);
    let judged: Vec<Judged> = entries
        .par_iter()
        .filter(|e| wanted(&e.name))
        .map(|e| e.judge(job.target, &job.options))
        .collect();
    let panicked = judged.iter().any(|j| j.error.as_ref().is_some_and(ObjectError::is_internal));
    (ObjectReport::of(&input.display(), maps, judged), panicked)
}

fn linked(input: &Input, job: &Job<'_>) -> Result<Linked, ObjectError> {
    let bytes = input.read().map_err(ObjectError::io)?;
    let mut opened = open(&bytes, &input.display(), &job.options)?;
    if let Some(shape) = &job.shape {
        opened = setup::in_shape(opened, shape)
            .map_err(|why| ObjectError { kind: "variable".to_string(), message: why })?;
    }
    Ok(job.target.link_with_maps(&opened))
}

fn broken(input: &Input, error: ObjectError) -> ObjectReport {
    ObjectReport::unread(&input.display(), error)
}

/// Microseconds since the first call.
fn clock() -> u64 {
    static START: OnceLock<Instant> = OnceLock::new();
    START.get_or_init(Instant::now).elapsed().as_micros() as u64
}

fn write_logs(dir: &Path, report: &CheckReport) -> Result<(), Outcome> {
    fs::create_dir_all(dir)
        .map_err(|e| fail(Outcome::NotJudged, format!("{}: {e}", dir.display())))?;
    let mut taken = HashSet::new();
    for object in &report.objects {
        for program in &object.programs {
            write_log(dir, object, program, &mut taken)?;
        }
    }
    Ok(())
}

/// `OBJECT.PROGRAM.log`, the next one of that name `OBJECT.PROGRAM.2.log`.
fn write_log(
    dir: &Path,
    object: &ObjectReport,
    program: &ProgramReport,
    taken: &mut HashSet<String>,
) -> Result<(), Outcome> {
    let stem = object.path.rsplit(['/', '\\']).next().unwrap_or(&object.path);
    let base = format!("{stem}.{}", program.name).replace(['/', '\\'], "_");
    let mut name = format!("{base}.log");
    let mut number = 2;
    while !taken.insert(name.clone()) {
        name = format!("{base}.{number}.log");
        number += 1;
    }
    out::file(&dir.join(name), &program.detail.log)
}

fn print_report(report: &CheckReport, args: &Args, outcome: Outcome) -> Outcome {
    match args.format {
        Format::Json => out::machine(report.to_json().as_bytes(), outcome),
        Format::Sarif => {
            let here = std::env::current_dir();
            let places = here.map_or_else(|_| Places::default(), |d| Places::below(&d));
            let gate = of_check(report);
            match report::render(&gate, report::Format::Sarif, &places, report::Paper::default()) {
                Ok(text) => out::machine(text.as_bytes(), outcome),
                Err(e) => fail(Outcome::Internal, e),
            }
        }
        Format::Text => {
            let verbosity = if args.quiet { -1 } else { args.verbose.min(9) as i8 };
            let shown = select::select(&report.objects, &args.filter, args.sort);
            let outcome = match args.log_level != 0 && args.log_dir.is_none() {
                true => out::text(&logs(&shown), outcome),
                false => outcome,
            };
            let is_all = args.filter.is_empty();
            let text =
                |paper| render::text(report, &shown, render::Style { paper, verbosity, is_all });
            out::people(text, outcome)
        }
    }
}

fn logs(shown: &[(&ObjectReport, &ProgramReport)]) -> String {
    let one = |(o, p): &(&ObjectReport, &ProgramReport)| {
        format!("== {} {}\n{}", o.path, p.name, p.detail.log)
    };
    shown.iter().map(one).collect()
}
