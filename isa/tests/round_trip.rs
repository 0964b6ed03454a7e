//! Round trips over all encodings, and no panic on any bytes.

use bpfassay_isa::asm::{assemble, NoNames};
use bpfassay_isa::disasm::{write_insn, Lossless, NoNames as Bare, Text};
use bpfassay_isa::opcode::{self, Field, Select};
use bpfassay_isa::{decode, encode, RawInsn};
use proptest::prelude::*;

/// Any valid encoding: a row of the table with its operand fields filled in.
fn valid() -> impl Strategy<Value = (RawInsn, Option<RawInsn>)> {
    let rows = opcode::table().len();
    (0..rows, 0..16u8, 0..16u8, any::<i16>(), any::<i32>(), any::<i32>()).prop_map(
        |(i, dst, src, off, imm, imm2)| {
            let row = &opcode::table()[i];
            let has = |f| row.form.has_operand(f);
            let mut raw = RawInsn {
                code: row.code,
                dst: if has(Field::Dst) { dst } else { 0 },
                src: if has(Field::Src) { src } else { 0 },
                off: if has(Field::Off) { off } else { 0 },
                imm: if has(Field::Imm) { imm } else { 0 },
            };
            match row.select {
                Select::Any => {}
                Select::Off(v) => raw.off = v,
                Select::Imm(v) => raw.imm = v,
                Select::Src(v) => raw.src = v,
            }
            let tail = raw.is_ld_imm64().then_some(RawInsn { imm: imm2, ..RawInsn::default() });
            (raw, tail)
        },
    )
}

fn raw() -> impl Strategy<Value = RawInsn> {
    any::<[u8; 8]>().prop_map(RawInsn::from_le_bytes)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20_000))]

    #[test]
    fn bytes_survive(b in any::<[u8; 8]>()) {
        prop_assert_eq!(RawInsn::from_le_bytes(b).to_le_bytes(), b);
    }

    #[test]
    fn encode_inverts_decode((raw, tail) in valid()) {
        // A map's address has no second half; the decoder refuses it.
        if let Ok(insn) = decode(raw, tail) {
            prop_assert_eq!(encode(&insn), (raw, tail));
        } else {
            prop_assert!(raw.is_ld_imm64() && raw.src != 0 && tail.unwrap().imm != 0);
        }
    }

    #[test]
    fn the_quick_answer_is_the_decoders((valid, tail) in valid(), any in raw(), broken in 0..4u8) {
        let raw = if broken == 0 { any } else { valid };
        let slow = decode::number(&raw, tail.as_ref());
        let (first, low) = (opcode::rows(raw.code).first(), raw.dst.max(raw.src) < 11);
        match (opcode::plain_number(&raw), slow) {
            (Some((row, names)), Ok(slow)) => {
                prop_assert_eq!(row, slow);
                prop_assert!(low);
                prop_assert_eq!(names, opcode::table()[row as usize].form.names());
            }
            // It does not look at the second slot.
            (Some(_), Err(_)) => prop_assert!(raw.is_ld_imm64()),
            (None, Ok(slow)) => {
                let is_first = first == opcode::table().get(slow as usize);
                prop_assert!(!is_first || !low || first.is_some_and(|r| r.select != Select::Any));
            }
            (None, Err(_)) => {}
        }
    }

    #[test]
    fn assembler_inverts_disassembler((raw, tail) in valid()) {
        prop_assume!(decode(raw, tail).is_ok());
        let names = Lossless(|_| None);
        let text = Text { insn: raw, next: tail, names: &names }.to_string();
        let mut expected = vec![raw];
        expected.extend(tail);
        prop_assert_eq!(assemble(&text, &NoNames), Ok(expected.clone()), "{}", text);
        // Without the opcode in parentheses it reads the same.
        prop_assert_eq!(assemble(&text[5..], &NoNames), Ok(expected), "{}", text);
    }

    #[test]
    fn any_bytes_decode_and_print(a in raw(), b in raw(), second in any::<bool>()) {
        let next = second.then_some(b);
        if let Ok(insn) = decode(a, next) {
            prop_assert_eq!(encode(&insn), (a, next.filter(|_| insn.slots() == 2)));
        }
        let mut out = String::new();
        write_insn(&mut out, &Bare, a, next).unwrap();
        prop_assert!(!out.is_empty() && !out.contains('\n'));
        let _ = (a.class(), a.mode(), a.size(), a.alu_op(), a.jmp_op(), a.jump_distance());
    }

    #[test]
    fn any_text_assembles_or_says_where(text in "[ -~\n]{0,80}") {
        if let Err(e) = assemble(&text, &NoNames) {
            prop_assert!(e.line >= 1 && e.line <= text.lines().count().max(1));
        }
        let _ = bpfassay_isa::asm::conformance::assemble(&text);
    }

    #[test]
    fn near_text_never_panics((raw, tail) in valid(), cut in 0..40usize, junk in "[ -~]{0,6}") {
        let names = Lossless(|_| None);
        let mut text = Text { insn: raw, next: tail, names: &names }.to_string();
        let cut = cut.min(text.len());
        text.replace_range(cut.., &junk);
        let _ = assemble(&text, &NoNames);
    }
}

#[test]
fn rows_are_sorted_and_distinct() {
    for pair in opcode::table().windows(2) {
        assert!(pair[0].code <= pair[1].code);
        assert_ne!(pair[0].form, pair[1].form);
        if pair[0].code == pair[1].code {
            assert_ne!(pair[0].select, pair[1].select);
            assert_ne!(pair[0].select, Select::Any);
        }
    }
    for row in opcode::table() {
        assert_eq!(opcode::row_of(row.form), Some(row));
    }
}

#[test]
fn a_slot_that_is_no_instruction_is_written_as_it_is() {
    let text = "r0 = 0\n1: .8byte 0x00000000000000ff  ; (ff) r0 (null) r0\nexit";
    let slots = bpfassay_isa::asm::assemble(text, &bpfassay_isa::asm::NoNames).expect("it reads");
    assert_eq!(slots[1].to_le_bytes(), [0xff, 0, 0, 0, 0, 0, 0, 0]);
    for wrong in [".8byte", ".8byte 0x1ffffffffffffffff", ".8byte 1 2"] {
        assert!(
            bpfassay_isa::asm::assemble(wrong, &bpfassay_isa::asm::NoNames).is_err(),
            "{wrong}"
        );
    }
}
