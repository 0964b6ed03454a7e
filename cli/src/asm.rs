//! `bpfassay asm` and `bpfassay disasm`.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use bpfassay_ci::files::MAX_TEXT;
use bpfassay_isa::asm::{assemble, Resolve};
use bpfassay_isa::disasm::{Lossless, Text};
use bpfassay_isa::RawInsn;
use bpfassay_object::model::Program;
use bpfassay_spec::helper::{func_id, func_id_name};
use clap::ValueEnum;

use crate::classic;
use crate::exit::{fail, Outcome};
use crate::inputs::{self, Input};
use crate::out;
use crate::setup::{self, Entry, KernelArgs};

/// Assembles text in the kernel's own disassembly syntax, labels allowed; what `disasm` prints is such text.
///
/// Maps stand in instructions by their place in the object's list, as `disasm` shows them.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  bpfassay asm prog.txt --output prog.bin
  bpfassay disasm prog.o | bpfassay asm - --prog ingress --format hex")]
pub struct AsmArgs {
    /// Text file, or `-` for standard input.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Where the instructions go; standard output otherwise.
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    #[arg(long, value_enum, default_value_t = AsmFormat::Raw)]
    format: AsmFormat,
    /// Program of the text; needed where `disasm` printed more than one.
    #[arg(long, value_name = "NAME")]
    prog: Option<String>,
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
    let at = Input::of(&args.file).display();
    let bytes = inputs::read(&args.file, MAX_TEXT)?;
    let text = String::from_utf8(bytes).map_err(|e| {
        fail(
            Outcome::NotJudged,
            format!("{at}: not UTF-8 at byte {}", e.utf8_error().valid_up_to()),
        )
    })?;
    let (before, part) = part(&text, args.prog.as_deref())
        .map_err(|why| fail(Outcome::NotJudged, format!("{at}: {why}")))?;
    let insns = assemble(part, &HelperNames).map_err(|mut e| {
        e.line += before;
        fail(Outcome::NotJudged, format!("{at}:{e}"))
    })?;
    let out: Vec<u8> = match args.format {
        AsmFormat::Raw => insns.iter().flat_map(|i| i.to_le_bytes()).collect(),
        AsmFormat::Hex => insns.iter().flat_map(|i| hex_line(*i).into_bytes()).collect(),
    };
    out::file_or_stdout(args.output.as_deref().unwrap_or(Path::new("-")), &out)?;
    Ok(Outcome::Ok)
}

/// What a program of `disasm` begins with.
const PROGRAM: &str = "; program ";

/// The text of one program, and the lines before it; all of it where no program is marked.
fn part<'t>(text: &'t str, wanted: Option<&str>) -> Result<(usize, &'t str), String> {
    let mut parts: Vec<(&str, usize, usize)> = Vec::new();
    let (mut byte, mut ends) = (0, text.len());
    for (number, line) in text.split_inclusive('\n').enumerate() {
        if let Some(name) = line.strip_prefix(PROGRAM) {
            parts.push((name.split_whitespace().next().unwrap_or(""), number, byte));
        }
        byte += line.len();
    }
    let names: Vec<&str> = parts.iter().map(|(name, ..)| *name).collect();
    let at = match (wanted, names.as_slice()) {
        (None, [] | [_]) => return Ok((0, text)),
        (None, several) => {
            return Err(format!("several programs, choose with --prog: {}", several.join(", ")))
        }
        (Some(name), names) => {
            names.iter().position(|n| *n == name).ok_or(format!("no program `{name}`"))?
        }
    };
    let (_, line, from) = parts[at];
    if let Some((_, _, next)) = parts.get(at + 1) {
        ends = *next;
    }
    Ok((line, text.get(from..ends).unwrap_or_default()))
}

fn hex_line(insn: RawInsn) -> String {
    let mut line: String = insn.to_le_bytes().iter().map(|b| format!("{b:02x}")).collect();
    line.push('\n');
    line
}

/// Prints the instructions of an object's programs as the verifier's log does, with source lines; `asm` reads it back.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  bpfassay disasm prog.o --prog ingress
  bpfassay disasm --raw prog.bin
  tcpdump -dd port 53 | bpfassay disasm --cbpf -")]
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
    let inputs = inputs::collect(std::slice::from_ref(&args.file));
    let mut out = String::new();
    let mut found = false;
    if args.cbpf {
        print_insns(&mut out, &classic::translation(&args.file)?, None);
        return Ok(out::text(&out, Outcome::Ok));
    }
    for input in &inputs {
        let at = input.display();
        let bytes = input.read().map_err(|e| fail(Outcome::NotJudged, format!("{at}: {e}")))?;
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
            let (section, ty) = (one_line(&p.section), p.prog_type);
            out.push_str(&format!("{PROGRAM}{} (section {section}, {ty})\n", one_line(&p.name)));
            print_insns(&mut out, &p.insns, Some(p));
            out.push('\n');
            found = true;
        }
    }
    if !found {
        return Err(fail(Outcome::NotJudged, "no program found"));
    }
    Ok(out::text(&out, Outcome::Ok))
}

/// Whole slots of a raw file.
pub fn raw_insns(bytes: &[u8]) -> Result<Vec<RawInsn>, String> {
    let chunks = bytes.chunks_exact(8);
    if !chunks.remainder().is_empty() || bytes.is_empty() {
        return Err(format!("{} bytes are not a whole number of 8-byte instructions", bytes.len()));
    }
    Ok(chunks.filter_map(|c| c.try_into().ok().map(RawInsn::from_le_bytes)).collect())
}

/// Text that a comment can hold.
fn one_line(text: &str) -> String {
    text.replace(['\n', '\r'], " ")
}

/// The name of a helper that the assembler knows it by.
fn helper_name(id: i32) -> Option<&'static str> {
    Some(func_id_name(id))
        .filter(|name| func_id(name).is_some_and(|n| i64::from(n) == i64::from(id)))
}

fn print_insns(out: &mut String, insns: &[RawInsn], program: Option<&Program>) {
    let mut i = 0;
    let mut last_source = None;
    let mut subprogs = program.map_or(&[][..], |p| &p.subprogs).iter().peekable();
    let mut labels = HashSet::new();
    while let Some(&insn) = insns.get(i) {
        if let Some(p) = program {
            while let Some(s) = subprogs.next_if(|s| s.insn_off as usize <= i) {
                // Two static functions may have one name, and a name may be anything.
                let is_label = is_name(&s.name) && labels.insert(s.name.as_str());
                let comment = if is_label { "" } else { "; " };
                out.push_str(&format!("{comment}{}:\n", one_line(&s.name)));
            }
            let source = bpfassay_judge::source_of(p, i as u32).map(|s| (s.file, s.line, s.text));
            if source != last_source {
                if let Some((file, line, text)) = &source {
                    let file = file.rsplit('/').next().unwrap_or(file);
                    let text = one_line(text.trim());
                    out.push_str(&format!("; {text} @ {}:{line}\n", one_line(file)));
                }
                last_source = source;
            }
        }
        let next = insns.get(i + 1).copied();
        let text = Text { insn, next, names: &Lossless(helper_name) };
        let map = program.and_then(|p| map_name(p, insn));
        let map = map.map_or(String::new(), |name| format!("  ; map {}", one_line(name)));
        let text = text.to_string();
        let slots = if insn.is_ld_imm64() { next.map_or(1, |_| 2) } else { 1 };
        let own = insns.get(i..i + slots).unwrap_or_default();
        if assemble(&text, &HelperNames).is_ok_and(|read| read == own) {
            out.push_str(&format!("{i}: {text}{map}\n"));
        } else {
            // What no instruction says stands as it is, and beside it how the verifier shows it.
            for (at, slot) in own.iter().enumerate() {
                let bytes = u64::from_le_bytes(slot.to_le_bytes());
                let shown = if at == 0 { one_line(&text) } else { String::new() };
                out.push_str(&format!("{}: .8byte {bytes:#018x}  ; {shown}\n", i + at));
            }
        }
        i += slots;
    }
}

fn is_name(text: &str) -> bool {
    let is_start = |c: char| c.is_ascii_alphabetic() || c == '_';
    text.starts_with(is_start) && text.chars().all(|c| is_start(c) || c.is_ascii_digit())
}

/// The map that an instruction loads, or whose value it loads.
fn map_name(program: &Program, insn: RawInsn) -> Option<&str> {
    /// `BPF_PSEUDO_MAP_FD`, `BPF_PSEUDO_MAP_VALUE`, and both by index.
    const OF_MAPS: [u8; 4] = [1, 2, 5, 6];
    let of_map = insn.is_ld_imm64() && OF_MAPS.contains(&insn.src);
    let index = usize::try_from(insn.imm).ok().filter(|_| of_map)?;
    program.maps.get(index).map(|m| m.source_name.as_str())
}
