//! Where something happened: function, file, the lines around it, and the instructions around it
//! (`bpf_diag_source`).

use std::fmt::Write;

use super::text::wrapped;
use crate::env::Env;
use crate::explore::entry::subprog_name;
use crate::log::insn::insn_text;
use crate::log::state::find_linfo;

/// Lines and instructions shown before and after.
const CONTEXT: i64 = 2;
/// Columns of a line with its number.
const LANE: usize = 88;
const TAB: usize = 8;

/// A source line as line info has it.
struct Line<'b> {
    file: &'b str,
    file_off: u32,
    text: &'b str,
    number: i64,
    column: u32,
}

fn digits(n: i64) -> usize {
    n.max(0).to_string().len()
}

fn line<'b>(env: &'b Env<'_>, index: usize) -> Option<Line<'b>> {
    let (li, btf) = (env.prog.line_info.get(index)?, env.prog.btf.as_deref()?);
    let file = btf.str(li.file_name_off);
    Some(Line {
        file: file.rsplit('/').next().unwrap_or(file),
        file_off: li.file_name_off,
        text: btf.str(li.line_off),
        number: i64::from(li.line_col >> 10),
        column: li.line_col & 0x3ff,
    })
}

/// Writes the place of an instruction, with `label: note` below its line.
pub fn write(env: &Env<'_>, out: &mut String, insn_idx: u32, label: &str, note: &str) {
    let note = format!("{label}: {note}");
    // Line records are looked at after the program's jumps.
    let known = env.subprogs.first().is_some_and(|s| s.is_named);
    let at = find_linfo(env, insn_idx).filter(|_| known).and_then(|i| line(env, i as usize));
    let Some(at) = at.filter(|l| !l.file.is_empty()) else {
        let _ = writeln!(out, "  insn {insn_idx}");
        annotate(out, 0, 0, &note);
        return write_insns(env, out, insn_idx);
    };
    let subprog = env.subprogs.partition_point(|s| s.start <= insn_idx).checked_sub(1);
    let func = subprog.map(|s| subprog_name(env, s as u32)).unwrap_or_default();
    let sep = if func.is_empty() { "" } else { " @ " };
    let _ = writeln!(out, "  {func}{sep}{}:{}:{}", at.file, at.number, at.column);
    if at.text.is_empty() {
        annotate(out, 0, 0, &note);
        return write_insns(env, out, insn_idx);
    }
    out.push_str("  Source context:\n");
    let width = digits(at.number + CONTEXT);
    let around = lines_around(env, subprog, &at);
    for (number, text) in (at.number - CONTEXT..).zip(around) {
        let marker = if number == at.number { ">>> " } else { "    " };
        let _ = writeln!(out, "  {}", lane(marker, width, number, text));
        if number == at.number {
            annotate(out, width, indent(at.text), &note);
        }
    }
    write_insns(env, out, insn_idx);
}

/// The function's lines next to one of them, where it has them.
fn lines_around<'b>(
    env: &'b Env<'_>,
    subprog: Option<usize>,
    at: &Line<'_>,
) -> [Option<&'b str>; 5] {
    let first_of = |s: usize| env.subprogs.get(s).map(|s| s.linfo_idx as usize);
    let start = subprog.and_then(first_of).unwrap_or(0);
    let end = subprog.and_then(|s| first_of(s + 1)).unwrap_or(env.prog.line_info.len());
    let mut around = [None; 5];
    for l in (start..end).filter_map(|i| line(env, i)) {
        let place = usize::try_from(l.number - (at.number - CONTEXT));
        if let Some(place) = place.ok().and_then(|p| around.get_mut(p)) {
            if l.file_off == at.file_off && !l.text.is_empty() && place.is_none() {
                *place = Some(l.text);
            }
        }
    }
    around
}

fn lane(marker: &str, width: usize, number: i64, text: Option<&str>) -> String {
    if number <= 0 {
        return String::new();
    }
    let mut out = format!("{marker}{number:width$} | ");
    let room = LANE.saturating_sub(out.len());
    out.push_str(&fitted(text.unwrap_or("..."), room));
    out
}

/// Tabs become blanks; what does not fit ends in dots.
fn fitted(text: &str, room: usize) -> String {
    let mut out: Vec<u8> = Vec::new();
    let mut rest = text.bytes();
    let mut left = rest.clone();
    while let Some(b) = rest.next() {
        if out.len() >= room {
            break;
        }
        if b == b'\t' {
            let stop = (out.len() + 1).next_multiple_of(TAB).min(room);
            out.resize(stop, b' ');
        } else {
            out.push(b);
        }
        left = rest.clone();
    }
    if left.len() > 0 {
        let dots = room.min(3);
        out.truncate(room - dots);
        out.resize(out.len() + dots, b'.');
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// Columns before the first character.
fn indent(text: &str) -> usize {
    let blanks = text.bytes().take_while(|b| matches!(b, b' ' | b'\t'));
    blanks.fold(0, |at: usize, b| if b == b'\t' { (at + 1).next_multiple_of(TAB) } else { at + 1 })
}

fn annotate(out: &mut String, line_width: usize, indent: usize, note: &str) {
    let indent = indent.min(LANE.saturating_sub(line_width + 8));
    let bar = format!("  {:1$} | {2:3$}", "", line_width + 4, "", indent);
    out.push_str(&wrapped(&format!("{bar}^-- "), &format!("{bar}    "), note));
}

fn write_insns(env: &Env<'_>, out: &mut String, insn_idx: u32) {
    let width = digits(env.insns.len() as i64 - 1);
    out.push_str("  Instruction context:\n");
    let at = i64::from(insn_idx);
    for i in (at - CONTEXT)..=(at + CONTEXT) {
        let Some(insn) = usize::try_from(i).ok().and_then(|i| env.insns.get(i)) else { continue };
        let second = i > 0 && env.insns[i as usize - 1].is_ld_imm64();
        let cut = insn.is_ld_imm64() && i as usize + 1 >= env.insns.len();
        if second || cut {
            continue;
        }
        let marker = if i == at { ">>> " } else { "    " };
        let _ = writeln!(out, "  {marker}{i:width$} | {}", insn_text(env, i as u32));
    }
}
