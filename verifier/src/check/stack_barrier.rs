//! Barriers behind stores to the stack, for loaders whom Spectre v4 is kept from (`check_stack_write_fixed_off`,
//! `nospec_result`).

use bpfassay_isa::Reg;

use super::stack::{is_spillable, locate};
use crate::domain::stack::SlotType;
use crate::env::Env;

/// A store that a later load might pass speculatively, and so see a pointer or what lay there before, is followed by
/// a barrier.
pub(super) fn note_spill_barrier(
    env: &mut Env<'_>,
    frameno: u32,
    off: i32,
    size: i32,
    value: Option<Reg>,
    insn_idx: u32,
) {
    if env.bypass_spec_v4 {
        return;
    }
    let (spi, _) = locate(off);
    let slot = &env.cur.frame(frameno).stack()[spi];
    let first_bytes = env.kernel.features.barrier_by_first_bytes;
    let old = |i: i32| slot.kind[if first_bytes { i as usize } else { locate(off + i).1 }];
    let spills = value.is_some_and(|r| is_spillable(env, env.reg(r).ty));
    if spills || (0..size).any(|i| !matches!(old(i), SlotType::Misc | SlotType::Zero)) {
        env.aux_mut(insn_idx).nospec_result = true;
    }
}
