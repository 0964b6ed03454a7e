//! Verified programs on every engine of this host: arenas, private stacks, supplied contexts.
// Both take faults that are caught, or a processor there is a backend for.
#![cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]

use std::sync::Arc;

use bpfassay_harness::contain::Limits;
use bpfassay_harness::engine::{Input, Instance};
use bpfassay_harness::engines::native::Native;
use bpfassay_harness::native;
use bpfassay_harness::oracle::bundled::Bundled;
use bpfassay_harness::runtime::ctx::Refusal;
use bpfassay_harness::session::{self, EngineKind, Job, Subject};
use bpfassay_harness::testrun::Interp;
use bpfassay_harness::trust::Trusted;
use bpfassay_isa::asm::{assemble, NoNames};
use bpfassay_object::model::{MapDef, Program};
use bpfassay_spec::{AttachType, MapType, ProgType};

/// `BPF_F_MMAPABLE`.
const MMAPABLE: u32 = 1 << 10;

fn program(prog_type: ProgType, text: &str) -> Program {
    let insns = assemble(text, &NoNames).unwrap_or_else(|e| panic!("{e:?} in\n{text}"));
    Program::bare("program", prog_type, insns)
}

/// The program's value on the checking interpreter, the unchecked one and this host's JIT.
fn all(on: &Bundled, program: &Program, input: &Input) -> [u64; 3] {
    let trusted = Trusted::verify(program, &on.config()).expect("accepted");
    let mut engines: [Box<dyn Instance>; 3] = [
        Box::new(Interp::load(program, on.world()).expect("loads")),
        Box::new(Interp::unchecked(&trusted, on.world()).expect("loads")),
        Box::new(Native::trusted(&trusted, on.world(), None).expect("loads")),
    ];
    engines.each_mut().map(|e| {
        let out = e.run(input);
        assert_eq!((out.trap, out.refusal), (None, None), "{}", e.engine());
        out.r0
    })
}

#[test]
fn frames_of_programs_that_interrupt_each_other_have_stacks_of_their_own() {
    let on = Bundled::read(false).unwrap();
    // Three frames of 256 bytes: more than the kernel's stack is lent for.
    let text = "r1 = 42\n*(u64 *)(r10 -256) = r1\ncall pc+3\nr1 = *(u64 *)(r10 -256)\nr0 += r1\nexit\n\
                r1 = 7\n*(u64 *)(r10 -256) = r1\ncall pc+3\nr1 = *(u64 *)(r10 -256)\nr0 += r1\nexit\n\
                r1 = 1\n*(u64 *)(r10 -256) = r1\nr0 = *(u64 *)(r10 -256)\nexit";
    let kprobe = program(ProgType::Kprobe, text);
    let trusted = Trusted::verify(&kprobe, &on.config()).expect("accepted");
    assert_eq!(trusted.private_stacks(), [0, 6, 12]);
    assert_eq!(all(&on, &kprobe, &Input::default()), [50; 3]);
    // A classifier is not interrupted by itself, and has the kernel's stack alone.
    let classifier = program(ProgType::SchedCls, text);
    assert!(Trusted::verify(&classifier, &on.config()).is_err());
    // Frames of less than 64 bytes stay where they are.
    let small = program(ProgType::Kprobe, &text.replace("-256", "-32"));
    let trusted = Trusted::verify(&small, &on.config()).expect("accepted");
    assert!(trusted.private_stacks().is_empty());
}

/// A program that begins with the arena's address in r1, cast to the arena's own form.
fn arena_program(text: &str) -> Program {
    let text = format!("r1 = 0 ll\nr2 = 0 ll\nr1 = addr_space_cast(r1, 0, 1)\n{text}");
    let mut p = program(ProgType::SchedCls, &text);
    // The first instruction loads the address of the map's first byte, the second the map.
    (p.insns[0].src, p.insns[2].src) = (2, 1);
    let arena = MapDef {
        max_entries: 16,
        map_flags: MMAPABLE,
        initial: Some(Arc::new(vec![1, 2, 3, 4, 5, 6, 7, 8])),
        ..MapDef::bare("arena", "arena", MapType::Arena)
    };
    p.maps = Arc::new(vec![arena]);
    p
}

#[test]
fn arenas_are_read_and_written_where_pages_are_and_nothing_happens_elsewhere() {
    let on = Bundled::read(false).unwrap();
    let input = Input { data: vec![0; 64], ..Input::default() };
    let text = [
        // The page of the initial value.
        ("r0 = *(u32 *)(r1 +0)", 0x0403_0201),
        ("*(u32 *)(r1 +64) = 9\nr0 = *(u64 *)(r1 +64)", 9),
        ("r2 = 5\nlock *(u64 *)(r1 +0) += r2\nr0 = *(u8 *)(r1 +0)", 6),
        // No page: reads as zero, takes nothing.
        ("r1 += 8192\nr0 = 77\nr0 = *(u64 *)(r1 +0)", 0),
        ("r1 += 8192\n*(u64 *)(r1 +0) = 1\nr0 = *(u64 *)(r1 +0)\nr0 += 3", 3),
        ("r1 += 8192\nr2 = 5\nlock *(u64 *)(r1 +0) += r2\nr0 = *(u64 *)(r1 +0)", 0),
        // Half on a page: all of it faults.
        ("r0 = 1\nr0 = *(u64 *)(r1 +4092)", 0),
        ("*(u64 *)(r1 +4092) = -1\nr0 = *(u32 *)(r1 +4092)", 0),
        // The pointer user space would have, and back.
        ("r2 = r1\nr2 = addr_space_cast(r2, 1, 0)\nr0 = r2\nr0 >>= 32", 0x7f00),
    ];
    for (text, want) in text {
        let program = arena_program(&format!("{text}\nexit"));
        assert_eq!(all(&on, &program, &input), [want; 3], "{text}");
    }
}

#[test]
fn pointers_of_a_supplied_context_are_followed_in_no_process_of_ours() {
    let on = Bundled::read(false).unwrap();
    // The socket's family, through a pointer the context holds.
    let text = "r2 = *(u64 *)(r1 +64)\nr0 = *(u32 *)(r2 +4)\nr0 &= 1\nexit";
    let mut bind = program(ProgType::CgroupSockAddr, text);
    bind.expected_attach_type = Some(AttachType::CgroupInet4Bind);
    let trusted = [Trusted::verify(&bind, &on.config()).expect("accepted")];
    let input = Input { ctx: vec![0x41; 72], ..Input::default() };
    let mut native = Native::trusted(&trusted[0], on.world(), None).expect("loads");
    assert!(matches!(native.run(&input).refusal, Some(Refusal::Unsupported(_))));
    let mut unchecked = Interp::unchecked(&trusted[0], on.world()).expect("loads");
    assert!(matches!(unchecked.run(&input).refusal, Some(Refusal::Unsupported(_))));
    // In a child it is followed: to nowhere.
    let job = Job {
        subject: Subject::Program { program: &bind, others: Vec::new(), slots: &[] },
        inputs: vec![input],
        preload: Vec::new(),
        world: on.world(),
        keeps_output: true,
        dump_maps: false,
        trace: false,
        limits: Limits { may_lack_filter: true, ..Limits::default() },
    };
    let kind = EngineKind::from_name(native::ENGINE).unwrap();
    let answer = session::run(&job, kind, Ok(&trusted)).expect("an answer");
    assert!(answer.contained.is_some());
    let trap = answer.runs[0].trap.as_ref().expect("a trap");
    assert_eq!((trap.kind.as_str(), trap.insn_idx), ("memory", Some(1)));
}

/// `BPF_MAP_TYPE_*` with 8 bytes of value, and programs' ways to write a key, look it up and delete it.
struct Keys {
    map: MapDef,
    text: String,
}

impl Keys {
    fn of(map_type: MapType, key_size: u32, max_entries: u32) -> Keys {
        let map =
            MapDef { key_size, value_size: 8, max_entries, ..MapDef::bare("m", "m", map_type) };
        let zero = |at: i32| format!("*(u64 *)(r10 {at}) = 0\n");
        let text = (9..=16).map(|n| zero(-8 * n)).collect::<String>() + "r6 = 0\n";
        Keys { map, text }
    }

    /// The key with this number in its last four bytes, or in fewer.
    fn key(&mut self, n: u32) {
        let size = self.map.key_size.min(4);
        let at = |off: u32| off as i32 - 128;
        for i in 0..size {
            let byte = n.to_le_bytes()[i as usize];
            self.text += &format!("*(u8 *)(r10 {}) = {byte}\n", at(self.map.key_size - size + i));
        }
        self.text += "r1 = 0 ll\nr2 = r10\nr2 += -128\n";
    }

    fn update(&mut self, n: u32, value: u32) {
        self.text += &format!("*(u64 *)(r10 -64) = {value}\n");
        self.key(n);
        self.text += "r3 = r10\nr3 += -64\nr4 = 0\ncall 2\n";
    }

    fn look_up(&mut self, n: u32) {
        self.key(n);
        self.text += "call 1\nif r0 == 0 goto pc+1\nr0 = *(u64 *)(r0 +0)\nr6 *= 31\nr6 += r0\n";
    }

    fn delete(&mut self, n: u32) {
        self.key(n);
        self.text += "call 3\n";
    }

    fn program(self) -> Program {
        let mut p = program(ProgType::SchedCls, &(self.text + "r0 = r6\nexit"));
        p.insns.iter_mut().filter(|i| i.code == 0x18).for_each(|i| i.src = 1);
        p.maps = Arc::new(vec![self.map]);
        p
    }
}

#[test]
fn keys_of_every_size_are_found_on_every_engine() {
    let on = Bundled::read(false).unwrap();
    let input = Input { data: vec![0; 64], ..Input::default() };
    let types = [MapType::Hash, MapType::PercpuHash, MapType::LruHash, MapType::LruPercpuHash];
    for (nth, key_size) in
        [1, 2, 3, 4, 6, 8, 12, 13, 16, 20, 24, 36, 40, 44].into_iter().enumerate()
    {
        let mut keys = Keys::of(types[nth % types.len()], key_size, 64);
        let mut truth = 0u64;
        let mut values = std::collections::BTreeMap::new();
        for n in 0..40 {
            // Twice for some keys, so that the second value is the one found.
            keys.update(n * 5 % 35, n + 1);
            values.insert(n * 5 % 35, n + 1);
            if n % 7 == 3 {
                keys.delete(n / 2);
                values.remove(&(n / 2));
            }
            keys.look_up(n * 3 % 50);
            let found = values.get(&(n * 3 % 50)).copied().unwrap_or(0);
            truth = truth.wrapping_mul(31).wrapping_add(found.into());
        }
        let program = keys.program();
        assert_eq!(all(&on, &program, &input), [truth; 3], "{key_size} bytes");
    }
}

#[test]
fn elements_of_arrays_are_found_on_every_engine() {
    let on = Bundled::read(false).unwrap();
    let input = Input { data: vec![0; 64], ..Input::default() };
    for map_type in [MapType::Array, MapType::PercpuArray] {
        for entries in [1, 2, 13] {
            let mut keys = Keys::of(map_type, 4, entries);
            let mut truth = 0u64;
            (0..entries).for_each(|n| keys.update(n, n + 5));
            for n in [0, 1, 12, 13, 14, u32::MAX] {
                keys.look_up(n);
                let found = if n < entries { n + 5 } else { 0 };
                truth = truth.wrapping_mul(31).wrapping_add(found.into());
            }
            let program = keys.program();
            assert_eq!(all(&on, &program, &input), [truth; 3], "{entries} entries");
        }
    }
}
