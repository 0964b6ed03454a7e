//! Engine of this host's JIT: `x86` or `arm64`.
//!
//! Mirrors the interpreter's two instances, for bare instructions ([`RawNative`]) and for loaded
//! programs ([`Native`]), in native memory.
#![allow(unsafe_code)]

use std::io::ErrorKind;
use std::time::Instant;

use bpfassay_isa::RawInsn;
use bpfassay_object::model::Program;
use bpfassay_object::Object;
use bpfassay_spec::ProgType;

use crate::engine::{Input, Instance, Outcome};
use crate::native::machine::{Facts, Machine, NativeError};
use crate::native::private_stack::PrivateStacks;
use crate::native::ENGINE;
use crate::runtime::ctx;
use crate::runtime::helpers::HelperSet;
use crate::runtime::memory::{Access, Memory, Region, RegionKind};
use crate::runtime::world::World;
use crate::runtime::Runtime;
use crate::testrun::{check_map_layout, fill_slots, make_runtime, LoadError};
use crate::trust::Trusted;

/// Bare instructions: r1 is memory, r2 its length.
pub struct RawNative {
    machine: Machine,
    rt: Runtime,
}

impl RawNative {
    /// # Safety
    /// Nothing of the program is verified: it may do whatever this process may.  Who runs it
    /// knows the program, or does not mind what becomes of the process.
    pub unsafe fn new(insns: &[RawInsn], blind: Option<u64>) -> Result<RawNative, NativeError> {
        // SAFETY: the caller's promise covers the addresses the program hands to helpers.
        let mem = unsafe { Memory::native() };
        let rt = Runtime::in_memory(mem, World::seeded(0), HelperSet::Conformance);
        let machine = Machine::new(insns, &Facts::default(), &rt, blind)?;
        Ok(RawNative { machine, rt })
    }

    pub fn machine(&self) -> &Machine {
        &self.machine
    }
}

impl Instance for RawNative {
    fn engine(&self) -> &'static str {
        ENGINE
    }

    fn run(&mut self, input: &Input) -> Outcome {
        self.rt.forget_input();
        let len = input.data.len() as u64;
        let region = Region::new(RegionKind::Input, Access::ReadWrite, input.data.clone());
        let memory = self.rt.add_input(region);
        let base = memory.filter(|_| len > 0).map_or(0, |id| self.rt.mem.addr(id, 0));
        let repeat = input.repeat.max(1);
        let mut out = Outcome::default();
        let start = Instant::now();
        // SAFETY: the promise of `new`.
        match unsafe { self.machine.run_repeatedly(&mut self.rt, [base, len], repeat) } {
            Ok(r0) => out.r0 = r0,
            Err(trap) => out.trap = Some(trap),
        }
        out.duration = start.elapsed() / repeat;
        out.data_out = memory.and_then(|id| self.rt.mem.region(id)).map(|r| r.bytes().to_vec());
        out
    }
}

/// A loaded program with its maps.
pub struct Native {
    machine: Machine,
    prog_type: ProgType,
    stacks: PrivateStacks,
    pub rt: Runtime,
}

impl Native {
    /// A program the verifier vouches for.
    pub fn trusted(
        program: &Trusted<'_>,
        world: World,
        blind: Option<u64>,
    ) -> Result<Native, NativeLoadError> {
        // SAFETY: trusted programs are accepted without a quirk.
        let mut native = unsafe {
            let (own, stacks) = (program.program(), program.private_stacks());
            Native::with_stacks(own, &Facts::of(program), stacks, world, blind)?
        };
        native.rt.min_ctx = program.max_ctx_offset();
        Ok(native)
    }

    /// # Safety
    /// The verifier accepted the program without a quirk, or nobody minds what becomes of this process.
    pub unsafe fn load(
        program: &Program,
        facts: &Facts,
        world: World,
        blind: Option<u64>,
    ) -> Result<Native, NativeLoadError> {
        // SAFETY: the caller's promise.
        unsafe { Native::with_stacks(program, facts, &[], world, blind) }
    }

    /// As [`Native::load`], with private stacks for the functions that begin at these slots.
    ///
    /// # Safety
    /// As [`Native::load`].
    unsafe fn with_stacks(
        program: &Program,
        facts: &Facts,
        stacks: &[u32],
        world: World,
        blind: Option<u64>,
    ) -> Result<Native, NativeLoadError> {
        check_map_layout(facts.reads_maps, &world).map_err(NativeLoadError::Load)?;
        let mut facts = facts.clone();
        // SAFETY: the caller's promise.
        let mut mem = unsafe { Memory::native() };
        mem.shows_maps = facts.reads_maps;
        let mut rt = make_runtime(mem, program, world).map_err(NativeLoadError::Load)?;
        facts.functions.extend(rt.exception_callback);
        let no_room = NativeLoadError::Native(NativeError::Memory(ErrorKind::OutOfMemory.into()));
        let stacks = PrivateStacks::new(&mut rt, stacks).ok_or(no_room)?;
        facts.private_stacks = stacks.tops(&rt);
        let machine =
            Machine::new(&program.insns, &facts, &rt, blind).map_err(NativeLoadError::Native)?;
        Ok(Native { machine, prog_type: program.prog_type, stacks, rt })
    }

    /// As [`crate::testrun::Interp::fill_slots`].
    pub fn fill_slots(&mut self, object: &Object) {
        fill_slots(&mut self.rt, object);
    }

    pub fn machine(&self) -> &Machine {
        &self.machine
    }
}

/// Why a program is not ready.
#[derive(Debug)]
pub enum NativeLoadError {
    Load(LoadError),
    Native(NativeError),
}

impl Instance for Native {
    fn engine(&self) -> &'static str {
        ENGINE
    }

    fn run(&mut self, input: &Input) -> Outcome {
        self.rt.forget_input();
        let prepared = match ctx::prepare(&mut self.rt, self.prog_type, input) {
            Ok(p) => p,
            Err(refusal) => return Outcome { refusal: Some(refusal), ..Outcome::default() },
        };
        let repeat = input.repeat.max(1);
        let mut out = Outcome::default();
        let start = Instant::now();
        let args = [prepared.ctx, 0];
        // SAFETY: the promise of `load`.
        match unsafe { self.machine.run_repeatedly(&mut self.rt, args, repeat) } {
            Ok(r0) => out.r0 = r0,
            Err(trap) => out.trap = Some(trap),
        }
        out.duration = start.elapsed() / repeat;
        out.trap = out.trap.or_else(|| self.stacks.damage(&self.rt));
        out.depends_on_world = self.rt.world.consulted;
        (out.data_out, out.ctx_out) = ctx::finish(&mut self.rt, &prepared);
        out
    }
}
