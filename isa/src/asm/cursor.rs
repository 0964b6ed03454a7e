//! One line of assembly text and a position in it.

use super::{AsmError, AsmErrorKind, At};
use crate::insn::{Size, Width};
use crate::reg::Reg;

pub(super) struct Cursor<'a> {
    text: &'a str,
    pos: usize,
    line: usize,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(text: &'a str, line: usize) -> Cursor<'a> {
        let mut c = Cursor { text, pos: 0, line };
        c.skip_space();
        c
    }

    /// What has not been read, without leading blanks.
    pub(super) fn rest(&self) -> &'a str {
        self.text.get(self.pos..).unwrap_or("")
    }

    pub(super) fn is_end(&self) -> bool {
        self.rest().is_empty()
    }

    pub(super) fn at(&self) -> At {
        let read = self.text.get(..self.pos).unwrap_or(self.text);
        At { line: self.line, column: read.chars().count() + 1 }
    }

    pub(super) fn error(&self, kind: AsmErrorKind) -> AsmError {
        self.at().error(kind)
    }

    pub(super) fn expected(&self, what: &'static str) -> AsmError {
        self.error(AsmErrorKind::Expected(what))
    }

    fn skip_space(&mut self) {
        let rest = self.rest();
        self.pos += rest.len() - rest.trim_start().len();
    }

    fn advance(&mut self, bytes: usize) {
        self.pos += bytes;
        self.skip_space();
    }

    /// Position to come back to.
    pub(super) fn mark(&self) -> usize {
        self.pos
    }

    pub(super) fn reset(&mut self, mark: usize) {
        self.pos = mark;
    }

    /// Reads `token` and the blanks after it, if it comes next.
    pub(super) fn eat(&mut self, token: &str) -> bool {
        let found = self.rest().starts_with(token);
        if found {
            self.advance(token.len());
        }
        found
    }

    /// Reads `word` if it comes next and no letter, digit or `_` follows.
    pub(super) fn eat_word(&mut self, word: &str) -> bool {
        let follows = self.rest().strip_prefix(word).map(|r| r.chars().next());
        match follows {
            Some(next) if !next.is_some_and(is_word) => self.eat(word),
            _ => false,
        }
    }

    pub(super) fn need(&mut self, token: &'static str) -> Result<(), AsmError> {
        if self.eat(token) {
            Ok(())
        } else {
            Err(self.expected(token))
        }
    }

    /// A name: letters, digits, `_`, `.`, `$`, not starting with a digit.
    pub(super) fn name(&mut self) -> Option<&'a str> {
        let rest = self.rest();
        let len = rest.find(|c: char| !is_word(c) && c != '.' && c != '$').unwrap_or(rest.len());
        let name = rest.get(..len)?;
        if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) {
            return None;
        }
        self.advance(len);
        Some(name)
    }

    /// A register with this letter, or either where None; says which.
    pub(super) fn any_reg(&mut self) -> Result<Option<(Width, Reg)>, AsmError> {
        let rest = self.rest();
        let width = match rest.chars().next() {
            Some('r') => Width::W64,
            Some('w') => Width::W32,
            _ => return Ok(None),
        };
        let digits = rest.get(1..).unwrap_or("");
        let len = digits.find(|c: char| !is_word(c)).unwrap_or(digits.len());
        let number = digits.get(..len).unwrap_or("");
        if number.is_empty() || !number.bytes().all(|b| b.is_ascii_digit()) {
            return Ok(None);
        }
        match number.parse::<u8>() {
            Ok(n) if n < 16 => {
                self.advance(1 + len);
                Ok(Some((width, Reg(n))))
            }
            _ => Err(self.error(AsmErrorKind::NoSuchRegister)),
        }
    }

    /// A 64-bit register.
    pub(super) fn reg(&mut self) -> Result<Reg, AsmError> {
        self.reg_of(Width::W64)
    }

    pub(super) fn reg_of(&mut self, width: Width) -> Result<Reg, AsmError> {
        let mark = self.mark();
        match self.any_reg()? {
            Some((w, r)) if w == width => Ok(r),
            _ => {
                self.reset(mark);
                Err(self.expected(match width {
                    Width::W64 => "a register r0 to r10",
                    Width::W32 => "a register w0 to w10",
                }))
            }
        }
    }

    /// A decimal or `0x` number with an optional sign; says whether it was hexadecimal.
    pub(super) fn number(&mut self) -> Result<(i128, bool), AsmError> {
        let rest = self.rest();
        let (negative, mut len) = match rest.chars().next() {
            Some('-') => (true, 1),
            Some('+') => (false, 1),
            _ => (false, 0),
        };
        let body = rest.get(len..).unwrap_or("");
        // The kernel leaves a blank between sign and number nowhere, people do.
        let blanks = body.len() - body.trim_start_matches(' ').len();
        len += blanks;
        let body = body.get(blanks..).unwrap_or("");
        let hex = body.starts_with("0x") || body.starts_with("0X");
        let digits = if hex { body.get(2..).unwrap_or("") } else { body };
        let n = digits.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(digits.len());
        let text = digits.get(..n).unwrap_or("");
        let radix = if hex { 16 } else { 10 };
        if text.is_empty() || !text.chars().all(|c| c.is_digit(radix)) {
            return Err(self.expected("a number"));
        }
        let value = i128::from_str_radix(text, radix)
            .map_err(|_| self.error(AsmErrorKind::NumberOutOfRange))?;
        self.advance(len + if hex { 2 } else { 0 } + n);
        Ok((if negative { -value } else { value }, hex))
    }

    /// A 32-bit immediate: signed, or unsigned where written in hexadecimal.
    pub(super) fn imm32(&mut self) -> Result<i32, AsmError> {
        let mark = self.mark();
        let (v, hex) = self.number()?;
        let fits = i32::try_from(v).ok();
        fits.or_else(|| u32::try_from(v).ok().filter(|_| hex).map(|u| u as i32))
            .ok_or_else(|| self.out_of_range(mark))
    }

    /// A number of exactly this type.
    pub(super) fn int<T: TryFrom<i128>>(&mut self) -> Result<T, AsmError> {
        let mark = self.mark();
        let (v, _) = self.number()?;
        T::try_from(v).map_err(|_| self.out_of_range(mark))
    }

    pub(super) fn out_of_range(&mut self, mark: usize) -> AsmError {
        self.reset(mark);
        self.error(AsmErrorKind::NumberOutOfRange)
    }

    /// `u8` to `u64`, or with a sign `s8` to `s64`; true for the signed ones.
    pub(super) fn size(&mut self) -> Result<(Size, bool), AsmError> {
        const NAMES: [(&str, Size); 4] =
            [("8", Size::B), ("16", Size::H), ("32", Size::W), ("64", Size::Dw)];
        let mark = self.mark();
        let signed = if self.eat("u") {
            false
        } else if self.eat("s") {
            true
        } else {
            return Err(self.expected("a size u8 to u64"));
        };
        for (digits, size) in NAMES {
            if self.eat_word(digits) {
                return Ok((size, signed));
            }
        }
        self.reset(mark);
        Err(self.expected("a size u8 to u64"))
    }
}

fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}
