//! The walk over the instructions, calling the backend.

mod values;

use bpfassay_isa::opcode::{Callee, Extend, Fetch, Form, Packet, Reach, Second, Wide};
use bpfassay_isa::{
    decode, AluOp, AtomicOp, CallTarget, Cond, Imm64, Insn, Operand, RawInsn, Reg, Size, Width,
};

use crate::abi;
use crate::buf::{CodeBuf, Label, Mark};
use crate::facts::{both, Facts, Set, LOW};
use crate::rows;
use crate::source::{
    Access, CallPlan, Compiled, FaultRow, Func, JitError, Options, Resolve, Site, SiteKind, Source,
};
use crate::survey::{survey, Slot, CALLER_SAVED, FUNC, TAIL, TARGET};
use crate::target::{Addr, FuncFacts, Space, Target, AX};

/// `MAX_BPF_STACK`.
const STACK: u32 = 512;
/// Bytes of code for each slot to begin with; more are found when needed.
const BYTES_PER_SLOT: usize = 8;

/// Compiles a program; `make` gives the backend its buffer.
pub fn compile<T: Target>(
    source: &Source<'_>,
    options: &Options,
    resolve: &mut dyn Resolve,
    make: impl FnOnce(CodeBuf) -> T,
) -> Result<(Compiled, T), JitError> {
    let (slots, mut funcs) = survey(source.insns, source.functions)?;
    for (i, f) in funcs.iter_mut().enumerate() {
        let last = abi::MAY_GOTO_COUNT - 1;
        f.counter = abi::MAY_GOTO + 8 * i32::try_from(i).map_or(last, |i| i.min(last));
        let known = |rows: &[(u32, u32)]| rows.iter().find(|r| r.0 == f.slot).map(|r| r.1);
        f.stack = if f.uses_fp { known(source.stacks).unwrap_or(STACK) } else { 0 };
        f.stack = f.stack.next_multiple_of(8);
        f.private_stack = source.private_stacks.iter().find(|r| r.0 == f.slot).map(|r| r.1);
    }
    let len = slots.len();
    let buf = CodeBuf::new(len, len * BYTES_PER_SLOT + 1024);
    let mut walk = Walk {
        t: make(buf),
        raw: source.insns,
        slots: &slots,
        funcs: &funcs,
        access: source.access,
        resolve,
        f: FuncFacts::default(),
        upper_zero: 0,
        r1_map: None,
        context: options.context,
        firsts: Vec::new(),
        sites: Vec::new(),
        faults: Vec::new(),
        // Numbers that differ little must not blind alike, nor with few bits.
        blind: options.blind.map(|s| s.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1),
        wrong: None,
    };
    let main = walk.t.buf().new_label();
    let end = walk.t.buf().new_label();
    let body = walk.t.buf().mark();
    walk.t.buf().bind(main);
    walk.run();
    if let Some(why) = walk.wrong {
        return Err(why);
    }
    walk.t.unreachable();
    walk.t.buf().bind(end);
    walk.t.finish();
    let Walk { mut t, sites, faults, .. } = walk;
    let buf = std::mem::take(t.buf());
    let placed = buf.finish::<T>().map_err(|_| JitError::TooLarge)?;
    let at = |l: Label| placed.label(l).ok_or(JitError::TooLarge);
    let fault = |f: &(Mark, Mark, u8)| {
        Some(FaultRow { at: placed.mark(f.0)?, resume: placed.mark(f.1)?, reg: f.2 })
    };
    let faults = faults.iter().filter_map(fault).collect();
    let (main, body_end) = (at(main)?, at(end)?);
    let body = placed.mark(body).ok_or(JitError::TooLarge)?;
    let (mut offsets, code) = placed.into_first(len).ok_or(JitError::TooLarge)?;
    let func = |f: &FuncFacts| Some(Func { slot: f.slot, start: *offsets.get(f.slot as usize)? });
    let funcs = funcs.iter().filter_map(func).collect();
    offsets.push(body_end);
    let compiled = Compiled { main, body, body_end, funcs, sites, faults, offsets, code };
    Ok((compiled, t))
}

pub(crate) struct Walk<'a, T> {
    pub t: T,
    raw: &'a [RawInsn],
    slots: &'a [Slot],
    funcs: &'a [FuncFacts],
    access: &'a [Access],
    resolve: &'a mut dyn Resolve,
    f: FuncFacts,
    /// Registers whose upper half is known to be zero, in both halves of the set.
    pub upper_zero: Set,
    /// The map whose address is in r1.
    r1_map: Option<Imm64>,
    /// Address of the run context.
    context: u64,
    /// Functions whose first instruction is jumped to, and where it is.
    firsts: Vec<(usize, Label)>,
    sites: Vec<Site>,
    faults: Vec<(Mark, Mark, u8)>,
    /// State of the generator of blinding numbers.
    blind: Option<u64>,
    /// What `resolve` refused first.
    wrong: Option<JitError>,
}

/// An instruction: its fields, and what its encoding is.
#[derive(Clone, Copy)]
pub(crate) struct One<'a> {
    pub raw: &'a RawInsn,
    pub facts: &'static Facts,
}

impl One<'_> {
    #[inline(always)]
    pub fn form(&self) -> Form {
        self.facts.form
    }

    #[inline(always)]
    pub fn dst(&self) -> Reg {
        Reg(self.raw.dst)
    }

    #[inline(always)]
    pub fn src(&self) -> Reg {
        Reg(self.raw.src)
    }

    #[inline(always)]
    pub fn second(&self, s: Second) -> Operand {
        second(self.raw, s)
    }
}

/// The second operand of an instruction.
#[inline(always)]
fn second(raw: &RawInsn, s: Second) -> Operand {
    match s {
        Second::Imm => Operand::Imm(raw.imm),
        Second::Reg => Operand::Reg(Reg(raw.src)),
    }
}

impl<'a, T: Target> Walk<'a, T> {
    /// One turn for every instruction, which ends in the function of its row ([`crate::rows`]).
    fn run(&mut self) {
        let mut rest = self.raw.iter().zip(self.slots).enumerate();
        while let Some((slot, (raw, known))) = rest.next() {
            if !known.is_plain() {
                if known.flags() & (TARGET | FUNC) != 0 {
                    self.arrive(slot, known.flags());
                }
                self.t.buf().bind(Label(slot as u32));
                let used = self.first_of_several(slot, known);
                if used > 0 {
                    self.bind_all(slot + 1, slot + used);
                    if used > 1 {
                        rest.nth(used - 2);
                    }
                    continue;
                }
            } else {
                self.t.buf().bind(Label(slot as u32));
            }
            self.one(slot, raw, known);
        }
    }

    /// Enters a function that begins at a slot, and writes what may be one with what follows; gives the slots
    /// written, 0 where the instruction stands alone.
    #[inline(always)]
    fn first_of_several(&mut self, slot: usize, known: &Slot) -> usize {
        let flags = known.flags();
        if flags & FUNC != 0 {
            self.enter(slot, flags);
        }
        if flags & TAIL != 0 {
            // Written with the slot before.
            return 1;
        }
        if known.may_fuse() {
            return self.fuse(slot).unwrap_or(0);
        }
        0
    }

    fn bind_all(&mut self, from: usize, to: usize) {
        for slot in from..to {
            self.t.buf().bind(Label(slot as u32));
        }
    }

    /// Where control comes from elsewhere nothing is known.
    #[inline(always)]
    fn arrive(&mut self, slot: usize, flags: u8) {
        self.upper_zero = 0;
        self.r1_map = None;
        if flags & TARGET != 0 && flags & FUNC == 0 {
            let head = self.head(slot, flags);
            self.t.at_label(head);
        }
    }

    #[inline(never)]
    fn enter(&mut self, slot: usize, flags: u8) {
        let at = self.funcs.binary_search_by_key(&(slot as u32), |f| f.slot);
        if let Some(f) = at.ok().and_then(|at| self.funcs.get(at)) {
            self.f = *f;
        }
        self.t.prologue(&self.f);
        if self.f.counts {
            self.t.imm64(AX, self.context.wrapping_add(self.f.counter as u64));
            let at = Addr { base: AX, index: None, off: 0, space: Space::Plain };
            self.t.store(Size::Dw, at, Operand::Imm(abi::MAY_GOTO_BUDGET));
        }
        if flags & TARGET != 0 {
            let head = self.head(slot, flags);
            self.t.at_label(head);
            let first = self.first(slot);
            self.t.buf().bind(first);
        }
    }

    /// Writes one instruction.
    #[inline(always)]
    fn one(&mut self, slot: usize, raw: &RawInsn, known: &Slot) {
        self.t.buf().set_live(known.after());
        rows::writers()[known.row() as usize](self, slot, raw, known.after());
    }

    /// Writes an instruction of a form, which is a constant where this is called ([`crate::rows`]).
    #[inline(always)]
    pub(crate) fn write(&mut self, slot: usize, raw: &RawInsn, form: Form, after: Set) {
        match form {
            Form::Alu(op, width, s) => {
                let dst = Reg(raw.dst);
                if op == AluOp::Mul && s == Second::Imm {
                    self.multiplies(slot, dst);
                }
                self.alu(after, op, width, dst, dst, second(raw, s));
            }
            Form::Load(size, extend) => self.load(slot, raw, size, extend),
            Form::Store(size, s) => self.store(slot, raw, size, second(raw, s)),
            Form::CondJump(cond, width, s) => {
                self.cond_jump(slot, raw, cond, width, second(raw, s));
            }
            Form::LoadImm64(wide) => self.wide(slot, raw, wide),
            form => self.insn(slot, raw, form, after),
        }
    }

    /// Writes the slots from `from` to before `end`, which no label is bound to and no jump leads into.
    #[inline(never)]
    pub(crate) fn copy(&mut self, from: usize, end: usize) {
        let mut slot = from;
        while slot < end {
            let (Some(raw), Some(known)) = (self.raw.get(slot), self.slots.get(slot)) else {
                return;
            };
            let used = if known.may_fuse() { self.fuse(slot) } else { None };
            slot += used.unwrap_or_else(|| {
                self.one(slot, raw, known);
                1 + usize::from(matches!(Facts::of(known.row()).form, Form::LoadImm64(_)))
            });
        }
    }

    /// The instruction `n` slots on, if control comes there only through those between.
    #[inline]
    pub fn ahead(&self, slot: usize, n: usize) -> Option<One<'a>> {
        let at = slot + n;
        let (raw, known) = (self.raw.get(at)?, self.slots.get(at)?);
        if n > 0 && known.flags() & (TARGET | FUNC | TAIL) != 0 {
            return None;
        }
        Some(One { raw, facts: Facts::of(known.row()) })
    }

    /// Slots of the program.
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// Access of an instruction, as the verifier said.
    pub fn access(&self, slot: usize) -> Access {
        self.access.get(slot).copied().unwrap_or_default()
    }

    pub fn addr(&self, slot: usize, base: Reg, off: i16) -> Addr {
        let space = match self.access(slot) {
            Access::Arena => Space::Arena,
            Access::Plain | Access::Probe => Space::Plain,
        };
        Addr { base, index: None, off: off as i32, space }
    }

    /// Runs `emit`, noting that what it writes may fault if the slot is of that kind.
    pub fn faulting(&mut self, slot: usize, dst: Option<Reg>, emit: impl FnOnce(&mut T)) {
        if self.access(slot) == Access::Plain {
            return emit(&mut self.t);
        }
        let at = self.t.buf().mark();
        emit(&mut self.t);
        let resume = self.t.buf().mark();
        self.faults.push((at, resume, dst.map_or(u8::MAX, T::native)));
    }

    #[inline(always)]
    pub fn label(&self, slot: usize, off: i32) -> Label {
        // The survey has seen that the program has the slot.
        Label((slot as i64 + 1 + off as i64) as u32)
    }

    #[inline(always)]
    fn is_function(&self, at: Label) -> bool {
        self.slots.get(at.0 as usize).is_some_and(|s| s.flags() & FUNC != 0)
    }

    /// Where a jump goes: a function's prologue is for calls only.
    #[inline(always)]
    pub fn jump_label(&mut self, slot: usize, off: i32) -> Label {
        let to = self.label(slot, off);
        match self.is_function(to) {
            true => self.first(to.0 as usize),
            false => to,
        }
    }

    /// Behind the prologue of the function at this slot.
    #[inline(never)]
    fn first(&mut self, slot: usize) -> Label {
        let known = self.firsts.iter().find(|(s, _)| *s == slot);
        known.map(|(_, l)| *l).unwrap_or_else(|| {
            let label = self.t.buf().new_label();
            self.firsts.push((slot, label));
            label
        })
    }

    fn site(&mut self, kind: SiteKind) -> u32 {
        let site = Site { kind, in_entry: self.f.is_entry };
        // A program calls few different helpers.
        let known = self.sites.iter().position(|s| *s == site);
        let i = known.unwrap_or_else(|| {
            self.sites.push(site);
            self.sites.len() - 1
        });
        i as u32
    }

    #[inline]
    pub fn read_later(&self, slot: usize) -> Set {
        self.slots.get(slot).map_or(Set::MAX, Slot::after)
    }

    #[inline]
    pub fn set_live(&mut self, after: Set) {
        self.t.buf().set_live(after);
    }

    #[inline(always)]
    fn load(&mut self, slot: usize, raw: &RawInsn, size: Size, extend: Extend) {
        let (dst, src) = (Reg(raw.dst), Reg(raw.src));
        let sign_extend = extend == Extend::Sext;
        match self.access(slot) {
            Access::Plain => self.t.load(size, sign_extend, dst, Addr::plain(src, raw.off)),
            _ => self.load_faulting(slot, raw, size, sign_extend),
        }
        self.set_upper(dst, size != Size::Dw && !sign_extend);
    }

    #[inline(always)]
    fn store(&mut self, slot: usize, raw: &RawInsn, size: Size, value: Operand) {
        let dst = Reg(raw.dst);
        let value = self.blinded(Width::W64, value);
        match self.access(slot) {
            Access::Plain => self.t.store(size, Addr::plain(dst, raw.off), value),
            _ => self.store_faulting(slot, raw, size, value),
        }
    }

    #[inline(never)]
    fn load_faulting(&mut self, slot: usize, raw: &RawInsn, size: Size, sign_extend: bool) {
        let (dst, addr) = (Reg(raw.dst), self.addr(slot, Reg(raw.src), raw.off));
        self.faulting(slot, Some(dst), |t| t.load(size, sign_extend, dst, addr));
    }

    #[inline(never)]
    fn store_faulting(&mut self, slot: usize, raw: &RawInsn, size: Size, value: Operand) {
        let addr = self.addr(slot, Reg(raw.dst), raw.off);
        self.faulting(slot, None, |t| t.store(size, addr, value));
    }

    #[inline(always)]
    fn cond_jump(&mut self, slot: usize, raw: &RawInsn, cond: Cond, width: Width, b: Operand) {
        let to = self.label(slot, raw.off as i32);
        if self.is_blinding() || self.is_function(to) {
            return self.rare_jump(slot, raw, cond, width, b);
        }
        let dst = Reg(raw.dst);
        // Twice, so that the width is a constant in each.
        match self.compare_width(cond, width, dst, b) {
            (cond, Width::W32) => self.t.cond_jump(cond, Width::W32, dst, b, to),
            (cond, Width::W64) => self.t.cond_jump(cond, Width::W64, dst, b, to),
        }
    }

    /// A conditional jump to a function's first instruction, or with its constant blinded.
    #[inline(never)]
    fn rare_jump(&mut self, slot: usize, raw: &RawInsn, cond: Cond, width: Width, b: Operand) {
        let dst = Reg(raw.dst);
        let to = self.jump_label(slot, raw.off as i32);
        let (cond, width) = self.compare_width(cond, width, dst, b);
        let b = self.blinded(width, b);
        self.t.cond_jump(cond, width, dst, b, to);
    }

    /// Writes one of the less frequent instructions.
    #[inline(never)]
    fn insn(&mut self, slot: usize, raw: &RawInsn, form: Form, after: Set) {
        let (dst, src) = (Reg(raw.dst), Reg(raw.src));
        let (off, imm) = (raw.off, raw.imm);
        match form {
            Form::MovSx(width, from) => {
                self.t.movsx(width, from, dst, src);
                self.set_upper(dst, width == Width::W32);
            }
            Form::Neg(width) => {
                let width = if after & both(dst.0) & !LOW == 0 { Width::W32 } else { width };
                self.t.neg(width, dst, dst);
                self.set_upper(dst, width == Width::W32);
            }
            Form::Swap(kind, bits) => self.swap(kind, bits, dst),
            Form::Atomic(op, size, fetch) => {
                let fetch = fetch == Fetch::Fetch;
                let addr = self.addr(slot, dst, off);
                self.faulting(slot, None, |t| t.atomic(op, fetch, size, addr, src));
                if fetch {
                    let to = if op == AtomicOp::Cmpxchg { Reg::R0 } else { src };
                    self.set_upper(to, size == Size::W);
                }
            }
            Form::LoadAcquire(size) => {
                let addr = self.addr(slot, src, off);
                // As in the kernel, whose fault handling clears the register of a plain load only.
                self.faulting(slot, None, |t| t.load_acquire(size, dst, addr));
                self.set_upper(dst, size != Size::Dw);
            }
            Form::StoreRelease(size) => {
                let addr = self.addr(slot, dst, off);
                self.faulting(slot, None, |t| t.store_release(size, addr, src));
            }
            Form::AddrSpaceCast => {
                // 1 << 16 makes a pointer for user space; 1 makes one for the program.
                let to_user = imm == 1 << 16;
                self.t.addr_space_cast(dst, src, to_user);
                self.set_upper(dst, !to_user);
            }
            Form::Jump(reach) => {
                let off = if reach == Reach::Long { imm } else { off as i32 };
                if off != 0 && !self.copy_latch(slot, off) {
                    let to = self.jump_label(slot, off);
                    self.t.jump(to);
                }
            }
            Form::MayGoto => {
                let to = self.jump_label(slot, off as i32);
                self.t.may_goto(self.f.counter, to);
            }
            Form::LoadPacket(size, mode) => {
                let index = (mode == Packet::Ind).then_some(src);
                let (index, imm) = self.packet_offset(index, imm);
                let site = self.site(SiteKind::PacketLoad);
                self.t.load_packet(&self.f, size, index, imm, site);
                self.called();
            }
            Form::Call(Callee::Subprog) => {
                self.t.call_function(self.label(slot, imm));
                self.called();
            }
            Form::Call(Callee::Helper) => self.call(slot, CallTarget::Helper(imm)),
            Form::Call(Callee::Kfunc) => {
                self.call(slot, CallTarget::Kfunc { btf_id: imm, fd_idx: off });
            }
            Form::CallReg => {
                let site = self.site(SiteKind::CallReg);
                self.t.call_reg(dst, site);
                self.called();
            }
            // The survey refuses it.
            Form::JumpReg => {}
            Form::Exit => self.t.exit(&self.f),
            // The others have functions of their own.
            Form::Alu(..) | Form::Load(..) | Form::Store(..) => {}
            Form::CondJump(..) | Form::LoadImm64(_) => {}
        }
    }

    fn wide(&mut self, slot: usize, raw: &RawInsn, wide: Wide) {
        let at = slot as u32;
        let next = self.raw.get(slot + 1).copied();
        // The survey has decoded it once.
        let Ok(Insn::LoadImm64 { dst, value }) =
            decode::decode_as(Form::LoadImm64(wide), *raw, next)
        else {
            return;
        };
        let v = match value {
            Imm64::Const(v) => v,
            Imm64::Func(off) => {
                self.t.function_address(dst, self.label(slot, off));
                self.set_upper(dst, false);
                return;
            }
            other => match self.resolve.wide(at, other) {
                Ok(v) => v,
                Err(why) => {
                    self.wrong.get_or_insert(JitError::Wide { slot: at, why });
                    return;
                }
            },
        };
        // Addresses too: the program chooses offsets in a map's value.
        match self.blinding().zip(self.blinding()) {
            Some((high, low)) => {
                let n = (high as u32 as u64) << 32 | low as u32 as u64;
                self.t.imm64(AX, n);
                self.t.imm64(dst, v ^ n);
                self.t.alu(AluOp::Xor, Width::W64, dst, dst, Operand::Reg(AX));
            }
            None => self.t.imm64(dst, v),
        }
        self.set_upper(dst, v >> 32 == 0);
        if dst == Reg::R1 && !matches!(value, Imm64::Const(_)) {
            self.r1_map = Some(value);
        }
    }

    /// After a call r0 to r5 hold nothing known.
    fn called(&mut self) {
        self.upper_zero &= !CALLER_SAVED;
        self.r1_map = None;
    }

    fn call(&mut self, slot: usize, target: CallTarget) {
        match self.resolve.call(slot as u32, target, self.r1_map) {
            // Size and number of elements are the program's to choose.
            CallPlan::Array(plan) if !self.is_blinding() => self.t.array_lookup(&plan),
            CallPlan::Hash(plan) if !self.is_blinding() && self.t.try_hash_lookup(&plan) => {}
            CallPlan::Host | CallPlan::Array(_) | CallPlan::Hash(_) => {
                let site = self.site(SiteKind::Call(target));
                self.t.call_host(site);
            }
            CallPlan::TailCall => {
                let site = self.site(SiteKind::TailCall);
                self.t.tail_call(&self.f, site);
            }
        }
        self.called();
    }
}
