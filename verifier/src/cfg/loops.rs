//! Natural loops, by dominators: for people who ask where the verifier's time went.

use std::collections::{BTreeMap, BTreeSet};

use bpfassay_isa::RawInsn;
use petgraph::algo::dominators::simple_fast;
use petgraph::graph::NodeIndex;
use petgraph::Direction;

use super::graph::instruction_graph;

/// A loop that is entered at its head only.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Loop {
    /// First slot.
    pub head: u32,
    /// Slots that jump back to the head.
    pub latches: Vec<u32>,
    /// Every slot of it, ascending; those of loops inside too.
    pub body: Vec<u32>,
}

/// The loops of the functions that begin at `entries`, by their heads.
pub fn natural_loops(insns: &[RawInsn], entries: &[u32]) -> Vec<Loop> {
    let graph = instruction_graph(insns);
    let mut found: BTreeMap<u32, (BTreeSet<u32>, BTreeSet<u32>)> = BTreeMap::new();
    for entry in entries.iter().filter(|e| (**e as usize) < insns.len()) {
        let dominators = simple_fast(&graph, NodeIndex::new(*entry as usize));
        for edge in graph.edge_indices() {
            let Some((from, to)) = graph.edge_endpoints(edge) else { continue };
            let mut above = match dominators.dominators(from) {
                Some(above) => above,
                None => continue,
            };
            if !above.any(|d| d == to) {
                continue;
            }
            let (latches, body) = found.entry(to.index() as u32).or_default();
            latches.insert(from.index() as u32);
            body.insert(to.index() as u32);
            let mut work = vec![from];
            while let Some(node) = work.pop() {
                if body.insert(node.index() as u32) {
                    work.extend(graph.neighbors_directed(node, Direction::Incoming));
                }
            }
        }
    }
    let of = |(head, (latches, body)): (u32, (BTreeSet<u32>, BTreeSet<u32>))| Loop {
        head,
        latches: latches.into_iter().collect(),
        body: body.into_iter().collect(),
    };
    found.into_iter().map(of).collect()
}

#[cfg(test)]
mod tests {
    use bpfassay_isa::asm::{assemble, NoNames};

    use super::natural_loops;

    #[test]
    fn one_loop_inside_another() {
        let text = "r0 = 0\nouter:\nr1 = 0\ninner:\nr1 += 1\nif r1 != 0x5 goto inner\nr0 += 1\nif r0 != 0x9 goto outer\nexit";
        let insns = assemble(text, &NoNames).expect("it assembles");
        let loops = natural_loops(&insns, &[0]);
        let short: Vec<_> =
            loops.iter().map(|l| (l.head, l.latches.clone(), l.body.clone())).collect();
        assert_eq!(short, [(1, vec![5], vec![1, 2, 3, 4, 5]), (2, vec![3], vec![2, 3])]);
    }

    #[test]
    fn a_jump_forward_makes_none() {
        let insns = assemble("if r1 == 0x0 goto out\nr0 = 1\nout:\nexit", &NoNames);
        assert!(natural_loops(&insns.expect("it assembles"), &[0]).is_empty());
    }
}
