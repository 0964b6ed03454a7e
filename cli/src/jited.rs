//! `bpfassay dump jited`: the machine code of a program, BPF and source lines beside it.

use std::fmt::Write as _;

use bpfassay_harness::native::emit::{emit, Compiled, Processor};

use bpfassay_object::model::Program;
use bpfassay_verifier::cfg::blocks::{blocks, is_second_slot};
use clap::ValueEnum;
use iced_x86::Formatter as _;
use yaxpeax_arch::{Decoder as _, U8Reader};

use crate::dump::{quoted, within};

/// Whose code.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ProcessorName {
    X86,
    Arm64,
}

/// One machine instruction: offset, bytes, text.
struct Line {
    off: u32,
    bytes: Vec<u8>,
    text: String,
}

fn x86(code: &[u8], from: u32) -> Vec<Line> {
    let mut decoder =
        iced_x86::Decoder::with_ip(64, code, from.into(), iced_x86::DecoderOptions::NONE);
    let mut formatter = iced_x86::IntelFormatter::new();
    let mut out = Vec::new();
    while decoder.can_decode() {
        let at = decoder.position();
        let insn = decoder.decode();
        let mut text = String::new();
        formatter.format(&insn, &mut text);
        let bytes = code.get(at..decoder.position()).unwrap_or_default().to_vec();
        out.push(Line { off: from + at as u32, bytes, text });
    }
    out
}

fn arm64(code: &[u8], from: u32) -> Vec<Line> {
    let decoder = yaxpeax_arm::armv8::a64::InstDecoder::default();
    code.chunks(4)
        .enumerate()
        .map(|(i, word)| {
            let text = match decoder.decode(&mut U8Reader::new(word)) {
                Ok(insn) => insn.to_string(),
                Err(_) => ".word".to_string(),
            };
            Line { off: from + 4 * i as u32, bytes: word.to_vec(), text }
        })
        .collect()
}

fn lines(processor: ProcessorName, code: &[u8], from: u32) -> Vec<Line> {
    match processor {
        ProcessorName::X86 => x86(code, from),
        ProcessorName::Arm64 => arm64(code, from),
    }
}

fn compiled(program: &Program, processor: ProcessorName) -> Result<Compiled, String> {
    let which = match processor {
        ProcessorName::X86 => Processor::X86,
        ProcessorName::Arm64 => Processor::Arm64,
    };
    emit(program, &[], which).map_err(|e| e.to_string())
}

/// The source line a slot begins, if the object says.
fn source(program: &Program, slot: u32) -> Option<&str> {
    let lines = &program.line_info;
    let at = lines.partition_point(|l| l.insn_off < slot);
    let line = lines.get(at).filter(|l| l.insn_off == slot)?;
    let text = program.btf.as_ref()?.str(line.line_off).trim();
    (!text.is_empty()).then_some(text)
}

/// An instruction as the kernel prints it; nothing for the second slot of a wide one.
fn text(program: &Program, slot: u32) -> Option<String> {
    match is_second_slot(&program.insns, slot as usize) {
        true => None,
        false => bpfassay_judge::insn_text(&program.insns, slot),
    }
}

/// The listing: each slot with its code, then what they share: call stubs and slow paths.
pub fn listing(program: &Program, processor: ProcessorName) -> Result<String, String> {
    let compiled = compiled(program, processor)?;
    let mut out = String::new();
    let write = |out: &mut String, from: u32, to: u32| {
        let code = compiled.code.get(from as usize..to as usize).unwrap_or_default();
        for l in lines(processor, code, from) {
            let bytes: String = l.bytes.iter().map(|b| format!("{b:02x}")).collect();
            let _ = writeln!(out, "  {:6x}: {bytes:<20} {}", l.off, l.text);
        }
    };
    let end = compiled.code.len() as u32;
    let (body, body_end) = (compiled.body, compiled.body_end);
    let _ = writeln!(
        out,
        "{}: {} slots, {} bytes of code, {} with stubs",
        program.name,
        program.insns.len(),
        body_end - body,
        end - body
    );
    let mut shown = None;
    for (slot, pair) in compiled.offsets.windows(2).enumerate() {
        let [from, to] = *pair else { continue };
        let slot = slot as u32;
        let named = program.subprogs.binary_search_by_key(&slot, |s| s.insn_off);
        if let Some(s) = named.ok().and_then(|i| program.subprogs.get(i)) {
            let _ = writeln!(out, "{}:", s.name);
        }
        if let Some(text) = source(program, slot).filter(|text| shown.replace(*text) != Some(text))
        {
            let _ = writeln!(out, "; {text}");
        }
        if let Some(text) = text(program, slot) {
            let _ = writeln!(out, "{slot}: {text}");
        }
        write(&mut out, from, to);
    }
    if body_end < end {
        out.push_str("stubs:\n");
        write(&mut out, body_end, end);
    }
    Ok(out)
}

/// The blocks of the program with their code, in the DOT language.
pub fn dot(program: &Program, processor: ProcessorName) -> Result<String, String> {
    let compiled = compiled(program, processor)?;
    let mut out = format!(
        "digraph \"{}\" {{\n  node [shape=box fontname=monospace];\n",
        quoted(&program.name)
    );
    let all = blocks(&program.insns);
    for (i, s) in program.subprogs.iter().enumerate() {
        let _ = writeln!(out, "  subgraph cluster_{i} {{\n    label=\"{}\";", quoted(&s.name));
        for b in within(&all, s) {
            let _ = write!(out, "    b{} [label=\"", b.start);
            for slot in b.start..b.end {
                // \l ends a left-aligned line in DOT.
                if let Some(text) = text(program, slot) {
                    let _ = write!(out, "{slot}: {}\\l", quoted(&text));
                }
                let at = |s: u32| compiled.offsets.get(s as usize).copied().unwrap_or(0);
                let (from, to) = (at(slot), at(slot + 1));
                let code = compiled.code.get(from as usize..to as usize).unwrap_or_default();
                for l in lines(processor, code, from) {
                    let _ = write!(out, "      {}\\l", quoted(&l.text));
                }
            }
            out.push_str("\"];\n");
        }
        out.push_str("  }\n");
    }
    for b in &all {
        for to in &b.successors {
            let _ = writeln!(out, "  b{} -> b{to};", b.start);
        }
    }
    out.push_str("}\n");
    Ok(out)
}
