//! Checks that keep an access inside its object: indices, sizes, packets, stack bytes.

use bpfassay_diag::log::State;
use bpfassay_diag::story::{Value, What};

use super::candidates::{guards, place, where_else};
use super::edit::Insertion;
use super::repair::Change;
use super::scene::{number_of, Scene};

/// Most that is let through where the object has no size of its own.
const WIDE: u64 = 0x7fff;

/// The index is compared, or masked, before it is added to the pointer.
pub fn index(scene: &Scene<'_>) -> Vec<Change> {
    let Some((at, pointer, number)) = scene.addition() else { return constant_size(scene) };
    let Some(most) = most(scene, at, pointer, number) else { return Vec::new() };
    let (scale, name) = (scene.scale(number), scene.name_of_number(at, number));
    let own =
        scene.elements(at, pointer, scale).and_then(|n| (n.checked_sub(1)?).checked_mul(scale));
    // What follows the array belongs to the object, and not to the array.
    let most = own.map_or(most, |o| most.min(o));
    let count = most / scale + 1;
    let bytes = match scale {
        1 => String::new(),
        n => format!(" ({n} bytes each)"),
    };
    let place_ = place(scene, at);
    let mut out = guards(at, "", &[below(number, most, scale)], |ret| {
        format!(
            "Right before {place_}: `if ({name} >= {count}) return {ret};`{bytes}, with `{name}` unsigned. If the compiler moves the check to another copy of `{name}`, `barrier_var({name});` after it keeps it."
        )
    });
    let mask = (count.next_power_of_two() >> u32::from(!count.is_power_of_two())) - 1;
    out.push(Change {
        text: format!("Right before {place_}: `{name} &= {mask};`{bytes}."),
        insertions: vec![Insertion::new(
            at,
            format!("r{number} &= {}", mask * scale + (scale - 1)),
        )],
    });
    out.extend(constant_size(scene));
    out
}

fn below(r: u8, most: u64, scale: u64) -> String {
    format!("if r{r} <= {:#x} goto", (most / scale) * scale)
}

/// Greatest number that may be added so that the access stays inside.
fn most(scene: &Scene<'_>, at: u32, pointer: u8, number: u8) -> Option<u64> {
    let value = scene.reg(at, pointer)?;
    let (off, bytes) = match scene.access() {
        Some((_, off, bytes)) if at != scene.at => (off, bytes),
        _ if at == scene.at => {
            (0, scene.next_access(pointer).unwrap_or(scene.scale(number) as i64))
        }
        _ => (0, scene.number("size=")?),
    };
    let Some(size) = value.size.map(|s| s as i64) else { return Some(WIDE) };
    // Another number may have been added before.
    let before = value.most().filter(|_| !value.is_fixed()).unwrap_or(0) as i64;
    u64::try_from(size - value.offset - before - off - bytes).ok()
}

/// A size that was passed is limited to what the pointer beside it has.
pub fn size(scene: &Scene<'_>) -> Vec<Change> {
    let mut out = constant_size(scene);
    let Some(r) = scene.register().filter(|r| scene.is_call() && *r > 1) else { return out };
    let Some(value) = scene.reg(scene.at, r).filter(|v| v.is_scalar() && v.constant.is_none())
    else {
        return out;
    };
    let room = scene.reg(scene.at, r - 1).and_then(|p| room(&p)).unwrap_or(WIDE);
    let name = scene.name(scene.at, r).unwrap_or_else(|| scene.origin_name("n"));
    let not_zero = scene.said.contains("zero-sized") || value.least() == Some(0);
    let high = (format!("if r{r} <= {room:#x} goto"), format!("{name} > {room}"));
    let low = (format!("if r{r} != 0x0 goto"), format!("{name} == 0"));
    let sets = match not_zero {
        true => vec![vec![&low], vec![&high], vec![&low, &high]],
        false => vec![vec![&high], vec![&low, &high]],
    };
    for set in sets {
        let pass: Vec<String> = set.iter().map(|c| c.0.clone()).collect();
        let said: Vec<&str> = set.iter().map(|c| c.1.as_str()).collect();
        out.extend(guards(scene.at, "", &pass, |ret| {
            format!(
                "Right before the call at {}: `if ({}) return {ret};`, with `{name}` unsigned (`u32`, `u64`). If the compiler drops the check or makes it on a copy, `barrier_var({name});` after it keeps it.",
                place(scene, scene.at),
                said.join(" || ")
            )
        }));
    }
    out
}

/// A constant that is more than the object has.
fn constant_size(scene: &Scene<'_>) -> Vec<Change> {
    let Some(r) = scene.register().filter(|_| scene.is_call()) else { return Vec::new() };
    // The size at fault, or the one beside the pointer at fault.
    let size = [r, r + 1].into_iter().find(|s| {
        (2..=5).contains(s)
            && scene.reg(scene.at, *s).is_some_and(|v| v.constant.is_some_and(|c| c > 0))
    });
    let Some(s) = size else { return Vec::new() };
    let has = scene.reg(scene.at, s).and_then(|v| v.constant).unwrap_or(0);
    let Some(room) = scene.reg(scene.at, s - 1).and_then(|p| room(&p)) else { return Vec::new() };
    if room == 0 || room as i64 >= has {
        return Vec::new();
    }
    vec![Change {
        text: format!(
            "Pass at most {room} bytes at {}, `sizeof()` of the buffer, or make the buffer {has} bytes long.",
            place(scene, scene.at)
        ),
        insertions: vec![Insertion::new(scene.at, format!("r{s} = {room}"))],
    }]
}

/// Bytes from a pointer to the end of its object.
fn room(p: &Value) -> Option<u64> {
    match p.kind.as_str() {
        "fp" => Some(p.offset.unsigned_abs()),
        "pkt" => p.range.map(|r| (r - p.offset).max(0) as u64),
        _ => p.size.map(|s| s.saturating_sub(p.offset.max(0) as u64)),
    }
    .filter(|_| p.is_pointer())
}

/// The pointer at fault is compared with the packet's end for the whole access.
pub fn packet(scene: &Scene<'_>) -> Vec<Change> {
    let Some(r) = scene.register() else { return Vec::new() };
    let Some(need) = need(scene) else { return Vec::new() };
    let Some((before, end, temporary)) = end_of_packet(scene) else { return Vec::new() };
    let name = scene.name(scene.at, r).unwrap_or_else(|| scene.origin_name("p"));
    let asm = format!("{before}r{temporary} = r{r}\nr{temporary} += {need}\n");
    let mut out = guards(scene.at, &asm, &[format!("if r{temporary} <= r{end} goto")], |ret| {
        format!(
            "Right before {}: `if ((void *){name} + {need} > data_end) return {ret};`, on `{name}` itself. If `{name}` has a variable part, limit that part first.",
            place(scene, scene.at)
        )
    });
    // A part without a bound has no range: it is limited where it is added.
    if let Some((at, _, number)) = scene.addition().filter(|(at, _, _)| *at != scene.at) {
        let index = scene.name_of_number(at, number);
        let limit =
            Insertion::new(at, format!("if r{number} <= {WIDE:#x} goto on\nr0 = 0\nexit\non:"));
        let both = out.iter().map(|c| Change {
            text: format!(
                "Before {}: `if ({index} > {WIDE}) return 0;`. {}",
                place(scene, at),
                c.text
            ),
            insertions: [vec![limit.clone()], c.insertions.clone()].concat(),
        });
        let both: Vec<Change> = both.collect();
        out.extend(both);
    }
    out
}

/// Bytes needed from the pointer at fault on.
fn need(scene: &Scene<'_>) -> Option<i64> {
    match scene.access() {
        Some((base, off, bytes)) => Some(scene.reach(base).max(off + bytes)),
        None => scene.number("size="),
    }
    .filter(|n| *n > 0)
}

/// Instructions that bring the packet's end into a register, that register, and one more that is free.
fn end_of_packet(scene: &Scene<'_>) -> Option<(String, u8, u8)> {
    let mut free = scene.free(scene.at).into_iter();
    let temporary = free.next()?;
    match scene.holder(scene.at, |v| v.kind == "pkt_end") {
        Some(held) => match number_of(&held) {
            Some(end) => Some((String::new(), end, temporary)),
            None => {
                let end = free.next()?;
                let slot: i64 = held.strip_prefix("fp")?.parse().ok()?;
                Some((format!("r{end} = *(u64 *)(r10 {slot:+})\n"), end, temporary))
            }
        },
        None => {
            let end = free.next()?;
            let (load, ctx) = context(scene, end)?;
            let fields = scene.packet_fields();
            // Where the program does not look at it, it stands behind `data`.
            let field = fields.get("data_end").copied().or(fields.get("data").map(|d| d + 4))?;
            Some((format!("{load}r{end} = *(u32 *)(r{ctx} +{field})\n"), end, temporary))
        }
    }
}

/// The register that has the context, after the instructions given; `free` may be used for it.
fn context(scene: &Scene<'_>, free: u8) -> Option<(String, u8)> {
    let held = scene.holder(scene.at, |v| v.kind == "ctx" && v.offset == 0)?;
    match number_of(&held) {
        Some(r) => Some((String::new(), r)),
        None => {
            let slot: i64 = held.strip_prefix("fp")?.parse().ok()?;
            Some((format!("r{free} = *(u64 *)(r10 {slot:+})\n"), free))
        }
    }
}

/// A packet pointer from before a call that moves packets is made anew.
pub fn reload(scene: &Scene<'_>) -> Vec<Change> {
    let Some(r) = scene.register() else { return Vec::new() };
    let Some(step) = scene.story.lineage.iter().rev().find(|s| s.what == Some(What::Invalidated))
    else {
        return Vec::new();
    };
    let was = step.place.as_deref().and_then(|p| scene.value(step.insn, p));
    let Some(was) = was.filter(|v| v.kind == "pkt" && v.is_fixed()) else { return Vec::new() };
    let fields = scene.packet_fields();
    let (Some(data), Some(data_end), Some(need)) =
        (fields.get("data"), fields.get("data_end"), need(scene))
    else {
        return Vec::new();
    };
    let mut free = scene.free(scene.at).into_iter().filter(|f| *f != r);
    let (Some(end), Some(temporary)) = (free.next(), free.next()) else { return Vec::new() };
    let mut kept = Vec::new();
    let (load, ctx) = match context(scene, end) {
        Some(found) => found,
        // The context was given up at the call: it is kept over it.
        None => {
            let is_free =
                |f: &u8| scene.free(scene.at).contains(f) && scene.free(step.insn).contains(f);
            let keep = (6..10).find(|f| is_free(f) && ![r, end, temporary].contains(f));
            let passed = scene.reg(step.insn, 1).is_some_and(|v| v.kind == "ctx");
            let Some(keep) = keep.filter(|_| passed) else { return Vec::new() };
            kept.push(Insertion::new(step.insn, format!("r{keep} = r1")));
            (String::new(), keep)
        }
    };
    let asm = format!(
        "{load}r{r} = *(u32 *)(r{ctx} +{data})\nr{end} = *(u32 *)(r{ctx} +{data_end})\nr{r} += {}\nr{temporary} = r{r}\nr{temporary} += {need}\n",
        was.offset
    );
    let call = bpfassay_diag::story::called(step);
    let mut out = guards(scene.at, &asm, &[format!("if r{temporary} <= r{end} goto")], |ret| {
        format!(
            "After {call} {}: load `data` and `data_end` from the context again, compute the pointer from the new `data`, and compare it again, `if (p + {need} > data_end) return {ret};`, before {}.",
            where_else(scene, step.insn),
            place(scene, scene.at)
        )
    });
    out.iter_mut().for_each(|c| c.insertions.extend(kept.iter().cloned()));
    out
}

/// Bytes of the stack that nobody wrote are zeroed.
pub fn stack(scene: &Scene<'_>) -> Vec<Change> {
    let off = scene.number("off=").or_else(|| scene.number("off "));
    let size = scene.number("size=").or_else(|| scene.number("size "));
    let (Some(off), Some(size)) = (off, size) else { return Vec::new() };
    let own = scene.said.contains("fp") || scene.trail.steps.last().is_some_and(|s| s.frame == 0);
    if !own || off < -512 || off + size > 0 || size > 512 {
        return Vec::new();
    }
    let Some(step) = scene.step(scene.at) else { return Vec::new() };
    let state = State::parse(&step.state);
    let open = |byte: &i64| {
        let slot = byte.div_euclid(8) * 8;
        match state.get(&format!("fp{slot}")) {
            // The text begins with the byte at the slot's upper end.
            Some(e) if e.value.len() == 8 && e.value.bytes().all(|b| b"?m0rdifp".contains(&b)) => {
                let at = (7 - (byte - slot)) as usize;
                b"?p".contains(&e.value.as_bytes()[at])
            }
            Some(_) => false,
            None => true,
        }
    };
    let bytes: Vec<i64> = (off..off + size).filter(open).collect();
    let asm: Vec<String> = bytes.iter().map(|b| format!("*(u8 *)(r10 {b:+}) = 0")).collect();
    if asm.is_empty() || asm.len() > 128 {
        return Vec::new();
    }
    let which = match (bytes.len() as i64 == size, bytes.first(), bytes.last()) {
        (true, ..) => format!("none of the {size} bytes is"),
        (_, Some(a), Some(b)) if a == b => format!("byte {} of {size} is not", a - off),
        (_, Some(a), Some(b)) => format!("bytes {} to {} of {size} are not", a - off, b - off),
        _ => String::new(),
    };
    vec![Change {
        text: format!(
            "Write the whole variable before {}, padding included (`= {{}}` where it is declared; `__builtin_memset()` where the compiler leaves holes): {which} written on this path.",
            place(scene, scene.at)
        ),
        insertions: vec![Insertion::new(scene.at, asm.join("\n"))],
    }]
}
