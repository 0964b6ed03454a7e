//! Contexts: every type of program reads and writes its context at every offset, and every tracepoint, LSM hook and
//! iterator of a kernel hands over its arguments.
//!
//! The programs are made here by a rule; `contexts.txt` holds what kernels answered to them (Debian's, in virtual
//! machines, 29 November 2026): for each kernel how many it accepted, and a hash over all errnos and level-2 logs.  A
//! line of a type is `TYPE ATTACH KIND TARGET SIZE RETURNS WAY`, `-` for a type that attaches to nothing; of hooks
//! `tracepoints`, `hooks` or `iterators`.

mod asked;

use asked::{insn, mov, Asked, Sort};
use bpfassay_isa::RawInsn;
use bpfassay_object::btf::{Btf, BtfKind};
use bpfassay_spec::ProgType;

const LDX: [(i32, u8); 4] = [(1, 0x71), (2, 0x69), (4, 0x61), (8, 0x79)];
const STX: [u8; 4] = [0x73, 0x6b, 0x63, 0x7b];
/// Sign-extending loads of 1, 2 and 4 bytes.
const LDSX: [u8; 3] = [0x91, 0x89, 0x81];

fn load(dst: u8, src: u8, off: i16) -> RawInsn {
    insn(0x79, dst, src, off, 0)
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
    let (kernel, btf) = asked::kernel(release);
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
