//! `bpfassay record`: what the running kernel says, written down.

use std::path::{Path, PathBuf};

use bpfassay_corpus::truth::Answer;
use bpfassay_harness::kernel::{Host, LoadOptions};
use bpfassay_harness::profile::record as record_profile;
use bpfassay_harness::record::Recorder;

use crate::exit::{fail, Outcome};
use crate::inputs;
use crate::out;

/// Loads every program of the objects into the running kernel, which never attaches them, and
/// stores verdict, errno, message, statistics and level-2 log; or writes a profile of the kernel, or what a loader
/// hands to it.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  sudo bpfassay record --profile fleet.json
  sudo bpfassay record --out truth build/
  sudo bpfassay record --plan app.json --exec ./app --flag    # then: check --plan app.json")]
pub struct Args {
    /// Objects, or folders of objects.
    #[arg(value_name = "OBJ", required_unless_present_any = ["profile", "exec"])]
    objects: Vec<PathBuf>,
    /// Folder for the records; a folder per release is made in it.
    #[arg(long, value_name = "DIR", default_value = "truth")]
    out: PathBuf,
    /// Write a profile of the running kernel to this file.
    #[arg(long, value_name = "FILE", conflicts_with = "objects")]
    profile: Option<PathBuf>,
    /// Run this command, the rest of the line, and note the maps, types and programs that it and what it starts hand to
    /// the kernel; what it attaches it attaches itself.
    #[arg(
        long,
        value_name = "COMMAND",
        num_args = 1..,
        allow_hyphen_values = true,
        conflicts_with_all = ["objects", "profile"]
    )]
    exec: Vec<String>,
    /// File for what `--exec` notes.
    #[arg(long, value_name = "FILE", default_value = "plan.json")]
    plan: PathBuf,
}

pub fn run(args: Args) -> Outcome {
    let done = match &args.profile {
        Some(path) => profile(path),
        None if !args.exec.is_empty() => plan(&args.exec, &args.plan),
        None => truth(&args),
    };
    done.unwrap_or_else(|o| o)
}

fn profile(path: &Path) -> Result<Outcome, Outcome> {
    let host = Host::read().map_err(|e| fail(Outcome::NotJudged, e))?;
    let profile = record_profile(&host).map_err(|e| fail(Outcome::NotJudged, e))?;
    let text = profile.to_json();
    out::file(path, &text)?;
    let said = format!("{}: profile of {}, {} bytes\n", path.display(), host.release, text.len());
    Ok(out::text(&said, Outcome::Ok))
}

#[cfg(target_os = "linux")]
fn plan(command: &[String], to: &Path) -> Result<Outcome, Outcome> {
    let recorded = bpfassay_harness::trace::record(command);
    let (plan, status) = recorded.map_err(|e| fail(Outcome::NotJudged, e))?;
    let text = serde_json::to_string(&plan).map_err(|e| fail(Outcome::Internal, e))?;
    out::file(to, &text)?;
    let refused = plan.programs.iter().filter(|p| p.errno != 0).count();
    let said = format!(
        "{}: {} maps, {} programs, {refused} of them refused; the command ended with status {status}\n",
        to.display(),
        plan.maps.len(),
        plan.programs.len(),
    );
    if plan.programs.is_empty() {
        return Err(fail(Outcome::NotJudged, "the command loaded no program"));
    }
    Ok(out::text(&said, Outcome::Ok))
}

#[cfg(not(target_os = "linux"))]
fn plan(_: &[String], _: &Path) -> Result<Outcome, Outcome> {
    Err(fail(Outcome::NotJudged, "a loader is traced on Linux only"))
}

fn truth(args: &Args) -> Result<Outcome, Outcome> {
    let inputs = inputs::collect(&args.objects);
    let mut recorder =
        Recorder::new(LoadOptions::default()).map_err(|e| fail(Outcome::NotJudged, e))?;
    let folder = args.out.join(recorder.release());
    let mut outcome = if inputs.is_empty() { Outcome::NotJudged } else { Outcome::Ok };
    let (mut accepted, mut rejected, mut not_asked) = (0, 0, 0);
    for input in &inputs {
        let label = label(&input.display(), &args.objects);
        // What cannot be read costs itself.
        let read = input.read().map_err(|e| e.to_string());
        let asked = read.and_then(|b| recorder.object(&b, &label).map_err(|e| e.to_string()));
        let truth = match asked {
            Ok(truth) => truth,
            Err(e) => {
                outcome = fail(Outcome::NotJudged, format!("{}: {e}", input.display()));
                continue;
            }
        };
        for p in &truth.programs {
            match p.answer {
                Answer::Accepted => accepted += 1,
                Answer::Rejected { .. } => rejected += 1,
                Answer::NotAsked { .. } => not_asked += 1,
            }
        }
        truth
            .write(&folder)
            .map_err(|e| fail(Outcome::NotJudged, format!("{}: {e}", folder.display())))?;
    }
    let said = format!(
        "{}: {} objects, {accepted} accepted, {rejected} rejected, {not_asked} not asked\n",
        folder.display(),
        inputs.len()
    );
    Ok(out::text(&said, outcome))
}

/// An object's path below the folder it was found in.
pub(crate) fn label(path: &str, roots: &[PathBuf]) -> String {
    let path = Path::new(path);
    let below = roots.iter().find_map(|r| path.strip_prefix(r).ok());
    let label = match below {
        Some(p) if !p.as_os_str().is_empty() => p,
        _ => path.file_name().map_or(path, Path::new),
    };
    label.to_string_lossy().replace('\\', "/")
}
