//! Loads and stores, and how an address becomes a base and an offset.

use bpfassay_isa::{Operand, Reg, Size, Width};
use bpfassay_jit::target::{Addr, Space};

use crate::enc::arith::{self, AddImm};
use crate::enc::mem::{self, Access};
use crate::enc::{bits, Extend, Shift, R, SP, ZR};
use crate::masm::{Arm64, Last};
use crate::regs::{map, ARENA, BPF_FP, T0, T1};

/// log2 of the size.
fn log(size: Size) -> u8 {
    size.bytes().trailing_zeros() as u8
}

impl Arm64 {
    /// Base and offset for an access; may write [`T0`].  `None`: `[base, T0]` is the address.
    fn place(&mut self, access: Access, size: Size, addr: &Addr) -> (R, Option<i32>) {
        let mut base = map(addr.base);
        if addr.space == Space::Arena {
            self.put(arith::add_ext(Width::W64, T0, ARENA, base, Extend::Uxtw, 0));
            base = T0;
        }
        if mem::imm(access, size, ZR, base, addr.off).is_some() {
            return (base, Some(addr.off));
        }
        if let (BPF_FP, Some(above)) = (base, self.fp_above_sp) {
            let off = addr.off.wrapping_add(above);
            if mem::imm(access, size, ZR, SP, off).is_some() {
                return (SP, Some(off));
            }
        }
        if base == T0 {
            // The one scratch register of addresses is taken, so the offset is added to it.
            self.add_const_t1(T0, addr.off);
            return (T0, Some(0));
        }
        self.constant(T0, i64::from(addr.off) as u64);
        (base, None)
    }

    /// `rd += off` by way of [`T1`] where one immediate does not do.
    fn add_const_t1(&mut self, rd: R, off: i32) {
        let v = i64::from(off);
        let plus = AddImm::new(v as u64);
        let minus = AddImm::new(v.wrapping_neg() as u64);
        match (plus, minus) {
            (Some(i), _) => self.put(arith::add_imm(Width::W64, rd, rd, i)),
            (_, Some(i)) => self.put(arith::sub_imm(Width::W64, rd, rd, i)),
            _ => {
                self.constant(T1, v as u64);
                self.put(arith::add(Width::W64, rd, rd, T1, Shift::Lsl, 0));
            }
        }
    }

    #[inline(always)]
    pub(crate) fn access(&mut self, access: Access, size: Size, rt: R, addr: &Addr) {
        let base = map(addr.base);
        match mem::imm(access, size, rt, base, addr.off) {
            Some(word) if addr.space == Space::Plain => {
                self.at_offset(access, word, size, rt, base, addr.off);
            }
            _ => self.far_access(access, size, rt, addr),
        }
    }

    /// An access of this encoding, or one with that before it.
    #[inline(always)]
    fn at_offset(&mut self, access: Access, word: u32, size: Size, rt: R, base: R, off: i32) {
        match access {
            Access::Store => self.store_or_pair(word, size, rt, base, off),
            Access::Load if base == BPF_FP || base == SP => {
                self.load_or_pair(word, size, rt, base, off);
            }
            _ => self.put(word),
        }
    }

    #[inline(never)]
    fn far_access(&mut self, access: Access, size: Size, rt: R, addr: &Addr) {
        if addr.space == Space::Arena && addr.off == 0 {
            return self.put(mem::reg(
                access,
                size,
                rt,
                ARENA,
                map(addr.base),
                Extend::Uxtw,
                false,
            ));
        }
        let (base, off) = self.place(access, size, addr);
        let Some(off) = off else {
            return self.put(mem::reg(access, size, rt, base, T0, Extend::Uxtx, false));
        };
        let Some(word) = mem::imm(access, size, rt, base, off) else { return };
        if base == T0 || addr.space == Space::Arena {
            return self.put(word);
        }
        self.at_offset(access, word, size, rt, base, off);
    }

    /// A store next to the one just written, same base: one STP.
    fn store_or_pair(&mut self, word: u32, size: Size, rt: R, base: R, off: i32) {
        if let Last::Store { size: s, rt: r, base: b, off: o } = self.last() {
            if s == size && b == base {
                if let Some(pair) = pair(true, size, (r, o), (rt, off), base) {
                    self.buf.rewrite_u32(pair);
                    return self.forget();
                }
            }
        }
        self.put(word);
        if matches!(size, Size::W | Size::Dw) {
            self.note(Last::Store { size, rt, base, off });
        }
    }

    /// Only loads from the stack, which cannot fault: a load that may must stand alone in the fault map.
    fn load_or_pair(&mut self, word: u32, size: Size, rt: R, base: R, off: i32) {
        if let Last::Load { size: s, rt: r, base: b, off: o } = self.last() {
            if s == size && b == base && r != rt {
                if let Some(pair) = pair(false, size, (r, o), (rt, off), base) {
                    self.buf.rewrite_u32(pair);
                    return self.forget();
                }
            }
        }
        self.put(word);
        if matches!(size, Size::W | Size::Dw) {
            self.note(Last::Load { size, rt, base, off });
        }
    }

    #[inline(always)]
    pub(crate) fn load_op(&mut self, size: Size, sign_extend: bool, dst: Reg, addr: &Addr) {
        let access = if sign_extend { Access::LoadSigned } else { Access::Load };
        self.access(access, size, map(dst), addr);
        if matches!(size, Size::B | Size::H) && !sign_extend {
            self.note(Last::Half { dst: map(dst) });
        }
    }

    /// The register that holds what is to be stored; a constant goes to [`T1`], but for 0.
    fn stored(&mut self, size: Size, src: Operand) -> R {
        let v = match src {
            Operand::Reg(r) => return map(r),
            Operand::Imm(0) => return ZR,
            Operand::Imm(v) => i64::from(v),
        };
        let v = match size {
            Size::B => v & 0xff,
            Size::H => v & 0xffff,
            Size::W => v & 0xffff_ffff,
            Size::Dw => v,
        };
        if v == 0 {
            return ZR;
        }
        self.constant(T1, v as u64);
        T1
    }

    #[inline(always)]
    pub(crate) fn store_op(&mut self, size: Size, addr: &Addr, src: Operand) {
        if addr.space == Space::Arena && addr.off != 0 {
            // The address may need T1, so it comes first.
            let (base, off) = self.place(Access::Store, size, addr);
            let rt = self.stored(size, src);
            let word = off.and_then(|o| mem::imm(Access::Store, size, rt, base, o));
            return self.put(word.unwrap_or_else(|| {
                mem::reg(Access::Store, size, rt, base, T0, Extend::Uxtx, false)
            }));
        }
        let rt = self.stored(size, src);
        self.access(Access::Store, size, rt, addr);
    }

    /// The form with an index, which has no offset and no scale but 0 and the access's own.
    fn indexed(&self, size: Size, addr: &Addr) -> Option<(R, bool)> {
        let (i, scale) = addr.index?;
        let fits = addr.off == 0 && addr.space == Space::Plain;
        (fits && (scale == 0 || scale == log(size))).then_some((map(i), scale != 0))
    }

    pub(crate) fn load_indexed(
        &mut self,
        size: Size,
        sign_extend: bool,
        dst: Reg,
        addr: &Addr,
    ) -> bool {
        if addr.index.is_none() {
            self.load_op(size, sign_extend, dst, addr);
            return true;
        }
        let Some((rm, scaled)) = self.indexed(size, addr) else { return false };
        let access = if sign_extend { Access::LoadSigned } else { Access::Load };
        self.put(mem::reg(access, size, map(dst), map(addr.base), rm, Extend::Uxtx, scaled));
        true
    }

    pub(crate) fn store_indexed(&mut self, size: Size, addr: &Addr, src: Operand) -> bool {
        if addr.index.is_none() {
            self.store_op(size, addr, src);
            return true;
        }
        let Some((rm, scaled)) = self.indexed(size, addr) else { return false };
        let rt = self.stored(size, src);
        self.put(mem::reg(Access::Store, size, rt, map(addr.base), rm, Extend::Uxtx, scaled));
        true
    }

    /// A half word needs no masking after REV16, since the load left nothing above it.
    pub(crate) fn load_swapped(&mut self, size: Size, dst: Reg, addr: &Addr) -> bool {
        if addr.index.is_some() {
            return false;
        }
        let rd = map(dst);
        let word = match size {
            Size::B => return false,
            Size::H => bits::rev16(Width::W32, rd, rd),
            Size::W => bits::rev(Width::W32, rd, rd),
            Size::Dw => bits::rev(Width::W64, rd, rd),
        };
        self.load_op(size, false, dst, addr);
        self.put(word);
        true
    }
}

/// One instruction for two accesses side by side; `None` if they are not, or too far from the base.
fn pair(store: bool, size: Size, a: (R, i32), b: (R, i32), base: R) -> Option<u32> {
    let n = size.bytes() as i32;
    let (low, high) = if a.1 < b.1 { (a, b) } else { (b, a) };
    let fits = low.1 % n == 0 && (-64 * n..=63 * n).contains(&low.1);
    // A load that replaces its base is not followed by another from there.
    if high.1 - low.1 != n || !fits || (!store && (a.0 == base || b.0 == base)) {
        return None;
    }
    match (store, size) {
        (true, Size::Dw) => Some(mem::stp(low.0, high.0, base, low.1)),
        (true, Size::W) => Some(mem::stp_w(low.0, high.0, base, low.1)),
        (false, Size::Dw) => Some(mem::ldp(low.0, high.0, base, low.1)),
        (false, Size::W) => Some(mem::ldp_w(low.0, high.0, base, low.1)),
        _ => None,
    }
}
