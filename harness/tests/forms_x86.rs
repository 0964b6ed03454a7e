//! Every form of instruction the x86-64 backend writes is one its encoder is tested in, and every
//! jump leads to an instruction.
//!
//! The list (`jit-x86/tests/data/forms.txt`) holds what the encoder's tests have an independent
//! disassembler read back, by that disassembler's names.

use std::collections::{BTreeMap, BTreeSet};

use bpfassay_harness::gen::bare;
use bpfassay_harness::gen::loaded::{self, Kind};
use bpfassay_isa::{CallTarget, Imm64, RawInsn};
use bpfassay_jit::abi::Convention;
use bpfassay_jit::{Access, ArrayPlan, CallPlan, Compiled, HashPlan, Options, Resolve, Source};
use bpfassay_jit_x86::Features;
use iced_x86::{Decoder, DecoderOptions, Instruction};

const FORMS: &str = include_str!("../../jit-x86/tests/data/forms.txt");
/// Where the code is thought to lie.
const IP: u64 = 0x7f12_3400_0000;

/// Maps low enough for a displacement, and others.
struct Addresses;

impl Resolve for Addresses {
    fn wide(&mut self, slot: u32, _: Imm64) -> Result<u64, &'static str> {
        Ok(if slot.is_multiple_of(2) { 0x7f12_3456_7000 } else { 0x1234_5000 })
    }

    fn call(&mut self, slot: u32, target: CallTarget, _: Option<Imm64>) -> CallPlan {
        let base = if slot.is_multiple_of(2) { 0x7f12_3456_7100 } else { 0x1234_5100 };
        let array = ArrayPlan { base, stride: 8 << (slot % 5), entries: 1 + slot % 7 };
        match target {
            CallTarget::Helper(12) => CallPlan::TailCall,
            CallTarget::Helper(1) if slot.is_multiple_of(3) => {
                CallPlan::Array(ArrayPlan { stride: 24, ..array })
            }
            CallTarget::Helper(1) if slot % 3 == 1 => CallPlan::Hash(HashPlan {
                table: base,
                key_size: [1, 2, 4, 8, 20, 32][slot as usize % 6],
                offset: slot % 2 * 4096,
            }),
            CallTarget::Helper(1) => CallPlan::Array(array),
            _ => CallPlan::Host,
        }
    }
}

fn compile(insns: &[RawInsn], seed: u64) -> Compiled {
    // A few as if all their memory were an arena, which addresses it otherwise.
    let access = if seed % 7 == 6 { vec![Access::Arena; insns.len()] } else { Vec::new() };
    let blind = (seed % 5 == 4).then_some(seed);
    let options = Options { context: 0x7f00_1234_5000, blind };
    let convention = if seed % 11 == 3 { Convention::Windows } else { Convention::SysV };
    let modern = seed.is_multiple_of(2);
    let features = Features { bmi2: modern, movbe: modern, convention };
    let source = Source { access: &access, ..Source::raw(insns) };
    bpfassay_jit_x86::compile(&source, &options, features, &mut Addresses).expect("compiles")
}

fn read(code: &[u8]) -> Vec<Instruction> {
    Decoder::with_ip(64, code, IP, DecoderOptions::NONE).into_iter().collect()
}

#[test]
fn nothing_is_written_that_the_encoders_tests_lack() {
    let known: BTreeSet<&str> = FORMS.lines().collect();
    assert!(known.len() > 150, "{} forms", known.len());
    // Form, and the bytes of one.
    let mut missing = BTreeMap::new();
    let mut seen = BTreeSet::new();
    for seed in 0..900 {
        let insns = match seed % 3 {
            0 => bare::program(seed, 120),
            1 => loaded::program(seed, Kind::Plain, 120).main.insns,
            _ => loaded::program(seed, Kind::Packet, 120).main.insns,
        };
        let code = compile(&insns, seed).code;
        let all = read(&code);
        let starts: BTreeSet<u64> = all.iter().map(|i| i.ip()).collect();
        for insn in all {
            assert!(!insn.is_invalid(), "seed {seed} at {:#x}", insn.ip() - IP);
            let form = format!("{:?}", insn.code());
            if !known.contains(form.as_str()) {
                let at = (insn.ip() - IP) as usize;
                missing.insert(form, format!("{:02x?}", &code[at..at + insn.len()]));
                continue;
            }
            seen.insert(form);
            if insn.near_branch_target() != 0 {
                let to = insn.near_branch_target();
                assert!(starts.contains(&to), "seed {seed}: {:#x} to {to:#x}", insn.ip());
            }
        }
    }
    assert!(missing.is_empty(), "{missing:#?}");
    assert!(seen.len() > 120, "{} forms", seen.len());
}
