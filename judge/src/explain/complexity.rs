//! Where the verifier's budget went: loops and lines by visits, what kept states apart, and remedies measured.

use std::collections::{BTreeMap, BTreeSet};

use bpfassay_diag::log::State;
use bpfassay_diag::number::grouped;
use bpfassay_object::model::Program;
use bpfassay_spec::Kernel;
use bpfassay_verifier::cfg::loops::{natural_loops, Loop};
use bpfassay_verifier::{verify, Config, Report, Verdict};

use super::candidates::place;
use super::edit::{insert, Insertion};
use super::repair::{Change, Outcome, Tried};
use super::scene::Scene;
use crate::target::Target;

/// Instructions that a remedy may cost while it is tried.
const TRIAL: u32 = 250_000;
/// Lines and loops named.
const NAMED: usize = 3;

/// Where the budget went, in a sentence or two.
pub fn costs(scene: &Scene<'_>, report: &Report) -> Option<String> {
    let total = u64::from(report.stats.insns_processed).max(1);
    let mut parts = Vec::new();
    let hot = hot_loop(scene, report);
    if let Some(l) = &hot {
        let visits = report.insn_visits.get(l.head as usize).copied().unwrap_or(0);
        let inside: u64 = l
            .body
            .iter()
            .filter_map(|i| report.insn_visits.get(*i as usize))
            .map(|v| u64::from(*v))
            .sum();
        parts.push(format!(
            "the loop at {} (insn {} to {}) was gone through {} times and took {} % of all instructions processed",
            place(scene, l.head),
            l.head,
            l.body.last().copied().unwrap_or(l.head),
            grouped(visits),
            inside * 100 / total
        ));
        if let Some(names) = apart(scene, l.head) {
            parts.push(format!("each round differs from the one before in {names}, so no round is covered by an earlier one"));
        }
    } else if let Some(lines) = dearest(scene, report) {
        parts.push(lines);
    }
    let states = report.stats.max_states_per_insn;
    if states > 8 {
        parts.push(format!("up to {states} states were kept at one instruction"));
    }
    (!parts.is_empty()).then(|| parts.join("; "))
}

/// The innermost loop whose head was visited most.
pub fn hot_loop(scene: &Scene<'_>, report: &Report) -> Option<Loop> {
    let mut entries: BTreeSet<u32> = scene.program.func_info.iter().map(|f| f.insn_off).collect();
    entries.extend(scene.program.subprogs.iter().map(|s| s.insn_off));
    entries.insert(0);
    let entries: Vec<u32> = entries.into_iter().collect();
    let loops = natural_loops(&scene.program.insns, &entries);
    let visits = |l: &Loop| report.insn_visits.get(l.head as usize).copied().unwrap_or(0);
    loops.into_iter().filter(|l| visits(l) > 8).max_by_key(visits)
}

/// The source lines that cost most.
fn dearest(scene: &Scene<'_>, report: &Report) -> Option<String> {
    let mut lines: BTreeMap<String, u64> = BTreeMap::new();
    for (i, n) in report.insn_visits.iter().enumerate().filter(|(_, n)| **n > 0) {
        *lines.entry(place(scene, i as u32)).or_default() += u64::from(*n);
    }
    let mut lines: Vec<_> = lines.into_iter().collect();
    lines.sort_by_key(|l| std::cmp::Reverse(l.1));
    let named: Vec<String> =
        lines.iter().take(NAMED).map(|(p, n)| format!("{p} ({})", grouped(*n))).collect();
    (!named.is_empty()).then(|| format!("most instructions were processed at {}", named.join(", ")))
}

/// Registers and slots in which the last rounds differ.
fn apart(scene: &Scene<'_>, head: u32) -> Option<String> {
    const ROUNDS: usize = 32;
    let rounds: Vec<State<'_>> = scene
        .trail
        .steps
        .iter()
        .rev()
        .filter(|s| s.insn_idx == head)
        .take(ROUNDS)
        .map(|s| State::parse(&s.state))
        .collect();
    let mut names: BTreeMap<&str, usize> = BTreeMap::new();
    for pair in rounds.windows(2) {
        for e in &pair[0].entries {
            if pair[1].get(e.name).is_none_or(|o| o.value != e.value) {
                *names.entry(e.name).or_default() += 1;
            }
        }
    }
    let always: Vec<String> = names
        .into_iter()
        .filter(|(_, n)| *n * 2 >= rounds.len())
        .map(|(name, _)| {
            let value = rounds.first().and_then(|r| r.get(name)).map_or("", |e| e.value);
            format!("{name} ({} last)", value.chars().take(40).collect::<String>())
        })
        .take(4)
        .collect();
    (!always.is_empty()).then(|| always.join(", "))
}

/// Remedies for the loop, each verified with a small budget; the first that passes.
pub fn remedy(scene: &Scene<'_>, target: &Target, report: &Report) -> Option<Tried> {
    let l = hot_loop(scene, report).or_else(|| endless(scene))?;
    let leave = "may_goto leave\ngoto on\nleave:\nr0 = 0\nexit\non:";
    let head = place(scene, l.head);
    let limited = Insertion::new(l.head, leave);
    let mut changes = vec![Change {
        text: format!("Let the loop at {head} end by the kernel's own count: `for (…; cond && can_loop; …)` or `cond_break;` in its body (bpf_experimental.h, Linux 6.9 and later)."),
        insertions: vec![limited.clone()],
    }];
    if let Some((at, r)) = counter(scene, &l) {
        const PRANDOM: u32 = 7;
        let unknown = Insertion::new(at, format!("call {PRANDOM}\nr{r} = r0\nr{r} &= 1"));
        changes.push(Change {
            text: format!("Let the loop at {head} end by the kernel's own count (`cond && can_loop`, or `cond_break;`), and start its counter at a value that the verifier does not know, so that all rounds look alike: `static volatile const int zero;` and `for (i = zero; …)` (bpf_experimental.h, Linux 6.9 and later)."),
            insertions: vec![limited, unknown],
        });
    }
    let mut kernel: Kernel = target.kernel.clone();
    kernel.limits.max_processed_insns = kernel.limits.max_processed_insns.min(TRIAL);
    let config = Config { kernel: &kernel, ..target.config() };
    changes.into_iter().find_map(|change| attempt(scene.program, &config, change))
}

fn attempt(program: &Program, config: &Config<'_>, change: Change) -> Option<Tried> {
    let report = verify(&insert(program, &change.insertions)?, config);
    let accepted = matches!(report.verdict, Verdict::Accepted);
    let processed = report.stats.insns_processed;
    accepted.then_some(Tried { change, outcome: Outcome::Accepted, processed })
}

/// The loop that makes no progress, where its visits say nothing.
fn endless(scene: &Scene<'_>) -> Option<Loop> {
    let mut entries: Vec<u32> = scene.program.subprogs.iter().map(|s| s.insn_off).collect();
    entries.push(0);
    let at = bpfassay_diag::story::number_after(&scene.said, "at insn ")
        .and_then(|n| u32::try_from(n).ok())
        .unwrap_or(scene.at);
    natural_loops(&scene.program.insns, &entries).into_iter().find(|l| l.body.contains(&at))
}

/// Where the loop's counter gets its first, constant value: the instruction behind that, and the register.
fn counter(scene: &Scene<'_>, l: &Loop) -> Option<(u32, u8)> {
    const FAR: u32 = 24;
    let counted = l.body.iter().find_map(|i| {
        let text = scene.namer.insn(*i);
        let (to, by) = text.split_once(") ")?.1.split_once(" += ")?;
        by.parse::<i64>().ok().and(super::scene::number_of(to))
    })?;
    let from = l.head.saturating_sub(FAR);
    (from..l.head).rev().find_map(|i| {
        let text = scene.namer.insn(i);
        let (to, value) = text.split_once(") ")?.1.split_once(" = ")?;
        let is_it = super::scene::number_of(to) == Some(counted) && value.parse::<i64>().is_ok();
        is_it.then_some((i + 1, counted))
    })
}
