//! Which machine register is which.
//!
//! r1 to r5 are the C argument registers, so that calls move nothing; r0 stands
//! apart from them, as in the kernel.  x18 belongs to the platform and is not touched.

use bpfassay_isa::Reg;

use crate::enc::R;

/// r0 to r10, and `AX`; what lies beyond is never asked for.
const MAP: [R; 16] = [
    R(7),
    R(0),
    R(1),
    R(2),
    R(3),
    R(4),
    R(19),
    R(20),
    R(21),
    R(22),
    R(25),
    R(9),
    R(9),
    R(9),
    R(9),
    R(9),
];

/// r0.
pub const RET: R = R(7);
/// r10: the top of the function's BPF stack.
pub const BPF_FP: R = R(25);
/// Sixth C argument: the site of a call.
pub const SITE: R = R(5);
/// Scratch: addresses, first.
pub const T0: R = R(10);
/// Scratch: values.
pub const T1: R = R(11);
/// Scratch: status of exclusive stores, second values.
pub const T2: R = R(12);
/// Scratch: new values in exclusive loops.
pub const T3: R = R(13);
/// Address of the run context, from entry to exit.
pub const CTX: R = R(26);
/// Address of the arena, from entry to exit.
pub const ARENA: R = R(28);

#[inline]
pub fn map(r: Reg) -> R {
    MAP[usize::from(r.0 & 15)]
}
