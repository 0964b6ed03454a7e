//! Programs drawn from a seed: the kinds of `programs/*.c` with other constants, operations, loops, optimisation and
//! versions of the instruction set.
//!
//! So that no engine is fitted to thirteen programs.  The same seed draws the same programs.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs, io};

/// Xorshift, which the same seed starts alike.
pub struct Draw(u64);

impl Draw {
    pub fn new(seed: u64) -> Draw {
        let mut d = Draw(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        for _ in 0..8 {
            d.next();
        }
        d
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// `from..to`.
    fn of(&mut self, from: u64, to: u64) -> u64 {
        from + (self.next() >> 16) % (to - from)
    }

    fn one<'a>(&mut self, all: &[&'a str]) -> &'a str {
        all[self.of(0, all.len() as u64) as usize]
    }

    /// How a loop is unrolled.
    fn unroll(&mut self) -> String {
        match self.of(0, 4) {
            0 => format!("#pragma clang loop unroll_count({})", 1 << self.of(1, 4)),
            _ => "#pragma clang loop unroll(disable)".to_string(),
        }
    }
}

/// A drawn program.
pub struct Drawn {
    pub name: String,
    /// It needs maps, so that it is no function of memory.
    has_maps: bool,
    flags: Vec<String>,
    text: String,
}

/// What a kind draws: what stands before the body, the body, and what stands behind it.
type Kind = fn(&mut Draw) -> [String; 3];

const KINDS: [(&str, Kind); 14] = [
    ("alu32", |d| arithmetic(d, 32)),
    ("alu64", |d| arithmetic(d, 64)),
    ("atomics", atomics),
    ("calls", calls),
    ("checksum", checksum),
    ("division", division),
    ("hash", hash),
    ("maps", maps),
    ("percpu", maps_of_cpus),
    ("parser", parser),
    ("rounds", rounds),
    ("sieve", sieve),
    ("stack", stack),
    ("switch", switch),
];

/// The first `count` programs of a seed, the kinds in turn.
pub fn programs(seed: u64, count: usize) -> Vec<Drawn> {
    let one = |i: usize| {
        let (kind, write) = KINDS[i % KINDS.len()];
        let d = &mut Draw::new(seed.wrapping_mul(1000).wrapping_add(i as u64));
        // Atomics that fetch are of version 3.
        let oldest = if kind == "atomics" { 3 } else { 1 };
        let cpu = d.of(oldest, 5);
        let level = d.one(&["2", "2", "3", "s", "1"]);
        let [before, body, after] = write(d);
        let mut text =
            "#include \"bench.h\"\n#include \"helpers.h\"\n#include \"maps.h\"\n".to_string();
        let _ = write!(
            text,
            "{before}\nINLINE u64 body(u8 *p, u8 *end)\n{{\n{body}}}\nBENCH(drawn)\n{after}"
        );
        Drawn {
            name: format!("{kind}-v{cpu}-O{level}-{i}"),
            has_maps: text.contains("DEFINE_MAP("),
            flags: vec![format!("-mcpu=v{cpu}"), format!("-O{level}")],
            text,
        }
    };
    (0..count).map(one).collect()
}

/// Statements on a, b and c of so many bits.
fn statements(d: &mut Draw, bits: u64, count: u64) -> String {
    let mut out = String::new();
    for _ in 0..count {
        let v = ["a", "b", "c"];
        let (x, y, z) = (d.one(&v), d.one(&v), d.one(&v));
        let (n, k) = (d.of(1, bits), d.next() >> (64 - bits) | 1);
        let line = match d.of(0, 9) {
            0 => format!("{x} += {y} ^ {z};"),
            1 => format!("{x} = ({x} << {n} | {x} >> {}) ^ {y};", bits - n),
            2 => format!("{x} = {x} * {k:#x} + ({y} >> {n});"),
            3 => format!("{x} -= {y} & {z};"),
            4 => format!("{x} ^= {x} >> {n};"),
            5 => format!("{x} += {:#x};", k & 0x7fff_ffff),
            6 => format!("{x} = ({y} | {:#x}) - {x};", k & 0xffff),
            7 => format!("{x} += ({y} << {}) + {z};", n % 4),
            _ => format!("{x} ^= {x} << {n};"),
        };
        let _ = writeln!(out, "\t\t{line}");
    }
    out
}

fn arithmetic(d: &mut Draw, bits: u64) -> [String; 3] {
    let (count, k) = (d.of(3, 9), d.next() >> (64 - bits) | 1);
    let body = format!(
        "\tu{bits} a = *(u{bits} *)p | 1, b = *(u{bits} *)(p + 8), c = {k:#x};\n\n{}\n\tfor (u32 i = 0; i < {}; i++) {{\n{}\t\tOPAQUE(a);\n\t}}\n\treturn a ^ b ^ c;\n",
        d.unroll(),
        d.of(800, 2500),
        statements(d, bits, count),
    );
    [String::new(), body, String::new()]
}

fn atomics(d: &mut Draw) -> [String; 3] {
    let mut lines = String::new();
    for _ in 0..d.of(2, 6) {
        let w = d.one(&["word", "half", "word", "other"]);
        let line = match d.of(0, 7) {
            0 => format!("seen += __sync_fetch_and_add(&{w}, i);"),
            1 => format!("seen ^= __sync_lock_test_and_set(&{w}, i);"),
            2 => format!("seen += __sync_val_compare_and_swap(&{w}, seen, seen + i);"),
            3 => format!("seen ^= __sync_fetch_and_or(&{w}, seen & {:#x});", d.of(1, 4096)),
            4 => format!("seen += __sync_fetch_and_xor(&{w}, seen);"),
            5 => format!("__sync_fetch_and_add(&{w}, seen | {});", d.of(1, 99)),
            _ => format!("seen -= __sync_fetch_and_and(&{w}, ~i);"),
        };
        let _ = writeln!(lines, "\t\t{line}");
    }
    let body = format!(
        "\tu64 word = *(u64 *)p, other = *(u64 *)(p + 16), seen = 0;\n\tu32 half = *(u32 *)(p + 8);\n\n{}\n\tfor (u32 i = 0; i < {}; i++) {{\n{lines}\t}}\n\treturn seen + word + half + other;\n",
        d.unroll(),
        d.of(200, 400),
    );
    [String::new(), body, String::new()]
}

fn calls(d: &mut Draw) -> [String; 3] {
    let functions = d.of(1, 4);
    let mut before = String::new();
    let mut after = String::new();
    for f in (0..functions).rev() {
        let _ = writeln!(before, "LOCAL u64 step{f}(u64 a, u64 b, u64 c);");
        let deeper = match f + 1 < functions {
            true => format!("\ta += step{}(b, c, a);\n", f + 1),
            false => String::new(),
        };
        let count = d.of(1, 5);
        let _ = write!(
            after,
            "\nLOCAL u64 step{f}(u64 a, u64 b, u64 c)\n{{\n{}{deeper}\treturn a ^ b;\n}}\n",
            statements(d, 64, count)
        );
    }
    let body = format!(
        "\tu64 a = *(u64 *)p, b = *(u64 *)(p + 8);\n\n{}\n\tfor (u32 i = 0; i < {}; i++) {{\n\t\ta = step0(a, b, i);\n\t\tb += a;\n\t}}\n\treturn a ^ b;\n",
        d.unroll(),
        d.of(200, 600),
    );
    [before, body, after]
}

fn checksum(d: &mut Draw) -> [String; 3] {
    let (bits, sum) = (d.one(&["8", "16", "32", "64"]), d.one(&["u32", "u64"]));
    let n: u64 = bits.parse().unwrap_or(8) / 8;
    let swap = if bits == "8" || d.of(0, 3) > 0 {
        String::new()
    } else {
        format!("__builtin_bswap{bits}")
    };
    let body = format!(
        "\t{sum} sum = {};\n\n{}\n\tfor (u32 i = 0; i < BENCH_LEN / {n}; i++)\n\t\tsum {}= {swap}(*(u{bits} *)(p + {n} * i));\n\treturn sum ^ sum >> {};\n",
        d.of(0, 1000),
        d.unroll(),
        d.one(&["+", "+", "^"]),
        d.of(1, 31),
    );
    [String::new(), body, String::new()]
}

fn division(d: &mut Draw) -> [String; 3] {
    let mut lines = String::new();
    for _ in 0..d.of(2, 6) {
        let k = d.of(2, 5000);
        let line = match d.of(0, 6) {
            0 => "x += (u32)x / d;".to_string(),
            1 => format!("x ^= (u32)x % {k};"),
            2 => format!("x = x * 3 + x / {k};"),
            3 => "x += i % d;".to_string(),
            4 => "x += x / (d + i);".to_string(),
            _ => format!("x ^= x % {k};"),
        };
        let _ = writeln!(lines, "\t\t{line}");
    }
    let body = format!(
        "\tu64 x = *(u64 *)p | 1;\n\tu32 d = p[8] | 1;\n\n{}\n\tfor (u32 i = 0; i < {}; i++) {{\n{lines}\t}}\n\treturn x;\n",
        d.unroll(),
        d.of(200, 600),
    );
    [String::new(), body, String::new()]
}

fn hash(d: &mut Draw) -> [String; 3] {
    let (bits, k) = (d.one(&["32", "64"]), d.next() | 1);
    let step = match d.of(0, 3) {
        0 => format!("h = (h ^ p[i]) * {k:#x};"),
        1 => format!("h = (h << 5) + h + p[i] + {};", k & 0xff),
        _ => format!("h = (h << {} ^ h >> {}) + p[i];", d.of(1, 9), d.of(1, 9)),
    };
    let body = format!(
        "\tu{bits} h = {:#x};\n\n{}\n\tfor (u32 i = 0; i < BENCH_LEN; i++) {{\n\t\t{step}\n\t}}\n\treturn h;\n",
        d.next() >> 33,
        d.unroll(),
    );
    [String::new(), body, String::new()]
}

fn maps(d: &mut Draw) -> [String; 3] {
    lookups(d, "MAP_ARRAY", "MAP_HASH")
}

fn maps_of_cpus(d: &mut Draw) -> [String; 3] {
    lookups(d, "MAP_PERCPU_ARRAY", "MAP_PERCPU_HASH")
}

fn lookups(d: &mut Draw, array: &str, hash: &str) -> [String; 3] {
    let (words, entries) = (d.of(1, 5), d.of(200, 400));
    let key = d.one(&["u32", "u64", "struct key"]);
    let before = format!(
        "struct key {{ u64 a; u32 b, c; }};\nstruct value {{ u64 n[{words}]; }};\nDEFINE_MAP(counters, {array}, u32, struct value, {entries});\nDEFINE_MAP(flows, {hash}, {key}, u64, {});\n",
        d.of(256, 4096),
    );
    let fill = match key {
        "struct key" => "struct key key = { .a = x, .b = (u32)x * 3, .c = 7 };".to_string(),
        scalar => format!("{scalar} key = x * {};", d.next() >> 40 | 1),
    };
    let body = format!(
        "\tu64 sum = 0;\n\n{}\n\tfor (u32 i = 0; i < {}; i++) {{\n\t\tu32 slot = p[i];\n\t\tu64 x = *(u64 *)(p + {} * i) & {:#x}, one = 1, *n;\n\t\t{fill}\n\t\tstruct value *v = bpf_map_lookup_elem(&counters, &slot);\n\n\t\tif (v) {{\n\t\t\tv->n[{}] += i;\n\t\t\tsum += slot;\n\t\t}}\n\t\tn = bpf_map_lookup_elem(&flows, &key);\n\t\tif (n)\n\t\t\t*n += i;\n\t\telse\n\t\t\tbpf_map_update_elem(&flows, &key, &one, UPDATE_ANY);\n\t}}\n\treturn sum;\n",
        "#pragma clang loop unroll(disable)",
        d.of(100, 250),
        d.of(1, 5),
        d.of(15, 256),
        d.of(0, words),
    );
    [before, body, String::new()]
}

fn parser(d: &mut Draw) -> [String; 3] {
    let mut tests = String::new();
    for n in 0..d.of(3, 9) {
        let (off, k) = (d.of(14, 60), d.of(0, 256));
        let line = match d.of(0, 5) {
            0 => format!("if (h[{off}] == {k}) return {n};"),
            1 => format!("if (*(u16 *)(h + {off}) & HTONS({})) sum += {n};", k << 4 | 1),
            2 => format!("sum ^= __builtin_bswap32(*(u32 *)(h + {off}));"),
            3 => format!(
                "if (__builtin_bswap16(*(u16 *)(h + {off})) > {}) sum += h[{}];",
                k << 8,
                off + 2
            ),
            _ => format!("sum += (h[{off}] >> {}) * {k};", k % 8),
        };
        let _ = writeln!(tests, "\t{line}");
    }
    let before = "LOCAL u32 verdict(u8 *p, u8 *end);\n".to_string();
    let body = format!(
        "\tu32 sum = 0;\n\n{}\n\tfor (u32 i = 0; i < {}; i++)\n\t\tsum = sum * 31 + verdict(p + {} * i, end);\n\treturn sum;\n",
        d.unroll(),
        d.of(10, 40),
        d.of(8, 34),
    );
    let after = format!(
        "\nLOCAL u32 verdict(u8 *h, u8 *end)\n{{\n\tu32 sum = 0;\n\n\tif (h + 64 > end)\n\t\treturn 10;\n\tif (*(u16 *)(h + 12) == HTONS(0x{:04x}))\n\t\treturn 1;\n{tests}\treturn sum;\n}}\n",
        d.of(0x800, 0x900),
    );
    [before, body, after]
}

/// Additions, rotations and exclusive ors on four words, as hashes of short messages have.
fn rounds(d: &mut Draw) -> [String; 3] {
    let bits = d.one(&["32", "64"]);
    let width: u64 = bits.parse().unwrap_or(64);
    let mut round = String::new();
    for (x, y) in [("a", "b"), ("c", "d"), ("a", "d"), ("c", "b")] {
        let (n, m) = (d.of(1, width), d.of(1, width));
        let _ =
            write!(round, "\t\t{x} += {y}, {y} = ROTL({y}, {n}) ^ {x}, {x} = ROTL({x}, {m});\n");
    }
    let before = format!("#define ROTL(x, n) ((x) << (n) | (x) >> ({bits} - (n)))\n");
    let body = format!(
        "\tu{bits} a = 1, b = {:#x}, c = 3, d = 4;\n\n{}\n\tfor (u32 i = 0; i < BENCH_LEN / 8; i++) {{\n\t\tu{bits} m = *(u{bits} *)(p + i * 8);\n\n\t\td ^= m;\n{}\t\ta ^= m;\n\t}}\n\treturn a ^ b ^ c ^ d;\n",
        d.next() >> (64 - width),
        d.unroll(),
        round.repeat(d.of(1, 3) as usize),
    );
    [before, body, String::new()]
}

fn sieve(d: &mut Draw) -> [String; 3] {
    let (value, from) = (d.of(1, 100), d.of(2, 9));
    let body = format!(
        "\tu32 count = 0;\n\n#pragma clang loop unroll(disable)\n\tfor (u32 i = 0; i < BENCH_LEN; i++) {{\n\t\tp[i] = {value};\n\t\tOPAQUE(p);\n\t}}\n#pragma clang loop unroll(disable)\n\tfor (u32 i = {from}; i < {}; i++) {{\n\t\tif (p[i] != {value})\n\t\t\tcontinue;\n\t\tcount += i;\n{}\n\t\tfor (u32 j = i + i; j < BENCH_LEN; j += i)\n\t\t\tp[j] = 0;\n\t}}\n\treturn count;\n",
        d.of(500, 1400),
        "#pragma clang loop unroll(disable)",
    );
    [String::new(), body, String::new()]
}

fn stack(d: &mut Draw) -> [String; 3] {
    let size = 1 << d.of(3, 6);
    let bits = d.one(&["32", "64"]);
    let mask = size - 1;
    let body = format!(
        "\tu{bits} ring[{size}], x = *(u{bits} *)p;\n\n#pragma clang loop unroll(disable)\n\tfor (u32 i = 0; i < {size}; i++)\n\t\tring[i] = x + i;\n{}\n\tfor (u32 i = 0; i < {}; i++) {{\n\t\tu{bits} v = ring[i & {mask}];\n\n\t\tring[(i + {}) & {mask}] {}= v + x;\n\t\tx = x * {} + v;\n\t}}\n\treturn x ^ ring[{}];\n",
        d.unroll(),
        d.of(500, 1500),
        d.of(1, size),
        d.one(&["^", "+", "-", ""]),
        d.of(3, 99) | 1,
        d.of(0, size),
    );
    [String::new(), body, String::new()]
}

fn switch(d: &mut Draw) -> [String; 3] {
    let cases = 1u64 << d.of(3, 6);
    let mut arms = String::new();
    for case in 0..cases {
        let (n, k) = (d.of(1, 63), d.of(1, 1 << 30));
        let action = match d.of(0, 10) {
            0 => format!("x += {k}"),
            1 => format!("x ^= {k}"),
            2 => format!("x *= {}", k & 0xfff | 1),
            3 => "x -= i".to_string(),
            4 => format!("x = x << {n} | x >> {}", 64 - n),
            5 => format!("x |= {}", k & 0xff),
            6 => format!("x += x >> {n}"),
            7 => format!("x ^= x << {n}"),
            8 => "x = ~x".to_string(),
            _ => "x = __builtin_bswap64(x)".to_string(),
        };
        let label = if case + 1 == cases { "default".to_string() } else { format!("case {case}") };
        let _ = writeln!(arms, "\t\t{label}: {action}; break;");
    }
    let body = format!(
        "\tu64 x = {};\n\n#pragma clang loop unroll(disable)\n\tfor (u32 i = 0; i < {}; i++) {{\n\t\tswitch ((p[i] ^ x) & {}) {{\n{arms}\t\t}}\n\t\tOPAQUE(x);\n\t}}\n\treturn x;\n",
        d.of(1, 1000),
        d.of(400, 1100),
        cases - 1,
    );
    [String::new(), body, String::new()]
}

/// Compiles a program into `folder` with the tools of `build.sh`; gives the object.  Beside it are its source and,
/// where it needs no map, its bare instructions.
pub fn compile(drawn: &Drawn, folder: &Path) -> io::Result<PathBuf> {
    let tool = |name: &str, or: &str| env::var(name).unwrap_or_else(|_| or.to_string());
    let run = |command: &mut Command| {
        let out = command.output()?;
        match out.status.success() {
            true => Ok(()),
            false => Err(io::Error::other(String::from_utf8_lossy(&out.stderr).into_owned())),
        }
    };
    let programs = Path::new(env!("CARGO_MANIFEST_DIR")).join("programs");
    let at = |end: &str| folder.join(format!("{}.{end}", drawn.name));
    fs::write(at("c"), &drawn.text)?;
    let clang = |raw: &[&str], to: &Path| {
        let mut command = Command::new(tool("CLANG", "clang-19"));
        command.args(["-target", "bpf", "-Wno-unused", "-I"]).arg(&programs).arg("-I");
        command.arg(programs.join("../../corpus/c/include")).args(&drawn.flags).args(raw);
        run(command.arg("-c").arg(at("c")).arg("-o").arg(to))
    };
    clang(&["-g"], &at("o"))?;
    run(Command::new(tool("STRIP", "llvm-strip-19")).arg("-g").arg(at("o")))?;
    if !drawn.has_maps {
        clang(&["-DRAW"], &at("tmp"))?;
        let mut objcopy = Command::new(tool("OBJCOPY", "llvm-objcopy-19"));
        run(objcopy.args(["-O", "binary", "--only-section=raw"]).arg(at("tmp")).arg(at("bin")))?;
    }
    Ok(at("o"))
}
