//! `bpfassay compare`: judge objects beside the running kernel.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use bpfassay_harness::compare::{compare, Agreement, CompareOptions, Comparison};
use bpfassay_harness::kernel::{release, symbols, Session};
use bpfassay_harness::rewriting::{self, Addresses, Rewriting};
use bpfassay_judge::Options;
use bpfassay_object::model::Program;
use rayon::prelude::*;

use crate::check::{parse_target, parse_type, program_overrides, Flag, Set};
use crate::exit::{fail, Outcome, MAX_JOBS};
use crate::inputs::{self, Input};
use crate::out;
use crate::progress::Progress;
use crate::setup::{self, Entry, KernelArgs};

/// Loads every program into the running kernel (it never attaches) and compares verdict,
/// message, counters and level-2 log with ours.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  sudo bpfassay compare build/
  sudo bpfassay compare --log-dir logs --tsv all.tsv corpus/objects/v3
  sudo bpfassay compare --time --max-log 0 build/")]
pub struct Args {
    /// Objects, or folders of objects.
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    #[command(flatten)]
    kernel: KernelArgs,
    /// Compare only programs of this name.
    #[arg(long, value_name = "NAME")]
    prog: Vec<String>,
    /// Verify against this function, hook or program in place of the section's, as `check` does.
    #[arg(long, value_name = "[PROG=]FUNCTION", value_parser = parse_target)]
    attach_target: Vec<Set>,
    /// Set a global variable of the object that `--attach-target` names.
    #[arg(long, value_name = "[SECTION.]NAME=VALUE", requires = "attach_target")]
    attach_set: Vec<String>,
    /// Load as this program type, as `check` does.
    #[arg(long = "type", value_name = "[PROG=]TYPE[/ATTACH_TYPE]", value_parser = parse_type)]
    prog_type: Vec<Set>,
    /// Flags to load every program with, separated by commas.
    #[arg(long, value_name = "FLAGS", value_delimiter = ',')]
    prog_flags: Vec<Flag>,
    /// Compare accepted programs as rewritten too.
    #[arg(long)]
    xlated: bool,
    /// Write both logs of programs that differ to this folder.
    #[arg(long, value_name = "DIR")]
    log_dir: Option<PathBuf>,
    /// Write one line per program to this file.
    #[arg(long, value_name = "FILE")]
    tsv: Option<PathBuf>,
    /// Time both, one program at a time.
    #[arg(long)]
    time: bool,
    /// Print the most memory this process held while judging a program, one program at a time; the types of the
    /// kernel and what earlier programs left are in it.
    #[arg(long)]
    memory: bool,
    /// Largest kernel log compared, MiB; 0 compares verdicts, messages and counters only.
    #[arg(long, value_name = "MIB", default_value_t = 16, value_parser = setup::max_log())]
    max_log: u16,
    /// Log level compared: 1 the failing path, 2 every path, 4 statistics; may be added up.
    #[arg(long, value_name = "N", default_value_t = 6, value_parser = clap::value_parser!(u32).range(1..8))]
    log_level: u32,
    /// Programs that differ to show.
    #[arg(long, value_name = "N", default_value_t = 20)]
    show: usize,
    #[arg(long, short, value_name = "N", default_value_t = 0)]
    jobs: usize,
}

struct Row {
    object: String,
    program: String,
    prog_type: &'static str,
    result: Result<Comparison, String>,
    rewriting: Option<Rewriting>,
}

pub fn run(args: Args) -> Outcome {
    match compare_all(&args) {
        Ok(o) | Err(o) => o,
    }
}

fn compare_all(args: &Args) -> Result<Outcome, Outcome> {
    let target = beside_host(&args.kernel)?;
    let running = release().map_err(|e| fail(Outcome::NotJudged, e))?;
    let inputs = inputs::collect(&args.paths);
    if let Some(dir) = &args.log_dir {
        fs::create_dir_all(dir)
            .map_err(|e| fail(Outcome::NotJudged, format!("{}: {e}", dir.display())))?;
    }
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(if args.time || args.memory { 1 } else { args.jobs.min(MAX_JOBS) })
        .build()
        .map_err(|e| fail(Outcome::Internal, e))?;
    let bar = Progress::of("objects", Some(inputs.len() as u64), false);
    let unreadable = Mutex::new(Vec::new());
    let addresses = args.xlated.then(|| Addresses::new(symbols()));
    let options = Options {
        program_overrides: program_overrides(
            &args.prog_type,
            &args.attach_target,
            &args.attach_set,
        )?,
        ..Options::default()
    };
    let with = With { target: &target, options: &options, addresses: addresses.as_ref() };
    let rows: Vec<Row> = pool.install(|| {
        inputs
            .par_iter()
            .flat_map_iter(|input| {
                let compared = compare_object(input, &with, args);
                bar.step();
                compared.unwrap_or_else(|e| {
                    if let Ok(mut list) = unreadable.lock() {
                        list.push(format!("{}: {e}", input.display()));
                    }
                    Vec::new()
                })
            })
            .collect()
    });
    drop(bar);
    let unreadable = unreadable.into_inner().unwrap_or_default();
    let mut said = format!("running kernel {running}, judged for {}\n", target.kernel.release);
    for u in unreadable.iter().take(args.show) {
        let _ = writeln!(said, "unreadable: {u}");
    }
    totals(&mut said, &rows, unreadable.len(), args);
    let written = args.tsv.as_ref().map_or(Ok(()), |path| out::file(path, tsv(&rows)));
    let bad = rows.iter().any(|r| {
        r.result
            .as_ref()
            .is_ok_and(|c| !matches!(c.agreement, Agreement::Agree | Agreement::Unsupported))
    });
    // Without root, say, the kernel answers nothing.
    let answered = rows.iter().any(|r| r.result.is_ok());
    let outcome = match (bad, answered && unreadable.is_empty()) {
        (true, _) => Outcome::Rejected,
        (false, true) => Outcome::Ok,
        (false, false) => Outcome::NotJudged,
    };
    Ok(out::text(&said, outcome.and(written.err().unwrap_or(Outcome::Ok))))
}

/// The kernel named, with the running kernel's own types and symbols unless others were named: ids and addresses in
/// instructions must be its.
pub fn beside_host(args: &KernelArgs) -> Result<setup::Target, Outcome> {
    const HOST: &str = "/sys/kernel/btf/vmlinux";
    if !args.btf.is_empty() || args.profile.is_some() || !Path::new(HOST).exists() {
        return setup::target(args);
    }
    let args = KernelArgs { btf: vec![PathBuf::from(HOST)], ..args.clone() };
    let mut target = setup::target(&args)?;
    target.set_running_symbols(symbols());
    Ok(target)
}

/// What every object is compared with.
struct With<'a> {
    target: &'a setup::Target,
    options: &'a Options,
    addresses: Option<&'a Addresses>,
}

fn compare_object(input: &Input, with: &With<'_>, args: &Args) -> Result<Vec<Row>, String> {
    let target = with.target;
    let bytes = input.read().map_err(|e| e.to_string())?;
    let linked = target.load_with(&bytes, &input.display(), with.options);
    let entries = linked.map_err(|e| e.message)?.entries;
    let mut session = Session::with_caps(target.caps);
    let wanted = |e: &&Entry| args.prog.is_empty() || args.prog.contains(&e.name);
    Ok(entries
        .iter()
        .filter(wanted)
        .filter_map(Entry::ok)
        .map(|p| {
            let config = target.config();
            let mut p = p.clone();
            p.flags = p.flags.with_bits(Flag::bits(&args.prog_flags));
            let p = &p;
            let options = CompareOptions {
                log_level: args.log_level,
                max_log: usize::from(args.max_log) << 20,
                time: args.time,
                memory: args.memory,
            };
            let judged = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                compare(p, &config, &mut session, options).map_err(|e| e.to_string())
            }));
            let mut result = judged.unwrap_or_else(|_| Err("internal error: panic".to_string()));
            let mut rewriting = None;
            if let (Some(addresses), Ok(c)) = (with.addresses, &result) {
                if c.kernel_errno.is_none() {
                    match rewriting::beside(p, &config, &mut session, addresses) {
                        Ok(found) => rewriting = found,
                        Err(e) => result = Err(e.to_string()),
                    }
                }
            }
            if let (Some(dir), Ok(c)) = (&args.log_dir, &result) {
                keep_logs(dir, &input.display(), p, c);
            }
            Row {
                object: input.display(),
                program: p.name.clone(),
                prog_type: p.prog_type.name(),
                result: result.map(|c| Comparison {
                    our_log: String::new(),
                    kernel_log: String::new(),
                    ..c
                }),
                rewriting,
            }
        })
        .collect())
}

fn keep_logs(dir: &Path, object: &str, program: &Program, c: &Comparison) {
    if c.log_difference.is_none() && c.agreement == Agreement::Agree {
        return;
    }
    let stem = object.rsplit('/').next().unwrap_or(object);
    let base = dir.join(format!("{stem}.{}", program.name));
    let with = |ext: &str| PathBuf::from(format!("{}.{ext}", base.display()));
    for (ext, text) in [("ours.log", &c.our_log), ("kernel.log", &c.kernel_log)] {
        // The message is written; what was compared counts all the same.
        let _ = out::file(&with(ext), text);
    }
}

fn tsv(rows: &[Row]) -> String {
    let mut out = String::from(
        "object\tprogram\ttype\tagreement\tmessages\tstats\tlog\tours\tkernels\tour_us\tkernel_us\t\
         kernel_errno\tkernel_insns\n",
    );
    for r in rows {
        let cells = match &r.result {
            Err(e) => vec!["error".to_string(), e.clone()],
            Ok(c) => vec![
                c.agreement.name().to_string(),
                yes_no(c.messages_equal()),
                yes_no(c.stats_equal()),
                match (&c.log_difference, c.logs_compared) {
                    (None, true) => "equal".to_string(),
                    (None, false) => "not-compared".to_string(),
                    (Some(d), _) => format!("line {}", d.line),
                },
                c.unsupported.clone().or(c.our_message.clone()).unwrap_or_default(),
                c.kernel_message.clone().unwrap_or_default(),
                c.our_time.as_micros().to_string(),
                c.kernel_time.map_or(String::new(), |t| t.as_micros().to_string()),
                c.kernel_errno.unwrap_or(0).to_string(),
                c.kernel_stats.map_or(String::new(), |s| s.insns_processed.to_string()),
            ],
        };
        out.push_str(&format!(
            "{}\t{}\t{}\t{}\n",
            r.object,
            r.program,
            r.prog_type,
            cells.join("\t")
        ));
    }
    out
}

fn yes_no(b: bool) -> String {
    if b { "equal" } else { "differ" }.to_string()
}

/// What differs of rewritten programs, what is not known of them, and how many are equal.
fn totals_rewritten(out: &mut String, rows: &[Row], show: usize) {
    let compared: Vec<(&Row, &Rewriting)> =
        rows.iter().filter_map(|r| r.rewriting.as_ref().map(|x| (r, x))).collect();
    let (mut equal, mut sanitised, mut equal_sanitised, mut shown) = (0, 0, 0, 0);
    for (row, rewriting) in &compared {
        let why = match rewriting {
            Rewriting::Equal { is_sanitised } => {
                equal += 1;
                sanitised += usize::from(*is_sanitised);
                equal_sanitised += usize::from(*is_sanitised);
                continue;
            }
            Rewriting::NotKnown(why) => format!("not known: {why}"),
            Rewriting::Differs(d) => {
                sanitised += usize::from(d.is_sanitised);
                format!("slot {}\n  ours   {}\n  kernel {}", d.slot, d.ours, d.kernels)
            }
        };
        shown += 1;
        if shown <= show {
            let _ = writeln!(out, "rewritten: {} {}: {why}", row.object, row.program);
        }
    }
    share(out, "rewritten equal", equal, compared.len());
    share(out, "with barriers or masks", equal_sanitised, sanitised);
}

fn share(out: &mut String, what: &str, n: usize, all: usize) {
    let percent = 100.0 * n as f64 / all.max(1) as f64;
    let _ = writeln!(out, "{what:24} {n} of {all} ({percent:.1} %)");
}

fn totals(out: &mut String, rows: &[Row], unreadable: usize, args: &Args) {
    let compared: Vec<(&Row, &Comparison)> =
        rows.iter().filter_map(|r| r.result.as_ref().ok().map(|c| (r, c))).collect();
    let judged: Vec<_> =
        compared.iter().filter(|(_, c)| c.agreement != Agreement::Unsupported).collect();
    let mut shown = 0;
    for agreement in Agreement::ALL.into_iter().rev() {
        for (r, c) in compared.iter().filter(|(_, c)| c.agreement == agreement) {
            let differs = match agreement {
                Agreement::Unsupported => continue,
                Agreement::Agree => {
                    !c.messages_equal() || !c.stats_equal() || c.log_difference.is_some()
                }
                _ => true,
            };
            if differs && shown < args.show {
                shown += 1;
                difference(out, r, c);
            }
        }
    }
    let mut reasons: BTreeMap<&str, usize> = BTreeMap::new();
    for (_, c) in &compared {
        if let Some(u) = &c.unsupported {
            *reasons.entry(u).or_default() += 1;
        }
    }
    let mut reasons: Vec<_> = reasons.into_iter().collect();
    reasons.sort_by_key(|(_, n)| std::cmp::Reverse(*n));
    for (reason, n) in reasons.iter().take(args.show) {
        let _ = writeln!(out, "unsupported {n:5}  {reason}");
    }
    let mut errors: BTreeMap<&str, usize> = BTreeMap::new();
    for e in rows.iter().filter_map(|r| r.result.as_ref().err()) {
        *errors.entry(e).or_default() += 1;
    }
    for (e, n) in errors {
        let _ = writeln!(out, "not asked {n:7}  {e}");
    }
    let _ = writeln!(out, "programs {}  unreadable objects {unreadable}", rows.len());
    for a in Agreement::ALL {
        let _ = writeln!(
            out,
            "{:24} {}",
            a.name(),
            compared.iter().filter(|(_, c)| c.agreement == a).count()
        );
    }
    let all = judged.len();
    let messages = judged.iter().filter(|(_, c)| c.messages_equal()).count();
    share(out, "messages equal", messages, all);
    let counters = judged.iter().filter(|(_, c)| c.stats_equal()).count();
    share(out, "counters equal", counters, all);
    if args.xlated {
        totals_rewritten(out, rows, args.show);
    }
    if args.max_log != 0 {
        let logs = judged.iter().filter(|(_, c)| c.logs_compared);
        let equal = logs.clone().filter(|(_, c)| c.log_difference.is_none()).count();
        let compared = logs.count();
        share(out, "logs equal", equal, compared);
        if compared < all {
            let _ = writeln!(
                out,
                "logs not compared        {}, over {} MiB",
                all - compared,
                args.max_log
            );
        }
    }
    if args.memory {
        memory(out, &compared);
    }
    if args.time {
        times(out, &compared);
    }
}

fn difference(out: &mut String, r: &Row, c: &Comparison) {
    let _ = writeln!(out, "{}: {} {}", c.agreement.name(), r.object, r.program);
    if !c.messages_equal() {
        let _ = writeln!(out, "    message ours    {:?}", c.our_message.as_deref().unwrap_or(""));
        let _ =
            writeln!(out, "    message kernel  {:?}", c.kernel_message.as_deref().unwrap_or(""));
    }
    if let Some(d) = &c.log_difference {
        let _ = writeln!(out, "    line {}, {:?}", d.line, d.place);
        let _ = writeln!(out, "    ours    {}", d.ours.as_deref().unwrap_or("<end>"));
        let _ = writeln!(out, "    kernel  {}", d.kernels.as_deref().unwrap_or("<end>"));
    } else if !c.stats_equal() {
        let _ = writeln!(out, "    stats ours {:?}\n    kernel {:?}", c.our_stats, c.kernel_stats);
    }
}

fn memory(out: &mut String, compared: &[(&Row, &Comparison)]) {
    let mut peaks: Vec<_> =
        compared.iter().filter_map(|(r, c)| c.our_peak.map(|p| (p, r))).collect();
    peaks.sort_by_key(|(p, _)| std::cmp::Reverse(*p));
    for (peak, r) in peaks.iter().take(10) {
        let _ = writeln!(out, "  {:7} MiB  {} {}", peak >> 20, r.object, r.program);
    }
}

fn times(out: &mut String, compared: &[(&Row, &Comparison)]) {
    let timed: Vec<_> = compared
        .iter()
        .filter(|(_, c)| c.agreement == Agreement::Agree)
        .filter_map(|(r, c)| c.kernel_time.map(|k| (r, c.our_time, k)))
        .collect();
    let sum = |f: fn(&(&&Row, std::time::Duration, std::time::Duration)) -> u128| -> u128 {
        timed.iter().map(f).sum()
    };
    let (ours, kernels) = (sum(|t| t.1.as_micros()), sum(|t| t.2.as_micros()));
    let _ = writeln!(
        out,
        "verification time        ours {ours} us, kernel {kernels} us, ratio {:.3} over {} programs",
        ours as f64 / kernels.max(1) as f64,
        timed.len()
    );
    let mut worst: Vec<_> = timed
        .iter()
        .map(|(r, o, k)| (o.as_secs_f64() / k.as_secs_f64().max(1e-6), r, o, k))
        .collect();
    worst.sort_by(|a, b| b.0.total_cmp(&a.0));
    for (ratio, r, o, k) in worst.iter().take(10) {
        let _ = writeln!(
            out,
            "  {ratio:7.2}  {} {}  ours {} us, kernel {} us",
            r.object,
            r.program,
            o.as_micros(),
            k.as_micros()
        );
    }
}
