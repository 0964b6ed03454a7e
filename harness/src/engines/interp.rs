//! The reference interpreter: every access checked, every trap typed.
//!
//! It runs decoded instructions through `isa::semantics` and shares no lowering with
//! the JITs, because it is what they are tested against.  Memory, maps and
//! helpers are the runtime's; this file knows registers, frames and the order
//! of instructions.  Mirrors `___bpf_prog_run` (kernel/bpf/core.c) and the
//! limits of `bpf_tail_call` and BPF-to-BPF calls.
#![allow(unsafe_code)]

mod access;

use access::{arena_access, atomic};

use std::sync::Arc;

use bpfassay_isa::semantics;
use bpfassay_isa::{CallTarget, Imm64, Insn, Operand, Reg, Size};
use bpfassay_jit::Access;

use super::code::{Code, Slot};
use super::ops::run_hot;
use super::unchecked::Lowered;
use crate::engine::{Trap, TrapKind};
use crate::runtime::helpers::{Call, Helper};
use crate::runtime::memory::FaultKind;
use crate::runtime::{Callbacks, Runtime, Stop};

/// `MAX_CALL_FRAMES`.
pub const MAX_FRAMES: usize = 8;
/// `MAX_TAIL_CALL_CNT`.
const MAX_TAIL_CALLS: u32 = 33;
/// `BPF_MAX_LOOPS`, the budget of `may_goto`.
const MAY_GOTO_BUDGET: u32 = 8 * 1024 * 1024;

/// Register file; sixteen entries so that a four-bit field needs no check.
pub(super) type Regs = [u64; 16];

#[inline]
fn at(r: Reg) -> usize {
    (r.0 & 15) as usize
}

/// Sees every instruction before it runs.
pub trait Tracer {
    const ENABLED: bool;
    fn step(&mut self, frame: usize, insn_idx: usize, insn: &Insn, regs: &[u64]);
}

/// Sees nothing.
pub struct NoTrace;

impl Tracer for NoTrace {
    const ENABLED: bool = false;
    fn step(&mut self, _frame: usize, _insn_idx: usize, _insn: &Insn, _regs: &[u64]) {}
}

/// Registers kept for a caller (r6 to r9) and where it goes on.
struct Frame {
    /// Index in the thread's programs.
    code: usize,
    pc: usize,
    saved: [u64; 4],
    fp: u64,
}

/// Where a frame goes on.
pub(super) struct Return {
    pub pc: usize,
    /// The program it belongs to, if not the one that was running.
    pub other_code: Option<usize>,
}

/// A program of a thread.
struct Loaded {
    code: Arc<Code>,
    /// Its form for the unchecked interpreter, made when it is first needed.
    lowered: Option<Arc<Lowered>>,
}

/// One run, or several after one another.
pub struct Thread<'t, T> {
    /// What was started and what tail calls went to.
    codes: Vec<Loaded>,
    /// The one that is running.
    current: usize,
    frames: Vec<Frame>,
    tail_calls: u32,
    fuel: u64,
    executed: u64,
    pc: usize,
    is_unchecked: bool,
    tracer: &'t mut T,
}

pub(super) enum Flow {
    Next,
    Goto(usize),
    /// The value of r0 at the last frame's exit.
    Done(u64),
}

impl<'t, T: Tracer> Thread<'t, T> {
    pub fn new(code: Arc<Code>, fuel: u64, tracer: &'t mut T) -> Thread<'t, T> {
        Thread {
            codes: vec![Loaded { code, lowered: None }],
            current: 0,
            frames: Vec::with_capacity(MAX_FRAMES),
            tail_calls: 0,
            fuel,
            executed: 0,
            pc: 0,
            is_unchecked: false,
            tracer,
        }
    }

    /// A thread that looks at no access.
    ///
    /// # Safety
    /// The verifier has accepted the program and all it may tail call, or this process exists
    /// to run it; the memory of every runtime it is run with is native.
    pub unsafe fn unchecked(code: Arc<Code>, fuel: u64, tracer: &'t mut T) -> Thread<'t, T> {
        Thread { is_unchecked: true, ..Thread::new(code, fuel, tracer) }
    }

    /// Instructions run so far; jumps and calls where nothing is checked.
    pub fn executed(&self) -> u64 {
        self.executed
    }

    /// Runs from the first instruction with these arguments in r1 and r2; gives r0.
    pub fn run(&mut self, rt: &mut Runtime, args: [u64; 2]) -> Result<u64, Trap> {
        (self.current, self.pc, self.tail_calls, self.executed) = (0, 0, 0, 0);
        self.frames.clear();
        let result = self.frame_pointer(rt).and_then(|fp| {
            let mut regs: Regs = [0; 16];
            [regs[1], regs[2]] = args;
            regs[10] = fp;
            self.go(rt, &mut regs, 0)
        });
        match result {
            Ok(r0) | Err(Stop::Exit(r0)) => Ok(r0),
            Err(Stop::Trap(kind)) => Err(Trap { kind, insn_idx: self.pc }),
            Err(Stop::Throw(cookie)) => self.catch(rt, cookie),
            Err(Stop::TailCall(_)) => {
                Err(Trap { kind: TrapKind::Unsupported("tail call here"), insn_idx: self.pc })
            }
        }
    }

    /// Runs so many times, each on stacks as new, until one traps; gives r0 of the last.
    pub fn run_repeatedly(
        &mut self,
        rt: &mut Runtime,
        args: [u64; 2],
        repeat: u32,
    ) -> Result<u64, Trap> {
        let mut r0 = 0;
        for _ in 0..repeat {
            rt.start_run();
            r0 = self.run(rt, args)?;
        }
        Ok(r0)
    }

    /// Goes on in the exception callback, all frames left; without one the cookie is the result.
    fn catch(&mut self, rt: &mut Runtime, cookie: u64) -> Result<u64, Trap> {
        self.frames.clear();
        self.current = 0;
        let Some(slot) = rt.exception_callback else { return Ok(cookie) };
        let result = self.frame_pointer(rt).and_then(|fp| {
            let mut regs: Regs = [0; 16];
            (regs[1], regs[10]) = (cookie, fp);
            self.go(rt, &mut regs, slot as usize)
        });
        match result {
            Ok(r0) => Ok(r0),
            Err(Stop::Trap(kind)) => Err(Trap { kind, insn_idx: self.pc }),
            Err(_) => {
                let kind = TrapKind::Unsupported("leaving an exception callback this way");
                Err(Trap { kind, insn_idx: self.pc })
            }
        }
    }

    /// A program that was tail-called from a subprogram may be as deep as its caller was allowed to be.
    fn max_frames(&self) -> usize {
        MAX_FRAMES * (1 + self.tail_calls as usize)
    }

    fn code(&self) -> &Arc<Code> {
        &self.codes[self.current].code
    }

    /// The running program's operations.
    pub(super) fn lowered(&mut self, rt: &Runtime) -> Arc<Lowered> {
        let Loaded { code, lowered } = &mut self.codes[self.current];
        lowered.get_or_insert_with(|| Lowered::new(code, rt)).clone()
    }

    pub(super) fn switch(&mut self, code: usize) {
        self.current = code;
    }

    pub(super) fn depth(&self) -> usize {
        self.frames.len()
    }

    #[inline]
    pub(super) fn fuel_left(&self) -> u64 {
        self.fuel.saturating_sub(self.executed)
    }

    /// Notes where the loop stands before it leaves its own hands.
    #[inline]
    pub(super) fn stop_at(&mut self, pc: usize, left: u64) {
        self.pc = pc;
        self.executed = self.fuel - left;
    }

    fn frame_pointer(&self, rt: &mut Runtime) -> Result<u64, Stop> {
        rt.stack_top(self.frames.len())
    }

    /// Runs until the frame below which there are `base` frames exits.
    fn go(&mut self, rt: &mut Runtime, regs: &mut Regs, start: usize) -> Result<u64, Stop> {
        if self.is_unchecked && !T::ENABLED {
            // SAFETY: the promise of `Thread::unchecked`.
            return unsafe { self.go_unchecked(rt, regs, start) };
        }
        let base = self.frames.len();
        let mut running = self.current;
        let mut code = self.code().clone();
        let mut pc = start;
        let mut left = self.fuel_left();
        loop {
            let Some(hot) = code.hot().get(pc).copied() else {
                self.pc = pc;
                return Err(Stop::Trap(TrapKind::OutOfProgram));
            };
            if left == 0 {
                self.pc = pc;
                self.executed = self.fuel;
                return Err(Stop::Trap(TrapKind::OutOfFuel));
            }
            left -= 1;
            if T::ENABLED {
                if let Some(Slot::Insn(insn)) = code.slot(pc) {
                    self.tracer.step(self.frames.len(), pc, insn, &regs[..11]);
                }
            }
            run_hot!(
                hot,
                regs,
                pc,
                rt.mem,
                |fault| {
                    self.pc = pc;
                    self.executed = self.fuel - left;
                    return Err(fault.into());
                },
                {
                    self.pc = pc;
                    self.executed = self.fuel - left;
                    let insn = match code.slot(pc) {
                        Some(Slot::Insn(insn)) => *insn,
                        Some(Slot::Invalid(why)) => {
                            return Err(Stop::Trap(TrapKind::InvalidInsn(why.clone())))
                        }
                        None => return Err(Stop::Trap(TrapKind::OutOfProgram)),
                    };
                    match self.step(rt, regs, pc, insn, base)? {
                        Flow::Next => pc += insn.slots(),
                        Flow::Goto(to) => {
                            pc = to;
                            if running != self.current {
                                running = self.current;
                                code = self.code().clone();
                            }
                        }
                        Flow::Done(r0) => return Ok(r0),
                    }
                    // A callback may have run meanwhile.
                    left = self.fuel_left();
                }
            );
        }
    }

    #[inline]
    fn step(
        &mut self,
        rt: &mut Runtime,
        regs: &mut Regs,
        pc: usize,
        insn: Insn,
        base: usize,
    ) -> Result<Flow, Stop> {
        if self.is_unchecked && self.code().access(pc) == Access::Arena {
            // Its 32-bit addresses are none of this process.
            return arena_access(rt, regs, insn).map(|()| Flow::Next);
        }
        match insn {
            Insn::Alu { op, width, dst, src } => {
                let b = operand(regs, src);
                regs[at(dst)] = semantics::alu(op, width, regs[at(dst)], b);
            }
            Insn::CondJump { cond, width, dst, src, off } => {
                if semantics::cond(cond, width, regs[at(dst)], operand(regs, src)) {
                    return target(pc, off as i32);
                }
            }
            Insn::Load { size, sign_extend, dst, src, off } => {
                let v = self.load(rt, pc, offset(regs[at(src)], off), size)?;
                regs[at(dst)] = if sign_extend { semantics::sign_extend(size, v) } else { v };
            }
            Insn::Store { size, dst, off, src } => {
                rt.mem.store(offset(regs[at(dst)], off), size, operand(regs, src))?;
            }
            Insn::LoadImm64 { dst, value } => regs[at(dst)] = wide(rt, pc, value)?,
            Insn::Jump { off, .. } => return target(pc, off),
            Insn::MovSx { width, from, dst, src } => {
                regs[at(dst)] = semantics::movsx(width, from, regs[at(src)]);
            }
            Insn::Neg { width, dst } => regs[at(dst)] = semantics::neg(width, regs[at(dst)]),
            Insn::Swap { kind, bits, dst } => {
                regs[at(dst)] = semantics::swap(kind, bits, regs[at(dst)]);
            }
            Insn::Atomic { op, fetch, size, dst, src, off } => {
                atomic(rt, regs, op, fetch, size, offset(regs[at(dst)], off), src)?;
            }
            Insn::LoadAcquire { size, dst, src, off } => {
                let addr = offset(regs[at(src)], off);
                if !rt.mem.misses_arena(addr, size) {
                    regs[at(dst)] = rt.mem.load(addr, size)?;
                }
            }
            Insn::StoreRelease { size, dst, src, off } => {
                rt.mem.store(offset(regs[at(dst)], off), size, regs[at(src)])?;
            }
            Insn::MayGoto { off } => {
                if !rt.may_go_on(self.frames.len(), MAY_GOTO_BUDGET) {
                    return target(pc, off as i32);
                }
            }
            Insn::LoadPacket { size, index, imm } => {
                let index = index.map_or(0, |r| regs[at(r)] as u32 as i32);
                match rt.load_packet(size, imm.wrapping_add(index))? {
                    Some(v) => regs[0] = v,
                    // A packet that is too short ends the program, whatever the frame.
                    None => return self.leave(regs, 0, base),
                }
            }
            Insn::AddrSpaceCast { dst, src, imm } => {
                regs[at(dst)] = rt.cast_address(regs[at(src)], imm)?;
            }
            Insn::Call { target: CallTarget::Subprog(off) } => {
                return self.enter(rt, regs, pc, off)
            }
            Insn::Call { target: CallTarget::Helper(id) } => {
                return self.helper(rt, regs, id as i64);
            }
            Insn::CallReg { target } => return self.helper(rt, regs, regs[at(target)] as i64),
            Insn::Call { target: CallTarget::Kfunc { btf_id, fd_idx } } => {
                let args = [regs[1], regs[2], regs[3], regs[4], regs[5]];
                regs[0] = rt.call_kfunc(fd_idx, btf_id, args, self)?;
            }
            Insn::JumpReg { .. } => {
                return Err(Stop::Trap(TrapKind::Unsupported("indirect jumps")));
            }
            Insn::Exit => return self.leave(regs, regs[0], base),
        }
        Ok(Flow::Next)
    }

    /// The rare instruction in a slot, for a loop that has its own forms of the others.
    pub(super) fn step_at(
        &mut self,
        rt: &mut Runtime,
        regs: &mut Regs,
        pc: usize,
        base: usize,
    ) -> Result<Flow, Stop> {
        let insn = match self.code().slot(pc) {
            Some(Slot::Insn(insn)) => *insn,
            Some(Slot::Invalid(why)) => {
                return Err(Stop::Trap(TrapKind::InvalidInsn(why.clone())));
            }
            None => return Err(Stop::Trap(TrapKind::OutOfProgram)),
        };
        match self.step(rt, regs, pc, insn, base)? {
            Flow::Next => Ok(Flow::Goto(pc + insn.slots())),
            flow => Ok(flow),
        }
    }

    /// A load as the verifier has marked it: kernel memory that may be gone reads as zero.
    fn load(&self, rt: &Runtime, pc: usize, addr: u64, size: Size) -> Result<u64, Stop> {
        match self.code().access(pc) {
            Access::Plain | Access::Arena => Ok(rt.mem.load(addr, size)?),
            Access::Probe if !self.is_unchecked => match rt.mem.load(addr, size) {
                Err(f) if !matches!(f.why, FaultKind::Unknown { .. }) => Ok(0),
                loaded => Ok(loaded?),
            },
            Access::Probe => {
                let bytes = rt.mem.probe(addr, size.bytes()).unwrap_or(&[]);
                Ok(bytes.iter().rev().fold(0, |v, b| v << 8 | *b as u64))
            }
        }
    }

    fn enter(
        &mut self,
        rt: &mut Runtime,
        regs: &mut Regs,
        pc: usize,
        off: i32,
    ) -> Result<Flow, Stop> {
        self.pc = pc;
        self.push_frame(rt, regs)?;
        target(pc, off)
    }

    /// A new frame, which comes back behind the instruction at `self.pc`.
    #[inline]
    pub(super) fn push_frame(&mut self, rt: &mut Runtime, regs: &mut Regs) -> Result<(), Stop> {
        if self.frames.len() + 1 >= self.max_frames() {
            return Err(Stop::Trap(TrapKind::TooManyFrames));
        }
        let saved = [regs[6], regs[7], regs[8], regs[9]];
        let frame = Frame { code: self.current, pc: self.pc + 1, saved, fp: regs[10] };
        self.frames.push(frame);
        regs[10] = self.frame_pointer(rt)?;
        Ok(())
    }

    /// Takes the last frame away; r0 is the caller's business.
    #[inline]
    pub(super) fn pop_frame(&mut self, regs: &mut Regs) -> Option<Return> {
        let frame = self.frames.pop()?;
        [regs[6], regs[7], regs[8], regs[9]] = frame.saved;
        regs[10] = frame.fp;
        let other_code = (frame.code != self.current).then_some(frame.code);
        Some(Return { pc: frame.pc, other_code })
    }

    fn leave(&mut self, regs: &mut Regs, r0: u64, base: usize) -> Result<Flow, Stop> {
        if self.frames.len() <= base {
            return Ok(Flow::Done(r0));
        }
        let Some(to) = self.pop_frame(regs) else { return Ok(Flow::Done(r0)) };
        regs[0] = r0;
        self.current = to.other_code.unwrap_or(self.current);
        Ok(Flow::Goto(to.pc))
    }

    fn helper(&mut self, rt: &mut Runtime, regs: &mut Regs, id: i64) -> Result<Flow, Stop> {
        let helper = rt.helpers.resolve(id)?;
        self.resolved_helper(rt, regs, helper)
    }

    #[inline]
    pub(super) fn resolved_helper(
        &mut self,
        rt: &mut Runtime,
        regs: &mut Regs,
        (name, function): (&'static str, Helper),
    ) -> Result<Flow, Stop> {
        let args = [regs[1], regs[2], regs[3], regs[4], regs[5]];
        match function(&mut Call { rt, callbacks: self, name }, args) {
            Ok(r0) => regs[0] = r0,
            Err(Stop::TailCall(code)) => {
                if self.tail_calls >= MAX_TAIL_CALLS {
                    regs[0] = 0;
                    return Ok(Flow::Next);
                }
                self.tail_calls += 1;
                let known = self.codes.iter().position(|c| Arc::ptr_eq(&c.code, &code));
                self.current = known.unwrap_or(self.codes.len());
                if known.is_none() {
                    self.codes.push(Loaded { code, lowered: None });
                }
                return Ok(Flow::Goto(0));
            }
            Err(stop) => return Err(stop),
        }
        Ok(Flow::Next)
    }
}

impl<T: Tracer> Callbacks for Thread<'_, T> {
    fn invoke(&mut self, rt: &mut Runtime, func: u64, args: [u64; 5]) -> Result<u64, Stop> {
        let Some(slot) = rt.code_slot(func) else {
            return Err(Stop::Trap(TrapKind::BadArgument {
                helper: "callback",
                what: "not the address of a function",
            }));
        };
        if self.frames.len() + 1 >= self.max_frames() {
            return Err(Stop::Trap(TrapKind::TooManyFrames));
        }
        let (code, pc) = (self.current, self.pc);
        self.frames.push(Frame { code, pc, saved: [0; 4], fp: 0 });
        let mut regs: Regs = [0; 16];
        regs[1..6].copy_from_slice(&args);
        regs[10] = self.frame_pointer(rt)?;
        let r0 = self.go(rt, &mut regs, slot as usize)?;
        self.frames.pop();
        self.current = code;
        self.pc = pc;
        Ok(r0)
    }
}

/// Value of a wide immediate: a number, or the address of a map, its value or a function.
pub(super) fn wide(rt: &Runtime, pc: usize, value: Imm64) -> Result<u64, Stop> {
    match value {
        Imm64::Const(v) => Ok(v),
        Imm64::MapFd(i) | Imm64::MapIdx(i) => rt.map_addr(i),
        Imm64::MapValue { fd: i, off } | Imm64::MapIdxValue { idx: i, off } => {
            rt.map_value_addr(i, off)
        }
        Imm64::Func(off) => {
            let slot = pc as i64 + 1 + off as i64;
            rt.code_addr(u32::try_from(slot).map_err(|_| TrapKind::OutOfProgram)?)
        }
        Imm64::BtfId { id, btf_fd } => rt.kernel_variable(btf_fd, id),
    }
}

#[inline]
fn operand(regs: &Regs, src: Operand) -> u64 {
    match src {
        Operand::Reg(r) => regs[at(r)],
        Operand::Imm(v) => semantics::imm(v),
    }
}

#[inline]
fn offset(base: u64, off: i16) -> u64 {
    base.wrapping_add(off as i64 as u64)
}

#[inline]
fn target(pc: usize, off: i32) -> Result<Flow, Stop> {
    match usize::try_from(pc as i64 + 1 + off as i64) {
        Ok(to) => Ok(Flow::Goto(to)),
        Err(_) => Err(Stop::Trap(TrapKind::OutOfProgram)),
    }
}
