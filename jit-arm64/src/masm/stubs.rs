//! Code that programs share: entering, leaving, calling out ([`bpfassay_jit::Glue`]), and a
//! program's ways to it, at addresses the run context holds.
//!
//! Entering saves every register the C convention keeps, in a frame whose
//! address is in x29 as long as the first function runs:
//!
//! ```text
//! x29 + 0     x29, x30 of the caller
//!     + 16    x19 to x28
//!     + 96    SAVED_SP of the context, as it was
//! ```

use bpfassay_isa::{Size, Width};
use bpfassay_jit::{abi, Glue, Label};

use crate::enc::mem::{self, Access};
use crate::enc::{arith, branch, logic, FP, LR, R, SP};
use crate::masm::control::fix;
use crate::masm::Arm64;
use crate::regs::{ARENA, BPF_FP, CTX, RET, SITE, T0};

const FRAME: i32 = 112;
const PREVIOUS: i32 = 96;
const SAVED: [(R, R, i32); 5] = [
    (R(19), R(20), 16),
    (R(21), R(22), 32),
    (R(23), R(24), 48),
    (R(25), R(26), 64),
    (R(27), R(28), 80),
];
/// Scratch that the argument registers do not overlap.
const X16: R = R(16);

struct GlueLabels {
    entry: Label,
    unwind: Label,
    keeping: Label,
    leave: Label,
    call_out: Label,
    tail_from_entry: Label,
    tail: Label,
}

impl Arm64 {
    fn field(&mut self, access: Access, rt: R, base: R, off: i32) {
        if let Some(word) = mem::imm(access, Size::Dw, rt, base, off) {
            self.put(word);
        }
    }

    /// `mov` between the stack pointer and a register.
    fn move_sp(&mut self, rd: R, rn: R) {
        self.put(arith::mov_sp(rd, rn));
    }

    /// Saves registers and the context's stack pointer; r10 becomes the stack pointer.
    fn save_frame(&mut self, context: bool) {
        self.put(mem::stp_pre(FP, LR, SP, -FRAME));
        for (a, b, off) in SAVED {
            self.put(mem::stp(a, b, SP, off));
        }
        if context {
            self.constant(CTX, self.config.context);
        }
        self.context_load(T0, abi::SAVED_SP);
        self.field(Access::Store, T0, SP, PREVIOUS);
        self.move_sp(FP, SP);
        self.put(logic::mov(Width::W64, BPF_FP, FP));
    }

    /// Goes on at an address the run context holds.
    fn go(&mut self, field: i32) {
        self.context_load(T0, field);
        self.put(branch::br(T0));
    }

    /// Entering, and where entries end.
    fn enter(&mut self, labels: &GlueLabels) {
        self.buf.bind(labels.entry);
        self.save_frame(true);
        self.context_store(FP, abi::SAVED_SP);
        self.context_load(ARENA, abi::ARENA);
        self.put(logic::mov(Width::W64, T0, R(0)));
        self.put(logic::mov(Width::W64, X16, R(1)));
        self.put(mem::ldp(R(0), R(1), T0, 0));
        self.put(mem::ldp(R(2), R(3), T0, 16));
        self.field(Access::Load, R(4), T0, 32);
        for r in [RET, R(19), R(20), R(21), R(22)] {
            self.constant(r, 0);
        }
        self.put(branch::blr(X16));
        self.jump_op(labels.leave);

        self.buf.bind(labels.keeping);
        self.save_frame(false);
        self.context_load(T0, abi::TAIL_TARGET);
        self.put(branch::blr(T0));
        self.jump_op(labels.leave);

        self.buf.bind(labels.unwind);
        self.constant(CTX, self.config.context);
        self.context_load(FP, abi::SAVED_SP);
        self.buf.bind(labels.leave);
        self.move_sp(SP, FP);
        self.field(Access::Load, T0, SP, PREVIOUS);
        self.context_store(T0, abi::SAVED_SP);
        for (a, b, off) in SAVED {
            self.put(mem::ldp(a, b, SP, off));
        }
        self.put(logic::mov(Width::W64, R(0), RET));
        self.put(mem::ldp_post(FP, LR, SP, FRAME));
        self.put(branch::ret(LR));
    }

    /// Calls the dispatch function with the arguments in place, and leaves if it says so.
    fn call_dispatch(&mut self, labels: &GlueLabels) {
        self.buf.bind(labels.call_out);
        self.put(mem::str_pre(LR, SP, -16));
        self.context_store(LR, abi::CALLER);
        self.context_load(T0, abi::DISPATCH);
        self.put(branch::blr(T0));
        self.put(logic::mov(Width::W64, RET, R(0)));
        self.context_load(T0, abi::STOP);
        self.put(mem::ldr_post(LR, SP, 16));
        self.branch_if_not_zero(Width::W64, T0, labels.unwind);
        self.put(branch::ret(LR));
    }

    /// Goes on in another program, whose address is in r0.
    fn go_to_program(&mut self, labels: &GlueLabels) {
        self.buf.bind(labels.tail_from_entry);
        self.move_sp(SP, FP);
        self.put(logic::mov(Width::W64, BPF_FP, FP));
        // A first function that is also called returns as others do.
        self.buf.fixup_u32(fix::ADDRESS, branch::adr(LR, 0), labels.leave, 16, (1 << 20) - 8);
        self.buf.bind(labels.tail);
        self.context_load(R(0), abi::TAIL_CTX);
        self.context_load(ARENA, abi::ARENA);
        self.put(branch::br(RET));
    }

    /// All of it; None where it does not fit, which it does.
    pub(crate) fn glue(mut self) -> Option<Glue> {
        let [entry, unwind, keeping, leave, call_out, tail_from_entry, tail] =
            [(); 7].map(|()| self.buf.new_label());
        let labels = GlueLabels { entry, unwind, keeping, leave, call_out, tail_from_entry, tail };
        self.enter(&labels);
        self.call_dispatch(&labels);
        self.go_to_program(&labels);
        let placed = std::mem::take(&mut self.buf).finish::<Arm64>().ok()?;
        Some(Glue {
            entry: placed.label(entry)?,
            unwind: placed.label(unwind)?,
            keeping_entry: placed.label(keeping)?,
            leave: placed.label(leave)?,
            call_out: placed.label(call_out)?,
            tail_from_entry: placed.label(tail_from_entry)?,
            tail: placed.label(tail)?,
            code: placed.code,
        })
    }

    pub(crate) fn finish_op(&mut self) {
        self.forget();
        let host = self.buf.new_label();
        let sites = std::mem::take(&mut self.stubs.host);
        let used: Vec<(usize, Label)> =
            sites.iter().enumerate().filter_map(|(i, l)| Some((i, (*l)?))).collect();
        for (nth, (site, label)) in used.iter().enumerate() {
            self.buf.bind(*label);
            self.constant(SITE, *site as u64);
            // The last one falls through.
            if nth + 1 < used.len() {
                self.jump_op(host);
            }
        }
        if !used.is_empty() {
            self.buf.bind(host);
            self.go(abi::CALL_OUT);
        }
        if let Some(l) = self.stubs.tail_from_entry.take() {
            self.buf.bind(l);
            self.go(abi::TAIL_FROM_ENTRY);
        }
        if let Some(l) = self.stubs.tail.take() {
            self.buf.bind(l);
            self.go(abi::TAIL);
        }
        if let Some(l) = self.stubs.return_zero.take() {
            self.buf.bind(l);
            self.constant(RET, 0);
            self.leave();
        }
    }

    /// Ends the first function.
    pub(crate) fn leave(&mut self) {
        match self.stubs.leave {
            Some(l) => self.jump_op(l),
            None => {
                let l = self.buf.new_label();
                self.buf.bind(l);
                self.stubs.leave = Some(l);
                self.go(abi::LEAVE);
            }
        }
    }

    fn stub(at: &mut Option<Label>, buf: &mut bpfassay_jit::CodeBuf) -> Label {
        *at.get_or_insert_with(|| buf.new_label())
    }

    pub(crate) fn tail_from_entry(&mut self) -> Label {
        Self::stub(&mut self.stubs.tail_from_entry, &mut self.buf)
    }

    pub(crate) fn tail(&mut self) -> Label {
        Self::stub(&mut self.stubs.tail, &mut self.buf)
    }

    pub(crate) fn return_zero(&mut self) -> Label {
        Self::stub(&mut self.stubs.return_zero, &mut self.buf)
    }

    pub(crate) fn host_stub(&mut self, site: u32) -> Label {
        let i = site as usize;
        if self.stubs.host.len() <= i {
            self.stubs.host.resize(i + 1, None);
        }
        match self.stubs.host.get_mut(i) {
            Some(at) => Self::stub(at, &mut self.buf),
            None => self.buf.new_label(),
        }
    }

    /// What no path reaches.
    pub(crate) fn unreachable_op(&mut self) {
        self.put(branch::brk(0));
    }
}
