//! How long the code of both JITs is, program by program and in the sum.
//!
//!     cargo run -p bpfassay-harness --example jit_lengths -- [--batch FILE] FILE.o…
//!
//! Lengths are of a program's own code: functions with their frames, and call
//! stubs.  Left out is what all programs share: the code between C and BPF, which the
//! kernel has outside its programs too.  The second figure is the instructions alone.  `--batch` writes the
//! programs as JSON (instructions, maps, BTF), for asking a kernel in a virtual
//! machine how long its own code is.  Kernel types are those of this machine.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::process::ExitCode;
use std::sync::Arc;

use bpfassay_harness::native::emit::{emit, Processor};
use bpfassay_jit::{Compiled, JitError};
use bpfassay_object::btf::Btf;
use bpfassay_object::model::Program;
use bpfassay_object::{load, Target};

/// Own code with call stubs, and instructions alone.
type Lengths = (usize, u32);

fn lengths(compiled: Result<Compiled, JitError>) -> Result<Lengths, String> {
    compiled
        .map(|c| (c.code.len() - c.body as usize, c.body_end - c.body))
        .map_err(|e| e.to_string())
}

fn compile(program: &Program) -> Result<[Lengths; 2], String> {
    Ok([
        lengths(emit(program, &[], Processor::X86))?,
        lengths(emit(program, &[], Processor::Arm64))?,
    ])
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut s, b| {
        let _ = write!(s, "{b:02x}");
        s
    })
}

/// One program for the batch; maps are numbered as used.
fn json(program: &Program, name: &str) -> String {
    let mut used: BTreeMap<usize, usize> = BTreeMap::new();
    let mut patch = Vec::new();
    let mut insns = Vec::new();
    let mut tail = false;
    for (slot, insn) in program.insns.iter().enumerate() {
        let mut insn = *insn;
        if !tail && insn.is_ld_imm64() && (insn.src == 1 || insn.src == 2) {
            let next = used.len();
            let map = *used.entry(insn.imm as usize).or_insert(next);
            let value = insn.src == 2;
            patch.push(format!("{{\"insn\":{slot},\"map\":{map},\"value\":{value}}}"));
            insn.imm = 0;
        }
        tail = !tail && insn.is_ld_imm64();
        insns.extend(insn.to_le_bytes());
    }
    let mut order: Vec<_> = used.into_iter().collect();
    order.sort_by_key(|(_, n)| *n);
    let maps: Vec<_> = order
        .iter()
        .filter_map(|(i, _)| program.maps.get(*i))
        .map(|m| {
            let init = m.initial.as_ref().map_or(String::new(), |v| {
                let mut v = v.to_vec();
                v.resize(m.value_size as usize, 0);
                format!(",\"init\":[[\"00000000\",\"{}\"]]", hex(&v))
            });
            format!(
                "{{\"type\":{},\"key_size\":{},\"value_size\":{},\"max_entries\":{},\"flags\":{},\
                 \"extra\":{},\"btf_key\":{},\"btf_value\":{},\"freeze\":{}{init}}}",
                m.map_type.number(),
                m.key_size,
                m.value_size,
                m.max_entries,
                m.map_flags,
                m.map_extra,
                m.btf_key_type_id,
                m.btf_value_type_id,
                m.frozen
            )
        })
        .collect();
    let words = |v: Vec<u32>| hex(&v.iter().flat_map(|w| w.to_le_bytes()).collect::<Vec<_>>());
    let func_info = words(program.func_info.iter().flat_map(|f| [f.insn_off, f.type_id]).collect());
    let btf = program.btf.as_ref().map_or(String::new(), |b| hex(&b.to_bytes()));
    format!(
        "{{\"name\":\"{name}\",\"prog_type\":{},\"expected_attach_type\":{},\"license\":\"GPL\",\
         \"log_level\":0,\"insns\":\"{}\",\"maps\":[{}],\"patch\":[{}],\"btf\":\"{btf}\",\
         \"func_info\":\"{func_info}\"}}",
        program.prog_type.number(),
        program.expected_attach_type.map_or(0, |t| t.number()),
        hex(&insns),
        maps.join(","),
        patch.join(","),
    )
}

fn main() -> ExitCode {
    let mut args: Vec<String> = std::env::args().skip(1).collect();
    let batch = args.iter().position(|a| a == "--batch").map(|i| {
        let file = args.get(i + 1).cloned().unwrap_or_default();
        args.drain(i..(i + 2).min(args.len()));
        file
    });
    let vmlinux = std::fs::read("/sys/kernel/btf/vmlinux").expect("kernel BTF");
    let btf = Arc::new(Btf::parse(&vmlinux, None).expect("kernel BTF"));
    let target = Target::of_btf(&btf, 6 << 16 | 18 << 8 | 44);
    let mut sums = [(0, 0); 2];
    let (mut programs, mut slots, mut failed) = (0, 0, 0);
    let mut rows = Vec::new();
    for path in args {
        let Ok(object) = load(&std::fs::read(&path).expect("readable"), &path, &target) else {
            continue;
        };
        for entry in &object.programs {
            let Ok(program) = &entry.program else { continue };
            let name = format!("{path}:{}", entry.name);
            match compile(program) {
                Ok(both) => {
                    programs += 1;
                    slots += program.insns.len();
                    for (sum, one) in sums.iter_mut().zip(both) {
                        *sum = (sum.0 + one.0, sum.1 + one.1);
                    }
                    let [x, a] = both;
                    let n = program.insns.len();
                    println!("{name}\t{n}\t{}\t{}\t{}\t{}", x.0, x.1, a.0, a.1);
                    if batch.is_some() {
                        rows.push(json(program, &name));
                    }
                }
                Err(why) => {
                    failed += 1;
                    println!("{name}\t{why}");
                }
            }
        }
    }
    if let Some(file) = batch {
        std::fs::write(file, format!("[{}]", rows.join(",\n"))).expect("writable");
    }
    println!("{programs} programs, {slots} slots, {failed} not compiled");
    for (name, (all, body)) in ["x86", "arm64"].iter().zip(sums) {
        println!("{name}: {all} bytes, instructions alone {body}");
    }
    if failed > 0 {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    }
}
