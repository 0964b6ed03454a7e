//! Runs every program of the given objects that says what it returns (`__retval`), on one engine.
//!
//!     cargo run -p bpfassay-harness --example retval -- [--engine NAME] [--no-filter] [--reasons FILE] FILE.o…
//!
//! The engine is `interp` unless another is named, or `kernel` (as root; loads and test-runs,
//! attaches nothing); every other engine is compared with `interp` too.  The input is what the
//! selftests' loader hands in: zero bytes, or nothing for a syscall program.  What is not as
//! annotated, or not as on the interpreter, is looked up in a list of reasons
//! (`harness/examples/retval.reasons`); exit status 1 where it has none, or lists what did not happen.

use std::process::ExitCode;
use std::sync::Arc;

use bpfassay_harness::contain::Limits;
use bpfassay_harness::engine::Input;
use bpfassay_harness::oracle::bundled::Bundled;
use bpfassay_harness::oracle::reasons::Reasons;
use bpfassay_harness::selftests::annotations::{Annotations, ANY_RETVAL, RUN_DATA_LEN};
use bpfassay_harness::session::{self, maps::Preload, EngineKind, Failed, Job, Run, Subject};
use bpfassay_harness::trust;
use bpfassay_object::model::Program;
use bpfassay_object::{Object, Opened};
use bpfassay_spec::ProgType;
use serde_json::{json, Value};

/// What the selftests put into a map before they run the programs of a file.
const PREPARED: [(&str, &str); 2] =
    [("verifier_array_access", "map_array_ro"), ("verifier_value_ptr_arith", "map_array_48b")];

fn prepared(file: &str, program: &Program) -> Vec<Preload> {
    let wanted = PREPARED.iter().find(|(name, _)| file.starts_with(name));
    let map = wanted.and_then(|(_, map)| program.maps.iter().position(|m| m.name == *map));
    let Some(map) = map else { return Vec::new() };
    // `struct test_val`: seven integers' bytes as index, then the array's seventh element.
    let mut value = vec![0; program.maps[map].value_size as usize];
    value[..4].copy_from_slice(&28u32.to_le_bytes());
    value[28..32].copy_from_slice(&0xabcd_ef12u32.to_le_bytes());
    let hex: String = value.iter().map(|b| format!("{b:02x}")).collect();
    vec![Preload { map, key: Some(json!(0)), value: Value::String(hex) }]
}

struct Args {
    engine: EngineKind,
    reasons: Reasons,
    limits: Limits,
    files: Vec<String>,
}

fn args() -> Result<Args, String> {
    let mut out = Args {
        engine: EngineKind::Interp,
        reasons: Reasons::default(),
        limits: Limits::default(),
        files: Vec::new(),
    };
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--engine" => {
                let name = args.next().ok_or("--engine needs a name")?;
                out.engine = EngineKind::from_name(&name).ok_or(format!("no engine {name}"))?;
            }
            // Programs that run in a child do so where there is no filter of system calls (qemu-user).
            "--no-filter" => out.limits.may_lack_filter = true,
            "--reasons" => {
                let file = args.next().ok_or("--reasons needs a file")?;
                out.reasons = Reasons::read(&file)?;
            }
            _ => out.files.push(arg),
        }
    }
    Ok(out)
}

#[derive(Default)]
struct Tally {
    right: usize,
    /// Of those, run in a child because our verifier does not vouch for them.
    contained: usize,
    explained: usize,
    unexplained: usize,
}

impl Tally {
    fn note(&mut self, args: &Args, name: &str, what: &str) {
        let own = format!("{} {name}", args.engine.name());
        match args.reasons.of(&own).or_else(|| args.reasons.of(&format!("any {name}"))) {
            Some(why) => {
                self.explained += 1;
                println!("LISTED {name}: {what} ({why})");
            }
            None => {
                self.unexplained += 1;
                println!("WRONG {name}: {what}");
            }
        }
    }
}

/// The object once more, against the types of the file that a program's annotation names.
fn reloaded(on: &Bundled, path: &str, bytes: &[u8], types: &str) -> Result<Object, String> {
    let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
    let file = format!("{folder}/{}", types.replace(".bpf.o", ".o"));
    let types = std::fs::read(&file).map_err(|e| format!("{file}: {e}"))?;
    let opened = Opened::parse(&types, &file).map_err(|e| e.to_string())?;
    let btf = opened.btf().ok_or(format!("{file}: no types"))?;
    on.load_against(&Arc::new(btf.clone()), bytes, path)
}

/// The program's run on both engines, and whether it took a child.
fn runs(
    on: &Bundled,
    args: &Args,
    file: &str,
    object: &Object,
    program: &Program,
) -> Result<(Run, Run, bool), String> {
    let data = match program.prog_type {
        ProgType::Syscall => Vec::new(),
        _ => vec![0; RUN_DATA_LEN],
    };
    let others: Vec<&Program> =
        object.programs.iter().filter_map(|e| e.program.as_ref().ok()).collect();
    let trusted = trust::verify_all(program, &others, &object.map_slots, &on.config());
    let job = Job {
        subject: Subject::Program { program, others, slots: &object.map_slots },
        inputs: vec![Input { data, ..Input::default() }],
        preload: prepared(file, program),
        world: on.world(),
        keeps_output: true,
        dump_maps: false,
        trace: false,
        limits: args.limits,
    };
    let run = |kind: EngineKind| {
        let answer = session::run(&job, kind, trusted.as_deref()).map_err(|e| match e {
            Failed::Rejected(errno) => format!("rejected with errno {errno}"),
            Failed::Unavailable(why) | Failed::Wrong(why) => why,
        })?;
        let contained = answer.contained.is_some();
        answer.runs.into_iter().next().map(|r| (r, contained)).ok_or("no answer".to_string())
    };
    let (reference, contained) = run(EngineKind::Interp)?;
    match args.engine {
        EngineKind::Interp => Ok((reference.clone(), reference, contained)),
        other => run(other).map(|(r, c)| (reference, r, c)),
    }
}

fn main() -> ExitCode {
    let (args, on) = match (args(), Bundled::read(true)) {
        (Ok(a), Ok(b)) => (a, b),
        (Err(e), _) | (_, Err(e)) => {
            eprintln!("{e}");
            return ExitCode::from(2);
        }
    };
    let mut tally = Tally::default();
    let mut unread = 0;
    for path in &args.files {
        let read = std::fs::read(path).map_err(|e| e.to_string());
        let object = read.and_then(|bytes| Ok((on.load(&bytes, path)?, bytes)));
        match object {
            Ok((object, bytes)) => judge(&args, &on, path, &object, &bytes, &mut tally),
            Err(_) => unread += 1,
        }
    }
    let Tally { right, contained, explained, unexplained } = tally;
    println!(
        "{}: {right} right ({contained} of them in a child), {explained} with a reason in the list, \
         {unexplained} without; {unread} files are no objects to run",
        args.engine.name()
    );
    let own = format!("{} ", args.engine.name());
    let unused = [args.reasons.unused("any "), args.reasons.unused(&own)].concat();
    unused.iter().for_each(|name| println!("UNUSED {name}"));
    ExitCode::from(u8::from(unexplained > 0 || !unused.is_empty()))
}

/// Runs the annotated programs of one object.
fn judge(args: &Args, on: &Bundled, path: &str, object: &Object, bytes: &[u8], tally: &mut Tally) {
    let file = path.rsplit('/').next().unwrap_or(path);
    for entry in &object.programs {
        let Ok(program) = &entry.program else { continue };
        let Some(own) = &program.btf else { continue };
        let notes = Annotations::of(own, &program.name);
        let Some(want) = notes.privileged.retval else { continue };
        if notes.expects_success() == Some(false) || !notes.applies_to("X86_64") {
            continue;
        }
        let name = format!("{file} {}", program.name);
        let other = notes.btf_path.as_deref().map(|types| reloaded(on, path, bytes, types));
        let ran = match other {
            Some(Err(why)) => Err(why),
            Some(Ok(object)) => {
                let same = object.programs.iter().find(|e| e.name == entry.name);
                match same.map(|e| &e.program) {
                    Some(Ok(program)) => runs(on, args, file, &object, program),
                    _ => Err("cannot be loaded against those types".to_string()),
                }
            }
            None => runs(on, args, file, object, program),
        };
        let (reference, run, contained) = match ran {
            Ok(all) => all,
            Err(why) => {
                tally.note(args, &name, &format!("did not run: {why}"));
                continue;
            }
        };
        let is_right = run.trap.is_none() && (want == ANY_RETVAL || want as u32 == run.retval());
        if !is_right {
            tally.note(args, &name, &format!("want {want}, got {}", run.answer()));
        } else if want != ANY_RETVAL && reference.agrees(&run) == Some(false) {
            let (a, b) = (reference.answer(), run.answer());
            tally.note(args, &name, &format!("interp {a}, {} {b}", run.engine));
        } else {
            tally.right += 1;
            tally.contained += usize::from(contained);
        }
    }
}
