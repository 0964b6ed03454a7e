//! The command line: one file per subcommand, no logic worth a unit test.

use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

mod asm;
mod check;
mod classic;
mod compare;
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
mod profile;
mod prove;
mod record;
mod render;
mod run;
mod selftests;
mod setup;

/// Would Linux accept this eBPF program?  Asked without root and without a kernel.
#[derive(Parser)]
#[command(name = "bpfassay", version, max_term_width = 100)]
struct Cli {
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
    #[command(hide = true)]
    Completions(manual::CompletionsArgs),
    /// Write the man pages to a folder.
    #[command(hide = true)]
    Man(manual::ManArgs),
}

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(e) => {
            let _ = e.print();
            // Help and version are answers, not mistakes.
            return if e.use_stderr() { exit::Outcome::Usage } else { exit::Outcome::Ok }.into();
        }
    };
    let outcome = match cli.command {
        Command::Check(args) => check::run(args),
        #[cfg(unix)]
        Command::Kernels(args) => kernels::run(args),
        Command::Fleet(args) => fleet::run(args),
        Command::Gate(args) => gate::run(args),
        Command::Compare(args) => compare::run(args),
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
    };
    outcome.into()
}
