//! How long our JITs' code is beside the kernel's, program by program and in the sum.
//!
//!     cargo run -p bpfassay-harness --example jit_lengths -- [OPTIONS] FILE.o|FOLDER…
//!
//!     --arch x86|arm64      which of our backends (default x86)
//!     --kernel-lengths FILE lengths of another kernel's code, `NAME<TAB>BYTES` a line, where the
//!                           running one has another processor (default: ask the running kernel, as
//!                           root; programs are loaded, never attached)
//!     --batch FILE          writes the programs as JSON (instructions, maps, BTF) for asking that kernel
//!     --worst N             how many of the programs furthest behind to name (default 10)
//!     --disassemble FOLDER  writes both codes of every program as NAME.ours and NAME.kernel
//!
//! Counted are programs that our verifier and the kernel accept.  *Ours* is all bytes a program adds:
//! functions with their prologues and the stubs of their calls.  Left out is what all programs of a run
//! context share, entering and calling out; its length is named, and the kernel has such code outside its
//! programs too.  The kernel's is `jited_prog_len`: all functions with their prologues (the patchable five
//! bytes, a tail call counter), of the instructions as the verifier rewrote them: dead code gone, some
//! helpers and lookups written out, context accesses as several loads.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use bpfassay_harness::kernel::{Host, LoadOptions, Session};
use bpfassay_harness::native::emit::{emit, Processor};
use bpfassay_harness::trust::Trusted;
use bpfassay_object::load;
use bpfassay_object::model::Program;
use bpfassay_verifier::Config;

struct Args {
    processor: Processor,
    kernel_lengths: Option<BTreeMap<String, usize>>,
    batch: Option<String>,
    worst: usize,
    disassemble: Option<PathBuf>,
    files: Vec<PathBuf>,
}

fn objects(path: &Path, into: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(path) else { return into.push(path.to_path_buf()) };
    let mut inner: Vec<_> = entries.flatten().map(|e| e.path()).collect();
    inner.sort();
    for p in inner {
        if p.is_dir() || p.extension().is_some_and(|e| e == "o") {
            objects(&p, into);
        }
    }
}

fn arguments() -> Result<Args, String> {
    let mut args = Args {
        processor: Processor::X86,
        kernel_lengths: None,
        batch: None,
        worst: 10,
        disassemble: None,
        files: Vec::new(),
    };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or(format!("{word} needs a value"));
        match word.as_str() {
            "--arch" => {
                args.processor = match value()?.as_str() {
                    "x86" => Processor::X86,
                    "arm64" => Processor::Arm64,
                    other => return Err(format!("no backend for {other}")),
                }
            }
            "--kernel-lengths" => {
                let text = fs::read_to_string(value()?).map_err(|e| e.to_string())?;
                let rows = text.lines().filter_map(|l| {
                    let (name, bytes) = l.rsplit_once('\t')?;
                    Some((name.to_string(), bytes.trim().parse().ok()?))
                });
                args.kernel_lengths = Some(rows.collect());
            }
            "--batch" => args.batch = Some(value()?),
            "--worst" => args.worst = value()?.parse().map_err(|_| "--worst needs a number")?,
            "--disassemble" => args.disassemble = Some(PathBuf::from(value()?)),
            path => objects(Path::new(path), &mut args.files),
        }
    }
    Ok(args)
}

struct Row {
    name: String,
    slots: usize,
    /// What the program adds; instructions alone.
    ours: [usize; 2],
    kernel: usize,
}

/// One program for the batch; maps are numbered as used.
fn json(program: &Program, name: &str) -> String {
    let mut used: BTreeMap<usize, usize> = BTreeMap::new();
    let mut patch = Vec::new();
    let mut insns = Vec::new();
    let mut tail = false;
    for (slot, insn) in program.insns.iter().enumerate() {
        let mut insn = *insn;
        if !tail && insn.is_ld_imm64() && (insn.src == 1 || insn.src == 2) {
            let next = used.len();
            let map = *used.entry(insn.imm as usize).or_insert(next);
            let value = insn.src == 2;
            patch.push(format!("{{\"insn\":{slot},\"map\":{map},\"value\":{value}}}"));
            insn.imm = 0;
        }
        tail = !tail && insn.is_ld_imm64();
        insns.extend(insn.to_le_bytes());
    }
    let mut order: Vec<_> = used.into_iter().collect();
    order.sort_by_key(|(_, n)| *n);
    let maps: Vec<_> = order
        .iter()
        .filter_map(|(i, _)| program.maps.get(*i))
        .map(|m| {
            let init = m.initial.as_ref().map_or(String::new(), |v| {
                let mut v = v.to_vec();
                v.resize(m.value_size as usize, 0);
                format!(",\"init\":[[\"00000000\",\"{}\"]]", hex(&v))
            });
            format!(
                "{{\"type\":{},\"key_size\":{},\"value_size\":{},\"max_entries\":{},\"flags\":{},\
                 \"extra\":{},\"btf_key\":{},\"btf_value\":{},\"freeze\":{}{init}}}",
                m.map_type.number(),
                m.key_size,
                m.value_size,
                m.max_entries,
                m.map_flags,
                m.map_extra,
                m.btf_key_type_id,
                m.btf_value_type_id,
                m.frozen
            )
        })
        .collect();
    let words = |v: Vec<u32>| hex(&v.iter().flat_map(|w| w.to_le_bytes()).collect::<Vec<_>>());
    let func_info = words(program.func_info.iter().flat_map(|f| [f.insn_off, f.type_id]).collect());
    let btf = program.btf.as_ref().map_or(String::new(), |b| hex(&b.to_bytes()));
    format!(
        "{{\"name\":\"{name}\",\"prog_type\":{},\"expected_attach_type\":{},\"license\":\"GPL\",\
         \"log_level\":0,\"insns\":\"{}\",\"maps\":[{}],\"patch\":[{}],\"btf\":\"{btf}\",\
         \"func_info\":\"{func_info}\"}}",
        program.prog_type.number(),
        program.expected_attach_type.map_or(0, |t| t.number()),
        hex(&insns),
        maps.join(","),
        patch.join(","),
    )
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut s, b| {
        let _ = write!(s, "{b:02x}");
        s
    })
}

/// Why a program is not counted.
fn row(
    program: &Program,
    name: &str,
    args: &Args,
    config: &Config<'_>,
    session: &mut Session,
) -> Result<Row, String> {
    let trusted = Trusted::verify(program, config).map_err(|e| e.to_string())?;
    let ours = emit(program, trusted.access(), args.processor).map_err(|e| e.to_string())?;
    let theirs = match &args.kernel_lengths {
        Some(lengths) => {
            let len = lengths.get(name).ok_or("the kernel's length is not known")?;
            (*len, Vec::new())
        }
        None => {
            let options = LoadOptions { log_level: 0, ..LoadOptions::default() };
            let (outcome, loaded) = session.load(program, &options).map_err(|e| e.to_string())?;
            let errno = outcome.errno.unwrap_or(0);
            let loaded = loaded.ok_or(format!("the kernel answers errno {errno}"))?;
            let image = loaded.jited().map_err(|e| e.to_string())?;
            (image.len(), image)
        }
    };
    if theirs.0 == 0 {
        return Err("the kernel gives no machine code".to_string());
    }
    if let Some(folder) = &args.disassemble {
        let file = name.replace(['/', ':'], "_");
        let own = ours.code.get(ours.body as usize..).unwrap_or(&[]);
        for (kind, bytes) in [("ours", own), ("kernel", &theirs.1)] {
            fs::write(folder.join(format!("{file}.{kind}")), bytes).map_err(|e| e.to_string())?;
        }
    }
    let len = ours.code.len();
    let added = len - ours.body as usize;
    let body = (ours.body_end - ours.body) as usize;
    let slots = program.insns.len();
    Ok(Row { name: name.to_string(), slots, ours: [added, body], kernel: theirs.0 })
}

fn table(rows: &mut [Row], worst: usize) -> bool {
    let behind = |r: &Row| r.ours[0] as f64 / r.kernel as f64;
    rows.sort_by(|a, b| behind(b).total_cmp(&behind(a)));
    for r in rows.iter().take(worst) {
        let ([added, body], k) = (r.ours, r.kernel);
        let ratio = behind(r);
        println!(
            "{ratio:.2}  ours {added} ({body} without stubs)  kernel {k}  {} slots  {}",
            r.slots, r.name
        );
    }
    let sum = |f: fn(&Row) -> usize| rows.iter().map(f).sum::<usize>();
    let kernel = sum(|r| r.kernel);
    let longer = rows.iter().filter(|r| r.ours[0] > r.kernel).count();
    println!(
        "{} programs, {} slots; {longer} longer than the kernel's",
        rows.len(),
        sum(|r| r.slots)
    );
    println!("kernel             {kernel:>9} bytes");
    for (name, which) in [("ours", 0), ("  without stubs", 1)] {
        let n: usize = rows.iter().map(|r| r.ours[which]).sum();
        println!("{name:<18} {n:>9} bytes  {:.3} of the kernel's", n as f64 / kernel as f64);
    }
    sum(|r| r.ours[0]) <= kernel
}

/// Bytes of the code that programs share.
fn shared(processor: Processor) -> usize {
    let glue = match processor {
        Processor::X86 => {
            let features = bpfassay_jit_x86::Features::BASE;
            bpfassay_jit_x86::glue(0x7f00_0000_1000, features)
        }
        Processor::Arm64 => bpfassay_jit_arm64::glue(0x7f00_0000_1000),
    };
    glue.map_or(0, |g| g.code.len())
}

fn main() -> ExitCode {
    let args = match arguments() {
        Ok(args) => args,
        Err(why) => {
            eprintln!("{why}");
            return ExitCode::from(2);
        }
    };
    let host = Host::read().expect("a kernel with BTF");
    let name = host.release.split('.').take(2).collect::<Vec<_>>().join(".");
    let kernel = bpfassay_builds::kernel(&name).expect("a known release");
    let config = Config {
        vmlinux: Some(host.btf().clone()),
        modules: host.modules().to_vec(),
        ..Config::new(&kernel)
    };
    let mut session = Session::new();
    let mut rows = Vec::new();
    let mut batch = Vec::new();
    let mut left_out: BTreeMap<String, usize> = BTreeMap::new();
    for path in &args.files {
        let shown = path.display().to_string();
        let bytes = fs::read(path).expect("readable");
        let Ok(object) = host.with_target(|t| load(&bytes, &shown, t)) else { continue };
        for entry in &object.programs {
            let Ok(program) = &entry.program else { continue };
            let name = format!("{shown}:{}", entry.name);
            if args.batch.is_some() {
                batch.push(json(program, &name));
                continue;
            }
            match row(program, &name, &args, &config, &mut session) {
                Ok(row) => rows.push(row),
                Err(why) => *left_out.entry(why.chars().take(70).collect()).or_default() += 1,
            }
        }
    }
    if let Some(file) = &args.batch {
        fs::write(file, format!("[{}]", batch.join(",\n"))).expect("writable");
        println!("{} programs written", batch.len());
        return ExitCode::SUCCESS;
    }
    let is_shorter = table(&mut rows, args.worst);
    println!("shared by all programs of a run context: {} bytes", shared(args.processor));
    let total: usize = left_out.values().sum();
    println!("not counted: {total}");
    let mut reasons: Vec<_> = left_out.into_iter().collect();
    reasons.sort_by_key(|(_, n)| std::cmp::Reverse(*n));
    for (why, n) in reasons.iter().take(args.worst) {
        println!("{n:>6}  {why}");
    }
    ExitCode::from(u8::from(!is_shorter))
}
