//! `bpfassay fleet`: the same programs on every kernel, side by side.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;

use bpfassay_ci::report::Paper;
use bpfassay_judge::{
    open, Cell, Fleet, FleetProgram, FleetReport, ObjectError, Options, Target, Unread,
    VerdictWord, FLEET_SCHEMA,
};
use bpfassay_object::{Loader, Opened};
use bpfassay_spec::Release;
use clap::ValueEnum;
use rayon::prelude::*;
use serde::Serialize;

use crate::check::{self, Override, Set};
use crate::exit::{fail, Outcome};
use crate::inputs::{self, Input};
use crate::out;
use crate::progress::Progress;
use crate::setup::{self, Arch};

#[derive(clap::Args)]
#[command(after_help = "Examples:
  bpfassay fleet build/
  bpfassay fleet --kernels 6.12,6.18 --profile fleet.json --minimum prog.o")]
pub struct Args {
    /// Objects, folders of objects, or `-` for standard input.
    #[arg(required = true, value_name = "PATH")]
    pub paths: Vec<PathBuf>,
    /// Kernels to ask, separated by commas; without it, every kernel that is served.
    #[arg(long, value_name = "RELEASE", value_delimiter = ',', alias = "kernel")]
    pub kernels: Vec<String>,
    /// Processor of the kernels; a name that ends in `-arm64` says so itself.
    #[arg(long, value_enum, default_value_t = Arch::X86_64)]
    pub arch: Arch,
    /// Profile of one more kernel, as `record --profile` or `profile` writes it; may be given more than once.
    #[arg(long, value_name = "FILE")]
    pub profile: Vec<PathBuf>,
    /// Name the oldest of the kernels that takes every program, and what keeps the older ones from it.
    #[arg(long)]
    pub minimum: bool,
    /// Judge only programs of this name; may be given more than once.
    #[arg(long, value_name = "NAME")]
    pub prog: Vec<String>,
    /// Load as this program type: every program, or the one named before the `=`; may be given more than once.
    #[arg(long = "type", value_name = "[PROG=]TYPE[/ATTACH_TYPE]", value_parser = check::parse_type)]
    pub prog_type: Vec<Set>,
    /// Verify against this function or hook in place of the section's, as every program's or one's; `OBJ:PROG` or
    /// `OBJ:PROG:FUNCTION` names one of another program.
    #[arg(long, value_name = "[PROG=]FUNCTION", value_parser = check::parse_target)]
    pub attach_target: Vec<Set>,
    /// Set a global variable of the object that `--attach-target` names.
    #[arg(long, value_name = "[SECTION.]NAME=VALUE", requires = "attach_target")]
    pub attach_set: Vec<String>,
    /// Set an attribute of a map as the application would before loading; may be given more than once.
    #[arg(long, value_name = "MAP.ATTRIBUTE=VALUE", value_parser = check::parse_override)]
    pub map_override: Vec<Override>,
    /// Whose rules decide what is loaded: any, libbpf, cilium, aya or tc.
    #[arg(long, value_name = "LOADER", default_value = "any", value_parser = check::parse_loader)]
    pub loader: Loader,
    /// Objects and kernels judged at once; 0 means one per processor.
    #[arg(long, short, value_name = "N", default_value_t = 0)]
    pub jobs: usize,
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub format: Format,
    /// Print the flips and the summary, no table.
    #[arg(long, short)]
    pub quiet: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    Text,
    Json,
}

pub fn run(args: Args) -> Outcome {
    match fleet(&args) {
        Ok(outcome) | Err(outcome) => outcome,
    }
}

fn fleet(args: &Args) -> Result<Outcome, Outcome> {
    if args.format == Format::Json {
        out::expect_json(FLEET_SCHEMA);
    }
    let inputs = inputs::collect(&args.paths);
    if inputs.is_empty() {
        return Err(fail(Outcome::NotJudged, "no BPF object found"));
    }
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(args.jobs.min(crate::exit::MAX_JOBS))
        .build()
        .map_err(|e| fail(Outcome::Internal, e))?;
    let fleet = Fleet::new(pool.install(|| targets(args))?);
    let options = Options {
        program_overrides: check::program_overrides(
            &args.prog_type,
            &args.attach_target,
            &args.attach_set,
        )?,
        loader: args.loader,
        map_overrides: check::overrides(&args.map_override),
        ..Options::default()
    };
    let bar = Progress::of("objects", Some(inputs.len() as u64), args.quiet);
    let judged: Vec<_> = pool.install(|| {
        let one = |input: &Input| {
            let done = judge(input, &fleet, &options);
            bar.step();
            (input.display(), done)
        };
        inputs.par_iter().map(one).collect()
    });
    drop(bar);
    let report = report(&fleet, judged, args);
    if let Some(name) = args.prog.iter().find(|n| !report.programs.iter().any(|p| p.name == **n)) {
        return Err(fail(Outcome::NotJudged, format!("no program named `{name}`")));
    }
    let minimum = args.minimum.then(|| Minimum::of(&report));
    let outcome = outcome(&report);
    Ok(match args.format {
        Format::Json => out::machine(json(&report, minimum.as_ref()).as_bytes(), outcome),
        Format::Text => {
            out::people(|paper| text(&fleet, &report, minimum.as_ref(), args.quiet, paper), outcome)
        }
    })
}

/// The kernels asked for, oldest first.
fn targets(args: &Args) -> Result<Vec<Target>, Outcome> {
    let names: Vec<String> = match args.kernels.is_empty() && args.profile.is_empty() {
        true => Target::served_names(args.arch.name()),
        false => args.kernels.clone(),
    };
    let served = names.par_iter().map(|n| setup::served_for(n, args.arch));
    let profiles = args.profile.par_iter().map(|p| setup::of_profile(p));
    let mut targets = served.chain(profiles).collect::<Result<Vec<_>, _>>()?;
    targets.sort_by_key(|t| Release::parse(&t.kernel.release));
    targets.dedup_by(|a, b| a.label() == b.label() && a.btf_hash == b.btf_hash);
    Ok(targets)
}

fn judge(
    input: &Input,
    fleet: &Fleet,
    options: &Options,
) -> Result<Vec<FleetProgram>, ObjectError> {
    let bytes = input.read().map_err(ObjectError::io)?;
    let path = input.display();
    let opened: Opened = open(&bytes, &path, options)?;
    let columns: Vec<_> =
        fleet.targets().par_iter().map(|t| fleet.column(&opened, &path, t, options)).collect();
    Ok(fleet.rows(&opened, &path, &columns, options))
}

fn report(
    fleet: &Fleet,
    judged: Vec<(String, Result<Vec<FleetProgram>, ObjectError>)>,
    args: &Args,
) -> FleetReport {
    let wanted = |p: &FleetProgram| args.prog.is_empty() || args.prog.contains(&p.name);
    let (mut programs, mut unread) = (Vec::new(), Vec::new());
    for (object, done) in judged {
        match done {
            Ok(rows) => programs.extend(rows.into_iter().filter(wanted)),
            Err(error) => unread.push(Unread { object, error }),
        }
    }
    let kernels = fleet.targets().iter().map(Target::label).collect();
    FleetReport { schema: FLEET_SCHEMA, kernels, programs, unread }
}

fn outcome(report: &FleetReport) -> Outcome {
    let has =
        |v: VerdictWord| report.programs.iter().flat_map(|p| &p.cells).any(|c| c.verdict == v);
    if has(VerdictWord::Rejected) {
        return Outcome::Rejected;
    }
    if report.programs.is_empty() && report.unread.is_empty() {
        return fail(Outcome::NotJudged, "no program found");
    }
    match has(VerdictWord::Unsupported) || !report.unread.is_empty() {
        true => Outcome::NotJudged,
        false => Outcome::Ok,
    }
}

/// The oldest kernel that takes every program.
#[derive(Serialize)]
struct Minimum {
    /// None where no kernel takes them all.
    kernel: Option<String>,
    /// Later kernels that do not.
    but_not: Vec<String>,
    /// Programs that the kernel before it does not take.
    bound_by: Vec<Bound>,
}

#[derive(Serialize)]
struct Bound {
    object: String,
    program: String,
    kernel: String,
    message: Option<String>,
}

impl Minimum {
    fn of(report: &FleetReport) -> Minimum {
        let takes =
            |k: usize| report.programs.iter().all(|p| p.cells[k].verdict == VerdictWord::Accepted);
        let taken: Vec<bool> = (0..report.kernels.len()).map(takes).collect();
        let oldest = taken.iter().position(|t| *t);
        // What stands in the way: of the kernel before, or of the newest where none takes them all.
        let before = oldest.unwrap_or(report.kernels.len()).checked_sub(1);
        let bound = |p: &FleetProgram| {
            let cell = p.cells.get(before?)?;
            (cell.verdict != VerdictWord::Accepted).then(|| Bound {
                object: p.object.clone(),
                program: p.name.clone(),
                kernel: cell.kernel.clone(),
                message: cell.message.clone(),
            })
        };
        let later = oldest.map_or(report.kernels.len(), |o| o + 1);
        let but_not = (later..report.kernels.len()).filter(|k| !taken[*k]);
        Minimum {
            kernel: oldest.map(|k| report.kernels[k].clone()),
            but_not: but_not.map(|k| report.kernels[k].clone()).collect(),
            bound_by: report.programs.iter().filter_map(bound).collect(),
        }
    }

    fn text(&self, out: &mut String) {
        match &self.kernel {
            Some(kernel) => {
                let _ = write!(out, "oldest kernel that takes every program: {kernel}");
                if !self.but_not.is_empty() {
                    let _ = write!(out, " (but not {})", self.but_not.join(", "));
                }
                out.push('\n');
            }
            None => out.push_str("no kernel asked takes every program\n"),
        }
        for b in &self.bound_by {
            let message = b.message.as_deref().unwrap_or("refused without a log");
            let _ =
                writeln!(out, "  {} refuses {} of {}: {message}", b.kernel, b.program, b.object);
        }
    }
}

#[derive(Serialize)]
struct WithMinimum<'a> {
    #[serde(flatten)]
    report: &'a FleetReport,
    #[serde(skip_serializing_if = "Option::is_none")]
    minimum: Option<&'a Minimum>,
}

fn json(report: &FleetReport, minimum: Option<&Minimum>) -> String {
    let mut text =
        serde_json::to_string_pretty(&WithMinimum { report, minimum }).unwrap_or_default();
    text.push('\n');
    text
}

fn text(
    fleet: &Fleet,
    report: &FleetReport,
    minimum: Option<&Minimum>,
    quiet: bool,
    paper: Paper,
) -> String {
    let mut out = String::new();
    for Unread { object, error } in &report.unread {
        let _ = writeln!(out, "{object}: cannot be read: {}", error.message);
    }
    if report.programs.is_empty() {
        return out;
    }
    if !quiet {
        table(report, &mut out);
    }
    out.push_str(&out::folded(&flips(report), paper));
    if let Some(minimum) = minimum {
        minimum.text(&mut out);
    }
    summary(report, &mut out);
    for target in fleet.targets() {
        for line in &target.assumed {
            let _ = writeln!(out, "{}: {line}", target.label());
        }
    }
    out
}

/// Programs by kernels; a figure is an accepted program's processed instructions.
fn table(report: &FleetReport, out: &mut String) {
    let name = |p: &FleetProgram| format!("  {}", p.name);
    let first = report.programs.iter().map(|p| name(p).chars().count()).max().unwrap_or(0);
    let cell = |c: &Cell| match c.verdict {
        VerdictWord::Accepted => c.insns_processed.to_string(),
        VerdictWord::Rejected => "no".to_string(),
        VerdictWord::Unsupported => "?".to_string(),
    };
    let widths: Vec<usize> = (0..report.kernels.len())
        .map(|k| {
            let cells = report.programs.iter().map(|p| cell(&p.cells[k]).len());
            cells.chain([report.kernels[k].len()]).max().unwrap_or(0)
        })
        .collect();
    let mut row = |head: &str, cells: Vec<String>| {
        let mut line = format!("{head:<first$}");
        for (cell, width) in cells.iter().zip(&widths) {
            let _ = write!(line, "  {cell:>width$}");
        }
        let _ = writeln!(out, "{}", line.trim_end());
    };
    row("", report.kernels.clone());
    let mut object = "";
    for p in &report.programs {
        if p.object != object {
            object = &p.object;
            row(object, Vec::new());
        }
        row(&name(p), p.cells.iter().map(cell).collect());
    }
    out.push_str("figure: accepted, instructions processed; no: rejected; ?: cannot be judged\n\n");
}

/// Every cause once, with the programs it turns.
fn flips(report: &FleetReport) -> String {
    let mut out = String::new();
    type Key<'a> = (&'a str, &'a str, &'a str, bool);
    /// A cause and the cells that it turns, in the order in which they are met.
    type Cause<'a> = (Key<'a>, Vec<(&'a FleetProgram, &'a Cell)>);
    let mut causes: BTreeMap<usize, Cause<'_>> = BTreeMap::new();
    for p in &report.programs {
        for c in &p.cells {
            let Some(flip) = &c.flip else { continue };
            let key = (
                flip.against.as_str(),
                c.kernel.as_str(),
                flip.by.as_str(),
                c.verdict == VerdictWord::Accepted,
            );
            let at = causes.iter().find(|(_, (k, _))| *k == key).map(|(n, _)| *n);
            let at = at.unwrap_or(causes.len());
            causes.entry(at).or_insert((key, Vec::new())).1.push((p, c));
        }
    }
    for ((against, kernel, by, accepted), programs) in causes.values() {
        let turn = if *accepted { "rejected, then accepted" } else { "accepted, then rejected" };
        let kind = programs.first().and_then(|(_, c)| c.flip.as_ref()).map_or("", |f| f.kind);
        let _ = writeln!(out, "{against} -> {kernel}: {turn}, by {by} ({kind})");
        // What all of them have in common is said once.
        let flips = || programs.iter().filter_map(|(_, c)| c.flip.as_ref());
        let about = flips().next().map_or("", |f| f.about.as_str());
        let instead = flips().next().and_then(|f| f.instead.as_deref());
        let instead = instead.filter(|i| flips().all(|f| f.instead.as_deref() == Some(*i)));
        let _ = writeln!(out, "  {about}");
        for (p, c) in programs.iter().take(SHOWN) {
            let Some(flip) = &c.flip else { continue };
            let _ = write!(out, "  {} of {}: {}", p.name, p.object, flip.bites);
            // Said below where it is the same for all.
            if let (None, Some(own)) = (instead, &flip.instead) {
                let _ = write!(out, "; instead: {own}");
            }
            out.push('\n');
        }
        if programs.len() > SHOWN {
            let _ = writeln!(out, "  and {} more", programs.len() - SHOWN);
        }
        if let Some(instead) = instead {
            let _ = writeln!(out, "  instead: {instead}");
        }
        out.push('\n');
    }
    out
}

/// Programs shown of one cause.
const SHOWN: usize = 5;

fn summary(report: &FleetReport, out: &mut String) {
    for (k, kernel) in report.kernels.iter().enumerate() {
        let count = |v| report.programs.iter().filter(|p| p.cells[k].verdict == v).count();
        let _ = writeln!(
            out,
            "{kernel}: {} accepted, {} rejected, {} unsupported",
            count(VerdictWord::Accepted),
            count(VerdictWord::Rejected),
            count(VerdictWord::Unsupported)
        );
    }
}
