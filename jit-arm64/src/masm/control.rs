//! Branches, calls, frames.
//!
//! ```text
//! first function                       other functions
//!   sp on entry = x29 = x25              sp on entry = x25 while it runs
//!   BPF stack                            BPF stack
//!   sp                                   saved registers
//!                                        sp
//! ```
//!
//! The first function is entered through a stub that has saved every register
//! and left r10 in place, so it saves nothing and leaves by one branch.

use bpfassay_isa::{Cond, Operand, Reg, Size, Width};
use bpfassay_jit::{abi, FuncFacts, Label};

use crate::enc::arith::{self, AddImm};
use crate::enc::logic::{self, BitMask};
use crate::enc::mem::{self, Access};
use crate::enc::{bits_of, branch, wide, Cc, Shift, LR, R, SP, ZR};
use crate::masm::{cut, Arm64};
use crate::regs::{map, BPF_FP, CTX, RET, T0, T1};

/// What [`bpfassay_jit::buf::Patch::patch`] is told of an instruction whose target moves.
pub(crate) mod fix {
    /// B and BL: 26 bits.
    pub const JUMP: u8 = 0;
    /// B.cond, CBZ, CBNZ: 19 bits, or inverted around a B.
    pub const COND: u8 = 1;
    /// TBZ, TBNZ: 14 bits, or inverted around a B.
    pub const TEST: u8 = 2;
    /// ADR: 21 bits, or four instructions.
    pub const ADDRESS: u8 = 3;
}

/// Reach in bytes, counted from the end of the instruction.
const REACH_26: i32 = (1 << 27) - 8;
const REACH_19: i32 = (1 << 20) - 8;
const REACH_14: i32 = (1 << 15) - 8;

/// The frame of a function other than the first.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Frame {
    saved: [R; 6],
    n_saved: usize,
    /// Bytes of saved registers, a multiple of 16.
    save_area: i32,
    /// Bytes of everything, a multiple of 16.
    total: i32,
}

/// What pre- and post-indexed pairs reach.
const PAIR_REACH: i32 = 504;

impl Frame {
    pub(crate) fn of(f: &FuncFacts) -> Frame {
        let mut saved = [ZR; 6];
        let mut n = 0;
        let mut add = |r: R| {
            if let Some(slot) = saved.get_mut(n) {
                *slot = r;
                n += 1;
            }
        };
        if f.calls {
            add(LR);
        }
        for i in 6..10 {
            if f.writes >> i & 1 == 1 {
                add(map(Reg(i)));
            }
        }
        if f.uses_fp {
            add(BPF_FP);
        }
        let save_area = (n as i32 * 8 + 15) & !15;
        let on_machine_stack = f.uses_fp && f.private_stack.is_none();
        let stack = if on_machine_stack { (f.stack as i32 + 15) & !15 } else { 0 };
        Frame { saved, n_saved: n, save_area, total: save_area + stack }
    }

    /// Saved registers with their offsets, two by two; an odd last one stands alone.
    fn pairs(&self) -> impl Iterator<Item = (R, Option<R>, i32)> + '_ {
        let saved = self.saved.get(..self.n_saved).unwrap_or(&[]);
        saved.chunks(2).enumerate().filter_map(|(i, c)| {
            let first = c.first()?;
            Some((*first, c.get(1).copied(), i as i32 * 16))
        })
    }
}

impl Arm64 {
    pub(crate) fn jump_op(&mut self, to: Label) {
        self.buf.fixup_u32(fix::JUMP, branch::b(0), to, 4, REACH_26);
    }

    pub(crate) fn branch_link(&mut self, to: Label) {
        self.buf.fixup_u32(fix::JUMP, branch::bl(0), to, 4, REACH_26);
    }

    #[inline(always)]
    fn branch_if(&mut self, word: u32, to: Label) {
        self.buf.fixup_u32(fix::COND, word, to, 8, REACH_19);
    }

    pub(crate) fn branch_if_not_zero(&mut self, w: Width, r: R, to: Label) {
        self.branch_if(branch::cbnz(w, r, 0), to);
    }

    pub(crate) fn branch_if_zero(&mut self, w: Width, r: R, to: Label) {
        self.branch_if(branch::cbz(w, r, 0), to);
    }

    pub(crate) fn branch_cc(&mut self, cc: Cc, to: Label) {
        self.branch_if(branch::b_cond(cc, 0), to);
    }

    fn branch_on_bit(&mut self, r: R, bit: u32, set: bool, to: Label) {
        let word = if set { branch::tbnz(r, bit, 0) } else { branch::tbz(r, bit, 0) };
        self.buf.fixup_u32(fix::TEST, word, to, 8, REACH_14);
    }

    #[inline(always)]
    pub(crate) fn cond_jump_op(&mut self, cond: Cond, w: Width, a: Reg, b: Operand, to: Label) {
        let rn = map(a);
        match b {
            Operand::Reg(r) if cond == Cond::Set => {
                self.put(logic::tst(w, rn, map(r)));
                self.branch_if(branch::b_cond(Cc::Ne, 0), to);
            }
            Operand::Reg(r) => {
                self.put(arith::cmp(w, rn, map(r)));
                self.branch_if(branch::b_cond(cc(cond), 0), to);
            }
            Operand::Imm(v) if cond == Cond::Set => self.jump_if_set(w, rn, i64::from(v), to),
            Operand::Imm(v) => self.jump_if_imm(cond, w, rn, i64::from(v), to),
        }
    }

    fn jump_if_set(&mut self, w: Width, rn: R, imm: i64, to: Label) {
        let v = cut(w, imm);
        if v == 0 {
            return;
        }
        if v.is_power_of_two() {
            return self.branch_on_bit(rn, v.trailing_zeros(), true, to);
        }
        if v == cut(w, -1) {
            return self.branch_if_not_zero(w, rn, to);
        }
        match BitMask::new(w, v) {
            Some(mask) => self.put(logic::tst_imm(w, rn, mask)),
            None => {
                self.constant(T0, v);
                self.put(logic::tst(w, rn, T0));
            }
        }
        self.branch_if(branch::b_cond(Cc::Ne, 0), to);
    }

    #[inline(always)]
    fn jump_if_imm(&mut self, cond: Cond, w: Width, rn: R, imm: i64, to: Label) {
        let sign = bits_of(w) - 1;
        match (cond, imm) {
            (Cond::Eq | Cond::Le, 0) | (Cond::Lt, 1) => {
                return self.branch_if(branch::cbz(w, rn, 0), to);
            }
            (Cond::Ne | Cond::Gt, 0) | (Cond::Ge, 1) => {
                return self.branch_if_not_zero(w, rn, to);
            }
            (Cond::Slt, 0) | (Cond::Sle, -1) => return self.branch_on_bit(rn, sign, true, to),
            (Cond::Sge, 0) | (Cond::Sgt, -1) => return self.branch_on_bit(rn, sign, false, to),
            _ => {}
        }
        if let Some(i) = AddImm::new(cut(w, imm)) {
            self.put(arith::cmp_imm(w, rn, i));
            return self.branch_if(branch::b_cond(cc(cond), 0), to);
        }
        self.jump_if_long_imm(cond, w, rn, imm, to);
    }

    #[inline(never)]
    fn jump_if_long_imm(&mut self, cond: Cond, w: Width, rn: R, imm: i64, to: Label) {
        let (cond, imm) = neighbour(cond, w, imm);
        self.compare(cond, w, rn, imm);
        self.branch_if(branch::b_cond(cc(cond), 0), to);
    }

    fn compare(&mut self, cond: Cond, w: Width, rn: R, imm: i64) {
        let (plus, minus) = (cut(w, imm), cut(w, imm.wrapping_neg()));
        if let Some(i) = AddImm::new(plus) {
            return self.put(arith::cmp_imm(w, rn, i));
        }
        // Comparing with -n sets the flags as adding n does, for any n but 0 and the smallest.
        if let Some(i) = AddImm::new(minus) {
            return self.put(arith::cmn_imm(w, rn, i));
        }
        let equality = matches!(cond, Cond::Eq | Cond::Ne);
        let halves = (AddImm::new(plus & 0xff_f000), AddImm::new(plus & 0xfff));
        if let (true, (Some(hi), Some(lo))) = (equality && plus > 0xffff && plus < 1 << 24, halves)
        {
            self.put(arith::sub_imm(w, T0, rn, hi));
            return self.put(arith::cmp_imm(w, T0, lo));
        }
        self.constant(T0, plus);
        self.put(arith::cmp(w, rn, T0));
    }

    pub(crate) fn may_goto_op(&mut self, counter: i32, to: Label) {
        self.context_load(T0, counter);
        if let Some(one) = AddImm::new(1) {
            self.put(arith::sub_imm(Width::W64, T0, T0, one));
        }
        self.context_store(T0, counter);
        self.branch_on_bit(T0, 63, true, to);
    }

    pub(crate) fn context_load(&mut self, rt: R, field: i32) {
        if let Some(word) = mem::imm(Access::Load, Size::Dw, rt, CTX, field) {
            self.put(word);
        }
    }

    pub(crate) fn context_store(&mut self, rt: R, field: i32) {
        if let Some(word) = mem::imm(Access::Store, Size::Dw, rt, CTX, field) {
            self.put(word);
        }
    }

    // Frames.

    pub(crate) fn prologue_op(&mut self, f: &FuncFacts) {
        self.forget();
        self.frame = Frame::of(f);
        if f.is_entry {
            return self.entry_frame(f);
        }
        let frame = self.frame;
        let indexed = frame.n_saved > 0 && frame.total <= PAIR_REACH && frame.total < 256;
        if frame.total > 0 && !indexed {
            self.add_const(Width::W64, SP, SP, -i64::from(frame.total));
        }
        for (a, b, off) in frame.pairs() {
            let first = off == 0 && indexed;
            let word = match (b, first) {
                (Some(b), true) => mem::stp_pre(a, b, SP, -frame.total),
                (None, true) => mem::str_pre(a, SP, -frame.total),
                (Some(b), false) => mem::stp(a, b, SP, off),
                (None, false) => mem::imm(Access::Store, Size::Dw, a, SP, off).unwrap_or(0),
            };
            self.put(word);
        }
        self.fp_above_sp = None;
        if !f.uses_fp {
            return;
        }
        match f.private_stack {
            Some(top) => self.constant(BPF_FP, top),
            None => {
                self.fp_above_sp = Some(frame.total);
                let total = AddImm::new(frame.total as u64);
                self.put(total.map_or(0, |t| arith::add_imm(Width::W64, BPF_FP, SP, t)));
            }
        }
    }

    fn entry_frame(&mut self, f: &FuncFacts) {
        let stack = (f.stack as i32 + 15) & !15;
        self.fp_above_sp = None;
        match (f.uses_fp, f.private_stack) {
            (false, _) => {}
            (true, Some(top)) => self.constant(BPF_FP, top),
            (true, None) => {
                self.fp_above_sp = Some(stack);
                if stack > 0 {
                    self.add_const(Width::W64, SP, SP, -i64::from(stack));
                }
            }
        }
    }

    /// Restores what the prologue saved; for functions other than the first.
    fn take_down(&mut self) {
        let frame = self.frame;
        let indexed = frame.n_saved > 0 && frame.total <= PAIR_REACH && frame.total < 256;
        let mut pairs: [Option<(R, Option<R>, i32)>; 3] = [None; 3];
        for (slot, p) in pairs.iter_mut().zip(frame.pairs()) {
            *slot = Some(p);
        }
        for (a, b, off) in pairs.iter().rev().flatten().copied() {
            let last = off == 0 && indexed;
            let word = match (b, last) {
                (Some(b), true) => mem::ldp_post(a, b, SP, frame.total),
                (None, true) => mem::ldr_post(a, SP, frame.total),
                (Some(b), false) => mem::ldp(a, b, SP, off),
                (None, false) => mem::imm(Access::Load, Size::Dw, a, SP, off).unwrap_or(0),
            };
            self.put(word);
        }
        if frame.total > 0 && !indexed {
            self.add_const(Width::W64, SP, SP, i64::from(frame.total));
        }
    }

    pub(crate) fn exit_op(&mut self, f: &FuncFacts) {
        self.forget();
        if f.is_entry {
            return self.leave();
        }
        self.take_down();
        self.put(branch::ret(LR));
    }

    // Calls.

    pub(crate) fn call_host_op(&mut self, site: u32) {
        let stub = self.host_stub(site);
        self.branch_link(stub);
        self.forget();
    }

    pub(crate) fn call_reg_op(&mut self, target: Reg, site: u32) {
        self.context_store(map(target), abi::CALL_REG);
        self.call_host_op(site);
    }

    pub(crate) fn tail_call_op(&mut self, f: &FuncFacts, site: u32) {
        self.call_host_op(site);
        if f.is_entry {
            let to = self.tail_from_entry();
            return self.branch_if_not_zero(Width::W64, RET, to);
        }
        let behind = self.buf.new_label();
        self.branch_if(branch::cbz(Width::W64, RET, 0), behind);
        self.take_down();
        let to = self.tail();
        self.jump_op(to);
        self.buf.bind(behind);
    }

    pub(crate) fn load_packet_op(
        &mut self,
        f: &FuncFacts,
        size: Size,
        index: Option<Reg>,
        imm: i32,
        site: u32,
    ) {
        let at = map(Reg::R2);
        match index {
            Some(r) => self.add_const(Width::W32, at, map(r), i64::from(imm)),
            None => self.constant(at, u64::from(imm as u32)),
        }
        self.constant(map(Reg::R1), u64::from(size.bytes()));
        self.call_host_op(site);
        if f.is_entry {
            let to = self.return_zero();
            return self.branch_on_bit(RET, 63, true, to);
        }
        let behind = self.buf.new_label();
        self.branch_on_bit(RET, 63, false, behind);
        self.constant(RET, 0);
        self.exit_op(f);
        self.buf.bind(behind);
    }

    pub(crate) fn function_address_op(&mut self, dst: Reg, of: Label) {
        self.buf.fixup_u32(fix::ADDRESS, branch::adr(map(dst), 0), of, 16, REACH_19);
    }

    pub(crate) fn addr_space_cast_op(&mut self, dst: Reg, src: Reg, to_user: bool) {
        let (rd, rs) = (map(dst), map(src));
        self.put(logic::mov(Width::W32, rd, rs));
        if to_user {
            self.put(branch::cbz(Width::W64, rd, 3));
            self.context_load(T1, abi::ARENA_USER);
            self.put(logic::reg(logic::Op::Orr, Width::W64, rd, rd, T1, Shift::Lsl, 0));
        }
    }
}

fn cc(cond: Cond) -> Cc {
    match cond {
        Cond::Eq => Cc::Eq,
        Cond::Ne | Cond::Set => Cc::Ne,
        Cond::Gt => Cc::Hi,
        Cond::Ge => Cc::Hs,
        Cond::Lt => Cc::Lo,
        Cond::Le => Cc::Ls,
        Cond::Sgt => Cc::Gt,
        Cond::Sge => Cc::Ge,
        Cond::Slt => Cc::Lt,
        Cond::Sle => Cc::Le,
    }
}

/// How many instructions comparing with this constant takes before the branch.
#[inline(always)]
fn cost(w: Width, imm: i64) -> usize {
    let (plus, minus) = (cut(w, imm), cut(w, imm.wrapping_neg()));
    if AddImm::new(plus).is_some() || AddImm::new(minus).is_some() {
        1
    } else {
        1 + wide::load(T0, plus).words().len()
    }
}

/// `x > n` is `x >= n + 1`, and so on, where the neighbour is the better constant.
#[inline]
fn neighbour(cond: Cond, w: Width, imm: i64) -> (Cond, i64) {
    let v = cut(w, imm);
    let (max, smax, smin) = match w {
        Width::W32 => (cut(w, -1), i64::from(i32::MAX), i64::from(i32::MIN)),
        Width::W64 => (u64::MAX, i64::MAX, i64::MIN),
    };
    let other = match cond {
        Cond::Gt if v != max => (Cond::Ge, imm + 1),
        Cond::Le if v != max => (Cond::Lt, imm + 1),
        Cond::Ge if v != 0 => (Cond::Gt, imm - 1),
        Cond::Lt if v != 0 => (Cond::Le, imm - 1),
        Cond::Sgt if imm != smax => (Cond::Sge, imm + 1),
        Cond::Sle if imm != smax => (Cond::Slt, imm + 1),
        Cond::Sge if imm != smin => (Cond::Sgt, imm - 1),
        Cond::Slt if imm != smin => (Cond::Sle, imm - 1),
        same => return (same, imm),
    };
    if cost(w, other.1) < cost(w, imm) {
        other
    } else {
        (cond, imm)
    }
}
