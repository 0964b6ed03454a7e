//! Engines made ready for a job.
#![allow(unsafe_code)]

use std::io::Write;
use std::sync::Arc;
use std::time::Instant;

use bpfassay_isa::disasm::{Lossless, Text};
use bpfassay_isa::{encode, Insn};
use bpfassay_object::model::Program;
use bpfassay_spec::errno::name as errno_name;
use bpfassay_spec::helper::func_id_name;
use bpfassay_spec::{ProgInfo, TestRun};

use super::{maps, Answer, EngineKind, Failed, Job, Run, Subject};
use crate::engine::{Input, Instance, Outcome};
use crate::engines::code::Code;
use crate::engines::interp::Tracer;
use crate::engines::kernel::{self, Kernel};
use crate::engines::native::{Native, NativeLoadError, RawNative};
use crate::native::machine::Facts;
use crate::raw::RawInterp;
use crate::runtime::Runtime;
use crate::testrun::{fill_map_slots, Interp, LoadError};
use crate::trust::{Distrust, Trusted};

/// What a kernel answers that does not look at a program, or a user who may not load.
const EPERM: i32 = 1;

/// Prints one line per instruction to standard error.
struct Trace;

impl Tracer for Trace {
    const ENABLED: bool = true;

    fn step(&mut self, frame: usize, insn_idx: usize, insn: &Insn, regs: &[u64]) {
        let name = |id| Some(func_id_name(id)).filter(|n| *n != "unknown");
        let (raw, next) = encode(insn);
        let text = Text { insn: raw, next, names: &Lossless(name) };
        let regs: Vec<String> = regs.iter().map(|r| format!("{r:x}")).collect();
        let line = format!("{frame}:{insn_idx}: {text}  ; {}\n", regs.join(" "));
        // Nobody may be reading.
        let _ = std::io::stderr().write_all(line.as_bytes());
    }
}

enum Engine {
    Interp(Box<Interp>),
    Native(Box<Native>),
    Kernel(Kernel),
    RawInterp(RawInterp),
    RawNative(Box<RawNative>),
}

/// An engine with the program loaded and the maps filled.
pub struct Ready {
    engine: Engine,
    compile_ns: Option<u64>,
}

fn wrong_map(e: LoadError) -> Failed {
    let LoadError::Map { name, errno } = e else {
        return Failed::Unavailable(
            "the kernel's BTF is needed to read a map's fields".to_string(),
        );
    };
    Failed::Wrong(format!("map {name}: creating it gives {}", errno_name(errno.abs() as i32)))
}

fn native_error(e: NativeLoadError) -> Failed {
    match e {
        NativeLoadError::Load(e) => wrong_map(e),
        NativeLoadError::Native(e) => Failed::Unavailable(e.to_string()),
    }
}

impl Ready {
    pub fn kernel(job: &Job<'_>) -> Result<Ready, Failed> {
        let Subject::Program { program, others, slots } = &job.subject else {
            let why = "the kernel runs no bare instructions".to_string();
            return Err(Failed::Unavailable(why));
        };
        if ProgInfo::of(program.prog_type).is_some_and(|row| row.test_run == Some(TestRun::Kernel))
        {
            let why = "the kernel's test run of this type does not run the program".to_string();
            return Err(Failed::Unavailable(why));
        }
        let mut kernel = Kernel::load_linked(program, others, slots).map_err(|e| match e {
            // For who may load at all this is no verdict: the kernel does not verify such programs.
            kernel::LoadError::Rejected(EPERM) => {
                let why = "this kernel refuses the program unseen (EPERM)".to_string();
                Failed::Unavailable(why)
            }
            kernel::LoadError::Rejected(errno) => Failed::Rejected(errno),
            kernel::LoadError::Kernel(e) => Failed::Unavailable(e.to_string()),
        })?;
        for p in &job.preload {
            let Some(def) = program.maps.get(p.map) else { continue };
            let held = |key: &[u8]| {
                let all = kernel.elements(p.map, def, 0).ok()??;
                all.into_iter().find(|(k, _)| k == key).map(|(_, v)| v)
            };
            let (key, value) = maps::element(program, p, held).map_err(Failed::Wrong)?;
            kernel.update(p.map, def, key.as_deref().unwrap_or_default(), &value).map_err(
                |errno| Failed::Wrong(format!("filling a map gives {}", errno_name(errno))),
            )?;
        }
        Ok(Ready { engine: Engine::Kernel(kernel), compile_ns: None })
    }

    /// A verified program, in this process.
    pub fn trusted(
        job: &Job<'_>,
        kind: EngineKind,
        trusted: &[Trusted<'_>],
    ) -> Result<Ready, Failed> {
        let Subject::Program { program, slots, .. } = &job.subject else {
            return Err(Failed::Unavailable("bare instructions are not verified".to_string()));
        };
        let own = trusted.iter().find(|t| std::ptr::eq(t.program(), *program));
        let own =
            own.ok_or(Failed::Unavailable(Distrust::Unsupported("not judged".into()).to_string()))?;
        let start = Instant::now();
        let mut ready = match kind {
            EngineKind::Interp => {
                let interp = Interp::verified(own, job.world.clone()).map_err(wrong_map)?;
                Ready { engine: Engine::Interp(Box::new(interp)), compile_ns: None }
            }
            EngineKind::Unchecked => {
                let interp = Interp::unchecked(own, job.world.clone()).map_err(wrong_map)?;
                Ready { engine: Engine::Interp(Box::new(interp)), compile_ns: None }
            }
            _ => {
                let native = Native::trusted(own, job.world.clone(), None).map_err(native_error)?;
                Ready { engine: Engine::Native(Box::new(native)), compile_ns: Some(nanos(start)) }
            }
        };
        if let Some(rt) = ready.runtime() {
            fill_map_slots(rt, slots, |name| {
                let of_name = trusted.iter().find(|t| t.program().name == name)?;
                let access = of_name.access().to_vec();
                Some(Arc::new(Code::with_access(&of_name.program().insns, access)))
            });
        }
        ready.fill(job, program)
    }

    /// The checking interpreter, which needs nobody's word.
    pub fn checked(job: &Job<'_>) -> Result<Ready, Failed> {
        let program = match &job.subject {
            Subject::Program { program, .. } => *program,
            Subject::Raw(insns) => {
                let engine = Engine::RawInterp(RawInterp::new(insns));
                return Ok(Ready { engine, compile_ns: None });
            }
        };
        let interp = Interp::load(program, job.world.clone()).map_err(wrong_map)?;
        let ready = Ready { engine: Engine::Interp(Box::new(interp)), compile_ns: None };
        ready.filled(job, program)
    }

    /// Any program and any context: only in a child that may come to harm.
    pub fn contained(
        job: &Job<'_>,
        kind: EngineKind,
        trusted: Option<&[Trusted<'_>]>,
    ) -> Result<Ready, Failed> {
        let mut ready = match trusted {
            Some(trusted) => Ready::trusted(job, kind, trusted)?,
            None => Ready::untrusted(job, kind)?,
        };
        if let Some(rt) = ready.runtime() {
            // SAFETY: this process exists to run it.
            unsafe { rt.take_any_context() };
        }
        Ok(ready)
    }

    fn untrusted(job: &Job<'_>, kind: EngineKind) -> Result<Ready, Failed> {
        let start = Instant::now();
        let (engine, program) = match (kind, &job.subject) {
            (EngineKind::Interp, _) => return Ready::checked(job),
            (EngineKind::Unchecked, Subject::Raw(insns)) => {
                // SAFETY: this process exists to run it.
                (Engine::RawInterp(unsafe { RawInterp::unchecked(insns) }), None)
            }
            (EngineKind::Unchecked, Subject::Program { program, .. }) => {
                // SAFETY: as above.
                let own = unsafe { Trusted::assume(program) };
                let interp = Interp::unchecked(&own, job.world.clone()).map_err(wrong_map)?;
                (Engine::Interp(Box::new(interp)), Some(*program))
            }
            (_, Subject::Raw(insns)) => {
                // SAFETY: as above.
                let native = unsafe { RawNative::new(insns, None) };
                let native = native.map_err(|e| Failed::Unavailable(e.to_string()))?;
                (Engine::RawNative(Box::new(native)), None)
            }
            (_, Subject::Program { program, .. }) => {
                // SAFETY: as above.
                let facts = Facts { reads_maps: true, ..Facts::default() };
                let native = unsafe { Native::load(program, &facts, job.world.clone(), None) };
                (Engine::Native(Box::new(native.map_err(native_error)?)), Some(*program))
            }
        };
        let is_compiled = matches!(engine, Engine::Native(_) | Engine::RawNative(_));
        let ready = Ready { engine, compile_ns: is_compiled.then(|| nanos(start)) };
        match program {
            Some(program) => ready.filled(job, program),
            None => Ok(ready),
        }
    }

    /// Slots from the object as it is, then the person's elements.
    fn filled(mut self, job: &Job<'_>, program: &Program) -> Result<Ready, Failed> {
        if let (Some(rt), Subject::Program { others, slots, .. }) = (self.runtime(), &job.subject) {
            fill_map_slots(rt, slots, |name| {
                let of_name = others.iter().find(|p| p.name == name)?;
                Some(Arc::new(Code::new(&of_name.insns)))
            });
        }
        self.fill(job, program)
    }

    fn fill(mut self, job: &Job<'_>, program: &Program) -> Result<Ready, Failed> {
        if let Some(rt) = self.runtime() {
            maps::fill(rt, program, &job.preload).map_err(Failed::Wrong)?;
        }
        Ok(self)
    }

    fn runtime(&mut self) -> Option<&mut Runtime> {
        match &mut self.engine {
            Engine::Interp(i) => Some(&mut i.rt),
            Engine::Native(n) => Some(&mut n.rt),
            Engine::Kernel(_) | Engine::RawInterp(_) | Engine::RawNative(_) => None,
        }
    }

    /// Bytes of machine code.
    fn code_bytes(&self) -> Option<u64> {
        match &self.engine {
            Engine::Native(n) => Some(n.machine().code_bytes().into()),
            Engine::RawNative(n) => Some(n.machine().code_bytes().into()),
            Engine::Interp(_) | Engine::RawInterp(_) | Engine::Kernel(_) => None,
        }
    }

    fn one(&mut self, input: &Input, trace: bool) -> (&'static str, Outcome) {
        match &mut self.engine {
            Engine::Interp(i) if trace => (i.engine(), i.run_traced(input, &mut Trace)),
            Engine::RawInterp(i) if trace => (i.engine(), i.run_traced(input, &mut Trace)),
            Engine::Interp(i) => (i.engine(), i.run(input)),
            Engine::RawInterp(i) => (i.engine(), i.run(input)),
            Engine::Native(n) => (n.engine(), n.run(input)),
            Engine::RawNative(n) => (n.engine(), n.run(input)),
            Engine::Kernel(k) => (k.engine(), k.run(input)),
        }
    }

    pub fn run(mut self, job: &Job<'_>) -> Result<Answer, Failed> {
        let mut answer = Answer::default();
        for input in &job.inputs {
            let (engine, out) = self.one(input, job.trace);
            let mut run = Run::of(engine, input.repeat, &out);
            run.compile_ns = self.compile_ns;
            run.code_bytes = self.code_bytes();
            if !job.keeps_output {
                (run.data_out, run.ctx_out) = (None, None);
            }
            answer.runs.push(run);
        }
        if let (true, Subject::Program { program, .. }) = (job.dump_maps, &job.subject) {
            answer.maps = self.runtime().map(|rt| maps::dump(rt, program));
        }
        Ok(answer)
    }
}

fn nanos(start: Instant) -> u64 {
    u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX)
}
