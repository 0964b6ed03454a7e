//! The command line: one file per subcommand, no logic worth a unit test.

// Everything is written through `out`.
#![deny(clippy::print_stdout, clippy::print_stderr)]

use std::process::ExitCode;

use clap::{ColorChoice, CommandFactory, FromArgMatches, Parser, Subcommand};

mod asm;
mod check;
mod classic;
mod compare;
mod diff;
mod diff_log;
mod dump;
mod exit;
mod explain;
mod fleet;
mod fuzz;
mod gate;
mod inputs;
mod jited;
#[cfg(unix)]
mod kernels;
mod manual;
mod out;
mod profile;
mod progress;
mod prove;
mod record;
mod run;
mod selftests;
mod setup;
mod xlated;

/// Would Linux accept this eBPF program?  Asked without root and without a kernel.
#[derive(Parser)]
#[command(name = "bpfassay", version, max_term_width = 100)]
#[command(after_help = "Examples:
  bpfassay check prog.o          would Linux accept it, and if not, why?
  bpfassay explain loader.log    what does this log mean, and what should I change?
  bpfassay run prog.o --data-in packet.bin

Exit status: 0 all is well, 1 a program is rejected or a comparison failed, 2 something could not be
judged or written, 3 internal error, 64 the command line is wrong.")]
struct Cli {
    /// Colours: where the terminal takes them (not with NO_COLOR or TERM=dumb), always, or never.
    #[arg(
        long,
        global = true,
        value_name = "WHEN",
        default_value = "auto",
        hide_possible_values = true
    )]
    color: ColorChoice,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Judge every program of the given objects as the kernel's verifier would.
    Check(check::Args),
    /// Judge programs on every kernel of a fleet and say which change turns a verdict.
    Fleet(fleet::Args),
    /// Judge what a configuration names and hold it against its rules, for CI.
    Gate(gate::Args),
    /// Judge objects beside the running kernel and show where the answers part.
    Compare(compare::Args),
    /// Judge objects against what a kernel said or says, and show what changed since the last time.
    Diff(diff::Args),
    /// Write down what the running kernel says of objects, or a profile of it.
    Record(record::Args),
    /// Make a profile of a kernel from its package's files, without booting it.
    Profile(profile::Args),
    /// Fetch other kernels and ask them, each in a virtual machine.
    #[cfg(unix)]
    Kernels(kernels::Args),
    /// Assemble text in the kernel's disassembly syntax.
    Asm(asm::AsmArgs),
    /// Print programs in the kernel's disassembly syntax.
    Disasm(asm::DisasmArgs),
    /// Run a program on an input and print what it returns.
    Run(run::Args),
    /// Print what is known of a program: its control-flow graph, its machine code.
    Dump(dump::Args),
    /// Judge the test programs of a kernel tree beside their annotations and the running kernel.
    Selftests(selftests::Args),
    /// Say in plain words what a kernel's verifier log, one message, or a code of a report means.
    Explain(explain::Args),
    /// Make programs by the million and hold them against oracles.
    Fuzz(fuzz::Args),
    /// Prove the verifier's arithmetic with a solver (builds with the feature `smt`).
    Prove(prove::Args),
    /// Name the first place where our log leaves the kernel's.
    DiffLog(diff_log::Args),
    /// Print completions for a shell.
    Completions(manual::CompletionsArgs),
    /// Write the man pages to a folder.
    Man(manual::ManArgs),
}

fn main() -> ExitCode {
    let command = Cli::command().color(colour());
    let cli = match command.try_get_matches().and_then(|m| Cli::from_arg_matches(&m)) {
        Ok(cli) => cli,
        Err(e) => return out::clap(&e).into(),
    };
    out::set_colour(cli.color);
    let outcome = std::panic::catch_unwind(|| run(cli.command));
    out::finish(outcome.unwrap_or(exit::Outcome::Internal)).into()
}

/// What `--color` says, for help and mistakes: they are written before the arguments are known.
fn colour() -> ColorChoice {
    let mut args = std::env::args_os().skip(1);
    let mut choice = ColorChoice::Auto;
    while let Some(arg) = args.next() {
        let Some(arg) = arg.to_str() else { continue };
        let value = match arg.strip_prefix("--color") {
            Some("") => args.next().and_then(|v| v.into_string().ok()),
            Some(rest) => rest.strip_prefix('=').map(str::to_string),
            None => None,
        };
        choice = value.and_then(|v| v.parse().ok()).unwrap_or(choice);
    }
    out::set_colour(choice);
    choice
}

fn run(command: Command) -> exit::Outcome {
    match command {
        Command::Check(args) => check::run(args),
        #[cfg(unix)]
        Command::Kernels(args) => kernels::run(args),
        Command::Fleet(args) => fleet::run(args),
        Command::Gate(args) => gate::run(args),
        Command::Compare(args) => compare::run(args),
        Command::Diff(args) => diff::run(args),
        Command::Record(args) => record::run(args),
        Command::Profile(args) => profile::run(args),
        Command::Asm(args) => asm::run_asm(args),
        Command::Disasm(args) => asm::run_disasm(args),
        Command::Run(args) => run::run(args),
        Command::Dump(args) => dump::run(args),
        Command::Selftests(args) => selftests::run(args),
        Command::Explain(args) => explain::run(args),
        Command::Fuzz(args) => fuzz::run(args),
        Command::Prove(args) => prove::run(args),
        Command::DiffLog(args) => diff_log::run(args),
        Command::Completions(args) => manual::completions(args, Cli::command()),
        Command::Man(args) => manual::man(args, Cli::command()),
    }
}
