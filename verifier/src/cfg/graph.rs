//! The instruction graph as a petgraph value, for queries and dumps.

use bpfassay_isa::RawInsn;
use petgraph::graph::DiGraph;

use super::{slots, successors};

/// How control gets from one instruction to another.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Edge {
    FallThrough,
    Branch,
}

/// Nodes are instruction slots in order; second slots of LD_IMM64 are isolated.
/// Edges stay within a subprogram; those that leave the program are dropped.
pub fn instruction_graph(insns: &[RawInsn]) -> DiGraph<u32, Edge, u32> {
    let mut g = DiGraph::with_capacity(insns.len(), insns.len());
    let nodes: Vec<_> = (0..insns.len() as u32).map(|i| g.add_node(i)).collect();
    let mut i = 0u32;
    while let Some(insn) = insns.get(i as usize) {
        let next = i + slots(*insn);
        for &to in successors(insns, i).as_slice() {
            let kind = if to == next { Edge::FallThrough } else { Edge::Branch };
            if let Some(&node) = nodes.get(to as usize) {
                g.add_edge(nodes[i as usize], node, kind);
            }
        }
        i = next;
    }
    g
}
