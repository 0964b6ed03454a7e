//! Every form the encoder writes, read back by an independent disassembler.
//!
//! `data/forms.txt` lists them by that disassembler's names; `harness/tests/forms_x86.rs` holds what
//! whole programs become against the list.

use std::cell::RefCell;
use std::collections::BTreeSet;

use bpfassay_jit::buf::Patch;
use bpfassay_jit::CodeBuf;
use bpfassay_jit_x86::enc::{self, Asm, Gp, Group1, Imm, Mem, Rm, Shift, W};
use bpfassay_jit_x86::X86;
use iced_x86::{Decoder, DecoderOptions, Instruction, Mnemonic, OpKind, Register};

use Register::{
    AL, AX, BL, BP, BPL, BX, CL, CX, DI, DIL, DL, DX, EAX, EBP, EBX, ECX, EDI, EDX, ESI, ESP, R10,
    R10D, R10L, R10W, R11, R11D, R11L, R11W, R12, R12D, R12L, R12W, R13, R13D, R13L, R13W, R14,
    R14D, R14L, R14W, R15, R15D, R15L, R15W, R8, R8D, R8L, R8W, R9, R9D, R9L, R9W, RAX, RBP, RBX,
    RCX, RDI, RDX, RSI, RSP, SI, SIL, SP, SPL,
};
const Q: [Register; 16] =
    [RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI, R8, R9, R10, R11, R12, R13, R14, R15];
const D: [Register; 16] =
    [EAX, ECX, EDX, EBX, ESP, EBP, ESI, EDI, R8D, R9D, R10D, R11D, R12D, R13D, R14D, R15D];
const H: [Register; 16] =
    [AX, CX, DX, BX, SP, BP, SI, DI, R8W, R9W, R10W, R11W, R12W, R13W, R14W, R15W];
const B: [Register; 16] =
    [AL, CL, DL, BL, SPL, BPL, SIL, DIL, R8L, R9L, R10L, R11L, R12L, R13L, R14L, R15L];
const WIDTHS: [W; 4] = [W::B, W::H, W::D, W::Q];
const FULL: [W; 2] = [W::D, W::Q];

fn reg(w: W, r: Gp) -> Register {
    let table = match w {
        W::B => B,
        W::H => H,
        W::D => D,
        W::Q => Q,
    };
    table[r.0 as usize]
}

fn all() -> impl Iterator<Item = Gp> {
    (0..16).map(Gp)
}

thread_local! {
    /// Forms read back so far.
    static SEEN: RefCell<BTreeSet<String>> = const { RefCell::new(BTreeSet::new()) };
}

/// Reads exactly one instruction.
fn read(code: &[u8]) -> Instruction {
    let mut decoder = Decoder::with_ip(64, code, IP, DecoderOptions::NONE);
    let insn = decoder.decode();
    assert!(!insn.is_invalid(), "{code:02x?}");
    assert_eq!(insn.len(), code.len(), "{code:02x?} is {insn:?}");
    SEEN.with_borrow_mut(|seen| seen.insert(format!("{:?}", insn.code())));
    insn
}

/// Where what is read lies.
const IP: u64 = 0x1_0000_0000;

/// What one call writes: exactly one instruction.
fn one(f: impl FnOnce(&mut Asm)) -> Instruction {
    let mut asm = Asm { buf: CodeBuf::new(0, 64) };
    f(&mut asm);
    let code = asm.buf.finish::<X86>().expect("no labels").code;
    read(&code)
}

fn registers(insn: &Instruction, mnemonic: Mnemonic, ops: &[Register]) {
    assert_eq!(insn.mnemonic(), mnemonic);
    for (i, r) in ops.iter().enumerate() {
        assert_eq!(insn.op_register(i as u32), *r, "{insn:?}");
    }
}

const GROUPS: [(Group1, Mnemonic); 6] = [
    (Group1::Add, Mnemonic::Add),
    (Group1::Or, Mnemonic::Or),
    (Group1::And, Mnemonic::And),
    (Group1::Sub, Mnemonic::Sub),
    (Group1::Xor, Mnemonic::Xor),
    (Group1::Cmp, Mnemonic::Cmp),
];

#[test]
fn two_registers() {
    for (g, m) in GROUPS {
        for w in WIDTHS {
            for (a, b) in all().flat_map(|a| all().map(move |b| (a, b))) {
                let insn = one(|x| x.alu_rm_r(g, w, Rm::R(a), b));
                registers(&insn, m, &[reg(w, a), reg(w, b)]);
                let insn = one(|x| x.alu_r_rm(g, w, a, Rm::R(b)));
                registers(&insn, m, &[reg(w, a), reg(w, b)]);
            }
        }
    }
    for (a, b) in all().flat_map(|a| all().map(move |b| (a, b))) {
        for w in FULL {
            let rm = Rm::R(b);
            registers(
                &one(|x| x.rr(enc::IMUL_R_RM, w, a, b)),
                Mnemonic::Imul,
                &[reg(w, a), reg(w, b)],
            );
            registers(
                &one(|x| x.rr(enc::TEST_RM_R, w, a, b)),
                Mnemonic::Test,
                &[reg(w, b), reg(w, a)],
            );
            registers(
                &one(|x| x.rm(enc::MOVSX_B, w, a, rm)),
                Mnemonic::Movsx,
                &[reg(w, a), reg(W::B, b)],
            );
            registers(
                &one(|x| x.rm(enc::MOVSX_H, w, a, rm)),
                Mnemonic::Movsx,
                &[reg(w, a), reg(W::H, b)],
            );
        }
        let rm = Rm::R(b);
        registers(
            &one(|x| x.rm(enc::MOVZX_B, W::D, a, rm)),
            Mnemonic::Movzx,
            &[reg(W::D, a), reg(W::B, b)],
        );
        registers(
            &one(|x| x.rm(enc::MOVZX_H, W::D, a, rm)),
            Mnemonic::Movzx,
            &[reg(W::D, a), reg(W::H, b)],
        );
        registers(
            &one(|x| x.rm(enc::MOVSXD, W::Q, a, rm)),
            Mnemonic::Movsxd,
            &[reg(W::Q, a), reg(W::D, b)],
        );
        if a != b {
            registers(&one(|x| x.mov64(a, b)), Mnemonic::Mov, &[reg(W::Q, a), reg(W::Q, b)]);
        }
    }
}

#[test]
fn memory_operands() {
    let disps = [0, 8, -8, 127, -128, 128, -129, 0x1234_5678, i32::MIN];
    let indexes: Vec<Option<(Gp, u8)>> = std::iter::once(None)
        .chain(all().filter(|r| *r != enc::RSP).flat_map(|r| (0..4).map(move |s| Some((r, s)))))
        .collect();
    for base in all().map(Some).chain([None]) {
        for index in indexes.iter().copied().filter(|i| base.is_some() || i.is_some()) {
            for disp in disps {
                let m = Mem { base, index, disp };
                for w in WIDTHS {
                    let insn = one(|x| x.rm(enc::MOV_RM_R, w, enc::RSI, Rm::M(m)));
                    assert_eq!(insn.mnemonic(), Mnemonic::Mov);
                    assert_eq!(insn.op0_kind(), OpKind::Memory);
                    assert_eq!(insn.op1_register(), reg(w, enc::RSI));
                    assert_eq!(
                        insn.memory_base(),
                        base.map_or(Register::None, |b| Q[b.0 as usize])
                    );
                    let (i, scale) =
                        index.map_or((Register::None, 1), |(r, s)| (Q[r.0 as usize], 1 << s));
                    assert_eq!(insn.memory_index(), i, "{m:?}");
                    assert_eq!(insn.memory_index_scale(), scale);
                    assert_eq!(insn.memory_displacement64() as i64, disp as i64, "{m:?}");
                }
            }
        }
    }
}

const IMMS: [i32; 14] =
    [0, 1, -1, 2, 127, 128, -128, -129, 255, 256, 0x7fff, 0x8000, i32::MAX, i32::MIN];

#[test]
fn immediates() {
    for r in all() {
        for v in IMMS {
            for (g, m) in GROUPS {
                for w in FULL {
                    let insn = one(|x| x.alu_imm(g, w, Rm::R(r), v));
                    registers(&insn, m, &[reg(w, r)]);
                    let mask = if w == W::D { u32::MAX as u64 } else { u64::MAX };
                    assert_eq!(insn.immediate(1) & mask, v as i64 as u64 & mask);
                }
                let insn = one(|x| x.alu_imm(g, W::H, Rm::R(r), v));
                registers(&insn, m, &[reg(W::H, r)]);
                assert_eq!(insn.immediate(1) as u16, v as u16);
                let insn = one(|x| x.alu_imm(g, W::B, Rm::R(r), v));
                registers(&insn, m, &[reg(W::B, r)]);
                assert_eq!(insn.immediate(1) as u8, v as u8);
            }
            for w in FULL {
                let insn = one(|x| x.imul_imm(w, r, Rm::R(enc::R9), v));
                registers(&insn, Mnemonic::Imul, &[reg(w, r), reg(w, enc::R9)]);
                assert_eq!(insn.immediate(2) as u32, v as u32);
                let insn = one(|x| x.test_imm(w, Rm::R(r), v));
                assert_eq!(insn.mnemonic(), Mnemonic::Test);
                // The form may be narrower than asked where the bits allow it.
                let bits = match insn.op0_register().size() {
                    1 => insn.immediate(1) as u8 as u64,
                    4 => insn.immediate(1) as u32 as u64,
                    _ => insn.immediate(1),
                };
                let asked = if w == W::D { v as u32 as u64 } else { v as i64 as u64 };
                assert_eq!(bits, asked, "{insn:?}");
                assert_eq!(insn.op0_register().full_register(), Q[r.0 as usize]);
            }
        }
    }
}

#[test]
fn constants() {
    let values =
        [0, 1, 0x7fff_ffff, 0x8000_0000, u32::MAX as u64, 1 << 32, u64::MAX, i64::MIN as u64];
    let near =
        [u64::MAX - 1, (-0x8000_0000i64) as u64, (-0x8000_0001i64) as u64, 0x1234_5678_9abc_def0];
    for r in all() {
        for v in values.into_iter().chain(near) {
            let insn = one(|x| x.mov_imm(r, v));
            let full = insn.op0_register().full_register() == Q[r.0 as usize];
            assert!(full, "{insn:?}");
            let got = match (insn.mnemonic(), insn.op0_register().size()) {
                (Mnemonic::Xor, _) if insn.op0_register() == insn.op1_register() => 0,
                (Mnemonic::Or, 8) if insn.immediate(1) == u64::MAX => u64::MAX,
                (Mnemonic::Mov, 4) => insn.immediate(1) as u32 as u64,
                (Mnemonic::Mov, 8) => insn.immediate(1),
                _ => panic!("{insn:?}"),
            };
            assert_eq!(got, v);
        }
    }
}

#[test]
fn shifts_and_the_rest() {
    let kinds = [
        (Shift::Rol, Mnemonic::Rol),
        (Shift::Ror, Mnemonic::Ror),
        (Shift::Shl, Mnemonic::Shl),
        (Shift::Shr, Mnemonic::Shr),
        (Shift::Sar, Mnemonic::Sar),
    ];
    for r in all() {
        for w in FULL {
            let rm = Rm::R(r);
            for (s, m) in kinds {
                for n in [1, 2, 31] {
                    let insn = one(|x| x.shift_imm(s, w, rm, n));
                    registers(&insn, m, &[reg(w, r)]);
                    assert_eq!(insn.immediate(1), n as u64);
                }
                registers(&one(|x| x.shift_cl(s, w, r)), m, &[reg(w, r), CL]);
            }
            for (ext, m) in [
                (2, Mnemonic::Not),
                (3, Mnemonic::Neg),
                (4, Mnemonic::Mul),
                (6, Mnemonic::Div),
                (7, Mnemonic::Idiv),
            ] {
                registers(&one(|x| x.group3(ext, w, rm)), m, &[reg(w, r)]);
            }
            registers(&one(|x| x.inc_dec(0, w, rm)), Mnemonic::Inc, &[reg(w, r)]);
            registers(&one(|x| x.inc_dec(1, w, rm)), Mnemonic::Dec, &[reg(w, r)]);
            registers(&one(|x| x.bswap(w, r)), Mnemonic::Bswap, &[reg(w, r)]);
            for (a, b) in all().flat_map(|a| all().map(move |b| (a, b))) {
                let ops = [reg(w, r), reg(w, a), reg(w, b)];
                registers(&one(|x| x.shift_x(Shift::Shl, w, r, a, b)), Mnemonic::Shlx, &ops);
                registers(&one(|x| x.shift_x(Shift::Shr, w, r, a, b)), Mnemonic::Shrx, &ops);
                registers(&one(|x| x.shift_x(Shift::Sar, w, r, a, b)), Mnemonic::Sarx, &ops);
            }
            for a in all() {
                let insn = one(|x| x.rorx(w, r, Rm::R(a), 13));
                registers(&insn, Mnemonic::Rorx, &[reg(w, r), reg(w, a)]);
                assert_eq!(insn.immediate(2), 13);
                let m = Rm::M(Mem::at(a, 24));
                registers(&one(|x| x.rm(enc::MOVBE_R_M, w, r, m)), Mnemonic::Movbe, &[reg(w, r)]);
                for (op, m2) in [(enc::XADD, Mnemonic::Xadd), (enc::CMPXCHG, Mnemonic::Cmpxchg)] {
                    let insn = one(|x| x.op(Some(0xf0), op, w, r.0, m, Imm::None));
                    assert!(insn.has_lock_prefix());
                    assert_eq!(insn.mnemonic(), m2);
                    assert_eq!(insn.op1_register(), reg(w, r));
                    assert_eq!(insn.memory_base(), Q[a.0 as usize]);
                }
                let insn = one(|x| x.rm(enc::XCHG, w, r, m));
                assert_eq!((insn.mnemonic(), insn.op1_register()), (Mnemonic::Xchg, reg(w, r)));
            }
        }
        registers(&one(|x| x.push(r)), Mnemonic::Push, &[Q[r.0 as usize]]);
        registers(&one(|x| x.pop(r)), Mnemonic::Pop, &[Q[r.0 as usize]]);
        registers(&one(|x| x.indirect(2, Rm::R(r))), Mnemonic::Call, &[Q[r.0 as usize]]);
        registers(&one(|x| x.indirect(4, Rm::R(r))), Mnemonic::Jmp, &[Q[r.0 as usize]]);
    }
}

/// Memory forms of operations that are above with registers only, and those that have no others.
#[test]
fn operations_on_memory() {
    for base in all() {
        let m = Rm::M(Mem::at(base, 0x44));
        let at = |insn: &Instruction, mnemonic| {
            assert_eq!(insn.mnemonic(), mnemonic);
            assert_eq!(insn.op0_kind(), OpKind::Memory);
            assert_eq!(insn.memory_base(), Q[base.0 as usize]);
            assert_eq!(insn.memory_displacement64(), 0x44);
        };
        for w in WIDTHS {
            for (g, mnemonic) in GROUPS {
                let insn = one(|x| x.alu_rm_r(g, w, m, enc::RDI));
                at(&insn, mnemonic);
                assert_eq!(insn.op1_register(), reg(w, enc::RDI));
                let lock = (g != Group1::Cmp).then_some(0xf0);
                let insn =
                    one(|x| x.op(lock, enc::op(g as u8 * 8 + 1), w, enc::R9.0, m, Imm::None));
                at(&insn, mnemonic);
                assert_eq!(insn.has_lock_prefix(), lock.is_some());
                assert_eq!(insn.op1_register(), reg(w, enc::R9));
                for v in [5, -128, 127] {
                    let insn = one(|x| x.alu_imm(g, w, m, v));
                    at(&insn, mnemonic);
                    assert_eq!(insn.immediate(1) as u8, v as u8);
                }
            }
            let code = if w == W::B { 0xfe } else { 0xff };
            for (ext, mnemonic) in [(0, Mnemonic::Inc), (1, Mnemonic::Dec)] {
                at(&one(|x| x.op(None, enc::op(code), w, ext, m, Imm::None)), mnemonic);
            }
            let (imm, want) = match w {
                W::B => (Imm::I8(-3), 0xfd),
                W::H => (Imm::I16(-300), 0xfed4),
                W::D => (Imm::I32(-70_000), 0xfffe_ee90),
                W::Q => (Imm::I32(-70_000), 0xffff_ffff_fffe_ee90),
            };
            let insn = one(|x| x.op(None, enc::MOV_RM_IMM, w, 0, m, imm));
            at(&insn, Mnemonic::Mov);
            assert_eq!(insn.immediate(1), want);
            for v in [1, 0x7f, 0x80, 0xff] {
                at(&one(|x| x.test_imm(w, m, v)), Mnemonic::Test);
            }
        }
        at(&one(|x| x.op(None, enc::GROUP5, W::D, 6, m, Imm::None)), Mnemonic::Push);
        at(&one(|x| x.op(None, enc::op(0x8f), W::D, 0, m, Imm::None)), Mnemonic::Pop);
        at(&one(|x| x.indirect(2, m)), Mnemonic::Call);
        for w in FULL {
            let load = Mem { base: Some(base), index: Some((enc::R13, 2)), disp: -7 };
            let insn = one(|x| x.lea(w, enc::R10, load));
            registers(&insn, Mnemonic::Lea, &[reg(w, enc::R10)]);
            assert_eq!((insn.memory_base(), insn.memory_index()), (Q[base.0 as usize], R13));
            let insn = one(|x| x.rm(enc::MOV_R_RM, w, enc::R8, Rm::M(load)));
            registers(&insn, Mnemonic::Mov, &[reg(w, enc::R8)]);
        }
        let insn = one(|x| x.op(None, enc::op(0xc1), W::H, 0, Rm::R(base), Imm::I8(8)));
        registers(&insn, Mnemonic::Rol, &[reg(W::H, base)]);
        assert_eq!(insn.immediate(1), 8);
    }
    for (bytes, mnemonic) in [
        (&[0xc9][..], Mnemonic::Leave),
        (&[0xc3], Mnemonic::Ret),
        (&[0x0f, 0x0b], Mnemonic::Ud2),
        (&[0x99], Mnemonic::Cdq),
        (&[0x48, 0x99], Mnemonic::Cqo),
    ] {
        assert_eq!(one(|x| x.bytes(bytes)).mnemonic(), mnemonic);
    }
}

/// What depends on a distance is written by [`Patch::patch`]; padding by [`Patch::pad`].
#[test]
fn jumps_and_padding() {
    let conditions = [
        (enc::cc::B, Mnemonic::Jb),
        (enc::cc::AE, Mnemonic::Jae),
        (enc::cc::E, Mnemonic::Je),
        (enc::cc::NE, Mnemonic::Jne),
        (enc::cc::BE, Mnemonic::Jbe),
        (enc::cc::A, Mnemonic::Ja),
        (enc::cc::S, Mnemonic::Js),
        (enc::cc::NS, Mnemonic::Jns),
        (enc::cc::L, Mnemonic::Jl),
        (enc::cc::GE, Mnemonic::Jge),
        (enc::cc::LE, Mnemonic::Jle),
        (enc::cc::G, Mnemonic::Jg),
    ];
    let check = |kind: u8, len: usize, distance: i32, mnemonic| {
        let mut at = [0; 8];
        X86::patch(kind, &mut at[..len], distance);
        let insn = read(&at[..len]);
        assert_eq!(insn.mnemonic(), mnemonic);
        let to = (IP as i64 + distance as i64) as u64;
        let found = if mnemonic == Mnemonic::Lea {
            assert_eq!(insn.memory_base(), Register::RIP);
            insn.memory_displacement64()
        } else {
            insn.near_branch_target()
        };
        assert_eq!(found, to, "{insn:?}");
        insn
    };
    for (kind, mnemonic) in conditions {
        for distance in [-126, -1, 2, 129] {
            check(kind, 2, distance, mnemonic);
        }
        for distance in [-0x1234_5678, -127, 130, 0x1234_5678] {
            check(kind, 6, distance, mnemonic);
        }
    }
    for distance in [-126, 129] {
        check(16, 2, distance, Mnemonic::Jmp);
    }
    for distance in [-0x1234_5678, 0x1234_5678] {
        check(16, 5, distance, Mnemonic::Jmp);
        check(17, 5, distance, Mnemonic::Call);
        for r in all() {
            let insn = check(32 + r.0, 7, distance, Mnemonic::Lea);
            assert_eq!(insn.op0_register(), reg(W::Q, r));
        }
    }
    for n in 1..=9 {
        let mut pad = [0; 9];
        X86::pad(&mut pad[..n]);
        assert_eq!(read(&pad[..n]).mnemonic(), Mnemonic::Nop);
    }
    let mut pad = [0; 31];
    X86::pad(&mut pad);
    let all = Decoder::new(64, &pad, DecoderOptions::NONE).into_iter().collect::<Vec<_>>();
    assert!(all.iter().all(|i| i.mnemonic() == Mnemonic::Nop) && all.len() == 4, "{all:?}");
}

/// The list is what the tests above read back, no more and no less.
#[test]
fn the_list_of_forms_is_what_is_read_back() {
    SEEN.with_borrow_mut(BTreeSet::clear);
    two_registers();
    memory_operands();
    immediates();
    constants();
    shifts_and_the_rest();
    operations_on_memory();
    jumps_and_padding();
    let listed: BTreeSet<String> = FORMS.lines().map(str::to_owned).collect();
    SEEN.with_borrow(|seen| {
        let lacks: Vec<_> = seen.symmetric_difference(&listed).collect();
        assert!(lacks.is_empty(), "{lacks:?}");
    });
}

const FORMS: &str = include_str!("data/forms.txt");
