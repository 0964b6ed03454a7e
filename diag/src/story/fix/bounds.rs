//! Where a number leads outside: of an object, the packet, the stack, a buffer.

use super::{assigned, bytes, called, place};
use crate::story::needs::asks_for_null;
use crate::story::operand::number_after;
use crate::story::{Step, Story, What};

/// An object of known size.
pub fn object(story: &Story, block: &str) -> Option<String> {
    let limit =
        ["value_size=", "mem_size=", "key_size="].iter().find_map(|w| number_after(block, w))?;
    let size = number_after(block, "size=")?;
    if story.at.is_none() && size == 0 {
        return Some(format!("The size passed may be 0, which the function does not take: test it right before the call, `if (n == 0 || n > {limit}) return 0;`, with an unsigned `n`. With bpf_trace_printk() the second argument is the format's size; bpf_printk() fills it in."));
    }
    let at = story.at.as_ref()?;
    if at.text.contains(" call ") {
        return Some(called_with(story, at, block, size, limit));
    }
    let numbers = story.added.as_ref().map_or(&story.lineage, |(_, steps)| steps);
    let bound = |s: &&Step| s.what == Some(What::Compared) && !asks_for_null(&s.text);
    let check = numbers.iter().rev().find(bound);
    let most = (limit - size).max(0);
    let name = story.number.clone().unwrap_or_else(|| "i".to_string());
    let count = |scale: i64| (most - story.constant.unwrap_or(0)).max(0) / scale + 1;
    let compare = match story.scale.filter(|n| *n > 1).and_then(|n| i64::try_from(n).ok()) {
        Some(n) => {
            format!("`if ({name} >= {}) return 0;`, as each element has {n} bytes", count(n))
        }
        None => format!("`if ({name} >= {}) return 0;`", count(1)),
    };
    match (check, &story.added) {
        (Some(check), _) => Some(format!(
            "The check at {} lets too much through: {compare}, with an unsigned `{name}`, on the variable that is used at {}. (sizeof() of an array counts bytes, not elements.)",
            place(check),
            place(at)
        )),
        (None, Some((r, steps))) => Some(format!(
            "Limit the index ({r}, from {}) before it is added: {compare}, with an unsigned `{name}`, on the variable that is used at {}.",
            steps.first().map_or_else(|| "an earlier instruction".into(), place),
            place(at)
        )),
        (None, None) => Some(fixed(story, block, at, limit, size)),
    }
}

/// A function that is told to use more than there is.
fn called_with(story: &Story, at: &Step, block: &str, size: i64, limit: i64) -> String {
    let r = story.register.clone().unwrap_or_default();
    if size == 0 {
        return format!(
            "The size passed at {} may be 0, which this function does not take: test it right before the call, `if (n == 0 || n > {limit}) return 0;`, with an unsigned `n`.",
            place(at)
        );
    }
    let from = number_after(block, "off=").unwrap_or(0);
    if !story.has_size {
        return format!(
            "{} at {} takes a whole object of {} in {r}, whatever the program passes beside it, and the memory from byte {from} on has {}: pass a pointer to an object of that type, not to a smaller one cast to it, or to an element that may be near the end.",
            called(at),
            place(at),
            bytes(size),
            bytes((limit - from).max(0))
        );
    }
    if from > 0 && size < limit {
        return format!(
            "The function at {} may be told to use {} from byte {from} on, of memory that has {limit}: keep the sum in bounds. Limit the place and the size each, right before the call and with unsigned types, so that the two together are at most {limit} (`if (off > {} || n > {size}) return 0;`).",
            place(at),
            bytes(size),
            limit - size
        );
    }
    let name = story.number.clone().unwrap_or_else(|| "n".to_string());
    format!(
        "The function at {} may use {} of memory that has {limit}: limit the size ({r}) right before the call, `if ({name} > {limit}) return 0;`, on the variable that is passed and with an unsigned type, or pass sizeof() of the buffer.",
        place(at),
        bytes(size)
    )
}

/// An access at a fixed place outside.
fn fixed(story: &Story, block: &str, at: &Step, limit: i64, size: i64) -> String {
    let off = number_after(block, "off=").unwrap_or(0);
    let from = story.lineage.first().filter(|s| s.what == Some(What::Called));
    let asked = from.filter(|s| {
        let name = called(s);
        name.contains("slice") || name.contains("reserve") || name.contains("dynptr_data")
    });
    if let Some(s) = asked {
        return format!(
            "{} at {} was asked for {}, and {} uses them up to byte {}: ask there for {}.",
            called(s),
            place(s),
            bytes(limit),
            place(at),
            off + size,
            bytes(off + size)
        );
    }
    let whole = off > 0 && limit > 0 && off % limit == 0;
    let steps = if whole {
        format!(
            " {off} is {} times the whole object: a pointer to the whole was indexed, where an element was meant (`(*p)[{}]`, not `*p[{}]`).",
            off / limit,
            off / limit,
            off / limit
        )
    } else {
        String::new()
    };
    format!(
        "The access at {} is at a fixed place outside: the object has {}.{steps} Use the type that the object really has, or make the object larger where it is defined.",
        place(at),
        bytes(limit)
    )
}

/// Bytes of the packet beyond those compared.
pub fn packet(story: &Story, block: &str) -> Option<String> {
    let end = number_after(block, "off=")? + number_after(block, "size=")?;
    let at = story.at.as_ref()?;
    if let Some(size) = variable_length(story, at, block) {
        return Some(format!(
            "The length passed at {} may be up to {size}, and a comparison with data_end proves a constant number of bytes. Check and pass a constant (`if (p + N > data_end) break;`, in a bounded loop over pieces of N), or copy the bytes to a buffer first with bpf_xdp_load_bytes() or bpf_skb_load_bytes(), which check the length themselves.",
            place(at)
        ));
    }
    let check = story.lineage.iter().rev().find(|s| s.what == Some(What::Compared));
    let register = story.register.clone().unwrap_or_default();
    let proven = number_after(block, "r=").unwrap_or(0);
    let lowered = story.class == Some(crate::story::Class::Lowering);
    if lowered {
        return Some(format!(
            "Keep the comparison one of pointers: `void *p = data + off; barrier_var(p); if (p + {end} > data_end) return …;` right before {}, with `asm volatile(\"\" : \"+r\"(p));` for barrier_var() where it is not at hand, so that the compiler does not compute with `data_end - data` in its place.",
            place(at)
        ));
    }
    let seen = match check {
        Some(c) if proven > 0 => {
            format!("The check at {} proves {}, {end} are needed", place(c), bytes(proven))
        }
        Some(c) => {
            format!("The check at {} was made on a pointer whose proof was not kept", place(c))
        }
        None if proven > 0 => format!("{} proven, {end} are needed", are(proven)),
        None => "No check with data_end covers this pointer".to_string(),
    };
    let read = match number_after(block, "size=").unwrap_or(1) {
        1 => "the byte that is read".to_string(),
        n => format!("all {n} bytes that are read"),
    };
    Some(format!(
        "{seen}: right before {}, on the very pointer used ({register}), `if ((void *)(p + size) > data_end) return …;` with p + size behind {read}.",
        place(at),
    ))
}

/// The greatest length, where a call is handed one that is no constant.
fn variable_length(story: &Story, at: &Step, block: &str) -> Option<i64> {
    let value = story.lineage.iter().rev().find_map(|s| s.value.as_deref())?;
    let v = crate::story::Value::parse(value);
    let is_length = at.text.contains(" call ") && v.is_scalar() && v.constant.is_none();
    is_length.then(|| number_after(block, "size=")).flatten()
}

fn are(n: i64) -> String {
    if n == 1 {
        "1 byte is".to_string()
    } else {
        format!("{n} bytes are")
    }
}

/// A size that is passed.
pub fn size(story: &Story) -> Option<String> {
    let Some(at) = story.at.as_ref() else {
        let r = story.message.iter().rev().find_map(|l| crate::story::operand::register_in(l))?;
        let zero = story.code.is_some_and(|c| c.name == "memory-zero-size");
        let check = if zero { "n == 0 || n > sizeof(buf)" } else { "n > sizeof(buf)" };
        return Some(format!("The size is argument {r} of the call: right before it `if ({check}) return 0;` with an unsigned `n`, on the variable that is passed."));
    };
    let r = story.register.clone()?;
    let limit = story
        .needs
        .as_ref()
        .and_then(|n| n.rsplit("≤ ").next())
        .unwrap_or("sizeof(buf)")
        .to_string();
    let limit = if limit.contains("buffer") { "sizeof(buf)".to_string() } else { limit };
    let from = story.lineage.first();
    let assigned = || from.and_then(|s| assigned(s.source.as_ref()));
    let passed = || super::passed(story);
    let name = passed().or_else(|| story.number.clone()).or_else(assigned);
    let name = name.unwrap_or_else(|| "n".into());
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

/// Bytes outside the frame.
pub fn stack(story: &Story, block: &str) -> Option<String> {
    let at = story.at.as_ref()?;
    if block.contains("unbounded variable-offset") {
        let name = story.number.clone().unwrap_or_else(|| "i".to_string());
        let has = story.lineage.iter().rev().filter_map(|s| s.value.as_deref()).find_map(room);
        let most = has.map_or("the array's length".to_string(), |n| n.to_string());
        return Some(format!(
            "The index at {} has no upper bound: `if ({name} >= N) return 0;` right before it, with an unsigned `{name}` and N the array's length (the stack has {most} bytes from the array's start on).",
            place(at)
        ));
    }
    let (off, size) = (number_after(block, "off=")?, number_after(block, "size=")?);
    if off >= 0 {
        return Some(format!("The frame ends where R10 points, and {} uses {} from there on: offsets into it are below 0.", place(at), bytes(size)));
    }
    if off + size > 0 {
        return Some(format!(
            "At {} {} used of a variable that has {}: pass sizeof() of that variable, or make it larger.",
            place(at),
            are(size),
            -off
        ));
    }
    (off < -512).then(|| format!("The variable used at {} does not fit a frame of 512 bytes: put it into a per-CPU array map.", place(at)))
}

/// Bytes from `fp-16` to the top.
fn room(value: &str) -> Option<u64> {
    let v = crate::story::Value::parse(value);
    (v.kind == "fp" && v.is_fixed() && v.offset < 0).then(|| v.offset.unsigned_abs())
}

/// A number added to a pointer that is too large or negative.
pub fn math(story: &Story) -> Option<String> {
    let at = story.at.as_ref()?;
    let last = story.message.last()?;
    let constant = last
        .rsplit_once(" pointer and ")
        .and_then(|(_, n)| n.split(' ').next()?.parse::<i64>().ok());
    if let Some(n) = constant {
        return Some(format!("The constant {n} is added to a pointer at {}: that is beyond every object (2^29), so it is miscalculated, or a pointer was read in 32 bits where it has 64.", place(at)));
    }
    let r = story.register.as_deref()?;
    let from = story.lineage.first().map_or_else(String::new, |s| format!(" (from {})", place(s)));
    let name = story.number.clone().unwrap_or_else(|| "n".to_string());
    Some(format!(
        "Before {} limit the number that is added, {r}{from}: make `{name}` unsigned and mask or compare it from above, `if ({name} > MAX) return 0;` with a MAX below 2^29; a signed comparison leaves negative numbers.",
        place(at)
    ))
}

/// A mask of the source that the compiler moved.
pub fn masked(story: &Story) -> Option<String> {
    let at = story.at.as_ref()?;
    Some(format!(
        "Compute the masked index in a variable of its own right before {}, and keep the compiler from looking through it: `__u32 i = off & (SIZE - 1); barrier_var(i);` (`asm volatile(\"\" : \"+r\"(i));`), then use `i` in the access.",
        place(at)
    ))
}

/// An index without an upper bound.
pub fn unbounded(story: &Story) -> Option<String> {
    let at = story.at.as_ref()?;
    let numbers = story.added.as_ref().map_or(&story.lineage, |(_, steps)| steps);
    let from = numbers.first().filter(|s| s.insn != at.insn);
    let from = from.map_or(String::new(), |s| format!(" (from {})", place(s)));
    let name = story.number.clone().unwrap_or_else(|| "i".to_string());
    if let Some(least) = story.least.filter(|l| *l < 0) {
        return Some(format!(
            "The offset may be negative at {} (from {least} on): what is added has to be at least 0 by itself, also where the sum would be inside. Compute the whole index in one unsigned variable and mask it right before it is added, `i = (a - b) & (SIZE - 1);`.",
            place(at)
        ));
    }
    let most = elements(story, at).map_or("N".to_string(), |n| n.to_string());
    Some(format!(
        "Right before {} bound the index{from} on the copy that is added: `if ({name} >= {most}) return 0;` with an unsigned `{name}`{}; `barrier_var({name})` behind it keeps the compiler from using another copy.",
        place(at),
        if most == "N" { " and N the array's length, or `&= N - 1` for a power of two" } else { "" }
    ))
}

/// How many values an index may have, where the memory's size is known.
fn elements(story: &Story, at: &Step) -> Option<i64> {
    let (_, limit) = story.needs.as_deref()?.rsplit_once("accessed ≤ ")?;
    let (_, access) = at.text.split_once("*(")?;
    let bits: i64 = access.split(' ').next()?.trim_start_matches(['u', 's']).parse().ok()?;
    let room = limit.parse::<i64>().ok()? - story.constant? - bits / 8;
    let scale = i64::try_from(story.scale?.max(1)).ok()?;
    (room >= 0).then_some(room / scale + 1)
}
