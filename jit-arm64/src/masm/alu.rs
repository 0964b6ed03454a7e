//! Arithmetic.  Constants go into the instruction where one exists that takes them,
//! multiplications and divisions by them become shifts and masks where that is no longer.

use bpfassay_isa::{AluOp, Operand, Reg, SwapKind, SxFrom, Width};

use crate::enc::arith::{self, AddImm};
use crate::enc::logic::{self, BitMask};
use crate::enc::{bits, bits_of, wide, Shift, R, ZR};
use crate::masm::{cut, Arm64, Last};
use crate::regs::{map, T0, T1};

const LSL0: (Shift, u32) = (Shift::Lsl, 0);

/// An addition or subtraction of an immediate.
type Encode = fn(Width, R, R, AddImm) -> u32;

impl Arm64 {
    #[inline(always)]
    pub(crate) fn alu_op(&mut self, op: AluOp, w: Width, dst: Reg, a: Reg, b: Operand) {
        let (rd, rn) = (map(dst), map(a));
        match b {
            Operand::Reg(r) => self.alu_reg(op, w, rd, rn, map(r)),
            Operand::Imm(v) => self.alu_imm(op, w, rd, rn, i64::from(v)),
        }
    }

    #[inline(always)]
    fn alu_reg(&mut self, op: AluOp, w: Width, rd: R, rn: R, rm: R) {
        let word = match op {
            AluOp::Add => arith::add(w, rd, rn, rm, LSL0.0, LSL0.1),
            AluOp::Sub => arith::sub(w, rd, rn, rm, LSL0.0, LSL0.1),
            AluOp::Mul => arith::madd(w, rd, rn, rm, ZR),
            AluOp::Div => arith::udiv(w, rd, rn, rm),
            AluOp::SDiv => arith::sdiv(w, rd, rn, rm),
            AluOp::Or => logic::reg(logic::Op::Orr, w, rd, rn, rm, LSL0.0, LSL0.1),
            AluOp::And => logic::reg(logic::Op::And, w, rd, rn, rm, LSL0.0, LSL0.1),
            AluOp::Xor => logic::reg(logic::Op::Eor, w, rd, rn, rm, LSL0.0, LSL0.1),
            AluOp::Lsh => bits::lslv(w, rd, rn, rm),
            AluOp::Rsh => bits::lsrv(w, rd, rn, rm),
            AluOp::Arsh => bits::asrv(w, rd, rn, rm),
            AluOp::Mov => return self.mov(w, rd, rm),
            AluOp::Mod | AluOp::SMod => return self.remainder(op == AluOp::SMod, w, rd, rn, rm),
        };
        self.put(word);
    }

    /// Division by zero gives 0 on this processor, which makes the remainder the dividend.
    fn remainder(&mut self, signed: bool, w: Width, rd: R, rn: R, rm: R) {
        self.put(match signed {
            true => arith::sdiv(w, T0, rn, rm),
            false => arith::udiv(w, T0, rn, rm),
        });
        self.put(arith::msub(w, rd, T0, rm, rn));
    }

    /// A move of 64 bits to itself is nothing; one of 32 clears the upper half.
    pub(crate) fn mov(&mut self, w: Width, rd: R, rm: R) {
        if w == Width::W32 || rd != rm {
            self.put(logic::mov(w, rd, rm));
        }
    }

    #[inline(always)]
    fn alu_imm(&mut self, op: AluOp, w: Width, rd: R, rn: R, imm: i64) {
        let v = cut(w, imm);
        match op {
            AluOp::Mov => self.constant(rd, v),
            AluOp::Add => self.add_const(w, rd, rn, imm),
            AluOp::Sub => self.add_const(w, rd, rn, -imm),
            AluOp::And | AluOp::Or | AluOp::Xor => self.logic_const(op, w, rd, rn, v),
            AluOp::Mul => self.mul_const(w, rd, rn, v),
            AluOp::Div | AluOp::SDiv => self.div_const(op == AluOp::SDiv, w, rd, rn, v),
            AluOp::Mod | AluOp::SMod => self.mod_const(op == AluOp::SMod, w, rd, rn, v),
            AluOp::Lsh | AluOp::Rsh | AluOp::Arsh => {
                self.shift_const(op, w, rd, rn, (imm as u32) & (bits_of(w) - 1))
            }
        }
    }

    /// `rd = rn + imm`, with `imm` within 33 bits.
    #[inline(always)]
    pub(crate) fn add_const(&mut self, w: Width, rd: R, rn: R, imm: i64) {
        match (cut(w, imm), AddImm::new(cut(w, imm))) {
            (0, _) => self.mov(w, rd, rn),
            (_, Some(i)) => self.put(arith::add_imm(w, rd, rn, i)),
            (_, None) => self.add_long_const(w, rd, rn, imm),
        }
    }

    #[inline(never)]
    fn add_long_const(&mut self, w: Width, rd: R, rn: R, imm: i64) {
        let (plus, minus) = (cut(w, imm), cut(w, imm.wrapping_neg()));
        if let Some(i) = AddImm::new(minus) {
            return self.put(arith::sub_imm(w, rd, rn, i));
        }
        let build: [(u64, Encode); 2] = [(plus, arith::add_imm), (minus, arith::sub_imm)];
        let seq = wide::load(T0, plus);
        if seq.words().len() > 1 {
            for (v, encode) in build {
                let parts = (AddImm::new(v & 0xff_f000), AddImm::new(v & 0xfff));
                if let (true, (Some(hi), Some(lo))) = (v < 1 << 24, parts) {
                    self.put(encode(w, rd, rn, hi));
                    return self.put(encode(w, rd, rd, lo));
                }
            }
        }
        self.constant(T0, plus);
        self.put(arith::add(w, rd, rn, T0, LSL0.0, LSL0.1));
    }

    fn logic_const(&mut self, op: AluOp, w: Width, rd: R, rn: R, v: u64) {
        let ones = v == cut(w, -1);
        match (op, v) {
            (AluOp::And, 0) => return self.constant(rd, 0),
            (AluOp::Or | AluOp::Xor, 0) => return self.mov(w, rd, rn),
            (AluOp::And, _) if ones => return self.mov(w, rd, rn),
            (AluOp::Or, _) if ones => return self.constant(rd, v),
            (AluOp::Xor, _) if ones => return self.put(logic::mvn(w, rd, rn)),
            _ => {}
        }
        let op = match op {
            AluOp::And => logic::Op::And,
            AluOp::Or => logic::Op::Orr,
            _ => logic::Op::Eor,
        };
        if let Some(mask) = BitMask::new(w, v) {
            return self.put(logic::imm(op, w, rd, rn, mask));
        }
        let (plain, not) = (wide::load(T0, v), wide::load(T0, cut(w, !(v as i64))));
        if not.words().len() < plain.words().len() {
            not.words().iter().for_each(|word| self.put(*word));
            return self.put(logic::reg_not(op, w, rd, rn, T0));
        }
        plain.words().iter().for_each(|word| self.put(*word));
        self.put(logic::reg(op, w, rd, rn, T0, LSL0.0, LSL0.1));
    }

    fn mul_const(&mut self, w: Width, rd: R, rn: R, v: u64) {
        let shift = |v: u64| (v.is_power_of_two()).then(|| v.trailing_zeros());
        let neg = cut(w, (v as i64).wrapping_neg());
        if v == 0 {
            return self.constant(rd, 0);
        }
        if v == 1 {
            return self.mov(w, rd, rn);
        }
        if let Some(n) = shift(v) {
            return self.put(bits::lsl_imm(w, rd, rn, n));
        }
        if let Some(n) = shift(v - 1) {
            return self.put(arith::add(w, rd, rn, rn, Shift::Lsl, n));
        }
        if let Some(n) = shift(neg) {
            return self.put(arith::sub(w, rd, ZR, rn, Shift::Lsl, n));
        }
        if let Some(n) = shift(neg.wrapping_add(1)) {
            return self.put(arith::sub(w, rd, rn, rn, Shift::Lsl, n));
        }
        if let Some(n) = shift(v.wrapping_add(1)) {
            self.put(bits::lsl_imm(w, T0, rn, n));
            return self.put(arith::sub(w, rd, T0, rn, LSL0.0, LSL0.1));
        }
        self.constant(T0, v);
        self.put(arith::madd(w, rd, rn, T0, ZR));
    }

    fn div_const(&mut self, signed: bool, w: Width, rd: R, rn: R, v: u64) {
        match v {
            0 => return self.constant(rd, 0),
            1 => return self.mov(w, rd, rn),
            _ if signed && v == cut(w, -1) => {
                return self.put(arith::sub(w, rd, ZR, rn, LSL0.0, LSL0.1));
            }
            _ if !signed && v.is_power_of_two() => {
                return self.put(bits::lsr_imm(w, rd, rn, v.trailing_zeros()));
            }
            _ => {}
        }
        self.constant(T0, v);
        self.put(match signed {
            true => arith::sdiv(w, rd, rn, T0),
            false => arith::udiv(w, rd, rn, T0),
        });
    }

    fn mod_const(&mut self, signed: bool, w: Width, rd: R, rn: R, v: u64) {
        match v {
            0 => return self.mov(w, rd, rn),
            1 => return self.constant(rd, 0),
            _ if signed && v == cut(w, -1) => return self.constant(rd, 0),
            _ if !signed && v.is_power_of_two() => {
                return self.logic_const(AluOp::And, w, rd, rn, v - 1);
            }
            _ => {}
        }
        self.constant(T1, v);
        self.remainder(signed, w, rd, rn, T1);
    }

    fn shift_const(&mut self, op: AluOp, w: Width, rd: R, rn: R, n: u32) {
        if n == 0 {
            return self.mov(w, rd, rn);
        }
        match op {
            AluOp::Lsh => {
                self.put(bits::lsl_imm(w, rd, rn, n));
                self.note(Last::Lsl { width: w, dst: rd, src: rn, amount: n });
            }
            _ => self.shift_right(op == AluOp::Arsh, w, rd, rn, n),
        }
    }

    /// A right shift of what was just shifted left is one bit field move.
    ///
    /// `x << a >> b` is bits `b - a ..` of the low `width - a` bits of `x` where `b >= a`, else those
    /// bits placed at `a - b`; both are what UBFM and SBFM do.
    fn shift_right(&mut self, signed: bool, w: Width, rd: R, rn: R, n: u32) {
        let encode = if signed { bits::sbfm } else { bits::ubfm };
        let top = bits_of(w) - 1;
        match self.last() {
            Last::Lsl { width, dst, src, amount } if width == w && dst == rn && rd == rn => {
                let immr = (bits_of(w) + n - amount) & top;
                self.buf.rewrite_u32(encode(w, rd, src, immr, top - amount));
                self.forget();
            }
            _ => self.put(encode(w, rd, rn, n, top)),
        }
    }

    pub(crate) fn neg_op(&mut self, w: Width, dst: Reg, a: Reg) {
        self.put(arith::sub(w, map(dst), ZR, map(a), LSL0.0, LSL0.1));
    }

    pub(crate) fn movsx_op(&mut self, w: Width, from: SxFrom, dst: Reg, src: Reg) {
        self.put(bits::sxt(w, map(dst), map(src), from.bits()));
    }

    pub(crate) fn swap_op(&mut self, kind: SwapKind, n: u8, dst: Reg) {
        let r = map(dst);
        match (kind, n) {
            (SwapKind::ToLe, 16) => self.put(bits::uxt(r, r, 16)),
            (SwapKind::ToLe, 32) => self.put(logic::mov(Width::W32, r, r)),
            (SwapKind::ToLe, _) => {}
            (_, 16) => {
                let clean = self.last() == Last::Half { dst: r };
                self.put(bits::rev16(Width::W32, r, r));
                if !clean {
                    self.put(bits::uxt(r, r, 16));
                }
            }
            (_, 32) => self.put(bits::rev(Width::W32, r, r)),
            _ => self.put(bits::rev(Width::W64, r, r)),
        }
    }

    /// `dst = a + (index << scale) + off`, where that is one instruction.
    pub(crate) fn lea(
        &mut self,
        w: Width,
        dst: Reg,
        a: Reg,
        index: Option<(Reg, u8)>,
        off: i32,
    ) -> bool {
        match (index, off) {
            (Some((i, scale)), 0) => {
                let word = arith::add(w, map(dst), map(a), map(i), Shift::Lsl, u32::from(scale));
                self.put(word);
                true
            }
            (Some(_), _) => false,
            (None, off) => {
                self.add_const(w, map(dst), map(a), i64::from(off));
                true
            }
        }
    }

    pub(crate) fn rotate(&mut self, w: Width, dst: Reg, a: Reg, left: u8) {
        let n = bits_of(w) - u32::from(left);
        self.put(bits::ror_imm(w, map(dst), map(a), n & (bits_of(w) - 1)));
    }
}
