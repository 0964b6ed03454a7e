//! Addition, subtraction, comparison, multiplication, division, conditional select.

use bpfassay_isa::Width;

use super::{sf, Cc, Extend, Shift, R, ZR};

/// An immediate of ADD and SUB: 12 bits, plain or shifted left by 12.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AddImm(u32);

impl AddImm {
    /// `None` when `v` is neither 12 bits nor 12 bits shifted left by 12.
    #[inline]
    pub fn new(v: u64) -> Option<AddImm> {
        if v <= 0xfff {
            Some(AddImm((v as u32) << 10))
        } else if v & !0xff_f000 == 0 {
            Some(AddImm((1 << 22) | ((v as u32 >> 12) << 10)))
        } else {
            None
        }
    }
}

/// `add rd, rn, #imm`; register 31 is the stack pointer.
pub fn add_imm(w: Width, rd: R, rn: R, imm: AddImm) -> u32 {
    sf(w) | 0x1100_0000 | imm.0 | rn.rn() | rd.rd()
}

/// `sub rd, rn, #imm`; register 31 is the stack pointer.
pub fn sub_imm(w: Width, rd: R, rn: R, imm: AddImm) -> u32 {
    sf(w) | 0x5100_0000 | imm.0 | rn.rn() | rd.rd()
}

/// `mov rd, rn`, where 31 is the stack pointer.
pub fn mov_sp(rd: R, rn: R) -> u32 {
    0x9100_0000 | rn.rn() | rd.rd()
}

/// `cmp rn, #imm`.
pub fn cmp_imm(w: Width, rn: R, imm: AddImm) -> u32 {
    sf(w) | 0x7100_0000 | imm.0 | rn.rn() | ZR.rd()
}

/// `cmn rn, #imm`: flags of `rn + imm`.
pub fn cmn_imm(w: Width, rn: R, imm: AddImm) -> u32 {
    sf(w) | 0x3100_0000 | imm.0 | rn.rn() | ZR.rd()
}

/// `adds`/`subs rd, rn, #imm`.
pub fn subs_imm(w: Width, rd: R, rn: R, imm: AddImm) -> u32 {
    sf(w) | 0x7100_0000 | imm.0 | rn.rn() | rd.rd()
}

/// `add rd, rn, rm, shift #amount`; `amount` below the width.
pub fn add(w: Width, rd: R, rn: R, rm: R, shift: Shift, amount: u32) -> u32 {
    sf(w) | 0x0b00_0000 | shifted(shift, amount) | rm.rm() | rn.rn() | rd.rd()
}

/// `sub rd, rn, rm, shift #amount`; with `rn` the zero register, `neg`.
pub fn sub(w: Width, rd: R, rn: R, rm: R, shift: Shift, amount: u32) -> u32 {
    sf(w) | 0x4b00_0000 | shifted(shift, amount) | rm.rm() | rn.rn() | rd.rd()
}

/// `cmp rn, rm`.
pub fn cmp(w: Width, rn: R, rm: R) -> u32 {
    sf(w) | 0x6b00_0000 | rm.rm() | rn.rn() | ZR.rd()
}

/// `add rd, rn, rm, extend #amount`; `amount` 0 to 4; `rd` and `rn` may be the stack pointer.
pub fn add_ext(w: Width, rd: R, rn: R, rm: R, extend: Extend, amount: u32) -> u32 {
    sf(w)
        | 0x0b20_0000
        | ((extend as u32) << 13)
        | ((amount & 7) << 10)
        | rm.rm()
        | rn.rn()
        | rd.rd()
}

pub(super) fn shifted(shift: Shift, amount: u32) -> u32 {
    ((shift as u32) << 22) | ((amount & 63) << 10)
}

/// `madd rd, rn, rm, ra`: `ra + rn * rm`; with `ra` the zero register, `mul`.
pub fn madd(w: Width, rd: R, rn: R, rm: R, ra: R) -> u32 {
    sf(w) | 0x1b00_0000 | rm.rm() | ra.ra() | rn.rn() | rd.rd()
}

/// `msub rd, rn, rm, ra`: `ra - rn * rm`.
pub fn msub(w: Width, rd: R, rn: R, rm: R, ra: R) -> u32 {
    sf(w) | 0x1b00_8000 | rm.rm() | ra.ra() | rn.rn() | rd.rd()
}

/// `udiv rd, rn, rm`; by zero gives zero.
pub fn udiv(w: Width, rd: R, rn: R, rm: R) -> u32 {
    sf(w) | 0x1ac0_0800 | rm.rm() | rn.rn() | rd.rd()
}

/// `sdiv rd, rn, rm`; by zero gives zero, the smallest number by -1 itself.
pub fn sdiv(w: Width, rd: R, rn: R, rm: R) -> u32 {
    sf(w) | 0x1ac0_0c00 | rm.rm() | rn.rn() | rd.rd()
}

/// `umulh rd, rn, rm`: the high half of a 64-bit product.
pub fn umulh(rd: R, rn: R, rm: R) -> u32 {
    0x9bc0_7c00 | rm.rm() | rn.rn() | rd.rd()
}

/// `csel rd, rn, rm, cc`: `rn` if the condition holds, else `rm`.
pub fn csel(w: Width, rd: R, rn: R, rm: R, cc: Cc) -> u32 {
    sf(w) | 0x1a80_0000 | rm.rm() | ((cc as u32) << 12) | rn.rn() | rd.rd()
}

/// `csneg rd, rn, rm, cc`: `rn` if the condition holds, else `-rm`.
pub fn csneg(w: Width, rd: R, rn: R, rm: R, cc: Cc) -> u32 {
    sf(w) | 0x5a80_0400 | rm.rm() | ((cc as u32) << 12) | rn.rn() | rd.rd()
}

/// `cset rd, cc`: 1 if the condition holds, else 0.
pub fn cset(w: Width, rd: R, cc: Cc) -> u32 {
    sf(w) | 0x1a9f_07e0 | ((cc.invert() as u32) << 12) | rd.rd()
}
