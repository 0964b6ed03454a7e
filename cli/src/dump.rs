//! `bpfassay dump`: the control-flow graph of a program as DOT, its machine code as text or DOT.

use std::fmt::Write as _;
use std::path::PathBuf;

use bpfassay_ci::files::MAX_OBJECT;
use bpfassay_isa::RawInsn;
use bpfassay_object::model::{MapDef, Program, SubprogOrigin};
use bpfassay_verifier::cfg::blocks::{blocks, Block};
use bpfassay_verifier::rewrite::verify_and_rewrite;
use bpfassay_verifier::Verdict;
use clap::Subcommand;
use serde_json::{json, Value};
use unicode_width::UnicodeWidthStr;

use crate::exit::{fail, Outcome};
use crate::inputs::{self, Input};
use crate::jited::{self, ProcessorName};
use crate::out;
use crate::setup::{self, KernelArgs};
use crate::xlated::{self, listing, listing_json, Show};

#[derive(clap::Args)]
#[command(after_help = "Examples:
  bpfassay dump object prog.o
  bpfassay dump cfg prog.o --prog ingress | dot -Tsvg > cfg.svg
  bpfassay dump jited prog.o --prog ingress --engine arm64")]
pub struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// The programs and maps of an object, as a loader finds them.
    #[command(after_help = "Example:\n  bpfassay dump object prog.o --format json")]
    Object(ObjectArgs),
    /// The control-flow graph in the DOT language, a cluster per subprogram.
    #[command(
        after_help = "Example:\n  bpfassay dump cfg prog.o --prog ingress | dot -Tsvg > cfg.svg"
    )]
    Cfg(CfgArgs),
    /// The code of a JIT with BPF and source lines beside it; emitted here for either processor.
    #[command(after_help = "Example:\n  bpfassay dump jited prog.o --prog ingress --engine arm64")]
    Jited(JitedArgs),
    /// The program as the verifier leaves it, as `bpftool prog dump xlated` prints a loaded one; maps by name, calls by
    /// symbol, where the kernel has numbers of its own.
    #[command(after_help = "Examples:
  bpfassay dump xlated prog.o --prog ingress --opcodes
  bpfassay dump xlated prog.o --prog ingress --format dot | dot -Tsvg > run.svg")]
    Xlated(XlatedArgs),
}

#[derive(clap::Args)]
struct XlatedArgs {
    #[command(flatten)]
    program: CfgArgs,
    /// Print the bytes of each instruction.
    #[arg(long)]
    opcodes: bool,
    /// Print file, line and column of source lines.
    #[arg(long)]
    linum: bool,
    /// A listing; what `bpftool --json` prints; or the control-flow graph, as its `visual` draws it.
    #[arg(long, value_enum, default_value = "text")]
    format: XlatedFormat,
}

#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum XlatedFormat {
    Text,
    Json,
    Dot,
}

#[derive(clap::Args)]
struct ObjectArgs {
    /// Object, or `-` for standard input.
    #[arg(value_name = "OBJ")]
    object: PathBuf,
    #[command(flatten)]
    kernel: KernelArgs,
    #[arg(long, value_enum, default_value = "text")]
    format: Listing,
}

#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Listing {
    Text,
    Json,
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
        What::Object(args) => return object(args).unwrap_or_else(|outcome| outcome),
        What::Xlated(args) => return xlated(args).unwrap_or_else(|outcome| outcome),
        What::Cfg(args) => with_program(args, |p| Ok(graph(p))),
        What::Jited(args) => with_program(&args.program, |p| match args.format {
            Format::Text => jited::listing(p, args.engine),
            Format::Dot => jited::dot(p, args.engine),
        }),
    };
    text.map_or_else(|outcome| outcome, |t| out::text(&t, Outcome::Ok))
}

/// Judges one program and prints what becomes of it.
fn xlated(args: &XlatedArgs) -> Result<Outcome, Outcome> {
    let target = setup::target(&args.program.kernel)?;
    let at = Input::of(&args.program.object).display();
    let bytes = inputs::read(&args.program.object, MAX_OBJECT)?;
    let entries = target
        .load(&bytes, &at)
        .map_err(|e| fail(Outcome::NotJudged, format!("{at}: {}", e.message)))?;
    let program = setup::choose(&entries, args.program.prog.as_deref())
        .map_err(|e| fail(Outcome::NotJudged, format!("{at}: {e}")))?;
    let (report, rewritten) = verify_and_rewrite(program, &target.config());
    match (report.verdict, rewritten) {
        (Verdict::Accepted, Ok(slots)) => {
            let show = Show { opcodes: args.opcodes, places: args.linum };
            Ok(match args.format {
                XlatedFormat::Text => out::text(&listing(program, &slots, show), Outcome::Ok),
                XlatedFormat::Dot => out::text(&xlated::graph(program, &slots, show), Outcome::Ok),
                XlatedFormat::Json => {
                    let rows = listing_json(program, &slots, show);
                    out::machine(format!("{rows:#}\n").as_bytes(), Outcome::Ok)
                }
            })
        }
        (Verdict::Rejected(_), _) => {
            let why = report.message_lines.last().map_or("", String::as_str);
            Err(fail(Outcome::Rejected, format!("{at}: the program is rejected: {why}")))
        }
        (Verdict::Unsupported(why), _) => {
            Err(fail(Outcome::NotJudged, format!("{at}: unsupported: {why}")))
        }
        (_, Err(why)) => Err(fail(Outcome::NotJudged, format!("{at}: unsupported: {why}"))),
    }
}

/// Lists an object's programs and maps; what a loader would not load says why.
fn object(args: &ObjectArgs) -> Result<Outcome, Outcome> {
    const SCHEMA: &str = "bpfassay.object/1";
    if args.format == Listing::Json {
        out::expect_json(SCHEMA);
    }
    let target = setup::target(&args.kernel)?;
    let at = Input::of(&args.object).display();
    let bytes = inputs::read(&args.object, MAX_OBJECT)?;
    let object = target
        .load_object(&bytes, &at)
        .map_err(|e| fail(Outcome::NotJudged, format!("{at}: {}", e.message)))?;
    let programs: Vec<Value> = object.programs.iter().map(program_row).collect();
    let maps: Vec<Value> = object.maps.iter().map(map_row).collect();
    if args.format == Listing::Json {
        let doc = json!({
            "schema": SCHEMA,
            "license": object.license,
            "programs": programs,
            "maps": maps,
        });
        return Ok(out::machine(format!("{doc:#}\n").as_bytes(), Outcome::Ok));
    }
    let mut said = String::new();
    rows(
        &mut said,
        &["PROGRAM", "SECTION", "TYPE", "ATTACH", "TARGET", "INSNS", "WHY NOT"],
        &programs,
    );
    if !maps.is_empty() {
        said.push('\n');
        rows(&mut said, &["MAP", "TYPE", "KEY", "VALUE", "ENTRIES", "FLAGS"], &maps);
    }
    let _ = writeln!(said, "\nlicence {}", object.license);
    Ok(out::text(&said, Outcome::Ok))
}

/// Keys in the order of the columns.
fn program_row(entry: &bpfassay_object::Entry) -> Value {
    let p = entry.program.as_ref().ok();
    json!({
        "name": entry.name,
        "section": entry.section,
        "prog_type": p.map(|p| p.prog_type.name()),
        "attach_type": p.and_then(|p| p.expected_attach_type).map(|a| a.name()),
        "attach_target": p.and_then(|p| p.attach_target.as_ref()).map(|t| t.name.as_str()),
        "insn_cnt": p.map(|p| p.insns.len()),
        "error": entry.program.as_ref().err().map(ToString::to_string),
    })
}

fn map_row(map: &MapDef) -> Value {
    json!({
        "name": map.source_name,
        "map_type": map.map_type.name(),
        "key_size": map.key_size,
        "value_size": map.value_size,
        "max_entries": map.max_entries,
        "map_flags": format!("{:#x}", map.map_flags),
    })
}

/// A table of objects whose keys stand in `keys`' order.
fn rows(out: &mut String, head: &[&str], list: &[Value]) {
    let keys: &[&str] = match head[0] {
        "MAP" => &["name", "map_type", "key_size", "value_size", "max_entries", "map_flags"],
        _ => &["name", "section", "prog_type", "attach_type", "attach_target", "insn_cnt", "error"],
    };
    let cell = |v: &Value| match v {
        Value::Null => "-".to_string(),
        Value::String(s) => s.replace(['\n', '\r'], " "),
        other => other.to_string(),
    };
    let mut table: Vec<Vec<String>> = vec![head.iter().map(|h| h.to_string()).collect()];
    table.extend(list.iter().map(|row| keys.iter().map(|k| cell(&row[k])).collect()));
    let width = |c: usize| table.iter().map(|r| r[c].width()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    for row in &table {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            line.push_str(cell);
            line.push_str(&" ".repeat(width - cell.width() + 2));
        }
        let _ = writeln!(out, "{}", line.trim_end());
    }
}

fn with_program(
    args: &CfgArgs,
    show: impl FnOnce(&Program) -> Result<String, String>,
) -> Result<String, Outcome> {
    let target = setup::target(&args.kernel)?;
    let at = Input::of(&args.object).display();
    let bytes = inputs::read(&args.object, MAX_OBJECT)?;
    let entries = target
        .load(&bytes, &at)
        .map_err(|e| fail(Outcome::NotJudged, format!("{at}: {}", e.message)))?;
    let program = setup::choose(&entries, args.prog.as_deref())
        .map_err(|why| fail(Outcome::NotJudged, format!("{at}: {why}")))?;
    show(program).map_err(|why| fail(Outcome::NotJudged, format!("{at}: {why}")))
}

/// A name inside the quotes of the DOT language.
pub fn quoted(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"")
}

fn graph(program: &Program) -> String {
    let mut out = format!(
        "digraph \"{}\" {{\n  node [shape=box fontname=monospace];\n",
        quoted(&program.name)
    );
    let all = blocks(&program.insns);
    for (i, s) in program.subprogs.iter().enumerate() {
        let _ = writeln!(out, "  subgraph cluster_{i} {{\n    label=\"{}\";", quoted(&s.name));
        for b in within(&all, s) {
            node(&mut out, &program.insns, b);
        }
        out.push_str("  }\n");
    }
    for b in &all {
        for to in &b.successors {
            let _ = writeln!(out, "  b{} -> b{to};", b.start);
        }
    }
    out.push_str("}\n");
    out
}

/// The blocks of a subprogram; `all` is in ascending order.
pub fn within<'b>(all: &'b [Block], s: &SubprogOrigin) -> &'b [Block] {
    let before = |slot: u32| all.partition_point(|b| b.start < slot);
    all.get(before(s.insn_off)..before(s.insn_off.saturating_add(s.insn_cnt))).unwrap_or_default()
}

fn node(out: &mut String, insns: &[RawInsn], block: &Block) {
    let _ = write!(out, "    b{} [label=\"", block.start);
    let mut i = block.start;
    while i < block.end {
        let text = bpfassay_judge::insn_text(insns, i).unwrap_or_default();
        // \l ends a left-aligned line in DOT.
        let _ = write!(out, "{i}: {}\\l", quoted(&text));
        i += insns.get(i as usize).map_or(1, |n| if n.is_ld_imm64() { 2 } else { 1 });
    }
    out.push_str("\"];\n");
}
