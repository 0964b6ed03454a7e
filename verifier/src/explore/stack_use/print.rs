//! The analysis in the log of level 2: what each instruction does to pointers, what each function was handed, and
//! what each instruction reads and writes (`arg_track_log`, `print_subprog_arg_access`, `print_instances`).

use std::fmt;

use bpfassay_isa::field::{Class, JmpCode};
use bpfassay_isa::RawInsn;

use super::flow::At;
use super::track::Track;
use super::{Analysis, Halves, Instance, StackUse};
use crate::cfg::slots;
use crate::env::Env;
use crate::explore::entry::subprog_name;
use crate::log::insn::print_insn_only;
use crate::log::state::state_column;
use crate::trace;

/// A register or a slot of the frame, counted as [`At`] does: registers first.
struct Place(usize);

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.checked_sub(super::flow::REGS) {
            None => write!(f, "r{}", self.0),
            Some(slot) => write!(f, "fp{}", -(slot as i32 + 1) * 8),
        }
    }
}

impl fmt::Display for Track {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Track::None => f.write_str("_"),
            Track::Unvisited => f.write_str("?"),
            Track::Imprecise(mask) => write!(f, "IMP{mask:x}"),
            Track::Frame(frame, offs) if offs.is_any() => write!(f, "fp{frame} ?"),
            Track::Frame(frame, offs) => {
                for (i, off) in offs.as_slice().iter().enumerate() {
                    let sep = if i == 0 { "" } else { "|" };
                    write!(f, "{sep}fp{frame}{off:+}")?;
                }
                Ok(())
            }
        }
    }
}

/// `subprog#N name`
struct Subprog<'e>(&'e Env<'e>, u32);

impl fmt::Display for Subprog<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = subprog_name(self.0, self.1);
        let sep = if name.is_empty() { "" } else { " " };
        write!(f, "subprog#{}{sep}{name}", self.1)
    }
}

/// Says that a function is followed now.
pub fn print_start(env: &mut Env<'_>, pass: &Instance) {
    trace!(env, "subprog#{}: analyzing (depth {})...\n", pass.subprog, pass.depth);
}

/// What an instruction changes (`arg_track_log`).
pub fn print_change(env: &mut Env<'_>, idx: u32, before: &At, after: &At) {
    let changed = before.all().zip(after.all()).enumerate().filter(|(_, (b, a))| b != a);
    let mut any = false;
    for (place, (before, after)) in changed {
        if !any {
            print_numbered(env, idx);
            any = true;
        }
        trace!(env, "\t{}: {before} -> {after}", Place(place));
    }
    if any {
        trace!(env, "\n");
    }
}

/// A merge of paths that changed what is known (`arg_track_join`).
pub fn print_join(
    env: &mut Env<'_>,
    (from, to): (u32, u32),
    place: usize,
    [old, with, new]: [Track; 3],
) {
    if old.is_visited() {
        trace!(env, "arg JOIN insn {from} -> {to} {}: {old} + {with} => {new}\n", Place(place));
    }
}

/// A function's instructions, with the pointers into frames that loads, stores and calls meet
/// (`print_subprog_arg_access`).
pub fn print_handed(env: &mut Env<'_>, pass: &Instance, at: &[At]) {
    let title = Subprog(env, pass.subprog).to_string();
    trace!(env, "{title}:\n");
    let mut i = 0;
    while i < pass.len {
        let idx = pass.start + i as u32;
        print_numbered(env, idx);
        let insn = env.insns[idx as usize];
        if shows_pointers(insn) {
            let tracks =
                at[i].all().enumerate().filter(|(r, t)| *r != super::flow::FP && t.is_fp());
            let mut sep = " //";
            for (place, track) in tracks {
                trace!(env, "{sep} {}={track}", Place(place));
                sep = "";
            }
        }
        trace!(env, "\n");
        i += slots(insn) as usize;
    }
}

fn shows_pointers(insn: RawInsn) -> bool {
    match insn.class() {
        Class::Ldx | Class::Stx => true,
        Class::Jmp => insn.jmp_op() == JmpCode::Call && !insn.is_src_reg(),
        _ => false,
    }
}

fn print_numbered(env: &mut Env<'_>, idx: u32) {
    trace!(env, "{idx:3}: ");
    print_insn_only(env, idx);
}

impl Analysis {
    /// What was found, by call and depth (`print_instances`).
    pub(super) fn print(&self, env: &mut Env<'_>) {
        let StackUse { instances, by_call } = &self.found;
        let mut calls: Vec<_> = by_call.iter().collect();
        calls.sort();
        for ((callsite, depth), at) in calls {
            let instance = &instances[*at];
            let title = Subprog(env, instance.subprog).to_string();
            trace!(env, "stack use/def {title} (d{depth},cs{callsite}):\n");
            print_instance(env, instance);
        }
    }
}

fn print_instance(env: &mut Env<'_>, instance: &Instance) {
    let mut i = 0;
    while i < instance.len {
        let idx = instance.start + i as u32;
        let start = env.log.pos();
        print_numbered(env, idx);
        let of = |what: fn(&super::Masks) -> Halves| {
            let of_frame = |f: usize| (f, instance.masks(f, idx).map_or(0, what));
            let spans: Vec<String> = (0..=instance.depth)
                .rev()
                .map(of_frame)
                .flat_map(|(f, mask)| spans(f, mask))
                .collect();
            spans.join(" ")
        };
        let (used, defined) = (of(|m| m.may_read), of(|m| m.must_write));
        if !used.is_empty() || !defined.is_empty() {
            let width = state_column((env.log.pos() - start) as u32) as usize;
            trace!(env, "{:width$};", "");
        }
        for (what, list) in [("use", used), ("def", defined)] {
            if !list.is_empty() {
                trace!(env, " {what}: {list}");
            }
        }
        trace!(env, "\n");
        i += slots(env.insns[idx as usize]) as usize;
    }
}

/// Halves of a frame's slots: whole ones by their offset, three or more in a row as a range, single halves with
/// an `h` (`fmt_spis_mask`).
fn spans(frame: usize, mask: Halves) -> Vec<String> {
    let pair = |spi: usize| if spi < 64 { (mask >> (2 * spi)) as u8 & 3 } else { 0 };
    let off = |spi: usize| -(spi as i32 + 1) * 8;
    let mut out = Vec::new();
    let mut spi = 0;
    while spi < 64 {
        match pair(spi) {
            0 => {}
            1 => out.push(format!("fp{frame}{}h", off(spi) + 4)),
            2 => out.push(format!("fp{frame}{}h", off(spi))),
            _ => {
                let last = (spi..64).take_while(|s| pair(*s) == 3).last().unwrap_or(spi);
                if last - spi >= 2 {
                    out.push(format!("fp{frame}{}..{}", off(spi), off(last)));
                    spi = last;
                } else {
                    out.push(format!("fp{frame}{}", off(spi)));
                }
            }
        }
        spi += 1;
    }
    out
}
