//! Accesses that fault in compiled code: those the verifier expected read as zero, others end the run.
#![allow(unsafe_code)]

use super::machine::Machine;

/// Where to go on after a fault.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Resume {
    pub pc: u64,
    /// Machine register to set to 0, [`u8::MAX`] for none; None where the run ends.
    pub clear: Option<u8>,
}

/// Runs `f` with faults in the machine's code caught, where this host can.
///
/// # Safety
/// `machine` stays valid and is not written to by `f` but through the code it enters.
pub unsafe fn guarded<R>(machine: *mut Machine, f: impl FnOnce() -> R) -> R {
    let _ = machine;
    f()
}
