//! Stack slot liveness (`kernel/bpf/liveness.c`).

use crate::env::Env;
use crate::stop::Check;

/// Read and write marks per call chain and instruction.
#[derive(Debug, Default)]
pub struct Liveness {}

/// Instruction `insn_idx` of frame `frameno` may read the slots in `mask` (`bpf_mark_stack_read`).
pub fn mark_stack_read(_env: &mut Env<'_>, _frameno: u32, _insn_idx: u32, _mask: u64) -> Check {
    Ok(())
}

/// The current instruction writes the slots in `mask` for certain (`bpf_mark_stack_write`).
pub fn mark_stack_write(_env: &mut Env<'_>, _frameno: u32, _mask: u64) {}
