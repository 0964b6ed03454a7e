//! Classic filters (`--cbpf`) as programs: what `run`, `check` and `disasm` take them for.

use std::path::Path;

use bpfassay_ci::files::MAX_TEXT;
use bpfassay_isa::{classic, decode, encode, AluOp, Insn, Operand, RawInsn};
use bpfassay_object::model::Program;
use bpfassay_spec::ProgType;

use crate::exit::{fail, Outcome};
use crate::inputs;

/// The eBPF form of a classic filter, as the kernel translates it.
pub fn translation(file: &Path) -> Result<Vec<RawInsn>, Outcome> {
    let wrong =
        |e: &dyn std::fmt::Display| fail(Outcome::NotJudged, format!("{}: {e}", file.display()));
    let bytes = inputs::read(file, MAX_TEXT)?;
    let filter = classic::parse(&String::from_utf8_lossy(&bytes)).map_err(|e| wrong(&e))?;
    let checked = classic::check(&filter)
        .map_err(|e| fail(Outcome::Rejected, format!("{}: {e} (EINVAL)", file.display())))?;
    classic::translate(&checked).map_err(|e| wrong(&e))
}

/// The kernel clears a register by `xor` with itself and does not verify what it translated;
/// a verifier wants a value there first.
fn cleared(insn: &RawInsn) -> RawInsn {
    match decode(*insn, None) {
        Ok(Insn::Alu { op: AluOp::Xor, width, dst, src: Operand::Reg(src) }) if dst == src => {
            encode(&Insn::Alu { op: AluOp::Mov, width, dst, src: Operand::Imm(0) }).0
        }
        _ => *insn,
    }
}

/// The filter as a program that may be verified and sees frames from their link header on.
pub fn program(file: &Path) -> Result<Program, Outcome> {
    let insns = translation(file)?.iter().map(cleared).collect();
    Ok(Program::bare("classic", ProgType::SchedCls, insns))
}
