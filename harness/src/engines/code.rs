//! A program decoded once, ready to run: what interpreter and JITs start from.

use bpfassay_isa::{decode, Insn, RawInsn};
use bpfassay_jit::Access;

use super::ops::Hot;

/// One slot.
#[derive(Clone, PartialEq, Debug)]
pub enum Slot {
    Insn(Insn),
    /// Traps when reached, with the decoder's reason.
    Invalid(String),
}

/// A decoded program.
#[derive(Clone, PartialEq, Debug)]
pub struct Code {
    slots: Vec<Slot>,
    hot: Vec<Hot>,
    /// How each slot reaches memory; empty where all is plain.
    access: Vec<Access>,
}

impl Code {
    /// Decodes every slot; what does not decode traps when reached, as do registers above r10.
    pub fn new(insns: &[RawInsn]) -> Code {
        Code::with_access(insns, Vec::new())
    }

    /// As [`Code::new`], with what the verifier knows of each slot's access.
    pub fn with_access(insns: &[RawInsn], access: Vec<Access>) -> Code {
        let mut slots = Vec::with_capacity(insns.len());
        let mut tail = false;
        for (i, raw) in insns.iter().enumerate() {
            if tail {
                slots.push(Slot::Invalid("second slot of ld_imm64".to_string()));
                tail = false;
                continue;
            }
            slots.push(match decode(*raw, insns.get(i + 1).copied()) {
                Ok(insn) if raw.dst <= 10 && raw.src <= 10 => Slot::Insn(insn),
                Ok(_) => Slot::Invalid(format!("invalid register r{}", raw.dst.max(raw.src))),
                Err(e) => Slot::Invalid(e.to_string()),
            });
            tail = raw.is_ld_imm64();
        }
        let hot = |(i, s): (usize, &Slot)| match s {
            Slot::Insn(insn) if access_at(&access, i) == Access::Plain => Hot::of(insn, i),
            _ => Hot::SLOW,
        };
        let hot = slots.iter().enumerate().map(hot).collect();
        Code { slots, hot, access }
    }

    #[inline]
    pub fn access(&self, idx: usize) -> Access {
        access_at(&self.access, idx)
    }

    #[inline]
    pub fn slot(&self, idx: usize) -> Option<&Slot> {
        self.slots.get(idx)
    }

    /// The flat forms, one per slot.
    #[inline]
    pub fn hot(&self) -> &[Hot] {
        &self.hot
    }

    pub fn len(&self) -> usize {
        self.slots.len()
    }

    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }
}

#[inline]
fn access_at(access: &[Access], idx: usize) -> Access {
    access.get(idx).copied().unwrap_or_default()
}
