//! The control-flow graph of a rewritten program in the DOT language, as `bpftool prog dump xlated … visual` draws it:
//! a cluster for each function, with an entry, an exit and blocks of instructions numbered within it.
//!
//! Where bpftool heads every function with the first one's prototype and lines, each has its own here.

use std::fmt::Write as _;

use bpfassay_isa::field::{Class, JmpCode};
use bpfassay_isa::opcode::PSEUDO_CALL;
use bpfassay_isa::RawInsn;
use bpfassay_object::model::Program;
use bpfassay_verifier::rewrite::Rewritten;

use super::{hex, Listing, Show};

const ENTRY: usize = 0;
const EXIT: usize = 1;
const FIRST_BLOCK: usize = 2;
/// Longest path that is not shortened.
const LONGEST_PATH: usize = 32;

/// A function: its number in the order of calls, and its slots.
struct Function {
    number: usize,
    start: usize,
    end: usize,
}

pub fn graph(program: &Program, rewritten: &Rewritten, show: Show) -> String {
    let all = Listing::new(program, rewritten);
    let mut out = String::from("digraph \"DOT graph for eBPF program\" {\n");
    for f in functions(rewritten) {
        let n = f.number;
        let _ =
            writeln!(out, "subgraph \"cluster_{n}\" {{\n\tstyle=\"dashed\";\n\tcolor=\"black\";");
        let _ = writeln!(out, "\tlabel=\"func_{n} ()\";");
        cluster(&mut out, &all, &f, show);
        out.push_str("}\n");
    }
    out.push_str("}\n");
    out
}

/// In the order of their slots, numbered as calls meet them.
fn functions(rewritten: &Rewritten) -> Vec<Function> {
    let mut starts = vec![0usize];
    for (i, slot) in rewritten.iter().enumerate() {
        let insn = slot.insn;
        if insn.is_call() && insn.src == PSEUDO_CALL {
            let to = (i as i64 + 1 + i64::from(insn.off)) as usize;
            if !starts.contains(&to) {
                starts.push(to);
            }
        }
    }
    let mut order: Vec<(usize, usize)> = starts.into_iter().enumerate().collect();
    order.sort_by_key(|(_, start)| *start);
    let ends: Vec<usize> =
        order.iter().skip(1).map(|(_, start)| *start).chain([rewritten.len()]).collect();
    let function = |((number, start), end)| Function { number, start, end };
    order.into_iter().zip(ends).map(function).collect()
}

/// Where a jump goes; None for what goes on or ends.
fn target(at: usize, insn: RawInsn) -> Option<(usize, bool)> {
    if !matches!(insn.class(), Class::Jmp | Class::Jmp32) {
        return None;
    }
    let by = match insn.jmp_op() {
        JmpCode::Exit | JmpCode::Call => return None,
        _ if insn.is_gotol() => i64::from(insn.imm),
        _ => i64::from(insn.off),
    };
    let always = insn.jmp_op() == JmpCode::Ja;
    Some(((at as i64 + 1 + by) as usize, always))
}

/// First slots of a function's blocks.
fn heads(rewritten: &Rewritten, f: &Function) -> Vec<usize> {
    let mut heads = vec![f.start];
    for at in f.start..f.end {
        if let Some((to, always)) = target(at, rewritten[at].insn) {
            heads.push(to);
            if !always {
                heads.push(at + 1);
            }
        }
    }
    heads.retain(|h| (f.start..f.end).contains(h));
    heads.sort_unstable();
    heads.dedup();
    heads
}

fn cluster(out: &mut String, all: &Listing<'_>, f: &Function, show: Show) {
    let heads = heads(all.rewritten, f);
    let n = f.number;
    let node = |out: &mut String, block: usize, shape: &str, label: &str| {
        let _ =
            writeln!(out, "\tfn_{n}_bb_{block} [shape={shape},style=filled,label=\"{label}\"];\n");
    };
    let end_of = |i: usize| heads.get(i + 1).copied().unwrap_or(f.end);
    node(out, ENTRY, "Mdiamond", "ENTRY");
    for (i, head) in heads.iter().enumerate() {
        let label = block(all, f, *head, end_of(i), show);
        node(out, FIRST_BLOCK + i, "record", &label);
    }
    node(out, EXIT, "Mdiamond", "EXIT");
    let edge = |out: &mut String, from: usize, to: usize| {
        let _ = writeln!(
            out,
            "\tfn_{n}_bb_{from}:s -> fn_{n}_bb_{to}:n [style=\"solid,bold\", color=black, \
             weight=10, constraint=true];"
        );
    };
    let number = |slot: usize| heads.binary_search(&slot).ok().map(|i| FIRST_BLOCK + i);
    edge(out, ENTRY, FIRST_BLOCK);
    for i in 0..heads.len() {
        let last = end_of(i) - 1;
        let next = if i + 1 < heads.len() { FIRST_BLOCK + i + 1 } else { EXIT };
        match target(last, all.rewritten[last].insn) {
            None => edge(out, FIRST_BLOCK + i, next),
            Some((to, always)) => {
                if !always {
                    edge(out, FIRST_BLOCK + i, next);
                }
                if let Some(to) = number(to) {
                    edge(out, FIRST_BLOCK + i, to);
                }
            }
        }
    }
    let _ = writeln!(
        out,
        "\tfn_{n}_bb_{ENTRY}:s -> fn_{n}_bb_{EXIT}:n [style=\"invis\", constraint=true];"
    );
}

/// The rows of a block's record.
fn block(all: &Listing<'_>, f: &Function, head: usize, end: usize, show: Show) -> String {
    let mut out = String::from("{\\\n");
    let (mut at, mut last) = (head, None);
    while at < end {
        if let Some(prototype) = all.prototype(at) {
            let _ = writeln!(out, "; {}:\\l\\", escaped(&prototype));
        }
        let record = all.record_at(at, 0);
        if let (Some(r), true) = (record, record != last) {
            line(&mut out, all, r, show);
            last = record;
        }
        let _ = writeln!(out, "{}: {}\\l\\", at - f.start, escaped(&all.text(at)));
        if show.opcodes {
            let _ = writeln!(out, "\\ \\ \\ \\ {}\\l\\", hex(&all.bytes(at)));
        }
        at += all.width(at);
        if at < end {
            out.push_str("| ");
        }
    }
    out.push('}');
    out
}

fn line(out: &mut String, all: &Listing<'_>, record: u32, show: Show) {
    let Some(line) = all.line(record).filter(|l| !l.text.is_empty()) else { return };
    if show.places {
        let path = escaped(&shortened(line.file));
        let _ = writeln!(out, "; [{path} line:{} col:{}]\\l\\", line.number, line.column);
    }
    let _ = writeln!(out, "; {}\\l\\", escaped(line.text).replace(' ', "\\ "));
}

/// The end of a long path, from a `/` on.
fn shortened(path: &str) -> String {
    let Some(from) = path.len().checked_sub(LONGEST_PATH).filter(|n| *n > 0) else {
        return path.to_string();
    };
    let from = (from..path.len()).find(|i| path.is_char_boundary(*i)).unwrap_or(0);
    match path[from..].find('/').map(|i| i + from).or(path.rfind('/')) {
        Some(at) if at >= 3 => format!("...{}", &path[at..]),
        _ => path.to_string(),
    }
}

/// What a record's label takes literally.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if "\\\"{}<>|&".contains(c) {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::{escaped, shortened};

    #[test]
    fn labels_keep_their_marks() {
        assert_eq!(escaped("if r1 > 0x2 | \"a\""), "if r1 \\> 0x2 \\| \\\"a\\\"");
    }

    #[test]
    fn long_paths_lose_their_beginning() {
        assert_eq!(shortened("a.c"), "a.c");
        let long = "/home/someone/projects/tracer/src/probe.c";
        assert_eq!(shortened(long), ".../projects/tracer/src/probe.c");
    }
}
