//! The loop of the unchecked interpreter.
#![allow(unsafe_code)]

use std::ops::{Index, IndexMut};

use super::ops::{run_op, Op};
use super::{raw, Lowered};
use crate::engine::TrapKind;
use crate::engines::interp::{Flow, Regs, Thread, Tracer};
use crate::runtime::{Runtime, Stop};

/// The registers, found by the numbers in an [`Op`].
struct File<'r>(&'r mut Regs);

impl Index<u8> for File<'_> {
    type Output = u64;

    #[inline(always)]
    fn index(&self, r: u8) -> &u64 {
        debug_assert!(r < 16);
        // SAFETY: `lower` writes register numbers of decoded instructions, which are at most 10.
        unsafe { self.0.get_unchecked(r as usize) }
    }
}

impl IndexMut<u8> for File<'_> {
    #[inline(always)]
    fn index_mut(&mut self, r: u8) -> &mut u64 {
        debug_assert!(r < 16);
        // SAFETY: as above.
        unsafe { self.0.get_unchecked_mut(r as usize) }
    }
}

impl Lowered {
    /// The operation with this index, [`Kind::End`] for one too large.
    fn at(&self, i: usize) -> *const Op {
        let last = self.ops.len() - 1;
        &self.ops[i.min(last)]
    }

    /// Index of an operation.
    fn index(&self, op: *const Op) -> usize {
        (op.addr() - self.ops.as_ptr().addr()) / size_of::<Op>()
    }
}

impl<T: Tracer> Thread<'_, T> {
    /// Runs until the frame below which there are `base` frames exits.
    ///
    /// Fuel is counted at jumps and calls, without which no program runs for long.
    ///
    /// # Safety
    /// The verifier has accepted the program, or this process exists to run it; the
    /// runtime's memory is native.
    pub(in crate::engines) unsafe fn go_unchecked(
        &mut self,
        rt: &mut Runtime,
        regs: &mut Regs,
        start: usize,
    ) -> Result<u64, Stop> {
        let base = self.depth();
        let mut code = self.lowered(rt);
        let mut pc = code.at(start);
        let mut left = self.fuel_left();
        // SAFETY: every access of a verified program is to a live region (see above).
        let load = |addr, size| unsafe { raw::load(addr, size) };
        // SAFETY: as above.
        let store = |addr, size, v| unsafe { raw::store(addr, size, v) };
        macro_rules! jump {
            ($to:expr) => {{
                // SAFETY: `lower` lets jumps go to indices of `ops` only.
                pc = unsafe { code.ops.as_ptr().add($to as usize) };
                left -= 1;
                if left == 0 {
                    self.stop_at(code.index(pc), left);
                    return Err(Stop::Trap(TrapKind::OutOfFuel));
                }
            }};
        }
        loop {
            // SAFETY: `pc` points into `ops`: jumps stay within (see `jump`), and what goes on
            // to the next slots is followed by them, `End` at the latest.
            let op = unsafe { &*pc };
            let mut file = File(regs);
            run_op!(
                op,
                file,
                load,
                store,
                // SAFETY: the slots this operation stands for are followed by another.
                |n| pc = unsafe { pc.add(n) },
                |to| jump!(to),
                |kind| {
                    self.stop_at(code.index(pc), left);
                    match kind {
                        Kind::Call => {
                            self.push_frame(rt, regs)?;
                            jump!(op.target)
                        }
                        Kind::Exit if self.depth() > base => {
                            let Some(to) = self.pop_frame(regs) else { return Ok(regs[0]) };
                            if let Some(other) = to.other_code {
                                self.switch(other);
                                code = self.lowered(rt);
                            }
                            pc = code.at(to.pc);
                        }
                        Kind::Exit => return Ok(regs[0]),
                        Kind::End => return Err(Stop::Trap(TrapKind::OutOfProgram)),
                        _ => {
                            let flow = match code.helpers.get(op.imm as usize) {
                                Some(helper) if kind == Kind::Helper => {
                                    self.resolved_helper(rt, regs, *helper)?
                                }
                                _ => self.step_at(rt, regs, code.index(pc), base)?,
                            };
                            match flow {
                                // SAFETY: as for the other kinds; wide immediates have two slots.
                                Flow::Next => pc = unsafe { pc.add(1) },
                                Flow::Goto(to) => {
                                    code = self.lowered(rt);
                                    pc = code.at(to);
                                }
                                Flow::Done(r0) => return Ok(r0),
                            }
                            // A callback may have run meanwhile.
                            left = self.fuel_left();
                        }
                    }
                }
            );
        }
    }
}
