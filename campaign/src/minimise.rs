//! Smaller cases with the same finding: first by fewer and simpler choices, then by fewer instructions.

use proptest::strategy::ValueTree;

use bpfassay_isa::RawInsn;

use crate::case::Case;
use crate::source::CaseTree;

/// Cases tried at most in either half.
const TRIES: u32 = 4_000;

/// The smallest case found on which `is_seen` still holds.
pub fn minimise(case: &Case, is_seen: &mut dyn FnMut(&Case) -> bool) -> Case {
    let fewer = if case.choices.is_empty() { case.clone() } else { by_choices(case, is_seen) };
    by_instructions(fewer, is_seen)
}

fn by_choices(case: &Case, is_seen: &mut dyn FnMut(&Case) -> bool) -> Case {
    let mut tree = CaseTree::of(case.choices.clone());
    let mut best = case.clone();
    for _ in 0..TRIES {
        if !tree.simplify() {
            break;
        }
        let smaller = tree.current();
        if is_seen(&smaller) {
            best = smaller;
        } else {
            tree.complicate();
        }
    }
    best
}

fn by_instructions(mut case: Case, is_seen: &mut dyn FnMut(&Case) -> bool) -> Case {
    let mut tries = 0;
    let mut has_changed = true;
    while has_changed && tries < TRIES {
        has_changed = false;
        let mut i = case.program.insns.len();
        while i > 0 {
            i -= 1;
            tries += 1;
            let Some(insns) = without(&case.program.insns, i) else { continue };
            let smaller = case.with_insns(insns);
            if is_seen(&smaller) {
                case = smaller;
                has_changed = true;
            }
        }
    }
    case
}

/// The instructions without the one at `i`, jumps over it shortened; None for the second half of a wide one.
fn without(insns: &[RawInsn], i: usize) -> Option<Vec<RawInsn>> {
    if i > 0 && insns[i - 1].is_ld_imm64() {
        return None;
    }
    let gone = if insns[i].is_ld_imm64() { 2 } else { 1 };
    let moved = |at: i64| if at > i as i64 { at - gone } else { at };
    let mut out = Vec::with_capacity(insns.len());
    let mut at = 0;
    while at < insns.len() {
        let wide = insns[at].is_ld_imm64();
        if at != i {
            let mut insn = insns[at];
            if let Some(distance) = distance(insn) {
                let from = at as i64;
                let to = from + 1 + i64::from(distance);
                set_distance(&mut insn, (moved(to) - moved(from) - 1) as i32);
            }
            out.push(insn);
            if wide {
                out.extend(insns.get(at + 1));
            }
        }
        at += if wide { 2 } else { 1 };
    }
    Some(out)
}

/// Distance of a jump, of a call of the program's own functions, or of a loaded function.
fn distance(insn: RawInsn) -> Option<i32> {
    match insn.jump_distance() {
        Some(distance) => Some(distance),
        None => (insn.is_pseudo_call() || insn.is_pseudo_func()).then_some(insn.imm),
    }
}

fn set_distance(insn: &mut RawInsn, distance: i32) {
    if insn.jump_distance().is_some() && !insn.is_gotol() {
        insn.off = distance as i16;
    } else {
        insn.imm = distance;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::Source;
    use bpfassay_isa::asm::{assemble, NoNames};

    #[test]
    fn jumps_over_what_goes_become_shorter() {
        let of = |text: &str| assemble(text, &NoNames).unwrap();
        let before = of("r0 = 1\nif r1 == 0x0 goto out\nr0 = 2\nr2 = 3\nout:\nexit");
        let after = of("r0 = 1\nif r1 == 0x0 goto out\nr2 = 3\nout:\nexit");
        assert_eq!(without(&before, 2), Some(after));
    }

    #[test]
    fn the_smallest_program_that_multiplies_is_short() {
        let multiplies = |c: &Case| c.program.insns.iter().any(|i| matches!(i.code, 0x27 | 0x2f));
        let case = (0..).map(|number| Source::Seed { seed: 1, number }.case()).find(multiplies);
        let small = minimise(&case.unwrap(), &mut |c| multiplies(c));
        assert_eq!(small.program.insns.len(), 1);
    }
}
