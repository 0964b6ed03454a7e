//! Tristate numbers: known bits and unknown bits (`kernel/bpf/tnum.c`).

/// Every bit is 0, 1 or unknown: `mask` has the unknown bits, `value` the known
/// ones.  `value & mask == 0` always holds.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
#[repr(C)]
pub struct Tnum {
    pub value: u64,
    pub mask: u64,
}

impl Tnum {
    /// Every bit unknown (`tnum_unknown`).
    pub const UNKNOWN: Tnum = Tnum { value: 0, mask: u64::MAX };

    /// Exactly `value` (`tnum_const`).
    #[inline]
    pub const fn constant(value: u64) -> Tnum {
        Tnum { value, mask: 0 }
    }

    /// True if every bit is known (`tnum_is_const`).
    #[inline]
    pub const fn is_const(self) -> bool {
        self.mask == 0
    }

    /// True if no bit is known (`tnum_is_unknown`).
    #[inline]
    pub const fn is_unknown(self) -> bool {
        self.value | !self.mask == 0
    }
}
