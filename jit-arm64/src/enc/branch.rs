//! Branches and addresses.  Distances are in instructions (4 bytes) from the branch itself.

use bpfassay_isa::Width;

use super::{sf, Cc, R};

fn field(delta: i32, bits: u32, at: u32) -> u32 {
    ((delta as u32) & ((1 << bits) - 1)) << at
}

/// `b`; within 2^25 instructions.
pub fn b(delta: i32) -> u32 {
    0x1400_0000 | field(delta, 26, 0)
}

/// `bl`; within 2^25 instructions.
pub fn bl(delta: i32) -> u32 {
    0x9400_0000 | field(delta, 26, 0)
}

/// `b.cc`; within 2^18 instructions.
pub fn b_cond(cc: Cc, delta: i32) -> u32 {
    0x5400_0000 | field(delta, 19, 5) | cc as u32
}

/// `cbz rt`; within 2^18 instructions.
pub fn cbz(w: Width, rt: R, delta: i32) -> u32 {
    sf(w) | 0x3400_0000 | field(delta, 19, 5) | rt.rd()
}

/// `cbnz rt`; within 2^18 instructions.
pub fn cbnz(w: Width, rt: R, delta: i32) -> u32 {
    sf(w) | 0x3500_0000 | field(delta, 19, 5) | rt.rd()
}

/// `tbz rt, #bit`; within 2^13 instructions; `bit` 0 to 63.
pub fn tbz(rt: R, bit: u32, delta: i32) -> u32 {
    0x3600_0000 | ((bit & 32) << 26) | ((bit & 31) << 19) | field(delta, 14, 5) | rt.rd()
}

/// `tbnz rt, #bit`; within 2^13 instructions; `bit` 0 to 63.
pub fn tbnz(rt: R, bit: u32, delta: i32) -> u32 {
    0x3700_0000 | ((bit & 32) << 26) | ((bit & 31) << 19) | field(delta, 14, 5) | rt.rd()
}

/// `br rn`.
pub fn br(rn: R) -> u32 {
    0xd61f_0000 | rn.rn()
}

/// `blr rn`.
pub fn blr(rn: R) -> u32 {
    0xd63f_0000 | rn.rn()
}

/// `ret rn`.
pub fn ret(rn: R) -> u32 {
    0xd65f_0000 | rn.rn()
}

/// `adr rd`: `bytes` from here, within 2^20.
pub fn adr(rd: R, bytes: i32) -> u32 {
    0x1000_0000 | (((bytes as u32) & 3) << 29) | field(bytes >> 2, 19, 5) | rd.rd()
}

/// `adrp rd`: 4 KiB `pages` from this page, within 2^20.
pub fn adrp(rd: R, pages: i32) -> u32 {
    0x9000_0000 | (((pages as u32) & 3) << 29) | field(pages >> 2, 19, 5) | rd.rd()
}

/// `ldr xt, literal`; within 2^18 words.
pub fn ldr_literal(rt: R, delta: i32) -> u32 {
    0x5800_0000 | field(delta, 19, 5) | rt.rd()
}

/// `nop`.
pub fn nop() -> u32 {
    0xd503_201f
}

/// `brk #imm`.
pub fn brk(imm: u16) -> u32 {
    0xd420_0000 | (u32::from(imm) << 5)
}

/// `bti c`: where calls may land; a no-op on older processors.
pub fn bti_c() -> u32 {
    0xd503_245f
}
