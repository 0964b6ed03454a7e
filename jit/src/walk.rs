//! The walk over the instructions, calling the backend.

use bpfassay_isa::{
    semantics, AluOp, CallTarget, Imm64, Insn, Operand, Reg, Size, SwapKind, Width,
};

use crate::buf::{CodeBuf, Label, Mark};
use crate::flow::{both, flow, low_by_low, Flow, Set, LOW};
use crate::scan::{scan, target, Scan, FUNC, LOOP, TAIL, TARGET};
use crate::source::{
    Access, CallPlan, Compiled, FaultRow, Func, JitError, Options, Resolve, Site, SiteKind, Source,
};
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
    let scan = scan(source.insns, source.functions)?;
    let Flow { after, mut funcs } = flow(&scan);
    for f in &mut funcs {
        let known = |rows: &[(u32, u32)]| rows.iter().find(|r| r.0 == f.slot).map(|r| r.1);
        f.stack = if f.uses_fp { known(source.stacks).unwrap_or(STACK) } else { 0 };
        f.stack = f.stack.next_multiple_of(8);
        f.private_stack = source.private_stacks.iter().find(|r| r.0 == f.slot).map(|r| r.1);
    }
    let len = scan.insns.len();
    let buf = CodeBuf::new(len, len * BYTES_PER_SLOT + 1024);
    let mut walk = Walk {
        t: make(buf),
        scan: &scan,
        after: &after,
        funcs: &funcs,
        access: source.access,
        resolve,
        f: FuncFacts::default(),
        upper_zero: 0,
        r1_map: None,
        sites: Vec::new(),
        faults: Vec::new(),
        blind: options.blind.map(|s| s | 1),
    };
    let main = walk.t.buf().new_label();
    let [entry, unwind, keeping, end] = [(); 4].map(|()| walk.t.buf().new_label());
    walk.t.stubs(entry, unwind, keeping, main);
    walk.t.buf().align(16);
    let body = walk.t.buf().mark();
    walk.t.buf().bind(main);
    walk.run()?;
    walk.t.unreachable();
    walk.t.buf().bind(end);
    walk.t.finish();
    let Walk { mut t, sites, faults, .. } = walk;
    let buf = std::mem::take(t.buf());
    let placed = buf.finish::<T>().map_err(|_| JitError::TooLarge)?;
    let at = |l: Label| placed.label(l).ok_or(JitError::TooLarge);
    let mut offsets = placed.first(len).ok_or(JitError::TooLarge)?;
    let body_end = at(end)?;
    offsets.push(body_end);
    let func = |f: &FuncFacts| Some(Func { slot: f.slot, start: *offsets.get(f.slot as usize)? });
    let fault = |f: &(Mark, Mark, u8)| {
        Some(FaultRow { at: placed.mark(f.0)?, resume: placed.mark(f.1)?, reg: f.2 })
    };
    let compiled = Compiled {
        entry: at(entry)?,
        unwind: at(unwind)?,
        main: at(main)?,
        keeping_entry: at(keeping)?,
        body: placed.mark(body).ok_or(JitError::TooLarge)?,
        body_end,
        funcs: funcs.iter().filter_map(func).collect(),
        sites,
        faults: faults.iter().filter_map(fault).collect(),
        offsets,
        code: placed.code,
    };
    Ok((compiled, t))
}

pub(crate) struct Walk<'a, T> {
    pub t: T,
    pub scan: &'a Scan,
    pub after: &'a [Set],
    funcs: &'a [FuncFacts],
    access: &'a [Access],
    resolve: &'a mut dyn Resolve,
    f: FuncFacts,
    /// Registers whose upper half is known to be zero.
    pub upper_zero: u16,
    /// The map whose address is in r1.
    r1_map: Option<Imm64>,
    sites: Vec<Site>,
    faults: Vec<(Mark, Mark, u8)>,
    /// State of the generator of blinding numbers.
    blind: Option<u64>,
}

impl<T: Target> Walk<'_, T> {
    fn run(&mut self) -> Result<(), JitError> {
        let len = self.scan.insns.len();
        let mut next_func = 0;
        let mut slot = 0;
        while slot < len {
            let flags = self.scan.flags.get(slot).copied().unwrap_or(0);
            if flags & (TARGET | FUNC) != 0 {
                self.upper_zero = 0;
                self.r1_map = None;
                if flags & TARGET != 0 {
                    self.t.at_label(flags & LOOP != 0);
                }
            }
            self.t.buf().bind(Label(slot as u32));
            if flags & FUNC != 0 {
                if let Some(f) = self.funcs.get(next_func) {
                    self.f = *f;
                }
                next_func += 1;
                let f = self.f;
                self.t.prologue(&f);
            }
            let used = self.insn(slot)?;
            for s in slot + 1..slot + used {
                self.t.buf().bind(Label(s as u32));
            }
            slot += used;
        }
        Ok(())
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

    fn label(&self, slot: usize, off: i32) -> Result<Label, JitError> {
        let to = target(slot, off, self.scan.insns.len());
        to.map(|t| Label(t as u32)).ok_or(JitError::Target { slot: slot as u32 })
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

    /// True when the slot is reached only from the one before it.
    pub fn falls_in(&self, slot: usize) -> bool {
        self.scan.flags.get(slot).is_some_and(|f| f & (TARGET | FUNC | TAIL) == 0)
    }

    #[inline]
    pub fn read_later(&self, slot: usize) -> Set {
        self.after.get(slot).copied().unwrap_or(Set::MAX)
    }

    pub fn set_upper(&mut self, r: Reg, zero: bool) {
        if r == Reg::R1 {
            self.r1_map = None;
        }
        let bit = 1u16 << (r.0 & 15);
        self.upper_zero = if zero { self.upper_zero | bit } else { self.upper_zero & !bit };
    }

    #[inline]
    pub fn is_upper_zero(&self, o: Operand) -> bool {
        match o {
            Operand::Reg(r) => self.upper_zero >> (r.0 & 15) & 1 == 1,
            Operand::Imm(v) => v >= 0,
        }
    }

    /// The next blinding number; None where nothing is blinded.
    fn blinding(&mut self) -> Option<i32> {
        let s = self.blind.as_mut()?;
        *s ^= *s << 13;
        *s ^= *s >> 7;
        *s ^= *s << 17;
        Some((*s >> 16) as i32)
    }

    /// An immediate that must not appear in the code as it is.
    fn blinded(&mut self, width: Width, o: Operand) -> Operand {
        let Operand::Imm(v) = o else { return o };
        let Some(n) = self.blinding() else { return o };
        self.t.alu(AluOp::Mov, width, AX, AX, Operand::Imm(v ^ n));
        self.t.alu(AluOp::Xor, width, AX, AX, Operand::Imm(n));
        Operand::Reg(AX)
    }

    /// Writes one instruction, or several that belong together; gives the slots used.
    fn insn(&mut self, slot: usize) -> Result<usize, JitError> {
        let Some(insn) = self.scan.insns.get(slot) else { return Ok(1) };
        if self.blind.is_none() {
            if let Some(used) = self.fuse(slot, *insn) {
                return Ok(used);
            }
        }
        let after = self.read_later(slot);
        self.t.buf().live = (after | after >> 16) as u16;
        match *insn {
            Insn::Alu { op, width, dst, src } => self.alu(slot, op, width, dst, dst, src),
            Insn::MovSx { width, from, dst, src } => {
                self.t.movsx(width, from, dst, src);
                self.set_upper(dst, width == Width::W32);
            }
            Insn::Neg { width, dst } => {
                let width = if after & both(dst) & !LOW == 0 { Width::W32 } else { width };
                self.t.neg(width, dst, dst);
                self.set_upper(dst, width == Width::W32);
            }
            Insn::Swap { kind, bits, dst } => self.swap(kind, bits, dst),
            Insn::LoadImm64 { dst, value } => self.wide(slot, dst, value)?,
            Insn::Load { size, sign_extend, dst, src, off } => {
                let addr = self.addr(slot, src, off);
                self.faulting(slot, Some(dst), |t| t.load(size, sign_extend, dst, addr));
                self.set_upper(dst, size != Size::Dw && !sign_extend);
            }
            Insn::Store { size, dst, off, src } => {
                let src = self.blinded(Width::W64, src);
                let addr = self.addr(slot, dst, off);
                self.faulting(slot, None, |t| t.store(size, addr, src));
            }
            Insn::Atomic { op, fetch, size, dst, src, off } => {
                let addr = self.addr(slot, dst, off);
                self.faulting(slot, None, |t| t.atomic(op, fetch, size, addr, src));
                if fetch {
                    let to = if op == bpfassay_isa::AtomicOp::Cmpxchg { Reg::R0 } else { src };
                    self.set_upper(to, size == Size::W);
                }
            }
            Insn::LoadAcquire { size, dst, src, off } => {
                let addr = self.addr(slot, src, off);
                self.faulting(slot, Some(dst), |t| t.load_acquire(size, dst, addr));
                self.set_upper(dst, size != Size::Dw);
            }
            Insn::StoreRelease { size, dst, src, off } => {
                let addr = self.addr(slot, dst, off);
                self.faulting(slot, None, |t| t.store_release(size, addr, src));
            }
            Insn::AddrSpaceCast { dst, src, imm } => {
                // 1 << 16 makes a pointer for user space; 1 makes one for the program.
                let to_user = imm == 1 << 16;
                self.t.addr_space_cast(dst, src, to_user);
                self.set_upper(dst, !to_user);
            }
            Insn::Jump { off, .. } => {
                let to = self.label(slot, off)?;
                if off != 0 {
                    self.t.jump(to);
                }
            }
            Insn::CondJump { cond, width, dst, src, off } => {
                let to = self.label(slot, off as i32)?;
                let (cond, width) = self.compare_width(cond, width, dst, src);
                let src = self.blinded(width, src);
                self.t.cond_jump(cond, width, dst, src, to);
            }
            Insn::MayGoto { off } => {
                let to = self.label(slot, off as i32)?;
                self.t.may_goto(to);
            }
            Insn::LoadPacket { size, index, imm } => {
                let (f, site) = (self.f, self.site(SiteKind::PacketLoad));
                self.t.load_packet(&f, size, index, imm, site);
                self.called();
            }
            Insn::Call { target } => self.call(slot, target)?,
            Insn::CallReg { target } => {
                let site = self.site(SiteKind::CallReg);
                self.t.call_reg(target, site);
                self.called();
            }
            Insn::Exit => {
                let f = self.f;
                self.t.exit(&f);
            }
        }
        Ok(insn.slots())
    }

    fn swap(&mut self, kind: SwapKind, bits: u8, dst: Reg) {
        match (kind, bits) {
            (SwapKind::ToLe, 64) => {}
            (SwapKind::ToLe, 32) if self.is_upper_zero(Operand::Reg(dst)) => {}
            (SwapKind::ToLe, 32) => {
                self.t.alu(AluOp::Mov, Width::W32, dst, dst, Operand::Reg(dst));
                self.set_upper(dst, true);
            }
            _ => {
                self.t.swap(kind, bits, dst);
                self.set_upper(dst, bits != 64);
            }
        }
    }

    /// `dst = a op b`, as narrow as what is read of it allows.
    pub fn alu(&mut self, slot: usize, op: AluOp, width: Width, dst: Reg, a: Reg, b: Operand) {
        use AluOp::*;
        let after = self.read_later(slot);
        if after & both(dst) == 0 {
            return;
        }
        let mut w = width;
        if w == Width::W64 {
            let upper_unread = after & both(dst) & !LOW == 0;
            let (a0, b0) = (self.is_upper_zero(Operand::Reg(a)), self.is_upper_zero(b));
            let same = match op {
                Mov => b0,
                And => a0 || b0,
                Or | Xor | Div | Mod => a0 && b0,
                Rsh => a0 && matches!(b, Operand::Imm(n) if n & 63 < 32),
                _ => false,
            };
            if same || (upper_unread && low_by_low(op, b)) {
                w = Width::W32;
            }
        }
        let cut = w == Width::W32
            || (op == And && self.is_upper_zero(b))
            || (op == Rsh && matches!(b, Operand::Imm(n) if n & 63 >= 32));
        let nothing = match (op, b) {
            (Mov, Operand::Reg(r)) if r == dst => {
                w == Width::W64
                    || width == Width::W64
                    || self.is_upper_zero(b)
                    || after & both(dst) & !LOW == 0
            }
            _ => false,
        };
        if !nothing {
            let b = self.blinded(w, b);
            self.t.alu(op, w, dst, a, b);
        }
        let zero = if nothing { self.is_upper_zero(Operand::Reg(dst)) } else { cut };
        self.set_upper(dst, zero);
    }

    /// Compares 32 bits where 64 would give the same.
    pub fn compare_width(
        &self,
        cond: bpfassay_isa::Cond,
        width: Width,
        a: Reg,
        b: Operand,
    ) -> (bpfassay_isa::Cond, Width) {
        use bpfassay_isa::Cond::*;
        if width == Width::W32 || !self.is_upper_zero(Operand::Reg(a)) || !self.is_upper_zero(b) {
            return (cond, width);
        }
        let unsigned = match cond {
            Sgt => Gt,
            Sge => Ge,
            Slt => Lt,
            Sle => Le,
            same => same,
        };
        (unsigned, Width::W32)
    }

    fn wide(&mut self, slot: usize, dst: Reg, value: Imm64) -> Result<(), JitError> {
        let at = slot as u32;
        let v = match value {
            Imm64::Const(v) => v,
            Imm64::Func(off) => {
                let to = self.label(slot, off)?;
                self.t.function_address(dst, to);
                self.set_upper(dst, false);
                return Ok(());
            }
            other => {
                self.resolve.wide(at, other).map_err(|why| JitError::Wide { slot: at, why })?
            }
        };
        match (value, self.blinding()) {
            (Imm64::Const(_), Some(n)) => {
                let n = semantics::imm(n);
                self.t.imm64(AX, n.rotate_left(32) ^ n);
                self.t.imm64(dst, v ^ n.rotate_left(32) ^ n);
                self.t.alu(AluOp::Xor, Width::W64, dst, dst, Operand::Reg(AX));
            }
            _ => self.t.imm64(dst, v),
        }
        self.set_upper(dst, v >> 32 == 0);
        if dst == Reg::R1 && !matches!(value, Imm64::Const(_)) {
            self.r1_map = Some(value);
        }
        Ok(())
    }

    /// After a call r0 to r5 hold nothing known.
    fn called(&mut self) {
        self.upper_zero &= !0x3f;
        self.r1_map = None;
    }

    fn call(&mut self, slot: usize, target: CallTarget) -> Result<(), JitError> {
        if let CallTarget::Subprog(off) = target {
            let to = self.label(slot, off)?;
            self.t.call_function(to);
        } else {
            match self.resolve.call(slot as u32, target, self.r1_map) {
                CallPlan::Host => {
                    let site = self.site(SiteKind::Call(target));
                    self.t.call_host(site);
                }
                CallPlan::TailCall => {
                    let (f, site) = (self.f, self.site(SiteKind::TailCall));
                    self.t.tail_call(&f, site);
                }
                CallPlan::Array(plan) => self.t.array_lookup(&plan),
            }
        }
        self.called();
        Ok(())
    }
}
