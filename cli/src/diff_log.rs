//! `bpfassay diff-log`: where our log leaves the kernel's.

use std::fmt::Write as _;
use std::path::PathBuf;

use bpfassay_ci::files::MAX_OBJECT;
use bpfassay_diag::log::diff;
use bpfassay_judge::{judge, Options};
use bpfassay_verifier::log::LogLevel;

use crate::exit::{fail, Outcome};
use crate::inputs;
use crate::out;
use crate::setup::{self, KernelArgs};

/// Names the first line, instruction and register where our log leaves the kernel's.
///
/// LD_IMM64 addresses, BTF ids of kfunc calls and times are masked, nothing else.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  bpfassay diff-log prog.o kernel.log --prog ingress
  bpfassay diff-log ours.log kernel.log")]
pub struct Args {
    /// An object to judge, or a log of ours.
    #[arg(value_name = "OBJECT|LOG")]
    ours: PathBuf,
    /// The kernel's log; `-` for standard input.
    #[arg(value_name = "KERNEL_LOG")]
    kernels: PathBuf,
    #[command(flatten)]
    kernel: KernelArgs,
    /// Program of the object; needed where it has more than one.
    #[arg(long, value_name = "NAME")]
    prog: Option<String>,
    /// Log level the kernel's log was written at.
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..8))]
    log_level: u32,
}

pub fn run(args: Args) -> Outcome {
    diff_log(&args).unwrap_or_else(|o| o)
}

fn diff_log(args: &Args) -> Result<Outcome, Outcome> {
    let read = |path: &PathBuf| inputs::read(path, MAX_OBJECT);
    let bytes = read(&args.ours)?;
    let ours = if bytes.starts_with(b"\x7fELF") {
        our_log(&bytes, args)?
    } else {
        String::from_utf8_lossy(&bytes).into_owned()
    };
    let kernels = String::from_utf8_lossy(&read(&args.kernels)?).into_owned();
    let Some(d) = diff(&ours, &kernels) else {
        let said = format!("the logs are equal, {} lines\n", kernels.lines().count());
        return Ok(out::text(&said, Outcome::Ok));
    };
    let mut said = format!("line {}\n", d.line);
    if let Some(insn) = d.place.insn {
        let _ = writeln!(said, "instruction {insn}");
    }
    if let Some(register) = &d.place.register {
        let field = d.place.field.as_deref().map_or(String::new(), |f| format!(", {f}"));
        let _ = writeln!(said, "register {register}{field}");
    }
    let _ = writeln!(said, "ours    {}", d.ours.as_deref().unwrap_or("<the log has ended>"));
    let _ = writeln!(said, "kernel  {}", d.kernels.as_deref().unwrap_or("<the log has ended>"));
    Ok(out::text(&said, Outcome::Rejected))
}

fn our_log(bytes: &[u8], args: &Args) -> Result<String, Outcome> {
    let target = setup::target(&args.kernel)?;
    let name = args.ours.to_string_lossy();
    let entries = target.load(bytes, &name).map_err(|e| fail(Outcome::NotJudged, e.message))?;
    let program = setup::choose(&entries, args.prog.as_deref())
        .map_err(|why| fail(Outcome::NotJudged, format!("{name}: {why}")))?;
    let options = Options { log_level: LogLevel(args.log_level), ..Options::default() };
    let report = judge(program, &target, &options);
    if report.verdict == bpfassay_judge::VerdictWord::Unsupported {
        let why = report.message.unwrap_or_default();
        return Err(fail(Outcome::NotJudged, format!("cannot judge {}: {why}", program.name)));
    }
    Ok(report.detail.log)
}
