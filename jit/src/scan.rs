//! The first look at a program: decode every slot, mark what is jumped to and what is a function.

use bpfassay_isa::decode::decode_into;
use bpfassay_isa::opcode::{Callee, Form, Reach, Wide};
use bpfassay_isa::{Insn, RawInsn};

use crate::source::JitError;

/// Jumped to.
pub const TARGET: u8 = 1;
/// First slot of a function.
pub const FUNC: u8 = 2;
/// Jumped to from behind.
pub const LOOP: u8 = 4;
/// Second slot of a wide instruction.
pub const TAIL: u8 = 8;

pub struct Scan {
    /// One per slot; second slots hold what is never looked at.
    pub insns: Vec<Insn>,
    /// One per slot, and one for the end.
    pub flags: Vec<u8>,
    pub has_loop: bool,
    /// Slot 0 is not only entered from outside.
    pub calls_first: bool,
}

/// Slot reached from `slot` by a distance, if the program has it.
#[inline]
pub fn target(slot: usize, off: i32, len: usize) -> Option<usize> {
    let to = slot as i64 + 1 + off as i64;
    usize::try_from(to).ok().filter(|t| *t < len)
}

/// Registers an instruction may name; the fields of others are pseudo values.
#[inline]
fn registers_exist(raw: &RawInsn, form: Form) -> bool {
    raw.dst <= 10 && (raw.src <= 10 || matches!(form, Form::LoadImm64(_) | Form::Call(_)))
}

pub fn scan(raw: &[RawInsn], functions: &[u32]) -> Result<Scan, JitError> {
    let len = raw.len();
    let mut scan = Scan {
        insns: vec![Insn::Exit; len],
        flags: vec![0; len + 1],
        has_loop: false,
        calls_first: false,
    };
    if let Some(first) = scan.flags.first_mut() {
        *first = FUNC;
    }
    for slot in functions {
        match scan.flags.get_mut(*slot as usize) {
            Some(f) if (*slot as usize) < len => *f |= FUNC,
            _ => return Err(JitError::Target { slot: *slot }),
        }
    }
    let mut has_wide = false;
    let mut at = 0;
    while let (Some(one), Some(out)) = (raw.get(at), scan.insns.get_mut(at)) {
        let slot = at as u32;
        // Fields are asked of the raw instruction: the decoded one is on its way to memory.
        let form =
            decode_into(one, raw.get(at + 1), out).map_err(|why| JitError::Decode { slot, why })?;
        if !registers_exist(one, form) {
            return Err(JitError::Register { slot });
        }
        let (off, mark) = match form {
            Form::CondJump(..) | Form::MayGoto | Form::Jump(Reach::Short) => {
                (one.off as i32, TARGET)
            }
            Form::Jump(Reach::Long) => (one.imm, TARGET),
            Form::Call(Callee::Subprog) => (one.imm, FUNC),
            Form::LoadImm64(wide) => {
                has_wide = true;
                at += 1;
                if let Some(f) = scan.flags.get_mut(at) {
                    *f |= TAIL;
                }
                (one.imm, if wide == Wide::Func { FUNC } else { 0 })
            }
            _ => (0, 0),
        };
        if mark != 0 {
            let from = slot as usize;
            let to = target(from, off, len).ok_or(JitError::Target { slot })?;
            let back = mark == TARGET && to <= from;
            scan.has_loop |= back;
            scan.calls_first |= mark == FUNC && to == 0;
            if let Some(f) = scan.flags.get_mut(to) {
                *f |= mark | if back { LOOP } else { 0 };
            }
        }
        at += 1;
    }
    // Nobody may land inside a wide instruction.
    let inside = |f: &u8| f & TAIL != 0 && f & (TARGET | FUNC) != 0;
    let landed = if has_wide { scan.flags.iter().position(inside) } else { None };
    match landed {
        Some(slot) => Err(JitError::Target { slot: slot as u32 }),
        None => Ok(scan),
    }
}
