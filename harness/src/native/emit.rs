//! Machine code of a program for either processor, for reading, not for running here.
//!
//! Addresses are stand-ins that look like a process's, so that lengths are real ones:
//! map `i` lies at [`HEAP`] plus a stride, the run context above it.

use bpfassay_isa::{CallTarget, Imm64};
pub use bpfassay_jit::Compiled;
use bpfassay_jit::{Access, ArrayPlan, CallPlan, HashPlan, JitError, Options, Resolve, Source};
use bpfassay_object::model::{MapDef, Program};
use bpfassay_spec::MapType;

/// A processor there is a backend for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Processor {
    /// With BMI2 and MOVBE.
    X86,
    /// With single-instruction atomics.
    Arm64,
}

/// As a process sees it: an address of 47 bits.
const HEAP: u64 = 0x7f3a_5c21_4000;
const CONTEXT: u64 = HEAP + 0x40_0000;
/// Helpers by number, as far as code is written for them.
const MAP_LOOKUP: i32 = 1;
const TAIL_CALL: i32 = 12;

struct StandIns<'p>(&'p [MapDef]);

fn map_at(index: i32) -> u64 {
    HEAP + 0x2_1460 * u64::from(index as u32)
}

/// How code finds the elements of a map whose first one is at `base`, as on the first CPU.
fn plan(map: &MapDef, base: u64) -> CallPlan {
    match map.map_type {
        MapType::Array | MapType::PercpuArray => CallPlan::Array(ArrayPlan {
            base,
            stride: map.value_size.next_multiple_of(8),
            entries: map.max_entries,
        }),
        MapType::Hash | MapType::PercpuHash => {
            CallPlan::Hash(HashPlan { table: base, key_size: map.key_size, offset: 0 })
        }
        _ => CallPlan::Host,
    }
}

impl Resolve for StandIns<'_> {
    fn wide(&mut self, _: u32, value: Imm64) -> Result<u64, &'static str> {
        Ok(match value {
            Imm64::MapFd(i) | Imm64::MapIdx(i) => map_at(i),
            Imm64::MapValue { fd, off } => map_at(fd) + 0x100 + u64::from(off),
            Imm64::MapIdxValue { idx, off } => map_at(idx) + 0x100 + u64::from(off),
            _ => HEAP,
        })
    }

    fn call(&mut self, _: u32, target: CallTarget, map: Option<Imm64>) -> CallPlan {
        match (target, map) {
            (CallTarget::Helper(TAIL_CALL), _) => CallPlan::TailCall,
            (CallTarget::Helper(MAP_LOOKUP), Some(Imm64::MapFd(i))) => {
                let map = usize::try_from(i).ok().and_then(|n| self.0.get(n));
                map.map_or(CallPlan::Host, |m| plan(m, map_at(i) + 0x100))
            }
            _ => CallPlan::Host,
        }
    }
}

/// Compiles `program`; `access` is how its slots reach memory, where that is known.
pub fn emit(
    program: &Program,
    access: &[Access],
    processor: Processor,
) -> Result<Compiled, JitError> {
    let source = Source { access, ..Source::raw(&program.insns) };
    let options = Options { context: CONTEXT, blind: None };
    let mut maps = StandIns(&program.maps);
    match processor {
        Processor::Arm64 => bpfassay_jit_arm64::compile(&source, &options, true, &mut maps),
        Processor::X86 => {
            let base = bpfassay_jit_x86::Features::BASE;
            let features = bpfassay_jit_x86::Features { bmi2: true, movbe: true, ..base };
            bpfassay_jit_x86::compile(&source, &options, features, &mut maps)
        }
    }
}
