//! Signs that the program has checked, and the verifier did not keep it.  Each is something seen on the path.

use super::cause::packet_check;
use super::insn::{Op, Reg};
use super::lineage::{Event, What};
use super::operand::number_after;
use super::trace::Trace;
use super::value::Value;
use super::Story;

/// A number below this counts as bounded.
const BOUNDED: u64 = 1 << 31;

/// The evidence that the verifier lost what the program proves.
pub fn of(
    story: &Story,
    trace: &Trace<'_>,
    events: &[Event],
    added: &[Event],
    at: Option<usize>,
) -> Option<String> {
    let at = at?;
    match story.code?.name {
        "memory-packet-bounds" => packet(story, trace, at),
        "register-maybe-null" | "call-maybe-null" => other_copy_tested(trace, events, at),
        "memory-map-value-bounds"
        | "memory-bounds"
        | "memory-unbounded-index"
        | "memory-negative-index"
        | "memory-pointer-math"
        | "memory-unbounded-size"
        | "memory-negative-size"
        | "memory-zero-size" => {
            let chains = [events, added];
            let mut chains = chains.iter().filter(|c| !c.is_empty());
            chains
                .clone()
                .find_map(|c| spilled(trace, c))
                .or_else(|| chains.find_map(|c| copy_checked(trace, c, at)))
                .or_else(|| {
                    is_call(trace, at).then(|| sum_checked(trace, events, added, at)).flatten()
                })
        }
        _ => None,
    }
}

fn packet(story: &Story, trace: &Trace<'_>, at: usize) -> Option<String> {
    if let Some(insn) = is_call(trace, at).then(|| super::class::difference(trace, at)).flatten() {
        return Some(format!("the length is the distance to data_end itself (insn {insn}), and the verifier does not connect the two"));
    }
    let text = story.message.iter().find(|l| l.contains("invalid access to packet"))?;
    let unproven = number_after(text, "r=") == Some(0);
    let moved = number_after(text, "id=").is_some_and(|id| id > 0);
    packet_check(trace, at, &story.message).filter(|_| unproven && moved)?;
    Some(
        "a comparison with data_end is on the way of this pointer, and its proof was not kept"
            .into(),
    )
}

/// The bound was known when the number went to the stack, and is not when it comes back.
fn spilled(trace: &Trace<'_>, events: &[Event]) -> Option<String> {
    let pair =
        events.windows(2).find(|p| p[0].what == What::Spilled && p[1].what == What::Filled)?;
    let (spill, fill) = (&pair[0], &pair[1]);
    let from = match trace.line(spill.at).insn_text.and_then(Op::parse)? {
        Op::Store { from: Some(r), .. } => r,
        _ => return None,
    };
    let frame = trace.frame(spill.at);
    let before = trace.value_before(spill.at, frame, &format!("R{from}"))?;
    let to = trace.line(fill.at).insn_text.and_then(Op::parse).and_then(|o| o.written())?;
    let after = trace.value_at(fill.at, &format!("R{to}"))?;
    let bounded = |v: &str| Value::parse(v).most().is_some_and(|m| m < BOUNDED);
    (bounded(&before) && !bounded(&after)).then(|| {
        format!(
            "the bound was known when the number went to the stack (insn {}), and the verifier does not keep it there (insn {})",
            trace.insn(spill.at).unwrap_or(0),
            trace.insn(fill.at).unwrap_or(0)
        )
    })
}

/// The check was made on the number before it was masked into a register of its own.
fn copy_checked(trace: &Trace<'_>, events: &[Event], at: usize) -> Option<String> {
    let copy = events.iter().rev().find(|e| matches!(e.what, What::Copied | What::Truncated))?;
    let masked =
        events.iter().find(|e| e.at > copy.at && e.what == What::Changed && is_mask(trace, e))?;
    let Some(Op::Copy { to, from, .. }) = trace.line(copy.at).insn_text.and_then(Op::parse) else {
        return None;
    };
    let frame = trace.frame(copy.at);
    let check = (masked.at..at).find(|i| {
        let same = trace.is_insn(*i) && trace.frame(*i) == frame;
        same && compares(trace, *i, from) && !compares(trace, *i, to)
    })?;
    let written = |i: usize| {
        let op = trace.line(i).insn_text.and_then(Op::parse);
        trace.frame(i) == frame && op.is_some_and(|o| o.written() == Some(from))
    };
    if (copy.at + 1..check).any(written) {
        return None;
    }
    Some(format!(
        "the check (insn {}) is on R{from}, the number used is R{to}, a copy masked before it (insn {}); the verifier does not connect the two",
        trace.insn(check).unwrap_or(0),
        trace.insn(masked.at).unwrap_or(0)
    ))
}

/// The check was made on the sum of two numbers; the verifier keeps the bounds of each alone.
fn sum_checked(trace: &Trace<'_>, events: &[Event], added: &[Event], at: usize) -> Option<String> {
    const FAR: usize = 64;
    let index = added.last().or(events.last())?.place;
    let frame = trace.frame(at);
    let pair = (at.saturating_sub(FAR)..at).rev().find_map(|i| {
        let Some(Op::Change { to, by: Some(by), operator: "+=", .. }) =
            trace.line(i).insn_text.and_then(Op::parse)
        else {
            return None;
        };
        let number = |r: Reg| {
            trace
                .value_before(i, frame, &format!("R{r}"))
                .is_some_and(|v| Value::parse(&v).is_scalar())
        };
        let is_index = index.name() == format!("R{by}") || index.name() == format!("R{to}");
        let both = trace.frame(i) == frame && is_index && number(to) && number(by);
        let check = (i + 1..at)
            .find(|j| trace.is_insn(*j) && trace.frame(*j) == frame && compares(trace, *j, to))?;
        both.then_some((i, check))
    })?;
    Some(format!(
        "the check (insn {}) is on a sum (insn {}); the verifier keeps the bounds of each number, not of their sum",
        trace.insn(pair.1).unwrap_or(0),
        trace.insn(pair.0).unwrap_or(0)
    ))
}

fn is_call(trace: &Trace<'_>, at: usize) -> bool {
    trace.line(at).insn_text.is_some_and(|t| t.contains(") call "))
}

fn is_mask(trace: &Trace<'_>, e: &Event) -> bool {
    let op = trace.line(e.at).insn_text.and_then(Op::parse);
    matches!(op, Some(Op::Change { operator: "&=" | "%=", by: None, .. }))
}

/// True if the instruction is a branch on the register, other than one that asks for zero.
fn compares(trace: &Trace<'_>, at: usize, r: Reg) -> bool {
    let text = trace.line(at).insn_text.unwrap_or("");
    match Op::parse(text) {
        Some(Op::Branch { left, right, .. }) => {
            (left == r || right == Some(r)) && !super::needs::asks_for_null(text)
        }
        _ => false,
    }
}

/// A copy of the pointer is tested for NULL, and the one used is not known to be the same.
fn other_copy_tested(trace: &Trace<'_>, events: &[Event], at: usize) -> Option<String> {
    let copy = events.iter().rev().find(|e| e.what == What::Copied)?;
    let Some(Op::Copy { to, from, .. }) = trace.line(copy.at).insn_text.and_then(Op::parse) else {
        return None;
    };
    let frame = trace.frame(copy.at);
    let own = |i: &usize| trace.is_insn(*i) && trace.frame(*i) == frame;
    let test = (copy.at + 1..at).filter(own).find(|i| {
        let text = trace.line(*i).insn_text.unwrap_or("");
        let is_left = matches!(Op::parse(text), Some(Op::Branch { left, .. }) if left == from);
        is_left && super::needs::asks_for_null(text)
    })?;
    let written = |i: usize| {
        let op = trace.line(i).insn_text.and_then(Op::parse);
        op.is_some_and(|o| o.written() == Some(from) || matches!(o, Op::Call(_)))
    };
    let again = (copy.at + 1..test).filter(own).any(written);
    (!again).then(|| {
        format!(
            "R{from} is tested for NULL (insn {}), and R{to}, a copy of it, is used; this kernel does not know that they are the same",
            trace.insn(test).unwrap_or(0)
        )
    })
}
