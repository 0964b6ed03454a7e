//! The trait, and forms of several BPF instructions in one.

use bpfassay_isa::{AluOp, AtomicOp, Cond, Operand, Reg, Size, SwapKind, SxFrom, Width};
use bpfassay_jit::target::{Addr, FuncFacts, Head};
use bpfassay_jit::{ArrayPlan, CodeBuf, HashPlan, Label, Target};

use crate::alu::{group_of, sum};
use crate::enc::{self, Group1, Mem, Rm, Shift, W};
use crate::frame::code;
use crate::memory::mem;
use crate::{gp, size, width, Flags, X86};

impl Target for X86 {
    #[inline(always)]
    fn buf(&mut self) -> &mut CodeBuf {
        &mut self.asm.buf
    }

    fn native(r: Reg) -> u8 {
        gp(r).0
    }

    fn finish(&mut self) {
        self.write_site_stubs();
    }

    fn prologue(&mut self, f: &FuncFacts) {
        self.enter(f);
    }

    fn exit(&mut self, f: &FuncFacts) {
        self.leave(f);
        self.asm.ret();
    }

    #[inline]
    fn at_label(&mut self, head: Head) {
        self.flags = Flags::LOST;
        self.is_tight = head == Head::TightLoop;
        match head {
            Head::Block => {}
            Head::Loop => self.asm.buf.align::<X86>(16),
            // Up to 32 bytes then lie in one line of code: two cost such a loop twice the time.
            Head::TightLoop => self.asm.buf.align::<X86>(32),
        }
    }

    fn jump(&mut self, to: Label) {
        self.local_jmp(to);
    }

    #[inline(always)]
    fn cond_jump(&mut self, cond: Cond, w: Width, a: Reg, b: Operand, to: Label) {
        self.is_tight = false;
        self.branch(cond, w, a, b, to);
    }

    fn may_goto(&mut self, counter: i32, to: Label) {
        self.count_down(counter, to);
    }

    fn call_function(&mut self, to: Label) {
        self.flags = Flags::LOST;
        self.call_label(to);
    }

    fn call_host(&mut self, site: u32) {
        self.flags = Flags::LOST;
        let to = self.site(site);
        self.call_label(to);
    }

    fn call_reg(&mut self, target: Reg, site: u32) {
        self.flags = Flags::LOST;
        self.call_by_register(target, site);
    }

    fn tail_call(&mut self, f: &FuncFacts, site: u32) {
        self.tail(f, site);
    }

    fn load_packet(&mut self, f: &FuncFacts, s: Size, index: Option<Reg>, imm: i32, site: u32) {
        self.packet(f, s, index, imm, site);
    }

    fn unreachable(&mut self) {
        self.asm.bytes(&[0x0f, 0x0b]);
    }

    #[inline(always)]
    fn alu(&mut self, op: AluOp, w: Width, dst: Reg, a: Reg, b: Operand) {
        self.alu_op(op, w, dst, a, b);
    }

    fn multiply_by_steps(&mut self) {
        self.steps = true;
    }

    fn neg(&mut self, w: Width, dst: Reg, a: Reg) {
        self.negate(w, dst, a);
    }

    fn swap(&mut self, kind: SwapKind, bits: u8, dst: Reg) {
        self.swap_bytes(kind, bits, dst);
    }

    fn movsx(&mut self, w: Width, from: SxFrom, dst: Reg, src: Reg) {
        self.flags = self.flags.beside(dst);
        self.sign_extend(w, from, dst, src);
    }

    fn imm64(&mut self, dst: Reg, value: u64) {
        self.flags = Flags::LOST;
        self.asm.mov_imm(gp(dst), value);
    }

    fn function_address(&mut self, dst: Reg, of: Label) {
        self.flags = Flags::LOST;
        self.lea_label(dst, of);
    }

    fn addr_space_cast(&mut self, dst: Reg, src: Reg, to_user: bool) {
        self.cast(dst, src, to_user);
    }

    #[inline(always)]
    fn load(&mut self, s: Size, sign_extend: bool, dst: Reg, addr: Addr) {
        self.flags = self.flags.beside(dst);
        self.load_from(s, sign_extend, gp(dst), mem(addr));
    }

    #[inline(always)]
    fn store(&mut self, s: Size, addr: Addr, src: Operand) {
        // Moves leave the flags alone.
        self.store_operand(s, addr, src);
    }

    fn atomic(&mut self, op: AtomicOp, fetch: bool, s: Size, addr: Addr, src: Reg) {
        self.atomic_op(op, fetch, s, addr, src);
    }

    fn load_acquire(&mut self, s: Size, dst: Reg, addr: Addr) {
        self.load(s, false, dst, addr);
    }

    fn store_release(&mut self, s: Size, addr: Addr, src: Reg) {
        self.store(s, addr, Operand::Reg(src));
    }

    fn array_lookup(&mut self, array: &ArrayPlan) {
        self.lookup(array);
    }

    fn try_hash_lookup(&mut self, hash: &HashPlan) -> bool {
        self.hash(hash)
    }

    fn try_rotate(&mut self, w: Width, dst: Reg, a: Reg, count: u8) -> bool {
        self.flags = Flags::LOST;
        let bits = if w == Width::W64 { 64 } else { 32 };
        if dst == a {
            self.asm.shift_imm(Shift::Rol, width(w), Rm::R(gp(dst)), count);
        } else if self.features.bmi2 {
            self.asm.rorx(width(w), gp(dst), Rm::R(gp(a)), bits - count);
        } else {
            self.copy(w, gp(dst), gp(a));
            self.asm.shift_imm(Shift::Rol, width(w), Rm::R(gp(dst)), count);
        }
        true
    }

    fn try_load(&mut self, s: Size, sign_extend: bool, dst: Reg, addr: Addr) -> bool {
        match addr.index {
            Some((index, 0)) if self.is_tight => {
                let (a, b) = if index == dst { (index, addr.base) } else { (addr.base, index) };
                self.asm.mov64(gp(dst), gp(a));
                self.asm.alu_rm_r(Group1::Add, W::Q, Rm::R(gp(dst)), gp(b));
                self.flags = Flags::LOST;
                self.load(s, sign_extend, dst, Addr { base: dst, index: None, ..addr });
            }
            _ => self.load(s, sign_extend, dst, addr),
        }
        true
    }

    fn try_store(&mut self, s: Size, addr: Addr, src: Operand) -> bool {
        self.store(s, addr, src);
        true
    }

    fn try_alu_load(&mut self, op: AluOp, w: Width, dst: Reg, addr: Addr) -> bool {
        if self.is_tight && addr.index.is_some() {
            return false;
        }
        match (op, group_of(op)) {
            (_, Some(g)) => {
                self.asm.alu_r_rm(g, width(w), gp(dst), Rm::M(mem(addr)));
                let logic = !matches!(op, AluOp::Add | AluOp::Sub);
                self.flags = Flags::result(dst, w, logic);
            }
            (AluOp::Mul, _) => {
                self.flags = Flags::LOST;
                self.asm.rm(enc::IMUL_R_RM, width(w), gp(dst), Rm::M(mem(addr)));
            }
            _ => return false,
        }
        true
    }

    fn try_alu_store(&mut self, op: AluOp, s: Size, addr: Addr, src: Operand) -> bool {
        let Some(g) = group_of(op) else { return false };
        self.flags = Flags::LOST;
        let (m, w) = (Rm::M(mem(addr)), size(s));
        match src {
            Operand::Reg(r) => self.asm.alu_rm_r(g, w, m, gp(r)),
            Operand::Imm(v @ (1 | -1)) if matches!(op, AluOp::Add | AluOp::Sub) => {
                let down = (v == -1) == (op == AluOp::Add);
                let code = if w == W::B { 0xfe } else { 0xff };
                let op = enc::op(code);
                self.asm.op(None, op, w, u8::from(down), m, enc::Imm::None);
            }
            Operand::Imm(v) => self.asm.alu_imm(g, w, m, v),
        }
        true
    }

    fn try_cond_jump_load(
        &mut self,
        cond: Cond,
        s: Size,
        addr: Addr,
        b: Operand,
        to: Label,
    ) -> bool {
        let (m, w) = (Rm::M(mem(addr)), size(s));
        let limit = match s {
            Size::B => 0xff,
            Size::H => 0xffff,
            Size::W | Size::Dw => i32::MAX,
        };
        match (cond, b) {
            (Cond::Set, Operand::Imm(v)) if (0..=limit).contains(&v) => self.asm.test_imm(w, m, v),
            (Cond::Set, _) => return false,
            // A prefix that changes the length of an immediate is slow to decode.
            (_, Operand::Imm(v)) if s == Size::H && i8::try_from(v as i16).is_err() => {
                return false
            }
            (_, Operand::Imm(v)) if (0..=limit).contains(&v) => {
                self.asm.alu_imm(Group1::Cmp, w, m, v)
            }
            (_, Operand::Reg(r)) if s == Size::Dw => self.asm.rm(enc::op(0x39), w, gp(r), m),
            _ => return false,
        }
        self.flags = Flags::LOST;
        // Zero-extended values compare as unsigned ones; at 64 bits the sign counts.
        let cond = match cond {
            Cond::Sgt if s != Size::Dw => Cond::Gt,
            Cond::Sge if s != Size::Dw => Cond::Ge,
            Cond::Slt if s != Size::Dw => Cond::Lt,
            Cond::Sle if s != Size::Dw => Cond::Le,
            same => same,
        };
        self.local_jump(code(cond), to);
        true
    }

    fn try_load_swapped(&mut self, s: Size, dst: Reg, addr: Addr) -> bool {
        if !self.features.movbe || !matches!(s, Size::W | Size::Dw) {
            return false;
        }
        self.flags = self.flags.beside(dst);
        self.asm.rm(enc::MOVBE_R_M, size(s), gp(dst), Rm::M(mem(addr)));
        true
    }

    fn try_lea(&mut self, w: Width, dst: Reg, a: Reg, index: Option<(Reg, u8)>, off: i32) -> bool {
        self.flags = self.flags.beside(dst);
        let m = match index {
            Some((i, scale)) => sum(gp(a), gp(i), scale, off),
            None => Mem::at(gp(a), off),
        };
        self.asm.lea(width(w), gp(dst), m);
        true
    }
}
