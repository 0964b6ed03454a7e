//! Faults of the past, to see whether an oracle would notice them again.

bpfassay_isa::faults! {
    /// 32-bit bounds are the low halves of 64-bit ones, whatever the upper halves (CVE-2020-8835).
    Cve2020_8835,
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
