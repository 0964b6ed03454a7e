//! Instructions in the kernel's words, malformed ones included.
//!
//! Mirrors `print_bpf_insn` (kernel/bpf/disasm.c): it looks at raw fields
//! because the kernel prints an instruction before it complains about it.
//! Knows no helper, map or BTF name; [`Names`] supplies them.  Writes no
//! newline and allocates nothing.

use std::fmt::{self, Write};

use crate::field::{AluCode, Class, JmpCode, Mode};
use crate::insn::Size;
use crate::opcode::{self, Fetch, Form, Select, Wide};
use crate::raw::RawInsn;

/// What the text of an instruction needs to know from outside (`struct bpf_insn_cbs`).
///
/// The methods write a name and say whether they did.
pub trait Names {
    /// Name of a helper of this number (`func_id_str`), such as `bpf_map_lookup_elem`.
    fn helper(&self, _id: i32, _out: &mut dyn Write) -> Result<bool, fmt::Error> {
        Ok(false)
    }

    /// Name for any other call (`cb_call`); the verifier names kernel functions here.
    fn call(&self, _insn: RawInsn, _out: &mut dyn Write) -> Result<bool, fmt::Error> {
        Ok(false)
    }

    /// Text of a 64-bit immediate (`cb_imm`), which is `0x…` by default.
    fn imm64(&self, _insn: RawInsn, _imm: u64, _out: &mut dyn Write) -> Result<bool, fmt::Error> {
        Ok(false)
    }

    /// False hides map addresses as 0 (`allow_ptr_leaks`).
    fn may_leak_pointers(&self) -> bool {
        true
    }

    /// True prints `callx`, which no kernel prints.
    fn prints_callx(&self) -> bool {
        false
    }
}

/// Names nothing: numbers only.
pub struct NoNames;

impl Names for NoNames {}

/// Names every operand so that [`crate::asm`] gives back the same bytes; helper names by `helpers`.
pub struct Lossless<F>(pub F)
where
    F: Fn(i32) -> Option<&'static str>;

impl<F: Fn(i32) -> Option<&'static str>> Names for Lossless<F> {
    fn helper(&self, id: i32, out: &mut dyn Write) -> Result<bool, fmt::Error> {
        match (self.0)(id) {
            Some(name) => out.write_str(name).map(|()| true),
            None => Ok(false),
        }
    }

    fn call(&self, insn: RawInsn, out: &mut dyn Write) -> Result<bool, fmt::Error> {
        if !insn.is_kfunc_call() || insn.off == 0 {
            return Ok(false);
        }
        write!(out, "kernel-function[{}]", insn.off).map(|()| true)
    }

    fn imm64(&self, insn: RawInsn, imm: u64, out: &mut dyn Write) -> Result<bool, fmt::Error> {
        let (low, high) = (imm as u32, (imm >> 32) as u32);
        let Some(row) = opcode::row(insn) else {
            return Ok(false);
        };
        let open = row.token;
        match row.form {
            Form::LoadImm64(Wide::MapFd | Wide::MapIdx) => write!(out, "{open}{}]", low as i32),
            Form::LoadImm64(Wide::MapValue | Wide::MapIdxValue) => {
                write!(out, "{open}{}][0]+{high}", low as i32)
            }
            Form::LoadImm64(Wide::BtfId) => write!(out, "{open}{},fd:{}]", low as i32, high as i32),
            Form::LoadImm64(Wide::Func) => write!(out, "{open}{:+}]", low as i32),
            _ => return Ok(false),
        }
        .map(|()| true)
    }

    fn prints_callx(&self) -> bool {
        true
    }
}

/// `insn` as text, for use with `format!`; see [`write_insn`].
pub struct Text<'a, N> {
    pub insn: RawInsn,
    pub next: Option<RawInsn>,
    pub names: &'a N,
}

impl<N: Names> fmt::Display for Text<'_, N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_insn(f, self.names, self.insn, self.next)
    }
}

/// Writes the line the kernel prints for `insn`; `next` is the slot after it, for LD_IMM64.
pub fn write_insn<W: Write, N: Names + ?Sized>(
    out: &mut W,
    names: &N,
    insn: RawInsn,
    next: Option<RawInsn>,
) -> fmt::Result {
    match insn.class() {
        Class::Alu | Class::Alu64 => write_alu(out, insn),
        Class::Stx => write_stx(out, insn),
        Class::St => write_st(out, insn),
        Class::Ldx => write_ldx(out, insn),
        Class::Ld => write_ld(out, names, insn, next),
        Class::Jmp | Class::Jmp32 => write_jmp(out, names, insn),
    }
}

/// What printf makes of a string that is not there.
const NULL: &str = "(null)";

/// `w` for 32-bit operands, `r` for 64-bit ones.
fn letter(insn: RawInsn) -> char {
    match insn.class() {
        Class::Alu | Class::Jmp32 => 'w',
        _ => 'r',
    }
}

fn write_alu<W: Write>(out: &mut W, insn: RawInsn) -> fmt::Result {
    let RawInsn { code, dst, src, off, imm } = insn;
    let l = letter(insn);
    match insn.alu_op() {
        AluCode::End => {
            let name = match (insn.class(), insn.is_src_reg()) {
                (Class::Alu64, _) => "bswap",
                (_, true) => "be",
                (_, false) => "le",
            };
            return write!(out, "({code:02x}) r{dst} = {name}{imm} r{dst}");
        }
        AluCode::Neg => return write!(out, "({code:02x}) {l}{dst} = -{l}{dst}"),
        _ => {}
    }
    if insn.is_addr_space_cast() {
        let (to, from) = (imm as u32 >> 16, imm as u16);
        return write!(out, "({code:02x}) r{dst} = addr_space_cast(r{src}, {to}, {from})");
    }
    if code == opcode::MOV64_REG && off == opcode::OFF_ADDR_PERCPU {
        return write!(out, "({code:02x}) r{dst} = &(void __percpu *)(r{src})");
    }
    let (op, cast) = alu_tokens(insn);
    if insn.is_src_reg() {
        write!(out, "({code:02x}) {l}{dst} {op} {cast}{l}{src}")
    } else {
        write!(out, "({code:02x}) {l}{dst} {op} {imm}")
    }
}

/// Operator and, for a sign-extending move, the cast.  The offset picks the row, also where the
/// class has none for it: the kernel prints `w1 = (s32)w2` before it refuses it.
fn alu_tokens(insn: RawInsn) -> (&'static str, &'static str) {
    let wide = RawInsn { code: insn.code | Class::Alu64 as u8, ..insn };
    let rows = opcode::rows(wide.code);
    let Some(first) = rows.first() else {
        return (NULL, "");
    };
    let picked = rows.iter().find(|r| r.selects(insn)).unwrap_or(first);
    match picked.form {
        Form::MovSx(..) => (first.token, picked.token),
        Form::Alu(..) => (picked.token, ""),
        _ => (first.token, ""),
    }
}

/// `u8` to `u64`.
fn size_name(size: Size) -> &'static str {
    match size {
        Size::B => "u8",
        Size::H => "u16",
        Size::W => "u32",
        Size::Dw => "u64",
    }
}

fn write_stx<W: Write>(out: &mut W, insn: RawInsn) -> fmt::Result {
    let RawInsn { code, dst, src, off, .. } = insn;
    let size = size_name(insn.size());
    match insn.mode() {
        Mode::Mem => return write!(out, "({code:02x}) *({size} *)(r{dst} {off:+}) = r{src}"),
        Mode::Atomic => {}
        _ => return write!(out, "BUG_{code:02x}"),
    }
    let Some(row) = atomic_row(insn) else {
        return write!(out, "BUG_{code:02x}");
    };
    let token = row.token;
    match row.form {
        Form::Atomic(_, _, Fetch::NoFetch) => {
            write!(out, "({code:02x}) lock *({size} *)(r{dst} {off:+}) {token} r{src}")
        }
        Form::Atomic(crate::insn::AtomicOp::Cmpxchg, ..) => {
            write!(out, "({code:02x}) r0 = {token}(({size} *)(r{dst} {off:+}), r0, r{src})")
        }
        Form::LoadAcquire(_) => {
            write!(out, "({code:02x}) r{dst} = {token}(({size} *)(r{src} {off:+}))")
        }
        Form::StoreRelease(_) => {
            write!(out, "({code:02x}) {token}(({size} *)(r{dst} {off:+}), r{src})")
        }
        _ => write!(out, "({code:02x}) r{src} = {token}(({size} *)(r{dst} {off:+}), r{src})"),
    }
}

/// The row of an atomic; a byte or half-word one, which only the printer knows, goes by the word's.
fn atomic_row(insn: RawInsn) -> Option<&'static opcode::Row> {
    opcode::row(insn).or_else(|| {
        opcode::table().iter().find(|r| {
            matches!(r.form, Form::Atomic(_, Size::W, _)) && r.select == Select::Imm(insn.imm)
        })
    })
}

fn write_st<W: Write>(out: &mut W, insn: RawInsn) -> fmt::Result {
    let RawInsn { code, dst, off, imm, .. } = insn;
    match insn.mode() {
        Mode::Mem => {
            let size = size_name(insn.size());
            write!(out, "({code:02x}) *({size} *)(r{dst} {off:+}) = {imm}")
        }
        Mode::Atomic => write!(out, "({code:02x}) nospec"),
        _ => write!(out, "BUG_st_{code:02x}"),
    }
}

fn write_ldx<W: Write>(out: &mut W, insn: RawInsn) -> fmt::Result {
    let RawInsn { code, dst, src, off, .. } = insn;
    let size = match (insn.mode(), insn.size()) {
        (Mode::Mem, size) => size_name(size),
        (Mode::MemSx, Size::B) => "s8",
        (Mode::MemSx, Size::H) => "s16",
        (Mode::MemSx, Size::W) => "s32",
        // The kernel reads beyond its array here, but refuses the opcode before it prints.
        (Mode::MemSx, Size::Dw) => NULL,
        _ => return write!(out, "BUG_ldx_{code:02x}"),
    };
    write!(out, "({code:02x}) r{dst} = *({size} *)(r{src} {off:+})")
}

fn write_ld<W: Write, N: Names + ?Sized>(
    out: &mut W,
    names: &N,
    insn: RawInsn,
    next: Option<RawInsn>,
) -> fmt::Result {
    let RawInsn { code, dst, src, imm, .. } = insn;
    let size = size_name(insn.size());
    match insn.mode() {
        Mode::Abs => write!(out, "({code:02x}) r0 = *({size} *)skb[{imm}]"),
        Mode::Ind => write!(out, "({code:02x}) r0 = *({size} *)skb[r{src} + {imm}]"),
        Mode::Imm if insn.is_ld_imm64() => {
            let is_map = src == opcode::PSEUDO_MAP_FD || src == opcode::PSEUDO_MAP_VALUE;
            let mut value = insn.imm64(next.unwrap_or_default());
            if is_map && !names.may_leak_pointers() {
                value = 0;
            }
            write!(out, "({code:02x}) r{dst} = ")?;
            if names.imm64(insn, value, out)? {
                return Ok(());
            }
            write!(out, "{value:#x}")
        }
        _ => write!(out, "BUG_ld_{code:02x}"),
    }
}

fn write_jmp<W: Write, N: Names + ?Sized>(out: &mut W, names: &N, insn: RawInsn) -> fmt::Result {
    let RawInsn { code, dst, src, off, imm } = insn;
    if code == opcode::CALLX && names.prints_callx() {
        return write!(out, "({code:02x}) callx r{dst}");
    }
    if insn.jmp_op() == JmpCode::Call {
        return write_call(out, names, insn);
    }
    if insn.is_ja() {
        return write!(out, "({code:02x}) goto pc{off:+}");
    }
    if insn.is_gotox() {
        return write!(out, "({code:02x}) gotox r{dst}");
    }
    if insn.is_may_goto() {
        return write!(out, "({code:02x}) may_goto pc{off:+}");
    }
    if insn.is_gotol() {
        return write!(out, "({code:02x}) gotol pc{imm:+}");
    }
    if insn.is_exit() {
        return write!(out, "({code:02x}) exit");
    }
    let l = letter(insn);
    let op = jump_token(insn);
    if insn.is_src_reg() {
        write!(out, "({code:02x}) if {l}{dst} {op} {l}{src} goto pc{off:+}")
    } else {
        write!(out, "({code:02x}) if {l}{dst} {op} {imm:#x} goto pc{off:+}")
    }
}

/// The comparison; the odd forms print the kernel's words for their operation.
fn jump_token(insn: RawInsn) -> &'static str {
    match insn.jmp_op() {
        JmpCode::Ja => "jmp",
        JmpCode::Call => "call",
        JmpCode::Exit => "exit",
        JmpCode::Jcond | JmpCode::UndefinedF => NULL,
        _ => opcode::rows(insn.code).first().map_or(NULL, |r| r.token),
    }
}

fn write_call<W: Write, N: Names + ?Sized>(out: &mut W, names: &N, insn: RawInsn) -> fmt::Result {
    let RawInsn { code, src, imm, .. } = insn;
    let is_pseudo = src == opcode::PSEUDO_CALL;
    write!(out, "({code:02x}) call {}", if is_pseudo { "pc" } else { "" })?;
    let named = (src == 0 && names.helper(imm, out)?) || names.call(insn, out)?;
    if !named {
        match src {
            opcode::PSEUDO_CALL => write!(out, "{imm:+}")?,
            opcode::PSEUDO_KFUNC_CALL => out.write_str("kernel-function")?,
            _ => out.write_str("unknown")?,
        }
    }
    if is_pseudo {
        return Ok(());
    }
    write!(out, "#{imm}")
}

/// The kernel's operator for an ALU operation, as used in its own messages (`bpf_alu_string`):
/// `+=`, `s>>=`, `neg`, `endian`; None where its table has no entry.
pub fn alu_string(insn: RawInsn) -> Option<&'static str> {
    match insn.alu_op() {
        AluCode::Neg => Some("neg"),
        AluCode::End => Some("endian"),
        _ => Some(alu_tokens(RawInsn { off: 0, ..insn }).0).filter(|t| *t != NULL),
    }
}
