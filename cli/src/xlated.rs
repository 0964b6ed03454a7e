//! Rewritten programs as `bpftool prog dump xlated` prints them.

use std::fmt::{self, Write};

use bpfassay_isa::disasm::{write_insn, Names};
use bpfassay_isa::opcode::{PSEUDO_CALL, PSEUDO_FUNC, PSEUDO_MAP_VALUE};
use bpfassay_isa::RawInsn;
use bpfassay_object::model::Program;
use bpfassay_verifier::rewrite::Slot;

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

/// One line an instruction; its bytes on a line below where `opcodes`.
pub fn listing(program: &Program, slots: &[Slot], opcodes: bool) -> String {
    let mut out = String::new();
    let mut i = 0;
    while let Some(slot) = slots.get(i) {
        let next = slots.get(i + 1).map(|s| s.insn);
        let _ = write!(out, "{i:4}: ");
        let _ = line(&mut out, program, slot, next);
        out.push('\n');
        let wide = if slot.insn.is_ld_imm64() { 2 } else { 1 };
        if opcodes {
            let bytes = slots[i..].iter().take(wide).flat_map(|s| s.insn.to_le_bytes());
            let bytes: Vec<String> = bytes.map(|b| format!("{b:02x}")).collect();
            let _ = writeln!(out, "       {}", bytes.join(" "));
        }
        i += wide;
    }
    out
}

fn line(out: &mut String, program: &Program, slot: &Slot, next: Option<RawInsn>) -> fmt::Result {
    let insn = slot.insn;
    match &slot.symbol {
        Some(symbol) if insn.is_call() => write!(out, "({:02x}) call {symbol}", insn.code),
        Some(symbol) => write!(out, "({:02x}) r{} = &{symbol}", insn.code, insn.dst),
        None if insn.is_call() && insn.src == PSEUDO_CALL => {
            write!(out, "({:02x}) call pc{:+}", insn.code, insn.off)
        }
        None => write_insn(out, &Numbers { program, slot }, insn, next),
    }
}
