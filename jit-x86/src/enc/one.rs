//! One instruction put together: prefixes, opcode, ModRM, SIB, displacement, immediate.

use super::{Gp, Mem, Rm, RSP, W};
use bpfassay_jit::CodeBuf;

/// One instruction being put together: up to eight bytes of prefixes, opcode, ModRM and SIB, and
/// up to eight of displacement and immediate.
///
/// Kept in registers: bytes put together in memory could not be read back at once.
pub(super) struct One {
    pub head: u64,
    /// Bits of `head`.
    pub h: u32,
    pub tail: u64,
    /// Bits of `tail`.
    pub t: u32,
}

impl One {
    #[inline(always)]
    pub(super) fn new() -> One {
        One { head: 0, h: 0, tail: 0, t: 0 }
    }

    /// A byte up to the SIB.
    #[inline(always)]
    pub(super) fn u8(&mut self, v: u8) {
        self.head |= (v as u64) << (self.h & 63);
        self.h += 8;
    }

    /// A byte of displacement or immediate.
    #[inline(always)]
    pub(super) fn i8(&mut self, v: i8) {
        self.tail |= (v as u8 as u64) << (self.t & 63);
        self.t += 8;
    }

    #[inline(always)]
    pub(super) fn i32(&mut self, v: i32) {
        self.tail |= (v as u32 as u64) << (self.t & 63);
        self.t += 32;
    }

    #[inline(always)]
    pub(super) fn put(self, buf: &mut CodeBuf) {
        buf.put_two(self.head, self.h as usize / 8, self.tail, self.t as usize / 8);
    }

    /// ModRM, SIB and displacement.
    #[inline(always)]
    pub(super) fn modrm(&mut self, reg: u8, rm: Rm) {
        let m = modrm(reg, rm);
        self.head |= (m.bytes as u64) << (self.h & 63);
        self.h += 8 * m.len;
        self.tail |= (m.disp as u64) << (self.t & 63);
        self.t += 8 * m.disp_len;
    }
}

/// ModRM with SIB, and displacement.
pub(super) struct ModRm {
    pub bytes: u16,
    pub len: u32,
    pub disp: u32,
    pub disp_len: u32,
}

#[inline(always)]
pub(super) fn modrm(reg: u8, rm: Rm) -> ModRm {
    let reg = (reg & 7) << 3;
    match rm {
        Rm::R(r) => ModRm { bytes: (0xc0 | reg | (r.0 & 7)) as u16, len: 1, disp: 0, disp_len: 0 },
        Rm::M(m) => memory(reg, m),
    }
}

#[inline(always)]
fn memory(reg: u8, m: Mem) -> ModRm {
    let sib = |modrm: u8, sib: u8| (modrm as u16 | (sib as u16) << 8, 2);
    let Some(base) = m.base else {
        let (index, scale) = m.index.unwrap_or((RSP, 0));
        let (bytes, len) = sib(reg | 4, scale << 6 | (index.0 & 7) << 3 | 5);
        return ModRm { bytes, len, disp: m.disp as u32, disp_len: 4 };
    };
    let low = base.0 & 7;
    // RBP and R13 have no form without displacement.
    let (mode, disp, disp_len) = if m.disp == 0 && low != 5 {
        (0, 0, 0)
    } else if m.disp == m.disp as i8 as i32 {
        (0x40, m.disp as u8 as u32, 1)
    } else {
        (0x80, m.disp as u32, 4)
    };
    let (bytes, len) = match m.index {
        None if low != 4 => ((mode | reg | low) as u16, 1),
        None => sib(mode | reg | 4, 0x24),
        Some((index, scale)) => sib(mode | reg | 4, scale << 6 | (index.0 & 7) << 3 | low),
    };
    ModRm { bytes, len, disp, disp_len }
}

/// What a register adds to REX (bits 0 to 7) and ModRM (bits 16 to 23) as `reg` and as `rm`: a load is
/// cheaper than the shifts, and a table for every byte cheaper than asking which it is.
static REG: [u32; 256] = fields(2, 19);
static RM: [u32; 256] = fields(0, 16);

const fn fields(rex: u32, modrm: u32) -> [u32; 256] {
    let mut out = [0; 256];
    let mut r = 0;
    while r < 16 {
        out[r as usize] = (r >> 3) << rex | (r & 7) << modrm;
        r += 1;
    }
    out
}

#[inline(always)]
pub(super) fn reg_rm(reg: u8, rm: Gp) -> u64 {
    (REG[reg as usize] | RM[rm.0 as usize]) as u64
}

/// REX.W, where it is wanted.
#[inline(always)]
pub(super) fn rex_w(w: W) -> u64 {
    u64::from(w == W::Q) << 3
}

/// Extension bits of the register numbers in `rm`: X and B.
#[inline(always)]
pub(super) fn rex_xb(rm: Rm) -> u8 {
    match rm {
        Rm::R(r) => r.0 >> 3,
        Rm::M(m) => m.base.map_or(0, |b| b.0 >> 3) | m.index.map_or(0, |(i, _)| i.0 >> 3) << 1,
    }
}
