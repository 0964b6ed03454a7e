//! Bit fields, shifts, extensions and byte reversal.

use bpfassay_isa::Width;

use super::{bits_of, sf, R};

/// The N bit of the bit field forms, which goes with `sf`.
fn n(w: Width) -> u32 {
    match w {
        Width::W32 => 0,
        Width::W64 => 1 << 22,
    }
}

/// `ubfm rd, rn, #immr, #imms`; both below the width.
pub fn ubfm(w: Width, rd: R, rn: R, immr: u32, imms: u32) -> u32 {
    sf(w) | n(w) | 0x5300_0000 | ((immr & 63) << 16) | ((imms & 63) << 10) | rn.rn() | rd.rd()
}

/// `sbfm rd, rn, #immr, #imms`; both below the width.
pub fn sbfm(w: Width, rd: R, rn: R, immr: u32, imms: u32) -> u32 {
    sf(w) | n(w) | 0x1300_0000 | ((immr & 63) << 16) | ((imms & 63) << 10) | rn.rn() | rd.rd()
}

/// `bfm rd, rn, #immr, #imms`: keeps the other bits of `rd`.
pub fn bfm(w: Width, rd: R, rn: R, immr: u32, imms: u32) -> u32 {
    sf(w) | n(w) | 0x3300_0000 | ((immr & 63) << 16) | ((imms & 63) << 10) | rn.rn() | rd.rd()
}

/// `lsl rd, rn, #amount`; below the width.
pub fn lsl_imm(w: Width, rd: R, rn: R, amount: u32) -> u32 {
    let bits = bits_of(w);
    ubfm(w, rd, rn, bits.wrapping_sub(amount) % bits, (bits - 1).wrapping_sub(amount))
}

/// `lsr rd, rn, #amount`; below the width.
pub fn lsr_imm(w: Width, rd: R, rn: R, amount: u32) -> u32 {
    ubfm(w, rd, rn, amount, bits_of(w) - 1)
}

/// `asr rd, rn, #amount`; below the width.
pub fn asr_imm(w: Width, rd: R, rn: R, amount: u32) -> u32 {
    sbfm(w, rd, rn, amount, bits_of(w) - 1)
}

/// `ror rd, rn, #amount`; below the width.
pub fn ror_imm(w: Width, rd: R, rn: R, amount: u32) -> u32 {
    sf(w) | n(w) | 0x1380_0000 | rn.rm() | ((amount & 63) << 10) | rn.rn() | rd.rd()
}

/// `uxtb`, `uxth`: zero-extend the low `from` bits (8 or 16) into 64.
pub fn uxt(rd: R, rn: R, from: u32) -> u32 {
    ubfm(Width::W32, rd, rn, 0, from - 1)
}

/// `sxtb`, `sxth`, `sxtw`: sign-extend the low `from` bits (8, 16 or 32).
pub fn sxt(w: Width, rd: R, rn: R, from: u32) -> u32 {
    sbfm(w, rd, rn, 0, from - 1)
}

/// `lslv rd, rn, rm`: amount modulo the width.
pub fn lslv(w: Width, rd: R, rn: R, rm: R) -> u32 {
    sf(w) | 0x1ac0_2000 | rm.rm() | rn.rn() | rd.rd()
}

/// `lsrv rd, rn, rm`.
pub fn lsrv(w: Width, rd: R, rn: R, rm: R) -> u32 {
    sf(w) | 0x1ac0_2400 | rm.rm() | rn.rn() | rd.rd()
}

/// `asrv rd, rn, rm`.
pub fn asrv(w: Width, rd: R, rn: R, rm: R) -> u32 {
    sf(w) | 0x1ac0_2800 | rm.rm() | rn.rn() | rd.rd()
}

/// `rev rd, rn`: all bytes of the register.
pub fn rev(w: Width, rd: R, rn: R) -> u32 {
    let opc = match w {
        Width::W32 => 2 << 10,
        Width::W64 => 3 << 10,
    };
    sf(w) | 0x5ac0_0000 | opc | rn.rn() | rd.rd()
}

/// `rev16 rd, rn`: the bytes of each halfword.
pub fn rev16(w: Width, rd: R, rn: R) -> u32 {
    sf(w) | 0x5ac0_0400 | rn.rn() | rd.rd()
}

/// `rev32 xd, xn`: the bytes of each word.
pub fn rev32(rd: R, rn: R) -> u32 {
    0xdac0_0800 | rn.rn() | rd.rd()
}
