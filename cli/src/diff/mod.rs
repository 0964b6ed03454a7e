//! `bpfassay diff`: objects, our answers against a kernel's, and what changed since the last time.

mod recorded;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use bpfassay_ci::files;
use bpfassay_judge::Options;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::exit::{fail, Outcome};
use crate::inputs::{self, Input};
use crate::out;
use crate::setup::{self, KernelArgs, Target};
use recorded::Recorded;

/// Judges objects and compares with what a kernel said: recorded before, or asked now in a virtual machine.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  bpfassay diff --against truth/6.12.118 --kernel 6.12 build/
  bpfassay diff --live 6.12 --last diff.json build/
  bpfassay diff --against answers.jsonl --format json build/")]
pub struct Args {
    /// Objects, or folders of objects.
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// What a kernel said: a folder that `record` or `kernels ask` wrote, the list that `kernels ask` prints, or JSON
    /// Lines with `object`, `program`, `verdict`, `errno`, `message` and `processed`.
    #[arg(long, value_name = "PATH", required_unless_present = "live")]
    against: Vec<PathBuf>,
    /// Ask this kernel now, in a virtual machine, and judge for it.
    #[arg(long, value_name = "RELEASE", conflicts_with_all = ["against", "kernel"])]
    live: Option<String>,
    /// Folder of the fetched kernels, as for `kernels`.
    #[arg(long, value_name = "DIR")]
    kernel_folder: Option<PathBuf>,
    #[command(flatten)]
    kernel: KernelArgs,
    /// Compare with the document in this file, if there is one, and leave the new one there.
    #[arg(long, value_name = "FILE")]
    last: Option<PathBuf>,
    #[arg(long, value_parser = ["text", "json"], default_value = "text")]
    format: String,
}

/// One answer.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
struct Side {
    /// `accepted`, `rejected`; ours may be `unsupported`, theirs `not asked`.
    verdict: String,
    errno: Option<i32>,
    message: Option<String>,
    insns_processed: Option<u32>,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
struct Row {
    object: String,
    program: String,
    result: String,
    ours: Side,
    theirs: Side,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
struct Change {
    object: String,
    program: String,
    /// None where the program is new.
    before: Option<Row>,
    /// None where it is gone.
    now: Option<Row>,
}

/// The contract.
#[derive(Serialize, Deserialize)]
struct Document {
    schema: String,
    kernel: String,
    /// Programs by result.
    totals: BTreeMap<String, u32>,
    rows: Vec<Row>,
    /// Since the last run, if one was given.
    changes: Option<Vec<Change>>,
    unreadable: Vec<String>,
}

const SCHEMA: &str = "bpfassay.diff/1";

pub fn run(args: Args) -> Outcome {
    if args.format == "json" {
        out::expect_json(SCHEMA);
    }
    compare(&args).unwrap_or_else(|o| o)
}

fn compare(args: &Args) -> Result<Outcome, Outcome> {
    let mut kernel = args.kernel.clone();
    if let Some(release) = &args.live {
        kernel.kernel.clone_from(release);
    }
    let target = setup::target(&kernel)?;
    let inputs = inputs::collect(&args.paths);
    let recorded = match &args.live {
        Some(release) => live(args, release, &inputs)?,
        None => Recorded::read(&args.against).map_err(|e| fail(Outcome::NotJudged, e))?,
    };
    let judged: Vec<_> =
        inputs.par_iter().map(|input| rows_of(input, &args.paths, &target, &recorded)).collect();
    let mut doc = Document {
        schema: SCHEMA.to_string(),
        kernel: target.kernel.release.to_string(),
        totals: BTreeMap::new(),
        rows: Vec::new(),
        changes: None,
        unreadable: Vec::new(),
    };
    for object in judged {
        match object {
            Ok(rows) => doc.rows.extend(rows),
            Err(why) => doc.unreadable.push(why),
        }
    }
    for row in &doc.rows {
        *doc.totals.entry(row.result.clone()).or_default() += 1;
    }
    let mut written = Outcome::Ok;
    if let Some(last) = &args.last {
        doc.changes = before(last)?.map(|old| changes(&old, &doc.rows));
        written = out::file(last, json(&doc)).err().unwrap_or(Outcome::Ok);
    }
    let outcome = outcome(&doc).and(written);
    Ok(match args.format.as_str() {
        "json" => out::machine(json(&doc).as_bytes(), outcome),
        _ => out::text(&text(&doc), outcome),
    })
}

fn json(doc: &Document) -> String {
    serde_json::to_string(doc).unwrap_or_default() + "\n"
}

#[cfg(unix)]
fn live(args: &Args, release: &str, inputs: &[Input]) -> Result<Recorded, Outcome> {
    let folder = args.kernel_folder.clone().or_else(crate::kernels::cache).ok_or_else(|| {
        fail(Outcome::Usage, "neither HOME nor --kernel-folder says where kernels are kept")
    })?;
    let files = inputs.iter().filter_map(|i| match i {
        Input::File(path) => Some(path.clone()),
        _ => None,
    });
    let records =
        crate::kernels::recorded(&folder, release, &args.paths, &files.collect::<Vec<_>>());
    let records = records.map_err(|e| fail(Outcome::NotJudged, e))?;
    Recorded::of_list(&serde_json::Value::Array(records)).map_err(|e| fail(Outcome::NotJudged, e))
}

#[cfg(not(unix))]
fn live(_: &Args, _: &str, _: &[Input]) -> Result<Recorded, Outcome> {
    Err(fail(Outcome::NotJudged, "virtual machines are not run on this system"))
}

/// The object's programs that the kernel was asked about, and those it was not.
fn rows_of(
    input: &Input,
    roots: &[PathBuf],
    target: &Target,
    recorded: &Recorded,
) -> Result<Vec<Row>, String> {
    let at = |e: &dyn std::fmt::Display| format!("{}: {e}", input.display());
    let bytes = input.read().map_err(|e| at(&e))?;
    let object = crate::record::label(&input.display(), roots);
    let entries = target.load(&bytes, &input.display()).map_err(|e| at(&e.message))?;
    let mut rows = Vec::new();
    for (i, entry) in entries.iter().enumerate() {
        let nth = entries[..i].iter().filter(|e| e.name == entry.name).count();
        let report = entry.judge(target, &Options::default()).report;
        let ours = Side {
            verdict: report.verdict.as_str().to_string(),
            errno: report.errno,
            message: report.message,
            insns_processed: Some(report.stats.insns_processed),
        };
        let theirs = recorded.find(&object, &entry.name, nth).cloned();
        let theirs =
            theirs.unwrap_or_else(|| Side { verdict: NOT_ASKED.into(), ..Side::default() });
        let result = result(&ours, &theirs).to_string();
        rows.push(Row {
            object: object.clone(),
            program: entry.name.clone(),
            result,
            ours,
            theirs,
        });
    }
    Ok(rows)
}

const NOT_ASKED: &str = "not asked";
const EQUAL: &str = "equal";

/// What tells the answers apart, the worst first.
fn result(ours: &Side, theirs: &Side) -> &'static str {
    let counted = |s: &Side| s.insns_processed.filter(|n| *n > 0);
    match (ours.verdict.as_str(), theirs.verdict.as_str()) {
        (_, NOT_ASKED) => NOT_ASKED,
        ("unsupported", _) => "unsupported",
        ("accepted", "rejected") => "accepted, the kernel rejects",
        ("rejected", "accepted") => "rejected, the kernel accepts",
        _ if ours.errno.unwrap_or(0) != theirs.errno.unwrap_or(0) => "errno",
        ("rejected", _) if theirs.message.is_some() && ours.message != theirs.message => "message",
        _ if theirs.insns_processed.is_some() && counted(ours) != counted(theirs) => "counters",
        _ => EQUAL,
    }
}

/// The rows of the last document.
fn before(path: &Path) -> Result<Option<Vec<Row>>, Outcome> {
    if !path.exists() {
        return Ok(None);
    }
    let at =
        |e: &dyn std::fmt::Display| fail(Outcome::NotJudged, format!("{}: {e}", path.display()));
    let text = files::read_text(path, files::MAX_TEXT * 16).map_err(|e| at(&e))?;
    let doc: Document = serde_json::from_str(&text).map_err(|e| at(&e))?;
    match doc.schema == SCHEMA {
        true => Ok(Some(doc.rows)),
        false => Err(at(&format!("schema {}", doc.schema))),
    }
}

/// Programs of which either side says something else, that are new, or that are gone.
fn changes(before: &[Row], now: &[Row]) -> Vec<Change> {
    let keyed = |rows: &[Row]| {
        let mut all: BTreeMap<(String, String, usize), Row> = BTreeMap::new();
        for row in rows {
            let of = |n| (row.object.clone(), row.program.clone(), n);
            let free = (0..).find(|n| !all.contains_key(&of(*n))).unwrap_or(0);
            all.insert(of(free), row.clone());
        }
        all
    };
    let (mut before, now) = (keyed(before), keyed(now));
    let mut out = Vec::new();
    for (key, row) in now {
        let old = before.remove(&key);
        if old.as_ref() != Some(&row) {
            out.push(Change { object: key.0, program: key.1, before: old, now: Some(row) });
        }
    }
    out.extend(before.into_iter().map(|(key, row)| Change {
        object: key.0,
        program: key.1,
        before: Some(row),
        now: None,
    }));
    out
}

fn outcome(doc: &Document) -> Outcome {
    let is_judged = |r: &&Row| r.result != NOT_ASKED && r.result != "unsupported";
    let judged: Vec<&Row> = doc.rows.iter().filter(is_judged).collect();
    match judged.iter().all(|r| r.result == EQUAL) {
        false => Outcome::Rejected,
        true if judged.len() < doc.rows.len() || judged.is_empty() => Outcome::NotJudged,
        true if !doc.unreadable.is_empty() => Outcome::NotJudged,
        true => Outcome::Ok,
    }
}

fn shown(side: &Side) -> String {
    let errno = side.errno.map(|e| format!(" errno {e}")).unwrap_or_default();
    let insns = side.insns_processed.map(|n| format!(", {n} processed")).unwrap_or_default();
    let message = side.message.as_ref().map(|m| format!(": {m}")).unwrap_or_default();
    format!("{}{errno}{insns}{message}", side.verdict)
}

fn text(doc: &Document) -> String {
    let mut out = String::new();
    for row in doc.rows.iter().filter(|r| r.result != EQUAL && r.result != NOT_ASKED) {
        out += &format!("{:<28} {} {}\n", row.result, row.object, row.program);
        out += &format!("    ours    {}\n    kernel  {}\n", shown(&row.ours), shown(&row.theirs));
    }
    if let Some(changes) = &doc.changes {
        out += &format!("{} programs changed since the last run\n", changes.len());
        for c in changes {
            let word = |r: &Option<Row>| match r {
                None => "absent".to_string(),
                Some(r) => {
                    format!("{} (ours {}, kernel {})", r.result, r.ours.verdict, r.theirs.verdict)
                }
            };
            out += &format!(
                "    {} {}: {} → {}\n",
                c.object,
                c.program,
                word(&c.before),
                word(&c.now)
            );
        }
    }
    for why in &doc.unreadable {
        out += &format!("unreadable: {why}\n");
    }
    let totals: Vec<String> =
        doc.totals.iter().map(|(result, n)| format!("{n} {result}")).collect();
    out + &format!("{} programs for Linux {}: {}\n", doc.rows.len(), doc.kernel, totals.join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn side(verdict: &str, errno: Option<i32>, message: &str, insns: u32) -> Side {
        let message = (!message.is_empty()).then(|| message.to_string());
        Side { verdict: verdict.to_string(), errno, message, insns_processed: Some(insns) }
    }

    fn row(program: &str, ours: Side, theirs: Side) -> Row {
        let result = result(&ours, &theirs).to_string();
        Row { object: "a.o".into(), program: program.into(), result, ours, theirs }
    }

    #[test]
    fn the_worst_difference_is_named() {
        let yes = side("accepted", None, "", 9);
        let no = side("rejected", Some(13), "R0 !read_ok", 3);
        assert_eq!(result(&yes, &yes), EQUAL);
        assert_eq!(result(&yes, &no), "accepted, the kernel rejects");
        assert_eq!(result(&no, &yes), "rejected, the kernel accepts");
        assert_eq!(result(&no, &Side { errno: Some(22), ..no.clone() }), "errno");
        assert_eq!(result(&no, &side("rejected", Some(13), "R1 !read_ok", 3)), "message");
        assert_eq!(result(&yes, &side("accepted", None, "", 8)), "counters");
        assert_eq!(result(&side("unsupported", None, "", 0), &yes), "unsupported");
        assert_eq!(result(&yes, &Side { verdict: NOT_ASKED.into(), ..Side::default() }), NOT_ASKED);
    }

    #[test]
    fn what_changed_is_told_from_what_stayed() {
        let yes = side("accepted", None, "", 9);
        let no = side("rejected", Some(13), "R0 !read_ok", 3);
        let before = [
            row("same", yes.clone(), yes.clone()),
            row("gone", yes.clone(), yes.clone()),
            row("turned", yes.clone(), yes.clone()),
        ];
        let now = [
            row("same", yes.clone(), yes.clone()),
            row("turned", no, yes.clone()),
            row("new", yes.clone(), yes),
        ];
        let names: Vec<_> = changes(&before, &now)
            .into_iter()
            .map(|c| (c.program, c.before.is_some(), c.now.is_some()))
            .collect();
        let of = |n: &str, b, a| (n.to_string(), b, a);
        assert_eq!(
            names,
            [of("new", false, true), of("turned", true, true), of("gone", true, false)]
        );
    }
}
