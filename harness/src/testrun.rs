//! A loaded program under either interpreter, run as BPF_PROG_RUN runs it.
//!
//! Maps live as long as the instance; each run gets a new packet and context.
//! Verifies nothing: the checking interpreter needs no verdict, the unchecked one
//! takes programs that have one ([`Trusted`]).
#![allow(unsafe_code)]

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use bpfassay_object::model::{KernelBtfRef, MapDef, Program};
use bpfassay_object::{Object, Slot};
use bpfassay_spec::{AttachType, PacketAccess, ProgInfo, ProgType};

use crate::engine::{Input, Instance, Outcome};
use crate::engines::code::Code;
use crate::engines::interp::{NoTrace, Thread, Tracer};
use crate::kernel::Element;
use crate::raw::DEFAULT_FUEL;
use crate::runtime::ctx::{self, Refusal};
use crate::runtime::helpers::HelperSet;
use crate::runtime::maps::errno::EINVAL;
use crate::runtime::maps::{Map, Shape};
use crate::runtime::memory::Memory;
use crate::runtime::types::{Field, Types};
use crate::runtime::world::World;
use crate::runtime::Runtime;
use crate::trust::Trusted;

/// Why a program cannot be made ready.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum LoadError {
    /// Creating this map gives this error number.
    Map { name: String, errno: i64 },
    /// The program reads fields of a map, whose layout nobody supplied ([`World::kernel`]).
    NoMapLayout,
}

/// Native code follows the map's address, so that the structure must stand there.
pub(crate) fn check_map_layout(reads_maps: bool, world: &World) -> Result<(), LoadError> {
    match reads_maps && world.kernel.vmlinux.is_none() {
        true => Err(LoadError::NoMapLayout),
        false => Ok(()),
    }
}

/// A program with its maps.
pub struct Interp {
    code: Arc<Code>,
    prog_type: ProgType,
    pub rt: Runtime,
    pub fuel: u64,
    is_unchecked: bool,
}

/// Fuel of the unchecked interpreter, which counts jumps and calls only.
const UNCHECKED_FUEL: u64 = 100 * DEFAULT_FUEL;

impl Interp {
    pub fn load(program: &Program, world: World) -> Result<Interp, LoadError> {
        let rt = make_runtime(Memory::default(), program, world)?;
        let code = Arc::new(Code::new(&program.insns));
        let prog_type = program.prog_type;
        Ok(Interp { code, prog_type, rt, fuel: DEFAULT_FUEL, is_unchecked: false })
    }

    /// As [`Interp::load`], with the verifier's word on which loads read as zero where there is nothing.
    pub fn verified(program: &Trusted<'_>, world: World) -> Result<Interp, LoadError> {
        let mut interp = Interp::load(program.program(), world)?;
        interp.rt.min_ctx = program.max_ctx_offset();
        Ok(Interp { code: trusted_code(program), ..interp })
    }

    /// The interpreter that looks at no access.
    pub fn unchecked(program: &Trusted<'_>, world: World) -> Result<Interp, LoadError> {
        check_map_layout(program.reads_maps(), &world)?;
        // SAFETY: the verifier has checked every access and every argument of a helper.
        let mut mem = unsafe { Memory::native() };
        mem.shows_maps = program.reads_maps();
        let mut rt = make_runtime(mem, program.program(), world)?;
        rt.min_ctx = program.max_ctx_offset();
        let prog_type = program.program().prog_type;
        let code = trusted_code(program);
        Ok(Interp { code, prog_type, rt, fuel: UNCHECKED_FUEL, is_unchecked: true })
    }

    /// Fills map slots as the object says: inner maps, and programs of program arrays.
    ///
    /// Programs that could not be linked leave their slots empty.
    pub fn fill_slots(&mut self, object: &Object) {
        if !self.is_unchecked {
            fill_slots(&mut self.rt, object);
        }
    }

    /// As [`Interp::fill_slots`]; programs that are not trusted leave their slots empty.
    pub fn fill_trusted_slots(&mut self, slots: &[MapSlots], programs: &[Trusted<'_>]) {
        fill_map_slots(&mut self.rt, slots, |name| {
            programs.iter().find(|p| p.program().name == name).map(trusted_code)
        });
    }

    /// As [`elements`].
    pub fn elements(&self, map: usize) -> Vec<Element> {
        elements(&self.rt, map)
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
        let mut thread = match self.is_unchecked {
            // SAFETY: `unchecked` and `fill_trusted_slots` take trusted programs only, and
            // the runtime made there is native.
            true => unsafe { Thread::unchecked(self.code.clone(), self.fuel, tracer) },
            false => Thread::new(self.code.clone(), self.fuel, tracer),
        };
        let start = Instant::now();
        match thread.run_repeatedly(&mut self.rt, [prepared.ctx, 0], repeat) {
            Ok(r0) => out.r0 = r0,
            Err(trap) => out.trap = Some(trap),
        }
        out.duration = start.elapsed() / repeat;
        out.insns = thread.executed();
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

/// Elements of a map in the order of their keys, special fields as zeroes; this CPU's values.
pub fn elements(rt: &Runtime, map: usize) -> Vec<Element> {
    let Some(map) = rt.maps.get(map) else { return Vec::new() };
    let shape = map.shape();
    let value = |(key, addr): (Vec<u8>, u64)| {
        let mut out = vec![0; shape.value_size as usize];
        let bytes = rt.mem.probe(addr, shape.value_size);
        shape.copy_value(&mut out, bytes.unwrap_or(&[]));
        (key, out)
    };
    let mut all: Vec<_> = map.entries(&rt.mem, rt.world.cpu).into_iter().map(value).collect();
    all.sort();
    all
}

/// What an object says of one map's slots.
pub type MapSlots = Vec<(u32, Slot)>;

fn trusted_code(program: &Trusted<'_>) -> Arc<Code> {
    Arc::new(Code::with_access(&program.program().insns, program.access().to_vec()))
}

/// A runtime for this program, with its maps and types.
pub fn make_runtime(mem: Memory, program: &Program, world: World) -> Result<Runtime, LoadError> {
    let types = types(program, &world);
    let mut rt = Runtime::in_memory(mem, world, HelperSet::linux());
    let row = ProgInfo::of(program.prog_type);
    rt.may_write_packet = row.is_some_and(|row| row.packet == PacketAccess::Write);
    rt.exception_callback = exception_callback(program);
    // Programs of redirect targets see frames that a test run cannot make.
    if let Some(AttachType::XdpDevmap | AttachType::XdpCpumap) = program.expected_attach_type {
        rt.refusal = Some(Refusal::Errno(EINVAL));
    }
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
    fill_map_slots(rt, &object.map_slots, |name| {
        let entry = object.programs.iter().find(|p| p.name == name)?;
        let program = entry.program.as_ref().ok()?;
        Some(Arc::new(Code::new(&program.insns)))
    });
}

/// Fills map slots; `program` gives the code of a name.
pub fn fill_map_slots(
    rt: &mut Runtime,
    slots: &[MapSlots],
    program: impl Fn(&str) -> Option<Arc<Code>>,
) {
    let mut codes: HashMap<&str, Option<Arc<Code>>> = HashMap::new();
    for (map, slots) in slots.iter().enumerate() {
        let Some(map) = rt.maps.get_mut(map) else { continue };
        for (i, slot) in slots {
            match slot {
                Slot::Map(inner) => {
                    map.set_inner(*i, u32::try_from(*inner).unwrap_or(u32::MAX));
                }
                Slot::Program(name) => {
                    let code = codes.entry(name).or_insert_with(|| program(name));
                    if let Some(code) = code {
                        map.set_program(*i, code.clone());
                    }
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
    let mut all: Vec<_> = program.btfs.iter().map(of).collect();
    if all.is_empty() {
        all.push(kernel.vmlinux.clone());
    }
    Types { program: program.btf.clone(), kernel: all }
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
