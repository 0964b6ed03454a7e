//! Generated programs put to PREVAIL, which decides by rules of its own, and what becomes of those it passes.
//!
//!     PREVAIL=…/bin/prevail cargo run --release --bin prevail -- [--seconds N] [--seed N] [--from N]
//!
//! The programs are those of `bpfassay fuzz` of the given seed, sched_cls and syscall, maps included, written as
//! ELF objects. One that PREVAIL passes and that leaves its memory under the checking interpreter is a finding: it is
//! minimised and printed. Of those it passes and 6.18.44 rejects, the kernel's messages are counted. Exit status 1
//! where something is found.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use bpfassay_campaign::case::Case;
use bpfassay_campaign::minimise::minimise;
use bpfassay_campaign::oracle::{self, masked_message, Judged, Runs};
use bpfassay_campaign::source::Source;
use bpfassay_harness::engine::TrapKind;
use bpfassay_isa::RawInsn;
use bpfassay_spec::ProgType;

/// For one program; some it never ends with.
const PATIENCE: Duration = Duration::from_secs(10);
const MACHINE_BPF: u16 = 247;
const R_BPF_64_64: u64 = 1;
/// `struct bpf_map_def`: type, key, value, entries, flags.
const MAP_DEF: usize = 20;

/// A section of an object that is being written.
struct Section {
    name: &'static str,
    kind: u32,
    flags: u64,
    link: u32,
    info: u32,
    entry: u64,
    bytes: Vec<u8>,
}

fn section(name: &'static str, kind: u32, bytes: Vec<u8>) -> Section {
    Section { name, kind, flags: 0, link: 0, info: 0, entry: 0, bytes }
}

fn section_of(case: &Case) -> &'static str {
    match case.program.prog_type {
        ProgType::Syscall => "syscall/p",
        _ => "classifier",
    }
}

fn relocations_of(case: &Case) -> &'static str {
    match case.program.prog_type {
        ProgType::Syscall => ".relsyscall/p",
        _ => ".relclassifier",
    }
}

/// The program as an object that loaders of legacy maps read.
fn object(case: &Case) -> Vec<u8> {
    let mut names = vec![0u8];
    let mut symbols = vec![0u8; 24];
    let mut symbol = |name: &str, info: u8, section: u16, at: u64, size: u64| {
        symbols.extend((names.len() as u32).to_le_bytes());
        names.extend(name.as_bytes());
        names.push(0);
        symbols.extend([info, 0]);
        symbols.extend(section.to_le_bytes());
        symbols.extend(at.to_le_bytes());
        symbols.extend(size.to_le_bytes());
    };
    let (mut code, mut relocations, mut maps) = (Vec::new(), Vec::new(), Vec::new());
    // Global functions and objects of sections 1 and 3.
    symbol("p", 0x12, 1, 0, case.program.insns.len() as u64 * 8);
    for (i, map) in case.program.maps.iter().enumerate() {
        symbol(&format!("m{i}"), 0x11, 3, (i * MAP_DEF) as u64, MAP_DEF as u64);
        let (kind, flags) = (map.map_type as u32, 0u32);
        for v in [kind, map.key_size, map.value_size, map.max_entries, flags] {
            maps.extend(v.to_le_bytes());
        }
    }
    for insn in &case.program.insns {
        let mut insn = *insn;
        if insn.is_ld_imm64() && insn.src == 1 {
            relocations.extend((code.len() as u64).to_le_bytes());
            relocations.extend(((insn.imm as u64 + 2) << 32 | R_BPF_64_64).to_le_bytes());
            insn = RawInsn { src: 0, imm: 0, ..insn };
        }
        code.extend(insn.to_le_bytes());
    }
    let sections = [
        section("", 0, Vec::new()),
        Section { flags: 6, ..section(section_of(case), 1, code) },
        Section { link: 4, info: 1, entry: 16, ..section(relocations_of(case), 9, relocations) },
        Section { flags: 3, ..section("maps", 1, maps) },
        Section { link: 5, info: 1, entry: 24, ..section(".symtab", 2, symbols) },
        section(".strtab", 3, names),
        section("license", 1, b"GPL\0".to_vec()),
        section(".shstrtab", 3, Vec::new()),
    ];
    write_elf(sections.into())
}

fn write_elf(mut sections: Vec<Section>) -> Vec<u8> {
    let mut names = Vec::new();
    let starts: Vec<u32> = sections
        .iter()
        .map(|s| {
            names.extend(s.name.as_bytes());
            names.push(0);
            (names.len() - s.name.len() - 1) as u32
        })
        .collect();
    if let Some(last) = sections.last_mut() {
        last.bytes = names;
    }
    let mut out = vec![0u8; 64];
    let mut headers = Vec::new();
    for (s, name) in sections.iter().zip(starts) {
        out.resize(out.len().next_multiple_of(8), 0);
        headers.extend(name.to_le_bytes());
        headers.extend(s.kind.to_le_bytes());
        let sizes = [s.flags, 0, out.len() as u64, s.bytes.len() as u64];
        headers.extend(sizes.iter().flat_map(|v| v.to_le_bytes()));
        headers.extend([s.link, s.info].iter().flat_map(|v| v.to_le_bytes()));
        headers.extend([8u64, s.entry].iter().flat_map(|v| v.to_le_bytes()));
        out.extend(&s.bytes);
    }
    out.resize(out.len().next_multiple_of(8), 0);
    let table = out.len() as u64;
    out.extend(headers);
    out[..16].copy_from_slice(b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0");
    out[16..18].copy_from_slice(&1u16.to_le_bytes());
    out[18..20].copy_from_slice(&MACHINE_BPF.to_le_bytes());
    out[20..24].copy_from_slice(&1u32.to_le_bytes());
    out[40..48].copy_from_slice(&table.to_le_bytes());
    let count = sections.len() as u16;
    let sizes = [64, 0, 0, 64, count, count - 1];
    for (i, v) in sizes.iter().enumerate() {
        out[52 + i * 2..54 + i * 2].copy_from_slice(&v.to_le_bytes());
    }
    out
}

/// PREVAIL passes it; None where it does not run, or not in time.
fn passes(prevail: &str, file: &Path, case: &Case) -> Option<bool> {
    fs::write(file, object(case)).ok()?;
    let mut child = Command::new(prevail)
        .args([file.as_os_str(), section_of(case).as_ref()])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .ok()?;
    let start = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().ok()? {
            break status;
        }
        if start.elapsed() > PATIENCE {
            let _ = child.kill();
            let _ = child.wait();
            return None;
        }
        std::thread::sleep(Duration::from_millis(2));
    };
    match status.code()? {
        0 => Some(true),
        1 => Some(false),
        _ => None,
    }
}

/// How it leaves its memory under the checking interpreter, if it does.
fn misbehaves(case: &Case) -> Option<String> {
    let runs = Runs::early(case)?;
    let trap = runs.outcomes.iter().filter_map(|o| o.trap.as_ref()).find(|t| {
        t.is_comparable() && matches!(t.kind, TrapKind::Memory(_) | TrapKind::OutOfProgram)
    })?;
    Some(trap.to_string())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|v| format!("{v:02x}")).collect()
}

fn main() -> ExitCode {
    let (mut seconds, mut seed, mut from) = (60, 1, 0);
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        let number = args.next().and_then(|n| n.parse().ok()).unwrap_or(0);
        match arg.as_str() {
            "--seconds" => seconds = number,
            "--seed" => seed = number,
            "--from" => from = number,
            _ => return ExitCode::from(64),
        }
    }
    let Ok(prevail) = std::env::var("PREVAIL") else {
        eprintln!("PREVAIL names no program");
        return ExitCode::from(64);
    };
    let file = std::env::temp_dir().join(format!("prevail-{}.o", std::process::id()));
    let target = oracle::target("6.18.44").expect("a kernel that is served");
    let config = target.config();
    let start = Instant::now();
    let (mut asked, mut passed, mut broken) = (0u64, 0u64, 0u64);
    let mut verdicts = BTreeMap::<(bool, bool), u64>::new();
    let mut rejected = BTreeMap::<String, (u64, u64)>::new();
    let mut found = BTreeMap::<String, u64>::new();
    let mut number = from;
    while start.elapsed() < Duration::from_secs(seconds) {
        let case = Source::Seed { seed, number }.case();
        number += 1;
        let Some(pass) = passes(&prevail, &file, &case) else {
            broken += 1;
            continue;
        };
        asked += 1;
        passed += u64::from(pass);
        let judged = Judged::new(&case, &config);
        *verdicts.entry((pass, judged.is_accepted())).or_default() += 1;
        if pass && !judged.is_accepted() {
            let message = masked_message(judged.report.message().unwrap_or(""));
            rejected.entry(message).or_insert((0, number - 1)).0 += 1;
        }
        let Some(_) = Some(()).filter(|()| pass).and_then(|()| misbehaves(&case)) else { continue };
        let small = minimise(&case, &mut |c| {
            misbehaves(c).is_some() && passes(&prevail, &file, c) == Some(true)
        });
        let how = misbehaves(&small).unwrap_or_default();
        let kind: String = small.text();
        let shape: String = kind.lines().map(|l| l.split(['(', ')']).nth(1).unwrap_or("")).collect();
        let count = found.entry(shape).or_default();
        *count += 1;
        if *count == 1 {
            println!("{} passes, and stops: {how}", case.name);
            println!("  section {}", section_of(&small));
            for input in &small.inputs {
                println!("  data {} context {}", hex(&input.data), hex(&input.ctx));
            }
            small.text().lines().for_each(|l| println!("    {l}"));
        }
    }
    let _ = fs::remove_file(&file);
    println!("{asked} programs, {passed} pass, {broken} not judged, {} findings", found.len());
    for ((pass, accepted), n) in verdicts {
        println!("  {n}: PREVAIL {pass}, 6.18.44 {accepted}");
    }
    for (message, (n, example)) in rejected {
        println!("  {n} pass and 6.18.44 says {message:?} (case {example})");
    }
    ExitCode::from(u8::from(!found.is_empty()))
}
