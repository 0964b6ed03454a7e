//! Basic blocks, read off the instruction graph.

use bpfassay_isa::RawInsn;
use petgraph::visit::EdgeRef;
use petgraph::Direction;

use super::graph::{instruction_graph, Edge};

/// Slots `start..end` that are only entered at the first and left at the last.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Block {
    pub start: u32,
    /// Exclusive.
    pub end: u32,
    /// First slots of the blocks that may follow, ascending; callees are not among them.
    pub successors: Vec<u32>,
}

/// The blocks of a program in order of their first slot.
pub fn blocks(insns: &[RawInsn]) -> Vec<Block> {
    let graph = instruction_graph(insns);
    let mut leaders = vec![false; insns.len()];
    if let Some(first) = leaders.first_mut() {
        *first = true;
    }
    for node in graph.node_indices() {
        let out: Vec<_> = graph.edges_directed(node, Direction::Outgoing).collect();
        let ends = out.len() != 1 || out.iter().any(|e| *e.weight() == Edge::Branch);
        if !ends || is_second_slot(insns, node.index()) {
            continue;
        }
        for e in &out {
            leaders[e.target().index()] = true;
        }
        let next = node.index() + super::slots(insns[node.index()]) as usize;
        if let Some(l) = leaders.get_mut(next) {
            *l = true;
        }
    }
    let starts: Vec<usize> = (0..insns.len()).filter(|i| leaders[*i]).collect();
    let ends = starts.iter().copied().skip(1).chain([insns.len()]);
    starts.iter().zip(ends).map(|(&start, end)| block(&graph, insns, start, end)).collect()
}

fn block(
    graph: &petgraph::graph::DiGraph<u32, Edge, u32>,
    insns: &[RawInsn],
    start: usize,
    end: usize,
) -> Block {
    let last = if end >= 2 && is_second_slot(insns, end - 1) { end - 2 } else { end - 1 };
    let node = petgraph::graph::NodeIndex::new(last);
    let mut successors: Vec<u32> = graph.neighbors(node).map(|n| n.index() as u32).collect();
    successors.sort_unstable();
    successors.dedup();
    Block { start: start as u32, end: end as u32, successors }
}

/// True for the second slot of a wide immediate, which is no instruction.
pub fn is_second_slot(insns: &[RawInsn], i: usize) -> bool {
    i > 0 && insns[i].code == 0 && insns[i - 1].is_ld_imm64()
}

#[cfg(test)]
mod tests {
    use super::*;
    use bpfassay_isa::asm::{assemble, NoNames};

    #[test]
    fn a_diamond_has_four_blocks() {
        let text = "r0 = 1\nif r1 == 0x0 goto no\nr0 = 2\ngoto out\nno:\nr0 = 3\nout:\nexit";
        let found = blocks(&assemble(text, &NoNames).expect("assembles"));
        let shape: Vec<_> = found.iter().map(|b| (b.start, b.end, b.successors.clone())).collect();
        assert_eq!(shape, [(0, 2, vec![2, 4]), (2, 4, vec![5]), (4, 5, vec![5]), (5, 6, vec![])]);
    }
}
