//! The running kernel as an engine: load, then BPF_PROG_TEST_RUN.

use std::time::Duration;

use bpfassay_object::model::{MapDef, Program};
use bpfassay_spec::{ProgInfo, RunInput};

use crate::engine::{Input, Instance, Outcome};
use crate::kernel::{Element, KernelError, LoadOptions, Loaded, Session, TestRun, Verdict};
use crate::runtime::ctx::Refusal;
use crate::testrun::MapSlots;

/// A program the kernel has accepted.
pub struct Kernel {
    loaded: Loaded,
    /// Types that run once, whatever is asked for, and refuse to be asked.
    runs_once: bool,
    /// The context comes back.
    shows_ctx: bool,
}

/// Why the kernel does not run it.
#[derive(Debug)]
pub enum LoadError {
    /// With the positive error number.
    Rejected(i32),
    Kernel(KernelError),
}

impl Kernel {
    pub fn load(program: &Program) -> Result<Kernel, LoadError> {
        Kernel::load_linked(program, &[], &[])
    }

    /// With inner maps and programs in the slots of its maps (see [`Session::load_linked`]).
    pub fn load_linked(
        program: &Program,
        others: &[&Program],
        slots: &[MapSlots],
    ) -> Result<Kernel, LoadError> {
        let options = LoadOptions { log_level: 0, ..LoadOptions::default() };
        let (outcome, loaded) = Session::new()
            .load_linked(program, others, slots, &options)
            .map_err(LoadError::Kernel)?;
        match (outcome.verdict, loaded) {
            (Verdict::Accepted, Some(loaded)) => {
                let input = ProgInfo::of(program.prog_type).map(|row| row.input);
                let runs_once = matches!(input, Some(RunInput::Syscall | RunInput::RawTp));
                let shows_ctx = !runs_once || input == Some(RunInput::Syscall);
                Ok(Kernel { loaded, runs_once, shows_ctx })
            }
            _ => Err(LoadError::Rejected(outcome.errno.unwrap_or(0))),
        }
    }
}

impl Kernel {
    /// Puts an element into the map with this index; the error is an errno.  What the program
    /// does not name was not created and needs no element.
    pub fn update(
        &mut self,
        map: usize,
        def: &MapDef,
        key: &[u8],
        value: &[u8],
    ) -> Result<(), i32> {
        self.loaded.map_update(map, def, key, value)
    }

    /// See [`Loaded::elements`].
    pub fn elements(
        &self,
        index: usize,
        def: &MapDef,
        cpu: u32,
    ) -> Result<Option<Vec<Element>>, KernelError> {
        self.loaded.elements(index, def, cpu)
    }
}

impl Instance for Kernel {
    fn engine(&self) -> &'static str {
        "kernel"
    }

    fn run(&mut self, input: &Input) -> Outcome {
        let repeat = if self.runs_once { 0 } else { input.repeat.max(1) };
        let run = TestRun {
            data: &input.data,
            ctx: &input.ctx,
            repeat,
            takes_ctx_out: !self.runs_once,
            ..TestRun::default()
        };
        let mut result = self.loaded.test_run(&run);
        for _ in 1..input.repeat {
            if !self.runs_once || result.is_err() {
                break;
            }
            result = self.loaded.test_run(&run);
        }
        match result {
            Ok(r) => Outcome {
                r0: u64::from(r.retval),
                data_out: (!input.data.is_empty()).then_some(r.data_out),
                ctx_out: (!input.ctx.is_empty() && self.shows_ctx).then_some(r.ctx_out),
                duration: r.duration,
                ..Outcome::default()
            },
            Err(KernelError::Call { errno, .. }) => refused(Refusal::Errno(i64::from(errno))),
            Err(_) => refused(Refusal::Unsupported("running on this kernel")),
        }
    }
}

fn refused(refusal: Refusal) -> Outcome {
    Outcome { refusal: Some(refusal), duration: Duration::ZERO, ..Outcome::default() }
}
