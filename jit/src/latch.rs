//! Ends of loops written where a body jumps to them.
//!
//! A `switch` or `continue` in a loop jumps to the few instructions that count and test, which
//! jump on to the body.  Written in place of the first jump they save it on every round, and give
//! the processor's predictor a branch for each way through the body.

use bpfassay_isa::opcode::Form;
use bpfassay_isa::AluOp;

use crate::buf::Label;
use crate::survey::{target as jump_target, LOOP};
use crate::target::{Head, Target};
use crate::walk::{One, Walk};

/// Instructions before the test, at most.
const LONGEST: usize = 3;

/// Slots of a tight loop, with its test.
const TIGHT: usize = 6;

/// What is worth a copy: a few bytes.
fn is_short(form: Form) -> bool {
    use AluOp::*;
    matches!(form, Form::Alu(op, ..) if !matches!(op, Div | Mod | SDiv | SMod | Lsh | Rsh | Arsh))
}

impl<T: Target> Walk<'_, T> {
    /// What the slot, which is jumped to, begins.
    #[inline]
    pub(crate) fn head(&self, slot: usize, flags: u8) -> Head {
        match flags & LOOP {
            0 => Head::Block,
            _ if self.is_tight(slot) => Head::TightLoop,
            _ => Head::Loop,
        }
    }

    /// True if so few slots follow up to the jump back.
    fn is_tight(&self, slot: usize) -> bool {
        let is_jump = |one: &One<'_>| matches!(one.form(), Form::CondJump(..));
        let mut ahead = (0..TIGHT).map_while(|n| Some((slot + n, self.ahead(slot, n)?)));
        ahead.find(|(_, one)| is_jump(one)).is_some_and(|(end, one)| {
            jump_target(end, one.raw.off as i32, self.len()) == Some(slot)
        })
    }

    /// Writes the end of a loop that the jump at `slot` goes to in its place; false if it is none.
    pub(crate) fn copy_latch(&mut self, slot: usize, off: i32) -> bool {
        let Some(to) = jump_target(slot, off, self.len()) else { return false };
        let form = |n| self.ahead(to + n, 0).map(|one| (one.form(), one.raw.off));
        let mut n = 0;
        while n < LONGEST && form(n).is_some_and(|(f, _)| is_short(f)) {
            n += 1;
        }
        let Some((Form::CondJump(..), off)) = form(n) else { return false };
        let (test, len) = (to + n, self.len());
        let back = |from, to| jump_target(from, to, len).is_some_and(|t| t <= from);
        if n == 0 || !(to <= slot || back(test, off as i32)) || test + 1 >= len {
            return false;
        }
        self.copy(to, test + 1);
        self.t.jump(Label(test as u32 + 1));
        true
    }
}
