//! Every accepted program of the corpus that takes packets, on every engine of this host but the
//! kernel, against the kernel's test run.
//!
//! `corpus_runs.truth` has one line per program: what Linux 6.18.44 returned for each packet, and
//! digests of the packets and of the maps afterwards.  `BPFASSAY_RECORD=1` asks the running kernel
//! again (it needs root; it loads and test-runs, and attaches nothing) and rewrites the file.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;

use bpfassay_corpus::truth::{Answer, ObjectTruth};
use bpfassay_harness::engine::{Instance, Outcome};
use bpfassay_harness::engines::kernel::Kernel;
use bpfassay_harness::engines::native::Native;
use bpfassay_harness::kernel::{stay_on_cpu, Element};
use bpfassay_harness::native;
use bpfassay_harness::oracle::bundled::{corpus, Bundled};
use bpfassay_harness::oracle::packets::inputs;
use bpfassay_harness::runtime::Runtime;
use bpfassay_harness::testrun::{elements, Interp};
use bpfassay_harness::trust::Trusted;
use bpfassay_object::model::Program;
use bpfassay_spec::ProgType;

/// Reads stack it never wrote, which a privileged program may: the kernel's answer is chance.
const BY_CHANCE: [&str; 1] = ["reject/no_return_value.o unwritten_stack_ok"];

fn takes_packets(t: ProgType) -> bool {
    use ProgType::*;
    matches!(t, SchedCls | SchedAct | Xdp | SocketFilter | CgroupSkb | LwtIn | LwtOut | LwtXmit)
}

/// Accepted programs, under `object program`.
fn programs(on: &Bundled) -> BTreeMap<String, Program> {
    let truth = corpus().join("truth/6.18.44");
    let mut out = BTreeMap::new();
    for label in bpfassay_corpus::truth::list(&truth).unwrap() {
        let Some(name) = label.strip_prefix("v3/") else { continue };
        let said = ObjectTruth::read(&truth, &label).unwrap();
        let bytes = std::fs::read(corpus().join("objects").join(&label)).unwrap();
        let object = on.load(&bytes, name).unwrap();
        for entry in &object.programs {
            let accepted = said
                .programs
                .iter()
                .any(|p| p.name == entry.name && matches!(p.answer, Answer::Accepted));
            let Ok(program) = &entry.program else { continue };
            if accepted && takes_packets(program.prog_type) {
                out.insert(format!("{name} {}", entry.name), program.clone());
            }
        }
    }
    out
}

fn digest(parts: impl IntoIterator<Item = Vec<u8>>) -> String {
    let mut all = Vec::new();
    for p in parts {
        all.extend((p.len() as u64).to_le_bytes());
        all.extend(p);
    }
    ObjectTruth::hash_of(&all)
}

/// One program's line; None where the engine did not run an input.
fn line(outcomes: &[Outcome], maps: Vec<Vec<Element>>) -> Option<String> {
    if outcomes.iter().any(|o| o.trap.is_some()) {
        return None;
    }
    let mut text = String::new();
    for o in outcomes {
        match &o.refusal {
            Some(r) => write!(text, "{r:?},").unwrap(),
            None => write!(text, "{},", o.retval() as i32).unwrap(),
        }
    }
    let data = outcomes.iter().map(|o| o.data_out.clone().unwrap_or_default());
    let elements = maps.into_iter().flatten().flat_map(|(k, v)| [k, v]);
    Some(format!("{text} {} {}", digest(data), digest(elements)))
}

/// Maps whose elements both sides can list.
fn is_listed(program: &Program, i: usize) -> bool {
    use bpfassay_spec::MapType::*;
    let used = program.insns.iter().any(|insn| {
        insn.is_ld_imm64() && matches!(insn.src, 1 | 2) && usize::try_from(insn.imm) == Ok(i)
    });
    let t = program.maps[i].map_type;
    used && matches!(t, Array | PercpuArray | Hash | PercpuHash | LruHash | LruPercpuHash | LpmTrie)
}

/// What an engine says of the inputs and holds in the maps afterwards, whether the world had a
/// part in it, and what stopped it.
fn ours<E: Instance>(
    program: &Program,
    mut engine: E,
    rt: impl Fn(&E) -> &Runtime,
) -> (Option<String>, bool, String) {
    let outcomes: Vec<Outcome> =
        inputs(program.prog_type).iter().map(|input| engine.run(input)).collect();
    let rt = rt(&engine);
    let maps = (0..program.maps.len()).filter(|i| is_listed(program, *i));
    let maps = maps.map(|i| elements(rt, i)).collect();
    let trap =
        outcomes.iter().find_map(|o| o.trap.as_ref()).map_or(String::new(), |t| t.to_string());
    (line(&outcomes, maps), rt.world.consulted, trap)
}

fn kernels(program: &Program, on: &Bundled, cpu: u32) -> Option<String> {
    let mut kernel = Kernel::load(program).unwrap();
    let outcomes: Vec<Outcome> =
        inputs(program.prog_type).iter().map(|input| kernel.run(input)).collect();
    // What is special in a value is for the kernel alone; the interpreter's shapes say where it is.
    let shapes = Interp::load(program, on.world()).unwrap();
    let mut maps = Vec::new();
    for (i, def) in program.maps.iter().enumerate().filter(|(i, _)| is_listed(program, *i)) {
        let mut elements = kernel.elements(i, def, cpu).unwrap().unwrap();
        for (_, value) in &mut elements {
            let shown = std::mem::replace(value, vec![0; value.len()]);
            shapes.rt.maps[i].shape().copy_value(value, &shown);
        }
        maps.push(elements);
    }
    line(&outcomes, maps)
}

#[test]
fn corpus_programs_answer_as_the_kernel_did() {
    let truth_file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus_runs.truth");
    if std::env::var_os("BPFASSAY_RECORD").is_some() {
        let on = Bundled::read(true).unwrap();
        let cpu = stay_on_cpu().unwrap();
        let mut text = String::new();
        for (name, program) in &programs(&on) {
            if let Some(line) = kernels(program, &on, cpu) {
                writeln!(text, "{name}: {line}").unwrap();
            }
        }
        std::fs::write(&truth_file, text).unwrap();
    }
    let on = Bundled::read(false).unwrap();
    let programs = programs(&on);
    let truth = std::fs::read_to_string(&truth_file).unwrap();
    let truth: BTreeMap<&str, &str> = truth.lines().map(|l| l.split_once(": ").unwrap()).collect();
    assert_eq!(truth.len(), programs.len(), "programs without an answer");
    let mut wrong = String::new();
    for engine in ["interp", "interp-unchecked", native::ENGINE] {
        if engine == native::ENGINE && !native::fault::IS_CAUGHT {
            continue;
        }
        let (mut equal, mut by_world) = (0, Vec::new());
        for (name, want) in &truth {
            let program = programs.get(*name).unwrap_or_else(|| panic!("{name} is gone"));
            let trusted = Trusted::verify(program, &on.config()).expect(name);
            let (answer, depends, trap) = match engine {
                "interp" => ours(program, Interp::load(program, on.world()).unwrap(), |i| &i.rt),
                "interp-unchecked" => {
                    ours(program, Interp::unchecked(&trusted, on.world()).unwrap(), |i| &i.rt)
                }
                _ => {
                    let native = Native::trusted(&trusted, on.world(), None).expect(name);
                    ours(program, native, |n| &n.rt)
                }
            };
            match answer {
                Some(a) if a == *want => equal += 1,
                _ if BY_CHANCE.contains(name) => {}
                Some(_) if depends => by_world.push(*name),
                a => writeln!(
                    wrong,
                    "{name}\n  kernel {want}\n  {engine} {} {trap}",
                    a.unwrap_or_default()
                )
                .unwrap(),
            }
        }
        println!(
            "{engine}: {equal} of {} equal, by time, chance or task: {by_world:?}",
            truth.len()
        );
        assert!(by_world.len() <= 8, "{by_world:?}");
    }
    assert!(wrong.is_empty(), "{wrong}");
}
