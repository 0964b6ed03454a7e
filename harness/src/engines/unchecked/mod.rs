//! The unchecked interpreter: no access is looked at, because the verifier has.
//!
//! It shares registers, frames, helpers and everything rare with the checking
//! interpreter ([`super::interp::Thread`]); `ops` and `lower` give the frequent
//! instructions a flat form, several in one, and `run` is the loop over them.

mod lower;
mod ops;
mod raw;
mod run;

use std::sync::Arc;

use bpfassay_isa::{CallTarget, Insn};

use super::code::{Code, Slot};
use super::interp::wide;
use crate::runtime::helpers::Helper;
use crate::runtime::Runtime;
use ops::{Kind, Op};

/// A program's operations, with the addresses and helpers of one runtime.
#[derive(Debug)]
pub struct Lowered {
    /// One per slot and [`Kind::End`]; jumps go to indices of it.
    ops: Vec<Op>,
    helpers: Vec<(&'static str, Helper)>,
}

impl Lowered {
    pub fn new(code: &Code, rt: &Runtime) -> Arc<Lowered> {
        let mut l = Lowered { ops: lower::lower(code), helpers: Vec::new() };
        for i in 0..code.len() {
            if let (Some(Slot::Insn(insn)), Some(op)) = (code.slot(i), l.ops.get(i).copied()) {
                if op.kind == Kind::Rest {
                    let resolved = l.resolve(*insn, i, rt).unwrap_or(op);
                    l.ops[i] = resolved;
                }
            }
        }
        Arc::new(l)
    }

    /// What only the runtime can say: addresses and helpers.  None leaves it to the slow path.
    fn resolve(&mut self, insn: Insn, pc: usize, rt: &Runtime) -> Option<Op> {
        match insn {
            Insn::LoadImm64 { dst, value } => {
                let imm = wide(rt, pc, value).ok()?;
                Some(Op { kind: Kind::Wide, dst: dst.0, imm, ..Op::REST })
            }
            Insn::Call { target: CallTarget::Helper(id) } => {
                let helper = rt.helpers.resolve(id as i64).ok()?;
                self.helpers.push(helper);
                let imm = self.helpers.len() as u64 - 1;
                Some(Op { kind: Kind::Helper, imm, ..Op::REST })
            }
            _ => None,
        }
    }
}
