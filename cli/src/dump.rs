//! `bpfassay dump`: the control-flow graph of a program as DOT, its machine code as text or DOT.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::PathBuf;

use bpfassay_isa::RawInsn;
use bpfassay_object::model::Program;
use bpfassay_verifier::cfg::blocks::{blocks, Block};
use clap::Subcommand;

use crate::exit::{fail, Outcome};
use crate::inputs::Input;
use crate::jited::{self, ProcessorName};
use crate::setup::{self, KernelArgs};

#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// The control-flow graph in the DOT language, a cluster per subprogram.
    Cfg(CfgArgs),
    /// The code of a JIT with BPF and source lines beside it; emitted here for either processor.
    Jited(JitedArgs),
}

#[derive(clap::Args)]
struct JitedArgs {
    #[command(flatten)]
    program: CfgArgs,
    #[arg(long, value_enum)]
    engine: ProcessorName,
    /// A listing, or the control-flow graph with the code in its blocks.
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum Format {
    Text,
    Dot,
}

#[derive(clap::Args)]
struct CfgArgs {
    /// Object, or `-` for standard input.
    #[arg(value_name = "OBJ")]
    object: PathBuf,
    #[command(flatten)]
    kernel: KernelArgs,
    /// Program of the object; needed where it has more than one.
    #[arg(long, value_name = "NAME")]
    prog: Option<String>,
}

pub fn run(args: Args) -> Outcome {
    let text = match &args.what {
        What::Cfg(args) => with_program(args, |p| Ok(graph(p))),
        What::Jited(args) => with_program(&args.program, |p| match args.format {
            Format::Text => jited::listing(p, args.engine),
            Format::Dot => jited::dot(p, args.engine),
        }),
    };
    text.and_then(|t| print(&t)).unwrap_or_else(|o| o)
}

fn print(text: &str) -> Result<Outcome, Outcome> {
    match std::io::stdout().lock().write_all(text.as_bytes()) {
        Err(e) if e.kind() != std::io::ErrorKind::BrokenPipe => Err(fail(Outcome::NotJudged, e)),
        _ => Ok(Outcome::Ok),
    }
}

fn with_program(
    args: &CfgArgs,
    show: impl FnOnce(&Program) -> Result<String, String>,
) -> Result<String, Outcome> {
    let target = setup::target(&args.kernel)?;
    let input = if args.object.as_os_str() == "-" {
        Input::Stdin
    } else {
        Input::File(args.object.clone())
    };
    let at = input.display();
    let bytes = input.read().map_err(|e| fail(Outcome::NotJudged, format!("{at}: {e}")))?;
    let entries = target
        .load(&bytes, &at)
        .map_err(|e| fail(Outcome::NotJudged, format!("{at}: {}", e.message)))?;
    let program = setup::choose(&entries, args.prog.as_deref())
        .map_err(|why| fail(Outcome::NotJudged, format!("{at}: {why}")))?;
    show(program).map_err(|why| fail(Outcome::NotJudged, format!("{at}: {why}")))
}

fn graph(program: &Program) -> String {
    let mut out =
        format!("digraph \"{}\" {{\n  node [shape=box fontname=monospace];\n", program.name);
    for (i, s) in program.subprogs.iter().enumerate() {
        let _ = writeln!(out, "  subgraph cluster_{i} {{\n    label=\"{}\";", s.name);
        let range = s.insn_off..s.insn_off + s.insn_cnt;
        for b in blocks(&program.insns).iter().filter(|b| range.contains(&b.start)) {
            node(&mut out, &program.insns, b);
        }
        out.push_str("  }\n");
    }
    for b in blocks(&program.insns) {
        for to in b.successors {
            let _ = writeln!(out, "  b{} -> b{to};", b.start);
        }
    }
    out.push_str("}\n");
    out
}

fn node(out: &mut String, insns: &[RawInsn], block: &Block) {
    let _ = write!(out, "    b{} [label=\"", block.start);
    let mut i = block.start;
    while i < block.end {
        let text = bpfassay_judge::insn_text(insns, i).unwrap_or_default();
        // \l ends a left-aligned line in DOT.
        let _ = write!(out, "{i}: {}\\l", text.replace('\\', "\\\\").replace('"', "\\\""));
        i += insns.get(i as usize).map_or(1, |n| if n.is_ld_imm64() { 2 } else { 1 });
    }
    out.push_str("\"];\n");
}
