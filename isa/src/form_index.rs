//! The row of a form without a search: forms are numbered densely, and a table leads from number to row.

use crate::opcode::{self, Form, Row};

/// Forms of one family, at most.
const FAMILY: usize = 64;
const FAMILIES: usize = 19;
/// No row has this number.
const NONE: u16 = u16::MAX;

/// Different for different forms of the table; a form outside it may share the number of one inside.
const fn number(form: Form) -> usize {
    let (family, member) = match form {
        Form::Alu(op, width, second) => (0, op as usize * 4 + width as usize * 2 + second as usize),
        Form::MovSx(width, from) => (1, from as usize * 2 + width as usize),
        Form::AddrSpaceCast => (2, 0),
        Form::Neg(width) => (3, width as usize),
        Form::Swap(kind, bits) => (4, kind as usize * 8 + bits as usize / 16 % 8),
        Form::LoadImm64(wide) => (5, wide as usize),
        Form::Load(size, extend) => (6, size as usize * 2 + extend as usize),
        Form::LoadPacket(size, packet) => (7, size as usize * 2 + packet as usize),
        Form::Store(size, second) => (8, size as usize * 2 + second as usize),
        Form::Atomic(op, size, fetch) => (9, op as usize * 8 + size as usize * 2 + fetch as usize),
        Form::LoadAcquire(size) => (10, size as usize),
        Form::StoreRelease(size) => (11, size as usize),
        Form::Jump(reach) => (12, reach as usize),
        Form::MayGoto => (13, 0),
        Form::CondJump(cond, width, second) => {
            (14, cond as usize * 4 + width as usize * 2 + second as usize)
        }
        Form::Call(callee) => (15, callee as usize),
        Form::CallReg => (16, 0),
        Form::JumpReg => (17, 0),
        Form::Exit => (18, 0),
    };
    family * FAMILY + member
}

const fn index() -> [u16; FAMILIES * FAMILY] {
    let mut out = [NONE; FAMILIES * FAMILY];
    let table = opcode::table();
    let mut i = 0;
    while i < table.len() {
        let n = number(table[i].form);
        assert!(out[n] == NONE, "two rows share a number");
        out[n] = i as u16;
        i += 1;
    }
    out
}

static INDEX: [u16; FAMILIES * FAMILY] = index();

/// The row of a form; every form of the table has exactly one.
pub fn row_of(form: Form) -> Option<&'static Row> {
    let row = opcode::table().get(usize::from(INDEX[number(form)]))?;
    (row.form == form).then_some(row)
}
