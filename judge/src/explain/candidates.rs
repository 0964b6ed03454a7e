//! Changes worth trying, by what the message says; the plainest first.

use bpfassay_diag::story::{called, Step, What};

use super::bounds;
use super::edit::Insertion;
use super::release;
use super::repair::Change;
use super::scene::{number_of, Scene};

/// Values returned where a check fails, as far as the program type may take them.
const RETURNS: [i32; 2] = [0, 1];

/// Every change worth trying.
pub fn of(scene: &Scene<'_>) -> Vec<Change> {
    let code = scene.story.code.map_or("", |c| c.name);
    let stale = scene.story.lineage.iter().any(|s| s.what == Some(What::Invalidated));
    match code {
        _ if stale => bounds::reload(scene),
        "register-maybe-null" | "call-maybe-null" => null(scene),
        "register-scalar-access" => scalar(scene),
        "register-uninitialized" => uninitialized(scene),
        "register-return-value" => returned(scene),
        "memory-map-value-bounds"
        | "memory-bounds"
        | "memory-unbounded-index"
        | "memory-negative-index"
        | "memory-pointer-math" => bounds::index(scene),
        "memory-packet-bounds" => bounds::packet(scene),
        "memory-unbounded-size" | "memory-negative-size" | "memory-zero-size" => {
            bounds::size(scene)
        }
        "memory-stack-bounds" => bounds::size(scene),
        "memory-stack-uninitialized" => bounds::stack(scene),
        "lifetime-leak" => release::of(scene),
        "call-argument-type" => argument(scene),
        _ => Vec::new(),
    }
}

/// `if (condition) return N;`, for every return value that may be allowed.
///
/// `pass` is the jump that goes on, as `if r1 != 0x0 goto` without its label; `before` computes what it looks at.
pub fn guards(at: u32, before: &str, pass: &[String], text: impl Fn(i32) -> String) -> Vec<Change> {
    let guard = |ret: i32| {
        let mut asm = before.to_string();
        for (i, p) in pass.iter().enumerate() {
            asm += &format!("{p} on{i}\nr0 = {ret}\nexit\non{i}:\n");
        }
        Change { text: text(ret), insertions: vec![Insertion::new(at, asm)] }
    };
    RETURNS.into_iter().map(guard).collect()
}

/// `prog.c:12`.
pub fn place(scene: &Scene<'_>, insn: u32) -> String {
    match super::path::source(scene.program, insn) {
        Some(s) => {
            let file = s.file.unwrap_or_default();
            format!("{}:{}", file.trim_start_matches("./"), s.line.unwrap_or(0))
        }
        None => format!("insn {insn}"),
    }
}

/// The line of an instruction where it is not the failing one's own.
pub fn where_else(scene: &Scene<'_>, insn: u32) -> String {
    let there = place(scene, insn);
    match there == place(scene, scene.at) {
        true => "in this line".to_string(),
        false => format!("at {there}"),
    }
}

fn null(scene: &Scene<'_>) -> Vec<Change> {
    let Some(r) = scene.register() else { return Vec::new() };
    let origin = scene.story.lineage.first().filter(|s| s.what.is_some_and(What::is_origin));
    let mut out = Vec::new();
    if let Some(o) = origin.filter(|o| o.insn != scene.at) {
        let made = o.place.as_deref().and_then(number_of).unwrap_or(0);
        let name = scene.name_of(o, r);
        let from = match o.what {
            Some(What::Called) => format!("{} {}", called(o), where_else(scene, o.insn)),
            _ => format!("the load {}", where_else(scene, o.insn)),
        };
        let keep = keep_in_variable(scene, o, &name);
        out.extend(guards(o.insn + 1, "", &[format!("if r{made} != 0x0 goto")], |ret| {
            format!("Right after {from}: `if (!{name}) return {ret};`.{keep}")
        }));
    }
    let name = scene.name(scene.at, r).unwrap_or_else(|| "p".into());
    out.extend(guards(scene.at, "", &[format!("if r{r} != 0x0 goto")], |ret| {
        format!("Before {}: `if (!{name}) return {ret};`.", place(scene, scene.at))
    }));
    if !scene.is_call() {
        let skip = Insertion::new(scene.at, format!("if r{r} == 0x0 goto pc+1"));
        out.push(Change {
            text: format!("Do what {} does only `if ({name})`.", place(scene, scene.at)),
            insertions: vec![skip],
        });
    }
    out
}

/// A call used in an expression has no variable that could be tested.
fn keep_in_variable(scene: &Scene<'_>, origin: &Step, name: &str) -> String {
    let same_line = place(scene, origin.insn) == place(scene, scene.at);
    match same_line && name == "p" {
        true => " Keep the result in a variable `p` first.".to_string(),
        false => String::new(),
    }
}

fn scalar(scene: &Scene<'_>) -> Vec<Change> {
    let Some(r) = scene.register() else { return Vec::new() };
    let null = scene.reg(scene.at, r).is_some_and(|v| v.constant == Some(0));
    if null {
        let name = scene.name(scene.at, r).unwrap_or_else(|| "p".into());
        return guards(scene.at, "", &[format!("if r{r} != 0x0 goto")], |ret| {
            format!(
                "On this path the pointer is NULL. Before {}: `if (!{name}) return {ret};`.",
                place(scene, scene.at)
            )
        });
    }
    release::probe_read(scene)
}

fn uninitialized(scene: &Scene<'_>) -> Vec<Change> {
    let Some(r) = scene.register() else { return Vec::new() };
    let at = scene.at;
    if scene.words == "exit" && r == 0 {
        return RETURNS
            .into_iter()
            .map(|ret| Change {
                text: format!("`return {ret};` on the path that ends at {}.", place(scene, at)),
                insertions: vec![Insertion::new(at, format!("r0 = {ret}"))],
            })
            .collect();
    }
    let Some(call) = scene.story.lineage.first().filter(|s| s.what == Some(What::Clobbered)) else {
        return Vec::new();
    };
    let next = call.insn + 1;
    let free: Vec<u8> = scene.free(next).into_iter().filter(|f| (6..10).contains(f)).collect();
    let was = scene.reg(call.insn, r).is_some();
    free.into_iter()
        .filter(|_| was)
        .take(1)
        .map(|f| Change {
            text: format!(
                "Keep the value over the call {} in a register that calls leave alone (R6 to R9): in C a local variable of its own does that.",
                where_else(scene, call.insn)
            ),
            insertions: vec![
                Insertion::new(call.insn, format!("r{f} = r{r}")),
                Insertion::new(next, format!("r{r} = r{f}")),
            ],
        })
        .collect()
}

fn returned(scene: &Scene<'_>) -> Vec<Change> {
    let Some((_, range)) = scene.said.split_once("should have been in ") else { return Vec::new() };
    let range = range.lines().next().unwrap_or("");
    let Some(low) = range.trim_matches(['[', ']', ' ']).split(',').next() else {
        return Vec::new();
    };
    let Ok(low) = low.trim().parse::<i32>() else { return Vec::new() };
    let from = scene.story.lineage.first().map_or(scene.at, |s| s.insn);
    vec![Change {
        text: format!(
            "Return only values in {range} on the path through {}: with `return {low};` there the verifier is content.",
            place(scene, from)
        ),
        insertions: vec![Insertion::new(scene.at, format!("r0 = {low}"))],
    }]
}

/// A number where memory is wanted: its copy on the stack.
fn argument(scene: &Scene<'_>) -> Vec<Change> {
    let Some(r) = scene.register().filter(|_| scene.is_call()) else { return Vec::new() };
    let Some((has, wants)) = scene.said.rsplit_once(" expected=") else { return Vec::new() };
    if !has.ends_with("type=scalar") || !wants.contains("fp") {
        return Vec::new();
    }
    let slot = scene.lowest_slot() - 8;
    vec![Change {
        text: format!(
            "Copy the number to a local variable and pass its address (`&copy`) as argument {r} at {}.",
            place(scene, scene.at)
        ),
        insertions: vec![Insertion::new(
            scene.at,
            format!("*(u64 *)(r10 {slot:+}) = r{r}\nr{r} = r10\nr{r} += {slot}"),
        )],
    }]
}
