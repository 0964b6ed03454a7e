//! How much of the kernel's limits a verdict used, and which lines and branches used it.

use bpfassay_isa::{decode, Insn};
use bpfassay_object::model::Program;
use bpfassay_spec::Limits;

use crate::gate::outcome::{BranchCost, Headroom, LineCost, Used};
use bpfassay_judge::{insn_text, source_of, ProgramReport};

/// Lines and branches told per program.
const MOST: usize = 10;

/// Headroom of a judged program.
pub fn headroom(program: &Program, report: &ProgramReport) -> Headroom {
    let visits = &report.detail.insn_visits;
    Headroom {
        insns: Used {
            used: report.stats.insns_processed,
            limit: Limits::MOST.max_processed_insns,
            budget: None,
        },
        stack: Used { used: report.detail.max_stack, limit: Limits::MOST.max_stack, budget: None },
        lines: lines(program, visits),
        branches: branches(program, visits),
    }
}

fn lines(program: &Program, visits: &[u32]) -> Vec<LineCost> {
    let info = &program.line_info;
    // (file, line) → first record, instructions processed.
    let mut cost: std::collections::BTreeMap<(u32, u32), (u32, u32)> = Default::default();
    let mut at = 0;
    for (idx, n) in visits.iter().enumerate().filter(|(_, n)| **n > 0) {
        while info.get(at + 1).is_some_and(|l| l.insn_off as usize <= idx) {
            at += 1;
        }
        let Some(l) = info.get(at).filter(|l| l.insn_off as usize <= idx) else { continue };
        let sum = cost.entry((l.file_name_off, l.line_col >> 10)).or_insert((l.insn_off, 0));
        sum.1 = sum.1.saturating_add(*n);
    }
    let mut rows: Vec<(u32, u32)> = cost.into_values().collect();
    rows.sort_by_key(|(first, n)| (std::cmp::Reverse(*n), *first));
    rows.truncate(MOST);
    rows.into_iter()
        .filter_map(|(first, n)| {
            Some(LineCost { source: source_of(program, first)?, insns_processed: n })
        })
        .collect()
}

fn branches(program: &Program, visits: &[u32]) -> Vec<BranchCost> {
    let insns = &program.insns;
    let is_branch = |idx: usize| {
        let Some(raw) = insns.get(idx) else { return false };
        matches!(
            decode(*raw, insns.get(idx + 1).copied()),
            Ok(Insn::CondJump { .. } | Insn::MayGoto { .. } | Insn::Call { .. })
        )
    };
    // Once is no branch worth a word.
    let mut rows: Vec<(u32, u32)> = visits
        .iter()
        .enumerate()
        .filter(|(idx, n)| **n > 1 && is_branch(*idx))
        .map(|(idx, n)| (idx as u32, *n))
        .collect();
    rows.sort_by_key(|(idx, n)| (std::cmp::Reverse(*n), *idx));
    rows.truncate(MOST);
    rows.into_iter()
        .map(|(idx, visits)| BranchCost {
            insn_idx: idx,
            insn: insn_text(insns, idx).unwrap_or_default(),
            source: source_of(program, idx),
            visits,
        })
        .collect()
}
