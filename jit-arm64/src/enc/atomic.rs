//! Atomics: the LSE read-modify-write instructions, exclusives, acquire and release.

use bpfassay_isa::Size;

use super::{R, ZR};

/// A read-modify-write operation of LSE.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Op {
    Add,
    /// And with the complement.
    Clr,
    Eor,
    Set,
    Swp,
}

/// Order of an LSE access.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Order {
    Relaxed = 0,
    Release = 1,
    Acquire = 2,
    AcqRel = 3,
}

fn size_bits(size: Size) -> u32 {
    let s = match size {
        Size::B => 0,
        Size::H => 1,
        Size::W => 2,
        Size::Dw => 3,
    };
    s << 30
}

/// `ld<op> rs, rt, [rn]`: `rt` gets the old value; with `rt` the zero register, `st<op>`.
pub fn rmw(op: Op, order: Order, size: Size, rs: R, rt: R, rn: R) -> u32 {
    let opc = match op {
        Op::Add => 0,
        Op::Clr => 1 << 12,
        Op::Eor => 2 << 12,
        Op::Set => 3 << 12,
        Op::Swp => 8 << 12,
    };
    size_bits(size) | 0x3820_0000 | ((order as u32) << 22) | rs.rm() | opc | rn.rn() | rt.rd()
}

/// `cas rs, rt, [rn]`: if memory equals `rs`, store `rt`; `rs` gets the old value.
pub fn cas(order: Order, size: Size, rs: R, rt: R, rn: R) -> u32 {
    let order = ((order as u32 >> 1) << 22) | ((order as u32 & 1) << 15);
    size_bits(size) | 0x08a0_7c00 | order | rs.rm() | rn.rn() | rt.rd()
}

/// `ldxr rt, [rn]`.
pub fn ldxr(size: Size, rt: R, rn: R) -> u32 {
    size_bits(size) | 0x085f_7c00 | rn.rn() | rt.rd()
}

/// `ldaxr rt, [rn]`.
pub fn ldaxr(size: Size, rt: R, rn: R) -> u32 {
    size_bits(size) | 0x085f_fc00 | rn.rn() | rt.rd()
}

/// `stxr rs, rt, [rn]`: `rs` gets 0 on success.
pub fn stxr(size: Size, rs: R, rt: R, rn: R) -> u32 {
    size_bits(size) | 0x0800_7c00 | rs.rm() | rn.rn() | rt.rd()
}

/// `stlxr rs, rt, [rn]`.
pub fn stlxr(size: Size, rs: R, rt: R, rn: R) -> u32 {
    size_bits(size) | 0x0800_fc00 | rs.rm() | rn.rn() | rt.rd()
}

/// `ldar rt, [rn]`.
pub fn ldar(size: Size, rt: R, rn: R) -> u32 {
    size_bits(size) | 0x08df_fc00 | rn.rn() | rt.rd()
}

/// `stlr rt, [rn]`.
pub fn stlr(size: Size, rt: R, rn: R) -> u32 {
    size_bits(size) | 0x089f_fc00 | rn.rn() | rt.rd()
}

/// `dmb ish`.
pub fn dmb_ish() -> u32 {
    0xd503_3bbf
}

/// `st<op> rs, [rn]`: the old value is dropped, no acquire.
pub fn rmw_no_result(op: Op, size: Size, rs: R, rn: R) -> u32 {
    rmw(op, Order::Relaxed, size, rs, ZR, rn)
}
