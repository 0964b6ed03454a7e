//! Faults of past JITs, and of a kind that this one could have, to see whether an oracle would notice them.

bpfassay_isa::faults! {
    /// A short jump is chosen a few bytes beyond its reach, so that it lands elsewhere (CVE-2021-29154: branch
    /// displacements of the x86 JIT).
    JumpReachesFurther,
    /// A byte is stored from SIL or DIL without a prefix, hence from DH or BH ("bpf, x86: Fix encoding for lower
    /// 8-bit registers in BPF_STX BPF_B").
    ByteStoreLacksPrefix,
    /// And, or, xor that fetch take r0 for the old value of memory ("bpf, x86: Fix BPF_FETCH atomic and/or/xor with
    /// r0 as src").
    FetchLosesR0,
    /// A 32-bit compare-and-exchange that succeeds keeps r0's upper half ("bpf: Explicitly zero-extend R0 after
    /// 32-bit cmpxchg").
    Cmpxchg32KeepsUpper,
    /// A 32-bit remainder by zero keeps the dividend's upper half (CVE-2021-3444).
    Mod32KeepsUpper,
    /// A 32-bit bit test looks at all bits ("bpf, x32: Fix bug with JMP32 JSET BPF_X checking upper bits").
    Jset32TestsAll,
    /// 32-bit sums and differences keep their upper half ("bpf, riscv: clear high 32 bits for ALU32
    /// add/sub/neg/lsh/rsh/arsh").
    Add32KeepsUpper,
    /// A swap of 16 bits leaves what is above them ("arm64: bpf: fix endianness conversion bugs").
    Swap16KeepsUpper,
    /// A load that sign-extends zero-extends.
    LoadSxIsZx,
    /// What is subtracted is added negated, the least number too, which has no negative.
    SubOfLeastIsAdd,
    /// A comparison of numbers below 2^32 becomes one of 32 bits and stays signed.
    NarrowKeepsSign,
    /// A right shift of which only the low half is read becomes one of 32 bits.
    ShiftNarrows,
    /// A division by a constant whose multiplier needs 33 bits makes do with 32.
    MagicForgetsBit,
    /// The flags of a sum are taken for those of a comparison with zero.
    FlagsOfSumTellSign,
}
