//! Programs that may run without run-time checks in this process.
//!
//! A [`Trusted`] exists only where our verifier accepted the program and no quirk of the
//! kernel's decided the verdict: then every access it makes is to memory that is
//! there.  Everything else runs in a child (`contain`) or under the checking interpreter.
#![allow(unsafe_code)]

use std::fmt;

use bpfassay_jit::Access;
use bpfassay_object::model::Program;
use bpfassay_object::Slot;
use bpfassay_spec::errno::name as errno_name;
use bpfassay_verifier::{verify, Config, MemoryUse, Report, Verdict};

use crate::testrun::MapSlots;

/// A program the verifier accepted, with what it found out about its accesses.
#[derive(Clone, Debug)]
pub struct Trusted<'p> {
    program: &'p Program,
    access: Vec<Access>,
    reads_maps: bool,
    private_stacks: Vec<u32>,
    max_ctx_offset: u32,
}

/// Why a program is not trusted.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Distrust {
    /// With the positive error number and the last line of the log.
    Rejected { errno: i32, message: String },
    /// The verifier cannot judge it.
    Unsupported(String),
    /// Nobody asked the verifier.
    NotAsked,
    /// Accepted only because the kernel's verifier errs, and ours with it.
    Quirk(&'static str),
}

impl fmt::Display for Distrust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Distrust::Rejected { errno, message } => {
                write!(f, "the verifier rejects it with {}: {message}", errno_name(*errno))
            }
            Distrust::Unsupported(what) => write!(f, "the verifier cannot judge it: {what}"),
            Distrust::NotAsked => f.write_str("the program is not verified"),
            Distrust::Quirk(name) => write!(f, "accepted through the kernel quirk {name}"),
        }
    }
}

impl<'p> Trusted<'p> {
    /// Asks the verifier.
    pub fn verify(program: &'p Program, config: &Config<'_>) -> Result<Trusted<'p>, Distrust> {
        if let Some(what) = program.missing.first() {
            return Err(Distrust::Unsupported(format!("the profile lacks {what}")));
        }
        Trusted::of_report(program, &verify(program, config))
    }

    /// With what the verifier has said of this very program.
    pub fn of_report(program: &'p Program, report: &Report) -> Result<Trusted<'p>, Distrust> {
        match (&report.verdict, report.quirk) {
            (Verdict::Accepted, None) => {
                let access = report.memory.iter().map(|m| match m {
                    MemoryUse::Plain | MemoryUse::MapField => Access::Plain,
                    MemoryUse::Probe => Access::Probe,
                    MemoryUse::Arena => Access::Arena,
                });
                let access = access.collect();
                let reads_maps = report.memory.contains(&MemoryUse::MapField);
                let private_stacks = report.private_stacks.clone();
                let max_ctx_offset = report.max_ctx_offset;
                Ok(Trusted { program, access, reads_maps, private_stacks, max_ctx_offset })
            }
            (Verdict::Accepted, Some(quirk)) => Err(Distrust::Quirk(quirk)),
            (Verdict::Rejected(e), _) => Err(Distrust::Rejected {
                errno: e.0,
                message: report.message().unwrap_or_default().to_string(),
            }),
            (Verdict::Unsupported(what), _) => Err(Distrust::Unsupported(what.clone())),
        }
    }

    /// Takes the program at its word.
    ///
    /// # Safety
    /// This process exists to run it, and holds nothing that a wild access could harm.
    pub unsafe fn assume(program: &'p Program) -> Trusted<'p> {
        Trusted {
            program,
            access: Vec::new(),
            reads_maps: true,
            private_stacks: Vec::new(),
            max_ctx_offset: 0,
        }
    }

    /// The program as handed in.
    pub fn program(&self) -> &'p Program {
        self.program
    }

    /// It reads fields of the kernel's structures of its maps.
    pub fn reads_maps(&self) -> bool {
        self.reads_maps
    }

    /// First slots of the functions with a private stack.
    pub fn private_stacks(&self) -> &[u32] {
        &self.private_stacks
    }

    /// End of the part of the context that it accesses, bytes.
    pub fn max_ctx_offset(&self) -> u32 {
        self.max_ctx_offset
    }

    /// How each slot reaches memory.
    pub fn access(&self) -> &[Access] {
        &self.access
    }
}

/// The verifier's word on a program and on all that its tail calls may reach.
pub fn verify_all<'p>(
    program: &'p Program,
    others: &[&'p Program],
    slots: &[MapSlots],
    config: &Config<'_>,
) -> Result<Vec<Trusted<'p>>, Distrust> {
    let mut all = vec![Trusted::verify(program, config)?];
    let names = slots.iter().flatten().filter_map(|(_, slot)| match slot {
        Slot::Program(name) => Some(name),
        Slot::Map(_) => None,
    });
    for name in names {
        let target = others.iter().find(|p| p.name == *name);
        let is_new = |t: &&&Program| !all.iter().any(|a| std::ptr::eq(a.program(), **t));
        if let Some(target) = target.filter(is_new) {
            all.push(Trusted::verify(target, config)?);
        }
    }
    Ok(all)
}
