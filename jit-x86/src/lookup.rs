//! Elements of maps looked up in place: r0 = the address of the value, or 0; the key is at r2.

use bpfassay_isa::Size;
use bpfassay_jit::{ArrayPlan, HashPlan, Label};

use crate::enc::{self, cc, Gp, Group1, Mem, Rm, Shift, W};
use crate::{Flags, X86};

/// Where the key is.
const KEY: Gp = enc::RSI;
/// Words of a key that is short, and what is read of a long one.
const WORDS: [Gp; 2] = [enc::RCX, enc::R9];
/// Half of a word, before the table's address.
const HALF: Gp = enc::R11;
const TABLE: Gp = enc::R11;
const ENTRIES: Gp = enc::RDX;
/// The hash, and the distance of the entry from the first.
const AT: Gp = enc::RAX;
/// What a product is made with, and the bytes of all entries but one.
const FACTOR: Gp = enc::R10;
const MASK: Gp = enc::R8;

impl X86 {
    /// r0 = element number `*(u32 *)r2` of the array, or 0 beyond its end.
    pub(crate) fn lookup(&mut self, array: &ArrayPlan) {
        self.flags = Flags::LOST;
        let done = self.asm.buf.new_label();
        let (index, result) = (enc::RSI, enc::RAX);
        self.asm.rm(enc::MOV_R_RM, W::D, index, Rm::M(Mem::at(enc::RSI, 0)));
        self.asm.mov_imm(result, 0);
        self.asm.alu_imm(Group1::Cmp, W::D, Rm::R(index), array.entries as i32);
        self.local_jump(cc::AE, done);
        let stride = array.stride;
        let scale = match stride {
            _ if array.entries == 1 => None,
            1 | 2 | 4 | 8 => Some(stride.trailing_zeros() as u8),
            _ => {
                if stride.is_power_of_two() {
                    let n = stride.trailing_zeros() as u8;
                    self.asm.shift_imm(Shift::Shl, W::Q, Rm::R(index), n);
                } else {
                    self.asm.imul_imm(W::Q, index, Rm::R(index), stride as i32);
                }
                Some(0)
            }
        };
        match (i32::try_from(array.base), scale) {
            (_, None) => self.asm.mov_imm(result, array.base),
            (Ok(base), Some(0)) => self.asm.lea(W::Q, result, Mem::at(index, base)),
            (Ok(base), Some(scale)) => {
                let m = Mem { base: None, index: Some((index, scale)), disp: base };
                self.asm.lea(W::Q, result, m);
            }
            (Err(_), Some(scale)) => {
                self.asm.mov_imm(result, array.base);
                let m = Mem { base: Some(result), index: Some((index, scale)), disp: 0 };
                self.asm.lea(W::Q, result, m);
            }
        }
        self.asm.buf.bind(done);
    }

    /// Reads a word of the key, in halves: one access does not see what two have just written.
    fn key_word(&mut self, to: Gp, off: i32, size: Size) {
        let first = if size == Size::Dw { Size::W } else { size };
        self.load_from(first, false, to, Mem::at(KEY, off));
        if size == Size::Dw {
            self.load_from(Size::W, false, HALF, Mem::at(KEY, off + 4));
            self.asm.shift_imm(Shift::Shl, W::Q, Rm::R(HALF), 32);
            self.asm.alu_rm_r(Group1::Or, W::Q, Rm::R(to), HALF);
        }
    }

    /// Hashes the key; leaves its words in [`WORDS`], as far as they go.
    fn hash_key(&mut self, loads: &[(i32, Size)]) {
        self.asm.mov_imm(FACTOR, HashPlan::FACTOR);
        let last = WORDS[WORDS.len() - 1];
        for (nth, (off, size)) in loads.iter().enumerate() {
            let word = WORDS.get(nth).copied().unwrap_or(last);
            self.key_word(word, *off, *size);
            if nth == 0 {
                self.asm.mov64(AT, word);
            } else {
                self.asm.alu_rm_r(Group1::Xor, W::Q, Rm::R(AT), word);
            }
            // To RDX and RAX.
            self.asm.group3(4, W::Q, Rm::R(FACTOR));
            self.asm.alu_rm_r(Group1::Xor, W::Q, Rm::R(AT), enc::RDX);
        }
    }

    /// Compares the key with that of an entry.
    fn compare_key(&mut self, loads: &[(i32, Size)], unlike: Label) {
        for (nth, (off, size)) in loads.iter().enumerate() {
            let to = 8 + 8 * nth as i32;
            let halves = if *size == Size::Dw { 2 } else { 1 };
            match WORDS.get(nth) {
                Some(word) if loads.len() <= WORDS.len() => {
                    self.asm.alu_rm_r(Group1::Cmp, W::Q, Rm::M(entry(to)), *word);
                    self.local_jump(cc::NE, unlike);
                }
                _ => (0..halves).for_each(|half| {
                    let size = if *size == Size::Dw { Size::W } else { *size };
                    self.load_from(size, false, HALF, Mem::at(KEY, off + 4 * half));
                    self.asm.alu_rm_r(Group1::Cmp, W::D, Rm::M(entry(to + 4 * half)), HALF);
                    self.local_jump(cc::NE, unlike);
                }),
            }
        }
    }

    /// r0 = address of the value of the key at r2, or 0; false where the host does it as fast.
    pub(crate) fn hash(&mut self, plan: &HashPlan) -> bool {
        let Some(loads) = plan.loads() else { return false };
        self.flags = Flags::LOST;
        let loads: Vec<_> = loads.collect();
        let [again, next, none, done] = [(); 4].map(|()| self.asm.buf.new_label());
        self.hash_key(&loads);
        self.asm.mov_imm(TABLE, plan.table);
        self.asm.load(MASK, Mem::at(TABLE, 8));
        self.asm.load(ENTRIES, Mem::at(TABLE, 0));
        self.asm.buf.bind(again);
        self.asm.alu_rm_r(Group1::And, W::Q, Rm::R(AT), MASK);
        self.compare_key(&loads, next);
        self.asm.load(AT, entry(0));
        if plan.offset != 0 {
            self.asm.rr(enc::TEST_RM_R, W::Q, AT, AT);
            self.local_jump(cc::E, done);
            self.asm.alu_imm(Group1::Add, W::Q, Rm::R(AT), plan.offset as i32);
        }
        self.local_jmp(done);
        self.asm.buf.bind(next);
        self.asm.alu_imm(Group1::Cmp, W::Q, Rm::M(entry(0)), 0);
        self.local_jump(cc::E, none);
        let bytes = 8 * HashPlan::entry_words(plan.key_size as usize);
        self.asm.alu_imm(Group1::Add, W::Q, Rm::R(AT), bytes as i32);
        self.local_jmp(again);
        self.asm.buf.bind(none);
        self.asm.mov_imm(AT, 0);
        self.asm.buf.bind(done);
        true
    }
}

/// What lies so far behind the begin of the entry.
fn entry(off: i32) -> Mem {
    Mem { base: Some(ENTRIES), index: Some((AT, 0)), disp: off }
}
