//! Faults of the past, to see whether an oracle would notice them again.
//!
//! Only with the feature `mutations`, which tests ask for, can one be switched on; without it every question is
//! answered no at compile time.

/// A fault, named by what it is known as or by what it does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u32)]
pub enum Mutation {
    /// 32-bit bounds are the low halves of 64-bit ones, whatever the upper halves (CVE-2020-8835).
    Cve2020_8835 = 1,
    /// OR takes its 32-bit bounds from the 64-bit ones (CVE-2020-27194).
    Cve2020_27194,
    /// Bitwise operations on known low halves leave the 32-bit bounds as they were (CVE-2021-3490).
    Cve2021_3490,
    /// A 64-bit minimum that fits 32 bits is the low half's minimum (CVE-2021-31440).
    Cve2021_31440,
    /// Arithmetic on pointers that may be NULL is allowed (CVE-2022-23222).
    Cve2022_23222,
    /// A comparison of two registers asks for precision of one of them only (CVE-2023-2163).
    Cve2023_2163,
    /// Sums that wrap keep their ends.
    AddIgnoresOverflow,
    /// Differences are taken end by end.
    SubPairsEnds,
    /// Products that overflow keep their ends.
    MulIgnoresOverflow,
    /// A left shift that loses bits keeps its range.
    LshIgnoresOverflow,
    /// A right shift keeps the signed range.
    RshKeepsSign,
    /// An arithmetic right shift of the low half keeps the unsigned range.
    Arsh32KeepsUnsigned,
    /// The tnum of a product takes unknown bits for zeroes.
    MulDropsUnknownBits,
    /// The tnum of a sum forgets carries.
    AddDropsCarries,
    /// `<=` teaches what `<` does.
    LeIsStrict,
    /// What JMP32 learns of equality holds for all 64 bits.
    Jeq32LearnsAll,
    /// Signed comparisons are decided by unsigned ranges.
    SignedDecidedUnsigned,
    /// Not equal takes the edge off though the constant is not at it.
    NeTrimsAlways,
    /// 32-bit results keep their upper half.
    NoZext,
    /// A sign extension trusts the range though the upper bits differ.
    SxIgnoresUpper,
    /// A linked register's distance of 32 bits is not cut.
    LinkNotCut,
    /// Pruning ignores the unsigned minimum and the tnum.
    RegsafeIgnoresMinimum,
    /// Pruning takes every scalar for imprecise.
    RegsafeIgnoresPrecision,
    /// A bit test that fails is taken for one that holds.
    JsetInverted,
}

impl Mutation {
    pub const ALL: [Mutation; 24] = {
        use Mutation::*;
        [
            Cve2020_8835,
            Cve2020_27194,
            Cve2021_3490,
            Cve2021_31440,
            Cve2022_23222,
            Cve2023_2163,
            AddIgnoresOverflow,
            SubPairsEnds,
            MulIgnoresOverflow,
            LshIgnoresOverflow,
            RshKeepsSign,
            Arsh32KeepsUnsigned,
            MulDropsUnknownBits,
            AddDropsCarries,
            LeIsStrict,
            Jeq32LearnsAll,
            SignedDecidedUnsigned,
            NeTrimsAlways,
            NoZext,
            SxIgnoresUpper,
            LinkNotCut,
            RegsafeIgnoresMinimum,
            RegsafeIgnoresPrecision,
            JsetInverted,
        ]
    };
}

#[cfg(feature = "mutations")]
static ACTIVE: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);

/// Switches one on for the whole process, and the others off.
#[cfg(feature = "mutations")]
pub fn activate(m: Option<Mutation>) {
    ACTIVE.store(m.map_or(0, |m| m as u32), std::sync::atomic::Ordering::SeqCst);
}

/// True if this fault is to be made.
#[inline(always)]
pub(crate) fn has(m: Mutation) -> bool {
    #[cfg(feature = "mutations")]
    return ACTIVE.load(std::sync::atomic::Ordering::Relaxed) == m as u32;
    #[cfg(not(feature = "mutations"))]
    {
        let _ = m;
        false
    }
}
