//! The public conformance suite as programs a kernel verifies and runs, for asking one in a virtual machine.
//!
//!     cargo run -p bpfassay-harness --example conformance_batch -- DIR > batch.json
//!
//! Each case becomes a function of a socket filter that is called with r1 and r2
//! as the suite has them: its memory, which is the value of an array map, and its
//! length.  What it returns is stored, all 64 bits, in a second map (index 1),
//! which the batch asks to be dumped after one run.  `want` is the suite's own result.

use bpfassay_harness::conformance::{Case, Expect};
use bpfassay_isa::AluOp::Mov;
use bpfassay_isa::{encode, CallTarget, Imm64, Insn, Operand, RawInsn, Reg, Size, Width};

/// Slots before the case's own: see [`wrapped`].
const MAP_VALUE: i32 = 0;
const RESULT: i32 = 1;

fn push(out: &mut Vec<RawInsn>, insn: Insn) {
    let (first, second) = encode(&insn);
    out.push(first);
    out.extend(second);
}

/// `r1 = memory; r2 = len; r0 = case(r1, r2); *result = r0; return 0`, and the case behind it.
fn wrapped(case: &Case) -> (Vec<RawInsn>, Vec<(usize, i32)>) {
    let mut out = Vec::new();
    let mut maps = Vec::new();
    let value = |fd| Imm64::MapValue { fd, off: 0 };
    let constant = |dst, v| Insn::Alu { op: Mov, width: Width::W64, dst, src: Operand::Imm(v) };
    if case.memory.is_empty() {
        push(&mut out, constant(Reg::R1, 0));
    } else {
        maps.push((out.len(), MAP_VALUE));
        push(&mut out, Insn::LoadImm64 { dst: Reg::R1, value: value(0) });
    }
    push(&mut out, constant(Reg::R2, case.memory.len() as i32));
    push(&mut out, Insn::Call { target: CallTarget::Subprog(5) });
    maps.push((out.len(), RESULT));
    push(&mut out, Insn::LoadImm64 { dst: Reg::R1, value: value(0) });
    let src = Operand::Reg(Reg::R0);
    push(&mut out, Insn::Store { size: Size::Dw, dst: Reg::R1, off: 0, src });
    push(&mut out, constant(Reg::R0, 0));
    push(&mut out, Insn::Exit);
    out.extend(&case.insns);
    (out, maps)
}

fn hex(bytes: impl IntoIterator<Item = u8>) -> String {
    bytes.into_iter().map(|b| format!("{b:02x}")).collect()
}

fn map(bytes: &[u8], dump: bool) -> String {
    format!(
        "{{\"type\":2,\"key_size\":4,\"value_size\":{},\"max_entries\":1,\"dump\":{dump},\
         \"init\":[[\"00000000\",\"{}\"]]}}",
        bytes.len(),
        hex(bytes.iter().copied())
    )
}

fn main() {
    let dir = std::env::args().nth(1).expect("folder of the suite's tests");
    let mut files: Vec<_> = std::fs::read_dir(dir)
        .expect("folder")
        .filter_map(|f| Some(f.ok()?.path()))
        .filter(|p| p.extension().is_some_and(|e| e == "data"))
        .collect();
    files.sort();
    let mut rows = Vec::new();
    for path in files {
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let Ok(case) = Case::parse(&std::fs::read_to_string(&path).expect("text")) else {
            continue;
        };
        let want = match case.expect {
            Expect::Result(v) => format!("\"{v:#x}\""),
            Expect::Error(_) => "null".to_string(),
        };
        let (insns, maps) = wrapped(&case);
        let patch: Vec<_> = maps
            .iter()
            .map(|(insn, map)| format!("{{\"insn\":{insn},\"map\":{map},\"value\":true}}"))
            .collect();
        let memory = if case.memory.is_empty() { &[0u8; 8][..] } else { &case.memory };
        rows.push(format!(
            "{{\"name\":\"{name}\",\"want\":{want},\"prog_type\":\"socket_filter\",\"log_level\":1,\
             \"insns\":\"{}\",\"maps\":[{},{}],\"patch\":[{}],\"runs\":[{{\"data\":\"{}\"}}]}}",
            hex(insns.iter().flat_map(|i| i.to_le_bytes())),
            map(memory, true),
            map(&[0; 8], true),
            patch.join(","),
            "00".repeat(64),
        ));
    }
    println!("[{}]", rows.join(",\n"));
}
