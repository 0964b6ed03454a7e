//! [`Target`] for arm64: hands each operation to its room, and writes what moved.

use bpfassay_isa::{AluOp, AtomicOp, Cond, Operand, Reg, Size, SwapKind, SxFrom, Width};
use bpfassay_jit::buf::{CodeBuf, Label, Patch};
use bpfassay_jit::target::{Addr, FuncFacts, Head, Target};
use bpfassay_jit::{ArrayPlan, HashPlan};

use crate::enc::{arith, branch, wide, Extend, R};
use crate::masm::control::fix;
use crate::masm::Arm64;
use crate::regs::{map, T0};

/// Flips the condition of B.cond, CBZ, CBNZ, TBZ or TBNZ.
fn invert(word: u32) -> u32 {
    match word >> 24 {
        0x54 => word ^ 1,
        _ => word ^ (1 << 24),
    }
}

/// A jump that does not reach goes around one that does; an address is made of a distance.
#[inline(never)]
fn patch_long(kind: u8, at: &mut [u8], distance: i32) {
    let word = at.first_chunk().map_or(0, |b| u32::from_le_bytes(*b));
    match kind {
        fix::COND | fix::TEST => {
            let bits = if kind == fix::COND { 19 } else { 14 };
            write(at, 0, with_field(invert(word), bits, 5, 2));
            write(at, 1, branch::b((distance >> 2) - 1));
        }
        _ => {
            let rd = R((word & 31) as u8);
            write(at, 0, branch::adr(rd, 0));
            write(at, 1, wide::movz(Width::W32, T0, distance as u16, 0));
            write(at, 2, wide::movk(Width::W32, T0, (distance >> 16) as u16, 1));
            write(at, 3, arith::add_ext(Width::W64, rd, rd, T0, Extend::Sxtw, 0));
        }
    }
}

fn write(at: &mut [u8], i: usize, word: u32) {
    if let Some(to) = at.get_mut(i * 4..i * 4 + 4) {
        to.copy_from_slice(&word.to_le_bytes());
    }
}

/// `word` with the low bits of `v` as the field of so many bits from bit `at` on.
fn with_field(word: u32, bits: u32, at: u32, v: i32) -> u32 {
    let field = ((1 << bits) - 1) << at;
    word & !field | (v as u32) << at & field
}

impl Patch for Arm64 {
    #[inline]
    fn patch(kind: u8, at: &mut [u8], distance: i32) {
        let Ok(at) = <&mut [u8; 4]>::try_from(&mut *at) else {
            return patch_long(kind, at, distance);
        };
        let (word, delta) = (u32::from_le_bytes(*at), distance >> 2);
        let word = match kind {
            fix::JUMP => with_field(word, 26, 0, delta),
            fix::COND => with_field(word, 19, 5, delta),
            fix::TEST => with_field(word, 14, 5, delta),
            _ => branch::adr(R((word & 31) as u8), distance),
        };
        *at = word.to_le_bytes();
    }

    fn pad(at: &mut [u8]) {
        for i in 0..at.len() / 4 {
            write(at, i, branch::nop());
        }
    }
}

impl Target for Arm64 {
    #[inline(always)]
    fn buf(&mut self) -> &mut CodeBuf {
        &mut self.buf
    }

    fn native(r: Reg) -> u8 {
        map(r).0
    }

    fn finish(&mut self) {
        self.finish_op();
    }

    fn prologue(&mut self, f: &FuncFacts) {
        self.prologue_op(f);
    }

    fn exit(&mut self, f: &FuncFacts) {
        self.exit_op(f);
    }

    #[inline(always)]
    fn at_label(&mut self, _: Head) {
        self.forget();
    }

    #[inline(always)]
    fn jump(&mut self, to: Label) {
        self.jump_op(to);
    }

    #[inline(always)]
    fn cond_jump(&mut self, cond: Cond, width: Width, a: Reg, b: Operand, to: Label) {
        self.cond_jump_op(cond, width, a, b, to);
    }

    fn may_goto(&mut self, counter: i32, to: Label) {
        self.may_goto_op(counter, to);
    }

    fn call_function(&mut self, to: Label) {
        self.branch_link(to);
    }

    fn call_host(&mut self, site: u32) {
        self.call_host_op(site);
    }

    fn call_reg(&mut self, target: Reg, site: u32) {
        self.call_reg_op(target, site);
    }

    fn tail_call(&mut self, f: &FuncFacts, site: u32) {
        self.tail_call_op(f, site);
    }

    fn load_packet(&mut self, f: &FuncFacts, size: Size, index: Option<Reg>, imm: i32, site: u32) {
        self.load_packet_op(f, size, index, imm, site);
    }

    fn unreachable(&mut self) {
        self.unreachable_op();
    }

    #[inline(always)]
    fn alu(&mut self, op: AluOp, width: Width, dst: Reg, a: Reg, b: Operand) {
        self.alu_op(op, width, dst, a, b);
    }

    fn neg(&mut self, width: Width, dst: Reg, a: Reg) {
        self.neg_op(width, dst, a);
    }

    fn swap(&mut self, kind: SwapKind, bits: u8, dst: Reg) {
        self.swap_op(kind, bits, dst);
    }

    fn movsx(&mut self, width: Width, from: SxFrom, dst: Reg, src: Reg) {
        self.movsx_op(width, from, dst, src);
    }

    fn imm64(&mut self, dst: Reg, value: u64) {
        self.constant(map(dst), value);
    }

    fn function_address(&mut self, dst: Reg, of: Label) {
        self.function_address_op(dst, of);
    }

    fn addr_space_cast(&mut self, dst: Reg, src: Reg, to_user: bool) {
        self.addr_space_cast_op(dst, src, to_user);
    }

    #[inline(always)]
    fn load(&mut self, size: Size, sign_extend: bool, dst: Reg, addr: Addr) {
        self.load_op(size, sign_extend, dst, &addr);
    }

    #[inline(always)]
    fn store(&mut self, size: Size, addr: Addr, src: Operand) {
        self.store_op(size, &addr, src);
    }

    fn atomic(&mut self, op: AtomicOp, fetch: bool, size: Size, addr: Addr, src: Reg) {
        self.atomic_op(op, fetch, size, &addr, src);
    }

    fn load_acquire(&mut self, size: Size, dst: Reg, addr: Addr) {
        self.load_acquire_op(size, dst, &addr);
    }

    fn store_release(&mut self, size: Size, addr: Addr, src: Reg) {
        self.store_release_op(size, &addr, src);
    }

    fn array_lookup(&mut self, array: &ArrayPlan) {
        self.array(array);
    }

    fn try_hash_lookup(&mut self, hash: &HashPlan) -> bool {
        self.hash(hash)
    }

    fn try_rotate(&mut self, width: Width, dst: Reg, a: Reg, count: u8) -> bool {
        self.rotate(width, dst, a, count);
        true
    }

    fn try_load(&mut self, size: Size, sign_extend: bool, dst: Reg, addr: Addr) -> bool {
        self.load_indexed(size, sign_extend, dst, &addr)
    }

    fn try_store(&mut self, size: Size, addr: Addr, src: Operand) -> bool {
        self.store_indexed(size, &addr, src)
    }

    fn try_load_swapped(&mut self, size: Size, dst: Reg, addr: Addr) -> bool {
        self.load_swapped(size, dst, &addr)
    }

    fn try_lea(
        &mut self,
        width: Width,
        dst: Reg,
        a: Reg,
        index: Option<(Reg, u8)>,
        off: i32,
    ) -> bool {
        self.lea(width, dst, a, index, off)
    }
}
