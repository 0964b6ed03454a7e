//! Elements of maps looked up in place: r0 = the address of the value, or 0; the key is at r2.

use bpfassay_isa::{Reg, Size, Width};
use bpfassay_jit::target::{Addr, Space};
use bpfassay_jit::{ArrayPlan, HashPlan};

use crate::enc::arith::{self, AddImm};
use crate::enc::logic::{self, Op};
use crate::enc::mem::{self, Access};
use crate::enc::{wide, Cc, Extend, Shift, R, ZR};
use crate::masm::Arm64;
use crate::regs::{map, RET, T0, T1, T2, T3};

/// Registers that calls lose: where the key is, a word of the key, address of the table, of its entries, of an entry,
/// and what is read of that.
const KEY: Reg = Reg::R2;
const WORD: R = T1;
const TABLE: Reg = Reg::R1;
const ENTRIES: Reg = Reg::R3;
const ENTRY: Reg = Reg::R4;
const READ: Reg = Reg::R5;
const FACTOR: R = T2;

impl Arm64 {
    /// No branch: the address is computed for any index and dropped if there is no such element.
    pub(crate) fn array(&mut self, array: &ArrayPlan) {
        let w = Width::W32;
        let index = Addr { base: Reg::R2, index: None, off: 0, space: Space::Plain };
        self.access(Access::Load, Size::W, T1, &index);
        self.constant(RET, array.base);
        let stride = u64::from(array.stride);
        if array.entries > 1 {
            if stride.is_power_of_two() {
                let n = stride.trailing_zeros();
                let word = match n {
                    0..=4 => arith::add_ext(Width::W64, RET, RET, T1, Extend::Uxtw, n),
                    _ => arith::add(Width::W64, RET, RET, T1, Shift::Lsl, n),
                };
                self.put(word);
            } else {
                self.constant(T0, stride);
                self.put(arith::madd(Width::W64, RET, T1, T0, RET));
            }
        }
        let entries = u64::from(array.entries);
        match AddImm::new(entries) {
            Some(i) => self.put(arith::cmp_imm(w, T1, i)),
            None => {
                for word in wide::load(T0, entries).words() {
                    self.put(*word);
                }
                self.put(arith::cmp(w, T1, T0));
            }
        }
        self.put(arith::csel(Width::W64, RET, RET, ZR, Cc::Lo));
    }

    fn key_word(&mut self, off: i32, size: Size) {
        self.access(
            Access::Load,
            size,
            WORD,
            &Addr { base: KEY, index: None, off, space: Space::Plain },
        );
    }

    fn read_entry(&mut self, off: i32) {
        let at = Addr { base: ENTRY, index: None, off, space: Space::Plain };
        self.access(Access::Load, Size::Dw, map(READ), &at);
    }

    fn xor(&mut self, with: R) {
        self.put(logic::reg(Op::Eor, Width::W64, RET, RET, with, Shift::Lsl, 0));
    }

    /// Address of the value of the key at r2, or 0; false where the host does it as fast.
    pub(crate) fn hash(&mut self, plan: &HashPlan) -> bool {
        let Some(loads) = plan.loads() else { return false };
        let w = Width::W64;
        let loads: Vec<_> = loads.collect();
        let [again, next, none, done] = [(); 4].map(|()| self.buf.new_label());
        self.forget();
        self.constant(FACTOR, HashPlan::FACTOR);
        for (nth, (off, size)) in loads.iter().enumerate() {
            self.key_word(*off, *size);
            let mut from = WORD;
            if nth > 0 {
                self.xor(WORD);
                from = RET;
            }
            self.put(arith::umulh(T3, from, FACTOR));
            self.put(arith::madd(w, RET, from, FACTOR, ZR));
            self.xor(T3);
        }
        self.constant(map(TABLE), plan.table);
        self.put(mem::ldp(map(ENTRIES), T3, map(TABLE), 0));
        self.buf.bind(again);
        self.put(logic::reg(Op::And, w, RET, RET, T3, Shift::Lsl, 0));
        self.put(arith::add(w, map(ENTRY), map(ENTRIES), RET, Shift::Lsl, 0));
        for (nth, (off, size)) in loads.iter().enumerate() {
            if loads.len() > 1 {
                self.key_word(*off, *size);
            }
            self.read_entry(8 + 8 * nth as i32);
            self.put(arith::cmp(w, map(READ), WORD));
            self.branch_cc(Cc::Ne, next);
        }
        self.read_entry(0);
        self.put(logic::mov(w, RET, map(READ)));
        if plan.offset != 0 {
            self.branch_if_zero(w, RET, done);
            self.constant(T0, plan.offset.into());
            self.put(arith::add(w, RET, RET, T0, Shift::Lsl, 0));
        }
        self.jump_op(done);
        self.buf.bind(next);
        self.read_entry(0);
        self.branch_if_zero(w, map(READ), none);
        let bytes = 8 * HashPlan::entry_words(plan.key_size as usize);
        if let Some(bytes) = AddImm::new(bytes as u64) {
            self.put(arith::add_imm(w, RET, RET, bytes));
        }
        self.jump_op(again);
        self.buf.bind(none);
        self.put(logic::mov(w, RET, ZR));
        self.buf.bind(done);
        self.forget();
        true
    }
}
