//! The opcode table.  No other file of the project writes an opcode number.

/// First slot of a 16-byte immediate load: `BPF_LD | BPF_IMM | BPF_DW`.
pub const LD_IMM64: u8 = 0x18;
