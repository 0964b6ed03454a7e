//! Where control goes in compiled code: tail calls, callbacks, exceptions, faults, and who may write code.
//!
//! On the processor the tests run on, beside the checking interpreter; numbers expected are
//! the kernel's rules written out.
#![allow(unsafe_code)]
#![cfg(target_os = "linux")]

use std::sync::Arc;

use bpfassay_harness::engine::{Input, Instance, Outcome};
use bpfassay_harness::engines::code::Code;
use bpfassay_harness::engines::native::Native;
use bpfassay_harness::native::machine::{Facts, Machine};
use bpfassay_harness::native::IS_AVAILABLE;
use bpfassay_harness::runtime::helpers::HelperSet;
use bpfassay_harness::runtime::memory::Memory;
use bpfassay_harness::runtime::world::World;
use bpfassay_harness::runtime::Runtime;
use bpfassay_harness::testrun::{elements, Interp};
use bpfassay_isa::asm::{assemble, Resolve};
use bpfassay_isa::RawInsn;
use bpfassay_jit::Access;
use bpfassay_object::btf::Btf;
use bpfassay_object::model::{FuncInfo, MapDef, Program};
use bpfassay_spec::{MapType, ProgType};

struct Names;

impl Resolve for Names {
    fn helper(&self, name: &str) -> Option<i32> {
        let known = [
            ("bpf_map_lookup_elem", 1),
            ("bpf_tail_call", 12),
            ("bpf_for_each_map_elem", 164),
            ("bpf_loop", 181),
        ];
        known.iter().find(|(n, _)| *n == name).map(|(_, i)| *i)
    }

    fn kfunc(&self, name: &str) -> Option<(i32, i16)> {
        (name == "bpf_throw").then_some((THROW, 0))
    }
}

fn asm(text: &str) -> Vec<RawInsn> {
    assemble(text, &Names).unwrap_or_else(|e| panic!("{e} in\n{text}"))
}

fn map(map_type: MapType, value_size: u32, max_entries: u32) -> MapDef {
    MapDef { key_size: 4, value_size, max_entries, ..MapDef::bare("m", "m", map_type) }
}

/// Array of numbers, programs, hash.
fn program(text: &str) -> Program {
    let maps =
        vec![map(MapType::Array, 8, 4), map(MapType::ProgArray, 4, 4), map(MapType::Hash, 8, 4)];
    Program { maps: Arc::new(maps), ..Program::bare("p", ProgType::Syscall, asm(text)) }
}

struct Engines {
    interp: Interp,
    /// Without and with blinded constants.
    native: Vec<Native>,
}

impl Engines {
    fn new(program: &Program, world: &World) -> Engines {
        let native = |blind| {
            // SAFETY: the programs below stay within their memory.
            unsafe { Native::load(program, &Facts::default(), world.clone(), blind) }
                .expect("compiles")
        };
        let native = if IS_AVAILABLE { vec![native(None), native(Some(7))] } else { Vec::new() };
        Engines { interp: Interp::load(program, world.clone()).expect("loads"), native }
    }

    fn runtimes(&mut self) -> impl Iterator<Item = &mut Runtime> {
        std::iter::once(&mut self.interp.rt).chain(self.native.iter_mut().map(|n| &mut n.rt))
    }

    fn link(&mut self, slot: u32, insns: &[RawInsn]) {
        let code = Arc::new(Code::new(insns));
        for rt in self.runtimes() {
            assert!(rt.maps[1].set_program(slot, code.clone()));
        }
    }

    /// What every engine returns, which is the same.
    fn run(&mut self) -> u64 {
        let input = Input { ctx: vec![0; 64], ..Input::default() };
        let ended = |o: Outcome| {
            assert_eq!((o.trap, o.refusal), (None, None));
            o.r0
        };
        let want = ended(self.interp.run(&input));
        for native in &mut self.native {
            assert_eq!(ended(native.run(&input)), want);
        }
        want
    }

    /// The array's numbers.
    fn counts(&mut self) -> Vec<u64> {
        let mut all = Vec::new();
        for rt in self.runtimes() {
            let values = elements(rt, 0).into_iter();
            let values = values.map(|(_, v)| u64::from_le_bytes(v.try_into().unwrap()));
            all.push(values.collect::<Vec<u64>>());
        }
        all.dedup();
        assert_eq!(all.len(), 1, "engines differ: {all:?}");
        all.remove(0)
    }
}

/// Adds one to a number of the array; r6 to r9 stay.
fn count(slot: u32) -> String {
    format!(
        "*(u32 *)(r10 -4) = {slot}\nr2 = r10\nr2 += -4\nr1 = map[fd:0]\ncall bpf_map_lookup_elem\n\
         if r0 == 0 goto pc+2\nr1 = 1\nlock *(u64 *)(r0 +0) += r1\n"
    )
}

/// Jumps to program `slot` with the context in r6.
fn tail_call(slot: u32) -> String {
    format!("r1 = r6\nr2 = map[fd:1]\nr3 = {slot}\ncall bpf_tail_call\n")
}

#[test]
fn a_program_may_go_on_in_33_others() {
    let text = format!("r6 = r1\n{}{}r0 = 5\nexit", count(0), tail_call(0));
    let program = program(&text);
    let mut engines = Engines::new(&program, &World::seeded(0));
    engines.link(0, &program.insns);
    assert_eq!(engines.run(), 5);
    // Itself once, and 33 times after that.
    assert_eq!(engines.counts(), [34, 0, 0, 0]);
    assert_eq!(engines.run(), 5);
    assert_eq!(engines.counts(), [68, 0, 0, 0]);
}

#[test]
fn an_empty_slot_and_one_beyond_the_array_go_on_behind_the_call() {
    for slot in [3, 4, u32::MAX >> 1] {
        let text = format!("r6 = r1\n{}{}r0 = 7\nexit", tail_call(slot), count(1));
        let mut engines = Engines::new(&program(&text), &World::seeded(0));
        assert_eq!(engines.run(), 7);
        assert_eq!(engines.counts(), [0, 1, 0, 0]);
    }
}

#[test]
fn a_tail_call_in_a_function_returns_to_its_caller_with_registers_kept() {
    let text = format!(
        "r6 = r1\nr7 = 0x1234567890ab ll\nr8 = -3\nr9 = 11\n*(u64 *)(r10 -16) = 99\ncall sub\n\
         r1 = *(u64 *)(r10 -16)\nr0 += r1\nr0 += r7\nr0 += r8\nr0 += r9\nexit\n\
         sub:\nr6 = r1\n*(u64 *)(r10 -8) = 1\n{}r0 = 100\nexit",
        tail_call(0)
    );
    let mut engines = Engines::new(&program(&text), &World::seeded(0));
    let target = "r6 = 1\nr7 = 2\nr8 = 3\nr9 = 4\n*(u64 *)(r10 -512) = r6\nr0 = 1000\nexit";
    let kept = 99 + 0x1234_5678_90ab - 3 + 11;
    assert_eq!(engines.run(), 100 + kept);
    engines.link(0, &asm(target));
    assert_eq!(engines.run(), 1000 + kept);
}

#[test]
fn loops_call_back_until_told_to_stop() {
    let text = "r6 = 0\n*(u64 *)(r10 -8) = 5\nr1 = 10\nr2 = subprog[add]\nr3 = r10\nr3 += -8\nr4 = 0\n\
                call bpf_loop\nr7 = r0\nr1 = 10\nr2 = subprog[three]\nr3 = r10\nr3 += -8\nr4 = 0\n\
                call bpf_loop\nr7 *= 1000\nr7 += r0\nr0 = *(u64 *)(r10 -8)\nr0 *= 1000000\nr0 += r7\n\
                exit\n\
                add:\nr0 = *(u64 *)(r2 +0)\nr0 += r1\n*(u64 *)(r2 +0) = r0\nr0 = 0\nexit\n\
                three:\nr0 = 0\nif r1 < 2 goto pc+1\nr0 = 1\nexit";
    // 5 and the numbers below ten; ten calls, then three.
    assert_eq!(Engines::new(&program(text), &World::seeded(0)).run(), 50 * 1_000_000 + 10_003);
}

#[test]
fn a_callback_may_itself_loop_and_keeps_its_callers_registers() {
    let text = "r6 = 1\nr7 = 2\nr8 = 3\nr9 = 4\n*(u64 *)(r10 -8) = 0\nr1 = 3\nr2 = subprog[outer]\n\
                r3 = r10\nr3 += -8\nr4 = 0\ncall bpf_loop\nr0 = *(u64 *)(r10 -8)\nr0 *= 10000\n\
                r6 *= 1000\nr7 *= 100\nr8 *= 10\nr0 += r6\nr0 += r7\nr0 += r8\nr0 += r9\nexit\n\
                outer:\nr6 = r2\nr7 = 70\nr8 = 80\nr9 = 90\nr1 = 4\nr2 = subprog[inner]\nr3 = r6\nr4 = 0\n\
                call bpf_loop\nr0 = 0\nexit\n\
                inner:\nr6 = 60\nr0 = *(u64 *)(r2 +0)\nr0 += 1\n*(u64 *)(r2 +0) = r0\nr0 = 0\nexit";
    assert_eq!(Engines::new(&program(text), &World::seeded(0)).run(), 12 * 10_000 + 1234);
}

#[test]
fn each_element_is_handed_to_the_callback() {
    let text =
        "*(u64 *)(r10 -8) = 0\nr1 = map[fd:0]\nr2 = subprog[each]\nr3 = r10\nr3 += -8\nr4 = 0\n\
                call bpf_for_each_map_elem\nr1 = *(u64 *)(r10 -8)\nr1 *= 100\nr0 += r1\nexit\n\
                each:\nr5 = *(u32 *)(r2 +0)\nr5 += 1\n*(u64 *)(r3 +0) = r5\nr0 = *(u64 *)(r4 +0)\n\
                r0 += r5\n*(u64 *)(r4 +0) = r0\nr0 = 0\nexit";
    let mut engines = Engines::new(&program(text), &World::seeded(0));
    // Four calls; keys plus one sum up to ten.
    assert_eq!(engines.run(), 1004);
    assert_eq!(engines.counts(), [1, 2, 3, 4]);
}

/// BTF id of `bpf_throw` in [`throwing`].
const THROW: i32 = 2;

/// Kernel types with one function: `void bpf_throw()`.
fn throwing() -> World {
    btf(&[(13 << 24, 0, 0), (12 << 24, 1, 1)], "\0bpf_throw\0")
}

fn btf_bytes(types: &[(u32, u32, u32)], strings: &str) -> Vec<u8> {
    let words: Vec<u8> = types
        .iter()
        .flat_map(|(info, name, ty)| [*name, *info, *ty])
        .flat_map(u32::to_le_bytes)
        .collect();
    let mut out = vec![0x9f, 0xeb, 1, 0];
    for n in [24, 0, words.len(), words.len(), strings.len()] {
        out.extend((n as u32).to_le_bytes());
    }
    [out, words, strings.as_bytes().to_vec()].concat()
}

/// A world whose kernel has these types: info, name, type or size.
fn btf(types: &[(u32, u32, u32)], strings: &str) -> World {
    let mut world = World::seeded(0);
    let btf = Btf::parse(&btf_bytes(types, strings), None).expect("BTF");
    world.kernel.vmlinux = Some(Arc::new(btf));
    world
}

#[test]
fn exceptions_leave_every_frame() {
    // Two frames deep, registers saved in both.
    let text = "r6 = 1\nr7 = 2\ncall one\nr0 = 3\nexit\n\
                one:\nr6 = 5\n*(u64 *)(r10 -8) = r6\ncall two\nr0 = 4\nexit\n\
                two:\nr7 = 6\n*(u64 *)(r10 -8) = r7\nr1 = 77\ncall bpf_throw\nr0 = 9\nexit";
    // Without a callback the cookie is the result.
    let mut engines = Engines::new(&program(text), &throwing());
    assert_eq!(engines.run(), 77);
    assert_eq!(engines.run(), 77);
}

#[test]
fn an_exception_callback_decides_what_the_run_returns() {
    let text = "r6 = 1\ncall one\nr0 = 3\nexit\n\
                one:\nr6 = 5\nr1 = 77\ncall bpf_throw\nr0 = 4\nexit\n\
                catch:\nr6 = r1\n*(u64 *)(r10 -8) = r6\nr0 = *(u64 *)(r10 -8)\nr0 *= 2\nexit";
    let mut program = program(text);
    // Function `main`, with a tag that names `catch`.
    let strings = "\0main\0catch\0exception_callback:catch\0";
    let (tag, function, proto) = (17 << 24, 12 << 24 | 1, 13 << 24);
    let mut types =
        btf_bytes(&[(proto, 0, 0), (function, 1, 1), (function, 6, 1), (tag, 12, 2)], strings);
    // A tag ends with the component it is for: the function itself.
    let at = 24 + 4 * 12;
    types.splice(at..at, (-1i32).to_le_bytes());
    for len in [12, 16] {
        types[len..len + 4].copy_from_slice(&52u32.to_le_bytes());
    }
    program.btf = Some(Arc::new(Btf::parse(&types, None).expect("BTF")));
    let catch = program.insns.len() as u32 - 5;
    program.func_info =
        vec![FuncInfo { insn_off: 0, type_id: 2 }, FuncInfo { insn_off: catch, type_id: 3 }];
    let mut engines = Engines::new(&program, &throwing());
    assert_eq!(engines.run(), 154);
    assert_eq!(engines.run(), 154);
}

#[test]
fn loads_of_every_kind_that_fault_read_as_zero() {
    if !IS_AVAILABLE {
        return;
    }
    let sizes = ["u8", "u16", "u32", "u64", "s8", "s16", "s32"];
    for size in sizes {
        for dst in [0, 1, 2, 3, 4, 5, 6, 7, 8] {
            // An address in the null page, one nobody maps, and one that is no address at all.
            for bad in ["16", "0x7ffffffff000 ll", "0xdead000000000000 ll"] {
                let text = format!(
                    "r9 = {bad}\nr{dst} = -1\nr{dst} = *({size} *)(r9 +24)\nr0 = r{dst}\nr0 += 40\nexit"
                );
                let insns = asm(&text);
                let load = insns.len() - 4;
                let mut access = vec![Access::Plain; insns.len()];
                access[load] = Access::Probe;
                let facts = Facts { access, ..Facts::default() };
                // SAFETY: no helper is called.
                let mem = unsafe { Memory::native() };
                let mut rt = Runtime::in_memory(mem, World::seeded(0), HelperSet::Conformance);
                let mut machine = Machine::new(&insns, &facts, &rt, None).expect("compiles");
                // SAFETY: the load faults, which is what is tried.
                let r0 = unsafe { machine.run(&mut rt, [0, 0]) };
                assert_eq!(r0.expect("no trap"), 40, "{text}");
            }
        }
    }
}

#[test]
fn code_is_never_writable() {
    if !IS_AVAILABLE {
        return;
    }
    let text = format!("r6 = r1\n{}{}r0 = 5\nexit", count(0), tail_call(0));
    let program = program(&text);
    let mut engines = Engines::new(&program, &World::seeded(0));
    engines.link(0, &asm("r0 = 6\nexit"));
    // The program jumped to is compiled while the first one runs.
    assert_eq!(engines.run(), 6);
    let all = mappings();
    assert!(all.iter().all(|m| !(m.mode.contains('w') && m.mode.contains('x'))), "{all:?}");
    // Other tests map and unmap theirs meanwhile; ours are there, however many.
    assert!(all.iter().any(|m| m.is_anonymous && m.mode.contains('x')), "{all:?}");
}

#[derive(Debug)]
struct Mapping {
    mode: String,
    /// Neither a file's nor the kernel's (`[vdso]`).
    is_anonymous: bool,
}

/// Every mapping of this process.
fn mappings() -> Vec<Mapping> {
    let text = std::fs::read_to_string("/proc/self/maps").expect("proc");
    let fields = text.lines().map(|l| l.split_whitespace().collect::<Vec<_>>());
    fields.map(|f| Mapping { mode: f[1].to_string(), is_anonymous: f.len() == 5 }).collect()
}
