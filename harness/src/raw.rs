//! Bare instructions: r1 is memory, r2 its length, nothing is verified.
//!
//! The conventions of the public conformance suite, its helper 5 and call by
//! register included.  Memory keeps what one run leaves for the next.
#![allow(unsafe_code)]

use std::sync::Arc;
use std::time::Instant;

use bpfassay_isa::RawInsn;

use crate::engine::{Input, Instance, Outcome};
use crate::engines::code::Code;
use crate::engines::interp::{NoTrace, Thread, Tracer};
use crate::runtime::helpers::HelperSet;
use crate::runtime::memory::{Access, Memory, Region, RegionKind};
use crate::runtime::world::World;
use crate::runtime::Runtime;

/// Instructions of one run unless the caller says otherwise.
pub const DEFAULT_FUEL: u64 = 100_000_000;

/// A raw program under either interpreter.
pub struct RawInterp {
    code: Arc<Code>,
    pub fuel: u64,
    is_unchecked: bool,
}

impl RawInterp {
    pub fn new(insns: &[RawInsn]) -> RawInterp {
        RawInterp { code: Arc::new(Code::new(insns)), fuel: DEFAULT_FUEL, is_unchecked: false }
    }

    /// Under the interpreter that looks at no access.
    ///
    /// # Safety
    /// Nobody minds what the program does to this process.
    pub unsafe fn unchecked(insns: &[RawInsn]) -> RawInterp {
        RawInterp { is_unchecked: true, ..RawInterp::new(insns) }
    }

    /// As [`Instance::run`], with every instruction shown to `tracer`.
    pub fn run_traced<T: Tracer>(&mut self, input: &Input, tracer: &mut T) -> Outcome {
        let mem = match self.is_unchecked {
            // SAFETY: the promise of `unchecked`.
            true => unsafe { Memory::native() },
            false => Memory::default(),
        };
        let mut rt = Runtime::in_memory(mem, World::seeded(0), HelperSet::Conformance);
        let len = input.data.len() as u64;
        let region = Region::new(RegionKind::Input, Access::ReadWrite, input.data.clone());
        let memory = rt.mem.add(region);
        // Without memory the suite passes a null pointer.
        let base = memory.filter(|_| len > 0).map_or(0, |id| rt.mem.addr(id, 0));
        let repeat = input.repeat.max(1);
        let mut out = Outcome::default();
        let mut thread = match self.is_unchecked {
            // SAFETY: the promise of `unchecked`; the memory is native.
            true => unsafe { Thread::unchecked(self.code.clone(), self.fuel, tracer) },
            false => Thread::new(self.code.clone(), self.fuel, tracer),
        };
        let start = Instant::now();
        match thread.run_repeatedly(&mut rt, [base, len], repeat) {
            Ok(r0) => out.r0 = r0,
            Err(trap) => out.trap = Some(trap),
        }
        out.duration = start.elapsed() / repeat;
        out.insns = thread.executed();
        out.data_out = memory.and_then(|id| rt.mem.region(id)).map(|r| r.bytes().to_vec());
        out
    }
}

impl Instance for RawInterp {
    fn engine(&self) -> &'static str {
        if self.is_unchecked {
            "interp-unchecked"
        } else {
            "interp"
        }
    }

    fn run(&mut self, input: &Input) -> Outcome {
        self.run_traced(input, &mut NoTrace)
    }
}
