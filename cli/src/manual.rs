//! Shell completions and man pages, both from the command line's own definition; for packagers.

use std::io::Write;
use std::path::PathBuf;

use clap::Command;
use clap_complete::Shell;

use crate::exit::{fail, Outcome};

#[derive(clap::Args)]
pub struct CompletionsArgs {
    shell: Shell,
}

#[derive(clap::Args)]
pub struct ManArgs {
    /// Folder for `bpfassay.1` and a page per subcommand.
    folder: PathBuf,
}

pub fn completions(args: CompletionsArgs, mut command: Command) -> Outcome {
    let mut text = Vec::new();
    clap_complete::generate(args.shell, &mut command, "bpfassay", &mut text);
    match std::io::stdout().lock().write_all(&text) {
        Err(e) if e.kind() != std::io::ErrorKind::BrokenPipe => fail(Outcome::NotJudged, e),
        _ => Outcome::Ok,
    }
}

pub fn man(args: ManArgs, command: Command) -> Outcome {
    let written = std::fs::create_dir_all(&args.folder)
        .and_then(|()| clap_mangen::generate_to(command, &args.folder));
    match written {
        Ok(()) => Outcome::Ok,
        Err(e) => fail(Outcome::NotJudged, format!("{}: {e}", args.folder.display())),
    }
}
