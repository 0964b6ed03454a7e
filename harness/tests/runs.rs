//! Programs and inputs on the interpreter, against what the kernel's test run gave.
//!
//! `runs/*.txt` hold cases (`=== name`, then type, maps, inputs and program); `runs.truth` what Linux
//! 6.18.44 answered: one line per input.  `BPFASSAY_RECORD=1` asks the running
//! kernel again (it needs root) and rewrites that file.

#![allow(unsafe_code)]

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bpfassay_harness::engine::{Input, Instance, Outcome};
use bpfassay_harness::engines::native::Native;
use bpfassay_harness::kernel::{KernelError, LoadOptions, Session, TestRun};
use bpfassay_harness::native::{machine::Facts, IS_AVAILABLE};
use bpfassay_harness::runtime::ctx::Refusal;
use bpfassay_harness::runtime::world::World;
use bpfassay_harness::testrun::Interp;
use bpfassay_isa::asm::{assemble, Resolve};
use bpfassay_object::model::{MapDef, ProgFlags, Program};
use bpfassay_spec::helper::func_id;
use bpfassay_spec::{AttachType, MapType, ProgType};

struct Helpers;

impl Resolve for Helpers {
    fn helper(&self, name: &str) -> Option<i32> {
        func_id(name).and_then(|id| i32::try_from(id).ok())
    }
}

struct Case {
    program: Program,
    inputs: Vec<Input>,
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/runs")
}

fn hex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|i| u8::from_str_radix(&text[i..i + 2], 16).unwrap()).collect()
}

fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut s, b| {
        write!(s, "{b:02x}").unwrap();
        s
    })
}

/// `hash 4 8 16 1`: type, key size, value size, entries, flags.
fn map(text: &str, i: usize) -> MapDef {
    let w: Vec<&str> = text.split_whitespace().collect();
    let n = |i: usize| w.get(i).map_or(0, |v| v.parse().unwrap());
    MapDef {
        key_size: n(1),
        value_size: n(2),
        max_entries: n(3),
        map_flags: n(4),
        ..MapDef::bare(&format!("m{i}"), &format!("m{i}"), MapType::from_name(w[0]).unwrap())
    }
}

fn case(text: &str) -> Case {
    let (head, asm) = text.split_once("---\n").unwrap();
    let all = |key: &str| -> Vec<&str> {
        let values = head.lines().filter_map(|l| l.strip_prefix(key)?.strip_prefix(':'));
        values.map(str::trim).collect()
    };
    let mut maps: Vec<MapDef> = all("map").iter().enumerate().map(|(i, m)| map(m, i)).collect();
    // Read-only data, frozen as a loader leaves `.rodata`.
    for text in all("rodata") {
        let bytes = hex(text);
        let shape = format!("array 4 {} 1 {}", bytes.len(), MapDef::F_RDONLY_PROG);
        let mut def = map(&shape, maps.len());
        def.initial = Some(Arc::new(bytes));
        def.frozen = true;
        maps.push(def);
    }
    let ctx = all("ctx").first().map_or(Vec::new(), |c| hex(c));
    let input = |d: &&str| Input { data: hex(d), ctx: ctx.clone(), repeat: 1 };
    let program = Program {
        expected_attach_type: (all("type")[0] == "sk_lookup").then_some(AttachType::SkLookup),
        maps: Arc::new(maps),
        flags: ProgFlags { sleepable: all("type")[0] == "syscall", ..ProgFlags::default() },
        ..Program::bare(
            "run",
            ProgType::from_name(all("type")[0]).unwrap(),
            assemble(asm, &Helpers).unwrap(),
        )
    };
    Case { program, inputs: all("data").iter().map(input).collect() }
}

/// One answer as a line of the truth file; contexts only where they are handed in.
fn line(retval: u32, data: &[u8], ctx: &[u8]) -> String {
    format!("{retval} {} {}", digest(data), to_hex(ctx))
}

/// Short data as it is, long data by length and the places that are not zero.
fn digest(data: &[u8]) -> String {
    let end = data.iter().rposition(|b| *b != 0).map_or(0, |i| i + 1);
    format!("{}:{}", data.len(), to_hex(&data[..end]))
}

fn interp(program: &Program) -> Box<dyn Instance> {
    Box::new(Interp::load(program, World::seeded(1)).unwrap())
}

/// This host's JIT.
fn native(program: &Program) -> Box<dyn Instance> {
    // SAFETY: kernels accepted these programs.
    let native = unsafe { Native::load(program, &Facts::default(), World::seeded(1), None) };
    Box::new(native.unwrap())
}

fn ours(case: &Case, make: fn(&Program) -> Box<dyn Instance>) -> Vec<String> {
    case.inputs
        .iter()
        .map(|input| {
            // Made anew for each input, so that maps are empty.
            match make(&case.program).run(input) {
                Outcome { refusal: Some(Refusal::Errno(e)), .. } => format!("errno {e}"),
                Outcome { refusal: Some(r), .. } => format!("{r:?}"),
                Outcome { trap: Some(t), .. } => t.to_string(),
                out => line(
                    out.retval(),
                    &out.data_out.unwrap_or_default(),
                    &out.ctx_out.unwrap_or_default(),
                ),
            }
        })
        .collect()
}

fn kernels(case: &Case) -> Vec<String> {
    let answer = |input: &Input| {
        // Loaded anew for each input, so that maps are empty.
        let (outcome, loaded) =
            Session::new().load(&case.program, &LoadOptions::default()).unwrap();
        let Some(loaded) = loaded else { panic!("{}", outcome.log) };
        match loaded.test_run(&TestRun { data: &input.data, ctx: &input.ctx, ..TestRun::default() })
        {
            Ok(r) => line(r.retval, &r.data_out, &r.ctx_out),
            Err(KernelError::Call { errno, .. }) => format!("errno {errno}"),
            Err(e) => panic!("{e}"),
        }
    };
    case.inputs.iter().map(answer).collect()
}

fn cases() -> BTreeMap<String, Case> {
    let files = std::fs::read_dir(folder()).unwrap().map(|f| f.unwrap().path());
    files
        .filter(|f| f.extension().is_some_and(|e| e == "txt"))
        .flat_map(|f| {
            let text = std::fs::read_to_string(&f).unwrap();
            let parts: Vec<String> = text.split("=== ").skip(1).map(str::to_string).collect();
            parts
        })
        .map(|part| {
            let (name, text) = part.split_once('\n').unwrap();
            (name.to_string(), case(text))
        })
        .collect()
}

#[test]
fn interpreter_answers_as_the_kernel_did() {
    let truth_file = folder().with_extension("truth");
    let cases = cases();
    if std::env::var_os("BPFASSAY_RECORD").is_some() {
        let mut truth = String::new();
        for (name, case) in &cases {
            for (i, answer) in kernels(case).iter().enumerate() {
                writeln!(truth, "{name}/{i} {answer}").unwrap();
            }
        }
        std::fs::write(&truth_file, truth).unwrap();
    }
    compare(&cases, interp);
}

#[test]
fn native_code_answers_as_the_kernel_did() {
    if IS_AVAILABLE {
        compare(&cases(), native);
    }
}

fn compare(cases: &BTreeMap<String, Case>, make: fn(&Program) -> Box<dyn Instance>) {
    let truth_file = folder().with_extension("truth");
    let truth = std::fs::read_to_string(&truth_file).unwrap();
    let truth: BTreeMap<&str, &str> = truth.lines().map(|l| l.split_once(' ').unwrap()).collect();
    let mut wrong = String::new();
    let mut count = 0;
    for (name, case) in cases {
        for (i, answer) in ours(case, make).iter().enumerate() {
            let key = format!("{name}/{i}");
            let want = truth.get(key.as_str()).copied().unwrap_or("nothing recorded");
            count += 1;
            if answer.trim_end() != want.trim_end() {
                writeln!(wrong, "{key}\n  kernel {want}\n  ours   {answer}").unwrap();
            }
        }
    }
    assert!(wrong.is_empty(), "of {count}:\n{wrong}");
    assert_eq!(count, truth.len(), "recorded answers without a case");
}
