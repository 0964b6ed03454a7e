//! What the access needed and what was known, as inequalities in the program's terms.

use super::fix::bytes;
use super::insn::{Op, Reg};
use super::lineage::{Event, Place, What};
use super::names::{self, Field, Names, Number};
use super::operand::number_after;
use super::trace::Trace;
use super::value::Value;
use super::{Source, Story};

/// A rejecting instruction with what led to it.
#[derive(Clone, Copy)]
pub struct Scene<'s, 't> {
    pub trace: &'s Trace<'t>,
    pub at: usize,
    /// The register at fault, its history, that of the number added to it last, and where it was added.
    pub register: Option<Reg>,
    pub events: &'s [Event],
    pub added: &'s [Event],
    pub added_at: Option<usize>,
    pub names: &'s dyn Names,
}

impl<'s> Scene<'s, '_> {
    /// History of the number that leads outside.
    fn numbers(&self) -> &'s [Event] {
        if self.added.is_empty() {
            self.events
        } else {
            self.added
        }
    }

    /// What a register holds before the rejecting instruction.
    fn value(&self, r: Reg) -> Option<Value> {
        let text = self.trace.value_before(self.at, self.trace.frame(self.at), &format!("R{r}"));
        text.map(|v| Value::parse(&v))
    }

    fn line(&self) -> Option<Source> {
        self.trace.source(self.at).map(Source::parse)
    }

    /// The variable that a register holds at the rejecting instruction.
    fn variable(&self, r: Reg) -> Option<String> {
        self.names.variable(self.trace.insn(self.at)?, r)
    }

    /// What stands on the stack at an offset of the message, which is about the register at fault.
    fn on_stack(&self, offset: i64) -> Option<Field> {
        let of_caller =
            self.register.and_then(|r| self.value(r)).is_some_and(|v| v.frame.is_some());
        let insn = self.trace.insn(self.at)?;
        (!of_caller).then(|| self.names.on_stack(insn, offset)).flatten()
    }
}

/// Fills in `needs`, `knows` and what they are made of.
pub fn measure(story: &mut Story, scene: &Scene<'_, '_>) {
    let Scene { trace, at, register, events, .. } = *scene;
    let value = register.and_then(|r| scene.value(r));
    let block = story.message.iter().rev().take(3).rev().cloned().collect::<Vec<_>>().join("\n");
    let name = story.code.map_or("", |c| c.name);
    let (needs, knows) = match name {
        "memory-map-value-bounds"
        | "memory-bounds"
        | "memory-unbounded-index"
        | "memory-negative-index" => object(story, scene, &block),
        "memory-pointer-math" => math(story, scene),
        "memory-packet-bounds" => packet(&block),
        "memory-stack-bounds" if block.contains("unbounded variable-offset") => {
            unbounded(story, scene)
        }
        "memory-stack-bounds" | "memory-stack-uninitialized" => {
            story.slot = kept_in_slot(trace, at, &block);
            stack(scene, &block)
        }
        "memory-unbounded-size" | "memory-negative-size" | "memory-zero-size" => {
            size(story, scene, name)
        }
        "register-maybe-null" | "call-maybe-null" => null(scene, value.as_ref()),
        "register-scalar-access" => scalar(register, events, trace),
        "call-argument-type" | "call-untrusted" => types(&block),
        "register-return-value" => returned(&block, value.as_ref()),
        "register-uninitialized" => (
            register.map(|r| format!("R{r} has a value on every path to this instruction")),
            register.map(|r| unset(r, events, trace)),
        ),
        "lifetime-leak" => leak(&block, trace),
        "program-stack-size" => (
            Some("all frames of a chain of calls together ≤ 512 bytes".into()),
            number_after(&block, "is ").or_else(|| number_after(&block, "size ")).map(bytes),
        ),
        "program-call-depth" => {
            let own = trace.insn(at);
            let again = (0..at).any(|i| {
                trace.is_insn(i) && trace.insn(i) == own && trace.frame(i) < trace.frame(at)
            });
            let knows = again.then(|| {
                "the function calls itself: the same call is on this path in a frame above"
                    .to_string()
            });
            (Some("at most 8 frames at once".into()), knows)
        }
        "program-too-complex" => (
            Some("at most 1,000,000 instructions looked at over all paths".into()),
            Some("the verifier was still finding new states when it gave up".into()),
        ),
        _ => (None, None),
    };
    story.needs = needs;
    story.knows = knows;
    story.variable = register.and_then(|r| scene.variable(r));
    // An argument that is no number, and is known not to be one, is no size.
    let beside = register.and_then(|r| scene.value(r + 1));
    let pointer = value.as_ref().is_some_and(Value::is_pointer);
    story.has_size = !pointer || is_helper(trace, at) || beside.is_some_and(|v| v.is_scalar());
}

/// True for a call of a helper, whose pointers have sizes beside them or keys and values of their own.
fn is_helper(trace: &Trace<'_>, at: usize) -> bool {
    const MOST: u32 = 1000;
    let number = trace.line(at).insn_text.and_then(|t| t.rsplit_once('#'));
    number.is_some_and(|(_, n)| n.parse::<u32>().is_ok_and(|n| n < MOST))
}

type Pair = (Option<String>, Option<String>);

/// What the inequality is about: ``a[i]`: `, or the source line.
fn subject(scene: &Scene<'_, '_>, number: &Number) -> String {
    const LONGEST: usize = 60;
    if let Some(e) = &number.expression {
        return format!("`{e}`: ");
    }
    match scene.line() {
        Some(s) if s.text.len() <= LONGEST && !s.text.is_empty() => {
            format!("`{}`: ", s.text.trim_end_matches([';', '{']).trim())
        }
        _ => String::new(),
    }
}

/// `4·i + 8`.
fn sum(number: &Number, constant: Option<i64>) -> String {
    let name = number.name.as_deref().unwrap_or("i");
    let term =
        if number.scale > 1 { format!("{}·{name}", number.scale) } else { name.to_string() };
    match constant {
        Some(0) => term,
        Some(c) if c < 0 => format!("{term} − {}", c.unsigned_abs()),
        Some(c) => format!("{term} + {c}"),
        None => format!("{term} + offset"),
    }
}

/// What is added besides the number: the pointer's offset before it, constants after it, and the access' own.
fn constant(scene: &Scene<'_, '_>) -> Option<i64> {
    let (trace, from) = (scene.trace, scene.added_at?);
    let op = trace.line(from).insn_text.and_then(Op::parse)?;
    let Op::Change { to, by, .. } = op else { return None };
    let before = [Some(to), by].into_iter().flatten().find_map(|r| {
        let text = trace.value_before(from, trace.frame(from), &format!("R{r}"))?;
        Some(Value::parse(&text)).filter(Value::is_pointer)
    })?;
    if !before.is_fixed() {
        return None;
    }
    let mut sum = before.offset;
    for e in scene.events.iter().filter(|e| e.at > from && e.what == What::Changed) {
        let text = trace.line(e.at).insn_text?;
        let Some(Op::Change { by: None, operator: "+=", .. }) = Op::parse(text) else {
            return None;
        };
        sum += text.rsplit(' ').next()?.parse::<i64>().ok()?;
    }
    match trace.line(scene.at).insn_text.and_then(Op::parse) {
        Some(Op::Load { offset, .. } | Op::Store { offset, .. } | Op::Atomic { offset, .. }) => {
            Some(sum + i64::from(offset))
        }
        _ => Some(sum),
    }
}

/// An object of known size, an offset into it, and an access.
fn object(story: &mut Story, scene: &Scene<'_, '_>, block: &str) -> Pair {
    let limit =
        ["value_size=", "mem_size=", "key_size="].iter().find_map(|w| number_after(block, w));
    let off = number_after(block, "off=");
    let size = number_after(block, "size=");
    let numbers = scene.numbers();
    let number = names::number(scene.trace, scene.at, numbers, scene.names);
    let is_call = scene.trace.line(scene.at).insn_text.is_some_and(|t| t.contains(") call "));
    let pointer = scene.register.and_then(|r| scene.value(r));
    let is_fixed = scene.added_at.is_none()
        && pointer.as_ref().is_some_and(|p| p.is_pointer() && p.is_fixed());
    if !is_fixed {
        story.number.clone_from(&number.name);
        story.scale = Some(number.scale);
        story.constant = constant(scene);
        story.least = pointer.as_ref().filter(|p| p.is_pointer()).and_then(Value::least);
    }
    let Some(limit) = limit else {
        let knows = index_known(scene, &number);
        let limit = pointer.and_then(|p| p.size);
        let term = sum(&number, story.constant);
        let subject = subject(scene, &number);
        let needs = match limit {
            Some(l) => format!("{subject}0 ≤ {term}, and {term} + the bytes accessed ≤ {l}"),
            None => format!("{subject}0 ≤ {term} ≤ a constant, on this path"),
        };
        return (Some(needs), knows);
    };
    let size = size.unwrap_or(1);
    let field = pointer.as_ref().and_then(|p| {
        let place = if is_fixed { off } else { story.constant.or(Some(p.offset)) };
        scene.names.field(p.map.as_deref()?, place?)
    });
    let number = Number {
        expression: number.expression.clone().or_else(|| element(&number, field.as_ref()?)),
        ..number
    };
    let below = off.is_some_and(|o| o < 0);
    let needs = match (is_call, is_fixed) {
        (true, _) => format!("the bytes passed: offset + {size} ≤ {limit}"),
        (_, true) if below => format!("{}0 ≤ offset", subject(scene, &number)),
        (_, true) => format!("{}offset + {size} ≤ {limit}", subject(scene, &number)),
        _ if below => format!("{}0 ≤ {}", subject(scene, &number), sum(&number, story.constant)),
        _ => format!(
            "{}{} + {size} ≤ {limit}",
            subject(scene, &number),
            sum(&number, story.constant)
        ),
    };
    let reached = match off {
        Some(o) if o < 0 => Some(format!("the offset may be {o}, which is below 0")),
        Some(o) if o + size <= limit => Some(format!("the offset may be {o}")),
        Some(o) if is_fixed => {
            Some(format!("the offset is {o}: {o} + {size} = {} > {limit}", o + size))
        }
        Some(o) => Some(format!("so the offset may be {o}: {o} + {size} = {} > {limit}", o + size)),
        None => None,
    };
    let checked = if is_fixed { None } else { index_known(scene, &number) };
    let elements = elements(&number, field.as_ref(), limit);
    (Some(needs), join(join(checked, reached), elements))
}

/// `slots[i]`, where the number counts the elements of a known array.
fn element(number: &Number, field: &Field) -> Option<String> {
    let name = number.name.as_deref()?;
    let is_counted = field.count.and_then(|n| n.checked_mul(number.scale)) == Some(field.size);
    is_counted.then(|| format!("{}[{name}]", field.name))
}

/// How many elements there are, where the number counts them.
fn elements(number: &Number, field: Option<&Field>, limit: i64) -> Option<String> {
    let (scale, limit) = (number.scale, u64::try_from(limit).ok()?);
    if let Some(f) = field {
        return Some(match f.count {
            Some(n) if n.checked_mul(scale) == Some(f.size) => {
                format!("the array {} has {n} elements", f.said())
            }
            _ => format!("{} has {}", f.said(), bytes(f.size as i64)),
        });
    }
    (scale > 1 && limit.is_multiple_of(scale))
        .then(|| format!("{limit} bytes are {} elements of {scale}", limit / scale))
}

/// A number that is added to a pointer.
fn math(story: &mut Story, scene: &Scene<'_, '_>) -> Pair {
    let Some(r) = scene.register else { return (None, None) };
    let number = names::number(scene.trace, scene.at, scene.numbers(), scene.names);
    story.number.clone_from(&number.name);
    let name = number.name.clone().unwrap_or_else(|| format!("R{r}"));
    let known = scene.value(r).filter(Value::is_scalar).map(|v| bounds(&format!("R{r}"), &v));
    let checked = index_known(scene, &number).filter(|k| !k.starts_with("no comparison"));
    (Some(format!("{}−2^29 < {name} < 2^29", subject(scene, &number))), join(checked, known))
}

/// An index into the stack without a bound.
fn unbounded(story: &mut Story, scene: &Scene<'_, '_>) -> Pair {
    let number = names::number(scene.trace, scene.at, scene.numbers(), scene.names);
    story.number.clone_from(&number.name);
    story.scale = Some(number.scale);
    let needs =
        format!("{}0 ≤ {} < the array's length", subject(scene, &number), sum(&number, Some(0)));
    (Some(needs), index_known(scene, &number))
}

/// What a kernel function keeps in the slot that the message is about.
fn kept_in_slot(trace: &Trace<'_>, at: usize, block: &str) -> Option<String> {
    let off = number_after(block, "off=").or_else(|| number_after(block, "off "))?;
    let slot = off.div_euclid(8) * 8;
    // Of two slots the lower one is printed.
    [slot, slot - 8].into_iter().find_map(|s| {
        let value = trace.value_before(at, trace.frame(at), &format!("fp{s}"))?;
        let kinds =
            [("dynptr", "dynptr"), ("iter", "iterator"), ("irq_flag", "saved interrupt state")];
        kinds.iter().find(|(k, _)| value.starts_with(k)).map(|(_, said)| (*said).to_string())
    })
}

fn join(a: Option<String>, b: Option<String>) -> Option<String> {
    match (a, b) {
        (Some(a), Some(b)) => Some(format!("{a}; {b}")),
        (a, b) => a.or(b),
    }
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

/// The last comparison of the number, and what it proves.
fn index_known(scene: &Scene<'_, '_>, number: &Number) -> Option<String> {
    let Scene { trace, at, register, .. } = *scene;
    if let Some(e) = scene.numbers().iter().rev().find(|e| is_bound(trace, e)) {
        let frame = e.place.frame();
        let value = trace.value_at(e.at, &e.place.name()).or_else(|| {
            // The value behind a branch stands in the state that follows.
            (e.at + 1..(e.at + 3).min(trace.len())).find_map(|i| {
                (trace.frame(i) == frame).then(|| trace.value_at(i, &e.place.name())).flatten()
            })
        });
        let place = where_(trace, e.at);
        let name = number.name.clone().unwrap_or_else(|| e.place.name());
        return Some(match value.map(|v| Value::parse(&v)) {
            Some(v) => format!("{place} proves only {}", bounds(&name, &v)),
            None => format!("{place} compares it"),
        });
    }
    let r = scene.added.last().and_then(|e| match e.place {
        Place::Reg(_, r) => Some(r),
        Place::Slot(..) => None,
    });
    let register = r.or(register)?;
    let value = trace.value_before(
        scene.added_at.unwrap_or(at),
        trace.frame(at),
        &format!("R{register}"),
    )?;
    let v = Value::parse(&value);
    if v.is_pointer() && v.is_fixed() {
        return None;
    }
    let name = number.name.clone().filter(|_| number.scale <= 1);
    let name = name.unwrap_or_else(|| format!("R{register}"));
    Some(format!("no comparison on this path bounds it: {}", bounds(&name, &v)))
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
    // A signed number may be bounded on both sides; a bound that any pointer would pass is none.
    let signed =
        v.smin.and(v.smax).filter(|m| *m < i64::MAX >> 1).and_then(|m| u64::try_from(m).ok());
    let most = v.most().filter(|m| *m <= i64::MAX as u64).or(signed);
    match (v.least(), most) {
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
    let needs = format!(
        "{} of the packet proven, {off} + {size}, from where this pointer started",
        bytes(off + size)
    );
    let knows = number_after(block, "r=").map(|r| match r {
        0 => "none is proven: no comparison with data_end counts for this pointer".to_string(),
        r => format!("{} proven", bytes(r)),
    });
    (Some(needs), knows)
}

fn stack(scene: &Scene<'_, '_>, block: &str) -> Pair {
    let off = number_after(block, "off=").or_else(|| number_after(block, "off "));
    let size = number_after(block, "size=").or_else(|| number_after(block, "size "));
    let (Some(off), Some(size)) = (off, size) else { return (None, None) };
    if block.contains("variable-offset") {
        return variable_offset(block, off, size);
    }
    if off < -512 || off + size > 0 {
        let needs = "−512 ≤ offset and offset + size ≤ 0".to_string();
        let sum = off + size;
        let knows = match sum > 0 {
            true => format!("{off} + {size} = {sum}, {} too many", bytes(sum)),
            false => format!("the offset is {off}"),
        };
        let variable =
            scene.on_stack(off).map(|f| format!("{} has {}", f.said(), bytes(f.size as i64)));
        return (Some(needs), join(Some(knows), variable));
    }
    let needs = format!("{} from fp{off} on written before they are read", bytes(size));
    let hole = block
        .split('+')
        .nth(1)
        .and_then(|r| r.split(' ').next())
        .and_then(|n| n.parse::<i64>().ok());
    let knows = match hole {
        Some(h) => {
            let of = scene.on_stack(off + h).map_or(String::new(), |f| format!(", {}", f.said()));
            format!("byte {h} of them (fp{}{of}) was never written on this path", off + h)
        }
        None => "not all of them were written on this path".to_string(),
    };
    (Some(needs), Some(knows))
}

/// An access to the stack at a number that is known within bounds.
fn variable_offset(block: &str, off: i64, size: i64) -> Pair {
    let mask = block.split("; 0x").nth(1).and_then(|m| m.split(')').next());
    let most = mask.and_then(|m| i64::from_str_radix(m, 16).ok());
    let needs = format!("−512 ≤ {off} + i, and {off} + i + {size} ≤ 0");
    let knows = most.map(|m| {
        let end = off.saturating_add(m).saturating_add(size);
        match end > 0 {
            true => format!("i may be up to {m}: {off} + {m} + {size} = {end} > 0"),
            false => format!("i may be up to {m}"),
        }
    });
    (Some(needs), knows)
}

fn size(story: &mut Story, scene: &Scene<'_, '_>, code: &str) -> Pair {
    let Some(r) = scene.register else { return (None, None) };
    let trace = scene.trace;
    let least = if code == "memory-zero-size" { 1 } else { 0 };
    let pointer = r.checked_sub(1).and_then(|p| scene.value(p));
    let room = pointer.and_then(|v| match v.kind.as_str() {
        "fp" => Some(v.offset.unsigned_abs()),
        _ => v.size.map(|s| s.saturating_sub(v.offset.max(0) as u64)),
    });
    let number = names::number(trace, scene.at, scene.numbers(), scene.names);
    // A line that has an index and a size may mean either.
    let name = number.name.clone().filter(|_| number.expression.is_none());
    story.number.clone_from(&name);
    let name = name.map_or_else(|| format!("size (R{r})"), |n| format!("{n} (the size, R{r})"));
    let subject = subject(scene, &Number { expression: None, ..number });
    let needs = match room {
        Some(n) => format!("{subject}{least} ≤ {name} ≤ {n}"),
        None => format!("{subject}{least} ≤ {name} ≤ the buffer's size"),
    };
    let known = scene.value(r).map(|v| bounds(&format!("R{r}"), &v));
    let checked = scene
        .numbers()
        .iter()
        .rev()
        .find(|e| e.what == What::Compared)
        .map(|e| format!("{} looks at it, as {}", where_(trace, e.at), e.place.name()));
    (Some(needs), join(known, checked))
}

fn null(scene: &Scene<'_, '_>, value: Option<&Value>) -> Pair {
    let Scene { trace, register, events, .. } = *scene;
    let Some(r) = register else { return (None, None) };
    let name = scene.variable(r).map_or_else(|| format!("R{r}"), |n| format!("`{n}` (R{r})"));
    let from = events.first().filter(|e| e.what == What::Called).map(|e| {
        let call =
            trace.line(e.at).insn_text.unwrap_or("").rsplit(' ').next().unwrap_or("").to_string();
        format!(
            "{name} is what {} returned at {}, and it may be NULL",
            super::calls::name(&call),
            where_(trace, e.at)
        )
    });
    let known = from.or_else(|| value.map(|v| format!("{name} is {}", v.kind)));
    (Some(format!("{name} ≠ NULL")), known)
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
            _ if e.what.is_origin() || e.what == What::Copied => format!("it comes from {place}"),
            _ => "it is a number on every line shown; where it was made is not in the text".into(),
        }
    });
    (Some(format!("R{r} is a pointer the verifier follows")), knows)
}

fn types(block: &str) -> Pair {
    let Some((r, rest)) = block.lines().rev().find_map(|l| l.split_once(" type=")) else {
        return (None, None);
    };
    let Some((has, wants)) = rest.split_once(" expected=") else { return (None, None) };
    let needs = format!("{r} is {}", super::fix::kinds(wants.trim()));
    (Some(needs), Some(format!("{r} is {}", super::fix::kind(has))))
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
