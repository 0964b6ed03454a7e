//! The kernel's disassembly syntax, read back.
//!
//! A line is a comment (`;` or `//`), a label (`name:`) or an instruction as
//! [`crate::disasm`] writes it, with or without its index (`12:`) and its
//! opcode in parentheses.  As in the kernel's text a hexadecimal constant is the
//! 16-byte load (`r1 = 0x10`) and a decimal one the move (`r1 = 16`); an opcode
//! in parentheses or a final ` ll` decides otherwise.  `.8byte 0xff` is a slot as
//! it is, whatever it says.

use super::cursor::Cursor;
use super::{AsmError, AsmErrorKind, Builder, Resolve, Target};
use crate::insn::*;
use crate::opcode::{self, Fetch, Form, Row, Second};
use crate::raw::RawInsn;
use crate::reg::Reg;

/// Assembles `text`; all or the first error.
pub fn assemble(text: &str, names: &dyn Resolve) -> Result<Vec<RawInsn>, AsmError> {
    let mut b = Builder::default();
    for (i, line) in text.lines().enumerate() {
        let code = strip_comment(line);
        let mut c = Cursor::new(code.trim_end(), i + 1);
        while let Some(label) = label(&mut c)? {
            if let Label::Name(name, at) = label {
                b.define(name, at)?;
            }
        }
        if c.is_end() {
            continue;
        }
        if c.eat_word(".8byte") {
            let slot: u64 = c.int()?;
            if !c.is_end() {
                return Err(c.error(AsmErrorKind::TrailingText));
            }
            b.push_slot(RawInsn::from_le_bytes(slot.to_le_bytes()));
            continue;
        }
        let at = c.at();
        let written = opcode_prefix(&mut c)?;
        let (insn, target) = Parser { c: &mut c, names, written }.insn()?;
        if !c.is_end() {
            return Err(c.error(AsmErrorKind::TrailingText));
        }
        let raw = b.push(insn, target, at)?;
        if let Some(written) = written.filter(|w| *w != raw.code) {
            let kind = AsmErrorKind::OpcodeMismatch { written, actual: raw.code };
            return Err(at.error(kind));
        }
    }
    b.finish()
}

fn strip_comment(line: &str) -> &str {
    let end = [line.find(';'), line.find("//")].into_iter().flatten().min();
    end.and_then(|e| line.get(..e)).unwrap_or(line)
}

enum Label<'a> {
    Name(&'a str, super::At),
    /// The index the kernel prints: says nothing new.
    Index,
}

fn label<'a>(c: &mut Cursor<'a>) -> Result<Option<Label<'a>>, AsmError> {
    let (mark, at) = (c.mark(), c.at());
    if let Some(name) = c.name() {
        if c.eat(":") {
            return Ok(Some(Label::Name(name, at)));
        }
    } else if c.rest().starts_with(|ch: char| ch.is_ascii_digit()) {
        c.number()?;
        c.need(":")?;
        return Ok(Some(Label::Index));
    }
    c.reset(mark);
    Ok(None)
}

/// `(b7)`; anything else in parentheses is not an opcode.
fn opcode_prefix(c: &mut Cursor<'_>) -> Result<Option<u8>, AsmError> {
    let rest = c.rest();
    let Some(hex) = rest.strip_prefix('(').and_then(|r| r.get(..2)) else {
        return Ok(None);
    };
    let closed = rest.get(3..4) == Some(")");
    match u8::from_str_radix(hex, 16) {
        Ok(code) if closed => {
            let found = rest.get(..4).unwrap_or("");
            c.eat(found);
            Ok(Some(code))
        }
        _ => Ok(None),
    }
}

/// The row whose token comes next, the longest first, among those that `want` likes.
fn token_row(c: &mut Cursor<'_>, want: impl Fn(&Row) -> bool) -> Option<&'static Row> {
    let best = opcode::table()
        .iter()
        .filter(|r| want(r) && c.rest().starts_with(r.token))
        .max_by_key(|r| r.token.len())?;
    c.eat(best.token);
    Some(best)
}

type Parsed<'a> = (Insn, Option<Target<'a>>);

struct Parser<'c, 'a> {
    c: &'c mut Cursor<'a>,
    names: &'c dyn Resolve,
    /// Opcode in parentheses before the text.
    written: Option<u8>,
}

impl<'a> Parser<'_, 'a> {
    fn insn(&mut self) -> Result<Parsed<'a>, AsmError> {
        if self.c.eat_word("exit") {
            return Ok((Insn::Exit, None));
        }
        if self.c.eat_word("if") {
            return self.cond_jump();
        }
        for (word, long) in [("goto", false), ("gotol", true)] {
            if self.c.eat_word(word) {
                let t = self.target()?;
                return Ok((Insn::Jump { off: t.or_zero(), long }, Some(t)));
            }
        }
        if self.c.eat_word("may_goto") {
            let t = self.target()?;
            return Ok((Insn::MayGoto { off: self.short(t)? }, Some(t)));
        }
        if self.c.eat_word("call") {
            return self.call();
        }
        if self.c.eat_word("gotox") {
            return Ok((Insn::JumpReg { target: self.c.reg()? }, None));
        }
        if self.c.eat_word("callx") {
            return Ok((Insn::CallReg { target: self.c.reg()? }, None));
        }
        if self.c.eat_word("lock") {
            return self.lock().map(no_target);
        }
        if self.c.eat("store_release(") {
            let (size, dst, off) = self.mem_argument()?;
            self.c.need(",")?;
            let src = self.c.reg()?;
            self.c.need(")")?;
            return Ok(no_target(Insn::StoreRelease { size, dst, src, off }));
        }
        if self.c.rest().starts_with("*(") {
            return self.store().map(no_target);
        }
        match self.c.any_reg()? {
            Some((width, dst)) => self.assignment(width, dst),
            None => Err(self.c.expected("an instruction")),
        }
    }

    /// `pc+3`, `+3` or a label.
    fn target(&mut self) -> Result<Target<'a>, AsmError> {
        let rest = self.c.rest();
        let relative = rest.strip_prefix("pc").unwrap_or(rest);
        if relative.starts_with(['+', '-']) {
            self.c.eat("pc");
            return Ok(Target::Distance(self.c.int()?));
        }
        self.c.name().map(Target::Label).ok_or_else(|| self.c.expected("a jump target"))
    }

    fn short(&self, t: Target<'_>) -> Result<i16, AsmError> {
        i16::try_from(t.or_zero()).map_err(|_| self.c.error(AsmErrorKind::NumberOutOfRange))
    }

    fn cond_jump(&mut self) -> Result<Parsed<'a>, AsmError> {
        let Some((width, dst)) = self.c.any_reg()? else {
            return Err(self.c.expected("a register"));
        };
        let row = token_row(self.c, |r| matches!(r.form, Form::CondJump(_, Width::W64, _)));
        let Some(Row { form: Form::CondJump(cond, ..), .. }) = row else {
            return Err(self.c.expected("a comparison"));
        };
        let src = self.operand(width)?;
        self.c.need("goto")?;
        let t = self.target()?;
        let off = self.short(t)?;
        Ok((Insn::CondJump { cond: *cond, width, dst, src, off }, Some(t)))
    }

    /// A register of this width or an immediate.
    fn operand(&mut self, width: Width) -> Result<Operand, AsmError> {
        if self.c.rest().starts_with(['r', 'w']) {
            return self.c.reg_of(width).map(Operand::Reg);
        }
        self.c.imm32().map(Operand::Imm)
    }

    fn call(&mut self) -> Result<Parsed<'a>, AsmError> {
        let subprog = |t: Target<'a>| {
            let target = CallTarget::Subprog(t.or_zero());
            Ok((Insn::Call { target }, Some(t)))
        };
        let rest = self.c.rest();
        if rest.starts_with("pc+") || rest.starts_with("pc-") || rest.starts_with(['+', '-']) {
            let t = self.target()?;
            return subprog(t);
        }
        if rest.starts_with(|ch: char| ch.is_ascii_digit()) {
            return self.helper();
        }
        if self.c.eat("#") {
            return self.helper();
        }
        let at = self.c.at();
        if self.c.eat("kernel-function") {
            let fd_idx = self.fd_index()?;
            self.c.need("#")?;
            let target = CallTarget::Kfunc { btf_id: self.c.int()?, fd_idx };
            return Ok(no_target(Insn::Call { target }));
        }
        let name = self.c.name().ok_or_else(|| self.c.expected("a function"))?;
        let kfunc = self.names.kfunc(name);
        if self.c.eat("#") {
            return match kfunc {
                Some((_, fd_idx)) => {
                    let target = CallTarget::Kfunc { btf_id: self.c.int()?, fd_idx };
                    Ok(no_target(Insn::Call { target }))
                }
                None => self.helper(),
            };
        }
        if let Some(id) = self.names.helper(name) {
            return Ok(no_target(Insn::Call { target: CallTarget::Helper(id) }));
        }
        if let Some((btf_id, fd_idx)) = kfunc {
            return Ok(no_target(Insn::Call { target: CallTarget::Kfunc { btf_id, fd_idx } }));
        }
        if name.starts_with("bpf_") {
            return Err(at.error(AsmErrorKind::UnknownName(name.to_string())));
        }
        subprog(Target::Label(name))
    }

    fn helper(&mut self) -> Result<Parsed<'a>, AsmError> {
        let target = CallTarget::Helper(self.c.int()?);
        Ok(no_target(Insn::Call { target }))
    }

    /// `[2]` after `kernel-function`; 0 where there is none.
    fn fd_index(&mut self) -> Result<i16, AsmError> {
        if !self.c.eat("[") {
            return Ok(0);
        }
        let idx = self.c.int()?;
        self.c.need("]")?;
        Ok(idx)
    }

    /// `u32 *)(r1 +8)`: the part of a memory operand after `*(` or `(`.
    fn mem(&mut self) -> Result<(Size, bool, Reg, i16), AsmError> {
        let (size, signed) = self.c.size()?;
        self.c.need("*")?;
        self.c.need(")")?;
        self.c.need("(")?;
        let base = self.c.reg()?;
        let off = if self.c.rest().starts_with(['+', '-']) { self.c.int()? } else { 0 };
        self.c.need(")")?;
        Ok((size, signed, base, off))
    }

    /// `(u32 *)(r1 +8)`, unsigned.
    fn mem_argument(&mut self) -> Result<(Size, Reg, i16), AsmError> {
        self.c.need("(")?;
        let at = self.c.at();
        match self.mem()? {
            (size, false, base, off) => Ok((size, base, off)),
            _ => Err(at.error(AsmErrorKind::Expected("an unsigned size"))),
        }
    }

    fn store(&mut self) -> Result<Insn, AsmError> {
        self.c.need("*")?;
        let (size, dst, off) = self.mem_argument()?;
        self.c.need("=")?;
        let src = self.operand(Width::W64)?;
        Ok(Insn::Store { size, dst, off, src })
    }

    fn lock(&mut self) -> Result<Insn, AsmError> {
        self.c.need("*")?;
        let (size, dst, off) = self.mem_argument()?;
        let row = token_row(self.c, |r| matches!(r.form, Form::Atomic(_, _, Fetch::NoFetch)));
        let Some(Row { form: Form::Atomic(op, ..), .. }) = row else {
            return Err(self.c.expected("an atomic operator"));
        };
        let src = self.c.reg()?;
        Ok(Insn::Atomic { op: *op, fetch: false, size, dst, src, off })
    }

    /// After `r1` or `w1`: an operator and its right side.
    fn assignment(&mut self, width: Width, dst: Reg) -> Result<Parsed<'a>, AsmError> {
        let is_alu = |r: &Row| matches!(r.form, Form::Alu(_, Width::W64, Second::Reg));
        let Some(Row { form: Form::Alu(op, ..), .. }) = token_row(self.c, is_alu) else {
            return Err(self.c.expected("an operator"));
        };
        if *op != AluOp::Mov {
            let src = self.operand(width)?;
            return Ok(no_target(Insn::Alu { op: *op, width, dst, src }));
        }
        if let Some((_, src)) = self.c.any_reg()?.filter(|(w, _)| *w == width) {
            return Ok(no_target(Insn::Alu { op: *op, width, dst, src: Operand::Reg(src) }));
        }
        let rest = self.c.rest();
        if rest.starts_with("-r") || rest.starts_with("-w") {
            self.c.eat("-");
            self.same(width, dst)?;
            return Ok(no_target(Insn::Neg { width, dst }));
        }
        let cast = token_row(self.c, |r| matches!(r.form, Form::MovSx(w, _) if w == width));
        if let Some(Row { form: Form::MovSx(_, from), .. }) = cast {
            let src = self.c.reg_of(width)?;
            return Ok(no_target(Insn::MovSx { width, from: *from, dst, src }));
        }
        if rest.starts_with(|ch: char| ch.is_ascii_digit() || ch == '-' || ch == '+') {
            return self.constant(width, dst).map(no_target);
        }
        if width == Width::W32 {
            return Err(self.c.expected("a register w0 to w10 or a number"));
        }
        self.wide_assignment(dst)
    }

    /// The register that has to be repeated, as in `r1 = -r1`.
    fn same(&mut self, width: Width, dst: Reg) -> Result<(), AsmError> {
        let at = self.c.at();
        if self.c.reg_of(width)? == dst {
            return Ok(());
        }
        Err(at.error(AsmErrorKind::Expected("the register on the left again")))
    }

    fn constant(&mut self, width: Width, dst: Reg) -> Result<Insn, AsmError> {
        let mark = self.c.mark();
        let (value, hex) = self.c.number()?;
        let is_long = self.c.eat_word("ll");
        let wide = match self.written {
            Some(code) => code == opcode::LD_IMM64,
            None => hex || is_long,
        };
        if wide && width == Width::W64 {
            let bits = u64::try_from(value).or_else(|_| i64::try_from(value).map(|v| v as u64));
            let bits = bits.map_err(|_| self.c.out_of_range(mark))?;
            return Ok(Insn::LoadImm64 { dst, value: Imm64::Const(bits) });
        }
        self.c.reset(mark);
        let src = Operand::Imm(self.c.imm32()?);
        Ok(Insn::Alu { op: AluOp::Mov, width, dst, src })
    }

    /// What only a 64-bit register is assigned: swaps, loads, atomics, addresses.
    fn wide_assignment(&mut self, dst: Reg) -> Result<Parsed<'a>, AsmError> {
        if let Some(parsed) = self.address(dst)? {
            return Ok(parsed);
        }
        let swap = token_row(self.c, |r| matches!(r.form, Form::Swap(..)));
        if let Some(Row { form: Form::Swap(kind, bits), .. }) = swap {
            self.same(Width::W64, dst)?;
            return Ok(no_target(Insn::Swap { kind: *kind, bits: *bits, dst }));
        }
        if self.c.eat("addr_space_cast(") {
            let src = self.c.reg()?;
            self.c.need(",")?;
            let to: u16 = self.c.int()?;
            self.c.need(",")?;
            let from: u16 = self.c.int()?;
            self.c.need(")")?;
            let imm = (((to as u32) << 16) | from as u32) as i32;
            return Ok(no_target(Insn::AddrSpaceCast { dst, src, imm }));
        }
        if self.c.eat("load_acquire(") {
            let (size, src, off) = self.mem_argument()?;
            self.c.need(")")?;
            return Ok(no_target(Insn::LoadAcquire { size, dst, src, off }));
        }
        if self.c.rest().starts_with("atomic") {
            return self.fetch(dst).map(no_target);
        }
        if self.c.eat("*(") {
            return self.load(dst).map(no_target);
        }
        Err(self.c.expected("a value"))
    }

    /// `map[…]`, `btf[…]` and `subprog[…]`: the forms of [`crate::disasm::Lossless`].
    fn address(&mut self, dst: Reg) -> Result<Option<Parsed<'a>>, AsmError> {
        let value = if self.c.eat("map[fd:") {
            let fd = self.map_number()?;
            match self.value_offset()? {
                Some(off) => Imm64::MapValue { fd, off },
                None => Imm64::MapFd(fd),
            }
        } else if self.c.eat("map[idx:") {
            let idx = self.map_number()?;
            match self.value_offset()? {
                Some(off) => Imm64::MapIdxValue { idx, off },
                None => Imm64::MapIdx(idx),
            }
        } else if self.c.eat("btf[id:") {
            let id = self.c.int()?;
            self.c.need(",fd:")?;
            Imm64::BtfId { id, btf_fd: self.map_number()? }
        } else if self.c.eat("subprog[") {
            let t = self.target()?;
            self.c.need("]")?;
            let value = Imm64::Func(t.or_zero());
            return Ok(Some((Insn::LoadImm64 { dst, value }, Some(t))));
        } else {
            return Ok(None);
        };
        Ok(Some(no_target(Insn::LoadImm64 { dst, value })))
    }

    fn map_number(&mut self) -> Result<i32, AsmError> {
        let v = self.c.int()?;
        self.c.need("]")?;
        Ok(v)
    }

    fn value_offset(&mut self) -> Result<Option<u32>, AsmError> {
        if !self.c.eat("[0]") {
            return Ok(None);
        }
        self.c.need("+")?;
        self.c.int().map(Some)
    }

    /// `atomic64_fetch_add((u64 *)(r1 +0), r2)` and its kin.
    fn fetch(&mut self, dst: Reg) -> Result<Insn, AsmError> {
        let at = self.c.at();
        let row = token_row(self.c, |r| matches!(r.form, Form::Atomic(_, _, Fetch::Fetch)));
        let Some(Row { form: Form::Atomic(op, size, _), .. }) = row else {
            return Err(self.c.expected("an atomic operation"));
        };
        self.c.need("(")?;
        let (found, base, off) = self.mem_argument()?;
        if found != *size {
            return Err(at.error(AsmErrorKind::Expected("the size in the name")));
        }
        self.c.need(",")?;
        let result = if *op == AtomicOp::Cmpxchg {
            self.same(Width::W64, Reg::R0)?;
            self.c.need(",")?;
            Some(Reg::R0)
        } else {
            None
        };
        let src = self.c.reg()?;
        self.c.need(")")?;
        if result.unwrap_or(src) != dst {
            return Err(at.error(AsmErrorKind::Expected("the register that gets the old value")));
        }
        Ok(Insn::Atomic { op: *op, fetch: true, size: *size, dst: base, src, off })
    }

    /// After `*(`: a plain load or a packet load.
    fn load(&mut self, dst: Reg) -> Result<Insn, AsmError> {
        let mark = self.c.mark();
        let (size, _) = self.c.size()?;
        self.c.need("*")?;
        self.c.need(")")?;
        if !self.c.eat("skb[") {
            self.c.reset(mark);
            let (size, sign_extend, src, off) = self.mem()?;
            return Ok(Insn::Load { size, sign_extend, dst, src, off });
        }
        let index = if self.c.rest().starts_with('r') {
            let r = self.c.reg()?;
            self.c.need("+")?;
            Some(r)
        } else {
            None
        };
        let imm = self.c.imm32()?;
        self.c.need("]")?;
        if dst != Reg::R0 {
            return Err(self.c.expected("r0 on the left of a packet load"));
        }
        Ok(Insn::LoadPacket { size, index, imm })
    }
}

fn no_target<'a>(insn: Insn) -> Parsed<'a> {
    (insn, None)
}
