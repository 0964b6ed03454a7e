//! Stack slots (`struct bpf_stack_state`).

use super::reg::RegState;

/// Bytes of a slot, and of a register (`BPF_REG_SIZE`).
pub const REG_SIZE: i32 = 8;

/// What one byte of a slot holds (`enum bpf_stack_slot_type`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum SlotType {
    /// Never written.
    Invalid = 0,
    /// Part of a spilled register.
    Spill = 1,
    /// Written with something unknown.
    Misc = 2,
    Zero = 3,
    Dynptr = 4,
    Iter = 5,
    IrqFlag = 6,
}

/// Eight bytes of stack.  `kind[7]` is the byte at the highest address; a full
/// spill marks all eight, a narrow one the upper-index ones.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct StackSlot {
    pub spilled: RegState,
    pub kind: [SlotType; 8],
}

impl StackSlot {
    pub const EMPTY: StackSlot =
        StackSlot { spilled: RegState::ZEROED, kind: [SlotType::Invalid; 8] };
}
