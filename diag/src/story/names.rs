//! What numbers and pointers are called: by type and debug information, else by the source line.

use super::fix::assigned;
use super::insn::Op;
use super::lineage::{Event, Place, What};
use super::trace::Trace;
use super::Source;

/// What is known of a program beyond its log.
pub trait Names {
    /// The variable that a register holds before an instruction.
    fn variable(&self, insn: u32, register: u8) -> Option<String>;
    /// What stands at an offset of a map's value.
    fn field(&self, map: &str, offset: i64) -> Option<Field>;
    /// The variable whose byte stands at an offset from the frame pointer, before an instruction.
    fn on_stack(&self, insn: u32, offset: i64) -> Option<Field>;
    /// What stands at an offset of the context; its name begins with that of the context's type.
    fn in_context(&self, offset: i64) -> Option<Field>;
}

/// A variable, or a member of one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Field {
    /// `slots`, `header.kind`.
    pub name: String,
    /// First byte, from where the whole begins, and bytes.
    pub offset: i64,
    pub size: u64,
    /// Elements of an array.
    pub count: Option<u64>,
    /// The byte asked for is between members; the rest is about the whole.
    pub is_padding: bool,
}

impl Field {
    /// `` `e.kind` ``, or what it is the padding of.
    pub fn said(&self) -> String {
        match self.is_padding {
            true => format!("the padding of `{}`", self.name),
            false => format!("`{}`", self.name),
        }
    }
}

/// A log alone.
pub struct Unknown;

impl Names for Unknown {
    fn variable(&self, _insn: u32, _register: u8) -> Option<String> {
        None
    }

    fn field(&self, _map: &str, _offset: i64) -> Option<Field> {
        None
    }

    fn on_stack(&self, _insn: u32, _offset: i64) -> Option<Field> {
        None
    }

    fn in_context(&self, _offset: i64) -> Option<Field> {
        None
    }
}

/// A number in the program's terms.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Number {
    /// The variable; None where nothing names it.
    pub name: Option<String>,
    /// `a[i]`, if the line has it.
    pub expression: Option<String>,
    /// What the variable was multiplied by.
    pub scale: u64,
}

/// Names the number whose history is given, as used at position `at`.
pub fn number(trace: &Trace<'_>, at: usize, numbers: &[Event], names: &dyn Names) -> Number {
    let line = |i: usize| trace.source(i).map(Source::parse);
    let own = line(at);
    if let Some((name, from)) = variable(trace, numbers, names) {
        let expression = own.and_then(|s| indexed(&s.text)).filter(|(_, i)| has_word(i, &name));
        let expression = expression.map(|(e, _)| e);
        return Number { name: Some(name), expression, scale: scale(trace, &numbers[from..]) };
    }
    if let Some((expression, index)) = own.as_ref().and_then(|s| indexed(&s.text)) {
        let from = numbers.iter().position(|e| line(e.at).is_some_and(|s| Some(s) == own));
        let scale = scale(trace, &numbers[from.unwrap_or(0)..]);
        return Number { name: Some(index), expression: Some(expression), scale };
    }
    let makes = |e: &Event| {
        e.what.is_origin() || matches!(e.what, What::Changed | What::Copied | What::Truncated)
    };
    let named = numbers.iter().filter(|e| makes(e)).find_map(|e| {
        let source = line(e.at)?;
        Some((assigned(Some(&source))?, source))
    });
    let Some((name, source)) = named else {
        return Number { name: None, expression: None, scale: scale(trace, numbers) };
    };
    // What its own line does to it is part of it.
    let last = numbers.iter().rposition(|e| line(e.at).as_ref() == Some(&source));
    let scale = scale(trace, &numbers[last.map_or(0, |l| l + 1)..]);
    Number { name: Some(name), expression: None, scale }
}

/// The last variable that held the number, and from which event on it was computed with.
fn variable(trace: &Trace<'_>, numbers: &[Event], names: &dyn Names) -> Option<(String, usize)> {
    let of = |i: usize, e: &Event| {
        let Place::Reg(_, r) = e.place else { return None };
        let insn = trace.insn(e.at)?;
        let before = || names.variable(insn, r).filter(|_| e.what == What::Compared);
        let after = names.variable(insn + 1, r).map(|n| (n, i + 1));
        after.or_else(|| before().map(|n| (n, i)))
    };
    numbers.iter().enumerate().rev().find_map(|(i, e)| of(i, e))
}

/// What an index was multiplied by.
fn scale(trace: &Trace<'_>, events: &[Event]) -> u64 {
    let mut scale = 1u64;
    for e in events.iter().filter(|e| e.what == What::Changed) {
        let Some(text) = trace.line(e.at).insn_text else { continue };
        let operand = text.rsplit(' ').next().and_then(|n| match n.strip_prefix("0x") {
            Some(h) => u64::from_str_radix(h, 16).ok(),
            None => n.parse().ok(),
        });
        match (Op::parse(text), operand) {
            // A pair of shifts by 32 extends a number.
            (Some(Op::Change { operator: "<<=", .. }), Some(n)) if n < 16 => {
                scale = scale.saturating_mul(1 << n);
            }
            (Some(Op::Change { operator: "*=", .. }), Some(n)) => scale = scale.saturating_mul(n),
            _ => {}
        }
    }
    scale.max(1)
}

/// `a->b[i]` and `i`, if a line indexes once, with something that is not constant.
pub fn indexed(text: &str) -> Option<(String, String)> {
    const LONGEST: usize = 40;
    let open = text.find('[')?;
    let close = open + text[open..].find(']')?;
    if text[close + 1..].contains('[') {
        return None;
    }
    let index = text[open + 1..close].trim();
    let is_part = |c: char| c.is_ascii_alphanumeric() || "_.->".contains(c);
    let is_plain = index.chars().all(is_part) && index.starts_with(|c: char| !c.is_ascii_digit());
    let start = text[..open]
        .rfind(|c| !is_part(c))
        .map_or(0, |i| i + text[i..].chars().next().map_or(1, char::len_utf8));
    let array = text[start..open].trim_start_matches(['-', '>', '.']);
    let is_declared =
        text[..start].trim_end().ends_with(|c: char| c.is_ascii_alphanumeric() || c == '*');
    if index.is_empty()
        || !is_plain
        || array.is_empty()
        || array.len() > LONGEST
        || index.len() > LONGEST
        || is_declared && !text[..start].trim_end().ends_with("return")
    {
        return None;
    }
    Some((format!("{array}[{index}]"), index.to_string()))
}

fn has_word(text: &str, word: &str) -> bool {
    text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).any(|w| w == word)
}

#[cfg(test)]
mod tests {
    use super::indexed;

    #[test]
    fn what_a_line_indexes() {
        let is = |text, want: Option<(&str, &str)>| {
            let want = want.map(|(a, b)| (a.to_string(), b.to_string()));
            assert_eq!(indexed(text), want, "{text}");
        };
        is("return cfg->slots[selector] ? 1 : 2;", Some(("cfg->slots[selector]", "selector")));
        is("x = args->id[args->index];", Some(("args->id[args->index]", "args->index")));
        is("x = *a[2];", None);
        is("char buf[LEN];", None);
        is("a[i] = b[i];", None);
        is("x = a[i + 1];", None);
        is("x = y;", None);
        is("é[i]", Some(("[i]", "i")).filter(|_| false));
    }
}
