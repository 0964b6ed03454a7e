//! Registers.

use std::fmt;

/// A register number as the four-bit field of an instruction holds it, 0 to 15.
///
/// Only 0 to 10 exist ([`Reg::is_valid`]); the rest is representable because a
/// kernel may be handed it and must complain ("R11 is invalid").
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Reg(pub u8);

impl Reg {
    pub const R0: Reg = Reg(0);
    pub const R1: Reg = Reg(1);
    pub const R2: Reg = Reg(2);
    pub const R3: Reg = Reg(3);
    pub const R4: Reg = Reg(4);
    pub const R5: Reg = Reg(5);
    pub const R6: Reg = Reg(6);
    pub const R7: Reg = Reg(7);
    pub const R8: Reg = Reg(8);
    pub const R9: Reg = Reg(9);
    /// The read-only frame pointer (`BPF_REG_FP`).
    pub const R10: Reg = Reg(10);

    /// Index into an 11-entry register file; the caller has checked [`Reg::is_valid`].
    #[inline]
    pub fn index(self) -> usize {
        self.0 as usize
    }

    /// True for r0 to r10 (`MAX_BPF_REG` is 11).
    #[inline]
    pub fn is_valid(self) -> bool {
        self.0 < 11
    }
}

impl fmt::Display for Reg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "r{}", self.0)
    }
}

impl fmt::Debug for Reg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "r{}", self.0)
    }
}
