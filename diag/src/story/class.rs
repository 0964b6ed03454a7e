//! Whose fault it is: the source's, the compiler's, the verifier's, a limit's, the environment's.
//!
//! Each verdict has its evidence; without any there is none.

use super::imprecise;
use super::insn::Op;
use super::lineage::{Event, What};
use super::operand::number_after;
use super::trace::Trace;
use super::value::Value;
use super::Story;
use crate::explain::Code;

/// The class of a rejection.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Class {
    Source,
    /// The compiler moved, widened, merged or dropped something.
    Lowering,
    /// The program is right, and the verifier cannot see it.
    Imprecision,
    /// The verifier's own limits.
    Limit,
    /// Kernel, configuration, rights, the way it was loaded.
    Environment,
}

impl Class {
    /// The word in the JSON contract.
    pub fn as_str(self) -> &'static str {
        match self {
            Class::Source => "source",
            Class::Lowering => "lowering",
            Class::Imprecision => "imprecision",
            Class::Limit => "limit",
            Class::Environment => "environment",
        }
    }

    pub fn title(self) -> &'static str {
        match self {
            Class::Source => "the program's source",
            Class::Lowering => "the compiler's lowering",
            Class::Imprecision => "the verifier's imprecision",
            Class::Limit => "a limit of the verifier",
            Class::Environment => "the environment",
        }
    }
}

/// Classes that a code alone decides.
const BY_CODE: &[(&str, Class, &str)] = &[
    (
        "policy-helper",
        Class::Environment,
        "which helpers there are depends on program type and kernel",
    ),
    (
        "policy-kfunc",
        Class::Environment,
        "which kernel functions may be called depends on program type and kernel",
    ),
    ("policy-capability", Class::Environment, "the loading user lacks a capability"),
    ("policy-unprivileged", Class::Environment, "only unprivileged loads are held to this"),
    ("policy-jit", Class::Environment, "it depends on the JIT of this machine"),
    ("policy-attach", Class::Environment, "the kernel keeps this place closed"),
    ("policy-licence", Class::Environment, "it depends on the licence declared, not on the code"),
    (
        "register-pointer-comparison",
        Class::Environment,
        "only loads without CAP_PERFMON are held to this",
    ),
    (
        "register-pointer-leak",
        Class::Environment,
        "only loads without CAP_PERFMON are held to this",
    ),
    ("call-unknown-helper", Class::Environment, "this kernel has no such helper"),
    ("call-unknown-kfunc", Class::Environment, "this kernel has no such function"),
    ("call-poisoned", Class::Environment, "this kernel lacks what the relocation asks for"),
    ("call-function-model", Class::Environment, "it depends on the kernel function's signature"),
    (
        "program-instruction",
        Class::Environment,
        "compiler and kernel disagree on the instruction set",
    ),
    (
        "program-func-info",
        Class::Environment,
        "type information and program were not built together",
    ),
    (
        "program-line-info",
        Class::Environment,
        "line information and program were not built together",
    ),
    ("program-kernel-symbol", Class::Environment, "this kernel lacks the symbol or its type"),
    (
        "program-attach-target",
        Class::Environment,
        "it depends on what this kernel has to attach to",
    ),
    ("program-extension", Class::Environment, "it depends on the program attached to"),
    ("program-core-relocation", Class::Environment, "it depends on the types of this kernel"),
    ("program-map-reference", Class::Environment, "the loader did not put a map in place"),
    ("program-too-complex", Class::Limit, "the budget ran out, no rule was broken"),
    ("program-stack-size", Class::Limit, "the stack is limited to 512 bytes"),
    ("program-call-depth", Class::Limit, "eight frames are the limit"),
    ("program-subprograms", Class::Limit, "the number or kind of functions is limited"),
    (
        "register-mixed-pointers",
        Class::Lowering,
        "the compiler joined two accesses into one instruction",
    ),
    (
        "register-modified-pointer",
        Class::Lowering,
        "the compiler computed the field's address before the access",
    ),
    (
        "memory-misaligned",
        Class::Lowering,
        "the compiler chose a wider access than the object is aligned for",
    ),
];

/// The class that a code alone decides.
pub fn class_of(code: &Code) -> Option<Class> {
    BY_CODE.iter().find(|(n, _, _)| *n == code.name).map(|(_, class, _)| *class)
}

/// Decides, with the evidence.
pub fn decide(
    story: &mut Story,
    trace: &Trace<'_>,
    events: &[Event],
    added: &[Event],
    at: Option<usize>,
) {
    let found = of(story, trace, events, added, at);
    if let Some((class, why)) = found {
        story.class = Some(class);
        story.why_class = Some(why);
    }
}

fn of(
    story: &Story,
    trace: &Trace<'_>,
    events: &[Event],
    added: &[Event],
    at: Option<usize>,
) -> Option<(Class, String)> {
    let code = story.code?;
    if let Some((_, class, why)) = BY_CODE.iter().find(|(n, _, _)| *n == code.name) {
        return Some((*class, (*why).to_string()));
    }
    if code.name.starts_with("load-") {
        return Some((Class::Environment, "the verifier was never asked".into()));
    }
    if story.message.last().is_some_and(|l| l.starts_with("last insn is not an exit")) {
        return Some((
            Class::Lowering,
            "a function ends without a return: the compiler dropped the rest of it".into(),
        ));
    }
    if code.name.starts_with("verifier-") {
        return None;
    }
    let moved = super::cause::moved_context(trace, events);
    if let (Some(insn), "register-scalar-access") = (moved.and_then(|i| trace.insn(i)), code.name) {
        return Some((
            Class::Lowering,
            format!("the compiler computed the address of a context's field first (insn {insn}), and kernels before 4.14 make a number of that"),
        ));
    }
    let last_line = story.message.last().map_or("", String::as_str);
    if last_line.ends_with("cannot be patched due to 16-bit range") {
        return Some((
            Class::Limit,
            "a jump reaches 32767 instructions, and the kernel's own rewriting puts some in".into(),
        ));
    }
    let in_callee = at.filter(|i| trace.frame(*i) > 0).and_then(|i| trace.line(i).insn_text);
    if last_line.ends_with("bpf_rcu_read_unlock is missing")
        && in_callee.is_some_and(|t| t.contains("exit"))
    {
        return Some((
            Class::Imprecision,
            "the exit is that of a function inside the program, which kernels before 6.8 take for the program's own".into(),
        ));
    }
    if let Some(why) = at.and_then(|at| checked_in_source(story, trace, at)) {
        return Some((Class::Lowering, why));
    }
    if let Some(why) = lowered(trace, events, added, at) {
        return Some((Class::Lowering, why));
    }
    let last = story.message.last().map_or("", String::as_str);
    let is_wide = last.starts_with("invalid bpf_context access") && last.ends_with("size=8");
    let is_load = story.at.as_ref().is_some_and(|a| a.text.contains(" = *(u64 *)("));
    let one_field = story.at.as_ref().and_then(|a| a.source.as_ref()).is_some_and(|s| {
        s.text.contains("->") && !["u64", "long", "args", "PARM"].iter().any(|w| s.text.contains(w))
    });
    if is_wide && is_load && one_field {
        return Some((
            Class::Lowering,
            "one instruction reads 8 bytes where the line names a field: the compiler joined two"
                .into(),
        ));
    }
    if let Some(why) = environment(story, trace, events) {
        return Some((Class::Environment, why));
    }
    if let Some(why) = imprecise::of(story, trace, events, added, at) {
        return Some((Class::Imprecision, why));
    }
    // Where a bound is missing, only the instructions tell who lost it.
    const BOUNDS: &[&str] = &[
        "memory-map-value-bounds",
        "memory-bounds",
        "memory-packet-bounds",
        "memory-unbounded-index",
        "memory-negative-index",
        "memory-pointer-math",
        "memory-unbounded-size",
        "memory-negative-size",
    ];
    if trace.len() == 0 && BOUNDS.contains(&code.name) {
        return None;
    }
    Some((Class::Source, source(story, code.name, events, trace.len() > 0)))
}

/// The source line has the check, and the instructions have it in another form.
fn checked_in_source(story: &Story, trace: &Trace<'_>, at: usize) -> Option<String> {
    let line = story.at.as_ref()?.source.as_ref()?.text.as_str();
    match story.code?.name {
        "memory-packet-bounds"
            if line.contains("data_end")
                && story.at.as_ref().is_some_and(|a| !a.text.contains(") call ")) =>
        {
            let insn = difference(trace, at)?;
            Some(format!("the source compares with data_end, and the compiler made of it a comparison of the difference of two pointers (insn {insn}), which proves nothing"))
        }
        "memory-unbounded-index" | "memory-map-value-bounds" | "memory-bounds" => {
            let (_, index) = line.split_once('[')?;
            let index = &index[..index.rfind(']')?];
            let is_mask = |i: usize| {
                index.as_bytes().get(i + 1) == Some(&b' ') && index[..i].ends_with([' ', ')'])
            };
            let masked = index.match_indices('&').any(|(i, _)| is_mask(i));
            let frame = trace.frame(at);
            let base = trace.line(at).insn_text.and_then(Op::parse).and_then(|o| o.base())?;
            let v = Value::parse(&trace.value_before(at, frame, &format!("R{base}"))?);
            let open = v.is_pointer() && v.most().is_none_or(|m| m >= u64::from(u32::MAX));
            (masked && open).then(|| "the source masks the index in this very line, and the compiler put the mask elsewhere or left it out".into())
        }
        _ => None,
    }
}

/// Where the distance from a packet pointer to the packet's end became a number.
pub fn difference(trace: &Trace<'_>, at: usize) -> Option<u32> {
    const FAR: usize = 200;
    let frame = trace.frame(at);
    (at.saturating_sub(FAR)..at).rev().find_map(|i| {
        if !trace.is_insn(i) || trace.frame(i) != frame {
            return None;
        }
        let Some(Op::Change { by: Some(by), operator: "-=", .. }) =
            trace.line(i).insn_text.and_then(Op::parse)
        else {
            return None;
        };
        // The pointer that is taken away keeps its kind.
        let value = trace.value_before(at, frame, &format!("R{by}"))?;
        Value::parse(&value).kind.starts_with("pkt").then(|| trace.insn(i)).flatten()
    })
}

/// Signs of the compiler's hand on the way of the value.
fn lowered(
    trace: &Trace<'_>,
    events: &[Event],
    added: &[Event],
    at: Option<usize>,
) -> Option<String> {
    let own = at.map(|i| (i, trace.line(i).insn_text.and_then(Op::parse)));
    if let Some((i, Some(Op::Change { operator, bits, .. }))) = &own {
        let was =
            events.last().and_then(|e| trace.value_before(*i, trace.frame(*i), &e.place.name()));
        let pointer = was.is_none_or(|v| Value::parse(&v).is_pointer());
        let narrow = *bits == 32 || matches!(*operator, "<<=" | ">>=" | "s>>=" | "|=" | "&=");
        if pointer && narrow {
            return Some(match *operator {
                "|=" => "the compiler made an `|` of an addition to an address".into(),
                _ => "a pointer is computed in 32 bits or cut by shifts, which is no C of pointers"
                    .into(),
            });
        }
    }
    for e in events.iter().chain(added) {
        if e.what != What::Truncated {
            continue;
        }
        let Some(Op::Copy { from, .. }) = trace.line(e.at).insn_text.and_then(Op::parse) else {
            continue;
        };
        let before = trace.value_before(e.at, trace.frame(e.at), &format!("R{from}"))?;
        if Value::parse(&before).is_pointer() {
            return Some("a 32-bit move cut a pointer to its low half".into());
        }
    }
    None
}

/// Signs that the program was not loaded as it was meant to be.
fn environment(story: &Story, trace: &Trace<'_>, events: &[Event]) -> Option<String> {
    let last = story.message.last()?;
    let number = last.contains("type=scalar ") || last.contains("type=inv ");
    let no_map = last.contains("expected=map_ptr")
        && events.first().map_or(number, |e| e.what == What::Constant);
    if no_map {
        return Some("a constant stands where the loader should have put a map".into());
    }
    let first = events.first().filter(|e| e.what == What::Constant)?;
    let text = trace.line(first.at).insn_text?;
    let no_data = text.starts_with("(18)") && text.ends_with("= 0x0");
    (no_data && last.contains("expected=")).then(|| {
        "a constant stands where the loader should have put the address of a variable or string"
            .into()
    })
}

fn source(story: &Story, code: &str, events: &[Event], has_path: bool) -> String {
    if events.iter().any(|e| e.what == What::Invalidated) {
        return "the pointer is used after the call that invalidated it".into();
    }
    match code {
        "register-maybe-null" | "call-maybe-null" => {
            "no branch on this path tests the pointer".into()
        }
        "memory-packet-bounds"
            if story.message.iter().any(|l| number_after(l, "r=").is_some_and(|r| r > 0)) =>
        {
            "the comparison with data_end covers fewer bytes than are read".into()
        }
        "memory-packet-bounds" if !events.iter().any(|e| e.what == What::Compared) => {
            "no comparison with data_end is on the way of this pointer".into()
        }
        "lifetime-leak" => "this path ends without the release".into(),
        _ if !has_path => "by the message alone: the text has no instructions".into(),
        _ => "no sign of another hand: the instructions do what the source says".into(),
    }
}
