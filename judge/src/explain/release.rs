//! References given back before a program leaves, and kernel memory read through a helper.

use bpfassay_diag::log::{Entry, State};
use bpfassay_diag::story::{called, Step};
use bpfassay_verifier::TrailStep;

use super::candidates::place;
use super::edit::Insertion;
use super::repair::Change;
use super::scene::{number_of, Scene};

/// What gives back what a helper acquired: its name and number, and whether it takes flags as well.
fn releasing(acquired: &str) -> Option<(&'static str, u32, bool)> {
    Some(match acquired {
        "bpf_ringbuf_reserve" => ("bpf_ringbuf_discard", 133, true),
        "bpf_sk_lookup_tcp" | "bpf_sk_lookup_udp" | "bpf_skc_lookup_tcp" => {
            ("bpf_sk_release", 86, false)
        }
        _ => return None,
    })
}

/// The reference still held is released before the exit.
pub fn of(scene: &Scene<'_>) -> Vec<Change> {
    let Some(id) = scene.number("id=") else { return Vec::new() };
    let Some(cause) = scene.story.cause.as_ref().filter(|_| scene.words == "exit") else {
        return Vec::new();
    };
    let Some((name, call, flags)) = release_of(scene, cause) else { return Vec::new() };
    let pointer = scene.name_of(cause, 0);
    let args = if flags { format!("{pointer}, 0") } else { pointer };
    let text = format!(
        "`{name}({args});` on the path that returns at {}, before it does: what {} acquired at {} is still held there.",
        place(scene, scene.at),
        called(cause),
        place(scene, cause.insn),
    );
    let call = if flags { format!("r2 = 0\n{call}") } else { call };
    let put = |(from, at): (Option<u32>, u32)| {
        let asm = giving_back(scene, at, id, &call)?;
        let insertion = match from {
            Some(from) => Insertion::on_edge(from, at, asm),
            None => Insertion::new(at, asm),
        };
        Some(Change { text: text.clone(), insertions: vec![insertion] })
    };
    ways_out(scene, id).into_iter().filter_map(put).collect()
}

/// Saves what is needed, gives the reference back, and restores.
fn giving_back(scene: &Scene<'_>, at: u32, id: i64, call: &str) -> Option<String> {
    let held = holder(scene.step(at)?, id)?;
    let load = match number_of(&held) {
        Some(r) => format!("r1 = r{r}"),
        None => {
            let slot: i64 = held.trim_start_matches("fp").parse().ok()?;
            format!("r1 = *(u64 *)(r10 {slot:+})")
        }
    };
    let live = scene.trail.live.get(at as usize).copied().unwrap_or(u16::MAX);
    let mut kept = (6..10).filter(|k| live >> k & 1 == 0 && number_of(&held) != Some(*k));
    let (mut save, mut restore) = (String::new(), String::new());
    for r in (0..6).filter(|r| live >> r & 1 != 0 && scene.reg(at, *r).is_some()) {
        let k = kept.next()?;
        save += &format!("r{k} = r{r}\n");
        restore += &format!("r{r} = r{k}\n");
    }
    Some(format!("{save}{load}\n{call}\n{restore}"))
}

/// Places on the path where the reference is still at hand, nearest to the exit first: where a branch led here
/// (from which jump, to which instruction), then before an instruction.
fn ways_out(scene: &Scene<'_>, id: i64) -> Vec<(Option<u32>, u32)> {
    const MOST: usize = 6;
    let mut out = Vec::new();
    for pair in scene.trail.steps.windows(2).rev() {
        let (from, to) = (pair[0].insn_idx, pair[1].insn_idx);
        let branch = scene.namer.insn(from).contains(") if ");
        if !branch || holder(&pair[1], id).is_none() {
            continue;
        }
        out.push((Some(from).filter(|f| f + 1 != to), to));
        if out.len() == MOST {
            break;
        }
    }
    let last = scene.trail.steps.iter().rev().find(|s| holder(s, id).is_some());
    out.extend(last.map(|s| (None, s.insn_idx)));
    out
}

/// The register or slot that holds the reference.
fn holder(step: &TrailStep, id: i64) -> Option<String> {
    let id = id.to_string();
    let state = State::parse(&step.state);
    let is = |e: &&Entry<'_>| e.field("ref_obj_id") == Some(&id) && !e.head.contains("or_null");
    state.entries.iter().find(is).map(|e| e.name.to_string())
}

/// The release and its call: by the table, or one that the program makes itself elsewhere.
fn release_of(scene: &Scene<'_>, cause: &Step) -> Option<(String, String, bool)> {
    let acquired = called(cause);
    if let Some((name, number, flags)) = releasing(&acquired) {
        return Some((name.to_string(), format!("call {number}"), flags));
    }
    let word = ["task", "cgroup", "cpumask", "cred", "file", "skb", "crypto", "obj"];
    let of = word.into_iter().find(|w| acquired.contains(w))?;
    let insns = scene.program.insns.iter().enumerate();
    insns.filter(|(_, i)| i.is_kfunc_call()).find_map(|(at, insn)| {
        let text = scene.namer.insn(at as u32);
        let name = text.rsplit(' ').next().unwrap_or("").split('#').next().unwrap_or("");
        let gives = ["_release", "_put", "_drop"].iter().any(|w| name.ends_with(w));
        let bytes = u64::from_le_bytes(insn.to_le_bytes());
        let flags = name.ends_with("obj_drop_impl");
        (gives && name.contains(of))
            .then(|| (name.to_string(), format!(".8byte {bytes:#x}"), flags))
    })
}

/// A load through a number becomes bpf_probe_read_kernel().
pub fn probe_read(scene: &Scene<'_>) -> Vec<Change> {
    const PROBE_READ_KERNEL: u32 = 113;
    let Some((base, off, bytes)) = scene.access() else { return Vec::new() };
    let Some(to) = scene.words.split_once(" = ").and_then(|(to, _)| number_of(to)) else {
        return Vec::new();
    };
    let live = scene.trail.live.get(scene.at as usize + 1).copied().unwrap_or(u16::MAX);
    let saved: Vec<u8> = (0..6).filter(|r| *r != to && live >> r & 1 != 0).collect();
    let room = scene.lowest_slot() - 8;
    let slot = |i: usize| room - 8 * (i as i64 + 1);
    let mut asm = String::new();
    for (i, r) in saved.iter().enumerate() {
        asm += &format!("*(u64 *)(r10 {:+}) = r{r}\n", slot(i));
    }
    asm += &format!(
        "r3 = r{base}\nr3 += {off}\nr2 = {bytes}\nr1 = r10\nr1 += {room}\ncall {PROBE_READ_KERNEL}\nr{to} = *(u{} *)(r10 {room:+})\n",
        bytes * 8
    );
    for (i, r) in saved.iter().enumerate() {
        asm += &format!("r{r} = *(u64 *)(r10 {:+})\n", slot(i));
    }
    // The load itself is passed over.
    asm += "goto pc+1";
    vec![Change {
        text: format!(
            "Read it through a helper at {}: `BPF_CORE_READ()`, or `bpf_probe_read_kernel(&copy, {bytes}, address)` (`bpf_probe_read_user()` for user memory), in place of `->`.",
            place(scene, scene.at)
        ),
        insertions: vec![Insertion::new(scene.at, asm)],
    }]
}
