//! Private stacks: frames of functions in memory of their own instead of on the machine's stack.
//!
//! The verifier says which functions have one ([`bpfassay_verifier::Report::private_stacks`]).  As in the
//! kernel a guard word lies at either end, and is looked at afterwards.  A function is active
//! once at most, so each has one stack.  Mirrors `priv_stack_init_guard` and
//! `priv_stack_check_guard` (arch/x86/net/bpf_jit_comp.c).

use crate::engine::{Trap, TrapKind};
use crate::runtime::memory::{Access, Fault, FaultKind, Region, RegionId, RegionKind};
use crate::runtime::{Runtime, STACK_SIZE};

/// `PRIV_STACK_GUARD_SZ` and `PRIV_STACK_GUARD_VAL`.
const GUARD_SIZE: u32 = 8;
const GUARD: u64 = 0xeb9f_1234_5678_eb9f;

/// The stacks of a program.
#[derive(Debug, Default)]
pub struct PrivateStacks {
    /// First slot of the function, and its stack between two guards.
    of: Vec<(u32, RegionId)>,
}

impl PrivateStacks {
    /// Stacks for the functions that begin at these slots; None where there is no room.
    pub fn new(rt: &mut Runtime, slots: &[u32]) -> Option<PrivateStacks> {
        let mut of = Vec::new();
        for slot in slots {
            let mut bytes = GUARD.to_le_bytes().to_vec();
            bytes.resize((GUARD_SIZE + STACK_SIZE) as usize, 0);
            bytes.extend(GUARD.to_le_bytes());
            let kind = RegionKind::Stack(u8::try_from(of.len()).unwrap_or(u8::MAX));
            let region = Region::new(kind, Access::ReadWrite, bytes)
                .with_window(GUARD_SIZE, GUARD_SIZE + STACK_SIZE);
            of.push((*slot, rt.mem.add(region)?));
        }
        Some(PrivateStacks { of })
    }

    /// First slots and addresses of the tops, as the JITs take them.
    pub fn tops(&self, rt: &Runtime) -> Vec<(u32, u64)> {
        let top = |(slot, id): &(u32, RegionId)| (*slot, rt.address(*id, GUARD_SIZE + STACK_SIZE));
        self.of.iter().map(top).collect()
    }

    /// What was written beside a stack, if anything was.
    pub fn damage(&self, rt: &Runtime) -> Option<Trap> {
        let guard = GUARD.to_le_bytes();
        self.of.iter().find_map(|(slot, id)| {
            let region = rt.mem.region(*id)?;
            let (bytes, size) = (region.bytes(), STACK_SIZE);
            let off = match (bytes.starts_with(&guard), bytes.ends_with(&guard)) {
                (true, true) => return None,
                (false, _) => -i64::from(GUARD_SIZE),
                _ => i64::from(size),
            };
            let why = FaultKind::OutOfBounds { kind: region.kind, off, size };
            let addr = rt.address(*id, GUARD_SIZE).wrapping_add_signed(off);
            let fault = Fault { addr, len: GUARD_SIZE, write: true, why };
            Some(Trap { kind: TrapKind::Memory(fault), insn_idx: *slot as usize })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::helpers::HelperSet;
    use crate::runtime::world::World;

    #[test]
    fn what_is_written_beside_a_stack_is_seen() {
        let mut rt = Runtime::new(World::seeded(0), HelperSet::linux());
        let stacks = PrivateStacks::new(&mut rt, &[0, 7]).unwrap();
        assert_eq!(stacks.tops(&rt).len(), 2);
        assert!(stacks.damage(&rt).is_none());
        let (_, second) = stacks.of[1];
        let bytes = rt.mem.region_mut(second).unwrap().bytes_mut();
        let last = bytes.len() - 1;
        bytes[last] = 0;
        let trap = stacks.damage(&rt).unwrap();
        assert_eq!(trap.insn_idx, 7);
        let TrapKind::Memory(fault) = trap.kind else { panic!("{trap}") };
        let why = FaultKind::OutOfBounds { kind: RegionKind::Stack(1), off: 512, size: 512 };
        assert_eq!(fault.why, why);
    }
}
