//! The first look at a program: decode every slot, mark what is jumped to and what is a function.

use bpfassay_isa::{decode, CallTarget, Imm64, Insn, RawInsn};

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
    /// One per slot; second slots repeat an instruction that is never looked at.
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
fn registers_exist(raw: RawInsn, insn: &Insn) -> bool {
    raw.dst <= 10 && (raw.src <= 10 || matches!(insn, Insn::LoadImm64 { .. } | Insn::Call { .. }))
}

pub fn scan(raw: &[RawInsn], functions: &[u32]) -> Result<Scan, JitError> {
    let len = raw.len();
    let mut scan = Scan {
        insns: Vec::with_capacity(len),
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
    let mut at = 0;
    while let Some(one) = raw.get(at) {
        let slot = at as u32;
        let insn =
            decode(*one, raw.get(at + 1).copied()).map_err(|why| JitError::Decode { slot, why })?;
        if !registers_exist(*one, &insn) {
            return Err(JitError::Register { slot });
        }
        scan.insns.push(insn);
        let (off, mark) = match insn {
            Insn::CondJump { off, .. } | Insn::MayGoto { off } => (off as i32, TARGET),
            Insn::Jump { off, .. } => (off, TARGET),
            Insn::Call { target: CallTarget::Subprog(off) }
            | Insn::LoadImm64 { value: Imm64::Func(off), .. } => (off, FUNC),
            _ => (0, 0),
        };
        if mark != 0 {
            let to = target(at, off, len).ok_or(JitError::Target { slot })?;
            let back = mark == TARGET && to <= at;
            scan.has_loop |= back;
            scan.calls_first |= mark == FUNC && to == 0;
            if let Some(f) = scan.flags.get_mut(to) {
                *f |= mark | if back { LOOP } else { 0 };
            }
        }
        if let Insn::LoadImm64 { .. } = insn {
            scan.insns.push(insn);
            if let Some(f) = scan.flags.get_mut(at + 1) {
                *f |= TAIL;
            }
            at += 1;
        }
        at += 1;
    }
    // Nobody may land inside a wide instruction.
    match scan.flags.iter().position(|f| f & TAIL != 0 && f & (TARGET | FUNC) != 0) {
        Some(slot) => Err(JitError::Target { slot: slot as u32 }),
        None => Ok(scan),
    }
}
