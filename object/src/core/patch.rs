//! Writing a relocation's value into its instruction (`bpf_core_patch_insn`).

use bpfassay_isa::{opcode, RawInsn};

use super::value::Value;
use super::Refusal;

/// Number of the helper that does not exist: 0xbad2310, "bad relo".
const POISON: i32 = 195_896_080;

/// Classes of instruction, the low three bits of the opcode.
mod class {
    pub const LD: u8 = 0;
    pub const LDX: u8 = 1;
    pub const ST: u8 = 2;
    pub const STX: u8 = 3;
    pub const ALU: u8 = 4;
    pub const ALU64: u8 = 7;
}

fn poison(insns: &mut [RawInsn], at: usize) {
    let wide = insns.get(at).is_some_and(|i| i.is_ld_imm64());
    for insn in insns.iter_mut().skip(at).take(if wide { 2 } else { 1 }) {
        *insn = RawInsn { code: opcode::CALL, dst: 0, src: 0, off: 0, imm: POISON };
    }
}

pub(super) fn patch(insns: &mut [RawInsn], at: usize, value: &Value) -> Result<(), Refusal> {
    let insn = *insns.get(at).ok_or("no such instruction")?;
    if value.poison {
        poison(insns, at);
        return Ok(());
    }
    let unexpected =
        |got: i64| format!("unexpected value: got {got}, expected {} -> {}", value.old, value.new);
    match insn.code & 7 {
        class::ALU | class::ALU64 => {
            if insn.code & 8 != 0 {
                return Err("arithmetic without an immediate cannot be relocated".to_string());
            }
            if value.validate && insn.imm as i64 as u64 != value.old {
                return Err(unexpected(insn.imm as i64));
            }
            insns[at].imm = value.new as i32;
        }
        class::LDX | class::ST | class::STX => {
            if value.validate && insn.off as i64 as u64 != value.old {
                return Err(unexpected(insn.off as i64));
            }
            if value.new > i16::MAX as u64 {
                return Err(format!("offset {} is too big", value.new));
            }
            if value.bad_width {
                poison(insns, at);
                return Ok(());
            }
            insns[at].off = value.new as i16;
            if value.new_size != value.old_size {
                insns[at].code = resize(insn.code, value)?;
            }
        }
        class::LD => {
            let second = insns.get(at + 1).copied().unwrap_or_default();
            let plain = RawInsn { imm: second.imm, ..RawInsn::default() };
            if !insn.is_ld_imm64()
                || insn.src != 0
                || insn.off != 0
                || second != plain
                || at + 1 >= insns.len()
            {
                return Err("LD_IMM64 has unexpected form".to_string());
            }
            let imm = insn.imm as u32 as u64 | (second.imm as u32 as u64) << 32;
            if value.validate && imm != value.old {
                return Err(unexpected(imm as i64));
            }
            insns[at].imm = value.new as i32;
            insns[at + 1].imm = (value.new >> 32) as i32;
        }
        _ => return Err(format!("instruction {:#04x} cannot be relocated", insn.code)),
    }
    Ok(())
}

/// The opcode with another access size.
fn resize(code: u8, value: &Value) -> Result<u8, Refusal> {
    // W, H, B, DW in the order of their code.
    const BYTES: [u32; 4] = [4, 2, 1, 8];
    let old = BYTES[(code >> 3 & 3) as usize];
    if old != value.old_size {
        return Err(format!("unexpected memory size: got {old}, expected {}", value.old_size));
    }
    let new = BYTES.iter().position(|n| *n == value.new_size);
    let new = new.ok_or_else(|| format!("invalid new memory size {}", value.new_size))?;
    Ok(code & !0x18 | (new as u8) << 3)
}
