//! A64 encodings: one small function a form, each giving the instruction word.
//!
//! Knows nothing of BPF, registers' roles or labels.  Operands must lie in the
//! ranges the functions state; what may fail to encode (a logical immediate, an
//! offset) returns `Option`.  Source: Arm Architecture Reference Manual, chapter C4.

pub mod arith;
pub mod atomic;
pub mod bits;
pub mod branch;
pub mod logic;
pub mod mem;
pub mod wide;

use bpfassay_isa::Width;

/// A general register, 0 to 31; 31 is the zero register or the stack pointer, as the form says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct R(pub u8);

/// The zero register, in forms that have it.
pub const ZR: R = R(31);
/// The stack pointer, in forms that have it.
pub const SP: R = R(31);
/// The link register.
pub const LR: R = R(30);
/// The frame record's register.
pub const FP: R = R(29);

impl R {
    #[inline]
    pub(crate) fn rd(self) -> u32 {
        u32::from(self.0 & 31)
    }
    #[inline]
    pub(crate) fn rn(self) -> u32 {
        u32::from(self.0 & 31) << 5
    }
    /// Also where the second register of a pair lies in multiply-add (`Ra`) and pairs (`Rt2`).
    #[inline]
    pub(crate) fn ra(self) -> u32 {
        u32::from(self.0 & 31) << 10
    }
    #[inline]
    pub(crate) fn rm(self) -> u32 {
        u32::from(self.0 & 31) << 16
    }
}

/// Bit 31, `sf`: set for the 64-bit form.
#[inline]
pub(crate) fn sf(w: Width) -> u32 {
    match w {
        Width::W32 => 0,
        Width::W64 => 1 << 31,
    }
}

/// Bits in a register of this width: 32 or 64.
#[inline]
pub(crate) fn bits_of(w: Width) -> u32 {
    match w {
        Width::W32 => 32,
        Width::W64 => 64,
    }
}

/// A condition code.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Cc {
    Eq = 0,
    Ne = 1,
    /// Unsigned higher or same (`cs`).
    Hs = 2,
    /// Unsigned lower (`cc`).
    Lo = 3,
    Mi = 4,
    Pl = 5,
    Hi = 8,
    Ls = 9,
    Ge = 10,
    Lt = 11,
    Gt = 12,
    Le = 13,
}

impl Cc {
    /// The opposite condition.
    #[inline]
    pub fn invert(self) -> Cc {
        match self {
            Cc::Eq => Cc::Ne,
            Cc::Ne => Cc::Eq,
            Cc::Hs => Cc::Lo,
            Cc::Lo => Cc::Hs,
            Cc::Mi => Cc::Pl,
            Cc::Pl => Cc::Mi,
            Cc::Hi => Cc::Ls,
            Cc::Ls => Cc::Hi,
            Cc::Ge => Cc::Lt,
            Cc::Lt => Cc::Ge,
            Cc::Gt => Cc::Le,
            Cc::Le => Cc::Gt,
        }
    }
}

/// Shift applied to the last register of a shifted-register form.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Shift {
    Lsl = 0,
    Lsr = 1,
    Asr = 2,
}

/// Extension applied to the last register of an extended-register form.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Extend {
    Uxtb = 0,
    Uxth = 1,
    Uxtw = 2,
    Uxtx = 3,
    Sxtb = 4,
    Sxth = 5,
    Sxtw = 6,
    Sxtx = 7,
}
