//! Loads and stores of one register and of pairs.

use bpfassay_isa::{Size, Width};

use super::{Extend, R};

/// What a single access does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Access {
    Store,
    /// Zero-extending.
    Load,
    /// Sign-extending to 64 bits; not of a double word.
    LoadSigned,
}

fn size_bits(size: Size) -> u32 {
    match size {
        Size::B => 0,
        Size::H => 1,
        Size::W => 2,
        Size::Dw => 3,
    }
}

/// `size` and `opc`, the same in every addressing form.
fn kind(access: Access, size: Size) -> u32 {
    let opc = match access {
        Access::Store => 0,
        Access::Load => 1,
        Access::LoadSigned => 2,
    };
    (size_bits(size) << 30) | (opc << 22)
}

/// `ldr`/`str rt, [rn, #offset]` in the scaled form if it fits, else unscaled; `None` if neither does.
#[inline]
pub fn imm(access: Access, size: Size, rt: R, rn: R, offset: i32) -> Option<u32> {
    let scale = size_bits(size);
    if offset >= 0 && offset & ((1 << scale) - 1) == 0 && offset >> scale <= 0xfff {
        let imm12 = (offset as u32) >> scale;
        return Some(kind(access, size) | 0x3900_0000 | (imm12 << 10) | rn.rn() | rt.rd());
    }
    if (-256..256).contains(&offset) {
        let imm9 = (offset as u32) & 0x1ff;
        return Some(kind(access, size) | 0x3800_0000 | (imm9 << 12) | rn.rn() | rt.rd());
    }
    None
}

/// `ldr`/`str rt, [rn, rm, extend #amount]`: `amount` is 0 or, if `scaled`, log2 of the size.
///
/// `extend` is `Uxtx` (plain `lsl`), `Uxtw`, `Sxtw` or `Sxtx`.
pub fn reg(access: Access, size: Size, rt: R, rn: R, rm: R, extend: Extend, scaled: bool) -> u32 {
    kind(access, size)
        | 0x3820_0800
        | rm.rm()
        | ((extend as u32) << 13)
        | (u32::from(scaled) << 12)
        | rn.rn()
        | rt.rd()
}

/// `str xt, [rn, #offset]!`; -256 to 255.
pub fn str_pre(rt: R, rn: R, offset: i32) -> u32 {
    0xf800_0c00 | (((offset as u32) & 0x1ff) << 12) | rn.rn() | rt.rd()
}

/// `ldr xt, [rn], #offset`; -256 to 255.
pub fn ldr_post(rt: R, rn: R, offset: i32) -> u32 {
    0xf840_0400 | (((offset as u32) & 0x1ff) << 12) | rn.rn() | rt.rd()
}

fn pair(base: u32, rt: R, rt2: R, rn: R, offset: i32) -> u32 {
    base | ((((offset >> 3) as u32) & 0x7f) << 15) | rt2.ra() | rn.rn() | rt.rd()
}

/// `stp xt, xt2, [rn, #offset]`; a multiple of 8, -512 to 504.
pub fn stp(rt: R, rt2: R, rn: R, offset: i32) -> u32 {
    pair(0xa900_0000, rt, rt2, rn, offset)
}

/// `ldp xt, xt2, [rn, #offset]`; a multiple of 8, -512 to 504.
pub fn ldp(rt: R, rt2: R, rn: R, offset: i32) -> u32 {
    pair(0xa940_0000, rt, rt2, rn, offset)
}

/// `stp xt, xt2, [rn, #offset]!`.
pub fn stp_pre(rt: R, rt2: R, rn: R, offset: i32) -> u32 {
    pair(0xa980_0000, rt, rt2, rn, offset)
}

/// `ldp xt, xt2, [rn], #offset`.
pub fn ldp_post(rt: R, rt2: R, rn: R, offset: i32) -> u32 {
    pair(0xa8c0_0000, rt, rt2, rn, offset)
}

/// `stp wt, wt2, [rn, #offset]`; a multiple of 4, -256 to 252.
pub fn stp_w(rt: R, rt2: R, rn: R, offset: i32) -> u32 {
    0x2900_0000 | ((((offset >> 2) as u32) & 0x7f) << 15) | rt2.ra() | rn.rn() | rt.rd()
}

/// `ldp wt, wt2, [rn, #offset]`; a multiple of 4, -256 to 252.
pub fn ldp_w(rt: R, rt2: R, rn: R, offset: i32) -> u32 {
    0x2940_0000 | ((((offset >> 2) as u32) & 0x7f) << 15) | rt2.ra() | rn.rn() | rt.rd()
}

/// The size an access of this width has.
pub fn size_of(w: Width) -> Size {
    match w {
        Width::W32 => Size::W,
        Width::W64 => Size::Dw,
    }
}
