//! What the access needed and what was known, as inequalities in the program's terms.

use super::insn::{Op, Reg};
use super::lineage::{Event, What};
use super::operand::number_after;
use super::trace::Trace;
use super::value::Value;
use super::{Source, Story};

/// Fills in `needs`, `knows` and `fix`.
pub fn measure(
    story: &mut Story,
    trace: &Trace<'_>,
    at: usize,
    register: Option<Reg>,
    events: &[Event],
    added: &[Event],
) {
    let frame = trace.frame(at);
    let value_of =
        |r: Reg| trace.value_before(at, frame, &format!("R{r}")).map(|v| (Value::parse(&v), v));
    let value = register.and_then(value_of);
    let block = story.message.iter().rev().take(3).rev().cloned().collect::<Vec<_>>().join("\n");
    let name = story.code.map_or("", |c| c.name);
    let numbers = if added.is_empty() { events } else { added };
    let (needs, knows) = match name {
        "memory-map-value-bounds"
        | "memory-bounds"
        | "memory-unbounded-index"
        | "memory-negative-index" => object(trace, at, &block, register, numbers),
        "memory-packet-bounds" => packet(&block),
        "memory-stack-bounds" | "memory-stack-uninitialized" => stack(&block),
        "memory-unbounded-size" | "memory-negative-size" | "memory-zero-size" => {
            size(trace, at, name, register, value.as_ref().map(|v| &v.0), numbers)
        }
        "register-maybe-null" | "call-maybe-null" => {
            null(register, value.as_ref().map(|v| v.1.as_str()), events, trace)
        }
        "register-scalar-access" => scalar(register, events, trace),
        "call-argument-type" | "call-untrusted" => types(&block),
        "register-return-value" => returned(&block, value.as_ref().map(|v| &v.0)),
        "register-uninitialized" => (
            register.map(|r| format!("R{r} has a value on every path to this instruction")),
            register.map(|r| unset(r, events, trace)),
        ),
        "lifetime-leak" => leak(&block, trace),
        "program-stack-size" => (
            Some("all frames of a chain of calls together ≤ 512 bytes".into()),
            number_after(&block, "is ")
                .or_else(|| number_after(&block, "size "))
                .map(|n| format!("{n} bytes")),
        ),
        "program-too-complex" => (
            Some("at most 1,000,000 instructions looked at over all paths".into()),
            Some("the verifier was still finding new states when it gave up".into()),
        ),
        _ => (None, None),
    };
    story.needs = needs;
    story.knows = knows;
}

type Pair = (Option<String>, Option<String>);

/// `a[i]: ` from the source line, where there is one.
fn subject(trace: &Trace<'_>, at: usize) -> String {
    const LONGEST: usize = 60;
    match trace.source(at).map(Source::parse) {
        Some(s) if s.text.len() <= LONGEST && !s.text.is_empty() => {
            format!("`{}` needs ", s.text.trim_end_matches([';', '{']).trim())
        }
        _ => String::new(),
    }
}

/// An object of known size, an offset into it, and an access.
fn object(
    trace: &Trace<'_>,
    at: usize,
    block: &str,
    register: Option<Reg>,
    numbers: &[Event],
) -> Pair {
    let limit =
        ["value_size=", "mem_size=", "key_size="].iter().find_map(|w| number_after(block, w));
    let off = number_after(block, "off=");
    let size = number_after(block, "size=");
    let subject = subject(trace, at);
    let Some(limit) = limit else {
        let knows = register.and_then(|r| index_known(trace, at, r, numbers));
        let object =
            register.and_then(|r| trace.value_before(at, trace.frame(at), &format!("R{r}")));
        let limit = object.and_then(|v| Value::parse(&v).size);
        let needs = match limit {
            Some(l) => format!("{subject}0 ≤ index, and index + access size ≤ {l}"),
            None => format!("{subject}0 ≤ index ≤ a constant, on this path"),
        };
        return (Some(needs), knows);
    };
    let size = size.unwrap_or(1);
    let scale = scale(trace, numbers);
    let needs = match scale {
        Some((n, _)) if n > 1 => {
            format!("{subject}0 ≤ {n}·i + offset and {n}·i + offset + {size} ≤ {limit}")
        }
        _ => format!("{subject}0 ≤ offset and offset + {size} ≤ {limit}"),
    };
    let mut knows =
        off.map(|o| format!("the offset may be {o}: {o} + {size} = {} > {limit}", o + size));
    if let Some(o) = off.filter(|o| *o < 0) {
        knows = Some(format!("the offset may be {o}, which is below 0"));
    } else if off.is_some_and(|o| o + size <= limit) {
        knows = off.map(|o| format!("the offset may be {o}"));
    }
    let checked = register.and_then(|r| index_known(trace, at, r, numbers));
    (Some(needs), join(knows, checked))
}

fn join(a: Option<String>, b: Option<String>) -> Option<String> {
    match (a, b) {
        (Some(a), Some(b)) => Some(format!("{a}; {b}")),
        (a, b) => a.or(b),
    }
}

/// What an index was multiplied by, and where.
fn scale(trace: &Trace<'_>, events: &[Event]) -> Option<(u64, usize)> {
    let mut scale = 1u64;
    let mut place = None;
    for e in events.iter().filter(|e| e.what == What::Changed) {
        let text = trace.line(e.at).insn_text?;
        let operand = text.rsplit(' ').next().and_then(|n| match n.strip_prefix("0x") {
            Some(h) => u64::from_str_radix(h, 16).ok(),
            None => n.parse().ok(),
        });
        match (Op::parse(text), operand) {
            (Some(Op::Change { operator: "<<=", .. }), Some(n)) if n < 16 => scale <<= n,
            (Some(Op::Change { operator: "*=", .. }), Some(n)) => scale = scale.saturating_mul(n),
            // A pair of shifts by 32 extends a number.
            _ => continue,
        }
        place.get_or_insert(e.at);
    }
    (scale > 1).then_some((scale, place?))
}

/// True for a comparison that may bound a number: none that asks for NULL.
pub fn is_bound(trace: &Trace<'_>, e: &Event) -> bool {
    let words = trace.line(e.at).insn_text.unwrap_or("");
    e.what == What::Compared && !asks_for_null(words)
}

/// `if r0 == 0x0 goto pc+1`.
pub fn asks_for_null(words: &str) -> bool {
    words.contains(" == 0x0 ")
        || words.contains(" != 0x0 ")
        || words.contains("== 0 goto")
        || words.contains("!= 0 goto")
}

/// The last comparison of the index, and what it proves.
fn index_known(trace: &Trace<'_>, at: usize, register: Reg, numbers: &[Event]) -> Option<String> {
    if let Some(e) = numbers.iter().rev().find(|e| is_bound(trace, e)) {
        let frame = e.place.frame();
        let value = trace.value_at(e.at, &e.place.name()).or_else(|| {
            // The value behind a branch stands in the state that follows.
            (e.at + 1..(e.at + 3).min(trace.len())).find_map(|i| {
                (trace.frame(i) == frame).then(|| trace.value_at(i, &e.place.name())).flatten()
            })
        });
        let place = where_(trace, e.at);
        return Some(match value.map(|v| Value::parse(&v)) {
            Some(v) => format!("{place} proves {} only", bounds(&e.place.name(), &v)),
            None => format!("{place} compares it"),
        });
    }
    let value = trace.value_before(at, trace.frame(at), &format!("R{register}"))?;
    let v = Value::parse(&value);
    let name = format!("R{register}");
    if v.is_pointer() && v.is_fixed() {
        return None;
    }
    Some(format!("no comparison on this path bounds it; {}", bounds(&name, &v)))
}

/// `line 12`, or `insn 7`.
fn where_(trace: &Trace<'_>, at: usize) -> String {
    match trace.source(at).map(Source::parse).and_then(|s| s.line) {
        Some(n) => format!("line {n} (insn {})", trace.insn(at).unwrap_or(0)),
        None => format!("insn {}", trace.insn(at).unwrap_or(0)),
    }
}

/// `0 ≤ R1 ≤ 19`.
pub fn bounds(name: &str, v: &Value) -> String {
    if let Some(c) = v.constant {
        return format!("{name} = {c}");
    }
    let what = if v.is_pointer() { format!("{name}'s offset") } else { name.to_string() };
    match (v.least(), v.most()) {
        (Some(l), Some(m)) => format!("{l} ≤ {what} ≤ {m}"),
        (Some(l), None) => format!("{l} ≤ {what}, no upper bound"),
        (None, Some(m)) => format!("{what} ≤ {m}"),
        (None, None) => match (v.smax, v.smax32) {
            (Some(m), _) => format!("{what} ≤ {m} as a signed number, no lower bound"),
            (None, Some(m)) => format!("only the low 32 bits of {what} ≤ {m}"),
            (None, None) => format!("{what} is any number"),
        },
    }
}

fn packet(block: &str) -> Pair {
    let (Some(off), Some(size)) = (number_after(block, "off="), number_after(block, "size="))
    else {
        return (None, None);
    };
    let proven = number_after(block, "r=");
    let needs = format!(
        "offset + size = {off} + {size} = {} ≤ the bytes proven to be in the packet",
        off + size
    );
    let knows = proven.map(|r| match r {
        0 => "no comparison with data_end counts for this pointer (0 bytes proven)".to_string(),
        r => format!("{r} bytes are proven from where this pointer started"),
    });
    (Some(needs), knows)
}

fn stack(block: &str) -> Pair {
    let off = number_after(block, "off=").or_else(|| number_after(block, "off "));
    let size = number_after(block, "size=").or_else(|| number_after(block, "size "));
    let (Some(off), Some(size)) = (off, size) else { return (None, None) };
    if off < -512 || off + size > 0 {
        let needs = "−512 ≤ offset and offset + size ≤ 0".to_string();
        return (Some(needs), Some(format!("{off} + {size} = {}", off + size)));
    }
    let needs = format!("all {size} bytes from fp{off} on are written before they are read");
    let hole = block
        .split('+')
        .nth(1)
        .and_then(|r| r.split(' ').next())
        .and_then(|n| n.parse::<i64>().ok());
    let knows = match hole {
        Some(h) => format!("byte {h} of them (fp{}) was never written on this path", off + h),
        None => "not all of them were written on this path".to_string(),
    };
    (Some(needs), Some(knows))
}

fn size(
    trace: &Trace<'_>,
    at: usize,
    code: &str,
    register: Option<Reg>,
    value: Option<&Value>,
    numbers: &[Event],
) -> Pair {
    let Some(r) = register else { return (None, None) };
    let least = if code == "memory-zero-size" { 1 } else { 0 };
    let pointer =
        r.checked_sub(1).and_then(|p| trace.value_before(at, trace.frame(at), &format!("R{p}")));
    let room = pointer.map(|v| Value::parse(&v)).and_then(|v| match v.kind.as_str() {
        "fp" => Some(v.offset.unsigned_abs()),
        _ => v.size.map(|s| s.saturating_sub(v.offset.max(0) as u64)),
    });
    let needs = match room {
        Some(n) => format!("{}{least} ≤ size (R{r}) ≤ {n}", subject(trace, at)),
        None => format!("{}{least} ≤ size (R{r}) ≤ the buffer's size", subject(trace, at)),
    };
    let name = format!("R{r}");
    let known = value.map(|v| bounds(&name, v));
    let checked = numbers
        .iter()
        .rev()
        .find(|e| e.what == What::Compared)
        .map(|e| format!("{} looks at it, as {}", where_(trace, e.at), e.place.name()));
    (Some(needs), join(known, checked))
}

fn null(register: Option<Reg>, value: Option<&str>, events: &[Event], trace: &Trace<'_>) -> Pair {
    let Some(r) = register else { return (None, None) };
    let from = events.first().filter(|e| e.what == What::Called).map(|e| {
        let call =
            trace.line(e.at).insn_text.unwrap_or("").rsplit(' ').next().unwrap_or("").to_string();
        format!(
            "R{r} is what {} returned at {}, and it may be NULL",
            super::calls::name(&call),
            where_(trace, e.at)
        )
    });
    let known = from.or_else(|| value.map(|v| format!("R{r} is {v}")));
    (Some(format!("R{r} ≠ NULL")), known)
}

fn scalar(register: Option<Reg>, events: &[Event], trace: &Trace<'_>) -> Pair {
    let Some(r) = register else { return (None, None) };
    let knows = events.first().map(|e| {
        let place = where_(trace, e.at);
        let text = trace.line(e.at).insn_text.unwrap_or("");
        match e.what {
            What::Invalidated => {
                format!("it was a pointer until {place}, whose call makes it a number")
            }
            What::Called => format!("it is the result of a call at {place}"),
            What::Loaded => format!("it was loaded from memory at {place}, as a number"),
            What::Constant => format!("it is a constant, made at {place}: {text}"),
            What::Written => format!("the helper at {place} wrote it to the stack as plain bytes"),
            What::Clobbered => format!("the call at {place} left no value in it"),
            _ => format!("it comes from {place}"),
        }
    });
    (Some(format!("R{r} is a pointer the verifier follows")), knows)
}

fn types(block: &str) -> Pair {
    let Some((r, rest)) = block.lines().rev().find_map(|l| l.split_once(" type=")) else {
        return (None, None);
    };
    let Some((has, wants)) = rest.split_once(" expected=") else { return (None, None) };
    let wants = wants.trim().trim_end_matches('_');
    (Some(format!("{r} is one of: {wants}")), Some(format!("{r} is {has}")))
}

fn returned(block: &str, value: Option<&Value>) -> Pair {
    let range = block.split("should have been in ").nth(1).map(str::trim);
    let needs =
        range.map(|r| format!("the value returned is in {}", r.lines().next().unwrap_or(r)));
    let knows = match (number_after(block, "smin="), number_after(block, "smax=")) {
        (Some(a), Some(b)) if a == b => Some(format!("it is {a}")),
        (Some(a), Some(b)) => Some(format!("it may be anything from {a} to {b}")),
        _ => value.map(|v| bounds("R0", v)).or_else(|| {
            block.contains("unknown scalar").then(|| "it is an unknown number".to_string())
        }),
    };
    (needs, knows)
}

fn unset(r: Reg, events: &[Event], trace: &Trace<'_>) -> String {
    match events.first() {
        Some(e) if e.what == What::Clobbered => {
            format!("the call at {} leaves R1 to R5 without values", where_(trace, e.at))
        }
        _ => format!("nothing on this path writes R{r}"),
    }
}

fn leak(block: &str, trace: &Trace<'_>) -> Pair {
    let id = number_after(block, "id=");
    let from = number_after(block, "alloc_insn=");
    let source = from.and_then(|n| super::cause::step_of(trace, n as u32)).and_then(|s| s.source);
    let what = match (from, source) {
        (Some(n), Some(s)) => format!("what insn {n} acquired (`{}`)", s.text),
        (Some(n), None) => format!("what insn {n} acquired"),
        _ => "what was acquired".to_string(),
    };
    let knows = id.map(|id| format!("reference {id} is still held where this path ends"));
    (Some(format!("{what} is released on every path")), knows)
}
