//! Which register is at fault, also where the message names none.

use super::insn::{Op, Reg};
use super::trace::Trace;
use super::value::Value;

/// The register at fault at position `at` (the rejecting instruction), from the message lines.
pub fn guilty(trace: &Trace<'_>, at: usize, message: &[String]) -> Option<Reg> {
    let op = trace.line(at).insn_text.and_then(Op::parse);
    let named = message.iter().rev().find_map(|l| register_in(l));
    if let Some(Op::Call(_)) = op {
        if let Some(r) = named {
            return Some(size_beside(trace, at, r, message).unwrap_or(r));
        }
        return message.iter().rev().find_map(|l| argument_in(l)).or_else(|| {
            let last = message.last()?;
            // `bpf_kptr_xchg(slot, …)`, `bpf_obj_new(type, …)`.
            if ["referenced kptr", "point to kptr", "type ID argument"]
                .iter()
                .any(|w| last.contains(w))
            {
                return Some(1);
            }
            if last.contains("zero-sized") {
                return size_of_zero(trace, at);
            }
            // What 5.10 to 6.1 say of a map `bpf_tail_call` does not take.
            let of_map = ["map_type", "prog array map", "kernel subsystem misconfigured"];
            of_map.iter().any(|w| last.contains(w)).then(|| map_argument(trace, at)).flatten()
        });
    }
    if named.is_some() {
        return named;
    }
    let last = message.last()?;
    match op? {
        Op::Change { to, by, .. } => {
            // `math between pkt pointer and register …`: the number added is at fault.
            let added = last.starts_with("math between") || last.starts_with("value ");
            let number = by.filter(|r| is_scalar(trace, at, *r)).or(Some(to));
            if added {
                number
            } else {
                Some(to)
            }
        }
        Op::Branch { left, .. } => Some(left),
        Op::Exit => Some(0),
        op => op.base(),
    }
}

/// The argument that is a map.
fn map_argument(trace: &Trace<'_>, at: usize) -> Option<Reg> {
    (1..=5).find(|r| {
        let value = trace.value_before(at, trace.frame(at), &format!("R{r}"));
        value.is_some_and(|v| v.starts_with("map_ptr"))
    })
}

/// The one size beside a pointer that may be zero.
fn size_of_zero(trace: &Trace<'_>, at: usize) -> Option<Reg> {
    let value = |r: Reg| trace.value_before(at, trace.frame(at), &format!("R{r}"));
    let is_memory = |v: String| {
        let other = v.starts_with("ctx") || v.starts_with("map_ptr");
        !other && Value::parse(&v).is_pointer()
    };
    let mut sizes = (2..=5).filter(|r| {
        let may_be_zero = |v: Value| v.is_scalar() && v.least().is_none_or(|least| least <= 0);
        let size = value(*r).map(|v| Value::parse(&v));
        value(r - 1).is_some_and(is_memory) && size.is_some_and(may_be_zero)
    });
    let size = sizes.next()?;
    sizes.next().is_none().then_some(size)
}

fn is_scalar(trace: &Trace<'_>, at: usize, r: Reg) -> bool {
    let value = trace.value_before(at, trace.frame(at), &format!("R{r}"));
    value.is_none_or(|v| Value::parse(&v).is_scalar())
}

/// Where a call was told to use more memory than a fixed pointer has, the size beside it is at fault.
fn size_beside(trace: &Trace<'_>, at: usize, r: Reg, message: &[String]) -> Option<Reg> {
    let block = message.iter().rev().take(3).map(String::as_str).collect::<Vec<_>>().join(" ");
    let size: i64 = number_after(&block, "size=")?;
    let outside = [
        "invalid access to",
        "outside of the",
        "invalid write to stack",
        "invalid indirect",
        "invalid read from stack",
    ];
    if !outside.iter().any(|w| block.contains(w)) || r >= 5 {
        return None;
    }
    let frame = trace.frame(at);
    let value = |n: Reg| trace.value_before(at, frame, &format!("R{n}")).map(|v| Value::parse(&v));
    let (pointer, beside) = (value(r)?, value(r + 1)?);
    let is_size = beside.is_scalar() && beside.most().is_some_and(|m| m as i64 == size);
    (pointer.is_pointer() && pointer.is_fixed() && is_size && size > 0).then_some(r + 1)
}

/// The number behind a word of a message.
pub fn number_after(text: &str, word: &str) -> Option<i64> {
    // `value_size=` ends in `size=` too.
    for (at, _) in text.match_indices(word) {
        let clear = at == 0 || matches!(text.as_bytes()[at - 1], b' ' | b',' | b'(');
        let rest = &text[at + word.len()..];
        let end = rest.char_indices().find(|(i, c)| !(c.is_ascii_digit() || *i == 0 && *c == '-'));
        if let (true, Ok(n)) = (clear, rest[..end.map_or(rest.len(), |(i, _)| i)].parse()) {
            return Some(n);
        }
    }
    None
}

/// The register a message is about: `R6 …`, or `… stack R6 …`.
pub fn register_in(message: &str) -> Option<Reg> {
    let words = message.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words.filter_map(|w| w.strip_prefix('R')).find_map(|n| {
        let n: Reg = n.parse().ok().filter(|_| n.len() <= 2)?;
        (n <= 10).then_some(n)
    })
}

/// `arg#0` is R1, and so is `trusted arg0`.
fn argument_in(message: &str) -> Option<Reg> {
    let after = |words: &str| message.split_once(words).map(|(_, rest)| rest);
    let rest = ["arg#", "arg #", "trusted arg"].into_iter().find_map(after)?;
    let digit = rest.bytes().next().filter(u8::is_ascii_digit)? - b'0';
    // `as arg #1` counts from one.
    let from_one = message.contains("as arg #");
    let reg = if from_one { digit } else { digit + 1 };
    (1..=5).contains(&reg).then_some(reg)
}
