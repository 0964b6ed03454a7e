//! No number that a program chooses is in its code where constants are blinded, on either processor.

use bpfassay_isa::asm::{assemble, NoNames};
use bpfassay_isa::{CallTarget, Imm64, RawInsn};
use bpfassay_jit::source::ArrayPlan;
use bpfassay_jit::{CallPlan, Options, Resolve, Source};
use bpfassay_jit_x86::Features;

const SECRET: u32 = 0x5ea1_c3d7;

/// Map values and sizes that a program has chosen.
struct Chosen;

impl Resolve for Chosen {
    fn wide(&mut self, _: u32, value: Imm64) -> Result<u64, &'static str> {
        Ok(match value {
            Imm64::MapValue { .. } => 0x7f12_0000_0000 | u64::from(SECRET),
            _ => 0x7f12_3456_7000,
        })
    }

    fn call(&mut self, _: u32, _: CallTarget, _: Option<Imm64>) -> CallPlan {
        CallPlan::Array(ArrayPlan { base: 0x7f12_3456_7100, stride: 8, entries: SECRET })
    }
}

fn asm(text: &str) -> Vec<RawInsn> {
    assemble(text, &NoNames).unwrap_or_else(|e| panic!("{text}: {e:?}"))
}

/// Every place a number has in an instruction.
fn programs() -> Vec<(String, Vec<RawInsn>)> {
    let mut texts = Vec::new();
    let number = SECRET;
    for op in ["+", "-", "*", "/", "%", "s/", "s%", "|", "&", "^", ""] {
        texts.push(format!("r0 = 3\nr0 {op}= {number}\nexit"));
        texts.push(format!("w0 = 3\nw0 {op}= {number}\nexit"));
    }
    for cond in ["==", "!=", ">", ">=", "<", "<=", "s>", "s>=", "s<", "s<=", "&"] {
        for r in ["r", "w"] {
            texts.push(format!("r0 = 3\nif {r}0 {cond} {number} goto +1\nr0 = 5\nexit"));
        }
    }
    for size in ["u32", "u64"] {
        texts.push(format!("*({size} *)(r10 -8) = {number}\nr0 = 0\nexit"));
    }
    texts.push(format!("r0 = {number:#x}{number:x} ll\nexit"));
    texts.push(format!("r6 = r1\nr0 = *(u32 *)skb[{number}]\nexit"));
    texts.push(format!("r6 = r1\nr0 = *(u32 *)skb[r1 + {number}]\nexit"));
    let mut all: Vec<_> = texts.into_iter().map(|t| (t.clone(), asm(&t))).collect();
    // The address of a map's value, and of a map, behind which its elements are looked up.
    for src in [2, 1] {
        let mut insns = asm("r1 = 1 ll\nr2 = r10\ncall 1\nexit");
        if let Some(first) = insns.first_mut() {
            first.src = src;
        }
        all.push((format!("map {src}"), insns));
    }
    all
}

fn x86(insns: &[RawInsn], options: &Options) -> bool {
    let features = Features { bmi2: true, movbe: true, ..Features::BASE };
    let code = bpfassay_jit_x86::compile(&Source::raw(insns), options, features, &mut Chosen);
    let code = code.expect("compiles").code;
    // Numbers may stand one lower or higher, or negated.
    let forms = [SECRET, SECRET.wrapping_neg(), SECRET - 1, SECRET + 1, !SECRET];
    code.windows(4).any(|w| forms.iter().any(|f| f.to_le_bytes() == w))
}

fn arm64(insns: &[RawInsn], options: &Options) -> bool {
    let code = bpfassay_jit_arm64::compile(&Source::raw(insns), options, true, &mut Chosen);
    let code = code.expect("compiles").code;
    let words = code.as_chunks::<4>().0.iter().map(|w| u32::from_le_bytes(*w));
    // MOVZ, MOVN and MOVK of sixteen bits.
    let moved = words.filter(|w| w >> 23 & 0x3f == 0x25).map(|w| (w >> 5) as u16);
    let halves = [SECRET, SECRET.wrapping_neg(), !SECRET].map(|n| [n as u16, (n >> 16) as u16]);
    moved.into_iter().any(|m| halves.as_flattened().contains(&m))
}

#[test]
fn numbers_of_the_program_are_not_in_its_code() {
    for (text, insns) in programs() {
        for (name, holds) in [("x86-64", x86 as fn(&[RawInsn], &Options) -> bool), ("arm64", arm64)]
        {
            let of = |blind| Options { context: 0x7f00_1234_5000, blind };
            // A division may be made a multiplication by another number.
            let is_there = text.contains(['/', '%']) || holds(&insns, &of(None));
            assert!(is_there, "{name}: not found, not blinded:\n{text}");
            for seed in 0..20 {
                assert!(!holds(&insns, &of(Some(seed))), "{name}, seed {seed}:\n{text}");
            }
        }
    }
}
