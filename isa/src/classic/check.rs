//! The rules a socket filter must keep (`bpf_check_classic`, `check_load_and_stores`).

use std::fmt;

use super::{decode, Classic, RawClassic, Src, ANCILLARY, MAX_INSNS, MEM_WORDS};
use crate::insn::AluOp;

/// The kernel says EINVAL to all of these and no more; `insn` is the instruction's number.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CheckError {
    Length,
    UnknownCode {
        insn: usize,
    },
    DivisionByZero {
        insn: usize,
    },
    ShiftTooFar {
        insn: usize,
    },
    NoSuchWord {
        insn: usize,
    },
    JumpOut {
        insn: usize,
    },
    UnknownAncillary {
        insn: usize,
    },
    LastIsNoReturn,
    /// A word of memory is read on a path that has not written it.
    UnwrittenWord {
        insn: usize,
    },
}

impl fmt::Display for CheckError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            CheckError::Length => write!(f, "a filter has 1 to {MAX_INSNS} instructions"),
            CheckError::UnknownCode { insn } => write!(f, "insn {insn}: unknown code"),
            CheckError::DivisionByZero { insn } => write!(f, "insn {insn}: division by zero"),
            CheckError::ShiftTooFar { insn } => write!(f, "insn {insn}: shift by 32 or more"),
            CheckError::NoSuchWord { insn } => write!(f, "insn {insn}: memory has 16 words"),
            CheckError::JumpOut { insn } => write!(f, "insn {insn}: jump out of the filter"),
            CheckError::UnknownAncillary { insn } => {
                write!(f, "insn {insn}: no ancillary value at this offset")
            }
            CheckError::LastIsNoReturn => f.write_str("the last instruction is not a return"),
            CheckError::UnwrittenWord { insn } => {
                write!(f, "insn {insn}: reads memory that was not written")
            }
        }
    }
}

impl std::error::Error for CheckError {}

/// Highest ancillary offset (`SKF_AD_VLAN_TPID`); all multiples of 4 up to it exist.
const LAST_ANCILLARY: u32 = 60;

/// Checks the filter and decodes it.
pub fn check(filter: &[RawClassic]) -> Result<Vec<Classic>, CheckError> {
    if filter.is_empty() || filter.len() > MAX_INSNS {
        return Err(CheckError::Length);
    }
    let mut decoded = Vec::with_capacity(filter.len());
    for (insn, raw) in filter.iter().enumerate() {
        let i = decode(*raw).ok_or(CheckError::UnknownCode { insn })?;
        check_one(i, insn, filter.len())?;
        decoded.push(i);
    }
    match decoded.last() {
        Some(Classic::ReturnA | Classic::ReturnK { .. }) => {}
        _ => return Err(CheckError::LastIsNoReturn),
    }
    check_memory(&decoded)?;
    Ok(decoded)
}

fn check_one(i: Classic, insn: usize, len: usize) -> Result<(), CheckError> {
    let leaves = |distance: u32| distance as usize >= len - insn - 1;
    match i {
        Classic::Alu { op: AluOp::Div | AluOp::Mod, src: Src::K(0) } => {
            Err(CheckError::DivisionByZero { insn })
        }
        Classic::Alu { op: AluOp::Lsh | AluOp::Rsh, src: Src::K(k) } if k >= 32 => {
            Err(CheckError::ShiftTooFar { insn })
        }
        Classic::LoadMem { k, .. } | Classic::Store { k, .. } if k >= MEM_WORDS => {
            Err(CheckError::NoSuchWord { insn })
        }
        Classic::Jump { k } if leaves(k) => Err(CheckError::JumpOut { insn }),
        Classic::CondJump { jt, jf, .. } if leaves(jt.into()) || leaves(jf.into()) => {
            Err(CheckError::JumpOut { insn })
        }
        Classic::LoadAbs { k, .. } if k >= ANCILLARY => match k - ANCILLARY {
            a if a % 4 == 0 && a <= LAST_ANCILLARY => Ok(()),
            _ => Err(CheckError::UnknownAncillary { insn }),
        },
        _ => Ok(()),
    }
}

/// Words written on every path to each instruction; jumps only go forward, so one pass is enough.
fn check_memory(filter: &[Classic]) -> Result<(), CheckError> {
    let mut written_at = vec![u16::MAX; filter.len()];
    let mut written = 0u16;
    for (pc, i) in filter.iter().enumerate() {
        written &= written_at.get(pc).copied().unwrap_or(u16::MAX);
        let mut reach = |distance: u32| {
            if let Some(w) = written_at.get_mut(pc + 1 + distance as usize) {
                *w &= written;
            }
        };
        match *i {
            Classic::Store { k, .. } => written |= 1 << (k & 15),
            Classic::LoadMem { k, .. } if written & 1 << (k & 15) == 0 => {
                return Err(CheckError::UnwrittenWord { insn: pc });
            }
            Classic::Jump { k } => {
                reach(k);
                written = u16::MAX;
            }
            Classic::CondJump { jt, jf, .. } => {
                reach(jt.into());
                reach(jf.into());
                written = u16::MAX;
            }
            _ => {}
        }
    }
    Ok(())
}
