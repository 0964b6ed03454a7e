//! Rewritten programs as the tree's test loader prints them (`get_xlated_program_text`, `disasm_insn`).
//!
//! A line has the slot's number and the kernel's text without its opcode; calls have no number, and a name only where
//! the kernel still has the helper's number there.

use std::fmt::{self, Write};

use bpfassay_isa::disasm::{write_insn, Names};
use bpfassay_isa::opcode::PSEUDO_CALL;
use bpfassay_isa::RawInsn;
use bpfassay_spec::helper::{func_id, func_id_name};
use bpfassay_verifier::rewrite::Slot;

struct Numbers {
    /// The number of the call is an address, not a helper's.
    is_address: bool,
}

impl Names for Numbers {
    fn helper(&self, id: i32, out: &mut dyn Write) -> Result<bool, fmt::Error> {
        let name = func_id_name(id);
        let is_name = func_id(name).is_some_and(|n| i64::from(n) == i64::from(id));
        if self.is_address || !is_name {
            return Ok(false);
        }
        out.write_str(name).map(|()| true)
    }

    fn call(&self, insn: RawInsn, out: &mut dyn Write) -> Result<bool, fmt::Error> {
        // The distance is kept in the offset; the number is the function's.
        let is_pseudo = insn.src == PSEUDO_CALL;
        if is_pseudo {
            write!(out, "{:+}", insn.off)?;
        }
        Ok(is_pseudo)
    }
}

/// The listing of a program as we rewrite it.
pub fn text(slots: &[Slot]) -> String {
    let insns: Vec<(RawInsn, bool)> = slots.iter().map(|s| (s.insn, s.symbol.is_some())).collect();
    listing(&insns)
}

/// The listing of a program as a kernel shows it.
pub fn text_of(insns: &[RawInsn]) -> String {
    listing(&insns.iter().map(|i| (*i, false)).collect::<Vec<_>>())
}

fn listing(insns: &[(RawInsn, bool)]) -> String {
    let mut out = String::new();
    let mut i = 0;
    while let Some((insn, is_address)) = insns.get(i).copied() {
        let mut line = String::new();
        let next = insns.get(i + 1).map(|n| n.0);
        let _ = write_insn(&mut line, &Numbers { is_address }, insn, next);
        // Behind `(85) `.
        let text = line.get(5..).unwrap_or_default();
        let end = match text.starts_with("call ") {
            true => text.rfind('#').unwrap_or(text.len()),
            false => text.len(),
        };
        let _ = writeln!(out, "{i}: {}", &text[..end]);
        i += if insn.is_ld_imm64() { 2 } else { 1 };
    }
    out
}

#[cfg(test)]
mod tests {
    use super::{text, text_of};
    use bpfassay_isa::RawInsn;
    use bpfassay_verifier::rewrite::Slot;

    fn raw(code: u8, src: u8, off: i16, imm: i32) -> RawInsn {
        RawInsn { code, dst: 0, src, off, imm }
    }

    #[test]
    fn calls_lose_their_numbers() {
        let helper = raw(0x85, 0, 0, 8);
        assert_eq!(text_of(&[helper]), "0: call bpf_get_smp_processor_id\n");
        let slot = Slot { symbol: Some("bpf_get_smp_processor_id".into()), ..Slot::from(helper) };
        assert_eq!(text(&[slot]), "0: call unknown\n");
        assert_eq!(text_of(&[raw(0x85, 0, 0, 123_456)]), "0: call unknown\n");
        assert_eq!(text_of(&[raw(0x85, 1, 5, 2)]), "0: call pc+5\n");
        assert_eq!(text_of(&[raw(0x85, 2, 0, 77)]), "0: call kernel-function\n");
    }

    #[test]
    fn wide_loads_take_two_slots() {
        let insns = [raw(0x18, 0, 0, 5), raw(0, 0, 0, 0), raw(0x95, 0, 0, 0)];
        assert_eq!(text_of(&insns), "0: r0 = 0x5\n2: exit\n");
    }
}
