//! Classic filters: reading, the kernel's rules, translation.

use bpfassay_isa::classic::{check, parse, translate, CheckError, ParseError, RawClassic};
use bpfassay_isa::disasm::{NoNames, Text};
use proptest::prelude::*;

/// Destination port 80 of IPv4 TCP, in the form `tcpdump -dd` prints.
const TCPDUMP: &str = "\
{ 0x28, 0, 0, 0x0000000c },
{ 0x15, 0, 8, 0x00000800 },
{ 0x30, 0, 0, 0x00000017 },
{ 0x15, 0, 6, 0x00000006 },
{ 0x28, 0, 0, 0x00000014 },
{ 0x45, 4, 0, 0x00001fff },
{ 0xb1, 0, 0, 0x0000000e },
{ 0x48, 0, 0, 0x00000010 },
{ 0x15, 0, 1, 0x00000050 },
{ 0x6, 0, 0, 0x00040000 },
{ 0x6, 0, 0, 0x00000000 },
";

fn raw(code: u16, jt: u8, jf: u8, k: u32) -> RawClassic {
    RawClassic { code, jt, jf, k }
}

#[test]
fn translates_as_bpf_convert_filter_does() {
    let filter = check(&parse(TCPDUMP).unwrap()).unwrap();
    let insns = translate(&filter).unwrap();
    let text: Vec<String> =
        insns.iter().map(|i| Text { insn: *i, next: None, names: &NoNames }.to_string()).collect();
    let expected = "\
(ac) w0 ^= w0
(ac) w7 ^= w7
(bf) r6 = r1
(28) r0 = *(u16 *)skb[12]
(55) if r0 != 0x800 goto pc+15
(30) r0 = *(u8 *)skb[23]
(55) if r0 != 0x6 goto pc+13
(28) r0 = *(u16 *)skb[20]
(45) if r0 & 0x1fff goto pc+11
(bf) r7 = r0
(30) r0 = *(u8 *)skb[14]
(54) w0 &= 15
(64) w0 <<= 2
(bf) r2 = r7
(bf) r7 = r0
(bf) r0 = r2
(48) r0 = *(u16 *)skb[r7 + 16]
(55) if r0 != 0x50 goto pc+2
(b4) w0 = 262144
(95) exit
(b4) w0 = 0
(95) exit";
    assert_eq!(text.join("\n"), expected);
}

#[test]
fn reads_decimal_text_and_names_the_wrong_line() {
    let decimal = parse("2\n40 0 0 12\n6 0 0 5\n").unwrap();
    assert_eq!(decimal, [raw(0x28, 0, 0, 12), raw(0x06, 0, 0, 5)]);
    assert_eq!(parse("6 0 0 1\n6 0 300 1"), Err(ParseError::BadLine { line: 2 }));
    assert_eq!(parse("3\n6 0 0 1"), Err(ParseError::WrongCount { said: 3, found: 1 }));
}

#[test]
fn each_rule_of_the_kernel_refuses() {
    let ret = raw(0x06, 0, 0, 0);
    let one = |i: RawClassic| check(&[i, ret]).unwrap_err();
    assert_eq!(check(&[]), Err(CheckError::Length));
    assert_eq!(one(raw(0x34, 0, 0, 0)), CheckError::DivisionByZero { insn: 0 });
    assert_eq!(one(raw(0x64, 0, 0, 32)), CheckError::ShiftTooFar { insn: 0 });
    assert_eq!(one(raw(0x02, 0, 0, 16)), CheckError::NoSuchWord { insn: 0 });
    assert_eq!(one(raw(0x60, 0, 0, 3)), CheckError::UnwrittenWord { insn: 0 });
    assert_eq!(one(raw(0x05, 0, 0, 1)), CheckError::JumpOut { insn: 0 });
    assert_eq!(one(raw(0x15, 1, 0, 1)), CheckError::JumpOut { insn: 0 });
    assert_eq!(one(raw(0x20, 0, 0, 0xffff_f002)), CheckError::UnknownAncillary { insn: 0 });
    assert_eq!(one(raw(0x20, 0, 0, 0xffff_f040)), CheckError::UnknownAncillary { insn: 0 });
    assert_eq!(one(raw(0x8c, 0, 0, 0)), CheckError::UnknownCode { insn: 0 });
    assert_eq!(check(&[ret, raw(0x07, 0, 0, 0)]), Err(CheckError::LastIsNoReturn));
    // A word written on one side only is not written where the sides meet.
    let branch = [raw(0x15, 0, 1, 5), raw(0x02, 0, 0, 3), raw(0x60, 0, 0, 3), ret];
    assert_eq!(check(&branch), Err(CheckError::UnwrittenWord { insn: 2 }));
}

proptest! {
    #[test]
    fn any_filter_is_refused_or_translated(
        codes in proptest::collection::vec((0..0x100u16, 0..6u8, 0..6u8, any::<u32>()), 1..40),
        small in any::<bool>(),
    ) {
        let mut filter: Vec<RawClassic> = codes
            .iter()
            .map(|(c, jt, jf, k)| raw(*c, *jt, *jf, if small { k % 20 } else { *k }))
            .collect();
        filter.push(raw(0x06, 0, 0, 1));
        if let Ok(checked) = check(&filter) {
            if let Ok(insns) = translate(&checked) {
                let is_sound = insns.iter().enumerate().all(|(i, insn)| {
                    let target = insn.jump_distance().map(|d| i as i64 + 1 + i64::from(d));
                    bpfassay_isa::decode(*insn, None).is_ok()
                        && target.is_none_or(|t| (0..insns.len() as i64).contains(&t))
                });
                prop_assert!(is_sound);
            }
        }
    }

    #[test]
    fn any_text_is_read_or_refused(text in "[0-9a-fx{},; \n]{0,60}") {
        let _ = parse(&text);
    }
}
