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
    /// Dead: whatever it held was forgotten before anything could read it.
    Poison = 7,
}

impl SlotType {
    /// Never written, or forgotten.
    #[inline]
    pub fn is_nothing(self) -> bool {
        matches!(self, SlotType::Invalid | SlotType::Poison)
    }
}

/// Eight bytes of stack.  `kind[7]` is the byte at the lowest address; a full
/// spill marks all eight, a narrow one the upper-index ones.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct StackSlot {
    pub spilled: RegState,
    pub kind: [SlotType; 8],
}

impl StackSlot {
    pub const EMPTY: StackSlot =
        StackSlot { spilled: RegState::ZEROED, kind: [SlotType::Invalid; 8] };

    /// [`StackSlot::kinds`] of a register spilled whole.
    pub const SPILLED: u64 =
        StackSlot { spilled: RegState::ZEROED, kind: [SlotType::Spill; 8] }.kinds();

    /// The kinds of all eight bytes as one number, to compare at once.
    #[inline]
    pub const fn kinds(&self) -> u64 {
        let k = &self.kind;
        u64::from_le_bytes([
            k[0] as u8, k[1] as u8, k[2] as u8, k[3] as u8, k[4] as u8, k[5] as u8, k[6] as u8,
            k[7] as u8,
        ])
    }
}
