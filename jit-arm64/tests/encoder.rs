//! Every encoding against an independent assembler.
//!
//! A row is what we encode beside the text it should mean.  The file
//! `data/llvm-mc.txt` says what LLVM 19 makes of each text; `BPFASSAY_PRINT_ASM=1`
//! prints the texts alone, for `llvm-mc-19 -triple=aarch64 -mattr=+v8.5a
//! -show-encoding`, from whose output `data/llvm-mc.txt` is made again.

use std::collections::HashMap;

use bpfassay_isa::{Size, Width};
use bpfassay_jit_arm64::enc::arith::{self, AddImm};
use bpfassay_jit_arm64::enc::atomic::{self, Order};
use bpfassay_jit_arm64::enc::logic::{self, BitMask};
use bpfassay_jit_arm64::enc::mem::{self, Access};
use bpfassay_jit_arm64::enc::{bits, branch, wide, Cc, Extend, Shift, R};

use Width::{W32, W64};

type Rows = Vec<(u32, String)>;

const REGS: [(u8, u8, u8); 4] = [(0, 1, 2), (7, 19, 28), (30, 9, 17), (11, 11, 11)];
const SIZES: [Size; 4] = [Size::B, Size::H, Size::W, Size::Dw];
const CONDS: [(Cc, &str); 12] = [
    (Cc::Eq, "eq"),
    (Cc::Ne, "ne"),
    (Cc::Hs, "hs"),
    (Cc::Lo, "lo"),
    (Cc::Mi, "mi"),
    (Cc::Pl, "pl"),
    (Cc::Hi, "hi"),
    (Cc::Ls, "ls"),
    (Cc::Ge, "ge"),
    (Cc::Lt, "lt"),
    (Cc::Gt, "gt"),
    (Cc::Le, "le"),
];

fn p(w: Width) -> char {
    match w {
        W32 => 'w',
        W64 => 'x',
    }
}

fn bits_of(w: Width) -> u32 {
    match w {
        W32 => 32,
        W64 => 64,
    }
}

fn arith_rows(rows: &mut Rows) {
    for w in [W32, W64] {
        let x = p(w);
        for (d, n, m) in REGS {
            let (rd, rn, rm) = (R(d), R(n), R(m));
            for v in [0u64, 1, 0xfff, 0x1000, 0x7ff000, 0xfff000] {
                let i = AddImm::new(v).expect("fits");
                rows.push((arith::add_imm(w, rd, rn, i), format!("add {x}{d}, {x}{n}, #{v}")));
                rows.push((arith::sub_imm(w, rd, rn, i), format!("sub {x}{d}, {x}{n}, #{v}")));
                rows.push((arith::subs_imm(w, rd, rn, i), format!("subs {x}{d}, {x}{n}, #{v}")));
                rows.push((arith::cmp_imm(w, rn, i), format!("cmp {x}{n}, #{v}")));
                rows.push((arith::cmn_imm(w, rn, i), format!("cmn {x}{n}, #{v}")));
            }
            for (s, name) in [(Shift::Lsl, "lsl"), (Shift::Lsr, "lsr"), (Shift::Asr, "asr")] {
                for a in [0, 1, 31, bits_of(w) - 1] {
                    let tail = format!("{x}{d}, {x}{n}, {x}{m}, {name} #{a}");
                    rows.push((arith::add(w, rd, rn, rm, s, a), format!("add {tail}")));
                    rows.push((arith::sub(w, rd, rn, rm, s, a), format!("sub {tail}")));
                    for (op, name) in [
                        (logic::Op::And, "and"),
                        (logic::Op::Orr, "orr"),
                        (logic::Op::Eor, "eor"),
                        (logic::Op::Ands, "ands"),
                    ] {
                        rows.push((logic::reg(op, w, rd, rn, rm, s, a), format!("{name} {tail}")));
                    }
                }
            }
            let three = format!("{x}{d}, {x}{n}, {x}{m}");
            rows.push((arith::cmp(w, rn, rm), format!("cmp {x}{n}, {x}{m}")));
            rows.push((arith::madd(w, rd, rn, rm, R(5)), format!("madd {three}, {x}5")));
            rows.push((arith::msub(w, rd, rn, rm, R(5)), format!("msub {three}, {x}5")));
            rows.push((arith::udiv(w, rd, rn, rm), format!("udiv {three}")));
            rows.push((arith::sdiv(w, rd, rn, rm), format!("sdiv {three}")));
            rows.push((bits::lslv(w, rd, rn, rm), format!("lsl {three}")));
            rows.push((bits::lsrv(w, rd, rn, rm), format!("lsr {three}")));
            rows.push((bits::asrv(w, rd, rn, rm), format!("asr {three}")));
            for (cc, name) in CONDS {
                rows.push((arith::csel(w, rd, rn, rm, cc), format!("csel {three}, {name}")));
                rows.push((arith::csneg(w, rd, rn, rm, cc), format!("csneg {three}, {name}")));
                rows.push((arith::cset(w, rd, cc), format!("cset {x}{d}, {name}")));
            }
            rows.push((logic::mov(w, rd, rm), format!("mov {x}{d}, {x}{m}")));
            rows.push((logic::mvn(w, rd, rm), format!("mvn {x}{d}, {x}{m}")));
            rows.push((logic::tst(w, rn, rm), format!("tst {x}{n}, {x}{m}")));
            for (op, name) in [
                (logic::Op::And, "bic"),
                (logic::Op::Orr, "orn"),
                (logic::Op::Eor, "eon"),
                (logic::Op::Ands, "bics"),
            ] {
                rows.push((logic::reg_not(op, w, rd, rn, rm), format!("{name} {three}")));
            }
            rows.push((bits::rev(w, rd, rn), format!("rev {x}{d}, {x}{n}")));
            rows.push((bits::rev16(w, rd, rn), format!("rev16 {x}{d}, {x}{n}")));
        }
    }
    rows.push((arith::mov_sp(R(29), R(31)), "mov x29, sp".into()));
    rows.push((arith::mov_sp(R(31), R(29)), "mov sp, x29".into()));
    for (d, n, m) in REGS {
        let (rd, rn, rm) = (R(d), R(n), R(m));
        rows.push((arith::umulh(rd, rn, rm), format!("umulh x{d}, x{n}, x{m}")));
        rows.push((bits::rev32(rd, rn), format!("rev32 x{d}, x{n}")));
        for (e, name) in [(Extend::Uxtw, "uxtw"), (Extend::Sxtw, "sxtw"), (Extend::Uxtb, "uxtb")] {
            for a in [0, 3] {
                let text = format!("add x{d}, x{n}, w{m}, {name} #{a}");
                rows.push((arith::add_ext(W64, rd, rn, rm, e, a), text));
            }
        }
    }
}

fn bit_rows(rows: &mut Rows) {
    for w in [W32, W64] {
        let x = p(w);
        for a in 0..bits_of(w) {
            let (rd, rn) = (R(3), R(20));
            rows.push((bits::lsl_imm(w, rd, rn, a), format!("lsl {x}3, {x}20, #{a}")));
            rows.push((bits::lsr_imm(w, rd, rn, a), format!("lsr {x}3, {x}20, #{a}")));
            rows.push((bits::asr_imm(w, rd, rn, a), format!("asr {x}3, {x}20, #{a}")));
            rows.push((bits::ror_imm(w, rd, rn, a), format!("ror {x}3, {x}20, #{a}")));
            let b = bits_of(w) - 1 - a;
            rows.push((bits::ubfm(w, rd, rn, a, b), format!("ubfm {x}3, {x}20, #{a}, #{b}")));
            rows.push((bits::sbfm(w, rd, rn, a, b), format!("sbfm {x}3, {x}20, #{a}, #{b}")));
            rows.push((bits::bfm(w, rd, rn, a, b), format!("bfm {x}3, {x}20, #{a}, #{b}")));
        }
        for (from, name) in [(8, "sxtb"), (16, "sxth")] {
            rows.push((bits::sxt(w, R(3), R(20), from), format!("{name} {x}3, w20")));
        }
    }
    rows.push((bits::sxt(W64, R(3), R(20), 32), "sxtw x3, w20".into()));
    rows.push((bits::uxt(R(3), R(20), 8), "uxtb w3, w20".into()));
    rows.push((bits::uxt(R(3), R(20), 16), "uxth w3, w20".into()));
}

fn mask_rows(rows: &mut Rows) {
    let mut masks: Vec<(Width, u64)> = Vec::new();
    for size in [2u32, 4, 8, 16, 32, 64] {
        for ones in [1, size / 2, size - 1] {
            for rot in [0, 1, size / 2, size - 1] {
                let low = if ones == 64 { u64::MAX } else { (1u64 << ones) - 1 };
                let elem = if rot == 0 {
                    low
                } else {
                    let all = if size == 64 { u64::MAX } else { (1u64 << size) - 1 };
                    ((low >> rot) | (low << (size - rot))) & all
                };
                let mut v = elem;
                let mut at = size;
                while at < 64 {
                    v |= elem << at;
                    at += size;
                }
                masks.push((W64, v));
                if size <= 32 {
                    masks.push((W32, v & 0xffff_ffff));
                }
            }
        }
    }
    for (w, v) in masks {
        let x = p(w);
        let m = BitMask::new(w, v).expect("a bitmask");
        rows.push((
            logic::imm(logic::Op::And, w, R(4), R(21), m),
            format!("and {x}4, {x}21, #{v:#x}"),
        ));
        rows.push((
            logic::imm(logic::Op::Orr, w, R(4), R(21), m),
            format!("orr {x}4, {x}21, #{v:#x}"),
        ));
        rows.push((
            logic::imm(logic::Op::Eor, w, R(4), R(21), m),
            format!("eor {x}4, {x}21, #{v:#x}"),
        ));
        rows.push((logic::tst_imm(w, R(21), m), format!("tst {x}21, #{v:#x}")));
    }
    for w in [W32, W64] {
        let x = p(w);
        for hw in 0..bits_of(w) / 16 {
            let s = hw * 16;
            rows.push((wide::movz(w, R(9), 0xbeef, hw), format!("movz {x}9, #0xbeef, lsl #{s}")));
            rows.push((wide::movn(w, R(9), 0xbeef, hw), format!("movn {x}9, #0xbeef, lsl #{s}")));
            rows.push((wide::movk(w, R(9), 0xbeef, hw), format!("movk {x}9, #0xbeef, lsl #{s}")));
        }
    }
}

fn suffix(size: Size) -> (&'static str, char) {
    match size {
        Size::B => ("b", 'w'),
        Size::H => ("h", 'w'),
        Size::W => ("", 'w'),
        Size::Dw => ("", 'x'),
    }
}

fn mem_rows(rows: &mut Rows) {
    for size in SIZES {
        let n = size.bytes() as i32;
        let (s, x) = suffix(size);
        for off in [0, n, 4095 * n, -1, -256, 255, 3 * n] {
            let scaled = off >= 0 && off % n == 0;
            let u = if scaled { "" } else { "u" };
            for (access, name) in [(Access::Load, "ld"), (Access::Store, "st")] {
                let word = mem::imm(access, size, R(7), R(25), off).expect("fits");
                rows.push((word, format!("{name}{u}r{s} {x}7, [x25, #{off}]")));
            }
            if size != Size::Dw {
                let s = if size == Size::W { "w" } else { s };
                let word = mem::imm(Access::LoadSigned, size, R(7), R(25), off).expect("fits");
                rows.push((word, format!("ld{u}rs{s} x7, [x25, #{off}]")));
            }
        }
        for (e, name, xm) in [
            (Extend::Uxtx, "lsl", 'x'),
            (Extend::Uxtw, "uxtw", 'w'),
            (Extend::Sxtw, "sxtw", 'w'),
            (Extend::Sxtx, "sxtx", 'x'),
        ] {
            let log = n.trailing_zeros();
            for scaled in [false, true] {
                // An amount of zero is told from no amount for bytes only.
                let tail = match (scaled, e) {
                    (false, Extend::Uxtx) => String::new(),
                    (false, _) => format!(", {name}"),
                    (true, _) => format!(", {name} #{log}"),
                };
                for (access, op) in [(Access::Load, "ld"), (Access::Store, "st")] {
                    let word = mem::reg(access, size, R(7), R(25), R(10), e, scaled);
                    rows.push((word, format!("{op}r{s} {x}7, [x25, {xm}10{tail}]")));
                }
                if size != Size::Dw {
                    let s = if size == Size::W { "w" } else { s };
                    let word = mem::reg(Access::LoadSigned, size, R(7), R(25), R(10), e, scaled);
                    rows.push((word, format!("ldrs{s} x7, [x25, {xm}10{tail}]")));
                }
            }
        }
        for r in [(3u8, 4u8, 5u8), (0, 28, 30)] {
            let (a, b, c) = (R(r.0), R(r.1), R(r.2));
            let (i, j, k) = r;
            rows.push((atomic::ldxr(size, a, c), format!("ldxr{s} {x}{i}, [x{k}]")));
            rows.push((atomic::ldaxr(size, a, c), format!("ldaxr{s} {x}{i}, [x{k}]")));
            rows.push((atomic::stxr(size, b, a, c), format!("stxr{s} w{j}, {x}{i}, [x{k}]")));
            rows.push((atomic::stlxr(size, b, a, c), format!("stlxr{s} w{j}, {x}{i}, [x{k}]")));
            rows.push((atomic::ldar(size, a, c), format!("ldar{s} {x}{i}, [x{k}]")));
            rows.push((atomic::stlr(size, a, c), format!("stlr{s} {x}{i}, [x{k}]")));
            for (o, t) in [
                (Order::Relaxed, ""),
                (Order::Release, "l"),
                (Order::Acquire, "a"),
                (Order::AcqRel, "al"),
            ] {
                let text = format!("cas{t}{s} {x}{i}, {x}{j}, [x{k}]");
                rows.push((atomic::cas(o, size, a, b, c), text));
                for (op, name) in [
                    (atomic::Op::Add, "ldadd"),
                    (atomic::Op::Clr, "ldclr"),
                    (atomic::Op::Eor, "ldeor"),
                    (atomic::Op::Set, "ldset"),
                    (atomic::Op::Swp, "swp"),
                ] {
                    let text = format!("{name}{t}{s} {x}{i}, {x}{j}, [x{k}]");
                    rows.push((atomic::rmw(op, o, size, a, b, c), text));
                }
            }
            for (op, name) in [
                (atomic::Op::Add, "stadd"),
                (atomic::Op::Clr, "stclr"),
                (atomic::Op::Eor, "steor"),
                (atomic::Op::Set, "stset"),
            ] {
                let text = format!("{name}{s} {x}{i}, [x{k}]");
                rows.push((atomic::rmw_no_result(op, size, a, c), text));
            }
        }
    }
    for off in [-512, -16, 0, 8, 504] {
        rows.push((mem::stp(R(19), R(20), R(31), off), format!("stp x19, x20, [sp, #{off}]")));
        rows.push((mem::ldp(R(19), R(20), R(31), off), format!("ldp x19, x20, [sp, #{off}]")));
        rows.push((mem::stp_pre(R(29), R(30), R(31), off), format!("stp x29, x30, [sp, #{off}]!")));
        rows.push((mem::ldp_post(R(29), R(30), R(31), off), format!("ldp x29, x30, [sp], #{off}")));
    }
    for off in [-256, 0, 4, 252] {
        rows.push((mem::stp_w(R(1), R(2), R(3), off), format!("stp w1, w2, [x3, #{off}]")));
        rows.push((mem::ldp_w(R(1), R(2), R(3), off), format!("ldp w1, w2, [x3, #{off}]")));
    }
    for off in [-256, -16, 255] {
        rows.push((mem::str_pre(R(6), R(31), off), format!("str x6, [sp, #{off}]!")));
        rows.push((mem::ldr_post(R(6), R(31), off), format!("ldr x6, [sp], #{off}")));
    }
}

fn branch_rows(rows: &mut Rows) {
    for d in [0, 1, -1, 2, 8191, -8192, 0x3ffff, -0x40000, 0x1ff_ffff, -0x200_0000] {
        let at = i64::from(d) * 4;
        rows.push((branch::b(d), format!("b #{at}")));
        rows.push((branch::bl(d), format!("bl #{at}")));
        if (-0x40000..0x40000).contains(&d) {
            for (cc, name) in CONDS {
                rows.push((branch::b_cond(cc, d), format!("b.{name} #{at}")));
            }
            for w in [W32, W64] {
                rows.push((branch::cbz(w, R(21), d), format!("cbz {}21, #{at}", p(w))));
                rows.push((branch::cbnz(w, R(21), d), format!("cbnz {}21, #{at}", p(w))));
            }
            rows.push((branch::ldr_literal(R(10), d), format!("ldr x10, #{at}")));
        }
        if (-8192..8192).contains(&d) {
            for bit in [0, 5, 31, 32, 63] {
                let x = if bit < 32 { 'w' } else { 'x' };
                rows.push((branch::tbz(R(2), bit, d), format!("tbz {x}2, #{bit}, #{at}")));
                rows.push((branch::tbnz(R(2), bit, d), format!("tbnz {x}2, #{bit}, #{at}")));
            }
        }
    }
    for bytes in [0, 1, 7, -1, 0xfffff, -0x100000] {
        rows.push((branch::adr(R(10), bytes), format!("adr x10, #{bytes}")));
        let far = i64::from(bytes) * 4096;
        rows.push((branch::adrp(R(10), bytes), format!("adrp x10, #{far}")));
    }
    rows.push((branch::br(R(10)), "br x10".into()));
    rows.push((branch::blr(R(10)), "blr x10".into()));
    rows.push((branch::ret(R(30)), "ret".into()));
    rows.push((branch::ret(R(9)), "ret x9".into()));
    rows.push((branch::nop(), "nop".into()));
    rows.push((branch::brk(0x100), "brk #0x100".into()));
    rows.push((branch::bti_c(), "bti c".into()));
    rows.push((atomic::dmb_ish(), "dmb ish".into()));
}

fn rows() -> Rows {
    let mut rows = Vec::new();
    arith_rows(&mut rows);
    bit_rows(&mut rows);
    mask_rows(&mut rows);
    mem_rows(&mut rows);
    branch_rows(&mut rows);
    rows
}

#[test]
fn words_are_those_of_llvm() {
    let rows = rows();
    if std::env::var_os("BPFASSAY_PRINT_ASM").is_some() {
        for (_, text) in &rows {
            println!("ASM {text}");
        }
        return;
    }
    let table: HashMap<&str, u32> = include_str!("data/llvm-mc.txt")
        .lines()
        .filter(|l| !l.starts_with('#'))
        .map(|l| {
            let (hex, text) = l.split_once(' ').expect("word and text");
            (text, u32::from_str_radix(hex, 16).expect("hex"))
        })
        .collect();
    assert!(table.len() > 1000, "the table is there");
    let mut wrong = Vec::new();
    for (word, text) in &rows {
        match table.get(text.as_str()) {
            Some(want) if want == word => {}
            Some(want) => wrong.push(format!("{text}: {word:08x}, LLVM says {want:08x}")),
            None => wrong.push(format!("{text}: not in the table")),
        }
    }
    assert!(wrong.is_empty(), "{} wrong: {:#?}", wrong.len(), &wrong[..wrong.len().min(20)]);
}

/// What a sequence of MOVZ, MOVN, MOVK and ORR-immediate does, read back from the words.
fn replay(words: &[u32]) -> u64 {
    let mut v = 0u64;
    for &w in words {
        let hw = 16 * ((w >> 21) & 3);
        let imm = u64::from((w >> 5) & 0xffff);
        let wide = w >> 31 == 1;
        v = match (w >> 23) & 0xff {
            0xa5 => imm << hw,
            0x25 => !(imm << hw),
            0xe5 => (v & !(0xffffu64 << hw)) | (imm << hw),
            0x64 => mask_value(w),
            other => panic!("unexpected class {other:#x} in {w:08x}"),
        };
        if !wide {
            v &= 0xffff_ffff;
        }
    }
    v
}

/// `DecodeBitMasks` of the manual.
fn mask_value(w: u32) -> u64 {
    let (n, immr, imms) = ((w >> 22) & 1, (w >> 16) & 63, (w >> 10) & 63);
    let len = 31 - ((n << 6) | (!imms & 63)).leading_zeros();
    let size = 1u32 << len;
    let (s, r) = (imms & (size - 1), immr & (size - 1));
    let mut out = 0u64;
    for i in 0..64 {
        let at = (i % size + r) % size;
        if at <= s {
            out |= 1 << i;
        }
    }
    out
}

#[test]
fn constants_come_out_right_and_short() {
    let mut values = vec![0u64, 1, u64::MAX, 0xffff, 0x1_0000, 0xffff_ffff, 0x8000_0000_0000_0000];
    let mut x = 0x9e37_79b9_7f4a_7c15u64;
    for i in 0..20_000u32 {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        let keep = match i % 4 {
            0 => u64::MAX,
            1 => 0xffff_0000_ffff_0000u64.rotate_left(i),
            2 => 0xffff_ffff,
            _ => 0xffffu64.rotate_left(i),
        };
        values.extend([x & keep, !(x & keep), (u64::MAX >> (x & 63)).rotate_left(i)]);
    }
    let mut longest = 0;
    for v in values {
        let s = wide::load(R(3), v);
        assert_eq!(replay(s.words()), v, "{v:#x}: {:x?}", s.words());
        assert!(s.words().iter().all(|w| w & 31 == 3));
        let naive = (0..4).filter(|h| (v >> (16 * h)) & 0xffff != 0).count().max(1);
        assert!(s.words().len() <= naive, "{v:#x} takes {}", s.words().len());
        longest = longest.max(s.words().len());
    }
    assert_eq!(longest, 4);
}

#[test]
fn what_is_no_bitmask_is_refused() {
    for v in [0u64, u64::MAX, 5, 0x1234, 0xff00_ff01] {
        assert_eq!(BitMask::new(W64, v), None, "{v:#x}");
    }
    assert_eq!(BitMask::new(W32, 0xffff_ffff), None);
}

#[test]
fn every_bitmask_is_found() {
    let mut n = 0;
    for size in [2u32, 4, 8, 16, 32, 64] {
        for ones in 1..size {
            for rot in 0..size {
                let mut v = 0u64;
                for i in 0..64 {
                    if (i + rot) % size < ones {
                        v |= 1 << i;
                    }
                }
                let m = BitMask::new(W64, v).unwrap_or_else(|| panic!("{v:#x}"));
                assert_eq!(mask_value(logic::imm(logic::Op::Orr, W64, R(0), R(31), m)), v);
                n += 1;
            }
        }
    }
    assert_eq!(n, 5334, "the manual's count of 64-bit patterns");
}

#[test]
fn offsets_that_do_not_fit_are_refused() {
    assert_eq!(mem::imm(Access::Load, Size::Dw, R(0), R(1), 32768), None);
    assert_eq!(mem::imm(Access::Load, Size::Dw, R(0), R(1), -257), None);
    assert_eq!(mem::imm(Access::Load, Size::Dw, R(0), R(1), 257), None);
    assert!(mem::imm(Access::Load, Size::B, R(0), R(1), 257).is_some());
    assert_eq!(AddImm::new(0x1001), None);
    assert_eq!(AddImm::new(0x100_0000), None);
}
