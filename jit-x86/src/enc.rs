//! x86-64 encodings: opcodes as rows, operands as data.  Knows no BPF.
//!
//! One function writes every legacy-encoded form ([`Asm::op`]), one every VEX form
//! ([`Asm::vex`]).  Shapes follow the Intel manual, volume 2, chapter 2.

mod one;

use one::{modrm, reg_rm, rex_w, rex_xb, One};

use bpfassay_jit::mutation::{has, Mutation};
use bpfassay_jit::CodeBuf;

/// A general register, numbered as in ModRM with its extension bit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Gp(pub u8);

pub const RAX: Gp = Gp(0);
pub const RCX: Gp = Gp(1);
pub const RDX: Gp = Gp(2);
pub const RBX: Gp = Gp(3);
pub const RSP: Gp = Gp(4);
pub const RBP: Gp = Gp(5);
pub const RSI: Gp = Gp(6);
pub const RDI: Gp = Gp(7);
pub const R8: Gp = Gp(8);
pub const R9: Gp = Gp(9);
pub const R10: Gp = Gp(10);
pub const R11: Gp = Gp(11);
pub const R12: Gp = Gp(12);
pub const R13: Gp = Gp(13);
pub const R14: Gp = Gp(14);
pub const R15: Gp = Gp(15);

/// A memory operand.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Mem {
    /// None only with an index.
    pub base: Option<Gp>,
    /// Not RSP; scale 0 to 3.
    pub index: Option<(Gp, u8)>,
    pub disp: i32,
}

impl Mem {
    pub fn at(base: Gp, disp: i32) -> Mem {
        Mem { base: Some(base), index: None, disp }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Rm {
    R(Gp),
    M(Mem),
}

/// Operand size; B and H only where the opcode has the form.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum W {
    B,
    H,
    D,
    Q,
}

/// An opcode: bytes of the full-size form, escapes first, and how many.
///
/// The byte form of an opcode of one byte that has one is the code with bit 0 clear.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Op {
    bytes: u32,
    len: u32,
}

pub const fn op(code: u8) -> Op {
    Op { bytes: code as u32, len: 1 }
}
const fn op0f(code: u8) -> Op {
    Op { bytes: 0x0f | (code as u32) << 8, len: 2 }
}

/// Two-operand group: `code * 8 + form`, and the extension of the immediate forms.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Group1 {
    Add = 0,
    Or = 1,
    And = 4,
    Sub = 5,
    Xor = 6,
    Cmp = 7,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Shift {
    Rol = 0,
    Ror = 1,
    Shl = 4,
    Shr = 5,
    Sar = 7,
}

pub const MOV_RM_R: Op = op(0x89);
pub const MOV_R_RM: Op = op(0x8b);
pub const MOV_RM_IMM: Op = op(0xc7);
pub const LEA: Op = op(0x8d);
pub const TEST_RM_R: Op = op(0x85);
pub const GROUP3: Op = op(0xf7);
pub const GROUP5: Op = op(0xff);
pub const XCHG: Op = op(0x87);
pub const MOVSXD: Op = op(0x63);
pub const IMUL_R_RM: Op = op0f(0xaf);
pub const IMUL_IMM8: Op = op(0x6b);
pub const IMUL_IMM32: Op = op(0x69);
pub const MOVZX_B: Op = op0f(0xb6);
pub const MOVZX_H: Op = op0f(0xb7);
pub const MOVSX_B: Op = op0f(0xbe);
pub const MOVSX_H: Op = op0f(0xbf);
pub const CMPXCHG: Op = op0f(0xb1);
pub const XADD: Op = op0f(0xc1);
pub const MOVBE_R_M: Op = Op { bytes: 0xf0380f, len: 3 };

/// Condition codes (the low four bits of `Jcc`).
pub mod cc {
    pub const B: u8 = 2;
    pub const AE: u8 = 3;
    pub const E: u8 = 4;
    pub const NE: u8 = 5;
    pub const BE: u8 = 6;
    pub const A: u8 = 7;
    pub const S: u8 = 8;
    pub const NS: u8 = 9;
    pub const L: u8 = 12;
    pub const GE: u8 = 13;
    pub const LE: u8 = 14;
    pub const G: u8 = 15;
}

/// Immediate behind an instruction.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Imm {
    None,
    I8(i8),
    I16(i16),
    I32(i32),
}

/// Writes instructions into a buffer.
#[derive(Debug, Default)]
pub struct Asm {
    pub buf: CodeBuf,
}

/// Numbers that [`Asm::mov_imm`] makes by arithmetic, which is shorter than moving them.
pub fn sets_flags(v: u64) -> bool {
    v == 0 || v == u64::MAX
}

/// A byte of this register is named only with a prefix.
#[inline(always)]
fn needs_prefix(byte: bool, reg: u8) -> bool {
    byte && (4..8).contains(&reg) && !has(Mutation::ByteStoreLacksPrefix)
}

impl Asm {
    /// Any legacy-encoded instruction with ModRM; `reg` is a register or an opcode extension.
    ///
    /// Everything is put where it is with a REX prefix, which is shifted out again where none is needed:
    /// that way positions are constants.
    #[inline(always)]
    pub fn op(&mut self, prefix: Option<u8>, op: Op, w: W, reg: u8, rm: Rm, imm: Imm) {
        let byte = w == W::B && op.len == 1;
        let code = (op.bytes & !u32::from(byte)) as u64;
        let rex = u8::from(w == W::Q) << 3 | (reg >> 3) << 2 | rex_xb(rm);
        // SPL to DIL need a prefix, or they are AH to BH.
        let byte_reg = needs_prefix(byte, reg);
        let byte_rm = byte || op == MOVZX_B || op == MOVSX_B;
        let byte_rm = byte_rm && matches!(rm, Rm::R(r) if (4..8).contains(&r.0));
        let bare = rex == 0 && !byte_reg && !byte_rm;

        let m = modrm(reg, rm);
        let mut head = (0x40 | rex) as u64 | code << 8 | (m.bytes as u64) << (8 + 8 * op.len);
        let mut len = 1 + op.len + m.len;
        head >>= 8 * u32::from(bare);
        len -= u32::from(bare);
        if w == W::H {
            head = head << 8 | 0x66;
            len += 1;
        }
        if let Some(p) = prefix {
            head = head << 8 | p as u64;
            len += 1;
        }
        let (v, size) = match imm {
            Imm::None => (0, 0),
            Imm::I8(v) => (v as u8 as u64, 1),
            Imm::I16(v) => (v as u16 as u64, 2),
            Imm::I32(v) => (v as u32 as u64, 4),
        };
        let tail = m.disp as u64 | v << (8 * m.disp_len);
        self.buf.put_two(head, len as usize, tail, (m.disp_len + size) as usize);
    }

    /// A REX prefix and what follows, up to eight bytes in all; the prefix is left out where it says nothing.
    #[inline(always)]
    fn put_rex(&mut self, bytes: u64, len: usize) {
        let bare = bytes as u8 == 0x40;
        self.buf.put(bytes >> (8 * u32::from(bare)), len - usize::from(bare));
    }

    /// `op rm, imm` of a register at its full size, with an opcode extension.
    #[inline(always)]
    fn group_imm(&mut self, code: u8, w: W, ext: u8, rm: Gp, imm: i32, len: usize) {
        let head = 0xc0_00_40 | rex_w(w) | (code as u64) << 8 | reg_rm(ext, rm);
        let imm = imm as u32 as u64 & (u64::MAX >> (64 - 8 * len));
        self.put_rex(head | imm << 24, 3 + len);
    }

    /// `op reg, rm`.
    #[inline(always)]
    pub fn rm(&mut self, op: Op, w: W, reg: Gp, rm: Rm) {
        match rm {
            Rm::R(r) if op.len == 1 && (w == W::D || w == W::Q) => self.rr(op, w, reg, r),
            Rm::M(Mem { base: Some(base), index: None, disp }) if op.len < 3 && base.0 & 7 != 4 => {
                self.based(op, w, reg, base, disp);
            }
            _ => self.op(None, op, w, reg.0, rm, Imm::None),
        }
    }

    /// As [`Asm::op`], of two registers at their full size and an opcode of one byte.
    #[inline(always)]
    pub fn rr(&mut self, op: Op, w: W, reg: Gp, rm: Gp) {
        if op.len != 1 {
            return self.op(None, op, w, reg.0, Rm::R(rm), Imm::None);
        }
        let head = 0xc0_00_40 | rex_w(w) | (op.bytes as u64) << 8 | reg_rm(reg.0, rm);
        self.put_rex(head, 3);
    }

    /// As [`Asm::op`], of memory that needs no SIB, and an opcode of one or two bytes.
    #[inline(always)]
    fn based(&mut self, op: Op, w: W, reg: Gp, base: Gp, disp: i32) {
        let byte = w == W::B && op.len == 1;
        let code = (op.bytes & !u32::from(byte)) as u64;
        let fields = reg_rm(reg.0, base);
        // RBP and R13 have no form without displacement.
        let (mode, size, mask) = if disp == 0 && base.0 & 7 != 5 {
            (0, 0, 0)
        } else if disp == disp as i8 as i32 {
            (0x40, 1, 0xff)
        } else {
            (0x80, 4, 0xffff_ffff)
        };
        let at = 8 + 8 * op.len;
        let rex = 0x40 | rex_w(w) | fields & 0xff;
        let tail = (fields >> 16 | mode) | (disp as u32 as u64 & mask) << 8;
        let bytes = rex | code << 8 | tail << at;
        let len = 2 + op.len as usize + size;
        if w == W::H {
            let bare = rex == 0x40;
            let bytes = bytes >> (8 * u32::from(bare));
            self.buf.put(bytes << 8 | 0x66, len + 1 - usize::from(bare));
        } else if needs_prefix(byte, reg.0) {
            self.buf.put(bytes, len);
        } else {
            self.put_rex(bytes, len);
        }
    }

    #[inline(always)]
    pub fn mov(&mut self, w: W, dst: Gp, src: Gp) {
        if dst != src || w == W::D {
            self.rr(MOV_RM_R, w, src, dst);
        }
    }

    /// As [`Asm::mov`] of all 64 bits, nothing where it is one register.
    #[inline(always)]
    pub fn mov64(&mut self, dst: Gp, src: Gp) {
        if dst != src {
            self.rr(MOV_RM_R, W::Q, src, dst);
        }
    }

    #[inline]
    pub fn load(&mut self, dst: Gp, m: Mem) {
        self.rm(MOV_R_RM, W::Q, dst, Rm::M(m));
    }

    #[inline]
    pub fn store(&mut self, m: Mem, src: Gp) {
        self.rm(MOV_RM_R, W::Q, src, Rm::M(m));
    }

    #[inline(always)]
    pub fn lea(&mut self, w: W, dst: Gp, m: Mem) {
        self.rm(LEA, w, dst, Rm::M(m));
    }

    /// `op rm, reg` of the two-operand group.
    #[inline(always)]
    pub fn alu_rm_r(&mut self, g: Group1, w: W, rm: Rm, reg: Gp) {
        self.rm(op(g as u8 * 8 + 1), w, reg, rm);
    }

    #[inline(always)]
    pub fn alu_r_rm(&mut self, g: Group1, w: W, reg: Gp, rm: Rm) {
        self.rm(op(g as u8 * 8 + 3), w, reg, rm);
    }

    /// `op rm, imm` in its shortest form; an immediate of W and Q is sign-extended.
    #[inline(always)]
    pub fn alu_imm(&mut self, g: Group1, w: W, rm: Rm, imm: i32) {
        let ext = g as u8;
        if w == W::B {
            if rm == Rm::R(RAX) {
                let mut one = One::new();
                one.u8(ext * 8 + 4);
                one.i8(imm as i8);
                return one.put(&mut self.buf);
            }
            return self.group_byte(0x81, ext, rm, imm as i8);
        }
        let narrow = if w == W::H { imm as i16 as i32 } else { imm };
        let short = i8::try_from(narrow);
        if let (Rm::R(r), true) = (rm, w == W::D || w == W::Q) {
            if short.is_ok() {
                return self.group_imm(0x83, w, ext, r, imm, 1);
            }
            if r == RAX {
                let head = rex_w(w) | 0x40 | (ext as u64 * 8 + 5) << 8;
                return self.put_rex(head | (imm as u32 as u64) << 16, 6);
            }
            return self.group_imm(0x81, w, ext, r, imm, 4);
        }
        if let Ok(v) = short {
            self.op(None, op(0x83), w, ext, rm, Imm::I8(v));
        } else if w == W::H {
            self.op(None, op(0x81), w, ext, rm, Imm::I16(imm as i16));
        } else {
            self.op(None, op(0x81), w, ext, rm, Imm::I32(imm));
        }
    }

    /// A byte-sized form with an extension: the register field needs no prefix of its own.
    fn group_byte(&mut self, code: u8, ext: u8, rm: Rm, imm: i8) {
        // Extensions 4 to 7 are no byte registers; go by the group's own code.
        let mut one = One::new();
        let rex = rex_xb(rm);
        if rex != 0 || matches!(rm, Rm::R(r) if (4..8).contains(&r.0)) {
            one.u8(0x40 | rex);
        }
        one.u8(code & !1);
        one.modrm(ext, rm);
        one.i8(imm);
        one.put(&mut self.buf);
    }

    /// `test rm, imm` in its shortest form for these bits; the flag wanted is zero alone.
    pub fn test_imm(&mut self, w: W, rm: Rm, imm: i32) {
        let fits = |bits: u32| (imm as u32) < 1 << bits;
        match rm {
            Rm::R(RAX) if fits(8) => {
                let mut one = One::new();
                one.u8(0xa8);
                one.i8(imm as i8);
                one.put(&mut self.buf);
            }
            _ if fits(8) || w == W::B => self.group_byte(0xf7, 0, rm, imm as i8),
            _ if w == W::H => self.op(None, GROUP3, W::H, 0, rm, Imm::I16(imm as i16)),
            _ => {
                let w = if imm >= 0 { W::D } else { w };
                self.op(None, GROUP3, w, 0, rm, Imm::I32(imm));
            }
        }
    }

    /// Puts a constant into a register; flags are lost.
    pub fn mov_imm(&mut self, dst: Gp, v: u64) {
        if v == 0 {
            self.alu_rm_r(Group1::Xor, W::D, Rm::R(dst), dst);
        } else if let Ok(v) = u32::try_from(v) {
            let mut one = One::new();
            if dst.0 > 7 {
                one.u8(0x41);
            }
            one.u8(0xb8 | dst.0 & 7);
            one.i32(v as i32);
            one.put(&mut self.buf);
        } else if v == u64::MAX {
            self.alu_imm(Group1::Or, W::Q, Rm::R(dst), -1);
        } else if let Ok(v) = i32::try_from(v as i64) {
            self.op(None, MOV_RM_IMM, W::Q, 0, Rm::R(dst), Imm::I32(v));
        } else {
            self.movabs(dst, v);
        }
    }

    pub fn movabs(&mut self, dst: Gp, v: u64) {
        let mut one = One::new();
        one.u8(0x48 | dst.0 >> 3);
        one.u8(0xb8 | dst.0 & 7);
        one.i32(v as u32 as i32);
        one.i32((v >> 32) as u32 as i32);
        one.put(&mut self.buf);
    }

    #[inline(always)]
    pub fn shift_imm(&mut self, s: Shift, w: W, rm: Rm, n: u8) {
        match rm {
            Rm::R(r) if n == 1 => self.rr(op(0xd1), w, Gp(s as u8), r),
            Rm::R(r) => self.group_imm(0xc1, w, s as u8, r, n as i32, 1),
            Rm::M(_) if n == 1 => self.op(None, op(0xd1), w, s as u8, rm, Imm::None),
            Rm::M(_) => self.op(None, op(0xc1), w, s as u8, rm, Imm::I8(n as i8)),
        }
    }

    /// By CL.
    pub fn shift_cl(&mut self, s: Shift, w: W, dst: Gp) {
        self.op(None, op(0xd3), w, s as u8, Rm::R(dst), Imm::None);
    }

    /// A VEX-encoded form of map `0F 38` (2) or `0F 3A` (3).
    ///
    /// `pp`: 0 none, 1 `66`, 2 `F3`, 3 `F2`; `v` is the register in the prefix.
    pub fn vex(&mut self, map: u8, pp: u8, code: u8, w: W, reg: Gp, v: Gp, rm: Rm, imm: Imm) {
        let mut one = One::new();
        let xb = rex_xb(rm);
        one.u8(0xc4);
        one.u8((!(reg.0 >> 3) & 1) << 7 | (!(xb >> 1) & 1) << 6 | (!xb & 1) << 5 | map);
        one.u8(u8::from(w == W::Q) << 7 | (!v.0 & 15) << 3 | pp);
        one.u8(code);
        one.modrm(reg.0, rm);
        if let Imm::I8(v) = imm {
            one.i8(v);
        }
        one.put(&mut self.buf);
    }

    /// SHLX, SHRX, SARX.
    pub fn shift_x(&mut self, s: Shift, w: W, dst: Gp, a: Gp, count: Gp) {
        let pp = match s {
            Shift::Shl => 1,
            Shift::Sar => 2,
            _ => 3,
        };
        self.vex(2, pp, 0xf7, w, dst, count, Rm::R(a), Imm::None);
    }

    pub fn rorx(&mut self, w: W, dst: Gp, a: Rm, n: u8) {
        self.vex(3, 3, 0xf0, w, dst, RAX, a, Imm::I8(n as i8));
    }

    /// One of `not` (2), `neg` (3), `mul` (4), `div` (6), `idiv` (7).
    pub fn group3(&mut self, ext: u8, w: W, rm: Rm) {
        self.op(None, GROUP3, w, ext, rm, Imm::None);
    }

    /// `inc` (0) or `dec` (1).
    #[inline(always)]
    pub fn inc_dec(&mut self, ext: u8, w: W, rm: Rm) {
        self.rm(GROUP5, w, Gp(ext), rm);
    }

    /// `call` (2) or `jmp` (4) through a register or memory.
    pub fn indirect(&mut self, ext: u8, rm: Rm) {
        self.op(None, GROUP5, W::D, ext, rm, Imm::None);
    }

    pub fn imul_imm(&mut self, w: W, dst: Gp, a: Rm, v: i32) {
        match i8::try_from(v) {
            Ok(v) => self.op(None, IMUL_IMM8, w, dst.0, a, Imm::I8(v)),
            Err(_) => self.op(None, IMUL_IMM32, w, dst.0, a, Imm::I32(v)),
        }
    }

    pub fn bswap(&mut self, w: W, r: Gp) {
        let mut one = One::new();
        let rex = r.0 >> 3 | if w == W::Q { 8 } else { 0 };
        if rex != 0 {
            one.u8(0x40 | rex);
        }
        one.u8(0x0f);
        one.u8(0xc8 | r.0 & 7);
        one.put(&mut self.buf);
    }

    /// An instruction without operands, of up to 8 bytes.
    pub fn bytes(&mut self, b: &[u8]) {
        let mut one = One::new();
        for v in b {
            one.u8(*v);
        }
        one.put(&mut self.buf);
    }

    pub fn push(&mut self, r: Gp) {
        self.short(0x50, r);
    }

    pub fn pop(&mut self, r: Gp) {
        self.short(0x58, r);
    }

    fn short(&mut self, code: u8, r: Gp) {
        let mut one = One::new();
        if r.0 > 7 {
            one.u8(0x41);
        }
        one.u8(code | r.0 & 7);
        one.put(&mut self.buf);
    }

    pub fn ret(&mut self) {
        self.bytes(&[0xc3]);
    }
}
