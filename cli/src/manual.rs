//! Shell completions and man pages, both from the command line's own definition; for packagers.

use std::io::Write;
use std::path::{Path, PathBuf};

use clap::Command;
use clap_complete::Shell;

use crate::exit::{fail, Outcome, EXIT_STATUS};
use crate::out;

#[derive(clap::Args)]
#[command(after_help = "Example:
  bpfassay completions bash > /etc/bash_completion.d/bpfassay")]
pub struct CompletionsArgs {
    /// Whose completions.
    shell: Shell,
}

#[derive(clap::Args)]
#[command(after_help = "Example:
  bpfassay man /usr/local/share/man/man1")]
pub struct ManArgs {
    /// Folder for `bpfassay.1` and a page per subcommand.
    folder: PathBuf,
}

pub fn completions(args: CompletionsArgs, mut command: Command) -> Outcome {
    let mut text = Vec::new();
    clap_complete::generate(args.shell, &mut command, "bpfassay", &mut text);
    out::machine(&text, Outcome::Ok)
}

pub fn man(args: ManArgs, command: Command) -> Outcome {
    let written = std::fs::create_dir_all(&args.folder);
    if let Err(e) = written {
        return fail(Outcome::NotJudged, format!("{}: {e}", args.folder.display()));
    }
    let mut command = command;
    // Gives subcommands the names they are called by.
    command.build();
    pages(&command, "bpfassay", &args.folder).err().unwrap_or(Outcome::Ok)
}

/// The page of a command called `name`, and those of its subcommands.
fn pages(command: &Command, name: &str, folder: &Path) -> Result<(), Outcome> {
    let page = clap_mangen::Man::new(command.clone()).title(name);
    let mut text = Vec::new();
    let rendered = page.render(&mut text).and_then(|()| exit_status(&mut text));
    let file = folder.join(format!("{name}.1"));
    rendered.map_err(|e| fail(Outcome::Internal, format!("{}: {e}", file.display())))?;
    out::file(&file, text)?;
    for sub in command.get_subcommands().filter(|s| !s.is_hide_set() && s.get_name() != "help") {
        pages(sub, &format!("{name}-{}", sub.get_name()), folder)?;
    }
    Ok(())
}

fn exit_status(page: &mut Vec<u8>) -> std::io::Result<()> {
    writeln!(page, ".SH \"EXIT STATUS\"")?;
    for line in EXIT_STATUS.lines() {
        let (status, meaning) = line.split_once(' ').unwrap_or((line, ""));
        writeln!(page, ".TP\n{status}\n{}", meaning.trim())?;
    }
    Ok(())
}
