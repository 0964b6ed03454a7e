//! The control-flow graph: the only user of petgraph (`kernel/bpf/cfg.c` of 7.x, `check_cfg` of 6.18).

/// Orders and components of the instruction graph.
#[derive(Debug, Default)]
pub struct Cfg {
    /// Instruction indices in post-order, grouped by subprogram (`insn_postorder`).
    pub postorder: Vec<u32>,
    /// Number of strongly connected components (`scc_cnt`).
    pub scc_cnt: u32,
}
