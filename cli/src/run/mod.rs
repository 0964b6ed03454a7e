//! `bpfassay run`: what a program returns for an input.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bpfassay_ci::files::MAX_OBJECT;
use bpfassay_harness::conformance;
use bpfassay_harness::contain::Limits;
use bpfassay_harness::engine::{Input as RunInput, Outcome as RunOutcome};
use bpfassay_harness::pcap::{self, Packet};
use bpfassay_harness::runtime::world::World;
use bpfassay_harness::session::{self, maps, values, Answer, EngineKind, Failed, Job, Subject};
use bpfassay_harness::testrun::MapSlots;
use bpfassay_harness::trust::{self, Distrust, Trusted};
use bpfassay_isa::RawInsn;
use bpfassay_judge::Target;
use bpfassay_object::model::Program;
use bpfassay_object::Opened;
use bpfassay_spec::{errno, retval, ProgInfo, ProgType, RunInput as Takes};
use clap::ValueEnum;

use crate::asm::raw_insns;
use crate::classic;
use crate::exit::{fail, Outcome};
use crate::inputs;
use crate::out;
use crate::setup::{self, Assignments, KernelArgs};

mod asks;
mod emulated;
mod report;

/// Runs a program on an input, without attaching it to anything.
///
/// The program is verified first.  What the verifier does not accept runs in a child
/// process without rights, where a crash is a result.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  bpfassay run prog.o --prog ingress --data-in packet.bin --expect XDP_PASS
  bpfassay run prog.o --pcap trace.pcapng --set debug=true
  bpfassay run prog.o --engine all --hex \"0200 …\" --repeat 1000
  bpfassay run prog.o --map hosts=hosts.json --dump-maps --data-in packet.bin
  bpfassay run --cbpf filter.txt --pcap trace.pcap")]
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
    /// Runs every packet of a capture (pcap or pcapng) and counts the return values.  Cooked and raw captures get an
    /// Ethernet header where the program takes frames.
    #[arg(long, value_name = "FILE")]
    pcap: Option<PathBuf>,
    /// Context structure (`__sk_buff`, `xdp_md`, registers).
    #[arg(long, value_name = "FILE")]
    ctx_in: Option<PathBuf>,
    #[arg(long, value_name = "N", default_value_t = 1)]
    repeat: u32,
    #[arg(long, value_enum, default_value_t = EngineName::Interp)]
    engine: EngineName,
    /// Elements put into a map before the run: a JSON list of objects with `key` and `value`,
    /// shaped by their types or hexadecimal; names where the map holds programs or maps.
    #[arg(long, value_name = "NAME=FILE", value_parser = parse_map, conflicts_with = "raw")]
    map: Vec<(String, PathBuf)>,
    /// Print what the maps hold afterwards, as JSON shaped by their types.
    #[arg(long)]
    dump_maps: bool,
    /// Print every instruction as it runs, with r0 to r10 before it (interpreters only).
    #[arg(long)]
    trace: bool,
    /// Where the packet goes after the run.
    #[arg(long, value_name = "FILE")]
    data_out: Option<PathBuf>,
    /// What chance follows from.
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Do not ask the verifier: the program runs in a child process.
    #[arg(long)]
    unverified: bool,
    /// Exit with status 1 unless every run returns this: a number, or a name such as XDP_PASS.
    #[arg(long, value_name = "VALUE", allow_hyphen_values = true)]
    expect: Option<String>,
    #[command(flatten)]
    set: Assignments,
    /// Seconds an engine may take.
    #[arg(long, value_name = "SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..86_400))]
    time_limit: u64,
    /// Where the system has no filter of system calls for that child (qemu-user), let it run without: it
    /// may then do whatever you may.
    #[arg(long)]
    no_filter: bool,
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
    /// Faster: checks nothing.
    InterpUnchecked,
    /// Machine code, on an x86-64 processor.
    X86,
    /// Machine code, on an arm64 processor or under qemu-user.
    Arm64,
    /// The running kernel.
    Kernel,
    /// Every engine this host has, compared.
    All,
}

impl EngineName {
    fn kinds(self) -> Vec<EngineKind> {
        match self {
            EngineName::Interp => vec![EngineKind::Interp],
            EngineName::InterpUnchecked => vec![EngineKind::Unchecked],
            EngineName::X86 => vec![EngineKind::X86],
            EngineName::Arm64 => vec![EngineKind::Arm64],
            EngineName::Kernel => vec![EngineKind::Kernel],
            EngineName::All => EngineKind::of_this_host(),
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Text,
    Json,
    /// What one process of ours reads of another.
    #[value(hide = true)]
    Answer,
}

fn parse_map(s: &str) -> Result<(String, PathBuf), String> {
    match s.split_once('=') {
        Some((name, file)) if !name.is_empty() && !file.is_empty() => {
            Ok((name.to_string(), PathBuf::from(file)))
        }
        _ => Err("not NAME=FILE".to_string()),
    }
}

/// Engine `arm64` is another processor's.
const IS_FOREIGN: bool = !cfg!(target_arch = "aarch64");

pub fn run(args: Args) -> Outcome {
    if args.format == Format::Json {
        out::expect_json(report::SCHEMA);
    }
    if IS_FOREIGN && args.engine == EngineName::Arm64 {
        return emulated::run_again();
    }
    let result = match (&args.conformance, &args.raw) {
        (Some(dir), _) => run_conformance(dir, &args),
        (None, Some(file)) => run_raw(file, &args),
        (None, None) => run_program(&args),
    };
    result.unwrap_or_else(|o| o)
}

fn not_read(path: &Path, e: impl std::fmt::Display) -> Outcome {
    fail(Outcome::NotJudged, format!("{}: {e}", path.display()))
}

fn read(path: &Path) -> Result<Vec<u8>, Outcome> {
    inputs::read(path, MAX_OBJECT)
}

fn read_if(path: &Option<PathBuf>) -> Result<Vec<u8>, Outcome> {
    path.as_deref().map_or(Ok(Vec::new()), read)
}

/// The packet or memory asked for.
fn data(args: &Args, file: &Option<PathBuf>) -> Result<Vec<u8>, Outcome> {
    match &args.hex {
        Some(text) => {
            values::from_hex(text).map_err(|e| fail(Outcome::Usage, format!("--hex: {e}")))
        }
        None => read_if(file),
    }
}

fn job<'a>(args: &Args, subject: Subject<'a>, inputs: Vec<RunInput>, world: World) -> Job<'a> {
    Job {
        subject,
        inputs,
        preload: Vec::new(),
        world,
        dump_maps: args.dump_maps,
        keeps_output: args.pcap.is_none() || args.engine.kinds().len() > 1,
        trace: args.trace,
        limits: Limits {
            time: Duration::from_secs(args.time_limit),
            may_lack_filter: args.no_filter,
            ..Limits::default()
        },
    }
}

/// The job's answers, one per engine that gave one, and whether an engine's refusal is a difference.
fn answers(
    job: &Job<'_>,
    trusted: Result<&[Trusted<'_>], &Distrust>,
    args: &Args,
) -> Result<(Vec<Answer>, bool), Outcome> {
    let mut kinds = args.engine.kinds();
    if args.engine == EngineName::All && !kinds.contains(&EngineKind::Arm64) {
        kinds.push(EngineKind::Arm64);
    }
    let mut answers = Vec::new();
    let mut is_split = false;
    for kind in &kinds {
        let result = match kind {
            EngineKind::Arm64 if IS_FOREIGN => emulated::answer().map_err(Failed::Unavailable),
            kind => session::run(job, *kind, trusted),
        };
        match result {
            Ok(answer) => answers.push(answer),
            Err(Failed::Wrong(why)) => return Err(fail(Outcome::NotJudged, why)),
            Err(Failed::Rejected(errno)) => {
                let why = format!("the kernel rejects the program with {}", errno::name(errno));
                if kinds.len() == 1 {
                    return Err(fail(Outcome::Rejected, why));
                }
                out::note(format!("bpfassay: {why}"));
                is_split |= trusted.is_ok();
            }
            Err(Failed::Unavailable(why)) if kinds.len() == 1 => {
                return Err(fail(Outcome::NotJudged, why));
            }
            Err(Failed::Unavailable(why)) => {
                out::note(format!("bpfassay: {}: {why}", kind.name()));
            }
        }
    }
    if answers.is_empty() {
        return Err(fail(Outcome::NotJudged, "no engine ran it"));
    }
    Ok((answers, is_split))
}

fn run_raw(file: &Path, args: &Args) -> Result<Outcome, Outcome> {
    let insns: Vec<RawInsn> = raw_insns(&read(file)?).map_err(|e| not_read(file, e))?;
    let memory = if args.mem.is_some() { &args.mem } else { &args.data_in };
    let input = RunInput { data: data(args, memory)?, ctx: Vec::new(), repeat: args.repeat };
    let job = job(args, Subject::Raw(&insns), vec![input], World::seeded(args.seed));
    let (answers, is_split) = answers(&job, Err(&Distrust::NotAsked), args)?;
    let expected = args.expect.as_deref().map(|e| expected(e, None)).transpose()?;
    let said =
        Said { answers, is_split, program: None, distrust: Some(&Distrust::NotAsked), expected };
    report::print(&said, args)
}

fn run_conformance(dir: &Path, args: &Args) -> Result<Outcome, Outcome> {
    let entries = fs::read_dir(dir).map_err(|e| not_read(dir, e))?;
    let mut files: Vec<PathBuf> = entries.flatten().map(|e| e.path()).collect();
    files.retain(|f| f.extension().is_some_and(|e| e == "data"));
    files.sort();
    let kinds: Vec<EngineKind> =
        args.engine.kinds().into_iter().filter(|k| *k != EngineKind::Kernel).collect();
    let mut total = (0, 0);
    let mut said = String::new();
    for kind in kinds {
        let (mut passed, mut failed) = (0, 0);
        for file in &files {
            let text = String::from_utf8_lossy(&read(file)?).into_owned();
            let result = conformance::run_on(&text, |insns, input| {
                let world = World::seeded(args.seed);
                let job = job(args, Subject::Raw(insns), vec![input.clone()], world);
                let answer = session::run(&job, kind, Err(&Distrust::NotAsked));
                let run = answer.map_err(|e| format!("{e:?}"))?.runs.into_iter().next();
                match run.map(|r| (r.r0, r.trap)) {
                    Some((r0, None)) => Ok(RunOutcome { r0, ..RunOutcome::default() }),
                    Some((_, Some(trap))) => Err(trap.detail),
                    None => Err("no answer".to_string()),
                }
            });
            match result {
                Ok(()) => passed += 1,
                Err(why) => {
                    let _ = writeln!(said, "{}: {}: {why}", kind.name(), file.display());
                    failed += 1;
                }
            }
        }
        let _ = writeln!(said, "{}: {passed} passed, {failed} failed", kind.name());
        total = (total.0 + passed, total.1 + failed);
    }
    let outcome = match total {
        (0, 0) => Outcome::NotJudged,
        (_, 0) => Outcome::Ok,
        _ => Outcome::Rejected,
    };
    Ok(out::text(&said, outcome))
}

/// A program with those of its object.
struct Loaded {
    programs: Vec<Program>,
    chosen: usize,
    slots: Vec<MapSlots>,
}

fn load(args: &Args, target: &Target) -> Result<Loaded, Outcome> {
    if let Some(file) = &args.cbpf {
        let programs = vec![classic::program(file)?];
        return Ok(Loaded { programs, chosen: 0, slots: Vec::new() });
    }
    let path = args.object.as_deref().unwrap_or(Path::new("-"));
    let at = path.display().to_string();
    let mut opened = Opened::parse(&read(path)?, &at).map_err(|e| not_read(path, e))?;
    if let Some(shape) = args.set.variant()? {
        opened = setup::in_shape(opened, &shape).map_err(|why| not_read(path, why))?;
    }
    let object = target.link_object(&opened);
    let chosen = setup::choose_entry(&object.programs, args.prog.as_deref())
        .map_err(|why| not_read(path, why))?;
    let name = chosen.name.clone();
    chosen.program.as_ref().map_err(|e| not_read(path, e))?;
    let programs: Vec<Program> =
        object.programs.into_iter().filter_map(|e| e.program.ok()).collect();
    let chosen = programs.iter().position(|p| p.name == name).unwrap_or(0);
    Ok(Loaded { programs, chosen, slots: object.map_slots })
}

/// The elements of `--map`; those that name maps and programs go into the slots.
fn preload(args: &Args, loaded: &mut Loaded) -> Result<Vec<maps::Preload>, Outcome> {
    let Some(program) = loaded.programs.get(loaded.chosen) else { return Ok(Vec::new()) };
    let names: Vec<&str> = loaded.programs.iter().map(|p| p.name.as_str()).collect();
    let mut all = Vec::new();
    for (name, file) in &args.map {
        let text = String::from_utf8_lossy(&read(file)?).into_owned();
        let mut some = maps::parse(program, name, &text).map_err(|e| not_read(file, e))?;
        maps::take_slots(program, &names, &mut some, &mut loaded.slots)
            .map_err(|e| not_read(file, e))?;
        all.extend(some);
    }
    Ok(all)
}

fn run_program(args: &Args) -> Result<Outcome, Outcome> {
    let target = setup::target(&args.kernel)?;
    let mut loaded = load(args, &target)?;
    let preload = preload(args, &mut loaded)?;
    let Some(program) = loaded.programs.get(loaded.chosen) else {
        return Err(fail(Outcome::NotJudged, "no program"));
    };
    let others: Vec<&Program> = loaded.programs.iter().collect();
    let trusted = match args.unverified {
        true => Err(Distrust::NotAsked),
        false => trust::verify_all(program, &others, &loaded.slots, &target.config()),
    };
    let ctx = read_if(&args.ctx_in)?;
    let input = |data| RunInput { data, ctx: ctx.clone(), repeat: args.repeat };
    let inputs: Vec<RunInput> = match &args.pcap {
        Some(file) => {
            let bytes = read(file)?;
            let packets = pcap::packets(&bytes).map_err(|e| not_read(file, e))?;
            let frames = frames(&packets, program, args).map_err(|e| not_read(file, e))?;
            frames.into_iter().map(input).collect()
        }
        None => vec![input(data(args, &args.data_in)?)],
    };
    let mut world = World::seeded(args.seed);
    world.takes_any_frame =
        args.cbpf.is_some() && !matches!(args.engine, EngineName::Kernel | EngineName::All);
    (world.kernel.vmlinux, world.kernel.modules) = (target.vmlinux.clone(), target.modules.clone());
    let subject = Subject::Program { program, others, slots: &loaded.slots };
    let mut job = job(args, subject, inputs, world);
    job.preload = preload;
    let expected = args.expect.as_deref();
    let expected = expected.map(|e| self::expected(e, Some(program.prog_type))).transpose()?;
    let (answers, is_split) = answers(&job, trusted.as_deref(), args)?;
    let distrust = trusted.as_ref().err();
    let said = Said { answers, is_split, program: Some(program), distrust, expected };
    match args.pcap.is_some() {
        true => report::histogram(&said, job.inputs.len(), args),
        false => report::print(&said, args),
    }
}

/// Everything that a run has to tell.
struct Said<'a> {
    /// One per engine that gave one.
    answers: Vec<Answer>,
    /// An engine's refusal is a difference.
    is_split: bool,
    program: Option<&'a Program>,
    /// Why the verifier's word was not had; None for an accepted program.
    distrust: Option<&'a Distrust>,
    expected: Option<u32>,
}

/// What `--expect` means for programs of this type.
fn expected(text: &str, prog_type: Option<ProgType>) -> Result<u32, Outcome> {
    let number = match text.strip_prefix("0x") {
        Some(hex) => i64::from_str_radix(hex, 16).ok(),
        None => text.parse::<i64>().ok(),
    };
    let fits = |n: &i64| (i64::from(i32::MIN)..=i64::from(u32::MAX)).contains(n);
    let named = || prog_type.and_then(|ty| retval::value(ty, text));
    let value = number.filter(fits).map(|n| n as u32).or_else(named);
    value.ok_or_else(|| {
        let names = prog_type.map_or_else(Vec::new, retval::names);
        let known = match names.is_empty() {
            true => "a number of 32 bits".to_string(),
            false => format!("a number of 32 bits, or one of {}", names.join(", ")),
        };
        fail(Outcome::Usage, format!("--expect: `{text}` is not {known}"))
    })
}

/// The packets as the program's test run takes them.
fn frames(packets: &[Packet<'_>], program: &Program, args: &Args) -> Result<Vec<Vec<u8>>, String> {
    let input = ProgInfo::of(program.prog_type).map(|row| row.input);
    let takes_frames = match input {
        // A filter is compiled for the capture's link type, whatever that is.
        _ if args.cbpf.is_some() => false,
        // The hook of the context says whether there is a link header.
        Some(Takes::Netfilter) => args.ctx_in.is_none(),
        Some(Takes::Skb { .. } | Takes::Xdp | Takes::Flow) => true,
        _ => false,
    };
    let other = packets.iter().find(|p| p.link != pcap::ETHERNET);
    if let (true, Some(other)) = (takes_frames, other) {
        let link = pcap::link_name(other.link);
        let no_frame = |p: &&Packet<'_>| p.ethernet().is_err();
        if let Some(p) = packets.iter().find(no_frame) {
            let link = pcap::link_name(p.link);
            let ty = program.prog_type;
            return Err(format!(
                "a {ty} program takes Ethernet frames, and packets of link type {link} are none"
            ));
        }
        out::note(format!(
            "bpfassay: packets of link type {link} get an Ethernet header without addresses"
        ));
    }
    let frame = |p: &Packet<'_>| match takes_frames {
        true => p.ethernet().map_or_else(|_| p.data.to_vec(), |frame| frame.into_owned()),
        false => p.data.to_vec(),
    };
    Ok(packets.iter().map(frame).collect())
}
