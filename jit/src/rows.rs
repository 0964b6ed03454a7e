//! A function for every row of the opcode table, in which the form is a constant.
//!
//! What the lowering asks of operation and width is then answered when this is compiled, and what is
//! left of each is short; [`Walk::write`] is all there is to read.

use bpfassay_isa::RawInsn;

use crate::facts::{Set, TABLE};
use crate::target::Target;
use crate::walk::Walk;

/// Writes the instruction at a slot, after which the registers of the set are read.
pub(crate) type Writer<T> = for<'a> fn(&mut Walk<'a, T>, usize, &RawInsn, Set);

fn row<T: Target, const ROW: usize>(
    walk: &mut Walk<'_, T>,
    slot: usize,
    raw: &RawInsn,
    after: Set,
) {
    walk.write(slot, raw, const { TABLE[ROW].form }, after);
}

macro_rules! writers {
    ($($sixteen:literal)*) => {
        [$(
            row::<T, { $sixteen * 16 }>,
            row::<T, { $sixteen * 16 + 1 }>,
            row::<T, { $sixteen * 16 + 2 }>,
            row::<T, { $sixteen * 16 + 3 }>,
            row::<T, { $sixteen * 16 + 4 }>,
            row::<T, { $sixteen * 16 + 5 }>,
            row::<T, { $sixteen * 16 + 6 }>,
            row::<T, { $sixteen * 16 + 7 }>,
            row::<T, { $sixteen * 16 + 8 }>,
            row::<T, { $sixteen * 16 + 9 }>,
            row::<T, { $sixteen * 16 + 10 }>,
            row::<T, { $sixteen * 16 + 11 }>,
            row::<T, { $sixteen * 16 + 12 }>,
            row::<T, { $sixteen * 16 + 13 }>,
            row::<T, { $sixteen * 16 + 14 }>,
            row::<T, { $sixteen * 16 + 15 }>,
        )*]
    };
}

struct Writers<T>(T);

impl<T: Target> Writers<T> {
    const ALL: [Writer<T>; 256] = writers!(0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15);
}

/// By [`bpfassay_isa::opcode::table`]'s row numbers.
#[inline(always)]
pub(crate) fn writers<'t, T: Target + 't>() -> &'t [Writer<T>; 256] {
    &Writers::<T>::ALL
}
