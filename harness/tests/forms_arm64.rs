//! Every form of instruction the arm64 backend writes is one its encoder is tested in.
//!
//! The encoder's table (`jit-arm64/tests/data/llvm-mc.txt`) holds words as LLVM assembles them.  A disassembler
//! that is neither LLVM's nor ours reads them, and what is written for random programs, with and without
//! single-instruction atomics; an operation with operands of kinds that the table lacks fails.

use std::collections::{BTreeMap, BTreeSet};

use bpfassay_harness::gen::bare;
use bpfassay_harness::gen::loaded::{self, Kind};
use bpfassay_isa::{CallTarget, Imm64, RawInsn};
use bpfassay_jit::{Access, ArrayPlan, CallPlan, HashPlan, Options, Resolve, Source};
use yaxpeax_arch::{Decoder, U8Reader};
use yaxpeax_arm::armv8::a64::InstDecoder;

const TABLE: &str = include_str!("../../jit-arm64/tests/data/llvm-mc.txt");

struct Addresses;

impl Resolve for Addresses {
    fn wide(&mut self, _: u32, _: Imm64) -> Result<u64, &'static str> {
        Ok(0x7f12_3456_7000)
    }

    fn call(&mut self, slot: u32, target: CallTarget, _: Option<Imm64>) -> CallPlan {
        let array = ArrayPlan { base: 0x7f12_3456_7100, stride: 8 << (slot % 3), entries: 7 };
        match target {
            CallTarget::Helper(12) => CallPlan::TailCall,
            CallTarget::Helper(1) if slot % 3 == 1 => CallPlan::Hash(HashPlan {
                table: array.base,
                key_size: [1, 2, 4, 8, 20, 32][slot as usize % 6],
                offset: slot % 2 * 4096,
            }),
            CallTarget::Helper(1) => CallPlan::Array(array),
            _ => CallPlan::Host,
        }
    }
}

/// Operation and kinds of operands, without numbers; None where it is no instruction.
fn form(word: u32) -> Option<String> {
    let bytes = word.to_le_bytes();
    let read = InstDecoder::default().decode(&mut U8Reader::new(&bytes)).ok()?;
    let text = format!("{:?} {:?}", read.opcode, read.operands);
    Some(text.chars().filter(|c| !c.is_ascii_digit() && *c != '-').collect())
}

fn words(insns: &[RawInsn], access: &[Access], lse: bool, blind: Option<u64>) -> Vec<u32> {
    let options = Options { context: 0x7f00_1234_5000, blind };
    let source = Source { access, ..Source::raw(insns) };
    let code = bpfassay_jit_arm64::compile(&source, &options, lse, &mut Addresses);
    let code = code.expect("compiles").code;
    code.as_chunks::<4>().0.iter().map(|w| u32::from_le_bytes(*w)).collect()
}

#[test]
fn nothing_is_written_that_the_encoders_table_lacks() {
    let rows = TABLE.lines().filter(|l| !l.starts_with('#'));
    let known: BTreeSet<String> =
        rows.filter_map(|l| form(u32::from_str_radix(l.split(' ').next()?, 16).ok()?)).collect();
    assert!(known.len() > 100, "{} forms", known.len());
    // Form, and a word that has it.
    let mut missing = BTreeMap::new();
    let mut seen = BTreeSet::new();
    let mut check = |all: Vec<u32>| {
        for word in all {
            match form(word) {
                Some(form) if known.contains(&form) => drop(seen.insert(form)),
                other => drop(missing.insert(other, format!("{word:08x}"))),
            }
        }
    };
    for seed in 0..600 {
        let insns = match seed % 3 {
            0 => bare::program(seed, 120),
            1 => loaded::program(seed, Kind::Plain, 120).main.insns,
            _ => loaded::program(seed, Kind::Packet, 120).main.insns,
        };
        let blind = (seed % 5 == 4).then_some(seed);
        // A few as if all their memory were an arena, which addresses it otherwise.
        let access = if seed % 7 == 6 { vec![Access::Arena; insns.len()] } else { Vec::new() };
        check(words(&insns, &access, seed % 2 == 0, blind));
    }
    let glue = bpfassay_jit_arm64::glue(0x7f00_1234_5000).expect("glue").code;
    check(glue.as_chunks::<4>().0.iter().map(|w| u32::from_le_bytes(*w)).collect());
    assert!(missing.is_empty(), "{missing:#?}");
    assert!(seen.len() > 80, "{} forms", seen.len());
}
