//! `bpfassay record`: what the running kernel says, written down.

use std::fs;
use std::path::{Path, PathBuf};

use bpfassay_corpus::truth::Answer;
use bpfassay_harness::kernel::{Host, LoadOptions};
use bpfassay_harness::profile::record as record_profile;
use bpfassay_harness::record::Recorder;

use crate::exit::{fail, Outcome};
use crate::inputs;

/// Loads every program of the objects into the running kernel, which never attaches them, and
/// stores verdict, errno, message, statistics and level-2 log; or writes a profile of the kernel.
#[derive(clap::Args)]
pub struct Args {
    /// Objects, or folders of objects.
    #[arg(value_name = "OBJ", required_unless_present = "profile")]
    objects: Vec<PathBuf>,
    /// Folder for the records; a folder per release is made in it.
    #[arg(long, value_name = "DIR", default_value = "truth")]
    out: PathBuf,
    /// Write a profile of the running kernel to this file.
    #[arg(long, value_name = "FILE", conflicts_with = "objects")]
    profile: Option<PathBuf>,
}

pub fn run(args: Args) -> Outcome {
    let done = match &args.profile {
        Some(path) => profile(path),
        None => truth(&args),
    };
    done.unwrap_or_else(|o| o)
}

fn profile(path: &Path) -> Result<Outcome, Outcome> {
    let host = Host::read().map_err(|e| fail(Outcome::NotJudged, e))?;
    let profile = record_profile(&host).map_err(|e| fail(Outcome::NotJudged, e))?;
    let text = profile.to_json();
    fs::write(path, &text)
        .map_err(|e| fail(Outcome::NotJudged, format!("{}: {e}", path.display())))?;
    println!("{}: profile of {}, {} bytes", path.display(), host.release, text.len());
    Ok(Outcome::Ok)
}

fn truth(args: &Args) -> Result<Outcome, Outcome> {
    let inputs = inputs::collect(&args.objects).map_err(|e| fail(Outcome::NotJudged, e))?;
    let mut recorder =
        Recorder::new(LoadOptions::default()).map_err(|e| fail(Outcome::NotJudged, e))?;
    let folder = args.out.join(recorder.release());
    let (mut accepted, mut rejected, mut not_asked) = (0, 0, 0);
    for input in &inputs {
        let label = label(&input.display(), &args.objects);
        let bytes = input
            .read()
            .map_err(|e| fail(Outcome::NotJudged, format!("{}: {e}", input.display())))?;
        let truth = recorder.object(&bytes, &label).map_err(|e| fail(Outcome::NotJudged, e))?;
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
    println!(
        "{}: {} objects, {accepted} accepted, {rejected} rejected, {not_asked} not asked",
        folder.display(),
        inputs.len()
    );
    Ok(if inputs.is_empty() { Outcome::NotJudged } else { Outcome::Ok })
}

/// An object's path below the folder it was found in.
fn label(path: &str, roots: &[PathBuf]) -> String {
    let path = Path::new(path);
    let below = roots.iter().find_map(|r| path.strip_prefix(r).ok());
    let label = match below {
        Some(p) if !p.as_os_str().is_empty() => p,
        _ => path.file_name().map_or(path, Path::new),
    };
    label.to_string_lossy().replace('\\', "/")
}
