//! The mnemonics of the public conformance suite (`add32 %r0, 1`; `jeq %r1, %r2, label`).
//!
//! One instruction, label or `#` comment per line.  A jump goes to a label or,
//! with a sign, that many slots beyond its successor; the first `exit` is the
//! label `exit`.  Knows nothing of the files around the text.

use super::{AsmError, AsmErrorKind, At, Builder, Target};
use crate::insn::*;
use crate::raw::RawInsn;
use crate::reg::Reg;

/// Assembles `text`; all or the first error.
pub fn assemble(text: &str) -> Result<Vec<RawInsn>, AsmError> {
    let mut b = Builder::default();
    let mut has_exit = false;
    for (i, line) in text.lines().enumerate() {
        let code = line.split('#').next().unwrap_or("");
        let mut words = code
            .split(|ch: char| ch.is_whitespace() || ch == ',')
            .filter(|w| !w.is_empty())
            .map(|w| Word { text: w, at: At { line: i + 1, column: column_of(line, w) } });
        let Some(first) = words.next() else { continue };
        if let Some(label) = first.text.strip_suffix(':') {
            b.define(label, first.at)?;
            continue;
        }
        if first.text == "exit" && !has_exit {
            has_exit = true;
            b.define("exit", first.at)?;
        }
        let operands: Vec<Word<'_>> = words.collect();
        let (insn, target) = insn(first, &operands)?;
        b.push(insn, target, first.at)?;
    }
    b.finish()
}

/// Column of `part`, a piece of `line`, counted from 1.
fn column_of(line: &str, part: &str) -> usize {
    let offset = (part.as_ptr() as usize).saturating_sub(line.as_ptr() as usize);
    line.get(..offset).map_or(1, |before| before.chars().count() + 1)
}

#[derive(Clone, Copy)]
struct Word<'a> {
    text: &'a str,
    at: At,
}

type Parsed<'a> = (Insn, Option<Target<'a>>);

impl<'a> Word<'a> {
    fn expected(self, what: &'static str) -> AsmError {
        self.at.error(AsmErrorKind::Expected(what))
    }

    fn reg(self) -> Result<Reg, AsmError> {
        let digits = self.text.strip_prefix("%r").ok_or(self.expected("a register %r0 to %r10"))?;
        match digits.parse::<u8>() {
            Ok(n) if n < 16 && !digits.starts_with('+') => Ok(Reg(n)),
            _ => Err(self.at.error(AsmErrorKind::NoSuchRegister)),
        }
    }

    fn number(self) -> Result<i128, AsmError> {
        let (negative, body) = match self.text.strip_prefix('-') {
            Some(body) => (true, body),
            None => (false, self.text.strip_prefix('+').unwrap_or(self.text)),
        };
        let parsed = match body.strip_prefix("0x") {
            Some(hex) => i128::from_str_radix(hex, 16),
            None => body.parse(),
        };
        let value = parsed.map_err(|_| self.expected("a number"))?;
        Ok(if negative { value.wrapping_neg() } else { value })
    }

    /// Signed 32 bits, or unsigned where written in hexadecimal.
    fn imm(self) -> Result<i32, AsmError> {
        let v = self.number()?;
        let unsigned = self.text.contains("0x");
        let fits = i32::try_from(v).ok();
        fits.or_else(|| u32::try_from(v).ok().filter(|_| unsigned).map(|u| u as i32))
            .ok_or(self.at.error(AsmErrorKind::NumberOutOfRange))
    }

    fn operand(self) -> Result<Operand, AsmError> {
        if self.text.starts_with('%') {
            return self.reg().map(Operand::Reg);
        }
        self.imm().map(Operand::Imm)
    }

    /// `[%r10-8]`.
    fn mem(self) -> Result<(Reg, i16), AsmError> {
        let inner = self.text.strip_prefix('[').and_then(|t| t.strip_suffix(']'));
        let inner = inner.ok_or(self.expected("memory such as [%r10-8]"))?;
        let split = inner.find(['+', '-']).unwrap_or(inner.len());
        let (base, off) = inner.split_at(split);
        let base = Word { text: base, at: self.at }.reg()?;
        if off.is_empty() {
            return Ok((base, 0));
        }
        let off = Word { text: off, at: self.at }.number()?;
        let off = i16::try_from(off).map_err(|_| self.at.error(AsmErrorKind::NumberOutOfRange))?;
        Ok((base, off))
    }

    fn target(self) -> Result<Target<'a>, AsmError> {
        if !self.text.starts_with(['+', '-']) {
            return Ok(Target::Label(self.text));
        }
        let v = i32::try_from(self.number()?);
        v.map(Target::Distance).map_err(|_| self.at.error(AsmErrorKind::NumberOutOfRange))
    }
}

fn insn<'a>(first: Word<'a>, operands: &[Word<'a>]) -> Result<Parsed<'a>, AsmError> {
    let plain = |i| Ok((i, None));
    match (first.text, operands) {
        ("exit", []) => plain(Insn::Exit),
        ("ja", [t]) | ("ja32", [t]) => {
            let target = t.target()?;
            let long = first.text == "ja32";
            Ok((Insn::Jump { off: target.or_zero(), long }, Some(target)))
        }
        ("call", operands) => call(first, operands),
        ("lddw", [d, v]) => {
            let bits = v.number()?;
            let bits = u64::try_from(bits).or_else(|_| i64::try_from(bits).map(|v| v as u64));
            let bits = bits.map_err(|_| v.at.error(AsmErrorKind::NumberOutOfRange))?;
            plain(Insn::LoadImm64 { dst: d.reg()?, value: Imm64::Const(bits) })
        }
        ("lock", operands) => lock(first, operands).map(|i| (i, None)),
        (name, operands) => {
            if let Some(i) = memory(name, operands)? {
                return plain(i);
            }
            if let Some(i) = one_operand(name, operands)? {
                return plain(i);
            }
            if let Some(parsed) = cond_jump(name, operands)? {
                return Ok(parsed);
            }
            match alu(name, operands)? {
                Some(i) => plain(i),
                None => Err(first.expected("a mnemonic with its operands")),
            }
        }
    }
}

/// `call 5`, `call %r2`, `call local label`, `call runtime 7`.
fn call<'a>(first: Word<'a>, operands: &[Word<'a>]) -> Result<Parsed<'a>, AsmError> {
    let (mode, to) = match operands {
        [to] => ("helper", to),
        [mode, to] => (mode.text, to),
        _ => return Err(first.expected("call and whom")),
    };
    let target = match mode {
        "helper" if to.text.starts_with('%') => {
            return Ok((Insn::CallReg { target: to.reg()? }, None));
        }
        "helper" => CallTarget::Helper(to.imm()?),
        "runtime" => CallTarget::Kfunc { btf_id: to.imm()?, fd_idx: 0 },
        "local" => {
            let t = to.target()?;
            let target = CallTarget::Subprog(t.or_zero());
            return Ok((Insn::Call { target }, Some(t)));
        }
        _ => return Err(first.expected("helper, local or runtime")),
    };
    Ok((Insn::Call { target }, None))
}

/// `lock [fetch] add[32] [%r10-8], %r1`.
fn lock(first: Word<'_>, operands: &[Word<'_>]) -> Result<Insn, AsmError> {
    let (fetch, rest) = match operands {
        [f, rest @ ..] if f.text == "fetch" => (true, rest),
        rest => (false, rest),
    };
    let [name, mem, src] = rest else {
        return Err(first.expected("lock, an operation, memory and a register"));
    };
    let (base_name, size) = match name.text.strip_suffix("32") {
        Some(n) => (n, Size::W),
        None => (name.text, Size::Dw),
    };
    let op = match base_name {
        "add" => AtomicOp::Add,
        "or" => AtomicOp::Or,
        "and" => AtomicOp::And,
        "xor" => AtomicOp::Xor,
        "xchg" => AtomicOp::Xchg,
        "cmpxchg" => AtomicOp::Cmpxchg,
        _ => return Err(name.expected("an atomic operation")),
    };
    let (dst, off) = mem.mem()?;
    let fetch = fetch || matches!(op, AtomicOp::Xchg | AtomicOp::Cmpxchg);
    Ok(Insn::Atomic { op, fetch, size, dst, src: src.reg()?, off })
}

/// `ldxb`, `ldxsb`, `stb`, `stxb` and their sizes.
fn memory(name: &str, operands: &[Word<'_>]) -> Result<Option<Insn>, AsmError> {
    let (kind, size) = if let Some(s) = name.strip_prefix("ldxs") {
        ("ldxs", s)
    } else if let Some(s) = name.strip_prefix("ldx") {
        ("ldx", s)
    } else if let Some(s) = name.strip_prefix("stx") {
        ("stx", s)
    } else if let Some(s) = name.strip_prefix("st") {
        ("st", s)
    } else {
        return Ok(None);
    };
    let size = match size {
        "b" => Size::B,
        "h" => Size::H,
        "w" => Size::W,
        "dw" => Size::Dw,
        _ => return Ok(None),
    };
    let [first, second] = operands else {
        return Ok(None);
    };
    if kind.starts_with("ld") {
        let (src, off) = second.mem()?;
        let sign_extend = kind == "ldxs";
        return Ok(Some(Insn::Load { size, sign_extend, dst: first.reg()?, src, off }));
    }
    let (dst, off) = first.mem()?;
    let src = match kind {
        "st" => Operand::Imm(second.imm()?),
        _ => Operand::Reg(second.reg()?),
    };
    Ok(Some(Insn::Store { size, dst, off, src }))
}

/// Negation and byte swaps.
fn one_operand(name: &str, operands: &[Word<'_>]) -> Result<Option<Insn>, AsmError> {
    let [dst] = operands else { return Ok(None) };
    let swaps = [
        ("bswap", SwapKind::Bswap),
        ("swap", SwapKind::Bswap),
        ("be", SwapKind::ToBe),
        ("le", SwapKind::ToLe),
    ];
    for (prefix, kind) in swaps {
        let bits = match name.strip_prefix(prefix) {
            Some("16") => 16,
            Some("32") => 32,
            Some("64") => 64,
            _ => continue,
        };
        return Ok(Some(Insn::Swap { kind, bits, dst: dst.reg()? }));
    }
    Ok(match name {
        "neg" | "neg64" => Some(Insn::Neg { width: Width::W64, dst: dst.reg()? }),
        "neg32" => Some(Insn::Neg { width: Width::W32, dst: dst.reg()? }),
        _ => None,
    })
}

/// The name without its width: `32`, `64` or nothing, which is 64.
fn split_width(name: &str) -> (&str, Width) {
    match name.strip_suffix("32") {
        Some(n) => (n, Width::W32),
        None => (name.strip_suffix("64").unwrap_or(name), Width::W64),
    }
}

fn cond_jump<'a>(name: &str, operands: &[Word<'a>]) -> Result<Option<Parsed<'a>>, AsmError> {
    let [dst, src, to] = operands else {
        return Ok(None);
    };
    let (name, width) = split_width(name);
    let cond = match name {
        "jeq" => Cond::Eq,
        "jgt" => Cond::Gt,
        "jge" => Cond::Ge,
        "jset" => Cond::Set,
        "jne" => Cond::Ne,
        "jsgt" => Cond::Sgt,
        "jsge" => Cond::Sge,
        "jlt" => Cond::Lt,
        "jle" => Cond::Le,
        "jslt" => Cond::Slt,
        "jsle" => Cond::Sle,
        _ => return Ok(None),
    };
    let target = to.target()?;
    let off = i16::try_from(target.or_zero());
    let off = off.map_err(|_| to.at.error(AsmErrorKind::NumberOutOfRange))?;
    let insn = Insn::CondJump { cond, width, dst: dst.reg()?, src: src.operand()?, off };
    Ok(Some((insn, Some(target))))
}

fn alu(name: &str, operands: &[Word<'_>]) -> Result<Option<Insn>, AsmError> {
    let [dst, src] = operands else {
        return Ok(None);
    };
    let (name, width) = split_width(name);
    if let Some(bits) = name.strip_prefix("movsx") {
        let from = match bits {
            "8" => SxFrom::B,
            "16" => SxFrom::H,
            "32" => SxFrom::W,
            _ => return Ok(None),
        };
        return Ok(Some(Insn::MovSx { width, from, dst: dst.reg()?, src: src.reg()? }));
    }
    let op = match name {
        "add" => AluOp::Add,
        "sub" => AluOp::Sub,
        "mul" => AluOp::Mul,
        "div" => AluOp::Div,
        "sdiv" => AluOp::SDiv,
        "or" => AluOp::Or,
        "and" => AluOp::And,
        "lsh" => AluOp::Lsh,
        "rsh" => AluOp::Rsh,
        "mod" => AluOp::Mod,
        "smod" => AluOp::SMod,
        "xor" => AluOp::Xor,
        "mov" => AluOp::Mov,
        "arsh" => AluOp::Arsh,
        _ => return Ok(None),
    };
    Ok(Some(Insn::Alu { op, width, dst: dst.reg()?, src: src.operand()? }))
}
