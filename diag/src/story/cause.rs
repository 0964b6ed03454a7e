//! Where the program went wrong, as far as the log shows.

use super::insn::{Op, Reg};
use super::lineage::{Event, Place, What};
use super::operand::number_after;
use super::trace::Trace;
use super::value::Value;
use super::Step;
use crate::explain::{by_name, Code};
use crate::read::Report;

/// A place on the path, or an instruction by its number.
pub enum Cause {
    At(usize),
    Insn(u32),
}

/// The instruction that a message about the program's shape names.
pub fn named_insn(message: &[String]) -> Option<u32> {
    const BEFORE: &[&str] = &[
        "unreachable insn ",
        "infinite loop detected at insn ",
        "back-edge from insn ",
        "jump out of range from insn ",
        "jump into the middle of ldimm64 insn ",
        "insn ",
        "invalid insn idx ",
    ];
    let last = message.last()?;
    // libbpf's words in place of an instruction: `316: <invalid CO-RE relocation>`.
    let replaced = message.iter().find_map(|l| l.split_once(": <").filter(|_| l.ends_with('>')));
    if let Some(insn) = replaced.and_then(|(n, _)| n.parse().ok()) {
        return Some(insn);
    }
    let rest = BEFORE.iter().find_map(|b| last.strip_prefix(b))?;
    rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

/// True if the verifier took the register for a plain number.
pub fn takes_for_scalar(message: &[String]) -> bool {
    message.iter().rev().take(2).any(|l| {
        l.contains("'scalar'")
            || l.contains("'inv'")
            || l.contains("'imm'")
            || l.contains("type=scalar")
            || l.contains("type=inv ")
            || l.contains("must be referenced")
            || l.contains("expected pointer")
            || l.contains("!read_ok")
    })
}

/// The number that was added last to the register at fault, with where it was.
pub fn added(
    trace: &Trace<'_>,
    at: usize,
    register: Option<Reg>,
    events: &[Event],
) -> Option<(usize, Place)> {
    let frame = trace.frame(at);
    if let (Some(Op::Change { to, by: Some(r), .. }), Some(reg)) =
        (trace.line(at).insn_text.and_then(Op::parse), register)
    {
        if to == reg && r != reg {
            return Some((at, Place::Reg(frame, r)));
        }
    }
    let last = events.iter().rev().find(|e| {
        let sum = trace.line(e.at).insn_text.and_then(Op::parse);
        e.what == What::Changed
            && matches!(sum, Some(Op::Change { operator: "+=" | "-=", by: Some(_), .. }))
    })?;
    let r = last.other?;
    Some((last.at, Place::Reg(last.place.frame(), r)))
}

/// The code that 7.3's report stands for where no message is known.
pub fn code_of_report(report: &Report) -> Option<&'static Code> {
    let title = report.title.to_ascii_lowercase();
    let name = match title.as_str() {
        "invalid dereference" if report.reason.contains("NULL") => "register-maybe-null",
        "invalid dereference" if report.reason.contains("integer scalar") => {
            "register-scalar-access"
        }
        "invalid dereference" => "register-not-memory",
        "unreadable register" => "register-uninitialized",
        "access outside bounds" => "memory-bounds",
        "unreleased resource" => "lifetime-leak",
        "invalid call argument" => "call-argument-type",
        _ => return None,
    };
    by_name(name)
}

/// Where the program went wrong.
pub fn find(
    code: Option<&'static Code>,
    message: &[String],
    trace: &Trace<'_>,
    at: usize,
    events: &[Event],
    added: &[Event],
) -> Cause {
    let name = code.map_or("", |c| c.name);
    if name == "lifetime-leak" {
        let acquired = message.iter().find_map(|l| number_after(l, "alloc_insn="));
        if let Some(insn) = acquired.and_then(|n| u32::try_from(n).ok()) {
            return Cause::Insn(insn);
        }
    }
    if let Some(e) = events.iter().rev().find(|e| e.what == What::Invalidated) {
        return Cause::At(e.at);
    }
    let origin = events.first().filter(|e| e.what.is_origin());
    match name {
        "register-scalar-access" if moved_context(trace, events).is_some() => {
            Cause::At(moved_context(trace, events).unwrap_or(at))
        }
        "register-maybe-null"
        | "register-scalar-access"
        | "register-uninitialized"
        | "register-not-memory"
        | "call-argument-type"
        | "call-maybe-null"
        | "call-trusted" => Cause::At(origin.or(events.first()).map_or(at, |e| e.at)),
        "memory-map-value-bounds"
        | "memory-bounds"
        | "memory-negative-index"
        | "memory-unbounded-index"
        | "memory-stack-bounds"
        | "memory-pointer-math" => {
            let numbers = if added.is_empty() { events } else { added };
            // A number that comes out of memory without a bound is where the trouble begins.
            let filled = numbers.last().filter(|e| {
                matches!(e.what, What::Filled | What::Loaded) && name == "memory-pointer-math"
            });
            Cause::At(lost_bound(trace, numbers).or(filled.map(|e| e.at)).unwrap_or(at))
        }
        "memory-misaligned" | "call-map-type" => Cause::At(origin.map_or(at, |e| e.at)),
        "memory-negative-size" | "memory-unbounded-size" | "memory-zero-size" => {
            Cause::At(lost_bound(trace, events).unwrap_or(at))
        }
        "memory-packet-bounds" => {
            let moved = events.iter().rev().find(|e| e.what == What::Changed && e.other.is_some());
            let checked = packet_check(trace, at, message);
            Cause::At(checked.or(moved.map(|e| e.at)).unwrap_or(at))
        }
        "register-modified-pointer" => {
            let changed = events.iter().rev().find(|e| e.what == What::Changed);
            Cause::At(changed.map_or(at, |e| e.at))
        }
        _ => Cause::At(at),
    }
}

/// Where a pointer was moved by a constant on a kernel that takes what comes of it for a number.
pub fn moved_context(trace: &Trace<'_>, events: &[Event]) -> Option<usize> {
    let last = events.last().filter(|e| e.what == What::Changed)?;
    let copy = events.iter().rev().find(|e| e.what == What::Copied && e.at < last.at)?;
    let Some(Op::Copy { from, bits: 64, .. }) = trace.line(copy.at).insn_text.and_then(Op::parse)
    else {
        return None;
    };
    let was = trace.value_before(copy.at, trace.frame(copy.at), &format!("R{from}"))?;
    let constant = trace.line(last.at).insn_text.and_then(Op::parse);
    let is_moved = matches!(constant, Some(Op::Change { operator: "+=", by: None, bits: 64, .. }));
    (is_moved && Value::parse(&was).kind == "ctx").then_some(last.at)
}

/// Where a number lost its bound, or was checked too loosely, or came from.
fn lost_bound(trace: &Trace<'_>, events: &[Event]) -> Option<usize> {
    for pair in events.windows(2).rev() {
        let value = |e: &Event| trace.value_at(e.at, &e.place.name()).map(|v| Value::parse(&v));
        if let (Some(before), Some(after)) = (value(&pair[0]), value(&pair[1])) {
            let lost = before.most().is_some_and(|m| m < 1 << 31)
                && after.most().is_none_or(|m| m >= 1 << 31);
            if lost && pair[1].what != What::Compared {
                return Some(pair[1].at);
            }
        }
    }
    let last = |what: What| events.iter().rev().find(|e| e.what == what);
    let sized = events.first().filter(|e| e.what == What::Constant);
    let bound = events.iter().rev().find(|e| super::needs::is_bound(trace, e));
    bound.or(last(What::Changed)).or(sized).map(|e| e.at)
}

/// The last comparison with the packet's end of a pointer that shares its variable part with the one
/// that the message is about.
pub fn packet_check(trace: &Trace<'_>, at: usize, message: &[String]) -> Option<usize> {
    let text = message.iter().find(|l| l.contains("invalid access to packet"))?;
    let id = number_after(text, "id=").unwrap_or(0);
    let frame = trace.frame(at);
    const FAR: usize = 400;
    (at.saturating_sub(FAR)..at).rev().find(|i| {
        if !trace.is_insn(*i) || trace.frame(*i) != frame {
            return false;
        }
        let op = trace.line(*i).insn_text.and_then(Op::parse);
        let Some(Op::Branch { left, right: Some(right), .. }) = op else { return false };
        // The state behind the branch may stand in a row of its own.
        let after = *i + 1 + usize::from(*i + 2 < trace.len() && !trace.is_insn(*i + 1));
        let value = |r: Reg| trace.value_before(after, frame, &format!("R{r}"));
        let (Some(a), Some(b)) = (value(left), value(right)) else { return false };
        let (a, b) = (Value::parse(&a), Value::parse(&b));
        let pointer = match (a.kind.as_str(), b.kind.as_str()) {
            ("pkt", "pkt_end") => a,
            ("pkt_end", "pkt") => b,
            _ => return false,
        };
        pointer.id.as_deref().and_then(|n| n.parse().ok()).unwrap_or(0) == id
    })
}

/// An instruction by its number, nearest to the end of the path.
pub fn step_of(trace: &Trace<'_>, insn: u32) -> Option<Step> {
    let at = (0..trace.len()).rev().find(|i| trace.is_insn(*i) && trace.insn(*i) == Some(insn))?;
    Some(super::step(trace, at, None))
}
