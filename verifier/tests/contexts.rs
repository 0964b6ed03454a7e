//! Contexts: every type of program reads and writes its context at every offset, and every tracepoint, LSM hook and
//! iterator of a kernel hands over its arguments.
//!
//! The programs are made here by a rule; `contexts.txt` holds what kernels answered to them (Debian's, in virtual
//! machines, 29 November 2026): for each kernel how many it accepted, and a hash over all errnos and level-2 logs.  A
//! line of a type is `TYPE ATTACH KIND TARGET SIZE RETURNS WAY`, `-` for a type that attaches to nothing; of hooks
//! `tracepoints`, `hooks` or `iterators`.

use std::sync::Arc;

use bpfassay_builds::Build;
use bpfassay_isa::RawInsn;
use bpfassay_object::btf::{Btf, BtfKind};
use bpfassay_object::model::{AttachTarget, ProgFlags, Program};
use bpfassay_spec::{AttachType, Kernel, ProgType};
use bpfassay_verifier::log::LogLevel;
use bpfassay_verifier::{verify, Config, Verdict};

const LDX: [(i32, u8); 4] = [(1, 0x71), (2, 0x69), (4, 0x61), (8, 0x79)];
const STX: [u8; 4] = [0x73, 0x6b, 0x63, 0x7b];
/// Sign-extending loads of 1, 2 and 4 bytes.
const LDSX: [u8; 3] = [0x91, 0x89, 0x81];

fn insn(code: u8, dst: u8, src: u8, off: i16, imm: i32) -> RawInsn {
    let mut bytes = [code, src << 4 | dst, 0, 0, 0, 0, 0, 0];
    bytes[2..4].copy_from_slice(&off.to_le_bytes());
    bytes[4..].copy_from_slice(&imm.to_le_bytes());
    RawInsn::from_le_bytes(bytes)
}

fn mov(dst: u8, imm: i32) -> RawInsn {
    insn(0xb7, dst, 0, 0, imm)
}

fn load(dst: u8, src: u8, off: i16) -> RawInsn {
    insn(0x79, dst, src, off, 0)
}

/// What programs of one kind have in common.
#[derive(Clone)]
struct Sort {
    prog_type: ProgType,
    attach: u32,
    target: Option<(BtfKind, String)>,
    flags: u32,
    returns: i32,
}

/// A kernel, what it answers, and the hash of that.
struct Asked<'k> {
    btf: &'k Btf,
    config: Config<'k>,
    accepted: usize,
    hash: u64,
}

impl<'k> Asked<'k> {
    fn new(kernel: &'k Kernel, btf: &'k Arc<Btf>) -> Asked<'k> {
        let mut config = Config { log_level: LogLevel(2), ..Config::new(kernel) };
        config.vmlinux = Some(btf.clone());
        Asked { btf, config, accepted: 0, hash: 0xcbf2_9ce4_8422_2325 }
    }

    /// Judges the program, which leaves what it returns to us.
    fn ask(&mut self, sort: &Sort, code: &[RawInsn]) {
        let insns = [code, &[mov(0, sort.returns), insn(0x95, 0, 0, 0, 0)]].concat();
        let mut program = Program {
            expected_attach_type: AttachType::from_number(sort.attach),
            flags: ProgFlags::default().with_bits(sort.flags),
            ..Program::bare("x", sort.prog_type, insns)
        };
        if let Some((kind, name)) = &sort.target {
            let Some(btf_id) = self.btf.find_by_name_kind(name, *kind) else { return };
            let ops = sort.prog_type == ProgType::StructOps;
            let member = ops.then_some(sort.attach);
            program.expected_attach_type = program.expected_attach_type.filter(|_| !ops);
            program.attach_target =
                Some(AttachTarget { name: name.clone(), btf_id, btf: 0, member });
        }
        let report = verify(&program, &self.config);
        let errno = match report.verdict {
            Verdict::Accepted => 0,
            Verdict::Rejected(e) => e.0,
            Verdict::Unsupported(_) => -1,
        };
        self.accepted += usize::from(errno == 0);
        self.note(&format!("{errno}\t{}\0", masked(&report.log)));
    }

    /// FNV-1a.
    fn note(&mut self, text: &str) {
        let step = |h: u64, b: u8| (h ^ u64::from(b)).wrapping_mul(0x100_0000_01b3);
        self.hash = text.bytes().fold(self.hash, step);
    }
}

/// Without durations, BTF ids, which are other ones in each build of a release, and numbers of more than 32 bits.
fn masked(log: &str) -> String {
    let mut out = String::new();
    for line in log.split_inclusive('\n').filter(|l| !l.starts_with("verification time")) {
        let line = replaced(line, "btf_id ", |b| b.is_ascii_digit(), 1, "btf_id N");
        let is_digit = |b: &u8| matches!(b, b'0'..=b'9' | b'a'..=b'f');
        out += &replaced(&line, "0x", is_digit, 9, "ADDR");
    }
    out
}

/// With `by` for each `head` and the digits behind it, of which there must be `least` and are at most 16.
fn replaced(
    text: &str,
    head: &str,
    is_digit: impl Fn(&u8) -> bool,
    least: usize,
    by: &str,
) -> String {
    let (mut out, mut rest) = (String::new(), text);
    while let Some(at) = rest.find(head) {
        let digits = at + head.len();
        let count = rest.bytes().skip(digits).take_while(|b| is_digit(b)).take(16).count();
        let (before, after) = rest.split_at(digits + count);
        out += if count < least { before } else { &before[..at] };
        out += if count < least { "" } else { by };
        rest = after;
    }
    out + rest
}

/// Offsets that are looked at: all of them but for the middle of long contexts.
fn offsets(size: i16, way: &str) -> Vec<i16> {
    let first = if size > 32 { -2 } else { -8 };
    let all: Vec<i16> = match size > 256 {
        true => (-2..80).chain(size - 24..size + 9).collect(),
        false => (first..size + 9).collect(),
    };
    all.into_iter().filter(|o| way != "words" || o % 4 == 0).collect()
}

/// Reads and writes of all sizes; `way` is `all`, or `words` where another attach type of the type has the rest.
fn each_offset(asked: &mut Asked<'_>, sort: &Sort, size: i16, way: &str) {
    let (plain, whole) = (sort.target.is_none(), way == "all");
    for o in offsets(size, way) {
        for (nth, (bytes, code)) in LDX.into_iter().enumerate() {
            let o32 = i32::from(o);
            let aligned = o32.rem_euclid(bytes) == 0;
            if !plain && (bytes != 8 && o > 9 || !aligned) {
                continue;
            }
            let odd = bytes == 8 && o32.rem_euclid(8) == 4 || o == 1 || o == 2;
            if bytes > 1 && !aligned && !odd {
                continue;
            }
            asked.ask(sort, &[insn(code, 2, 1, o, 0)]);
            if plain || o == 0 || o == 8 {
                asked.ask(sort, &[mov(2, 0), insn(STX[nth], 1, 2, o, 0)]);
            }
            if o % 8 == 0 && bytes == 4 && whole {
                asked.ask(sort, &[insn(0x62, 1, 0, o, 0)]);
            }
            if bytes < 8 && o % 4 == 0 && o < 88 && whole && (plain || o == 0) {
                asked.ask(sort, &[insn(LDSX[nth], 2, 1, o, 0)]);
            }
        }
    }
    let fp = [insn(0xbf, 2, 10, 0, 0), insn(0x07, 2, 0, 0, -8), insn(0x7a, 10, 0, -8, 0)];
    asked.ask(sort, &[&fp[..], &[mov(3, 0), insn(0xdb, 1, 3, 0, 0)]].concat());
    for (moved, off) in [(8, 0), (-8, 8)] {
        let add = [insn(0xbf, 2, 1, 0, 0), insn(0x07, 2, 0, 0, moved)];
        asked.ask(sort, &[&add[..], &[insn(0x61, 3, 2, off, 0)]].concat());
    }
}

fn sort(prog_type: ProgType, attach: u32, kind: BtfKind, name: &str) -> Sort {
    Sort { prog_type, attach, target: Some((kind, name.to_string())), flags: 0, returns: 0 }
}

/// Names of a kind that begin so, sorted.
fn names(btf: &Btf, kind: BtfKind, prefix: &str) -> Vec<String> {
    let fits =
        |t: &bpfassay_object::btf::Type<'_>| t.kind() == kind && t.name().starts_with(prefix);
    let mut all: Vec<String> = btf.all_types().filter(fits).map(|t| t.name().to_string()).collect();
    all.sort();
    all.dedup();
    all
}

const SLEEPABLE: u32 = 16;

/// Arguments of every hook of a kind, and what else its programs may do.
fn each_hook(asked: &mut Asked<'_>, what: &str) {
    let (kind, prefix) = match what {
        "tracepoints" => (BtfKind::Typedef, "btf_trace_"),
        "hooks" => (BtfKind::Func, "bpf_lsm_"),
        _ => (BtfKind::Func, "bpf_iter_"),
    };
    for name in names(asked.btf, kind, prefix) {
        match what {
            "tracepoints" => {
                let sort = sort(ProgType::Tracing, 23, kind, &name);
                for arg in 0..7 {
                    asked.ask(&sort, &[load(2, 1, 8 * arg), load(3, 2, 0)]);
                }
            }
            "hooks" => {
                let mac = sort(ProgType::Lsm, 27, kind, &name);
                for arg in 0..6 {
                    asked.ask(&mac, &[load(2, 1, 8 * arg)]);
                }
                asked.ask(&Sort { flags: SLEEPABLE, ..mac.clone() }, &[]);
                for (attach, returns) in [(27, 1), (27, -1), (43, 1), (43, -1)] {
                    asked.ask(&Sort { attach, returns, ..mac.clone() }, &[]);
                }
            }
            _ => {
                let sort = sort(ProgType::Tracing, 28, kind, &name);
                for arg in 0..5 {
                    asked.ask(&sort, &[load(2, 1, 8 * arg)]);
                }
                asked.ask(&Sort { flags: SLEEPABLE, ..sort }, &[]);
            }
        }
    }
}

/// What the line of a sort says.
fn read(line: &str) -> (Sort, i16, &str) {
    let w: Vec<&str> = line.split(' ').collect();
    let [prog_type, attach, kind, name, size, returns, way] = w[..] else { panic!("{line}") };
    let kind = match kind {
        "-" => None,
        "func" => Some(BtfKind::Func),
        "typedef" => Some(BtfKind::Typedef),
        "struct" => Some(BtfKind::Struct),
        other => panic!("kind {other}"),
    };
    let sort = Sort {
        prog_type: ProgType::from_number(prog_type.parse().expect("a type")).expect("a type"),
        attach: attach.parse().expect("an attach type"),
        target: kind.map(|k| (k, name.to_string())),
        flags: 0,
        returns: returns.parse().expect("a number"),
    };
    (sort, size.parse().expect("a size"), way)
}

fn check(release: &str) {
    let build = Build::find(release).expect("a served build");
    let bytes = build.vmlinux().expect("the BTF");
    let btf = Arc::new(Btf::parse(&bytes, None).expect("a kernel's BTF"));
    let kernel = build.kernel().expect("a whole build");
    let (mut head, mut rows, mut wrong) = ("", 0, Vec::new());
    for line in include_str!("contexts.txt").lines().filter(|l| !l.starts_with('#')) {
        let Some(row) = line.strip_prefix("  ") else {
            head = line;
            continue;
        };
        let w: Vec<&str> = row.split(' ').collect();
        let [at, accepted, hash] = w[..] else { panic!("{line}") };
        if at != release {
            continue;
        }
        let mut asked = Asked::new(&kernel, &btf);
        match head.contains(' ') {
            true => {
                let (sort, size, way) = read(head);
                each_offset(&mut asked, &sort, size, way);
            }
            false => each_hook(&mut asked, head),
        }
        let ours = (asked.accepted.to_string(), format!("{:016x}", asked.hash));
        if ours != (accepted.to_string(), hash.to_string()) {
            wrong.push(format!("{head}: the kernel {accepted} {hash}, we {ours:?}"));
        }
        rows += 1;
    }
    assert!(wrong.is_empty(), "{release}: {} of {rows}\n{}", wrong.len(), wrong.join("\n"));
    assert!(rows > 80, "{release}: {rows} rows");
}

macro_rules! kernels {
    ($($name:ident $release:literal)*) => {$(
        #[test]
        fn $name() {
            check($release);
        }
    )*};
}

kernels! {
    contexts_of_5_10 "5.10.262"
    contexts_of_6_1 "6.1.192"
    contexts_of_6_12 "6.12.118"
    contexts_of_6_16 "6.16.12"
    contexts_of_7_1 "7.1.13"
    contexts_of_7_3 "7.3.4"
}
