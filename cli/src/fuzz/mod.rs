//! `bpfassay fuzz`: a campaign of generated programs against oracles.

mod objects;

use std::path::{Path, PathBuf};
use std::time::Duration;

use bpfassay_campaign::engine::{self, Options, BATCH, KERNEL_BATCH};
use bpfassay_campaign::kernel::command::ByCommand;
use bpfassay_campaign::kernel::Kernel;
use bpfassay_campaign::oracle::{ENGINES, KERNEL_NAMES, NAMES};
use bpfassay_campaign::report::Report;
use bpfassay_campaign::source::Source;
use bpfassay_ci::files;

use crate::exit::{fail, Outcome};
use crate::out;
use crate::progress::Progress;

/// Programs from a seed, or from a fuzzer's inputs, against oracles; exit status 1 when something is found.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  bpfassay fuzz --time 600 --resume campaign
  bpfassay fuzz --seed 7 --programs 100000 --shard 2/4 --resume part2
  bpfassay fuzz --kernels 6.18.15,6.1 --oracles state --programs 20000
  bpfassay fuzz corpus/objects --oracles agreement --kernels running --reasons corpus/reasons/engines.txt
  bpfassay fuzz --merge part1 part2 --format json")]
pub struct Args {
    /// Inputs of a coverage-guided fuzzer, a program each; or objects and folders of them, whose accepted programs run
    /// on handmade inputs for the oracle `agreement`; without any, programs come from the seed.
    #[arg(value_name = "CORPUS")]
    corpus: Vec<PathBuf>,
    /// Which oracles look, in this order; of those that ask kernels, `verdict` always does, and `state` compares logs.
    #[arg(long, value_delimiter = ',', default_values = NAMES)]
    oracles: Vec<String>,
    /// Engines that are to agree.
    #[arg(long, value_delimiter = ',', default_values = ENGINES)]
    engines: Vec<String>,
    /// Kernels to ask, each against our answer for it: a release that `kernels fetch` has fetched, in a virtual machine;
    /// or NAME=COMMAND, in which {batch} and {out} stand for files; or `running`, for objects only, which are loaded and
    /// test-run there.
    #[arg(long, value_name = "RELEASE", value_delimiter = ',')]
    kernels: Vec<String>,
    /// Folder of the fetched kernels, as for `kernels`.
    #[arg(long, value_name = "DIR")]
    kernel_folder: Option<PathBuf>,
    /// Seconds that a kernel may take for a batch.
    #[arg(long, value_name = "SECONDS", default_value_t = 1800)]
    patience: u64,
    /// Programs of a batch, which is what a kill may cost [default: 512, with kernels 8192].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    batch: Option<u64>,
    /// Served kernel that the verifier plays.
    #[arg(long, default_value = "6.18")]
    kernel: String,
    /// End after so many seconds.
    #[arg(long, value_name = "SECONDS")]
    time: Option<u64>,
    /// End after so many programs, over all shards.
    #[arg(long, value_name = "N")]
    programs: Option<u64>,
    #[arg(long, default_value_t = std::thread::available_parallelism().map_or(1, |n| n.get()))]
    jobs: usize,
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Do every N-th batch only, from the I-th on.
    #[arg(long, value_name = "I/N", default_value = "1/1")]
    shard: String,
    /// Keep the state and the findings there, and go on where it stands.
    #[arg(long, value_name = "DIR")]
    resume: Option<PathBuf>,
    /// Report what these folders hold together, and do nothing else.
    #[arg(long, value_name = "DIR", num_args = 1..)]
    merge: Vec<PathBuf>,
    /// Where programs of objects may differ, and why; `ENGINE OBJECT PROGRAM: REASON` a line.
    #[arg(long, value_name = "FILE")]
    reasons: Option<String>,
    #[arg(long, value_parser = ["text", "json"], default_value = "text")]
    format: String,
}

pub fn run(args: Args) -> Outcome {
    if args.format == "json" {
        out::expect_json("bpfassay.fuzz/1");
    }
    match campaign(&args) {
        Ok(report) => print(&report, args.format == "json"),
        Err(why) => fail(Outcome::NotJudged, why),
    }
}

fn campaign(args: &Args) -> Result<Report, String> {
    if !args.merge.is_empty() {
        return engine::merged(&args.merge);
    }
    for name in &args.oracles {
        let mut all = NAMES.iter().chain(&KERNEL_NAMES);
        if !all.any(|n| n == name) {
            let all = [&NAMES[..], &KERNEL_NAMES].concat().join(", ");
            return Err(format!("no oracle {name}; there are {all}"));
        }
    }
    if args.corpus.iter().any(|path| objects::is_object(path)) {
        return objects::agree(args);
    }
    if args.reasons.is_some() || args.kernels.iter().any(|k| k == objects::RUNNING) {
        return Err("reasons and the running kernel are for objects".to_string());
    }
    let folder = args.resume.clone().unwrap_or_else(std::env::temp_dir);
    let kernels = args.kernels.iter().map(|k| kernel(args, k, &folder));
    let corpus = args.corpus.iter().map(|file| {
        let bytes =
            files::read(file, files::MAX_TEXT).map_err(|e| format!("{}: {e}", file.display()))?;
        Ok::<_, String>((file.display().to_string(), Source::Bytes(bytes)))
    });
    let options = Options {
        kernel: args.kernel.clone(),
        seed: args.seed,
        oracles: args.oracles.clone(),
        engines: args.engines.clone(),
        time: args.time.map(Duration::from_secs),
        programs: args.programs,
        jobs: args.jobs,
        batch: args.batch.unwrap_or(if args.kernels.is_empty() { BATCH } else { KERNEL_BATCH }),
        shard: shard(&args.shard)?,
        folder: args.resume.clone(),
        corpus: corpus.collect::<Result<_, _>>()?,
    };
    let bar = Progress::of("fuzzing", None, false);
    engine::run(&options, kernels.collect::<Result<_, _>>()?, &|p| {
        bar.say(format!("{} programs, {} findings", p.all.programs, p.findings));
    })
}

fn kernel(args: &Args, name: &str, folder: &Path) -> Result<Box<dyn Kernel>, String> {
    if name.contains('=') {
        return Ok(Box::new(ByCommand::parse(name, folder)?));
    }
    machine(args, name, folder)
}

#[cfg(unix)]
fn machine(args: &Args, name: &str, folder: &Path) -> Result<Box<dyn Kernel>, String> {
    use bpfassay_campaign::kernel::vm::Machine;
    let images = args.kernel_folder.clone().or_else(crate::kernels::cache);
    let images = images.ok_or("neither HOME nor --kernel-folder says where kernels are kept")?;
    let (release, image) = crate::kernels::image(&images, name)?;
    let patience = Duration::from_secs(args.patience);
    Ok(Box::new(Machine::new(release, image, folder.to_path_buf(), patience)))
}

#[cfg(not(unix))]
fn machine(_: &Args, _: &str, _: &Path) -> Result<Box<dyn Kernel>, String> {
    Err("virtual machines are not run on this system".to_string())
}

fn shard(text: &str) -> Result<(u64, u64), String> {
    let numbers = text.split_once('/').map(|(i, n)| (i.parse::<u64>(), n.parse::<u64>()));
    match numbers {
        Some((Ok(i), Ok(n))) if i >= 1 && i <= n => Ok((i - 1, n)),
        _ => Err(format!("{text} is no shard; expected I/N, from 1/N to N/N")),
    }
}

fn print(report: &Report, as_json: bool) -> Outcome {
    let outcome = match (report.findings.is_empty(), report.notes.is_empty()) {
        (false, _) => Outcome::Rejected,
        (true, false) => Outcome::NotJudged,
        (true, true) => Outcome::Ok,
    };
    for note in &report.notes {
        out::note(format!("bpfassay: {note}"));
    }
    if as_json {
        let doc = serde_json::to_string(report).unwrap_or_default();
        return out::machine(format!("{doc}\n").as_bytes(), outcome);
    }
    let mut said = format!(
        "{} programs, {} accepted, {} runs in {:.1} s\n",
        report.programs_total, report.accepted_total, report.executions_total, report.seconds_total
    );
    for f in &report.findings {
        said.push_str(&format!(
            "{} times {}: {} at {}\n  {}\n  {}\n",
            f.count, f.oracle, f.kind, f.place, f.detail, f.case
        ));
    }
    out::text(&said, outcome)
}
