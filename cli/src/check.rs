//! `bpfassay check`: judge every program of the given objects.

use std::collections::HashSet;
use std::fs;
use std::io::{IsTerminal, Write};
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Instant;

use bpfassay_judge::{
    judge_linked, CheckReport, Judged, Linked, ObjectError, ObjectReport, Options, ProgramReport,
    Summary, Target,
};
use bpfassay_object::model::ProgFlags;
use bpfassay_object::{Loader, MapOverride};
use bpfassay_spec::{AttachType, ProgType};
use bpfassay_verifier::log::LogLevel;
use clap::{ArgAction, ValueEnum};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use rayon::prelude::*;

use crate::classic;
use crate::exit::{fail, Outcome};
use crate::inputs::{self, Input};
use crate::render::{self, Style};
use crate::setup::{self, KernelArgs};

#[derive(clap::Args)]
pub struct Args {
    /// Objects, folders of objects, or `-` for standard input.
    #[arg(required_unless_present = "cbpf", value_name = "PATH")]
    paths: Vec<PathBuf>,
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
    /// Load as this program type, e.g. `xdp` or `cgroup_sock_addr/cgroup_inet4_bind`.
    #[arg(long = "type", value_name = "PROG_TYPE[/ATTACH_TYPE]", value_parser = parse_type)]
    prog_type: Option<(ProgType, Option<AttachType>)>,
    /// Set an attribute of a map as the application would before loading; may be given more than once.  Attributes are
    /// max_entries, key_size, value_size, map_flags, map_extra, numa_node, autocreate, and inner (a map of the object).
    #[arg(long, value_name = "MAP.ATTRIBUTE=VALUE", value_parser = parse_override)]
    map_override: Vec<Override>,
    /// Whose rules decide what is loaded: any (what no loader takes costs its own program), libbpf, cilium, aya or tc.
    #[arg(long, value_name = "LOADER", default_value = "any", value_parser = parse_loader)]
    loader: Loader,
    /// Verifier log to print: 1 the failing path, 2 every path, 4 statistics; may be added up.
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
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
enum Flag {
    StrictAlignment,
    AnyAlignment,
    TestStateFreq,
    TestRegInvariants,
    Sleepable,
    XdpHasFrags,
}

pub(crate) fn parse_type(s: &str) -> Result<(ProgType, Option<AttachType>), String> {
    let (prog, attach) = match s.split_once('/') {
        Some((p, a)) => (p, Some(a)),
        None => (s, None),
    };
    let ty = ProgType::from_name(prog).ok_or_else(|| format!("no program type `{prog}`"))?;
    let attach = match attach {
        Some(a) => Some(AttachType::from_name(a).ok_or_else(|| format!("no attach type `{a}`"))?),
        None => None,
    };
    Ok((ty, attach))
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

fn check(args: &Args) -> Result<Outcome, Outcome> {
    let target = setup::target(&args.kernel)?;
    let inputs = inputs::collect(&args.paths).map_err(|e| fail(Outcome::NotJudged, e))?;
    if inputs.is_empty() && args.cbpf.is_none() {
        return Err(fail(Outcome::NotJudged, "no BPF object found"));
    }
    if let Some(dir) = &args.log_dir {
        fs::create_dir_all(dir)
            .map_err(|e| fail(Outcome::NotJudged, format!("{}: {e}", dir.display())))?;
    }
    let options = options(args);
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(args.jobs.min(crate::exit::MAX_JOBS))
        .build()
        .map_err(|e| fail(Outcome::Internal, e))?;
    let bar = progress(inputs.len() as u64, args.quiet);
    let (mut objects, mut panicked) =
        pool.install(|| judge_all(&inputs, &target, &options, args, &bar));
    bar.finish_and_clear();
    if let Some(file) = &args.cbpf {
        let judged = judge_linked(&classic::program(file)?, &target, &options);
        panicked |= judged.error.is_some();
        objects.push(ObjectReport::of(&file.display().to_string(), Vec::new(), vec![judged]));
    }

    let report = CheckReport::new(&target, objects);
    let summary = report.summary;
    if args.log_level != 0 || args.log_dir.is_some() {
        write_logs(&report, args)?;
    }
    print_report(&report, args)?;
    if panicked {
        return Ok(Outcome::Internal);
    }
    if let Some(name) = unmatched(args, &report) {
        return Ok(fail(Outcome::NotJudged, format!("no program named `{name}`")));
    }
    if let Some(name) = unmatched_map(args, &report) {
        return Ok(fail(Outcome::NotJudged, format!("no map named `{name}`")));
    }
    Ok(match summary.exit_code() {
        0 => Outcome::Ok,
        1 => Outcome::Rejected,
        _ => {
            if summary == Summary::default() {
                fail(Outcome::NotJudged, "no program found");
            }
            Outcome::NotJudged
        }
    })
}

fn options(args: &Args) -> Options {
    let has = |f| args.prog_flags.contains(&f);
    Options {
        flags: ProgFlags {
            strict_alignment: has(Flag::StrictAlignment),
            any_alignment: has(Flag::AnyAlignment),
            test_state_freq: has(Flag::TestStateFreq),
            test_reg_invariants: has(Flag::TestRegInvariants),
            sleepable: has(Flag::Sleepable),
            xdp_has_frags: has(Flag::XdpHasFrags),
            ..ProgFlags::default()
        },
        prog_type: args.prog_type,
        loader: args.loader,
        map_overrides: overrides(&args.map_override),
        log_level: match (&args.log_dir, args.log_level) {
            (Some(_), 0) => LogLevel::LEVEL2,
            (_, n) => LogLevel(n),
        },
        clock: Some(clock),
    }
}

/// A name of `--prog` that no program has.
fn unmatched<'a>(args: &'a Args, report: &CheckReport) -> Option<&'a str> {
    let has = |name: &str| report.objects.iter().flat_map(|o| &o.programs).any(|p| p.name == name);
    args.prog.iter().map(String::as_str).find(|n| !has(n))
}

/// A name of `--map-override` that no map has; one that is not to be created is not in the report.
fn unmatched_map<'a>(args: &'a Args, report: &CheckReport) -> Option<&'a str> {
    let has = |name: &str| report.objects.iter().flat_map(|o| &o.maps).any(|m| m.name == name);
    let created = args.map_override.iter().filter(|(_, attribute, _)| attribute != "autocreate");
    created.map(|(map, _, _)| map.as_str()).find(|n| !has(n))
}

fn judge_all(
    inputs: &[Input],
    target: &Target,
    options: &Options,
    args: &Args,
    bar: &ProgressBar,
) -> (Vec<ObjectReport>, bool) {
    let judged: Vec<(ObjectReport, bool)> = inputs
        .par_iter()
        .map(|input| {
            let guarded =
                catch_unwind(AssertUnwindSafe(|| judge_object(input, target, options, args)));
            bar.inc(1);
            match guarded {
                Ok(done) => done,
                Err(cause) => (broken(input, ObjectError::internal(&*cause)), true),
            }
        })
        .collect();
    let panicked = judged.iter().any(|(_, p)| *p);
    (judged.into_iter().map(|(o, _)| o).collect(), panicked)
}

fn judge_object(
    input: &Input,
    target: &Target,
    options: &Options,
    args: &Args,
) -> (ObjectReport, bool) {
    let bytes = match input.read() {
        Ok(b) => b,
        Err(e) => return (broken(input, ObjectError::io(e)), false),
    };
    let Linked { entries, maps } = match target.load_with(&bytes, &input.display(), options) {
        Ok(linked) => linked,
        Err(error) => return (broken(input, error), false),
    };
    let wanted = |name: &str| args.prog.is_empty() || args.prog.iter().any(|p| p == name);
    let judged: Vec<Judged> =
        entries.par_iter().filter(|e| wanted(&e.name)).map(|e| e.judge(target, options)).collect();
    let panicked = judged.iter().any(|j| j.error.as_ref().is_some_and(ObjectError::is_internal));
    (ObjectReport::of(&input.display(), maps, judged), panicked)
}

fn broken(input: &Input, error: ObjectError) -> ObjectReport {
    ObjectReport::unread(&input.display(), error)
}

/// Microseconds since the first call.
fn clock() -> u64 {
    static START: OnceLock<Instant> = OnceLock::new();
    START.get_or_init(Instant::now).elapsed().as_micros() as u64
}

/// A bar on standard error where a person looks on and the work is more than a moment.
pub(crate) fn progress(len: u64, quiet: bool) -> ProgressBar {
    if quiet || len < 8 || !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::with_draw_target(Some(len), ProgressDrawTarget::stderr());
    if let Ok(style) = ProgressStyle::with_template("{bar:30} {pos}/{len} objects") {
        bar.set_style(style);
    }
    bar
}

fn write_logs(report: &CheckReport, args: &Args) -> Result<(), Outcome> {
    let mut taken = HashSet::new();
    for object in &report.objects {
        for program in &object.programs {
            match &args.log_dir {
                Some(dir) => write_log(dir, object, program, &mut taken)?,
                None if args.format == Format::Text => {
                    emit(&format!("== {} {}\n{}", object.path, program.name, program.detail.log))?
                }
                None => {}
            }
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
    let path = dir.join(name);
    fs::write(&path, &program.detail.log)
        .map_err(|e| fail(Outcome::NotJudged, format!("{}: {e}", path.display())))
}

fn print_report(report: &CheckReport, args: &Args) -> Result<(), Outcome> {
    let text = match args.format {
        Format::Json => report.to_json(),
        Format::Text => {
            let verbosity = if args.quiet { -1 } else { args.verbose.min(9) as i8 };
            let colour = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
            render::text(report, Style { colour, verbosity })
        }
    };
    emit(&text)
}

/// Writes to standard output; a closed pipe ends the output, not the verdict.
pub(crate) fn emit(text: &str) -> Result<(), Outcome> {
    match std::io::stdout().lock().write_all(text.as_bytes()) {
        Err(e) if e.kind() != std::io::ErrorKind::BrokenPipe => Err(fail(Outcome::NotJudged, e)),
        _ => Ok(()),
    }
}
