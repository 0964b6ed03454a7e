//! Basic blocks, from the text of the instructions: a log has nothing else.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

/// Most blocks drawn.
const MOST: usize = 400;

/// Instructions that run one after the other.
#[derive(Serialize, Debug, PartialEq, Eq)]
pub struct Block {
    from: u32,
    to: u32,
    text: Vec<String>,
    to_blocks: Vec<usize>,
}

/// The blocks of a program, in the order of its instructions; none of one too large to be drawn.
pub fn of(insns: &BTreeMap<u32, String>) -> Vec<Block> {
    let mut begins: BTreeSet<u32> = insns.keys().next().copied().into_iter().collect();
    for (at, text) in insns {
        let next = insns.range(at + 1..).next().map(|(n, _)| *n);
        if ends(text) {
            begins.extend(next);
        }
        begins.extend(target(*at, text).filter(|t| insns.contains_key(t)));
        // A hole: what stands there was never seen.
        begins.extend(next.filter(|n| *n > at + 2));
    }
    if begins.len() > MOST {
        return Vec::new();
    }
    let starts: Vec<u32> = begins.into_iter().collect();
    let index: BTreeMap<u32, usize> = starts.iter().enumerate().map(|(i, s)| (*s, i)).collect();
    let block = |(i, from): (usize, &u32)| {
        let end = starts.get(i + 1).copied().unwrap_or(u32::MAX);
        let own: Vec<(&u32, &String)> = insns.range(from..&end).collect();
        let (last, text) = own.last().map_or((*from, ""), |(n, t)| (**n, t.as_str()));
        let mut to_blocks = Vec::new();
        let stops = text.ends_with(") exit") || text.contains(") goto") || text == "(95) exit";
        if !stops && i + 1 < starts.len() {
            to_blocks.push(i + 1);
        }
        to_blocks.extend(target(last, text).and_then(|t| index.get(&t)).copied());
        let text = own.iter().map(|(n, t)| format!("{n}: {t}")).collect();
        Block { from: *from, to: last, text, to_blocks }
    };
    starts.iter().enumerate().map(block).collect()
}

/// The edges that a path took.
pub fn taken(blocks: &[Block], path: impl Iterator<Item = u32>) -> Vec<(usize, usize)> {
    let of = |insn: u32| blocks.partition_point(|b| b.from <= insn).checked_sub(1);
    let mut edges = BTreeSet::new();
    let mut last: Option<(u32, usize)> = None;
    for insn in path {
        let Some(block) = of(insn) else { continue };
        if let Some((before, from)) = last {
            if from != block || insn <= before {
                edges.insert((from, block));
            }
        }
        last = Some((insn, block));
    }
    edges.into_iter().collect()
}

fn ends(text: &str) -> bool {
    text.contains(") if ") || text.contains(" goto") || text.contains("exit")
}

/// Where a jump leads: `goto pc+3`.
fn target(at: u32, text: &str) -> Option<u32> {
    let (_, distance) = text.split_once("goto pc")?;
    let distance: i64 = distance.trim().trim_start_matches('+').parse().ok()?;
    u32::try_from(i64::from(at) + 1 + distance).ok()
}

#[cfg(test)]
mod tests {
    use super::{of, taken};

    #[test]
    fn a_loop_and_a_way_out() {
        let text = [
            "(b7) r0 = 0",
            "(15) if r1 == 0x0 goto pc+2",
            "(07) r0 += 1",
            "(05) goto pc-3",
            "(95) exit",
        ];
        let insns = text.iter().enumerate().map(|(i, t)| (i as u32, t.to_string())).collect();
        let blocks = of(&insns);
        let edges: Vec<_> = blocks.iter().map(|b| (b.from, b.to, b.to_blocks.clone())).collect();
        assert_eq!(edges, [(0, 0, vec![1]), (1, 1, vec![2, 3]), (2, 3, vec![1]), (4, 4, vec![])]);
        assert_eq!(
            taken(&blocks, [0, 1, 2, 3, 1, 4].into_iter()),
            [(0, 1), (1, 2), (1, 3), (2, 1)]
        );
    }
}
