//! Arithmetic on arena pointers: answers of the two kernels called 6.18, measured.

use std::sync::Arc;

use bpfassay_isa::encode::encode;
use bpfassay_isa::{AluOp, Imm64, Insn, Operand, Reg, Width};
use bpfassay_object::model::{MapDef, Program};
use bpfassay_spec::{MapType, ProgType};
use bpfassay_verifier::log::LogLevel;
use bpfassay_verifier::{verify, Config, Errno, Report, Verdict};

fn arena() -> MapDef {
    MapDef {
        max_entries: 1,
        // BPF_F_MMAPABLE
        map_flags: 1 << 10,
        map_extra: 1 << 44,
        ..MapDef::bare("arena", "arena", MapType::Arena)
    }
}

fn alu(op: AluOp, width: Width, dst: Reg, src: Operand) -> Insn {
    Insn::Alu { op, width, dst, src }
}

/// r2 = arena pointer; `r3 = 5; r3 += r2; r4 = r2; r4 += 8; w4 += w2; r4 = -r4; r0 = 0; exit`
fn program() -> Program {
    let (r0, r1, r2, r3, r4) = (Reg::R0, Reg::R1, Reg::R2, Reg::R3, Reg::R4);
    let code = [
        Insn::LoadImm64 { dst: r1, value: Imm64::MapFd(0) },
        alu(AluOp::Mov, Width::W64, r2, Operand::Imm(0)),
        Insn::AddrSpaceCast { dst: r2, src: r2, imm: 1 },
        alu(AluOp::Mov, Width::W64, r3, Operand::Imm(5)),
        alu(AluOp::Add, Width::W64, r3, Operand::Reg(r2)),
        alu(AluOp::Mov, Width::W64, r4, Operand::Reg(r2)),
        alu(AluOp::Add, Width::W64, r4, Operand::Imm(8)),
        alu(AluOp::Add, Width::W32, r4, Operand::Reg(r2)),
        Insn::Neg { width: Width::W64, dst: r4 },
        alu(AluOp::Mov, Width::W64, r0, Operand::Imm(0)),
        Insn::Exit,
    ];
    let mut insns = Vec::new();
    for insn in &code {
        let (first, second) = encode(insn);
        insns.push(first);
        insns.extend(second);
    }
    Program {
        section: "tc".into(),
        maps: Arc::new(vec![arena()]),
        ..Program::bare("arena_alu", ProgType::SchedCls, insns)
    }
}

fn judge(release: &str) -> Report {
    let kernel = bpfassay_builds::kernel(release).expect("a known build");
    let config = Config { log_level: LogLevel::LEVEL2, ..Config::new(&kernel) };
    verify(&program(), &config)
}

#[test]
fn arena_pointer_as_second_operand() {
    let new = judge("6.18.44");
    assert_eq!(new.verdict, Verdict::Accepted, "{}", new.log);
    for line in [
        "5: (0f) r3 += r2                      ; R2=arena R3=arena",
        "7: (07) r4 += 8                       ; R4=arena",
        "8: (0c) w4 += w2                      ; R2=arena R4=arena",
        "9: (87) r4 = -r4                      ; R4=scalar()",
    ] {
        assert!(new.log.lines().any(|l| l == line), "no line {line:?} in\n{}", new.log);
    }
    let old = judge("6.18.15");
    assert_eq!(old.verdict, Verdict::Rejected(Errno::EACCES));
    assert_eq!(old.message(), Some("R3 pointer arithmetic on arena prohibited"));
}
