//! `bpfassay prove`: the verifier's arithmetic held against the processor's by a solver.

use crate::exit::{fail, Outcome};
use crate::out;

/// Proves that what the verifier claims of a register holds for every value it can have.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  bpfassay prove                       every operation, with the time that it took
  bpfassay prove add --format json     those whose names hold `add`
  bpfassay prove --break and64         a weakened one, and a program that shows it
  bpfassay prove --precision 6.18.44   what each operation forgets, the weakest first (needs no z3)")]
pub struct Args {
    /// Only operations whose names hold this text.
    #[arg(value_name = "NAME", default_value = "")]
    filter: String,
    /// How long the solver may think about one operation at 64 bits; then it is decided for 8-bit words.
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    time_limit: u64,
    /// Weaken this operation and show a program in which that goes wrong.
    #[arg(long = "break", value_name = "OPERATION")]
    weaken: Option<String>,
    /// Measure what each operation of this release forgets, over 8-bit registers, instead of proving.
    #[arg(long, value_name = "RELEASE")]
    precision: Option<String>,
    #[arg(long, value_parser = ["text", "json"], default_value = "text")]
    format: String,
}

pub fn run(args: Args) -> Outcome {
    match &args.precision {
        Some(release) => precision(release, &args.filter),
        None => prove(args),
    }
}

/// The weakest operations first; which pair of operands loses most is shown of the first three.
fn precision(release: &str, filter: &str) -> Outcome {
    let rows = match bpfassay_prove::precision::table(release, filter) {
        Ok(rows) => rows,
        Err(why) => return fail(Outcome::NotJudged, why),
    };
    let mut text = "bits lost  best of 100  operation\n".to_string();
    for (i, row) in rows.iter().enumerate() {
        text += &format!("{:9.3}  {:11.1}  {}\n", row.lost, row.best, row.name);
        if i < 3 {
            text += &format!("                        most for {}\n", row.worst);
        }
    }
    out::text(&text, Outcome::Ok)
}

#[cfg(not(feature = "smt"))]
fn prove(_: Args) -> Outcome {
    let how = "this build has no solver; `cargo build --release -p bpfassay-cli --features smt` makes one that \
               has, with z3 (Debian: libz3-dev) installed";
    fail(Outcome::NotJudged, how)
}

#[cfg(feature = "smt")]
use with_solver::prove;

#[cfg(feature = "smt")]
mod with_solver {
    use std::time::Duration;

    use bpfassay_prove::report::{ask, rows, run, Line, Report, Standing};
    use bpfassay_prove::sym::Outcome as Answer;
    use bpfassay_prove::witness::counterexample;

    use super::{fail, Args, Outcome};

    pub fn prove(args: Args) -> Outcome {
        let limit = Duration::from_secs(args.time_limit.max(1));
        if let Some(name) = &args.weaken {
            return weakened(name, limit);
        }
        let is_text = args.format == "text";
        let report = run(&args.filter, limit, &|line| {
            if is_text {
                println!("{}", text(line));
            }
        });
        if report.operations.is_empty() {
            return fail(
                Outcome::NotJudged,
                format!("no operation has {} in its name", args.filter),
            );
        }
        if is_text {
            summary(&report);
        } else {
            println!("{}", serde_json::to_string(&report).unwrap_or_default());
        }
        if report.all_hold() {
            Outcome::Ok
        } else {
            Outcome::Rejected
        }
    }

    fn text(line: &Line) -> String {
        let result = match line.result {
            Standing::Proved => "proved",
            Standing::Exhaustive => "exhaustive",
            Standing::Failed => "FAILED",
        };
        let reason = line.reason.as_deref().unwrap_or("");
        let text = format!(
            "{result:10} {:2} bits {:7.1} s  {}  {reason}",
            line.width, line.seconds, line.name
        );
        text.trim_end().to_string()
    }

    fn summary(report: &Report) {
        let of = |s| report.operations.iter().filter(|o| o.result == s).count();
        println!(
            "{} operations: {} proved, {} exhaustive, {} failed",
            report.operations.len(),
            of(Standing::Proved),
            of(Standing::Exhaustive),
            of(Standing::Failed)
        );
    }

    /// Exit status 1 with a counterexample; without one nothing was shown.
    fn weakened(name: &str, limit: Duration) -> Outcome {
        let rows = rows(name);
        let exact = rows.iter().find(|r| r.full.name == name);
        let Some(row) = exact.or(if rows.len() == 1 { rows.first() } else { None }) else {
            let names: Vec<&str> = rows.iter().map(|r| r.full.name.as_str()).collect();
            let what = match names.is_empty() {
                true => "`bpfassay prove` lists them".to_string(),
                false => format!("is it one of: {}", names.join("; ")),
            };
            return fail(Outcome::NotJudged, format!("no operation {name}; {what}"));
        };
        match ask(&row.full, true, limit).0 {
            Answer::Refuted(model) => {
                let values: Vec<String> =
                    model.iter().map(|(n, v)| format!("{n}={v:#x}")).collect();
                println!("{} weakened: refuted by {}", row.full.name, values.join(" "));
            }
            Answer::Unknown => println!("{} weakened: the solver gives no answer", row.full.name),
            Answer::Proved => println!("{} weakened: still holds", row.full.name),
        }
        match counterexample(row.full.concrete, row.full.release) {
            Ok(Some(c)) => {
                println!("\n; syscall program, context {:#x} {:#x}", c.ctx[0], c.ctx[1]);
                print!("{}", c.assembler);
                println!("\nclaimed: {}\nrun:     {}", c.claim, c.seen);
                Outcome::Rejected
            }
            Ok(None) => fail(Outcome::NotJudged, "no program shows it"),
            Err(why) => fail(Outcome::Internal, why),
        }
    }
}
