//! `bpfassay dump jited` as a person reads it: every instruction once, every byte of code once.

mod program;

use std::path::Path;
use std::process::Command;

/// With wide instructions, helpers' call stubs, and functions.
const OBJECTS: [&str; 3] = ["xdp/arp_reply.o", "xdp/lb_pick.o", "subprog/static_call.o"];

fn dump(object: &str, args: &[&str]) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../corpus/objects/v3").join(object);
    let mut command = Command::new(program::path());
    let out = command.args(["dump", "jited"]).args(args).arg(path).output();
    let out = out.expect("the program runs");
    assert!(out.status.success(), "{object}: {}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8(out.stdout).expect("text")
}

/// The number before a colon, if what follows is an instruction as the kernel prints it.
fn slot(line: &str) -> Option<usize> {
    let (number, text) = line.split_once(": ")?;
    text.starts_with('(').then(|| number.parse().ok())?
}

/// Offset and length of a line of machine code.
fn code(line: &str) -> Option<(usize, usize)> {
    let (off, rest) = line.strip_prefix("  ")?.trim_start().split_once(": ")?;
    let bytes = rest.split(' ').next()?;
    Some((usize::from_str_radix(off, 16).ok()?, bytes.len() / 2))
}

#[test]
fn every_instruction_and_every_byte_is_listed_once() {
    for (object, engine) in OBJECTS.iter().flat_map(|o| [(o, "x86"), (o, "arm64")]) {
        let text = dump(object, &["--engine", engine]);
        let numbers = text.lines().next().expect("a line").split([' ', ',']);
        let numbers: Vec<usize> = numbers.filter_map(|w| w.parse().ok()).collect();
        let [slots, _, bytes] = numbers[..] else { panic!("{object}: {text}") };
        let listed: Vec<usize> = text.lines().filter_map(slot).collect();
        let wide = text.lines().filter(|l| slot(l).is_some() && l.contains(": (18) ")).count();
        assert_eq!(listed.len() + wide, slots, "{object} {engine}");
        assert!(listed.is_sorted_by(|a, b| a < b), "{object} {engine}");
        let pieces: Vec<(usize, usize)> = text.lines().filter_map(code).collect();
        assert!(pieces.windows(2).all(|w| w[0].0 + w[0].1 == w[1].0), "{object} {engine}");
        assert_eq!(pieces.iter().map(|(_, n)| n).sum::<usize>(), bytes, "{object} {engine}");
        assert!(!text.contains("BUG_"), "{text}");

        let dot = dump(object, &["--engine", engine, "--format", "dot"]);
        assert!(dot.starts_with("digraph ") && !dot.contains("BUG_"), "{dot}");
        let in_dot = dot.split(['"', '\\']).filter_map(|s| slot(s.strip_prefix('l').unwrap_or(s)));
        let mut in_dot: Vec<usize> = in_dot.collect();
        in_dot.sort_unstable();
        assert_eq!(in_dot, listed, "{object} {engine}");
    }
}
