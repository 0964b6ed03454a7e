//! `bpfassay asm` and `bpfassay disasm`.

use std::fs;
use std::io::{Read, Write};
use std::path::PathBuf;

use bpfassay_isa::asm::{assemble, Resolve};
use bpfassay_isa::RawInsn;
use bpfassay_object::model::Program;
use bpfassay_spec::helper::func_id;
use clap::ValueEnum;

use crate::classic;
use crate::exit::{fail, Outcome};
use crate::inputs::{self, Input};
use crate::setup::{self, Entry, KernelArgs};

/// Assembles text in the kernel's own disassembly syntax, labels allowed.
#[derive(clap::Args)]
pub struct AsmArgs {
    /// Text file, or `-` for standard input.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Where the instructions go; standard output otherwise.
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    #[arg(long, value_enum, default_value_t = AsmFormat::Raw)]
    format: AsmFormat,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum AsmFormat {
    /// Eight little-endian bytes per slot.
    Raw,
    /// Sixteen hexadecimal digits per line.
    Hex,
}

struct HelperNames;

impl Resolve for HelperNames {
    fn helper(&self, name: &str) -> Option<i32> {
        func_id(name).and_then(|id| i32::try_from(id).ok())
    }
}

pub fn run_asm(args: AsmArgs) -> Outcome {
    asm(&args).unwrap_or_else(|o| o)
}

fn asm(args: &AsmArgs) -> Result<Outcome, Outcome> {
    let input =
        if args.file.as_os_str() == "-" { Input::Stdin } else { Input::File(args.file.clone()) };
    let at = input.display();
    let bytes = input.read().map_err(|e| fail(Outcome::NotJudged, format!("{at}: {e}")))?;
    let text = String::from_utf8(bytes).map_err(|e| {
        fail(
            Outcome::NotJudged,
            format!("{at}: not UTF-8 at byte {}", e.utf8_error().valid_up_to()),
        )
    })?;
    let insns = assemble(&text, &HelperNames)
        .map_err(|e| fail(Outcome::NotJudged, format!("{at}:{}:{}: {e}", e.line, e.column)))?;
    let out: Vec<u8> = match args.format {
        AsmFormat::Raw => insns.iter().flat_map(|i| i.to_le_bytes()).collect(),
        AsmFormat::Hex => insns.iter().flat_map(|i| hex_line(*i).into_bytes()).collect(),
    };
    let written = match &args.output {
        Some(path) => fs::write(path, &out),
        None => std::io::stdout().lock().write_all(&out),
    };
    written.map_err(|e| fail(Outcome::NotJudged, e))?;
    Ok(Outcome::Ok)
}

fn hex_line(insn: RawInsn) -> String {
    let mut line: String = insn.to_le_bytes().iter().map(|b| format!("{b:02x}")).collect();
    line.push('\n');
    line
}

/// Prints the instructions of an object's programs as the verifier's log does, with source lines.
#[derive(clap::Args)]
pub struct DisasmArgs {
    /// Object, or with --raw a file of 8-byte instructions; `-` for standard input.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    #[command(flatten)]
    kernel: KernelArgs,
    /// Print only programs of this name.
    #[arg(long, value_name = "NAME")]
    prog: Vec<String>,
    /// The file is bare instructions, eight bytes each, little-endian.
    #[arg(long)]
    raw: bool,
    /// The file is a classic filter, as `tcpdump -dd` or `-ddd` prints it; its eBPF form is printed.
    #[arg(long, conflicts_with = "raw")]
    cbpf: bool,
}

pub fn run_disasm(args: DisasmArgs) -> Outcome {
    disasm(&args).unwrap_or_else(|o| o)
}

fn disasm(args: &DisasmArgs) -> Result<Outcome, Outcome> {
    let inputs = inputs::collect(std::slice::from_ref(&args.file))
        .map_err(|e| fail(Outcome::NotJudged, e))?;
    let mut out = String::new();
    let mut found = false;
    if args.cbpf {
        print_insns(&mut out, &classic::translation(&args.file)?, None);
        return print(&out);
    }
    for input in &inputs {
        let at = input.display();
        let bytes = read(input).map_err(|e| fail(Outcome::NotJudged, format!("{at}: {e}")))?;
        if args.raw {
            let insns =
                raw_insns(&bytes).map_err(|e| fail(Outcome::NotJudged, format!("{at}: {e}")))?;
            print_insns(&mut out, &insns, None);
            found = true;
            continue;
        }
        let target = setup::target(&args.kernel)?;
        let entries = target
            .load(&bytes, &at)
            .map_err(|e| fail(Outcome::NotJudged, format!("{at}: {}", e.message)))?;
        let wanted = |e: &&Entry| args.prog.is_empty() || args.prog.contains(&e.name);
        for p in entries.iter().filter(wanted).filter_map(Entry::ok) {
            out.push_str(&format!("{}: {} ({})\n", p.name, p.section, p.prog_type));
            print_insns(&mut out, &p.insns, Some(p));
            out.push('\n');
            found = true;
        }
    }
    if !found {
        return Err(fail(Outcome::NotJudged, "no program found"));
    }
    print(&out)
}

fn print(out: &str) -> Result<Outcome, Outcome> {
    match std::io::stdout().lock().write_all(out.as_bytes()) {
        Err(e) if e.kind() != std::io::ErrorKind::BrokenPipe => Err(fail(Outcome::NotJudged, e)),
        _ => Ok(Outcome::Ok),
    }
}

fn read(input: &Input) -> std::io::Result<Vec<u8>> {
    match input {
        Input::Stdin => {
            let mut bytes = Vec::new();
            std::io::stdin().lock().read_to_end(&mut bytes)?;
            Ok(bytes)
        }
        Input::File(_) => input.read(),
    }
}

/// Whole slots of a raw file.
pub fn raw_insns(bytes: &[u8]) -> Result<Vec<RawInsn>, String> {
    let chunks = bytes.chunks_exact(8);
    if !chunks.remainder().is_empty() || bytes.is_empty() {
        return Err(format!("{} bytes are not a whole number of 8-byte instructions", bytes.len()));
    }
    Ok(chunks.filter_map(|c| c.try_into().ok().map(RawInsn::from_le_bytes)).collect())
}

fn print_insns(out: &mut String, insns: &[RawInsn], program: Option<&Program>) {
    let mut i = 0;
    let mut last_source = None;
    while let Some(&insn) = insns.get(i) {
        if let Some(p) = program {
            for s in p.subprogs.iter().filter(|s| s.insn_off as usize == i) {
                out.push_str(&format!("{}:\n", s.name));
            }
            let source = bpfassay_judge::source_of(p, i as u32).map(|s| (s.file, s.line, s.text));
            if source != last_source {
                if let Some((file, line, text)) = &source {
                    let file = file.rsplit('/').next().unwrap_or(file);
                    out.push_str(&format!("; {} @ {file}:{line}\n", text.trim()));
                }
                last_source = source;
            }
        }
        let text = bpfassay_judge::insn_text(insns, i as u32).unwrap_or_default();
        out.push_str(&format!("{i}: {text}\n"));
        i += if insn.is_ld_imm64() { 2 } else { 1 };
    }
}
