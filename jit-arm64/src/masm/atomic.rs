//! Atomics, with single instructions (LSE) and with exclusive loops.
//!
//! Those that fetch are ordered both ways; those that do not are relaxed, as
//! RFC 9669 and the kernel have it.

use bpfassay_isa::{AtomicOp, Reg, Size, Width};
use bpfassay_jit::target::{Addr, Space};

use crate::enc::atomic::{self, Op, Order};
use crate::enc::{arith, branch, logic, Cc, Extend, Shift, R};
use crate::masm::Arm64;
use crate::regs::{map, ARENA, RET, T0, T1, T2, T3};

fn width_of(size: Size) -> Width {
    if size == Size::Dw {
        Width::W64
    } else {
        Width::W32
    }
}

impl Arm64 {
    /// The address in one register, as atomics want it; may write [`T0`].
    fn address(&mut self, addr: &Addr) -> R {
        let mut base = map(addr.base);
        if addr.space == Space::Arena {
            self.put(arith::add_ext(Width::W64, T0, ARENA, base, Extend::Uxtw, 0));
            base = T0;
        }
        if addr.off == 0 {
            return base;
        }
        if base == T0 {
            self.constant(T1, i64::from(addr.off) as u64);
            self.put(arith::add(Width::W64, T0, T0, T1, Shift::Lsl, 0));
        } else {
            self.add_const(Width::W64, T0, base, i64::from(addr.off));
        }
        T0
    }

    pub(crate) fn atomic_op(
        &mut self,
        op: AtomicOp,
        fetch: bool,
        size: Size,
        addr: &Addr,
        src: Reg,
    ) {
        let at = self.address(addr);
        let rs = map(src);
        match self.config.lse {
            true => self.single(op, fetch, size, at, rs),
            false if op == AtomicOp::Cmpxchg => self.cmpxchg_loop(size, at, rs),
            false => self.exclusive_loop(op, fetch, size, at, rs),
        }
    }

    fn single(&mut self, op: AtomicOp, fetch: bool, size: Size, at: R, rs: R) {
        let (op, value) = match op {
            AtomicOp::Cmpxchg => {
                return self.put(atomic::cas(Order::AcqRel, size, RET, rs, at));
            }
            AtomicOp::Xchg => {
                return self.put(atomic::rmw(Op::Swp, Order::AcqRel, size, rs, rs, at));
            }
            AtomicOp::Add => (Op::Add, rs),
            AtomicOp::Or => (Op::Set, rs),
            AtomicOp::Xor => (Op::Eor, rs),
            AtomicOp::And => {
                self.put(logic::mvn(width_of(size), T1, rs));
                (Op::Clr, T1)
            }
        };
        self.put(match fetch {
            true => atomic::rmw(op, Order::AcqRel, size, value, rs, at),
            false => atomic::rmw_no_result(op, size, value, at),
        });
    }

    fn exclusive_loop(&mut self, op: AtomicOp, fetch: bool, size: Size, at: R, rs: R) {
        let w = width_of(size);
        let fetches = fetch || op == AtomicOp::Xchg;
        self.put(match fetches {
            true => atomic::ldaxr(size, T1, at),
            false => atomic::ldxr(size, T1, at),
        });
        let mut back = -2;
        let new = match op {
            AtomicOp::Xchg | AtomicOp::Cmpxchg => rs,
            _ => {
                back = -3;
                self.put(match op {
                    AtomicOp::Add => arith::add(w, T3, T1, rs, Shift::Lsl, 0),
                    AtomicOp::Or => logic::reg(logic::Op::Orr, w, T3, T1, rs, Shift::Lsl, 0),
                    AtomicOp::And => logic::reg(logic::Op::And, w, T3, T1, rs, Shift::Lsl, 0),
                    _ => logic::reg(logic::Op::Eor, w, T3, T1, rs, Shift::Lsl, 0),
                });
                T3
            }
        };
        self.put(match fetches {
            true => atomic::stlxr(size, T2, new, at),
            false => atomic::stxr(size, T2, new, at),
        });
        self.put(branch::cbnz(Width::W32, T2, back));
        if fetches {
            // An acquiring load and a releasing store let later accesses in between them.
            self.put(atomic::dmb_ish());
            self.put(logic::mov(w, rs, T1));
        }
    }

    fn cmpxchg_loop(&mut self, size: Size, at: R, rs: R) {
        let w = width_of(size);
        self.put(atomic::ldaxr(size, T1, at));
        self.put(arith::cmp(w, T1, RET));
        self.put(branch::b_cond(Cc::Ne, 3));
        self.put(atomic::stlxr(size, T2, rs, at));
        self.put(branch::cbnz(Width::W32, T2, -4));
        self.put(atomic::dmb_ish());
        self.put(logic::mov(w, RET, T1));
    }

    pub(crate) fn load_acquire_op(&mut self, size: Size, dst: Reg, addr: &Addr) {
        let at = self.address(addr);
        self.put(atomic::ldar(size, map(dst), at));
    }

    pub(crate) fn store_release_op(&mut self, size: Size, addr: &Addr, src: Reg) {
        let at = self.address(addr);
        self.put(atomic::stlr(size, map(src), at));
    }
}
