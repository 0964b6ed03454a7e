//! The unchecked interpreter answers as the checking one, on programs made of the sequences it fuses.
#![allow(unsafe_code)]

use bpfassay_harness::engine::{Input, Instance};
use bpfassay_harness::raw::RawInterp;
use bpfassay_isa::asm::{assemble, NoNames};

struct Rng(u64);

impl Rng {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 16
    }

    fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[self.below(from.len() as u64) as usize]
    }

    /// A number, most of them small.
    fn imm(&mut self) -> i32 {
        let v = self.next() as i32;
        match self.below(4) {
            0 => v,
            1 => v & 0xff,
            _ => (v & 0x3f) - 16,
        }
    }
}

const OPS: &[&str] =
    &["+=", "-=", "*=", "/=", "|=", "&=", "<<=", ">>=", "%=", "^=", "s>>=", "s/=", "s%="];
const CONDS: &[&str] = &["==", "!=", ">", ">=", "<", "<=", "s>", "s>=", "s<", "s<=", "&"];

/// A few lines the interpreter may join, on registers r0 to r8; r9 counts loops.
fn piece(r: &mut Rng) -> String {
    let w = r.pick(&["r", "w"]);
    let (a, b, c) = (r.below(9), r.below(9), r.below(9));
    let shift = if w == "r" { 63 } else { 31 };
    let (k, k2) = (r.below(shift) + 1, r.below(shift) + 1);
    let op = |r: &mut Rng, to: &str| {
        let op = r.pick(OPS);
        let is_shift = matches!(op, "<<=" | ">>=" | "s>>=");
        match r.below(2) {
            0 if is_shift => format!("{to} {op} {}", r.below(31) + 1),
            0 if matches!(op, "/=" | "%=" | "s/=" | "s%=") => {
                format!("{to} {op} {}", (r.imm() & 0xffff) | 1)
            }
            0 => format!("{to} {op} {}", r.imm()),
            _ => format!("{to} {op} {}{}", &to[..1], r.below(9)),
        }
    };
    let to = format!("{w}{a}");
    match r.below(12) {
        0 => op(r, &to),
        1 => format!("{to} = {w}{b}\n{}", op(r, &to)),
        2 => format!("{to} = {w}{b}\n{}\n{}", op(r, &to), op(r, &to)),
        3 => format!("{}\n{}", op(r, &to), op(r, &to)),
        // Rotations, of a register and of its copy, and what only looks like one.
        4 => format!("{to} = {w}{b}\n{to} >>= {k}\n{w}{b} <<= {k2}\n{w}{b} |= {to}"),
        5 => {
            format!("{to} = {w}{b}\n{to} >>= {k}\n{w}{c} = {w}{b}\n{w}{c} <<= {k2}\n{w}{c} |= {to}")
        }
        6 => format!("{to} = {w}{b}\n{to} >>= {k}\n{to} {} {w}{c}", r.pick(&["|=", "^=", "+="])),
        7 => format!("{to} = {w}{b}\n{w}{c} = {w}{}", r.below(9)),
        8 => {
            let size = r.pick(&["u8", "u16", "u32", "u64"]);
            let at = r.below(8) * 8 + 8;
            let slot = format!("*({size} *)(r{a} +0)");
            let base = match r.below(3) {
                0 => format!("r{a} = r10\nr{a} += -{at}"),
                1 => format!("r{b} = -{at}\nr{a} = r10\nr{a} += r{b}"),
                _ => format!("r{b} = -{at}\nr{a} = r10\nr{a} *= 1\nr{a} += r{b}"),
            };
            // A register may be the sum's second part only if it is another.
            let base = if a == b { format!("r{a} = r10\nr{a} += -{at}") } else { base };
            match r.below(2) {
                // No address is stored.
                0 => {
                    format!("{base}\n{slot} = r{}\nr{a} = 5", if a == c { (c + 1) % 9 } else { c })
                }
                _ => format!("{base}\nr{c} = {slot}\nr{a} = {}", if a == c { "9" } else { "7" }),
            }
        }
        9 => format!(
            "if {w}{a} {} {} goto pc+1\n{}",
            r.pick(CONDS),
            r.imm() & 0x7fff,
            op(r, &format!("{w}{b}"))
        ),
        10 => format!(
            "{to} += {}\nif {w}{b} {} {w}{c} goto pc+1\n{}",
            r.imm(),
            r.pick(CONDS),
            op(r, "r3")
        ),
        _ => format!(
            "{to} += {}\nif {to} {} {} goto pc+2\n{}\n{}",
            r.imm(),
            r.pick(CONDS),
            r.imm() & 0xff,
            op(r, "r4"),
            op(r, "w5")
        ),
    }
}

fn program(seed: u64) -> String {
    let mut r = Rng(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let mut lines: Vec<String> = Vec::new();
    for slot in 1..=8 {
        lines.push(format!("*(u64 *)(r10 -{}) = {}", slot * 8, r.imm()));
    }
    for reg in 0..9 {
        lines.push(format!("r{reg} = 0x{:x} ll", r.next() | r.next() << 32));
    }
    lines.push(format!("r9 = {}", 1 + r.below(5)));
    lines.push("loop:".to_string());
    for _ in 0..4 + r.below(12) {
        lines.push(piece(&mut r));
    }
    // A jump of the last piece may reach here.
    lines.extend(["r9 += -1", "r9 += 0", "r9 += 0", "if r9 s> 0x0 goto loop"].map(String::from));
    for reg in 1..9 {
        lines.push(format!("r0 *= 31\nr0 ^= r{reg}"));
    }
    for slot in 1..=8 {
        lines.push(format!("r1 = *(u64 *)(r10 -{})\nr0 *= 31\nr0 += r1", slot * 8));
    }
    lines.push("exit".to_string());
    lines.join("\n")
}

#[test]
fn fused_operations_mean_what_their_parts_mean() {
    for seed in 0..6_000 {
        let text = program(seed);
        let insns = assemble(&text, &NoNames).unwrap_or_else(|e| panic!("{e:?} in\n{text}"));
        let checked = RawInterp::new(&insns).run(&Input::default());
        assert_eq!(checked.trap, None, "seed {seed}\n{text}");
        // SAFETY: the checking interpreter ran the same instructions on the same input to the end.
        let unchecked = unsafe { RawInterp::unchecked(&insns) }.run(&Input::default());
        // No address is left in a register, so the two need not have the same ones.
        assert_eq!((unchecked.r0, unchecked.trap), (checked.r0, None), "seed {seed}\n{text}");
    }
}
