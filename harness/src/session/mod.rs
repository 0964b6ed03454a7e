//! One program run on several engines: where it may run, with which maps, and what came of it.
//!
//! A program the verifier accepted runs in this process.  Any other runs in a child
//! (`contain`), whatever the engine; where there are no such children, only the
//! checking interpreter runs it, which reaches no memory but the program's.  The kernel
//! has a verifier of its own.  Opens no file and prints nothing but a trace.

mod engines;
pub mod maps;
mod report;
pub mod values;

use bpfassay_isa::RawInsn;
use bpfassay_object::model::Program;
use serde::{Deserialize, Serialize};

use crate::contain::{self, contain, Failure, Limits};
use crate::engine::Input;
use crate::native;
use crate::runtime::ctx;
use crate::runtime::world::World;
use crate::testrun::MapSlots;
use crate::trust::{Distrust, Trusted};
use engines::Ready;
use maps::Preload;
pub use report::{Answer, Run, TrapReport};

/// A way to run a program.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum EngineKind {
    Interp,
    Unchecked,
    X86,
    Arm64,
    Kernel,
}

impl EngineKind {
    pub const ALL: [EngineKind; 5] = [
        EngineKind::Interp,
        EngineKind::Unchecked,
        EngineKind::X86,
        EngineKind::Arm64,
        EngineKind::Kernel,
    ];

    pub fn name(self) -> &'static str {
        match self {
            EngineKind::Interp => "interp",
            EngineKind::Unchecked => "interp-unchecked",
            EngineKind::X86 => "x86",
            EngineKind::Arm64 => "arm64",
            EngineKind::Kernel => "kernel",
        }
    }

    pub fn from_name(name: &str) -> Option<EngineKind> {
        EngineKind::ALL.into_iter().find(|k| k.name() == name)
    }

    /// Engines this host has; the kernel is tried where there is one.
    pub fn of_this_host() -> Vec<EngineKind> {
        let has = |k: &EngineKind| match k {
            EngineKind::Interp | EngineKind::Unchecked => true,
            EngineKind::X86 | EngineKind::Arm64 => {
                native::IS_AVAILABLE && k.name() == native::ENGINE
            }
            EngineKind::Kernel => cfg!(target_os = "linux"),
        };
        EngineKind::ALL.into_iter().filter(has).collect()
    }
}

/// What is to be run.
pub enum Subject<'a> {
    Program {
        program: &'a Program,
        /// Programs of the same object, for tail calls.
        others: Vec<&'a Program>,
        slots: &'a [MapSlots],
    },
    /// Bare instructions: r1 is memory, r2 its length.
    Raw(&'a [RawInsn]),
}

/// A subject with its inputs, which follow one another on the same maps.
pub struct Job<'a> {
    pub subject: Subject<'a>,
    pub inputs: Vec<Input>,
    pub preload: Vec<Preload>,
    pub world: World,
    pub dump_maps: bool,
    /// Packets and contexts afterwards are part of the answer.
    pub keeps_output: bool,
    /// Print every instruction to standard error as it runs.
    pub trace: bool,
    pub limits: Limits,
}

/// Why an engine gave no answer.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Failed {
    /// The kernel's own verifier rejects the program, with this errno.
    Rejected(i32),
    /// This host, or this engine, cannot.
    Unavailable(String),
    /// What was asked for is wrong (a map's element, say).
    Wrong(String),
}

/// Runs the job on one engine; `trusted` holds the verifier's word on the program and its tail calls.
pub fn run(
    job: &Job<'_>,
    kind: EngineKind,
    trusted: Result<&[Trusted<'_>], &Distrust>,
) -> Result<Answer, Failed> {
    if !EngineKind::of_this_host().contains(&kind) {
        return Err(Failed::Unavailable(format!("engine {} is not this host's", kind.name())));
    }
    if kind == EngineKind::Kernel {
        return in_time(job, kind, || Ready::kernel(job)?.run(job));
    }
    let takes_pointers = match &job.subject {
        Subject::Program { program, .. } => ctx::holds_pointers(program.prog_type),
        Subject::Raw(_) => false,
    };
    let (trusted, why) = match trusted {
        Ok(trusted) if kind == EngineKind::Interp || !takes_pointers => {
            return in_time(job, kind, || Ready::trusted(job, kind, trusted)?.run(job));
        }
        Ok(trusted) => (Some(trusted), "its context holds pointers from the input".to_string()),
        Err(why) => (None, why.to_string()),
    };
    if !contain::IS_AVAILABLE {
        if kind == EngineKind::Interp {
            return Ready::checked(job)?.run(job);
        }
        let why = format!("{why}; on this system only engine interp runs what is not verified");
        return Err(Failed::Unavailable(why));
    }
    let mut answer = in_child(job, kind, trusted)?;
    answer.contained = Some(why);
    Ok(answer)
}

fn in_child(
    job: &Job<'_>,
    kind: EngineKind,
    trusted: Option<&[Trusted<'_>]>,
) -> Result<Answer, Failed> {
    let ready = || Ready::contained(job, kind, trusted);
    let finish = |ready: Result<Ready, Failed>| crossing(ready.and_then(|r| r.run(job)));
    arrived(job, kind, contain(&job.limits, ready, finish))
}

/// What may run in this process, in a child that ends when its time is over; where there are no such children, in
/// this process, for as long as it takes.
fn in_time(
    job: &Job<'_>,
    kind: EngineKind,
    run: impl FnOnce() -> Result<Answer, Failed>,
) -> Result<Answer, Failed> {
    match contain::IS_AVAILABLE {
        false => run(),
        true => arrived(job, kind, contain::within(job.limits.time, || crossing(run()))),
    }
}

/// An answer, or why there is none, on its way from a child.
fn crossing(answer: Result<Answer, Failed>) -> Vec<u8> {
    serde_json::to_vec(&answer).unwrap_or_default()
}

fn arrived(
    job: &Job<'_>,
    kind: EngineKind,
    bytes: Result<Vec<u8>, Failure>,
) -> Result<Answer, Failed> {
    match bytes {
        Ok(bytes) => serde_json::from_slice(&bytes).unwrap_or_else(|_| {
            Err(Failed::Unavailable("the child's answer cannot be read".to_string()))
        }),
        Err(failure) => {
            let repeat = job.inputs.first().map_or(1, |i| i.repeat);
            let run = Run::failed(kind.name(), repeat, &failure);
            Ok(Answer { runs: vec![run], ..Answer::default() })
        }
    }
}

/// Whether all answers to the same inputs are the same; what cannot be compared does not count.
pub fn agree(answers: &[Answer]) -> bool {
    let Some((first, rest)) = answers.split_first() else { return true };
    rest.iter().all(|a| {
        let pairs = || first.runs.iter().zip(&a.runs);
        let is_cut = |x: &Answer| {
            x.runs.iter().any(|r| r.trap.as_ref().is_some_and(|t| t.insn_idx.is_none()))
        };
        let same_count = a.runs.len() == first.runs.len() || is_cut(a) || is_cut(first);
        same_count && pairs().all(|(x, y)| x.agrees(y) != Some(false))
    })
}
