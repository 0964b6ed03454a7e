//! Rewritten programs as `bpftool prog dump xlated` prints them: plain, as JSON, and as a graph.
//!
//! Maps have their names where the kernel has ids, and functions their symbols without addresses.

mod graph;
mod prototype;

use std::fmt::{self, Write};

use bpfassay_isa::disasm::{write_insn, Names};
use bpfassay_isa::opcode::{PSEUDO_CALL, PSEUDO_FUNC, PSEUDO_MAP_VALUE};
use bpfassay_isa::RawInsn;
use bpfassay_object::model::{LineInfo, Program};
use bpfassay_verifier::rewrite::{Rewritten, Slot};
use serde_json::{json, Map, Value};

pub use graph::graph;

/// What is printed beside the instructions.
#[derive(Clone, Copy, Default)]
pub struct Show {
    /// The bytes of each.
    pub opcodes: bool,
    /// File, line and column of source lines.
    pub places: bool,
}

struct Numbers<'a> {
    program: &'a Program,
    slot: &'a Slot,
}

impl Names for Numbers<'_> {
    fn imm64(&self, insn: RawInsn, imm: u64, out: &mut dyn Write) -> Result<bool, fmt::Error> {
        if let Some(map) = self.slot.map.and_then(|i| self.program.maps.get(i as usize)) {
            write!(out, "map[id:{}]", map.source_name)?;
            if insn.src == PSEUDO_MAP_VALUE {
                write!(out, "[0]+{}", imm >> 32)?;
            }
            return Ok(true);
        }
        if insn.src == PSEUDO_FUNC {
            write!(out, "subprog[{:+}]", insn.imm)?;
            return Ok(true);
        }
        Ok(false)
    }
}

/// A line of the source, as its record says.
struct Line<'a> {
    text: &'a str,
    file: &'a str,
    number: u32,
    column: u32,
}

/// A program and what its lines and functions are called.
pub(super) struct Listing<'a> {
    program: &'a Program,
    pub(super) rewritten: &'a Rewritten,
}

impl<'a> Listing<'a> {
    pub(super) fn new(program: &'a Program, rewritten: &'a Rewritten) -> Listing<'a> {
        Listing { program, rewritten }
    }

    /// Prototype of the function that begins at a slot.
    pub(super) fn prototype(&self, at: usize) -> Option<String> {
        let begins = |(slot, _): &&(u32, u32)| *slot as usize == at;
        let (_, record) = self.rewritten.functions.iter().find(begins)?;
        let info = self.program.func_info.get(*record as usize)?;
        prototype::of(self.program.btf.as_deref()?, info.type_id)
    }

    fn line(&self, record: u32) -> Option<Line<'a>> {
        let info: &LineInfo = self.program.line_info.get(record as usize)?;
        let btf = self.program.btf.as_deref()?;
        let (number, column) = (info.line_col >> 10, info.line_col & 0x3ff);
        let text = btf.str(info.line_off).trim_start();
        Some(Line { text, file: btf.str(info.file_name_off), number, column })
    }

    /// The record of the line that a slot belongs to, the first `skip` of them left out
    /// (`bpf_prog_linfo__lfind`).
    pub(super) fn record_at(&self, at: usize, skip: usize) -> Option<u32> {
        let lines = self.rewritten.lines.get(skip..)?;
        let after = lines.iter().take_while(|(slot, _)| *slot as usize <= at).count();
        lines.get(after.checked_sub(1)?).map(|(_, record)| *record)
    }

    /// One instruction, with its symbol where its number is an address.
    pub(super) fn text(&self, at: usize) -> String {
        let slot = &self.rewritten[at];
        let (insn, next) = (slot.insn, self.rewritten.get(at + 1).map(|s| s.insn));
        let mut out = String::new();
        let _ = match &slot.symbol {
            Some(symbol) if insn.is_call() => write!(out, "({:02x}) call {symbol}", insn.code),
            Some(symbol) => write!(out, "({:02x}) r{} = &{symbol}", insn.code, insn.dst),
            None if insn.is_call() && insn.src == PSEUDO_CALL => {
                write!(out, "({:02x}) call pc{:+}", insn.code, insn.off)
            }
            None => {
                let names = Numbers { program: self.program, slot };
                write_insn(&mut out, &names, insn, next)
            }
        };
        out
    }

    /// Slots that an instruction takes.
    pub(super) fn width(&self, at: usize) -> usize {
        if self.rewritten[at].insn.is_ld_imm64() {
            2
        } else {
            1
        }
    }

    /// Bytes of an instruction.
    pub(super) fn bytes(&self, at: usize) -> Vec<u8> {
        let slots = self.rewritten[at..].iter().take(self.width(at));
        slots.flat_map(|s| s.insn.to_le_bytes()).collect()
    }
}

/// Bytes with spaces, two between the halves of a wide load.
pub(super) fn hex(bytes: &[u8]) -> String {
    let one = |half: &[u8]| half.iter().map(|b| format!("{b:02x}")).collect::<Vec<_>>().join(" ");
    bytes.chunks(8).map(one).collect::<Vec<_>>().join(" ")
}

/// One line an instruction, below the lines of the source and the heads of functions.
pub fn listing(program: &Program, rewritten: &Rewritten, show: Show) -> String {
    let all = Listing::new(program, rewritten);
    let (mut out, mut skip, mut i) = (String::new(), 0, 0);
    while i < rewritten.len() {
        if let Some(prototype) = all.prototype(i) {
            let _ = writeln!(out, "{prototype}:");
        }
        if let Some(line) = all.record_at(i, skip).and_then(|r| all.line(r)) {
            skip += 1;
            let Line { text, file, number, column } = line;
            let _ = match show.places {
                true => writeln!(out, "; {text} [file:{file} line_num:{number} line_col:{column}]"),
                false => writeln!(out, "; {text}"),
            };
        }
        let _ = writeln!(out, "{i:4}: {}", all.text(i));
        if show.opcodes {
            let _ = writeln!(out, "       {}", hex(&all.bytes(i)));
        }
        i += all.width(i);
    }
    out
}

/// The same as `bpftool --json` has it.
pub fn listing_json(program: &Program, rewritten: &Rewritten, show: Show) -> Value {
    let all = Listing::new(program, rewritten);
    let (mut out, mut skip, mut i) = (Vec::new(), 0, 0);
    while i < rewritten.len() {
        let mut row = Map::new();
        if let Some(prototype) = all.prototype(i) {
            row.insert("proto".to_string(), prototype.into());
        }
        if let Some(line) = all.record_at(i, skip).and_then(|r| all.line(r)) {
            skip += 1;
            row.insert("src".to_string(), line.text.into());
            if show.places {
                row.insert("file".to_string(), line.file.into());
                for (key, n) in [("line_num", line.number), ("line_col", line.column)] {
                    if n != 0 {
                        row.insert(key.to_string(), n.into());
                    }
                }
            }
        }
        row.insert("disasm".to_string(), all.text(i).into());
        if show.opcodes {
            let insn = rewritten[i].insn;
            let bytes = all.bytes(i);
            let list = |bytes: &[u8]| -> Vec<String> {
                bytes.iter().map(|b| format!("{b:#04x}")).collect()
            };
            let opcodes = json!({
                "code": format!("{:#04x}", insn.code),
                "src_reg": format!("{:#x}", insn.src),
                "dst_reg": format!("{:#x}", insn.dst),
                "off": list(&bytes[2..4]),
                "imm": list(&bytes[4..]),
            });
            row.insert("opcodes".to_string(), opcodes);
        }
        out.push(Value::Object(row));
        i += all.width(i);
    }
    Value::Array(out)
}
