//! A program decoded once, ready to run: what interpreter and JITs start from.

use bpfassay_isa::{decode, Insn, RawInsn};

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
}

impl Code {
    /// Decodes every slot; what does not decode traps when reached, as do registers above r10.
    pub fn new(insns: &[RawInsn]) -> Code {
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
            Slot::Insn(insn) => Hot::of(insn, i),
            Slot::Invalid(_) => Hot::SLOW,
        };
        let hot = slots.iter().enumerate().map(hot).collect();
        Code { slots, hot }
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
