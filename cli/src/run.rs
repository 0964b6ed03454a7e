//! `bpfassay run`: what a program returns for an input.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bpfassay_harness::engine::{Input as RunInput, Instance, Outcome as RunOutcome};
use bpfassay_harness::engines::interp::Tracer;
use bpfassay_harness::engines::kernel::{Kernel, LoadError};
use bpfassay_harness::raw::RawInterp;
use bpfassay_harness::runtime::ctx::Refusal;
use bpfassay_harness::runtime::maps::Map;
use bpfassay_harness::runtime::world::World;
use bpfassay_harness::testrun::Interp;
use bpfassay_harness::{conformance, pcap};
use bpfassay_isa::disasm::{Lossless, Text};
use bpfassay_isa::{classic, encode, Insn, RawInsn};
use bpfassay_object::model::{KernelBtfRef, ProgFlags, Program};
use bpfassay_spec::helper::func_id_name;
use bpfassay_spec::ProgType;
use clap::ValueEnum;
use serde_json::{json, Value};

use crate::exit::{fail, Outcome};
use crate::inputs::Input;
use crate::setup::{self, KernelArgs};

/// Runs a program on an input, without attaching it to anything.
#[derive(clap::Args)]
pub struct Args {
    /// Object whose program is run; `-` for standard input.
    #[arg(value_name = "OBJ", required_unless_present_any = ["raw", "cbpf", "conformance"])]
    object: Option<PathBuf>,
    #[command(flatten)]
    kernel: KernelArgs,
    /// Program to run; needed where the object has several.
    #[arg(long, value_name = "NAME")]
    prog: Option<String>,
    /// Packet, or the memory of a raw program.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["hex", "pcap"])]
    data_in: Option<PathBuf>,
    /// Packet in hexadecimal.
    #[arg(long, value_name = "BYTES", conflicts_with = "pcap")]
    hex: Option<String>,
    /// Runs every packet of a capture and counts the return values.
    #[arg(long, value_name = "FILE")]
    pcap: Option<PathBuf>,
    /// Context structure (`__sk_buff`, `xdp_md`, registers).
    #[arg(long, value_name = "FILE")]
    ctx_in: Option<PathBuf>,
    #[arg(long, value_name = "N", default_value_t = 1)]
    repeat: u32,
    #[arg(long, value_enum, default_value_t = EngineName::Interp)]
    engine: EngineName,
    /// Print what the maps hold afterwards (interpreter only).
    #[arg(long)]
    dump_maps: bool,
    /// Print every instruction as it runs, with r0 to r10 before it (interpreter only).
    #[arg(long)]
    trace: bool,
    /// Where the packet goes after the run.
    #[arg(long, value_name = "FILE")]
    data_out: Option<PathBuf>,
    /// What chance follows from.
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Bare instructions, eight bytes each: r1 is the memory, r2 its length; not verified.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["object", "pcap"])]
    raw: Option<PathBuf>,
    /// Memory of a raw program.
    #[arg(long, value_name = "FILE", requires = "raw")]
    mem: Option<PathBuf>,
    /// Classic filter, as `tcpdump -dd` or `-ddd` prints it; run as eBPF on whole frames.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["object", "raw"])]
    cbpf: Option<PathBuf>,
    /// Runs every `.data` file of a folder of the public conformance suite.
    #[arg(long, value_name = "DIR", conflicts_with_all = ["object", "raw"])]
    conformance: Option<PathBuf>,
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum EngineName {
    /// The reference: checks every access.
    Interp,
    /// The running kernel.
    Kernel,
    /// Both, compared.
    All,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Text,
    Json,
}

pub fn run(args: Args) -> Outcome {
    let result = match (&args.conformance, &args.raw) {
        (Some(dir), _) => run_conformance(dir),
        (None, Some(file)) => run_raw(file, &args),
        (None, None) => run_object(&args),
    };
    result.unwrap_or_else(|o| o)
}

fn read(path: &Path) -> Result<Vec<u8>, Outcome> {
    let input =
        if path.as_os_str() == "-" { Input::Stdin } else { Input::File(path.to_path_buf()) };
    input.read().map_err(|e| fail(Outcome::NotJudged, format!("{}: {e}", input.display())))
}

fn read_if(path: &Option<PathBuf>) -> Result<Vec<u8>, Outcome> {
    path.as_deref().map_or(Ok(Vec::new()), read)
}

fn run_raw(file: &Path, args: &Args) -> Result<Outcome, Outcome> {
    let bytes = read(file)?;
    let (slots, rest) = bytes.as_chunks::<8>();
    if !rest.is_empty() || slots.is_empty() {
        let why = format!("{}: not a multiple of 8 bytes, or empty", file.display());
        return Err(fail(Outcome::NotJudged, why));
    }
    let insns: Vec<RawInsn> = slots.iter().map(|b| RawInsn::from_le_bytes(*b)).collect();
    let memory = if args.mem.is_some() { &args.mem } else { &args.data_in };
    let data = match &args.hex {
        Some(text) => hex(text)?,
        None => read_if(memory)?,
    };
    let input = RunInput { data, ctx: Vec::new(), repeat: args.repeat };
    let mut engine = RawInterp::new(&insns);
    let out = match args.trace {
        true => engine.run_traced(&input, &mut Trace),
        false => engine.run(&input),
    };
    report(&[(engine.engine(), out)], args, Value::Null)
}

/// Prints one line per instruction to standard error.
struct Trace;

impl Tracer for Trace {
    const ENABLED: bool = true;

    fn step(&mut self, frame: usize, insn_idx: usize, insn: &Insn, regs: &[u64]) {
        let name = |id| Some(func_id_name(id)).filter(|n| *n != "unknown");
        let (raw, next) = encode(insn);
        let text = Text { insn: raw, next, names: &Lossless(name) };
        let regs: Vec<String> = regs.iter().map(|r| format!("{r:x}")).collect();
        eprintln!("{frame}:{insn_idx}: {text}  ; {}", regs.join(" "));
    }
}

fn run_conformance(dir: &Path) -> Result<Outcome, Outcome> {
    let entries = fs::read_dir(dir)
        .map_err(|e| fail(Outcome::NotJudged, format!("{}: {e}", dir.display())))?;
    let mut files: Vec<PathBuf> = entries.flatten().map(|e| e.path()).collect();
    files.retain(|f| f.extension().is_some_and(|e| e == "data"));
    files.sort();
    let (mut passed, mut failed) = (0, 0);
    for file in &files {
        let text = String::from_utf8_lossy(&read(file)?).into_owned();
        match conformance::run(&text) {
            Ok(()) => passed += 1,
            Err(why) => {
                println!("{}: {why}", file.display());
                failed += 1;
            }
        }
    }
    println!("{passed} passed, {failed} failed");
    Ok(match (passed, failed) {
        (0, 0) => Outcome::NotJudged,
        (_, 0) => Outcome::Ok,
        _ => Outcome::Rejected,
    })
}

/// The eBPF form of a classic filter, as a program that sees frames from their link header on.
fn classic_program(file: &Path) -> Result<Program, Outcome> {
    let text = String::from_utf8_lossy(&read(file)?).into_owned();
    let wrong =
        |e: &dyn std::fmt::Display| fail(Outcome::NotJudged, format!("{}: {e}", file.display()));
    let filter = classic::parse(&text).map_err(|e| wrong(&e))?;
    let checked = classic::check(&filter)
        .map_err(|e| fail(Outcome::Rejected, format!("{}: {e} (EINVAL)", file.display())))?;
    let insns = classic::translate(&checked).map_err(|e| wrong(&e))?;
    Ok(Program {
        name: "classic".into(),
        section: String::new(),
        prog_type: ProgType::SchedCls,
        expected_attach_type: None,
        attach_target: None,
        insns,
        license: "GPL".into(),
        maps: Arc::new(Vec::new()),
        btf: None,
        btfs: vec![KernelBtfRef::Vmlinux],
        func_info: Vec::new(),
        line_info: Vec::new(),
        flags: ProgFlags::default(),
        kern_version: 0,
        subprogs: Vec::new(),
        notes: Vec::new(),
        missing: Vec::new(),
    })
}

fn run_object(args: &Args) -> Result<Outcome, Outcome> {
    if let Some(file) = &args.cbpf {
        return run_program(&classic_program(file)?, args);
    }
    let path = args.object.as_deref().unwrap_or(Path::new("-"));
    let target = setup::target(&args.kernel)?;
    let bytes = read(path)?;
    let at = path.display();
    let programs = target
        .load(&bytes, &at.to_string())
        .map_err(|e| fail(Outcome::NotJudged, format!("{at}: {}", e.message)))?;
    let program = setup::choose(&programs, args.prog.as_deref())
        .map_err(|why| fail(Outcome::NotJudged, format!("{at}: {why}")))?;
    run_program(program, args)
}

fn run_program(program: &Program, args: &Args) -> Result<Outcome, Outcome> {
    let ctx = read_if(&args.ctx_in)?;
    if let Some(capture) = &args.pcap {
        return run_pcap(program, capture, &ctx, args);
    }
    let data = match &args.hex {
        Some(text) => hex(text)?,
        None => read_if(&args.data_in)?,
    };
    let input = RunInput { data, ctx, repeat: args.repeat };
    let mut outcomes = Vec::new();
    let mut maps = Value::Null;
    if args.engine != EngineName::Kernel {
        let mut engine = interp(program, args)?;
        let out = match args.trace {
            true => engine.run_traced(&input, &mut Trace),
            false => engine.run(&input),
        };
        outcomes.push((engine.engine(), out));
        if args.dump_maps {
            maps = dump(&engine);
        }
    }
    if args.engine != EngineName::Interp {
        let mut engine = kernel(program)?;
        outcomes.push((engine.engine(), engine.run(&input)));
    }
    report(&outcomes, args, maps)
}

fn interp(program: &Program, args: &Args) -> Result<Interp, Outcome> {
    Interp::load(program, World::seeded(args.seed))
        .map_err(|e| fail(Outcome::NotJudged, format!("{}: {e:?}", program.name)))
}

fn kernel(program: &Program) -> Result<Kernel, Outcome> {
    Kernel::load(program).map_err(|e| match e {
        LoadError::Rejected(errno) => {
            let why = format!("{}: the kernel rejects it with errno {errno}", program.name);
            fail(Outcome::Rejected, why)
        }
        LoadError::Kernel(e) => fail(Outcome::NotJudged, format!("{}: {e}", program.name)),
    })
}

/// Runs every packet and prints how often each value came back.
fn run_pcap(
    program: &Program,
    capture: &Path,
    ctx: &[u8],
    args: &Args,
) -> Result<Outcome, Outcome> {
    let bytes = read(capture)?;
    let packets = pcap::packets(&bytes)
        .map_err(|e| fail(Outcome::NotJudged, format!("{}: {e}", capture.display())))?;
    let mut engine: Box<dyn Instance> = match args.engine {
        EngineName::Kernel => Box::new(kernel(program)?),
        _ => Box::new(interp(program, args)?),
    };
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    let mut stopped = false;
    for packet in &packets {
        let input = RunInput { data: packet.to_vec(), ctx: ctx.to_vec(), repeat: args.repeat };
        let out = engine.run(&input);
        stopped |= out.trap.is_some();
        *counts.entry(answer(&out)).or_default() += 1;
    }
    match args.format {
        Format::Json => println!("{}", json!({"packets": packets.len(), "retvals": counts})),
        Format::Text => {
            println!("{} packets", packets.len());
            for (value, n) in &counts {
                println!("{n:>8}  {value}");
            }
        }
    }
    Ok(if stopped { Outcome::Rejected } else { Outcome::Ok })
}

fn answer(out: &RunOutcome) -> String {
    match (&out.refusal, &out.trap) {
        (Some(Refusal::Errno(e)), _) => format!("input refused with errno {e}"),
        (Some(Refusal::Unsupported(what)), _) => format!("{what} is not modelled"),
        (None, Some(trap)) => format!("trap: {trap}"),
        (None, None) => format!("{}", out.retval()),
    }
}

fn report(
    outcomes: &[(&'static str, RunOutcome)],
    args: &Args,
    maps: Value,
) -> Result<Outcome, Outcome> {
    let agree = agrees(outcomes);
    match args.format {
        Format::Json => {
            let runs: Vec<Value> = outcomes.iter().map(|(e, o)| as_json(e, o, args)).collect();
            let mut doc = json!({"schema": "bpfassay.run/1", "runs": runs, "agree": agree});
            if let (false, Some(d)) = (maps.is_null(), doc.as_object_mut()) {
                d.insert("maps".to_string(), maps);
            }
            println!("{doc}");
        }
        Format::Text => {
            for (engine, out) in outcomes {
                println!("{engine}: {} (r0 = {:#x})", answer(out), out.r0);
            }
            if !maps.is_null() {
                println!("{maps:#}");
            }
            if !agree {
                println!("the engines disagree");
            }
        }
    }
    if let (Some(path), Some((_, out))) = (&args.data_out, outcomes.first()) {
        fs::write(path, out.data_out.as_deref().unwrap_or_default())
            .map_err(|e| fail(Outcome::NotJudged, format!("{}: {e}", path.display())))?;
    }
    let is_refused = outcomes.iter().any(|(_, o)| o.refusal.is_some());
    let is_modelled = outcomes.iter().all(|(_, o)| match &o.trap {
        Some(t) => t.is_comparable(),
        None => true,
    });
    let is_trapped = outcomes.iter().any(|(_, o)| o.trap.is_some());
    Ok(match (is_refused || !is_modelled, is_trapped || !agree) {
        (true, _) => Outcome::NotJudged,
        (_, true) => Outcome::Rejected,
        _ => Outcome::Ok,
    })
}

/// Same return value and packet, or the same refusal; times and the upper half of r0 aside.
fn agrees(outcomes: &[(&'static str, RunOutcome)]) -> bool {
    let Some(((_, first), rest)) = outcomes.split_first() else { return true };
    rest.iter().all(|(_, o)| {
        o.retval() == first.retval()
            && o.data_out == first.data_out
            && o.refusal == first.refusal
            && o.trap.is_some() == first.trap.is_some()
    })
}

fn as_json(engine: &str, out: &RunOutcome, args: &Args) -> Value {
    let mut trap = out
        .trap
        .as_ref()
        .map(|t| json!({"kind": t.code(), "insn_idx": t.insn_idx, "detail": t.to_string()}));
    if out.refusal.is_some() {
        trap = Some(json!({"kind": "input", "insn_idx": null, "detail": answer(out)}));
    }
    json!({
        "engine": engine,
        "r0": format!("{:#x}", out.r0),
        "retval": out.retval(),
        "data_out": out.data_out.as_ref().map(|d| to_hex(d)),
        "repeat": args.repeat,
        "duration_ns": u64::try_from(out.duration.as_nanos()).unwrap_or(u64::MAX),
        "compile_ns": null,
        "code_bytes": null,
        "trap": trap,
    })
}

fn dump(engine: &Interp) -> Value {
    let rt = &engine.rt;
    let one = |map: &Map| {
        let shape = map.shape();
        let mut elements: Vec<Value> = map
            .entries(&rt.mem, rt.world.cpu)
            .into_iter()
            .map(|(key, at)| {
                let value = rt.mem.slice(at, shape.value_size).unwrap_or_default();
                json!({"key": to_hex(&key), "value": to_hex(value)})
            })
            .collect();
        elements.extend(map.items().iter().map(|v| json!({"value": to_hex(v)})));
        json!({"name": shape.name, "type": shape.map_type.name(), "elements": elements})
    };
    Value::Array(rt.maps.iter().map(one).collect())
}

fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

fn hex(text: &str) -> Result<Vec<u8>, Outcome> {
    let digits: Vec<u8> = text
        .chars()
        .filter(|c| !c.is_whitespace() && *c != ':')
        .map(|c| c.to_digit(16).and_then(|d| u8::try_from(d).ok()))
        .collect::<Option<_>>()
        .ok_or_else(|| fail(Outcome::Usage, "--hex: not a hexadecimal digit"))?;
    let (pairs, rest) = digits.as_chunks::<2>();
    if !rest.is_empty() {
        return Err(fail(Outcome::Usage, "--hex: half a byte at the end"));
    }
    Ok(pairs.iter().map(|[hi, lo]| hi << 4 | lo).collect())
}
