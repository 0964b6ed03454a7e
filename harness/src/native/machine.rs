//! Enters compiled code and answers its calls (the host's side of [`bpfassay_jit::abi`]).
//!
//! A [`Machine`] holds the programs of one runtime: the one that is run, and those tail calls
//! reach, compiled when first jumped to.
#![allow(unsafe_code)]

mod facing;

use facing::{slots, Facing};

use std::cell::{Cell, UnsafeCell};
use std::fmt;
use std::io;
use std::ptr::null_mut;
use std::sync::Arc;

use bpfassay_isa::{CallTarget, RawInsn, Size};
use bpfassay_jit::{abi, Access, Compiled, Glue, JitError, Options, SiteKind, Source};

use super::exec::Exec;
use super::fault;
use crate::engine::{Trap, TrapKind};
use crate::engines::code::Code;
use crate::runtime::helpers::{Call, Helper};
use crate::runtime::maps::Found;
use crate::runtime::memory::{Fault, FaultKind, RegionKind};
use crate::runtime::{Callbacks, Runtime, Stop};
use crate::trust::Trusted;

/// `MAX_TAIL_CALL_CNT`.
const MAX_TAIL_CALLS: u32 = 33;
/// Helpers by number, as far as code is written for them.
const MAP_LOOKUP: i32 = 1;
const TAIL_CALL: i32 = 12;
/// What a program's code may begin at a multiple of.
const CODE_ALIGN: usize = 64;
/// What a packet load that failed answers.
const NO_PACKET: u64 = 1 << 63;

/// Why a program cannot be run here.
#[derive(Debug)]
pub enum NativeError {
    Jit(JitError),
    Memory(io::Error),
    /// There is no backend for this processor.
    Unavailable,
    /// This host has no addresses for an arena, or does not catch faults in it.
    Arena,
    /// The program reads where the kernel catches faults, and nobody does here.
    Probe,
}

impl fmt::Display for NativeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NativeError::Jit(e) => write!(f, "{e}"),
            NativeError::Memory(e) => write!(f, "no memory for code: {e}"),
            NativeError::Arena => {
                f.write_str("programs with an arena need Linux, where faults are caught")
            }
            NativeError::Probe => f.write_str(
                "programs that follow kernel pointers need Linux, where faults are caught",
            ),
            NativeError::Unavailable => f.write_str("no JIT for this processor"),
        }
    }
}

impl std::error::Error for NativeError {}

/// What the verifier knows and instructions do not say.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    pub access: Vec<Access>,
    pub stacks: Vec<(u32, u32)>,
    /// First slots and tops of private stacks.
    pub private_stacks: Vec<(u32, u64)>,
    /// It reads fields of the kernel's structures of its maps.
    pub reads_maps: bool,
    /// Functions no instruction names.
    pub functions: Vec<u32>,
}

impl Facts {
    pub fn of(program: &Trusted<'_>) -> Facts {
        let access = program.access().to_vec();
        Facts { access, reads_maps: program.reads_maps(), ..Facts::default() }
    }
}

/// The run context: the fields of [`bpfassay_jit::abi`].
#[repr(C)]
struct Context {
    fields: UnsafeCell<[u64; abi::SIZE as usize / 8]>,
}

impl Context {
    fn get(&self, field: i32) -> u64 {
        // SAFETY: code of ours writes the fields only while it runs, on this thread.
        let fields = unsafe { &*self.fields.get() };
        fields.get(field as usize / 8).copied().unwrap_or(0)
    }

    fn set(&self, field: i32, value: u64) {
        // SAFETY: as in `get`; no reference to the fields outlives a call.
        let fields = unsafe { &mut *self.fields.get() };
        if let Some(f) = fields.get_mut(field as usize / 8) {
            *f = value;
        }
    }
}

/// A call site, looked up once.
#[derive(Clone, Copy)]
enum Callee {
    Helper(&'static str, Helper),
    /// To be looked up when called, so that an unknown one stops there.
    Number(i64),
    ByRegister,
    MapLookup,
    TailCall {
        in_entry: bool,
    },
    Packet,
    Kfunc(i16, i32),
}

struct Loaded {
    compiled: Compiled,
    exec: Exec,
    /// Bytes of shared code before the program's.
    skip: u32,
    callees: Vec<Callee>,
    code: Option<Arc<Code>>,
}

impl Loaded {
    fn at(&self, off: u32) -> u64 {
        self.exec.address() + u64::from(self.skip) + u64::from(off)
    }

    fn holds(&self, addr: u64) -> bool {
        (self.at(0)..self.at(self.compiled.code.len() as u32)).contains(&addr)
    }
}

/// Addresses of code between C and BPF that all programs use.
#[derive(Clone, Copy, Default)]
struct Entries {
    entry: u64,
    unwind: u64,
    keeping: u64,
}

/// Programs ready to run.
pub struct Machine {
    context: Box<Context>,
    shared: Entries,
    programs: Vec<Loaded>,
    blind: Option<u64>,
    stop: Option<Stop>,
    tail_calls: u32,
    rt: *mut Runtime,
    /// Address of the access that faulted last.
    fault: Cell<Option<u64>>,
}

thread_local! {
    /// The machine whose code runs on this thread.
    static ACTIVE: Cell<*mut Machine> = const { Cell::new(null_mut()) };
}

/// The machine whose code runs on this thread, if any.
#[cfg_attr(not(target_os = "linux"), allow(dead_code))]
pub(super) fn active() -> *const Machine {
    ACTIVE.try_with(Cell::get).unwrap_or(null_mut())
}

/// `u64 enter(const u64 args[5], const void *target)`.
type Enter = unsafe extern "C" fn(*const [u64; 5], u64) -> u64;

impl Machine {
    /// A machine with one program.
    pub fn new(
        insns: &[RawInsn],
        facts: &Facts,
        rt: &Runtime,
        blind: Option<u64>,
    ) -> Result<Machine, NativeError> {
        if !super::IS_AVAILABLE {
            return Err(NativeError::Unavailable);
        }
        let fields = UnsafeCell::new([0; abi::SIZE as usize / 8]);
        let context = Box::new(Context { fields });
        if let Some(arena) = &rt.mem.arena {
            let base = arena.base().filter(|_| fault::IS_CAUGHT).ok_or(NativeError::Arena)?;
            context.set(abi::ARENA, base);
            context.set(abi::ARENA_USER, arena.user_half());
        }
        let mut machine = Machine {
            context,
            shared: Entries::default(),
            programs: Vec::new(),
            blind,
            stop: None,
            tail_calls: 0,
            rt: null_mut(),
            fault: Cell::new(None),
        };
        machine.add(insns, facts, rt, None)?;
        Ok(machine)
    }

    /// Bytes of code of the first program's instructions.
    pub fn code_bytes(&self) -> u32 {
        self.compiled().map_or(0, |c| c.body_end - c.body)
    }

    pub fn compiled(&self) -> Option<&Compiled> {
        self.programs.first().map(|p| &p.compiled)
    }

    fn add(
        &mut self,
        insns: &[RawInsn],
        facts: &Facts,
        rt: &Runtime,
        decoded: Option<Arc<Code>>,
    ) -> Result<usize, NativeError> {
        if !fault::IS_CAUGHT && facts.access.contains(&Access::Probe) {
            return Err(NativeError::Probe);
        }
        let source = Source {
            access: &facts.access,
            stacks: &facts.stacks,
            private_stacks: &facts.private_stacks,
            functions: &facts.functions,
            ..Source::raw(insns)
        };
        let context = self.context.fields.get().expose_provenance() as u64;
        let options = Options { context, blind: self.blind };
        let compiled =
            super::compile(&source, &options, &mut Facing { rt }).map_err(NativeError::Jit)?;
        // The first program has the shared code before it.
        let mut first = Vec::new();
        let mut glue = None;
        if self.programs.is_empty() {
            let made = super::glue(context).map_err(NativeError::Jit)?;
            first.extend_from_slice(&made.code);
            first.resize(first.len().next_multiple_of(CODE_ALIGN), 0);
            glue = Some(made);
        }
        let skip = first.len() as u32;
        let exec = Exec::new(&first, &compiled.code).map_err(NativeError::Memory)?;
        if let Some(glue) = glue {
            self.share(&glue, exec.address());
        }
        let callees = compiled
            .sites
            .iter()
            .map(|site| match site.kind {
                SiteKind::Call(CallTarget::Helper(MAP_LOOKUP)) if rt.helpers.is_linux() => {
                    Callee::MapLookup
                }
                SiteKind::Call(CallTarget::Helper(id)) => match rt.helpers.resolve(id as i64) {
                    Ok((name, f)) => Callee::Helper(name, f),
                    Err(_) => Callee::Number(id as i64),
                },
                SiteKind::Call(CallTarget::Kfunc { btf_id, fd_idx }) => {
                    Callee::Kfunc(fd_idx, btf_id)
                }
                SiteKind::Call(CallTarget::Subprog(_)) | SiteKind::CallReg => Callee::ByRegister,
                SiteKind::TailCall => Callee::TailCall { in_entry: site.in_entry },
                SiteKind::PacketLoad => Callee::Packet,
            })
            .collect();
        self.programs.push(Loaded { compiled, exec, skip, callees, code: decoded });
        Ok(self.programs.len() - 1)
    }

    /// Notes where shared code stands.
    fn share(&mut self, glue: &Glue, base: u64) {
        let at = |off: u32| base + u64::from(off);
        self.context.set(abi::LEAVE, at(glue.leave));
        self.context.set(abi::CALL_OUT, at(glue.call_out));
        self.context.set(abi::TAIL_FROM_ENTRY, at(glue.tail_from_entry));
        self.context.set(abi::TAIL, at(glue.tail));
        let (entry, unwind, keeping) = (at(glue.entry), at(glue.unwind), at(glue.keeping_entry));
        self.shared = Entries { entry, unwind, keeping };
    }

    /// Runs the first program with these arguments in r1 and r2; gives r0.
    ///
    /// # Safety
    /// The verifier accepted the program, its maps and context are those of `rt`, whose memory is
    /// native, and `args` are what a program of its type may be handed; or nobody minds what
    /// becomes of this process.
    pub unsafe fn run(&mut self, rt: &mut Runtime, args: [u64; 2]) -> Result<u64, Trap> {
        // SAFETY: the caller's promise.
        unsafe { self.run_repeatedly(rt, args, 1) }
    }

    /// Runs it `repeat` times, until a run stops before its exit; gives the last run's r0.  What
    /// is the same for every run is done once: a run costs little more than the code.
    ///
    /// # Safety
    /// As [`Machine::run`].
    pub unsafe fn run_repeatedly(
        &mut self,
        rt: &mut Runtime,
        args: [u64; 2],
        repeat: u32,
    ) -> Result<u64, Trap> {
        self.context.set(abi::DISPATCH, (dispatch as *const ()).expose_provenance() as u64);
        self.context.set(abi::STOP, 0);
        self.stop = None;
        let Some(first) = self.programs.first() else {
            return Err(Trap { kind: TrapKind::OutOfProgram, insn_idx: 0 });
        };
        let target = first.at(first.compiled.main);
        let before = ACTIVE.replace(self);
        let [r1, r2] = args;
        let mut result = Ok(0);
        let mut left = repeat;
        while left > 0 && result.is_ok() {
            self.tail_calls = 0;
            // SAFETY: the caller's promise.
            result = unsafe { self.enter_often(rt, target, [r1, r2, 0, 0, 0], &mut left) };
            if result.is_err() {
                // SAFETY: likewise.
                result = unsafe { self.after_stop(rt, result) };
            }
        }
        ACTIVE.set(before);
        match result {
            Ok(r0) => Ok(r0),
            Err(Stop::Trap(kind)) => Err(Trap { kind, insn_idx: self.caller() }),
            Err(_) => {
                Err(Trap { kind: TrapKind::Unsupported("tail call here"), insn_idx: self.caller() })
            }
        }
    }

    /// What a run that did not come to its exit by itself gives.
    ///
    /// # Safety
    /// As [`Machine::run`].
    #[cold]
    unsafe fn after_stop(
        &mut self,
        rt: &mut Runtime,
        mut result: Result<u64, Stop>,
    ) -> Result<u64, Stop> {
        if let (Err(Stop::Throw(cookie)), Some(slot)) = (&result, rt.exception_callback) {
            let args = [*cookie, 0, 0, 0, 0];
            if let Some(callback) = self.function_at(slot) {
                // SAFETY: the caller's promise; the callback takes a number.
                result = unsafe { self.enter(rt, callback, args) };
            }
        }
        match result {
            Err(Stop::Exit(r0)) => Ok(r0),
            Err(Stop::Throw(cookie)) => Ok(cookie),
            other => other,
        }
    }

    /// Address of the first program's function at this slot.
    fn function_at(&self, slot: u32) -> Option<u64> {
        let p = self.programs.first()?;
        p.compiled.funcs.iter().find(|f| f.slot == slot).map(|f| p.at(f.start))
    }

    /// Slot of the instruction whose call ran last, or which faulted.
    fn caller(&self) -> usize {
        let addr = self.context.get(abi::CALLER).wrapping_sub(1);
        let program = self.programs.iter().find(|p| p.holds(addr));
        let slot = program.and_then(|p| p.compiled.slot_at((addr - p.at(0)) as u32));
        slot.unwrap_or(0) as usize
    }

    /// # Safety
    /// As [`Machine::run`]; `target` is a function of one of the programs.
    unsafe fn enter(&mut self, rt: &mut Runtime, target: u64, args: [u64; 5]) -> Result<u64, Stop> {
        // SAFETY: the caller's promise.
        unsafe { self.enter_often(rt, target, args, &mut 1) }
    }

    /// Enters as many times as are left, until the code is stopped.
    ///
    /// # Safety
    /// As [`Machine::enter`].
    unsafe fn enter_often(
        &mut self,
        rt: &mut Runtime,
        target: u64,
        args: [u64; 5],
        left: &mut u32,
    ) -> Result<u64, Stop> {
        let Some(first) = self.programs.first() else {
            return Err(Stop::Trap(TrapKind::OutOfProgram));
        };
        let code = std::ptr::with_exposed_provenance::<()>(self.shared.entry as usize);
        let end = here(&first);
        rt.mem.enter_frames(end);
        let before = std::mem::replace(&mut self.rt, rt);
        // SAFETY: `code` is the entry stub that the backend wrote for the C convention of this host.
        let enter = unsafe { std::mem::transmute::<*const (), Enter>(code) };
        fault::catch();
        // SAFETY: the caller's promise; the machine and the runtime are reached through raw
        // pointers until the code comes back.
        let mut r0 = unsafe { enter(&args, target) };
        *left -= 1;
        while *left > 0 && self.context.get(abi::STOP) == 0 {
            self.tail_calls = 0;
            // SAFETY: likewise.
            r0 = unsafe { enter(&args, target) };
            *left -= 1;
        }
        // SAFETY: the code came back, and nobody else uses the runtime.
        unsafe { (*self.rt).mem.leave_frames() };
        self.rt = before;
        if self.context.get(abi::STOP) == 0 {
            return Ok(r0);
        }
        Err(self.stopped())
    }

    /// Why the code came back before its exit.
    #[cold]
    fn stopped(&mut self) -> Stop {
        self.context.set(abi::STOP, 0);
        match (self.stop.take(), self.fault.take()) {
            (Some(stop), _) => stop,
            (None, Some(addr)) => {
                // The instruction tells read from write; the processor does not say.
                Fault { addr, len: 0, write: false, why: FaultKind::NoRegion }.into()
            }
            (None, None) => Stop::Trap(TrapKind::OutOfProgram),
        }
    }

    /// Ends the innermost entry; what is returned does not matter.
    fn leave(&mut self, stop: Stop) -> u64 {
        self.stop = Some(stop);
        self.context.set(abi::STOP, 1);
        0
    }

    fn callee(&self, site: u64) -> Option<Callee> {
        let program = match &*self.programs {
            [one] => one,
            many => {
                let caller = self.context.get(abi::CALLER);
                many.iter().find(|p| p.holds(caller))?
            }
        };
        program.callees.get(usize::try_from(site).ok()?).copied()
    }

    fn call(&mut self, rt: &mut Runtime, args: [u64; 5], site: u64) -> Result<u64, Stop> {
        match self.callee(site) {
            Some(Callee::Helper(name, f)) => f(&mut Call { rt, callbacks: self, name }, args),
            Some(Callee::Number(id)) => rt.call_helper(id, args, self),
            Some(Callee::ByRegister) => {
                let id = self.context.get(abi::CALL_REG) as i64;
                rt.call_helper(id, args, self)
            }
            Some(Callee::MapLookup) => match lookup(rt, args) {
                Some(addr) => Ok(addr),
                None => rt.call_helper(MAP_LOOKUP as i64, args, self),
            },
            Some(Callee::Packet) => {
                let size = match args[0] {
                    1 => Size::B,
                    2 => Size::H,
                    _ => Size::W,
                };
                let loaded = rt.load_packet(size, args[1] as u32 as i32)?;
                Ok(loaded.unwrap_or(NO_PACKET))
            }
            Some(Callee::TailCall { in_entry }) => self.tail_call(rt, args, in_entry),
            Some(Callee::Kfunc(btf, id)) => rt.call_kfunc(btf, id, args, self),
            None => Err(Stop::Trap(TrapKind::OutOfProgram)),
        }
    }

    /// Address to jump to, or 0.
    fn tail_call(&mut self, rt: &mut Runtime, args: [u64; 5], in_entry: bool) -> Result<u64, Stop> {
        let code = match rt.call_helper(TAIL_CALL as i64, args, self) {
            Ok(_) => return Ok(0),
            Err(Stop::TailCall(code)) => code,
            Err(stop) => return Err(stop),
        };
        if self.tail_calls >= MAX_TAIL_CALLS {
            return Ok(0);
        }
        self.tail_calls += 1;
        let same = |p: &Loaded| p.code.as_ref().is_some_and(|c| Arc::ptr_eq(c, &code));
        let i = match self.programs.iter().position(same) {
            Some(i) => i,
            None => {
                let insns = slots(&code);
                let access = (0..insns.len()).map(|i| code.access(i)).collect();
                let facts = Facts { access, ..Facts::default() };
                self.add(&insns, &facts, rt, Some(code))
                    .map_err(|_| TrapKind::Unsupported("the program jumped to"))?
            }
        };
        self.context.set(abi::TAIL_CTX, args[0]);
        let Some(p) = self.programs.get(i) else { return Ok(0) };
        let main = p.at(p.compiled.main);
        self.context.set(abi::TAIL_TARGET, main);
        Ok(if in_entry { main } else { self.shared.keeping })
    }

    /// What to do about a fault at `pc`: where to go on, and a machine register to clear.
    ///
    /// Called in a signal handler: looks at what does not change while code runs.
    #[cfg_attr(not(target_os = "linux"), allow(dead_code))]
    pub(super) fn on_fault(&self, pc: u64, addr: Option<u64>) -> Option<fault::Resume> {
        let p = self.programs.iter().find(|p| p.holds(pc))?;
        let off = (pc - p.at(0)) as u32;
        let after = p.compiled.faults.partition_point(|row| row.at <= off);
        let row = after.checked_sub(1).and_then(|i| p.compiled.faults.get(i));
        if let Some(row) = row.filter(|row| off < row.resume) {
            return Some(fault::Resume { pc: p.at(row.resume), clear: Some(row.reg) });
        }
        if off < p.compiled.body || off >= p.compiled.body_end {
            return None;
        }
        // An access nothing was known of: leave, and say where.
        self.fault.set(addr);
        self.context.set(abi::CALLER, pc + 1);
        self.context.set(abi::STOP, 1);
        Some(fault::Resume { pc: self.shared.unwind, clear: None })
    }
}

impl Callbacks for Machine {
    fn invoke(&mut self, rt: &mut Runtime, func: u64, args: [u64; 5]) -> Result<u64, Stop> {
        let is_function =
            |p: &Loaded| p.holds(func) && p.compiled.funcs.iter().any(|f| p.at(f.start) == func);
        if !self.programs.iter().any(is_function) {
            return Err(Stop::Trap(TrapKind::BadArgument {
                helper: "callback",
                what: "not the address of a function",
            }));
        }
        // SAFETY: a function of a program that whoever called `run` vouched for; the helper that
        // calls back was handed it by that program.
        unsafe { self.enter(rt, func, args) }
    }
}

/// Where all calls of compiled code end up.
///
/// # Safety
/// Called by code that [`Machine::enter`] entered, on the same thread.
unsafe extern "C" fn dispatch(r1: u64, r2: u64, r3: u64, r4: u64, r5: u64, site: u64) -> u64 {
    // SAFETY: `run` set the pointer and does nothing with the machine until the code comes back.
    let machine = unsafe { &mut *ACTIVE.get() };
    // SAFETY: likewise for the runtime, which `enter` was handed by exclusive reference.
    let rt = unsafe { &mut *machine.rt };
    rt.mem.note_frames(here(&site));
    match machine.call(rt, [r1, r2, r3, r4, r5], site) {
        Ok(r0) => r0,
        Err(stop) => machine.leave(stop),
    }
}

/// Address of a variable of the calling function's frame.
#[inline(always)]
fn here<T>(variable: &T) -> u64 {
    std::ptr::from_ref(variable).addr() as u64
}

/// `bpf_map_lookup_elem` on arrays and hashes, without a copy of the key; None where it is more than that.
fn lookup(rt: &mut Runtime, args: [u64; 5]) -> Option<u64> {
    let Some((RegionKind::Map(i), 0)) = rt.mem.kind_at(args[0]) else { return None };
    let map = rt.maps.get_mut(i as usize).filter(|_| rt.mem.is_native())?;
    let key = std::ptr::with_exposed_provenance::<u8>(args[1] as usize);
    let len = map.shape().key_size as usize;
    // SAFETY: the verifier has checked that the key can be read; lookups call nothing of the program.
    let key = unsafe { std::slice::from_raw_parts(key, len) };
    match map.lookup(&rt.mem, key, rt.world.cpu) {
        Ok(Found::Value(addr)) => Some(addr),
        Ok(Found::Nothing) => Some(0),
        Ok(Found::Map(_)) | Err(_) => None,
    }
}
