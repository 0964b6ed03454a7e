//! A loaded program under the interpreter, run as BPF_PROG_RUN runs it.
//!
//! Maps live as long as the instance; each run gets a new packet and context.
//! Verifies nothing: who calls this has a verdict, or runs it in a child.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bpfassay_object::model::{KernelBtfRef, MapDef, Program};
use bpfassay_object::{Object, Slot};
use bpfassay_spec::ProgType;

use crate::engine::{Input, Instance, Outcome};
use crate::engines::code::Code;
use crate::engines::interp::{NoTrace, Thread, Tracer};
use crate::raw::DEFAULT_FUEL;
use crate::runtime::ctx::{self, Refusal};
use crate::runtime::helpers::HelperSet;
use crate::runtime::maps::{Map, Shape};
use crate::runtime::memory::Memory;
use crate::runtime::types::{Field, Types};
use crate::runtime::world::World;
use crate::runtime::Runtime;

/// Why a program cannot be made ready.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum LoadError {
    /// Creating this map gives this error number.
    Map { name: String, errno: i64 },
}

/// A program with its maps.
pub struct Interp {
    code: Arc<Code>,
    prog_type: ProgType,
    pub rt: Runtime,
    pub fuel: u64,
}

impl Interp {
    pub fn load(program: &Program, world: World) -> Result<Interp, LoadError> {
        let rt = make_runtime(Memory::default(), program, world)?;
        let code = Arc::new(Code::new(&program.insns));
        Ok(Interp { code, prog_type: program.prog_type, rt, fuel: DEFAULT_FUEL })
    }

    /// Fills map slots as the object says: inner maps, and programs of program arrays.
    ///
    /// Programs that could not be linked leave their slots empty.
    pub fn fill_slots(&mut self, object: &Object) {
        fill_slots(&mut self.rt, object);
    }

    /// The decoded program, to put into another's prog array.
    pub fn code(&self) -> &Arc<Code> {
        &self.code
    }

    /// As [`Instance::run`], with every instruction shown to `tracer`.
    pub fn run_traced<T: Tracer>(&mut self, input: &Input, tracer: &mut T) -> Outcome {
        self.rt.forget_input();
        let prepared = match ctx::prepare(&mut self.rt, self.prog_type, input) {
            Ok(p) => p,
            Err(refusal) => return Outcome { refusal: Some(refusal), ..Outcome::default() },
        };
        let repeat = input.repeat.max(1);
        let mut out = Outcome::default();
        let mut spent = Duration::ZERO;
        for _ in 0..repeat {
            self.rt.start_run();
            let mut thread = Thread::new(self.code.clone(), self.fuel, tracer);
            let start = Instant::now();
            let result = thread.run(&mut self.rt, [prepared.ctx, 0]);
            spent += start.elapsed();
            out.insns = thread.executed();
            match result {
                Ok(r0) => out.r0 = r0,
                Err(trap) => {
                    out.trap = Some(trap);
                    break;
                }
            }
        }
        out.duration = spent / repeat;
        out.depends_on_world = self.rt.world.consulted;
        (out.data_out, out.ctx_out) = ctx::finish(&mut self.rt, &prepared);
        out
    }

    /// Why the last input was refused, as the kernel's error number where it has one.
    pub fn errno(refusal: &Refusal) -> Option<i64> {
        match refusal {
            Refusal::Errno(e) => Some(*e),
            Refusal::Unsupported(_) => None,
        }
    }
}

impl Instance for Interp {
    fn engine(&self) -> &'static str {
        "interp"
    }

    fn run(&mut self, input: &Input) -> Outcome {
        self.run_traced(input, &mut NoTrace)
    }
}

/// A runtime for this program, with its maps and types.
pub fn make_runtime(mem: Memory, program: &Program, world: World) -> Result<Runtime, LoadError> {
    use ProgType::*;
    let types = types(program, &world);
    let mut rt = Runtime::in_memory(mem, world, HelperSet::linux());
    rt.may_write_packet =
        matches!(program.prog_type, SchedCls | SchedAct | Xdp | LwtXmit | SkSkb | SkMsg);
    rt.exception_callback = exception_callback(program);
    for def in program.maps.iter() {
        let special = types.fields(def.btf_value_type_id);
        add_map(&mut rt, def, special)
            .map_err(|errno| LoadError::Map { name: def.name.clone(), errno })?;
    }
    for map in &mut rt.maps {
        map.show(&mut rt.mem, &types);
    }
    rt.types = types;
    Ok(rt)
}

/// Fills map slots as the object says (see [`Interp::fill_slots`]).
pub fn fill_slots(rt: &mut Runtime, object: &Object) {
    let mut codes: HashMap<&str, Arc<Code>> = HashMap::new();
    for (map, slots) in object.map_slots.iter().enumerate() {
        for (i, slot) in slots {
            match slot {
                Slot::Map(inner) => {
                    let inner = u32::try_from(*inner).unwrap_or(u32::MAX);
                    rt.maps.get_mut(map).map(|m| m.set_inner(*i, inner));
                }
                Slot::Program(name) => {
                    let entry = object.programs.iter().find(|p| p.name == *name);
                    let Some(Ok(program)) = entry.map(|e| &e.program) else { continue };
                    let code = codes
                        .entry(name.as_str())
                        .or_insert_with(|| Arc::new(Code::new(&program.insns)));
                    rt.maps.get_mut(map).map(|m| m.set_program(*i, code.clone()));
                }
            }
        }
    }
}

/// The program's types, and the kernel's in the order of the program's descriptors.
fn types(program: &Program, world: &World) -> Types {
    let kernel = &world.kernel;
    let of = |r: &KernelBtfRef| match r {
        KernelBtfRef::Vmlinux => kernel.vmlinux.clone(),
        KernelBtfRef::Module(name) => {
            kernel.modules.iter().find(|(n, _)| n == name).map(|(_, b)| b.clone())
        }
    };
    Types { program: program.btf.clone(), kernel: program.btfs.iter().map(of).collect() }
}

/// Slot of the function the program's declaration tag names (`btf_find_exception_callback...`).
fn exception_callback(program: &Program) -> Option<u32> {
    let btf = program.btf.as_ref()?;
    let main = program.func_info.iter().find(|f| f.insn_off == 0)?.type_id;
    let name = btf.decl_tags(main, -1).find_map(|t| t.strip_prefix("exception_callback:"))?;
    let func = program.func_info.iter().find(|f| btf.name(f.type_id) == name)?;
    Some(func.insn_off)
}

/// Creates a map and fills it with its initial value.
fn add_map(rt: &mut Runtime, def: &MapDef, special: Vec<Field>) -> Result<(), i64> {
    let index = u32::try_from(rt.maps.len()).unwrap_or(u32::MAX);
    let shape = Shape { special, ..Shape::of(def, rt.world.cpus) };
    let map = Map::new(&mut rt.mem, index, shape)?;
    if let Some(bytes) = def.initial.as_ref().filter(|_| map.is_arena()) {
        if let Some(arena) = &mut rt.mem.arena {
            arena.fill(bytes);
        }
    }
    let initial = def.initial.as_ref().zip(map.direct_value());
    if let Some((bytes, id)) = initial {
        let to = rt.mem.region_mut(id).and_then(|r| r.bytes_mut().get_mut(..bytes.len()));
        if let Some(to) = to {
            to.copy_from_slice(bytes);
        }
    }
    rt.maps.push(map);
    Ok(())
}
