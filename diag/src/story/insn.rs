//! Instructions as the log prints them, taken apart as far as values are followed.

/// A register's number.
pub type Reg = u8;

/// What an instruction does, by its text.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Op<'a> {
    /// `r1 = r2`, `w1 = w2`, `r1 = (s8)r2`.
    Copy {
        to: Reg,
        from: Reg,
        bits: u8,
    },
    /// `r1 = 7`, `r1 = 0xffff…`.
    Constant {
        to: Reg,
        value: &'a str,
    },
    /// `r1 += r2`, `w1 <<= 3`, `r1 = be16 r1`.
    Change {
        to: Reg,
        by: Option<Reg>,
        operator: &'a str,
        bits: u8,
    },
    /// `r1 = *(u32 *)(r2 +8)`.
    Load {
        to: Reg,
        base: Reg,
        offset: i32,
        size: u8,
    },
    /// `*(u32 *)(r2 +8) = r1`; `None` for a constant.
    Store {
        base: Reg,
        offset: i32,
        size: u8,
        from: Option<Reg>,
    },
    /// An atomic operation; the register that takes the old value.
    Atomic {
        base: Reg,
        offset: i32,
        to: Option<Reg>,
    },
    /// `call bpf_x#1`, `call pc+3`.
    Call(&'a str),
    /// `if r1 > 0x7 goto pc+2`.
    Branch {
        left: Reg,
        right: Option<Reg>,
        words: &'a str,
    },
    Exit,
    /// Writes this register in another way (`r0 = *(u8 *)skb[12]`).
    Other(Option<Reg>),
}

impl<'a> Op<'a> {
    /// Reads `(79) r1 = *(u64 *)(r6 +0)`.
    pub fn parse(text: &'a str) -> Option<Op<'a>> {
        let (_, words) =
            text.split_once(") ").or_else(|| text.strip_prefix("(95)").map(|_| ("", "exit")))?;
        let words = words.trim();
        if let Some(condition) = words.strip_prefix("if ") {
            let mut parts = condition.split(' ');
            let left = parts.next().and_then(register)?;
            let right = parts.nth(1).and_then(register);
            return Some(Op::Branch { left, right, words: condition });
        }
        if let Some(target) = words.strip_prefix("call ") {
            return Some(Op::Call(target.trim()));
        }
        if words == "exit" {
            return Some(Op::Exit);
        }
        if let Some(rest) = words.strip_prefix("lock *(") {
            let (_, base, offset) = access(rest)?;
            return Some(Op::Atomic { base, offset, to: None });
        }
        if let Some(rest) = words.strip_prefix("*(") {
            let (size, base, offset) = access(rest)?;
            let (_, value) = words.split_once(" = ")?;
            return Some(Op::Store { base, offset, size, from: register(value) });
        }
        assignment(words)
    }

    /// The register written, calls aside.
    pub fn written(&self) -> Option<Reg> {
        match self {
            Op::Copy { to, .. } | Op::Constant { to, .. } | Op::Change { to, .. } => Some(*to),
            Op::Load { to, .. } => Some(*to),
            Op::Atomic { to, .. } | Op::Other(to) => *to,
            _ => None,
        }
    }

    /// The register whose memory is accessed.
    pub fn base(&self) -> Option<Reg> {
        match self {
            Op::Load { base, .. } | Op::Store { base, .. } | Op::Atomic { base, .. } => Some(*base),
            _ => None,
        }
    }
}

fn assignment(words: &str) -> Option<Op<'_>> {
    let (left, rest) = words.split_once(' ')?;
    let to = register(left);
    let bits = if left.starts_with('w') { 32 } else { 64 };
    let Some(to) = to else { return Some(Op::Other(None)) };
    let (operator, value) = rest.split_once(' ')?;
    if operator != "=" {
        return Some(Op::Change { to, by: register(value), operator, bits });
    }
    if let Some(from) = register(value) {
        return Some(Op::Copy { to, from, bits });
    }
    if let Some(inner) = value.strip_prefix("*(") {
        return Some(match access(inner) {
            Some((size, base, offset)) => Op::Load { to, base, offset, size },
            None => Op::Other(Some(to)),
        });
    }
    if value.contains("((") {
        let (_, inner) = value.split_once("((")?;
        let (size, base, offset) = access(inner)?;
        return Some(if value.starts_with("load_acquire") {
            Op::Load { to, base, offset, size }
        } else {
            Op::Atomic { base, offset, to: Some(to) }
        });
    }
    if let Some((kind, from)) = value.split_once(')').filter(|_| value.starts_with("(s")) {
        let bits = kind.trim_start_matches("(s").parse().unwrap_or(bits);
        return Some(Op::Copy { to, from: register(from)?, bits });
    }
    if value.starts_with("0x")
        || value.starts_with('-') && value[1..].starts_with(|c: char| c.is_ascii_digit())
        || value.starts_with(|c: char| c.is_ascii_digit())
    {
        return Some(Op::Constant { to, value });
    }
    if value.starts_with('-') || value.split(' ').nth(1).and_then(register) == Some(to) {
        let operator = value.split(' ').next().unwrap_or("-");
        return Some(Op::Change { to, by: None, operator, bits });
    }
    Some(Op::Other(Some(to)))
}

/// `u32 *)(r2 +8)…`: size in bytes, base, offset.
fn access(text: &str) -> Option<(u8, Reg, i32)> {
    let (kind, rest) = text.split_once(" *)(")?;
    let bits: u8 = kind.trim_start_matches(['u', 's']).parse().ok()?;
    let (inner, _) = rest.split_once(')')?;
    let (base, offset) = inner.trim().split_once(' ')?;
    let offset = offset.trim().trim_start_matches('+').parse().ok()?;
    Some((bits / 8, register(base)?, offset))
}

/// `r6`, `w6`, `R6`.
pub fn register(word: &str) -> Option<Reg> {
    let n = word.strip_prefix(['r', 'w', 'R'])?;
    n.parse::<u8>().ok().filter(|n| *n <= 11 && !n.to_string().is_empty())
}

#[cfg(test)]
mod tests {
    use super::Op;

    #[test]
    fn forms() {
        let is = |text, op| assert_eq!(Op::parse(text), Some(op), "{text}");
        is("(bf) r2 = r10", Op::Copy { to: 2, from: 10, bits: 64 });
        is("(bc) w2 = w7", Op::Copy { to: 2, from: 7, bits: 32 });
        is("(bf) r1 = (s8)r2", Op::Copy { to: 1, from: 2, bits: 8 });
        is("(b7) r1 = -3", Op::Constant { to: 1, value: "-3" });
        is("(07) r2 += -4", Op::Change { to: 2, by: None, operator: "+=", bits: 64 });
        is("(0f) r2 += r3", Op::Change { to: 2, by: Some(3), operator: "+=", bits: 64 });
        is("(87) r1 = -r1", Op::Change { to: 1, by: None, operator: "-r1", bits: 64 });
        is("(dc) r1 = be16 r1", Op::Change { to: 1, by: None, operator: "be16", bits: 64 });
        is("(79) r7 = *(u64 *)(r1 +96)", Op::Load { to: 7, base: 1, offset: 96, size: 8 });
        is(
            "(63) *(u32 *)(r10 -4) = r1",
            Op::Store { base: 10, offset: -4, size: 4, from: Some(1) },
        );
        is("(62) *(u32 *)(r10 -4) = 0", Op::Store { base: 10, offset: -4, size: 4, from: None });
        is("(db) lock *(u64 *)(r0 +0) += r1", Op::Atomic { base: 0, offset: 0, to: None });
        let fetch = Op::Atomic { base: 2, offset: 0, to: Some(1) };
        is("(db) r1 = atomic64_fetch_add((u64 *)(r2 +0), r1)", fetch);
        is("(85) call bpf_x#1", Op::Call("bpf_x#1"));
        is("(95) exit", Op::Exit);
        let branch = Op::Branch { left: 1, right: Some(2), words: "r1 > r2 goto pc+2" };
        is("(2d) if r1 > r2 goto pc+2", branch);
        is("(30) r0 = *(u8 *)skb[12]", Op::Other(Some(0)));
        assert_eq!(Op::parse(""), None);
    }
}
