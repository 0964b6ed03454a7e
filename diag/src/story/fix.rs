//! What to change, in terms of this program.

use super::needs::asks_for_null;
use super::operand::number_after;
use super::{Source, Step, Story, What};

/// The change for this program; `None` where only the general advice holds.
pub fn of(story: &Story) -> Option<String> {
    let code = story.code?.name;
    let block = story.message.join("\n");
    if let Some(step) = story.lineage.iter().rev().find(|s| s.what == Some(What::Invalidated)) {
        return Some(invalidated(step, story));
    }
    match code {
        "register-maybe-null" | "call-maybe-null" => null(story),
        "memory-map-value-bounds" | "memory-bounds" => bounds(story, &block),
        "memory-packet-bounds" => packet(story, &block),
        "memory-unbounded-size" | "memory-negative-size" | "memory-zero-size" => size(story),
        "memory-stack-bounds" => stack(story, &block),
        "register-scalar-access" => scalar(story),
        "register-uninitialized" => uninitialized(story),
        "memory-pointer-math" => math(story),
        "lifetime-leak" => leak(story, &block),
        "register-return-value" => returned(&block),
        "memory-misaligned" => misaligned(&block),
        "call-argument-type" | "call-untrusted" => argument(story, &block),
        _ => None,
    }
}

fn place(step: &Step) -> String {
    match step.source.as_ref().and_then(|s| s.line.map(|n| (s, n))) {
        Some((s, n)) => format!("{}:{n}", s.file.as_deref().unwrap_or("line ")),
        None => format!("insn {}", step.insn),
    }
}

/// The variable that a source line assigns.
pub fn assigned(source: Option<&Source>) -> Option<String> {
    const LONGEST: usize = 100;
    let text = source.map(|s| &s.text).filter(|t| t.len() <= LONGEST)?;
    let (left, right) = text.split_once('=')?;
    // Of several assignments in a line none is known to be the one.
    let several = right.replace("==", "").replace("!=", "").replace("<=", "").replace(">=", "");
    if right.starts_with('=') || left.ends_with(['!', '<', '>']) || several.contains('=') {
        return None;
    }
    left_side(left)
}

/// The variable that the expression at `column` (from 1) of a source line is assigned to.
pub fn assigned_at(text: &str, column: u32) -> Option<String> {
    let at = (column as usize).checked_sub(1).filter(|at| text.is_char_boundary(*at))?;
    let (before, after) = text.split_at_checked(at)?;
    let word = after.len()
        - after.trim_start_matches(|c: char| c.is_ascii_alphanumeric() || c == '_').len();
    let (name, rest) = after.split_at(word);
    let rest = rest.trim_start();
    if word > 0 && rest.starts_with('=') && !rest.starts_with("==") {
        return Some(name.to_string());
    }
    let left = before.trim_end().strip_suffix('=')?;
    (!left.ends_with(['=', '!', '<', '>'])).then(|| left_side(left)).flatten()
}

/// The name at the end of what stands before `=`.
fn left_side(left: &str) -> Option<String> {
    let name: String = left
        .trim_end()
        .trim_end_matches(['+', '-', '*', '/', '|', '&', '^'])
        .trim_end()
        .rsplit(|c: char| !(c.is_ascii_alphanumeric() || "_.->".contains(c)))
        .next()?
        .trim_start_matches(['-', '>', '.'])
        .to_string();
    (!name.is_empty() && name.len() < 40).then_some(name)
}

/// The call of a line: `bpf_map_lookup_elem`.
pub fn called(step: &Step) -> String {
    let target = step.text.rsplit(' ').next().unwrap_or("");
    super::calls::name(target).to_string()
}

fn null(story: &Story) -> Option<String> {
    let from = story.lineage.first().filter(|s| s.what == Some(What::Called));
    let Some(from) = from else {
        let at = story.at.as_ref()?;
        return Some(format!(
            "Test the pointer for NULL on the path to {}, and leave if it is.",
            place(at)
        ));
    };
    let name = assigned(from.source.as_ref()).unwrap_or_else(|| "p".into());
    let checks = story.lineage.iter().filter(|s| s.what == Some(What::Compared)).count();
    let more = if checks > 0 { " The tests on this path do not decide it." } else { "" };
    Some(format!(
        "After {} at {}: `if (!{name}) return 0;`, before the use at {}.{more}",
        called(from),
        place(from),
        story.at.as_ref().map_or(String::new(), place),
    ))
}

fn bounds(story: &Story, block: &str) -> Option<String> {
    let limit =
        ["value_size=", "mem_size=", "key_size="].iter().find_map(|w| number_after(block, w))?;
    let size = number_after(block, "size=")?;
    let at = story.at.as_ref()?;
    if at.text.contains(" call ") {
        let r = story.register.clone().unwrap_or_default();
        return Some(format!(
            "The function at {} is told to use {size} bytes of memory of {limit}: limit the size ({r}) right before the call, `if (n > {limit}) return 0;` on the variable that is passed, or pass sizeof() of the buffer.",
            place(at)
        ));
    }
    let numbers = story.added.as_ref().map_or(&story.lineage, |(_, steps)| steps);
    let bound = |s: &&Step| s.what == Some(What::Compared) && !asks_for_null(&s.text);
    let check = numbers.iter().rev().find(bound);
    let most = (limit - size).max(0);
    match (check, &story.added) {
        (Some(check), _) => Some(format!(
            "The check at {} lets too much through: compare so that the byte offset is at most {most} (an index of elements: at most {most} / sizeof(element)); sizeof() of an array counts bytes, not elements.",
            place(check)
        )),
        (None, Some((r, steps))) => Some(format!(
            "Limit the index ({r}, from {}) before it is added: `if (i >= N) return 0;` with N such that the byte offset is at most {most}, on the variable that is used at {}.",
            steps.first().map_or_else(|| "an earlier instruction".into(), place),
            place(at)
        )),
        (None, None) => Some(format!(
            "The access at {} is at a fixed place outside: the object has {limit} bytes. Use the map's real value type, or make the value larger.",
            place(at)
        )),
    }
}

fn packet(story: &Story, block: &str) -> Option<String> {
    let end = number_after(block, "off=")? + number_after(block, "size=")?;
    let at = story.at.as_ref()?;
    let check = story.lineage.iter().rev().find(|s| s.what == Some(What::Compared));
    let register = story.register.clone().unwrap_or_default();
    let proven = number_after(block, "r=").unwrap_or(0);
    let seen = match check {
        Some(c) if proven > 0 => {
            format!("The check at {} proves {proven} bytes, {end} are needed", place(c))
        }
        Some(c) => {
            format!("The check at {} was made on a pointer whose proof was not kept", place(c))
        }
        None if proven > 0 => format!("{proven} bytes are proven, {end} are needed"),
        None => "No check with data_end covers this pointer".to_string(),
    };
    Some(format!(
        "{seen}: right before {}, on the very pointer used ({register}), `if ((void *)(p + size) > data_end) return …;` for the whole {} bytes read.",
        place(at),
        number_after(block, "size=").unwrap_or(1),
    ))
}

fn size(story: &Story) -> Option<String> {
    let at = story.at.as_ref()?;
    let r = story.register.clone()?;
    let limit = story
        .needs
        .as_ref()
        .and_then(|n| n.rsplit("≤ ").next())
        .unwrap_or("sizeof(buf)")
        .to_string();
    let limit = if limit.contains("buffer") { "sizeof(buf)".to_string() } else { limit };
    let from = story.lineage.first();
    let name = from.and_then(|s| assigned(s.source.as_ref())).unwrap_or_else(|| "n".into());
    let narrow = story.lineage.iter().rev().find(|s| s.what == Some(What::Truncated));
    let signed = match narrow {
        Some(s) => format!(" The check does not reach the size because {} copies 32 bits of it: make the variable unsigned (or 64 bits wide) from the start.", place(s)),
        None => String::new(),
    };
    let least = if story.code.is_some_and(|c| c.name == "memory-zero-size") {
        format!("{name} == 0 || ")
    } else {
        String::new()
    };
    Some(format!(
        "Right before the call at {} limit the size ({r}): `if ({least}{name} > {limit}) return 0;` with an unsigned `{name}`.{signed}",
        place(at)
    ))
}

fn stack(story: &Story, block: &str) -> Option<String> {
    let (off, size) = (number_after(block, "off=")?, number_after(block, "size=")?);
    let at = story.at.as_ref()?;
    if off + size > 0 {
        return Some(format!(
            "At {} {size} bytes are used of a variable that has {}: pass sizeof() of that variable, or make it larger.",
            place(at),
            -off
        ));
    }
    (off < -512).then(|| format!("The variable used at {} does not fit a frame of 512 bytes: put it into a per-CPU array map.", place(at)))
}

fn scalar(story: &Story) -> Option<String> {
    let first = story.lineage.first()?;
    let at = story.at.as_ref()?;
    Some(match first.what? {
        What::Loaded => format!(
            "The address was read from memory at {}, so it is a number to the verifier: read through it with bpf_probe_read_kernel() (BPF_CORE_READ(); bpf_probe_read_user() for user memory) instead of `->` at {}.",
            place(first), place(at)
        ),
        What::Written => format!(
            "{} at {} wrote the address as plain bytes: read through it with bpf_probe_read_kernel() (bpf_probe_read_user() for user memory) at {}.",
            called(first), place(first), place(at)
        ),
        What::Called => format!(
            "{} at {} returns a number, not a pointer the verifier follows: use the variant that returns a typed pointer (bpf_get_current_task_btf()), or read with bpf_probe_read_kernel() at {}.",
            called(first), place(first), place(at)
        ),
        What::Constant if first.text.ends_with("= 0") => format!(
            "On this path the pointer is NULL ({}): leave before {} when it is.",
            place(first), place(at)
        ),
        What::Clobbered => format!("Keep the pointer over the call at {} in a variable of its own.", place(first)),
        _ => return None,
    })
}

fn invalidated(step: &Step, story: &Story) -> String {
    let name = called(step);
    let at = story.at.as_ref().map_or(String::new(), place);
    if super::calls::moves_packets(&name) || name.starts_with("pc") {
        return format!(
            "{} at {} may move the packet, so every packet pointer from before it is void: load data and data_end from the context again after it, compare again, and use the new pointer at {at}.",
            if name.starts_with("pc") { "the function called" } else { &name },
            place(step)
        );
    }
    format!(
        "{name} at {} gives the object away: do what needs it before, and nothing with it at {at}.",
        place(step)
    )
}

fn uninitialized(story: &Story) -> Option<String> {
    let at = story.at.as_ref()?;
    let r = story.register.as_deref()?;
    match story.lineage.first() {
        Some(s) if s.what == Some(What::Clobbered) => Some(format!(
            "The call at {} clobbers {r}: keep the value in another variable over it.",
            place(s)
        )),
        _ if r == "R0" => Some(format!("Return a value on the path to {}.", place(at))),
        _ if matches!(r, "R2" | "R3" | "R4" | "R5") && story.lineage.is_empty() => Some(format!(
            "{r} is read as if it were an argument, and a program has one, the context in R1: take arguments from it (BPF_KPROBE(), BPF_PROG(), PT_REGS_PARM2(ctx), ctx->args[1]); otherwise give the variable a value on every path to {}.",
            place(at)
        )),
        _ => Some(format!("Give the variable a value on every path to {}.", place(at))),
    }
}

fn math(story: &Story) -> Option<String> {
    let at = story.at.as_ref()?;
    let r = story.register.as_deref()?;
    let from = story.lineage.first().map_or_else(String::new, |s| format!(" (from {})", place(s)));
    Some(format!(
        "Before {} limit the number that is added, {r}{from}: make it unsigned and mask or compare it, `if (n > MAX) return 0;` with a MAX below 2^29.",
        place(at)
    ))
}

fn leak(story: &Story, block: &str) -> Option<String> {
    let cause = story.cause.as_ref()?;
    let at = story.at.as_ref()?;
    let release = match called(cause).as_str() {
        "bpf_ringbuf_reserve" => "bpf_ringbuf_submit() or bpf_ringbuf_discard()",
        n if n.starts_with("bpf_sk") => "bpf_sk_release()",
        n if n.contains("task") => "bpf_task_release()",
        n if n.contains("cgroup") => "bpf_cgroup_release()",
        n if n.contains("obj_new") => "bpf_obj_drop()",
        _ => "the releasing function",
    };
    let _ = block;
    Some(format!(
        "What {} at {} acquired is still held on the path that leaves at {}: call {release} before it.",
        called(cause), place(cause), place(at)
    ))
}

fn returned(block: &str) -> Option<String> {
    let range = block.split("should have been in ").nth(1)?.lines().next()?;
    Some(format!("Return only values in {range}: map others to one of them before `return`."))
}

fn misaligned(block: &str) -> Option<String> {
    let size = number_after(block, "size ")?;
    if block.contains("misaligned stack access") {
        return Some(format!("Align the stack variable to {size} bytes: `__attribute__((aligned({size})))`, or order its members so that the one copied is."));
    }
    block.contains("misaligned access off (0x0; 0xffffffffffffffff)").then(|| {
        "The address is a plain number, so its alignment cannot be known, nor anything else about it: it is no pointer the verifier follows. Take the address of the object itself (a map value or global variable) for the access.".to_string()
    })
}

fn argument(story: &Story, block: &str) -> Option<String> {
    let at = story.at.as_ref()?;
    let r = story.register.as_deref()?;
    let (_, rest) = block.lines().last()?.split_once(" type=")?;
    let (has, wants) = rest.split_once(" expected=")?;
    let from =
        story.lineage.first().map_or_else(String::new, |s| format!(", made at {}", place(s)));
    let n = r.trim_start_matches('R');
    if has == "scalar" && wants.contains("ptr_") && !wants.contains("fp") {
        return Some(format!("Argument {n} at {} is a number{from}: get the object as a typed pointer (bpf_get_current_task_btf(), an argument of the hook).", place(at)));
    }
    if wants.contains("map_ptr") {
        return Some(format!("Argument {n} at {} has to be the address of a map itself (`&my_map`), filled in by the loader{}.", place(at), if has == "scalar" { "; a constant here means that the relocation was not applied" } else { "" }));
    }
    if has == "scalar" && wants.contains("fp") {
        return Some(format!("Argument {n} at {} has to be a pointer to memory the verifier knows{from}: copy the data to a variable on the stack and pass its address.", place(at)));
    }
    Some(format!(
        "Argument {n} at {} is {has}{from}; pass one of: {}.",
        place(at),
        wants.trim_end_matches('_')
    ))
}
