//! What BPF becomes: programs beside the A64 they should give, as LLVM assembles it.
//!
//! `data/llvm-mc-code.txt` is made like the encoder's table (see `encoder.rs`).

use std::collections::HashMap;

use bpfassay_isa::asm::conformance::assemble;
use bpfassay_isa::RawInsn;
use bpfassay_jit::{Compiled, OneAddress, Options, Source};

fn compile(insns: &[RawInsn], lse: bool) -> Compiled {
    let options = Options { context: 0x7f00_1234_5000, blind: None };
    bpfassay_jit_arm64::compile(
        &Source::raw(insns),
        &options,
        lse,
        &mut OneAddress(0x7f12_3456_7000),
    )
    .expect("compiles")
}

/// Words of the slots but the last, which is `exit`.
fn body(text: &str, lse: bool) -> Vec<u32> {
    let insns = assemble(text).expect("assembles");
    let c = compile(&insns, lse);
    let last = c.offsets.len() - 2;
    let range = c.body as usize..c.offsets[last] as usize;
    let (words, rest) = c.code[range].as_chunks::<4>();
    assert!(rest.is_empty());
    words.iter().map(|w| u32::from_le_bytes(*w)).collect()
}

/// BPF, and A64, a line each; `false` without single-instruction atomics.
const CASES: &[(&str, bool, &str)] = &[
    // Moves and constants: r0 is x7, r1 to r5 x0 to x4, r6 to r9 x19 to x22.
    ("mov %r0, %r1\nexit", true, "mov x7, x0"),
    ("mov %r0, -1\nexit", true, "mov x7, #-1"),
    ("mov32 %r0, -1\nexit", true, "mov w7, #-1"),
    ("mov %r0, 0x12345678\nexit", true, "mov w7, #22136\nmovk w7, #4660, lsl #16"),
    // Immediates within the instruction, negative ones by the opposite operation.
    ("mov %r0, %r1\nadd %r0, 4096\nexit", true, "add x7, x0, #1, lsl #12"),
    ("add %r1, -8\nmov %r0, %r1\nexit", true, "sub x0, x0, #8\nmov x7, x0"),
    ("and32 %r1, 0xff\nmov %r0, %r1\nexit", true, "and w0, w0, #0xff\nmov w7, w0"),
    // Strength: powers of two, and the zero register instead of a constant.
    ("mul %r1, 8\nmov %r0, %r1\nexit", true, "lsl x0, x0, #3\nmov x7, x0"),
    ("div %r1, 16\nmov %r0, %r1\nexit", true, "lsr x0, x0, #4\nmov x7, x0"),
    ("mod %r1, 16\nmov %r0, %r1\nexit", true, "and x0, x0, #0xf\nmov x7, x0"),
    (
        "mod %r1, %r2\nmov %r0, %r1\nexit",
        true,
        "udiv x10, x0, x1\nmsub x0, x10, x1, x0\nmov x7, x0",
    ),
    // Neighbouring stores of zero are one pair.
    ("mov %r0, 0\nstdw [%r1], 0\nstdw [%r1+8], 0\nexit", true, "mov w7, #0\nstp xzr, xzr, [x0]"),
    // Branches that compare and jump at once.
    ("jeq %r1, 0, +1\nmov %r0, 1\nexit", true, "cbz x0, #8\nmov w7, #1"),
    ("jset %r1, 0x80, +1\nmov %r0, 1\nexit", true, "tbnz w0, #7, #8\nmov w7, #1"),
    ("jslt %r1, 0, +1\nmov %r0, 1\nexit", true, "tbnz x0, #63, #8\nmov w7, #1"),
    ("jgt %r1, 4095, +1\nmov %r0, 1\nexit", true, "cmp x0, #4095\nb.hi #8\nmov w7, #1"),
    // 8192 fits where 8191 does not.
    ("jgt %r1, 8191, +1\nmov %r0, 1\nexit", true, "cmp x0, #2, lsl #12\nb.hs #8\nmov w7, #1"),
    // Atomics, as one instruction and as a loop.
    ("mov %r0, %r2\nlock fetch add [%r1], %r0\nexit", true, "mov x7, x1\nldaddal x7, x7, [x0]"),
    (
        "mov %r0, %r2\nlock fetch add [%r1], %r0\nexit",
        false,
        "mov x7, x1\nldaxr x11, [x0]\nadd x13, x11, x7\nstlxr w12, x13, [x0]\ncbnz w12, #-12\n\
         dmb ish\nmov x7, x11",
    ),
];

#[test]
fn programs_become_the_code_expected() {
    if std::env::var_os("BPFASSAY_PRINT_ASM").is_some() {
        for (_, _, a64) in CASES {
            a64.lines().for_each(|l| println!("ASM {l}"));
        }
        return;
    }
    let table: HashMap<&str, u32> = include_str!("data/llvm-mc-code.txt")
        .lines()
        .filter(|l| !l.starts_with('#'))
        .map(|l| {
            let (hex, text) = l.split_once(' ').expect("word and text");
            (text, u32::from_str_radix(hex, 16).expect("hex"))
        })
        .collect();
    for (bpf, lse, a64) in CASES {
        let want: Vec<u32> = a64
            .lines()
            .map(|l| *table.get(l).unwrap_or_else(|| panic!("`{l}` not there")))
            .collect();
        let got = body(bpf, *lse);
        assert_eq!(got, want, "{bpf}\ngives {got:08x?}\nnot   {want:08x?}\n{a64}");
    }
}

/// Where the jump that ends just before `end` leads, and whether it is an unconditional one.
fn jump_before(c: &Compiled, end: u32) -> (i64, bool) {
    let at = end - 4;
    let word = &c.code[at as usize..end as usize];
    let word = u32::from_le_bytes(word.try_into().expect("four bytes"));
    // B: 26 bits; TBZ and TBNZ 14, B.cond and CBZ 19.
    let (distance, is_b) = match word >> 26 {
        5 => (((word << 6) as i32) >> 4, true),
        _ if word >> 25 & 0x3f == 0x1b => (((word << 13) as i32) >> 16 & !3, false),
        _ => (((word << 8) as i32) >> 11 & !3, false),
    };
    (i64::from(at) + i64::from(distance), is_b)
}

/// Jumps farther than a conditional branch reaches go around an unconditional one; those over them,
/// written before that was known, go as far as they then must.
#[test]
fn far_jumps_arrive() {
    for (jump, reach) in [("jeq %r1, 7, +", 1 << 18), ("jset %r1, 1, +", 1 << 13)] {
        let n = 1 << 14;
        let filler = "mul %r2, %r3\n".repeat(n);
        // Three words or four; the bits of one are not among those of the other.
        let over = "jset %r1, 2, +2\nmul %r2, %r3\n";
        let text = format!("mov %r0, 0\n{over}{jump}{n}\n{filler}mov %r0, %r2\nexit");
        let c = compile(&assemble(&text).expect("assembles"), true);
        let to = |slot: usize| i64::from(c.offsets[slot]);
        assert_eq!(jump_before(&c, c.offsets[2]), (to(4), false), "{jump}");
        let is_far = (to(4 + n) - to(4) + 4) / 4 >= reach;
        assert_eq!(jump_before(&c, c.offsets[4]), (to(4 + n), is_far), "{jump}");
    }
}

/// More jumps than a program of this length is expected to have.
#[test]
fn nothing_but_jumps() {
    let n = 3000;
    let c = compile(&assemble(&("jeq %r1, 7, +0\n".repeat(n) + "exit")).expect("assembles"), true);
    for slot in 0..n {
        let end = c.offsets[slot + 1];
        assert_eq!(jump_before(&c, end), (i64::from(end), false), "{slot}");
    }
}
