//! Compares our level-2 logs with the running kernel's on calls of every helper with fitting and unfitting arguments.
//!
//! `helper_args [FIRST_SEED [VARIANTS]]`; with SHOW set, whole logs of programs that differ; with RECORD set, one
//! program and kernel log per distinct last word into that file (those that need no kernel BTF; read by the
//! verifier's `helper_logs` test).  Programs are only loaded, never run.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use std::sync::Arc;

use bpfassay_harness::compare::{compare, Agreement, CompareOptions};
use bpfassay_harness::kernel::Session;
use bpfassay_isa::RawInsn;
use bpfassay_object::btf::Btf;
use bpfassay_object::model::{MapDef, ProgFlags, Program};
use bpfassay_spec::{helper, ArgBase, AttachType, HelperProto, MapType, ProgType};
use bpfassay_verifier::log::LogLevel;
use bpfassay_verifier::Config;

const KINDS: &[(ProgType, Option<AttachType>, bool)] = &[
    (ProgType::Xdp, None, false),
    (ProgType::SchedCls, None, false),
    (ProgType::Kprobe, None, false),
    (ProgType::SocketFilter, None, false),
    (ProgType::CgroupSkb, Some(AttachType::CgroupInetIngress), false),
    (ProgType::SkMsg, None, false),
    (ProgType::SkSkb, None, false),
    (ProgType::SockOps, None, false),
    (ProgType::RawTracepoint, None, false),
    (ProgType::PerfEvent, None, false),
    (ProgType::CgroupSockAddr, Some(AttachType::CgroupInet4Connect), false),
    (ProgType::SkLookup, Some(AttachType::SkLookup), false),
    (ProgType::Syscall, None, true),
    (ProgType::LwtXmit, None, false),
];

/// Maps by index; the first is the one the prologue looks up.
const MAPS: &[(MapType, u32, u32, u32)] = &[
    (MapType::Array, 4, 64, 4),
    (MapType::Hash, 4, 8, 4),
    (MapType::Ringbuf, 0, 0, 4096),
    (MapType::PerfEventArray, 4, 4, 2),
    (MapType::ProgArray, 4, 4, 4),
    (MapType::StackTrace, 4, 1016, 4),
    (MapType::Queue, 0, 8, 4),
    (MapType::Sockmap, 4, 4, 4),
    (MapType::Sockhash, 4, 4, 4),
    (MapType::PercpuArray, 4, 8, 4),
    (MapType::BloomFilter, 0, 8, 4),
    (MapType::Devmap, 4, 4, 4),
    (MapType::UserRingbuf, 0, 0, 4096),
    (MapType::Cpumap, 4, 4, 4),
    (MapType::CgroupArray, 4, 4, 4),
    (MapType::PercpuHash, 4, 8, 4),
];

fn map(i: usize) -> MapDef {
    let (map_type, key_size, value_size, max_entries) = MAPS[i];
    MapDef {
        key_size,
        value_size,
        max_entries,
        ..MapDef::bare(&format!("m{i}"), &format!("m{i}"), map_type)
    }
}

struct Rng(u64);

impl Rng {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (self.0 >> 33) % n
    }
}

fn insn(code: u8, dst: u8, src: u8, off: i16, imm: i32) -> RawInsn {
    RawInsn { code, dst, src, off, imm }
}

/// What an argument register gets.
fn argument(out: &mut Vec<RawInsn>, reg: u8, what: u64, rng: &mut Rng) {
    let mov = |imm| insn(0xb7, reg, 0, 0, imm);
    match what {
        0 => out.push(insn(0xbf, reg, 6, 0, 0)),
        1 | 2 => {
            out.push(insn(0xbf, reg, 10, 0, 0));
            out.push(insn(0x07, reg, 0, 0, [-8, -16, -64, -72][rng.below(4) as usize]));
        }
        3 => out.push(insn(0xbf, reg, 8, 0, 0)),
        4 => {
            out.push(insn(0xbf, reg, 8, 0, 0));
            out.push(insn(0x07, reg, 0, 0, 32));
        }
        5 => out.push(mov([0, 1, 4, 8, 16, 64, -1, 600][rng.below(8) as usize])),
        6 => out.push(mov([0, 8, 16, 64][rng.below(4) as usize])),
        7 => out.push(insn(0xbf, reg, 7, 0, 0)),
        8 => {
            out.push(insn(0xbf, reg, 7, 0, 0));
            out.push(insn(0x57, reg, 0, 0, 63));
        }
        9 => {
            out.push(insn(0x18, reg, 1, 0, rng.below(MAPS.len() as u64) as i32));
            out.push(insn(0, 0, 0, 0, 0));
        }
        10 => out.push(insn(0xbf, reg, 9, 0, 0)),
        _ => {}
    }
}

fn fitting(base: ArgBase, rng: &mut Rng) -> u64 {
    match base {
        ArgBase::ConstMapPtr => 9,
        ArgBase::MapKey | ArgBase::MapValue | ArgBase::Mem => {
            [1, 2, 3, 4, 10][rng.below(5) as usize]
        }
        ArgBase::ConstSize | ArgBase::ConstSizeOrZero => [6, 6, 8][rng.below(3) as usize],
        ArgBase::Ctx => 0,
        ArgBase::Anything => [5, 6, 7][rng.below(3) as usize],
        ArgBase::Dynptr => 2,
        ArgBase::ConstAllocSizeOrZero => 6,
        _ => rng.below(11),
    }
}

fn program(kind: (ProgType, Option<AttachType>, bool), id: i32, seed: u64) -> Program {
    let mut rng = Rng(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ id as u64);
    let mut c = vec![insn(0xbf, 6, 1, 0, 0)];
    for off in (8..=64).step_by(8) {
        c.push(insn(0x7a, 10, 0, -off, 0));
    }
    c.extend([
        insn(0x18, 1, 1, 0, 0),
        insn(0, 0, 0, 0, 0),
        insn(0xbf, 2, 10, 0, 0),
        insn(0x07, 2, 0, 0, -8),
        insn(0x62, 10, 0, -8, (rng.below(6)) as i32),
        insn(0x85, 0, 0, 0, 1),
        insn(0x55, 0, 0, 1, 0),
        insn(0x95, 0, 0, 0, 0),
        insn(0xbf, 8, 0, 0, 0),
        insn(0x79, 7, 8, 0, 0),
        insn(0xbf, 9, 10, 0, 0),
    ]);
    if matches!(kind.0, ProgType::Xdp | ProgType::SchedCls | ProgType::LwtXmit) {
        let (data, end) = if kind.0 == ProgType::Xdp { (0, 4) } else { (76, 80) };
        c.extend([
            insn(0x61, 9, 6, data, 0),
            insn(0x61, 2, 6, end, 0),
            insn(0xbf, 3, 9, 0, 0),
            insn(0x07, 3, 0, 0, 32),
            insn(0x3d, 2, 3, 1, 0),
            insn(0x95, 0, 0, 0, 0),
        ]);
    }
    let proto = HelperProto::of(id.max(0) as u32).first();
    for arg in 0..5 {
        let base = proto.map_or(ArgBase::Anything, |p| p.args[arg].base());
        if base == ArgBase::DontCare && rng.below(4) != 0 {
            continue;
        }
        let what = if rng.below(5) != 0 { fitting(base, &mut rng) } else { rng.below(12) };
        argument(&mut c, arg as u8 + 1, what, &mut rng);
    }
    c.push(insn(0x85, 0, 0, 0, id));
    match rng.below(4) {
        0 => c.push(insn(0x71, 1, 0, 0, 0)),
        1 => c.extend([insn(0x15, 0, 0, 1, 0), insn(0x71, 1, 0, 4, 0)]),
        2 => c.extend([insn(0x15, 0, 0, 1, 0), insn(0x72, 0, 0, 0, 1)]),
        _ => {}
    }
    c.extend([insn(0xb7, 0, 0, 0, 0), insn(0x95, 0, 0, 0, 0)]);
    Program {
        section: "x".into(),
        expected_attach_type: kind.1,
        license: if rng.below(8) == 0 { "none" } else { "GPL" }.into(),
        maps: Arc::new((0..MAPS.len()).map(map).collect()),
        flags: ProgFlags { sleepable: kind.2, ..ProgFlags::default() },
        ..Program::bare("helper", kind.0, c)
    }
}

/// Head line (type, attach type or 0, sleepable, licence), slots in hexadecimal, an empty line, the log.
fn record(p: &Program, log: &str) -> String {
    let attach = p.expected_attach_type.map_or(0, AttachType::number);
    let head = (p.prog_type.number(), attach, p.flags.sleepable as u32);
    let mut out = format!("=== {} {} {} {}\n", head.0, head.1, head.2, p.license);
    for insn in &p.insns {
        let _ = writeln!(out, "{:016x}", u64::from_be_bytes(insn.to_le_bytes()));
    }
    let _ = write!(out, "\n{log}");
    out
}

/// The last message with numbers left out, so that each is recorded once.
fn last_words(log: &str) -> String {
    let is_word = |l: &&str| {
        !l.starts_with("verification time")
            && !l.starts_with("stack depth")
            && !l.starts_with("processed")
    };
    let last = log.lines().rfind(is_word).unwrap_or("");
    let text = if last.contains(": (") { "accepted or at an instruction" } else { last };
    text.chars().filter(|c| !c.is_ascii_digit()).collect()
}

fn main() {
    let args: Vec<u64> = std::env::args().skip(1).filter_map(|a| a.parse().ok()).collect();
    let (first, variants) = (args.first().copied().unwrap_or(0), args.get(1).copied().unwrap_or(1));
    let kernel = bpfassay_builds::kernel("6.18").expect("a known build");
    let bytes = std::fs::read("/sys/kernel/btf/vmlinux").expect("the kernel's BTF");
    let config = Config {
        vmlinux: Some(Arc::new(Btf::parse(&bytes, None).expect("valid BTF"))),
        log_level: LogLevel::LEVEL2,
        ..Config::new(&kernel)
    };
    let mut session = Session::new();
    let options = CompareOptions { log_level: 6, max_log: 1 << 24, time: false, memory: false };
    let without_btf = Config { vmlinux: None, log_level: LogLevel(6), ..config.clone() };
    let (mut seen, mut recorded) = (BTreeSet::new(), String::new());
    let (mut same, mut different, mut unsupported, mut accepted) = (0, 0, 0, 0);
    for seed in first..first + variants {
        for kind in KINDS {
            for id in -1..=kernel.helper_ids().end {
                let p = program(*kind, id, seed);
                let c = match compare(&p, &config, &mut session, options) {
                    Ok(c) => c,
                    Err(e) => {
                        println!("{:?} {id}: {e}", kind.0);
                        continue;
                    }
                };
                accepted += c.kernel_errno.is_none() as u32;
                if c.agreement == Agreement::Unsupported {
                    unsupported += 1;
                    println!(
                        "{:?} {} seed {seed}: unsupported {:?}",
                        kind.0,
                        helper::func_id_name(id),
                        c.unsupported
                    );
                    continue;
                }
                if c.agreement == Agreement::Agree && c.log_difference.is_none() && c.stats_equal()
                {
                    same += 1;
                    let wanted = std::env::var_os("RECORD").is_some() && c.kernel_log.len() < 6000;
                    if wanted && seen.insert(last_words(&c.kernel_log)) {
                        let ours = bpfassay_verifier::verify(&p, &without_btf).log;
                        if bpfassay_diag::log::diff(&ours, &c.kernel_log).is_none() {
                            recorded.push_str(&record(&p, &c.kernel_log));
                        }
                    }
                    continue;
                }
                different += 1;
                println!(
                    "{:?} {} seed {seed}: {}",
                    kind.0,
                    helper::func_id_name(id),
                    c.agreement.name()
                );
                if let Some(d) = &c.log_difference {
                    println!("  ours   {}", d.ours.as_deref().unwrap_or("<end>"));
                    println!("  kernel {}", d.kernels.as_deref().unwrap_or("<end>"));
                }
                if std::env::var_os("SHOW").is_some() {
                    println!("--- kernel\n{}--- ours\n{}", c.kernel_log, c.our_log);
                }
            }
        }
    }
    if let Some(path) = std::env::var_os("RECORD") {
        std::fs::write(path, recorded).expect("a writable file");
    }
    println!(
        "same {same} different {different} unsupported {unsupported}; kernel accepts {accepted}"
    );
}
